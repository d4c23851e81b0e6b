"""Run uvicorn in a thread, on sockets that are opened before the daemon begins."""

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

import structlog
import uvicorn
from starlette.types import ASGIApp

from syncd.config import Config
from syncd.errors import ConfigError, Problem
from syncd.web.answers import Answers
from syncd.web.app import application
from syncd.web.connections import MOST_CLIENTS, Impatient
from syncd.web.security import Access
from syncd.web.sockets import listening

log = structlog.get_logger()

STOP_S = 1  # for open requests at the end; within the two seconds that a stop may take longer than a request
TICK_S = 1.0


class Page:
    """The server of the status page. Its threads hold up neither a pass nor the end of the process."""

    def __init__(self, config: Config) -> None:
        address = config.web.address
        assert address is not None
        self._address = address
        self._answers = Answers(config)
        self._guard = application(self._answers, Access(address, _token(config)))
        self._server = Server(_settings(self._guard))
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._sockets: Sequence[socket.socket] = ()

    def start(self) -> None:
        """Listen, and serve from then on. ConfigError if the address cannot be used."""
        self._sockets = listening(self._address)
        self._thread.start()
        log.info("web.started", address=str(self._address))

    def apply(self, config: Config) -> None:
        """Show another configuration, and take its token. The address stays, and so does a token without successor."""
        self._answers.config = config
        try:
            self._guard.access = Access(self._address, _token(config))
        except ConfigError as error:
            for each in error.problems:
                log.error("config.problem", key=each.path, error=each.message, hint=each.hint)

    def is_alive(self) -> bool:
        """Tell whether the page is served."""
        return self._thread.is_alive()

    def stop_soon(self) -> None:
        """Take no new connection, and end the open ones. Returns at once."""
        self._server.end()

    def stop(self) -> None:
        """Wait until the page is closed, at most STOP_S and a second."""
        self.stop_soon()
        self._thread.join(STOP_S + 1)
        self._answers.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[*self._sockets]))


class Server(uvicorn.Server):
    """Wake up once a second, for the Date header, and not ten times. An idle daemon shall cost nothing."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ends = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Have the server end, from any thread."""
        self.should_exit = True
        if self._loop and not self._loop.is_closed():
            with suppress(RuntimeError):  # it was closed since
                self._loop.call_soon_threadsafe(self._ends.set)

    async def main_loop(self) -> None:
        """Tick until the end. uvicorn calls it once it listens."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), TICK_S)


def _token(config: Config) -> str:
    """Return the token, or "" for none. ConfigError if it can no longer be read."""
    try:
        return config.web.token.read_line() if config.web.token else ""
    except ValueError as error:
        raise ConfigError([Problem("web.token", str(error), "set it, or name another place")]) from None


def _settings(app: ASGIApp) -> uvicorn.Config:
    """Return uvicorn's settings: one protocol, no log of requests, no word about the server, no trust in proxies."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it logs the requests of clients that break the protocol
    return uvicorn.Config(
        app, loop="asyncio", http=Impatient, ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=MOST_CLIENTS,
        timeout_graceful_shutdown=STOP_S, h11_max_incomplete_event_size=16 * 1024,
    )  # fmt: skip


__all__ = ["Page"]
