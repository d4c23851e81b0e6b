"""Tell a dead man's switch of each pass: its start, its success, or its exit code.

    URL/start        a pass begins
    URL              it ended with 0, so the books balance
    URL/<exit code>  it ended with another code

These are the paths of healthchecks.io (docs, "Pinging API" and "Signaling failures", 2026-11). To spare the switch, a
pass within PAUSE_S of the last reported one is passed over, unless it ends otherwise than that one.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue

import httpx
import structlog

from syncd import __version__
from syncd.errors import ConfigError, Exit, Malformed
from syncd.http import httpx_deadline, proxies
from syncd.http.tls import Trust
from syncd.types.secrets import HiddenUrl, Secret

log = structlog.get_logger()

DEADLINE_S = 10.0  # of one ping
PAUSE_S = 30.0  # between two starts
MOST_WAITING = 8  # pings; then the oldest is dropped
MOST_BYTES = 64 * 1024  # of an answer, of which only the status counts
SILENT = frozenset((Exit.HELD, Exit.SIGINT, Exit.SIGTERM))  # no pass, or a stopped one: neither a success nor a failure
START = "/start"
KEY = "alerts.heartbeat_url"
HINT = "is the address right, and does this machine reach it? `syncd alerts test` tries it"

Url = Secret | HiddenUrl


class Rhythm:
    """Choose the passes that are reported. Pure: the monotonic clock (seconds) is an argument."""

    def __init__(self) -> None:
        self._started_at = float("-inf")
        self._is_started = False  # the pass under way
        self._last: int | None = None

    def begin(self, now: float) -> str | None:
        """Return the path for the start of a pass, or None."""
        self._is_started = now - self._started_at >= PAUSE_S
        if not self._is_started:
            return None
        self._started_at = now
        return START

    def end(self, code: int) -> str | None:
        """Return the path for the end of a pass, or None."""
        if code in SILENT or not (self._is_started or code != self._last):
            return None
        self._last, self._is_started = code, False
        return "" if code == Exit.OK else f"/{code}"


class Heartbeat:
    """Ping in a thread of its own, one request at a time. It raises nothing, and no caller waits."""

    def __init__(self, url: Url | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.url = url  # may be replaced at any time; None: no more pings
        self._rhythm = Rhythm()
        self._monotonic = monotonic
        self._paths: Queue[str | None] = Queue(MOST_WAITING)
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Report that a pass begins."""
        self._put(self._rhythm.begin(self._monotonic()))

    def end(self, code: int) -> None:
        """Report the exit code of a pass."""
        self._put(self._rhythm.end(code))

    def close(self, within_s: float) -> None:
        """Wait until all pings are sent, but not longer than `within_s`."""
        until = time.monotonic() + within_s
        with suppress(Full):
            self._paths.put(None, timeout=within_s)
        self._thread.join(until - time.monotonic())

    def _put(self, path: str | None) -> None:
        if path is None:
            return
        while self._paths.full():  # only this thread puts
            with suppress(Empty):
                self._paths.get_nowait()
        self._paths.put_nowait(path)

    def _run(self) -> None:
        while (path := self._paths.get()) is not None:
            url = self.url
            failure = ping(url, path) if url else ""
            if failure and not self._failure:
                log.error("heartbeat.failed", key=KEY, error=failure, hint=HINT)
            elif self._failure and not failure:
                log.info("heartbeat.recovered", key=KEY)
            self._failure = failure


def ping(url: Url, path: str) -> str:
    """Make one GET to the heartbeat's address and `path`. Return why it failed, or "". Raises nothing."""
    try:
        base = url.read() if isinstance(url, HiddenUrl) else HiddenUrl.parse(url.read_line()).url
        trust = Trust("the heartbeat's server", KEY, "the system's store")
        proxy, context = proxies.proxy_for(base), trust.context(base)
    except ValueError as error:
        return str(error)
    except ConfigError as error:
        return error.summary
    transport = httpx_deadline.Transport(limits=httpx.Limits(max_connections=1), trust=context, proxy=proxy)
    headers = {"User-Agent": f"syncd/{__version__}"}
    with httpx.Client(transport=transport, trust_env=False, timeout=DEADLINE_S, headers=headers) as client:
        try:
            with httpx_deadline.within(DEADLINE_S, at_most=MOST_BYTES), client.stream("GET", base + path) as answer:
                return "" if answer.is_success else f"HTTP {answer.status_code}"
        except (httpx.HTTPError, Malformed) as error:
            distrust = trust.distrust(error)
            return distrust.message if distrust else f"no answer ({type(error).__name__})"


__all__ = ["DEADLINE_S", "KEY", "START", "Heartbeat", "Rhythm", "ping"]
