"""Each kind of external input has one way in: no other module calls the guarded functions."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache

from tests.test_project import MODULES

OURS = ("syncd.sandbox*", "syncd.testing*", "syncd.cli.demo")  # they read what they have written themselves

# What may be called, and by whom.
GUARDED = {
    "open": ("syncd.files", "syncd.cli.streams"),
    "os.open": ("syncd.files", "syncd.cli.streams", "connectors.jsonl.place"),  # place: names relative to its folder
    "io.open": (),
    ".read_text": ("syncd.config.shipped", "syncd.addresses"),  # files of installed packages
    ".read_bytes": ("syncd.http.tls",),  # the package certifi's own file
    ".write_text": ("syncd.config.schema",),  # a developer's command
    ".write_bytes": (),
    "shutil.copyfile": (),
    "shutil.copyfileobj": (),
    "shutil.copy": (),
    "orjson.loads": ("syncd.http.bodies",),
    # Of the ledger's own texts, a payload of ours, a variable that the operator has set, a line that bodies has parsed,
    # and the sandbox's own announcement.
    "json.loads": (
        "syncd.ledger*",
        "syncd.passes.destination",
        "syncd.passes.judging",
        "syncd.passes.forgetting",
        "syncd.cli.preview",
        "syncd.cli.init.stand_ins",
        "syncd.config.reading",
        "connectors.jsonl.objects",
    ),
    "zlib.decompressobj": ("syncd.http.bodies",),
    "zlib.decompress": (),
    "gzip.decompress": (),
    "ssl.create_default_context": (),
    "ssl._create_unverified_context": (),
    "ssl.SSLContext": ("syncd.http.tls",),
    "input": (),
}


@cache
def calls(module: str) -> tuple[str, ...]:
    """List the calls of a module, as `name`, `module.name` and `.method`."""
    return tuple(_calls(module))


def _calls(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
            if isinstance(node.func, ast.Attribute):
                yield f".{node.func.attr}"


def test_what_comes_from_outside_enters_by_its_own_door():
    for module in [name for name in MODULES if not any(fnmatchcase(name, each) for each in OURS)]:
        for called in calls(module):
            owners = GUARDED.get(called)
            known = owners is None or any(fnmatchcase(module, owner) for owner in owners)
            assert known, f"{module} calls {called}"


def test_the_table_names_what_is_called():
    called = {name for module in MODULES for name in calls(module)}
    assert {name for name, owners in GUARDED.items() if owners} <= called
