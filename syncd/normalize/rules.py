"""Decide whether a draft is excluded, incomplete, or fit to be sent to Recotap.

    Draft ─► people: who is us, who is the other side
          ─► account: whose domain
          ─► owner: which of us
          ─► the first reason that holds, or a payload

Pure: no IO, and the clock is an argument. It never raises for what a CRM may hold.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd.activity import Company, Direction, Draft, Owner, Person
from syncd.addresses import domain_of, email, host, is_free_mail, registrable, within
from syncd.lifecycle.reasons import Reason
from syncd.recotap.payload import build, validate
from syncd.text import clean


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's validated `[rules]`. Domains are cleaned as a CRM's are."""

    own_domains: frozenset[str] = frozenset()  # ours, with every host below them
    domain_aliases: Mapping[str, str] = field(default_factory=dict)  # the registrable domain: Recotap's name for it
    exclude_domains: frozenset[str] = frozenset()  # activities with people there, or below, are excluded
    not_before: datetime | None = None  # aware; earlier activities are too_old
    default_owner_email: str = ""  # the owner if no other is known

    def __post_init__(self) -> None:
        object.__setattr__(self, "own_domains", frozenset(map(_as_host, self.own_domains)))
        object.__setattr__(self, "exclude_domains", frozenset(map(_as_host, self.exclude_domains)))
        aliases = {_as_host(domain): _as_host(alias) for domain, alias in self.domain_aliases.items()}
        object.__setattr__(self, "domain_aliases", aliases)


def shared_domains(owners: Iterable[Owner]) -> frozenset[str]:
    """Return the domains that two or more active owners share, without free-mail providers."""
    addresses = {address for owner in owners if owner.active and (address := email(owner.email))}
    hosts = (domain_of(address) for address in addresses)
    sharers = Counter(registrable(name) or name for name in hosts if not is_free_mail(name))
    return frozenset(domain for domain, count in sharers.items() if count >= 2)


class OurSide:
    """Our side: owners and domains. Built once for each list of owners."""

    __slots__ = ("_domains", "_owners")

    def __init__(self, owners: Mapping[str, Owner], domains: frozenset[str]) -> None:
        self._owners = owners  # by clean address
        self._domains = domains  # hosts; every host below them is ours too

    @classmethod
    def of(cls, rules: Rules, owners: Iterable[Owner]) -> "OurSide":
        """Gather the owners, the operator's domains, and those that two or more active owners share."""
        by_address: dict[str, Owner] = {}
        for owner in owners:
            address = email(owner.email)
            if address and (address not in by_address or (owner.active and not by_address[address].active)):
                by_address[address] = owner
        return cls(by_address, rules.own_domains | shared_domains(by_address.values()))

    def has(self, address: str) -> bool:
        """Tell whether an address that `email` returned is an owner's or at one of our domains."""
        return address in self._owners or within(domain_of(address), self._domains)

    def has_domain(self, name: str) -> bool:
        """Tell whether the host `name` is at one of our domains."""
        return within(name, self._domains)

    def owner(self, address: str) -> Owner | None:
        """Return the owner of an address that `email` returned, or None. An active owner goes before one who left."""
        return self._owners.get(address)


# Made for each record, as the two below: a named tuple costs a third of a frozen dataclass.
class Assessment(NamedTuple):
    """The rules' decision about a draft."""

    reason: Reason | None  # None: complete, may go out
    payload: dict[str, Any] | None = None  # the JSON object for Recotap; None if there is a reason
    domain: str | None = None  # the account's, also if there is a reason; never a free-mail domain

    def __repr__(self) -> str:
        """Leave the payload out, because a log may show this."""
        return f"Assessment(reason={self.reason!r})"


class _People(NamedTuple):
    direction: Direction | None  # of an email: told from its sender if the CRM does not know
    sender: str | None  # of an email, clean
    owner: str | None  # the address of the draft's owner, clean
    contacts: Mapping[str, Person]  # the other side by clean address, in order
    outsiders: Sequence[Person]  # the other side, also those without an address
    internal: bool


class _Account(NamedTuple):
    host: str  # as found, before it is cut to the registrable domain
    domain: str  # registrable, after domain_aliases
    name: str | None


def assess(
    draft: Draft,
    *,
    external_activity_id: str,
    rules: Rules,
    our_side: OurSide,
    settle: timedelta,
    now: datetime,
) -> Assessment:
    """Return the first reason not to send `draft`, or the payload to send. `now` is aware."""
    people = _people(draft, our_side)
    account = _account(draft, people, rules, our_side)
    owner = _owner(draft, people, rules, our_side)
    reason = next(_reasons(draft, people, account, owner, rules, settle, now), None)
    if reason is not None or account is None or owner is None:
        return Assessment(reason, None, account and account.domain)
    payload = build(
        draft,
        external_activity_id=external_activity_id,
        domain=account.domain,
        account_name=account.name,
        owner=owner,
        sender=_from(draft, people, owner, our_side),
        contacts=people.contacts,
    )
    return Assessment(None, payload, account.domain)


def _reasons(
    draft: Draft, people: _People, account: _Account | None, owner: Owner | None, rules: Rules, settle: timedelta,
    now: datetime,
) -> Iterator[Reason]:  # fmt: skip
    """Yield the reasons that hold, in the order of `Reason`."""
    if draft.status == "not_sent":
        yield Reason.NOT_SENT
    if draft.filtered is not None:
        yield Reason.FILTERED
    if not draft.redacted:  # otherwise not all its people are known, so nothing is concluded from them
        if people.internal:
            yield Reason.INTERNAL
        if _is_excluded(people, account, rules.exclude_domains):
            yield Reason.EXCLUDED_DOMAIN
    if rules.not_before is not None and draft.occurred_at < rules.not_before:
        yield Reason.TOO_OLD
    if draft.redacted:
        yield Reason.REDACTED
    if draft.status == "unfinished":
        yield Reason.UNFINISHED
    if draft.occurred_at > now:
        yield Reason.IN_FUTURE
    if not people.outsiders:
        yield Reason.NO_CONTACT
    if not people.contacts:
        yield Reason.NO_CONTACT_EMAIL
    if account is None:
        yield Reason.NO_DOMAIN
    if owner is None:
        yield Reason.NO_OWNER_EMAIL
    if max(draft.occurred_at, draft.created_at) > now - settle:
        yield Reason.SETTLING


def _people(draft: Draft, our_side: OurSide) -> _People:
    # The activity's owner is one of us, even if the connector's list lacks them.
    owner = email(draft.owner.email) if draft.owner else None
    ours = {owner}

    sender = email(draft.sender.email) if draft.kind == "email" and draft.sender else None
    direction = draft.direction
    if sender and direction is None:
        direction = "outbound" if sender in ours or our_side.has(sender) else "inbound"
    if direction == "outbound":
        ours.add(sender)  # the author of an outbound email is one of us, at any address
    stand_ins = draft.others
    if direction == "inbound" and sender and draft.sender:
        stand_ins = (*stand_ins, draft.sender)

    contacts: dict[str, Person] = {}
    outsiders: list[Person] = []
    us: set[str] = set()
    for group in (draft.contacts, stand_ins):
        for person in group:
            address = email(person.email)
            if address and (address in ours or our_side.has(address)):
                us.add(address)
                continue
            outsiders.append(person)
            if address:
                contacts.setdefault(address, person)
        if contacts:
            break
    # Our sender alone is not `internal` but no_contact: the CRM may still learn the receivers.
    internal = draft.direction == "internal" or (not outsiders and bool(us - {sender}))
    return _People(direction, sender, owner, contacts, outsiders, internal)


def _account(draft: Draft, people: _People, rules: Rules, our_side: OurSide) -> _Account | None:
    theirs = [person.company for person in people.outsiders if person.company]
    names = []
    for company in (*_in_order(draft.companies, theirs), *theirs):
        found = _company_host(company)
        account = _at(found, clean(company.name), rules, our_side) if found else None
        if account:
            return account
        if not found:  # a company whose domain is no account is our own
            names.append(clean(company.name))
    name = next(filter(None, names), None)
    for address in people.contacts:
        found = domain_of(address)
        account = None if is_free_mail(found) else _at(found, name, rules, our_side)
        if account:
            return account
    return None


def _in_order(companies: Sequence[Company], theirs: Sequence[Company]) -> Sequence[Company]:
    if len(companies) < 2:
        return companies
    own = {company.crm_id for company in theirs}
    return sorted(companies, key=lambda company: (company.crm_id not in own, *_numeric(company.crm_id)))


def _numeric(crm_id: str) -> tuple[bool, int, str]:
    """Order ids of digits as numbers, before all others. int() would raise for an absurdly long one."""
    return (False, len(crm_id), crm_id) if crm_id.isdecimal() else (True, 0, crm_id)


def _company_host(company: Company) -> str | None:
    """Return the first candidate at a registrable domain. Free-mail domains say nothing about a company."""
    for candidate in company.domains:
        name = host(candidate)
        if name and registrable(name) and not is_free_mail(name):
            return name
    return None


def _at(name: str, account_name: str | None, rules: Rules, our_side: OurSide) -> _Account | None:
    domain = registrable(name)
    domain = domain and rules.domain_aliases.get(domain, domain)
    if not domain or our_side.has_domain(name) or (domain != name and our_side.has_domain(domain)):
        return None  # our own company is never an account
    return _Account(name, domain, account_name)


def _owner(draft: Draft, people: _People, rules: Rules, our_side: OurSide) -> Owner | None:
    """Return the activity's owner, clean, or None if there is none."""
    if draft.owner and people.owner:
        return _clean_owner(people.owner, draft.owner, our_side.owner(people.owner))
    if people.sender and draft.sender and people.direction == "outbound":
        known = our_side.owner(people.sender)
        return _clean_owner(people.sender, known, Owner(None, None, draft.sender.name))
    if address := email(rules.default_owner_email):
        return _clean_owner(address, our_side.owner(address))
    return None


def _clean_owner(address: str, *sources: Owner | None) -> Owner:
    """Take name and id each from the first source that has it."""
    name, crm_id = None, None
    for owner in sources:
        if owner:
            name, crm_id = name or clean(owner.name), crm_id or clean(owner.crm_id)
    return Owner(crm_id, address, name)


def _from(draft: Draft, people: _People, owner: Owner, our_side: OurSide) -> dict[str, str]:
    name, address = None, None
    if people.sender and draft.sender:
        known = our_side.owner(people.sender)
        name, address = clean(draft.sender.name) or (known and clean(known.name)), people.sender
    elif people.direction == "outbound":
        name, address = owner.name, owner.email
    elif people.direction == "inbound" and draft.kind == "call":
        address, person = next(iter(people.contacts.items()))
        name = clean(person.name)
    elif people.direction == "inbound" and draft.sender:
        name = clean(draft.sender.name)
    return {key: value for key, value in (("name", name), ("email", address)) if value}


def _is_excluded(people: _People, account: _Account | None, domains: frozenset[str]) -> bool:
    if not domains:
        return False
    if account and (within(account.host, domains) or within(account.domain, domains)):
        return True
    return bool(people.contacts) and all(within(domain_of(address), domains) for address in people.contacts)


def _as_host(domain: str) -> str:
    return host(domain) or domain.strip().lower()


__all__ = [
    "Assessment",
    "OurSide",
    "Rules",
    "assess",
    "shared_domains",
    "validate",
]
