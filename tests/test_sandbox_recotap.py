"""Recotap's stand-in accepts, refuses and misbehaves as configured, over real HTTP."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from syncd.sandbox import KEY, Sandbox
from syncd.sandbox.recotap.service import clean_domain
from syncd.sandbox.recotap.validator import is_email, is_iso8601

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the CA list for each client would take most of the time


@pytest.fixture
def box():
    with Sandbox(now=lambda: NOW) as box:
        yield box


@pytest.fixture
def rt(box):
    return box.recotap


@pytest.fixture
def client(box):
    with httpx.Client(base_url=box.recotap_url, headers={"X-Api-Key": box.key}, timeout=5, verify=NO_TLS) as client:
        yield client


def call(name="call-1", **changes):
    """Return a valid activity with these changes. None removes a key."""
    activity = {
        "externalActivityId": name, "activityType": "call", "occurredAt": "2026-04-22T10:30:00Z",
        "domain": "birch-mills-1.com", "accountName": "Birch Mills", "ownerEmail": "ada@lanternfield-sales.com",
        "ownerName": "Ada Aldermoor", "ownerId": "1", "callTitle": "Demo", "durationMinutes": 12.5,
        "outcome": "Connected", "direction": "outbound", "from": {"name": "Ada", "email": "ada@lanternfield-sales.com"},
        "contacts": [{"email": "bram@birch-mills-1.com", "name": "Bram"}],
    }  # fmt: skip
    return {key: value for key, value in {**activity, **changes}.items() if value is not None}


def post(client, *activities, path="sales-activities", **options):
    return client.post(path, json={"activities": list(activities)}, **options)


def outcome(answer):
    """Return (id, status) of each result."""
    assert answer.status_code == 200, answer.text
    return [(result["externalActivityId"], result["status"]) for result in answer.json()["data"]["results"]]


# Accepted bodies


def test_a_good_activity_is_created_once(rt, client):
    answer = post(client, call())
    assert answer.json() == {
        "statusCode": 200, "timestamp": "2026-06-01T12:00:00.000Z", "path": "/api/v1/sales-activities",
        "data": {
            "results": [{"externalActivityId": "call-1", "status": "created"}],
            "summary": {"total": 1, "created": 1, "failed": 0, "skipped": 0},
        },
    }  # fmt: skip
    (result,) = post(client, call()).json()["data"]["results"]
    assert result == {
        "externalActivityId": "call-1", "status": "failed",
        "error": "Activity with externalActivityId 'call-1' already exists.",
    }  # fmt: skip
    assert rt.stored == {"call-1": (call(), 1)}
    assert (rt.received["call-1"], rt.doubled) == (2, 0)
    assert list(rt.posts) == [(("call-1",), 200)] * 2


def test_an_id_twice_in_one_body_is_created_once(client):
    assert outcome(post(client, call(), call())) == [("call-1", "created"), ("call-1", "failed")]


def test_other_types_are_skipped(rt, client):
    data = post(client, call(), call("m", activityType="meeting")).json()["data"]
    assert data["results"][1]["reason"] == "Only call and email activity types are supported"
    assert data["summary"] == {"total": 2, "created": 1, "failed": 0, "skipped": 1}
    assert list(rt.stored) == ["call-1"]


def test_optional_keys_may_be_missing_or_null(client):
    optional = ("accountName", "ownerName", "ownerId", "callTitle", "durationMinutes", "outcome", "direction", "from")
    assert outcome(post(client, call(**dict.fromkeys(optional)))) == [("call-1", "created")]
    assert outcome(post(client, call("call-2") | dict.fromkeys(optional))) == [("call-2", "created")]


def test_the_older_base_path_works_too(box, client):
    older = f"{box.recotap_url}/crm/sales-activities"
    assert outcome(post(client, call(), path=older)) == [("call-1", "created")]


def test_it_tells_how_many_posts_of_a_key_were_in_flight_at_once_and_whose_they_were(box, rt, client):
    rt.faults.add("slow", seconds=5.0, method="POST", count=3)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(post, client, call(f"call-{n}")) for n in range(3)]
        while len(rt.traffic.arrivals) < 3:
            time.sleep(0.001)
        assert rt.state()["most_in_flight"] == 3
        while not all(answer.done() for answer in answers):
            rt.faults.release()
        assert {answer.result().status_code for answer in answers} == {200}
    post(client, call("call-4"), headers={"X-Api-Key": "another", "User-Agent": "someone"})
    assert (rt.traffic.most_in_flight(), rt.traffic.most["another"]) == (3, 1)
    *three, last = client.post(box.describe()["recotap_control"], json={"do": "arrivals"}).json()
    assert sorted(in_flight for *_, in_flight, _ in three) == [1, 2, 3]
    assert sorted(ids for *_, ids in three) == [["call-0"], ["call-1"], ["call-2"]]
    assert len({port for _, port, *_ in three}) == 3
    assert last[2:] == ["someone", 1, []]  # its key is refused before anything is read
    rt.forget()
    assert (rt.traffic.most_in_flight(), rt.traffic.listed()) == (0, [])


def test_many_requests_at_once_create_each_id_once(rt, client):
    bodies = [[call(f"call-{n}") for n in range(20)]] * 8
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: post(client, *body), bodies))
    created = [name for answer in answers for name, status in outcome(answer) if status == "created"]
    assert sorted(created) == sorted(rt.stored)
    assert len(created) == 20


# Refused bodies, of which nothing is stored


@pytest.mark.parametrize(
    ("changes", "path", "rule", "text"),
    [
        ({"externalActivityId": ""}, [], "isNotEmpty", "externalActivityId should not be empty"),
        ({"externalActivityId": 7}, [], "isString", "externalActivityId must be a string"),
        ({"occurredAt": "yesterday"}, [], "isISO8601", "occurredAt must be a valid ISO 8601 date string"),
        ({"occurredAt": None}, [], "isISO8601", "occurredAt must be a valid ISO 8601 date string"),
        ({"domain": ""}, [], "isNotEmpty", "domain should not be empty"),
        ({"ownerEmail": "Ada"}, [], "isEmail", "ownerEmail must be an email"),
        ({"contacts": []}, [], "arrayMinSize", "contacts must contain at least 1 elements"),
        ({"contacts": None}, [], "isArray", "contacts must be an array"),
        ({"direction": "internal"}, [], "isIn", "direction must be one of the following values: inbound, outbound"),
        (
            {"durationMinutes": "3"},
            [],
            "isNumber",
            "durationMinutes must be a number conforming to the specified constraints",
        ),
        ({"subject": 3}, [], "isString", "subject must be a string"),
        ({"contacts": [{"email": "not available"}]}, ["contacts", "0"], "isEmail", "email must be an email"),
        ({"contacts": [{"email": "a@b-1.com", "phone": 5}]}, ["contacts", "0"], "isString", "phone must be a string"),
        ({"from": {"email": "nobody"}}, ["from"], "isEmail", "email must be an email"),
    ],
)
def test_one_bad_item_refuses_the_body_and_is_named(rt, client, changes, path, rule, text):
    answer = post(client, call("good"), call("bad", **changes))
    body = answer.json()
    assert (answer.status_code, body["message"], rt.stored) == (400, "Bad Request", {})
    (activities,) = body["data"]
    (item,) = activities["children"]
    assert (activities["property"], item["property"]) == ("activities", "1")
    children = item["children"]
    for step in path:
        (error,) = children
        assert error["property"] == step
        children = error["children"]
    (error,) = children
    assert error["constraints"][rule] == text


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({}, "isArray"),
        ({"activities": []}, "arrayMinSize"),
        ({"activities": [call(str(n)) for n in range(51)]}, "arrayMaxSize"),
        ({"activities": "all"}, "isArray"),
    ],
)
def test_a_body_holds_1_to_50_activities(client, body, rule):
    answer = client.post("sales-activities", json=body)
    assert answer.status_code == 400
    assert rule in answer.json()["data"][0]["constraints"]


def test_fifty_are_allowed(client):
    assert len(outcome(post(client, *(call(str(n)) for n in range(50))))) == 50


def test_unknown_keys_are_refused_only_when_it_whitelists(rt, client):
    assert post(client, call(colour="red")).status_code == 200
    rt.whitelist = True
    answer = post(client, call("call-2", colour="red"))
    (error,) = answer.json()["data"][0]["children"][0]["children"]
    assert error["constraints"] == {"whitelistValidation": "property colour should not exist"}


@pytest.mark.parametrize(
    ("style", "body"),
    [
        ("flat", {"statusCode": 400, "message": ["activities.1.ownerEmail must be an email"], "error": "Bad Request"}),
        ("opaque", {"message": "Bad Request", "customMessage": "Validation failed", "data": None}),
        ("bare", {"message": "Bad Request"}),
    ],
)
def test_a_400_comes_in_other_styles(rt, client, style, body):
    rt.style = style
    answer = post(client, call("good"), call("bad", ownerEmail="Ada"))
    envelope = {"statusCode": 400, "timestamp": "2026-06-01T12:00:00.000Z", "path": "/api/v1/sales-activities"}
    assert (answer.status_code, answer.json()) == (400, body if style == "flat" else envelope | body)


@pytest.mark.parametrize(
    "address",
    [
        "a@birch-mills-1.com", "A.B+c@x-1.co.uk", "jörg@birch-1.de", "a@bücher-1.de", "a@xn--bcher-kva.de",
        "o'hara@x-1.com", '"a b"@x-1.com', "a" * 64 + "@x-1.com", "a@" + "b" * 63 + ".com",
        "a@" + ".".join(["b" * 60] * 4) + ".com",
    ],
)  # fmt: skip
def test_an_address_passes_as_with_validator_js(address):
    assert is_email(address)


@pytest.mark.parametrize(
    "address",
    [
        None, "", "not available", "inferred - a@x-1.com", "Ada <a@x-1.com>", "a@x-1.com;b@x-1.com", "@x-1.com",
        "a@localhost", "a@x_1.com", "a@-x.com", "a@x-.com", "a@x.c", "a@x.123", "a@x.com.", "a@x..com", "a@10.0.0.1",
        "a..b@x-1.com", ".a@x-1.com", "a@b@x-1.com", "a b@x-1.com", "a;b@x-1.com", "a\u00a0b@x-1.com",
        "a@x-1.com\n", " a@x-1.com", "a" * 65 + "@x-1.com", "a@" + "b" * 64 + ".com",
        "aaaaaaaaaaa@" + ".".join(["b" * 60] * 4) + ".com",
    ],
)  # fmt: skip
def test_an_address_fails_as_with_validator_js(address):
    assert not is_email(address)


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-22T10:30:00Z", "2026-04-22T10:30:00.123Z", "2026-04-22T10:30:00+02:00", "2026-04-22 10:30:00",
        "2026-04-22", "2026-04", "2026-W17-3", "20260422",
    ],
)  # fmt: skip
def test_a_time_passes_as_with_validator_js(text):
    assert is_iso8601(text)


@pytest.mark.parametrize(
    "text",
    [
        "", 5, "22.04.2026", "2026-13-01", "2026-04-22T25:00:00Z", "1776850200000", "2026-04-22T10:30:00Z ",
        "2026-04-22T10:30:00Z\n",
    ],
)  # fmt: skip
def test_a_time_fails_as_with_validator_js(text):
    assert not is_iso8601(text)


# Routes and keys


@pytest.mark.parametrize(
    ("headers", "message"), [({}, "X-Api-Key header is required"), ({"X-Api-Key": "wrong"}, "Invalid API key")]
)
def test_without_the_key_it_answers_401(box, headers, message):
    url = f"{box.recotap_url}/sales-activities"
    answer = httpx.post(url, headers=headers, json={"activities": [call()]}, verify=NO_TLS)
    assert (answer.status_code, answer.json()["message"]) == (401, message)
    assert box.recotap.received.total() == 0


def test_a_wrong_path_is_404_before_the_key_is_asked_for(box):
    base = box.recotap_url.removesuffix("/v1")
    answer = httpx.post(f"{base}/sales-activities", json={}, verify=NO_TLS)
    assert (answer.status_code, answer.json()["message"]) == (404, "Cannot POST /api/sales-activities")


def test_a_body_too_large_is_413(rt, client):
    rt.max_body = 1000
    assert post(client, *(call(str(n)) for n in range(5))).status_code == 413
    assert post(client, call()).status_code == 200


def test_only_json_of_the_json_content_type_is_read(rt, client):
    text = json.dumps({"activities": [call()]})
    assert client.post("sales-activities", content=text).status_code == 400
    headers = {"Content-Type": "application/json"}
    assert client.post("sales-activities", content=text[:-1], headers=headers).status_code == 400
    assert client.post("sales-activities", content=text, headers=headers).status_code == 200


# Accounts


def test_accounts_are_found_by_domain_and_in_pages(rt, client):
    for domain in ("https://www.Birch-Mills-1.com/about", "amber-gears-2.de", "delta-looms-3.fr"):
        rt.account(domain)
    found = client.get("accounts", params={"domains": '["birch-mills-1.com","nowhere-9.com"]'}).json()["data"]
    assert [account["domain"] for account in found["data"]] == ["birch-mills-1.com"]
    first = client.get("accounts", params={"limit": 2}).json()["data"]
    assert (len(first["data"]), first["hasNextPage"]) == (2, True)
    last = client.get("accounts", params={"limit": 2, "cursor": first["nextCursor"]}).json()["data"]
    assert (len(last["data"]), last["hasNextPage"]) == (1, False)
    assert last["nextCursor"]
    too_many = json.dumps([f"x-{n}.com" for n in range(101)])
    assert client.get("accounts", params={"domains": too_many}).status_code == 400
    assert client.get("accounts", params={"domains": "birch"}).status_code == 400


@pytest.mark.parametrize("domain", ["birch-1.com", "Birch-1.com ", "https://birch-1.com", "http://www.birch-1.com/x/y"])
def test_domains_are_cleaned(domain):
    assert clean_domain(domain) == "birch-1.com"


# Misbehaviour


def test_items_fail_or_are_skipped_by_id_predicate_and_count(rt, client):
    rt.rule("fail", ids={"a"}, text="Account could not be resolved")
    rt.rule("skip", when=lambda item: item["domain"] == "b-1.com", text="Not wanted")
    rule = rt.rule("fail", ids={"c"}, count=1)
    items = [call("a"), call("b", domain="b-1.com"), call("c"), call("d")]
    results = post(client, *items).json()["data"]["results"]
    assert results[0] == {"externalActivityId": "a", "status": "failed", "error": "Account could not be resolved"}
    assert results[1] == {"externalActivityId": "b", "status": "skipped", "reason": "Not wanted"}
    assert [result["status"] for result in results[2:]] == ["failed", "created"]
    assert outcome(post(client, call("c"))) == [("c", "created")]
    assert rule.hits == 1
    rt.clear_rules()
    assert outcome(post(client, call("a"))) == [("a", "created")]


def test_items_are_missing_from_the_results_or_twice_in_them(rt, client):
    rt.rule("omit", ids={"a"})
    rt.rule("double", ids={"b"})
    assert outcome(post(client, call("a"), call("b"))) == [("b", "created"), ("b", "created")]
    assert rt.stored.keys() == {"a", "b"}


def test_a_refused_id_takes_the_whole_body_with_it(rt, client):
    rt.rule("refuse", ids={"bad"})
    answer = post(client, call("good"), call("bad"))
    assert answer.json()["data"][0]["children"][0]["property"] == "1"
    assert (answer.status_code, rt.stored) == (400, {})
    assert outcome(post(client, call("good"))) == [("good", "created")]


def test_an_id_brings_the_server_down_before_anything_is_stored(rt, client):
    rt.rule("error", ids={"bad"})
    assert post(client, call("good"), call("bad")).status_code == 500
    assert rt.stored == {}


def test_work_is_done_and_its_answer_dropped(rt, client):
    rt.rule("store_then_drop", count=1)
    with pytest.raises(httpx.ReadError):
        post(client, call())
    assert list(rt.posts) == [(("call-1",), 0)]
    assert outcome(post(client, call())) == [("call-1", "failed")]
    assert rt.stored["call-1"][1] == 1


def test_work_is_done_and_answered_with_500_or_html(rt, client):
    rt.rule("store_then_error", ids={"a"})
    rt.rule("html", ids={"b"})
    assert post(client, call("a")).status_code == 500
    page = post(client, call("b"))
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    assert rt.stored.keys() == {"a", "b"}


def test_answers_come_bare_with_strange_ids_and_wrong_sums(rt, client):
    for do in ("bare", "unknown_id", "wrong_summary"):
        rt.rule(do, count=1)
    body = post(client, call()).json()
    assert body.keys() == {"results", "summary"}
    assert body["results"][0]["externalActivityId"] == "never-sent"
    assert body["summary"]["created"] == 999
    assert post(client, call()).json().keys() == {"statusCode", "timestamp", "path", "data"}


def test_faults_before_and_after_the_work(rt, client):
    rt.faults.add("server_error", match="sales-activities")
    rt.faults.add("reset", match="sales-activities", after=True)
    assert post(client, call("a")).status_code == 500
    assert rt.stored == {}
    with pytest.raises(httpx.ReadError):
        post(client, call("a"))
    assert rt.stored.keys() == {"a"}


def test_without_deduplication_repeats_are_counted(rt, client):
    rt.dedupe = False
    post(client, call())
    assert outcome(post(client, call())) == [("call-1", "created")]
    assert (rt.stored["call-1"][1], rt.doubled) == (2, 1)


def test_payloads_need_not_be_kept(rt, client):
    rt.keep_payloads = False
    post(client, call())
    assert rt.stored == {"call-1": ({}, 1)}


def test_a_crash_resets_the_connection_and_stores_nothing_of_the_batch(rt, client):
    rt.rule("crash", ids=["call-1"])
    with pytest.raises(httpx.TransportError):
        post(client, call(), call("call-2"))
    assert rt.stored == {}
    assert outcome(post(client, call("call-2"))) == [("call-2", "created")]


def test_a_batch_that_is_too_large_to_be_quick_is_stored_without_an_answer(rt, client):
    rt.set(slow_over=1, slow_s=0.0)
    with pytest.raises(httpx.TransportError):
        post(client, call(), call("call-2"))
    assert set(rt.stored) == {"call-1", "call-2"}
    assert outcome(post(client, call("call-3"))) == [("call-3", "created")]


def test_a_firewall_refuses_a_text_in_a_form_of_its_own_whatever_the_key(rt, client):
    rt.set(forbidden=["DROP TABLE"])
    for headers in ({}, {"X-Api-Key": "another"}):
        answer = post(client, call(callTitle="DROP TABLE a;"), headers=headers)
        assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
    assert not rt.received
    assert outcome(post(client, call())) == [("call-1", "created")]


def test_an_unknown_rule_or_setting_is_refused(rt):
    with pytest.raises(ValueError, match="no such rule"):
        rt.rule("explode")
    with pytest.raises(ValueError, match="no such setting"):
        rt.set(colour="red")


# As a separate process


def test_the_control_endpoint_tells_what_was_stored(box, client):
    control = box.describe()["recotap_control"]

    def order(**what):
        answer = client.post(control, json=what)
        assert answer.status_code == 200, answer.text
        return answer.json()

    order(do="rule", rule="fail", ids=["b"], text="Not today")
    post(client, call("a"), call("b"))
    assert order(do="stored") == {"a": 1}
    assert order(do="received") == {"a": 1, "b": 1}
    assert order(do="payloads", ids=["a", "b"]) == {"a": call("a")}
    assert order(do="posts") == [[["a", "b"], 200]]
    assert order(do="state")["stored"] == 1
    order(do="set", keys=["another"])
    assert post(client, call("c")).status_code == 401
    order(do="forget")
    assert order(do="stored") == {}


def test_it_serves_from_a_process_of_its_own_until_sigterm(tmp_path):
    ready = tmp_path / "ready.json"
    arguments = ["--calls", "50", "--emails", "10", "--seed", "3", "--no-limits", "--ready-file", str(ready)]
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd.sandbox", *arguments], stdout=subprocess.PIPE, cwd=root, env={**os.environ}
    )
    with process:
        line = json.loads(process.stdout.readline())
        assert json.loads(ready.read_text()) == line
        assert line["world"]["calls"] == 50
        with httpx.Client(headers={"X-Api-Key": KEY}, verify=NO_TLS) as client:
            assert outcome(client.post(f"{line['recotap_url']}/sales-activities", json={"activities": [call()]}))
            headers = {"Authorization": f"Bearer {line['hubspot_token']}"}
            found = client.post(f"{line['hubspot_url']}/crm/objects/2026-03/calls/search", headers=headers, json={})
            assert found.json()["total"] == 50
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
