"""Write the daemon's status line, e.g. for `systemctl status`. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from syncd.errors import Exit, SyncdError
from syncd.lifecycle.states import MEANINGS, State
from syncd.passes.report import PassResult
from syncd.text import fit

LANES = 4  # that a line names
PLACES = 160  # characters of an error's message, so that the line can be read at a glance


def running(
    sources: Sequence[str], *, where: str, read: int, delivered: int, failure: SyncdError | None = None
) -> str:  # fmt: skip
    """Return the line for a pass under way, with an error from an earlier one."""
    what = f"reading {where or ', '.join(sources)}" if sources else "sending"
    line = f"{what}: {read} read, {delivered} delivered so far" if read or delivered else what
    return f"{line}; before it FAILED: {_short(failure.summary)}" if failure else line


def lanes(names: Sequence[str], slots: int, *, overdue: int, failures: Mapping[str, SyncdError]) -> str:
    """Return the line of a replica: the lanes that it holds, those that wait for a free slot, and one that fails."""
    line = f"{len(names)} of {slots} slots in use"
    if names:
        line += f": {', '.join(names[:LANES])}{', …' if len(names) > LANES else ''}"
    if overdue:
        line += f"; {overdue} overdue"
    if failures:
        name, error = next(iter(failures.items()))
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        line += f"; {name}{others} FAILED: {_short(error.summary)}"
    return line


def stuck(sources: Sequence[str], *, where: str, for_s: float) -> str:
    """Return the line for a pass without progress for `for_s` seconds."""
    return f"STUCK for {for_s / 60:.0f} min in {where or ', '.join(sources) or 'sending'}: see the log"


def idle(
    outcome: PassResult | None, failure: SyncdError | None, *, ended_at: datetime | None, counts: Mapping[str, int],
    next_at: datetime | None, now: datetime,
) -> str:  # fmt: skip
    """Return the line between passes: the last result or error, another cause, the waiting activities, the next time.

    Times are local, with the date unless it is today.
    """
    coming = f"next at {_time(next_at, now)}" if next_at else "nothing planned"
    if ended_at is None:
        return f"no pass yet; {coming}"
    waiting = ", ".join(f"{counts[state]} {state}" for state in ("pending", "incomplete", "dead") if counts.get(state))
    ended = _time(ended_at, now)
    also = ""
    if failure:
        result, also = f"{ended} FAILED: {_short(failure.summary)}", _also(outcome, failure.exit_code)
    elif outcome and outcome.exit_code:
        result = f"{ended} ended with {int(outcome.exit_code)} ({outcome.exit_code.name.lower()})"
        also = _also(outcome, outcome.exit_code)
    else:
        result = f"{ended} ok" + (f", {_figures(outcome)}" if outcome else "")
    return "; ".join(filter(None, (result, also, waiting, coming)))


def _also(outcome: PassResult | None, code: Exit) -> str:
    """Return the first error of the last pass that `code` would hide, or ""."""
    others = [error for error in outcome.errors if error.exit_code != code] if outcome else []
    return f"also: {_short(others[0].summary)}" if others else ""


def _figures(outcome: PassResult) -> str:
    new = sum(totals.new for totals in outcome.streams.values())
    verdicts = outcome.totals.verdicts
    delivered = sum(count for verdict, count in verdicts.items() if MEANINGS[verdict].state is State.DELIVERED)
    return f"{new} new, {delivered} delivered"


def _time(at: datetime, now: datetime) -> str:
    local = at.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d %H:%M:%S}"


def _short(message: str) -> str:
    message = fit(message)
    return message if len(message) <= PLACES else f"{message[: PLACES - 1]}…"
