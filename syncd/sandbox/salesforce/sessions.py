"""Sessions that tokens open: they end when unused for too long, or all at once."""

import random
import string

_LETTERS = string.ascii_letters + string.digits + "._"


class Sessions:
    """Access tokens and when each was used last (ms)."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._used: dict[str, int] = {}

    def open(self, org_id: str, now: int) -> str:
        token = f"{org_id[:15]}!{''.join(self._draw.choices(_LETTERS, k=96))}"
        self._used[token] = now
        return token

    def use(self, token: str, now: int, lifetime_s: float) -> bool:
        """Tell whether the session is open, and keep it open."""
        last = self._used.get(token)
        if last is None or now - last >= lifetime_s * 1000:
            self._used.pop(token, None)
            return False
        self._used[token] = now
        return True

    def clear(self) -> None:
        self._used.clear()
