"""Decide whether to use, retry or give up an answer of Salesforce's. Pure.

answer ──► content    2xx with the expected JSON
       └─► Failure    wait and retry · give up for this pass · pause for longer

The errorCode decides, then the status. One status has many meanings (403 is a quota, a right, or a proxy), and one code
has several statuses. Messages name the request, the status and the code. They never hold Salesforce's own text, which
quotes the query.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson

from syncd.errors import Malformed, SyncdError, Unauthorized, Unavailable
from syncd.http import bodies
from syncd.http.response import TRIES, Failure, Response, TransportError, backoff_s, honor_retry_after, retry_after

TEXT_MOST = 1_000  # characters of an error's text that are searched
HOUR_S = 3_600  # the day's calls are counted over a rolling 24 h: some are free again within the hour
RETRY_AFTER_MAX_S = 86_400  # a larger one is a mistake
CONCURRENT_S = 5.0  # at most 25 requests of 20 s and longer at a time (limits guide, v67): theirs must end first
LIMIT_EXCEEDED = "REQUEST_LIMIT_EXCEEDED"
STATUS_PAGE = "https://status.salesforce.com"
# Salesforce does not say who used up a limit.
SHARED = "everything that uses the org shares them: this syncd, other syncds and other integrations"
IN_BETWEEN = f"a proxy or a firewall may have answered: let requests to Salesforce pass, or see {STATUS_PAGE}"
CHANGED = "a proxy may have changed the answer, or Salesforce its API: upgrade syncd, or report this"

# Type and URL of a row or a parent, which syncd does not read: half of a page, and a third of the CPU of parsing it. In
# valid JSON no string can hold this text, because its quotes would be escaped there.
ATTRIBUTES = re.compile(rb'"attributes":\{"type":"\w{1,80}","url":"[^"\\]{0,500}"\},')

Shape = Literal["page", "list", "batch", "object"]


@dataclass(frozen=True, slots=True)
class Request:
    """Describe a request, for interpretation and messages."""

    name: str  # e.g. calls, for messages
    expects: Shape = "object"
    count: int = 0  # of entries that a list or batch must have
    divisible: bool = False  # can be made smaller, so a time-out may be its own fault
    locator: bool = False  # requests a further page, which Salesforce may have dropped
    tolerated: frozenset[int] = frozenset()  # refusals that are not errors


@dataclass(frozen=True, slots=True)
class Attempt:
    """Hold the circumstances of an answer."""

    number: int  # from 1
    now: datetime  # aware UTC, Salesforce's clock
    jitter: float = 0.0  # from 0 up to 1
    version: str = ""  # of the API, for messages
    renews: bool = True  # a new session can be had; False: session_id is configured
    fresh: bool = False  # the session has just begun, because the previous one was refused


class QueryTimeout(Unavailable):
    """Report that a query is too much at once (QUERY_TIMEOUT, OPERATION_TOO_LARGE)."""


class TooSlow(QueryTimeout):
    """Report that our own deadline passed, so the query may be too much."""


class NotServed(Unavailable):
    """Report that a request failed in each try (5xx, no or a broken answer), though others may succeed."""


class Unparsable(NotServed, Malformed):
    """Report that a request got a broken answer in each try."""


class LocatorGone(Unavailable):
    """Report that Salesforce has dropped a locator, so the query must start again."""


class QueryRefused(Unavailable):
    """Report that a query does not fit the org (MALFORMED_QUERY, INVALID_FIELD, INVALID_TYPE …)."""

    def __init__(self, message: str, *, hint: str = "", error_code: str) -> None:
        super().__init__(message, hint=hint)
        self.error_code = error_code


# Failures that one item, or too many, may cause. A smaller request may succeed.
CULPABLE: tuple[type[Unavailable], ...] = (QueryTimeout, LocatorGone, NotServed)


class Expired(Unauthorized):
    """Report that the session has expired or is refused."""


class Error(NamedTuple):
    """Hold the code and text of an error's body."""

    code: str  # errorCode, or OAuth's error; otherwise empty
    text: str  # in lower case; may be searched, never repeated


Rule = Callable[[Request, Response, Error, Attempt], Failure]


def interpret(request: Request, answer: Response | TransportError, attempt: Attempt) -> Any | Failure:
    """Return the content of a good answer, None for a tolerated refusal, otherwise the failure."""
    if isinstance(answer, TransportError):
        return (
            _too_slow(request, answer)
            if request.divisible and answer.timed_out
            else lost(request.name, answer, attempt, kind=Unavailable if answer.timed_out else NotServed)
        )
    if 200 <= answer.status < 300:
        return _content(request, answer, attempt)
    failure = _failure(request, answer, attempt)
    if request.locator and (failure.refusal or (attempt.fresh and isinstance(failure.error, Expired))):
        # A locator may be tied to the session of its query. The next query tells whether the user lacks a right.
        return _gone(request, answer, parse_error(answer.body) or Error("", ""), attempt)
    return None if failure.refusal and answer.status in request.tolerated else failure


def _failure(request: Request, answer: Response, attempt: Attempt) -> Failure:
    error = parse_error(answer.body)
    if error is not None and error.code in _BY_CODE:
        return _BY_CODE[error.code](request, answer, error, attempt)
    if answer.status in _BY_STATUS:
        return _BY_STATUS[answer.status](request, answer, error or Error("", ""), attempt)
    if answer.status >= 500:
        return outage(request.name, answer, attempt, code=error.code if error else "", kind=NotServed)
    if answer.status < 400:
        return elsewhere(request.name, answer, "instance_url")
    if error is None:  # Salesforce refuses in JSON: this is from its edge, a proxy or a firewall
        return outage(request.name, answer, attempt, hint=IN_BETWEEN)
    return (_forbidden if answer.status == 403 else _refused)(request, answer, error, attempt)


def parse_error(body: bytes) -> Error | None:
    """Return the error in a body: an object, or the first of a list. None if it is not Salesforce's JSON."""
    try:
        found = bodies.parse(body)
    except bodies.NotJson:
        return None
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return None
    code = found.get("errorCode") or found.get("error")
    text = found.get("message") or found.get("error_description")
    return Error(
        code if isinstance(code, str) and re.fullmatch(r"[A-Za-z_]{1,60}", code) else "",
        text[:TEXT_MOST].lower() if isinstance(text, str) else "",
    )


def lost(
    name: str, answer: TransportError, attempt: Attempt, *, kind: type[Unavailable] = Unavailable
) -> Failure:  # fmt: skip
    """Return the failure of a request without an answer, with an error of `kind`."""
    if answer.malformed:  # e.g. it exceeds our bound, and fewer rows may fit
        kind = Unparsable if kind is NotServed else Malformed
    elif not answer.retryable:
        kind = Unavailable
    error = kind(f"Salesforce, {name}: {answer}", hint=answer.hint)
    return Failure(error, wait_s=backoff_s(attempt.number, attempt.jitter) if answer.retryable else None)


def outage(
    name: str, answer: Response, attempt: Attempt, *, code: str = "", hint: str = "",
    kind: type[Unavailable] = Unavailable,
) -> Failure:  # fmt: skip
    """Return a temporary failure, such as a failing server or maintenance, with an error of `kind`."""
    error = kind(f"Salesforce, {name}: answered {_named(answer, code)}", hint=hint or f"see {STATUS_PAGE}")
    return later(error, answer, attempt, default_s=backoff_s(attempt.number, attempt.jitter))


def later(error: SyncdError, answer: Response, attempt: Attempt, *, default_s: float, limited: bool = False) -> Failure:
    """Wait as told, but at least `default_s`. A minute or more becomes a pause."""
    return honor_retry_after(
        error, answer, now=attempt.now, default_s=default_s, at_most_s=RETRY_AFTER_MAX_S, limited=limited
    )


def unreadable(
    name: str, answer: Response, attempt: Attempt, *, why: bodies.NotJson | None = None,
    kind: type[Malformed] = Malformed,
) -> Failure:  # fmt: skip
    """Return the failure of a 2xx that cannot be parsed (`why`), or has another shape than documented."""
    what = why or "has another shape than documented"
    maintenance = f"Salesforce may be in maintenance (see {STATUS_PAGE}), or a proxy may have answered"
    error = kind(f"Salesforce, {name}: the answer ({answer.status}) {what}", hint=maintenance if why else CHANGED)
    return Failure(error, wait_s=backoff_s(attempt.number, attempt.jitter))


def elsewhere(name: str, answer: Response, key: str) -> Failure:
    """Return the failure of a redirect. It is not followed, because it would send the credentials elsewhere."""
    message = f"Salesforce, {name}: redirected ({answer.status})"
    return Failure(Unavailable(message, hint=f"{key} is not the org's own address: expected its My Domain"))


def _content(request: Request, answer: Response, attempt: Attempt) -> Any | Failure:
    try:
        content = bodies.parse(ATTRIBUTES.sub(b"", answer.body))
    except bodies.NotJson as error:
        return unreadable(request.name, answer, attempt, why=error, kind=Unparsable)
    if not _SHAPES[request.expects](content, request.count):
        return unreadable(request.name, answer, attempt, kind=Unparsable)
    return _batch(request, content["results"], attempt) if request.expects == "batch" else content


def _batch(request: Request, results: list[Any], attempt: Attempt) -> list[Any] | Failure:
    """Return each part's content, None if it is not found (404). Any other refusal fails the whole batch."""
    contents: list[Any] = []
    for part in results:
        status, content = part["statusCode"], part.get("result")
        if 200 <= status < 300 and isinstance(content, dict):
            contents.append(content)
        elif status == 404:
            contents.append(None)
        else:
            return interpret(Request(request.name), Response(status, {}, orjson.dumps(content)), attempt)
    return contents


def _is_page(content: Any, _count: int) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("done"), bool):
        return False
    records = content.get("records")
    further = content["done"] or isinstance(content.get("nextRecordsUrl"), str)
    return further and isinstance(records, list) and all(isinstance(record, dict) for record in records)


def _is_list(content: Any, count: int) -> bool:
    if not isinstance(content, list) or len(content) != count:
        return False
    return all(entry is None or isinstance(entry, dict) for entry in content)


def _is_batch(content: Any, count: int) -> bool:
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, list) or len(results) != count:
        return False
    return all(isinstance(part, dict) and isinstance(part.get("statusCode"), int) for part in results)


_SHAPES: dict[Shape, Callable[[Any, int], bool]] = {
    "page": _is_page,
    "list": _is_list,
    "batch": _is_batch,
    "object": lambda content, _: isinstance(content, dict),
}


def _expired(request: Request, answer: Response, _error: Error, attempt: Attempt) -> Failure:
    if not attempt.renews:
        message = f"Salesforce, {request.name}: the session of session_id has expired ({answer.status})"
        hint = "get a new one. For more than a test use client_id with client_secret or private_key, which renew it"
    else:
        message = f"Salesforce, {request.name}: a session just begun was refused ({answer.status})"
        hint = (
            "in Salesforce's Setup, look for the user's lost API Enabled permission, API Access Control, "
            "login IP ranges or sessions locked to an IP address"
        )
    return Failure(Expired(message, hint=hint))


def limit(request: Request, answer: Response, error: Error, attempt: Attempt) -> Failure:
    """Distinguish the two limits of one code by the text (ConcurrentPerOrgLongTxn, TotalRequests)."""
    if "concurrent" in error.text:
        message = f"Salesforce, {request.name}: too many long requests at once ({_named(answer, error.code)})"
        default_s = CONCURRENT_S * (min(attempt.number, TRIES) + attempt.jitter)
        hint = f"it passes. If it comes again and again, find out which program sends long requests: {SHARED}"
        return later(Unavailable(message, hint=hint), answer, attempt, default_s=default_s, limited=True)
    message = f"Salesforce, {request.name}: the org's API calls of 24 hours are used up ({_named(answer, error.code)})"
    hint = f"{SHARED}: see Setup > System Overview. syncd asks again in an hour"
    told_s = min(retry_after(answer.headers, now=attempt.now) or 0.0, RETRY_AFTER_MAX_S)
    return Failure(Unavailable(message, hint=hint), pause_s=max(HOUR_S, told_s))


def _too_much(request: Request, answer: Response, error: Error, _attempt: Attempt) -> Failure:
    message = f"Salesforce, {request.name}: too much for one query ({_named(answer, error.code)})"
    hint = "syncd queries less at once. A user with View All Data avoids Salesforce's costly checks of each row"
    return Failure(QueryTimeout(message, hint=hint))


def _too_slow(request: Request, answer: TransportError) -> Failure:
    return Failure(TooSlow(f"Salesforce, {request.name}: {answer}", hint=answer.hint))


def _gone(request: Request, answer: Response, error: Error, _attempt: Attempt) -> Failure:
    message = f"Salesforce, {request.name}: the rest of a query's answer is gone ({_named(answer, error.code)})"
    return Failure(LocatorGone(message, hint="nothing to do: syncd queries again from the last position"))


def _refused(request: Request, answer: Response, error: Error, _attempt: Attempt) -> Failure:
    message = f"Salesforce refused a query: {request.name} ({_named(answer, error.code)})"
    hint = "syncd check tells which objects and fields the user may read. If it finds nothing, please report this"
    return Failure(QueryRefused(message, hint=hint, error_code=error.code), refusal=True)


def _passing(request: Request, answer: Response, error: Error, attempt: Attempt) -> Failure:
    return outage(request.name, answer, attempt, code=error.code)


def _failing(request: Request, answer: Response, error: Error, attempt: Attempt) -> Failure:
    return outage(request.name, answer, attempt, code=error.code, kind=NotServed)


def _forbidden(request: Request, answer: Response, error: Error, _attempt: Attempt) -> Failure:
    hint = _RIGHTS.get(error.code, "give the integration user the permission, or see its Login History in Setup")
    message = f"Salesforce, {request.name}: the user may not do this ({_named(answer, error.code)})"
    return Failure(Unauthorized(message, hint=hint), refusal=True)


def _retired(request: Request, answer: Response, error: Error, attempt: Attempt) -> Failure:
    message = f"Salesforce, {request.name}: API version {attempt.version} is not served ({_named(answer, error.code)})"
    hint = f"Salesforce has retired it, or does not know it yet: set another api_version than {attempt.version}"
    return Failure(Unavailable(message, hint=hint), refusal=True)


def _not_found(request: Request, answer: Response, error: Error, attempt: Attempt) -> Failure:
    message = f"Salesforce, {request.name}: no such address ({_named(answer, error.code)})"
    hint = f"api_version {attempt.version} may be retired or not be there yet, or the user may not see the object"
    return Failure(Unavailable(message, hint=hint), refusal=True)


def _too_long(request: Request, answer: Response, error: Error, _attempt: Attempt) -> Failure:
    message = f"Salesforce, {request.name}: the request is too long ({_named(answer, error.code)})"
    return Failure(Unavailable(message, hint="that is a mistake of syncd's: please report it"))


def _named(answer: Response, code: str) -> str:
    """Return status and code, the only part of Salesforce's error that quotes no data."""
    return f"{answer.status}, {code}" if code else str(answer.status)


# Codes of missing rights, and the remedy of an admin.
_RIGHTS = {
    "API_DISABLED_FOR_ORG": "the org's edition has no API, or the user lacks the permission API Enabled",
    "API_CURRENTLY_DISABLED": "the API is switched off for this user: give it the permission API Enabled",
    "INSUFFICIENT_ACCESS": "give the integration user Read on the object and its fields",
    "INSUFFICIENT_ACCESS_OR_READONLY": "give the integration user Read on the object and its fields",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "give the integration user Read on the related object",
    "FUNCTIONALITY_NOT_ENABLED": "the org lacks a feature that syncd uses: report this",
    "TXN_SECURITY_METERING_ERROR": "give the integration user the permission Exempt from Transaction Security",
    "TXN_SECURITY_NO_ACCESS": "a transaction security policy forbids it: except the integration user from it",
    "INACTIVE_ORG_OR_USER": "activate the integration user, or see whether the org is locked",
    "ORG_LOCKED": "the org is locked: its admin or Salesforce's support can say why",
}

_BY_CODE: dict[str, Rule] = {
    "INVALID_SESSION_ID": _expired,
    LIMIT_EXCEEDED: limit,
    **dict.fromkeys(("QUERY_TIMEOUT", "OPERATION_TOO_LARGE"), _too_much),
    "INVALID_QUERY_LOCATOR": _gone,
    **dict.fromkeys(
        (
            "MALFORMED_QUERY",
            "INVALID_FIELD",
            "INVALID_TYPE",
            "INVALID_QUERY_FILTER_OPERATOR",
            "QUERY_TOO_COMPLICATED",
            "MALFORMED_ID",
        ),
        _refused,
    ),
    **dict.fromkeys(_RIGHTS, _forbidden),
    "ORG_IN_MAINTENANCE": _passing,
    **dict.fromkeys(("SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "UNKNOWN_EXCEPTION"), _failing),
    "UNSUPPORTED_API_VERSION": _retired,
}
# 406 and 420 come without a body and for no reason (Airbyte, Singer); 420: Salesforce's edge has no route just now.
_BY_STATUS: dict[int, Rule] = {
    401: _expired,
    404: _not_found,
    410: _retired,
    414: _too_long,
    431: _too_long,
    **dict.fromkeys((406, 408, 420, 429), _passing),
}
