"""Serve the status page of a running daemon: /, /activity, /metrics, /livez and /readyz.

    a browser ─► Guard ─► app ─► Answers: one thread, one reading at a time ─► the ledger, read only
                 who may   what    └─► view, charts: pure ─► templates: HTML without script

All of it runs in threads of its own and reads kept counts, so that no pass waits for a reader. No package of
the extra `web` is imported unless [web] is configured.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from syncd.config import Config
from syncd.errors import ConfigError, Problem
from syncd.types.listen import Address
from syncd.web.sockets import listening

if TYPE_CHECKING:
    from syncd.web.server import Page

EXTRA = ("jinja2", "prometheus_client", "starlette", "uvicorn")
INSTALL = "pip install 'syncd[web]'"


@contextmanager
def serving(config: Config) -> Iterator["Page | None"]:
    """Serve the page within, if [web] names an address. Yield its handle, or None.

    ConfigError if the extra is not installed, or if the address cannot be used.
    """
    if config.web.address is None:
        yield None
        return
    page = _server()(config)
    page.start()
    try:
        yield page
    finally:
        page.stop()


def require(address: Address) -> None:
    """Raise ConfigError unless a page could be served on `address` now. Nothing is served."""
    _require_extra()
    for each in listening(address):
        each.close()


def _server() -> "Callable[[Config], Page]":
    """Return the class of the server. ConfigError if a package of the extra is missing."""
    _require_extra()
    from syncd.web.server import Page

    return Page


def _require_extra() -> None:
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        message = f"needs packages that are not installed: {', '.join(missing)}"
        raise ConfigError([Problem("web.listen", message, INSTALL)])


__all__ = ["EXTRA", "INSTALL", "require", "serving"]
