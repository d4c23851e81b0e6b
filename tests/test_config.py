"""The configuration: its place, its valid values, and its reports of mistakes."""

import json
import os
import subprocess
import sys
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from syncd.cli import printing
from syncd.config import Config, elsewhere, load, reading, schema, sources
from syncd.connector import SourceConfig
from syncd.errors import ConfigError, Problem
from syncd.privacy import redaction
from syncd.types import cron, urls
from syncd.types.secrets import Secret

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CANARY = "pat-eu1-0c4na47y-dead-beef"
MINIMAL = """
[recotap]
api_key = "env:TEST_RECOTAP_KEY"
[sources.crm]
connector = "fake"
token = "env:TEST_CRM_TOKEN"
start = 2026-01-01T00:00:00Z
"""
HUBSPOT = """
[sources.hubspot]
connector = "hubspot"
access_token = "env:TEST_CRM_TOKEN"
start = 2026-01-01T00:00:00Z
"""


class FakeConfig(SourceConfig):
    token: Secret
    base_url: str = "https://api.fake.example"
    per_second: float = 4


class PickyConfig(FakeConfig):
    user: str = ""

    @model_validator(mode="after")
    def _one_of_two(self):
        assert self.user == self.user.strip()
        if not self.user:
            raise ValueError("expected one of two")
        return self


class BrittleConfig(FakeConfig):
    user: str = ""

    @model_validator(mode="wrap")
    @classmethod
    def _trimmed(cls, table, read):
        made = read(table)
        assert made.user == made.user.strip()
        return made


class Fake:
    """A connector with the parts that the configuration uses."""

    Config = FakeConfig


@pytest.fixture(autouse=True)
def _a_fake_crm(monkeypatch):
    module = types.ModuleType("fake_crm")
    module.Fake = Fake
    module.Picky = type("Picky", (), {"Config": PickyConfig})
    module.Brittle = type("Brittle", (), {"Config": BrittleConfig})
    module.Other = type("Other", (), {"Config": dict})
    monkeypatch.setitem(sys.modules, "fake_crm", module)
    known = {name.lower(): f"fake_crm:{name}" for name in ("Fake", "Picky", "Brittle", "Other")}
    monkeypatch.setattr(sources, "BUILT_IN", {**sources.BUILT_IN, **known, "gone": "fake_crm_gone:X"})
    monkeypatch.setattr(redaction, "_secrets", {})
    monkeypatch.setenv("TEST_RECOTAP_KEY", "recotap-key")
    monkeypatch.setenv("TEST_CRM_TOKEN", "crm-token")


@pytest.fixture
def read(tmp_path):
    """Return a function that loads a text as a configuration file, with environment variables."""

    def read(text: str = MINIMAL, *, secrets: bool = True, **environ: str) -> Config:
        file = tmp_path / "syncd.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, environ=environ, secrets=secrets, now=NOW)

    return read


@pytest.fixture
def problems(read):
    """Return a function that loads a text and returns its mistakes by path."""

    def problems(text: str = MINIMAL, **environ: str) -> dict[str, Problem]:
        with pytest.raises(ConfigError) as caught:
            read(text, **environ)
        assert len({problem.path for problem in caught.value.problems}) == len(caught.value.problems)
        return {problem.path: problem for problem in caught.value.problems}

    return problems


def recotap(lines: str) -> str:
    return MINIMAL.replace("[sources.crm]", f"{lines}\n[sources.crm]")


def source(lines: str) -> str:
    return f"{MINIMAL}\n{lines}\n"


def rules(lines: str) -> str:
    return f"[rules]\n{lines}\n{MINIMAL}"


def other_source(name: str, external_id: str) -> str:
    return source(f"""external_id = "{external_id}"
        [sources.{name}]
        connector = "fake"
        token = "env:TEST_CRM_TOKEN"
        start = 2026-01-01T00:00:00Z
        external_id = "{external_id}" """)


class TestWhereTheFileIsFound:
    @pytest.fixture(autouse=True)
    def _three_files(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("config").mkdir()
        for place in ("explicit.toml", "variable.toml", "config/syncd.toml", "etc.toml"):
            Path(place).write_text(MINIMAL)
        monkeypatch.setattr("syncd.config.reading.SEARCHED", (Path("config/syncd.toml"), Path("etc.toml")))

    def test_the_first_of_explicit_variable_working_directory_and_etc_is_read(self):
        environ = {"SYNCD_CONFIG": "variable.toml"}
        assert load(Path("explicit.toml"), environ=environ, now=NOW).path == Path("explicit.toml")
        assert load(environ=environ, now=NOW).path == Path("variable.toml")
        assert load(environ={"SYNCD_CONFIG": ""}, now=NOW).path == Path("config/syncd.toml")
        Path("config/syncd.toml").unlink()
        assert load(environ={}, now=NOW).path == Path("etc.toml")

    def test_without_one_it_says_where_was_looked_and_how_to_begin_once(self, capsys):
        Path("config/syncd.toml").unlink()
        Path("etc.toml").unlink()
        with pytest.raises(ConfigError) as caught:
            load(environ={})
        printing.error(caught.value)
        assert capsys.readouterr().err.splitlines() == [
            "syncd: no configuration found: looked for config/syncd.toml and etc.toml",
            f"  → to begin, {reading.BEGIN}",
        ]
        assert reading.BEGIN == "run: syncd init"

    @pytest.mark.parametrize("environ", [{}, {"SYNCD_CONFIG": "absent.toml"}])
    def test_a_file_that_was_named_has_no_substitute(self, environ):
        with pytest.raises(ConfigError) as caught:
            load(None if environ else Path("absent.toml"), environ=environ)
        assert caught.value.where == "absent.toml"
        assert ("SYNCD_CONFIG" in caught.value.message) == bool(environ)
        assert caught.value.hint == f"correct the path, or {reading.BEGIN}"

    def test_the_process_environment_counts_when_none_is_given(self, monkeypatch):
        monkeypatch.setenv("SYNCD_CONFIG", "variable.toml")
        monkeypatch.setenv("SYNCD_RECOTAP__CONCURRENCY", "9")
        config = load()
        assert (config.path, config.recotap.concurrency) == (Path("variable.toml"), 9)

    def test_a_directory_or_latin_text_is_one_mistake_with_the_name_of_the_file(self):
        Path("latin.toml").write_bytes("# café".encode("latin-1"))
        for name, expected in (("config", "cannot be read: Is a directory"), ("latin.toml", "is not UTF-8 text")):
            with pytest.raises(ConfigError) as caught:
                load(Path(name), environ={})
            assert caught.value.problems == (Problem(name, expected, caught.value.problems[0].hint),)

    @pytest.mark.parametrize(
        ("text", "place"), [("[recotap]\nconcurrency = = 4\n", "bad.toml:2"), ("[recotap", "bad.toml")]
    )
    def test_a_syntax_error_is_told_with_file_and_line(self, text, place):
        Path("bad.toml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(Path("bad.toml"), environ={})
        assert caught.value.problems[0].path == place
        assert caught.value.problems[0].message.startswith("not TOML: ")


class TestWhatItTakes:
    def test_what_is_left_out_has_its_default(self, read):
        config = read()
        assert config.recotap.base_url == "https://eapi.recotap.com/api/v1"
        assert config.recotap.timeout == timedelta(seconds=30)
        assert config.ledger.path == Path("/var/lib/syncd/ledger.db")
        assert config.schedule.every == timedelta(minutes=5)
        assert config.rules.not_before is None
        assert [(spec.name, spec.connector) for spec in config.sources] == [("crm", Fake)]
        assert config.sources[0].config.overlap == timedelta(minutes=15)

    def test_secrets_stay_references_and_are_read_only_when_asked(self, read, monkeypatch):
        monkeypatch.delenv("TEST_CRM_TOKEN")
        config = read(secrets=False)
        assert str(config.recotap.api_key) == "env:TEST_RECOTAP_KEY"
        assert "recotap-key" not in repr(config)

    def test_a_secret_that_was_read_can_never_be_logged(self, read):
        read()
        assert redaction.redact("key recotap-key, token crm-token") == "key [redacted], token [redacted]"

    def test_trailing_slashes_of_an_address_and_a_tilde_in_a_path_are_understood(self, read):
        text = recotap('base_url = "https://recotap.example/v1/"\n[ledger]\npath = "~/ledger.db"')
        config = read(text)
        assert config.recotap.base_url == "https://recotap.example/v1"
        assert config.ledger.path == Path.home() / "ledger.db"

    def test_the_ledger_s_path_is_resolved_once_and_what_leads_nowhere_is_left_to_whoever_opens_it(
        self, read, tmp_path, monkeypatch
    ):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "loop").symlink_to("loop")
        monkeypatch.chdir(tmp_path)
        for name, expected in (("link/ledger.db", "real/ledger.db"), ("x.db", "x.db"), ("loop", "loop")):
            assert read(recotap(f'[ledger]\npath = "{name}"')).ledger.path == tmp_path / expected

    @pytest.mark.parametrize("path", ["/x\\u0000y", "~nobody-has-this-name/ledger.db"])
    def test_a_path_that_none_can_be_is_a_mistake(self, problems, path):
        assert set(problems(recotap(f'[ledger]\npath = "{path}"'))) == {"ledger.path"}

    @pytest.mark.parametrize("by_file", [True, False])
    def test_an_address_of_a_plug_in_is_normalized_too(self, read, by_file):
        """Its own model may accept any text."""
        url = " HTTPS://CRM.Example/API/ "
        config = read(source(f'base_url = "{url}"')) if by_file else read(SYNCD_SOURCES__CRM__BASE_URL=url)
        assert config.sources[0].config.base_url == "https://crm.example/API"

    @pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:9", "http://127.9.9.9"])
    def test_plain_http_is_allowed_to_this_machine(self, read, url):
        assert read(recotap(f'base_url = "{url}"')).recotap.base_url == url

    def test_plain_http_elsewhere_is_allowed_when_the_operator_says_so(self, read):
        config = read(recotap('base_url = "http://recotap.test"\nallow_insecure_http = true'))
        assert config.recotap.base_url == "http://recotap.test"

    def test_domains_are_lower_case_ascii_and_rules_get_them(self, read):
        config = read(
            source("""
            [rules]
            own_domains = ["YourCompany.com", "müller.example"]
            domain_aliases = { "a.example" = "B.example" }
            exclude_domains = ["partner.example"]
            not_before = 2026-01-01T02:00:00+02:00
            default_owner_email = "Sales@yourcompany.com"
            not_owners = [" Sync@yourcompany.com", " 005xx0000012345 "]
            automated = ["calendar"]
            company_domains = ["Rogers.com"]
            """)
        )
        rules = config.rules.to_rules()
        assert rules.own_domains == {"yourcompany.com", "xn--mller-kva.example"}
        assert rules.domain_aliases == {"a.example": "b.example"}
        assert rules.exclude_domains == {"partner.example"}
        assert rules.not_before == datetime(2026, 1, 1, tzinfo=UTC)
        assert rules.default_owner_email == "sales@yourcompany.com"
        assert rules.not_owners == {"sync@yourcompany.com", "005xx0000012345"}
        assert rules.automated == {"calendar"}
        assert rules.company_domains == {"rogers.com"}

    def test_empty_rules_are_no_rules(self, read):
        rules = read(source('[rules]\nnot_before = ""\ndefault_owner_email = ""')).rules.to_rules()
        assert (rules.not_before, rules.default_owner_email) == (None, "")

    def test_a_cron_expression_replaces_every(self, read):
        config = read(source('[schedule]\nevery = ""\ncron = "*/5  8-18 * * mon-fri"\ntimezone = "Europe/Berlin"'))
        assert (config.schedule.every, config.schedule.cron) == (None, "*/5 8-18 * * mon-fri")

    def test_a_source_has_a_schedule_of_its_own_or_the_common_one(self, read):
        config = read(source('[schedule]\nevery = "1h"'))
        assert config.schedule_for(config.sources[0]).every == timedelta(hours=1)
        config = read(source('schedule = { cron = "0 6 * * mon" }\n[schedule]\nevery = "1h"'))
        assert config.schedule_for(config.sources[0]).cron == "0 6 * * mon"
        config = read(source('[schedule]\ncron = "0 6 * * mon"'), SYNCD_SOURCES__CRM__SCHEDULE__EVERY="90s")
        assert config.schedule_for(config.sources[0]).every == timedelta(seconds=90)

    def test_the_fingerprint_of_the_secrets_changes_with_a_key_and_tells_nothing_of_it(self, read, tmp_path):
        key = tmp_path / "recotap.key"
        key.write_text("one-of-the-keys")
        config = read(SYNCD_RECOTAP__API_KEY=f"file:{key}")
        before = config.secrets_fingerprint()
        assert config.secrets_fingerprint() == before
        key.write_text("another-of-the-keys")
        changed = config.secrets_fingerprint()
        key.unlink()
        assert len({before, changed, config.secrets_fingerprint()}) == 3
        assert "keys" not in changed


class TestTheEnvironment:
    def test_every_kind_of_value_is_understood_whatever_the_case_of_the_name(self, read):
        config = read(
            SYNCD_RECOTAP__CONCURRENCY="8",
            syncd_recotap__Base_Url="http://recotap.test/",
            SYNCD_RECOTAP__ALLOW_INSECURE_HTTP="true",
            SYNCD_RULES__OWN_DOMAINS='["a.example", "b.example"]',
            SYNCD_RULES__DOMAIN_ALIASES='{"c.example": "d.example"}',
            SYNCD_RULES__NOT_BEFORE="2026-02-01T00:00:00Z",
            SYNCD_SOURCES__CRM__SETTLE__CALL="1h",
            SYNCD_SOURCES__CRM__PER_SECOND="0.5",
            SYNCD_SOURCES__CRM__EXTERNAL_ID="{kind}-{id}",
            SYNCD_SOURCES__CRM__START="2026-03-01T00:00:00+01:00",
        )
        source = config.sources[0].config
        assert (config.recotap.concurrency, config.recotap.base_url) == (8, "http://recotap.test")
        assert config.rules.own_domains == ["a.example", "b.example"]
        assert config.rules.domain_aliases == {"c.example": "d.example"}
        assert config.rules.not_before == datetime(2026, 2, 1, tzinfo=UTC)
        assert (source.settle.call, source.settle.email) == (timedelta(hours=1), timedelta(hours=4))
        assert (source.per_second, source.external_id) == (0.5, "{kind}-{id}")
        assert source.start == datetime(2026, 2, 28, 23, tzinfo=UTC)

    def test_a_table_may_come_as_toml_or_whole_from_the_environment(self, read):
        table = '{ connector = "fake", token = "env:TEST_CRM_TOKEN", start = 2026-01-01T00:00:00Z }'
        config = read(SYNCD_SOURCES__NEW=table, SYNCD_SOURCES__NEW__OVERLAP="1h", SYNCD_RECOTAP__TIMEOUT='"5s"')
        assert [spec.name for spec in config.sources] == ["crm", "new"]
        assert config.sources[1].config.overlap == timedelta(hours=1)
        assert config.recotap.timeout == timedelta(seconds=5)

    def test_a_source_named_with_dashes_is_spelled_with_underscores(self, read):
        config = read(MINIMAL.replace("sources.crm", "sources.our-crm"), SYNCD_SOURCES__OUR_CRM__OVERLAP="1h")
        assert config.sources[0].config.overlap == timedelta(hours=1)

    def test_names_without_two_underscores_are_somebody_elses(self, read):
        assert read(SYNCD_PORT="tcp://10.0.0.1:80", SYNCD_SERVICE_HOST="x", OTHER_RECOTAP__X="1").sources

    def test_an_unknown_key_or_table_is_a_mistake_that_names_the_variable(self, problems):
        found = problems(SYNCD_RECOTAP__TIMEOOT="5s", SYNCD_RECOTAB__TIMEOUT="5s")
        assert found["recotap.timeoot"].message == "unknown key (see the variable SYNCD_RECOTAP__TIMEOOT)"
        assert found["recotap.timeoot"].hint == "did you mean timeout?"
        assert found["recotab"].message == "unknown table (see the variable SYNCD_RECOTAB__TIMEOUT)"

    def test_a_wrong_value_names_the_variable_and_not_the_value(self, problems):
        found = problems(SYNCD_RECOTAP__CONCURRENCY=CANARY, SYNCD_SOURCES__CRM__SETTLE__CALL="soon")
        assert "SYNCD_RECOTAP__CONCURRENCY" in found["recotap.concurrency"].message
        assert "SYNCD_SOURCES__CRM__SETTLE__CALL" in found["sources.crm.settle.call"].message
        assert CANARY not in repr(found)

    def test_a_key_below_a_value_and_a_broken_list_are_mistakes(self, problems):
        found = problems(
            recotap('timeout = "30s"'), SYNCD_RECOTAP__TIMEOUT__X="5s", SYNCD_RULES__OWN_DOMAINS='["a.example",'
        )
        assert "SYNCD_RECOTAP__TIMEOUT__X" in found["recotap.timeout"].message
        assert found["rules.own_domains"].message.startswith("expected a list")


WRONG = [
    # the file's text, the key's path, a part of the message
    (recotap("concurrency = 0"), "recotap.concurrency", "expected 1 or more"),
    (recotap("concurrency = 17"), "recotap.concurrency", "expected 16 or less"),
    (recotap("concurrency = 2.5"), "recotap.concurrency", "expected a whole number"),
    (recotap("timeout = 30"), "recotap.timeout", "expected a duration"),
    (recotap('timeout = "0s"'), "recotap.timeout", "above zero"),
    (recotap('timeout = "99999999999999d"'), "recotap.timeout", "at most 3650d"),
    (recotap('max_age = "3651d"'), "recotap.max_age", "at most 3650d"),
    (source('overlap = "99999999999999d"'), "sources.crm.overlap", "at most 3650d"),
    (source('settle = { email = "99999999999999d" }'), "sources.crm.settle.email", "at most 3650d"),
    (source('[schedule]\nevery = "99999999999999d"'), "schedule.every", "at most 3650d"),
    (recotap('max_age = "1w"'), "recotap.max_age", "expected a duration"),
    (recotap("base_url = 4"), "recotap.base_url", "expected text in quotes"),
    (recotap('base_url = "ftp://x.example"'), "recotap.base_url", "expected an address"),
    (recotap('base_url = "https://"'), "recotap.base_url", "expected an address"),
    (recotap('base_url = "https://x.example:port"'), "recotap.base_url", "expected an address"),
    (recotap('base_url = "https://x.example/v1?a=b"'), "recotap.base_url", "without ? and #"),
    (recotap('base_url = "https://x.example/v1#a"'), "recotap.base_url", "without ? and #"),
    (recotap('base_url = "https://me:word@x.example"'), "recotap.base_url", "without user name"),
    (recotap('base_url = "http://x.example"'), "recotap.base_url", "unencrypted"),
    (recotap('base_url = "http://10.0.0.1"'), "recotap.base_url", "unencrypted"),
    (recotap('allow_insecure_http = "perhaps"'), "recotap.allow_insecure_http", "expected true or false"),
    (recotap("[ledger]\npath = 4"), "ledger.path", "expected a path"),
    (recotap('[ledger]\npath = ""'), "ledger.path", "expected a path"),
    (source('[schedule]\nevery = "5m"\ncron = "* * * * *"'), "schedule", "either every"),
    (source('[schedule]\ncron = "* * * *"'), "schedule.cron", "five fields"),
    (source('[schedule]\ncron = "0 0 31 2 *"'), "schedule.cron", "never matches"),
    (source('[schedule]\nstuck_after = "0s"'), "schedule.stuck_after", "above zero"),
    (source("[run]\npasses = 0"), "run.passes", "expected 1 or more"),
    (source("[run]\npasses = 65"), "run.passes", "expected 64 or less"),
    (source('[run]\nturn = "0s"'), "run.turn", "above zero"),
    (source('schedule = { every = "5m", cron = "* * * * *" }'), "sources.crm.schedule", "either every"),
    (source('schedule = { cron = "60 * * * *" }'), "sources.crm.schedule.cron", "the minute"),
    (source('schedule = { often = "5m" }'), "sources.crm.schedule.often", "unknown key"),
    (source('schedule = "5m"'), "sources.crm.schedule", "expected a table"),
    (source('[schedule]\ncron = "60 * * * *"'), "schedule.cron", "the minute"),
    (source('[schedule]\ntimezone = "Europe/Berlln"'), "schedule.timezone", "expected a time zone"),
    (source('[schedule]\ntimezone = "../etc/passwd"'), "schedule.timezone", "expected a time zone"),
    (source('[rules]\nown_domains = "a.example"'), "rules.own_domains", "expected a list"),
    (source('[rules]\nown_domains = ["@a.example"]'), "rules.own_domains.0", "expected a domain"),
    (source('[rules]\nown_domains = ["https://a.example"]'), "rules.own_domains.0", "expected a domain"),
    (source('[rules]\nown_domains = ["ü ü"]'), "rules.own_domains.0", "expected a domain"),
    (source('[rules]\ndomain_aliases = ["a.example"]'), "rules.domain_aliases", "expected a table"),
    (
        source('[rules]\ndomain_aliases = { "x" = "a.example" }'),
        "rules.domain_aliases.x",
        "left of the =: expected a domain",
    ),
    (source('[rules]\nnot_owners = [" "]'), "rules.not_owners.0", "expected a user's address"),
    (source('[rules]\nnot_owners = ["sync@"]'), "rules.not_owners.0", "expected an e-mail address"),
    (
        source('[rules]\ndefault_owner_email = "a@us.example"\nnot_owners = ["A@us.example"]'),
        "rules.not_owners",
        "names rules.default_owner_email",
    ),
    (source('[rules]\nautomated = ["spam"]'), "rules.automated.0", "calendar"),
    (source('[rules]\ncompany_domains = ["rogers"]'), "rules.company_domains.0", "expected a domain"),
    (source("[rules]\nnot_before = 2026-01-01T00:00:00"), "rules.not_before", "time with a zone"),
    (source("[rules]\nnot_before = 2026-01-01"), "rules.not_before", "time with a zone"),
    (source("[rules]\nnot_before = 0001-01-01T00:00:00+14:00"), "rules.not_before", "time with a zone"),
    (source("[rules]\nnot_before = 9999-12-31T23:59:59-12:00"), "rules.not_before", "time with a zone"),
    (MINIMAL.replace("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"), "sources.crm.start", "time with a zone"),
    (source("[rules]\nnot_before = 20260101"), "rules.not_before", "time with a zone"),
    (source('[rules]\ndefault_owner_email = "Sales Team"'), "rules.default_owner_email", "expected an e-mail address"),
    (MINIMAL.replace("00Z", "00"), "sources.crm.start", "time with a zone"),
    (MINIMAL.replace("2026-01-01T00:00:00Z", "20260101"), "sources.crm.start", "time with a zone"),
    (MINIMAL.replace("2026-01-01T00:00:00Z", '"20260101"'), "sources.crm.start", "time with a zone"),
    (MINIMAL.replace("2026-01-01", "2026-06-02"), "sources.crm.start", "in the future"),
    (source('timeout = "0s"'), "sources.crm.timeout", "above zero"),
    (source('external_id = "{id}"'), "sources.crm.external_id", "its own id"),
    (source('external_id = "{nope}"'), "sources.crm.external_id", "nothing else"),
    (source('base_url = "http://crm.example"'), "sources.crm.base_url", "unencrypted"),
    (source('base_url = "crm.example"'), "sources.crm.base_url", "expected an address"),
    (source("settle = 4"), "sources.crm.settle", "expected a table"),
    (source('settle = { mail = "4h" }'), "sources.crm.settle.mail", "unknown key"),
    (source("[[sources.list]]"), "sources.list", "expected a table, [sources.list]"),
    (source('[sources.CRM]\nconnector = "gone"'), "sources.CRM", "lower-case"),
    (MINIMAL.replace('connector = "fake"', ""), "sources.crm.connector", "is missing"),
    (MINIMAL.replace('"fake"', "4"), "sources.crm.connector", "unknown connector"),
    (MINIMAL.replace('"fake"', '"fade"'), "sources.crm.connector", "unknown connector"),
    (MINIMAL.partition("[sources")[0], "sources", "at least one source"),
    ("sources = 4" + MINIMAL.partition("[sources")[0], "sources", "at least one source"),
    ("rules = 4" + MINIMAL, "rules", "expected a table, [rules]"),
    (MINIMAL.partition("[sources")[2].join(["[sources", ""]), "recotap.api_key", "is missing"),
]


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("text", "path", "message"), WRONG, ids=[f"{path}-{n}" for n, (_, path, _) in enumerate(WRONG)]
    )
    def test_a_mistake_is_told_with_its_path_and_what_is_expected(self, problems, text, path, message):
        found = problems(text)
        assert message in found[path].message

    def test_all_mistakes_are_in_one_report_with_the_file(self, read, tmp_path):
        text = recotap("concurrency = 0\ntimeoot = 1").replace("2026-01-01", "2027-01-01") + "colour = 1\n[ledgr]\n"
        with pytest.raises(ConfigError) as caught:
            read(text, SYNCD_RULES__OWN="x")
        assert {problem.path for problem in caught.value.problems} == {
            "ledgr", "recotap.concurrency", "recotap.timeoot", "rules.own", "sources.crm.colour", "sources.crm.start"
        }  # fmt: skip
        assert caught.value.message == f"6 mistakes in {tmp_path / 'syncd.toml'}"

    def test_one_mistake_in_a_table_hides_no_other(self, problems, monkeypatch):
        monkeypatch.delenv("TEST_RECOTAP_KEY")
        monkeypatch.delenv("TEST_CRM_TOKEN")
        text = recotap('concurrency = 0\nbase_url = "http://recotap.example"').replace("2026-01-01", "2027-01-01")
        text += 'colour = 1\noverlap = "soon"\nbase_url = "http://crm.example"\nexternal_id = "{kind}-{id}"\n'
        text += '[sources.second]\nconnector = "fake"\nexternal_id = "{kind}-{id}"\ntimeout = "0s"\n'
        assert problems(text).keys() == {
            "recotap.api_key", "recotap.base_url", "recotap.concurrency",
            "sources.crm.base_url", "sources.crm.colour", "sources.crm.overlap", "sources.crm.start",
            "sources.crm.token", "sources.second.external_id", "sources.second.start", "sources.second.timeout",
            "sources.second.token",
        }  # fmt: skip

    def test_what_every_source_has_is_checked_where_the_connector_is_unknown(self, problems):
        text = MINIMAL.replace('"fake"', '"fade"').replace("2026-01-01", "2027-01-01") + 'timeout = "0s"\n'
        text += '[sources.second]\nsettle = 4\nstart = "soon"\n'
        assert problems(text).keys() == {
            "sources.crm.connector", "sources.crm.start", "sources.crm.timeout",
            "sources.second.connector", "sources.second.settle", "sources.second.start",
        }  # fmt: skip

    def test_both_every_and_cron_hide_no_mistake_in_the_schedule(self, problems):
        found = problems(source('[schedule]\nevery = "soon"\ncron = "*/5 * * * *"\ntimezone = "nowhere"'))
        assert found.keys() == {"schedule", "schedule.every", "schedule.timezone"}

    @pytest.mark.parametrize("wrong", ["allow_insecure_http = 5", "allow_insecure_http = 5\ncolour = 1"])
    def test_what_hangs_on_a_wrong_value_is_not_guessed(self, problems, wrong):
        found = problems(recotap(f'base_url = "http://recotap.example"\n{wrong}'))
        assert "recotap.base_url" not in found

    def test_what_a_connector_checks_across_fields_waits_for_them_and_hides_nothing(self, problems):
        found = problems(MINIMAL.replace('"fake"', '"picky"') + "colour = 1")
        assert found.keys() == {"sources.crm", "sources.crm.colour"}
        assert found["sources.crm"].message == "expected one of two"
        text = (
            MINIMAL.replace('"fake"', '"picky"').replace("2026-01-01", "2027-01-01")
            + 'user = 4\nbase_url = "http://crm.example"'
        )
        assert problems(text).keys() == {"sources.crm.start", "sources.crm.user", "sources.crm.base_url"}

    def test_a_connectors_model_that_cannot_take_half_a_table_costs_no_more_than_its_own_checks(self, problems):
        assert problems(MINIMAL.replace('"fake"', '"brittle"') + "user = 4").keys() == {"sources.crm.user"}

    def test_an_unknown_key_brings_the_nearest_one_or_all_there_are(self, problems):
        found = problems(recotap("time_out = 1\nzzz = 1") + 'settle = { calls = "1h" }\n')
        assert found["recotap.time_out"].hint == "did you mean timeout?"
        assert found["recotap.zzz"].hint.startswith("known here: allow_insecure_http, api_key, ")
        assert found["sources.crm.settle.calls"].hint == "did you mean call?"

    def test_a_value_that_a_connector_calls_unknown_is_no_unknown_key(self):
        told = [Problem("sources.crm.every", "unknown unit", "write 5m")]
        assert elsewhere.pointed_out(told, {}) == told

    @pytest.mark.parametrize(
        ("text", "path", "begins"),
        [
            (rules('settle = { call = "1h" }'), "rules.settle", "it is a key of [sources.crm]. Known here: automated,"),
            (rules('every = "5m"'), "rules.every", "it is a key of [schedule] and [sources.crm.schedule]. Known here:"),
            (source('own_domains = ["a.example"]'), "sources.crm.own_domains", "it is a key of [rules]. Known here:"),
            (source('every = "5m"'), "sources.crm.every", "it is a key of [sources.crm.schedule]. Known here:"),
            (source('settle = { overlap = "4h" }'), "sources.crm.settle.overlap", "it is a key of [sources.crm]."),
            ('settle = "4h"\n' + MINIMAL, "settle", "it is a key of [sources.crm]. Known here: alerts, ledger,"),
            ('[schedule]\ntimeout = "5s"\n' + MINIMAL, "schedule.timeout",
             "it is a key of [recotap] and [sources.crm]. Did you mean timezone?"),
            (rules("per_second = 1") + HUBSPOT, "rules.per_second", "it is a key of [sources.crm]. Known here:"),
            (rules('overlap = "4h"') + HUBSPOT, "rules.overlap", "it is a key of [sources.NAME]. Known here:"),
            (source("read = true") + HUBSPOT, "sources.crm.read", "known here: base_url, connector,"),
        ],
    )  # fmt: skip
    def test_an_unknown_key_that_another_table_has_brings_that_tables_name(self, problems, text, path, begins):
        assert problems(text)[path].hint.startswith(begins)

    @pytest.mark.parametrize(
        ("name", "what", "hint"),
        [
            ("gone", "cannot be loaded (ModuleNotFoundError)", "install its package again, with all that it needs"),
            ("other", "cannot be used", "install a version of it that was made for this syncd"),
        ],
    )
    def test_a_connector_that_cannot_be_loaded_is_named_when_its_source_is_read(self, name, what, hint, tmp_path):
        """The connector is broken, not the configuration. The common keys are checked, and other sources are read."""
        file = tmp_path / "syncd.toml"
        file.write_text(MINIMAL.replace('"fake"', f'"{name}"'))
        (source,) = load(file).sources
        with pytest.raises(ConfigError) as caught:
            source.connector(source.config, None)
        (problem,) = caught.value.problems
        assert problem.path == "sources.crm.connector"
        assert f"the connector {name!r} {what}" in problem.message
        assert problem.hint == hint
        file.write_text(MINIMAL.replace('"fake"', f'"{name}"').replace("2026-01-01", "2999-01-01"))
        with pytest.raises(ConfigError, match="1 mistake"):
            load(file)

    def test_an_unknown_connector_brings_the_known_ones(self, problems):
        hint = problems(MINIMAL.replace('"fake"', '"zzz"'))["sources.crm.connector"].hint
        names, _, remedy = hint.partition(" (")
        assert {"fake", "hubspot", "salesforce"} <= set(names.partition(": ")[2].split(", "))
        assert remedy == "install another package's connector with syncd's own pip)"
        missing = problems(MINIMAL.replace('connector = "fake"', ""))["sources.crm.connector"].hint
        assert missing.startswith("expected one of: ")
        assert "hubspot" in missing

    def test_plain_http_to_another_machine_is_told_both_ways_out(self, problems):
        found = problems(recotap('base_url = "http://x.example"'))["recotap.base_url"]
        assert found.hint == "use https://, or set allow_insecure_http = true beside it"

    def test_a_start_in_the_future_may_be_the_fault_of_this_machines_clock(self, problems):
        found = problems(MINIMAL.replace("2026-01-01", "2026-06-02"))["sources.crm.start"]
        assert found.hint == "expected a time in the past. If it is, check this machine's clock"

    def test_a_file_without_sources_is_told_where_one_is_shown(self, problems):
        assert problems(MINIMAL.partition("[sources")[0])["sources"].hint == "`syncd config example` shows one"

    def test_what_is_missing_or_wrong_comes_with_an_example(self, problems):
        text = recotap('concurrency = "x"').replace('api_key = "env:TEST_RECOTAP_KEY"', "")
        text = text.replace('token = "env:TEST_CRM_TOKEN"', "").replace("start = 2026-01-01T00:00:00Z", "base_url = 1")
        found = problems(text + "per_second = true\noverlap = []\nsettle = { call = 1 }\n[ledger]\npath = 1\n")
        assert found["ledger.path"].hint == 'e.g. path = "/var/lib/syncd/ledger.db"'
        assert found["recotap.api_key"].hint == 'expected api_key = "env:RECOTAP_API_KEY"'
        assert found["recotap.concurrency"].hint == "e.g. concurrency = 4"
        assert found["sources.crm.token"].hint == 'expected token = "env:NAME"'
        assert found["sources.crm.start"].hint == "expected start = 2026-01-01T00:00:00Z"
        assert found["sources.crm.base_url"].hint == 'e.g. base_url = "https://api.fake.example"'

    @pytest.mark.parametrize(
        "text",
        [
            MINIMAL.replace("env:TEST_RECOTAP_KEY", CANARY),
            MINIMAL.replace("env:TEST_RECOTAP_KEY", f"env:{CANARY}"),
            MINIMAL.replace("env:TEST_RECOTAP_KEY", f"file:{CANARY}"),
            MINIMAL.replace("env:TEST_RECOTAP_KEY", f"credential:{CANARY}"),
            MINIMAL.replace('"env:TEST_RECOTAP_KEY"', f'["{CANARY}"]'),
            MINIMAL.replace("env:TEST_CRM_TOKEN", CANARY),
            MINIMAL.replace('connector = "fake"', f'connector = "{CANARY}"'),
            MINIMAL.replace("2026-01-01T00:00:00Z", f'"{CANARY}"'),
            recotap(f'base_url = "{CANARY}"'),
            recotap(f'concurrency = "{CANARY}"'),
            recotap(f'timeout = "{CANARY}"'),
            recotap(f'apikey = "{CANARY}"'),
            source(f'external_id = "{CANARY}"'),
            source(f'[rules]\nown_domains = ["{CANARY}"]\ndefault_owner_email = "{CANARY}"'),
            source(f'[schedule]\ncron = "{CANARY}"\ntimezone = "{CANARY}"'),
            source(f'[other]\nx = "{CANARY}"'),
            recotap(f"api_key = {CANARY}"),
        ],
    )
    def test_no_value_is_repeated_wherever_a_secret_was_put_by_mistake(self, read, text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert CANARY not in f"{caught.value!r} {caught.value.problems} {caught.value.hint}"

    def test_a_literal_secret_is_told_what_a_reference_looks_like(self, problems):
        message = problems(MINIMAL.replace("env:TEST_CRM_TOKEN", CANARY))["sources.crm.token"].message
        assert "env:NAME, file:PATH or credential:NAME" in message

    def test_a_secret_that_cannot_be_read_is_told_by_the_name_of_its_place(self, problems, monkeypatch):
        monkeypatch.delenv("TEST_RECOTAP_KEY")
        found = problems(MINIMAL.replace("env:TEST_CRM_TOKEN", "file:/nowhere/token"))
        assert "TEST_RECOTAP_KEY is not set" in found["recotap.api_key"].message
        assert "/nowhere/token cannot be read" in found["sources.crm.token"].message

    @pytest.mark.parametrize("template", ["{kind}-{id}", "x{id}{kind}", "{kind}{id}", "{kind}-{source}"[:6] + ":{id}"])
    def test_two_sources_that_could_give_the_same_ids_are_refused(self, problems, template):
        found = problems(other_source("second", template))
        assert "the same ids as sources.crm" in found["sources.second.external_id"].message
        apart = 'expected a form that tells them apart, e.g. external_id = "{source}-{kind}-{id}"'
        assert found["sources.second.external_id"].hint == apart

    def test_a_source_that_meets_several_is_told_once(self, problems):
        text = other_source("second", "{kind}-{id}")
        text += text.partition("[sources.second]")[2].join(["[sources.third]", ""])
        assert "sources.crm and sources.second" in problems(text)["sources.third.external_id"].message

    def test_one_form_that_continues_with_digits_meets_the_other(self, problems):
        text = other_source("second", "{kind}-{id}").replace('"{kind}-{id}"', '"{kind}-7{id}"', 1)
        assert "sources.second.external_id" in problems(text)

    def test_one_name_that_continues_with_a_kind_meets_the_other(self, problems):
        """An id may hold a hyphen: call-7 of the source crm, and 7 of the source crm-call."""
        text = MINIMAL + MINIMAL.partition("[sources.crm]")[2].join(["[sources.crm-call]", ""])
        assert "sources.crm-call.external_id" in problems(text)

    @pytest.mark.parametrize("template", ["{source}-{kind}-{id}", "{kind}.{source}.{id}", "{id}-{kind}-{source}"])
    def test_two_sources_that_name_themselves_are_fine(self, read, template):
        assert len(read(other_source("crm2", template)).sources) == 2


@given(
    forms=st.lists(st.tuples(st.text("a1-", max_size=3), st.text("a1-", max_size=3)), min_size=2, max_size=2),
    ids=st.lists(st.text("a1", min_size=1, max_size=4), min_size=2, max_size=2),
)
def test_forms_that_are_said_never_to_meet_never_do(forms, ids):
    one, other = (f"{before}{crm_id}{after}" for (before, after), crm_id in zip(forms, ids, strict=True))
    assert one != other or sources._can_meet(*forms)


@pytest.mark.parametrize(
    "text", ["* * * * *", "*/15 0,12 1-31/2 jan-dec sun", "0 0 * * 7", "5-59/5 * * JAN,dec Mon", "0 0 1 1 0-7"]
)
def test_cron_expressions_of_crontab_are_taken(text):
    assert cron.checked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@daily",
        "* * * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * tuesday",
        "1,,2 * * * *",
        "- * * * *",
        "٣ * * * *",
    ],
)
def test_other_cron_expressions_are_not(text):
    with pytest.raises(ValueError, match="expected"):
        cron.checked(text)


@given(st.text())
def test_any_text_is_judged_as_an_address_without_an_exception(text):
    assert urls.mistake_in(text) or isinstance(urls.is_insecure(text), bool)


def test_the_schema_in_the_repository_is_current():
    """Regenerate it with `python -m syncd.config.schema`."""
    code = "from syncd.config import schema; print(schema.text(), end='')"
    fresh = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert (ROOT / schema.FILE).read_text(encoding="utf-8") == fresh


def test_the_schema_knows_every_table_and_each_connector_of_ours():
    document = json.loads((ROOT / schema.FILE).read_text(encoding="utf-8"))
    assert set(document["properties"]) == {"recotap", "ledger", "schedule", "run", "rules", "web", "alerts", "sources"}
    choice = document["properties"]["sources"]["additionalProperties"]
    for name, key in (("hubspot", "access_token"), ("salesforce", "login_url")):
        own = choice
        while own["if"]["properties"]["connector"] != {"const": name}:
            own = own["else"]
        assert key in document["$defs"][own["then"]["$ref"].rpartition("/")[2]]["properties"]


def test_packages_are_searched_for_a_connector_only_if_it_is_not_built_in(read, monkeypatch):
    """A package cannot take a built-in name."""
    searched = []
    found = {"fake": "fake_crm_gone:X", "theirs": "fake_crm:Fake"}
    monkeypatch.setattr(sources, "installed", lambda: searched.append(True) or found)
    assert (read(MINIMAL).sources[0].connector, searched) == (Fake, [])
    config = read(MINIMAL.replace('"fake"', '"theirs"'))
    assert (config.sources[0].connector, searched) == (Fake, [True])


def test_only_the_connectors_that_are_configured_are_loaded(tmp_path):
    """HubSpot's SDK takes a second to import, which only sources that use it should cost."""
    (tmp_path / "fake_crm.py").write_text(
        "from syncd.connector import SourceConfig\nclass Fake:\n    Config = SourceConfig\n"
    )
    (tmp_path / "syncd.toml").write_text(MINIMAL.replace('token = "env:TEST_CRM_TOKEN"', ""))
    code = """if True:
        import sys
        from pathlib import Path
        from syncd.config import load, sources
        sources.BUILT_IN["fake"] = "fake_crm:Fake"
        load(Path(sys.argv[1]))
        loaded = {name.partition(".")[0] for name in sys.modules}
        sys.exit(str(loaded & {"connectors", "hubspot", "apscheduler", "httpx", "structlog", "email_validator"}))
    """
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "syncd.toml")],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.stderr.strip() == "set()"
