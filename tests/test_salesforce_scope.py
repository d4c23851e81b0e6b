"""An org's scope: every row is counted by kind, marked by what the streams read, and what is not read is told."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.salesforce import counts
from connectors.salesforce import scope as scoping
from connectors.salesforce.conditions import completed
from connectors.salesforce.counts import Groups
from connectors.salesforce.scope import Reads, Tasks, by_queries, looks_like_calls, with_twins
from syncd.cli import scope as cli
from syncd.connector import Context, Scope
from syncd.errors import Unavailable
from syncd.normalize import scope as judging
from syncd.passes.store import PassStore
from syncd.sandbox.salesforce import lifelike
from syncd.sandbox.standin.faults import Fault
from syncd.types.conditions import Entry
from tests.orgs import OrgWorld
from tests.world import OWN, THEIRS


def scope(world: OrgWorld, *, days: float = 30) -> Scope:
    """Ask the org as a pass does."""
    source = world.config().sources[0]
    context = Context(source.name, PassStore({}, world.now), world.now, world._skip)
    with closing(source.connector(source.config, context)) as connector:
        found: Scope = connector.scope(world.now() - timedelta(days=days))  # type: ignore[attr-defined]
    return found


def counted(found: Scope, object_type: str) -> dict[tuple[Any, ...], tuple[int, str | None]]:
    """Return the kinds of one object by the values of their fields."""
    return {tuple(k.fields.values()): (k.count, k.read_as) for k in found.kinds if k.object == object_type}


def rows(world: OrgWorld, object_type: str) -> int:
    """Return the number of an object's rows that are not deleted."""
    return sum(not row.values.get("IsDeleted") for row in world.org.tables[object_type].rows.values())


# -- the golden org -----------------------------------------------------------------------


def open_cti(world: OrgWorld) -> None:
    world.task(TaskSubtype="Task", Type="Call")
    world.task(TaskSubtype="Task", Type="Dialer")


def to_do(world: OrgWorld) -> None:
    world.task(TaskSubtype="Task", Type=None, Status="Not Started", CallType=None)
    world.task(TaskSubtype="Task", Type=None)


def kept_open(world: OrgWorld) -> None:
    world.task(Status="In Progress")


def sequencer(world: OrgWorld) -> None:
    world.task(TaskSubtype="Task", Type="Email", Subject="[Outreach] [Email] [Out] a")
    world.task(TaskSubtype="Email", Type=None, Subject="Email: >> b")


def composer(world: OrgWorld) -> None:
    task = world.task(TaskSubtype="Email", Type="Email")
    world.mail(ActivityId=task)


def support(world: OrgWorld) -> None:
    case = world.org.put("Case", {"Subject": "It leaks"}, modified_at=world.now() - timedelta(days=3))
    world.mail(ParentId=case, Incoming=True, Status="1", FromAddress=f"mira.copperwell@{THEIRS}")


def draft(world: OrgWorld) -> None:
    world.mail(Status="5")


def aircall(world: OrgWorld) -> None:
    world.org.object("aircall__Log__c")
    world.org.object("Recall__c")
    for name in ("aircall__Log__c", "aircall__Log__c", "Recall__c"):
        world.org.put(name, {"Name": "x"}, modified_at=world.now() - timedelta(days=1))


def voice(world: OrgWorld) -> None:
    at = world.now() - timedelta(days=1)
    times = {"CallStartDateTime": at, "CallEndDateTime": at, "CallType": "Inbound"}
    world.org.put("VoiceCall", times, modified_at=at)
    world.org.put("VoiceCall", {**times, "ActivityId": world.task()}, modified_at=at)


SHAPES: tuple[Callable[[OrgWorld], None], ...] = (
    open_cti, to_do, kept_open, sequencer, composer, support, draft, aircall, voice,
)  # fmt: skip


@pytest.fixture
def golden(orgs: OrgWorld) -> OrgWorld:
    """Return an org with all shapes at once, and a deleted task and one that changed before the span."""
    orgs.org.voice_call = True
    orgs.task()
    orgs.mail()
    for shape in SHAPES:
        shape(orgs)
    orgs.org.delete("Task", orgs.task())
    orgs.task(ago=timedelta(days=40))
    return orgs


def test_every_row_of_the_golden_org_is_counted_once(golden: OrgWorld) -> None:
    found = scope(golden)
    for object_type, before in (("Task", 1), ("EmailMessage", 0), ("VoiceCall", 0), ("aircall__Log__c", 0)):
        number = sum(kind.count for kind in found.kinds if kind.object == object_type)
        assert number == rows(golden, object_type) - before, object_type


def test_the_golden_org_by_kind(golden: OrgWorld) -> None:
    found = scope(golden)
    assert counted(found, "Task") == {
        ("Call", None, True): (2, "call"),
        ("Task", "Call", True): (1, "call"),
        ("Task", "Dialer", True, "*"): (1, None),
        ("Task", None, True, "*"): (1, None),
        ("Task", None, False): (1, None),
        ("Call", None, False): (1, None),
        ("Task", "Email", True, False): (1, "email"),
        ("Email", "Email", True, True): (1, "email"),
        ("Email", None, True, False): (1, "email"),
    }
    assert counted(found, "EmailMessage") == {
        (None, False, "Sent"): (2, "email"),
        (None, False, "Draft"): (1, None),
        ("Case", True, "Read"): (1, "email"),
    }
    assert counted(found, "VoiceCall") == {(True,): (1, "call"), (False,): (1, None)}
    assert counted(found, "aircall__Log__c") == {(): (2, None)}
    assert counted(found, "Recall__c") == {}


def test_all_that_looks_like_a_call_or_an_email_and_is_not_read_is_told(golden: OrgWorld) -> None:
    told = {each.what for each in judging.unread(scope(golden).kinds) if each.looks_like}
    assert told == {
        "Task TaskSubtype=Task Type=Dialer IsClosed=true CallType=*", "Task TaskSubtype=Task IsClosed=true CallType=*",
        "Task TaskSubtype=Call IsClosed=false",

        "VoiceCall Task=false", "aircall__Log__c",
    }  # fmt: skip


def test_with_messages_alone_the_other_email_tasks_are_told_and_with_tasks_alone_the_other_messages(
    golden: OrgWorld,
) -> None:
    golden.configure("sources.salesforce.emails", **{"from": "messages"})
    found = counted(scope(golden), "Task")
    assert (found["Email", "Email", True, True], found["Email", None, True, False]) == ((1, "email"), (1, None))
    golden.configure("sources.salesforce.emails", **{"from": "tasks"})
    assert counted(scope(golden), "EmailMessage") == {
        (None, False, "Sent", True): (1, "email"), (None, False, "Sent", False): (1, None),
        (None, False, "Draft", False): (1, None), ("Case", True, "Read", False): (1, None),
    }  # fmt: skip


def test_the_golden_org_costs_a_bounded_number_of_requests(golden: OrgWorld) -> None:
    scope(golden)
    before = dict(golden.org.requests)
    scope(golden)
    asked = {kind: n - before.get(kind, 0) for kind, n in golden.org.requests.items() if n != before.get(kind, 0)}
    assert asked == {"token": 1, "batch": 1, "query": 11, "global": 1}


def test_rows_as_the_tools_write_them_are_all_counted_by_what_they_are_read_as(orgs: OrgWorld) -> None:
    orgs.org.voice_call = True
    people = {
        "rep": orgs.rep, "integration": orgs.org.user(f"sync@{OWN}", "Sync", "Robot"), "buyer": orgs.buyer,
        "colleague": orgs.contact_of("a.b"), "boss": orgs.contact_of("c.d"), "rep_address": f"cleo.hollisgrave@{OWN}",
        "lead": orgs.org.put("Lead", {"LastName": "Fennbrook", "Company": "Cinder Looms"}),
        "buyer_address": f"mira.copperwell@{THEIRS}",
    }  # fmt: skip
    lifelike.furnish(orgs.org, at=orgs.now() - timedelta(days=2), people=people)
    wanted = Counter((row.object, row.read_as) for row in lifelike.ROWS)
    wanted += Counter(("Task", "call" if row.object == "VoiceCall" else "email") for row in lifelike.ROWS if row.task)
    wanted += Counter({("VoiceCall", "call"): 1, ("VoiceCall", None): -1})  # Sales Dialer's is read as its task
    found = Counter[tuple[str, str | None]]()
    kinds = scope(orgs).kinds
    for kind in kinds:
        found[kind.object, kind.read_as] += kind.count
    assert found == +wanted
    assert {each.what for each in judging.unread(kinds) if each.looks_like} >= {
        "Task TaskSubtype=Task IsClosed=true CallType=*", "Task TaskSubtype=Call Type=Call IsClosed=false",
        "Task TaskSubtype=Call IsClosed=false", "VoiceCall Task=false",
    }  # fmt: skip


def test_what_was_counted_is_what_a_pass_reads(golden: OrgWorld) -> None:
    golden.sync()
    read = {name: golden.stream(name, "salesforce")["seen"] for name in ("calls", "emails", "email_tasks")}
    found = scope(golden, days=300)
    calls = sum(kind.count for kind in found.kinds if (kind.object, kind.read_as) == ("Task", "call"))
    emails = sum(kind.count for kind in found.kinds if (kind.object, kind.read_as) == ("EmailMessage", "email"))
    tasks = sum(kind.count for kind in found.kinds if kind.fields.get("EmailMessage") is False)
    assert read == {"calls": calls, "emails": emails, "email_tasks": tasks}


# -- owners, creators, senders ------------------------------------------------------------


def test_users_with_most_rows_are_named_by_id_and_never_by_name(orgs: OrgWorld) -> None:
    robot = orgs.org.user(f"robot@{OWN}", "Sync", "Robot")
    for number in range(4):
        orgs.task(OwnerId=orgs.rep if number else orgs.colleague, CreatedById=robot)
    orgs.task(Status="Not Started", OwnerId=orgs.colleague)
    found = scope(orgs)
    assert [(each.role, each.user, each.count, each.of) for each in found.holders] == [
        ("owner", orgs.rep, 3, 4), ("owner", orgs.colleague, 1, 4), ("creator", robot, 4, 4),
    ]  # fmt: skip
    assert "Robot" not in repr(found)


def test_senders_of_outgoing_mail_are_counted_by_domain_and_no_address_is_kept(orgs: OrgWorld) -> None:
    for name in ("ada", "bo", "cy"):
        orgs.mail(FromAddress=f"{name}@alt-lanternfield.com")
    orgs.mail()
    orgs.mail(Incoming=True, FromAddress=f"mira.copperwell@{THEIRS}")
    found = scope(orgs)
    assert found.senders == {"alt-lanternfield.com": 3, OWN: 1}
    assert "@" not in repr(found)


# -- what an org lacks --------------------------------------------------------------------


def test_a_hidden_type_is_a_warning_and_the_counts_go_on(orgs: OrgWorld) -> None:
    orgs.task()
    orgs.org.hide("Task", "Type")
    found = scope(orgs)
    assert counted(found, "Task") == {("Call", True): (1, "call")}
    assert any("does not see Task.Type" in warning for warning in found.warnings)


def test_an_org_without_emailmessage_reads_the_email_tasks(orgs: OrgWorld) -> None:
    orgs.org.enhanced_email = False
    sequencer(orgs)
    assert counted(scope(orgs), "Task") == {
        ("Email", None, True): (1, "email"), ("Task", "Email", True): (1, "email"),
    }  # fmt: skip


def test_without_calls_a_task_that_is_one_is_not_read_and_nor_is_its_voice_call(orgs: OrgWorld) -> None:
    """A task that both tables match is a call, so `email_tasks` leaves it out too."""
    orgs.org.voice_call = True
    orgs.configure("sources.salesforce.calls", read=False, match=[{"TaskSubtype": ["Call", "Email"]}])
    voice(orgs)
    mail = orgs.task(TaskSubtype="Email", Type=None)
    orgs.sync()
    assert {kind.read_as for kind in scope(orgs).kinds} == {None}
    assert orgs.sql("SELECT count(*) FROM activities WHERE crm_id = ?", mail) == [(0,)]


def test_an_org_whose_messages_are_of_cases_alone_is_warned_that_no_email_task_is_read(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.emails", **{"from": "messages"})
    support(orgs)
    sequencer(orgs)
    (warning,) = scope(orgs).warnings
    assert "mail of cases only, and about 2 email tasks are not read" in warning


def test_an_org_without_a_message_is_not_told_that_its_messages_are_of_cases(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.emails", **{"from": "messages"})
    sequencer(orgs)
    assert [*scope(orgs).warnings] == []


def test_voice_calls_without_a_task_are_read_if_the_source_says_so(orgs: OrgWorld) -> None:
    orgs.org.voice_call = True
    voice(orgs)
    orgs.configure("sources.salesforce", voice_calls=True)
    assert counted(scope(orgs), "VoiceCall") == {(True,): (1, "call"), (False,): (1, "call")}


def test_more_kinds_than_are_asked_for_are_counted_together(orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoping, "MOST_GROUPS", 2)
    for kind, number in (("a", 4), ("b", 3), ("c", 2), ("d", 1)):
        for _ in range(number):
            orgs.task(TaskSubtype="Task", Type=kind, CallType=None)
    assert counted(scope(orgs), "Task") == {("Task", "a", True): (4, None), ("Task", "b", True): (3, None)}
    assert counted(scope(orgs), scoping.OTHERS) == {(): (3, None)}


def test_an_empty_org_has_no_kind_and_no_warning(orgs: OrgWorld) -> None:
    found = scope(orgs)
    assert ([*found.kinds], [*found.warnings]) == ([], [])


# -- conditions ---------------------------------------------------------------------------


def test_marks_follow_the_conditions_of_both_streams(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.calls", match=[{"Type": "Dialer*"}, {"TaskSubtype": "Call", "IsClosed": False}])
    orgs.task(TaskSubtype="Task", Type="Dialer 2")
    orgs.task(TaskSubtype="Task", Type="Other", CallType=None)
    orgs.task(TaskSubtype="Call", Status="In Progress")
    assert counted(scope(orgs), "Task") == {
        ("Task", "Dialer 2", True): (1, "call"), ("Task", "Other", True): (1, None), ("Call", None, False): (1, "call"),
    }  # fmt: skip


def test_a_condition_on_another_field_is_counted_by_a_query_and_marked_as_approximate(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.calls", match=[{"Subject": "[Nooks]*", "TaskSubtype": "Task"}])
    for subject, number in (("[Nooks] Call", 3), ("[nooks] b", 1), ("Prepare [Nooks]", 2)):
        for _ in range(number):
            orgs.task(Subject=subject, TaskSubtype="Task")
    found = scope(orgs)
    kinds = {(kind.count, kind.read_as, kind.approximate) for kind in found.kinds}
    assert kinds == {(4, "call", True), (2, None, True)}
    assert "ooks" not in repr(found), "no subject is kept"


def test_a_field_that_no_query_can_filter_by_makes_the_counts_upper_bounds_and_says_so(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.calls", match=[{"Description": "*dialer*", "TaskSubtype": "Task"}])
    orgs.task(TaskSubtype="Task", Description="by hand")
    (warning,) = scope(orgs).warnings
    assert "no query can filter by Description" in warning


def test_tasks_that_two_queries_find_are_calls_and_no_task_is_counted_twice() -> None:
    groups, calls, emails = Groups({("a",): 5, ("b",): 2}), Groups({("a",): 4}), Groups({("a",): 3, ("b",): 9})
    parts = [(task.look["x"], task.kind, task.count) for task in by_queries(["x"], groups, calls, emails)]
    assert parts == [("a", "call", 4), ("a", "email", 1), ("b", "email", 2)]


def test_a_stream_that_is_not_read_by_choice_is_shown_and_no_warning(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.calls", read=False)
    orgs.task()
    orgs.mail()
    config = orgs.config()
    (answer,) = cli.answers(config, config.sources, orgs.now() - timedelta(days=30))
    assert [(kind["object"], kind["read_as"]) for kind in answer.document["kinds"]] == [
        ("EmailMessage", "email"), ("Task", None),
    ]  # fmt: skip
    assert answer.document["warnings"] == []


def test_the_command_marks_by_the_rule_that_the_ledger_keeps_if_the_file_names_none(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
    orgs.task(TaskSubtype="Task", Type="Call")
    orgs.task()
    orgs.sync()
    del orgs.tables["sources.salesforce.calls"]
    config = orgs.config()
    (answer,) = cli.answers(config, config.sources, orgs.now() - timedelta(days=30))
    kinds = {(kind["fields"]["Type"], kind["read_as"]) for kind in answer.document["kinds"] if kind["object"] == "Task"}
    assert kinds == {("Call", None), (None, "call")}


# -- slow orgs ----------------------------------------------------------------------------


def test_a_count_that_is_too_much_is_halved_and_loses_no_row(orgs: OrgWorld) -> None:
    for number in range(40):
        orgs.task(ago=timedelta(hours=number * 12 + 1), Type="Call" if number % 2 else None)
    orgs.org.query_timeout_rows = 15
    assert counted(scope(orgs), "Task") == {("Call", None, True): (20, "call"), ("Call", "Call", True): (20, "call")}


def test_an_org_that_is_too_slow_for_everything_is_not_asked_without_end(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    for number in range(120):
        orgs.task(ago=timedelta(hours=number * 5 + 1))
    monkeypatch.setattr(counts, "MOST_QUERIES", 30)
    orgs.org.query_timeout_rows = 5
    with pytest.raises(Unavailable, match="not counted within 30 queries") as raised:
        scope(orgs)
    assert raised.value.hint == "ask for fewer days: `syncd scope --days 3`"
    assert orgs.org.requests["query"] <= 60, "half of them ask whether the org answers at all"


def test_a_second_that_is_too_much_by_itself_ends_it(orgs: OrgWorld) -> None:
    orgs.task()
    orgs.org.query_timeout_rows = 0
    with pytest.raises(Unavailable):
        scope(orgs)


def test_time_outs_in_a_row_are_no_outage_if_the_org_answers_the_smallest_request(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", timeout="0.3s")
    for number in range(6):
        orgs.task(ago=timedelta(days=number * 4 + 1), CallType=None)
    orgs.org.faults.add("hang", match_query="GROUP BY TaskSubtype", seconds=30, count=5)
    assert counted(scope(orgs), "Task") == {("Call", None, True): (6, "call")}


@pytest.mark.parametrize(("part", "lost"), [("aircall__Log__c", "object"), ("GROUP BY OwnerId", "owner"),
                                            ("GROUP BY FromAddress", "senders")])  # fmt: skip
def test_a_count_that_the_org_refuses_leaves_the_others(orgs: OrgWorld, part: str, lost: str) -> None:
    aircall(orgs)
    orgs.task()
    orgs.mail()
    refused = [{"message": "no", "errorCode": "INVALID_FIELD"}]
    orgs.org.faults.add(Fault(match_query=part, status=400, body=refused, count=None))
    found = scope(orgs)
    parts = {
        "object": bool(counted(found, "aircall__Log__c")), "senders": bool(found.senders),
        **{role: any(each.role == role for each in found.holders) for role in ("owner", "creator")},
    }  # fmt: skip
    assert parts == {**dict.fromkeys(parts, True), lost: False}
    assert counted(found, "Task") == {("Call", None, True): (1, "call")}


def test_an_outage_ends_it_as_an_outage(orgs: OrgWorld) -> None:
    orgs.org.faults.add(Fault(match="query", status=503, count=None))
    with pytest.raises(Unavailable):
        scope(orgs)


# -- pure ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_call"),
    [
        ("aircall__Log__c", True), ("Talkdesk_Activity__c", True), ("fastcall__Call__c", True), ("CallLog__c", True),
        ("Dialpad_Call_Log__c", True), ("Phone_Calls__c", True), ("Recall__c", False), ("Invoice__c", False),
        ("Callout__c", False), ("Dialog__c", False), ("CallCenter", False), ("Task", False), ("Microcalling__c", False),
    ],
)  # fmt: skip
def test_objects_of_dialers_are_known_by_the_words_of_their_names(name: str, is_call: bool) -> None:
    assert looks_like_calls(name) is is_call


def test_email_tasks_are_divided_by_how_many_messages_name_one() -> None:
    tasks = [Tasks({"TaskSubtype": "Task"}, "email", 5), Tasks({"TaskSubtype": "Email"}, "email", 4),
             Tasks({"TaskSubtype": "Call"}, "call", 9)]  # fmt: skip
    parts = [(task.look["TaskSubtype"], task.twin, task.count) for task in with_twins(tasks, 6)]
    assert sorted(parts, key=repr) == [
        ("Call", None, 9), ("Email", True, 4), ("Task", False, 3), ("Task", True, 2),
    ]  # fmt: skip
    assert sum(count for *_, count in parts) == 18


def test_a_task_that_fulfils_the_conditions_of_both_streams_is_a_call() -> None:
    any_type, email = (completed([Entry.parse({"Type": each})]) for each in ("*", "Email"))
    both = Reads(any_type, email, messages=True, tasks=True, voice_calls=False)
    look = {"Type": "Email", "IsClosed": True}
    assert both.task(look.get) == "call"
    assert replace(both, calls=()).task(look.get) == "email"
    assert both.task({**look, "IsClosed": False}.get) is None
