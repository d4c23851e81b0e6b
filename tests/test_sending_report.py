"""What a pass and `status` tell of sending: no false alarm, and what only a person can decide."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.errors import Exit, Unavailable
from syncd.passes.report import MANY_FOREIGN, PassReport
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def said(logs: Sequence[Mapping[str, Any]], event: str) -> list[Mapping[str, Any]]:
    return [line for line in logs if line["event"] == event]


def test_what_was_lost_and_is_delivered_in_the_same_pass_is_not_said_to_stay_pending(world: World) -> None:
    world.calls(60)
    world.recotap.rule("store_then_drop", count=1)
    with capture_logs() as logs:
        assert world.sync().exit_code == Exit.OK
    assert world.status()["activities"]["delivered"] == 60
    assert [line for line in logs if line["log_level"] in ("warning", "error")] == []


def test_what_stays_without_an_answer_is_counted_by_activity(world: World) -> None:
    ids = world.calls(60)
    world.recotap.rule("omit", ids=[f"hubspot-call-{crm_id}" for crm_id in ids[:2]], count=None)
    with capture_logs() as logs:
        assert world.sync().exit_code == Exit.OK
    (line,) = said(logs, "push.unanswered")
    assert "for 2 activities" in line["error"]
    assert line["hint"].startswith("they stay pending and are sent again. If it goes on, show `syncd explain ID`")


def test_a_failure_without_a_remedy_of_its_own_says_that_nothing_is_lost() -> None:
    with capture_logs() as logs:
        PassReport().failed("hubspot", Unavailable("HubSpot: no answer"), "pull.failed")
    assert logs[0]["hint"] == "nothing is lost, and the next pass tries again. If it lasts, report it"


class TestAnActivityThatCrashesRecotap:
    @pytest.mark.parametrize("rule", ["crash", "error"])
    def test_every_pass_succeeds_while_it_backs_off_and_until_it_is_dead(self, world: World, rule: str) -> None:
        bad, *good = world.calls(20)
        world.recotap.rule(rule, ids=[f"hubspot-call-{bad}"])
        codes = [world.sync().exit_code]
        assert world.delivered == set(good)
        assert world.status()["activities"]["pending"] == 1
        for _ in range(30):
            world.later(hours=7)
            codes.append(world.sync().exit_code)
        assert set(codes) == {Exit.OK, Exit.DIED}
        assert codes.count(Exit.DIED) == 1
        assert world.state(bad) == "dead suspect"

    def test_an_outage_meanwhile_fails_the_pass_and_blames_nothing(self, world: World) -> None:
        bad, *_ = world.calls(20)
        world.recotap.rule("crash", ids=[f"hubspot-call-{bad}"])
        world.sync()
        world.later(hours=1)
        world.recotap.faults.add("unavailable", count=None)
        attempts = world.row(bad)["attempts"]
        assert world.sync().exit_code == Exit.UNAVAILABLE
        assert world.row(bad)["attempts"] == attempts


class TestAFirewall:
    def test_one_text_is_refused_and_the_others_arrive(self, world: World) -> None:
        good = world.calls(49)
        bad = world.call(hs_call_title="DROP TABLE a; DELETE FROM b;")
        world.recotap.set(forbidden=["DROP TABLE"])
        assert world.sync().exit_code == Exit.OK
        assert world.delivered == set(good)
        row = world.row(bad)
        assert (row["state"], row["verdict"]) == ("pending", "refused")
        assert "DROP" not in str(row["attempts"])
        world.later(hours=1)
        assert world.sync().exit_code == Exit.OK, "alone, too"

    def test_one_that_refuses_this_machine_altogether_is_an_outage(self, world: World) -> None:
        world.calls(20)
        fault = world.recotap.faults.add("answer", count=None, status=403, body={"message": "Forbidden"})
        outcome = world.sync()
        assert outcome.exit_code == Exit.UNAVAILABLE
        assert "firewall" in outcome.errors[0].hint
        assert fault.hits <= 4
        assert world.status()["activities"]["pending"] == 20


class TestALedgerThatWentBackInTime:
    def restored(self, world: World, count: int) -> World:
        """Deliver `count` calls, and put the ledger back to before them."""
        world.call()
        world.sync()
        backup = world.path / "backup"
        shutil.copytree(world.ledger.parent, backup)
        world.later(hours=1)
        world.calls(count, first_ago=world.now() - world.now().replace(hour=9, minute=30))
        world.sync()
        shutil.rmtree(world.ledger.parent)
        shutil.copytree(backup, world.ledger.parent)
        return world

    def test_many_that_are_there_already_are_reported_once_with_both_remedies(self, world: World) -> None:
        self.restored(world, MANY_FOREIGN)
        with capture_logs() as logs:
            outcome = world.sync()
        assert outcome.exit_code == Exit.OK
        (line,) = said(logs, "push.foreign")
        assert line["log_level"] == "warning"
        assert f"already had {MANY_FOREIGN} activities" in line["error"]
        assert "restored from a backup" in line["hint"]
        assert "`syncd adopt --since TIME`" in line["hint"]
        assert "stop one of the two" in line["hint"]
        (warning,) = outcome.warnings
        assert line["error"] in warning
        assert line["hint"] in warning
        assert world.status()["verdicts"]["foreign_duplicate"] == MANY_FOREIGN, "nothing is relabelled"
        assert world.recotap.doubled == 0
        assert world.sync().warnings == ()

    def test_a_few_are_not(self, world: World) -> None:
        self.restored(world, MANY_FOREIGN - 1)
        with capture_logs() as logs:
            assert world.sync().warnings == ()
        assert said(logs, "push.foreign") == []
