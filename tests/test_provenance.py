"""Each field of a payload can name the CRM's property and the rule that it came from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Record, Ref
from syncd.http.server_clock import ServerClock
from syncd.normalize.normalizer import Normalizer
from syncd.normalize.provenance import AS_READ, provenance
from syncd.normalize.rules import OurSide, Rules, assess
from tests.test_rules import (
    ACME,
    CALL,
    DRAFTS,
    EMAIL,
    JANE,
    JOHN,
    LISTS_OF_OWNERS,
    NOBODY,
    NOW,
    RULE_SETS,
    RULES,
    SETTLE,
    THEN,
    payload,
)

NAMES = {
    "occurred_at": "hs_timestamp",
    "title": "hs_call_title",
    "owner": "hubspot_owner_id",
    "owners": "hs_created_by_user_id",
    "companies": "associated company",
    "contacts": "associated contacts",
    "others": "hs_email_headers",
    "sender": "hs_email_from_email",
}


def told(draft: Draft, rules: Rules = RULES, **more: Any) -> dict[str, tuple[str, str]]:
    side = OurSide.of(rules, (JANE,))
    found = provenance(replace(draft, origins=lambda: NAMES), rules=rules, our_side=side, **more)
    return {field: (origin["from"], origin["rule"]) for field, origin in found.items()}


def test_a_call_says_where_each_field_came_from() -> None:
    draft = replace(CALL, outcome="Connected", duration_minutes=3)
    assert told(draft, fields=payload(draft)) == {
        "externalActivityId": ("the record's id", "external_id of its source"),
        "activityType": ("the record's stream", "calls first"),
        "occurredAt": ("hs_timestamp", AS_READ),
        "domain": ("associated company", "the company of the activity"),
        "accountName": ("associated company", "the company of the activity"),
        "ownerEmail": ("hubspot_owner_id", "the record's owner"),
        "ownerName": told(draft)["ownerEmail"],
        "ownerId": told(draft)["ownerEmail"],
        "callTitle": ("hs_call_title", AS_READ),
        "durationMinutes": ("duration_minutes", AS_READ),
        "outcome": ("outcome", AS_READ),
        "direction": ("direction", AS_READ),
        "from": ("hubspot_owner_id", "the owner of an outbound activity"),
        "contacts": ("associated contacts", "the associated people of the other side"),
    }


ALIAS = replace(RULES, domain_aliases={"acme.com": "acme.org"})
BARRED = replace(RULES, not_owners=frozenset({"rep-123"}))


@pytest.mark.parametrize(
    ("draft", "rules", "field", "expected"),
    [
        (CALL, ALIAS, "domain", ("associated company", "the company of the activity, then rules.domain_aliases")),
        (
            replace(CALL, companies=()),
            RULES,
            "domain",
            ("associated contacts", "the domain of a contact's address"),
        ),
        (
            replace(CALL, companies=(), contacts=(replace(JOHN, company=ACME),)),
            RULES,
            "domain",
            ("associated contacts", "the company of a contact"),
        ),
        (
            replace(EMAIL, contacts=(), companies=(Company("7", "Vistex"),), others=(JOHN,)),
            RULES,
            "accountName",
            ("associated company", "the first company with a name"),
        ),
        (
            replace(EMAIL, contacts=(NOBODY,), others=(JOHN,)),
            RULES,
            "contacts",
            (
                "hs_email_headers",
                "the other side among the email's people, because no associated person has a usable address",
            ),
        ),
        (
            replace(CALL, contacts=(), others=(JOHN,)),
            RULES,
            "contacts",
            ("hs_email_headers", "the person called, because no associated person has a usable address"),
        ),
        (
            replace(EMAIL, sender=JOHN, contacts=(), others=()),
            RULES,
            "domain",
            ("associated company", "the company of the activity"),
        ),
        (
            replace(EMAIL, owner=None),
            RULES,
            "ownerEmail",
            ("hs_email_from_email", "the sender of an email from our side"),
        ),
        (
            replace(EMAIL, owner=None, sender=JOHN, others=(Person("jane@yourcompany.com"),)),
            RULES,
            "ownerEmail",
            ("hs_email_headers", "the one owner among the receivers of an inbound email"),
        ),
        (
            replace(CALL, owner=None),
            replace(RULES, default_owner_email="s@yourcompany.com"),
            "ownerEmail",
            ("rules.default_owner_email", "rules.default_owner_email"),
        ),
        (
            replace(CALL, owners=(Owner("7", "ann@yourcompany.com"),)),
            BARRED,
            "ownerEmail",
            (
                "hs_created_by_user_id",
                "a further owner of the record, because those before it have no address or are in rules.not_owners",
            ),
        ),
        (
            replace(CALL, owners=(Owner("7", "ann@yourcompany.com"),)),
            BARRED,
            "from",
            ("hs_created_by_user_id", "the owner of an outbound activity"),
        ),
        (EMAIL, RULES, "from", ("hs_email_from_email", "the sender of an email")),
        (
            replace(CALL, direction="inbound"),
            RULES,
            "from",
            ("associated contacts", "the first contact of an inbound call"),
        ),
    ],
)
def test_the_rule_that_chose_a_field_is_named(
    draft: Draft, rules: Rules, field: str, expected: tuple[str, str]
) -> None:
    assert told(draft, rules)[field] == expected


def test_without_origins_the_fields_are_named_as_the_draft_names_them() -> None:
    found = provenance(EMAIL, rules=RULES, our_side=OurSide.of(RULES, ()))
    assert found["subject"] == {"from": "title", "rule": AS_READ}
    assert "callTitle" not in found


def test_an_activity_that_is_not_sent_still_tells_what_is_known() -> None:
    found = told(replace(CALL, contacts=(), owner=None))
    assert found["domain"][0] == "associated company"
    assert not {"ownerEmail", "contacts", "from"} & found.keys()


@settings(max_examples=60, deadline=None)
@given(DRAFTS, RULE_SETS, LISTS_OF_OWNERS)
def test_every_field_that_goes_out_has_an_origin(draft: Draft, rules: Rules, owners: list[Owner]) -> None:
    side = OurSide.of(rules, owners)
    verdict = assess(draft, external_activity_id="crm-1", rules=rules, our_side=side, settle=SETTLE, now=NOW)
    found = provenance(draft, rules=rules, our_side=side, fields=verdict.payload)
    assert verdict.payload is None or found.keys() == verdict.payload.keys()


def test_nobody_who_does_not_ask_calls_for_the_origins() -> None:
    def origins() -> dict[str, str]:
        raise AssertionError

    draft = replace(CALL, origins=origins)
    assert payload(draft)
    with pytest.raises(AssertionError):
        provenance(draft, rules=RULES, our_side=OurSide.of(RULES, ()))


def test_a_normalizer_tells_the_provenance_of_a_record() -> None:
    class Connector:
        def normalize(self, stream: str, record: Record) -> Draft | None:
            return CALL if stream == "calls" else None

    clock = ServerClock(lambda: datetime(2026, 5, 1, tzinfo=UTC) + timedelta(0))
    normalizer = Normalizer(RULES, None, Connector(), clock)  # type: ignore[arg-type]
    record = Record(Ref("1", THEN), {})
    assert normalizer.provenance("calls", record, (JANE,))["domain"]["rule"] == "the company of the activity"
    assert normalizer.provenance("notes", record, (JANE,)) == {}
