"""`syncd preview` shows activities as the next pass would send them. It writes nothing and sends nothing."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from syncd.cli import preview
from syncd.connector import Source, SourceConfig, Stream
from syncd.ledger import LedgerHandle
from syncd.passes.wanted import Wanted, fitting, wanted
from tests.conftest import Command
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
from tests.world import World


def shown(command: Command, world: World, *arguments: object, code: int = 0) -> dict[str, dict[str, Any]]:
    """Return the document by crm_id."""
    ran = command("preview", *arguments, "--json", "-c", world.config_file)
    assert ran.code == code, ran.err
    return {each["crm_id"]: each for each in json.loads(ran.out)}


def files(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in world.ledger.parent.iterdir()}


def test_it_shows_exactly_the_payloads_that_the_next_pass_sends(live: World, command: Command) -> None:
    ids = [live.call(), live.email()]
    with live.counted() as requests:
        found = shown(command, live)
    assert "post" not in requests
    assert not live.ledger.parent.exists(), "not even its directory"
    assert command("sync", "-c", live.config_file).code == 0
    assert {crm_id: each["payload"] for crm_id, each in found.items()} == {each: live.payload(each) for each in ids}
    for each in found.values():
        assert (each["state"], each["reason"], each["missing"]) == ("pending", None, [])
        assert each["provenance"].keys() == each["payload"].keys()
    call = found[ids[0]]["provenance"]
    assert call["callTitle"] == {"from": "hs_call_title", "rule": "as the CRM has it"}
    assert call["domain"]["rule"] == "the company of a contact"


@pytest.mark.parametrize("form", ["hubspot-call-{}", "{}"])
def test_a_record_is_looked_up_by_either_id_before_there_is_a_ledger(live: World, command: Command, form: str) -> None:
    call, _ = live.call(), live.call()
    found = shown(command, live, form.format(call))
    assert [(each["external_activity_id"], each["stream"]) for each in found.values()] == [
        (f"hubspot-call-{call}", "calls")
    ]
    assert found[call]["payload"]["callTitle"] == "Discovery call"


def test_an_activity_that_lacks_something_names_the_reason_and_all_that_is_missing(
    live: World, command: Command
) -> None:
    call, bounced = live.call(contacts=[], hubspot_owner_id=""), live.email(hs_email_status="BOUNCED", contacts=[])
    found = shown(command, live)
    assert (found[call]["state"], found[call]["reason"]) == ("incomplete", "no_contact")
    assert found[call]["payload"] is None
    assert found[call]["missing"] == ["domain", "ownerEmail", "contacts"]
    assert found[call]["provenance"]["occurredAt"]["from"] == "hs_timestamp"
    assert (
        f"hubspot-call-{call}\tmissing\tdomain, ownerEmail, contacts\t\t"
        in command("preview", call, "-c", live.config_file).out.splitlines()
    )
    assert (found[bounced]["reason"], found[bounced]["missing"]) == ("not_sent", []), "it is left out on purpose"


def test_a_delivered_record_is_looked_up_in_its_stream_alone_and_marked(live: World, command: Command) -> None:
    call = live.call()
    command("sync", "-c", live.config_file)
    before = files(live)
    live.hubspot.edit("calls", call, hs_call_title="Another title")
    with live.counted() as requests:
        found = shown(command, live, call)
    assert (found[call]["state"], found[call]["payload"]["callTitle"]) == ("delivered", "Another title")
    held = wanted([call], live.config().sources, LedgerHandle(live.ledger))
    assert held.places == {call: [("hubspot", "calls", call)]}
    assert files(live) == before
    assert "post" not in requests
    assert command("preview", "-c", live.config_file).code == 0
    assert "nothing is new or changed" in command("preview", "-c", live.config_file).err


def test_the_first_activities_are_shown_up_to_the_limit(live: World, command: Command) -> None:
    ids = live.calls(7)
    assert [*shown(command, live)] == ids[:5]
    assert [*shown(command, live, "--limit", 2)] == ids[:2]
    assert all(each["provenance"] for each in shown(command, live, "--limit", 2).values())
    assert [*shown(command, live, "--limit", 20)] == ids
    assert command("preview", "--limit", 0, "-c", live.config_file).code == 2


def test_an_id_that_no_source_knows_is_66_beside_those_that_are_shown(live: World, command: Command) -> None:
    call = live.call()
    ran = command("preview", call, "999999", "hubspot-call-888888", "-c", live.config_file)
    assert ran.code == 66
    assert f"hubspot-call-{call}\tcallTitle\tDiscovery call\ths_call_title\tas the CRM has it" in ran.out.splitlines()
    assert "no source has an activity '999999'" in ran.err
    assert "no source has an activity 'hubspot-call-888888'" in ran.err
    assert ran.err.count("→") == 2
    assert "kaya" in ran.out
    assert "kaya" not in ran.err


@pytest.mark.parametrize(("fault", "code"), [("daily", 69), ("malformed_token", 77)])
def test_a_failure_has_the_code_of_a_pass_and_calls_no_id_unknown(
    live: World, command: Command, fault: str, code: int
) -> None:
    call = live.call()
    live.hubspot.faults.add(fault, count=None)
    for line in ((), (call,)):
        ran = command("preview", *line, "-c", live.config_file)
        assert (ran.code, ran.out) == (code, "")
        assert "no source has" not in ran.err
        assert "→" in ran.err


def test_a_record_that_the_crm_does_not_serve_is_named_and_the_others_are_shown(live: World, command: Command) -> None:
    good, bad = live.call(), live.call(contacts=[live.person("noor.quillfeather")])
    with poisoned(live.hubspot, bad, path="batch/read"):
        ran = command("preview", f"hubspot-call-{good}", f"hubspot-call-{bad}", "--json", "-c", live.config_file)
    assert [each["crm_id"] for each in json.loads(ran.out)] == [good]
    assert ran.code == 69
    assert f"hubspot does not serve record {bad}" in ran.err
    assert "→ open the record in the CRM. If that fails too, ask the CRM's support" in ran.err
    assert "no source has" not in ran.err


def test_a_piped_preview_has_a_line_for_each_field_and_a_terminal_a_block(live: World, command: Command) -> None:
    call = live.call()
    ran = command("preview", "-c", live.config_file)
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert {row[0] for row in rows} == {f"hubspot-call-{call}"}
    assert {len(row) for row in rows} == {5}
    values = {row[1]: row[2] for row in rows}
    assert values["state"].startswith("pending: ")
    assert values["contacts.0.email"] == "kaya.ivorstone@amber-bolts.com"
    document = shown(command, live)[call]
    for width in (60, 80, 120):
        console = Console(file=io.StringIO(), width=width, force_terminal=False)
        preview.show(document, console)
        assert isinstance(console.file, io.StringIO)
        said = console.file.getvalue()
        assert max(map(len, said.splitlines())) <= width
        assert "callTitle" in said
        assert "Discovery call (hs_call_title)" in " ".join(said.split())


def test_a_salesforce_record_is_found_by_its_short_id(tmp_path: Path, command: Command) -> None:
    with OrgWorld(tmp_path, real_time=True) as world:
        task, mail = world.task(), world.mail()
        mail_task = world.task(TaskSubtype="Email", ago=timedelta(hours=6))
        world.write_config()
        ran = command("preview", task[:15], mail, mail_task, "--json", "-c", world.config_file)
        found = {each["crm_id"]: each for each in json.loads(ran.out)}
        assert (ran.code, len(json.loads(ran.out))) == (0, 3), "each of them once"
        assert {crm_id: each["stream"] for crm_id, each in found.items()} == {
            task: "calls", mail: "emails", mail_task: "email_tasks"
        }  # fmt: skip
        assert command("sync", "-c", world.config_file).code == 0
        assert {crm_id: each["payload"] for crm_id, each in found.items()} == {
            crm_id: world.payload(crm_id) for crm_id in (task, mail, mail_task)
        }
        assert shown(command, world, task[:15])[task]["state"] == "delivered"


def test_a_stream_that_the_key_may_not_read_does_not_matter_if_the_record_is_found_elsewhere(
    tmp_path: Path, command: Command
) -> None:
    with OrgWorld(tmp_path, real_time=True) as world:
        task = world.task()
        world.org.hide("EmailMessage")
        world.write_config()
        assert shown(command, world, task)[task]["state"] == "pending"
        assert command("preview", "00TDn00000AbCdEEAV", "-c", world.config_file).code == 77


class Hubspot:
    """A connector's class, as far as an id is concerned."""

    streams = (Stream("calls", "call"), Stream("emails", "email"))


def source(name: str, template: str) -> Source:
    config = SourceConfig(connector="hubspot", start="2026-01-01T00:00:00Z", external_id=template)
    return Source(name, config, Hubspot)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("a-call-7", ["a calls 7"]),
        ("email7-7", ["b emails 7", "c emails 7-7"]),
        ("email7-8", ["c emails 7-8"]),
        ("7", ["a calls 7", "a emails 7", "b calls 7", "b emails 7", "c calls 7", "c emails 7"]),
    ],
)
def test_an_id_is_asked_for_where_its_form_fits(asked: str, expected: list[str]) -> None:
    sources = [source("a", "{source}-{kind}-{id}"), source("b", "{kind}{id}-{id}"), source("c", "{kind}{id}")]
    assert [*map(" ".join, fitting(asked, sources))] == expected


def test_a_record_is_lacking_if_it_is_at_none_of_its_places() -> None:
    task = "00T5g00000ABCDEEA4"
    places = {"7": [("h", "calls", "7"), ("h", "emails", "7")], task[:15]: [("s", "calls", task[:15])]}
    named = Wanted(places, frozenset())
    assert named.ids == {"h": {"calls": ["7"], "emails": ["7"]}, "s": {"calls": [task[:15]]}}
    assert named.lacking(()) == ["7", task[:15]]
    assert named.lacking({("h", "emails", "7")}) == [task[:15]]
    assert named.lacking({("h", "emails", "8"), ("s", "calls", task)}) == ["7"]


def test_the_clock_of_a_preview_is_that_of_a_pass(live: World, command: Command) -> None:
    call = live.call(ago=timedelta(minutes=2))
    assert shown(command, live)[call]["reason"] == "settling"
