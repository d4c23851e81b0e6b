"""Compare the configuration with what the ledger remembers of both ends. Nothing is written."""

from collections.abc import Iterator
from contextlib import suppress

from syncd.config import Config
from syncd.connector import Finding
from syncd.errors import LedgerError
from syncd.ledger import chosen
from syncd.passes import changes, wiring
from syncd.passes.destination import NotingSender, host_and_port

WHAT = "recotap destination"


def destination(config: Config, to: NotingSender) -> Iterator[Finding]:
    """Yield whether a pass may send to the configured Recotap. Only a new key costs a request."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:  # the ledger has its own line
        found = wiring.review(config, glance, to)
        if found.refusal is not None:
            why = found.refusal
            yield Finding(WHAT, False, why.message, why.hint, exit_code=why.exit_code)
        elif found.is_new:
            at = host_and_port(config.recotap.base_url)
            yield Finding(WHAT, True, f"the next pass pins this ledger to {at}")
        elif found.accounts is not None:
            yield Finding(WHAT, True, f"the key is new, and finds {found.accounts} accounts that were delivered to")
        else:
            yield Finding(WHAT, True, "the one that this ledger delivers to")


def changes_of(config: Config) -> Iterator[Finding]:
    """Yield a warning for each source that is gone."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        for name, since in changes.gone_since(glance, [source.name for source in config.sources]).items():
            yield Finding(name, False, changes.gone_text(since), changes.BRING_BACK, warning=True)


__all__ = ["changes_of", "destination"]
