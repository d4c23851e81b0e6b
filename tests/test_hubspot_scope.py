"""HubSpot's rows by kind: all of them, within 40 searches, and without a subject, a name or an address."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hubspot import HubSpot
from connectors.hubspot.config import HubSpotEmails
from connectors.hubspot.scope import BESIDE, DISTINGUISHED, SEARCHES_MOST, may_admit
from connectors.hubspot.tally import DAYS, IN_MEMORY, MOST, Tallies, sender_domain
from syncd.connector import Context, Ref, RowKind, Scope, ShowsScope, Window
from syncd.errors import Malformed, Unavailable
from syncd.passes.store import PassStore
from syncd.sandbox import Fault
from syncd.sandbox.hubspot import search
from syncd.sandbox.hubspot.lifelike import lifelike
from tests.world import World

OBJECTS = (*DISTINGUISHED, *BESIDE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def connect(world: World, store: Any = None, **tables: Any) -> HubSpot:
    world.configure("sources.hubspot", **tables)
    (source,) = world.config().sources
    found = source.connector(
        source.config, Context("hubspot", store or PassStore({}, world.now), world.now, lambda seconds: None)
    )
    assert isinstance(found, HubSpot)
    return found


def scope(world: World, days: float = 30, **tables: Any) -> Scope:
    connector = connect(world, **tables)
    try:
        return connector.scope(world.now() - timedelta(days=days))
    finally:
        connector.close()


def rows(world: World, name: str) -> list[dict[str, str]]:
    return [row.values for row in world.hubspot.tables[name].rows.values()]


def true_kinds(world: World, name: str) -> Counter[tuple[str | None, ...]]:
    return Counter(tuple(row.get(each) for each in DISTINGUISHED[name]) for row in rows(world, name))


def told(found: Scope, name: str) -> dict[tuple[str | bool | None, ...], int]:
    return {tuple(kind.fields.values()): kind.count for kind in found.kinds if kind.object == name}


def many(world: World, count: int, name: str = "emails", **properties: Any) -> None:
    """Put rows of one kind. A later call puts newer rows."""
    at = world.hubspot.clock.ms() - 3_600_000 + len(world.hubspot.tables[name].rows)
    for number in range(count):
        world.hubspot.put(name, properties, modified_at=at + number)


def test_the_connector_shows_its_scope(world: World) -> None:
    assert isinstance(connect(world), ShowsScope)


def test_a_portal_with_all_that_tools_write_is_told_whole_in_four_searches(world: World) -> None:
    written = lifelike(world.hubspot)
    with world.counted() as counted:
        found = scope(world)
    assert counted == {"search": 4, "account": 1}
    for name in OBJECTS:
        assert sum(told(found, name).values()) == len(rows(world, name)), name
    for name in DISTINGUISHED:
        assert told(found, name) == dict(true_kinds(world, name))
    unread = {(kind.object, *kind.fields.values()) for kind in found.kinds if kind.read_as is None}
    assert unread == {
        ("emails", "EMAIL", "DRAFT", "CRM_UI"), ("emails", "DRAFT_EMAIL", None, "CRM_UI"),
        ("communications", "SMS"), ("communications", "WHATS_APP"), ("communications", "LINKEDIN_MESSAGE"),
        ("meetings", "INTEGRATION"),
    }  # fmt: skip
    read = {kind.object: kind.read_as for kind in found.kinds if kind.read_as}
    assert read == {"calls": "call", "emails": "email"}
    assert not any(kind.approximate for kind in found.kinds)
    assert written.emails["draft"] not in repr(found)
    assert found.senders["birch-cranes-901.com"] == 1, "before any pass they are those of the sample"


def test_a_large_portal_is_counted_kind_by_kind_and_each_once(world: World) -> None:
    for number in range(7):
        lifelike(world.hubspot, at=world.hubspot.clock.ms() - (96 + number) * 3_600_000)
    with world.counted() as counted:
        found = scope(world)
    assert counted["search"] <= SEARCHES_MOST
    for name in OBJECTS:
        assert sum(told(found, name).values()) == len(rows(world, name)), name
    assert told(found, "emails") == dict(true_kinds(world, "emails"))
    assert len([kind for kind in found.kinds if kind.object == "emails" and kind.read_as is None]) == 2


def test_a_rare_kind_outside_the_sample_is_found_by_its_new_value(world: World) -> None:
    many(world, 1, hs_email_direction="DRAFT_EMAIL", hs_object_source="CRM_UI")
    many(world, 2, hs_email_direction="EMAIL", hs_email_status="SENT", hs_object_source="A_NEW_DIALER")
    many(world, 300, hs_email_direction="EMAIL", hs_email_status="SENT", hs_object_source="INTEGRATION")
    with world.counted() as counted:
        found = scope(world)
    assert told(found, "emails") == {
        ("EMAIL", "SENT", "INTEGRATION"): 300, ("EMAIL", "SENT", "A_NEW_DIALER"): 2,
        ("DRAFT_EMAIL", None, "CRM_UI"): 1,
    }  # fmt: skip
    assert {kind.read_as for kind in found.kinds if kind.fields["hs_email_direction"] == "DRAFT_EMAIL"} == {None}
    assert counted["search"] <= 4 + 3 + 4, "a sample each, a count for each kind, and the looks for other values"


def test_a_new_value_does_not_hide_another_one(world: World) -> None:
    for number, source in ((3, "OLDEST"), (250, "OLDER"), (300, "LATEST")):
        many(world, number, "calls", hs_object_source=source)
    assert told(scope(world), "calls") == {(None, "LATEST"): 300, (None, "OLDER"): 250, (None, "OLDEST"): 3}


def test_more_kinds_than_searches_are_counted_together(world: World) -> None:
    for number in range(60):
        many(world, 5, "calls", hs_call_status="COMPLETED", hs_object_source=f"TOOL_{number}")
    many(world, 260, hs_email_direction="EMAIL", hs_email_status="SENT", hs_object_source="CRM_UI")
    with world.counted() as counted:
        found = scope(world)
    assert counted["search"] <= SEARCHES_MOST
    assert sum(told(found, "calls").values()) == 300
    assert told(found, "calls")["other", "other"] > 0
    assert told(found, "emails") == {("EMAIL", "SENT", "CRM_UI"): 260}, "the calls left it its share"
    (rest,) = [kind for kind in found.kinds if "other" in kind.fields.values()]
    assert (rest.read_as, rest.approximate) == ("call", True)


def test_only_rows_modified_since_then_are_counted(world: World) -> None:
    world.hubspot.put("calls", {"hs_call_status": "BUSY"}, modified_at=world.now() - timedelta(days=8))
    world.hubspot.put("calls", {"hs_call_status": "MISSED"}, modified_at=world.now() - timedelta(days=6))
    assert told(scope(world, days=7), "calls") == {("MISSED", None): 1}


def test_a_stream_that_is_not_read_has_one_line(world: World) -> None:
    lifelike(world.hubspot)
    found = scope(world, emails={"read": False})
    assert [kind for kind in found.kinds if kind.object == "emails"] == [
        RowKind("emails", {}, len(rows(world, "emails")), None)
    ]


def test_what_match_leaves_out_is_not_read(world: World) -> None:
    lifelike(world.hubspot)
    match = {"match": [{"hs_object_source": "EMAIL_INTEGRATION"}, {"hs_email_subject": "*<<*"}]}
    found = scope(world, emails=match)
    rule = HubSpotEmails.model_validate(match)
    for kind in found.kinds:
        if kind.object == "emails" and kind.read_as:
            assert not kind.approximate
    read = sum(kind.count for kind in found.kinds if kind.object == "emails" and kind.read_as)
    assert read == sum(rule.admits(row.get) for row in rows(world, "emails"))
    assert sum(told(found, "emails").values()) <= len(rows(world, "emails"))


def test_in_a_large_portal_the_pages_that_were_read_tell_what_match_leaves_out(world: World) -> None:
    match = {"match": [{"hs_object_source": "CRM_UI"}, {"hs_object_source": "INTEGRATION", "hs_call_title": "Demo*"}]}
    many(world, 250, "calls", hs_object_source="INTEGRATION", hs_call_title="Demo 1")
    many(world, 40, "calls", hs_object_source="INTEGRATION", hs_call_title="Something private")
    many(world, 30, "calls", hs_object_source="CRM_UI")
    many(world, 20, "calls", hs_object_source="IMPORT")
    store = PassStore({}, world.now)
    connector = connect(world, store, calls=match)
    for _ in range(2):  # each reads all of them again, as an overlap does
        for _page in connector.fetch("calls", window(world)):
            pass
    found = connector.scope(world.now() - timedelta(days=30))
    connector.close()
    assert sorted(found.kinds, key=lambda kind: kind.count) == [
        RowKind("calls", {"hs_call_status": None, "hs_object_source": "IMPORT"}, 20, None),
        RowKind("calls", {"hs_call_status": None, "hs_object_source": "CRM_UI"}, 30, "call"),
        RowKind("calls", {"hs_call_status": None, "hs_object_source": "INTEGRATION"}, 40, None, True),
        RowKind("calls", {"hs_call_status": None, "hs_object_source": "INTEGRATION"}, 250, "call", True),
    ]
    assert "private" not in repr(store._kept)


def test_senders_of_outbound_mail_are_counted_by_domain_on_the_pages_that_are_read(world: World) -> None:
    lifelike(world.hubspot)
    for number in range(9):
        world.email(hs_email_from_email=f"Rep {number} <rep{number}@Alternative.example>")
    world.sync()
    with world.counted() as counted:
        for _ in range(3):
            world.later(minutes=5)
            world.sync()
    assert counted["search"] == 6, "the pages that are read anyway"
    kept = PassStore({key: (value, world.now()) for key, value in _store(world).items()}, world.now)
    connector = connect(world, kept)
    found = connector.scope(world.now() - timedelta(days=30)).senders
    connector.close()
    assert found["alternative.example"] == 9
    assert found["birch-cranes-901.com"] == 1
    assert not any("@" in domain for domain in found)


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ({"hs_email_from_email": "Jo <jo@a.example>"}, "a.example"),
        ({"hs_email_headers": '{"from": {"email": "Jo <jo@B.example>"}}'}, "b.example"),
        ({"hs_email_from_email": " ", "hs_email_headers": '{"from": {"email": "jo@b.example"}}'}, "b.example"),
        ({"hs_email_headers": '{"from": {"email": "jo@b.example"}}', "hs_email_direction": "INCOMING_EMAIL"}, None),
        ({}, None),
    ],
)
def test_the_headers_tell_the_sender_if_no_property_does(written: dict[str, str], domain: str | None) -> None:
    """A tool may write the headers alone. Its alternative domain was missing in the report."""
    assert sender_domain({"hs_email_direction": "EMAIL", **written}) == domain


def _store(world: World) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in world.sql("SELECT key, value FROM store WHERE source = 'hubspot'")}


def test_nothing_private_is_kept_or_told(world: World) -> None:
    lifelike(world.hubspot)
    world.sync()
    found = scope(world)
    written = repr((found, _store(world).get("tally.emails")))
    for word in ("kaya", "ivorstone", "Gong", "Accepted", "<<", "two.boxes", "555"):
        assert word not in written, word


@pytest.mark.parametrize("status", [403, 404])
def test_objects_that_the_token_may_not_see_are_left_out(world: World, status: int) -> None:
    lifelike(world.hubspot)
    for name in BESIDE:
        world.hubspot.faults.add(Fault(match=f"{name}/search", status=status, body="{}", count=None))
    found = scope(world)
    assert {kind.object for kind in found.kinds} == {"calls", "emails"}


def test_a_portal_that_refuses_to_exclude_values_has_a_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(search.NEEDS, "NOT_IN")
    many(world, 7, "calls", hs_object_source="OLDER")
    many(world, 300, "calls", hs_object_source="LATEST")
    assert told(scope(world), "calls") == {(None, "LATEST"): 300, ("other", "other"): 7}


def test_many_rows_beside_are_told_by_their_number(world: World) -> None:
    many(world, 250, "meetings", hs_object_source="INTEGRATION")
    assert scope(world).kinds == [RowKind("meetings", {}, 250, None)]


def test_a_search_without_a_total_is_malformed(world: World) -> None:
    world.hubspot.faults.add(Fault(match="calls/search", status=200, body='{"results": []}', count=None))
    with pytest.raises(
        Malformed, match="no total", check=lambda error: error.hint.endswith("upgrade syncd, or report this")
    ):
        scope(world)


def test_rows_of_a_kind_that_match_always_leaves_out_have_no_line_of_read_ones(world: World) -> None:
    many(world, 250, "calls", hs_object_source="INTEGRATION", hs_call_title="Something private")
    store = PassStore({}, world.now)
    connector = connect(world, store, calls={"match": [{"hs_call_title": "Demo*"}]})
    for _page in connector.fetch("calls", window(world)):
        pass
    found = connector.scope(world.now() - timedelta(days=30))
    connector.close()
    assert [(kind.count, kind.read_as) for kind in found.kinds] == [(250, None)]


def window(world: World) -> Window:
    return Window(world.now() - timedelta(days=2), None, lambda refs: {ref.crm_id for ref in refs})


def test_an_outage_is_told(world: World) -> None:
    world.hubspot.faults.add("server_error", match="emails/search", count=None)
    with pytest.raises(Unavailable):
        scope(world)


# -- pure ---------------------------------------------------------------------------------

NAMES, TEXTS = ("a", "b", "c"), ("", "x", "y", "xy")
ENTRY = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from((*TEXTS, "*", "x*")), min_size=1, max_size=2), min_size=1
)


@given(st.lists(ENTRY, max_size=3), st.dictionaries(st.sampled_from(NAMES), st.sampled_from(TEXTS)), st.data())
def test_what_is_known_of_a_row_decides_for_all_rows_like_it(match, row, data):
    rule = HubSpotEmails.model_validate({"match": match})
    known = {name: row.get(name) or None for name in data.draw(st.sets(st.sampled_from(NAMES)))}
    may, must = may_admit(rule.match, known)
    admits = rule.admits(row.get)
    assert may or not admits
    assert admits or not must
    if known.keys() == set(NAMES):
        assert (may, must) == (admits, admits)


def test_a_tally_is_bounded_by_days_and_entries() -> None:
    now = datetime(2026, 10, 5, tzinfo=UTC)
    store = PassStore({}, lambda: now)
    tallies = Tallies(store, {"emails": HubSpotEmails()}, DISTINGUISHED)
    for day in range(2 * DAYS):
        at = now - timedelta(days=2 * DAYS - day)
        page = [
            (Ref(f"{day}.{number}", at), {"properties": {"hs_email_direction": "EMAIL",
             "hs_email_from_email": f"a@d{number % (MOST + 20)}.example"}})
            for number in range(3 * MOST)
        ]  # fmt: skip
        tallies.note("emails", page)
        tallies.keep("emails")
    kept = store.get("tally.emails")
    assert len(kept["days"]) == DAYS
    assert {len(entries) for entries in kept["days"].values()} == {MOST}
    assert sum(tallies.senders(now - timedelta(days=2)).values()) == 2 * sum(next(iter(kept["days"].values())).values())


def test_a_first_import_over_years_takes_no_more_memory() -> None:
    now = datetime(2026, 10, 5, tzinfo=UTC)
    tallies = Tallies(PassStore({}, lambda: now), {"emails": HubSpotEmails()}, DISTINGUISHED)
    for day in range(400):
        at = now - timedelta(days=400 - day)
        values = [{"hs_email_direction": "EMAIL", "hs_email_from_email": f"a@d{n}.example"} for n in range(300)]
        tallies.note("emails", [(Ref(f"{day}.{n}", at), {"properties": each}) for n, each in enumerate(values)])
        assert len(tallies._new["emails"]) <= IN_MEMORY + 300
    tallies.keep("emails")
    assert sum(tallies.senders(now - timedelta(days=2)).values()) > MOST


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"properties": None},
        {"properties": {"hs_email_direction": "EMAIL"}},
        {"properties": {"hs_email_direction": "EMAIL", "hs_email_from_email": "a@b c"}},
    ],
)
def test_a_row_without_a_sender_counts_for_nobody(row: dict[str, Any]) -> None:
    now = datetime(2026, 10, 5, tzinfo=UTC)
    store = PassStore({}, lambda: now)
    tallies = Tallies(store, {"emails": HubSpotEmails()}, DISTINGUISHED)
    tallies.note("emails", [(Ref("1", now), row)])
    tallies.keep("emails")
    assert store.get("tally.emails") is None
