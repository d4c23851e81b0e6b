"""Dig holes into a ledger, and let `syncd verify` find every one and `--repair` fill it.

    python tests/campaigns/holes.py
    python tests/campaigns/holes.py --rows 20000 --holes 500 --seed 7

The sandbox serves a HubSpot and a Salesforce with as many calls and emails as `--rows`, and Recotap. Beside them are
records that are no activities: drafts, open tasks, and email tasks that an EmailMessage names. After the first pass
come two rounds of holes at random. In the first, the rows are gone as if they had never been seen, so the books
balance. In the second they are deleted by hand, and some records are deleted in the CRMs or edited meanwhile, many on
the days of holes. In each round `verify` must name every hole, every deleted record and nothing else, and after
`--repair` each record is in the ledger and in Recotap once, and the books balance. `--quick` is measured too. Prints a
table. The exit code is 1 if one of these fails.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.orgs import OrgWorld  # noqa: E402 - found by the line above, wherever this is started

FIRST_AGO = 3.0  # days since the last of the records was modified
DAYS = 300  # in which they were modified
NO_ACTIVITIES = 50  # one of so many records beside the others is no activity
LOOK_S = 0.02  # seconds between two looks at a process
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
TOUCHED = 5  # one of so many holes has a deleted and an edited record beside it, in the second round


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0


Run = Callable[..., Ran]  # a command line, without "syncd"


@dataclass
class Round:
    """The results of one round."""

    name: str
    holes: int
    deleted: int = 0
    edited: int = 0
    found: int = 0  # holes that `verify` named
    quick: int = 0  # of them, those that `--quick` named
    faults: list[str] = field(default_factory=list)
    cost: dict[str, str] = field(default_factory=dict)  # by command


class Campaign:
    """Two CRMs, one ledger, one Recotap."""

    def __init__(self, world: OrgWorld, run: Run, *, rows: int, days: int, seed: int) -> None:
        self.world, self.run, self.rows, self.days = world, run, rows, days
        self.random = random.Random(seed)
        for source in ("hubspot", "salesforce"):
            world.configure(f"sources.{source}", start=world.now() - timedelta(days=FIRST_AGO + days + 1))
        self.file = world.write_config()
        self.rounds: list[Round] = []

    def fill(self) -> float:
        """Put the records into the CRMs, make the first pass, and return its seconds."""
        for number in range(self.rows):
            self._put(number)
        ran = self.run("sync", "-c", self.file)
        assert ran.code == 0, ran.out
        assert len(self.world.recotap.stored) == self.rows, len(self.world.recotap.stored)
        return ran.wall_s

    def _put(self, number: int) -> None:
        world, ago = self.world, timedelta(days=FIRST_AGO + self.random.uniform(0, self.days))
        [
            world.call, world.task, world.email, world.mail, world.call, world.task,
            lambda *, ago: world.task(ago=ago, TaskSubtype="Email"), world.call,
        ][number % 8](ago=ago)  # fmt: skip
        if number % NO_ACTIVITIES == 0:
            world.email(ago=ago, hs_email_status="DRAFT")
            world.task(ago=ago, Status="Not Started")
            named = world.task(ago=ago, TaskSubtype="Email")
            world.org.edit("EmailMessage", world.mail(ago=ago), ActivityId=named, touch=False)
            self.rows += 1  # the message

    def round(self, name: str, holes: int, *, balanced: bool) -> Round:
        """Dig holes, and check what `verify` finds and what `--repair` fills."""
        held = self.world.sql(
            "SELECT activities.id, crm_id, stream, stream_id FROM activities JOIN streams ON streams.id = stream_id "
            "WHERE modified_at < ? ORDER BY activities.id",
            f"{self.world.now() - timedelta(days=FIRST_AGO / 2):%Y-%m-%d}",
        )
        picked = self.random.sample(held, holes + (0 if balanced else 2 * (holes // TOUCHED)))
        dug, others = picked[:holes], picked[holes:]
        deleted, edited = others[::2], others[1::2]
        this = Round(name, holes, len(deleted), len(edited))
        self.rounds.append(this)
        self._dig(dug, balanced=balanced)
        self._touch(deleted, edited)
        self._check(this, {row[1] for row in dug}, {row[1] for row in deleted})
        return this

    def _dig(self, rows: Sequence[tuple[Any, ...]], *, balanced: bool) -> None:
        ids = json.dumps([row[0] for row in rows])
        if balanced:
            self.world.sql(
                "UPDATE streams SET seen = seen - (SELECT count(*) FROM activities WHERE stream_id = streams.id "
                "AND id IN (SELECT value FROM json_each(?)))",
                ids,
            )
        self.world.sql("DELETE FROM activities WHERE id IN (SELECT value FROM json_each(?))", ids)

    def _touch(self, deleted: Iterable[tuple[Any, ...]], edited: Iterable[tuple[Any, ...]]) -> None:
        for (_, crm_id, stream, _), edits in [*((row, False) for row in deleted), *((row, True) for row in edited)]:
            if not crm_id.isdigit():
                table = "EmailMessage" if stream == "emails" else "Task"
                self.world.org.edit(table, crm_id, Subject="Changed") if edits else self.world.org.delete(table, crm_id)
            elif edits:
                self.world.hubspot.edit(stream, crm_id, hs_timestamp=str(int(self.world.now().timestamp() * 1000)))
            else:
                self.world.hubspot.delete(stream, crm_id)

    def _check(self, this: Round, holes: set[str], deleted: set[str]) -> None:
        quick, _, _ = self._verify(this, "verify --quick", "--quick", code=4)
        this.quick = len(quick & holes)
        missing, unexpected, _ = self._verify(this, "verify", code=4)
        this.found = len(missing & holes)
        self._expect(this, missing == holes, f"missing: {len(holes - missing)} unseen, {len(missing - holes)} wrong")
        self._expect(this, unexpected == deleted, f"unexpected: {len(unexpected)} instead of {len(deleted)}")
        missing, _, repaired = self._verify(this, "verify --repair", "--repair", code=0)
        self._expect(this, (missing, repaired) == (set(), holes), f"repaired {len(repaired)}, missing {len(missing)}")
        names = {name for (name,) in self.world.sql("SELECT external_activity_id FROM activities")}
        stored = {*self.world.recotap.stored}
        self._expect(this, names == stored, f"{len(names ^ stored)} differ between ledger and Recotap")
        self._expect(this, not self.world.recotap.doubled, f"{self.world.recotap.doubled} doubled in Recotap")
        self._expect(this, len(stored) == self.rows, f"{len(stored)} in Recotap instead of {self.rows}")
        code = self.run("ledger", "recount", "-c", self.file).code
        self._expect(this, code == 0, "the books do not balance")
        self._verify(this, "verify, nothing missing", code=0)

    def _verify(self, this: Round, name: str, *options: str, code: int) -> tuple[set[str], set[str], set[str]]:
        """Return the missing, unexpected and repaired ids."""
        before = sum(self.world.hubspot.requests.values()), sum(self.world.org.requests.values())
        ran = self.run("verify", "--json", *options, "-c", self.file)
        self._expect(this, ran.code == code, f"{name}: exit {ran.code} instead of {code}")
        asked = (sum(self.world.hubspot.requests.values()), sum(self.world.org.requests.values()))
        this.cost[name] = (
            f"{ran.wall_s:.1f} s, {ran.cpu_s:.1f} s CPU, {ran.peak_mib:.0f} MiB, {asked[0] - before[0]} requests to "
            f"HubSpot, {asked[1] - before[1]} to Salesforce"
        )
        streams = [stream for source in json.loads(ran.out).values() for stream in source.values()]
        keys = "missing", "unexpected", "repaired"
        missing, unexpected, repaired = ({each for stream in streams for each in stream[key]} for key in keys)
        return missing, unexpected, repaired

    def _expect(self, this: Round, holds: bool, fault: str) -> None:
        if not holds:
            this.faults.append(fault)


def campaign(world: OrgWorld, run: Run, *, rows: int, holes: int, days: int = DAYS, seed: int = 1) -> Campaign:
    """Fill the CRMs and the ledger, and make both rounds."""
    made = Campaign(world, run, rows=rows, days=days, seed=seed)
    seconds = made.fill()
    print(f"{made.rows} activities in both CRMs, read and sent in {seconds:.0f} s", flush=True)
    for name, balanced in (("as if never seen", True), ("deleted by hand", False)):
        this = made.round(name, holes, balanced=balanced)
        print(
            f"{this.name}: {this.holes} holes, {this.deleted} deleted and {this.edited} edited in the CRMs. "
            f"verify found {this.found}, --quick {this.quick}"
        )
        for command, cost in this.cost.items():
            print(f"  {command}: {cost}")
        print("".join(f"! {fault}\n" for fault in this.faults), end="", flush=True)
    return made


def process(*arguments: object) -> Ran:
    """Run syncd in a process of its own."""
    began, peak_kib = time.perf_counter(), 0
    command = [sys.executable, "-m", "syncd", *map(str, arguments)]
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL)
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            peak_kib = max(peak_kib, _peak_kib(child.pid))  # ru_maxrss would count this process, as of the fork
            time.sleep(LOOK_S)
        _, status, used = ended
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        wall_s, cpu_s = time.perf_counter() - began, used.ru_utime + used.ru_stime
        return Ran(child.returncode, out.read().decode(), wall_s, cpu_s, peak_kib / 1024)


def _peak_kib(pid: int) -> int:
    """Return the peak of a process so far. 0 if it has ended."""
    found = PEAK.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="activities, over both CRMs")
    parser.add_argument("--holes", type=int, default=1000, help="in each round")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        OrgWorld(Path(directory), with_hubspot=True, real_time=True) as world,
    ):
        made = campaign(world, process, rows=chosen.rows, holes=chosen.holes, seed=chosen.seed)
    if any(each.faults for each in made.rounds):
        raise SystemExit("a hole was not found or not filled, or something was doubled")


if __name__ == "__main__":
    main()
