"""The generator of a lifelike Salesforce org: people, accounts, calls and emails with the oddities of real ones."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.sandbox.recotap.poison import add_poison
from syncd.sandbox.recotap.service import Recotap
from syncd.sandbox.salesforce.lifelike import furnish
from syncd.sandbox.salesforce.records import Records
from syncd.sandbox.standin.clock import EPOCH, millis
from syncd.sandbox.standin.generator import (
    ALPHA,
    CALL_TITLES,
    FIRST,
    FREE_MAIL,
    LAST,
    OMEGA,
    OWN_DOMAIN,
    SUBJECTS,
    SUFFIXES,
    TITLES,
    Generator,
    World,
)

DISPOSITIONS = ("Connected", "Connected", "Left voicemail", "No answer", "Busy", None)
CALL_TYPES = ("Outbound",) * 6 + ("Inbound",) * 3 + ("Internal", None)
WEBSITES = ("https://www.{}/", "{}", "http://{}/about?lang=en", "WWW.{}")  # as people type them
CALL_NATURES = {
    "open": 0.03, "no_contact": 0.03, "lead": 0.08, "queue": 0.02, "no_account": 0.02, "archived": 0.01,
    "left_owner": 0.02,
}  # fmt: skip
EMAIL_NATURES = {
    "draft": 0.02, "private_draft": 0.01, "bounced": 0.02, "internal": 0.02, "no_relation": 0.03, "lead": 0.05,
    "no_task": 0.02,
}  # fmt: skip
TASKS_EACH = 0.1  # ordinary to-dos per call
DAY_MS = 86_400_000
CAST = 12  # contacts, of whom three with an address take part in the rows of tools


def generate(
    salesforce: Records, recotap: Recotap | None = None, *, calls: int = 0, emails: int = 0, contacts: int = 0,
    leads: int = 0, accounts: int = 0, users: int = 12, seed: int = 1, now: datetime | str | None = None,
    days: float = 90.0, messy: bool = True, poison: float = 0.001, external_id: str = "salesforce-{kind}-{id}",
    contacts_each: int | None = None, lifelike: int = 0,
) -> World:  # fmt: skip
    """Generate an org's records over the `days` before `now`, by default the stand-in's time.

    The same seed gives the same records. Without `messy`, every call and email is complete, and there are no to-dos.
    `contacts_each` is the number of contacts of each call and email. `lifelike` is the number of times that each row of
    `lifelike.ROWS` is written, as a tool writes it. `poison` is the share of calls that Recotap
    refuses with a 400, and also the share that it fails one by one. `external_id` is the template of their ids there.
    """
    end = salesforce.clock.ms() if now is None else millis(now)
    generator = _OrgGenerator(
        salesforce, random.Random(seed), end=end, days=days, messy=messy, contacts_each=contacts_each
    )
    with salesforce.lock:
        generator.users(users)
        generator.accounts(accounts or max(1, (calls + emails) // 20))
        generator.contacts(contacts or max(CAST if lifelike else 2, contacts_each or 0, (calls + emails) // 7))
        generator.leads(leads or (max(1, (calls + emails) // 40) if messy else 0))
        generator.calls(calls)
        generator.tasks(round(calls * TASKS_EACH) if messy else 0)
        if salesforce.enhanced_email:
            generator.emails(emails)
        generator.lifelike(lifelike)
    if recotap is not None:
        add_poison(
            recotap, generator.world, source="salesforce", share=poison if messy else 0.0, external_id=external_id
        )
        for account in generator.world.ids["accounts"][::2]:
            if domain := generator.world.domains[account]:
                recotap.account(domain)
    return generator.world


class _OrgGenerator(Generator):
    def __init__(
        self, salesforce: Records, draw: random.Random, *, end: int, days: float, messy: bool,
        contacts_each: int | None,
    ) -> None:  # fmt: skip
        super().__init__(draw, end=end, days=days, messy=messy)
        self.salesforce = salesforce
        self.each = contacts_each
        self.gone: list[str] = []  # inactive users
        self.queue = ""

    def users(self, count: int) -> None:
        for number in range(max(2, count)):
            first, last = FIRST[number % len(FIRST)], LAST[number % len(LAST)]
            address = f"{first}.{last}@{OWN_DOMAIN}".lower() if number < 19 else f"rep{number}@{OWN_DOMAIN}"
            left = self.messy and number % 5 == 4
            user = self.salesforce.user(address, first, last, active=not left)
            (self.gone.append(user) if left else self.own.append((user, address)))
            self.note(user, "users", "inactive" if left else "")
        if self.messy:
            self.queue = self.salesforce.queue("Inbound calls")
            self.note(self.queue, "queues", "")

    def accounts(self, count: int) -> None:
        for number in range(count):
            alpha, omega = self.draw.choice(ALPHA), self.draw.choice(OMEGA)
            domain: str | None = f"{alpha}-{omega}-{number}.{self.draw.choice(SUFFIXES)}"
            website = self.draw.choice(WEBSITES).format(domain)
            nature = ""
            if self.odd(0.03):
                domain, website, nature = None, "", "no_website"
            elif self.odd(0.02):
                domain, website, nature = None, "n/a", "placeholder_website"
            values = {"Name": f"{alpha} {omega} {number}".title(), "Website": website or None, "Type": "Prospect"}
            account = self.salesforce.put("Account", values, modified_at=self.end - self.span)
            self.world.domains[account] = domain
            self.note(account, "accounts", nature)

    def contacts(self, count: int) -> None:
        for number in range(count):
            first, last, account = self.draw.choice(FIRST), self.draw.choice(LAST), self._one("accounts")
            address, nature = self.address(first, last, number, self.world.domains[account])
            employer = None if self.odd(0.03) else account
            values = {
                "FirstName": first, "LastName": last, "Email": address, "Title": self.draw.choice(TITLES),
                "Department": self.draw.choice(("Purchasing", "Operations", None)), "AccountId": employer,
                "Phone": f"+1 555 01{number % 100:02}",
            }  # fmt: skip
            contact = self.salesforce.put("Contact", values, modified_at=self.end - self.span)
            self.world.addresses[contact] = address
            if employer:
                self.world.employers[contact] = employer
            self.note(contact, "contacts", nature if employer else nature or "no_account")

    def leads(self, count: int) -> None:
        for number in range(count):
            first, last = self.draw.choice(FIRST), self.draw.choice(LAST)
            domain = f"{self.draw.choice(ALPHA)}-{self.draw.choice(OMEGA)}-lead{number}.com"
            address, nature = self.address(first, last, number, domain)
            values = {
                "FirstName": first, "LastName": last, "Email": address, "Company": domain.split(".")[0].title(),
                "Website": None if self.odd(0.3) else domain, "Title": self.draw.choice(TITLES),
            }  # fmt: skip
            lead = self.salesforce.put("Lead", values, modified_at=self.end - self.span)
            self.world.addresses[lead] = address
            self.note(lead, "leads", nature)

    def calls(self, count: int) -> None:
        for at, modified in self._moments(count):
            nature = self.nature(CALL_NATURES)
            values: dict[str, Any] = {
                "Subject": self.draw.choice(CALL_TITLES), "TaskSubtype": "Call", "Type": "Call", "Status": "Completed",
                "OwnerId": self._owner(nature), "ActivityDate": _day(at), "CompletedDateTime": modified,
                "CallType": self.draw.choice(CALL_TYPES) if self.messy else "Outbound",
                "CallDurationInSeconds": self.draw.randrange(20, 3600) if not self.odd(0.1) else None,
                "CallDisposition": self.draw.choice(DISPOSITIONS) if self.messy else "Connected",
            }  # fmt: skip
            if nature == "open":
                values |= {"Status": "Not Started", "ActivityDate": _day(self.end + DAY_MS), "CompletedDateTime": None}
                values |= {"CallDurationInSeconds": None, "CallDisposition": None}
            call = self._task(values, self._people(nature), at, modified)
            if nature == "archived":
                self.salesforce.archive(call)
            self.note(call, "calls", nature)

    def tasks(self, count: int) -> None:
        """Generate to-dos that are not calls, both done and open."""
        for at, modified in self._moments(count):
            status = self.draw.choice(("Completed", "Not Started", "In Progress"))
            values = {"Subject": "Send the brochure", "Status": status, "OwnerId": self._owner("")}
            self.note(self._task(values, self._people(""), at, modified), "tasks", "")

    def emails(self, count: int) -> None:
        for at, modified in self._moments(count):
            nature = self.nature(EMAIL_NATURES)
            email = self._email(at, modified, nature)
            self.note(email, "emails", nature)

    def lifelike(self, count: int) -> None:
        """Write the rows of real tools, each `count` times, over the last days."""
        contacts = [each for each in self.world.ids["contacts"] if self.world.addresses.get(each)]
        for number in range(count):
            (rep, rep_address), (buyer, colleague, boss) = self.draw.choice(self.own), self.draw.sample(contacts, 3)
            people = {
                "rep": rep, "rep_address": rep_address, "integration": self.salesforce.acting_user, "buyer": buyer,
                "buyer_address": str(self.world.addresses[buyer]), "colleague": colleague, "boss": boss,
                "lead": self._one("leads") if self.world.ids["leads"] else boss,
            }  # fmt: skip
            at = EPOCH + timedelta(milliseconds=self.end - self.span * (number + 1) // (count + 1))
            for tool, row in furnish(self.salesforce, at=at, people=people).items():
                self.note(row, "lifelike", tool)

    def _email(self, at: int, modified: int, nature: str) -> str:
        """Write one email, its relations, and the task that Enhanced Email adds."""
        (owner, ours), (colleague, theirs) = self.draw.sample(self.own, 2)
        people = [] if nature == "internal" else self._people(nature)
        addresses = [self.world.addresses.get(person) for person in people] or [theirs]
        incoming = nature == "" and self.messy and self.draw.random() < 0.35
        sender, receivers = (addresses[0], [ours]) if incoming else (ours, addresses)
        account = self.world.employers.get(people[0]) if people else None
        subject = self.draw.choice(SUBJECTS)
        values: dict[str, Any] = {
            "Subject": subject, "Incoming": incoming, "FromAddress": sender, "MessageDate": at,
            "ToAddress": "; ".join(filter(None, receivers)) or None, "RelatedToId": account,
            "Status": "5" if nature == "draft" else "3", "IsPrivateDraft": nature == "private_draft",
            "IsBounced": nature == "bounced", "TextBody": f"{subject}\n\nInvented.", "IsTracked": not incoming,
            "FromId": people[0] if incoming and people else None if incoming else owner, "CreatedById": owner,
            "MessageIdentifier": f"<{self.draw.getrandbits(64):x}@{OWN_DOMAIN}>",
        }  # fmt: skip
        if not incoming and self.draw.random() < 0.4:
            values |= {"IsOpened": True, "FirstOpenedDate": modified, "LastOpenedDate": modified}
        if nature not in ("no_task", "private_draft"):
            twin = {"Subject": f"Email: {subject}", "TaskSubtype": "Email", "Status": "Completed", "OwnerId": owner}
            values["ActivityId"] = self._task(twin, people, at, modified)
            self.note(values["ActivityId"], "tasks", "email")
        email = self.salesforce.put("EmailMessage", values, created_at=at, modified_at=modified)
        if nature != "no_relation":
            ends = [(owner, ours)], list(zip(people or [colleague], addresses, strict=True))
            self._relate(email, *(reversed(ends) if incoming else ends))
        return email

    def _relate(self, email: str, senders: list[tuple[str, Any]], receivers: list[tuple[str, Any]]) -> None:
        """Relate the sender and the receivers. All receivers except the first get a copy."""
        for person, address in senders[:1]:
            self.salesforce.relate(email, person, RelationType="FromAddress", RelationAddress=address)
        for number, (person, address) in enumerate(receivers + senders[1:]):
            kind = "CcAddress" if number and self.messy else "ToAddress"
            self.salesforce.relate(email, person, RelationType=kind, RelationAddress=address)
        if self.odd(0.1):
            stranger = f"stranger{self.draw.randrange(1000)}@{self.draw.choice(FREE_MAIL)}"
            self.salesforce.relate(email, None, RelationType="CcAddress", RelationAddress=stranger)

    def _task(self, values: dict[str, Any], people: list[str], at: int, modified: int) -> str:
        fields = {**values, "WhoId": people[0] if people else None}
        task = self.salesforce.put("Task", fields, created_at=at, modified_at=modified)
        for person in people[1:]:
            self.salesforce.relate(task, person)
        return task

    def _people(self, nature: str) -> list[str]:
        """Draw contacts, or the one lead that an activity may have."""
        if nature == "no_contact":
            return []
        if nature == "lead" and self.world.ids["leads"]:
            return [self._one("leads")]
        count = self.each or self.draw.choice((1, 1, 1, 2, 3))
        known = self.world.ids["contacts.no_account"] if nature == "no_account" else []
        known = known or self.world.ids["contacts"]
        return self.draw.sample(known, min(count, len(known)))

    def _moments(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield each row's time and modification time, ascending.

        One row in fifty shares the second of a bulk edit.
        """
        bulk = self.end - self.span // 10
        for number in range(count):
            at = self.end - self.span + self.span * number // max(1, count)
            modified = at + (self.draw.randrange(0, 600_000) if self.messy else 0)
            if self.messy and number % 50 == 0 and at < bulk:
                modified = bulk
            yield at, min(modified, self.end)

    def _owner(self, nature: str) -> str:
        if nature == "queue":
            return self.queue
        if nature == "left_owner" and self.gone:
            return self.draw.choice(self.gone)
        return self.draw.choice(self.own)[0]

    def _one(self, kind: str) -> str:
        return self.draw.choice(self.world.ids[kind])


def _day(ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=ms)).astimezone(UTC).date().isoformat()
