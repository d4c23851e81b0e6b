"""Define the configuration keys of a HubSpot source."""

from pydantic import Field, field_validator

from syncd.connector import SourceConfig
from syncd.types import urls
from syncd.types.secrets import Secret


class HubSpotConfig(SourceConfig):
    """Describe one portal and how to read it."""

    access_token: Secret  # of a service key or a private app: both are bearer tokens
    base_url: str = "https://api.hubapi.com"
    # Dated versions appear each March and September and live 18 months; v1 to v4 end in 2027 (HubSpot, 2026-03).
    api_version: str = Field(default="2026-03", pattern=r"^\d{4}-\d{2}$")
    search_per_second: float = Field(default=4, ge=0, allow_inf_nan=False)  # 0: syncd sets no limit; HubSpot's is 5
    ca_file: str = ""  # PEM, trusted beside the system's certificates; read when the first request is made
    department_property: str = ""  # HubSpot has no department of its own; a custom contact property

    @field_validator("base_url")
    @classmethod
    def _carries_a_token_safely(cls, url: str) -> str:
        url = urls.checked(url)
        if urls.is_insecure(url):
            raise ValueError(urls.INSECURE)
        return url

    @field_validator("department_property")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return name.strip()
