"""Try the addresses of [alerts]: `syncd alerts test`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, load_config, print_finding
from syncd.errors import ConfigError, Exit, Problem

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.connector import Finding

ADDRESS_HINT = "is the address right, and does this machine reach it? Apprise's wiki lists the form of each service"


def try_addresses(config: ConfigFile = None) -> None:
    """Send a test message to every address, and a heartbeat.

    Prints for each whether it worked. The heartbeat reports a start, because only a pass may report success. The exit
    code is 69 if any failed, and 78 if none is configured.
    """
    loaded = load_config(config, secrets=True)
    if not loaded.alerts.is_set:
        hint = 'e.g. urls = ["env:SLACK_ALERTS"], or heartbeat_url = "env:HEARTBEAT_URL"'
        raise ConfigError([Problem("alerts", "names no address, and no heartbeat_url", hint)], where=str(loaded.path))
    works = True
    for finding in _findings(loaded):
        print_finding(finding)
        works = works and finding.ok
    if not works:
        printing.note("syncd: not all of them work")
        raise typer.Exit(int(Exit.UNAVAILABLE))


def _findings(config: "Config") -> Iterator["Finding"]:
    """Yield for each address, then for the heartbeat, whether it worked."""
    if config.alerts.urls:
        from syncd.alerts.addresses import addresses
        from syncd.alerts.state import Message

        body = "This is a test of syncd's alerts. There is nothing to do."
        for each in addresses(config.alerts.urls):
            failure = each.send(Message("syncd: test", body, False, (each.digest,)))
            yield _finding(each.key, failure, ADDRESS_HINT)
    if config.alerts.heartbeat_url is not None:
        from syncd.alerts import heartbeat

        failure = heartbeat.ping(config.alerts.heartbeat_url, heartbeat.START)
        yield _finding(heartbeat.KEY, failure, "is the address right, and does this machine reach it?")


def _finding(key: str, failure: str, hint: str) -> "Finding":
    from syncd.connector import Finding

    if failure:
        return Finding(key, False, failure, hint, exit_code=Exit.UNAVAILABLE)
    return Finding(key, True, "it took the test")
