"""The files of deploy/ for containers, Kubernetes and cron: free of linter findings, and consistent.

Nothing is started here; tests/deployed/container.py builds the image and runs it.
"""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

import syncd
from syncd.config import load
from syncd.config.models import LedgerConfig, RecotapConfig
from syncd.errors import Exit
from syncd.ledger import schema
from syncd.web.security import PROBES

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "container" / "Dockerfile").read_text()
COMPOSE = DEPLOY / "container" / "compose.yaml"
CRONTAB = (DEPLOY / "cron" / "syncd").read_text()
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
PATCH = DEPLOY / "kubernetes" / "patches" / "web.yaml"
README = (DEPLOY / "README.md").read_text()

INSTRUCTIONS = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
DOCUMENTS: list[dict[str, Any]] = [
    document for file in MANIFESTS for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]
SERVICE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["syncd"]

CRON_LINES = re.findall(r"(?m)^#?(\*/5 \* \* \* \*  (?:root|syncd)  .*)$", CRONTAB)
SYNCD = "/opt/syncd/bin/syncd"
USER = 10001
LOOKS_FOR = "/etc/syncd/syncd.toml"
STOP_S = RecotapConfig.model_fields["timeout"].default.total_seconds() + 2  # design, promise 8


def run(tool: str, *arguments: object, says: str = "") -> str:
    """Run a linter of the development environment. Return its findings, or ""."""
    line = [str(Path(sys.executable).with_name(tool)), *map(str, arguments)]
    done = subprocess.run(line, input=says, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"exit code {done.returncode}"


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (document for document in DOCUMENTS if document["kind"] == kind)
    return found


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods of the Deployment and the CronJob."""
    jobs = of_kind("CronJob")["spec"]["jobTemplate"]["spec"]
    return {
        "Deployment": of_kind("Deployment")["spec"]["template"]["spec"],
        "CronJob": jobs["template"]["spec"],
    }


def argument(of: str, name: str) -> str:
    """Return the last instruction of that name in the Dockerfile."""
    return [line.partition(" ")[2] for line in INSTRUCTIONS if line.startswith(f"{name} ")][-1 if of == "last" else 0]


def docker_run() -> list[str]:
    """Return the words of crontab's container line, up to the pipe."""
    (line,) = (line for line in CRON_LINES if "docker run" in line)
    return shlex.split(line[line.index("docker run") : line.index("2>&1")])


# -- by their linters ---------------------------------------------------------------------


def test_the_dockerfile_is_without_a_finding():
    assert run("hadolint", DEPLOY / "container" / "Dockerfile") == ""


def test_the_compose_file_is_one():
    assert run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE) == ""


@pytest.mark.parametrize("version", ["1.31.0", "1.37.0"])
def test_the_manifests_are_what_the_api_knows(version, tmp_path):
    patched = tmp_path / "patched.yaml"
    patched.write_text(yaml.safe_dump(merged(of_kind("Deployment"), yaml.safe_load(PATCH.read_text()))))
    assert run("kubernetes-validate", "--strict", "-k", version, *MANIFESTS, patched) == ""


SCRIPTS = [*(ROOT / "tests" / "deployed").glob("*.sh"), ROOT / "deploy" / "release.sh"]


@pytest.mark.parametrize("script", sorted(SCRIPTS), ids=lambda file: file.name)
def test_a_script_is_without_a_finding(script):
    assert run("shellcheck", script) == ""


@pytest.mark.parametrize("line", CRON_LINES, ids=["native", "container"])
def test_the_command_of_a_cron_line_is_without_a_finding(line):
    assert run("shellcheck", "--shell=sh", "-", says=line.split("  ", 2)[2] + "\n") == ""


# -- the image ----------------------------------------------------------------------------


def test_every_builder_builds_the_dockerfile():
    """BuildKit fetches the image of a `# syntax` line. The classic builder knows none of the others."""
    assert not re.search(r"<<-?\w+|--link|--mount|--chmod|--parents", "\n".join(INSTRUCTIONS))
    assert not re.search(r"(?im)^#\s*(syntax|check|escape)\s*=", DOCKERFILE)


def test_the_context_of_the_build_is_what_the_image_copies_and_nothing_else():
    first, *patterns = re.sub(r"(?m)^#.*\n", "", (ROOT / ".dockerignore").read_text()).split()
    assert first == "*"
    copied = {word for line in INSTRUCTIONS if re.match(r"COPY (?!--from)", line) for word in line.split()[1:-1]}
    assert {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
    assert "**/__pycache__" in patterns


def test_the_image_runs_syncd_as_nobody_in_particular():
    assert argument("last", "USER") == f"{USER}:{USER}"
    assert argument("last", "ENTRYPOINT") == f'["{SYNCD}"]'
    assert argument("last", "CMD") == '["run"]'
    assert argument("last", "STOPSIGNAL") == "SIGTERM"
    assert f"SYNCD_CONFIG={LOOKS_FOR}" in argument("last", "ENV")


# -- they agree ---------------------------------------------------------------------------


def test_versions_agree():
    texts = [file.read_text() for file in (*MANIFESTS, COMPOSE, DEPLOY / "container" / "Dockerfile")] + [
        CRONTAB,
        README,
    ]
    assert {found for text in texts for found in re.findall(r"syncd:(\d[\w.]*)", text)} == {syncd.__version__}
    assert f"ARG VERSION={syncd.__version__}" in INSTRUCTIONS


def test_the_ledger_lies_on_the_volume_everywhere():
    home = str(LedgerConfig.model_fields["path"].default.parent)
    assert argument("last", "VOLUME") == home
    assert f"ledger:{home}" in SERVICE["volumes"]
    assert f"syncd:{home}" in docker_run()
    assert yaml.safe_load(COMPOSE.read_text())["volumes"]["ledger"]["name"] == "syncd", "docker run means the same one"
    for pod in pods().values():
        (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "ledger")
        assert mount["mountPath"] == home
        claims = [
            volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == "ledger"
        ]
        assert claims == [of_kind("PersistentVolumeClaim")["metadata"]["name"]]
    litestream = yaml.safe_load((DEPLOY / "litestream.yml").read_text())
    assert [db["path"] for db in litestream["dbs"]] == [str(LedgerConfig.model_fields["path"].default)]


def test_whatever_runs_it_confines_it_alike():
    """Read-only, without capabilities and new privileges, with one bound for memory."""
    words = docker_run()
    options = dict(pairwise(words))
    assert "--read-only" in words
    assert (options["--cap-drop"], options["--security-opt"], options["--tmpfs"]) == (
        "ALL",
        "no-new-privileges",
        "/tmp",
    )
    assert SERVICE["read_only"] is True
    assert (SERVICE["cap_drop"], SERVICE["tmpfs"]) == (["ALL"], ["/tmp"])
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert (options["--memory"], int(options["--pids-limit"])) == (SERVICE["mem_limit"], SERVICE["pids_limit"])
    for pod in pods().values():
        (container,) = pod["containers"]
        assert pod["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert pod["automountServiceAccountToken"] is False
        assert container["resources"]["limits"]["memory"] == SERVICE["mem_limit"].replace("m", "Mi")


def test_whatever_stops_it_gives_it_time():
    words = docker_run()
    graces = [words[words.index("--stop-timeout") + 1], SERVICE["stop_grace_period"].removesuffix("s")]
    graces += [pod["terminationGracePeriodSeconds"] for pod in pods().values()]
    assert all(int(grace) > STOP_S + 5 for grace in graces), graces


def test_compose_looks_at_its_health_as_the_image_does():
    options, command = argument("last", "HEALTHCHECK").split(" CMD ")
    image = dict(word.removeprefix("--").split("=") for word in options.split())
    service = {name.replace("_", "-"): str(value) for name, value in SERVICE["healthcheck"].items()}
    assert shlex.split(service.pop("test").replace(",", "")) == shlex.split(f"[CMD {command[1:]}".replace(",", ""))
    assert service == image


def merged(target: Any, patch: Any) -> Any:
    """Return `target` after a strategic merge patch: null removes a key, and lists of names merge by name."""
    if isinstance(patch, dict):
        held = target if isinstance(target, dict) else {}
        left = {key: merged(held.get(key), value) for key, value in patch.items() if value is not None}
        return {**{key: value for key, value in held.items() if key not in patch}, **left}
    if isinstance(patch, list) and isinstance(target, list):
        names = {each["name"]: each for each in patch}
        assert {*names} <= {each["name"] for each in target}
        return [merged(each, names.get(each["name"], {})) for each in target]
    return patch


def test_the_patch_for_web_moves_all_probes_to_its_port_and_keeps_their_patience():
    before = pods()["Deployment"]["containers"][0]
    (after,) = merged(of_kind("Deployment"), yaml.safe_load(PATCH.read_text()))["spec"]["template"]["spec"][
        "containers"
    ]
    (port,) = after["ports"]
    text = PATCH.read_text(encoding="utf-8")
    listen = re.search(r'(?m)^#   listen = "0\.0\.0\.0:(\d+)"\n#   token = ', text)
    assert listen, "any address that a kubelet can reach needs a token"
    assert int(listen[1]) == port["containerPort"]
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        asked = {"httpGet": {"path": path, "port": port["name"]}}
        assert after[probe] == {**{key: value for key, value in before[probe].items() if key != "exec"}, **asked}
        assert path in PROBES, "no token"
    assert {key: value for key, value in after.items() if key not in {"ports"} and "Probe" not in key} == {
        key: value for key, value in before.items() if "Probe" not in key
    }


def test_probes_ask_for_what_there_is():
    container = pods()["Deployment"]["containers"][0]
    for probe, which in (("startupProbe", "alive"), ("livenessProbe", "alive"), ("readinessProbe", "ready")):
        assert container[probe]["exec"]["command"] == [SYNCD, "health", "--probe", which]
    assert "livenessProbe" not in pods()["CronJob"]["containers"][0], "a pass ends by itself"


# -- configuration and keys ---------------------------------------------------------------


def test_the_configuration_in_the_config_map_is_whole_and_its_keys_are_mounted(tmp_path):
    file = tmp_path / "syncd.toml"
    file.write_text(of_kind("ConfigMap")["data"]["syncd.toml"])
    config = load(file, environ={}, secrets=False)
    assert config.ledger.path == LedgerConfig.model_fields["path"].default
    named = set(re.findall(r'"file:/etc/syncd/([\w.-]+)"', file.read_text()))
    assert len(named) == len(re.findall(r"(?m)^(?:api_key|access_token|client_\w+) = ", file.read_text()))
    command = re.search(
        r"(?m)^#   kubectl create secret generic syncd (.*)$", (DEPLOY / "kubernetes/config.yaml").read_text()
    )
    assert command
    assert set(re.findall(r"--from-file=(\S+)", command[1])) == named
    assert any(volume.endswith(":/etc/syncd:ro") for volume in SERVICE["volumes"])
    assert any(word.endswith(":/etc/syncd:ro") for word in docker_run())


def test_pods_get_configuration_and_keys_together_where_syncd_looks():
    for pod in pods().values():
        (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "etc")
        assert (mount["mountPath"], mount["readOnly"]) == (str(Path(LOOKS_FOR).parent), True)
        (volume,) = (each["projected"] for each in pod["volumes"] if each["name"] == "etc")
        assert volume["sources"] == [{"configMap": {"name": "syncd"}}, {"secret": {"name": "syncd"}}]
        assert volume["defaultMode"] == 0o440


def test_both_units_load_each_credential_that_the_pages_name_and_start_without_its_file():
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "deploy").glob("*.md"))
    named = set(re.findall(r"[\"` ]credential:([a-z-]+)", pages))
    assert {"recotap", "hubspot", "alerts", "heartbeat"} <= named
    for unit in ("syncd.service", "syncd-sync.service"):
        text = (DEPLOY / "systemd" / unit).read_text(encoding="utf-8")
        loaded = dict(re.findall(r"(?m)^LoadCredential=([a-z-]+):(\S+)$", text))
        assert named <= set(loaded), unit
        assert loaded == {name: f"/etc/syncd/keys/{name}" for name in loaded}
        assert re.findall(r"(?m)^SetCredential=([a-z-]+):\\n$", text) == [*loaded], "an absent file is an empty key"


def test_no_file_here_holds_a_secret():
    assert not [document for document in DOCUMENTS if document["kind"] == "Secret"]
    for pod in pods().values():
        assert "env" not in pod["containers"][0]
    assert "environment" not in SERVICE


# -- one pass at a time -------------------------------------------------------------------


def test_two_pods_never_work_at_once():
    assert of_kind("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOncePod"]
    deployment, job = of_kind("Deployment")["spec"], of_kind("CronJob")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    assert job["concurrencyPolicy"] == "Forbid"
    assert 0 < job["startingDeadlineSeconds"] < 300


def test_a_job_is_not_repeated_for_what_the_next_pass_will_do():
    """All of syncd's own exit codes. A crash, too much memory or a lost node is retried."""
    job = of_kind("CronJob")["spec"]["jobTemplate"]["spec"]
    (codes,) = (rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule)
    of_others = {Exit.OK, Exit.BUG, Exit.NO_SUCH_ACTIVITY, Exit.SIGINT, Exit.SIGTERM}
    assert set(codes) == {int(code) for code in set(Exit) - of_others}
    assert job["template"]["spec"]["restartPolicy"] == "Never", "the policy asks for it"


def test_the_crontab_is_one():
    assert len(CRON_LINES) == 2
    assert CRONTAB.endswith("\n"), "cron ignores a last line without an end"
    active = [line for line in CRONTAB.splitlines() if line and not line.startswith("#")]
    assert active == ["SHELL=/bin/sh", active[1], 'MAILTO=""', CRON_LINES[0]]
    assert active[1].startswith("PATH=/")
    assert not any("%" in line for line in CRON_LINES), "cron takes it for a line's end"


def test_the_readme_shows_what_the_crontab_holds():
    assert CRON_LINES[0] in README.splitlines()
    assert "install -m 0644 deploy/cron/syncd /etc/cron.d/syncd" in README


def test_every_docker_run_of_the_readme_confines_it_as_the_crontab_does():
    flags = docker_run()[2 : docker_run().index("--stop-timeout")]
    commands = [line for line in README.replace("\\\n", " ").splitlines() if "docker run" in line and "syncd:" in line]
    assert commands
    for command in commands:
        words = shlex.split(command.split("$(", 1)[0])
        assert any(words[at : at + len(flags) - 1] == flags[1:] for at in range(len(words))), command


def test_the_upgrade_page_names_this_version_and_its_schema():
    page = (ROOT / "deploy" / "UPGRADE.md").read_text(encoding="utf-8")
    assert f"\n| {syncd.__version__} | {schema.VERSION} | 1 to {schema.VERSION - 1} |" in page
