"""Try the alert rules and the dashboard in a real Prometheus: `python tests/deployed/prometheus.py`.

Prometheus scrapes the /metrics of a daemon over stand-ins on loopback, while these change: a refused key, a CRM that is
down or another one, activities that die, a flood, a new kind, wrong clocks, a full disk, a pause, a gap, a row removed
by hand, a stop. Each alert must begin, and end with its cause. node_exporter serves the textfile, made by the line of
MONITORING.md. All queries of the dashboard must return data. promtool checks the rules, their unit tests and the
metrics. For the drill, each `for` is a second, and hours and days are seconds (HASTY). Prints a line for each check.
The exit code is 1 if one fails. Takes about five minutes. Needs Debian's prometheus and prometheus-node-exporter. If
one is missing, it says so and exits with 0, or fails with --must.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from syncd import clock  # noqa: E402 - found by the line above
from syncd.ledger import LedgerHandle  # noqa: E402
from syncd.passes import kept_scopes  # noqa: E402
from syncd.sandbox import Fault  # noqa: E402
from tests.daemons import daemon, wait_until  # noqa: E402
from tests.pages import free_port  # noqa: E402
from tests.world import World  # noqa: E402

RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "syncd.json"
OF_POSTGRES = {"SyncdLanesOverdue"}  # no lane without PostgreSQL: promtool alone tests it
TOOLS = ("prometheus", "promtool", "prometheus-node-exporter")
PATIENCE_S = 120.0  # for one alert: a source is fresh for a minute at least
SECRETS = ("kaya.ivorstone", "amber-bolts", "lanternfield", "Discovery")  # in the records of the stand-ins
DISK = 2**30  # bytes that the drill takes, and half of that may be taken by others meanwhile
# What the rules compare with, and what it is in a drill of minutes.
HASTY = (
    (r"(?m)^( +for: ).*$", r"\g<1>1s"), (r"> 900\b", "> 5"), (r"> 1800\b", "> 30"), (r"6 \* 3600", "5"),
    (r"\b7d\b", "30s"), (r"\b1[hd]\b", "10s"), (r"\b3600\b", "10"), (r"> 1000\b", "> 20"),
)  # fmt: skip
UNREAD: dict[str, Any] = {
    "since": "2026-01-01T00:00:00.000Z", "holders": [], "warnings": [],
    "kinds": [{"object": "Task", "fields": {"Type": "Dialer call"}, "count": 3, "read_as": None, "approximate": False}],
}  # fmt: skip


class Drill:
    """A daemon, a Prometheus, and the results of the checks."""

    def __init__(self, world: World, at: str) -> None:
        self.world, self._at = world, at
        self._open = build_opener(ProxyHandler({})).open
        self.failures: list[str] = []
        self.begun: dict[str, bool] = {}  # by alert: whether it began when it should

    def check(self, what: str, holds: object, figure: object = "") -> None:
        """Print the result of one check, and record a failed one."""
        if not holds:
            self.failures.append(what)
        print(f"{'ok  ' if holds else 'FAIL'} {what}{f': {figure}' if str(figure) else ''}", flush=True)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query. An invalid one is an HTTPError."""
        with self._open(f"{self._at}/api/v1/query?{urlencode({'query': expression})}", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}

    def wait(self, what: str, alert: str, *, fires: bool = True) -> None:
        """Wait until an alert fires, or no longer does."""
        began = time.monotonic()
        while (alert in self.firing()) is not fires and time.monotonic() - began < PATIENCE_S:
            time.sleep(0.5)
        took = time.monotonic() - began
        verb = "begins" if fires else "ends"
        if fires:
            self.begun[alert] = alert in self.firing()
        self.check(f"{what}: {alert} {verb}", (alert in self.firing()) is fires, f"after {took:.0f} s")

    def scrape(self, url: str, accept: str) -> tuple[str, str]:
        """Return the metrics of the daemon, and their content type."""
        with self._open(Request(url, headers={"Accept": accept}), timeout=10) as response:
            return response.read().decode(), response.headers["Content-Type"]


def promtool(*arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["promtool", *arguments], input=given, cwd=RULES, capture_output=True, text=True, check=False, timeout=300
    )


def hasty(rules: str, *, free: int) -> str:
    """Return the rules for a drill of minutes, on a disk of which `free` bytes are free."""
    for wanted, instead in HASTY:
        rules = re.sub(wanted, instead, rules)
    return rules.replace("< 1e9", f"< {free - DISK // 2}")


@contextmanager
def prometheus(path: Path, **targets: str) -> Iterator[str]:
    """Run a Prometheus that scrapes each of `targets`, by job, each second. Yield its address."""
    at = f"127.0.0.1:{free_port()}"
    rules = (RULES / "syncd.rules.yaml").read_text()
    (path / "rules.yaml").write_text(hasty(rules, free=shutil.disk_usage(path).free))
    scrape = [{"job_name": job, "static_configs": [{"targets": [each]}]} for job, each in targets.items()]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": scrape}
    (path / "prometheus.yaml").write_text(json.dumps(document))  # JSON is YAML
    line = [
        "prometheus", f"--config.file={path / 'prometheus.yaml'}", f"--storage.tsdb.path={path / 'data'}",
        f"--web.listen-address={at}",
    ]  # fmt: skip
    with running(line, path / "prometheus.log"):
        yield f"http://{at}"


@contextmanager
def node_exporter(path: Path) -> Iterator[str]:
    """Run a node_exporter that serves the textfiles in `path`, and yield its address."""
    at = f"127.0.0.1:{free_port()}"
    path.mkdir()
    line = [
        "prometheus-node-exporter", f"--web.listen-address={at}", "--collector.disable-defaults",
        "--collector.textfile", f"--collector.textfile.directory={path}",
    ]  # fmt: skip
    with running(line, path.with_suffix(".log")):
        yield at


@contextmanager
def running(line: list[str], output: Path) -> Iterator[None]:
    """Run a program within."""
    with output.open("wb") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()


def until_ready(drill: Drill) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            if drill.query("sum(syncd_passes_total) > 3"):
                return
        except OSError:
            pass
        time.sleep(0.5)
    drill.check("Prometheus scrapes the daemon", False)


def log_a_call(world: World) -> None:
    """Put a call that is logged now. It was made hours ago, so nothing of it has to settle."""
    world.call(ago=timedelta(seconds=30), happened=world.now() - timedelta(hours=3))


def files(drill: Drill) -> None:
    """Check the rules and their unit tests."""
    for arguments in (
        ["check", "rules", "syncd.rules.yaml"],
        *(["test", "rules", file.name] for file in sorted(RULES.glob("*.test.yaml"))),
    ):
        done = promtool(*arguments)
        drill.check(f"promtool {' '.join(arguments)}", done.returncode == 0, done.stderr.strip())


def metrics(drill: Drill, target: str) -> None:
    """Check both formats of the metrics."""
    text, kind = drill.scrape(f"http://{target}/metrics", "text/plain")
    done = promtool("check", "metrics", given=text)
    drill.check("promtool check metrics", (done.returncode, done.stdout + done.stderr) == (0, ""), done.stderr)
    drill.check("the text format", kind.startswith("text/plain; version=0.0.4"), kind)
    text, kind = drill.scrape(f"http://{target}/metrics", "application/openmetrics-text;version=1.0.0")
    drill.check("OpenMetrics, if it is asked for", text.endswith("# EOF\n"), kind)
    drill.check("no text of a record in the metrics", not [word for word in SECRETS if word in text])


def dashboard(drill: Drill) -> None:
    """Check that each query of the dashboard returns data, after deliveries within the span that was scraped."""
    for _ in range(3):
        log_a_call(drill.world)
        time.sleep(3)
    queries = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    queries = [query for query in queries if "syncd_lanes" not in query]  # of PostgreSQL alone
    values = {query: drill.query(query.replace("$instance", ".*")) for query in queries}
    empty = [query for query, found in values.items() if not found or any(each["value"][1] == "NaN" for each in found)]
    drill.check(f"all {len(queries)} queries of the dashboard return data", not empty, "; ".join(empty))


def troubles(drill: Drill) -> None:
    """Make trouble, and wait for each alert to begin and to end."""
    world = drill.world
    drill.check("no alert over a healthy daemon", not drill.firing(), drill.firing() or "")
    world.recotap.set(keys=["another"])
    log_a_call(world)
    drill.wait("Recotap refuses the key", "SyncdKeyRefused")
    drill.wait("nothing is taken", "SyncdRecotapSilent")
    drill.wait("an activity waits", "SyncdBacklogOld")
    world.recotap.set(keys=[world.box.key])
    drill.wait("the key is accepted again", "SyncdKeyRefused", fires=False)
    drill.wait("it is sent", "SyncdBacklogOld", fires=False)
    drill.wait("activities are taken", "SyncdRecotapSilent", fires=False)
    world.hubspot.faults.add(Fault(match="calls/search", status=503, count=None))
    drill.wait("HubSpot is down", "SyncdSourceNotFresh")
    world.hubspot.faults.clear()
    drill.wait("HubSpot is back", "SyncdSourceNotFresh", fires=False)
    portal, tokens, token = world.hubspot.portal_id, world.hubspot.tokens, world.token_file.read_text()
    world.hubspot.set(portal_id=portal + 1, tokens={**tokens, "pat-of-another-portal": tokens[world.box.token]})
    world.token_file.write_text("pat-of-another-portal")
    drill.wait("another portal's token", "SyncdPassBroken")
    world.token_file.write_text(token)
    world.hubspot.set(portal_id=portal)
    drill.wait("the right one", "SyncdPassBroken", fires=False)


def activities(drill: Drill) -> None:
    """Have an activity die, log many calls at once, and let an app write calls of its own kind."""
    world = drill.world
    world.recotap.rule("refuse")
    log_a_call(world)
    wait_until(lambda: drill.query('syncd_pending_activities{step="refused"} > 0'), at_most=PATIENCE_S)
    time.sleep(2)  # `max_age` of the drill
    world.sql("UPDATE activities SET next_attempt_at = ? WHERE state = 'pending'", clock.text(world.now()))
    drill.wait("an activity dies", "SyncdActivitiesDied")
    world.recotap.clear_rules()
    drill.wait("no other dies", "SyncdActivitiesDied", fires=False)
    for _ in range(60):
        log_a_call(world)
    drill.wait("many calls at once", "SyncdFlood")
    drill.wait("a call now and then", "SyncdFlood", fires=False)
    kinds = [*UNREAD["kinds"], {**UNREAD["kinds"][0], "fields": {"Type": "Another dialer's call"}}]
    world.sql("UPDATE store SET value = ? WHERE key = ?", json.dumps({**UNREAD, "kinds": kinds}), kept_scopes.KEPT)
    drill.wait("a new kind", "SyncdUnreadKind")
    drill.wait("a day later", "SyncdUnreadKind", fires=False)


def machine(drill: Drill) -> None:
    """Let the servers disagree with this machine's clock, and take much of its disk."""
    world = drill.world
    for each in (world.hubspot, world.recotap):
        each.set_date(skew_s=7200)
    log_a_call(world)  # so that Recotap is asked too
    drill.wait("the clock is two hours behind", "SyncdClockWrong")
    for each in (world.hubspot, world.recotap):
        each.set_date()
    drill.wait("the clock is right", "SyncdClockWrong", fires=False)
    file = world.path / "large"
    with file.open("wb") as large:
        os.posix_fallocate(large.fileno(), 0, DISK)
    drill.wait("the disk is nearly full", "SyncdDiskLow")
    file.unlink()
    drill.wait("there is room again", "SyncdDiskLow", fires=False)


def textfile(drill: Drill, folder: Path) -> None:
    """Write the textfile by the line of MONITORING.md, and let it become old."""
    (line,) = re.findall(r"(?m)^ExecStart=/bin/sh -c '(.*)'$", (RULES.parent / "MONITORING.md").read_text())
    syncd = shlex.join([sys.executable, "-m", "syncd"])
    line = line.replace("/opt/syncd/bin/syncd", syncd).replace("/etc/syncd/syncd.toml", str(drill.world.config_file))
    file = folder / "syncd.prom"

    def write() -> None:
        subprocess.run(["sh", "-c", line], cwd=ROOT, env={**os.environ, "FILE": str(file)}, check=True)

    write()
    wanted = 'syncd_activities_seen_total{job="node"}'
    found = wait_until(lambda: drill.query(f"sum({wanted})"), at_most=PATIENCE_S)
    drill.check("node_exporter serves the textfile", found, f"{found[0]['value'][1]} activities")
    old = time.time() - 60
    os.utime(file, (old, old))
    drill.wait("the timer has stopped", "SyncdTextfileOld")
    write()
    drill.wait("it runs again", "SyncdTextfileOld", fires=False)


def books(drill: Drill) -> None:
    """Change the ledger beside the daemon: a gap, a pause, a row removed by hand."""
    world, now = drill.world, drill.world.now()
    since, until, later = (clock.text(now + timedelta(hours=hours)) for hours in (-3, -2, 2))
    world.sql(
        "INSERT INTO ranges (stream_id, since, until, why, next_attempt_at, created_at) VALUES (1, ?, ?, 'gap', ?, ?)",
        since, until, later, since,
    )  # fmt: skip
    drill.wait("a span is not served", "SyncdGapOpen")
    world.sql("DELETE FROM ranges")
    drill.wait("the span is read", "SyncdGapOpen", fires=False)
    pause = "INSERT INTO pauses (name, until, reason, booked_at) VALUES ('hubspot', ?, 'the quota is used up', ?)"
    world.sql(pause, later, since)
    drill.wait("a quota is used up", "SyncdPaused")
    world.sql("DELETE FROM pauses")
    drill.wait("the pause is lifted", "SyncdPaused", fires=False)
    world.sql("DELETE FROM activities WHERE id = 1")
    drill.wait("a row is removed", "SyncdBooksUnbalanced")


def drilled(path: Path) -> list[str]:
    """Make the drill in `path`. Return the checks that failed."""
    target = f"127.0.0.1:{free_port()}"
    with World(path, real_time=True) as world:
        world.configure("schedule", every="1s")
        world.configure("web", listen=target)
        world.configure("recotap", max_age="1s")
        world.calls(30)
        world.call(contacts=[])
        world.sync()
        with LedgerHandle(world.ledger).open() as ledger:
            ledger.keep("hubspot", {kept_scopes.KEPT: UNREAD}, world.now())
        exporter = node_exporter(path / "textfiles")
        with exporter as node, prometheus(path, syncd=target, node=node) as at:
            drill = Drill(world, at)
            files(drill)
            with daemon(world.write_config(), alone=True) as process:
                process.hear("pass.finished")
                until_ready(drill)
                metrics(drill, target)
                dashboard(drill)
                for part in (troubles, activities, machine):
                    part(drill)
                textfile(drill, path / "textfiles")
                books(drill)
                process.stop()
            drill.wait("the daemon stops", "SyncdDown")
            fired = {alert for alert, begun in drill.begun.items() if begun}
            names = set(re.findall(r"alert: (\w+)", (RULES / "syncd.rules.yaml").read_text())) - OF_POSTGRES
            drill.check(f"all {len(names)} alerts began", fired == names, ", ".join(names - fired))
    return drill.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--must", action="store_true", help="fail if Prometheus is missing")
    must = parser.parse_args().must
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not found. apt-get install prometheus prometheus-node-exporter")
        return int(must)
    with tempfile.TemporaryDirectory() as path:
        failures = drilled(Path(path))
    print(f"FAILED: {', '.join(failures)}" if failures else "all well")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
