"""The JSON Lines connector passes the suite's core over a folder of done files with one record each."""

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import connectors.jsonl as jsonl
from connectors.jsonl import Jsonl
from connectors.jsonl.lines import File, opened
from connectors.jsonl.naming import MARK
from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Connector, Record, Ref
from syncd.testing import ConnectorConformance

HAPPENED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
MODIFIED = HAPPENED + timedelta(hours=2)
PRIVATE = ("zinnia.zephyr@canary-bolts.com", "Zinnia Zephyr", "+49 30 5550147", "rona.representer@lanternfield.com")
ROW = {
    "id": "9", "occurred_at": HAPPENED.isoformat(), "direction": "outbound", "title": "Discovery",
    "duration_seconds": 90, "outcome": "No answer", "open_count": "2", "owner_email": PRIVATE[3], "owner_id": 77,
    "from_email": PRIVATE[3], "contacts": [{"email": PRIVATE[0], "name": PRIVATE[1], "phone": PRIVATE[2]}],
    "account_id": 5, "account_name": "Canary Bolts", "account_domain": "canary-bolts.com",
}  # fmt: skip
SHARED: dict[str, Any] = {
    "occurred_at": HAPPENED, "created_at": HAPPENED, "direction": "outbound", "title": "Discovery",
    "owner": Owner("77", PRIVATE[3], active=False), "sender": Person(PRIVATE[3]),
    "contacts": (Person(PRIVATE[0], name=PRIVATE[1], phone=PRIVATE[2]),),
    "companies": (Company("5", "Canary Bolts", ("canary-bolts.com",)),),
}  # fmt: skip
GOLDEN = {
    "calls": Draft("call", duration_minutes=1.5, outcome="No answer", **SHARED),
    "emails": Draft("email", open_count=2, **SHARED),
}


class FolderUnderTest:
    """A folder whose done files the suite writes, edits and deletes. Each has one record and its time.

    A late record is a file that appears late.
    """

    connector: type[Connector] = Jsonl
    granule = timedelta(milliseconds=1)
    cuts: Sequence[int] = (10,)
    secrets: Collection[str] = ()
    private: Collection[str] = PRIVATE

    def __init__(self, path: Path) -> None:
        self.path, self.done = path / "drop", path / "drop" / "done"
        self.done.mkdir(parents=True)
        (self.done / MARK).write_text("0123456789abcdef\n")
        self.at = datetime(2026, 10, 5, 9, 0, 0, 400_000, tzinfo=UTC)
        self.rows: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self.paths: dict[str, Path] = {}
        self.ids = itertools.count(1)
        self.late: dict[str, datetime] = {}  # crm_id -> when its file appears with the content of `rows`
        self.act: Callable[[int], None] | None = None
        self.opened = 0

    def table(self) -> dict[str, Any]:
        return {"connector": "jsonl", "start": datetime(2026, 1, 1, tzinfo=UTC), "path": str(self.path)}

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        for crm_id in [each for each, at in self.late.items() if at <= self.at]:
            del self.late[crm_id]
            self._write(crm_id)

    def put(self, stream: str, *, modified_at: datetime, title: str, late_by: float = 0.0) -> str:
        crm_id = f"r{next(self.ids)}"
        row = {**ROW, "id": crm_id, "kind": stream[:-1], "title": title, "occurred_at": modified_at.isoformat()}
        self.rows[crm_id] = modified_at, row
        self._show(crm_id, late_by)
        return crm_id

    def edit(
        self, stream: str, crm_id: str, *, title: str, modified_at: datetime | None = None, late_by: float = 0.0
    ) -> None:
        at, row = self.rows[crm_id]
        self.rows[crm_id] = modified_at or at, {**row, "title": title}
        self._show(crm_id, late_by)

    def delete(self, stream: str, crm_id: str) -> None:
        del self.rows[crm_id]
        self.late.pop(crm_id, None)
        self._remove(crm_id)

    def readdress(self, stream: str, crm_id: str, address: str) -> None:
        self.rows[crm_id][1]["contacts"] = [{"email": address}]
        self._write(crm_id)

    def unknown_id(self, stream: str) -> str:
        return "r0"

    def golden(self, stream: str) -> Sequence[tuple[Record, Draft | None]]:
        record = Record(Ref("9", MODIFIED), {**ROW, "kind": stream[:-1]}, {"file": "x.jsonl", "line": 1})
        return [(record, GOLDEN[stream]), (Record(record.ref, {**record.row, "status": "draft"}, record.related), None)]

    def outages(self) -> Mapping[str, Callable[[], None]]:
        return {
            "the folder is gone": lambda: self._rename(self.path, "gone"),
            "a file is in the place of the done folder": self._replace_done,
        }

    def heal(self) -> None:
        gone = self.path.with_name("gone")
        if gone.exists():
            gone.rename(self.path)
        if self.done.is_file():
            self.done.unlink()
            self._rename(self.path / "away", "done")

    def requests(self) -> int:
        return self.opened

    def on_request(self, act: Callable[[int], None] | None) -> None:
        self.act = act

    def open(self, file: File) -> BinaryIO:
        self.opened += 1
        if self.act is not None:
            self.act(self.opened)
        return opened(file)

    def _show(self, crm_id: str, late_by: float) -> None:
        if late_by:
            self.late[crm_id] = self.at + timedelta(seconds=late_by)
        else:
            self.late.pop(crm_id, None)
            self._write(crm_id)

    def _write(self, crm_id: str) -> None:
        at, row = self.rows[crm_id]
        self._remove(crm_id)
        line = json.dumps(row) + "\n"
        stamp = at.strftime("%Y%m%dT%H%M%S") + f"{at.microsecond // 1000:03}Z"
        part = self.done / ".part"
        part.write_text(line)
        self.paths[crm_id] = part.rename(self.done / f"{stamp}-{len(line)}-{crm_id}.jsonl")

    def _remove(self, crm_id: str) -> None:
        if crm_id in self.paths:
            self.paths.pop(crm_id).unlink()

    def _rename(self, path: Path, name: str) -> None:
        path.rename(path.with_name(name))

    def _replace_done(self) -> None:
        self._rename(self.done, "away")
        self.done.write_text("")


class TestJsonl(ConnectorConformance):
    """All tests are the suite's."""

    @pytest.fixture
    def crm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderUnderTest]:
        monkeypatch.setattr(jsonl, "PAGE", 10)
        crm = FolderUnderTest(tmp_path)
        monkeypatch.setattr(jsonl, "opened", crm.open)
        yield crm
        crm.heal()
