"""A CRM in memory whose pages take as long as a test says, and passes over several of them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from syncd.activity import Draft, Owner, Person
from syncd.connector import Context, Finding, Page, Record, Ref, Settle, Source, SourceConfig, Stream, Window
from syncd.errors import SyncdError
from syncd.ledger import LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes.control import PassControl
from syncd.passes.engine import Pass
from syncd.passes.report import PassResult
from syncd.signals import StopRequest
from tests.fake_recotap import Recotap

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOW = START + timedelta(days=60)
OURS = Owner("7", "ada.eschenfeld@lanternfield.com")
THEIRS = Person("kaya.ivorstone@amber-bolts.com", "9")
PAGE = 2  # records
RULES = Rules(own_domains=frozenset({"lanternfield.com"}))


class Crm:
    """Its records stand 20 minutes apart, so that the overlap holds one of them."""

    def __init__(self, name: str, pages: int, *, page_s: float = 0.0, **how: Any) -> None:
        self.name = name
        self.page_s = page_s
        self.identity: str | None = how.get("identity", name)
        self.refs = [
            Ref(how.get("prefix", name) + f"-{number}", START + timedelta(minutes=20 * number))
            for number in range(pages * PAGE)
        ]
        self.pages: list[str] = []  # the first id of each page served, in order
        self.readings = 0  # how often it was begun
        self.answers = threading.Event()  # cleared: it hangs before its next page
        self.answers.set()
        self.closing: list[str] = []  # the thread in which each window's generator ended
        self.before_page: Callable[[int], None] = lambda number: None
        self.source = Source(name, config(how.get("timeout", "30s")), connector(self))

    @property
    def ids(self) -> set[str]:
        return {f"{self.name}-call-{ref.crm_id}" for ref in self.refs}


def config(timeout: str) -> SourceConfig:
    return SourceConfig(connector="paced", start=START, settle=Settle(call="0s", email="0s"), timeout=timeout)


def connector(crm: Crm) -> type[Any]:
    """Return a connector for `crm`."""

    class Paced:
        Config: ClassVar[type[SourceConfig]] = SourceConfig
        streams = (Stream("calls", "call"),)

        def __init__(self, config: SourceConfig, context: Context) -> None:
            self._context = context
            crm.readings += 1

        def identity(self) -> str | None:
            return crm.identity

        def fetch(self, stream: str, window: Window) -> Iterator[Page]:
            try:
                refs = [ref for ref in crm.refs if window.since <= ref.modified_at <= (window.until or NOW)]
                for start in range(0, len(refs) or 1, PAGE):
                    yield self._page(refs[start : start + PAGE], window)
            finally:
                crm.closing.append(threading.current_thread().name)

        def _page(self, refs: Sequence[Ref], window: Window) -> Page:
            crm.before_page(len(crm.pages))
            self._context.sleep(crm.page_s)
            crm.answers.wait()
            crm.pages.append(refs[0].crm_id if refs else "")
            needed = window.needed(refs) if refs else ()
            return Page(refs, [Record(ref, {}) for ref in refs if ref.crm_id in needed])

        def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
            yield Page((), (), missing=list(ids))

        def normalize(self, stream: str, record: Record) -> Draft | None:
            at = record.ref.modified_at
            return Draft("call", at, at, title="Discovery call", owner=OURS, contacts=(THEIRS,))

        def owners(self) -> Sequence[Owner]:
            return (OURS,)

        def count(self, stream: str, window: Window) -> int:
            return len(crm.refs)

        def check(self) -> list[Finding]:
            return []

        def close(self) -> None:
            """Do nothing."""

    return Paced


class Passes:
    """Passes over some of these CRMs, with one ledger and one Recotap."""

    def __init__(self, path: Path) -> None:
        self.ledger = path / "ledger.db"
        self.recotap = Recotap()
        self.ended: list[tuple[str, SyncdError | None]] = []  # as the daemon hears it
        self.control = PassControl(self._end)
        self.on_end: Callable[[str], None] = lambda name: None

    def sync(self, *crms: Crm, stop: StopRequest | None = None) -> PassResult:
        """Make one pass."""
        with LedgerHandle(self.ledger).open() as ledger:
            return Pass(
                ledger, [crm.source for crm in crms], self.recotap, RULES, concurrency=1,
                max_age=timedelta(days=7), stop=stop, control=self.control, now=lambda: NOW,
            ).run()  # fmt: skip

    def beside(self, *crms: Crm, stop: StopRequest | None = None) -> "Beside":
        """Make one pass in another thread."""
        return Beside(lambda: self.sync(*crms, stop=stop))

    def is_balanced(self) -> bool:
        with LedgerHandle(self.ledger).reports() as glance:
            return glance.balanced()

    def new_control(self) -> None:
        """Begin another pass: a control serves one."""
        self.control = PassControl(self._end)

    def _end(self, name: str, error: SyncdError | None) -> None:
        self.ended.append((name, error))
        self.on_end(name)


class Beside:
    """A pass in another thread, and its result."""

    def __init__(self, does: Callable[[], PassResult]) -> None:
        self.result: PassResult | None = None
        self._error: BaseException | None = None
        self._does = does
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.began = time.monotonic()

    def _run(self) -> None:
        try:
            self.result = self._does()
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self._error = error

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def end(self, *, at_most: float = 20.0) -> PassResult:
        """Wait for its end."""
        self._thread.join(at_most)
        assert not self._thread.is_alive(), "the pass goes on"
        if self._error is not None:
            raise self._error
        assert self.result is not None
        return self.result


def release(*crms: Crm) -> None:
    """Let the CRMs answer that hang, and their threads end."""
    for crm in crms:
        crm.answers.set()
    for thread in threading.enumerate():
        if thread.name.startswith("read "):
            with suppress(RuntimeError):
                thread.join(10)


__all__ = ["NOW", "PAGE", "START", "Beside", "Crm", "Passes", "release"]
