"""Say in one sentence how a pass ended, and what to do next. Pure, except for `say`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from syncd import __version__, clock
from syncd.cli import printing
from syncd.errors import Exit, LedgerError
from syncd.ledger import AnyLedger
from syncd.lifecycle.states import ANSWERS, SILENCES, Verdict
from syncd.passes.report import PassResult

SHOWN = 3  # reasons
BEGINNINGS = {
    Exit.OK: "Done",
    Exit.DIED: "Done",
    Exit.SIGINT: "Stopped by you",
    Exit.SIGTERM: "Stopped by a signal",
}
REST = "look at them in Recotap, then `syncd sync` reads and sends the rest"
NOT_WHOLE = "Ended with errors"
# What to do next, by exit code.
NEXT = {
    Exit.BUG: "report the bug above. Everything else was done",
    Exit.DIED: "`syncd list --state dead` names what syncd has given up",
    Exit.UNBALANCED: "`syncd ledger recount`, because the books do not balance",
    Exit.NO_SUCH_ACTIVITY: "look the id up in the CRM. A draft or an open task is no activity",
    Exit.UNAVAILABLE: "nothing, the next pass goes on. `syncd check` shows what is out of reach",
    Exit.LEDGER: "mend the ledger's disk, then `syncd check`",
    Exit.UNAUTHORIZED: "renew the key or grant the scope that is named above, then `syncd check`",
    Exit.CONFIG: "correct the configuration as the report above says, then `syncd config check`",
    Exit.SIGINT: "`syncd sync` goes on where this one stopped",
    Exit.SIGTERM: "`syncd sync` goes on where this one stopped",
}


def say(
    ledger: AnyLedger, outcome: PassResult, seconds: float, *, code: Exit | None = None, partial: bool = False
) -> None:
    """Print the sentence on the terminal, stdout if it is one, otherwise stderr. Without a terminal print nothing.

    `code`: the command's exit code, if it is not the pass's. `partial`: the operator wanted a part of a pass.
    """
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return
    held: Mapping[str, Any] = {}
    with suppress(LedgerError), ledger.reports() as reports:
        held = reports.status(version=__version__, now=clock.now())
    sentence = told(outcome, seconds, held, code=code, partial=partial)
    if sys.stdout.isatty():
        printing.wrapped(sentence, lead="")
    else:
        printing.note(sentence)


def told(
    outcome: PassResult, seconds: float, held: Mapping[str, Any], *, code: Exit | None = None, partial: bool = False
) -> str:
    """Return the sentence. `held`: the document of `status`, or nothing if the ledger cannot be read."""
    code = outcome.exit_code if code is None else code
    beginning = BEGINNINGS.get(code, NOT_WHOLE)
    parts = [f"read {sum(each.read for each in outcome.streams.values()):,}", _sent(outcome), *_held(held)]
    following = REST if partial and code == Exit.OK else _next(code, held)
    return f"{beginning} in {_length(seconds)}: {', '.join(parts)}. Next: {following}."


def _sent(outcome: PassResult) -> str:
    """Return e.g. "sent 120 (118 created, 2 duplicate)". An activity that met no answer counts as not sent."""
    found = {each: outcome.totals.verdicts[each] for each in Verdict if each not in {*SILENCES, Verdict.BYSTANDER}}
    answers = {each: count for each, count in found.items() if count}
    sent = sum(count for each, count in answers.items() if each in ANSWERS)
    kinds = ", ".join(f"{count:,} {_words(each)}" for each, count in answers.items())
    return f"sent {sent:,} ({kinds})" if kinds else f"sent {sent:,}"


def _held(held: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the ledger holds that is not in Recotap yet."""
    states: Mapping[str, int] = held.get("activities", {})
    if waiting := states.get("incomplete", 0):
        reasons = sorted(held["reasons"]["incomplete"].items(), key=lambda each: -each[1])
        shown = [f"{reason} {count:,}" for reason, count in reasons[:SHOWN]] + ["…"] * (len(reasons) > SHOWN)
        yield f"{waiting:,} wait for data ({', '.join(shown)})"
    if pending := states.get("pending", 0):
        yield f"{pending:,} wait to be sent"


def _next(code: int, held: Mapping[str, Any]) -> str:
    states: Mapping[str, int] = held.get("activities", {})
    if code != Exit.OK:
        return NEXT.get(Exit(code), "`syncd status`")
    if states.get("incomplete", 0):
        return "`syncd list --state incomplete`"
    if states.get("pending", 0):
        return "`syncd status` shows when they are sent"
    return "nothing, or `syncd run` to let passes follow"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _length(seconds: float) -> str:
    """Return e.g. "12 s" or "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


__all__ = ["say", "told"]
