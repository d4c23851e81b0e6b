"""Find the owners that the fields of `fields.owner` name: each holds a user's id, address, or unique name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.salesforce import soql
from connectors.salesforce.conditions import whole_id
from connectors.salesforce.mapping import USER_PREFIX, task_owner
from connectors.salesforce.org import Org
from connectors.salesforce.related import Complete
from syncd.activity import Draft, Owner
from syncd.fields import addresses, parse_text
from syncd.types.conditions import fold

Row = Mapping[str, Any]
Fields = Sequence[tuple[str, str]]  # name and text

OWNER_ID = "OwnerId"  # a user's or a queue's, which comes with its name and address


class Owners:
    """Add `owners` to records: the users that their fields name, in order."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._everyone: Sequence[Owner] = ()
        self._by_address: dict[str, Owner] = {}
        self._by_name: dict[str, Owner] = {}

    def added(self, complete: Complete, names: Sequence[str], *, fresh: bool) -> Complete:
        """Return the records with their owners. A record whose owner Salesforce did not serve is unserved."""
        written = {each.ref.crm_id: _written(each.row, names) for each in complete.records}
        ids = [text for found in written.values() for _, text in found if _is_user(text)]
        known = self._org.users(ids, fresh=fresh)
        self._learn(self._org.everyone())
        found = Complete([], dict(complete.unserved))
        for record in complete.records:
            fields = written[record.ref.crm_id]
            why = next((self._org.unserved[text] for _, text in fields if text in self._org.unserved), None)
            if why is not None:
                found.unserved[record.ref.crm_id] = why
                continue
            owners = self._owners(record.row, fields, known)
            found.records.append(replace(record, related={**record.related, "owners": owners}))
        return found

    def _owners(self, row: Row, fields: Fields, known: Mapping[str, Owner]) -> tuple[Owner, ...]:
        found = (task_owner(row) if name == OWNER_ID else self._one(text, known) for name, text in fields)
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def _one(self, text: str, known: Mapping[str, Owner]) -> Owner | None:
        """Return the user of ours with this id, address or name. None if there is none, or if several have the name.

        An address of nobody here could be the other side's.
        """
        if _is_user(text):
            return known.get(text) if self._org.is_ours(text) else None
        address = next((address for _, address in addresses(text)), "")
        return self._by_address.get(fold(address)) or self._by_name.get(fold(text))

    def _learn(self, everyone: Sequence[Owner]) -> None:
        if everyone is self._everyone:
            return
        self._everyone = everyone
        self._by_address = {fold(each.email): each for each in reversed(everyone) if each.email}
        names = Counter(fold(each.name) for each in everyone if each.name)
        self._by_name = {fold(each.name): each for each in everyone if each.name and names[fold(each.name)] == 1}


def preferring(draft: Draft | None, owners: Sequence[Owner]) -> Draft | None:
    """Return a draft with these owners before its own."""
    if draft is None or not owners:
        return draft
    first, *others = dict.fromkeys([*owners, *([draft.owner] if draft.owner else []), *draft.owners])
    return replace(draft, owner=first, owners=tuple(others))


def _written(row: Row, names: Sequence[str]) -> Fields:
    """Return each field that is not empty, and its text. A user's id has 18 characters, as in Salesforce's answers."""
    found = ((name, parse_text(row.get(name))) for name in names)
    return [(name, (whole_id(text) or text) if _is_user(text) else text) for name, text in found if text]


def _is_user(written: str) -> bool:
    return written.startswith(USER_PREFIX) and soql.is_id(written)
