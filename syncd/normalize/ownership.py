"""Choose an activity's owner, and the person it is from. Pure."""

from syncd.activity import Draft, Owner
from syncd.addresses import email
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.people import People
from syncd.text import clean


def owner_of(draft: Draft, people: People, rules: Rules, our_side: OurSide) -> Owner | None:
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
