"""Make passes: `syncd sync` and `syncd run`."""

import sys
from collections.abc import Sequence
from contextlib import closing as ends
from typing import TYPE_CHECKING, Annotated

import typer

from syncd import signals
from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import ConfigFile, Given, LogForm, LogFormat, Verbose, is_json, load_config, sources_of
from syncd.errors import ConfigError

MOST = 100_000  # activities of `sync --limit`

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.connector import Source
    from syncd.passes.report import PassResult


def sync(
    config: ConfigFile = None,
    ids: Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=completing.sources, help="Sync only this source.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Send at most N activities, and read no further.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="ID", help="Read and send only these activities.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the first sync.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the activities of a pass, but write and send nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print only the counts, as one JSON document.")
    ] = False,
    verbose: Verbose = False,
    log_format: LogFormat = None,
) -> None:
    """Make one pass: read changes, send due activities.

    ID is the externalActivityId or the CRM's id. `--only` prints the state of each, and reads nothing else. After
    `--limit`, the next pass goes on where this one stopped.
    """
    asked = [*(only or ()), *(ids or ())]
    _refuse_misuse(as_json=as_json and not dry_run, ids=bool(ids and not only), both=bool(only), limit=limit)
    loaded = load_config(config, secrets=True, verbose=verbose, says_which=True, log_format=log_format)
    sources = sources_of(loaded, source)
    if dry_run:
        raise typer.Exit(_dry_run(loaded, sources, asked, limit, as_json=as_json))
    if not (yes or asked or limit) and not _is_confirmed(loaded, sources):
        printing.note("nothing was read, nothing was sent")
        raise typer.Exit
    code = _sync(loaded, sources, asked, limit, verbose=verbose, form=log_format)
    raise typer.Exit(code)


def _is_confirmed(config: "Config", sources: "Sequence[Source]") -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    from syncd.cli import first_sync

    return first_sync.confirm(config, sources)


def _refuse_misuse(*, as_json: bool, ids: bool, both: bool, limit: int | None) -> None:
    if as_json:
        raise typer.BadParameter("--json needs --dry-run")
    if ids:
        raise typer.BadParameter("an ID stands after --only")
    if both and limit is not None:
        raise typer.BadParameter("--only and --limit exclude each other")
    if limit is not None and not 1 <= limit <= MOST:
        raise typer.BadParameter(f"expected --limit from 1 to {MOST}")


def run(config: ConfigFile = None, verbose: Verbose = False, log_format: LogFormat = None) -> None:
    """Make passes on a schedule until SIGTERM.

    This is the daemon. SIGHUP makes it read its configuration again.
    """
    from syncd import daemon, log

    log.configure(verbose, as_json=is_json(log_format))
    raise typer.Exit(daemon.run(config or Given.config))


def _sync(
    config: "Config", sources: "Sequence[Source]", asked: list[str], limit: int | None, *, verbose: bool,
    form: LogForm | None,
) -> int:  # fmt: skip
    from time import monotonic

    from syncd import alerts
    from syncd.cli import closing, named, progress
    from syncd.errors import worst
    from syncd.ledger import chosen
    from syncd.passes import wiring
    from syncd.passes.limits import Limits
    from syncd.passes.wanted import wanted

    names = wanted(asked, sources, chosen(config.ledger)) if asked else None
    limits = Limits(only=names.ids if names else None, most=limit)
    stop, began_at = signals.StopRequest(), monotonic()
    with alerts.around(config, whole=not (asked or limit)) as watching:
        with signals.handling(stop), progress.watching(verbose=verbose, as_json=is_json(form)) as observer:
            outcome = wiring.sync(
                config, sources=sources, command="sync", stop=stop, observer=observer, limits=limits,
                begins=watching.pass_begins,
            )  # fmt: skip
        watching.pass_ended(outcome.exit_code, failed=outcome.failed, flooded=outcome.flooded)
        _say_errors(outcome)
        errors = named.show(chosen(config.ledger), names, limits, outcome) if names else []
        code = worst([outcome.exit_code, *(error.exit_code for error in errors)])
        if form is not LogForm.JSON:
            passed_s = monotonic() - began_at
            closing.say(chosen(config.ledger), outcome, passed_s, code=code, partial=limits.left_something)
    return int(code)


def _say_errors(outcome: "PassResult") -> None:
    """Print each mistake of the configuration. The log has only their number."""
    for error in outcome.errors:
        if isinstance(error, ConfigError):
            printing.error(error)


def _dry_run(
    config: "Config", sources: "Sequence[Source]", asked: list[str], limit: int | None, *, as_json: bool
) -> int:
    """List the activities on stdout, and the counts on stderr. If `as_json`, print the counts alone on stdout."""
    from syncd import clock
    from syncd.cli import dry_run
    from syncd.errors import worst
    from syncd.ledger import chosen
    from syncd.passes.dry_run import DryRun
    from syncd.passes.wanted import wanted

    stop = signals.StopRequest()
    with signals.handling(stop):
        ledger = chosen(config.ledger)
        names = wanted(asked, sources, ledger) if asked else None
        run = DryRun(sources, config.rules.to_rules(), ledger=ledger, stop=stop, ids=names.ids if names else None)
        places = set()
        with ends(run.activities()) as activities:
            for each in dry_run.up_to(limit, activities):
                reading = each.reading
                places.add((each.source, each.stream, reading.crm_id))
                if as_json:
                    continue
                at = clock.text(reading.occurred_at) if reading.occurred_at else "?"
                printing.row(reading.external_activity_id, at, reading.wanted.value, reading.reason or "")
        if names and not run.errors and not stop.requested:
            run.errors += names.errors(places)
    counts = dry_run.to_json(run)
    printing.document(counts) if as_json else dry_run.show(counts)
    for error in run.errors:
        printing.error(error)
    return int(worst([*(error.exit_code for error in run.errors), *([stop.exit_code] if stop.requested else [])]))
