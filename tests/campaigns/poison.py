"""Faults of a CRM that follow what a request asks for: one record, pages above a size, one span of time.

A poison lives for a few turns of a campaign. A request that meets it gets a 500, a 504, or no response within the
client's deadline. A client that asks for less gets through: for other records, fewer rows, or another span.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from syncd.sandbox.standin.server import Request, Response, StandIn

RARELY = 0.02  # share of the poisoned requests that get no response: each costs a whole deadline
MANNERS = (500, 504)
BODIES = {
    "hubspot": {"status": "error", "message": "Internal Server Error", "correlationId": "c0ffee"},
    "salesforce": [{"errorCode": "UNKNOWN_EXCEPTION", "message": "An unexpected error occurred."}],
}
TIMES = ("updatedAt", "SystemModstamp")

Row = Mapping[str, Any]
Meets = Callable[[str, Request, Sequence[Row]], bool]  # the request's kind, the request, the rows of its answer


@dataclass(frozen=True, slots=True)
class Poison:
    """One fault that lives until a turn."""

    what: str  # record, page or span
    meets: Meets
    heals_at: int


class Poisons:
    """The poisons of one stand-in, which meet its requests from now on. Used in its threads too."""

    def __init__(self, stand_in: StandIn, crm: str, *, seed: int, silent_s: float) -> None:
        self._stand_in, self._answer = stand_in, stand_in.answer
        self._body = BODIES[crm]
        self._random = Random(f"{crm} poison {seed}")
        self._silent_s = silent_s  # longer than the client's deadline
        self._living: list[Poison] = []
        self._lock = threading.Lock()
        self.put: Counter[str] = Counter()  # by `what`
        self.hits: Counter[str] = Counter()  # requests that met one, by `what`
        stand_in.answer = self._spoiled  # type: ignore[method-assign]

    def add(self, poison: Poison) -> None:
        """Let a poison live, unless one of its sort does already."""
        with self._lock:
            if all(each.what != poison.what for each in self._living):
                self._living.append(poison)
                self.put[poison.what] += 1

    def heal(self, turn: int | None = None) -> None:
        """End the poisons whose time has come at `turn`, or all."""
        with self._lock:
            self._living = [each for each in self._living if turn is not None and turn < each.heals_at]

    def _spoiled(self, request: Request) -> Response:
        living, answer = self._living, self._answer(request)
        if not living or answer.status != 200:
            return answer
        kind, rows = self._stand_in.kind(request), list(rows_in(json.loads(answer.encoded())))
        met = next((each for each in living if each.meets(kind, request, rows)), None)
        return answer if met is None else self._failure(met)

    def _failure(self, met: Poison) -> Response:
        with self._lock:
            self.hits[met.what] += 1
            is_silent, status = self._random.random() < RARELY, self._random.choice(MANNERS)
        if is_silent:
            self._stand_in.faults.wait(self._silent_s)
            return Response(200, deliver="close")
        return Response(status, self._body)


def rows_in(value: Any) -> Iterator[Row]:
    """Yield the records in an answer, without their parents and children."""
    if isinstance(value, list):
        for each in value:
            yield from rows_in(each)
    elif isinstance(value, dict):
        if "Id" in value or "updatedAt" in value:
            yield value
        else:
            for each in value.values():
                yield from rows_in(each)


def named(*crm_ids: str) -> Meets:
    """Meet each request whose body names one of the ids: reads by id, not searches."""
    return lambda kind, request, rows: (
        kind != "search" and any(f'"{each}"'.encode() in request.body for each in crm_ids)
    )


def shown(crm_id: str, *, most: int) -> Meets:
    """Meet each request whose answer shows more than `most` keys of a record. So its id and time can be read."""
    return lambda kind, request, rows: any(row.get("Id") == crm_id and len(row) > most for row in rows)


def above(size: int, *kinds: str) -> Meets:
    """Meet each request of `kinds` whose answer has more rows than `size`."""
    return lambda kind, request, rows: kind in kinds and len(rows) > size


def within(since: datetime, until: datetime, *kinds: str) -> Meets:
    """Meet each request of `kinds` whose answer has a row modified within a span."""
    return lambda kind, request, rows: kind in kinds and any(since <= at <= until for row in rows for at in _times(row))


def _times(row: Row) -> list[datetime]:
    return [datetime.fromisoformat(row[key]) for key in TIMES if row.get(key)]


__all__ = ["Poison", "Poisons", "above", "named", "rows_in", "shown", "within"]
