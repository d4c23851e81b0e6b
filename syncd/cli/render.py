"""Print the books and one activity's history for people."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from syncd.cli.printing import styled
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import UNDER_WAY, State, Verdict
from syncd.text import visible

CLOCK = (
    "no server confirms this machine's clock: until one does, nothing dies, and nothing is sent because it has "
    "settled. `syncd check` compares all clocks"
)

UNREAD = 10  # kinds of rows that are not read, each in a line of its own
TWINS = "the same call or email as an earlier one, under another id (rules.same_activity)"
SECONDS = "2026-10-05T09:00:00Z"  # the form of a time in a table


def status(document: dict[str, Any], console: Console | None = None) -> None:
    """Print the document of `syncd status`."""
    console = console or Console()
    activities(document, console)
    console.print(_streams(document))
    for each in document["sources"]:
        if each["last_error"]:
            console.print(styled(f"last error: {each['source']} {each['stream']}: {each['last_error']}"))
    if document["twins"]:
        console.print(styled(f"{TWINS}: {document['twins']}"))
    if document.get("adoption"):
        console.print(styled(adoption(document["adoption"])))
    for each in document["ranges"]:
        console.print(styled(_range(each)))
    for line in unread(document.get("unread", [])):
        console.print(styled(line))
    for each in document.get("warnings", []):
        console.print(styled(f"warning: {each['source']}: {each['message']}"))
    last = document["last_pass"]
    if last:
        console.print(styled(f"last pass: began {last['started_at']}, {_ended(last)}"))
    if document["recotap"]["last_error"]:
        console.print(styled(f"last error: Recotap: {document['recotap']['last_error']}"))
    for name, pause in document["pauses"].items():
        console.print(styled(f"pause: {name.removeprefix('@')} until {pause['until']}: {pause['reason']}"))
    if document["next_attempt_at"]:
        console.print(styled(f"next attempt or look-up: {document['next_attempt_at']}"))
    if not document["clock_confirmed"]:
        console.print(styled(CLOCK))
    if not document["balanced"]:
        console.print("[bold red]the books do not balance[/]: rows were removed by hand; restore a backup")


def unread(found: list[dict[str, Any]]) -> list[str]:
    """Return a line for each kind of rows that looks like a call or an email and is not read, and for the others."""
    alike = [each for each in found if each["looks_like"]]
    lines = [f"not read: {each['source']} {each['what']}: {each['count']}" for each in alike[:UNREAD]]
    rest = sum(each["count"] for each in found) - sum(each["count"] for each in alike[:UNREAD])
    return [*lines, f"not read: rows of other kinds: {rest}, see `syncd scope`"] if rest else lines


def _ended(last: dict[str, Any]) -> str:
    if last["exit_code"] is not None:
        return f"ended {last['finished_at']} with exit code {last['exit_code']}"
    return "was interrupted" if last["finished_at"] else "was interrupted, or is still running"


def activities(document: dict[str, Any], console: Console) -> None:
    """Print the states with their verdicts and reasons, and the balance."""
    table = Table(box=box.SIMPLE, title=f"{document['seen']} activities seen", title_justify="left")
    table.add_column("state")
    table.add_column("activities", justify="right")
    table.add_column("meaning", overflow="fold")
    for state, count in document["activities"].items():
        table.add_row(styled(state, "bold"), str(count), State.describe(state))
        for name, number, meaning in _parts(document, state):
            table.add_row(styled(f"  {name}"), styled(number, "dim"), styled(meaning, "dim"))
    table.add_section()
    books = "the books balance" if document["balanced"] else "[bold red]the books do not balance[/]"
    table.add_row("seen", str(document["seen"]), books)
    console.print(table)


def _parts(document: dict[str, Any], state: str) -> list[tuple[str, int, str]]:
    if state == "delivered":
        return [(name, count, Verdict.describe(name)) for name, count in document["verdicts"].items() if count]
    counts = document["reasons"].get(state, {})
    if state == "pending":
        return [(name, count, Verdict.describe(name)) for name, count in counts.items() if count]
    return [
        part
        for name, count in sorted(counts.items())
        for part in ((name, count, Reason.describe(name)), *(_entries(document) if name == Reason.FILTERED else ()))
    ]


def _entries(document: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Return a line for each entry of an `except` that leaves activities out."""
    return [
        (f"  {each['entry']}", each["count"], f"of {each['source']} {each['stream']}") for each in document["filtered"]
    ]


def adoption(document: dict[str, Any]) -> str:
    """Return one line about the last adoption."""
    ended = f"ended {document['ended_at']}" if document["ended_at"] else "goes on in the next pass"
    return f"adopted: {document['adopted']} of the duplicates; the adoption began {document['began_at']}, {ended}"


def _streams(document: dict[str, Any]) -> Table:
    """Return the streams and their times. The times keep their width, however narrow the terminal is."""
    table = Table(box=box.SIMPLE, title="sources", title_justify="left")
    for column in ("source", "stream"):
        table.add_column(column, overflow="fold")
    for column in ("read up to", "last success"):
        table.add_column(column, no_wrap=True, min_width=len(SECONDS))
    for each in document["sources"]:
        cells = (each["source"], each["stream"], _to_second(each["watermark"]), _to_second(each["last_success_at"]))
        table.add_row(*map(styled, cells))
    return table


def _to_second(at: str | None) -> str:
    """Return a time without its milliseconds, so that two of them fit into 80 columns."""
    return f"{at[: len(SECONDS) - 1]}Z" if at else "-"


WHY = {"start": "an earlier start", "gap": "a gap that the CRM did not serve", "backfill": "a backfill"}


def _range(each: dict[str, Any]) -> str:
    """Return one line about a range that is still to be read."""
    direction = "down" if each["newest_first"] else "up"
    read = f", read {direction} to {each['read_to']}, {each['share']:.0%} of it" if each["read_to"] else ""
    error = f": {each['last_error']}" if each["last_error"] else ""
    after = f", tried again after {each['next_attempt_at']}" if each["next_attempt_at"] else ""
    span = f"{each['since']} to {each['until']}"
    return f"to read: {each['source']} {each['stream']} {span} ({WHY[each['why']]}){read}{after}{error}"


def explanation(document: dict[str, Any], console: Console | None = None) -> None:
    """Print the document of `syncd explain`."""
    console = console or Console()

    def line(what: str, value: str) -> None:
        console.print(visible(f"{what:<13} {value}"), markup=False, emoji=False, highlight=False, soft_wrap=True)

    line("activity", document["external_activity_id"])
    line("from", f"{document['source']} {document['stream']}, record {document['crm_id']} ({document['kind']})")
    line("happened", document["occurred_at"] or "unknown")
    line("first seen", f"{document['first_seen_at']}, last moved {document['updated_at']}")
    line("state", f"{document['state']}: {State.describe(document['state'])}")
    if document["reason"]:
        line("reason", f"{document['reason']}: {Reason.describe(document['reason'])}")
    if document["verdict"]:
        line("last verdict", f"{document['verdict']}: {Verdict.describe(document['verdict'])}")
    if document["detail"]:
        line("detail", document["detail"])
    for twin in document["twins"]:
        line("same as", f"{twin}: the same call or email under another id")
    line("next", _next(document))
    if not document["clock_confirmed"] and document["state"] in ("pending", "incomplete"):
        line("clock", CLOCK)
    if document["changed_after_delivery"]:
        line("note", "the record changed in the CRM after delivery; Recotap takes no update")
    for attempt in document["attempts"]:
        detail = f" ({attempt['detail']})" if attempt["detail"] else ""
        verdict = attempt["verdict"]
        words = "being sent" if verdict == UNDER_WAY else Verdict.describe(verdict)
        line("attempt", f"{attempt['at']} {verdict}: {words}{detail}")


def _next(document: dict[str, Any]) -> str:
    state, at = document["state"], document["next_attempt_at"]
    if state == "delivered":
        return "nothing: it is done"
    if state == "pending":
        return f"sent in the first pass after {at}"
    if document["reason"] == "redacted":
        return "looked up in the first pass in which the key may see its content"
    if at:
        return f"looked up in the CRM in the first pass after {at}"
    if state == "skipped":
        return "nothing, unless `syncd retry` asks for it"
    return "nothing, unless its record changes in the CRM or `syncd retry` asks for it"
