"""Kill `syncd backfill` with -9 at random while it reads 50,000 records, and check that each is there exactly once.

    python tests/campaigns/backfill.py
    python tests/campaigns/backfill.py --crm hubspot --order newest --records 5000 --kills 4

Each CRM is read in both orders, with a ledger of its own. Its records lie before `start`: scattered over months, many
in one day and some hundred in one second. New records come before each run. A run is killed at a commit, at a POST, or
after a random time, and the same command follows. The last run comes to its end. Then: each record is exactly once in
Recotap and delivered once in the ledger, nothing else is there, no range is left, the books balance, and no duplicate
is foreign. Prints a line for each. The exit code is 1 if one of these fails.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from syncd import log  # noqa: E402 - found by the line above, wherever this is started
from tests.campaigns.boundaries import KINDS  # noqa: E402
from tests.forked import interpreters  # noqa: E402
from tests.orgs import OrgWorld  # noqa: E402
from tests.world import World  # noqa: E402

CRMS = ("hubspot", "salesforce")
ORDERS = ("oldest", "newest")
START = timedelta(days=3)  # before now
SPAN = timedelta(days=120)  # before START
FRESH = 20  # new records before each run
SAME_SECOND = 300
RECORDS_PER_S = 10_000  # more than a machine reads, times the kills
LONGEST_S = 1800.0  # of a run that is not killed


@dataclass
class Tally:
    """The results of one backfill."""

    crm: str
    order: str
    put: int = 0
    killed: Counter[str] = field(default_factory=Counter)  # by kind of boundary
    kills: int = 0  # that were asked for
    rows: list[int] = field(default_factory=list)  # of the ledger, after each kill
    lost: int = 0
    alien: int = 0
    doubled: int = 0
    delivered: int = 0  # rows
    verdicts: dict[str, int] = field(default_factory=dict)
    ranges: int = 0
    balanced: bool = True
    seconds: float = 0.0

    def faults(self) -> list[str]:
        """Return the failed conditions."""
        found = {
            f"{self.killed.total()} kills of {self.kills}": self.killed.total() != self.kills,
            f"{self.lost} lost": self.lost,
            f"{self.alien} that nobody put": self.alien,
            f"{self.doubled} doubled": self.doubled,
            f"{self.delivered} rows delivered of {self.put}": self.delivered != self.put,
            f"{self.verdicts.get('foreign_duplicate')} foreign duplicates": self.verdicts.get("foreign_duplicate"),
            f"{self.ranges} ranges left": self.ranges,
            "the books do not balance": not self.balanced,
        }
        return [f"{self.crm}, {self.order} first: {what}" for what, broken in found.items() if broken]


class Campaign:
    """One CRM with a past, and one ledger."""

    def __init__(self, world: World, crm: str, order: str, *, records: int, kills: int, seed: int) -> None:
        self.world, self.crm = world, crm
        self.tally = Tally(crm, order, kills=kills)
        self.random = random.Random(f"{crm} {order} {seed}")
        self.ids: set[str] = set()
        world.configure(f"sources.{crm}", start=world.now() - START)
        self.put(timedelta(hours=1))
        world.sync()
        for number in range(records):
            self.put(self.ago(number))
        since = (world.now() - START - SPAN - timedelta(days=1)).date()
        order_of = ["--newest-first"] if order == "newest" else []
        self.command = ["backfill", "--since", str(since), *order_of, "-c", str(world.write_config())]

    def ago(self, number: int) -> timedelta:
        """Draw the age of a modification: some in one second, a third within a day, the others anywhere."""
        if number < SAME_SECOND:
            return START + SPAN / 2
        spread = timedelta(days=1) if number % 3 == 0 else SPAN
        return START + timedelta(seconds=60) + spread * self.random.random()

    def put(self, ago: timedelta) -> None:
        """Put a call or an email that lacks nothing, and happened long ago."""
        happened = self.world.now() - ago - timedelta(days=2)
        is_call = self.random.random() < 0.7
        if isinstance(self.world, OrgWorld):
            crm_id = (self.world.task if is_call else self.world.mail)(ago=ago, happened=happened)
        else:
            crm_id = (self.world.call if is_call else self.world.email)(ago=ago, happened=happened)
        self.ids.add(crm_id)
        self.tally.put += 1

    def place(self) -> str:
        """Draw a place to die, early enough that many kills fit into one backfill."""
        if self.random.random() < 0.5:
            return f"random:{0.3 + self.random.uniform(0.0, self.tally.put / RECORDS_PER_S):.3f}"
        return f"{self.random.choice(KINDS)}:{self.random.randint(1, max(3, self.tally.put // 50 // self.tally.kills))}"

    def run(self, place: str | None) -> int:
        """Run the command until `place`, or to its end, and return its exit code."""
        for _ in range(FRESH):
            self.put(timedelta(minutes=self.random.uniform(1, 10)))
        errors = self.world.path / "errors.log"
        errors.write_bytes(b"")
        environment = {**os.environ, "HASTE": "100", "KILL_AT": place or ""}
        process = interpreters().start(
            self.command, environ=environment, cwd=ROOT, output=Path(os.devnull), errors=errors,
            main="tests.campaigns.boundaries",
        )  # fmt: skip
        kind, _, at = (place or "").partition(":")
        try:
            code = process.wait(float(at) if kind == "random" else LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code == -signal.SIGKILL:
            self.tally.killed[kind] += 1
            self.tally.rows.append(self.world.status()["seen"])
        elif code != 0:
            raise SystemExit(f"{self.crm} at {place}: exit code {code}\n{errors.read_text()[-2000:]}")
        return code

    def finish(self) -> Tally:
        """Compare Recotap and the ledger with the CRM."""
        tally, stored = self.tally, Counter(name.rpartition("-")[2] for name in self.world.recotap.stored)
        tally.lost, tally.alien = len(self.ids - stored.keys()), len(stored.keys() - self.ids)
        tally.doubled = self.world.recotap.doubled + sum(count - 1 for count in stored.values())
        status = self.world.status()
        tally.delivered, tally.verdicts = status["activities"]["delivered"], status["verdicts"]
        tally.ranges, tally.balanced = len(status["ranges"]), status["balanced"] and status["seen"] == tally.put
        return tally


def campaign(path: Path, *, crm: str, order: str, records: int, kills: int, seed: int = 1) -> Tally:
    """Kill a backfill `kills` times, let it come to its end, and return the results."""
    began = time.monotonic()
    with World(path, real_time=True) if crm == "hubspot" else OrgWorld(path, real_time=True) as world:
        running = Campaign(world, crm, order, records=records, kills=kills, seed=seed)
        while running.tally.killed.total() < kills and running.run(running.place()):
            pass
        running.run(None)
        tally = running.finish()
    tally.seconds = time.monotonic() - began
    return tally


def line(tally: Tally) -> str:
    """Return the results in one line."""
    return (
        f"{tally.crm:<10} {tally.order} first: put {tally.put}, killed {tally.killed.total()} {dict(tally.killed)}, "
        f"rows after each kill {tally.rows}; lost {tally.lost}, doubled {tally.doubled}, delivered {tally.delivered}, "
        f"{tally.verdicts}, ranges left {tally.ranges}, balanced {tally.balanced}, {tally.seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000, help="of each backfill")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--crm", choices=CRMS)
    parser.add_argument("--order", choices=ORDERS)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    log.configure()
    faults = []
    for crm in [chosen.crm] if chosen.crm else CRMS:
        for order in [chosen.order] if chosen.order else ORDERS:
            how = {"records": chosen.records, "kills": chosen.kills, "seed": chosen.seed}
            with tempfile.TemporaryDirectory() as directory:
                tally = campaign(Path(directory), crm=crm, order=order, **how)
            print(line(tally), flush=True)
            faults += tally.faults()
    interpreters().close()
    if faults:
        raise SystemExit("; ".join(faults))


if __name__ == "__main__":
    main()
