"""Make passes: `syncd sync` and `syncd run`."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from syncd import signals
from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, Given, LogForm, LogFormat, Verbose, is_json, load_config, sources_of
from syncd.errors import ConfigError

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.connector import Source
    from syncd.passes.report import PassResult


def sync(
    config: ConfigFile = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Sync only this source.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the activities of a pass, but write and send nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Of a dry run, print only the counts, as one JSON document.")
    ] = False,
    verbose: Verbose = False,
    log_format: LogFormat = None,
) -> None:
    """Make one pass: read changes, send due activities."""
    if as_json and not dry_run:
        raise typer.BadParameter("--json needs --dry-run")
    loaded = load_config(config, secrets=True, verbose=verbose, says_which=True, log_format=log_format)
    sources = sources_of(loaded, source)
    if dry_run:
        raise typer.Exit(_dry_run(loaded, sources, as_json=as_json))
    code = _sync(loaded, sources, verbose=verbose, form=log_format)
    raise typer.Exit(code)


def run(config: ConfigFile = None, verbose: Verbose = False, log_format: LogFormat = None) -> None:
    """Make passes on a schedule until SIGTERM.

    This is the daemon. SIGHUP makes it read its configuration again.
    """
    from syncd import daemon, log

    log.configure(verbose, as_json=is_json(log_format))
    raise typer.Exit(daemon.run(config or Given.config))


def _sync(config: "Config", sources: "Sequence[Source]", *, verbose: bool, form: LogForm | None) -> int:
    from syncd.cli import progress
    from syncd.passes import wiring

    stop = signals.StopRequest()
    with signals.handling(stop), progress.watching(verbose=verbose, as_json=is_json(form)) as observer:
        outcome = wiring.sync(config, sources=sources, command="sync", stop=stop, observer=observer)
    _say_errors(outcome)
    return int(outcome.exit_code)


def _say_errors(outcome: "PassResult") -> None:
    """Print each mistake of the configuration. The log has only their number."""
    for error in outcome.errors:
        if isinstance(error, ConfigError):
            printing.error(error)


def _dry_run(config: "Config", sources: "Sequence[Source]", *, as_json: bool) -> int:
    """List the activities on stdout, and the counts on stderr. If `as_json`, print the counts alone on stdout."""
    from syncd import clock
    from syncd.cli import dry_run
    from syncd.errors import worst
    from syncd.ledger import chosen
    from syncd.passes.dry_run import DryRun

    stop = signals.StopRequest()
    with signals.handling(stop):
        run = DryRun(sources, config.rules.to_rules(), ledger=chosen(config.ledger), stop=stop)
        with closing(run.readings()) as readings:
            for reading in readings:
                if as_json:
                    continue
                at = clock.text(reading.occurred_at) if reading.occurred_at else "?"
                printing.row(reading.external_activity_id, at, reading.wanted.value, reading.reason or "")
    counts = dry_run.to_json(run)
    printing.document(counts) if as_json else dry_run.show(counts)
    for error in run.errors:
        printing.error(error)
    return int(worst([*(error.exit_code for error in run.errors), *([stop.exit_code] if stop.requested else [])]))
