"""Read the body of an HTTP response within bounds, and parse JSON leniently. Pure.

Every response of Recotap, HubSpot and Salesforce passes through `gather`, and every external JSON text through
`parse`. So no server can make syncd use more memory or time than the constants here allow.
"""

import io
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from syncd.errors import Malformed

KIB, MIB = 1024, 1024 * 1024
PAGE_MOST = 16 * MIB  # unpacked bytes of a CRM's 2xx; a page of 2,000 Salesforce rows is about 4 MiB
RECOTAP_MOST = MIB  # unpacked bytes of Recotap's 2xx; 50 results are a few KiB
ERROR_MOST = 256 * KIB  # unpacked bytes of any other status; a longer body is ignored, because the status decides
HEAD_MOST = 256 * KIB  # raw bytes before a body: status line, headers, 1xx responses, a proxy's answer to CONNECT
FRAMED = 2  # raw bytes per unpacked byte at most: chunked framing and trailers take some
MEMBERS_MOST = 1_000  # gzip members of one body
DEEPEST = 100  # levels of arrays and objects
VALUES_MOST = 500_000  # values of one document; orjson needs up to 230 bytes for each

GZIP = 31  # zlib's wbits for a gzip header
ENCODINGS = frozenset({"deflate", "br", "zstd", "compress"})  # these a message may name
ODD_HINT = "a proxy may have answered, or the API has changed: upgrade syncd, or report this"
ACCEPTED = "a proxy may have changed the encoding: let it pass what syncd accepts, gzip or none"
TO_SQUARE = bytes.maketrans(b"{}", b"[]")
NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
STRING = re.compile(rb'"[^"]*+(?:"|\Z)')  # between quotes, once escaped ones are removed
TO_SPACES = bytes.maketrans(bytes(range(32)), b" " * 32)  # control characters, which JSON forbids in strings
BOM = b"\xef\xbb\xbf"
HIGH, LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Escaped backslashes and surrogate pairs, which are kept, or lone surrogates.
SURROGATES = re.compile(rb"(?P<whole>(?:\\\\|%b%b)++)|(?:%b(?!%b)|%b)++" % (HIGH, LOW, HIGH, LOW, LOW))
ODD_NUMBER = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{300}")
# A string, a number, or a word that JavaScript and Python write for a number.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|-?(?:Infinity|NaN)\b|-?[0-9][0-9.eE+-]*+', re.DOTALL)


class NotJson(ValueError):
    """A text cannot be parsed as JSON, or exceeds a bound. The message says which, to follow "the response"."""


def bound(status: int, most: int) -> int:
    """Return the limit in unpacked bytes for a response of `status`. `most` is the limit of a good one."""
    return most if is_good(status) else min(most, ERROR_MOST)


def is_good(status: int) -> bool:
    """Tell whether `status` is 2xx. For any other, the status decides and the body hardly matters."""
    return 200 <= status < 300


def gather(chunks: Iterable[bytes], headers: Mapping[str, str], *, most: int) -> bytes:
    """Return the unpacked body of raw `chunks`. Malformed past `most` bytes or for an encoding other than gzip.

    `headers` has names in lower case. Memory holds at most `most` bytes and one chunk.
    """
    declared = (headers.get("content-length") or "").strip()
    if declared.isascii() and declared.isdecimal() and (len(declared) > 15 or int(declared) > most):
        raise _too_large(most)
    return _unpacked(chunks, most) if _is_packed(headers.get("content-encoding") or "") else _plain(chunks, most)


def parse(body: bytes | str) -> Any:
    """Return the value of a JSON text. NotJson if it is invalid, nested too deep or has too many values.

    Accepts a BOM, invalid UTF-8 and control characters in strings. NaN and numbers beyond a double become null. Lone
    surrogates are removed from strings and keys.
    """
    if isinstance(body, str):
        body = body.encode("utf-8", "ignore")
    _refuse_excess(body)
    for mend in (None, _mended, _with_json_numbers):
        try:
            return orjson.loads(body if mend is None else (body := mend(body)))
        except orjson.JSONDecodeError:
            continue
    raise NotJson("is not JSON")


def _too_large(most: int) -> Malformed:
    size = f"{most // MIB} MiB" if most >= MIB else f"{most // KIB} KiB"
    return Malformed(f"the response exceeds {size}", hint=ODD_HINT)


def _is_packed(written: str) -> bool:
    names = [name for each in written[:KIB].lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if not names:
        return False
    if len(names) == 1 and names[0] in ("gzip", "x-gzip"):
        return True
    what = names[0] if names[0] in ENCODINGS else "an unknown encoding"
    raise Malformed(f"the response is encoded as {what if len(names) == 1 else 'several encodings'}", hint=ACCEPTED)


def _plain(chunks: Iterable[bytes], most: int) -> bytes:
    body = io.BytesIO()
    for chunk in chunks:
        if body.tell() + len(chunk) > most:
            raise _too_large(most)
        body.write(chunk)
    return body.getvalue()


def _unpacked(chunks: Iterable[bytes], most: int) -> bytes:
    body = io.BytesIO()
    member, members, packed = zlib.decompressobj(GZIP), 1, 0
    for chunk in chunks:
        packed += len(chunk)
        if packed > most:
            raise _too_large(most)
        while chunk:
            if member.eof:
                if not chunk.startswith(b"\x1f") or members >= MEMBERS_MOST:  # padding, which gzip ignores
                    break
                member, members = zlib.decompressobj(GZIP), members + 1
            try:
                body.write(member.decompress(chunk, most - body.tell() + 1))
            except zlib.error:
                raise Malformed("the response is not the gzip that it claims to be", hint=ACCEPTED) from None
            if body.tell() > most:
                raise _too_large(most)
            chunk = member.unused_data
    if packed and not member.eof:
        raise Malformed(
            "the response ends in the middle of its gzip",
            hint="nothing to do if it passes: the connection may have been cut",
        )
    return body.getvalue()


def _refuse_excess(body: bytes) -> None:
    """Raise NotJson past a bound. The count of values is an upper bound, the depth exact for valid JSON."""
    if len(body) <= 2 * DEEPEST:  # too short for either
        return
    # A value takes at least two bytes. Counting inside strings too is cheaper, and enough in most cases.
    if len(body) >= 2 * VALUES_MOST and values(body) > VALUES_MOST and values(_bare(body)) > VALUES_MOST:
        raise NotJson(f"has more than {VALUES_MOST:,} values")
    # Fewer opening brackets than levels allowed: no need to look further.
    if body.count(b"[") + body.count(b"{") > DEEPEST and _is_deep(_brackets(body)):
        raise NotJson(f"nests deeper than {DEEPEST} levels")


def values(body: bytes) -> int:
    """Return an upper bound for the number of values in a JSON text. It also counts inside strings."""
    return 1 + sum(map(body.count, (b",", b"[", b"{")))


def _bare(body: bytes) -> bytes:
    return STRING.sub(b"", _without_escapes(body))


def _without_escapes(body: bytes) -> bytes:
    return body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body


def _brackets(body: bytes) -> bytes:
    """Return the brackets outside strings, all as square ones."""
    # Most strings hold no bracket, so most quotes are now neighbours and can be removed in pairs.
    kept = _without_escapes(body).translate(TO_SQUARE, NOT_BRACKETS).replace(b'""', b"")
    return STRING.sub(b"", kept) if b'"' in kept else kept


def _is_deep(brackets: bytes) -> bool:
    """Tell whether brackets nest too deep, by removing the innermost pairs, level by level.

    If they do not match, the parser stops before the rest.
    """
    for _ in range(DEEPEST):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            return brackets.count(b"[") > DEEPEST  # the unclosed ones
        brackets = shorter
    return b"[]" in brackets


def _mended(body: bytes) -> bytes:
    """Return `body` without a BOM, control characters, invalid UTF-8 and lone surrogates."""
    body = body.removeprefix(BOM).translate(TO_SPACES)
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode("utf-8", "replace").encode()
    return _rewritten(SURROGATES, body, lambda found: found["whole"] or b"") if b"\\u" in body else body


def _with_json_numbers(body: bytes) -> bytes:
    """Return `body` with null for each number that JSON or a double cannot hold."""
    return _rewritten(TOKEN, body, _json_number) if ODD_NUMBER.search(body) else body


def _json_number(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token.startswith(b'"'):
        return token
    try:
        return token if math.isfinite(float(token)) else b"null"
    except ValueError:
        return token


def _rewritten(pattern: re.Pattern[bytes], text: bytes, change: Callable[[re.Match[bytes]], bytes]) -> bytes:
    """Change each match. Unlike `re.sub` it keeps no list of pieces, which may be millions."""
    written, view, at = io.BytesIO(), memoryview(text), 0
    for found in pattern.finditer(text):
        written.write(view[at : found.start()])
        written.write(change(found))
        at = found.end()
    written.write(view[at:])
    return written.getvalue()
