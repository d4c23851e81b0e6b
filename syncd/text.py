"""Write strings and times as Recotap gets them; both functions are pure and never fail."""

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache

# A pair \r\n is one line break. VT and FF are what CRMs' rich-text editors leave for a soft break.
_BREAKS = re.compile("\r\n|[\t\n\v\f\r\x85\u2028\u2029]")
_DROPPED = frozenset({"Cc", "Cs"})  # control characters, and lone surrogates, which UTF-8 cannot carry


def clean(text: object) -> str | None:
    """Return `text` trimmed, on one line, free of control characters; None for an empty one or no string."""
    return _clean(text) if isinstance(text, str) else None


@lru_cache(maxsize=8192)  # names, titles and outcomes come back in every other record
def _clean(text: str) -> str | None:
    if not text.isprintable():  # printable text holds none of what follows, and nearly all text is
        text = _BREAKS.sub(" ", text)
        text = "".join(char for char in text if unicodedata.category(char) not in _DROPPED)
    return text.strip() or None


def timestamp(at: datetime) -> str:
    """Write `at`, an aware time, in UTC as 2026-04-22T10:30:00Z; milliseconds only where there are some."""
    at = at.astimezone(UTC)
    precision = "milliseconds" if at.microsecond // 1000 else "seconds"
    return at.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
