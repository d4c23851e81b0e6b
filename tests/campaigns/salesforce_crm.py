"""A Salesforce that changes while syncd is killed, and the activities that Recotap must receive. See crms.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from tests.campaigns.crms import MEDDLED, RECENT, SPREAD, Crm, Expected
from tests.campaigns.poison import Meets, above, shown, within
from tests.campaigns.shapes import salesforce_calls, salesforce_email_tasks
from tests.orgs import OrgWorld
from tests.world import OWN, THEIRS

PAGE = 40  # rows per page of Salesforce, so that a window has many pages
CROWD = 60  # calls in one second, more than a page
DEFAULT_OWNER = f"bram.fennbrook@{OWN}"
EMAIL_TASK: Mapping[str, Any] = {
    "TaskSubtype": "Email",
    "CallType": None,
    "CallDisposition": None,
    "CallDurationInSeconds": None,
}
TWIN_LATER_S = 0.5  # so that no pass sees an email's task before its message


@dataclass
class Account:
    """A company of the other side, and its people."""

    crm_id: str
    domain: str
    name: str
    people: dict[str, str] = field(default_factory=dict)  # id -> address


class Org(Crm):
    """A Salesforce with small pages, long transactions, and sessions and locators that end in mid-page."""

    crm = name = "salesforce"
    LATE_S = 240.0  # longest transaction, which together with the 20 s of `ago` is within the overlap
    OVERLAP = "5m"
    CROWDED = 0.3  # share of the turns with a crowd

    def __init__(self, world: OrgWorld, *, seed: int) -> None:
        super().__init__(world, world.org, seed=seed)
        self.world, self.org = world, world.org
        world.configure("sources.salesforce", overlap=self.OVERLAP)
        world.configure("rules", own_domains=[OWN], default_owner_email=DEFAULT_OWNER)
        self.org.set(page_size=PAGE, daily_limit=0)
        before = self.now() - timedelta(days=200)
        website = {"Name": "Cinder Gears", "Website": "cinder-gears.de"}
        other = self.org.put("Account", website, modified_at=before)
        self.accounts = [
            Account(world.account, THEIRS, "Amber Bolts"),
            Account(other, "cinder-gears.de", "Cinder Gears"),
        ]
        for account in self.accounts:
            for number in range(8):
                address = f"person{number}.aldermoor@{account.domain}"
                crm_id = world.contact_of(f"person{number}.aldermoor", account=account.crm_id, Email=address)
                account.people[crm_id] = address
        lead = {"LastName": "Gallowmead", "Company": "Dusk Pumps", "Website": "dusk-pumps.fr"}
        self.lead = self.org.put("Lead", {**lead, "Email": "oda@dusk-pumps.fr"}, modified_at=before)
        self.users = {world.rep: f"cleo.hollisgrave@{OWN}", world.colleague: f"dario.dunmere@{OWN}"}
        self.owners = {
            **self.users,
            self.org.queue("Inside sales", f"inside@{OWN}"): f"inside@{OWN}",
            self.org.queue("Night shift"): DEFAULT_OWNER,
        }
        self.case = self.org.put("Case", {"Subject": "It does not work"}, modified_at=before)
        self._new_session = False  # no request has used it yet
        self.planned: list[tuple[str, Callable[[datetime, float], Expected], dict[str, Any]]] = []
        path = "/services/data/"
        self.faults = [
            self.org.faults.add("sf_unavailable", match=path, probability=0.015, count=None),
            self.org.faults.add("sf_406", match=path, probability=0.01, count=None),
            self.org.faults.add("reset", match=path, probability=0.01, count=None),
            self.org.faults.add("cut", match=path, probability=0.01, count=None),
        ]
        self.org.on_request = self.meddle

    def put(self, each: int) -> None:
        draw = self.random
        for number in range(each):
            title = self.title("Deal", number)
            if draw.random() < 0.6:
                self._call(title, ago=self.ago())
            elif draw.random() < 0.7:
                self._mail(title)
            else:
                self._mail_task(title)
        if draw.random() < self.CROWDED:
            ago = self.ago()
            for number in range(CROWD):
                self._call(f"Crowd {len(self.records)}.{number}", ago=ago, late_by=0.0)
            self.did["crowds in one second"] += 1
        self._close()
        self._distract()

    def meets(self, what: str, crm_id: str, at: datetime) -> Meets:
        if what == "page":
            return above(self.random.randint(15, PAGE - 5), "query", "more")
        if what == "span":
            return within(at.replace(microsecond=0), at + SPREAD, "query", "more")
        return shown(crm_id, most=4)

    def change(self, type_name: str, crm_id: str, title: str, *, late_by: float) -> None:
        self.org.edit(type_name, crm_id, late_by=late_by, Subject=title)

    def meddle(self, _: int, kind: str) -> None:
        with self.lock:
            # A new session that is refused at once has not expired, and syncd may exit with 77 then.
            fresh, self._new_session = self._new_session, kind == "token"
            if kind not in ("query", "more"):
                return
            chance = self.random.random()
            if chance < 0.05 and not fresh:
                self.org.expire_sessions()
                self.did["sessions expired" + " in mid-page" * (kind == "more")] += 1
            elif kind == "more" and chance < 0.1:
                self.org.kill_locators()
                self.did["locators killed"] += 1
            elif kind == "more" and chance < 0.25:
                self.edit(MEDDLED, of=RECENT)
                self.did["edits in mid-page"] += MEDDLED

    def happened(self) -> datetime:
        return super().happened().replace(microsecond=0)  # Salesforce's stamps are whole seconds

    def _late_by(self) -> float:
        draw = self.random
        if self.gap_s:
            return 0.0
        return draw.choice((0.0, 0.0, draw.uniform(1, 10), draw.uniform(0, 60), draw.uniform(0, self.LATE_S)))

    def _call(self, title: str, *, ago: timedelta, late_by: float | None = None) -> None:
        """Put a call of one to five people. Some have only a day, and some are planned and closed later."""
        draw, now = self.random, self.now()
        late_by = self._late_by() if late_by is None else late_by
        account = draw.choice(self.accounts)
        who, others = draw.choice(list(account.people)), []
        if draw.random() < 0.4:
            everybody = {crm_id for each in self.accounts for crm_id in each.people} - {who}
            others = draw.sample(sorted(everybody), draw.randint(1, 4))
        domain, name = account.domain, account.name
        if draw.random() < 0.1:
            who, others, domain, name = self.lead, [], "dusk-pumps.fr", "Dusk Pumps"
        owner, address = draw.choice(list(self.owners.items()))
        happened, seconds = self.happened(), draw.randrange(30, 3600)
        completed = happened + timedelta(seconds=seconds)
        # The day of a call that was logged afterwards, or when a task is due, which says nothing.
        day = draw.choice((None, *(completed.date() + timedelta(days=days) for days in (0, 0, -5, 30))))
        noon = day is not None and day < completed.date()
        at = datetime.combine(day, time(12), UTC) if noon and day else happened
        call_type = draw.choice(("Inbound", "Outbound", None) * 3 + ("Internal",))
        disposition = draw.choice(("Connected", "Left voicemail"))
        addresses = {self.lead: "oda@dusk-pumps.fr", **self.accounts[0].people, **self.accounts[1].people}
        people = frozenset(addresses[each] for each in (who, *others))
        sender = {"Inbound": addresses[who], "Outbound": address}.get(call_type or "")
        said = {
            "activityType": "call", "ownerEmail": address, "domain": domain, "accountName": name,
            # An outsider took part, whatever the type says.
            "direction": call_type.lower() if call_type in ("Inbound", "Outbound") else None,
            "durationMinutes": round(seconds / 60, 2),
            "outcome": disposition,
        }  # fmt: skip
        done: dict[str, Any] = {"Status": "Completed", "CompletedDateTime": completed}
        planned = draw.random() < 0.1
        crm_id = self.world.task(
            others=others, ago=ago, late_by=late_by, happened=happened, Subject=title, WhoId=who, OwnerId=owner,
            ActivityDate=day and day.isoformat(), CallType=call_type, CallDisposition=disposition,
            CallDurationInSeconds=seconds, **self._shaped(salesforce_calls()),
            **({"Status": "Not Started", "CompletedDateTime": None} if planned else done),
        )  # fmt: skip

        def expected(modified_at: datetime, late_by: float) -> Expected:
            visible_at = max(now, self.now()) + timedelta(seconds=late_by)
            return Expected(title, people, at, sender, said, modified_at, visible_at)

        if planned:
            self.planned.append((crm_id, expected, done))
        else:
            self.expect("call", "Task", crm_id, expected(now - ago, late_by))

    def _close(self) -> None:
        """Close half of the planned calls, which makes them activities."""
        self.random.shuffle(self.planned)
        for _ in range((len(self.planned) + 1) // 2):
            crm_id, expected, done = self.planned.pop()
            late_by = self._late_by()
            self.org.edit("Task", crm_id, late_by=late_by, **done)
            self.expect("call", "Task", crm_id, expected(self.now(), late_by))
            self.did["planned calls closed"] += 1

    def _mail(self, title: str) -> None:
        """Put an email to or from one to three people of a company, or to an unknown address."""
        draw, now, ago, late_by = self.random, self.now(), self.ago(), self._late_by()
        account, happened = draw.choice(self.accounts), self.happened()
        some = draw.sample(list(account.people), draw.randint(1, 3))
        addresses = [account.people[each] for each in some]
        user, owner = draw.choice(list(self.users.items()))
        shape = draw.choice(("out", "out", "in", "shared", "header", "captured", "case", "twin"))
        related: list[tuple[str, str]] = [(each, draw.choice(("ToAddress", "CcAddress"))) for each in some]
        fields: dict[str, Any] = {"FromId": user, "FromAddress": owner, "ToAddress": "; ".join(addresses)}
        if shape == "header":
            related, addresses = [], [f"guest{draw.randrange(100)}@{account.domain}"]
            fields["ToAddress"] = f"'{addresses[0]}' \u200bdario.dunmere@{OWN}."
        elif shape in ("in", "shared", "captured", "case"):
            related[0] = (some[0], "FromAddress")
            fields = {"Incoming": True, "FromId": None, "FromAddress": addresses[0], "ToAddress": owner}
            if shape == "in":
                related.append((user, "ToAddress"))
            else:
                owner = f"integration@{OWN}"  # its creator
        if shape == "captured":
            fields["Incoming"] = False  # the field's default, which some tools leave
        elif shape == "case":
            fields["ParentId"] = self.case
        elif shape == "twin":  # the task of Enhanced Email, which is committed with the message
            fields["ActivityId"] = self.world.task(
                Subject=f"Email: {title}", WhoId=some[0], OwnerId=user, happened=happened, ago=ago,
                late_by=late_by + TWIN_LATER_S, **EMAIL_TASK,
            )  # fmt: skip
        self.did[f"emails {shape}"] += 1
        about = shape == "header" or draw.random() < 0.5
        crm_id = self.world.mail(
            to=(), ago=ago, late_by=late_by, happened=happened, Subject=title, MessageDate=happened,
            RelatedToId=account.crm_id if about else None, **fields,
        )  # fmt: skip
        for person, role in related:
            self.org.relate(crm_id, person, RelationType=role)
        said = {
            "activityType": "email", "ownerEmail": owner, "domain": account.domain, "accountName": account.name,
        }  # fmt: skip
        self.expect("email", "EmailMessage", crm_id, Expected(
            title, frozenset(addresses), happened, fields["FromAddress"], said, now - ago,
            now + timedelta(seconds=late_by), "automated" if shape == "case" else "",
        ))  # fmt: skip

    def _mail_task(self, title: str) -> None:
        """Put an email as a tool logs it that knows no EmailMessage: a task, which does not tell who sent it."""
        draw, now, ago, late_by = self.random, self.now(), self.ago(), self._late_by()
        account, happened = draw.choice(self.accounts), self.happened()
        who, (user, owner) = draw.choice(list(account.people)), draw.choice(list(self.users.items()))
        crm_id = self.world.task(
            ago=ago, late_by=late_by, happened=happened, Subject=title, WhoId=who, OwnerId=user,
            **{**EMAIL_TASK, **self._shaped(salesforce_email_tasks())},
        )  # fmt: skip
        said = {
            "activityType": "email", "ownerEmail": owner, "domain": account.domain, "accountName": account.name,
        }  # fmt: skip
        people, visible_at = frozenset({account.people[who]}), now + timedelta(seconds=late_by)
        self.expect("email", "Task", crm_id, Expected(title, people, happened, None, said, now - ago, visible_at))

    def _shaped(self, shapes: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        """Draw the fields of one of the shapes."""
        what = self.random.choice(list(shapes))
        self.did[f"tasks {what}"] += 1
        return shapes[what]

    def _distract(self) -> None:
        """Put records that are neither calls nor emails: a draft, a to-do, and a list email."""
        self.world.mail(Status="5", ago=self.ago())
        self.world.task(TaskSubtype="Task", ago=self.ago())
        self.world.task(TaskSubtype="ListEmail", ago=self.ago())
        self.did["drafts, to-dos and list emails"] += 3


__all__ = ["Org"]
