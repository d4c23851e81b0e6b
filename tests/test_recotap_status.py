"""The block `recotap` of `status --json`: what the ledger remembers of the other end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.errors import Exit
from syncd.sandbox import Fault
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def test_before_the_first_pass_that_sends_nothing_is_known(world: World) -> None:
    world.sync()
    assert world.status()["recotap"] == {
        "host": None, "last_answer_at": None, "last_error": None, "paused_until": None, "batch": 50,
        "key_refused": False, "silent_since": None,
    }  # fmt: skip


def test_it_tells_the_host_the_last_answer_and_the_size_of_batches(world: World) -> None:
    world.calls(3)
    world.sync()
    told = world.status()["recotap"]
    assert told["host"] == world.box.recotap_url.split("/")[2]
    assert told["last_answer_at"].startswith("2026-10-05T09:0")
    assert (told["last_error"], told["paused_until"], told["batch"]) == (None, None, 50)


def test_an_error_stays_until_something_is_sent_without_one(world: World) -> None:
    world.calls(3)
    fault = world.recotap.faults.add("too_many", count=None, headers={"Retry-After": "600"})
    world.sync()
    told = world.status()["recotap"]
    assert "asks for a pause" in told["last_error"]
    assert told["paused_until"] > "2026-10-05T09:0"
    assert told["last_answer_at"] is None
    world.recotap.faults.clear()
    assert fault.hits
    world.later(minutes=11)
    world.sync()
    assert (world.status()["recotap"]["last_error"], world.status()["recotap"]["paused_until"]) == (None, None)


def test_a_server_that_is_too_slow_for_full_batches_shows_in_the_size(world: World) -> None:
    ids = world.calls(120)
    world.configure("recotap", timeout="1s")
    world.recotap.set(slow_over=25, slow_s=2.0)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == set(ids)
    assert world.status()["recotap"]["batch"] == 25
    assert world.status()["verdicts"]["foreign_duplicate"] == 0


def test_a_refused_key_shows_until_one_is_accepted(world: World) -> None:
    world.calls(3)
    world.recotap.faults.add(Fault(match="sales-activities", status=401, count=None))
    world.recotap.faults.add(Fault(match="accounts", status=401, count=None))
    assert world.sync().exit_code == Exit.UNAUTHORIZED
    told = world.status()["recotap"]
    assert (told["key_refused"], told["silent_since"][:10]) == (True, "2026-10-05")
    world.recotap.faults.clear()
    assert world.sync().exit_code == Exit.OK
    told = world.status()["recotap"]
    assert (told["key_refused"], told["silent_since"]) == (False, None)


def test_an_outage_is_no_refused_key(world: World) -> None:
    world.calls(3)
    world.recotap.faults.add("close", count=None)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert world.status()["recotap"]["last_error"]
    assert world.status()["recotap"]["key_refused"] is False
