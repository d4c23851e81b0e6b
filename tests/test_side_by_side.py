"""The sources of one pass are read side by side: a long one, a slow one or one that hangs delays no other."""

import io
import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from syncd import log
from syncd.errors import Exit
from syncd.ledger import Ledger
from syncd.passes import engine, reader, readers, turns
from syncd.signals import StopRequest
from tests.daemons import wait_until
from tests.ledgers import ask
from tests.paced import Crm, Passes, release


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Look at the clock often, let a turn of a minute last 0.2 s, and return the log."""
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    monkeypatch.setattr(turns, "TURN_S", 0.2)
    stream = io.StringIO()
    log.configure(stream=stream)
    return stream


@pytest.fixture
def passes(tmp_path: Path) -> Passes:
    return Passes(tmp_path)


def events(said: io.StringIO, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    return [line for line in lines if line["event"] == name]


def heard(passes: Passes, count: int, *, at_most: float = 20.0) -> None:
    """Wait for the ends of `count` readings in all."""
    wait_until(lambda: len(passes.ended) >= count, at_most=at_most)


def delivered_once(passes: Passes, *crms: Crm) -> None:
    assert passes.recotap.stored == dict.fromkeys(set().union(*(crm.ids for crm in crms)), 1)
    assert passes.is_balanced()
    assert ask(passes.ledger, "SELECT DISTINCT state FROM activities") == [("delivered",)]


# -- within one pass ------------------------------------------------------------------------


def test_a_source_is_read_to_its_end_while_another_has_hours_to_go(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_S", 60.0)
    long, short = Crm("long", 60, page_s=0.05), Crm("short", 3)
    seen: list[int] = []
    passes.on_end = lambda name: seen.append(len(long.pages))
    assert passes.sync(long, short).exit_code == Exit.OK
    assert [name for name, _ in passes.ended] == ["short", "long"]
    assert seen[0] < 40
    assert long.readings == 1
    delivered_once(passes, long, short)


def test_their_pages_are_booked_in_turn_by_one_thread(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[int] = []
    threads: set[str] = set()
    before = Ledger.book

    def book(ledger: Ledger, stream_id: int, *what: Any, **how: Any) -> Any:
        order.append(stream_id)
        threads.add(threading.current_thread().name)
        return before(ledger, stream_id, *what, **how)

    monkeypatch.setattr(Ledger, "book", book)
    crms = [Crm(name, 12, page_s=0.01) for name in ("one", "two", "three")]
    passes.sync(*crms)
    assert threads == {threading.current_thread().name}
    last = {stream: len(order) - order[::-1].index(stream) for stream in set(order)}
    assert len(last) == 3
    assert all(end > 25 for end in last.values()), "of 36, one source after the other"
    delivered_once(passes, *crms)


def test_one_that_hangs_delays_no_other_and_the_pass_ends_without_it(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HANGS_S", 2.0)
    hangs, other = Crm("hangs", 2, timeout="200ms"), Crm("other", 5, page_s=0.01, timeout="20s")
    hangs.answers.clear()
    running = passes.beside(hangs, other)
    wait_until(lambda: ("other", None) in passes.ended, at_most=2.0)
    for count in (1, 2):  # as its schedule says
        passes.control.join(other.source)
        heard(passes, count + 1, at_most=2.0)
    assert running.is_alive
    outcome = running.end()
    assert outcome.exit_code == Exit.UNAVAILABLE
    assert "hangs hangs" in outcome.errors[0].message
    assert [name for name, _ in passes.ended] == ["other", "other", "other", "hangs"]
    assert passes.ended[-1][1] is outcome.errors[0]
    release(hangs)
    assert passes.recotap.stored.keys() == other.ids


@pytest.mark.parametrize("where", ["page", "hang"])
def test_a_stop_ends_all_in_time(passes: Passes, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(reader, "STOP_S", 0.3)
    crms = [Crm(name, 500, page_s=0.02, timeout="300ms") for name in ("one", "two", "three")]
    stop = StopRequest()
    running = passes.beside(*crms, stop=stop)
    wait_until(lambda: all(len(crm.pages) > 3 for crm in crms))
    if where == "hang":
        crms[1].answers.clear()
        time.sleep(0.1)
    began = time.monotonic()
    stop.request(15)
    outcome = running.end()
    assert time.monotonic() - began < 0.3 + 2.0, "the deadline and 2 s"
    assert (outcome.exit_code, outcome.errors) == (Exit.SIGTERM, ())
    assert passes.is_balanced()
    release(*crms)
    passes.new_control()
    for crm in crms:
        crm.page_s, crm.refs = 0.0, crm.refs[:60]
    passes.sync(*crms)
    assert set().union(*(crm.ids for crm in crms)) <= set(passes.recotap.stored)
    assert max(passes.recotap.stored.values()) == 1


def test_a_page_that_cannot_be_booked_ends_its_source_alone(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Ledger.book

    def book(ledger: Ledger, stream_id: int, refs: Any, *what: Any, **how: Any) -> Any:
        if refs and refs[0].crm_id == "bad-4":
            raise ZeroDivisionError
        return before(ledger, stream_id, refs, *what, **how)

    monkeypatch.setattr(Ledger, "book", book)
    bad, good = Crm("bad", 30, page_s=0.01), Crm("good", 30, page_s=0.01)
    outcome = passes.sync(bad, good)
    assert outcome.exit_code == Exit.BUG
    assert outcome.failed.keys() == {"bad"}
    assert dict(passes.ended)["good"] is None
    assert good.ids < set(passes.recotap.stored)
    assert len(set(passes.recotap.stored) - good.ids) == 4
    monkeypatch.undo()
    passes.new_control()
    assert passes.sync(bad, good).exit_code == Exit.OK
    delivered_once(passes, bad, good)


# -- pins, though neither source finds the other in the ledger when it opens -----------------


def test_two_new_names_for_one_portal_are_never_both_read(passes: Passes) -> None:
    one, two = Crm("one", 4, identity="portal"), Crm("two", 4, identity="portal", prefix="one")
    both = threading.Barrier(2, timeout=1)
    one.before_page = two.before_page = lambda number: meet(both, number)
    outcome = passes.sync(one, two)
    assert outcome.exit_code == Exit.CONFIG
    assert len(outcome.failed) == 1
    assert {sum(name.startswith(f"{crm.name}-") for name in passes.recotap.stored) for crm in (one, two)} == {0, 8}


def test_two_new_names_for_a_crm_that_does_not_identify_itself_are_never_both_read(passes: Passes) -> None:
    one, two = Crm("one", 4, identity=None), Crm("two", 4, identity=None, prefix="one")
    both = threading.Barrier(2, timeout=1)
    one.before_page = two.before_page = lambda number: meet(both, number)
    outcome = passes.sync(one, two)
    assert outcome.exit_code == Exit.CONFIG
    assert len(outcome.failed) == 1
    assert {sum(name.startswith(f"{crm.name}-") for name in passes.recotap.stored) for crm in (one, two)} == {0, 8}


def meet(barrier: threading.Barrier, page: int) -> None:
    """Let the first page wait until both sources are open, unless one was refused before."""
    if page == 0:
        with suppress(threading.BrokenBarrierError):
            barrier.wait()


# -- more sources than there is room for ----------------------------------------------------


@pytest.fixture
def room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST", 2)


@pytest.mark.usefixtures("room_for_two")
def test_one_that_has_had_its_turn_gives_way_and_goes_on_afterwards(passes: Passes, said: io.StringIO) -> None:
    crms = [Crm("one", 40, page_s=0.03), Crm("two", 40, page_s=0.03), Crm("three", 2), Crm("four", 2)]
    outcome = passes.sync(*crms)
    assert (outcome.exit_code, outcome.errors) == (Exit.OK, ())
    assert {name for name, _ in passes.ended[:2]} == {"three", "four"}
    assert crms[0].readings >= 2
    assert len(crms[0].pages) <= 40 + crms[0].readings, "only the overlap is read again"
    delivered_once(passes, *crms)
    ways = events(said, "pull.gave_way")
    assert sorted(line["source"] for line in ways) == ["one", "two"], "once a pass"
    assert all(line["hint"] and line["level"] == "info" for line in ways)
    finished = {line["source"]: line["read"] for line in events(said, "pull.finished")}
    assert finished["one"] >= 80
    assert ask(passes.ledger, "SELECT count(*) FROM streams WHERE last_error IS NOT NULL") == [(0,)]
    assert outcome.streams["one", "calls"].new == 80


@pytest.mark.usefixtures("room_for_two")
def test_nobody_gives_way_while_there_is_room(passes: Passes) -> None:
    crms = [Crm("one", 40, page_s=0.02), Crm("two", 40, page_s=0.02)]
    passes.sync(*crms)
    assert [crm.readings for crm in crms] == [1, 1]


@pytest.mark.usefixtures("room_for_two")
def test_one_that_reads_only_what_is_known_does_not_give_way(passes: Passes) -> None:
    """It would begin at the same place again, and again."""
    known, two, third = Crm("known", 20), Crm("two", 3), Crm("third", 1)
    passes.sync(known)
    passes.new_control()
    known.page_s = two.page_s = 0.05
    known.source.config.__dict__["overlap"] = known.source.config.overlap * 1000
    passes.sync(known, two, third)
    assert known.readings == 2
    assert len(known.pages) == 40, "20 in each pass"


def test_the_connector_ends_in_its_own_thread_when_it_gives_way(passes: Passes) -> None:
    """The ledger's thread would otherwise wait for the requests that the connector has in flight."""
    long = Crm("long", 400, page_s=0.02)
    running = passes.beside(long)
    passes.control.end_soon()
    running.end()
    assert long.closing == ["read long"]


# -- a pass under way, as the daemon uses it -------------------------------------------------


def test_one_with_a_short_interval_gets_its_passes_while_another_reads_for_ten_minutes(passes: Passes) -> None:
    """Scaled by 100: pages of a second each, and a schedule of half a minute."""
    long, often = Crm("long", 300, page_s=0.01), Crm("often", 2)
    running = passes.beside(long)
    waits: list[float] = []
    while len(long.pages) < 290:
        began = time.monotonic()
        passes.control.join(often.source)
        heard(passes, len(waits) + 1)
        waits.append(time.monotonic() - began)
        time.sleep(0.3)
    assert running.end().exit_code == Exit.OK
    assert len(waits) >= 10
    assert often.readings == len(waits)
    assert sorted(waits)[len(waits) // 2] < 1.0
    assert long.readings == 1, "there was room"
    delivered_once(passes, long, often)


def bug(page: int) -> None:
    raise ZeroDivisionError


def test_a_source_that_fails_and_is_read_again_in_the_same_pass_has_not_failed(passes: Passes) -> None:
    long, broken = Crm("long", 300, page_s=0.02), Crm("broken", 1)
    running = passes.beside(long)
    broken.before_page = bug
    passes.control.join(broken.source)
    heard(passes, 1)
    assert str(passes.ended[0][1]) == "a bug in the connector of broken: ZeroDivisionError"
    broken.before_page = lambda number: None
    passes.control.join(broken.source)
    heard(passes, 2)
    assert passes.ended[1] == ("broken", None)
    passes.control.end_soon()
    outcome = running.end()
    assert (outcome.failed, outcome.exit_code) == ({}, Exit.BUG), "the pass says that something failed"
    assert broken.ids <= set(passes.recotap.stored)


def test_a_source_whose_page_cannot_be_booked_has_failed_even_if_it_gave_way(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Ledger.book

    def book(ledger: Ledger, stream_id: int, refs: Any, *what: Any, **how: Any) -> Any:
        time.sleep(0.02)
        if not any(each.name == "read bad" for each in threading.enumerate()):  # its last page
            raise ZeroDivisionError
        return before(ledger, stream_id, refs, *what, **how)

    monkeypatch.setattr(Ledger, "book", book)
    bad = Crm("bad", 300, page_s=0.01)
    bad.before_page = lambda number: passes.control.end_soon() if number == 1 else None
    outcome = passes.sync(bad)
    assert (outcome.exit_code, [name for name, _ in passes.ended]) == (Exit.BUG, ["bad"])


def test_a_pass_that_is_to_end_soon_ends_at_the_next_page_after_the_turn(passes: Passes) -> None:
    long = Crm("long", 500, page_s=0.02)
    running = passes.beside(long)
    wait_until(lambda: len(long.pages) > 3)
    passes.control.end_soon()
    outcome = running.end(at_most=5.0)
    assert (outcome.exit_code, outcome.errors, outcome.failed) == (Exit.OK, (), {})
    assert passes.ended == [], "it is not done"
    done = len(long.pages)
    assert done < 200
    assert ask(passes.ledger, "SELECT last_success_at, last_error FROM streams") == [(None, None)]
    passes.new_control()
    long.page_s, long.refs = 0.0, long.refs[: 2 * done + 20]
    assert passes.sync(long).exit_code == Exit.OK
    assert len(long.pages) <= done + 11, "it goes on where it stopped"
    delivered_once(passes, long)


def test_a_source_that_comes_before_the_end_is_read_and_one_that_comes_after_it_is_not(
    passes: Passes, said: io.StringIO
) -> None:
    long, early, late, never = Crm("long", 500, page_s=0.05), Crm("early", 1), Crm("late", 3), Crm("never", 1)

    def join_never(page: int) -> None:
        if page == 2:  # the pass hears of calls after it has booked this end, not after the end of the thread
            wait_until(lambda: any(each["source"] == "long" for each in events(said, "pull.gave_way")))
            passes.control.join(never.source)
            time.sleep(0.1)

    late.before_page = join_never
    passes.control.join(early.source)
    passes.control.end_soon()
    passes.control.join(late.source)
    outcome = passes.beside(long).end(at_most=10.0)
    assert outcome.exit_code == Exit.OK
    assert passes.ended[0] == ("early", None)
    assert "long" not in dict(passes.ended)
    assert (early.readings, late.readings, never.readings) == (1, 1, 0), "the late one while the long one is read"


def test_a_pass_that_is_to_end_soon_leaves_what_is_due_to_the_next_one(passes: Passes) -> None:
    passes.recotap.watch = lambda ids: time.sleep(0.3)
    source = Crm("crm", 500)
    source.before_page = lambda number: passes.control.end_soon() if number == 480 else None
    began = time.monotonic()
    passes.sync(source)
    ((left,),) = ask(passes.ledger, "SELECT count(*) FROM activities WHERE state = 'pending'")
    assert left > 200, "a backlog would take hours"
    assert time.monotonic() - began < 5
    passes.new_control()
    source.before_page, passes.recotap.watch = lambda number: None, lambda ids: None
    passes.sync(source)
    delivered_once(passes, source)
