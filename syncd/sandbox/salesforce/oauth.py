"""The token endpoint: verified client credentials and JWT bearer. Other grants are refused."""

import base64
import binascii
from typing import Any
from urllib.parse import parse_qs

import jwt

from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.standin.server import Request, Response

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
MAX_ASSERTION_S = 300  # an assertion is valid for at most five minutes of the server's clock
SKEW_S = 30  # believed: a clock may be this much ahead
SCHEME = "Bearer"


class Denied(Exception):
    """An OAuth error, with its name, description and status."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.status = error, status


def token(org: Org, request: Request) -> Response:
    """Respond to one token request, without expires_in, as in the recorded body."""
    form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
    try:
        if request.method != "POST":
            raise Denied("invalid_request", "must use HTTP POST")
        grant = form.get("grant_type")
        if grant == "client_credentials":
            _check_client(org, request, form)
        elif grant == JWT_BEARER:
            _check_assertion(org, request, form.get("assertion", ""))
        elif grant == "password":
            raise Denied("invalid_grant", "authentication failure")
        else:
            raise Denied("unsupported_grant_type", "grant type not supported")
    except Denied as denied:
        return Response(denied.status, {"error": denied.error, "error_description": str(denied)})
    return Response(200, _session(org, request))


def origin(request: Request) -> str:
    """Return this server's origin, as the client addressed it."""
    return f"https://{request.headers.get('Host', 'localhost')}"


def userinfo(org: Org, request: Request) -> dict[str, Any]:
    """Return the user of the session."""
    user = org.tables["User"].rows[org.acting_user].values
    names = {"name": user["Name"], "given_name": user["FirstName"], "family_name": user["LastName"]}
    return {
        "sub": f"{LOGIN_HOSTS[0]}/id/{org.org_id}/{org.acting_user}", "user_id": org.acting_user,
        "organization_id": org.org_id, "preferred_username": org.username, "email": user["Email"], **names,
        "active": user["IsActive"], "user_type": "STANDARD",
        "urls": {"rest": f"{origin(request)}/services/data/v{{version}}/"},
    }  # fmt: skip


def _session(org: Org, request: Request) -> dict[str, str]:
    now = org.clock.ms()
    return {
        "access_token": org.sessions.open(org.org_id, now), "signature": "SANDBOX", "scope": "api",
        "instance_url": origin(request), "id": f"{LOGIN_HOSTS[0]}/id/{org.org_id}/{org.acting_user}",
        "token_type": SCHEME, "issued_at": str(now),
    }  # fmt: skip


def _check_client(org: Org, request: Request, form: dict[str, str]) -> None:
    if org.login_host_is_generic:
        raise Denied("invalid_grant", "request not supported on this domain")
    client_id, secret = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
    if client_id != org.client_id:
        raise Denied("invalid_client_id", "client identifier invalid")
    if secret != org.client_secret:
        raise Denied("invalid_client", "invalid client credentials", 401)


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Denied("invalid_client", "invalid client credentials", 401) from None
    return name, secret


def _check_assertion(org: Org, request: Request, assertion: str) -> None:
    """Verify a JWT: its RS256 signature by the app's key, user, audience and short lifetime."""
    try:
        claims = jwt.decode(
            assertion, org.public_key, algorithms=["RS256"],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )  # fmt: skip
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Denied("invalid_grant", "invalid assertion") from None
    if claims.get("iss") != org.client_id:
        raise Denied("invalid_client_id", "client identifier invalid")
    if str(claims.get("aud", "")).rstrip("/") not in (*LOGIN_HOSTS, origin(request)):
        raise Denied("invalid_grant", "audience is invalid")
    now, expires = org.clock.ms() / 1000, claims.get("exp")
    if not isinstance(expires, int | float) or expires > now + MAX_ASSERTION_S + SKEW_S:
        raise Denied("invalid_grant", "invalid assertion")
    if expires <= now:
        raise Denied("invalid_grant", "expired authorization code")
    if claims.get("sub") != org.username:
        raise Denied("invalid_grant", "user hasn't approved this consumer")
