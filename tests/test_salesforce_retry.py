"""The decision about each answer of Salesforce's: refusals, limits, moods and outages."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.salesforce.retry import (
    Attempt,
    Error,
    Expired,
    LocatorGone,
    QueryRefused,
    QueryTimeout,
    Request,
    interpret,
    parse_error,
)
from syncd.errors import Exit, Malformed, Unauthorized, Unavailable
from syncd.http.response import Failure, Response, TransportError

NOW = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
QUERY = Request("calls", "page")
MORE = Request("calls", "page", locator=True)
PAGE = {"totalSize": 0, "done": True, "records": []}
CANARIES = ("00D000000000001!secret", "ada@northmill.example", "Very private subject", "SELECT Id")
QUOTING = "\nSELECT Id FROM Task WHERE Subject = 'Very private subject' ada@northmill.example 00D000000000001!secret"


def answer(status: int, body: Any = "", **headers: str) -> Response:
    written = body if isinstance(body, str) else json.dumps(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, written.encode())


def fault(
    status: int, body: Any = "", *, asked: Request = QUERY, attempt: int = 1, renews: bool = True, **headers: str
):
    found = interpret(asked, answer(status, body, **headers), Attempt(attempt, NOW, version="66.0", renews=renews))
    assert isinstance(found, Failure)
    text = f"{found.error!r} {found.error} {found.error.hint}"
    assert not [canary for canary in CANARIES if canary in text]
    return found


def said(code: str, text: str = QUOTING) -> list[dict[str, str]]:
    return [{"message": text, "errorCode": code}]


def test_content_is_returned_in_the_shape_that_was_asked_for():
    attempt = Attempt(1, NOW)
    first = {"totalSize": 2, "done": False, "nextRecordsUrl": "/services/data/v66.0/query/01g", "records": [{}]}
    assert interpret(QUERY, answer(200, PAGE), attempt) == PAGE
    assert interpret(QUERY, answer(200, first), attempt) == first
    assert interpret(Request("x", "list", count=2), answer(200, [{}, None]), attempt) == [{}, None]
    assert interpret(Request("x"), answer(200, {}), attempt) == {}


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (QUERY, ""),
        (QUERY, "<html>maintenance</html>"),
        (QUERY, '{"totalSize": 1, "done": tr'),
        (QUERY, "[]"),
        (QUERY, {"done": True}),
        (QUERY, {"done": True, "records": [1]}),
        (QUERY, {"records": []}),
        (QUERY, {"done": False, "records": []}),
        (QUERY, "[" * 99_999),
        (Request("x"), "[]"),
        (Request("x", "list", count=1), "[]"),
        (Request("x", "list", count=1), "[1]"),
        (Request("x", "list", count=1), "{}"),
        (Request("x", "batch", count=1), "[]"),
        (Request("x", "batch", count=1), {"results": []}),
        (Request("x", "batch", count=1), {"results": [{"result": {}}]}),
    ],
)
def test_what_nobody_can_read_is_tried_again_and_malformed(asked, body):
    found = fault(200, body, asked=asked)
    assert isinstance(found.error, Malformed)
    assert found.wait_s == 0.5


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('[{"message": "M", "errorCode": "A_B"}]', Error("A_B", "m")),
        ('{"message": "M", "errorCode": "A_B"}', Error("A_B", "m")),
        ('{"error": "invalid_grant", "error_description": "Bad"}', Error("invalid_grant", "bad")),
        ('[{"errorCode": "a@b.example"}]', Error("", "")),
        ('[{"errorCode": ["A"], "message": 7}]', Error("", "")),
        ("{}", Error("", "")),
        ("[]", None),
        ("[1]", None),
        ("<html>", None),
        ("", None),
    ],
)
def test_an_error_is_read_from_a_list_or_an_object_and_strangers_are_none(body, expected):
    assert parse_error(body.encode()) == expected


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("code", ["QUERY_TIMEOUT", "OPERATION_TOO_LARGE"])
def test_too_much_at_once_asks_for_less_and_not_again(status, code):
    found = fault(status, said(code))
    assert type(found.error) is QueryTimeout
    assert (found.wait_s, found.pause_s) == (None, None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, said("NOT_FOUND")), (404, ""), (400, said("INVALID_QUERY_LOCATOR")), (403, said("INVALID_QUERY_LOCATOR")),
        (500, said("INVALID_QUERY_LOCATOR")), (403, said("INSUFFICIENT_ACCESS")), (403, said("NEVER_HEARD")),
        (400, said("NEVER_HEARD")), (410, ""),
    ],
)  # fmt: skip
def test_a_page_that_is_gone_is_told_from_all_else(status, body):
    found = fault(status, body, asked=MORE)
    assert (type(found.error), found.wait_s) == (LocatorGone, None)
    assert found.error.hint == "nothing to do: syncd queries again from the last position"


@pytest.mark.parametrize(("status", "body"), [(401, said("INVALID_SESSION_ID")), (401, ""), (401, "<html>")])
def test_a_locator_that_a_fresh_session_may_not_use_is_gone_and_nothing_else_is(status, body):
    fresh = Attempt(1, NOW, fresh=True)
    gone, query = (interpret(asked, answer(status, body), fresh) for asked in (MORE, QUERY))
    assert (type(gone.error), gone.wait_s) == (LocatorGone, None)
    assert type(query.error) is Expired
    assert type(fault(status, body, asked=MORE).error) is Expired, "its session may simply have ended"


@pytest.mark.parametrize("body", [said("REQUEST_LIMIT_EXCEEDED"), "<html>"])
def test_a_locators_403_that_is_no_refusal_is_what_it_was(body):
    assert type(fault(403, body, asked=MORE).error) is Unavailable


@pytest.mark.parametrize(
    "code",
    "MALFORMED_QUERY INVALID_FIELD INVALID_TYPE INVALID_QUERY_FILTER_OPERATOR QUERY_TOO_COMPLICATED NEW_CODE".split(),
)
def test_a_query_that_does_not_fit_the_org_is_refused_by_its_code(code):
    found = fault(400, said(code))
    assert isinstance(found.error, QueryRefused)
    assert (found.error.error_code, found.wait_s) == (code, None)
    assert code in found.error.message


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("API_DISABLED_FOR_ORG", "the org's edition has no API, or the user lacks the permission API Enabled"),
        ("API_CURRENTLY_DISABLED", "the API is switched off for this user: give it the permission API Enabled"),
        ("INSUFFICIENT_ACCESS", "give the integration user Read on the object and its fields"),
        ("INSUFFICIENT_ACCESS_OR_READONLY", "give the integration user Read on the object and its fields"),
        ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "give the integration user Read on the related object"),
        ("FUNCTIONALITY_NOT_ENABLED", "the org lacks a feature that syncd uses: report this"),
        ("TXN_SECURITY_METERING_ERROR", "the permission Exempt from Transaction Security"),
        ("TXN_SECURITY_NO_ACCESS", "a transaction security policy forbids it: except the integration user from it"),
        ("INACTIVE_ORG_OR_USER", "activate the integration user, or see whether the org is locked"),
        ("ORG_LOCKED", "the org is locked: its admin or Salesforce's support can say why"),
        ("SOMETHING_NEW", "give the integration user the permission, or see its Login History in Setup"),
    ],
)
def test_what_the_user_may_not_do_is_unauthorized_with_a_remedy(code, hint):
    found = fault(403, said(code))
    assert isinstance(found.error, Unauthorized)
    assert hint in found.error.hint
    assert found.error.exit_code == Exit.UNAUTHORIZED
    assert code in found.error.message
    assert found.wait_s is None


def test_the_code_decides_not_the_status():
    assert isinstance(fault(400, said("API_DISABLED_FOR_ORG")).error, Unauthorized)
    assert isinstance(fault(403, said("INVALID_SESSION_ID")).error, Expired)
    assert fault(400, said("SERVER_UNAVAILABLE")).wait_s == 0.5


@pytest.mark.parametrize("body", [said("INVALID_SESSION_ID"), said("INVALID_AUTH_HEADER"), {}, "<html>", ""])
def test_a_session_that_is_over_is_told_by_status_or_code(body):
    renewed, configured = fault(401, body), fault(401, body, renews=False)
    assert type(renewed.error) is type(configured.error) is Expired
    assert "just begun" in renewed.error.message
    assert "in Salesforce's Setup, look for the user's lost API Enabled permission" in renewed.error.hint
    assert "session_id has expired" in configured.error.message
    assert configured.error.hint.startswith("get a new one. For more than a test use client_id with client_secret or")


@pytest.mark.parametrize("told", ["", "5", "90"])
def test_the_days_calls_are_a_pause_of_an_hour(told):
    found = fault(403, said("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), retry_after=told)
    assert isinstance(found.error, Unavailable)
    assert (found.wait_s, found.pause_s) == (None, 3600)
    longer = fault(403, said("REQUEST_LIMIT_EXCEEDED", ""), retry_after="7200")
    assert longer.pause_s == 7200


@pytest.mark.parametrize(
    "text", ["ConcurrentPerOrgLongTxn Limit exceeded.", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."]
)
def test_too_many_at_once_is_waited_out(text):
    waits = [fault(403, said("REQUEST_LIMIT_EXCEEDED", text), attempt=attempt).wait_s for attempt in (1, 2)]
    assert waits == [5, 10]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, "") for status in (406, 408, 420, 429, 500, 502, 503, 504, 520, 599)),
        (503, "<html>"),
        (400, "<html>"),
        (403, "<html>"),
        (403, ""),
        (500, said("UNABLE_TO_LOCK_ROW")),
        (500, said("UNKNOWN_EXCEPTION")),
        (503, said("SERVER_UNAVAILABLE")),
        (500, said("NEVER_HEARD")),
    ],
)
def test_what_passes_backs_off_with_jitter(status, body):
    assert [fault(status, body, attempt=attempt).wait_s for attempt in (1, 2)] == [0.5, 1.0]
    jittered = interpret(QUERY, answer(status, body), Attempt(1, NOW, jitter=0.999))
    assert jittered.wait_s == pytest.approx(0.75, abs=0.01)
    assert str(status) in fault(status, body).error.message


@pytest.mark.parametrize(
    ("told", "wait_s", "pause_s"),
    [
        ("5", 5, None),
        ("59.5", 59.5, None),
        ("60", None, 60),
        ("999999", None, 86400),
        ("soon", 0.5, None),
        ("-3", 0.5, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), None, 90),
    ],
)
@pytest.mark.parametrize("status", [420, 429, 503])
def test_retry_after_is_waited_for_and_from_a_minute_on_a_pause(status, told, wait_s, pause_s):
    found = fault(status, "", retry_after=told)
    assert (found.wait_s, found.pause_s) == (wait_s, pause_s)


@pytest.mark.parametrize(
    ("status", "body"),
    [(410, ""), (410, said("GONE")), (404, said("NOT_FOUND")), (400, said("UNSUPPORTED_API_VERSION"))],
)
def test_a_version_that_is_retired_is_named(status, body):
    found = fault(status, body)
    assert "66.0" in found.error.hint
    assert "api_version" in found.error.hint
    assert found.wait_s is None


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (200, "<html>", "Salesforce may be in maintenance (see https://status.salesforce.com), or a proxy may have"),
        (200, "[]", "a proxy may have changed the answer, or Salesforce its API: upgrade syncd, or report this"),
        (302, "", "instance_url is not the org's own address: expected its My Domain"),
        (400, said("MALFORMED_QUERY"), "syncd check tells which objects and fields the user may read. If it finds"),
        (400, said("QUERY_TIMEOUT"), "syncd queries less at once. A user with View All Data avoids"),
        (400, said("UNSUPPORTED_API_VERSION"), "or does not know it yet: set another api_version than 66.0"),
        (
            403,
            "<html>",
            "a proxy or a firewall may have answered: let requests to Salesforce pass, or see https://status",
        ),
        (403, said("REQUEST_LIMIT_EXCEEDED", ""), "other integrations: see Setup > System Overview. syncd asks again"),
        (403, said("REQUEST_LIMIT_EXCEEDED", "Concurrent"), "find out which program sends long requests: everything"),
        (404, "", "api_version 66.0 may be retired or not be there yet, or the user may not see the object"),
        (414, "", "that is a mistake of syncd's: please report it"),
        (503, "", "see https://status.salesforce.com"),
    ],
)
def test_each_answer_has_its_remedy(status, body, hint):
    found = fault(status, body)
    assert hint in found.error.hint
    assert found.error.exit_code == Exit.UNAVAILABLE


@pytest.mark.parametrize("status", [414, 431])
@pytest.mark.parametrize("body", ["", "<html>"])
def test_too_long_a_request_is_a_bug_to_report(status, body):
    found = fault(status, body)
    assert "report" in found.error.hint
    assert found.wait_s is None


@pytest.mark.parametrize("status", [300, 302, 307])
def test_a_redirect_is_no_answer_and_not_tried_again(status):
    found = fault(status, "")
    assert (found.wait_s, str(status) in found.error.message) == (None, True)


def test_a_lost_answer_is_tried_again_where_that_may_help():
    found = interpret(QUERY, TransportError("no connection", hint="check it"), Attempt(2, NOW))
    assert (str(found.error), found.error.hint, found.wait_s) == ("Salesforce, calls: no connection", "check it", 1.0)
    assert interpret(QUERY, TransportError("no", retryable=False), Attempt(1, NOW)).wait_s is None


def test_the_parts_of_a_batch_are_judged_each():
    asked, attempt = Request("describe", "batch", count=2), Attempt(1, NOW)
    good = {"statusCode": 200, "result": {"name": "Task"}}

    def judged(status: int, body: Any) -> Any:
        return interpret(asked, answer(200, {"results": [good, {"statusCode": status, "result": body}]}), attempt)

    assert judged(404, said("NOT_FOUND")) == [{"name": "Task"}, None]
    assert isinstance(judged(403, said("API_DISABLED_FOR_ORG")).error, Unauthorized)
    assert judged(403, said("REQUEST_LIMIT_EXCEEDED", "TotalRequests")).pause_s == 3600
    assert judged(500, said("UNKNOWN_EXCEPTION")).wait_s == 0.5
    assert judged(503, None).wait_s == 0.5
    assert isinstance(judged(200, [1]).error, Malformed)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error_400_invalid_field", QueryRefused),
        ("error_400_invalid_field_filter", QueryRefused),
        ("error_400_invalid_type", QueryRefused),
        ("error_400_malformed_id", QueryRefused),
        ("error_400_query_timeout", QueryTimeout),
        ("error_401_invalid_session", Expired),
        ("error_404_not_found", Unavailable),
    ],
)
def test_the_recorded_bodies_are_understood(name, kind):
    samples = Path(__file__).parents[1] / "syncd" / "sandbox" / "salesforce" / "samples"
    found = fault(int(name.split("_")[1]), (samples / f"{name}.json").read_text(encoding="utf-8"))
    assert type(found.error) is kind


def test_type_and_url_of_rows_are_left_out_and_texts_that_look_like_them_stay():
    attributes = {"type": "Task", "url": "/services/data/v66.0/sobjects/Task/1"}
    subject = '"attributes":{"type":"Task","url":"/x"},'
    row = {"attributes": attributes, "Subject": subject, "Who": {"attributes": attributes, "Name": "Mira"}}
    page = orjson.dumps({"totalSize": 1, "done": True, "records": [row]})
    content = interpret(QUERY, Response(200, {}, page), Attempt(1, NOW))
    assert content["records"] == [{"Subject": subject, "Who": {"Name": "Mira"}}]
