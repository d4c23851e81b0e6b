"""The program: run a command, and turn every error into an exit code and what to do about it."""

import sys

from syncd import __version__, cores
from syncd.errors import Exit, SyncdError


def main() -> None:
    """Run the command line. An error of ours ends in its exit code and a hint; a bug in 1 and a traceback."""
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        print(f"syncd {__version__}")
        return
    cores.forbid()
    try:
        from syncd.commands import app

        app()
    except SyncdError as error:
        say(error)
        raise SystemExit(int(error.exit_code)) from None
    except BrokenPipeError:
        raise SystemExit(141) from None  # `syncd status | head`
    except Exception as error:  # noqa: BLE001 - the last one who can say it
        from syncd import log
        from syncd.redaction import redact

        print(f"syncd: a bug, please report it:\n{redact(log.render(error))}", file=sys.stderr)
        raise SystemExit(int(Exit.BUG)) from None


def say(error: SyncdError) -> None:
    """Tell a person what is wrong and what to do."""
    print(f"syncd: {error.message}", file=sys.stderr)
    for problem in getattr(error, "problems", ()):
        print(f"  {problem.path}: {problem.message}", file=sys.stderr)
        if problem.hint:
            print(f"      → {problem.hint}", file=sys.stderr)
    if error.hint:
        print(f"  → {error.hint}", file=sys.stderr)
