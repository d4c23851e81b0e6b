"""A portal comes back under another name, ids collide, or one source has a bug: it ends that source alone."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from syncd.connector import Context, Page, Source, SourceConfig, Window
from syncd.errors import ConfigError, Exit
from syncd.ledger import Ledger, LedgerHandle
from syncd.passes import pins
from syncd.passes.dry_run import DryRun
from syncd.passes.engine import Pass
from syncd.passes.events import PageRead
from syncd.passes.reader import Reader
from syncd.passes.report import PassResult
from syncd.recotap.responses import BatchResult
from syncd.recotap.sender import Sender
from syncd.signals import StopRequest
from tests.conftest import Command
from tests.drops import call
from tests.ledgers import NOW, SECOND, reading
from tests.orgs import OrgWorld
from tests.world import World

JAN = datetime(2026, 1, 1, tzinfo=UTC)


def silent(world: World) -> None:
    """Let HubSpot refuse to identify the portal."""
    world.hubspot.faults.add("answer", status=403, body={}, match="/account-info/", count=None)


def drop(world: World, name: str, *lines: str, **table: Any) -> None:
    """Configure a folder as the source `name`, with one file of these lines."""
    path = world.path / "drops" / str(table.pop("folder", name))
    path.mkdir(parents=True, exist_ok=True)
    world.configure(f"sources.{name}", connector="jsonl", path=str(path), start=JAN, quiet_for="0s", **table)
    if lines:
        (path / "a.jsonl").write_text("\n".join(lines) + "\n")


def rename(world: World, old: str, new: str) -> None:
    world.tables[f"sources.{new}"] = world.tables.pop(f"sources.{old}", world.source())
    world.later(minutes=5)


def problem(outcome: PassResult, source: str) -> Any:
    """Return the one mistake of a source that a pass reported with 78."""
    error = outcome.failed[source]
    assert isinstance(error, ConfigError)
    assert error.exit_code == Exit.CONFIG
    (found,) = error.problems
    return found


# -- a CRM that does not identify itself ----------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_silent_portal_under_a_new_name_is_known_by_its_records(world: World, count: int) -> None:
    silent(world)
    ids = world.calls(count)
    assert world.sync().exit_code == Exit.OK
    rename(world, "hubspot", "crm")
    outcome = world.sync()
    assert outcome.exit_code == Exit.CONFIG
    found = problem(outcome, "crm")
    assert (found.path, "'hubspot'" in found.message) == ("sources.crm", True)
    again = "call the table [sources.hubspot] again: under a new name everything would be sent twice"
    assert found.hint == f"{again}. If you know better: `syncd ledger trust crm`"
    assert world.recotap.received.total() == count
    assert world.sql("SELECT count(*) FROM activities") == [(count,)]

    rename(world, "crm", "hubspot")
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == set(ids)
    assert world.recotap.received.total() == count


def test_new_records_of_a_renamed_portal_do_not_hide_the_old_ones(world: World) -> None:
    silent(world)
    world.calls(3)
    world.sync()
    world.calls(10, first_ago=timedelta(hours=2))
    rename(world, "hubspot", "crm")
    problem(world.sync(), "crm")
    assert world.recotap.received.total() == 3


def test_a_portal_that_was_known_and_is_silent_by_now_is_known_by_its_records(world: World) -> None:
    world.calls(4)
    world.sync()
    silent(world)
    rename(world, "hubspot", "crm")
    problem(world.sync(), "crm")
    assert world.recotap.received.total() == 4


def test_a_portal_that_was_silent_and_tells_its_id_by_now_is_known_by_its_records(world: World) -> None:
    silent(world)
    world.calls(4)
    world.sync()
    world.hubspot.faults.clear()
    rename(world, "hubspot", "crm")
    problem(world.sync(), "crm")
    assert world.recotap.received.total() == 4


def test_a_folder_that_has_moved_no_file_is_known_by_its_lines(world: World) -> None:
    world.configure("sources.hubspot")
    drop(world, "files", *(call(f"c{number}") for number in range(4)))
    assert world.sync().exit_code == Exit.OK
    rename(world, "files", "drop")
    outcome = world.sync()
    found = problem(outcome, "drop")
    assert "[sources.files]" in found.hint
    assert set(outcome.failed) == {"drop"}
    assert world.recotap.received.total() == 4


def test_folders_that_both_count_from_1_are_two_sources(world: World) -> None:
    for number, name in enumerate(("north", "south")):
        drop(world, name, *(call(str(n), occurred_at=f"2026-09-2{number}T10:00:0{n}Z") for n in range(5)))
    assert world.sync().exit_code == Exit.OK
    assert len(world.recotap.stored) == 10


def test_an_org_always_tells_its_id(orgs: OrgWorld) -> None:
    orgs.task()
    orgs.sync()
    rename(orgs, "salesforce", "crm")
    assert "[sources.salesforce]" in problem(orgs.sync(), "crm").hint
    assert orgs.recotap.received.total() == 1


def test_a_dry_run_and_a_check_do_not_let_a_stranger_pass_either(world: World) -> None:
    silent(world)
    world.calls(3)
    world.sync()
    rename(world, "hubspot", "crm")
    config = world.config()
    run = DryRun(
        config.sources, config.rules.to_rules(), ledger=LedgerHandle(world.ledger), stop=StopRequest(), now=world.now
    )
    assert list(run.readings()) == []
    assert [error.exit_code for error in run.errors] == [Exit.CONFIG]


@pytest.mark.parametrize("connector", ["jsonl", None])
def test_a_name_of_another_connector_is_no_evidence(world: World, connector: str | None) -> None:
    """A ledger of an older syncd knows no connector of a name that is gone. It counts as of the same."""
    silent(world)
    world.calls(3)
    world.sync()
    value = "null" if connector is None else f'"{connector}"'
    world.sql("UPDATE store SET value = ? WHERE source = 'hubspot' AND key = '@connector'", value)
    rename(world, "hubspot", "crm")
    assert world.sync().exit_code == (Exit.OK if connector else Exit.CONFIG)


@pytest.mark.parametrize(
    ("fresh", "same", "expected"),
    [(0, 0, None), (1, 0, None), (1, 1, "old"), (2, 1, None), (9, 2, None), (9, 3, "old")],
)
def test_three_records_are_enough_or_all_of_a_smaller_page(fresh: int, same: int, expected: str | None) -> None:
    readings = [reading(number, occurred_at=NOW + number * SECOND) for number in range(fresh)]
    held = [("old", str(number), f"2026-06-01T12:00:0{number}.000Z") for number in range(same)]
    others = [("old", str(number), "2020-01-01T00:00:00.000Z") for number in range(same, fresh)]
    assert pins.held_elsewhere(readings, held + others) == expected


def test_portals_that_both_tell_their_id_are_not_compared() -> None:
    config = SourceConfig(connector="crm", start=JAN)
    source = Source("b", config, None)  # type: ignore[arg-type]
    known: dict[str, tuple[str | None, str]] = {"a": ("1", ""), "b": ("2", ""), "c": (None, ""), "d": (None, "")}
    assert pins.namesakes(source, "2", known, {"d": "another"}) == ("c",)
    assert pins.namesakes(source, None, known, {"d": "another"}) == ("a", "c")


# -- ids that collide -------------------------------------------------------------------------

CONSTANT = "acme-{kind}-{id}"


@pytest.fixture
def both(tmp_path: Path) -> Any:
    with OrgWorld(tmp_path) as world:
        world.tables.clear()
        yield world


def of_hubspot(world: OrgWorld, name: str) -> str:
    world.configure(f"sources.{name}", **world.source(external_id=CONSTANT))
    return world.call()


def of_salesforce(world: OrgWorld, name: str) -> str:
    world.configure(f"sources.{name}", **world.org_source(external_id=CONSTANT))
    return world.task()


def of_a_folder(world: OrgWorld, name: str) -> str:
    drop(world, name, call("900100", occurred_at="2026-03-01T10:00:00Z"), external_id=CONSTANT)
    return "900100"


@pytest.mark.parametrize("newcomer", [of_hubspot, of_salesforce, of_a_folder])
def test_ids_that_collide_end_their_source_alone(both: OrgWorld, newcomer: Callable[[OrgWorld, str], str]) -> None:
    """The source that gave these ids first was removed, so the configuration alone does not show the collision."""
    crm_id = newcomer(both, "newcomer")
    tables = {name: both.tables.pop(name) for name in [*both.tables]}
    drop(both, "earlier", call(crm_id, occurred_at="2026-02-01T10:00:00Z"), external_id=CONSTANT)
    if newcomer is of_a_folder:  # another connector's, or its lines would be taken for the same
        both.sync()
        both.sql("UPDATE store SET value = '\"hubspot\"' WHERE source = 'earlier' AND key = '@connector'")
    assert both.sync().exit_code == Exit.OK
    both.tables.clear()
    both.tables.update(tables)
    drop(both, "healthy", call("h1"))
    both.later(minutes=5)
    outcome = both.sync()
    assert (outcome.exit_code, set(outcome.failed)) == (Exit.CONFIG, {"newcomer"})
    found = problem(outcome, "newcomer")
    assert found.path == "sources.newcomer.external_id"
    assert "[sources.earlier]" in found.message
    assert found.hint.startswith("give this source a form of its own")
    assert found.hint.endswith("If its table was renamed, rename it back")
    assert f"acme-call-{crm_id}" in found.message
    assert set(both.recotap.stored) == {f"acme-call-{crm_id}", "healthy-call-h1"}
    assert both.status()["balanced"]

    both.configure("sources.newcomer", external_id="{source}-{kind}-{id}")
    both.later(minutes=5)
    assert both.sync().exit_code == Exit.OK
    assert len(both.recotap.stored) == 3


def test_two_records_of_one_page_with_one_id_collide_too() -> None:
    twins = [reading(1), reading(2)]
    twins = [twins[0], type(twins[1])(**{**_fields(twins[1]), "external_activity_id": twins[0].external_activity_id})]
    error = pins.collision("a", "calls", twins, {})
    assert error is not None
    assert "hubspot-call-1" in error.problems[0].message
    assert pins.collision("a", "calls", [reading(1), reading(1), reading(2)], {}) is None
    assert pins.collision("a", "calls", [reading(1)], {"hubspot-call-1": ("a", "calls", "1")}) is None


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


# -- a bug --------------------------------------------------------------------------------------


def bug_in(monkeypatch: pytest.MonkeyPatch, world: World, source: str, page: int) -> None:
    """Let booking the n-th page with records of `source` fail after it has written."""
    book, pages = Ledger.book, [0]

    def buggy(self: Ledger, stream_id: int, refs: Sequence[Any], readings: Sequence[Any], **how: Any) -> Any:
        booked = book(self, stream_id, refs, readings, **how)
        if readings and stream_id in (self.stream_id(source, name) for name in ("calls", "emails")):
            pages[0] += 1
            if pages[0] == page:
                raise ZeroDivisionError("kaya@amber-bolts.com")
        return booked

    monkeypatch.setattr(Ledger, "book", buggy)


@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("kind", ["hubspot", "salesforce", "jsonl"])
def test_a_bug_while_a_page_is_booked_ends_its_source_alone(
    both: OrgWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, page: int
) -> None:
    if kind == "hubspot":
        both.configure("sources.bad", **both.source())
        bad = {*both.calls(3), both.email()}
    elif kind == "salesforce":
        both.configure("sources.bad", **both.org_source())
        bad = {both.task(), both.mail()}
    else:
        drop(both, "bad", *(call(f"b{n}") for n in range(3)), call("e1", kind="email"))
        bad = {"b0", "b1", "b2", "e1"}
    drop(both, "good", call("g1"))
    with monkeypatch.context() as patch:
        bug_in(patch, both, "bad", page)
        outcome = both.sync()
    assert (outcome.exit_code, set(outcome.failed)) == (Exit.BUG, {"bad"})
    assert outcome.errors[0].message == "a bug while bad was booked: ZeroDivisionError"
    assert outcome.errors[0].hint == "report it. The other sources go on"
    assert "g1" in both.delivered
    told = capsys.readouterr().out
    assert "pull.bug" in told
    assert "source=bad" in told
    assert both.status()["balanced"]

    both.later(minutes=5)
    assert both.sync().exit_code == Exit.OK  # nothing that the page held was skipped
    assert bad <= both.delivered
    assert both.recotap.doubled == 0


def test_a_bug_takes_no_verdict_along(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn that books the page settles a POST too. The rollback must not undo what Recotap has answered."""
    first = world.call()
    world.recotap.faults.add("unavailable", count=2)
    world.sync()
    assert world.state(first) == "pending"
    world.email()
    world.later(minutes=5)
    has_page, has_answer = threading.Event(), threading.Event()
    post, answered, next_event = Sender.post, Pass._answered, Reader.next_event

    def waiting(self: Sender, sent: Sequence[tuple[str, str]], **late: float) -> BatchResult:
        assert has_page.wait(20)
        return post(self, sent, **late)

    def heard(self: Pass, returned: Any) -> None:
        answered(self, returned)
        has_answer.set()

    def together(self: Reader, timeout: float = 0.0) -> Any:
        event = next_event(self, timeout)
        if isinstance(event, PageRead) and event.readings:
            has_page.set()
            assert has_answer.wait(20)
        return event

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "post", waiting)
        patch.setattr(Pass, "_answered", heard)
        patch.setattr(Reader, "next_event", together)
        bug_in(patch, world, "hubspot", 1)
        assert world.sync().exit_code == Exit.BUG
    assert world.state(first) == "delivered"
    assert world.sql("SELECT count(*) FROM posts WHERE members IS NOT NULL") == [(0,)]
    assert world.status()["verdicts"]["created"] == 1


def test_a_connectors_store_does_not_run_ahead_of_a_page_that_was_not_booked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remembering(HubSpot):
        def __init__(self, config: Any, context: Context) -> None:
            super().__init__(config, context)
            self.store = context.store

        def fetch(self, stream: str, window: Window) -> Iterator[Page]:
            for page in super().fetch(stream, window):
                self.store.put("cursor", stream)
                yield page

    world.call()
    with monkeypatch.context() as patch:
        bug_in(patch, world, "hubspot", 1)
        assert world.sync(connector=Remembering).exit_code == Exit.BUG
    assert world.sql("SELECT value FROM store WHERE key = 'cursor'") == []
    world.later(minutes=5)
    world.sync(connector=Remembering)
    assert world.sql("SELECT value FROM store WHERE key = 'cursor'") != []


def test_a_bug_hides_no_worse_and_no_other_cause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure("sources.hubspot")
    drop(world, "files", call("c1"))
    world.key_file.write_text("another")
    bug_in(monkeypatch, world, "files", 1)
    world.call()
    outcome = world.sync()
    assert outcome.exit_code == Exit.BUG
    assert {int(error.exit_code) for error in outcome.errors} == {Exit.BUG, Exit.UNAUTHORIZED}


def test_a_broken_ledger_is_no_bug_of_a_source(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.call()
    world.sync()
    world.call()
    world.later(minutes=5)
    world.sql("CREATE TRIGGER full BEFORE INSERT ON activities BEGIN SELECT missing(1); END")
    with pytest.raises(Exception, match="cannot be used") as caught:
        world.sync()
    assert getattr(caught.value, "exit_code", None) == Exit.LEDGER


# -- syncd ledger trust SOURCE ------------------------------------------------------------------


def test_a_trusted_source_is_read_under_its_new_name(live: World, command: Command) -> None:
    silent(live)
    live.calls(3)
    assert command("sync", "-c", live.write_config()).code == Exit.OK
    rename(live, "hubspot", "crm")
    live.write_config()
    refused = command("sync", "-c", live.config_file)
    assert refused.code == Exit.CONFIG
    trusted = command("ledger", "trust", "crm", "-c", live.config_file)
    assert (trusted.code, trusted.err) == (0, "")
    assert (
        trusted.out
        == "the ledger knew no portal or org of crm: the next pass takes the one that its credentials lead to\n"
    )
    assert command("sync", "-c", live.config_file).code == Exit.OK
    assert len(live.recotap.stored) == 6
