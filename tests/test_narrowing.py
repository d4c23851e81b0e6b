"""What narrows a stream stays as the ledger keeps it, until the file names it. A change tells what it leaves unread."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.salesforce import Salesforce
from connectors.salesforce.config import SalesforceConfig
from syncd.cli import check
from syncd.connector import Source
from syncd.ledger import LedgerHandle, StreamState
from syncd.passes.dry_run import DryRun
from syncd.passes.narrowing import Kept, Narrowed, narrowed, widens
from syncd.signals import StopRequest
from tests.orgs import OrgWorld

NOW = datetime(2026, 3, 10, tzinfo=UTC)
START, WATERMARK = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
TABLE: dict[str, Any] = {
    "connector": "salesforce", "start": START, "session_id": "env:SESSION", "instance_url": "https://a.my.salesforce.com",
}  # fmt: skip
CALLS = [{"TaskSubtype": "Call"}, {"Type": "Call", "TaskSubtype": "Task"}]
EMAILS = [{"TaskSubtype": "Email"}, {"Type": "Email", "TaskSubtype": "Task"}]
MESSAGES = {"object": "EmailMessage"}
READ = StreamState(WATERMARK, start=START)


def read(
    table: dict[str, Any], *, rules: dict[str, Any] | None = None, store: dict[str, Any] | None = None,
    states: dict[str, StreamState] | None = None, now: datetime = NOW,
) -> Narrowed:  # fmt: skip
    """Return the source of a table as the next pass reads it."""
    source = Source("crm", SalesforceConfig.model_validate({**TABLE, **table}), Salesforce)
    names = [stream.name for stream in Salesforce.streams]
    kept = Kept({name: (states or {}).get(name, StreamState()) for name in names}, rules or {}, store or {})
    return narrowed(source, kept, now)


def streams(found: Narrowed) -> list[str]:
    return [stream.name for stream in found.source.streams]


# -- which rule holds -------------------------------------------------------------------


def test_a_new_ledger_reads_by_the_defaults_and_keeps_them() -> None:
    found = read({})
    assert streams(found) == ["calls", "emails", "email_tasks"]
    assert found.rules == {"calls": {"match": CALLS}, "emails": MESSAGES, "email_tasks": {"match": EMAILS}}
    assert (found.news, found.unread, found.stays) == ((), (), ())


@pytest.mark.parametrize(
    ("store", "expected", "calls", "emails"),
    [
        ({"emails_from": "EmailMessage"}, ["calls", "emails"], CALLS[:1], EMAILS),
        ({"emails_from": "Task"}, ["calls", "email_tasks"], CALLS[:1], EMAILS[:1]),
        ({}, ["calls", "emails", "email_tasks"], CALLS[:1], EMAILS),  # it has no email yet
    ],
)
def test_a_ledger_of_an_older_version_goes_on_as_it_was_filled(
    store: dict[str, str], expected: list[str], calls: list[Any], emails: list[Any]
) -> None:
    states = {"calls": READ, **({"emails": READ} if store else {})}
    if store.get("emails_from") == "Task":
        states["email_tasks"] = READ  # the migration has moved them
    found = read({}, store=store, states=states)
    assert streams(found) == expected
    config: Any = found.source.config
    assert (config.calls.narrowing()["match"], config.emails.narrowing()["match"]) == (calls, emails)
    assert found.news == ()
    assert found.stays == ("calls", *(("email_tasks",) if "EmailMessage" in store.values() else ()),
                           *(("emails", "email_tasks") if "Task" in store.values() else ()))  # fmt: skip
    again = read({}, store=store, states=states, rules=dict(found.rules))
    assert (again.source.config, again.rules, again.news) == (found.source.config, found.rules, ())


def test_a_stream_without_a_record_takes_the_new_default_in_an_older_ledger_too() -> None:
    found = read({}, store={"emails_from": "EmailMessage"}, states={"emails": READ})
    assert found.rules["calls"] == {"match": CALLS}


def test_what_the_file_names_takes_effect_and_what_it_does_not_name_stays() -> None:
    first = read({"calls": {"match": [{"Type": "Call"}]}, "emails": {"from": "messages"}})
    second = read({}, rules=dict(first.rules))
    assert second.source.config.narrowing() == first.source.config.narrowing()
    assert streams(second) == ["calls", "emails"]
    third = read({"emails": {"from": "both"}}, rules=dict(second.rules))
    assert streams(third) == ["calls", "emails", "email_tasks"]
    assert third.rules["calls"] == {"match": [{"Type": "Call"}]}


def test_a_stream_that_is_turned_off_keeps_its_rule_and_stays_off() -> None:
    both = read({}, states={"emails": READ, "email_tasks": READ})
    only = read({"emails": {"from": "messages"}}, rules=dict(both.rules), states={"emails": READ, "email_tasks": READ})
    assert only.rules["email_tasks"] == {"match": EMAILS, "read": False}
    assert streams(read({}, rules=dict(only.rules))) == ["calls", "emails"]
    states = {"emails": READ, "email_tasks": READ}
    again = read({"emails": {"from": "both"}}, rules=dict(only.rules), states=states)
    assert (streams(again)[-1], again.news) == ("email_tasks", ()), "it goes on from its watermark"


def test_emails_that_are_turned_off_and_on_again_come_from_where_they_came() -> None:
    states = {"emails": READ}
    first = read({}, store={"emails_from": "EmailMessage"}, states=states)
    off = read({"emails": {"read": False}}, rules=dict(first.rules), states=states)
    assert streams(off) == ["calls"]
    assert streams(read({}, rules=dict(off.rules), states=states)) == ["calls", "emails"]


# -- what a change leaves unread --------------------------------------------------------


def test_a_wider_match_leaves_the_span_behind_the_watermark_unread() -> None:
    states = {"calls": READ}
    first = read({}, store={}, states=states)
    assert first.rules["calls"] == {"match": CALLS[:1]}
    wider = read({"calls": {"match": CALLS}}, states=states, rules=dict(first.rules))
    (news,) = wider.news
    assert (news.stream, news.since, news.until) == ("calls", START, WATERMARK)
    assert "--since 2026-01-01T00:00:00.000Z --until 2026-03-09T00:00:00.000Z --source crm" in news.remedy("crm")
    assert wider.unread == (news,)
    later = read({"calls": {"match": CALLS}}, states=states, rules=dict(wider.rules), now=NOW + timedelta(days=29))
    assert (later.news, later.unread) == ((), (news,)), "told once, and shown for 30 days"
    old = read({"calls": {"match": CALLS}}, states=states, rules=dict(later.rules), now=NOW + timedelta(days=31))
    assert old.unread == ()


def test_a_change_back_has_left_nothing_unread() -> None:
    states = {"calls": READ}
    wider = read({"calls": {"match": CALLS}}, states=states, rules={"calls": {"match": CALLS[:1]}})
    back = read({"calls": {"match": CALLS[:1]}}, states=states, rules=dict(wider.rules))
    assert (back.news, back.unread) == ((), ())


def test_a_stream_without_a_watermark_is_read_from_its_start_anyway() -> None:
    assert read({"calls": {"match": CALLS}}, rules={"calls": {"match": CALLS[:1]}}).news == ()


@pytest.mark.parametrize(
    ("before", "rule", "expected"),
    [
        ({"match": CALLS}, {"match": CALLS}, False),
        ({"match": CALLS}, {"match": CALLS[:1]}, False),
        ({"match": CALLS[:1]}, {"match": CALLS}, True),
        ({"match": CALLS[:1]}, {"match": CALLS[1:]}, True),
        ({"match": []}, {"match": CALLS}, False),
        ({"match": CALLS}, {"match": []}, True),
        ({"match": []}, {"match": []}, False),
        ({"read": False}, MESSAGES, True),
        ({"read": False, **MESSAGES}, MESSAGES, False),
        ({"match": [{"TaskSubtype": "Task", "Type": "Call"}]}, {"match": CALLS[1:]}, False),  # the order says nothing
    ],
)
def test_a_rule_widens_if_it_may_admit_more(before: Any, rule: Any, expected: bool) -> None:
    assert widens(before, rule) is expected


def test_messages_of_a_ledger_of_tasks_are_unread_behind_its_watermark() -> None:
    """The migration has copied it, so a change to both reads on from there."""
    states = {"emails": READ, "email_tasks": READ}
    found = read({"emails": {"from": "both"}}, store={"emails_from": "Task"}, states=states)
    assert [each.stream for each in found.news] == ["emails"]


# -- with an org ------------------------------------------------------------------------


def older(world: OrgWorld) -> None:
    """Let the ledger be one that an older version filled, after the migration."""
    world.sql("UPDATE streams SET rule = NULL")


def test_a_ledger_of_an_older_version_reads_on_and_check_tells_what_else_there_is(tmp_path: Path) -> None:
    with OrgWorld(tmp_path) as world:
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}])
        world.configure("sources.salesforce.emails", **{"from": "messages"})
        before = {world.task(), world.mail()}
        missed = world.task(TaskSubtype="Task", Type="Call", ago=timedelta(days=3))
        world.sync()
        older(world)
        world.tables.pop("sources.salesforce.calls")
        world.tables.pop("sources.salesforce.emails")
        world.later(minutes=30)
        world.task(TaskSubtype="Task", Type="Call", ago=timedelta(minutes=20))
        world.task(TaskSubtype="Email", ago=timedelta(hours=5))
        world.sync()
        assert world.delivered == before
        found = check.findings(world.config(), world.config().sources)
        (stays,) = [each for each in found if each.what.endswith(" rules")]
        assert stays.ok
        assert "calls, email_tasks stay" in stays.message
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": "Call"}, {"Type": "Call"}])
        world.later(minutes=30)
        new = world.task(TaskSubtype="Task", Type="Call", ago=timedelta(minutes=20))
        found = check.findings(world.config(), world.config().sources)
        told = [each for each in found if "not read under" in each.message]
        assert [(each.what, each.warning) for each in told] == [("salesforce: calls", True)]
        with capture_logs() as logs:
            world.sync()
            world.sync()
        assert [each["stream"] for each in logs if each["event"] == "rule.changed"] == ["calls"]
        assert new in world.delivered
        assert missed not in world.delivered
        assert told[0].hint.startswith("if you want them: `syncd backfill --since ")


def test_a_task_stays_in_the_stream_that_booked_it_first(tmp_path: Path) -> None:
    with OrgWorld(tmp_path) as world:
        email = world.task(TaskSubtype="Email", ago=timedelta(hours=5))
        waiting = world.task(TaskSubtype="Email", ago=timedelta(minutes=5))
        world.sync()
        assert (world.delivered, world.state(waiting)) == ({email}, "incomplete settling")
        world.configure("sources.salesforce.calls", match=[{"TaskSubtype": ["Call", "Email"]}])
        world.later(minutes=1)
        for crm_id in (email, waiting):
            world.org.edit("Task", crm_id, Description="Edited.")
        world.sync()
        world.later(hours=5)
        world.sync()
        assert world.delivered == {email, waiting}
        assert world.sql("SELECT count(*) FROM activities") == [(2,)]
        assert world.payload(waiting)["activityType"] == "email"


def test_a_stream_that_the_ledger_leaves_out_does_not_make_its_source_look_unread(tmp_path: Path) -> None:
    """The file does not name the setting, so only the ledger knows that the stream is not read."""
    with OrgWorld(tmp_path) as world:
        world.configure("sources.salesforce.emails", **{"from": "both"})
        world.sync()
        world.configure("sources.salesforce.emails", **{"from": "messages"})
        world.later(hours=1)
        world.sync()
        world.tables.pop("sources.salesforce.emails")
        world.later(hours=1)
        world.sync()
        with LedgerHandle(world.ledger).read() as glance:
            assert glance.last_success() == {"salesforce": world.now()}


def test_the_rule_of_a_pass_is_that_of_a_dry_run_and_of_a_check(tmp_path: Path) -> None:
    with OrgWorld(tmp_path) as world:
        world.task()
        world.configure("sources.salesforce.emails", **{"from": "messages"})
        world.sync()
        world.tables.pop("sources.salesforce.emails")
        world.later(minutes=5)
        world.task(TaskSubtype="Email", ago=timedelta(hours=5))
        rules, stop = world.config().rules.to_rules(), StopRequest()
        run = DryRun(world.config().sources, rules, ledger=LedgerHandle(world.ledger), stop=stop, now=world.now)
        assert list(run.readings()) == []
        found = {each.what for each in check.findings(world.config(), world.config().sources)}
        assert "salesforce: emails" in found
        assert "salesforce: email_tasks" not in found
