"""Learn a server's clock from the `Date` of its responses, and whether it is reliable.

`Date` has whole seconds, and a cache or a broken proxy may serve an old one. So a `Date` counts only as long as it
advances like the local clock:

    moving    it advanced as much as the local clock did between two responses
    standing  it is the same although LOOK_AGAIN_S or more have passed, so it is ignored
    unknown   there was one response, or the two came too close together, or a clock was set

A first pass of less than LOOK_AGAIN_S cannot tell. An unknown `Date` is used for windows, because a wrong end of a
window loses nothing. It is not used for anything irrevocable unless it agrees with the local clock. The last `Date` is
kept from pass to pass, so the second pass can tell.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd import clock
from syncd.http.response import served_at

AGREES_S = 300.0  # two clocks this close agree (design, promise 13)
LOOK_AGAIN_S = 3.0  # a working Date advances within this time; servers behind one address differ by a second
DRIFT = 0.1  # tolerated error of a Date, as a share of the time between responses: caches hold one for a while
SANE = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))  # a Date outside is ignored


@dataclass(frozen=True, slots=True)
class DateSample:
    """One `Date`, with its time of arrival by the local clock."""

    date: datetime  # aware UTC, whole seconds
    at: datetime  # aware UTC


@dataclass(frozen=True, slots=True)
class ClockReport:
    """One server's clock, as far as a pass knows it."""

    server: str  # its name in messages
    skew_s: float | None  # the server's clock minus the local one; None: it sent no Date
    moves: bool | None  # None: unknown

    @property
    def agrees(self) -> bool:
        """Whether the Date does not stand still and is within 5 minutes of the local clock."""
        return self.moves is not False and self.skew_s is not None and abs(self.skew_s) <= AGREES_S


class ServerClock:
    """Learn one server's clock in a pass. Safe for several threads.

    `kept` is the value of `to_keep` from an earlier pass.
    """

    def __init__(self, local: Callable[[], datetime], kept: Any = None) -> None:
        self._local = local
        self._lock = threading.Lock()
        self._before: DateSample | None = None
        self._moves: bool | None = None
        self._ahead: timedelta | None = None
        self.recall(kept)
        self._heard = False  # in this pass
        self._dated = False  # and with a Date
        self._spaced = False
        self._recheck = False  # the Date stood still compared with an earlier pass
        self._start: datetime | None = None  # of this pass, by the local clock
        self._served_start: datetime | None = None  # the same, by the server's

    def recall(self, kept: Any) -> None:
        """Load the value that an earlier pass kept. Call it before the first response."""
        self._before, self._moves, self._ahead = _read(kept)

    def now(self) -> datetime:
        """Return the time (aware UTC) by the server's clock, or by the local one until that is known."""
        return clock.later(self._local(), self.ahead)

    def certain_now(self) -> datetime:
        """Return the time for an irrevocable decision. In doubt it is the earlier of the two clocks."""
        local = self._local()
        return min(local, self.now()) if self.doubtful else self.now()

    @property
    def ahead(self) -> timedelta:
        """How far the server's clock is ahead of the local one, 0 until it is known."""
        return timedelta(0) if self._moves is False or self._ahead is None else self._ahead

    @property
    def started_at(self) -> datetime | None:
        """The start of the pass by the server's clock. The local clock counts if its Date is missing or stands still.

        None until the first response.
        """
        return self._start if self._moves is False else self._served_start

    @property
    def moves(self) -> bool | None:
        """Whether its Date advances. None until that is known."""
        return self._moves

    @property
    def doubtful(self) -> bool:
        """Whether the server disagrees with the local clock, and it is unknown if its Date advances."""
        return self._moves is None and self._ahead is not None and abs(self._ahead.total_seconds()) > AGREES_S

    def report(self, server: str) -> ClockReport | None:
        """Return the state of its clock under the name `server`. None if there was no response in this pass."""
        if not self._heard:
            return None
        ahead = self._ahead if self._dated else None
        return ClockReport(server, None if ahead is None else ahead.total_seconds(), self._moves)

    def spacing_s(self) -> float:
        """Return the seconds to wait before the next request, so that its Date shows whether it advances.

        It is above 0 at most once a pass, and only if the clock is `doubtful` or was just found to stand still.
        """
        with self._lock:
            if self._spaced or not (self.doubtful or self._recheck):
                return 0.0
            self._spaced = True
            return self._until_another_tells_s()

    def known_in_s(self) -> float:
        """Return the seconds until another response can show whether the Date advances. 0 if that is known."""
        return 0.0 if self._moves is not None else self._until_another_tells_s()

    def _until_another_tells_s(self) -> float:
        if self._before is None:
            return 0.0
        passed_s = (self._local() - self._before.at).total_seconds()
        return min(max(LOOK_AGAIN_S - passed_s, 0.0), LOOK_AGAIN_S)

    def learn(self, headers: Mapping[str, str], *, local_start: datetime, elapsed_s: float) -> None:
        """Learn from the response to a request that was sent at `local_start`.

        The pass began before the first request was sent. `Date` is the time of the response in whole seconds. Minus
        the request's duration, of which at most one second counts, it is at most two seconds too early (design 1,
        window), and too late only for a slow request.
        """
        date = _sane(served_at(headers))
        with self._lock:
            if not self._heard:
                self._heard, self._start = True, local_start
                self._served_start = local_start
                if date is not None:
                    self._served_start = date - timedelta(seconds=min(elapsed_s, 1.0))
            if date is not None:
                self._take(DateSample(date, self._local()), sent_at=local_start)

    def _take(self, heard: DateSample, *, sent_at: datetime) -> None:
        before, self._dated = self._before, True
        self._ahead = heard.date - heard.at
        if before is None or heard.date != before.date:
            if before is None or not _is_jitter(before, heard):
                self._moves, self._before = _advances(before, heard), heard
        elif heard.at < before.at:  # the local clock was set back
            self._moves, self._before = None, heard
        elif sent_at - before.at >= timedelta(seconds=LOOK_AGAIN_S):
            # Or the local clock was set within a second of the Date. Another response will tell.
            self._recheck = self._moves is not False
            self._moves, self._before = False, heard

    def to_keep(self) -> dict[str, Any] | None:
        """Return a JSON object for the next pass's `recall`. None if there was never a Date."""
        if self._before is None or self._ahead is None:
            return None
        return {
            "date": clock.text(self._before.date),
            "at": clock.text(self._before.at),
            "moves": self._moves,
            "skew_s": round(self._ahead.total_seconds(), 1),
        }


def _sane(date: datetime | None) -> datetime | None:
    return date if date is not None and SANE[0] <= date < SANE[1] else None


def _is_jitter(before: DateSample, heard: DateSample) -> bool:
    """Tell whether a Date is only so little earlier that another server behind the address explains it."""
    return timedelta(0) < before.date - heard.date < timedelta(seconds=LOOK_AGAIN_S)


def _advances(before: DateSample | None, heard: DateSample) -> bool | None:
    """Return True if a Date advanced as the local clock did. None if a clock was set, or nothing is known."""
    if before is None:
        return None
    advanced_s = (heard.date - before.date).total_seconds()
    passed_s = (heard.at - before.at).total_seconds()
    return True if abs(advanced_s - passed_s) <= LOOK_AGAIN_S + DRIFT * abs(passed_s) else None


def _read(kept: Any) -> tuple[DateSample | None, bool | None, timedelta | None]:
    """Read a value of `to_keep`. Anything else counts as nothing known."""
    try:
        heard = DateSample(clock.instant(kept["date"]), clock.instant(kept["at"]))
        return heard, {True: True, False: False}.get(kept["moves"]), timedelta(seconds=float(kept["skew_s"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, None, None


def is_confirmed(reports: Collection[ClockReport]) -> bool:
    """Tell whether at least one server's clock agrees with the local one (design, promise 13). Pure."""
    return any(each.agrees for each in reports)


def wrong_by_s(reports: Collection[ClockReport]) -> float | None:
    """Return the seconds by which the local clock is behind, if two or more servers agree on that. Otherwise None."""
    skews = [each.skew_s for each in reports if each.skew_s is not None and each.moves is not False]
    if len(skews) < 2 or max(skews) - min(skews) > AGREES_S or any(abs(skew) <= AGREES_S for skew in skews):
        return None
    return sorted(skews)[len(skews) // 2]


def complaint(report: ClockReport) -> str:
    """Return the mistake of one server's clock, or "" if none is known."""
    if report.moves is False:
        return f"the Date of {report.server} does not advance"
    if report.skew_s is None:
        return f"{report.server} sends no Date"
    if abs(report.skew_s) > AGREES_S:
        return f"the clock of {report.server} is {in_words(report.skew_s)} this machine's"
    return ""


def in_words(skew_s: float) -> str:
    """Return a difference between clocks in words, e.g. `2 h ahead of`."""
    size = abs(skew_s)
    unit, factor = next((pair for pair in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)) if size >= pair[1]), ("s", 1))
    return f"{size / factor:.3g} {unit} {'ahead of' if skew_s > 0 else 'behind'}"


__all__ = [
    "AGREES_S",
    "LOOK_AGAIN_S",
    "ClockReport",
    "ServerClock",
    "complaint",
    "in_words",
    "is_confirmed",
    "wrong_by_s",
]
