"""The daemon's next pass: merged, never overlapping, a missed time made up once, failures probed."""

import pytest

from syncd.daemon.agenda import PROBE_FIRST_S, PROBE_MOST_S, Agenda
from syncd.ledger import RECOTAP

KNOWN = ("hubspot", "salesforce", RECOTAP)


@pytest.fixture
def agenda() -> Agenda:
    return Agenda()


def begin(agenda: Agenda) -> tuple[str, ...]:
    """Return the sources of the next pass. Each pass also sends, so RECOTAP is in it."""
    names = agenda.begin(KNOWN)
    assert not names or RECOTAP in names
    return tuple(name for name in names if name != RECOTAP)


def test_what_is_due_at_once_goes_into_one_pass_in_the_order_in_which_it_came(agenda):
    assert not agenda.has_work
    agenda.tick("salesforce")
    agenda.tick("hubspot")
    assert begin(agenda) == ("salesforce", "hubspot")
    assert not agenda.has_work


def test_a_time_that_comes_while_another_waits_is_one_with_it_and_counted(agenda):
    agenda.tick("hubspot")
    agenda.tick("hubspot")
    assert begin(agenda) == ("hubspot",)
    assert agenda.finished((), 0.0) == {"hubspot": 1}
    assert not agenda.has_work
    assert agenda.skipped == {"hubspot": 1}


def test_a_time_that_comes_during_the_pass_is_made_up_once_and_the_others_are_counted(agenda):
    agenda.tick("hubspot")
    begin(agenda)
    for _ in range(3):
        agenda.tick("hubspot")
    assert agenda.finished((), 0.0) == {"hubspot": 2}
    assert begin(agenda) == ("hubspot",)
    assert agenda.finished((), 0.0) == {}
    assert agenda.skipped.total() == 2


def test_after_a_pass_that_failed_nothing_is_made_up(agenda):
    """Otherwise a CRM that hangs would be asked again without a pause."""
    agenda.tick("hubspot")
    begin(agenda)
    agenda.tick("hubspot")
    assert agenda.finished({"hubspot"}, 0.0) == {"hubspot": 1}
    assert not agenda.has_work


def test_one_source_that_fails_holds_up_no_other(agenda):
    agenda.want(["hubspot", "salesforce"])
    begin(agenda)
    agenda.tick("salesforce")
    agenda.finished({"hubspot"}, 0.0)
    assert begin(agenda) == ("salesforce",)


def test_what_failed_is_looked_at_again_later_and_later_but_not_too_late(agenda):
    now, waits = 1000.0, []
    agenda.want(["hubspot"])
    for _ in range(6):
        assert begin(agenda) == ("hubspot",)
        agenda.finished({"hubspot"}, now)
        began = now
        while not agenda.has_work:
            now += 10.0
            agenda.look(now)
        waits.append(now - began)
    assert waits == [PROBE_FIRST_S * 2**number for number in range(4)] + [PROBE_MOST_S] * 2
    begin(agenda)
    agenda.finished((), now)
    agenda.look(now + 10 * PROBE_MOST_S)
    assert not agenda.has_work, "after a good pass the schedule alone counts"


def test_what_was_told_to_stay_away_is_not_looked_at_before(agenda):
    agenda.want(["hubspot"])
    begin(agenda)
    agenda.finished({"hubspot"}, 0.0, not_before={"hubspot": 7200.0})
    agenda.look(7199.0)
    assert not agenda.has_work
    agenda.look(7200.0)
    assert begin(agenda) == ("hubspot",)


def test_a_regular_pass_takes_the_place_of_the_look_that_was_planned(agenda):
    agenda.wake("hubspot", 50.0)
    agenda.tick("hubspot")
    begin(agenda)
    agenda.finished((), 10.0)
    agenda.look(60.0)
    assert not agenda.has_work


def test_the_earlier_of_two_planned_looks_counts(agenda):
    agenda.wake(RECOTAP, 50.0)
    agenda.wake(RECOTAP, 40.0)
    agenda.wake(RECOTAP, 60.0)
    agenda.look(39.9)
    assert not agenda.has_work
    agenda.look(40.0)
    assert agenda.begin(KNOWN) == (RECOTAP,)


def test_what_an_operator_asks_for_during_a_pass_is_done_after_it(agenda):
    agenda.tick("hubspot")
    begin(agenda)
    agenda.want(["hubspot"])
    agenda.finished((), 0.0)
    assert begin(agenda) == ("hubspot",)


def test_a_planned_look_during_the_pass_is_no_pass_of_its_own(agenda):
    agenda.wake("salesforce", 5.0)
    agenda.want(["hubspot", "salesforce"])
    begin(agenda)
    agenda.wake("salesforce", 5.0)
    agenda.look(6.0)
    agenda.finished((), 7.0)
    assert not agenda.has_work


def test_every_pass_sends_so_a_time_of_the_senders_own_is_not_made_up_after_it(agenda):
    agenda.tick("hubspot")
    assert agenda.begin(KNOWN) == ("hubspot", RECOTAP)
    agenda.tick(RECOTAP)
    agenda.wake(RECOTAP, 5.0)
    agenda.look(6.0)
    agenda.finished((), 7.0)
    assert not agenda.has_work


def test_a_recotap_that_fails_is_looked_at_again_and_the_sources_keep_their_times(agenda):
    agenda.tick("hubspot")
    begin(agenda)
    agenda.tick("hubspot")
    agenda.finished({RECOTAP}, 0.0)
    assert begin(agenda) == ("hubspot",), "the CRM answered: its time is made up"
    agenda.finished({RECOTAP}, 0.0)
    agenda.look(2 * PROBE_FIRST_S)
    assert agenda.begin(KNOWN) == (RECOTAP,)


def test_what_is_due_during_a_pass_joins_it_and_ends_by_itself(agenda):
    agenda.tick("hubspot")
    assert begin(agenda) == ("hubspot",)
    for _ in range(2):
        agenda.tick("salesforce")
        assert agenda.begin(KNOWN) == ("salesforce",), "the sender is in it already"
        assert agenda.ended(["salesforce"], (), 0.0) == {}
        assert set(agenda.running) == {"hubspot", RECOTAP}
    agenda.tick("salesforce")
    agenda.begin(KNOWN)
    agenda.tick("salesforce")
    assert agenda.ended(["salesforce"], (), 0.0) == {}
    assert agenda.begin(KNOWN) == ("salesforce",), "a time that came while it was read is made up in the same pass"
    agenda.ended(["salesforce"], {"salesforce"}, 0.0)
    agenda.look(PROBE_FIRST_S)
    assert agenda.begin(KNOWN) == ("salesforce",), "so is the probe of one that failed"
    assert agenda.finished((), 0.0) == {}
    assert agenda.running == ()


def test_what_is_wanted_while_it_is_read_waits_for_the_next_pass(agenda):
    agenda.tick("hubspot")
    begin(agenda)
    agenda.want(["hubspot", RECOTAP])
    assert agenda.begin(KNOWN) == ()
    assert agenda.has_work, "so the pass is to end soon"
    agenda.finished((), 0.0)
    assert agenda.begin(KNOWN) == ("hubspot", RECOTAP)


def test_what_is_not_configured_any_more_is_forgotten(agenda):
    agenda.want(["gone", "hubspot"])
    assert begin(agenda) == ("hubspot",)
    agenda.want(["gone"])
    assert begin(agenda) == ()
    assert not agenda.has_work
