"""The documents: each link leads somewhere, and each command that they show exists with its options."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from syncd.cli import manual
from syncd.cli.commands import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "connectors/README.md", "tests/README.md")),
    *sorted((ROOT / "deploy").glob("*.md")),
]
COMMANDS = {name.removeprefix("syncd "): each for name, each in manual.commands("syncd", typer.main.get_command(app))}
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}
OF_ALL = {"-c", "-h", "--help"}


def anchors(file: Path) -> set[str]:
    """Return the names that GitHub gives to the headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", file.read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown(document: Path) -> Iterator[tuple[str, set[str]]]:
    """Yield each command that a document shows as code, and its options."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    spans = (" ".join(each.split()) for each in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))
    for line in [*"".join(re.findall(r"(?ms)^```sh\n(.*?)^```", text)).splitlines(), *spans]:
        found = re.search(r"(?:^|/bin/|-- |syncd )syncd (?:-c \S+ )?([a-z][^;&|>#]*)", line)
        words = found[1].split() if found else []
        if words and words[0] != "syncd":
            yield " ".join(words[: 2 if words[0] in GROUPS else 1]), {each for each in words if each.startswith("-")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_a_heading_of_it(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            file = document.parent / name if name else document
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_each_command_that_is_shown_as_code_exists_with_its_options(document: Path) -> None:
    for name, options in shown(document):
        if "|" not in name and "…" not in name:
            assert name in COMMANDS, f"syncd {name}"
            known = OF_ALL | {option for each in COMMANDS[name].params for option in each.opts}
            assert options <= known, f"syncd {name}"


def test_the_documents_show_every_command() -> None:
    """Otherwise the test above may prove nothing."""
    assert {*COMMANDS} <= {name for document in DOCUMENTS for name, _ in shown(document)}
