"""Passes: crashes, late records, and records that move while they are read."""

import random
from datetime import timedelta
from functools import partial

from syncd.testing.crm import Crm
from syncd.testing.harness import LATE_S, OVERLAP, harnesses
from syncd.testing.history import EDIT_PATTERNS, random_history, read_while_moving

HISTORIES = 6  # random histories


class PassConformance:
    """Test several passes over a CRM that changes."""

    def test_a_crash_after_any_page_loses_nothing(self, crm: Crm) -> None:
        """A pass killed after any page is resumed at the watermark, without overlap, and loses nothing."""
        most = max(crm.cuts)
        for shape in ([*range(3 * most)], [number // 3 for number in range(3 * most)], [0, *[1] * (2 * most), 2, 3]):
            for harness in harnesses(crm):
                harness.fill(shape)
                end = harness.at(max(shape))
                pages = len(harness.read(until=end))
                harness.assert_complete()
                for killed_after in range(1, pages):
                    harness.clear_books()
                    harness.read(until=end, pages=killed_after)
                    harness.read(until=end)
                    harness.assert_complete()

    def test_a_pass_that_is_killed_after_every_page_gets_through(self, crm: Crm) -> None:
        """If each pass reads one page and is killed, the next continues there. All records are read in the end."""
        for harness in harnesses(crm):
            harness.fill(number // 2 for number in range(3 * max(crm.cuts)))
            for _ in range(len(harness.truth) + 2):
                harness.read(until=harness.at(len(harness.truth)), pages=1)
                if len(harness.books) == len(harness.truth):
                    break
            harness.assert_complete()

    def test_a_crash_with_edits_and_late_rows_before_the_next_pass_loses_nothing(self, crm: Crm) -> None:
        """Between two passes, records are edited, and others appear behind the cursor."""
        for killed_after in range(1, 4):
            for harness in harnesses(crm):
                ids = harness.fill(range(3 * max(crm.cuts)))
                harness.read(pages=killed_after)
                for crm_id in (ids[0], ids[max(crm.cuts)], ids[-1]):
                    harness.edit(crm_id)
                harness.put(harness.crm_now() - timedelta(seconds=5), late_by=LATE_S)
                crm.advance(10)
                harness.read()
                harness.catch_up()
                harness.assert_complete()

    def test_a_record_that_appears_late_is_in_the_next_window(self, crm: Crm) -> None:
        """A record that the CRM shows behind the cursor is read by the next window with overlap."""
        for harness in harnesses(crm):
            harness.fill([0, 20])
            late = harness.put(harness.at(10), late_by=LATE_S)
            connector = harness.connect()
            harness.read(connector=connector)
            assert late not in harness.books, "the sandbox shows the record too early"
            crm.advance(LATE_S + 10)
            harness.read(overlap=OVERLAP, connector=connector)
            assert late in harness.books, "a connector keeps no state that hides a late record"
            harness.assert_complete()

    def test_records_edited_while_they_are_read_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """An edit moves a record to another position. A reader that pages by offset then skips its neighbour."""
        for name, selector in EDIT_PATTERNS.items():
            for harness in harnesses(crm):
                ids = harness.fill(number // 2 for number in range(4 * max(crm.cuts)))
                read_while_moving(harness, ids, selector, harness.edit)
                harness.catch_up()
                harness.assert_complete(f"edits of {name}")

    def test_edits_that_show_late_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """A record may show its new time at its old position for a while. The cursor must not jump there."""
        for name, selector in EDIT_PATTERNS.items():
            for harness in harnesses(crm):
                ids = harness.fill(range(4 * max(crm.cuts)))
                for crm_id in ids[3:7]:  # from the start, these show a new time within this window
                    harness.edit(crm_id, late_by=LATE_S)
                crm.advance(5)
                read_while_moving(harness, ids, selector, partial(harness.edit, late_by=LATE_S))
                harness.catch_up()
                harness.assert_complete(f"late edits of {name}")

    def test_records_deleted_while_they_are_read_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """A deletion shifts later records forward. None of them is skipped."""
        for name, selector in EDIT_PATTERNS.items():
            for harness in harnesses(crm):
                ids = harness.fill(number // 2 for number in range(4 * max(crm.cuts)))
                read_while_moving(harness, ids, selector, harness.delete)
                harness.catch_up()
                harness.assert_complete(f"deletion of {name}")

    def test_no_history_loses_a_record(self, crm: Crm) -> None:
        """After random edits, deletions, new and late records and crashes, all records have been read."""
        for seed in range(HISTORIES):
            for harness in harnesses(crm):
                random_history(harness, random.Random(seed))
                harness.assert_complete(f"history {seed}")


__all__ = ["PassConformance"]
