"""Tell who took part in an activity: who is us, and who is the other side. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from syncd.activity import Direction, Draft, Person
from syncd.addresses import email
from syncd.normalize.our_side import OurSide


class People(NamedTuple):
    """The people of a draft."""

    direction: Direction | None  # of an email: told from its sender if the CRM does not know
    sender: str | None  # of an email, clean
    owner: str | None  # the address of the draft's owner, clean
    contacts: Mapping[str, Person]  # the other side by clean address, in order
    outsiders: Sequence[Person]  # the other side, also those without an address
    internal: bool


def people_of(draft: Draft, our_side: OurSide) -> People:
    """Return the people of `draft`."""
    # The activity's owner is one of us, even if the connector's list lacks them.
    owner = email(draft.owner.email) if draft.owner else None
    ours = {owner}

    sender = email(draft.sender.email) if draft.kind == "email" and draft.sender else None
    direction = draft.direction
    if sender and direction is None:
        direction = "outbound" if sender in ours or our_side.has(sender) else "inbound"
    if direction == "outbound":
        ours.add(sender)  # the author of an outbound email is one of us, at any address
    stand_ins = draft.others
    if direction == "inbound" and sender and draft.sender:
        stand_ins = (*stand_ins, draft.sender)

    contacts: dict[str, Person] = {}
    outsiders: list[Person] = []
    us: set[str] = set()
    for group in (draft.contacts, stand_ins):
        for person in group:
            address = email(person.email)
            if address and (address in ours or our_side.has(address)):
                us.add(address)
                continue
            outsiders.append(person)
            if address:
                contacts.setdefault(address, person)
        if contacts:
            break
    # Our sender alone is not `internal` but no_contact: the CRM may still learn the receivers.
    internal = draft.direction == "internal" or (not outsiders and bool(us - {sender}))
    return People(direction, sender, owner, contacts, outsiders, internal)
