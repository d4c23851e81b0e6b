"""Kill `syncd sync` repeatedly, at each commit and POST boundary and at random, and check the books.

    python tests/campaigns/kill.py --kills 120
    python tests/campaigns/kill.py --kills 120 --crm hubspot

One configuration has a HubSpot with late rows, edits, late associations and records in the past (crms.py), and a
Salesforce with late commits, edits, expiring sessions and locators that die in mid-page (salesforce_crm.py). Many of
their records are as tools write them (shapes.py). Its Recotap drops responses after storing and returns 500 before
storing. Unless `--poison 0`, each CRM also fails by record, by page size and by span of time (poison.py), Recotap is at
times too slow for large batches, and a firewall refuses some words. Each of
these heals after some turns. The clock moves between passes. After the last kill come a few normal passes. Then: lost
0, doubled 0, only calls and emails, nothing mapped wrongly, the books balance, no gap is left, at most 50 x
concurrency re-sent per kill, no foreign duplicates, and no watermark stood still in a pass that booked a newer record.
Prints a table. The exit code is 1 if one of these fails.

    python tests/campaigns/kill.py --postgres --replicas 3

kills and freezes replicas that share a ledger in PostgreSQL, kills and replaces PostgreSQL, and cuts the connections
between them. See replicas.py.
"""

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from syncd import clock, log  # noqa: E402 - found by the line above, wherever this is started
from syncd.sandbox import Fault  # noqa: E402
from tests.campaigns.crms import DEADLINE_S, WORDS, Crm, Portal  # noqa: E402
from tests.campaigns.salesforce_crm import Org  # noqa: E402
from tests.forked import interpreters  # noqa: E402
from tests.orgs import OrgWorld  # noqa: E402
from tests.world import World  # noqa: E402

BATCH, CONCURRENCY = 50, 4
KINDS = ("commit-before", "commit-after", "post-before", "post-after")
CRMS = ("hubspot", "both")
END = "end:0"  # a place: the pass ends by itself
SLOW_OVER = 20  # activities in a batch that is too large while Recotap is slow
FINALLY = (1, 10, 16, 61, 7 * 60, 25 * 60)  # minutes before each normal pass: the look-up schedule
STREAMS = """
    SELECT source, stream, coalesce(watermark, ''), last_error, (SELECT coalesce(max(modified_at), '') FROM activities
        WHERE stream_id = streams.id AND activities.id > ?)
    FROM streams
"""
COUNTS = """
    SELECT (SELECT coalesce(max(id), 0) FROM activities), (SELECT count(*) FROM ranges),
        (SELECT count(*) FROM activities WHERE state = 'incomplete' AND reason = 'crm_error')
"""
HASTE = 100  # factor by which a connector's waits between tries are shortened
SHOWN = 10  # failures shown in the table


@dataclass
class Tally:
    """The results of a campaign."""

    seed: int = 0
    killed: Counter[str] = field(default_factory=Counter)  # by kind of boundary
    survived: int = 0  # runs that ended before their boundary
    codes: Counter[int] = field(default_factory=Counter)  # exit codes of those
    met: Counter[str] = field(default_factory=Counter)  # errors in their logs
    put: int = 0
    crms: dict[str, dict[str, Any]] = field(default_factory=dict)  # counts of each CRM's records and faults
    resent_at_most: int = 0  # the most activities in flight at one kill
    stored_unbooked_at_most: int = 0  # of those, the ones that Recotap had stored
    lost: list[str] = field(default_factory=list)
    doubled: int = 0
    alien: list[str] = field(default_factory=list)  # delivered, but not a call or email of the campaign
    wrong: list[str] = field(default_factory=list)  # delivered with wrong values
    foreign: int = 0
    unbalanced: int = 0
    no_activities: int = 0  # rows of drafts and to-dos
    verdicts: dict[str, int] = field(default_factory=dict)
    received: int = 0
    gaps: int = 0
    ranges: int = 0  # still to be read at the end
    booked_ranges: int = 0  # the most at the end of a pass
    unserved: int = 0  # the most rows in `crm_error` at the end of a pass
    failures: tuple[int, str] = (0, "")  # the most windows in a row that failed, of passes that ended by themselves
    stood_still: list[str] = field(default_factory=list)  # streams that booked a newer record meanwhile
    moved_back: list[str] = field(default_factory=list)
    recotap: Counter[str] = field(default_factory=Counter)  # turns, by trouble
    moved_s: float = 0.0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return self.killed.total()

    def faults(self) -> list[str]:
        """Return the failed conditions."""
        found = {
            f"{len(self.lost)} lost": self.lost,
            f"{self.doubled} doubled": self.doubled,
            f"{len(self.alien)} delivered that are neither calls nor emails": self.alien,
            f"{len(self.wrong)} mapped wrongly": self.wrong,
            f"{self.foreign} taken for foreign duplicates": self.foreign,
            f"the books did not balance after {self.unbalanced} kills": self.unbalanced,
            f"{self.ranges} ranges left to read": self.ranges,
            f"a watermark stood still {len(self.stood_still)} times": self.stood_still,
            f"a watermark moved back {len(self.moved_back)} times": self.moved_back,
            f"{self.resent_at_most} re-sent after one kill": self.resent_at_most > BATCH * CONCURRENCY,
        }
        return [what for what, broken in found.items() if broken]


class Campaign:
    """One ledger whose passes are killed repeatedly."""

    def __init__(self, world: World, *, seed: int, each: int, poison: float = 0.0) -> None:
        self.world, self.each, self.poison = world, each, poison
        self.turn = 0
        self.watermarks: dict[tuple[str, str], str] = {}  # after the last pass
        self.still: defaultdict[tuple[str, str], bool] = defaultdict(bool)  # stood still in the last pass that ended
        self.failures: Counter[tuple[str, str]] = Counter()  # windows in a row that failed, of passes that ended
        self.rows = 0  # the last row's id after the last pass
        self.random = random.Random(seed)
        self.tally = Tally(seed)
        self.crms: list[Crm] = [Portal(world, seed=seed)]
        if isinstance(world, OrgWorld):
            self.crms.append(Org(world, seed=seed))
        world.configure("recotap", concurrency=CONCURRENCY)
        for table in ("recotap", *(f"sources.{crm.name}" for crm in self.crms)) if poison else ():
            world.configure(table, timeout=f"{DEADLINE_S}s")
        world.write_config()
        world.recotap.faults.add(Fault("reset", match="sales-activities", after=True, probability=0.04, count=None))
        world.recotap.faults.add(Fault(match="sales-activities", status=500, probability=0.04, count=None))

    def work(self) -> None:
        """Change the CRMs, and move the clock if possible."""
        draw, each, gap_s = self.random, self.each // len(self.crms), 0.0
        if isinstance(self.world, OrgWorld):
            gap_s = draw.uniform(600, 1500) if draw.random() < 0.2 else 0.0  # longer than the overlaps
            self.world.later(seconds=gap_s or draw.choice((0.0, 0.0, 5.0, draw.uniform(0, 60))))
            self.tally.gaps += gap_s > 0
        for crm in self.crms:
            crm.work(3 * each if gap_s else each, gap_s=gap_s)
        self.tally.put = sum(len(crm.expected) for crm in self.crms)
        self.turn += 1
        if self.poison:
            for crm in self.crms:
                crm.poison(self.turn, chance=self.poison)
            self._trouble_recotap()

    def _trouble_recotap(self) -> None:
        """Let Recotap be slow for large batches in some turns, and a firewall refuse a word in others."""
        slow, words = self.random.random() < 0.2, self.random.choice(((), (), (), WORDS[:1], WORDS[1:]))
        self.world.recotap.set(slow_over=SLOW_OVER if slow else 0, slow_s=DEADLINE_S + 0.5, forbidden=words)
        self.tally.recotap.update({"slow for large batches": slow, "firewall refuses a word": bool(words)})

    def run(self, boundary: str) -> None:
        """Run a pass as a separate process until `boundary`, "kind:n" or "random:seconds"."""
        kind, _, at = boundary.partition(":")
        ahead_s = self.world.box.clock.offset_s
        environment = {**os.environ, "KILL_AT": boundary, "AHEAD_S": str(ahead_s), "HASTE": str(HASTE)}
        errors_file = self.world.path / "errors.log"
        errors_file.write_bytes(b"")
        process = interpreters().start(
            ["sync", "-c", str(self.world.config_file)], environ=environment, cwd=ROOT, output=Path(os.devnull),
            errors=errors_file, main="tests.campaigns.boundaries",
        )  # fmt: skip
        try:
            code = process.wait(float(at) if kind == "random" else 120)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            if kind != "random":
                raise
        said = errors_file.read_text()
        self._look_at_the_streams(boundary, killed=code == -signal.SIGKILL)
        if code == -signal.SIGKILL:
            self.tally.killed[kind] += 1
            self._look_at_the_wreck()
        else:
            self.tally.survived += 1
            self.tally.codes[code] += 1
            self.tally.met.update(errors(said))
            if code not in (0, 69):
                raise SystemExit(f"{boundary}: exit code {code}\n{said}")

    def _look_at_the_wreck(self) -> None:
        """Count the activities to re-send, and check that rows and counters were committed together."""
        if not self._has_ledger():
            return
        with closing(sqlite3.connect(self.world.ledger, timeout=10)) as db:
            open_attempts = """
                SELECT external_activity_id FROM attempts JOIN activities ON id = activity_id
                WHERE attempts.verdict IS NULL
            """
            on_their_way = [name for (name,) in db.execute(open_attempts)]
            seen, rows = db.execute(
                "SELECT (SELECT sum(seen) FROM streams), (SELECT count(*) FROM activities)"
            ).fetchone()
            watermarks = db.execute("SELECT source, watermark FROM streams WHERE watermark IS NOT NULL").fetchall()
        stored = sum(name in self.world.recotap.stored for name in on_their_way)
        self.tally.resent_at_most = max(self.tally.resent_at_most, len(on_their_way))
        self.tally.stored_unbooked_at_most = max(self.tally.stored_unbooked_at_most, stored)
        self.tally.unbalanced += (seen or 0) != rows
        for crm in self.crms:
            crm.look([datetime.fromisoformat(at) for source, at in watermarks if source == crm.name])

    def _look_at_the_streams(self, boundary: str, *, killed: bool) -> None:
        """Check that no watermark moved back, and that each moved if the pass booked a newer record of its stream.

        A page may leave the watermark to the next page. So a killed pass proves nothing, and a stream whose window
        failed may stand still once. The next pass isolates the cause.
        """
        if not self._has_ledger():
            return
        with closing(sqlite3.connect(self.world.ledger, timeout=10)) as db:
            for source, stream, watermark, error, newest in db.execute(STREAMS, (self.rows,)):
                before = self.watermarks.get((source, stream), "")
                where = f"{source} {stream} in turn {self.turn} ({boundary}) at {before}, booked {newest}: {error}"
                self.tally.moved_back += [where] if watermark < before else []
                self.watermarks[source, stream] = watermark
                if not killed:
                    self.failures[source, stream] = self.failures[source, stream] + 1 if error else 0
                    row = (self.failures[source, stream], f"{source} {stream}: {error}")
                    self.tally.failures = max(self.tally.failures, row)
                    still = watermark == before < newest
                    self.tally.stood_still += [where] if still and (not error or self.still[source, stream]) else []
                    self.still[source, stream] = still
            self.rows, ranges, unserved = db.execute(COUNTS).fetchone()
        self.tally.booked_ranges = max(self.tally.booked_ranges, ranges)
        self.tally.unserved = max(self.tally.unserved, unserved)

    def _has_ledger(self) -> bool:
        """Tell whether a pass has lived long enough to make the ledger."""
        if not self.world.ledger.exists():
            return False
        with closing(sqlite3.connect(self.world.ledger, timeout=10)) as db:
            return bool(db.execute("PRAGMA user_version").fetchone()[0])

    def finish(self) -> Tally:
        """End all faults, make a few normal passes with a moved clock, then count. The last one exits with 0."""
        world, tally = self.world, self.tally
        tally.moved_s = world.box.clock.offset_s
        for stand_in in (world.recotap, *(crm.stand_in for crm in self.crms)):
            stand_in.faults.clear()
            stand_in.on_request = None
        for crm in self.crms:
            crm.poisons.heal()
        world.recotap.set(slow_over=0, forbidden=())
        world.hold_the_clock()
        for minutes in FINALLY:
            world.later(minutes=minutes)
            world.sql("UPDATE streams SET swept_at = ?", clock.text(world.now()))  # a sweep would find what is lost
            ended = world.sync()
            if ended.exit_code not in (0, 69) or (ended.exit_code and minutes == FINALLY[-1]):
                raise SystemExit(f"a normal pass after the campaign exited with {ended.exit_code}: {ended.errors}")
        status = world.status()
        stored = world.recotap.stored
        for crm in self.crms:
            self._compare(crm)
        tally.alien = sorted(stored.keys() - {name for crm in self.crms for name in crm.expected})
        tally.doubled = world.recotap.doubled
        tally.ranges = len(status["ranges"])
        tally.verdicts = status["verdicts"]
        tally.foreign = status["verdicts"]["foreign_duplicate"]
        tally.received = world.recotap.received.total()
        found = {state: count for state, count in status["activities"].items() if count}
        tally.no_activities = self._no_activities()
        excluded = sum(len(crm.excluded) for crm in self.crms) + tally.no_activities
        expected = {"delivered": tally.put, "excluded": excluded}
        tally.unbalanced += not (status["balanced"] and status["seen"] == sum(expected.values()))
        tally.unbalanced += found != {state: count for state, count in expected.items() if count}
        return tally

    def _no_activities(self) -> int:
        """Return the number of drafts and to-dos that have a row, because a CRM did not serve them at first.

        The look-ups that follow find that they are no activities, so each must be `deleted`.
        """
        names = self.world.sql("SELECT external_activity_id FROM activities WHERE reason = 'deleted'")
        known = {name for crm in self.crms for name in (*crm.expected, *crm.excluded)}
        return sum(name not in known for (name,) in names)

    def _compare(self, crm: Crm) -> None:
        """Compare Recotap's activities with the records of a CRM."""
        stored = self.world.recotap.stored
        lost = [f"{name} ({self._fate(name)})" for name in crm.expected.keys() - stored.keys()]
        for name, expected in crm.excluded.items():
            if (fate := self._fate(name)) != f"excluded {expected.excluded}":
                lost.append(f"{name} ({fate}, not {expected.excluded})")
        wrong = [
            f"{name}: {', '.join(differences)}"
            for name, expected in crm.expected.items()
            if name in stored and (differences := expected.differences(stored[name][0]))
        ]
        self.tally.lost += lost
        self.tally.wrong += wrong
        self.tally.crms[crm.name] = {
            **dict(sorted(crm.did.items())),
            "of the late, passed by the watermark": sum(each.behind for each in crm.expected.values()),
            "requests": sum(crm.stand_in.requests.values()),
            "failed requests": sum(fault.hits for fault in crm.faults),
            **{f"poisoned {what}s": n for what, n in sorted(crm.poisons.put.items())},
            **{f"requests that met a poisoned {what}": n for what, n in sorted(crm.poisons.hits.items())},
            "delivered and compared": len(crm.expected.keys() & stored.keys()),
            "lost": len(lost),
            "wrong mapping": len(wrong),
        }

    def _fate(self, name: str) -> str:
        rows = self.world.sql("SELECT state, reason FROM activities WHERE external_activity_id = ?", name)
        return " ".join(filter(None, rows[0])) if rows else "not in the ledger"


def errors(said: str) -> list[str]:
    """Return the errors in a pass's log, which contain no personal data, without the times of gaps."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    told = [f"{line.get('source', 'recotap')}: {line.get('error')}" for line in lines if line["level"] == "error"]
    return [re.sub(r"\d+ spans? of .*?Z: ", "some spans: ", each) for each in told]


def boundaries(seed: int, *, longest_s: float = 1.6, ends: int = 0) -> "list[str]":
    """Return places to die: every early boundary of each kind, some later ones, and random times. `ends` are none."""
    draw = random.Random(seed)
    exact = [f"{kind}:{number}" for number in range(1, 31) for kind in KINDS]
    timed = [f"random:{draw.uniform(0.3, longest_s):.3f}" for _ in range(len(exact) // 2)]
    mixed = [*exact, *timed, *[END] * ends]
    draw.shuffle(mixed)
    return mixed


def campaign(
    path: Path, *, kills: int, crm: str = "both", seed: int = 1, each: int = 150,
    places: "Sequence[str] | None" = None, poison: float = 0.0,
) -> Tally:  # fmt: skip
    """Kill at least `kills` passes, at `places` in turn, and return the results."""
    began = time.monotonic()
    both = crm == "both"
    with OrgWorld(path, with_hubspot=True, real_time=True) if both else World(path, real_time=True) as world:
        running = Campaign(world, seed=seed, each=each, poison=poison)
        # Two CRMs take longer. Isolation needs passes that come to their end.
        places = places or boundaries(seed, longest_s=3.0 if both else 1.6, ends=90 if poison else 0)
        turn = 0
        while running.tally.kills < kills and turn < 3 * kills + len(places):
            running.work()
            running.run(places[turn % len(places)])
            turn += 1
        tally = running.finish()
    tally.seconds = time.monotonic() - began
    return tally


def table(tally: Tally) -> str:
    begun: dict[str, Any] = {
        "seed": tally.seed, "kills": tally.kills,
        **{f"  {kind}": count for kind, count in sorted(tally.killed.items())},
        "runs that ended by themselves": f"{tally.survived} {dict(tally.codes)}",
        **{f"  {what}": count for what, count in sorted(tally.met.items())},
        **{f"turns: {what}": count for what, count in sorted(tally.recotap.items())},
        "gaps without a pass": tally.gaps,
        "the clock was moved by, in all, s": round(tally.moved_s),
        "calls and emails put": tally.put,
    }  # fmt: skip
    ended: dict[str, Any] = {
        "received by Recotap": tally.received, "verdicts": tally.verdicts,
        "lost": len(tally.lost), "doubled": tally.doubled, "neither call nor email": len(tally.alien),
        "wrong mapping": len(tally.wrong), "foreign duplicates": tally.foreign, "books unbalanced": tally.unbalanced,
        "rows of no activity, once not served": tally.no_activities,
        "ranges after a pass, at most": tally.booked_ranges, "  left at the end": tally.ranges,
        "rows in crm_error after a pass, at most": tally.unserved,
        "windows of a stream that failed in a row, at most": f"{tally.failures[0]} ({tally.failures[1]})",
        "watermarks that stood still": len(tally.stood_still), "watermarks that moved back": len(tally.moved_back),
        f"re-sent after a kill, at most (bound {BATCH * CONCURRENCY})": tally.resent_at_most,
        "  of these stored already, at most": tally.stored_unbooked_at_most,
        "seconds": round(tally.seconds, 1),
    }  # fmt: skip
    rows = list(begun.items())
    for name, did in tally.crms.items():
        rows += [(name, ""), *((f"  {what}", count) for what, count in did.items())]
    return "\n".join(f"{name:<48} {value}".rstrip() for name, value in (*rows, *ended.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help="120, on PostgreSQL 300")
    parser.add_argument("--crm", choices=CRMS, default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, help="150 new records before each run, over all CRMs. On PostgreSQL: 2 a "
                        "second in each CRM")  # fmt: skip
    parser.add_argument("--poison", type=float, default=0.3, metavar="CHANCE", help="of each new poison in a turn")
    add_postgres(parser)
    chosen = parser.parse_args()
    log.configure()
    if chosen.postgres:
        from tests.campaigns import replicas  # psycopg is an extra

        replicas.run(chosen)
        return
    with tempfile.TemporaryDirectory() as directory:
        how = {"crm": chosen.crm, "seed": chosen.seed, "each": chosen.each or 150, "poison": chosen.poison}
        tally = campaign(Path(directory), kills=120 if chosen.kills is None else chosen.kills, **how)
    interpreters().close()
    print(table(tally))
    failures = (tally.lost, tally.alien, tally.wrong, tally.stood_still, tally.moved_back)
    for what in (each for found in failures for each in found[:SHOWN]):
        print(f"! {what}")
    if faults := tally.faults():
        raise SystemExit("; ".join(faults))


def add_postgres(parser: argparse.ArgumentParser) -> None:
    """Add the options of a campaign over replicas."""
    group = parser.add_argument_group("replicas of one ledger in PostgreSQL (replicas.py)")
    group.add_argument("--postgres", action="store_true", help="start a PostgreSQL, and replicas of `syncd run`")
    group.add_argument("--replicas", type=int, default=3)
    group.add_argument("--freezes", type=int, default=60, help="of a replica, longer than the lease")
    group.add_argument("--postmaster", type=int, default=20, help="kills of the postmaster")
    group.add_argument("--promotions", type=int, default=10, help="of a standby, every other one with lost commits")
    group.add_argument("--cuts", type=int, default=20, help="of a replica from PostgreSQL or Recotap")
    group.add_argument("--gap", type=float, default=4.0, help="seconds between two faults, on average")
    group.add_argument("--portals", type=int, default=10, help="HubSpots, each a lane")
    group.add_argument("--orgs", type=int, default=2, help="Salesforces, each a lane")
    group.add_argument("--keep", type=Path, help="an empty folder in which the logs stay")


if __name__ == "__main__":
    main()
