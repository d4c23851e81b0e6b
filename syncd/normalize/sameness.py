"""Make the keys by which an activity is recognized under another id. Pure.

Each key is 8 bytes of a keyed hash. Without the secret, which each ledger makes for itself, no address or subject can
be guessed from it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from syncd.activity import Draft
from syncd.lifecycle.sameness import ALIKE_WITHIN, Key

HOUR_S = 3600  # a slot of keys by likeness
WEEK_S = 7 * 24 * HOUR_S  # a slot of keys by id: clocks and time zones of two systems may differ
BY_ID_S = 24 * HOUR_S
ALIKE_S = {kind: int(within.total_seconds()) for kind, within in ALIKE_WITHIN.items()}
MOST_MINUTES = 24 * 60  # of a call
MOST_CONTACTS = 5  # of an email. Those with the smallest hashes, so that two copies choose the same
LONGEST = 400  # characters of a subject or an id that count
# Reply and forward in the languages of Outlook and Gmail, and marks of tools that log emails (rows of real orgs, 2026).
_PREFIX = re.compile(
    r"""(?: \s* (?:
        (?: re|r|fw|fwd|aw|antw|wg|tr|rif|i|rv|res|enc|sv|vs|vb|vl|vá|továbbítás|odp|pd|ynt|ilt|bls|trs|απ|σχετ|πρθ
            |fs|atb|hb|doorst|回复|回覆|答复|转发|轉寄|返信|転送|email|e-mail )
        (?: \s? [\[(] \d{1,3} [\])] )? \s* [:：] (?: \s* (?: >>|<< ) )?
      | \[ (?: external|extern|ext|outreach|salesloft|apollo|lemlist|email|e-mail|out|in|>>|<<|re ) \]
    ) )+ """,
    re.VERBOSE | re.IGNORECASE,
)
_ID = re.compile(r"(?=(?:\D*\d){3})[^\s]{6,}", re.ASCII)  # a call centre's name is no id of a call


# A complete activity of a page: the list to put its keys into, its draft and its payload.
Complete = tuple[list[Key], Draft, Mapping[str, Any]]


class KeyMaker:
    """Make the keys of one ledger's activities. `secret` has at most 64 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = blake2b(key=secret, digest_size=8)

    def fill(self, page: Iterable[Complete]) -> None:
        """Put the keys of each activity of a page into its list. One by one beside other work takes twice the time."""
        for keys, draft, payload in page:
            keys.extend(self.keys(draft, payload))

    def keys(self, draft: Draft, payload: Mapping[str, Any]) -> tuple[Key, ...]:
        """Return the keys of an activity that is fit to be sent, those by id first."""
        at = int(draft.occurred_at.timestamp())
        if at < 2 * WEEK_S:  # the CRM's way to say nothing: a zero, a year alone
            return ()
        if draft.kind == "call":
            own, alike = _call_id(draft), self._of_call(payload)
        else:
            own, alike = _message_id(draft), self._of_email(payload)
        slots = _slots(at, HOUR_S, ALIKE_S[draft.kind]) if alike else ()
        if own is None:
            return tuple([(slot, hashed, 0) for hashed in alike for slot in slots])
        by_id = self._hash(own)
        keys = [(-slot, by_id, 1) for slot in _slots(at, WEEK_S, BY_ID_S)]
        return (*keys, *[(slot, hashed, 1) for hashed in alike for slot in slots])

    def _of_call(self, payload: Mapping[str, Any]) -> list[int]:
        minutes = payload.get("durationMinutes", 0)
        if not 0 < minutes < MOST_MINUTES:
            return []
        return [self._hash(f"call\n{payload['ownerEmail']}\n{payload['domain']}\n{round(minutes * 60)}")]

    def _of_email(self, payload: Mapping[str, Any]) -> list[int]:
        sender = payload.get("from", {}).get("email")
        subject = bare_subject(payload.get("subject", "")[:LONGEST])
        if not sender or not subject:
            return []
        contacts = payload["contacts"]
        hashes = [self._hash(f"email\n{sender}\n{contact['email']}\n{subject}") for contact in contacts]
        return hashes if len(hashes) <= MOST_CONTACTS else sorted(hashes)[:MOST_CONTACTS]

    def _hash(self, text: str) -> int:
        keyed = self._keyed.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(keyed.digest(), "big", signed=True)


@lru_cache(maxsize=1024)  # replies and campaigns repeat a subject
def bare_subject(subject: str) -> str:
    """Return a subject without prefixes such as Re:, as two copies have it. "" if nothing is left."""
    found = _PREFIX.match(subject)
    return " ".join(subject[found.end() if found else 0 :].casefold().split())


def _message_id(draft: Draft) -> str | None:
    """Return a Message-ID as a hash sees it, or None. It has an @ (RFC 5322, 3.6.4)."""
    if not isinstance(draft.message_id, str):
        return None
    found = draft.message_id.strip().removeprefix("<").removesuffix(">")
    return f"message\n{found}" if "@" in found and len(found) <= LONGEST else None


def _call_id(draft: Draft) -> str | None:
    if not isinstance(draft.call_id, str):
        return None
    found = draft.call_id.strip()
    return f"call id\n{found}" if len(found) <= LONGEST and _ID.fullmatch(found) else None


def _slots(at: int, width: int, within: int) -> tuple[int, ...]:
    """Return the span of `width` seconds of `at`, and the one before if that may hold a copy.

    A later copy looks back. So an earlier one need not look ahead.
    """
    slot, rest = divmod(at, width)
    return (slot, slot - 1) if rest < within else (slot,)
