"""Cause the faults of a campaign over replicas by a seed: kills, freezes, cuts, and the loss of the database."""

import heapq
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

from tests.campaigns.cluster import Cluster
from tests.campaigns.fleet import DEAD, FROZEN, KINDS, REACH_S, RUNNING, Replica
from tests.campaigns.history import TTL_S, Span
from tests.campaigns.links import Links

TICK_S = 0.03
AGE_S = 2.0  # of a life before something happens to it
FROZEN_S = (TTL_S + 1, TTL_S + 6)
DEAD_S = (0.0, 3.0)  # until a dead replica is started again
CUT_S = (2.0, TTL_S + 5)
DOWN_S = (0.0, 4.0)  # until a killed postmaster is started again
BEHIND_S = (0.2, 1.0)  # by which a standby is behind that is promoted without synchronous commit
NAMED = 0.7  # share of the kills at named boundaries
# Where a replica freezes, or at random. After post-trusted it sends what nothing can stop.
FREEZES = (*("post-trusted",) * 6, "intent-before", "commit-before", "settle-before", "renew-after", "random")


class Chaos:
    """All faults of one campaign. Only `run` and what it calls use the replicas."""

    def __init__(
        self, replicas: Sequence[Replica], cluster: Cluster, links: Links, *, seed: int, gap_s: float,
        counts: Mapping[str, int],
    ) -> None:  # fmt: skip
        """`counts`: how many of each of kill, freeze, postmaster, promotion and cut."""
        self._replicas, self._cluster, self._links = replicas, cluster, links
        self._random = Random(seed)
        self._gap_s = gap_s
        self.left = [name for name, count in counts.items() for _ in range(count)]
        self._random.shuffle(self.left)
        self.did: Counter[str] = Counter()
        self.down: list[Span] = []  # when no database took writes
        self.cuts: list[tuple[int, Span]] = []  # of a replica from the database
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._armed: dict[int, tuple[str, signal.Signals, float]] = {}  # by replica: place, signal, until
        self._thread: threading.Thread | None = None  # works on the database
        self._errors: list[BaseException] = []
        self._promotions = 0

    def run(self, work: Callable[[], None], *, say: Callable[[str], None]) -> None:
        """Cause all of them, and call `work` all the while. SystemExit if the database cannot be brought back."""
        next_at, told_at = time.monotonic() + 3 * self._gap_s, time.monotonic()
        while self.left or self._is_busy:
            self.tick()
            work()
            now = time.monotonic()
            if self.left and now >= next_at and self._begin():
                next_at = now + self._gap_s * self._random.uniform(0.5, 1.5)
            if now - told_at > 60:
                told_at = now
                say(f"{len(self.left)} to come, {dict(sorted(self.did.items()))}")
            time.sleep(TICK_S)

    @property
    def _is_busy(self) -> bool:
        return bool(self._later or self._armed or (self._thread and self._thread.is_alive()))

    def tick(self) -> None:
        """Do what is due, and look at each replica."""
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()
        for replica in self._replicas:
            self._look_at(replica)
        if self._errors:
            raise SystemExit(f"the database could not be brought back: {self._errors[0]}")

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, len(self.did) + self.did.total(), act))

    def _look_at(self, replica: Replica) -> None:
        state, place = replica.state(), self._armed.get(replica.number)
        if place is not None and state == RUNNING and time.monotonic() > place[2] and replica.withdraw():
            self._armed[replica.number] = ("random", place[1], float("inf"))  # it had nothing to do there
            replica.send(place[1])
        elif state == DEAD and replica.life.ended_at is None:
            kind = self._armed.pop(replica.number, None)
            replica.ended()
            self.did[f"kill -9, {kind[0]}" if kind else "exits by themselves"] += 1
            self._after(self._random.uniform(*DEAD_S), replica.start)
        elif state == FROZEN and (not replica.life.freezes or len(replica.life.freezes[-1]) == 2):
            kind = self._armed.pop(replica.number, None)
            replica.life.freezes.append([time.time()])
            self.did[f"freeze, {kind[0] if kind else '?'}"] += 1
            self._after(self._random.uniform(*FROZEN_S), lambda: self._thaw(replica))

    def _thaw(self, replica: Replica) -> None:
        replica.life.freezes[-1].append(time.time())
        replica.send(signal.SIGCONT)

    # -- faults -------------------------------------------------------------------------

    def _begin(self) -> bool:
        """Begin the next fault. False if nothing can meet it now."""
        what = self.left[-1]
        begun = {
            "kill": self._kill, "freeze": self._freeze, "cut": self._cut,
            "postmaster": lambda: self._on_the_database(self._kill_postmaster),
            "promotion": lambda: self._on_the_database(self._promote),
        }[what]()  # fmt: skip
        if begun:
            self.left.pop()
        return begun

    def _victim(self) -> Replica | None:
        alive = [
            each for each in self._replicas
            if each.number not in self._armed and each.state() == RUNNING and time.time() - each.life.began_at > AGE_S
        ]  # fmt: skip
        return self._random.choice(alive) if alive else None

    def _kill(self) -> bool:
        return self._arm(self._random.choice(KINDS) if self._random.random() < NAMED else "random", signal.SIGKILL)

    def _freeze(self) -> bool:
        return self._arm(self._random.choice(FREEZES), signal.SIGSTOP)

    def _arm(self, place: str, number: signal.Signals) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        self._armed[victim.number] = (place, number, time.monotonic() + REACH_S)
        if place == "random":
            victim.send(number)
        else:
            victim.order(number, place)
        return True

    def _cut(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        silently, to_ledger = self._random.random() < 0.6, self._random.random() < 0.6
        number, lasts_s = victim.number, self._random.uniform(*CUT_S)
        keys = (
            [f"ledger{place}-{number}@127.0.0.1" for place in (0, 1)] if to_ledger else [f"recotap@127.0.0.1{number}"]
        )
        began = time.time()
        for key in keys:
            self._links.cut(key, silently=silently)

        def mend() -> None:
            for key in keys:
                self._links.mend(key)
            if to_ledger:
                self.cuts.append((number, Span(began, time.time())))

        self._after(lasts_s, mend)
        self.did[f"cut from {'PostgreSQL' if to_ledger else 'Recotap'}, {'silent' if silently else 'reset'}"] += 1
        return True

    # -- the database -------------------------------------------------------------------

    def _on_the_database(self, act: Callable[[], None]) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return False

        def acted() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - the main thread reports it
                self._errors.append(error)

        self._thread = threading.Thread(target=acted, name="database")
        self._thread.start()
        return True

    def _kill_postmaster(self) -> None:
        began = time.time()
        self._cluster.primary.kill()
        time.sleep(self._random.uniform(*DOWN_S))
        self._cluster.primary.start()
        self.down.append(Span(began, time.time()))
        self.did["kill -9 of the postmaster"] += 1

    def _promote(self) -> None:
        """Lose the primary for ever. Every other time the standby is behind, so the last commits are lost."""
        self._promotions += 1
        is_synchronous = self._promotions % 2 == 1
        if is_synchronous:
            self._cluster.synchronous(True)
            time.sleep(self._random.uniform(1, 3))
        key = f"standby{self._cluster.at}@127.0.0.1"
        self._links.cut(key, silently=False)
        began = time.time()
        time.sleep(self._random.uniform(*BEHIND_S))
        if not is_synchronous:
            began = time.time()
        self._cluster.promote()
        self.down.append(Span(began, time.time()))
        self._links.mend(key)
        self.did[f"promotion, {'synchronous' if is_synchronous else 'the last commits lost'}"] += 1
        self._cluster.attach()


__all__ = ["Chaos"]
