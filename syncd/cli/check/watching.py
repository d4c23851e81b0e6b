"""Test what reports by itself how syncd is: the status page and the alerts. Sends nothing."""

import errno
from collections.abc import Iterator
from contextlib import suppress

from syncd import web
from syncd.config import AlertsConfig, Config
from syncd.connector import Finding
from syncd.errors import ConfigError, Exit, LedgerError
from syncd.ledger import chosen
from syncd.types.listen import Address

WHAT = "status page"


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
        if daemon and getattr(error.__cause__, "errno", None) == errno.EADDRINUSE:
            return Finding(WHAT, True, f"{address} is in use, as expected while {daemon}, holds the ledger")
        problem = error.problems[0]
        return Finding(WHAT, False, f"{problem.path}: {problem.message}", problem.hint, exit_code=Exit.CONFIG)
    if daemon:
        message = f"nothing is served on {address}, although {daemon}, holds the ledger"
        return Finding(WHAT, False, message, "restart it: it takes the address at its start only", warning=True)
    return Finding(WHAT, True, f"{address} is free, and the packages for it are installed")


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
