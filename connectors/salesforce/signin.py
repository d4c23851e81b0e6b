"""Build the sign-in request to Salesforce, and interpret its answer. Pure except for reading secrets.

simple-salesforce can sign in too, but without a deadline, only to *.salesforce.com, and with misleading messages. So
the token request is our own (Salesforce's OAuth 2.0: client credentials, or a JWT signed with a private key).
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from connectors.salesforce.config import MY_DOMAIN, SHARED_HOSTS, SalesforceConfig
from connectors.salesforce.retry import (
    HOUR_S,
    LIMIT_EXCEEDED,
    Attempt,
    Error,
    Request,
    elsewhere,
    limit,
    lost,
    outage,
    parse_error,
    unreadable,
)
from syncd.errors import Unauthorized, Unavailable
from syncd.fields import dig, parse_text
from syncd.http import bodies
from syncd.http.response import Failure, Response, TransportError, served_at
from syncd.privacy import register_secret
from syncd.types import urls
from syncd.types.secrets import Secret

NAME = "sign-in"  # in messages
PATH = "/services/oauth2/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFE = timedelta(minutes=3)  # of an assertion; Salesforce takes 5 at most
SKEW_S = 60  # if a clock is wrong by more, it is corrected before a refusal is believed
ORG_ID = re.compile(r"00D[A-Za-z0-9]{12}")
USER_ID = re.compile(r"005[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?")
SETUP = "in Salesforce's Setup"
APP = f"{SETUP}, External Client App Manager"


@dataclass(frozen=True, slots=True)
class Session:
    """Hold the session of one org, valid until Salesforce says that it has expired."""

    id: str = field(repr=False)
    instance_url: str  # https://host, without a slash at its end
    org_id: str  # 15 characters: what an id of 18 begins with
    user_id: str | None = None  # None where the session was configured


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Hold one request for a session."""

    url: str
    form: dict[str, str] = field(repr=False)
    signed_at: datetime | None = None  # by our clock; None: the request is not signed


def configured(config: SalesforceConfig) -> Session | None:
    """Return the configured session. None if one must be requested. Unauthorized if it is invalid."""
    if config.session_id is None:
        return None
    session_id = read(config.session_id, "session_id")
    found = ORG_ID.match(session_id)
    if found is None or "!" not in session_id:
        raise Unauthorized(
            f"Salesforce's session_id ({config.session_id}) is invalid",
            hint="it begins with the org's id and a !, as in 00D…!…: copy it completely",
        )
    return Session(session_id, config.instance_url, found[0])


def token_request(config: SalesforceConfig, now: datetime) -> TokenRequest:
    """Return the token request, with the current secrets. Unauthorized if one is missing or invalid."""
    url = config.login_url + PATH
    client_id = read(config.client_id, "client_id")
    if config.private_key is None:
        secret = read(config.client_secret, "client_secret")
        return TokenRequest(url, {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret})
    claims = {"iss": client_id, "sub": config.username, "aud": audience(config.login_url), "exp": now + LIFE}
    return TokenRequest(url, {"grant_type": JWT_BEARER, "assertion": _signed(claims, config.private_key)}, now)


def audience(login_url: str) -> str:
    """Return an assertion's audience. All sandboxes share one, all other orgs another (OAuth JWT flow)."""
    host = urlsplit(login_url).hostname or ""
    production, test = SHARED_HOSTS
    return f"https://{test if host == test or '.sandbox.' in host else production}"


def read(secret: Secret | None, key: str) -> str:
    """Return the one-line secret under `key`. Unauthorized if it cannot be read."""
    assert secret is not None  # the configuration has seen to it
    try:
        return secret.read_line()
    except ValueError as error:
        raise Unauthorized(f"Salesforce's {key}: {error}", hint=f"put it where {key} points, {secret}") from None


def _signed(claims: dict[str, Any], private_key: Secret) -> str:
    import jwt  # with cryptography 40 ms: not before it is needed

    try:
        # Environment files and secret stores often keep a PEM in one line.
        return jwt.encode(claims, private_key.read().replace("\\n", "\n"), algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):  # TypeError: the key itself wants a password
        raise Unauthorized(
            f"Salesforce's private_key ({private_key}) cannot be read, or is not an RSA key",
            hint="expected the whole PEM text, -----BEGIN to END-----, of an RSA key without a passphrase",
        ) from None


def interpret(
    config: SalesforceConfig, asked: TokenRequest, answer: Response | TransportError, attempt: Attempt
) -> Session | Failure:
    """Return the session, otherwise the failure. The session's key is hidden from all logs from then on."""
    if isinstance(answer, TransportError):
        return lost(NAME, answer, attempt)
    if 200 <= answer.status < 300:
        return _session(answer, attempt)
    if 300 <= answer.status < 400:
        return elsewhere(NAME, answer, "login_url")
    error = parse_error(answer.body)
    if error is not None and error.code == LIMIT_EXCEEDED:
        return limit(Request(NAME), answer, error, attempt)
    if answer.status in (400, 401, 403) and error is not None and error.code not in _PASSING:
        return _refused(config, asked, answer, error)
    if answer.status == 404:
        message = f"Salesforce, {NAME}: no such address (404)"
        return Failure(Unavailable(message, hint="login_url is not Salesforce's: expected the org's My Domain"))
    return outage(NAME, answer, attempt, code=error.code if error else "")


def _session(answer: Response, attempt: Attempt) -> Session | Failure:
    try:
        content = bodies.parse(answer.body)
    except bodies.NotJson as error:
        return unreadable(NAME, answer, attempt, why=error)
    token, instance_url, identity = (
        parse_text(dig(content, name)) or "" for name in ("access_token", "instance_url", "id")
    )
    register_secret(token)
    # …/id/<org>/<user>; a token begins with the org's id too, unless it is a JWT
    *_, org, user = ("", "", *identity.rsplit("/", 2))
    org_id = ORG_ID.match(org) or ORG_ID.match(token)
    is_token = re.fullmatch(r"[!-~]{1,16384}", token)  # nothing that breaks a header
    address = _address(instance_url)
    if not (is_token and address and org_id):
        return unreadable(NAME, answer, attempt)
    return Session(token, address, org_id[0], user if USER_ID.fullmatch(user) else None)


def _address(instance_url: str) -> str:
    """Return an org's address, normalized. "" if it is invalid or not https."""
    try:
        address = urls.checked(instance_url)
    except ValueError:
        return ""
    return address if address.startswith("https://") else ""


def _refused(config: SalesforceConfig, asked: TokenRequest, answer: Response, error: Error) -> Failure:
    """Explain OAuth's refusal. If our clock was wrong, the assertion is signed again by Salesforce's clock."""
    what = f"{answer.status}, {error.code}" if error.code else f"{answer.status}"
    said = f"{error.code} {error.text}".lower()
    if "rate_limit_exceeded" in said or "rate exceeded" in said:
        message = f"Salesforce, {NAME}: too many logins of this user within an hour ({what})"
        hint = "find out in Setup > Login History which program signs in all the time. syncd tries again in an hour"
        return Failure(Unavailable(message, hint=hint), pause_s=HOUR_S)
    served = served_at(answer.headers)
    ahead_s = (served - asked.signed_at).total_seconds() if served and asked.signed_at else 0.0
    skewed = abs(ahead_s) > SKEW_S and error.code == "invalid_grant"
    if skewed:
        hint = f"this machine's clock is {abs(ahead_s):.0f} s {'slow' if ahead_s > 0 else 'fast'}: set it"
    else:
        hint = next(
            (hint for part, hint in _HINTS.items() if re.search(part, said)), f"{SETUP}, Login History says why"
        )
    way = "JWT bearer" if config.private_key else "client credentials"
    refusal = Unauthorized(f"Salesforce refuses to sign in by {way} ({what})", hint=hint)
    return Failure(refusal, wait_s=0.0 if skewed else None)


_PASSING = frozenset({"server_error", "temporarily_unavailable", "SERVER_UNAVAILABLE", "UNKNOWN_EXCEPTION"})
_INSTALL = (
    f"{SETUP}, Connected Apps OAuth Usage: install or unblock the app (one that is not installed is blocked since "
    "September 2025), or make an External Client App in this org"
)
_ADMIT = (
    f"{APP}: let the app admit admin-approved users, and give it the user's profile or permission set. "
    "For JWT bearer its scopes are api and refresh_token"
)
_FLOW = f"{APP}: enable the flow in the app's OAuth settings. It takes some minutes"
_KEY = "client_id is not the consumer key of an app of this org, or the app is younger than ten minutes: copy it again"

# A part of OAuth's error and its description, and what to do about it; the first that fits. Salesforce documents
# the errors; the descriptions are those that users quote.
_HINTS = {
    "not supported on this domain|login with client credentials": (
        f"login_url must be the org's own My Domain, e.g. {MY_DOMAIN}"
    ),
    "no client credentials user": f"{APP}: enable the client credentials flow, and choose the user to run as",
    "approved (this )?consumer|admin approved|invalid_app_access": _ADMIT,
    "app_not_found|not installed|blocked|oauth_app_|oauth_approval": _INSTALL,
    "audience": "login_url is of the wrong kind: a sandbox's has .sandbox. in it, or is test.salesforce.com",
    "inactive[ _]user|user is inactive": "activate the integration user, or let another one sign in",
    "inactive[ _]org": "the org is locked, closed or in maintenance: see whether its admin can log in",
    r"\bip\b": "admit this machine's address: the user's profile, or the app's IP relaxation",
    "invalid_client_id|client identifier": _KEY,
    "invalid_client": "client_secret is not the app's: copy it again",
    "unsupported_grant_type|unauthorized_client|not enabled|grant type": _FLOW,
    "scope": f"{APP}: give the app the scope api",
    "expired": "check this machine's clock: an assertion lives for three minutes",
    "assertion": f"{APP}: upload the certificate that belongs to private_key",
    "user": f"{SETUP}, check that username names an active user of this org",
}
