"""Check and normalize the addresses of APIs, for syncd and for connectors. Pure."""

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

EXPECTED = "expected an address such as https://api.example.com"
INSECURE = "would send keys and people's data unencrypted: expected https:// (http:// only to this machine)"
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST = re.compile(rf"(?=.{{1,254}}$)(?:{LABEL}\.)*{LABEL}\.?")


def checked(text: str) -> str:
    """Return `text` normalized: scheme and host in lower case, no spaces around it, no slash at its end.

    Each address passes through here once, when the configuration is read, so that later comparisons do not depend on
    its spelling. ValueError says what is wrong. Plain http is accepted: ask `is_insecure`.
    """
    url = text.strip(" \t\r\n")
    mistake = mistake_in(url)
    if mistake:
        raise ValueError(mistake)
    parts = urlsplit(url)
    return parts._replace(scheme=parts.scheme.lower(), netloc=_netloc(parts)).geturl().rstrip("/")


def mistake_in(url: str) -> str:
    """Return the mistake in an API's address, or "" if there is none."""
    if not url.isascii() or any(character <= " " or character in '\x7f\\<>"' for character in url):
        return EXPECTED  # a letter that only looks ASCII would name another host
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return EXPECTED
    if parts.scheme not in ("http", "https") or port == 0:
        return EXPECTED
    if "@" in parts.netloc:
        return f"{EXPECTED}, without user name and password"
    if not (HOST.fullmatch(host) or _is_ipv6(parts.netloc, host)):
        return EXPECTED
    return f"{EXPECTED}, without ? and #" if "?" in url or "#" in url else ""


def is_insecure(url: str) -> bool:
    """Return whether `url` is plain http to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _netloc(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else "")


def _is_ipv6(netloc: str, host: str) -> bool:
    try:
        return netloc.startswith("[") and bool(IPv6Address(host))
    except ValueError:
        return False
