"""Know our side: the operator's `[rules]`, and the owners that a CRM names. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from syncd.activity import Automated, Owner
from syncd.addresses import domain_of, email, host, is_free_mail, registrable, within
from syncd.normalize.known import MAILBOXES
from syncd.text import LONG_ID, SHORT_ID


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's validated `[rules]`. Domains are cleaned as a CRM's are."""

    own_domains: frozenset[str] = frozenset()  # ours, with every host below them
    domain_aliases: Mapping[str, str] = field(default_factory=dict)  # the registrable domain: Recotap's name for it
    exclude_domains: frozenset[str] = frozenset()  # activities with people there, or below, are excluded
    not_before: datetime | None = None  # aware; earlier activities are too_old
    default_owner_email: str = ""  # the owner if no other is known
    not_owners: frozenset[str] = frozenset()  # addresses, or the CRM's ids of users, that never are the owner
    automated: frozenset[str] = frozenset(get_args(Automated))  # the kinds that are excluded as `automated`
    company_domains: frozenset[str] = frozenset()  # free-mail domains that belong to a company, with hosts below them
    same_activity: Literal["report", "exclude", "off"] = "report"  # the same call or email under another id

    def __post_init__(self) -> None:
        for name in ("own_domains", "exclude_domains", "company_domains"):
            object.__setattr__(self, name, frozenset(map(_as_host, getattr(self, name))))
        object.__setattr__(self, "not_owners", frozenset(email(each) or each.strip() for each in self.not_owners))
        aliases = {_as_host(domain): _as_host(alias) for domain, alias in self.domain_aliases.items()}
        object.__setattr__(self, "domain_aliases", aliases)

    def is_free_mail(self, name: str) -> bool:
        """Tell whether the host `name` is a free-mail provider's that `company_domains` does not name."""
        return is_free_mail(name) and not within(name, self.company_domains)

    def may_own(self, address: str, crm_id: str | None) -> bool:
        """Tell whether `not_owners` names neither this clean address nor this user's id.

        An id of 18 characters may stand there without its last three, which only repeat the case of the others.
        """
        if not self.not_owners:
            return True
        ids = (crm_id, crm_id[:SHORT_ID]) if crm_id and len(crm_id) == LONG_ID else (crm_id,)
        return self.not_owners.isdisjoint((address, *ids))


def shared_domains(owners: Iterable[Owner], rules: Rules | None = None) -> frozenset[str]:
    """Return the domains that two or more active owners share, without free-mail providers."""
    free = rules.is_free_mail if rules else is_free_mail
    addresses = {address for owner in owners if owner.active and (address := email(owner.email))}
    hosts = (domain_of(address) for address in addresses)
    sharers = Counter(registrable(name) or name for name in hosts if not free(name))
    return frozenset(domain for domain, count in sharers.items() if count >= 2)


class OurSide:
    """Our side: owners and domains. Built once for each list of owners."""

    __slots__ = ("_domains", "_owners")

    def __init__(self, owners: Mapping[str, Owner], domains: frozenset[str]) -> None:
        self._owners = owners  # by clean address
        self._domains = domains  # hosts; every host below them is ours too

    @classmethod
    def of(cls, rules: Rules, owners: Iterable[Owner]) -> "OurSide":
        """Gather the owners, the operator's domains, and those that two or more active owners share.

        The mailboxes to which people send copies for their CRM are ours too.
        """
        by_address: dict[str, Owner] = {}
        for owner in owners:
            address = email(owner.email)
            if address and (address not in by_address or (owner.active and not by_address[address].active)):
                by_address[address] = owner
        return cls(by_address, rules.own_domains | shared_domains(by_address.values(), rules) | MAILBOXES)

    def has(self, address: str) -> bool:
        """Tell whether an address that `email` returned is an owner's or at one of our domains."""
        return address in self._owners or within(domain_of(address), self._domains)

    def has_domain(self, name: str) -> bool:
        """Tell whether the host `name` is at one of our domains."""
        return within(name, self._domains)

    def owner(self, address: str) -> Owner | None:
        """Return the owner of an address that `email` returned, or None. An active owner goes before one who left."""
        return self._owners.get(address)


def _as_host(domain: str) -> str:
    return host(domain) or domain.strip().lower()
