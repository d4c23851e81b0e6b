"""`syncd check` of the ledger's file: schema, integrity, books and disk."""

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from syncd.cli.check import ledger as check_ledger
from syncd.ledger import LedgerHandle
from syncd.ledger.schema import VERSION
from tests.conftest import Command, Ran
from tests.disks import fill, mounted
from tests.test_ledger_sqlite_schemas import SCHEMAS, of_schema
from tests.world import World

Lines = dict[str, str]


@pytest.fixture
def checked(live: World, command: Command) -> Callable[[], tuple[Ran, Lines]]:
    """Return a function that checks, and gives mark and text of each line by its subject."""

    def checked() -> tuple[Ran, Lines]:
        ran = command("check", "-c", live.write_config())
        found = (re.match(r"(ok|warn|error) +(.+?): (.*)", line) for line in ran.out.splitlines())
        return ran, {match[2]: f"{match[1]} {match[3]}" for match in found if match}

    return checked


def test_a_sound_ledger_shows_its_rows_schema_integrity_and_the_room_on_its_disk(live, command, checked) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    ran, lines = checked()
    assert ran.code == 0
    assert lines["ledger"] == f"ok {live.ledger}: 1 activity, the books balance"
    assert lines["ledger schema"] == f"ok {VERSION}, which this syncd uses"
    assert re.fullmatch(r"ok SQLite finds all [\d.]+ kB intact", lines["ledger integrity"])
    assert re.fullmatch(rf"ok {live.ledger.parent}: [\d.]+ [TG]B free", lines["disk"])


@pytest.mark.parametrize("number", SCHEMAS)
def test_a_ledger_of_each_older_schema_is_a_warning_and_stays_as_it_is(live, checked, number: int) -> None:
    live.ledger.parent.mkdir(mode=0o700)
    of_schema(number, live.ledger.parent).rename(live.ledger)
    ran, lines = checked()
    assert ran.code == 0
    assert lines["ledger schema"] == (
        f"warn {live.ledger} has schema {number}, and this syncd uses {VERSION}: the next pass migrates it"
    )
    assert "keep a backup: an older syncd cannot read it afterwards. `status`, `list` and `explain` wait" in ran.out
    assert lines["ledger integrity"].startswith("ok ")
    with closing(sqlite3.connect(live.ledger)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (number,)


def test_an_empty_file_is_set_up_by_the_first_pass(live, checked) -> None:
    live.ledger.parent.mkdir(mode=0o700)
    live.ledger.touch(mode=0o600)
    ran, lines = checked()
    assert (ran.code, lines["ledger"]) == (0, f"ok {live.ledger}: empty, and the first pass sets it up")


def test_a_directory_where_the_first_pass_may_not_write_is_an_error(
    checked, live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    ran, lines = checked()
    assert ran.code == 74
    assert lines["ledger"] == f"error {live.ledger} cannot be made: {live.path} is not writable"
    assert "let syncd's user write there, or set [ledger] path to a place where it can" in ran.out


def test_a_newer_ledger_is_an_error(live, command, checked) -> None:
    command("sync", "-c", live.config_file)
    live.sql("PRAGMA user_version = 1000")
    ran, lines = checked()
    assert ran.code == 74
    assert "newer than this syncd's" in lines["ledger"]


@pytest.mark.parametrize("number", [SCHEMAS[-1], VERSION])
def test_a_damaged_ledger_is_an_error_whatever_its_schema(live, command, checked, number: int) -> None:
    if number == VERSION:
        command("sync", "-c", live.config_file)
    else:
        live.ledger.parent.mkdir(mode=0o700)
        of_schema(number, live.ledger.parent).rename(live.ledger)
    damage(live.ledger)
    ran, lines = checked()
    assert ran.code == 74
    assert lines["ledger"] == f"error {live.ledger} is damaged"
    assert "keep the file, restore a backup, then run `syncd sync`: it reads again all that the backup lacks" in ran.out


def damage(path: Path) -> None:
    """Overwrite the root page of an index, which no schema keeps."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sql = "SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'activities' ORDER BY rootpage"
        (page,), (size,) = db.execute(sql).fetchone(), db.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_file_that_is_too_big_is_not_read_and_check_says_so(live, command, checked, monkeypatch) -> None:
    command("sync", "-c", live.config_file)
    damage(live.ledger)
    monkeypatch.setattr(check_ledger, "READ_MOST", 1000)
    _, lines = checked()
    assert lines["ledger integrity"].startswith("ok not tested, because the file has more than 1 kB: ")


def test_a_disk_that_is_nearly_full_is_a_warning_and_a_full_one_an_error(live, checked, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        live.configure("ledger", path=str(disk / "ledger.db"))
        ran, lines = checked()
        assert (ran.code, lines["disk"]) == (0, f"warn {disk}: only 1.05 MB free")
        filler = fill(disk)
        ran, lines = checked()
        assert (ran.code, lines["disk"]) == (74, f"error {disk}: the disk is full")
        assert ran.out.count("make room, or set [ledger] path to another disk") == 1
        filler.unlink()


def test_the_disk_of_a_ledger_that_is_not_there_yet_is_that_of_the_directory_above(tmp_path: Path) -> None:
    assert LedgerHandle(tmp_path / "a" / "b" / "ledger.db").free_bytes() == pytest.approx(
        LedgerHandle(tmp_path / "ledger.db").free_bytes(), rel=0.05
    )


def test_free_space_that_cannot_be_told_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("os.statvfs", refused)
    free = LedgerHandle(tmp_path / "ledger.db").free_bytes()
    assert (free, list(check_ledger.disk(free, "here", least=1))) == (None, [])


@pytest.mark.parametrize(("free", "ok"), [(2 * 10**9 - 1, False), (2 * 10**9, True)])
def test_a_disk_is_nearly_full_below_the_limit_of_the_alerts(live, checked, monkeypatch, free: int, ok: bool) -> None:
    live.configure("alerts", disk_free="2GB")
    monkeypatch.setattr(LedgerHandle, "free_bytes", lambda _: free)
    ran, lines = checked()
    assert (ran.code, lines["disk"].partition(" ")[0]) == (0, "ok" if ok else "warn")


@pytest.mark.parametrize(
    ("size", "words"), [(10**9, "1 GB"), (1_234_567, "1.23 MB"), (999, "0.999 kB"), (25 * 10**11, "2.5 TB")]
)
def test_a_size_has_three_digits(size: int, words: str) -> None:
    assert check_ledger.in_words(size) == words
