"""Test what reports by itself how syncd is: the status page and the alerts. Sends nothing."""

import errno
from collections.abc import Iterator
from contextlib import suppress
from socket import gaierror

from syncd import web
from syncd.config import AlertsConfig, Config
from syncd.connector import Finding
from syncd.errors import ConfigError, Exit, LedgerError
from syncd.ledger import chosen
from syncd.types.listen import Address

WHAT = "status page"
RESTART = "restart it, unless it runs in another container: it takes the address at its start only"
ELSEWHERE = (
    "nothing to do if the daemon runs in another container, where the name is its own. Otherwise choose an address of "
    "this machine"
)


def findings(config: Config) -> Iterator[Finding]:
    """Yield whether the page could be served, and how many addresses the alerts have. Nothing if neither is set.

    A configuration with `alerts.urls` is invalid without the extra `alerts`, so none gets here.
    """
    if config.web.address is not None:
        yield _page(config.web.address, _daemon(config))
    if config.alerts.is_set:
        yield Finding("alerts", True, f"{_places(config.alerts)}, and not tried: `syncd alerts test` tries them")


def _page(address: Address, daemon: str) -> Finding:
    """Return whether the page could be served, or is. `daemon`: the one that runs, or ""."""
    try:
        web.require(address)
    except ConfigError as error:
        return _of_error(error, address, daemon)
    if daemon:
        message = f"nothing is served on {address} here, although {daemon}, holds the ledger"
        return Finding(WHAT, False, message, RESTART, warning=True)
    return Finding(WHAT, True, f"{address} is free, and the packages for it are installed")


def _of_error(error: ConfigError, address: Address, daemon: str) -> Finding:
    """Return an error, unless the address is the daemon's, or a name that may be known in the daemon's container."""
    problem, cause = error.problems[0], error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if daemon and number == errno.EADDRINUSE:
        return Finding(WHAT, True, f"{address} is in use, as expected while {daemon}, holds the ledger")
    message = f"{problem.path}: {problem.message}"
    if address.is_name and (isinstance(cause, gaierror) or number == errno.EADDRNOTAVAIL):
        return Finding(WHAT, False, message, ELSEWHERE, warning=True)
    return Finding(WHAT, False, message, problem.hint, exit_code=Exit.CONFIG)


def _daemon(config: Config) -> str:
    """Return the running daemon, e.g. "`syncd run`, process 12", or "" for none."""
    with suppress(LedgerError):  # the ledger has its own line
        holder = chosen(config.ledger).holder() or ""
        return holder if holder.startswith("`syncd run`") else ""
    return ""


def _places(alerts: AlertsConfig) -> str:
    number = len(alerts.urls)
    found = [f"{number} address{'es' * (number != 1)}"] if number else []
    found += ["a heartbeat"] if alerts.heartbeat_url is not None else []
    return " and ".join(found)


__all__ = ["findings"]
