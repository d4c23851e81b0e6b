"""Isolation: the CRM fails for one record, for pages above a size, or for one span, and serves everything else."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from syncd.errors import Unavailable
from syncd.testing.crm import PARTIAL_FAULTS, NetworkCrm, PartialFault
from syncd.testing.harness import Harness, harnesses
from syncd.testing.outages import expect_error

TIMEOUT = timedelta(seconds=0.25)  # of requests, if one hangs
ISOLATES = 40  # further requests of a pass with one culprit
OUTAGE = 12  # requests of a pass after an outage has begun, in all threads


class IsolationConformance:
    """The part of the network's promises about a CRM that fails for one thing alone."""

    def test_one_record_that_a_window_cannot_be_given_holds_up_no_other(self, crm: NetworkCrm) -> None:
        """All other records are read in the same pass. The culprit is read whole, or it is unserved until it heals."""
        for fault, harness in _each(crm):
            ids = harness.fill(range(2 * max(crm.cuts)))
            usual = _requests(harness)
            for person in (False, True):
                what, bad = f"{fault} for one {'person' if person else 'record'}", ids[len(ids) // 2]
                crm.fail_id(harness.stream, bad, fault, person=person)
                assert _requests(harness, fault) - usual <= ISOLATES, f"{what}: too many further requests"
                harness.assert_complete(what, but={bad})
                assert set(harness.unserved) == {*ids} - {*harness.books}, f"{what}: the others are not to blame"
                if person and crm.reads_people_by_id:
                    assert bad in harness.unserved, f"{what}: the sandbox fails no request that names the person"
                crm.heal()
                _requests(harness)
                harness.assert_complete(f"after {what}")

    def test_one_record_that_a_look_up_cannot_be_given_holds_up_no_other(self, crm: NetworkCrm) -> None:
        """A look-up returns all other records, and names the culprit as unserved. It is not missing."""
        for fault, harness in _each(crm):
            ids = harness.fill(range(max(crm.cuts)))
            for person in (False, True):
                what, bad = f"{fault} for one {'person' if person else 'record'}", ids[len(ids) // 3]
                crm.fail_id(harness.stream, bad, fault, person=person)
                harness.clear_books()
                found, missing = harness.look_up([*ids, crm.unknown_id(harness.stream)], _connect(harness, fault))
                assert {*ids} - {*found} == {*harness.unserved}, f"{what}: all others are found"
                assert missing == [crm.unknown_id(harness.stream)], f"{what}: what is not served is not missing"
                if not person or crm.reads_people_by_id:
                    assert set(harness.unserved) == {bad}, f"{what}: the culprit is unserved"
                crm.heal()
                assert set(harness.look_up(ids)[0]) == {*ids}, f"after {what}"

    def test_an_outage_blames_no_record(self, crm: NetworkCrm) -> None:
        """No record is unserved because of an outage, even if one was before it. The outage costs few requests."""
        for harness in harnesses(crm):
            ids = harness.fill(range(max(crm.cuts) + 1))
            usual = _requests(harness)
            for bad in (None, ids[1]):
                for skip in range(usual + (0 if bad is None else ISOLATES // 2)):
                    if bad is not None:
                        crm.fail_id(harness.stream, bad, "server_error", person=True)
                    crm.fail("unavailable", times=None, skip=skip)
                    before = crm.requests()
                    with suppress(Unavailable):
                        _requests(harness)
                    most = skip + OUTAGE + (0 if bad is None else ISOLATES)
                    assert crm.requests() - before <= most, f"an outage after {skip} requests costs too many"
                    assert set(harness.unserved) <= {bad}, f"blamed by an outage after {skip} requests"
                    crm.heal()
                harness.clear_books()
                crm.fail("unavailable", times=None, skip=1)
                with suppress(Unavailable):
                    harness.look_up(ids)
                assert not harness.unserved, "blamed by an outage of look-ups"
                crm.heal()
            _requests(harness)
            harness.assert_complete("after the outage")

    def test_pages_that_are_too_large_become_smaller_and_later_larger_again(self, crm: NetworkCrm) -> None:
        """All records are read in the same pass. The next one begins with the size that works, and it grows again."""
        for fault, harness in _each(crm):
            rows = min(crm.cuts) // 2
            harness.fill(range(3 * max(crm.cuts)))
            usual = _requests(harness)
            crm.fail_size(harness.stream, rows, fault)
            _requests(harness, fault)
            harness.assert_complete(f"{fault} above {rows} rows")
            harness.read(since=harness.at(0), until=harness.at(0), connector=_connect(harness, fault))
            assert harness.slept == [], f"{fault}: a pass with one record begins with a size that works"
            crm.heal()
            for _ in range(3):
                again = _requests(harness, start_over=False)
            assert again <= usual, f"{fault}: pages stay small after it"
            harness.assert_complete(f"{fault} above {rows} rows")

    def test_one_span_that_cannot_be_read_holds_up_nothing_beside_it(self, crm: NetworkCrm) -> None:
        """Pages before the span are read. If the windows are cut as syncd does, all but the span is read."""
        for fault, harness in _each(crm):
            most = max(crm.cuts)
            ids = harness.fill(range(5 * most))
            bad = ids[3 * most : 3 * most + 2]
            crm.fail_span(harness.stream, harness.at(3 * most), harness.at(3 * most + 1), fault)
            _start_over(harness)
            expect_error(Unavailable, partial(harness.read, connector=_connect(harness, fault)))
            assert {*ids[: 2 * most]} <= {*harness.books}, f"{fault}: the pages before the span are read"
            if fault == PARTIAL_FAULTS[0]:
                _read_in_parts(harness, fault, 0, len(ids))
            else:  # at once as small as they become
                for first, last in ((0, 3 * most - 1), (3 * most, 3 * most + 1), (3 * most + 2, len(ids))):
                    _read_in_parts(harness, fault, first, last, least=2)
            harness.assert_complete(f"{fault} for one span", but=bad)
            assert not {*bad} & {*harness.books}, "the sandbox serves the span"
            crm.heal()
            harness.read(since=harness.start)
            harness.assert_complete(f"after {fault} for one span")


def _each(crm: NetworkCrm) -> Iterator[tuple[PartialFault, Harness]]:
    for fault in PARTIAL_FAULTS:
        for harness in harnesses(crm):
            yield fault, harness


def _connect(harness: Harness, fault: PartialFault | None) -> Any:
    """Start a pass, whose requests end soon if the fault is one that hangs."""
    harness.slept.clear()
    return harness.connect(timeout=TIMEOUT) if fault == "hang" else harness.connect()


def _start_over(harness: Harness) -> None:
    """Empty the books and the store, as before the first pass."""
    harness.clear_books()
    harness.store.kept.clear()


def _requests(harness: Harness, fault: PartialFault | None = None, *, start_over: bool = True) -> int:
    """Read everything in a pass, the first one if `start_over`, and return the number of requests."""
    if start_over:
        _start_over(harness)
    harness.clear_books()
    before = harness.crm.requests()
    harness.read(connector=_connect(harness, fault))
    return harness.crm.requests() - before


def _read_in_parts(harness: Harness, fault: PartialFault, first: int, last: int, *, least: int = 1) -> None:
    """Read the granules from `first` to `last` in halves, down to `least`. Those that fail then count as a gap."""
    try:
        harness.read(since=harness.at(first), until=harness.at(last), connector=_connect(harness, fault))
    except Unavailable:
        if last - first < least:
            known = {crm_id: each.modified_at for crm_id, each in harness.truth.items()}
            harness.unserved |= {id: at for id, at in known.items() if harness.at(first) <= at <= harness.at(last)}
            return
        middle = (first + last) // 2
        _read_in_parts(harness, fault, first, middle)
        _read_in_parts(harness, fault, middle + 1, last)


__all__ = ["IsolationConformance"]
