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
    strange = [each for each in domains if each not in known][:MOST]
    pairs = ((each, _closest(each, by_letter.get(each[:1], []))) for each in strange)
    return {each: found for each, found in pairs if found}


def _closest(domain: str, candidates: list[str]) -> str | None:
    """Return the candidate that resembles `domain` most, the first of several. The likely ones are compared first."""
    name = _name(domain)
    letters, matcher = str.maketrans("", "", name), SequenceMatcher(b=name, autojunk=False)
    others = [_name(each) for each in candidates]
    bounds = [_most(name, other, letters) for other in others]
    best, found = LIKE, len(candidates)
    for place in sorted((at for at, bound in enumerate(bounds) if bound >= LIKE), key=lambda at: -bounds[at]):
        if bounds[place] < best:
            break
        likeness = _likeness(matcher, name, others[place], best)
        if likeness > best or (likeness == best and place < found):
            best, found = likeness, place
    return candidates[found] if found < len(candidates) else None


def _most(name: str, other: str, letters: "dict[int, int | None]") -> float:
    """Return a bound of the likeness: difflib's if all letters that both have matched.

    `letters` deletes those of `name` from a text. This takes a tenth of difflib's own bound. Thousands of delivered
    domains may begin with one letter.
    """
    if name.startswith(other) or other.startswith(name):
        return 1.0
    shared = len(other) - len(other.translate(letters))
    return 2 * min(shared, len(name)) / (len(name) + len(other))


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
