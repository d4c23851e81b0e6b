"""The files of deploy/ for replicas on PostgreSQL: they agree with the others, and their SQL runs on a ledger."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from syncd.config import Config, load
from syncd.config.models import RunConfig
from tests.ledgers import URL, ask, in_postgres
from tests.test_deploy import COMPOSE, DEPLOY, STOP_S, SYNCD, of_kind, run

FOLDER = DEPLOY / "kubernetes" / "replicas"
FILES = {file.stem: [*yaml.safe_load_all(file.read_text(encoding="utf-8"))] for file in FOLDER.glob("*.yaml")}
DEPLOYMENT, BUDGET = FILES["deployment"]
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
PAGE = (DEPLOY / "replicas.md").read_text(encoding="utf-8")
BLOCKS = {kind: re.findall(rf"(?ms)^```{kind}\n(.*?)^```", PAGE) for kind in ("toml", "sql", "sh")}
REFERENCE = re.compile(r'"file:/etc/syncd/([\w.-]+)"')


def configured(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "syncd.toml"
    file.write_text(text)
    return load(file, environ={}, secrets=False)


@pytest.mark.parametrize("version", ["1.31.0", "1.37.0"])
def test_the_manifests_are_what_the_api_knows(version: str) -> None:
    files = [FOLDER / f"{name}.yaml" for name in ("config", "deployment")]
    assert run("kubernetes-validate", "--strict", "-k", version, *files) == ""


def test_a_pod_of_replicas_is_one_of_the_deployment_without_its_volume_and_liveness() -> None:
    """What differs is named here: where the ledger is, how pods are replaced, and that no probe restarts them all."""
    single = of_kind("Deployment")["spec"]["template"]["spec"]
    (mine,), (other,) = POD["containers"], single["containers"]
    for key in ("image", "args", "resources", "securityContext", "startupProbe", "readinessProbe"):
        assert mine[key] == other[key], key
    assert mine["startupProbe"]["exec"]["command"] == [SYNCD, "health", "--probe", "alive"]
    assert "livenessProbe" not in mine
    for key in ("securityContext", "terminationGracePeriodSeconds", "automountServiceAccountToken"):
        assert POD[key] == single[key], key
    assert POD["terminationGracePeriodSeconds"] > STOP_S + 5
    assert "persistentVolumeClaim" not in str(POD)
    assert {each["name"] for each in mine["volumeMounts"]} == {each["name"] for each in POD["volumes"]}
    assert DEPLOYMENT["spec"]["replicas"] > 1
    assert DEPLOYMENT["spec"]["strategy"]["type"] == "RollingUpdate"


def test_each_selector_finds_the_pods() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    spread = [each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]]
    for found in (DEPLOYMENT["spec"]["selector"]["matchLabels"], BUDGET["spec"]["selector"]["matchLabels"], *spread):
        assert found == labels
    scaled, access = FILES["autoscaling"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert scaled["spec"]["triggers"][0]["authenticationRef"]["name"] == access["metadata"]["name"]
    assert scaled["spec"]["minReplicaCount"] == DEPLOYMENT["spec"]["replicas"]


def test_each_secret_that_the_configuration_names_is_mounted(tmp_path: Path) -> None:
    (settings,), (database,) = FILES["config"], FILES["postgres"]
    config = configured(tmp_path, settings["data"]["syncd.toml"])
    name, owner = database["metadata"]["name"], database["spec"]["bootstrap"]["initdb"]
    ca = re.escape("?sslrootcert=/etc/syncd/")
    found = re.fullmatch(rf"postgresql://(\w+)@([\w-]+)/(\w+){ca}([\w.-]+)", config.ledger.url)
    assert found
    assert found.groups()[:3] == (owner["owner"], f"{name}-rw", owner["database"])
    (etc,) = (volume["projected"]["sources"] for volume in POD["volumes"] if volume["name"] == "etc")
    assert etc[:2] == [{"configMap": {"name": "syncd"}}, {"secret": {"name": "syncd"}}]
    made = {item["path"]: each["secret"]["name"] for each in etc[2:] for item in each["secret"]["items"]}
    assert made == {"ledger.password": f"{name}-app", found[4]: f"{name}-ca"}
    text = (FOLDER / "config.yaml").read_text(encoding="utf-8")
    given = set(re.findall(r"--from-file=(\S+)", text.partition("apiVersion")[0]))
    assert given == set(REFERENCE.findall(text)) - {"ledger.password"}
    assert f"generic syncd {' '.join(f'--from-file={each}.key' for each in ('recotap', 'hubspot', 'ledger'))}" in PAGE


def test_each_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    single = of_kind("ConfigMap")["data"]["syncd.toml"]
    rest = re.sub(r"(?ms)^\[ledger\]\n.*?\n\n", "", single)
    assert "path" in single
    assert "path" not in rest
    assert len(BLOCKS["toml"]) == 3
    for block in BLOCKS["toml"]:
        config = configured(tmp_path, block + rest)
        assert config.ledger.url == tomllib.loads(block)["ledger"]["url"]
        assert config.ledger.password
        assert config.ledger.master_key
        assert config.run == RunConfig(), "the page shows the defaults"


def test_compose_runs_replicas_and_postgresql_only_if_they_are_asked_for() -> None:
    replica, postgres = SERVICES["replica"], SERVICES["postgres"]
    assert replica["profiles"] == postgres["profiles"] == ["replicas"]
    assert replica["extends"] == {"service": "syncd"}, "it is confined and stopped in the same way"
    assert replica["deploy"]["replicas"] == 2
    assert replica["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert re.fullmatch(r"postgres:(\d+)\.\d+", postgres["image"])
    assert int(postgres["image"].partition(":")[2].partition(".")[0]) >= 15
    assert "ports" not in postgres
    for key in ("read_only", "cap_drop", "security_opt"):
        assert postgres[key] == SERVICES["syncd"][key]


def test_replicas_reach_the_socket_of_postgresql_with_the_password_that_it_was_made_with(tmp_path: Path) -> None:
    (block,) = (each for each in BLOCKS["toml"] if "host=/run/postgresql" in each)
    url = tomllib.loads(block)["ledger"]["url"]
    postgres = SERVICES["postgres"]
    sockets = dict(each.split(":") for each in postgres["volumes"] if isinstance(each, str))
    mine = dict(each.split(":") for each in SERVICES["replica"]["volumes"])
    assert f"?host={mine['socket']}" in url
    assert sockets["socket"] == f"/var{mine['socket']}", "where the image has the socket"
    given = postgres["environment"]
    assert url.startswith(f"postgresql://{given['POSTGRES_USER']}@/{given['POSTGRES_DB']}?")
    (secret,) = (each for each in postgres["volumes"] if isinstance(each, dict))
    assert secret["target"] == given["POSTGRES_PASSWORD_FILE"]
    assert secret["source"].rpartition("/")[2] == REFERENCE.findall(block)[0] == "ledger.password"
    assert "scram-sha-256" in given["POSTGRES_INITDB_ARGS"], "its own default trusts whoever reaches the socket"
    install = next(line for each in BLOCKS["sh"] for line in each.splitlines() if "ledger.password" in line)
    assert "-g 10001 -m 0440" in install
    assert postgres["group_add"] == ["10001"], "it reads the file by its group"


@pytest.mark.skipif(not URL, reason="needs SYNCD_TEST_POSTGRES")
def test_the_query_for_autoscaling_counts_the_slots_in_demand(tmp_path: Path) -> None:
    handle = in_postgres(tmp_path)
    query = FILES["autoscaling"][0]["spec"]["triggers"][0]["metadata"]["query"]
    with handle.open():
        pass
    with handle.replica("run") as one:
        one.enrol(["held", "due", "idle"])
        sql = "UPDATE lanes SET next_pass_at = clock_timestamp() + interval '{}' WHERE source = '{}' RETURNING 1"
        for source, at in {"held": "-9 s", "due": "1 h", "idle": "1 h"}.items():
            ask(handle, sql.format(at, source))
        assert ask(handle, query) == [(1,)]
        taken = one.take()
        assert taken.source == "held"
        one.wake(["due"])
        assert ask(handle, query) == [(2,)]
        taken.release(3600.0)
        assert ask(handle, query) == [(1,)]


@pytest.mark.skipif(not URL, reason="needs SYNCD_TEST_POSTGRES")
def test_the_settings_for_vacuum_fit_the_tables_of_a_ledger(tmp_path: Path) -> None:
    handle = in_postgres(tmp_path)
    with handle.open():
        pass
    statements = [line for block in BLOCKS["sql"] for line in block.splitlines() if line.startswith("ALTER TABLE")]
    assert len(statements) == 4
    with handle._session() as db:
        for statement in statements:
            db.execute(statement)
        (age,) = (block for block in BLOCKS["sql"] if block.startswith("SELECT"))
        assert db.one(age.strip().rstrip(";")) is not None
