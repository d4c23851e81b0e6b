"""List activities, failures and passes: `syncd list`, `failures` and `passes`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import printing
from syncd.cli.commands import completing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config, read_config, sources_of
from syncd.cli.commands.ranges import time_of

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.ledger import LedgerReader

NOTHING = "no activity matches"
NO_FAILURE = "nothing fails: every activity is delivered, excluded, or waits for its time"
NONE_YET = "no pass yet"
States = Annotated[
    list[str] | None,
    typer.Option(metavar="STATE", autocompletion=completing.states, help="In this state. May be repeated."),
]
OneReason = Annotated[
    str | None, typer.Option(metavar="REASON", autocompletion=completing.reasons, help="With this reason.")
]
OneSource = Annotated[
    str | None, typer.Option(metavar="NAME", autocompletion=completing.sources, help="Of this source.")
]
OneKind = Annotated[str | None, typer.Option(metavar="KIND", autocompletion=completing.kinds, help="call or email.")]


def list_(
    state: States = None,
    reason: OneReason = None,
    source: OneSource = None,
    kind: OneKind = None,
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="An owner's id in the CRM, or address.")] = None,
    domain: Annotated[str | None, typer.Option(metavar="DOMAIN", help="Of the account with this domain.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Happened since then, e.g. 2026-01-01.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show at most N, the last seen first.")] = 100,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for a spreadsheet.")] = False,
    config: ConfigFile = None,
) -> None:
    """List activities by state, reason, owner or account.

    Piped, each line has id, state, reason, time, owner's id, domain and link, separated by tabs. An address of an owner
    is looked up among the CRM's users, and is not kept.

    Example: syncd list --state incomplete --kind call --since 2026-01-01
    """
    if as_json and as_csv:
        raise typer.BadParameter("give either --json or --csv")
    _check(state, reason, kind)
    first = None if since is None else time_of(since, "--since")
    from syncd.ledger import Filter, chosen
    from syncd.reporting.links import add_links

    asks_crm = owner is not None and "@" in owner
    loaded = load_config(config, secrets=True) if asks_crm else read_config(config)
    with chosen(loaded.ledger).reports() as glance:
        if source not in glance.sources_with_rows():  # a removed one is listed too
            sources_of(loaded, source)
        wanted = Filter(
            states=state or None, reason=reason, source=source, kind=kind,
            owners=None if owner is None else _owners(loaded, glance, owner, source),
            domain=None if domain is None else domain.strip().lower(), since=first,
        )  # fmt: skip
        rows = glance.activities(wanted, limit=limit + 1)
        add_links(rows, loaded, glance)
    _show(rows[:limit], more=len(rows) > limit, as_json=as_json, as_csv=as_csv)


def _show(rows: Sequence[dict[str, Any]], *, more: bool, as_json: bool, as_csv: bool) -> None:
    from syncd.cli import listing

    if as_json:
        printing.document([*rows])
    elif as_csv:
        printing.own(listing.as_csv(rows))
    else:
        listing.show_activities(rows)
    if more:
        printing.note(f"cut to the {len(rows):,} last seen: --limit shows more")
    elif not rows and not as_json:
        printing.note(NOTHING)


def failures(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Group failing activities by cause, with the remedy.

    Each cause has the accounts' domains and an example. It leaves out activities that only wait for their time,
    and those that a rule excludes: `syncd list --state excluded`. A domain whose name resembles a delivered one is
    suggested for `rules.domain_aliases`.
    """
    from syncd.cli import listing, similar
    from syncd.ledger import chosen

    with chosen(read_config(config).ledger).reports() as glance:
        found = glance.failures()
        failing = [domain for each in found for domain in each.domains]
        alike = similar.similar(failing, glance.delivered_domains()) if failing else {}
    document = listing.failing_to_json(found, alike)
    if as_json:
        printing.document(document)
    elif document:
        listing.show_failing(document)
    else:
        printing.line(NO_FAILURE)


def passes(
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show at most N, the latest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the last passes, their length and exit code."""
    from syncd.cli import listing
    from syncd.ledger import chosen

    with chosen(read_config(config).ledger).reports() as glance:
        found = [each | {"duration_s": _seconds(each)} for each in glance.passes(limit)]
    if as_json:
        printing.document(found)
    elif found:
        listing.show_passes(found)
    else:
        printing.line(NONE_YET)


def _seconds(each: Mapping[str, Any]) -> float | None:
    if each["exit_code"] is None:  # the next pass closed it
        return None
    began, ended = (datetime.fromisoformat(each[key]) for key in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


def _check(states: Sequence[str] | None, reason: str | None, kind: str | None) -> None:
    """Raise BadParameter for a word that is none of syncd's."""
    from syncd.lifecycle.reasons import Reason
    from syncd.lifecycle.states import State

    for option, given, known in (
        ("--state", states or (), [*State]),
        ("--reason", () if reason is None else (reason,), [*Reason]),
        ("--kind", () if kind is None else (kind,), completing.KINDS),
    ):
        if not set(given) <= set(known):
            raise typer.BadParameter(f"expected {option} to be one of {', '.join(known)}")


def _owners(config: "Config", glance: "LedgerReader", owner: str, only: str | None) -> dict[str, Collection[str]]:
    """Return by source the CRM's ids of an owner. An id is taken as it is, of every source."""
    from syncd.cli import users

    if "@" not in owner:
        return dict.fromkeys(glance.sources_with_rows(), (owner.strip(),))
    sources = [(each, glance.store(each.name)) for each in sources_of(config, only)]
    for fresh in (False, True):  # a new colleague is not among the users that a pass has kept
        found: dict[str, Collection[str]] = {
            each.name: users.ids_of(each, owner, kept, fresh=fresh) for each, kept in sources
        }
        if any(found.values()):
            return found
    raise typer.BadParameter("--owner: no user of the CRM is known by this address. Give the user's id in the CRM")
