"""Choose where the configuration and the ledger go, and write files there."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import typer

from syncd import files
from syncd.cli.init.document import FOR_SANDBOX
from syncd.config import reading
from syncd.config.models import LedgerConfig
from syncd.errors import ConfigError

READABLE = 0o644  # it holds no secret, and a service's user must be able to read it


def configuration(named: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to write: the one that is named, otherwise that of SYNCD_CONFIG, otherwise config/syncd.toml."""
    variable = environ.get(reading.FILE_VARIABLE)
    return named or (Path(variable) if variable else reading.SEARCHED[0])


def ledger(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """Return the ledger's default place: in the user's home, or the system's for root and for users without one."""
    state = None if is_root else in_home(environ, "XDG_STATE_HOME", ".local/state")
    return state / "syncd" / "ledger.db" if state else Path(LedgerConfig.model_fields["path"].default)


def in_home(environ: Mapping[str, str], variable: str, default: str) -> Path | None:
    """Return the folder that an XDG variable names, otherwise `default` in the user's home. None without a home."""
    named = environ.get(variable, "")
    if named.startswith("/"):  # a relative one is invalid (XDG base directory specification, 0.8)
        return Path(named)
    try:
        return Path.home() / default
    except RuntimeError:
        return None


def is_free(file: Path) -> bool:
    """Tell whether nothing is lost if `file` is written: it is missing, empty or of an earlier sandbox."""
    try:
        text = files.read(file, most=reading.MOST).strip()
        return not text or text.startswith(FOR_SANDBOX.encode())
    except OSError:
        return not os.path.lexists(file)


def require_free(file: Path, *, option: str, force: bool = False) -> None:
    """Refuse to overwrite a configuration. BadParameter names the remedy."""
    if file.is_dir():
        raise typer.BadParameter(f"{option}: {file} is a directory, name a file in it")
    if not force and not is_free(file):
        remedy = "name another file, or replace it with --force" if option == "--output" else "name another file"
        raise typer.BadParameter(f"{option}: {file} exists, {remedy}")


def write(file: Path, text: str) -> None:
    """Write the configuration. ConfigError if it cannot be written."""
    _write(file, text, READABLE)


def write_key(file: Path, key: str) -> None:
    """Write a key for syncd's user alone. ConfigError if it cannot be written."""
    _write(file, f"{key}\n", 0o600)


def is_found(file: Path, environ: Mapping[str, str]) -> bool:
    """Tell whether syncd finds `file` without -c."""
    with suppress(ConfigError, OSError):
        return reading.find(None, environ).absolute() == file.absolute()
    return False


def _write(file: Path, text: str, mode: int) -> None:
    try:
        if mode == READABLE:
            file.parent.mkdir(parents=True, exist_ok=True)
        else:
            files.make_folders(file.parent)
        files.write(file, text.encode(), mode)
    except OSError as error:
        hint = "let your user write there, or name another place: syncd init --output FILE"
        raise ConfigError(message=f"{file} cannot be written: {files.why(error)}", where=str(file), hint=hint) from None


__all__ = ["configuration", "in_home", "is_found", "is_free", "ledger", "require_free", "write", "write_key"]
