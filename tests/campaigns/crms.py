"""Changes in the CRMs while syncd is killed, and the activities that Recotap must receive.

work     between two passes: new records, late commits, edits
meddle   before a response: edits in mid-page, sessions that expire, locators that die
faults   failed requests
poison   requests that fail because of a record, a page's size or a span of time, for some turns
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any

from syncd.activity import Kind
from syncd.sandbox import Fault
from syncd.sandbox.standin.server import StandIn
from tests.campaigns.poison import Meets, Poison, Poisons, above, named, shown, within
from tests.campaigns.shapes import ORDINARY, hubspot_calls, hubspot_emails
from tests.orgs import OrgWorld
from tests.world import OWN, THEIRS, World

RECENT = 300  # newest records of which some are edited in mid-page, because a window still contains them
MEDDLED = 20  # of them at a time, so that at least one is on the next page
PAGE = 40  # rows per page of Salesforce, so that a window has many pages
RARE = 0.08  # share of HubSpot's records with another contact
CROWD = 60  # calls in one second, more than a page
DEFAULT_OWNER = f"bram.fennbrook@{OWN}"
DEADLINE_S = 2  # of a request while a campaign has poisons, short because some requests get no response
LIVES = (2, 6)  # turns of a poison
SPREAD = timedelta(seconds=1)  # of a poisoned span: a second and its neighbours
WORDS = ("DROP TABLE deals", "UNION SELECT 1")  # in some titles: a firewall before Recotap may refuse them
WORDY = 0.025  # share of the titles
CONTACT = "kaya.ivorstone"
TITLE_PROPERTIES = {"call": "hs_call_title", "email": "hs_email_subject"}
TITLES = {"call": "callTitle", "email": "subject"}


@dataclass
class Expected:
    """The activity that Recotap must receive once for one record."""

    title: str
    people: frozenset[str]  # addresses of its contacts
    happened: datetime
    sender: str | None  # address of `from`
    said: Mapping[str, Any]  # other keys of the payload
    modified_at: datetime
    visible_at: datetime  # when its transaction commits or its index shows it
    excluded: str = ""  # the reason: a row of the ledger, but nothing for Recotap
    behind: bool = False  # it became visible after the watermark had passed it

    def differences(self, payload: Mapping[str, Any]) -> list[str]:
        """Return the keys of a payload with other values. An edit keeps the first words of a title."""
        kind = payload["activityType"]
        title = payload.get(TITLES[kind], "")
        people = [person["email"] for person in payload["contacts"]]
        wrong = [] if title.split(", edited ")[0] == self.title else [TITLES[kind]]
        wrong += [] if len(people) == len(set(people)) and set(people) == self.people else ["contacts"]
        wrong += [] if payload.get("from", {}).get("email") == self.sender else ["from"]
        wrong += [] if datetime.fromisoformat(payload["occurredAt"]) == self.happened else ["occurredAt"]
        return wrong + [key for key, value in self.said.items() if payload.get(key) != value]


class Crm:
    """One CRM and its records. `meddle` runs in the stand-in's threads."""

    name = ""

    def __init__(self, world: World, stand_in: StandIn, *, seed: int) -> None:
        self.stand_in = stand_in
        self.random = Random(f"{self.name} {seed}")
        self.now = world.now
        self.expected: dict[str, Expected] = {}  # by externalActivityId
        self.excluded: dict[str, Expected] = {}
        self.records: list[tuple[str, str, str]] = []  # type, id and title of the records that may be edited
        self.did: Counter[str] = Counter()
        self.gap_s = 0.0
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.poisons = Poisons(stand_in, self.name, seed=seed, silent_s=DEADLINE_S + 0.5)

    def work(self, each: int, *, gap_s: float = 0.0) -> None:
        """Put `each` new records and edit some old ones, all within the last `gap_s` seconds without a pass."""
        with self.lock:
            self.gap_s = gap_s
            self.put(each)
            self.edit(each // 4)

    def put(self, each: int) -> None:
        raise NotImplementedError

    def poison(self, turn: int, *, chance: float) -> None:
        """Heal the poisons whose time has come, and put each kind among the newest records by `chance`."""
        self.poisons.heal(turn)
        newest = list(self.expected.items())[-RECENT:]
        for what in ("record", "page", "span"):
            if self.random.random() < chance:
                name, record = self.random.choice(newest)
                meets = self.meets(what, name.rpartition("-")[2], record.modified_at)
                self.poisons.add(Poison(what, meets, turn + self.random.randint(*LIVES)))

    def meets(self, what: str, crm_id: str, at: datetime) -> Meets:
        """Return what a poison meets: a record, or one that many belong to, a large page, or a span around `at`."""
        raise NotImplementedError

    def edit(self, count: int, *, of: int | None = None) -> None:
        """Edit some records, or some of the newest `of`. Some edits are late too."""
        among = self.records[-of:] if of else self.records
        for type_name, crm_id, title in self.random.sample(among, min(len(among), count)):
            edited = f"{title}, edited {self.random.randrange(1000)}"
            self.change(type_name, crm_id, edited, late_by=self.random.uniform(0, 5))
            self.did["edits"] += 1

    def change(self, type_name: str, crm_id: str, title: str, *, late_by: float) -> None:
        raise NotImplementedError

    def expect(self, kind: str, type_name: str, crm_id: str, expected: Expected) -> None:
        kept = self.excluded if expected.excluded else self.expected
        kept[f"{self.name}-{kind}-{crm_id}"] = expected
        self.records.append((type_name, crm_id, expected.title))
        self.did[f"{kind}s put" if not expected.excluded else f"excluded as {expected.excluded}"] += 1
        self.did["late"] += expected.visible_at > self.now()

    def look(self, watermarks: Sequence[datetime]) -> None:
        """Mark the records that the watermark passed before they were visible."""
        if watermarks:
            now, passed = self.now(), max(watermarks)
            for each in (*self.expected.values(), *self.excluded.values()):
                each.behind = each.behind or (each.modified_at <= passed and now < each.visible_at)

    def happened(self) -> datetime:
        """Draw a time long ago, so that no record has to settle."""
        return self.now() - timedelta(days=self.random.uniform(1, 30))

    def title(self, name: str, number: int) -> str:
        """Return a title of its own. Some hold words that a firewall may refuse."""
        words = f" {self.random.choice(WORDS)}" if self.random.random() < WORDY else ""
        self.did["titles with suspicious words"] += bool(words)
        return f"{name} {len(self.records)}.{number}{words}"

    def ago(self) -> timedelta:
        """Draw the seconds since a modification: a few, because a window ends there.

        After a gap it is anywhere in the gap, where the overlap of the next window would not find it again.
        """
        if self.gap_s:
            return timedelta(seconds=self.random.uniform(0, self.gap_s))
        return timedelta(seconds=self.random.choice((0.0, 0.0, self.random.uniform(0, 20))))


class Portal(Crm):
    """A HubSpot with a lagging index and late associations."""

    name = "hubspot"
    LATE_S = 40.0  # longest lag, which together with the 20 s of `ago` is within the overlap
    OVERLAP = "90s"  # short, so that much depends on the watermark

    def __init__(self, world: World, *, seed: int) -> None:
        super().__init__(world, world.hubspot, seed=seed)
        self.world, self.portal = world, world.hubspot
        world.configure("sources.hubspot", overlap=self.OVERLAP)
        self.rare = world.person("quill.sedgemoor")
        self.faults = [
            self.portal.faults.add("unavailable", match="/crm/", probability=0.02, count=None),
            self.portal.faults.add("reset", match="/crm/", probability=0.01, count=None),
        ]
        self.portal.on_request = self.meddle

    def put(self, each: int) -> None:
        for number in range(each):
            self._one(self.title("Talk", number))

    def meets(self, what: str, crm_id: str, at: datetime) -> Meets:
        if what == "page":
            return above(self.random.randint(10, 60), "search")
        if what == "span":
            return within(at, at + SPREAD, "search")
        return named(self.random.choice((crm_id, self.rare)))

    def change(self, type_name: str, crm_id: str, title: str, *, late_by: float) -> None:
        properties: dict[str, Any] = {TITLE_PROPERTIES["call" if type_name == "calls" else "email"]: title}
        self.portal.edit(type_name, crm_id, late_by=late_by, **properties)

    def meddle(self, _: int, kind: str) -> None:
        with self.lock:
            if kind == "search" and self.random.random() < 0.1:
                self.edit(MEDDLED, of=RECENT)
                self.did["edits in mid-page"] += MEDDLED

    def happened(self) -> datetime:
        at = super().happened()  # HubSpot's times are whole milliseconds
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def _one(self, title: str) -> None:
        draw, now, owner = self.random, self.now(), f"ada.eschenfeld@{OWN}"
        ago, happened = self.ago(), self.happened()
        late_by = 0.0 if self.gap_s else draw.choice((0.0, 0.0, 1.0, 5.0, draw.uniform(0, self.LATE_S)))
        linked = draw.choice((0.0,) * 9 + (draw.uniform(0, self.LATE_S),))
        crm_id, name = (self.rare, "quill.sedgemoor") if draw.random() < RARE else (self.world.contact, CONTACT)
        contact = f"{name}@{THEIRS}"
        kind: Kind = "call" if draw.random() < 0.7 else "email"
        shapes = hubspot_calls(crm_id) if kind == "call" else hubspot_emails(contact, owner)
        what = "ordinary" if draw.random() < ORDINARY else draw.choice(list(shapes))
        shape, put = shapes[what], self.world.call if kind == "call" else self.world.email
        self.did[f"{kind}s {what}"] += 1
        title = f"{shape.prefix}{title}"
        crm_id = put(
            contacts=[crm_id] if shape.is_linked else [], ago=ago, happened=happened, late_by=late_by,
            linked_late_by=0.0 if "hs_email_headers" in shape.values else linked,  # its people make it complete
            **{**shape.values, TITLE_PROPERTIES[kind]: title},
        )  # fmt: skip
        if shape.is_no_row:
            return
        more = {"durationMinutes": 10, "direction": "outbound"} if kind == "call" else {"openCount": 0}
        said = {
            "activityType": kind, "ownerEmail": owner, "domain": THEIRS, "accountName": "Amber Bolts",
            **more, **shape.said,
        }  # fmt: skip
        sender = {"owner": owner, "contact": contact}.get(shape.sender or "")
        visible_at = now + timedelta(seconds=late_by)
        people = frozenset({contact})
        found = Expected(title, people, happened, sender, said, now - ago, visible_at, shape.excluded)
        self.expect(kind, f"{kind}s", crm_id, found)


@dataclass
class Account:
    """A company of the other side, and its people."""

    crm_id: str
    domain: str
    name: str
    people: dict[str, str] = field(default_factory=dict)  # id -> address


class Org(Crm):
    """A Salesforce with small pages, long transactions, and sessions and locators that end in mid-page."""

    name = "salesforce"
    LATE_S = 240.0  # longest transaction, which together with the 20 s of `ago` is within the overlap
    OVERLAP = "5m"

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
            else:
                self._mail(title)
        if draw.random() < 0.3:
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
        day = draw.choice((None, completed.date(), completed.date() - timedelta(days=5)))
        noon = day is not None and day != completed.date()
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
            CallDurationInSeconds=seconds,
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
        shape = draw.choice(("out", "out", "in", "shared", "header"))
        related: list[tuple[str, str]] = [(each, draw.choice(("ToAddress", "CcAddress"))) for each in some]
        fields: dict[str, Any] = {"FromId": user, "FromAddress": owner, "ToAddress": "; ".join(addresses)}
        if shape == "header":
            related, addresses = [], [f"guest{draw.randrange(100)}@{account.domain}"]
            fields["ToAddress"] = f"{addresses[0]}; dario.dunmere@{OWN}"
        elif shape in ("in", "shared"):
            related[0] = (some[0], "FromAddress")
            fields = {"Incoming": True, "FromId": None, "FromAddress": addresses[0], "ToAddress": owner}
            if shape == "in":
                related.append((user, "ToAddress"))
            else:
                owner = f"integration@{OWN}"  # its creator
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
        visible_at = now + timedelta(seconds=late_by)
        self.expect("email", "EmailMessage", crm_id, Expected(
            title, frozenset(addresses), happened, fields["FromAddress"], said, now - ago, visible_at
        ))  # fmt: skip

    def _distract(self) -> None:
        """Put records that are neither calls nor emails: a draft, a to-do, and an email's twin task."""
        self.world.mail(Status="5", ago=self.ago())
        self.world.task(TaskSubtype="Task", ago=self.ago())
        self.world.task(TaskSubtype="Email", ago=self.ago())
        self.did["drafts, to-dos and twins"] += 3


__all__ = ["DEADLINE_S", "WORDS", "Crm", "Expected", "Org", "Portal"]
