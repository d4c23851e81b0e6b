"""Report from the ledger whether the daemon is alive, ready and fresh: `syncd health`.

alive   a syncd holds the ledger, and its pass, if any, makes progress
ready   it is the daemon, and the ledger is whole
fresh   within the last three intervals of its own every source was read to its end, and Recotap took the activities
        sent to it. A source in its first import has three intervals for it. Those shorter than a minute are a minute

If it is not alive, a restart helps. If it is not fresh, a restart does not: a CRM's outage, a refused key.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.config import Config
from syncd.connector import Finding
from syncd.errors import Exit, SyncdError
from syncd.ledger import FIRST_DUE, LedgerReader, chosen
from syncd.lifecycle.remedies import ROWS_GONE
from syncd.types.schedule import MISSED, Schedule

PROBES = ("alive", "ready", "fresh")
LEAST = timedelta(minutes=1)  # a shorter silence is never reported
AHEAD = timedelta(minutes=1)  # a time further ahead was booked by a wrong clock
STATUS = "`syncd status` shows the last error, the log a remedy"
LONG = "`syncd status` shows its watermark and its last error. Without an error it goes on by itself"


def findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Yield one finding or more for each probe, which is its `what`. No write, no request."""
    ledger = chosen(config.ledger)
    try:
        who = ledger.holder()
        with ledger.read() as glance:
            began = glance.under_way_since() if who else None
            yield _alive(config, who, glance.written_at() if began else None, now)
            yield _ready(who, balanced=glance.balanced())
            yield from _fresh(config, glance, now, began, held=who is not None)
    except SyncdError as error:
        for probe in PROBES:
            yield Finding(probe, False, error.message, error.hint, exit_code=error.exit_code)


def document(found: Sequence[Finding]) -> dict[str, Any]:
    """Return the document of `syncd health --json`: each probe's answer, and the problems."""
    answers = {probe: all(f.ok for f in found if f.what == probe) for probe in dict.fromkeys(f.what for f in found)}
    wrong = [{"probe": f.what, "message": f.message, "hint": f.hint} for f in found if not f.ok]
    return {**answers, "problems": wrong}


def _alive(config: Config, who: str | None, still_since: datetime | None, now: datetime) -> Finding:
    if who is None:
        return _wrong("alive", f"no syncd holds the ledger at {chosen(config.ledger)}", "start `syncd run`")
    patience = config.schedule.stuck_after
    if still_since is not None and now - still_since > patience:
        message = f"{who} has made no progress in its pass since {clock.text(still_since)}"
        return _wrong("alive", message, "restart it: nothing is lost")
    return Finding("alive", True, who)


def _ready(who: str | None, *, balanced: bool) -> Finding:
    if who is None or not who.startswith("`syncd run`"):
        return _wrong("ready", f"the daemon does not hold the ledger ({who or 'nobody does'})", "start `syncd run`")
    if not balanced:
        return Finding("ready", False, "the books do not balance", ROWS_GONE, exit_code=Exit.UNBALANCED)
    return Finding("ready", True, "the ledger is held, and the books balance")


def _fresh(
    config: Config, glance: LedgerReader, now: datetime, began: datetime | None, *, held: bool
) -> Iterator[Finding]:
    """Judge each source by itself, whatever pass is under way. One that is due waits for no other one.

    Recotap is compared with the start of the pass under way, if any. `alive` tells whether that pass makes progress.
    """
    as_of = min(now, began) if began else now
    yield from (finding for _, finding in sources(config, glance, now, began, held=held))
    if glance.clock_doubted():
        message = "no server confirms this machine's clock, so nothing settles"
        yield _wrong("fresh", message, "`syncd check` names the wrong clock")
    silent = glance.silent_since()
    if silent is None:
        yield Finding("fresh", True, "Recotap takes what it is sent")
    elif config.schedule.nth_after(silent, MISSED) < as_of or silent > now + AHEAD:
        yield _wrong("fresh", f"Recotap was sent activities, and has taken none since {clock.text(silent)}", STATUS)
    else:
        yield Finding("fresh", True, f"Recotap has taken nothing since {clock.text(silent)}, which is not long")


def sources(
    config: Config, glance: LedgerReader, now: datetime, began: datetime | None, *, held: bool
) -> Iterator[tuple[str, Finding]]:
    """Yield each source's name, and whether it is fresh. `began`: the pass under way, in a ledger that is `held`."""
    unread = {(source.name, stream.name) for source in config.sources for stream in source.unread}
    read, due = glance.last_success(unread), glance.kept(FIRST_DUE, [source.name for source in config.sources])
    for source in config.sources:
        name, at, schedule = source.name, read.get(source.name), config.schedule_for(source)
        if at is None:
            since = clock.optional_instant(due.get(name)) or began
            yield name, _unread(name, since if held else None, schedule, now)
        elif is_late(at, schedule, now):
            yield name, _wrong("fresh", f"{name} was last read to its end at {clock.text(at)} ({schedule})", STATUS)
        elif at > now + AHEAD:
            message = f"{name} was read at {clock.text(at)}, in the future"
            yield name, _wrong("fresh", message, "check this machine's clock")
        else:
            yield name, Finding("fresh", True, f"{name} was read to its end at {clock.text(at)}")


def _unread(name: str, since: datetime | None, schedule: Schedule, now: datetime) -> Finding:
    """Judge a source that was never read to its end, and whose first import is under way `since` then, if at all."""
    if since is None:
        return _wrong("fresh", f"{name} was never read to its end", STATUS)
    if is_late(since, schedule, now) or since > now + AHEAD:
        return _wrong("fresh", f"{name} is in its first import since {clock.text(since)} ({schedule})", LONG)
    return Finding("fresh", True, f"{name} is in its first import since {clock.text(since)}")


def is_late(since: datetime, schedule: Schedule, now: datetime) -> bool:
    """Tell whether `since` is more than three intervals of `schedule` ago. Those shorter than a minute are a minute."""
    return schedule.late_after(since, LEAST) < now


def _wrong(probe: str, message: str, hint: str) -> Finding:
    return Finding(probe, False, message, hint, exit_code=Exit.UNAVAILABLE)
