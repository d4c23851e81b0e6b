"""Serve the CRMs and the Recotap of a campaign over replicas, in a process of its own: many portals and orgs.

    python -m tests.campaigns.lanes FOLDER PORTALS ORGS SEED

It obeys orders of its standard input, a JSON line each: ["work", {"each": 3}]. It answers with a JSON line. Each CRM is
one source of the configuration, and so a lane. They change as those of kill.py do (crms.py, salesforce_crm.py).
"""

import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from syncd.sandbox import Fault
from tests.campaigns.crms import Crm, Portal
from tests.campaigns.salesforce_crm import DEFAULT_OWNER, Org
from tests.orgs import OrgWorld
from tests.world import NO_LIMITS, OWN, World

ROOT = Path(__file__).resolve().parents[2]
LATENCY_S = 0.1  # of Recotap, so that POSTs are under way when something happens
CRM_S = 5  # the deadline of a request to a CRM
TIMEOUT_S = 20  # and of a POST: longer than a freeze, otherwise none would be sent after it
CONCURRENCY = 4  # POSTs in flight on the one key
EVERY = "3s"  # between two passes over a lane
SLOTS = 16  # of a replica: more than there are lanes, so that each has a free one
SHOWN = 10  # of a list of faults


class Lanes:
    """The CRMs, one Recotap and one configuration. The first portal's sandbox has the Recotap that is used."""

    def __init__(self, folder: Path, *, portals: int, orgs: int, seed: int) -> None:
        self.folder = folder
        self.worlds: list[World] = [self._portal(number, seed) for number in range(1, portals + 1)]
        orgs_made = [self._org(number) for number in range(1, orgs + 1)]
        self.crms: list[Crm] = []
        for number, world in enumerate(self.worlds, 1):
            self.crms.append(_named(Portal, f"portal{number}")(world, seed=seed + number))
        for number, org in enumerate(orgs_made, 1):
            self.crms.append(_named(Org, f"org{number}", CROWDED=0.02)(org, seed=seed + number))
        self.worlds += orgs_made
        self.recotap = self.worlds[0].recotap
        self.recotap.faults.add(Fault("reset", match="sales-activities", after=True, probability=0.03, count=None))
        self.recotap.faults.add(Fault(match="sales-activities", status=500, probability=0.02, count=None))

    def _portal(self, number: int, seed: int) -> World:
        path = self._path(f"portal{number}")
        hubspot = {**NO_LIMITS, "portal_id": 10_000 + number}
        return World(path, real_time=True, seed=seed + number, hubspot=hubspot, latency_recotap=LATENCY_S)

    def _org(self, number: int) -> OrgWorld:
        return OrgWorld(self._path(f"org{number}"), real_time=True, org={"org_id": f"00DDn00000000{number:02}MAA"})

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    # -- orders -------------------------------------------------------------------------

    def configure(self, recotap_url: str, ledger_url: str) -> str:
        """Write the one configuration, and return its path."""
        first = self.worlds[0]
        base = recotap_url or first.box.recotap_url
        for crm, world in zip(self.crms, self.worlds, strict=True):
            own = world.tables.get(f"sources.{crm.crm}", {})
            table = world.source() if crm.crm == "hubspot" else {}
            first.configure(f"sources.{crm.name}", **{**table, **own, "timeout": f"{CRM_S}s"})
        first.tables.pop("sources.hubspot", None)
        first.configure("rules", own_domains=[OWN], default_owner_email=DEFAULT_OWNER)
        first.configure("recotap", base_url=base, concurrency=CONCURRENCY, timeout=f"{TIMEOUT_S}s")
        key = first.path / "ledger.key"
        key.write_text(base64.b64encode(bytes(range(32))).decode())
        key.chmod(0o600)
        first.configure("ledger", path="", url=ledger_url, master_key=f"file:{key}")
        first.configure("run", passes=SLOTS)
        first.configure("schedule", every=EVERY)
        return str(first.write_config())

    def work(self, each: int) -> int:
        """Change each CRM, with `each` new records. Return the number of records that must be delivered so far."""
        for crm in self.crms:
            crm.work(each)
        return sum(len(crm.expected) for crm in self.crms)

    def heal(self) -> None:
        """End all faults, so that the next passes find everything."""
        for stand_in in (self.recotap, *(crm.stand_in for crm in self.crms)):
            stand_in.faults.clear()
            stand_in.on_request = None

    def later(self, minutes: float) -> None:
        """Move the clock of all stand-ins."""
        for world in self.worlds:
            world.box.clock.advance(minutes * 60)

    def arrivals(self) -> list[list[Any]]:
        """Return the POSTs: epoch milliseconds, port, User-Agent, POSTs in flight, and their ids."""
        return self.recotap.traffic.listed()

    def compare(self, fates: Mapping[str, str]) -> dict[str, Any]:
        """Compare Recotap's activities and the ledger's rows with the records.

        `fates`: the state and reason of each row, by externalActivityId.
        """
        stored, found = self.recotap.stored, Counter[str]()
        lost, wrong = [], []
        for crm in self.crms:
            missing = crm.expected.keys() - stored.keys()
            lost += [f"{name} ({fates.get(name, 'not in the ledger')})" for name in missing]
            for name, expected in crm.excluded.items():
                if fates.get(name) != f"excluded {expected.excluded}":
                    lost.append(f"{name} ({fates.get(name, 'not in the ledger')}, not {expected.excluded})")
            wrong += [
                f"{name}: {', '.join(differences)}"
                for name in crm.expected.keys() & stored.keys()
                if (differences := crm.expected[name].differences(stored[name][0]))
            ]
            found.update(crm.did)
        delivered = {name for name, fate in fates.items() if fate == "delivered"}
        known = {name for crm in self.crms for name in (*crm.expected, *crm.excluded)}
        return {
            "put": sum(len(crm.expected) for crm in self.crms), "excluded": sum(len(crm.excluded) for crm in self.crms),
            "edits": found["edits"], "lost": sorted(lost), "wrong": sorted(wrong),
            "alien": sorted(stored.keys() - {name for crm in self.crms for name in crm.expected}),
            "stored": len(stored), "doubled": self.recotap.doubled, "received": self.recotap.received.total(),
            "distinct": len(self.recotap.received), "requests": sum(self.recotap.requests.values()),
            "booked but not stored": sorted(delivered - stored.keys()),
            "stored but not booked": sorted(stored.keys() - delivered),
            "rows of no record": sorted(
                f"{name} ({fates[name]})" for name in fates.keys() - known if fates[name] != "excluded deleted"),
            "deleted": sum(fates[name] == "excluded deleted" for name in fates.keys() - known),
        }  # fmt: skip


def _named(kind: type[Any], name: str, **more: Any) -> type[Any]:
    """Return a CRM whose source has this name."""
    return type(kind.__name__, (kind,), {"name": name, **more})


class Served:
    """The process, as the campaign uses it: `ask("work", each=3)`."""

    def __init__(self, folder: Path, *, portals: int, orgs: int, seed: int) -> None:
        line = [sys.executable, "-m", "tests.campaigns.lanes", str(folder), str(portals), str(orgs), str(seed)]
        self._process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.recotap_url = str(self._answer())

    def ask(self, order: str, **how: Any) -> Any:
        """Give one order, and return its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([order, how]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the stand-ins have ended, see above")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)


def main() -> None:
    folder, portals, orgs, seed = sys.argv[1:]
    with ExitStack() as stack:
        lanes = Lanes(Path(folder), portals=int(portals), orgs=int(orgs), seed=int(seed))
        for world in lanes.worlds:
            stack.enter_context(world)
        print(json.dumps(lanes.worlds[0].box.recotap_url), flush=True)
        for line in sys.stdin:
            order, how = json.loads(line)
            print(json.dumps(getattr(lanes, order)(**how)), flush=True)


if __name__ == "__main__":
    main()
