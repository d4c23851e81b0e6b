"""Leave out the people whom `syncd forget` named. Pure.

The ledger keeps a keyed hash of each forgotten address. Where a connector keeps the address itself, e.g. in its list of
owners, a stand-in takes its place, so that the person is recognized without it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from syncd.activity import Draft, Owner, Person
from syncd.addresses import REMEMBERED, email
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.ownership import owner_of
from syncd.normalize.people import people_of
from syncd.normalize.rules import Assessment

REMOVED = "[removed]"  # in place of an address within a text
SIZE = 16  # bytes of a hash
ID = "externalActivityId"
# An address within a text, perhaps with something before it: to=jo@acme.com, 'jo@acme.com'.
_ADDRESS = re.compile(r"[^\s@<>\"(),:;\\]{1,128}@[^\s@<>\"'(),:;=/?&\\]{1,255}")
_BEFORE = re.compile(r"[^\w.+-]+")
_STAND_IN = re.compile(rf"forgotten@[0-9a-f]{{{2 * SIZE}}}\.invalid")  # .invalid is nobody's (RFC 2606)
_DIGIT = re.compile(r"\d")

Assess = Callable[[Draft], Assessment]


class Forgotten:
    """Recognize forgotten people by keyed hashes of their addresses. False if nobody is forgotten."""

    def __init__(self, hashes: Iterable[str] = (), secret: bytes | None = None) -> None:
        """`secret` is the ledger's. It has at most 64 bytes."""
        self.hashes = frozenset(hashes) if secret else frozenset[str]()
        self._secret = secret or b""
        self._known: dict[str, str | None] = {}

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def stand_in(self, written: object) -> str | None:
        """Return the stand-in for a forgotten person's address. None for any other address or value."""
        if not isinstance(written, str) or "@" not in written:
            return None
        if written not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[written] = self._looked_up(written)
        return self._known[written]

    def _looked_up(self, written: str) -> str | None:
        address = email(written)
        if address is None or _STAND_IN.fullmatch(address):
            return address
        hashed = hash_of(address, self._secret)
        return f"forgotten@{hashed}.invalid" if hashed in self.hashes else None

    def text(self, written: str) -> str:
        """Return a text without the addresses of forgotten people."""
        if self._known.get(written, "") is None:  # nearly every text with an address is one that was just judged
            return written
        return _ADDRESS.sub(self._removed, written) if "@" in written else written

    def _removed(self, found: re.Match[str]) -> str:
        written = found[0]
        starts = (0, *(each.end() for each in _BEFORE.finditer(written.partition("@")[0])))
        named = next((at for at in starts if self.stand_in(written[at:])), None)
        return written if named is None else written[:named] + REMOVED

    def without(self, value: Any) -> Any:
        """Return a JSON value without forgotten people.

        A stand-in takes the place of an address. The texts beside it in its list or object are emptied if they have no
        digit, because they are names.
        """
        if isinstance(value, str):
            return self.stand_in(value) or self.text(value)
        if isinstance(value, list):
            named = any(map(self.stand_in, value))
            return [self._beside(each) if named else self.without(each) for each in value]
        if isinstance(value, dict):
            named = any(map(self.stand_in, value.values()))
            return {self.text(key): self._beside(each) if named else self.without(each) for key, each in value.items()}
        return value

    def _beside(self, value: Any) -> Any:
        is_name = isinstance(value, str) and not self.stand_in(value) and not _DIGIT.search(value)
        return "" if is_name else self.without(value)

    def names(self, value: Any) -> bool:
        """Tell whether a JSON value holds the address of a forgotten person."""
        return bool(self.without(value) != value)

    def owners(self, owners: Iterable[Owner]) -> tuple[Owner, ...]:
        """Return owners with stand-ins for forgotten addresses."""
        return tuple([_with(each, self.stand_in(each.email)) for each in owners])

    def draft(self, draft: Draft) -> Draft:
        """Return a draft with stand-ins for forgotten addresses, or the same object if it names nobody forgotten."""
        if not any(map(self.stand_in, [each.email for each in _everyone(draft)])):
            return draft
        return replace(
            draft,
            owner=draft.owner and _with(draft.owner, self.stand_in(draft.owner.email)),
            owners=self.owners(draft.owners),
            sender=draft.sender and _with(draft.sender, self.stand_in(draft.sender.email)),
            contacts=tuple([_with(each, self.stand_in(each.email)) for each in draft.contacts]),
            others=tuple([_with(each, self.stand_in(each.email)) for each in draft.others]),
        )


def hash_of(address: str, secret: bytes) -> str:
    """Return the keyed hash of an address that `email` returned. It reveals nothing without the ledger's secret."""
    return blake2b(address.encode(), key=secret, digest_size=SIZE, person=b"forgotten").hexdigest()


def assess_without(
    draft: Draft, assess: Assess, *, forgotten: Forgotten, rules: Rules, our_side: OurSide
) -> Assessment:  # fmt: skip
    """Assess a draft without forgotten people. `our_side` has stand-ins for them.

    It is `forgotten` if one of them owns it, or if they are all of the other side. A reason that is judged earlier
    remains.
    """
    whole = assess(draft)
    if whole.reason is not None and whole.reason.state is State.EXCLUDED and whole.reason is not Reason.DUPLICATE_OF:
        return whole
    masked = forgotten.draft(draft)
    if masked is draft and not forgotten.stand_in(rules.default_owner_email):
        return _cleaned(whole, forgotten)
    rest = _left(masked)
    people = people_of(masked, our_side)
    owned = owner_of(masked, people, rules, our_side)
    is_gone = any(map(is_stand_in, people.contacts)) and not people_of(rest, our_side).outsiders
    if is_gone or (owned is not None and forgotten.stand_in(owned[0].email)):
        return Assessment(Reason.FORGOTTEN, None, whole.domain)
    found = _cleaned(assess(rest), forgotten)
    if found.payload and masked.sender and is_stand_in(masked.sender.email):  # otherwise it would be from its owner
        found.payload.pop("from", None)
    return found


def is_stand_in(address: str | None) -> bool:
    """Tell whether an address stands for a forgotten person's."""
    return address is not None and _STAND_IN.fullmatch(address) is not None


def _cleaned(assessed: Assessment, forgotten: Forgotten) -> Assessment:
    """Return an assessment whose payload holds no forgotten address, not even in a subject. Its id stays."""
    payload = assessed.payload
    if payload is None or not any(forgotten.text(each) != each for each in _with_addresses(payload)):
        return assessed
    return assessed._replace(payload=_texts(payload, forgotten) | {ID: payload[ID]})


def _with_addresses(payload: Mapping[str, Any]) -> list[str]:
    """Return the texts of a payload that may hold an address."""
    parts = (payload, payload.get("from") or {}, *payload["contacts"])
    return [each for part in parts for each in part.values() if isinstance(each, str) and "@" in each]


def _texts(value: Any, forgotten: Forgotten) -> Any:
    if isinstance(value, str):
        return forgotten.text(value)
    if isinstance(value, list):
        return [_texts(each, forgotten) for each in value]
    return {key: _texts(each, forgotten) for key, each in value.items()} if isinstance(value, dict) else value


def _left(draft: Draft) -> Draft:
    """Return a draft without the people that have stand-ins."""
    return replace(
        draft,
        owner=None if draft.owner is None or is_stand_in(draft.owner.email) else draft.owner,
        owners=tuple([each for each in draft.owners if not is_stand_in(each.email)]),
        sender=None if draft.sender is None or is_stand_in(draft.sender.email) else draft.sender,
        contacts=tuple([each for each in draft.contacts if not is_stand_in(each.email)]),
        others=tuple([each for each in draft.others if not is_stand_in(each.email)]),
    )


def _everyone(draft: Draft) -> list[Owner | Person]:
    found: list[Owner | Person] = [*draft.owners, *draft.contacts, *draft.others]
    found += [draft.owner] if draft.owner else []
    found += [draft.sender] if draft.sender else []
    return found


def _with(person: Any, stand_in: str | None) -> Any:
    """Return a person or owner with a stand-in instead of the address and the name, if there is one."""
    return person if stand_in is None else replace(person, email=stand_in, name=None)


__all__ = ["REMOVED", "Assess", "Forgotten", "assess_without", "hash_of", "is_stand_in"]
