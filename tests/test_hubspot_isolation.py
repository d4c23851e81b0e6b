"""One contact, company, record or page size that HubSpot does not serve holds up no other record of the pass."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from connectors.hubspot import HubSpot
from connectors.hubspot.client import Client
from connectors.hubspot.related import Related
from connectors.hubspot.search import LIMIT
from syncd.connector import Context, Window
from syncd.errors import Exit, Stopped, Unavailable
from syncd.isolation import PROBES, REQUESTS, Budget
from syncd.ledger import LedgerHandle
from syncd.passes.store import PassStore
from syncd.sandbox.standin.server import Request, Response
from tests.world import World

KINDS: dict[str, dict[str, Any]] = {
    "500": {"fault": "server_error"},
    "502": {"fault": "html"},
    "503": {"fault": "unavailable"},
    "504": {"fault": "answer", "status": 504, "body": "<html>504 Gateway Time-out</html>"},
    "hang": {"fault": "hang", "seconds": 5.0},
    "reset": {"fault": "reset"},
    "close": {"fault": "close"},
    "cut": {"fault": "cut"},
    "cut_json": {"fault": "cut_json"},
    "html_200": {"fault": "html_200"},
    "garbage": {"fault": "garbage"},
}
ISOLATES = 2 * 5 + 2 * PROBES + 4  # requests of a batch of up to 32 inputs with one culprit
IMPATIENT = "400ms"


def names(*ids: str) -> Callable[[Request], bool]:
    """Choose the requests that name one of these ids."""
    return lambda request: any(f'"{each}"'.encode() in request.body for each in ids)


def people(world: World, count: int, **properties: Any) -> tuple[list[str], list[str]]:
    """Put calls with a contact each, and return the ids of both."""
    contacts = [world.person(f"p{number}.quince", **properties) for number in range(count)]
    return [world.call(contacts=[each], ago=timedelta(hours=2)) for each in contacts], contacts


def kept(world: World) -> dict[str, Any]:
    """Return what the connector has stored."""
    with LedgerHandle(world.ledger).read() as reader:
        return {key: value for key, (value, _) in reader.store("hubspot").items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_contact_that_hubspot_does_not_serve_holds_up_no_other_call(world: World, kind: str) -> None:
    calls, contacts = people(world, 30)
    if kind == "hang":
        world.configure("sources.hubspot", timeout=IMPATIENT)
    world.hubspot.faults.add(**KINDS[kind], match="contacts/batch/read", when=names(contacts[13]), count=None)
    with world.counted() as counted:
        assert world.sync().exit_code == Exit.OK
    assert world.delivered == {*calls} - {calls[13]}
    assert world.state(calls[13]) == "incomplete crm_error"
    assert world.row(calls[13])["detail"].startswith("HubSpot, contacts batch read: ")
    assert contacts[13] not in world.row(calls[13])["detail"]
    assert counted["batch"] <= ISOLATES + 1, "one more for the company"
    assert sum(seconds for _, seconds in world.slept) < 3, "it is divided before anything waits for long"
    world.hubspot.faults.clear()
    world.later(hours=1)
    world.sync()
    assert world.state(calls[13]) == "delivered"


def test_a_contact_that_fails_within_a_207_holds_up_no_other_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, contacts = people(world, 12)
    answer, named = world.hubspot.answer, names(contacts[5])

    def partly(request: Request) -> Response:
        found: Response = answer(request)
        if "contacts/batch/read" not in request.path or not named(request):
            return found
        rows = [row for row in found.body["results"] if row["id"] != contacts[5]]
        return Response(
            207, {**found.body, "results": rows, "numErrors": 1, "errors": [{"category": "INTERNAL_ERROR"}]}
        )

    monkeypatch.setattr(world.hubspot, "answer", partly)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {*calls} - {calls[5]}
    assert world.state(calls[5]) == "incomplete crm_error"


def test_all_that_needs_the_culprit_waits_and_nothing_else(world: World) -> None:
    company = world.hubspot.put("companies", {"name": "Zephyr", "domain": "zephyr-bolts.com"})
    employee, other = world.person("zoe.zephyr", associatedcompanyid=company), world.person("otto.quince")
    callee = {"hs_call_callee_object_id": other, "hs_call_callee_object_type_id": "0-1"}
    through_contact, with_both = world.call(contacts=[employee]), world.call(contacts=[employee, world.contact])
    associated, called, fine = world.call(), world.call(contacts=[], **callee), world.call()
    world.hubspot.associate("calls", associated, "companies", company)
    for match, ids in (("companies/batch/read", company), ("contacts/batch/read", other)):
        world.hubspot.faults.add("server_error", match=match, when=names(ids), count=None)
    assert world.sync().exit_code == Exit.OK
    for each in (through_contact, with_both, associated):
        assert world.row(each)["detail"] == "HubSpot, companies batch read: answered 500"
    assert world.row(called)["detail"] == "HubSpot, contacts batch read: answered 500"
    assert world.delivered == {fine}


@pytest.mark.parametrize("to", ["contacts", "companies"])
def test_a_call_whose_associations_hubspot_does_not_serve_holds_up_no_other(world: World, to: str) -> None:
    calls, _ = people(world, 9)
    world.hubspot.faults.add("server_error", match=f"/calls/{to}/batch/read", when=names(calls[4]), count=None)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {*calls} - {calls[4]}
    assert world.state(calls[4]) == "incomplete crm_error"


def test_a_culprit_is_searched_once_a_pass_however_many_pages_need_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.hubspot.gather.__kwdefaults__", {"group": 10, "refs": 100})
    bad = world.person("late.comer")
    calls = [world.call(contacts=[bad, world.contact]) for _ in range(40)]
    world.hubspot.faults.add("server_error", match="contacts/batch/read", when=names(bad), count=None)
    with world.counted() as counted:
        assert world.sync().exit_code == Exit.OK
    assert {world.state(each) for each in calls} == {"incomplete crm_error"}
    assert counted["batch"] <= ISOLATES + 1


def test_a_single_contact_is_to_blame_if_hubspot_serves_another(world: World) -> None:
    (call,), (contact,) = people(world, 1)
    world.hubspot.faults.add("server_error", match="contacts/batch/read", when=names(contact), count=None)
    assert world.sync().exit_code == Exit.OK
    assert world.state(call) == "incomplete crm_error"


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("match", ["contacts/batch/read", "companies/batch/read", "/calls/contacts/"])
def test_an_outage_of_one_endpoint_blames_nothing_and_costs_few_requests(world: World, match: str, count: int) -> None:
    calls, _ = people(world, count)
    rule = world.hubspot.faults.add("server_error", match=match, count=None)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert rule.hits <= 3 + PROBES + 1
    assert not world.sql("SELECT 1 FROM activities WHERE reason = 'crm_error'")
    world.hubspot.faults.clear()
    world.later(minutes=5)
    world.sync()
    assert world.delivered == {*calls}


def test_a_wish_to_wait_is_obeyed_and_divides_nothing(world: World) -> None:
    _, contacts = people(world, 8)
    fault = {"match": "contacts/batch/read", "when": names(contacts[3]), "count": None}
    rule = world.hubspot.faults.add("unavailable", headers={"Retry-After": "7"}, **fault)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert (rule.hits, [seconds for _, seconds in world.slept if seconds]) == (3, [7, 7])
    world.hubspot.faults.clear()
    rule = world.hubspot.faults.add("unavailable", headers={"Retry-After": "90"}, **fault)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert rule.hits == 1


def test_the_search_for_culprits_has_a_budget_and_every_call_is_served_in_the_end(world: World) -> None:
    calls, contacts = people(world, 100)
    bad = range(3, 100, 12)
    culprits = [contacts[each] for each in bad]
    world.hubspot.faults.add("server_error", match="contacts/batch/read", when=names(*culprits), count=None)
    with world.counted() as counted:
        world.sync()
    assert counted["batch"] <= REQUESTS + len(culprits) * (PROBES + 1)
    for _ in range(6):
        if world.delivered == {*calls} - {calls[each] for each in bad}:
            break
        world.later(hours=3)
        world.sync()
    assert world.delivered == {*calls} - {calls[each] for each in bad}
    assert {world.state(calls[each]) for each in bad} == {"incomplete crm_error"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", ["calls", "emails"])
def test_a_look_up_names_the_record_that_is_not_served_and_reads_the_others(
    world: World, kind: str, stream: str
) -> None:
    put = {"calls": world.call, "emails": world.email}[stream]
    ids = [put() for _ in range(20)]
    world.hubspot.faults.add(**KINDS[kind], match=f"{stream}/batch/read", when=names(ids[7]), count=None)
    connector = connected(world, timeout=IMPATIENT if kind == "hang" else "30s")
    with world.counted() as counted:
        (page,) = connector.fetch_ids(stream, [*ids, "1"])
    connector.close()
    assert {ref.crm_id for ref in page.refs} == {record.ref.crm_id for record in page.records} == {*ids} - {ids[7]}
    assert (list(page.unserved), list(page.missing)) == ([ids[7]], ["1"])
    assert counted["batch"] <= ISOLATES + 2


@pytest.mark.parametrize(("kind", "tries"), [("504", 1), ("500", 3)])
def test_a_batch_that_timed_out_is_divided_without_another_try(world: World, kind: str, tries: int) -> None:
    people(world, 30)
    rule = world.hubspot.faults.add(**KINDS[kind], match="contacts/batch/read", count=None)
    assert world.sync().exit_code == Exit.UNAVAILABLE
    assert rule.hits == tries + PROBES


def test_a_culprit_is_not_asked_for_again_and_the_budget_is_that_of_the_pass(world: World) -> None:
    _, contacts = people(world, 30)
    world.hubspot.faults.add("server_error", match="contacts/batch/read", when=names(contacts[8]), count=None)
    client = Client(configured(world), context(world))
    for budget, blamed in ((Budget(), {contacts[8]}), (Budget(0), {*contacts})):
        related = Related(client, None, budget=budget)  # type: ignore[arg-type]
        assert {*related.read("contacts", contacts, ("email",))} == {*contacts} - blamed
        assert {*related.unserved("contacts", contacts)} == blamed
        with world.counted() as counted:
            related.read("contacts", contacts, ("email",))
        assert counted.get("batch", 0) == (1 if len(blamed) == 1 else 0)
    client.close()


def test_a_rate_limit_during_the_search_for_a_culprit_is_waited_for(world: World) -> None:
    calls, contacts = people(world, 30)
    batch = {"match": "contacts/batch/read"}
    world.hubspot.faults.add("ten_secondly", **batch, skip=5, count=2)
    world.hubspot.faults.add("server_error", **batch, when=names(contacts[21]), count=None)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {*calls} - {calls[21]}
    assert sum(seconds >= 10 for _, seconds in world.slept) == 2


def test_a_stop_ends_the_search_for_a_culprit(world: World) -> None:
    _, contacts = people(world, 30)
    rule = world.hubspot.faults.add("server_error", match="contacts/batch/read", when=names(contacts[3]), count=None)

    def sleep(_seconds: float) -> None:
        if rule.hits >= 4:
            raise Stopped("stopped")

    connector = connected(world, sleep=sleep)
    with pytest.raises(Stopped):
        list(connector.fetch("calls", window(world)))
    connector.close()
    assert rule.hits == 4


def test_a_minute_of_failures_is_an_outage(world: World) -> None:
    """A server that lets each request hang for half a minute costs two of them, not the search for a culprit."""
    at = [0.0]
    _, contacts = people(world, 30)
    rule = world.hubspot.faults.add("server_error", match="contacts/batch/read", count=None)
    world.hubspot.on_request = lambda number, kind: at.__setitem__(0, at[0] + 31)
    client = Client(configured(world), context(world), monotonic=lambda: at[0])
    related = Related(client, None)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="answered 500"):
        related.read("contacts", contacts, ("email",))
    client.close()
    assert (rule.hits, related.unserved("contacts", contacts)) == (3, {})


# -- pages of a search ----------------------------------------------------------------------


def above(rows: int) -> Callable[[Request], bool]:
    """Choose the searches for more than `rows` rows."""
    return lambda request: json.loads(request.body)["limit"] > rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_page_that_is_too_large_becomes_smaller_within_the_pass(world: World, kind: str) -> None:
    emails = [world.email(ago=timedelta(hours=20, seconds=-number)) for number in range(400)]
    if kind == "hang":
        world.configure("sources.hubspot", timeout=IMPATIENT)
    rule = world.hubspot.faults.add(**KINDS[kind], match="/emails/search", when=above(100), count=None)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {*emails}
    assert 1 <= rule.hits <= 2
    assert kept(world)["search_rows.emails"] == 100
    assert "search_rows.calls" not in kept(world)
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert rule.hits <= 3, "a later pass begins with the size that works, and tries a larger one once"


def test_pages_grow_again_once_larger_ones_are_served(world: World) -> None:
    world.calls(400)
    rule = world.hubspot.faults.add(**KINDS["504"], match="/calls/search", when=above(60), count=None)
    world.sync()
    assert rule.hits == 2
    assert kept(world)["search_rows.calls"] == 50
    world.hubspot.faults.clear()
    world.sql("UPDATE streams SET watermark = NULL, swept_at = NULL")
    world.later(minutes=5)
    world.sync()
    assert kept(world)["search_rows.calls"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_one_failed_search_makes_no_page_smaller_unless_it_timed_out(world: World, kind: str) -> None:
    world.calls(2 * LIMIT)
    if kind == "hang":
        world.configure("sources.hubspot", timeout=IMPATIENT)
    world.hubspot.faults.add(**KINDS[kind], match="/calls/search", count=1)
    assert world.sync().exit_code == Exit.OK
    assert kept(world).get("search_rows.calls") == (LIMIT // 2 if kind in ("504", "hang") else None)


def test_an_outage_of_searches_still_costs_three_tries(world: World) -> None:
    world.calls(3)
    for kind in KINDS:
        if kind != "hang":
            rule = world.hubspot.faults.add(**KINDS[kind], match="/search", count=None)
            assert world.sync().exit_code == Exit.UNAVAILABLE
            assert rule.hits <= 4, "three tries, and in a later pass one for an instant long ago"
            world.hubspot.faults.clear()
    assert world.sync().exit_code == Exit.OK
    assert len(world.delivered) == 3


def configured(world: World, **settings: Any) -> Any:
    table = world.source(**settings)
    return HubSpot.Config(**table)


def context(world: World, sleep: Callable[[float], None] = lambda seconds: None) -> Context:
    return Context("hubspot", PassStore({}, world.now), world.now, sleep)


def connected(world: World, *, sleep: Callable[[float], None] = lambda seconds: None, **settings: Any) -> HubSpot:
    return HubSpot(configured(world, **settings), context(world, sleep))


def window(world: World) -> Window:
    def all_of_them(refs: Sequence[Any]) -> list[str]:
        return [ref.crm_id for ref in refs]

    return Window(world.now() - timedelta(days=100), None, all_of_them)
