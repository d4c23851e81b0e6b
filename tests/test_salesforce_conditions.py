"""Conditions in SOQL: a query admits every row that the evaluation admits, and no text leaves its quotes.

The stand-in answers the queries. So each example is judged twice, by SOQL's rules and by `syncd.types.conditions`.
"""

import string
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.salesforce import conditions, soql
from connectors.salesforce.conditions import completed, where, whole_id
from connectors.salesforce.rules import Rules
from connectors.salesforce.schema import TASK, WANTED, Schema
from connectors.salesforce.tables import CALLS, EMAILS, CallTable
from syncd.sandbox.salesforce import Salesforce
from syncd.sandbox.salesforce.describe import describe
from syncd.sandbox.salesforce.ids import whole
from syncd.sandbox.salesforce.query import run
from syncd.types.conditions import Entry

BASE = "/services/data/v66.0"
AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
FIELDS = {
    "Text__c": "string", "Choice__c": "picklist", "Mail__c": "email", "Site__c": "url", "Phone__c": "phone",
    "Area__c": "textarea", "Several__c": "multipicklist", "Whole__c": "int", "Double__c": "double",
    "Money__c": "currency", "Share__c": "percent", "Flag__c": "boolean", "Agent__c": "reference", "Day__c": "date",
    "At__c": "datetime", "Odd__c": "location", "Exact__c": "string exact",
}  # fmt: skip
TYPES = {
    **FIELDS,
    "TaskSubtype": "picklist",
    "Type": "picklist",
    "IsClosed": "boolean",
    "Subject": "combobox",
    "Exact__c": "case-sensitive",
}


def entries(*tables: Mapping[str, Any]) -> tuple[Entry, ...]:
    return tuple(map(Entry.parse, tables))


def type_of(name: str) -> str | None:
    return None if TYPES[name] == "textarea" else TYPES[name]


def compiled(*tables: Mapping[str, Any]) -> str:
    """Return the WHERE of entries, without the IsClosed that every entry implies."""
    return " AND ".join(where(entries(*tables), type_of))


# -- texts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Call", "Text__c = 'Call'"),
        (["Call", "SMS"], "Text__c IN ('Call', 'SMS')"),
        ("SMS *", "Text__c LIKE 'SMS %'"),
        ("*[In]*", "Text__c LIKE '%[In]%'"),
        (["Call", "* sms *"], "(Text__c = 'Call' OR Text__c LIKE '% sms %')"),
        ("*", "Text__c != null"),
        ("**", "Text__c != null"),
        ("", "Text__c = null"),
        (["", "x"], "(Text__c = 'x' OR Text__c = null)"),
        (["", "*"], ""),
        (["x", "*"], "Text__c != null"),
        (True, "Text__c = 'true'"),
        (7, "Text__c != null"),
        ("It's", "Text__c = 'It\\'s'"),
        ("a\\b", "Text__c = 'a\\\\b'"),
        ("50%_*", "Text__c LIKE '50\\%\\_%'"),
        ("50%*", "Text__c LIKE '50\\%%'"),
        ("*é*", "Text__c != null"),
        ("50%_", "Text__c = '50%_'"),
        ("a\\*", "Text__c LIKE 'a%'"),
        ("a\\%*", "Text__c LIKE 'a%\\%%'"),
        ("' OR Id != null OR Subject = '", "Text__c = '\\' OR Id != null OR Subject = \\''"),
        ("Café*", "Text__c LIKE 'Caf%'"),
        ("Café", "Text__c LIKE 'Caf%'"),
        ("é", "Text__c != null"),
    ],
)
def test_a_condition_on_a_text_is_this_soql(condition: Any, expected: str) -> None:
    assert compiled({"Text__c": condition}) == expected


@pytest.mark.parametrize(
    ("field", "condition", "expected"),
    [
        ("Flag__c", True, "Flag__c = true"),
        ("Flag__c", "TRUE", "Flag__c = true"),
        ("Flag__c", "f*", "Flag__c = false"),
        ("Flag__c", [True, False], ""),
        ("Flag__c", "*", ""),
        ("Flag__c", "Call", ""),
        ("Whole__c", 0, "Whole__c = 0"),
        ("Whole__c", [0, 60.0], "Whole__c IN (0, 60)"),
        ("Whole__c", 0.5, "Whole__c != null"),
        ("Whole__c", 2**31, "Whole__c != null"),
        ("Whole__c", "0", "Whole__c != null"),
        ("Whole__c", "", "Whole__c = null"),
        ("Whole__c", True, "Whole__c != null"),
        ("Double__c", 1.5, "(Double__c >= 1.499999990 AND Double__c <= 1.500000010)"),
        ("Double__c", 10.0**13, "Double__c != null"),
        ("Money__c", 5, "Money__c != null"),
        ("Share__c", 50, "Share__c != null"),
        ("Several__c", "a;b", "Several__c != null"),
        ("Day__c", "2026-*", "Day__c != null"),
        ("At__c", "", "At__c = null"),
        ("Agent__c", "005000000000001", "Agent__c = '005000000000001AAA'"),
        ("Agent__c", "005000000000001aaa", "Agent__c = '005000000000001AAA'"),
        ("Agent__c", "005*", "Agent__c != null"),
        ("Agent__c", "Ann", "Agent__c != null"),
        ("Area__c", "x*", ""),
        ("Odd__c", "", ""),
        ("Exact__c", "Call", "Exact__c != null"),
        ("Exact__c", "", "Exact__c = null"),
    ],
)
def test_a_condition_on_another_type_is_this_soql(field: str, condition: Any, expected: str) -> None:
    assert compiled({field: condition}) == expected


def test_the_default_asks_for_closed_calls_by_subtype_or_by_type() -> None:
    either = "(TaskSubtype = 'Call' OR (Type = 'Call' AND TaskSubtype = 'Task'))"
    assert where(completed(CALLS), type_of) == ("IsClosed = true", either)
    assert where(completed(entries({"TaskSubtype": "Call"})), type_of) == ("TaskSubtype = 'Call'", "IsClosed = true")
    assert "'Email'" in " ".join(where(completed(EMAILS), type_of))


def test_an_entry_that_names_is_closed_alone_takes_in_open_tasks() -> None:
    open_too = completed(entries({"TaskSubtype": "Call"}, {"IsClosed": False, "Subject": "Missed*"}))
    assert where(open_too, type_of) == (
        "((TaskSubtype = 'Call' AND IsClosed = true) OR (IsClosed = false AND Subject LIKE 'Missed%'))",
    )


def test_what_no_entry_can_say_is_left_to_the_evaluation() -> None:
    assert compiled({"Area__c": "x"}, {"Text__c": "y"}) == ""
    assert compiled({"Area__c": "x", "Choice__c": "z"}, {"Text__c": "y", "Choice__c": "z"}) == "Choice__c = 'z'"
    assert where((), type_of) == ()


# -- ids --------------------------------------------------------------------------------


@given(st.text(string.ascii_letters + string.digits, min_size=15, max_size=15))
def test_an_id_is_completed_and_its_case_restored(written: str) -> None:
    assert whole_id(written) == whole(written)
    assert whole_id(whole(written).lower()) == whole(written)


@pytest.mark.parametrize("written", ["", "005", "0" * 16, "00500000000000!", "005000000000001AA9", "00500000000000é"])
def test_what_is_no_id(written: str) -> None:
    assert whole_id(written) is None


def test_an_id_of_fifteen_characters_fits_the_answers_of_eighteen() -> None:
    short = "0050000000abCDe"
    (entry,) = completed(entries({"Agent__c": short}))
    assert entry.holds({"Agent__c": whole(short), "IsClosed": True}.get)
    assert not entry.holds({"Agent__c": whole("0050000000ABCDe"), "IsClosed": True}.get)


# -- bounds -----------------------------------------------------------------------------


def test_conditions_that_a_uri_cannot_hold_are_left_to_the_evaluation() -> None:
    long = {"Text__c": [f"{number:03}%" * 50 for number in range(100)], "Choice__c": "z"}
    assert compiled(long) == "Choice__c = 'z'"
    assert compiled(long, {"Choice__c": "z", "Type": "y"}) == "Choice__c = 'z'"
    many = entries(*({"Subject": f"{number:02} * {'x' * 200}", "Choice__c": "z"} for number in range(50)))
    assert where(many, type_of) == ("Choice__c = 'z'",)
    some = where(many[:20], type_of)
    assert 3_000 < len(quote_plus(" AND ".join(some))) <= conditions.LONGEST


# -- the query and the evaluation agree -------------------------------------------------

ALPHABET = "aAbB sSkKiI*%_'\\\"[]()0%12éÉßſİıK,;-\u00a0"
texts = st.text(ALPHABET, max_size=8)
written = texts.filter(str.isprintable)
stored = st.none() | texts.map(lambda text: text.strip(" ")) | st.sampled_from(["true", "TRUE", "0", "1.50", "1,500"])
numbers = st.sampled_from([-1, 0, 1, 60, 0.1, 1.5, 2**31, 1e15, 0.30000000000000004])
IDS = [whole(f"005Dn00000{five}") for five in ("AAAAA", "aaaaa", "AbCdE", "12345")]
ids = st.sampled_from([*IDS, *(each[:15] for each in IDS), *map(str.lower, IDS)])
VALUES: dict[str, Any] = {
    "int": st.none() | st.sampled_from([-1, 0, 1, 60]), "boolean": st.booleans(),
    "reference": st.none() | st.sampled_from(IDS), "date": st.none() | st.sampled_from(["2026-03-01", "2026-03-02"]),
    "datetime": st.none() | st.just(AT),
    **dict.fromkeys(("double", "currency", "percent"), st.none() | st.sampled_from([0.1, 1.5, 0, 60, 1e15])),
}  # fmt: skip
rows = st.fixed_dictionaries({name: VALUES.get(kind, stored) for name, kind in FIELDS.items()})
values = st.one_of(written, st.sampled_from(["", "*", "**"]), st.booleans(), numbers, ids)
tables = st.dictionaries(
    st.sampled_from(sorted(FIELDS)), values | st.lists(values, min_size=1, max_size=3), min_size=1, max_size=3
)  # fmt: skip


class Tasks:
    """An org whose tasks have a field of each type."""

    def __init__(self, found: Iterable[Mapping[str, Any]], *, folds_ascii_only: bool) -> None:
        self.org = Salesforce(seed=1, folds_ascii_only=folds_ascii_only)
        for name, kind in FIELDS.items():
            self.org.field(TASK, name, kind)
        for row in found:
            self.org.put(TASK, {"Status": "Completed", **row}, modified_at=AT)
        seen = {name: view for name in self.org.kinds if (view := self.org.view(name)) is not None}
        described = {name: describe(seen[name], BASE, seen) for name in WANTED if name in seen}
        self.schema = Schema.of(described, [(TASK, name) for name in FIELDS])

    def ask(self, match: Sequence[Entry]) -> list[dict[str, Any]]:
        select = soql.tasks(self.schema, match, named=tuple(FIELDS))
        text = select.window(AT - timedelta(hours=1), AT + timedelta(hours=1))
        answer = run(self.org, text, base=BASE, verb="queryAll", page_size=2_000, turn=1)
        found: list[dict[str, Any]] = answer["records"]
        return found


def ids_of(found: Iterable[Mapping[str, Any]]) -> set[str]:
    return {row["Id"] for row in found}


@settings(max_examples=80)
@given(st.lists(rows, min_size=1, max_size=6), st.lists(tables, min_size=1, max_size=3), st.booleans())
def test_the_query_admits_all_that_the_evaluation_admits(found: Any, match: Any, folds_ascii_only: bool) -> None:
    """Salesforce may fold the letters outside ASCII or not. After the evaluation, both have the same rows."""
    tasks = Tasks(found, folds_ascii_only=folds_ascii_only)
    rules = Rules.of(CallTable(match=entries(*match)))
    everything, answered = tasks.ask(completed(entries({"IsClosed": True}))), tasks.ask(rules.match)
    assert len(everything) == len(found)
    admitted = ids_of(filter(rules.admits, everything))
    assert admitted <= ids_of(answered)
    assert admitted == ids_of(filter(rules.admits, answered))


@st.composite
def pattern_and_texts(draw: st.DrawFn, alphabet: str) -> tuple[str, list[str]]:
    """Return a pattern, and texts that are much like it: in another case, or with a piece more or less."""
    base = draw(st.text(alphabet, min_size=1, max_size=8))

    def like(piece: st.SearchStrategy[str]) -> str:
        cased = draw(st.sampled_from([base, base.upper(), base.lower(), base.swapcase()]))
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(cased))] * 2)))
        return cased[:start] + draw(piece) + cased[end:]

    written = like(st.sampled_from(["*", "", "**"])).replace("\u00a0", " ")
    texts = [like(st.text(alphabet, max_size=2)).strip(" ") for _ in range(4)]
    return written, texts


def admitted(written: str, texts: Sequence[str], *, folds_ascii_only: bool) -> tuple[set[str], set[str], set[str]]:
    """Return the ids that a query for a pattern answers, those of them that fit, and all that fit."""
    tasks = Tasks([{"Text__c": text} for text in texts], folds_ascii_only=folds_ascii_only)
    rules = Rules.of(CallTable(match=entries({"Text__c": written})))
    everything, answered = tasks.ask(completed(entries({"IsClosed": True}))), tasks.ask(rules.match)
    return ids_of(answered), ids_of(filter(rules.admits, answered)), ids_of(filter(rules.admits, everything))


@settings(max_examples=100)
@given(pattern_and_texts(ALPHABET.replace("*", "")), st.booleans())
@example(("Élan", ["élan", "ÉLAN"]), True)
@example(("a*é", ["aÉ", "aé"]), True)
@example(("i*", ["İ", "ı", "I"]), False)
@example(("50%*", ["50%", "50%x"]), True)
def test_a_query_for_a_pattern_finds_every_text_that_fits(case: Any, folds_ascii_only: bool) -> None:
    _, fitting, all_fitting = admitted(*case, folds_ascii_only=folds_ascii_only)
    assert fitting == all_fitting


@settings(max_examples=100)
@given(pattern_and_texts("aAbB%_' []0"))
def test_a_query_for_a_plain_pattern_finds_nothing_else(case: Any) -> None:
    """Without letters outside ASCII and backslashes, SOQL says all of it: pages hold no row for nothing."""
    answered, fitting, _ = admitted(*case, folds_ascii_only=True)
    assert answered == fitting


INJECTIONS = [
    "' OR Id != null OR Subject = '", "\\", "\\'", "\\\\'", "' --", "%", "_", "%%", "\\%", "\\_", "') OR (Id != null",
    "\\' OR IsClosed = false OR Subject = \\'", "'*", "*'", "\\*", "*\\*", "%*_", ":x", "{!Id}", "\u2019", "\uff07",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("pattern", ["{}", "{}*", "*{}", "*{}*", "a{}b"])
def test_no_text_leaves_its_quotes(text: str, pattern: str) -> None:
    """The query finds the row that holds the text itself, and neither an open task nor another one."""
    written = pattern.format(text)
    itself = written.replace("*", "") if "*" in written else written
    tasks = Tasks([{"Text__c": itself}, {"Text__c": "other"}, {"Status": "Open", "Text__c": itself}],
                  folds_ascii_only=True)  # fmt: skip
    rules = Rules.of(CallTable(match=entries({"Text__c": written})))
    admitted = [row for row in tasks.ask(rules.match) if rules.admits(row)]
    assert [row["Text__c"] for row in admitted] == [itself]
    assert where(rules.match, type_of)[-1] == "IsClosed = true"
