"""`syncd check` of clocks: one line for each server, and one if this machine's clock is wrong."""

import re
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from syncd.http.server_clock import LOOK_AGAIN_S
from tests.conftest import Command
from tests.world import World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def nap() -> Callable[[float], None]:
    """Really wait, because it takes 3 s to see whether a Date advances."""
    return time.sleep


def clock_lines(out: str) -> dict[str, str]:
    """Return the mark and text of each line about a clock, by its name."""
    found = (re.match(r"(ok|warn|error) +clock of (.+?): (.*)", line) for line in out.splitlines())
    return {match[2]: f"{match[1]} {match[3]}" for match in found if match}


def test_check_finds_all_clocks_right(live: World, command: Command) -> None:
    ran = command("check", "-c", live.config_file)
    assert ran.code == 0
    lines = clock_lines(ran.out)
    assert set(lines) == {"hubspot", "Recotap"}
    assert all(line.startswith("ok ") for line in lines.values())


def test_check_names_the_one_server_whose_clock_is_off(live: World, command: Command) -> None:
    live.recotap.set_date(skew_s=-2 * HOUR.total_seconds())
    ran = command("check", "-c", live.config_file)
    assert ran.code == 0
    lines = clock_lines(ran.out)
    assert lines["hubspot"].startswith("ok ")
    assert lines["Recotap"] == "warn the clock of Recotap is 2 h behind this machine's"
    assert "that server's clock or a cache before it is wrong. syncd allows for it" in ran.out
    assert "this machine" not in lines


def test_check_names_this_machines_clock_if_all_servers_agree(live: World, command: Command) -> None:
    live.box.clock.offset_s = 3 * DAY.total_seconds()
    ran = command("check", "-c", live.config_file)
    assert clock_lines(ran.out) == {"this machine": "warn this machine's clock is 3 d behind every server's"}


@pytest.mark.parametrize("server", ["hubspot", "recotap"])
def test_check_names_a_date_that_stands_still_although_it_is_near(live: World, command: Command, server: str) -> None:
    getattr(live, server).set_date(frozen=True)
    named = {"recotap": "Recotap"}.get(server, server)
    ran = command("check", "-c", live.config_file)
    assert clock_lines(ran.out)[named] == f"warn the Date of {named} does not advance"
    assert len(clock_lines(ran.out)) == 2


def test_check_after_passes_waits_for_nothing(live: World, command: Command) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    time.sleep(1.1)
    live.call()
    command("sync", "-c", live.config_file)
    began = time.monotonic()
    assert len(clock_lines(command("check", "-c", live.config_file).out)) == 2
    assert time.monotonic() - began < LOOK_AGAIN_S


def test_check_says_which_server_sends_no_date(live: World, command: Command) -> None:
    live.hubspot.set_date("")
    ran = command("check", "-c", live.config_file)
    assert clock_lines(ran.out)["hubspot"] == "warn hubspot sends no Date"
