"""Emails whose content HubSpot hides in a 200 for want of a scope: held, and sent whole once it is granted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from connectors.hubspot.redacted import Redaction, is_readable
from syncd.connector import Ref
from syncd.ledger import LedgerHandle
from syncd.passes.dry_run import DryRun
from syncd.passes.reader import PassStore
from syncd.sandbox.hubspot.portal import SCOPES
from syncd.signals import StopRequest
from tests.conftest import Command
from tests.daemons import daemon, wait_until
from tests.world import START, World

SCOPE = "sales-email-read"


def grant(world: World) -> None:
    world.hubspot.tokens = {world.box.token: SCOPES}


def revoke(world: World) -> None:
    world.hubspot.tokens = {world.box.token: SCOPES - {SCOPE}}


@contextmanager
def at_search(world: World, number: int, act: Callable[[World], None]) -> Iterator[None]:
    """Let `act` happen with the search of that number (calls' is the first)."""
    begun = []

    def heard(_index, kind):
        begun.extend([kind] if kind == "search" else [])
        if len(begun) == number:
            act(world)

    world.hubspot.on_request = heard
    yield
    world.hubspot.on_request = None


def test_emails_that_hubspot_redacts_are_held_while_everything_else_goes_on(world):
    emails = [world.email(ago=timedelta(hours=30 + number)) for number in range(3)]
    call = world.call()
    revoke(world)
    outcome = world.sync()
    assert outcome.exit_code == 77
    (error,) = outcome.errors
    assert SCOPE in error.message
    assert SCOPE in error.hint
    assert {world.state(email) for email in emails} == {"incomplete redacted"}
    assert world.delivered == {call}
    assert world.stream("emails")["watermark"], "the rows are booked: the watermark moves on"
    assert SCOPE in world.stream("emails")["last_error"]
    assert world.stream("calls")["last_error"] is None
    assert world.status()["balanced"]


def test_held_emails_are_sent_whole_once_the_scope_is_granted(world):
    emails = [world.email(ago=timedelta(hours=30 + number)) for number in range(3)]
    revoke(world)
    world.sync()
    grant(world)
    world.later(minutes=5)
    assert world.sync().exit_code == 0
    assert world.delivered == set(emails)
    assert {world.payload(email)["subject"] for email in emails} == {"Your quote"}
    assert world.stream("emails")["last_error"] is None


def test_a_redacted_email_does_not_age(world):
    email = world.email(contacts=(), ago=timedelta(days=90))
    revoke(world)
    for _ in range(4):
        assert world.sync().exit_code == 77
        world.later(days=40)
    assert world.state(email) == "incomplete redacted"
    assert world.row(email)["next_attempt_at"] is None
    grant(world)
    world.sync()
    assert world.state(email) == "incomplete no_contact", "only now its 30 days begin"
    world.later(days=29)
    world.sync()
    assert world.state(email) == "incomplete no_contact"
    world.later(days=2)
    world.sync()
    assert world.state(email) == "dead no_contact"


def test_a_pass_over_redacted_emails_costs_one_request_more_than_an_idle_one(world):
    for number in range(30):
        world.email(ago=timedelta(hours=30 + number))
    revoke(world)
    with world.counted() as first:
        world.sync()
    assert first["search"] == 3, "calls, emails and one sample"
    assert first.get("associations") is None, "what is held needs no contacts"
    world.later(minutes=20)
    world.sync()
    world.later(days=3)
    with world.counted() as idle:
        assert world.sync().exit_code == 77
    assert idle == {"search": 3}, "the held rows are not looked up"


def test_an_idle_pass_stays_at_two_requests_when_nothing_is_redacted(world):
    world.email(ago=timedelta(hours=30), hs_email_subject=None)
    world.email(ago=timedelta(hours=31))
    world.sync()
    world.later(minutes=20)
    with world.counted() as idle:
        assert world.sync().exit_code == 0
    assert idle == {"search": 2}


@pytest.mark.parametrize("ago", [29, 31, 33])
def test_an_email_that_has_no_subject_is_sent_while_others_have_one(world, ago):
    without = world.email(ago=timedelta(hours=ago), hs_email_subject=None)
    others = [world.email(ago=timedelta(hours=hours)) for hours in (30, 32)]
    assert world.sync().exit_code == 0
    assert world.delivered == {without, *others}
    assert "subject" not in world.payload(without)


def test_a_page_of_one_email_without_a_subject_is_judged_by_the_sample(world):
    world.email(ago=timedelta(days=20))
    world.sync()
    without = world.email(ago=timedelta(hours=6), hs_email_subject=None)
    with world.counted() as counted:
        assert world.sync().exit_code == 0
    assert world.delivered >= {without}
    assert counted["search"] == 3, "calls, emails and one sample"


def test_headers_alone_show_that_content_can_be_seen(world):
    email = world.email(hs_email_subject=None, hs_email_headers='{"from": {"email": "x@example.net"}}')
    assert world.sync().exit_code == 0
    assert world.delivered == {email}


def test_what_shows_no_content_is_held_while_the_sample_cannot_be_had(world):
    email = world.email()
    revoke(world)
    world.hubspot.faults.add("unavailable", match="emails/search", skip=1, count=3)
    assert world.sync().exit_code == 69
    assert world.state(email) == "incomplete redacted"
    assert world.stream("emails")["watermark"], "the window is read all the same"
    grant(world)
    world.sync()
    assert world.delivered == {email}


def test_a_sample_that_fails_holds_back_nothing_that_can_be_seen(world):
    world.email(ago=timedelta(days=3), hs_email_subject=None)
    world.hubspot.faults.add("unavailable", match="emails/search", skip=1, count=3)
    world.call()
    assert world.sync().exit_code == 69
    world.later(minutes=5)
    email = world.email()
    assert world.sync().exit_code == 0
    assert email in world.delivered


def test_a_settling_email_whose_scope_is_lost_meanwhile_is_held(world):
    email = world.email(ago=timedelta(minutes=30))
    world.email(ago=timedelta(days=3))
    world.sync()
    assert world.state(email) == "incomplete settling"
    revoke(world)
    world.later(hours=5)
    assert world.sync().exit_code == 77
    assert world.state(email) == "incomplete redacted"
    grant(world)
    world.later(minutes=5)
    assert world.sync().exit_code == 0
    assert world.payload(email)["subject"] == "Your quote"


def test_a_scope_that_is_lost_while_pages_are_read_lets_no_email_out_without_its_subject(world):
    emails = [world.email(ago=timedelta(hours=300, minutes=-number)) for number in range(450)]
    world.email(ago=timedelta(hours=400), hs_email_subject=None)
    with at_search(world, 3, revoke):
        assert world.sync().exit_code == 77
    assert {world.payload(email).get("subject") for email in world.delivered & set(emails)} <= {"Your quote"}
    assert {world.state(email) for email in emails[250:]} == {"incomplete redacted"}
    grant(world)
    world.later(minutes=5)
    assert world.sync().exit_code == 0
    assert {world.payload(email).get("subject") for email in emails} == {"Your quote"}


def test_a_scope_that_is_granted_while_pages_are_read_lets_no_email_out_without_its_subject(world):
    world.email(ago=timedelta(days=40))
    revoke(world)
    world.sync()
    emails = [world.email(ago=timedelta(hours=300, minutes=-number)) for number in range(450)]
    world.later(days=1)
    with at_search(world, 3, grant):
        world.sync()
    world.sync()
    assert {world.payload(email).get("subject") for email in emails} == {"Your quote"}


def test_a_scope_that_is_granted_between_a_page_and_its_sample_lets_no_email_out_without_its_subject(world):
    world.email(ago=timedelta(days=40))
    revoke(world)
    world.sync()
    email = world.email()
    with at_search(world, 3, grant):
        world.sync()
    world.sync()
    assert world.payload(email)["subject"] == "Your quote"


class Portal:
    """The latest emails of a portal, as a token sees them, and how often it was asked."""

    def __init__(self, *subjects: str | None) -> None:
        self.subjects, self.asked = subjects, 0

    def latest_emails(self) -> list[dict[str, Any]]:
        self.asked += 1
        return [{"properties": {"hs_email_subject": subject, "hs_email_headers": None}} for subject in self.subjects]


def page(*subjects: str | None) -> list[tuple[Ref, dict[str, Any]]]:
    rows = [{"properties": {"hs_email_subject": subject}} for subject in subjects]
    return [(Ref(str(number), START), row) for number, row in enumerate(rows)]


class TestRedaction:
    @pytest.fixture
    def at(self):
        return [0.0]

    @pytest.fixture
    def redaction(self, at):
        def over(portal: Any) -> Redaction:
            return Redaction(portal, PassStore({}, lambda: START), lambda: at[0])

        return over

    def test_one_sample_serves_a_pass_however_many_pages_end_without_content(self, redaction):
        portal = Portal(None, "Hello")
        emails = redaction(portal)
        for _ in range(5):
            assert emails.of(page("a", None)) == (set(), None)
        assert portal.asked == 1

    def test_a_sample_is_not_believed_for_ever(self, redaction, at):
        portal = Portal("Hello")
        emails = redaction(portal)
        emails.of(page(None))
        portal.subjects, at[0] = (None,), 61.0
        held, error = emails.of(page(None))
        assert (held, error.exit_code, portal.asked) == ({"0"}, 77, 2)

    def test_a_good_sample_is_taken_again_before_it_speaks_for_as_many_emails_as_it_held(self, redaction):
        portal = Portal("Hello")
        emails = redaction(portal)
        emails.of(page(None))
        portal.subjects = (None,)
        held, error = emails.of(page(*[None] * 20))
        assert (len(held), error.exit_code) == (20, 77)

    def test_without_emails_nothing_is_asked_and_nothing_withheld(self, redaction):
        portal = Portal(None)
        assert redaction(portal).of(()) == (set(), None)
        assert portal.asked == 0

    def test_an_empty_sample_shows_no_content(self, redaction):
        held, error = redaction(Portal()).of(page(None))
        assert (held, error.exit_code) == ({"0"}, 77)

    @pytest.mark.parametrize("headers", ["", "  ", None, "{}", "null", "[]", '{"from": {"email": null}, "to": []}'])
    def test_what_names_nobody_is_no_content(self, headers):
        assert not is_readable({"properties": {"hs_email_subject": None, "hs_email_headers": headers}})

    @pytest.mark.parametrize("headers", ['{"cc": [{"email": "x@example.net"}]}', '{"from": {"em', "[" * 100_000])
    def test_what_names_somebody_or_cannot_be_read_is_content(self, headers):
        assert is_readable({"properties": {"hs_email_subject": " ", "hs_email_headers": headers}})

    @pytest.mark.parametrize("properties", [None, {}, [], "x"])
    def test_a_row_of_another_shape_shows_no_content(self, properties):
        assert not is_readable({"properties": properties})


def test_thousands_of_held_emails_recover_within_a_few_passes_and_bounded_pages(world, monkeypatch):
    monkeypatch.setattr("syncd.passes.look_ups.LOOK_UPS_AT_ONCE", 40)
    monkeypatch.setattr("syncd.passes.look_ups.WITHHELD_PAGES", 2)
    emails = [world.email(ago=timedelta(hours=300, minutes=-number)) for number in range(200)]
    revoke(world)
    world.sync()
    grant(world)
    delivered = []
    for _ in range(3):
        world.later(minutes=5)
        call = world.call(ago=timedelta(minutes=30))
        with world.counted() as counted:
            assert world.sync().exit_code == 0
        delivered.append(len(world.delivered & set(emails)))
        assert call in world.delivered, "recovery holds up no window"
        assert counted["batch"] <= 8
    assert delivered == [80, 160, 200]


def test_retry_of_what_is_redacted_costs_no_look_up_while_it_is(world):
    email = world.email(ago=timedelta(days=2))
    incomplete = world.call(contacts=())
    revoke(world)
    world.sync()
    world.later(minutes=20)
    with LedgerHandle(world.ledger).operate() as operator:
        assert operator.retry((), state=None, reason="redacted", now=world.now()) == 1
        assert "hubspot" in operator.sources_to_look_up(world.now()), "the call is due"
    world.hubspot.associate("calls", incomplete, "contacts", world.contact)
    with world.counted() as counted:
        assert world.sync().exit_code == 77
    assert world.state(email) == "incomplete redacted"
    assert world.delivered == {incomplete}, "other look-ups go on"
    assert counted["batch"] == 3, "the call, its contact and company"
    with LedgerHandle(world.ledger).operate() as operator:
        assert operator.sources_to_look_up(world.now()) == set(), "the daemon has nothing to hurry for"


def test_a_dry_run_shows_what_is_redacted(world):
    world.email()
    revoke(world)
    config = world.config()
    run = DryRun(
        config.sources,
        config.rules.to_rules(),
        ledger=LedgerHandle(config.ledger.path),
        stop=StopRequest(),
        now=world.now,
    )
    assert [reading.reason for reading in run.readings()] == ["redacted"]
    assert [error.exit_code for error in run.errors] == [77]


def test_check_ends_with_77_for_what_a_pass_would_hold(live: World, command: Command) -> None:
    live.email()
    revoke(live)
    ran = command("check", "-c", live.config_file)
    assert ran.code == 77
    assert f"error hubspot: scope {SCOPE}" in ran.out
    grant(live)
    assert command("check", "-c", live.config_file).code == 0


def test_explain_and_status_say_what_a_held_email_waits_for(live: World, command: Command) -> None:
    email = live.email()
    revoke(live)
    assert command("sync", "-c", live.config_file).code == 77
    ran = command("explain", email, "-c", live.config_file)
    assert "redacted: the key may not see its content" in ran.out
    assert "looked up in the first pass in which the key may see its content" in ran.out
    assert "redacted" in command("status", "-c", live.config_file).out
    assert command("retry", "--reason", "redacted", "-c", live.config_file).out.startswith("1 due")


def test_a_running_daemon_sends_what_it_held_once_the_scope_is_granted(live: World) -> None:
    live.configure("schedule", every="1s")
    email = live.email()
    revoke(live)
    with daemon(live.write_config()) as running:
        running.hear("pass.finished", at_most=60)
        assert live.state(email) == "incomplete redacted"
        grant(live)
        wait_until(lambda: live.delivered, at_most=60)
        assert running.stop() == 0
    assert live.payload(email)["subject"] == "Your quote"
