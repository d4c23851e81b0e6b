"""Every reason is one line of one enum. Documents, commands, rules and SQL take it from there."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import MEANINGS, MOVES, State
from tests.conftest import Command
from tests.world import World

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

# The names that ledgers, scripts and other programs know already. A name may be added to the enum, none may go.
KNOWN = """
    not_sent internal excluded_domain too_old deleted redacted unfinished in_future no_contact no_contact_email
    no_domain no_owner_email settling unreadable failed refused too_large
""".split()


def test_no_known_name_is_lost() -> None:
    assert set(KNOWN) <= set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_a_description_and_a_state_that_has_reasons(reason: Reason) -> None:
    assert reason.value == reason.name.lower()
    assert 10 < len(reason.meaning) <= 70, "a cell of `syncd status`"
    assert len(reason.action) <= 60
    for text in (reason.meaning, reason.action):
        assert text == text.strip().rstrip(".")
        assert not text[:2].istitle() or text.startswith("Recotap")
    assert reason.state in (State.EXCLUDED, State.INCOMPLETE, State.DEAD)


def test_exclusion_is_judged_first() -> None:
    order = [State.EXCLUDED, State.INCOMPLETE, State.DEAD]
    places = [order.index(reason.state) for reason in Reason]
    assert places == sorted(places)


def test_what_time_resolves_is_looked_up_when_it_is_resolved() -> None:
    timed = {
        reason: reason.due(occurred_at=NOON, created_at=NOON + timedelta(hours=1), settle=timedelta(minutes=10))
        for reason in Reason
        if reason.due
    }
    assert timed == {"in_future": NOON, "settling": NOON + timedelta(hours=1, minutes=10)}
    assert all(reason.state is State.INCOMPLETE for reason in timed), "nothing else is looked up by itself"


def test_each_verdict_that_kills_is_a_reason_to_be_dead() -> None:
    killing = {verdict.value for verdict, meaning in MEANINGS.items() if meaning.fault}
    assert killing == {reason.value for reason in Reason if reason.state is State.DEAD} - {"unreadable"}


def test_the_readme_has_exactly_these_reasons() -> None:
    expected = ["| reason | state | meaning | what to do |", "|---|---|---|---|"]
    expected += [f"| `{each}` | {each.state} | {each.meaning} | {each.action or 'nothing'} |" for each in Reason]
    wrong = [line for line in expected if line not in README.splitlines()]
    assert wrong == [], "put these lines into the README's table of reasons"
    (table,) = re.findall(r"(?m)^\| reason \| .*(?:\n\|.*)+", README)
    assert table.splitlines() == expected


def test_the_ledgers_sql_names_reasons_that_there_are() -> None:
    """They stand as literals in statements and in an index that only a migration can change."""
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "syncd" / "ledger").glob("*.py")]
    named = {name for text in texts for name in re.findall(r"\breason (?:=|IS|IS NOT) '(\w+)'", text)}
    assert {"redacted"} <= named <= set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_retry_takes_every_reason_and_status_and_explain_describe_it(
    reason: Reason, live: World, command: Command
) -> None:
    call = live.call(contacts=[])
    command("sync", "-c", live.config_file)
    assert reason.state is State.INCOMPLETE or MOVES[State.INCOMPLETE, reason.state]
    live.sql("UPDATE activities SET state = ?, reason = ?", reason.state.value, reason.value)
    command("ledger", "recount", "-c", live.config_file)
    words = reason.description
    assert reason.meaning in words
    assert reason.action in words
    assert words in " ".join(command("explain", call, "-c", live.config_file).out.split())
    assert command("retry", "--reason", reason.value, "-c", live.config_file).out == "1 due in the next pass\n"
    if reason.state is not State.DEAD or reason is Reason.UNREADABLE:
        assert reason.meaning[:30] in command("status", "-c", live.config_file).out


def test_a_reason_that_is_none_is_refused_with_the_list_of_them(live: World, command: Command) -> None:
    ran = command("retry", "--reason", "because", "-c", live.config_file)
    assert ran.code == 2
    assert set(re.findall(r"\w+", ran.err)) >= set(Reason)


def test_a_reason_of_a_newer_syncd_is_shown_without_a_description(live: World, command: Command) -> None:
    call = live.call(contacts=[])
    command("sync", "-c", live.config_file)
    live.sql("UPDATE activities SET reason = 'of_another_version'")
    command("ledger", "recount", "-c", live.config_file)
    ran = command("explain", call, "-c", live.config_file)
    assert (ran.code, "reason        of_another_version: \n" in ran.out) == (0, True)
    assert "of_another_version" in command("status", "-c", live.config_file).out
    live.hubspot.associate("calls", call, "contacts", live.contact)
    live.sql("UPDATE activities SET next_attempt_at = '2026-01-01T00:00:00.000Z'")
    assert command("sync", "-c", live.config_file).code == 0
    assert live.delivered == {call}
