"""Log to stderr: readable text on a terminal, otherwise JSON lines, with priorities under journald.

    log = structlog.get_logger()
    log.info("pull.finished", source="hubspot", stream="calls", seen=12)

Events are `noun.verb`, facts are keys. Text adds each event's words. Every line, including a library's, passes through
`redact_value`.
"""

import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, TimeStamper, add_log_level

from syncd.privacy.redaction import describe, redact, redact_value, register_secret
from syncd.text import fit

Event = MutableMapping[str, Any]

LONGEST = 4000  # characters of one value in a log line
MARGIN = 8192  # no secret is longer
WIDEST = 50  # characters of an event and its words, after which its facts begin

# The numbers of syslog(3), which journald reads from the start of a line.
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

# What each event is, in plain words. deploy/LOG.md has the same table.
WORDS = {
    # a pass
    "pass.recovered": "the last pass was cut short",
    "pass.finished": "the pass is over",
    "pass.failed": "the pass could not be made",
    "pass.stuck": "the pass makes no progress",
    "pass.bug": "a bug ended the pass",
    # reading a CRM
    "pull.finished": "a stream was read",
    "pull.failed": "a stream could not be read",
    "pull.paused": "a source is not read for now",
    "pull.gave_way": "a source lets another one go first",
    "pull.bug": "a bug while a source was read",
    "page.booked": "a page of records is in the ledger",
    "window.uncounted": "the records of a stream were not counted",
    "records.unserved": "the CRM does not serve some records",
    "look_ups.late": "a CRM takes too long to look records up",
    "range.added": "an earlier start adds a span to read",
    "range.failed": "a span of the past could not be read",
    "gaps.open": "a CRM does not serve some spans of time",
    "rule.changed": "the rules of a stream have changed",
    "history.flooded": "far more old activities than usual",
    "scope.counted": "the CRM's rows were counted by kind",
    "scope.warned": "some rows of the CRM look misread",
    "scope.failed": "the CRM's rows could not be counted",
    "scope.bug": "a bug while the CRM's rows were counted",
    # sending to Recotap
    "push.finished": "activities were sent to Recotap",
    "push.failed": "sending to Recotap has stopped",
    "push.unanswered": "Recotap gave no readable answer",
    "push.foreign": "Recotap had activities that syncd never sent",
    "post.settled": "Recotap's answer is in the ledger",
    "post.withheld": "a POST was withheld: the lease may be over",
    "destination.pinned": "from now on the ledger delivers only there",
    "key.accepted": "Recotap accepts the new key",
    "backfill.pass_finished": "a pass of the backfill is over",
    "adoption.began": "the deliveries of a lost ledger are taken over",
    "adoption.ended": "an adoption is over",
    # the books, the configuration, the clock
    "books.unbalanced": "the books do not balance",
    "books.recounted": "the kept counts differed from the rows",
    "ledger.gone": "the ledger's file is gone",
    "ledger.rewound": "the ledger went back to an earlier state",
    "source.back": "a source is configured again",
    "source.gone": "a source is no longer configured",
    "source.aged": "activities of a removed source were given up",
    "config.found": "the configuration was found",
    "config.read": "the configuration was read again",
    "config.in_force": "the new configuration is in force",
    "config.refused": "the new configuration is wrong",
    "config.problem": "a mistake in the configuration",
    "keys.changed": "a refused key was replaced",
    "clock.off": "a server's clock differs from this machine's",
    "clock.unconfirmed": "no server confirms this machine's clock",
    "clock.behind": "this machine's clock is not set yet",
    "clock.set": "this machine's clock was set",
    # alerts and the heartbeat
    "alert.began": "a condition needs somebody",
    "alert.ended": "the condition is over",
    "alert.failed": "an address takes no alert",
    "alert.recovered": "the address takes alerts again",
    "alert.unsaved": "the ledger did not keep the alerts",
    "alert.bug": "a bug while conditions were checked",
    "heartbeat.failed": "the heartbeat is not taken",
    "heartbeat.recovered": "the heartbeat is taken again",
    # the daemon
    "run.started": "the daemon runs",
    "run.stopping": "the daemon stops",
    "run.left": "the daemon ends with a request open",
    "run.finished": "the daemon has ended",
    "lane.taken": "a pass over one source begins",
    "lane.lost": "another replica has the source now",
    "lanes.cut_off": "no source can be taken",
    "lanes.back": "sources can be taken again",
    "tick.skipped": "a pass was due while one was under way",
    "web.started": "the status page can be read",
    "web.failed": "the status page cannot read the ledger",
    "web.bug": "a bug in the status page",
    "web.ended": "the status page has ended",
    "operator.asked": "an operator asked for a pass",
    "library.said": "a message of a library",
}


def configure(verbose: bool = False, stream: TextIO | None = None, *, as_json: bool | None = None) -> None:
    """Send all logs, including libraries' warnings, to `stream` (default stderr). `verbose` adds debug lines.

    Without `as_json`, a terminal gets text and anything else JSON. It may be called again. The last call counts.
    """
    stream = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, add_log_level, *_dress(stream, as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unbreakable(stream))),
        cache_logger_on_first_use=False,  # a module's logger must follow a later configure
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Foreign)]:
        root.removeHandler(handler)
    root.addHandler(_Foreign())
    root.setLevel(logging.WARNING)  # below that, urllib3 and httpx log URLs


class _Unbreakable:
    """A stream that ignores its failures: a full disk or a closed pipe must not stop a pass."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _dress(stream: TextIO, as_json: bool | None) -> list[structlog.typing.Processor]:
    """Return the processors that turn an event into a line fit for `stream`."""
    on_terminal = stream.isatty()
    as_json = not on_terminal if as_json is None else as_json
    colors = on_terminal and "NO_COLOR" not in os.environ
    pretty = ConsoleRenderer(colors=colors, exception_formatter=plain_traceback, pad_event_to=WIDEST)
    render: structlog.typing.Processor = JSONRenderer() if as_json else _in_words(pretty)
    if _is_journal(stream):
        return [_render_exception, _redact, _with_priority(render)]
    brief = on_terminal and not as_json
    clock = TimeStamper(fmt="%H:%M:%S", utc=False) if brief else TimeStamper(fmt="iso")
    return [clock, _render_exception, _redact, render]


def _in_words(render: structlog.typing.Processor) -> structlog.typing.Processor:
    def worded(logger: Any, method: str, event: Event) -> Any:
        words = WORDS.get(str(event.get("event")))
        return render(logger, method, {**event, "event": f"{event['event']}: {words}"} if words else event)

    return worded


def _is_journal(stream: TextIO) -> bool:
    """Tell whether `stream` is the one that systemd connected. It may have been redirected to a file since."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _with_priority(render: structlog.typing.Processor) -> structlog.typing.Processor:
    def prefixed(logger: Any, method: str, event: Event) -> str:
        priority = PRIORITIES.get(event.get("level", ""), 6)  # text takes the level out of the event
        return f"<{priority}>{render(logger, method, event)!s}"

    return prefixed


def _redact(_logger: Any, _method: str, event: Event) -> Event:
    """Remove private data, then characters that a terminal would obey. Only a traceback keeps its lines."""
    return {
        fit(str(key)): _lines(redact(str(value))) if key == "exception" else _fit(redact_value(_cut(value)))
        for key, value in event.items()
    }


def _cut(value: Any) -> Any:
    """Truncate a text before it is searched. MARGIN keeps a secret whole that begins in the visible part."""
    return value[: LONGEST + MARGIN] if isinstance(value, str) else value


def _fit(value: Any) -> Any:
    """Clean every text in a value that `redact_value` returned."""
    if isinstance(value, str):
        return fit(value, LONGEST)
    if isinstance(value, dict):
        return {fit(key): _fit(item) for key, item in value.items()}
    return [_fit(item) for item in value] if isinstance(value, list) else value


def _lines(text: str) -> str:
    """Clean a traceback line by line."""
    return "\n".join(f"{line[: len(line) - len(line.lstrip(' '))]}{fit(line)}" for line in text.split("\n"))


def _render_exception(_logger: Any, _method: str, event: Event) -> Event:
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    elif error and not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if error:
        event["exception"] = render(error)
    return event


def render(error: BaseException) -> str:
    """Return the traceback of `error` and its causes. It shows code lines, never a variable's value.

    The message of an exception that may quote a record is left out.
    """
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{render(earlier)}\n\nwhich led to\n\n" if earlier else ""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{before}{frames}{describe(error)}"


class _Foreign(logging.Handler):
    """Pass on libraries' records of the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's broken format string must not break a pass
            message = "a message that cannot be formatted"
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        facts = {"logger": record.name, "message": message, "exc_info": record.exc_info}
        structlog.get_logger().log(level, "library.said", **facts)


__all__ = ["WORDS", "configure", "register_secret", "render"]
