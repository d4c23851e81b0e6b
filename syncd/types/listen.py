"""Check and split the address on which a server listens, e.g. 127.0.0.1:8321 or [::1]:8321. Pure."""

from ipaddress import ip_address
from typing import NamedTuple

from syncd.types import urls

EXPECTED = 'expected an address and a port, e.g. "127.0.0.1:8321", or "" for none'
MOST_PORT = 65_535


class Address(NamedTuple):
    """A host and a port, e.g. ("::1", 8321)."""

    host: str  # lower case; an IPv6 address without brackets
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return urls.is_loopback(self.host)

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, and no IP address."""
        try:
            return not ip_address(self.host)
        except ValueError:
            return True

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False


def parse(text: str) -> Address:
    """Return the address that `text` names. ValueError unless it has a host and a port from 1 to 65535."""
    host, _, port = text.strip().lower().rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= MOST_PORT):
        raise ValueError(EXPECTED)
    host = _without_brackets(host)
    if ":" not in host and not urls.HOST.fullmatch(host):
        raise ValueError(EXPECTED)
    return Address(host, int(port))


def checked(text: str) -> str:
    """Return `text` normalized, or "" for none. ValueError as for `parse`."""
    return str(parse(text)) if text.strip() else ""


def _without_brackets(host: str) -> str:
    """Return a host without the brackets that an IPv6 address must have. ValueError if it is none, or lacks them."""
    if ":" not in host and "[" not in host:
        return host
    inner = host[1:-1]
    try:
        is_ipv6 = ip_address(inner).version == 6
    except ValueError:
        raise ValueError(EXPECTED) from None
    if host != f"[{inner}]" or not is_ipv6:
        raise ValueError(EXPECTED)
    return ip_address(inner).compressed


__all__ = ["Address", "checked", "parse"]
