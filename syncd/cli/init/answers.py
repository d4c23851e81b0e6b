"""Turn answers into a configuration, and judge them. Pure, except for the keys that are read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import typer

from syncd.cli.init import document
from syncd.cli.init.document import Tree
from syncd.cli.init.services import CRMS, DOMAINS, OWN_DOMAINS, START, Question, questions
from syncd.fields import parse_time
from syncd.text import visible

A_TIME = "expected a date or a time in UTC, e.g. 2026-01-01"
NO_CRM = f"expected {' or '.join(CRMS)}. For files, or for another CRM: syncd config example"


@dataclass(frozen=True, slots=True)
class Answers:
    """The operator's answers, by flag or on a terminal."""

    now: datetime  # aware
    ledger: Path  # its default place
    crms: tuple[str, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)  # by option
    own_domains: tuple[str, ...] = ()

    def questions(self) -> tuple[Question, ...]:
        """Return all questions about the chosen CRMs."""
        return tuple(questions(self.crms, now=self.now, ledger=self.ledger))

    def adding(self, option: str, answer: str) -> "Answers":
        """Return them with one more answer."""
        return replace(self, given={**self.given, option: answer})


def missing(answers: Answers) -> list[str]:
    """Return the options that must be given if no question can be asked."""
    needed = [each.option for each in answers.questions() if each.is_needed and each.option not in answers.given]
    return needed if answers.crms else ["--crm", *needed]


def require_valid(answers: Answers) -> None:
    """Raise BadParameter if an answer is invalid. It names all that are."""
    require_none(mistakes(answers))


def require_none(mistakes: Iterable[tuple[str, str]]) -> None:
    """Raise BadParameter if there are mistakes. It names each with its option."""
    if found := [f"{option}: {text}" for option, text in mistakes]:
        raise typer.BadParameter("\n".join(found))


def tree(answers: Answers) -> Tree:
    """Return the configuration. A question without an answer has its default."""
    found: Tree = {"recotap": {}, "ledger": {}, "rules": {}, "sources": {}}
    for name in answers.crms:
        document.put(found, ("sources", name, "connector"), name)
    for each in answers.questions():
        answer = answers.given.get(each.option, each.default)
        if each.option != START:
            document.put(found, each.key, answer)
            continue
        for name in answers.crms:
            document.put(found, ("sources", name, "start"), parse_time(answer) or answer)
    document.put(found, OWN_DOMAINS, list(answers.own_domains))
    return found


def mistakes(answers: Answers) -> Iterator[tuple[str, str]]:
    """Yield the option and the mistake of each invalid answer."""
    if any(name not in CRMS for name in answers.crms):
        yield from unknown(answers.crms)
        return
    asked = {each.option for each in answers.questions()}
    if answers.crms and (idle := [option for option in answers.given if option not in asked]):
        yield from ((option, f"needs --crm {option[2:].partition('-')[0]}") for option in idle)
        return
    start = answers.given.get(START)
    if start is not None and parse_time(start) is None:
        yield START, A_TIME
        return
    for path, text in _found(answers):
        each = next((each for each in answers.questions() if path == ".".join(each.key)), None)
        if path.startswith(".".join(OWN_DOMAINS)):
            yield DOMAINS, text
        elif each is not None and not (each.option not in answers.given and each.is_needed):
            yield each.option, text


def unknown(crms: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the mistake of each name that is no CRM."""
    yield from (("--crm", f"{visible(name)}: {NO_CRM}") for name in crms if name not in CRMS)


def domains(written: str) -> tuple[str, ...]:
    """Return the domains of a list, separated by commas or spaces."""
    return tuple(dict.fromkeys(written.lower().replace(",", " ").split()))


def chosen(written: str) -> tuple[str, ...]:
    """Return the CRMs that an answer names. "both" names all."""
    words = domains(written)
    return tuple(CRMS) if words == ("both",) else _ordered(words)


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().lower() for name in names))


def _found(answers: Answers) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of each mistake. Own domains are judged last."""
    found = document.mistakes(tree(answers))
    own = ".".join(OWN_DOMAINS)
    if not found:
        found = [each for each in document.mistakes(tree(answers), secrets=True) if each.path.startswith(own)]
    for each in found:
        yield each.path, f"{each.message}; {each.hint}" if each.hint else each.message
