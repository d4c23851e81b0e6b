"""Run a command, and turn every error into an exit code and a hint."""

import gc
import os
import sys

from syncd import __version__
from syncd.cli import cores, printing, streams
from syncd.errors import Exit, SyncdError


def main() -> None:
    """Run the command line. A SyncdError exits with its code and a hint, a bug with 1 and a traceback."""
    streams.prepare()
    gc.disable()  # collecting among the classes of a dozen libraries takes a tenth of a short command's time
    try:
        _run()
    finally:
        _collect_again()
        streams.finish()


def _collect_again() -> None:
    """Enable the garbage collector. After a short command, spare it all that exists, which ends with the process.

    Otherwise it visits the classes of all libraries at once, and again as Python ends: a fifth of the command's time.
    """
    if not gc.isenabled():
        gc.freeze()
    gc.enable()


def _run() -> None:
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        printing.line(f"syncd {__version__}")
        return
    cores.forbid()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # pydantic would search each installed package for one
    try:
        from syncd.cli.commands import app

        app(prog_name="syncd")
    except KeyboardInterrupt:  # while the command is imported: afterwards, Typer answers it
        raise SystemExit(int(Exit.SIGINT)) from None
    except SyncdError as error:
        printing.error(error)
        raise SystemExit(int(error.exit_code)) from None
    except Exception as error:  # noqa: BLE001 - the last place to report it
        from syncd import log
        from syncd.privacy.redaction import redact

        printing.block(f"syncd: a bug, please report it:\n{redact(log.render(error))}")
        raise SystemExit(int(Exit.BUG)) from None
