"""Fill a ledger with every kind of row that a copy has to take along, and compare ledgers by plain statements."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from syncd.ledger import RECOTAP, AnyLedger
from syncd.ledger.marks import MOVED, ORIGIN
from syncd.ledger.tables import tables
from syncd.lifecycle.states import State, Verdict
from tests.ledgers import DAY, ENGINES, HOUR, NOW, URL, book, due, judge, reading, stranger

KINDS = {"file": "sqlite", "server": "postgres"}  # the names of KINDS select no test by a kind of ledger
# With a server, only the ways from and to it: the others were tried without one.
WAYS = [("file", "server"), ("server", "file")] if URL else [("file", "file")]
_ROWS = "SELECT {0.listed} FROM {0.name} ORDER BY {1}"
ODD = 'tab\there, "quoted", \\N, \\., Łódź, 🙂, line\nbreak'


def place(folder: Path, kind: str, name: str = "a") -> AnyLedger:
    """Name a ledger of a kind that does not exist yet."""
    return ENGINES[KINDS[kind]](folder / name)


def fill(handle: AnyLedger) -> None:
    """Make a ledger in which no table is empty. Some activities are in each state, and one is in flight."""
    with handle.open() as ledger:
        ledger.introduce("hubspot", identity="4711", external_id="{source}-{kind}-{id}")
        calls, emails = ledger.stream_id("hubspot", "calls"), ledger.stream_id("hubspot", "emails")
        first = replace(reading(1), keys=((494_808, 7, 0), (-2945, -(2**62), 1)))
        book(
            ledger,
            first,
            replace(reading(2), keys=((494_808, 7, 0),)),
            *(reading(each, subject=ODD) for each in range(3, 3 + len(Verdict))),
            watermark=NOW,
        )
        book(ledger, reading(30, State.INCOMPLETE, "no_contact", due_at=NOW + HOUR, owner_id="7", domain="acme.com"),
             reading(31, State.EXCLUDED, "internal"), reading(32, State.EXCLUDED, "filtered", detail=ODD),
             reading(33, State.DEAD, "unreadable"), stream="emails", watermark=NOW - DAY)  # fmt: skip
        claim = ledger.intend(due(ledger, limit=len(Verdict)), now=NOW)
        judge(ledger, claim, *Verdict, now=NOW + HOUR)
        ledger.intend(due(ledger, now=NOW + HOUR, limit=2), now=NOW + HOUR)  # no answer comes
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW + HOUR)
        ledger.add_range(calls, NOW - DAY, NOW, why="gap", now=NOW, error="HTTP 500", next_attempt_at=NOW + HOUR)
        ledger.note_start(emails, NOW - DAY)
        ledger.pause_until("hubspot", NOW + HOUR, "quota", now=NOW)
        ledger.keep("hubspot", {"cursor": {"text": ODD, "none": None}}, NOW)
        ledger.note_rule(calls, {"match": [ODD]})
    with handle.forget() as forget:
        forget.note("0f" * 32, NOW)


def dump(handle: AnyLedger) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables as a stranger reads them who knows the key, without the marks of a copy."""
    marks = (RECOTAP, MOVED), (RECOTAP, ORIGIN)
    with stranger(handle) as db:
        found = {
            table.name: [tuple(row) for row in db.execute(_ROWS.format(table, ", ".join(table.key)))]
            for table in tables()
        }
        found["store"] = [row for row in found["store"] if row[:2] not in marks]
        if cipher := handle.cipher(db):
            bodies, values = found["payloads"], found["store"]
            found["payloads"] = [(row_id, cipher.open_body(row_id, body), at) for row_id, body, at in bodies]
            found["store"] = [(name, key, cipher.open_value(name, key, text), at) for name, key, text, at in values]
    return found
