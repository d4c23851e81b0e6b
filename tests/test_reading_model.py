"""Whatever a CRM fails at, by id, page or time, and whenever a pass is killed: what can be read is booked once.

A CRM in memory fails as told, under real passes and a real ledger. Another one beside it is read at the same time, or
in turn with it, page by page. After each pass no watermark has moved back and the books balance. At the end all causes
are gone, and every record has arrived, each once.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from syncd.activity import Draft, Owner, Person
from syncd.connector import Context, Finding, Page, Record, Ref, Settle, Source, SourceConfig, Stream, Window
from syncd.errors import Exit, Unavailable
from syncd.ledger import Ledger, LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes.engine import Pass
from syncd.passes.turns import Turn
from tests.fake_recotap import Recotap
from tests.ledgers import ask

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
OURS = Owner("7", "ada.eschenfeld@lanternfield.com")
THEIRS = Person("kaya.ivorstone@amber-bolts.com", "9")
PAGE = 3  # records
PLACES = st.integers(0, 11)  # seconds, four hours apart, at which records stand: several share one
IDS = st.integers(0, 40)


class Killed(BaseException):
    """As kill -9: nothing of the open transaction stays."""


class Crm:
    """The records, and what it fails at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: dict[str, datetime] = {}
        self.incomplete: set[str] = set()  # without a contact
        self.bad_ids: set[str] = set()  # each request for the whole record fails
        self.bad_seconds: set[datetime] = set()  # each search of that second fails
        self.fails_at_page = 0  # of each window; 0: none
        self.is_down = False

    def between(self, since: datetime, until: datetime) -> list[Ref]:
        found = [Ref(crm_id, at) for crm_id, at in self.records.items() if since <= at <= until]
        return sorted(found, key=lambda each: (each.modified_at, each.crm_id))


def connector(crm: Crm, now: Any) -> type[Any]:
    """Return a connector for `crm`, whose windows are whole seconds."""

    class Reads:
        Config: ClassVar[type[SourceConfig]] = SourceConfig
        streams = (Stream("calls", "call"),)

        def __init__(self, config: SourceConfig, context: Context) -> None:
            self._until: datetime = now().replace(microsecond=0)

        def identity(self) -> str | None:
            return crm.name

        def fetch(self, stream: str, window: Window) -> Iterator[Page]:
            since, until = window.since.replace(microsecond=0), (window.until or self._until).replace(microsecond=0)
            refs = crm.between(since, until)
            for number, start in enumerate(range(0, len(refs) or 1, PAGE), 1):
                some = refs[start : start + PAGE]
                upto = some[-1].modified_at if start + PAGE < len(refs) else until
                shown = some[0].modified_at if number > 1 else since
                bad = [at for at in crm.bad_seconds if shown <= at <= upto]
                if crm.is_down or bad or number == crm.fails_at_page:
                    raise Unavailable("the search fails")
                yield Page(some, self._records(window.needed(some) if some else ()), upto)

        def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
            if crm.is_down:
                raise Unavailable("the batch read fails")
            found = [crm_id for crm_id in ids if crm_id in crm.records]
            missing = [crm_id for crm_id in ids if crm_id not in crm.records]
            yield Page([Ref(each, crm.records[each]) for each in found], self._records(found), missing=missing)

        def _records(self, ids: Any) -> list[Record]:
            if crm.bad_ids & set(ids):
                raise Unavailable("the batch read fails")
            return [Record(Ref(crm_id, crm.records[crm_id]), {}) for crm_id in sorted(ids)]

        def normalize(self, stream: str, record: Record) -> Draft | None:
            at = record.ref.modified_at
            contacts = () if record.ref.crm_id in crm.incomplete else (THEIRS,)
            return Draft("call", at, at, title="Discovery call", owner=OURS, contacts=contacts)

        def owners(self) -> Sequence[Owner]:
            return (OURS,)

        def count(self, stream: str, window: Window) -> int:
            return len(crm.between(window.since, window.until or self._until))

        def check(self) -> list[Finding]:
            return []

        def close(self) -> None:
            """Do nothing."""

    return Reads


class Reading(RuleBasedStateMachine):
    """A CRM that fails and heals, and passes over it."""

    @initialize(start=st.sampled_from([0, 13, 30]), bad=st.sets(PLACES, max_size=2), bad_ids=st.sets(IDS, max_size=3))
    def start(self, start: int, bad: set[int], bad_ids: set[int]) -> None:
        """Two records stand at each place, some without a contact, and some cannot be served from the beginning."""
        self.place = Path(tempfile.mkdtemp(prefix="syncd-model-"))
        self.ledger = self.place / "ledger.db"
        self.at = START + 10 * DAY
        self.since = START + timedelta(hours=start)
        self.crm, self.beside, self.recotap = Crm("crm"), Crm("beside"), Recotap(concurrency=1)
        self.beside.records = {f"b{crm_id}": self.place_of(crm_id) for crm_id in range(7)}
        self.has_room = False
        self.crm.records = {str(crm_id): self.place_of(crm_id // 2) for crm_id in range(24)}
        self.crm.incomplete = {str(crm_id) for crm_id in range(0, 24, 4)}
        self.crm.bad_seconds = {self.place_of(place) for place in bad}
        self.crm.bad_ids = set(map(str, bad_ids))
        self.watermarks: dict[str, str] = {}
        self.passes = 0

    def teardown(self) -> None:
        if hasattr(self, "place"):
            try:
                self.it_heals()
            finally:
                shutil.rmtree(self.place)

    def place_of(self, place: int) -> datetime:
        return START + place * timedelta(hours=4)

    @rule(ids=st.lists(IDS, max_size=6, unique=True), whole=st.booleans())
    def records_appear(self, ids: list[int], whole: bool) -> None:
        for crm_id in map(str, ids):
            if crm_id not in self.crm.records:
                self.crm.records[crm_id] = self.at.replace(microsecond=0)
                if not whole:
                    self.crm.incomplete.add(crm_id)

    @rule(crm_id=IDS, is_down=st.booleans())
    def the_other_crm_changes(self, crm_id: int, is_down: bool) -> None:
        self.beside.records[f"b{crm_id}"] = self.at.replace(microsecond=0)
        self.beside.is_down = is_down

    @rule(has_room=st.booleans())
    def there_is_room_for_both_or_one(self, has_room: bool) -> None:
        self.has_room = has_room

    @rule(crm_id=IDS)
    def an_id_breaks(self, crm_id: int) -> None:
        self.crm.bad_ids.add(str(crm_id))

    @rule(place=PLACES)
    def a_second_breaks(self, place: int) -> None:
        self.crm.bad_seconds.add(self.place_of(place))

    @rule(crm_id=IDS)
    def a_record_moves_or_is_completed(self, crm_id: int) -> None:
        self.crm.incomplete.discard(str(crm_id))
        if str(crm_id) in self.crm.records:
            self.crm.records[str(crm_id)] = self.at.replace(microsecond=0)
            if crm_id % 5 == 0:
                self.crm.bad_seconds.add(self.at.replace(microsecond=0))

    @rule(page=st.integers(0, 3))
    def pages_break(self, page: int) -> None:
        self.crm.fails_at_page = page

    @rule(down=st.booleans())
    def an_outage_comes_or_goes(self, down: bool) -> None:
        self.crm.is_down = down

    @rule()
    def some_causes_go(self) -> None:
        self.crm.bad_ids = {each for each in self.crm.bad_ids if int(each) % 2}
        self.crm.bad_seconds = set(sorted(self.crm.bad_seconds)[:1])

    @rule(hours=st.sampled_from([0, 13, 20]))
    def the_start_is_set_back(self, hours: int) -> None:
        self.since = min(self.since, START + timedelta(hours=hours))

    @rule(killed_at=st.integers(0, 4), minutes=st.sampled_from([1, 5, 20, 70, 400]))
    def a_pass(self, killed_at: int, minutes: int) -> None:
        self.at += minutes * MINUTE
        self.sync(killed_at)

    @rule()
    def passes_go_on(self) -> None:
        for _ in range(3):
            self.at += 20 * MINUTE
            self.sync()

    def sync(self, killed_at: int = 0) -> Exit | None:
        config = SourceConfig(connector="crm", start=self.since, settle=Settle(call="0s", email="0s"))
        sources = [Source(crm.name, config, connector(crm, lambda: self.at)) for crm in (self.crm, self.beside)]
        rules = Rules(own_domains=frozenset({"lanternfield.com"}))
        steps = 0
        before = Ledger.book

        def book(ledger: Ledger, *what: Any, **how: Any) -> Any:
            nonlocal steps
            steps += 1
            booked = before(ledger, *what, **how)
            if steps == killed_at:
                raise Killed
            return booked

        self.passes += 1
        with (
            suppress(Killed),
            mock.patch.object(Ledger, "book", book),
            mock.patch("syncd.passes.look_ups.LOOK_UPS_AT_ONCE", 5),
            mock.patch("syncd.passes.look_ups.LOOK_UP_PAGES", 3),
            mock.patch("syncd.passes.ranges.RANGE_PAGES", 2),
            mock.patch("syncd.passes.readers.MOST", 2 if self.has_room else 1),
            mock.patch.object(Turn, "is_over", lambda turn, now: turn.first_progress_at is not None),
            LedgerHandle(self.ledger).open() as ledger,
        ):
            return (
                Pass(
                    ledger, sources, self.recotap, rules, concurrency=1, max_age=timedelta(days=7), now=lambda: self.at
                )
                .run()
                .exit_code
            )
        return None

    @invariant()
    def the_books_are_true(self) -> None:
        if not hasattr(self, "ledger") or not self.ledger.exists():
            return
        found: dict[str, str] = dict(ask(self.ledger, "SELECT source, coalesce(watermark, '') FROM streams"))
        assert all(found[name] >= before for name, before in self.watermarks.items()), "it never moves back"
        self.watermarks = found
        assert ask(self.ledger, "SELECT count(*) FROM activities") == ask(
            self.ledger, "SELECT coalesce(sum(seen), 0) FROM streams"
        )
        assert max(self.recotap.stored.values(), default=1) == 1

    def it_heals(self) -> None:
        """End all failures, and set the start back: then everything arrives within a few days."""
        self.crm.bad_ids, self.crm.bad_seconds, self.crm.fails_at_page, self.crm.is_down = set(), set(), 0, False
        self.crm.incomplete.clear()
        self.beside.is_down = False
        self.since = START
        code: Exit | None = None
        for _ in range(40):
            self.at += timedelta(hours=13)
            code = self.sync()
            if code == Exit.OK and not self.open_look_ups():
                break
        assert code == Exit.OK
        records = self.crm.records | self.beside.records
        wanted = {crm_id for crm_id, at in records.items() if at >= self.since.replace(microsecond=0)}
        states: dict[str, str] = dict(ask(self.ledger, "SELECT crm_id, state FROM activities"))
        assert {crm_id: states.get(crm_id) for crm_id in wanted} == dict.fromkeys(wanted, "delivered")
        assert ask(self.ledger, "SELECT count(*) FROM ranges") == [(0,)]
        assert set(self.recotap.stored) == {
            f"{'beside' if crm_id.startswith('b') else 'crm'}-call-{crm_id}" for crm_id in states
        }

    def open_look_ups(self) -> int:
        sql = "SELECT (SELECT count(*) FROM activities WHERE state <> 'delivered') + (SELECT count(*) FROM ranges)"
        return int(ask(self.ledger, sql)[0][0])


TestReading = Reading.TestCase
TestReading.settings = settings(
    max_examples=14, stateful_step_count=20, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip
