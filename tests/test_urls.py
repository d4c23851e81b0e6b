"""Addresses of APIs: normalized once, and refused if invalid."""

import pytest

from syncd.types import urls


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://a.example", "https://a.example"),
        ("HTTPS://A.Example", "https://a.example"),
        ("hTTps://a.example/API/v1/", "https://a.example/API/v1"),
        (" \thttp://LOCALHOST:8080\r\n", "http://localhost:8080"),
        ("https://a.example:/v1", "https://a.example/v1"),
        ("https://[2001:DB8::1]:8443/v1", "https://[2001:db8::1]:8443/v1"),
        ("https://a_b-c.example.//", "https://a_b-c.example."),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_address_has_one_spelling(written, meant):
    assert urls.checked(written) == meant
    assert urls.checked(meant) == meant


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "a.example", "//a.example", "https:", "https://", "https:///v1", "https:/a.example", "https:a.example",
        "ftp://a.example", "httpss://a.example", "https ://a.example", "https://a b.example", "https://a.example/\u00a0",
        "\u00a0https://a.example", "ｈttps://a.example", "https：//a.example", "https://а.example", "https://bücher.example",
        "https://\u212a.example", "https://a.example\u200b", "https://a\x00.example", "https://a.example/\x7f",
        "https://a\\b.example", "https://a.example:0", "https://a.example:65536", "https://a.example:x",
        "https://a..example", "https://-a.example", "https://*.example", f"https://{'a' * 64}.example",
        f"https://{'a.' * 130}example", "https://[::1", "https://[a]", "https://[1.2.3.4]", "https://::1/",
        "https://user@a.example", "https://user:word@a.example", "https://a.example?b", "https://a.example#b",
        "https://a.example/\ud800",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(written):
    with pytest.raises(ValueError, match="expected an address such as https://api.example.com"):
        urls.checked(written)
    assert urls.mistake_in(written)


@pytest.mark.parametrize(
    ("url", "insecure"),
    [
        ("http://a.example", True), ("HTTP://a.example", True), ("http://10.0.0.1", True), ("http://127.1", True),
        ("http://127.0.0.1:1", False), ("http://[::1]", False), ("http://LocalHost", False),
        ("https://a.example", False),
    ],
)  # fmt: skip
def test_plain_http_leaves_this_machine_in_no_spelling(url, insecure):
    assert urls.is_insecure(url) is insecure
