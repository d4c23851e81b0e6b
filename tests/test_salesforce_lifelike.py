"""Each tool's row, in one org that has them all: what it becomes, and that no call or email is silently absent.

The rows are those of `syncd.sandbox.salesforce.lifelike`, as the tools write them.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.sandbox.salesforce.lifelike import ROWS, furnish
from tests.orgs import OrgWorld
from tests.world import OWN, THEIRS

DAYS_AGO = timedelta(days=2)
BUYER, REP = f"mira.copperwell@{THEIRS}", f"cleo.hollisgrave@{OWN}"
INTEGRATION = "integration@lanternfield-sales.com"


class Lifelike(OrgWorld):
    """A world whose org has every row of ROWS."""

    ids: dict[str, str]

    def furnish(self) -> None:
        lead = {"LastName": "Fennbrook", "Company": "Cinder Looms", "Email": "fenn@cinder-looms.com"}
        people = {
            "rep": self.rep, "rep_address": REP, "integration": self.org.acting_user, "buyer": self.buyer,
            "buyer_address": BUYER, "colleague": self.contact_of("quinn.birkenhain"),
            "boss": self.contact_of("sven.aldermoor"), "lead": self.org.put("Lead", lead),
        }  # fmt: skip
        self.ids = furnish(self.org, at=self.now() - DAYS_AGO, people=people)

    def __enter__(self) -> "Lifelike":
        super().__enter__()
        return self

    def outcomes(self) -> dict[str, str]:
        """Return the state of each row by its tool, and "absent" for those that are none of the ledger's."""
        held = {crm_id for (crm_id,) in self.sql("SELECT crm_id FROM activities")}
        return {tool: self.state(crm_id) if crm_id in held else "absent" for tool, crm_id in self.ids.items()}


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lifelike]:
    """A ledger that has read the whole org by the defaults, with voice calls."""
    with Lifelike(tmp_path_factory.mktemp("org"), org={"voice_call": True}) as world:
        world.furnish()
        world.configure("sources.salesforce", voice_calls=True)
        assert world.sync().exit_code == 0
        yield world


# What is not delivered, and why. Every other row that `read_as` calls a call or an email is.
EXCEPTIONS = {
    "Dialpad, unmatched": "incomplete no_contact",
    "Kixie, subtype Task": "incomplete no_contact",
    "composer, bounced": "excluded not_sent",
    "Email-to-Case": "excluded automated",
}
TASKS = {row.tool: f"{row.tool}: task" for row in ROWS if row.task is not None}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.tool)
def test_a_tools_row_is_read_as_what_it_is(org: Lifelike, row: Any) -> None:
    outcome = org.outcomes()[row.tool]
    if row.object == "VoiceCall" and row.task is None:
        assert outcome == "delivered", "voice_calls is on"
    elif row.read_as is None:
        assert outcome == "absent"
    else:
        assert outcome == EXCEPTIONS.get(row.tool, "delivered")


def test_an_email_is_read_once_and_a_voice_call_as_its_task(org: Lifelike) -> None:
    found = org.outcomes()
    assert {tool: found[task] for tool, task in TASKS.items()} == {
        "Outlook integration, sent": "absent", "Einstein Activity Capture, received": "absent",
        "Sales Dialer": "delivered",
    }  # fmt: skip


PAYLOADS: Mapping[str, Mapping[str, Any]] = {
    "Open CTI demo adapter": {"activityType": "call", "direction": "outbound", "outcome": "Connected",
                              "durationMinutes": 1.08, "ownerEmail": REP, "from": REP},
    "Twilio Flex": {"direction": "outbound", "outcome": "completed", "durationMinutes": None},
    "Log a Call": {"direction": None, "outcome": None, "durationMinutes": None, "from": None},
    "Aircall": {"ownerEmail": INTEGRATION},  # until `not_owners` or `fields.owner` says better
    "Log a Call, with three people, archived": {
        "contacts": [BUYER, f"quinn.birkenhain@{THEIRS}", f"sven.aldermoor@{THEIRS}"],
    },
    "Log a Call, with a lead": {"contacts": ["fenn@cinder-looms.com"], "domain": "cinder-looms.com"},
    "Outreach, received": {"activityType": "email", "from": None, "ownerEmail": REP, "contacts": [BUYER]},
    "Apollo, sent": {"activityType": "email", "from": None, "ownerEmail": REP, "contacts": [BUYER]},
    "Outlook integration, sent": {"from": REP, "ownerEmail": REP, "contacts": [BUYER]},
    "Einstein Activity Capture, received": {"from": BUYER, "ownerEmail": REP, "contacts": [BUYER]},
    "Service Cloud Voice": {"direction": "inbound", "durationMinutes": 5, "ownerEmail": INTEGRATION, "from": BUYER,
                            "outcome": None, "contacts": [BUYER]},
}  # fmt: skip


def _said(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload with the addresses of its people alone."""
    people = {"from": payload.get("from", {}).get("email"), "contacts": [each["email"] for each in payload["contacts"]]}
    return {**payload, **people}


@pytest.mark.parametrize("tool", PAYLOADS)
def test_a_tools_payload(org: Lifelike, tool: str) -> None:
    sent = _said(org.payload(org.ids[tool]))
    assert {key: sent.get(key) for key in PAYLOADS[tool]} == dict(PAYLOADS[tool])


def test_times_are_those_of_the_call_not_of_the_paperwork(org: Lifelike) -> None:
    """A backfill stamps a call again, so its day counts. A due date in a month says nothing."""

    def days_ago(tool: str) -> int:
        (at,) = org.sql("SELECT occurred_at FROM activities WHERE crm_id = ?", org.ids[tool])[0]
        return (org.now().date() - org.now().fromisoformat(at).date()).days

    assert days_ago("Nektar, call stamped again by a backfill") == 42
    assert days_ago("Salesloft, due in a month") == 2


def test_conditions_take_in_and_leave_out_what_the_defaults_do_not(tmp_path: Path) -> None:
    """The remedies for what differs from org to org: no rule of syncd's own is about one tool."""
    with Lifelike(tmp_path) as world:
        world.furnish()
        world.configure(
            "sources.salesforce.calls",
            match=[{"TaskSubtype": "Call"}, {"Type": "Call"}, {"CallType": "*", "TaskSubtype": "Task"},
                   {"TaskSubtype": "Call", "IsClosed": False, "Subject": "Missed*"}],
            **{"except": [{"Subject": ["SMS *", "* sms *"]}]},
        )  # fmt: skip
        directions = {"*[Out]*": "outbound", "*[In]*": "inbound", "*: << *": "inbound"}
        left_out = {"except": [{"Subject": ["* [Opened] *"]}]}
        matched = [{"TaskSubtype": "Email"}, {"Type": "Email"}, {"Subject": ["Sent (*", "Replied: *"]}]
        world.configure("sources.salesforce.emails", match=matched, values={"direction": directions}, **left_out)
        world.configure("rules", not_owners=[INTEGRATION])
        world.sync()
        found = world.outcomes()
        assert found["Open CTI without type"] == found["Aircall, left in progress"] == "delivered"
        assert found["Aircall, SMS"] == found["Outreach, opened"] == "excluded filtered"
        assert found["a call that is planned"] == "absent"
        assert found["Mixmax, sent"] == found["Yesware, reply"] == "delivered"
        assert found["Mixmax, opened"] == found["HubSpot's sync, opened"] == "absent"
        assert _said(world.payload(world.ids["Outreach, sent"]))["from"] == REP
        for received in ("Outreach, received", "Groove, received"):  # the task does not tell which address sent it
            assert "from" not in world.payload(world.ids[received])
        assert world.payload(world.ids["Log a Call"])["ownerEmail"] == REP
        assert world.state(world.ids["Aircall"]) == "incomplete no_owner_email", "the installer is nobody's rep"
