"""The ledger's statements are SQL that other databases take too, except for the texts that `dialect` names."""

import ast
import re
from pathlib import Path

import pytest

LEDGER = Path(__file__).parents[1] / "syncd" / "ledger"
# These modules are of one database alone: they open it, look after it, or make its tables.
SQLITE = {
    "dialect", "diagnosis", "examination", "file", "file_copying", "place", "schema", "schema_6", "schema_8", "tables",
    "upkeep",
}  # fmt: skip
POSTGRES = {path.stem for path in LEDGER.glob("postgres*.py")}
SHARED = sorted(path.stem for path in LEDGER.glob("*.py") if path.stem not in SQLITE | POSTGRES)
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|AND|FROM|CREATE|INDEXED|PRAGMA|BEGIN|COMMIT|ROLLBACK|VACUUM)\b")
# What only SQLite takes, each with an example.
ONLY_SQLITE = {
    r"\b(INSERT|UPDATE) OR\b|\bREPLACE INTO\b": "INSERT OR IGNORE INTO streams",
    r"\b(iif|ifnull|instr|total|printf|group_concat|julianday|strftime)\(": "SELECT iif(n = 0, 1, 2)",
    r"\b(max|min)\(([^()]|\([^()]*\))*,": "SELECT max(coalesce(seen, 0), :seen)",
    r"\bIS (NOT )?[':?\d]": "WHERE reason IS NOT 'redacted'",
    r"\b(GLOB|MATCH)\b": "WHERE crm_id GLOB '00T*'",
    r"\bjson\w*\(|->": "SELECT rule ->> '$.read' FROM streams",
    r"\bINDEXED BY\b|\bROWID\b|\browid\b": "FROM activities INDEXED BY ended",
    r"\b(PRAGMA|VACUUM|BEGIN|COMMIT|ROLLBACK(?! TO))\b": "PRAGMA busy_timeout = 250",
    r"\bCROSS JOIN \w+( AS \w+)?\s+ON\b": "FROM activities CROSS JOIN streams ON streams.id = stream_id",
    r"-:\w+|\(:\w+ IS NULL OR\b": "WHERE (:state IS NULL OR state = :state)",  # which type is it?
    r"\bON CONFLICT DO UPDATE\b": "INSERT INTO counts VALUES (1) ON CONFLICT DO UPDATE SET n = 1",
}


def texts(source: str) -> list[str]:
    """Return the texts of a module that may be SQL. What an f-string computes is a question mark."""
    tree = ast.parse(source)
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inner = {id(part) for node in joined for part in ast.walk(node) if part is not node}
    plain = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in inner]
    composed = ["".join(_text(part) for part in node.values) for node in joined]
    return [text for text in (*plain, *composed) if isinstance(text, str) and SQL.search(text)]


def _text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "?"


def only_sqlite(sql: str) -> list[str]:
    """Return the parts of a text that only SQLite takes."""
    found = [match[0] for pattern in ONLY_SQLITE for match in re.finditer(pattern, sql)]
    return found + [sql[at:] for at in _nameless(sql)]


def _nameless(sql: str) -> list[int]:
    """Return the ends of subqueries in FROM that have no name."""
    ends = []
    for start in (match.end() for match in re.finditer(r"\bFROM \(", sql)):
        depth, at = 1, start
        while depth and at < len(sql):
            depth += {"(": 1, ")": -1}.get(sql[at], 0)
            at += 1
        if not depth and not sql[at:].lstrip().startswith("AS "):
            ends.append(at)
    return ends


@pytest.mark.parametrize("module", SHARED)
def test_every_statement_is_sql_of_other_databases_too(module: str) -> None:
    source = (LEDGER / f"{module}.py").read_text(encoding="utf-8")
    assert [part for text in texts(source) for part in only_sqlite(text)] == []
    assert ".lastrowid" not in source, "RETURNING tells the id"


@pytest.mark.parametrize("sql", [*ONLY_SQLITE.values(), "SELECT min(at) FROM (SELECT 1 AS at UNION SELECT 2) LIMIT 1"])
def test_what_only_sqlite_takes_is_found(sql: str) -> None:
    assert only_sqlite(sql)


def test_the_statements_are_found() -> None:
    found = [text for module in SHARED for text in texts((LEDGER / f"{module}.py").read_text(encoding="utf-8"))]
    assert len([text for text in found if re.search(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b", text)]) > 150
    assert any("INSERT INTO posts" in text for text in found)
    assert any("UPDATE activities SET updated_at" in text for text in found)
