"""A copy of a ledger has everything, work goes on in it, and the ledger that was copied refuses to be used."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import ConfigError, LedgerError, LedgerHeld
from syncd.ledger import AnyLedger, LedgerHandle
from syncd.ledger.copying import Copied, copy
from syncd.ledger.schema import MIGRATIONS, V1
from syncd.ledger.tables import tables
from syncd.lifecycle.states import State, Verdict
from tests.copies import WAYS, dump, fill, place
from tests.ledgers import DAY, NOW, URL, ask, attempts, book, counted, due, files, kept, reading, row, send, stranger


def copied(source: Any, target: Any, *, keep: bool = False) -> Copied:
    return copy(source, target, keep=keep, now=NOW)


@pytest.fixture(params=WAYS, ids="-to-".join)
def kinds(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of both ledgers."""
    here, there = request.param
    return here, there


@pytest.fixture
def pair(kinds: tuple[str, str], tmp_path: Path) -> tuple[AnyLedger, AnyLedger]:
    """A filled ledger, and a place for its copy."""
    source, target = place(tmp_path, kinds[0]), place(tmp_path, kinds[1], "b")
    fill(source)
    return source, target


def test_the_ledger_of_these_tests_has_every_kind_of_row(tmp_path: Path) -> None:
    source = place(tmp_path, "file")
    fill(source)
    assert [name for name, rows in dump(source).items() if not rows] == []
    assert {state for (state,) in ask(source, "SELECT state FROM activities")} == {*State}
    tried = {verdict for (verdict,) in ask(source, "SELECT verdict FROM attempts")}
    assert tried >= {*Verdict} - {Verdict.CRASHED} | {None}
    assert ask(source, "SELECT sum(twins) FROM streams") == [(1,)]


def test_a_copy_has_every_row_and_so_has_its_copy_of_the_first_kind(pair: Any, kinds: Any, tmp_path: Path) -> None:
    source, target = pair
    before = dump(source)
    first = copied(source, target)
    assert dump(target) == dump(source) == before
    assert first.rows == {name: len(rows) for name, rows in before.items()}
    assert first.seen == {"hubspot/calls": 2 + len(Verdict), "hubspot/emails": 4}
    third = place(tmp_path, kinds[0], "c")
    assert copied(target, third).sha256 == first.sha256
    assert dump(third) == before


def test_work_goes_on_in_the_copy_as_it_would_have_in_the_source(pair: Any) -> None:
    source, target = pair
    copied(source, target)
    (last,) = ask(target, "SELECT max(id) FROM posts")
    with target.open() as ledger:
        assert ledger.recover(now=NOW + DAY) == 2
        first = ledger.first_post()
        assert first == last[0] + 1
        assert len(due(ledger, now=NOW + DAY, first_post=first)) > 2
        book(ledger, reading(99), now=NOW + DAY)
        send(ledger, now=NOW + DAY)
        ledger.end_pass(ledger.begin_pass(NOW + DAY), exit_code=0, now=NOW + DAY)
        assert ledger.balanced()
        assert kept(ledger) == counted(ledger)
        assert row(ledger, 99)["state"] == "delivered"
        assert row(ledger, 99)["id"] == 7 + len(Verdict)
    assert attempts(target, 99) == ["created"]
    with stranger(target) as db:
        db.execute("DELETE FROM twins")
    assert ask(target, "SELECT twins FROM streams WHERE stream = 'calls'") == [(0,)], "its triggers are at work"


def test_a_copied_file_is_made_as_every_other_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    source, target, fresh = (place(tmp_path, "file", name) for name in "abc")
    fill(source)
    copied(source, target)
    with fresh.open():
        pass
    made = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    assert ask(target, made) == ask(fresh, made)
    for pragma in ("user_version", "auto_vacuum", "journal_mode", "integrity_check"):
        assert ask(target, f"PRAGMA {pragma}") == ask(fresh, f"PRAGMA {pragma}")
    assert ask(target, "PRAGMA foreign_key_check") == []
    assert Path(str(target)).stat().st_mode & 0o777 == 0o600


def uses(handle: AnyLedger) -> list[Callable[[], Any]]:
    return [handle.open, handle.operate, handle.forget, handle.alerting]


def refused(handle: AnyLedger, error: type[Exception], words: str) -> str:
    """Expect each use of a ledger except reading to be refused. Return the hint."""
    hints = set()
    for use in uses(handle):
        with pytest.raises(error, match=words) as caught, use():
            pass
        hints.add(getattr(caught.value, "hint", ""))
    (hint,) = hints
    return hint


def test_a_ledger_that_was_moved_can_be_read_but_not_used(pair: Any) -> None:
    source, target = pair
    with source.operate() as early:
        copied(source, target)
        before = dump(source)
        with pytest.raises(ConfigError, match="was moved to"):
            early.retry((), state="pending", reason=None, now=NOW)
        assert dump(source) == before
    hint = refused(source, ConfigError, f"{source} was moved to {target} at 2026-06-01")
    assert "let [ledger] name the new place. The way back is `syncd ledger copy`" in hint
    with pytest.raises(ConfigError):
        source.require_use()
    with source.reports() as reports:
        assert reports.counts()
    target.require_use()


def retry(source: AnyLedger) -> None:
    with source.operate() as operator:
        operator.retry((), state="pending", reason=None, now=NOW + DAY)


def keep_alerts(source: AnyLedger) -> None:
    with source.alerting() as alerting:
        alerting.keep_alerts({"noted": "during the copy"}, NOW)


@pytest.mark.parametrize("write", [retry, keep_alerts])
def test_what_is_written_beside_a_copy_is_not_lost(pair: Any, write: Callable[[AnyLedger], None]) -> None:
    """It would stay in the ledger that is moved. So it waits, and is refused."""
    source, target = pair
    before = dump(source)
    with ThreadPoolExecutor(1) as other:
        tried: list[Future[None]] = []

        def beside(step: str, done: int, total: int) -> None:
            if not tried:
                tried.append(other.submit(write, source))
                assert not wait(tried, timeout=0.3).done, "it waits for the end of the copy"

        copy(source, target, keep=False, now=NOW, progress=beside)
        with pytest.raises(ConfigError, match="was moved to"):
            tried[0].result()
    assert dump(target) == dump(source) == before


def test_a_kept_ledger_goes_on_and_its_copy_is_for_reading_until_it_is_copied_itself(
    pair: Any, kinds: Any, tmp_path: Path
) -> None:
    source, target = pair
    with source.hold("run"), source.open() as ledger:
        copied(source, target, keep=True)
        book(ledger, reading(99))
    hint = refused(target, ConfigError, f"copy of {source} of 2026-06-01T12:00:00.000Z, for reading only")
    assert "name the ledger that is in use. To use the copy, `syncd ledger copy` it" in hint
    with target.reports() as reports:
        assert reports.balanced()
    restored = place(tmp_path, kinds[0], "c")
    copied(target, restored)
    with restored.open() as ledger:
        assert ledger.balanced()


def test_the_way_back_replaces_the_ledger_that_was_moved(pair: Any) -> None:
    source, target = pair
    copied(source, target)
    with target.open() as ledger:
        book(ledger, reading(99))
    newest = dump(target)
    copied(target, source)
    assert dump(source) == newest
    source.require_use()
    refused(target, ConfigError, "was moved to")


def forget_newest(handle: Any) -> None:
    """Let a ledger seem older than it was at the end of its last pass."""
    with stranger(handle) as db:
        if hasattr(handle, "url"):
            db.execute("UPDATE meta SET history = '1/00000001/1'")
        else:
            db.execute("DELETE FROM passes")


def test_a_ledger_that_went_back_is_copied_after_a_pass_has_noticed_it(pair: Any) -> None:
    source, target = pair
    with source.hold("sync") as hold, hold.ledger.open() as ledger:
        ledger.remember()
    forget_newest(source)
    with pytest.raises(ConfigError, match="went back, e.g. to a backup, and no pass has noticed that yet") as caught:
        copied(source, target)
    assert "run `syncd sync` with it, then copy it" in caught.value.hint
    with source.hold("sync") as hold, hold.ledger.open() as ledger:
        assert ledger.went_back()
        with ledger.transaction():
            ledger.take_history()
        ledger.remember()
    copied(source, target)
    with target.open() as ledger:
        assert not ledger.went_back()


def test_a_ledger_that_comes_back_did_not_go_back_unless_it_is_older(tmp_path: Path) -> None:
    source, target, older = (place(tmp_path, "file", name) for name in "abc")
    fill(source)
    with source.hold("sync") as hold, hold.ledger.open() as ledger:
        ledger.remember()
    copy(source, older, keep=True, now=NOW)
    with source.hold("sync"), source.open() as ledger:
        ledger.end_pass(ledger.begin_pass(NOW + DAY), exit_code=0, now=NOW + DAY)
        ledger.remember()
    copied(source, target)
    copied(target, source)
    with source.open() as ledger:
        assert not ledger.went_back()
    for each in files(Path(str(source))):
        each.unlink()
    copied(older, source)
    with source.open() as ledger:
        assert ledger.went_back()


def test_a_moved_ledger_is_copied_only_for_reading(pair: Any, kinds: Any, tmp_path: Path) -> None:
    source, target = pair
    copied(source, target)
    third = place(tmp_path, kinds[1], "c")
    with pytest.raises(ConfigError, match="was moved to"):
        copied(source, third)
    copied(source, third, keep=True)
    assert dump(third) == dump(target)


def test_a_ledger_with_rows_is_not_replaced(pair: Any) -> None:
    source, target = pair
    with target.open() as ledger:
        book(ledger, reading(1))
    before = dump(target)
    with pytest.raises(ConfigError, match="holds rows: a copy would replace them") as caught:
        copied(source, target)
    assert "name a place without a ledger, or move" in caught.value.hint
    assert dump(target) == before
    source.require_use()
    target.require_use()


def test_an_empty_ledger_may_be_the_target(pair: Any) -> None:
    source, target = pair
    with target.open():
        pass
    copied(source, target)
    assert dump(target) == dump(source)


def test_both_ends_are_held(pair: Any) -> None:
    source, target = pair
    for held in pair:
        with held.hold("run"), pytest.raises(LedgerHeld, match="is held by `syncd run`"):
            copied(source, target)
    with source.hold("run"):
        copied(source, target, keep=True)


def test_without_a_source_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger at"):
        copied(place(tmp_path, "file"), place(tmp_path, "file", "b"))
    assert [*tmp_path.iterdir()] == []


def test_an_older_ledger_or_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    source, older, other = place(tmp_path, "file"), LedgerHandle(tmp_path / "older"), LedgerHandle(tmp_path / "other")
    fill(source)
    with stranger(older) as db:
        for statement in (*V1, "INSERT INTO streams (source, stream) VALUES ('hubspot', 'calls')"):
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")
    (tmp_path / "other").write_text("somebody's list\n" * 100)
    before = [each.path.read_bytes() for each in (older, other)]
    for target, words in ((older, "is of an older syncd"), (other, "it is not a ledger")):
        with pytest.raises(LedgerError, match=words):
            copied(source, target)
    assert [each.path.read_bytes() for each in (older, other)] == before
    with pytest.raises(LedgerError, match="is of an older syncd"):
        copied(older, LedgerHandle(tmp_path / "b"))
    source.require_use()


@pytest.mark.parametrize("there", sorted({there for _, there in WAYS}))
def test_rows_whose_activity_was_removed_by_hand_are_not_copied(tmp_path: Path, there: str) -> None:
    source, target = place(tmp_path, "file"), place(tmp_path, there, "b")
    fill(source)
    with stranger(source) as db:  # sqlite3 does not keep references, unless it is asked to
        db.execute("DELETE FROM activities WHERE id IN (SELECT activity_id FROM payloads)")
    with pytest.raises(LedgerError, match="rows that belong to none, because others were removed by hand") as caught:
        copied(source, target)
    assert "restore a backup, or remove these too" in caught.value.hint
    source.require_use()


@pytest.mark.skipif(not URL, reason="a file has no connection")
@pytest.mark.parametrize("which", [0, 1])
def test_a_lost_connection_is_told_and_leaves_the_source(
    pair: Any, kinds: Any, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    from syncd.ledger.postgres_copying import PostgresEnd

    if kinds[which] != "server":
        pytest.skip("a file has no connection")
    read = PostgresEnd.rows

    def rows(end: Any, table: Any) -> Any:
        if end._handle == pair[which] and table.name == "days":
            end._db.close()
        yield from read(end, table)

    monkeypatch.setattr(PostgresEnd, "rows", rows)
    with pytest.raises(LedgerError, match=f"{pair[which]} cannot be used: the connection to PostgreSQL was lost"):
        copied(*pair)
    monkeypatch.undo()
    pair[0].require_use()
    copied(*pair)
    assert dump(pair[0]) == dump(pair[1])


def test_tables_are_those_of_the_migrations_parents_first() -> None:
    names = [table.name for table in tables()]
    assert len(names) == 17
    assert all(names.index(name) > names.index("streams") for name in ("activities", "ranges", "counts", "days"))
    assert names.index("twins") > names.index("activities") < names.index("past_attempts") > names.index("posts")
    assert len(MIGRATIONS) == 8, "look whether a copy takes what a new migration adds"
