"""The status of a ledger in PostgreSQL names each lane and each replica, by the clock of the database."""

import json
from pathlib import Path

import pytest

from syncd.reporting import fleet
from tests.ledgers import NOW, URL, ask, in_postgres

found = pytest.importorskip("syncd.ledger.postgres_fleet")
SCHEMA = json.loads((Path(fleet.__file__).parents[1] / "cli" / "schemas" / "status.json").read_text(encoding="ascii"))


@pytest.fixture
def handle(tmp_path: Path):
    if not URL:
        pytest.skip("SYNCD_TEST_POSTGRES names no database")
    made = in_postgres(tmp_path)
    with made.open():
        return made


def document(handle):
    with handle.reports() as reports:
        return reports.status(version="1", now=NOW)


def states(handle):
    return {each["source"]: each["state"] for each in document(handle)["lanes"]}


def late(handle, source, interval):
    sql = f"UPDATE lanes SET next_pass_at = clock_timestamp() - interval '{interval}' WHERE source = ? RETURNING 1"
    assert ask(handle, sql, source)


@pytest.mark.parametrize(
    ("is_leased", "since_s", "wanted"),
    [
        (True, -0.1, "held"),
        (False, -0.1, "idle"),
        (True, 0.0, "due"),
        (False, 2.0, "due"),
        (True, 2.1, "overdue"),
        (False, 2.1, "overdue"),
    ],
)
def test_a_lane_is_overdue_once_a_replica_with_a_free_slot_would_have_taken_it(is_leased, since_s, wanted):
    assert found.state(is_leased=is_leased, since_s=since_s) == wanted


def test_each_lane_is_held_due_overdue_or_idle_and_the_whole_ledger_is_none(handle):
    with handle.replica("run") as one:
        one.enrol(["a", "b", "c", "d"])
        late(handle, "a", "9 s")
        taken = one.take()
        assert taken.source == "a"
        late(handle, "b", "92 s")
        late(handle, "c", "0 s")
        late(handle, "d", "-1 h")
        told = document(handle)
    assert {each["source"]: each["state"] for each in told["lanes"]} == {
        "a": "held", "b": "overdue", "c": "due", "d": "idle"
    }  # fmt: skip
    held, overdue, *_ = told["lanes"]
    assert held["holder"].startswith("`syncd run`, process ")
    assert (held["epoch"], held["late_s"], overdue["holder"], overdue["until"]) == (1, 0.0, None, None)
    assert held["until"] > held["next_pass_at"]
    assert 92 <= overdue["late_s"] < 95
    assert all(each.keys() == set(SCHEMA["properties"]["lanes"]["items"]["required"]) for each in told["lanes"])


def test_a_lane_that_was_woken_is_due(handle):
    with handle.replica("run") as one:
        one.enrol(["a"])
        late(handle, "a", "-1 h")
        assert states(handle) == {"a": "idle"}
        planned = document(handle)["lanes"][0]["next_pass_at"]
        one.wake(["a"])
        assert states(handle) == {"a": "due"}
        assert document(handle)["lanes"][0]["next_pass_at"] < planned


def test_the_lane_of_a_dead_holder_waits_from_the_end_of_its_lease_on(handle):
    with handle.replica("run") as one:
        one.enrol(["a"])
        late(handle, "a", "1 h")
        one.take()
        assert ask(handle, "UPDATE lanes SET until = clock_timestamp() - interval '7 s' WHERE source = 'a' RETURNING 1")
        (lane,) = document(handle)["lanes"]
    assert lane["state"] == "overdue"
    assert 7 <= lane["late_s"] < 10, "not since its pass was due: until then it was read"
    assert lane["holder"], "the one that died"


def test_each_replica_is_told_with_its_lanes_and_the_age_of_its_report(handle):
    with handle.replica("run") as one:
        one.enrol(["a", "b"])
        one.report(slots=8, held=0)
        one.take()
        (replica,) = document(handle)["replicas"]
        assert replica.keys() == set(SCHEMA["properties"]["replicas"]["items"]["required"])
        assert (replica["slots"], replica["lanes"], replica["is_alive"]) == (8, 1, True)
        assert 0 <= replica["renewed_s"] < 9
        assert ask(handle, "UPDATE replicas SET until = clock_timestamp() - interval '30 s' RETURNING 1")
        (replica,) = document(handle)["replicas"]
        assert not replica["is_alive"]
        assert 40 <= replica["renewed_s"] < 50
    assert document(handle)["replicas"] == [], "one that ended in order"


def test_replicas_that_are_alive_come_before_the_dead(handle):
    with handle.replica("run") as one:
        one.report(slots=8, held=0)
        ask(handle, "INSERT INTO replicas VALUES ('!', 8, 0, clock_timestamp() - interval '1 h') RETURNING 1")
        assert [each["is_alive"] for each in document(handle)["replicas"]] == [True, False]


def test_a_hold_of_the_whole_ledger_holds_each_lane_and_is_no_replica(handle):
    with handle.replica("run") as one:
        one.enrol(["a", "b"])
    with handle.hold("sync"):
        told = document(handle)
    assert [each["state"] for each in told["lanes"]] == ["held", "held"]
    assert told["replicas"] == []
    assert fleet.lines(told) == []
