"""`syncd verify` finds the ids that only the CRM has, and those that only the ledger has, on each kind of ledger."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from syncd.errors import LedgerError
from syncd.ledger import AnyLedger, comparison
from syncd.lifecycle.states import State
from tests.ledgers import NOW, book, reading

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def pages_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "AT_ONCE", 3)


@pytest.fixture
def filled(handle: AnyLedger) -> AnyLedger:
    """A ledger of 20 calls, one an hour, of which the CRM has lost one, and of an email."""
    with handle.open() as ledger:
        book(ledger, *(reading(f"{n:02}", modified_at=NOW - n * HOUR) for n in range(20)))
        book(ledger, reading("07", State.EXCLUDED, "deleted", modified_at=NOW - 7 * HOUR))
        book(ledger, reading("mail", kind="email"), stream="emails")
    return handle


def flat(pages: Iterable[list[str]]) -> list[str]:
    found = list(pages)
    assert all(len(page) == 3 for page in found[:-1])
    assert [] not in found
    return [each for page in found for each in page]


def test_both_differences_are_found_page_by_page(filled: AnyLedger) -> None:
    with filled.compare() as rows:
        rows.begin("hubspot", "calls", [(NOW - 9 * HOUR, NOW), (NOW - 12 * HOUR, NOW - 11 * HOUR)])
        rows.add(["b", "00", "x'%:?", "05", "11"])
        rows.add(["a", "mail", "b", "É", "18"])
        assert rows.listed() == 9
        assert rows.rows() == 12
        assert flat(rows.unheld(["calls"])) == ["a", "b", "mail", "x'%:?", "É"]
        assert flat(rows.unheld(["calls", "emails"])) == ["a", "b", "x'%:?", "É"]
        assert flat(rows.unlisted()) == ["01", "02", "03", "04", "06", "08", "09", "12"]
        assert rows.rows_by_day() == {f"{NOW:%Y-%m-%d}": 12}
        rows.within([])
        assert (rows.rows(), rows.listed(), flat(rows.unlisted())) == (0, 9, [])
        rows.begin("hubspot", "emails", [(NOW - HOUR, NOW)])
        assert (rows.listed(), rows.rows(), flat(rows.unheld(["emails"])), flat(rows.unlisted())) == (
            0, 1, [], ["mail"],
        )  # fmt: skip


def test_days_are_counted_apart(filled: AnyLedger) -> None:
    with filled.compare() as rows:
        rows.begin("hubspot", "calls", [(NOW - 30 * HOUR, NOW)])
        before = NOW - timedelta(days=1)
        assert rows.rows_by_day() == {f"{NOW:%Y-%m-%d}": 13, f"{before:%Y-%m-%d}": 7}
        assert rows.first_modified() == NOW - 19 * HOUR


def test_a_list_for_which_there_is_no_room_is_told() -> None:
    module = pytest.importorskip("syncd.ledger.postgres_comparison")

    def fill() -> None:
        with module.empty_list() as ids:
            ids.execute("PRAGMA max_page_count = 2")
            ids.executemany("INSERT INTO listed VALUES (?)", [(f"{n:0900}",) for n in range(99)])

    with pytest.raises(LedgerError, match=r"cannot be kept in a temporary file: .*full") as caught:
        fill()
    assert caught.value.hint == "make room in the temporary directory, or let SQLITE_TMPDIR name another one"
