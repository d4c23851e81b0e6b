"""Write a configuration for a running sandbox: `syncd init --sandbox` and `syncd sandbox --write-config`.

A running `syncd sandbox` keeps its addresses and keys in a file of its user, so that `init` finds it. The ledger has
the sandbox's process number in its name, because each sandbox is another Recotap with other CRMs.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from syncd import clock, files
from syncd.cli import printing
from syncd.cli.init import document, guide, owners, places
from syncd.cli.init.document import FOR_SANDBOX, Tree
from syncd.cli.init.services import CRMS, OWN_DOMAINS, Key
from syncd.errors import ConfigError

Place = Mapping[str, Any]  # addresses and keys, as `syncd sandbox` prints them, and its process number as `pid`

HISTORY = timedelta(days=365)  # the sandbox's records are younger
MOST = 64 * 1024  # bytes of an announcement
NOWHERE = Path(os.devnull)  # in place of the home of a user without one: nothing can be written below it
REACHED_WITHIN_S = 2.0
START_ONE = "run `syncd sandbox` in another terminal, and then this command again"
KEYS: Mapping[Key, str] = {  # by key of the configuration: its name in a place. Keys are put into files
    ("recotap", "api_key"): "recotap_key",
    ("sources", "hubspot", "access_token"): "hubspot_token",
    ("sources", "salesforce", "client_id"): "salesforce_client_id",
    ("sources", "salesforce", "client_secret"): "salesforce_client_secret",
}
ADDRESSES: Mapping[Key, str] = {
    ("recotap", "base_url"): "recotap_url",
    ("sources", "hubspot", "base_url"): "hubspot_url",
    ("sources", "salesforce", "login_url"): "salesforce_url",
    ("sources", "salesforce", "ca_file"): "salesforce_ca",
}


def announced_at(environ: Mapping[str, str]) -> Path:
    """Return the file in which this user's sandbox announces itself."""
    variable = "XDG_RUNTIME_DIR" if environ.get("XDG_RUNTIME_DIR") else "XDG_CACHE_HOME"
    return (places.in_home(environ, variable, ".cache") or NOWHERE) / "syncd" / "sandbox.json"


@contextmanager
def announcing(config: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Return a function that announces this process's sandbox. The announcement ends with the context.

    If `config` names a file, the function also writes a configuration there. BadParameter if that file is another's.
    """
    if config is not None:
        places.require_free(config, option="--write-config")
    number, file = os.getpid(), announced_at(os.environ)

    def announce(ready: dict[str, Any]) -> None:
        place = {**ready, "pid": number}
        with suppress(OSError):  # only `init --sandbox` needs it
            files.make_folders(file.parent)
            files.write(file, json.dumps(place).encode())
        if config is not None:
            write(place, config, (), now=clock.now())
            printing.note(f"Wrote {config}.")
        next_one = "syncd init --sandbox" if config is None else guide.command("check", config)
        printing.note(f"Serving until Ctrl-C. In another terminal: {next_one}")

    try:
        yield announce
    finally:
        if _read(file).get("pid") == number:  # otherwise another sandbox has replaced it
            file.unlink(missing_ok=True)


def running(file: Path) -> Place:
    """Return the sandbox that `file` announces. ConfigError if none runs."""
    place = _read(file)
    try:
        address = urlsplit(place["recotap_url"])
        with socket.create_connection((address.hostname, address.port), REACHED_WITHIN_S):
            return place
    except (KeyError, OSError):
        raise ConfigError(message="no sandbox runs on this machine", where=str(file), hint=START_ONE) from None


def write(place: Place, file: Path, crms: Sequence[str], *, now: datetime) -> None:
    """Write the configuration of a sandbox. Its keys and its ledger go into the folder `sandbox` beside it."""
    folder = file.absolute().parent / "sandbox"
    found = tree(place, folder, crms or tuple(CRMS), now=now)
    for key, name in KEYS.items():
        if document.get(found, key):
            places.write_key(folder / name, place[name])
    document.put(found, OWN_DOMAINS, owners.propose(found))
    places.write(file, document.render(found, first=FOR_SANDBOX))


def tree(place: Place, folder: Path, crms: Sequence[str], *, now: datetime) -> Tree:
    """Return the configuration of a sandbox. Pure."""
    found: Tree = {"recotap": {}, "ledger": {"path": str(folder / f"ledger-{place['pid']}.db")}, "rules": {}}
    for crm in crms:
        document.put(found, ("sources", crm), {"connector": crm})
    for key, name in ADDRESSES.items():
        if _is_wanted(found, key):
            document.put(found, key, place[name])
    for key, name in KEYS.items():
        if _is_wanted(found, key):
            document.put(found, key, f"file:{folder / name}")
    for crm in crms:
        document.put(found, ("sources", crm, "start"), (now - HISTORY).replace(microsecond=0))
    return found


def _is_wanted(found: Tree, key: Key) -> bool:
    return document.get(found, key[:-1]) is not None


def _read(file: Path) -> Place:
    with suppress(OSError, ValueError, RecursionError):  # `running` reports that there is none
        found = json.loads(files.read(file, most=MOST, owners=files.trusted()))
        if isinstance(found, dict):
            return found
    return {}
