"""Records that a connector names as unserved: they wait as `crm_error`, and nothing else waits for them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from connectors.hubspot import HubSpot
from syncd.connector import Page, Record, Ref, Window
from syncd.errors import Exit
from syncd.normalize import incoming
from syncd.text import is_stand_in
from tests.world import OWN, World

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


class Partial(HubSpot):
    """Names the records of `bad` as unserved. `asked` are the ids of its look-ups."""

    bad: ClassVar[set[str]] = set()
    asked: ClassVar[list[str]] = []

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        for page in super().fetch(stream, window):
            bad = self.bad & {ref.crm_id for ref in page.refs}
            records = [record for record in page.records if record.ref.crm_id not in bad]
            yield replace(page, records=records, unserved=dict.fromkeys(bad, "HubSpot answered 500"))

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        self.asked.extend(ids)
        bad = {*ids} & self.bad
        for page in super().fetch_ids(stream, [each for each in ids if each not in bad]):
            yield replace(page, unserved=dict.fromkeys(bad, "HubSpot answered 502"))
        if bad == {*ids}:
            yield Page((), (), unserved=dict.fromkeys(bad, "HubSpot answered 502"))


@pytest.fixture
def partial(monkeypatch: pytest.MonkeyPatch) -> type[Partial]:
    monkeypatch.setattr(Partial, "bad", set())
    monkeypatch.setattr(Partial, "asked", [])
    return Partial


def test_an_unserved_record_waits_and_the_watermark_passes_over_it(world: World, partial: type[Partial]) -> None:
    first, bad, last = world.calls(3)
    partial.bad.add(bad)
    with capture_logs() as logs:
        assert world.sync(connector=partial).exit_code == Exit.OK
    (told,) = [line for line in logs if line["event"] == "records.unserved"]
    assert told["hint"] == "they are looked up again by themselves, `syncd explain ID` shows each error"
    assert world.delivered == {first, last}
    assert world.state(bad) == "incomplete crm_error"
    assert world.row(bad)["detail"] == "HubSpot answered 500"
    assert world.row(bad)["next_attempt_at"] is not None
    modified = world.row(last)["modified_at"]
    assert world.stream()["watermark"] == modified
    partial.bad.clear()
    world.later(hours=1)
    world.sync(connector=partial)
    assert world.state(bad) == "delivered"


def test_the_row_that_the_ledger_has_stays_unless_the_record_is_newer(world: World, partial: type[Partial]) -> None:
    waiting, delivered = world.call(contacts=[]), world.call()
    world.sync(connector=partial)
    partial.bad |= {waiting, delivered}
    world.later(minutes=1)
    world.sync(connector=partial)
    assert world.state(waiting) == "incomplete no_contact"
    for crm_id in (waiting, delivered):
        world.hubspot.edit("calls", crm_id, hs_call_title="Edited")
    world.later(minutes=1)
    world.sync(connector=partial)
    assert world.state(waiting) == "incomplete crm_error"
    assert world.state(delivered) == "delivered"


def test_an_unserved_record_of_a_look_up_is_asked_for_once_a_pass(world: World, partial: type[Partial]) -> None:
    bad, good = world.call(contacts=[]), world.call(contacts=[])
    world.sync(connector=partial)
    world.hubspot.associate("calls", good, "contacts", world.contact)
    partial.bad.add(bad)
    world.later(minutes=16)
    assert world.sync(connector=partial).exit_code == Exit.OK
    assert sorted(partial.asked) == sorted([bad, good])
    assert world.state(bad) == "incomplete crm_error"
    assert world.row(bad)["detail"] == "HubSpot answered 502"
    assert world.state(good) == "delivered"
    world.sync(connector=partial)
    assert len(partial.asked) == 2, "its next look-up has a schedule"


def test_a_page_without_a_served_record_is_no_outage(world: World, partial: type[Partial]) -> None:
    partial.bad |= {*world.calls(3)}
    assert world.sync(connector=partial).exit_code == Exit.OK
    assert {world.state(each) for each in partial.bad} == {"incomplete crm_error"}


def test_ids_and_messages_fit_the_ledger() -> None:
    odd = "x\n" * 300
    page = incoming.page(Page([Ref(odd, NOON)], (), NOON, unserved={odd: "500\x1b[31m" + "y" * 9999}))
    ((crm_id, why),) = page.unserved.items()
    assert is_stand_in(crm_id)
    assert crm_id == page.refs[0].crm_id
    assert why.isprintable()
    assert len(why) < 1000


REF = Ref("1", NOON)
WRONG: list[tuple[Any, bool]] = [
    (Page((), (), NOON, unserved={"1": "500"}), False),
    (Page([REF], [Record(REF, {})], NOON, unserved={"1": "500"}), False),
    (Page([REF], (), unserved={"1": "500"}), True),
    (Page((), (), missing=["1"], unserved={"1": "500"}), True),
]


@pytest.mark.parametrize(("page", "by_id"), WRONG)
def test_a_page_that_breaks_the_contract_is_a_bug(page: Page, by_id: bool) -> None:
    with pytest.raises(ValueError, match="unserved"):
        incoming.page(page, by_id=by_id)


def test_a_page_that_keeps_the_contract_is_fit() -> None:
    other = Ref("2", NOON + timedelta(seconds=1))
    page = Page([REF, other], [Record(other, {})], NOON, unserved={"1": "500"})
    assert incoming.page(page).unserved == {"1": "500"}
    assert incoming.page(Page([other], [Record(other, {})], unserved={"1": "500"}), by_id=True).unserved


@pytest.mark.parametrize("days", [0, 2])
def test_a_change_of_an_excluded_record_is_looked_up_until_it_is_served(
    world: World, partial: type[Partial], days: int
) -> None:
    """The watermark has passed over the change, so nothing else would show it."""
    call = world.call(contacts=[world.person("one.ofus", address=f"bram.fennbrook@{OWN}")])
    world.sync(connector=partial)
    assert world.state(call) == "excluded internal"
    partial.bad.add(call)
    world.later(minutes=5)
    world.hubspot.associate("calls", call, "contacts", world.contact)
    world.hubspot.edit("calls", call, hs_call_title="Call with Amber Bolts")
    world.sync(connector=partial)
    assert world.state(call) == "excluded internal", "it stays as it is until more is known"
    for _ in range(2 * days):
        world.later(hours=12)
        world.sync(connector=partial)
    assert len(partial.asked) == days, "once after an hour, then once a day"
    partial.bad.clear()
    world.later(hours=25)
    world.sync(connector=partial)
    assert world.delivered == {call}
