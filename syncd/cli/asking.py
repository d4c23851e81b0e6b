"""Open a connector for a command that only asks the CRM."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from time import sleep
from typing import Any

from syncd import clock
from syncd.connector import Connector, Context, Source
from syncd.http.server_clock import ServerClock
from syncd.ledger import CLOCK
from syncd.passes.store import PassStore

TURN_S = 30.0  # total wait for each server: a pass may be using up a rate limit that they share


@contextmanager
def asking(
    source: Source, kept: Mapping[str, tuple[Any, datetime]] | None = None, *, turn_s: float | None = TURN_S
) -> Iterator[Connector]:
    """Yield the connector of a source. It changes nothing outside, and nothing that it learns is kept.

    `kept`: what the ledger has of it. `turn_s`: the total wait for limits and failures. None: a pass's rules apply.
    """
    store = PassStore(dict(kept or {}), clock.now)
    server_clock = ServerClock(clock.now, store.get(CLOCK))
    context = Context(source.name, store, clock.now, sleep, read_only=True, turn_s=turn_s, clock=server_clock)
    with closing(source.connector(source.config, context)) as connector:
        yield connector


__all__ = ["TURN_S", "asking"]
