"""Compare each server's clock with this machine's, and check that its Date advances."""

from collections.abc import Callable, Iterator

from syncd.connector import Finding
from syncd.errors import Exit, SyncdError
from syncd.http.server_clock import ClockReport, ServerClock, complaint, in_words, is_confirmed, wrong_by_s
from syncd.passes.clocks import HELD, remedy, unconfirmed

THIS_MACHINE = "clock of this machine"
SERVER_HINT = "that server's clock or a cache before it is wrong. syncd allows for it"


class Clocks:
    """The clocks of the servers that a check has called."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._servers: list[tuple[str, ServerClock, Callable[[], object] | None]] = []

    def add(self, server: str, clock: ServerClock, ask: Callable[[], object] | None) -> None:
        """Add a server's clock. `ask` makes one more request for the clock to learn from. None: the check failed."""
        self._servers.append((server, clock, ask))

    def findings(self) -> Iterator[Finding]:
        """Yield a finding for each server, and one if this machine's clock is wrong or unconfirmed."""
        yield from self._ask_again()
        told = [told for server, clock, _ in self._servers if (told := clock.report(server)) is not None]
        if wrong_by_s(told) is None:  # otherwise none of the servers is to blame
            yield from (_of_server(each) for each in told)
        if told and not is_confirmed(told):
            hint = f"{remedy(told)}: {HELD}"
            yield Finding(THIS_MACHINE, False, unconfirmed(told), hint, warning=True)

    def _ask_again(self) -> Iterator[Finding]:
        """Call servers whose Date may stand still once more, all after one wait of at most 3 s."""
        unknown = [each for each in self._servers if each[2] and each[1].report("") and each[1].moves is None]
        wait_s = max((clock.known_in_s() for _, clock, _ in unknown), default=0.0)
        if wait_s:
            self._sleep(wait_s)
        for server, _, ask in unknown:
            assert ask is not None
            try:
                ask()
            except SyncdError as error:  # it has just answered: an outage since then tells nothing about its clock
                if error.exit_code == Exit.BUG:
                    yield Finding(f"clock of {server}", False, error.message, error.hint, exit_code=Exit.BUG)


def _of_server(told: ClockReport) -> Finding:
    what = f"clock of {told.server}"
    said = complaint(told)
    if said:
        return Finding(what, False, said, SERVER_HINT, warning=True)
    assert told.skew_s is not None
    return Finding(what, True, f"{in_words(told.skew_s)} this machine's, which is near enough")


__all__ = ["THIS_MACHINE", "Clocks"]
