"""Judge the addresses of APIs; pure."""

from ipaddress import ip_address
from urllib.parse import urlsplit

EXPECTED = "expected an address such as https://api.example.com"
INSECURE = "would send keys and people's data unencrypted: expected https:// (http:// only to this machine)"


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
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
