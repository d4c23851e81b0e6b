"""JSON Lines and CSV: calls and emails from a folder into which another program drops files.

    folder ──► stock ──► Reading.lines ──► group ──► Page        what the engine reads
    (stamps)   (files)   (by offset)       (1,000s)

Both streams read the same files; each takes the lines of its kind, and `calls` those of which nobody can tell.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar

from connectors.jsonl import mapping
from connectors.jsonl.check import check
from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.folder import Folder, Stock, shown
from connectors.jsonl.lines import Changed, File, Line, Reading, opened
from syncd.activity import Draft, Kind, Owner
from syncd.connector import Context, Finding, Page, Record, Ref, SourceConfig, Stream, Window
from syncd.errors import Unavailable
from syncd.values import from_ms, to_ms

STREAMS: tuple[Stream, ...] = (Stream("calls", "call"), Stream("emails", "email"))
KINDS: dict[str, Kind] = {stream.name: stream.kind for stream in STREAMS}
PAGE = 1000  # lines, and a few more where they share a millisecond
PAGE_BYTES = 4 * 1024 * 1024
MOST_TIED = 4 * PAGE  # of one millisecond, before a page is cut all the same: memory has an end
LOOK_AROUND = 5000  # lines between two looks at whether the pass is to end
MOST_OWNERS = 10_000  # kept of one pass
SPANS = 500  # files of which it is kept where they have lines of a stream
CHANGES = "a file among the done changes while it is read"
SOUND = "may syncd's user read it, and is its disk sound?"
PROBLEM_HINT = "`syncd check` tells of each file; put right, it is read in the next pass, and the others were read"

Placed = tuple[Line, Reading]


class Jsonl:
    """Read one folder."""

    Config: ClassVar[type[SourceConfig]] = JsonlConfig
    streams: tuple[Stream, ...] = STREAMS

    def __init__(self, config: JsonlConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._folder = Folder(config, context, KINDS)
        self._owners: dict[str | None, Owner] = {}
        self._told: tuple[Owner, ...] = ()
        self._read: set[str] = set()  # streams that this pass has read to their end
        self._problems: list[str] = []
        self._failure: Unavailable | None = None

    def identity(self) -> str | None:
        """Return the id that stands in the done folder: it moves with the files, wherever they are put."""
        return self._folder.identity()

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield the lines that arrived within `window`; at least one page, which tells the window's end.

        A file that cannot be read is left where it is and holds no other one up: the last
        stream of a pass ends in Unavailable, which names it.
        """
        stock = self._folder.stock(look=self._context.looks_only)
        until = window.until or max(self._context.now(), from_ms(stock.until))
        self._problems = list(stock.problems)
        yielded = stock.fresh
        if stock.fresh:  # an empty page first: stamps are committed before the first row that bears one
            yield Page((), (), until)
        read: list[File] = []
        for group in _grouped(self._lines(stock, stream, to_ms(window.since), to_ms(until), read)):
            yielded = True
            yield self._page(stream, group, window, until)
            self._context.sleep(0)
        self._folder.mark_read(read, stream)
        if self._failure is not None:
            raise self._failure
        if not yielded:
            yield Page((), (), until)
        self._read.add(stream)
        if self._problems and self._read >= KINDS.keys():
            problems, self._problems = self._problems, []
            raise Unavailable(_told(problems), hint=PROBLEM_HINT)

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids` in one page: the latest line of each, in the folder or among the done.

        It searches the newest file first and ends with the last id found; only what is
        nowhere costs a look into every file.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return
        left, found = set(wanted), {}
        problems: list[str] = []
        for file in reversed(self._folder.stock(look=self._context.looks_only).files):
            if not left:
                break
            here: dict[str, Placed] = {}
            for line, reading in self._lines_of(file, problems):
                if line.crm_id in left and line.kind == KINDS[stream]:
                    here[line.crm_id] = line, reading
            found.update(here)
            left -= here.keys()
        records = [_record(*found[crm_id]) for crm_id in wanted if crm_id in found]
        missing = [] if problems else [crm_id for crm_id in wanted if crm_id in left]
        yield Page([record.ref for record in records], records, missing=missing)
        if left and any(problems):
            raise Unavailable(_told([each for each in problems if each]), hint=PROBLEM_HINT)

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Say what a line means; every one is an activity but a draft."""
        return mapping.draft(KINDS[stream], record, self._config)

    def owners(self) -> Sequence[Owner]:
        """Return the owners whom this pass has read of."""
        if len(self._told) != len(self._owners):
            self._told = tuple(self._owners.values())
        return self._told

    def count(self, stream: str, window: Window) -> int:
        """Return how many lines arrived within `window`."""
        stock = self._folder.stock(look=True)
        until = window.until or max(self._context.now(), from_ms(stock.until))
        count = sum(1 for _ in self._lines(stock, stream, to_ms(window.since), to_ms(until), [], look=True))
        problems, self._problems = self._problems, []
        if self._failure is not None:
            raise self._failure
        if problems:
            raise Unavailable(_told(problems), hint=PROBLEM_HINT)
        return count

    def check(self) -> list[Finding]:
        """Try folder, files and mapping."""
        return check(self._config, self._folder)

    def close(self) -> None:
        """Nothing is held open."""

    # -- lines --------------------------------------------------------------------------

    def _lines(
        self, stock: Stock, stream: str, since: int, until: int, read: list[File], *, look: bool = False
    ) -> Iterator[Placed]:
        """Yield a stream's lines within the window; `read` gets each file of which nothing is left to read."""
        spans = self._spans()
        known = dict(spans)
        for file in stock.files:
            if file.stamp > until:
                break
            if file.end < since or not _meets(spans.get(_key(file), {}).get(stream), since, until):
                read.append(file)
                continue
            problems: list[str] = []
            span: list[int] = []
            for line, reading in self._lines_of(file, problems, since=since, until=until):
                if line.kind == KINDS[stream]:
                    span = [span[0] if span else line.at, line.at]
                    yield line, reading
            if problems and not file.waiting:
                if look or not self._folder.put_off(file):  # then the watermark must not go past it
                    self._failure = Unavailable(_told(problems) or CHANGES, hint=SOUND)
                    return
                self._problems += filter(None, problems)
            elif problems and look:
                self._problems += filter(None, problems)
            elif problems:
                self._folder.forget(file)
                self._problems += filter(None, problems)
            elif file.end <= until:
                read.append(file)
                if since <= file.stamp:
                    spans[_key(file)] = {**spans.get(_key(file), {}), stream: span}
        if spans != known:
            newest = {_key(file) for file in stock.files[-SPANS:]}
            kept = {key: span for key, span in spans.items() if key in newest}
            self._context.store.put("spans", {"of": self._mapped(), "files": kept})

    def _lines_of(
        self, file: File, problems: list[str], *, since: int | None = None, until: int | None = None
    ) -> Iterator[Placed]:
        """Yield a file's lines; one that is gone has none, one that cannot be read is a problem."""
        reading = Reading(
            file, self._config, since=file.stamp if since is None else since, until=file.end if until is None else until
        )
        self._context.sleep(0)
        try:
            with opened(file) as handle:
                for number, line in enumerate(reading.lines(handle), 1):
                    if number % LOOK_AROUND == 0:
                        self._context.sleep(0)
                    yield line, reading
        except FileNotFoundError:  # deleted, or moved aside by a daemon while this looks on: then it is booked
            return
        except Changed:  # it is for the next pass, as another version
            problems.append("")
        except OSError as error:
            problems.append(f"{shown(file.name)} cannot be read ({error.strerror or type(error).__name__})")

    def _page(self, stream: str, group: Sequence[Placed], window: Window, until: datetime) -> Page:
        latest = {line.crm_id: (line, reading) for line, reading in group}
        ordered = sorted(latest.values(), key=lambda placed: placed[0].at)
        refs = [_ref(line) for line, _ in ordered]
        needed = window.needed(refs)
        records = [_record(line, reading) for line, reading in ordered if line.crm_id in needed]
        for record in records:
            owner = mapping.owner(record.row, self._config.columns)
            if owner is not None and owner.email is not None and len(self._owners) < MOST_OWNERS:
                self._owners.setdefault(owner.email, owner)
        return Page(refs, records, until)

    # -- what files are known to hold ---------------------------------------------------

    def _spans(self) -> dict[str, dict[str, list[int]]]:
        """Return from when to when each of the newest files has lines of each stream; [] where it has none.

        A fact about a file that never changes, so that a pass reads none in vain: the
        emails of a file of calls, above all.
        """
        kept = self._context.store.get("spans") or {}
        return dict(kept["files"]) if kept.get("of") == self._mapped() else {}

    def _mapped(self) -> str:
        """Return what a line's kind depends on."""
        config = self._config
        mapped = repr((config.columns.kind, config.kind, config.delimiter))
        return hashlib.sha256(mapped.encode()).hexdigest()[:16]


def _key(file: File) -> str:
    return f"{file.stamp}-{file.size}-{hashlib.sha256(file.name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _meets(span: Sequence[int] | None, since: int, until: int) -> bool:
    return span is None or (bool(span) and span[0] <= until and since <= span[1])


def _grouped(lines: Iterator[Placed]) -> Iterator[list[Placed]]:
    """Gather lines into pages, so that a millisecond's stand in one."""
    group: list[Placed] = []
    length = 0
    for placed in lines:
        full = len(group) >= PAGE or length >= PAGE_BYTES
        if full and (placed[0].at != group[-1][0].at or len(group) >= MOST_TIED):
            yield group
            group, length = [], 0
        group.append(placed)
        length += placed[0].length
    if group:
        yield group


def _ref(line: Line) -> Ref:
    return Ref(line.crm_id, from_ms(line.at))


def _record(line: Line, reading: Reading) -> Record:
    related = {"file": shown(reading.file.name), "line": reading.lines_before + line.number}
    return Record(_ref(line), line.row, {**related, "fault": line.fault} if line.fault else related)


def _told(problems: Sequence[str]) -> str:
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


__all__ = ["Jsonl", "JsonlConfig"]
