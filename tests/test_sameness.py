"""The same call or email under another id: its keys, and the decision. Pure."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.activity import Draft
from syncd.lifecycle.sameness import Marked, is_same
from syncd.normalize.sameness import MOST_CONTACTS, KeyMaker, bare_subject

AT = datetime(2026, 4, 22, 10, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MAKER = KeyMaker(b"a secret of a test")
EMAIL: dict[str, Any] = {
    "activityType": "email", "subject": "Re: Your quote",
    "ownerEmail": "ada@lanternfield-sales.com", "domain": "amber-bolts.com",
    "contacts": [{"email": "kaya@amber-bolts.com"}, {"email": "lena@amber-bolts.com"}],
}  # fmt: skip
CALL: dict[str, Any] = {"activityType": "call", "ownerEmail": "ada@lanternfield-sales.com", "domain": "amber-bolts.com"}


def email(at: datetime = AT, message_id: Any = None, **more: Any) -> tuple[Draft, dict[str, Any]]:
    sender = more.pop("sender", EMAIL["ownerEmail"])
    return Draft("email", at, at, message_id=message_id), EMAIL | more | {"from": {"email": sender} if sender else {}}


def call(
    at: datetime = AT, minutes: float | None = 10.0, call_id: str | None = None, **more: Any
) -> tuple[Draft, dict[str, Any]]:
    payload = CALL | more | ({"durationMinutes": minutes} if minutes else {})
    return Draft("call", at, at, duration_minutes=minutes, call_id=call_id), payload


def same(one: tuple[Draft, dict[str, Any]], other: tuple[Draft, dict[str, Any]], *, stream: int = 2) -> bool:
    """Tell whether the ledger would take `other`, of that stream, for a copy of `one`, of stream 1."""
    keys, others = MAKER.keys(*one), MAKER.keys(*other)
    shared = {key[:2] for key in keys} & {key[:2] for key in others}
    both = [
        Marked(
            draft.kind,
            stream_id,
            draft.occurred_at,
            payload["domain"],
            any(own for _, _, own in found),
            timedelta(minutes=draft.duration_minutes) if draft.duration_minutes else None,
        )
        for (draft, payload), found, stream_id in ((one, keys, 1), (other, others, stream))
    ]
    answers = {is_same(slot, *both) for slot, _ in shared}
    assert answers == {is_same(slot, *reversed(both)) for slot, _ in shared}, "either may come first"
    return any(answers)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # one mail in two mailboxes, and in two systems that write the id with and without brackets
        (email(message_id="<a1@mail.example>"), email(message_id="a1@mail.example", subject="x"), True),
        (email(message_id="<a1@mail.example>"), email(AT + 20 * HOUR, "<a1@mail.example>"), True),
        (email(message_id="<a1@mail.example>"), email(AT + 40 * DAY, "<a1@mail.example>"), False),
        (email(message_id="<a1@mail.example>"), email(message_id="<a2@mail.example>"), False),
        (email(message_id="not an id"), email(message_id="not an id", subject="Another"), False),
        # by likeness, if one of the two has no Message-ID
        (email(), email(AT + 4 * MINUTE), True),
        (email(), email(AT + 6 * MINUTE), False),
        (email(AT + 29 * MINUTE), email(AT + 31 * MINUTE), True),
        (email(), email(message_id="<a1@mail.example>"), True),
        (email(), email(subject="Your quote"), True),
        (email(), email(subject="Fwd: AW: RE[2]: YOUR  quote"), True),
        (email(), email(subject="Your offer"), False),
        (email(), email(sender="bram@lanternfield-sales.com"), False),
        (email(), email(contacts=[{"email": "lena@amber-bolts.com"}]), True),
        (email(), email(contacts=[{"email": "otto@amber-bolts.com"}]), False),
        (email(sender=None), email(sender=None), False),
        (email(subject="Re:"), email(subject="Re:"), False),
        (email(), call(), False),
        # one task for each contact of one call, and two tools
        (call(), call(AT + 2 * MINUTE), True),
        (call(), call(AT + 3 * MINUTE), False),
        (call(AT + 29 * MINUTE), call(AT + 30 * MINUTE), True),
        (call(), call(minutes=10.02), False),
        (call(minutes=0), call(minutes=0), False),
        (call(minutes=None), call(minutes=None), False),
        (call(), call(domain="other-bolts.com"), False),
        (call(), call(ownerEmail="bram@lanternfield-sales.com"), False),
        (call(call_id="CA-1234567"), call(AT + HOUR, 3.0, "CA-1234567", ownerEmail="bram@lanternfield.com"), True),
        (call(call_id="CA-1234567"), call(AT + 13 * HOUR, 10.0, "CA-1234567"), False),
        (call(call_id="CA-1234567"), call(AT, 3.0, "CA-1234567", domain="other-bolts.com"), False),
        (call(call_id="CA-1234567"), call(call_id="CA-7654321"), True),
        # the name of a call centre, which every call has
        (call(call_id="Northern Call Center 2026"), call(AT + HOUR, call_id="Northern Call Center 2026"), False),
        (call(call_id="DemoAdapter"), call(AT + HOUR, call_id="DemoAdapter"), False),
        (call(datetime(1970, 1, 1, tzinfo=UTC)), call(datetime(1970, 1, 1, tzinfo=UTC)), False),
    ],
)  # fmt: skip
def test_copies_are_recognized_and_others_are_not(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected
    assert same(other, one) is expected


def test_two_ids_of_one_stream_make_two_calls() -> None:
    assert not same(call(call_id="CA-1234567"), call(call_id="CA-7654321"), stream=1)


def test_in_one_stream_a_call_that_begins_after_another_ends_is_another_call() -> None:
    """A dialer gives up after the same number of rings each time."""
    assert not same(call(minutes=0.5), call(AT + 30 * SECOND, 0.5), stream=1)
    assert same(call(minutes=0.5), call(AT + 29 * SECOND, 0.5), stream=1)
    assert same(call(minutes=0.5), call(AT + 30 * SECOND, 0.5), stream=2)


def test_keys_depend_on_the_secret_and_hold_no_text() -> None:
    ((_, one, _),), ((_, other, _),) = MAKER.keys(*call()), KeyMaker(b"another").keys(*call())
    assert one != other
    assert -(2**63) <= one < 2**63


@pytest.mark.parametrize("odd", [{"call_id": 7}, {"call_id": ""}, {"minutes": 1e308}, {"minutes": -1}])
def test_odd_values_make_no_key(odd: Any) -> None:
    """Nothing that a record holds may raise, because it would stop the others of its page."""
    assert MAKER.keys(*call(minutes=odd.get("minutes", 0), call_id=odd.get("call_id"))) == ()
    assert MAKER.keys(*email(message_id=7, subject="")) == ()


def test_an_email_to_many_has_few_keys_and_its_copy_has_the_same() -> None:
    many = [{"email": f"p{number}@amber-bolts.com"} for number in range(300)]
    keys = MAKER.keys(*email(contacts=many))
    assert len(keys) == MOST_CONTACTS
    assert set(keys) == set(MAKER.keys(*email(contacts=many[::-1])))


@given(st.integers(-10 * 60, 10 * 60), st.integers(0, 7 * 86_400))
def test_a_copy_within_the_tolerance_has_a_key_in_common_wherever_a_slot_ends(apart_s: int, offset_s: int) -> None:
    at = AT + offset_s * SECOND
    assert same(email(at), email(at + apart_s * SECOND)) is (abs(apart_s) <= 300)
    assert same(call(at), call(at + apart_s * SECOND)) is (abs(apart_s) <= 120)
    by_id = email(at, "<a@b>", subject=""), email(at + apart_s * 100 * SECOND, "<a@b>", subject="")
    assert same(*by_id)


@pytest.mark.parametrize(
    ("subject", "bare"),
    [
        ("Re: AW: Fwd: Angebot", "angebot"),
        ("RE[3]: Re (2) : Angebot", "angebot"),
        ("[EXTERNAL] Re: Angebot", "angebot"),
        ("Email: >> Angebot", "angebot"),
        ("[Outreach] [Email] [Out] Angebot", "angebot"),
        ("R: I: Offerta", "offerta"),
        ("SV: VS: Tilbud", "tilbud"),
        ("回复：报价", "报价"),
        ("Recap of today: numbers", "recap of today: numbers"),
        ("Research: results", "research: results"),
        ("[Ticket 5] Update", "[ticket 5] update"),
        ("Re:", ""),
        ("", ""),
    ],
)
def test_a_subject_counts_without_its_prefixes(subject: str, bare: str) -> None:
    assert bare_subject(subject) == bare


def test_a_hostile_subject_costs_no_more_than_its_length() -> None:
    began = time.process_time()
    for subject in ("re " * 100_000, "re: " * 100_000, "[" * 400_000, "re" + " " * 400_000):
        bare_subject(subject)
    assert time.process_time() - began < 0.5


def test_kinds_never_match() -> None:
    one = Marked("call", 1, AT, None, False)
    assert not is_same(5, one, replace(one, kind="email"))
