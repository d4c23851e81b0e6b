"""The ledger's door: one handle in place of a path, so that another backend needs `syncd/ledger` alone."""

import ast
from pathlib import Path

import pytest

from syncd.config.models import LedgerConfig
from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger import Ledger, LedgerHandle, LedgerReader, Operator, chosen
from tests.ledgers import NOW, book, reading
from tests.test_project import MODULES, imports

OUTSIDE = sorted(name for name in MODULES if not name.startswith("syncd.ledger"))
# These modules of the ledger look after its file. All others ask the handle.
OF_THE_FILE = {f"syncd.ledger.{name}" for name in ("file", "file_copying", "place", "upkeep")}
PARTS = sorted(
    name for name in MODULES if name.startswith("syncd.ledger") and name not in {*OF_THE_FILE, "syncd.ledger.handle"}
)
LEDGERS = {"ledger", "_ledger", "handle", "_handle", "ledger_handle", "_ledger_handle", "glance", "operator"}


def paths_read(source: str) -> list[int]:
    """Return the lines that read `.path` of something that is called like a ledger."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute) and node.attr == "path"]
    return [node.lineno for node in nodes if _name(node.value) in LEDGERS]


def _name(node: ast.expr) -> str:
    match node:
        case ast.Call(func=func):
            return "ledger" if _name(func) == "chosen" else ""
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def test_nothing_outside_the_ledger_reads_its_path():
    assert [name for name in OUTSIDE if paths_read(MODULES[name].read_text(encoding="utf-8"))] == []


def test_in_the_ledger_only_the_modules_of_the_file_know_of_it():
    for module in PARTS:
        assert paths_read(MODULES[module].read_text(encoding="utf-8")) == [], module
        known = {".".join(name.split(".")[:3]) for name in imports(MODULES[module])}
        assert OF_THE_FILE.isdisjoint(known), module


def test_nothing_outside_the_ledger_knows_what_kind_of_ledger_it_is():
    """`chosen` is the one line that decides. The package's parts, and a single kind of handle, are out of reach."""
    for module in OUTSIDE:
        inside = [name for name in imports(MODULES[module]) if name.startswith("syncd.ledger.") and name.count(".") > 2]
        assert inside == [], module
        assert "LedgerHandle" not in MODULES[module].read_text(encoding="utf-8"), f"{module}: annotate AnyLedger"


def test_the_check_of_paths_bites():
    read = ("config.ledger.path", "self._ledger.path", "ledger.handle.path", "chosen(config.ledger).path")
    assert [paths_read(line) for line in read] == [[1]] * len(read)
    assert paths_read("config.path, source.path, ledger.stream('a', 'b')") == []


@pytest.fixture
def handle(tmp_path):
    return chosen(LedgerConfig(path=tmp_path / "folder" / "ledger.db"))


@pytest.fixture
def filled(handle):
    with handle.open() as ledger:
        book(ledger, reading(1))
    return handle


def test_handles_of_one_ledger_are_one(handle, tmp_path):
    again = LedgerHandle(tmp_path / "folder" / "ledger.db")
    assert (again, str(again)) == (handle, str(tmp_path / "folder" / "ledger.db"))
    assert {handle: 1}[again] == 1
    assert handle != LedgerHandle(tmp_path / "other.db")


def test_it_opens_each_kind_of_access(filled):
    for opening, kind in ((filled.open, Ledger), (filled.read, LedgerReader), (filled.operate, Operator)):
        with opening() as opened:
            assert type(opened) is kind
            assert opened.handle == filled
            assert opened.counts()["pending"] == 1
    with filled.operate() as operator:
        assert operator.retry((), state="pending", reason=None, now=NOW) == 1
    reader = filled.persistent()
    assert reader.ask(LedgerReader.requests, otherwise=-1) == 1
    reader.close()


def test_it_tells_whether_the_ledger_is_there(handle):
    assert (handle.exists(), handle.is_gone(), handle.identity()) == (False, True, None)
    with pytest.raises(LedgerError, match="there is no ledger at"), handle.read():
        pass
    with handle.open():
        pass
    assert (handle.exists(), handle.is_gone()) == (True, False)
    assert handle.identity() is not None


def test_another_file_in_its_place_is_another_ledger(filled, tmp_path):
    before = filled.identity()
    other = LedgerHandle(tmp_path / "folder" / "other.db")
    with other.open():
        pass
    other.path.replace(filled.path)
    assert filled.identity() not in (None, before)


def test_one_holds_it_at_a_time(filled):
    assert filled.holder() is None
    filled.require_lock()
    with filled.hold("sync") as hold:
        assert filled.holder().startswith("`syncd sync`, process ")
        filled.require_lock()
        with pytest.raises(LedgerHeld, match="`syncd sync`"), filled.hold("run"):
            pass
        assert hold.is_held()
        next(lock for lock in filled.private_files() if lock.suffix == ".lock").unlink()
        assert not hold.is_held()


def test_it_says_why_the_first_pass_could_not_create_it(tmp_path):
    assert LedgerHandle(tmp_path / "new" / "ledger.db").obstacle() is None
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    why, hint = LedgerHandle(in_the_way / "ledger.db").obstacle()
    assert (why, hint[:28]) == (f"{in_the_way} is not writable", "let syncd's user write there")


def test_it_names_the_files_that_must_be_its_owners_alone(filled):
    with filled.hold("sync"):
        files = [Path(path) for path in filled.private_files()]
        assert [path.name for path in files] == ["ledger.db", "ledger.db.lock"]
        assert all(path.is_file() and path.parent == filled.folder() for path in files)
