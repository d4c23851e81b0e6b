"""The status page over the wire: who may ask, what it answers, and how it fails."""

import base64
import errno
import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd import clock, web
from syncd.errors import ConfigError
from syncd.reporting import books
from syncd.sandbox import Fault
from syncd.types.listen import Address, parse
from syncd.web import answers, app, connections, server, sockets, view
from syncd.web.security import Access
from tests.pages import Client, free_port, served
from tests.world import THEIRS, World

PATHS = ("/", "/activity?id=1", "/metrics", "/livez", "/readyz", "/nope", "/icon.svg")


@pytest.fixture
def page(live: World) -> Iterator[Client]:
    """Serve the page of a ledger with five delivered calls and one without a contact."""
    live.calls(5)
    live.call(contacts=[])
    live.sync()
    with served(live) as (_, client):
        yield client


# -- who may ask ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "host", "is_ours"),
    [
        ("127.0.0.1:8321", "127.0.0.1:8321", True),
        ("127.0.0.1:8321", "LocalHost:8321", True),
        ("127.0.0.1:8321", "[::1]:8321", True),
        ("127.0.0.1:8321", "127.0.0.1", False),
        ("127.0.0.1:8321", "127.0.0.1:80", False),
        ("127.0.0.1:8321", "evil.example:8321", False),
        ("127.0.0.1:8321", "127.0.0.1.evil.example:8321", False),
        ("127.0.0.1:8321", "", False),
        ("127.0.0.1:80", "127.0.0.1", True),
        ("127.0.0.1:80", "localhost", True),
        ("[::1]:80", "[::1]", True),
        ("192.0.2.7:8321", "192.0.2.7:8321", True),
        ("192.0.2.7:8321", "localhost:8321", False),
        ("syncd.internal:8321", "syncd.internal:8321", True),
        ("syncd.internal:8321", "192.0.2.7:8321", False),
        ("0.0.0.0:8321", "192.0.2.7:8321", True),
        ("0.0.0.0:8321", "localhost:8321", True),
        ("0.0.0.0:8321", "evil.example:8321", False),
        ("[::]:8321", "[2001:db8::7]:8321", True),
        ("[::]:8321", "[2001:db8::7]:8x", False),
    ],
)
def test_only_the_address_that_is_listened_on_is_a_host(listen: str, host: str, is_ours: bool) -> None:
    assert Access(parse(listen)).judge("GET", "/", [host], "") == (200 if is_ours else 421)
    assert Access(parse(listen)).judge("GET", "/", [host, host], "") == 421, "one that has two names has none"


@pytest.mark.parametrize(
    ("sent", "status"),
    [("Bearer a-token", 200), ("bearer  a-token ", 200), ("Bearer a-toke", 401), ("Basic a-token", 401),
     ("a-token", 401), ("Bearer", 401), ("", 401), ("Bearer ä", 401)],
)  # fmt: skip
def test_only_the_token_opens_the_page_and_probes_need_none(sent: str, status: int) -> None:
    access = Access(Address("192.0.2.7", 80), "a-token")
    for path in ("/", "/activity", "/metrics", "/nope", "/livez/", "/icon.svg"):
        assert access.judge("GET", path, ["192.0.2.7"], sent) == status
    for path in ("/livez", "/readyz"):
        assert access.judge("GET", path, ["192.0.2.7"], sent) == 200


def test_a_wrong_host_is_refused_before_anything_else(page: Client) -> None:
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1"):
        got = page("/livez", host=host, method="DELETE")
        assert got.status == 421
    assert page("/", host=f"localhost:{page.port}").status == 200


def test_nothing_can_be_changed(page: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        got = page("/", method=method)
        assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


def test_every_path_refuses_a_wrong_host_and_method_with_the_same_headers(live: World) -> None:
    with served(live) as (_, client):
        for path in PATHS:
            for wanted, got in ((405, client(path, method="POST")), (421, client(path, host="evil.example"))):
                assert got.status == wanted, path
                assert got.headers["content-security-policy"].startswith("default-src 'none'")


def test_head_has_the_headers_and_no_body(page: Client) -> None:
    got = page("/", method="HEAD")
    assert (got.status, got.body) == (200, b"")
    assert int(got.headers["content-length"]) > 1000


def test_without_the_token_the_page_tells_nothing(live: World) -> None:
    token = live.path / "web-token"
    token.write_text("t0ken-4711\n")
    token.chmod(0o600)
    with served(live, token=f"file:{token}") as (_, client):
        for path in ("/", "/activity?id=1", "/metrics", "/nope"):
            got = client(path)
            assert (got.status, got.headers["www-authenticate"]) == (401, "Bearer")
            assert "4711" not in got.text
        assert client("/nope", Authorization="Bearer t0ken-4711").status == 404
        assert client("/livez").body == b"not alive\n"


def test_every_answer_has_the_headers_that_keep_it_private(page: Client) -> None:
    found = [page(path) for path in PATHS]
    for got in (*found, page(host="evil.example"), page(method="POST")):
        policy = got.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["referrer-policy"] == "no-referrer"
        assert got.headers["cache-control"] == "no-store"
        assert "server" not in got.headers
        assert "access-control-allow-origin" not in got.headers


# -- what it answers ------------------------------------------------------------------------


def test_the_page_needs_no_script_and_nothing_from_elsewhere(page: Client) -> None:
    got = page()
    (style,) = re.findall("(?s)<style>(.*?)</style>", got.text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in got.headers["content-security-policy"]
    assert "<script" not in got.text
    assert not re.search(r"\s(style|on\w+)=", got.text), "the policy would ignore it"
    assert "url(" not in style
    assert "@import" not in style
    assert all(link.startswith(("/", "#")) for link in re.findall(r'(?:href|src|action)="([^"]*)"', got.text))


def test_the_page_shows_the_books(page: Client, live: World) -> None:
    words = page().words
    assert "All is well: 5 delivered, 0 to be sent, 1 waiting for data or time." in words
    assert "hubspot calls fresh" in words
    assert "hubspot emails fresh" in words
    assert "every 5m" in words
    assert "Seen (the books balance) 6" in words
    assert "no_contact 1 nobody of the other side is associated" in words
    assert "associate a contact" in words.partition("Causes of failure")[2], "the remedy"
    assert "5 in 90 days" in words
    assert "1 day 100 %" in words
    assert re.search(r"Last passes .* 0 all done", words)
    assert f"Recotap {live.box.recotap_url.partition('//')[2].partition('/')[0]}" in words


def test_the_page_shows_spans_pauses_errors_and_unread_kinds(live: World) -> None:
    live.calls(1)
    live.sync()
    live.sql(
        "INSERT INTO ranges (stream_id, since, until, why, read_to, created_at, last_error) VALUES "
        "(1, '2026-01-01T00:00:00.000Z', '2026-01-05T00:00:00.000Z', 'gap', '2026-01-02T00:00:00.000Z', '', '<i>no')"
    )
    live.sql(
        "UPDATE streams SET last_error = '<b>it' || char(27) || ' broke', last_success_at = '2026-01-01T00:00:00.000Z'"
    )
    live.sql(
        "INSERT INTO pauses (name, until, reason) VALUES "
        f"('@recotap', '{clock.text(live.now() + timedelta(hours=1))}', 'it asked for <u>it')"
    )
    live.sql("UPDATE streams SET seen = seen + 1")
    with served(live) as (_, client):
        got = client()
    assert "<b>it" not in got.text
    assert "\x1b" not in got.text
    assert "<i>no" not in got.text
    words = got.words
    assert words.startswith("Needs you · syncd")
    assert "the books do not balance" in words
    assert "hubspot calls late" in words
    assert "<b>it\\x1b broke" in words
    assert "a gap that the CRM did not serve 2026-01-01 00:00 2026-01-05 00:00 25 %" in words
    assert "it asked for <u>it" in words


def test_an_empty_ledger_is_no_error(live: World) -> None:
    live.sync()
    with served(live) as (_, client):
        got = client()
    assert got.status == 200
    assert "Nothing was delivered in the last 90 days" in got.words


def test_an_activity_is_explained_by_either_id_without_its_payload(live: World) -> None:
    live.recotap.faults.add(Fault("answer", match="sales-activities", status=503, count=None))
    crm_id = live.call()
    live.sync()
    assert live.sql("SELECT body FROM payloads"), "it has one"
    with served(live) as (_, client):
        for wanted in (crm_id, f"hubspot-call-{crm_id}", f"%20{crm_id}%20"):
            got = client(f"/activity?id={wanted}")
            assert got.status == 200
            assert f"hubspot calls, record {crm_id} (call)" in got.words
            assert "pending: complete" in got.words
            assert f"@{THEIRS}" not in got.text, "no address"
            assert "Discovery call" not in got.text, "no title"
            assert "Payload" not in got.words


def test_another_id_is_answered_with_a_page_that_says_so(page: Client) -> None:
    wrong = {"": 400, "?id=": 400, "?id=%20": 400, f"?id={'x' * 201}": 400, "?other=1": 400, "?id=4711": 404,
             "?id=%3Cb%3E": 404, "?id=%00%ff": 404}  # fmt: skip
    for query, status in wrong.items():
        got = page(f"/activity{query}")
        assert got.status == status
        assert got.headers["content-type"] == "text/html; charset=utf-8"
        assert "<b>" not in got.text


def test_an_id_that_names_several_leads_to_each(live: World) -> None:
    crm_id = live.call()
    live.sync()
    live.sql(
        "INSERT INTO activities (stream_id, crm_id, external_activity_id, kind, state, reason, modified_at, "
        "first_seen_at) "
        f"SELECT id, '{crm_id}', 'the/other&one', 'email', 'excluded', 'internal', '', '' FROM streams "
        "WHERE stream = 'emails'"
    )
    with served(live) as (_, client):
        got = client(f"/activity?id={crm_id}")
        assert got.status == 300
        assert f'href="/activity?id=hubspot-call-{crm_id}"' in got.text
        assert 'href="/activity?id=the/other%26one">the/other&amp;one</a>' in got.text


# -- how it fails ---------------------------------------------------------------------------


def test_a_ledger_that_cannot_be_read_is_told_and_logged_once(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "KEPT_S", 0.0)
    with capture_logs() as logs, served(live) as (_, client):
        for _ in range(2):
            got = client()
            assert got.status == 503
            assert "there is no ledger at" in got.words
            assert "the first syncd sync makes it" in got.words
        assert client("/activity?id=1").status == 503
        assert client("/readyz").status == 503
        live.sync()
        assert client().status == 200
    (failed,) = [line for line in logs if line["event"] == "web.failed"]
    assert failed["hint"] == "the first `syncd sync` makes it. See [ledger] path"


def test_a_bug_is_logged_once_and_tells_the_client_nothing(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("canary 4711")

    monkeypatch.setattr(view, "page", break_down)
    with capture_logs() as logs:
        for _ in range(3):
            got = page()
            assert got.status == 500
            assert "4711" not in got.text
    assert [line["hint"] for line in logs if line["event"] == "web.bug"] == ["report it. Passes go on"]


def test_an_id_that_was_asked_for_is_in_no_log(page: Client) -> None:
    with capture_logs() as logs:
        page("/activity?id=canary-4711")
        page("/canary-4711")
    assert "4711" not in str(logs)


def test_an_address_in_use_or_of_another_machine_is_a_mistake_with_a_remedy(live: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        live.configure("web", listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError) as caught, web.serving(live.config()):
            pytest.fail("it is in use")
    (problem,) = caught.value.problems
    assert (problem.path, problem.hint) == (
        "web.listen",
        "another program listens there: stop it, or choose another port",
    )
    with pytest.raises(ConfigError, match="1 mistake") as caught:
        sockets.listening(Address("192.0.2.1", 8321))
    elsewhere = "this machine has no such address: choose one of its own, e.g. 127.0.0.1"
    assert caught.value.problems[0].hint == elsewhere
    with pytest.raises(ConfigError) as caught:
        sockets.listening(Address("no-such-host.invalid", 8321))
    assert caught.value.problems[0].hint == "choose another address, e.g. 127.0.0.1:8321"


def test_a_port_that_syncd_may_not_take_is_a_mistake_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(ConfigError) as caught:
        sockets.listening(Address("127.0.0.1", 80))
    assert caught.value.problems[0].hint == "syncd's user may not listen there: choose a port above 1023"


@pytest.mark.parametrize(
    ("given", "taken", "opened"),
    [(["127.0.0.1", "127.0.0.2"], [], 2), (["192.0.2.1", "127.0.0.1"], [], 1), (["127.0.0.1", "127.0.0.2"], [1], 0)],
    ids=["all", "without the one that this machine lacks", "none if one is in use"],
)
def test_a_name_stands_for_all_its_addresses(
    monkeypatch: pytest.MonkeyPatch, given: list[str], taken: list[int], opened: int
) -> None:
    port = free_port()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in given]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with ExitStack() as stack:
        for place in taken:
            stack.enter_context(socket.create_server((given[place], port)))
        if opened:
            made = [stack.enter_context(each) for each in sockets.listening(Address("localhost", port))]
            assert [each.getsockname()[0] for each in made] == given[-opened:]
        else:
            with pytest.raises(ConfigError):
                sockets.listening(Address("localhost", port))
            socket.create_server((given[0], port)).close()  # it is free


@pytest.mark.parametrize(("host", "to"), [("[::1]", "::1"), ("localhost", "127.0.0.1")])
def test_it_listens_on_ipv6_and_by_name(live: World, host: str, to: str) -> None:
    try:
        socket.create_server((to, 0), family=socket.AF_INET6 if ":" in to else socket.AF_INET).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with served(live, host=host) as (_, client), socket.create_connection((to, client.port), timeout=5) as asks:
        asks.sendall(f"GET /nope HTTP/1.1\r\nHost: {host}:{client.port}\r\n\r\n".encode())
        assert asks.recv(12) == b"HTTP/1.1 404"


def test_a_missing_extra_is_named_with_its_remedy(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "find_spec", lambda name: None if name == "uvicorn" else object())
    live.configure("web", listen=f"127.0.0.1:{free_port()}")
    with pytest.raises(ConfigError) as caught, web.serving(live.config()):
        pytest.fail("it cannot begin")
    (problem,) = caught.value.problems
    assert (problem.path, problem.hint) == ("web.listen", "pip install 'syncd[web]'")
    assert "uvicorn" in problem.message


# -- what it costs --------------------------------------------------------------------------


def test_however_many_ask_the_ledger_is_read_once_at_a_time(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    live.sync()
    began: list[float] = []
    under_way = threading.Semaphore(1)
    compute = books.document

    def counted(*given: Any) -> Any:
        assert under_way.acquire(blocking=False), "one at a time"
        began.append(time.monotonic())
        time.sleep(0.05)
        try:
            return compute(*given)
        finally:
            under_way.release()

    monkeypatch.setattr(books, "document", counted)
    with served(live) as (_, client), ThreadPoolExecutor(50) as clients:
        first = time.monotonic()
        found = [got.status for got in clients.map(lambda _: client(), range(50))]
        took = time.monotonic() - first
    assert set(found) == {200}
    assert took > 1.0, "those after the burst wait for their turn"
    assert len(began) <= took / answers.KEPT_S + 1


def test_a_client_that_sends_nothing_is_cut_off_and_holds_up_no_stop(
    live: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.2)
    with served(live) as (page, client):
        with socket.create_connection(("127.0.0.1", client.port), timeout=5) as silent:
            silent.sendall(b"GET / HTTP/1.1\r\nHost: ")
            assert silent.recv(1) == b"", "closed"
        monkeypatch.setattr(connections, "REQUEST_S", 60)
        with socket.create_connection(("127.0.0.1", client.port), timeout=5) as silent:
            silent.sendall(b"GET / HTTP/1.1\r\nHost: ")
            time.sleep(0.1)
            began = time.monotonic()
            page.stop()
            assert time.monotonic() - began < 2.0
            assert not page.is_alive()


def test_a_connection_has_one_request_and_ends_even_if_its_answer_is_not_read(
    live: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "KEPT_S", 0.0)
    with served(live) as (_, client):
        request = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", client.port), timeout=5) as asks:
            asks.sendall(request * 2)
            assert asks.makefile("rb").read().count(b"HTTP/1.1 ") == 1
        assert client("/livez").headers["connection"] == "close"
        monkeypatch.setattr(connections, "LIFE_S", 0.2)
        monkeypatch.setattr(books, "document", lambda *_: time.sleep(0.6))
        live.sync()
        with pytest.raises(ConnectionResetError):
            client()


def test_clients_that_send_nothing_keep_out_no_other(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connections, server):
        monkeypatch.setattr(module, "MOST_CLIENTS", 4)
    with served(live) as (_, client), ExitStack() as stack:
        where = ("127.0.0.1", client.port)
        silent = [stack.enter_context(socket.create_connection(where, timeout=5)) for _ in range(9)]
        assert client("/nope").status == 404
        assert [each.recv(1) for each in silent[:6]] == [b""] * 6, "the oldest are closed"
        silent[-1].sendall(f"GET /nope HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode())
        assert silent[-1].recv(12) == b"HTTP/1.1 404"


def test_requests_without_the_token_keep_out_none_with_it(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BURST", 3)
    monkeypatch.setattr(app, "MOST_WAIT_S", 0.0)
    token = live.path / "web-token"
    token.write_text("t0ken-4711")
    token.chmod(0o600)
    with served(live, token=f"file:{token}") as (_, client):
        found = [client("/nope").status for _ in range(6)]
        assert set(found) == {401, 503}
        assert client("/nope", Authorization="Bearer t0ken-4711").status == 404


def test_what_is_no_http_is_refused_and_in_no_log(page: Client, caplog: pytest.LogCaptureFixture) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", page.port), timeout=5) as rude:
            rude.sendall(sent)
            assert rude.recv(12) in (b"HTTP/1.1 400", b"")
    assert page("/livez").status == 503
    assert caplog.records == []


def test_the_package_has_all_that_its_templates_need() -> None:
    names = {file.name for file in (Path(web.__file__).parent / "templates").iterdir()}
    assert {"style.css", "icon.svg", "base.html"} < names


def test_a_ledger_that_takes_too_long_is_told_in_time(live: World, monkeypatch: pytest.MonkeyPatch) -> None:
    live.sync()
    monkeypatch.setattr(answers, "DEADLINE_S", 0.2)
    monkeypatch.setattr(books, "document", lambda *_: time.sleep(1.0))
    with served(live) as (_, client):
        began = time.monotonic()
        got = client()
        assert (got.status, client("/livez").status) == (503, 503)
        assert time.monotonic() - began < 0.9
    assert "the ledger takes too long" in got.words


def test_a_token_that_is_gone_at_a_reload_stays_in_force(live: World) -> None:
    token = live.path / "web-token"
    token.write_text("the-first")
    token.chmod(0o600)
    with capture_logs() as logs, served(live, token=f"file:{token}") as (page, client):
        config = live.config()
        token.unlink()
        page.apply(config)
        assert client("/nope", Authorization="Bearer the-first").status == 404
        assert client("/nope").status == 401
    told = [(line["key"], line["hint"]) for line in logs if line["event"] == "config.problem"]
    assert told == [("web.token", "set it, or name another place")]
