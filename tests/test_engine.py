"""One pass: a bad record, a stale answer, a wrong clock or a failing stream does not harm the rest."""

import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from syncd import clock
from syncd.activity import Draft
from syncd.connector import Record
from syncd.errors import Exit, LedgerHeld, worst
from syncd.ledger import Ledger, LedgerHandle
from syncd.normalize import normalizer, rules
from syncd.passes.dispatch import Push
from syncd.recotap.responses import BatchResult, read
from syncd.recotap.sender import Sender
from tests.ledgers import OF_SQLITE
from tests.world import THEIRS, World


def test_a_call_dated_at_the_end_of_time_stops_nobody(world: World) -> None:
    """Imports use 9999-12-31 for "no date"."""
    sentinel = world.call(hs_timestamp="9999-12-31T23:59:59.999Z")
    good = world.call()
    assert world.sync().exit_code == Exit.OK
    assert world.state(sentinel) == "incomplete in_future"
    assert world.state(good) == "delivered"
    world.later(days=40)
    world.sync()
    assert world.state(sentinel) == "incomplete in_future"


def test_a_record_that_the_rules_choke_on_is_dead_and_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = world.call(hs_call_title="choke")

    def assess(draft: Draft, **how: Any) -> Any:
        if draft.title == "choke":
            raise OverflowError("date value out of range")
        return rules.assess(draft, **how)

    monkeypatch.setattr(normalizer, "assess", assess)
    good = world.call()
    assert world.sync().exit_code == Exit.OK
    assert world.state(bad) == "dead unreadable"
    assert world.state(good) == "delivered"


def test_a_search_that_is_behind_does_not_undo_what_a_look_up_read(world: World) -> None:
    call = world.call(ago=timedelta(minutes=5), hs_call_title="Discovery call")
    world.sync()
    assert world.state(call) == "incomplete settling"
    world.later(minutes=6)
    world.hubspot.edit("calls", call, late_by=3600, hs_call_title="Final title")
    world.recotap.faults.add("unavailable", count=2)
    world.sync()  # looks up the call, and cannot send it
    assert world.state(call) == "pending"
    world.later(minutes=1)
    world.sync()  # the search still shows the earlier version
    assert world.payload(call)["callTitle"] == "Final title"
    world.later(minutes=5)
    world.sync()
    assert world.status()["changed_after_delivery"] == 0


def test_what_a_clock_that_was_ahead_has_booked_does_not_wait_for_it(world: World) -> None:
    stuck, waiting = world.call(), world.call(contacts=[])
    real = world.at
    world.later(days=20)
    world.recotap.faults.add("unavailable", count=2)
    world.hubspot.faults.add("daily", match="emails/search", count=1)
    world.sync()
    world.at = real + timedelta(minutes=20)
    world.hubspot.associate("calls", waiting, "contacts", world.contact)
    world.sync()
    assert world.state(stuck) == "delivered"
    assert world.state(waiting) == "delivered"
    assert world.stream()["paused_until"] is None


def test_a_pass_in_which_recotap_says_nothing_of_anything_is_no_success(world: World) -> None:
    world.calls(3)
    world.recotap.rule("omit", count=None)
    outcome = world.sync()
    assert outcome.exit_code == Exit.UNAVAILABLE
    assert "no readable answer for 3 activities" in outcome.errors[0].message
    world.recotap.clear_rules()
    assert world.sync().exit_code == Exit.OK
    assert world.status()["verdicts"]["created"] + world.status()["verdicts"]["duplicate"] == 3


def test_an_activity_without_an_answer_among_others_is_no_failure_of_the_pass(world: World) -> None:
    ids = world.calls(3)
    world.recotap.rule("omit", ids=[f"hubspot-call-{ids[0]}"], count=None)
    assert world.sync().exit_code == Exit.OK
    assert world.state(ids[0]) == "pending"


def test_a_firewall_that_dislikes_one_text_is_not_a_refused_key(world: World) -> None:
    ids = world.calls(10)
    world.recotap.faults.add(
        "answer", match="sales-activities", count=1, status=403, headers={"Content-Type": "text/html"}, body="<html>"
    )
    assert world.sync().exit_code == Exit.OK
    assert set(ids) <= world.delivered
    own = read(403, {}, '{"statusCode": 403, "message": "Forbidden"}', ["a"], now=world.now())
    assert own.outcome == "unauthorized"


def test_a_scope_that_emails_lack_is_not_the_calls_affair(world: World) -> None:
    world.hubspot.faults.add(
        "answer", match="emails/search", count=None, status=403,
        body='{"status": "error", "category": "MISSING_SCOPES", "message": "x", '
        '"errors": [{"context": {"requiredGranularScopes": ["sales-email-read"]}}]}',
    )  # fmt: skip
    call = world.call(ago=timedelta(minutes=5))
    assert world.sync().exit_code == Exit.UNAUTHORIZED
    world.later(minutes=6)
    outcome = world.sync()
    assert outcome.exit_code == Exit.UNAUTHORIZED
    assert "sales-email-read" in outcome.errors[0].message
    assert world.state(call) == "delivered"


def test_a_stream_that_fails_in_every_pass_comes_last(world: World) -> None:
    world.hubspot.faults.add("unavailable", match="calls/search", count=None)
    email = world.email()
    world.sync()
    assert world.delivered == set()
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert world.state(email) == "delivered"


def test_a_retry_while_its_look_up_is_under_way_is_not_lost(world: World) -> None:
    call = world.call(contacts=[])
    world.sync()
    world.later(minutes=16)

    def operator() -> None:
        world.later(seconds=1)
        with world.handle.operate() as ledger:
            ledger.retry([call], state=None, reason=None, now=world.now())
        world.later(seconds=1)

    class Slow(HubSpot):
        def fetch_ids(self, stream: str, ids: Sequence[str]) -> Any:
            for page in super().fetch_ids(stream, ids):
                operator()
                yield page

    world.sync(connector=Slow)
    assert datetime.fromisoformat(world.row(call)["next_attempt_at"]) <= world.now()


def test_what_is_no_activity_any_more_goes_as_what_is_deleted(world: World) -> None:
    call = world.call(contacts=[])
    world.sync()

    class Reopened(HubSpot):
        def normalize(self, stream: str, record: Record) -> Draft | None:
            return None

    for minutes in (16, 61):
        world.later(minutes=minutes)
        world.sync(connector=Reopened)
    assert world.state(call) == "excluded deleted"
    assert world.row(call)["next_attempt_at"] is None


def test_a_record_that_changes_while_it_is_sent_is_booked_after_its_verdict(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be excluded while Recotap stores it, and the verdict could not be applied."""
    email = world.email()
    world.recotap.faults.add("unavailable", count=2)
    world.sync()
    assert world.state(email) == "pending"
    world.hubspot.edit("emails", email, hs_email_status="BOUNCED")
    world.later(minutes=5)
    page_waits = threading.Event()
    carries_any, post = Push.carries_any, Sender.post

    def asked(self: Push, stream_id: int, crm_ids: Sequence[str]) -> bool:
        found = carries_any(self, stream_id, crm_ids)
        if found:
            page_waits.set()
        return found

    def slow(self: Sender, sent: Sequence[tuple[str, str]], **late: float) -> BatchResult:
        page_waits.wait(2)
        return post(self, sent, **late)

    monkeypatch.setattr(Push, "carries_any", asked)
    monkeypatch.setattr(Sender, "post", slow)
    assert world.sync().exit_code == Exit.OK
    assert page_waits.is_set()
    assert world.state(email) == "delivered"
    assert world.status()["changed_after_delivery"] == 1


def test_a_look_up_that_finds_nothing_waits_for_a_post_that_carries_its_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = world.call(contacts=[])
    world.sync()
    world.hubspot.delete("calls", call)
    world.later(minutes=16)
    asked: list[str] = []

    def carries_any(self: Push, stream_id: int, crm_ids: Sequence[str]) -> bool:
        asked.extend(crm_ids)
        return False

    monkeypatch.setattr(Push, "carries_any", carries_any)
    world.sync()
    assert world.state(call) == "incomplete not_found"
    assert call in asked


def test_an_idle_loop_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction is opened for each arrival, not for each look at the clock."""
    opened: list[int] = []
    before = Ledger.transaction

    def counted(self: Ledger) -> Any:
        if not self._depth:  # one within another opens nothing
            opened.append(1)
        return before(self)

    monkeypatch.setattr(Ledger, "transaction", counted)
    world.hubspot.latency_s = 0.15
    world.sync()
    assert len(opened) < 20


@pytest.mark.parametrize("how", ["link", "removed"])
def test_one_ledger_has_one_holder_whatever_way_leads_to_it(tmp_path: Path, how: str) -> None:
    real, other = tmp_path / "ledger.db", tmp_path / "link.db"
    real.touch()
    other.symlink_to(real)
    with LedgerHandle(real).hold("sync"):
        if how == "link":
            with pytest.raises(LedgerHeld), LedgerHandle(other).hold("sync"):
                pass
        else:
            with LedgerHandle(tmp_path / "another.db").hold("sync"):
                pass
    lock = tmp_path / "ledger.db.lock"
    assert lock.read_text() == ""
    lock.unlink()
    with LedgerHandle(real).hold("sync"):
        assert str(os.getpid()) in lock.read_text()


@OF_SQLITE
def test_a_pass_whose_hold_may_not_be_trusted_posts_nothing_and_the_next_one_delivers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = world.call()
    with monkeypatch.context() as patch:
        patch.setattr(type(world.handle), "is_trusted", lambda handle: False)
        with pytest.raises(LedgerHeld):
            world.sync()
    assert world.recotap.received == {}
    assert world.state(call) == "pending"
    assert world.sync().exit_code == Exit.OK
    assert world.state(call) == "delivered"


def test_an_exit_code_without_a_place_in_the_order_is_never_taken_for_success() -> None:
    assert worst([5]) == Exit.BUG
    assert worst([Exit.HELD]) == Exit.HELD
    assert worst([Exit.OK]) == Exit.OK
    assert worst([]) == Exit.OK


def test_no_instant_is_later_than_the_last() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert clock.later(last, timedelta(days=1)) == last
    assert clock.later(last - timedelta(days=2), timedelta(days=1)) == last - timedelta(days=1)


def test_the_ledger_keeps_the_owner_and_the_domain_of_what_was_sent_and_of_what_waits(world: World) -> None:
    at_home = world.person("mira.oakenfeld", address="mira.oakenfeld@gmail.com", associatedcompanyid=None)
    silent = world.person("lena.quillmark", address=None)
    sent, no_address, no_domain = world.call(), world.call(contacts=[silent]), world.call(contacts=[at_home])
    world.sync()
    found = {crm_id: rest for crm_id, *rest in world.sql("SELECT crm_id, state, owner_id, domain FROM activities")}
    assert found == {
        sent: ["delivered", world.owner, THEIRS], no_address: ["incomplete", world.owner, THEIRS],
        no_domain: ["incomplete", world.owner, None],
    }  # fmt: skip
    assert world.payload(sent)["ownerId"] == world.owner
