"""Which proxy the environment names for an API; for syncd and for connectors alike."""

from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from syncd import urls


def proxy_for(base_url: str) -> str | None:
    """Return the address of the proxy to take for `base_url`, its login in it where there is one; None for none.

    The standard library's rules: small letters win, NO_PROXY lists suffixes, hosts with
    or without port, or *. Beyond them, loopback is never a proxy's: it would be its own.
    """
    parts = urlsplit(base_url)
    proxies = getproxies_environment()
    written = proxies.get(parts.scheme)
    if not written or urls.is_loopback(parts.hostname or "") or proxy_bypass_environment(parts.netloc, proxies):
        return None
    return written if "://" in written else f"http://{written}"
