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
    name = _name(domain)
    matcher = SequenceMatcher(b=name, autojunk=False)
    best, found = LIKE, None
    for each in candidates:
        likeness = _likeness(matcher, name, _name(each), best)
        if likeness >= best and (found is None or likeness > best):
            best, found = likeness, each
    return found


def _likeness(matcher: "SequenceMatcher[str]", name: str, other: str, least: float) -> float:
    """Return how much two names resemble each other, from 0 to 1. 0 if it is surely less than `least`.

    A name that begins another one resembles it, and the more, the less is added.
    """
    shorter, longer = sorted((name, other), key=len)
    if len(shorter) >= START and longer.startswith(shorter):
        return LIKE + (1 - LIKE) * len(shorter) / len(longer)
    matcher.set_seq1(other)
    if matcher.real_quick_ratio() < least or matcher.quick_ratio() < least:
        return 0.0
    return matcher.ratio()


def _name(domain: str) -> str:
    return domain.split(".", 1)[0]


__all__ = ["similar"]
