"""Check a token against the portal, scope by scope. A failure is a finding, not an exception."""

from collections.abc import Callable, Iterator
from typing import Any

from connectors.hubspot.client import COMPANIES_READ, CONTACTS_READ, EMAIL_READ, OWNERS_READ, Client, DailyCalls
from connectors.hubspot.config import HubSpotConfig
from connectors.hubspot.properties import NamedProperties
from connectors.hubspot.redacted import is_readable, redacted
from connectors.hubspot.retry import SHARED
from connectors.hubspot.search import search_body
from syncd.connector import Finding
from syncd.errors import Exit, SyncdError, Unauthorized, Unavailable
from syncd.fields import count, dig, parse_text

QUOTA_LOW = 0.2  # share of the daily calls. One should know if no more are left
# Calls to read 1,000 records, if each has a contact and a company of its own: 5 searches of 200, 3 reads of
# associations by 1,000, 20 batch reads of 100, owners and labels (limits of the docs, 2026-03).
COST = 31


def check(client: Client, config: HubSpotConfig, named: NamedProperties) -> list[Finding]:
    """Return findings in order. The list ends if HubSpot cannot be reached or refuses the token."""
    findings: list[Finding] = []
    trials: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _token(client), lambda: _scopes(client, config), lambda: _properties(named), lambda: _quota(client),
    )  # fmt: skip
    for trial in trials:
        try:
            findings.extend(trial())
        except Unauthorized as error:
            findings.append(_failed("access token", error, Exit.UNAUTHORIZED))
            break
        except Unavailable as error:
            findings.append(_failed(f"HubSpot at {config.base_url}", error, Exit.UNAVAILABLE))
            break
    return findings


def _token(client: Client) -> Iterator[Finding]:
    portal = parse_text(dig(client.account(), "portalId"))
    if portal:
        yield Finding("access token", True, f"accepted by portal {portal}")
    else:
        yield Finding(
            "portal id",
            False,
            "HubSpot does not say which portal the token belongs to",
            hint="syncd works, but cannot notice a token of another portal under the same source name",
            warning=True,
        )


def _scopes(client: Client, config: HubSpotConfig) -> Iterator[Finding]:
    yield _scope(CONTACTS_READ, lambda: client.search("contacts", search_body([], "", 1, ())))
    yield _scope(f"{CONTACTS_READ} (calls)", lambda: client.search("calls", search_body([], "", 1, ())))
    yield _scope(COMPANIES_READ, lambda: client.search("companies", search_body([], "", 1, ())))
    yield _scope(OWNERS_READ, lambda: client.owners(archived=False, limit=1))
    if not config.emails.read:
        return
    emails: list[Any] = []
    finding = _scope(EMAIL_READ, lambda: emails.extend(client.latest_emails()))
    hidden = finding.ok and emails and not any(map(is_readable, emails))
    yield _failed(f"scope {EMAIL_READ}", redacted(), Exit.UNAUTHORIZED) if hidden else finding


def _scope(scope: str, ask: Callable[[], object]) -> Finding:
    try:
        ask()
    except Unauthorized as error:
        if "(403)" not in error.message:  # the token itself is refused: one finding says it all
            raise
        return Finding(f"scope {scope}", False, error.message, hint=error.hint, exit_code=Exit.UNAUTHORIZED)
    return Finding(f"scope {scope}", True, "granted")


def _properties(named: NamedProperties) -> Iterator[Finding]:
    if not named.count:
        return
    found, problems = named.look()
    for each in problems:
        yield Finding(each.path, False, each.message, each.hint, exit_code=Exit.CONFIG)
    if hidden := [stream for stream, shown in found.items() if shown is None]:
        yield Finding(
            "named properties", False, f"HubSpot does not show the token which properties {' and '.join(hidden)} have",
            hint="compare the names in the configuration with those in HubSpot: a wrong one counts as empty",
            warning=True,
        )  # fmt: skip
    elif not problems:
        yield Finding("named properties", True, f"HubSpot shows all {named.count} of them")


def _quota(client: Client) -> Iterator[Finding]:
    """Report how many of the day's calls are left: by HubSpot's count, otherwise by the headers of its answers."""
    rows = dig(client.daily_usage(), "results") or ()
    counted = ((count(dig(row, "currentUsage")), count(dig(row, "usageLimit"))) for row in rows)
    found = [DailyCalls(max(0, limit - used), limit) for used, limit in counted if used is not None and limit]
    for left, limit in found or ([client.daily] if client.daily else []):
        low = left <= QUOTA_LOW * limit
        yield Finding(
            "daily quota",
            not low,
            f"{left:,} of {limit:,} calls left today. 1,000 records cost at most {COST}",
            hint=f"{SHARED}. An idle pass of syncd costs 2 calls" if low else "",
            warning=low,
        )


def _failed(what: str, error: SyncdError, code: Exit) -> Finding:
    return Finding(what, False, error.message, hint=error.hint, exit_code=code)
