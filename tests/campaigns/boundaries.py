"""Run syncd's command line and die by SIGKILL at one exact boundary. For tests alone; the product knows no such hook.

    KILL_AT=commit-before:7 python tests/campaigns/boundaries.py sync -c syncd.toml

Boundaries: commit-before and commit-after (of a transaction of the ledger), post-before (the intent is committed,
nothing has left) and post-after (Recotap has answered, nothing is booked). Without KILL_AT it runs to its end; with
BOUNDARIES=FILE it then writes how many there were of each.

AHEAD_S=90 lets syncd's clock be so much ahead of the machine's, as a moved sandbox's is; HASTE=20 lets a connector
wait a twentieth of what it would before it tries again.
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

AHEAD = timedelta(seconds=float(os.environ.get("AHEAD_S", "0")))
clock.now = lambda: datetime.now(UTC) + AHEAD  # before anything of syncd takes it for a default

from syncd.cli import main as cli  # noqa: E402
from syncd.ledger import file  # noqa: E402
from syncd.passes import reader  # noqa: E402
from syncd.recotap import sender  # noqa: E402
from syncd.recotap.responses import BatchResult  # noqa: E402

HASTE = float(os.environ.get("HASTE", "1"))
KINDS = ("commit-before", "commit-after", "post-before", "post-after")

_passed: Counter[str] = Counter()
_lock = threading.Lock()
_writing = file.writing
_post = sender.Sender.post
_sleep = reader.Reader._sleep


def reach(kind: str) -> None:
    """Count a boundary; the chosen one is the last thing that this process does."""
    with _lock:
        _passed[kind] += 1
        if os.environ.get("KILL_AT") == f"{kind}:{_passed[kind]}":
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def writing(db: Any, path: Path) -> Iterator[None]:
    """A transaction of the ledger with a boundary on either side of its COMMIT."""
    with _writing(db, path):
        yield
        reach("commit-before")
    reach("commit-after")


def post(self: sender.Sender, sent: Sequence[tuple[str, str]]) -> BatchResult:
    """A POST with a boundary on either side."""
    reach("post-before")
    answer = _post(self, sent)
    reach("post-after")
    return answer


def sleep(self: reader.Reader, seconds: float) -> None:
    """A connector's wait, in haste."""
    _sleep(self, seconds / HASTE)


if __name__ == "__main__":
    file.writing = writing
    sender.Sender.post = post  # type: ignore[method-assign]
    reader.Reader._sleep = sleep  # type: ignore[method-assign]
    try:
        cli.main()
    finally:
        if where := os.environ.get("BOUNDARIES"):
            Path(where).write_text(json.dumps(_passed))
        sys.stderr.flush()
