"""The commands: results to stdout, logs to stderr, exit codes as in `errors.Exit`.

Each imports what it needs when it runs: `syncd status` does not wait for a CRM's client.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from syncd import __version__, signals
from syncd.cli import printing
from syncd.errors import ConfigError, Exit
from syncd.text import visible

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.connector import Finding, Source
    from syncd.passes.report import PassResult

app = typer.Typer(
    name="syncd",
    help="Bring the calls and emails of a CRM into Recotap, each exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

documents = typer.Typer(help="Print an example configuration or its schema.", no_args_is_help=True)
app.add_typer(documents, name="config")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        readable=False,  # or typer itself refuses a closed file, with 2 and no remedy
        metavar="FILE",
        help="Default: $SYNCD_CONFIG, then config/syncd.toml, then /etc/syncd/syncd.toml.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Also log each page and each POST.")]
Port = Annotated[int, typer.Option(metavar="PORT", help="0 picks a free port.")]
Number = Annotated[int, typer.Option(metavar="N", help="Number to invent in each CRM.")]


NOTHING_TO_RETRY = "nothing to retry: no activity matches, or all that do are delivered"


class _TakesIds(TyperCommand):
    """A command whose usage line says ID. Typer would write {ID}."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class _Given:
    config: Path | None = None  # -c before the command


@app.callback()
def _common(
    config: ConfigFile = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        printing.line(f"syncd {__version__}")
        raise typer.Exit
    _Given.config = config


@app.command()
def sync(
    config: ConfigFile = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Sync only this source.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the activities of a pass, but write and send nothing.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Make one pass: read changes, send due activities."""
    loaded = _load(config, secrets=True, verbose=verbose, says_which=True)
    sources = _sources(loaded, source)
    code = _dry_run(loaded, sources) if dry_run else _sync(loaded, sources, verbose=verbose)
    raise typer.Exit(code)


@app.command()
def run(
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Make passes on a schedule until SIGTERM.

    This is the daemon. SIGHUP makes it read its configuration again.
    """
    from syncd import daemon, log

    log.configure(verbose)
    raise typer.Exit(daemon.run(config or _Given.config))


def _sync(config: "Config", sources: "Sequence[Source]", *, verbose: bool) -> int:
    from syncd.cli import progress
    from syncd.passes import wiring

    stop = signals.StopRequest()
    with signals.handling(stop), progress.watching(verbose=verbose) as observer:
        outcome = wiring.sync(config, sources=sources, command="sync", stop=stop, observer=observer)
    _say_errors(outcome)
    return int(outcome.exit_code)


def _say_errors(outcome: "PassResult") -> None:
    """Report the mistakes of the configuration in full: the log names only their number."""
    for error in outcome.errors:
        if isinstance(error, ConfigError):
            printing.error(error)


def _dry_run(config: "Config", sources: "Sequence[Source]") -> int:
    from syncd import clock
    from syncd.errors import worst
    from syncd.ledger import chosen
    from syncd.passes.dry_run import DryRun

    stop = signals.StopRequest()
    with signals.handling(stop):
        run = DryRun(sources, config.rules.to_rules(), ledger=chosen(config.ledger), stop=stop)
        with closing(run.readings()) as readings:
            for reading in readings:
                at = clock.text(reading.occurred_at) if reading.occurred_at else "?"
                printing.row(reading.external_activity_id, at, reading.wanted.value, reading.reason or "")
    for (state, reason), count in sorted(run.counts.items()):
        printing.note(f"would be {state}{f' ({reason})' if reason else ''}: {count}")
    printing.note(f"pending in the ledger already: {run.waiting}")
    printing.note("a dry run: nothing was written, nothing was sent")
    for error in run.errors:
        printing.error(error)
    return int(worst([*(error.exit_code for error in run.errors), *([stop.exit_code] if stop.requested else [])]))


@app.command()
def check(config: ConfigFile = None) -> None:
    """Try everything that a pass depends on.

    Prints ok, warn or error for the configuration, the ledger, credentials, scopes and clocks, with a remedy for
    each failure.
    """
    loaded = _load(config, secrets=True)
    from syncd.cli import check as checks
    from syncd.errors import worst

    codes = []
    for finding in checks.findings(loaded, _sources(loaded, None)):
        _print_finding(finding)
        if not finding.ok and not finding.warning:
            codes.append(finding.exit_code or Exit.UNAVAILABLE)
    raise typer.Exit(int(worst(codes)))


@app.command()
def health(
    config: ConfigFile = None,
    probe: Annotated[
        str | None, typer.Option(metavar="PROBE", help="Answer only this one: alive, ready or fresh.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report whether the daemon is alive, ready and fresh.

    Made for a container's health check and a cluster's probes. It reads only the ledger. The exit code is 0 if all is
    well, 74 if the ledger cannot be read, otherwise 69.
    """
    from syncd import clock
    from syncd.cli import health as probes
    from syncd.config import load
    from syncd.errors import worst

    if probe is not None and probe not in probes.PROBES:
        raise typer.BadParameter(f"--probe is one of {', '.join(probes.PROBES)}")
    loaded = load(config or _Given.config, secrets=False)  # no log: a probe is called for ever, and that is 60 ms of it
    found = [f for f in probes.findings(loaded, clock.now()) if probe in (None, f.what)]
    if as_json:
        printing.document(probes.document(found))
    else:
        for finding in found:
            _print_finding(finding)
    raise typer.Exit(int(worst(f.exit_code for f in found if not f.ok)))


@app.command()
def status(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the books and the last pass.

    The books hold states, verdicts, reasons and watermarks.
    """
    from syncd import clock
    from syncd.cli import render
    from syncd.ledger import chosen

    with chosen(_load(config).ledger).read() as glance:
        document = glance.status(version=__version__, now=clock.now())
    printing.document(document) if as_json else render.status(document)
    raise typer.Exit(0 if document["balanced"] else int(Exit.UNBALANCED))


@app.command(cls=_TakesIds)
def explain(
    activity: Annotated[str, typer.Argument(metavar="ID", hidden=True)],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one activity's origin, state and next step.

    ID is the externalActivityId or the CRM's id.
    """
    from syncd.cli import render
    from syncd.ledger import chosen

    with chosen(_load(config).ledger).read() as glance:
        names = glance.find(activity)
        if len(names) > 1:
            raise typer.BadParameter(f"{activity!r} names several: {', '.join(map(visible, names))}; give one of these")
        document = glance.explain(names[0])
    printing.document(document) if as_json else render.explanation(document)


@app.command(cls=_TakesIds)
def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", hidden=True)] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="All in this state.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="REASON", help="All with this reason.")] = None,
    config: ConfigFile = None,
) -> None:
    """Make activities due in the next pass.

    The next pass sends those that are pending, and looks the others up again. ID is the externalActivityId or the
    CRM's id.
    """
    from syncd import clock
    from syncd.ledger import chosen
    from syncd.lifecycle.reasons import Reason
    from syncd.lifecycle.states import State

    if not ids and state is None and reason is None:
        raise typer.BadParameter("name ids, --state or --reason, e.g. `syncd retry --state dead`")
    if state is not None and state not in set(State) - {State.DELIVERED}:
        choices = ", ".join(each.value for each in State if each is not State.DELIVERED)
        raise typer.BadParameter(f"--state is one of {choices}; what is delivered is never sent again")
    if reason is not None and reason not in set(Reason):
        raise typer.BadParameter(f"--reason is one of {', '.join(Reason)}")
    with chosen(_load(config).ledger).operate() as operator:
        count = operator.retry(ids or (), state=state, reason=reason, now=clock.now())
    printing.line(f"{count} due in the next pass" if count else NOTHING_TO_RETRY)


@documents.command()
def example() -> None:
    """Print a commented configuration with every key."""
    from syncd.config import shipped

    printing.own(shipped.read(shipped.EXAMPLE))


@documents.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from syncd.config import shipped

    printing.own(shipped.read(shipped.SCHEMA))


@app.command()
def sandbox(
    hubspot_port: Port = 0,
    salesforce_port: Port = 0,
    recotap_port: Port = 0,
    calls: Number = 300,
    emails: Number = 200,
    contacts: Number = 120,
    companies: Number = 50,
) -> None:
    """Serve stand-ins for the CRMs and Recotap.

    They listen on loopback until Ctrl-C, so that you can try syncd without an account. The command prints one line of
    JSON with their addresses and keys. The stand-in for Salesforce speaks TLS, with a CA of its own.
    """
    from syncd.sandbox import serve

    people = {"calls": calls, "emails": emails, "contacts": contacts}
    wanted = any((*people.values(), companies))
    serve(
        world={**people, "companies": companies} if wanted else None,
        salesforce_world={**people, "accounts": companies} if wanted else None,
        hubspot_port=hubspot_port, salesforce_port=salesforce_port, recotap_port=recotap_port, salesforce={},
    )  # fmt: skip


@app.command()
def demo(
    calls: Number = 1200,
    emails: Number = 800,
) -> None:
    """Make two passes against stand-ins, and show the books.

    The stand-ins take the place of both CRMs and Recotap. syncd itself is the real thing.
    """
    from syncd.cli.demo import run

    raise typer.Exit(run(calls=calls, emails=emails))


def _print_finding(finding: "Finding") -> None:
    mark = "ok   " if finding.ok else "warn " if finding.warning else "error"
    printing.line(f"{mark} {finding.what}: {finding.message}")
    if finding.hint and not finding.ok:
        printing.line(f"      → {finding.hint}")


def _load(config: Path | None, *, secrets: bool = False, verbose: bool = False, says_which: bool = False) -> "Config":
    """Read the configuration. `says_which`: first log which file it is, unless the operator named it."""
    import structlog

    from syncd import log
    from syncd.config import load, locate

    log.configure(verbose)
    named = config or _Given.config
    if says_which and named is None:
        named = locate()
        structlog.get_logger().info("config.found", file=str(named))
    return load(named, secrets=secrets)


def _sources(config: "Config", only: str | None) -> "tuple[Source, ...]":
    names = [source.name for source in config.sources]
    if only is not None and only not in names:
        raise typer.BadParameter(f"--source {only!r} is not configured; there is {', '.join(names)}")
    return tuple(source for source in config.sources if only in (None, source.name))
