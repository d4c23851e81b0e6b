"""The shape of the source, and that tests/house.py measures it right."""

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import house, sources
from tests.house import Definition, Module

ROOT = Path(__file__).parents[1]

# A house of two rooms that import each other, with one fault of each kind.
FAULTY = {
    "syncd/__init__.py": "",
    "syncd/one.py": '''"""Hold one; and nothing else."""  # a comment
from syncd.two import deep
class Base:
    def said(self):
        """Return what the CRM says."""
    def other(self): ...
class Wide(Base):
    def said(self): ...
    def _private(self): ...
''',
    "syncd/two/__init__.py": "",
    "syncd/two/deep.py": '''"""Ask "what; why?"."""
def late():
    """Import late. What follows is a second sentence; it is free."""
    from syncd.two.deeper import Base
''',
    "syncd/two/deeper.py": '"""Go deeper."""\nfrom syncd.one import Wide\nclass Base: ...\n' + "\n" * 450,
    "connectors/crm/__init__.py": '''"""Connect."""
import syncd.two.deep
def long():
    """Take long."""
''' + "    pass\n" * 44,
    "tests/test_project.py": '''
import re
ROOT = re.escape("/")
GROUND = "one"
MAY_IMPORT = {**dict.fromkeys(GROUND.split(), GROUND), "two": f"{GROUND} more"}
FOR_CONNECTORS = ("one",)
def never(): return no_name
def again(): return never()
''',
}  # fmt: skip


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("house")
    for name, text in FAULTY.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_each_fault_of_a_faulty_house_is_measured(faulty: Path) -> None:
    figures = {figure.title: figure for figure in house.measure(faulty)}
    assert {title: figure.value for title, figure in figures.items()} == {
        "function lines, median / p90 / max": "1.5 / 24 / 46",
        "functions over 45 lines": "1",
        "largest file, lines": "453",
        "files over 450 lines": "1",
        "comments per 100 lines": "0.2",
        "first sentences with a semicolon": "14.3 %",
        'first sentences with a free "what"': "14.3 %",
        "docstrings on public names": "66.7 %",
        "widest object, methods": "3 syncd.one.Wide",
        "class names with 2 bearers or more": "1",
        "modules at syncd's root": "2",
        "rooms of syncd": "3",
        "arrows between them": "2",
        "rooms with the connectors": "4",
        "arrows between all": "3",
        "arrows that climb": "2",
        "import cycles between rooms": "1",
        "import cycles between modules": "1",
    }
    assert figures["functions over 45 lines"].offenders == ("connectors/crm/__init__.py:3 long: 46 lines",)
    assert figures["arrows that climb"].offenders == ("connectors.crm -> two", "one -> two")
    assert figures["import cycles between modules"].offenders == ("syncd.one <-> syncd.two.deep <-> syncd.two.deeper",)
    assert [each.split(" ")[1] for each in figures["docstrings on public names"].offenders] == [
        "Base", "Base.other", "Wide", "Base",
    ], "Wide.said has the docstring of Base.said"  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "free"),
    {
        "Return what the CRM says.": True, "Count bytes of what was read.": True, "What a line says, in words.": True,
        "Answer the question `what`.": False, 'Answer "what is due".': False, "What is due?": False,
        "Say somewhat more, whatever it is.": False,
    }.items(),
)  # fmt: skip
def test_a_what_is_free_outside_questions_and_quotations(sentence: str, free: bool) -> None:
    assert house.has_free_what(sentence) == free


def test_the_first_sentence_ends_at_a_full_stop_or_an_empty_line() -> None:
    assert house.first_sentence("Read v1.2 of\n  it; all. And more; yes.") == "Read v1.2 of it; all."
    assert house.first_sentence("No full stop\n\nMore; yes.") == "No full stop"


def test_the_table_compares_two_commits(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An older commit is read from git, and the working tree stays as it is."""
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@example.com commit -q -m first"):
        subprocess.run(["git", *command.split()], cwd=faulty, check=True)
    (faulty / "syncd" / "third.py").write_text('"""Come later."""\n')
    house.main(["--against", "HEAD", "--offenders"], faulty)
    told, *offenders = capsys.readouterr().out.split("\n\n")
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()]
    assert head == ["", "HEAD", "tests at HEAD", "now", "tests now"]
    assert ["modules at syncd's root", "2", "", "3", ""] in rows
    assert ["largest file, lines", "453", "8", "453", "8"] in rows
    assert "modules at syncd's root: 3\n  syncd/__init__.py\n  syncd/one.py\n  syncd/third.py" in offenders
    assert len({len(line) for line in told.splitlines()}) == 1


@functools.cache
def product() -> tuple[list[Module], list[Definition]]:
    modules = [*sources.modules()]
    return modules, house.definitions(modules)


def test_at_most_14_modules_are_at_the_root() -> None:
    assert len(list((ROOT / "syncd").glob("*.py"))) <= 14


def test_no_rooms_import_each_other() -> None:
    assert house.cycles(house.room_graph(house.module_graph(product()[0]))) == []


def test_no_arrow_climbs() -> None:
    rooms = house.room_graph(house.module_graph(product()[0]))
    assert house.climbing(rooms, house.import_table(ROOT)) == []


def test_no_modules_import_each_other() -> None:
    assert house.cycles(house.module_graph(product()[0])) == []


def test_no_file_has_more_than_450_lines_and_no_function_more_than_45() -> None:
    modules, found = product()
    assert house.long_files(modules) + house.long_functions(found) == []


@pytest.mark.parametrize("of_tests", [False, True])
@pytest.mark.parametrize("fault", [house.has_semicolon, house.has_free_what])
def test_under_5_percent_of_first_sentences_have_a_semicolon_or_a_free_what(
    fault: Callable[[str], bool], of_tests: bool
) -> None:
    found = house.definitions(house.read(ROOT, "tests")) if of_tests else product()[1]
    sentences = house.first_sentences(found)
    faulty = [f"{place}: {sentence}" for place, sentence in sentences.items() if fault(sentence)]
    assert 100 * len(faulty) < 5 * len(sentences), "\n".join(faulty)


def test_95_percent_of_public_names_have_a_docstring() -> None:
    bare, public = house.undocumented(product()[1])
    assert 100 * len(bare) <= 5 * public, "\n".join(map(str, bare))
