"""Count the POSTs in flight for each API key, and keep who sent each of them and when."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from syncd.sandbox.standin.server import Request

MOST_ARRIVALS = 100_000  # kept


@dataclass(slots=True)
class Arrival:
    """A POST whose body has arrived."""

    at_ms: int  # epoch, by the stand-in's clock
    client: int  # the port of its connection
    agent: str  # User-Agent
    in_flight: int  # POSTs with its key, this one included
    ids: tuple[str, ...] = ()  # externalActivityIds, if the stand-in has come to read them


class Traffic:
    """The POSTs of one stand-in. Safe for several threads.

    A POST is in flight from its last byte until its response begins, so a client that has the response never finds it
    counted. One whose client has given up counts until the stand-in has answered it.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._open: dict[int, Arrival] = {}  # by the identity of the request
        self.most: Counter[str] = Counter()  # by API key: the most POSTs in flight at once
        self.arrivals: deque[Arrival] = deque(maxlen=MOST_ARRIVALS)

    @contextmanager
    def post(self, request: Request) -> Iterator[None]:
        """Count a POST as in flight within the block."""
        key = request.headers.get("X-Api-Key", "")
        with self._lock:
            self._in_flight[key] += 1
            self.most[key] = max(self.most[key], self._in_flight[key])
            agent = request.headers.get("User-Agent", "")
            arrival = Arrival(self._now_ms(), request.client, agent, self._in_flight[key])
            self._open[id(request)] = arrival
            self.arrivals.append(arrival)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[key] -= 1
                del self._open[id(request)]

    def carries(self, request: Request, ids: tuple[str, ...]) -> None:
        """Note the ids of a POST in flight."""
        with self._lock:
            self._open[id(request)].ids = ids

    def most_in_flight(self) -> int:
        """Return the most POSTs that any one key had in flight at once."""
        with self._lock:
            return max(self.most.values(), default=0)

    def listed(self) -> list[list[Any]]:
        """Return the arrivals as JSON: at_ms, client, agent, in_flight, ids."""
        with self._lock:
            return [[a.at_ms, a.client, a.agent, a.in_flight, list(a.ids)] for a in self.arrivals]

    def forget(self) -> None:
        """Forget the past. What is in flight still counts."""
        with self._lock:
            self.most.clear()
            self.arrivals.clear()
