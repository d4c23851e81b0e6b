"""Sign in to Salesforce: requests, sessions, and the effect of each of OAuth's refusals."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.retry import Attempt
from connectors.salesforce.signin import (
    JWT_BEARER,
    Session,
    TokenRequest,
    audience,
    configured,
    interpret,
    token_request,
)
from syncd.errors import Malformed, Unauthorized, Unavailable
from syncd.http.response import Failure, Response, TransportError
from syncd.privacy.redaction import redact

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ATTEMPT = Attempt(1, NOW, version="66.0")
URL = "https://acme.my.salesforce.com"
TOKEN = "00DDn0000000001!AQ.canary-token"
GOOD = {
    "access_token": TOKEN,
    "instance_url": "https://acme.my.salesforce.com",
    "id": "https://login.salesforce.com/id/00DDn0000000001MAA/0055g00000AbCdEAAV",
}
CANARIES = ("canary", "ada@northmill.example", "jane@acme.example")
PRIVATE = rsa.generate_private_key(65537, 2048)


def pem(key: Any, *, passphrase: bytes | None = None) -> str:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


@pytest.fixture(autouse=True)
def _secrets(monkeypatch):
    monkeypatch.setenv("SF_ID", "the-canary-key")
    monkeypatch.setenv("SF_SECRET", "the-canary-secret")
    monkeypatch.setenv("SF_KEY", pem(PRIVATE))


def config(**changes: Any) -> SalesforceConfig:
    table = {"connector": "salesforce", "start": NOW, "login_url": URL, "client_id": "env:SF_ID"}
    return SalesforceConfig(**{**table, **(changes or {"client_secret": "env:SF_SECRET"})})


def jwt_config(url: str = URL) -> SalesforceConfig:
    return config(login_url=url, username="jane@acme.example", private_key="env:SF_KEY")


def answer(status: int, body: Any = "", **headers: str) -> Response:
    return Response(status, headers, (body if isinstance(body, str) else json.dumps(body)).encode())


def refusal(error: str, description: str, *, status: int = 400, by_jwt: bool = False, **headers: str) -> Failure:
    asked = TokenRequest(URL, {}, NOW if by_jwt else None)
    body = {"error": error, "error_description": description}
    found = interpret(jwt_config() if by_jwt else config(), asked, answer(status, body, **headers), ATTEMPT)
    assert isinstance(found, Failure)
    return found


def test_client_credentials_are_asked_for_with_the_secrets_of_this_moment(monkeypatch):
    assert token_request(config(), NOW).form["client_secret"] == "the-canary-secret"
    monkeypatch.setenv("SF_SECRET", "rotated-canary")
    asked = token_request(config(), NOW)
    assert asked.url == f"{URL}/services/oauth2/token"
    assert asked.form == {
        "grant_type": "client_credentials",
        "client_id": "the-canary-key",
        "client_secret": "rotated-canary",
    }
    assert "canary" not in repr(asked)
    assert "canary" not in redact("rotated-canary")


@pytest.mark.parametrize("one_line", [False, True])
def test_an_assertion_names_app_user_and_audience_and_is_signed(monkeypatch, one_line):
    """A key in one line, with \\n for its line breaks, as environment files have it, is one too."""
    if one_line:
        monkeypatch.setenv("SF_KEY", pem(PRIVATE).replace("\n", "\\n"))
    asked = token_request(jwt_config(), NOW)
    assert asked.form["grant_type"] == JWT_BEARER
    claims = jwt.decode(
        asked.form["assertion"],
        PRIVATE.public_key(),
        algorithms=["RS256"],
        audience="https://login.salesforce.com",
        options={"verify_exp": False},
    )
    assert (claims["iss"], claims["sub"]) == ("the-canary-key", "jane@acme.example")
    assert claims["exp"] == (NOW + timedelta(minutes=3)).timestamp()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acme.my.salesforce.com", "login"),
        ("https://login.salesforce.com", "login"),
        ("https://test.salesforce.com", "test"),
        ("https://acme--uat.sandbox.my.salesforce.com", "test"),
        ("https://sandbox-films.my.salesforce.com", "login"),
        ("https://127.0.0.1:8443", "login"),
    ],
)
def test_a_sandbox_has_an_audience_of_its_own(url, expected):
    assert audience(url) == f"https://{expected}.salesforce.com"


@pytest.mark.parametrize(
    "key",
    [
        "no PEM at all, canary",
        pem(PRIVATE)[:400],
        pem(PRIVATE, passphrase=b"canary"),
        pem(ec.generate_private_key(ec.SECP256R1())),
        "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----",
    ],
    ids=["prose", "cut", "passphrase", "elliptic", "certificate"],
)
def test_a_private_key_that_cannot_sign_is_explained(monkeypatch, key):
    monkeypatch.setenv("SF_KEY", key)
    with pytest.raises(Unauthorized, match="env:SF_KEY") as raised:
        token_request(jwt_config(), NOW)
    assert "expected the whole PEM text, -----BEGIN to END-----, of an RSA key" in raised.value.hint
    assert "canary" not in f"{raised.value!r} {raised.value.hint} {raised.value.__cause__}"


def test_a_secret_that_is_not_there_is_named(monkeypatch):
    monkeypatch.delenv("SF_SECRET")
    with pytest.raises(Unauthorized, match="client_secret.*SF_SECRET") as raised:
        token_request(config(), NOW)
    assert raised.value.hint == "put it where client_secret points, env:SF_SECRET"
    monkeypatch.setenv("SF_ID", "two\nlines")
    with pytest.raises(Unauthorized, match="client_id"):
        token_request(config(), NOW)


def test_a_configured_session_tells_its_org(monkeypatch):
    monkeypatch.setenv("SF_SESSION", TOKEN)
    table = {"connector": "salesforce", "start": NOW, "session_id": "env:SF_SESSION", "instance_url": URL}
    assert configured(SalesforceConfig(**table)) == Session(TOKEN, URL, "00DDn0000000001")
    assert configured(config()) is None
    for written in ("00DDn0000000001", "canary!x", "00DDn00!canary"):
        monkeypatch.setenv("SF_SESSION", written)
        with pytest.raises(Unauthorized, match="env:SF_SESSION") as raised:
            configured(SalesforceConfig(**table))
        assert "canary" not in f"{raised.value!r}{raised.value.hint}"
        assert raised.value.hint == "it begins with the org's id and a !, as in 00D…!…: copy it completely"


def test_a_token_is_a_session_and_its_key_is_shown_nowhere():
    session = interpret(config(), TokenRequest(URL, {}), answer(200, GOOD), ATTEMPT)
    assert session == Session(TOKEN, URL, "00DDn0000000001", "0055g00000AbCdEAAV")
    assert "canary" not in f"{session!r} {redact(f'log of {TOKEN}')}"


@pytest.mark.parametrize(
    ("changes", "org_id", "user_id"),
    [
        (
            {"id": "https://test.salesforce.com/id/00DDn0000000001/0055g00000AbCdE"},
            "00DDn0000000001",
            "0055g00000AbCdE",
        ),
        ({"id": "odd"}, "00DDn0000000001", None),
        ({"id": None}, "00DDn0000000001", None),
        ({"access_token": "eyJ.canary.jwt"}, "00DDn0000000001", "0055g00000AbCdEAAV"),
        ({"instance_url": f"{URL}/"}, "00DDn0000000001", "0055g00000AbCdEAAV"),
    ],
)
def test_the_org_is_told_by_the_identity_or_by_the_token(changes, org_id, user_id):
    session = interpret(config(), TokenRequest(URL, {}), answer(200, {**GOOD, **changes}), ATTEMPT)
    assert (session.org_id, session.user_id, session.instance_url) == (org_id, user_id, URL)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[]",
        "null",
        {},
        {**GOOD, "access_token": ""},
        {**GOOD, "access_token": "a\nb"},
        {**GOOD, "instance_url": "http://acme.my.salesforce.com"},
        {**GOOD, "instance_url": "https://a b"},
        {**GOOD, "access_token": "eyJ.canary", "id": "odd"},
    ],
)
def test_an_answer_that_is_no_session_is_tried_again(body):
    found = interpret(config(), TokenRequest(URL, {}), answer(200, body), ATTEMPT)
    assert isinstance(found, Failure)
    assert isinstance(found.error, Malformed)
    assert found.wait_s == 0.5


@pytest.mark.parametrize(
    ("error", "description", "said"),
    [
        (
            "invalid_grant",
            "request not supported on this domain",
            "login_url must be the org's own My Domain, e.g. https://acme.my.salesforce.com",
        ),
        (
            "invalid_grant",
            "no client credentials user enabled",
            "enable the client credentials flow, and choose the user to run as",
        ),
        ("invalid_grant", "user hasn't approved this consumer", "let the app admit admin-approved users, and"),
        ("invalid_app_access", "user is not admin approved to access this app", "admin-approved"),
        ("invalid_grant", "audience is invalid", "a sandbox's has .sandbox. in it, or is test.salesforce.com"),
        ("invalid_grant", "invalid assertion", "upload the certificate that belongs to private_key"),
        ("invalid_grant", "expired authorization code", "check this machine's clock: an assertion lives for three"),
        ("invalid_grant", "expired access/refresh token", "clock"),
        ("invalid_grant", "ip restricted or invalid login hours", "admit this machine's address: the user's profile"),
        ("inactive_user", "user is inactive", "activate the integration user, or let another one sign in"),
        ("invalid_grant", "inactive user", "activate"),
        ("inactive_org", "organization is inactive", "the org is locked, closed or in maintenance"),
        ("invalid_client_id", "client identifier invalid", "is not the consumer key of an app of this org"),
        ("invalid_client", "invalid client credentials", "client_secret is not the app's: copy it again"),
        ("unsupported_grant_type", "grant type not supported", "enable the flow in the app's OAuth settings"),
        ("invalid_grant", "authentication failure", "in Salesforce's Setup, Login History says why"),
        (
            "invalid_grant",
            "user identity not known",
            "in Salesforce's Setup, check that username names an active user of",
        ),
        (
            "invalid_scope",
            "the requested scope is not allowed",
            "External Client App Manager: give the app the scope api",
        ),
        ("app_not_found", "External client app is not installed in this org", "Usage: install or unblock the app"),
        ("OAUTH_APP_BLOCKED", "this app is blocked by admin", "Connected Apps OAuth Usage"),
        ("invalid_request", "ada@northmill.example canary", "Login History"),
        ("<canary>", "canary", "Login History"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_each_refusal_says_what_to_do_and_is_not_tried_again(status, error, description, said):
    found = refusal(error, description, status=status)
    assert isinstance(found.error, Unauthorized)
    assert (found.wait_s, found.pause_s) == (None, None)
    assert said in found.error.hint
    text = f"{found.error!r} {found.error.hint}"
    assert "client credentials" in found.error.message
    assert not [canary for canary in CANARIES if canary in text]


@pytest.mark.parametrize("minutes", [-90, -2, 2, 90])
def test_a_wrong_clock_is_made_up_for_once_and_named(minutes):
    served = NOW + timedelta(minutes=minutes)
    found = refusal("invalid_grant", "invalid assertion", by_jwt=True, date=format_datetime(served, usegmt=True))
    assert found.wait_s == 0
    ahead = f"{abs(minutes) * 60} s {'slow' if minutes > 0 else 'fast'}"
    assert found.error.hint == f"this machine's clock is {ahead}: set it"
    right = refusal("invalid_grant", "invalid assertion", by_jwt=True, date=format_datetime(NOW, usegmt=True))
    assert (right.wait_s, "certificate" in right.error.hint) == (None, True)


@pytest.mark.parametrize(("error", "text"), [("rate_limit_exceeded", ""), ("invalid_grant", "login rate exceeded")])
def test_too_many_logins_are_a_pause_and_no_refusal(error, text):
    found = refusal(error, text)
    assert isinstance(found.error, Unavailable)
    assert found.pause_s == 3600
    assert "Setup > Login History which program signs in all the time" in found.error.hint


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, ""), (503, "<html>"), (400, "<html>"), (406, ""), (420, ""), (429, "{}"), (400, {"error": "server_error"})],
)
def test_what_passes_is_tried_again(status, body):
    found = interpret(config(), TokenRequest(URL, {}), answer(status, body), ATTEMPT)
    assert isinstance(found.error, Unavailable)
    assert found.wait_s == 0.5
    told = interpret(config(), TokenRequest(URL, {}), answer(status, body, **{"retry-after": "90"}), ATTEMPT)
    assert told.pause_s == 90


def test_a_wrong_host_and_a_lost_answer_are_told_apart():
    gone = interpret(config(), TokenRequest(URL, {}), answer(404, "<html>"), ATTEMPT)
    assert gone.error.hint == "login_url is not Salesforce's: expected the org's My Domain"
    moved = interpret(config(), TokenRequest(URL, {}), answer(302, ""), ATTEMPT)
    assert moved.wait_s is None
    assert moved.error.hint == "login_url is not the org's own address: expected its My Domain"
    none = interpret(config(), TokenRequest(URL, {}), TransportError("no connection", hint="x"), ATTEMPT)
    assert (none.wait_s, str(none.error)) == (0.5, "Salesforce, sign-in: no connection")
