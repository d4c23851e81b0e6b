"""Decide whether a draft is excluded, incomplete, or fit to be sent to Recotap.

    Draft ─► people: who is us, who is the other side
          ─► account: whose domain
          ─► ownership: which of us
          ─► the first reason that holds, or a payload

Pure: no IO, and the clock is an argument. It never raises for what a CRM may hold.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd.activity import Draft
from syncd.addresses import domain_of, within
from syncd.lifecycle.reasons import Reason
from syncd.normalize.account import Account, account_of
from syncd.normalize.automated import automated_as
from syncd.normalize.our_side import OurSide, Rules, shared_domains
from syncd.normalize.ownership import from_of, owner_of
from syncd.normalize.people import People, people_of
from syncd.recotap.payload import build, validate


# Made for each record: a named tuple costs a third of a frozen dataclass.
class Assessment(NamedTuple):
    """The rules' decision about a draft."""

    reason: Reason | None  # None: complete, may go out
    payload: dict[str, Any] | None = None  # the JSON object for Recotap; None if there is a reason
    domain: str | None = None  # the account's, also if there is a reason; never a mass mail provider's
    detail: str | None = None  # which entry of `except`, or which kind of `rules.automated`, excludes it

    def __repr__(self) -> str:
        """Leave the payload out, because a log may show this."""
        return f"Assessment(reason={self.reason!r})"


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
    people = people_of(draft, our_side)
    account = account_of(draft, people, rules, our_side)
    owned = owner_of(draft, people, rules, our_side)
    reason = next(_reasons(draft, people, account, owned is not None, rules, settle, now), None)
    if reason is not None or account is None or owned is None:
        return Assessment(reason, None, account and account.domain, _detail(draft, people, reason, rules))
    payload = build(
        draft,
        external_activity_id=external_activity_id,
        domain=account.domain,
        account_name=account.name,
        owner=owned[0],
        sender=from_of(draft, people, owned[0], our_side),
        contacts=people.contacts,
    )
    return Assessment(None, payload, account.domain)


def _reasons(
    draft: Draft, people: People, account: Account | None, is_owned: bool, rules: Rules, settle: timedelta,
    now: datetime,
) -> Iterator[Reason]:  # fmt: skip
    """Yield the reasons that hold, in the order of `Reason`."""
    if draft.status == "not_sent":
        yield Reason.NOT_SENT
    if draft.filtered is not None:
        yield Reason.FILTERED
    if (draft.automated or draft.kind == "email") and automated_as(draft, people.sender, rules.automated):
        yield Reason.AUTOMATED
    if not draft.redacted:  # otherwise not all its people are known, so nothing is concluded from them
        if people.internal:
            yield Reason.INTERNAL
        if _is_excluded(people, account, rules.exclude_domains):
            yield Reason.EXCLUDED_DOMAIN
    if rules.not_before is not None and draft.occurred_at < rules.not_before:
        yield Reason.TOO_OLD
    if draft.duplicate_of is not None:
        yield Reason.DUPLICATE_OF
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
    if not is_owned:
        yield Reason.NO_OWNER_EMAIL
    if max(draft.occurred_at, draft.created_at) > now - settle:
        yield Reason.SETTLING


def _detail(draft: Draft, people: People, reason: Reason | None, rules: Rules) -> str | None:
    if reason is Reason.FILTERED:
        return draft.filtered
    return automated_as(draft, people.sender, rules.automated) if reason is Reason.AUTOMATED else None


def _is_excluded(people: People, account: Account | None, domains: frozenset[str]) -> bool:
    if not domains:
        return False
    if account and (within(account.host, domains) or within(account.domain, domains)):
        return True
    return bool(people.contacts) and all(within(domain_of(address), domains) for address in people.contacts)


__all__ = [
    "Assessment",
    "OurSide",
    "Rules",
    "assess",
    "shared_domains",
    "validate",
]
