"""Turn a document of `gather` into metrics. Pure.

The labels are `source`, `stream`, `state`, `reason`, `verdict` and few others. Their values are names of the
configuration or syncd's own words, except `kind`: a CRM's own values, of which MOST_KINDS of a source are shown. No
label holds an id, an address or a text from a CRM's error. A time that does not exist has no sample.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest as prometheus_text
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.registry import Collector

from syncd import clock
from syncd.ledger import BOUNDS, RECOTAP

Document = Mapping[str, Any]
Samples = Mapping[Any, float]  # by the values of the labels, a tuple. Any, because a Mapping is invariant in its key

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MOST_KINDS = 20  # of the rows that a source does not read. The rest is counted together
OTHER = "other"
STREAM = ("source", "stream")
STATES = ("pending", "incomplete", "delivered", "skipped", "excluded", "dead")
VERDICTS = ("created", "duplicate", "foreign_duplicate")
SINCE = ("occurred", "seen")
WHYS = ("backfill", "gap", "start")
LANE_STATES = ("held", "due", "overdue", "idle")


def exposition(document: Document, *, openmetrics: bool) -> tuple[bytes, str]:
    """Return the metrics of `document` as text, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(document))
    if openmetrics:
        return openmetrics_text(registry), OPENMETRICS_TYPE  # type: ignore[no-untyped-call]
    return prometheus_text(registry), TEXT_TYPE


class _Families(Collector):
    """Collect the metrics of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering it computes nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        return families(self._document)


def families(document: Document) -> Iterator[Metric]:
    """Yield every family of metrics of `document`."""
    yield InfoMetricFamily("syncd_build", "Version of syncd.", value={"version": document["version"]})
    yield from _ledger(document)
    yield from _activities(document)
    yield from _queue(document)
    yield _lateness(document)
    yield from _sources(document)
    yield from _pauses(document)
    yield from _recotap(document)
    yield from _passes(document)
    yield from _lanes(document)
    yield from _ranges(document)
    yield from _unread(document)


def _ledger(document: Document) -> Iterator[Metric]:
    ledger = document["ledger"]
    yield _gauge("syncd_running", "1 if a syncd holds the ledger.", _one(document["running"]))
    yield _gauge("syncd_ledger_size_bytes", "Size of the ledger and its log.", _one(ledger["bytes"]))
    yield _gauge("syncd_ledger_schema_version", "Schema version of the ledger.", _one(ledger["schema"]))
    yield _gauge("syncd_ledger_balanced", "1 if as many activities are held as were seen.", _one(document["balanced"]))
    free = _one(document["disk_free_bytes"])
    yield _gauge("syncd_ledger_disk_free_bytes", "Free space on the ledger's file system.", free)
    confirmed = _one(document["clock_confirmed"])
    yield _gauge("syncd_clock_confirmed", "0 if no server confirms this machine's clock.", confirmed)
    skew = _one(document["clock_skew_s"])
    yield _gauge("syncd_clock_skew_seconds", "How far this clock is ahead of the closest server's.", skew)


def _activities(document: Document) -> Iterator[Metric]:
    streams = [(each["source"], each["stream"]) for each in document["sources"]]
    states, verdicts, reasons = _by_state(document["activities_by_stream"], streams)
    yield _gauge("syncd_activities", "Activities by state.", states, (*STREAM, "state"))
    text = "Activities by reason. Of a pending one it is the last verdict, if that is about the activity itself."
    yield _gauge("syncd_activities_by_reason", text, reasons, (*STREAM, "state", "reason"))
    seen = {(each["source"], each["stream"]): each["seen"] for each in document["sources"]}
    yield _counter("syncd_activities_seen", "Activities ever booked.", seen, STREAM)
    yield _counter("syncd_deliveries", "Activities that Recotap has, by verdict.", verdicts, (*STREAM, "verdict"))
    changed = _one(document["changed_after_delivery"])
    yield _counter("syncd_changed_after_delivery", "Records that changed after their delivery.", changed)
    yield _gauge("syncd_twins", "Activities that are the copy of another one.", _one(document["twins"]))


def _by_state(
    counts: Iterable[Mapping[str, Any]], streams: Iterable[tuple[str, str]]
) -> tuple[Samples, Samples, Samples]:
    """Return the rows by state, those delivered by verdict, and the others by reason. Each stream has all states."""
    states: Counter[tuple[str, ...]] = Counter()
    verdicts: Counter[tuple[str, ...]] = Counter()
    reasons: Counter[tuple[str, ...]] = Counter()
    for stream in streams:
        states.update({(*stream, state): 0 for state in STATES})
        verdicts.update({(*stream, verdict): 0 for verdict in VERDICTS})
    for each in counts:
        stream, state, count = (each["source"], each["stream"]), each["state"], each["count"]
        states[*stream, state] += count
        reason = each["verdict"] if state in ("pending", "skipped") else each["reason"] or "unknown"
        if state == "delivered":
            verdicts[*stream, each["verdict"]] += count
        elif reason:
            reasons[*stream, state, reason] += count
    return states, verdicts, reasons


def _queue(document: Document) -> Iterator[Metric]:
    pending = document["pending"]
    steps = {
        ("due",): pending["due"],
        ("backing_off",): sum(pending["backing_off"].values()),
        ("refused",): pending["refused"],
    }
    yield _gauge("syncd_pending_activities", "Pending activities by their next step.", steps, ("step",))
    text = "When the pending activity that waits longest was first seen."
    yield _time("syncd_oldest_pending", text, document["oldest_pending_at"])
    yield _time("syncd_next_attempt", "When the next activity is due.", document["next_attempt_at"])
    yield _counter("syncd_posts", "POSTs to Recotap.", _one(document["posts"]["sent"]))
    yield _gauge("syncd_posts_unanswered", "POSTs without a verdict yet.", _one(document["posts"]["unanswered"]))


def _lateness(document: Document) -> Metric:
    """Return the deliveries of today by lateness. A counter may start again, and this one does so each day.

    The ledger keeps no sum, and a day leaves the ledger after 90 days, so a longer count would go down.
    """
    text = "How late activities were delivered since midnight UTC, since they occurred or were first seen."
    family = HistogramMetricFamily("syncd_delivery_lateness", text, labels=(*STREAM, "since"), unit="seconds")
    found: defaultdict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
    for each in document["lateness_today"]:
        found[each["source"], each["stream"], each["since"]][each["within"]] += each["count"]
    for stream in document["sources"]:
        for since in SINCE:
            key = (stream["source"], stream["stream"], since)
            family.add_metric(key, _cumulated(found[key]), sum_value=None)
    return family


def _cumulated(within: Mapping[int, int]) -> list[tuple[str, float]]:
    """Return the number of deliveries up to each bound. The last bound is infinity."""
    total, buckets = 0, []
    for bound in BOUNDS:
        total += within.get(bound, 0)
        buckets.append(("+Inf" if bound == BOUNDS[-1] else f"{bound}.0", float(total)))
    return buckets


def _sources(document: Document) -> Iterator[Metric]:
    known = document["sources"]
    read = {(each["source"], each["stream"]): each["last_success_at"] for each in known}
    yield _time("syncd_source_last_success", "When the stream was last read to its end.", read, STREAM)
    mark = {(each["source"], each["stream"]): each["watermark"] for each in known}
    yield _time("syncd_source_watermark", "Up to which modification time the stream was read.", mark, STREAM)
    failing = {(each["source"], each["stream"]): each["last_error"] is not None for each in known}
    yield _gauge("syncd_source_failing", "1 if the stream could not be read to its end.", failing, STREAM)
    text = "When the source ceases to be fresh: three intervals after its last success. 0 if no pass knows it."
    stale = {(name,): clock.instant(at).timestamp() if at else 0.0 for name, at in document["stale_after"].items()}
    yield _gauge("syncd_source_stale_after_timestamp_seconds", text, stale, ("source",), unit="seconds")
    low = {(name,): low for name, low in document["quota_low"].items()}
    yield _gauge("syncd_source_quota_low", "1 if only the reserve of a quota is left.", low, ("source",))
    text = "Sources with activities that the configuration lacks."
    yield _gauge("syncd_sources_removed", text, _one(len(document["sources_gone"])))


def _pauses(document: Document) -> Iterator[Metric]:
    ends = {name: pause["until"] for name, pause in document["pauses"].items()}
    names = dict.fromkeys([*document["stale_after"], *(each["source"] for each in document["sources"])])
    paused = {(name,): name in ends for name in names}
    yield _gauge("syncd_source_paused", "1 if no request goes to the CRM.", paused, ("source",))
    until = {(name,): at for name, at in ends.items() if name != RECOTAP}
    yield _time("syncd_source_pause_end", "When the pause of the source ends.", until, ("source",))
    yield _gauge("syncd_recotap_paused", "1 if no request goes to Recotap.", _one(RECOTAP in ends))
    yield _time("syncd_recotap_pause_end", "When the pause of Recotap ends.", ends.get(RECOTAP))


def _recotap(document: Document) -> Iterator[Metric]:
    known = document["recotap"]
    yield _gauge("syncd_recotap_key_refused", "1 if Recotap refuses the key.", _one(known["key_refused"]))
    failing = _one(known["last_error"] is not None)
    yield _gauge("syncd_recotap_failing", "1 if the last pass could not send.", failing)
    yield _time("syncd_recotap_silent_since", "Since when Recotap has taken nothing.", known["silent_since"])
    yield _time("syncd_recotap_last_answer", "When Recotap last answered.", known["last_answer_at"])
    yield _gauge("syncd_recotap_batch_size", "Activities in the next POST at most.", _one(known["batch"]))


def _passes(document: Document) -> Iterator[Metric]:
    passes, last = document["passes"], document["last_pass"] or {}
    ended = passes["last_end"] or {}
    yield _counter("syncd_passes", "Passes that began.", _one(passes["begun"]))
    under_way = _one(bool(last) and last["finished_at"] is None)
    yield _gauge("syncd_pass_under_way", "1 during a pass, and after a kill until the next one.", under_way)
    yield _time("syncd_last_pass_start", "When the last pass began.", last.get("started_at"))
    yield _time("syncd_last_pass_end", "When the last finished pass ended.", ended.get("finished_at"))
    code = _one(ended.get("exit_code"))
    yield _gauge("syncd_last_pass_exit_code", "Exit code of the last finished pass.", code)
    start, end = (clock.optional_instant(ended.get(key)) for key in ("started_at", "finished_at"))
    took = (end - start).total_seconds() if start and end else None
    yield _gauge("syncd_last_pass_duration_seconds", "Duration of the last finished pass.", _one(took), unit="seconds")


def _lanes(document: Document) -> Iterator[Metric]:
    """Yield the lanes of a ledger in PostgreSQL. Without lanes there is no sample. Each replica tells the same."""
    lanes = document["lanes"]
    states = Counter({(state,): 0 for state in LANE_STATES} if lanes else {})
    states.update((each["state"],) for each in lanes)
    text = "Sources of a ledger in PostgreSQL. Overdue: due for more than 2 s, and no replica has taken it."
    yield _gauge("syncd_lanes", text, states, ("state",))
    late = max((each["late_s"] for each in lanes), default=None)
    text = "For how long the most overdue lane has waited for a replica."
    yield _gauge("syncd_lanes_lateness_seconds", text, _one(late))
    alive = sum(each["is_alive"] for each in document["replicas"]) if lanes else None
    yield _gauge("syncd_replicas", "Replicas of `syncd run` that are alive.", _one(alive))


def _ranges(document: Document) -> Iterator[Metric]:
    labels = (*STREAM, "why")
    zero = {(each["source"], each["stream"], why): 0 for each in document["sources"] for why in WHYS}
    spans, left = Counter(zero), dict.fromkeys(zero, 0.0)
    for each in document["ranges"]:
        key = (each["source"], each["stream"], each["why"])
        length = (clock.instant(each["until"]) - clock.instant(each["since"])).total_seconds()
        spans[key] += 1
        left[key] += length * (1 - each["share"])
    yield _gauge("syncd_ranges", "Spans of modification time that are still to be read.", spans, labels)
    yield _gauge("syncd_ranges_unread_seconds", "Modification time still to be read.", left, labels, unit="seconds")


def _unread(document: Document) -> Iterator[Metric]:
    """Yield the rows that no stream reads. Those that look like calls or emails come first in the document."""
    rows: Counter[tuple[str, ...]] = Counter()
    kinds = Counter({(name,): 0 for name in document["stale_after"]})
    shown: Counter[str] = Counter()
    for each in document["unread"]:
        source, looks_like = each["source"], each["looks_like"] or "neither"
        shown[source] += 1
        rows[source, each["what"] if shown[source] <= MOST_KINDS else OTHER, looks_like] += each["count"]
        kinds[source,] += each["looks_like"] is not None
    text = "Rows of the last 30 days that are not read, by kind."
    yield _gauge("syncd_unread_rows", text, rows, ("source", "kind", "looks_like"))
    text = "Kinds of rows that look like calls or emails and are not read."
    yield _gauge("syncd_unread_kinds", text, kinds, ("source",))
    warnings = Counter({(name,): 0 for name in document["stale_after"]})
    warnings.update((each["source"],) for each in document["warnings"])
    yield _gauge("syncd_scope_warnings", "Warnings of the last look at the scope.", warnings, ("source",))


def _one(value: float | None) -> Samples:
    """Return the sample of a metric without labels, or none."""
    return {} if value is None else {(): value}


def _gauge(name: str, text: str, samples: Samples, labels: tuple[str, ...] = (), *, unit: str = "") -> Metric:
    unit = unit or ("bytes" if name.endswith("_bytes") else "seconds" if name.endswith("_seconds") else "")
    return _filled(GaugeMetricFamily(name, text, labels=labels, unit=unit), samples)


def _counter(name: str, text: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for labels, value in sorted(samples.items()):
        family.add_metric(labels, float(value) + 0.0)  # of a clock without skew, not -0.0
    return family


def _time(name: str, text: str, at: Mapping[Any, str | None] | str | None, labels: tuple[str, ...] = ()) -> Metric:
    """Return times in seconds since 1970. A time that does not exist has no sample."""
    found = at if isinstance(at, Mapping) else {(): at}
    known = {key: clock.instant(value).timestamp() for key, value in found.items() if value is not None}
    return _gauge(f"{name}_timestamp_seconds", text, known, labels)


__all__ = ["MOST_KINDS", "OPENMETRICS_TYPE", "TEXT_TYPE", "exposition", "families"]
