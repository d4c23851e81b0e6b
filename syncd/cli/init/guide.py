"""Tell the operator which keys to create, how to give them to syncd, and what comes next."""

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from syncd.cli import printing
from syncd.cli.init import document
from syncd.cli.init.answers import Answers
from syncd.cli.init.document import Tree
from syncd.cli.init.services import OWN_DOMAINS, Question, Service, services
from syncd.types.secrets import Secret

WIDEST, UNBROKEN = 100, 10_000  # columns of a paragraph
NEXT_STEPS = (
    ("check", "try everything that a pass depends on"),
    ("scope", "see which of the CRM's rows are read"),
    ("preview", "see some activities as they would be sent"),
    ("sync --dry-run", "count the activities of a pass, send nothing"),
    ("sync --limit 5", "send five as a trial"),
    ("sync", "make one pass, and send all that is due"),
    ("status", "see what was delivered, and what waits"),
    ("run", "make passes for years: see deploy/README.md"),
)
BY_SYSTEMD = "the credential {name} of its unit: LoadCredential={name}:PATH, as deploy/README.md of the source shows"


def say(text: str = "", *, indent: str = "", hang: str | None = None) -> None:
    """Print a paragraph, wrapped if stdout is a terminal. `hang`: the indent of further lines."""
    after = indent if hang is None else hang
    lines = wrap(
        text, _columns(), initial_indent=indent, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    )
    for line in lines or [""]:
        printing.line(line)


def _columns() -> int:
    """Return the width of a paragraph. If stdout is no terminal, each is one line."""
    return min(shutil.get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else UNBROKEN


def steps(service: Service) -> None:
    """Print how to create a service's keys."""
    say()
    say(service.title)
    for number, step in enumerate(service.steps, 1):
        say(step, indent=f"  {number}. ", hang="     ")


def after(answers: Answers, tree: Tree, file: Path, *, named: bool, explain: bool) -> None:
    """Print all that remains to be done. `named`: the commands need -c. `explain`: tell how to create the keys too."""
    wanted = [each for each in answers.questions() if each.is_secret and not _is_there(tree, each)]
    if explain:
        for service in services(answers.crms):
            if set(service.questions) & set(wanted):
                steps(service)
    if wanted:
        say()
        say("Give syncd the keys. Run each command, paste the key and press Enter. For a file, press Ctrl-D then.")
        for each in wanted:
            say(f"{each.text}:", indent="  ")
            printing.line(f"    {_how(document.get(tree, each.key))}")
    if not document.get(tree, OWN_DOMAINS):
        say()
        say(f"Set rules.own_domains in {file}. Until then a pass exits with 78. `syncd check` proposes domains.")
    next_steps(file if named else None)


def next_steps(file: Path | None) -> None:
    """Print the commands that come next. `file`: the configuration, if syncd does not find it by itself."""
    say()
    say("Next:")
    lines = list(commands(file))
    width = max(len(line) for line, _ in lines)
    is_narrow = any(2 + width + 2 + len(gloss) > _columns() for _, gloss in lines)
    for line, gloss in lines:
        if is_narrow:
            printing.line(f"  {line}")
            say(gloss, indent="      ")
        else:
            printing.line(f"  {line:<{width}}  {gloss}")


def commands(file: Path | None) -> Iterator[tuple[str, str]]:
    """Yield each command that comes next, and what it is for."""
    for line, gloss in NEXT_STEPS:
        yield command(line, file), gloss


def command(line: str, file: Path | None) -> str:
    """Return a command to type. `file`: the configuration, if syncd does not find it by itself."""
    return f"syncd {line}" if file is None else f"syncd -c {shlex.quote(str(file))} {line}"


def _is_there(tree: Tree, question: Question) -> bool:
    try:
        Secret.parse(document.get(tree, question.key)).read()
    except ValueError:
        return False
    return True


def _how(reference: str) -> str:
    secret = Secret.parse(reference)
    match secret.scheme:
        case "env":
            return f"read -rs {secret.name} && export {secret.name}"
        case "file":
            name = shlex.quote(secret.name)
            return f"install -m 600 /dev/null {name} && cat > {name}"
        case _:
            return BY_SYSTEMD.format(name=secret.name)


__all__ = ["NEXT_STEPS", "after", "command", "commands", "next_steps", "say", "steps"]
