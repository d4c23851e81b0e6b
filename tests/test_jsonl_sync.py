"""A folder of files, end to end: the real engine and ledger, a Recotap in memory, and kills at every step."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import connectors.jsonl as jsonl
from connectors.jsonl import Jsonl
from connectors.jsonl.lines import LineReader
from connectors.jsonl.naming import MARK
from syncd.connector import Source
from syncd.errors import Exit, Unreadable
from syncd.ledger import LedgerHandle
from syncd.normalize.rules import Rules
from syncd.passes import engine
from syncd.passes.dry_run import DryRun
from syncd.signals import StopRequest
from tests.drops import Drop, call, email


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    with Drop(tmp_path) as made:
        yield made


def test_what_is_dropped_is_delivered_and_moved_aside_by_the_next_pass(drop: Drop) -> None:
    drop.file("monday.jsonl", call("c1"), email("e1"), call("c2"))
    drop.file("monday.csv", "id,kind,occurred_at,owner_email,contact_email",
              "c3,call,2026-09-20 10:00,ada.eschenfeld@lanternfield.com,kaya.ivorstone@amber-bolts.com")  # fmt: skip
    outcome = drop.sync()
    assert outcome is not None
    assert outcome.exit_code == Exit.OK
    assert set(drop.recotap.stored) == {"files-call-c1", "files-email-e1", "files-call-c2", "files-call-c3"}
    assert drop.waiting == ["monday.csv", "monday.jsonl"]
    drop.sync()
    assert drop.waiting == []
    assert drop.done == ["monday.csv", "monday.jsonl"]
    assert set(drop.recotap.stored.values()) == {1}


def test_a_bad_line_is_one_dead_row_that_names_file_and_line(drop: Drop) -> None:
    bad = ("{not json", "", email("e1"), '{"kind": "meeting"}', call("c2", occurred_at="?"))
    drop.file("deals-2026-03.jsonl", call("c1"), *bad)
    assert drop.sync().exit_code == Exit.OK  # type: ignore[union-attr]
    states = drop.states()
    assert [states[crm_id] for crm_id in ("c1", "e1", "c2")] == ["delivered", "delivered", "dead"]
    assert sorted(drop.details().values()) == [
        "line 2 of deals-2026-03.jsonl is not JSON",
        "line 5 of deals-2026-03.jsonl says neither call nor email in 'kind'",
        "line 6 of deals-2026-03.jsonl has no time in 'occurred_at'",
    ]
    explained = drop.explain("c2")
    assert (explained["state"], explained["reason"]) == ("dead", "unreadable")
    assert len(states) == 5
    assert drop.balanced()


def test_a_dry_run_shows_what_is_new_and_moves_nothing(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1"))
    drop.sync()
    drop.file("b.jsonl", call("c2"))
    rules = Rules(own_domains=frozenset({"lanternfield.com"}))
    source = Source("files", drop.config, Jsonl)
    trial = DryRun([source], rules, ledger=LedgerHandle(drop.ledger), stop=StopRequest(), now=drop.now)
    assert [reading.crm_id for reading in trial.readings()] == ["c2"]
    assert (drop.waiting, drop.done) == (["a.jsonl", "b.jsonl"], [])
    drop.sync()
    assert drop.states() == {"c1": "delivered", "c2": "delivered"}


def test_the_same_file_dropped_twice_delivers_nothing_new(drop: Drop) -> None:
    lines = [call("c1"), call("c2", id=None), "garbage"]
    drop.file("a.jsonl", *lines)
    drop.sync()
    drop.sync()
    states = drop.states()
    for name in ("a.jsonl", "b.jsonl"):
        drop.file(name, *lines)
        drop.sync()
        drop.sync()
    assert drop.states() == states
    assert sum(drop.recotap.stored.values()) == 2
    assert drop.done == ["a.jsonl", "a.jsonl", "b.jsonl"]
    assert drop.balanced()


def test_a_line_of_the_same_id_in_a_later_file_completes_what_was_incomplete(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1", contact_email=""))
    drop.sync()
    assert drop.states() == {"c1": "incomplete"}
    drop.file("b.jsonl", call("c1"))
    drop.sync()
    assert drop.states() == {"c1": "delivered"}


def test_a_bad_line_that_is_put_right_in_a_later_file_goes_out(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1", occurred_at=""))
    drop.sync()
    assert drop.states() == {"c1": "dead"}
    drop.file("b.jsonl", call("c1"))
    drop.sync()
    assert drop.states() == {"c1": "delivered"}


def test_what_settles_is_looked_up_where_the_file_was_moved(drop: Drop) -> None:
    drop.file("a.jsonl", email("e1", occurred_at=drop.at.isoformat(), open_count=0))
    drop.sync()
    assert drop.states() == {"e1": "incomplete"}
    drop.sync()
    assert drop.done == ["a.jsonl"]
    drop.sync(minutes=240)
    assert drop.states() == {"e1": "delivered"}


def test_what_is_in_no_file_any_more_is_excluded_as_deleted(drop: Drop) -> None:
    drop.file("a.jsonl", call("c1", contact_email=""))
    drop.sync()
    drop.sync()
    next(drop.config.done_path.glob("*a.jsonl")).unlink()
    drop.sync(minutes=70)
    drop.sync(minutes=70)
    assert drop.explain("c1")["reason"] == "deleted"


@pytest.mark.parametrize("clock", [-3000, 3000])
def test_a_clock_that_jumps_hides_no_file(drop: Drop, clock: int) -> None:
    """Days back and forth: stamps ascend all the same."""
    for number, jump in enumerate((0, clock, -clock, 0), 1):
        drop.later(days=jump)
        drop.file(f"{number}.jsonl", call(f"c{number}"), email(f"e{number}"))
        drop.sync()
    drop.sync()
    assert set(drop.states().values()) == {"delivered"}
    assert len(drop.states()) == 8
    assert len(drop.done) == 4


@pytest.mark.parametrize("days", [-4000, 1, 4000])
def test_a_file_with_an_old_or_future_time_of_its_own_is_read_all_the_same(drop: Drop, days: int) -> None:
    drop.file("first.jsonl", call("c1"))
    drop.sync()
    drop.file("copied.jsonl", call("c2"), age_s=-days * 86400)
    drop.sync()
    assert drop.states()["c2"] == "delivered"


def test_a_file_that_cannot_be_read_holds_up_no_other_and_is_named(drop: Drop) -> None:
    drop.file("a.csv", "when,who", "2026-09-20,x")
    drop.file("b.jsonl", call("c1"), email("e1"))
    outcome = drop.sync()
    assert outcome is not None
    assert outcome.exit_code == Exit.UNAVAILABLE
    assert [error.message for error in outcome.errors] == ["a.csv has no column 'occurred_at' in its first line"]
    assert drop.states() == {"c1": "delivered", "e1": "delivered"}
    drop.sync()
    assert drop.waiting == ["a.csv"]
    drop.file("a.csv", "id,kind,occurred_at", "c2,call,2026-09-20")  # put right
    assert drop.sync().exit_code == Exit.OK  # type: ignore[union-attr]
    assert drop.states()["c2"] == "incomplete"


def test_a_folder_that_moves_with_its_files_stays_the_same_source(drop: Drop, tmp_path: Path) -> None:
    drop.file("a.jsonl", call("c1", contact_email=""))
    drop.sync()
    drop.sync()
    drop.path = drop.path.rename(tmp_path / "elsewhere")
    drop.table["path"] = str(drop.path)
    drop.file("b.jsonl", call("c2"))
    assert drop.sync().exit_code == Exit.OK  # type: ignore[union-attr]
    assert drop.states() == {"c1": "incomplete", "c2": "delivered"}


def test_an_empty_mount_point_is_no_empty_folder(drop: Drop, tmp_path: Path) -> None:
    """Otherwise waiting activities would be excluded as deleted."""
    drop.file("a.jsonl", call("c1", contact_email=""))
    drop.sync()
    drop.sync()
    drop.path.rename(tmp_path / "away")
    drop.config.done_path.mkdir(parents=True)
    outcome = drop.sync(minutes=70)
    assert outcome is not None
    assert outcome.exit_code == Exit.UNAVAILABLE
    assert MARK in outcome.errors[0].message
    assert "mount it. If it was emptied on purpose: echo " in outcome.errors[0].hint
    drop.sync(minutes=70)
    assert drop.states() == {"c1": "incomplete"}


def test_an_idle_pass_reads_next_to_nothing(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the newest file its last 64 KiB, of others nothing, and nothing at all of a kind that is not in them."""
    drop.file("older.jsonl", call("c"))
    drop.sync()
    drop.file("a.jsonl", *(call(f"c{number}") for number in range(700)))
    drop.sync()
    drop.sync()
    read: list[int] = []
    lines = LineReader.lines

    def counted(self: Any, handle: Any) -> Any:
        found = list(lines(self, handle))
        read.append(len(found))
        return iter(found)

    monkeypatch.setattr(LineReader, "lines", counted)
    drop.sync()
    assert len(read) == 1
    assert 0 < read[0] < 300


def test_a_pass_that_is_killed_at_any_step_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two passes is killed once at each of its steps: it moves a file and reads another."""
    monkeypatch.setattr(jsonl, "PAGE", 2)
    monkeypatch.setattr("connectors.jsonl.lines.STRIDE", 256)
    for step in range(1, 100):
        path = tmp_path / str(step)
        path.mkdir()
        with Drop(path) as drop:
            drop.file("first.jsonl", call("c1"), email("e1"))
            drop.sync()
            drop.file("second.jsonl", *map(call, ("c2", "c3", "c4")), email("e2"), "bad")
            survived = drop.sync(killed_at=step)
            drop.sync()
            drop.sync()
            states = drop.states()
            assert sorted(states.values()) == ["dead"] + ["delivered"] * 6, f"killed at step {step}"
            assert set(drop.recotap.stored.values()) == {1}
            assert drop.balanced()
            assert drop.sql("SELECT sum(changed_after_delivery) FROM activities") == [(0,)], f"killed at step {step}"
            assert drop.waiting == []
            assert drop.done == ["first.jsonl", "second.jsonl"]
        if survived is not None:
            break
    assert step > 10


def test_the_row_of_a_record_that_a_connector_finds_unreadable_says_what_the_connector_said(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop.file("a.jsonl", call("c1"), call("c2"))

    def normalize(self: Any, stream: str, record: Any) -> Any:
        raise Unreadable("what it says, and where") if record.ref.crm_id == "c1" else ValueError("kaya@amber-bolts.com")

    monkeypatch.setattr(jsonl.Jsonl, "normalize", normalize)
    assert drop.sync().exit_code == Exit.OK  # type: ignore[union-attr]
    assert drop.details() == {
        "c1": "what it says, and where",
        "c2": "the connector cannot read this record (ValueError)",
    }
