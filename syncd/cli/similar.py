"""Suggest which domains may be names of the same account, for `rules.domain_aliases`. Pure."""

from collections.abc import Iterable
from difflib import SequenceMatcher

LIKE = 0.8  # of 1, by difflib: one or two letters of a name differ
START = 4  # letters of a name that begins another one
MOST = 10  # domains to compare: each takes milliseconds if thousands were delivered


def similar(domains: Iterable[str], delivered: Iterable[str]) -> dict[str, str]:
    """Return the delivered domain that resembles each of the first 10 of `domains`, if there is one.

    Names are compared up to their first dot. Only names with the same first letter are compared.
    """
    by_letter: dict[str, list[str]] = {}
    known = set(delivered)
    for each in sorted(known):
        by_letter.setdefault(each[:1], []).append(each)
    names = {letter: [*map(_name, alike)] for letter, alike in by_letter.items()}
    strange = [each for each in domains if each not in known][:MOST]
    pairs = ((each, _closest(each, by_letter.get(each[:1], []), names.get(each[:1], []))) for each in strange)
    return {each: found for each, found in pairs if found}


def _closest(domain: str, candidates: list[str], names: list[str]) -> str | None:
    """Return the candidate that resembles `domain` most, the first of several. The likely ones are compared first."""
    name = _name(domain)
    matcher, bounds = SequenceMatcher(b=name, autojunk=False), _bounds(name, names)
    best, found = LIKE, len(candidates)
    for place in sorted((at for at, bound in enumerate(bounds) if bound >= LIKE), key=lambda at: -bounds[at]):
        if bounds[place] < best:
            break
        likeness = _likeness(matcher, name, names[place], best)
        if likeness > best or (likeness == best and place < found):
            best, found = likeness, place
    return candidates[found] if found < len(candidates) else None


def _bounds(name: str, others: list[str]) -> list[float]:
    """Return the most by which each other name can resemble `name`: difflib's measure if all shared letters matched.

    It takes a tenth of difflib's own bound. Thousands of delivered domains may begin with one letter.
    """
    letters, length = str.maketrans("", "", name), len(name)
    return [
        1.0 if other.startswith(name) or name.startswith(other)
        else 2 * min(len(other) - len(other.translate(letters)), length) / (length + len(other))
        for other in others
    ]  # fmt: skip


def _likeness(matcher: "SequenceMatcher[str]", name: str, other: str, least: float) -> float:
    """Return how much two names resemble each other, from 0 to 1. 0 if it is surely less than `least`.

    A name that begins another one resembles it, and the more, the less is added.
    """
    shorter, longer = sorted((name, other), key=len)
    if len(shorter) >= START and longer.startswith(shorter):
        return LIKE + (1 - LIKE) * len(shorter) / len(longer)
    matcher.set_seq1(other)
    return 0.0 if matcher.quick_ratio() < least else matcher.ratio()


def _name(domain: str) -> str:
    return domain.split(".", 1)[0]


__all__ = ["similar"]
