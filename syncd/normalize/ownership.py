"""Choose an activity's owner, and the person it is from. Pure."""

from syncd.activity import Draft, Owner
from syncd.addresses import domain_of, email
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.people import People, receivers
from syncd.text import clean

# The rules that give an owner.
FIRST = "the record's owner"
FURTHER = "a further owner of the record, because those before it have no address or are in rules.not_owners"
SENDER = "the sender of an email from our side"
RECEIVER = "the one owner among the receivers of an inbound email"
DEFAULT = "rules.default_owner_email"


def owner_of(draft: Draft, people: People, rules: Rules, our_side: OurSide) -> tuple[Owner, str] | None:
    """Return the first candidate for the owner that may be it, clean, and the rule. None if there is none."""
    for address, user in people.users.items():
        owner = _clean_owner(address, user, our_side.owner(address))
        if rules.may_own(address, owner.crm_id):
            return owner, FIRST if user is draft.owner else FURTHER
    if people.sender and draft.sender and people.direction == "outbound":
        owner = _clean_owner(people.sender, our_side.owner(people.sender), Owner(None, None, draft.sender.name))
        if rules.may_own(people.sender, owner.crm_id) and _may_be_ours(draft, people, rules, our_side):
            return owner, SENDER
    if draft.kind == "email" and people.direction == "inbound" and (found := _receiver(draft, people, rules, our_side)):
        return found, RECEIVER
    if default := email(rules.default_owner_email):
        return _clean_owner(default, our_side.owner(default)), DEFAULT
    return None


def _may_be_ours(draft: Draft, people: People, rules: Rules, our_side: OurSide) -> bool:
    """Tell whether an outbound email's sender may be its owner.

    A sender whom only the CRM calls ours may not if one of us received the email, or at a free-mail address.
    """
    sender = people.sender
    if people.sender_is_ours or sender is None:
        return people.sender_is_ours
    known = any(address and (address in people.users or our_side.has(address)) for address in receivers(draft, sender))
    return not known and not rules.is_free_mail(domain_of(sender))


def _receiver(draft: Draft, people: People, rules: Rules, our_side: OurSide) -> Owner | None:
    """Return the one owner among the receivers. An active owner goes before one who left."""
    found: dict[str, Owner] = {}
    for address in receivers(draft, people.sender):
        owner = our_side.owner(address) if address else None
        if address and owner and rules.may_own(address, owner.crm_id):
            found[address] = owner
    active = {address: owner for address, owner in found.items() if owner.active} or found
    if len(active) != 1:
        return None
    ((address, owner),) = active.items()
    return _clean_owner(address, owner)


def _clean_owner(address: str, *sources: Owner | None) -> Owner:
    """Take name and id each from the first source that has it."""
    name, crm_id = None, None
    for owner in sources:
        if owner:
            name, crm_id = name or clean(owner.name), crm_id or clean(owner.crm_id)
    return Owner(crm_id, address, name)


def from_of(draft: Draft, people: People, owner: Owner, our_side: OurSide) -> dict[str, str]:
    """Return the name and address of the person that it is from, as far as they are known."""
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
