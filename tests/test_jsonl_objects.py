"""One line as a JSON object: bounded before it is parsed, and cleaned of half a character."""

import time
import tracemalloc
from contextlib import suppress

import pytest

from connectors.jsonl.objects import NotAnObject, parse_object
from syncd.http.bodies import VALUES_MOST

MIB = 1024 * 1024


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MIB,
        b"[" * (MIB // 2) + b"]" * (MIB // 2),
        b'{"a":' * (MIB // 5),
        b'{"a":[' + b"[]," * (MIB // 3) + b"0]}",
        b"[]," * (MIB // 3),
        b"{" + b'"a":1,' * (MIB // 6) + b'"b":1}',
        b'{"a":[' + b"1," * (MIB // 2) + b"1]}",
        b'"' * MIB,
        b'{"a":"' + b"\\" * MIB,
        b'{"a":"' + b"\\ud83d" * (MIB // 6) + b'"}',
        b"\\u" * (MIB // 2),
        b"9" * MIB,
        b'{"a":' + b"9" * MIB + b"}",
        b"," * MIB,
        b"\0" * MIB,
    ],
    ids=lambda raw: raw[:12].decode() + "…",
)
def test_a_line_of_a_mebibyte_costs_little_time_and_memory(raw: bytes) -> None:
    began = time.process_time()
    tracemalloc.start()
    with suppress(NotAnObject):
        parse_object(raw)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60 * MIB
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a":[' + b"0," * VALUES_MOST + b"0]}", "has more than 500,000 values"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nests deeper than 100 levels"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, ""),
        (b'{"a":"' + b"[,{:" * VALUES_MOST + b'"}', ""),  # of a text
        (b'{"a":"' + b'\\"[' * 200 + b'"}', ""),
        (b'{"a":[' + b"[]," * 200 + b"0]}", ""),
    ],
)
def test_values_and_levels_are_counted_and_those_of_a_text_are_none(raw: bytes, why: str) -> None:
    if why:
        with pytest.raises(NotAnObject, match=why):
            parse_object(raw)
    else:
        assert parse_object(raw)[0]


@pytest.mark.parametrize(
    ("written", "title"),
    [
        (rb"cut \ud83d", "cut "),
        (rb"\ude00 cut", " cut"),
        (rb"\ud83d\ude00 whole", "\U0001f600 whole"),
        (rb"\ud83d\ud83d\ude00", "\U0001f600"),
        (rb"\\ud83d no escape", r"\ud83d no escape"),
        (rb"\\\ud83d", "\\"),
        (rb"\uD83D\uDE00\uDBFF", "\U0001f600"),
    ],
)
def test_half_a_surrogate_pair_is_removed_and_the_rest_stays(written: bytes, title: str) -> None:
    row, _ = parse_object(b'{"half": "\\ud83d", "title": "' + written + b'"}')
    assert row == {"half": "", "title": title}
