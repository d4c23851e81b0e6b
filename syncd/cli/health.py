"""`syncd health`: is the daemon alive, ready and fresh? Answered from the ledger; nothing outside is asked.

alive   a syncd holds the ledger, and the pass it is making, if any, goes on
ready   it is the daemon, and the ledger is whole
fresh   every source was read to its end, and Recotap has answered where it was sent something, within the last
        three intervals; those that pass while a pass is under way do not count, for it may be long

A restart helps what is not alive. It does not help what is not fresh: a CRM's outage, a refused key.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd import clock
from syncd.config import Config
from syncd.connector import Finding
from syncd.errors import Exit, SyncdError
from syncd.ledger import LedgerReader, chosen

PROBES = ("alive", "ready", "fresh")
INTERVALS = 3  # without a successful pass: not fresh
AHEAD = timedelta(minutes=1)  # a time that lies further ahead was booked by a clock that was wrong
STATUS = "`syncd status` shows the last error, the log says what to do"


def findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Yield one finding or more of each probe, which is its `what`. Writes nothing, asks nobody."""
    ledger = chosen(config.ledger)
    try:
        who = ledger.holder()
        with ledger.read() as glance:
            began = glance.under_way_since() if who else None
            yield _alive(config, who, glance.written_at() if began else None, now)
            yield _ready(who, balanced=glance.balanced())
            yield from _fresh(config, glance, now, began)
    except SyncdError as error:
        for probe in PROBES:
            yield Finding(probe, False, error.message, error.hint, exit_code=error.exit_code)


def document(found: Sequence[Finding]) -> dict[str, Any]:
    """Return what `syncd health --json` prints: each probe's answer, and what is wrong."""
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
        hint = "rows were removed by hand: restore a backup"
        return Finding("ready", False, "the books do not balance", hint, exit_code=Exit.UNBALANCED)
    return Finding("ready", True, "the ledger is held, and the books balance")


def _fresh(config: Config, glance: LedgerReader, now: datetime, began: datetime | None) -> Iterator[Finding]:
    """Judge as of the beginning of the pass under way; whether that goes on is what `alive` says."""
    as_of = min(now, began) if began else now
    read = glance.last_success()
    for source in config.sources:
        name, at, schedule = source.name, read.get(source.name), config.schedule_for(source)
        if at is None and began:
            yield Finding("fresh", True, f"{name} is being read for the first time")
        elif at is None:
            yield _wrong("fresh", f"{name} was never read to its end yet", STATUS)
        elif schedule.nth_after(at, INTERVALS) < as_of:
            yield _wrong("fresh", f"{name} was last read to its end at {clock.text(at)} ({schedule})", STATUS)
        elif at > now + AHEAD:
            yield _wrong("fresh", f"{name} was read at {clock.text(at)}, which is yet to come", "is the clock right?")
        else:
            yield Finding("fresh", True, f"{name} was read to its end at {clock.text(at)}")
    if glance.clock_doubted():
        yield _wrong("fresh", "no server confirms this machine's clock, so nothing settles", "`syncd check` says which")
    silent = glance.silent_since()
    if silent is None:
        yield Finding("fresh", True, "Recotap takes what it is sent")
    elif config.schedule.nth_after(silent, INTERVALS) < as_of or silent > now + AHEAD:
        yield _wrong("fresh", f"Recotap was sent activities, and has taken none since {clock.text(silent)}", STATUS)
    else:
        yield Finding("fresh", True, f"Recotap has taken nothing since {clock.text(silent)}, which is not long")


def _wrong(probe: str, message: str, hint: str) -> Finding:
    return Finding(probe, False, message, hint, exit_code=Exit.UNAVAILABLE)
