"""Look-ups come after the windows and within a budget, and one record that a CRM cannot serve holds up no other."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from syncd.connector import Page, Window
from syncd.errors import Exit
from tests.world import World


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Record what the connector is asked for: (method, stream, number of ids)."""
    asked: list[tuple[str, str, int]] = []
    fetch, fetch_ids = HubSpot.fetch, HubSpot.fetch_ids

    def windows(self: HubSpot, stream: str, window: Window) -> Iterator[Page]:
        asked.append(("window", stream, 0))
        yield from fetch(self, stream, window)

    def look_ups(self: HubSpot, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        asked.append(("ids", stream, len(ids)))
        yield from fetch_ids(self, stream, ids)

    monkeypatch.setattr(HubSpot, "fetch", windows)
    monkeypatch.setattr(HubSpot, "fetch_ids", look_ups)
    return asked


def test_each_window_of_a_source_is_read_before_its_first_look_up(world: World, asked: list[Any]) -> None:
    world.call(contacts=[])
    world.email(contacts=[], hs_email_headers="")
    world.sync()
    asked.clear()
    world.later(minutes=16)
    world.sync()
    assert [(method, stream) for method, stream, _ in asked] == [
        ("window", "calls"), ("window", "emails"), ("ids", "calls"), ("ids", "emails"),
    ]  # fmt: skip


def test_look_ups_that_fail_in_every_pass_keep_nothing_new_from_being_read(world: World) -> None:
    world.call(contacts=[])
    world.sync()
    world.hubspot.faults.add("server_error", match="calls/batch/read", count=None)
    world.later(minutes=16)
    fresh = [world.call(), world.email()]
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert world.delivered == set(fresh)
    assert world.stream("emails")["last_success_at"] is not None


def test_a_pass_looks_up_a_bounded_number_the_oldest_first(
    world: World, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.passes.look_ups.LOOK_UPS_AT_ONCE", 4)
    monkeypatch.setattr("syncd.passes.look_ups.LOOK_UP_PAGES", 2)
    old = world.calls(6, contacts=[])
    world.sync()
    world.later(minutes=1)
    young = [world.call(contacts=[]) for _ in range(6)]
    world.sync()
    world.later(minutes=20)
    looked_up: list[set[str]] = []
    for _ in range(2):
        due = {crm_id for crm_id in (*old, *young) if world.row(crm_id)["next_attempt_at"] <= world.now().isoformat()}
        asked.clear()
        world.sync()
        assert [count for method, _, count in asked if method == "ids"] == ([4, 4] if not looked_up else [4])
        left = {crm_id for crm_id in due if world.row(crm_id)["next_attempt_at"] <= world.now().isoformat()}
        looked_up.append(due - left)
    assert set(old) <= looked_up[0]
    assert looked_up[0] | looked_up[1] == {*old, *young}, "the rest is due for the next pass"


def test_a_window_that_fails_stops_no_look_up_while_another_is_read(world: World) -> None:
    call = world.call(contacts=[])
    world.sync()
    world.hubspot.associate("calls", call, "contacts", world.contact)
    world.hubspot.faults.add("server_error", match="emails/search", count=None)
    world.later(minutes=16)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert world.state(call) == "delivered"
