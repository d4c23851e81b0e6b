"""A folder into which tests drop files, and passes over it: the real engine and ledger, a Recotap in memory.

    with Drop(tmp_path) as drop:
        drop.file("calls.jsonl", call("c1"))
        drop.sync()
        assert drop.states() == {"c1": "delivered"}

The one clock is the test's; a dropped file is as old as the test says. `killed_at` ends a pass at its n-th step: a
booking, or a change in the folder. From then on nothing more is written, as after kill -9.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

from connectors.jsonl import Jsonl, JsonlConfig
from connectors.jsonl.place import Place
from syncd.connector import Context, Source, Window
from syncd.ledger import Ledger, LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes.engine import Pass
from syncd.passes.limits import Limits
from syncd.passes.reader import PassStore
from syncd.passes.report import PassResult
from tests.fake_recotap import Recotap

NOW = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)
ROW = {
    "occurred_at": "2026-09-20T10:00:00Z", "title": "Discovery call", "owner_email": "ada.eschenfeld@lanternfield.com",
    "contact_email": "kaya.ivorstone@amber-bolts.com", "account_domain": "amber-bolts.com",
}  # fmt: skip


class Killed(BaseException):
    """As kill -9: nobody is asked."""


def call(crm_id: str, **values: Any) -> str:
    """Return the line of a call that lacks nothing."""
    return json.dumps({"id": crm_id, "kind": "call", **ROW, **values})


def email(crm_id: str, **values: Any) -> str:
    """Return the line of an email that lacks nothing."""
    return call(crm_id, **{"kind": "email", **values})


class Drop:
    """One folder, one ledger, one Recotap."""

    def __init__(self, path: Path, **table: Any) -> None:
        self.path = path / "drop"
        self.path.mkdir(exist_ok=True)
        self.ledger = path / "ledger.db"
        self.at = NOW
        self.recotap = Recotap()
        self.table = {"connector": "jsonl", "start": datetime(2026, 1, 1, tzinfo=UTC), "path": str(self.path), **table}
        self.steps = 0

    @property
    def config(self) -> JsonlConfig:
        return JsonlConfig(**self.table)

    def now(self) -> datetime:
        return self.at

    def later(self, **delta: float) -> None:
        """Move the one clock."""
        self.at += timedelta(**delta)

    def file(self, name: str, *lines: str | bytes, age_s: float = 60, ended: bool = True) -> Path:
        """Drop a file as one should: whole, by a rename."""
        whole = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
        part = self.path / f"{name}.part"
        part.write_bytes(whole + (b"\n" if ended and lines else b""))
        self.touch(part, age_s=age_s)
        return part.rename(self.path / name)

    def touch(self, path: Path, *, age_s: float = 60) -> None:
        """Set when a file was last changed."""
        at = (self.at - timedelta(seconds=age_s)).timestamp()
        os.utime(path, (at, at))

    # -- by the engine ------------------------------------------------------------------

    def sync(self, *, killed_at: int = 0, minutes: float = 5, limits: Limits | None = None) -> PassResult | None:
        """Make one pass, `minutes` after the last one. Returns None if it was killed."""
        self.later(minutes=minutes)
        source = Source("files", self.config, Jsonl)
        try:
            with self._killing(killed_at), LedgerHandle(self.ledger).open() as ledger:
                rules = Rules(own_domains=frozenset({"lanternfield.com"}))
                return Pass(
                    ledger, [source], self.recotap, rules, concurrency=1, max_age=timedelta(days=7), now=self.now,
                    limits=limits,
                ).run()  # fmt: skip
        except Killed:
            return None

    @contextmanager
    def _killing(self, killed_at: int) -> Iterator[None]:
        self.steps = 0
        watched = [(Ledger, "book"), (Ledger, "keep"), (Place, "rename"), (Place, "unlink"), (Place, "create")]
        with mock.patch.multiple(Place, sync=lambda place: None):
            patches = [
                mock.patch.object(kind, name, self._step(getattr(kind, name), killed_at)) for kind, name in watched
            ]
            for patch in patches:
                patch.start()
            try:
                yield
            finally:
                for patch in patches:
                    patch.stop()

    def _step(self, does: Any, killed_at: int) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            if 0 < killed_at <= self.steps:
                raise Killed
            return does(*args, **kwargs)

        return step

    # -- by hand ------------------------------------------------------------------------

    def connect(self, store: PassStore | None = None) -> Jsonl:
        """Begin a pass over `store`."""
        context = Context("files", store or PassStore({}, self.now), self.now, lambda seconds: None)
        return Jsonl(self.config, context)

    def read(self, stream: str = "calls", connector: Jsonl | None = None, **window: datetime) -> dict[str, Any]:
        """Return the records of a window by id."""
        since, until = window.get("since", self.config.start), window.get("until")
        pages = (connector or self.connect()).fetch(stream, Window(since, until, lambda refs: {r.crm_id for r in refs}))
        return {record.ref.crm_id: record for page in pages for record in page.records}

    # -- what came of it ----------------------------------------------------------------

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.ledger)) as db:
            return db.execute(statement).fetchall()

    def states(self) -> dict[str, str]:
        return dict(self.sql("SELECT crm_id, state FROM activities"))

    def details(self) -> dict[str, str]:
        """Return the details of the dead rows by id."""
        return dict(self.sql("SELECT crm_id, detail FROM activities WHERE state = 'dead'"))

    def explain(self, crm_id: str) -> dict[str, Any]:
        with LedgerHandle(self.ledger).reports() as glance:
            (name,) = glance.find(crm_id)
            return glance.explain(name)

    def balanced(self) -> bool:
        with LedgerHandle(self.ledger).reports() as glance:
            return glance.balanced()

    @property
    def waiting(self) -> list[str]:
        """Return the names in the folder."""
        return sorted(path.name for path in self.path.iterdir() if path.is_file())

    @property
    def done(self) -> list[str]:
        """Return the names under which the files moved aside were dropped."""
        found = (path.name for path in self.config.done_path.glob("[0-9]*"))
        return sorted(name.split("-", 2)[2] for name in found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is held open."""


__all__ = ["NOW", "ROW", "Drop", "Killed", "call", "email"]
