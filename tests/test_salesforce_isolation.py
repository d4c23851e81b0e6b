"""Whole passes over an org that fails for one id, one row or one second, and serves everything else."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

import pytest

from syncd.errors import Exit
from syncd.http import bodies
from syncd.sandbox.standin.server import Request, Response
from tests.orgs import OrgWorld
from tests.test_salesforce_promises import asked

FAULTS = ("UNKNOWN_EXCEPTION", "504", "QUERY_TIMEOUT", "reset", "cut_json", "hang")
TIMEOUT_S = 0.3


def answered(fault: str, answer: Callable[[], Response]) -> Response:
    """Return the answer of an org that fails in one of FAULTS."""
    if fault == "504":
        return Response(504, "<html>504 Gateway Time-out</html>", {"Content-Type": "text/html"})
    if fault == "hang":
        time.sleep(TIMEOUT_S + 0.2)
        return Response(500, deliver="close")
    if fault == "reset":
        return Response(500, deliver="reset")
    if fault == "cut_json":
        whole = answer().encoded()
        return Response(200, whole[: len(whole) // 2])
    return Response(400 if fault == "QUERY_TIMEOUT" else 500, [{"errorCode": fault, "message": "An error occurred"}])


@contextmanager
def failing(
    org: Any, fault: str, *texts: str, path: str = "", shown: bool = False,
    served: Callable[[str], bool] = lambda _: False,
) -> Iterator[list[str]]:  # fmt: skip
    """Fail each request to a path with `path` that names one of `texts`, or shows one if `shown`, in one of FAULTS.

    A query that is `served` never fails. Yields the failed queries.
    """
    failed: list[str] = []
    whole = org.answer

    def answer(request: Request) -> Response:
        asked = f"{unquote_plus(request.target)} {unquote_plus(request.body.decode())}"
        if path not in request.path or served(asked):
            return whole(request)
        said = whole(request).encoded().decode() if shown else asked
        if not any(text in said for text in texts):
            return whole(request)
        failed.append(asked)
        return answered(fault, lambda: whole(request))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(org, "answer", answer)
        yield failed


def quick(world: OrgWorld, fault: str) -> None:
    """Shorten the deadline if the org hangs."""
    if fault == "hang":
        world.configure("sources.salesforce", timeout=f"{TIMEOUT_S}s")


def calls(world: OrgWorld, count: int = 12) -> tuple[list[str], list[str]]:
    """Put calls with a second contact of their own each. Return both."""
    people = [world.contact_of(f"guest{number}.aldermoor") for number in range(count)]
    ago = timedelta(hours=3)
    ids = [world.task(others=[person], ago=ago - timedelta(seconds=n)) for n, person in enumerate(people)]
    return ids, people


def healed(world: OrgWorld, ids: Sequence[str]) -> None:
    """Assert that everything is delivered once the cause is gone and the look-up is due."""
    world.configure("sources.salesforce", timeout="30s")
    world.later(minutes=20)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == set(ids)
    assert not world.recotap.doubled


# -- one id of a request for related rows -----------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_contact_that_cannot_be_retrieved_holds_up_its_own_call_alone(orgs: OrgWorld, fault: str) -> None:
    ids, people = calls(orgs)
    email = orgs.mail(to=[people[7]])
    quick(orgs, fault)
    with failing(orgs.org, fault, people[4], path="composite/sobjects/Contact"):
        outcome = orgs.sync()
    assert (outcome.exit_code, outcome.errors) == (Exit.OK, ())
    assert orgs.delivered == {*ids, email} - {ids[4]}
    assert orgs.state(ids[4]) == "incomplete crm_error"
    assert "Contact by id" in orgs.row(ids[4])["detail"]
    healed(orgs, [*ids, email])
    assert len(orgs.payload(ids[4])["contacts"]) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_whose_people_cannot_be_read_waits_alone(orgs: OrgWorld, fault: str) -> None:
    ids, _ = calls(orgs)
    quick(orgs, fault)
    with failing(orgs.org, fault, ids[4], path="/query"):
        assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {*ids} - {ids[4]}
    assert orgs.state(ids[4]) == "incomplete crm_error"
    healed(orgs, ids)


def test_an_account_that_cannot_be_retrieved_holds_up_what_needs_it(orgs: OrgWorld) -> None:
    bad = orgs.org.put("Account", {"Name": "Broken Gears", "Website": "broken-gears.com"})
    ids, _ = calls(orgs, 4)
    theirs = orgs.mail(to=[orgs.contact_of("nils.aldermoor", account=bad)])
    about, email = orgs.mail(RelatedToId=bad), orgs.mail()
    with failing(orgs.org, "UNKNOWN_EXCEPTION", bad, path="composite/sobjects/Account"):
        assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {*ids, email}
    assert orgs.state(theirs) == orgs.state(about) == "incomplete crm_error"
    healed(orgs, [*ids, theirs, about, email])


def test_a_lead_whose_contact_cannot_be_retrieved_holds_up_its_own_call(orgs: OrgWorld) -> None:
    lead = orgs.org.put("Lead", {"LastName": "Ivorstone", "Email": "bram@cinder-kilns.com", "Company": "Cinder Kilns"})
    ids, _ = calls(orgs, 4)
    theirs = orgs.task(others=[lead])
    contact = orgs.contact_of("bram.ivorstone")
    orgs.org.edit("Lead", lead, IsConverted=True, ConvertedContactId=contact)
    with failing(orgs.org, "UNKNOWN_EXCEPTION", contact, path="composite/sobjects/Contact"):
        assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == set(ids)
    assert orgs.state(theirs) == "incomplete crm_error"


def test_a_user_who_cannot_be_read_holds_up_the_emails_that_name_it(orgs: OrgWorld) -> None:
    orgs.mail()
    orgs.sync()  # the list of users is of now; later ones are read by id
    orgs.later(minutes=30)
    bad, good = (orgs.org.user(f"{name}.rep@lanternfield-sales.com", name, "Rep") for name in ("broken", "whole"))
    theirs, other = (orgs.mail(FromId=each, ago=timedelta(hours=5)) for each in (bad, good))
    fresh = orgs.mail(ago=timedelta(hours=5, minutes=1))
    orgs.configure("sources.salesforce", overlap="6h")
    with failing(orgs.org, "UNKNOWN_EXCEPTION", bad, path="/query", served=lambda asked: "FROM User" not in asked):
        assert orgs.sync().exit_code == Exit.OK
    assert {other, fresh} <= orgs.delivered
    assert theirs not in orgs.delivered
    assert orgs.state(theirs) == "incomplete crm_error"
    orgs.later(minutes=20)
    another = orgs.mail(FromId=bad)
    orgs.sync()
    for crm_id in (theirs, another):
        assert orgs.payload(crm_id)["ownerEmail"] == "broken.rep@lanternfield-sales.com", "it is no stranger"


def test_the_task_of_an_email_that_cannot_be_read_holds_up_that_email(orgs: OrgWorld) -> None:
    came: dict[str, Any] = {"Incoming": True, "FromId": None, "FromAddress": "mira.copperwell@amber-bolts.com"}
    tasks = [orgs.task(TaskSubtype="Email", OwnerId=orgs.colleague) for _ in range(4)]
    ids = [orgs.mail(ActivityId=task, **came) for task in tasks]
    only = lambda asked: "OwnerId, Owner.Name" not in asked  # noqa: E731
    with failing(orgs.org, "UNKNOWN_EXCEPTION", tasks[1], path="/query", served=only):
        assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {*ids} - {ids[1]}
    assert orgs.state(ids[1]) == "incomplete crm_error"
    healed(orgs, ids)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_up_that_one_id_breaks_serves_the_others(orgs: OrgWorld, fault: str) -> None:
    ids = [orgs.task(WhoId=None, ago=timedelta(hours=2, seconds=number)) for number in range(12)]
    orgs.sync()
    for crm_id in ids:
        orgs.org.edit("Task", crm_id, WhoId=orgs.buyer, touch=False)
    orgs.later(minutes=16)
    quick(orgs, fault)
    with failing(orgs.org, fault, ids[5], path="/query") as failed:
        assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {*ids} - {ids[5]}
    assert orgs.state(ids[5]) == "incomplete crm_error"
    assert len(failed) < 20
    orgs.later(hours=2)
    healed(orgs, ids)


@pytest.mark.parametrize("fault", ["UNKNOWN_EXCEPTION", "504", "reset", "hang", "QUERY_TIMEOUT"])
def test_an_outage_of_all_people_blames_nobody(orgs: OrgWorld, fault: str) -> None:
    ids, _ = calls(orgs)
    quick(orgs, fault)
    with failing(orgs.org, fault, "003", path="composite/sobjects/Contact") as failed:
        assert orgs.sync().exit_code == Exit.UNAVAILABLE
    assert len(failed) <= 6, "the tries of one request, and two others"
    assert orgs.status()["seen"] == 0
    healed(orgs, ids)


def test_a_pause_ends_the_search_for_a_culprit(orgs: OrgWorld) -> None:
    calls(orgs)
    where = "composite/sobjects/Contact"
    orgs.org.faults.add("sf_unavailable", match=where, count=2)
    orgs.org.faults.add("sf_unavailable", match=where, headers={"Retry-After": "600"}, count=None)
    before = orgs.org.requests["retrieve"]
    assert orgs.sync().exit_code == Exit.UNAVAILABLE
    assert orgs.org.requests["retrieve"] - before == 3
    assert orgs.stream("calls", "salesforce")["paused_until"] is not None
    assert orgs.status()["seen"] == 0


def test_the_search_for_a_culprit_waits_as_long_as_the_org_asks(orgs: OrgWorld) -> None:
    ids, people = calls(orgs)
    slow = {"headers": {"Retry-After": "7"}, "when": lambda request: people[4].encode() in request.body}
    orgs.org.faults.add("sf_unavailable", match="composite/sobjects/Contact", count=None, **slow)
    failed = orgs.org.requests["retrieve"]
    assert orgs.sync().exit_code == Exit.OK
    failed = orgs.org.requests["retrieve"] - failed
    assert orgs.delivered == {*ids} - {ids[4]}
    waits = [seconds for _, seconds in orgs.slept if 5 < seconds <= 7]
    assert len(waits) >= 7, "after each request that failed"
    assert failed < 30


def test_many_culprits_cost_a_bounded_number_of_requests(orgs: OrgWorld) -> None:
    ids, people = calls(orgs, 60)
    bad = people[::2]
    with failing(orgs.org, "UNKNOWN_EXCEPTION", *bad, path="composite/sobjects/Contact") as failed:
        for _ in range(4):
            orgs.sync()
            orgs.later(minutes=1)
    assert orgs.delivered <= set(ids[1::2])
    assert len(failed) < 4 * 320
    assert orgs.status()["balanced"]


def test_a_list_of_users_whose_locators_never_live_is_read_by_id(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10)
    for number in range(35):
        orgs.org.user(f"rep{number}@lanternfield-sales.com", "Rep", f"Number {number}")
    orgs.org.faults.add("sf_locator", match="/query/01g", count=None)
    call = orgs.task()
    assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == {call}
    ours, _ = json.loads(orgs.sql("SELECT value FROM store WHERE key = 'users'")[0][0])
    assert len(ours) == 38
    assert len({crm_id for crm_id, *_ in ours}) == 38


# -- one second, and rows that no query can show ----------------------------------------


def of_one_second(world: OrgWorld, count: int) -> list[str]:
    at = world.now() - timedelta(hours=2)
    people = {"WhoId": world.buyer, "OwnerId": world.rep, "AccountId": world.account}
    values = {"TaskSubtype": "Call", "Status": "Completed", "CompletedDateTime": at, **people}
    return [world.org.put("Task", values, created_at=at, modified_at=at) for _ in range(count)]


def full_rows(asked: str) -> bool:
    """Tell whether a query is for no more than ids and times."""
    return "SELECT Id, SystemModstamp FROM" in asked


@pytest.mark.parametrize("way", ["INVALID_QUERY_LOCATOR", "401"])
def test_two_thousand_calls_of_one_second_come_in_one_pass_without_a_locator(orgs: OrgWorld, way: str) -> None:
    orgs.org.set(page_size=500)
    ids = [orgs.task(), *of_one_second(orgs, 2_000), orgs.task(ago=timedelta(minutes=30))]
    code = "INVALID_SESSION_ID" if way == "401" else way
    refused = [{"errorCode": code, "message": "x"}]
    orgs.org.faults.add("answer", match="/01g", status=int(way) if way == "401" else 400, body=refused, count=None)
    assert orgs.sync().exit_code == Exit.OK
    assert orgs.delivered == set(ids)
    assert orgs.recotap.received.total() == len(ids)


@pytest.mark.parametrize("fault", ["UNKNOWN_EXCEPTION", "504", "QUERY_TIMEOUT", "cut_json"])
def test_a_call_that_no_window_can_show_is_unserved_and_its_second_is_read(orgs: OrgWorld, fault: str) -> None:
    """Its id and time can be shown, so it has a row, and no gap remains."""
    ids = [*of_one_second(orgs, 20), orgs.task()]
    with failing(orgs.org, fault, ids[7], path="/query", shown=True, served=full_rows):
        for _ in range(2):
            orgs.sync()
            orgs.later(minutes=1)
        assert orgs.delivered == {*ids} - {ids[7]}
        assert orgs.state(ids[7]) == "incomplete crm_error"
        assert orgs.status()["ranges"] == []
        assert orgs.sync().exit_code == Exit.OK
    healed(orgs, ids)


def test_a_call_that_hangs_each_query_that_shows_it_does_not_shorten_all_windows(orgs: OrgWorld) -> None:
    ids = [orgs.task(ago=timedelta(days=150 - 10 * n)) for n in range(12)]
    quick(orgs, "hang")
    with failing(orgs.org, "hang", ids[4], path="/query", shown=True, served=full_rows):
        with asked(orgs) as requests:
            assert orgs.sync().exit_code == Exit.OK, "in one pass"
        assert requests["query"] < 120
        assert orgs.delivered == {*ids} - {ids[4]}
        assert orgs.state(ids[4]) == "incomplete crm_error"
        orgs.later(minutes=1)
        with asked(orgs) as requests:
            assert orgs.sync().exit_code == Exit.OK
        assert requests["query"] == 3
    healed(orgs, ids)


@pytest.mark.parametrize("fault", ["UNKNOWN_EXCEPTION", "504", "cut_json"])
def test_a_call_of_which_not_even_the_id_can_be_shown_leaves_a_gap_of_itself(orgs: OrgWorld, fault: str) -> None:
    ids = [*of_one_second(orgs, 20), orgs.task()]
    with failing(orgs.org, fault, ids[7], path="/query", shown=True):
        for _ in range(3):
            assert orgs.sync().exit_code == Exit.UNAVAILABLE
            orgs.later(minutes=5)
        assert orgs.delivered == {*ids} - {ids[7]}, "its neighbours of the same second are read"
        assert [(each["why"], each["stream"]) for each in orgs.status()["ranges"]] == [("gap", "calls")]
    healed(orgs, ids)
    assert orgs.status()["ranges"] == []


# -- pages that are too large -----------------------------------------------------------


@pytest.mark.parametrize("fault", ["504", "cut_json", "hang"])
def test_pages_that_are_too_large_become_smaller_are_remembered_and_grow_again(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    ids = of_one_second(orgs, 300)
    ids += [orgs.task(ago=timedelta(hours=1, seconds=number)) for number in range(900)]
    orgs.configure("sources.salesforce", timeout="1s" if fault == "hang" else "30s")
    sizes: list[int] = []  # that windows of calls asked for
    whole = orgs.org.answer

    def answer(request: Request) -> Response:
        if "SystemModstamp >=" in request.first("q") and "FROM Task" in request.first("q"):
            sizes.append(int(request.headers.get("Sforce-Query-Options", "batchSize=2000").partition("=")[2]))
        return whole(request)

    def is_large(request: Request) -> bool:
        if orgs.org.kind(request) not in ("query", "more"):
            return False
        found = json.loads(whole(request).encoded())["records"]
        return len(found) > 600 and found[0]["attributes"]["type"] == "Task"

    monkeypatch.setattr(orgs.org, "answer", answer)
    action: dict[str, dict[str, Any]] = {
        "504": {"fault": "answer", "status": 504},
        "hang": {"fault": "hang", "seconds": 5.0},
    }
    rule = orgs.org.faults.add(**action.get(fault, {"fault": fault}), when=is_large, count=None)
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == Exit.OK
    assert (rule.hits, requests["query"] < 12) == (2, True), "the third try was for fewer rows"
    assert orgs.delivered == set(ids)
    assert min(sizes) >= 200
    assert int(orgs.sql("SELECT value FROM store WHERE key = 'page_rows.calls'")[0][0]) < 2_000
    orgs.org.faults.clear()
    sizes.clear()
    for _ in range(4):
        orgs.org.edit("Task", ids[0], Subject="Changed")
        orgs.later(minutes=1)
        orgs.configure("sources.salesforce", overlap="5h", timeout="30s")
        assert orgs.sync().exit_code == Exit.OK
    assert sizes[0] < 2_000, "it begins with the size that worked"
    assert sizes[-1] == 2_000, "it grows again"


def test_pages_beyond_our_bound_become_smaller_and_stay_so(orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    orgs.sync()  # the description of the org is larger than a small page
    orgs.later(minutes=40)
    ids = {orgs.task(ago=timedelta(seconds=300 + number)) for number in range(600)}
    orgs.later(minutes=12)
    monkeypatch.setattr(bodies, "PAGE_MOST", 300_000)
    codes = []
    for _ in range(4):
        codes.append(orgs.sync().exit_code)
        orgs.later(minutes=20)
    assert codes == [Exit.UNAVAILABLE, Exit.OK, Exit.OK, Exit.OK]
    assert orgs.delivered == ids
