"""Show the progress of a pass: bars on a terminal, otherwise only log lines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from syncd import log
from syncd.passes.report import Observer


@contextmanager
def watching(*, verbose: bool = False) -> Iterator[Observer | None]:
    """Show progress bars on a terminal, with the logs above them."""
    if not sys.stderr.isatty():
        log.configure(verbose)
        yield None
        return
    from rich.console import Console  # 60 ms that a pass by cron does not wait for

    from syncd.cli.progress_bars import ProgressBars

    with ProgressBars(Console(stderr=True)) as bars:
        log.configure(verbose)  # to the stderr that the bars have taken over
        yield bars
    log.configure(verbose)
