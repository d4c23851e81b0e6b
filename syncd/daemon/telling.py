"""The one line that says how the daemon is doing, for `systemctl status` and whoever reads it; pure."""

from collections.abc import Mapping
from datetime import datetime

from syncd.engine import Outcome
from syncd.errors import SyncdError
from syncd.states import MEANINGS, State

PLACES = 160  # characters of an error's message: the line is to be read at a glance


def working(
    sources: tuple[str, ...], *, where: str, read: int, delivered: int, failure: SyncdError | None = None
) -> str:  # fmt: skip
    """Say what a pass is at, and what was amiss in the one before."""
    what = f"reading {where or ', '.join(sources)}" if sources else "sending"
    told = f"{what}: {read} read, {delivered} delivered so far" if read or delivered else what
    return f"{told}; the pass before FAILED: {_short(failure.message)}" if failure else told


def stuck(sources: tuple[str, ...], *, where: str, for_s: float) -> str:
    """Say that a pass does not go on."""
    return f"STUCK for {for_s / 60:.0f} min in {where or ', '.join(sources) or 'sending'}: see the log"


def idle(
    outcome: Outcome | None, failure: SyncdError | None, *, ended_at: datetime | None, counts: Mapping[str, int],
    next_at: datetime | None,
) -> str:  # fmt: skip
    """Say how the last pass came out, what waits, and when it goes on; times are local."""
    coming = f"next at {_time(next_at)}" if next_at else "nothing planned"
    if ended_at is None:
        return f"no pass yet; {coming}"
    waiting = ", ".join(f"{counts[state]} {state}" for state in ("pending", "incomplete", "dead") if counts.get(state))
    if failure:
        told = f"{_time(ended_at)} FAILED: {_short(failure.message)}"
    elif outcome and outcome.exit_code:
        told = f"{_time(ended_at)} ended with {int(outcome.exit_code)} ({outcome.exit_code.name.lower()})"
    else:
        told = f"{_time(ended_at)} ok" + (f", {_figures(outcome)}" if outcome else "")
    return "; ".join(filter(None, (told, waiting, coming)))


def _figures(outcome: Outcome) -> str:
    new = sum(totals.new for totals in outcome.streams.values())
    verdicts = outcome.totals.verdicts
    delivered = sum(count for verdict, count in verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)
    return f"{new} new, {delivered} delivered"


def _time(at: datetime) -> str:
    return f"{at.astimezone():%H:%M:%S}"


def _short(message: str) -> str:
    return message if len(message) <= PLACES else f"{message[: PLACES - 1]}…"
