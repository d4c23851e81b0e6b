"""Read calls and emails of one Salesforce org, by SOQL over windows of SystemModstamp.

    reading ──► Related ──► Page                what the engine reads
    (windows,   (contacts, leads,
     locators)   accounts, users)

    stream        object         which of its rows
    calls         Task           closed, and `calls.match`
    emails        EmailMessage   all
    email_tasks   Task           closed, `emails.match`, no call, and named by no EmailMessage if those are read too
    voice_calls   VoiceCall      without a Task

A task belongs to the stream that booked it first. Only `wire` knows the vendor's client. It is imported for the first
request.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from connectors.salesforce import mapping, soql
from connectors.salesforce import scope as scoping
from connectors.salesforce.by_address import records_of
from connectors.salesforce.check import COST, check
from connectors.salesforce.client import PAGE_LEAST, PAGE_MOST, Client, QueryRefused
from connectors.salesforce.config import CALLS, EMAIL_TASKS, EMAILS, VOICE_CALLS, SalesforceConfig
from connectors.salesforce.counts import Counts
from connectors.salesforce.culprits import isolated
from connectors.salesforce.mapping import EMAIL_PREFIX, TASK_PREFIX, VOICE_CALL_PREFIX
from connectors.salesforce.org import Org
from connectors.salesforce.owners import OWNER_ID, Owners, preferring
from connectors.salesforce.reading import (
    SECOND,
    Read,
    Rows,
    halves,
    read,
    unlimited_window,
    window_size,
    with_all_children,
)
from connectors.salesforce.related import Complete, Related
from connectors.salesforce.retry import CHANGED, NotServed, QueryTimeout, TooSlow
from connectors.salesforce.rules import Rules
from connectors.salesforce.schema import EMAIL, TASK, VOICE_CALL, Schema
from connectors.salesforce.seconds import read_ref
from connectors.salesforce.soql import Select
from syncd.activity import Draft, Owner
from syncd.connector import Context, Finding, Page, Record, Scope, SourceConfig, Stream, Window
from syncd.errors import Malformed, Unauthorized, Unavailable
from syncd.isolation import AdaptiveSize, TriedSize

PREFIXES = {TASK: TASK_PREFIX, EMAIL: EMAIL_PREFIX, VOICE_CALL: VOICE_CALL_PREFIX}

BAD_ID = "INVALID_QUERY_FILTER_OPERATOR"  # "invalid ID field"

T = TypeVar("T")


class BadId(Unavailable):
    """Report that Salesforce rejects one of the ids in a query."""

    is_alone = False  # the query has no other id


class Salesforce:
    """Read one org."""

    Config: ClassVar[type[SourceConfig]] = SalesforceConfig
    streams: tuple[Stream, ...] = (
        Stream(CALLS, "call", TASK), Stream(EMAILS, "email", EMAIL), Stream(EMAIL_TASKS, "email", TASK),
        Stream(VOICE_CALLS, "call", VOICE_CALL),
    )  # fmt: skip

    requests_per_1000 = COST
    _objects: ClassVar[dict[str, str]] = {stream.name: stream.object for stream in streams}

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._client = Client(config, context)
        self._org = Org(self._client, context.store, config, source=context.source)
        self._zone = ZoneInfo(config.timezone)
        self._calls = Rules.of(config.calls, occurred_at_field=config.occurred_at_field)
        self._emails = Rules.of(config.emails)
        self._owners = Owners(self._org)
        self._related: Related | None = None  # of windows; caches people from page to page
        self._tried: dict[str, TriedSize] = {}  # page sizes, by stream
        self._sizes = {stream.name: window_size(context.store, stream.name) for stream in self.streams}

    def identity(self) -> str | None:
        """Return the org's id, which each sign-in names."""
        return self._client.session().org_id

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield the records modified within `window`, in at least one page, which names the window's end."""
        until = self._until(window)
        self._client.check_quota()
        if not self._org.offers(self._objects[stream]):
            yield Page((), (), until)
            return
        _, select = self._select(stream)
        pages = read(
            lambda start, end: self._window(stream, start, end),
            lambda url: self._more(stream, url),
            lambda at: partial(self._after_id, stream, at),
            since=window.since,
            until=until,
            children=select.children,
            at_most=lambda: timedelta(seconds=self._sizes[stream].size),
            now=self._client.started_at,
        )
        for found in pages:
            refs = [*(ref for ref, _ in found.rows), *found.unread]
            needed = window.needed(refs) if refs else ()
            if refs and stream == EMAILS:
                self._org.keep_that_emails_are_read()
            yield self._page(stream, found, needed)
            if not found.last:
                self._client.check_quota()

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids`, archived ones too, past every cache."""
        self._client.check_quota()
        wanted = list(dict.fromkeys(ids))
        readable = [crm_id for crm_id in wanted if soql.is_id(crm_id)]
        missing = [crm_id for crm_id in wanted if not soql.is_id(crm_id)]
        for chunk in soql.chunks(readable):
            rows, unserved = self._by_ids(stream, chunk)
            found = {*unserved, *(ref.crm_id for ref, _ in rows)}
            missing += [crm_id for crm_id in chunk if crm_id not in found]
            records, more = self._hydrate(stream, rows, fresh=True)
            refs = [ref for ref, _ in rows if ref.crm_id not in more]
            yield Page(refs, records, missing=missing, unserved={**unserved, **more})
            missing = []
        if missing:
            yield Page((), (), missing=missing)

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Return the draft of a row. None for email drafts, open tasks, heads of series, and emails read elsewhere."""
        return preferring(self._draft(stream, record), record.related.get("owners", ()))

    def _draft(self, stream: str, record: Record) -> Draft | None:
        if stream == CALLS:
            return mapping.call(record, zone=self._zone, rules=self._calls, emails=self._emails)
        if stream == EMAIL_TASKS:
            beside_emails = self._config.reads(EMAILS)
            return mapping.email_task(
                record, zone=self._zone, rules=self._emails, calls=self._calls, beside_emails=beside_emails
            )
        if stream == EMAILS:
            return mapping.email(record, zone=self._zone, rules=self._emails)
        return mapping.voice_call(record)

    def owners(self) -> Sequence[Owner]:
        """Return the org's own users as last read."""
        return self._org.everyone()

    def count(self, stream: str, window: Window) -> int:
        """Return the number of rows in a window."""
        since, until = window.since.replace(microsecond=0), self._until(window).replace(microsecond=0)
        self._client.check_quota()
        return self._counted(stream, since, until) if since <= until and self._org.offers(self._objects[stream]) else 0

    def _counted(self, stream: str, since: datetime, until: datetime) -> int:
        try:
            answer = self._query(stream, lambda select: select.counted(since, until), divisible=until - since >= SECOND)
        except QueryTimeout:
            if until - since < SECOND:
                raise
            return sum(self._counted(stream, *half) for half in halves(since, until))
        if not isinstance(answer.get("totalSize"), int):
            raise Malformed(f"Salesforce, {stream}: a count without a total", hint=CHANGED)
        return int(answer["totalSize"])

    def records_of(self, address: str) -> Iterator[tuple[str, str]]:
        """Yield (stream, crm_id) of a person's calls and emails: up to 15 queries, and a page for 2,000 of them."""
        self._client.check_quota()
        for object_type, crm_id in records_of(self._client, self._org.schema(), address):
            yield from ((stream.name, crm_id) for stream in self.streams if stream.object == object_type)

    def check(self) -> list[Finding]:
        """Check sign-in, objects, fields and permissions."""
        read = [each for each in self.streams if self._config.reads(each.name)]
        selects = {each.name: (each.object, partial(self._select, each.name)) for each in read}
        return check(self._client, self._org, self._context.store, self._config, selects)

    def scope(self, since: datetime) -> Scope:
        """Return the org's rows by kind, and which of them are read: a dozen queries."""
        self._client.check_quota()
        schema = self._org.readable(TASK)
        counts = Counts(self._client, schema, since, max(since, self._client.server_now()))
        return scoping.count(self._client, schema, self._reads(), counts)

    def _reads(self) -> scoping.Reads:
        """Return the rules of the streams."""
        return scoping.Reads(
            self._calls.match,
            self._emails.match,
            messages=self._config.reads(EMAILS),
            tasks=self._config.reads(EMAIL_TASKS),
            voice_calls=self._config.reads(VOICE_CALLS),
            called=self._config.reads(CALLS),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _until(self, window: Window) -> datetime:
        """Return the window's upper end, otherwise the pass's start by Salesforce's clock, known from the sign-in."""
        self._client.session()
        return window.until or self._client.started_at or self._context.now()

    def _select(self, stream: str) -> tuple[Schema, Select]:
        """Return the org's schema, and the query of a stream that fits it."""
        beside_emails = stream == EMAIL_TASKS and self._config.reads(EMAILS)
        schema = self._org.readable(self._objects[stream], beside_emails=beside_emails)
        if stream == EMAILS:
            return schema, soql.emails(schema, named=self._config.emails.named)
        if stream == VOICE_CALLS:
            return schema, soql.voice_calls(schema)
        match = (self._calls if stream == CALLS else self._emails).match
        named, linkedin_field = self._config.named, self._config.linkedin_field
        return schema, soql.tasks(schema, match, named=named, linkedin_field=linkedin_field)

    def _page(self, stream: str, found: Read, needed: Collection[str]) -> Page:
        """Return the page of what was read. The rows of `unread` are read by id, except those that have changed."""
        rows = [(ref, row) for ref, row in found.rows if ref.crm_id in needed]
        refs, unserved = [ref for ref, _ in found.rows], dict[str, str]()
        if found.unread:
            rows, unserved = self._by_ids(stream, [ref.crm_id for ref in found.unread if ref.crm_id in needed])
            same = set(found.unread)
            rows = [(ref, row) for ref, row in rows if ref in same]
            kept = {*unserved, *(ref.crm_id for ref, _ in rows)}
            refs = [ref for ref in found.unread if ref.crm_id not in needed or ref.crm_id in kept]
        records, more = self._hydrate(stream, rows)
        return Page(refs, records, found.complete_until, unserved={**unserved, **more})

    def _after_id(self, stream: str, at: datetime, after: str, most: int, skip: int) -> Any:
        with self._client.isolating():
            return self._query(stream, lambda select: select.refs(at, after, most=most, skip=skip), divisible=True)

    def _more(self, stream: str, url: str) -> Any:
        """Return a further page of a window. Its size is that of the window's query."""
        rows = self._page_rows(stream)
        try:
            answer = self._client.more(url, what=stream, divisible=True)
        except (NotServed, TooSlow) as error:
            rows.failed(timed_out=isinstance(error, TooSlow))
            rows.gave_up()
            raise
        rows.served(full=not answer["done"])
        return answer

    def _page_rows(self, stream: str) -> TriedSize:
        if stream not in self._tried:
            size = AdaptiveSize(self._context.store, f"page_rows.{stream}", PAGE_MOST, PAGE_LEAST)
            self._tried[stream] = TriedSize(size)
        return self._tried[stream]

    def _window(self, stream: str, start: datetime, end: datetime) -> Any:
        """Return the first page of a window.

        The length of windows that the org is too slow for is remembered, unless one row is the cause. If two time-outs
        in a row may be an outage, the smallest request tells.
        """
        length_s = int((end - start + SECOND).total_seconds())
        if self._client.may_be_down:
            with self._client.isolating():
                self._query(stream, lambda select: select.by_ids([self._nobody(stream)]))
        try:
            rows = self._page_rows(stream)
            answer = self._query(stream, lambda select: select.window(start, end), divisible=True, rows=rows)
        except TooSlow:  # if Salesforce itself says too much, halving goes on and never ends the pass
            if length_s == 1:  # a row is too slow, so the longer windows that held it were not too long
                self._sizes[stream] = unlimited_window(self._context.store, stream)
            else:
                self._sizes[stream].was_too_much(length_s + 1)  # the halves of a window are not cut again
            raise
        self._sizes[stream].was_enough(length_s)
        return answer

    def _query(self, stream: str, build: Callable[[Select], str], **how: Any) -> Any:
        return self._fitting(stream, lambda: self._client.query(build(self._select(stream)[1]), what=stream, **how))

    def _fitting(self, stream: str, ask: Callable[[], T]) -> T:
        """Return the result of `ask`. If the org no longer fits its description, describe it again and retry once."""
        try:
            return ask()
        except QueryRefused as refused:
            if refused.error_code == BAD_ID:
                raise BadId(refused.message, hint=refused.hint) from refused
            if self._org.describe():
                return self._fitting(stream, ask)
            hint = "the acting user may need View All Data, or a permission on an object or field. Otherwise report it"
            raise Unauthorized(refused.message, hint=hint) from refused

    def _by_ids(self, stream: str, ids: Sequence[str]) -> tuple[Rows, dict[str, str]]:
        """Return the existing rows of `ids`, and why Salesforce did not serve others.

        A query that fails is halved. So one id never delays the others. An id that Salesforce rejects is not found.
        """
        unserved: dict[str, str] = {}

        def ask(some: Sequence[str]) -> Rows:
            try:
                return self._fitting(stream, lambda: self._rows_by_ids(stream, some))
            except BadId as bad:
                bad.is_alone = len(some) == 1
                raise

        def alone(crm_id: str, error: Unavailable) -> Rows:
            if not (isinstance(error, BadId) and error.is_alone):
                unserved[crm_id] = error.message
            return []

        rows: Rows = []
        for some in soql.chunks(ids):
            rows += isolated(
                some, ask, client=self._client, budget=self._org.budget, alone=alone, certain=(BadId,),
                nobody=self._nobody(stream),
            )  # fmt: skip
        return rows, unserved

    def _nobody(self, stream: str) -> str:
        return soql.no_ones_id(PREFIXES[self._objects[stream]])

    def _rows_by_ids(self, stream: str, ids: Sequence[str]) -> Rows:
        _, select = self._select(stream)

        def more(url: str) -> Any:
            return self._client.more(url, what=stream)

        answer = self._client.query(select.by_ids(ids), what=stream, divisible=True)
        rows = list(self._client.all(answer, what=stream))
        return [(read_ref(row), with_all_children(row, more, select.children)) for row in rows]

    def _hydrate(self, stream: str, rows: Rows, *, fresh: bool = False) -> Complete:
        if not rows:
            return Complete([], {})
        self._org.refresh_users()
        return self._fitting(
            stream, lambda: self._with_owners(stream, self._records(stream, rows, fresh=fresh), fresh=fresh)
        )

    def _with_owners(self, stream: str, complete: Complete, *, fresh: bool) -> Complete:
        """Return the records with the owners that the source's own fields name, if it names any."""
        if stream == VOICE_CALLS:
            return complete
        names = (self._calls if stream == CALLS else self._emails).fields.owner
        return complete if names == (OWNER_ID,) else self._owners.added(complete, names, fresh=fresh)

    def _records(self, stream: str, rows: Rows, *, fresh: bool) -> Complete:
        schema, _ = self._select(stream)
        related = self._related
        if fresh or related is None or related.schema is not schema:
            related = Related(
                self._client, self._org, schema, linkedin_field=self._config.linkedin_field, fresh=fresh,
                unbooked=self._context.unbooked,
            )  # fmt: skip
            self._related = self._related if fresh else related
        match stream:
            case "emails":
                return related.of_emails(rows)
            case "email_tasks" if self._config.reads(EMAILS) or self._org.reads_emails():
                return related.of_email_tasks(rows)
            case "voice_calls":
                return related.of_voice_calls(rows)
        return related.of_tasks(rows)


__all__ = ["Salesforce", "SalesforceConfig"]
