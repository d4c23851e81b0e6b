"""Sending to one address through Apprise: which service it is, what leaves, and why it was not taken."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apprise
import pytest
import trustme
from apprise.manager_plugins import NotificationManager

from syncd.alerts import addresses as owner
from syncd.alerts.addresses import PLUGINS, Address, addresses
from syncd.alerts.state import Message
from syncd.types.secrets import Secret
from tests.daemons import wait_until
from tests.loopback import request, served
from tests.receivers import Receiver, receiving

MESSAGE = Message("syncd: a title", "A body.", True, ())


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("TEST_ALERTS", receiver.address)
        yield receiver


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("nonsense://canary", "no address that Apprise knows"),
        ("jsons://127.0.0.1:9/canary?verify=no", "always verified"),
        ("json://127.0.0.1:9/canary", "no connection"),
        ("", "is not set or empty"),
    ],
)
def test_an_address_that_does_not_work_says_why_and_shows_nothing_of_itself(
    monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    monkeypatch.setenv("TEST_ALERTS", value)
    failure = Address(0, Secret("env", "TEST_ALERTS")).send(MESSAGE)
    assert why in failure
    assert "canary" not in failure


@pytest.mark.parametrize(("where", "scheme"), [("instantiate", "form"), ("notify", "form"), ("notify", "json")])
def test_a_plug_in_that_raises_is_a_failure_of_its_address(
    monkeypatch: pytest.MonkeyPatch, where: str, scheme: str
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("canary")

    monkeypatch.setenv("TEST_ALERTS", f"{scheme}://127.0.0.1:9/")
    monkeypatch.setattr(apprise.Apprise, where, broken)
    assert Address(0, Secret("env", "TEST_ALERTS")).send(MESSAGE) == "Apprise failed: RuntimeError"


def test_a_service_in_common_use_is_the_one_that_apprise_has_for_its_scheme() -> None:
    services = NotificationManager()
    assert {scheme: owner._plugin(scheme) for scheme in PLUGINS} == {each: services[each] for each in PLUGINS}
    assert owner._plugin("form") is None


def test_a_service_in_common_use_is_loaded_alone(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """All services together take 27 MiB, one takes 9."""

    def all_of_them(*_: Any, **__: Any) -> None:
        raise AssertionError("it looks for the service among all")

    monkeypatch.setattr(NotificationManager, "__bool__", lambda _: False)
    monkeypatch.setattr(NotificationManager, "load_modules", all_of_them)
    address = Address(0, Secret("env", "TEST_ALERTS"))
    assert address.send(MESSAGE) == ""
    assert receiver.alerts == [MESSAGE.title]
    monkeypatch.setenv("TEST_ALERTS", f"form://127.0.0.1:{receiver.port}/alerts")
    assert address.send(MESSAGE) == "Apprise failed: AssertionError"


MAILS: list[bytes] = []


def mail(connection: socket.socket) -> None:
    """Take one mail by SMTP."""
    file = connection.makefile("rwb")

    def answer(text: bytes) -> None:
        file.write(text + b"\r\n")
        file.flush()

    answer(b"220 ready")
    for line in file:
        MAILS.append(line)
        if line.upper().startswith(b"DATA"):
            answer(b"354 go on")
            while (line := file.readline()) not in (b".\r\n", b""):
                MAILS.append(line)
        answer(b"221 over" if line.upper().startswith(b"QUIT") else b"250 ok")


def test_a_mail_is_plain_text_with_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message("syncd: a title", "a & b.\nSince: now\nWhat to do: `syncd status`.", True, ())
    with served(mail) as server:
        to = server.url.removeprefix("http://").rstrip("/")
        monkeypatch.setenv("TEST_ALERTS", f"mailto://{to}?from=one@example.com&to=two@example.com")
        assert Address(0, Secret("env", "TEST_ALERTS")).send(message) == ""
    sent = b"".join(MAILS)
    assert b"text/plain" in sent
    assert b"text/html" not in sent
    assert message.body.replace("\n", "\r\n").encode() in sent


def test_the_systems_certificates_count_as_for_every_other_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, trust = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(trust)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), trust.wrap_socket(connection, server_side=True) as secure:
            request(secure)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with served(answer) as server:
        monkeypatch.setenv("TEST_ALERTS", f"jsons://127.0.0.1:{server.port}/")
        address = Address(0, Secret("env", "TEST_ALERTS"))
        assert "certificate is not trusted" in address.send(MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert address.send(MESSAGE) == ""


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_is_named_by_its_status(receiver: Receiver, status: int) -> None:
    receiver.status = status
    failure = Address(0, Secret("env", "TEST_ALERTS")).send(MESSAGE)
    assert failure == f"the service did not take it (HTTP {status})"


def test_a_receiver_that_hangs_costs_one_deadline_and_one_thread(receiver: Receiver) -> None:
    receiver.status = None
    address = Address(0, Secret("env", "TEST_ALERTS"))
    began = time.monotonic()
    assert "no answer within 0.2 s" in address.send(MESSAGE, within_s=0.2)
    assert "under way" in address.send(MESSAGE, within_s=0.2)
    assert time.monotonic() - began < 2
    wait_until(lambda: len(receiver.alerts) == 1)
    time.sleep(0.1)
    assert len(receiver.alerts) == 1


def test_a_reference_that_stands_twice_is_one_address() -> None:
    first, second = Secret("env", "ONE"), Secret("env", "TWO")
    found = addresses([first, second, first])
    assert [each.key for each in found] == ["alerts.urls.0", "alerts.urls.1"]
    assert len({each.digest for each in found}) == 2


def test_a_private_word_that_slips_into_a_message_is_redacted(receiver: Receiver) -> None:
    message = Message("syncd: ada@canary.com", "to ada@canary.com", True, ())
    assert Address(0, Secret("env", "TEST_ALERTS")).send(message) == ""
    assert b"canary" not in receiver.said
    assert b"[redacted]" in receiver.said
