"""Decide whether to use, retry or give up an answer of HubSpot's. Pure.

answer ──► content    2xx with the expected JSON
       └─► Failure    wait and retry · give up for this pass · pause for longer

Messages name the endpoint, the status and HubSpot's category. They never hold an id, a value, a token or HubSpot's own
text, which may quote the request.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from syncd.errors import Malformed, SyncdError, Unauthorized, Unavailable
from syncd.http import bodies
from syncd.http.response import (
    PAUSE_S,
    TRIES,
    Failure,
    Response,
    TransportError,
    backoff_s,
    honor_retry_after,
    retry_after,
)

RETRY_AFTER_MAX_S = 120  # of a 429 or 5xx; larger values were milliseconds or mistakes (HubSpot forum, Airbyte)
MIGRATION_MAX_S = 86_400  # 477: typically up to a day (HubSpot error handling page)
SCOPES_MOST = 20  # that a message names
HOUR_S = 3_600  # a daily limit in a portal of unknown time zone
# Permanent errors in a 207: there is no such item (recorded), or its id is invalid
ABSENT = frozenset({"OBJECT_NOT_FOUND", "VALIDATION_ERROR"})
UNASSOCIATED = "NO_ASSOCIATIONS_FOUND"
STATUS_PAGE = "https://status.hubspot.com"
# HubSpot does not say who used up a limit.
SHARED = "everything that uses the portal shares it: this syncd, other syncds and other integrations"
CHANGED = "a proxy may have changed the answer, or HubSpot its API: upgrade syncd, or report this"

Shape = Literal["results", "list", "object"]


@dataclass(frozen=True, slots=True)
class Request:
    """Describe a request, for the rate limits and messages."""

    name: str  # e.g. calls search, for messages
    expects: Shape = "results"
    scope: str = ""  # that it needs, if HubSpot's refusal names none
    search: bool = False  # the per-second limit applies
    exempt: bool = False  # outside the ten-second limit: search and associations (HubSpot's spec, 2026-03)
    batch: bool = False  # answered item by item: a 207 says which failed, and why
    divisible: bool = False  # of several inputs: a time-out is not tried again, because fewer may get through
    isolates: bool = False  # of a failed request's inputs: tried once
    tolerated: frozenset[int] = frozenset()  # refusals that are not errors
    optional: bool = False  # not essential: tried once, and its outage causes no pause


class QueryRefused(Unavailable):
    """Report that HubSpot rejects the query or one id in it (400, VALIDATION_ERROR)."""


class Unserved(Unavailable):
    """Report that HubSpot failed to answer, or answered in part. It may answer a smaller request."""


# Fewer inputs or rows may get through: also if the answer is cut or garbage.
TOO_MUCH: tuple[type[Unavailable], ...] = (Unserved, Malformed)
TIMED_OUT = frozenset({408, 504})


@dataclass(frozen=True, slots=True)
class Attempt:
    """Hold the circumstances of an answer."""

    number: int  # from 1
    now: datetime  # aware UTC, HubSpot's clock
    zone: str | None = None  # the portal's time zone, if known
    jitter: float = 0.0  # from 0 up to 1
    version: str = ""  # of the API, for messages
    token: str = ""  # the reference to the token, never the token


def interpret(request: Request, answer: Response | TransportError, attempt: Attempt) -> Any | Failure:
    """Return the content of a good answer, otherwise the failure."""
    if isinstance(answer, TransportError):
        kind = Malformed if answer.malformed else Unserved if answer.retryable else Unavailable
        lost = kind(f"HubSpot, {request.name}: {answer}", hint=answer.hint)
        return Failure(lost, wait_s=backoff_s(attempt.number, attempt.jitter) if answer.retryable else None)
    if 200 <= answer.status < 300:  # 207 is the normal answer of a batch in which something was not found
        return _content(request, answer, attempt)
    error = parse_error(answer.body)
    if answer.status == 429:
        return _too_many(request, answer, error, attempt)
    rule = _RULES.get(answer.status)
    if rule is not None:
        return rule(request, answer, error, attempt)
    return (
        _outage(request, answer, error, attempt) if answer.status >= 500 else _refused(request, answer, error, attempt)
    )


def parse_error(body: bytes) -> Mapping[str, Any] | None:
    """Return HubSpot's error object, all fields of which are optional. None if it is not HubSpot's JSON."""
    try:
        found = bodies.parse(body)
    except bodies.NotJson:
        return None
    return found if isinstance(found, dict) else None


def _content(request: Request, answer: Response, attempt: Attempt) -> Any | Failure:
    try:
        content = bodies.parse(answer.body)
    except bodies.NotJson as error:
        return Failure(
            Malformed(
                f"HubSpot, {request.name}: the answer ({answer.status}) {error}",
                hint=f"HubSpot may be in maintenance (see {STATUS_PAGE}), or a proxy may have answered",
            ),
            wait_s=backoff_s(attempt.number, attempt.jitter),
        )
    if request.expects == "list":
        good = isinstance(content, list)
    else:
        good = isinstance(content, dict)
        if good and request.expects == "results":
            rows = content.get("results")
            good = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if good:
        return _partial(request, answer, content, attempt) or content
    return Failure(
        Malformed(
            f"HubSpot, {request.name}: the answer ({answer.status}) has another shape than documented",
            hint=CHANGED,
        ),
        wait_s=backoff_s(attempt.number, attempt.jitter),
    )


def _partial(request: Request, answer: Response, content: Any, attempt: Attempt) -> Failure | None:
    """Return the failure of a 207 that lacks items for a temporary reason. None if it is complete.

    Such items exist. If they counted as absent, an activity would be sent without its people, for good.
    """
    if not request.batch:
        return None
    errors = content.get("errors") or []
    entries = errors if isinstance(errors, list) else [errors]
    passing = [entry for entry in entries if not _is_permanent(entry)]
    if not passing and (entries or not content.get("numErrors")):
        return None
    category = next(filter(None, (_category(entry) for entry in passing if isinstance(entry, dict))), "")
    error = _unserved(answer)(
        f"HubSpot answered only a part: {request.name} ({answer.status}{f', {category}' if category else ''})",
        hint=f"nothing to do if it passes. See {STATUS_PAGE}",
    )
    return _later(error, answer, attempt, default_s=backoff_s(attempt.number, attempt.jitter))


def _is_permanent(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    return _category(entry) in ABSENT or str(entry.get("subCategory")).endswith(UNASSOCIATED)


def _too_many(request: Request, answer: Response, error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    """Distinguish the three limits. A search's 429 has no policyName (recorded), so its message counts too."""
    said = f"{(error or {}).get('policyName')} {(error or {}).get('message')}".lower()
    if "daily" in said:
        return Failure(
            Unavailable(
                f"HubSpot, {request.name}: the portal's daily limit of API calls is used up",
                hint=f"it starts again at midnight in the portal's time zone, and {SHARED}",
            ),
            pause_s=until_midnight(attempt.now, attempt.zone),
        )
    if "secondly" in said and "ten_secondly" not in said:
        default_s, which = 1.0 * min(attempt.number, TRIES), "per-second limit of searches"
    elif "secondly" in said or not request.search:
        default_s, which = 10.0, "ten-second limit"
    else:
        default_s, which = 1.0 * min(attempt.number, TRIES), "limit of searches"
    return _later(
        Unavailable(
            f"HubSpot, {request.name}: the {which} was reached (429)",
            hint=f"{SHARED}. If this persists, lower search_per_second of each syncd that reads this portal",
        ),
        answer,
        attempt,
        default_s=default_s + attempt.jitter,
        limited=True,
    )


def _outage(request: Request, answer: Response, _error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    return _later(
        _unserved(answer)(f"HubSpot, {request.name}: answered {answer.status}", hint=f"see {STATUS_PAGE}"),
        answer,
        attempt,
        default_s=backoff_s(attempt.number, attempt.jitter),
    )


def _unserved(answer: Response) -> type[Unavailable]:
    """Return the type of an error. One with Retry-After concerns all requests, not the size of this one."""
    return Unavailable if "retry-after" in answer.headers else Unserved


def timed_out(answer: Response | TransportError) -> bool:
    """Tell whether a time passed, our deadline or HubSpot's. So the request may have asked for too much."""
    return answer.timed_out if isinstance(answer, TransportError) else answer.status in TIMED_OUT


def _locked(request: Request, answer: Response, _error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    error = Unavailable(
        f"HubSpot, {request.name}: locked (423)", hint="nothing to do: HubSpot is working on the portal"
    )
    return _later(error, answer, attempt, default_s=2.0)


def _migrating(request: Request, answer: Response, _error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    wait_s = min(retry_after(answer.headers, now=attempt.now) or 0.0, MIGRATION_MAX_S)
    error = Unavailable(
        f"HubSpot, {request.name}: the portal is being moved to another data centre (477)",
        hint="nothing to do: syncd continues when HubSpot is done",
    )
    if wait_s >= PAUSE_S:
        return Failure(error, pause_s=wait_s)
    return Failure(error, wait_s=wait_s or backoff_s(attempt.number, attempt.jitter))


def _unauthorized(request: Request, _answer: Response, error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    expired = (error or {}).get("category") == "EXPIRED_AUTHENTICATION"
    return Failure(
        Unauthorized(
            f"HubSpot, {request.name}: the access token {'has expired' if expired else 'was refused'} (401)",
            hint="make a new key in HubSpot under Development > Keys > Service keys (or rotate the private app's "
            f"token) and put it where access_token points, {attempt.token}",
        ),
        refusal=True,
    )


def _malformed_token(
    request: Request, _answer: Response, _error: Mapping[str, Any] | None, attempt: Attempt
) -> Failure:
    return Failure(
        Unauthorized(
            f"HubSpot, {request.name}: the access token is malformed (530)",
            hint=f"copy it completely, without quotes, to {attempt.token} (access_token). It begins with pat-",
        )
    )


def _forbidden(request: Request, answer: Response, error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    if error is None:  # HubSpot refuses in JSON: this is from a proxy or a firewall
        return Failure(
            Unavailable(
                f"HubSpot, {request.name}: answered {answer.status} without HubSpot's JSON",
                hint="a proxy or a firewall may have refused it: let requests to base_url pass",
            ),
            wait_s=backoff_s(attempt.number, attempt.jitter),
        )
    if "USER_DOES_NOT_HAVE_PERMISSIONS" in answer.body.decode("utf-8", "replace"):
        return Failure(
            Unauthorized(
                f"HubSpot, {request.name}: the token's creator may not do this any more (403)",
                hint="a private app's token loses its rights when its creator leaves or is no longer a super admin: "
                "make a service key, or have a super admin rotate the token",
            ),
            refusal=True,
        )
    scopes = missing_scopes(error) or ([request.scope] if request.scope else [])
    named = " or ".join(scopes) if scopes else "HubSpot does not say which"
    return Failure(
        Unauthorized(
            f"HubSpot, {request.name}: the token lacks a scope (403): {named}",
            hint="add it to the service key or private app in HubSpot, then rotate or reinstall if asked",
        ),
        refusal=True,
    )


def _not_found(request: Request, answer: Response, error: Mapping[str, Any] | None, attempt: Attempt) -> Failure:
    return Failure(
        Unavailable(
            f"HubSpot, {request.name}: no such address ({answer.status})",
            hint=f"api_version ({attempt.version}) or base_url may be wrong, or HubSpot has retired that version",
        ),
        refusal=True,
    )


def _refused(request: Request, answer: Response, error: Mapping[str, Any] | None, _attempt: Attempt) -> Failure:
    if answer.status < 400:
        return Failure(
            Unavailable(
                f"HubSpot, {request.name}: redirected ({answer.status})",
                hint="base_url is not HubSpot's API address: expected https://api.hubapi.com",
            )
        )
    category = _category(error or {})
    correlation = _only(r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}", (error or {}).get("correlationId"))
    kind = QueryRefused if answer.status == 400 and category == "VALIDATION_ERROR" else Unavailable
    return Failure(
        kind(
            f"HubSpot refused a query: {request.name} ({answer.status}{f', {category}' if category else ''})",
            hint="upgrade syncd, or report this"
            + (f". HubSpot's support knows it as {correlation}" if correlation else ""),
        ),
        refusal=True,
    )


def _category(error: Mapping[str, Any]) -> str:
    return _only(r"[A-Z_]{1,60}", error.get("category"))


def _only(pattern: str, value: Any) -> str:
    """Return `value` if it matches `pattern`, otherwise ""."""
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else ""


_RULES = {
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    408: _outage,
    410: _not_found,
    423: _locked,
    477: _migrating,
    530: _malformed_token,
}


def missing_scopes(error: Mapping[str, Any]) -> list[str]:
    """Return the scopes that a 403 names, anywhere in its body."""
    found: list[str] = []
    waiting: deque[Any] = deque([error])
    while waiting and len(found) < SCOPES_MOST:
        here = waiting.popleft()
        if isinstance(here, dict):
            for key, value in here.items():
                if "scope" in key.lower() and isinstance(value, list):
                    found.extend(
                        scope for scope in value if isinstance(scope, str) and re.fullmatch(r"[a-z0-9._-]{1,80}", scope)
                    )
                else:
                    waiting.append(value)
        elif isinstance(here, list):
            waiting.extend(here)
    return list(dict.fromkeys(found))[:SCOPES_MOST]


def until_midnight(now: datetime, zone: str | None) -> float:
    """Return the seconds to the next midnight in `zone`. An hour if the zone is unknown."""
    try:
        local = now.astimezone(ZoneInfo(zone or ""))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return float(HOUR_S)
    midnight = datetime.combine(local.date() + timedelta(days=1), time.min, local.tzinfo)
    return (midnight - now).total_seconds()


def _later(
    error: SyncdError, answer: Response, attempt: Attempt, *, default_s: float, limited: bool = False
) -> Failure:
    """Wait as told, but at least `default_s`. A minute or more becomes a pause."""
    return honor_retry_after(
        error, answer, now=attempt.now, default_s=default_s, at_most_s=RETRY_AFTER_MAX_S, limited=limited
    )
