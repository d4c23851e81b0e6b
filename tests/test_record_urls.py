"""The address that opens a record in its CRM."""

from datetime import UTC, datetime

from connectors.hubspot import HubSpotConfig
from connectors.salesforce import SalesforceConfig
from syncd.connector import SourceConfig

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_hubspot_record_opens_in_its_portal() -> None:
    config = HubSpotConfig(connector="hubspot", start=START, access_token="env:A")
    kept = {"identity": {"portal": "4711", "host": "app-eu1.hubspot.com"}}
    assert config.record_url("calls", "12", kept) == "https://app-eu1.hubspot.com/contacts/4711/record/0-48/12"
    for host in (None, "evil.example/app.hubspot.com"):
        found = config.record_url("emails", "12", {"identity": {"portal": "4711", "host": host}})
        assert found == "https://app.hubspot.com/contacts/4711/record/0-49/12"
    assert config.record_url("calls", "12", {}) is None
    assert config.record_url("calls", "12", {"identity": {"portal": None}}) is None


def test_a_salesforce_record_opens_in_its_org_unless_the_host_is_shared() -> None:
    def config(login_url: str) -> SalesforceConfig:
        keys = {"client_id": "env:A", "username": "sync@acme.example", "private_key": "env:B"}
        return SalesforceConfig.model_validate(
            {"connector": "salesforce", "start": START, "login_url": login_url, **keys}
        )

    found = config("https://acme.my.salesforce.com/").record_url("calls", "00T000000000001AAA", {})
    assert found == "https://acme.my.salesforce.com/00T000000000001AAA"
    assert config("https://login.salesforce.com").record_url("calls", "00T000000000001AAA", {}) is None


def test_another_connector_has_no_link_unless_it_names_one() -> None:
    assert SourceConfig(connector="own", start=START).record_url("calls", "1", {}) is None
