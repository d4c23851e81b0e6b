"""The properties that the configuration names: requested, checked once a day, and used to find the owner."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.cli.check import findings
from syncd.connector import Context, Finding
from syncd.errors import ConfigError, Exit, NoSuchActivity
from syncd.passes.store import PassStore
from syncd.sandbox import Fault
from tests.world import OWN, World

RULES = {
    "match": [{"hs_object_source": ["CRM_UI", "INTEGRATION"]}],
    "except": [{"line": "test*"}],
    "fields": {"outcome": ["verdict", "hs_call_disposition"], "owner": ["hs_created_by_user_id", "rep"]},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        world.hubspot.property("calls", "line")
        world.hubspot.property("calls", "rep")
        world.hubspot.property("calls", "verdict", options=[("w", "Won"), ("l", "Lost")])
        world.configure("sources.hubspot", calls=RULES)
        yield world


def checked(world: World) -> list[Finding]:
    config = world.config()
    return list(findings(config, config.sources))


def put(world: World, **properties: Any) -> str:
    return world.call(**{"hs_object_source": "CRM_UI", **properties})


def summary(world: World) -> str:
    outcome = world.sync()
    assert outcome.exit_code == Exit.CONFIG
    return outcome.errors[0].summary


def test_they_decide_what_is_a_call_and_what_is_left_out(world: World) -> None:
    read, test = put(world, verdict="w"), put(world, line="Test line 3")
    other = world.call(hs_object_source="IMPORT")
    assert world.sync().exit_code == Exit.OK
    assert world.payload(read)["outcome"] == "Won"
    assert world.state(test) == "excluded filtered"
    assert world.row(test)["detail"] == "except, entry 1"
    with pytest.raises(NoSuchActivity):
        world.row(other)
    assert world.status()["balanced"]


def test_what_match_does_not_admit_costs_no_request_for_its_people(world: World) -> None:
    world.sync()
    world.later(minutes=5)
    world.calls(5, first_ago=timedelta(minutes=4), hs_object_source="IMPORT")
    with world.counted() as counted:
        world.sync()
    assert counted == {"search": 2}


def test_they_are_checked_once_a_day(world: World) -> None:
    with world.counted() as first:
        world.sync()
    assert first["labels"] == 1, "only the calls have any"
    world.later(hours=23)
    with world.counted() as second:
        world.sync()
    assert "labels" not in second
    world.later(hours=2)
    with world.counted() as third:
        world.sync()
    assert third["labels"] == 1


def test_without_any_nothing_is_asked_for(world: World) -> None:
    world.tables.clear()
    with world.counted() as counted:
        world.sync()
    assert counted == {"account": 1, "search": 2}


def test_those_that_hubspot_does_not_show_end_the_pass_and_are_all_named(world: World) -> None:
    put(world)
    world.hubspot.set(hidden=["line"])
    world.configure("sources.hubspot", emails={"except": [{"hs_email_subjekt": "x"}]})
    told = summary(world)
    assert "sources.hubspot.calls names the property line, which HubSpot does not show for calls" in told
    assert "sources.hubspot.emails names the property hs_email_subjekt" in told
    assert world.delivered == set()
    problems = {each.message: each for each in checked(world) if each.exit_code == Exit.CONFIG}
    assert [each.hint.split(" If")[0] for each in problems.values()] == [
        "The internal name is meant, not the label.", "Did you mean hs_email_subject?",
    ]  # fmt: skip
    world.hubspot.set(hidden=[])
    world.configure("sources.hubspot", emails={})
    assert world.sync().exit_code == Exit.OK, "at once, because no failure is kept"
    assert any(each.message == "HubSpot shows all 5 of them" and each.ok for each in checked(world))


def test_one_that_was_deleted_is_noticed_within_a_day(world: World) -> None:
    call = put(world, contacts=[])
    world.sync()
    world.hubspot.set(hidden=["hs_object_source"])
    world.later(hours=25)
    assert "hs_object_source" in summary(world)
    assert world.state(call) == "incomplete no_contact", "and no record is taken for one that is no call"


def test_a_look_up_alone_checks_them_too(world: World) -> None:
    """Otherwise a record would count as no call, because the property of a condition is gone."""
    world.hubspot.set(hidden=["hs_object_source"])
    (source,) = world.config().sources
    context = Context("hubspot", PassStore({}, world.now), world.now, lambda seconds: None)
    with closing(source.connector(source.config, context)) as connector, pytest.raises(ConfigError):
        next(connector.fetch_ids("calls", ["1"]))


def test_a_name_that_no_property_can_have_is_proposed_to_nobody(world: World) -> None:
    body = json.dumps({"results": [{"name": "li\x1bne"}, {"name": 7}, {"name": None}, {}]})
    world.hubspot.faults.add(Fault(match="/crm/properties/", status=200, body=body, count=None))
    world.configure("sources.hubspot", calls={"except": [{"line": "test*"}]})
    assert "sources.hubspot.calls names the property line" in summary(world)
    (problem,) = [each for each in checked(world) if each.exit_code == Exit.CONFIG]
    assert problem.hint == (
        "The internal name is meant, not the label. If it exists, grant its scope to the token: sensitive properties "
        "have scopes of their own"
    )


@pytest.mark.parametrize("status", [403, 404])
def test_a_portal_that_does_not_show_them_is_believed_and_check_warns(world: World, status: int) -> None:
    world.hubspot.faults.add(Fault(match="/crm/properties/", status=status, body="{}", count=None))
    call = put(world)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {call}
    (warning,) = [each for each in checked(world) if each.what.endswith("named properties")]
    assert (warning.ok, warning.warning) == (False, True)
    assert "which properties calls have" in warning.message
    assert warning.hint.endswith("with those in HubSpot: a wrong one counts as empty")


def test_an_outage_of_the_list_stops_only_who_never_had_it(world: World) -> None:
    world.hubspot.faults.add("server_error", match="/crm/properties/", count=None)
    call = put(world)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    world.hubspot.faults.clear()
    world.sync()
    assert world.delivered == {call}
    world.hubspot.faults.add("server_error", match="/crm/properties/", count=None)
    world.later(hours=30)
    another = put(world)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {call, another}


# -- the owner ----------------------------------------------------------------------------


def owner_of(world: World, **properties: Any) -> str | None:
    call = put(world, **properties)
    world.sync()
    return world.payload(call).get("ownerEmail") if call in world.delivered else None


def test_a_users_id_an_address_or_a_unique_name_is_an_owner(world: World) -> None:
    bram, oda = f"bram.fennbrook@{OWN}", f"oda.vell@{OWN}"
    world.hubspot.owner(oda, "Oda", "Vell", id=500)
    world.hubspot.owner(f"oda.vell.2@{OWN}", "Twin", "Fennbrook", id=600)
    assert owner_of(world, hs_created_by_user_id="505") == oda, "the user's id is not the owner's"
    assert owner_of(world, hs_created_by_user_id="1", rep=bram) == bram
    assert owner_of(world, rep="oda vell") == oda
    assert owner_of(world, rep="500;600") == oda
    assert owner_of(world, rep="Nobody Known") == f"ada.eschenfeld@{OWN}", "the record's own owner is the last resort"


def test_a_name_that_two_owners_have_is_nobodys(world: World) -> None:
    for number, archived in ((500, False), (600, False), (700, True)):
        world.hubspot.owner(f"oda{number}@{OWN}", "Oda", "Vell", id=number, archived=archived)
    assert owner_of(world, rep="Oda Vell", hubspot_owner_id=None) is None


def test_users_are_asked_for_once_a_day_and_only_if_a_property_names_one(world: World) -> None:
    put(world, ago=timedelta(minutes=14))
    with world.counted() as counted:
        world.sync()
    assert counted["owners"] == 2
    user = next(each["userId"] for each in world.hubspot.owners.values() if each["email"].startswith("bram"))
    asked = []
    for _ in range(2):
        world.later(minutes=1)
        call = put(world, ago=timedelta(minutes=12), hs_created_by_user_id=str(user))
        with world.counted() as counted:
            world.sync()
        asked.append(counted.get("owners", 0))
        assert world.payload(call)["ownerEmail"] == f"bram.fennbrook@{OWN}"
    assert asked == [2, 0]
