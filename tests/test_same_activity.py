"""`rules.same_activity`: one call or email under two ids, from the CRM to Recotap."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from syncd.activity import Draft
from syncd.connector import Record
from syncd.ledger import LedgerHandle
from syncd.normalize.normalizer import unconfirmed
from tests.conftest import Command
from tests.ledgers import NOW
from tests.ledgers import reading as look
from tests.world import OWN, World


class Mailboxes(HubSpot):
    """HubSpot with the mails' own ids."""

    ids: dict[str, str] = {}  # noqa: RUF012 - by the record's id

    def normalize(self, stream: str, record: Record) -> Draft | None:
        draft = super().normalize(stream, record)
        return draft and replace(draft, message_id=self.ids.get(record.ref.crm_id))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def excluding(world: World) -> None:
    world.configure("rules", own_domains=[OWN], same_activity="exclude")


def pair(put: Callable[..., str], **properties: Any) -> tuple[str, str]:
    """Put the same call or email twice, in this order, and return both ids."""
    first = put(ago=timedelta(hours=6), **properties)
    return first, put(ago=timedelta(hours=6) - timedelta(seconds=1), **properties)


def test_by_default_both_are_sent_and_status_and_explain_name_the_twin(world: World, command: Command) -> None:
    first, copy = pair(world.call)
    other = world.call(ago=timedelta(hours=5, minutes=59), hs_call_duration="300000")
    world.sync()
    assert world.delivered == {first, copy, other}
    assert world.status()["twins"] == 1
    assert world.row(copy)["twins"] == [f"hubspot-call-{first}"]
    assert world.row(first)["twins"] == [f"hubspot-call-{copy}"]
    world.write_config()
    shown = " ".join(command("status", "-c", world.config_file).out.split())
    assert "same call or email as an earlier one, under another id (rules.same_activity): 1" in shown
    assert f"same as       hubspot-call-{first}: " in command("explain", copy, "-c", world.config_file).out


def test_exclude_sends_the_first_alone(world: World) -> None:
    excluding(world)
    first, copy = pair(world.call)
    other = world.call(ago=timedelta(hours=3))
    mail, twin = pair(world.email)
    world.sync()
    assert world.delivered == {first, other, mail}
    assert [world.state(each) for each in (copy, twin)] == ["excluded duplicate_of"] * 2
    assert world.row(copy)["detail"] == f"hubspot-call-{first}"
    assert world.status()["reasons"]["excluded"] == {"duplicate_of": 2}
    assert world.status()["balanced"]


def test_across_sources_too(world: World) -> None:
    excluding(world)
    world.configure("sources.hubspot")
    (world.path / "drop").mkdir()
    call = world.call()
    world.sync()
    at = (world.now() - timedelta(hours=1, seconds=-90)).isoformat()
    line = (
        f'{{"id": "c-1", "kind": "call", "occurred_at": "{at}", "duration_minutes": 10, "owner_email": '
        f'"ada.eschenfeld@{OWN}", "contact_email": "kaya.ivorstone@amber-bolts.com"}}\n'
    )
    (world.path / "drop" / "calls.jsonl").write_text(line)
    world.configure(
        "sources.files", connector="jsonl", path=str(world.path / "drop"), start=world.now().replace(month=1)
    )
    world.sync()
    assert world.delivered == {call}
    assert world.row("c-1")["detail"] == f"hubspot-call-{call}"


def test_one_mail_in_two_reps_mailboxes_is_one_email(world: World) -> None:
    excluding(world)
    mail, other = pair(world.email)
    copy = world.email(hs_email_subject="Another", ago=timedelta(hours=5))
    Mailboxes.ids = {mail: "<a1@mail.example>", copy: "a1@mail.example", other: "<a2@mail.example>"}
    world.sync(connector=Mailboxes)
    assert world.delivered == {mail, other}
    assert world.row(copy)["detail"] == f"hubspot-email-{mail}"


@pytest.mark.parametrize("how", ["skipped by Recotap", "edited in the CRM", "deleted in the CRM"])
def test_the_copy_is_sent_if_the_first_ends_otherwise(world: World, how: str) -> None:
    excluding(world)
    first, copy = pair(world.call)
    if how == "skipped by Recotap":
        world.recotap.rule("skip", ids=[f"hubspot-call-{first}"])
    else:
        world.recotap.set(keys=["another"])
    world.sync()
    if how != "skipped by Recotap":  # otherwise the verdict may come in time for a look-up of the copy
        assert world.state(copy) == "excluded duplicate_of"
    world.recotap.set(keys=[world.box.key])
    world.later(hours=3)
    if how == "edited in the CRM":
        world.hubspot.edit("calls", first, hs_call_status="IN_PROGRESS")
    if how == "deleted in the CRM":
        world.hubspot.delete("calls", first)
    for _ in range(3):
        world.sync()
        world.later(hours=2)
    assert world.delivered == {copy}
    assert world.status()["twins"] == 0
    assert world.status()["balanced"]


def test_a_stricter_rule_touches_nothing_that_is_booked_and_retry_judges_again(world: World, command: Command) -> None:
    excluding(world)
    first, copy = pair(world.call)
    world.sync()
    world.configure("rules", same_activity="off")
    world.later(minutes=20)
    world.sync()
    assert world.delivered == {first}
    with LedgerHandle(world.ledger).operate() as operator:
        assert operator.retry([], state=None, reason="duplicate_of", now=world.now()) == 1
    world.later(minutes=1)
    world.sync()
    assert world.delivered == {first, copy}
    assert world.status()["twins"] == 0


def test_without_a_confirmed_clock_nothing_is_a_first() -> None:
    reading = replace(look(1, due_at=NOW), keys=((7, 7, 0),))
    assert unconfirmed(reading).keys == ()


def test_off_makes_no_secret_and_no_key(world: World) -> None:
    world.configure("rules", own_domains=[OWN], same_activity="off")
    world.call(), world.call()
    world.sync()
    assert world.sql("SELECT count(*) FROM keys") == [(0,)]
    with LedgerHandle(world.ledger).read() as glance:
        assert glance.secret() is None
    assert world.status()["twins"] == 0


def test_the_ledger_holds_no_text_of_a_key(world: World) -> None:
    Mailboxes.ids = {world.email(): "<a1@mail.example>"}
    world.sync(connector=Mailboxes)
    assert world.sql("SELECT count(*) FROM keys WHERE slot < 0") >= [(1,)]
    assert {type(value) for row in world.sql("SELECT * FROM keys") for value in row} == {int}
    assert b"mail.example" not in world.ledger.read_bytes()
