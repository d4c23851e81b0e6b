"""The rules' decision about a draft: each test is a sentence of the mapping (design, sections 3 and 5)."""

import json
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.activity import Company, Draft, Owner, Person
from syncd.addresses import within
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.normalize.rules import Assessment, OurSide, Rules, assess, validate

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
THEN = datetime(2026, 4, 22, 10, 30, tzinfo=UTC)
SETTLE = timedelta(minutes=10)

ACME = Company("101", "Acme Corp", ("acme.com",))
US = Company("1", "Your Company", ("yourcompany.com",))
NOWHERE = Company("7", "Vistex", ("vistex.unknown", "n/a", None))
JANE = Owner("rep-123", "jane@yourcompany.com", "Jane Smith")
LEFT = Owner("rep-9", "max@yourcompany.com", "Max Gone", active=False)
JOHN = Person(
    "john@acme.com",
    crm_id="contact-456",
    name="John Doe",
    title="VP of Engineering",
    department="Engineering",
    seniority="VP",
    phone="+1 415 555 0101",
    linkedin_url="https://linkedin.com/in/johndoe",
)
MARY = Person("mary@acme.com", crm_id="contact-457", name="Mary Major")
NOBODY = Person(None, crm_id="contact-458", name="No Address")
COLLEAGUE = Person("bob@yourcompany.com", name="Bob Jones")
JANE_WRITES = Person("jane@yourcompany.com", name="Jane S.")
RULES = Rules(own_domains=frozenset({"yourcompany.com"}))

CALL = Draft(
    "call",
    THEN,
    THEN,
    direction="outbound",
    title="Discovery call",
    owner=JANE,
    contacts=(JOHN,),
    companies=(ACME,),
)
EMAIL = replace(CALL, kind="email", direction=None, title="Follow up", sender=JANE_WRITES)


def judge(
    draft: Draft, rules: Rules = RULES, owners: Iterable[Owner] = (JANE, LEFT), now: datetime = NOW
) -> Assessment:
    our_side = OurSide.of(rules, owners)
    return assess(draft, external_activity_id="crm-1", rules=rules, our_side=our_side, settle=SETTLE, now=now)


def reason(draft: Draft, *args: Any, **kwargs: Any) -> str | None:
    return judge(draft, *args, **kwargs).reason


def payload(draft: Draft, *args: Any, **kwargs: Any) -> dict[str, Any]:
    assessment = judge(draft, *args, **kwargs)
    assert assessment.reason is None
    assert assessment.payload is not None
    assert validate(assessment.payload) == []
    return assessment.payload


def emails(draft: Draft, *args: Any, **kwargs: Any) -> list[str]:
    return [contact["email"] for contact in payload(draft, *args, **kwargs)["contacts"]]


def people(*addresses: str | None) -> tuple[Person, ...]:
    return tuple(Person(address) for address in addresses)


def company(crm_id: str, *domains: str | None, name: str | None = None) -> Company:
    return Company(crm_id, name, domains)


# --- what the ledger keeps of the account ---


@pytest.mark.parametrize(
    ("draft", "domain"),
    [
        (CALL, "acme.com"),
        (replace(CALL, status="unfinished"), "acme.com"),
        (replace(CALL, owner=None), "acme.com"),
        (replace(CALL, companies=(), contacts=(Person("jo@gmail.com", None),)), None),
        (replace(CALL, companies=(), contacts=()), None),
    ],
)
def test_the_domain_of_the_account_is_told_with_every_reason_and_never_that_of_free_mail(
    draft: Draft, domain: str | None
) -> None:
    assert judge(draft).domain == domain


# --- the whole object ---


def test_a_call_goes_out_as_the_vendors_example() -> None:
    draft = replace(CALL, duration_minutes=30.0, outcome="Connected", open_count=3, click_count=1)
    assert judge(draft) == Assessment(
        reason=None,
        domain="acme.com",
        payload={
            "externalActivityId": "crm-1",
            "activityType": "call",
            "occurredAt": "2026-04-22T10:30:00Z",
            "domain": "acme.com",
            "accountName": "Acme Corp",
            "ownerEmail": "jane@yourcompany.com",
            "ownerName": "Jane Smith",
            "ownerId": "rep-123",
            "callTitle": "Discovery call",
            "durationMinutes": 30,
            "outcome": "Connected",
            "direction": "outbound",
            "from": {"name": "Jane Smith", "email": "jane@yourcompany.com"},
            "contacts": [
                {
                    "email": "john@acme.com",
                    "externalContactId": "contact-456",
                    "name": "John Doe",
                    "title": "VP of Engineering",
                    "department": "Engineering",
                    "seniority": "VP",
                    "phone": "+1 415 555 0101",
                    "linkedinUrl": "https://linkedin.com/in/johndoe",
                }
            ],
        },
    )


def test_an_email_goes_out_as_the_vendors_example() -> None:
    draft = replace(EMAIL, open_count=3, click_count=0, duration_minutes=5, outcome="Connected", contacts=(MARY,))
    assert payload(draft) == {
        "externalActivityId": "crm-1",
        "activityType": "email",
        "occurredAt": "2026-04-22T10:30:00Z",
        "domain": "acme.com",
        "accountName": "Acme Corp",
        "ownerEmail": "jane@yourcompany.com",
        "ownerName": "Jane Smith",
        "ownerId": "rep-123",
        "subject": "Follow up",
        "openCount": 3,
        "clickCount": 0,
        "from": {"name": "Jane S.", "email": "jane@yourcompany.com"},
        "contacts": [{"email": "mary@acme.com", "externalContactId": "contact-457", "name": "Mary Major"}],
    }


def test_optional_keys_without_a_value_are_left_out() -> None:
    bare = Draft("call", THEN, THEN, owner=Owner(None, "jane@yourcompany.com"), contacts=people("john@acme.com"))
    assert payload(bare, owners=()) == {
        "externalActivityId": "crm-1",
        "activityType": "call",
        "occurredAt": "2026-04-22T10:30:00Z",
        "domain": "acme.com",
        "ownerEmail": "jane@yourcompany.com",
        "contacts": [{"email": "john@acme.com"}],
    }


def test_strings_are_cleaned_in_every_field() -> None:
    dirty = "\x00 a\r\nb\ud800 "
    person = Person("john@acme.com", dirty, dirty, dirty, dirty, dirty, dirty, dirty)
    owner = Owner(dirty, " JANE@yourcompany.com ", dirty)
    draft = replace(CALL, title=dirty, outcome=dirty, owner=owner, contacts=(person,))
    sent = payload(replace(draft, companies=(company("1", "acme.com", name=dirty),)))
    keys = ("accountName", "ownerName", "ownerId", "callTitle", "outcome")
    assert {sent[key] for key in keys} == {"a b"}
    assert sent["from"] == {"name": "a b", "email": "jane@yourcompany.com"}
    assert set(sent["contacts"][0].values()) == {"john@acme.com", "a b"}
    assert len(sent["contacts"][0]) == 8
    assert payload(replace(EMAIL, title=dirty))["subject"] == "a b"


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (30.0, 30),
        (0, 0),
        (-0.0, 0),
        (1.2345, 1.23),
        (12.5, 12.5),
        (29.999, 30),
        *((value, None) for value in (None, -1, -0.001, float("nan"), float("inf"), True, 1e300, 10**400, "30")),
    ],
)
def test_minutes_go_out_with_two_decimals_and_whole_ones_as_integers(minutes: Any, expected: float | None) -> None:
    sent = payload(replace(CALL, duration_minutes=minutes)).get("durationMinutes")
    assert json.dumps(sent) == json.dumps(expected)


@pytest.mark.parametrize("count", [None, -1, 1.0, True, "3", 10**400])
def test_counts_are_whole_numbers_or_left_out(count: Any) -> None:
    sent = payload(replace(EMAIL, open_count=count, click_count=count))
    assert "openCount" not in sent
    assert "clickCount" not in sent


# --- contacts ---


def test_contacts_are_each_address_once_and_the_first_wins() -> None:
    again = Person(" JOHN@Acme.com", name="Johnny")
    sent = payload(replace(CALL, contacts=(JOHN, MARY, again)))["contacts"]
    assert [(contact["email"], contact["name"]) for contact in sent] == [
        ("john@acme.com", "John Doe"),
        ("mary@acme.com", "Mary Major"),
    ]


def test_the_crms_own_contacts_keep_stand_ins_out() -> None:
    assert emails(replace(CALL, contacts=(JOHN, NOBODY), others=(MARY,))) == ["john@acme.com"]


@pytest.mark.parametrize("contacts", [(), (NOBODY,), (COLLEAGUE,), people("not available")])
def test_stand_ins_come_in_where_no_contact_has_a_usable_address(contacts: tuple[Person, ...]) -> None:
    assert emails(replace(CALL, contacts=contacts, others=(COLLEAGUE, MARY))) == ["mary@acme.com"]


def test_the_sender_of_an_incoming_email_stands_in_for_its_contacts() -> None:
    assert emails(replace(EMAIL, sender=JOHN, contacts=())) == ["john@acme.com"]
    assert emails(replace(EMAIL, sender=JOHN, direction="inbound", contacts=(), others=(JOHN, COLLEAGUE))) == [
        "john@acme.com"
    ]


@pytest.mark.parametrize(
    "address",
    ["jane@yourcompany.com", "MAX@yourcompany.com", "bob@yourcompany.com", "bob@mail.yourcompany.com"],
)
def test_addresses_on_our_side_are_never_contacts(address: str) -> None:
    assert emails(replace(CALL, contacts=(*people(address), JOHN))) == ["john@acme.com"]


def test_an_owners_address_is_ours_wherever_it_is() -> None:
    owners = (Owner("1", "jane@gmail.com"), Owner("2", "max@acme.com", active=False))
    draft = replace(CALL, contacts=people("jane@gmail.com", "max@acme.com", "joe@gmail.com"))
    assert emails(draft, owners=owners) == ["joe@gmail.com"]


def test_the_activitys_owner_is_ours_even_when_the_list_of_owners_lacks_them() -> None:
    draft = replace(CALL, owner=Owner("1", "jane@acme.com"), contacts=people("jane@acme.com", "joe@acme.com"))
    assert emails(draft, owners=()) == ["joe@acme.com"]


def test_whoever_sent_an_outgoing_email_is_ours_by_whatever_address() -> None:
    draft = replace(EMAIL, direction="outbound", sender=Person("jane@alias.com"), others=people("jane@alias.com"))
    assert emails(replace(draft, contacts=(), others=people("jane@alias.com", "john@acme.com"))) == ["john@acme.com"]
    known = Owner("7", "jane@alias.com")
    assert emails(replace(draft, contacts=people("jane@alias.com", "john@acme.com")), owners=(known,)) == [
        "john@acme.com"
    ]


def test_a_domain_that_two_active_owners_share_is_ours() -> None:
    owners = (Owner("1", "a@us.com.au"), Owner("2", "b@mail.us.com.au"))
    assert emails(replace(CALL, contacts=people("c@us.com.au", "d@eu.us.com.au", "e@acme.com")), owners=owners) == [
        "e@acme.com"
    ]


@pytest.mark.parametrize(
    "owners",
    [
        (Owner("1", "a@agency.com"),),
        (Owner("1", "a@agency.com"), Owner("2", "b@agency.com", active=False)),
        (Owner("1", "a@agency.com"), Owner("2", "A@agency.com")),
    ],
    ids=["one owner", "one of two has left", "one owner twice"],
)
def test_a_domain_of_a_single_active_owner_is_not_ours(owners: tuple[Owner, ...]) -> None:
    assert emails(replace(CALL, contacts=people("c@agency.com")), owners=owners) == ["c@agency.com"]


def test_a_free_mail_providers_domain_is_never_ours() -> None:
    owners = (Owner("1", "a@gmail.com"), Owner("2", "b@gmail.com"))
    assert emails(replace(CALL, contacts=people("c@gmail.com")), owners=owners) == ["c@gmail.com"]


def test_an_own_domain_covers_what_is_below_it_not_above_nor_beside() -> None:
    rules = Rules(own_domains=frozenset({"eu.bigcorp.com"}))
    draft = replace(
        CALL,
        contacts=people("a@eu.bigcorp.com", "b@x.eu.bigcorp.com", "c@bigcorp.com", "d@noteu.bigcorp.com"),
    )
    assert emails(draft, rules) == ["c@bigcorp.com", "d@noteu.bigcorp.com"]


def test_own_domains_are_understood_as_people_write_them() -> None:
    rules = Rules(own_domains=frozenset({"https://www.YourCompany.com/", " Other.LOCAL "}))
    assert OurSide.of(rules, ()).has("bob@mail.yourcompany.com")
    assert OurSide.of(rules, ()).has("bob@other.local")


def test_our_side_knows_owners_by_address_and_the_active_one_first() -> None:
    side = OurSide.of(
        RULES, (replace(JANE, active=False, name="Old"), JANE, replace(JANE, name="Late"), Owner("3", "n/a"))
    )
    assert side.owner("jane@yourcompany.com") == JANE
    assert side.owner("bob@yourcompany.com") is None
    assert side.owner("n/a") is None
    assert not side.has("n/a")


# --- excluded ---


def test_what_was_not_sent_is_excluded() -> None:
    assert judge(replace(EMAIL, status="not_sent"))[:2] == (Reason.NOT_SENT, None)


@pytest.mark.parametrize(
    "draft",
    [
        replace(CALL, direction="internal", contacts=()),
        replace(CALL, contacts=(COLLEAGUE,)),
        replace(CALL, contacts=(), others=(COLLEAGUE,)),
        replace(EMAIL, contacts=(COLLEAGUE,)),
        replace(EMAIL, contacts=(), others=(JANE_WRITES, COLLEAGUE)),
        replace(EMAIL, direction="inbound", contacts=(COLLEAGUE, JANE_WRITES)),
        replace(EMAIL, sender=None, contacts=(COLLEAGUE,)),
    ],
    ids=str,
)
def test_an_activity_whose_people_are_all_on_our_side_is_internal(draft: Draft) -> None:
    assert judge(draft)[:2] == (Reason.INTERNAL, None)


@pytest.mark.parametrize("somebody", [NOBODY, Person("not available")])
def test_a_contact_without_an_address_is_somebody_on_the_other_side(somebody: Person) -> None:
    assert reason(replace(CALL, contacts=(COLLEAGUE, somebody))) == "no_contact_email"
    assert reason(replace(CALL, contacts=(COLLEAGUE,), others=(somebody,))) == "no_contact_email"


@pytest.mark.parametrize("draft", [replace(EMAIL, contacts=()), replace(EMAIL, contacts=(), others=(JANE_WRITES,))])
def test_an_email_of_which_only_its_sender_on_our_side_is_known_waits_for_a_contact(draft: Draft) -> None:
    assert reason(draft) == "no_contact"


@pytest.mark.parametrize("domain", ["acme.com", "eu.acme.com"])
def test_an_excluded_domain_excludes_its_account_and_those_below(domain: str) -> None:
    rules = replace(RULES, exclude_domains=frozenset({"acme.com"}))
    draft = replace(CALL, contacts=people("john@gmail.com"), companies=(company("1", domain),))
    assert judge(draft, rules)[:2] == (Reason.EXCLUDED_DOMAIN, None)


def test_an_excluded_subdomain_does_not_exclude_the_domain_above() -> None:
    rules = replace(RULES, exclude_domains=frozenset({"eu.acme.com"}))
    assert reason(replace(CALL, companies=(company("1", "https://www.eu.acme.com/"),)), rules) == "excluded_domain"
    assert reason(CALL, rules) is None


@pytest.mark.parametrize("domain", ["manhattanassociates.com", "manh.com"])
def test_an_account_is_excluded_by_its_domain_before_or_after_the_alias(domain: str) -> None:
    aliases = {"manhattanassociates.com": "manh.com"}
    rules = replace(RULES, domain_aliases=aliases, exclude_domains=frozenset({domain}))
    assert reason(replace(CALL, companies=(company("1", "manhattanassociates.com"),)), rules) == "excluded_domain"


def test_an_excluded_domain_excludes_when_every_contact_is_there_not_when_some_are() -> None:
    rules = replace(RULES, exclude_domains=frozenset({"rival.com"}))
    assert reason(replace(CALL, contacts=people("a@rival.com", "b@eu.rival.com")), rules) == "excluded_domain"
    assert reason(replace(CALL, contacts=people("a@rival.com", "john@acme.com")), rules) is None


def test_exclusion_is_judged_even_when_other_parts_are_incomplete() -> None:
    rules = replace(RULES, exclude_domains=frozenset({"acme.com"}))
    assert reason(replace(CALL, contacts=(), owner=None, status="unfinished"), rules) == "excluded_domain"
    assert reason(replace(CALL, contacts=(NOBODY,)), rules) == "excluded_domain"


def test_what_happened_before_not_before_is_too_old() -> None:
    assert judge(CALL, replace(RULES, not_before=THEN + timedelta(seconds=1)))[:2] == (Reason.TOO_OLD, None)
    assert reason(CALL, replace(RULES, not_before=THEN)) is None


# --- incomplete ---


def test_a_running_call_is_unfinished() -> None:
    assert judge(replace(CALL, status="unfinished"))[:2] == (Reason.UNFINISHED, None)


def test_what_has_not_happened_yet_is_in_the_future() -> None:
    assert reason(CALL, now=THEN - timedelta(seconds=1)) == "in_future"


def test_without_people_there_is_no_contact() -> None:
    assert reason(replace(CALL, contacts=())) == "no_contact"
    assert reason(replace(EMAIL, sender=None, contacts=())) == "no_contact"


@pytest.mark.parametrize("contacts", [(NOBODY,), people("inferred — john@acme.com", "not available")])
def test_people_of_the_other_side_without_an_address_are_no_contact_email(
    contacts: tuple[Person, ...],
) -> None:
    assert reason(replace(CALL, contacts=contacts)) == "no_contact_email"


def test_without_a_company_or_a_business_address_there_is_no_domain() -> None:
    assert reason(replace(CALL, contacts=people("john@gmail.com"), companies=())) == "no_domain"


def test_without_any_owner_there_is_no_owner_email() -> None:
    assert reason(replace(CALL, owner=None)) == "no_owner_email"
    assert reason(replace(CALL, owner=Owner("1", "not available"))) == "no_owner_email"


@pytest.mark.parametrize("field", ["occurred_at", "created_at"])
def test_an_activity_settles_after_it_happened_or_was_created_whichever_is_later(field: str) -> None:
    late: dict[str, Any] = {field: NOW - SETTLE + timedelta(seconds=1)}
    draft = replace(CALL, **late)
    assert judge(draft)[:2] == (Reason.SETTLING, None)
    assert reason(draft, now=NOW + timedelta(seconds=1)) is None


def test_the_first_reason_that_holds_is_the_reason() -> None:
    """Remove one fault after the other: the reasons come in exactly the design's order."""
    rules = replace(RULES, exclude_domains=frozenset({"rival.com"}), not_before=NOW)
    rival, old = company("1", "rival.com"), NOW - timedelta(days=1)
    draft = Draft("email", old, NOW, status="not_sent", direction="internal", companies=(rival,))
    steps: list[tuple[str, dict[str, Any]]] = [
        ("not_sent", {"status": "unfinished", "filtered": "except, entry 1"}),
        ("filtered", {"filtered": None, "automated": "support"}),
        ("automated", {"automated": None}),
        ("internal", {"direction": None}),
        ("excluded_domain", {"companies": ()}),
        ("too_old", {"occurred_at": NOW + timedelta(minutes=1), "redacted": True}),
        ("redacted", {"redacted": False}),
        ("unfinished", {"status": "done"}),
        ("in_future", {"occurred_at": NOW}),
        ("no_contact", {"contacts": (NOBODY,)}),
        ("no_contact_email", {"contacts": people("john@gmail.com")}),
        ("no_domain", {"companies": (ACME,)}),
        ("no_owner_email", {"owner": JANE}),
        ("settling", {}),
    ]
    for expected, healing in steps:
        assert reason(draft, rules) == expected
        draft = replace(draft, **healing)
    names = [name for name, _ in steps]
    assert names == [reason for reason in Reason if reason in names], "the order of the enum is the order of judgement"
    assert reason(draft, rules, now=NOW + SETTLE) is None


def test_nothing_is_concluded_from_the_people_of_a_redacted_draft() -> None:
    """An excluded activity would not be looked up again, and its other people may be hidden."""
    rules = replace(RULES, exclude_domains=frozenset({"rival.com"}))
    ours = replace(EMAIL, contacts=(COLLEAGUE,), others=())
    theirs = replace(EMAIL, companies=(company("1", "rival.com"),), contacts=people("x@rival.com"))
    assert [reason(draft, rules) for draft in (ours, theirs)] == ["internal", "excluded_domain"]
    assert [reason(replace(draft, redacted=True), rules) for draft in (ours, theirs)] == ["redacted"] * 2
    assert reason(replace(EMAIL, redacted=True, status="not_sent")) == "not_sent"


# --- the account ---


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("https://www.ACME.co.uk/about", "acme.co.uk"),
        ("www.eu.acme.com", "acme.com"),
        ("acme.github.io", "acme.github.io"),
        ("bücher.de", "xn--bcher-kva.de"),
    ],
)
def test_the_domain_is_the_registrable_one_of_the_activitys_company(domain: str, expected: str) -> None:
    assert payload(replace(CALL, companies=(company("1", domain),)))["domain"] == expected


def test_a_companys_candidates_are_tried_in_order() -> None:
    candidates = company("1", None, "vistex.unknown", "127.0.0.1", "gmail.com", "https://www.vistex.com", "other.com")
    assert payload(replace(CALL, companies=(candidates,)))["domain"] == "vistex.com"


def test_of_several_companies_the_contacts_own_is_the_account() -> None:
    own = replace(JOHN, company=company("900", "later.com"))
    draft = replace(CALL, contacts=(own,), companies=(company("5", "five.com"), company("900", "own.com")))
    assert payload(draft)["domain"] == "own.com"


def test_else_the_company_with_the_lowest_id_counted_as_a_number() -> None:
    draft = replace(CALL, companies=(company("10", "ten.com"), company("9", "nine.com"), company("a", "letters.com")))
    assert payload(draft)["domain"] == "nine.com"


def test_a_company_that_yields_no_domain_gives_way_to_the_next() -> None:
    draft = replace(CALL, companies=(company("10", "ten.com"), NOWHERE))
    assert payload(draft)["domain"] == "ten.com"


def test_then_the_company_of_a_contact_in_order() -> None:
    mary, john = replace(MARY, company=company("5", "marys.com")), replace(JOHN, company=NOWHERE)
    draft = replace(CALL, contacts=(john, mary), companies=(NOWHERE,))
    assert payload(draft)["domain"] == "marys.com"


def test_a_contact_without_an_address_still_has_a_company() -> None:
    nobody = replace(NOBODY, company=ACME)
    assert (
        payload(replace(CALL, contacts=(nobody,), others=people("john@gmail.com"), companies=()))["domain"]
        == "acme.com"
    )


def test_a_colleagues_company_is_not_the_account() -> None:
    draft = replace(CALL, contacts=(replace(COLLEAGUE, company=ACME), Person("john@other.com")), companies=())
    assert payload(draft)["domain"] == "other.com"


def test_then_the_domain_of_a_contacts_address_unless_it_is_a_free_mail_providers() -> None:
    draft = replace(CALL, contacts=people("john@gmail.com", "mary@mail.acme.co.uk"), companies=(NOWHERE,))
    assert payload(draft)["domain"] == "acme.co.uk"


def test_an_alias_is_looked_up_by_the_registrable_domain_wherever_that_came_from() -> None:
    rules = replace(RULES, domain_aliases={"ManhattanAssociates.com": "www.manh.com"})
    found = company("1", "https://eu.manhattanassociates.com/x")
    assert payload(replace(CALL, companies=(found,)), rules)["domain"] == "manh.com"
    draft = replace(CALL, contacts=people("a@eu.manhattanassociates.com"), companies=())
    assert payload(draft, rules)["domain"] == "manh.com"
    assert payload(CALL, rules)["domain"] == "acme.com"


@pytest.mark.parametrize("domain", ["yourcompany.com", "https://www.eu.yourcompany.com/", "yourcompany.io"])
def test_a_company_that_is_ourselves_is_never_the_account(domain: str) -> None:
    rules = replace(RULES, domain_aliases={"yourcompany.io": "yourcompany.com"})
    ourselves = company("1", domain, "acme.org", name="Your Company")
    sent = payload(replace(CALL, companies=(ourselves,)), rules)
    assert sent["domain"] == "acme.com"
    assert "accountName" not in sent
    assert payload(replace(CALL, companies=(ourselves, ACME)), rules)["accountName"] == "Acme Corp"


def test_a_domain_that_our_owners_share_is_never_the_account() -> None:
    owners = (Owner("1", "a@sharers.com"), Owner("2", "b@sharers.com"))
    assert payload(replace(CALL, companies=(company("1", "sharers.com"),)), owners=owners)["domain"] == "acme.com"


def test_a_free_mail_providers_domain_is_never_the_account() -> None:
    assert (
        payload(replace(CALL, companies=(company("1", "gmail.com", "mail.google.com.gmail.com"),)))["domain"]
        == "acme.com"
    )


def test_the_account_is_named_after_the_company_whose_domain_was_used() -> None:
    assert payload(replace(CALL, companies=(NOWHERE, ACME)))["accountName"] == "Acme Corp"
    assert "accountName" not in payload(replace(CALL, companies=(NOWHERE, company("9", "acme.com"))))


def test_where_the_domain_is_an_addresss_the_account_is_named_after_the_first_company_with_a_name() -> None:
    nameless = company("2", "n/a")
    assert payload(replace(CALL, companies=(nameless, NOWHERE)))["accountName"] == "Vistex"
    contact = replace(JOHN, company=NOWHERE)
    assert payload(replace(CALL, contacts=(contact,), companies=()))["accountName"] == "Vistex"
    assert "accountName" not in payload(replace(CALL, companies=()))


# --- the owner ---


def owner_of(sent: dict[str, Any]) -> tuple[Any, ...]:
    return sent["ownerEmail"], sent.get("ownerName"), sent.get("ownerId")


def test_the_crms_owner_is_the_owner_also_one_that_has_left() -> None:
    assert owner_of(payload(replace(CALL, owner=LEFT))) == ("max@yourcompany.com", "Max Gone", "rep-9")
    assert owner_of(payload(replace(EMAIL, owner=LEFT))) == ("max@yourcompany.com", "Max Gone", "rep-9")


def test_what_the_activity_does_not_say_of_its_owner_the_list_of_owners_does() -> None:
    draft = replace(CALL, owner=Owner(None, "Jane@YourCompany.com"))
    assert owner_of(payload(draft)) == ("jane@yourcompany.com", "Jane Smith", "rep-123")


NO_OWNER = replace(EMAIL, owner=Owner("rep-0", None, "Nobody"))


@pytest.mark.parametrize("direction", ["outbound", None])
def test_else_the_sender_of_an_email_from_our_side_by_the_name_and_id_of_the_owner(direction: Any) -> None:
    assert owner_of(payload(replace(NO_OWNER, direction=direction))) == (
        "jane@yourcompany.com",
        "Jane Smith",
        "rep-123",
    )


def test_a_sender_who_is_no_owner_brings_their_own_name() -> None:
    assert owner_of(payload(replace(NO_OWNER, sender=COLLEAGUE))) == (
        "bob@yourcompany.com",
        "Bob Jones",
        None,
    )
    draft = replace(NO_OWNER, direction="outbound", sender=Person("jane@alias.com", crm_id="contact-1"))
    assert owner_of(payload(draft)) == ("jane@alias.com", None, None)


@pytest.mark.parametrize("direction", ["inbound", None])
def test_the_sender_of_an_email_from_the_other_side_is_no_owner(direction: Any) -> None:
    assert reason(replace(NO_OWNER, direction=direction, sender=JOHN)) == "no_owner_email"


def test_a_sender_is_never_the_owner_of_a_call() -> None:
    assert reason(replace(CALL, owner=None, sender=JANE_WRITES)) == "no_owner_email"


def test_else_the_default_owner_with_name_and_id_where_they_are_an_owner() -> None:
    draft = replace(CALL, owner=None)
    known = replace(RULES, default_owner_email=" Jane@yourcompany.com")
    unknown = replace(RULES, default_owner_email="sales@yourcompany.com")
    assert owner_of(payload(draft, known)) == ("jane@yourcompany.com", "Jane Smith", "rep-123")
    assert owner_of(payload(draft, unknown)) == ("sales@yourcompany.com", None, None)
    assert owner_of(payload(NO_OWNER, unknown))[0] == "jane@yourcompany.com"
    assert owner_of(payload(CALL, unknown))[0] == "jane@yourcompany.com"


# --- direction and from ---


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_direction_goes_out_for_calls_alone(direction: Any) -> None:
    assert payload(replace(CALL, direction=direction))["direction"] == direction
    assert "direction" not in payload(replace(EMAIL, direction=direction))
    assert "direction" not in payload(replace(CALL, direction=None))


def test_an_outbound_call_is_from_its_owner() -> None:
    assert payload(replace(CALL, owner=LEFT))["from"] == {"name": "Max Gone", "email": "max@yourcompany.com"}


@pytest.mark.parametrize("direction", ["outbound", None])
def test_an_email_from_our_side_is_from_its_sender_not_its_owner(direction: Any) -> None:
    draft = replace(EMAIL, direction=direction, owner=LEFT, sender=Person("JANE@yourcompany.com"))
    assert payload(draft)["from"] == {"name": "Jane Smith", "email": "jane@yourcompany.com"}
    assert payload(replace(draft, sender=COLLEAGUE))["from"] == {
        "name": "Bob Jones",
        "email": "bob@yourcompany.com",
    }


@pytest.mark.parametrize("sender", [None, Person("not available", name="Somebody")])
def test_an_outbound_email_whose_sender_has_no_address_is_from_its_owner(sender: Person | None) -> None:
    draft = replace(EMAIL, direction="outbound", sender=sender)
    assert payload(draft)["from"] == {"name": "Jane Smith", "email": "jane@yourcompany.com"}


@pytest.mark.parametrize("direction", ["inbound", None])
def test_an_email_from_the_other_side_is_from_its_sender(direction: Any) -> None:
    draft = replace(EMAIL, direction=direction, sender=Person("mary@acme.com", name="Mary"))
    assert payload(draft)["from"] == {"name": "Mary", "email": "mary@acme.com"}
    assert emails(draft) == ["john@acme.com"]


def test_an_inbound_call_is_from_the_first_contact() -> None:
    draft = replace(CALL, direction="inbound", contacts=(NOBODY, MARY, JOHN))
    assert payload(draft)["from"] == {"name": "Mary Major", "email": "mary@acme.com"}


def test_only_what_is_known_of_the_sender_stands_in_from() -> None:
    inbound = replace(EMAIL, direction="inbound")
    assert payload(replace(inbound, sender=Person("not available", name="Mary")))["from"] == {"name": "Mary"}
    assert payload(replace(inbound, sender=Person("mary@acme.com", name=" ")))["from"] == {"email": "mary@acme.com"}


@pytest.mark.parametrize(
    "draft",
    [
        replace(CALL, direction=None),
        replace(EMAIL, sender=None),
        replace(EMAIL, sender=Person("not available", name="Mary")),
        replace(EMAIL, direction="inbound", sender=None),
        replace(EMAIL, direction="inbound", sender=Person(None)),
    ],
    ids=str,
)
def test_from_is_left_out_where_nobody_knows_who_it_was(draft: Draft) -> None:
    assert "from" not in payload(draft)


# --- whatever a CRM may hold ---

NASTY = st.text(st.characters() | st.characters(categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)
TEXTS = st.none() | NASTY
LOCALS = st.sampled_from(["john", "JOHN", "mary", "jane", "bob", "jörg", "j" * 65]) | NASTY
DOMAINS = (
    st.sampled_from(["acme.com", "EU.acme.com", "rival.com", "gmail.com", "yourcompany.com", "mail.yourcompany.com"])
    | st.sampled_from(["sharers.com", "bücher.de", "acme.test", "vistex.unknown", "127.0.0.1", "n/a", "old.com"])
    | NASTY
)
EMAILS = st.builds("{}@{}".format, LOCALS, DOMAINS) | TEXTS
COMPANIES = st.builds(
    Company,
    st.sampled_from("1 9 10 a".split()) | NASTY,
    TEXTS,
    st.lists(DOMAINS | st.none(), max_size=3).map(tuple),
)
PEOPLE = st.builds(Person, EMAILS, *[TEXTS] * 7, st.none() | COMPANIES)
OWNERS = st.builds(Owner, TEXTS, EMAILS, TEXTS, st.booleans())
# Mostly plain values, so that many drafts are complete and the properties below are about them.
LATELY = st.datetimes(THEN.replace(tzinfo=None), datetime(2026, 5, 1, 11), timezones=st.just(UTC))
TIMES = st.one_of(LATELY, LATELY, LATELY, st.datetimes(timezones=st.just(UTC)))
OUTSIDERS = st.builds(replace, PEOPLE, email=st.sampled_from(["john@acme.com", " Mary@EU.acme.com", "a@bücher.de"]))
DRAFTS = st.builds(
    Draft,
    kind=st.sampled_from(["call", "email"]),
    occurred_at=TIMES,
    created_at=TIMES,
    status=st.sampled_from(["done"] * 8 + ["unfinished", "not_sent"]),
    direction=st.sampled_from(["inbound", "outbound", None] * 3 + ["internal"]),
    title=TEXTS,
    duration_minutes=st.none() | st.floats() | st.integers(),
    outcome=TEXTS,
    open_count=st.none() | st.integers(),
    click_count=st.none() | st.integers(),
    owner=st.one_of(st.just(JANE), st.just(JANE), OWNERS, st.none()),
    sender=st.none() | PEOPLE,
    contacts=st.lists(OUTSIDERS | PEOPLE, max_size=4).map(tuple),
    others=st.lists(PEOPLE, max_size=3).map(tuple),
    companies=st.lists(COMPANIES, max_size=3).map(tuple),
    owners=st.lists(OWNERS, max_size=2).map(tuple),
    automated=st.sampled_from([None] * 6 + ["support"]),
)
RULE_SETS = st.builds(
    Rules,
    own_domains=st.sampled_from([frozenset(), frozenset({"yourcompany.com"})]),
    domain_aliases=st.sampled_from([{}, {"acme.com": "acme.org", "old.com": "yourcompany.com"}]),
    exclude_domains=st.sampled_from([frozenset(), frozenset({"rival.com", "gmail.com"})]),
    not_before=st.sampled_from([None, THEN]),
    default_owner_email=st.sampled_from(["", "sales@yourcompany.com", "jane@yourcompany.com"]),
    not_owners=st.sampled_from([frozenset()] * 3 + [frozenset({"rep-123"}), frozenset({"jane@acme.com"})]),
    company_domains=st.sampled_from([frozenset(), frozenset({"gmail.com"})]),
)
LISTS_OF_OWNERS = st.lists(
    OWNERS | st.sampled_from([JANE, Owner("1", "a@sharers.com"), Owner("2", "b@sharers.com")]), max_size=4
)


def strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def test_a_hostile_draft_still_goes_out_at_times() -> None:
    """The next test would prove nothing if no draft of its kind were ever complete."""
    draft = replace(CALL, contacts=people("\x00", "john@acme.com"), companies=(company("\ud800", "\x00"),))
    assert payload(draft)["domain"] == "acme.com"


@settings(max_examples=200, deadline=None)
@given(DRAFTS, RULE_SETS, LISTS_OF_OWNERS)
def test_whatever_a_crm_holds_the_assessment_is_sound(draft: Draft, rules: Rules, owners: list[Owner]) -> None:
    our_side = OurSide.of(rules, owners)
    verdict = assess(draft, external_activity_id="crm-1", rules=rules, our_side=our_side, settle=SETTLE, now=NOW)
    assert (verdict.payload is None) == (verdict.reason is not None)
    if verdict.payload is None:
        assert verdict.reason is not None
        assert verdict.reason.state in (State.EXCLUDED, State.INCOMPLETE)
        return
    sent = verdict.payload
    assert validate(sent) == []
    assert json.loads(json.dumps(sent, ensure_ascii=False, allow_nan=False).encode()) == sent
    for text in strings(sent):
        assert text == text.strip() != ""
        assert not {unicodedata.category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}
    addresses = [contact["email"] for contact in sent["contacts"]]
    assert len(set(addresses)) == len(addresses) > 0
    assert not any(our_side.has(address) for address in addresses)
    assert not our_side.has_domain(sent["domain"])
    assert not within(sent["domain"], rules.exclude_domains)


def test_an_assessment_says_nothing_personal_by_its_repr() -> None:
    assert "john" not in repr(judge(CALL)).lower()


def test_a_typical_call_is_assessed_in_well_under_a_millisecond() -> None:
    """It takes about 20 µs warm. The bound is generous because a test machine may be busy."""
    side = OurSide.of(RULES, (JANE, LEFT))
    best = min(_cost(side) for _ in range(5))
    assert best < 200e-6


def _cost(side: OurSide) -> float:
    start = time.process_time()
    for _ in range(500):
        assess(CALL, external_activity_id="crm-1", rules=RULES, our_side=side, settle=SETTLE, now=NOW)
    return (time.process_time() - start) / 500


# --- what a mutation run found untested ---


def test_a_sender_without_an_address_is_nobody_of_the_other_side() -> None:
    """An email of ours, whose sender the CRM names without an address, and no contact."""
    unnamed = replace(JANE_WRITES, email=None)
    for direction in ("outbound", None):
        assert reason(replace(EMAIL, direction=direction, sender=unnamed, contacts=())) == "no_contact"


def test_owners_at_a_domain_that_nobody_can_register_share_it_all_the_same() -> None:
    ours = (Owner("1", "a@corp.local"), Owner("2", "b@corp.local"))
    draft = replace(CALL, owner=ours[0], contacts=people("c@corp.local"))
    assert reason(draft, owners=ours) == "internal"


def test_among_several_companies_a_number_comes_before_what_is_none() -> None:
    companies = (company("abc", "letters.com"), company("12345", "digits.com"))
    assert (
        payload(replace(CALL, contacts=(replace(JOHN, company=None),), companies=companies))["domain"] == "digits.com"
    )


def test_the_greatest_number_that_json_keeps_exact_still_goes_out() -> None:
    greatest = 2**53 - 1
    assert payload(replace(CALL, duration_minutes=greatest))["durationMinutes"] == greatest
    assert payload(replace(EMAIL, open_count=greatest))["openCount"] == greatest
    assert "openCount" not in payload(replace(EMAIL, open_count=greatest + 1))
