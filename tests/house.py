"""Measure the source's shape and prose: `python tests/house.py [--against COMMIT] [--offenders]`.

Standard library only, and nothing of syncd is imported, so any commit can be measured by this script.
"""

import argparse
import ast
import io
import re
import statistics
import subprocess
import tarfile
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 450  # lines
LONGEST_FUNCTION = 45  # lines, from `def` to the last one
Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A source file, parsed."""

    name: str  # dotted, a package by its own name
    path: str  # relative to the root
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Definition:
    """A module, class or function."""

    module: Module
    name: str  # within its module, dotted; empty for the module
    node: ast.Module | ast.ClassDef | Function
    public: bool  # no underscore on the way to it, and not inside a function

    def __str__(self) -> str:
        return f"{self.module.path}:{getattr(self.node, 'lineno', 1)} {self.name or 'module'}"


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    title: str
    value: str
    offenders: tuple[str, ...] = ()


def read(root: Path, *packages: str) -> list[Module]:
    """Parse all files of `packages` below `root`."""
    found = []
    for file in sorted(file for package in packages for file in (root / package).rglob("*.py")):
        relative = file.relative_to(root)
        if "node_modules" not in relative.parts:
            text = file.read_text(encoding="utf-8")
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            found.append(Module(name, str(relative), text, ast.parse(text)))
    return found


def definitions(modules: Iterable[Module]) -> list[Definition]:
    """List modules, classes and functions, nested ones too. Empty modules are left out."""
    return [each for module in modules if module.tree.body for each in _inside(module, module.tree, "", public=True)]


def _inside(module: Module, node: Any, name: str, *, public: bool) -> Iterator[Definition]:
    yield Definition(module, name, node, public)
    for child in _definitions_below(node):
        open_to_all = public and not isinstance(node, Function) and not child.name.startswith("_")
        yield from _inside(module, child, f"{name}.{child.name}".lstrip("."), public=open_to_all)


def _definitions_below(node: ast.AST) -> Iterator[Any]:
    """Yield the next level of definitions, under `if` and `try` too."""
    for child in _statements_below(node):
        if isinstance(child, Function | ast.ClassDef):
            yield child
        else:
            yield from _definitions_below(child)


def _statements_below(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the next level of statements, which is much quicker than the walk over their expressions."""
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        children = getattr(node, field, ())
        yield from children if isinstance(children, list) else ()


def _imported_names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that imports anywhere below `node` bind, each with its full name."""
    for child in _statements_below(node):
        if isinstance(child, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{child.module}.{alias.name}") for alias in child.names)
        else:
            yield from _imported_names(child)


# --- sizes -----------------------------------------------------------------------------------------------------------


def function_lines(found: Iterable[Definition]) -> dict[Definition, int]:
    """Return the lines of each function, from `def` to the last, docstring included."""
    functions = [each for each in found if isinstance(each.node, Function)]
    return {each: (each.node.end_lineno or 0) - each.node.lineno + 1 for each in functions}  # type: ignore[union-attr]


def long_functions(found: Iterable[Definition]) -> list[str]:
    """List functions over LONGEST_FUNCTION."""
    return [f"{each}: {lines} lines" for each, lines in function_lines(found).items() if lines > LONGEST_FUNCTION]


def long_files(modules: Iterable[Module]) -> list[str]:
    """List files over LONGEST_FILE."""
    sizes = {module.path: len(module.text.splitlines()) for module in modules}
    return [f"{path}: {lines} lines" for path, lines in sizes.items() if lines > LONGEST_FILE]


def comments_per_100_lines(modules: Iterable[Module]) -> float:
    """Count comment tokens, those at the end of a line included."""
    comments = lines = 0
    for module in modules:
        lines += len(module.text.splitlines())
        tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
    return 100 * comments / lines


# --- prose -----------------------------------------------------------------------------------------------------------


def first_sentences(found: Iterable[Definition]) -> dict[Definition, str]:
    """Return the first sentence of each docstring, private ones included."""
    docs = {each: ast.get_docstring(each.node) for each in found}
    return {each: first_sentence(doc) for each, doc in docs.items() if doc}


def first_sentence(text: str) -> str:
    """Cut `text` after its first sentence. A line without a full stop is one."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def without_quotes(sentence: str) -> str:
    """Remove code and quotations, which are no prose of ours."""
    return re.sub(r"`[^`]*`|\"[^\"]*\"|“[^”]*”", "", sentence)


def has_semicolon(sentence: str) -> bool:
    """Tell whether a semicolon joins two clauses."""
    return ";" in without_quotes(sentence)


def has_free_what(sentence: str) -> bool:
    """Tell whether "what" stands for a noun, as in "what the CRM says". A question may have it."""
    return not sentence.endswith("?") and bool(re.search(r"(?i)\bwhat\b", without_quotes(sentence)))


def undocumented(found: list[Definition]) -> tuple[list[Definition], int]:
    """Return the public names without a docstring and the number of public names.

    A method that overrides a documented one has that docstring, as `help()` shows it.
    """
    public = [each for each in found if each.public]
    bases = _methods_of_bases(found)
    bare = [each for each in public if not ast.get_docstring(each.node) and not _inherits_docstring(each, bases)]
    return bare, len(public)


def _inherits_docstring(definition: Definition, bases: Mapping[str, list[dict[str, Function]]]) -> bool:
    owner, _, name = definition.name.rpartition(".")
    inherited = bases.get(f"{definition.module.name}.{owner}", []) if owner else []
    return any(name in methods and ast.get_docstring(methods[name]) for methods in inherited)


# --- objects ---------------------------------------------------------------------------------------------------------


def _methods_of_bases(found: Iterable[Definition]) -> dict[str, list[dict[str, Function]]]:
    """Return the methods of each class and of its bases in the project, its own first."""
    classes = {f"{each.module.name}.{each.name}": each for each in found if isinstance(each.node, ast.ClassDef)}
    scopes = {
        module.name: dict(_imported_names(module.tree))
        for module in {each.module.name: each.module for each in found}.values()
    }

    def chain(name: str) -> Iterator[str]:
        yield name
        module = classes[name].module.name
        for base in classes[name].node.bases:  # type: ignore[union-attr]
            root, _, rest = ast.unparse(base).partition("[")[0].partition(".")
            full = scopes[module].get(root, f"{module}.{root}") + (f".{rest}" if rest else "")
            if full in classes and full != name:
                yield from chain(full)

    return {name: [_methods(classes[each].node) for each in chain(name)] for name in classes}


def _methods(node: Any) -> dict[str, Function]:
    return {each.name: each for each in node.body if isinstance(each, Function)}


def widest_object(found: Iterable[Definition]) -> tuple[str, int]:
    """Return the class with the most methods, inherited and private ones included."""
    widths = {name: len({m for methods in chain for m in methods}) for name, chain in _methods_of_bases(found).items()}
    return max(widths.items(), key=lambda item: item[1], default=("", 0))


def shared_class_names(found: Iterable[Definition]) -> list[str]:
    """List the names that two or more classes bear."""
    bearers: dict[str, list[str]] = {}
    for each in found:
        if isinstance(each.node, ast.ClassDef):
            bearers.setdefault(each.name.rpartition(".")[2], []).append(each.module.path)
    return [f"{name}: {', '.join(places)}" for name, places in sorted(bearers.items()) if len(places) > 1]


# --- rooms and arrows ------------------------------------------------------------------------------------------------


def module_graph(modules: Iterable[Module]) -> Graph:
    """Return the modules that each module imports anywhere in its file."""
    known = {module.name: module for module in modules}
    return {name: set(_imported(module, known)) - {name} for name, module in known.items()}


def _imported(module: Module, known: Mapping[str, Module]) -> Iterator[str]:
    for _, name in _imported_names(module.tree):
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        yield from [prefix for prefix in prefixes if prefix in known][:1]


def room(module: str) -> str:
    """Return a module's room: one level below syncd, or a connector."""
    parts = module.split(".")
    if parts[0] == "connectors":
        return ".".join(parts[:2])
    return parts[1] if len(parts) > 1 else "__init__"


def room_graph(graph: Graph) -> Graph:
    """Return the rooms that each room imports from."""
    rooms: Graph = {room(module): set() for module in graph}
    for module, imported in graph.items():
        rooms[room(module)] |= {room(each) for each in imported} - {room(module)}
    return rooms


def cycles(graph: Graph) -> list[list[str]]:
    """Return the groups that import each other: strongly connected components of two or more."""
    reach = {start: _reachable(graph, start) for start in graph}
    groups = {frozenset({node} | {each for each in reach[node] if node in reach[each]}) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting.extend(new)
    return seen


def import_table(root: Path) -> dict[str, Any]:
    """Return the constants of tests/test_project.py: MAY_IMPORT, FOR_CONNECTORS and the ones they are made of."""
    constants: dict[str, Any] = {}
    for node in ast.parse((root / "tests" / "test_project.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with suppress(NameError):  # it needs an import, and the table needs none
                constants[node.targets[0].id] = eval(ast.unparse(node.value), {}, dict(constants))
    return constants


def climbing(rooms: Graph, table: Mapping[str, Any]) -> list[str]:
    """List the arrows that the import table does not allow. A part without a row may import all of syncd."""
    for_connectors = {part.removeprefix("syncd.").split(".")[0] for part in table["FOR_CONNECTORS"]}
    bad = []
    for name, imported in rooms.items():
        row = table["MAY_IMPORT"].get(name)
        allowed = for_connectors if name.startswith("connectors") else set(row.split()) if row is not None else imported
        allowed = {"__init__" if part == "__version__" else part for part in allowed} | {"__init__"}
        bad += [f"{name} -> {each}" for each in sorted(imported - allowed)]
    return bad


# --- the table -------------------------------------------------------------------------------------------------------


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"


def _sizes(modules: list[Module], found: list[Definition]) -> Iterator[Figure]:
    lines = sorted(function_lines(found).values())
    p90 = statistics.quantiles(lines, n=10, method="inclusive")[-1]
    yield Figure("function lines, median / p90 / max", f"{statistics.median(lines):g} / {p90:.0f} / {lines[-1]}")
    yield Figure(f"functions over {LONGEST_FUNCTION} lines", str(len(long := long_functions(found))), tuple(long))
    yield Figure("largest file, lines", str(max(len(module.text.splitlines()) for module in modules)))
    yield Figure(f"files over {LONGEST_FILE} lines", str(len(long := long_files(modules))), tuple(long))
    yield Figure("comments per 100 lines", f"{comments_per_100_lines(modules):.1f}")


def _prose(found: list[Definition]) -> Iterator[Figure]:
    sentences = first_sentences(found)
    faults: dict[str, Callable[[str], bool]] = {"with a semicolon": has_semicolon, 'with a free "what"': has_free_what}
    for title, fault in faults.items():
        bad = tuple(f"{each}: {sentence}" for each, sentence in sentences.items() if fault(sentence))
        yield Figure(f"first sentences {title}", _share(len(bad), len(sentences)), bad)


def _names(found: list[Definition]) -> Iterator[Figure]:
    bare, public = undocumented(found)
    yield Figure("docstrings on public names", _share(public - len(bare), public), tuple(map(str, bare)))
    yield Figure("widest object, methods", f"{(widest := widest_object(found))[1]} {widest[0]}")
    yield Figure("class names with 2 bearers or more", str(len(shared := shared_class_names(found))), tuple(shared))


def _layout(root: Path, modules: list[Module]) -> Iterator[Figure]:
    graph = module_graph(modules)
    rooms = room_graph(graph)
    of_syncd = {name: to for name, to in rooms.items() if not name.startswith("connectors")}
    flat = [module.path for module in modules if re.fullmatch(r"syncd/\w+\.py", module.path)]
    yield Figure("modules at syncd's root", str(len(flat)), tuple(flat))
    yield Figure("rooms of syncd", str(len(of_syncd)))
    arrows = tuple(f"{name} -> {each}" for name, to in of_syncd.items() for each in sorted(to))
    yield Figure("arrows between them", str(len(arrows)), arrows)
    yield Figure("rooms with the connectors", str(len(rooms)))
    yield Figure("arrows between all", str(sum(map(len, rooms.values()))))
    yield Figure("arrows that climb", str(len(bad := climbing(rooms, import_table(root)))), tuple(bad))
    for title, level in (("rooms", rooms), ("modules", graph)):
        found = tuple(" <-> ".join(group) for group in cycles(level))
        yield Figure(f"import cycles between {title}", str(len(found)), found)


def measure(root: Path) -> list[Figure]:
    """Measure syncd/ and connectors/ below `root`."""
    modules = read(root, "syncd", "connectors")
    found = definitions(modules)
    return [*_sizes(modules, found), *_prose(found), *_names(found), *_layout(root, modules)]


def measure_tests(root: Path) -> list[Figure]:
    """Measure the tests' sizes and prose."""
    modules = read(root, "tests")
    found = definitions(modules)
    return [*_sizes(modules, found), *_prose(found)]


def at(commit: str, root: Path, into: Path) -> Path:
    """Unpack `commit` of the repository `root` into the folder `into`."""
    packed = subprocess.run(["git", "archive", commit], cwd=root, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    return into


def table(columns: Mapping[str, list[Figure]]) -> str:
    """Return a Markdown table with a column for each list of figures."""
    titles = list(dict.fromkeys(figure.title for figures in columns.values() for figure in figures))
    rows = [["", *columns], ["-", *(["-"] * len(columns))]]
    rows += [[title, *(_value(figures, title) for figures in columns.values())] for title in titles]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    return "\n".join(lines)


def _line(row: Iterable[str], widths: Iterable[int]) -> str:
    cells = (cell.ljust(width, "-" if cell == "-" else " ") for cell, width in zip(row, widths, strict=True))
    return f"| {' | '.join(cells)} |"


def _value(figures: Iterable[Figure], title: str) -> str:
    return next((figure.value for figure in figures if figure.title == title), "")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> None:
    """Print the table, and each figure's offenders if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="measure this commit too")
    parser.add_argument("--offenders", action="store_true", help="list them below the table")
    asked = parser.parse_args(arguments)
    columns = {}
    if asked.against:
        with tempfile.TemporaryDirectory() as folder:
            before = at(asked.against, root, Path(folder))
            columns = {asked.against: measure(before), f"tests at {asked.against}": measure_tests(before)}
    columns |= {"now": measure(root), "tests now": measure_tests(root)}
    print(table(columns))
    for name in ("now", "tests now") if asked.offenders else ():
        of = name.removesuffix("now")
        for figure in columns[name]:
            if figure.offenders:
                print(f"\n{of}{figure.title}: {figure.value}", *figure.offenders, sep="\n  ")


if __name__ == "__main__":
    main()
