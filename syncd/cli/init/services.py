"""Know which keys an operator creates in each CRM and in Recotap, step by step.

The steps follow the vendors' pages as of 2026-11. HubSpot has had no new private apps since 2026-10-26, and Salesforce
no new connected apps since Spring '26. Existing ones still work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

Key = tuple[str, ...]  # the path of a key in the file, e.g. ("recotap", "api_key")

PASTE = "paste"  # the answer that asks for the key itself
SINCE = timedelta(days=30)  # proposed on a terminal
START, LEDGER, DOMAINS = "--start", "--ledger", "--own-domain"
SCOPES = "crm.objects.contacts.read, crm.objects.companies.read, crm.objects.owners.read, sales-email-read"
LICENCES = (
    "licence Salesforce Integration, profile Minimum Access - API Only Integrations, permission set licence Salesforce "
    "API Integration"
)
PERMISSIONS = "API Enabled, Access Activities, View All Data, and Read on Account, Contact and Lead and on their fields"
OWN_DOMAINS: Key = ("rules", "own_domains")


@dataclass(frozen=True, slots=True)
class Question:
    """A key that needs an answer."""

    key: Key
    option: str  # of `syncd init`, which answers it without a question
    text: str
    default: str = ""
    is_needed: bool = False  # without a terminal the default does not hold
    is_secret: bool = False  # the answer is a reference


@dataclass(frozen=True, slots=True)
class Service:
    """A CRM or Recotap: how to let syncd in."""

    title: str
    steps: tuple[str, ...]
    questions: tuple[Question, ...]


RECOTAP = Service(
    "Recotap: an API key",
    (
        "Sign in to Recotap as a user who stays, and generate an API key.",
        "Copy its 64 characters. The key never expires. It ends at once if that user generates another.",
    ),
    (Question(("recotap", "api_key"), "--recotap-key", "Recotap's key", "env:RECOTAP_API_KEY", is_secret=True),),
)
CRMS = {
    "hubspot": Service(
        "HubSpot: a service key",
        (
            "As a super admin, or with access to developer tools, open Development > Keys > Service keys.",
            f"Create a key with these scopes, all of which syncd needs, and no other: {SCOPES}.",
            "Copy the key. The token of an existing private app with these scopes works as well.",
        ),
        (
            Question(
                ("sources", "hubspot", "access_token"), "--hubspot-key", "HubSpot's key", "env:HUBSPOT_ACCESS_TOKEN",
                is_secret=True,
            ),
        ),
    ),
    "salesforce": Service(
        "Salesforce: an External Client App with an integration user",
        (
            f"In Setup > Users, create a user: {LICENCES}.",
            f"Give it a permission set: {PERMISSIONS}. Without View All Data, Salesforce leaves rows out silently.",
            "In Setup > App Manager > New External Client App, enable OAuth, the scope api and client credentials.",
            "In the app's Policies > Run As, choose that user.",
            "Copy the app's consumer key and consumer secret. An existing connected app with that flow works as well.",
            "To sign in by a certificate instead (JWT bearer), see `syncd config example`.",
            "In Setup > My Domain, find the org's address, e.g. https://acme.my.salesforce.com.",
        ),
        (
            Question(
                ("sources", "salesforce", "login_url"), "--salesforce-url", "The org's My Domain, with https://",
                is_needed=True,
            ),
            Question(
                ("sources", "salesforce", "client_id"), "--salesforce-id", "The app's consumer key",
                "env:SALESFORCE_CLIENT_ID", is_secret=True,
            ),
            Question(
                ("sources", "salesforce", "client_secret"), "--salesforce-secret", "Its consumer secret",
                "env:SALESFORCE_CLIENT_SECRET", is_secret=True,
            ),
        ),
    ),
}  # fmt: skip


def services(crms: Sequence[str]) -> tuple[Service, ...]:
    """Return the services that the chosen CRMs need, Recotap last."""
    return (*(CRMS[name] for name in crms), RECOTAP)


def questions(crms: Sequence[str], *, now: datetime, ledger: Path) -> Iterator[Question]:
    """Yield the questions of all services, then those about syncd itself. `ledger`: its default place."""
    for service in services(crms):
        yield from service.questions
    since = (now - SINCE).astimezone(UTC).date().isoformat()
    begins = ("sources", crms[0] if crms else "*", "start")
    yield Question(begins, START, "Read what was created or changed since", since, is_needed=True)
    yield Question(("ledger", "path"), LEDGER, "The ledger, a file on a local disk", str(ledger))
