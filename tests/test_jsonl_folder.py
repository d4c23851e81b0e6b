"""The folder: which files are read, how they move aside, and the operator's messages about them."""

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.jsonl import Jsonl
from connectors.jsonl import lines as lines_module
from connectors.jsonl.lines import File
from connectors.jsonl.naming import MARK, TAKING
from connectors.jsonl.place import Place
from syncd.config import load, sources
from syncd.connector import Finding, Window
from syncd.errors import ConfigError, Unavailable
from syncd.passes.reader import PassStore
from tests.drops import Drop, call, email


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    with Drop(tmp_path) as made:
        yield made


@pytest.fixture
def store(drop: Drop) -> PassStore:
    return PassStore({}, drop.now)


def whole_pass(drop: Drop, store: PassStore, *, minutes: float = 5) -> dict[str, Any]:
    """Read both streams, and keep the connector's store."""
    drop.later(minutes=minutes)
    connector = drop.connect(store)
    connector.identity()
    return {**drop.read("calls", connector), **drop.read("emails", connector)}


# -- what is read ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "B.NDJSON", "c.d.csv"])
def test_files_are_known_by_their_suffix(drop: Drop, name: str) -> None:
    rows = ["id,kind,occurred_at", "c1,call,2026-01-01"] if name.endswith("csv") else [call("c1")]
    drop.file(name, *rows)
    assert set(drop.read()) == {"c1"}


WHOLE = "rename it when it is whole"
OTHER_KIND = "convert it to one of these kinds, or move it out of the folder"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        *((name, WHOLE) for name in (".a.jsonl", "a.jsonl.tmp", "a.part", "a.jsonl.partial", "a.jsonl~")),
        *((name, OTHER_KIND) for name in ("a.xlsx", "a")),
        (f"{TAKING}20261005T080000000Z-10-a.txt", "give it another name, without the one that syncd uses while it"),
    ],
)
def test_what_is_under_way_by_its_name_or_not_ours_is_left_alone(
    drop: Drop, store: PassStore, name: str, hint: str
) -> None:
    path = drop.path / name
    path.write_text(call("c1") + "\n")
    drop.touch(path)
    for _ in range(3):
        assert whole_pass(drop, store) == {}
    assert drop.waiting == [name]
    (found,) = [each for each in drop.connect().check() if not each.ok]
    assert (found.warning, hint in found.hint) == (True, True)


@pytest.mark.parametrize(
    ("age_s", "ended", "hint"),
    [
        (9, True, "nothing to do: it is read when it has not changed for quiet_for"),
        (11, True, ""),
        (11, False, "end its last line. Give a file another name, such as x.jsonl.part, until it is whole"),
        (590, False, "end its last line. Give a file another name, such as x.jsonl.part, until it is whole"),
        (610, False, ""),
    ],
)
def test_a_file_is_read_when_it_has_been_quiet_and_longer_where_its_last_line_has_no_end(
    drop: Drop, age_s: int, ended: bool, hint: str
) -> None:
    drop.file("a.jsonl", call("c1"), age_s=age_s, ended=ended)
    found = [each.hint for each in drop.connect().check() if not each.ok]
    assert (bool(drop.read()), found) == (not hint, [hint] if hint else [])


def test_folders_links_and_pipes_are_left_alone(drop: Drop, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text(call("c1") + "\n")
    (drop.path / "link.jsonl").symlink_to(elsewhere)
    (drop.path / "folder.jsonl").mkdir()
    os.mkfifo(drop.path / "pipe.jsonl")
    assert drop.read() == {}


def test_what_was_dropped_first_comes_first(drop: Drop) -> None:
    drop.file("b.jsonl", call("c1", title="old"), age_s=90)
    drop.file("a.jsonl", call("c1", title="new"), age_s=60)
    assert drop.read()["c1"].row["title"] == "new"


def test_within_a_file_the_later_line_of_an_id_counts(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1", title="old"), call("c1", title="new"))
    assert drop.read()["c1"].row["title"] == "new"
    (page,) = drop.connect().fetch_ids("calls", ["c1"])
    assert [record.row["title"] for record in page.records] == ["new"]


def test_a_file_that_grows_after_it_was_read_is_read_again(drop: Drop, store: PassStore) -> None:
    path = drop.file("a.jsonl", call("c1"))
    whole_pass(drop, store)
    with path.open("a") as file:
        file.write(call("c2") + "\n")
    drop.touch(path)
    assert set(whole_pass(drop, store)) == {"c1", "c2"}
    whole_pass(drop, store)
    assert drop.done == ["a.jsonl"]


def test_a_file_that_grows_among_the_done_is_read_again_from_then_on(drop: Drop, store: PassStore) -> None:
    """Whoever kept it open when it was moved goes on writing to it."""
    with drop.file("a.jsonl", call("c1")).open("a") as still_open:
        whole_pass(drop, store)
        whole_pass(drop, store)
        assert drop.done == ["a.jsonl"]
        still_open.write(call("c2") + "\n")
    before = drop.at
    drop.later(minutes=5)
    assert set(drop.read(connector=drop.connect(store), since=before)) == {"c1", "c2"}
    assert drop.done == ["a.jsonl"]


def test_another_file_under_the_same_name_is_another_file(drop: Drop, store: PassStore) -> None:
    for number in range(3):
        drop.file("a.jsonl", call(f"c{number}"))
        assert f"c{number}" in whole_pass(drop, store)
        whole_pass(drop, store)
    assert drop.done == ["a.jsonl"] * 3


def test_a_file_that_takes_the_place_of_another_while_that_is_moved_is_read(
    drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size and at the last instant."""
    drop.file("a.jsonl", call("c1"))
    whole_pass(drop, store)
    rename = Place.rename
    raced: list[Path] = []

    def racing(self: Place, name: str, into: Place, new: str) -> None:
        if new.startswith(TAKING) and not raced:
            raced.append(drop.file("a.jsonl", call("c2"), age_s=30))
        rename(self, name, into, new)

    monkeypatch.setattr(Place, "rename", racing)
    before = drop.at
    drop.later(minutes=5)
    assert set(drop.read(connector=drop.connect(store), since=before + timedelta(seconds=1))) == {"c2"}
    assert raced
    assert drop.done == ["a.jsonl"]


def test_a_file_that_vanishes_stops_nobody(drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop.file("a.jsonl", call("c1"), age_s=90)
    drop.file("b.jsonl", call("c2"))

    def opened(file: File) -> Any:
        path.unlink(missing_ok=True)
        return file.path.open("rb")

    monkeypatch.setattr("connectors.jsonl.opened", opened)
    assert set(whole_pass(drop, store)) == {"c2"}


def test_two_passes_that_only_look_find_the_same_and_move_nothing(drop: Drop) -> None:
    """The same holds for `sync --dry-run` before the first pass, whose store is not kept."""
    drop.file("a.jsonl", call("c1"), email("e1"))
    for _ in range(3):
        assert set(drop.read()) == {"c1"}
    assert drop.waiting == ["a.jsonl"]
    assert not drop.config.done_path.exists()


# -- moving ------------------------------------------------------------------------------


def test_files_move_to_another_file_system_by_a_copy(
    drop: Drop, store: PassStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop.table["done"] = str(tmp_path / "far" / "done")
    rename = Place.rename

    def across(self: Place, name: str, into: Place, new: str) -> None:
        if self is not into:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(self, name, into, new)

    monkeypatch.setattr(Place, "rename", across)
    drop.file("a.jsonl", call("c1"))
    whole_pass(drop, store)
    whole_pass(drop, store)
    assert (drop.waiting, drop.done) == ([], ["a.jsonl"])
    (page,) = drop.connect(store).fetch_ids("calls", ["c1"])
    assert len(page.records) == 1
    assert not list(drop.config.done_path.glob(".syncd-copying*"))


def test_a_file_that_cannot_be_moved_is_said_and_stays_readable(
    drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Place.rename

    def full(self: Place, name: str, into: Place, new: str) -> None:
        if into.path == drop.config.done_path and new != MARK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(self, name, into, new)

    drop.file("a.jsonl", call("c1", title="x"))
    whole_pass(drop, store)
    with monkeypatch.context() as patched:
        patched.setattr(Place, "rename", full)
        for _ in range(2):
            with pytest.raises(
                Unavailable, match=r"^a.jsonl was read and cannot be moved to .*No space left"
            ) as raised:
                whole_pass(drop, store)
            assert raised.value.hint == (
                "check that syncd's user may write there, and that there is room. A later pass moves it"
            )
        (page,) = drop.connect(store).fetch_ids("calls", ["c1"])
        assert page.records[0].related == {"file": "a.jsonl", "line": 1}
    whole_pass(drop, store)
    whole_pass(drop, store)
    assert (drop.waiting, drop.done) == ([], ["a.jsonl"])


def test_a_name_as_long_as_a_file_system_takes_is_cut_in_front(drop: Drop, store: PassStore) -> None:
    drop.file("x" * 240 + ".csv", "id,kind,occurred_at", "c1,call,2026-01-01")
    whole_pass(drop, store)
    assert set(whole_pass(drop, store)) == {"c1"}
    assert drop.done == ["x" * 176 + ".csv"]


def test_a_name_that_is_no_text_is_read_and_shown_without_harm(drop: Drop, store: PassStore) -> None:
    drop.file("a.jsonl", "bad").rename(drop.path / os.fsdecode(b"\xff\n.jsonl"))
    (record,) = whole_pass(drop, store).values()
    assert record.related["file"].encode().isascii()
    whole_pass(drop, store)
    assert drop.waiting == []


def test_strange_names_among_the_done_are_passed_over(drop: Drop) -> None:
    drop.config.done_path.mkdir()
    for name in ("note.txt", "99999999T999999999Z-3-x.jsonl", "20260101T000000000Z-1-x.jsonl.gz.part", "x.jsonl"):
        (drop.config.done_path / name).write_text("x")
    assert drop.read("emails") == {}


# -- look-ups ----------------------------------------------------------------------------


def test_the_newest_file_tells_of_an_id_and_files_before_it_are_not_opened(
    drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        drop.file(f"{number}.jsonl", call("c1", title=f"{number}"), email("c1", title="mail"))
        whole_pass(drop, store)
    names: list[str] = []

    def opened(file: File) -> Any:
        names.append(file.name)
        return file.path.open("rb")

    monkeypatch.setattr("connectors.jsonl.opened", opened)
    (page,) = drop.connect(store).fetch_ids("calls", ["c1"])
    assert [record.row["title"] for record in page.records] == ["2"]
    assert names == ["2.jsonl"]
    (page,) = drop.connect(store).fetch_ids("calls", ["nobody", "c1"])
    assert (len(page.records), page.missing) == (1, ["nobody"])


def test_what_arrives_is_newer_than_all_that_is_done_also_by_a_new_ledger_and_a_clock_that_is_behind(
    drop: Drop, store: PassStore
) -> None:
    drop.file("a.jsonl", call("c1", title="old"))
    whole_pass(drop, store)
    whole_pass(drop, store)
    drop.later(days=-2)
    drop.file("b.jsonl", call("c1", title="new"))
    (page,) = drop.connect().fetch_ids("calls", ["c1"])
    assert [record.row["title"] for record in page.records] == ["new"]


def test_where_a_file_cannot_be_read_nothing_is_said_to_be_missing(
    drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop.file("a.jsonl", call("c1"), age_s=90)
    drop.file("b.jsonl", call("c2"))
    whole_pass(drop, store)

    def opened(file: File) -> Any:
        if file.name == "a.jsonl":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return file.path.open("rb")

    monkeypatch.setattr("connectors.jsonl.opened", opened)
    connector = drop.connect(store)
    (page,) = connector.fetch_ids("calls", ["c1", "c2"])
    assert ([record.ref.crm_id for record in page.records], page.missing) == (["c2"], [])
    monkeypatch.undo()
    assert set(drop.read("calls", connector)) == {"c1", "c2"}  # a look-up in vain stops no window
    with pytest.raises(Unavailable, match=r"^a.jsonl cannot be read \(Permission denied\)"):
        drop.read("emails", connector)


def test_a_file_that_fails_after_it_was_stamped_is_read_when_it_can_be(
    drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the watermark has gone past its stamp: it gets another."""
    drop.file("a.jsonl", call("c1"), age_s=90)
    drop.file("b.jsonl", call("c2"))

    def opened(file: File) -> Any:
        if file.name == "a.jsonl":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return file.path.open("rb")

    with monkeypatch.context() as patched:
        patched.setattr("connectors.jsonl.opened", opened)
        with pytest.raises(Unavailable):
            whole_pass(drop, store)
    watermark = drop.at
    drop.later(minutes=5)
    assert "c1" in drop.read(connector=drop.connect(store), since=watermark)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files that cannot be opened."""
    names: set[str] = set()

    def opened(file: File) -> Any:
        if file.name in names:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return file.path.open("rb")

    monkeypatch.setattr("connectors.jsonl.opened", opened)
    return names


def test_a_done_file_that_cannot_be_read_holds_up_no_other_and_is_read_when_it_can_be(
    drop: Drop, store: PassStore, unreadable: set[str]
) -> None:
    for number in range(3):
        drop.file(f"{number}.jsonl", call(f"c{number}"))
        whole_pass(drop, store)
    unreadable.add("1.jsonl")
    drop.file("3.jsonl", call("c3"))
    connector = drop.connect(store)
    assert set(drop.read("calls", connector)) == {"c0", "c2", "c3"}
    with pytest.raises(Unavailable, match=r"^1.jsonl cannot be read") as error:
        drop.read("emails", connector)
    assert error.value.hint == "check that syncd's user may read it, and that its disk is sound"
    unreadable.clear()
    drop.later(minutes=5)
    assert "c1" in drop.read("calls", drop.connect(store), since=drop.now() - timedelta(minutes=6))


def test_a_done_file_that_can_be_neither_read_nor_renamed_ends_the_window_before_it(
    drop: Drop, store: PassStore, unreadable: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watermark must not pass it: earlier lines are sent, later ones wait."""
    for number in range(3):
        drop.file(f"{number}.jsonl", call(f"c{number}"))
        whole_pass(drop, store)
    unreadable.add("1.jsonl")
    connector = drop.connect(store)
    monkeypatch.setattr(connector._folder._archive, "_restamped", lambda file: file)
    pages = connector.fetch("calls", Window(drop.config.start, None, lambda refs: {r.crm_id for r in refs}))
    assert [ref.crm_id for ref in next(pages).refs] == ["c0"]
    with pytest.raises(Unavailable, match=r"^1.jsonl cannot be read"):
        next(pages)


def test_a_count_moves_nothing_and_says_what_it_could_not_read(
    drop: Drop, store: PassStore, unreadable: set[str]
) -> None:
    drop.file("a.jsonl", call("c1"))
    whole_pass(drop, store)
    whole_pass(drop, store)
    before = sorted(drop.config.done_path.iterdir())
    unreadable.add("a.jsonl")
    with pytest.raises(Unavailable, match="a.jsonl"):
        drop.connect(store).count("calls", Window(drop.config.start, None, lambda refs: ()))
    assert sorted(drop.config.done_path.iterdir()) == before


def test_a_done_file_that_somebody_compressed_is_gone_and_no_file_of_bad_lines(drop: Drop, store: PassStore) -> None:
    drop.file("a.jsonl", call("c1"))
    whole_pass(drop, store)
    whole_pass(drop, store)
    (done,) = drop.config.done_path.glob("2*-a.jsonl")
    done.with_name(f"{done.name}.gz").write_bytes(b"\x1f\x8b\x08 no json")
    done.unlink()
    assert drop.read("calls", drop.connect(store)) == {}


def test_a_file_that_changes_between_the_look_at_it_and_its_opening_is_for_the_next_pass(
    drop: Drop, store: PassStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop.file("a.jsonl", call("c1"))
    real = lines_module.opened

    def opened(file: File) -> Any:
        path.write_text(call("c1", title="longer") + "\n")
        drop.touch(path)
        return real(file)

    with monkeypatch.context() as patched:
        patched.setattr("connectors.jsonl.opened", opened)
        assert whole_pass(drop, store) == {}
    watermark = drop.at
    drop.later(minutes=5)
    assert drop.read(connector=drop.connect(store), since=watermark)["c1"].row["title"] == "longer"


# -- check and configuration -------------------------------------------------------------


def lines(found: list[Finding]) -> list[tuple[str, bool, str]]:
    return [(each.what, each.ok, each.message) for each in found]


def test_check_says_what_waits_what_is_left_alone_and_whether_lines_can_be_read(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1", title="Secret roof"), "bad")
    drop.file("b.csv", "id,kind")
    drop.file("c.jsonl", call("c1"), age_s=3)
    drop.file("d.jsonl", call("c1"), ended=False)
    before = sorted(path.name for path in drop.path.rglob("*"))
    found = drop.connect().check()
    assert lines(found) == [
        ("folder", True, f"{drop.path}: 1 file(s) to read, 0 among the done"),
        ("done folder", True, f"{drop.path}/done: what was read goes there"),
        ("file", False, "b.csv has no column 'occurred_at' in its first line"),
        ("file", False, "c.jsonl is left alone: it changed a moment ago"),
        ("file", False, "d.jsonl is left alone: it ends in the middle of a line"),
        ("mapping", False, "1 of the first 2 lines cannot be read: line 2 of a.jsonl is not JSON"),
    ]
    assert [each.what for each in found if not each.ok and not each.warning] == ["file"]
    assert found[-1].hint.endswith("Each bad line becomes a dead row that names file and line")
    assert sorted(path.name for path in drop.path.rglob("*")) == before


def test_check_is_content_with_a_good_folder(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1"), email("e1"))
    assert lines(drop.connect().check())[-1] == ("mapping", True, "the first 2 line(s) of a.jsonl can be read")
    assert all(each.ok for each in drop.connect().check())


def test_check_says_where_syncd_may_not_write_or_would_have_to_copy(
    drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode, **kwargs: False)
        right = "give syncd's user the right to write there"
        assert [(each.what, each.exit_code, each.hint) for each in drop.connect().check() if not each.ok] == [
            ("folder", 69, f"{right}, e.g. by a group that it shares with those who drop files"),
            ("done folder", 69, right),
        ]
        drop.config.done_path.mkdir()
        found = drop.connect().check()[-1]
        assert (found.message, found.hint) == (f"{drop.config.done_path} cannot be written", right)
    drop.table["done"] = str(tmp_path / "a-file")
    (tmp_path / "a-file").write_text("")
    assert lines(drop.connect().check())[-1] == (
        "file", False, f"{tmp_path}/a-file cannot be read (Not a directory)",
    )  # fmt: skip
    monkeypatch.setattr(os, "access", lambda path, mode, **kwargs: True)
    drop.table["done"] = "/proc"
    found = drop.connect().check()[-1]
    assert (found.warning, found.message) == (True, "/proc is on another file system: files are copied there")
    assert found.hint.startswith("nothing to do: it works. On one file system")


def test_check_names_a_few_files_and_counts_the_others(drop: Drop) -> None:
    for number in range(7):
        drop.file(f"{number}.csv", "id,kind")
        drop.file(f"{number}.xml")
    said = [message for what, _, message in lines(drop.connect().check()) if what == "file"]
    assert len(said) == 12
    assert {"2 more files cannot be read", "2 more files are left alone"} <= set(said)
    rest = [each.hint for each in drop.connect().check() if each.message.startswith("2 more files")]
    assert len(rest) == 2
    assert all("`syncd check` shows the next ones" in hint and "same" not in hint for hint in rest), "they may differ"
    with pytest.raises(Unavailable, match=r"3.csv has no|and 4 more$") as raised:
        whole_pass(drop, PassStore({}, drop.now))
    assert raised.value.hint.endswith("or correct its first line: nothing of it was read")
    (drop.path / "0.jsonl").symlink_to(drop.path / "0.csv")
    with pytest.raises(Unavailable) as raised:
        whole_pass(drop, PassStore({}, drop.now))
    assert raised.value.hint.startswith("`syncd check` names the first such files and the remedy of each.")


def test_a_folder_that_is_not_there_is_one_finding_and_one_error(drop: Drop) -> None:
    drop.path.rmdir()
    (found,) = drop.connect().check()
    assert (found.ok, found.exit_code, found.message) == (
        False,
        69,
        f"{drop.path} cannot be read (No such file or directory)",
    )
    assert found.hint == "check that it exists, that it is mounted, and that syncd's user may read it"
    with pytest.raises(Unavailable, match="cannot be read"):
        drop.read()


def test_the_folders_own_id_comes_with_the_first_move_and_stays(drop: Drop, store: PassStore) -> None:
    assert drop.connect(store).identity() is None
    drop.file("a.jsonl", call("c1"))
    whole_pass(drop, store)
    whole_pass(drop, store)
    known = drop.connect(store).identity()
    assert known
    assert drop.connect().identity() == known == (drop.config.done_path / MARK).read_text().strip()


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("", "sources.files.path: is missing"),
        ('path = "drop"', 'sources.files.path: expected an absolute path, e.g. "/var/lib/syncd/drop"'),
        ("path = 5", "sources.files.path: expected a path in quotes"),
        ('path = "/drop"\ndone = "done"', 'sources.files.done: expected an absolute path, e.g. "/var/lib/syncd/drop"'),
        ('path = "/drop"\ndone = "/drop"', "sources.files: done: expected another folder than path"),
        ('path = "/drop"\nkind = "sms"', 'sources.files.kind: expected "call", "email", or "" if a column names it'),
        (
            'path = "/drop"\ntimezone = "Mars"',
            'sources.files.timezone: unknown time zone, expected e.g. "Europe/Berlin"',
        ),
        ('path = "/drop"\ntimezone = "../etc"', "sources.files.timezone: unknown time zone"),
        ('path = "/drop"\ndelimiter = ";;"', "sources.files.delimiter: expected one character"),
        ('path = "/drop"\nquiet_for = "soon"', "sources.files.quiet_for: expected a duration"),
        ('path = "/drop"\ncolumns = { ocurred_at = "x" }', "sources.files.columns.ocurred_at: unknown key"),
        ('path = "/drop"\ncolumns = { id = 5 }', "sources.files.columns.id: expected text in quotes"),
        (
            'path = "/drop"\ncolumns = { occurred_at = "", created_at = "" }',
            "sources.files: columns: expected a column for",
        ),
        (
            'path = "/drop"\ncolumns = { kind = "" }',
            'sources.files: kind: expected "call" or "email" where columns.kind',
        ),
        ('path = "/drop"\npaths = "/drop"', "sources.files.paths: unknown key"),
    ],
)
def test_each_mistake_in_the_table_is_told_with_what_would_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, mistake: str
) -> None:
    monkeypatch.setitem(sources.BUILT_IN, "jsonl", "connectors.jsonl:Jsonl")
    monkeypatch.setenv("KEY", "k" * 10)
    file = tmp_path / "syncd.toml"
    file.write_text(
        '[recotap]\napi_key = "env:KEY"\n[sources.files]\nconnector = "jsonl"\nstart = 2026-01-01T00:00:00Z\n' + line
    )
    with pytest.raises(ConfigError) as error:
        load(file, environ={}, now=datetime(2026, 6, 1, tzinfo=UTC))
    (problem,) = error.value.problems
    assert f"{problem.path}: {problem.message}".startswith(mistake)


def test_a_whole_table_is_read(drop: Drop) -> None:
    config = Jsonl.Config(**{**drop.table, "done": "", "columns": {"id": " number "}})
    assert config.done_path == drop.path / "done"  # type: ignore[attr-defined]
    assert config.columns.id == "number"  # type: ignore[attr-defined]
    assert config.overlap == timedelta(0)


def test_a_pass_lists_the_done_folder_once_unless_its_names_change(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold years, and both streams and each look-up need it."""
    for number in range(3):
        drop.file(f"{number}.jsonl", call(f"c{number}"))
        drop.sync()
    drop.sync()
    assert len(drop.done) == 3
    listed, entries = [], Place.entries

    def counted(place: Place) -> Any:
        if place.path == drop.config.done_path:
            listed.append(place)
        return entries(place)

    monkeypatch.setattr(Place, "entries", counted)
    drop.later(minutes=5)
    connector = drop.connect()
    for stream in ("calls", "emails"):
        drop.read(stream, connector)
    for crm_id in ("c0", "c1", "c2", "none"):
        list(connector.fetch_ids("calls", [crm_id]))
    assert len(listed) == 1
    late = f"{drop.at:%Y%m%dT%H%M%S}000Z-{len(call('late')) + 1}-late.jsonl"
    (drop.config.done_path / late).write_text(call("late") + "\n")
    assert set(drop.read("calls", connector)) == {"c0", "c1", "c2", "late"}
    assert len(listed) == 2


def test_a_file_that_a_pass_moves_is_read_by_the_same_pass(drop: Drop) -> None:
    """The kept list of done files follows the move, or a look-up would not find the file in either folder."""
    store = PassStore({}, drop.now)
    drop.file("a.jsonl", call("c1"), email("e1"))
    whole_pass(drop, store)
    drop.later(minutes=5)
    connector = drop.connect(store)
    drop.read("calls", connector)
    assert (drop.waiting, len(drop.done)) == ([], 1)
    (page,) = connector.fetch_ids("emails", ["e1", "e0"])
    assert ([ref.crm_id for ref in page.refs], page.missing) == (["e1"], ["e0"])
