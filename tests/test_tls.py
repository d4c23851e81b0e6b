"""The servers that the three clients accept: certificates, CA files, proxies, dead addresses. TLS on loopback."""

import errno
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from syncd.cli import check
from syncd.config import Config, load
from syncd.connector import Finding
from syncd.errors import ConfigError
from syncd.http import tls
from syncd.passes import wiring
from tests.daemons import wait_until
from tests.forked import interpreters
from tests.loopback import Server, served

CLIENTS = ("recotap", "hubspot", "salesforce")
CANARY = "canary00"
CUT = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
KEYS = {
    "recotap": "recotap.base_url",
    "hubspot": "sources.crm.base_url",
    "salesforce": "sources.crm.login_url",
}
SOON = {"SYNCD_RECOTAP__TIMEOUT": "300ms", "SYNCD_SOURCES__CRM__TIMEOUT": "300ms"}
CA_KEYS = {"recotap": "recotap.ca_file", "hubspot": "sources.crm.ca_file", "salesforce": "sources.crm.ca_file"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"):
            monkeypatch.delenv(name)
    for name in ("KEY", "TOKEN"):
        monkeypatch.setenv(name, CANARY * 8)


class Impostor:
    """A TLS server that records the requests of a client that accepts its certificate."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self.trust = trust
        self.sent: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        with suppress(OSError), self.trust.wrap_socket(connection, server_side=True) as secure:
            self.sent.append(secure.recv(65_536))
            secure.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(authority: trustme.CA, host: str = "127.0.0.1", **dates: Any) -> ssl.SSLContext:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, **dates).configure_cert(trust)
    return trust


@pytest.fixture
def impostor(authority) -> Iterator[tuple[Impostor, Server]]:
    serve = Impostor(certificate(authority))
    with served(serve) as server:
        yield serve, server


def configured(
    tmp_path: Path,
    client: str,
    url: str,
    *,
    ca_file: str = "",
    environ: Mapping[str, str] | None = None,
    by_file: bool = True,
) -> Config:
    """Return a configuration in which only `client` has `url`, from the file or the environment."""
    urls = {"recotap": "http://127.0.0.1:9", "hubspot": "http://127.0.0.1:9", "salesforce": "https://127.0.0.1:9"}
    written = urls | ({client: url} if by_file else {})
    source = "salesforce" if client == "salesforce" else "hubspot"
    signs_in = (
        'client_id = "env:KEY"\nclient_secret = "env:TOKEN"' if source == "salesforce" else 'access_token = "env:TOKEN"'
    )
    key = KEYS[source].rpartition(".")[2]
    file = tmp_path / "syncd.toml"
    file.write_text(f"""
        [recotap]
        api_key = "env:KEY"
        base_url = "{written["recotap"]}"
        ca_file = "{ca_file if client == "recotap" else ""}"
        [ledger]
        path = "{tmp_path / "ledger.db"}"
        [rules]
        own_domains = ["ours.example"]
        [sources.crm]
        connector = "{source}"
        start = 2026-01-01T00:00:00Z
        {signs_in}
        {key} = "{written[source]}"
        ca_file = "{ca_file if client != "recotap" else ""}"
        timeout = "5s"
    """)
    name = "SYNCD_" + KEYS[client].upper().replace(".", "__")
    return load(file, environ={**(environ or {}), **({} if by_file else {name: url})})


def findings(config: Config, client: str) -> list[Finding]:
    """Return the lines of `syncd check` for one client."""
    start = "recotap" if client == "recotap" else "crm: "
    return [found for found in check.findings(config, config.sources) if found.what.startswith(start)]


def failure(config: Config, client: str) -> Finding:
    return next(found for found in findings(config, client) if not found.ok and not found.warning)


def said(finding: Finding) -> str:
    return f"{finding.message} {finding.hint}"


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "spelled", ["https://", "HTTPS://", "hTTps://", "Https://", "  HTTPS://", "httpS://{}  ", "HTTPS://{}/"]
)
def test_no_spelling_of_the_scheme_switches_the_verification_off(impostor, tmp_path, client, spelled, by_file):
    serve, server = impostor
    place = f"127.0.0.1:{server.port}"
    url = spelled.format(place) if "{}" in spelled else spelled + place
    found = failure(configured(tmp_path, client, url, by_file=by_file), client)
    assert (found.exit_code, "certificate is not trusted" in found.message) == (69, True)
    assert server.connections, "it was tried"
    assert serve.sent == []
    assert CANARY not in said(found)


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "spelled",
    [
        "ｈttps://a.example",
        "httрs://a.example",
        "https：//a.example",
        "https://а.example",
        "https:/a.example",
        "HTTPS:a.example",
        "//a.example",
        "https\u200b://a.example",
        "https://\u212a.example",
        "https:\\\\\\\\a.example",
    ],
)
def test_what_only_looks_like_an_address_is_refused(tmp_path, client, spelled, by_file):
    with pytest.raises(ConfigError) as raised:
        configured(tmp_path, client, spelled, by_file=by_file)
    assert [problem.path for problem in raised.value.problems] == [KEYS[client]]


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("client", CLIENTS)
def test_an_address_is_normalized_once_where_it_is_read(tmp_path, client, by_file):
    config = configured(tmp_path, client, " HTTPS://API.Example:8443/ ", by_file=by_file)
    table = config.recotap if client == "recotap" else config.sources[0].config
    assert getattr(table, KEYS[client].rpartition(".")[2]) == "https://api.example:8443"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_ca_file_makes_a_server_trusted(impostor, authority, tmp_path, client):
    serve, server = impostor
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    failure(
        configured(tmp_path, client, server.url.replace("http:", "https:"), ca_file=str(tmp_path / "ca.pem")), client
    )
    assert serve.sent, "the certificate was accepted"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_ca_in_the_systems_store_is_trusted_by_all(impostor, authority, tmp_path, monkeypatch, client, variable):
    serve, server = impostor
    pem = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(pem))
    if variable == "SSL_CERT_DIR":
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        hashed = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", pem], capture_output=True, text=True, check=True
        )
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / f"{hashed.stdout.strip()}.0").symlink_to(pem)
    monkeypatch.setenv(variable, str(pem if variable == "SSL_CERT_FILE" else tmp_path / "store"))
    failure(configured(tmp_path, client, server.url.replace("http:", "https:")), client)
    assert serve.sent


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("written", ["the impostor's CA", "/no/such/file", ""])
def test_other_programs_variables_neither_add_nor_take_away(
    impostor, authority, tmp_path, monkeypatch, client, variable, written
):
    serve, server = impostor
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem") if "CA" in written else written)
    url = server.url.replace("http:", "https:")
    assert "certificate is not trusted" in failure(configured(tmp_path, client, url), client).message
    assert serve.sent == []
    failure(configured(tmp_path, client, url, ca_file=str(tmp_path / "ca.pem")), client)
    assert serve.sent


def broken(tmp_path: Path, kind: str) -> tuple[Path, str]:
    """Return an invalid file of certificates, and the expected message."""
    file = tmp_path / "broken"
    makes: dict[str, tuple[Callable[[], object], str]] = {
        "missing": (lambda: None, "No such file"),
        "a directory": (file.mkdir, "is a directory"),
        "a FIFO": (lambda: os.mkfifo(file), "is a FIFO"),
        "a device": (lambda: file.symlink_to("/dev/zero"), "is a device"),
        "a loop": (lambda: file.symlink_to(file), "Too many levels"),
        "empty": (file.touch, "holds no certificate"),
        "prose": (lambda: file.write_text("no certificate"), "holds no certificate"),
        "a key": (lambda: file.write_bytes(trustme.CA().private_key_pem.bytes()), "holds no certificate"),
        "cut": (lambda: file.write_text(CUT), "holds no certificate"),
        "UTF-16": (lambda: file.write_text("-----BEGIN CERTIFICATE-----", encoding="utf-16"), "holds no certificate"),
        "huge": (lambda: file.write_bytes(b"\n" * (tls.MOST_BYTES + 1)), "is larger than 4,194,304 bytes"),
    }  # fmt: skip
    make, message = makes[kind]
    make()
    return file, message


KINDS = ["missing", "a directory", "a FIFO", "a device", "a loop", "empty", "prose", "a key", "cut", "UTF-16", "huge"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_ca_file_is_a_mistake_of_the_configuration(tmp_path, client, kind):
    file, message = broken(tmp_path, kind)
    found = failure(configured(tmp_path, client, "https://127.0.0.1:9", ca_file=str(file)), client)
    assert (found.exit_code, CA_KEYS[client] in found.message) == (78, True)
    assert message in found.message
    assert str(file) in found.message
    assert "a file of certificates in PEM form that syncd's user may read" in found.hint


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_ssl_cert_file_is_named(tmp_path, monkeypatch, client, kind):
    file, message = broken(tmp_path, kind)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    found = failure(configured(tmp_path, client, "https://127.0.0.1:9"), client)
    assert (found.exit_code, "SSL_CERT_FILE" in found.message, message in found.message) == (78, True, True)
    assert found.hint == "expected a file of certificates in PEM form. Unset SSL_CERT_FILE for the system's own"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", ["missing", "a file", "empty", "not hashed"])
def test_a_wrong_ssl_cert_dir_is_named(tmp_path, monkeypatch, client, kind):
    folder = tmp_path / "store"
    if kind == "a file":
        folder.touch()
    elif kind != "missing":
        folder.mkdir()
    if kind == "not hashed":
        (folder / "company.pem").touch()
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    found = failure(configured(tmp_path, client, "https://127.0.0.1:9"), client)
    assert (found.exit_code, "SSL_CERT_DIR" in found.message) == (78, True)
    assert "a directory that `openssl rehash` has prepared. Unset SSL_CERT_DIR" in found.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_ca_file_of_another_user_is_refused(authority, tmp_path):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    os.chown(file, 12345, -1)
    found = failure(configured(tmp_path, "recotap", "https://127.0.0.1:9", ca_file=str(file)), "recotap")
    assert (found.exit_code, "belongs to user 12345, expected root" in found.message) == (78, True)


YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("host", "dates", "message", "hint"),
    [
        ("127.0.0.1", {"not_before": YESTERDAY - timedelta(9), "not_after": YESTERDAY}, "it has expired", "must renew"),
        ("127.0.0.1", {"not_before": TOMORROW}, "it is not valid yet", "check this machine's clock"),
        ("other.example", {}, "it is for another host", "check {key}, and whether a proxy answers in its place"),
        ("127.0.0.2", {}, "it is for another host", "check {key}, and whether a proxy answers in its place"),
    ],
)
def test_the_message_tells_the_reasons_apart(authority, tmp_path, client, host, dates, message, hint):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    serve = Impostor(certificate(authority, host, **dates))
    with served(serve) as server:
        url = server.url.replace("http:", "https:")
        found = failure(configured(tmp_path, client, url, ca_file=str(tmp_path / "ca.pem")), client)
    assert message in found.message
    assert hint.format(key=KEYS[client]) in found.hint
    assert {"recotap": "Recotap", "hubspot": "HubSpot", "salesforce": "Salesforce"}[client] in found.message
    assert serve.sent == []


def test_any_other_reason_is_told_in_openssls_words(tmp_path):
    """The CA may sign hosts' certificates alone, and has signed that of another CA."""
    authority = trustme.CA(path_length=0)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with served(Impostor(certificate(trustme.CA(parent_cert=authority)))) as server:
        url = server.url.replace("http:", "https:")
        found = failure(configured(tmp_path, "hubspot", url, ca_file=str(tmp_path / "ca.pem")), "hubspot")
    assert "HubSpot's certificate is not trusted: path length constraint exceeded" in found.message
    assert found.hint == "check sources.crm.base_url, and whether a proxy answers in its place"


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unknown_ca_leads_to_the_systems_store_and_to_ca_file(impostor, tmp_path, client):
    _, server = impostor
    found = failure(configured(tmp_path, client, server.url.replace("http:", "https:")), client)
    assert "its CA is unknown" in found.message
    assert "add its CA certificate to the system's store, or name its PEM file" in found.hint
    assert CA_KEYS[client] in found.hint


def test_a_pass_says_the_same_of_recotap(impostor, tmp_path):
    _, server = impostor
    with wiring.sender(configured(tmp_path, "recotap", server.url.replace("http:", "https:"))) as to:
        answer = to.post([("a", "{}")])
    assert (answer.outcome, answer.stored) == ("unreachable", False)
    assert "certificate is not trusted" in answer.detail
    assert "recotap.ca_file" in answer.hint


# -- the settings themselves --------------------------------------------------------------


def trust(ca_file: str = "") -> tls.Trust:
    return tls.Trust("Recotap", "recotap.base_url", "recotap.ca_file", ca_file)


@pytest.mark.parametrize("url", ["https://a.example", "http://127.0.0.1"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("check_hostname", False), ("check_hostname", 0), ("verify_mode", ssl.CERT_NONE), ("verify_mode", 1)],
)
def test_no_library_can_weaken_the_settings(url, name, value):
    context = trust().context(url)
    with pytest.raises(ValueError, match="always verified"):
        setattr(context, name, value)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_certificates_are_read_once_for_all_clients(authority, tmp_path):
    assert trust().context("https://a.example") is trust().context("https://b.example")


def test_a_ca_file_that_was_replaced_counts_from_the_next_pass_on(authority, tmp_path):
    """Even if the new file has the same size and time, behind a link as in Kubernetes."""
    (tmp_path / "old").mkdir()
    authority.cert_pem.write_to_path(str(tmp_path / "old" / "ca.pem"))
    (tmp_path / "data").symlink_to("old")
    before = trust(str(tmp_path / "data" / "ca.pem")).context("https://a.example")
    (tmp_path / "new").mkdir()
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "new" / "ca.pem"))
    (tmp_path / "link").symlink_to("new")
    (tmp_path / "link").rename(tmp_path / "data")
    after = trust(str(tmp_path / "data" / "ca.pem")).context("https://a.example")
    assert before is not after
    assert before.get_ca_certs(binary_form=True)[-1] != after.get_ca_certs(binary_form=True)[-1]


def test_settings_that_nobody_uses_any_more_are_dropped(tmp_path):
    for _ in range(tls.MOST_MADE + 2):
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        trust(str(tmp_path / "ca.pem")).context("https://a.example")
    assert len(tls._made) <= tls.MOST_MADE


def test_for_plain_http_no_certificate_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    assert trust("/no/such/file").context("http://127.0.0.1:8080").cert_store_stats()["x509"] == 0


def test_a_ca_file_in_der_form_and_one_with_prose_in_it_are_read(authority, tmp_path):
    pem = authority.cert_pem.bytes()
    (tmp_path / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(pem.decode()))
    (tmp_path / "ca.pem").write_bytes("\ufeffGesellschaft für Zertifikate\n".encode() + pem + b"\nthe end")
    of_der, of_pem = (trust(str(tmp_path / name)).context("https://a") for name in ("ca.der", "ca.pem"))
    assert of_der.get_ca_certs(binary_form=True) == of_pem.get_ca_certs(binary_form=True)


def test_a_second_certificate_that_is_broken_is_told(authority, tmp_path):
    pem = authority.cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(pem + CUT.encode())
    with pytest.raises(ConfigError) as raised:
        trust(str(tmp_path / "ca.pem")).context("https://a")
    assert "1 certificate(s) that cannot be read" in raised.value.problems[0].message


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-that-name/ca.pem", "\ud800"])
def test_a_ca_file_that_is_no_path_is_told(name):
    with pytest.raises(ConfigError) as raised:
        trust(name).context("https://a")
    raised.value.problems[0].message.encode()


def nowhere(monkeypatch, tmp_path, *, bundles: tuple[str, ...] = ()) -> None:
    """Empty OpenSSL's own places."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile=str(tmp_path / "no"), openssl_capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(tls, "BUNDLES", bundles)


def test_certifis_certificates_apply_where_the_system_has_none(monkeypatch, tmp_path):
    nowhere(monkeypatch, tmp_path)
    assert trust().context("https://a").cert_store_stats()["x509_ca"] > 50


def test_the_places_of_other_systems_are_looked_into(authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    (tmp_path / "prose").write_text("nothing")
    nowhere(monkeypatch, tmp_path, bundles=(str(tmp_path / "prose"), str(tmp_path / "bundle.pem")))
    assert trust().context("https://a").cert_store_stats()["x509"] == 1


def test_the_version_is_told_without_tls():
    code = "import sys; from syncd.cli.main import main; sys.argv = ['syncd', '--version']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "sys.exit('ssl' in sys.modules or 'certifi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A port whose backlog is full: SYNs to it are dropped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            assert filler.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


# -- proxies ------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("written", [f"socks5h://{CANARY}:1080", f"http://{CANARY}:p@ss:w#rd@proxy.example:3128"])
def test_a_proxy_that_cannot_be_used_is_a_mistake_of_the_environment(tmp_path, monkeypatch, client, variable, written):
    monkeypatch.setenv(variable, written)
    found = failure(configured(tmp_path, client, "https://crm.example"), client)
    assert (found.exit_code, found.message.startswith(variable)) == (78, True)
    assert "http://host:port" in found.hint or "http://user:password@host:port" in found.hint
    assert CANARY not in said(found)


def refusing(status: str) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    return serve


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"])
def test_a_proxy_that_lets_nothing_through_is_named(tmp_path, monkeypatch, client, status):
    with served(refusing(status)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{CANARY}:pass@127.0.0.1:{proxy.port}")
        found = failure(configured(tmp_path, client, "https://crm.example"), client)
    assert (found.exit_code, f"no way through the proxy ({status[:3]})" in found.message) == (69, True)
    assert "https_proxy" in found.hint
    assert CANARY not in said(found)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_is_not_there_is_named(tmp_path, monkeypatch, client):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    found = failure(configured(tmp_path, client, "https://crm.example"), client)
    assert (found.exit_code, "proxy" in found.message, "HTTPS_PROXY" in found.hint) == (69, True, True)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_plain_http_through_a_proxy_that_wants_a_login(tmp_path, monkeypatch, status):
    """Only a proxy answers 407, so nothing was stored. Any other status may be Recotap's own."""
    with served(refusing(status)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        file = tmp_path / "allow.toml"
        configured(tmp_path, "recotap", "http://127.0.0.1:9")
        written = (tmp_path / "syncd.toml").read_text()
        file.write_text(written.replace("[ledger]", "allow_insecure_http = true\n[ledger]", 1))
        with wiring.sender(load(file, environ={"SYNCD_RECOTAP__BASE_URL": "http://recotap.example"})) as to:
            answer, found = to.post([("a", "{}")]), to.check()
    assert answer.stored is status.startswith("502")
    assert ("HTTP_PROXY" in answer.hint, "HTTP_PROXY" in found.hint) == (status.startswith("407"),) * 2
    assert found.exit_code == 69


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_hangs_is_named(tmp_path, monkeypatch, blackhole, client):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{blackhole}")
    config = configured(tmp_path, client, "https://crm.example", environ=SOON)
    found = failure(config, client)
    assert (found.exit_code, "proxy" in found.message, "HTTPS_PROXY" in found.hint) == (69, True, True)


# -- the commands -------------------------------------------------------------------------

MISTAKES = {
    "HTTPS_PROXY": "socks5h://canary00:1080",
    "SSL_CERT_FILE": "/no/such/file.pem",
    "SYNCD_RECOTAP__CA_FILE": "/no/such/file.pem",
    "SYNCD_SOURCES__CRM__CA_FILE": "/no/such/file.pem",
}


def key_of(variable: str) -> str:
    return variable.removeprefix("SYNCD_").replace("__", ".").lower() if "__" in variable else variable


def all_by_tls(tmp_path: Path, variable: str) -> Path:
    """Return a configuration without plain http, whose names are never resolved."""
    places = ("crm.example", "recotap.example") if "PROXY" in variable else ("127.0.0.1:9", "127.0.0.1:9")
    configured(tmp_path, "hubspot", f"https://{places[0]}")
    file = tmp_path / "syncd.toml"
    file.write_text(file.read_text().replace("http://127.0.0.1:9", f"https://{places[1]}"))
    return file


@pytest.mark.parametrize(
    ("command", "variable"), [*(("sync", variable) for variable in MISTAKES), ("check", "HTTPS_PROXY")]
)
def test_a_command_exits_78_with_the_remedy(tmp_path, command, variable):
    line = ["-c", str(all_by_tls(tmp_path, variable)), command]
    (ran,) = interpreters().run([{"line": line, "streams": "as usual"}], {variable: MISTAKES[variable]})
    told = ran["out"] + ran["err"]
    assert ran["code"] == 78, told
    assert key_of(variable) in told
    assert "expected" in told
    assert "Traceback" not in told
    assert CANARY not in told


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "SYNCD_SOURCES__CRM__CA_FILE"])
def test_the_daemon_goes_on_and_reports_it(tmp_path, variable):
    output, environ = tmp_path / "said", {**os.environ, variable: MISTAKES[variable]}
    line = ["-c", str(all_by_tls(tmp_path, variable)), "run"]
    started = interpreters().start(line, environ=environ, cwd=tmp_path, output=output)
    try:
        wait_until(lambda: started.poll() is not None or "config.problem" in output.read_text(), at_most=60)
        assert started.poll() is None, output.read_text()
        started.send_signal(signal.SIGTERM)
        code = started.wait(60)
    finally:
        started.kill()
    told = output.read_text()
    assert code == 0, told
    assert key_of(variable) in told
    assert "Traceback" not in told
    assert CANARY not in told


# -- dead addresses -----------------------------------------------------------------------


@pytest.mark.parametrize("dead", [1, 3])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_dead_first_address_costs_moments(authority, tmp_path, monkeypatch, blackhole, client, dead):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    serve = Impostor(certificate(authority, "crm.example"))
    with served(serve) as server:
        ports = [blackhole] * dead + [server.port]
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{1 if port == server.port else n}", port))
            for n, port in enumerate(ports, 1)
        ]
        real = socket.getaddrinfo

        def resolve(host, *rest, **named):
            return found if host == "crm.example" else real(host, *rest, **named)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        config = configured(tmp_path, client, f"https://crm.example:{server.port}", ca_file=str(tmp_path / "ca.pem"))
        began = time.monotonic()
        failure(config, client)
        took = time.monotonic() - began
    assert serve.sent, "the address that is alive was asked"
    assert took < 4, "of a deadline of 5 s, three tries"
