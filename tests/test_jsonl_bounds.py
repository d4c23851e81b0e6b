"""A drop folder that others write to: sizes, names, stamps and numbers of files, each beyond any measure."""

import json
import logging
import os
import re
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from connectors.jsonl.config import Columns, JsonlConfig
from connectors.jsonl.done import copy
from connectors.jsonl.lines import MOST_COLUMNS, STRIDE, Changed, File, LineReader, opened
from connectors.jsonl.naming import MARK
from connectors.jsonl.place import Place
from syncd.errors import Exit, Stopped
from syncd.passes import engine
from syncd.passes.reader import PassStore
from syncd.signals import StopRequest
from tests.drops import call
from tests.shared_drops import Shared, named

GIB = 2**30
MIB = 2**20
ODD_NAMES = [
    os.fsdecode(b"\xff\xfe-x.jsonl"),
    "a\nb-x.jsonl",
    "\x1b[31mred\x1b]0;title\x07-x.jsonl",
    "\u202eflip-x.jsonl",
    "x" * 249 + ".jsonl",
    "-rf-x.jsonl",
    "{0}%s$(id)-x.jsonl",
    "[bold]x.jsonl",
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with Shared(tmp_path) as made:
        yield made


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


# -- size --------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_left_and_named_until_the_limit_is_raised(shared: Shared) -> None:
    shared.touch(sparse(shared.path / "huge.jsonl", 300 * GIB))
    shared.file("large.jsonl", call("large", title="x" * 2000))
    shared.table["max_file_size"] = "1KB"
    shared.healthy()
    for number in (1, 2):
        outcome = shared.passed()
        assert outcome.exit_code == Exit.UNAVAILABLE
        assert named(outcome, "large.jsonl is larger than max_file_size (1KB)") == 1
        assert named(outcome, "huge.jsonl is larger than max_file_size (1KB)") == 1
        assert outcome.errors[0].hint == "split the file, or raise max_file_size"
        assert shared.delivered() == {"c1", "e1", "o1"}
        assert shared.done == ["healthy1.jsonl"] * (number - 1)
    found = [each for each in shared.connect().check() if "max_file_size" in each.hint]
    assert [(each.ok, each.warning, each.exit_code) for each in found] == [(False, False, 69)] * 2
    (shared.path / "huge.jsonl").unlink()
    shared.table["max_file_size"] = "1MB"
    assert shared.passed().exit_code == Exit.OK
    assert "large" in shared.delivered()


def test_the_limit_has_a_default() -> None:
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path="/x")
    assert config.max_file_size == 10**9
    assert json.loads(config.model_dump_json())["max_file_size"] == "1GB"


def test_a_done_file_over_the_limit_is_read_once_it_is_raised(shared: Shared) -> None:
    """It was moved and then grew, or a pass was cut short before it was read."""
    shared.moved_in()
    (done,) = shared.config.done_path.glob("2*")
    with done.open("a") as still_open:
        still_open.write(call("grown", title="x" * 2000) + "\n")
    line = call("unread", title="x" * 2000) + "\n"
    shared.later(minutes=1)
    (shared.config.done_path / f"{shared.at:%Y%m%dT%H%M%S}000Z-{len(line)}-unread.jsonl").write_text(line)
    shared.table["max_file_size"] = "1KB"
    for number in (1, 2):
        shared.healthy(number)
        outcome = shared.passed()
        assert outcome.exit_code == Exit.UNAVAILABLE
        assert (named(outcome, "before.jsonl is larger"), named(outcome, "unread.jsonl is larger")) == (1, 1)
        assert {f"c{number}", f"o{number}"} <= shared.delivered()
    del shared.table["max_file_size"]
    for _ in range(2):
        assert shared.passed().exit_code == Exit.OK
    assert {"grown", "unread"} <= shared.delivered()


def test_a_done_file_that_was_read_before_the_limit_was_lowered_is_no_problem(shared: Shared) -> None:
    shared.file("before.jsonl", call("before", title="x" * 2000))
    shared.passed()
    shared.healthy()
    shared.passed()
    shared.passed()
    shared.table["max_file_size"] = "1KB"
    for _ in range(2):
        assert shared.passed().exit_code == Exit.OK


@pytest.mark.parametrize("name", ["huge.jsonl", "huge.csv"])
def test_a_stop_is_obeyed_in_the_middle_of_a_line_without_end(shared: Shared, name: str) -> None:
    shared.table["max_file_size"] = "1TB"
    huge = shared.path / name
    huge.write_text("id,kind,occurred_at\n" if name.endswith("csv") else "")
    with huge.open("ab") as file:
        file.truncate(300 * GIB)
    shared.touch(huge, age_s=1000)
    stop = StopRequest()
    timer = threading.Timer(1, stop.request, (15,))
    began = time.monotonic()
    timer.start()
    assert shared.passed(stop).exit_code == Exit.SIGTERM
    assert time.monotonic() - began < 10


class Stop:
    """A stop that is asked for after so many looks."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped("asked for")


def blank_lines(path: Path) -> None:
    path.write_bytes(b"   \n" * MIB)


@pytest.mark.parametrize("fill", [lambda path: sparse(path, 300 * GIB), blank_lines])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
@pytest.mark.parametrize("start", [0, 3 * STRIDE])
def test_a_stop_is_obeyed_within_a_few_mebibytes(
    tmp_path: Path, fill: Callable[[Path], object], name: str, start: int
) -> None:
    path = tmp_path / name
    fill(path)
    file = File(path, name, 0, path.stat().st_size)
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path=str(tmp_path))
    with opened(file) as handle:
        reading = LineReader(file, config, since=start // STRIDE, until=file.end, pause=Stop(1))
        with pytest.raises(Stopped):
            list(reading.lines(handle))
        assert handle.tell() < 4 * MIB


def test_a_stop_is_obeyed_while_lines_are_counted_and_while_a_file_is_copied(tmp_path: Path) -> None:
    path = sparse(tmp_path / "x.jsonl", 300 * GIB)
    file = File(path, path.name, 0, 300 * GIB)
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path=str(tmp_path))
    reading = LineReader(file, config, since=file.end, until=file.end, pause=Stop(5))
    (tmp_path / "done").mkdir()
    with pytest.raises(Stopped), opened(file) as handle:
        copy(handle, Place.at(tmp_path / "done"), "x", Stop(5))
    assert list((tmp_path / "done").iterdir()) == []
    with pytest.raises(Stopped):
        reading._count_before()


def test_a_copy_of_a_file_that_is_written_to_meanwhile_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(call("c1") + "\n")
    (tmp_path / "done").mkdir()

    def written_to() -> None:
        with path.open("a") as file:
            file.write(call("c2") + "\n")

    with path.open("rb") as reading, pytest.raises(Changed):
        copy(reading, Place.at(tmp_path / "done"), "x", written_to)
    assert list((tmp_path / "done").iterdir()) == []


def test_a_file_that_is_written_to_before_it_is_copied_is_read_again(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Place.rename

    def across(self: Place, name: str, into: Place, new: str) -> None:
        if self is not into and self.path == shared.path:  # and not the folder of the other source
            with (shared.path / name).open("a") as file:
                file.write(call("appended") + "\n")
            monkeypatch.setattr(Place, "rename", rename)
            raise OSError(18, "Invalid cross-device link")
        rename(self, name, into, new)

    shared.table["done"] = str(tmp_path / "far" / "done")
    shared.healthy()
    shared.passed()
    monkeypatch.setattr(Place, "rename", across)
    for _ in range(3):
        assert shared.passed().exit_code == Exit.OK
    assert "appended" in shared.delivered()
    assert shared.done == ["healthy1.jsonl"]


# -- names and stamps --------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
@pytest.mark.parametrize("line", [call("odd"), "bad"])
def test_a_file_with_an_odd_name_is_read_and_moved(shared: Shared, name: str, line: str) -> None:
    path = shared.path / name
    path.write_text(line + "\n")
    shared.touch(path)
    shared.healthy()
    for _ in range(3):
        outcome = shared.passed()
        assert outcome.exit_code == Exit.OK
    assert {"c1", "o1"} <= shared.delivered()
    assert len(shared.states()) == 4
    assert shared.waiting == []
    assert all(text.isprintable() for text in shared.details().values())


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_bad_file_with_an_odd_name_is_named_in_printable_text(shared: Shared, name: str) -> None:
    path = shared.path / name
    path.write_bytes("\ufeffid".encode("utf-16"))
    shared.touch(path, age_s=1000)
    shared.healthy()
    outcome = shared.passed()
    assert (outcome.exit_code, len(outcome.errors)) == (Exit.UNAVAILABLE, 1)
    assert outcome.errors[0].message.isprintable()
    assert "is UTF-16, not UTF-8" in outcome.errors[0].message
    assert shared.delivered() == {"c1", "e1", "o1"}


LINE = call("forged") + "\n"
FORGED = [
    "99991231T235959999Z-{size}-x.jsonl",
    "99991231T235959999Z-10-x.jsonl",
    "99991231T235959999Z-999999999999999-x.jsonl",
    "99990101T000000000Z-{size}-x.jsonl",
    "99990101T000000000Z-10-x.csv",
    "20261006T090000000Z-{size}-x.jsonl",
    "00010101T000000000Z-{size}-x.jsonl",
    "00010101T000000000Z-10-x.jsonl",
    "00000000T000000000Z-10-x.jsonl",
    "19700101T000000000Z-{size}-x.jsonl",
    "20260230T000000000Z-{size}-x.jsonl",
    "20261005T080000000Z-0-x.jsonl",
    "20261005T080000000Z--10-x.jsonl",
    "20261005T080000000Z-" + "9" * 200 + "-x.jsonl",
    "20261005T080000000Z-999999999999999-x.jsonl",
    "20261005T080000000Z-1_0-x.jsonl",
    "٢٠٢٦١٠٠٥T٠٨٠٠٠٠٠٠٠Z-10-x.jsonl",
    "20261005T080000000Z-{size}-x\ny\x1b[31m.jsonl",
    os.fsdecode(b"20261005T080000000Z-{size}-\xff.jsonl"),
    os.fsdecode(b"99991231T235959999Z-{size}-\xff.jsonl"),
    "99991231T235959999Z-{size}-" + "x" * 225,
    "99991231T235959999Z-10-" + "x" * 226 + ".jsonl",
    "20261005T080000000Z-10-" + "x" * 226 + ".jsonl",
]


@pytest.mark.parametrize("name", FORGED, ids=ascii)
def test_a_forged_name_among_the_done_stops_nothing_and_moves_no_stamp(shared: Shared, name: str) -> None:
    shared.moved_in()
    (shared.config.done_path / name.format(size=len(LINE))).write_text(LINE)
    for number in range(3):
        shared.healthy(number)
        shared.file("incomplete.jsonl", call("late", contact_email=""))
        assert shared.passed(minutes=70).exit_code in (Exit.OK, Exit.UNAVAILABLE)
        assert {f"c{number}", f"e{number}", f"o{number}"} <= shared.delivered()
        given = shared.sql("SELECT value FROM store WHERE key = 'files'")
        assert all(json.loads(value)["last"] <= shared.at.timestamp() * 1000 + 1000 for (value,) in given)
    ours = [each.name for each in shared.config.done_path.iterdir() if re.search("healthy|before", each.name)]
    assert len(ours) == 3
    assert all(each[:15] <= f"{shared.at:%Y%m%dT%H%M%S}" for each in ours)


def test_the_stamps_that_the_store_knows_of_are_good_even_if_they_are_yet_to_come(shared: Shared) -> None:
    """The clock was ahead when they were given."""
    shared.later(days=4000)
    shared.moved_in()
    before = sorted(shared.config.done_path.iterdir())
    shared.later(days=-4000)
    shared.healthy()
    for _ in range(2):
        assert shared.passed().exit_code == Exit.OK
    assert set(before) <= set(shared.config.done_path.iterdir())
    assert shared.delivered() == {"before", "c1", "e1", "o1"}


def test_a_look_at_forged_names_changes_nothing_and_names_them(shared: Shared) -> None:
    shared.moved_in()
    names = {"99991231T235959999Z-10-x.jsonl", f"00010101T000000000Z-{len(LINE)}-y.jsonl"}
    for name in names:
        (shared.config.done_path / name).write_text(LINE)
    found = shared.connect().check()
    hints = [each.hint for each in found if "that syncd cannot have given it" in each.message]
    assert hints == ["a pass renames it and reads it as a new file. If it cannot, move it back to the drop folder"] * 2
    assert names <= {path.name for path in shared.config.done_path.iterdir()}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="takes a file system with times beyond the calendar")
@pytest.mark.parametrize("at", [10**12, -(10**12), 253402300800, -1])
def test_a_time_of_change_beyond_the_calendar_is_no_time(tmp_path: Path, shared: Shared, at: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as there:
        shared.path = Path(there)
        shared.table["path"] = there
        shared.healthy()
        os.utime(shared.path / "healthy1.jsonl", ns=(at * 10**9, at * 10**9))
        for _ in range(2):
            assert shared.passed().exit_code == Exit.OK
        assert shared.delivered() == {"c1", "e1", "o1"}
        assert shared.done == ["healthy1.jsonl"]


def test_what_a_crash_left_half_written_is_removed_and_nothing_else(shared: Shared) -> None:
    shared.moved_in()
    done = shared.config.done_path
    old = [done / ".syncd-0123456789abcdef.part", done / ".syncd-copying-x", done / ".syncd-note"]
    for path in old:
        path.write_text("x")
        shared.touch(path, age_s=7200)
    fresh = done / ".syncd-0123456789abcdee.part"
    fresh.write_text("x")
    shared.touch(fresh)
    shared.healthy()
    for _ in range(2):
        shared.passed()
    assert {path.name for path in done.glob(".*")} == {MARK, fresh.name, ".syncd-note"}


# -- numbers -----------------------------------------------------------------------------


def test_thousands_of_other_entries_cost_little_and_are_cut_in_what_is_said(shared: Shared) -> None:
    for number in range(3000):
        (shared.path / f"{number}.tmp").touch()
        os.mkfifo(shared.path / f"{number}.jsonl")
    shared.healthy()
    tracemalloc.start()
    began = time.process_time()
    outcome = shared.passed()
    assert time.process_time() - began < 10
    assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    tracemalloc.stop()
    assert shared.delivered() == {"c1", "e1", "o1"}
    (error,) = outcome.errors
    assert error.message.endswith("and 2997 more")
    assert len(error.message) < 300
    messages = [each.message for each in shared.connect().check()]
    assert len(messages) < 20
    assert {"2995 more files cannot be read", "2995 more files are left alone"} <= set(messages)


def test_more_files_than_one_pass_takes_are_read_by_later_ones_first_come_first_served(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.jsonl.folder.MOST_NEW", 3)
    for number in range(5):
        shared.file(f"{9 - number}.jsonl", call(f"c{number}"))
    later = [each for each in shared.connect().check() if "waits for its turn" in each.message]
    assert [each.hint for each in later] == ["nothing to do: a later pass reads it"] * 2
    store = PassStore({}, shared.now)
    assert set(shared.read("calls", shared.connect(store))) == {"c0", "c1", "c2"}
    for _ in range(3):
        shared.passed()
    assert shared.delivered() == {f"c{number}" for number in range(5)}


# -- lines -------------------------------------------------------------------------------


CSV = "id,kind,occurred_at,title\n"


@pytest.mark.parametrize(
    "line",
    [
        b"," * MIB, b'"' * MIB, b'","' * (MIB // 3), b'"a' * (MIB // 2), b"a," * (MIB // 2), b"\0" * MIB, b"\r" * MIB,
        b"x,call," + b"9" * (MIB - 10),
    ],
    ids=lambda line: line[:6].decode() + "…",
)  # fmt: skip
def test_a_csv_line_of_a_mebibyte_is_one_dead_line_that_is_named(shared: Shared, line: bytes) -> None:
    shared.file("a.csv", CSV.encode() + line[: MIB - 1] + b"\n" + b"c2,call,2026-09-20,ok")
    shared.healthy()
    tracemalloc.start()
    began = time.process_time()
    assert shared.passed().exit_code == Exit.OK
    assert time.process_time() - began < 10
    assert tracemalloc.get_traced_memory()[1] < 100 * MIB
    tracemalloc.stop()
    assert {"c1", "e1", "o1"} <= shared.delivered()
    assert "c2" in shared.states()
    dead = shared.details()
    if line.strip():
        assert [text.startswith("line 2 of a.csv ") for text in dead.values()] == [True]


def test_a_csv_file_with_a_header_beyond_measure_is_a_bad_file(shared: Shared) -> None:
    names = ",".join(f"c{number}" for number in range(MOST_COLUMNS))
    for number, header in enumerate(
        [f"id,kind,occurred_at,{names}", "id,kind,occurred_at" + "," * MIB, "\n" * 2 * MIB]
    ):
        shared.file(f"{number}.csv", header, "x,call,2026-09-20")
    shared.healthy()
    outcome = shared.passed()
    assert outcome.exit_code == Exit.UNAVAILABLE
    assert [named(outcome, f"{number}.csv has ") for number in range(3)] == [1, 1, 1]
    assert shared.delivered() == {"c1", "e1", "o1"}


@pytest.mark.parametrize(
    "line", [b'{"a":[' + b"[]," * 30_000 + b"0]}", b'{"id":"x","kind":"call","a":' + b"[" * 90_000]
)
def test_many_lines_of_many_values_cost_bounded_memory(shared: Shared, line: bytes) -> None:
    shared.file("a.jsonl", *[line] * 40, call("c9"))
    tracemalloc.start()
    assert shared.passed().exit_code == Exit.OK
    assert tracemalloc.get_traced_memory()[1] < 60 * MIB
    tracemalloc.stop()
    assert "c9" in shared.delivered()


def test_a_look_up_of_many_large_records_is_spread_over_passes(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.jsonl.MOST_LOOKED_UP", 10_000)
    shared.file("a.jsonl", *[call(f"c{number}", contact_email="", pad="x" * 3000) for number in range(20)])
    connector = shared.connect()
    ids = [f"c{number}" for number in range(20)]
    (page,) = connector.fetch_ids("calls", [*ids, "gone"])
    assert 2 <= len(page.records) <= 5
    assert page.missing == []


def test_half_an_emoji_in_any_column_is_removed_and_the_line_is_sent(shared: Shared) -> None:
    half = "\ud83d"
    rows = []
    for column in sorted(Columns.model_fields):
        row = json.loads(call(column, created_at="2026-09-20T10:00:00Z", status="done", duration_minutes="1"))
        row[column] = f"{row.get(column, 'x')}{half}"
        rows.append(json.dumps(row))
    shared.file("a.jsonl", *rows)
    assert shared.passed().exit_code == Exit.OK
    states = shared.states()
    assert set(states.values()) == {"delivered"}
    assert set(Columns.model_fields) - {"id"} == states.keys() & Columns.model_fields.keys(), "an id stays as written"
    assert len(states) == len(Columns.model_fields)


# -- check -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "done_mode", "warned"),
    [
        (0o755, 0o755, set()),
        (0o2770, 0o775, set()),
        (0o1777, 0o755, set()),
        (0o777, 0o755, {"folder"}),
        (0o755, 0o777, {"done folder"}),
        (0o755, 0o1777, {"done folder"}),
        (0o702, 0o702, {"folder", "done folder"}),
    ],
)
def test_check_warns_of_folders_that_every_user_may_write(
    shared: Shared, mode: int, done_mode: int, warned: set[str]
) -> None:
    shared.config.done_path.mkdir()
    shared.path.chmod(mode)
    shared.config.done_path.chmod(done_mode)
    found = [each for each in shared.connect().check() if not each.ok]
    assert {each.what for each in found} == warned
    hints = {
        "folder": f"share it by a group instead: chmod o-w {shared.path}",
        "done folder": f"only syncd writes there: chmod o-w {shared.config.done_path}",
    }
    assert all(each.warning and each.hint == hints[each.what] and "every user" in each.message for each in found)


def test_the_done_folder_that_syncd_makes_is_writable_to_nobody_else(shared: Shared) -> None:
    before = os.umask(0)
    try:
        shared.moved_in()
    finally:
        os.umask(before)
    assert shared.config.done_path.stat().st_mode & 0o022 == 0
    assert (shared.config.done_path / MARK).stat().st_mode & 0o022 == 0
