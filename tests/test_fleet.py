"""The lanes and replicas of a ledger in PostgreSQL, as status, its page and the metrics tell them. Pure."""

from typing import Any

import pytest

from syncd.metrics import families
from syncd.reporting import facts, fleet
from syncd.reporting.overview import Level, points, summary
from syncd.web import view
from syncd.web.render import Renderer
from tests.pages import Got
from tests.test_printing import status_document
from tests.test_status_summary import TIMES, WELL

AT = "2026-10-05T09:00:00.000Z"


def lane(source: str, state: str, late_s: float = 0.0, **values: Any) -> dict[str, Any]:
    known = {"source": source, "state": state, "holder": None, "epoch": 3, "until": None, "next_pass_at": AT}
    return {**known, "late_s": late_s, **values}


def replica(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "slots": 8, "lanes": 2, "renewed_s": 1.4, "is_alive": True, **values}


def of(lanes: list[dict[str, Any]], *replicas: dict[str, Any]) -> dict[str, Any]:
    return status_document(**WELL, lanes=lanes, replicas=[*replicas])


BUSY = of(
    [
        lane("acme", "held", holder="`syncd run`, process 12 on one", until=AT),
        lane("bolt", "overdue", 92.4),
        lane("core", "overdue", 400.6),
        lane("dune", "due", 0.4),
        lane("east", "idle"),
    ],
    replica("`syncd run`, process 12 on one"),
    replica("`syncd run`, process 9 on two", is_alive=False, renewed_s=42.0, lanes=0),
)


def test_status_tells_the_fleet_in_a_few_lines() -> None:
    assert [line for line in facts.notes(BUSY, TIMES) if line.startswith(("lane", "replica"))] == [
        "lanes: 1 held, 1 due, 2 overdue, 1 idle. Most overdue: core, for 401 s",
        "replica: `syncd run`, process 12 on one: holds 2 of at most 8 lanes, reported 1 s ago",
        "replica: `syncd run`, process 9 on two: dead, last reported 42 s ago",
    ]


def test_a_file_has_no_fleet_and_many_replicas_take_few_lines() -> None:
    assert fleet.lines(status_document()) == []
    many = of([], *(replica(f"r{number}") for number in range(fleet.SHOWN + 3)))
    assert len(fleet.lines(many)) == fleet.SHOWN + 2
    assert fleet.lines(many)[-1] == "replicas: 3 more"


def test_a_lane_that_is_just_due_is_not_called_overdue() -> None:
    assert fleet.lanes(of([lane("dune", "due", 0.4)])) == "0 held, 1 due, 0 overdue, 0 idle"


@pytest.mark.parametrize(
    ("late_s", "is_alive", "told"), [(400.6, True, True), (300.0, True, False), (400.6, False, False)]
)
def test_a_lane_that_waits_for_minutes_is_a_point_if_a_replica_could_take_it(
    late_s: float, is_alive: bool, told: bool
) -> None:
    found = [*points(of([lane("core", "overdue", late_s)], replica("r", is_alive=is_alive)), TIMES)]
    assert [(each.level, each.text) for each in found] == (
        [(Level.WAITING, "1 source waits for a free slot, core for 401 s")] if told else []
    )
    assert all("raise [run] passes: no replica has a free slot" in each.action for each in found)


def test_several_sources_that_wait_are_one_point_which_names_the_latest() -> None:
    (point,) = points(BUSY, TIMES)
    assert point.text == "2 sources wait for a free slot, core for 401 s"


def test_the_page_shows_the_fleet_and_none_of_a_file() -> None:
    shown = page(BUSY)
    assert "Replicas Lanes: 1 held, 1 due, 2 overdue, 1 idle. Most overdue: core, for 401 s." in shown
    assert "syncd run , process 9 on two dead, last reported 42 s ago" in shown
    assert "Replicas" not in page(status_document(**WELL))


def test_the_metrics_count_lanes_by_state_and_replicas_that_are_alive() -> None:
    found = lane_metrics(BUSY)
    assert found == {
        ("syncd_lanes", "held"): 1, ("syncd_lanes", "due"): 1, ("syncd_lanes", "overdue"): 2,
        ("syncd_lanes", "idle"): 1, ("syncd_lanes_lateness_seconds", ""): 400.6, ("syncd_replicas", ""): 1,
    }  # fmt: skip
    quiet = lane_metrics(of([lane("acme", "idle")], replica("r", is_alive=False)))
    assert (quiet["syncd_lanes", "overdue"], quiet["syncd_lanes", "idle"]) == (0, 1)
    assert (quiet["syncd_lanes_lateness_seconds", ""], quiet["syncd_replicas", ""]) == (0, 0)


def test_a_ledger_without_lanes_has_no_sample_of_them() -> None:
    assert lane_metrics(status_document()) == {}


def lane_metrics(document: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Return the samples about lanes and replicas, by the name and the state."""
    return {
        (each.name, each.labels.get("state", "")): each.value
        for family in families._lanes(document) for each in family.samples
    }  # fmt: skip


def page(document: dict[str, Any]) -> str:
    """Return the words of the page at / over a document of status."""
    reasons = {**document["reasons"], "pending": {}}
    whole = {**document, "reasons": reasons, "summary": summary(document, TIMES)}
    parts = view.page(view.Facts(whole, [], [], {}, TIMES.now))
    return Got(200, {}, Renderer().status(parts)).words
