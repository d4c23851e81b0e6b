"""Kill, freeze and cut off replicas of one ledger in PostgreSQL, lose its database, and check the books.

    python tests/campaigns/kill.py --postgres --replicas 3 --kills 300 --freezes 60 --postmaster 20 --promotions 10 \
        --cuts 20

A PostgreSQL of its own (cluster.py), many CRMs (lanes.py), replicas (fleet.py) and a proxy between them (links.py).
Records are added and edited all the while. chaos.py causes the faults. At the end all is mended, the replicas come to
rest and are stopped, and a few passes with a moved clock follow. Then: lost 0, doubled 0, foreign 0, nothing mapped
wrongly, the books balance, no attempt is open, no payload of a delivered row is left, Recotap holds the delivered
activities and no other, no verdict was booked by a holder that had lost its lane, at most `concurrency` POSTs were in
flight, and a free replica took each orphan within the lease and a second. With freezes, some transactions were fenced,
and some POSTs were late. Otherwise the campaign proved nothing.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncd import clock
from syncd.config import load
from syncd.ledger import chosen
from tests.campaigns import history
from tests.campaigns.chaos import Chaos
from tests.campaigns.cluster import DATABASE, USER, Cluster, cluster
from tests.campaigns.fleet import KINDS, ROOT, Replica
from tests.campaigns.history import TTL_S, Arrival, Span, Takeover, percentile
from tests.campaigns.lanes import CONCURRENCY, LATENCY_S, TIMEOUT_S, Served
from tests.campaigns.links import Links
from tests.forked import interpreters

WORK_S = 1.0  # between two changes in the CRMs
REST_S = 40.0  # at most, until nothing is pending
FINALLY = (1, 10, 16, 61, 7 * 60, 25 * 60)  # minutes before each normal pass: the look-up schedule
READY_S = 3.0  # a replica's start, and its way back after a freeze, a cut or a lost database
LIMIT_S = TTL_S + 1.0  # from a holder's death or freeze until a free replica has its lane
CUT_OFF_S = 4.5  # from the end of a lease whose holder was cut off: PostgreSQL ends its transaction 3 s later, at most
AWAY = 74  # exit code of a replica that begins while no PostgreSQL takes writes
MANY = 100  # kills, of which each boundary has some
MET_LONG = 150  # characters of a warning in the table
_VARYING = re.compile(r"postgresql://\S+|\d+")
SHOWN = 10  # failures shown
FATES = "SELECT external_activity_id, state || coalesce(' ' || reason, '') FROM activities"
OPEN = "SELECT count(*) FROM posts WHERE members IS NOT NULL"
LEFT = "SELECT count(*) FROM payloads JOIN activities ON id = activity_id WHERE state = 'delivered'"
PENDING = "SELECT count(*) FROM activities WHERE state = 'pending'"


@dataclass
class Tally:
    """The results of a campaign."""

    seed: int
    did: Counter[str] = field(default_factory=Counter)  # faults that were caused
    met: Counter[str] = field(default_factory=Counter)  # warnings and errors in the logs of the replicas
    exits: Counter[int] = field(default_factory=Counter)  # codes of replicas that ended by themselves, or stopped
    found: dict[str, Any] = field(default_factory=dict)  # the comparison of lanes.py
    status: dict[str, Any] = field(default_factory=dict)
    open_attempts: int = 0
    payloads_left: int = 0
    fenced: int = 0
    withheld: int = 0
    late: int = 0
    unknown_intents: int = 0
    booked_by_lost: int = 0
    two_at_once: int = 0
    most_in_flight: int = 0  # apart from late POSTs
    most_at_all: int = 0
    takeovers: list[Takeover] = field(default_factory=list)
    took: int = 0
    bugs: list[str] = field(default_factory=list)  # tracebacks
    was_frozen: bool = False
    rest_s: float = 0.0
    seconds: float = 0.0

    @property
    def slow(self) -> list[Takeover]:
        """Return the takeovers that took too long though a replica was free."""
        free = [each for each in self.takeovers if each.had_free_slot]
        return [
            each for each in free
            if (each.after_end_s > CUT_OFF_S if each.after_fault_s is None else each.after_fault_s > LIMIT_S)
        ]  # fmt: skip

    @property
    def foreign(self) -> int:
        """Return the deliveries that were taken for another system's."""
        return int(self.status["verdicts"]["foreign_duplicate"])

    @property
    def unmet(self) -> list[str]:
        """Return the boundaries at which no replica died, of a campaign with many kills."""
        kills = {what.removeprefix("kill -9, "): n for what, n in self.did.items() if what.startswith("kill -9, ")}
        return [kind for kind in KINDS if kind not in kills] if sum(kills.values()) >= MANY else []

    def faults(self) -> list[str]:
        """Return the failed conditions."""
        found, states = self.found, {name: n for name, n in self.status["activities"].items() if n}
        excluded = found["excluded"] + found["deleted"]
        expected = {"delivered": found["put"], "excluded": excluded}
        broken = {
            f"{len(found['lost'])} lost": found["lost"],
            f"{found['doubled']} doubled": found["doubled"],
            f"{len(found['alien'])} in Recotap that are neither calls nor emails": found["alien"],
            f"{len(found['wrong'])} mapped wrongly": found["wrong"],
            f"{len(found['rows of no record'])} rows of no record": found["rows of no record"],
            f"{len(found['booked but not stored'])} delivered that Recotap lacks": found["booked but not stored"],
            f"{len(found['stored but not booked'])} in Recotap, not delivered": found["stored but not booked"],
            f"{self.foreign} taken for foreign duplicates": self.foreign,
            "the books do not balance": not self.status["balanced"] or self.status["seen"] != sum(states.values()),
            f"the states are {states}, not {expected}": states != {name: n for name, n in expected.items() if n},
            f"{self.open_attempts} POSTs open": self.open_attempts,
            f"{self.payloads_left} payloads of delivered rows": self.payloads_left,
            f"{self.booked_by_lost} verdicts by a holder that had lost its lane": self.booked_by_lost,
            f"{self.two_at_once} lanes taken from a holder whose lease had not ended": self.two_at_once,
            f"{self.most_in_flight} POSTs in flight of {CONCURRENCY}": self.most_in_flight > CONCURRENCY,
            f"{len(self.slow)} orphans waited though a replica was free": self.slow,
            f"{len(self.bugs)} tracebacks": self.bugs,
            f"replicas exited with {dict(self.exits)}": self.exits.keys() - {AWAY},
            f"no kill at {', '.join(self.unmet)}": self.unmet,
            "no transaction was fenced, so it proved nothing": self.was_frozen and not self.fenced,
            "no POST was late, so it proved nothing": self.was_frozen and not self.late,
        }
        return [what for what, is_broken in broken.items() if is_broken]


class Campaign:
    """One ledger, its replicas and their world."""

    def __init__(
        self, folder: Path, database: Cluster, links: Links, served: Served, *, replicas: int, seed: int, each: int
    ) -> None:
        self.served, self.database, self.each = served, database, each
        self._worked_at = 0.0
        standby = [links.add(f"standby{place}", server.port) for place, server in enumerate(database.servers)]
        database.standby_port = lambda place: standby[place]
        url = address([server.port for server in database.servers])
        recotap_port = int(served.recotap_url.rpartition(":")[2].partition("/")[0])
        recotap_url = f"http://127.0.0.1:{links.add('recotap', recotap_port)}/api/v1"
        self.config = Path(served.ask("configure", recotap_url=recotap_url, ledger_url=url))
        self.ledger = chosen(load(self.config, environ={}).ledger)
        self.replicas = [
            Replica(number, self.config, folder, {"SYNCD_LEDGER__URL": address(
                [links.add(f"ledger{place}-{number}", server.port) for place, server in enumerate(database.servers)]
            ), "HASTE": "20"})
            for number in range(1, replicas + 1)
        ]  # fmt: skip
        self.tally = Tally(seed)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement on the primary."""
        return self.database.primary.ask(sql)

    def begin(self) -> None:
        """Make the ledger and the tables of the history, and start the replicas."""
        with self.ledger.open():
            pass
        for statement in history.TABLES:
            self.ask(statement)
        for _ in range(3):
            self.served.ask("work", each=self.each)
        for replica in self.replicas:
            replica.start()

    def work(self) -> None:
        """Change the CRMs once a second."""
        if time.monotonic() - self._worked_at >= WORK_S:
            self._worked_at = time.monotonic()
            self.served.ask("work", each=self.each)

    def rest(self, tick: Callable[[], None]) -> None:
        """Wait until all replicas run and nothing is pending, then stop them."""
        self.served.ask("heal")
        began = time.monotonic()
        while time.monotonic() - began < REST_S:
            tick()
            time.sleep(0.5)
            if time.monotonic() - began > 2 * TTL_S and self.ask(PENDING) == [(0,)]:
                break
        self.tally.rest_s = time.monotonic() - began
        for replica in self.replicas:
            if code := replica.stop():
                self.tally.bugs.append(f"replica {replica.number} exited with {code} after SIGTERM")

    def judge(self, chaos: Chaos) -> None:
        """Read the history, the logs and Recotap's record of POSTs."""
        tally = self.tally
        takes, posts = history.read(self.ask)
        arrivals = [
            Arrival(at_ms / 1000, _pid(agent), in_flight, frozenset(names))
            for at_ms, _, agent, in_flight, names in self.served.ask("arrivals")
        ]
        lives = [life for replica in self.replicas for life in replica.lives]
        kept: dict[str, Any] = {"takes": takes, "posts": posts, "arrivals": arrivals}
        kept |= {"down": chaos.down, "cuts": chaos.cuts}
        kept["lives"] = [vars(life) for life in lives]
        (self.config.parent / "history.json").write_text(json.dumps(kept, default=sorted))
        late, tally.unknown_intents = history.late(arrivals, posts, takes)
        tally.late, tally.took = len(late), sum(take.token is not None for take in takes)
        tally.booked_by_lost = len(history.booked_by_lost(posts, takes))
        tally.two_at_once = len(history.two_at_once(takes))
        tally.most_at_all = max((each.in_flight for each in arrivals), default=0)
        tally.most_in_flight = history.most_in_flight(arrivals, late, for_s=LATENCY_S + TIMEOUT_S)
        faults = {
            life.pid: [*(freeze[0] for freeze in life.freezes), *([life.ended_at] if life.ended_at else [])]
            for life in lives
        }
        tally.takeovers = history.takeovers(takes, faults, self._ready(chaos))
        tally.did, tally.was_frozen = chaos.did, any(life.freezes for life in lives)
        for replica in self.replicas:
            tally.exits += replica.exits
            self._read_log(replica.text())

    def _ready(self, chaos: Chaos) -> list[Span]:
        """Return when each replica could take lanes."""
        found = []
        for replica in self.replicas:
            cuts = [span for number, span in chaos.cuts if number == replica.number]
            for life in replica.lives:
                frozen = [Span(*freeze) for freeze in life.freezes if len(freeze) == 2]
                alive = Span(life.began_at + READY_S, life.ended_at or time.time())
                found += history.within([alive], [*chaos.down, *cuts, *frozen], settle_s=READY_S)
        return found

    def _read_log(self, text: str) -> None:
        for line in text.splitlines():
            said = _parsed(line)
            event = said.get("event", "")
            self.tally.fenced += event == "campaign.fenced"
            self.tally.withheld += event == "post.withheld"
            if said.get("level") in ("warning", "error"):
                error = _VARYING.sub("*", str(said.get("error", "")))
                self.tally.met[f"{event}: {error}"[:MET_LONG].rstrip(": ")] += 1
            if line.startswith("syncd: a bug") or said.get("level") == "critical" or "exception" in said:
                self.tally.bugs.append(line[:2000])

    def finish(self) -> Tally:
        """Make a few normal passes with a moved clock, then compare everything."""
        ahead_s, log = 0.0, self.config.parent / "finally.log"
        for minutes in FINALLY:
            self.served.ask("later", minutes=minutes)
            ahead_s += minutes * 60
            swept_at = clock.text(clock.now().fromtimestamp(time.time() + ahead_s, tz=clock.now().tzinfo))
            self.ask(f"UPDATE streams SET swept_at = '{swept_at}'")  # a sweep would find what is lost
            environ = {**os.environ, "AHEAD_S": str(ahead_s), "HASTE": "100"}
            ended = interpreters().start(
                ["sync", "-c", str(self.config)], environ=environ, cwd=ROOT, output=log,
                main="tests.campaigns.boundaries",
            ).wait(180)  # fmt: skip
            if ended not in (0, 69) or (ended and minutes == FINALLY[-1]):
                raise SystemExit(f"a normal pass after the campaign exited with {ended}: {log.read_text()[-3000:]}")
        tally, fates = self.tally, dict(self.ask(FATES))
        tally.found = self.served.ask("compare", fates=fates)
        tally.open_attempts, tally.payloads_left = self.ask(OPEN)[0][0], self.ask(LEFT)[0][0]
        with self.ledger.reports() as reports:
            tally.status = reports.status(version="campaign", now=clock.now())
        return tally


def address(ports: list[int]) -> str:
    """Return the address of a ledger whose primary is behind one of these ports."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write&connect_timeout=3"


def _pid(agent: str) -> int:
    number = agent.rpartition(" process ")[2]
    return int(number) if number.isdigit() else 0


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def campaign(
    *, replicas: int, seed: int, each: int, gap_s: float, portals: int, orgs: int, keep: Path | None = None,
    say: Callable[[str], None] = print, **counts: int,
) -> Tally:  # fmt: skip
    """Run one campaign, and return its results. `keep`: where logs stay. `counts`: those of `Chaos`."""
    began = time.monotonic()
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(cluster(keep))
        links = stack.enter_context(Links())
        served = stack.enter_context(Served(folder, portals=portals, orgs=orgs, seed=seed))
        running = Campaign(folder, database, links, served, replicas=replicas, seed=seed, each=each)
        if counts.get("promotion"):
            database.attach()
        chaos = Chaos(running.replicas, database, links, seed=seed, gap_s=gap_s, counts=counts)
        try:
            running.begin()
            chaos.run(running.work, say=say)
            say(f"at rest: {dict(sorted(chaos.did.items()))}")
            running.rest(chaos.tick)
            running.judge(chaos)
            tally = running.finish()
        finally:
            for replica in running.replicas:
                replica.kill()
    tally.seconds = time.monotonic() - began
    return tally


def table(tally: Tally) -> str:
    """Return the results, a line each."""
    found, waits = tally.found, [each.after_end_s for each in tally.takeovers if each.had_free_slot]
    faults = [each.after_fault_s for each in tally.takeovers if each.had_free_slot and each.after_fault_s is not None]
    rows: dict[str, Any] = {
        "seed": tally.seed, **dict(sorted(tally.did.items())), "exit codes of replicas": dict(tally.exits),
        **{f"  {what}": count for what, count in tally.met.most_common(25)},
        "calls and emails put": found["put"], "  of other records": found["excluded"], "edits": found["edits"],
        "received by Recotap": found["received"], "  of these sent again": found["received"] - found["distinct"],
        "stored by Recotap": found["stored"], "verdicts": tally.status["verdicts"],
        "states": {name: n for name, n in tally.status["activities"].items() if n},
        "lost": len(found["lost"]), "doubled": found["doubled"], "foreign duplicates": tally.foreign,
        "wrong mapping": len(found["wrong"]), "books balanced": tally.status["balanced"],
        "open attempts": tally.open_attempts, "payloads of delivered rows": tally.payloads_left,
        "lanes taken": tally.took, "fenced transactions": tally.fenced, "POSTs withheld": tally.withheld,
        "late POSTs": tally.late, "POSTs whose intent a failover lost": tally.unknown_intents,
        "verdicts booked without the lane": tally.booked_by_lost, "lanes taken too early": tally.two_at_once,
        f"POSTs in flight, at most (bound {CONCURRENCY})": tally.most_in_flight,
        "  with those around a late one": tally.most_at_all,
        "takeovers": len(tally.takeovers), "  with a free replica": len(waits),
        "  after the lease, p50 / p95 / max, s": _three(waits),
        f"  after death or freeze, p50 / p95 / max, s (bound {LIMIT_S:g})": _three(faults),
        "seconds until nothing was pending": round(tally.rest_s, 1), "seconds": round(tally.seconds, 1),
    }  # fmt: skip
    return "\n".join(f"{name:<56} {value}".rstrip() for name, value in rows.items())


def _three(values: list[float]) -> str:
    return " / ".join(f"{percentile(values, share):.2f}" for share in (0.5, 0.95, 1.0))


def shown(tally: Tally) -> list[str]:
    """Return some of the failures, a line each."""
    names = ("lost", "wrong", "alien", "rows of no record", "booked but not stored", "stored but not booked")
    found = [f"{name}: {each}" for name in names for each in tally.found[name][:SHOWN]]
    return [*found, *map(str, tally.slow[:SHOWN]), *tally.bugs[:SHOWN]]


def run(chosen: argparse.Namespace) -> None:
    """Run the campaign that kill.py's options choose. SystemExit if a condition fails."""
    print(f"seed {chosen.seed}", flush=True)
    tally = campaign(
        replicas=chosen.replicas, seed=chosen.seed, each=chosen.each or 2, gap_s=chosen.gap, portals=chosen.portals,
        orgs=chosen.orgs, keep=chosen.keep, say=lambda text: print(text, flush=True),
        kill=300 if chosen.kills is None else chosen.kills, freeze=chosen.freezes, postmaster=chosen.postmaster,
        promotion=chosen.promotions, cut=chosen.cuts,
    )  # fmt: skip
    interpreters().close()
    print(table(tally))
    for what in shown(tally):
        print(f"! {what}")
    if faults := tally.faults():
        raise SystemExit("; ".join(faults))


__all__ = ["Campaign", "Tally", "campaign", "run", "shown", "table"]
