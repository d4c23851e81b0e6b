"""All HTTP to Recotap: the requests, and the result of each kind of failure."""

import json
import socket
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from syncd import __version__, clock
from syncd.errors import Exit
from syncd.lifecycle.states import Verdict
from syncd.recotap.responses import BatchResult, ItemResult
from syncd.recotap.sender import BATCH, KEY_HINT, MOST_BYTES, URL_HINT, Sender
from syncd.sandbox import Sandbox
from tests.loopback import request, served

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = "canary-key-0123456789"
CREATED = ItemResult(Verdict.CREATED)


def activity(name: str, **more) -> tuple[str, str]:
    body = {
        "externalActivityId": name, "activityType": "call", "occurredAt": "2026-03-02T08:00:00Z",
        "domain": "amber-bolts.example", "ownerEmail": "ada@lanternfield.example",
        "contacts": [{"email": "zoe@amber-bolts.example", "name": "Zoë Fennbrook"}],
    }  # fmt: skip
    return name, json.dumps(body | more, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture
def box():
    with Sandbox() as box:
        yield box


def sender_to(box, *, timeout_s: float = 5.0, key: str | None = None, url: str | None = None) -> Sender:
    return Sender(
        base_url=url or box.recotap_url, api_key=key or box.key, timeout_s=timeout_s, concurrency=2, now=lambda: NOW
    )


def to_server(url: str, may_leave: Callable[[], bool]) -> Sender:
    return Sender(base_url=url, api_key=KEY, timeout_s=5.0, concurrency=2, now=lambda: NOW, may_leave=may_leave)


def answering(handler) -> Sender:
    return Sender(
        base_url="https://recotap.example/api/v1/", api_key=KEY, timeout_s=5.0, concurrency=2, now=lambda: NOW,
        transport=httpx.MockTransport(handler),
    )  # fmt: skip


class TestDeparture:
    def test_a_post_that_may_not_leave_does_not_and_the_next_one_may(self, box):
        answers = iter([False, True])
        with to_server(box.recotap_url, lambda: next(answers)) as to:
            to._client.headers["X-Api-Key"] = box.key
            assert to.post([activity("a")]) == BatchResult("withheld")
            assert not box.recotap.received
            assert to.post([activity("b")]).verdicts == {"b": CREATED}
        assert set(box.recotap.stored) == {"b"}
        assert [arrival.ids for arrival in box.recotap.traffic.arrivals] == [("b",)]

    def test_it_is_asked_on_an_open_connection_right_before_the_activities_leave(self):
        received, asked = [], []

        def serve(connection):
            while data := connection.recv(65536):
                received.append(data)

        def may_leave() -> bool:
            until = time.monotonic() + 5
            while b"\r\n\r\n" not in b"".join(received) and time.monotonic() < until:
                time.sleep(0.001)
            asked.append(b"".join(received))
            return False

        with served(serve) as server, to_server(server.url, may_leave) as to:
            assert to.post([activity("canary")]).outcome == "withheld"
        (head,) = asked
        assert head.startswith(b"POST /sales-activities")
        assert head.endswith(b"\r\n\r\n")
        assert b"canary" not in b"".join(received).replace(KEY.encode(), b"")

    def test_its_deadline_counts_from_its_intent(self, box):
        box.recotap.faults.add("hang", seconds=20.0)
        with sender_to(box, timeout_s=20.0) as to:
            began = time.monotonic()
            assert to.post([activity("a")], late_s=19.8).detail == "no answer within the deadline"
            assert time.monotonic() - began < 10
            result = to.post([activity("a")], late_s=20.0)
        assert result == BatchResult("unreachable", "its deadline was over before it could be sent")
        assert len(box.recotap.traffic.arrivals) == 1


class TestWire:
    def test_a_batch_goes_out_as_one_json_object_with_the_bodies_byte_for_byte(self):
        seen = []

        def handler(request):
            seen.append(request)
            return httpx.Response(200, json={"data": {"results": []}})

        (_, first), (_, second) = sent = [activity("a"), activity("b", callTitle="Grüße 🎉")]
        with answering(handler) as to:
            to.post(sent)
        (request,) = seen
        assert request.method == "POST"
        assert str(request.url) == "https://recotap.example/api/v1/sales-activities"
        assert request.content == f'{{"activities":[{first},{second}]}}'.encode()
        assert json.loads(request.content) == {"activities": [json.loads(first), json.loads(second)]}

    def test_the_key_the_content_type_and_who_asks_are_in_the_headers(self):
        seen = []

        def handler(request):
            seen.append(request.headers)
            return httpx.Response(200, json={"data": {}})

        with answering(handler) as to:
            to.post([activity("a")])
            to.check()
        for headers in seen:
            assert headers["X-Api-Key"] == KEY
            assert headers["User-Agent"] == f"syncd/{__version__}"
            assert headers["Accept"] == "application/json"
        assert [headers.get("Content-Type") for headers in seen] == ["application/json", None]
        assert seen[0]["Content-Length"] == str(len(f'{{"activities":[{activity("a")[1]}]}}'.encode()))

    def test_fifty_is_the_vendors_bound(self):
        assert BATCH == 50

    def test_a_redirect_is_not_followed_for_the_key_would_travel_along(self):
        seen = []

        def handler(request):
            seen.append(request.url)
            return httpx.Response(307, headers={"Location": "https://elsewhere.example/"})

        with answering(handler) as to:
            assert to.post([activity("a")]) == BatchResult("wrong_url", "HTTP 307")
            assert to.check().exit_code is Exit.CONFIG
        assert {url.host for url in seen} == {"recotap.example"}

    def test_requests_in_a_row_share_a_connection_and_requests_at_once_have_their_own(self):
        inside = threading.Barrier(2, timeout=5.0)

        def serve(connection):
            while request(connection):
                inside.wait()
                connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

        with served(serve) as server, sender_to(None, key=KEY, url=server.url) as to:
            for _ in range(3):
                threads = [threading.Thread(target=to.post, args=([activity("a")],)) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert server.connections == 2


class TestAnswers:
    def test_a_stand_in_stores_a_batch_and_each_activity_is_created(self, box):
        with sender_to(box) as to:
            answer = to.post([activity("a"), activity("b")])
        assert answer == BatchResult("answered", verdicts={"a": CREATED, "b": CREATED})
        assert box.recotap.stored["a"][0] == json.loads(activity("a")[1])

    def test_a_duplicate_and_a_failure_and_an_item_left_out_are_told_apart(self, box):
        with sender_to(box) as to:
            to.post([activity("a")])
            box.recotap.rule("fail", ids=["b"], text="boom")
            box.recotap.rule("omit", ids=["c"])
            box.recotap.rule("unknown_id")
            answer = to.post([activity(name) for name in "abcd"])
        assert answer.verdicts == {
            "a": ItemResult(Verdict.DUPLICATE), "b": ItemResult(Verdict.FAILED, "boom"), "d": CREATED,
        }  # fmt: skip

    def test_a_bare_body_is_taken(self, box):
        box.recotap.rule("bare")
        with sender_to(box) as to:
            assert to.post([activity("a")]).verdicts == {"a": CREATED}

    @pytest.mark.parametrize(("style", "culprits"), [
        ("nested", {1: "ownerEmail: isEmail"}), ("flat", {1: "ownerEmail: refused"}), ("opaque", {}), ("bare", {}),
    ])  # fmt: skip
    def test_a_refusal_names_its_culprit_in_each_style_that_has_one(self, box, style, culprits):
        box.recotap.style = style
        with sender_to(box) as to:
            answer = to.post([activity("a"), activity("b", ownerEmail="not available"), activity("c")])
        assert answer == BatchResult("refused", "HTTP 400", culprits=culprits)
        assert not box.recotap.stored

    def test_a_culprit_among_the_contacts_is_named(self, box):
        people = [{"email": "a@amber-bolts.example"}, {"email": "inferred - a@b.com"}]
        with sender_to(box) as to:
            assert to.post([activity("a", contacts=people)]).culprits == {0: "contacts.1.email: isEmail"}

    def test_a_wrong_key_and_a_wrong_path_are_told_apart(self, box):
        with sender_to(box, key=KEY) as to:
            assert to.post([activity("a")]) == BatchResult("unauthorized", "HTTP 401")
        with sender_to(box, url=box.recotap_url.replace("/v1", "/v9")) as to:
            assert to.post([activity("a")]) == BatchResult("wrong_url", "HTTP 404")

    def test_a_text_that_a_firewall_refuses_is_told_from_a_refused_key_by_a_probe(self, box):
        box.recotap.set(forbidden=["DROP TABLE"])
        with sender_to(box) as to:
            said = BatchResult("blocked", "HTTP 403, though the key is accepted")
            assert to.post([activity("a"), activity("b", callTitle="DROP TABLE a;")]) == said
            assert to.post([activity("a")]).outcome == "answered"
        assert box.recotap.requests == {"post": 2, "accounts": 1}

    def test_a_firewall_in_front_of_a_refused_key_stops_all_the_same(self, box):
        box.recotap.set(forbidden=["DROP TABLE"])
        with sender_to(box, key=KEY) as to:
            assert to.post([activity("b", callTitle="DROP TABLE a;")]) == BatchResult("unauthorized", "HTTP 401")

    def test_a_proxys_401_for_one_post_is_not_about_the_key(self, box):
        box.recotap.faults.add("answer", match="sales-activities", status=401, body="<html>")
        with sender_to(box) as to:
            assert to.post([activity("a")]).outcome == "blocked"

    @pytest.mark.parametrize("fault", ["unavailable", "html", "reset", "html_200"])
    def test_a_refusal_that_nothing_confirms_is_an_outage(self, box, fault):
        box.recotap.faults.add("answer", match="sales-activities", status=403, body={"statusCode": 403})
        box.recotap.faults.add(fault, match="accounts")
        with sender_to(box) as to:
            answer = to.post([activity("a")])
        assert (answer.outcome, answer.stored) == ("down", False)
        assert "the key cannot be tried" in answer.detail

    def test_the_probe_that_confirms_a_refusal_has_no_more_than_the_rest_of_the_deadline(self, box):
        box.recotap.faults.add("answer", match="sales-activities", status=401, body="<html>")
        box.recotap.faults.add("drip", match="accounts")  # no single read takes long
        began = time.monotonic()
        with sender_to(box, timeout_s=1.0) as to:
            assert to.post([activity("a")]).outcome == "down"
        assert time.monotonic() - began < 1.0 + 2.0

    @pytest.mark.parametrize(("fault", "outcome"), [
        (None, "answered"), ("reset", "unreachable"), ("html", "down"), ("too_many", "throttled"),
        ("drip", "unreachable"),
    ])  # fmt: skip
    def test_the_smallest_request_tells_whether_recotap_is_there(self, box, fault, outcome):
        if fault:
            box.recotap.faults.add(fault)
        with sender_to(box, timeout_s=1.0) as to:
            assert to.probe().outcome == outcome

    def test_a_body_beyond_the_servers_limit_is_too_large(self, box):
        box.recotap.max_body = 400
        with sender_to(box) as to:
            assert to.post([activity("a"), activity("b")]).outcome == "too_large"
            assert to.post([activity("a")]).outcome == "answered"

    @pytest.mark.parametrize(("fault", "answer"), [
        ("too_many", BatchResult("throttled", "HTTP 429", retry_after=1.0)),
        ("server_error", BatchResult("down", "HTTP 500", stored=True)),
        ("html", BatchResult("down", "HTTP 502", stored=True)),
        ("html_200", BatchResult("down", "HTTP 200 with a body that is not Recotap's", stored=True)),
        ("empty", BatchResult("down", "HTTP 200 with a body that is not Recotap's", stored=True)),
        ("garbage", BatchResult("down", "HTTP 200 with a body that is not Recotap's", stored=True)),
        ("cut_json", BatchResult("down", "HTTP 200 with a body that is not Recotap's", stored=True)),
        ("cut", BatchResult("down", "the connection was cut", stored=True)),
        ("close", BatchResult("down", "the connection was cut", stored=True)),
        ("reset", BatchResult("down", "the connection was cut", stored=True)),
        ("hang", BatchResult("down", "no answer within the deadline", stored=True)),
    ])  # fmt: skip
    def test_each_bad_day_has_its_outcome(self, box, fault, answer):
        more = {"seconds": 2.0} if fault == "hang" else {}
        box.recotap.faults.add(fault, **more)
        with sender_to(box, timeout_s=0.4 if fault == "hang" else 5.0) as to:
            assert to.post([activity("a")]) == answer

    def test_a_reset_after_storing_is_unknown_and_the_next_answer_tells(self, box):
        box.recotap.rule("store_then_drop", count=1)
        with sender_to(box) as to:
            assert to.post([activity("a")]) == BatchResult("down", "the connection was cut", stored=True)
            assert to.post([activity("a")]).verdicts == {"a": ItemResult(Verdict.DUPLICATE)}
        assert box.recotap.doubled == 0

    def test_a_port_that_refuses_is_unreachable_and_nothing_was_stored(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with sender_to(None, key=KEY, url=f"http://127.0.0.1:{unused.getsockname()[1]}") as to:
                assert to.post([activity("a")]) == BatchResult("unreachable", "no connection")

    @pytest.mark.parametrize(("error", "answer"), [
        (httpx.ConnectError, BatchResult("unreachable", "no connection")),
        (httpx.ConnectTimeout, BatchResult("unreachable", "no connection within the deadline")),
        (httpx.PoolTimeout, BatchResult("unreachable", "PoolTimeout")),
        (httpx.UnsupportedProtocol, BatchResult("unreachable", "UnsupportedProtocol")),
        (httpx.ReadTimeout, BatchResult("down", "no answer within the deadline", stored=True)),
        (httpx.WriteTimeout, BatchResult("down", "the request was not taken within the deadline", stored=True)),
        (httpx.ReadError, BatchResult("down", "the connection was cut", stored=True)),
        (httpx.WriteError, BatchResult("down", "the connection was cut", stored=True)),
        (httpx.RemoteProtocolError, BatchResult("down", "the connection was cut", stored=True)),
        (httpx.CloseError, BatchResult("down", "CloseError", stored=True)),
        (httpx.ProxyError, BatchResult("unreachable", "ProxyError")),
        (httpx.DecodingError, BatchResult("down", "DecodingError", stored=True)),
        (httpx.TooManyRedirects, BatchResult("down", "TooManyRedirects", stored=True)),
    ])  # fmt: skip
    def test_each_transport_error_has_its_outcome_without_its_text(self, error, answer):
        def handler(request):
            raise error(f"{KEY} {request.content!r}")

        with answering(handler) as to:
            assert to.post([activity("a")]) == answer

    @pytest.mark.parametrize("body", [b"\xff\xfe{", b'{"data": {"results": [\xff]}}'])
    def test_an_answer_that_is_not_utf8_is_not_recotaps(self, body):
        with answering(lambda request: httpx.Response(200, content=body)) as to:
            assert to.post([activity("a")]) == BatchResult(
                "down", "HTTP 200 with a body that is not Recotap's", stored=True
            )

    def test_an_answer_that_says_gzip_and_is_none_is_unknown(self):
        def handler(request):
            return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

        with answering(handler) as to:
            told = "the response is not the gzip that it claims to be"
            assert to.post([activity("a")]) == BatchResult("down", told, stored=True)

    def test_an_answer_of_one_mib_is_read_and_a_larger_one_is_left_unread(self):
        text = json.dumps({"data": {"results": [{"externalActivityId": "a", "status": "created"}]}}).encode()

        class Chunks(httpx.SyncByteStream):
            def __init__(self, length):
                self.length, self.given = length, 0

            def __iter__(self):
                yield text
                self.given = len(text)
                while self.given < self.length:
                    chunk = b" " * min(65_536, self.length - self.given)
                    self.given += len(chunk)
                    yield chunk

        whole, endless = Chunks(MOST_BYTES), Chunks(100 * MOST_BYTES)
        with answering(lambda request: httpx.Response(200, stream=whole)) as to:
            assert to.post([activity("a")]).verdicts == {"a": CREATED}
        with answering(lambda request: httpx.Response(200, stream=endless)) as to:
            assert to.post([activity("a")]) == BatchResult("down", "the response exceeds 1 MiB", stored=True)
        assert endless.given <= MOST_BYTES + 2 * 65_536

    def test_retry_after_as_a_date_is_counted_by_recotaps_clock_even_if_this_response_has_no_date(self):
        """The local clock is a day behind, and only the first response has a Date."""
        told = [{"Date": "Tue, 03 Mar 2026 09:00:00 GMT"}, {"Retry-After": "Tue, 03 Mar 2026 09:00:30 GMT"}]
        with answering(lambda request: httpx.Response(503, headers=told.pop(0))) as to:
            to.post([activity("a")])
            assert to.post([activity("a")]).retry_after == 30.0

    def test_retry_after_as_a_date_is_counted_by_the_senders_clock(self):
        headers = {"Retry-After": "Mon, 02 Mar 2026 09:00:30 GMT"}
        with answering(lambda request: httpx.Response(503, headers=headers)) as to:
            assert to.post([activity("a")]).retry_after == 30.0


class TestCheck:
    def test_a_key_that_works_is_accepted_by_the_vendors_own_way_to_try_it(self, box):
        with sender_to(box) as to:
            finding = to.check()
        assert (finding.ok, finding.what, finding.message) == (True, "recotap key", "accepted")
        assert box.recotap.log[-1][1:3] == ("accounts", "/api/v1/accounts")
        assert not box.recotap.requests["post"]

    def test_it_asks_for_one_account(self):
        seen = []

        def handler(request):
            seen.append((request.method, str(request.url)))
            return httpx.Response(200, json={"data": {}})

        with answering(handler) as to:
            assert to.check().ok
        assert seen == [("GET", "https://recotap.example/api/v1/accounts?limit=1")]

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_key_that_is_refused_says_what_to_do(self, status):
        with answering(lambda request: httpx.Response(status, json={"statusCode": status, "message": "?"})) as to:
            finding = to.check()
        assert (finding.ok, finding.exit_code, finding.hint) == (False, Exit.UNAUTHORIZED, KEY_HINT)
        assert finding.hint.endswith("put the new one where recotap.api_key points")
        assert (finding.what, finding.message) == ("recotap key", f"refused (HTTP {status})")

    @pytest.mark.parametrize("status", [404, 405, 300, 301, 399])
    def test_a_wrong_base_url_says_what_it_should_look_like(self, status):
        with answering(lambda request: httpx.Response(status, text="<html>")) as to:
            finding = to.check()
        assert (finding.ok, finding.exit_code, finding.hint) == (False, Exit.CONFIG, URL_HINT)
        assert (finding.what, finding.message) == ("recotap key", f"wrong base URL (HTTP {status})")
        assert "/api/v1" in finding.hint

    @pytest.mark.parametrize(("status", "body"), [(200, "<html>"), (200, ""), (500, '{"data": 1}'), (400, "{}")])
    def test_an_answer_that_is_not_recotaps_is_not_its_acceptance(self, status, body):
        other = "something else answers in Recotap's place: compare recotap.base_url, and look for a proxy"
        hint = "try again later. If it lasts, ask Recotap's support" if status == 500 else other
        with answering(lambda request: httpx.Response(status, text=body)) as to:
            finding = to.check()
        assert (finding.ok, finding.exit_code) == (False, Exit.UNAVAILABLE)
        assert finding.message == f"HTTP {status}, and not Recotap's answer"
        assert (finding.what, finding.hint) == ("recotap key", hint)

    def test_a_firewalls_403_is_not_taken_for_a_refused_key(self):
        with answering(lambda request: httpx.Response(403, json={"message": "Forbidden"})) as to:
            finding = to.check()
        assert (finding.ok, finding.exit_code) == (False, Exit.UNAVAILABLE)
        assert finding.hint.startswith("a firewall or proxy before Recotap may refuse this machine")

    def test_no_connection_says_what_to_look_at(self):
        def handler(request):
            raise httpx.ConnectError(KEY)

        with answering(handler) as to:
            finding = to.check()
        assert (finding.ok, finding.exit_code) == (False, Exit.UNAVAILABLE)
        assert (finding.what, finding.message) == ("recotap key", "Recotap cannot be reached: no connection")
        assert finding.hint == "compare recotap.base_url, and let this machine reach it (DNS, proxy, firewall)"

    def test_a_server_that_hangs_is_left_at_the_deadline(self, box):
        box.recotap.faults.add("hang", seconds=2.0)
        with sender_to(box, timeout_s=0.3) as to:
            assert to.check().message == "Recotap cannot be reached: no answer within the deadline"


class TestPrivate:
    def test_the_key_is_in_no_repr_and_in_no_answer(self):
        def handler(request):
            return httpx.Response(500, text=f"{request.headers} {request.content!r}")

        with answering(handler) as to:
            told = f"{to!r} {to} {to.post([activity('a')])!r} {to.check()!r} {to._client!r}"
        assert KEY not in told
        assert "amber-bolts" not in told

    @pytest.mark.parametrize("key", ["canary-key\nX-Evil: 1", "canary-key-\xe9"])
    def test_a_key_that_no_header_can_carry_is_in_no_error(self, box, key):
        """The configuration refuses such a key. If one gets here, no error or message repeats it."""
        try:
            with sender_to(box, key=key) as to:
                told = repr(to.post([activity("a")]))
        except ValueError as error:
            told = "".join(traceback.format_exception(error))
        assert "canary-key" not in told

    def test_after_close_the_connections_are_gone(self, box):
        to = sender_to(box)
        to.post([activity("a")])
        to.close()
        assert to._client.is_closed


class TestProxy:
    """If a machine reaches the internet only through a proxy, syncd reads HubSpot and sends to Recotap through it."""

    @staticmethod
    def forward(heads: list[str]) -> Callable[[socket.socket], None]:
        body = b'{"data":{"results":[{"externalActivityId":"a","status":"created"}]}}'

        def serve(connection: socket.socket) -> None:
            heads.append(connection.recv(65536).decode())
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)

        return serve

    @pytest.mark.parametrize(("base_url", "asked"), [
        ("http://recotap.example/api/v1", "POST http://recotap.example/api/v1/sales-activities"),
        ("https://recotap.example/api/v1", "CONNECT recotap.example:443"),
    ])  # fmt: skip
    def test_the_one_that_the_environment_names_is_taken(self, monkeypatch, base_url, asked):
        heads: list[str] = []
        for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with served(self.forward(heads)) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            with Sender(base_url=base_url, api_key="k" * 64, timeout_s=2, concurrency=1, now=clock.now) as sender:
                sender.post([("a", "{}")])
        assert heads[0].startswith(asked)


class TestClock:
    def dated(self, date: str | None, status: int = 200) -> Sender:
        headers = {} if date is None else {"Date": date}
        return answering(lambda request: httpx.Response(status, headers=headers, json={"data": {"results": []}}))

    @pytest.mark.parametrize("status", [200, 400, 401, 429, 503])
    def test_every_response_teaches_recotaps_clock_whatever_it_says(self, status):
        with self.dated("Tue, 03 Mar 2026 09:00:00 GMT", status) as to:
            to.post([activity("a")])
            assert to.clock.report("Recotap").skew_s == 86_400

    def test_it_can_be_asked_for_by_a_request_that_changes_nothing(self):
        seen = []

        def handler(request):
            seen.append((request.method, str(request.url)))
            return httpx.Response(200, headers={"Date": "Mon, 02 Mar 2026 09:00:07 GMT"})

        with answering(handler) as to:
            to.ask_the_time()
            assert to.clock.report("Recotap").skew_s == 7
        assert seen == [("GET", "https://recotap.example/api/v1/accounts?limit=1")]

    @pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
    def test_if_nobody_answers_nothing_is_known(self, error):
        def handler(request):
            raise error("no")

        with answering(handler) as to:
            to.ask_the_time()
            assert to.clock.report("Recotap") is None
