"""List the spellings in which a server may repeat a word. Pure.

Words are compared in their folded form. A word beyond ASCII has further forms, one for each way of damaging it.
"""

import re
import unicodedata
from collections.abc import Iterator

from syncd.text import SEARCHED, fit

WORD = re.compile(r"[^\W_]+")
_PART = 3  # letters of a part by which a word is recognized

_NARROW = (
    "ascii",
    "latin-1",
    "cp1252",
    "iso8859-2",
    "cp1251",
)  # a letter that they lack is dropped, or becomes a question mark
_MISREAD = ("latin-1", "cp1252", "mac_roman", "cp437", "cp850", "cp1250", "cp1251")  # used by mistake for UTF-8

_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"})
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
# Letters that look like Latin ones, in lower case or in capitals.
_LOOK_ALIKE = str.maketrans(
    "авекмнорстухіјѕԁһԛԝӏαβεικνορτυχμηγζɑɡɩᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "abekmhopctyxijsdhqwlabeiknoptyxmhyzagiabcdefghijklmnoprstuvwyz",
)
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_LIKE_LATIN = re.compile(
    "[\u0370-\u03bb\u03bd-\u058f\u13a0-\u13ff\uab70-\uabbf]"
)  # Greek without \u03bc of \u03bcs, to Cherokee


def fold(word: str) -> str:
    """Return the form that all spellings of `word` share: no case, no diacritics, Latin letters for look-alikes."""
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", word.casefold().translate(_LETTERS))
    return "".join(char for char in letters if not unicodedata.combining(char)).translate(_LOOK_ALIKE)


def without_marks(text: str) -> str:
    """Return `text` without combining marks that are not part of a letter. They would split a word."""
    return "".join(char for char in text if not unicodedata.combining(char)) if not text.isascii() else text


def mixes_scripts(word: str) -> bool:
    """Tell whether `word` mixes Latin letters with those of a script that looks like Latin."""
    return not word.isascii() and bool(_LATIN.search(word) and _LIKE_LATIN.search(word))


def spellings(text: str) -> Iterator[str]:
    """Yield the folded words of `text`, and the parts into which a server may break them."""
    for word in WORD.findall(without_marks(text)):
        yield (folded := fold(word))
        yield from (part for part in re.findall(r"[^\W\d_]+", folded) if len(part) >= _PART)
        if not word.isascii():
            yield fold(word.casefold().translate(_GERMAN))
            yield from (part for part in re.findall("[a-z]+", word.casefold()) if len(part) >= _PART)


def damaged(text: str) -> Iterator[str]:
    """Yield the folded words of `text` with letters dropped, and decoded with a wrong encoding."""
    for word in WORD.findall(without_marks(text)):
        if word.isascii():
            continue
        narrow = {fold(word.encode(codec, "ignore").decode(codec)) for codec in _NARROW}
        yield from filter(None, narrow)
        for form in _misread(word):
            words = WORD.findall(form)
            yield from (folded for each in (*words, "".join(words)) if len(folded := fold(each)) >= _PART)


def misread(text: str) -> Iterator[str]:
    """Yield the words of `text` beyond ASCII, decoded with a wrong encoding, with the signs in them."""
    for word in WORD.findall(without_marks(text)):
        if not word.isascii():
            yield from (form for form in _misread(word) if len(form) >= _PART)


def _misread(word: str) -> set[str]:
    """Return the UTF-8 of `word` decoded with wrong encodings, with the most common ones also twice."""
    raw = word.encode("utf-8", "replace")
    once = {raw.decode(codec, "ignore") for codec in _MISREAD}
    common = [raw.decode(codec, "ignore") for codec in _MISREAD[:2]]
    common += [fit(form, SEARCHED) for form in common]  # control characters may have been dropped in between
    twice = {form.encode().decode(codec, "ignore") for form in common for codec in _MISREAD[:2]}
    return {without_marks(fit(unicodedata.normalize("NFKC", form), SEARCHED)) for form in once | twice}
