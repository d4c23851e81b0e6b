"""`syncd retry` says which activities it leaves out and why, and `--dry-run` lists them all and changes nothing."""

import pytest

from syncd.ledger import LedgerHandle
from syncd.ledger.operator import CHUNK, left_out
from syncd.lifecycle.states import State
from tests.conftest import Command
from tests.ledgers import book, reading, send
from tests.world import World


@pytest.fixture
def books(live: World) -> World:
    """A ledger with a delivered, a pending, two incomplete and an excluded call."""
    with LedgerHandle(live.ledger).open() as ledger:
        book(ledger, reading(1))
        send(ledger, limit=1)
        book(
            ledger, reading(2), reading(3, State.INCOMPLETE, "no_contact"), reading(4, State.INCOMPLETE, "no_domain"),
            reading(5, State.EXCLUDED, "internal"),
        )  # fmt: skip
    return live


def rows(world: World) -> list[tuple[object, ...]]:
    requests = world.sql("SELECT * FROM operator")
    return [*world.sql("SELECT id, state, reason, next_attempt_at FROM activities ORDER BY id"), *requests]


def dry(books: World, command: Command, *arguments: str) -> list[str]:
    """Return the ids that a dry run says it would make due, after a look at the same command without it."""
    before = rows(books)
    ran = command("retry", *arguments, "--dry-run", "-c", books.config_file)
    assert (ran.code, rows(books)) == (0, before)
    due = [line.split("\t")[0] for line in ran.out.splitlines() if "left out" not in line]
    number = f"{len(due)} would be due" if due else "nothing to retry"
    assert ran.err.startswith(number)
    assert ran.err.endswith("a dry run: nothing was written\n")
    real = command("retry", *arguments, "-c", books.config_file)
    assert real.out.startswith(f"{len(due)} due in the next pass\n" if due else "nothing to retry")
    return due


def test_a_named_activity_that_is_delivered_is_left_out_by_name(books: World, command: Command) -> None:
    assert dry(books, command, "1", "2", "hubspot-call-3") == ["hubspot-call-2", "hubspot-call-3"]
    ran = command("retry", "1", "2", "-c", books.config_file)
    assert ran.out == "1 due in the next pass\nleft out: hubspot-call-1: delivered\n"
    ran = command("retry", "1", "2", "--dry-run", "-c", books.config_file)
    assert ran.out == "hubspot-call-1\tdelivered\t\tleft out: delivered\nhubspot-call-2\tpending\t\n"
    assert command("retry", "1", "-c", books.config_file).out.endswith("left out: hubspot-call-1: delivered\n")


def test_a_named_activity_in_another_state_or_with_another_reason_is_left_out(books: World, command: Command) -> None:
    assert dry(books, command, "2", "3", "--state", "incomplete") == ["hubspot-call-3"]
    assert dry(books, command, "3", "4", "--reason", "no_domain") == ["hubspot-call-4"]
    ran = command("retry", "2", "3", "4", "--state", "incomplete", "--reason", "no_domain", "-c", books.config_file)
    assert ran.out.splitlines()[1:] == [
        "left out: hubspot-call-2: it is pending, not incomplete",
        "left out: hubspot-call-3: its reason is no_contact, not no_domain",
    ]


@pytest.mark.parametrize(
    ("arguments", "due"),
    [
        ("--state incomplete", ["hubspot-call-3", "hubspot-call-4"]), ("--reason internal", ["hubspot-call-5"]),
        ("--state excluded --reason no_domain", []), ("--state dead", []),
    ],
)  # fmt: skip
def test_a_dry_run_lists_what_the_same_command_makes_due(
    books: World, command: Command, arguments: str, due: list[str]
) -> None:
    assert dry(books, command, *arguments.split()) == due
    listed = command("retry", *arguments.split(), "--dry-run", "-c", books.config_file).out.splitlines()
    assert [line.partition("\t")[0] for line in listed] == due, "what does not match is not listed at all"


def test_an_unknown_id_is_66_in_a_dry_run_too(books: World, command: Command) -> None:
    ran = command("retry", "1", "4711", "--dry-run", "-c", books.config_file)
    assert (ran.code, ran.out) == (66, "")


def test_a_dry_run_reads_many_in_chunks(live: World, command: Command) -> None:
    count = 2 * CHUNK + 3
    with LedgerHandle(live.ledger).open() as ledger:
        book(ledger, *(reading(n, State.INCOMPLETE, "no_contact") for n in range(count)))
    ran = command("retry", "--state", "incomplete", "--dry-run", "-c", live.config_file)
    assert len(set(ran.out.splitlines())) == count
    assert ran.err.startswith(f"{count} would be due")


@pytest.mark.parametrize("found", State)
@pytest.mark.parametrize("state", [None, *(each for each in State if each is not State.DELIVERED)])
@pytest.mark.parametrize("reason", [None, "no_domain"])
@pytest.mark.parametrize("because", [None, "no_domain", "internal"])
def test_only_what_matches_and_is_not_delivered_is_made_due(
    found: str, state: str | None, reason: str | None, because: str | None
) -> None:
    matches = found != "delivered" and found == (state or found) and because == (reason or because)
    assert (left_out(found, because, state=state, reason=reason) == "") is matches
