"""Count the lines of a folder by kind, and name the columns that nothing uses."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.lines import Line
from connectors.jsonl.mapping import NO_ACTIVITY, look, status_word
from connectors.jsonl.naming import shown
from syncd.activity import Kind
from syncd.connector import RowKind, Scope
from syncd.types.conditions import fields_of

MOST_LINES = 100_000  # the newest ones: reading them takes a few seconds
MOST_COLUMNS = 1_000  # that are remembered
MOST_NAMED = 20  # columns that the report names
LONGEST = 40  # characters of a column's name
DIGITS = 6  # in a column's name: one with more may be a number of somebody
PARTIAL = f"only the newest {MOST_LINES:,} lines were counted"

What = tuple[str, Mapping[str, str | bool | None], Kind | None]  # a key, the fields shown, and as what it is read


def count(lines: Iterable[Line], config: JsonlConfig) -> Scope:
    """Return the lines by kind, given the newest file first. No value is kept, except for known words of kinds."""
    found: Counter[str] = Counter()
    whats: dict[str, What] = {}
    columns: dict[str, None] = {}
    total = 0
    for total, line in enumerate(lines, 1):
        what = _what(line, config)
        whats.setdefault(what[0], what)
        found[what[0]] += 1
        if len(columns) < MOST_COLUMNS:
            columns.update(dict.fromkeys(line.row))
        if total == MOST_LINES:
            break
    partial = total == MOST_LINES
    kinds = [RowKind("line", whats[key][1], number, whats[key][2], partial) for key, number in found.most_common()]
    missing = missing_columns(columns, config) if total else ""
    return Scope(kinds, [*([PARTIAL] if partial else ()), *filter(None, [missing, _unused(columns, config)])])


def missing_columns(columns: Collection[str], config: JsonlConfig) -> str:
    """Return the warning that names columns of conditions which none of the lines with these `columns` has, or ""."""
    named = (config.columns.named.get(name, name) for name in _of_conditions(config))
    missing = sorted({name for name in named if name not in columns and name.split(".")[0] not in columns})
    return f"conditions name columns that no line has: {', '.join(map(repr, missing))}" if missing else ""


def _what(line: Line, config: JsonlConfig) -> What:
    """Return what a line counts as: read, not an activity by its status or by `match`, of another kind, or bad."""
    fields: dict[str, str | bool | None] = {"kind": line.kind}
    rules = config.rules(line.kind)
    if line.fault:
        fields = {"kind": line.other or None} if line.other is not None else {"readable": False}
    elif not rules.read:
        fields["read"] = False
    elif status_word(line.row, config.columns) == NO_ACTIVITY:
        fields["status"] = NO_ACTIVITY
    elif not rules.admits(look(line.row, config.columns)):
        fields["match"] = False
    else:
        return repr(fields), fields, line.kind
    return repr(fields), fields, None


def _unused(columns: Iterable[str], config: JsonlConfig) -> str:
    """Return the warning that names columns which neither `columns` nor a condition uses, or ""."""
    mapped = config.columns.named.values()
    used = {*mapped, *(each.split(".")[0] for each in mapped), *_of_conditions(config)}
    unused = sorted(filter(_may_be_shown, set(columns) - used))
    more = f" and {len(unused) - MOST_NAMED} more" if len(unused) > MOST_NAMED else ""
    return f"not used: {', '.join(map(repr, map(shown, unused[:MOST_NAMED])))}{more}" if unused else ""


def _of_conditions(config: JsonlConfig) -> tuple[str, ...]:
    return fields_of(entry for rules in (config.calls, config.emails) for entry in (*rules.match, *rules.excepted))


def _may_be_shown(column: str) -> bool:
    """Tell whether a column's name is a name: an object may have addresses or numbers of people for keys."""
    return 0 < len(column) <= LONGEST and "@" not in column and sum(map(str.isdigit, column)) <= DIGITS
