"""Try the alert rules and the dashboard in a real Prometheus: `python tests/deployed/prometheus.py`.

Prometheus scrapes the /metrics of a daemon over stand-ins on loopback, while these change: a refused key, a CRM that is
down, a pause, a gap, a row removed by hand, a stop. Each alert must begin, and end with its cause. All queries of the
dashboard must return data. promtool checks the rules, their unit tests and the metrics. For the drill, each `for` is a
second. The alerts that compare with an hour before or with a threshold of the machine are left to the unit tests.
Prints a line for each check. The exit code is 1 if one fails. Takes about three minutes. Needs Debian's prometheus. If
it is missing, it says so and exits with 0, or fails with --must.
"""

import argparse
import json
import re
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
from syncd.passes import scopes  # noqa: E402
from syncd.sandbox import Fault  # noqa: E402
from tests.daemons import daemon  # noqa: E402
from tests.pages import free_port  # noqa: E402
from tests.world import World  # noqa: E402

RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "syncd.json"
TOOLS = ("prometheus", "promtool")
PATIENCE_S = 120.0  # for one alert: a source is fresh for a minute at least
SECRETS = ("kaya.ivorstone", "amber-bolts", "lanternfield", "Discovery")  # in the records of the stand-ins
UNREAD = {
    "since": "2026-01-01T00:00:00.000Z", "holders": [], "warnings": [],
    "kinds": [{"object": "Task", "fields": {"Type": "Dialer call"}, "count": 3, "read_as": None, "approximate": False}],
}  # fmt: skip


class Drill:
    """A daemon, a Prometheus, and the results of the checks."""

    def __init__(self, world: World, at: str) -> None:
        self.world, self._at = world, at
        self._open = build_opener(ProxyHandler({})).open
        self.failures: list[str] = []

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
        self.check(f"{what}: {alert} {verb}", (alert in self.firing()) is fires, f"after {took:.0f} s")

    def scrape(self, url: str, accept: str) -> tuple[str, str]:
        """Return the metrics of the daemon, and their content type."""
        with self._open(Request(url, headers={"Accept": accept}), timeout=10) as response:
            return response.read().decode(), response.headers["Content-Type"]


def promtool(*arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["promtool", *arguments], input=given, cwd=RULES, capture_output=True, text=True, check=False, timeout=300
    )


def hasty(rules: str) -> str:
    """Return the rules for a drill of minutes: a condition need not last."""
    return re.sub(r"(?m)^( +for: ).*$", r"\g<1>1s", rules).replace("> 900", "> 5")


@contextmanager
def prometheus(path: Path, target: str) -> Iterator[str]:
    """Run a Prometheus that scrapes `target` each second, and yield its address."""
    at = f"127.0.0.1:{free_port()}"
    (path / "rules.yaml").write_text(hasty((RULES / "syncd.rules.yaml").read_text()))
    scrape = [{"job_name": "syncd", "static_configs": [{"targets": [target]}]}]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": scrape}
    (path / "prometheus.yaml").write_text(json.dumps(document))  # JSON is YAML
    line = [
        "prometheus", f"--config.file={path / 'prometheus.yaml'}", f"--storage.tsdb.path={path / 'data'}",
        f"--web.listen-address={at}",
    ]  # fmt: skip
    with (path / "prometheus.log").open("wb") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        try:
            yield f"http://{at}"
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
    world.recotap.set(keys=[world.box.key])
    drill.wait("the key is accepted again", "SyncdKeyRefused", fires=False)
    drill.wait("activities are taken", "SyncdRecotapSilent", fires=False)
    world.hubspot.faults.add(Fault(match="calls/search", status=503, count=None))
    drill.wait("HubSpot is down", "SyncdSourceNotFresh")
    world.hubspot.faults.clear()
    drill.wait("HubSpot is back", "SyncdSourceNotFresh", fires=False)


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
        world.calls(30)
        world.call(contacts=[])
        world.sync()
        with LedgerHandle(world.ledger).open() as ledger:
            ledger.keep("hubspot", {scopes.KEPT: UNREAD}, world.now())
        with prometheus(path, target) as at:
            drill = Drill(world, at)
            files(drill)
            with daemon(world.write_config(), alone=True) as running:
                running.hear("pass.finished")
                until_ready(drill)
                metrics(drill, target)
                dashboard(drill)
                troubles(drill)
                books(drill)
                running.stop()
            drill.wait("the daemon stops", "SyncdDown")
    return drill.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--must", action="store_true", help="fail if Prometheus is missing")
    must = parser.parse_args().must
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} is missing. apt-get install prometheus")
        return int(must)
    with tempfile.TemporaryDirectory() as path:
        failures = drilled(Path(path))
    print(f"FAILED: {', '.join(failures)}" if failures else "all well")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
