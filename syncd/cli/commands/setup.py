"""Set syncd up: `syncd init`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from syncd.cli.commands.options import ConfigFile, Given
from syncd.errors import Exit

Reference = typer.Option(metavar="REFERENCE", help="Where it is kept: env:NAME, file:PATH or credential:NAME.")
Text = str | None


def init(
    crm: Annotated[list[str] | None, typer.Option(metavar="NAME", help="hubspot or salesforce. Repeat it.")] = None,
    start: Annotated[Text, typer.Option(metavar="TIME", help="Read what was created or changed since then.")] = None,
    own_domain: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN", help="Your own domain. Repeat it for several.")
    ] = None,
    hubspot_key: Annotated[Text, Reference] = None,
    salesforce_url: Annotated[Text, typer.Option(metavar="URL", help="The org's My Domain.")] = None,
    salesforce_id: Annotated[Text, Reference] = None,
    salesforce_secret: Annotated[Text, Reference] = None,
    recotap_key: Annotated[Text, Reference] = None,
    ledger: Annotated[Text, typer.Option(metavar="FILE", help="The ledger, on a local disk.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="The file to write. Default: as -c.")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Write one for the running `syncd sandbox`.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    config: ConfigFile = None,
) -> None:
    """Write a first configuration, step by step.

    Asks on a terminal for all that no option answers. Without a terminal it asks nothing, and exits with 2 if an option
    is missing. It explains which keys to create, and with which scopes. If a key is there already, it asks the CRM for
    its users and proposes your own domains. Keys are references, so the file holds no secret.
    """
    from syncd import clock
    from syncd.cli.init import asking, begin, for_sandbox, places
    from syncd.cli.init.answers import Answers, domains

    file = places.configuration(output or config or Given.config, os.environ)
    places.require_free(file, option="--output", force=force)
    flags = {
        "--start": start, "--hubspot-key": hubspot_key, "--salesforce-url": salesforce_url,
        "--salesforce-id": salesforce_id, "--salesforce-secret": salesforce_secret, "--recotap-key": recotap_key,
        "--ledger": ledger,
    }  # fmt: skip
    given = {option: answer.strip() for option, answer in flags.items() if answer is not None}
    if sandbox:
        _require_none([*given, *(["--own-domain"] if own_domain else [])])
        for_sandbox(file, _names(crm))
        return
    default = places.ledger(os.environ, is_root=os.geteuid() == 0)
    answers = Answers(clock.now(), default, _names(crm), given, domains(" ".join(own_domain or ())))
    try:
        begin(answers, file, asks=asking.on_terminal())
    except (typer.Abort, KeyboardInterrupt):
        raise typer.Exit(int(Exit.SIGINT)) from None


def _names(crm: list[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().lower() for name in crm or ()))


def _require_none(idle: list[str]) -> None:
    if idle:
        raise typer.BadParameter(f"--sandbox knows them itself: leave out {', '.join(idle)}")
