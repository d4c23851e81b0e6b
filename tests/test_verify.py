"""`syncd verify` compares the CRMs with the ledger, and names missing and unexpected records."""

import json
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectors.hubspot import HubSpot
from syncd import clock
from syncd.activity import Draft
from syncd.connector import Page, Record, Window
from syncd.errors import Exit, OutsideWindow, Stopped, Unauthorized
from syncd.ledger import chosen
from syncd.passes.verify import Compared, Verification, by_day, joined
from syncd.sandbox import Fault
from syncd.signals import StopRequest
from tests.conftest import Command, Ran
from tests.orgs import OrgWorld
from tests.world import World

DAY = timedelta(days=1)


@pytest.fixture
def verified(world: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `syncd verify` at the test's time, and return its document and exit code."""
    monkeypatch.setattr(clock, "now", world.now)

    def run(*arguments: object) -> tuple[dict[str, Any], Ran]:
        ran = command("verify", "--json", *arguments, "-c", world.write_config())
        return json.loads(ran.out) if ran.out else {}, ran

    return run


def dig(world: World, crm_ids: Iterable[str], *, balanced: bool = False) -> None:
    """Delete rows from the ledger by hand, or as if they had never been seen if `balanced`."""
    for crm_id in crm_ids:
        ((row, stream),) = world.sql("SELECT id, stream_id FROM activities WHERE crm_id = ?", crm_id)
        world.sql("DELETE FROM payloads WHERE activity_id = ?", row)
        world.sql("DELETE FROM activities WHERE id = ?", row)
        world.sql("UPDATE streams SET seen = seen - ? WHERE id = ?", int(balanced), stream)


def test_each_hole_is_named_and_nothing_else(world: World, verified: Any) -> None:
    calls, emails = world.calls(12), [world.email(ago=timedelta(hours=hours)) for hours in (6, 7, 8)]
    world.email(hs_email_status="DRAFT", ago=timedelta(hours=9))
    world.call(contacts=[], ago=timedelta(hours=9))  # incomplete: it is held
    world.sync()
    document, ran = verified()
    assert ran.code == 0, ran.err
    assert {name: (each["crm"], each["ledger"]) for name, each in document["hubspot"].items()} == {
        "calls": (13, 13), "emails": (4, 3),
    }  # fmt: skip
    dig(world, [calls[0], calls[11], emails[1]])
    with world.counted() as requests:
        document, ran = verified()
    assert "post" not in requests
    assert ran.code == 4
    found = document["hubspot"]
    assert (sorted(found["calls"]["missing"]), found["emails"]["missing"]) == ([calls[0], calls[11]], [emails[1]])
    assert [each["unexpected"] for each in found.values()] == [[], []]


def test_a_hole_beside_a_deleted_record_of_the_same_day_is_found_unless_quick(world: World, verified: Any) -> None:
    """Their day has as many records as rows, so counts alone would show nothing."""
    calls = world.calls(5)
    world.sync()
    world.hubspot.delete("calls", calls[1])
    dig(world, [calls[3]])
    document, ran = verified()
    found = document["hubspot"]["calls"]
    assert (ran.code, found["missing"], found["unexpected"]) == (4, [calls[3]], [calls[1]])
    assert (found["crm"], found["ledger"]) == (4, 4)
    document, ran = verified("--quick")
    found = document["hubspot"]["calls"]
    assert (ran.code, found["missing"], found["unexpected"]) == (0, [], []), "which the help says"


def test_quick_counts_each_day_and_lists_only_those_that_differ(world: World, verified: Any) -> None:
    calls = [world.call(ago=timedelta(days=days, hours=hours)) for days in range(1, 8) for hours in (1, 2)]
    world.sync()
    since = clock.text(world.now() - 10 * DAY)
    with world.counted() as whole:
        assert verified("--quick", "--since", since)[1].code == 0
    dig(world, [calls[6]])
    world.hubspot.archive("calls", calls[9])
    with world.counted() as requests:
        document, ran = verified("--quick", "--since", since)
    found = document["hubspot"]["calls"]
    assert (ran.code, found["missing"], found["unexpected"]) == (4, [calls[6]], [calls[9]])
    assert (found["crm"], found["ledger"]) == (13, 13)
    assert (whole["search"], requests["search"]) == (8, 9), "the days without rows count together"


def test_only_what_was_modified_since_then_is_compared(world: World, verified: Any) -> None:
    old, new = world.call(ago=timedelta(days=9)), world.call()
    world.sync()
    dig(world, [old])
    assert verified("--since", clock.text(world.now() - 8 * DAY))[1].code == 0
    document, ran = verified("--since", clock.text(world.now() - 10 * DAY))
    assert (ran.code, document["hubspot"]["calls"]["missing"]) == (4, [old])
    dig(world, [new])
    world.configure("sources.hubspot", start=world.now() - 8 * DAY)
    document, ran = verified()
    assert document["hubspot"]["calls"]["missing"] == [new], "the start by default"


def test_rows_whose_record_has_moved_or_is_known_to_be_gone_are_not_unexpected(world: World, verified: Any) -> None:
    edited, gone, late, kept = *world.calls(3), world.call()
    world.sync()
    dig(world, [late])
    for crm_id in (edited, late):
        world.hubspot.edit("calls", crm_id, hs_call_title="Another title")  # now, behind no watermark
    world.hubspot.delete("calls", gone)
    document, ran = verified()
    found = document["hubspot"]["calls"]
    assert (found["crm"], found["ledger"]) == (1, 3), "of these one was edited and one is gone"
    assert (ran.code, found["missing"], found["unexpected"]) == (0, [], [gone]), "the next pass reads the late one"
    assert "rows whose record the CRM does not find any more: 1" in ran.err
    for reason in ("not_found", "deleted"):
        world.sql("UPDATE activities SET reason = ? WHERE crm_id = ?", reason, gone)
        assert verified()[0]["hubspot"]["calls"]["unexpected"] == []
    assert kept in world.delivered


def test_spans_that_are_still_to_be_read_are_left_out_and_named(world: World, verified: Any) -> None:
    calls = [world.call(ago=timedelta(days=days)) for days in range(1, 7)]
    world.sync()
    dig(world, [calls[1], calls[3]])
    times = [clock.text(world.now() - timedelta(days=days)) for days in (4.5, 3.5)]
    world.sql(
        "INSERT INTO ranges (stream_id, since, until, why, attempts, created_at) SELECT id, ?, ?, 'backfill', 0, ? "
        "FROM streams WHERE stream = 'calls'",
        *times, times[1],
    )  # fmt: skip
    document, ran = verified()
    found = document["hubspot"]["calls"]
    assert (found["missing"], found["spans_left_out"], found["crm"]) == ([calls[1]], 1, 5)
    assert "hubspot calls: left out what is still to be read: 1 in `syncd status`" in ran.err
    world.sql("DELETE FROM ranges")
    world.sql(
        "INSERT INTO ranges (stream_id, since, until, why, created_at) SELECT id, start, watermark, 'backfill', start "
        "FROM streams WHERE stream = 'calls'"
    )
    assert "every activity that was compared has its row, but not all is read yet" in verified()[1].err


def test_a_stream_that_has_read_nothing_has_nothing_to_compare(world: World, command: Command, verified: Any) -> None:
    assert verified()[1].code == 74, "there is no ledger"
    world.call()
    world.sync()
    document, ran = verified()
    assert (ran.code, document["hubspot"]["emails"]["crm"], document["hubspot"]["emails"]["since"]) == (0, 0, None)
    ran = command("verify", "-c", world.config_file)
    assert "hubspot emails: no pass has read a record yet, so there is nothing to compare" in ran.out
    assert "hubspot calls: 1 in the CRM, 1 in the ledger, 0 missing, 0 unexpected" in ran.out
    assert ran.err.endswith("every activity behind the watermarks has its row\n")


def test_each_id_has_a_line_of_its_own_unless_a_terminal_would_scroll(
    world: World, command: Command, monkeypatch: pytest.MonkeyPatch, verified: Any
) -> None:
    calls = world.calls(30)
    world.sync()
    dig(world, calls[:25])
    ran = command("verify", "-c", world.write_config())
    assert sorted(line for line in ran.out.splitlines() if ": missing " in line) == sorted(
        f"hubspot calls: missing {crm_id}" for crm_id in calls[:25]
    )
    assert ran.err.splitlines() == [
        "activities of the CRM without a row in the ledger: 25",
        "  → `syncd verify --repair` books them, and sends those that are complete",
    ]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = command("verify", "-c", world.write_config()).out
    assert (out.count(": missing "), "5 more missing, which `--json` lists" in out) == (20, True)


# -- Salesforce -------------------------------------------------------------------------------


def test_holes_of_each_stream_of_salesforce_are_found(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OrgWorld(tmp_path) as world:
        monkeypatch.setattr(clock, "now", world.now)
        calls = [world.task(ago=timedelta(days=days)) for days in range(1, 6)]
        emails = [world.mail(ago=timedelta(days=days)) for days in range(1, 4)]
        tasks = [world.task(TaskSubtype="Email", ago=timedelta(days=days)) for days in range(1, 4)]
        world.task(Status="Not Started", ago=timedelta(days=2))
        named = world.task(TaskSubtype="Email", ago=timedelta(days=3))
        world.mail(ActivityId=named, ago=timedelta(days=3))
        world.sync()
        assert (verify := command("verify", "-c", world.write_config())).code == 0, verify.err
        assert f"salesforce email_tasks: {len(tasks) + 1} in the CRM" in verify.out
        world.org.archive(calls[0])
        world.org.delete("Task", calls[4])
        dig(world, [calls[2], emails[1], tasks[0]])
        ran = command("verify", "--json", "-c", world.config_file)
        found = json.loads(ran.out)["salesforce"]
        assert ran.code == 4, ran.err
        assert {name: (each["missing"], each["unexpected"]) for name, each in found.items()} == {
            "calls": ([calls[2]], [calls[4]]), "emails": ([emails[1]], []), "email_tasks": ([tasks[0]], []),
        }  # fmt: skip


def test_a_task_that_another_stream_has_booked_is_held(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OrgWorld(tmp_path) as world:
        monkeypatch.setattr(clock, "now", world.now)
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
        world.configure("sources.salesforce.emails", match=[{"TaskSubtype": "Task"}])
        moved = world.task(TaskSubtype="Task", ago=timedelta(days=2))
        world.task(ago=timedelta(hours=2))
        world.sync()
        assert world.row(moved)["stream"] == "email_tasks"
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": ["Call", "Task"]}])
        ran = command("verify", "--json", "-c", world.write_config())
        found = json.loads(ran.out)["salesforce"]
        assert (ran.code, found["calls"]["crm"], found["calls"]["ledger"]) == (0, 2, 1), ran.err


# -- failures ---------------------------------------------------------------------------------


def test_a_source_that_fails_is_69_and_the_others_are_compared(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OrgWorld(tmp_path, with_hubspot=True) as world:
        monkeypatch.setattr(clock, "now", world.now)
        monkeypatch.setattr(Verification, "_sleep", lambda self, seconds: world.later(seconds=seconds))
        calls, task = world.calls(2), world.task()
        world.sync()
        dig(world, [calls[0], task])
        world.hubspot.faults.add(Fault(match="search", status=503, count=None))
        ran = command("verify", "--json", "-c", world.write_config())
        document = json.loads(ran.out)
        assert document["salesforce"]["calls"]["missing"] == [task]
        assert document["hubspot"]["calls"]["error"] == document["hubspot"]["emails"]["error"] is not None
        assert (ran.code, ran.err.count("syncd: ")) == (4, 1), "4 comes before 69, and each error is shown once"
        ran = command("verify", "--source", "hubspot", "-c", world.config_file)
        assert (ran.code, "hubspot calls: not compared, see the error below" in ran.out) == (69, True)
        assert "has its row" not in ran.err


def test_a_pause_is_69_without_a_request(world: World, verified: Any) -> None:
    world.call()
    world.sync()
    with_pause = "INSERT INTO pauses (name, until, reason, booked_at) VALUES ('hubspot', ?, 'the daily quota', ?)"
    world.sql(with_pause, clock.text(world.now() + timedelta(hours=1)), clock.text(world.now()))
    with world.counted() as requests:
        _, ran = verified()
    assert (ran.code, requests, "the daily quota" in ran.err) == (69, {}, True)


def test_another_portal_is_78(world: World, verified: Any) -> None:
    world.call()
    world.sync()
    world.sql("UPDATE sources SET identity = 'another'")
    assert verified()[1].code == 78


class Odd(HubSpot):
    """A connector whose emails are hidden, and which does not serve or interpret some calls."""

    bad: ClassVar[dict[str, str]] = {}  # by id: the trouble
    before_look_up: ClassVar[Callable[[], None]] = lambda: None

    def fetch(self, stream: str, window: Window) -> Iterator[Page]:
        if stream == "emails":
            raise Unauthorized("the scope sales-email-read is missing")
        if "beside" in self.bad.values():
            yield from super().fetch(stream, window)
            raise OutsideWindow("a file beside it cannot be read")
        yield from super().fetch(stream, window)

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        type(self).before_look_up()
        unserved = {crm_id: "HubSpot answered 502" for crm_id in ids if self.bad.get(crm_id) == "unserved"}
        for page in super().fetch_ids(stream, [crm_id for crm_id in ids if crm_id not in unserved]):
            yield replace(page, unserved=unserved)

    def normalize(self, stream: str, record: Record) -> Draft | None:
        if self.bad.get(record.ref.crm_id) == "bug":
            raise KeyError("hs_call_title")
        return super().normalize(stream, record)


def odd(world: World, monkeypatch: pytest.MonkeyPatch, bad: dict[str, str]) -> list[Compared]:
    monkeypatch.setattr(Odd, "bad", bad)
    config = world.config()
    sources = [replace(source, connector=Odd) for source in config.sources]
    return [*Verification(chosen(config.ledger), StopRequest(), now=world.now).streams(sources)]


def test_a_record_that_is_not_served_or_not_readable_is_missing_and_a_hidden_stream_fails_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unserved, bug, deleted, held = world.calls(4)
    world.email()
    world.sync()
    dig(world, [unserved, bug])
    calls, emails = odd(world, monkeypatch, {unserved: "unserved", bug: "bug", deleted: "unserved"})
    assert (sorted(calls.missing), calls.unexpected) == (sorted([unserved, bug]), [])
    assert (type(emails.error), emails.exit_codes) == (Unauthorized, [Exit.UNAUTHORIZED])
    world.hubspot.delete("calls", deleted)
    calls, _ = odd(world, monkeypatch, {unserved: "beside", deleted: "unserved"})
    assert (sorted(calls.missing), calls.unexpected, str(calls.error)) == (
        sorted([unserved, bug]), [], "a file beside it cannot be read",
    ), "what the CRM does not serve may still be there"  # fmt: skip
    assert calls.exit_codes == [Exit.UNAVAILABLE, Exit.UNBALANCED]
    assert held in world.delivered


def test_what_changes_or_is_booked_while_it_is_compared_is_not_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited, booked, missing = world.calls(3)
    world.sync()
    dig(world, [edited, booked, missing])

    def meanwhile() -> None:
        world.hubspot.edit("calls", edited, hs_call_title="Another title")  # the next pass reads it
        world.sql(
            "INSERT INTO activities (stream_id, crm_id, external_activity_id, kind, state, modified_at, first_seen_at) "
            "SELECT id, ?, ?, 'call', 'dead', ?, ? FROM streams WHERE stream = 'calls'",
            booked, booked, *[clock.text(world.now())] * 2,
        )  # fmt: skip

    world.later(minutes=1)
    monkeypatch.setattr(Odd, "before_look_up", staticmethod(meanwhile))
    calls, _ = odd(world, monkeypatch, {})
    assert (calls.crm, calls.missing) == (3, [missing])


@pytest.mark.parametrize("ends_within", [True, False])
def test_a_signal_ends_it(world: World, verified: Any, monkeypatch: pytest.MonkeyPatch, *, ends_within: bool) -> None:
    world.calls(2)
    world.sync()
    began = Verification._source

    def stopped(self: Verification, *arguments: Any) -> Any:
        self.stop.request(signal.SIGINT)
        return began(self, *arguments) if ends_within else iter(())

    monkeypatch.setattr(Verification, "_source", stopped)
    with world.counted() as requests:
        ran = verified()[1]
    assert (ran.code, "search" in requests, "has its row" in ran.err) == (130, False, False)
    stop = StopRequest()
    timer = threading.Timer(0.3, lambda: stop.request(signal.SIGTERM))
    timer.start()
    with pytest.raises(Stopped):
        Verification(chosen(world.config().ledger), stop)._sleep(30)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--since", "yesterday"), "expected a date or a time"),
        (("--since", "2999-01-01"), "lies in the future"),
        (("--source", "nowhere"), "is not configured"),
    ],
)
def test_a_wrong_option_is_2(world: World, verified: Any, arguments: tuple[str, ...], told: str) -> None:
    ran = verified(*arguments)[1]
    assert (ran.code, told in " ".join(ran.err.split())) == (2, True), ran.err


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_figures_follow_it_on_a_terminal(
    world: World, verified: Any, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    world.calls(3)
    world.sync()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)
    ran = verified()[1]
    assert (ran.code, "…" in ran.err) == (0, False)
    assert "hubspot calls: records" in ran.err
    assert "3/3" in ran.err
    assert "hubspot emails" not in ran.err, "nothing of them was read yet"


# -- spans ------------------------------------------------------------------------------------


def test_a_span_is_cut_at_midnight_and_joined_again() -> None:
    east = timezone(timedelta(hours=2))
    span = datetime(2026, 1, 30, 22, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    days = [*by_day(span)]
    assert [since for since, _ in days] == [span[0], datetime(2026, 1, 31, tzinfo=UTC), span[1]]
    assert [until.isoformat()[:23] for _, until in days] == [
        "2026-01-30T23:59:59.999", "2026-01-31T23:59:59.999", "2026-02-01T00:00:00+00:",
    ]  # fmt: skip
    assert joined(days) == [span]
    assert joined([days[0], days[2]]) == [days[0], days[2]]
    assert [*by_day((span[0].astimezone(east), span[1].astimezone(east)))] == days
