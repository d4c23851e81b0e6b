"""`syncd check` counts the records since `start`, and says how long the first pass over them takes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.cli import check
from syncd.cli.check import volume
from syncd.connector import Finding
from syncd.errors import Unauthorized, Unavailable
from tests.conftest import Command
from tests.orgs import OrgWorld
from tests.test_ledger_sqlite_schemas import SCHEMAS, of_schema
from tests.world import World


def records(found: list[Finding]) -> Finding:
    (one,) = [each for each in found if each.what.endswith(": records")]
    return one


def checked(world: World) -> list[Finding]:
    config = world.config()
    return list(check.findings(config, config.sources))


def test_a_new_ledger_has_all_records_since_start_before_it(world: World) -> None:
    world.configure("sources.hubspot", start=world.now() - timedelta(days=2))
    world.calls(3)
    world.email()
    world.call(ago=timedelta(days=3))
    day = f"{world.now() - timedelta(days=2):%Y-%m-%d}"
    assert records(checked(world)).message == (
        f"up to 4 changed since {day} (calls 3, emails 1). The first pass takes less than a minute, at 70 to 300 "
        "records a second"
    )


def test_streams_that_a_pass_has_read_are_counted_and_take_no_first_pass(world: World) -> None:
    world.calls(2)
    world.sync()
    assert records(checked(world)).message == "up to 2 changed since 2026-01-01 (calls 2, emails 0)"
    world.sql("UPDATE streams SET watermark = NULL WHERE stream = 'calls'")
    assert "The first pass takes" in records(checked(world)).message


def test_a_ledger_that_waits_for_its_migration_promises_no_first_pass(world: World) -> None:
    world.call()
    world.ledger.parent.mkdir(mode=0o700)
    of_schema(SCHEMAS[-1], world.ledger.parent).rename(world.ledger)
    assert records(checked(world)).message == "up to 1 changed since 2026-01-01 (calls 1, emails 0)"


def test_an_org_is_counted_by_stream(orgs: OrgWorld) -> None:
    orgs.task()
    orgs.mail()
    orgs.task(TaskSubtype="Email")
    orgs.task(IsClosed=False, Status="Open")
    assert "up to 3 changed since 2026-01-01 (calls 1, emails 1, email_tasks 1)" in records(checked(orgs)).message


def test_a_source_that_has_nothing_says_so(world: World) -> None:
    assert records(checked(world)).message == "none changed since 2026-01-01"


def test_a_source_that_failed_before_is_not_counted(world: World, command: Command) -> None:
    world.hubspot.set(tokens={"sandbox-token": ["crm.objects.contacts.read"]})
    assert ": records: " not in command("check", "-c", world.write_config()).out


def failing(world: World, error: Exception) -> list[Finding]:
    """Check with a connector whose count fails."""
    config = world.config()
    (source,) = config.sources

    def count(self: Any, stream: str, window: Any) -> int:
        raise error

    connector = type("Uncountable", (source.connector,), {"count": count})
    return list(check.findings(config, (replace(source, connector=connector),)))


@pytest.mark.parametrize("hint", ["see the status page", ""])
def test_a_count_that_fails_is_a_warning_with_a_remedy(world: World, hint: str) -> None:
    found = records(failing(world, Unavailable("HubSpot: 503", hint=hint)))
    assert (found.message, found.warning, found.exit_code) == ("cannot be counted: HubSpot: 503", True, 0)
    assert found.hint == (hint or "nothing to do: a pass does not count them")


@pytest.mark.parametrize(("error", "code"), [(Unauthorized("no"), 77), (ValueError("a bug"), 1)])
def test_any_other_failure_of_a_count_is_an_error_of_the_source(world: World, error: Exception, code: int) -> None:
    (found,) = [each for each in failing(world, error) if each.exit_code]
    assert (found.what, found.ok, found.warning, found.exit_code) == ("hubspot: source", False, False, code)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "less than a minute"),
        (4_200, "less than a minute"),
        (4_201, "1 to 2 min"),
        (45_300, "3 to 11 min"),
        (503_999, "28 to 120 min"),
        (504_000, "1 to 2 h"),
        (2_000_000, "2 to 8 h"),
        (20_000_000, "1 to 4 d"),
    ],
)
def test_a_span_has_two_ends_in_one_unit(count: int, words: str) -> None:
    assert volume.span(count) == words


def test_a_faster_and_a_slower_pass_may_take_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "FAST", 71)
    assert volume.span(4_500) == "about 2 min"
