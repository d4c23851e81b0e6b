"""Remove personal data from foreign text. Pure.

The text is truncated, unescaped and normalized, and then compared word by word with the payload's words. It errs on the
safe side: each word of a subject is removed, unless it is an ordinary word of an API's messages.
"""

import base64
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

from syncd.privacy.escapes import LEFT, unescape
from syncd.privacy.spellings import WORD, damaged, fold, misread, mixes_scripts, spellings, without_marks
from syncd.text import SEARCHED, fit

GONE = "[removed]"
MOST = 300  # characters of a foreign text that are kept
SHORTEST = 3  # a shorter string of a payload is not personal, unless it is a word of a name
_PART = 4  # letters of a part by which a word is recognized
_LONGEST_WORD = 64  # no operator needs a longer word
_LONGEST_NAME = 32  # letters of a known word that is searched within another
_LONGEST_VALUE = 20_000  # characters of a payload's string that are compared
_MOST_VALUES = 5_000  # strings of a payload that are compared

# Each match starts where the one before ended. Otherwise a long text without an @ would take quadratic time.
_ADDRESS = re.compile(r"(?<![^\s@<>\"'(),;:])[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_PHONE = re.compile(r"\+?\d[\d\s()./-]{6,}\d")
_ENCODED_WORD = re.compile(r"=\?[\w-]{1,40}\?[bq]\?[^?]{0,200}\?=", re.IGNORECASE)  # RFC 2047
_OPAQUE = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")  # perhaps base64 or hex
_TAG = re.compile(
    r"(?<=\w)(?:<[/!]?[A-Za-z-][^<>]{0,200}>|\[/?(?:b|i|u|em|strong)\])+(?=\w)"
)  # within a word: J<b>\u00fcr</b>gen
_GAP = re.compile(r"[\s._'’/\\+,-]{1,4}")  # between two words that belong together
_LOSSY = re.compile(r"(?<![^\W_])[^\W_]*(?:[?\ufffd¿¤□*`~]+[^\W_]*)+")  # J?rgen; J**\u00fcr**gen
_END = " .…\"'”)]"  # may follow the last word of a text
_SENTENCE = re.compile(r"(?:^|[.!?]\s)$")  # before the first word of a sentence
# Letters of scripts without spaces, or with particles and prefixes joined to a name.
_DENSE = re.compile(
    "[\u0590-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff"
    "\u3130-\u318f\u3400-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_DENSE_GAP = re.compile("[\\s.,·・、-]{0,3}")
_MERGED = re.compile(rf"{re.escape(GONE)}(?:[\s._'’/\\+-]*{re.escape(GONE)}){{2,}}")

# Keys without personal data, which the operator needs to find the record.
_OPEN_KEYS = frozenset({"externalActivityId", "activityType", "occurredAt", "domain", "direction", "outcome"})
_NAMES = frozenset({"name", "ownerName"})  # each word of these values is personal by itself
_ADDRESSES = frozenset({"email", "ownerEmail"})  # and so is the part before the @ of these

# Ordinary words of an API's messages, and Recotap's fields. They are kept, even if a subject holds them.
_ORDINARY = frozenset(
    """
    a account accounts activities activity allowed already an and any are array as at attempt bad be been because
    before body boolean bytes call callback calls cannot character characters code com conflict connection constraint
    contact contacts could create created data database date deadline default delete denied did digits do does domain
    duplicate each either email emails empty equal error errors exceed exceeds exception exist existing exists expected
    fail failed failure false field fields find for format found from future gateway given greater has have http https
    id ids in index input insert integer internal invalid is it its item items json key least length less limit link
    list long longer match maximum message minimum missing more most must name negative no non not null number object
    of on one only or out owner page parse past path payload permission phone please positive process processing
    property query range read reason received record records reference refused reject rejected request required
    resolve resolved response result retry rule save saved schema seconds server service short shorter should size
    skipped state status store stored string subject such support team text than that the then there this time timeout
    title to today too true try type unable undefined unexpected unique unknown unprocessable update updated url user
    valid validation value values was were when which while will with without write wrong www you your
    accountname activitytype calltitle clickcount department direction durationminutes externalactivityid
    externalcontactid linkedin linkedinurl occurredat opencount outcome owneremail ownerid ownername seniority
    isarray isdatestring isdefined isemail isenum isin isint isiso8601 isnotempty isnumber isobject isoptional isstring
    isurl arraymaxsize arrayminsize maxlength minlength nestedvalidation whitelistvalidation
    """.split()
)


def scrub(text: str, payload: Any = None) -> str:
    """Return `text` without addresses, phone numbers and words of `payload`, cut to MOST characters.

    `payload` is any JSON value, e.g. the activity that the text is about.
    """
    known = _Known.of(payload)
    flat = _plain(truncate(text))
    flat = _ENCODED_WORD.sub(GONE, flat)
    flat = _without(flat, known.phrases)
    flat = _PHONE.sub(GONE, _ADDRESS.sub(GONE, flat))
    flat = _OPAQUE.sub(lambda found: GONE if _hides(found[0], known) else found[0], flat)
    flat = _without_words(flat, known)
    return LEFT.sub(GONE, flat)[:MOST]


def truncate(text: str) -> str:
    """Truncate `text` to SEARCHED characters, without the last word, which may be half a name."""
    return text if len(text) < SEARCHED else text[:SEARCHED].rpartition(" ")[0]


def _plain(text: str, most: int = SEARCHED) -> str:
    """Return `text` unescaped, in composed letters, without invisible characters, with single spaces."""
    return " ".join(fit(unicodedata.normalize("NFKC", _TAG.sub("", unescape(text))), most).split())


@dataclass(slots=True)
class _Known:
    """The personal words of a payload, in all forms that are searched."""

    phrases: set[str] = field(default_factory=set)  # whole strings, unchanged
    names: set[str] = field(default_factory=set)  # folded words that are personal, even if they are ordinary words
    short: set[str] = field(default_factory=set)  # words of names with one or two letters
    pairs: set[str] = field(default_factory=set)  # two letters in a row, in a script without spaces
    singles: set[str] = field(default_factory=set)  # single letters of such a script that are a name
    words: set[str] = field(default_factory=set)  # `names`, and the other folded words
    numbers: str = ""  # the digits of phone numbers
    forward: list[str] = field(default_factory=list)  # `words` in order
    backward: list[str] = field(default_factory=list)  # the same, each from its end
    kept: set[str] = field(default_factory=set)  # folded words that are not personal, e.g. of the activity's id

    @classmethod
    def of(cls, payload: Any) -> "_Known":
        known = cls()
        for key, value in islice(_strings(payload), _MOST_VALUES):
            known._learn(key, value[:_LONGEST_VALUE])
        known.words |= known.names
        known.forward = sorted(known.words)
        known.backward = sorted(word[::-1] for word in known.words)
        return known

    def _learn(self, key: str, value: str) -> None:
        plain = _plain(value, _LONGEST_VALUE)
        if key in _OPEN_KEYS:
            self.kept.update(map(fold, WORD.findall(plain)))
            return
        self.phrases.update(each for each in (plain, " ".join(value.split())) if len(each) >= SHORTEST)
        if key == "phone":
            self.numbers += "|" + "".join(char for char in plain if char.isdecimal())
        personal = plain.partition("@")[0] if key in _ADDRESSES else plain
        found = set(spellings(personal)) | {word for word in damaged(personal[:SEARCHED]) if word not in _ORDINARY}
        self.pairs.update(pair for pair, _, _ in _pairs(without_marks(personal)))
        if key in _NAMES:
            self.names |= {word for word in found if len(word) >= SHORTEST or not word.isascii()}
            self.words |= found  # words of two letters are removed beside a removed word
            self.phrases.update(misread(personal))
            self._learn_order(WORD.findall(without_marks(personal)))
            self.short |= {word for word in found if len(word) < SHORTEST and word.isascii() and word.isalpha()}
        elif key in _ADDRESSES:
            self.short |= {word for word in found if len(word) == 2 and word.isalpha()}
            self.names |= {word for word in found if len(word) >= SHORTEST and word not in _ORDINARY}
            self.words.update(fold(part) for part in plain.partition("@")[2].split(".")[:-1])
        elif key == "linkedinUrl":
            self.names |= {word for word in found if len(word) >= SHORTEST and word not in _ORDINARY}
        else:
            self.words |= {word for word in found if word not in _ORDINARY}

    def _learn_order(self, words: list[str]) -> None:
        """Learn a name with its words joined, in either order: Bo Li is also LiBo."""
        self.singles.update(word for word in words if _DENSE.fullmatch(word))
        for ordered in (words, words[::-1]):
            joined = "".join(ordered)
            self.pairs.update(pair for pair, _, _ in _pairs(joined))
            if SHORTEST <= len(joined) <= _LONGEST_WORD and fold(joined) not in _ORDINARY:
                self.names.add(fold(joined))


def _pairs(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each two letters in a row of a script without spaces, with their start and end."""
    for left, right in pairwise(_DENSE.finditer(text)):
        if right.start() - left.end() <= 3 and _DENSE_GAP.fullmatch(text, left.end(), right.start()):
            yield left[0] + right[0], left.start(), right.end()


def _without_dense(text: str, known: _Known) -> str:
    """Remove names from text without spaces."""
    places = [(start, end) for pair, start, end in _pairs(text) if pair in known.pairs]
    places += [found.span() for found in _DENSE.finditer(text) if found[0] in known.singles]
    return _cut_out(text, sorted(places))


def _without_lossy(text: str, known: _Known) -> str:
    """Remove words in which letters became question marks, or are between marks of emphasis."""

    def replaced(found: re.Match[str]) -> str:
        word = fold("".join(WORD.findall(found[0])))
        last = found.end() >= len(text.rstrip(_END)) or found[0][-1].isalnum()  # a part of a word is removed too
        is_short = word in known.short and word not in _ORDINARY
        return GONE if is_short or (word and _is_known_word(word, known, last=last)) else found[0]

    return _LOSSY.sub(replaced, text)


def _without_words(text: str, known: _Known) -> str:
    text = _without_lossy(_without_dense(without_marks(text), known), known)
    found = [place for place in WORD.finditer(text) if text[place.start() - 1 : place.end() + 1] != GONE]
    gone = [_is_known(text, place, known) for place in found]
    _extend(text, found, gone, known)
    kept, at = [], 0
    for place, is_gone in zip(found, gone, strict=True):
        if is_gone:
            kept += [text[at : place.start()], GONE]
            at = place.end()
    return _MERGED.sub(GONE, "".join(kept) + text[at:])


def _is_known(text: str, place: re.Match[str], known: _Known) -> bool:
    word = fold(place[0])
    words = [word]
    if _is_short_name(text, place, known) or (known.words and mixes_scripts(place[0])):
        return True
    if text[place.start() - 1 : place.start()] == "=" and len(word) > 3:  # quoted-printable: =20Doe
        words.append(word[2:])
    return any(_is_known_word(each, known, last=place.end() >= len(text.rstrip(_END))) for each in words)


def _is_short_name(text: str, place: re.Match[str], known: _Known) -> bool:
    """Tell whether a word is a name of one or two letters. An ordinary word must be capitalized as a name."""
    word = place[0]
    if (folded := fold(word)) not in known.short:
        return False
    if folded not in _ORDINARY:
        return len(word) > 1 or word.isupper()
    return word.istitle() and not _SENTENCE.search(text[max(0, place.start() - 2) : place.start()])


def _is_known_word(word: str, known: _Known, *, last: bool) -> bool:
    if word in known.names or (known.words and len(word) > _LONGEST_WORD):
        return True
    if word in _ORDINARY or word in known.kept or (len(word) == SHORTEST and word.isdecimal()):
        return False
    if word in known.words and len(word) >= SHORTEST:
        return True
    if word.isdecimal():
        return len(word) >= _PART and word in known.numbers
    shortest = 2 if last else _PART
    return len(word) >= shortest and (_begins(word, known.forward) or _ends(word, known) or _contains(word, known))


def _extend(text: str, found: list[re.Match[str]], gone: list[bool], known: _Known) -> None:
    """Remove also the neighbours of a removed word: an initial, a short word, the rest of a truncated one."""
    for step, order in ((1, range(1, len(found))), (-1, range(len(found) - 2, -1, -1))):
        for index in order:
            if gone[index] or not gone[index - step]:
                continue
            left, right = sorted((index, index - step))
            word = fold(found[index][0])
            if not _GAP.fullmatch(text, found[left].end(), found[right].start()):
                continue
            is_name = word in known.short and found[index][0].istitle()
            is_open = word in _ORDINARY or word in known.kept
            gone[index] = is_name or (not is_open and _begins(word, known.forward))


def _begins(word: str, ordered: list[str]) -> bool:
    """Tell whether one of the `ordered` words begins with `word`."""
    at = bisect_left(ordered, word)
    return at < len(ordered) and ordered[at].startswith(word)


def _ends(word: str, known: _Known) -> bool:
    return len(word) >= _PART and _begins(word[::-1], known.backward)


def _contains(word: str, known: _Known) -> bool:
    """Tell whether `word` contains a known word: a name of at least four letters, or another word of five."""
    return any(
        (part := word[start:end]) in known.names or (end - start > _PART and part in known.words)
        for start in range(len(word) - _PART + 1)
        for end in range(start + _PART, min(len(word), start + _LONGEST_NAME) + 1)
    )


def _hides(token: str, known: _Known) -> bool:
    """Tell whether `token` is base64 or hex of a text with a known word."""
    bare = token.rstrip("=")
    texts = []
    with suppress(ValueError):
        texts.append(base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_" if set("-_") & set(bare) else None))
    with suppress(ValueError):
        texts.append(bytes.fromhex(bare))
    return any(_tells(text, known) for text in texts)


def _tells(raw: bytes, known: _Known) -> bool:
    """Tell whether decoded bytes hold a known word. A short one may be chance, so all bytes must be printable."""
    text = without_marks(unicodedata.normalize("NFKC", raw.decode(errors="ignore")))
    words = list(map(fold, WORD.findall(text)))
    if any(len(word) >= SHORTEST and word in known.words for word in words):
        return True
    short = (
        raw.isascii() and text.isprintable() and any(word in known.short and word not in _ORDINARY for word in words)
    )
    return short or any(pair in known.pairs for pair, _, _ in _pairs(text))


def _without(text: str, known: Iterable[str]) -> str:
    """Remove every occurrence of `known`. If two overlap, both are removed whole."""
    lower = text.lower()
    places = sorted(
        (found.start(), found.start() + len(value))
        for value in known
        if len(lower) != len(text) or value.lower() in lower
        for found in re.finditer(f"(?={re.escape(value)})", text, re.IGNORECASE)
    )
    return _cut_out(text, places)


def _cut_out(text: str, places: list[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in places:
        if start >= at:
            kept += [text[at:start], GONE]
        at = max(at, end)
    return "".join(kept) + text[at:]


def _strings(payload: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(payload, str):
        yield key, payload
    elif isinstance(payload, dict):
        for name, value in payload.items():
            yield from _strings(value, name)
    elif isinstance(payload, Iterable):
        for value in payload:
            yield from _strings(value, key)
