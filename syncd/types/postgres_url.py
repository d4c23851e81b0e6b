"""Check the address of a ledger in PostgreSQL, and complete it for a connection. Pure."""

from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from syncd.types import urls

EXPECTED = "expected an address such as postgresql://syncd@db.example.com/syncd"
PASSWORD = 'holds a password: remove it, and set [ledger] password = "file:PATH" or another reference'  # nosec B105 # a text
UNVERIFIED = "would send people's data to a server that nobody has verified: remove sslmode, or set verify-full"
SCHEMES = ("postgresql", "postgres")
VERIFIED = ("verify-full", "verify-ca")  # sslmode
# The parameters that an address may have (PostgreSQL 18, libpq, 34.1.2). `options` is for search_path.
KNOWN = frozenset(
    "host port dbname user application_name connect_timeout keepalives keepalives_idle load_balance_hosts options "
    "sslmode sslrootcert sslcert sslkey target_session_attrs tcp_user_timeout".split()
)
SECRET = frozenset(("password", "sslpassword"))


def checked(text: str) -> str:
    """Return an address of PostgreSQL without spaces around it, or "".

    It may hold no password, and no way around TLS except to this machine. ValueError says the mistake. It repeats
    nothing of the text.
    """
    url = text.strip()
    if url and (mistake := _mistake(url)):
        raise ValueError(mistake)
    return url


def shown(url: str) -> str:
    """Return an address without its user and parameters, e.g. postgresql://db.example.com/syncd."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def tls(url: str, *, bundle: str) -> Mapping[str, str]:
    """Return libpq's parameters that the address lacks, so that the server is verified.

    `bundle`: the system's certificates. Nothing is added for a server on this machine.
    """
    given = parse_qs(urlsplit(url).query)
    if _is_local(url):
        return {}
    wanted = {"sslmode": "verify-full", "sslrootcert": bundle or "system"}
    return {name: value for name, value in wanted.items() if name not in given}


def _mistake(url: str) -> str:
    try:
        parts = urlsplit(url)
        given = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return EXPECTED
    user = parts.netloc.rpartition("@")[0]
    if ":" in user or given.keys() & SECRET:
        return PASSWORD
    if not _is_formed(url) or not (parts.path.strip("/") or "dbname" in given):
        return EXPECTED
    if given.keys() - KNOWN:
        return f"{EXPECTED}, with no parameters except {', '.join(sorted(KNOWN))}"
    weak = [mode for mode in given.get("sslmode", ()) if mode not in VERIFIED]
    return UNVERIFIED if weak and not _is_local(url) else ""


def _is_formed(url: str) -> bool:
    return (
        url.partition("://")[0] in SCHEMES
        and url.isascii()
        and url.isprintable()
        and not any(character in url for character in ' "<>\\#')
    )


def _is_local(url: str) -> bool:
    """Return whether each host is this machine. One without a name is a socket of this machine."""
    return all(not host or host.startswith("/") or urls.is_loopback(host) for host in _hosts(url))


def _hosts(url: str) -> list[str]:
    parts = urlsplit(url)
    named = parts.netloc.rpartition("@")[2].split(",")
    given = [host for each in parse_qs(parts.query).get("host", ()) for host in each.split(",")]
    return [*map(_host, named), *given]


def _host(named: str) -> str:
    """Return a host without its port, e.g. ::1 of [::1]:5432."""
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return unquote(named.partition(":")[0])


__all__ = ["EXPECTED", "checked", "shown", "tls"]
