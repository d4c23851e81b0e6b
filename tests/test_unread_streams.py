"""A stream with `read = false` is not read. The rows that the ledger holds of it do not wait for ever."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd import clock
from syncd.cli import check
from syncd.config import load
from syncd.connector import Source, SourceConfig, Stream
from syncd.daemon.queries import DueQueries
from syncd.errors import ConfigError, Exit
from syncd.ledger import LedgerHandle
from syncd.reporting import health
from syncd.sandbox import Fault
from tests.world import START, World

OFF = {"emails": {"read": False}}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def fails(world: World, word: str) -> None:
    world.hubspot.faults.add("server_error", match=word, count=None)


def test_it_costs_no_request_and_its_records_get_no_row(world: World) -> None:
    world.configure("sources.hubspot", **OFF)
    call, _ = world.call(), world.email()
    fails(world, "emails/")
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {call}
    assert [each["stream"] for each in world.status()["sources"]] == ["calls"]


def test_it_is_read_from_where_it_ended_once_it_is_on_again(world: World) -> None:
    world.configure("sources.hubspot", emails={"read": True})
    first = world.email()
    world.sync()
    world.configure("sources.hubspot", **OFF)
    world.later(days=5)
    second = world.email()
    world.sync()
    assert world.delivered == {first}
    world.configure("sources.hubspot", emails={"read": True})
    world.later(days=5)
    world.sync()
    assert world.delivered == {first, second}


def test_what_waits_for_its_record_is_looked_up_and_sent(world: World) -> None:
    settling, alone = world.email(ago=timedelta(minutes=5)), world.email(contacts=[], hs_email_headers="")
    world.sync()
    assert (world.state(settling), world.state(alone)) == ("incomplete settling", "incomplete no_contact")
    world.configure("sources.hubspot", **OFF)
    world.hubspot.associate("emails", alone, "contacts", world.contact)
    world.later(hours=5)
    fails(world, "emails/search")
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {settling, alone}


def test_what_never_completes_dies_of_age_as_ever(world: World) -> None:
    alone = world.email(contacts=[], hs_email_headers="")
    world.sync()
    world.configure("sources.hubspot", **OFF)
    for _ in range(8):
        world.later(days=4)
        world.sync()
    assert world.state(alone) == "dead no_contact"


def test_what_waits_for_recotap_is_looked_up_before_it_is_sent(world: World) -> None:
    email = world.email()
    world.recotap.faults.add(Fault(match="sales-activities", status=401, count=None))
    world.sync()
    world.recotap.faults.clear()
    world.configure("sources.hubspot", **OFF)
    world.hubspot.edit("emails", email, touch=False, hs_email_subject="As it is now")
    world.later(hours=2)
    world.sync()
    assert world.payload(email)["subject"] == "As it is now"


def test_a_gap_in_it_is_no_outage_any_more(world: World) -> None:
    world.sync()
    with LedgerHandle(world.ledger).hold("sync"), LedgerHandle(world.ledger).open() as ledger:
        ledger.add_range(
            ledger.stream_id("hubspot", "emails"), START - timedelta(days=2), START - timedelta(days=1), why="gap",
            now=START, error="answered 500", next_attempt_at=START + timedelta(hours=12),
        )  # fmt: skip
    assert world.sync().exit_code == Exit.UNAVAILABLE
    world.configure("sources.hubspot", **OFF)
    assert world.sync().exit_code == Exit.OK


def test_its_silence_is_no_sign_of_ill_health(world: World) -> None:
    world.sync()
    world.configure("sources.hubspot", **OFF)
    world.later(hours=3)
    world.sql("UPDATE streams SET last_success_at = ? WHERE stream = 'calls'", clock.text(world.now()))

    def fresh() -> bool:
        return all(each.ok for each in health.findings(world.config(), world.now()) if each.what == "fresh")

    with LedgerHandle(world.ledger).hold("run"):
        assert fresh()
        world.configure("sources.hubspot", emails={"read": True})
        assert not fresh()


def test_its_silence_starts_no_pass_that_cron_did_not_ask_for(world: World) -> None:
    world.configure("sources.hubspot", **OFF, schedule={"cron": "0 0 1 1 *"})
    world.sync()
    with LedgerHandle(world.ledger).hold("sync"), LedgerHandle(world.ledger).open() as ledger:
        ledger.stream_id("hubspot", "emails")
    world.sql("UPDATE streams SET last_success_at = '2020-01-01T00:00:00.000Z' WHERE stream = 'emails'")
    world.sql("UPDATE streams SET last_success_at = ? WHERE stream = 'calls'", clock.text(clock.now()))

    def due() -> list[str]:
        config = world.config()
        queries = DueQueries(LedgerHandle(world.ledger))
        with closing(queries):
            return queries.due_at_start((source, config.schedule_for(source)) for source in config.sources)

    assert due() == []
    world.configure("sources.hubspot", emails={"read": True})
    assert due() == ["hubspot"]


def test_check_asks_for_no_permission_that_only_it_needs(world: World) -> None:
    world.hubspot.token(world.box.token, world.hubspot.tokens[world.box.token] - {"sales-email-read"})

    def wrong() -> list[str]:
        config = world.config()
        return [each.what for each in check.findings(config, config.sources) if each.exit_code == Exit.UNAUTHORIZED]

    world.email()
    assert wrong() == ["hubspot: scope sales-email-read"]
    world.configure("sources.hubspot", **OFF)
    assert wrong() == []


class Plain(SourceConfig):
    """The model of a plug-in that knows nothing of streams' tables."""


class Plugin:
    Config = Plain
    streams = (Stream("calls", "call"), Stream("texts", "email"))


class Knowing(Plugin):
    class Config(Plain):
        def reads(self, stream: str) -> bool:
            return stream != "texts"


def source(monkeypatch: pytest.MonkeyPatch, path: Path, connector: type[Any], tables: str) -> Source:
    monkeypatch.setattr("syncd.config.sources.load_connector", lambda at: connector)
    file = path / "syncd.toml"
    file.write_text(
        '[recotap]\napi_key = "env:KEY"\n[rules]\nown_domains = ["lantern-sales.com"]\n'
        f'[sources.ours]\nconnector = "hubspot"\nstart = 2026-01-01T00:00:00Z\n{tables}'
    )
    (found,) = load(file, environ={}, secrets=False).sources
    return found


def test_any_connectors_stream_has_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = source(monkeypatch, tmp_path, Plugin, "[sources.ours.texts]\nread = false\n")
    assert [stream.name for stream in found.streams] == ["calls"]
    assert [stream.name for stream in found.unread] == ["texts"]
    assert type(found.config) is Plain, "of the very class that the connector expects"
    assert [stream.name for stream in source(monkeypatch, tmp_path, Plugin, "").streams] == ["calls", "texts"]


@pytest.mark.parametrize(
    ("connector", "tables", "told"),
    [
        (Plugin, "[sources.ours.texts]\nmatch = []\n", "sources.ours.texts.match unknown key"),
        (Plugin, '[sources.ours.texts]\nread = "no?"\n', "sources.ours.texts.read expected true or false"),
        (Plugin, "texts = 1\n", "sources.ours.texts expected a table"),
        (Plugin, "[sources.ours.letters]\nread = false\n", "sources.ours.letters unknown key"),
        (Plugin, "calls.read = false\ntexts.read = false\n", "sources.ours reads nothing"),
        (Knowing, "[sources.ours.texts]\nread = false\n", "sources.ours.texts unknown key"),
    ],
)
def test_a_mistake_in_such_a_table_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connector: type[Any], tables: str, told: str
) -> None:
    with pytest.raises(ConfigError) as found:
        source(monkeypatch, tmp_path, connector, tables)
    assert told in found.value.summary


def test_a_source_that_reads_nothing_is_told_which_streams_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as found:
        source(monkeypatch, tmp_path, Plugin, "calls.read = false\ntexts.read = false\n")
    assert found.value.problems[0].hint == "expected read = true for one of: calls, texts"
