"""Measure what the status page costs a daemon: `python tests/deployed/web/crowd.py [--calls N] [--times N]`.

Prints the time of a first pass over N calls with and without 50 clients that ask again and again, then the memory and
the idle processor time of a daemon that is scraped every 15 s, against one without a page. Fails if the crowd adds a
fifth to the daemon's processor time in a pass, or if the page takes more than 15 MiB or 0.5 % of a core. The clients
need a core of their own, so on a busy machine the pass takes longer with them. Takes about three minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.daemons import daemon  # noqa: E402 # a command, run as a file
from tests.pages import Client, free_port  # noqa: E402
from tests.world import World  # noqa: E402

CLIENTS = 50
LONGER = 1.2
MOST_MIB = 15.0
MOST_SHARE = 0.005
IDLE_S = 45.0
SCRAPE_S = 15.0
# Each client opens a connection, reads the whole answer, and begins again.
CROWD = """
import asyncio, sys
port, counts = int(sys.argv[1]), [0, 0]
async def client():
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET / HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n".encode())
            counts[not (await reader.read()).startswith(b"HTTP/1.1 200")] += 1
            writer.close()
        except OSError:
            await asyncio.sleep(0.5)
async def crowd():
    for _ in range(int(sys.argv[2])):
        asyncio.create_task(client())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(*counts)
    sys.stdout.flush()
    import os; os._exit(0)
asyncio.run(crowd())
"""


@contextmanager
def crowd(port: int, clients: int) -> Iterator[list[int]]:
    """Have `clients` ask within. Afterwards the list has the numbers of answered and refused requests."""
    counts: list[int] = []
    line = [sys.executable, "-c", CROWD, str(port), str(clients)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield counts
        counts += map(int, process.communicate()[0].split())


def pass_s(folder: Path, calls: int, clients: int) -> tuple[float, float, list[int]]:
    """Return the seconds of a first pass, the daemon's processor time, and the answered and cut requests."""
    folder.mkdir()
    with World(folder, real_time=True) as world:
        world.calls(calls)
        port = free_port()
        world.configure("web", listen=f"127.0.0.1:{port}")
        world.configure("schedule", every="1h")
        config = world.write_config()
        with crowd(port, clients) as counts, daemon(config, alone=True) as running:
            running.hear("pass.finished", at_most=300)
            cpu_s = _cpu_s(running.pid)
            running.stop(at_most=60)
        (row,) = world.sql("SELECT (julianday(finished_at) - julianday(started_at)) * 86400 FROM passes")
        return row[0], cpu_s, counts


def idle(folder: Path, *, page: bool) -> tuple[float, float]:
    """Return the MiB of memory and the share of a core of an idle daemon, perhaps with a page that is read."""
    folder.mkdir()
    with World(folder, real_time=True) as world:
        world.calls(50)
        port = free_port()
        if page:
            world.configure("web", listen=f"127.0.0.1:{port}")
        world.configure("schedule", every="1h")
        with daemon(world.write_config(), alone=True) as running:
            running.hear("pass.finished")
            time.sleep(5)
            began = _cpu_s(running.pid)
            for _ in range(int(IDLE_S / SCRAPE_S)):
                if page:
                    Client(port)("/metrics")
                time.sleep(SCRAPE_S)
            found = _mib(running.pid), (_cpu_s(running.pid) - began) / IDLE_S
            running.stop()
            return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    options = argparse.ArgumentParser(description="Measure what the status page costs a daemon.")
    options.add_argument("--calls", type=int, default=3000)
    options.add_argument("--times", type=int, default=3)
    given = options.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        alone, crowded = [], []
        for number in range(given.times):
            seconds, cpu_s, _ = pass_s(root / f"alone-{number}", given.calls, 0)
            alone.append(cpu_s)
            print(f"pass of {given.calls} calls alone: {seconds:.2f} s, the daemon's processor time {cpu_s:.2f} s")
            seconds, cpu_s, (answered, cut) = pass_s(root / f"crowded-{number}", given.calls, CLIENTS)
            crowded.append(cpu_s)
            print(f"with {CLIENTS} clients: {seconds:.2f} s, {cpu_s:.2f} s; {answered} answered, {cut} cut at the end")
        failed += median(crowded) > median(alone) * LONGER
        (less_mib, less), (more_mib, more) = idle(root / "without", page=False), idle(root / "with", page=True)
        print(f"memory: {less_mib:.1f} MiB, with a page {more_mib:.1f} MiB")
        print(f"idle: {less:.2%} of a core, with a page {more:.2%}")
        failed += more_mib - less_mib > MOST_MIB
        failed += more - less > MOST_SHARE
    print("FAILED" if failed else "passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
