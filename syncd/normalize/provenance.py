"""Tell where each field of an activity came from, and which rule chose it. Pure.

The rules decide again for it, so it costs nothing if nobody asks.
"""

from collections.abc import Callable, Iterable, Iterator

from syncd.activity import Draft, Owner
from syncd.addresses import email, registrable
from syncd.normalize.account import Account, account_of
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.ownership import DEFAULT, FURTHER, RECEIVER, SENDER, owner_of
from syncd.normalize.people import People, people_of

Origin = dict[str, str]  # "from": the CRM's property, otherwise the field of `Draft`; "rule": what chose it
Read = Callable[[str], str]  # by a field of `Draft`: the CRM's property, if the connector names it

AS_READ = "as the CRM has it"
_VALUES = {  # the payload's field: the field of `Draft`
    "occurredAt": "occurred_at", "callTitle": "title", "subject": "title", "durationMinutes": "duration_minutes",
    "outcome": "outcome", "direction": "direction", "openCount": "open_count", "clickCount": "click_count",
}  # fmt: skip


def provenance(
    draft: Draft, *, rules: Rules, our_side: OurSide, fields: Iterable[str] | None = None
) -> dict[str, Origin]:
    """Return the origin of each of the payload's `fields`. None: of all that are known, though a reason holds."""
    people = people_of(draft, our_side)
    account = account_of(draft, people, rules, our_side)
    owned = owner_of(draft, people, rules, our_side)
    names = draft.origins() if draft.origins is not None else {}

    def read(field: str) -> str:
        return names.get(field, field)

    owner = dict(_owner(owned, read))
    found = {
        **_values(draft, read),
        **dict(_account(draft, account, people, read)),
        **owner,
        **dict(_people(draft, people, owner, read)),
    }
    return found if fields is None else {field: found[field] for field in fields if field in found}


def _values(draft: Draft, read: Read) -> dict[str, Origin]:
    """Return the origins of the fields that no rule decides. `title` goes out under a name for each kind."""
    other = "subject" if draft.kind == "call" else "callTitle"
    found = {key: _origin(read(field)) for key, field in _VALUES.items() if key != other and _has(draft, field)}
    return {
        "externalActivityId": _origin("the record's id", "external_id of its source"),
        "activityType": _origin("the record's stream", "calls first"),
        **found,
    }


def _account(draft: Draft, account: Account | None, people: People, read: Read) -> Iterator[tuple[str, Origin]]:
    if account is None:
        return
    if account.company is None:
        source, rule = _source_of_contacts(draft, people), "the domain of a contact's address"
    elif any(account.company is company for company in draft.companies):
        source, rule = "companies", "the company of the activity"
    else:
        source, rule = "contacts", "the company of a contact"
    changed = "" if registrable(account.host) == account.domain else ", then rules.domain_aliases"
    yield "domain", _origin(read(source), rule + changed)
    if account.name:
        named = rule if account.company is not None else "the first company with a name"
        yield "accountName", _origin(read("companies" if account.company is None else source), named)


def _owner(owned: tuple[Owner, str] | None, read: Read) -> Iterator[tuple[str, Origin]]:
    if owned is None:
        return
    owner, rule = owned
    field = {SENDER: "sender", RECEIVER: "others", FURTHER: "owners"}.get(rule, "owner")
    origin = _origin(DEFAULT if rule == DEFAULT else read(field), rule)
    fields = {"ownerEmail": True, "ownerName": owner.name, "ownerId": owner.crm_id}
    yield from ((field, origin) for field, value in fields.items() if value)


def _people(draft: Draft, people: People, owner: dict[str, Origin], read: Read) -> Iterator[tuple[str, Origin]]:
    if people.sender or (draft.kind == "email" and people.direction == "inbound" and draft.sender):
        yield "from", _origin(read("sender"), "the sender of an email")
    elif people.direction == "outbound" and owner:
        yield "from", _origin(owner["ownerEmail"]["from"], "the owner of an outbound activity")
    elif people.direction == "inbound" and draft.kind == "call" and people.contacts:
        yield "from", _origin(read(_source_of_contacts(draft, people)), "the first contact of an inbound call")
    if people.contacts:
        source, rule = _source_of_contacts(draft, people), "the associated people of the other side"
        if source != "contacts":
            rule = "the other side among the email's people" if draft.kind == "email" else "the person called"
            rule += ", because no associated person has a usable address"
        yield "contacts", _origin(read(source), rule)


def _source_of_contacts(draft: Draft, people: People) -> str:
    """Return the field of `Draft` that the contacts come from. It is one field for all of them."""
    first = next(iter(people.contacts), None)
    for field in ("contacts", "others"):
        if any(email(person.email) == first for person in getattr(draft, field)):
            return field
    return "sender"


def _has(draft: Draft, field: str) -> bool:
    return getattr(draft, field) is not None


def _origin(source: str, rule: str = AS_READ) -> Origin:
    return {"from": source, "rule": rule}


__all__ = ["AS_READ", "Origin", "provenance"]
