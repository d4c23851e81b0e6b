"""The table of a Salesforce source: one way to sign in, the right hosts, and every mistake at its key at once."""

import os
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.salesforce.config import SalesforceConfig
from syncd.config import mistakes
from syncd.config.reading import RawConfig
from syncd.types.secrets import Secret

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASE = {"connector": "salesforce", "start": NOW}
CREDENTIALS = {"login_url": "https://acme.my.salesforce.com", "client_id": "env:ID", "client_secret": "env:SECRET"}
JWT = {
    "login_url": "https://login.salesforce.com",
    "client_id": "env:ID",
    "username": "integration@acme.example",
    "private_key": "file:/etc/syncd/key.pem",
}
SESSION = {"session_id": "env:SESSION", "instance_url": "https://127.0.0.1:8443"}


def wrong(**table: Any) -> dict[str, str]:
    """Return the messages about an invalid table, by key."""
    with pytest.raises(ValidationError) as raised:
        SalesforceConfig(**{**BASE, **table})
    return {".".join(map(str, error["loc"])): error["msg"] for error in raised.value.errors()}


def without(table: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in table.items() if name not in names}


@pytest.mark.parametrize(("way", "renews"), [(CREDENTIALS, True), (JWT, True), (SESSION, False)])
def test_each_way_of_signing_in_is_whole_by_itself(way, renews):
    config = SalesforceConfig(**BASE, **way)
    assert config.signs_in is renews


def test_the_defaults_are_those_of_the_design():
    config = SalesforceConfig(**BASE, **CREDENTIALS)
    assert (config.api_version, config.quota_reserve, config.timezone) == ("66.0", 0.2, "UTC")
    assert (config.ca_file, config.occurred_at_field, config.linkedin_field) == ("", "", "")
    assert config.client_secret == Secret("env", "SECRET")


def test_an_empty_key_is_none():
    empty = dict.fromkeys(["username", "private_key", "session_id", "instance_url"], "")
    assert SalesforceConfig(**BASE, **CREDENTIALS, **empty) == SalesforceConfig(**BASE, **CREDENTIALS)


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ({}, {"login_url", "client_id", "client_secret"}),
        (without(CREDENTIALS, "client_secret"), {"client_secret"}),
        (without(CREDENTIALS, "login_url"), {"login_url"}),
        (without(JWT, "private_key"), {"private_key"}),
        (without(JWT, "username"), {"username"}),
        (without(SESSION, "instance_url"), {"instance_url"}),
        ({"username": "integration@acme.example"}, {"login_url", "client_id", "private_key"}),
    ],
)
def test_what_is_missing_is_named_each_at_its_key(table, keys):
    found = wrong(**table)
    assert found.keys() == keys
    assert all("is missing: to sign in by" in message for message in found.values())


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ({**CREDENTIALS, "username": "a@b.example"}, {"username"}),
        ({**JWT, "client_secret": "env:SECRET"}, {"client_secret"}),
        ({**CREDENTIALS, **SESSION}, {"session_id", "instance_url"}),
        ({**SESSION, "client_id": "env:ID"}, {"client_id"}),
    ],
)
def test_what_is_too_much_is_named_each_at_its_key(table, keys):
    found = wrong(**table)
    assert found.keys() == keys
    assert all("is too much: to sign in by" in message for message in found.values())


@pytest.mark.parametrize("key", ["password", "security_token"])
def test_a_password_is_refused_with_the_reason_and_the_way_out(key):
    found = wrong(**CREDENTIALS, **{key: "hunter2"})
    assert found.keys() == {key}
    for part in ("SOAP login()", "Summer '27", "Summer '23", "External Client App", "client_secret", "private_key"):
        assert part in found[key]
    assert "hunter2" not in found[key]


def test_every_mistake_is_reported_at_once():
    found = wrong(password="x", username="a@b.example", timezone="Mars/Olympus", client_id="literal", frob=1)
    assert found.keys() == {"password", "login_url", "client_id", "private_key", "timezone", "frob"}
    assert "never the secret itself" in found["client_id"]


@pytest.mark.parametrize(
    ("table", "key"), [({"origin": "tasks"}, "origin"), ({"excepted": [{"Type": "x"}]}, "excepted")]
)
def test_a_key_has_one_name_in_a_file(table, key):
    raw = RawConfig({}, NOW)
    mistakes.read_model(raw, ("sources", "crm"), SalesforceConfig, {**BASE, **CREDENTIALS, "emails": table})
    assert {problem.path: problem.message for problem in raw.problems} == {f"sources.crm.emails.{key}": "unknown key"}


def test_syncd_says_them_all_and_reads_on():
    """As `syncd check` shows them: without values, and valid keys can be checked further."""
    reading = RawConfig({}, NOW)
    table = {**BASE, "login_url": "http://northmill.example", "client_id": "s3cret", "password": "hunter2"}
    config = mistakes.read_model(reading, ("sources", "crm"), SalesforceConfig, table)
    assert {problem.path for problem in reading.problems} == {
        f"sources.crm.{key}" for key in ("login_url", "client_id", "client_secret", "password")
    }
    assert (config.start, config.login_url) == (NOW, None)
    assert not [p for p in reading.problems if "hunter2" in f"{p}" or "s3cret" in f"{p}" or "northmill" in f"{p}"]


@pytest.mark.parametrize("key", ["login_url", "instance_url"])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://acme.my.salesforce.com", "expected https://"),
        ("http://127.0.0.1:8080", "expected https://"),
        ("acme.my.salesforce.com", "expected an address"),
        ("https://acme.my.salesforce.com/services", "without a path"),
        ("https://a:b@acme.my.salesforce.com", "without user name"),
        ("https://acme.my.salesforce.com?x=1", "without ?"),
        ("https://Acme.lightning.force.com", "expected https://acme.my.salesforce.com"),
        ("https://acme--uat.sandbox.lightning.force.com/", "expected https://acme--uat.sandbox.my.salesforce.com"),
        ("https://acme.my.salesforce-setup.com", "expected https://acme.my.salesforce.com"),
    ],
)
def test_an_address_that_is_not_the_orgs_is_refused(key, url, said):
    found = wrong(**{**(SESSION if key == "instance_url" else CREDENTIALS), key: url})
    assert found.keys() == {key}
    assert said in found[key]


@pytest.mark.parametrize("host", ["login", "test", "LOGIN"])
def test_client_credentials_need_the_my_domain(host):
    found = wrong(**{**CREDENTIALS, "login_url": f"https://{host}.salesforce.com/"})
    assert "My Domain" in found["login_url"]
    SalesforceConfig(**{**BASE, **JWT, "login_url": f"https://{host}.salesforce.com/"})


def test_addresses_are_trimmed():
    config = SalesforceConfig(**{**BASE, **CREDENTIALS, "login_url": " https://acme.my.salesforce.com/ "})
    assert config.login_url == "https://acme.my.salesforce.com"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_version", "66"),
        ("api_version", "v66.0"),
        ("api_version", "57.0"),
        ("api_version", "66.1"),
        ("api_version", 66.0),
        ("quota_reserve", 1),
        ("quota_reserve", -0.1),
        ("quota_reserve", float("nan")),
        ("timezone", ""),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("timezone", "Europe"),
        ("occurred_at_field", "Call Time"),
        ("occurred_at_field", "Id FROM User"),
        ("linkedin_field", "Owner.Name"),
        ("linkedin_field", "1st__c"),
        ("username", "two words"),
        ("timeout", "0s"),
        ("loginurl", "https://acme.my.salesforce.com"),
    ],
)
def test_what_is_wrong_is_refused_at_its_key(key, value):
    way = JWT if key == "username" else CREDENTIALS
    assert wrong(**{**way, key: value}).keys() == {key}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_version", "58.0"),
        ("api_version", "100.0"),
        ("quota_reserve", 0),
        ("timezone", "America/New_York"),
        ("occurred_at_field", "Call_Time__c"),
        ("linkedin_field", "acme__LinkedIn__c"),
    ],
)
def test_what_is_right_is_taken(key, value):
    assert getattr(SalesforceConfig(**BASE, **CREDENTIALS, **{key: value}), key) == value


def test_a_secret_is_shown_nowhere_even_when_it_can_be_read(monkeypatch):
    monkeypatch.setitem(os.environ, "SECRET", "s3cret-s3cret")
    config = SalesforceConfig(**BASE, **CREDENTIALS)
    assert config.client_secret.read() == "s3cret-s3cret"
    assert "s3cret" not in f"{config!r} {config} {config.model_dump_json()}"
