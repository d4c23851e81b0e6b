"""Move the ledger, or save it: `syncd ledger copy`."""

from typing import TYPE_CHECKING, Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import AsJson, ConfigFile, load_config

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.ledger import AnyLedger
    from syncd.types.secrets import Secret


def copy(  # nosec B107 # "" is the absence of a reference
    source: Annotated[str, typer.Argument(metavar="FROM", hidden=True)],
    target: Annotated[str, typer.Argument(metavar="TO", hidden=True)],
    keep: Annotated[bool, typer.Option("--keep", help="Leave FROM in use. TO is then for reading.")] = False,
    from_password: Annotated[str, typer.Option(metavar="REF", help="Password of FROM, e.g. file:PATH.")] = "",
    to_password: Annotated[str, typer.Option(metavar="REF", help="Password of TO, e.g. env:NAME.")] = "",
    from_key: Annotated[str, typer.Option(metavar="REF", help="Master key of FROM, or none.")] = "",
    to_key: Annotated[str, typer.Option(metavar="REF", help="Master key of TO, or none.")] = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the ledger to a file or to PostgreSQL.

    FROM and TO are each a path or an address such as postgresql://syncd@db.example.com/syncd. An address holds no
    password. A ledger in PostgreSQL needs its master key too, or none if nothing is to be encrypted. The address in
    [ledger] has the password and the key from there. Stop syncd first, because both ledgers are held. TO must not hold
    a ledger with rows.

    Every row is copied and compared. Then FROM refuses its use and names TO. If the command is stopped or killed before
    that, FROM is as it was, and the same command begins again. The way back is the same command from TO to FROM.

    With --keep, FROM stays in use, and syncd may run meanwhile. TO is a backup or an export, and no pass uses it: two
    ledgers in use would read everything twice, and each would count the other's deliveries as foreign duplicates. To
    use it, copy it to a new place without --keep.
    """
    from time import monotonic

    from syncd import clock
    from syncd.cli import copying as screen
    from syncd.ledger import copying

    loaded = load_config(config)
    here = _ledger(loaded, "FROM", source, password=from_password, key=from_key)
    there = _ledger(loaded, "TO", target, password=to_password, key=to_key)
    if here == there:
        raise typer.BadParameter("FROM and TO are the same ledger")
    began = monotonic()
    with screen.watching() as progress:
        copied = copying.copy(here, there, keep=keep, now=clock.now(), progress=progress)
    outcome = screen.Outcome(str(here), str(there), copied, keep, monotonic() - began)
    printing.document(screen.to_json(outcome)) if as_json else screen.show(outcome)


def _ledger(config: "Config", name: str, place: str, *, password: str, key: str) -> "AnyLedger":
    """Return the ledger that an argument names. BadParameter, which repeats nothing of it, if it names none."""
    from pydantic import ValidationError

    from syncd.config import LedgerConfig
    from syncd.ledger import chosen
    from syncd.types import postgres_url

    try:
        url = postgres_url.checked(place) if "://" in place else ""
        secrets = {"password": _reference(password), "master_key": key if key == "none" else _reference(key)}
        if url and url == config.ledger.url:
            configured = {"password": config.ledger.password, "master_key": config.ledger.master_key}
            secrets = {each: given or configured[each] for each, given in secrets.items()}
        settings = LedgerConfig.model_validate({"url": url} | secrets if url else {"path": place})
    except ValidationError:
        raise typer.BadParameter(f"{name}: expected a path or an address of PostgreSQL") from None
    except ValueError as error:
        raise typer.BadParameter(f"{name}: {error}") from None
    if not url and (password or key):
        raise typer.BadParameter(f"{name} is a file, which has no {'password' if password else 'master key'}")
    if url and settings.master_key is None:
        raise typer.BadParameter(f"{name} needs --{name.lower()}-key REF, or none to encrypt nothing there")
    if url:
        _require_psycopg()
    return chosen(settings)


def _reference(text: str) -> "Secret | None":
    from syncd.types.secrets import Secret

    return Secret.parse(text) if text else None


def _require_psycopg() -> None:
    import importlib.util

    from syncd.config.shared_ledger import INSTALL
    from syncd.errors import ConfigError

    if importlib.util.find_spec("psycopg") is None:
        message = "a ledger in PostgreSQL needs the package psycopg, which is not installed"
        raise ConfigError(message=message, hint=INSTALL)


__all__ = ["copy"]
