"""`syncd init`: its questions, its flags, the file that it writes, and what it tells the operator to do."""

import io
import json
import os
import pty
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from connectors.hubspot import client
from syncd.cli.commands import app
from syncd.cli.init import asking, document, guide, places, stand_ins
from syncd.cli.init.answers import Answers, mistakes, tree
from syncd.cli.init.services import CRMS, RECOTAP, services
from syncd.config import load
from syncd.normalize.own_domains import PLACEHOLDER
from syncd.sandbox import SCOPES
from tests.conftest import Command
from tests.forked import interpreters
from tests.orgs import OrgWorld
from tests.world import OWN, World

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HUBSPOT = ("init", "--crm", "hubspot", "--start", "2026-01-01")
BOTH = (*HUBSPOT, "--crm", "salesforce", "--salesforce-url", "https://acme.my.salesforce.com")
SECRETS = ("HUBSPOT_ACCESS_TOKEN", "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET", "RECOTAP_API_KEY")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, no key, and no configuration anywhere."""
    home = tmp_path / "home"
    home.mkdir()
    for name in (*SECRETS, "SYNCD_CONFIG", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("syncd.config.reading.SEARCHED", (Path("config/syncd.toml"), tmp_path / "etc.toml"))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A terminal on which these lines are typed. Each must be asked for."""
    lines: list[str] = []

    def typed(prompt: str) -> str:
        if not lines:
            raise EOFError
        return lines.pop(0)

    monkeypatch.setattr(asking, "on_terminal", lambda: True)
    prompts = sys.modules[typer.prompt.__module__]
    monkeypatch.setattr(prompts, "visible_prompt_func", typed)
    monkeypatch.setattr(prompts, "hidden_prompt_func", typed)
    yield lines
    assert not lines, "typed, but never asked for"


def keys_of(file: Path) -> dict[str, Any]:
    """Return the values of the written file that tests compare."""
    loaded = load(file, environ={}, secrets=False, connectors=True)
    ends = {"recotap": str(loaded.recotap.api_key), "ledger": loaded.ledger.path, "domains": loaded.rules.own_domains}
    return ends | {source.name: source.config for source in loaded.sources}


class TestWithoutATerminal:
    def test_it_asks_nothing_and_names_every_option_that_is_missing(self, command: Command, here: Path) -> None:
        ran = command("init")
        assert (ran.code, ran.out, list(here.iterdir())) == (2, "", [])
        assert "add --crm, --start" in ran.err
        assert "add --salesforce-url, --start" in command("init", "--crm", "salesforce").err

    def test_options_answer_everything(self, command: Command, here: Path) -> None:
        ran = command(
            *BOTH, "--own-domain", "Lantern.Example.com", "--own-domain", "b.com", "--hubspot-key", "file:/k/h",
            "--salesforce-id", "credential:id", "--recotap-key", "env:KEY_OF_RECOTAP", "--ledger", here / "l.db",
        )  # fmt: skip
        assert (ran.code, ran.err) == (0, "")
        found = keys_of(here / "config" / "syncd.toml")
        assert (found["recotap"], found["ledger"]) == ("env:KEY_OF_RECOTAP", here / "l.db")
        assert found["domains"] == ["lantern.example.com", "b.com"]
        hubspot, salesforce = found["hubspot"], found["salesforce"]
        assert str(hubspot.access_token) == "file:/k/h"
        assert (str(salesforce.client_id), str(salesforce.client_secret)) == (
            "credential:id", "env:SALESFORCE_CLIENT_SECRET",
        )  # fmt: skip
        assert salesforce.login_url == "https://acme.my.salesforce.com"
        assert hubspot.start == salesforce.start == datetime(2026, 1, 1, tzinfo=UTC)

    def test_all_wrong_answers_are_reported_at_once_without_a_literal_key(self, command: Command, here: Path) -> None:
        ran = command(*BOTH, "--hubspot-key", "pat-na1-canary", "--salesforce-url", "http://acme", "--ledger", "")
        assert (ran.code, ran.out, list(here.iterdir())) == (2, "", [])
        for option in ("--hubspot-key: expected env:NAME", "--salesforce-url: expected https", "--ledger: expected"):
            assert option in ran.err
        assert "canary" not in ran.err

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--own-domain", "acme"), ("--own-domain", "co.uk"), ("--crm", "pipedrive"), ("--start", "soon"),
            ("--start", "2999-01-01"), ("--recotap-key", "abc"), ("--salesforce-url", "https://a.my.salesforce.com"),
        ],
    )  # fmt: skip
    def test_each_wrong_answer_is_2_and_names_its_option(
        self, option: str, value: str, command: Command, here: Path
    ) -> None:
        ran = command(*HUBSPOT, option, value)
        assert (ran.code, list(here.iterdir())) == (2, [])
        assert f"{option}: " in ran.err

    def test_a_file_that_exists_stays_unless_it_is_forced(self, command: Command, here: Path) -> None:
        file = here / "mine.toml"
        file.write_text("# mine\n")
        ran = command(*HUBSPOT, "--output", file)
        assert (ran.code, file.read_text()) == (2, "# mine\n")
        assert "exists, name another file, or replace it with --force" in " ".join(ran.err.replace("│", "").split())
        assert command(*HUBSPOT, "--output", file, "--force").code == 0
        assert "hubspot" in keys_of(file)

    def test_the_file_goes_where_syncd_looks(
        self, command: Command, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert command("-c", here / "a.toml", *HUBSPOT).code == 0
        assert command(*HUBSPOT, "-c", here / "b.toml").code == 0
        monkeypatch.setenv("SYNCD_CONFIG", str(here / "c.toml"))
        shown = command(*HUBSPOT).out
        assert {file.name for file in here.glob("*.toml")} == {"a.toml", "b.toml", "c.toml"}
        assert "  syncd check " in shown, "SYNCD_CONFIG names it, so -c is not needed"

    def test_a_place_that_cannot_be_written_is_78(self, command: Command, here: Path) -> None:
        (here / "config").write_text("")
        ran = command(*HUBSPOT)
        assert ran.code == 78
        assert "cannot be written" in ran.err
        assert "let your user write there, or name another place: syncd init --output FILE" in ran.err
        assert "--output" in ran.err

    def test_a_variable_that_makes_it_invalid_is_named(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SYNCD_RECOTAP__CONCURRENCY", "99")
        ran = command(*HUBSPOT)
        assert ran.code == 78
        assert "SYNCD_RECOTAP__CONCURRENCY" in ran.err


class TestTheFile:
    def test_others_may_read_it_and_only_its_owner_may_write_it(self, command: Command, here: Path) -> None:
        before = os.umask(0)
        try:
            command(*HUBSPOT)
        finally:
            os.umask(before)
        assert stat.S_IMODE((here / "config" / "syncd.toml").stat().st_mode) == 0o644

    def test_each_line_has_a_comment_and_every_other_key_its_default(self) -> None:
        text = document.render(tree(Answers(NOW, Path("/l.db"), ("hubspot", "salesforce"))))
        settings = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
        assert all("  # " in line or line.startswith("connector") for line in settings)
        assert len(text.splitlines()) < 30

    def test_without_own_domains_a_pass_does_not_start(self, command: Command, here: Path) -> None:
        assert command(*HUBSPOT).err == "", "no key, so no CRM is asked"
        text = (here / "config" / "syncd.toml").read_text()
        assert keys_of(here / "config" / "syncd.toml")["domains"] == [PLACEHOLDER]
        assert "<-- set your own domains" in text
        assert "`syncd check` proposes them" in text

    @pytest.mark.parametrize("value", ['/a "b"/l.db', "/\u00fc/l.db", "/tab\there/l.db"])
    def test_a_path_comes_back_as_it_was_given(self, value: str, here: Path) -> None:
        (here / "syncd.toml").write_text(document.render(tree(Answers(NOW, Path(value), ("hubspot",)))))
        assert str(load(here / "syncd.toml", environ={}, secrets=False).ledger.path) == value


class TestPlaces:
    def test_the_ledger_of_a_user_is_in_the_home_and_that_of_root_in_var(self, here: Path) -> None:
        assert places.ledger({}, is_root=True) == Path("/var/lib/syncd/ledger.db")
        assert places.ledger({}, is_root=False) == here / ".local/state/syncd/ledger.db"
        assert places.ledger({"XDG_STATE_HOME": "/s"}, is_root=False) == Path("/s/syncd/ledger.db")
        assert places.ledger({"XDG_STATE_HOME": "s"}, is_root=False) == here / ".local/state/syncd/ledger.db"

    def test_a_user_without_a_home_has_the_systems_ledger_and_announces_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in a container whose user has only a number."""

        def homeless() -> Path:
            raise RuntimeError

        monkeypatch.setattr(Path, "home", homeless)
        assert places.ledger({}, is_root=False) == Path("/var/lib/syncd/ledger.db")
        with stand_ins.announcing(None) as announce:
            announce({"recotap_key": "k"})

    @pytest.mark.parametrize(("text", "free"), [(None, True), ("\n", True), (document.FOR_SANDBOX, True), ("#", False)])
    def test_only_an_empty_file_or_a_sandboxs_may_be_replaced(self, text: str | None, free: bool, here: Path) -> None:
        file = here / "syncd.toml"
        if text is not None:
            file.write_text(text)
        assert places.is_free(file) is free

    def test_a_directory_is_not_free(self, here: Path) -> None:
        assert not places.is_free(here)
        for force in (False, True):
            with pytest.raises(typer.BadParameter, match="is a directory, name a file in it"):
                places.require_free(here, option="--output", force=force)


class TestTheGuide:
    def test_it_names_exactly_the_scopes_that_hubspot_requires(self) -> None:
        said = " ".join(CRMS["hubspot"].steps)
        named = set(re.findall(r"crm\.[a-z.]+[a-z]|sales-[a-z-]+", said))
        required = {client.CONTACTS_READ, client.COMPANIES_READ, client.OWNERS_READ, client.EMAIL_READ}
        assert named == set(SCOPES) == required

    def test_it_asks_salesforce_for_the_same_as_the_documentation(self) -> None:
        said = " ".join(CRMS["salesforce"].steps)
        written = " ".join((Path(__file__).parents[1] / "connectors" / "README.md").read_text("utf-8").split())
        for name in ("Salesforce Integration", "Minimum Access - API Only Integrations", "Salesforce API Integration",
                     "API Enabled", "Access Activities", "View All Data", "External Client App", "Run As"):  # fmt: skip
            assert name in said
            assert name in written

    def test_it_explains_the_keys_that_are_not_there_and_only_those(
        self, command: Command, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RECOTAP_API_KEY", "k")
        shown = command(*BOTH, "--hubspot-key", f"file:{here / 'it s'}", "--salesforce-id", "credential:id").out
        assert CRMS["hubspot"].title in shown
        assert CRMS["salesforce"].title in shown
        assert RECOTAP.title not in shown
        assert "RECOTAP_API_KEY" not in shown
        assert f"install -m 600 /dev/null {shlex.quote(str(here / 'it s'))}" in shown
        assert "LoadCredential=id:" in shown
        assert "read -rs SALESFORCE_CLIENT_SECRET && export SALESFORCE_CLIENT_SECRET" in shown

    @pytest.mark.parametrize("scheme", ["env", "file"])
    def test_its_command_gives_syncd_the_key(self, scheme: str, here: Path) -> None:
        file = here / "a key"
        line = guide._how(f"file:{file}" if scheme == "file" else "env:THE_KEY")
        shown = 'printf %s "$THE_KEY"' if scheme == "env" else f"cat {shlex.quote(str(file))}"
        done = subprocess.run(["bash", "-c", f"{line}\n{shown}"], input="pat-1\n", capture_output=True, text=True)
        assert done.stdout.strip() == "pat-1"
        assert scheme == "env" or stat.S_IMODE(file.stat().st_mode) == 0o600

    @pytest.mark.parametrize("line", [line for line, _ in guide.NEXT_STEPS])
    def test_each_next_step_is_a_command_that_exists(self, line: str) -> None:
        name, *arguments = line.split()
        get_command(app).get_command(None, name).make_context(name, arguments)  # type: ignore[attr-defined]

    def test_the_next_steps_name_the_file_that_syncd_would_not_find(self, command: Command, here: Path) -> None:
        shown = command(*HUBSPOT, "--output", here / "my own.toml").out
        assert f"  syncd -c '{here}/my own.toml' check " in shown

    @pytest.mark.parametrize("columns", [60, 80, 120, None])
    def test_a_paragraph_breaks_between_words_on_a_terminal_only(
        self, columns: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns or 80))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: columns is not None)
        for service in services(tuple(CRMS)):
            guide.steps(service)
        guide.next_steps(None)
        lines = capsys.readouterr().out.splitlines()
        if columns is not None:
            assert max(map(len, lines)) <= columns
        else:
            facts = sum(len(service.steps) for service in services(tuple(CRMS))) + len(guide.NEXT_STEPS)
            assert len([line for line in lines if line.startswith("  ")]) == facts


class TestOnATerminal:
    def test_enter_takes_each_default(self, command: Command, terminal: list[str], here: Path) -> None:
        terminal += [""] * 6
        ran = command("init")
        assert ran.code == 0
        found = keys_of(here / "config" / "syncd.toml")
        assert set(found) == {"recotap", "ledger", "domains", "hubspot"}
        assert found["recotap"] == "env:RECOTAP_API_KEY"
        assert ran.out.index(CRMS["hubspot"].title) < ran.out.index(RECOTAP.title) < ran.out.index("Next:")
        assert ran.out.count(RECOTAP.title) == 1, "explained once, before the question"

    def test_a_wrong_answer_is_explained_and_asked_for_again(
        self, command: Command, terminal: list[str], here: Path
    ) -> None:
        terminal += ["pipedrive", "both", "pat-na1-canary", "env:H", "acme.com", "https://acme.my.salesforce.com/"]
        terminal += ["", "", "", "2999-01-01", "tomorrow", "2026-02-03", "", "acme", "Acme.com, acme.io"]
        ran = command("init")
        assert ran.code == 0
        for mistake in ("pipedrive: expected hubspot or salesforce", "never the secret itself", "https://", "future",
                        "expected a date", "expected a domain"):  # fmt: skip
            assert mistake in ran.err
        assert "canary" not in ran.out + (here / "config" / "syncd.toml").read_text()
        found = keys_of(here / "config" / "syncd.toml")
        assert found["domains"] == ["acme.com", "acme.io"]
        assert found["salesforce"].start == datetime(2026, 2, 3, tzinfo=UTC)

    def test_what_an_option_answers_is_not_asked(self, command: Command, terminal: list[str]) -> None:
        terminal += [""] * 2
        ran = command(*HUBSPOT, "--hubspot-key", "env:H", "--own-domain", "a.com", "--recotap-key", "env:R")
        assert ran.code == 0, "only the ledger was asked for"
        assert terminal == [""]
        terminal.clear()

    def test_a_wrong_option_ends_it_before_the_first_question(self, command: Command, terminal: list[str]) -> None:
        assert command("init", "--start", "soon").code == 2
        terminal += ["hubspot"]
        ran = command("init", "--start", "2999-01-01")
        assert (ran.code, ran.out) == (2, "")
        assert "--start: lies in the future" in ran.err

    def test_a_key_can_be_pasted_and_only_its_owner_can_read_it(
        self, command: Command, terminal: list[str], here: Path
    ) -> None:
        terminal += ["hubspot", "", "paste", " recotap-canary ", "", "", ""]
        ran = command("init")
        file = here / "config" / "keys" / "recotap-api_key"
        assert ran.code == 0
        assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("recotap-canary\n", 0o600)
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert keys_of(here / "config" / "syncd.toml")["recotap"] == f"file:{file}"
        assert "canary" not in ran.out + ran.err

    def test_a_pasted_key_replaces_no_other_unless_it_is_confirmed(
        self, command: Command, terminal: list[str], here: Path
    ) -> None:
        file = here / "config" / "keys" / "recotap-api_key"
        file.parent.mkdir(parents=True)
        file.write_text("old\n")
        terminal += ["hubspot", "", "paste", "n", "new"]
        assert command("init").code == 130
        assert (file.read_text(), terminal.pop()) == ("old\n", "new")
        terminal += ["hubspot", "", "paste", "y", "new", "", "", ""]
        assert command("init").code == 0
        assert file.read_text() == "new\n"

    @pytest.mark.parametrize("answered", range(5))
    def test_ctrl_d_at_any_question_is_130_and_nothing_is_written(
        self, answered: int, command: Command, terminal: list[str], here: Path
    ) -> None:
        terminal += [""] * answered
        ran = command("init")
        assert (ran.code, list(here.iterdir())) == (130, [])
        assert "Traceback" not in ran.err

    def test_ctrl_c_while_a_crm_is_asked_is_130_too(
        self, command: Command, terminal: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(tree: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("syncd.cli.init.owners.propose", interrupted)
        terminal += [""] * 5
        assert (command("init").code, list(here.iterdir())) == (130, [])

    def test_a_real_terminal_is_asked(self, here: Path, tmp_path: Path) -> None:
        """The questions go to stderr, so that stdout can be a file."""
        master, slave = pty.openpty()
        out = tmp_path / "out"
        with (
            out.open("w") as output,
            subprocess.Popen(
                [sys.executable, "-m", "syncd", "init", "--crm", "hubspot"], stdin=slave, stderr=slave, stdout=output,
                cwd=here, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            ) as process,
        ):  # fmt: skip
            os.close(slave)
            os.write(master, b"\n\n2026-03-04\n\nacme.com\n")
            assert process.wait(60) == 0
        asked = os.read(master, 65536).decode()
        os.close(master)
        assert "Own domains" in asked
        assert "Next:" in out.read_text()
        found = keys_of(here / "config" / "syncd.toml")
        assert (found["domains"], found["hubspot"].start.day) == (["acme.com"], 4)


class TestOwnDomains:
    @pytest.fixture(autouse=True)
    def reachable(self, live: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SYNCD_SOURCES__HUBSPOT__BASE_URL", live.box.hubspot_url)
        monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", live.box.token)
        monkeypatch.setattr("syncd.cli.asking.sleep", lambda seconds: None)

    def test_enter_takes_what_two_users_share(self, command: Command, terminal: list[str], here: Path) -> None:
        terminal += [""] * 5
        ran = command(*HUBSPOT[:3])
        assert keys_of(here / "config" / "syncd.toml")["domains"] == [OWN]
        assert "Two or more of the CRM's users share these domains" in ran.out

    def test_another_answer_takes_its_place(self, command: Command, terminal: list[str], here: Path) -> None:
        terminal += ["", "", "", "", "acme.com"]
        command(*HUBSPOT[:3])
        assert keys_of(here / "config" / "syncd.toml")["domains"] == ["acme.com"]

    def test_without_a_terminal_they_are_a_comment(self, command: Command, here: Path) -> None:
        """They are not confirmed, so a pass does not start."""
        ran = command(*HUBSPOT)
        text = (here / "config" / "syncd.toml").read_text()
        assert keys_of(here / "config" / "syncd.toml")["domains"] == [PLACEHOLDER]
        assert f'users share these: ["{OWN}"]' in text
        assert "Set rules.own_domains" in ran.out

    @pytest.mark.parametrize("fault", ["refused", "unreachable"])
    def test_a_crm_that_does_not_answer_is_noted_and_the_file_is_written(
        self, fault: str, live: World, command: Command, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if fault == "refused":
            live.hubspot.set(tokens={})
        else:
            monkeypatch.setenv("SYNCD_SOURCES__HUBSPOT__BASE_URL", "http://127.0.0.1:9")
        ran = command(*HUBSPOT)
        assert ran.code == 0
        assert "Asking hubspot for its users ...\n  " in ran.err
        assert keys_of(here / "config" / "syncd.toml")["domains"] == [PLACEHOLDER]

    def test_a_crm_without_users_is_noted(self, command: Command, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("syncd.cli.users.everyone", lambda source, turn_s: ())
        assert "hubspot shows none" in command(*HUBSPOT).err

    def test_a_given_domain_is_not_looked_up(self, live: World, command: Command) -> None:
        assert command(*HUBSPOT, "--own-domain", "acme.com").code == 0
        assert not live.hubspot.requests


class TestWithASandbox:
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[dict[str, str]]:
        with OrgWorld(tmp_path, with_hubspot=True, real_time=True) as world:
            self.world = world
            world.call()
            world.task()
            yield world.box.describe()

    def test_the_running_one_is_found_and_its_first_activity_delivered(
        self, place: dict[str, str], command: Command, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with stand_ins.announcing(None) as announce:
            announce({**place})
            assert "In another terminal: syncd init --sandbox" in capsys.readouterr().err
            ran = command("init", "--sandbox")
        assert ran.code == 0
        assert "  syncd check " in ran.out
        assert command("sync").code == 0
        assert len(self.world.recotap.stored) == 2
        for name in stand_ins.KEYS.values():
            assert stat.S_IMODE((here / "config" / "sandbox" / name).stat().st_mode) == 0o600

    def test_one_crm_of_it_can_be_chosen(self, place: dict[str, str], command: Command, here: Path) -> None:
        with stand_ins.announcing(None) as announce:
            announce({**place})
            assert command("init", "--sandbox", "--crm", "hubspot", "--output", "x.toml").code == 0
            assert command("init", "--sandbox", "--crm", "x", "--output", "y.toml").code == 2
        assert [source.name for source in load(here / "x.toml", environ={}).sources] == ["hubspot"]
        assert not (here / "y.toml").exists()

    def test_each_sandbox_has_a_ledger_of_its_own(self) -> None:
        place = {"recotap_url": "http://127.0.0.1:9/", "hubspot_url": "http://127.0.0.1:9"}
        paths = {
            document.get(stand_ins.tree({**place, "pid": pid}, Path("/s"), ("hubspot",), now=NOW), ("ledger", "path"))
            for pid in (1, 2)
        }
        assert len(paths) == 2

    def test_one_that_has_ended_or_never_ran_is_78(self, command: Command, here: Path) -> None:
        file = stand_ins.announced_at({})
        assert file == here / ".cache" / "syncd" / "sandbox.json"
        assert stand_ins.announced_at({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/syncd/sandbox.json")
        file.parent.mkdir(parents=True)
        for content in ("", "[]", "[" * 60_000, json.dumps({"pid": 1, "recotap_url": "http://127.0.0.1:9/"})):
            file.write_text(content)
            ran = command("init", "--sandbox")
            assert ran.code == 78
            assert "run `syncd sandbox` in another terminal" in ran.err

    def test_an_option_that_a_sandbox_would_ignore_is_2(self, command: Command, here: Path) -> None:
        ran = command("init", "--sandbox", "--start", "2026-01-01", "--own-domain", "x.example", "--output", here / "n")
        assert ran.code == 2
        assert "leave out --start, --own-domain" in " ".join(ran.err.split())
        assert not (here / "n").exists()

    def test_the_announcement_ends_with_the_sandbox_that_made_it(self) -> None:
        file = stand_ins.announced_at({})
        with stand_ins.announcing(None) as announce:
            announce({"recotap_key": "k"})
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not file.exists()
        with stand_ins.announcing(None) as announce:
            announce({"recotap_key": "k"})
            file.write_text(json.dumps({"pid": -1}))
        assert file.exists(), "another sandbox has announced itself since"

    def test_a_home_that_cannot_be_written_stops_no_sandbox(self, here: Path) -> None:
        (here / ".cache").write_text("")
        with stand_ins.announcing(None) as announce:
            announce({"recotap_key": "k"})

    def test_the_configuration_of_a_sandbox_replaces_an_earlier_sandboxs_only(
        self, place: dict[str, str], command: Command, here: Path
    ) -> None:
        for _ in range(2):
            with stand_ins.announcing(here / "box.toml") as announce:
                announce({**place})
        (here / "mine.toml").write_text("# mine\n")
        ran = command("sandbox", "--write-config", "mine.toml")
        assert (ran.code, (here / "mine.toml").read_text()) == (2, "# mine\n")
        assert "--write-config: mine.toml exists, name another file" in " ".join(ran.err.replace("│", "").split())

    def test_write_config_writes_it_once_the_sandbox_serves(self, here: Path, tmp_path: Path) -> None:
        file, out = here / "box.toml", tmp_path / "out"
        arguments = ["sandbox", "--write-config", str(file)]
        for name in ("calls", "emails", "contacts", "companies"):
            arguments += [f"--{name}", "2"]
        process = interpreters().start(arguments, environ=os.environ, cwd=here, output=out, errors=tmp_path / "err")
        try:
            while not out.read_text():
                assert process.poll() is None
                time.sleep(0.02)
            assert {source.name for source in load(file, environ={}).sources} == {"hubspot", "salesforce"}
            assert f"syncd -c {file} check" in (tmp_path / "err").read_text()
        finally:
            process.kill()


def test_a_mistake_that_no_question_could_have_caused_is_left_to_the_last_check() -> None:
    assert not list(mistakes(Answers(NOW, Path("/l.db"), ("salesforce",)))), "its address is not asked for yet"


def test_stdin_that_is_no_terminal_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hubspot\n"))
    assert not asking.on_terminal()
