"""Promise 10: secrets and personal data go through every failure path, and none come out.

Each canary is a value that stands in one place only. After each bad day every command is run, and all that
was said, and all that the ledger holds beside payloads of pending rows, is searched for them.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest

from connectors.hubspot import HubSpot
from syncd.config import Config
from syncd.connector import Page
from syncd.errors import Unavailable
from syncd.passes import breaker
from syncd.passes.reader import Reader
from syncd.sandbox import Fault
from syncd.web.answers import Answers
from tests.conftest import Command
from tests.world import World

TOKEN = "pat-na1-cafe7f3a-0000-canary-token"
KEY = "canarykey-qwertzuiopasdfghjklyxcvbnm-canarykey-qwertzuiopasdfghj"  # without a run of digits, as a phone has
ADDRESS = "quellbrunn.canaria@amber-bolts.com"
OWNER = "oda.canarowner@lanternfield-sales.com"
NAME = "Canaria Quellbrunn"
OWNER_NAME = "Oda Canarowner"
SUBJECT = "Canary subject zebra-41"
TITLE = "Canary title walrus-42"
PHONE = "+49 30 5550142788"
PERSONAL = {"address": ADDRESS, "owner": OWNER, "name": NAME, "owner_name": OWNER_NAME, "subject": SUBJECT,
            "title": TITLE, "phone": PHONE}  # fmt: skip
CANARIES = {"token": TOKEN, "key": KEY, **PERSONAL}
ECHO = "; ".join(CANARIES.values())

BadDay = Callable[[World, pytest.MonkeyPatch], None]


@pytest.fixture
def birds(live: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which every private value is a canary."""
    monkeypatch.setattr(Reader, "_sleep", lambda reader, seconds: None)
    monkeypatch.setattr(breaker, "PROBE_AFTER_S", 0.01)
    live.hubspot.set(tokens={TOKEN: live.hubspot.tokens[live.box.token]})
    live.recotap.set(keys=[KEY])
    live.token_file.write_text(TOKEN)
    live.key_file.write_text(KEY)
    owner = live.hubspot.owner(OWNER, *OWNER_NAME.split())
    contact = live.person("quellbrunn.canaria", firstname="Canaria", lastname="Quellbrunn", phone=PHONE)
    live.call(hubspot_owner_id=owner, contacts=[contact], hs_call_title=TITLE)
    live.call(hubspot_owner_id="1", contacts=[contact], hs_call_title=TITLE)  # waits for its owner
    headers = {"from": {"email": OWNER}, "to": [{"email": ADDRESS, "firstName": "Canaria", "lastName": "Quellbrunn"}]}
    live.email(
        hubspot_owner_id=owner, contacts=[contact], hs_email_subject=SUBJECT, hs_email_headers=json.dumps(headers)
    )
    live.write_config()
    return live


def hubspot_fault(name: str, **changes: Any) -> BadDay:
    return lambda world, _: void(world.hubspot.faults.add(name, **{"count": None, **changes}))


def hubspot_answers(status: int, *, match: str = "", **headers: str) -> BadDay:
    """HubSpot repeats everything that it knows in the message, the context and the headers."""
    body = {
        "status": "error", "message": ECHO, "category": ECHO, "correlationId": ECHO, "policyName": ECHO,
        "context": {"id": [ECHO]}, "errors": [{"message": ECHO, "context": {"requiredGranularScopes": [ECHO, OWNER]}}],
    }  # fmt: skip
    return lambda world, _: void(
        world.hubspot.faults.add(
            Fault(match=match, status=status, body=body, count=None, headers={"X-Echo": quote(ECHO), **headers})
        )
    )


def recotap_answers(status: int, body: Any = None, **headers: str) -> BadDay:
    body = {"statusCode": status, "message": ECHO, "customMessage": ECHO, "data": None} if body is None else body
    return lambda world, _: void(
        world.recotap.faults.add(
            Fault(
                match="sales-activities",
                status=status,
                body=body,
                count=None,
                headers={"X-Echo": quote(ECHO), **headers},
            )
        )
    )


def recotap_says(status: str, change: Callable[[str], str] = str) -> BadDay:
    """Recotap repeats for every item the key and each value of the item."""

    def bad_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def store(item: dict[str, Any]) -> dict[str, Any]:
            values = [value for person in item["contacts"] for value in person.values()]
            known = [
                KEY,
                item["ownerEmail"],
                item.get("ownerName"),
                item.get("subject"),
                item.get("callTitle"),
                *values,
            ]
            said = change(f"The contact {'; '.join(filter(None, known))} could not be resolved")
            return {"externalActivityId": item["externalActivityId"], "status": status, "error": said, "reason": said}

        monkeypatch.setattr(world.recotap, "_store", store)

    return bad_day


def connector_raises(error: Exception, where: str) -> BadDay:
    def bad_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: Any, **more: Any) -> Iterator[Page]:
            raise error

        monkeypatch.setattr(HubSpot, where, broken)

    return bad_day


def void(_: object) -> None:
    """Bad days return nothing."""


NESTED = {
    "statusCode": 400, "message": "Bad Request", "data": [{"property": "activities", "target": ECHO, "children": [
        {"property": "0", "target": {"ownerEmail": OWNER}, "value": ECHO, "children": [
            {"property": "ownerEmail", "value": OWNER, "constraints": {"isEmail": f"{ECHO} must be an email"}},
            {"property": "contacts", "children": [{"property": "0", "children": [
                {"property": "email", "value": ADDRESS, "constraints": {"isEmail": ECHO}}]}]}]}]}],
}  # fmt: skip
FLAT = {
    "statusCode": 400,
    "error": "Bad Request",
    "message": [f"activities.0.contacts.0.email must be an email, not {ECHO}"],
}

HUBSPOT = (200, 302, 400, 401, 403, 404, 418, 423, 429, 477, 500, 530)
RECOTAP = (200, 302, 400, 401, 403, 404, 413, 418, 422, 429, 500, 503)
BAD_DAYS: dict[str, BadDay] = {
    "none": lambda world, _: None,
    **{f"hubspot {status}": hubspot_answers(status) for status in HUBSPOT},
    "hubspot 429 daily": hubspot_fault("daily"),
    "hubspot 403 on emails": hubspot_answers(403, match="emails"),
    "hubspot redirects": hubspot_answers(301, Location=f"http://127.0.0.1:9/{quote(ECHO)}"),
    "hubspot html": hubspot_fault("html_200", body=f"<html>{ECHO}</html>"),
    "hubspot cut": hubspot_fault("cut", match="search"),
    "hubspot closes": hubspot_fault("close"),
    "hubspot cut json": hubspot_fault("cut_json", match="associations"),
    "hubspot owners of another shape": hubspot_fault("answer", match="owners", status=200, body={"results": [ECHO]}),
    "hubspot rows of another shape": hubspot_fault(
        "answer", match="calls/search", status=200, body={"total": 1, "results": [{"id": None, "properties": ECHO}]}
    ),
    **{f"recotap {status}": recotap_answers(status) for status in RECOTAP},
    "recotap 400 nested": recotap_answers(400, NESTED),
    "recotap 400 flat": recotap_answers(400, FLAT),
    "recotap redirects": recotap_answers(307, Location=f"http://127.0.0.1:9/{quote(ECHO)}"),
    "recotap pauses": recotap_answers(429, **{"Retry-After": "3600"}),
    "recotap html": recotap_answers(200, f"<html>{ECHO}</html>"),
    "recotap fails items": recotap_says("failed"),
    "recotap fails items in capitals": recotap_says("failed", str.upper),
    "recotap fails items over lines": recotap_says("failed", lambda text: text.replace(" ", "\n\t")),
    "recotap skips items": recotap_says("skipped"),
    "recotap says what nobody knows": recotap_says(ECHO),
    "recotap closes": lambda world, _: void(world.recotap.faults.add("close", count=None)),
    "a record is unreadable": connector_raises(KeyError(ECHO), "normalize"),
    "a bug in the connector": connector_raises(ValueError(ECHO), "fetch"),
    "a bug that repeats an address": connector_raises(TypeError(f"cannot read {ADDRESS} with {TOKEN}"), "fetch"),
    "an error that was caused by a bug": connector_raises(Unavailable("HubSpot is away"), "fetch"),
}  # fmt: skip


@pytest.mark.parametrize("day", BAD_DAYS)
def test_nothing_private_is_said_or_kept_on_a_bad_day(
    birds: World, command: Command, monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    BAD_DAYS[day](birds, monkeypatch)
    said = said_by_every_command(birds, command, bug="bug" in day)
    birds.hubspot.faults.clear()
    birds.recotap.faults.clear()
    assert leaks(said) == []
    assert leaks(kept(birds)) == []


@cache
def answers() -> Answers:
    """Return the answers of the status page, for one world after the other. To compile its templates takes time."""
    return Answers(Config.__new__(Config))


def shown_on_the_page(world: World) -> str:
    """Return the text of the status page, of the page of each activity, and of the metrics."""
    page = answers()
    page.config = world.config()
    ids = [name for (name,) in world.sql("SELECT external_activity_id FROM activities")]
    found = [page._compute_page(), page._compute_metrics(openmetrics=True), *map(page._compute_activity, ids)]
    assert {each.status for each in found} == {200}
    return unescape(b"\n".join(each.body for each in found).decode())


def said_by_every_command(world: World, command: Command, *, bug: bool) -> str:
    said = ""
    lines = ["sync -v --dry-run", "check", "sync -v", "status", "status --json", "retry --state pending", "sync"]
    for line in lines:
        ran = command(*line.split(), "-c", world.config_file)
        said += f"\n$ {line}\n{ran.out}{ran.err}"
        assert bug or ran.code != 1, ran
    for (name,) in world.sql("SELECT external_activity_id FROM activities"):
        for line in (f"explain {name}", f"explain {name} --json"):
            ran = command(*line.split(), "-c", world.config_file)
            assert ran.code == 0
            said += f"\n$ {line}\n{without_payload(ran.out)}{ran.err}"
    return said + shown_on_the_page(world)


def without_payload(explained: str) -> str:
    """Return the output of `syncd explain` without the payload of a pending activity, which it is asked to show."""
    if explained.startswith("{"):
        document = json.loads(explained)
        return json.dumps({**document, "payload": None}) if document["state"] == "pending" else explained
    return (
        re.sub(r"(?s)(?<=\n)  \{\n.*\n  \}\n", "", explained) if "\nstate         pending:" in explained else explained
    )


def kept(world: World) -> str:
    """Return all text in the ledger, without the payloads of pending rows and the connector's store."""
    tables = ("activities", "streams", "sources", "posts", "attempts", "pauses", "passes")
    rows = [row for table in tables for row in world.sql(f"SELECT * FROM {table}")]
    pending = world.sql("SELECT count(*) FROM payloads JOIN activities ON id = activity_id WHERE state <> 'pending'")
    assert pending == [(0,)]
    return repr(rows)


def leaks(text: str) -> list[str]:
    """Return the canaries in `text`: secrets verbatim, others in any case, quoted for a URL or escaped for JSON."""
    flat = re.sub(r"\s+", " ", text).lower()
    secrets = [name for name in ("token", "key") if CANARIES[name] in text]
    return secrets + [
        name
        for name, canary in PERSONAL.items()
        if any(form.lower() in flat for form in (canary, quote(canary), json.dumps(canary)[1:-1]))
    ]


def test_the_canaries_would_be_found(birds: World, command: Command) -> None:
    """The search works: Recotap gets all canaries, and a pending payload may hold them."""
    birds.recotap.faults.add("close", match="sales-activities", count=None)
    command("sync", "-c", birds.config_file)
    assert set(leaks(repr(birds.sql("SELECT body FROM payloads")))) == set(PERSONAL)
    birds.recotap.faults.clear()
    command("sync", "-c", birds.config_file)
    assert set(leaks(repr(birds.recotap.stored))) == set(PERSONAL)
    assert leaks(f"x {quote(ADDRESS)} y") == ["address"]


@pytest.mark.parametrize("where", ["recotap.api_key", "sources.hubspot.access_token"])
def test_a_secret_in_the_wrong_place_is_not_repeated(
    birds: World, command: Command, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    table, _, key = where.rpartition(".")
    birds.configure(table, **{key: TOKEN})
    ran = command("sync", "-c", birds.write_config())
    assert ran.code == 78
    assert leaks(ran.out + ran.err) == []
    birds.tables.clear()
    monkeypatch.setenv(f"SYNCD_{where.upper().replace('.', '__')}", KEY)
    ran = command("sync", "-c", birds.write_config())
    assert ran.code == 78
    assert leaks(ran.out + ran.err) == []


@pytest.mark.parametrize("secret", [TOKEN + "\u20ac", TOKEN + " " + KEY, TOKEN + "\n" + KEY, "", "\x00" + TOKEN])
def test_a_broken_secret_is_not_repeated(birds: World, command: Command, secret: str) -> None:
    for file in (birds.token_file, birds.key_file):
        before = file.read_text()
        file.write_text(secret)
        for line in ("sync -v", "check"):
            ran = command(*line.split(), "-c", birds.config_file)
            assert ran.code in (77, 78), (line, ran)
            assert leaks(ran.out + ran.err) == []
            assert "Traceback" not in ran.err
        file.write_text(before)


@pytest.mark.parametrize(("method", "says"), [("book", "pull.bug"), ("end_pass", "a bug, please report it")])
def test_a_bug_of_ours_shows_code_and_no_value(
    birds: World, command: Command, monkeypatch: pytest.MonkeyPatch, method: str, says: str
) -> None:
    def broken(*arguments: Any, **more: Any) -> None:
        try:
            raise KeyError(ECHO)
        except KeyError as error:
            raise RuntimeError(f"while booking {ECHO}") from error

    monkeypatch.setattr(f"syncd.ledger.Ledger.{method}", broken)
    ran = command("sync", "-c", birds.config_file)
    assert ran.code == 1
    assert says in ran.err
    assert "KeyError" in ran.err
    assert leaks(ran.out + ran.err) == []
