"""Read calls and emails of one HubSpot portal, by search on modification time.

    search ──► gather ──► Related.hydrate ──► Page          what the engine reads
    (keyset)   (1,000s)   (associations, contacts, companies, owners, labels)

Only `wire` knows the SDK. It is imported for the first request.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, ClassVar

from connectors.hubspot import mapping
from connectors.hubspot.by_address import records_of
from connectors.hubspot.check import COST, check
from connectors.hubspot.client import Client
from connectors.hubspot.config import HubSpotConfig, HubSpotStream
from connectors.hubspot.portal import Portal, zone_of
from connectors.hubspot.properties import NamedProperties
from connectors.hubspot.redacted import Redaction
from connectors.hubspot.related import BATCH_INPUTS, Related, Row
from connectors.hubspot.retry import CHANGED
from connectors.hubspot.scope import DISTINGUISHED, scope
from connectors.hubspot.search import TIME, SearchPage, Step, between, gather, read_ref, search_body, search_page, walk
from connectors.hubspot.tally import Tallies
from syncd.activity import Draft, Owner
from syncd.connector import Context, Finding, Page, Record, Ref, Scope, SourceConfig, Stream, Window
from syncd.errors import Malformed, SyncdError, Unavailable
from syncd.fields import from_ms, to_ms
from syncd.isolation import AdaptiveSize, Budget, TriedSize

PROPERTIES = {"calls": mapping.CALLS, "emails": mapping.EMAILS}


class HubSpot:
    """Read one portal."""

    Config: ClassVar[type[SourceConfig]] = HubSpotConfig
    streams: tuple[Stream, ...] = (Stream("calls", "call"), Stream("emails", "email"))
    requests_per_1000 = COST

    def __init__(self, config: HubSpotConfig, context: Context) -> None:
        self._config = config
        self._store = context.store
        self._client = Client(config, context, zone=lambda: zone_of(context.store))
        self._portal = Portal(self._client, context.store, base_url=config.base_url)
        self._rules: dict[str, HubSpotStream] = {"calls": config.calls, "emails": config.emails}
        self._names = {stream: requested(stream, rules) for stream, rules in self._rules.items()}
        self._named = NamedProperties(self._client, context.store, self._rules, PROPERTIES, source=context.source)
        self._tallies = Tallies(context.store, self._rules, DISTINGUISHED)
        self._redaction = Redaction(self._client, context.store, time.monotonic)
        self._related = self._new_related(Budget())
        self._look_ups = Budget()  # of requests that isolate
        self._rows: dict[str, TriedSize] = {}  # of the search pages of each stream
        self._paged = False

    def identity(self) -> str | None:
        """Return the portal's id. None if the token may not read it."""
        return self._portal.identity()

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield the records modified within `window`, in at least one page, which names the window's end.

        The next group is searched for while one is hydrated. A failed search ends the window, but the pages read
        before it are yielded first, because the same search may fail in every pass. Closing this generator waits for
        the requests in flight, and cancels the others. Raises Unavailable, Malformed, Unauthorized or Stopped.
        """
        self._named.require()
        failures: list[Unavailable] = []
        steps = walk(
            lambda *query: self._search(stream, *query),
            since=to_ms(window.since),
            until=lambda: self._until(window),
        )
        abandoned: Future[None] = Future()
        hydrating = ThreadPoolExecutor(1, "hydrate", self._client.abandon_when, (abandoned,))
        try:
            page: Future[Page] | None = None
            for group in gather(self._as_far_as_possible(steps, failures), window.needed):
                ready, page = page, hydrating.submit(self._page, stream, group.refs, group.rows, window)
                if ready is not None:
                    yield self._read(ready)
            if page is not None:
                yield self._read(page)
            elif not failures:
                self._paged = True
                yield self._page(stream, (), (), window)
        finally:
            abandoned.set_result(None)
            hydrating.shutdown(cancel_futures=True)
            self._tallies.keep(stream)
        if failures:
            raise failures[0]

    def _as_far_as_possible(self, steps: Iterator[Step], failures: list[Unavailable]) -> Iterator[Step]:
        try:
            yield from steps
        except Unavailable as error:
            if error.pause_until is not None:
                raise  # HubSpot asked for a pause
            failures.append(error)
            self._client.stop_retrying()

    def _read(self, page: "Future[Page]") -> Page:
        found = page.result()
        self._paged = True
        return found

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids` in one page, past every cache.

        A batch that cannot be read ends the look-up, but the records read before it are yielded first, because the
        same batch may fail in every pass.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return
        self._named.require()
        self._portal.renew()
        related = self._new_related(self._look_ups)
        kept, answered, failure = self._read_ids(related, stream, wanted)
        rows = [(read_ref(row, otherwise=self._client.server_now()), row) for row in kept.values()]
        records, withheld, unserved = self._records(related, stream, rows)
        self._paged = True
        unserved |= related.unserved(stream, answered)
        refs = [ref for ref, _ in rows if ref.crm_id not in unserved]
        missing = [crm_id for crm_id in answered if crm_id not in kept and crm_id not in unserved]
        yield Page(refs, records, missing=missing, withheld=withheld, unserved=unserved)
        if failure is not None:
            raise failure

    def _read_ids(
        self, related: Related, stream: str, wanted: Sequence[str]
    ) -> tuple[dict[str, Row], Sequence[str], Unavailable | None]:
        """Return the rows of `wanted`, the ids that HubSpot answered, and the error that ended the look-up."""
        kept: dict[str, Row] = {}
        for start in range(0, len(wanted), BATCH_INPUTS):
            try:
                kept |= related.read(stream, wanted[start : start + BATCH_INPUTS], self._names[stream])
            except Unavailable as error:
                if not start or error.pause_until is not None:
                    raise
                self._client.stop_retrying()
                return kept, wanted[:start], error
        return kept, wanted, None

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Return the draft of a call or email, or None. Unreadable if the record has no properties."""
        if stream == "calls":
            return mapping.call(record, self._config.calls)
        return mapping.email(record, self._config.emails)

    def owners(self) -> Sequence[Owner]:
        """Return the portal's owners as last read. They are requested only if this pass has read nothing."""
        known = self._portal.owners.known()
        if known is None and not self._paged:
            self._portal.owners.refresh()
            known = self._portal.owners.known()
        return tuple((known or {}).values())

    def count(self, stream: str, window: Window) -> int:
        """Return the number of records modified within `window`. HubSpot's `total` counts beyond 10,000."""
        if self._until(window) is None:
            self._client.account()  # an open window ends by HubSpot's clock, known from the first answer
        filters = between(to_ms(window.since), self._until(window))
        total = self._client.search(stream, search_body(filters, TIME, 1, (TIME,))).get("total")
        if not isinstance(total, int):
            raise Malformed(f"HubSpot, {stream} search: no total", hint=CHANGED)
        return total

    def scope(self, since: datetime) -> Scope:
        """Return the rows modified since `since` by kind, in at most 40 searches."""
        self._named.require()
        if self._client.started_at is None:
            self._client.account()  # from its answer HubSpot's clock is known
        return scope(self._client, self._rules, self._tallies, since=since, until=self._client.server_now())

    def records_of(self, address: str) -> Iterator[tuple[str, str]]:
        """Yield (stream, crm_id) of a person's calls and emails: a few searches for each page of them."""
        self._portal.owners.refresh()
        owners = [*(self._portal.owners.known() or {}).values()]
        return records_of(self._client, self._new_related(Budget()), owners, address)

    def check(self) -> list[Finding]:
        """Check token, scopes, portal and the properties that the configuration names."""
        return check(self._client, self._config, self._named)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _new_related(self, budget: Budget) -> Related:
        return Related(
            self._client, self._portal, department=self._config.department_property, rules=self._rules,
            labels=self._named.labels, budget=budget,
        )  # fmt: skip

    def _search(self, stream: str, filters: Sequence[dict[str, str]], sort: str, limit: int) -> SearchPage:
        if stream not in self._rows:
            self._rows[stream] = TriedSize(AdaptiveSize(self._store, f"search_rows.{stream}", limit))
        answer = self._client.search(stream, search_body(filters, sort, limit, self._names[stream]), self._rows[stream])
        return search_page(answer, otherwise=from_ms(int(filters[0]["value"])))

    def _until(self, window: Window) -> int | None:
        """Return the window's end in epoch ms, otherwise the pass's start. None before the first answer."""
        until = window.until or self._client.started_at
        return None if until is None else to_ms(until)

    def _page(self, stream: str, refs: Sequence[Ref], rows: Sequence[Any], window: Window) -> Page:
        self._tallies.note(stream, rows)
        until = self._until(window)
        records, withheld, unserved = self._records(self._related, stream, rows)
        end = None if until is None else from_ms(until)
        return Page(refs, records, end, withheld=withheld, unserved=unserved)

    def _records(
        self, related: Related, stream: str, rows: Sequence[tuple[Ref, Row]]
    ) -> tuple[Sequence[Record], SyncdError | None, dict[str, str]]:
        """Return the records of `rows`, why content is hidden, and by id why others have no record.

        A redacted one gets no contacts or companies until it is readable, and one that `match` does not admit none.
        """
        hidden, withheld = self._redaction.of(rows) if stream == "emails" else ((), None)
        if not rows:
            return (), withheld, {}
        whole = [(ref, row) for ref, row in rows if ref.crm_id not in hidden and self._admits(stream, row)]
        hydrated, unserved = related.hydrate(stream, whole) if whole else ([], {})
        records = {record.ref.crm_id: record for record in hydrated}
        read = [(ref, row) for ref, row in rows if ref.crm_id not in unserved]
        found = [records.get(ref.crm_id) or Record(ref, row, {"redacted": ref.crm_id in hidden}) for ref, row in read]
        return found, withheld, unserved

    def _admits(self, stream: str, row: Row) -> bool:
        """Tell whether a row may become an activity. One that does not needs nothing else."""
        rules, properties = self._rules[stream], row.get("properties")
        return not rules.match or not isinstance(properties, dict) or rules.admits(properties.get)


def requested(stream: str, rules: HubSpotStream) -> tuple[str, ...]:
    """Return the properties to request: ours, those that `rules` names, and those by which a scope tells kinds."""
    kinds = DISTINGUISHED[stream] if rules.match else ()
    return tuple(dict.fromkeys((*PROPERTIES[stream], *rules.properties, *kinds)))


__all__ = ["HubSpot", "HubSpotConfig"]
