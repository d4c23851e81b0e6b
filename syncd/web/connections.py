"""Bound what connections can take of a daemon: their number, and the time of each."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CLIENTS = 100  # connections; uvicorn answers 503 to more
REQUEST_S = 10.0  # until a client must have sent its request
LIFE_S = 30.0  # for its turn, the answer, and until the client has read it


class Impatient(H11Protocol):
    """Serve one connection, which has one request. uvicorn itself would wait for ever, and accept any number.

    Every response closes its connection (`security.policy`), so no second request can keep it open.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the request. If there are too many connections, the oldest that sent none is closed."""
        self.began = self.loop.time()
        if len(self.connections) >= MOST_CLIENTS - 1:
            self._close_the_oldest_silent()
        super().connection_made(transport)
        self._timers = (
            self.loop.call_later(REQUEST_S, self.close_if_silent),
            self.loop.call_later(LIFE_S, transport.abort),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in self._timers:
            timer.cancel()
        super().connection_lost(exc)

    @property
    def is_silent(self) -> bool:
        """Whether no request has come yet."""
        cycle: object = self.cycle  # None before the request, against its annotation
        return cycle is None and not self.transport.is_closing()

    def close_if_silent(self) -> None:
        """Close the connection unless its request has come."""
        if self.is_silent:
            self.transport.abort()

    def _close_the_oldest_silent(self) -> None:
        silent = [each for each in self.connections if isinstance(each, Impatient) and each.is_silent]
        if silent:
            min(silent, key=lambda each: each.began).close_if_silent()


__all__ = ["MOST_CLIENTS", "Impatient"]
