"""Pin the Recotap that a ledger delivers to: its host and port, and the workspace of its key.

    @destination   {"at": "eapi.recotap.com:443", "salt": "…", "key": "…"}      the pin
    @accounts      {"domains": ["acme.com", …], "key": "…", "found": 3}         what the accepted key found of them

`review` decides, and is pure but for its two questions. The ledger never holds the key, only a fingerprint of it.
"""

import hmac
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from syncd.errors import Exit, SyncdError
from syncd.ledger import ACCOUNTS, DESTINATION
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes.dispatch import SendingStopped
from syncd.passes.pins import trust
from syncd.recotap.responses import BatchResult
from syncd.recotap.sender import Sender

MOST_DOMAINS = 20  # that were delivered to; the ledger remembers the first ones. One GET takes 100 (vendor's page)
LOOKED_AT = 5  # activities of a POST whose domain is noted: enough, and cheap
ASK_AGAIN_AFTER = timedelta(days=1)  # accounts come and go
SALT_BYTES = 8
PORTS = {"https": 443, "http": 80}
MOVED = f"set [ledger] path to a ledger of its own. If this is the same Recotap: {trust('recotap')}"
FOREIGN = (
    f"use a key of the workspace that this ledger delivers to, or set [ledger] path to another ledger. If you know "
    f"better: {trust('recotap')}"
)
UNTRIED = f"The next pass tries the new key again. If you know that it is right: {trust('recotap')}"


class NotingSender(Sender):
    """A Sender that notes some of the domains that it delivers to. Safe for several threads."""

    domains: frozenset[str] = frozenset()  # delivered to by this object, a few more than MOST_DOMAINS at most

    def post(self, sent: Sequence[tuple[str, str]], *, late_s: float = 0.0) -> BatchResult:
        """POST as a Sender does."""
        result = super().post(sent, late_s=late_s)
        if result.outcome == "answered" and len(self.domains) < MOST_DOMAINS:
            self.domains |= delivered_to(sent[:LOOKED_AT], result)
        return result


def delivered_to(sent: Iterable[tuple[str, str]], result: BatchResult) -> set[str]:
    """Return the account domains of the activities that Recotap has by now. Pure."""
    return {
        json.loads(body)["domain"]
        for name, body in sent
        if (judged := result.verdicts.get(name)) and MEANINGS[judged.verdict].state is State.DELIVERED
    }


@dataclass(frozen=True, slots=True)
class Review:
    """The result of `review`."""

    refusal: SendingStopped | None = None  # why nothing may be sent
    keep: Mapping[str, Any] = field(default_factory=dict)  # for the ledger's store, under RECOTAP
    is_new: bool = False  # a destination is pinned
    accounts: int | None = None  # a new key is accepted, which found so many of the accounts; 0: there were none to try


def host_and_port(base_url: str) -> str:
    """Return the destination that a checked base URL leads to, e.g. "eapi.recotap.com:443"."""
    parts = urlsplit(base_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or PORTS[parts.scheme]}"


def fingerprint(key: str, salt: str) -> str:
    """Return 8 bytes in hex that tell one key from another, and do not lead back to it."""
    return hmac.new(bytes.fromhex(salt), key.encode(), "sha256").hexdigest()[:16]


def review(
    kept: Mapping[str, Any],
    *,
    at: str,
    key: str,
    has_sent: Callable[[], bool],
    find: Callable[[Sequence[str]], Collection[str]],
) -> Review:
    """Compare the configured destination `at` and its `key` with `kept`, the values of the ledger's store.

    `has_sent`: Recotap may hold an activity of this ledger. Until then any destination is right. `find` returns those
    of some domains of which Recotap has an account, or raises SyncdError. It is called only for a new key.
    """
    pin, accounts = kept.get(DESTINATION), kept.get(ACCOUNTS) or {}
    if pin is None or (pin["at"] != at and not has_sent()):
        return Review(keep={DESTINATION: _pin(at, key)}, is_new=True)
    if pin["at"] != at:
        message = f"recotap.base_url leads to {at}, but this ledger delivers to {pin['at']}"
        return Review(SendingStopped(Exit.CONFIG, message, MOVED))
    if fingerprint(key, pin["salt"]) == pin["key"]:
        return Review()
    return _try(at, key, accounts if accounts.get("key") == pin["key"] else {}, find)


def _try(at: str, key: str, accounts: Mapping[str, Any], find: Callable[[Sequence[str]], Collection[str]]) -> Review:
    """Accept a new key, unless it finds none of the accounts of which the last one found some."""
    pin = _pin(at, key)
    before = accounts.get("found") or 0
    if not before:
        return Review(keep={DESTINATION: pin}, accounts=0)
    try:
        found = len(find(accounts["domains"]))
    except SyncdError as error:
        message = f"recotap.api_key is new and cannot be tried: {error.message}"
        hint = f"{error.hint}. {UNTRIED}" if error.exit_code == Exit.UNAVAILABLE else error.hint
        return Review(SendingStopped(error.exit_code, message, hint))
    if not found:
        message = f"recotap.api_key is of another workspace: it finds none of the {before} accounts of the last key"
        return Review(SendingStopped(Exit.CONFIG, message, FOREIGN))
    return Review(keep={DESTINATION: pin, ACCOUNTS: {**accounts, "key": pin["key"], "found": found}}, accounts=found)


def _pin(at: str, key: str) -> dict[str, str]:
    salt = os.urandom(SALT_BYTES).hex()
    return {"at": at, "salt": salt, "key": fingerprint(key, salt)}


def learned(kept: Mapping[str, tuple[Any, datetime]], domains: Collection[str], now: datetime) -> dict[str, Any] | None:
    """Return ACCOUNTS with the domains of a pass, to be completed by the number that the key finds, or None.

    `kept` has values and their times. None: nothing was delivered, the last answer still counts, or an operator has
    dropped the pin during the pass.
    """
    accounts, asked_at = kept.get(ACCOUNTS) or ({}, now)
    pin, _ = kept.get(DESTINATION) or (None, now)
    if pin is None:
        return None
    before = (accounts or {}).get("domains", [])
    known = list(dict.fromkeys([*before, *sorted(domains)]))[:MOST_DOMAINS]
    is_fresh = accounts and accounts["key"] == pin["key"] and timedelta(0) <= now - asked_at < ASK_AGAIN_AFTER
    if not domains or (known == before and is_fresh):
        return None
    return {"domains": known, "key": pin["key"]}


__all__ = ["NotingSender", "Review", "delivered_to", "fingerprint", "host_and_port", "learned", "review"]
