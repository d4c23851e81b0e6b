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
from syncd.testing.crm import Crm
from syncd.testing.damage import damaged
from syncd.testing.days import BRIEF_S, assert_private, expect_helpful, stopped, troubled
from syncd.testing.heard import Heard, heard
from syncd.testing.history import EDITED, moved_while_read, storm
from syncd.testing.scene import LATE_S, OVERLAP, Scene, close, scenes

STORMS = 6  # random histories


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

    def test_making_one_asks_for_nothing_and_closing_it_twice_does_no_harm(self, crm: Crm) -> None:
        """Nothing is asked before the first question, and close() may come at any time, also again."""
        for scene in scenes(crm):
            before = crm.requests()
            connector = scene.connect()
            connector.close()
            connector.close()
            assert crm.requests() == before, "making a connector asks for nothing"
            used = scene.connect()
            scene.read(connector=used)
            used.close()
            used.close()

    def test_its_identity_is_the_same_in_every_pass(self, crm: Crm) -> None:
        """A name that suddenly leads to another portal would double everything: the id is stable, or never told."""
        for scene in scenes(crm):
            first, again = (scene.connect().identity() for _ in range(2))
            connector = scene.connect()
            assert first == again == connector.identity() == connector.identity(), "one CRM, one id"
            assert first is None or (isinstance(first, str) and first), "an id is text"

    # -- windows ------------------------------------------------------------------------

    def test_both_ends_of_a_window_belong_to_it_and_nothing_beyond(self, crm: Crm) -> None:
        """A record modified at `since` or at `until` is in; one a granule outside is not."""
        for scene in scenes(crm):
            ids = scene.fill([0, 1, 5, 9, 10])
            found = scene.refs(scene.at(1), scene.at(9))
            assert [ref.crm_id for ref in found] == ids[1:4], "both ends are inclusive, and nothing else is in"
            assert [ref.modified_at for ref in found] == [scene.at(each) for each in (1, 5, 9)]

    def test_an_instant_is_a_window(self, crm: Crm) -> None:
        """A window whose ends are one instant holds what was modified in it."""
        for scene in scenes(crm):
            _, here, twin, _ = scene.fill([0, 1, 1, 2])
            assert {ref.crm_id for ref in scene.refs(scene.at(1), scene.at(1))} == {here, twin}

    def test_a_bound_between_two_granules_cuts_off_nothing_inside(self, crm: Crm) -> None:
        """Bounds finer than the CRM's clock lose no record that lies between them, nor vouch beyond them."""
        for scene in scenes(crm):
            half = crm.granule / 2
            ids = scene.fill([0, 1, 2, 3, 4])
            found = [ref.crm_id for ref in _wide(scene, scene.at(1) - half, scene.at(3) + half)]
            assert set(ids[1:4]) <= set(found) <= set(ids[:4]), "all between the bounds, at most a granule before"

    def test_an_empty_window_tells_its_end(self, crm: Crm) -> None:
        """One page at least, without records, whose `until` is the window's end."""
        for scene in scenes(crm):
            scene.fill([0, 10])
            (page,) = scene.read(since=scene.at(2), until=scene.at(8))
            assert not page.refs
            assert not page.records
            assert page.complete_until == scene.at(8)

    def test_an_open_window_ends_at_the_passs_start(self, crm: Crm) -> None:
        """`until=None` reads up to the CRM's present, less two seconds at most; what comes after is the next pass's."""
        for scene in scenes(crm):
            now = scene.crm_now()
            early, late = scene.put(now - timedelta(seconds=4)), scene.put(now + timedelta(seconds=30))
            pages = scene.read()
            assert [ref.crm_id for page in pages for ref in page.refs] == [early]
            end = pages[-1].complete_until
            assert end is not None
            assert now - timedelta(seconds=2) - crm.granule <= end <= crm.now(), "the end is the CRM's present"
            crm.advance(60)
            scene.read()
            assert late in scene.books
            scene.assert_whole()

    def test_no_number_of_records_falls_between_two_pages(self, crm: Crm) -> None:
        """Whether a cut falls before, at or after the last record: all are read once, ascending."""
        for scene in scenes(crm):
            counts = _counts(crm)
            ids = scene.fill(range(max(counts)))
            for count in counts:
                found = [ref.crm_id for ref in scene.refs(scene.at(0), scene.at(count - 1))]
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
            for scene in scenes(crm):
                ids = scene.fill(shape)
                found = [ref.crm_id for ref in scene.refs(scene.at(0), scene.at(max(shape)))]
                assert len(found) == len(set(found)), f"{name}: a record came twice"
                assert set(found) == set(ids), f"{name}: {len(ids) - len(found)} of {len(ids)} records are missing"

    def test_what_is_known_comes_as_a_ref_alone(self, crm: Crm) -> None:
        """Every record is named; those that `needed` waves off are not read whole."""
        for scene in scenes(crm):
            ids = scene.fill(range(max(_counts(crm))))
            scene.read(until=scene.at(len(ids)))
            scene.edit(ids[3])
            again = scene.read(since=scene.at(0))
            assert {ref.crm_id for page in again for ref in page.refs} >= set(ids) - {ids[3]}
            crm.advance(60)
            later = scene.read(since=scene.at(0))
            assert {ref.crm_id for page in later for ref in page.refs} == set(ids)
            whole = [each.ref.crm_id for page in (*again, *later) for each in page.records]
            assert whole == [ids[3]], "what is known as it stands is not read whole"
            scene.assert_whole()

    def test_it_counts_what_it_would_read(self, crm: Crm) -> None:
        """count() and fetch() agree on every window, and `needed` has no say."""
        for scene in scenes(crm):
            ids = scene.fill([0, 1, 1, *range(2, max(crm.cuts) + 5)])
            windows = [(0, 0), (1, 1), (1, 3), (2, len(ids)), (0, len(ids)), (len(ids) + 5, len(ids) + 9)]
            for since, until in windows:
                window = Window(scene.at(since), scene.at(until), _nobody)
                found = len(scene.refs(window.since, window.until))
                assert scene.connect().count(scene.stream, window) == found, "count and fetch agree"
            assert scene.connect().count(scene.stream, Window(scene.at(0), None, _nobody)) == len(ids)

    # -- passes -------------------------------------------------------------------------

    def test_a_crash_after_any_page_loses_nothing(self, crm: Crm) -> None:
        """Whoever was killed after a page resumes at the watermark, without overlap, and ends with everything."""
        most = max(crm.cuts)
        for shape in ([*range(3 * most)], [number // 3 for number in range(3 * most)], [0, *[1] * (2 * most), 2, 3]):
            for scene in scenes(crm):
                scene.fill(shape)
                end = scene.at(max(shape))
                pages = len(scene.read(until=end))
                scene.assert_whole()
                for killed_after in range(1, pages):
                    scene.forget()
                    scene.read(until=end, pages=killed_after)
                    scene.read(until=end)
                    scene.assert_whole()

    def test_a_pass_that_is_killed_after_every_page_gets_through(self, crm: Crm) -> None:
        """Each pass reads one page, and the next goes on from there: nothing is lost, and it ends."""
        for scene in scenes(crm):
            scene.fill(number // 2 for number in range(3 * max(crm.cuts)))
            for _ in range(len(scene.truth) + 2):
                scene.read(until=scene.at(len(scene.truth)), pages=1)
                if len(scene.books) == len(scene.truth):
                    break
            scene.assert_whole()

    def test_a_crash_with_edits_and_late_rows_before_the_next_pass_loses_nothing(self, crm: Crm) -> None:
        """Between two passes the world goes on: read and unread records are edited, others appear behind the cursor."""
        for killed_after in range(1, 4):
            for scene in scenes(crm):
                ids = scene.fill(range(3 * max(crm.cuts)))
                scene.read(pages=killed_after)
                for crm_id in (ids[0], ids[max(crm.cuts)], ids[-1]):
                    scene.edit(crm_id)
                scene.put(scene.crm_now() - timedelta(seconds=5), late_by=LATE_S)
                crm.advance(10)
                scene.read()
                scene.catch_up()
                scene.assert_whole()

    def test_a_record_that_appears_late_is_in_the_next_window(self, crm: Crm) -> None:
        """What the CRM shows only after the cursor has passed it is the overlap's affair: nothing hides it then."""
        for scene in scenes(crm):
            scene.fill([0, 20])
            late = scene.put(scene.at(10), late_by=LATE_S)
            connector = scene.connect()
            scene.read(connector=connector)
            assert late not in scene.books, "the sandbox shows it too early"
            crm.advance(LATE_S + 10)
            scene.read(overlap=OVERLAP, connector=connector)
            assert late in scene.books, "a connector remembers nothing that hides a late record"
            scene.assert_whole()

    def test_records_edited_while_they_are_read_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """An edit moves a record out of its place; whoever pages by offset then skips its neighbour."""
        for name, who in EDITED.items():
            for scene in scenes(crm):
                ids = scene.fill(number // 2 for number in range(4 * max(crm.cuts)))
                moved_while_read(scene, ids, who, scene.edit)
                scene.catch_up()
                scene.assert_whole(f"edits of {name}")

    def test_edits_that_show_late_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """A record may show its new time in its old place for a while: it must not make anybody jump."""
        for name, who in EDITED.items():
            for scene in scenes(crm):
                ids = scene.fill(range(4 * max(crm.cuts)))
                for crm_id in ids[3:7]:  # these show their new time, which is of this window, from the start
                    scene.edit(crm_id, late_by=LATE_S)
                crm.advance(5)
                moved_while_read(scene, ids, who, partial(scene.edit, late_by=LATE_S))
                scene.catch_up()
                scene.assert_whole(f"late edits of {name}")

    def test_records_deleted_while_they_are_read_hide_none_of_their_neighbours(self, crm: Crm) -> None:
        """A record that goes leaves a gap that nobody falls into, wherever the reading stands."""
        for name, who in EDITED.items():
            for scene in scenes(crm):
                ids = scene.fill(number // 2 for number in range(4 * max(crm.cuts)))
                moved_while_read(scene, ids, who, scene.delete)
                scene.catch_up()
                scene.assert_whole(f"deletion of {name}")

    def test_no_history_loses_a_record(self, crm: Crm) -> None:
        """Edits, deletions, new and late records, at any moment, and a crash now and then: in the end all is there."""
        for seed in range(STORMS):
            for scene in scenes(crm):
                storm(scene, random.Random(seed))
                scene.assert_whole(f"history {seed}")

    # -- look-ups -----------------------------------------------------------------------

    def test_a_look_up_tells_of_every_id(self, crm: Crm) -> None:
        """Found ids come as whole records, each once; deleted and unknown ones are missing; none is none."""
        for scene in scenes(crm):
            here, there, gone = scene.fill([0, 5, 7])
            scene.delete(gone)
            unknown = crm.unknown_id(scene.stream)
            found, missing = scene.look_up([there, unknown, here, there, gone, unknown])
            assert set(found) == {here, there}
            assert sorted(missing) == sorted([gone, unknown])
            assert {each: found[each].ref.modified_at for each in found} == {here: scene.at(0), there: scene.at(5)}
            assert {each: scene.title(found[each]) for each in found} == {
                each: scene.truth[each].title for each in (here, there)
            }
            assert scene.look_up([]) == ({}, [])
            assert scene.look_up([unknown]) == ({}, [unknown])

    def test_a_thousand_ids_are_looked_up_at_once(self, crm: Crm) -> None:
        """The engine asks for up to 1,000 ids in one call."""
        for scene in scenes(crm):
            ids = scene.fill(number % 50 for number in range(1_000))
            found, missing = scene.look_up(ids[::-1])
            assert (set(found), missing) == (set(ids), [])

    def test_a_look_up_believes_no_cache(self, crm: Crm) -> None:
        """What changed since is seen, though nothing moved the record's modification time: its own and its person's."""
        for scene in scenes(crm):
            (crm_id,) = scene.fill([0])
            connector = scene.connect()
            scene.read(connector=connector)
            scene.look_up([crm_id], connector)
            scene.edit(crm_id, touch=False)
            address = "renamed.quince@quillhaven-gears.com"
            crm.readdress(scene.stream, crm_id, address)
            found, _ = scene.look_up([crm_id], connector)
            draft = connector.normalize(scene.stream, found[crm_id])
            assert draft is not None
            assert draft.title == scene.truth[crm_id].title, "an edit that moved no timestamp is seen"
            assert address in {person.email for person in (*draft.contacts, *draft.others)}, "so is a person's"

    def test_a_record_means_the_same_by_window_and_by_id(self, crm: Crm) -> None:
        """Whichever way a record was read, its draft is the same."""
        for scene in scenes(crm):
            ids = scene.fill(range(max(crm.cuts) + 1))
            connector = scene.connect()
            pages = scene.read(connector=connector)
            by_window = {each.ref.crm_id: each for page in pages for each in page.records}
            by_id, _ = scene.look_up(ids)
            for crm_id in ids:
                drafts = [connector.normalize(scene.stream, read[crm_id]) for read in (by_window, by_id)]
                assert drafts[0] == drafts[1], "one record, one meaning"
                assert drafts[0] is not None
                assert (by_window[crm_id].ref, by_id[crm_id].ref.crm_id) == (by_id[crm_id].ref, crm_id)

    # -- meaning ------------------------------------------------------------------------

    def test_records_mean_what_the_golden_pairs_say(self, crm: Crm) -> None:
        """Each record of the author's golden pairs becomes its draft, to the letter."""
        for scene in scenes(crm):
            pairs = crm.golden(scene.stream)
            assert pairs, f"the stream {scene.stream} has a golden pair"
            connector = scene.connect()
            for record, expected in pairs:
                found = connector.normalize(scene.stream, record)
                assert found == expected, f"expected {expected!r}, got {found!r}"

    def test_normalizing_is_pure(self, crm: Crm) -> None:
        """The same record means the same again, is left as it was, and nobody is asked or waited for."""
        for scene in scenes(crm):
            records = _records(scene)
            connector = scene.connect()
            asked, slept = crm.requests(), len(scene.slept)
            before = deepcopy(records)
            drafts = [connector.normalize(scene.stream, record) for record in records]
            assert drafts == [connector.normalize(scene.stream, record) for record in records], "the same again"
            assert drafts == [scene.connect().normalize(scene.stream, record) for record in records], "in another pass"
            assert records == before, "a record is left as it was"
            assert (crm.requests(), len(scene.slept)) == (asked, slept), "nobody is asked or waited for"
            for draft in drafts:
                _expect_sound(scene, draft)

    def test_a_damaged_record_never_hangs_nor_stops_anybody(self, crm: Crm) -> None:
        """Whatever stands in a field, normalize returns or raises an Exception, soon: it becomes a dead row."""
        for scene in scenes(crm):
            said = Heard()
            connector = scene.connect()
            for record in _records(scene):
                for broken in damaged(record):
                    draft, began = None, time.thread_time()
                    try:
                        draft = connector.normalize(scene.stream, broken)
                    except SyncdError as error:  # its message is shown; of any other the type alone
                        said.also([error.message, error.hint])
                    except Exception:  # noqa: BLE001 - any will do
                        draft = None
                    assert time.thread_time() - began < BRIEF_S, "it takes its time over a damaged record"
                    _expect_sound_if_any(scene, draft)
            assert_private(crm, said)

    # -- people -------------------------------------------------------------------------

    def test_owners_are_known_once_a_page_was_read_without_asking(self, crm: Crm) -> None:
        """After each page the engine asks who is on our side: that costs no request, and names the drafts' owners."""
        for scene in scenes(crm):
            scene.fill(range(3))
            for _ in range(2):  # in the second pass all is known
                connector = scene.connect()
                pages = scene.read(since=scene.start, connector=connector)
                asked = crm.requests()
                owners = connector.owners()
                assert crm.requests() == asked, "no request once a page was read"
                drafts = [connector.normalize(scene.stream, each) for page in pages for each in page.records]
                named = {draft.owner.email for draft in drafts if draft is not None and draft.owner is not None}
                assert named - {None} or not drafts, "the sandbox's records have an owner with an address"
                assert named - {None} <= {owner.email for owner in owners}, "a draft's owner is one of our side"
                assert all(isinstance(each, Owner) for each in owners)

    # -- manners ------------------------------------------------------------------------

    def test_check_finds_nothing_wrong_on_a_good_day(self, crm: Crm) -> None:
        """Each line of `syncd check` says what it is about, and all are fine."""
        for scene in scenes(crm):
            findings = scene.connect().check()
            assert findings, "there is something to check"
            expect_helpful(findings)
            assert [each.what for each in findings if not each.ok and not each.warning] == []

    def test_a_bad_day_ends_in_an_error_that_helps_and_tells_nothing_private(self, crm: Crm) -> None:
        """Unavailable, Malformed or Unauthorized with a hint, never a traceback; check() finds, and does not raise."""
        for name, begin in crm.bad_days().items():
            for scene in scenes(crm):
                scene.fill(range(3))
                begin()
                with heard() as said:
                    errors = troubled(scene, said)
                    findings = scene.connect().check()
                    said.also(findings)
                crm.heal()
                expect_helpful(findings)
                assert errors, f"{name}: nobody noticed"
                assert [each for each in findings if not each.ok], f"{name}: check() noticed nothing"
                assert_private(crm, said)

    def test_nothing_private_is_said_on_a_good_day(self, crm: Crm) -> None:
        """No log line holds a credential, an address, a name or a subject; the store holds no credential."""
        for scene in scenes(crm):
            ids = scene.fill(range(3))
            with heard() as said:
                connector = scene.connect()
                connector.identity()
                scene.read(connector=connector)
                scene.look_up([*ids, crm.unknown_id(scene.stream)], connector)
                connector.owners()
                said.also(connector.check())
                said.also([connector, connector.Config(**crm.table())])
            assert_private(crm, said)
            kept = "\n".join(text for _, text in scene.store.kept.values())
            assert not [secret for secret in crm.secrets if secret in kept], "the store holds a credential"

    def test_the_engine_may_leave_in_the_middle(self, crm: Crm) -> None:
        """Closing an unfinished fetch returns soon, and leaves no thread behind."""
        for scene in scenes(crm):
            scene.fill(range(4 * max(crm.cuts)))
            before = set(threading.enumerate())
            connector = scene.connect()
            reading = connector.fetch(scene.stream, scene.window(None))
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
        for scene in scenes(crm):
            ids = scene.fill(range(3 * max(crm.cuts)))
            for calls in range(4):
                stopped(scene, calls, scene.read)
                stopped(scene, calls, partial(scene.look_up, ids))
            scene.forget()
            scene.read()
            scene.assert_whole()


def _expect_sound(scene: Scene, draft: Draft | None) -> None:
    assert draft is not None, "the suite's records are activities"
    _expect_sound_if_any(scene, draft)


def _expect_sound_if_any(scene: Scene, draft: Draft | None) -> None:
    if draft is not None:
        kinds = {stream.name: stream.kind for stream in scene.crm.connector.streams}
        assert draft.kind == kinds[scene.stream], "a draft is of its stream's kind"
        for at in (draft.occurred_at, draft.created_at):
            assert at.tzinfo is not None, "times are aware"


def _records(scene: Scene) -> list[Record]:
    """Return records as they come, and the golden ones."""
    scene.fill([0])
    pages = scene.read()
    return [each for page in pages for each in page.records] + [
        record for record, draft in scene.crm.golden(scene.stream) if draft is not None
    ]


def _counts(crm: Crm) -> list[int]:
    """Return numbers of records that lie about one cut and about two."""
    return sorted({max(1, times * cut + more) for cut in crm.cuts for times in (1, 2) for more in (-1, 0, 1)} | {1})


def _wide(scene: Scene, since: datetime, until: datetime) -> list[Ref]:
    """Read a window of odd bounds, past the checks that hold for whole granules."""
    found: list[Page] = list(scene.connect().fetch(scene.stream, scene.window(until, since=since)))
    assert all(page.complete_until is not None and page.complete_until <= until for page in found), (
        "no page vouches beyond the window"
    )
    return [ref for page in found for ref in page.refs]


def _nobody(refs: object) -> list[str]:
    return []


__all__ = ["ConnectorConformance"]
