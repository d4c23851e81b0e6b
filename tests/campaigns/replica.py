"""Run syncd's command line as one replica of a campaign, and die or freeze at a boundary on order. See fleet.py.

    REPLICA=2 ORDER=/tmp/order-2 python -m tests.campaigns.replica run -c syncd.toml

The file ORDER names a signal and a boundary, e.g. "9 intent-before". At that boundary the process removes the file and
sends itself the signal. syncd itself has no such hook. The boundaries:

    intent-before, intent-after    the commit of an intent
    commit-before, commit-after    the commit of any other transaction
    post-trusted                   the lease is trusted, and nothing of the activities has left
    post-within                    the request has left, and no response has come
    settle-before                  Recotap has responded, and no verdict is booked
    renew-before, renew-after      the statement that renews the leases
    take-after                     a lane is taken, and no pass has begun

REPLICA=2 lets its connections to Recotap come from 127.0.0.12, and its POSTs name its process. AHEAD_S and HASTE are
those of boundaries.py.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from tests.campaigns import boundaries  # isort: skip # before all others, because it moves syncd's clock

from syncd.cli import main as cli
from syncd.errors import LedgerHeld
from syncd.http import httpx_deadline
from syncd.ledger import postgres, postgres_lease
from syncd.ledger.outbox import Outbox
from syncd.passes import reader
from syncd.recotap import sender

KINDS = (
    "intent-before", "intent-after", "commit-before", "commit-after", "post-trusted", "post-within", "settle-before",
    "renew-before", "renew-after", "take-after",
)  # fmt: skip
WITHIN_S = 0.02  # after a request has left: the stand-in takes longer to respond

_local = threading.local()  # has_intent: the transaction that this thread has open holds an intent
_lock = threading.Lock()


def reach(kind: str) -> None:
    """Obey the order, if it names this boundary."""
    with suppress(OSError), _lock:
        order = Path(os.environ["ORDER"])
        number, _, wanted = order.read_text().partition(" ")
        if wanted == kind:
            order.unlink()
            os.kill(os.getpid(), int(number))


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function by `wrapper`, which is called with it and its arguments."""
    inner = getattr(owner, name)

    @wraps(inner)
    def replaced(*arguments: Any, **named: Any) -> Any:
        return wrapper(inner, *arguments, **named)

    setattr(owner, name, replaced)


@contextmanager
def _writing(inner: Any, self: Any, db: Any) -> Iterator[None]:
    with inner(self, db):
        _local.has_intent = False
        yield
        has_intent = _local.has_intent
        reach("intent-before" if has_intent else "commit-before")
    reach("intent-after" if has_intent else "commit-after")


def _intend(inner: Any, *arguments: Any, **named: Any) -> Any:
    _local.has_intent = True
    return inner(*arguments, **named)


def _leaving(inner: Any, self: Any, content: bytes) -> Iterator[bytes]:
    """The body of a POST: the product checks the lease before it yields, and httpx writes it afterwards."""
    for part in inner(self, content):
        reach("post-trusted")
        yield part
        timer = threading.Timer(WITHIN_S, reach, ["post-within"])
        timer.daemon = True
        timer.start()


def _record(inner: Any, *arguments: Any, **named: Any) -> Any:
    reach("settle-before")
    return inner(*arguments, **named)


def _renew(inner: Any, self: Any) -> None:
    reach("renew-before")
    inner(self)


def _trust(inner: Any, self: Any, since_s: float) -> None:
    if threading.current_thread().name == "leases":
        reach("renew-after")
    inner(self, since_s)


def _fence(inner: Any, *arguments: Any) -> None:
    try:
        inner(*arguments)
    except LedgerHeld:
        os.write(2, b'{"event": "campaign.fenced"}\n')
        raise


def _take(inner: Any, *arguments: Any) -> Any:
    found = inner(*arguments)
    if found is not None:
        reach("take-after")
    return found


def _connect(inner: Any, host: str, port: int, timeout: float | None, **named: Any) -> Any:
    return inner(host, port, timeout, **{**named, "source": (f"127.0.0.1{os.environ['REPLICA']}", 0)})


def main() -> None:
    """Run the command line with the boundaries."""
    _around(postgres.PostgresLedger, "writing", _writing)
    _around(postgres, "fence", _fence)
    _around(Outbox, "intend", _intend)
    _around(Outbox, "record_verdicts", _record)
    _around(sender.Sender, "_leaving", _leaving)
    _around(postgres_lease.Renewals, "renew", _renew)
    _around(postgres_lease.Lease, "trust", _trust)
    _around(postgres_lease, "take_next", _take)
    _around(httpx_deadline, "connect", _connect)
    sender.__version__ += f" process {os.getpid()}"  # type: ignore[attr-defined]
    reader.Reader._sleep = boundaries.sleep  # type: ignore[method-assign]
    try:
        cli.main()
    finally:
        sys.stderr.flush()


if __name__ == "__main__":
    main()
