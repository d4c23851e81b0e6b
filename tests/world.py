"""The fixture of end-to-end tests: stand-ins over real HTTP, a ledger on disk, and one clock that tests move.

    with World(tmp_path) as world:
        call = world.call()
        world.sync()
        assert world.state(call) == "delivered"

A pass uses the real engine, HubSpot connector, sender and ledger. Only waits are short: if the connector
sleeps, the clock moves instead, and the sender's waits run a hundred times faster.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from syncd.config import Config, load
from syncd.connector import Context, Source
from syncd.ledger import AnyLedger, LedgerHandle
from syncd.passes import wiring
from syncd.passes.control import PassControl
from syncd.passes.limits import Limits
from syncd.passes.report import Observer, PassResult
from syncd.sandbox import Sandbox
from syncd.signals import StopRequest
from tests.ledgers import URL, ask, in_postgres, stranger

START = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)  # a Monday
OWN = "lanternfield-sales.com"
THEIRS = "amber-bolts.com"
NO_LIMITS = {"search_per_second": 0, "per_ten_seconds": 0, "daily_limit": 0}
HASTE = 100  # factor by which the sender waits less


class World:
    """One HubSpot portal, one Recotap and one ledger.

    With `real_time` they go by the machine's clock, for other processes.
    """

    def __init__(self, path: Path, *, real_time: bool = False, **box: Any) -> None:
        self.path = path
        self.ledger = path / "ledger" / "ledger.db"  # unless the suite runs on PostgreSQL
        self._shared = in_postgres(path, f"world_{sha256(bytes(path)).hexdigest()[:40]}") if URL else None
        self.config_file = path / "syncd.toml"
        self.at = datetime.now(UTC) if real_time else START
        self._real_time = real_time
        self.slept: list[tuple[float, float]] = []  # time.monotonic of each sleep, and its seconds
        self.box = Sandbox(now=None if real_time else self.now, **{"hubspot": NO_LIMITS, **box})
        self.hubspot, self.recotap = self.box.hubspot, self.box.recotap
        self.owner = self.hubspot.owner(f"ada.eschenfeld@{OWN}", "Ada", "Eschenfeld")
        self.hubspot.owner(f"bram.fennbrook@{OWN}", "Bram", "Fennbrook")
        before = self.now() - timedelta(days=200)
        self.company = self.hubspot.put("companies", {"name": "Amber Bolts", "domain": THEIRS}, modified_at=before)
        self.contact = self.person("kaya.ivorstone")
        self.token_file, self.key_file = path / "token", path / "key"
        self.token_file.write_text(self.box.token)
        self.key_file.write_text(self.box.key)
        for each in (self.token_file, self.key_file):
            each.chmod(0o600)
        self.tables: dict[str, dict[str, Any]] = {}

    @property
    def handle(self) -> AnyLedger:
        """Return the ledger. Worlds of one folder have the same."""
        return self._shared or LedgerHandle(self.ledger)

    # -- records ------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the time of the one clock."""
        return datetime.now(UTC) if self._real_time else self.at

    def later(self, **delta: float) -> None:
        """Move the one clock forward. PostgreSQL's goes by itself, so its times are moved back."""
        self.at += timedelta(**delta)
        if self._shared is not None and self._shared.exists():
            past = "UPDATE recotap SET closed_until = closed_until - make_interval(secs => ?) RETURNING 1"
            ask(self._shared, past, timedelta(**delta).total_seconds())

    def hold_the_clock(self) -> None:
        """Switch from the machine's clock to one that only tests move."""
        self.at, self._real_time = datetime.now(UTC), False
        self.box.clock.now = self.now

    def person(self, name: str, *, address: str | None = "", **properties: Any) -> str:
        """Put a contact of the company. An address of None means that it has none yet."""
        first, _, last = name.partition(".")
        values = {
            "email": f"{name}@{THEIRS}" if address == "" else address, "firstname": first.title(),
            "lastname": last.title(), "associatedcompanyid": self.company, **properties,
        }  # fmt: skip
        return self.hubspot.put("contacts", values, modified_at=self.now() - timedelta(days=100))

    def call(self, *, contacts: Sequence[str] | None = None, **how: Any) -> str:
        """Put a complete, finished call of an hour ago. `how` goes to `_put`."""
        values = {
            "hs_call_title": "Discovery call", "hs_call_status": "COMPLETED", "hs_call_duration": "600000",
            "hs_call_direction": "OUTBOUND", "hubspot_owner_id": self.owner,
        }  # fmt: skip
        return self._put("calls", values, contacts, **{"ago": timedelta(hours=1), **how})

    def email(self, *, contacts: Sequence[str] | None = None, **how: Any) -> str:
        """Put a complete, sent email of five hours ago. `how` goes to `_put`."""
        values = {
            "hs_email_subject": "Your quote", "hs_email_status": "SENT", "hs_email_direction": "EMAIL",
            "hubspot_owner_id": self.owner, "hs_email_open_count": "0",
        }  # fmt: skip
        return self._put("emails", values, contacts, **{"ago": timedelta(hours=5), **how})

    def _put(
        self, type_name: str, values: dict[str, Any], contacts: Sequence[str] | None, *, ago: timedelta,
        happened: datetime | None = None, late_by: float | None = None, linked_late_by: float = 0.0, **properties: Any,
    ) -> str:  # fmt: skip
        """Put a record modified `ago`, and by default `happened` then too."""
        modified = self.now() - ago
        happened = happened or modified
        values = {"hs_timestamp": happened, **values, **properties}
        crm_id = self.hubspot.put(type_name, values, created_at=happened, modified_at=modified, late_by=late_by)
        for contact in (self.contact,) if contacts is None else contacts:
            self.hubspot.associate(type_name, crm_id, "contacts", contact, late_by=linked_late_by)
        return crm_id

    def calls(self, count: int, *, first_ago: timedelta = timedelta(hours=20), **how: Any) -> list[str]:
        """Put calls a second apart, oldest first, and return their ids."""
        return [self.call(ago=first_ago - timedelta(seconds=number), **how) for number in range(count)]

    # -- a pass -------------------------------------------------------------------------

    def configure(self, table: str, **values: Any) -> None:
        """Change a table of the configuration, e.g. "sources.hubspot"."""
        self.tables.setdefault(table, {}).update(values)

    def write_config(self) -> Path:
        """Write the present configuration and return its path."""
        tables: dict[str, dict[str, Any]] = {
            "recotap": {"base_url": self.box.recotap_url, "api_key": f"file:{self.key_file}", "concurrency": 2},
            "ledger": self._table_of(self._shared) if self._shared else {"path": str(self.ledger)},
            "rules": {"own_domains": [OWN]},
        }
        if not any(name.startswith("sources.") for name in self.tables):
            tables["sources.hubspot"] = self.source()
        for name, values in self.tables.items():
            base = self.source() if name == "sources.hubspot" else {}
            tables[name] = {**tables.get(name, base), **values}
        lines = []
        for name, values in tables.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
        self.config_file.write_text("\n".join(lines) + "\n")
        return self.config_file

    def _table_of(self, shared: Any) -> dict[str, Any]:
        key = self.path / "ledger.key"
        key.write_text(shared.master_key.text)
        key.chmod(0o600)
        return {"path": "", "url": shared.url, "master_key": f"file:{key}"}

    def source(self, box: Sandbox | None = None, **values: Any) -> dict[str, Any]:
        """Return the table of a source over the portal of `box`, by default of this world."""
        return {
            "connector": "hubspot", "access_token": f"file:{self.token_file}", "search_per_second": 0,
            "base_url": (box or self.box).hubspot_url, "start": datetime(2026, 1, 1, tzinfo=UTC), **values,
        }  # fmt: skip

    def config(self) -> Config:
        """Return the present configuration."""
        return load(self.write_config(), environ={}, now=self.now())

    def sync(
        self, *, stop: StopRequest | None = None, observer: Observer | None = None, patient: bool = False,
        connector: type[Any] | None = None, sources: Sequence[Source] | None = None, control: PassControl | None = None,
        limits: Limits | None = None,
    ) -> PassResult:  # fmt: skip
        """Make one pass. If `patient`, the connector really sleeps.

        `connector` replaces the class of all sources, `sources` replaces the configured ones.
        """
        config = self.config()
        sources = [replace(source, connector=connector or source.connector) for source in sources or config.sources]
        if not patient:
            sources = [replace(source, connector=self._impatient(source)) for source in sources]
        with self.handle.hold("sync") as hold:
            return wiring.one_pass(
                config, ledger=hold.ledger, sources=sources, stop=stop or StopRequest(), observer=observer,
                control=control, limits=limits, now=self.now,
                monotonic=lambda: time.monotonic() * HASTE,
            )  # fmt: skip

    def _impatient(self, source: Source) -> type[Any]:
        world = self
        base: Any = source.connector

        class Impatient(base):  # type: ignore[misc]
            def __init__(self, config: Any, context: Context) -> None:
                super().__init__(config, replace(context, sleep=world._skip))

        return Impatient

    def _skip(self, seconds: float) -> None:
        self.slept.append((time.monotonic(), seconds))
        self.later(seconds=seconds)

    # -- results ------------------------------------------------------------------------

    @property
    def delivered(self) -> set[str]:
        """Return the CRM ids of the activities in Recotap."""
        return {name.rpartition("-")[2] for name in self.recotap.stored}

    def payload(self, crm_id: str) -> dict[str, Any]:
        """Return the payload that Recotap received for a record."""
        found = next(item for name, (item, _) in self.recotap.stored.items() if name.endswith(f"-{crm_id}"))
        return dict(found)

    def row(self, crm_id: str) -> dict[str, Any]:
        """Return the result of `explain` for a record."""
        with self.handle.reports() as reader:
            (name,) = reader.find(crm_id)
            return reader.explain(name)

    def state(self, crm_id: str) -> str:
        """Return a record's state with its reason, if any: "incomplete no_contact"."""
        row = self.row(crm_id)
        return f"{row['state']} {row['reason']}" if row["reason"] else str(row["state"])

    def status(self) -> dict[str, Any]:
        """Return the result of `status`."""
        with self.handle.reports() as reader:
            return reader.status(version="test", now=self.now())

    def stream(self, name: str = "calls", source: str = "hubspot") -> dict[str, Any]:
        """Return the entry of one stream in `status`."""
        return next(s for s in self.status()["sources"] if (s["source"], s["stream"]) == (source, name))

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the ledger through a separate connection."""
        with stranger(self.handle) as db:
            cursor = db.execute(statement, values)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    @contextmanager
    def counted(self) -> Iterator[dict[str, int]]:
        """Count the requests to HubSpot and Recotap by kind while the context lasts."""
        before = {**self.hubspot.requests, **self.recotap.requests}
        counts: dict[str, int] = {}
        yield counts
        after = {**self.hubspot.requests, **self.recotap.requests}
        counts.update({kind: n - before.get(kind, 0) for kind, n in after.items() if n != before.get(kind, 0)})

    def __enter__(self) -> Self:
        self.box.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.box.__exit__(kind, error, at)


def _toml(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


__all__ = ["NO_LIMITS", "OWN", "START", "THEIRS", "World"]
