"""Run syncd's command line and die by SIGKILL at one exact boundary. syncd itself has no such hook.

    KILL_AT=commit-before:7 python tests/campaigns/boundaries.py sync -c syncd.toml

Boundaries: commit-before and commit-after (of a transaction of the ledger), post-before (the intent is committed,
nothing is sent) and post-after (Recotap has responded, nothing is booked). Without KILL_AT it runs to its end and, with
BOUNDARIES=FILE, writes the number of each.

AHEAD_S=90 puts syncd's clock 90 s ahead of the machine's, like that of a moved sandbox. HASTE=20 divides a
connector's waits between tries by 20.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from syncd import clock


def _now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float(os.environ.get("AHEAD_S", "0")))


clock.now = _now  # before a module of syncd binds it as a default

from syncd.cli import main as cli  # noqa: E402
from syncd.ledger import file  # noqa: E402
from syncd.passes import reader  # noqa: E402
from syncd.recotap import sender  # noqa: E402
from syncd.recotap.responses import BatchResult  # noqa: E402

KINDS = ("commit-before", "commit-after", "post-before", "post-after")

_passed: Counter[str] = Counter()
_lock = threading.Lock()
_writing = file.writing
_post = sender.Sender.post
_sleep = reader.Reader._sleep


def reach(kind: str) -> None:
    """Count a boundary, and die at the chosen one."""
    with _lock:
        _passed[kind] += 1
        if os.environ.get("KILL_AT") == f"{kind}:{_passed[kind]}":
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def writing(db: Any, path: Path, **how: bool) -> Iterator[None]:
    """A transaction of the ledger with a boundary before and after its COMMIT."""
    with _writing(db, path, **how):
        yield
        reach("commit-before")
    reach("commit-after")


def post(self: sender.Sender, sent: Sequence[tuple[str, str]], *, late_s: float = 0.0) -> BatchResult:
    """A POST with a boundary before and after it."""
    reach("post-before")
    answer = _post(self, sent, late_s=late_s)
    reach("post-after")
    return answer


def sleep(self: reader.Reader, seconds: float) -> None:
    """A shortened wait of a connector."""
    _sleep(self, seconds / float(os.environ.get("HASTE", "1")))


def main() -> None:
    """Run the command line with the boundaries."""
    file.writing = writing
    sender.Sender.post = post  # type: ignore[method-assign]
    reader.Reader._sleep = sleep  # type: ignore[method-assign]
    try:
        cli.main()
    finally:
        if where := os.environ.get("BOUNDARIES"):
            Path(where).write_text(json.dumps(_passed))
        sys.stderr.flush()


if __name__ == "__main__":
    main()
