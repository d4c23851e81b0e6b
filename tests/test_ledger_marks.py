"""A ledger that is in use elsewhere, a copy for reading and an unfinished copy are refused, each with its remedy."""

from collections.abc import Callable
from typing import Any

import pytest

from syncd import clock
from syncd.errors import ConfigError, LedgerError
from syncd.ledger import RECOTAP, AnyLedger
from syncd.ledger.marks import BEGUN, FOR_READING, IN_USE, MOVED, ORIGIN, WRITTEN, Mark
from tests.conftest import Command
from tests.ledgers import HOUR, NOW, ask, book, reading, stranger
from tests.world import World


def mark(handle: AnyLedger, *, moved: Mark | None = None, origin: Mark | None = None) -> None:
    """Mark a ledger as a copy does, past all refusals."""
    with stranger(handle) as db:
        for key, given in ((MOVED, moved), (ORIGIN, origin)):
            if given and hasattr(handle, "url"):
                db.execute(f"UPDATE meta SET {key[1:]} = ?", (given.written(),))
            elif given:
                values = RECOTAP, key, given.written(), given.at
                db.execute("INSERT OR REPLACE INTO store (source, key, value, at) VALUES (?, ?, ?, ?)", values)


def other(stage: str = "") -> Mark:
    return Mark("c0ffee", "/elsewhere/ledger.db", "2026-06-01T12:00:00.000Z", stage)


@pytest.fixture
def used(handle: AnyLedger) -> AnyLedger:
    """A ledger with a row."""
    with handle.open() as ledger:
        book(ledger, reading(1))
    return handle


WRITERS = ("open", "operate", "forget", "alerting")
READERS = ("read", "reports", "compare", "diagnose")


def refusals(handle: AnyLedger, names: tuple[str, ...]) -> set[tuple[str, int, str]]:
    """Return the errors of uses by name: each with its code and hint. One that is not refused is missing."""
    found = set()
    for name in names:
        try:
            with getattr(handle, name)():
                pass
        except (ConfigError, LedgerError) as error:
            found.add((name, int(error.exit_code), error.hint))
    return found


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ({"moved": other()}, "let [ledger] name the new place. The way back is `syncd ledger copy` from there to here"),
        (
            {"origin": other(FOR_READING)},
            "let [ledger] name the ledger that is in use. To use the copy, `syncd ledger copy` it to a new place",
        ),
    ],
)
def test_a_ledger_that_must_not_be_used_can_be_read(used: AnyLedger, how: dict[str, Mark], hint: str) -> None:
    mark(used, **how)
    assert refusals(used, WRITERS) == {(name, 78, hint) for name in WRITERS}
    assert refusals(used, READERS) == set()
    with pytest.raises(ConfigError):
        used.require_use()


def test_no_replica_begins_its_work_on_a_ledger_that_was_moved(used: Any) -> None:
    if used.replica("run") is None:
        pytest.skip("a file has no replicas")
    mark(used, moved=other())
    with pytest.raises(ConfigError, match="was moved to"), used.replica("run"):
        pass


@pytest.mark.parametrize("stage", [BEGUN, WRITTEN])
def test_an_unfinished_copy_cannot_even_be_read(used: AnyLedger, stage: str) -> None:
    mark(used, origin=other(stage))
    hint = "run the same `syncd ledger copy` again, which completes it. No pass may use it before"
    assert refusals(used, WRITERS + READERS) == {(name, 74, hint) for name in WRITERS + READERS}


def test_a_complete_copy_is_a_ledger_like_any_other(used: AnyLedger) -> None:
    mark(used, origin=other(IN_USE))
    used.require_use()
    assert refusals(used, WRITERS + READERS) == set()


@pytest.mark.parametrize("name", ["operate", "forget"])
def test_an_operator_who_opened_it_before_writes_nothing(used: AnyLedger, name: str) -> None:
    writes: dict[str, Callable[[Any], object]] = {
        "operate": lambda operator: operator.retry((), state="pending", reason=None, now=NOW + HOUR),
        "forget": lambda forget: forget.note("0f", NOW),
    }
    with getattr(used, name)() as opened:
        mark(used, moved=other())
        with pytest.raises(ConfigError, match="was moved to /elsewhere/ledger.db at 2026-06-01"):
            writes[name](opened)
    assert ask(used, "SELECT next_attempt_at FROM activities") == [(clock.text(NOW),)]
    assert ask(used, "SELECT count(*) FROM forgotten") == [(0,)]
    assert ask(used, "SELECT count(*) FROM operator") == [(0,)]


def test_check_tells_why_a_pass_would_refuse_the_ledger(live: World, command: Command) -> None:
    with live.handle.open() as ledger:
        book(ledger, reading(1))
    mark(live.handle, moved=other())
    ran = command("check", "--offline", "-c", live.write_config())
    assert ran.code == 78
    assert "was moved to /elsewhere/ledger.db at 2026-06-01T12:00:00.000Z" in ran.out
