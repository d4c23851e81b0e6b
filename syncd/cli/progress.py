"""Show the progress of a pass: bars on a terminal, otherwise only log lines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from syncd import log
from syncd.passes.report import Observer


@contextmanager
def watching(*, verbose: bool = False, as_json: bool | None = None) -> Iterator[Observer | None]:
    """Show progress bars on a terminal, with the logs above them. There are none if the logs are JSON."""
    if as_json or not sys.stderr.isatty():
        log.configure(verbose, as_json=as_json)
        yield None
        return
    from rich.console import Console  # 60 ms that a pass by cron does not wait for

    from syncd.cli.progress_bars import ProgressBars

    with ProgressBars(Console(stderr=True)) as bars:
        log.configure(verbose, as_json=as_json)  # to the stderr that the bars have taken over
        yield bars
    log.configure(verbose, as_json=as_json)
