"""Replace secrets and addresses in any text, as the last defence of promise 10.

The first defence is that no code logs them. A text that holds one by mistake is mended here.
"""

import re
import sqlite3
from typing import Any

from syncd.errors import SyncdError
from syncd.text import fit

REDACTED = "[redacted]"
SHORTEST = 6  # characters; a shorter value would also replace ordinary words, and no key is that short

# Each pattern starts only at the start of a word, or is bounded, so no text makes it backtrack for long.
_WORD = r"[^\s@<>\"'(),:;=/?&]"
PRIVATE = (
    r"\b(?:bearer|basic)\s+[\w.~+/=-]{6,}",  # an Authorization header
    r"\bpat-[a-z]{2,4}\d{0,3}-[\w-]{8,}",  # HubSpot's private-app tokens and service keys
    r"\b00D\w{9,15}![\w.]{8,}",  # a Salesforce session
    r"\beyJ[\w-]{8,}\.[\w.-]{8,}",  # a JWT
    rf"(?<!{_WORD}){_WORD}+@{_WORD}+\.{_WORD}{{2,}}",  # an e-mail address
    r"[\w.+~-]{1,64}%40[\w.-]+",  # one in a URL
)
_LOOKS_PRIVATE = re.compile("|".join(PRIVATE), re.IGNORECASE)

# The messages of these name code, files and tables. Those of any other foreign exception may quote a record (KeyError,
# ValueError) or a URL with an address in it, and are withheld.
_TELLABLE = (SyncdError, OSError, sqlite3.Error, TypeError, AttributeError, NameError, ImportError)

_secrets: dict[str, None] = {}  # the last KEPT; a daemon gets a new session token in each pass
KEPT = 200


def register_secret(value: str) -> None:
    """Replace `value` in every text from now on. A value shorter than SHORTEST is ignored."""
    if len(value) >= SHORTEST:
        _secrets.pop(value, None)  # a secret that each pass reads again stays among the newest
        _secrets[value] = None
        while len(_secrets) > KEPT:
            _secrets.pop(next(iter(_secrets)), None)


def redact(text: str) -> str:
    """Return `text` with known secrets, tokens and e-mail addresses replaced by "[redacted]"."""
    # The longest first, because a secret may begin with another one.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return _LOOKS_PRIVATE.sub(REDACTED, text)


def redact_value(value: Any) -> Any:
    """Return `value` with every text in it redacted. A type that JSON lacks becomes redacted text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, BaseException):
        return redact(describe(value))
    if isinstance(value, dict):
        return {redact(str(key)): redact_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value(item) for item in value]
    return redact(str(value))


def describe(error: BaseException) -> str:
    """Return an exception's type and, unless it may quote a record, its message."""
    name = fit(type(error).__name__)
    message = fit(str(error)) if isinstance(error, _TELLABLE) else ""
    return f"{name}: {message}" if message else name
