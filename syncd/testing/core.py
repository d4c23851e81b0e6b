"""What every connector must do, asked of it over its author's sandbox."""

import random
import threading
import time
from copy import deepcopy
from datetime import datetime, timedelta
from functools import partial

from pydantic import ValidationError

from syncd.activity import Draft, Owner
from syncd.connector import Page, Record, Ref, SourceConfig, Window
from syncd.errors import SyncdError
from syncd.testing.captured import Captured, captured
from syncd.testing.crm import Crm
from syncd.testing.harness import LATE_S, OVERLAP, Harness, close, harnesses
from syncd.testing.history import EDIT_PATTERNS, random_history, read_while_moving
from syncd.testing.malformed import malformed
from syncd.testing.outages import BRIEF_S, assert_helpful, assert_private, assert_stops, errors_in_outage

HISTORIES = 6  # random histories


class ConnectorConformance:
    """The core: windows, passes, look-ups, meaning and manners.

    A subclass gives a fixture `crm`; how a connector is found faulty stands in each test's docstring.
    """

    # -- what it is ---------------------------------------------------------------------

    def test_it_declares_its_streams_and_a_configuration_of_its_own(self, crm: Crm) -> None:
        """Streams have names of their own; the table's model is a SourceConfig that knows each of its keys."""
        names = [stream.name for stream in crm.connector.streams]
        assert names, "a connector has a stream"
        assert len(set(names)) == len(names), "streams have names of their own"
        assert {stream.kind for stream in crm.connector.streams} <= {"call", "email"}, "a record is a call or an email"
        assert issubclass(crm.connector.Config, SourceConfig), "Config is a SourceConfig"
        assert isinstance(crm.connector.Config(**crm.table()), SourceConfig)

    def test_an_unknown_key_of_its_table_is_a_mistake(self, crm: Crm) -> None:
        """A key that is misspelt is told, not passed over; so is what every source has."""
        for wrong in ({"no_such_key": 1}, {"timeout": "0s"}, {"external_id": "always the same"}):
            try:
                crm.connector.Config(**{**crm.table(), **wrong})
            except ValidationError:
                continue
            raise AssertionError(f"accepted {wrong}")

    def test_making_one_sends_no_request_and_closing_it_twice_does_no_harm(self, crm: Crm) -> None:
        """Nothing is asked before the first question, and close() may come at any time, also again."""
        for harness in harnesses(crm):
            before = crm.requests()
            connector = harness.connect()
            connector.close()
            connector.close()
            assert crm.requests() == before, "making a connector asks for nothing"
            used = harness.connect()
            harness.read(connector=used)
            used.close()
            used.close()

    def test_its_identity_is_the_same_in_every_pass(self, crm: Crm) -> None:
        """A name that suddenly leads to another portal would double everything: the id is stable, or never told."""
        for harness in harnesses(crm):
            first, again = (harness.connect().identity() for _ in range(2))
            connector = harness.connect()
            assert first == again == connector.identity() == connector.identity(), "one CRM, one id"
            assert first is None or (isinstance(first, str) and first), "an id is text"

    # -- windows ------------------------------------------------------------------------

    def test_both_ends_of_a_window_belong_to_it_and_nothing_beyond(self, crm: Crm) -> None:
        """A record modified at `since` or at `until` is in; one a granule outside is not."""
        for harness in harnesses(crm):
            ids = harness.fill([0, 1, 5, 9, 10])
            found = harness.refs(harness.at(1), harness.at(9))
            assert [ref.crm_id for ref in found] == ids[1:4], "both ends are inclusive, and nothing else is in"
            assert [ref.modified_at for ref in found] == [harness.at(each) for each in (1, 5, 9)]

    def test_an_instant_is_a_window(self, crm: Crm) -> None:
        """A window whose ends are one instant holds what was modified in it."""
        for harness in harnesses(crm):
            _, here, twin, _ = harness.fill([0, 1, 1, 2])
            assert {ref.crm_id for ref in harness.refs(harness.at(1), harness.at(1))} == {here, twin}

    def test_a_bound_between_two_granules_cuts_off_nothing_inside(self, crm: Crm) -> None:
        """Bounds finer than the CRM's clock lose no record that lies between them, nor vouch beyond them."""
        for harness in harnesses(crm):
            half = crm.granule / 2
            ids = harness.fill([0, 1, 2, 3, 4])
            found = [ref.crm_id for ref in _wide(harness, harness.at(1) - half, harness.at(3) + half)]
            assert set(ids[1:4]) <= set(found) <= set(ids[:4]), "all between the bounds, at most a granule before"

    def test_an_empty_window_tells_its_end(self, crm: Crm) -> None:
        """One page at least, without records, whose `until` is the window's end."""
        for harness in harnesses(crm):
            harness.fill([0, 10])
            (page,) = harness.read(since=harness.at(2), until=harness.at(8))
            assert not page.refs
            assert not page.records
            assert page.complete_until == harness.at(8)

    def test_an_open_window_ends_at_the_passs_start(self, crm: Crm) -> None:
        """`until=None` reads up to the CRM's present, less two seconds at most; what comes after is the next pass's."""
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
        """Whether a cut falls before, at or after the last record: all are read once, ascending."""
        for harness in harnesses(crm):
            counts = _counts(crm)
            ids = harness.fill(range(max(counts)))
            for count in counts:
                found = [ref.crm_id for ref in harness.refs(harness.at(0), harness.at(count - 1))]
                assert found == ids[:count], f"{count} records: {len(found)} were read"

    def test_records_of_one_instant_are_all_read_once(self, crm: Crm) -> None:
        """Bulk jobs touch thousands at once: equals may straddle a cut, or fill more than a page by themselves."""
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
        """Every record is named; those that `needed` waves off are not read whole."""
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
            assert whole == [ids[3]], "what is known as it stands is not read whole"
            harness.assert_complete()

    def test_it_counts_what_it_would_read(self, crm: Crm) -> None:
        """count() and fetch() agree on every window, and `needed` has no say."""
        for harness in harnesses(crm):
            ids = harness.fill([0, 1, 1, *range(2, max(crm.cuts) + 5)])
            windows = [(0, 0), (1, 1), (1, 3), (2, len(ids)), (0, len(ids)), (len(ids) + 5, len(ids) + 9)]
            for since, until in windows:
                window = Window(harness.at(since), harness.at(until), _nobody)
                found = len(harness.refs(window.since, window.until))
                assert harness.connect().count(harness.stream, window) == found, "count and fetch agree"
            assert harness.connect().count(harness.stream, Window(harness.at(0), None, _nobody)) == len(ids)

    # -- passes -------------------------------------------------------------------------

    def test_a_crash_after_any_page_loses_nothing(self, crm: Crm) -> None:
        """Whoever was killed after a page resumes at the watermark, without overlap, and ends with everything."""
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
        """Each pass reads one page, and the next goes on from there: nothing is lost, and it ends."""
        for harness in harnesses(crm):
            harness.fill(number // 2 for number in range(3 * max(crm.cuts)))
            for _ in range(len(harness.truth) + 2):
                harness.read(until=harness.at(len(harness.truth)), pages=1)
                if len(harness.books) == len(harness.truth):
                    break
            harness.assert_complete()

    def test_a_crash_with_edits_and_late_rows_before_the_next_pass_loses_nothing(self, crm: Crm) -> None:
        """Between two passes the world goes on: read and unread records are edited, others appear behind the cursor."""
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
        """What the CRM shows only after the cursor has passed it is the overlap's affair: nothing hides it then."""
        for harness in harnesses(crm):
            harness.fill([0, 20])
            late = harness.put(harness.at(10), late_by=LATE_S)
            connector = harness.connect()
            harness.read(connector=connector)
            assert late not in harness.books, "the sandbox shows it too early"
            crm.advance(LATE_S + 10)
            harness.read(overlap=OVERLAP, connector=connector)
            assert late in harness.books, "a connector remembers nothing that hides a late record"
            harness.assert_complete()

    def test_records_edited_while_they_are_read_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """An edit moves a record out of its place; whoever pages by offset then skips its neighbour."""
        for name, selector in EDIT_PATTERNS.items():
            for harness in harnesses(crm):
                ids = harness.fill(number // 2 for number in range(4 * max(crm.cuts)))
                read_while_moving(harness, ids, selector, harness.edit)
                harness.catch_up()
                harness.assert_complete(f"edits of {name}")

    def test_edits_that_show_late_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """A record may show its new time in its old place for a while: it must not make anybody jump."""
        for name, selector in EDIT_PATTERNS.items():
            for harness in harnesses(crm):
                ids = harness.fill(range(4 * max(crm.cuts)))
                for crm_id in ids[3:7]:  # these show their new time, which is of this window, from the start
                    harness.edit(crm_id, late_by=LATE_S)
                crm.advance(5)
                read_while_moving(harness, ids, selector, partial(harness.edit, late_by=LATE_S))
                harness.catch_up()
                harness.assert_complete(f"late edits of {name}")

    def test_records_deleted_while_they_are_read_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """A record that goes leaves a gap that nobody falls into, wherever the reading stands."""
        for name, selector in EDIT_PATTERNS.items():
            for harness in harnesses(crm):
                ids = harness.fill(number // 2 for number in range(4 * max(crm.cuts)))
                read_while_moving(harness, ids, selector, harness.delete)
                harness.catch_up()
                harness.assert_complete(f"deletion of {name}")

    def test_no_history_loses_a_record(self, crm: Crm) -> None:
        """Edits, deletions, new and late records, at any moment, and a crash now and then: in the end all is there."""
        for seed in range(HISTORIES):
            for harness in harnesses(crm):
                random_history(harness, random.Random(seed))
                harness.assert_complete(f"history {seed}")

    # -- look-ups -----------------------------------------------------------------------

    def test_a_look_up_accounts_for_every_id(self, crm: Crm) -> None:
        """Found ids come as whole records, each once; deleted and unknown ones are missing; none is none."""
        for harness in harnesses(crm):
            here, there, gone = harness.fill([0, 5, 7])
            harness.delete(gone)
            unknown = crm.unknown_id(harness.stream)
            found, missing = harness.look_up([there, unknown, here, there, gone, unknown])
            assert set(found) == {here, there}
            assert sorted(missing) == sorted([gone, unknown])
            assert {each: found[each].ref.modified_at for each in found} == {here: harness.at(0), there: harness.at(5)}
            assert {each: harness.title(found[each]) for each in found} == {
                each: harness.truth[each].title for each in (here, there)
            }
            assert harness.look_up([]) == ({}, [])
            assert harness.look_up([unknown]) == ({}, [unknown])

    def test_a_thousand_ids_are_looked_up_at_once(self, crm: Crm) -> None:
        """The engine asks for up to 1,000 ids in one call."""
        for harness in harnesses(crm):
            ids = harness.fill(number % 50 for number in range(1_000))
            found, missing = harness.look_up(ids[::-1])
            assert (set(found), missing) == (set(ids), [])

    def test_a_look_up_bypasses_every_cache(self, crm: Crm) -> None:
        """What changed since is seen, though nothing moved the record's modification time: its own and its person's."""
        for harness in harnesses(crm):
            (crm_id,) = harness.fill([0])
            connector = harness.connect()
            harness.read(connector=connector)
            harness.look_up([crm_id], connector)
            harness.edit(crm_id, touch=False)
            address = "renamed.quince@quillhaven-gears.com"
            crm.readdress(harness.stream, crm_id, address)
            found, _ = harness.look_up([crm_id], connector)
            draft = connector.normalize(harness.stream, found[crm_id])
            assert draft is not None
            assert draft.title == harness.truth[crm_id].title, "an edit that moved no timestamp is seen"
            assert address in {person.email for person in (*draft.contacts, *draft.others)}, "so is a person's"

    def test_a_record_means_the_same_by_window_and_by_id(self, crm: Crm) -> None:
        """Whichever way a record was read, its draft is the same."""
        for harness in harnesses(crm):
            ids = harness.fill(range(max(crm.cuts) + 1))
            connector = harness.connect()
            pages = harness.read(connector=connector)
            by_window = {each.ref.crm_id: each for page in pages for each in page.records}
            by_id, _ = harness.look_up(ids)
            for crm_id in ids:
                drafts = [connector.normalize(harness.stream, read[crm_id]) for read in (by_window, by_id)]
                assert drafts[0] == drafts[1], "one record, one meaning"
                assert drafts[0] is not None
                assert (by_window[crm_id].ref, by_id[crm_id].ref.crm_id) == (by_id[crm_id].ref, crm_id)

    # -- meaning ------------------------------------------------------------------------

    def test_records_mean_what_the_golden_pairs_say(self, crm: Crm) -> None:
        """Each record of the author's golden pairs becomes its draft, to the letter."""
        for harness in harnesses(crm):
            pairs = crm.golden(harness.stream)
            assert pairs, f"the stream {harness.stream} has a golden pair"
            connector = harness.connect()
            for record, expected in pairs:
                found = connector.normalize(harness.stream, record)
                assert found == expected, f"expected {expected!r}, got {found!r}"

    def test_normalizing_is_pure(self, crm: Crm) -> None:
        """The same record means the same again, is left as it was, and nobody is asked or waited for."""
        for harness in harnesses(crm):
            records = _records(harness)
            connector = harness.connect()
            asked, slept = crm.requests(), len(harness.slept)
            before = deepcopy(records)
            drafts = [connector.normalize(harness.stream, record) for record in records]
            assert drafts == [connector.normalize(harness.stream, record) for record in records], "the same again"
            assert drafts == [harness.connect().normalize(harness.stream, record) for record in records], (
                "in another pass"
            )
            assert records == before, "a record is left as it was"
            assert (crm.requests(), len(harness.slept)) == (asked, slept), "nobody is asked or waited for"
            for draft in drafts:
                _expect_sound(harness, draft)

    def test_a_malformed_record_neither_hangs_nor_stops_a_pass(self, crm: Crm) -> None:
        """Whatever stands in a field, normalize returns or raises an Exception, soon: it becomes a dead row."""
        for harness in harnesses(crm):
            output = Captured()
            connector = harness.connect()
            for record in _records(harness):
                for broken in malformed(record):
                    draft, began = None, time.thread_time()
                    try:
                        draft = connector.normalize(harness.stream, broken)
                    except SyncdError as error:  # its message is shown; of any other the type alone
                        output.add([error.message, error.hint])
                    except Exception:  # noqa: BLE001 - any will do
                        draft = None
                    assert time.thread_time() - began < BRIEF_S, "it takes its time over a malformed record"
                    _expect_sound_if_any(harness, draft)
            assert_private(crm, output)

    # -- people -------------------------------------------------------------------------

    def test_owners_are_known_after_a_page_without_a_request(self, crm: Crm) -> None:
        """After each page the engine asks who is on our side: that costs no request, and names the drafts' owners."""
        for harness in harnesses(crm):
            harness.fill(range(3))
            for _ in range(2):  # in the second pass all is known
                connector = harness.connect()
                pages = harness.read(since=harness.start, connector=connector)
                asked = crm.requests()
                owners = connector.owners()
                assert crm.requests() == asked, "no request once a page was read"
                drafts = [connector.normalize(harness.stream, each) for page in pages for each in page.records]
                named = {draft.owner.email for draft in drafts if draft is not None and draft.owner is not None}
                assert named - {None} or not drafts, "the sandbox's records have an owner with an address"
                assert named - {None} <= {owner.email for owner in owners}, "a draft's owner is one of our side"
                assert all(isinstance(each, Owner) for each in owners)

    # -- manners ------------------------------------------------------------------------

    def test_check_finds_nothing_wrong_if_all_is_well(self, crm: Crm) -> None:
        """Each line of `syncd check` says what it is about, and all are fine."""
        for harness in harnesses(crm):
            findings = harness.connect().check()
            assert findings, "there is something to check"
            assert_helpful(findings)
            assert [each.what for each in findings if not each.ok and not each.warning] == []

    def test_an_outage_ends_in_an_error_that_helps_and_tells_nothing_private(self, crm: Crm) -> None:
        """Unavailable, Malformed or Unauthorized with a hint, never a traceback; check() finds, and does not raise."""
        for name, begin in crm.outages().items():
            for harness in harnesses(crm):
                harness.fill(range(3))
                begin()
                with captured() as output:
                    errors = errors_in_outage(harness, output)
                    findings = harness.connect().check()
                    output.add(findings)
                crm.heal()
                assert_helpful(findings)
                assert errors, f"{name}: nobody noticed"
                assert [each for each in findings if not each.ok], f"{name}: check() noticed nothing"
                assert_private(crm, output)

    def test_a_normal_pass_tells_nothing_private(self, crm: Crm) -> None:
        """No log line holds a credential, an address, a name or a subject; the store holds no credential."""
        for harness in harnesses(crm):
            ids = harness.fill(range(3))
            with captured() as output:
                connector = harness.connect()
                connector.identity()
                harness.read(connector=connector)
                harness.look_up([*ids, crm.unknown_id(harness.stream)], connector)
                connector.owners()
                output.add(connector.check())
                output.add([connector, connector.Config(**crm.table())])
            assert_private(crm, output)
            kept = "\n".join(text for _, text in harness.store.kept.values())
            assert not [secret for secret in crm.secrets if secret in kept], "the store holds a credential"

    def test_the_engine_may_close_a_fetch_in_the_middle(self, crm: Crm) -> None:
        """Closing an unfinished fetch returns soon, and leaves no thread behind."""
        for harness in harnesses(crm):
            harness.fill(range(4 * max(crm.cuts)))
            before = set(threading.enumerate())
            connector = harness.connect()
            reading = connector.fetch(harness.stream, harness.window(None))
            next(reading)
            began = time.monotonic()
            close(reading)
            connector.close()
            assert time.monotonic() - began < BRIEF_S, "leaving takes its time"
            while left := [each for each in threading.enumerate() if each not in before]:
                assert time.monotonic() - began < BRIEF_S, f"left behind: {[each.name for each in left]}"
                time.sleep(0.005)

    def test_a_stop_is_passed_on_at_once(self, crm: Crm) -> None:
        """Where context.sleep raises Stopped, fetch and fetch_ids raise it, and nothing more is asked."""
        for harness in harnesses(crm):
            ids = harness.fill(range(3 * max(crm.cuts)))
            for calls in range(4):
                assert_stops(harness, calls, harness.read)
                assert_stops(harness, calls, partial(harness.look_up, ids))
            harness.clear_books()
            harness.read()
            harness.assert_complete()


def _expect_sound(harness: Harness, draft: Draft | None) -> None:
    assert draft is not None, "the suite's records are activities"
    _expect_sound_if_any(harness, draft)


def _expect_sound_if_any(harness: Harness, draft: Draft | None) -> None:
    if draft is not None:
        kinds = {stream.name: stream.kind for stream in harness.crm.connector.streams}
        assert draft.kind == kinds[harness.stream], "a draft is of its stream's kind"
        for at in (draft.occurred_at, draft.created_at):
            assert at.tzinfo is not None, "times are aware"


def _records(harness: Harness) -> list[Record]:
    """Return records as they come, and the golden ones."""
    harness.fill([0])
    pages = harness.read()
    return [each for page in pages for each in page.records] + [
        record for record, draft in harness.crm.golden(harness.stream) if draft is not None
    ]


def _counts(crm: Crm) -> list[int]:
    """Return numbers of records that lie about one cut and about two."""
    return sorted({max(1, times * cut + more) for cut in crm.cuts for times in (1, 2) for more in (-1, 0, 1)} | {1})


def _wide(harness: Harness, since: datetime, until: datetime) -> list[Ref]:
    """Read a window of odd bounds, past the checks that hold for whole granules."""
    found: list[Page] = list(harness.connect().fetch(harness.stream, harness.window(until, since=since)))
    assert all(page.complete_until is not None and page.complete_until <= until for page in found), (
        "no page vouches beyond the window"
    )
    return [ref for page in found for ref in page.refs]


def _nobody(refs: object) -> list[str]:
    return []


__all__ = ["ConnectorConformance"]
