"""The life of one row: born, read again, not found, judged, over every state."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.lifecycle import timing, transitions
from syncd.lifecycle.states import MEANINGS, MOVES, Cause, IllegalMove, State, Verdict
from syncd.lifecycle.transitions import Row, after_missing, after_reread, first_seen
from syncd.passes import windows
from tests.ledgers import DAY, HOUR, MINUTE, NOW, SECOND, WEEK, Ticking, half
from tests.ledgers import reading as look

I, P, D = State.INCOMPLETE, State.PENDING, State.DELIVERED  # noqa: E741 - the letters of states.py
S, E, X = State.SKIPPED, State.EXCLUDED, State.DEAD
WANTED = {P: None, I: "no_contact", E: "internal", X: "unreadable"}  # what a reading may ask for, and why
LATER = NOW + HOUR
FAULTS = [verdict for verdict, meaning in MEANINGS.items() if meaning.fault]
OUTAGES = [verdict for verdict, meaning in MEANINGS.items() if meaning.state is P and not meaning.fault]


def standing(state, **more):
    """Return a row that has stood in `state` for a day."""
    facts = {"next_attempt_at": None}
    if state is I:
        facts = {"reason": "no_owner_email", "waiting_since": NOW - DAY, "next_attempt_at": NOW}
    elif state is P:
        facts = {"next_attempt_at": NOW - DAY}
    elif state is not D:
        facts = {"reason": "because"}
    return Row(state, modified_at=NOW - DAY, occurred_at=NOW - 2 * DAY, **(facts | more))


def again(row, wanted, reason=None, *, same=False, now=NOW, **more):
    return after_reread(row, look(1, wanted, reason or WANTED[wanted], **more), now, same_payload=same)


def judged(row, verdict, detail=None, *, now=NOW, max_age=WEEK, random=half):
    return transitions.after_verdict(row, verdict, detail, now=now, max_age=max_age, random=random)


class TestBorn:
    def test_complete_it_is_pending_and_due_at_once(self):
        row = first_seen(look(1, occurred_at=NOW - HOUR, modified_at=NOW - MINUTE), NOW)
        assert row == Row(P, modified_at=NOW - MINUTE, occurred_at=NOW - HOUR, next_attempt_at=NOW)

    def test_incomplete_it_waits_from_now_on_and_is_looked_up_in_a_quarter_of_an_hour(self):
        row = first_seen(look(1, I, "no_contact"), NOW)
        assert (row.state, row.reason, row.waiting_since) == (I, "no_contact", NOW)
        assert row.next_attempt_at == NOW + 15 * MINUTE

    def test_settling_it_is_looked_up_when_it_has_settled(self):
        row = first_seen(look(1, I, "settling", due_at=NOW + 3 * MINUTE), NOW)
        assert row.next_attempt_at == NOW + 3 * MINUTE

    def test_old_and_incomplete_it_gets_its_thirty_days_all_the_same(self):
        assert first_seen(look(1, I, "no_contact", occurred_at=NOW - 400 * DAY), NOW).state is I

    @pytest.mark.parametrize("state", [E, X])
    def test_excluded_or_unreadable_it_keeps_its_reason_and_waits_for_nothing(self, state):
        row = first_seen(look(1, state, "internal", detail="a word", occurred_at=None), NOW)
        assert row == Row(state, modified_at=NOW, occurred_at=None, reason="internal", detail="a word")


def comes_to(state, wanted, asked):
    """Say, in the design's words, where a fresh look brings an activity."""
    if state is D:
        return D  # create-only
    if state is S:
        return P if asked and wanted is P else S  # Recotap said that it will never take it: `retry` alone
    if wanted is X:
        return state  # unreadable now: it stays what it was
    if state in (E, X) and wanted is E:
        return state  # what is dead cannot become excluded
    return wanted


EVERY_LOOK = list(product(State, WANTED, (False, True)))


class TestReadAgain:
    @pytest.mark.parametrize(("state", "wanted", "asked"), EVERY_LOOK)
    def test_a_fresh_look_brings_it_where_the_design_says(self, state, wanted, asked):
        row = standing(state)
        if asked and state is not D:
            row = replace(row, next_attempt_at=NOW)
        assert again(row, wanted).state is comes_to(state, wanted, asked)

    @pytest.mark.parametrize(("state", "wanted", "asked"), EVERY_LOOK)
    def test_a_fresh_look_makes_no_move_that_the_table_does_not_know(self, state, wanted, asked):
        row = replace(standing(state), next_attempt_at=NOW if asked else None)
        after = again(row, wanted)
        causes = {Cause.RETRY if asked and state not in (I, P) else Cause.READ}
        assert after.state is state or causes & MOVES[state, after.state]

    @pytest.mark.parametrize(("state", "wanted", "asked"), EVERY_LOOK)
    def test_only_what_waits_is_due_again(self, state, wanted, asked):
        row = standing(state)
        if asked and state is not D:
            row = replace(row, next_attempt_at=NOW)
        after = again(row, wanted)
        assert (after.next_attempt_at is not None) == (after.state in (P, I))
        assert (after.waiting_since is not None) == (after.state is I)

    @pytest.mark.parametrize(("state", "wanted"), list(product(State, WANTED)))
    def test_the_crm_s_latest_modification_time_is_kept_whatever_else_happens(self, state, wanted):
        assert again(standing(state), wanted, modified_at=LATER).modified_at == LATER

    def test_an_event_that_was_moved_is_known_by_its_new_time(self):
        assert again(standing(P), P, occurred_at=LATER).occurred_at == LATER

    def test_a_record_that_cannot_be_read_any_more_keeps_the_time_that_was_known(self):
        assert again(standing(E), X, occurred_at=None).occurred_at == NOW - 2 * DAY


class TestReadAgainPending:
    def test_the_same_payload_leaves_the_back_off_as_it_is(self):
        row = standing(P, next_attempt_at=LATER, refused_since=NOW - DAY, refusals=3, verdict=Verdict.REFUSED)
        assert again(row, P, same=True, modified_at=LATER) == replace(row, modified_at=LATER, occurred_at=NOW - DAY)

    def test_another_payload_is_due_at_once_and_begins_its_back_off_anew(self):
        row = standing(P, next_attempt_at=LATER, refused_since=NOW - DAY, refusals=3, detail="refused: title")
        after = again(row, P)
        assert (after.next_attempt_at, after.refused_since, after.refusals, after.detail) == (NOW, None, 0, None)

    def test_another_payload_still_travels_with_its_like_and_may_still_be_there_already(self):
        after = again(standing(P, isolated=True, unknown=True), P)
        assert after.isolated
        assert after.unknown

    def test_it_waits_anew_when_the_record_lost_what_made_it_complete(self):
        after = again(standing(P), I)
        assert (after.state, after.reason, after.waiting_since) == (I, "no_contact", NOW)
        assert after.next_attempt_at == NOW + 15 * MINUTE

    def test_a_record_that_cannot_be_read_now_is_sent_as_it_was(self):
        row = standing(P)
        assert again(row, X, modified_at=row.modified_at, occurred_at=None) == row


class TestReadAgainIncomplete:
    def test_completion_makes_it_pending_and_due_at_once(self):
        after = again(standing(I), P)
        assert (after.state, after.reason, after.next_attempt_at) == (P, None, NOW)

    def test_what_has_settled_is_pending(self):
        row = first_seen(look(1, I, "settling", due_at=NOW + 10 * MINUTE), NOW)
        assert again(row, P, now=NOW + 10 * MINUTE).state is P

    def test_another_reason_does_not_begin_the_wait_anew(self):
        after = again(standing(I), I, "no_domain")
        assert (after.reason, after.waiting_since, after.next_attempt_at) == ("no_domain", NOW - DAY, NOW + DAY)

    def test_a_record_that_settles_meanwhile_is_looked_up_when_it_has(self):
        assert again(standing(I), I, "settling", due_at=NOW + MINUTE).next_attempt_at == NOW + MINUTE

    def test_being_found_again_takes_the_first_miss_back(self):
        assert again(standing(I, missing_since=NOW - MINUTE), I).missing_since is None
        assert again(standing(I, missing_since=NOW - MINUTE), X).missing_since is None

    def test_what_cannot_be_read_now_keeps_its_reason_and_waits_on(self):
        after = again(standing(I), X)
        assert (after.state, after.reason, after.waiting_since) == (I, "no_owner_email", NOW - DAY)
        assert after.next_attempt_at == NOW + DAY

    @pytest.mark.parametrize("wanted", [I, X])
    @pytest.mark.parametrize(
        ("waited", "happened_ago"), [(30 * DAY, 30 * DAY), (30 * DAY, 90 * DAY), (44 * DAY, 30 * DAY)]
    )
    def test_it_is_dead_thirty_days_after_first_sight_or_the_event_the_later(self, wanted, waited, happened_ago):
        row = standing(I, waiting_since=NOW - waited)
        after = again(row, wanted, occurred_at=NOW - happened_ago)
        assert (after.state, after.waiting_since, after.next_attempt_at) == (X, None, None)
        assert after.reason == ("no_contact" if wanted is I else "no_owner_email")

    @pytest.mark.parametrize(
        ("waited", "happened_ago"), [(30 * DAY, 29 * DAY), (30 * DAY - SECOND, 90 * DAY), (60 * DAY, -DAY)]
    )
    def test_it_is_not_given_up_before(self, waited, happened_ago):
        row = standing(I, waiting_since=NOW - waited)
        assert again(row, I, occurred_at=NOW - happened_ago).state is I

    def test_completion_on_the_last_day_still_counts(self):
        assert again(standing(I, waiting_since=NOW - 31 * DAY), P).state is P

    def test_a_life_of_look_ups_ends_on_the_thirtieth_day(self):
        clock = Ticking()
        row = first_seen(look(1, I, "no_contact"), clock())
        while row.state is I:
            clock.now = row.next_attempt_at
            row = again(row, I, now=clock())
        assert (row.state, row.reason, clock()) == (X, "no_contact", NOW + 30 * DAY)

    def test_that_of_an_event_ahead_ends_thirty_days_after_the_event_to_the_hour(self):
        ahead, clock = NOW + 10 * DAY + 6 * HOUR, Ticking()
        row = first_seen(look(1, I, "in_future", occurred_at=ahead, due_at=ahead), clock())
        looks = []
        while row.state is I:
            clock.now = row.next_attempt_at
            looks.append(clock())
            row = again(row, I, occurred_at=ahead, due_at=ahead, now=clock())
        assert ahead in looks
        assert clock() == ahead + 30 * DAY


class TestReadAgainAtRest:
    @pytest.mark.parametrize("state", [X, E])
    @pytest.mark.parametrize("asked", [False, True])
    def test_what_comes_back_incomplete_has_thirty_days_again(self, state, asked):
        row = standing(state, next_attempt_at=NOW if asked else None, refusals=9, refused_since=NOW - WEEK)
        after = again(row, I, occurred_at=NOW - 90 * DAY)
        assert (after.state, after.waiting_since, after.refusals, after.refused_since) == (I, NOW, 0, None)

    def test_what_was_dead_of_refusals_comes_back_with_a_new_week(self):
        row = standing(X, reason="refused", verdict=Verdict.REFUSED, refusals=9, refused_since=NOW - WEEK)
        after = again(row, P)
        assert (after.state, after.reason, after.refusals, after.refused_since) == (P, None, 0, None)
        assert judged(after, Verdict.REFUSED).state is P

    @pytest.mark.parametrize("state", [E, X])
    def test_what_stays_excluded_or_unreadable_takes_the_new_reason_and_its_detail(self, state):
        after = again(standing(state, detail="an old word"), state, "too_old", detail="a word")
        assert (after.state, after.reason, after.detail) == (state, "too_old", "a word")

    def test_what_is_dead_and_would_be_excluded_stays_as_it_is(self):
        row = standing(X, next_attempt_at=NOW)
        assert again(row, E, modified_at=row.modified_at) == replace(row, next_attempt_at=None, occurred_at=NOW - DAY)

    def test_what_was_dead_of_age_keeps_nothing_of_its_wait(self):
        assert again(standing(X), E).waiting_since is None

    def test_a_skipped_one_is_not_woken_by_a_change(self):
        row = standing(S, verdict=Verdict.SKIPPED)
        after = again(row, P, modified_at=LATER)
        assert after == replace(row, modified_at=LATER, occurred_at=NOW - DAY)

    @pytest.mark.parametrize("wanted", [I, E, X])
    def test_a_skipped_one_that_retry_asked_for_and_is_not_complete_rests_again(self, wanted):
        assert again(standing(S, next_attempt_at=NOW), wanted).next_attempt_at is None


class TestReadAgainDelivered:
    @pytest.mark.parametrize("wanted", WANTED)
    def test_a_change_is_noted_and_nothing_else(self, wanted):
        row = standing(D, verdict=Verdict.CREATED)
        assert again(row, wanted, modified_at=LATER) == replace(row, modified_at=LATER, changed_after_delivery=True)

    def test_the_same_modification_time_is_no_change(self):
        row = standing(D, verdict=Verdict.CREATED)
        assert again(row, P, modified_at=row.modified_at) == row

    def test_a_noted_change_stays_noted(self):
        row = standing(D, changed_after_delivery=True)
        assert again(row, P, modified_at=row.modified_at).changed_after_delivery


class TestAStaleLook:
    @pytest.mark.parametrize(("state", "wanted", "asked"), EVERY_LOOK)
    def test_a_look_older_than_the_last_one_changes_nothing(self, state, wanted, asked):
        row = replace(standing(state), modified_at=NOW)
        if asked:
            row = replace(row, next_attempt_at=NOW)
        assert again(row, wanted, modified_at=NOW - SECOND) == row


class TestARetryDuringALookUp:
    def looked_up(self, row, wanted, **more):
        after = again(row, wanted, **more)
        return transitions.keep_requested(row, after, began_at=NOW - MINUTE, now=NOW)

    @pytest.mark.parametrize("state", [I, S, E, X])
    def test_it_asks_for_another_one(self, state):
        row = standing(state, next_attempt_at=NOW - SECOND)
        assert self.looked_up(row, I).next_attempt_at == NOW - SECOND

    @pytest.mark.parametrize("state", [S, E, X])
    def test_one_from_before_is_answered_by_it(self, state):
        row = standing(state, next_attempt_at=NOW - MINUTE)
        assert self.looked_up(row, E) == again(row, E)

    def test_a_row_that_was_not_asked_for_waits_by_the_schedule(self):
        row = standing(I, next_attempt_at=NOW + SECOND)
        assert self.looked_up(row, I) == again(row, I)
        assert self.looked_up(standing(E), E) == again(standing(E), E)

    def test_what_is_delivered_is_not_looked_up_whoever_asked(self):
        row = standing(D, next_attempt_at=NOW)
        assert transitions.keep_requested(
            row, replace(row, next_attempt_at=None), began_at=NOW - DAY, now=NOW
        ) == replace(row, next_attempt_at=None)


class TestLookedUpBeforeItIsSent:
    """A pending row, read by id because its last reading is old."""

    def looked_up(self, wanted, reason=None):
        reading = look(1, wanted, reason, modified_at=NOW)
        return after_reread(standing(P), reading, NOW, same_payload=False, by_id=True)

    def test_a_record_without_its_content_says_nothing_new(self):
        assert self.looked_up(I, "redacted") == standing(P)

    def test_nor_does_one_that_the_crm_cannot_serve(self):
        assert self.looked_up(I, "crm_error") == standing(P)

    def test_it_follows_any_other_reading(self):
        assert self.looked_up(I, "no_contact").reason == "no_contact"
        assert self.looked_up(E, "too_old").state is E


class TestNotFound:
    def test_the_first_miss_asks_for_another_look_an_hour_later(self):
        row = standing(I)
        assert after_missing(row, NOW) == replace(row, reason="not_found", missing_since=NOW, next_attempt_at=LATER)

    def test_a_second_miss_within_the_hour_proves_nothing(self):
        row = after_missing(standing(I), NOW)
        assert after_missing(row, LATER - SECOND) == row

    def test_nor_when_retry_asked_for_it_early(self):
        row = after_missing(standing(I), NOW)
        assert after_missing(replace(row, next_attempt_at=NOW + MINUTE), NOW + MINUTE) == row

    def test_a_second_miss_an_hour_later_means_deleted(self):
        after = after_missing(after_missing(standing(I), NOW), LATER)
        assert (after.state, after.reason, after.next_attempt_at) == (E, "deleted", None)
        assert (after.waiting_since, after.missing_since) == (None, None)

    def test_a_look_that_found_it_in_between_begins_the_count_anew(self):
        found = again(after_missing(standing(I), NOW), I)
        assert after_missing(found, LATER).state is I

    @pytest.mark.parametrize("state", [S, E, X])
    def test_what_retry_asked_for_and_is_gone_stays_what_it_is_and_is_not_asked_for_again(self, state):
        row = standing(state)
        assert after_missing(replace(row, next_attempt_at=NOW), NOW) == row

    def test_what_became_pending_meanwhile_stays_due(self):
        """A look-up asked before, and answered after, the page that completed it: it must not fall out of the queue."""
        row = standing(P, verdict=Verdict.REFUSED, refusals=1)
        assert after_missing(row, NOW) == row

    def test_what_was_to_be_sent_and_was_not_read_since_waits(self):
        row = standing(P, verdict=Verdict.REFUSED, detail="no", refusals=1, refused_since=NOW - DAY)
        after = after_missing(row, NOW, stale=True)
        assert (after.state, after.reason, after.next_attempt_at) == (I, "not_found", LATER)
        assert (after.waiting_since, after.missing_since, after.detail) == (NOW, NOW, None)
        assert (after.refusals, after.refused_since) == (0, None), "another week begins if it comes back"
        assert after_missing(after, LATER).state is E
        assert again(after, P).state is P

    def test_what_recotap_may_have_stays_due(self):
        row = standing(P, unknown=True)
        assert after_missing(row, NOW, stale=True) == row

    def test_what_was_delivered_meanwhile_stays_delivered(self):
        row = standing(D, verdict=Verdict.CREATED)
        assert after_missing(row, NOW) == row


class TestJudged:
    @pytest.mark.parametrize("verdict", Verdict)
    def test_it_stands_where_the_verdict_s_meaning_puts_it(self, verdict):
        after = judged(standing(P), verdict, "a word")
        assert (after.state, after.verdict, after.detail) == (MEANINGS[verdict].state, verdict, "a word")

    @pytest.mark.parametrize(
        "verdict", [Verdict.CREATED, Verdict.DUPLICATE, Verdict.FOREIGN_DUPLICATE, Verdict.SKIPPED]
    )
    def test_what_is_over_is_not_due_any_more(self, verdict):
        assert judged(standing(P), verdict).next_attempt_at is None

    @pytest.mark.parametrize("verdict", OUTAGES)
    @pytest.mark.parametrize("since", [None, NOW - 30 * DAY])
    def test_an_outage_costs_it_nothing_however_long_it_lasts(self, verdict, since):
        row = standing(P, refused_since=since, refusals=2)
        after = judged(row, verdict, now=LATER)
        assert (after.state, after.next_attempt_at) == (P, LATER)
        assert (after.refused_since, after.refusals) == (since, 2)

    @pytest.mark.parametrize("verdict", FAULTS)
    def test_a_word_about_the_item_backs_it_off_and_starts_its_week(self, verdict):
        after = judged(standing(P), verdict)
        assert (after.refused_since, after.refusals) == (NOW, 1)
        assert after.next_attempt_at == NOW + 5 * MINUTE * 1.05

    def test_each_further_one_doubles_the_wait(self):
        row = standing(P, refused_since=NOW - HOUR, refusals=3)
        after = judged(row, Verdict.FAILED)
        assert (after.refused_since, after.refusals) == (NOW - HOUR, 4)
        assert after.next_attempt_at == NOW + 40 * MINUTE * 1.05

    def test_the_wait_never_reaches_beyond_the_end_of_its_week(self):
        row = standing(P, refused_since=NOW - WEEK + HOUR, refusals=20)
        assert judged(row, Verdict.FAILED).next_attempt_at == LATER

    @pytest.mark.parametrize("verdict", FAULTS)
    def test_it_is_dead_max_age_after_the_first_such_word(self, verdict):
        row = standing(P, refused_since=NOW - WEEK, refusals=20)
        after = judged(row, verdict, "its last word")
        assert (after.state, after.reason, after.verdict) == (X, verdict, verdict)
        assert (after.detail, after.next_attempt_at) == ("its last word", None)

    def test_it_is_not_dead_a_moment_before(self):
        assert judged(standing(P, refused_since=NOW - WEEK + SECOND), Verdict.FAILED).state is P

    def test_a_max_age_of_nothing_makes_the_first_word_the_last(self):
        assert judged(standing(P), Verdict.FAILED, max_age=timedelta(0)).state is X

    @pytest.mark.parametrize(("verdict", "before"), list(product(Verdict, (False, True))))
    def test_that_it_may_be_there_already_is_never_forgotten(self, verdict, before):
        assert judged(standing(P, unknown=before), verdict).unknown is (before or MEANINGS[verdict].unknown)

    @pytest.mark.parametrize(("verdict", "before"), list(product(Verdict, (False, True))))
    def test_what_was_isolated_once_stays_so(self, verdict, before):
        assert judged(standing(P, isolated=before), verdict).isolated is (before or MEANINGS[verdict].isolates)

    @pytest.mark.parametrize("state", [I, D, S, E, X])
    @pytest.mark.parametrize("verdict", [Verdict.CREATED, Verdict.SKIPPED])
    def test_a_verdict_moves_nothing_that_was_not_pending(self, state, verdict):
        with pytest.raises(IllegalMove):
            judged(standing(state), verdict)

    @given(st.randoms(use_true_random=False))
    def test_a_week_of_refusals_ends_in_death_after_some_thirty_attempts_none_sooner_than_five_minutes(self, rng):
        clock = Ticking()
        row = first_seen(look(1), NOW)
        at = [clock()]
        while (row := judged(row, Verdict.REFUSED, now=clock(), random=rng.random)).state is P:
            clock.now = row.next_attempt_at
            at.append(clock())
        assert row.state is X
        assert at[-1] == NOW + WEEK
        steps = [after - before for before, after in pairwise(at)]
        assert all(5 * MINUTE <= step <= 6 * HOUR * 1.1 for step in steps[:-1])
        assert 30 <= len(at) <= 36


def test_giving_up_and_back_off_are_those_of_the_design():
    assert timing.GIVE_UP_AFTER == 30 * DAY
    assert (timing.BACK_OFF_FIRST, timing.BACK_OFF_MOST) == (5 * MINUTE, 6 * HOUR)
    assert (windows.SWEEP_REACH, windows.FIRST_SWEEP_REACH) == (DAY, 2 * DAY)


YEAR = 365 * DAY


class TestNobodyConfirmsTheClock:
    """No row dies of its age, no age begins, and no wait is longer than an hour."""

    @pytest.mark.parametrize("ahead", [YEAR, -YEAR])
    def test_a_row_is_born_without_an_age(self, ahead):
        row = first_seen(look(1, I, "no_contact"), NOW + ahead, certain=False)
        assert (row.state, row.waiting_since, row.next_attempt_at) == (I, None, NOW + ahead + HOUR)

    def test_what_settles_within_the_hour_is_looked_up_then(self):
        row = first_seen(look(1, I, "settling", due_at=NOW + MINUTE), NOW, certain=False)
        assert row.next_attempt_at == NOW + MINUTE

    @pytest.mark.parametrize("ahead", [YEAR, -YEAR, 31 * DAY])
    @pytest.mark.parametrize("wanted", [I, X])
    def test_an_incomplete_row_is_not_given_up_and_keeps_its_age(self, ahead, wanted):
        row = standing(I)
        after = after_reread(row, look(1, wanted, WANTED[wanted]), NOW + ahead, same_payload=False, certain=False)
        assert (after.state, after.waiting_since) == (I, row.waiting_since)
        assert after.next_attempt_at == NOW + ahead + HOUR

    def test_the_age_begins_when_the_clock_is_confirmed(self):
        row = first_seen(look(1, I, "no_contact"), NOW - YEAR, certain=False)
        after = again(row, I)
        assert (after.state, after.waiting_since) == (I, NOW)
        assert again(after, I, now=NOW + 30 * DAY).state is X

    @pytest.mark.parametrize("missing_since", [None, NOW - DAY])
    def test_what_is_not_found_is_not_gone(self, missing_since):
        row = standing(I, missing_since=missing_since)
        after = after_missing(row, NOW + YEAR, certain=False)
        assert after == replace(row, reason="not_found", next_attempt_at=NOW + YEAR + HOUR)

    def test_what_was_to_be_sent_and_is_not_found_waits_without_an_age(self):
        after = after_missing(standing(P), NOW, stale=True, certain=False)
        assert (after.state, after.reason, after.next_attempt_at) == (I, "not_found", NOW + HOUR)
        assert (after.waiting_since, after.missing_since) == (None, None)

    @pytest.mark.parametrize("verdict", FAULTS)
    @pytest.mark.parametrize("since", [None, NOW - 8 * DAY])
    def test_a_verdict_backs_off_without_an_age_or_a_death(self, verdict, since):
        row = standing(P, refused_since=since, refusals=1)
        after = transitions.after_verdict(row, verdict, None, now=NOW, max_age=WEEK, random=half, certain=False)
        assert (after.state, after.refused_since, after.refusals) == (P, since, 2)
        assert NOW < after.next_attempt_at <= NOW + 7 * HOUR

    @pytest.mark.parametrize("verdict", FAULTS)
    def test_the_first_verdict_by_a_confirmed_clock_begins_the_age(self, verdict):
        after = judged(standing(P, refusals=3), verdict)
        assert (after.state, after.refused_since) == (P, NOW)


class TestAgesThatAClockAheadBooked:
    """A time ahead of now was booked by a wrong clock, so the age begins again."""

    def test_of_waiting(self):
        assert again(standing(I, waiting_since=NOW + YEAR), I).waiting_since == NOW

    def test_of_refusals(self):
        assert judged(standing(P, refused_since=NOW + YEAR, refusals=1), FAULTS[0]).refused_since == NOW

    def test_of_what_was_not_found(self):
        assert after_missing(standing(I, missing_since=NOW + YEAR), NOW).missing_since == NOW


@pytest.mark.parametrize(("state", "wanted"), list(product(State, WANTED)))
def test_a_copy_stands_in_the_way_of_what_would_become_pending(state, wanted):
    """As `after_reread` does it, over all states."""
    for asked_for, by_id, older in product((False, True), repeat=3):
        row = standing(state)
        if asked_for:
            row = replace(row, next_attempt_at=NOW)
        reading = look(1, wanted, WANTED[wanted], modified_at=NOW - 2 * DAY if older else NOW)
        after = after_reread(row, reading, NOW, same_payload=False, by_id=by_id)
        arrives = after.state is P and state is not P
        assert transitions.may_arrive(row, reading, by_id=by_id) is arrives
        assert not transitions.may_arrive(replace(row, unknown=True), reading, by_id=by_id), "only Recotap knows"


class TestLost:
    def test_a_payload_that_cannot_be_decrypted_has_its_record_read_again_at_once(self):
        row = standing(P, unknown=True, verdict=Verdict.REFUSED, refusals=2, refused_since=NOW - DAY, isolated=True)
        lost = transitions.after_lost(row, NOW)
        assert (lost.state, lost.reason, lost.next_attempt_at) == (I, "settling", NOW)
        assert (lost.unknown, lost.isolated, lost.refusals, lost.refused_since) == (True, True, 0, None)
        assert lost.detail == "its payload could not be decrypted: its record is read again"
        read = after_reread(lost, look(1), NOW, same_payload=False, by_id=True)
        assert (read.state, read.reason, read.detail, read.unknown) == (P, None, None, True)

    @pytest.mark.parametrize("state", [I, S, D])
    def test_a_row_that_holds_none_may_not_move_so(self, state):
        with pytest.raises(IllegalMove):
            transitions.after_lost(standing(state), NOW)
