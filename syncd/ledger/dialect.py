"""Write the parts of statements in which SQLite differs from other databases.

All other statements of this package are standard SQL: another engine needs other texts for these names alone. The
schema, and the modules that look at the file itself, are SQLite's own.
"""

CLUSTERED = "WITHOUT ROWID"  # ends CREATE TABLE: the rows stand in the index of the primary key
# The ids of activities in POSTs without an answer. `posts.members` is a JSON array.
IN_FLIGHT = "(SELECT value FROM posts, json_each(members) WHERE members IS NOT NULL)"

# Passes under way whose process is gone. The caller holds the ledger.
BROKEN_OFF = "passes.finished_at IS NULL"

# A dead holder's POST may still arrive with a row: the row waits until that is over. It ends a condition on
# `activities`. The other text adds those rows to a list of times. SQLite has one holder, which is gone if it is dead.
NOT_HELD_BACK = "/* not held back */"
OR_HELD_BACK = "/* or held back */"


def listed(name: str) -> str:
    """Return the members of the JSON array that is bound to `name`, for IN. They are all numbers or all texts."""
    return f"(SELECT value FROM json_each(:{name}))"  # nosec B608 # our own text


def pairs(name: str, first: str, second: str) -> str:
    """Return the JSON array of pairs of numbers that is bound to `name` as a table of the columns `first` and `second`.

    The order of its rows is open.
    """
    columns = f"json_extract(value, '$[0]') AS {first}, json_extract(value, '$[1]') AS {second}"
    return f"(SELECT {columns} FROM json_each(:{name}))"  # nosec B608 # our own text


def holds(text: str, name: str) -> str:
    """Return the condition that the expression `text`, in lower case, holds what is bound to `name`."""
    return f"instr(lower({text}), :{name}) > 0"


def locked(table: str) -> str:
    """Return the end of a SELECT whose rows of `table` are written back: no other process may write them meanwhile."""
    return f"/* locks {table} */"


def by_index(name: str) -> str:
    """Return the order to use an index, after the name of a table. It fails if the statement cannot use it."""
    return f"INDEXED BY {name}"


__all__ = [
    "BROKEN_OFF",
    "CLUSTERED",
    "IN_FLIGHT",
    "NOT_HELD_BACK",
    "OR_HELD_BACK",
    "by_index",
    "holds",
    "listed",
    "locked",
    "pairs",
]
