"""Judge the addresses of APIs; pure. For syncd and for connectors alike."""

from ipaddress import ip_address
from urllib.parse import urlsplit

EXPECTED = "expected an address such as https://api.example.com"
INSECURE = "would send keys and people's data unencrypted: expected https:// (http:// only to this machine)"


def checked(text: str) -> str:
    """Return `text` without spaces around it and slashes at its end; ValueError says what is wrong with it.

    Plain http passes: whether it may be is for the caller to say, who knows `is_insecure`.
    """
    url = text.strip()
    mistake = mistake_in(url)
    if mistake:
        raise ValueError(mistake)
    return url.rstrip("/")


def mistake_in(url: str) -> str:
    """Say what is wrong with an API's address; empty when nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return EXPECTED
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in url):
        return EXPECTED
    if "@" in parts.netloc:
        return f"{EXPECTED}, without user name and password"
    return f"{EXPECTED}, without ? and #" if "?" in url or "#" in url else ""


def is_insecure(url: str) -> bool:
    """Say whether `url` is plain http to another machine than this."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Say whether `host`, a name or an address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
