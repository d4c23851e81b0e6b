"""The generator of a lifelike portal: people, companies, calls and emails with the oddities of real ones."""

import json
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from syncd.sandbox.hubspot.lifelike import lifelike as write_lifelike
from syncd.sandbox.hubspot.portal import Portal
from syncd.sandbox.recotap.poison import add_poison
from syncd.sandbox.recotap.service import Recotap
from syncd.sandbox.standin.clock import iso, millis
from syncd.sandbox.standin.generator import (
    ALPHA,
    CALL_TITLES,
    FIRST,
    LAST,
    OMEGA,
    OWN_DOMAIN,
    SUBJECTS,
    SUFFIXES,
    TITLES,
    Generator,
    World,
)

STATUSES = ("COMPLETED",) * 7 + ("NO_ANSWER",) * 2 + ("BUSY", "FAILED", "CANCELED")
DIRECTIONS = ("OUTBOUND",) * 6 + ("INBOUND",) * 3 + (None,)


def generate(
    hubspot: Portal, recotap: Recotap | None = None, *, calls: int = 0, emails: int = 0, contacts: int = 0,
    companies: int = 0, owners: int = 12, seed: int = 1, now: datetime | str | None = None, days: float = 90.0,
    messy: bool = True, poison: float = 0.001, external_id: str = "hubspot-{kind}-{id}", lifelike: int = 0,
) -> World:  # fmt: skip
    """Generate a portal's records over the `days` before `now`, by default the stand-in's time.

    The same seed gives the same records. Without `messy`, every call and email is complete. `lifelike` is the number of
    sets of records as each tool writes them, which come in addition, spread over these days. `poison` is the share of
    calls that Recotap refuses with a 400, and also the share that it fails one by one. `external_id` is the template
    of their ids there.
    """
    end = hubspot.clock.ms() if now is None else millis(now)
    generator = _PortalGenerator(hubspot, random.Random(seed), end=end, days=days, messy=messy)
    with hubspot.lock:
        generator.owners(owners)
        generator.companies(companies or max(1, (calls + emails) // 20))
        generator.contacts(contacts or max(2, (calls + emails) // 7))
        generator.calls(calls)
        generator.emails(emails)
        generator.lifelike(lifelike)
    if recotap is not None:
        share = poison if messy else 0.0
        add_poison(recotap, generator.world, source="hubspot", share=share, external_id=external_id)
        for company in generator.world.ids["companies"][::2]:
            if domain := generator.world.domains[company]:
                recotap.account(domain)
    return generator.world


class _PortalGenerator(Generator):
    def __init__(self, hubspot: Portal, draw: random.Random, *, end: int, days: float, messy: bool) -> None:
        super().__init__(draw, end=end, days=days, messy=messy)
        self.hubspot = hubspot

    def owners(self, count: int) -> None:
        for number in range(max(2, count)):
            first, last = FIRST[number % len(FIRST)], LAST[number % len(LAST)]
            address = f"{first}.{last}@{OWN_DOMAIN}".lower() if number < 19 else f"rep{number}@{OWN_DOMAIN}"
            gone = self.messy and number % 5 == 4
            owner = self.hubspot.owner(address, first, last, archived=gone)
            self.own.append((owner, address))
            self.note(owner, "owners", "archived" if gone else "")

    def companies(self, count: int) -> None:
        for number in range(count):
            alpha, omega = self.draw.choice(ALPHA), self.draw.choice(OMEGA)
            domain: str | None = f"{alpha}-{omega}-{number}.{self.draw.choice(SUFFIXES)}"
            nature = ""
            if self.odd(0.03):
                domain, nature = None, "no_domain"
            elif self.odd(0.02):
                domain, nature = f"{alpha}{number}.unknown", "placeholder_domain"
            values = {"name": f"{alpha} {omega} {number}".title(), "domain": domain}
            company = self.hubspot.put("companies", values, modified_at=self.end - self.span)
            self.world.domains[company] = domain
            self.note(company, "companies", nature)

    def contacts(self, count: int) -> None:
        for number in range(count):
            first, last = self.draw.choice(FIRST), self.draw.choice(LAST)
            company = self.draw.choice(self.world.ids["companies"])
            address, nature = self.address(first, last, number, self.world.domains[company])
            values = {
                "email": address, "firstname": first, "lastname": last, "jobtitle": self.draw.choice(TITLES),
                "phone": f"+1 555 01{number % 100:02}", "associatedcompanyid": company,
                "hs_seniority": self.draw.choice(("vp", "director", "manager", None)),
            }  # fmt: skip
            contact = self.hubspot.put("contacts", values, modified_at=self.end - self.span)
            self.hubspot.associate("contacts", contact, "companies", company)
            self.world.addresses[contact], self.world.employers[contact] = address, company
            self.note(contact, "contacts", nature)

    def calls(self, count: int) -> None:
        dispositions = [item["id"] for item in self.hubspot.dispositions]
        for at, modified in self._moments(count):
            status, nature = self.draw.choice(STATUSES), self.nature(CALL_NATURES)
            values: dict[str, Any] = {
                "hs_timestamp": iso(at), "hs_call_title": self.draw.choice(CALL_TITLES), "hs_call_status": status,
                "hs_call_direction": self.draw.choice(DIRECTIONS), "hubspot_owner_id": self._owner(nature),
            }  # fmt: skip
            if nature == "in_progress":
                values["hs_call_status"] = "IN_PROGRESS"
            elif status == "COMPLETED":
                values["hs_call_duration"] = str(self.draw.randrange(20_000, 3_600_000))
                values["hs_call_disposition"] = self.draw.choice(dispositions)
            call = self.hubspot.put("calls", values, created_at=at, modified_at=modified)
            self._associate("calls", call, nature)
            self.note(call, "calls", nature)

    def emails(self, count: int) -> None:
        for at, modified in self._moments(count):
            nature = self.nature(EMAIL_NATURES)
            (owner, ours), (_, colleague) = self.draw.sample(self.own, 2)
            contact = self._contact() if nature != "internal" else ""
            theirs = self.world.addresses.get(contact, colleague)
            incoming = nature == "" and self.draw.random() < 0.35
            sender, receiver = (theirs, ours) if incoming else (ours, theirs)
            values = {
                "hs_timestamp": iso(self.end + 86_400_000 if nature == "scheduled" else at),
                "hs_email_subject": self.draw.choice(SUBJECTS), "hubspot_owner_id": owner,
                "hs_email_direction": "INCOMING_EMAIL" if incoming else "EMAIL",
                "hs_email_status": {"bounced": "BOUNCED", "scheduled": "SCHEDULED"}.get(nature, "SENT"),
                "hs_email_headers": _headers(sender, receiver),
                "hs_email_open_count": None if incoming else str(self.draw.randrange(4)),
                "hs_email_click_count": None if incoming else str(self.draw.randrange(2)),
            }  # fmt: skip
            email = self.hubspot.put("emails", values, created_at=at, modified_at=modified)
            if nature != "internal":
                self._associate("emails", email, nature, contact)
            self.note(email, "emails", nature)

    def lifelike(self, sets: int) -> None:
        for number in range(sets):
            at = self.end - self.span + self.span * (number + 1) // (sets + 1)
            written = write_lifelike(self.hubspot, at=at, prefix=f"{number}.")
            for kind, found in (("calls", written.calls), ("emails", written.emails)):
                for name, crm_id in found.items():
                    self.note(crm_id, kind, name.partition(".")[2])

    def _moments(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield each record's time and modification time, ascending.

        One record in fifty shares the instant of a bulk edit.
        """
        bulk = self.end - self.span // 10
        for number in range(count):
            at = self.end - self.span + self.span * number // max(1, count)
            # HubSpot touches a fresh record again 150 to 300 ms after its creation (recorded, 2025-02)
            modified = at + self.draw.randrange(150, 300)
            if self.messy and number % 50 == 0 and at < bulk:
                modified = bulk
            yield at, min(modified, self.end)

    def _associate(self, type_name: str, crm_id: str, nature: str, contact: str | None = None) -> None:
        if nature == "no_association":
            return
        late_by = self.draw.uniform(300, 7200) if nature == "late_association" else 0.0
        people = [contact] if contact else [self._contact() for _ in range(self.draw.choice((1, 1, 1, 2, 3)))]
        for person in people:
            self.hubspot.associate(type_name, crm_id, "contacts", person, late_by=late_by)
        if self.draw.random() < 0.85:
            self.hubspot.associate(type_name, crm_id, "companies", self.world.employers[people[0]], late_by=late_by)

    def _contact(self) -> str:
        return self.draw.choice(self.world.ids["contacts"])

    def _owner(self, nature: str) -> str | None:
        return None if nature == "no_owner" else self.draw.choice(self.own)[0]


CALL_NATURES = {"no_association": 0.02, "late_association": 0.02, "in_progress": 0.01, "no_owner": 0.02}
EMAIL_NATURES = {
    "no_association": 0.03, "late_association": 0.02, "internal": 0.02, "bounced": 0.02, "scheduled": 0.01,
}  # fmt: skip


def _headers(sender: str | None, receiver: str | None) -> str:
    """Return the JSON text of hs_email_headers."""
    to = [{"email": receiver, "firstName": None, "lastName": None}] if receiver else []
    return json.dumps({"from": {"email": sender, "firstName": None, "lastName": None}, "to": to, "cc": [], "bcc": []})
