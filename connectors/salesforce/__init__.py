"""Read calls and emails of one Salesforce org, by SOQL over windows of SystemModstamp.

    reading ──► Related ──► Page                what the engine reads
    (windows,   (contacts, leads,
     locators)   accounts, users)

Calls are closed tasks of subtype Call. Emails are EmailMessages, or tasks of subtype Email if the org has no
EmailMessage. Only `wire` knows the vendor's client. It is imported for the first request.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from connectors.salesforce import mapping, soql
from connectors.salesforce.bisect import TOO_MUCH, in_halves
from connectors.salesforce.check import check
from connectors.salesforce.client import Client, QueryRefused
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.org import Org
from connectors.salesforce.reading import SECOND, Rows, halves, read, read_ref, with_all_children
from connectors.salesforce.related import Related
from connectors.salesforce.retry import CHANGED, QueryTimeout, TooSlow
from connectors.salesforce.schema import EMAIL, TASK, Schema
from connectors.salesforce.soql import Select
from connectors.salesforce.window_size import AdaptiveWindow
from syncd.activity import Draft, Owner
from syncd.connector import Context, Finding, Page, Record, SourceConfig, Stream, Window
from syncd.errors import Malformed, Unauthorized, Unavailable

CALLS, EMAILS = "calls", "emails"

BAD_ID = "INVALID_QUERY_FILTER_OPERATOR"  # "invalid ID field"

T = TypeVar("T")


class BadId(Unavailable):
    """Report that Salesforce rejects one of the ids in a query."""


class Salesforce:
    """Read one org."""

    Config: ClassVar[type[SourceConfig]] = SalesforceConfig
    streams: tuple[Stream, ...] = (Stream(CALLS, "call"), Stream(EMAILS, "email"))

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._client = Client(config, context)
        self._org = Org(self._client, context.store, config)
        self._zone = ZoneInfo(config.timezone)
        self._related: Related | None = None  # of windows; caches people from page to page

    def identity(self) -> str | None:
        """Return the org's id, which each sign-in names."""
        return self._client.session().org_id

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield the records modified within `window`, in at least one page, which names the window's end."""
        until = self._until(window)
        self._client.check_quota()
        _, select = self._select(stream)
        window_size = AdaptiveWindow(self._context.store, stream)
        pages = read(
            lambda start, end: self._window(stream, window_size, start, end),
            lambda url: self._client.more(url, what=stream),
            since=window.since,
            until=until,
            children=select.children,
            at_most=lambda: window_size.at_most,
            now=self._client.started_at,
        )
        for found in pages:
            refs = [ref for ref, _ in found.rows]
            needed = window.needed(refs) if refs else ()
            rows = [(ref, row) for ref, row in found.rows if ref.crm_id in needed]
            if refs and stream == EMAILS:
                self._org.keep_emails_from()
            yield Page(refs, self._hydrate(stream, rows), found.complete_until)
            if not found.last:
                self._client.check_quota()

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids`, archived ones too, past every cache."""
        self._client.check_quota()
        wanted = list(dict.fromkeys(ids))
        readable = [crm_id for crm_id in wanted if soql.is_id(crm_id)]
        missing = [crm_id for crm_id in wanted if not soql.is_id(crm_id)]
        for chunk in soql.chunks(readable):
            rows = self._by_ids(stream, chunk)
            found = {ref.crm_id for ref, _ in rows}
            missing += [crm_id for crm_id in chunk if crm_id not in found]
            yield Page([ref for ref, _ in rows], self._hydrate(stream, rows, fresh=True), missing=missing)
            missing = []
        if missing:
            yield Page((), (), missing=missing)

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Return the draft of a task or email message. None for email drafts, open tasks and heads of series."""
        if stream == CALLS:
            return mapping.call(record, zone=self._zone, occurred_at_field=self._config.occurred_at_field)
        if "TaskSubtype" in record.row:
            return mapping.email_task(record, zone=self._zone)
        return mapping.email(record)

    def owners(self) -> Sequence[Owner]:
        """Return the org's own users as last read."""
        return self._org.everyone()

    def count(self, stream: str, window: Window) -> int:
        """Return the number of rows in a window."""
        since, until = window.since.replace(microsecond=0), self._until(window).replace(microsecond=0)
        self._client.check_quota()
        return self._counted(stream, since, until) if since <= until else 0

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

    def check(self) -> list[Finding]:
        """Check sign-in, objects, fields and permissions."""
        return check(
            self._client,
            self._org,
            self._context.store,
            {stream: partial(self._select, stream) for stream in (CALLS, EMAILS)},
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
        source = TASK if stream == CALLS else self._org.emails_from()
        occurred_at = self._config.occurred_at_field if stream == CALLS else ""
        schema = self._org.readable(source, occurred_at_field=occurred_at)
        if source == EMAIL:
            return schema, soql.emails(schema)
        subtype = "Call" if stream == CALLS else "Email"
        return schema, soql.tasks(
            schema, subtype, occurred_at_field=occurred_at, linkedin_field=self._config.linkedin_field
        )

    def _window(self, stream: str, window_size: AdaptiveWindow, start: datetime, end: datetime) -> Any:
        try:
            answer = self._query(stream, lambda select: select.window(start, end), divisible=end - start >= SECOND)
        except TooSlow:  # if Salesforce itself says too much, halving goes on and never ends the pass
            window_size.was_too_long(end - start)
            raise
        window_size.was_enough(end - start)
        return answer

    def _query(self, stream: str, build: Callable[[Select], str], *, divisible: bool = False) -> Any:
        return self._fitting(
            stream, lambda: self._client.query(build(self._select(stream)[1]), what=stream, divisible=divisible)
        )

    def _fitting(self, stream: str, ask: Callable[[], T]) -> T:
        """Return the result of `ask`. If the org no longer fits its description, describe it again and retry once."""
        try:
            return ask()
        except QueryRefused as refused:
            if refused.error_code == BAD_ID:
                raise BadId(refused.message, hint=refused.hint) from refused
            if self._org.describe():
                return self._fitting(stream, ask)
            hint = "the acting user may need View All Data, or a permission on an object or field; otherwise report it"
            raise Unauthorized(refused.message, hint=hint) from refused

    def _by_ids(self, stream: str, ids: Sequence[str]) -> Rows:
        """Return the existing rows of `ids`.

        A query that takes too long or holds an id that Salesforce rejects is halved. So one id never delays the others.
        """

        def ask(some: Sequence[str]) -> Rows:
            return self._fitting(stream, lambda: self._rows_by_ids(stream, some))

        def alone(crm_id: str, error: Unavailable) -> Rows:
            if isinstance(error, BadId):
                return []
            raise error

        return in_halves(ids, ask, alone=alone, too_much=(*TOO_MUCH, BadId))

    def _rows_by_ids(self, stream: str, ids: Sequence[str]) -> Rows:
        _, select = self._select(stream)

        def more(url: str) -> Any:
            return self._client.more(url, what=stream)

        answer = self._client.query(select.by_ids(ids), what=stream, divisible=len(ids) > 1)
        rows = list(self._client.all(answer, what=stream))
        return [(read_ref(row), with_all_children(row, more, select.children)) for row in rows]

    def _hydrate(self, stream: str, rows: Rows, *, fresh: bool = False) -> list[Record]:
        if not rows:
            return []
        self._org.refresh_users()
        return self._fitting(stream, lambda: self._records(stream, rows, fresh=fresh))

    def _records(self, stream: str, rows: Rows, *, fresh: bool) -> list[Record]:
        schema, select = self._select(stream)
        related = self._related
        if fresh or related is None or related.schema is not schema:
            related = Related(self._client, self._org, schema, linkedin_field=self._config.linkedin_field, fresh=fresh)
            self._related = self._related if fresh else related
        return related.of_emails(rows) if select.object_type == EMAIL else related.of_tasks(rows)


__all__ = ["Salesforce", "SalesforceConfig"]
