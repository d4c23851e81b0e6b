"""Choose the account that an activity belongs to: its domain and its name. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from syncd.activity import Company, Draft
from syncd.addresses import LONGEST, REMEMBERED, domain_of, host, registrable
from syncd.normalize.known import is_mass_provider, is_platform, is_search
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.people import People
from syncd.text import clean

_BETWEEN = re.compile(r"[,;|\r\n]")


class Account(NamedTuple):
    """The other side's company."""

    host: str  # as found, before it is cut to the registrable domain
    domain: str  # registrable, after domain_aliases
    name: str | None
    company: Company | None  # that has the domain. None: it is the domain of a contact's address


def account_of(draft: Draft, people: People, rules: Rules, our_side: OurSide) -> Account | None:
    """Return the first candidate's account, or None if no candidate has a usable domain."""
    theirs = [person.company for person in people.outsiders if person.company]
    names = []
    for company in (*_in_order(draft.companies, theirs), *theirs):
        found = _company_host(company, rules)
        account = _at(found, clean(company.name), company, rules, our_side) if found else None
        if account:
            return account
        if not found:  # a company whose domain is no account is our own
            names.append(clean(company.name))
    name = next(filter(None, names), None)
    for address in people.contacts:
        found = domain_of(address)
        account = None if rules.is_free_mail(found) else _at(found, name, None, rules, our_side)
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


def _company_host(company: Company, rules: Rules) -> str | None:
    """Return the first candidate's host. A mass provider's domain, or a page on a platform, is no candidate."""
    for candidate in company.domains:
        found = _host(candidate) if isinstance(candidate, str) and len(candidate) <= LONGEST else None
        if found and not (found[1] and rules.is_free_mail(found[0])):
            return found[0]
    return None


@lru_cache(maxsize=REMEMBERED)
def _host(written: str) -> tuple[str, bool] | None:
    """Return the first registrable host of a field that is no platform, and whether it is a mass provider's.

    The field may hold several: "acme.com, acme.io".
    """
    for part in _BETWEEN.split(written):
        url = next(iter(part.split()), "")  # after a blank there is prose: "acme.com (old)"
        name = host(url)
        if name and registrable(name) and not is_platform(name) and not is_search(url):
            return name, is_mass_provider(name)
    return None


def _at(
    name: str, account_name: str | None, company: Company | None, rules: Rules, our_side: OurSide
) -> Account | None:
    domain = registrable(name)
    domain = domain and rules.domain_aliases.get(domain, domain)
    if not domain or our_side.has_domain(name) or (domain != name and our_side.has_domain(domain)):
        return None  # our own company is never an account
    return Account(name, domain, account_name, company)
