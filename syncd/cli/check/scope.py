"""Report the last count of each source's rows by kind. It makes no request."""

from collections.abc import Iterator
from contextlib import suppress

from syncd import clock
from syncd.config import Config
from syncd.connector import Finding
from syncd.errors import LedgerError
from syncd.ledger import chosen
from syncd.passes import kept_scopes
from syncd.passes.kept_scopes import Kept

WHAT = "kinds of rows"  # not "scope": a token has scopes
SHOWN = 3  # kinds in one line
HINT = f"{kept_scopes.LOOK}. README explains which rows are calls and emails"


def findings(config: Config, source: str) -> Iterator[Finding]:
    """Yield the rows that look like a call or an email and are not read, and a warning for each that the CRM needs."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:  # the ledger has its own line
        for _, held in kept_scopes.kept(glance, [source]):
            yield Finding(WHAT, True, _unread(held))
            for warning in held.warnings:
                yield Finding(WHAT, False, warning, HINT, warning=True)


def _unread(held: Kept) -> str:
    since = clock.text(held.since)[:10]
    found = [each for each in held.unread if each.looks_like is not None and each.count]
    if not found:
        return f"all that look like a call or an email are read (changed since {since})"
    shown = ", ".join(f"{each.what} ({each.count:,})" for each in found[:SHOWN])
    more = f", and {len(found) - SHOWN} more kinds" if len(found) > SHOWN else ""
    return f"not read, though it looks like a call or an email (changed since {since}): {shown}{more}"


__all__ = ["findings"]
