"""Read spans of modification time, in smaller parts if the CRM does not serve one whole.

    span ─► pages
      └─ fails ─► a span of an instant long ago ─► fails too: an outage
                         └─ served ─► both halves by time, and so on ─► one second fails
                                        its refs alone ─► rows in `crm_error`, looked up by id
                                             └─ fail too ─► a gap

A span is cut only in a pass that may: its stream has failed in an earlier pass too. A gap leaves this module with the
next page that the CRM serves, so an outage leaves no gap. At the end of a span of the past an instant long ago is such
a page.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd.connector import Page, Ref, Window
from syncd.errors import OutsideWindow, Unavailable
from syncd.normalize import incoming
from syncd.passes import windows
from syncd.passes.events import Gap, reached
from syncd.passes.intake import Intake
from syncd.passes.windows import Span

CUTS = 60  # of spans in one pass of a source. About 25 find one second in a year
LONG_AGO = timedelta(days=1)  # before `start`: the smallest request there is


@dataclass(frozen=True, slots=True)
class Part:
    """One page of a span, and the gaps before it."""

    page: Page
    gaps: Sequence[Gap] = ()


@dataclass(slots=True)
class SpanReader:
    """Read the spans of one source in one pass."""

    intake: Intake
    now: Callable[[], datetime]  # the CRM's clock
    cuts_left: int = CUTS  # in this pass
    _served: bool = field(default=False)  # a request since the last failure

    def read(self, stream: str, spans: Sequence[Span], *, may_cut: bool, is_past: bool = False) -> Generator[Part]:
        """Yield the pages of `spans`, in order. Raises the CRM's error for what is left to read in a later pass.

        `is_past`: no later page can prove that gaps at the end are no outage. The smallest request then does.
        """
        left = list(reversed(spans))
        gaps: list[Gap] = []
        error: Unavailable | None = None
        while left:
            span = left.pop()
            position = span.since
            self._served = False
            try:
                for page in self._fetch(stream, span):
                    position = max(position, reached(page) or position)
                    yield Part(page, gaps)
                    gaps = []
            except Unavailable as failed:
                error = failed
                rest = Span(position, span.until)
                halves = self._cut(stream, rest, failed, may_cut=may_cut)
                if halves is not None:
                    left += reversed(halves)
                elif (part := self._refs_alone(stream, rest, failed)) is not None:
                    yield Part(part, gaps)
                    gaps = []
                else:
                    gaps.append(_gap(rest, failed))
        if gaps and error is not None:  # nothing after them was served: it may be an outage
            if not is_past or not self._serves_anything(stream):
                raise error
            yield Part(Page((), ()), gaps)

    def _cut(self, stream: str, rest: Span, error: Unavailable, *, may_cut: bool) -> tuple[Span, Span] | None:
        """Return the halves of what is left of a span, or None if it lies within a second.

        Raises `error` if the span must not be cut, or if the CRM serves nothing.
        """
        self.require_cut(stream, error, may_cut=may_cut, served=self._served)
        halves = windows.halves(rest, now=self.now())
        if halves is None and rest.until is None:
            raise error  # the newest second is not over yet
        return halves

    def require_cut(self, stream: str, error: Unavailable, *, may_cut: bool, served: bool = False) -> None:
        """Take one cut of this pass. Raises `error` if the span must not be cut, or if the CRM serves nothing.

        `served`: it has served a request of this span.
        """
        if not may_cut or error.pause_until is not None or isinstance(error, OutsideWindow) or not self.cuts_left:
            raise error
        if not served and not self._serves_anything(stream):
            raise error
        self.cuts_left -= 1

    def _serves_anything(self, stream: str) -> bool:
        at = self.intake.source.config.start - LONG_AGO
        try:
            for _ in self.intake.connector.fetch(stream, Window(at, at, _none)):
                self.intake.channel.exit_if_stopping()
        except OutsideWindow:
            return True
        except Unavailable as error:
            if error.pause_until is not None:
                raise
            return False
        return True

    def _refs_alone(self, stream: str, span: Span, error: Unavailable) -> Page | None:
        """Return a page of the refs of a span, all unserved. None if they cannot be read either."""
        refs: dict[str, Ref] = {}
        try:
            for page in self.intake.connector.fetch(stream, Window(span.since, span.until, _none)):
                self.intake.channel.exit_if_stopping()
                refs |= {ref.crm_id: ref for ref in incoming.page(page).refs}
        except Unavailable as failed:
            if failed.pause_until is not None:
                raise
            return None
        unserved = dict.fromkeys(refs, error.message)
        return Page(sorted(refs.values(), key=lambda ref: ref.modified_at), (), unserved=unserved)

    def _fetch(self, stream: str, span: Span) -> Iterator[Page]:
        window = Window(span.since, span.until, self.intake.needed(stream))
        for page in self.intake.connector.fetch(stream, window):
            self._served = True
            yield incoming.page(page)


def _none(refs: Sequence[Ref]) -> Sequence[str]:
    """Read no record in full."""
    return ()


def _gap(span: Span, error: Unavailable) -> Gap:
    assert span.until is not None
    return Gap(*windows.whole_seconds(span.since, span.until), error.message)


__all__ = ["Part", "SpanReader"]
