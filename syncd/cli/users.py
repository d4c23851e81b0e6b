"""Find a user of a CRM by address."""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from time import sleep
from typing import Any

from syncd import clock
from syncd.activity import Owner
from syncd.cli.check import TURN_S
from syncd.connector import Context, Source
from syncd.passes.reader import PassStore, as_told


def ids_of(source: Source, address: str, kept: Mapping[str, tuple[Any, datetime]], *, fresh: bool) -> list[str]:
    """Return the ids of the users with that address. Keeps nothing, and raises SyncdError.

    The users that the connector keeps are searched, or if `fresh` those that the CRM has now.
    """
    store = PassStore({} if fresh else dict(kept), clock.now)
    context = Context(source.name, store, clock.now, sleep, read_only=True, turn_s=TURN_S)
    wanted = address.strip().lower()
    try:
        with closing(source.connector(source.config, context)) as connector:
            if fresh:
                connector.check()  # some connectors learn their users only with a request
            everyone = connector.owners()
    except Exception as error:  # noqa: BLE001 - a connector may raise anything
        raise as_told(source.name, error) from None
    return [each.crm_id for each in everyone if each.crm_id and _address(each) == wanted]


def _address(owner: Owner) -> str:
    return (owner.email or "").strip().lower()


__all__ = ["ids_of"]
