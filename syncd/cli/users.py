"""Ask a CRM for its users, and find one by address."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd.activity import Owner
from syncd.cli.asking import TURN_S, asking
from syncd.connector import Source
from syncd.passes.reader import as_told


def ids_of(source: Source, address: str, kept: Mapping[str, tuple[Any, datetime]], *, fresh: bool) -> list[str]:
    """Return the ids of the users with that address. Keeps nothing, and raises SyncdError.

    The users that the connector keeps are searched, or if `fresh` those that the CRM has now.
    """
    wanted = address.strip().lower()
    found = everyone(source, {} if fresh else kept, fresh=fresh)
    return [each.crm_id for each in found if each.crm_id and _address(each) == wanted]


def everyone(
    source: Source, kept: Mapping[str, tuple[Any, datetime]] | None = None, *, fresh: bool = True,
    turn_s: float = TURN_S,
) -> Sequence[Owner]:  # fmt: skip
    """Return the users of a CRM. Keeps nothing, and raises SyncdError.

    `kept`: the connector's values in the ledger. If `fresh`, the CRM is asked. `turn_s`: total wait for it in seconds.
    """
    try:
        with asking(source, kept, turn_s=turn_s) as connector:
            if fresh:
                connector.check()  # some connectors learn their users only with a request
            return connector.owners()
    except Exception as error:  # noqa: BLE001 - a connector may raise anything
        raise as_told(source.name, error) from None


def _address(owner: Owner) -> str:
    return (owner.email or "").strip().lower()


__all__ = ["everyone", "ids_of"]
