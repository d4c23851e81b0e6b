"""`syncd backfill` books a span and reads it, unless another syncd holds the ledger. It sends nothing twice."""

import io
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from connectors.hubspot import HubSpot
from syncd import clock, signals
from syncd.cli import backfilling, check
from syncd.cli.backfill_bars import BackfillBars
from syncd.cli.backfill_progress import RangeProgress
from syncd.connector import Context
from syncd.errors import Exit, SyncdError, Unavailable
from syncd.ledger import LedgerHandle, Range
from syncd.lifecycle.states import Verdict
from syncd.passes import backfill, ranges, slices, wiring
from syncd.passes.backfill import Left, Reading
from syncd.passes.forecast import Forecast, price
from syncd.passes.jobs import Totals
from syncd.passes.report import PassResult, StreamTotals
from tests.conftest import Command
from tests.orgs import OrgWorld
from tests.world import World

START = "2026-01-01T00:00:00.000Z"
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrgWorld]:
    """A Salesforce, and commands that go by its clock."""
    with OrgWorld(tmp_path) as world:
        monkeypatch.setattr(clock, "now", world.now)
        yield world


def not_read(world: OrgWorld) -> list[str]:
    found = list(check.findings(world.config(), world.config().sources))
    return [each.what for each in found if "not read under" in each.message]


def widen(world: OrgWorld) -> None:
    world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}, {"Type": "Call"}])
    world.later(minutes=30)


def test_a_backfill_reads_what_the_old_match_left_out_and_sends_nothing_twice(org: OrgWorld, command: Command) -> None:
    org.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
    held = org.task(ago=timedelta(days=2))
    # before the sweep
    missed = {org.task(TaskSubtype="Task", Type="Call", ago=timedelta(days=days)) for days in (3, 4)}
    org.sync()
    widen(org)
    org.sync()
    assert org.delivered == {held}
    assert not_read(org) == ["salesforce: calls"]
    file = org.write_config()
    with LedgerHandle(org.ledger).hold("run"):
        for _ in range(2):
            ran = command("backfill", "--since", "2020-01-01", "-c", file)
            assert (ran.code, "`syncd run`, process" in ran.out) == (0, True)
    assert "salesforce calls: 2020-01-01T00:00:00.000Z to " in ran.out
    assert f"salesforce emails: 2020-01-01T00:00:00.000Z to {START}" in ran.out, "its windows begin at `start`"
    assert org.sql("SELECT why, count(*) FROM ranges") == [("backfill", 3)], "asked twice, booked once"
    assert not_read(org) == []
    assert org.delivered == {held}
    ran = command("backfill", "--since", "2020-01-01", "-c", file)
    assert ran.code == 0
    assert "2 new, and delivered 2." in ran.out.splitlines()[-1]
    assert org.delivered == {held, *missed}
    assert org.sql("SELECT verdict, count(*) FROM activities GROUP BY 1") == [("created", 3)]
    assert org.sql("SELECT count(*) FROM ranges") == [(0,)]
    assert not_read(org) == []


def test_a_match_that_no_pass_knows_yet_is_read_under_and_leaves_no_message(org: OrgWorld, command: Command) -> None:
    org.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
    org.task(ago=timedelta(days=2))
    missed = org.task(TaskSubtype="Task", Type="Call", ago=timedelta(days=4))
    org.sync()
    org.sql(
        "INSERT INTO ranges (stream_id, since, until, why, read_to, created_at) SELECT id, '2020-01-01T00:00:00.000Z', "
        "watermark, 'backfill', watermark, watermark FROM streams WHERE stream = 'calls'"
    )
    widen(org)
    assert command("backfill", "--since", "2020-01-01", "-c", org.write_config()).code == 0
    assert missed in org.delivered, "the span that was read under the old rule is read again"
    assert not_read(org) == []


def test_a_span_that_is_shorter_than_what_is_unread_leaves_the_message(org: OrgWorld, command: Command) -> None:
    org.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
    org.task(ago=timedelta(days=2))
    org.sync()
    widen(org)
    org.sync()
    since = (org.now() - timedelta(days=3)).date()
    assert command("backfill", "--since", since, "-c", org.write_config()).code == 0
    assert not_read(org) == ["salesforce: calls"]


def test_what_the_windows_read_is_not_booked(org: OrgWorld, command: Command) -> None:
    org.sync()
    ran = command("backfill", "--since", "2026-01-01", "-c", org.write_config())
    assert (ran.code, ran.out.startswith("nothing to read")) == (0, True)
    assert org.sql("SELECT count(*) FROM ranges") == [(0,)]


def test_a_stream_that_holds_nothing_is_read_up_to_its_start(org: OrgWorld, command: Command) -> None:
    org.sync()
    old = org.task(ago=timedelta(days=400))
    assert command("backfill", "--since", "2025-01-01", "-c", org.write_config()).code == 0
    assert org.delivered == {old}


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (("--since", "yesterday"), "expected a date or a time"),
        (("--since", "2999-01-01"), "lies in the future"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), "--until is not later"),
        (("--since", "2026-02-01", "--source", "nowhere"), "is not configured"),
        ((), "--since"),
    ],
)
def test_a_wrong_span_is_2_and_books_nothing(
    org: OrgWorld, command: Command, times: tuple[str, ...], told: str
) -> None:
    org.task()
    org.sync()
    ran = command("backfill", *times, "-c", org.write_config())
    assert (ran.code, told in " ".join(ran.err.split())) == (2, True), ran.err
    assert org.sql("SELECT count(*) FROM ranges") == [(0,)]


# -- it reads by itself ------------------------------------------------------------------


@pytest.fixture
def old(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls before a portal's `start`, in small pages, of which a pass of `backfill` reads four."""
    monkeypatch.setattr(clock, "now", world.now)
    monkeypatch.setattr(backfill, "PAGES", 4)
    monkeypatch.setattr(slices, "SLICE_RECORDS", 4)
    monkeypatch.setattr("connectors.hubspot.search.gather.__kwdefaults__", {"group": 2, "refs": 10})
    world.configure("sources.hubspot", start=world.now() - timedelta(days=2))
    world.call()
    world.sync()
    return [world.call(ago=timedelta(days=4, minutes=-number)) for number in range(12)]


def run(world: World, command: Command, *options: str) -> Any:
    since = (world.now() - timedelta(days=5)).date()
    return command("backfill", "--since", since, *options, "-c", world.write_config())


@pytest.mark.parametrize("order", [[], ["--newest-first"]])
def test_passes_follow_until_all_is_read_and_each_begins_with_the_windows(
    world: World, old: list[str], command: Command, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: list[str] = []
    one_pass = wiring.one_pass

    def with_news(*what: Any, **how: Any) -> PassResult:
        fresh.append(world.call(ago=timedelta(minutes=10)))
        result = one_pass(*what, **how)
        assert fresh[-1] in world.delivered
        return result

    monkeypatch.setattr(wiring, "one_pass", with_news)
    ran = run(world, command, *order)
    assert ran.code == 0, ran.err
    assert "Done after" in ran.out
    assert len(fresh) > 2, "a pass has its share"
    assert {*old, *fresh} <= world.delivered
    assert (world.status()["ranges"], world.status()["balanced"], world.recotap.doubled) == ([], True, 0)


@pytest.mark.parametrize("order", [[], ["--newest-first"]])
def test_an_outage_ends_it_with_69_and_the_same_command_goes_on(
    world: World, old: list[str], command: Command, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    one_pass = wiring.one_pass

    def breaking(*what: Any, **how: Any) -> PassResult:
        passes.append(1)
        if len(passes) == 2:
            world.hubspot.faults.add("unavailable", match="/crm/", count=None)
        return one_pass(*what, **how)

    monkeypatch.setattr(wiring, "one_pass", breaking)
    monkeypatch.setattr("syncd.passes.reader.Reader._sleep", lambda self, seconds: None)
    ran = run(world, command, *order)
    assert (ran.code, len(passes)) == (Exit.UNAVAILABLE, 1 + backfill.STILL), "it does not loop"
    assert "Stopped by an outage after" in ran.out
    assert "The rest is kept" in ran.out
    (held,) = [each for each in world.status()["ranges"] if each["stream"] == "calls"]
    assert 0 < held["share"] < 1
    world.hubspot.faults.clear()
    ran = run(world, command, *order)
    assert ran.code == 0
    assert "from where an earlier backfill stopped" in ran.out
    assert world.delivered >= {*old}
    assert world.status()["ranges"] == []


def test_a_pause_ends_it_without_a_request(world: World, old: list[str], command: Command) -> None:
    with LedgerHandle(world.ledger).open() as ledger:
        until = world.now() + timedelta(hours=3)
        ledger.pause_until("hubspot", until, "the day's quota is used up", now=world.now())
    with world.counted() as counted:
        ran = run(world, command)
    assert (ran.code, counted) == (Exit.UNAVAILABLE, {})
    assert "Stopped by a pause after" in ran.out


def test_a_refused_key_ends_it_at_once(world: World, old: list[str], command: Command) -> None:
    world.key_file.write_text("another")
    ran = run(world, command)
    assert ran.code == Exit.UNAUTHORIZED
    assert "Stopped by a refused key or a missing scope" in ran.out


def test_an_unreadable_key_is_78_before_anything_is_booked(world: World, old: list[str], command: Command) -> None:
    world.key_file.unlink()
    assert run(world, command).code == Exit.CONFIG
    assert world.status()["ranges"] == []


def test_a_signal_ends_it_and_what_is_left_is_kept(
    world: World, old: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_pass = wiring.one_pass

    def interrupted(*what: Any, stop: signals.StopRequest, **how: Any) -> PassResult:
        result = one_pass(*what, stop=stop, **how)
        stop.request(2)
        return result

    monkeypatch.setattr(wiring, "one_pass", interrupted)
    ran = run(world, command)
    assert (ran.code, "Stopped after" in ran.out) == (Exit.SIGINT, True)
    assert [each["stream"] for each in world.status()["ranges"]] == ["calls"]


def test_without_a_ledger_it_is_74_and_makes_none(world: World, command: Command) -> None:
    ran = command("backfill", "--since", "2025-01-01", "-c", world.write_config())
    assert ran.code == Exit.LEDGER
    assert not world.ledger.exists()


def test_an_older_ledger_is_brought_up_to_date_first(world: World, old: list[str], command: Command) -> None:
    for sql in (
        "DROP TABLE forgotten", "ALTER TABLE ranges DROP COLUMN newest_first", "PRAGMA user_version = 7",
    ):  # fmt: skip
        world.sql(sql)
    assert run(world, command).code == 0
    assert world.delivered >= {*old}


# -- decisions ---------------------------------------------------------------------------


def left(read_to: datetime | None = None, *, is_paused: bool = False) -> Left:
    this = Range(1, "calls", AT, AT + timedelta(days=9), "backfill", read_to, None, 0, None, AT)
    return Left("hubspot", this, is_paused)


def result(code: Exit = Exit.OK, *, died: int = 0, failed: dict[str, SyncdError] | None = None) -> PassResult:
    totals = Totals(verdicts=Counter({Verdict.CREATED: 5}), died=died)
    return PassResult(code, totals, {("hubspot", "calls"): StreamTotals(read=7, new=6)}, failed=failed or {})


@pytest.mark.parametrize(
    ("results", "looks", "code", "passes"),
    [
        ([], [[]], Exit.OK, 0),
        ([result()], [[left()], []], Exit.OK, 1),
        ([result(), result()], [[left()], [left(AT)], []], Exit.OK, 2),
        ([result(Exit.DIED, died=1), result()], [[left()], [left(AT)], []], Exit.DIED, 2),
        ([result()] * 2, [[left()]] * 3, Exit.UNAVAILABLE, 2),  # nothing moves: it does not loop
        ([result(Exit.UNAVAILABLE), result()], [[left()], [left()], []], Exit.OK, 2),  # the second try got through
        ([result()], [[left()], [left(AT, is_paused=True)]], Exit.UNAVAILABLE, 1),
        (
            [result(Exit.UNAUTHORIZED, failed={"@recotap": Unavailable("no")})],
            [[left()], [left(AT)]], Exit.UNAUTHORIZED, 1,
        ),
    ],
)  # fmt: skip
def test_when_a_backfill_ends_and_with_which_code(
    results: list[PassResult], looks: list[list[Left]], code: Exit, passes: int
) -> None:
    making, looking = iter(results), iter(looks)
    heard: list[int] = []
    reading = backfill.read(
        lambda: next(making), lambda: next(looking), stopping=lambda: False, passed=lambda r: heard.append(r.passes)
    )
    assert (reading.exit_code, reading.passes) == (code, passes)
    assert heard == [*range(1, passes + 1)]
    assert (reading.read, reading.new) == (7 * passes, 6 * passes)
    assert not [*making]


def test_a_stop_before_the_first_pass_makes_none() -> None:
    reading = backfill.read(lambda: result(), lambda: [left()], stopping=lambda: True)
    assert (reading.passes, reading.exit_code) == (0, Exit.UNAVAILABLE)


def test_the_closing_sentence_names_what_was_given_up() -> None:
    reading = Reading([], 3, 12_000, 1_000, Totals(verdicts=Counter({Verdict.CREATED: 900}), died=2), (), Exit.DIED)
    assert backfilling.closing(reading, seconds=3783) == (
        "Done after 1 h 3 min: read 12,000 records, 1,000 new, and delivered 900, gave up 2, see `syncd failures`."
    )


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (59, "59 s"), (192, "3 min 12 s"), (7200, "2 h")])
def test_lengths_in_words(seconds: float, words: str) -> None:
    assert backfilling.length(seconds) == words


# -- forecast and progress ---------------------------------------------------------------


def test_it_says_first_what_is_to_be_read_and_what_that_costs_and_logs_how_far_it_is(
    world: World, old: list[str], command: Command
) -> None:
    with world.counted() as counted:
        ran = run(world, command, "--log-format", "json")
    assert ran.err.splitlines()[:3] == [
        "hubspot: about 13 records to read (calls 13, emails 0).",
        "That takes about 1 request, at most 31 for 1,000 records.",
        "`syncd check` shows how many the CRM allows today.",
    ]
    logged = [json.loads(line) for line in ran.err.splitlines() if '"backfill.pass_finished"' in line]
    assert [each["passes"] for each in logged] == [1, 2, 3]
    assert [each["ranges_left"] for each in logged][-1] == 0
    assert logged[0]["range_records"] < logged[-1]["range_records"]
    assert logged[-1]["expected"] == logged[-1]["range_records"] >= 12, "a page may be read again at the position"
    assert "seconds_left" in logged[0]
    assert "seconds_left" not in logged[-1]
    assert counted["search"] < 30


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable("the CRM counts nothing"), "before they are read: the CRM counts nothing"),
        (ZeroDivisionError(), "a bug in the connector of hubspot: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_counted_is_read_all_the_same(
    world: World, old: list[str], command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def count(*_: object) -> int:
        raise error

    monkeypatch.setattr(HubSpot, "count", count)
    ran = run(world, command)
    assert (ran.code, told in ran.err) == (0, True), ran.err
    assert world.delivered >= {*old}


def test_a_signal_ends_a_forecast_that_waits(
    world: World, old: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[Context] = []
    slept: list[bool] = []
    init = HubSpot.__init__

    def made(self: HubSpot, config: Any, context: Context) -> None:
        contexts.append(context)
        init(self, config, context)

    def count(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        contexts[-1].sleep(600)
        slept.append(True)
        return 0

    monkeypatch.setattr(HubSpot, "__init__", made)
    monkeypatch.setattr(HubSpot, "count", count)
    with world.counted() as counted:
        ran = run(world, command)
    assert (ran.code, "records to read" in ran.err, slept, counted) == (Exit.SIGTERM, False, [], {})
    assert len(world.status()["ranges"]) == 2


def test_a_forecast_without_a_price_names_none() -> None:
    assert price(1001, 31) == 32
    assert price(1001, None) is None
    told = backfilling.foretold(Forecast("files", {"calls": 1200}, None, None))
    assert told == "files: about 1,200 records to read (calls 1,200)."


@pytest.mark.parametrize("width", [60, 80, 120])
def test_bars_show_records_rate_and_time_left_of_each_stream(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    times, totals = iter(range(1000)), Totals()
    with BackfillBars([Forecast("salesforce", {"email_tasks": 20_000}, None, None)], console) as bars:
        bars._progress.get_time = lambda: float(next(times))
        for _ in range(10):
            bars.range_read("salesforce", "email_tasks", 1000)
            bars._progress.refresh()
        bars.range_read("salesforce", "calls", 7)
        for number in (40, 50, 20):  # two passes
            totals = totals if number == 50 else Totals()
            totals.verdicts[Verdict.CREATED] = number
            bars.sent(totals)
    shown = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()))
    line = next(each for each in reversed(shown) if re.search("email_tasks .*10000/20000", each))
    assert re.search(r"\d+/s +0:\d\d:\d\d left", line), line
    assert len(line.rstrip()) <= width
    assert any(re.search(r"to Recotap .*70/\?", each) for each in shown)
    assert any("calls" in each and "7/?" in each for each in shown)


def test_a_total_grows_if_more_is_read_than_was_foretold() -> None:
    out = io.StringIO()
    with BackfillBars([Forecast("hubspot", {"calls": 5}, None, None)], Console(file=out, width=80)) as bars:
        bars.range_read("hubspot", "calls", 8)
    assert "8/8" in out.getvalue()


def test_bars_are_drawn_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal, as_json, kind in (
        (True, None, BackfillBars),
        (True, True, RangeProgress),
        (False, None, RangeProgress),
    ):
        monkeypatch.setattr(sys.stderr, "isatty", lambda told=is_terminal: told)
        with backfilling.watching([], as_json=as_json) as progress:
            assert type(progress) is kind


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_span_that_is_asked_for_in_the_other_order_while_its_first_page_is_read_is_read_whole(
    world: World, old: list[str], monkeypatch: pytest.MonkeyPatch, *, newest_first: bool
) -> None:
    def book(*, newest_first: bool) -> None:
        config, since = world.config(), world.now() - timedelta(days=5)
        streams = [(each.name, "calls", each.config.start) for each in config.sources]
        with LedgerHandle(world.ledger).operate() as operator:
            operator.backfill(streams, since, None, newest_first=newest_first, now=world.now())

    send, turned = ranges.Ranges._send, list[bool]()

    def turn(self: ranges.Ranges, *what: Any, **how: Any) -> None:
        if not turned:
            turned.append(True)
            book(newest_first=not newest_first)
        send(self, *what, **how)

    book(newest_first=newest_first)
    with monkeypatch.context() as patch:
        patch.setattr(ranges.Ranges, "_send", turn)
        patch.setattr(ranges, "RANGE_PAGES", 1)
        world.sync()
    for _ in range(30):
        if not world.status()["ranges"]:
            break
        world.sync()
    assert (turned, world.status()["ranges"]) == ([True], [])
    assert world.delivered >= {*old}
