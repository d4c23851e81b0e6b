"""HubSpot's stand-in obeys its requests over real HTTP, and fails only on order."""

import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from syncd.sandbox import Sandbox, generate, sample
from syncd.sandbox.standin.faults import ACTIONS, PRESETS
from syncd.testing import FAULTS

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
T0 = 1_780_000_000_000  # ms, two days before NOW
NO_LIMITS = {"search_per_second": 0, "per_ten_seconds": 0, "daily_limit": 0}


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the CA list for each client would take most of the time


class Client:
    """A client that uses the stand-in like a reader of calls and emails."""

    def __init__(self, box, token=None):
        headers = {"Authorization": f"Bearer {token or box.token}"}
        self.http = httpx.Client(base_url=box.hubspot_url, headers=headers, timeout=5, verify=NO_TLS)

    def search(self, type_name="calls", *filters, path="/crm/objects/2026-03/{}/search", **body):
        body = {"filterGroups": [{"filters": list(filters)}] if filters else [], **body}
        return self.http.post(path.format(type_name), json=body)

    def ids(self, *filters, type_name="calls", **body):
        answer = self.search(type_name, *filters, **{"limit": 200, **body})
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["results"]]

    def batch(self, type_name, ids, **query):
        body = {"inputs": [{"id": str(i)} for i in ids], "properties": ["hs_object_id"]}
        return self.http.post(f"/crm/objects/2026-03/{type_name}/batch/read", json=body, params=query)

    def links(self, ids, ends="calls/contacts"):
        inputs = [i if isinstance(i, dict) else {"id": str(i)} for i in ids]
        return self.http.post(f"/crm/associations/2026-03/{ends}/batch/read", json={"inputs": inputs})


@pytest.fixture
def box():
    with Sandbox(now=lambda: NOW, hubspot=dict(NO_LIMITS)) as box:
        yield box


@pytest.fixture
def hs(box):
    return box.hubspot


@pytest.fixture
def client(box):
    client = Client(box)
    with client.http:
        yield client


def where(name, how, value=None, **more):
    return {"propertyName": name, "operator": how, **({} if value is None else {"value": value}), **more}


def since(ms):
    return where("hs_lastmodifieddate", "GTE", str(ms))


BY_TIME = [{"propertyName": "hs_lastmodifieddate", "direction": "ASCENDING"}]
BY_ID = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]


def seed(hs, count=5):
    """Put calls 1, 2, …, one second apart, with descending ids."""
    for n in range(1, count + 1):
        values = {"hs_call_title": f"Call {n}", "hs_call_duration": n * 1000, "hs_timestamp": T0 + n}
        values["hs_timestamp"] = datetime.fromtimestamp((T0 + n * 1000) / 1000, UTC)
        hs.put("calls", values, id=1000 - n, modified_at=T0 + n * 1000, created_at=T0 + (count - n) * 1000)


# Matches of a search


@pytest.mark.parametrize(
    ("condition", "titles"),
    [
        (where("hs_lastmodifieddate", "GT", str(T0 + 3000)), [4, 5]),
        (where("hs_lastmodifieddate", "GTE", str(T0 + 3000)), [3, 4, 5]),
        (where("hs_lastmodifieddate", "LT", str(T0 + 3000)), [1, 2]),
        (where("hs_lastmodifieddate", "LTE", str(T0 + 3000)), [1, 2, 3]),
        (where("hs_lastmodifieddate", "EQ", str(T0 + 3000)), [3]),
        (where("hs_lastmodifieddate", "NEQ", str(T0 + 3000)), [1, 2, 4, 5]),
        (where("hs_lastmodifieddate", "BETWEEN", str(T0 + 2000), highValue=str(T0 + 4000)), [2, 3, 4]),
        (where("hs_lastmodifieddate", "IN", values=[str(T0 + 1000), str(T0 + 5000)]), [1, 5]),
        (where("hs_object_id", "GT", "997"), [1, 2]),
        (where("hs_object_id", "LTE", "996"), [4, 5]),
        (where("hs_object_id", "IN", values=["999", "995"]), [1, 5]),
        (where("hs_call_duration", "GT", "3000"), [4, 5]),
        (where("hs_call_duration", "BETWEEN", "2000", highValue="3000"), [2, 3]),
        (where("hs_call_title", "EQ", "CALL 2"), [2]),
        (where("hs_call_title", "IN", values=["call 1", "call 4"]), [1, 4]),
        (where("hs_call_title", "IN", values=["Call 1"]), []),
        (where("hs_call_title", "NOT_IN", values=["call 1", "call 4"]), [2, 3, 5]),
        (where("hs_timestamp", "GTE", str(T0 + 5000)), [5]),
        (where("hs_createdate", "LT", str(T0 + 1000)), [5]),
        (where("hs_call_title", "HAS_PROPERTY"), [1, 2, 3, 4, 5]),
        (where("hs_call_body", "NOT_HAS_PROPERTY"), [1, 2, 3, 4, 5]),
        (where("hs_call_body", "HAS_PROPERTY"), []),
        (where("hs_call_title", "CONTAINS_TOKEN", "CALL"), [1, 2, 3, 4, 5]),
        (where("hs_call_title", "CONTAINS_TOKEN", "2"), [2]),
        (where("hs_call_title", "CONTAINS_TOKEN", "c*l"), [1, 2, 3, 4, 5]),
        (where("hs_call_title", "CONTAINS_TOKEN", "al"), []),
        (where("hs_call_body", "CONTAINS_TOKEN", "*"), []),
        (where("hs_call_body", "NEQ", "x"), []),
    ],
)
def test_search_obeys_its_operator(hs, client, condition, titles):
    seed(hs)
    assert client.ids(condition, sorts=BY_TIME) == [str(1000 - n) for n in titles]


def test_filters_of_a_group_are_joined_by_and(hs, client):
    seed(hs)
    assert client.ids(since(T0 + 2000), where("hs_object_id", "GT", "996"), sorts=BY_TIME) == ["998", "997"]
    long, demo = where("hs_call_duration", "GT", "1000"), where("hs_call_title", "NEQ", "call 3")
    assert client.ids(long, demo, where("hs_object_id", "NEQ", "995"), sorts=BY_TIME) == ["998", "996"]


def test_groups_are_joined_by_or(hs, client):
    seed(hs)
    groups = [{"filters": [since(T0 + 5000)]}, {"filters": [where("hs_object_id", "EQ", "999")]}]
    assert client.ids(filterGroups=groups, sorts=BY_TIME) == ["999", "995"]


@pytest.mark.parametrize("value", [str(T0 + 4000), "2026-05-28T20:26:44Z", "2026-05-28T20:26:44.000000Z"])
def test_datetime_values_are_milliseconds_or_iso(hs, client, value):
    seed(hs)
    assert client.ids(where("hs_lastmodifieddate", "GTE", value), sorts=BY_TIME) == ["996", "995"]


def test_enumerations_are_case_sensitive(hs, client):
    call = hs.put("calls", {"hs_call_status": "COMPLETED"})
    assert client.ids(where("hs_call_status", "EQ", "completed")) == []
    assert client.ids(where("hs_call_status", "EQ", "COMPLETED")) == [call]


def test_contacts_are_filtered_by_lastmodifieddate_alone(hs, client):
    contact = hs.put("contacts", {"email": "a@birch-mills-1.com"}, modified_at=T0)
    assert client.ids(where("lastmodifieddate", "GTE", str(T0)), type_name="contacts") == [contact]
    assert client.search("contacts", since(T0)).status_code == 400


def test_a_custom_property_can_be_filtered_and_read(hs, client):
    hs.property("contacts", "team", options=[("a", "Team A")])
    contact = hs.put("contacts", {"team": "a"})
    assert client.ids(where("team", "EQ", "a"), type_name="contacts") == [contact]


def test_archived_records_never_appear(hs, client):
    seed(hs)
    hs.archive("calls", 998)
    hs.put("calls", {}, id=5, archived=True)
    assert client.ids(sorts=BY_TIME) == ["999", "997", "996", "995"]


def test_a_late_record_archived_meanwhile_never_appears(box, hs, client):
    hs.archive("calls", hs.put("calls", {}, late_by=60))
    hs.delete("calls", hs.put("calls", {}, late_by=60))
    box.clock.advance(60)
    assert client.ids() == []


# Order of a search


def test_sort_descends_when_told(hs, client):
    seed(hs)
    sorts = [{"propertyName": "hs_lastmodifieddate", "direction": "DESCENDING"}]
    assert client.ids(sorts=sorts) == ["995", "996", "997", "998", "999"]


@pytest.mark.parametrize(("sorts", "first"), [(["hs_object_id"], "995"), (["-hs_object_id"], "999")])
def test_sort_may_be_a_bare_name(hs, client, sorts, first):
    seed(hs)
    assert client.ids(sorts=sorts)[0] == first


def test_any_property_sorts_and_what_has_none_comes_last(hs, client):
    seed(hs, 3)
    hs.put("calls", {}, id=7, modified_at=T0)
    assert client.ids(sorts=["hs_call_duration"]) == ["999", "998", "997", "7"]


def test_without_a_sort_the_oldest_creation_comes_first(hs, client):
    seed(hs)
    assert client.ids() == ["995", "996", "997", "998", "999"]


def test_equal_times_come_in_another_order_each_time(hs, client):
    ids = {hs.put("calls", {}, modified_at=T0) for _ in range(20)}
    orders = [client.ids(since(T0), sorts=BY_TIME) for _ in range(3)]
    assert all(set(order) == ids for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_two_equal_times_change_places_each_time(hs, client):
    hs.put("calls", {}, modified_at=T0)
    hs.put("calls", {}, modified_at=T0)
    first, second = (client.ids(since(T0), sorts=BY_TIME) for _ in range(2))
    assert first == second[::-1]


def test_paging_through_equal_times_by_offset_loses_some(hs, client):
    ids = {hs.put("calls", {}, modified_at=T0) for _ in range(60)}
    seen = {i for after in range(0, 60, 20) for i in client.ids(since(T0), sorts=BY_TIME, limit=20, after=str(after))}
    assert seen < ids


def test_an_instant_drains_by_id(hs, client):
    ids = sorted((hs.put("calls", {}, modified_at=T0) for _ in range(25)), key=int)
    hs.put("calls", {}, modified_at=T0 + 1)
    instant, drained = where("hs_lastmodifieddate", "EQ", str(T0)), []
    while page := client.ids(
        instant, where("hs_object_id", "GT", drained[-1] if drained else "0"), sorts=BY_ID, limit=10
    ):
        drained += page
    assert drained == ids


def test_a_record_edited_while_it_is_paged_moves_to_the_end(hs, client):
    seed(hs)
    hs.on_request = lambda index, kind: hs.edit("calls", 999, hs_call_title="Edited") if index == 1 else None
    pages = [client.ids(since(T0), sorts=BY_TIME, limit=2, after=str(after)) for after in (0, 2, 4)]
    assert pages == [["999", "998"], ["996", "995"], ["999"]]


# Pages and properties of a search


def test_a_page_has_10_rows_by_default_and_200_at_most(hs, client):
    seed(hs, 250)
    assert len(client.search().json()["results"]) == 10
    assert len(client.search(limit=200).json()["results"]) == 200
    assert client.search(limit=201).status_code == 400
    assert client.search(limit=0).status_code == 400


def test_pages_follow_each_other_and_the_last_names_no_next(hs, client):
    seed(hs, 5)
    first = client.search(sorts=BY_TIME, limit=3).json()
    assert (first["total"], first["paging"]) == (5, {"next": {"after": "3"}})
    second = client.search(sorts=BY_TIME, limit=3, after="3").json()
    assert [row["id"] for row in second["results"]] == ["996", "995"]
    assert "paging" not in second


def test_after_must_be_an_integer_and_belongs_in_the_body(hs, client):
    seed(hs, 5)
    assert client.search(after="x").status_code == 400
    answer = client.http.post("/crm/objects/2026-03/calls/search?after=3", json={"limit": 3, "sorts": BY_TIME})
    assert answer.json()["results"][0]["id"] == "999"


def test_a_query_pages_through_10_000_results_and_no_further(hs, client):
    for n in range(10_050):
        hs.put("calls", {}, modified_at=T0 + n)
    last = client.search("calls", since(T0), sorts=BY_TIME, limit=200, after="9800").json()
    assert (last["total"], last["paging"]["next"]["after"]) == (10_050, "10000")
    beyond = client.search("calls", since(T0), sorts=BY_TIME, limit=200, after="10000")
    assert (beyond.status_code, beyond.json()["category"]) == (400, "VALIDATION_ERROR")
    assert client.search("calls", since(T0), limit=200, after="9900").status_code == 400


def test_properties_replace_the_default_ones(hs, client):
    hs.put("calls", {"hs_call_title": "Demo"}, id=7, modified_at=T0)
    (row,) = client.search().json()["results"]
    assert row["properties"].keys() == {"hs_createdate", "hs_lastmodifieddate", "hs_object_id"}
    wanted = ["hs_call_title", "hs_call_body", "no_such_property"]
    (row,) = client.search(properties=wanted).json()["results"]
    assert row["properties"] == {"hs_call_title": "Demo", "hs_call_body": None}
    assert (row["id"], row["updatedAt"], row["archived"]) == ("7", "2026-05-28T20:26:40.000Z", False)


def test_values_are_text(hs, client):
    hs.put("calls", {"hs_call_duration": 3800, "hs_timestamp": NOW, "hs_call_body": True}, id=7)
    (row,) = client.search(properties=["hs_call_duration", "hs_timestamp", "hs_call_body", "hs_object_id"]).json()[
        "results"
    ]
    assert list(row["properties"].values()) == ["3800", "2026-06-01T12:00:00.000Z", "true", "7"]


@pytest.mark.parametrize(
    "path", ["/crm/objects/2026-03/{}/search", "/crm/objects/2026-09/{}/search", "/crm/v3/objects/{}/search"]
)
@pytest.mark.parametrize("name", ["calls", "0-48"])
def test_dated_and_legacy_paths_answer_alike(hs, client, path, name):
    seed(hs, 1)
    assert client.search(name, path=path).json()["total"] == 1


# Refusals of a search

CONDITION = where("hs_call_title", "EQ", "x")


@pytest.mark.parametrize(
    "body",
    [
        {"filterGroups": [{"filters": [CONDITION]}] * 6},
        {"filterGroups": [{"filters": [CONDITION] * 7}]},
        {"filterGroups": [{"filters": [CONDITION] * 5}] * 4},
        {"filterGroups": [{"filters": [where("no_such_property", "EQ", "x")]}]},
        {"filterGroups": [{"filters": [where("hs_body_preview_html", "HAS_PROPERTY")]}]},
        {"filterGroups": [{"filters": [where("hs_call_title", "SOUNDS_LIKE", "x")]}]},
        {"filterGroups": [{"filters": [where("hs_call_title", "EQ")]}]},
        {"filterGroups": [{"filters": [where("hs_lastmodifieddate", "BETWEEN", "1000")]}]},
        {"filterGroups": [{"filters": [where("hs_call_title", "IN")]}]},
        {"filterGroups": [{"filters": [where("hs_lastmodifieddate", "GT", "yesterday")]}]},
        {"filterGroups": [{"filters": [where("hs_object_id", "GT", "x")]}]},
        {"filterGroups": "all"},
        {"sorts": ["hs_createdate", "hs_object_id"]},
        {"sorts": ["no_such_property"]},
        {"sorts": [{"propertyName": "hs_createdate", "direction": "UP"}]},
        {"query": "demo"},
        {"limit": "many"},
        {"properties": ["x" * 3000]},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_search_refuses_what_hubspot_refuses(client, body):
    answer = client.search("calls", **body)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")


def test_five_groups_and_six_filters_are_allowed(client):
    assert client.search("calls", filterGroups=[{"filters": [CONDITION] * 3}] * 5).status_code == 200
    assert client.search("calls", *[CONDITION] * 6).status_code == 200


def test_a_lower_bound_of_epoch_zero_breaks_the_search(client):
    assert client.search("calls", since(0)).status_code == 500
    assert client.search("calls", since(1)).status_code == 200


# The lagging index of a search


def test_a_write_becomes_searchable_after_the_index_delay_and_readable_at_once(box, hs, client):
    hs.index_delay = 60
    call = hs.put("calls", {})
    assert client.ids() == []
    assert client.batch("calls", [call]).json()["results"][0]["id"] == call
    box.clock.advance(59)
    assert client.ids() == []
    box.clock.advance(1)
    assert client.ids() == [call]


def test_a_record_may_be_late_on_its_own(box, hs, client):
    hs.put("calls", {}, id=1, late_by=3600)
    hs.put("calls", {}, id=2)
    assert client.ids() == ["2"]
    box.clock.advance(3600)
    assert client.ids(sorts=BY_ID) == ["1", "2"]


def test_search_shows_the_old_version_until_an_edit_is_indexed(box, hs, client):
    call = hs.put("calls", {"hs_call_title": "Old"}, modified_at=T0)
    hs.index_delay = 60
    hs.edit("calls", call, hs_call_title="New")
    (row,) = client.search("calls", since(T0), properties=["hs_call_title"]).json()["results"]
    assert row["properties"]["hs_call_title"] == "Old"
    assert client.ids(since(T0 + 1)) == []
    box.clock.advance(60)
    assert client.ids(since(T0 + 1)) == [call]
    assert client.ids(where("hs_lastmodifieddate", "EQ", str(T0))) == []


def test_search_may_show_properties_newer_than_its_index(hs, client):
    call = hs.put("calls", {"hs_call_title": "Old"}, modified_at=T0)
    hs.index_delay, hs.fresh_properties = 60, True
    hs.edit("calls", call, hs_call_title="New")
    (row,) = client.search("calls", where("hs_lastmodifieddate", "EQ", str(T0)), properties=["hs_call_title"]).json()[
        "results"
    ]
    assert (row["properties"]["hs_call_title"], row["updatedAt"]) == ("New", "2026-06-01T12:00:00.000Z")


def test_an_older_version_indexed_late_does_not_replace_a_newer_one(box, hs, client):
    call = hs.put("calls", {"hs_call_title": "Old"}, late_by=60)
    hs.edit("calls", call, hs_call_title="New", late_by=0)
    box.clock.advance(60)
    assert client.ids(where("hs_call_title", "EQ", "new")) == [call]


def test_an_edit_moves_the_modification_time_unless_told_not_to(box, hs, client):
    call = hs.put("emails", {"hs_email_open_count": 0}, modified_at=T0)
    hs.edit("emails", call, touch=False, hs_email_open_count=3)
    assert client.ids(since(T0 + 1), type_name="emails") == []
    hs.edit("emails", call, hs_email_subject="Hello", hs_email_open_count=None)
    assert client.ids(since(T0 + 1), type_name="emails") == [call]
    assert client.ids(where("hs_email_open_count", "HAS_PROPERTY"), type_name="emails") == []


# Reads by id


def test_a_batch_read_takes_100_ids(hs, client):
    seed(hs, 101)
    assert client.batch("calls", range(900, 1000)).status_code == 200
    assert client.batch("calls", range(899, 1000)).status_code == 400


def test_a_batch_read_names_what_it_did_not_find(hs, client):
    seed(hs, 2)
    answer = client.batch("calls", [998, 5, 999, 999])
    body = answer.json()
    assert (answer.status_code, body["numErrors"]) == (207, 1)
    assert [row["id"] for row in body["results"]] == ["998", "999"]
    assert body["errors"][0]["context"] == {"ids": ["5"]}


def test_a_batch_read_drops_what_it_did_not_find_when_told_so(hs, client):
    seed(hs, 1)
    hs.drop_missing = True
    answer = client.batch("calls", [999, 5])
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)


def test_a_merged_id_leads_to_the_winner_also_in_a_chain(hs, client):
    for n in (1, 2, 3):
        hs.put("contacts", {}, id=n)
    hs.merge("contacts", 2, 1)
    hs.merge("contacts", 3, 2)
    assert [row["id"] for row in client.batch("contacts", [1, 2, 3]).json()["results"]] == ["3"]
    assert client.ids(type_name="contacts") == ["3"]


def test_archived_records_are_read_with_archived_true_only(hs, client):
    seed(hs, 2)
    hs.archive("calls", 999)
    assert client.batch("calls", [999, 998]).status_code == 207
    assert [row["id"] for row in client.batch("calls", [999, 998]).json()["results"]] == ["998"]
    assert client.batch("calls", [999], archived="true").json()["results"][0]["archived"] is True
    assert client.http.get("/crm/objects/2026-03/calls/999").status_code == 404
    assert client.http.get("/crm/objects/2026-03/calls/999?archived=true").status_code == 200


def test_a_deleted_record_is_gone_everywhere(hs, client):
    seed(hs, 1)
    hs.delete("calls", 999)
    assert client.ids() == []
    assert client.batch("calls", [999], archived="true").status_code == 207


def test_one_record_is_read_with_the_properties_asked_for(hs, client):
    seed(hs, 1)
    answer = client.http.get("/crm/objects/2026-03/calls/999?properties=hs_call_title,hs_call_duration")
    assert answer.json()["properties"] == {"hs_call_title": "Call 1", "hs_call_duration": "1000"}
    assert client.http.get("/crm/objects/2026-03/calls/1").json()["category"] == "OBJECT_NOT_FOUND"


def test_the_list_goes_by_id_and_next_is_the_last_id_plus_one(hs, client):
    seed(hs, 5)
    hs.archive("calls", 996)
    first = client.http.get("/crm/objects/2026-03/calls", params={"limit": 2}).json()
    assert [row["id"] for row in first["results"]] == ["995", "997"]
    assert first["paging"]["next"]["after"] == "998"
    second = client.http.get("/crm/v3/objects/calls/", params={"limit": 2, "after": "998"}).json()
    assert [row["id"] for row in second["results"]] == ["998", "999"]
    assert "paging" not in second
    archived = client.http.get("/crm/objects/2026-03/calls", params={"archived": "true"}).json()
    assert [row["id"] for row in archived["results"]] == ["996"]
    assert client.http.get("/crm/objects/2026-03/calls", params={"limit": 101}).status_code == 400


# Associations


def test_associations_are_integers_and_what_has_none_makes_the_answer_207(hs, client):
    for type_name, crm_id in (("calls", 1), ("calls", 2), ("contacts", 10), ("contacts", 11)):
        hs.put(type_name, {}, id=crm_id)
    hs.associate("calls", 1, "contacts", 10)
    hs.associate("calls", 1, "contacts", 11)
    assert client.links([1]).status_code == 200
    answer = client.links([1, 2])
    body = answer.json()
    assert (answer.status_code, body["numErrors"]) == (207, 1)
    (result,) = body["results"]
    assert result["from"] == {"id": "1"}
    assert [to["toObjectId"] for to in result["to"]] == [10, 11]
    assert result["to"][0]["associationTypes"] == [{"category": "HUBSPOT_DEFINED", "typeId": 194, "label": None}]
    recorded = sample("associations_batch_read.none_found.207.json")["errors"][0]
    assert body["errors"][0].keys() == recorded.keys()
    assert body["errors"][0]["subCategory"] == recorded["subCategory"]
    assert body["errors"][0]["context"] == {
        "fromObjectId": ["2"], "fromObjectType": ["call"], "toObjectType": ["contact"],
    }  # fmt: skip
    assert client.links([10], "contacts/calls").json()["results"][0]["to"][0]["toObjectId"] == 1


def test_an_association_read_takes_1000_inputs(client):
    assert client.links(range(1, 1001)).status_code == 207
    assert client.links(range(1, 1002)).status_code == 400


def test_associations_page_within_each_input(hs, client):
    hs.association_page = 2
    hs.put("calls", {}, id=1)
    for n in range(10, 15):
        hs.put("contacts", {}, id=n)
        hs.associate("calls", 1, "contacts", n)
    seen, after = [], None
    while True:
        (result,) = client.links([{"id": "1", **({"after": after} if after else {})}]).json()["results"]
        seen.append([to["toObjectId"] for to in result["to"]])
        if "paging" not in result:
            break
        after = result["paging"]["next"]["after"]
    assert seen == [[10, 11], [12, 13], [14]]


def test_a_late_association_appears_without_moving_any_timestamp(box, hs, client):
    hs.put("calls", {}, id=1, modified_at=T0)
    hs.put("contacts", {}, id=10)
    hs.associate("calls", 1, "contacts", 10, late_by=900)
    assert client.links([1]).json()["results"] == []
    box.clock.advance(900)
    assert client.links([1]).json()["results"][0]["to"][0]["toObjectId"] == 10
    assert client.ids(since(T0 + 1)) == []


def test_a_contacts_first_company_is_its_primary_one(hs, client):
    hs.put("contacts", {}, id=10)
    for n in (20, 21):
        hs.put("companies", {}, id=n)
        hs.associate("contacts", 10, "companies", n)
    first, second = client.links([10], "contacts/companies").json()["results"][0]["to"]
    assert [t["label"] for t in first["associationTypes"]] == [None, "Primary"]
    assert [t["typeId"] for t in second["associationTypes"]] == [279]


def test_archived_and_deleted_ends_are_not_associated(hs, client):
    hs.put("calls", {}, id=1)
    for n in (10, 11, 12):
        hs.put("contacts", {}, id=n)
        hs.associate("calls", 1, "contacts", n)
    hs.archive("contacts", 10)
    hs.delete("contacts", 11)
    assert [to["toObjectId"] for to in client.links([1]).json()["results"][0]["to"]] == [12]


def test_a_merge_hands_over_the_associations(hs, client):
    hs.put("calls", {}, id=1)
    for n in (10, 11):
        hs.put("contacts", {}, id=n)
    hs.associate("calls", 1, "contacts", 10)
    hs.merge("contacts", 11, 10)
    assert [to["toObjectId"] for to in client.links([1]).json()["results"][0]["to"]] == [11]


# Owners, labels, account


def test_archived_owners_are_listed_apart_without_name_and_user(hs, client):
    kept = hs.owner("ada@lanternfield-sales.com", "Ada", "Aldermoor")
    gone = hs.owner("bram@lanternfield-sales.com", "Bram", "Copperwell", archived=True)
    (active,) = client.http.get("/crm/owners/2026-03/").json()["results"]
    assert (active["id"], active["firstName"]) == (kept, "Ada")
    (archived,) = client.http.get("/crm/owners/2026-03?archived=true").json()["results"]
    assert (archived["id"], archived["email"]) == (gone, "bram@lanternfield-sales.com")
    assert (archived["firstName"], archived["userId"]) == ("", None)
    assert archived["userIdIncludingInactive"]
    assert active.keys() == sample("owners_page.200.json")["results"][0].keys()
    hs.archived_owners_only = False
    assert len(client.http.get("/crm/v3/owners/?archived=true").json()["results"]) == 2


def test_owners_come_in_pages_and_by_id(hs, client):
    ids = [hs.owner(f"rep{n}@lanternfield-sales.com", "Rep", str(n)) for n in range(3)]
    first = client.http.get("/crm/owners/2026-03", params={"limit": 2}).json()
    second = client.http.get("/crm/owners/2026-03", params={"limit": 2, **first["paging"]["next"]}).json()
    assert [o["id"] for o in first["results"] + second["results"]] == ids
    assert "paging" not in second
    owner = client.http.get(f"/crm/owners/2026-03/{ids[1]}").json()
    assert client.http.get(f"/crm/owners/2026-03/{owner['userId']}?idProperty=userId").json() == owner
    assert client.http.get("/crm/owners/2026-03", params={"email": owner["email"]}).json()["results"] == [owner]
    assert client.http.get("/crm/owners/2026-03", params={"limit": 501}).status_code == 400


def test_dispositions_come_from_their_endpoint_and_as_options(hs, client):
    hs.dispositions.append({"id": "custom", "label": "Call me in spring"})
    listed = client.http.get("/calling/v1/dispositions").json()
    options = client.http.get("/crm/properties/2026-03/calls/hs_call_disposition").json()["options"]
    assert {(o["value"], o["label"]) for o in options} == {(d["id"], d["label"]) for d in listed}
    assert ("custom", "Call me in spring") in {(d["id"], d["label"]) for d in listed}


def test_a_property_has_options_and_an_unknown_one_is_404(hs, client):
    hs.property("contacts", "hs_seniority", options=[("vp", "Vice President")])
    (option,) = client.http.get("/crm/properties/2026-03/contacts/hs_seniority").json()["options"]
    assert (option["value"], option["label"]) == ("vp", "Vice President")
    assert client.http.get("/crm/properties/2026-03/contacts/no_such_property").status_code == 404


def test_the_account_tells_portal_and_time_zone(hs, client):
    hs.set(portal_id=4711, time_zone="America/New_York")
    details = client.http.get("/account-info/2026-03/details").json()
    assert (details["portalId"], details["utcOffset"]) == (4711, "-04:00")
    assert details["utcOffsetMilliseconds"] == -14_400_000


def test_the_daily_use_counts_requests_until_midnight_in_the_portals_zone(box, hs, client):
    hs.set(time_zone="America/New_York", daily_limit=3)
    path = "/account-info/2026-03/api-usage/daily/private-apps"
    client.ids()
    client.ids()
    (usage,) = client.http.get(path).json()["results"]
    assert (usage["currentUsage"], usage["usageLimit"], usage["resetsAt"]) == (3, 3, "2026-06-02T04:00:00Z")
    over = client.search()
    assert (over.status_code, over.json()) == (429, sample("error_429_daily.json"))
    box.clock.advance(16 * 3600 - 1)
    assert client.search().status_code == 429
    box.clock.advance(1)
    assert client.search().status_code == 200


# Credentials and limits


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_without_a_valid_token_it_answers_401(box, headers):
    answer = httpx.get(f"{box.hubspot_url}/account-info/2026-03/details", headers=headers)
    assert (answer.status_code, answer.json()["category"]) == (401, "INVALID_AUTHENTICATION")


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("crm.objects.contacts.read", "POST", "/crm/objects/2026-03/calls/search"),
        ("crm.objects.contacts.read", "POST", "/crm/objects/2026-03/contacts/batch/read"),
        ("crm.objects.companies.read", "POST", "/crm/objects/2026-03/companies/batch/read"),
        ("crm.objects.owners.read", "GET", "/crm/owners/2026-03"),
    ],
)
def test_a_missing_scope_is_named(box, hs, scope, method, path):
    hs.token("poor", hs.tokens[box.token] - {scope})
    with Client(box, "poor").http as http:
        answer = http.request(method, path, json={"inputs": []})
        assert (answer.status_code, answer.json()["category"]) == (403, "MISSING_SCOPES")
        assert answer.json()["errors"][0]["context"] == {"requiredGranularScopes": [scope]}
        assert http.get("/account-info/2026-03/details").status_code == 200


def test_without_sales_email_read_emails_are_redacted_in_a_200(box, hs, client):
    values = {"hs_email_subject": "Hello", "hs_email_headers": "{}", "hs_email_from_email": "a@b.com"}
    values |= {"hs_email_status": "SENT", "hs_email_open_count": 2}
    hs.put("emails", values)
    hs.token("poor", hs.tokens[box.token] - {"sales-email-read"})
    with Client(box, "poor").http as http:
        (row,) = http.post("/crm/objects/2026-03/emails/search", json={"properties": list(values)}).json()["results"]
    assert row["properties"] == {
        "hs_email_subject": None, "hs_email_headers": None, "hs_email_from_email": None,
        "hs_email_status": "SENT", "hs_email_open_count": "2",
    }  # fmt: skip
    (row,) = client.search("emails", properties=["hs_email_subject"]).json()["results"]
    assert row["properties"] == {"hs_email_subject": "Hello"}


def test_search_takes_five_requests_a_second_and_says_nothing_of_limits(box, hs, client):
    hs.search_per_second = 5
    answers = [client.search() for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[5].json() == sample("error_429_secondly_search.json")
    assert not any(name.startswith("x-hubspot") for answer in answers for name in answer.headers)
    box.clock.advance(1)
    assert client.search().status_code == 200


def test_other_requests_share_a_ten_second_bucket_that_search_and_associations_do_not(box, hs, client):
    hs.per_ten_seconds = 3
    path = "/account-info/2026-03/details"
    answers = [client.http.get(path) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json() == sample("error_429_ten_secondly.json")
    assert answers[0].headers["X-HubSpot-RateLimit-Remaining"] == "2"
    assert answers[0].headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
    assert client.search().status_code == 200
    assert client.links([1]).status_code == 207
    box.clock.advance(10)
    assert client.http.get(path).status_code == 200


def test_an_unknown_path_is_404_and_a_wrong_method_405(client):
    assert client.http.get("/crm/objects/2025-01/calls/search").status_code == 404
    assert client.http.get("/crm/objects/2026-03/calls/search").status_code == 405
    assert client.search("tickets").status_code == 400


def test_the_properties_of_an_object_are_listed_without_those_that_no_token_sees(hs, client):
    hs.property("calls", "verdict", options=[("w", "Won")])
    hs.set(hidden=["hs_call_source"])
    crm_id = hs.put("calls", {"verdict": "w", "hs_call_source": "VOIP"})
    listed = {row["name"]: row for row in client.http.get("/crm/properties/2026-03/calls").json()["results"]}
    assert listed["verdict"]["options"] == [{"value": "w", "label": "Won", "displayOrder": 0, "hidden": False}]
    assert "hs_call_source" not in listed
    asked = {"inputs": [{"id": crm_id}], "properties": ["verdict", "hs_call_source", "nonsense"]}
    (row,) = client.http.post("/crm/objects/2026-03/calls/batch/read", json=asked).json()["results"]
    assert row["properties"] == {"verdict": "w"}


# The server: HTTP, clock, hooks, faults, control


def test_it_listens_on_loopback_only_and_keeps_connections(box, hs):
    assert {server.server_address[0] for server in box._servers} == {"127.0.0.1"}
    with socket.create_connection(("127.0.0.1", box._servers[0].server_address[1])) as wire:
        for _ in range(2):
            wire.sendall(
                b"GET /calling/v1/dispositions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sandbox-token\r\n\r\n"
            )
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_date_header_tells_the_stand_ins_clock(box, client):
    box.clock.advance(3600)
    assert client.search().headers["Date"] == "Mon, 01 Jun 2026 13:00:00 GMT"


def test_requests_are_counted_by_kind_and_the_hook_hears_of_each(hs, client):
    heard = []
    hs.on_request = lambda index, kind: heard.append((index, kind))
    client.search()
    client.links([1])
    client.batch("contacts", [1])
    client.http.get("/crm/owners/2026-03/")
    client.http.get("/calling/v1/dispositions")
    client.http.get("/account-info/2026-03/details")
    kinds = ["search", "associations", "batch", "owners", "labels", "account"]
    assert heard == list(enumerate(kinds))
    assert hs.requests == dict.fromkeys(kinds, 1)
    assert hs.log[0] == (0, "search", "/crm/objects/2026-03/calls/search", 200)


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("unavailable", 503, '{"status":"error","message":"Service Unavailable"}'),
        ("html", 502, "<html>"),
        ("html_200", 200, "<html>"),
        ("garbage", 200, "\x00"),
        ("empty", 200, ""),
        ("migrating", 477, ""),
        ("malformed_token", 530, "<html>"),
        ("secondly", 429, '{"status":"error"'),
    ],
)
def test_a_fault_answers_instead(hs, client, name, status, body):
    hs.faults.add(name)
    answer = client.search()
    assert answer.status_code == status
    assert answer.text.startswith(body)
    assert client.search().status_code == 200


def test_the_sandbox_and_the_conformance_suite_name_the_same_faults():
    of_each_crm = {"retry_after", "quota", "unauthorized", "echo"}  # each CRM answers these in its own way
    assert set(FAULTS) - of_each_crm <= {*ACTIONS, *PRESETS}
    assert of_each_crm <= set(FAULTS)


def test_a_fault_takes_any_status_header_and_body(hs, client):
    hs.faults.add("answer", status=429, headers={"Retry-After": "7"}, body={"message": "later"})
    answer = client.search()
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (429, "7", {"message": "later"})


def test_faults_choose_by_path_method_count_turn_and_chance(hs, client):
    rule = hs.faults.add("unavailable", match="/calls/", method="POST", count=2, skip=1, every=2)
    statuses = [client.search().status_code for _ in range(6)]
    assert statuses == [200, 200, 503, 200, 503, 200]
    assert client.search("emails").status_code == 200
    assert (rule.seen, rule.hits) == (5, 2)
    hs.faults.add("unavailable", count=None, probability=0.5)
    statuses = [client.search().status_code for _ in range(40)]
    assert 8 < statuses.count(503) < 32


def test_json_is_cut_over_healthy_http(hs, client):
    seed(hs)
    hs.faults.add("cut_json")
    answer = client.search()
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()


@pytest.mark.parametrize(
    ("action", "error"),
    [("cut", httpx.RemoteProtocolError), ("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)],
)
def test_the_connection_is_cut_closed_or_reset(hs, client, action, error):
    seed(hs)
    hs.faults.add(action)
    with pytest.raises(error):
        client.search()
    assert client.search().status_code == 200


def test_a_hang_lasts_until_it_is_released(hs, client):
    hs.faults.add("hang", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        client.http.get("/calling/v1/dispositions", timeout=0.05)
    hs.faults.release()
    hs.faults.add("hang", seconds=0.02)
    with pytest.raises(httpx.RemoteProtocolError):
        client.search()


def test_a_drip_goes_on_until_it_is_released(hs, client):
    hs.faults.add("drip")
    begun = time.monotonic()
    with client.http.stream("GET", "/calling/v1/dispositions", timeout=2.0) as answer:
        assert answer.status_code == 200
        drops = answer.iter_raw()
        assert [next(drops) for _ in range(3)] == [b" "] * 3
        hs.faults.release()
        with pytest.raises(httpx.RemoteProtocolError):
            list(drops)
    assert time.monotonic() - begun < 2.0


def test_slow_answers_late(hs, client):
    hs.faults.add("slow", seconds=0.05)
    begun = time.perf_counter()
    assert client.search().status_code == 200
    assert time.perf_counter() - begun >= 0.05


def test_the_control_endpoint_obeys_orders_from_another_process(box, client):
    def order(**what):
        answer = client.http.post("/_sandbox", json=what)
        assert answer.status_code == 200, answer.text
        return answer.json()

    call = order(do="put", type="calls", properties={"hs_call_title": "Demo"}, modified_at=T0)
    order(do="edit", type="calls", id=call, hs_call_title="Renamed")
    assert client.ids(where("hs_call_title", "EQ", "renamed")) == [call]
    order(do="put", type="contacts", id=10, properties={})
    order(do="associate", from_type="calls", from_id=call, to_type="contacts", to_id=10)
    assert client.links([call]).status_code == 200
    assert order(do="clock", advance_s=60)["offset_s"] == 60
    order(do="set", tokens={box.token: ["crm.objects.contacts.read"]})
    assert client.http.get("/crm/owners/2026-03").status_code == 403
    order(do="fault", name="unavailable", match="search")
    assert client.search().status_code == 503
    assert order(do="requests")["by_kind"]["search"] == 2
    assert order(do="state")["calls"] == {"all": 1, "archived": 0, "searchable": 1}
    assert order(do="generate", calls=30)["calls"] == 30
    both = client.http.post("/_sandbox", json=[{"do": "archive", "type": "calls", "id": call}, {"do": "state"}]).json()
    assert both[1]["calls"] == {"all": 31, "archived": 1, "searchable": 30}
    for wrong in ({"do": "explode"}, {"do": "set", "no_such_setting": 1}, {"do": "fault", "name": "unheard"}):
        assert client.http.post("/_sandbox", json=wrong).status_code == 400


# Generated records


def test_the_same_seed_makes_the_same_world(box):
    with Sandbox(now=lambda: NOW) as other:
        worlds = [generate(b.hubspot, b.recotap, calls=200, emails=100, seed=5) for b in (box, other)]
    assert worlds[0] == worlds[1]
    assert box.hubspot.tables["emails"].rows == other.hubspot.tables["emails"].rows


def test_a_world_has_the_oddities_of_a_real_portal(box, client):
    world = generate(box.hubspot, box.recotap, calls=3000, emails=1500, seed=1)
    natures = world.summary()
    for nature in (
        "owners.archived", "companies.no_domain", "companies.placeholder_domain", "contacts.no_email",
        "contacts.prose_email", "contacts.free_mail", "calls.no_association", "calls.late_association",
        "calls.in_progress", "calls.no_owner", "calls.refused", "calls.failed", "emails.internal", "emails.bounced",
        "emails.scheduled", "emails.no_association", "emails.late_association",
    ):  # fmt: skip
        assert natures[nature] > 0, nature
    assert natures["calls"] == client.search().json()["total"] == 3000
    late = world.ids["calls.late_association"][:100]
    assert client.links(late).json()["results"] == []
    box.clock.advance(7200)
    assert client.links(late).status_code == 200


def test_a_clean_world_has_none(box):
    world = generate(box.hubspot, box.recotap, calls=300, emails=100, messy=False)
    assert world.summary().keys() == {"owners", "companies", "contacts", "calls", "emails"}
    assert box.recotap.rules == []


def test_generated_portals_hold_records_as_tools_write_them_if_asked(box):
    world = generate(box.hubspot, calls=10, emails=10, lifelike=3, seed=2)
    assert len(world.ids["calls.aircall"]) == len(world.ids["emails.apollo_received"]) == 3
    ids = {row["hs_email_message_id"] for row in _values(box, "emails") if row.get("hs_email_subject") == "One to one"}
    assert ids == {f"<{number}.one_to_one@mail>" for number in range(3)}


def _values(box, name):
    return [row.values for row in box.hubspot.tables[name].rows.values()]


def test_a_world_lies_before_now_and_within_its_days(box, client):
    generate(box.hubspot, calls=200, days=10)
    start = round((NOW - timedelta(days=10)).timestamp() * 1000)
    inside = where("hs_lastmodifieddate", "BETWEEN", str(start), highValue=str(round(NOW.timestamp() * 1000)))
    assert client.search("calls", inside).json()["total"] == 200


def test_the_date_can_be_off_frozen_garbage_or_missing_while_timestamps_are_right(box, client):
    def date(**order):
        assert client.http.post("/_sandbox", json={"do": "date", **order}).status_code == 200
        return client.http.get("/account-info/v3/details").headers.get("Date")

    def after(seconds):
        return format_datetime(datetime.fromtimestamp(box.clock.ms() // 1000 + seconds, UTC), usegmt=True)

    assert date(skew_s=7200) == after(7200)
    frozen = date(skew_s=-60, frozen=True)
    assert frozen == after(-60)
    box.clock.advance(100)
    assert client.http.get("/account-info/v3/details").headers["Date"] == frozen
    assert date(text="soon") == "soon"
    assert date(text="") is None
    assert date() == after(0)
