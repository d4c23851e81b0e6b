"""Run syncd from end to end against stand-ins on this machine: `syncd demo`."""

import json
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncd import __version__, clock, signals
from syncd.cli import progress
from syncd.cli.explanation import show
from syncd.cli.printing import styled
from syncd.cli.status import tables
from syncd.config import Config, load
from syncd.errors import SyncdError
from syncd.ledger import chosen
from syncd.passes import kept_scopes, wiring
from syncd.passes.report import PassResult
from syncd.reporting import facts
from syncd.reporting.explanation import document_of
from syncd.signals import StopRequest

LATER = timedelta(hours=5)  # by then everything has settled, and late associations have come
READY_WITHIN_S = 60
LIFELIKE = 3  # sets of records as dialers, sequencers and mail capture write them

# Paragraphs without line breaks: Rich wraps them at the terminal's width.
INTRODUCTION = (
    "[bold]syncd {version}, a demonstration.[/] HubSpot, Salesforce and Recotap are stand-ins on 127.0.0.1, the people "
    "in them are invented, and nothing leaves this machine. syncd itself is the real thing: connectors, ledger and "
    "sender."
)
FIRST = "[bold]First pass[/]: everything that the CRMs have, oldest change first."
SECOND = (
    "[bold]Second pass[/], {hours} hours later (the stand-ins' clock moves, yours does not): syncd looks up by id what "
    "was incomplete, and sends again what was refused."
)
NEXT_STEPS = (
    ("syncd init", "It asks a few questions, explains which keys to create, and writes config/syncd.toml."),
    ("syncd check && syncd scope && syncd preview", "They write nothing and send nothing."),
    ("syncd sync", "It makes one pass, and sends the activities."),
    ("syncd run", "It makes passes for years. The source's deploy/README.md sets it up."),
)


@dataclass(frozen=True)
class _Box:
    """The stand-ins, in their own process."""

    place: dict[str, Any]

    def order(self, which: str, **order: Any) -> Any:
        """Send an order to a stand-in's control endpoint."""
        body = json.dumps(order).encode()
        url = self.place[f"{which}_control"]  # our own, on loopback
        trust = ssl.create_default_context(cafile=self.place["salesforce_ca"]) if url.startswith("https:") else None
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=READY_WITHIN_S, context=trust) as answer:  # nosec B310 # loopback
            return json.load(answer)


def run(*, calls: int, emails: int) -> int:
    """Make two passes, show the books, and return the exit code of the second pass."""
    console = Console(highlight=False)
    introduce(console)
    stop = StopRequest()
    with ExitStack() as stack:
        stack.enter_context(signals.handling(stop))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncd-demo-")))
        console.print(f"Inventing a portal and an org with {calls} calls and {emails} emails each …")
        box = stack.enter_context(_stand_ins(calls, emails))
        config = _configuration(folder, box)

        console.print(f"\n{FIRST}")
        outcome = _pass(config, stop, clock.now)
        if stop.requested:
            return int(outcome.exit_code)
        console.print(f"\n{SECOND.format(hours=LATER.seconds // 3600)}")
        for which in ("hubspot", "salesforce", "recotap"):
            box.order(which, do="clock", offset_s=LATER.total_seconds())
        outcome = _pass(config, stop, lambda: clock.now() + LATER)
        _show_books(console, config, box)
    show_next_steps(console)
    return int(outcome.exit_code)


def introduce(console: Console) -> None:
    """Print the parts of the demonstration."""
    console.print(INTRODUCTION.format(version=__version__), end="\n\n")


def show_next_steps(console: Console) -> None:
    """Print the way from here to the real services."""
    console.print("[bold]With the real services:[/]")
    steps = Table.grid(padding=(0, 1))
    for number, (command, remark) in enumerate(NEXT_STEPS, 1):
        steps.add_row(f"  {number}.", Text(command))
        steps.add_row("", Text(remark, "dim"))
    console.print(steps)


def _pass(config: Config, stop: StopRequest, now: Any) -> PassResult:
    with progress.watching() as observer:
        return wiring.sync(config, sources=config.sources, command="demo", stop=stop, observer=observer, now=now)


def _show_books(console: Console, config: Config, box: _Box) -> None:
    with chosen(config.ledger).reports() as glance:
        now = clock.now() + LATER
        document = glance.status(version=__version__, now=now)
        tables.activities(document, console)
        for line in facts.unread(kept_scopes.unread(glance, [source.name for source in config.sources])):
            console.print(styled(line))
        stored = {name: times for name, times in box.order("recotap", do="stored").items() if times}
        doubled = sum(times > 1 for times in stored.values())
        console.print(
            f"Recotap's own count: {len(stored)} activities, {doubled} of them doubled; "
            f"the ledger's: {document['activities']['delivered']} delivered.\n"
        )
        for state in ("incomplete", "pending"):
            example = next(iter(glance.sample(state, 1)), None)
            if example:
                question = styled(f"Why is {example} not in Recotap? ", "bold")
                console.print(question.append_text(styled(f"syncd explain {example}", "dim")))
                show(document_of(example, glance, config, now), now, console)
                console.print()


def _configuration(folder: Path, box: _Box) -> Config:
    """Write a user's configuration with the stand-ins' addresses, and load it."""
    for name in ("hubspot_token", "salesforce_client_id", "salesforce_client_secret", "recotap_key"):
        (folder / name).write_text(box.place[name])
    start = (clock.now() - timedelta(days=365)).replace(microsecond=0)
    file = folder / "syncd.toml"
    file.write_text(
        f"""
        [recotap]
        base_url = "{box.place["recotap_url"]}"
        api_key = "file:{folder / "recotap_key"}"

        [ledger]
        path = "{folder / "ledger.db"}"

        [sources.hubspot]
        connector = "hubspot"
        base_url = "{box.place["hubspot_url"]}"
        access_token = "file:{folder / "hubspot_token"}"
        start = {_toml_time(start)}

        [sources.salesforce]
        connector = "salesforce"
        login_url = "{box.place["salesforce_url"]}"
        ca_file = "{box.place["salesforce_ca"]}"
        client_id = "file:{folder / "salesforce_client_id"}"
        client_secret = "file:{folder / "salesforce_client_secret"}"
        start = {_toml_time(start)}
        """
    )
    return load(file, environ={})


def _toml_time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@contextmanager
def _stand_ins(calls: int, emails: int) -> Iterator[_Box]:
    command = [sys.executable, "-m", "syncd.sandbox", f"--calls={calls}", f"--emails={emails}"]
    command += [f"--contacts={max(40, (calls + emails) // 8)}", f"--companies={max(20, (calls + emails) // 25)}"]
    command += [
        f"--lifelike={LIFELIKE}",
        "--salesforce",
        f"--salesforce-calls={calls}",
        f"--salesforce-emails={emails}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # nosec B603 # our own module
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SyncdError("the stand-ins did not start", hint="run `syncd sandbox` to see why")
            yield _Box(json.loads(line))
        finally:
            process.send_signal(signal.SIGTERM)
