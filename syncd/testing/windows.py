"""Windows: inclusive bounds, page cuts, ties and counts."""

from datetime import datetime, timedelta

from syncd.connector import Page, Ref, Window
from syncd.testing.crm import Crm
from syncd.testing.harness import Harness, harnesses


class WindowConformance:
    """Test `fetch` and `count` over one window."""

    def test_both_ends_of_a_window_belong_to_it_and_nothing_beyond(self, crm: Crm) -> None:
        """A record modified at `since` or `until` is included. One a granule outside is not."""
        for harness in harnesses(crm):
            ids = harness.fill([0, 1, 5, 9, 10])
            found = harness.refs(harness.at(1), harness.at(9))
            assert [ref.crm_id for ref in found] == ids[1:4], "both ends are inclusive, and nothing else is included"
            assert [ref.modified_at for ref in found] == [harness.at(each) for each in (1, 5, 9)]

    def test_an_instant_is_a_window(self, crm: Crm) -> None:
        """A window whose ends are equal contains the records modified at that instant."""
        for harness in harnesses(crm):
            _, here, twin, _ = harness.fill([0, 1, 1, 2])
            assert {ref.crm_id for ref in harness.refs(harness.at(1), harness.at(1))} == {here, twin}

    def test_a_bound_between_two_granules_cuts_off_nothing_inside(self, crm: Crm) -> None:
        """Bounds finer than the CRM's clock lose no record between them. No page is complete beyond them."""
        for harness in harnesses(crm):
            half = crm.granule / 2
            ids = harness.fill([0, 1, 2, 3, 4])
            found = [ref.crm_id for ref in _wide(harness, harness.at(1) - half, harness.at(3) + half)]
            assert set(ids[1:4]) <= set(found) <= set(ids[:4]), (
                "all records between the bounds, and none more than a granule before"
            )

    def test_an_empty_window_tells_its_end(self, crm: Crm) -> None:
        """An empty window yields a page without records, whose `complete_until` is the window's end."""
        for harness in harnesses(crm):
            harness.fill([0, 10])
            (page,) = harness.read(since=harness.at(2), until=harness.at(8))
            assert not page.refs
            assert not page.records
            assert page.complete_until == harness.at(8)

    def test_an_open_window_ends_at_the_passs_start(self, crm: Crm) -> None:
        """`until=None` reads up to the CRM's present, less at most two seconds.

        Later records belong to the next pass.
        """
        for harness in harnesses(crm):
            now = harness.crm_now()
            early, late = harness.put(now - timedelta(seconds=4)), harness.put(now + timedelta(seconds=30))
            pages = harness.read()
            assert [ref.crm_id for page in pages for ref in page.refs] == [early]
            end = pages[-1].complete_until
            assert end is not None
            assert now - timedelta(seconds=2) - crm.granule <= end <= crm.now(), "the end is the CRM's present"
            crm.advance(60)
            harness.read()
            assert late in harness.books
            harness.assert_complete()

    def test_no_number_of_records_falls_between_two_pages(self, crm: Crm) -> None:
        """All records are read once, ascending, if a cut falls before, at or after the last one."""
        for harness in harnesses(crm):
            counts = _counts(crm)
            ids = harness.fill(range(max(counts)))
            for count in counts:
                found = [ref.crm_id for ref in harness.refs(harness.at(0), harness.at(count - 1))]
                assert found == ids[:count], f"{count} records: {len(found)} were read"

    def test_records_of_one_instant_are_all_read_once(self, crm: Crm) -> None:
        """Records with equal times may straddle a cut or fill more than a page.

        Bulk jobs touch thousands at once.
        """
        most = max(crm.cuts)
        shapes = {
            "twos and threes": [number // 3 + number % 2 for number in range(3 * most)],
            "a cut and one more": [0] + [1 + number // (min(crm.cuts) + 1) for number in range(3 * most)],
            "all in one": [0, *[1] * (2 * most + 1), 2],
        }
        for name, shape in shapes.items():
            for harness in harnesses(crm):
                ids = harness.fill(shape)
                found = [ref.crm_id for ref in harness.refs(harness.at(0), harness.at(max(shape)))]
                assert len(found) == len(set(found)), f"{name}: a record came twice"
                assert set(found) == set(ids), f"{name}: {len(ids) - len(found)} of {len(ids)} records are missing"

    def test_a_known_record_comes_as_a_ref_alone(self, crm: Crm) -> None:
        """Every record comes as a ref. Those that `needed` does not name are not read in full."""
        for harness in harnesses(crm):
            ids = harness.fill(range(max(_counts(crm))))
            harness.read(until=harness.at(len(ids)))
            harness.edit(ids[3])
            again = harness.read(since=harness.at(0))
            assert {ref.crm_id for page in again for ref in page.refs} >= set(ids) - {ids[3]}
            crm.advance(60)
            later = harness.read(since=harness.at(0))
            assert {ref.crm_id for page in later for ref in page.refs} == set(ids)
            whole = [each.ref.crm_id for page in (*again, *later) for each in page.records]
            assert whole == [ids[3]], "a known, unchanged record is not read in full"
            harness.assert_complete()

    def test_it_counts_what_it_would_read(self, crm: Crm) -> None:
        """count() and fetch() agree on every window, whatever `needed` returns."""
        for harness in harnesses(crm):
            ids = harness.fill([0, 1, 1, *range(2, max(crm.cuts) + 5)])
            windows = [(0, 0), (1, 1), (1, 3), (2, len(ids)), (0, len(ids)), (len(ids) + 5, len(ids) + 9)]
            for since, until in windows:
                window = Window(harness.at(since), harness.at(until), _none_needed)
                found = len(harness.refs(window.since, window.until))
                assert harness.connect().count(harness.stream, window) == found, "count and fetch agree"
            assert harness.connect().count(harness.stream, Window(harness.at(0), None, _none_needed)) == len(ids)


def _counts(crm: Crm) -> list[int]:
    """Return record counts just below, at and above one cut and two cuts."""
    return sorted({max(1, times * cut + more) for cut in crm.cuts for times in (1, 2) for more in (-1, 0, 1)} | {1})


def _wide(harness: Harness, since: datetime, until: datetime) -> list[Ref]:
    """Read a window with fractional bounds, without the checks that assume whole granules."""
    found: list[Page] = list(harness.connect().fetch(harness.stream, harness.window(until, since=since)))
    assert all(page.complete_until is not None and page.complete_until <= until for page in found), (
        "no page is complete beyond the window"
    )
    return [ref for page in found for ref in page.refs]


def _none_needed(refs: object) -> list[str]:
    return []


__all__ = ["WindowConformance"]
