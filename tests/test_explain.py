"""`syncd explain`: where an activity came from, what happens next and when, and the payload of one that waits."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd import clock
from syncd.ledger import LedgerHandle
from syncd.reporting import explanation
from syncd.reporting.times import Times
from tests.conftest import Command
from tests.world import THEIRS, World

NOW = datetime(2026, 10, 5, 9, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def explained(world: World, crm_id: str) -> dict[str, Any]:
    with LedgerHandle(world.ledger).reports() as glance:
        (name,) = glance.find(crm_id)
        return explanation.document_of(name, glance, world.config(), world.now())


def told(world: World, crm_id: str) -> dict[str, str]:
    return dict(explanation.facts(explained(world, crm_id), Times(world.now())))


def test_it_names_the_account_the_owner_and_the_link_into_the_crm(world: World) -> None:
    call = world.call()
    world.sync()
    document = explained(world, call)
    assert (document["domain"], document["owner"]) == (THEIRS, world.owner)
    assert document["url"].startswith("https://app.hubspot.com/contacts/")
    assert document["url"].endswith(call)
    said = told(world, call)
    assert (said["account"], said["link"]) == (THEIRS, document["url"])
    assert said["owner"] == f"{world.owner} (its id in the CRM)"
    assert said["next"] == "nothing: it is done"


def test_a_row_of_a_removed_source_and_of_an_older_ledger_has_no_link_and_no_owner(world: World) -> None:
    call = world.call()
    world.sync()
    world.sql("UPDATE activities SET owner_id = NULL, domain = NULL")
    world.sql("UPDATE streams SET source = 'gone'")
    said = told(world, call)
    assert not {"link", "account", "owner"} & said.keys()
    assert said["from"] == f"gone calls, record {call} (call)"


def test_a_waiting_activity_shows_the_payload_that_is_sent_and_a_delivered_one_none(world: World) -> None:
    call = world.call()
    world.recotap.faults.add("close", count=None)
    world.sync()
    payload = explained(world, call)["payload"]
    assert told(world, call)["payload"] == "as it will be sent:"
    world.recotap.faults.clear()
    world.sync()
    assert payload == world.payload(call)
    document = explained(world, call)
    assert (document["payload"], document["payload_read_at"]) == (None, None)
    assert "payload" not in told(world, call)


def test_a_payload_that_was_read_long_ago_is_read_again_and_shown_so(world: World) -> None:
    call = world.call()
    world.recotap.faults.add("close", count=None)
    world.sync()
    world.later(minutes=61)
    assert told(world, call)["payload"] == "as it will be sent, unless its record changed: it is read again before that"
    world.sql("UPDATE payloads SET read_at = NULL")
    assert "read again" in told(world, call)["payload"]


def test_the_command_prints_the_payload_on_stdout(live: World, command: Command) -> None:
    call = live.call()
    live.recotap.faults.add("close", count=None)
    live.sync()
    ran = command("explain", call, "-c", live.write_config())
    block = ran.out[ran.out.index("\n  {\n") :]
    assert json.loads(block) == json.loads(command("explain", call, "--json", "-c", live.config_file).out)["payload"]
    assert json.loads(block)["externalActivityId"] == f"hubspot-call-{call}"


def test_it_tells_when_an_activity_is_given_up(world: World) -> None:
    lonely, failed, done = world.call(contacts=[]), world.call(), world.call()
    world.recotap.rule("fail", ids=[f"hubspot-call-{failed}"])
    world.configure("recotap", max_age="2d")
    world.sync()
    assert explained(world, lonely)["gives_up_at"] == clock.text(world.now() + timedelta(days=30))
    refused_at = explained(world, failed)["refused_since"]
    assert explained(world, failed)["gives_up_at"] == clock.text(clock.instant(refused_at) + timedelta(days=2))
    assert "(in 2 days), unless it is delivered or excluded by then" in told(world, failed)["given up"]
    assert explained(world, done)["gives_up_at"] is None


@pytest.mark.parametrize(
    ("change", "gives_up"),
    [
        ({}, "2026-11-04T09:00:00.000Z"),
        ({"occurred_at": "2026-10-10T09:00:00.000Z"}, "2026-11-09T09:00:00.000Z"),
        ({"reason": "redacted"}, None),
        ({"clock_confirmed": False}, None),
        ({"waiting_since": None}, None),
        ({"state": "excluded"}, None),
        ({"state": "pending"}, None),
        ({"state": "pending", "refused_since": clock.text(NOW)}, "2026-10-12T09:00:00.000Z"),
    ],
)
def test_age_ends_what_waits_for_data_and_what_is_refused(change: dict[str, Any], gives_up: str | None) -> None:
    document = {
        "state": "incomplete", "reason": "no_contact", "clock_confirmed": True, "waiting_since": clock.text(NOW),
        "refused_since": None, "occurred_at": None, **change,
    }  # fmt: skip
    assert explanation.gives_up_at(document, timedelta(days=7)) == gives_up


AT = clock.text(NOW + timedelta(hours=2))
GONE = ". If that does not find it either, it is excluded as deleted"


@pytest.mark.parametrize(
    ("state", "reason", "at", "paused", "step"),
    [
        ("delivered", None, None, None, "nothing: it is done"),
        ("pending", None, AT, None, f"sent in the first pass after {AT} (in 2 h)"),
        ("pending", None, AT, AT, f"sent in the first pass after Recotap's pause, which ends {AT} (in 2 h)"),
        ("incomplete", "no_contact", AT, None, f"looked up in the CRM in the first pass after {AT} (in 2 h)"),
        ("incomplete", "no_contact", AT, AT,
         f"looked up in the CRM in the first pass after hubspot's pause, which ends {AT} (in 2 h)"),
        ("incomplete", "not_found", AT, None, f"looked up in the CRM in the first pass after {AT} (in 2 h){GONE}"),
        ("incomplete", "redacted", None, None, "looked up in the first pass in which the key may see its content"),
        ("skipped", None, None, None, "nothing, unless `syncd retry` asks for it"),
        ("dead", "no_domain", None, None,
         "nothing, unless its record changes in the CRM or `syncd retry` asks for it"),
    ],
)  # fmt: skip
def test_the_next_step(state: str, reason: str | None, at: str | None, paused: str | None, step: str) -> None:
    document = {"state": state, "reason": reason, "next_attempt_at": at, "paused_until": paused, "source": "hubspot"}
    assert explanation.next_step(document, Times(NOW)) == step


def test_a_pause_holds_what_it_concerns_and_nothing_else(world: World) -> None:
    lonely, failed, done = world.call(contacts=[]), world.call(), world.call()
    world.recotap.rule("fail", ids=[f"hubspot-call-{failed}"])
    world.sync()
    until = clock.text(world.now() + timedelta(hours=3))
    for name, held, others in (("@recotap", failed, (lonely, done)), ("hubspot", lonely, (failed, done))):
        world.sql("DELETE FROM pauses")
        world.sql("INSERT INTO pauses (name, until, reason) VALUES (?, ?, 'quota')", name, until)
        assert explained(world, held)["paused_until"] == until
        assert [explained(world, each)["paused_until"] for each in others] == [None, None]
    world.later(hours=4)
    assert explained(world, lonely)["paused_until"] is None
