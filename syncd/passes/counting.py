"""Count the records that are about to be read, for a person who waits."""

from collections.abc import Callable, Iterable

import structlog

from syncd.connector import Connector, Window
from syncd.errors import Stopped
from syncd.passes.events import Counted, Event
from syncd.passes.windows import Span

log = structlog.get_logger()


def records(connector: Connector, stream: str, spans: Iterable[Span]) -> int:
    """Return the number of a stream's records that were modified within `spans`. Raises as `Connector.count`."""
    return sum(connector.count(stream, Window(each.since, each.until, lambda refs: ())) for each in spans)


def announce(connector: Connector, stream: str, spans: Iterable[Span], send: Callable[[Event], None]) -> None:
    """Send the number of records of a window. If it cannot be counted, the window is read all the same."""
    try:
        send(Counted(stream, records(connector, stream, spans)))
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001 - a connector may raise anything, and reading will tell
        log.debug("window.uncounted", stream=stream, error=type(error).__name__)


__all__ = ["announce", "records"]
