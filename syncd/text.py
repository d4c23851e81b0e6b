"""Clean strings for Recotap, for the ledger and the log, and for a terminal. Pure. Nothing here raises.

    clean      a CRM's value for Recotap: it keeps every letter and emoji
    fit        external text to be stored, logged or shown: truncated first, then without invisible characters
    fit_value  the same for a value of any JSON type
    visible    text for a terminal: odd characters are escaped, because an id must not change silently
    kept_id    a record's id: unchanged if the ledger can hold it, otherwise a stand-in

`clean` and `fit` differ on purpose. A subject keeps the joiners and selectors of its emoji. An error text is read on a
terminal, where the same characters can hide or reorder text.
"""

import hashlib
import re
import reprlib
import unicodedata
from datetime import datetime
from functools import lru_cache
from typing import Any

from syncd import clock

MOST = 1000  # characters of an external text that are stored or logged
LONG_ID, SHORT_ID = 18, 15  # characters of one id as Salesforce's API and its reports show it (docs 2026-01)
SEARCHED = 4096  # characters of an external text that are searched
LONGEST_ID = 200  # characters of a record's id; no CRM uses more than 40
MARK = "\ufffd"  # part of every stand-in for an id, and of no id that is kept
# Bounds for objects and lists: levels, and values of each.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring = 5, 10, 10, MOST

# A pair \r\n is one line break. VT and FF are what CRMs' rich-text editors leave for a soft break.
_BREAKS = re.compile("\r\n|[\t\n\v\f\r\x85\u2028\u2029]")
_DROPPED = frozenset({"Cc", "Cs"})  # control characters, and lone surrogates, which UTF-8 cannot carry
_UNFIT = _DROPPED | {"Cf", "Co", "Cn"}  # format characters (bidi, zero width, tags), private use, unassigned
# Invisible although their category is a letter's or a mark's (Unicode's Default_Ignorable_Code_Point, 16.0).
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FIELD = re.compile(r"\{(source|kind|id)\}")
LONGEST_TEMPLATE = 200


def clean(text: object) -> str | None:
    """Return `text` trimmed, on one line, without control characters. None if nothing is left or it is no string."""
    if not isinstance(text, str):
        return None
    if not text.isprintable():  # printable text holds none of these, and nearly all text is printable
        text = _BREAKS.sub(" ", text)
        text = "".join(char for char in text if unicodedata.category(char) not in _DROPPED)
    return text.strip() or None


def fit(text: str, most: int = MOST) -> str:
    """Return external text fit to be stored, logged and shown: at most `most` visible characters on one line.

    It is truncated before anything else, so the cost does not grow with the text.
    """
    text = text[:most]
    if text.isascii() and text.isprintable():  # nearly every text
        return text.strip()
    text = _INVISIBLE.sub("", _BREAKS.sub(" ", text))
    kept = (char for char in text if unicodedata.category(char) not in _UNFIT)
    return "".join(kept).strip()


def fit_value(value: Any, most: int = SEARCHED) -> str:
    """Return a value of any JSON type as one text as `fit` does. "" if it is empty, null or false.

    Of an object or a list only the first values are shown, so the cost is bounded.
    """
    if isinstance(value, str):
        return fit(value, most)
    return fit(_SHORT.repr(value), most) if value else ""


def visible(text: object, most: int = SEARCHED) -> str:
    r"""Return `text` for a terminal, with invisible characters escaped, e.g. `\x1b`, `\n`, `\u{202e}`."""
    text = text[: most + 1] if isinstance(text, str) else str(text)
    if len(text) > most:
        text = text[:most] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_char, text))


def _visible_char(char: str) -> str:
    if char.isprintable() and not _INVISIBLE.match(char):
        return char
    if unicodedata.category(char) == "Zs":  # a no-break space, or one of another width
        return " "
    return _ESCAPES.get(char) or (f"\\x{ord(char):02x}" if char < "\u0100" else f"\\u{{{ord(char):x}}}")


def kept_id(crm_id: object) -> str:
    """Return a record's id for the ledger: unchanged if the ledger can hold it, otherwise a stand-in.

    The same id always gets the same stand-in, and two ids never share one.
    """
    if isinstance(crm_id, str):
        if 0 < len(crm_id) <= LONGEST_ID and crm_id.isprintable() and MARK not in crm_id:
            return crm_id
        digest = hashlib.sha256(crm_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{fit(crm_id, 40)}{MARK}{digest[:32]}"
    if isinstance(crm_id, int) and abs(crm_id) < 10**18:
        return str(crm_id)  # SQLite would make the same text of it
    digest = hashlib.sha256(repr(crm_id)[:SEARCHED].encode("utf-8", "surrogatepass")).hexdigest()
    return f"{type(crm_id).__name__}{MARK}{digest[:32]}"


def is_stand_in(crm_id: str) -> bool:
    """Tell whether `kept_id` replaced the record's id. A CRM cannot be asked for a stand-in."""
    return MARK in crm_id


def fill(template: str, *, source: str, kind: str, id: str) -> str:
    """Return the externalActivityId of `template`. Only {source}, {kind} and {id} are replaced."""
    return id.join(_around_id(template, source, kind))


def unfill(template: str, name: str, *, source: str, kind: str) -> str | None:
    """Return the id of which `fill` made `name`, or None if it made `name` of no id."""
    parts = _around_id(template, source, kind)
    size, rest = divmod(len(name) - sum(map(len, parts)), max(1, len(parts) - 1))
    found = name[len(parts[0]) : len(parts[0]) + size]
    return found if size > 0 and not rest and found.join(parts) == name else None


@lru_cache(maxsize=64)  # a template, source and kind for each stream
def _around_id(template: str, source: str, kind: str) -> tuple[str, ...]:
    """Fill the other fields, and return the texts before, between and after the ids."""
    values = {"source": source, "kind": kind, "id": "{id}"}
    parts = _FIELD.split(template)  # text, the name of a field, text, and so on
    texts = [""]
    for at, part in enumerate(parts):
        if at % 2 and part == "id":
            texts.append("")
        else:
            texts[-1] += values[part] if at % 2 else part
    return tuple(texts)


def mistake_in_template(template: str) -> str:
    """Return why `template` is invalid for ids, or "" if it is valid."""
    if len(template) > LONGEST_TEMPLATE:
        return f"expected at most {LONGEST_TEMPLATE} characters"
    rest = _FIELD.sub("", template)
    if "{" in rest or "}" in rest or not rest.isprintable():
        return "may use {source}, {kind} and {id}, nothing else"
    return ""


def timestamp(at: datetime) -> str:
    """Write `at`, an aware time, in UTC as 2026-04-22T10:30:00Z, with milliseconds unless they are 0."""
    written = clock.text(at)
    return written if at.microsecond >= 1000 else f"{written[:-5]}Z"
