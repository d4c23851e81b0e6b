"""The tokens of SOQL, each with its position."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from syncd.sandbox.salesforce.refusals import malformed
from syncd.sandbox.standin.clock import EPOCH

MAX_QUERY = 100_000  # characters (Limits guide v67)
MAX_STRING = 4000  # characters of one string literal (Limits guide v67)

Kind = Literal["name", "symbol", "string", "number", "date", "datetime", "end"]

_TOKEN = re.compile(
    r"""(?P<datetime> \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d) (?!\w) )
      | (?P<date> \d{4}-\d\d-\d\d (?![\w:.-]) )
      | (?P<number> [+-]?\d+(?:\.\d+)? (?![\w:.-]) )
      | (?P<string> '(?:[^'\\]|\\.)*' )
      | (?P<name> [A-Za-z]\w*(?:\.[A-Za-z]\w*)* )
      | (?P<symbol> <= | >= | != | <> | [=<>(),] )""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a query."""

    kind: Kind
    text: str  # unchanged from the query
    at: int  # characters before it

    @property
    def word(self) -> str:
        """Return the text for comparison with keywords, a name in upper case."""
        return self.text.upper() if self.kind == "name" else self.text


def tokens(text: str) -> list[Token]:
    """Split a query into tokens, the last of kind `end`. Raises QueryRefusal."""
    if len(text) > MAX_QUERY:
        raise malformed(0, f"SOQL statements cannot be longer than {MAX_QUERY} characters.")
    found, at = [], _space(text, 0)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise malformed(at, f"unexpected token: '{text[at : at + 20].split()[0]}'")
        found.append(Token(match.lastgroup, match[0], at))  # type: ignore[arg-type]  # the groups are the kinds
        at = _space(text, match.end())
    return [*found, Token("end", "<EOF>", len(text))]


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def literal(token: Token) -> Any:
    """Return a literal's value: text, number, day as text, or seconds since the epoch. Raises QueryRefusal."""
    try:
        return _READERS[token.kind](token)
    except ValueError as error:
        raise malformed(token.at, f"invalid {token.kind}: {token.text} ({error})") from None


def _string(token: Token) -> str:
    if len(token.text) - 2 > MAX_STRING:
        raise malformed(token.at, f"string literal is longer than {MAX_STRING} characters")

    def unescape(match: re.Match[str]) -> str:
        if match[1] in ("%", "_"):  # these keep their escape, for LIKE
            return match[0]
        if match[1] not in _ESCAPES:
            raise malformed(token.at, f"Illegal escape sequence: {match[0]}")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", unescape, token.text[1:-1], flags=re.DOTALL)


def _seconds(token: Token) -> float:
    moment = datetime.fromisoformat(token.text.upper())
    seconds = (moment.astimezone(UTC) - EPOCH).total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


_READERS: dict[str, Any] = {
    "string": _string,
    "number": lambda token: float(token.text) if "." in token.text else int(token.text),
    "date": lambda token: datetime.fromisoformat(token.text).date().isoformat(),
    "datetime": _seconds,
}
