"""The proxy that the environment names for an address, and the message for an invalid value."""

import base64

import pytest

from syncd.errors import ConfigError
from syncd.http.proxies import Proxy, parse, proxy_for

API = "https://api.hubapi.com"
P = "http://p:1"


@pytest.mark.parametrize(
    ("url", "environment", "variable"),
    [
        (API, {}, None),
        (API, {"HTTPS_PROXY": P}, "HTTPS_PROXY"),
        (API, {"HTTP_PROXY": P}, None),
        (API, {"HTTP_PROXY": P, "ALL_PROXY": P}, "ALL_PROXY"),
        (API, {"all_proxy": P, "ALL_PROXY": "x://"}, "all_proxy"),
        (API, {"HTTPS_PROXY": "x://", "https_proxy": P}, "https_proxy"),
        (API, {"HTTPS_PROXY": "x://", "https_proxy": ""}, None),
        (API, {"HTTPS_PROXY": " ", "https_proxy": "\t"}, None),
        (API, {"HTTPS_PROXY": "", "ALL_PROXY": P}, "ALL_PROXY"),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": ".hubapi.com"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "a, hubapi.com"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "a hubapi.com"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "*.HubAPI.com"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "https://api.hubapi.com/"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "api.hubapi.com:443"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "api.hubapi.com:8443"}, "HTTPS_PROXY"),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "hubapi.org"}, "HTTPS_PROXY"),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "api.com,pi.hubapi.com"}, "HTTPS_PROXY"),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "*"}, None),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "*", "no_proxy": ""}, "HTTPS_PROXY"),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": ",, ://, [, ]:, :1, 10.0.0.0/99, \udcff"}, "HTTPS_PROXY"),
        ("https://crm.example:8443", {"HTTPS_PROXY": P, "NO_PROXY": "crm.example:8443"}, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "2001:db8::/32, 11.0.0.0/8, 3"}, "HTTPS_PROXY"),
        ("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.1.2.3"}, None),
        ("https://[2001:db8::1]", {"HTTPS_PROXY": P, "NO_PROXY": "2001:db8::/32"}, None),
        ("https://[2001:db8::1]", {"HTTPS_PROXY": P, "NO_PROXY": "[2001:db8::1]:443"}, None),
        ("https://[2001:db8::1]", {"HTTPS_PROXY": P, "NO_PROXY": "2001:db8::1"}, None),
        ("http://crm.example", {"HTTP_PROXY": P}, "HTTP_PROXY"),
        ("http://crm.example", {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
        ("http://crm.example", {"http_proxy": P, "REQUEST_METHOD": "GET"}, "http_proxy"),
        ("http://127.0.0.1:8080", {"HTTP_PROXY": "x://"}, None),
        ("http://localhost:8080", {"HTTP_PROXY": "x://"}, None),
        ("https://127.0.0.1:8080", {"ALL_PROXY": "x://"}, None),
        ("https://[::1]", {"HTTPS_PROXY": "x://"}, None),
    ],
)
def test_the_environment_names_a_proxy(url, environment, variable):
    assert proxy_for(url, environment) == (Proxy(P, variable) if variable else None)


@pytest.mark.parametrize(
    ("written", "url", "login"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", ""),
        (" HTTP://Proxy.Example:3128/ ", "http://proxy.example:3128", ""),
        ("proxy:80", "http://proxy:80", ""),
        ("http://proxy", "http://proxy:80", ""),
        ("user:word@[2001:db8::1]", "http://[2001:db8::1]:80", "user:word"),
        ("127.0.0.1:65535", "http://127.0.0.1:65535", ""),
        ("http://[2001:DB8::1]:3128", "http://[2001:db8::1]:3128", ""),
        ("http://user:word@proxy:1", "http://proxy:1", "user:word"),
        ("user:p%40ss%3Aw%23rd@proxy:1", "http://proxy:1", "user:p@ss:w#rd"),
        ("http://user@proxy:1", "http://proxy:1", "user:"),
        ("http://user:p:q@proxy:1", "http://proxy:1", "user:p:q"),
        ("http://DOMAIN%5Cuser:%C3%BC@proxy:1", "http://proxy:1", "DOMAIN\\user:ü"),
        ("http://@proxy:1", "http://proxy:1", ""),
    ],
)
def test_a_proxy_in_every_form_that_is_understood(written, url, login):
    proxy = parse("HTTPS_PROXY", written)
    assert proxy.url == url
    header = proxy.headers.get("proxy-authorization", "Basic ")
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == login
    assert "word" not in repr(proxy)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("socks5://canary:1080", "SOCKS"),
        ("SOCKS5H://canary:1080", "SOCKS"),
        ("socks4://canary:1080", "SOCKS"),
        ("socks4a://canary", "SOCKS"),
        ("socks://canary:1", "SOCKS"),
        ("https://canary:3128", "TLS"),
        ("ftp://canary:3128", "unknown scheme"),
        ("canary://", "unknown scheme"),
        ("://canary:1", "unknown scheme"),
        ("://", "unknown scheme"),
        ("http://user:canary@ss:w#rd@proxy:3128", "percent-encoded"),
        ("http://us@er:canary@proxy:3128", "percent-encoded"),
        ("http://user:canary/x@proxy:3128", "percent-encoded"),
        ("http://user:canary?@proxy:3128", "percent-encoded"),
        ("http://user:canary%zz@proxy:3128", "percent-encoded"),
        ("http://user:canaryü@proxy:3128", "percent-encoded"),
        ("http://user:canary#proxy:3128", "a path, a ? or a #"),
        ("http://canary:", "has an invalid port"),
        ("http://[2001:db8::1]:", "has an invalid port"),
        ("http://canary:", "invalid port"),
        ("http://canary:x", "invalid port"),
        ("http://canary:0", "invalid port"),
        ("http://canary:65536", "invalid port"),
        ("http://canary:-1", "invalid port"),
        ("http://canary:+80", "invalid port"),
        ("http://canary:٣١٢٨", "invalid port"),
        ("http://canary:99999999999999999999", "invalid port"),
        ("http://can ary:3128", "a space"),
        ("http://canary:3128 http://other:1", "a space"),
        ("http://canary\u00a0:3128", "a space"),
        ("http://canary\x07:3128", "a control character"),
        ("http://canary\udcff:3128", "a control character"),
        ("http://canary\u202e:3128", "a control character"),
        ("http://[canary]:3128", "invalid host"),
        ("http://[::1:3128", "invalid host"),
        ("http://::1]:3128", "invalid host"),
        ("http://::1:3128", "invalid host"),
        ("http://canary..example:3128", "invalid host"),
        ("http://cänary.example:3128", "invalid host"),
        ("http://canary&co:3128", "invalid host"),
        (f"http://{'canary.' * 40}:3128", "invalid host"),
        ("http://", "names no host"),
        ("http:///", "names no host"),
        ("http://:3128", "names no host"),
        ("http://user:canary@", "names no host"),
        ("http://user:canary@:3128", "names no host"),
        ("/etc/canary", "a path"),
        ("file:///etc/canary", "unknown scheme"),
        ("http://canary:3128/path", "a path"),
        ("http://canary:3128?a=b", "a path, a ?"),
        ("http://canary:3128#a", "a path, a ? or a #"),
        ("http:\\\\canary:3128", "a path"),
        ("PROXY canary:3128", "a space"),
        ("'http://canary:3128'", "unknown scheme"),
        ("//canary:3128", "a path"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_without_the_value(variable, written, said):
    with pytest.raises(ConfigError) as raised:
        proxy_for(API, {variable: written})
    (problem,) = raised.value.problems
    assert problem.path == variable
    assert said in problem.message
    expected = "expected an HTTP proxy such as http://host:port, or an empty variable for no proxy"
    login = "a login goes before the host, as in http://user:password@host:port, with %40 for @, %3A for :, %23 for #"
    ends = {"SOCKS": ". Many SOCKS proxies offer HTTP too", "a #": f". {login}", "invalid host": ", the host in ASCII"}
    end = next((end for part, end in ends.items() if part in problem.message), "")
    assert problem.hint == (login if "percent-encoded" in problem.message else expected + end)
    assert "canary" not in f"{problem} {raised.value!r}"
    assert raised.value.exit_code == 78
