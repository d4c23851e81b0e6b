"""External text at each place of entry: no text stops an item's neighbours."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, ClassVar

import pytest

from syncd.activity import Company, Draft, Owner, Person
from syncd.connector import Context, Finding, Page, Record, Ref, Source, SourceConfig, Stream, Window
from syncd.errors import Exit, Malformed, Unavailable, Unreadable
from syncd.ledger import Ledger, LedgerHandle, outbox, rows
from syncd.lifecycle.states import Verdict
from tests.ledgers import NOW, WEEK, book, due, half, row
from tests.ledgers import reading as look
from tests.world import World

BIG = "x" * 1_000_000
ODD_TEXTS: dict[str, Any] = {
    "half an emoji": "\ud83d", "the other half": "\ude00 cut", "NUL": "a\x00b", "ESC": "\x1b]0;owned\x07\x1b[31mred",
    "C1": "\x9b31m\x9d0;t\x9c", "bidi": "\u202egnp.\u2066", "lines": "a\r\nb\u2028c", "tags": "\U000e0041", "long": BIG,
    "object": {"message": "\ud83d"}, "list": ["\x1b", ["\ud83d"]], "number": 5, "large number": 10**400, "true": True,
    "float": 1e308,
}  # fmt: skip
DEEP: Any = json.loads("[" * 90 + "]" * 90)  # inside a response, which may have 100 levels
TOO_DEEP: Any = json.loads("[" * 200 + "]" * 200)


def is_fit(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 1000 and value.isprintable())


def stored_texts(world: World) -> list[object]:
    found = [("activities", "detail"), ("attempts", "detail"), ("streams", "last_error"), ("pauses", "reason"),
             ("sources", "identity"), ("activities", "crm_id"), ("activities", "external_activity_id"),
             ("activities", "reason")]  # fmt: skip
    return [value for table, column in found for (value,) in world.sql(f"SELECT {column} FROM {table}")]


# -- Recotap's response ---------------------------------------------------------------------


@pytest.mark.parametrize("odd", [*ODD_TEXTS, "deep"])
def test_no_text_of_recotaps_stops_the_neighbours(world: World, monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    calls = world.calls(9)
    says = list(product(("failed", "skipped"), ("error", "reason")))
    bad, good = dict(zip(calls[1::2], says, strict=True)), calls[::2]
    store = world.recotap._store
    said = {**ODD_TEXTS, "deep": DEEP}[odd]

    def answer(item: dict[str, Any]) -> dict[str, Any]:
        name = item["externalActivityId"]
        status, field = bad.get(name.rpartition("-")[2], ("", ""))
        return {"externalActivityId": name, "status": status, field: said} if status else store(item)

    monkeypatch.setattr(world.recotap, "_store", answer)
    outcome = world.sync()
    assert outcome.exit_code == Exit.OK
    assert world.delivered == set(good)
    for crm_id, (status, _) in bad.items():
        assert world.row(crm_id)["state"] == ("skipped" if status == "skipped" else "pending")
        assert world.row(crm_id)["attempts"][-1]["verdict"] == status
    assert all(map(is_fit, stored_texts(world)))


def test_a_response_that_nests_too_deep_says_nothing_of_its_ids_which_are_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not parsed. Its ids are sent again in smaller batches, and the stored ones are duplicates."""
    bad, *good = world.calls(3)
    store = world.recotap._store

    def answer(item: dict[str, Any]) -> dict[str, Any]:
        said = store(item)
        return {**said, "reason": TOO_DEEP} if item["externalActivityId"].endswith(bad) else said

    monkeypatch.setattr(world.recotap, "_store", answer)
    for _ in range(8):  # the probe is chosen at random: if it is the bad one, the others go in a later pass
        world.sync()
        world.later(minutes=10)
    assert world.row(bad)["state"] == "pending"
    assert [world.row(crm_id)["state"] for crm_id in good] == ["delivered"] * 2
    assert world.row(bad)["attempts"][-1]["verdict"] in ("unanswered", "suspect")
    assert all(map(is_fit, stored_texts(world)))
    monkeypatch.setattr(world.recotap, "_store", store)
    for _ in range(3):
        world.later(hours=2)
        world.sync()
    assert {world.row(crm_id)["state"] for crm_id in (bad, *good)} == {"delivered"}
    assert world.recotap.doubled == 0


@pytest.mark.parametrize("odd", [name for name in ODD_TEXTS if name not in ("object", "list")])
@pytest.mark.parametrize("field", ["status", "externalActivityId"])
def test_no_field_of_an_item_stops_the_neighbours(
    world: World, monkeypatch: pytest.MonkeyPatch, odd: str, field: str
) -> None:
    bad, *good = world.calls(3)
    store = world.recotap._store

    def answer(item: dict[str, Any]) -> dict[str, Any]:
        said = {"externalActivityId": item["externalActivityId"], "status": "failed", field: ODD_TEXTS[odd]}
        return said if item["externalActivityId"].endswith(bad) else store(item)

    monkeypatch.setattr(world.recotap, "_store", answer)
    world.sync()
    assert world.delivered == set(good)
    assert world.row(bad)["attempts"][-1]["verdict"] == "unanswered"
    assert all(map(is_fit, stored_texts(world)))


# -- a foreign connector --------------------------------------------------------------------


class Odd:
    """Read records that a test defines."""

    Config = SourceConfig
    streams = (Stream("calls", "call"),)
    ids: Sequence[Any] = ()
    draft: ClassVar[dict[str, Any]] = {}  # of all records
    drafts: ClassVar[dict[str, dict[str, Any]]] = {}  # of some, by id
    error: BaseException | None = None
    unreadable: Exception | None = None
    who: Any = None
    modified: Any = None
    looked_up: ClassVar[list[str]] = []

    def __init__(self, config: SourceConfig, context: Context) -> None:
        self.now = context.now

    def identity(self) -> Any:
        return self.who

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        if self.error:
            raise self.error
        refs = [Ref(crm_id, self.modified or self.now() - timedelta(days=1)) for crm_id in self.ids]
        needed = window.needed(refs)
        yield Page(refs, [Record(ref, {}) for ref in refs if ref.crm_id in needed], self.now())

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        self.looked_up.extend(ids)
        yield Page((), (), missing=list(ids))

    def normalize(self, stream: str, record: Record) -> Draft | None:
        if self.unreadable:
            raise self.unreadable
        at = self.now() - timedelta(days=1)
        draft = Draft(
            kind="call", occurred_at=at, created_at=at, title="Discovery", contacts=(Person("kaya@amber-bolts.com"),),
            owner=Owner("7", "ada@lanternfield-sales.com"),
        )  # fmt: skip
        return replace(draft, **self.draft, **self.drafts.get(record.ref.crm_id, {}))

    def owners(self) -> Sequence[Owner]:
        return ()

    def count(self, stream: str, window: Window) -> int:
        return len(self.ids)

    def check(self) -> list[Finding]:
        return []

    def close(self) -> None:
        pass


def source(**how: Any) -> Source:
    config = SourceConfig(connector="odd", start=datetime(2026, 1, 1, tzinfo=UTC))
    return Source("odd", config, type("Odd", (Odd,), {"looked_up": [], **how}))


ODD_IDS: list[Any] = [
    "", "a\ud83d", "a\x00b", "a\nb", "\x1b[31m", "x" * 5_000_000, "\u202eb", 5, None, 2.5, b"7", "\ufffd",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
def test_an_odd_id_stops_no_other_record(world: World, odd: Any) -> None:
    read = source(ids=["1", odd, "3"])
    outcome = world.sync(sources=[read])
    assert outcome.exit_code == Exit.OK
    expected = {"1", "3"} | ({"5"} if odd == 5 else set())
    assert world.delivered == expected
    assert world.status()["seen"] == 3
    assert world.status()["balanced"]
    assert all(map(is_fit, stored_texts(world)))
    if odd != 5:
        assert world.sql("SELECT state, reason FROM activities WHERE state <> 'delivered'") == [("dead", "unreadable")]
    again = world.sync(sources=[read])
    assert (again.exit_code, again.totals.posts, world.status()["seen"]) == (Exit.OK, 0, 3)


def test_two_odd_ids_are_two_records_and_none_is_asked_for_by_its_stand_in(world: World) -> None:
    read = source(ids=["a\x00", "a\x01", "a"])
    world.sync(sources=[read])
    assert world.status()["activities"]["dead"] == 2
    world.sql("UPDATE activities SET next_attempt_at = '2020-01-01T00:00:00.000Z' WHERE state = 'dead'")
    assert world.sync(sources=[read]).exit_code == Exit.OK
    assert read.connector.looked_up == []  # type: ignore[attr-defined]
    assert world.sql("SELECT count(*) FROM activities WHERE next_attempt_at IS NOT NULL AND state = 'dead'") == [(0,)]


@pytest.mark.parametrize(
    "odd", [text for text in ODD_TEXTS.values() if isinstance(text, str)], ids=lambda odd: repr(odd[:9])
)
def test_no_text_of_a_connectors_error_stops_a_pass(world: World, odd: str) -> None:
    call = world.call()
    until = world.now() + timedelta(hours=2)
    errors: list[BaseException] = [
        Unavailable(odd, hint=odd, pause_until=until), Malformed(odd), ValueError(odd), KeyError(odd),
    ]  # fmt: skip
    for number, error in enumerate(errors):
        read = replace(source(error=error), name=f"odd{number}")
        world.sync(sources=[read, *world.config().sources])
    assert world.delivered == {call}
    assert all(map(is_fit, stored_texts(world)))


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_no_text_about_an_unreadable_record_stops_its_neighbours(world: World, odd: Any) -> None:
    outcome = world.sync(sources=[source(ids=["1"], unreadable=Unreadable(odd))])
    assert outcome.exit_code == Exit.OK
    assert world.state("1") == "dead unreadable"
    assert all(map(is_fit, stored_texts(world)))


@pytest.mark.parametrize("who", ["\ud83d7", "7\x00", "\x1b[31m7", 7, "7" * 5_000_000, "", None], ids=range(7))
def test_an_odd_identity_is_the_same_in_every_pass(world: World, who: Any) -> None:
    read = source(ids=["1"], who=who)
    assert [world.sync(sources=[read]).exit_code for _ in range(2)] == [Exit.OK, Exit.OK]
    assert world.delivered == {"1"}
    assert all(map(is_fit, stored_texts(world)))


@pytest.mark.parametrize("change", [
    {"modified": datetime(2026, 3, 1)}, {"modified": "2026"}, {"ids": [object()], "modified": 5}, {"ids": 5},
])  # fmt: skip
def test_a_connector_that_breaks_the_contract_stops_no_other_source(world: World, change: dict[str, Any]) -> None:
    call = world.call()
    outcome = world.sync(sources=[source(**{"ids": ["1"], **change}), *world.config().sources])
    assert "a bug in the connector of odd" in outcome.errors[0].message
    assert world.delivered == {call}


@pytest.mark.parametrize("change", [{"kind": "sms"}, {"occurred_at": datetime(2026, 3, 1)}, {"occurred_at": "2026"}])
def test_an_odd_draft_is_an_unreadable_record(world: World, change: dict[str, Any]) -> None:
    assert world.sync(sources=[source(ids=["1"], draft=change)]).exit_code == Exit.OK
    assert world.state("1") == "dead unreadable"


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_an_odd_text_of_a_record_is_cleaned_and_sent(world: World, odd: str) -> None:
    """One record has it in each field, and one has none."""
    said = "x" * 20_000 if odd == "long" else ODD_TEXTS[odd]
    person = Person("kaya@amber-bolts.com")
    drafts: dict[str, dict[str, Any]] = {
        "title": {"title": said}, "outcome": {"outcome": said}, "name": {"contacts": (replace(person, name=said),)},
        "id": {"contacts": (replace(person, crm_id=said),)}, "phone": {"contacts": (replace(person, phone=said),)},
        "owner": {"owner": Owner("7", "ada@lanternfield-sales.com", said)},
        "company": {"companies": (Company("9", said, ("amber-bolts.com",)),)},
    }  # fmt: skip
    world.sync(sources=[source(ids=[*drafts, "plain"], drafts=drafts)])
    assert world.sql("SELECT count(*) FROM activities WHERE state = 'pending'") == [(0,)]
    assert "plain" in world.delivered
    if isinstance(said, str):
        assert world.delivered == {*drafts, "plain"}
        for crm_id in drafts:
            json.dumps(world.payload(crm_id)).encode()


# -- the ledger itself ----------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Any) -> Iterator[Ledger]:
    with LedgerHandle(tmp_path / "ledger.db").open() as ledger:
        yield ledger


def test_a_verdict_that_cannot_be_written_undoes_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """If SQLite ever refused a text that passed `fit`, that item would lose its text, and the others nothing."""
    monkeypatch.setattr(outbox, "fit", str)
    book(ledger, *(look(number) for number in range(1, 4)))
    claim = ledger.intend(due(ledger), now=NOW)
    ids = [activity.id for activity in claim.activities]
    said = [
        outbox.AttemptResult(ids[0], Verdict.CREATED),
        outbox.AttemptResult(ids[1], Verdict.SKIPPED, "\ud83d"),
        outbox.AttemptResult(ids[2], Verdict.FAILED, "as it was"),
    ]
    ledger.record_verdicts(claim.post_id, said, now=NOW, max_age=WEEK, random=half)
    states = [row(ledger, crm_id)["state"] for crm_id in (1, 2, 3)]
    assert sorted(states) == ["delivered", "pending", "skipped"]
    details = ledger._db.execute("SELECT verdict, detail FROM attempts ORDER BY verdict").fetchall()
    assert details == [("created", None), ("failed", "as it was"), ("skipped", rows.UNWRITTEN)]


def test_a_reading_that_cannot_be_written_undoes_no_other(ledger: Ledger) -> None:
    bad = replace(look(2), payload='{"a": "\ud83d"}')
    book(ledger, look(1), bad, look(3))
    assert [row(ledger, crm_id)["state"] for crm_id in (1, 2, 3)] == ["pending", "dead", "pending"]
    assert row(ledger, 2)["detail"] == rows.UNWRITTEN
    assert ledger.balanced()
    book(ledger, replace(look(1, modified_at=NOW + timedelta(hours=1)), payload='{"a": "\ud83d"}'), look(4))
    assert [row(ledger, crm_id)["state"] for crm_id in (1, 4)] == ["pending", "pending"]
    assert row(ledger, 1)["body"] == look(1).payload, "as it was read before"
    assert ledger.balanced()
