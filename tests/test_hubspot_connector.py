"""The HubSpot connector over real HTTP, against the sandbox's portal."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from connectors import hubspot
from connectors.hubspot import HubSpot
from connectors.hubspot.related import Cache
from syncd.activity import Owner
from syncd.connector import Context, Page, Ref, Window
from syncd.errors import Malformed, Stopped, Unauthorized, Unavailable
from syncd.isolation import PROBES
from syncd.sandbox import SCOPES, TOKEN, Sandbox, generate

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LEFT_VOICEMAIL = "b2cf5968-551e-4856-9783-52b3da59a7d0"
CANARIES = ("ada@northmill.example", "Very private subject", "555 0100")


class Store:
    """The engine's small memory, with times."""

    def __init__(self, now) -> None:
        self.kept: dict[str, tuple[datetime, str]] = {}
        self.now = now

    def get(self, key: str, *, max_age: timedelta | None = None) -> Any:
        at, text = self.kept.get(key, (None, ""))
        return None if at is None or (max_age is not None and self.now() - at > max_age) else json.loads(text)

    def put(self, key: str, value: Any) -> None:
        self.kept[key] = (self.now(), json.dumps(value))


class Rig:
    """A sandbox, a clock that moves when somebody sleeps, and as many passes as a test wants."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.portal = box.hubspot
        self.store = Store(self.now)
        self.slept: list[float] = []
        self.stop_after: int | None = None  # sleeps
        self.stopping = False
        self.settings: dict[str, Any] = {}
        self.passes: list[HubSpot] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.box.clock.offset_s)

    def sleep(self, seconds: float) -> None:
        if self.stopping:
            raise Stopped("stopped")
        if not seconds:  # asked before each request: the pass goes on
            return
        self.slept.append(seconds)
        self.box.clock.advance(seconds)
        if self.stop_after is not None and len(self.slept) > self.stop_after:
            raise Stopped("stopped")

    def connect(self, **settings: Any) -> HubSpot:
        """Begin a pass, as a new process would."""
        table = {
            "connector": "hubspot",
            "start": LONG_AGO,
            "access_token": "env:HUBSPOT_TOKEN",
            "base_url": self.box.hubspot_url,
            "search_per_second": 0,
            "timeout": "5s",
        }
        config = HubSpot.Config(**{**table, **self.settings, **settings})
        connector = HubSpot(config, Context("hubspot", self.store, self.now, self.sleep))  # type: ignore[arg-type]
        self.passes.append(connector)
        return connector

    def asked(self) -> dict[str, int]:
        """Return the requests since the last time this was asked, by kind."""
        asked = dict(self.portal.requests)
        self.portal.requests.clear()
        return asked

    def company(self, **properties: Any) -> str:
        return self.portal.put("companies", {"name": "Northmill", "domain": "northmill.example", **properties})

    def contact(self, **properties: Any) -> str:
        return self.portal.put("contacts", {"email": "ada@northmill.example", "firstname": "Ada", **properties})

    def call(self, *contacts: str, at: Any = None, **properties: Any) -> str:
        values = {"hs_call_status": "COMPLETED", "hs_call_title": "Demo", **properties}
        # Four seconds ago: surely before the pass's start, which is up to two seconds early.
        crm_id = self.portal.put("calls", values, modified_at=self.box.clock.ms() - 4_000 if at is None else at)
        for contact in contacts:
            self.portal.associate("calls", crm_id, "contacts", contact)
        return crm_id

    def calls(self, connector: HubSpot | None = None) -> dict[str, Any]:
        """Read all calls in a pass of their own, and return their drafts by id."""
        connector = connector or self.connect()
        return drafts(connector, "calls", connector.fetch("calls", window()))


@pytest.fixture
def rig(monkeypatch) -> Iterator[Rig]:
    monkeypatch.setenv("HUBSPOT_TOKEN", TOKEN)
    with Sandbox(hubspot={"search_per_second": 0, "per_ten_seconds": 0}) as box:
        rig = Rig(box)
        yield rig
        for each in rig.passes:
            each.close()


def everything(refs: Sequence[Ref]) -> set[str]:
    return {ref.crm_id for ref in refs}


def window(since: datetime = LONG_AGO, until: datetime | None = None, needed=everything) -> Window:
    return Window(since, until, needed)


def drafts(connector: HubSpot, stream: str, pages: Iterator[Page]) -> dict[str, Any]:
    return {record.ref.crm_id: connector.normalize(stream, record) for page in pages for record in page.records}


def test_a_thousand_new_calls_cost_thirteen_requests_and_labels(rig):
    generate(rig.portal, calls=1_000, contacts=300, companies=150, messy=False)
    connector = rig.connect()
    connector.identity()
    (page,) = connector.fetch("calls", window())
    assert len(page.records) == len(page.refs) == 1_000
    (nothing,) = connector.fetch("emails", window())
    assert (nothing.refs, nothing.records) == ((), ())
    asked = rig.asked()
    assert asked.pop("owners") == 2
    assert asked.pop("labels") <= 2
    assert asked["search"] == 7  # six for the calls, one for no emails
    assert asked["associations"] == 2
    assert asked["batch"] <= 5  # three of contacts, two of companies
    assert asked["account"] == 1


def test_an_idle_pass_costs_two_searches_in_a_new_process_too(rig):
    rig.call(rig.contact(), hs_call_disposition=LEFT_VOICEMAIL, hubspot_owner_id="7")
    first = rig.connect()
    first.identity()
    list(first.fetch("calls", window()))
    rig.asked()
    second = rig.connect()
    assert second.identity() == "12345678"
    for stream in second.streams:
        list(second.fetch(stream.name, window(needed=lambda refs: ())))
    second.owners()
    assert rig.asked() == {"search": 2}


def test_a_first_pass_over_an_empty_portal_asks_for_no_owners(rig):
    connector = rig.connect()
    list(connector.fetch("calls", window()))
    assert connector.owners() == ()
    assert rig.asked() == {"search": 1}


def test_owners_before_anything_was_read_are_asked_for(rig):
    rig.portal.owner("rep@lantern.example", "Runa", "Dunmere")
    connector = rig.connect()
    assert [owner.email for owner in connector.owners()] == ["rep@lantern.example"]
    assert [owner.email for owner in rig.connect().owners()] == ["rep@lantern.example"]
    assert rig.asked() == {"owners": 2}


def test_searches_are_spaced_and_bodies_short(rig):
    sizes = []
    over = rig.portal.answer
    rig.portal.answer = lambda request: sizes.append(len(request.body)) or over(request)
    generate(rig.portal, calls=1_000, contacts=10, companies=5, messy=False)
    list(rig.connect(search_per_second=4).fetch("calls", window()))
    assert rig.slept
    assert max(rig.slept[:1]) <= 0.25
    assert max(size for size in sizes if size < 3_000) < 1_200


def test_the_portals_own_limits_are_never_met(rig):
    """HubSpot's limits, by a clock that moves only when we sleep: not one 429."""
    rig.portal.set(search_per_second=5, per_ten_seconds=20)
    generate(rig.portal, calls=3_000, contacts=2_500, companies=100, messy=False)
    slept = [0.0]
    rig.portal.clock.now = lambda: datetime.fromtimestamp(4_000_000_000 + sum(slept), UTC)
    connector = rig.connect(search_per_second=4)
    connector._client._monotonic = lambda: sum(slept)
    connector._client._context = replace(connector._client._context, sleep=slept.append)
    assert sum(len(page.records) for page in connector.fetch("calls", window())) == 3_000
    assert {status for *_, status in rig.portal.log} <= {200, 207}


def test_rows_that_show_a_newer_time_than_they_were_sorted_by_hide_none_of_their_neighbours(rig):
    rig.portal.set(fresh_properties=True)
    ids = [rig.call(at=1_772_000_000_000 + number // 3) for number in range(900)]
    for crm_id in ids[195:199] + ids[380:384]:
        rig.portal.edit("calls", crm_id, hs_call_title="Edited", late_by=60)
    seen = {ref.crm_id for page in rig.connect().fetch("calls", window()) for ref in page.refs}
    assert seen >= set(ids) - set(ids[195:199] + ids[380:384])


def test_both_streams_end_at_the_passs_start_by_hubspots_clock(rig):
    rig.box.clock.advance(3_600)  # HubSpot's clock
    before = rig.now()
    connector = rig.connect()
    connector._client._context = Context("hubspot", rig.store, lambda: LONG_AGO, rig.sleep)  # ours is years behind
    (calls,) = connector.fetch("calls", window())
    (emails,) = connector.fetch("emails", window())
    assert calls.complete_until == emails.complete_until
    assert before - timedelta(seconds=2) <= calls.complete_until <= rig.now()


def test_what_is_modified_after_the_passs_start_is_left_to_the_next(rig):
    early = rig.call()
    late = rig.call(at=rig.box.clock.ms() + 60_000)
    assert set(rig.calls()) == {early}
    rig.box.clock.advance(120)
    assert set(rig.calls()) == {early, late}


def test_a_given_end_is_kept_and_inclusive(rig):
    first, second, _ = (rig.call(at=1_772_000_000_000 + ms) for ms in (0, 500, 501))
    since, until = (datetime.fromtimestamp(at, UTC) for at in (1_772_000_000, 1_772_000_000.5))
    (page,) = rig.connect().fetch("calls", window(since, until))
    assert ({ref.crm_id for ref in page.refs}, page.complete_until) == ({first, second}, until)


def test_known_records_cost_no_further_request(rig):
    crm_id = rig.call(rig.contact())
    rig.asked()
    (page,) = rig.connect().fetch("calls", window(needed=lambda refs: ()))
    assert [ref.crm_id for ref in page.refs] == [crm_id]
    assert page.records == ()
    assert rig.asked() == {"search": 1}


def test_records_edited_while_we_read_hide_none_of_their_neighbours(rig):
    ids = [rig.call(at=1_772_000_000_000 + number // 3) for number in range(900)]
    edited = iter(ids)

    def edit(index: int, kind: str) -> None:
        if kind == "search":
            for _ in range(25):
                rig.portal.edit("calls", next(edited), hs_call_title="Edited")

    rig.portal.on_request = edit
    seen = {ref.crm_id for page in rig.connect().fetch("calls", window()) for ref in page.refs}
    rig.portal.on_request = None
    untouched = set(edited)
    assert untouched
    assert untouched <= seen
    rig.box.clock.advance(10)
    again = {ref.crm_id for page in rig.connect().fetch("calls", window()) for ref in page.refs}
    assert again == set(ids)


def test_pages_hold_a_thousand_and_rise(rig):
    for number in range(2_300):
        rig.call(at=1_772_000_000_000 + number % 1_700)
    pages = list(rig.connect().fetch("calls", window()))
    assert [len(page.records) for page in pages] == [1_000, 1_000, 300]
    times = [ref.modified_at for page in pages for ref in page.refs]
    assert times == sorted(times)


def test_count_counts_beyond_what_one_could_page_through(rig):
    for number in range(12):
        rig.call(at=1_772_000_000_000 + number)
    since, until = (datetime.fromtimestamp(at, UTC) for at in (1_772_000_000.003, 1_772_000_000.007))
    assert rig.connect().count("calls", window(since, until)) == 5
    assert rig.connect().count("calls", window()) == 12
    rig.call(at=rig.portal.clock.ms() + 3_600_000)
    assert rig.connect().count("calls", window()) == 12, "an open window ends now, by HubSpot's clock"
    rig.portal.faults.add("answer", match="search", status=200, body={"results": []})
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        rig.connect().count("calls", window())


def test_a_call_comes_with_contacts_companies_owner_and_labels(rig):
    owner = rig.portal.owner("rep@lantern.example", "Runa", "Dunmere")
    employer, other = rig.company(), rig.company(domain="other.example")
    rig.portal.property("contacts", "area")
    contact = rig.contact(associatedcompanyid=employer, hs_seniority="vp", area="Purchasing")
    crm_id = rig.call(contact, hs_call_disposition=LEFT_VOICEMAIL, hubspot_owner_id=owner)
    rig.portal.associate("calls", crm_id, "companies", other)
    draft = rig.calls(rig.connect(department_property="area"))[crm_id]
    (person,) = draft.contacts
    assert (person.crm_id, person.seniority, person.department) == (contact, "VP", "Purchasing")
    assert person.company.crm_id == employer
    assert [company.domains for company in draft.companies] == [("other.example",)]
    assert draft.owner == Owner(owner, "rep@lantern.example", "Runa Dunmere")
    assert draft.outcome == "Left voicemail"


def test_a_call_without_contacts_has_its_callee_as_a_stand_in(rig):
    contact = rig.contact()
    crm_id = rig.call(hs_call_callee_object_id=contact, hs_call_callee_object_type_id="0-1")
    company = rig.call(hs_call_callee_object_id=rig.company(), hs_call_callee_object_type_id="0-2")
    other = rig.call(contact, hs_call_callee_object_id=contact, hs_call_callee_object_type_id="0-1")
    found = rig.calls()
    assert (len(found[other].contacts), found[other].others) == (1, ())
    assert [person.crm_id for person in found[crm_id].others] == [contact]
    assert found[crm_id].contacts == found[company].contacts == found[company].others == ()


@pytest.mark.parametrize("silent", [False, True])
def test_deleted_contacts_are_left_out(rig, silent):
    rig.portal.drop_missing = silent
    gone, here = rig.contact(), rig.contact(email="bram@northmill.example")
    crm_id = rig.call(gone, here)
    answer = rig.portal.answer

    def delete_first(request):  # after the associations were read
        if request.path.endswith("/contacts/batch/read") and "objects" in request.path:
            rig.portal.archive("contacts", gone)
        return answer(request)

    rig.portal.answer = delete_first
    assert [person.crm_id for person in rig.calls()[crm_id].contacts] == [here]


def test_a_merged_contact_is_found_under_its_winner(rig):
    loser, winner = rig.contact(), rig.contact(email="bram@northmill.example")
    crm_id = rig.call(hs_call_callee_object_id=loser, hs_call_callee_object_type_id="0-1")
    rig.portal.merge("contacts", winner, loser)
    assert [person.crm_id for person in rig.calls()[crm_id].others] == [winner]


def test_associations_that_page_are_read_to_the_end(rig):
    rig.portal.association_page = 2
    contacts = [rig.contact(email=f"p{number}@northmill.example") for number in range(5)]
    crm_id, other = rig.call(*contacts), rig.call(contacts[0])
    found = rig.calls()
    assert {person.crm_id for person in found[crm_id].contacts} == set(contacts)
    assert len(found[other].contacts) == 1


def test_associations_that_page_for_ever_are_malformed(rig):
    crm_id = rig.call(rig.contact())
    row = {"from": {"id": crm_id}, "to": [{"toObjectId": 1}], "paging": {"next": {"after": "1"}}}
    rig.portal.faults.add("answer", status=200, match="associations", count=None, body={"results": [row]})
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        rig.calls()


ODD = [None, 7, "x", [], {}, [None], ["x"], {"next": "x"}, {"id": None}]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    ("match", "names"),
    [
        ("/search", ("paging", "total")),
        ("/associations/", ("from", "to", "paging", "errors", "numErrors")),
        ("/owners/", ("paging", "email", "firstName")),
        ("/batch/read", ("id", "properties")),
        ("/crm/properties/", ("options",)),
        ("/account-info/", ("portalId", "timeZone")),
    ],
)
def test_odd_shapes_are_read_around_or_malformed_and_never_a_bug(rig, odd, match, names):
    crm_id = rig.call(rig.contact(hs_seniority="vp"), hubspot_owner_id=rig.portal.owner("a@lantern.example"))
    for name in names:
        rig.store.kept.clear()
        rows = [{"id": crm_id, "from": {"id": crm_id}, "to": [{"toObjectId": 1}], "properties": {}, name: odd}]
        rule = rig.portal.faults.add(
            "answer", status=200, match=match, count=None, body={"results": rows, "total": 1, name: odd}
        )
        connector = rig.connect()
        with suppress(Unavailable):  # of which Malformed is one
            connector.identity()
            drafts(connector, "calls", connector.fetch("calls", window()))
        assert rule.hits
        rig.portal.faults.clear()


def test_many_contacts_of_few_calls_need_not_fit_the_cache(rig):
    contacts = [rig.contact(email=f"p{number}@northmill.example") for number in range(8)]
    crm_id = rig.call(*contacts)
    connector = rig.connect()
    connector._related._contacts = Cache(3)
    assert len(rig.calls(connector)[crm_id].contacts) == 8


def test_a_cache_keeps_what_was_used_last_and_remembers_what_does_not_exist():
    asked: list[str] = []

    def read(ids: Sequence[str]) -> dict[str, str]:
        asked.extend(ids)
        return {each: each.upper() for each in ids if each != "x"}

    cache = Cache[str](3)
    assert cache.fill(["a", "b", "a", "x"], read) == {"a": "A", "b": "B"}
    assert cache.fill(["a", "x"], read) == {"a": "A"}
    cache.fill(["c"], read)
    cache.fill(["b"], read)
    assert asked == ["a", "b", "x", "c", "b"]


def test_owners_that_have_left_are_owners_and_an_active_one_wins(rig):
    for everyone in (True, False):
        rig.portal.archived_owners_only = everyone
        gone = rig.portal.owner("gone@lantern.example", archived=True)
        here = rig.portal.owner("here@lantern.example")
        first, second, third = (
            rig.call(hubspot_owner_id=gone),
            rig.call(hubspot_owner_id=here),
            rig.call(hubspot_owner_id="1"),
        )
        rig.store.kept.clear()
        found = rig.calls()
        assert (found[first].owner.email, found[first].owner.active) == ("gone@lantern.example", False)
        assert (found[second].owner.email, found[second].owner.active) == ("here@lantern.example", True)
        assert found[third].owner == Owner("1", None)


def test_whoever_is_listed_as_both_is_active(rig):
    """As in November 2023, when archived=true returned everybody (airbyte#33524)."""
    owner = rig.portal.owner("back@lantern.example")
    answer = rig.portal.answer

    def everybody(request):
        rig.portal.owners[int(owner)]["archived"] = request.first("archived") == "true"
        return answer(request)

    rig.portal.answer = everybody
    crm_id = rig.call(hubspot_owner_id=owner)
    assert rig.calls()[crm_id].owner.active


def test_owners_page(rig):
    owners = [rig.portal.owner(f"o{number}@lantern.example") for number in range(501)]
    crm_id = rig.call(hubspot_owner_id=owners[-1])
    assert rig.calls()[crm_id].owner.crm_id == owners[-1]
    assert rig.asked()["owners"] == 3


def test_owners_that_page_for_ever_are_malformed(rig):
    rig.call(hubspot_owner_id="1")
    body = {"results": [], "paging": {"next": {"after": "1"}}}
    rig.portal.faults.add("answer", status=200, match="owners", count=None, body=body)
    with pytest.raises(Malformed, check=lambda error: bool(error.hint)):
        rig.calls()


def test_an_owner_that_joined_since_yesterday_is_looked_up_once(rig):
    rig.call(hubspot_owner_id=rig.portal.owner("a@lantern.example"))
    rig.calls()
    late = rig.portal.owner("late@lantern.example")
    first, second = rig.call(hubspot_owner_id=late), rig.call(hubspot_owner_id="999")
    rig.asked()
    found = rig.calls()
    assert found[first].owner.email == "late@lantern.example"
    assert found[second].owner.email is None
    assert rig.asked()["owners"] == 2


def test_owners_are_kept_for_a_day(rig):
    crm_id = rig.call(hubspot_owner_id=rig.portal.owner("a@lantern.example"))
    rig.calls()
    rig.asked()
    rig.calls()
    assert "owners" not in rig.asked()
    rig.box.clock.advance(25 * 3600)
    assert rig.calls()[crm_id].owner.email == "a@lantern.example"
    assert rig.asked()["owners"] == 2


def test_the_portals_own_labels_win(rig):
    rig.portal.dispositions = [{"id": LEFT_VOICEMAIL, "label": "Mailbox"}, {"id": "x", "label": None}, "odd"]
    crm_id, unknown = rig.call(hs_call_disposition=LEFT_VOICEMAIL), rig.call(hs_call_disposition="0000-guid")
    found = rig.calls()
    assert (found[crm_id].outcome, found[unknown].outcome) == ("Mailbox", "0000-guid")
    assert rig.asked()["labels"] == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_dispositions_refused_are_read_from_the_property(rig, status):
    rig.portal.dispositions = [{"id": LEFT_VOICEMAIL, "label": "Mailbox"}]
    rig.portal.faults.add("answer", status=status, body={}, match="/calling/v1/", count=None)
    crm_id = rig.call(hs_call_disposition=LEFT_VOICEMAIL)
    assert rig.calls()[crm_id].outcome == "Mailbox"


def test_a_firewalls_refusal_is_not_the_portals(rig):
    rig.portal.dispositions = [{"id": LEFT_VOICEMAIL, "label": "Mailbox"}]
    rig.portal.faults.add("answer", status=403, body="<html>", match="/calling/v1/")
    crm_id = rig.call(hs_call_disposition=LEFT_VOICEMAIL)
    assert rig.calls()[crm_id].outcome == "Left voicemail"
    assert [path for *_, path, status in rig.portal.log if "/properties/" in path] == []
    assert rig.calls()[crm_id].outcome == "Mailbox"


@pytest.mark.parametrize("bad_day", ["unavailable", "html", "html_200", "reset", "secondly", "hang"])
def test_labels_that_cannot_be_had_hold_nothing_up_and_are_asked_for_again(rig, bad_day):
    for match in ("/calling/v1/", "/crm/properties/"):
        rig.portal.faults.add(bad_day, match=match, count=None, **({"seconds": 3} if bad_day == "hang" else {}))
    contact = rig.contact(hs_seniority="vp")
    first, second = rig.call(contact, hs_call_disposition=LEFT_VOICEMAIL), rig.call(hs_call_disposition="own-guid")
    found = rig.calls(rig.connect(timeout="300ms"))
    assert (found[first].outcome, found[second].outcome) == ("Left voicemail", "own-guid")
    assert found[first].contacts[0].seniority == "vp"
    assert rig.asked()["labels"] == 2, "one try each, once a pass"
    assert not {"dispositions", "seniorities"} & set(rig.store.kept)
    rig.portal.faults.clear()
    rig.portal.dispositions = [{"id": "own-guid", "label": "Booked"}]
    found = rig.calls()
    assert (found[second].outcome, found[first].contacts[0].seniority) == ("Booked", "VP")


def test_labels_that_cannot_be_had_are_those_of_last_week(rig):
    rig.portal.dispositions = [{"id": LEFT_VOICEMAIL, "label": "Mailbox"}]
    crm_id = rig.call(hs_call_disposition=LEFT_VOICEMAIL)
    rig.calls()
    rig.box.clock.advance(7 * 86_400)
    rig.portal.faults.add("answer", status=503, headers={"Retry-After": "90"}, match="/calling/v1/", count=None)
    at = rig.store.kept["dispositions"]
    assert rig.calls()[crm_id].outcome == "Mailbox"
    connector = rig.connect()
    assert drafts(connector, "calls", connector.fetch_ids("calls", [crm_id]))[crm_id].outcome == "Mailbox"
    assert rig.store.kept["dispositions"] == at


def test_a_daily_limit_met_by_labels_is_kept(rig):
    rig.call(hs_call_disposition=LEFT_VOICEMAIL)
    rig.portal.faults.add("daily", match="/calling/v1/")
    with pytest.raises(Unavailable) as raised:
        rig.calls()
    assert raised.value.pause_until is not None


def test_a_portal_that_refuses_all_labels_has_the_documented_ones(rig):
    for path in ("/calling/v1/", "/crm/properties/"):
        rig.portal.faults.add("answer", status=403, body={}, match=path, count=None)
    contact = rig.contact(hs_seniority="vp")
    crm_id = rig.call(contact, hs_call_disposition=LEFT_VOICEMAIL)
    draft = rig.calls()[crm_id]
    assert (draft.outcome, draft.contacts[0].seniority) == ("Left voicemail", "vp")
    rig.asked()
    rig.calls()  # and is not asked again all day
    assert "labels" not in rig.asked()


def test_a_new_disposition_is_looked_up_once(rig):
    rig.call(hs_call_disposition=LEFT_VOICEMAIL)
    rig.calls()
    rig.portal.dispositions = [*rig.portal.dispositions, {"id": "new", "label": "Booked"}]
    first, second = rig.call(hs_call_disposition="new"), rig.call(hs_call_disposition="unheard")
    rig.asked()
    found = rig.calls()
    assert (found[first].outcome, found[second].outcome) == ("Booked", "unheard")
    assert rig.asked()["labels"] == 1


def test_a_look_up_passes_every_cache(rig):
    contact = rig.contact()
    crm_id = rig.call(contact, hubspot_owner_id="7", hs_call_disposition=LEFT_VOICEMAIL)
    connector = rig.connect()
    assert rig.calls(connector)[crm_id].contacts[0].email == "ada@northmill.example"
    rig.portal.edit("contacts", contact, email="new@northmill.example")
    rig.portal.owner("late@lantern.example", id=7)
    rig.portal.dispositions = [{"id": LEFT_VOICEMAIL, "label": "Mailbox"}]
    other = rig.contact(email="bram@northmill.example")
    rig.portal.associate("calls", crm_id, "contacts", other)
    connector = rig.connect()
    draft = drafts(connector, "calls", connector.fetch_ids("calls", [crm_id]))[crm_id]
    assert {person.email for person in draft.contacts} == {"new@northmill.example", "bram@northmill.example"}
    assert draft.owner.email == "late@lantern.example"
    assert draft.outcome == "Mailbox"
    rig.portal.edit("contacts", contact, email="newer@northmill.example")
    rig.asked()
    draft = drafts(connector, "calls", connector.fetch_ids("calls", [crm_id]))[crm_id]
    assert "newer@northmill.example" in {person.email for person in draft.contacts}
    assert not {"owners", "labels"} & set(rig.asked())  # those once a pass


def test_what_was_deleted_or_never_was_is_missing(rig):
    here, archived, deleted = rig.call(), rig.call(), rig.call()
    rig.portal.archive("calls", archived)
    rig.portal.delete("calls", deleted)
    (page,) = rig.connect().fetch_ids("calls", [here, archived, deleted, "1", here])
    assert [record.ref.crm_id for record in page.records] == [here]
    assert set(page.missing) == {archived, deleted, "1"}
    assert page.complete_until is None


PASSING = [
    {"category": "INTERNAL_ERROR", "subCategory": "x.TIMEOUT"},
    {"category": "RATE_LIMITS"},
    {"message": "no category"},
    {"category": None},
    {"category": ["OBJECT_NOT_FOUND"]},
    "odd",
]


@pytest.mark.parametrize("entry", PASSING)
@pytest.mark.parametrize("match", ["/calls/contacts/", "/calls/companies/", "objects/2026-03/contacts", "companies/b"])
def test_an_answer_in_part_is_tried_again(rig, entry, match):
    contact = rig.contact(associatedcompanyid=rig.company())
    crm_id = rig.call(contact)
    body = {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [entry]}
    rule = rig.portal.faults.add("answer", status=207, match=match, body=body)
    (person,) = rig.calls()[crm_id].contacts
    assert (person.crm_id, person.company.domains) == (contact, ("northmill.example",))
    assert (rule.hits, len(rig.slept)) == (1, 1)


def test_an_answer_in_part_three_times_falsifies_nothing(rig):
    crm_id = rig.call(rig.contact())
    found = {"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ["1"]}}
    errors = [found, {"status": "error", "category": "INTERNAL_ERROR", "message": CANARIES[0]}]
    body = {"results": [{"id": crm_id, "properties": {}}], "numErrors": 2, "errors": errors}
    rule = rig.portal.faults.add("answer", status=207, match="batch/read", body=body, count=None)
    connector = rig.connect()
    with pytest.raises(Unavailable, match="HubSpot answered only a part") as raised:
        list(connector.fetch_ids("calls", [crm_id]))
    assert raised.value.hint
    assert (rule.hits, raised.value.pause_until) == (3, None)


@pytest.mark.parametrize(
    "entry",
    [
        {"category": "OBJECT_NOT_FOUND"},
        {"category": "VALIDATION_ERROR"},
        {"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"},
    ],
)
def test_what_an_answer_says_is_not_there_is_absent(rig, entry):
    crm_id = rig.call(rig.contact())
    body = {"results": [], "numErrors": 1, "errors": [entry]}
    rig.portal.faults.add("answer", status=207, match="/calls/contacts/", body=body, count=None)
    assert rig.calls()[crm_id].contacts == ()
    assert rig.slept == []


def refuse(rig: Rig, *bad: str, match: str = "/batch/read") -> None:
    """Refuse every request that names one of the ids, as HubSpot refuses ids that it cannot read."""
    portal: Any = rig.portal
    answer = portal.answer

    def choosy(request):
        named = {str(each.get("id")) for each in json.loads(request.body or b"{}").get("inputs", ())}
        if match in request.path and named & set(bad):
            return portal._error(400, f"Invalid input {bad}", "VALIDATION_ERROR")
        return answer(request)

    portal.answer = choosy


@pytest.mark.parametrize("odd", ["12x", "12.5", "abc", "-1", "١٢", "0x1f"])
def test_what_cannot_be_an_id_is_not_asked_for(rig, odd):
    contact = rig.contact(associatedcompanyid=odd)
    first = rig.call(contact)
    second = rig.call(hs_call_callee_object_id=odd, hs_call_callee_object_type_id="0-1")
    row = {"from": {"id": first}, "to": [{"toObjectId": odd}, {"toObjectId": int(contact)}]}
    rig.portal.faults.add("answer", status=200, match="/calls/contacts/", body={"results": [row]})
    found = rig.calls()
    assert [person.crm_id for person in found[first].contacts] == [contact]
    assert (found[first].contacts[0].company, found[second].others) == (None, ())
    assert {status for *_, status in rig.portal.log} <= {200, 207}
    (page,) = rig.connect().fetch_ids("calls", [first, odd])
    assert (len(page.records), page.missing) == (1, [odd])


def test_one_contact_that_hubspot_refuses_costs_two_requests_a_halving(rig):
    contacts = [rig.contact(email=f"p{number}@northmill.example") for number in range(100)]
    crm_id = rig.call(*contacts)
    refuse(rig, contacts[37], match="objects/2026-03/contacts/batch/read")
    rig.asked()
    found = rig.calls()[crm_id].contacts
    assert {person.crm_id for person in found} == set(contacts) - {contacts[37]}
    assert rig.asked()["batch"] <= 2 * 6.65 + 2


def test_two_records_that_hubspot_refuses_are_missing_and_hold_up_no_other(rig):
    ids = [rig.call(rig.contact()) for _ in range(150)]
    bad = ids[0], ids[120]
    refuse(rig, *bad)
    (page,) = rig.connect().fetch_ids("calls", ids)
    assert page.missing == list(bad)
    assert [record.ref.crm_id for record in page.records] == [each for each in ids if each not in bad]


def test_a_record_whose_associations_hubspot_refuses_has_none(rig):
    ids = [rig.call(rig.contact()) for _ in range(1_000)]
    refuse(rig, ids[500], match="/associations/")
    rig.asked()
    found = rig.calls()
    assert [crm_id for crm_id in ids if not found[crm_id].contacts] == [ids[500]]
    assert rig.asked()["associations"] <= 2 * (2 * 9.97 + 2)


def test_a_single_id_that_is_refused_is_absent_where_another_is_taken(rig):
    contact = rig.contact()
    crm_id = rig.call(contact)
    refuse(rig, contact, match="objects/2026-03/contacts/batch/read")
    rig.asked()
    assert rig.calls()[crm_id].contacts == ()
    assert rig.asked()["batch"] == 2


def test_a_query_that_is_always_refused_makes_nothing_absent(rig):
    ids = [rig.call(rig.contact()) for _ in range(60)]
    for match in ("/batch/read", "/associations/"):
        rig.portal.faults.clear()
        rig.portal.faults.add("answer", status=400, match=match, body={"category": "VALIDATION_ERROR"}, count=None)
        rig.asked()
        with pytest.raises(Unavailable, match="refused a query"):
            list(rig.connect().fetch_ids("calls", ids))
        assert sum(rig.asked().values()) <= 2 * 5.91 + 3


def test_a_look_up_that_keeps_failing_holds_up_none_before_it(rig):
    ids = [rig.call(rig.contact()) for _ in range(350)]
    rig.asked()
    rig.portal.faults.add("unavailable", match="calls/batch/read", skip=2, count=None)
    pages = rig.connect().fetch_ids("calls", [*ids[:199], "1", *ids[199:]])
    page = next(pages)
    assert [record.ref.crm_id for record in page.records] == ids[:199]
    assert all(record.related["contacts"] for record in page.records)
    assert page.missing == ["1"]
    with pytest.raises(Unavailable):
        next(pages)
    assert rig.asked()["associations"] == 2
    assert len(rig.slept) == 2


def test_a_look_up_during_an_outage_costs_few_more_tries(rig):
    ids = [rig.call() for _ in range(150)]
    rig.asked()
    rig.portal.faults.add("unavailable", skip=1, count=None)
    with pytest.raises(Unavailable):
        list(rig.connect().fetch_ids("calls", ids))
    assert rig.asked() == {"batch": 1 + 3 + PROBES, "associations": 1 + PROBES}


def test_a_look_up_that_is_told_to_pause_goes_at_once(rig):
    ids = [rig.call() for _ in range(150)]
    rig.asked()
    rig.portal.faults.add("daily", skip=1, count=None)
    with pytest.raises(Unavailable) as raised:
        list(rig.connect().fetch_ids("calls", ids))
    assert raised.value.pause_until is not None
    assert rig.asked() == {"batch": 2}


def test_what_came_back_from_the_recycle_bin_marked_archived_is_missing(rig):
    crm_id = rig.call()
    row = {"id": crm_id, "properties": {}, "archived": True}
    rig.portal.faults.add("answer", status=200, match="calls/batch/read", body={"results": [row]})
    (page,) = rig.connect().fetch_ids("calls", [crm_id])
    assert page.missing == [crm_id]


def test_ids_are_read_by_the_hundred_and_none_cost_nothing(rig):
    ids = [rig.call() for _ in range(250)]
    rig.asked()
    (page,) = rig.connect().fetch_ids("calls", ids)
    assert [record.ref.crm_id for record in page.records] == ids
    assert rig.asked() == {"batch": 3, "associations": 2}
    assert list(rig.connect().fetch_ids("calls", [])) == []


def test_an_email_read_by_id_has_its_modification_time(rig):
    crm_id = rig.portal.put("emails", {"hs_email_subject": "Hello"}, modified_at=1_772_000_000_123)
    (page,) = rig.connect().fetch_ids("emails", [crm_id])
    assert page.refs[0].modified_at == datetime.fromtimestamp(1_772_000_000, UTC) + timedelta(milliseconds=123)


def test_a_changed_token_is_asked_anew(rig, monkeypatch):
    rig.connect().identity()
    rig.portal.tokens = {"other-token": SCOPES}
    rig.portal.portal_id = 999
    monkeypatch.setenv("HUBSPOT_TOKEN", "other-token")
    assert rig.connect().identity() == "999"
    assert "other-token" not in str(rig.store.kept)


@pytest.mark.parametrize("status", [403, 404])
def test_a_portal_that_does_not_tell_its_id_is_no_error_and_asked_once_a_day(rig, status):
    rig.portal.faults.add("answer", status=status, body={}, match="/account-info/", count=None)
    assert rig.connect().identity() is None
    assert rig.connect().identity() is None
    assert rig.asked() == {"account": 1}
    rig.portal.faults.clear()
    rig.box.clock.advance(25 * 3600)
    assert rig.connect().identity() == "12345678"


def test_a_refused_token_is_no_portal_without_id(rig, monkeypatch):
    monkeypatch.setenv("HUBSPOT_TOKEN", "wrong")
    with pytest.raises(Unauthorized):
        rig.connect().identity()


@pytest.mark.parametrize(
    "name", ["unavailable", "server_error", "html", "html_200", "garbage", "empty", "cut_json", "reset"]
)
@pytest.mark.parametrize("path", ["/search", "/associations/", "/contacts/batch/read", "/owners/"])
def test_one_bad_answer_anywhere_is_tried_again(rig, name, path):
    owner = rig.portal.owner("a@lantern.example")
    crm_id = rig.call(rig.contact(), hubspot_owner_id=owner)
    rule = rig.portal.faults.add(name, match=path)
    draft = rig.calls()[crm_id]
    assert (len(draft.contacts), draft.owner.email) == (1, "a@lantern.example")
    assert (rule.hits, len(rig.slept)) == (1, 1)
    assert 0.5 <= rig.slept[0] <= 0.75


@pytest.mark.parametrize("name", ["unavailable", "html", "garbage", "cut", "close", "reset"])
def test_three_bad_answers_end_the_pass(rig, name):
    rule = rig.portal.faults.add(name, match="/search", count=None)
    with pytest.raises(Unavailable) as raised:
        rig.calls()
    assert (rule.hits, len(rig.slept)) == (3, 2)
    assert isinstance(raised.value, Malformed) == (name == "garbage")
    assert raised.value.pause_until is None


def test_what_was_read_before_an_outage_is_kept(rig):
    for number in range(1_400):
        rig.call(at=1_772_000_000_000 + number)
    rig.portal.faults.add("unavailable", match="/search", count=None, skip=7)
    pages = rig.connect().fetch("calls", window())
    assert len(next(pages).records) == 1_000
    rest = next(pages)
    assert 300 < len(rest.records) < 400, "what the searches before the failing one brought"
    with pytest.raises(Unavailable):
        next(pages)


def test_what_was_read_before_an_outage_costs_few_more_tries(rig):
    for number in range(700):
        rig.call(at=1_772_000_000_000 + number)
    rig.portal.faults.add("unavailable", count=None, skip=3)
    with pytest.raises(Unavailable):
        list(rig.connect().fetch("calls", window()))
    assert rig.portal.requests["search"] == 3 + 3
    assert rig.portal.requests["associations"] == 1 + PROBES


def test_calls_of_one_contact_share_one_person_with_its_company_from_group_to_group(rig, monkeypatch):
    monkeypatch.setattr(hubspot, "gather", partial(hubspot.gather, group=1))
    company = rig.company()
    contact = rig.contact(associatedcompanyid=company)
    calls = [rig.call(contact, at=1_772_000_000_000 + number) for number in range(3)]
    read = rig.calls()
    (person,) = read[calls[0]].contacts
    assert person.company.crm_id == company
    assert all(read[call].contacts[0] is person for call in calls)


def test_batches_are_read_in_parallel_once_the_first_was_answered(rig):
    call = rig.call(*(rig.contact() for _ in range(900)))
    under_way, most, before = [], [], rig.portal.requests["batch"]

    def watch(index, kind):
        if kind == "batch":
            under_way.append(index)
            most.append(len(under_way))
            time.sleep(0.2)  # so long that a busy machine starts the others meanwhile
            under_way.pop()

    rig.portal.on_request = watch
    assert len(rig.calls()[call].contacts) == 900
    assert rig.portal.requests["batch"] - before == 9
    assert most[0] == 1
    assert max(most) == 3


def test_an_outage_in_the_midst_of_batches_costs_what_is_under_way(rig):
    rig.call(*(rig.contact() for _ in range(2_000)))
    rule = rig.portal.faults.add("unavailable", match="contacts/batch", count=None, skip=1)
    with pytest.raises(Unavailable):
        rig.calls()
    assert rule.hits <= 3 * 3


def test_a_pause_that_hubspot_asked_for_is_kept_at_once(rig):
    for number in range(700):
        rig.call(at=1_772_000_000_000 + number)
    rig.portal.faults.add("daily", count=None, skip=3)
    with pytest.raises(Unavailable) as caught:
        list(rig.connect().fetch("calls", window()))
    assert caught.value.pause_until is not None
    assert rig.portal.requests["associations"] == 0


def test_a_hang_ends_with_the_timeout(rig):
    crm_id = rig.call()
    rig.portal.faults.add("hang", match="/search", seconds=3)
    assert crm_id in rig.calls(rig.connect(timeout="150ms"))
    assert len(rig.slept) == 1


@pytest.mark.parametrize(
    ("name", "waits"), [("secondly", [1.0, 2.0]), ("ten_secondly", [10.0, 10.0]), ("locked", [2.0, 2.0])]
)
def test_short_limits_are_waited_out(rig, name, waits):
    """With up to a second of jitter, so that those who share the limit do not meet again."""
    crm_id = rig.call()
    rig.portal.faults.add(name, match="/search", count=2)
    assert crm_id in rig.calls()
    assert [least <= slept < least + 1 for slept, least in zip(rig.slept, waits, strict=True)] == [True, True]


def test_a_daily_limit_pauses_to_the_portals_midnight(rig):
    rig.portal.time_zone = "Asia/Kolkata"
    rig.connect().identity()
    rig.portal.faults.add("daily", match="/search")
    with pytest.raises(Unavailable) as raised:
        rig.calls()
    until = raised.value.pause_until + timedelta(hours=5, minutes=30)
    assert (
        abs((until - until.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()) < 2 or until.hour == 23
    )
    assert timedelta(0) < raised.value.pause_until - rig.now() <= timedelta(days=1)
    assert rig.slept == []


def test_a_daily_limit_of_an_unknown_portal_pauses_for_an_hour(rig):
    rig.portal.faults.add("daily", match="/search")
    with pytest.raises(Unavailable) as raised:
        rig.calls()
    assert abs(raised.value.pause_until - rig.now() - timedelta(hours=1)) < timedelta(seconds=5)


def test_a_migrating_portal_is_left_alone_as_long_as_it_says(rig):
    rig.portal.faults.add("migrating", match="/search")
    with pytest.raises(Unavailable) as raised:
        rig.calls()
    assert abs(raised.value.pause_until - rig.now() - timedelta(days=1)) < timedelta(seconds=5)
    assert rig.slept == []


def test_a_refused_token_ends_the_pass_at_once(rig, monkeypatch):
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-na1-wrong")
    with pytest.raises(Unauthorized) as raised:
        rig.calls()
    assert sum(rig.asked().values()) == 1
    assert "env:HUBSPOT_TOKEN" in raised.value.hint


PUT, COPY = "put the token where access_token points, env:HUBSPOT_TOKEN", "copy it completely, on one line"


@pytest.mark.parametrize(
    ("value", "hint"), [("", PUT), ("two words", COPY), ("bad\nnewline", COPY), ("nöt-ascii", PUT)]
)
def test_a_token_that_cannot_be_one_makes_no_request(rig, monkeypatch, value, hint):
    monkeypatch.setenv("HUBSPOT_TOKEN", value)
    with pytest.raises(Unauthorized) as raised:
        rig.calls()
    assert rig.asked() == {}
    assert not value or value not in f"{raised.value} {raised.value.hint}"
    assert raised.value.hint == hint


@pytest.mark.parametrize("scope", sorted(SCOPES - {"sales-email-read"}))
def test_a_missing_scope_is_named(rig, scope):
    company = rig.company()
    rig.call(rig.contact(associatedcompanyid=company), hubspot_owner_id="1")
    rig.portal.tokens = {TOKEN: SCOPES - {scope}}
    with pytest.raises(Unauthorized, match=scope):
        rig.calls()


def test_another_version_or_address_is_asked_about(rig):
    with pytest.raises(Unavailable) as raised:
        rig.calls(rig.connect(api_version="2031-09"))
    assert "2031-09" in raised.value.hint
    with pytest.raises(Unavailable):
        rig.calls(rig.connect(base_url="http://127.0.0.1:9"))


def test_the_next_dated_version_works_too(rig):
    crm_id = rig.call(rig.contact(), hubspot_owner_id="1", hs_call_disposition=LEFT_VOICEMAIL)
    assert rig.calls(rig.connect(api_version="2026-09"))[crm_id].contacts
    assert all("2026-09" in path or "/calling/" in path for _, _, path, _ in rig.portal.log)


def test_a_stop_ends_every_wait(rig):
    rig.stop_after = 0
    rig.portal.faults.add("unavailable", match="/search", count=None)
    with pytest.raises(Stopped):
        rig.calls()


def test_a_stop_is_heard_before_each_request(rig):
    ids = [rig.call(rig.contact()) for _ in range(1_000)]
    rig.asked()

    def stop(index: int, kind: str) -> None:
        rig.stopping = kind == "batch"

    rig.portal.on_request = stop
    with pytest.raises(Stopped):
        list(rig.connect().fetch_ids("calls", ids))
    assert rig.asked() == {"batch": 1}


def test_a_stop_lets_each_thread_end_its_request_and_ask_no_more(rig):
    for number in range(3_000):
        rig.call(rig.contact(), at=1_772_000_000_000 + number)
    after: list[str] = []

    def stop(index: int, kind: str) -> None:
        if rig.stopping:
            after.append(kind)
        rig.stopping = rig.stopping or kind == "batch"

    rig.portal.on_request = stop
    rig.portal.latency_s = 0.02
    rig.asked()
    with pytest.raises(Stopped):
        list(rig.connect().fetch("calls", window()))
    assert rig.portal.requests["batch"] == 1, "of ten for the first thousand"
    assert len(after) <= 1, "the search under way"


@pytest.mark.parametrize("waits", [False, True])
def test_closing_waits_for_the_request_under_way_and_no_longer(rig, waits):
    for number in range(2_400):
        rig.call(rig.contact(), at=1_772_000_000_000 + number)
    hydrating, let_go = threading.Event(), threading.Event()
    connector = rig.connect()
    pages = connector.fetch("calls", window())
    batches = [0]

    def slow(index: int, kind: str) -> None:
        batches[0] += kind == "batch"
        if batches[0] > 10:  # of the second thousand, searched ahead
            hydrating.set()
            let_go.wait(0.2)

    if waits:
        rig.portal.faults.add("ten_secondly", match="contacts/batch/read", skip=12, count=None)
        connector._client._context = replace(
            connector._client._context, sleep=lambda seconds: time.sleep(min(seconds, 3))
        )
    rig.portal.on_request = slow
    next(pages)
    assert hydrating.wait(5)
    if waits:
        time.sleep(0.7)
    asked, began = rig.portal.requests["batch"], time.monotonic()
    pages.close()
    assert time.monotonic() - began < 0.5
    assert rig.portal.requests["batch"] <= asked + 1
    rig.portal.on_request = None
    rig.portal.faults.clear()
    assert len(next(connector.fetch("calls", window())).records) == 1_000, "the connector can still be used"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 414, 423, 429, 477, 500, 502, 530])
@pytest.mark.parametrize("path", ["/search", "/associations/", "/contacts/batch/read", "/owners/"])
def test_nothing_private_comes_back_in_an_error(rig, status, path):
    rig.call(rig.contact(phone=CANARIES[2]), hs_call_title=CANARIES[1], hubspot_owner_id="1")
    body = {"message": " ".join(CANARIES), "category": CANARIES[1], "errors": [{"message": TOKEN}]}
    rig.portal.faults.add("answer", match=path, status=status, body=body, count=None)
    with pytest.raises((Unavailable, Unauthorized)) as raised:
        rig.calls()
    told: list[str] = []
    error: BaseException | None = raised.value
    while error is not None:
        told += [str(error), repr(error), getattr(error, "hint", "")]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert not [canary for canary in (*CANARIES, TOKEN) if canary in " ".join(told)]


def test_check_says_what_is_well(rig):
    rig.portal.put("emails", {"hs_email_subject": "Hello"})
    findings = rig.connect().check()
    assert [finding.what for finding in findings if finding.ok] == [finding.what for finding in findings]
    assert "12345678" in findings[0].message
    assert {f"scope {scope}" for scope in SCOPES} <= {finding.what for finding in findings}


@pytest.mark.parametrize("scope", sorted(SCOPES - {"sales-email-read"}))
def test_check_names_the_scope_that_is_missing_and_goes_on(rig, scope):
    rig.portal.tokens = {TOKEN: SCOPES - {scope}}
    failed = [finding for finding in rig.connect().check() if not finding.ok]
    assert f"scope {scope}" in [finding.what for finding in failed]
    assert all(finding.exit_code == 77 and finding.hint for finding in failed)


def test_check_notices_redaction(rig):
    rig.portal.put("emails", {"hs_email_subject": "Hello"})
    rig.portal.tokens = {TOKEN: SCOPES - {"sales-email-read"}}
    (finding,) = (finding for finding in rig.connect().check() if not finding.ok)
    assert (finding.what, finding.warning, finding.exit_code) == ("scope sales-email-read", False, 77)
    assert finding.hint.startswith(
        "add the scope sales-email-read to the service key or private app in HubSpot: emails"
    )


def test_check_of_a_refused_token_says_so_once(rig, monkeypatch):
    monkeypatch.setenv("HUBSPOT_TOKEN", "wrong")
    (finding,) = rig.connect().check()
    assert (finding.ok, finding.exit_code) == (False, 77)
    rig.portal.faults.add("answer", status=403, body={}, match="/account-info/", count=None)
    findings = rig.connect().check()
    assert [(finding.ok, finding.exit_code) for finding in findings] == [(False, 0), (False, 77)]
    assert "cannot notice a token of another portal under the same source name" in findings[0].hint


def test_check_of_a_dead_address_says_so_once(rig):
    (finding,) = rig.connect(base_url="http://127.0.0.1:9").check()
    assert (finding.ok, finding.exit_code) == (False, 69)
    assert finding.hint == "check base_url, the network and firewalls"


def test_check_warns_of_a_quota_nearly_used_up(rig):
    rig.portal.daily_limit = 8
    (finding,) = (finding for finding in rig.connect().check() if not finding.ok)
    assert (finding.what, finding.warning) == ("daily quota", True)
    assert finding.message == "1 of 8 calls left today. 1,000 records cost at most 31"
    assert finding.hint.endswith("other syncds and other integrations. An idle pass of syncd costs 2 calls")


def quota(rig):
    return [finding.message for finding in rig.connect().check() if finding.what == "daily quota"]


@pytest.mark.parametrize(
    "answer", [{"status": 403, "body": {}}, {"status": 200, "body": {"results": [{"usageLimit": None}]}}]
)
def test_check_takes_the_quota_from_headers_if_hubspot_does_not_count_it(rig, answer):
    rig.portal.daily_limit = 10_000
    rig.portal.faults.add("answer", match="/api-usage/", count=None, **answer)
    (message,) = quota(rig)
    # From the answer about owners. A search names none.
    assert message.startswith("9,995 of 10,000 calls left today")
    rig.portal.daily_limit = 0
    assert quota(rig) == []


def test_the_sdk_is_imported_by_the_first_request_only():
    code = (
        "import sys, connectors.hubspot; sys.exit(any(m.split('.')[0] in ('hubspot', 'urllib3') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
