"""Check every SOQL text sent to Salesforce by a parser of npm's, and against described orgs.

The parser knows the grammar and no org; what it makes of a text is compared with the describes that the text was made
from. It is a development tool: `npm ci --prefix tests/soql` installs it. Without it these tests are skipped; where the
environment has CI set, as .ci/run does, they fail.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.salesforce import by_address, conditions, soql
from connectors.salesforce.conditions import completed
from connectors.salesforce.schema import EMAIL, TASK, TASK_PEOPLE, USER, VOICE_CALL, WANTED, Schema
from connectors.salesforce.soql import Select
from connectors.salesforce.tables import CALLS, EMAILS, MOST_NAMED, length_of
from syncd.connector import Context, Window
from syncd.passes import engine
from syncd.sandbox.salesforce import Salesforce, service
from syncd.sandbox.salesforce.describe import describe
from syncd.sandbox.salesforce.query import run
from syncd.sandbox.salesforce.refusals import SalesforceRefusal
from syncd.types.conditions import Entry
from tests.orgs import OrgWorld

CHECK = Path(__file__).parent / "soql"
INSTALL = "npm ci --prefix tests/soql"
BASE = "/services/data/v66.0"
SINCE, UNTIL = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC)
IDS = ["00Tx0000001a2BcEAI", "00Tx0000001a2BdEAI"]
USER_ID = "005x00000012Q9PAAU"
OCCURRED_AT, LINKEDIN = "Call_Time__c", "LinkedIn_URL__c"
CUSTOM = [(TASK, OCCURRED_AT), ("Contact", LINKEDIN), ("Lead", LINKEDIN)]
FEATURES = ("enhanced_email", "shared_activities", "tracking", "bounce_management")
URI_LIMIT = 16_384  # bytes of URI and headers (Limits v67)
HEADERS = 3_072  # bytes that we leave to headers: a token may be 2 KB
# What a path finds behind a field that leads to several objects (Name, Object Reference v67).
NAME = {"Name", "FirstName", "LastName", "Email", "Phone", "Title", "Type", "Username", "Alias", "IsActive"}

Describes = dict[str, Any]


@dataclass(frozen=True)
class Text:
    """One text, the query it is, and the org that it is for."""

    org: str
    what: str
    soql: str
    select: Select | None = None


# -- orgs -------------------------------------------------------------------------------


def an_org(**settings: Any) -> Salesforce:
    org = Salesforce(seed=1, **settings)
    for name, field in CUSTOM:
        org.field(name, field, "datetime" if name == TASK else "url")
    return org


def described(org: Salesforce) -> Describes:
    """Return the describes of all that the acting user sees."""
    seen = {name: kind for name in org.kinds if (kind := org.view(name)) is not None}
    return {name: describe(kind, BASE, seen) for name, kind in seen.items()}


def without(describes: Describes, object_type: str, field: str | None = None) -> Describes:
    """Hide an object, or a field of it."""
    if field is None:
        rest = {name: each for name, each in describes.items() if name != object_type}
        return {name: _unrelated(each, object_type) for name, each in rest.items()}
    whole = describes[object_type]
    fields = [row for row in whole["fields"] if row["name"] != field]
    return {**describes, object_type: {**whole, "fields": fields}}


def _unrelated(described: Any, object_type: str) -> Any:
    """Remove all references to an object that the user does not see."""
    fields = [{**row, "referenceTo": [each for each in row["referenceTo"] if each != object_type]}
              for row in described["fields"]]  # fmt: skip
    children = [each for each in described["childRelationships"] if each["childSObject"] != object_type]
    return {**described, "fields": fields, "childRelationships": children}


@cache
def orgs() -> dict[str, Describes]:
    """Return every org there is a reason to write other queries for."""
    found: dict[str, Describes] = {}
    for count in range(len(FEATURES) + 1):
        for absent in combinations(FEATURES, count):
            settings = dict.fromkeys(absent, False)
            found[f"without {absent}"] = described(an_org(**settings))
            found[f"person accounts, without {absent}"] = described(an_org(person_accounts=True, **settings))
    whole = described(an_org(person_accounts=True, voice_call=True))
    found["everything"] = whole
    for object_type, names in WANTED.items():
        found[f"{object_type} hidden"] = without(whole, object_type)
        for name in names:
            found[f"{object_type}.{name} hidden"] = without(whole, object_type, name)
    for object_type, name in CUSTOM:
        found[f"{object_type}.{name} hidden"] = without(whole, object_type, name)
    return found


# -- texts ------------------------------------------------------------------------------


def selects(schema: Schema, *, custom: bool) -> Iterator[tuple[str, Select]]:
    """Yield the queries of an org by name, with the fields that it has."""
    occurred_at, linkedin = (OCCURRED_AT, LINKEDIN) if custom else ("", "")
    if not schema.lacking(TASK):
        seen = occurred_at if schema.has(TASK, occurred_at) else ""
        for what, match in (("calls", CALLS), ("email tasks", EMAILS)):
            yield what, soql.tasks(schema, completed(match), named=[seen] if seen else [], linkedin_field=linkedin)
    if schema.has(EMAIL) and not schema.lacking(EMAIL):
        yield "emails", soql.emails(schema)
    if schema.has(VOICE_CALL) and not schema.lacking(VOICE_CALL):
        yield "voice calls", soql.voice_calls(schema)


def texts_of(org: str, describes: Describes, *, custom: bool) -> Iterator[Text]:
    schema = Schema.of({name: describes.get(name) for name in WANTED}, CUSTOM if custom else ())
    for what, select in selects(schema, custom=custom):
        yield Text(org, f"{what}: window", select.window(SINCE, UNTIL), select)
        yield Text(org, f"{what}: ids", select.by_ids(IDS), select)
        yield Text(org, f"{what}: second", select.refs(SINCE, "", most=1_000), select)
        yield Text(org, f"{what}: second after an id", select.refs(SINCE, IDS[0], most=1, skip=2), select)
        yield Text(org, f"{what}: count", select.counted(SINCE, UNTIL), select)
        yield Text(org, f"{what}: one", select.one(), select)
    if people := soql.task_people(schema, IDS):
        yield Text(org, "people of calls", people)
    yield Text(org, "users", soql.users())
    yield Text(org, "users after one", soql.users(USER_ID))
    yield Text(org, "users by id", soql.users_by_ids([USER_ID]))
    if schema.has(EMAIL) and schema.filters_by(EMAIL, "ActivityId"):
        yield Text(org, "messages of tasks", soql.messages_of_tasks(IDS))
    if len(schema.kept(TASK, ("Id", "OwnerId"))) == 2:
        yield Text(org, "owners of tasks", soql.task_owners([USER_ID]))
    yield Text(org, "user", soql.user_name(USER_ID))
    if "PermissionSetAssignment" in describes:
        yield Text(org, "permissions", soql.sees_everything(USER_ID))
    yield from groups_of(org, describes, schema)
    yield from of_a_person(org, schema)


def of_a_person(org: str, schema: Schema) -> Iterator[Text]:
    """Yield the queries by which a person's records are found."""
    address = "kaya.o'ivor_stone%@amber-bolts.com"
    for name in ("Contact", "Lead", USER):
        if name == USER or (schema.has(name) and schema.filters_by(name, "Email")):
            yield Text(org, f"{name} by address", soql.by_address(name, "Id", "Email", address))
    for _, name, column, field in (*by_address.OF_CONTACTS, *by_address.OF_USERS):
        if schema.filters_by(name, field) and schema.has(name, column):
            yield Text(org, f"{name} by {field}", soql.by_reference(name, column, field, IDS))
    for name, column, field in by_address.OF_ADDRESSES:
        if schema.filters_by(name, field) and schema.has(name, column):
            yield Text(org, f"{name} by {field}", soql.by_address(name, column, field, address))
    lists = [name for name in by_address.LISTS if schema.filters_by(EMAIL, name)]
    if lists and schema.has(EMAIL):
        yield Text(org, "emails by lists", soql.by_addresses(EMAIL, lists, address))


def groups_of(org: str, describes: Describes, schema: Schema) -> Iterator[Text]:
    """Yield the queries that count rows by kind."""
    if not schema.lacking(TASK):
        fields = schema.kept(TASK, ("TaskSubtype", "Type", "IsClosed"))
        closed = ("IsClosed = true",)
        for name, some, conditions, most in (
            ("kinds", fields, (), 500), ("owners", ["OwnerId"], closed, 200),
            ("creators", ["CreatedById"], closed, 200),
        ):  # fmt: skip
            if all(row_of(describes, TASK, each) for each in some):
                yield Text(org, f"tasks: {name}", _grouped(schema, TASK, some, conditions, most))
        if schema.has(TASK, "CallType"):
            yield Text(org, "tasks: typed", _grouped(schema, TASK, fields, ("CallType != null",), 500))
        yield Text(org, "tasks: rest", soql.counted(TASK, _undeleted(schema, TASK), SINCE, UNTIL))
    for condition in ("ActivityId != null", "ActivityId = null"):
        if not schema.lacking(VOICE_CALL):
            texts = (*_undeleted(schema, VOICE_CALL), condition)
            yield Text(org, f"voice calls: {condition}", soql.counted(VOICE_CALL, texts, SINCE, UNTIL))
    if schema.lacking(EMAIL):
        return
    if schema.has(EMAIL, "ActivityId"):
        named = (*_undeleted(schema, EMAIL), "ActivityId != null")
        yield Text(org, "emails: twins", soql.counted(EMAIL, named, SINCE, UNTIL))
    fields = schema.kept(EMAIL, ("Incoming", "Status"))
    for condition in ("ParentId != null", "ParentId = null"):
        if schema.has(EMAIL, "ParentId"):
            yield Text(org, f"emails: {condition}", _grouped(schema, EMAIL, fields, (condition,), 500))
    if schema.has(EMAIL, "FromAddress") and schema.has(EMAIL, "Incoming"):
        yield Text(org, "emails: senders", _grouped(schema, EMAIL, ["FromAddress"], ("Incoming = false",), 500))


def _grouped(schema: Schema, name: str, fields: list[str], conditions: tuple[str, ...], most: int) -> str:
    return soql.grouped(name, fields, (*_undeleted(schema, name), *conditions), SINCE, UNTIL, most=most)


def _undeleted(schema: Schema, name: str) -> tuple[str, ...]:
    return ("IsDeleted = false",) if schema.has(name, "IsDeleted") else ()


@cache
def texts() -> list[Text]:
    """Return every text that is made, for every org."""
    return [
        text for org, describes in orgs().items() for custom in (False, True)
        for text in texts_of(org, describes, custom=custom)
    ]  # fmt: skip


class Kept(dict[str, Any]):
    """A store that forgets with the test."""

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:  # type: ignore[override]
        return super().get(key)

    def put(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every text that came to the stand-in, those in batches too: passes, look-ups, a count and a check."""
    found: list[str] = []

    def recorded(org: Any, text: str, **how: Any) -> Any:
        found.append(text)
        return run(org, text, **how)

    path = tmp_path_factory.mktemp("sent")
    with pytest.MonkeyPatch.context() as patch, OrgWorld(path, org={"voice_call": True}) as world:
        patch.setattr(engine, "WAKE_S", 0.02)
        patch.setattr(service, "run", recorded)
        lead = world.org.put("Lead", {"LastName": "Fennbrook", "Company": "Cinder Looms", "Email": "f@cinder.example"})
        partner = world.org.user("ivo@partner.example", "Ivo", "Ivorstone")
        world.org.edit(USER, partner, UserType="PowerPartner")
        world.task(TaskSubtype="Task")
        world.task(ago=timedelta(minutes=2))  # not settled yet: it is looked up later
        world.task(WhoId=lead)
        world.task(others=[world.contact_of("quinn.birkenhain")])
        world.mail(FromId=partner)
        world.task(TaskSubtype="Email", ago=timedelta(hours=5))
        world.configure("sources.salesforce", voice_calls=True)
        assert world.sync().exit_code == 0
        world.later(minutes=30)
        assert world.sync().exit_code == 0
        (source,) = world.config().sources
        connector = source.connector(source.config, Context(source.name, Kept(), world.now, lambda _: None))
        assert all(finding.ok for finding in connector.check())
        assert connector.count("calls", Window(SINCE, UNTIL, lambda _: ())) == 0
        assert connector.scope(SINCE).kinds  # type: ignore[attr-defined]
        connector.close()
    return found


# -- the parser -------------------------------------------------------------------------


def missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set; install it: {INSTALL}")
    pytest.skip(f"{reason}; install it: {INSTALL}")


def parse(asked: Iterable[str]) -> list[dict[str, Any]]:
    """Parse each text. Without a parser the test is skipped, and fails in CI."""
    node = shutil.which("node")
    if node is None:
        missing("node is missing")
    if not (CHECK / "node_modules" / "@jetstreamapp" / "soql-parser-js").is_dir():
        missing("the SOQL parser is not installed")
    lines = "".join(json.dumps({"soql": each}) + "\n" for each in asked)
    done = subprocess.run(
        [str(node), "check.mjs"], input=lines, capture_output=True, text=True, check=False, timeout=60, cwd=CHECK
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


WRONG = {
    "a typo": "SELCT Id FROM Task",
    "a trailing comma": "SELECT Id, Subject, FROM Task",
    "double quotes": 'SELECT Id FROM Task WHERE TaskSubtype = "Call"',
    "no field": "SELECT  FROM Task",
    "no id": "SELECT Id FROM Task WHERE Id IN ()",
    "a quote too many": "SELECT Id FROM Task WHERE Subject = 'It's on'",
    "an instant without a zone": "SELECT Id FROM Task WHERE SystemModstamp >= 2026-03-01T10:00:00",
    "an unfinished order": "SELECT Id FROM Task ORDER BY",
    "a TYPEOF without a WHEN": "SELECT Id, TYPEOF Who END FROM Task",
    "something after the end": "SELECT Id FROM Task LIMIT 1 please",
    "OR between all conditions": "SELECT Id FROM Task WHERE IsClosed = true OR IsDeleted = false",
    "AND and OR without parentheses": "SELECT Id FROM Task WHERE A = 1 AND (B = 1 AND C = 2 OR D = 3)",
    "a HAVING, which nobody looks at": "SELECT Type FROM Task GROUP BY Type HAVING COUNT(Id) > 1",
    "a group by nothing": "SELECT COUNT(Id) n FROM Task GROUP BY",
}


@pytest.fixture(scope="module")
def trees(sent: list[str]) -> dict[str, dict[str, Any]]:
    """Parse every text in one start of node."""
    every = list(dict.fromkeys([*(text.soql for text in texts()), *sent, *WRONG.values()]))
    return dict(zip(every, parse(every), strict=True))


@pytest.mark.parametrize("wrong", WRONG)
def test_the_parser_refuses(trees: dict[str, dict[str, Any]], wrong: str) -> None:
    assert trees[WRONG[wrong]]["ok"] is False


def test_the_parser_takes_every_text(trees: dict[str, dict[str, Any]], sent: list[str]) -> None:
    assert [(text, trees[text]) for text in (*sent, *(text.soql for text in texts())) if not trees[text]["ok"]] == []


# -- what a text asks for ---------------------------------------------------------------


def amiss(describes: Describes, tree: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of a text that lead nowhere, are had twice, or are compared though they may not be."""
    root = tree["object"]
    order = [path for path, _ in tree["order"] if path != "COUNT(Id)"]
    paths = [*tree["fields"], *(path for path, *_ in tree["compared"]), *order, *tree["group"]]
    yield from (f"{root}.{path}" for path in paths if not leads(describes, root, path))
    yield from (f"{path} is not groupable" for path in tree["group"] if not row_of(describes, root, path)["groupable"])
    if tree["group"] and (tree["fields"] != tree["group"] or tree["counted"] != ["Id"]):
        yield "a field that is not grouped"
    for path in (*(path for path, *_ in tree["compared"]), *order):
        if "." not in path and not row_of(describes, root, path).get("filterable"):
            yield f"{path} is not filterable"
    lists = [tree["fields"], *tree["children"].values(), *(own for each in tree["typeofs"].values()
             for own in each.values())]  # fmt: skip
    yield from (f"{path} twice" for own in lists for path in own if own.count(path) > 1)
    for relation, whens in tree["typeofs"].items():
        way = way_of(describes, root, relation)
        if not way.get("polymorphicForeignKey"):
            yield f"TYPEOF {relation}, which is not polymorphic"
        if any(path.startswith(f"{relation}.") for path in tree["fields"]):
            yield f"{relation} beside its TYPEOF"
        for target, own in whens.items():
            if target not in way.get("referenceTo", ()):
                yield f"TYPEOF {relation} WHEN {target}"
            yield from (f"{target}.{path}" for path in own if not leads(describes, target, path))
    for relation, own in tree["children"].items():
        child = next((each["childSObject"] for each in describes[root]["childRelationships"]
                      if each["relationshipName"] == relation), "")  # fmt: skip
        yield from (f"{relation}: {path}" for path in own if not leads(describes, child, path))


def row_of(describes: Describes, object_type: str, name: str) -> dict[str, Any]:
    rows = (describes.get(object_type) or {}).get("fields", ())
    return next((row for row in rows if row["name"] == name), {})


def way_of(describes: Describes, object_type: str, relation: str) -> dict[str, Any]:
    """Return the field that leads through a relationship."""
    rows = (describes.get(object_type) or {}).get("fields", ())
    return next((row for row in rows if row["relationshipName"] == relation), {})


def leads(describes: Describes, object_type: str, path: str) -> bool:
    """Say whether a path leads to a field that the acting user sees."""
    first, _, rest = path.partition(".")
    if not rest:
        return bool(row_of(describes, object_type, first))
    way = way_of(describes, object_type, first)
    if way.get("polymorphicForeignKey"):
        return rest in NAME
    return any(leads(describes, target, rest) for target in way.get("referenceTo", ()))


def test_every_path_leads_to_a_field_that_the_org_is_described_with(trees: dict[str, dict[str, Any]]) -> None:
    faults = {(text.org, text.what): found for text in texts()
              if (found := list(amiss(orgs()[text.org], trees[text.soql])))}  # fmt: skip
    assert faults == {}


def test_what_is_really_sent_fits_the_org_too(trees: dict[str, dict[str, Any]], sent: list[str]) -> None:
    whole = described(Salesforce(seed=1, voice_call=True))
    assert {text: found for text in sent if (found := list(amiss(whole, trees[text])))} == {}
    asked = {trees[text]["object"] for text in sent}
    assert asked == {TASK, EMAIL, VOICE_CALL, TASK_PEOPLE, USER, "PermissionSetAssignment"}


def test_what_is_really_sent_is_of_the_kinds_checked_here(sent: list[str]) -> None:
    """A text of another form than those enumerated would be one that the org variants do not check."""
    whole = described(Salesforce(seed=1, voice_call=True))
    known = {form(text.soql) for text in texts_of("", whole, custom=False)}
    assert {form(text) for text in sent} <= known
    assert {text.what for text in texts_of("", whole, custom=False) if form(text.soql) in set(map(form, sent))} >= {
        "calls: window", "calls: ids", "calls: count", "calls: one", "emails: window", "emails: one", "people of calls",
        "users", "users by id", "user", "permissions", "messages of tasks", "email tasks: window",
        "voice calls: window", "voice calls: one",
    }  # fmt: skip


def form(text: str) -> str:
    """Return a text without its values."""
    words = text.replace("(", "( ").replace(")", " )").replace(",", " , ").split()
    kept = ("'Call'", "'Email'", "'Task'", "'Standard'")
    values = ["?" if (word[:1] == "'" and word not in kept) or word[:4].isdigit() else word for word in words]
    while (several := " ".join(values).replace("? , ?", "?")) != " ".join(values):
        values = several.split()
    return " ".join(values)


def test_only_wanted_fields_are_selected_and_no_bodies(trees: dict[str, dict[str, Any]]) -> None:
    custom = {name for _, name in CUSTOM}
    wanted = {name for names in WANTED.values() for name in names} | custom | {"IsActive", "UserType", "Type"}
    for text in texts():
        tree = trees[text.soql]
        own = [*tree["fields"], *(path for each in tree["typeofs"].values() for some in each.values() for path in some)]
        own += [path for some in tree["children"].values() for path in some]
        assert {path.rpartition(".")[2] for path in own} <= wanted, text
    assert not [name for name in wanted if any(word in name for word in ("Body", "Description", "Headers"))]


BOUNDS = [
    ["SystemModstamp", ">=", "2026-03-01T10:00:00Z", "DATETIME"],
    ["SystemModstamp", "<=", "2026-03-01T11:59:59Z", "DATETIME"],
]
NOT_DELETED = ["IsDeleted", "=", "FALSE", "BOOLEAN"]
CLOSED = ["IsClosed", "=", "TRUE", "BOOLEAN"]


def which(text: Text, stream: str) -> list[Any]:
    """Return the conditions of a stream. Without Type, a task is told by its subtype alone."""
    if stream == "emails":
        return []
    if stream == "voice calls":
        return [["ActivityId", "=", "NULL", "NULL"]]
    subtype, other, kind = (
        [name, "=", f"'{value}'", "STRING"]
        for name, value in (("TaskSubtype", STREAMS[stream]), ("TaskSubtype", "Task"), ("Type", STREAMS[stream]))
    )
    if text.org == "Task.Type hidden":
        return [subtype, CLOSED]
    return [CLOSED, ["OR", [subtype, ["AND", [kind, other]]]]]


STREAMS = {"calls": "Call", "email tasks": "Email"}


def of(kind: str) -> list[tuple[Text, str, list[Any]]]:
    """Return the texts of a kind, each with its stream and the condition that shuts out deleted rows."""
    return [
        (text, text.what.partition(":")[0], [] if text.org.endswith("IsDeleted hidden")
         and text.org.split(".")[0] == (text.select.object_type if text.select else "") else [NOT_DELETED])
        for text in texts() if text.what.endswith(f": {kind}")
    ]  # fmt: skip


CONDITIONS: dict[Any, list[list[Any]]] = {
    "Call": [["=", "'Call'", "STRING"]],
    ("Call", "a*b", ""): [["=", "'Call'", "STRING"], ["LIKE", "'a%b'", "STRING"], ["=", "NULL", "NULL"]],
    ("a", "b"): [["IN", ["'a'", "'b'"], "STRING"]],
    "*": [["!=", "NULL", "NULL"]],
    "' OR Id != null OR Subject = '": [["=", r"'\' OR Id != null OR Subject = \''", "STRING"]],
    "\\' OR Id != null": [["=", r"'\\\' OR Id != null'", "STRING"]],
    "') AND (Id != null*": [["LIKE", r"'\') AND (Id != null%'", "STRING"]],
    "50%_'*\\": [["LIKE", r"'50\%\_\'%'", "STRING"]],
    "x') LIMIT 1 --": [["=", r"'x\') LIMIT 1 --'", "STRING"]],
    "it's*": [["LIKE", r"'it\'s%'", "STRING"]],
}


def test_the_parser_takes_every_condition_and_sees_no_other_than_meant() -> None:
    """A quote, a backslash or a keyword in an operator's text stays within the text."""
    schema = Schema.of({TASK: orgs()["everything"][TASK]})
    written = (list(each) if isinstance(each, tuple) else each for each in CONDITIONS)
    matches = (completed([Entry.parse({"Type": each})]) for each in written)
    asked = [soql.tasks(schema, match).window(SINCE, UNTIL) for match in matches]
    for tree, expected in zip(parse(asked), CONDITIONS.values(), strict=True):
        assert tree["ok"], tree
        assert tree["compared"] == [NOT_DELETED, *(["Type", *each] for each in expected), CLOSED, *BOUNDS]


def test_a_window_has_both_bounds_inclusive_and_its_order_and_no_limit(trees: dict[str, dict[str, Any]]) -> None:
    for text, stream, undeleted in of("window"):
        tree = trees[text.soql]
        assert tree["conditions"] == [*undeleted, *which(text, stream), *BOUNDS], text
        assert tree["order"] == [["SystemModstamp", "ASC"], ["Id", "ASC"]]
        assert (tree["limit"], tree["count"]) == (None, False)
        assert {"Id", "SystemModstamp"} <= set(tree["fields"])


def test_a_count_counts_what_the_window_would_hold(trees: dict[str, dict[str, Any]]) -> None:
    for text, stream, undeleted in of("count"):
        tree = trees[text.soql]
        assert tree["count"]
        assert tree["conditions"] == [*undeleted, *which(text, stream), *BOUNDS], text
        assert (tree["order"], tree["limit"]) == ([], None)


def test_a_second_is_asked_for_its_ids_alone_in_their_order(trees: dict[str, dict[str, Any]]) -> None:
    at = ["SystemModstamp", "=", soql.literal(SINCE), "DATETIME"]
    beyond = ["Id", ">", f"'{IDS[0]}'", "STRING"]
    for kind, after, limits in (("second", [], (1_000, None)), ("second after an id", [beyond], (1, 2))):
        for text, stream, undeleted in of(kind):
            tree = trees[text.soql]
            assert tree["conditions"] == [*undeleted, *which(text, stream), at, *after], text
            assert (tree["fields"], tree["order"]) == (["Id", "SystemModstamp"], [["Id", "ASC"]])
            assert (tree["limit"], tree["offset"]) == limits


def test_a_look_up_asks_for_its_ids_whatever_has_become_of_them(trees: dict[str, dict[str, Any]]) -> None:
    """A call that was reopened is read too: only so is it seen that it is none any more."""
    for text, _, undeleted in of("ids"):
        ids = ["Id", "IN", [f"'{crm_id}'" for crm_id in IDS], "STRING"]
        assert trees[text.soql]["conditions"] == [*undeleted, ids], text
        assert {"Id", "SystemModstamp"} <= set(trees[text.soql]["fields"])


def test_a_trial_asks_for_one_row_of_what_a_window_asks_for(trees: dict[str, dict[str, Any]]) -> None:
    for text, stream, undeleted in of("one"):
        tree = trees[text.soql]
        assert (tree["conditions"], tree["limit"]) == ([*undeleted, *which(text, stream)], 1), text


def test_a_child_query_is_told_by_its_select(trees: dict[str, dict[str, Any]]) -> None:
    for text, _, _ in (*of("window"), *of("ids"), *of("one")):
        assert text.select
        assert list(trees[text.soql]["children"]) == ([text.select.children] if text.select.children else []), text


def test_the_whole_org_is_asked_for_everything_wanted(trees: dict[str, dict[str, Any]]) -> None:
    """A field that no query asks for would be one too many in WANTED."""
    asked: dict[str, set[str]] = {}
    for text in texts():
        if text.org != "everything":
            continue
        tree, describes = trees[text.soql], orgs()["everything"]
        lists = [(tree["object"], tree["fields"] + [path for path, *_ in tree["compared"]])]
        lists += [(name, own) for each in tree["typeofs"].values() for name, own in each.items()]
        lists += [(each["childSObject"], tree["children"].get(each["relationshipName"], ()))
                  for each in describes[tree["object"]]["childRelationships"]]  # fmt: skip
        for object_type, own in lists:
            asked.setdefault(object_type, set()).update(path for path in own if "." not in path)
    missing = {name: left for name, names in WANTED.items() if (left := set(names) - asked.get(name, set()))}
    assert missing == {"Account": set(WANTED["Account"])}  # read by path or by id
    schema = Schema.of({name: orgs()["everything"][name] for name in WANTED})
    assert soql.account_fields(schema) == list(WANTED["Account"])


@pytest.mark.parametrize("absent", [some for count in range(5) for some in combinations(FEATURES, count)])
def test_the_stand_in_takes_every_text_as_well(absent: tuple[str, ...]) -> None:
    """A second reader knows the org. Sandbox runs it in every other test."""
    org = an_org(**dict.fromkeys(absent, False))
    for text in texts_of("", described(org), custom=True):
        run(org, text.soql, base=BASE, verb="queryAll", page_size=200, turn=1)
    with pytest.raises(SalesforceRefusal):
        run(org, "SELECT Id, NoSuchField FROM Task", base=BASE, verb="queryAll", page_size=200, turn=1)


def test_without_enhanced_email_there_is_no_query_for_email_messages() -> None:
    found = {text.what for text in texts() if text.org == "without ('enhanced_email',)"}
    assert not [what for what in found if what.startswith("emails:")]
    assert "email tasks: window" in found


def test_a_configured_standard_field_is_not_asked_for_twice() -> None:
    """Salesforce refuses a field that is selected twice, and with it the whole query."""
    schema = Schema.of({name: orgs()["everything"][name] for name in WANTED}, [(TASK, "CompletedDateTime")])
    select = soql.tasks(schema, CALLS, named=("CompletedDateTime",), linkedin_field="Title")
    assert select.fields.count("CompletedDateTime") == 1
    (who,) = [field for field in select.fields if field.startswith("TYPEOF")]
    assert who.count("Title") == 2  # of a contact and of a lead
    for names in (soql.contact_fields(schema, "Title"), soql.lead_fields(schema, "Website")):
        assert len(names) == len(set(names))


# -- values and sizes -------------------------------------------------------------------


def test_an_instant_is_written_in_utc_and_whole_seconds() -> None:
    east = datetime(2026, 3, 1, 1, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert soql.literal(east) == "2026-02-28T20:00:00Z"


@pytest.mark.parametrize(
    ("written", "takes"),
    [
        ("00T000000000001AAA", True), ("00T000000000001", True), ("", False), ("00T", False),
        ("00T00000000001'", False), ("00T00000000000 1AA", False), ("00T0000000000012", False),
        ("00T00000000000٣", False), ("0" * 19, False),
    ],
)  # fmt: skip
def test_what_can_be_an_id(written: str, takes: bool) -> None:
    assert soql.is_id(written) is takes


def test_ids_are_asked_for_as_many_at_a_time_as_a_query_may_name() -> None:
    ids = [f"{number:018}" for number in range(2 * soql.IDS_AT_ONCE + 1)]
    parts = list(soql.chunks(ids))
    assert [len(part) for part in parts] == [soql.IDS_AT_ONCE, soql.IDS_AT_ONCE, 1]
    assert [each for part in parts for each in part] == ids
    assert list(soql.chunks([])) == []


def uri(text: str) -> int:
    """Return the bytes of the request line's URI as requests writes it, host and all."""
    return len(f"https://{'x' * 60}.sandbox.my.salesforce.com{BASE}/queryAll/?{urlencode({'q': text})}")


def test_the_longest_queries_stay_within_what_a_uri_may_have() -> None:
    """With fields of the longest name that the configuration takes, and an org that has everything."""
    longest = "X" * 77 + "__c"  # 80
    org = an_org(person_accounts=True)
    for name in (TASK, "Contact", "Lead"):
        org.field(name, longest, "url")
    named = [longest, *(f"X{number}{'x' * 71}__c" for number in range(MOST_NAMED // 80 - 1))]
    own = [(TASK, name) for name in named]
    for object_type, name in own[1:]:
        org.field(object_type, name)
    assert length_of(named) > MOST_NAMED - 80
    describes = described(org)
    schema = Schema.of({name: describes.get(name) for name in WANTED}, [*((name, longest) for name, _ in CUSTOM), *own])
    calls = soql.tasks(schema, completed(CALLS), named=named, linkedin_field=longest)
    subjects = [f"{number:02} * {'x' * 50}" for number in range(65)]
    chosen = soql.tasks(schema, completed([Entry.parse({"Subject": subjects})]), named=named, linkedin_field=longest)
    assert sum(map(len, chosen.which)) > conditions.LONGEST * 0.7
    ids = [f"{number:018}" for number in range(soql.IDS_AT_ONCE)]
    sizes = {
        "calls: window": uri(calls.window(SINCE, UNTIL)),
        "calls: ids": uri(calls.by_ids(ids)),
        "calls by long conditions: window": uri(chosen.window(SINCE, UNTIL)),
        "emails: ids": uri(soql.emails(schema).by_ids(ids)),
        "users: ids": uri(soql.users_by_ids(ids)),
        "a person's: ids": uri(soql.by_reference("EmailMessageRelation", "EmailMessageId", "RelationId", ids)),
        "people: ids": uri(soql.task_people(schema, ids) or ""),
    }
    assert calls.fields.count(longest) == 1
    assert max(sizes.values()) < URI_LIMIT - HEADERS, sizes
    assert sizes["calls: window"] < 2_500  # the vendor's advice is 2,000


def test_the_parsers_lock_file_has_a_hash_for_everything_and_names_no_host_or_path() -> None:
    lock = json.loads((CHECK / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert not [name for name, each in packages.items() if "resolved" in each or "link" in each]
    assert "://" not in json.dumps(lock)
    pinned = json.loads((CHECK / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in pinned} == pinned
