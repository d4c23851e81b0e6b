"""The wire to HubSpot: deadlines against drips, one connection, clocks, limits, and the configuration."""

import base64
import gzip
import json
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.hubspot import HubSpotConfig
from connectors.hubspot.client import Client
from connectors.hubspot.wire import dated
from syncd.connector import Context
from syncd.errors import ConfigError, Unavailable
from syncd.http.response import TransportError
from tests import scripted
from tests.scripted import Answering, Scripted, drip

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EMPTY = json.dumps({"results": [], "total": 0})


class _Plain(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.request.recv(4096)


class _Cut(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")


def whole(body: str | bytes = EMPTY, *, status: str = "200 OK", **headers: str) -> Answering:
    return scripted.whole(body, status=status, **headers)


class Rig:
    def __init__(self) -> None:
        self.servers: list[Scripted] = []
        self.clients: list[Client] = []
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)

    def serve(self, answering: Answering) -> Scripted:
        server = Scripted(answering)
        self.servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def connect(self, url: str, *, monotonic: Callable[[], float] = time.monotonic, **settings: Any) -> Client:
        table = {"connector": "hubspot", "start": NOW, "access_token": "env:HUBSPOT_TOKEN"}
        config = HubSpotConfig(**{**table, "search_per_second": 0, "timeout": "5s", **settings})
        config = config.model_copy(update={"base_url": url})  # plain http to elsewhere too: tests' proxies speak no TLS
        context = Context("hubspot", None, lambda: NOW, self.sleep)  # type: ignore[arg-type]
        client = Client(config, context, monotonic=monotonic)
        self.clients.append(client)
        return client


@pytest.fixture
def rig(monkeypatch) -> Iterator[Rig]:
    monkeypatch.setenv("HUBSPOT_TOKEN", "token")
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    rig = Rig()
    yield rig
    for client in rig.clients:
        client.close()
    for server in rig.servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b" "),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9000\r\n\r\n", b"<"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    ],
)
def test_a_server_that_drips_does_not_outlast_the_timeout(rig, head, text):
    client = rig.connect(rig.serve(drip(head, text)).url, timeout="200ms")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"no complete response within 0\.2 s"):
        client.search("calls", {})
    assert time.monotonic() - began < 3 * 0.2 + 0.3


def test_a_late_byte_buys_no_more_time(rig):
    def answer(wire: Any, _: str) -> None:
        time.sleep(0.17)
        wire.write(b"H")
        time.sleep(1)

    client = rig.connect(rig.serve(answer).url, timeout="200ms")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        client.search("calls", {})
    assert time.monotonic() - began < 3 * 0.2 + 0.3


def test_all_endpoints_share_one_connection_and_say_who_asks(rig):
    server = rig.serve(whole())
    client = rig.connect(server.url)
    client.search("calls", {})
    client.batch_read("contacts", ["1"], ["email"])
    client.associations("calls", "contacts", [{"id": "1"}])
    client.owners(archived=True, after="7")
    client.account()
    client.options("calls", "hs_call_disposition")
    client.daily_usage()
    assert server.connections == 1
    assert [head.split()[1] for head in server.heads] == [
        "/crm/objects/2026-03/calls/search",
        "/crm/objects/2026-03/contacts/batch/read",
        "/crm/associations/2026-03/calls/contacts/batch/read",
        "/crm/owners/2026-03?after=7&limit=500&archived=true",
        "/account-info/2026-03/details",
        "/crm/properties/2026-03/calls/hs_call_disposition",
        "/account-info/2026-03/api-usage/daily/private-apps",
    ]
    for head in server.heads:
        assert "Authorization: Bearer token" in head
        assert "User-Agent: syncd " in head


def test_a_connection_that_broke_is_replaced(rig):
    def break_once(wire: Any, head: str) -> None:
        if len(server.heads) == 1:
            raise ConnectionAbortedError
        whole()(wire, head)

    server = rig.serve(break_once)
    client = rig.connect(server.url)
    assert client.search("calls", {})["total"] == 0
    assert (server.connections, len(rig.slept)) == (2, 1)
    client.close()
    client.close()
    assert client.search("calls", {})["total"] == 0


def test_packed_answers_are_unpacked_and_broken_ones_tried_again(rig):
    packed = rig.connect(rig.serve(whole(gzip.compress(EMPTY.encode()), Content_Encoding="gzip")).url)
    assert packed.search("calls", {})["total"] == 0
    broken = rig.connect(rig.serve(whole(b"no gzip", Content_Encoding="gzip")).url)
    with pytest.raises(Unavailable):
        broken.search("calls", {})
    assert len(rig.slept) == 2


def test_a_redirect_does_not_carry_the_token_away(rig):
    other = rig.serve(whole())
    client = rig.connect(rig.serve(whole("", status="307 Temporary Redirect", Location=other.url)).url)
    with pytest.raises(Unavailable, match="307"):
        client.search("calls", {})
    assert other.heads == []


def test_the_pass_starts_when_hubspot_says_less_the_requests_time(rig):
    client = rig.connect(rig.serve(whole(Date="Sun, 01 Mar 2026 11:00:00 GMT")).url)
    assert client.server_now() == NOW
    client.search("calls", {})
    eleven = NOW - timedelta(hours=1)
    assert eleven - timedelta(seconds=1) <= client.started_at <= eleven
    assert client.server_now() == eleven
    started_at = client.started_at
    client.search("calls", {})
    assert client.started_at == started_at


def test_a_slow_answer_moves_the_start_by_one_second_at_most(rig):
    ticks = iter(range(0, 1_000, 20))
    server = rig.serve(whole(Date="Sun, 01 Mar 2026 11:00:00 GMT"))
    client = rig.connect(server.url, monotonic=lambda: float(next(ticks)))
    client.search("calls", {})
    assert client.started_at == NOW - timedelta(hours=1, seconds=1)


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}, {"Date": "Sun, 01 Mar 2026 11:00:00 -0000"}])
def test_without_a_date_the_local_clock_tells_the_start(rig, headers):
    client = rig.connect(rig.serve(whole(**headers)).url)
    client.search("calls", {})
    assert client.started_at == client.server_now() == NOW


def test_the_ten_second_limit_is_learned_from_the_answers(rig):
    server = rig.serve(whole(X_HubSpot_RateLimit_Max="10", X_HubSpot_RateLimit_Interval_Milliseconds="10000"))
    client = rig.connect(server.url)
    for _ in range(9):
        client.account()
    client.search("calls", {})
    client.associations("calls", "contacts", [])
    assert rig.slept == []
    client.account()
    assert [9 < slept <= 10 for slept in rig.slept] == [True]


@pytest.mark.parametrize("headers", [{"Max": "many"}, {"Max": "1", "Interval-Milliseconds": "1000"}])
def test_another_limit_is_not_taken_for_it(rig, headers):
    named = {f"X_HubSpot_RateLimit_{name.replace('-', '_')}": value for name, value in headers.items()}
    client = rig.connect(rig.serve(whole(**named)).url)
    for _ in range(20):
        client.account()
    assert rig.slept == []


def test_a_minute_of_failures_in_a_row_ends_the_pass(rig):
    clock = [0.0]
    client = rig.connect("http://127.0.0.1:9", monotonic=lambda: clock[0])

    def stop_retrying(_: Any) -> TransportError:
        clock[0] += 31
        return TransportError("no answer")

    client._send = stop_retrying
    with pytest.raises(Unavailable):
        client.search("calls", {})
    assert (clock[0], len(rig.slept)) == (62, 1)


def test_an_answer_in_between_ends_the_row_of_failures(rig):
    server = rig.serve(lambda wire, head: whole(status="200 OK" if len(server.heads) % 2 == 0 else "503 x")(wire, head))
    clock = [0.0]
    client = rig.connect(server.url, monotonic=lambda: clock[0])
    for _ in range(5):
        clock[0] += 40
        client.search("calls", {})
    assert len(rig.slept) == 5


def test_a_refused_connection_and_an_unknown_name_are_told_apart(rig, monkeypatch):
    with pytest.raises(Unavailable, match="no connection") as raised:
        rig.connect("http://127.0.0.1:9").search("calls", {})
    assert raised.value.hint == "check base_url, the network and firewalls"

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unavailable, match="cannot be resolved") as raised:
        rig.connect("https://hubspot.invalid").search("calls", {})
    assert raised.value.hint == "check base_url, DNS and the network"


def test_a_connection_that_breaks_is_told(rig):
    server = rig.serve(whole())
    server.RequestHandlerClass = _Cut
    with pytest.raises(Unavailable, match="the connection broke") as raised:
        rig.connect(server.url).search("calls", {})
    assert raised.value.hint == "see https://status.hubspot.com, and check the network"


@pytest.mark.parametrize("url", ["https://a..b.example", f"https://{'a' * 70}.example", "https://a b.example"])
def test_a_base_url_that_is_no_address_says_so_and_is_not_tried_again(rig, url):
    with pytest.raises(Unavailable, match="base_url is not an address") as raised:
        rig.connect(url).search("calls", {})
    assert raised.value.hint == "base_url must be an address like https://host"
    assert rig.slept == []


def test_requests_go_through_the_proxy_that_the_environment_names(rig, monkeypatch):
    """This is plain http, which a proxy forwards. The tunnel of https is tested below."""
    proxy = rig.serve(whole())
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:p%40ss@"))
    client = rig.connect("http://crm.example/base")
    client.search("calls", {})
    client.owners(archived=False)
    assert [head.splitlines()[0] for head in proxy.heads] == [
        "POST http://crm.example/base/crm/objects/2026-03/calls/search HTTP/1.1",
        "GET http://crm.example/base/crm/owners/2026-03?limit=500&archived=false HTTP/1.1",
    ]
    assert proxy.connections == 1
    for head in proxy.heads:
        assert "Host: crm.example" in head
        assert f"proxy-authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in head


def test_https_is_tunnelled_and_a_proxy_that_refuses_is_named(rig, monkeypatch):
    """The tests' proxy speaks no TLS. It receives the CONNECT, without the token."""
    proxy = rig.serve(whole("", status="407 Proxy Authentication Required"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))
    with pytest.raises(Unavailable, match=r"no way through the proxy \(407\)") as raised:
        rig.connect("https://api.hubapi.com").search("calls", {})
    assert raised.value.hint.startswith("check the proxy that HTTPS_PROXY names. NO_PROXY lists the hosts")
    assert {head.splitlines()[0] for head in proxy.heads} == {"CONNECT api.hubapi.com:443 HTTP/1.0"}
    assert not [head for head in proxy.heads if "token" in head]


@pytest.mark.parametrize("url", ["http://crm.example", "https://crm.example"])
def test_a_proxy_that_drips_does_not_outlast_the_timeout(rig, monkeypatch, url):
    proxy = rig.serve(drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        rig.connect(url, timeout="200ms").search("calls", {})
    assert time.monotonic() - began < 3 * 0.2 + 0.3


@pytest.mark.parametrize("written", ["socks5://127.0.0.1:9", "http://127.0.0.1:x", "http://a..b:1"])
def test_a_proxy_that_cannot_be_used_is_named(rig, monkeypatch, written):
    monkeypatch.setenv("https_proxy", written)
    with pytest.raises(ConfigError) as raised:
        rig.connect("https://api.hubapi.com").search("calls", {})
    assert [problem.path for problem in raised.value.problems] == ["https_proxy"]
    assert written not in str(raised.value.problems)
    assert rig.slept == []


def test_a_proxy_that_is_not_there_is_named(rig, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="no connection to the proxy") as raised:
        rig.connect("https://api.hubapi.com").search("calls", {})
    assert "https_proxy" in raised.value.hint


def test_a_failed_handshake_is_explained(rig):
    """Plain text where TLS is expected, as from a captive portal."""
    server = rig.serve(whole())
    server.RequestHandlerClass = _Plain
    with pytest.raises(Unavailable, match="TLS") as raised:
        rig.connect(server.url.replace("http:", "https:")).search("calls", {})
    assert "A proxy or a firewall may break TLS" in raised.value.hint


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/crm/v3/objects/{objectType}/search", "/crm/objects/2026-09/{objectType}/search"),
        ("/crm/v4/associations/calls/contacts/batch/read", "/crm/associations/2026-09/calls/contacts/batch/read"),
        ("/crm/v3/owners/", "/crm/owners/2026-09"),
        ("/calling/v1/dispositions", "/calling/v1/dispositions"),
    ],
)
def test_the_sdks_paths_become_dated(path, expected):
    assert dated(path, "2026-09") == expected


TABLE = {"connector": "hubspot", "start": NOW, "access_token": "env:X"}


def test_the_defaults_are_those_of_the_design():
    config = HubSpotConfig(**TABLE)
    assert (config.base_url, config.api_version, config.search_per_second) == ("https://api.hubapi.com", "2026-03", 4)
    assert (config.department_property, config.timeout) == ("", timedelta(seconds=30))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_url", "http://api.hubapi.com"),
        ("base_url", "ftp://127.0.0.1"),
        ("base_url", "api.hubapi.com"),
        ("base_url", "https://user:word@api.hubapi.com"),
        ("base_url", "https://api.hubapi.com?x=1"),
        ("api_version", "v3"),
        ("search_per_second", -1),
        ("search_per_second", float("nan")),
        ("timeout", "0s"),
        ("access_token", "pat-na1-secret"),
        ("acces_token", "env:X"),
    ],
)
def test_what_is_wrong_is_refused_and_no_secret_is_shown_by_us(key, value):
    with pytest.raises(ValidationError) as raised:
        HubSpotConfig(**{**TABLE, key: value})
    (error,) = raised.value.errors()
    assert "secret" not in error["msg"].replace("secret itself", "")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        (" https://api-eu1.hubapi.com ", "https://api-eu1.hubapi.com"),
    ],
)
def test_loopback_may_be_plain_and_addresses_are_trimmed(written, kept):
    assert HubSpotConfig(**TABLE, base_url=written, department_property=" area ").base_url == kept
