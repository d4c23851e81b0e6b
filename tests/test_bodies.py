"""A response's body: its bounds in bytes, depth and values, and the lenient parsing of JSON."""

import gzip
import json
import time
import zlib
from contextlib import suppress

import pytest

from syncd.errors import Malformed
from syncd.http import bodies
from syncd.http.bodies import DEEPEST, ERROR_MOST, PAGE_MOST, VALUES_MOST, NotJson, bound, gather, parse

MOST = 10_000


def read(body: bytes, encoding: str = "", *, most: int = MOST, step: int = 7, **headers: str) -> bytes:
    chunks = (body[start : start + step] for start in range(0, len(body), step))
    return gather(chunks, {"content-encoding": encoding, **headers}, most=most)


class TestGather:
    @pytest.mark.parametrize("encoding", ["", "identity", " Identity ", "identity, identity"])
    def test_a_body_without_an_encoding_is_returned_as_it_is(self, encoding):
        assert read(b'{"a": 1}', encoding) == b'{"a": 1}'

    @pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip ", "identity, gzip"])
    @pytest.mark.parametrize("step", [1, 7, 10_000])
    def test_gzip_is_unpacked_whatever_the_chunks(self, encoding, step):
        assert read(gzip.compress(b"hello " * 100), encoding, step=step) == b"hello " * 100

    @pytest.mark.parametrize("step", [1, 7, 10_000])
    @pytest.mark.parametrize("padding", [b"", b"\0" * 20, b"trailing"])
    def test_members_of_gzip_are_joined_and_padding_is_ignored(self, step, padding):
        assert read(gzip.compress(b"one ") + gzip.compress(b"two") + padding, "gzip", step=step) == b"one two"

    @pytest.mark.parametrize(
        "encoding",
        ["gzip, gzip", "gzip,gzip", "deflate", "br", "zstd", "compress", "deflate, gzip", "x-canary", "gzip;"],
    )
    def test_any_other_encoding_is_refused_without_unpacking(self, encoding):
        with pytest.raises(Malformed, match="the response is encoded as") as raised:
            read(gzip.compress(b"{}"), encoding)
        assert "canary" not in raised.value.message
        assert "let it pass what syncd accepts, gzip or none" in raised.value.hint

    def test_gzip_that_is_none_or_is_cut_short_is_refused(self):
        whole = gzip.compress(b"hello " * 100)
        with pytest.raises(Malformed, match="is not the gzip"):
            read(b"plain text", "gzip")
        with pytest.raises(Malformed, match="is not the gzip"):
            read(whole[:-8] + b"\xff" * 8, "gzip")
        for cut in range(1, len(whole)):
            with pytest.raises(Malformed, match="middle of its gzip") as raised:
                read(whole[:cut], "gzip")
            assert raised.value.hint == "nothing to do if it passes: the connection may have been cut"
        assert read(b"", "gzip") == b"", "a 204 may say so"

    @pytest.mark.parametrize("encoding", ["", "gzip"])
    def test_the_bound_counts_unpacked_bytes_exactly(self, encoding):
        def packed(body: bytes) -> bytes:
            return gzip.compress(body) if encoding else body

        assert read(packed(b"x" * MOST), encoding) == b"x" * MOST
        with pytest.raises(Malformed, match="exceeds 9 KiB") as raised:
            read(packed(b"x" * (MOST + 1)), encoding)
        assert raised.value.hint == "a proxy may have answered, or the API has changed: upgrade syncd, or report this"

    def test_an_endless_body_is_read_no_further_than_the_bound(self):
        given = 0

        def endless():
            nonlocal given
            while True:
                given += 1_000
                yield b" " * 1_000

        with pytest.raises(Malformed, match="exceeds"):
            gather(endless(), {}, most=MOST)
        assert given == MOST + 1_000

    def test_a_declared_length_beyond_the_bound_fails_before_a_byte_is_read(self):
        def unread():
            raise AssertionError("read")
            yield b""

        for length in (str(MOST + 1), "9" * 5_000):
            with pytest.raises(Malformed, match="exceeds"):
                gather(unread(), {"content-length": length}, most=MOST)
        assert gather([b"x"], {"content-length": "-1, ?"}, most=MOST) == b"x"

    def test_empty_members_by_the_thousand_cost_neither_time_nor_memory(self):
        bomb = gzip.compress(b"") * 100_000
        began = time.monotonic()
        read(bomb, "gzip", most=len(bomb), step=65_536)
        assert time.monotonic() - began < 2.0

    def test_padding_without_end_is_bounded_too(self):
        with pytest.raises(Malformed, match="exceeds"):
            read(gzip.compress(b"{}") + b"\0" * MOST, "gzip", step=1_000)

    def test_an_error_has_a_smaller_bound_than_a_page(self):
        assert bound(200, PAGE_MOST) == bound(207, PAGE_MOST) == PAGE_MOST
        for status in (301, 400, 403, 429, 500, 100):
            assert bound(status, PAGE_MOST) == ERROR_MOST


class TestBounds:
    @pytest.mark.parametrize(
        ("left", "right", "levels"),
        [("[", "]", 1), ('{"a":', "}", 1), ('[[],{"b":1,"a":', "}]", 2), ('["[{]}",', "]", 1)],
    )
    def test_a_hundred_levels_are_parsed_and_one_more_is_not(self, left, right, levels):
        parse(left * (DEEPEST // levels) + "1" + right * (DEEPEST // levels))
        with pytest.raises(NotJson, match="nests deeper than 100 levels"):
            parse(left * (DEEPEST // levels) + "[1]" + right * (DEEPEST // levels))

    @pytest.mark.parametrize("text", ["]", "}", "[", '\\"]', "\\\\", '\\\\\\"]{'])
    def test_brackets_in_strings_neither_hide_a_depth_nor_feign_one(self, text):
        assert parse(f'["{text}", ' * 100 + "1" + "]" * 100)
        with pytest.raises(NotJson, match="nests deeper"):
            parse(f'["{text}", ' * 101 + "1" + "]" * 101)
        assert parse(json.dumps(["[" * 500, "{" * 500, '"[' * 500]))

    @pytest.mark.parametrize(
        "body", ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000, '["]",' * 200_000]
    )
    def test_a_deep_body_is_refused_before_it_is_parsed(self, body):
        with pytest.raises(NotJson, match="nests deeper"):
            parse(body)

    def test_half_a_million_values_are_parsed_and_more_are_not(self):
        assert len(parse("[" + "1," * (VALUES_MOST - 2) + "1]")) == VALUES_MOST - 1
        for item in ("1,", "[],", "{},", '"",'):
            with pytest.raises(NotJson, match="more than 500,000 values"):
                parse("[" + item * VALUES_MOST + "1]")

    def test_commas_in_strings_are_no_values(self):
        assert parse('["' + ",[{" * VALUES_MOST + '"]') == [",[{" * VALUES_MOST]

    @pytest.mark.parametrize(
        "body",
        [
            "[],", '"\\"', '"\\', "[{", '{"', '","', '\\"', "\\ud83d", '"\\ud83d",', "NaN,", "1e999,", "\x00", "\xff",
            '"[",', '"]"', "[[[]]],", "-", "9",
        ],
    )  # fmt: skip
    def test_time_grows_with_the_length_alone(self, body):
        """A quadratic step would take 16 times as long for 4 times as much."""

        def seconds(count: int) -> float:
            began = time.process_time()
            with suppress(NotJson):
                parse(body.encode("latin-1") * count)
            return time.process_time() - began

        size = 200_000 // len(body)
        assert seconds(4 * size) < 12 * max(seconds(size), 0.02)


class TestLenience:
    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
            ("\ufeff[1]", [1]),
            (r'{"a": "cut \ud83d", "\ude00b": "\ud83d\ude00"}', {"a": "cut ", "b": "😀"}),
            (r'"\ud83d\ud83d\ude00\ude00"', "😀"),
            (r'"a\\ud83d\ud83d"', r"a\ud83d"),
            (b'"caf\xe9 \xed\xa0\xbd"', "caf� ���"),
            ('"a\nb\x00c"', "a b c"),
            ("[NaN, -Infinity, Infinity, 1e999, -1e999]", [None] * 5),
            ('["NaN", "Infinity 1e999"]', ["NaN", "Infinity 1e999"]),
            ('{"\x01": "' + r"\ud83d" + '", "n": NaN}', {" ": "", "n": None}),
            ("[1" + "0" * 5_000 + "]", [None]),
            ("[1" + "0" * 30 + "]", [1e30]),
            ("\ud83d[1]", [1]),
        ],
    )
    def test_others_json_is_read(self, body, found):
        assert parse(body) == found

    @pytest.mark.parametrize("body", ["", "<p>", "{'a': 1}", "[1", '"', "[1,]", "NaNa", "nul", b"\xff\xfe[\0", '{"a"}'])
    def test_anything_else_is_not_json(self, body):
        with pytest.raises(NotJson, match="is not JSON"):
            parse(body)

    def test_no_text_of_the_result_holds_a_lone_surrogate(self):
        escapes = [r"\ud83d", r"\ude00", r"\\", "x", r"\n", r"\u0041", r"\"", r"\uD83D"]
        for first in escapes:
            for second in escapes:
                for third in escapes:
                    text = parse(f'["{first}{second}{third}", NaN]')[0]
                    text.encode()
                    strict = json.loads(f'"{first}{second}{third}"')
                    assert text == strict.encode("utf-8", "ignore").decode()


def test_the_bounds_are_the_documented_ones():
    assert (PAGE_MOST, bodies.RECOTAP_MOST, ERROR_MOST) == (16 << 20, 1 << 20, 256 << 10)
    assert zlib.MAX_WBITS + 16 == bodies.GZIP
