"""Collect a report for the maintainers: `syncd support-bundle`."""

from pathlib import Path
from typing import Annotated

import typer

from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, Given


def support_bundle(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: a new file in this directory.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Collect a report for the maintainers.

    The ZIP archive has versions, the configuration without secrets, counts, the last passes, and the ledger's schema
    and query plans. It has no call and no email, no name, address, subject or key. Nothing is sent anywhere.
    """
    from syncd import clock, files
    from syncd.cli import support

    now = clock.now()
    path = (output or Path(support.default_name(now))).absolute()
    if path.exists():
        raise typer.BadParameter(f"{path} exists: give another --output")
    content, failed = support.archive(support.parts(config or Given.config, now), now)
    try:
        files.write(path, content)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {files.why(error)}. Give another --output") from None
    for why in dict.fromkeys(failed.values()):
        names = ", ".join(name for name in failed if failed[name] == why)
        printing.note(f"without {names}: {why}")
    printing.line(str(path))
    printing.note("Look through it before you send it. Its README.txt names the contents")
