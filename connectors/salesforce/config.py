"""Define the configuration keys of a Salesforce source, and its ways to sign in."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails

from connectors.salesforce.schema import EMAIL, TASK, VOICE_CALL
from connectors.salesforce.tables import MOST_NAMED, CallTable, EmailsFrom, EmailTable, field_name, length_of
from syncd.connector import SourceConfig
from syncd.types import urls
from syncd.types.secrets import Secret

CALLS, EMAILS, EMAIL_TASKS, VOICE_CALLS = "calls", "emails", "email_tasks", "voice_calls"  # streams
EMAILS_FROM = "emails_from"  # in the store: the object that emails come from. Only older versions kept TASK
ORIGINS: dict[frozenset[str], EmailsFrom] = {
    frozenset((EMAILS,)): "messages", frozenset((EMAIL_TASKS,)): "tasks", frozenset((EMAILS, EMAIL_TASKS)): "both",
}  # fmt: skip
WAYS = {
    "client credentials": ("login_url", "client_id", "client_secret"),
    "JWT bearer": ("login_url", "client_id", "username", "private_key"),
    "a session (for tests)": ("session_id", "instance_url"),
}
SIGN_IN = tuple(dict.fromkeys(key for keys in WAYS.values() for key in keys))
# Both take a password. They are never read, only known in order to be refused with a reason.
RETIRED = ("password", "security_token")
NO_PASSWORDS = (
    "passwords sign in no more: Salesforce's SOAP login() is gone from API version 65.0 on and ends with Summer '27, "
    "OAuth's username-password flow is blocked by default since Summer '23. Use an External Client App: "
    "login_url, client_id and client_secret, or login_url, client_id, username and private_key"
)
SHARED_HOSTS = ("login.salesforce.com", "test.salesforce.com")
MY_DOMAIN = "https://acme.my.salesforce.com"
# Hosts for browsers, which answer the API with INVALID_SESSION_ID (simple-salesforce #406), and the one for programs.
FOR_BROWSERS = (".lightning.force.com", ".my.salesforce-setup.com")
# Salesforce keeps a version for three years at least: in Summer '26 (67.0) 58.0 is the oldest that is sure to answer.
# It is also above all that we ask for: TYPEOF (46.0), queues as owners (48.0), cursors without a limit (56.0).
OLDEST = 58


def _address(text: str) -> str:
    """Return `text` as the address of an org. ValueError if it is invalid."""
    if not text.strip():
        return ""
    url = urls.checked(text)
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "https":  # even on loopback: simple-salesforce throws the scheme away
        raise ValueError(f"expected https://, Salesforce's client speaks nothing else, e.g. {MY_DOMAIN}")
    if parts.path:
        raise ValueError(f"expected a host without a path, e.g. {MY_DOMAIN}")
    for suffix in FOR_BROWSERS:
        if host.endswith(suffix):
            meant = host.removesuffix(suffix)
            raise ValueError(f"is the host for browsers: expected https://{meant}.my.salesforce.com")
    return url


def _version(text: str) -> str:
    if not re.fullmatch(r"\d{2,3}\.0", text, re.ASCII):
        raise ValueError('expected a version such as "66.0"')
    if int(text[:-2]) < OLDEST:
        raise ValueError(f'expected "{OLDEST}.0" or newer: Salesforce keeps a version for three years')
    return text


def _zone(name: str) -> str:
    name = name.strip()
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError('no such time zone: expected e.g. "Europe/Berlin" or "UTC"') from None
    return name


def _user(name: str) -> str:
    name = name.strip()
    if any(character.isspace() for character in name):
        raise ValueError("expected the user name alone, without spaces")
    return name


Address = Annotated[str, AfterValidator(_address)]
Version = Annotated[str, AfterValidator(_version), WithJsonSchema({"type": "string", "pattern": r"^\d{2,3}\.0$"})]
FieldName = Annotated[str, AfterValidator(field_name)]
Reference = Annotated[
    Secret | None,
    BeforeValidator(lambda value: None if value == "" else value),  # an empty key is none
    WithJsonSchema({"type": "string", "pattern": "^((env|file|credential):.+)?$", "examples": ["env:NAME"]}),
]


class SalesforceConfig(SourceConfig):
    """Describe one org, one way of signing in to it, and how to read it."""

    login_url: Address = ""  # where tokens are had: the org's My Domain; for JWT login. or test.salesforce.com too
    client_id: Reference = None  # of an External Client App: its consumer key
    client_secret: Reference = None
    username: Annotated[str, AfterValidator(_user)] = ""  # JWT bearer: the integration user's
    private_key: Reference = None  # JWT bearer: RSA, PEM; the app holds its certificate
    session_id: Reference = None
    instance_url: Address = ""
    ca_file: str = ""  # PEM, trusted beside the system's; read when the first request is made
    api_version: Version = "66.0"  # three new ones a year
    quota_reserve: float = Field(default=0.2, ge=0, lt=1, allow_inf_nan=False)  # of the day's calls, left to others
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"  # of activities that have a date only
    occurred_at_field: FieldName = ""  # the same as the first of calls.fields.occurred_at
    linkedin_field: FieldName = ""  # on Contact and Lead
    voice_calls: bool = False  # read VoiceCalls without a task, too
    calls: CallTable = CallTable()
    emails: EmailTable = EmailTable()

    @model_validator(mode="wrap")
    @classmethod
    def _signs_in_one_way(cls, table: Any, read: Callable[[Any], Self]) -> Self:
        """Report the mistakes of the sign-in, each at its key, together with those of single keys."""
        if cls is not SalesforceConfig or not isinstance(table, dict):
            return read(table)  # syncd.config looks at what is left of a wrong table in a class of its own
        mistakes = [_detail(key, ValueError(message), table.get(key)) for key, message in _mistakes(table)]
        if not mistakes:
            return read(table)
        try:
            read({key: value for key, value in table.items() if key not in RETIRED})
        except ValidationError as error:
            at_fault = {mistake["loc"] for mistake in mistakes if "loc" in mistake}
            mistakes += [
                _again(detail) for detail in error.errors(include_url=False) if tuple(detail["loc"]) not in at_fault
            ]
        raise ValidationError.from_exception_data(cls.__name__, mistakes)

    @model_validator(mode="after")
    def _names_few_fields(self) -> Self:
        if length_of(self.named) > MOST_NAMED:
            raise ValueError(f"calls and emails name too many fields: expected at most {MOST_NAMED} characters in all")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The fields that [calls] and [emails] name, and `occurred_at_field`, each once."""
        own = (self.occurred_at_field,) if self.occurred_at_field else ()
        return tuple(dict.fromkeys((*own, *self.calls.named, *self.emails.named)))

    def reads(self, stream: str) -> bool:
        """Tell whether the source reads a stream."""
        match stream:
            case "voice_calls":
                return self.voice_calls
            case "emails":
                return self.emails.read and self.emails.origin != "tasks"
            case "email_tasks":
                return self.emails.read and self.emails.origin != "messages" and super().reads(stream)
        return super().reads(stream)

    def narrowing(self) -> dict[str, dict[str, Any]]:
        """Return the settings that narrow each stream that it reads."""
        rules: dict[str, dict[str, Any]] = {
            CALLS: self.calls.narrowing(), EMAILS: {"object": EMAIL}, EMAIL_TASKS: self.emails.narrowing(),
            VOICE_CALLS: {"object": VOICE_CALL},
        }  # fmt: skip
        return {stream: rule for stream, rule in rules.items() if self.reads(stream)}

    def keeping(self, kept: Mapping[str, Mapping[str, Any]]) -> Self:
        """Return it with the `match` and `from` of the last pass, unless its file names them."""
        emails = self.emails.keeping(kept.get(EMAIL_TASKS, {}))
        rules = {each: kept[each] for each in (EMAILS, EMAIL_TASKS) if kept.get(each, {}).keys() - {"read"}}
        were_read = [each for each, rule in rules.items() if rule.get("read") is not False]
        origin = ORIGINS.get(frozenset(were_read or rules))  # none was: as before `read = false`
        if origin is not None and "origin" not in emails.model_fields_set:
            emails = emails.model_copy(update={"origin": origin})
        return self.model_copy(update={"calls": self.calls.keeping(kept.get(CALLS, {})), "emails": emails})

    @classmethod
    def narrowing_before(cls, store: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the rules of older versions: one subtype, and either EmailMessages or email tasks."""
        object_type = store.get(EMAILS_FROM)
        unread = {"read": False}
        return {
            CALLS: {"match": [{"TaskSubtype": "Call"}]},
            **({EMAILS: {"object": EMAIL}, EMAIL_TASKS: unread} if object_type == EMAIL else {}),
            **({EMAILS: unread, EMAIL_TASKS: {"match": [{"TaskSubtype": "Email"}]}} if object_type == TASK else {}),
        }

    def record_url(self, stream: str, crm_id: str, store: Mapping[str, Any]) -> str | None:
        """Return the address of a record: an org's host opens /ID. None if no key names that host."""
        host = self.instance_url or self.login_url
        known = crm_id.isalnum() and _host(host) not in ("", *SHARED_HOSTS)
        return f"{host}/{crm_id}" if known else None

    @property
    def signs_in(self) -> bool:
        """Tell whether a new session can be requested after one has expired."""
        return self.session_id is None


def _mistakes(table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, mistake) of the sign-in, by the way that most of the given keys belong to."""
    given = {key for key in SIGN_IN if table.get(key) not in (None, "")}
    way = max(WAYS, key=lambda name: len(given & set(WAYS[name])))  # of equals the first
    yield from ((key, NO_PASSWORDS) for key in RETIRED if key in table)
    keys = WAYS[way]
    whole = f"to sign in by {way} takes {', '.join(keys[:-1])} and {keys[-1]}"
    whole += "" if "session_id" in keys else " (either client_secret, or username and private_key)"
    for key in SIGN_IN:
        if key in keys and key not in given:
            yield key, f"is missing: {whole}"
        elif key in given and key not in keys:
            yield key, f"is too much: {whole}"
    if way == "client credentials" and _host(table.get("login_url")) in SHARED_HOSTS:
        yield "login_url", f"client credentials work at the org's own My Domain only: expected e.g. {MY_DOMAIN}"


def _host(url: Any) -> str:
    try:
        return (urlsplit(url.strip()).hostname or "").lower() if isinstance(url, str) else ""
    except ValueError:
        return ""


def _detail(key: str, error: ValueError, value: Any) -> InitErrorDetails:
    return InitErrorDetails(type="value_error", loc=(key,), input=value, ctx={"error": error})


def _again(detail: Any) -> InitErrorDetails:
    """Return one of pydantic's errors as it accepts it as input."""
    return InitErrorDetails(type=detail["type"], loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {}))
