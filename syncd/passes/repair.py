"""Book what `syncd verify` found missing, by passes that read and send only these records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from syncd import clock
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import Exit, SyncdError
from syncd.ledger import AnyLedger
from syncd.passes import wiring
from syncd.passes.limits import Ids, Limits
from syncd.passes.report import Observer
from syncd.passes.verify import Compared, streams_of
from syncd.signals import StopRequest

AT_ONCE = 5000  # ids of one pass, which remembers the rows of all of them

Booked = Mapping[tuple[str, str], Sequence[str]]  # by source and stream: crm_ids


@dataclass(frozen=True, slots=True)
class Repaired:
    """The end of a repair."""

    found: Sequence[Compared]  # each stream with what stays missing
    booked: Booked  # what was missing and has a row now
    errors: Sequence[SyncdError] = ()
    exit_codes: Sequence[Exit] = ()  # see `errors.worst`
    rebalanced: bool = False  # rows had been deleted from the ledger, and its books balance again
    uncounted: int = (
        0  # deleted rows that are not counted any more: the CRM lacks them too, or a pass booked them again
    )
    unbalanced: bool = False  # the books still do not balance


def repair(
    config: Config,
    sources: Sequence[Source],
    found: Sequence[Compared],
    *,
    ledger: AnyLedger,
    stop: StopRequest,
    observer: Observer | None = None,
) -> Repaired:
    """Book the missing records of `found`, and send those that are complete. `ledger` is held.

    Rows that were deleted by hand balance again once they are booked, because they are not counted as seen twice. Rows
    of a stream that was listed whole balance too, if nothing stays missing: an earlier pass has booked them again, or
    the CRM has deleted their records.
    """
    names = {source.name: source for source in sources}
    with ledger.compare() as rows:
        lacking = rows.lacking()
    errors, codes = list[SyncdError](), set[Exit]()
    for ids in batches(found):
        outcome = wiring.one_pass(
            config, ledger=ledger, sources=sources, stop=stop, observer=observer, limits=Limits(only=ids)
        )
        errors += outcome.errors
        codes |= {outcome.exit_code, *(error.exit_code for error in errors)}
        if outcome.failed or stop.requested:
            break
    after = [_remaining(ledger, each, names[each.source]) for each in found]
    booked = {(before.source, before.stream): _gone(before, now) for before, now in zip(found, after, strict=True)}
    corrected = _unsee_twice(ledger, lacking, booked)
    uncounted = _unsee_gone(ledger, after)
    with ledger.read() as glance:
        balanced = glance.balanced()
    if balanced:
        codes.discard(Exit.UNBALANCED)
        errors = [error for error in errors if error.exit_code != Exit.UNBALANCED]
    else:
        codes.add(Exit.UNBALANCED)
    return Repaired(
        after, booked, errors, [*codes], rebalanced=balanced and (corrected or uncounted > 0), uncounted=uncounted,
        unbalanced=not balanced,
    )  # fmt: skip


def batches(found: Sequence[Compared]) -> Iterator[Ids]:
    """Yield the missing ids by source and stream, at most AT_ONCE together."""
    ids: dict[str, dict[str, list[str]]] = {}
    room = AT_ONCE
    for each in found:
        for crm_id in each.missing:
            ids.setdefault(each.source, {}).setdefault(each.stream, []).append(crm_id)
            room -= 1
            if not room:
                yield ids
                ids, room = {}, AT_ONCE
    if ids:
        yield ids


def _remaining(ledger: AnyLedger, found: Compared, source: Source) -> Compared:
    """Return `found` with those of its missing ids that still have no row."""
    with ledger.compare() as rows:
        held = rows.held(found.source, streams_of(source, found.stream), found.missing)
    return replace(found, missing=[crm_id for crm_id in found.missing if crm_id not in held])


def _gone(before: Compared, after: Compared) -> list[str]:
    missing = {*after.missing}
    return [crm_id for crm_id in before.missing if crm_id not in missing]


def _unsee_twice(ledger: AnyLedger, lacking: Mapping[tuple[str, str], int], booked: Booked) -> bool:
    """Correct `seen` by the rows that were lacking and are booked again. Return whether there are any."""
    return _unsee(ledger, {stream: min(lacking.get(stream, 0), len(crm_ids)) for stream, crm_ids in booked.items()})


def _unsee_gone(ledger: AnyLedger, after: Sequence[Compared]) -> int:
    """Correct `seen` of the streams that were listed whole and miss nothing. Return by how many activities.

    Nothing is hidden: each activity that the CRM has, has a row.
    """
    whole = {(each.source, each.stream) for each in after if each.whole and not each.missing}
    with ledger.compare() as rows:
        gone = {stream: number for stream, number in rows.lacking().items() if stream in whole}
    _unsee(ledger, gone)
    return sum(gone.values())


def _unsee(ledger: AnyLedger, rows: Mapping[tuple[str, str], int]) -> bool:
    fewer = {stream: number for stream, number in rows.items() if number}
    if fewer:
        with ledger.operate() as operator:
            operator.unsee(fewer)
            operator.recount(now=clock.now())
    return bool(fewer)


__all__ = ["Booked", "Repaired", "batches", "repair"]
