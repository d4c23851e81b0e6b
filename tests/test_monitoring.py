"""The files for Prometheus and Grafana: they name metrics that exist, and each alert is tested and says what to do.

tests/deployed/prometheus.py tries them in a real Prometheus.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from syncd.cli.commands import COMMANDS
from syncd.ledger import LedgerHandle
from syncd.metrics import gather
from syncd.metrics.families import families
from tests.world import World

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "syncd.rules.yaml").read_text())["groups"][0]["rules"]
TESTS = sorted(PROMETHEUS.glob("*.test.yaml"))
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "syncd.json").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())
METRIC = re.compile(r"\bsyncd_[a-z_]+")
SUFFIXES = {"counter": "_total", "histogram": "_bucket", "info": "_info"}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all series, as Prometheus knows them."""
    path = tmp_path_factory.mktemp("metrics")
    with World(path) as world:
        world.sync()
        with LedgerHandle(world.ledger).reports() as glance:
            found = [*families(gather(glance, world.config(), world.now()))]
    return {family.name + SUFFIXES.get(family.type, "") for family in found}


def test_rules_name_metrics_that_exist(metrics: set[str]) -> None:
    assert len(RULES) == len({rule["alert"] for rule in RULES}) == 16
    for rule in RULES:
        assert set(METRIC.findall(rule["expr"])) <= metrics, rule["alert"]


def test_each_alert_says_in_one_line_what_to_do_and_names_commands_that_exist() -> None:
    words = {command.__name__.rstrip("_") for commands in COMMANDS.values() for command in commands}
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        told = rule["annotations"]
        assert set(told) == {"summary", "description"}
        assert set(re.findall(r"`syncd (\w+)", told["description"])) <= words, rule["alert"]


def test_each_alert_is_tested_to_begin_and_all_are_silent_over_a_healthy_syncd() -> None:
    tests = [test for file in TESTS for test in yaml.safe_load(file.read_text())["tests"]]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == {rule["alert"] for rule in RULES}
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == {rule["alert"] for rule in RULES}
    healthy = [test for test in tests if "promql_expr_test" in test]
    assert [case["expr"] for test in healthy for case in test["promql_expr_test"]] == ["count(ALERTS)"] * 2


def test_the_dashboard_names_metrics_that_exist_and_panels_do_not_overlap(metrics: set[str]) -> None:
    panels = DASHBOARD["panels"]
    shown = {name for panel in panels for target in panel["targets"] for name in METRIC.findall(target["expr"])}
    assert len(shown) >= 18
    assert shown <= metrics
    cells = [
        (at["x"] + x, at["y"] + y)
        for at in (panel["gridPos"] for panel in panels) for x in range(at["w"]) for y in range(at["h"])
    ]  # fmt: skip
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24, "the columns of Grafana's grid"
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels)


def test_the_dashboard_is_one_that_grafana_can_provision() -> None:
    """Provisioning takes a dashboard as it is: it assigns the id, and replaces no `__inputs` as an import does."""
    assert not {"id", "__inputs", "__requires"} & DASHBOARD.keys()
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", DASHBOARD["uid"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for each in (*DASHBOARD["panels"], *(target for panel in DASHBOARD["panels"] for target in panel["targets"])):
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert {name for query in queries for name in re.findall(r"\$(\w+)", query)} <= variables.keys()
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounts = [mount.split(":")[1] for mount in COMPOSE["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/{DASHBOARD['uid']}.json" in mounts
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasource.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def test_the_profile_watch_mounts_files_that_exist_and_is_off_by_default() -> None:
    services = COMPOSE["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["watch"]} == {
        "prometheus", "grafana",
    }  # fmt: skip
    assert "profiles" not in services["syncd"]
    for name in ("prometheus", "grafana"):
        image, _, version = services[name]["image"].partition(":")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", version), image
        for mount in services[name]["volumes"]:
            source = mount if isinstance(mount, dict) else mount.split(":")[0]
            if isinstance(source, str) and source.startswith("."):
                assert (DEPLOY / "container" / source).resolve().exists(), source
            elif isinstance(source, str):
                assert source in COMPOSE["volumes"]
    scrape = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())
    assert scrape["scrape_configs"][0]["job_name"] == "syncd", "as the rules call it"
    assert [(PROMETHEUS / name).is_file() for name in scrape["rule_files"]] == [True]


def textfile_line() -> str:
    """The command of the unit in MONITORING.md, as systemd gives it to sh."""
    (line,) = re.findall(r"(?m)^ExecStart=/bin/sh -c '(.*)'$", (DEPLOY / "MONITORING.md").read_text(encoding="utf-8"))
    return str(line)


def test_the_line_for_node_exporter_replaces_the_file_or_leaves_it(live: World) -> None:
    file = live.path / "syncd.prom"
    syncd = shlex.join([sys.executable, "-m", "syncd"])
    line = (
        textfile_line().replace("/opt/syncd/bin/syncd", syncd).replace("/etc/syncd/syncd.toml", str(live.config_file))
    )
    environ = {**os.environ, "FILE": str(file)}
    file.write_text("old")
    done = subprocess.run(["sh", "-c", line], env=environ, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, file.read_text()) == (74, "old"), "there is no ledger yet"
    live.sync()
    subprocess.run(["sh", "-c", line], env=environ, cwd=ROOT, check=True)
    assert "syncd_ledger_balanced 1.0\n" in file.read_text()
    assert [each.name for each in live.path.glob("syncd.prom*")] == ["syncd.prom"]


def test_the_page_names_every_alert() -> None:
    page = (DEPLOY / "MONITORING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(Syncd\w+)`", page)) == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("arguments", [["check", "rules", "syncd.rules.yaml"], ["test", "rules", "syncd.test.yaml"]])
def test_promtool_has_no_complaint(arguments: list[str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
