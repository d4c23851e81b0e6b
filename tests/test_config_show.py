"""`syncd config show` and `check`: every key in force, its origin, and all mistakes without the network."""

import tomllib
from pathlib import Path

import pytest

from syncd.cli import toml
from syncd.config import Config, load, shipped, sources
from syncd.connector import SourceConfig, Stream
from tests.conftest import Command

FILE = """
[recotap]
api_key = "env:TEST_RECOTAP_KEY"
timeout = "20s"
[ledger]
path = "ledger.db"
[rules]
own_domains = ["lanternfield.io"]
domain_aliases = { "amber-bolts.com" = "amber.io" }
[sources.hubspot]
connector = "hubspot"
access_token = "env:TEST_TOKEN"
start = 2026-01-01T00:00:00+02:00
settle = { call = "5m" }
[sources.hubspot.calls]
except = [{ hs_call_title = ["SMS *", "* sms *"], hs_call_source = "*" }]
values = { direction = { "Us" = "outbound", "*[In]*" = "inbound" } }
[sources.sales-force]
connector = "salesforce"
login_url = "https://acme.my.salesforce.com"
client_id = "credential:id"
client_secret = "file:/run/secrets/client"
start = 2026-01-01T00:00:00Z
[sources.files]
connector = "jsonl"
path = "/var/lib/syncd/drop"
start = 2026-01-01T00:00:00Z
columns = { kind = "type" }
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "syncd.toml"
    path.write_text(FILE)
    return path


def shown(ran_out: str) -> dict[str, tuple[str, str]]:
    """Return the value and the origin of each key."""
    found = {}
    for line in ran_out.splitlines()[1:]:
        key, _, rest = line.partition(" = ")
        value, _, origin = rest.rpartition("  # ")
        found[key] = (value, origin)
    return found


def everything(config: Config) -> list[object]:
    tables = [config.recotap, config.ledger, config.schedule, config.rules]
    return [*tables, *((source.name, source.config, source.connector) for source in config.sources)]


def test_the_output_is_the_configuration_in_force(file: Path, command: Command) -> None:
    ran = command("config", "show", "-c", file)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == f"# {file}"
    before = load(file, environ={}, secrets=False)
    again = file.with_name("again.toml")
    again.write_text(ran.out)
    assert everything(load(again, environ={}, secrets=False)) == everything(before)


def test_it_has_every_key_that_the_example_has(tmp_path: Path, command: Command) -> None:
    lines = shipped.read(shipped.EXAMPLE).splitlines()
    table, named = "", set()
    for line in lines:
        head = line.removeprefix("# ").partition(" ")[0]
        if head.startswith("["):
            table = head.strip("[]")
        elif line.removeprefix("# ").partition("#")[0].count(" = ") and head.isidentifier():
            named.add(f"{table}.{head}")
    example = tmp_path / "example.toml"
    example.write_text("\n".join(lines))
    keys = shown(command("config", "show", "-c", example).out).keys()
    present = {key for key in named if any(key.startswith(f"{table}.") for table in ("recotap", "rules", "schedule"))}
    present |= {key for key in named if key.startswith("sources.hubspot.")}
    assert len(present) > 40
    assert not {key for key in present if key not in keys and not any(k.startswith(f"{key}.") for k in keys)}


def test_each_key_names_its_origin(file: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_RECOTAP__CONCURRENCY", "7")
    monkeypatch.setenv("SYNCD_SOURCES__HUBSPOT__SETTLE", '{ email = "9h" }')
    monkeypatch.setenv("SYNCD_SOURCES__SALES_FORCE__CALLS__MATCH", '[{ Type = "Call" }]')
    monkeypatch.setenv("SYNCD_SOURCES__FILES__COLUMNS__TITLE", "heading")
    found = shown(command("config", "show", "-c", file).out)
    for key, value, origin in (
        ("recotap.api_key", '"env:TEST_RECOTAP_KEY"', "file"),
        ("recotap.timeout", '"20s"', "file"),
        ("recotap.max_age", '"7d"', "default"),
        ("recotap.concurrency", "7", "SYNCD_RECOTAP__CONCURRENCY"),
        ("schedule.every", '"5m"', "default"),
        ("schedule.stuck_after", '"15m"', "default"),
        ("rules.not_before", '""', "default"),
        ("rules.domain_aliases", '{ "amber-bolts.com" = "amber.io" }', "file"),
        ("sources.hubspot.start", '"2026-01-01T00:00:00+02:00"', "file"),
        ("sources.hubspot.settle.call", '"10m"', "default"),
        ("sources.hubspot.settle.email", '"9h"', "SYNCD_SOURCES__HUBSPOT__SETTLE"),
        ("sources.hubspot.emails.read", "true", "default"),
        ("sources.sales-force.client_id", '"credential:id"', "file"),
        ("sources.sales-force.private_key", '""', "default"),
        ("sources.sales-force.calls.match", '[{ Type = "Call" }]', "SYNCD_SOURCES__SALES_FORCE__CALLS__MATCH"),
        ("sources.files.columns.kind", '"type"', "file"),
        ("sources.files.columns.title", '"heading"', "SYNCD_SOURCES__FILES__COLUMNS__TITLE"),
        ("sources.files.columns.outcome", '"outcome"', "default"),
    ):  # fmt: skip
        assert found[key] == (value, origin), key


def test_a_table_of_both_the_file_and_a_variable_names_both(
    file: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCD_SOURCES__HUBSPOT__CALLS__VALUES__OUTCOME", '{ "x" = "Connected" }')
    key = "sources.hubspot.calls.values"
    variable = "SYNCD_SOURCES__HUBSPOT__CALLS__VALUES__OUTCOME"
    assert shown(command("config", "show", "-c", file).out)[key][1] == f"file, {variable}"
    file.write_text("".join(line for line in FILE.splitlines(keepends=True) if not line.startswith("values")))
    assert shown(command("config", "show", "-c", file).out)[key] == ('{ outcome = { x = "Connected" } }', variable)


class Plain:
    """A connector of one's own, whose model has no tables for its streams."""

    class Config(SourceConfig):
        """Its table."""

    streams = (Stream("calls", "call"), Stream("emails", "email"))


def test_the_tables_of_a_foreign_connectors_streams_are_shown_too(
    file: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BUILT_IN", {**sources.BUILT_IN, "plain": f"{__name__}:Plain"})
    table = "[sources.own]\nconnector = 'plain'\nstart = 2026-01-01T00:00:00Z\n[sources.own.emails]\nread = false\n"
    file.write_text(FILE + table)
    found = shown(command("config", "show", "-c", file).out)
    assert found["sources.own.emails.read"] == ("false", "file")
    assert found["sources.own.calls.read"] == ("true", "default")


def test_no_secret_is_shown_though_it_was_put_where_its_name_belongs(file: Path, command: Command) -> None:
    file.write_text(FILE.replace("env:TEST_TOKEN", "env:pat-na1-0000-dead-beef"))
    ran = command("config", "show", "-c", file)
    assert ran.code == 0
    assert "beef" not in ran.out + ran.err
    assert shown(ran.out)["sources.hubspot.access_token"][0].startswith('"env:(hidden')


def test_check_reports_all_mistakes_at_once_and_asks_nothing(
    file: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BUILT_IN", {**sources.BUILT_IN, "gone": "no_such_module:X"})
    monkeypatch.setenv("TEST_TOKEN", "a-token-of-hubspot")
    gone = '[sources.gone]\nconnector = "gone"\nstart = 2026-01-01T00:00:00Z\n'
    file.write_text(f"{FILE}{gone}".replace("timeout", "time_out"))
    ran = command("config", "check", "-c", file)
    assert (ran.code, ran.out) == (78, "")
    for key in ("recotap.time_out", "recotap.api_key", "sources.sales-force.client_id", "sources.gone.connector"):
        assert f"  {key}: " in ran.err
    assert "hubspot" not in ran.err


def test_check_says_that_a_valid_configuration_is_valid(
    file: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TEST_TOKEN", "TEST_RECOTAP_KEY"):
        monkeypatch.setenv(name, f"a-value-of-{name}")
    file.write_text("".join(FILE.partition("[sources.sales-force]")[0]))
    ran = command("config", "check", "-c", file)
    assert (ran.code, ran.out, ran.err) == (0, f"{file} is valid. Its sources: hubspot\n", "")
    assert not Path("ledger.db").exists()


@pytest.mark.parametrize(
    "found", ["", 'a"b\\c\n', "\u202e\x7f\x9b", "käse 🙂", -1.5, True, 10**12, [], {}, [{"a b": ["x", 1]}, {"c": {}}]]
)
def test_each_value_is_written_as_toml_in_printable_characters(found: object) -> None:
    text = toml.value(found)
    assert text.isprintable()
    assert tomllib.loads(f"{toml.dotted(['t', 'a b'])} = {text}") == {"t": {"a b": found}}
