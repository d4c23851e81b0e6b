"""Check a folder: permissions, files that are left alone, and the mapping of the first lines."""

import os
import stat
from collections.abc import Iterator

from connectors.jsonl import mapping
from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.folder import Folder, Listing
from connectors.jsonl.lines import Changed, File, Line, LineReader, opened
from connectors.jsonl.naming import shown
from connectors.jsonl.scope import missing_columns
from syncd.connector import Finding, Record, Ref
from syncd.errors import Exit, SyncdError, Unreadable
from syncd.fields import from_ms

MOST_NAMED = 5  # files of each sort that get a line of their own
REST = "they may need other remedies: look at the folder. Then `syncd check` shows the next ones"
SAMPLE = 20  # lines of the newest file that are tried


def check(config: JsonlConfig, folder: Folder) -> list[Finding]:
    """Return findings in order. Nothing is moved, written or remembered."""
    try:
        listing = folder.listing(read_only=True)
    except SyncdError as error:
        return [Finding("folder", False, error.message, error.hint, exit_code=error.exit_code)]
    return [*_folders(config, folder, listing), *_files(listing), *_sample(config, listing)]


def _folders(config: JsonlConfig, folder: Folder, listing: Listing) -> Iterator[Finding]:
    waiting = sum(file.waiting for file in listing.files)
    done = len(listing.files) - waiting
    yield Finding("folder", True, f"{config.path}: {waiting} file(s) to read, {done} among the done")
    drop_status, done_status = folder.statuses()
    may_take, may_put = folder.may_write()
    if not may_take:
        hint = "give syncd's user the right to write there, e.g. by a group that it shares with those who drop files"
        message = f"{config.path}: what was read cannot be moved out of it"
        yield Finding("folder", False, message, hint, exit_code=Exit.UNAVAILABLE)
    if _is_open_to_all(drop_status):
        hint = f"share it by a group instead: chmod o-w {config.path}"
        message = f"{config.path} may be written by every user of this machine, who can replace files in it"
        yield Finding("folder", False, message, hint, warning=True)
    if done_status is None:
        if listing.is_complete:  # otherwise one of the files' findings names the problem
            yield _missing_done(config)
    elif not may_put:
        hint = "give syncd's user the right to write there"
        yield Finding("done folder", False, f"{config.done_path} cannot be written", hint, exit_code=Exit.UNAVAILABLE)
    else:
        yield from _done(config, drop_status, done_status)


def _missing_done(config: JsonlConfig) -> Finding:
    at = next(each for each in config.done_path.parents if each.exists())
    if at.is_dir() and os.access(at, os.W_OK | os.X_OK):
        return Finding("done folder", True, f"{config.done_path}: what was read goes there")
    hint = "give syncd's user the right to write there"
    return Finding("done folder", False, f"{config.done_path} cannot be made", hint, exit_code=Exit.UNAVAILABLE)


def _done(config: JsonlConfig, drop_status: os.stat_result, done_status: os.stat_result) -> Iterator[Finding]:
    if done_status.st_mode & stat.S_IWOTH:
        hint = f"only syncd writes there: chmod o-w {config.done_path}"
        message = f"{config.done_path} may be written by every user of this machine"
        yield Finding("done folder", False, message, hint, warning=True)
    if done_status.st_dev != drop_status.st_dev:
        hint = "nothing to do: it works. On one file system a file is moved in an instant, whatever its size"
        message = f"{config.done_path} is on another file system: files are copied there"
        yield Finding("done folder", False, message, hint, warning=True)
    else:
        yield Finding("done folder", True, f"{config.done_path}: what was read goes there")


def _is_open_to_all(found: os.stat_result) -> bool:
    """Tell whether every user may replace files of others. In a sticky folder, such as /tmp, they may not."""
    return bool(found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX)


def _files(listing: Listing) -> Iterator[Finding]:
    for problem in listing.problems[:MOST_NAMED]:
        yield Finding("file", False, problem.message, problem.hint, exit_code=Exit.UNAVAILABLE)
    if listing.problems.total > MOST_NAMED:
        message = f"{listing.problems.total - MOST_NAMED} more files cannot be read"
        yield Finding("file", False, message, REST, exit_code=Exit.UNAVAILABLE)
    for name, why, hint in listing.left_alone[:MOST_NAMED]:
        yield Finding("file", False, f"{shown(name)} is left alone: it {why}", hint, warning=True)
    if listing.left_alone.total > MOST_NAMED:
        message = f"{listing.left_alone.total - MOST_NAMED} more files are left alone"
        yield Finding("file", False, message, REST, warning=True)


def _sample(config: JsonlConfig, listing: Listing) -> Iterator[Finding]:
    """Check the mapping on the first lines of the newest file, without showing their content."""
    if not listing.files:
        return
    file = max(listing.files, key=lambda file: (file.waiting, file.stamp))
    try:
        lines = list(_first(file, config))
    except (OSError, Changed):
        return
    faults = [fault for line in lines if (fault := _fault(line, file, config))]
    if faults:
        hint = "compare the source's columns with the file. Each bad line becomes a dead row that names file and line"
        message = f"{len(faults)} of the first {len(lines)} lines cannot be read: {faults[0]}"
        yield Finding("mapping", False, message, hint, warning=True)
    elif missing := missing_columns({name for line in lines for name in line.row}, config) if lines else "":
        hint = "a condition names a key of columns, otherwise a column as the file writes it"
        yield Finding("conditions", False, f"{shown(file.name)}: {missing}", hint, warning=True)
    elif lines:
        yield Finding("mapping", True, f"the first {len(lines)} line(s) of {shown(file.name)} can be read")


def _first(file: File, config: JsonlConfig) -> Iterator[Line]:
    with opened(file) as handle:
        for number, line in enumerate(LineReader(file, config, since=file.stamp, until=file.end).lines(handle)):
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
