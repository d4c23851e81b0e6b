"""Start the log with its first message, for commands that only read the ledger and log nothing themselves.

To import the log's library takes a tenth of such a command's time. Only a library may have something to say there.
"""

import logging


class _Starter(logging.Handler):
    """Start the log, and hand it the message."""

    def emit(self, record: logging.LogRecord) -> None:
        from syncd import log

        log.configure()
        logging.getLogger().handle(record)


def prepare() -> None:
    """Let the first message of a library start the log."""
    logging.lastResort = _Starter(logging.WARNING)  # Python's documented handler while there is no other


__all__ = ["prepare"]
