"""Read the records into syncd, as a plug-in that syncd finds by its entry point."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Context, Finding, Page, Record, Ref, SourceConfig, Stream, Window
from tests.bench.peers.programs import records


class BenchConfig(SourceConfig):
    """Hold the keys that every source has."""


class Bench:
    """Read one stream of calls."""

    Config = BenchConfig
    streams = (Stream("calls", "call"),)

    def __init__(self, config: BenchConfig, context: Context) -> None:
        self.context = context
        self.reps: dict[str, Owner] = {}

    def identity(self) -> str | None:
        """Return the org's id."""
        return "bench"

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        """Yield pages of 200 that changed within the window."""
        until = window.until or self.context.now()
        for rows in records.pages():
            refs = [Ref(row["id"], datetime.fromisoformat(row["changed"])) for row in rows]
            inside = [
                (ref, row) for ref, row in zip(refs, rows, strict=True) if window.since <= ref.modified_at <= until
            ]
            refs = [ref for ref, _ in inside]
            whole = set(window.needed(refs))
            for row in rows:
                self._meet(row["rep"])
            kept = [Record(ref, row) for ref, row in inside if ref.crm_id in whole]
            yield Page(refs, kept, until)

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Yield the records of `ids`."""
        rows = [records.row(int(each) - 1_000_000) for each in ids]
        refs = [Ref(row["id"], datetime.fromisoformat(row["changed"])) for row in rows]
        yield Page(refs, [Record(ref, row) for ref, row in zip(refs, rows, strict=True)], None)

    def normalize(self, stream: str, record: Record) -> Draft | None:
        """Map a row to a call."""
        row = record.row
        contact, account = row["contact"], row["account"]
        company = Company(account["id"], account["name"], (account["domain"],))
        person = Person(contact["email"], contact["id"], contact["name"], contact["title"], company=company)
        at = datetime.fromisoformat(row["at"])
        return Draft(
            kind="call",
            occurred_at=at,
            created_at=at,
            direction=row["direction"],
            title=row["title"],
            duration_minutes=row["minutes"],
            outcome=row["outcome"],
            owner=self.reps[row["rep"]["id"]],
            contacts=(person,),
            companies=(company,),
        )

    def owners(self) -> Sequence[Owner]:
        """Return the reps of the pages read so far."""
        return tuple(self.reps.values())

    def count(self, stream: str, window: Window) -> int:
        """Return the number of records in the window."""
        return sum(len(page.refs) for page in self.fetch(stream, window))

    def check(self) -> list[Finding]:
        """Return one line, because nothing can fail."""
        return [Finding("records", True, f"{records.total()} calls")]

    def close(self) -> None:
        """Hold nothing."""

    def _meet(self, rep: dict[str, Any]) -> None:
        if rep["id"] not in self.reps:
            self.reps[rep["id"]] = Owner(rep["id"], rep["email"], rep["name"])
