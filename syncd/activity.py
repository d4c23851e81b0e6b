"""The objects that a connector makes of a CRM record: a draft with its people and companies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

Kind = Literal["call", "email"]
Direction = Literal["inbound", "outbound", "internal"]
Status = Literal["done", "unfinished", "not_sent"]
Automated = Literal["out_of_office", "calendar", "system_senders", "support"]  # kinds of automated mail

REMEMBERED = 4_096  # people of headers: a pass meets the same ones again
LONGEST = 400  # characters of an address or a name that is remembered, so all together take a few MB


@dataclass(frozen=True, slots=True)
class Company:
    """A company or account with the CRM's values, not yet cleaned."""

    crm_id: str
    name: str | None = None
    domains: tuple[str | None, ...] = ()  # candidates in order: domain, then website, then others


@dataclass(frozen=True, slots=True)
class Person:
    """A contact, lead or bare address with the CRM's values, not yet cleaned."""

    email: str | None
    crm_id: str | None = None  # None: a bare address without a CRM record
    name: str | None = None
    title: str | None = None
    department: str | None = None
    seniority: str | None = None
    phone: str | None = None
    linkedin_url: str | None = None
    company: Company | None = None  # the contact's own company or account


def header_person(address: str, name: str | None) -> Person:
    """Return a person known from a header alone. The same address and name give the same object again."""
    if len(address) > LONGEST or len(name or "") > LONGEST:
        return Person(address, name=name)
    return _remembered(address, name)


@lru_cache(maxsize=REMEMBERED)
def _remembered(address: str, name: str | None) -> Person:
    return Person(address, name=name)


@dataclass(frozen=True, slots=True)
class Owner:
    """A person of our side with the CRM's values, not yet cleaned."""

    crm_id: str | None
    email: str | None
    name: str | None = None
    active: bool = True  # False: has left, and still owns their activities


@dataclass(frozen=True, slots=True)
class Draft:
    """One CRM record in our fields, not yet cleaned. `rules.assess` decides its state."""

    kind: Kind
    occurred_at: datetime  # aware UTC; when it happened
    created_at: datetime  # aware UTC; when it entered the CRM
    status: Status = "done"
    direction: Direction | None = None  # None: unknown
    title: str | None = None  # call title or email subject
    duration_minutes: float | None = None
    outcome: str | None = None
    open_count: int | None = None
    click_count: int | None = None
    owner: Owner | None = None
    sender: Person | None = None  # of an email
    contacts: tuple[Person, ...] = ()  # the CRM's own associations
    others: tuple[Person, ...] = ()  # used if `contacts` yields no one: header addresses, a callee
    companies: tuple[Company, ...] = ()  # of the activity itself
    redacted: bool = False  # the CRM hides content from the key, so this draft is not complete
    owners: tuple[Owner, ...] = ()  # further candidates after `owner`, in order
    filtered: str | None = None  # the entry of `except` that leaves it out
    duplicate_of: str | None = None  # the CRM's id of the record that is the same activity, and is read instead
    # (stream, crm_id) of another record of the same activity. If that one is delivered, this one is left out.
    counterpart: tuple[str, str] | None = None
    automated: Automated | None = None  # as the CRM itself marks it. `rules.automated` decides
    message_id: str | None = None  # of an email: its Message-ID header
    call_id: str | None = None  # of a call: an id that every copy of it has
    # By field above: the CRM's field. Called if somebody asks.
    origins: Callable[[], Mapping[str, str]] | None = field(default=None, compare=False, repr=False)
