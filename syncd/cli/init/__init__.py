"""Write a first configuration, and tell its operator what to do: `syncd init`.

flags, questions ─► Answers ─► tree ─► mistakes? ─► own domains, as the CRM's users have them ─► file ─► guide
"""

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from syncd import clock
from syncd.cli import printing
from syncd.cli.init import answers as judging
from syncd.cli.init import asking, document, guide, owners, places, stand_ins
from syncd.cli.init.answers import Answers
from syncd.config import load


def begin(answers: Answers, file: Path, *, asks: bool) -> None:
    """Write the configuration and explain the rest. Without a terminal (`asks` is false), flags answer everything."""
    judging.require_valid(answers)
    if asks:
        answers = asking.completed(answers, file.absolute().parent / "keys")
    elif lacking := judging.missing(answers):
        raise typer.BadParameter(f"without a terminal nothing is asked: add {', '.join(lacking)}")
    proposed = [] if answers.own_domains else owners.propose(judging.tree(answers))
    if asks and not answers.own_domains:
        answers = asking.own_domains(answers, proposed)
    tree = judging.tree(answers)
    document.judged(tree)
    places.write(file, document.render(tree, proposed=proposed))
    load(file, secrets=False, connectors=True)
    guide.say()
    printing.line(f"Wrote {file}.")
    guide.after(answers, tree, file, named=not places.is_found(file, os.environ), explain=not asks)


def for_sandbox(file: Path, crms: Sequence[str]) -> None:
    """Write a configuration that points to the running sandbox. ConfigError if none runs."""
    judging.require_none(judging.unknown(crms))
    place = stand_ins.running(stand_ins.announced_at(os.environ))
    stand_ins.write(place, file, crms, now=clock.now())
    printing.line(f"Wrote {file} for the sandbox that runs.")
    guide.next_steps(None if places.is_found(file, os.environ) else file)


__all__ = ["Answers", "begin", "for_sandbox"]
