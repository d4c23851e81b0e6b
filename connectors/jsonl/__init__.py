"""Read calls and emails from JSON Lines and CSV files that another program drops into a folder.

    folder ──► Listing ──► LineReader.lines ──► group ──► Page        what the engine reads
    (stamps)   (files)     (by offset)          (1,000s)

Both streams read the same files. Each takes the lines of its kind, and `calls` also those of unknown kind.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from connectors.jsonl import mapping
from connectors.jsonl.by_address import names
from connectors.jsonl.check import check
from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.dropped import BadFile, BoundedList, bad, too_large
from connectors.jsonl.folder import Folder, Listing
from connectors.jsonl.lines import Changed, File, FileProblem, Line, LineReader, opened
from connectors.jsonl.scope import count as count_lines
from syncd.activity import Draft, Kind, Owner
from syncd.connector import Context, Finding, Page, Record, Ref, Scope, SourceConfig, Stream, Window
from syncd.errors import OutsideWindow, Unavailable, Unreadable
from syncd.fields import from_ms, to_ms

STREAMS: tuple[Stream, ...] = (Stream("calls", "call"), Stream("emails", "email"))
KINDS: dict[str, Kind] = {stream.name: stream.kind for stream in STREAMS}
PAGE = 1000  # lines, and a few more if they share a millisecond
PAGE_BYTES = 4 * 1024 * 1024
MOST_TIED = 4 * PAGE  # lines of one millisecond before a page is cut anyway, to bound memory
LOOK_AROUND = 5000  # lines between two checks for a stop
MOST_OWNERS = 10_000  # kept of one pass
MOST_LOOKED_UP = 32 * 1024 * 1024  # approximate bytes of memory for the records of one look-up
SPANS = 500  # files whose spans of lines by stream are kept
MOST_NAMED = 3  # files that one error names
PROBLEM_HINT = "`syncd check` names the first such files and the remedy of each. All other files were read"

Placed = tuple[Line, LineReader]
Problems = list[BadFile | None]  # None: nothing to report, e.g. the file has been replaced


class Jsonl:
    """Read one folder."""

    Config: ClassVar[type[SourceConfig]] = JsonlConfig
    streams: tuple[Stream, ...] = STREAMS

    def __init__(self, config: JsonlConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._streams = [stream.name for stream in STREAMS if config.reads(stream.name)]
        self._folder = Folder(config, context, self._streams)
        self._owners: dict[str | None, Owner] = {}
        self._told: tuple[Owner, ...] = ()
        self._read: set[str] = set()  # streams that this pass has read completely
        self._problems: BoundedList[BadFile] = BoundedList()  # of the current window
        self._unfound: BoundedList[BadFile] = BoundedList()  # of look-ups: files that may hold what was not found
        self._failure: Unavailable | None = None

    def identity(self) -> str | None:
        """Return the id in the done folder, which moves with the files. None before the first move."""
        return self._folder.identity()

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield the lines that arrived within `window`, in at least one page, which names the window's end.

        A file that cannot be read stays in place and does not delay the others. The last stream of a pass raises
        Unavailable, which names the file.
        """
        listing = self._folder.listing(read_only=self._context.read_only)
        until = window.until or max(self._context.now(), from_ms(listing.until))
        self._problems = BoundedList(self._unfound, listing.problems)
        if not listing.is_complete:
            self._folder.read_without_done(to_ms(window.since))
        yielded = listing.fresh
        if listing.fresh:  # an empty page first, so that stamps are committed before the first row with one
            yield Page((), (), until)
        read: list[File] = []
        for group in _grouped(self._lines(listing, stream, to_ms(window.since), to_ms(until), read)):
            yielded = True
            yield self._page(stream, group, window, until)
            self._context.sleep(0)
        self._folder.mark_read(read, stream)
        if self._failure is not None:
            raise self._failure
        if not yielded:
            yield Page((), (), until)
        self._read.add(stream)
        if self._problems and self._read.issuperset(self._streams):
            raise _unavailable(self._problems, kind=OutsideWindow)

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids` in one page: the latest line of each, in the folder or the done folder.

        It searches the newest file first and ends with the last id found. Only an id that is nowhere costs a search of
        every file. No id is missing as long as a file cannot be read. `fetch` names that file.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return
        listing = self._folder.listing(read_only=self._context.read_only)
        found, whole = self._search(listing, stream, set(wanted))
        records = [_record(*found[crm_id]) for crm_id in wanted if crm_id in found]
        missing = [crm_id for crm_id in wanted if crm_id not in found] if whole else []
        yield Page([record.ref for record in records], records, missing=missing)

    def _search(self, listing: Listing, stream: str, left: set[str]) -> tuple[dict[str, Placed], bool]:
        """Return the latest line of each id, and whether all files were searched for the others."""
        found: dict[str, Placed] = {}
        problems: Problems = [None] if not listing.is_complete else []
        weight = 0
        for file in reversed(listing.files):
            if not left:
                break
            here: dict[str, Placed] = {}
            for line, reading in self._lines_of(file, problems):
                if line.crm_id in left and line.kind == KINDS[stream]:
                    if weight > MOST_LOOKED_UP and line.crm_id not in here:
                        problems.append(None)  # the next pass looks up the others
                        break
                    weight += line.weight - (here[line.crm_id][0].weight if line.crm_id in here else 0)
                    here[line.crm_id] = line, reading
            found.update(here)
            left -= here.keys()
        for problem in filter(None, problems if left else ()):
            self._unfound.add(problem)
        return found, not problems

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Return the draft of a line. None for an unsent draft. Unreadable for a bad line."""
        return mapping.draft(KINDS[stream], record, self._config)

    def owners(self) -> Sequence[Owner]:
        """Return the owners in the lines that this pass has read."""
        if len(self._told) != len(self._owners):
            self._told = tuple(self._owners.values())
        return self._told

    def count(self, stream: str, window: Window) -> int:
        """Return the number of lines that arrived within `window`."""
        listing = self._folder.listing(read_only=True)
        until = window.until or max(self._context.now(), from_ms(listing.until))
        self._problems = BoundedList()
        count = sum(1 for _ in self._lines(listing, stream, to_ms(window.since), to_ms(until), [], read_only=True))
        if self._failure is not None:
            raise self._failure
        problems: BoundedList[BadFile] = BoundedList(listing.problems, self._problems)
        if problems:
            raise _unavailable(problems)
        return count

    def scope(self, since: datetime) -> Scope:
        """Return the lines that arrived since `since` by kind, in the folder and the done folder."""
        listing = self._folder.listing(read_only=True)
        at = to_ms(since)
        files = [file for file in reversed(listing.files) if file.end >= at]
        return count_lines((line for file in files for line, _ in self._lines_of(file, [], since=at)), self._config)

    def records_of(self, address: str) -> Iterator[tuple[str, str]]:
        """Yield (stream, crm_id) of a person's lines, in the folder and the done folder. It reads every file.

        Unavailable, after the others, if a file cannot be read.
        """
        listing = self._folder.listing(read_only=True)
        problems: Problems = []
        for file in listing.files:
            for line, reading in self._lines_of(file, problems):
                for stream in [name for name, kind in KINDS.items() if kind == line.kind]:
                    with suppress(Unreadable):
                        draft = self.normalize(stream, _record(line, reading))
                        if draft is not None and names(draft, address):
                            yield stream, line.crm_id
        unread: BoundedList[BadFile] = BoundedList(listing.problems)  # they may have been read before
        for problem in filter(None, problems):
            unread.add(problem)
        if unread:
            raise _unavailable(unread)

    def check(self) -> list[Finding]:
        """Check folder, files and mapping."""
        return check(self._config, self._folder)

    def close(self) -> None:
        """Do nothing, because nothing is held open."""

    # -- lines --------------------------------------------------------------------------

    def _lines(
        self, listing: Listing, stream: str, since: int, until: int, read: list[File], *, read_only: bool = False
    ) -> Iterator[Placed]:
        """Yield a stream's lines within the window. `read` gets each file that is read completely."""
        spans = self._spans()
        known = dict(spans)
        for file in listing.files:
            if file.stamp > until:
                break
            if file.end < since or not _meets(spans.get(_key(file), {}).get(stream), since, until):
                read.append(file)
                continue
            problems: Problems = []
            span: list[int] = []
            for line, reading in self._lines_of(file, problems, since=since, until=until):
                if line.kind == KINDS[stream]:
                    span = [span[0] if span else line.at, line.at]
                    yield line, reading
            if problems:
                told: BoundedList[BadFile] = BoundedList()
                for problem in filter(None, problems):  # none only if the file waits and was replaced
                    told.add(problem)
                if not file.waiting and (read_only or not self._folder.defer(file)):
                    self._failure = _unavailable(told)
                    return  # the watermark must not pass this file
                if file.waiting and not read_only:
                    self._folder.forget(file)
                for problem in told:
                    self._problems.add(problem)
            elif file.end <= until:
                read.append(file)
                if since <= file.stamp:
                    spans[_key(file)] = {**spans.get(_key(file), {}), stream: span}
        if spans != known:
            newest = {_key(file) for file in listing.files[-SPANS:]}
            kept = {key: span for key, span in spans.items() if key in newest}
            self._context.store.put("spans", {"of": self._mapped(), "files": kept})

    def _lines_of(
        self, file: File, problems: Problems, *, since: int | None = None, until: int | None = None
    ) -> Iterator[Placed]:
        """Yield a file's lines. A removed file has none. A file that cannot be read is a problem."""
        since, until = file.stamp if since is None else since, file.end if until is None else until
        reading = LineReader(file, self._config, since=since, until=until, pause=self._pause)
        self._pause()
        try:
            if file.size > self._config.max_file_size:
                raise too_large(self._config)
            with opened(file) as handle:
                for number, line in enumerate(reading.lines(handle), 1):
                    if number % LOOK_AROUND == 0:
                        self._pause()
                    yield line, reading
        except FileNotFoundError:  # deleted, or moved by a daemon meanwhile and therefore booked
            return
        except Changed:  # the next pass reads the other version
            problems.append(None)
        except (OSError, FileProblem) as error:
            problems.append(bad(file.name, error))

    def _pause(self) -> None:
        """Raise Stopped if the pass is to end."""
        self._context.sleep(0)

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
        """Return the first and last time of each stream's lines in each of the newest files. [] if it has none.

        This never changes, so a pass skips files without lines for it, above all files of calls for emails.
        """
        kept = self._context.store.get("spans") or {}
        return dict(kept["files"]) if kept.get("of") == self._mapped() else {}

    def _mapped(self) -> str:
        """Return a digest of the settings that decide a line's kind."""
        config = self._config
        mapped = repr((config.columns.kind, config.kind, config.delimiter, self._streams))
        return hashlib.sha256(mapped.encode()).hexdigest()[:16]


def _key(file: File) -> str:
    return f"{file.stamp}-{file.size}-{hashlib.sha256(file.name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _meets(span: Sequence[int] | None, since: int, until: int) -> bool:
    return span is None or (bool(span) and span[0] <= until and since <= span[1])


def _grouped(lines: Iterator[Placed]) -> Iterator[list[Placed]]:
    """Collect lines into pages. Lines of one millisecond stay in one page."""
    group: list[Placed] = []
    length = 0
    for placed in lines:
        full = len(group) >= PAGE or length >= PAGE_BYTES
        if full and (placed[0].at != group[-1][0].at or len(group) >= MOST_TIED):
            yield group
            group, length = [], 0
        group.append(placed)
        length += placed[0].weight
    if group:
        yield group


def _ref(line: Line) -> Ref:
    return Ref(line.crm_id, from_ms(line.at))


def _record(line: Line, reading: LineReader) -> Record:
    related: dict[str, Any] = {"file": reading.name, "line": reading.line_number(line)}
    if line.fault:
        related["fault"] = line.fault
    if reading.has_decimal_commas:
        related["decimal_comma"] = True
    return Record(_ref(line), line.row, related)


def _unavailable(problems: BoundedList[BadFile], *, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """Return the error that names files, with the remedy if they have one in common."""
    more = f" and {problems.total - MOST_NAMED} more" if problems.total > MOST_NAMED else ""
    hints = {problem.hint for problem in problems}
    hint = hints.pop() if len(hints) == 1 else PROBLEM_HINT
    return kind("; ".join(problem.message for problem in problems[:MOST_NAMED]) + more, hint=hint)


__all__ = ["Jsonl", "JsonlConfig"]
