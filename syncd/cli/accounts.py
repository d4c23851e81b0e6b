"""Ask Recotap which of the ledger's domains it holds as accounts: `syncd accounts`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import Any

from syncd import clock
from syncd.cli import printing
from syncd.cli.asking import TURN_S
from syncd.cli.similar import similar
from syncd.config import Config
from syncd.errors import SyncdError, Unavailable
from syncd.ledger import RECOTAP, chosen
from syncd.passes import wiring
from syncd.passes.pausing import pause_hint, pausing
from syncd.recotap.sender import MOST_DOMAINS, Sender

MOST_LENGTH = 4000  # characters of the domains in one request: many servers refuse an address of 8 KiB
QUOTED = 9  # characters around a domain in an address: %22acme.com%22%2C
MOST_SHOWN = 3  # pairs in the remedy
NONE_YET = "the ledger holds no domain yet: the first pass brings them"
REMEDY = (
    "  → create the account in Recotap, or map the domain for what is sent later:",
    "    [rules]",
)
TOML = " " * 4  # before lines to copy into the configuration, which are not folded
EXAMPLE = {"in-the-crm.com": "in-recotap.com"}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A domain of which Recotap has no account."""

    domain: str
    activities: int  # delivered or held
    similar: Sequence[str]  # accounts that may be meant


@dataclass(frozen=True, slots=True)
class Answer:
    """Which of the ledger's domains Recotap knows."""

    asked: int
    unknown: Sequence[Unknown]  # most activities first
    without_domain: int  # activities that an older syncd delivered

    def to_json(self) -> dict[str, Any]:
        """Return the document of `syncd accounts --json`."""
        unknown = [
            {"domain": each.domain, "activities": each.activities, "similar": [*each.similar]} for each in self.unknown
        ]
        known = self.asked - len(self.unknown)
        return {"asked": self.asked, "known": known, "unknown": unknown, "without_domain": self.without_domain}


def answer(config: Config) -> Answer:
    """Ask Recotap for the accounts of the ledger's domains, one request after another. It changes nothing.

    SyncdError if Recotap cannot be asked, pauses, or is not the one that the ledger delivers to.
    """
    with chosen(config.ledger).reports() as glance, wiring.sender(config) as to:
        counts = dict(glance.domains_in_use())
        without_domain = counts.pop(None, 0)
        pause = glance.pause(RECOTAP, clock.now())
        refusal = None if pause else wiring.review(config, glance, to).refusal
        if pause is not None:
            raise pausing("Recotap", *pause, hint=pause_hint("recotap"))
        if refusal is not None:
            error = SyncdError(refusal.message, hint=refusal.hint)
            error.exit_code = refusal.exit_code
            raise error
        domains = [domain for domain in counts if domain is not None]
        known: set[str] = set()
        for part in parts(domains):
            known |= to.accounts(part, turn_s=TURN_S, sleep=sleep)
        strange = [domain for domain in domains if domain not in known]
        alike = similar(strange, known | _others(to)) if strange else {}
    unknown = [Unknown(each, counts[each], [alike[each]] if each in alike else []) for each in strange]
    return Answer(len(domains), unknown, without_domain)


def parts(domains: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list into the parts of single requests: at most MOST_DOMAINS, and MOST_LENGTH characters. Pure."""
    part: list[str] = []
    length = 0
    for domain in domains:
        if part and (len(part) == MOST_DOMAINS or length + len(domain) + QUOTED > MOST_LENGTH):
            yield part
            part, length = [], 0
        part.append(domain)
        length += len(domain) + QUOTED
    if part:
        yield part


def _others(to: Sender) -> set[str]:
    """Return the domains of further accounts, which may be meant by an unknown one. Without them less is suggested."""
    found: set[str] = set()
    with suppress(Unavailable):
        for page in to.all_accounts(turn_s=TURN_S, sleep=sleep):
            found |= page
    return found


def show(found: Answer) -> None:
    """Print a line for each unknown domain on stdout, and the sums and the remedy on stderr.

    A terminal gets columns. Anything else gets the domain, its activities and a suggestion, separated by tabs.
    """
    for each in found.unknown:
        other = ", ".join(each.similar)
        if sys.stdout.isatty():
            printing.line(f"{each.activities:>9,}  {each.domain}{f'  is it {other}?' if other else ''}")
        else:
            printing.row(each.domain, str(each.activities), other)
    for line in summary(found):
        (printing.block if line.startswith(TOML) else printing.note)(line)


def summary(found: Answer) -> Iterator[str]:
    """Yield the lines of the sums and of the remedy. Pure."""
    if not found.asked:
        yield NONE_YET
        return
    yield f"domains of delivered or waiting activities: {found.asked:,}"
    activities = sum(each.activities for each in found.unknown)
    yield f"of these without an account in Recotap: {len(found.unknown):,}, with {activities:,} activities"
    if found.without_domain:
        yield f"activities of an older syncd, whose domain is not in the ledger: {found.without_domain:,}"
    if found.unknown:
        alike = {each.domain: other for each in found.unknown for other in each.similar[:1]}
        pairs = ", ".join(f'"{domain}" = "{other}"' for domain, other in [*(alike or EXAMPLE).items()][:MOST_SHOWN])
        yield from (*REMEDY, f"{TOML}domain_aliases = {{ {pairs} }}")


__all__ = ["Answer", "Unknown", "answer", "parts", "show", "summary"]
