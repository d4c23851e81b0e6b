"""A CRM's scope is judged: cleaned, bounded, with warnings. Its rows that no stream reads are told."""

import json
from typing import Any

import pytest

from syncd.activity import Owner
from syncd.connector import Holder, RowKind, Scope
from syncd.normalize import scope
from syncd.normalize.rules import Rules
from syncd.normalize.scope import HIDDEN, LONGEST, MOST_KINDS, OTHER, describe, judged, kinds_of, looks_like, unread

RULES = Rules(own_domains=frozenset({"lanternfield-sales.com"}))
CALL = RowKind("Task", {"TaskSubtype": "Call", "Type": None, "IsClosed": True}, 8304, "call")
BY_TYPE = RowKind("Task", {"TaskSubtype": "Task", "Type": "Call", "IsClosed": True}, 472, None)
TO_DO = RowKind("Task", {"TaskSubtype": "Task", "Type": None, "IsClosed": False}, 9000, None)
MAIL = RowKind("EmailMessage", {"Parent": None, "Incoming": True}, 300, "email")


def warnings(*kinds: RowKind, owners: tuple[Owner, ...] = (), rules: Rules = RULES, **more: Any) -> list[str]:
    return [*judged(Scope(kinds, **more), rules, owners).warnings]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (BY_TYPE, "call"),
        (TO_DO, None),
        (RowKind("Task", {"TaskSubtype": "Email"}, 1, None), "email"),
        (RowKind("EmailMessage", {"Parent": "Case"}, 1, None), "email"),
        (RowKind("VoiceCall", {"Task": False}, 1, None), "call"),
        (RowKind("aircall__Log__c", {}, 1, None), "call"),
        (RowKind("emails", {"status": "a call to action"}, 1, None), "email"),
        (RowKind("Task", {"TaskSubtype": "LinkedIn"}, 1, None), None),
        (RowKind("Task", {"TaskSubtype": "Task", "CallType": "*"}, 1, None), "call"),
        (RowKind("Task", {"TaskSubtype": "Task", "CallType": None}, 1, None), None),
        (RowKind("EmailMessage", {"Status": "Draft"}, 1, None), None),
        (RowKind("Task", {"TaskSubtype": "ListEmail"}, 1, None), None),
        (RowKind("communications", {"hs_communication_channel_type": "LINKEDIN_MESSAGE"}, 1, None), None),
        (RowKind("meetings", {"hs_object_source": "EMAIL_INTEGRATION"}, 1, None), None),
        (RowKind("line", {"kind": "sms"}, 1, None), None),
        (RowKind("emails", {"hs_email_status": "DRAFT"}, 1, None), None),
        (RowKind("Task", {"Note": "dialogue", "Box": "voicemail"}, 1, None), None),
    ],
)
def test_rows_look_like_a_call_or_an_email_by_their_object_then_by_their_values(kind: RowKind, wanted: str) -> None:
    assert looks_like(kind) == wanted


def test_a_kind_is_told_in_one_line_without_its_empty_fields() -> None:
    assert describe(CALL) == "Task TaskSubtype=Call IsClosed=true"
    assert describe(BY_TYPE) == "Task TaskSubtype=Task Type=Call IsClosed=true"


def test_what_is_not_read_comes_first_if_it_looks_like_a_call_or_an_email() -> None:
    found = unread([CALL, TO_DO, BY_TYPE])
    assert [(each.count, each.looks_like) for each in found] == [(472, "call"), (9000, None)]


def test_a_stream_without_rows_beside_candidates_is_a_warning_that_names_them() -> None:
    (warning,) = warnings(BY_TYPE, TO_DO, MAIL)
    assert warning.startswith("no call is read, but 472 rows look like one: Task TaskSubtype=Task Type=Call")
    assert warnings(CALL, BY_TYPE, MAIL) == [], "some calls are read"
    assert warnings(TO_DO) == [], "there is no candidate"


def test_a_kind_that_the_source_does_not_read_at_all_is_not_missed() -> None:
    assert [*judged(Scope([BY_TYPE, MAIL]), RULES, (), ["email"]).warnings] == []


def test_a_stream_whose_rows_are_none_is_as_empty_as_one_without_a_line() -> None:
    nothing = RowKind("Task", {"TaskSubtype": "Call"}, 0, "call")
    assert len(warnings(nothing, BY_TYPE)) == 1
    assert warnings(nothing, RowKind("Task", {"Type": "Call"}, 0, None)) == []


@pytest.mark.parametrize(
    ("counts", "of", "warned"),
    [((60, 5, 5), 100, True), ((49, 5, 5), 70, False), ((60, 40), 100, False), ((60, 30, 31), 121, False)],
    ids=["most of many", "few rows", "a team of two", "less than half"],
)
def test_an_owner_of_most_rows_may_be_an_integration_account(counts: tuple[int, ...], of: int, warned: bool) -> None:
    holders = [Holder("owner", f"00500000000000{number}", count, of) for number, count in enumerate(counts)]
    holders.append(Holder("creator", "005000000000009", of, of))
    found = warnings(CALL, holders=holders)
    assert [warning.split(" owns ")[0] for warning in found] == (["user 005000000000000"] if warned else [])


@pytest.mark.parametrize("name", ["sync@lanternfield-sales.com", "005000000000000AAA", "005000000000000"])
def test_an_integration_account_that_the_rules_know_is_no_warning(name: str) -> None:
    holders = [Holder("owner", user, count, 80) for user, count in (("005000000000000AAA", 60), ("1", 10), ("2", 10))]
    owners = (Owner("005000000000000AAA", "Sync@lanternfield-sales.com"),)
    assert len(warnings(CALL, owners=owners, holders=holders)) == 1
    assert warnings(CALL, owners=owners, holders=holders, rules=Rules(not_owners=frozenset({name}))) == []


def test_a_domain_of_many_outbound_emails_that_is_not_ours_is_a_warning() -> None:
    two = (Owner("1", "rep1@shared-by-two.com"), Owner("2", "rep2@shared-by-two.com"))
    owners = (*two, Owner("3", "jo@of-an-owner.com"))
    senders = {
        "alt-lanternfield.com": 120, "eu.lanternfield-sales.com": 90, "shared-by-two.com": 80, "of-an-owner.com": 70,
        "gmail.com": 60, "rare.com": 4, "": 9,
    }  # fmt: skip
    (warning,) = warnings(CALL, MAIL, owners=owners, senders=senders)
    assert "alt-lanternfield.com (120)" in warning
    assert not any(domain in warning for domain in ("eu.", "shared", "of-an-owner", "gmail", "rare", " (9)"))


def test_values_are_cleaned_and_one_with_an_address_is_hidden() -> None:
    odd = RowKind("Ta\x1bsk", {"Type": "Mail to jo@acme.com", "Long": "x" * 500, "Empty": " ", "Ok": True}, 7, None)
    (kind,) = judged(Scope([odd], ["see \x1b[31mred"]), RULES, ()).kinds
    assert (kind.object, dict(kind.fields)) == (
        "Task", {"Type": HIDDEN, "Long": "x" * LONGEST, "Empty": None, "Ok": True},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "hidden"),
    [("call +49 (30) 123-45 67", True), ("2026-04-22", True), ("5550100", True), ("jo@acme", True),
     ("Call 2", False), ("24/7 line", False), ("Q3 2026", False)],
)  # fmt: skip
def test_a_value_that_may_be_personal_is_hidden(value: str, hidden: bool) -> None:
    (kind,) = judged(Scope([RowKind("Task", {"Type": value}, 7, None)]), RULES, ()).kinds
    assert kind.fields["Type"] == (HIDDEN if hidden else value)


def test_kinds_that_are_alike_once_they_are_fit_are_one() -> None:
    kinds = [RowKind("Task", {"Type": f"jo{n}@acme.com"}, n, "call" if n == 3 else None) for n in (1, 2, 3)]
    found = judged(Scope(kinds), RULES, ()).kinds
    assert {(kind.fields["Type"], kind.count, kind.read_as) for kind in found} == {
        (HIDDEN, 3, "call"), (HIDDEN, 3, None),
    }  # fmt: skip
    assert len(found) == 2


def test_many_kinds_are_bounded_and_no_row_is_lost() -> None:
    many = [RowKind("Task", {"Type": f"t{n}"}, n + 1, "call" if n % 2 else None) for n in range(MOST_KINDS + 50)]
    kinds = judged(Scope(many), RULES, ()).kinds
    others = [kind for kind in kinds if kind.object == OTHER]
    assert (len(kinds), len(others)) == (MOST_KINDS + 2, 2)
    assert sum(kind.count for kind in kinds) == sum(kind.count for kind in many)
    for read_as in ("call", None):
        assert sum(k.count for k in kinds if k.read_as == read_as) == sum(k.count for k in many if k.read_as == read_as)


def test_a_judged_scope_survives_the_ledger() -> None:
    done = judged(Scope([CALL, BY_TYPE, MAIL], ["look"], [Holder("owner", "005", 1, 2)]), RULES, ())
    kept = json.loads(json.dumps(scope.to_json(done)))
    assert kinds_of(kept) == list(done.kinds)
    assert kept["warnings"] == ["look"]
    assert kept["holders"] == [{"role": "owner", "user": "005", "count": 1, "of": 2}]


@pytest.mark.parametrize("broken", [None, [], {}, {"kinds": None}, {"kinds": [1, {"object": "Task"}]}])
def test_what_another_version_kept_is_no_bug(broken: Any) -> None:
    assert kinds_of(broken) == []
