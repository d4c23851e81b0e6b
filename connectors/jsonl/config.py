"""Define the configuration keys of a folder of files."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.functional_validators import field_validator

from syncd.activity import Direction, Kind
from syncd.connector import SourceConfig, StreamRules
from syncd.types.durations import Duration
from syncd.types.sizes import Size

CONTACT = ("email", "id", "name", "title", "department", "seniority", "phone", "linkedin_url")  # keys of `contacts`
TRANSLATED = ("direction", "outcome")  # the fields whose texts `values` gives a meaning
DIRECTIONS = get_args(Direction)
AN_ABSOLUTE_PATH = 'expected an absolute path, e.g. "/var/lib/syncd/drop"'


def _path(path: Any) -> Any:
    if not isinstance(path, str):
        return path
    if not Path(path).expanduser().is_absolute():  # cron and systemd choose the working directory
        raise ValueError(AN_ABSOLUTE_PATH)
    return Path(path).expanduser()


class LineRules(StreamRules):
    """Choose the lines of one kind. A condition names a key of `columns`, otherwise a column of the file."""

    @field_validator("values")
    @classmethod
    def _are_translated(cls, values: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        for name, table in values.items():
            if name not in TRANSLATED:
                raise ValueError(f"expected one of {', '.join(TRANSLATED)}, not {name!r}")
            if name == "direction" and not set(table.values()) <= {*DIRECTIONS}:
                raise ValueError("direction: expected inbound, outbound or internal as the meaning of each text")
        return values


class Columns(BaseModel):
    """Name the column of a file, or key of a JSON object, for each field of an activity. "": none."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    id: str = "id"
    kind: str = "kind"
    occurred_at: str = "occurred_at"
    created_at: str = "created_at"
    status: str = "status"
    direction: str = "direction"
    title: str = "title"
    subject: str = "subject"
    duration_minutes: str = "duration_minutes"
    duration_seconds: str = "duration_seconds"
    outcome: str = "outcome"
    open_count: str = "open_count"
    click_count: str = "click_count"
    owner_id: str = "owner_id"
    owner_email: str = "owner_email"
    owner_name: str = "owner_name"
    from_email: str = "from_email"
    from_name: str = "from_name"
    to_email: str = "to_email"
    cc_email: str = "cc_email"
    contacts: str = "contacts"
    contact_id: str = "contact_id"
    contact_email: str = "contact_email"
    contact_name: str = "contact_name"
    contact_title: str = "contact_title"
    contact_department: str = "contact_department"
    contact_seniority: str = "contact_seniority"
    contact_phone: str = "contact_phone"
    contact_linkedin_url: str = "contact_linkedin_url"
    account_id: str = "account_id"
    account_name: str = "account_name"
    account_domain: str = "account_domain"
    message_id: str = "message_id"
    call_id: str = "call_id"

    @cached_property
    def named(self) -> Mapping[str, str]:
        """Return the column of each field of ours."""
        return self.model_dump()

    @cached_property
    def of_contact(self) -> Mapping[str, str]:
        """Return the columns of a line's own contact that are mapped, by the key of `contacts`."""
        columns = {name: getattr(self, f"contact_{name}") for name in CONTACT}
        return {name: column for name, column in columns.items() if column}


class JsonlConfig(SourceConfig):
    """Describe one folder into which files are dropped, and what stands in them."""

    overlap: Duration = timedelta(0)  # no file arrives late: the connector itself says when each arrived
    path: Annotated[Path, BeforeValidator(_path)] = Field(examples=["/var/lib/syncd/drop"])  # the folder
    done: Annotated[Path | None, BeforeValidator(lambda path: _path(path) if path != "" else None)] = None
    kind: str = ""  # of a line that does not name its kind
    timezone: str = "UTC"  # of times that name none
    delimiter: str = ""  # of CSV files. Empty: recognized by the first line, which names the columns
    quiet_for: Duration = timedelta(seconds=10)  # how long a file must not have changed before it is read
    max_file_size: Size = 10**9  # bytes; a larger file stays in place
    columns: Columns = Columns()
    calls: LineRules = LineRules()
    emails: LineRules = LineRules()

    @field_validator("kind")
    @classmethod
    def _is_a_kind(cls, kind: str) -> str:
        if kind not in ("", "call", "email"):
            raise ValueError('expected "call", "email", or "" if a column names it')
        return kind

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # a name of a folder, of nothing, and ZoneInfoNotFoundError
            raise ValueError('unknown time zone, expected e.g. "Europe/Berlin"') from None
        return name

    @field_validator("delimiter")
    @classmethod
    def _delimits(cls, delimiter: str) -> str:
        if delimiter and (len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii()):
            raise ValueError(r'expected one character, e.g. "," or ";" or "\t", or "": recognize it')
        return delimiter

    @model_validator(mode="after")
    def _keeps_done_apart(self) -> Self:
        if self.done == self.path:
            raise ValueError('done: expected another folder than path. Left out, it is "done" below it')
        if not self.columns.occurred_at and not self.columns.created_at:
            raise ValueError("columns: expected a column for occurred_at: when did it happen?")
        if not self.columns.kind and not self.kind:
            raise ValueError('kind: expected "call" or "email" where columns.kind is "": nothing else tells them apart')
        return self

    def rules(self, kind: Kind) -> LineRules:
        """Return the rules of the lines of one kind."""
        return self.emails if kind == "email" else self.calls

    @property
    def done_path(self) -> Path:
        """Return the folder for files that were read."""
        return self.done or self.path / "done"
