"""The models of syncd's own configuration tables."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from syncd import files
from syncd.activity import Automated
from syncd.types import postgres_url, urls
from syncd.types.durations import Duration, Positive
from syncd.types.listen import Address, checked, parse
from syncd.types.schedule import EVERY, Schedule
from syncd.types.secrets import SCHEMES, HiddenUrl, Secret
from syncd.types.sizes import Size

if TYPE_CHECKING:
    from syncd.normalize.our_side import Rules

A_TIME = "expected a time with a zone, e.g. 2026-01-01T00:00:00Z"
A_DOMAIN = 'expected a domain, e.g. "yourcompany.com", without @ or https://'
DOMAIN = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


def _domain(text: str) -> str:
    name = text.strip().lower()
    if not name.isascii():
        from syncd.addresses import host  # takes 50 ms, and few need it

        name = host(name) or ""
    if not DOMAIN.fullmatch(name):
        raise ValueError(A_DOMAIN)
    return name


def _address(text: str) -> str:
    if not text:
        return ""
    from syncd.addresses import email  # takes 50 ms, and few need it

    address = email(text)
    if address is None:
        raise ValueError('expected an e-mail address, e.g. "sales@yourcompany.com", or ""')
    return address


def _user(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a user's address, or the CRM's id of a user")
    return _address(text) if "@" in text else text.strip()


def _time(value: Any) -> Any:
    if value == "":
        return None
    if not isinstance(value, (str, datetime)):  # pydantic reads a number as seconds since 1970
        raise ValueError(A_TIME)
    return value


def _in_calendar(at: datetime | None) -> datetime | None:
    """Return `at`. ValueError for the first and last year, where another zone's time may not exist."""
    if at and not 1 < at.year < 9999:
        raise ValueError(A_TIME)
    return at


def _path(path: Any) -> Any:
    if path == "" or (isinstance(path, str) and "\0" in path):
        raise ValueError('expected a path, e.g. "/var/lib/syncd/ledger.db"')
    try:
        return Path(path).expanduser() if isinstance(path, str) else path
    except RuntimeError:
        raise ValueError("~ is a home directory that is unknown here: write the full path") from None


def _resolved(path: Path) -> Path:
    """Return the path without links, resolved once, so that the ledger has one lock and one WAL.

    An invalid path stays as it is. Opening it then fails with the reason (exit code 74).
    """
    with suppress(OSError):
        path = path if path.is_absolute() else Path.cwd() / path  # the current directory may be gone
        path = files.resolve(path, owners=files.trusted())
    return path


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _master_key(value: Any) -> Any:
    return None if value == "" else value if value in (None, "none") else Secret.parse(value)


OptionalSecret = Annotated[
    Secret | None,
    BeforeValidator(_none_if_empty),
    WithJsonSchema({"type": "string", "pattern": "^((env|file|credential):.+)?$", "examples": ["env:NAME"]}),
]


OptionalMasterKey = Annotated[
    Literal["none"] | Secret | None,
    BeforeValidator(_master_key),
    WithJsonSchema({"type": "string", "pattern": "^(none|(env|file|credential):.+)?$", "examples": ["file:PATH"]}),
]


def _heartbeat(value: Any) -> Secret | HiddenUrl | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or value.partition(":")[0] in SCHEMES:
        return Secret.parse(value)
    return HiddenUrl.parse(value)


Domain = Annotated[str, AfterValidator(_domain), Field(examples=["yourcompany.com"])]


class Table(BaseModel):
    """A table of the file. An unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecotapConfig(Table):
    """Recotap's address, API key and limits."""

    base_url: Annotated[str, AfterValidator(urls.checked)] = "https://eapi.recotap.com/api/v1"
    api_key: Annotated[Secret, Field(examples=["env:RECOTAP_API_KEY"])]
    concurrency: Annotated[int, Field(ge=1, le=16)] = 4  # POSTs in flight
    timeout: Positive = timedelta(seconds=30)
    max_age: Positive = timedelta(days=7)  # an activity is dead this long after its first refusal
    allow_insecure_http: bool = False
    ca_file: str = ""  # PEM, trusted in addition to the system's certificates


class LedgerConfig(Table):
    """The ledger's place: a file, or a database in PostgreSQL."""

    path: Annotated[Path, BeforeValidator(_path), AfterValidator(_resolved)] = Field(
        default=Path("/var/lib/syncd/ledger.db"), validate_default=True
    )
    url: Annotated[str, AfterValidator(postgres_url.checked)] = ""  # of PostgreSQL, instead of path
    password: OptionalSecret = None  # of the user in url
    master_key: OptionalMasterKey = None  # encrypts payloads and connectors' values; "none": they stay readable

    @model_validator(mode="before")
    @classmethod
    def _no_path_if_it_is_in_postgresql(cls, table: Any) -> Any:
        if isinstance(table, dict) and table.get("url") and table.get("path") == "":
            return {name: value for name, value in table.items() if name != "path"}
        return table

    @property
    def unused(self) -> frozenset[str]:
        """Return the keys that are not in force."""
        return frozenset(("path",) if self.url else ())


class ScheduleConfig(Schedule):
    """When the daemon makes passes over sources without their own schedule, and when a pass counts as stuck."""

    stuck_after: Positive = timedelta(minutes=15)  # a pass without progress for this long is stuck

    @model_validator(mode="before")
    @classmethod
    def _every_so_often_unless_by_cron(cls, table: Any) -> Any:
        if not isinstance(table, dict) or table.get("cron") or table.get("every"):
            return table
        return {**table, "every": EVERY}


class RunConfig(Table):
    """How `syncd run` shares a ledger in PostgreSQL with other replicas. Without [ledger] url it has no effect."""

    passes: Annotated[int, Field(ge=1, le=64)] = 8  # sources that one process reads at the same time
    turn: Positive = timedelta(seconds=60)  # for which a source may be read while others wait for a free place


class RulesConfig(Table):
    """Which addresses are on our side, who owns activities, and which activities are excluded."""

    own_domains: list[Domain] = []
    domain_aliases: dict[Domain, Domain] = {}
    exclude_domains: list[Domain] = []
    not_before: Annotated[AwareDatetime | None, BeforeValidator(_time), AfterValidator(_in_calendar)] = None
    default_owner_email: Annotated[str, AfterValidator(_address)] = ""
    not_owners: list[Annotated[str, AfterValidator(_user), Field(examples=["sync@yourcompany.com"])]] = []
    automated: list[Automated] = list(get_args(Automated))
    company_domains: list[Domain] = []
    same_activity: Literal["report", "exclude", "off"] = "report"  # the same call or email under another id

    @field_validator("not_owners")
    @classmethod
    def _spare_the_default_owner(cls, users: list[str], given: ValidationInfo) -> list[str]:
        if given.data.get("default_owner_email") in users:
            raise ValueError("names rules.default_owner_email: remove it from one of the two")
        return users

    def to_rules(self) -> "Rules":
        """Return the table as `Rules` of `syncd.normalize.our_side`."""
        from syncd.normalize.our_side import Rules

        return Rules(
            own_domains=frozenset(self.own_domains),
            domain_aliases=dict(self.domain_aliases),
            exclude_domains=frozenset(self.exclude_domains),
            not_before=self.not_before.astimezone(UTC) if self.not_before else None,
            default_owner_email=self.default_owner_email,
            not_owners=frozenset(self.not_owners),
            automated=frozenset(self.automated),
            company_domains=frozenset(self.company_domains),
            same_activity=self.same_activity,
        )


class WebConfig(Table):
    """The address of the status page, and the token that its readers send."""

    listen: Annotated[str, AfterValidator(checked)] = ""  # "": no page
    token: OptionalSecret = None

    @property
    def address(self) -> Address | None:
        """The address to listen on, or None."""
        return parse(self.listen) if self.listen else None

    @property
    def lacks_token(self) -> bool:
        """Whether another machine could read the page without a token."""
        address = self.address
        return address is not None and not address.is_loopback and self.token is None


HeartbeatUrl = Annotated[
    Secret | HiddenUrl | None,
    PlainValidator(_heartbeat),
    PlainSerializer(lambda url: "" if url is None else str(url), return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^$|^(https?|env|file|credential):.+$"}),
    Field(examples=["env:SYNCD_HEARTBEAT_URL"]),
]


class AlertsConfig(Table):
    """Where alerts and the heartbeat go, and when a condition is reported."""

    urls: list[Annotated[Secret, Field(examples=["env:SYNCD_ALERTS_URL"])]] = []  # Apprise addresses
    heartbeat_url: HeartbeatUrl = None  # as healthchecks.io has them; None: no heartbeat
    after: Duration = timedelta(minutes=10)  # a condition must last, or be gone, for this long
    backlog: Positive = timedelta(hours=6)  # the oldest due activity may wait this long
    disk_free: Size = 10**9  # bytes that must be free where the ledger is

    @property
    def is_set(self) -> bool:
        """Tell whether there is anything to send to."""
        return bool(self.urls) or self.heartbeat_url is not None


TABLES: dict[str, type[BaseModel]] = {
    "recotap": RecotapConfig,
    "ledger": LedgerConfig,
    "schedule": ScheduleConfig,
    "run": RunConfig,
    "rules": RulesConfig,
    "web": WebConfig,
    "alerts": AlertsConfig,
}
