"""Find a person's lines by the person's address."""

from collections.abc import Iterator

from syncd.activity import Draft
from syncd.fields import addresses


def names(draft: Draft, address: str) -> bool:
    """Tell whether a person takes part in a draft, or is one of its owners. `address` is clean."""
    return any(address == found.strip().lower() for found in _addresses(draft))


def _addresses(draft: Draft) -> Iterator[str]:
    written = [each.email for each in (draft.owner, *draft.owners) if each]
    written += [each.email for each in (draft.sender, *draft.contacts, *draft.others) if each]
    for text in written:
        yield from (found for _, found in addresses(text))


__all__ = ["names"]
