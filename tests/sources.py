"""Read the sources of syncd and its connectors once, for the tests that judge their texts."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import house

ROOT = Path(__file__).parents[1]
A_HINT = re.compile(r"(?i)hint|remedy|action")  # in the name of a keyword, field, variable, constant or function
WORD = re.compile(r"\w+")
NO_WORDS = re.compile(r'''"""[^"]*"""|(?:^|  )[ ]*\# .*$|\b[fr]+(?=["'])''', re.MULTILINE)
SIZES = (3, 4)  # words. Three of a longer text often stand in a test by chance, four hardly ever
NO_HINTS = {"sandbox", "testing"}
Place = tuple[str, str]  # module and name in it
Window = tuple[str, ...]
Callable_ = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Hint:
    """A text that is a hint or a part of one."""

    path: str  # relative to the root
    line: int
    pieces: tuple[str, ...]  # one, except of an f-string: between its placeholders

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {'{}'.join(self.pieces)!r}"

    @property
    def windows(self) -> set[Window]:
        """Return each four words that follow one another in a piece. A shorter piece counts if it has three words."""
        sizes = [(piece, min(len(WORD.findall(piece)), max(SIZES))) for piece in self.pieces]
        return {each for piece, size in sizes if size in SIZES for each in windows(piece, size)}


@cache
def modules() -> tuple[house.Module, ...]:
    """Return the modules of syncd and its connectors, parsed."""
    return tuple(house.read(ROOT, "syncd", "connectors"))


@cache
def nodes(module: house.Module) -> tuple[ast.AST, ...]:
    """Return all nodes of a module."""
    return tuple(ast.walk(module.tree))


def windows(text: str, size: int) -> Iterator[Window]:
    """Yield each `size` words that follow one another, in lower case."""
    words = WORD.findall(text.casefold())
    return zip(*(words[at:] for at in range(size)), strict=False)


def tested(wanted: Iterable[Window], *, without: str) -> set[Window]:
    """Return those of the `wanted` windows that are in a test, except in the file `without`.

    The quotes of a text on two lines are no words, nor is the f before them. Docstrings and comments do not count.
    """
    files = sorted(each for each in (ROOT / "tests").rglob("*.py") if each.name != without)
    texts = [NO_WORDS.sub("", file.read_text(encoding="utf-8")) for file in files]
    known = set(wanted)
    return {each for text in texts for size in SIZES for each in known.intersection(windows(text, size))}


@cache
def hints() -> tuple[Hint, ...]:
    """Return the hints of all modules, each once, in order. Stand-ins and tools for tests give none."""
    found = {each for module in modules() if not NO_HINTS & {*module.name.split(".")} for each in hints_in(module)}
    return tuple(sorted(found, key=lambda each: (each.path, each.line, each.pieces)))


def hints_in(module: house.Module) -> Iterator[Hint]:
    """Yield the hints of a module. One may stand in another module, as a constant that this one imports."""
    for node in _hints_of(module):
        yield from _texts(module, node, ())


def _hints_of(module: house.Module) -> Iterator[ast.expr]:
    """Yield the expressions that are hints: of such a keyword, position, name or default, or of such a function."""
    positions = {**_positions(), **_takers(module)}
    for node in nodes(module):
        if isinstance(node, ast.keyword) and A_HINT.search(node.arg or ""):
            yield node.value
        elif isinstance(node, ast.Call):
            at = positions.get(_name(node.func))
            yield from () if at is None else node.args[at : at + 1]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(A_HINT.search(_name(each)) for each in targets):
                yield node.value
        elif isinstance(node, ast.FunctionDef):
            yield from _defaults(node.args)
            yield from _returned(node) if A_HINT.search(node.name) else ()


@cache
def _positions() -> dict[str, int]:
    """Return the position of the hint among the arguments of each class and function that takes one."""
    return {name: at for module in modules() for name, at in _takers(module).items()}


@cache
def _takers(module: house.Module) -> dict[str, int]:
    taking = [(each.name, _parameters(each)) for each in nodes(module) if isinstance(each, Callable_)]
    return {name: at for name, parameters in taking for at, each in enumerate(parameters) if A_HINT.search(each)}


def _parameters(node: Callable_) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [each.arg for each in (*node.args.posonlyargs, *node.args.args) if each.arg != "self"]
    made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    return (
        _parameters(made[0]) if made else [_name(each.target) for each in node.body if isinstance(each, ast.AnnAssign)]
    )


def _name(node: ast.expr) -> str:
    """Return the last part of a name, otherwise "". A tuple of targets has the names of all."""
    if isinstance(node, ast.Tuple):
        return " ".join(map(_name, node.elts))
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _defaults(taken: ast.arguments) -> Iterator[ast.expr]:
    by_place = [*taken.posonlyargs, *taken.args][::-1]
    pairs = [*zip(by_place, taken.defaults[::-1], strict=False), *zip(taken.kwonlyargs, taken.kw_defaults, strict=True)]
    yield from (default for each, default in pairs if default is not None and A_HINT.search(each.arg))


def _returned(node: ast.FunctionDef) -> Iterator[ast.expr]:
    yield from (each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value is not None)


def _texts(module: house.Module, node: ast.expr, within: tuple[Place, ...]) -> Iterator[Hint]:
    """Yield the texts of an expression, with those of the constants and functions of ours that it names."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield Hint(module.path, node.lineno, (node.value,))
    elif isinstance(node, ast.JoinedStr):
        pieces = tuple(each.value for each in node.values if isinstance(each, ast.Constant))
        yield Hint(module.path, node.lineno, tuple(map(str, pieces)))
        for each in node.values:
            yield from _texts(module, each.value, within) if isinstance(each, ast.FormattedValue) else ()
    elif isinstance(node, ast.Name) and (place := _place(module, node.id)) not in within:
        for owner, value in _named().get(place, ()):
            yield from _texts(owner, value, (*within, place))
    else:
        for part in _parts(node):
            yield from _texts(module, part, within)


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of an expression that may be a part of its text: no condition, no key."""
    if isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Dict):
        yield from node.values
    elif isinstance(node, ast.Subscript):
        yield node.value
    elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        yield node.elt
        yield from (each.iter for each in node.generators)
    elif not isinstance(node, ast.Compare):
        yield from (each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))


def _place(module: house.Module, name: str) -> Place:
    return _imported(module).get(name, (module.name, name))


@cache
def _imported(module: house.Module) -> dict[str, Place]:
    statements = [each for each in nodes(module) if isinstance(each, ast.ImportFrom) and each.level == 0]
    return {name.asname or name.name: (each.module or "", name.name) for each in statements for name in each.names}


@cache
def _named() -> dict[Place, list[tuple[house.Module, ast.expr]]]:
    """Return the expressions of each constant of a module, and those that each of its functions returns."""
    found: dict[Place, list[tuple[house.Module, ast.expr]]] = {}
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef):
                found[module.name, node.name] = [(module, each) for each in _returned(node)]
            elif isinstance(node, ast.Assign):
                found |= {(module.name, _name(each)): [(module, node.value)] for each in node.targets}
    return found
