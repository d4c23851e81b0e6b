"""Find out where the CRM's records are that an operator names by id. Writes nothing."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from syncd import text
from syncd.connector import Source
from syncd.errors import NoSuchActivity, Unavailable
from syncd.ledger import AnyLedger, Reports
from syncd.passes.limits import Ids

Place = tuple[str, str, str]  # source, stream, crm_id
HINT = (
    "give the externalActivityId or the CRM's id. A draft or an open task is no activity, and a stream with "
    "`read = false` is not asked"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The records that an operator names."""

    places: dict[str, list[Place]]  # by the id as given: every place where the record may be
    delivered: frozenset[Place]  # those that the ledger holds as delivered

    @property
    def ids(self) -> Ids:
        """The crm_ids to look up, by source and stream."""
        found: dict[str, dict[str, list[str]]] = {}
        for source, stream, crm_id in (place for places in self.places.values() for place in places):
            ids = found.setdefault(source, {}).setdefault(stream, [])
            if crm_id not in ids:
                ids.append(crm_id)
        return found

    def lacking(self, found: Collection[Place]) -> list[str]:
        """Return the ids, as given, whose record is at none of its places."""
        return [
            asked
            for asked, places in self.places.items()
            if not any(_is_at(place, each) for place in places for each in found)
        ]

    def errors(self, found: Collection[Place]) -> list[NoSuchActivity]:
        """Return an error for each id whose record is at none of its places."""
        return [*map(nothing_at, self.lacking(found))]


def wanted(asked: Sequence[str], sources: Sequence[Source], ledger: AnyLedger) -> Wanted:
    """Return where the records of `asked` may be: where the ledger holds them, otherwise wherever their ids fit."""
    names = {source.name for source in sources}
    places: dict[str, list[Place]] = {}
    delivered: set[Place] = set()
    with ledger.reports() if ledger.exists() else nullcontext() as glance:
        for each in dict.fromkeys(asked):
            held = [place for place in _held(glance, each) if place[0] in names] if glance else []
            places[each] = held or fitting(each, sources)
            delivered |= {place for place in held if glance and _is_delivered(glance, place)}
    return Wanted(places, frozenset(delivered))


def fitting(asked: str, sources: Sequence[Source]) -> list[Place]:
    """Return every place that fits an id.

    An externalActivityId fits the streams of its kind. Any other id may be a CRM's, so it fits every stream.
    """
    named, others = [], []
    for source in sources:
        for stream in source.streams:
            template = source.config.external_id
            crm_id = text.unfill(template, asked, source=source.name, kind=stream.kind)
            if crm_id not in (None, asked):
                named.append((source.name, stream.name, str(crm_id)))
            others.append((source.name, stream.name, asked))
    return named or others


def nothing_at(asked: str) -> NoSuchActivity:
    """Return the error for an id that no source knows."""
    return NoSuchActivity(f"no source has an activity {asked!r}", hint=HINT)


def unserved(source: str, crm_id: str, why: str) -> Unavailable:
    """Return the error for a record that its CRM does not serve."""
    hint = "open the record in the CRM. If that fails too, ask the CRM's support"
    return Unavailable(f"{source} does not serve record {crm_id}: {why}", hint=hint)


def _held(glance: Reports, asked: str) -> list[Place]:
    try:
        return [*glance.owners_of(glance.find(asked)).values()]
    except NoSuchActivity:
        return []


def _is_delivered(glance: Reports, place: Place) -> bool:
    source, stream, crm_id = place
    return any(delivered for _, delivered in glance.known(source, stream, [crm_id]).values())


def _is_at(place: Place, found: Place) -> bool:
    """Tell whether a found record is the one of a place. A CRM may know it by its short id too."""
    crm_id = found[2][: text.SHORT_ID] if len(place[2]) == text.SHORT_ID else found[2]
    return place == (found[0], found[1], crm_id)


__all__ = ["Place", "Wanted", "fitting", "nothing_at", "unserved", "wanted"]
