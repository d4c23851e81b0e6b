"""Compile the conditions of `match` to SOQL. Pure.

The query admits every row that `syncd.types.conditions` admits, and perhaps more: `rules` judges each row again. So a
condition may be left out of a query. It is left out if the field cannot be filtered by, or if SOQL compares values of
its type in another way. A text is compared without case by both, but they may fold letters outside ASCII in different
ways. Such a letter becomes a wildcard.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote_plus

from connectors.salesforce.schema import CASE_SENSITIVE
from syncd.types.conditions import Condition, Entry, Pattern, Wanted

# Types as describe names them (Object Reference v67, Field Types). SOQL takes LIKE for texts only.
TEXTS = frozenset({"string", "picklist", "combobox", "email", "phone", "url", "textarea"})
IDS = frozenset({"id", "reference"})
# Amounts are converted in an org with several currencies, so they are compared with null only.
COMPARED_WITH_NULL = frozenset(
    {"int", "double", "currency", "percent", "date", "datetime", "multipicklist", CASE_SENSITIVE}
)
LONGEST = 6_000  # bytes of the conditions in a URI that may have 16,384 with its headers (Limits v67)
MOST_INT = 2**31 - 1
MOST_DOUBLE = 10.0**12  # above it nine decimals are more than a float has
ID_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"  # of an id's last three characters
CLOSED = Condition("IsClosed", (True,))

TypeOf = Callable[[str], str | None]  # a field's type. None: it cannot be filtered by


class _Compared(NamedTuple):
    """How SOQL compares a field with one wanted value."""

    operator: str  # =, LIKE or between; != stands for any value, "" for the empty one
    literal: str = ""


ANY, EMPTY = _Compared("!="), _Compared("")


def completed(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return `match` as it is meant: only closed tasks, unless an entry names IsClosed, and ids in both their forms."""
    return tuple(
        entry if CLOSED.field in entry.fields else Entry((*entry.conditions, CLOSED))
        for entry in with_whole_ids(entries)
    )


def with_whole_ids(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return `entries` with the form of 18 characters beside each id of 15. Salesforce's answers have only that one."""
    return tuple(Entry(tuple(Condition(each.field, _with_whole_ids(each.wanted)) for each in entry.conditions))
                 for entry in entries)  # fmt: skip


def where(entries: Sequence[Entry], type_of: TypeOf) -> tuple[str, ...]:
    """Return conditions that each row fulfils which any of `entries` admits. None, if SOQL cannot say them."""
    compiled = [[text for each in entry.conditions if (text := _compiled(each, type_of(each.field)))]
                for entry in entries]  # fmt: skip
    found = _joined(compiled)
    while len(quote_plus(" AND ".join(found))) > LONGEST:
        longest = max((text for some in compiled for text in some), key=len)
        compiled = [[text for text in some if text != longest] for some in compiled]
        found = _joined(compiled)
    return found


def whole_id(written: str) -> str | None:
    """Return an id in 18 characters and its own case. None if the text cannot be one.

    The last three characters tell which of the others are capitals, so an id survives a change of case.
    """
    if len(written) not in (15, 18) or not (written.isascii() and written.isalnum()):
        return None
    if len(written) == 15:
        fives = (written[start : start + 5] for start in (0, 5, 10))
        return written + "".join(ID_DIGITS[sum(1 << n for n, c in enumerate(five) if c.isupper())] for five in fives)
    capitals = [ID_DIGITS.find(digit) for digit in written[15:].upper()]
    if min(capitals) < 0:
        return None
    cased = (c.upper() if capitals[n // 5] >> n % 5 & 1 else c.lower() for n, c in enumerate(written[:15]))
    return "".join(cased) + written[15:].upper()


def _joined(compiled: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the conditions that all entries share, and one for the rest unless an entry has none."""
    if not compiled:
        return ()
    shared = [text for text in compiled[0] if all(text in some for some in compiled)]
    rest = [[text for text in some if text not in shared] for some in compiled]
    return (*shared, *([_any_of([_all_of(some) for some in rest])] if all(rest) else []))


def _with_whole_ids(wanted: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
    found: list[Wanted] = []
    for each in wanted:
        found.append(each)
        if isinstance(each, Pattern) and len(each.written.strip()) == 15 and any(map(str.isdigit, each.written)):
            whole = whole_id(each.written.strip())
            found += [Pattern.of(whole)] if whole else []
    return tuple(found)


def _compiled(condition: Condition, kind: str | None) -> str:
    """Return a condition as SOQL, "" if none of its demands can be said."""
    if kind == "boolean":
        holding = [value for value in (True, False) if condition.holds(value)]
        return f"{condition.field} = {str(holding[0]).lower()}" if len(holding) == 1 else ""
    if kind is None or kind not in TEXTS | IDS | COMPARED_WITH_NULL:
        return ""
    compared = list(dict.fromkeys(_compared(each, kind) for each in condition.wanted))
    if ANY in compared:
        return "" if EMPTY in compared else f"{condition.field} != null"
    return _any_of([*_equal(condition.field, [each.literal for each in compared if each.operator == "="]),
                    *(_said(condition.field, each) for each in compared if each.operator != "=")])  # fmt: skip


def _equal(name: str, literals: Sequence[str]) -> list[str]:
    if len(literals) > 1:
        return [f"{name} IN ({', '.join(literals)})"]
    return [f"{name} = {each}" for each in literals]


def _said(name: str, compared: _Compared) -> str:
    if compared == EMPTY:
        return f"{name} = null"
    if compared.operator == "between":
        least, most = compared.literal.split()
        return f"({name} >= {least} AND {name} <= {most})"
    return f"{name} {compared.operator} {compared.literal}"


def _compared(wanted: Wanted, kind: str) -> _Compared:
    """Return the narrowest comparison that admits all that `wanted` admits."""
    if isinstance(wanted, Pattern):
        return EMPTY if not any(wanted.parts) and wanted.is_exact else _text(wanted, kind)
    if isinstance(wanted, bool):
        return _Compared("=", f"'{str(wanted).lower()}'") if kind in TEXTS else ANY
    return _number(wanted, kind)


def _text(pattern: Pattern, kind: str) -> _Compared:
    if kind in IDS:
        crm_id = whole_id(pattern.written.strip()) if pattern.is_exact else None
        return _Compared("=", f"'{crm_id}'") if crm_id else ANY
    if kind not in TEXTS or pattern.is_any:
        return ANY
    written = pattern.written.strip()  # as the operator writes it, whatever the case
    if pattern.is_exact and written.isascii():
        return _Compared("=", quoted(written))
    like = for_like(written)
    return ANY if like == "%" else _Compared("LIKE", f"'{like}'")


def quoted(text: str) -> str:
    """Return a text as SOQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def for_like(written: str) -> str:
    r"""Return a pattern for LIKE. A backslash becomes a wildcard: after it, % and _ would lose their sense.

    SOQL guide v67, quoted string escape sequences: \_ and \% are LIKE's own.
    """
    escaped = {"%": "\\%", "_": "\\_", "'": "\\'", "\\": "%", "*": "%"}
    found = [escaped.get(each, each) if each.isascii() else "%" for each in written]
    return "".join(each for n, each in enumerate(found) if not (each == "%" and n and found[n - 1] == "%"))


def _number(wanted: float, kind: str) -> _Compared:
    if kind == "int" and wanted == int(wanted) and abs(wanted) <= MOST_INT:
        return _Compared("=", str(int(wanted)))
    if kind == "double" and abs(wanted) <= MOST_DOUBLE:
        margin = max(1e-8, abs(wanted) * 1e-12)  # a float is compared with the number of up to 18 digits that it was
        return _Compared("between", f"{wanted - margin:.9f} {wanted + margin:.9f}")
    return ANY


def _all_of(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"({' AND '.join(texts)})"


def _any_of(texts: Sequence[str]) -> str:
    texts = list(dict.fromkeys(texts))
    return texts[0] if len(texts) == 1 else f"({' OR '.join(texts)})"
