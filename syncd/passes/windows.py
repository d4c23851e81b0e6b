"""Choose the window of modification times that a pass reads of one stream. Pure."""

from datetime import datetime, timedelta

SWEEP_EVERY = timedelta(days=1)
SWEEP_REACH = timedelta(hours=24)  # how far a sweep reaches back before the previous one
FIRST_SWEEP_REACH = timedelta(hours=48)


def window_since(
    *,
    start: datetime,
    overlap: timedelta,
    watermark: datetime | None,
    swept_at: datetime | None,
    sweep: bool,
    now: datetime,
) -> datetime:
    """Return the lower end of the window to read. A sweep reaches further back, but never before `start`."""
    if watermark is None:
        return start
    since = watermark - overlap
    if sweep:
        # A sweep in the future was booked by a wrong clock: its reach is unknown.
        unknown = swept_at is None or swept_at > now + SWEEP_EVERY
        reach = now - FIRST_SWEEP_REACH if unknown or swept_at is None else swept_at - SWEEP_REACH
        since = min(since, reach)
    return max(start, since)


def sweep_due(*, swept_at: datetime | None, now: datetime) -> bool:
    """Tell whether the daily sweep is due: once a day, and at once if there was none yet.

    It is also due if the last one is dated tomorrow or later: a wrong clock booked that.
    """
    return swept_at is None or abs(now - swept_at) >= SWEEP_EVERY
