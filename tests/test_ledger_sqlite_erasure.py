"""No byte of a payload is left in the file once it was sent, and a delivered activity takes little of it."""

import random
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.ledger import AttemptResult, LedgerHandle, upkeep
from syncd.lifecycle.states import State, Verdict
from tests.ledgers import MINUTE, NOW, WEEK, ask, book, due, file_of, files, half, judge, names, send
from tests.ledgers import reading as look

CANARY = "kanarienvogel"


def bytes_of(ledger):
    return b"".join(part.read_bytes() for part in files(file_of(ledger)))


class TestErasure:
    """Personal data stands in the file while an activity is pending, and nowhere afterwards."""

    @pytest.mark.parametrize("size", [10, 3000, 300_000])
    @pytest.mark.parametrize("verdict", [Verdict.CREATED, Verdict.SKIPPED])
    def test_no_byte_of_a_payload_is_left_after_its_delivery_and_the_end_of_the_pass(self, ledger, size, verdict):
        number = ledger.begin_pass(NOW)
        book(ledger, *(look(crm_id, note=CANARY * (size // 10)) for crm_id in range(20)))
        assert CANARY.encode() in bytes_of(ledger)
        send(ledger, verdict)
        ledger.end_pass(number, exit_code=0, now=NOW)
        assert CANARY.encode() not in bytes_of(ledger)

    @pytest.mark.parametrize("size", [10, 3000])
    def test_nor_among_others_that_are_still_pending(self, ledger, size):
        book(ledger, *(look(crm_id, note=f"{CANARY if crm_id % 2 else 'spatz'}" * size) for crm_id in range(40)))
        for each in due(ledger):
            claim = ledger.intend([each], now=NOW)
            judge(ledger, claim, Verdict.CREATED if CANARY in claim.activities[0].body else Verdict.UNREACHABLE)
        ledger.tidy()
        assert CANARY.encode() not in bytes_of(ledger)
        assert b"spatz" * 10 in bytes_of(ledger)

    @pytest.mark.parametrize("wanted", [State.INCOMPLETE, State.EXCLUDED])
    def test_nor_when_a_fresh_look_takes_it_out_of_the_queue(self, ledger, wanted):
        book(ledger, look(1, note=CANARY))
        book(ledger, look(1, wanted, "no_contact"))
        ledger.tidy()
        assert CANARY.encode() not in bytes_of(ledger)

    def test_nor_of_the_former_text_when_a_record_changed(self, ledger):
        book(ledger, look(1, note=CANARY * 9))
        book(ledger, look(1, note="spatz"))
        ledger.tidy()
        assert CANARY.encode() not in bytes_of(ledger)

    def test_nor_when_it_dies(self, ledger):
        book(ledger, look(1, note=CANARY))
        send(ledger, Verdict.FAILED, max_age=timedelta(0))
        ledger.tidy()
        assert CANARY.encode() not in bytes_of(ledger)

    def test_nor_of_a_row_that_is_deleted_whole(self, ledger):
        book(ledger, look(1, note=CANARY), look(2))
        send(ledger, Verdict.UNREACHABLE, CANARY)
        ledger._db.execute("DELETE FROM activities WHERE crm_id = '1'")
        assert (
            ask(ledger, "SELECT activity_id FROM payloads") == ask(ledger, "SELECT activity_id FROM attempts") == [(2,)]
        )

    def test_the_end_of_a_pass_empties_the_wal(self, ledger):
        book(ledger, look(1))
        wal = Path(f"{file_of(ledger)}-wal")
        assert wal.stat().st_size > 0
        ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
        assert wal.stat().st_size == 0

    def test_room_that_a_backlog_took_is_given_back(self, ledger):
        for page in range(5):
            book(ledger, *(look(page * 1000 + crm_id, note="x" * 1500) for crm_id in range(1000)))
        ledger.tidy()
        full = file_of(ledger).stat().st_size
        while due(ledger):
            send(ledger, limit=1000)
        ledger.tidy()
        assert file_of(ledger).stat().st_size < full / 4

    def test_a_few_free_pages_are_kept_for_the_next_pass(self, ledger):
        book(ledger, *(look(crm_id, note="x" * 1500) for crm_id in range(100)))
        send(ledger, limit=100)
        ledger.tidy()
        assert ask(ledger, "PRAGMA freelist_count")[0][0] > 10


class TestSize:
    def test_a_delivered_activity_takes_less_than_275_bytes_of_the_file(self, ledger):
        """These are a tenth of the 200,000 that must stay under 60 MB.

        `python -m tests.test_ledger_sqlite_erasure FILE` makes all of them.
        """
        deliver_many(ledger, 20_000)
        assert ledger.counts()["delivered"] == 20_000
        pages, free = (ask(ledger, f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count"))
        assert (pages - free) * 4096 < 5_500_000
        assert free < upkeep.VACUUM_PAGES


def deliver_many(ledger, count):
    """Deliver `count` activities as a first pass would: a thousand a page, fifty a POST, ids as long as HubSpot's."""
    first = 109_876_543_210
    number = ledger.begin_pass(NOW)
    for page in range(first, first + count, 1000):
        with ledger.transaction():
            book(ledger, *(look(crm_id, note="x" * 700) for crm_id in range(page, page + 1000)), watermark=NOW)
        with ledger.transaction():
            while batch := due(ledger):
                judge(ledger, ledger.intend(batch, now=NOW), *[Verdict.CREATED] * 50)
    ledger.end_pass(number, exit_code=0, now=NOW)


if __name__ == "__main__":
    with LedgerHandle(Path(sys.argv[1])).open() as whole:
        deliver_many(whole, 200_000)
        print(f"{file_of(whole).stat().st_size / 1e6:.1f} MB for 200,000 delivered activities")


def test_at_the_end_of_a_pass_no_byte_of_an_erased_payload_is_left_beside_those_that_wait(tmp_path):
    """SQLite leaves copies of rows that it has moved to another page, which `secure_delete` does not overwrite."""
    path, chosen, waiting = tmp_path / "ledger.db", random.Random(0), {*range(0, 400, 7)}
    with LedgerHandle(path).open() as ledger:
        pass_id = ledger.begin_pass(NOW)
        for turn in range(5):
            at = NOW + turn * MINUTE
            some = chosen.sample(range(400), 80) if turn else range(400)
            notes = ((each, f"<{each}>" + "z" * chosen.randint(10, 1500)) for each in some)
            book(ledger, *(look(each, modified_at=at, note=note) for each, note in notes), now=at)
        first_post = ledger.first_post()
        while claimed := (claim := ledger.intend(due(ledger, first_post=first_post, now=at), now=at)).activities:
            verdicts = (Verdict.REFUSED if int(name) in waiting else Verdict.CREATED for name in names(claimed))
            results = [AttemptResult(each.id, verdict) for each, verdict in zip(claimed, verdicts, strict=True)]
            ledger.record_verdicts(claim.post_id, results, now=at, max_age=WEEK, random=half)
        ledger.tidy()
        assert notes_in(path) - waiting, "otherwise this test shows nothing"
        ledger.end_pass(pass_id, exit_code=0, now=at)
        assert notes_in(path) == waiting


def notes_in(path):
    return {int(found) for found in re.findall(rb"<(\d+)>z", path.read_bytes())}
