"""Sessions of access tokens, which end if unused for too long, or all at once."""

import random
import string

_LETTERS = string.ascii_letters + string.digits + "._"


class Sessions:
    """Access tokens, and the time of each one's last use (ms)."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._used: dict[str, int] = {}

    def open(self, org_id: str, now: int) -> str:
        """Start a session and return its access token."""
        token = f"{org_id[:15]}!{''.join(self._draw.choices(_LETTERS, k=96))}"
        self._used[token] = now
        return token

    def use(self, token: str, now: int, lifetime_s: float) -> bool:
        """Return whether the session is open, and extend it."""
        last = self._used.get(token)
        if last is None or now - last >= lifetime_s * 1000:
            self._used.pop(token, None)
            return False
        self._used[token] = now
        return True

    def clear(self) -> None:
        """End all sessions."""
        self._used.clear()
