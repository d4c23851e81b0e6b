r"""Undo the escapes with which a server may repeat a request's text. Pure. The cost grows only with the text.

These are undone, also one within another: %C3%A9, %u00e9, &eacute; and &#233;, \u00e9, \u{e9}, \xe9, \303\251, =C3=A9.
UTF-8 that was decoded as Latin-1 or cp1252 (Ã© for é) is decoded again.
"""

import html
import re

ROUNDS = 6  # of escapes within escapes; a word that is still escaped then is removed
LEFT = re.compile(r"%[0-9a-f]{2}|\\+u[0-9a-f]{4}|\\+x[0-9a-f]{2}|&#?\w{1,20};", re.IGNORECASE)

_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_PERCENT_U = re.compile(r"%u([0-9A-Fa-f]{4})")
_QUOTED = re.compile(r"(?:=[89A-F][0-9A-F])+")  # quoted-printable escapes hardly anything but letters beyond ASCII
_HEX = re.compile(r"(?:\\+x[0-9A-Fa-f]{2})+")
_OCTAL = re.compile(r"(?:\\+[0-3][0-7]{2})+")
_UNICODE = re.compile(r"\\+u([0-9A-Fa-f]{4})|\\+u\{([0-9A-Fa-f]{1,6})\}|\\+U([0-9A-Fa-f]{8})")
_SIMPLE = re.compile(r"\\+([\"'/ntrbfv])")
# The bytes 80 to 9F are control characters in Latin-1, and in cp1252 these.
_CP1252 = {ord(char): byte for byte in range(0x80, 0xA0) if (char := bytes([byte]).decode("cp1252", "ignore"))}
_NEXT = "[\x80-\xbf" + "".join(map(chr, _CP1252)) + "]"
_MISREAD = re.compile(f"[Â-ß]{_NEXT}|[à-ï]{_NEXT}{{2}}|[ð-ô]{_NEXT}{{3}}")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def unescape(text: str) -> str:
    """Return `text` without escapes."""
    for _ in range(ROUNDS):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    if "&" in text:
        text = html.unescape(text)
    if "%" in text:
        text = _PERCENT_U.sub(lambda found: chr(int(found[1], 16)), text)
        text = _PERCENT.sub(lambda found: _decoded(bytes.fromhex(found[0].replace("%", ""))), text)
    if "=" in text:
        text = _QUOTED.sub(lambda found: _decoded(bytes.fromhex(found[0].replace("=", ""))), text)
    if "\\" in text:
        text = _UNICODE.sub(lambda found: _char(found[1] or found[2] or found[3]), text)
        text = _HEX.sub(lambda found: _decoded(bytes.fromhex(re.sub(r"\\+x", "", found[0]))), text)
        text = _OCTAL.sub(lambda found: _decoded(bytes(int(each, 8) for each in re.findall(r"\d{3}", found[0]))), text)
        text = _SIMPLE.sub(lambda found: found[1] if found[1] in "\"'/" else " ", text)
    if not text.isascii():
        text = _MISREAD.sub(lambda found: _read_again(found[0]), text)
    return _PAIR.sub(lambda found: found[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _read_again(text: str) -> str:
    try:
        return text.translate(_CP1252).encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def _char(digits: str) -> str:
    number = int(digits, 16)
    return chr(number) if number <= 0x10FFFF else ""
