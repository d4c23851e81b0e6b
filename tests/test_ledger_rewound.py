"""A ledger in PostgreSQL went back if the server serves another history than the one it was written in."""

from pathlib import Path
from typing import Any

import pytest

from syncd.errors import LedgerHeld
from tests.ledgers import NOW, URL, ask, book, in_postgres, reading

pytest.importorskip("psycopg")
histories = pytest.importorskip("syncd.ledger.postgres_history")
History = histories.History


@pytest.fixture
def handle(tmp_path: Path) -> Any:
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    return in_postgres(tmp_path)


def write_in(handle: Any, history: str) -> None:
    ask(handle, "UPDATE meta SET history = ? RETURNING 1", history)


def test_the_history_of_a_new_ledger_is_the_one_that_is_served(handle: Any) -> None:
    with handle.hold("sync") as hold, hold.ledger.open() as ledger:
        server, timeline, table = ledger._db.history.served.split("/")
        assert (len(timeline), server.isdigit(), table.isdigit()) == (8, True, True)
        assert ask(handle, "SELECT history FROM meta") == [(ledger._db.history.served,)]
        assert not ledger.went_back()


@pytest.mark.parametrize("part", [0, 1, 2], ids=["another server", "another timeline", "other tables"])
def test_each_part_of_it_tells_and_one_of_many_takes_the_new_one(handle: Any, part: int) -> None:
    with handle.hold("sync", ["a"]) as one, handle.hold("sync", ["b"]) as other:
        with one.ledger.open() as ledger:
            parts = ledger._db.history.served.split("/")
        write_in(handle, "/".join([*parts[:part], "0", *parts[part + 1 :]]))
        with one.ledger.open() as first, other.ledger.open() as second:
            assert first.went_back()
            assert second.went_back()
            with first.transaction():
                assert first.take_history()
            with second.transaction():
                assert not second.take_history()
        with other.ledger.open() as third:
            assert not third.went_back()


def test_a_part_that_a_server_does_not_tell_claims_nothing(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with handle.hold("sync") as hold:
        with hold.ledger.open() as ledger:
            server, _, table = ledger._db.history.served.split("/")
        monkeypatch.setattr(histories, "TIMELINE", "no_such_function()")
        with hold.ledger.open() as ledger:
            assert ledger._db.history.served == f"{server}/-/{table}"
            assert not ledger.went_back()
            book(ledger, reading(1))


def test_a_standby_that_is_promoted_under_a_pass_ends_it(handle: Any) -> None:
    """A pooler may hide the break of the connection. What the pass has booked since may be lost."""
    with handle.hold("sync") as hold, hold.ledger.open() as ledger:
        book(ledger, reading(1))
        kept, served = ledger._db.history
        server, _, table = served.split("/")
        ledger._db.history = History(kept, f"{server}/00000000/{table}")
        with pytest.raises(LedgerHeld, match="or PostgreSQL was away"):
            ledger.unpause(NOW)
        assert not hold.is_held()
        assert ask(handle, "SELECT count(*) FROM pauses") == [(0,)]


@pytest.mark.parametrize(
    ("kept", "served", "differs"),
    [
        ("1/2/3", "1/2/3", False),
        ("1/2/3", "1/4/3", True),
        ("1/2/3", "1/-/3", False),
        ("-/2/3", "1/2/3", False),
        ("-/2/3", "1/2/4", True),
    ],
)
def test_two_histories_differ_in_a_part_that_both_tell(kept: str, served: str, differs: bool) -> None:
    assert History(kept, served).differs is differs
