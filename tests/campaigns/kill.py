"""Kill `syncd sync` over and over, at each commit and POST boundary and at random, and see that the books hold.

    python tests/campaigns/kill.py --kills 120

A HubSpot with late rows, edits, late associations and records in the past; a Recotap that drops answers after
storing and answers 500 before storing. After the last kill a few plain passes, with the clock moved. Then:
lost 0, doubled 0, the books balance, at most 50 x concurrency re-sent a kill, none taken for a foreign duplicate.
Prints a table; exit code 1 when one of these does not hold.
"""

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from syncd import log  # noqa: E402 - found by the line above, wherever this is started
from syncd.sandbox import Fault  # noqa: E402
from tests.world import World  # noqa: E402

BATCH, CONCURRENCY = 50, 4
KINDS = ("commit-before", "commit-after", "post-before", "post-after")
LATE_S = 40.0  # the most that search lags behind; with the 20 s below still within the overlap


@dataclass
class Tally:
    """What a campaign came to."""

    killed: Counter[str] = field(default_factory=Counter)  # by kind of boundary
    survived: int = 0  # runs that ended before their boundary
    codes: Counter[int] = field(default_factory=Counter)  # exit codes of those
    put: int = 0
    edited: int = 0
    resent_at_most: int = 0  # activities on their way at one kill, the most
    stored_unbooked_at_most: int = 0  # of those, what Recotap held already
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    unbalanced: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    received: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return self.killed.total()

    def faults(self) -> list[str]:
        """Say what does not hold."""
        found = {
            f"{self.lost} lost": self.lost,
            f"{self.doubled} doubled": self.doubled,
            f"{self.foreign} taken for foreign duplicates": self.foreign,
            f"the books did not balance after {self.unbalanced} kills": self.unbalanced,
            f"{self.resent_at_most} re-sent after one kill": self.resent_at_most > BATCH * CONCURRENCY,
        }
        return [what for what, broken in found.items() if broken]


class Campaign:
    """One ledger, killed again and again."""

    def __init__(self, world: World, *, seed: int, each: int) -> None:
        self.world, self.each = world, each
        self.random = random.Random(seed)
        self.tally = Tally()
        self.ids: list[str] = []
        world.configure("recotap", concurrency=CONCURRENCY)
        world.configure("sources.hubspot", overlap="90s")  # the shorter, the more depends on the watermark
        world.write_config()
        world.recotap.faults.add(Fault("reset", match="sales-activities", after=True, probability=0.04, count=None))
        world.recotap.faults.add(Fault(match="sales-activities", status=500, probability=0.04, count=None))

    def work(self) -> None:
        """Let the CRM go on: new calls and emails, most of them late, and edits of old ones."""
        draw, world = self.random, self.world
        for _ in range(self.each):
            put = world.call if draw.random() < 0.7 else world.email
            late_by = draw.choice((0.0, 0.0, 1.0, 5.0, draw.uniform(0, LATE_S)))
            linked = draw.choice((0.0,) * 9 + (draw.uniform(0, LATE_S),))
            # modified within the last seconds, for that is where a window ends; happened long ago, so nothing settles
            ago = timedelta(seconds=draw.choice((0.0, 0.0, draw.uniform(0, 20))))
            happened = world.now() - timedelta(days=draw.uniform(1, 30))
            self.ids.append(put(ago=ago, happened=happened, late_by=late_by, linked_late_by=linked))
        calls = list(world.hubspot.tables["calls"].rows)
        for crm_id in draw.sample(calls, min(len(calls), self.each // 4)):
            world.hubspot.edit(
                "calls", crm_id, hs_call_title=f"Edited {draw.randrange(1000)}", late_by=draw.uniform(0, 5)
            )
            self.tally.edited += 1
        self.tally.put = len(self.ids)

    def run(self, boundary: str) -> None:
        """Run a pass in a process of its own until `boundary`, "kind:n" or "random:seconds"."""
        kind, _, at = boundary.partition(":")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "KILL_AT": boundary}
        line = [sys.executable, str(ROOT / "tests/campaigns/boundaries.py"), "sync", "-c", str(self.world.config_file)]
        with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            if kind == "random":
                try:
                    process.wait(float(at))
                except subprocess.TimeoutExpired:
                    process.kill()
            _, said = process.communicate(timeout=60)
        if process.returncode == -signal.SIGKILL:
            self.tally.killed[kind] += 1
            self._look_at_the_wreck()
        else:
            self.tally.survived += 1
            self.tally.codes[process.returncode] += 1
            if process.returncode not in (0, 69):
                raise SystemExit(f"{boundary}: exit code {process.returncode}\n{said.decode()}")

    def _look_at_the_wreck(self) -> None:
        """Count what the next pass must send again, and see that rows and counters were committed together."""
        if not self.world.ledger.exists():
            return
        with closing(sqlite3.connect(self.world.ledger, timeout=10)) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                return
            open_attempts = """
                SELECT external_activity_id FROM attempts JOIN activities ON id = activity_id
                WHERE attempts.verdict IS NULL
            """
            on_their_way = [name for (name,) in db.execute(open_attempts)]
            seen, rows = db.execute(
                "SELECT (SELECT sum(seen) FROM streams), (SELECT count(*) FROM activities)"
            ).fetchone()
        stored = sum(name in self.world.recotap.stored for name in on_their_way)
        self.tally.resent_at_most = max(self.tally.resent_at_most, len(on_their_way))
        self.tally.stored_unbooked_at_most = max(self.tally.stored_unbooked_at_most, stored)
        self.tally.unbalanced += (seen or 0) != rows

    def finish(self) -> Tally:
        """Make a few plain passes with the clock moved, then count."""
        world, tally = self.world, self.tally
        world.recotap.faults.clear()
        world.hold_the_clock()
        for minutes in (1, 10, 16, 61):
            world.later(minutes=minutes)
            code = world.sync().exit_code
            if code:
                raise SystemExit(f"a plain pass after the campaign ended with {code}")
        status = world.status()
        tally.lost = len(set(self.ids) - world.delivered)
        tally.doubled = world.recotap.doubled + max(0, len(world.recotap.stored) - len(set(self.ids)))
        tally.verdicts = status["verdicts"]
        tally.foreign = status["verdicts"]["foreign_duplicate"]
        tally.received = world.recotap.received.total()
        delivered = status["activities"]["delivered"]
        tally.unbalanced += not (status["balanced"] and status["seen"] == delivered == len(self.ids))
        return tally


def boundaries(seed: int) -> "list[str]":
    """Return places to die at: every early boundary of every kind, later ones and random times among them."""
    draw = random.Random(seed)
    exact = [f"{kind}:{number}" for number in range(1, 31) for kind in KINDS]
    timed = [f"random:{draw.uniform(0.3, 1.6):.3f}" for _ in range(len(exact) // 2)]
    mixed = [*exact, *timed]
    draw.shuffle(mixed)
    return mixed


def campaign(path: Path, *, kills: int, seed: int = 1, each: int = 150, places: "list[str] | None" = None) -> Tally:
    """Kill at least `kills` times, at `places` in turn, and return what came of it."""
    began = time.monotonic()
    with World(path, real_time=True) as world:
        running = Campaign(world, seed=seed, each=each)
        places = places or boundaries(seed)
        turn = 0
        while running.tally.kills < kills and turn < 3 * kills + len(places):
            running.work()
            running.run(places[turn % len(places)])
            turn += 1
        tally = running.finish()
    tally.seconds = time.monotonic() - began
    return tally


def table(tally: Tally) -> str:
    rows = {
        "kills": tally.kills, **{f"  {kind}": count for kind, count in sorted(tally.killed.items())},
        "runs that ended by themselves": f"{tally.survived} {dict(tally.codes)}",
        "calls and emails put": tally.put, "edits": tally.edited,
        "received by Recotap": tally.received, "verdicts": tally.verdicts,
        "lost": tally.lost, "doubled": tally.doubled, "foreign duplicates": tally.foreign,
        "books unbalanced": tally.unbalanced,
        f"re-sent after a kill, at most (bound {BATCH * CONCURRENCY})": tally.resent_at_most,
        "  of these stored already, at most": tally.stored_unbooked_at_most,
        "seconds": round(tally.seconds, 1),
    }  # fmt: skip
    return "\n".join(f"{name:<48} {value}" for name, value in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=150, help="new records before each run")
    chosen = parser.parse_args()
    log.configure()
    with tempfile.TemporaryDirectory() as directory:
        tally = campaign(Path(directory), kills=chosen.kills, seed=chosen.seed, each=chosen.each)
    print(table(tally))
    if faults := tally.faults():
        raise SystemExit("; ".join(faults))


if __name__ == "__main__":
    main()
