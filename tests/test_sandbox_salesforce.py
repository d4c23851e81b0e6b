"""Salesforce's stand-in responds over TLS like the real one, and fails only on order."""

import base64
import gzip
import json
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from syncd.sandbox import Sandbox
from syncd.sandbox.salesforce import CLIENT_ID, USERNAME, Salesforce, sample
from syncd.sandbox.salesforce.ids import PREFIXES, whole
from syncd.sandbox.salesforce.lifelike import ROWS
from syncd.sandbox.salesforce.world import generate

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
T0 = datetime(2026, 5, 28, 8, 0, tzinfo=UTC)
DATA = "/services/data/v66.0"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Client:
    """A client that uses the stand-in like a reader of activities."""

    def __init__(self, box):
        self.box = box
        trust = ssl.create_default_context(cafile=box.salesforce_ca)
        self.http = httpx.Client(base_url=box.salesforce_url, verify=trust, trust_env=False, timeout=5)
        self.login()

    def token(self, **form):
        return self.http.post("/services/oauth2/token", data=form)

    def login(self):
        secrets = {"client_id": self.box.client_id, "client_secret": self.box.client_secret}
        answer = self.token(grant_type="client_credentials", **secrets)
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def query(self, soql, verb="query", **headers):
        return self.http.get(f"{DATA}/{verb}/", params={"q": soql}, headers=headers)

    def rows(self, soql, verb="query"):
        answer = self.query(soql, verb)
        assert answer.status_code == 200, answer.text
        return answer.json()["records"]

    def subjects(self, verb="query"):
        return "".join(row["Subject"] for row in self.rows("SELECT Subject FROM Task ORDER BY Subject", verb))

    def pages(self, soql, verb="query"):
        page = self.query(soql, verb).json()
        yield page
        while not page["done"]:
            page = self.http.get(page["nextRecordsUrl"]).json()
            yield page

    def describe(self, name):
        return self.http.get(f"{DATA}/sobjects/{name}/describe")

    def columns(self, name):
        return {field["name"] for field in self.describe(name).json()["fields"]}

    def batch(self, *urls, method="GET"):
        parts = [{"method": method, "url": url} for url in urls]
        return self.http.post(f"{DATA}/composite/batch", json={"batchRequests": parts})

    def retrieve(self, name, ids, fields=("Id",)):
        return self.http.post(f"{DATA}/composite/sobjects/{name}", json={"ids": list(ids), "fields": list(fields)})

    def order(self, do, **arguments):
        return self.http.post("/_sandbox", json={"do": do, **arguments})


@pytest.fixture
def box():
    with Sandbox(now=lambda: NOW, salesforce={}) as box:
        yield box


@pytest.fixture
def org(box):
    return box.salesforce


@pytest.fixture
def client(box):
    client = Client(box)
    yield client
    client.http.close()


def tasks(org, count=5, **fields):
    """Put tasks a, b, …, one second apart."""
    return [
        org.put("Task", {"Subject": chr(97 + n), **fields}, modified_at=T0 + timedelta(seconds=n)) for n in range(count)
    ]


def error(answer):
    (found,) = answer.json()
    return answer.status_code, found["errorCode"], found["message"]


BY_STAMP = "FROM Task ORDER BY SystemModstamp, Id"


# TLS and the sandbox


def test_the_box_serves_salesforce_over_tls_for_loopback_alone(box, client):
    port = box.salesforce_url.rpartition(":")[2]
    assert box.salesforce_url == f"https://127.0.0.1:{port}"
    trust = ssl.create_default_context(cafile=box.salesforce_ca)
    assert httpx.get(f"https://localhost:{port}/services/data/", verify=trust, trust_env=False).status_code == 200
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(box.salesforce_url, verify=ssl.create_default_context(), trust_env=False)


def test_who_speaks_no_tls_holds_nobody_up(box, client):
    host, port = "127.0.0.1", int(box.salesforce_url.rpartition(":")[2])
    with socket.create_connection((host, port)), socket.create_connection((host, port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        begun = time.monotonic()
        client.login()
        assert time.monotonic() - begun < 1


def test_the_authority_is_gone_with_the_box(client, box):
    ca = Path(box.salesforce_ca)
    assert "BEGIN CERTIFICATE" in ca.read_text()
    box.__exit__()
    assert not ca.exists()


def test_a_box_without_salesforce_makes_no_certificate():
    code = (
        "import sys; from syncd.sandbox import Sandbox\n"
        "with Sandbox() as box: print(sorted(box.describe()), 'trustme' in sys.modules, 'jwt' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "salesforce" not in done.stdout
    assert done.stdout.endswith("False False\n")


def test_describe_says_where_salesforce_is_and_what_opens_it(box):
    told = box.describe()
    assert told["salesforce_url"] == box.salesforce_url
    assert told["salesforce_ca"] == box.salesforce_ca
    assert (told["salesforce_client_id"], told["salesforce_client_secret"]) == (box.client_id, box.client_secret)
    assert told["salesforce_control"] == f"{box.salesforce_url}/_sandbox"


def test_the_command_serves_an_invented_org_until_sigterm(tmp_path):
    ready = tmp_path / "ready"
    asked = "--salesforce --salesforce-calls 4 --salesforce-emails 2 --contacts-each 2 --clean --no-limits"
    command = [sys.executable, "-m", "syncd.sandbox", *asked.split(), "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as served:
        give_up = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < give_up:
            time.sleep(0.02)
        told = json.loads(ready.read_text())
        trust = ssl.create_default_context(cafile=told["salesforce_ca"])
        state = httpx.post(told["salesforce_control"], json={"do": "state"}, verify=trust, trust_env=False).json()
        served.terminate()
        assert served.wait(10) == 0
    assert (told["salesforce_world"]["calls"], told["salesforce_world"]["emails"]) == (4, 2)
    assert state["TaskWhoRelation"]["all"] == 12
    assert not Path(told["salesforce_ca"]).exists()


# Tokens


def test_a_token_answer_is_the_recorded_one_and_has_no_expires_in(client, box, org):
    answer = client.token(
        grant_type="client_credentials", client_id=box.client_id, client_secret=box.client_secret
    ).json()
    recorded = sample("oauth_token_ok.json")
    assert recorded.keys() <= answer.keys()
    assert "expires_in" not in answer
    assert answer["instance_url"] == box.salesforce_url
    assert answer["id"] == f"https://login.salesforce.com/id/{org.org_id}/{org.acting_user}"
    assert answer["issued_at"] == str(int(NOW.timestamp() * 1000))
    assert answer["access_token"].startswith(f"{org.org_id[:15]}!")


def test_client_credentials_are_taken_from_the_basic_header_too(box, client):
    path, form = "/services/oauth2/token", {"grant_type": "client_credentials"}
    assert client.http.post(path, data=form, auth=(box.client_id, box.client_secret)).status_code == 200
    assert client.http.post(path, data=form, auth=(box.client_id, "x")).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("form", "status", "name", "description"),
    [
        ({"client_id": "x", "client_secret": "sandbox-consumer-secret"}, 400, "invalid_client_id",
         "client identifier invalid"),
        ({"client_id": CLIENT_ID, "client_secret": "x"}, 401, "invalid_client", "invalid client credentials"),
        ({"client_id": CLIENT_ID}, 401, "invalid_client", "invalid client credentials"),
        ({"grant_type": "password", "username": "a", "password": "b"}, 400, "invalid_grant", "authentication failure"),
        ({"grant_type": "magic"}, 400, "unsupported_grant_type", "grant type not supported"),
        ({"grant_type": JWT_BEARER, "assertion": "a.b.c"}, 400, "invalid_grant", "invalid assertion"),
    ],
)  # fmt: skip
def test_what_opens_nothing_is_refused_as_oauth_does(client, form, status, name, description):
    answer = client.token(**{"grant_type": "client_credentials", **form})
    assert answer.status_code == status
    assert answer.json() == {"error": name, "error_description": description}
    assert answer.json().keys() == sample("oauth_error_invalid_grant.json").keys()


def test_client_credentials_need_the_orgs_own_host(org, client, box):
    org.set(login_host_is_generic=True)
    secrets = {"client_id": box.client_id, "client_secret": box.client_secret}
    answer = client.token(grant_type="client_credentials", **secrets)
    assert (answer.status_code, answer.json()) == (400, sample("oauth_error_wrong_domain.json"))


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key):
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


def assertion(key, **changes):
    claims = {"iss": CLIENT_ID, "sub": USERNAME, "aud": "https://login.salesforce.com", **changes}
    claims.setdefault("exp", int(NOW.timestamp()) + 180)
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm="RS256")


@pytest.mark.parametrize("audience", ["https://login.salesforce.com", "https://test.salesforce.com", "own"])
def test_a_signed_assertion_opens_a_session(org, client, key, audience, box):
    org.set(public_key=public(key))
    audience = box.salesforce_url if audience == "own" else audience
    token = client.token(grant_type=JWT_BEARER, assertion=assertion(key, aud=audience)).json()["access_token"]
    client.http.headers["Authorization"] = f"Bearer {token}"
    assert client.query("SELECT Id FROM Task").status_code == 200


@pytest.mark.parametrize(
    ("changes", "name", "description"),
    [
        ({"iss": "x"}, "invalid_client_id", "client identifier invalid"),
        ({"sub": "x"}, "invalid_grant", "user hasn't approved this consumer"),
        ({"aud": "https://x.com"}, "invalid_grant", "audience is invalid"),
        ({"exp": int(NOW.timestamp()) + 600}, "invalid_grant", "invalid assertion"),
        ({"exp": int(NOW.timestamp()) - 1}, "invalid_grant", "expired authorization code"),
        ({"exp": None}, "invalid_grant", "invalid assertion"),
    ],
)
def test_an_assertion_is_checked_claim_by_claim(org, client, key, changes, name, description):
    org.set(public_key=public(key))
    answer = client.token(grant_type=JWT_BEARER, assertion=assertion(key, **changes))
    assert (answer.status_code, answer.json()) == (400, {"error": name, "error_description": description})


def test_an_assertion_of_another_key_or_kind_is_invalid(org, client, key):
    org.set(public_key=public(key))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    unsigned = f"{head}.{assertion(key).split('.')[1]}."
    for wrong in (assertion(other), unsigned):
        assert client.token(grant_type=JWT_BEARER, assertion=wrong).json()["error_description"] == "invalid assertion"


def test_without_a_session_there_is_the_recorded_401(org, client):
    client.http.headers["Authorization"] = "Bearer x"
    answer = client.query("SELECT Id FROM Task")
    assert (answer.status_code, answer.json()) == (401, sample("error_401_invalid_session.json"))


def test_sessions_end_unused_or_all_at_once(box, org, client):
    box.clock.advance(7100)
    assert client.query("SELECT Id FROM Task").status_code == 200
    box.clock.advance(7100)
    assert client.query("SELECT Id FROM Task").status_code == 200
    box.clock.advance(7200)
    assert client.query("SELECT Id FROM Task").status_code == 401
    client.login()
    org.expire_sessions()
    assert client.query("SELECT Id FROM Task").status_code == 401


def test_userinfo_tells_the_acting_user(org, client):
    told = client.http.get("/services/oauth2/userinfo").json()
    assert (told["user_id"], told["organization_id"]) == (org.acting_user, org.org_id)
    assert client.rows(f"SELECT Name FROM User WHERE Id = '{org.acting_user}'")[0]["Name"] == told["name"]


# Versions and limits


def test_versions_are_listed_for_everybody(client, org):
    del client.http.headers["Authorization"]
    listed = client.http.get("/services/data/").json()
    assert (listed[0]["version"], listed[-1]["version"]) == ("31.0", "67.0")
    assert listed[-1] == {"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"}


def test_an_old_version_is_gone_and_a_future_one_unknown(client):
    answers = [client.http.get(f"/services/data/v{version}.0/limits") for version in (30, 31, 67, 68)]
    assert [answer.status_code for answer in answers] == [410, 200, 200, 404]
    assert answers[0].json()[0]["errorCode"] == "GONE"
    assert answers[3].json() == sample("error_404_not_found.json")


def test_every_data_answer_says_how_much_of_the_day_is_used(org, client):
    org.set(daily_limit=5000, used=16)
    assert client.query("SELECT Id FROM Task").headers["Sforce-Limit-Info"] == "api-usage=17/5000"
    assert client.query("SELECT nonsense").headers["Sforce-Limit-Info"] == "api-usage=18/5000"
    client.login()
    client.http.get("/services/data/")
    assert client.http.get(f"{DATA}/limits").json()["DailyApiRequests"] == {"Max": 5000, "Remaining": 4981}
    assert sample("limits_excerpt.json")["DailyApiRequests"].keys() == {"Max", "Remaining"}


def test_a_used_up_day_refuses_everything_but_tokens(org, client):
    org.set(daily_limit=1)
    assert client.query("SELECT Id FROM Task").status_code == 200
    status, code, message = error(client.query("SELECT Id FROM Task"))
    assert (status, code, message) == (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    client.login()
    assert org.used == 1


def test_a_uri_that_is_too_long_gets_html(client):
    answer = client.query(f"SELECT Id FROM Task WHERE Subject = '{'x' * 16_300}'")
    assert (answer.status_code, answer.headers["Content-Type"]) == (414, "text/html")
    assert client.query("SELECT Id FROM Task", Filler="x" * 16_384).status_code == 431


def test_bodies_are_compressed_for_whoever_accepts_it(org, client):
    tasks(org, 40)
    with client.http.stream("GET", f"{DATA}/query/", params={"q": "SELECT Id FROM Task"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(json.loads(gzip.decompress(raw))["records"]) == 40
    plain = client.query("SELECT Id FROM Task", **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    org.set(gzip=False)
    assert "Content-Encoding" not in client.query("SELECT Id FROM Task").headers


def test_methods_and_paths_that_do_not_exist(client):
    assert error(client.http.post(f"{DATA}/query/", json={}))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert client.http.get(f"{DATA}/nothing").json() == sample("error_404_not_found.json")


def test_requests_are_counted_by_kind(org, client):
    org.set(page_size=1)
    tasks(org, 2)
    list(client.pages("SELECT Id FROM Task"))
    client.describe("Task")
    client.batch("v66.0/limits")
    client.retrieve("Task", [])
    client.http.get(f"{DATA}/limits")
    client.http.get("/services/data/")
    client.http.get("/services/oauth2/userinfo")
    client.http.get("/nowhere")
    kinds = "token query more describe batch retrieve limits versions userinfo other"
    assert org.requests == dict.fromkeys(kinds.split(), 1)


# Paging


def test_pages_follow_each_other_by_locators(org, client):
    org.set(page_size=2)
    ids = tasks(org)
    first, second, third = client.pages(f"SELECT Id {BY_STAMP}")
    assert [row["Id"] for page in (first, second, third) for row in page["records"]] == ids
    assert {page["totalSize"] for page in (first, second, third)} == {5}
    assert first.keys() == sample("query_page_first.json").keys()
    assert third.keys() == sample("query_page_last.json").keys()
    locator = first["nextRecordsUrl"].removeprefix(f"{DATA}/query/")
    assert locator.startswith("01g")
    row_id, _, served = locator.partition("-")
    assert (whole(row_id), served) == (row_id, "2")
    assert sample("query_page_vendor_doc.json")["nextRecordsUrl"].endswith("-500")


def test_a_page_whose_answer_was_lost_can_be_read_again(org, client):
    org.set(page_size=2)
    tasks(org)
    first = client.query(f"SELECT Id {BY_STAMP}").json()
    once, again = (client.http.get(first["nextRecordsUrl"]).json() for _ in range(2))
    assert once == again


def test_a_locator_that_is_dead_or_unknown_is_refused(box, org, client):
    org.set(page_size=2)
    tasks(org)

    def open_one():
        return client.query(f"SELECT Id {BY_STAMP}").json()["nextRecordsUrl"]

    url = open_one()
    assert error(client.http.get(f"{url}5"))[:2] == (400, "INVALID_QUERY_LOCATOR")
    org.kill_locators()
    assert error(client.http.get(url)) == (400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    url = open_one()
    box.clock.advance(timedelta(days=2, seconds=1).total_seconds())
    client.login()
    assert error(client.http.get(url))[1] == "INVALID_QUERY_LOCATOR"


def test_a_batch_size_is_granted_downwards_only(org, client):
    tasks(org, 250)
    asked = {"Sforce-Query-Options": "batchSize=200"}
    assert len(client.query("SELECT Id FROM Task", **asked).json()["records"]) == 200
    org.set(page_size=150)
    assert len(client.query("SELECT Id FROM Task", **asked).json()["records"]) == 150


def test_a_further_page_shows_rows_as_they_are_then(org, client):
    org.set(page_size=2)
    ids = tasks(org)
    page = client.query(f"SELECT Subject, SystemModstamp {BY_STAMP}").json()
    org.edit("Task", ids[2], Subject="edited")
    org.delete("Task", ids[3])
    page = client.http.get(page["nextRecordsUrl"]).json()
    assert [row["Subject"] for row in page["records"]] == ["edited", "e"]
    assert (page["totalSize"], page["done"]) == (5, True)


def test_a_further_page_shows_parents_as_they_are_then(org, client):
    org.set(page_size=2)
    account = org.put("Account", {"Name": "Amber"})
    tasks(org, 4, WhatId=account)
    page = client.query(f"SELECT Account.Name {BY_STAMP}").json()
    org.edit("Account", account, Name="Cinder")
    page = client.http.get(page["nextRecordsUrl"]).json()
    assert [row["Account"]["Name"] for row in page["records"]] == ["Cinder", "Cinder"]


def test_or_as_they_were_at_the_query(org, client):
    org.set(page_size=2, live_locators=False)
    ids = tasks(org)
    page = client.query(f"SELECT Subject {BY_STAMP}").json()
    org.edit("Task", ids[2], Subject="edited")
    assert [row["Subject"] for row in client.http.get(page["nextRecordsUrl"]).json()["records"]] == ["c", "d"]


@pytest.mark.parametrize("page_size", [8, 9])
def test_children_count_as_rows_of_the_page(org, client, page_size):
    """A row moves to the next page if the page has no space for any of its children."""
    org.set(page_size=page_size)
    people = [org.put("Contact", {"LastName": f"L{n}"}) for n in range(3)]
    for task in tasks(org):
        for person in people:
            org.relate(task, person)
    query = f"SELECT Subject, (SELECT RelationId FROM TaskWhoRelations) {BY_STAMP}"
    assert [len(page["records"]) for page in client.pages(query)] == [2, 2, 1]


@pytest.mark.parametrize(("page_size", "at_once"), [(1, 1), (3, 2)])
def test_children_that_do_not_fit_are_behind_a_url_of_their_own(org, client, page_size, at_once):
    org.set(page_size=page_size)
    people = [org.put("Contact", {"LastName": f"L{n}"}) for n in range(5)]
    for task in tasks(org, 2):
        for person in people:
            org.relate(task, person)
    query = f"SELECT Subject, (SELECT RelationId FROM TaskWhoRelations) {BY_STAMP}"
    read = []
    for page in client.pages(query):
        (task,) = page["records"]
        children = task["TaskWhoRelations"]
        assert (children["totalSize"], children["done"], len(children["records"])) == (5, False, at_once)
        found = list(children["records"])
        while not children["done"]:
            children = client.http.get(children["nextRecordsUrl"]).json()
            found += children["records"]
        read.append((task["Subject"], {row["RelationId"] for row in found}, len(found)))
    assert read == [("a", set(people), 5), ("b", set(people), 5)]


def test_deleted_children_are_no_children(org, client):
    person = org.put("Contact", {"LastName": "Dunmere"})
    org.delete("TaskWhoRelation", org.relate(org.put("Task", {}), person))
    assert client.rows("SELECT (SELECT Id FROM TaskWhoRelations) FROM Task")[0]["TaskWhoRelations"] is None


def test_a_query_that_matches_too_much_times_out(org, client):
    tasks(org)
    org.set(query_timeout_rows=3)
    answer = client.query("SELECT Id FROM Task LIMIT 1")
    assert (answer.status_code, answer.json()) == (400, sample("error_400_query_timeout.json"))
    assert len(client.rows("SELECT Id FROM Task WHERE SystemModstamp >= 2026-05-28T08:00:02Z")) == 3
    org.set(query_timeout_rows=None, too_large_rows=3)
    assert error(client.query("SELECT Id FROM Task", "queryAll"))[:2] == (400, "OPERATION_TOO_LARGE")
    assert client.query("SELECT Id FROM Task").status_code == 200


# Describe and permissions


def test_a_describe_has_the_keys_of_the_recorded_one(client):
    recorded, told = sample("describe_account_excerpt.json"), client.describe("Account").json()
    assert recorded.keys() <= told.keys()
    assert {tuple(field) for field in told["fields"]} == {tuple(recorded["fields"][0])}
    known = {field["name"]: field for field in told["fields"]}
    for field in recorded["fields"]:
        for key in ("type", "filterable", "sortable", "relationshipName", "referenceTo", "namePointing", "nillable"):
            assert known[field["name"]][key] == field[key], (field["name"], key)
    assert told["childRelationships"][0].keys() == recorded["childRelationships"][0].keys()


def test_a_describe_tells_lookups_to_several_objects(client):
    known = {field["name"]: field for field in client.describe("task").json()["fields"]}
    who = known["WhoId"]
    assert (who["relationshipName"], who["referenceTo"], who["polymorphicForeignKey"], who["namePointing"]) == (
        "Who", ["Contact", "Lead"], True, True)  # fmt: skip
    assert not known["AccountId"]["polymorphicForeignKey"]
    assert not known["Description"]["filterable"]
    assert [option["value"] for option in known["CallType"]["picklistValues"]] == ["Inbound", "Internal", "Outbound"]


@pytest.mark.parametrize("name", ["Nothing", "VoiceCall"])
def test_an_object_that_is_not_there_is_not_described(client, name):
    answer = client.describe(name)
    assert (answer.status_code, answer.json()) == (404, sample("error_404_not_found.json"))


@pytest.mark.parametrize(
    ("feature", "name", "columns"),
    [
        ("tracking", "EmailMessage", {"IsTracked", "IsOpened", "FirstOpenedDate", "LastOpenedDate"}),
        ("bounce_management", "EmailMessage", {"IsBounced"}),
        ("shared_activities", "Task", {"WhoCount", "WhatCount"}),
        ("person_accounts", "Contact", {"IsPersonAccount"}),
        ("person_accounts", "Account", {"IsPersonAccount", "PersonEmail"}),
    ],
)
def test_fields_come_and_go_with_their_feature(org, client, feature, name, columns):
    org.set(**{feature: True})
    assert columns <= client.columns(name)
    org.set(**{feature: False})
    assert not columns & client.columns(name)
    for column in columns:
        assert error(client.query(f"SELECT {column} FROM {name}"))[:2] == (400, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        ("enhanced_email", "EmailMessage"), ("enhanced_email", "EmailMessageRelation"),
        ("shared_activities", "TaskWhoRelation"), ("voice_call", "VoiceCall"),
    ],
)  # fmt: skip
def test_objects_come_and_go_with_their_feature(org, client, feature, name):
    for there in (True, False):
        org.set(**{feature: there})
        assert client.describe(name).status_code == (200 if there else 404)
        assert client.query(f"SELECT Id FROM {name}").status_code == (200 if there else 400)


def test_without_shared_activities_there_is_no_such_child(org, client):
    query = "SELECT (SELECT RelationId FROM TaskWhoRelations) FROM Task"
    assert client.query(query).status_code == 200
    org.set(shared_activities=False)
    assert "Didn't understand relationship 'TaskWhoRelations'" in error(client.query(query))[2]
    assert client.describe("Task").json()["childRelationships"] == []


def test_a_hidden_field_is_unknown_everywhere(org, client):
    org.put("Contact", {"LastName": "Dunmere", "Department": "Sales"})
    org.hide("Contact", "Department")
    assert "Department" not in client.columns("Contact")
    assert "No such column 'Department' on entity 'Contact'" in error(client.query("SELECT Department FROM Contact"))[2]
    typeof = "SELECT TYPEOF Who WHEN Contact THEN Department END FROM Task"
    assert error(client.query(typeof))[1] == "INVALID_FIELD"
    assert error(client.retrieve("Contact", [], ["Department"]))[1] == "INVALID_FIELD"


def test_a_hidden_object_is_unknown_everywhere(org, client):
    org.hide("Lead")
    assert client.describe("Lead").status_code == 404
    assert error(client.query("SELECT Id FROM Lead"))[1] == "INVALID_TYPE"
    assert error(client.query("SELECT TYPEOF Who WHEN Lead THEN Company END FROM Task"))[1] == "INVALID_TYPE"
    who = next(field for field in client.describe("Task").json()["fields"] if field["name"] == "WhoId")
    assert who["referenceTo"] == ["Contact"]
    org.put("Task", {"WhoId": org.put("Lead", {"LastName": "Fennbrook"})})
    assert client.rows("SELECT Who.Name FROM Task")[0]["Who"] is None
    assert client.rows("SELECT Id FROM Task WHERE Who.Name = 'Fennbrook'") == []


def test_custom_fields_are_defined_written_and_read(org, client):
    org.field("Task", "Started__c", "datetime")
    org.put("Task", {"Started__c": T0})
    assert "Started__c" in client.columns("Task")
    (row,) = client.rows("SELECT Started__c FROM Task WHERE Started__c <= 2026-05-28T08:00:00Z")
    assert row["Started__c"] == "2026-05-28T08:00:00.000+0000"
    with pytest.raises(ValueError, match="no such field: Task.Ended__c"):
        org.put("Task", {"Ended__c": T0})


@pytest.mark.parametrize("sees", [True, False])
def test_the_permission_to_view_all_data_can_be_asked_for(org, client, sees):
    org.set(view_all_data=sees)
    query = (
        f"SELECT Id FROM PermissionSetAssignment WHERE AssigneeId = '{org.acting_user}' "
        "AND PermissionSet.PermissionsViewAllData = true LIMIT 1"
    )
    assert bool(client.rows(query)) == sees
    inline = "SELECT PermissionSet.PermissionsViewAllData FROM PermissionSetAssignment"
    assert client.rows(inline)[0]["PermissionSet"]["PermissionsViewAllData"] is sees
    profile = f"SELECT Profile.PermissionsViewAllData FROM User WHERE Id = '{org.acting_user}'"
    assert client.rows(profile)[0]["Profile"]["PermissionsViewAllData"] is sees


def test_another_user_may_read(org, client):
    reader = org.user("ada@lanternfield-sales.com", "Ada", "Aldermoor")
    org.set(acting_user=reader)
    assert client.http.get("/services/oauth2/userinfo").json()["user_id"] == reader
    (row,) = client.rows("SELECT AssigneeId, Assignee.Name FROM PermissionSetAssignment")
    assert (row["AssigneeId"], row["Assignee"]["Name"]) == (reader, "Ada Aldermoor")


def test_or_the_question_is_refused(org, client):
    org.set(view_all_data=None)
    assert error(client.query("SELECT Id FROM PermissionSetAssignment"))[:2] == (400, "INVALID_TYPE")


# Batches


def test_a_batch_answers_each_part_and_counts_it(org, client):
    tasks(org, 1)
    ask = "v66.0/query/?q=SELECT+Subject+FROM+Task"
    answer = client.batch(ask, "/services/data/v66.0/sobjects/Nothing/describe", "v66.0/query?q=nonsense").json()
    assert answer["hasErrors"] is True
    assert [part["statusCode"] for part in answer["results"]] == [200, 404, 400]
    assert answer["results"][0]["result"]["records"][0]["Subject"] == "a"
    assert answer["results"][1]["result"] == sample("error_404_not_found.json")
    assert org.used == 3
    assert client.batch(ask).json()["hasErrors"] is False


def test_a_batch_has_at_most_25_parts_and_reads_only(client):
    assert client.batch(*["v66.0/limits"] * 25).status_code == 200
    assert client.batch(*["v66.0/limits"] * 26).status_code == 400
    assert client.batch("v66.0/limits", method="PATCH").json()["results"][0]["statusCode"] == 405


def test_rows_are_retrieved_by_id_in_place_and_null_where_there_is_none(org, client):
    kept, deleted = (org.put("Contact", {"LastName": name, "Email": f"{name}@x.com"}) for name in ("Dun", "Fen"))
    org.delete("Contact", deleted)
    answer = client.retrieve("Contact", ["003000000000000AAA", deleted, kept, kept[:15]], ["Email"])
    url = f"{DATA}/sobjects/Contact/{kept}"
    row = {"attributes": {"type": "Contact", "url": url}, "Email": "Dun@x.com"}
    assert answer.json() == [None, None, row, row]
    assert org.used == 1


@pytest.mark.parametrize("field", ["Nope", "Account.Name"])
def test_a_retrieve_takes_plain_fields_alone(client, field):
    assert error(client.retrieve("Contact", [], ["Id", field]))[:2] == (400, "INVALID_FIELD")


def test_a_retrieve_takes_2000_ids_of_one_object(client):
    assert client.retrieve("Contact", ["003000000000000AAA"] * 2000).json() == [None] * 2000
    assert client.retrieve("Contact", ["003000000000000AAA"] * 2001).status_code == 400
    recorded = sample("error_400_malformed_id.json")[0]
    answer = client.retrieve("Account", ["003000000000000AAA"])
    assert answer.json()[0].keys() == recorded.keys()
    assert error(answer) == (400, "MALFORMED_ID", "Account ID: id value of incorrect type: 003000000000000AAA")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"ids": 5, "fields": []}', b'{"fields": []}'])
def test_a_body_of_another_shape_is_a_parser_error(client, body):
    answer = client.http.post(f"{DATA}/composite/sobjects/Contact", content=body)
    assert error(answer)[:2] == (400, "JSON_PARSER_ERROR")


# Writes and their side effects


def test_ids_have_their_prefix_and_check_and_do_not_grow(org):
    ids = [org.put("Task", {}) for _ in range(20)]
    assert ids != sorted(ids)
    assert all(len(row_id) == 18 and whole(row_id[:15]) == row_id for row_id in ids)
    assert whole("0011Y00003HVMu4") == sample("account_record.json")["Id"]
    for name, fields in {"Contact": {"LastName": "x"}, "EmailMessage": {}, "Case": {}, "VoiceCall": {}}.items():
        assert org.put(name, fields).startswith(PREFIXES[name])


def test_stamps_are_whole_seconds(org, client):
    org.put("Task", {}, modified_at=T0 + timedelta(milliseconds=999), created_at=T0 - timedelta(days=1))
    (row,) = client.rows("SELECT CreatedDate, LastModifiedDate, SystemModstamp FROM Task")
    assert row["SystemModstamp"] == row["LastModifiedDate"] == "2026-05-28T08:00:00.000+0000"
    assert row["CreatedDate"] == "2026-05-27T08:00:00.000+0000"
    assert len(row["SystemModstamp"]) == len(sample("account_record.json")["SystemModstamp"])


def test_an_edit_moves_the_stamps_unless_told_not_to(org, client):
    (task,) = tasks(org, 1)
    org.edit("Task", task, touch=False, Subject="b")
    assert client.rows("SELECT SystemModstamp FROM Task")[0]["SystemModstamp"] == "2026-05-28T08:00:00.000+0000"
    org.edit("Task", task, Subject="c")
    assert client.rows("SELECT SystemModstamp FROM Task")[0]["SystemModstamp"] == "2026-06-01T12:00:00.000+0000"
    assert client.subjects() == "c"


def test_a_late_row_appears_behind_the_cursor(box, org, client):
    org.put("Task", {"Subject": "b"}, late_by=300)
    box.clock.advance(100)
    org.put("Task", {"Subject": "c"})
    assert client.subjects() == "c"
    box.clock.advance(200)
    rows = client.rows(f"SELECT Subject, SystemModstamp {BY_STAMP}")
    assert [row["Subject"] for row in rows] == ["b", "c"]
    assert rows[0]["SystemModstamp"] == "2026-06-01T12:00:00.000+0000"


def test_a_late_edit_leaves_the_row_as_it_was_until_then(box, org, client):
    (task,) = tasks(org, 1)
    org.edit("Task", task, late_by=60, Subject="z")
    assert client.subjects() == "a"
    box.clock.advance(60)
    assert client.subjects() == "z"


def test_a_late_row_stays_late_when_it_is_related(box, org, client):
    task = org.put("Task", {"Subject": "b"}, late_by=60)
    org.relate(task, org.put("Contact", {"LastName": "Dunmere"}))
    assert client.subjects() == ""
    box.clock.advance(60)
    assert client.rows("SELECT Who.Name FROM Task")[0]["Who"]["Name"] == "Dunmere"


def test_a_deleted_row_is_left_to_query_all(org, client):
    ids = tasks(org, 2)
    org.delete("Task", ids[0])
    assert client.subjects() == "b"
    rows = client.rows("SELECT Subject, IsDeleted FROM Task ORDER BY Subject", "queryAll")
    assert [(row["Subject"], row["IsDeleted"]) for row in rows] == [("a", True), ("b", False)]


def test_an_archived_task_is_left_to_query_all_and_a_purged_one_to_nobody(org, client):
    ids = tasks(org, 3)
    org.archive(ids[0])
    org.purge("Task", ids[1])
    assert client.subjects() == "c"
    assert client.subjects("queryAll") == "ac"


def test_a_closed_task_has_a_completion_and_a_reopened_one_has_none(box, org, client):
    task = org.put("Task", {"Status": "Completed"}, modified_at=T0)
    ask = "SELECT IsClosed, CompletedDateTime FROM Task"
    assert client.rows(ask)[0]["CompletedDateTime"] == "2026-05-28T08:00:00.000+0000"
    org.edit("Task", task, Subject="later")
    assert client.rows(ask)[0]["CompletedDateTime"] == "2026-05-28T08:00:00.000+0000"
    org.edit("Task", task, Status="In Progress")
    assert (client.rows(ask)[0]["IsClosed"], client.rows(ask)[0]["CompletedDateTime"]) == (False, None)
    org.edit("Task", task, Status="Completed")
    assert client.rows(ask)[0]["CompletedDateTime"] == "2026-06-01T12:00:00.000+0000"


def test_a_task_belongs_to_its_whats_account_else_to_its_contacts(org, client):
    amber, cinder = (org.put("Account", {"Name": name}) for name in ("Amber", "Cinder"))
    contact = org.put("Contact", {"LastName": "Dunmere", "AccountId": amber})
    lead = org.put("Lead", {"LastName": "Fennbrook"})
    deal = org.put("Opportunity", {"Name": "Kilns", "AccountId": cinder})
    found = {
        "contact": {"WhoId": contact}, "account": {"WhoId": contact, "WhatId": cinder},
        "deal": {"WhoId": contact, "WhatId": deal}, "lead": {"WhoId": lead},
        "given": {"WhoId": contact, "AccountId": cinder},
    }  # fmt: skip
    for subject, fields in found.items():
        org.put("Task", {"Subject": subject, **fields})
    rows = client.rows("SELECT Subject, Account.Name FROM Task")
    accounts = {row["Subject"]: row["Account"] and row["Account"]["Name"] for row in rows}
    assert accounts == {"contact": "Amber", "account": "Cinder", "deal": "Cinder", "lead": None, "given": "Cinder"}


def test_a_who_has_its_relation_and_the_first_relation_is_the_who(org, client):
    one, two = (org.put("Contact", {"LastName": name}) for name in ("Dun", "Fen"))
    (task,) = tasks(org, 1)
    ask = "SELECT WhoId, WhoCount, SystemModstamp, (SELECT RelationId FROM TaskWhoRelations) FROM Task"
    org.relate(task, one)
    org.relate(task, two)
    org.relate(task, one)
    (row,) = client.rows(ask)
    assert (row["WhoId"], row["WhoCount"]) == (one, 2)
    assert {child["RelationId"] for child in row["TaskWhoRelations"]["records"]} == {one, two}
    assert row["SystemModstamp"] == "2026-05-28T08:00:00.000+0000"
    org.edit("Task", task, WhoId=two)
    assert [child["RelationId"] for child in client.rows(ask)[0]["TaskWhoRelations"]["records"]] == [two]


def test_a_name_is_composed_unless_it_is_given(org, client):
    given = org.put("Contact", {"Name": "Dunmere, Finn"})
    org.edit("Contact", given, Email="finn@x.com")
    org.edit("Contact", org.put("Contact", {"FirstName": "Ada", "LastName": "Fennbrook"}), LastName="Ivorstone")
    assert [row["Name"] for row in client.rows("SELECT Name FROM Contact ORDER BY Name")] == [
        "Ada Ivorstone", "Dunmere, Finn"]  # fmt: skip


def test_an_email_has_relations_with_and_without_a_record(org, client):
    email, user = org.put("EmailMessage", {"Subject": "Prices"}), org.user("ada@lanternfield-sales.com", "Ada")
    org.relate(email, user, RelationType="FromAddress", RelationAddress="ada@lanternfield-sales.com")
    org.relate(email, None, RelationType="CcAddress", RelationAddress="stranger@x.com")
    fields = "RelationId, RelationType, RelationAddress, RelationObjectType"
    query = f"SELECT (SELECT {fields} FROM EmailMessageRelations ORDER BY RelationType) FROM EmailMessage"
    stranger, ada = client.rows(query)[0]["EmailMessageRelations"]["records"]
    assert (ada["RelationId"], ada["RelationType"], ada["RelationObjectType"]) == (user, "FromAddress", "User")
    assert (stranger["RelationId"], stranger["RelationAddress"]) == (None, "stranger@x.com")


def test_a_deleted_contact_leaves_its_activities_but_for_the_address(org, client):
    contact = org.put("Contact", {"LastName": "Dunmere"})
    org.put("Task", {"WhoId": contact}, modified_at=T0)
    email = org.put("EmailMessage", {})
    org.relate(email, contact, RelationAddress="dunmere@x.com")
    org.delete("Contact", contact)
    (row,) = client.rows("SELECT WhoId, SystemModstamp, (SELECT RelationId FROM TaskWhoRelations) FROM Task")
    assert (row["WhoId"], row["TaskWhoRelations"]) == (None, None)
    assert row["SystemModstamp"] == "2026-05-28T08:00:00.000+0000"
    (row,) = client.rows("SELECT RelationId, RelationAddress, RelationObjectType FROM EmailMessageRelation")
    assert (row["RelationId"], row["RelationAddress"], row["RelationObjectType"]) == (None, "dunmere@x.com", None)


def test_ids_that_lead_nowhere_have_null_parents(org, client):
    account, contact = org.put("Account", {"Name": "Amber"}), org.put("Contact", {"LastName": "Dunmere"})
    org.put("Task", {"WhatId": account, "WhoId": contact})
    org.purge("Account", account)
    org.purge("Contact", contact)
    (row,) = client.rows("SELECT AccountId, Account.Name, WhoId, TYPEOF Who WHEN Contact THEN Name END FROM Task")
    assert (row["AccountId"], row["Account"], row["WhoId"], row["Who"]) == (account, None, contact, None)


def test_a_merge_hands_everything_over(org, client):
    winner, loser = (org.put("Contact", {"LastName": name}) for name in ("Dun", "Fen"))
    both, other = tasks(org, 2)
    org.relate(both, loser)
    org.relate(both, winner)
    org.relate(other, loser)
    org.merge("Contact", winner, loser)
    rows = client.rows("SELECT WhoId, (SELECT RelationId FROM TaskWhoRelations) FROM Task")
    assert {row["WhoId"] for row in rows} == {winner}
    assert [[child["RelationId"] for child in row["TaskWhoRelations"]["records"]] for row in rows] == [[winner]] * 2
    (gone,) = client.rows(f"SELECT IsDeleted, MasterRecordId FROM Contact WHERE Id = '{loser}'", "queryAll")
    assert (gone["IsDeleted"], gone["MasterRecordId"]) == (True, winner)


def test_a_converted_lead_hands_its_tasks_to_the_contact(org, client):
    lead = org.put("Lead", {"LastName": "Fennbrook", "Company": "Cinder", "Email": "fenn@x.com"})
    org.put("Task", {"WhoId": lead}, modified_at=T0)
    contact = org.convert(lead)
    (task,) = client.rows("SELECT WhoId, Account.Name, (SELECT RelationId, Type FROM TaskWhoRelations) FROM Task")
    assert (task["WhoId"], task["Account"]["Name"]) == (contact, "Cinder")
    (child,) = task["TaskWhoRelations"]["records"]
    assert (child["RelationId"], child["Type"]) == (contact, "Contact")
    (row,) = client.rows("SELECT IsConverted, ConvertedContactId, ConvertedAccount.Name FROM Lead")
    assert (row["IsConverted"], row["ConvertedContactId"], row["ConvertedAccount"]["Name"]) == (True, contact, "Cinder")


# Orders over the wire


def test_the_control_endpoint_takes_orders_over_tls(org, client):
    task = client.order("put", object="Task", fields={"Subject": "a", "ActivityDate": "2026-06-01"}).json()
    client.order("edit", object="Task", id=task, Subject="b", modified_at="2026-05-01T00:00:00Z")
    client.order("set", page_size=7)
    assert (client.subjects(), org.page_size) == ("b", 7)
    client.order("delete", object="Task", id=task)
    state = client.order("state").json()
    assert state["Task"] == {"all": 1, "shown": 1, "deleted": 1, "archived": 0}
    assert client.order("set", nonsense=1).status_code == 400
    assert client.order("generate", calls=20).json()["calls"] == 20
    assert client.order("requests").json()["by_kind"]["query"] == 1


# Faults


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("sf_unavailable", 503, "SERVER_UNAVAILABLE"), ("sf_expired", 401, "INVALID_SESSION_ID"),
        ("sf_limit", 403, "REQUEST_LIMIT_EXCEEDED"), ("sf_concurrent", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("sf_timeout", 400, "QUERY_TIMEOUT"), ("sf_locator", 400, "INVALID_QUERY_LOCATOR"),
        ("sf_lock", 500, "UNABLE_TO_LOCK_ROW"),
    ],
)  # fmt: skip
def test_faults_of_salesforce_have_its_codes(org, client, name, status, code):
    org.faults.add(name)
    assert error(client.query("SELECT Id FROM Task"))[:2] == (status, code)
    assert client.query("SELECT Id FROM Task").status_code == 200


def test_edge_faults_have_no_json(org, client):
    for name, status in (("sf_406", 406), ("sf_420", 420), ("sf_html", 502)):
        org.faults.add(name)
        answer = client.query("SELECT Id FROM Task")
        assert (answer.status_code, answer.text[:6]) == (status, "<html>" if name == "sf_html" else "")


def test_a_fault_may_wait_for_a_part_of_the_query(org, client):
    rule = org.faults.add("sf_timeout", match_query="FROM EmailMessage")
    assert client.query("SELECT Id FROM Task").status_code == 200
    assert client.query("SELECT Id FROM EmailMessage").status_code == 400
    assert rule.hits == 1


@pytest.mark.parametrize("name", ["reset", "close", "cut"])
def test_connections_break_over_tls_too(org, client, name):
    tasks(org, 50)
    org.faults.add(name)
    with pytest.raises(httpx.TransportError):
        client.query("SELECT Id FROM Task")
    assert client.query("SELECT Id FROM Task").status_code == 200


def test_a_hang_ends_with_the_connection(org, client):
    org.faults.add("hang", seconds=0.05)
    with pytest.raises(httpx.TransportError):
        client.query("SELECT Id FROM Task")


def test_half_the_json_comes_whole_over_http(org, client):
    tasks(org, 50)
    org.faults.add("cut_json")
    with pytest.raises(ValueError, match="Expecting|Unterminated"):
        client.query("SELECT Id FROM Task").json()


# Generated records


def test_a_world_is_the_same_for_the_same_seed():
    worlds = [generate(Salesforce(seed=3), calls=60, emails=40, now=NOW, seed=5) for _ in range(2)]
    assert worlds[0] == worlds[1]
    assert worlds[0].summary()["calls"] == 60


def test_a_world_has_what_real_orgs_have():
    org = Salesforce(seed=1)
    world = generate(org, calls=900, emails=600, now=NOW)
    for nature in (
        "calls.open calls.no_contact calls.lead calls.queue calls.no_account calls.archived calls.left_owner "
        "emails.draft emails.private_draft emails.bounced emails.internal emails.no_relation emails.lead "
        "emails.no_task contacts.no_email contacts.prose_email contacts.free_mail contacts.no_account "
        "accounts.no_website users.inactive queues tasks tasks.email"
    ).split():
        assert world.ids[nature], nature
    stamps = [row.values["SystemModstamp"] for row in org.tables["Task"].rows.values()]
    assert max(Counter(stamps).values()) > 10
    kinds = {row.values["RelationType"] for row in org.tables["EmailMessageRelation"].rows.values()}
    assert kinds == {"FromAddress", "ToAddress", "CcAddress"}


def test_the_rows_of_tools_have_their_people_in_a_small_world_too():
    world = generate(Salesforce(seed=1), calls=3, emails=2, lifelike=1, now=NOW)
    assert world.ids["lifelike.Log a Call, with three people, archived"]


def test_a_clean_world_gives_every_call_exactly_the_contacts_asked_for():
    org = Salesforce(seed=1)
    world = generate(org, calls=50, emails=20, contacts_each=3, messy=False, now=NOW)
    assert world.summary().keys() == {"accounts", "calls", "contacts", "emails", "tasks", "tasks.email", "users"}
    people = org.tables["TaskWhoRelation"].by_parent("TaskId")
    assert {len(people[call]) for call in world.ids["calls"]} == {3}
    assert all(org.tables["Task"].rows[call].values["IsClosed"] for call in world.ids["calls"])


def test_a_world_has_each_tools_row_as_often_as_asked_for():
    org = Salesforce(seed=1)
    world = generate(org, calls=20, emails=10, lifelike=3, now=NOW)
    without_voice = [row for row in ROWS if row.object != "VoiceCall"]
    assert all(len(world.ids[f"lifelike.{row.tool}"]) == 3 for row in without_voice)
    assert not any("VoiceCall" in name for name, table in org.tables.items() if table.rows), "the org has none"


def test_every_email_of_a_world_has_the_task_that_enhanced_email_makes():
    org = Salesforce(seed=1)
    world = generate(org, emails=80, messy=False, now=NOW)
    for email in world.ids["emails"]:
        task = org.tables["Task"].rows[org.tables["EmailMessage"].rows[email].values["ActivityId"]]
        assert task.values["TaskSubtype"] == "Email"


def test_a_world_poisons_recotap_by_the_names_it_will_see():
    with Sandbox(now=lambda: NOW, salesforce={}) as box:
        world = generate(box.salesforce, box.recotap, calls=400, poison=0.01)
        assert len(world.ids["calls.refused"]) == len(world.ids["calls.failed"]) > 0


def test_a_thousand_calls_with_three_contacts_each_are_put_in_a_blink():
    org = Salesforce(seed=1)
    begun = time.process_time()
    generate(org, calls=1000, contacts_each=3, messy=False, now=NOW)
    assert time.process_time() - begun < 2  # CPU of this process: a tenth of it
