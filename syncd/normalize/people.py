"""Tell who took part in an activity: who is us, and who is the other side. Pure.

The people of an email decide who sent it. The CRM's direction counts only if they do not contradict it, because tools
log a rep's whole inbox as outbound.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from syncd.activity import Direction, Draft, Owner, Person
from syncd.addresses import email
from syncd.normalize.known import is_mailbox
from syncd.normalize.our_side import OurSide


class People(NamedTuple):
    """The people of a draft. Addresses are clean."""

    direction: Direction | None  # of an email: told from its people
    sender: str | None  # of an email. None: unknown, or a mailbox for copies
    sender_is_ours: bool  # by list, domain or ownership. False: unknown, or ours only on the CRM's word
    users: Mapping[str, Owner]  # the record's owners by address, in order of preference
    contacts: Mapping[str, Person]  # the other side by address, in order
    outsiders: Sequence[Person]  # the other side, also those without an address
    internal: bool


def people_of(draft: Draft, our_side: OurSide) -> People:
    """Return the people of `draft`."""
    users = _users(draft, our_side)  # ours, even if the connector's list of owners lacks them
    sender = email(draft.sender.email) if draft.kind == "email" and draft.sender else None
    if sender and is_mailbox(sender):
        sender = None
    sender_is_ours = sender is not None and (sender in users or our_side.has(sender))
    direction = draft.direction
    if sender:
        direction = "outbound" if sender_is_ours else _direction_of_stranger(draft, sender, users, our_side)
    author = sender if direction == "outbound" else None  # of an outbound email: one of us, at any address

    stand_ins = draft.others
    if direction == "inbound" and sender and draft.sender:
        stand_ins = (draft.sender, *stand_ins)  # first, because a receiver may be a colleague at an unlisted domain
    contacts: dict[str, Person] = {}
    outsiders: list[Person] = []
    us: list[str] = []
    for group in (draft.contacts, stand_ins):
        for person in group:
            address = email(person.email)
            if address and (address in users or address == author or our_side.has(address)):
                us.append(address)
                continue
            outsiders.append(person)
            if address:
                contacts.setdefault(address, person)
        if contacts:
            break
    internal = not outsiders and _is_internal(draft, direction, sender, us, sender_is_ours=sender_is_ours)
    return People(direction, sender, sender_is_ours, users, contacts, outsiders, internal)


def receivers(draft: Draft, sender: str | None) -> Iterator[str | None]:
    """Yield the addresses to which an email went: those of its headers, otherwise of its contacts.

    Its sender and mailboxes for copies are left out. An unusable address is None.
    """
    for group in (draft.others, draft.contacts):
        found = [address for person in group if (address := email(person.email)) != sender or address is None]
        people = [address for address in found if address is None or not is_mailbox(address)]
        if people:
            yield from people
            return


def _users(draft: Draft, our_side: OurSide) -> dict[str, Owner]:
    """Return the record's owners.

    A person of the activity whom a field names is no owner, unless the address is known to be ours: the field may hold
    the sender of a reply.
    """
    found: dict[str, Owner] = {}
    for owner in (draft.owner, *draft.owners) if draft.owners else (draft.owner,):
        address = email(owner.email) if owner else None
        if owner and address:
            if owner.crm_id is None and not our_side.has(address) and _takes_part(address, draft):
                continue
            found.setdefault(address, owner)
    return found


def _is_contact(address: str, draft: Draft) -> bool:
    return any(email(person.email) == address for person in draft.contacts)


def _takes_part(address: str, draft: Draft) -> bool:
    """Tell whether an address is a contact's, the sender's or a receiver's."""
    people = (*draft.contacts, *draft.others, *((draft.sender,) if draft.sender else ()))
    return any(email(person.email) == address for person in people)


def _direction_of_stranger(draft: Draft, sender: str, users: Mapping[str, Owner], our_side: OurSide) -> Direction:
    """Return the direction of an email whose sender is not known to be ours.

    If the CRM calls it outbound, it is still inbound in two cases: the sender is one of its contacts, or every
    receiver is ours.
    """
    if draft.direction != "outbound" or _is_contact(sender, draft):
        return "inbound"
    others = list(receivers(draft, sender))
    all_ours = others and all(address and (address in users or our_side.has(address)) for address in others)
    return "inbound" if all_ours else "outbound"


def _is_internal(
    draft: Draft, direction: Direction | None, sender: str | None, us: Sequence[str], *, sender_is_ours: bool
) -> bool:
    """Tell whether an activity without outsiders is between us. An unknown sender may be of the other side."""
    if draft.kind == "email" and not sender_is_ours and (sender or direction == "inbound"):
        return False
    # Our sender alone is not `internal` but no_contact: the CRM may still learn the receivers.
    return draft.direction == "internal" or any(not is_mailbox(address) for address in us if address != sender)
