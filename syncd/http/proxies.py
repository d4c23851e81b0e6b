"""Choose and check the proxy that the environment names for an API, for syncd and for connectors.

No library reads these variables itself: each has its own rules for them, and its own crash for an invalid one.
"""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit

from syncd.errors import ConfigError, Problem
from syncd.types import urls

EXPECTED = "expected an HTTP proxy such as http://host:port, or an empty variable for no proxy"
LOGIN = "a login goes before the host, as in http://user:password@host:port, with %40 for @, %3A for :, %23 for #"
USERINFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*")  # RFC 3986
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.?")
PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, with its login header and the variable that names it."""

    url: str  # http://host:port
    variable: str  # as spelled in the environment
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def hint(self) -> str:
        """Return the hint for a request that does not get through."""
        return f"check the proxy that {self.variable} names. NO_PROXY lists the hosts to reach without one"

    def refusal(self, status: int) -> str:
        """Return the message for a proxy's own response, by its HTTP status."""
        said = {407: "expects another login", 403: "does not let this host through"}.get(status, "lets nothing through")
        return f"no way through the proxy ({status}): it {said}"


def proxy_for(base_url: str, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy for `base_url`, or None. ConfigError if the variable's value is invalid.

    The variable of the scheme takes precedence over ALL_PROXY, and lower case over capitals. A loopback address never
    goes through a proxy, where it would mean the proxy's own machine.
    """
    environ = os.environ if environ is None else environ
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if urls.is_loopback(host):
        return None
    variable = _variable(parts.scheme, environ)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    if not variable or _is_exempt(host, port, environ.get("no_proxy", environ.get("NO_PROXY", ""))):
        return None
    return parse(variable, environ[variable])


def parse(variable: str, value: str) -> Proxy:
    """Return the proxy of `value`. ConfigError names the variable and the mistake, never the value."""
    text = value.strip(" \t\r\n")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    mistake = _mistake_in_scheme(variable, scheme.lower()) or _mistake_in_rest(variable, rest)
    if mistake:
        raise ConfigError([mistake], where="the environment")
    login, _, place = rest.rstrip("/").rpartition("@")
    host, port = _parted(place.lower())
    return Proxy(f"http://{host}:{port}", variable, _authorization(login) if login else {})


def _variable(scheme: str, environ: Mapping[str, str]) -> str:
    """Return the name of the variable that applies, "" if none is set."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        capitals = name.upper()
        if name in environ:  # empty: no proxy, even if the capitals name one
            if environ[name].strip():
                return name
        elif environ.get(capitals, "").strip() and not (capitals == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            return capitals  # under CGI a visitor's header sets HTTP_PROXY
    return ""


def _mistake_in_scheme(variable: str, scheme: str) -> Problem | None:
    if scheme == "http":
        return None
    if scheme.startswith("socks"):
        message = "names a SOCKS proxy, which syncd does not support"
        return Problem(variable, message, f"{EXPECTED}. Many SOCKS proxies offer HTTP too")
    if scheme == "https":
        return Problem(variable, "names a proxy with TLS (https://), which syncd does not support", EXPECTED)
    return Problem(variable, "has an unknown scheme", EXPECTED)


def _mistake_in_rest(variable: str, rest: str) -> Problem | None:
    """Return the first mistake after the scheme."""
    login, at, place = rest.rstrip("/").rpartition("@")
    if any(character.isspace() for character in rest) or not rest.isprintable():
        return Problem(variable, "holds a space or a control character", EXPECTED)
    if at and not USERINFO.fullmatch(login):
        return Problem(variable, "has a login with characters that must be percent-encoded", LOGIN)
    if re.search(r"[/?#\\]", place):
        return Problem(variable, "has a path, a ? or a #", f"{EXPECTED}. {LOGIN}")
    host, port = _parted(place)
    if not host:
        return Problem(variable, "names no host", EXPECTED)
    if not PORT.fullmatch(port) or not 0 < int(port) < 65_536:
        return Problem(variable, "has an invalid port, expected 1 to 65535", EXPECTED)
    return (
        None if _is_host(host.lower()) else Problem(variable, "has an invalid host", f"{EXPECTED}, the host in ASCII")
    )


def _parted(place: str) -> tuple[str, str]:
    """Return host and port. The default is 80, as in other programs."""
    if ":" not in place or place.endswith("]"):
        return place, "80"
    host, _, port = place.rpartition(":")
    return host, port


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return host.endswith("]") and ":" in host and _address(host[1:-1]) is not None
    return HOST.fullmatch(host) is not None and len(host) < 254


def _authorization(login: str) -> dict[str, str]:
    user, _, password = login.partition(":")
    both = f"{unquote(user)}:{unquote(password)}".encode()
    return {"proxy-authorization": f"Basic {base64.b64encode(both).decode()}"}


def _is_exempt(host: str, port: int | None, written: str) -> bool:
    """Return whether NO_PROXY lists a host: by name, suffix, host:port, address, network, or *."""
    return any(_covers(entry, host, port) for entry in _entries(written))


def _entries(written: str) -> Iterator[str]:
    for entry in re.split(r"[\s,;]+", written.lower()):
        without_scheme = entry.partition("://")[2] or entry
        if without_scheme:
            yield without_scheme.rstrip("/")


def _covers(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if address is not None and "/" in entry:
        try:
            return address in ip_network(entry, strict=False)
        except (ValueError, TypeError):  # TypeError: of the other family
            return False
    name, colon, of_port = entry.rpartition(":")
    if colon and of_port.isdecimal() and (":" not in name or name.endswith("]")):
        if of_port != str(port):
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").lstrip(".")
    return bool(entry) and (host == entry or (address is None and host.endswith(f".{entry}")))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
