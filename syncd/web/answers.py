"""Answer the page's questions from the ledger: one at a time, in one thread, and each at most once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import structlog

from syncd import clock, metrics
from syncd.config import Config
from syncd.errors import LedgerError, NoSuchActivity
from syncd.ledger import chosen
from syncd.reporting import books, explanation, health
from syncd.reporting.times import Times
from syncd.text import LONGEST_ID
from syncd.web import view
from syncd.web.charts import DAYS
from syncd.web.render import Renderer

log = structlog.get_logger()

KEPT_S = 1.0  # an answer is given again for this long
DEADLINE_S = 10.0  # for one answer, with all those before it
PASSES = 10  # shown on the page
MANY = 20  # activities that one CRM id may name
HTML = "text/html; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
LATE = "the ledger takes too long: try again later"

T = TypeVar("T")


class Answer(NamedTuple):
    """The response to a request."""

    status: int
    body: bytes
    media_type: str


class Kept(Generic[T]):
    """Keep an answer for KEPT_S. However many ask, one computation runs at a time."""

    def __init__(self, compute: Callable[[], T], run: "Answers") -> None:
        self._compute, self._run = compute, run
        self._lock = asyncio.Lock()
        self._answer: T | None = None
        self._at = float("-inf")

    async def get(self) -> T:
        """Return the kept answer, or compute a new one."""
        async with self._lock:
            if self._answer is None or time.monotonic() - self._at >= KEPT_S:
                self._answer = await self._run.in_thread(self._compute)
                self._at = time.monotonic()
            return self._answer


class Answers:
    """Compute each answer of the page. `config` is the one in force, and may be replaced at any time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._render = Renderer()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="page")
        self._failure = ""  # the last one, which was logged
        self._page = Kept(self._compute_page, self)
        self._probes = Kept(self._compute_probes, self)
        self._metrics = {each: Kept(partial(self._compute_metrics, openmetrics=each), self) for each in (False, True)}

    @property
    def style_hash(self) -> str:
        """The digest of the page's only style, as a Content-Security-Policy names it."""
        return self._render.style_hash

    def close(self) -> None:
        """Compute nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, compute: Callable[[], T]) -> T:
        """Return the result of `compute`, which runs in the only thread that reads the ledger."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, compute)

    async def page(self) -> Answer:
        """Return the page."""
        return await self._in_time(self._page.get())

    async def metrics(self, *, openmetrics: bool) -> Answer:
        """Return the metrics for Prometheus."""
        return await self._in_time(self._metrics[openmetrics].get())

    async def probe(self, name: str) -> Answer:
        """Return 200 if the daemon is `name` (alive, ready), otherwise 503. The body tells nothing but that."""
        try:
            is_well = (await asyncio.wait_for(self._probes.get(), DEADLINE_S))[name]
        except TimeoutError:
            is_well = False
        return Answer(200, b"ok\n", PLAIN) if is_well else Answer(503, f"not {name}\n".encode(), PLAIN)

    async def activity(self, wanted: str) -> Answer:
        """Return the explanation of the activity with an id, ours or the CRM's."""
        return await self._in_time(self.in_thread(lambda: self._compute_activity(wanted.strip())))

    async def icon(self) -> Answer:
        """Return the icon of the page."""
        return Answer(200, self._render.icon, "image/svg+xml")

    def message(self, status: int, title: str, text: str) -> Answer:
        """Return a page that only says `text`."""
        return Answer(status, self._render.message(title, text), HTML)

    async def _in_time(self, answer: Awaitable[Answer]) -> Answer:
        try:
            return await asyncio.wait_for(answer, DEADLINE_S)
        except TimeoutError:
            return self.message(503, "Too slow", LATE)

    # -- in the thread ------------------------------------------------------------------

    def _compute_page(self) -> Answer:
        now, config = clock.now(), self.config
        try:
            with chosen(config.ledger).reports() as glance:
                found = books.summarized(books.document(config, glance, now), now)
                facts = view.Facts(
                    document=found, days=glance.deliveries(view.first_day(now, DAYS)), passes=glance.passes(PASSES),
                    sources=view.readings(config), now=now,
                )  # fmt: skip
            page = self._render.status(view.page(facts))
        except LedgerError as error:
            self._note(error.message, error.hint)
            return Answer(503, self._render.failure(error.message, error.hint, Times(now)), HTML)
        self._note("")
        return Answer(200, page, HTML)

    def _compute_activity(self, wanted: str) -> Answer:
        now, config = clock.now(), self.config
        if not wanted or len(wanted) > LONGEST_ID:
            return self.message(400, "Which activity?", "Give an externalActivityId, or the CRM's id of a record.")
        try:
            with chosen(config.ledger).reports() as glance:
                names = glance.find(wanted)
                if len(names) > 1:
                    return Answer(300, self._render.choice(names[:MANY]), HTML)
                document = explanation.document_of(names[0], glance, config, now)
        except NoSuchActivity as error:
            return self.message(404, "No such activity", f"{error.message}. {error.hint}.")
        except LedgerError as error:
            return Answer(503, self._render.failure(error.message, error.hint, Times(now)), HTML)
        return Answer(200, self._render.activity(view.activity(document, now)), HTML)

    def _compute_probes(self) -> dict[str, bool]:
        found = health.document([*health.findings(self.config, clock.now())])
        return {probe: bool(found[probe]) for probe in health.PROBES}

    def _compute_metrics(self, *, openmetrics: bool) -> Answer:
        try:
            with chosen(self.config.ledger).reports() as glance:
                document = metrics.gather(glance, self.config, clock.now())
        except LedgerError as error:
            self._note(error.message, error.hint)
            return Answer(503, f"{error.message}\n".encode(), PLAIN)
        body, media_type = metrics.render(document, openmetrics=openmetrics)
        return Answer(200, body, media_type)

    def _note(self, failure: str, hint: str = "") -> None:
        """Log a failure once, until it changes. "" for none."""
        if failure and failure != self._failure:
            log.warning("web.failed", error=failure, hint=hint)
        self._failure = failure


__all__ = ["Answer", "Answers"]
