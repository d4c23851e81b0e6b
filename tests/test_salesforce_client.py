"""The wire to Salesforce: sessions, deadlines, certificates, clocks and quotas, over TLS as in earnest."""

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.salesforce.client import Client, LocatorGone, QueryRefused, QueryTimeout, Usage
from connectors.salesforce.config import SalesforceConfig
from syncd.connector import Context
from syncd.errors import ConfigError, Malformed, Stopped, SyncdError, Unauthorized, Unavailable
from syncd.passes.reader import PassStore
from syncd.privacy.redaction import redact
from syncd.sandbox import Sandbox
from tests import scripted
from tests.scripted import Answering, Scripted, drip

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUERY = "SELECT Id, Subject FROM Task WHERE Subject = 'canary'"
PAGE = json.dumps({"totalSize": 0, "done": True, "records": []})
SESSION_ID = "00DDn0000000001!canary-session"
PRIVATE = rsa.generate_private_key(65537, 2048)


def whole(body: str | bytes = PAGE, *, status: str = "200 OK", **headers: str) -> Answering:
    return scripted.whole(body, status=status, **headers)


def silent(_wire: Any, _head: str) -> None:
    time.sleep(2)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(self.trust)
        self.ca_file = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.servers: list[Scripted] = []
        self.clients: list[Client] = []
        self.slept: list[float] = []
        self.now = NOW

    def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)

    def serve(self, answering: Answering, trust: ssl.SSLContext | None = None) -> Scripted:
        server = Scripted(answering, trust or self.trust)
        self.servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def connect(
        self,
        url: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        **settings: Any,
    ) -> Client:
        """Return a client: with a session of its own to `url`, unless `settings` say how to sign in."""
        way = {"session_id": "env:SF_SESSION", "instance_url": url}
        if "login_url" in settings:
            way = {"client_id": "env:SF_ID", "client_secret": "env:SF_SECRET"}
        table = {"connector": "salesforce", "start": NOW, "ca_file": self.ca_file, "timeout": "5s", **way, **settings}
        config = SalesforceConfig(**{name: value for name, value in table.items() if value is not None})
        context = Context("salesforce", PassStore({}, lambda: self.now), lambda: self.now, sleep or self.sleep)
        client = Client(config, context, monotonic=monotonic)
        self.clients.append(client)
        return client

    def sign_in(self, box: Sandbox, **settings: Any) -> Client:
        return self.connect("", **{"login_url": box.salesforce_url, "ca_file": box.salesforce_ca, **settings})


@pytest.fixture
def rig(tmp_path, monkeypatch) -> Iterator[Rig]:
    monkeypatch.setenv("SF_SESSION", SESSION_ID)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    rig = Rig(tmp_path)
    yield rig
    for client in rig.clients:
        client.close()
        client.close()
    for server in rig.servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def box(rig, monkeypatch) -> Iterator[Sandbox]:
    with Sandbox(now=lambda: rig.now, salesforce={}) as made:
        monkeypatch.setenv("SF_ID", made.client_id)
        monkeypatch.setenv("SF_SECRET", made.client_secret)
        yield made


def asked(box: Sandbox, kind: str) -> int:
    return box.salesforce.requests[kind]


def test_client_credentials_open_a_session_and_a_query_is_answered(rig, box):
    task = box.salesforce.put("Task", {"TaskSubtype": "Call", "Status": "Completed", "Subject": "canary"})
    client = rig.sign_in(box)
    assert client.usage is None
    assert [record["Id"] for record in client.query(QUERY, what="calls")["records"]] == [task]
    session = client.session()
    assert (session.org_id, session.instance_url) == (box.salesforce.org_id[:15], box.salesforce_url)
    assert session.user_id == box.salesforce.acting_user
    assert client.usage == Usage(1, 100_000)
    assert asked(box, "token") == 1
    assert "canary" not in redact(f"a log of {session.id} canary".removesuffix(" canary"))


@pytest.fixture
def jwt_settings(box, monkeypatch) -> dict[str, Any]:
    """Return the keys that sign in by JWT. The app of the box holds the key's other half."""
    private = PRIVATE.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = PRIVATE.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    monkeypatch.setenv("SF_KEY", private.decode())
    box.salesforce.public_key = public.decode()
    return {"client_secret": None, "username": box.salesforce.username, "private_key": "env:SF_KEY"}


def test_a_jwt_opens_a_session(rig, box, jwt_settings):
    client = rig.sign_in(box, **jwt_settings)
    assert client.session().org_id == box.salesforce.org_id[:15]
    assert asked(box, "token") == 1


@pytest.mark.parametrize("minutes", [-30, 30])
def test_a_wrong_clock_does_not_keep_a_jwt_out(rig, box, jwt_settings, minutes):
    box.clock.advance(minutes * 60)
    client = rig.sign_in(box, **jwt_settings)
    assert client.session().org_id == box.salesforce.org_id[:15]
    assert asked(box, "token") == 2


def test_a_key_that_is_not_the_apps_is_explained(rig, box, jwt_settings):
    box.salesforce.public_key = rsa.generate_private_key(65537, 2048).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip
    with pytest.raises(Unauthorized, match="JWT bearer") as raised:
        rig.sign_in(box, **jwt_settings).session()
    assert raised.value.hint.endswith("upload the certificate that belongs to private_key")


def test_a_wrong_secret_is_refused_at_once_and_a_rotated_one_works_in_the_same_pass(rig, box, monkeypatch):
    monkeypatch.setenv("SF_SECRET", "canary-secret")
    client = rig.sign_in(box)
    with pytest.raises(Unauthorized, match="invalid_client") as raised:
        client.query(QUERY, what="calls")
    assert "client_secret" in raised.value.hint
    assert (asked(box, "token"), rig.slept) == (1, [])
    monkeypatch.setenv("SF_SECRET", box.client_secret)
    assert client.query(QUERY, what="calls")["done"]


def test_of_ten_threads_whose_session_expires_one_signs_in_for_all(rig, box):
    client = rig.sign_in(box)
    client.query(QUERY, what="calls")
    box.salesforce.expire_sessions()
    together = threading.Barrier(10)

    def ask(_: int) -> Any:
        together.wait()
        return client.query(QUERY, what="calls")["done"]

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(ask, range(10)))
    assert asked(box, "token") == 2
    assert rig.slept == []


def test_of_ten_threads_at_a_sign_in_that_fails_one_asks_and_all_hear_of_it(rig, box):
    box.salesforce.latency_s = 0.1
    box.salesforce.client_secret = "another"
    client = rig.sign_in(box)
    together = threading.Barrier(10)

    def ask(_: int) -> str:
        together.wait()
        with pytest.raises(Unauthorized) as raised:
            client.query(QUERY, what="calls")
        return raised.value.message

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(ask, range(10)))) == 1
    assert asked(box, "token") == 1


def test_a_session_that_expires_again_and_again_is_renewed_each_time(rig, box):
    client = rig.sign_in(box)
    for _ in range(3):
        assert client.limits()["DailyApiRequests"]["Max"] == 100_000
        box.salesforce.expire_sessions()
    client.query(QUERY, what="calls")
    assert asked(box, "token") == 4


def test_a_new_session_that_is_refused_too_is_no_matter_of_time(rig, box):
    box.salesforce.faults.add("sf_expired", match="/services/data", count=None)
    with pytest.raises(Unauthorized, match="just begun") as raised:
        rig.sign_in(box).query(QUERY, what="calls")
    assert "API Access Control" in raised.value.hint
    assert asked(box, "token") == 2


def test_a_configured_session_cannot_be_renewed(rig):
    server = rig.serve(whole('[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]', status="401 No"))
    client = rig.connect(server.url)
    assert (client.session().org_id, client.session().user_id) == ("00DDn0000000001", None)
    with pytest.raises(Unauthorized, match="session_id has expired"):
        client.query(QUERY, what="calls")
    assert len(server.heads) == 1


def test_a_renewed_session_may_lead_to_another_instance(rig, box, monkeypatch):
    """The org has moved: its first instance only says that the session is over."""
    old = rig.serve(whole("", status="401 Unauthorized"))
    new = rig.serve(whole())
    tokens = iter((old.url, new.url))

    def answer(wire: Any, head: str) -> None:
        body = {"access_token": SESSION_ID, "instance_url": next(tokens), "id": "x"}
        whole(json.dumps(body))(wire, head)

    login = rig.serve(answer)
    client = rig.connect("", login_url=login.url)
    assert client.more("/services/data/v66.0/query/01gx-2000", what="calls")["done"]
    assert (len(old.heads), len(new.heads)) == (1, 1)


MOODS = "sf_406 sf_420 sf_html sf_unavailable html_200 garbage empty reset close cut cut_json too_many".split()


def test_what_passes_at_a_sign_in_is_sat_out(rig, box):
    client = rig.sign_in(box)
    for tries, failure in enumerate(MOODS, 1):
        box.salesforce.expire_sessions()
        box.salesforce.faults.add(failure, match="/services/oauth2")
        assert client.query(QUERY, what="calls")["done"], failure
        assert (len(rig.slept), asked(box, "token")) == (tries, 2 * tries), failure


def test_what_passes_at_a_query_is_sat_out(rig, box):
    client = rig.sign_in(box)
    for tries, failure in enumerate([*MOODS, "sf_concurrent", "sf_lock"], 1):
        box.salesforce.faults.add(failure, match="/services/data")
        assert client.query(QUERY, what="calls")["done"], failure
        assert (len(rig.slept), asked(box, "query")) == (tries, 2 * tries), failure
    assert asked(box, "token") == 1


def test_after_three_tries_it_is_given_up_and_after_lost_patience_at_once(rig, box):
    client = rig.sign_in(box)
    failure = box.salesforce.faults.add("sf_html", match="/services/data", count=None)
    with pytest.raises(Unavailable, match="502"):
        client.query(QUERY, what="calls")
    assert (failure.hits, len(rig.slept)) == (3, 2)
    client._retries.stop_retrying()
    with pytest.raises(Unavailable, match="502"):
        client.query(QUERY, what="calls")
    assert (failure.hits, len(rig.slept)) == (4, 2)


def test_a_minute_of_failures_in_a_row_ends_the_pass(rig, box):
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += 31 if seconds else 0

    client = rig.sign_in(box, monotonic=lambda: clock[0], sleep=sleep)
    failure = box.salesforce.faults.add("sf_html", match="/services/data", count=None)
    for hits in (3, 4):
        with pytest.raises(Unavailable):
            client.query(QUERY, what="calls")
        assert failure.hits == hits


def test_a_pass_that_is_to_end_makes_no_further_request(rig, box):
    def stop(_: float) -> None:
        raise Stopped("leave")

    with pytest.raises(Stopped):
        rig.sign_in(box, sleep=stop).query(QUERY, what="calls")
    assert asked(box, "token") == 0


def test_a_stop_while_waiting_is_passed_on(rig, box):
    def sleep(seconds: float) -> None:
        if seconds:
            raise Stopped("leave")

    box.salesforce.faults.add("sf_html", count=None)
    with pytest.raises(Stopped):
        rig.sign_in(box, sleep=sleep).query(QUERY, what="calls")
    assert asked(box, "token") == 1


def test_a_silent_server_is_given_up_at_sign_in(rig, box):
    server = rig.serve(silent)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"sign-in: no complete response within 0\.3 s"):
        rig.connect("", login_url=server.url, timeout="300ms").query(QUERY, what="calls")
    assert time.monotonic() - began < 3 * 0.3 + 8


def test_a_silent_server_is_given_up_at_a_query(rig):
    server = rig.serve(silent)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"calls: no complete response within 0\.3 s"):
        rig.connect(server.url, timeout="300ms").query(QUERY, what="calls")
    assert time.monotonic() - began < 3 * 0.3 + 8


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b" "),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9000\r\n\r\n", b"<"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    ],
)
def test_a_server_that_drips_does_not_outlast_the_timeout(rig, head, text):
    client = rig.connect(rig.serve(drip(head, text)).url, timeout="300ms")
    client._retries.stop_retrying()
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"no complete response within 0\.3 s"):
        client.query(QUERY, what="calls")
    assert time.monotonic() - began < 0.3 + 1.5  # the drip goes on for ten


def test_the_quota_is_heeded_when_only_the_others_share_is_left(rig, box):
    client = rig.sign_in(box)
    client.check_quota()
    box.salesforce.used = 79_999
    client.query(QUERY, what="calls")
    client.check_quota()
    client.query(QUERY, what="calls")
    assert client.usage == Usage(80_001, 100_000)
    with pytest.raises(Unavailable, match=r"100000 API calls.*80001.*quota_reserve 0\.2") as raised:
        client.check_quota()
    assert raised.value.pause_until == NOW + timedelta(hours=1)
    assert "See who uses them (Setup > System Overview), or lower quota_reserve" in raised.value.hint
    assert raised.value.exit_code == 69


def test_without_a_reserve_the_quota_is_salesforces_to_guard(rig, box):
    client = rig.sign_in(box, quota_reserve=0)
    box.salesforce.used = 99_999
    client.query(QUERY, what="calls")
    client.check_quota()
    with pytest.raises(Unavailable, match="REQUEST_LIMIT_EXCEEDED") as raised:
        client.query(QUERY, what="calls")
    assert raised.value.pause_until == NOW + timedelta(hours=1)
    assert rig.slept == []


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)", Usage(25, 5000)),
        ("per-app-api-usage=17/250(appName=x); api-usage=25/5000", Usage(25, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("api-usage=many/5000", None),
    ],
)
def test_the_orgs_usage_is_read_beside_the_apps(rig, header, usage):
    client = rig.connect(rig.serve(whole(Sforce_Limit_Info=header)).url)
    client.query(QUERY, what="calls")
    assert client.usage == usage


def test_the_pass_starts_when_salesforce_says_less_the_requests_time(rig):
    client = rig.connect(rig.serve(whole(Date="Sun, 01 Mar 2026 11:00:00 GMT")).url)
    assert (client.started_at, client.server_now()) == (None, NOW)
    client.query(QUERY, what="calls")
    eleven = NOW - timedelta(hours=1)
    assert eleven - timedelta(seconds=1) <= client.started_at <= eleven
    assert client.server_now() == eleven
    started_at = client.started_at
    client.query(QUERY, what="calls")
    assert client.started_at == started_at


def test_the_tokens_answer_tells_the_start_too(rig, box):
    box.clock.advance(-3600)
    client = rig.sign_in(box)
    client.session()
    assert NOW - timedelta(hours=1, seconds=2) <= client.started_at <= NOW - timedelta(hours=1)


def test_without_a_date_the_local_clock_tells_the_start(rig):
    client = rig.connect(rig.serve(whole()).url)
    client.query(QUERY, what="calls")
    assert client.started_at == client.server_now() == NOW


def test_pages_are_followed_and_a_locator_that_is_gone_is_told(rig, box):
    ids = {box.salesforce.put("Task", {"TaskSubtype": "Call", "Subject": "canary"}) for _ in range(5)}
    box.salesforce.page_size = 2
    client = rig.sign_in(box)
    page = client.query(QUERY, what="calls")
    found = [record["Id"] for record in page["records"]]
    while not page["done"]:
        page = client.more(page["nextRecordsUrl"], what="calls")
        found += [record["Id"] for record in page["records"]]
    assert (set(found), len(found)) == (ids, 5)
    page = client.query(QUERY, what="calls")
    box.salesforce.kill_locators()
    with pytest.raises(LocatorGone):
        client.more(page["nextRecordsUrl"], what="calls")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/services/data/v66.0/query/01g",
        "//evil.example/services/data/v66.0/query/01g",
        "@evil.example/services/data/v66.0/query/01g",
        ".evil.example/services/data/v66.0/query/01g",
        "/services/data/v66.0/../../apexrest/x",
        "/services/data/v66.0/query/01g?x=1",
        "/services/apexrest/x",
        "",
    ],
)
def test_a_next_page_elsewhere_is_not_asked_for(rig, url):
    server = rig.serve(whole())
    with pytest.raises(Malformed, match="address of the next page is invalid") as raised:
        rig.connect(server.url).more(url, what="calls")
    assert raised.value.hint.startswith("a proxy may have changed the answer, or Salesforce its API: upgrade syncd")
    assert server.heads == []


def test_deleted_rows_are_asked_for_or_not(rig, box):
    task = box.salesforce.put("Task", {"TaskSubtype": "Call", "Subject": "canary"})
    box.salesforce.delete("Task", task)
    client = rig.sign_in(box)
    assert len(client.query(QUERY, what="calls")["records"]) == 1
    assert client.query(QUERY, what="calls", deleted_too=False)["records"] == []


def test_records_come_by_id_in_order_with_none_in_place(rig, box):
    ids = [box.salesforce.put("Contact", {"LastName": name}) for name in ("Dunmere", "Vale")]
    client = rig.sign_in(box)
    found = client.retrieve("Contact", [ids[1], "003000000000000AAA", ids[0]], ["Id", "LastName"])
    assert [row and row["LastName"] for row in found] == ["Vale", None, "Dunmere"]
    with pytest.raises(QueryRefused, match="Contact by id"):
        client.retrieve("Contact", ids, ["Id", "Canary__c"])


def test_a_batch_is_one_request_and_what_there_is_not_is_none(rig, box):
    client = rig.sign_in(box)
    bogus, task = client.batch(["sobjects/Bogus/describe", "sobjects/Task/describe"], what="describe")
    assert (bogus, task["name"]) == (None, "Task")
    assert asked(box, "batch") == 1


def test_the_rows_of_several_queries_come_in_one_request_and_those_of_one_in_a_plain_one(rig, box):
    box.salesforce.set(page_size=2)
    ids = [box.salesforce.put("Contact", {"LastName": f"Vale {n}"}) for n in range(6)]
    client = rig.sign_in(box)
    queries = [f"SELECT Id FROM Contact WHERE Id IN ('{one}', '{two}', '{three}')" for one, two, three in
               (ids[:3], ids[3:])]  # fmt: skip
    assert {row["Id"] for row in client.rows(queries, what="people")} == set(ids)
    assert (asked(box, "batch"), asked(box, "more")) == (1, 2)
    assert {row["Id"] for row in client.rows(queries[:1], what="people")} == set(ids[:3])
    assert (asked(box, "batch"), asked(box, "query")) == (1, 1)
    assert list(client.rows([], what="people")) == []


def test_rows_whose_page_names_itself_end(rig):
    page = {"totalSize": 9, "done": False, "records": [{"Id": "1"}], "nextRecordsUrl": "/services/data/v66.0/query/01g"}
    client = rig.connect(rig.serve(whole(json.dumps(page))).url)
    with pytest.raises(Malformed, match="comes again"):
        list(client.rows(["SELECT Id FROM Task"], what="people"))


def test_a_part_of_a_batch_that_is_refused_speaks_for_the_whole(rig, box):
    client = rig.sign_in(box)
    with pytest.raises(QueryRefused, match="people"):
        list(client.rows(["SELECT Canary FROM Contact", "SELECT Id FROM Contact"], what="people"))


def test_a_window_that_times_out_is_too_much_twice_and_then_an_outage(rig, box):
    client = rig.sign_in(box, timeout="0.3s")
    box.salesforce.faults.add("hang", match="/queryAll", seconds=30, count=None)
    for _ in range(2):
        with pytest.raises(QueryTimeout):
            client.query(QUERY, what="calls", divisible=True)
    assert rig.slept == []
    with pytest.raises(Unavailable) as raised:
        client.query(QUERY, what="calls", divisible=True)
    assert not isinstance(raised.value, QueryTimeout)
    box.salesforce.faults.clear()


def test_the_usage_is_taken_from_the_limits_until_a_header_names_it(rig, box):
    client = rig.sign_in(box)
    limits = {"DailyApiRequests": {"Max": 1_000, "Remaining": 877}}
    box.salesforce.faults.add("answer", match="/limits", status=200, body=limits)
    client.learn_usage()
    assert client.usage == (123, 1_000)
    client.learn_usage()
    assert client.usage == (1, 100_000)
    client.learn_usage()
    assert client.usage == (2, 100_000)


def test_limits_that_the_user_may_not_see_are_none_but_a_used_up_day_is_not(rig, box):
    client = rig.sign_in(box)
    assert client.limits()["DailyApiRequests"]["Max"] == 100_000
    refused = [{"errorCode": "INSUFFICIENT_ACCESS", "message": "x"}]
    box.salesforce.faults.add("answer", match="/limits", status=403, body=refused)
    assert client.limits() is None
    box.salesforce.faults.add("sf_limit", match="/limits")
    with pytest.raises(Unavailable):
        client.limits()


def test_queries_that_do_not_fit_and_those_that_are_too_much(rig, box):
    client = rig.sign_in(box)
    with pytest.raises(QueryRefused) as raised:
        client.query("SELECT Canary FROM Task", what="calls")
    assert raised.value.error_code == "INVALID_FIELD"
    box.salesforce.faults.add("sf_timeout", match="/services/data")
    with pytest.raises(QueryTimeout):
        client.query(QUERY, what="calls")
    assert rig.slept == []


@pytest.mark.parametrize("version", ["58.0", "99.0"])
def test_a_version_that_the_org_does_not_serve_is_named(rig, box, version):
    box.salesforce.versions = range(60, 68)
    with pytest.raises(Unavailable) as raised:
        rig.sign_in(box, api_version=version).query(QUERY, what="calls")
    assert version in raised.value.hint
    assert "api_version" in raised.value.hint


def test_too_long_a_query_is_our_mistake(rig, box):
    with pytest.raises(Unavailable, match="too long") as raised:
        rig.sign_in(box).query("SELECT Id FROM Task WHERE Subject = '" + "x" * 20_000 + "'", what="calls")
    assert "report" in raised.value.hint


def test_a_request_says_who_asks_and_wants_it_plain_and_packed(rig):
    server = rig.serve(whole())
    client = rig.connect(server.url)
    client.query("SELECT Id FROM Task WHERE a >= 2026-01-01T00:00:00+00:00", what="calls")
    (head,) = server.heads
    assert head.startswith("GET /services/data/v66.0/queryAll/?q=SELECT+Id+FROM+Task+WHERE+a+%3E%3D+2026-01-01T")
    lines = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    assert lines["Authorization"] == f"Bearer {SESSION_ID}"
    assert lines["User-Agent"].startswith("syncd ")
    assert lines["Accept-Encoding"] == "gzip"
    assert "x-prettyprint" not in head.lower()


def test_no_cookie_is_kept_and_no_netrc_is_read(rig, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = rig.serve(whole(Set_Cookie="BrowserId=canary; path=/"))
    client = rig.connect(server.url)
    client.query(QUERY, what="calls")
    client.limits()
    assert "cookie" not in server.heads[1].lower()
    assert all(f"Bearer {SESSION_ID}" in head for head in server.heads)


def test_a_redirect_does_not_carry_the_session_away(rig):
    other = rig.serve(whole())
    client = rig.connect(rig.serve(whole("", status="307 Temporary Redirect", Location=other.url)).url)
    with pytest.raises(Unavailable, match="307"):
        client.query(QUERY, what="calls")
    assert other.heads == []


def test_an_unknown_authority_leads_to_ca_file_and_is_not_tried_again(rig, box):
    with pytest.raises(Unavailable, match="certificate is not trusted") as raised:
        rig.sign_in(box, ca_file="").session()
    assert "ca_file" in raised.value.hint
    assert rig.slept == []


def test_a_ca_file_that_did_not_sign_the_certificate_is_named(rig, box):
    with pytest.raises(Unavailable, match="certificate is not trusted") as raised:
        rig.sign_in(box, ca_file=rig.ca_file).session()
    assert raised.value.hint == (
        f"name the right file in sources.salesforce.ca_file: neither {rig.ca_file} nor the system's store holds the CA"
    )


def test_another_hosts_certificate_is_told_from_an_unknown_one(rig, box):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    rig.authority.issue_cert("acme.example").configure_cert(other)
    with pytest.raises(Unavailable, match="not trusted") as raised:
        rig.connect(rig.serve(whole(), other).url).limits()
    assert "instance_url" in raised.value.hint


def test_a_certificate_that_has_expired_is_told_from_an_unknown_one(rig, box):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired = datetime.now(UTC) - timedelta(days=1)
    rig.authority.issue_cert("127.0.0.1", not_after=expired).configure_cert(other)
    with pytest.raises(Unavailable, match="not trusted: it has expired") as raised:
        rig.connect(rig.serve(whole(), other).url).limits()
    assert "clock" in raised.value.hint


@pytest.mark.parametrize(("written", "why"), [(None, "cannot be read"), ("no certificate", "holds no certificate")])
@pytest.mark.parametrize("signs_in", [True, False])
def test_a_ca_file_that_is_none_is_named(rig, box, tmp_path, written, why, signs_in):
    file = tmp_path / "other.pem"
    if written is not None:
        file.write_text(written)
    settings = {"login_url": box.salesforce_url} if signs_in else {}
    client = rig.connect("https://127.0.0.1:9", ca_file=str(file), **settings)
    with pytest.raises(ConfigError) as raised:
        client.session()
    (problem,) = raised.value.problems
    assert problem.path == "sources.salesforce.ca_file"
    assert str(file) in problem.message
    assert why in problem.message


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environments_bundle_does_not_outdo_ca_file(rig, box, monkeypatch, name):
    monkeypatch.setenv(name, "/no/such/bundle.pem")
    assert rig.sign_in(box).query(QUERY, what="calls")["done"]


def test_a_proxy_is_not_asked_for_loopback(rig, box, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert rig.sign_in(box).query(QUERY, what="calls")["done"]


def test_https_is_tunnelled_and_a_proxy_that_fails_is_named(rig, box, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@127.0.0.1:9")
    with pytest.raises(Unavailable, match="proxy") as raised:
        rig.connect("", login_url="https://acme.my.salesforce.com").session()
    assert "HTTPS_PROXY" in raised.value.hint
    assert "canary" not in f"{raised.value!r} {raised.value.hint}"


@pytest.mark.parametrize("written", ["socks5://canary:9", "http://canary:x", "http://"])
def test_a_proxy_that_cannot_be_used_is_named_and_not_tried_again(rig, box, monkeypatch, written):
    monkeypatch.setenv("HTTPS_PROXY", written)
    with pytest.raises(ConfigError) as raised:
        rig.connect("", login_url="https://acme.my.salesforce.com").session()
    assert [problem.path for problem in raised.value.problems] == ["HTTPS_PROXY"]
    assert "canary" not in f"{raised.value!r} {raised.value.problems}"
    assert rig.slept == []


def test_nobody_there_is_told_with_the_key_to_look_at(rig):
    with pytest.raises(Unavailable, match="no connection") as raised:
        rig.connect("https://127.0.0.1:9").limits()
    assert "instance_url" in raised.value.hint
    assert len(rig.slept) == 2


def test_a_client_that_was_closed_can_begin_anew(rig, box):
    client = rig.sign_in(box)
    client.limits()
    client.close()
    client.close()
    assert client.limits() is not None
    assert asked(box, "token") == 2


CANARIES = ("canary", "SELECT", "ada@northmill.example", SESSION_ID, "Task WHERE")
PRIVATE_TEXT = f"{QUERY} ada@northmill.example {SESSION_ID} canary"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([{"errorCode": "UNHEARD_OF", "message": PRIVATE_TEXT}]),
        json.dumps([{"errorCode": PRIVATE_TEXT, "message": PRIVATE_TEXT}]),
        json.dumps({"error": "invalid_grant", "error_description": PRIVATE_TEXT}),
        f"<html>{PRIVATE_TEXT}</html>",
    ],
)
def test_nothing_private_is_in_what_is_raised(rig, body):
    statuses = [300, 400, 401, 403, 404, 406, 410, 414, 420, 429, 500, 503]
    status = iter(statuses)
    client = rig.connect(rig.serve(lambda wire, head: whole(body, status=f"{next(status)} X")(wire, head)).url)
    client._retries.stop_retrying()
    for expected in statuses:
        with pytest.raises(SyncdError) as raised:
            client.query(QUERY, what="calls")
        error = raised.value
        text = f"{error} {error!r} {error.hint} {error.__cause__!r}"
        assert not [canary for canary in CANARIES if canary in text]
        assert str(expected) in text


def test_what_costs_time_is_imported_by_the_first_request_only():
    code = (
        "import sys, connectors.salesforce.client; "
        "print(sorted({'requests', 'simple_salesforce', 'jwt', 'cryptography', 'urllib3'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
