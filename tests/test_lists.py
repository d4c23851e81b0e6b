"""`syncd list`, `failures` and `passes`: which activities match, what fails and why, and how the passes ended."""

import csv
import io
import json
import random
import re
from collections.abc import Callable
from datetime import timedelta
from difflib import SequenceMatcher
from typing import Any

import pytest
from rich.console import Console

from syncd.cli import listing
from syncd.cli.similar import similar
from syncd.ledger import Failing, Filter, LedgerHandle
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.remedies import AGAIN, remedy
from syncd.lifecycle.states import State, Verdict
from tests.conftest import Command
from tests.world import OWN, THEIRS, World

KEYS = {
    "external_activity_id", "source", "stream", "crm_id", "kind", "state", "reason", "verdict", "detail", "occurred_at",
    "next_attempt_at", "owner", "domain", "url",
}  # fmt: skip


@pytest.fixture
def ids(live: World) -> dict[str, str]:
    """Make one pass. Return the CRM's ids of one activity of each kind of outcome."""
    found = {
        "old": live.call(ago=timedelta(days=9)),
        "lonely": live.call(contacts=[]),
        "bounced": live.email(hs_email_status="BOUNCED"),
        "skipped": live.call(),
        "refused": live.call(),
        "settling": live.call(ago=timedelta(minutes=1)),
        "email": live.email(),
        "other": live.call(hubspot_owner_id=live.hubspot.owner(f"cleo.wintermoor@{OWN}", "Cleo", "Wintermoor")),
    }
    live.recotap.rule("skip", ids=[f"hubspot-call-{found['skipped']}"], text="No such type")
    live.recotap.rule("refuse", ids=[f"hubspot-call-{found['refused']}"])
    live.sync()
    return found


def listed(live: World, command: Command, *options: object) -> set[str]:
    ran = command("list", "--json", *options, "-c", live.config_file)
    assert ran.code == 0, ran.err
    return {row["crm_id"] for row in json.loads(ran.out)}


def rows_of(wanted: Filter, live: World, limit: int = 100) -> list[str]:
    with LedgerHandle(live.ledger).reports() as glance:
        return [row["crm_id"] for row in glance.activities(wanted, limit=limit)]


def test_each_filter_lists_what_matches_and_nothing_else(live: World, command: Command, ids: dict[str, str]) -> None:
    recent = (live.now() - timedelta(days=2)).isoformat()
    for options, names in (
        ((), {*ids}),
        (("--state", "incomplete"), {"lonely", "settling"}),
        (("--state", "pending"), {"refused"}),
        (("--state", "skipped", "--state", "excluded"), {"skipped", "bounced"}),
        (("--reason", "no_contact"), {"lonely"}),
        (("--reason", "refused"), {"refused"}),
        (("--kind", "email"), {"bounced", "email"}),
        (("--source", "hubspot", "--kind", "email", "--state", "delivered"), {"email"}),
        (("--since", recent), {*ids} - {"old"}),
        (("--domain", THEIRS.upper(), "--state", "delivered"), {"old", "email", "other"}),
        (("--domain", "nobody.example"), set()),
        (("--owner", live.owner), {*ids} - {"other"}),
    ):
        assert listed(live, command, *options) == {ids[name] for name in names}, options
    assert rows_of(Filter(owners={"another": [live.owner]}), live) == [], "the same id in another portal"
    assert rows_of(Filter(owners={"hubspot": []}), live) == []


def test_a_source_that_the_configuration_lacks_is_listed_without_links(
    live: World, command: Command, ids: dict[str, str]
) -> None:
    live.sql("UPDATE streams SET source = 'former' WHERE stream = 'emails'")
    rows = json.loads(command("list", "--json", "--source", "former", "-c", live.config_file).out)
    assert {row["crm_id"] for row in rows} == {ids["email"], ids["bounced"]}
    assert {row["url"] for row in rows} == {None}


def test_an_owners_address_is_resolved_by_the_crms_users_and_nothing_is_kept(
    live: World, command: Command, ids: dict[str, str]
) -> None:
    before = live.ledger.read_bytes()
    assert listed(live, command, "--owner", f"Cleo.Wintermoor@{OWN}") == {ids["other"]}
    live.hubspot.owner(f"dora.newcome@{OWN}", "Dora", "Newcome")
    with live.counted() as requests:
        assert listed(live, command, "--owner", f"dora.newcome@{OWN}") == set()
    assert requests, "a user whom no pass has seen is looked up in the CRM"
    ran = command("list", "--owner", f"nobody.at.all@{OWN}", "-c", live.config_file)
    assert (ran.code, ran.out) == (2, "")
    assert "nobody.at.all" not in ran.err.split("Error")[-1]
    assert live.ledger.read_bytes() == before


def test_a_list_in_json_has_every_key_and_the_latest_first(live: World, command: Command, ids: dict[str, str]) -> None:
    rows = json.loads(command("list", "--json", "-c", live.config_file).out)
    assert all(set(row) >= KEYS for row in rows)
    with LedgerHandle(live.ledger).reports() as glance:
        portal = glance.sources()["hubspot"][0]
    row = next(row for row in rows if row["crm_id"] == ids["email"])
    assert row["url"] == f"https://app.hubspot.com/contacts/{portal}/record/0-49/{ids['email']}"
    assert (row["state"], row["verdict"], row["owner"], row["domain"]) == ("delivered", "created", live.owner, THEIRS)
    first, *_ = rows_of(Filter(), live, limit=1)
    assert first == rows[0]["crm_id"]


def test_a_list_begins_with_the_last_seen_whenever_they_happened(
    live: World, command: Command, ids: dict[str, str]
) -> None:
    later = live.call(ago=timedelta(seconds=30), happened=live.now() - timedelta(days=40))
    live.sync()
    first, second, *_ = json.loads(command("list", "--json", "-c", live.config_file).out)
    assert (first["crm_id"], second["crm_id"] in ids.values()) == (later, True)
    assert first["occurred_at"] < second["occurred_at"]


def test_a_list_that_is_cut_says_so_and_a_pipe_gets_one_line_for_each(
    live: World, command: Command, ids: dict[str, str]
) -> None:
    ran = command("list", "--limit", 2, "-c", live.config_file)
    assert len(ran.out.splitlines()) == 2
    assert ran.err == "cut to the 2 last seen: --limit shows more\n"
    ran = command("list", "-c", live.config_file)
    assert len(ran.out.splitlines()) == len(ids)
    assert ran.err == ""
    (line,) = (each for each in ran.out.splitlines() if ids["lonely"] in each)
    assert line.split("\t")[:3] == [f"hubspot-call-{ids['lonely']}", "incomplete", "no_contact"]
    assert "no activity matches" in command("list", "--state", "dead", "-c", live.config_file).err


@pytest.mark.parametrize(
    "options",
    [
        "--state asleep",
        "--reason sleepy",
        "--kind meeting",
        "--since yesterday",
        "--source elsewhere",
        "--json --csv",
        "--limit 0",
    ],
)
def test_an_unknown_word_is_2(live: World, command: Command, options: str) -> None:
    live.sync()
    ran = command("list", *options.split(), "-c", live.config_file)
    assert (ran.code, ran.out) == (2, "")


def test_before_the_first_pass_there_is_no_list(live: World, command: Command) -> None:
    for name in ("list", "failures", "passes"):
        assert command(name, "-c", live.config_file).code == 74
    assert not live.ledger.exists()


def test_csv_has_every_column_and_no_formula(live: World, command: Command, ids: dict[str, str]) -> None:
    ran = command("list", "--csv", "-c", live.config_file)
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert {row["crm_id"] for row in rows} == set(ids.values())
    assert set(rows[0]) == KEYS
    row = dict.fromkeys(listing.COLUMNS, "plain")
    for attack in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        (found,) = csv.DictReader(io.StringIO(listing.as_csv([{**row, "detail": attack}])))
        assert found["detail"].startswith("'"), attack
        assert found["state"] == "plain"


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_a_table_fits_the_terminal_and_cuts_nothing(width: int) -> None:
    row: dict[str, Any] = {
        **dict.fromkeys(listing.COLUMNS), "external_activity_id": "salesforce-email-02s000000000001AAA",
        "state": "incomplete", "reason": "no_contact_email", "occurred_at": "2026-10-05T09:00:00.000Z",
        "domain": "amber-bolts.com", "owner": "005000000000001AAA", "url": "https://crm.example/1",
    }  # fmt: skip
    said = io.StringIO()
    listing.show_activities([row], Console(file=said, width=width, force_terminal=True, color_system="standard"))
    lines = re.sub(r"\x1b\]8;.*?\x1b\\|\x1b\[[\d;]*m", "", said.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    for words in ("salesforce-email-02s000000000001AAA", "2026-10-05 09:00", "incomplete", "no_contact_email"):
        assert any(words in line for line in lines), words
    assert any("amber-bolts.com" in line for line in lines)
    assert any("005000000000001AAA" in line for line in lines) == (width == 160)
    assert "https://crm.example/1" in said.getvalue(), "the id is a link"


@pytest.mark.parametrize("width", [60, 120])
def test_a_table_has_times_in_the_local_zone_and_names_it(in_zone: Callable[[str], None], width: int) -> None:
    in_zone("Asia/Kolkata")
    row = {**dict.fromkeys(listing.COLUMNS, "plain"), "occurred_at": "2026-10-05T20:00:00.000Z", "url": None}
    for rows in ([row], []):
        said = io.StringIO()
        listing.show_activities(rows, Console(file=said, width=width, force_terminal=True, color_system=None))
        assert ("2026-10-06 01:30" in said.getvalue()) == bool(rows)
        assert ("times: IST, UTC+05:30" in said.getvalue()) == bool(rows)


# -- failures -----------------------------------------------------------------------------


def test_failures_are_grouped_by_cause_with_domains_example_and_remedy(
    live: World, command: Command, ids: dict[str, str]
) -> None:
    live.call(contacts=[], ago=timedelta(minutes=2))
    live.sync()
    document = json.loads(command("failures", "--json", "-c", live.config_file).out)
    found = {(each["state"], each["cause"]): each for each in document}
    assert set(found) == {("incomplete", "no_contact"), ("skipped", "skipped"), ("pending", "refused")}
    assert document[0]["cause"] == "no_contact", "the most frequent first"
    for each in document:
        assert set(each) >= {"cause", "state", "verdict", "count", "domains", "example", "remedy"}
    assert found["incomplete", "no_contact"]["count"] == 2
    assert found["incomplete", "no_contact"]["remedy"] == "associate a contact"
    skipped = found["skipped", "skipped"]
    assert (skipped["verdict"], skipped["domains"], skipped["detail"]) == ("skipped", {THEIRS: 1}, "No such type")
    assert found["pending", "refused"]["example"] == f"hubspot-call-{ids['refused']}"
    out = command("failures", "-c", live.config_file).out
    assert f"domains: {THEIRS} (1)" in out
    assert f"example: hubspot-call-{ids['skipped']}: No such type" in out


def test_an_outage_is_a_failure_with_a_remedy(live: World, command: Command) -> None:
    live.call()
    live.recotap.set(keys=["another"])
    live.sync()
    (each,) = json.loads(command("failures", "--json", "-c", live.config_file).out)
    assert (each["state"], each["cause"], each["count"], each["domains"]) == ("pending", "unauthorized", 1, {})
    assert each["remedy"] == "give syncd a key that Recotap accepts: `syncd check`"


def test_nothing_fails_while_activities_only_wait(live: World, command: Command) -> None:
    live.call(ago=timedelta(minutes=1))
    live.call()
    live.sync()
    ran = command("failures", "-c", live.config_file)
    assert (ran.code, ran.out.startswith("nothing fails")) == (0, True)
    assert json.loads(command("failures", "--json", "-c", live.config_file).out) == []


def test_the_closest_domain_is_found_as_if_each_pair_was_compared() -> None:
    """Bounds spare most comparisons. They may hide no closer name, and the first of equal ones is suggested."""
    drawn = random.Random(1)

    def name() -> str:
        return "a" + "".join(drawn.choices("abc1", k=drawn.randint(3, 9)))

    def likeness(name: str, other: str) -> float:
        shorter, longer = sorted((name, other), key=len)
        if len(shorter) >= 4 and longer.startswith(shorter):
            return 0.8 + 0.2 * len(shorter) / len(longer)
        return SequenceMatcher(a=other, b=name, autojunk=False).ratio()

    suggested = 0
    for _ in range(100):
        delivered, strange = sorted({name() for _ in range(30)}), name()
        closest = max(delivered, key=lambda other: likeness(strange, other))
        is_alike = strange not in delivered and likeness(strange, closest) >= 0.8
        assert similar([strange], delivered) == ({strange: closest} if is_alike else {})
        suggested += is_alike
    assert 20 < suggested < 100


def test_a_domain_like_a_delivered_one_is_suggested_as_an_alias() -> None:
    delivered = ["amber-bolts.com", "amber.com", "manh.com", "umbra.com", "corvid.com"]
    assert similar(["amber-bolts-inc.com"], delivered) == {"amber-bolts-inc.com": "amber-bolts.com"}
    found = similar(["amber-bolt.io", "manhattanassociates.com", "quartz.com", "umbra.com", "corvids.de"], delivered)
    assert found == {
        "amber-bolt.io": "amber-bolts.com",
        "manhattanassociates.com": "manh.com",
        "corvids.de": "corvid.com",
    }
    each = Failing("skipped", "skipped", 1, {"corvids.de": 1, "quartz.com": 1}, "hubspot-call-1", None)
    (document,) = listing.failing_to_json([each], found)
    assert document["similar"] == {"corvids.de": "corvid.com"}
    said = io.StringIO()
    listing.show_failing([document], Console(file=said, width=60, force_terminal=True, color_system=None))
    text = " ".join(said.getvalue().split())
    assert "if corvids.de is corvid.com, add it to rules.domain_aliases" in text
    assert max(map(len, said.getvalue().splitlines())) <= 60


def test_every_cause_has_a_remedy() -> None:
    for reason in Reason:
        assert remedy(State.DEAD, reason).endswith(f"then `syncd retry --reason {reason}`")
        assert remedy(State.INCOMPLETE, reason)
    for verdict in Verdict:
        assert remedy(State.PENDING, verdict)
    assert remedy(State.PENDING, Verdict.THROTTLED) == AGAIN == "nothing: syncd tries again by itself"
    assert remedy(State.PENDING, Verdict.WRONG_URL) == "correct `recotap.base_url`: `syncd check`"
    assert remedy(State.PENDING, Verdict.UNREACHABLE) == "restore the connection to Recotap: `syncd check`"
    unfinished = "correct the record in the CRM, then `syncd retry --reason unfinished`"
    assert remedy(State.DEAD, Reason.UNFINISHED) == unfinished
    read = "read Recotap's text: `syncd explain`"
    assert remedy(State.SKIPPED, Verdict.SKIPPED) == f"{read}, then `syncd retry --state skipped`"


# -- passes -------------------------------------------------------------------------------


def test_passes_are_listed_the_latest_first(live: World, command: Command) -> None:
    assert live.sync().exit_code == 0
    live.recotap.set(keys=["another"])
    live.call()
    live.sync()
    live.sql("INSERT INTO passes (started_at) VALUES ('2026-01-01T00:00:00.000Z')")
    found = json.loads(command("passes", "--json", "-c", live.config_file).out)
    assert [each["exit_code"] for each in found] == [None, 77, 0]
    assert found[0]["duration_s"] is None
    assert found[1]["duration_s"] >= 0
    assert all(set(each) >= {"started_at", "finished_at", "exit_code"} for each in found)
    lines = command("passes", "--limit", 2, "-c", live.config_file).out.splitlines()
    assert len(lines) == 2
    assert "still running" in lines[0]
    assert lines[1].endswith("exit code 77")
