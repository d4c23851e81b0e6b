"""Try a folder: may we read it and move what stands in it, what is left alone and why, do its lines make sense."""

import os
from collections.abc import Iterator
from pathlib import Path

from connectors.jsonl import mapping
from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.folder import Folder, Stock, shown
from connectors.jsonl.lines import Changed, File, Line, Reading, opened
from syncd.connector import Finding, Record, Ref
from syncd.errors import Exit, SyncdError, Unreadable
from syncd.values import from_ms

NAMED = 5  # files of each sort that get a line of their own
SAMPLE = 20  # lines of the newest file that are tried


def check(config: JsonlConfig, folder: Folder) -> list[Finding]:
    """Return findings in order; nothing is moved, written or remembered."""
    try:
        stock = folder.stock(look=True)
    except SyncdError as error:
        return [Finding("folder", False, error.message, error.hint, exit_code=error.exit_code)]
    return [*_folders(config, stock), *_files(stock), *_sample(config, stock)]


def _folders(config: JsonlConfig, stock: Stock) -> Iterator[Finding]:
    waiting = sum(file.waiting for file in stock.files)
    done = len(stock.files) - waiting
    yield Finding("folder", True, f"{config.path}: {waiting} file(s) to read, {done} among the done")
    if not _may_write(config.path):
        hint = "give syncd's user the right to write there, e.g. by a group that it shares with whoever drops files"
        message = f"{config.path}: what was read cannot be moved out of it"
        yield Finding("folder", False, message, hint, exit_code=Exit.UNAVAILABLE)
    at = next(each for each in (config.done_path, *config.done_path.parents) if each.exists())
    if not at.is_dir() or not _may_write(at):
        hint = "give syncd's user the right to write there"
        message = f"{config.done_path} cannot be made" if at != config.done_path else f"{at} cannot be written"
        yield Finding("done folder", False, message, hint, exit_code=Exit.UNAVAILABLE)
    elif at.stat().st_dev != config.path.stat().st_dev:
        hint = "it works; on one file system a file is moved in an instant, whatever its size"
        message = f"{config.done_path} is on another file system: files are copied there"
        yield Finding("done folder", False, message, hint, warning=True)
    else:
        yield Finding("done folder", True, f"{config.done_path}: what was read goes there")


def _files(stock: Stock) -> Iterator[Finding]:
    for problem in stock.problems[:NAMED]:
        hint = "put it right, or take it out of the folder: nothing of it was read"
        yield Finding("file", False, problem, hint, exit_code=Exit.UNAVAILABLE)
    if len(stock.problems) > NAMED:
        message = f"{len(stock.problems) - NAMED} more files cannot be read"
        yield Finding("file", False, message, "put them right in the same way", exit_code=Exit.UNAVAILABLE)
    for name, why in stock.left_alone[:NAMED]:
        hint = "drop a file under another name, such as x.jsonl.part, and rename it when it is whole"
        yield Finding("file", False, f"{shown(name)} is left alone: it {why}", hint, warning=True)
    if len(stock.left_alone) > NAMED:
        message = f"{len(stock.left_alone) - NAMED} more files are left alone"
        yield Finding("file", False, message, "by the same rules", warning=True)


def _sample(config: JsonlConfig, stock: Stock) -> Iterator[Finding]:
    """Try the mapping on the first lines of the newest file, without a word of what stands in them."""
    if not stock.files:
        return
    file = max(stock.files, key=lambda file: (file.waiting, file.stamp))
    try:
        lines = list(_first(file, config))
    except (OSError, Changed):
        return
    faults = [fault for line in lines if (fault := _fault(line, file, config))]
    if faults:
        hint = "compare the source's columns with the file; each bad line becomes a dead row that names file and line"
        message = f"{len(faults)} of the first {len(lines)} lines cannot be read: {faults[0]}"
        yield Finding("mapping", False, message, hint, warning=True)
    elif lines:
        yield Finding("mapping", True, f"the first {len(lines)} line(s) of {shown(file.name)} can be read")


def _first(file: File, config: JsonlConfig) -> Iterator[Line]:
    with opened(file) as handle:
        for number, line in enumerate(Reading(file, config, since=file.stamp, until=file.end).lines(handle)):
            if number == SAMPLE:
                return
            yield line


def _fault(line: Line, file: File, config: JsonlConfig) -> str:
    related = {"file": shown(file.name), "line": line.number, "fault": line.fault}
    record = Record(Ref(line.crm_id, from_ms(line.at)), line.row, related)
    try:
        mapping.draft(line.kind, record, config)
    except Unreadable as error:
        return error.message
    return ""


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK)
