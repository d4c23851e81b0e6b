"""Lines of files: each is one record, a bad one too, and it is read in bounded memory from wherever a window begins."""

import hashlib
import tempfile
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.jsonl import objects
from connectors.jsonl.config import JsonlConfig
from connectors.jsonl.lines import STRIDE, File, FileProblem, Line, LineReader, opened, refuse_unreadable
from connectors.jsonl.physical import BOM, LONGEST
from syncd.http import bodies
from tests.drops import call

STAMP = 1_790_000_000_000
CSV = "id,kind,title\n"


def read(path: Path, content: bytes | str, *, since: int = 0, until: int = 10**15, **table: Any) -> list[Line]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return reading(path, since=since, until=until, **table)[1]


def reading(path: Path, *, since: int = 0, until: int = 10**15, **table: Any) -> tuple[LineReader, list[Line]]:
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path=str(path.parent), **table)
    file = File(path, path.name, STAMP, path.stat().st_size)
    found = LineReader(file, config, since=since, until=until)
    with opened(file) as handle:
        return found, list(found.lines(handle))


def refuse(path: Path, config: JsonlConfig) -> None:
    with path.open("rb") as handle:
        refuse_unreadable(handle, path.name, config)


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    return tmp_path / "x.jsonl"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "x.CSV"


def test_a_line_is_a_record_and_an_empty_one_is_none(jsonl: Path) -> None:
    found = read(jsonl, f"{call('a')}\n\n  \r\n{call('b')}\r\n{call('c')}")
    assert [(line.crm_id, line.number, line.fault) for line in found] == [("a", 1, ""), ("b", 4, ""), ("c", 5, "")]


def test_a_byte_order_mark_is_no_part_of_the_first_line(jsonl: Path, csv: Path) -> None:
    assert [line.fault for line in read(jsonl, b"\xef\xbb\xbf" + call("a").encode())] == [""]
    assert [line.crm_id for line in read(csv, b"\xef\xbb\xbf" + f"{CSV}a,call,x\n".encode())] == ["a"]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"{", "is not JSON"),
        (b'{"id": None}', "is not JSON"),
        (b"\0\0\0", "is not JSON"),
        (b"[" * 5000 + b"]" * 5000, "nests deeper than 100 levels"),
        (b'{"id": "\xff"}', "is not UTF-8"),
        (b"[1, 2]", "is no JSON object"),
        (b"null", "is no JSON object"),
        (b"{}", "says neither call nor email in 'kind'"),
        (b'{"kind": "meeting"}', "says neither call nor email in 'kind'"),
        (b'{"kind": {}}', "says neither call nor email in 'kind'"),
    ],
)
def test_a_bad_line_says_why_and_is_known_by_the_hash_of_its_bytes(jsonl: Path, raw: bytes, fault: str) -> None:
    (found,) = read(jsonl, raw + b"\r\n")
    assert (found.fault, found.kind) == (fault, "call")
    assert found.crm_id == "line-" + hashlib.sha256(raw).hexdigest()[:32]


def test_a_line_without_an_end_is_bad_and_costs_no_memory(jsonl: Path) -> None:
    endless = b"x" * (5 * LONGEST)
    jsonl.write_bytes(endless + b"\n" + call("b").encode() + b"\n" + endless)
    tracemalloc.start()
    _, found = reading(jsonl)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [line.fault for line in found] == ["is longer than 1024 KiB", "", "is longer than 1024 KiB"]
    assert [line.number for line in found] == [1, 2, 3]
    assert most < 4.5 * LONGEST


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"00Qab-1_2.x"', "00Qab-1_2.x"),
        ("17", "17"),
        ('" 17 "', "17"),
        ('"kaya@amber-bolts.com"', hashlib.sha256(b"kaya@amber-bolts.com").hexdigest()[:32]),
        ('"' + "9" * 65 + '"', hashlib.sha256(b"9" * 65).hexdigest()[:32]),
        ('"../etc"', hashlib.sha256(b"../etc").hexdigest()[:32]),
        ('"\\ud800"', None),
    ],
)
def test_an_id_that_may_be_shown_stays_as_it_is_and_any_other_becomes_its_hash(
    jsonl: Path, written: str, expected: str | None
) -> None:
    (found,) = read(jsonl, f'{{"id": {written}, "kind": "call"}}')
    assert expected is None or found.crm_id == expected
    assert found.crm_id.replace("-", "").replace("_", "").replace(".", "").isalnum()


@pytest.mark.parametrize("nothing", ['""', "null", "[]", "{}", "true"])
def test_a_line_without_an_id_is_known_by_the_hash_of_its_bytes(jsonl: Path, nothing: str) -> None:
    raw = f'{{"id": {nothing}, "kind": "call"}}'
    assert [line.crm_id for line in read(jsonl, f"{raw}\n{raw}")] == [hashlib.sha256(raw.encode()).hexdigest()[:32]] * 2


def test_the_kind_is_what_the_column_says_else_the_sources(jsonl: Path) -> None:
    rows = '{"type": {"name": "E-Mail"}}\n{"type": {"name": "CALLS"}}\n{"id": 1}\n{"type": {"name": "fax"}}\n'
    found = read(jsonl, rows, kind="email", columns={"kind": "type.name"})
    assert [line.kind for line in found] == ["email", "call", "email", "call"]
    assert [bool(line.fault) for line in found] == [False, False, False, True]


# -- CSV ---------------------------------------------------------------------------------


def test_csv_records_may_reach_over_lines_within_quotes(csv: Path) -> None:
    found = read(csv, CSV + 'a,call,"one\ntwo, ""three"""\n\nb,call,x\r\nc,email,"y"')
    assert [(line.crm_id, line.row["title"], line.number) for line in found] == [
        ("a", 'one\ntwo, "three"', 2), ("b", "x", 5), ("c", "y", 6),
    ]  # fmt: skip


def test_a_stray_quote_costs_its_own_line_and_no_other(csv: Path) -> None:
    rows = [f"r{number},call,t" for number in range(300)]
    rows[3] = 'r3,call,"t'
    rows[9] = 'r9,call,"t'
    rows[20] = 'r20,call,5" pipe'
    found = read(csv, CSV + "\n".join(rows))
    bad = [line for line in found if line.fault]
    assert len(found) <= 300
    assert {line.crm_id for line in found} >= {f"r{number}" for number in range(300)} - {"r3", "r9"}
    assert [(line.number, line.fault) for line in bad] == [(5, "is not CSV"), (11, "is not CSV")]


def test_a_record_with_too_few_or_too_many_fields_is_bad_but_for_empty_ones_at_its_end(csv: Path) -> None:
    found = read(csv, CSV + "a,call\nb,call,x,y\nc,call,x,,\n")
    assert [line.fault for line in found] == [
        "has 2 fields where the first line has 3", "has 4 fields where the first line has 3", "",
    ]  # fmt: skip


def test_csv_may_be_delimited_otherwise_and_badly_encoded(csv: Path) -> None:
    found = read(csv, b"id; kind ;title\na;call;x,y\nb;call;\xff\n", delimiter=";")
    assert [(line.row.get("title"), line.fault) for line in found] == [("x,y", ""), (None, "is not UTF-8")]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "\ufeff", "\r\n\n"])
def test_a_delimiter_is_recognized_by_the_columns_of_the_first_line(csv: Path, mark: str, before: str) -> None:
    head = mark.join(["id", "kind", '"title"', '"one, two; three|four"'])
    found = read(csv, f"{before}{head}\r\n" + mark.join(["a", "call", "x", '"1,2;3|4\t"']) + "\r\n")
    assert [line.row for line in found] == [
        {"id": "a", "kind": "call", "title": "x", "one, two; three|four": "1,2;3|4\t"}
    ]


def test_a_named_delimiter_is_obeyed_and_a_comma_is_the_last_resort(csv: Path) -> None:
    (named,) = read(csv, "id;kind;title,x\na;call;b,c\n", delimiter=",", kind="call")
    assert named.row == {"id;kind;title": "a;call;b", "x": "c"}
    assert [line.crm_id for line in read(csv, "id\na\n", kind="call")] == ["a"]


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "\ufeffsep=;\n"])
def test_the_line_by_which_excel_knows_a_delimiter_names_no_column(csv: Path, first: str) -> None:
    found = read(csv, f"{first}id;kind;title\na;call;x,y\n")
    assert [(line.crm_id, line.row["title"], line.number) for line in found] == [("a", "x,y", 3)]


def test_decimal_commas_are_expected_in_files_delimited_by_semicolons_alone(csv: Path, jsonl: Path) -> None:
    csv.write_text("id;kind;title\na;call;x\n")
    assert reading(csv)[0].has_decimal_commas
    csv.write_text("id,kind,title\na,call,x\n")
    assert not reading(csv)[0].has_decimal_commas
    jsonl.write_text(call("a"))
    assert not reading(jsonl)[0].has_decimal_commas


@pytest.mark.parametrize(
    ("content", "why", "hint"),
    [
        ("id,kind,title\n", "has no column 'occurred_at' in its first line", "name the file's column in the source's"),
        ("id,kind,occurred_at,id\n", "has two columns 'id'", "correct the file, or remove it from the folder"),
        (
            "id,occurred_at\n",
            "has no column 'kind' in its first line, and the source names no kind",
            "set kind for a source of one kind. Otherwise name the file's column",
        ),
        ("\ufeffid\0".encode("utf-16"), "is UTF-16, not UTF-8", "save it as UTF-8: nothing of it was read"),
    ],
)
def test_a_file_of_which_no_line_could_be_understood_is_refused_whole(
    csv: Path, content: Any, why: str, hint: str
) -> None:
    csv.write_bytes(content if isinstance(content, bytes) else content.encode())
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path="/x")
    with pytest.raises(FileProblem) as refused:
        refuse(csv, config)
    assert str(refused.value) == why
    assert refused.value.hint.startswith(hint)


def test_an_empty_file_has_no_lines_and_nothing_wrong(jsonl: Path, csv: Path) -> None:
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path="/x")
    for path in (jsonl, csv):
        assert read(path, b"") == []
        refuse(path, config)


# -- windows -----------------------------------------------------------------------------


def many(path: Path) -> list[Line]:
    """Write a file of about ten strides, with bad lines and long ones in it."""
    rows = [call(f"c{number}", pad="x" * (number % 7 * 300)) for number in range(500)]
    rows[100] = "bad"
    rows[250] = call("long", pad="y" * (2 * STRIDE))
    head = ""
    if path.suffix == ".CSV":
        head, rows = CSV, [f"c{number},call,{'x' * (number % 7 * 300)}" for number in range(500)]
        rows[250] = f"long,call,{'y' * 2 * STRIDE}"
    return read(path, head + "\n".join(rows) + "\n")


@pytest.mark.parametrize("name", ["x.jsonl", "x.CSV"])
def test_times_ascend_and_a_window_of_them_holds_the_lines_it_holds_when_all_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    everything = many(path)
    times = [line.at for line in everything]
    assert times == sorted(times)
    assert times[0] == STAMP
    assert times[-1] <= STAMP + path.stat().st_size // STRIDE
    for since in range(STAMP - 1, times[-1] + 2):
        for until in (since + 2, times[-1]):
            read, found = reading(path, since=since, until=until)
            expected = [line for line in everything if since <= line.at <= until]
            assert [line.crm_id for line in found] == [line.crm_id for line in expected]
            assert [read.line_number(line) for line in found] == [line.number for line in expected]


def test_a_window_at_the_end_of_a_file_is_not_read_from_its_top(jsonl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = many(jsonl)[-1].at
    parsed: list[int] = []

    def parse(raw: bytes) -> Any:
        parsed.append(1)
        return bodies.parse(raw)

    monkeypatch.setattr(objects, "bodies", SimpleNamespace(parse=parse, values=bodies.values, NotJson=bodies.NotJson))
    reading(jsonl, since=last)
    assert 0 < len(parsed) < 150


def test_what_is_beyond_the_size_that_was_seen_is_not_read(jsonl: Path) -> None:
    first = call("a") + "\n"
    jsonl.write_text(first + call("b"))
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path=str(jsonl.parent))
    file = File(jsonl, jsonl.name, STAMP, len(first))
    with opened(file) as handle:
        assert [line.crm_id for line in LineReader(file, config, since=0, until=10**15).lines(handle)] == ["a"]


PIECES = st.sampled_from([
    b"\n", b"\r\n", b'"', b",", b'{"id": 1, "kind": "call"}', b"a,call,x", b"\0", b"\xff", b"\xef\xbb\xbf", b"[]", b" ",
])  # fmt: skip


@settings(max_examples=70)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=40).map(b"".join), st.booleans())
def test_whatever_bytes_are_in_a_file_each_line_is_one_record_and_nothing_raises(content: bytes, is_csv: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x.csv" if is_csv else "x.jsonl")
        found = read(path, (CSV.encode() if is_csv else b"") + content)
    lines_with_text = [raw for raw in content.removeprefix(BOM).split(b"\n") if raw.strip()]
    if is_csv:
        numbers = [line.number for line in found]
        assert numbers == sorted(set(numbers))
        assert len(found) <= len([raw for raw in content.split(b"\n") if raw.strip()])
    else:
        assert len(found) == len(lines_with_text)
    for line in found:
        assert line.crm_id
        assert line.fault == "" or not line.row


@pytest.mark.parametrize(
    ("ids", "faults"),
    [
        (['"two"', r'"two\ud83d"', r'"two\ud83e"', '"two\x01"', '"two\x02"'], 0),
        ([r'"a\ud83d\ude00"', '"a😀"'], 0),  # the same emoji, and so the same id
        (["12345678901234567890123", "12345678901234567890124"], 2),
        (["1.2345E+11", "1e400", "7.0"], 2),
        (["7", '"7"'], 0),
    ],
)
def test_two_ids_are_never_one_and_one_is_never_two(jsonl: Path, ids: list[str], faults: int) -> None:
    found = read(jsonl, "".join(f'{{"id": {each}, "kind": "call"}}\n' for each in ids))
    assert sum(bool(line.fault) for line in found) == faults
    same = 1 if ids[-1] in ('"a😀"', '"7"') else len(ids)
    assert len({line.crm_id for line in found}) == same


@pytest.mark.parametrize("rounded", ["1.23457E+11", "1,23457E+11", "1E+05", "-1.2e+11", " 1.23457E+11 "])
@pytest.mark.parametrize("column", ["id", "owner_id", "contact_id", "account_id"])
def test_lines_whose_ids_a_spreadsheet_has_rounded_are_bad_lines_and_stay_apart(
    csv: Path, rounded: str, column: str
) -> None:
    """Otherwise several activities would share one id, and all but one would be lost."""
    ids = {"id": "a", "owner_id": "o", "contact_id": "c", "account_id": "x", column: rounded}
    values = ";".join(ids.values())
    found = read(csv, "".join([";".join(ids), ";kind;title\n", *(f"{values};email;call {n}\n" for n in range(5))]))
    assert len({line.crm_id for line in found}) == 5
    assert {(line.kind, line.number, line.fault.split(",")[0]) for line in found} == {
        ("email", n + 2, f"has a rounded number in {column!r}") for n in range(5)
    }


@pytest.mark.parametrize("whole", ["12E45", "1e10", "E+11", "1.2E11", "7+1", "1E+", "A1E+11"])
def test_ids_that_only_look_like_rounded_numbers_stay(csv: Path, whole: str) -> None:
    assert [line.fault for line in read(csv, f"{CSV}{whole},call,x\n")] == [""]


@pytest.mark.parametrize("word", ["#N/A", "NULL", "null", "None", " n/a ", "NaN", "undefined", "#REF!", "-", "\\N"])
def test_lines_that_have_a_word_for_no_id_are_bad_lines_and_stay_apart(csv: Path, word: str) -> None:
    found = read(csv, f"{CSV}{word},call,x\n{word},call,y\n,call,z\n")
    assert [line.fault for line in found] == [
        *["has a word for no value in 'id': leave it empty if there is no id"] * 2,
        "",
    ]
    assert len({line.crm_id for line in found}) == 3


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("id,kind,occurred_at,M\xfcller\n".encode("latin-1"), "has a first line that is not UTF-8"),
        (b'id,kind,occurred_at,"x\n', "has a first line that is not CSV"),
        (b"id,kind,occurred_at," + b"x" * LONGEST + b"\n", "has a first line that is longer than 1024 KiB"),
    ],
)
def test_a_file_whose_first_line_cannot_be_read_is_refused_for_that(csv: Path, first: bytes, why: str) -> None:
    csv.write_bytes(first)
    config = JsonlConfig(connector="jsonl", start="2026-01-01T00:00:00Z", path="/x")
    with pytest.raises(FileProblem, match=why):
        refuse(csv, config)
