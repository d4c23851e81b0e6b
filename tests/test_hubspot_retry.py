"""The decision about each answer of HubSpot's: refusals, limits, outages and the pace."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.hubspot.rate_limit import EvenSpacing, RollingWindow
from connectors.hubspot.retry import Attempt, QueryRefused, Request, interpret, missing_scopes, until_midnight
from syncd.errors import Exit, Malformed, Unauthorized, Unavailable
from syncd.http.response import Failure, Response, TransportError

NOW = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
SEARCH = Request("calls search", search=True, exempt=True, scope="crm.objects.contacts.read")
READ = Request("contacts batch read", scope="crm.objects.contacts.read")
BATCH = Request("contacts batch read", scope="crm.objects.contacts.read", batch=True)
CANARIES = ("pat-na1-secret", "ada@northmill.example", "Very private subject", "+49 555 0100")


def answer(status: int, body: Any = "", **headers: str) -> Response:
    written = body if isinstance(body, str) else json.dumps(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, written.encode())


def fault(
    status: int, body: Any = "", *, asked: Request = READ, attempt: int = 1, zone: str | None = None, **headers: str
) -> Failure:
    circumstances = Attempt(attempt, NOW, zone=zone, version="2026-03", token="env:TOKEN")
    found = interpret(asked, answer(status, body, **headers), circumstances)
    assert isinstance(found, Failure)
    return found


SECONDLY = {"status": "error", "message": "You have reached your secondly limit.", "category": "RATE_LIMITS"}
TEN = {"message": "You have reached your ten_secondly_rolling limit.", "policyName": "TEN_SECONDLY_ROLLING"}
DAILY = {"message": "You have reached your daily limit.", "policyName": "DAILY", "errorType": "RATE_LIMIT"}


def test_content_is_returned_for_200_and_207():
    assert interpret(READ, answer(200, {"results": []}), Attempt(1, NOW)) == {"results": []}
    assert interpret(READ, answer(207, {"results": [{}], "errors": [{}]}), Attempt(1, NOW))["results"] == [{}]
    assert interpret(Request("x", expects="list"), answer(200, []), Attempt(1, NOW)) == []
    assert interpret(Request("x", expects="object"), answer(200, {}), Attempt(1, NOW)) == {}


@pytest.mark.parametrize(
    "more",
    [
        {"errors": [{}]},
        {"errors": [None]},
        {"errors": {"category": "INTERNAL_ERROR"}},
        {"errors": [{"category": "OBJECT_NOT_FOUND"}, {"category": "INTERNAL_ERROR"}]},
        {"numErrors": 1},
        {"numErrors": 1, "errors": []},
        {"errors": "odd"},
    ],
)
@pytest.mark.parametrize("status", [200, 207])
def test_a_part_is_no_answer(status, more):
    found = fault(status, {"results": [{}], **more}, asked=BATCH)
    assert (found.wait_s, found.error.message.split(":")[0]) == (0.5, "HubSpot answered only a part")
    assert not isinstance(interpret(READ, answer(status, {"results": [], **more}), Attempt(1, NOW)), Failure)
    assert fault(status, {"results": [], **more}, asked=BATCH, retry_after="70").pause_s == 70


@pytest.mark.parametrize("more", [{}, {"errors": []}, {"errors": None, "numErrors": 0}])
def test_a_whole_answer_is_one(more):
    assert interpret(BATCH, answer(207, {"results": [], **more}), Attempt(1, NOW)) == {"results": [], **more}


@pytest.mark.parametrize(
    "body", ["", "<html>", '{"results": [', "[]", "null", {}, {"results": None}, {"results": [1]}, "[" * 99_999]
)
def test_what_nobody_can_read_is_tried_again_and_malformed(body):
    found = fault(200, body)
    assert isinstance(found.error, Malformed)
    assert found.wait_s == 0.5


@pytest.mark.parametrize(
    ("body", "asked", "attempt", "wait_s"),
    [
        (SECONDLY, SEARCH, 1, 1),
        (SECONDLY, SEARCH, 2, 2),
        (TEN, READ, 1, 10),
        (TEN, SEARCH, 2, 10),
        ("", SEARCH, 2, 2),
        ("<html>", READ, 1, 10),
        ({"policyName": "SECONDLY"}, READ, 1, 1),
    ],
)
def test_a_short_limit_is_waited_out(body, asked, attempt, wait_s):
    found = fault(429, body, asked=asked, attempt=attempt)
    assert (found.wait_s, found.pause_s) == (wait_s, None)


@pytest.mark.parametrize(("told", "wait_s"), [("5", 10), ("30", 30), ("59.5", 59.5), ("soon", 10), ("-3", 10)])
def test_retry_after_under_a_minute_is_waited_for(told, wait_s):
    found = fault(429, TEN, retry_after=told)
    assert (found.wait_s, found.pause_s) == (wait_s, None)


@pytest.mark.parametrize(("status", "told", "pause_s"), [(429, "60", 60), (429, "10000", 120), (503, "90", 90)])
def test_retry_after_of_a_minute_or_more_is_a_pause_and_never_beyond_two(status, told, pause_s):
    found = fault(status, TEN, retry_after=told)
    assert (found.wait_s, found.pause_s) == (None, pause_s)


@pytest.mark.parametrize("body", [DAILY, {"policyName": "DAILY"}, {"message": "You have reached your daily limit."}])
def test_the_daily_limit_pauses_to_the_portals_midnight(body):
    found = fault(429, body, zone="America/New_York", asked=SEARCH)  # there it is 17:30
    assert (found.wait_s, found.pause_s) == (None, 6.5 * 3600)
    assert isinstance(found.error, Unavailable)


def test_midnight_of_an_unknown_zone_is_an_hour():
    assert until_midnight(NOW, None) == until_midnight(NOW, "Mars/Olympus") == until_midnight(NOW, "../etc") == 3600
    assert until_midnight(NOW, "UTC") == 1.5 * 3600
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # in Berlin this day has 23 hours
    assert until_midnight(spring, "Europe/Berlin") == 21.5 * 3600


@pytest.mark.parametrize(
    ("told", "wait_s", "pause_s"),
    [("86400", None, 86400), ("999999", None, 86400), ("60", None, 60), ("7", 7, None), ("", 0.5, None)],
)
def test_a_migration_pauses_as_long_as_it_says(told, wait_s, pause_s):
    found = fault(477, "", retry_after=told)
    assert (found.wait_s, found.pause_s) == (wait_s, pause_s)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 521, 522, 523, 524, 408])
def test_an_outage_backs_off_with_jitter(status):
    waits = [fault(status, "<html>", attempt=attempt).wait_s for attempt in (1, 2)]
    assert waits == [0.5, 1.0]
    jittered = interpret(READ, answer(status), Attempt(1, NOW, jitter=0.999))
    assert jittered.wait_s == pytest.approx(0.75, abs=0.01)
    assert str(status) in fault(status).error.message


def test_a_locked_record_is_waited_for():
    assert fault(423).wait_s == 2


def test_a_lost_answer_backs_off():
    found = interpret(READ, TransportError("no complete response within 30 s", hint="look"), Attempt(2, NOW))
    assert (found.wait_s, found.error.hint) == (1.0, "look")
    assert found.error.message == "HubSpot, contacts batch read: no complete response within 30 s"


def test_401_names_where_the_token_stands_and_where_keys_are_made():
    found = fault(401, {"category": "INVALID_AUTHENTICATION"})
    assert isinstance(found.error, Unauthorized)
    assert found.wait_s is None
    assert "env:TOKEN" in found.error.hint
    assert "Service keys" in found.error.hint
    assert "expired" in fault(401, {"category": "EXPIRED_AUTHENTICATION"}).error.message


def test_403_names_the_missing_scopes():
    errors = [{"context": {"requiredGranularScopes": ["crm.objects.owners.read", "not a scope!"]}}]
    found = fault(403, {"category": "MISSING_SCOPES", "errors": errors, "links": {"scopes": "https://x"}})
    assert isinstance(found.error, Unauthorized)
    assert found.error.message.endswith(": crm.objects.owners.read")
    assert fault(403, {"category": "MISSING_SCOPES"}).error.message.endswith(": crm.objects.contacts.read")
    assert "does not say" in fault(403, {}, asked=Request("dispositions")).error.message


def test_scopes_are_found_wherever_they_stand():
    body = {"errors": [[{"context": {"requiredScopes": ["a.b", "a.b"]}}]], "requiredScopes": ["c"], "scope": "x"}
    assert missing_scopes(body) == ["c", "a.b"]


def test_403_of_a_token_whose_creator_has_left_is_explained():
    found = fault(403, {"category": "USER_DOES_NOT_HAVE_PERMISSIONS"})
    assert isinstance(found.error, Unauthorized)
    assert "creator" in found.error.message
    assert "service key" in found.error.hint


def test_403_of_a_firewall_is_an_outage_not_a_refusal():
    found = fault(403, "<html>")
    assert not isinstance(found.error, Unauthorized)
    assert (found.wait_s, found.refusal) == (0.5, False)


def test_530_is_a_malformed_token():
    found = fault(530, "<html>")
    assert isinstance(found.error, Unauthorized)
    assert found.wait_s is None


@pytest.mark.parametrize("status", [404, 410])
def test_404_asks_about_version_and_address(status):
    found = fault(status, "<html>")
    assert isinstance(found.error, Unavailable)
    assert "2026-03" in found.error.hint
    assert "base_url" in found.error.hint


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed_but_explained(status):
    found = fault(status)
    assert found.wait_s is None
    assert "base_url" in found.error.hint


def test_400_names_category_and_correlation_but_nothing_that_was_asked():
    correlation = "aeb5f871-7f07-4993-9211-075dc63e7cbf"
    found = fault(400, {"message": "x", "category": "VALIDATION_ERROR", "correlationId": correlation})
    assert found.error.message == "HubSpot refused a query: contacts batch read (400, VALIDATION_ERROR)"
    assert found.error.hint.endswith(f"report this. HubSpot's support knows it as {correlation}")
    assert found.wait_s is None


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 408, 410, 414, 423, 429, 477, 500, 502, 530])
@pytest.mark.parametrize("canary", CANARIES)
def test_nothing_that_hubspot_quotes_comes_back(status, canary):
    body = {
        "message": f"daily {canary}",
        "category": canary,
        "correlationId": canary,
        "errors": [{"context": {"requiredScopes": [canary.upper()]}}],
        "policyName": canary,
    }
    found = fault(status, body, retry_after=canary)
    assert canary.lower() not in f"{found.error.message} {found.error.hint} {found.error!r}".lower()


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (200, "<html>", "HubSpot may be in maintenance (see https://status.hubspot.com), or a proxy may have answered"),
        (200, "[]", "a proxy may have changed the answer, or HubSpot its API: upgrade syncd, or report this"),
        (207, {"results": [], "numErrors": 1}, "nothing to do if it passes. See https://status.hubspot.com"),
        (302, "", "base_url is not HubSpot's API address: expected https://api.hubapi.com"),
        (400, {}, "upgrade syncd, or report this"),
        (401, "", "make a new key in HubSpot under Development > Keys > Service keys"),
        (401, "", "put it where access_token points, env:TOKEN"),
        (403, "<html>", "a proxy or a firewall may have refused it: let requests to base_url pass"),
        (403, {}, "add it to the service key or private app in HubSpot, then rotate or reinstall if asked"),
        (403, {"category": "USER_DOES_NOT_HAVE_PERMISSIONS"}, "make a service key, or have a super admin rotate the"),
        (404, "", "api_version (2026-03) or base_url may be wrong, or HubSpot has retired that version"),
        (423, "", "nothing to do: HubSpot is working on the portal"),
        (429, DAILY, "it starts again at midnight in the portal's time zone, and everything that uses the portal"),
        (429, TEN, "If this persists, lower search_per_second of each syncd that reads this portal"),
        (477, "", "nothing to do: syncd continues when HubSpot is done"),
        (502, "", "see https://status.hubspot.com"),
        (530, "", "copy it completely, without quotes, to env:TOKEN (access_token). It begins with pat-"),
    ],
)
def test_each_answer_has_its_remedy(status, body, hint):
    found = fault(status, body, asked=BATCH)
    assert hint in found.error.hint
    assert found.error.exit_code == (Exit.UNAUTHORIZED if isinstance(found.error, Unauthorized) else Exit.UNAVAILABLE)


def test_only_a_query_at_fault_is_worth_halving():
    assert isinstance(fault(400, {"category": "VALIDATION_ERROR"}).error, QueryRefused)
    for status, body in ((400, {}), (400, {"category": "OTHER"}), (414, {"category": "VALIDATION_ERROR"})):
        assert type(fault(status, body).error) is Unavailable


def test_what_another_try_does_not_mend_is_not_tried_again():
    assert interpret(READ, TransportError("no address", retryable=False), Attempt(1, NOW)).wait_s is None


def test_searches_are_spaced_evenly():
    spacing = EvenSpacing(4)
    assert [spacing.wait_s(now) for now in (0.0, 0.0, 0.0, 10.0)] == [0, 0.25, 0.5, 0]
    assert [EvenSpacing(0).wait_s(0.0) for _ in range(3)] == [0, 0, 0]


def test_no_ten_seconds_hold_more_than_the_limit_less_its_margin():
    rolling, now, sent = RollingWindow(20), 0.0, []
    for _ in range(100):
        now += rolling.wait_s(now)
        sent.append(now)
        now += 0.01
    assert max(sum(start <= at < start + 10 for at in sent) for start in sent) == 18


def test_the_limit_is_learned():
    rolling = RollingWindow(10)
    assert [rolling.wait_s(0.0) for _ in range(9)] == [0.0] * 9
    assert rolling.wait_s(0.0) == 10
    rolling.learn(0)  # nonsense is no news
    rolling.learn(100)
    assert rolling.wait_s(1.0) == 0


def test_an_answer_shows_nothing_of_its_body():
    assert "secret" not in repr(Response(200, {}, b"secret"))
