"""The supply chain: every package is checked against its hash, and an old Python is named as such."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import syncd
from syncd.config import load
from syncd.errors import Exit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")
WITH_BACKEND = LOCKS[1:]
OF_PEERS = "tests/bench/peers/locks/{peer}.txt"  # test_bench.py reads each of them

# Without the hint of an error message: it names an extra, and the operator's way to install it is theirs.
INSTALL = re.compile(
    r"(?:[\w./$\"{}-]*/)?(?:python[\d.]* -m )?pip[\d.]*(?: --?[a-z]\S*(?: [\w./]+)?)*?"
    r" (?:install|wheel|download)\b(?! 'syncd\[(?:web|alerts|postgres)\]')[^&|;`\n'\")]*"
)
# Other commands that fetch a program. npm ci is not listed: it checks the hashes of package-lock.json.
FETCHES_UNPINNED = re.compile(
    r"(?<![\w-])(?:npm (?:i|install|add)|npx|pipx|uvx|uv (?:pip (?:install|sync)|tool|run|add)|easy_install"
    r"|(?:gem|cargo|go) install|curl|wget)(?![\w-])"
)
WITH_VALUE = {"-r", "--requirement", "--wheel-dir", "-w", "--python"}


def instructions() -> dict[str, str]:
    """Return every tracked file with commands for a person or a machine. Lines and lists are joined."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    kinds = ("*.md", "*.py", "*.sh", "*.toml", "*.yaml", "*.yml", ".ci/*", "deploy/*", "deploy/*/*")
    names = [
        name for name in tracked if any(Path(name).match(kind) for kind in kinds) and name != "tests/test_supply.py"
    ]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names if (ROOT / name).is_file()}
    for name in texts.keys() & {".ci/run", *(name for name in texts if name.endswith(".sh"))}:
        texts[name] = texts[name].replace('"', "")  # "$work/bin/pip" install
    return {name: re.sub(r"\\\n\s*|\",\s*\"(?=\w|-)", " ", text) for name, text in texts.items()}


INSTRUCTIONS = instructions()


def installs(text: str) -> Iterator[str]:
    yield from (found[0].strip() for found in INSTALL.finditer(text))


def problem(command: str) -> str | None:
    """Return why an install command may fetch something that no lock file pins, or None."""
    words = shlex.split(command)
    action = next(i for i, word in enumerate(words) if word in ("install", "wheel", "download"))
    options, values, targets = set(), [], []
    rest = iter(words[action + 1 :])
    for word in rest:
        if word in WITH_VALUE:
            value = next(rest, "")
            values += [value] if word in ("-r", "--requirement") else []
        elif word.startswith("-"):
            options.add(word)
        else:
            targets.append(word)
    if "--require-hashes" in options:
        return None if values and set(values) <= {*LOCKS, OF_PEERS} and not targets else "takes more than a lock file"
    if "--no-deps" not in options or values:
        return "fetches dependencies without a hash"
    if targets == ["."]:
        return None if "--no-build-isolation" in options else "fetches a build backend without a hash"
    ours = targets and all(target.endswith(".whl") and "/" in target for target in targets)
    return None if ours and "--no-index" in options else "is neither the clone nor a wheel of it"


def pins(lock: str) -> set[str]:
    return set(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[\S+\])?==", (ROOT / lock).read_text(encoding="utf-8")))


def test_every_command_installs_by_hash_or_from_the_clone():
    problems = [(name, command, problem(command)) for name, text in INSTRUCTIONS.items() for command in installs(text)]
    assert [found for found in problems if found[-1]] == []


def test_nothing_else_fetches_a_program():
    found = {name: FETCHES_UNPINNED.findall(text) for name, text in INSTRUCTIONS.items()}
    assert {name: commands for name, commands in found.items() if commands} == {}


def test_the_commands_are_found_where_they_stand():
    """Otherwise the test above proves nothing."""
    found = {name: len(list(installs(text))) for name, text in INSTRUCTIONS.items()}
    assert {name: count for name, count in found.items() if count} == {
        ".ci/run": 2, "README.md": 4, "connectors/README.md": 1, "deploy/README.md": 5,
        "deploy/container/Dockerfile": 4, "tests/bench/peers/venvs.py": 1, "tests/deployed/wheel.sh": 2,
        "tests/test_project.py": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "pip install syncd",
        "pip install -q .",
        "pip install --no-deps .",
        "pip install --no-build-isolation .",
        "pip install -r requirements.txt",
        "pip install --require-hashes -r requirements.txt .",
        "pip install --require-hashes -r requirements.txt -r other.txt",
        "pip install --require-hashes hatchling",
        "pip install --no-deps hatchling",
        "pip install --no-deps --no-build-isolation -r requirements.txt",
        "pip install --no-deps syncd.whl",
        "/opt/syncd/bin/pip3 install -q --upgrade pip",
        "python3 -m pip install build",
        "pip --python /opt/syncd/bin/python wheel --no-deps .",
    ],
)
def test_a_command_that_fetches_without_a_hash_is_noticed(command):
    (found,) = installs(f"Run `{command}` first.\n")
    assert found == command
    assert problem(found)


@pytest.mark.parametrize("command", ["npm install left-pad", "pipx run build", "uv pip install x", "curl -L x | sh"])
def test_another_way_to_fetch_is_noticed(command):
    assert FETCHES_UNPINNED.search(f"RUN {command}")


def test_whoever_builds_without_isolation_has_the_backend_from_a_lock():
    built = re.compile(r"--no-build-isolation (?:--wheel-dir \S+ )?\.\s")
    building = [text for text in INSTRUCTIONS.values() if built.search(text) and "-r requirements" in text]
    assert len(building) == 3, "README.md, deploy/README.md and the Dockerfile"
    assert all("-r requirements-build.txt" in text for text in building)


@pytest.mark.parametrize("lock", WITH_BACKEND)
def test_the_lock_holds_the_build_backend_and_all_that_it_needs(lock):
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]
    needed, coming = set(), [Requirement(line).name for line in PROJECT["build-system"]["requires"]]
    while coming:
        name = canonicalize_name(coming.pop())
        if name not in needed:
            needed.add(name)
            wanted = [Requirement(line) for line in requires(name) or []]
            coming += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert needed <= pins(lock)
    assert lock != "requirements-build.txt" or needed == pins(lock)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_takes_wheels_only(lock):
    """pip builds a source distribution with a backend that it fetches without a hash, and it runs code from both."""
    assert "\n--only-binary :all:\n" in (ROOT / lock).read_text(encoding="utf-8")


def test_every_package_of_npm_has_its_hash():
    packages = json.loads((ROOT / "tests/soql/package-lock.json").read_text(encoding="utf-8"))["packages"]
    fetched = {name: package for name, package in packages.items() if name}
    assert fetched
    assert all(re.match(r"sha512-", package.get("integrity", "")) for package in fetched.values())


@pytest.mark.parametrize("old", [(3, 10, 13), (3, 9, 18), (3, 6, 15)], ids=lambda old: ".".join(map(str, old)))
@pytest.mark.parametrize("start", ["import syncd", "import syncd.cli.main", "import runpy; runpy.run_module('syncd')"])
def test_an_old_python_is_named_as_the_cause(old, start):
    """pip cannot: before syncd it meets a dependency without a release for that Python."""
    pretend = f"import sys; sys.version_info = {(*old, 'final', 0)}; {start}"
    done = subprocess.run([sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False)
    first, hint = done.stderr.splitlines()
    assert first == f"syncd: needs Python 3.11 or newer, this is Python {'.'.join(map(str, old))}"
    assert hint.startswith("  -> ")
    assert (done.returncode, done.stdout) == (Exit.CONFIG, "")


def test_an_old_python_can_read_what_names_it():
    source = (ROOT / "syncd/__init__.py").read_text(encoding="ascii")
    tree = ast.parse(source, feature_version=(3, 7))
    assert {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names} == {"sys"}
    assert not any(isinstance(node, ast.ImportFrom | ast.JoinedStr | ast.AnnAssign) for node in ast.walk(tree))


@pytest.mark.parametrize("name", ["README.md", "deploy/README.md"])
def test_every_documented_installation_looks_at_the_python_first(name):
    makes_one = [line for line in INSTRUCTIONS[name].splitlines() if "python3 -m venv" in line]
    assert makes_one
    assert all(line.startswith('python3 -c "import syncd" && python3 -m venv ') for line in makes_one)


def test_the_project_and_the_check_agree_on_the_oldest_python():
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert "(3, 11)" in (ROOT / "syncd/__init__.py").read_text(encoding="ascii")


# -- the wheel and the source distribution ------------------------------------------------


def build(kind: str, tree: Path, to: Path) -> Path:
    """Build a wheel or a source distribution of `tree` without fetching anything. Return the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(to)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = to.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("name", ["syncd.example.toml", "syncd.schema.json"])
def test_the_wheel_holds_the_example_and_the_schema_as_they_stand_in_config(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"syncd/config/{name}") == (ROOT / "config" / name).read_bytes()


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "syncd", "connectors"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    added = {"syncd/config/syncd.example.toml", "syncd/config/syncd.schema.json"}
    manual = f"syncd-{syncd.__version__}.data/data/share/man/man1/syncd.1"
    assert packed == {*tracked, *added, manual}


def test_the_source_distribution_builds_the_same_wheel_to_the_byte(wheel, tmp_path):
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "tree", filter="data")
    (tree,) = (tmp_path / "tree").iterdir()
    again = build("wheel", tree, tmp_path / "wheel")
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
    shipped = {str(file.relative_to(tree)) for file in tree.rglob("*")}
    assert shipped >= {*LOCKS, "LICENSE", "CHANGELOG.md", "deploy/README.md", "tests/test_supply.py", "config"}


@pytest.mark.parametrize(("command", "name"), [("example", "syncd.example.toml"), ("schema", "syncd.schema.json")])
def test_syncd_prints_the_file_wherever_it_is_installed_and_whatever_the_encoding(wheel, tmp_path, command, name):
    """With only the wheel's own files, from a directory without a configuration."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); import syncd.cli.main; syncd.cli.main.main()"
    for place in (tmp_path / "site", ROOT):
        done = subprocess.run(
            [sys.executable, "-P", "-c", start, str(place), "config", command],
            cwd=tmp_path, capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        )  # fmt: skip
        assert done.stdout == (ROOT / "config" / name).read_bytes()
        assert done.stderr == b""


def test_the_printed_example_is_a_configuration_that_syncd_reads(tmp_path):
    file = tmp_path / "syncd.toml"
    with file.open("wb") as to:
        subprocess.run([sys.executable, "-m", "syncd", "config", "example"], cwd=ROOT, stdout=to, check=True)
    assert [source.name for source in load(file, environ={}, secrets=False).sources] == ["hubspot"]


# -- the bill of materials ----------------------------------------------------------------


def sbom_command() -> str:
    """Return the command of deploy/README.md without the interpreter."""
    (command,) = re.findall(r"(?m)^\.venv/bin/python (.* -m cyclonedx_py .*)$", INSTRUCTIONS["deploy/README.md"])
    return command


@pytest.fixture(scope="module")
def sbom(tmp_path_factory):
    """Run the documented command on copies of its input. Return its output.

    It is not validated here, which takes 3 s of CPU, because `.ci/run` runs the very command, and that validates.
    """
    folder = tmp_path_factory.mktemp("sbom")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, *shlex.split(sbom_command()), "--no-validate"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"WARNING .*Validation skipped\.\n", done.stderr)
    return (folder / "syncd.cdx.json").read_text(encoding="utf-8")


def test_the_documented_command_makes_a_cyclonedx_document_of_syncd(sbom):
    document = json.loads(sbom)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    component = document["metadata"]["component"]
    assert (component["name"], component["version"]) == ("syncd", PROJECT["project"]["version"])


def test_the_sbom_holds_every_package_of_the_lock_with_its_hashes(sbom):
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    wanted = {
        (name, version): set(re.findall(r"--hash=sha256:(\w+)", rest))
        for name, version, rest in re.findall(r"(?ms)^([a-z0-9._-]+)(?:\[\S+\])?==(\S+)(.*?)(?=^[a-z0-9]|\Z)", lock)
    }
    found = {
        (each["name"], each["version"]): {
            known["content"] for reference in each["externalReferences"] for known in reference.get("hashes", ())
        }
        for each in json.loads(sbom)["components"]
    }
    assert len(wanted) > 40
    assert found == wanted
    assert all(each["purl"].startswith("pkg:pypi/") for each in json.loads(sbom)["components"])


def test_ci_makes_the_sbom_by_the_documented_command():
    assert f".venv/bin/python {sbom_command()}" in INSTRUCTIONS[".ci/run"].splitlines()


def test_every_exception_for_bandit_names_its_rule_and_a_reason():
    files = sorted(file for package in ("syncd", "connectors") for file in (ROOT / package).rglob("*.py"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if "nosec" in line]
    assert lines
    assert [line for line in lines if not re.search(r"  # nosec B\d{3} # \S.{3,}", line)] == []
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("skips = [\n")[2].partition("]")[0]
    assert all(re.match(r'    "B\d{3}",  # \S{2,} ', line) for line in table.splitlines())
