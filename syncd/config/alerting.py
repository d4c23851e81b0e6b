"""Check the addresses of [alerts]: that they look like addresses, and that Apprise is installed for them."""

import importlib.util
import re

from syncd.config.models import AlertsConfig
from syncd.config.reading import RawConfig
from syncd.types.secrets import HiddenUrl, Secret

ADDRESS = re.compile(r"[a-z][a-z0-9+._-]*://\S+", re.IGNORECASE)
INSTALL = "pip install 'syncd[alerts]'"


def check(raw: RawConfig, alerts: AlertsConfig | None) -> None:
    """Report each reference of [alerts] that holds no address, and urls if Apprise is missing. Imports nothing.

    A reference that cannot be read has a problem of its own.
    """
    if alerts is None:
        return
    if alerts.urls and importlib.util.find_spec("apprise") is None:
        raw.add_problem(("alerts", "urls"), "need the package apprise, which is not installed", INSTALL)
    for place, reference in enumerate(alerts.urls or ()):
        value = _read(reference)
        if value is not None and not ADDRESS.fullmatch(value):
            hint = "one address of Apprise, in one line, e.g. ntfys://ntfy.example.com/syncd"
            raw.add_problem(("alerts", "urls", str(place)), f"{reference.scheme}: holds no address", hint)
    if isinstance(alerts.heartbeat_url, Secret) and (value := _read(alerts.heartbeat_url)) is not None:
        try:
            HiddenUrl.parse(value)
        except ValueError as error:
            raw.add_problem(("alerts", "heartbeat_url"), f"{alerts.heartbeat_url.scheme}: {error}")


def _read(reference: Secret) -> str | None:
    try:
        return reference.read()
    except ValueError:
        return None
