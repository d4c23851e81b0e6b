"""What a HubSpot source's table may hold."""

from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from syncd.connector import SourceConfig
from syncd.durations import Duration
from syncd.secret import Secret


class HubSpotConfig(SourceConfig):
    """Describe one portal and how to read it."""

    access_token: Secret  # of a service key or a private app: both are bearer tokens
    base_url: str = "https://api.hubapi.com"
    # Dated versions appear each March and September and live 18 months; v1 to v4 end in 2027 (HubSpot, 2026-03).
    api_version: str = Field(default="2026-03", pattern=r"^\d{4}-\d{2}$")
    search_per_second: float = Field(default=4, ge=0, allow_inf_nan=False)  # 0: no limit of ours; HubSpot's is 5
    department_property: str = ""  # HubSpot has no department of its own; a custom contact property

    @field_validator("base_url")
    @classmethod
    def _carries_a_token_safely(cls, url: str) -> str:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected an address such as https://api.hubapi.com")
        if parts.username is not None or parts.password is not None:
            raise ValueError("expected an address without user or password")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("plain http only to loopback: the token travels in a header; use https")
        return url.strip().rstrip("/")

    @field_validator("department_property")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return name.strip()

    @field_validator("timeout")
    @classmethod
    def _leaves_time(cls, timeout: Duration) -> Duration:
        if timeout <= timedelta(0):
            raise ValueError('expected more than nothing, e.g. "30s"')
        return timeout


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
