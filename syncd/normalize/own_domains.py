"""Compare `rules.own_domains` with the owners that a CRM names. Pure.

syncd cannot see a wrong list in the file alone, yet it would send internal calls as engagements, for good.
Messages name domains, never an address.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from syncd.activity import Owner
from syncd.addresses import domain_of, email, is_public_suffix, within
from syncd.connector import Finding, Source
from syncd.errors import ConfigError, Exit, Problem
from syncd.normalize.our_side import Rules, shared_domains

PLACEHOLDER = "yourcompany.com"  # in the example file, and in every document that shows one
WHAT = "rules.own_domains"
PROPOSED = 5  # domains in a hint, at most
VOUCHED = "@own_domains"  # in the ledger's store, under RECOTAP: the list that an owner of any source vouched for


class Unvouched(ConfigError):
    """The list holds the example's domain, and no owner so far is at one of the list's domains."""


class Vouching:
    """Know whether an owner of any source is at a domain of the list. One object serves all sources of a pass."""

    def __init__(self, rules: Rules, kept: Any = None) -> None:
        self._rules = rules
        self._list = sorted(rules.own_domains)
        self.is_given = not is_placeholder(rules) or kept == self._list  # True: our side is known well enough
        self._is_news = False
        self._postponed: list[tuple[Source, str | None, Unvouched]] = []

    def hear(self, owners: Iterable[Owner]) -> Problem | None:
        """Take the owners of a source. Return the problem if no owner of any source has vouched yet."""
        problem = None if self.is_given else placeholder(self._rules, owners)
        if not self.is_given and problem is None:
            self.is_given = self._is_news = True
        return problem

    def require(self, owners: Iterable[Owner]) -> None:
        """Raise Unvouched unless these owners vouch, or those of another source did."""
        problem = self.hear(owners)
        if problem is not None:
            raise Unvouched(message=f"{problem.path} {problem.message}", hint=problem.hint)

    def postpones(self, source: Source, stream: str | None, error: BaseException) -> bool:
        """Keep a failure that the owners of a later source may resolve. Return False if `error` is another one."""
        if not isinstance(error, Unvouched):
            return False
        self._postponed.append((source, stream, error))
        return True

    def holds(self, source: Source) -> bool:
        """Tell whether a failure of `source` is postponed."""
        return any(each is source for each, _, _ in self._postponed)

    def postponed(self) -> list[tuple[Source, str | None, Unvouched]]:
        """Return the postponed failures, once. Each is read again if an owner has vouched since, otherwise it fails."""
        found, self._postponed = self._postponed, []
        return found

    def to_keep(self) -> dict[str, Any]:
        """Return the store's values for later passes."""
        return {VOUCHED: self._list} if self._is_news else {}


def is_placeholder(rules: Rules) -> bool:
    """Tell whether the list holds the example's domain. If it does, the owners decide whether it may."""
    # No look-up in the public suffix list, whose parsing takes 90 ms, because a pass without records needs none.
    return any(within(domain, {PLACEHOLDER}) for domain in rules.own_domains)


def placeholder(rules: Rules, owners: Iterable[Owner]) -> Problem | None:
    """Return the problem with the example's domain, or None if an owner's address is at a domain of the list."""
    owners = tuple(owners)
    if not is_placeholder(rules) or any(within(domain, rules.own_domains) for domain in _domains(owners)):
        return None
    message = f"still holds the example's \"{PLACEHOLDER}\", and no owner's address is at one of its domains"
    return Problem(WHAT, message, _proposal(shared_domains(owners, rules)))


def of_sources(rules: Rules, owners: Sequence[Owner], kept: Any = None) -> Iterator[Finding]:
    """Yield the problem that would end a pass over sources with these owners, for `syncd check`."""
    problem = Vouching(rules, kept).hear(owners)
    if problem is not None:
        yield Finding(WHAT, False, f"{WHAT} {problem.message}", problem.hint, exit_code=Exit.CONFIG)


def of_owners(rules: Rules, owners: Sequence[Owner]) -> Iterator[Finding]:
    """Compare the list with the owners of all sources, for `syncd check`."""
    theirs = _domains(owners)
    if not theirs or is_placeholder(rules):
        return  # no owner to compare with, e.g. a folder whose files were not read yet
    shared = shared_domains(owners, rules)
    missing = sorted(domain for domain in shared if not within(domain, rules.own_domains))
    strange = sorted(own for own in rules.own_domains if not any(within(domain, {own}) for domain in theirs))
    both = sorted(domain for domain in shared if _has_another_rule(domain, rules))
    if missing:
        message = f"two or more owners share a domain that is missing: {', '.join(missing)}"
        yield _warning(message, "they count as ours all the same, as long as two active owners share them")
    for own in strange:
        close = get_close_matches(own, sorted(theirs), n=1, cutoff=0.8)
        hint = f"did you mean {close[0]}?" if close else "remove it, unless colleagues write from there"
        yield _warning(f"no owner's address is at {own}", hint)
    if both:
        message = f"domains of owners in rules.exclude_domains or rules.domain_aliases: {', '.join(both)}"
        yield _warning(message, "remove them there: our own side is never an account")
    if not (missing or strange or both):
        yield Finding(WHAT, True, "as the owners' addresses have it")


def of_list(rules: Rules) -> Iterator[Finding]:
    """Check the list alone, for `syncd check`."""
    if not rules.own_domains:
        message = "the list is empty: a colleague who is no owner counts as the other side"
        yield _warning(message, f'set it, e.g. own_domains = ["{PLACEHOLDER}"] with your own domains')
    for own in sorted(rules.own_domains):
        if rules.is_free_mail(own):
            hint = "remove it. List single addresses of colleagues as owners in the CRM"
            yield _warning(f"{own} is a free-mail provider: everybody who writes from there counts as ours", hint)
        elif is_public_suffix(own, private_too=True):
            hint = f"name your own part of it, e.g. yourcompany.{own}"
            yield _warning(f"{own} is shared by many: everybody below it counts as ours", hint)
    for own in sorted(own for own in rules.own_domains if _has_another_rule(own, rules)):
        message = f"{own} is in rules.exclude_domains or rules.domain_aliases as well"
        yield _warning(message, "remove it there: our own side is never an account")


def _domains(owners: Iterable[Owner]) -> set[str]:
    """Return the hosts of all owners' addresses, including owners who have left."""
    return {domain_of(address) for owner in owners if (address := email(owner.email))}


def _has_another_rule(domain: str, rules: Rules) -> bool:
    aliases: Collection[str] = {*rules.domain_aliases, *rules.domain_aliases.values()}
    return within(domain, frozenset(rules.exclude_domains)) or domain in aliases


def _proposal(shared: Collection[str]) -> str:
    if not shared:
        return f"set your own domains there, in place of {PLACEHOLDER}"
    names = ", ".join(f'"{name}"' for name in sorted(shared)[:PROPOSED])
    return f"set your own domains there. Owners share these: own_domains = [{names}]"


def _warning(message: str, hint: str) -> Finding:
    return Finding(WHAT, False, message, hint, warning=True)


__all__ = [
    "PLACEHOLDER", "VOUCHED", "WHAT", "Unvouched", "Vouching", "is_placeholder", "of_list", "of_owners", "of_sources",
    "placeholder",
]  # fmt: skip
