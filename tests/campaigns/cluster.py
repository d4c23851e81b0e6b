"""Run a PostgreSQL of a campaign's own: a primary, a standby that streams from it, and their deaths.

fsync and synchronous_commit are on. The primary answers a standby through a link, which the campaign can cut.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

USER, DATABASE = "syncd", "syncd_campaign"
PATIENCE_S = 60.0  # for each step of PostgreSQL on a busy machine
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
wal_level = replica
max_connections = 200
max_wal_senders = 8
wal_keep_size = '512MB'
wal_sender_timeout = '10s'
wal_receiver_timeout = '10s'
hot_standby = on
"""


def programs() -> Path:
    """Return the folder of the newest PostgreSQL on this machine. SystemExit if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if not found:
        raise SystemExit("no PostgreSQL here: apt-get install postgresql")
    return found[-1]


def free_port() -> int:
    """Return a port of loopback that nothing uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(true: Callable[[], Any], what: str, *, at_most_s: float = PATIENCE_S) -> None:
    """Wait until `true` returns something true. SystemExit if it does not in time."""
    ends = time.monotonic() + at_most_s
    while not true():
        if time.monotonic() > ends:
            raise SystemExit(f"not within {at_most_s:g} s: {what}")
        time.sleep(0.05)


class Server:
    """One PostgreSQL server, which has a folder and a port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def run(self, program: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program of PostgreSQL as its user, who must not be root."""
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        line = [*as_user, str(programs() / program), *arguments]
        ran = subprocess.run(
            line, cwd=self.folder.parent, check=False, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        if check and ran.returncode:
            raise SystemExit(f"{program} failed: {ran.stdout[-2000:]}")
        return ran

    def start(self) -> None:
        """Start it. After a crash its old processes may still be about to end, so it is tried again."""
        log = str(self.folder.with_suffix(".log"))
        start = ("-D", str(self.folder), "-l", log, "-w", "-t", str(round(PATIENCE_S)), "start")
        wait_until(lambda: self.run("pg_ctl", *start, check=False).returncode == 0, f"PostgreSQL starts, see {log}")

    def kill(self) -> None:
        """Kill the postmaster with -9. Its other processes notice that, and end."""
        pid = int((self.folder / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop it at once, if it runs."""
        self.run("pg_ctl", "-D", str(self.folder), "-m", "immediate", "-w", "stop", check=False)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement, as the superuser. psycopg.Error if that fails."""
        with psycopg.connect(self.address(), autocommit=True, connect_timeout=5) as db:
            cursor = db.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def address(self) -> str:
        """Return its address for libpq, without any link."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"


class Cluster:
    """Two servers, of which one is the primary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = (Server(folder / "one", free_port()), Server(folder / "two", free_port()))
        self.at = 0  # the primary's place in `servers`
        self.standby_port: Callable[[int], int] = lambda place: self.servers[place].port  # to reach a primary by

    @property
    def primary(self) -> Server:
        """Return the server that takes writes."""
        return self.servers[self.at]

    @property
    def standby(self) -> Server:
        """Return the other server."""
        return self.servers[1 - self.at]

    def create(self) -> None:
        """Make the primary and its database, and start it."""
        server = self.primary
        server.run("initdb", "-D", str(server.folder), "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C")
        with (server.folder / "postgresql.conf").open("a") as file:
            file.write(f"{SETTINGS}port = {server.port}\n")
        server.start()
        make = ("-q", "-h", "127.0.0.1", "-p", str(server.port), "-U", USER, "-d", "postgres")
        server.run("psql", *make, "-c", f"CREATE DATABASE {DATABASE}")

    def attach(self) -> None:
        """Make the other server a standby of the primary from a fresh copy, and wait until it streams."""
        server = self.standby
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
        source = f"host=127.0.0.1 port={self.standby_port(self.at)} user={USER}"
        server.run("pg_basebackup", "-D", str(server.folder), "-d", source, "-R", "-X", "stream", "-c", "fast")
        with (server.folder / "postgresql.auto.conf").open("a") as file:
            file.write(f"port = {server.port}\nsynchronous_standby_names = ''\n")
        server.start()
        wait_until(self.is_streaming, "the standby streams")

    def is_streaming(self) -> bool:
        """Tell whether the standby has all that the primary has written, and follows."""
        return bool(self.primary.ask("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))

    def synchronous(self, wanted: bool) -> None:
        """Let each commit wait for the standby, or not."""
        names = "*" if wanted else ""
        self.primary.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.primary.ask("SELECT pg_reload_conf()")
        if wanted:
            in_step = "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"
            wait_until(lambda: self.primary.ask(in_step), "the standby is synchronous")

    def promote(self) -> None:
        """Kill the primary, and make its standby the primary. The other server is then none until `attach`."""
        self.primary.kill()
        self.standby.run("pg_ctl", "-D", str(self.standby.folder), "-w", "promote")
        self.at = 1 - self.at


@contextmanager
def cluster(keep: Path | None = None) -> Iterator[Cluster]:
    """Make a primary in a temporary folder, and remove all of it at the end, except the logs if they are to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-cluster-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    made = Cluster(folder)
    try:
        made.create()
        yield made
    finally:
        for server in made.servers:
            server.stop()
            log = server.folder.with_suffix(".log")
            if keep and log.exists():
                shutil.copy(log, keep / f"postgres-{log.name}")
        shutil.rmtree(folder, ignore_errors=True)


__all__ = ["DATABASE", "USER", "Cluster", "Server", "cluster", "wait_until"]
