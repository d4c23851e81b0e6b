"""A HubSpot portal with one record as each tool writes it: payload or reason out, in one pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import Exit, NoSuchActivity
from syncd.sandbox.hubspot.lifelike import ALTERNATIVE, BOSS, BUYER, COLLEAGUE, REP, THEIRS, Lifelike, lifelike
from tests.world import World

# The payload's owner, and the address in `from` (None: left out), or the state and the reason.
TO_BUYER, FROM_BUYER = (REP, REP), (REP, BUYER)
CALLS: dict[str, Any] = {
    "native": TO_BUYER,
    "aircall": FROM_BUYER,
    "dialer_without_direction": (REP, None),
    "logged_by_hand": (REP, None),
    "missed": FROM_BUYER,
    "queued_for_ever": "excluded not_sent",
    "never_ended": (REP, None),
    "never_ended_and_empty": "excluded not_sent",
    "in_seconds_by_mistake": (REP, None),
    "without_owner": "incomplete no_owner_email",
    "unknown_number": "incomplete no_contact_email",
    "additional_address": (REP, None),
    "address_at_work": (REP, None),
    "unassociated": "incomplete no_contact",
    "callee_by_name": (REP, None),
    "callee_by_id": (REP, None),
}
EMAILS: dict[str, Any] = {
    "one_to_one": TO_BUYER,
    "sequence": TO_BUYER,
    "reply": FROM_BUYER,
    "reply_without_owner": FROM_BUYER,
    "reply_to_alternative_domain": FROM_BUYER,
    "in_two_boxes": FROM_BUYER,
    "in_two_boxes_again": (COLLEAGUE, BUYER),
    "forwarded": TO_BUYER,
    "by_bcc": TO_BUYER,
    "display_form": TO_BUYER,
    "only_properties": TO_BUYER,
    "internal": "excluded internal",
    "apollo_sent": TO_BUYER,
    "apollo_sent_without_owner": TO_BUYER,
    "apollo_received": FROM_BUYER,
    "apollo_received_with_another": FROM_BUYER,
    "apollo_newsletter": (REP, "news@birch-cranes-901.com"),
    "warm_up": (f"hello@{ALTERNATIVE}", f"hello@{ALTERNATIVE}"),
    "alternative_domain": (REP, f"ada@{ALTERNATIVE}"),
    "draft": None,
    "draft_by_direction": None,
    "bounced": "excluded not_sent",
    "failed": "excluded not_sent",
    "canceled": "excluded not_sent",
    "scheduled": "incomplete unfinished",
    "sending": "incomplete unfinished",
    "logged_by_tool": "incomplete unfinished",
    "out_of_office": "excluded automated",
    "accepted": "excluded automated",
    "declined": "excluded automated",
    "no_reply": "excluded automated",
    "support": "incomplete no_owner_email",
}
CONTACTS = {
    "additional_address": {f"nils@{THEIRS}"},
    "address_at_work": {f"greta@{THEIRS}"},
    "apollo_received_with_another": {BUYER, BOSS},
    "apollo_newsletter": {"news@birch-cranes-901.com"},
    "warm_up": {"pool@birch-cranes-902.com"},
}
DURATIONS = {"native": 10.2, "never_ended": 5, "in_seconds_by_mistake": None, "logged_by_hand": None}
OUTCOMES = {"missed": "Missed", "never_ended": "Connected", "native": None}


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Lifelike]]:
    with World(tmp_path_factory.mktemp("portal")) as world:
        written = lifelike(world.hubspot)
        assert world.sync().exit_code == Exit.OK
        yield world, written


def test_the_table_has_each_record(portal: tuple[World, Lifelike]) -> None:
    _, written = portal
    assert (written.calls.keys(), written.emails.keys()) == (CALLS.keys(), EMAILS.keys())


@pytest.mark.parametrize(
    ("kind", "name"), [*(("calls", name) for name in CALLS), *(("emails", name) for name in EMAILS)]
)
def test_each_tools_record_comes_out_as_expected(portal: tuple[World, Lifelike], kind: str, name: str) -> None:
    world, written = portal
    expected, crm_id = {**CALLS, **EMAILS}[name], getattr(written, kind)[name]
    if expected is None:
        with pytest.raises(NoSuchActivity):
            world.row(crm_id)
        return
    if isinstance(expected, str):
        assert world.state(crm_id) == expected
        return
    payload = world.payload(crm_id)
    assert (payload["ownerEmail"], payload.get("from", {}).get("email")) == expected
    contacts = {each["email"] for each in payload["contacts"]}
    assert contacts == CONTACTS.get(name, {BUYER})
    assert payload["domain"] == next(iter(contacts)).partition("@")[2]
    if name in DURATIONS:
        assert payload.get("durationMinutes") == DURATIONS[name]
    if name in OUTCOMES:
        assert payload.get("outcome") == OUTCOMES[name]


def test_the_books_balance_and_no_outsider_is_an_owner(portal: tuple[World, Lifelike]) -> None:
    world, _ = portal
    status = world.status()
    assert (status["balanced"], status["seen"]) == (True, len(CALLS) + len(EMAILS) - 2)
    owners = {payload["ownerEmail"] for payload, _ in world.recotap.stored.values()}
    assert not [address for address in owners if address.endswith((THEIRS, "901.com", "902.com"))]


def test_the_operators_rules_take_in_and_leave_out_what_the_operator_says(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        written = lifelike(world.hubspot)
        rules = {
            "match": [{"hs_call_source": "*"}, {"hs_call_title": "Called*"}],
            "except": [{"hs_call_direction": "INBOUND", "hs_call_duration": "*"}],
        }
        world.configure("sources.hubspot", calls=rules)
        world.configure("sources.hubspot", emails={"except": [{"hs_email_subject": "*| * warm"}]})
        world.configure("rules", own_domains=["lanternfield-sales.com", ALTERNATIVE])
        assert world.sync().exit_code == Exit.OK
        assert world.state(written.calls["aircall"]) == "excluded filtered"
        assert world.state(written.calls["logged_by_hand"]) == "delivered"
        assert world.state(written.emails["warm_up"]) == "excluded filtered"
        assert world.state(written.emails["alternative_domain"]) == "delivered"
        assert world.status()["balanced"]
