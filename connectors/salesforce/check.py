"""Check an org as a pass would read it, object by object. A failure is a finding, not an exception."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from connectors.salesforce import soql
from connectors.salesforce.client import Client, QueryRefused
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.org import Org
from connectors.salesforce.reading import SHORT_S, window_size
from connectors.salesforce.retry import SHARED
from connectors.salesforce.schema import EMAIL, ENHANCED_EMAIL, VOICE_CALL, Schema
from connectors.salesforce.soql import Select
from syncd.connector import Finding, Store
from syncd.errors import ConfigError, Exit, SyncdError, Unauthorized, Unavailable
from syncd.fields import dig, parse_text

QUOTA_LOW = 0.8  # used share of the day's calls from which one should know
COST = 5  # calls to read 1,000 records with two people each: pages of 2,000 rows, people, accounts (REST guide v67)
SEE_ALL = (
    "give it the permission View All Data, or View All on Account, Contact, Lead and activities: rows that it may not "
    "see are missing without an error"
)

Selects = Mapping[str, tuple[str, Callable[[], tuple[Schema, Select]]]]  # by stream that is read: object and query


def check(
    client: Client, org: Org, store: Store, config: SalesforceConfig, selects: Selects
) -> list[Finding]:  # fmt: skip
    """Return findings in order. A refused sign-in or an outage ends the list."""
    findings: list[Finding] = []
    trials: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _sign_in(client),
        lambda: _streams(client, org, selects),
        lambda: _broad(org),
        lambda: _left_out(org, config),
        lambda: _short_windows(store, selects),
        lambda: _sight(client),
        lambda: _quota(client, config),
    )
    for trial in trials:
        try:
            findings.extend(trial())
        except Unauthorized as error:
            findings.append(_failed("sign-in", error, Exit.UNAUTHORIZED))
            break
        except Unavailable as error:
            findings.append(_failed("connection", error, Exit.UNAVAILABLE))
            break
    return findings


def _sign_in(client: Client) -> Iterator[Finding]:
    session = client.session()
    client.learn_usage()  # a configured session was not requested: this shows whether it is valid
    yield Finding("sign-in", True, f"accepted by org {session.org_id}")


def _streams(client: Client, org: Org, selects: Selects) -> Iterator[Finding]:
    """Send each stream's own query for one row."""
    org.describe()
    found = org.problems()
    yield from (Finding(each.path, False, each.message, hint=each.hint, exit_code=Exit.CONFIG) for each in found)
    for stream, (object_type, chosen) in selects.items():
        if not org.offers(object_type):
            continue
        try:
            _, select = chosen()
            client.query(select.one(), what=stream)
        except (Unauthorized, QueryRefused) as error:
            yield _failed(stream, error, Exit.UNAUTHORIZED)
            continue
        except ConfigError:  # named above
            continue
        yield Finding(stream, True, f"read from {select.object_type}")


def _broad(org: Org) -> Iterator[Finding]:
    """Report entries of `match` by which no query can be filtered."""
    entries = org.broad_entries()
    if entries:
        yield Finding(
            "match", False, f"Salesforce cannot filter by {', '.join(entries)}: all closed tasks are read and judged",
            hint="add a condition on a field that is no long text, e.g. TaskSubtype", warning=True,
        )  # fmt: skip


def _left_out(org: Org, config: SalesforceConfig) -> Iterator[Finding]:
    """Report features that the org lacks, and hidden fields: an error if their absence harms records for good."""
    schema = org.schema()
    for feature, consequence in schema.absent():
        message = f"this org does not show it: {consequence}"
        if feature == ENHANCED_EMAIL and not org.reads_emails():
            hint = "if the org has it, let the acting user read EmailMessage: a task does not tell who sent an email"
            yield Finding(feature, False, message, hint=hint, warning=True)
        else:
            yield Finding(feature, True, message)
    yield from _unread(schema, config)
    vital = schema.vital()
    if vital:
        yield Finding(
            "permissions on fields", False,
            f"the acting user does not see {', '.join(vital)}: activities go out without it, to the wrong account or "
            "not at all",
            hint="give it Read on each in a permission set before the next pass: what is sent cannot be corrected",
            exit_code=Exit.UNAUTHORIZED,
        )  # fmt: skip
    hidden = [
        *(each for each in schema.hidden() if each not in vital),
        *(f"{name}.{field}" for name, field in org.custom_fields() if not schema.has(name, field)),
    ]
    if hidden:
        yield Finding(
            "fields", False, f"left out, because the acting user does not see them: {', '.join(hidden)}",
            hint="give it Read on these fields in a permission set, if you miss them in Recotap", warning=True,
        )  # fmt: skip


def _unread(schema: Schema, config: SalesforceConfig) -> Iterator[Finding]:
    """Report which objects that hold calls or emails are not read, by the configuration or for lack of them."""
    origin = config.emails.origin
    if schema.has(EMAIL) and config.emails.read and origin != "both":
        unread = "EmailMessages are" if origin == "tasks" else "email tasks that no EmailMessage names are"
        message = f'{unread} not read: emails.from is "{origin}", in the file or since the first pass'
        yield Finding("emails.from", True, f'{message}. emails.from = "both" adds them')
    if config.voice_calls and not schema.has(VOICE_CALL):
        hint = "give the acting user Read on VoiceCall, or remove voice_calls"
        yield Finding("VoiceCall", False, "voice_calls is true, and the org shows none", hint=hint, warning=True)
    elif schema.has(VOICE_CALL) and not config.voice_calls:
        message = "a voice call is read as its task, if it has one. voice_calls = true reads those without one, too"
        yield Finding("VoiceCall", True, message)


def _short_windows(store: Store, selects: Selects) -> Iterator[Finding]:
    """Report streams that are read in short windows, because the org was too slow."""
    for stream in selects:
        seconds = window_size(store, stream).size
        if seconds < SHORT_S:
            message = f"read in windows of {timedelta(seconds=seconds)}: longer ones did not arrive within the deadline"
            hint = "they grow again as windows arrive. If this persists, set a longer timeout"
            yield Finding(f"{stream} window", False, message, hint=hint, warning=True)


def _sight(client: Client) -> Iterator[Finding]:
    """Report whether the acting user sees all rows. It is not an error if the org does not say."""
    user_id = client.session().user_id
    if user_id is None:
        return
    try:
        name = _name(client, user_id)
        sees = client.query(soql.sees_everything(user_id), what="permissions", deleted_too=False)["records"]
    except (QueryRefused, Unauthorized):
        return
    if sees:
        yield Finding("permissions", True, f"acts as {name}, who sees all records")
    else:
        yield Finding("permissions", False, f"acts as {name}, who has no View All Data", hint=SEE_ALL, warning=True)


def _name(client: Client, user_id: str) -> str:
    rows = client.query(soql.user_name(user_id), what="acting user", deleted_too=False)["records"]
    return (parse_text(dig(rows[0], "Name")) if rows else None) or f"user {user_id}"


def _quota(client: Client, config: SalesforceConfig) -> Iterator[Finding]:
    """Report how many of the org's calls of 24 hours are left, and whether passes pause for their reserve."""
    usage = client.usage
    if usage is None or not usage.total:
        return
    left, reserve = max(0, usage.total - usage.used), config.quota_reserve * usage.total
    message = f"{left:,} of {usage.total:,} left of the last 24 hours. 1,000 records cost about {COST}"
    if left < reserve:
        message = f"{message}. Passes pause: quota_reserve leaves {reserve:,.0f} to others"
    low = left < reserve or usage.used >= QUOTA_LOW * usage.total
    yield Finding(
        "daily calls", not low, message, warning=low,
        hint=f"{SHARED}. An idle pass of syncd costs one for each stream" if low else "",
    )  # fmt: skip


def _failed(what: str, error: SyncdError, code: Exit) -> Finding:
    return Finding(what, False, error.message, hint=error.hint, exit_code=code)
