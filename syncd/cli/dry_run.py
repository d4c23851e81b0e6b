"""Show how many activities a pass would book, by state and reason: the end of `syncd sync --dry-run`."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from syncd.cli import printing
from syncd.cli.printing import styled
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.passes.dry_run import DryRun, Foreseen
from syncd.passes.tally import Tally

NOTHING_SENT = "a dry run: nothing was written, nothing was sent"
NOTHING_NEW = "the next pass would book nothing new"


def to_json(run: DryRun) -> dict[str, Any]:
    """Return the document of `syncd sync --dry-run --json`. Of the domains and owners it has the most frequent."""
    return {
        "activities": groups(run.tally),
        "pending_already": run.waiting,
        "errors": [
            {"message": error.summary, "hint": error.hint, "exit_code": int(error.exit_code)} for error in run.errors
        ],
    }


def up_to(limit: int | None, activities: Iterable[Foreseen]) -> Iterator[Foreseen]:
    """Yield activities until `limit` of them would be sent, or all if it is None."""
    for each in activities:
        yield each
        if limit is not None and each.reading.wanted is State.PENDING:
            limit -= 1
            if not limit:
                return


def groups(tally: Tally) -> list[dict[str, Any]]:
    """Return an entry for each state and reason, in the order of the states, the greatest count first."""
    states = [*map(str, State)]
    found = [
        {
            "state": state,
            "reason": reason or None,
            "count": group.count,
            "domains": group.domains.top(),
            "owners": group.owners.top(),
        }
        for (state, reason), group in tally.groups.items()
    ]
    return sorted(found, key=lambda each: (states.index(str(each["state"])), -int(each["count"]), str(each["reason"])))


def show(document: Mapping[str, Any]) -> None:
    """Print the table on stderr, because stdout has the activities: a table on a terminal, otherwise lines."""
    if not document["activities"]:
        if not document["errors"]:  # otherwise nothing is known
            printing.note(NOTHING_NEW)
    elif sys.stderr.isatty():
        table(document["activities"])
    else:
        lines(document["activities"])
    printing.note(f"pending in the ledger already: {document['pending_already']}")
    printing.note(NOTHING_SENT)


def lines(found: list[dict[str, Any]]) -> None:
    """Print each count on a line of its own, for `grep`."""
    for each in found:
        would_be = f"would be {each['state']}" + (f" ({each['reason']})" if each["reason"] else "")
        printing.note(f"{would_be}: {each['count']}")
        for what in ("domains", "owners"):
            if each[what]:
                printing.note(f"{would_be}, {what}: {_counted(each[what])}")


def table(found: list[dict[str, Any]], console: Any = None) -> None:
    """Print the states and reasons with their meaning, and below each its most frequent domains and owners."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE, title="the next pass would book", title_justify="left")
    shown.add_column("state", no_wrap=True)
    shown.add_column("activities", justify="right", no_wrap=True)
    shown.add_column("meaning", overflow="fold")
    for each in found:
        reason = each["reason"]
        meaning = Reason.describe(reason) if reason else State.describe(each["state"])
        name = styled(each["state"], "bold")
        if reason:
            name.append("\n  ").append_text(styled(reason))
        shown.add_row(name, str(each["count"]), meaning)
        for what in ("domains", "owners"):
            if each[what]:
                shown.add_row("", "", styled(f"{what}: {_counted(each[what])}", "dim"))
    (console or Console(stderr=True)).print(shown)


def _counted(names: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in names.items())


__all__ = ["NOTHING_SENT", "groups", "lines", "show", "table", "to_json"]
