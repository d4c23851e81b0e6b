"""Ask the questions on a terminal: on stderr, so that stdout holds only the explanations."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from syncd.cli import printing
from syncd.cli.init import answers as judging
from syncd.cli.init import guide, places
from syncd.cli.init.answers import Answers
from syncd.cli.init.services import DOMAINS, PASTE, Question, services

WHICH = "Which CRMs: hubspot, salesforce or both"
KEYS = (
    "A key is a reference: env:NAME (a variable), file:PATH (a file that only you can read) or credential:NAME "
    f"(systemd). Answer {PASTE!r} to paste the key itself: syncd puts it into a file beside the configuration."
)


def on_terminal() -> bool:
    """Tell whether questions can be asked and answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def completed(answers: Answers, keys: Path) -> Answers:
    """Ask for all that no option answers, except own domains. `keys`: the folder of pasted keys."""
    if not answers.crms:
        answers = replace(answers, crms=judging.chosen(_asked(WHICH, "hubspot", _wrong_crm(answers))))
        judging.require_valid(answers)
    guide.say(KEYS)
    for service in services(answers.crms):
        if any(each.option not in answers.given for each in service.questions):
            guide.steps(service)
        for each in service.questions:
            answers = _answered(answers, each, keys)
    guide.say()
    for each in answers.questions():
        answers = _answered(answers, each, keys)
    return answers


def own_domains(answers: Answers, proposed: Sequence[str]) -> Answers:
    """Ask for our own domains, with those that the CRM's users share as the proposal."""
    guide.say()
    if proposed:
        guide.say("Two or more of the CRM's users share these domains. Press Enter if all of them are yours.")
    else:
        guide.say("Your own domains, separated by commas. Press Enter to set them later, as `syncd check` proposes.")

    def wrong(written: str) -> str:
        return _mistake(replace(answers, own_domains=judging.domains(written)), DOMAINS)

    return replace(answers, own_domains=judging.domains(_asked("Own domains", ", ".join(proposed), wrong)))


def _answered(answers: Answers, question: Question, keys: Path) -> Answers:
    """Return the answers with one to `question`, asked for unless an option gave it."""
    if question.option in answers.given:
        return answers

    def wrong(written: str) -> str:
        if question.is_secret and written == PASTE:
            return ""
        return _mistake(answers.adding(question.option, written), question.option)

    written = _asked(question.text, question.default, wrong)
    if question.is_secret and written == PASTE:
        written = _pasted(question, keys)
    return answers.adding(question.option, written)


def _asked(text: str, default: str, wrong: Callable[[str], str]) -> str:
    """Ask until the answer is valid. `wrong` returns its mistake, or ""."""
    while True:
        written = str(typer.prompt(text, default=default, show_default=bool(default), err=True)).strip()
        mistake = wrong(written)
        if not mistake:
            return written
        printing.note(f"  {mistake}")


def _pasted(question: Question, keys: Path) -> str:
    """Ask for a key without showing it, and put it into a private file. Return the reference to it."""
    file = keys / "-".join(question.key[-2:])
    if file.exists():
        typer.confirm(f"{file} exists. Replace it?", abort=True, err=True)
    places.write_key(file, str(typer.prompt("Paste it, it is not shown", hide_input=True, err=True)).strip())
    return f"file:{file}"


def _mistake(answers: Answers, option: str) -> str:
    return next((text for found, text in judging.mistakes(answers) if found == option), "")


def _wrong_crm(answers: Answers) -> Callable[[str], str]:
    def wrong(written: str) -> str:
        return _mistake(replace(answers, crms=judging.chosen(written)), "--crm") if written else judging.NO_CRM

    return wrong
