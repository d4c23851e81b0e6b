"""The files for Prometheus and Grafana: they name metrics that exist, and each alert is tested and says what to do.

tests/deployed/prometheus.py tries them in a real Prometheus.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from syncd.cli.commands import COMMANDS
from syncd.ledger import LedgerHandle
from syncd.metrics import gather
from syncd.metrics.families import families
from tests.world import World

DEPLOY = Path(__file__).parents[1] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "syncd.rules.yaml").read_text())["groups"][0]["rules"]
TESTS = sorted(PROMETHEUS.glob("*.test.yaml"))
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
    assert len(RULES) == len({rule["alert"] for rule in RULES}) == 15
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


@pytest.mark.parametrize("arguments", [["check", "rules", "syncd.rules.yaml"], ["test", "rules", "syncd.test.yaml"]])
def test_promtool_has_no_complaint(arguments: list[str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
