"""Records: look-ups by id, drafts and owners."""

import time
from copy import deepcopy

from syncd.activity import Draft, Owner
from syncd.connector import Record
from syncd.errors import SyncdError
from syncd.testing.captured import Captured
from syncd.testing.crm import Crm
from syncd.testing.harness import Harness, harnesses
from syncd.testing.malformed import malformed
from syncd.testing.outages import BRIEF_S, assert_private


class RecordConformance:
    """Test `fetch_ids`, `normalize` and `owners`."""

    def test_a_look_up_accounts_for_every_id(self, crm: Crm) -> None:
        """A look-up returns each found record once and reports deleted and unknown ids as missing.

        No ids give no records.
        """
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
        """One call accepts 1,000 ids, the most that the engine asks for."""
        for harness in harnesses(crm):
            ids = harness.fill(number % 50 for number in range(1_000))
            found, missing = harness.look_up(ids[::-1])
            assert (set(found), missing) == (set(ids), [])

    def test_a_look_up_bypasses_every_cache(self, crm: Crm) -> None:
        """A look-up sees changes of the record and of its person that moved no modification time."""
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
            assert draft.title == harness.truth[crm_id].title, "an edit without a new modification time is seen"
            assert address in {person.email for person in (*draft.contacts, *draft.others)}, "a person's change is seen"

    def test_a_record_means_the_same_by_window_and_by_id(self, crm: Crm) -> None:
        """A record has the same draft whether it was read by window or by id."""
        for harness in harnesses(crm):
            ids = harness.fill(range(max(crm.cuts) + 1))
            connector = harness.connect()
            pages = harness.read(connector=connector)
            by_window = {each.ref.crm_id: each for page in pages for each in page.records}
            by_id, _ = harness.look_up(ids)
            for crm_id in ids:
                drafts = [connector.normalize(harness.stream, read[crm_id]) for read in (by_window, by_id)]
                assert drafts[0] == drafts[1], "both ways give the same draft"
                assert drafts[0] is not None
                assert (by_window[crm_id].ref, by_id[crm_id].ref.crm_id) == (by_id[crm_id].ref, crm_id)

    def test_records_mean_what_the_golden_pairs_say(self, crm: Crm) -> None:
        """Each record of the golden pairs is normalized to exactly its draft."""
        for harness in harnesses(crm):
            pairs = crm.golden(harness.stream)
            assert pairs, f"the stream {harness.stream} has a golden pair"
            connector = harness.connect()
            for record, expected in pairs:
                found = connector.normalize(harness.stream, record)
                assert found == expected, f"expected {expected!r}, got {found!r}"

    def test_normalizing_is_pure(self, crm: Crm) -> None:
        """normalize() always returns the same draft, leaves the record unchanged, sends no request and never waits."""
        for harness in harnesses(crm):
            records = _records(harness)
            connector = harness.connect()
            asked, slept = crm.requests(), len(harness.slept)
            before = deepcopy(records)
            drafts = [connector.normalize(harness.stream, record) for record in records]
            assert drafts == [connector.normalize(harness.stream, record) for record in records], "the same draft again"
            assert drafts == [harness.connect().normalize(harness.stream, record) for record in records], (
                "the same draft in another pass"
            )
            assert records == before, "a record is left unchanged"
            assert (crm.requests(), len(harness.slept)) == (asked, slept), "no request and no wait"
            for draft in drafts:
                _expect_sound(harness, draft)

    def test_a_malformed_record_neither_hangs_nor_stops_a_pass(self, crm: Crm) -> None:
        """With junk in any field, normalize() soon returns or raises an Exception, which makes a dead row."""
        for harness in harnesses(crm):
            output = Captured()
            connector = harness.connect()
            for record in _records(harness):
                for broken in malformed(record):
                    draft, began = None, time.thread_time()
                    try:
                        draft = connector.normalize(harness.stream, broken)
                    except SyncdError as error:  # its message is shown, of other exceptions only the type
                        output.add([error.message, error.hint])
                    except Exception:  # noqa: BLE001 - any will do
                        draft = None
                    assert time.thread_time() - began < BRIEF_S, "normalizing a malformed record takes too long"
                    _expect_sound_if_any(harness, draft)
            assert_private(crm, output)

    def test_owners_are_known_after_a_page_without_a_request(self, crm: Crm) -> None:
        """After a page was read, owners() sends no request and returns the owners of all drafts."""
        for harness in harnesses(crm):
            harness.fill(range(3))
            for _ in range(2):  # the second pass knows all records
                connector = harness.connect()
                pages = harness.read(since=harness.start, connector=connector)
                asked = crm.requests()
                owners = connector.owners()
                assert crm.requests() == asked, "no request after a page was read"
                drafts = [connector.normalize(harness.stream, each) for page in pages for each in page.records]
                named = {draft.owner.email for draft in drafts if draft is not None and draft.owner is not None}
                assert named - {None} or not drafts, "the sandbox's records have an owner with an address"
                assert named - {None} <= {owner.email for owner in owners}, "owners() contains every draft's owner"
                assert all(isinstance(each, Owner) for each in owners)


def _expect_sound(harness: Harness, draft: Draft | None) -> None:
    assert draft is not None, "the suite's records are activities"
    _expect_sound_if_any(harness, draft)


def _expect_sound_if_any(harness: Harness, draft: Draft | None) -> None:
    if draft is not None:
        kinds = {stream.name: stream.kind for stream in harness.crm.connector.streams}
        assert draft.kind == kinds[harness.stream], "a draft has its stream's kind"
        for at in (draft.occurred_at, draft.created_at):
            assert at.tzinfo is not None, "times are aware"


def _records(harness: Harness) -> list[Record]:
    """Return records read from the CRM, and the golden ones."""
    harness.fill([0])
    pages = harness.read()
    return [each for page in pages for each in page.records] + [
        record for record, draft in harness.crm.golden(harness.stream) if draft is not None
    ]


__all__ = ["RecordConformance"]
