"""The owners that a source's own fields name: a user's id, address or name, and nobody else's."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from connectors.salesforce.org import Org
from connectors.salesforce.owners import Owners, preferring
from connectors.salesforce.related import Complete
from syncd.activity import Draft, Owner
from syncd.connector import Record, Ref

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUNA = Owner("005x0000001a2BcAAI", "runa@lanternfield.com", "Runa Dunmere")
ODA = Owner("005x0000001a2BdAAI", "oda@lanternfield.com", "Oda Juniper", active=False)
TWINS = (Owner("005x0000001a2BeAAI", "a@lanternfield.com", "Ann Twin"), Owner("005x0000001a2BfAAI", None, "ann twin"))
PARTNER = Owner("005x0000001a2BgAAI", "ivo@partner.example", "Ivo Ivorstone")
LOST = "005x0000001a2BhAAI"
NAMES = ("Caller__c", "Agent__c", "OwnerId")


class Directory:
    """An org's users: those of ours, a partner's, and one that Salesforce does not serve."""

    def __init__(self) -> None:
        self.unserved: dict[str, str] = {}
        self.asked: list[str] = []
        self._everyone = (RUNA, ODA, *TWINS)

    def everyone(self) -> Sequence[Owner]:
        return self._everyone

    def users(self, ids: Iterable[str], *, fresh: bool = False) -> dict[str, Owner]:
        self.asked += ids
        self.unserved |= {each: "Salesforce has an error" for each in self.asked if each == LOST}
        return {str(each.crm_id): each for each in (*self._everyone, PARTNER) if each.crm_id in self.asked}

    def is_ours(self, crm_id: str) -> bool:
        return any(each.crm_id == crm_id for each in self._everyone)


def added(*rows: dict[str, Any], org: Directory | None = None) -> Complete:
    records = [Record(Ref(f"00T{number}", AT), row, {"contacts": ()}) for number, row in enumerate(rows)]
    return Owners(cast(Org, org or Directory())).added(Complete(records, {"00Tz": "before"}), NAMES, fresh=False)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (RUNA.crm_id, RUNA),
        ((RUNA.crm_id or "")[:15], RUNA),
        ("ODA@lanternfield.com", ODA),
        ("Oda J. <oda@lanternfield.com>", ODA),
        ("oda  juniper", None),
        ("oda juniper", ODA),
        ("Ann Twin", None),
        ("a@lanternfield.com", TWINS[0]),
        (PARTNER.crm_id, None),
        ("ivo@partner.example", None),
        ("mira@northmill-looms.com", None),
        ("005", None),
        (None, None),
        ({}, None),
    ],
)
def test_a_field_names_a_user_of_ours_or_nobody(written: Any, expected: Owner | None) -> None:
    found = added({"Agent__c": written})
    assert found.records[0].related["owners"] == ((expected,) if expected else ())
    assert found.unserved == {"00Tz": "before"}


def test_the_owners_come_in_the_order_of_the_fields_and_a_queue_as_the_task_has_it() -> None:
    queue = {"Name": "Inbound", "Email": "calls@lanternfield.com"}
    row = {"Caller__c": ODA.crm_id, "Agent__c": "Runa Dunmere", "OwnerId": "00Gx0000001a2BcAAI", "Owner": queue}
    (record,) = added(row).records
    assert record.related == {
        "contacts": (), "owners": (ODA, RUNA, Owner("00Gx0000001a2BcAAI", "calls@lanternfield.com", "Inbound")),
    }  # fmt: skip


def test_a_record_whose_owner_salesforce_does_not_serve_is_unserved() -> None:
    org = Directory()
    found = added({"Caller__c": LOST}, {"Caller__c": RUNA.crm_id}, org=org)
    assert found.unserved == {"00Tz": "before", "00T0": "Salesforce has an error"}
    assert [record.ref.crm_id for record in found.records] == ["00T1"]
    assert org.asked == [LOST, RUNA.crm_id]


def test_a_draft_prefers_these_owners_and_keeps_its_own() -> None:
    draft = Draft(kind="call", occurred_at=AT, created_at=AT, owner=RUNA)
    preferred = preferring(draft, (ODA, RUNA))
    assert preferred is not None
    assert (preferred.owner, preferred.owners) == (ODA, (RUNA,))
    assert preferring(draft, ()) is draft
    assert preferring(None, (ODA,)) is None
