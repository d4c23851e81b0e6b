"""Is this machine's clock confirmed in this pass? One owner for what a pass knows of all servers' clocks.

At least one server must agree with it to within 5 minutes (design, promise 13). Every source's
clock counts as soon as the CRM has answered, and Recotap's too. If none agrees when something
depends on it, Recotap is asked for its Date, once a pass: so a pass over files alone has a clock as well.
"""

from collections.abc import Callable
from typing import Any

import structlog

from syncd.http.server_clock import AGREES_S, ClockReport, ServerClock, complaint, in_words, is_confirmed, wrong_by_s
from syncd.passes.dispatch import Poster

log = structlog.get_logger()

RECOTAP = "Recotap"
HELD = "nothing dies, and nothing is sent because it has settled, until a server's clock agrees with this machine's"
OFF = "nothing is lost; `syncd check` compares all clocks"


class PassClocks:
    """What a pass knows of the servers' clocks. One thread; each clock may learn in others."""

    def __init__(self, poster: Poster, kept: Any = None) -> None:
        """`kept` is what an earlier pass kept of Recotap's clock."""
        # A poster without a clock is no server, as in tests: there is nobody to ask, and the local clock is believed.
        self._recotap: ServerClock | None = getattr(poster, "clock", None)
        self._ask: Callable[[], None] | None = getattr(poster, "ask_the_time", None)
        self._sources: dict[str, ServerClock] = {}
        self._held = False
        if self._recotap is not None:
            self._recotap.recall(kept)

    def meet(self, source: str, server: ServerClock) -> None:
        """Count the clock of `source` from now on."""
        self._sources[source] = server

    def confirmed(self, *, may_ask: bool) -> bool:
        """Tell whether a server confirms the local clock. Recotap may be asked, once, for one deadline at most."""
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
        """Return what the next pass should know of Recotap's clock; None if nothing."""
        return self._recotap.to_keep() if self._recotap is not None else None

    def report(self) -> None:
        """Log what is wrong with the clocks: one line a server, and one if none confirms the local clock."""
        told = self.told()
        for each in told if wrong_by_s(told) is None else ():  # otherwise none of the servers is to blame
            said = complaint(each)
            if said:
                log.warning("clock.off", server=each.server, error=said, server_ahead_s=each.skew_s, hint=OFF)
        if self._held and not is_confirmed(told):
            log.warning("clock.unconfirmed", error=unconfirmed(told), hint=f"{remedy(told)}: {HELD}")


def unconfirmed(told: list[ClockReport]) -> str:
    """Say why the local clock is not confirmed."""
    by_s = wrong_by_s(told)
    if by_s is not None:
        return f"this machine's clock is {in_words(-by_s)} every server's"
    if not any(each.skew_s is not None for each in told):
        return "no server told the time"
    return f"no server's clock is within {AGREES_S / 60:.0f} min of this machine's"


def remedy(told: list[ClockReport]) -> str:
    """Say what to do about it."""
    if wrong_by_s(told) is not None:
        return "set this machine's clock, e.g. by NTP"
    return "check this machine's clock, and that no proxy removes or caches the Date of responses"


__all__ = ["PassClocks", "remedy", "unconfirmed"]
