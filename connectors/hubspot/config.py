"""Define the configuration keys of a HubSpot source."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from syncd.connector import SourceConfig, StreamRules
from syncd.types import urls
from syncd.types.conditions import FIELD, fields_of
from syncd.types.secrets import Secret


def _property(name: str) -> str:
    if not FIELD.fullmatch(name):
        raise ValueError("expected the internal name of a property: letters, digits and _")
    return name


Property = Annotated[str, AfterValidator(_property)]
Properties = Annotated[tuple[Property, ...], Field(max_length=10)]  # the first that is not empty is used

# Ids of object types (HubSpot docs, object type ids, 2026-03). A record page is /contacts/PORTAL/record/TYPE/ID.
TYPES = {"calls": "0-48", "emails": "0-49"}
HOST = "app.hubspot.com"  # unless account-info names another as `uiDomain`, e.g. of a portal in the EU
DIRECTIONS = ("inbound", "outbound", "internal")  # as Draft.direction
NAMES_MOST = 1_200  # characters of property names beside ours: a search body holds 3,000 (docs, 2026-03)


class HubSpotFields(BaseModel):
    """The properties of an activity in order of preference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    occurred_at: Properties = ("hs_timestamp",)
    owner: Properties = ("hubspot_owner_id",)  # an owner's id, a user's id, an address, or an owner's unique name
    title: Properties = ()
    direction: Properties = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all properties, each once."""
        return tuple(dict.fromkeys(name for _, names in self for name in names))


class HubSpotCallFields(HubSpotFields):
    """The properties of a call."""

    title: Properties = ("hs_call_title",)
    direction: Properties = ("hs_call_direction",)
    outcome: Properties = ("hs_call_disposition", "hs_call_status")  # a status has an outcome only if nobody answered
    duration_seconds: Properties = ()
    duration_minutes: Properties = ()  # used if duration_seconds are empty, and hs_call_duration if both are
    call_id: Properties = ()  # an id that every copy of the call has


class HubSpotEmailFields(HubSpotFields):
    """The properties of an email."""

    title: Properties = ("hs_email_subject",)
    direction: Properties = ("hs_email_direction",)


class HubSpotStream(StreamRules):
    """Which records of an object are activities, and which of their properties are used."""

    VALUES: ClassVar[tuple[str, ...]] = ("direction",)  # our fields that `values` may translate

    fields: HubSpotFields = HubSpotFields()

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of all properties that a record must show for these rules, each once."""
        return tuple(dict.fromkeys((*fields_of((*self.match, *self.excepted)), *self.fields.names)))

    @field_validator("values")
    @classmethod
    def _translates(cls, values: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        if mistakes := list(_mistakes(values, cls.VALUES)):
            raise ValueError("; ".join(mistakes))
        return values

    @model_validator(mode="after")
    def _fits_a_search(self) -> "HubSpotStream":
        if sum(len(name) + 4 for name in self.properties) > NAMES_MOST:
            raise ValueError(f"expected fewer properties: their names may have {NAMES_MOST} characters together")
        return self


class HubSpotCalls(HubSpotStream):
    """The table [sources.hubspot.calls]."""

    VALUES: ClassVar[tuple[str, ...]] = ("direction", "outcome")

    fields: HubSpotCallFields = HubSpotCallFields()


class HubSpotEmails(HubSpotStream):
    """The table [sources.hubspot.emails]."""

    fields: HubSpotEmailFields = HubSpotEmailFields()


class HubSpotConfig(SourceConfig):
    """Describe one portal and how to read it."""

    access_token: Secret  # of a service key or a private app: both are bearer tokens
    base_url: str = "https://api.hubapi.com"
    # Dated versions appear each March and September and live 18 months; v1 to v4 end in 2027 (HubSpot, 2026-03).
    api_version: str = Field(default="2026-03", pattern=r"^\d{4}-\d{2}$")
    search_per_second: float = Field(default=4, ge=0, allow_inf_nan=False)  # 0: syncd sets no limit; HubSpot's is 5
    ca_file: str = ""  # PEM, trusted beside the system's certificates; read when the first request is made
    department_property: str = ""  # HubSpot has no department of its own; a custom contact property
    calls: HubSpotCalls = HubSpotCalls()
    emails: HubSpotEmails = HubSpotEmails()

    def record_url(self, stream: str, crm_id: str, store: Mapping[str, Any]) -> str | None:
        """Return the address of a record's page. None if the portal has not told its id."""
        kept = store.get("identity")
        if not isinstance(kept, dict) or stream not in TYPES:
            return None
        portal, host = (str(kept.get(key) or "") for key in ("portal", "host"))
        if not (portal.isalnum() and crm_id.isalnum()):
            return None
        host = host if re.fullmatch(r"[a-z0-9-]+\.hubspot\.com", host) else HOST
        return f"https://{host}/contacts/{portal}/record/{TYPES[stream]}/{crm_id}"

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


def _mistakes(values: Mapping[str, Mapping[str, str]], known: tuple[str, ...]) -> Iterator[str]:
    if not values.keys() <= set(known):
        yield f"expected only the tables {' and '.join(known)}"
    if not set(values.get("direction", {}).values()) <= set(DIRECTIONS):
        yield f"direction: expected {', '.join(DIRECTIONS[:-1])} or {DIRECTIONS[-1]} right of each ="
