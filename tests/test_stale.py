"""A pending row whose record was not read within an hour is looked up before it is sent."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.hubspot import HubSpot
from connectors.hubspot.search import gather
from syncd.connector import Page, Source, Window
from syncd.errors import Exit
from syncd.ledger import LedgerHandle
from syncd.passes import wiring
from syncd.passes.control import PassControl
from syncd.passes.dry_run import DryRun
from syncd.passes.reader import Reader
from syncd.passes.report import PassResult
from syncd.passes.stale import StaleRows
from syncd.signals import StopRequest
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
from tests.world import HASTE, THEIRS, World

DAY = timedelta(days=1)
MANY = 10_000  # more requests than a pass makes
Asked = list[tuple[str, list[str]]]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


@pytest.fixture
def orgs(tmp_path: Path) -> Iterator[OrgWorld]:
    with OrgWorld(tmp_path, with_hubspot=True) as world:
        yield world


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Record the look-ups by id of HubSpot: (stream, ids)."""
    asked: Asked = []
    fetch_ids = HubSpot.fetch_ids

    def look_ups(self: HubSpot, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        asked.append((stream, list(ids)))
        yield from fetch_ids(self, stream, ids)

    monkeypatch.setattr(HubSpot, "fetch_ids", look_ups)
    return asked


def while_recotap_is_down(world: World, hours: float = 3.0) -> None:
    """Make a pass whose key is refused, so that nothing can have arrived, and let time pass. The key is good again."""
    world.recotap.set(keys=["another"])
    assert world.sync().exit_code == Exit.UNAUTHORIZED
    world.recotap.set(keys=[world.box.key])
    world.later(hours=hours)


def only_send(world: World) -> PassResult:
    """Make the pass of the daemon that reads no window."""
    with LedgerHandle(world.ledger).hold("sync") as hold:
        return wiring.one_pass(
            world.config(), ledger=hold.ledger, sources=(), stop=StopRequest(), now=world.now,
            monotonic=lambda: time.monotonic() * HASTE,
        )  # fmt: skip


def looked_up(asked: Asked) -> list[str]:
    return sorted(crm_id for _, ids in asked for crm_id in ids)


# -- when Recotap is back -------------------------------------------------------------------


@pytest.mark.parametrize("windows", [True, False])
def test_what_the_crm_changed_while_recotap_was_down_is_sent_as_it_is_now(
    world: World, asked: Asked, windows: bool
) -> None:
    wrong = world.person("wrong.name")
    calls, email = world.calls(12), world.email(contacts=[wrong])
    while_recotap_is_down(world)
    world.hubspot.delete("calls", calls[3])
    world.hubspot.edit("contacts", wrong, email=f"right.name@{THEIRS}")
    with world.counted() as counted:
        assert (world.sync if windows else lambda: only_send(world))().exit_code == Exit.OK
    assert world.delivered == {*calls, email} - {calls[3]}
    assert world.state(calls[3]) == "incomplete not_found"
    assert [each["email"] for each in world.payload(email)["contacts"]] == [f"right.name@{THEIRS}"]
    assert looked_up(asked) == sorted([*calls, email]), "each once"
    assert counted.get("search", 0) == (2 if windows else 0)
    world.later(minutes=61)
    world.sync()
    assert world.state(calls[3]) == "excluded deleted"


def test_a_task_that_was_opened_again_is_not_sent(orgs: OrgWorld) -> None:
    """It is found, but it is no activity. Its look-up has the schedule of a record that was not found."""
    tasks = [orgs.task() for _ in range(3)]
    call = orgs.call()
    while_recotap_is_down(orgs)
    orgs.org.edit("Task", tasks[1], Status="Open", IsClosed=False, touch=False)
    assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {tasks[0], tasks[2], call}
    assert orgs.state(tasks[1]) == "incomplete not_found"
    orgs.later(minutes=30)
    orgs.org.edit("Task", tasks[1], Status="Completed", IsClosed=True)
    orgs.later(minutes=15)
    orgs.sync()
    assert orgs.state(tasks[1]) == "delivered"


def test_a_record_that_became_incomplete_waits_with_its_reason(world: World) -> None:
    call = world.call()
    while_recotap_is_down(world)
    world.hubspot.edit("contacts", world.contact, email="")
    world.sync()
    assert world.state(call) == "incomplete no_contact_email"
    assert world.delivered == set()


def test_what_was_read_within_the_hour_is_not_looked_up(world: World, asked: Asked) -> None:
    calls = world.calls(3)
    while_recotap_is_down(world, hours=0.99)
    world.sync()
    assert world.delivered == set(calls)
    assert asked == []


def test_a_look_up_counts_as_a_reading(world: World, asked: Asked) -> None:
    calls = world.calls(3)
    while_recotap_is_down(world)
    while_recotap_is_down(world, hours=0.9)
    assert looked_up(asked) == sorted(calls)
    world.sync()
    assert world.delivered == set(calls)
    assert looked_up(asked) == sorted(calls), "none of them twice within the hour"


def test_what_recotap_may_have_is_sent_again_without_a_look_up(world: World, asked: Asked) -> None:
    calls = world.calls(3)
    world.recotap.faults.add("unavailable", count=MANY)
    world.sync()
    world.recotap.faults.clear()
    assert world.sql("SELECT sum(unknown) FROM activities") == [(3,)]
    world.later(hours=3)
    world.hubspot.delete("calls", calls[0])
    world.sync()
    assert asked == []
    assert world.delivered == set(calls)


def test_a_back_off_of_more_than_an_hour_ends_with_a_look_up(world: World, asked: Asked) -> None:
    call = world.call()
    world.recotap.rule("fail", count=5)
    for _ in range(9):
        world.sync()
        world.later(hours=1.5)
    assert world.state(call) == "delivered"
    assert len(asked) >= 3


# -- a CRM that does not serve ----------------------------------------------------------------


@pytest.mark.parametrize("fault", ["unavailable", "unauthorized", "pause"])
@pytest.mark.parametrize("windows", [True, False])
def test_the_rows_of_a_crm_that_does_not_serve_are_sent_as_they_stand(world: World, fault: str, windows: bool) -> None:
    calls = world.calls(60)
    while_recotap_is_down(world)
    world.hubspot.delete("calls", calls[3])
    if fault == "unauthorized":
        world.token_file.write_text("another-token")
    elif fault == "pause":
        with LedgerHandle(world.ledger).open() as ledger:
            ledger.pause_until("hubspot", world.now() + timedelta(hours=2), "quota", now=world.now())
    else:
        world.hubspot.faults.add("unavailable", count=MANY)
    with capture_logs() as logs:
        result = world.sync() if windows else only_send(world)
    assert world.delivered == set(calls)
    failures = [each for each in logs if each["event"] in ("pull.failed", "pull.paused")]
    if fault == "pause" and not windows:
        assert (result.exit_code, failures) == (Exit.OK, []), "a pause of the CRM is no failure to send"
    else:
        assert len(failures) == 1, "it was tried once"


def test_look_ups_alone_that_fail_hold_nothing_up_and_are_reported(world: World) -> None:
    calls = world.calls(4)
    while_recotap_is_down(world)
    world.hubspot.faults.add("server_error", match="batch/read", count=MANY)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert world.delivered == set(calls)


def test_one_record_that_the_crm_cannot_serve_takes_no_other_along(world: World) -> None:
    calls = world.calls(20)
    while_recotap_is_down(world)
    world.hubspot.delete("calls", calls[7])
    with poisoned(world.hubspot, f'"{calls[3]}"', path="calls/batch/read"):
        world.sync()
    assert world.delivered == {*calls} - {calls[7]}
    assert world.state(calls[7]) == "incomplete not_found"


def test_rows_of_a_removed_source_are_sent_as_they_stand(orgs: OrgWorld) -> None:
    call, task = orgs.call(), orgs.task()
    while_recotap_is_down(orgs)
    del orgs.tables["sources.salesforce"]
    orgs.sync()
    assert orgs.delivered == {call, task}


class Hanging(HubSpot):
    """Answer no look-up until released."""

    released = threading.Event()

    def fetch_ids(self, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        """Wait as a read of a dead connection does."""
        self.released.wait(20)
        yield from super().fetch_ids(stream, ids)


def hanging(world: World) -> list[Source]:
    return [
        Source(each.name, each.config, Hanging if each.name == "hubspot" else each.connector)
        for each in world.config().sources
    ]


def test_a_crm_that_hangs_holds_up_neither_its_rows_nor_those_of_another(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.passes.stale.PATIENCE_S", 0.3)
    calls, tasks = orgs.calls(3), [orgs.task() for _ in range(3)]
    while_recotap_is_down(orgs)
    orgs.hubspot.delete("calls", calls[0])
    Hanging.released.clear()

    def release() -> None:
        _until(lambda: orgs.delivered >= {*calls, *tasks})
        Hanging.released.set()

    done = threading.Thread(target=release)
    done.start()
    with capture_logs() as logs:
        result = orgs.sync(sources=hanging(orgs))
    assert orgs.delivered == {*calls, *tasks}
    done.join(20)
    (late,) = [each for each in logs if each["event"] == "look_ups.late"]
    hint = "its pending activities are sent as they were last read: nothing to do"
    assert (late["source"], late["hint"]) == ("hubspot", hint)
    assert orgs.state(calls[0]) == "delivered", "a late answer moves nothing that is sent"
    assert result.exit_code == Exit.OK
    assert orgs.status()["balanced"]


def test_rows_of_a_source_that_waits_for_its_turn_are_looked_up_all_the_same(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many others are read as may be at the same time. The CRM is not to blame for that."""
    monkeypatch.setattr("syncd.passes.readers.MOST", 1)
    monkeypatch.setattr("syncd.passes.stale.PATIENCE_S", 0.5)
    calls = orgs.calls(30)
    while_recotap_is_down(orgs)
    gone = calls[::10]
    for each in gone:
        orgs.hubspot.delete("calls", each)
    orgs.org.faults.add("slow", match="query", seconds=0.4, count=4)
    (salesforce,) = (each for each in orgs.config().sources if each.name == "salesforce")
    with capture_logs() as logs:
        orgs.sync(sources=[salesforce])
    assert orgs.delivered == {*calls} - {*gone}
    assert [each for each in logs if each["event"] == "look_ups.late"] == []


def _until(happened: Callable[[], bool]) -> bool:
    """Wait until something has happened, five seconds at most. Tell whether it has."""
    for _ in range(500):
        if happened():
            return True
        time.sleep(0.01)
    return False


# -- how much is looked up ---------------------------------------------------------------------


def test_as_long_as_recotap_is_down_a_pass_looks_up_no_more_than_it_sends(world: World, asked: Asked) -> None:
    calls = world.calls(230)
    while_recotap_is_down(world)
    for _ in range(3):
        asked.clear()
        while_recotap_is_down(world, hours=0.2)
        assert len(looked_up(asked)) == 50
    world.sync()
    assert world.delivered == set(calls)
    asked.clear()
    world.recotap.set(keys=["another"])
    late = world.calls(3)
    world.sync()
    with LedgerHandle(world.ledger).open() as ledger:
        ledger.pause_until("@recotap", world.now() + timedelta(hours=9), "quota", now=world.now())
    world.later(hours=2)
    world.sync()
    assert asked == [], "a pass that sends nothing asks for nothing"
    assert {world.state(each) for each in late} == {"pending"}


def test_requests_follow_the_sender_one_of_a_stream_at_a_time_while_it_sends(
    world: World, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.passes.stale.LOOK_UPS_AT_ONCE", 60)
    calls, emails = world.calls(300), [world.email(ago=timedelta(hours=40, seconds=n)) for n in range(70)]
    while_recotap_is_down(world)
    fresh = [row[0] for row in world.sql("SELECT crm_id FROM activities WHERE last_post = 0 ORDER BY occurred_at")]
    gone = {*calls[5::50], *emails[5::50]}
    for each in gone:
        world.hubspot.delete("calls" if each in calls else "emails", each)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {*calls, *emails} - gone
    assert looked_up(asked) == sorted([*calls, *emails]), "each once"
    assert max(len(ids) for _, ids in asked) == 60
    assert sum(len(ids) for _, ids in asked[:2]) <= 100, "of each stream a batch, which shows that Recotap is there"
    for stream, records in (("calls", calls), ("emails", emails)):
        order = {each: place for place, each in enumerate(fresh) if each in records}
        requests = [[order[each] for each in ids if each in order] for name, ids in asked if name == stream]
        requests = [sorted(places) for places in requests if places]
        assert [place for places in requests for place in places] == sorted(order.values())


def test_sending_goes_on_while_the_next_rows_are_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is answered only after all rows of those before it were delivered."""
    monkeypatch.setattr("syncd.passes.stale.LOOK_UPS_AT_ONCE", 60)
    calls = world.calls(300)
    served: set[str] = set()
    sent_meanwhile: list[bool] = []
    fetch_ids = HubSpot.fetch_ids

    def look_ups(self: HubSpot, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        sent_meanwhile.append(_until(lambda: served <= world.delivered))
        served.update(ids)
        yield from fetch_ids(self, stream, ids)

    while_recotap_is_down(world)
    monkeypatch.setattr(HubSpot, "fetch_ids", look_ups)
    world.sync()
    assert world.delivered == set(calls)
    assert sent_meanwhile == [True] * 6


def test_the_next_rows_are_asked_for_before_those_that_were_served_are_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.passes.stale.LOOK_UPS_AT_ONCE", 200)
    calls = world.calls(650)
    served: set[str] = set()
    unsent: list[int] = []
    fetch_ids = HubSpot.fetch_ids

    def look_ups(self: HubSpot, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        unsent.append(len(served - world.delivered))
        served.update(ids)
        yield from fetch_ids(self, stream, ids)

    while_recotap_is_down(world)
    world.recotap.faults.add("slow", match="sales-activities", seconds=0.1, count=MANY)
    monkeypatch.setattr(HubSpot, "fetch_ids", look_ups)
    world.sync()
    assert world.delivered == set(calls)
    assert len(unsent) in (5, 6), "a batch, three or four whole requests, and the rows that were tried"
    assert min(unsent[2:4]) >= 50, unsent


def test_a_long_window_holds_no_look_up_up(world: World, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are served between two pages."""
    old = world.calls(5)
    while_recotap_is_down(world)
    world.hubspot.delete("calls", old[0])
    new = world.calls(450, first_ago=timedelta(minutes=100))
    order: list[str] = []
    page = HubSpot._page

    def paged(self: HubSpot, *what: Any) -> Page:
        found = page(self, *what)
        order.append("page")
        if len(order) == 3:  # the first one is being booked
            assert _until(lambda: bool(asked)), "the look-up waits for the end of the window"
        return found

    monkeypatch.setattr(HubSpot, "_page", paged)
    monkeypatch.setattr("connectors.hubspot.gather", partial(gather, group=100))
    assert world.sync().exit_code == Exit.OK
    assert len(order) > 3
    assert world.delivered == {*old[1:], *new}
    assert looked_up(asked) == sorted(old)


def test_the_sources_of_a_pass_do_not_wait_for_each_other(orgs: OrgWorld, asked: Asked) -> None:
    calls, tasks = orgs.calls(30), [orgs.task() for _ in range(30)]
    while_recotap_is_down(orgs)
    orgs.hubspot.delete("calls", calls[3])
    orgs.org.delete("Task", tasks[4])
    assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {*calls, *tasks} - {calls[3], tasks[4]}
    assert looked_up(asked) == sorted(calls)


def test_a_source_that_this_pass_does_not_read_is_asked_for_these_rows_alone(orgs: OrgWorld) -> None:
    calls, tasks = orgs.calls(3), [orgs.task() for _ in range(3)]
    while_recotap_is_down(orgs)
    orgs.hubspot.delete("calls", calls[0])
    orgs.org.delete("Task", tasks[0])
    (salesforce,) = (each for each in orgs.config().sources if each.name == "salesforce")
    with orgs.counted() as counted:
        orgs.sync(sources=[salesforce])
    assert counted.get("search", 0) == 0
    assert orgs.delivered == {*calls[1:], *tasks[1:]}


def test_a_source_that_joins_while_its_rows_are_looked_up_is_read_after_that(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers of one source would book its pages side by side. The daemon hears of the window's reader alone."""
    calls = orgs.calls(3)
    while_recotap_is_down(orgs)
    hubspot, salesforce = sorted(orgs.config().sources, key=lambda each: each.name)
    ended: list[str] = []
    control = PassControl(lambda name, error: ended.append(name))
    did: list[str] = []
    fetch, fetch_ids = HubSpot.fetch, HubSpot.fetch_ids

    def joined(self: HubSpot, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        control.join(hubspot)
        time.sleep(0.3)
        yield from fetch_ids(self, stream, ids)
        did.append("look-up")

    def window(self: HubSpot, stream: str, window: Window) -> Iterator[Page]:
        did.append(stream)
        yield from fetch(self, stream, window)

    monkeypatch.setattr(HubSpot, "fetch_ids", joined)
    monkeypatch.setattr(HubSpot, "fetch", window)
    fresh = orgs.call()
    orgs.later(minutes=11)
    assert orgs.sync(sources=[salesforce], control=control).exit_code == Exit.OK
    assert did == ["look-up", "calls", "emails"]
    assert sorted(ended) == ["hubspot", "salesforce"]
    assert orgs.delivered == {*calls, fresh}


def test_a_source_that_pauses_before_its_rows_are_looked_up_is_no_failure(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = orgs.calls(3)
    while_recotap_is_down(orgs)
    (salesforce,) = (each for each in orgs.config().sources if each.name == "salesforce")
    monkeypatch.setattr(StaleRows, "_can_ask", lambda self, source, stream: True)  # the pause comes a moment later
    with LedgerHandle(orgs.ledger).open() as ledger:
        ledger.pause_until("hubspot", orgs.now() + timedelta(hours=1), "its daily limit", now=orgs.now())
    result = orgs.sync(sources=[salesforce])
    assert (result.exit_code, result.failed) == (Exit.OK, {})
    assert orgs.delivered == {*calls}


def test_a_source_that_gives_way_finishes_the_request_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the rest of it would count as not served, and what was deleted would be sent."""
    calls = world.calls(300)
    while_recotap_is_down(world)
    gone = calls[5::10]
    for each in gone:
        world.hubspot.delete("calls", each)
    readers: list[Reader] = []
    start, fetch_ids = Reader.start, HubSpot.fetch_ids

    def started(self: Reader) -> None:
        readers.append(self)
        start(self)

    def paged(self: HubSpot, stream: str, ids: Sequence[str]) -> Iterator[Page]:
        for first in range(0, len(ids), 50):
            yield from fetch_ids(self, stream, ids[first : first + 50])
            if len(ids) > 50 and len(readers) == 1:
                readers[0].give_way()

    monkeypatch.setattr(Reader, "start", started)
    monkeypatch.setattr(HubSpot, "fetch_ids", paged)
    assert world.sync().exit_code == Exit.OK
    assert len(readers) > 1, "it gave way"
    assert world.delivered == {*calls} - {*gone}


def test_a_pass_without_stale_rows_costs_no_statement_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.calls(30)
    called: list[str] = []
    for name in ("crm_ids", "stale_of", "stream_names"):
        monkeypatch.setattr(f"syncd.ledger.Ledger.{name}", lambda *_, name=name: called.append(name))
    world.sync()
    world.sync()
    assert called == []


def test_a_pass_that_only_sends_says_nothing_of_gaps(world: World) -> None:
    """They were not read, so nothing is known of them."""
    world.calls(2)
    while_recotap_is_down(world)
    with LedgerHandle(world.ledger).open() as ledger:
        at = world.now() - timedelta(days=2)
        stream_id = ledger.stream_id("hubspot", "calls")
        ledger.add_range(
            stream_id, at, at, why="gap", now=world.now(), error="HTTP 500", next_attempt_at=world.now() + DAY
        )
    assert only_send(world).exit_code == Exit.OK
    assert world.sync().exit_code == Exit.UNAVAILABLE


# -- the operator -------------------------------------------------------------------------------


def test_a_dry_run_looks_nothing_up_and_writes_nothing(world: World, asked: Asked) -> None:
    world.calls(3)
    while_recotap_is_down(world)
    before = world.sql("SELECT * FROM payloads")
    config = world.config()
    dry = DryRun(
        config.sources, config.rules.to_rules(), ledger=LedgerHandle(world.ledger), stop=StopRequest(), now=world.now
    )
    assert list(dry.readings()) == []
    assert dry.waiting == 3
    assert (asked, world.sql("SELECT * FROM payloads")) == ([], before)


def test_retry_of_a_stale_row_looks_it_up_first(world: World, asked: Asked) -> None:
    call = world.call()
    world.recotap.rule("fail", count=1)
    world.sync()
    world.later(seconds=5)
    world.sql("UPDATE payloads SET read_at = read_at - 3600")
    world.hubspot.delete("calls", call)
    with LedgerHandle(world.ledger).operate() as operator:
        assert operator.retry([f"hubspot-call-{call}"], state=None, reason=None, now=world.now()) == 1
    world.sync()
    assert looked_up(asked) == [call]
    assert world.state(call) == "incomplete not_found"
