"""A drop folder that others write to, another source beside it, and passes over both that must end in time."""

import os
import socket
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.jsonl import Jsonl
from syncd.connector import Source
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes.engine import Pass
from syncd.passes.report import PassResult
from syncd.signals import StopRequest
from tests.drops import Drop, call, email

LIMIT_S = 90.0  # seconds that a pass may take, on a busy machine and under coverage


class Shared(Drop):
    """A drop folder and another source beside it, in one pass that must end in time."""

    def __init__(self, path: Path, **table: Any) -> None:
        super().__init__(path, **table)
        self.outside = path / "outside"
        self.outside.mkdir()
        self.secret = self.outside / "secret.jsonl"
        self.secret.write_text(call("secret") + "\n")
        self.touch(self.secret)
        (path / "other").mkdir()
        self.other = Drop(path / "other")

    def plant(self, kind: str, path: Path) -> None:
        """Put something of a kind in place of `path`."""
        match kind:
            case "link to a file":
                path.symlink_to(self.secret)
            case "link to a folder":
                path.symlink_to(self.outside)
            case "dangling link":
                path.symlink_to(self.outside / "new.jsonl")
            case "link to a device":
                path.symlink_to("/dev/zero")
            case "hard link":
                path.hardlink_to(self.secret)
            case "FIFO":
                os.mkfifo(path)
            case "socket":
                with socket.socket(socket.AF_UNIX) as bound:
                    here = os.open(path.parent, os.O_RDONLY)  # a socket's path is short
                    bound.bind(f"/proc/self/fd/{here}/{path.name}")
                    os.close(here)
            case "device":
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            case "folder":
                path.mkdir()

    def passed(self, stop: StopRequest | None = None, *, minutes: float = 5) -> PassResult:
        """Return the outcome of a pass over both sources."""
        self.later(minutes=minutes)
        self.other.at = self.at
        outcomes: list[PassResult | BaseException] = []

        def run() -> None:
            try:
                with LedgerHandle(self.ledger).open() as ledger:
                    sources = [Source("files", self.config, Jsonl), Source("other", self.other.config, Jsonl)]
                    rules = Rules(own_domains=frozenset({"lanternfield.com"}))
                    outcomes.append(
                        Pass(
                            ledger, sources, self.recotap, rules, concurrency=1, max_age=timedelta(days=7),
                            stop=stop, now=self.now,
                        ).run()
                    )  # fmt: skip
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                outcomes.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(LIMIT_S)
        assert outcomes, "the pass hangs"
        if isinstance(outcomes[0], BaseException):
            raise outcomes[0]
        return outcomes[0]

    def healthy(self, number: int = 1) -> None:
        """Drop a file of a call and an email, and one for the other source."""
        self.file(f"healthy{number}.jsonl", call(f"c{number}"), email(f"e{number}"))
        self.other.at = self.at
        self.other.file(f"other{number}.jsonl", call(f"o{number}"))

    def moved_in(self, name: str = "before.jsonl") -> None:
        """Have a done folder with an id and one file."""
        self.file(name, call("before"))
        for _ in range(2):
            assert self.passed().exit_code == Exit.OK

    def delivered(self) -> set[str]:
        return {crm_id for crm_id, state in self.states().items() if state == "delivered"}

    def outside_is_untouched(self) -> bool:
        return [path.name for path in self.outside.iterdir()] == ["secret.jsonl"] and self.secret.read_text() == (
            call("secret") + "\n"
        )


def named(outcome: PassResult, what: str) -> int:
    """Count the errors that name something. Each has a remedy."""
    assert all(error.hint for error in outcome.errors)
    return sum(error.message.count(what) for error in outcome.errors)
