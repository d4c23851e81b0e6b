"""Decide in each pass whether a server confirms this machine's clock. This module owns all servers' clocks of a pass.

At least one server must agree with the clock to within 5 minutes (design, promise 13). A CRM's or Recotap's clock
counts from its first response on. If none agrees when a decision needs the clock, syncd asks Recotap for its Date,
once a pass. So a pass that reads only files has a clock to compare with, too.
"""

from collections.abc import Callable
from typing import Any

import structlog

from syncd.http.server_clock import AGREES_S, ClockReport, ServerClock, complaint, in_words, is_confirmed, wrong_by_s
from syncd.passes.dispatch import Poster

log = structlog.get_logger()

RECOTAP = "Recotap"
HELD = "nothing dies, and nothing is sent because it has settled, until a server's clock agrees with this machine's"
OFF = "nothing is lost. `syncd check` compares all clocks"


class PassClocks:
    """The servers' clocks of one pass. Use it in one thread; each clock may learn in other threads."""

    def __init__(self, poster: Poster, kept: Any = None) -> None:
        """`kept` is the state of Recotap's clock from an earlier pass, or None."""
        # A poster without a clock is not a server, as in some tests. Then the local clock is trusted.
        self._recotap: ServerClock | None = getattr(poster, "clock", None)
        self._ask: Callable[[], None] | None = getattr(poster, "ask_the_time", None)
        self._sources: dict[str, ServerClock] = {}
        self._held = False
        self._kept = kept
        if self._recotap is not None:
            self._recotap.recall(kept)

    def meet(self, source: str, server: ServerClock) -> None:
        """Count the clock of `source` from now on."""
        self._sources[source] = server

    def confirmed(self, *, may_ask: bool) -> bool:
        """Tell whether a server confirms the local clock.

        If `may_ask`, this may send one request to Recotap, once a pass, within one deadline.
        """
        if self._recotap is None or is_confirmed(self.told()):
            return True
        if may_ask and self._ask is not None:
            ask, self._ask = self._ask, None
            ask()
        confirmed = is_confirmed(self.told())
        self._held = self._held or not confirmed
        return confirmed

    def told(self) -> list[ClockReport]:
        """Return what each server that was asked in this pass told."""
        named = {**self._sources, **({RECOTAP: self._recotap} if self._recotap is not None else {})}
        return [told for name, server in named.items() if (told := server.report(name)) is not None]

    def to_keep(self) -> Any:
        """Return the state of Recotap's clock for the next pass, or None if there is none or it is the kept one."""
        state = self._recotap.to_keep() if self._recotap is not None else None
        return None if state == self._kept else state

    def report(self) -> None:
        """Log each server's clock that is wrong, and warn if none confirms the local clock."""
        told = self.told()
        for each in told if wrong_by_s(told) is None else ():  # otherwise the local clock is wrong
            said = complaint(each)
            if said:
                log.warning("clock.off", server=each.server, error=said, server_ahead_s=each.skew_s, hint=OFF)
        if self._held and not is_confirmed(told):
            log.warning("clock.unconfirmed", error=unconfirmed(told), hint=f"{remedy(told)}: {HELD}")


def unconfirmed(told: list[ClockReport]) -> str:
    """Return the reason why the local clock is not confirmed."""
    by_s = wrong_by_s(told)
    if by_s is not None:
        return f"this machine's clock is {in_words(-by_s)} every server's"
    if not any(each.skew_s is not None for each in told):
        return "no server told the time"
    return f"no server's clock is within {AGREES_S / 60:.0f} min of this machine's"


def remedy(told: list[ClockReport]) -> str:
    """Return the remedy for a clock that is not confirmed."""
    if wrong_by_s(told) is not None:
        return "set this machine's clock, e.g. by NTP"
    return "check this machine's clock, and that no proxy removes or caches the Date of responses"


__all__ = ["PassClocks", "remedy", "unconfirmed"]
