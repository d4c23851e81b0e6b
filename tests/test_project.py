"""The repository itself: the table of imports, and files that must agree."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel

import syncd
from syncd.config import load
from syncd.config.models import TABLES
from syncd.config.sources import BUILT_IN, load_connector

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXAMPLE = ROOT / "config" / "syncd.example.toml"
LOCKS = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")

EXTRAS = ("alerts", "postgres", "web")  # of the package, for what is imported only if it is configured

# What each part of syncd may import of the others, from the ground floor up. A part may always import itself.
GROUND = "activity addresses clock errors fields files memory text"
CONTRACT = f"{GROUND} connector http types"
MAY_IMPORT = {
    **dict.fromkeys(GROUND.split(), GROUND),
    "signals": "errors",
    "privacy": GROUND,
    "log": "privacy text",
    "types": f"{GROUND} privacy",
    "http": f"{GROUND} types",
    "connector": f"{GROUND} http types",
    "isolation": CONTRACT,
    "lifecycle": GROUND,
    "recotap": f"{CONTRACT} __version__ lifecycle",
    "normalize": f"{CONTRACT} lifecycle recotap",
    "config": f"{CONTRACT} normalize",
    "ledger": f"{CONTRACT} lifecycle",
    "passes": f"{CONTRACT} config ledger lifecycle normalize privacy recotap signals",
    "reporting": f"{CONTRACT} __version__ config ledger lifecycle passes",
    "metrics": f"{CONTRACT} __version__ config ledger passes",
    "web": f"{CONTRACT} __version__ config ledger lifecycle metrics reporting",
    "alerts": f"{CONTRACT} __version__ config ledger lifecycle passes privacy reporting",
    "daemon": f"{CONTRACT} __version__ alerts config ledger lifecycle log passes privacy signals web",
    "testing": CONTRACT,
    "sandbox": "",
}
# Only cli stands above: it may import all of syncd.

# Who alone may import what of others; the rest of what a distribution needs is free.
ALONE = {
    "sqlite3": ("syncd.ledger*", "syncd.privacy.redaction", "syncd.sandbox*"),
    "sqlite_utils": ("syncd.ledger*",),
    "psycopg": ("syncd.ledger.postgres*",),
    "cryptography": ("syncd.ledger.encryption",),
    "httpx": ("syncd.recotap.sender", "syncd.http.httpx_deadline", "syncd.alerts.heartbeat"),
    "apprise": ("syncd.alerts.addresses",),
    "httpcore": ("syncd.http.httpx_deadline",),
    "apscheduler": ("syncd.daemon*",),
    "prometheus_client": ("syncd.metrics.families",),
    "cronsim": ("syncd.types.schedule",),
    "starlette": ("syncd.web.app", "syncd.web.security", "syncd.web.server"),
    "uvicorn": ("syncd.web.connections", "syncd.web.server"),
    "jinja2": ("syncd.web.render",),
    "hubspot": ("connectors.hubspot*",),
    "simple_salesforce": ("connectors.salesforce*",),
    "certifi": ("syncd.http.tls",),
    "urllib3": ("connectors.*", "syncd.http.urllib3_deadline"),
    "requests": ("connectors.*",),
    "connectors": ("connectors.*",),  # syncd finds them by their entry points, never by name
}
# All that a connector, built in or plugged in, may import of syncd: connectors/README.md names the same.
FOR_CONNECTORS = (
    "activity",
    "connector",
    "errors",
    "fields",
    "files",
    "text",
    "types",
    "http",
    "isolation",
    "privacy.register_secret",
)


def modules(*packages: str) -> dict[str, Path]:
    files = sorted(file for package in packages for file in (ROOT / package).rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


MODULES = modules("syncd", "connectors")


@cache
def imports(file: Path) -> tuple[str, ...]:
    """List the imports of a file, types included, those of syncd down to the module or name."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_of_syncd(file: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(file) if name.startswith("syncd.")}


def test_arrows_point_inward():
    for module in [name for name in MODULES if name.startswith("syncd.")]:
        part = module.split(".")[1]
        if part not in ("cli", "__main__"):
            outward = parts_of_syncd(MODULES[module]) - {part, *MAY_IMPORT[part].split()}
            assert not outward, f"{module} imports {outward}"


def test_a_connector_knows_the_contract_and_itself():
    for module in [name for name in MODULES if name.startswith("connectors.")]:
        own = ".".join(module.split(".")[:2])
        for name in imports(MODULES[module]):
            top = name.split(".")[0]
            allowed = (own,) if top == "connectors" else (*FOR_CONNECTORS, "__version__")
            inside = name if top == "connectors" else name.removeprefix("syncd.")
            if top in ("syncd", "connectors"):
                known = any(inside == part or inside.startswith(f"{part}.") for part in allowed)
                assert known, f"{module} imports {name}"


def test_each_outside_thing_has_one_owner():
    for module in MODULES:
        for name in imports(MODULES[module]):
            owners = ALONE.get(name.split(".")[0])
            assert owners is None or any(fnmatchcase(module, owner) for owner in owners), f"{module} imports {name}"


def test_the_table_of_imports_names_every_part():
    parts = {name.split(".")[1] for name in MODULES if name.startswith("syncd.")}
    assert parts == {*MAY_IMPORT, "cli", "__main__"}


def test_the_table_of_imports_has_no_cycle():
    """Each part comes after every part that it may import. The ground floor is one part here."""
    seen = set(GROUND.split())
    for part, allowed in list(MAY_IMPORT.items())[len(seen) :]:
        assert set(allowed.split()) - {"__version__"} <= seen, part
        seen.add(part)


def test_the_readme_of_connectors_names_what_they_may_import():
    text = (ROOT / "connectors" / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"(?s)may import of syncd: (.*?)\.\n", text)
    assert set(re.findall(r"`syncd\.([\w.]+)`", listed)) == set(FOR_CONNECTORS)


def test_what_is_imported_is_a_declared_dependency_and_the_other_way_round():
    distributions = {top: {name.lower().replace("_", "-") for name in names}
                     for top, names in packages_distributions().items()}  # fmt: skip
    declared = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}
    extras = {Requirement(line).name for name in EXTRAS for line in PROJECT["project"]["optional-dependencies"][name]}
    ours = {"syncd", "connectors", *sys.stdlib_module_names}
    tops = {name.split(".")[0] for file in MODULES.values() for name in imports(file)} - ours
    used = {top: distributions.get(top, set()) for top in tops}
    known = declared | extras | {"pydantic-core", "markupsafe"}  # parts of pydantic and of jinja2
    assert {top for top, names in used.items() if not names & known} == set()
    assert declared - set().union(*used.values()) <= {"tzdata"}, "which is data for zoneinfo"


def test_versions_agree():
    assert version("syncd") == PROJECT["project"]["version"] == syncd.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog or f"## {syncd.__version__}" in changelog


@pytest.mark.parametrize("start", [[str(Path(sys.executable).parent / "syncd")], [sys.executable, "-m", "syncd"]])
def test_the_command_tells_its_version(start):
    done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == f"syncd {syncd.__version__}\n"


def test_the_built_in_connectors_are_the_entry_points():
    declared = PROJECT["project"]["entry-points"]["syncd.connectors"]
    assert declared == BUILT_IN
    installed = {point.name: point.value for point in entry_points(group="syncd.connectors")}
    assert declared.items() <= installed.items()


def test_the_metadata_of_the_installed_package_is_current():
    """If it is not, install again: pip install --no-deps --no-build-isolation -e ."""
    installed = {str(Requirement(line)) for line in requires("syncd") or () if "extra ==" not in line}
    assert installed == {str(Requirement(line)) for line in PROJECT["project"]["dependencies"]}


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, known in model.model_fields.items():
        inner = known.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{key}" for key in keys(inner))
        else:
            yield known.alias or name


def flat(table: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in table.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        found.update(inner or {f"{prefix}{name}": value})
    return found


def uncommented() -> str:
    """Return the example with every commented key and table in force."""
    return re.sub(r"(?m)^# (?=[a-z_]+ = |\[sources)", "", EXAMPLE.read_text(encoding="utf-8"))


def test_the_example_has_every_key_there_is():
    shown = tomllib.loads(uncommented())
    connectors = {name: table["connector"] for name, table in shown["sources"].items()}
    assert sorted(connectors.values()) == sorted(BUILT_IN), "a table of each"
    expected = {f"{name}.{key}" for name, model in TABLES.items() for key in keys(model)}
    for name, connector in connectors.items():
        expected |= {f"sources.{name}.{key}" for key in keys(load_connector(BUILT_IN[connector]).Config)}
    assert set(flat(shown)) == expected


def test_what_is_commented_in_the_example_is_the_default(tmp_path, monkeypatch):
    whole = tmp_path / "whole.toml"
    whole.write_text(uncommented(), encoding="utf-8")
    as_it_is, all_in_force = (load(file, environ={}, secrets=False) for file in (EXAMPLE, whole))
    for table in TABLES:
        assert getattr(as_it_is, table) == getattr(all_in_force, table)
    assert as_it_is.sources == all_in_force.sources[:1]


def test_what_a_commented_table_shows_is_the_default_too():
    """The keys that a source needs show an example instead."""
    asked_for = {"connector", "start", "login_url", "client_id", "client_secret", "path"}
    for name, table in tomllib.loads(uncommented())["sources"].items():
        model = load_connector(BUILT_IN[table["connector"]]).Config
        shown = {key: value for key, value in table.items() if key not in asked_for}
        least = {key: value for key, value in table.items() if key in asked_for}
        if name != "hubspot":
            assert model.model_validate({**least, **shown}) == model.model_validate(least)


def test_every_document_names_the_number_of_lines_that_the_example_marks():
    words = "no one two three four five six seven".split()
    count = words[len(re.findall(r"(?m)^[a-z_]+ = .*# <--", EXAMPLE.read_text(encoding="utf-8")))]
    for name in ("config/syncd.example.toml", "README.md", "deploy/README.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert set(re.findall(r"(\w+) lines marked `?<--", text)) == {count}, name


def test_the_cron_line_starts_syncd_and_logs_what_it_says_whoever_runs_it(tmp_path):
    """Stand-ins take the place of /opt/syncd and logger. cron uses the shell sh."""
    line = re.search(
        r"(?m)^\*/5 \* \* \* \*  syncd  (.*)$", (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    )
    assert line
    assert "%" not in line[1], "cron takes it for a line's end"
    for name, does in (("syncd", 'echo "started: $*" >&2'), ("logger", 'cat >"$TMP_LOG"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    command = line[1].replace("/opt/syncd/bin/syncd", str(tmp_path / "syncd"))
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMP_LOG": str(tmp_path / "log")}
    done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, check=True, cwd="/")
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "log").read_text() == "started: sync -c /etc/syncd/syncd.toml\n"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_a_hash_for_everything_and_names_no_host_or_path(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|(?<![\w-])/|@ ", text)
    entries = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", entry)
        assert "--hash=sha256:" in entry


def test_the_lock_files_hold_what_the_project_asks_for():
    project = PROJECT["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    shipped = project["dependencies"] + [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    for lock, lines in (("requirements.txt", shipped), ("requirements-dev.txt", extras)):
        pinned = dict(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[\S+\])?==(\S+)", (ROOT / lock).read_text(encoding="utf-8")))
        for wanted in map(Requirement, lines):
            assert wanted.name == "syncd" or wanted.specifier.contains(pinned[wanted.name]), wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_pins_a_package_with_the_extras_that_others_ask_of_it(lock):
    """Else pip before 23.3 takes the newest release for `name[extra]`, and refuses it for want of a hash.

    That breaks the commands of the README on the day when the package releases (pypa/pip#9644).
    """
    entries = re.findall(r"(?m)^([a-z0-9._-]+(?:\[\S+\])?)==", (ROOT / lock).read_text(encoding="utf-8"))
    pinned = {entry.name: entry.extras for entry in map(Requirement, entries)}
    asked = {
        (canonicalize_name(wanted.name), extra)
        for name in pinned
        for wanted in map(Requirement, _requirements_of(name))
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        for extra in wanted.extras
    }
    assert asked or lock == "requirements-build.txt", "PyJWT is asked for with an extra"
    assert {(name, extra) for name, extra in asked if extra not in pinned[name]} == set()


def _requirements_of(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # for another system only
        return []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_for_developers_holds_every_pin_of_the_others(lock):
    each, dev = (
        set(re.findall(r"(?m)^\S+==\S+", (ROOT / name).read_text(encoding="utf-8"))) for name in (lock, LOCKS[-1])
    )
    assert each <= dev


def test_ci_runs_the_very_command_of_the_readme():
    (command,) = re.findall(r"(?m)^tests='(.*)'$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in re.sub(r" \\\n +", " ", readme).splitlines(), "as one line"


def test_the_top_level_is_the_missions():
    """Files that git does not know yet count too, unless it ignores them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    top = {name.split("/")[0] for name in listed}
    allowed = {"pyproject.toml", "README.md", "syncd", "connectors", "config", "tests", "deploy"}
    assert {name for name in top - allowed if not name.startswith(".")} <= {"LICENSE", "CHANGELOG.md", *LOCKS}
