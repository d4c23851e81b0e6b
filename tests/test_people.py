"""Who is who in an activity: golden cases of the field, a draft in, a payload or a reason out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.activity import Draft, Owner, Person
from syncd.addresses import domain_of, email, is_free_mail
from syncd.connector import Record, Ref, Source, SourceConfig
from syncd.http.server_clock import ServerClock
from syncd.lifecycle.transitions import Reading
from syncd.normalize.known import is_mailbox
from syncd.normalize.normalizer import Normalizer
from syncd.normalize.ownership import owner_of as chosen_owner
from syncd.normalize.people import people_of
from syncd.normalize.rules import OurSide, Rules
from tests.test_rules import (
    ACME,
    COLLEAGUE,
    DRAFTS,
    EMAIL,
    JANE,
    LEFT,
    LISTS_OF_OWNERS,
    NOW,
    RULE_SETS,
    RULES,
    THEN,
    emails,
    owner_of,
    payload,
    people,
    reason,
)

ANN = Owner("rep-7", "ann@yourcompany.com", "Ann Other")
JO = Person("jo@acme.com", crm_id="contact-1", name="Jo Do")
TO_ANN = Person("ann@yourcompany.com")
CALLED_OUTBOUND = Draft(
    "email", THEN, THEN, direction="outbound", title="Re: offer", sender=Person("jo@acme.com", name="Jo"),
    contacts=(JO,), others=(TO_ANN, Person("jo@acme.com")), companies=(ACME,),
)  # fmt: skip
OWNERS = (JANE, LEFT, ANN)


def sent(draft: Draft, rules: Rules = RULES) -> dict[str, Any]:
    return payload(draft, rules, OWNERS)


def why(draft: Draft, rules: Rules = RULES) -> str | None:
    return reason(draft, rules, OWNERS)


def reading_of(draft: Draft, rules: Rules = RULES) -> Reading:
    """Return the reading of a record that a connector reads as `draft`."""

    class Connector:
        def normalize(self, stream: str, record: Record) -> Draft:
            return draft

    source = Source("crm", SourceConfig(connector="crm", start=THEN), Connector)  # type: ignore[arg-type]
    normalizer = Normalizer(rules, source, Connector(), ServerClock(lambda: NOW))  # type: ignore[arg-type]
    (reading,) = normalizer.readings(f"{draft.kind}s", [Record(Ref("1", THEN), {})], OWNERS)
    return reading


# --- an email that the CRM calls outbound, from somebody who is not ours ---


def test_an_associated_contact_who_writes_to_us_is_the_other_side() -> None:
    """F3: Apollo logs a reply as direction EMAIL."""
    out = sent(CALLED_OUTBOUND)
    assert [contact["email"] for contact in out["contacts"]] == ["jo@acme.com"]
    assert out["from"] == {"name": "Jo", "email": "jo@acme.com"}
    assert owner_of(out) == ("ann@yourcompany.com", "Ann Other", "rep-7")


def test_with_a_second_outsider_the_prospect_is_not_the_owner_and_stays_a_contact() -> None:
    """F4."""
    second = Person("mo@acme.com", crm_id="contact-2")
    draft = replace(CALLED_OUTBOUND, contacts=(JO, second), others=(TO_ANN, second))
    out = sent(draft)
    assert out["ownerEmail"] == "ann@yourcompany.com"
    assert [contact["email"] for contact in out["contacts"]] == ["jo@acme.com", "mo@acme.com"]


def test_a_stranger_who_writes_to_us_alone_is_the_other_side() -> None:
    """A newsletter, or a reply from an address that the CRM does not know."""
    draft = replace(CALLED_OUTBOUND, sender=Person("news@letter.com"), contacts=(), companies=())
    out = sent(replace(draft, others=(TO_ANN,)))
    assert (out["domain"], out["ownerEmail"]) == ("letter.com", "ann@yourcompany.com")
    assert emails(replace(draft, others=(TO_ANN,)), RULES, OWNERS) == ["news@letter.com"]
    assert sent(replace(draft, others=(), contacts=(COLLEAGUE,), owner=JANE))["domain"] == "letter.com"


@pytest.mark.parametrize(
    "others", [(TO_ANN, JO), (Person("not an address"), TO_ANN)], ids=["an outsider too", "somebody unknown too"]
)
def test_otherwise_the_crms_word_stands_and_the_sender_is_no_contact(others: tuple[Person, ...]) -> None:
    draft = replace(CALLED_OUTBOUND, sender=Person("rep@alias.com", name="Rep"), others=others)
    out = sent(replace(draft, owner=JANE))
    assert out["from"] == {"name": "Rep", "email": "rep@alias.com"}
    assert [contact["email"] for contact in out["contacts"]] == ["jo@acme.com"]


@pytest.mark.parametrize(
    ("sender", "others", "owner"),
    [
        ("rep@alias.com", (JO,), "rep@alias.com"),
        ("rep@alias.com", (), "rep@alias.com"),
        ("rep@alias.com", (JO, TO_ANN), None),
        ("rep@gmail.com", (JO,), None),
        ("ann@yourcompany.com", (JO, Person("jane@yourcompany.com")), "ann@yourcompany.com"),
    ],
)
def test_a_sender_whom_only_the_crm_calls_ours_is_the_owner_unless_something_speaks_against_it(
    sender: str, others: tuple[Person, ...], owner: str | None
) -> None:
    draft = replace(CALLED_OUTBOUND, sender=Person(sender), others=others)
    default = replace(RULES, default_owner_email="sales@yourcompany.com")
    assert sent(draft, default)["ownerEmail"] == owner or owner is None
    assert (owner is None) == (why(draft) == "no_owner_email")
    if owner is None:
        assert sent(draft, default)["ownerEmail"] == "sales@yourcompany.com"


def test_a_free_mail_company_may_send_for_us() -> None:
    draft = replace(CALLED_OUTBOUND, sender=Person("rep@rogers.com"), others=(JO,))
    assert why(draft) == "no_owner_email"
    assert sent(draft, replace(RULES, company_domains=frozenset({"rogers.com"})))["ownerEmail"] == "rep@rogers.com"


@pytest.mark.parametrize("direction", ["inbound", None, "internal"])
def test_a_sender_of_ours_sent_it_whatever_the_crm_says(direction: Any) -> None:
    draft = replace(CALLED_OUTBOUND, direction=direction, sender=Person("max@yourcompany.com"), others=(TO_ANN, JO))
    assert owner_of(sent(draft)) == ("max@yourcompany.com", "Max Gone", "rep-9")


def test_the_records_owner_is_ours_as_a_sender() -> None:
    draft = replace(CALLED_OUTBOUND, owner=Owner("rep-8", "rep@alias.com"), sender=Person("rep@alias.com"))
    assert sent(draft)["ownerEmail"] == "rep@alias.com"
    further = replace(draft, owner=None, owners=(Owner("rep-8", "rep@alias.com"),))
    assert emails(replace(further, contacts=people("rep@alias.com", "jo@acme.com"))) == ["jo@acme.com"]


# --- internal ---


@pytest.mark.parametrize(
    "draft",
    [
        replace(CALLED_OUTBOUND, sender=Person("rep@alias.com"), contacts=(COLLEAGUE,), others=(JO, TO_ANN)),
        replace(CALLED_OUTBOUND, sender=Person("rep@alias.com"), contacts=(COLLEAGUE,), others=()),
        replace(CALLED_OUTBOUND, direction="inbound", sender=None, contacts=(COLLEAGUE,), others=()),
        replace(CALLED_OUTBOUND, direction="internal", sender=Person("rep@alias.com"), contacts=(), others=()),
        replace(CALLED_OUTBOUND, direction="internal", contacts=(JO,)),
        replace(CALLED_OUTBOUND, kind="call", direction="internal", contacts=(JO,)),
        replace(CALLED_OUTBOUND, kind="call", direction="internal", contacts=(COLLEAGUE, Person(None))),
    ],
    ids=str,
)
def test_no_inference_and_no_activity_with_an_outsider_is_internal(draft: Draft) -> None:
    assert why(draft) != "internal"


@pytest.mark.parametrize(
    "draft",
    [
        replace(CALLED_OUTBOUND, direction="internal", sender=None, contacts=(), others=()),
        replace(CALLED_OUTBOUND, kind="call", direction="internal", contacts=(COLLEAGUE,), others=()),
        replace(CALLED_OUTBOUND, sender=Person("max@yourcompany.com"), contacts=(COLLEAGUE,), others=(TO_ANN,)),
    ],
    ids=str,
)
def test_what_is_between_us_is_internal(draft: Draft) -> None:
    assert why(draft) == "internal"


def test_a_call_marked_internal_with_an_outsider_goes_out_without_a_direction() -> None:
    draft = replace(CALLED_OUTBOUND, kind="call", direction="internal", contacts=(JO,), owner=JANE)
    assert "direction" not in sent(draft)
    assert "from" not in sent(draft)


# --- mailboxes of CRMs ---

FORMS = [
    "123@bcc.hubspot.com",
    "123@forward.hubspot.com",
    "123@bcc.eu1.hubspot.com",
    "emailtosalesforce@x-4abc.in.salesforce.com",
    "emailtosalesforce@n-2or5.uhymxma4.u.le.salesforce.com",
    "emailtosalesforce@dafh.41-moh.na35.le.salesforce.com",
    "support@3-xyz.na1.case.salesforce.com",
    "acme@pipedrivemail.com",
    "sales@acme-1.hs-inbox.com",
]


@pytest.mark.parametrize("address", FORMS)
def test_a_mailbox_for_copies_is_ours_and_nobody(address: str) -> None:
    """F9: an email forwarded to the CRM was delivered to the account hubspot.com."""
    forwarded = replace(CALLED_OUTBOUND, sender=Person("ann@yourcompany.com"), contacts=(), companies=())
    assert why(replace(forwarded, others=people(address))) == "no_contact"
    assert emails(replace(forwarded, others=people(address, "jo@acme.com")), RULES, OWNERS) == ["jo@acme.com"]
    assert why(replace(forwarded, sender=Person(address), others=people(address, "jo@acme.com"))) == "no_owner_email"
    alone = replace(CALLED_OUTBOUND, sender=Person("rep@alias.com"), contacts=(), others=people(address, "jo@acme.com"))
    assert sent(alone)["ownerEmail"] == "rep@alias.com"
    unnamed = replace(forwarded, sender=Person("rep@alias.com"), others=people(address))
    assert why(unnamed) == "no_contact", "a copy to the CRM does not make it inbound"


@pytest.mark.parametrize("address", ["jo@hubspot.com", "jo@salesforce.com", "jo@bcc.hubspot.com.acme.com"])
def test_the_people_of_a_crms_vendor_are_people(address: str) -> None:
    assert not is_mailbox(address)
    assert emails(replace(CALLED_OUTBOUND, contacts=people(address), owner=JANE)) == [address]


# --- the owner ---

INBOUND = replace(CALLED_OUTBOUND, direction="inbound")


def test_the_one_owner_among_the_receivers_owns_an_inbound_email() -> None:
    """F10."""
    assert owner_of(sent(INBOUND)) == ("ann@yourcompany.com", "Ann Other", "rep-7")
    both = replace(INBOUND, others=people("ann@yourcompany.com", "jane@yourcompany.com"))
    assert why(both) == "no_owner_email"
    one_left = replace(INBOUND, others=people("ann@yourcompany.com", "max@yourcompany.com", "sales@yourcompany.com"))
    assert sent(one_left)["ownerEmail"] == "ann@yourcompany.com"
    assert sent(replace(INBOUND, others=people("max@yourcompany.com")))["ownerEmail"] == "max@yourcompany.com"
    assert sent(replace(INBOUND, others=(), contacts=(JO, TO_ANN)))["ownerEmail"] == "ann@yourcompany.com"
    assert sent(replace(INBOUND, owner=JANE))["ownerEmail"] == "jane@yourcompany.com"
    assert why(replace(INBOUND, kind="call")) == "no_owner_email"
    assert why(replace(INBOUND, others=people("sales@yourcompany.com"))) == "no_owner_email"


@pytest.mark.parametrize("barred", ["rep-123", "Jane@yourcompany.com", " rep-123 "])
def test_a_user_of_not_owners_gives_way_to_the_next_candidate(barred: str) -> None:
    rules = replace(RULES, not_owners=frozenset({barred}))
    draft = replace(EMAIL, owner=JANE, owners=(Owner("q", None), ANN), sender=Person("jane@yourcompany.com"))
    assert sent(draft, rules)["ownerEmail"] == "ann@yourcompany.com"
    assert why(replace(draft, owners=()), rules) == "no_owner_email", "nor as the sender"
    assert sent(replace(draft, owners=(), sender=Person("max@yourcompany.com")), rules)["ownerId"] == "rep-9"
    two = people("ann@yourcompany.com", "jane@yourcompany.com")
    assert sent(replace(INBOUND, owner=JANE, others=two), rules)["ownerEmail"] == "ann@yourcompany.com"
    assert emails(
        replace(EMAIL, contacts=(JO, Person("jane@yourcompany.com"))), replace(rules, default_owner_email="s@x.com")
    ) == ["jo@acme.com"], "still one of us"


@pytest.mark.parametrize(
    ("listed", "crm_id", "barred"),
    [
        ("005xx0000012345AAA", "005xx0000012345AAA", True),
        ("005xx0000012345", "005xx0000012345AAA", True),
        ("005xx0000012345", "005XX0000012345AAA", False),
        ("005xx0000012345AAA", "005xx0000012345", False),
        ("123", "1234", False),
        ("005xx0000012345", "005xx0000012345AAAA", False),
    ],
)
def test_a_listed_user_is_known_by_the_long_and_the_short_form_of_an_id(listed: str, crm_id: str, barred: bool) -> None:
    draft = replace(EMAIL, sender=None, owner=Owner(crm_id, "sync@yourcompany.com"), owners=(ANN,))
    rules = replace(RULES, not_owners=frozenset({listed}))
    assert sent(draft, rules)["ownerEmail"] == ("ann@yourcompany.com" if barred else "sync@yourcompany.com")


def test_the_ledger_keeps_the_id_of_the_owner_that_was_chosen() -> None:
    assert reading_of(INBOUND).owner_id == "rep-7"
    barred = replace(RULES, not_owners=frozenset({"rep-123"}))
    assert reading_of(replace(EMAIL, owner=JANE, owners=(ANN,)), barred).owner_id == "rep-7"
    incomplete = replace(EMAIL, owner=JANE, contacts=())
    assert (reading_of(incomplete).reason, reading_of(incomplete).owner_id) == ("no_contact", "rep-123")
    default = replace(RULES, default_owner_email="sales@yourcompany.com")
    queue = replace(CALLED_OUTBOUND, kind="call", owner=Owner("queue", None))
    assert reading_of(queue, default).owner_id == "queue"
    assert reading_of(replace(queue, owner=None), default).owner_id is None


def test_the_first_of_the_records_owners_with_an_address_is_the_owner() -> None:
    draft = replace(EMAIL, sender=None, owner=Owner("queue", None), owners=(Owner("x", "n/a"), ANN, JANE))
    assert owner_of(sent(draft)) == ("ann@yourcompany.com", "Ann Other", "rep-7")


def test_a_field_that_names_a_contact_as_the_owner_makes_them_none_of_us() -> None:
    draft = replace(EMAIL, sender=None, owner=Owner(None, "jo@acme.com"), owners=(ANN,), contacts=(JO,))
    assert emails(draft, RULES, OWNERS) == ["jo@acme.com"]
    assert sent(draft)["ownerEmail"] == "ann@yourcompany.com"
    assert sent(replace(draft, owner=Owner(None, "max@yourcompany.com")))["ownerId"] == "rep-9"


def test_a_field_that_names_the_sender_of_a_reply_makes_them_none_of_us() -> None:
    """`fields.owner = ["hs_email_from_email"]`: the prospect was one of us, and the reply `internal` for good."""
    named = replace(CALLED_OUTBOUND, contacts=(), companies=(), owner=Owner(None, "jo@acme.com"))
    for direction in ("inbound", "outbound"):
        assert sent(replace(named, direction=direction))["ownerEmail"] == ANN.email
        assert list(people_of(replace(named, direction=direction), OurSide.of(RULES, OWNERS)).contacts) == [
            "jo@acme.com"
        ]


def test_the_senders_domain_is_the_account_of_an_inbound_email_to_an_unlisted_domain_of_ours() -> None:
    """The CRM knows no contact of it: the domain to which the rep's mail came was the account."""
    draft = replace(INBOUND, contacts=(), companies=(), owner=JANE, others=people("rep@our-alias.com", "jo@acme.com"))
    assert sent(draft)["domain"] == "acme.com"


# --- whatever the CRM says ---


@settings(max_examples=100, deadline=None)
@given(DRAFTS, RULE_SETS, LISTS_OF_OWNERS, st.sampled_from(["outbound", "inbound", None, "internal"]))
def test_no_address_of_the_other_side_becomes_the_owner_and_internal_has_no_outsider(
    draft: Draft, rules: Rules, owners: list[Owner], direction: Any
) -> None:
    our_side = OurSide.of(rules, owners)
    draft = replace(draft, direction=direction)
    people = people_of(draft, our_side)
    owned = chosen_owner(draft, people, rules, our_side)
    users = {email(owner.email) for owner in (draft.owner, *draft.owners) if owner}
    if owned is not None:
        address = owned[0].email or ""
        assert address not in people.contacts
        assert address == email(rules.default_owner_email) or rules.may_own(address, owned[0].crm_id)
        surely = address in users or our_side.has(address) or address == email(rules.default_owner_email)
        assert surely or (direction == "outbound" and address == people.sender and not is_free_mail(domain_of(address)))
    outside = [p for p in draft.contacts if not (a := email(p.email)) or not (a in users or our_side.has(a))]
    if people.internal:
        assert outside == []
