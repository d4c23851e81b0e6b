"""Each JSON document of a command matches its schema in the wheel, which describes all of its keys."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from syncd.activity import Kind
from syncd.cli import listing
from syncd.errors import Exit
from syncd.ledger import Failing, LedgerHandle
from syncd.lifecycle.states import State
from syncd.sandbox import Rule
from tests.conftest import Command
from tests.test_fleet import BUSY
from tests.world import World

FOLDER = Path(__file__).parents[1] / "syncd" / "cli" / "schemas"
SCHEMAS = {file.stem: json.loads(file.read_text(encoding="ascii")) for file in FOLDER.glob("*.json")}
# The commands that print one JSON document, by schema. ID: an activity. FROM, TO: the ledger, and a free place.
PRINTED = {
    "status": ["status"], "list": ["list"], "explain": ["explain", "ID"], "failures": ["failures"],
    "preview": ["preview"], "scope": ["scope"], "passes": ["passes"], "health": ["health"],
    "dry-run": ["sync", "--dry-run"], "check": ["check"], "verify": ["verify"], "accounts": ["accounts"],
    "copy": ["ledger", "copy", "--keep", "FROM", "TO"],
}  # fmt: skip


def strict(schema: Any) -> Any:
    """Return a schema that allows only the keys that it names."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    return {key: strict(value) for key, value in schema.items()} | closed


def validator() -> Any:
    """Import jsonschema late: it compiles grammars for 3 s of CPU, in each worker that collects this file."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def matches(name: str, document: Any) -> None:
    """Fail unless `document` matches the schema, and has no key that the schema does not name."""
    schema = SCHEMAS[name]
    for each in (schema, strict(schema)):
        validator()(each, format_checker=validator().FORMAT_CHECKER).validate(document)


@pytest.fixture
def eventful(world: World) -> World:
    """A ledger with rows in several states, a range, a pause, a filtered row and rows that are not read."""
    contact = world.person("mila")
    titles = {"one": [contact], "two": [contact], "three": [], "SMS four": [contact], "five": [contact]}
    for title, contacts in titles.items():
        world.call(contacts=contacts, hs_call_title=title)
    world.email(contacts=[contact], hs_email_status="BOUNCED")
    world.configure("sources.hubspot", calls={"except": [{"hs_call_title": "SMS *"}]})
    world.recotap.rules.append(Rule("fail", when=lambda item: item.get("callTitle") == "two"))
    world.recotap.rules.append(Rule("skip", when=lambda item: item.get("callTitle") == "five"))
    world.sync()
    with LedgerHandle(world.ledger).open() as ledger, ledger.transaction():
        stream = ledger.stream_id("hubspot", "calls")
        now = world.now()
        ledger.add_range(stream, now - timedelta(days=9), now, why="gap", now=now, error="HTTP 500",
                         next_attempt_at=now)  # fmt: skip
        ledger.pause_until("hubspot", now + timedelta(hours=1), "quota", now=now)
    world.later(hours=2)
    return world


def test_status_describes_lanes_and_replicas_which_a_file_has_not() -> None:
    for name in ("lanes", "replicas"):
        schema = {**SCHEMAS["status"]["properties"][name], "$defs": SCHEMAS["status"]["$defs"]}
        validator()(strict(schema)).validate(BUSY[name])
        for key in BUSY[name][0]:
            assert not validator()(schema).is_valid([{**BUSY[name][0], key: {}}]), key


def test_failures_with_a_similar_name_match_their_schema() -> None:
    found = [Failing(State.INCOMPLETE, "no_contact", 2, {"amber-blots.com": 2}, "hubspot-call-1", None)]
    document = listing.failing_to_json(found, {"amber-blots.com": "amber-bolts.com"})
    assert document[0]["similar"] == {"amber-blots.com": "amber-bolts.com"}
    matches("failures", document)


def test_each_command_prints_what_its_schema_describes(eventful: World, command: Command) -> None:
    config = eventful.write_config()
    rows = json.loads(command("list", "--json", "-c", config).out)
    for name, words in PRINTED.items():
        for row in rows if "ID" in words else rows[:1]:
            values = {"ID": row["external_activity_id"], "FROM": eventful.ledger, "TO": eventful.ledger.with_name("to")}
            arguments = [values.get(each, each) for each in words]
            document = json.loads(command(*arguments, "--json", "-c", config).out)
            assert document
            matches(name, document)


def test_the_ledger_of_these_tests_has_what_the_documents_are_about(eventful: World, command: Command) -> None:
    status = json.loads(command("status", "--json", "-c", eventful.write_config()).out)
    assert [state for state in State if not status["activities"][state]] == ["dead"]
    assert status["ranges"]
    assert status["filtered"]
    assert status["reasons"]["pending"]["failed"]
    assert len(json.loads(command("failures", "--json", "-c", eventful.config_file).out)) >= 3


def test_so_does_one_whose_crm_refuses_the_key(eventful: World, command: Command) -> None:
    eventful.token_file.write_text("pat-na1-wrong-token-wrong")
    for name in ("scope", "dry-run", "preview"):
        ran = command(*PRINTED[name], "--json", "-c", eventful.write_config())
        assert ran.code == Exit.UNAUTHORIZED
        matches(name, json.loads(ran.out))


def test_a_ledger_without_a_pass_matches(world: World, command: Command) -> None:
    with LedgerHandle(world.ledger).open():
        pass
    for name in ("status", "list", "failures", "passes", "health"):
        matches(name, json.loads(command(name, "--json", "-c", world.write_config()).out))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_bites(name: str) -> None:
    schema = SCHEMAS[name]
    validator().check_schema(schema)
    assert schema["title"].startswith("syncd ")
    assert not validator()(schema).is_valid(7)
    assert not validator()(strict(schema)).is_valid([{}] if schema["type"] == "array" else {"x": 1})


def test_each_document_has_a_schema() -> None:
    assert PRINTED.keys() == SCHEMAS.keys()


def test_states_and_kinds_are_those_of_the_code() -> None:
    for name in SCHEMAS:
        found = SCHEMAS[name].get("$defs", {})
        assert {*found.get("state", {"enum": State})["enum"]} == {*State}
        assert {*found.get("kind", {"enum": get_args(Kind)})["enum"]} == {*get_args(Kind)}
