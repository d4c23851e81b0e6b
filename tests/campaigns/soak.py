"""Let `syncd run` make thousands of passes over changing CRMs, and check that memory and files stay flat.

    python tests/campaigns/soak.py --passes 2000
    python tests/campaigns/soak.py --passes 2000 --crm hubspot

It has the CRMs and faults of kill.py, but no kills: one daemon makes all passes without pauses. At intervals its
resident memory, file descriptors, threads, and the sizes of WAL and ledger are read from outside. After the soak come a
few normal passes: lost 0, doubled 0, nothing mapped wrongly, the books balance.
Prints a table. The exit code is 1 if something grew or one of these fails.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from syncd import log  # noqa: E402 - found by the line above, wherever this is started
from tests.campaigns.kill import CRMS, Campaign, table  # noqa: E402
from tests.daemons import Daemon, daemon  # noqa: E402
from tests.orgs import OrgWorld  # noqa: E402
from tests.world import World  # noqa: E402

MILDER = 10
WORK_S = 0.5  # seconds between two changes in the CRMs
SAMPLES = 20
WAL_MOST_KIB = 8 * 1024  # the WAL is truncated after each pass, and SQLite checkpoints it from 4 MiB on
RSS_MAY_GROW_MIB = 3.0  # growth from the first quarter to the last: allocator noise on one plateau, and the cache
# of a ledger that is still smaller than its 8 MiB


@dataclass(frozen=True)
class Sample:
    """One measurement of the daemon from outside."""

    passes: int
    seconds: float
    rss_mib: float
    fds: int
    threads: int
    wal_kib: float
    ledger_mib: float

    @classmethod
    def of(cls, running: Daemon, ledger: Path, passes: int, began: float) -> "Sample":
        process = Path(f"/proc/{running.pid}")
        facts = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        wal = ledger.with_name(ledger.name + "-wal")
        return cls(
            passes, time.monotonic() - began, int(facts["VmRSS"].split()[0]) / 1024,
            len(list((process / "fd").iterdir())), int(facts["Threads"]),
            wal.stat().st_size / 1024 if wal.exists() else 0.0, ledger.stat().st_size / 2**20,
        )  # fmt: skip


class Passes:
    """A counter of the passes in a growing log, which reads only new text."""

    def __init__(self, file: Path) -> None:
        self._file, self._at, self._rest, self.count = file, 0, "", 0

    def look(self) -> int:
        with self._file.open() as log_file:
            log_file.seek(self._at)
            text = self._rest + log_file.read()
            self._at = log_file.tell()
        whole, _, self._rest = text.rpartition("\n")
        self.count += whole.count('"event": "pass.finished"')
        return self.count


def soak(campaign: Campaign, *, passes: int, warm_s: float) -> list[Sample]:
    """Run the daemon for `passes` passes after it is warm, and return samples at equal intervals.

    It is warm if everything is imported and the overlap is full of changing records.
    """
    world = campaign.world
    world.configure("schedule", every="10ms")
    for fault in (fault for crm in campaign.crms for fault in crm.faults):
        fault.probability /= MILDER  # otherwise a pass would mostly wait between tries
    samples: list[Sample] = []
    with daemon(world.write_config()) as running:
        began, counted = time.monotonic(), Passes(world.config_file.with_suffix(".log"))
        warm: int | None = None
        while warm is None or counted.look() < warm + passes:
            if running.process.poll() is not None:
                raise SystemExit(f"the daemon exited by itself with {running.process.returncode}")
            campaign.work()
            time.sleep(WORK_S)
            if warm is None:
                warm = counted.look() if time.monotonic() - began >= warm_s else None
            elif counted.count - warm >= (len(samples) + 1) * passes / SAMPLES:
                samples.append(Sample.of(running, world.ledger, counted.count, began))
                print(shown(samples[-1]), flush=True)
        if code := running.stop(at_most=60):
            raise SystemExit(f"the daemon exited with {code}")
    return samples


def shown(sample: Sample) -> str:
    return (
        f"{sample.passes:>7} passes {sample.seconds:7.1f} s   RSS {sample.rss_mib:6.1f} MiB   {sample.fds:>3} fds "
        f"{sample.threads:>3} threads   WAL {sample.wal_kib:7.1f} KiB   ledger {sample.ledger_mib:6.1f} MiB"
    )


def growth(samples: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Compare the last quarter of the samples with the first. Return the figures and the growth."""
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    before, after = (statistics.median(sample.rss_mib for sample in part) for part in (first, last))
    figures, grown = [f"RSS {before:.1f} MiB in the first quarter, {after:.1f} in the last"], []
    if after - before > RSS_MAY_GROW_MIB:
        grown.append(f"RSS grew from {before:.1f} to {after:.1f} MiB")
    for name, many in (("fds", 4), ("threads", 4)):  # a pass in progress has some more than the idle daemon
        before, after = (max(getattr(sample, name) for sample in part) for part in (first, last))
        figures.append(f"{name} at most {before:.0f}, then {after:.0f}")
        if after - before > many:
            grown.append(f"{name} grew from {before:.0f} to {after:.0f}")
    most = max(sample.wal_kib for sample in samples)
    figures.append(f"WAL at most {most:.0f} KiB")
    if most > WAL_MOST_KIB:
        grown.append(f"the WAL grew to {most:.0f} KiB")
    return figures, grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=2000)
    parser.add_argument("--warm", type=float, default=150.0, help="seconds of warm-up before the first sample")
    parser.add_argument("--crm", choices=CRMS, default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=4, help="new records every half second, over all CRMs")
    chosen = parser.parse_args()
    log.configure()
    both = chosen.crm == "both"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        with OrgWorld(path, with_hubspot=True, real_time=True) if both else World(path, real_time=True) as world:
            campaign = Campaign(world, seed=chosen.seed, each=chosen.each)
            samples = soak(campaign, passes=chosen.passes, warm_s=chosen.warm)
            tally = campaign.finish()
    print(table(tally))
    figures, grown = growth(samples)
    print("; ".join(figures))
    if faults := [*grown, *tally.faults()]:
        raise SystemExit("; ".join(faults))


if __name__ == "__main__":
    main()
