"""Look-ups come after the windows and within a budget, and one record that a CRM cannot serve holds up no other."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from syncd.connector import Page, Window
from syncd.errors import Exit, Unavailable
from tests.drops import Drop, call
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
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


def incomplete_calls(world: World, count: int) -> list[str]:
    ids = world.calls(count, contacts=[])
    world.sync()
    for crm_id in ids:
        world.hubspot.associate("calls", crm_id, "contacts", world.contact)
    world.later(minutes=16)
    return ids


def test_a_call_that_hubspot_cannot_serve_waits_alone_and_dies_after_30_days(world: World) -> None:
    ids = incomplete_calls(world, 30)
    bad = ids[13]
    with poisoned(world.hubspot, f'"{bad}"', path="calls/batch/read"):
        assert world.sync().exit_code == Exit.OK
        assert world.delivered == {*ids} - {bad}
        assert world.state(bad) == "incomplete crm_error"
        assert "answered 500" in world.row(bad)["detail"]
        with world.counted() as counted:
            world.sync()
        assert "batch" not in counted, "it has a schedule, as all that is incomplete"
        for days in (1, 14, 13):
            world.later(days=days)
            assert world.sync().exit_code == Exit.OK
            assert world.state(bad) == "incomplete crm_error"
        world.later(days=2)
        world.sync()
    assert world.state(bad) == "dead crm_error"


def test_once_the_crm_serves_it_again_it_is_delivered(world: World) -> None:
    (bad, *_) = incomplete_calls(world, 4)
    with poisoned(world.hubspot, f'"{bad}"', path="calls/batch/read"):
        world.sync()
        assert world.state(bad) == "incomplete crm_error"
    world.later(hours=1)
    world.sync()
    assert world.state(bad) == "delivered"
    assert world.row(bad)["detail"] is None


def test_a_call_whose_contact_cannot_be_served_holds_up_no_other(world: World) -> None:
    bad = world.person("late.comer", address=None)
    ids = world.calls(12, contacts=[])
    stuck = world.call(contacts=[bad])
    world.sync()
    for crm_id in ids:
        world.hubspot.associate("calls", crm_id, "contacts", world.contact)
    world.later(minutes=16)
    with poisoned(world.hubspot, f'"{bad}"', path="contacts/batch/read"):
        assert world.sync().exit_code == Exit.OK
    assert world.delivered == set(ids)
    assert world.state(stuck) == "incomplete crm_error"


def test_an_outage_of_look_ups_blames_no_record(world: World) -> None:
    ids = incomplete_calls(world, 20)
    world.hubspot.faults.add("server_error", match="calls/batch/read", count=None)
    with world.counted() as counted:
        assert world.sync().exit_code == Exit.UNAVAILABLE
    assert {world.state(crm_id) for crm_id in ids} == {"incomplete no_contact"}
    assert counted["batch"] <= 4 * 3, "three tries of the page, and of three ids alone"


def test_an_outage_that_begins_while_the_culprit_is_searched_blames_no_record(world: World) -> None:
    ids = incomplete_calls(world, 16)
    with poisoned(world.hubspot, f'"{ids[3]}"', path="calls/batch/read") as failed:

        def go_down(index: int, kind: str) -> None:
            if len(failed) == 6:
                world.hubspot.faults.add("server_error", match="calls/batch/read", count=None)

        world.hubspot.on_request = go_down
        assert world.sync().exit_code == Exit.UNAVAILABLE
    assert not [crm_id for crm_id in ids if "crm_error" in world.state(crm_id)]


def test_only_what_is_incomplete_becomes_crm_error(world: World) -> None:
    excluded = world.email(hs_email_status="BOUNCED")
    world.email()
    world.sync()
    assert world.state(excluded) == "excluded not_sent"
    world.sql("UPDATE activities SET next_attempt_at = '2026-01-02T00:00:00.000Z' WHERE crm_id = ?", excluded)
    with poisoned(world.hubspot, f'"{excluded}"', path="emails/batch/read"):
        assert world.sync().exit_code == Exit.OK
    assert world.state(excluded) == "excluded not_sent"
    assert world.row(excluded)["next_attempt_at"] is not None, "what was asked for is asked again"


def test_the_search_for_culprits_has_a_budget_and_ends_in_later_passes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whole(HubSpot):
        """Isolates no call by itself."""

        def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
            if {*ids} & {*bad}:
                raise Unavailable("HubSpot answered 500")
            yield from super().fetch_ids(stream, ids)

    monkeypatch.setattr("syncd.passes.look_ups.SPLITS", 8)
    ids = incomplete_calls(world, 24)
    bad, passes = ids[::6], 0
    while {world.state(each) for each in bad} != {"incomplete crm_error"} or world.delivered != {*ids} - {*bad}:
        passes += 1
        assert passes < 12
        assert world.sync(connector=Whole).exit_code == Exit.OK
    assert passes > 1


def test_a_bug_of_the_connector_for_one_record_is_reported_and_isolated(world: World) -> None:
    ids = incomplete_calls(world, 8)

    class Buggy(HubSpot):
        def fetch_ids(self, stream: str, asked: Sequence[str]) -> Iterator[Page]:
            if ids[2] in asked:
                raise KeyError(ids[2])
            yield from super().fetch_ids(stream, asked)

    assert world.sync(connector=Buggy).exit_code == Exit.BUG
    assert world.delivered == {*ids} - {ids[2]}
    assert world.state(ids[2]) == "incomplete crm_error"
    assert world.row(ids[2])["detail"] == "a bug in the connector: KeyError"


@pytest.mark.parametrize("code", ["QUERY_TIMEOUT", "UNKNOWN_EXCEPTION"])
def test_a_task_that_salesforce_cannot_serve_holds_up_no_other(orgs: OrgWorld, code: str) -> None:
    ids = [orgs.task(WhoId=None, ago=timedelta(hours=2, seconds=number)) for number in range(6)]
    orgs.sync()
    for crm_id in ids:
        orgs.org.edit("Task", crm_id, WhoId=orgs.buyer, touch=False)
    orgs.later(minutes=16)
    body = [{"message": "Your query request was running for too long", "errorCode": code}]
    with poisoned(orgs.org, ids[2], path="/query", status=500, body=body):
        fresh = orgs.task()
        assert orgs.sync().exit_code == Exit.OK
    assert fresh in orgs.delivered
    assert orgs.delivered == {fresh, *ids} - {ids[2]}
    assert orgs.state(ids[2]) == "incomplete crm_error"


def test_a_line_in_a_done_file_that_cannot_be_read_waits_alone(tmp_path: Path) -> None:
    drop = Drop(tmp_path)
    drop.file("a.jsonl", call("c1", contact_email="", note="x" * 2000))
    drop.file("b.jsonl", call("c2", contact_email=""))
    drop.sync()
    drop.sync()
    assert len(drop.done) == 2
    drop.table["max_file_size"] = "1KB"
    drop.file("c.jsonl", call("c3"))
    drop.sync(minutes=16)
    assert drop.states() == {"c1": "incomplete", "c2": "incomplete", "c3": "delivered"}
    assert [drop.explain(crm_id)["reason"] for crm_id in ("c1", "c2")] == ["crm_error", "no_contact"]
    del drop.table["max_file_size"]
    drop.sync(minutes=60)
    assert drop.explain("c1")["reason"] == "no_contact"


def test_an_email_that_only_settles_is_looked_up_once(world: World, asked: list[Any]) -> None:
    email = world.email(ago=timedelta(minutes=1))
    world.sync()
    assert world.state(email) == "incomplete settling"
    asked.clear()
    for _ in range(24):
        world.later(minutes=10)
        world.sync()
    assert world.state(email) == "delivered"
    assert [method for method, _, _ in asked].count("ids") == 1
