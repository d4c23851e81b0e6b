"""The report of `syncd check`: three parts, a verdict at the end, JSON, --offline, terminals."""

import json
import re
import sys
from itertools import product

import pytest

from syncd.cli.check import parts
from syncd.cli.check.parts import Part, Placed
from syncd.errors import PRECEDENCE, Exit
from tests.conftest import Command
from tests.orgs import OrgWorld
from tests.world import World

KEYS = {"what", "ok", "warning", "message", "hint", "exit_code", "part", "source"}
HEADINGS = ["This machine", "CRM", "Recotap, and all clocks"]


def ok(what: str = "a") -> Placed:
    return Placed(what, True, "m")


def warning(what: str = "w") -> Placed:
    return Placed(what, False, "m", "h", True)


def failed(exit_code: int, what: str = "f") -> Placed:
    return Placed(what, False, "m", "h", exit_code=exit_code)


# -- the report -----------------------------------------------------------------------------


def test_the_report_has_three_parts_in_order_and_a_verdict_at_the_end(live: World, command: Command) -> None:
    ran = command("check", "-c", live.config_file)
    lines = ran.out.splitlines()
    assert [line for line in lines if line in HEADINGS] == HEADINGS
    at = {heading: lines.index(heading) for heading in HEADINGS}
    found = {heading: next(n for n, line in enumerate(lines) if text in line) for heading, text in zip(
        HEADINGS, ("ok    ledger: ", "ok    hubspot: access token: ", "ok    recotap key: "), strict=True
    )}  # fmt: skip
    places = [place for heading in HEADINGS for place in (at[heading], found[heading])]
    assert places == sorted(places)
    assert lines[-1] == "Ready. Next: `syncd scope` and `syncd preview` show what a pass would read and send."
    live.call()
    command("sync", "-c", live.config_file)
    assert command("check", "-c", live.config_file).out.splitlines()[-1].startswith("Ready. Next: `syncd status`")


def test_the_verdict_names_the_worst_error_and_the_exit_code_is_its_own(live: World, command: Command) -> None:
    live.hubspot.faults.add("unavailable", count=None)
    live.key_file.write_text("wrong-key")
    ran = command("check", "-c", live.config_file)
    assert ran.code == 77
    assert ran.out.splitlines()[-1] == (
        "Not ready (2 errors): credentials are refused, or a permission is missing. Begin with `recotap key`, then run "
        "`syncd check` again."
    )


def test_json_is_one_document_with_the_findings_of_the_text(live: World, command: Command) -> None:
    live.hubspot.set(tokens={"sandbox-token": ["crm.objects.contacts.read"]})
    shown, ran = (command("check", *how, "-c", live.config_file) for how in ((), ("--json",)))
    found = json.loads(ran.out)
    assert (ran.code, ran.err, {frozenset(each) for each in found}) == (77, "", {frozenset(KEYS)})
    for each in found:
        assert f"{each['what']}: " in shown.out
        assert (each["exit_code"] == 0) == (each["ok"] or each["warning"])
    assert {(each["part"], each["source"]) for each in found} == {
        ("machine", None), ("crm", "hubspot"), ("recotap", None),
    }  # fmt: skip
    (clock,) = [each for each in found if each["what"] == "clock of hubspot"]
    assert (clock["part"], clock["source"]) == ("crm", "hubspot")
    assert {each["exit_code"] for each in found} == {0, 77}


def test_json_of_a_configuration_with_mistakes_has_a_finding_for_each(live: World, command: Command) -> None:
    live.configure("recotap", time_out="3s")
    live.configure("sources.hubspot", overlap="never")
    ran = command("check", "--json", "-c", live.write_config())
    found = json.loads(ran.out)
    assert (ran.code, ran.err) == (78, "")
    assert {each["what"] for each in found} == {"recotap.time_out", "sources.hubspot.overlap"}
    assert all(not each["ok"] and each["exit_code"] == 78 and set(each) == KEYS for each in found)
    (found,) = json.loads(command("check", "--json", "-c", live.path / "nothing.toml").out)
    assert (found["what"], found["exit_code"]) == ("configuration", 78)


def test_in_text_the_mistakes_stay_on_stderr(live: World, command: Command) -> None:
    live.configure("recotap", time_out="3s")
    ran = command("check", "-c", live.write_config())
    assert (ran.code, ran.out) == (78, "")
    assert "recotap.time_out" in ran.err


# -- offline ----------------------------------------------------------------------------------


def test_offline_sends_no_request_and_says_what_it_did_not_test(live: World, command: Command) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    with live.counted() as requests:
        ran = command("check", "--offline", "-c", live.config_file)
    assert (ran.code, requests) == (0, {})
    assert ran.out.splitlines()[-1] == (
        "This machine is ready. Not tested without the network: hubspot, Recotap, all clocks. Next: `syncd check`."
    )
    assert "ok    recotap key: readable, and not tried" in ran.out
    assert "access token" not in ran.out
    assert f"ok    ledger: {live.ledger}: 1 activity" in ran.out


def test_offline_shows_a_pause(live: World, command: Command) -> None:
    live.hubspot.faults.add("daily")
    command("sync", "-c", live.config_file)
    ran = command("check", "--offline", "-c", live.config_file)
    assert ran.code == 0
    assert "warn  hubspot: pause: " in ran.out


def test_offline_tests_the_files_of_certificates(orgs: OrgWorld, command: Command) -> None:
    ran = command("check", "--offline", "-c", orgs.write_config())
    assert f"ok    salesforce: CA file: {orgs.box.salesforce_ca}: valid certificates" in ran.out
    (orgs.path / "ca.pem").write_text("no certificate")
    orgs.configure("sources.salesforce", ca_file=str(orgs.path / "ca.pem"))
    orgs.configure("recotap", base_url="https://127.0.0.1:9", ca_file=str(orgs.path / "ca.pem"))
    ran = command("check", "--offline", "-c", orgs.write_config())
    assert ran.code == 78
    assert "error salesforce: CA file: sources.salesforce.ca_file" in ran.out
    assert "error recotap key: recotap.ca_file" in ran.out


# -- the verdict, pure ------------------------------------------------------------------------


@pytest.mark.parametrize("codes", list(product([None, *PRECEDENCE[2:9]], repeat=2)))
def test_a_verdict_of_any_two_findings_is_by_the_worst(codes: tuple[int | None, int | None]) -> None:
    found = [ok() if code is None else failed(code, f"f{code}") for code in codes]
    said = parts.conclusion(found, has_begun=False)
    wrong = [code for code in codes if code is not None]
    assert said.startswith("Not ready") == bool(wrong)
    ranks = [PRECEDENCE.index(Exit(code)) for code in wrong]
    if wrong:
        assert f"`f{wrong[ranks.index(min(ranks))]}`" in said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([ok(), warning("a"), warning("b")], "Ready, with 2 warnings: look at `a` first. Next: "),
        ([warning("a")], "Ready, with 1 warning: look at `a` first. Next: "),
        ([warning(), failed(69)], "Not ready (1 error, 1 warning): a server or a folder cannot be reached. "),
        ([failed(0)], "Not ready (1 error): a server or a folder cannot be reached. "),
        ([failed(1)], "Not ready (1 error): syncd or a connector has a bug. "),
        ([failed(5)], "Not ready (1 error): syncd or a connector has a bug. "),
        ([failed(75)], "Not ready (1 error): a test failed. "),
    ],
)
def test_a_verdict_counts_errors_and_warnings(found: list[Placed], said: str) -> None:
    assert parts.conclusion(found, has_begun=True).startswith(said)


def test_the_parts_have_one_heading_each() -> None:
    assert [part.heading for part in Part] == HEADINGS


# -- terminals --------------------------------------------------------------------------------


def without_sizes(shown: str) -> str:
    """Return the output without sizes, because the disk fills and empties meanwhile."""
    return re.sub(r"[\d.]+ [MGT]B", "N", shown)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_terminal_no_line_is_longer_than_it_unless_a_word_is(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    live.token_file.chmod(0o644)
    monkeypatch.setenv("COLUMNS", str(width))
    piped = command("check", "--offline", "-c", live.config_file).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = command("check", "--offline", "-c", live.config_file).out
    words = [without_sizes(out).split() for out in (shown, piped)]
    assert words[0] == words[1]
    assert [line for line in shown.splitlines() if len(line) > width and len(line.split()[-1]) < width // 2] == []
    assert max(map(len, piped.splitlines())) > width, "piped, each finding stays on its line"


def test_only_a_terminal_has_colours_and_a_mark_always_is_a_word(
    live: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.token_file.chmod(0o644)
    live.configure("ledger", path=str(live.path))
    live.write_config()
    plain = without_sizes(command("check", "--offline", "-c", live.config_file).out)
    assert "\x1b" not in plain
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "500")
    shown = command("check", "--offline", "-c", live.config_file).out
    assert without_sizes(shown) == plain, "NO_COLOR is set"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    shown = command("check", "--offline", "-c", live.config_file).out
    for number, mark in (("32", "ok"), ("33", "warn"), ("31", "error")):
        assert f"\x1b[{number}m\x1b[1m{mark:<5} \x1b[0m" in shown
    monkeypatch.setenv("TERM", "dumb")
    assert without_sizes(command("check", "--offline", "-c", live.config_file).out) == plain
