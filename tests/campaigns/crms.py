"""Changes in the CRMs while syncd is killed, and the activities that Recotap must receive.

work     between two passes: new records, late commits, edits
meddle   before a response: edits in mid-page, sessions that expire, locators that die
faults   failed requests
poison   requests that fail because of a record, a page's size or a span of time, for some turns
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from syncd.activity import Kind
from syncd.sandbox import Fault
from syncd.sandbox.standin.server import StandIn
from tests.campaigns.poison import Meets, Poison, Poisons, above, named, within
from tests.campaigns.shapes import ORDINARY, hubspot_calls, hubspot_emails
from tests.world import OWN, THEIRS, World

RECENT = 300  # newest records of which some are edited in mid-page, because a window still contains them
MEDDLED = 20  # of them at a time, so that at least one is on the next page
RARE = 0.08  # share of HubSpot's records with another contact
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

    crm = ""  # hubspot or salesforce
    name = ""  # of the source, with which externalActivityIds begin

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
        self.poisons = Poisons(stand_in, self.crm, seed=seed, silent_s=DEADLINE_S + 0.5)

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

    crm = name = "hubspot"
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


__all__ = ["DEADLINE_S", "WORDS", "Crm", "Expected", "Portal"]
