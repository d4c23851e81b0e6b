"""The promises over a Salesforce org: whole passes, on its good and its bad days."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from syncd import clock
from syncd.connector import Context, Window
from syncd.passes.reader import PassStore
from tests.orgs import OrgWorld
from tests.poisoned import poisoned
from tests.world import OWN, START, THEIRS


@contextmanager
def asked(world: OrgWorld) -> Iterator[dict[str, int]]:
    """Count the org's requests by kind while the context lasts, sign-in aside."""
    before = dict(world.org.requests)
    counts: dict[str, int] = {}
    yield counts
    after = {kind: n - before.get(kind, 0) for kind, n in world.org.requests.items()}
    counts.update({kind: n for kind, n in after.items() if n and kind != "token"})


def at_request(world: OrgWorld, number: int, act: Callable[[], Any], *, kind: str = "more") -> None:
    """Do something before the `number`th request of a kind is answered."""
    begun = world.org.requests[kind]

    def told(_: int, what: str) -> None:
        if what == kind and world.org.requests[kind] - begun == number:
            act()

    world.org.on_request = told


def everything(world: OrgWorld, *, passes: int = 1) -> None:
    for _ in range(passes):
        world.sync()
        world.later(minutes=1)


ROOT = Path(__file__).parents[1]


# -- the mapping, end to end ------------------------------------------------------------


def test_a_call_and_an_email_arrive_with_all_that_is_known(orgs: OrgWorld) -> None:
    second = orgs.contact_of("quinn.birkenhain", Title="Buyer", Department="Purchasing", Phone="+1 555 0101")
    call, email = orgs.task(others=[second]), orgs.mail(RelatedToId=orgs.account)
    assert orgs.sync().exit_code == 0
    assert orgs.payload(call) == {
        "externalActivityId": f"salesforce-call-{call}", "activityType": "call", "occurredAt": "2026-10-05T07:50:00Z",
        "domain": THEIRS, "accountName": "Amber Bolts", "ownerEmail": f"cleo.hollisgrave@{OWN}",
        "ownerName": "Cleo Hollisgrave", "ownerId": orgs.rep, "callTitle": "Discovery call", "durationMinutes": 10,
        "outcome": "Connected", "direction": "outbound",
        "from": {"name": "Cleo Hollisgrave", "email": f"cleo.hollisgrave@{OWN}"},
        "contacts": [
            {"email": f"mira.copperwell@{THEIRS}", "externalContactId": orgs.buyer, "name": "Mira Copperwell"},
            {
                "email": f"quinn.birkenhain@{THEIRS}", "externalContactId": second, "name": "Quinn Birkenhain",
                "title": "Buyer", "department": "Purchasing", "phone": "+1 555 0101",
            },
        ],
    }  # fmt: skip
    sent = orgs.payload(email)
    assert (sent["subject"], sent["activityType"], sent["domain"]) == ("Your quote", "email", THEIRS)
    assert (sent["ownerId"], sent["from"]["email"]) == (orgs.rep, f"cleo.hollisgrave@{OWN}")
    assert [person["externalContactId"] for person in sent["contacts"]] == [orgs.buyer]
    assert "openCount" not in sent, "it was not tracked"


def test_both_crms_in_one_configuration_deliver_each_record_once(tmp_path: Path) -> None:
    with OrgWorld(tmp_path, with_hubspot=True) as world:
        ids = {world.task(), world.mail(), world.call(), world.email()}
        assert world.sync().exit_code == 0
        world.later(minutes=5)
        assert world.sync().exit_code == 0
        assert world.delivered == ids
        assert world.recotap.received.total() == len(ids)
        assert {(each["source"], each["stream"]) for each in world.status()["sources"]} == {
            *((source, stream) for source in ("hubspot", "salesforce") for stream in ("calls", "emails")),
            ("salesforce", "email_tasks"),
        }


def test_the_mapping_of_an_email_that_came_in(orgs: OrgWorld) -> None:
    email = orgs.mail(
        to=[], Incoming=True, FromId=None, FromName="Mira C.", FromAddress=f"mira.copperwell@{THEIRS}",
        ToAddress=f"dario.dunmere@{OWN}", IsTracked=True, IsOpened=True,
    )  # fmt: skip
    orgs.org.relate(email, orgs.buyer, RelationType="FromAddress")
    orgs.org.relate(email, orgs.colleague, RelationType="ToAddress")
    orgs.sync()
    sent = orgs.payload(email)
    assert (sent["ownerId"], sent["ownerEmail"]) == (orgs.colleague, f"dario.dunmere@{OWN}")
    assert sent["from"] == {"name": "Mira C.", "email": f"mira.copperwell@{THEIRS}"}
    assert [person["externalContactId"] for person in sent["contacts"]] == [orgs.buyer]
    assert sent["openCount"] == 1


def test_an_email_that_came_in_to_none_of_our_users_is_the_linked_tasks_owners(orgs: OrgWorld) -> None:
    """Such as one to a shared address: who works it owns the task."""
    task = orgs.task(TaskSubtype="Email", OwnerId=orgs.colleague)
    incoming: dict[str, Any] = {"to": [], "Incoming": True, "FromId": None, "FromAddress": f"mira.copperwell@{THEIRS}"}
    email = orgs.mail(**incoming, ActivityId=task)
    orphan = orgs.mail(**incoming)
    orgs.sync()
    assert orgs.payload(email)["ownerEmail"] == f"dario.dunmere@{OWN}"
    assert orgs.payload(orphan)["ownerEmail"] == f"integration@{OWN}", "who created it"


def test_an_email_without_relations_takes_the_outside_addresses_of_its_headers(orgs: OrgWorld) -> None:
    email = orgs.mail(to=[], ToAddress=f"someone@{THEIRS}; dario.dunmere@{OWN}", CcAddress=f"else@{THEIRS}")
    orgs.sync()
    assert [person["email"] for person in orgs.payload(email)["contacts"]] == [f"someone@{THEIRS}", f"else@{THEIRS}"]


def test_drafts_open_tasks_and_other_tasks_are_no_rows_and_bounced_mail_is_excluded(orgs: OrgWorld) -> None:
    orgs.mail(Status="5")
    orgs.task(Status="Not Started", CompletedDateTime=None)
    orgs.task(TaskSubtype="Task")
    task = orgs.task(TaskSubtype="Email")
    bounced = orgs.mail(IsBounced=True, ActivityId=task)
    orgs.sync()
    assert orgs.status()["seen"] == 1
    assert orgs.state(bounced) == "excluded not_sent"


def test_a_call_that_was_planned_is_read_when_it_is_closed(orgs: OrgWorld) -> None:
    call = orgs.task(Status="Not Started", CompletedDateTime=None, ago=timedelta(days=3))
    orgs.sync()
    assert orgs.status()["seen"] == 0
    orgs.org.edit("Task", call, Status="Completed", CompletedDateTime=orgs.now() - timedelta(minutes=30))
    orgs.later(minutes=20)
    orgs.sync()
    assert orgs.delivered == {call}


# -- people -----------------------------------------------------------------------------


def test_leads_converted_leads_and_person_accounts_are_contacts(orgs: OrgWorld) -> None:
    orgs.org.set(person_accounts=True)
    values = {"FirstName": "Oda", "LastName": "Gallowmead", "Name": "Oda Gallowmead", "Company": "Cinder Gears"}
    lead = orgs.org.put("Lead", {**values, "Email": "oda@cinder-gears.de", "Website": "cinder-gears.de"})
    by_lead = orgs.task(WhoId=lead)
    converted = orgs.org.put("Lead", {**values, "Email": "old@cinder-gears.de", "Website": "cinder-gears.de"})
    by_converted = orgs.task(WhoId=converted)
    orgs.org.edit("Lead", converted, touch=False, IsConverted=True, ConvertedContactId=orgs.buyer)
    self_employed = orgs.org.put("Account", {"Name": "Runa Birkenhain", "IsPersonAccount": True})
    person = orgs.contact_of("runa.birkenhain", account=self_employed, IsPersonAccount=True)
    by_person = orgs.task(WhoId=person, AccountId=self_employed)
    orgs.sync()
    sent = orgs.payload(by_lead)
    assert (sent["domain"], sent["accountName"]) == ("cinder-gears.de", "Cinder Gears")
    assert [each["externalContactId"] for each in sent["contacts"]] == [lead]
    assert [each["externalContactId"] for each in orgs.payload(by_converted)["contacts"]] == [orgs.buyer]
    assert orgs.payload(by_person)["domain"] == THEIRS
    assert "accountName" not in orgs.payload(by_person), "a person is nobody's company"


def test_a_queue_owns_a_call_by_its_address_or_leaves_it_to_the_default_owner(orgs: OrgWorld) -> None:
    orgs.configure("rules", own_domains=[OWN], default_owner_email=f"bram.fennbrook@{OWN}")
    with_address = orgs.task(OwnerId=orgs.org.queue("Inside sales", f"inside@{OWN}"))
    without = orgs.task(OwnerId=orgs.org.queue("Night shift"))
    orgs.sync()
    assert orgs.payload(with_address)["ownerEmail"] == f"inside@{OWN}"
    assert orgs.payload(without)["ownerEmail"] == f"bram.fennbrook@{OWN}"


def test_a_merged_contact_is_its_winner_and_a_deleted_one_is_looked_up_until_there_is_another(orgs: OrgWorld) -> None:
    loser, gone = orgs.contact_of("kaya.dunmere"), orgs.contact_of("finn.hollisgrave")
    merged, orphaned = orgs.task(WhoId=loser), orgs.task(WhoId=gone)
    orgs.org.merge("Contact", orgs.buyer, loser)
    orgs.org.delete("Contact", gone)
    orgs.sync()
    assert [each["externalContactId"] for each in orgs.payload(merged)["contacts"]] == [orgs.buyer]
    assert orgs.state(orphaned) == "incomplete no_contact"
    orgs.org.edit("Task", orphaned, touch=False, WhoId=orgs.buyer)
    orgs.later(minutes=16)
    orgs.sync()
    assert orgs.state(orphaned) == "delivered"


def test_an_address_that_a_contact_gets_later_delivers_the_call_though_no_stamp_moves(orgs: OrgWorld) -> None:
    contact = orgs.contact_of("nils.aldermoor", Email=None)
    call, other = orgs.task(WhoId=contact), orgs.task(WhoId=None, others=[contact])
    orgs.sync()
    assert orgs.state(call) == orgs.state(other) == "incomplete no_contact_email"
    orgs.org.edit("Contact", contact, Email=f"nils.aldermoor@{THEIRS}")
    orgs.later(minutes=16)
    orgs.sync()
    assert orgs.delivered == {call, other}


def test_our_own_users_are_never_contacts_and_their_shared_domain_is_ours(orgs: OrgWorld) -> None:
    orgs.configure("rules", own_domains=[])
    internal = orgs.mail(to=[], ToAddress=f"new.colleague@{OWN}")
    orgs.sync()
    assert orgs.state(internal) == "excluded internal"


# -- orgs that lack something -----------------------------------------------------------

FEATURES = ("enhanced_email", "shared_activities", "tracking", "bounce_management")


@pytest.mark.parametrize(
    "lacking", list(chain.from_iterable(combinations(FEATURES, n) for n in range(len(FEATURES) + 1))), ids="-".join
)
def test_an_org_that_lacks_features_is_read_all_the_same(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    with OrgWorld(tmp_path, org=dict.fromkeys(lacking, False)) as world:
        shared, enhanced = "shared_activities" not in lacking, "enhanced_email" not in lacking
        call = world.task(others=[world.contact_of("quinn.birkenhain")] if shared else [])
        twin = world.task(TaskSubtype="Email", Subject="Your quote", CallType=None, CallDurationInSeconds=None,
                          ago=timedelta(hours=5))  # fmt: skip
        email = world.mail(ActivityId=twin) if enhanced else twin
        assert world.sync().exit_code == 0
        world.later(minutes=5)
        assert world.sync().exit_code == 0
        assert world.delivered == {call, email}
        assert world.recotap.received.total() == 2
        assert len(world.payload(call)["contacts"]) == 1 + shared
        assert world.payload(email)["activityType"] == "email"
        said = {finding.what: finding for finding in check(world)}
        assert all(finding.ok or finding.warning for finding in said.values()), "never an error"
        names = {"enhanced_email": "Enhanced Email", "shared_activities": "Shared Activities",
                 "tracking": "email tracking", "bounce_management": "bounce management"}  # fmt: skip
        expected = {names[each] for each in lacking if enhanced or each not in ("tracking", "bounce_management")}
        assert set(said) & set(names.values()) == expected


def test_an_org_without_emailmessage_delivers_emails_of_tasks_without_a_guess_who_sent_them(tmp_path: Path) -> None:
    with OrgWorld(tmp_path, org={"enhanced_email": False}) as world:
        email = world.task(TaskSubtype="Email", Subject="Your quote", ago=timedelta(hours=5), CallType=None)
        world.sync()
        sent = world.payload(email)
        assert sent["externalActivityId"] == f"salesforce-email-{email}"
        assert (sent["subject"], sent["ownerEmail"]) == ("Your quote", f"cleo.hollisgrave@{OWN}")
        assert "from" not in sent  # nothing says which side wrote it
        assert not {"callTitle", "durationMinutes", "outcome"} & sent.keys()


def test_an_org_that_gains_emailmessage_sends_no_email_again(tmp_path: Path) -> None:
    """The object may have been hidden all the time, so it names tasks that are delivered."""
    with OrgWorld(tmp_path, org={"enhanced_email": False}) as world:
        first = world.task(TaskSubtype="Email", ago=timedelta(hours=6))
        world.sync()
        (told,) = [finding for finding in check(world) if finding.what == "Enhanced Email"]
        assert (told.ok, told.warning) == (False, True)
        assert told.hint.startswith("if the org has it, let the acting user read EmailMessage: a task does not tell")
        world.org.set(enhanced_email=True)
        again = world.mail(ActivityId=first, ago=timedelta(hours=6))
        world.later(hours=25)
        second = world.task(TaskSubtype="Email", ago=timedelta(hours=5))
        email = world.mail(ActivityId=second)
        alone = world.task(TaskSubtype="Email", ago=timedelta(hours=5))
        world.sync()
        assert world.delivered == {first, email, alone}
        assert world.state(again) == "excluded duplicate_of"
        assert world.row(again)["detail"] == f"the same as {first} in the CRM"


def test_an_email_task_that_is_named_later_is_that_email(orgs: OrgWorld) -> None:
    """Salesforce may link it minutes later. Until it has settled, it is not sent."""
    early, late = (orgs.task(TaskSubtype="Email", ago=timedelta(minutes=5)) for _ in range(2))
    orgs.sync()
    assert {orgs.state(early), orgs.state(late)} == {"incomplete settling"}
    email = orgs.mail(ActivityId=early, ago=timedelta(minutes=4))
    orgs.later(hours=5)
    orgs.sync()
    assert orgs.delivered == {email, late}
    assert orgs.state(early) == "excluded duplicate_of"
    after = orgs.mail(ActivityId=late, ago=timedelta(minutes=1))  # after it was sent: the task stays the email
    orgs.later(hours=5)
    orgs.sync()
    assert orgs.delivered == {email, late}
    assert orgs.state(after) == "excluded duplicate_of"


def test_an_email_in_the_recycle_bin_still_stands_for_its_task(orgs: OrgWorld) -> None:
    """It may have been sent before it was deleted."""
    task = orgs.task(TaskSubtype="Email", ago=timedelta(hours=5))
    email = orgs.mail(ActivityId=task)
    orgs.org.delete("EmailMessage", email)
    orgs.sync()
    assert orgs.status()["seen"] == 0


def test_voice_calls_without_a_task_are_read_if_the_source_says_so(orgs: OrgWorld) -> None:
    orgs.org.set(voice_call=True)
    orgs.configure("sources.salesforce", voice_calls=True)
    at = orgs.now() - timedelta(hours=1)
    values = {"CallType": "Outbound", "CallStartDateTime": at, "CallEndDateTime": at, "RelatedRecordId": orgs.buyer}
    task = orgs.task()
    orgs.org.put("VoiceCall", {**values, "ActivityId": task}, modified_at=at)
    alone = orgs.org.put("VoiceCall", {**values, "OwnerId": orgs.rep}, modified_at=at, created_at=at)
    new = orgs.now() - timedelta(minutes=1)
    gets_one = orgs.org.put("VoiceCall", {**values, "CallStartDateTime": new}, modified_at=new, created_at=new)
    about = orgs.org.put("VoiceCall", {**values, "RelatedRecordId": orgs.account}, modified_at=at, created_at=at)
    orgs.sync()
    assert orgs.delivered == {task, alone}
    assert orgs.state(about) == "incomplete no_contact"
    assert orgs.state(gets_one) == "incomplete settling"
    sent = orgs.payload(alone)
    assert (sent["activityType"], sent["direction"], sent["domain"]) == ("call", "outbound", THEIRS)
    late = orgs.task(ago=timedelta(minutes=1))
    orgs.org.edit("VoiceCall", gets_one, ActivityId=late)
    orgs.later(minutes=30)
    orgs.sync()
    assert orgs.delivered == {task, alone, late}
    assert orgs.state(gets_one) == "excluded duplicate_of"


def test_an_org_without_voice_calls_is_told_of_by_check(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", voice_calls=True)
    call = orgs.task()
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {call}
    told = next(finding for finding in check(orgs) if finding.what == "VoiceCall")
    assert (told.ok, told.warning) == (False, True)
    assert told.hint == "give the acting user Read on VoiceCall, or remove voice_calls"


def test_email_tasks_cost_a_request_per_400_and_only_if_there_are_any(orgs: OrgWorld) -> None:
    tasks = [orgs.task(TaskSubtype="Email", ago=timedelta(hours=6) - timedelta(seconds=n)) for n in range(900)]
    named = {orgs.mail(ActivityId=task): task for task in tasks[:450]}
    with asked(orgs) as requests:
        orgs.sync()
    assert orgs.delivered == {*named, *tasks[450:]}
    assert requests == {"batch": 2, "query": 3, "retrieve": 2}, "users and describes, and three queries in one batch"


@pytest.mark.parametrize("origin", ["messages", "tasks"])
def test_emails_come_from_one_of_both_if_the_file_says_so(orgs: OrgWorld, origin: str) -> None:
    orgs.configure("sources.salesforce.emails", **{"from": origin})
    task, alone = (orgs.task(TaskSubtype="Email", ago=timedelta(hours=5)) for _ in range(2))
    email = orgs.mail(ActivityId=task)
    with asked(orgs) as requests:
        orgs.sync()
    assert orgs.delivered == ({email} if origin == "messages" else {task, alone})
    assert requests["query"] == 2
    told = next(finding for finding in check(orgs) if finding.what == "emails.from")
    assert told.ok
    assert ("email tasks" if origin == "messages" else "EmailMessages") in told.message


def test_a_change_from_both_to_tasks_sends_no_email_again(orgs: OrgWorld) -> None:
    task = orgs.task(TaskSubtype="Email", ago=timedelta(hours=5))
    email = orgs.mail(ActivityId=task)
    orgs.sync()
    orgs.configure("sources.salesforce.emails", **{"from": "tasks"})
    orgs.later(minutes=5)
    orgs.sync()
    assert orgs.delivered == {email}
    assert orgs.state(task) == "excluded duplicate_of"


def test_email_tasks_are_not_read_if_it_is_hidden_which_are_named(orgs: OrgWorld) -> None:
    orgs.org.hide("EmailMessage", "ActivityId")
    orgs.task(TaskSubtype="Email", ago=timedelta(hours=5))
    email = orgs.mail()
    outcome = orgs.sync()
    assert (outcome.exit_code, orgs.delivered) == (77, {email})
    assert "EmailMessage.ActivityId" in outcome.errors[0].message


def test_a_colleague_of_today_is_one_though_the_list_of_users_is_of_yesterday(orgs: OrgWorld) -> None:
    orgs.task()
    orgs.sync()
    orgs.later(minutes=30)
    new = orgs.org.user("new.rep@another-brand.com", "New", "Rep")
    internal = orgs.mail(to=[], ToAddress="new.rep@another-brand.com", ago=timedelta(minutes=1))
    orgs.org.relate(internal, new, RelationType="ToAddress")
    partner = orgs.org.user("rep@partner-of-ours.com", "Part", "Ner", user_type="PowerPartner")
    theirs = orgs.mail(to=[], ToAddress="rep@partner-of-ours.com", ago=timedelta(minutes=1))
    orgs.org.relate(theirs, partner, RelationType="ToAddress")
    orgs.sync()
    assert orgs.state(internal) == "excluded internal"
    assert orgs.state(theirs) == "incomplete settling"


def test_an_org_that_loses_emailmessage_is_not_switched_either_and_its_calls_go_on(orgs: OrgWorld) -> None:
    email = orgs.mail()
    orgs.sync()
    orgs.org.hide("EmailMessage")
    orgs.later(hours=1)
    call = orgs.task()
    orgs.task(TaskSubtype="Email")
    outcome = orgs.sync()
    assert outcome.exit_code == 77
    assert "EmailMessage" in outcome.errors[0].message
    assert outcome.errors[0].hint.startswith("let the acting user see it: Read on the object, and the field in a")
    assert orgs.delivered == {email, call}
    orgs.later(hours=25)  # the org is described again
    orgs.task(TaskSubtype="Email", ago=timedelta(hours=5))
    assert orgs.sync().exit_code == 77
    assert orgs.delivered == {email, call}


VITAL = "on each in a permission set before the next pass: what is sent cannot be corrected"


@pytest.mark.parametrize(
    ("hidden", "warning"),
    [
        ("Task.CallDisposition", True), ("Contact.Department", True), ("EmailMessage.FromName", True),
        ("Task.Subject", False), ("EmailMessage.Subject", False), ("Account.Website", False),
    ],
)  # fmt: skip
def test_a_hidden_field_is_left_out_and_said_once_in_check(orgs: OrgWorld, hidden: str, warning: bool) -> None:
    orgs.org.hide(*hidden.split("."))
    ids = {orgs.task(), orgs.mail()}
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids
    said = [finding for finding in check(orgs) if not finding.ok]
    assert [finding.what for finding in said] == ["fields" if warning else "permissions on fields"]
    assert (said[0].warning, said[0].exit_code) == (warning, 0 if warning else 77)
    told = "on these fields in a permission set, if you miss them in Recotap"
    assert said[0].hint == f"give it Read {told if warning else VITAL}"
    assert hidden in said[0].message


@pytest.mark.parametrize("hidden", ["Contact", "Account"])
def test_an_object_without_which_nobody_is_reached_is_an_error_in_check(orgs: OrgWorld, hidden: str) -> None:
    orgs.org.hide(hidden)
    said = [finding for finding in check(orgs) if not finding.ok and not finding.warning]
    assert [(finding.what, finding.exit_code) for finding in said] == [("permissions on fields", 77)]
    assert f"does not see {hidden}:" in said[0].message


def test_a_field_that_is_hidden_overnight_costs_one_describe_and_no_record(orgs: OrgWorld) -> None:
    first = orgs.task()
    orgs.sync()
    orgs.org.hide("Task", "CallDisposition")
    orgs.org.hide("Contact", "Department")
    orgs.later(minutes=5)
    second = orgs.task(ago=timedelta(minutes=20), others=[orgs.contact_of("quinn.birkenhain")])
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {first, second}


def test_a_configured_field_that_the_user_does_not_see_ends_the_pass_over_its_source(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", occurred_at_field="Call_Start__c")
    call, email = orgs.task(), orgs.mail()
    outcome = orgs.sync()
    assert outcome.exit_code == 78
    assert "occurred_at_field Task: no field Call_Start__c" in outcome.errors[0].summary
    assert orgs.delivered == set()
    orgs.org.field("Task", "Call_Start__c", "datetime")
    orgs.org.edit("Task", call, touch=False, Call_Start__c="2026-10-05T06:30:00.000+0000")
    orgs.later(minutes=5)
    assert orgs.sync().exit_code == 0  # the org is described again, however young its description is
    assert orgs.payload(call)["occurredAt"] == "2026-10-05T06:30:00Z"
    assert orgs.delivered == {call, email}


def check(world: OrgWorld) -> list[Any]:
    """Return the findings of `syncd check` for the org."""
    from syncd.cli import check as checks

    config = world.config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", world.now)
        found = list(checks.findings(config, tuple(each for each in config.sources if each.name == "salesforce")))
    prefix = "salesforce: "
    return [
        finding.__class__(finding.what.removeprefix(prefix), finding.ok, finding.message, finding.hint,
                          finding.warning, finding.exit_code)
        for finding in found if finding.what.startswith(prefix)
    ]  # fmt: skip


# -- bad days ---------------------------------------------------------------------------


def test_a_transaction_that_commits_behind_the_watermark_is_found_by_the_overlap(orgs: OrgWorld) -> None:
    late = orgs.task(ago=timedelta(minutes=1), late_by=600)
    first = orgs.task(ago=timedelta(seconds=10), CompletedDateTime=orgs.now() - timedelta(hours=1))
    orgs.sync()
    assert orgs.status()["seen"] == 1
    orgs.later(minutes=11)
    orgs.sync()
    orgs.later(minutes=11)
    orgs.sync()
    assert orgs.delivered == {first, late}


def test_a_transaction_that_commits_hours_late_is_found_by_the_daily_sweep(orgs: OrgWorld) -> None:
    late = orgs.task(late_by=20 * 3600.0)
    orgs.task(ago=timedelta(minutes=30))
    orgs.sync()
    orgs.later(hours=21)
    orgs.sync()
    assert late not in orgs.delivered
    orgs.later(hours=4)
    orgs.sync()
    assert late in orgs.delivered


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("live", [True, False])
def test_edits_in_mid_page_lose_nobody(orgs: OrgWorld, page: int, live: bool) -> None:
    orgs.org.set(page_size=10, live_locators=live)
    ids = [orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)]

    def edit() -> None:
        orgs.later(seconds=30)
        for crm_id in (ids[0], ids[page * 10], ids[page * 10 + 1], ids[-1]):
            orgs.org.edit("Task", crm_id, Subject="Changed")

    at_request(orgs, page, edit)
    orgs.sync()
    orgs.org.on_request = None
    orgs.later(minutes=1)
    orgs.sync()
    assert orgs.delivered == set(ids)
    assert not orgs.recotap.doubled


@pytest.mark.parametrize("kind", ["query", "more"])
def test_a_session_that_expires_in_mid_page_is_renewed_once_and_nothing_is_read_twice(
    orgs: OrgWorld, kind: str
) -> None:
    orgs.org.set(page_size=10)
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)}
    at_request(orgs, 1, orgs.org.expire_sessions, kind=kind)
    assert orgs.sync().exit_code == 0
    assert orgs.org.requests["token"] == 2
    assert orgs.delivered == ids


def test_a_locator_that_ends_with_its_session_is_begun_again_at_the_last_position(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10, locators_end_with_session=True)
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)}
    at_request(orgs, 2, orgs.org.expire_sessions)
    with asked(orgs) as requests:
        outcome = orgs.sync()
    assert (outcome.exit_code, outcome.errors) == (0, ())
    assert orgs.delivered == ids
    assert requests["query"] == 4, "calls, the rest of them, emails and email tasks"


def test_a_permission_that_ends_in_mid_page_is_a_refusal_not_an_expired_locator(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10)
    for n in range(40):
        orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n))
    refused = [{"errorCode": "INVALID_SESSION_ID", "message": "x"}]
    at_request(orgs, 1, lambda: orgs.org.faults.add("answer", match="/quer", status=401, body=refused, count=None))
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == 77
    assert sum(requests.values()) < 20


@pytest.mark.parametrize("fault", ["sf_unavailable", "sf_406", "sf_420", "sf_html", "reset", "cut", "cut_json"])
def test_a_passing_fault_in_mid_page_costs_a_retry(orgs: OrgWorld, fault: str) -> None:
    orgs.org.set(page_size=10)
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)}
    orgs.org.faults.add(fault, match="/queryAll/01g", count=2)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids
    assert orgs.slept, "it waited before it tried again"


def test_an_outage_in_mid_window_keeps_what_was_read_and_the_next_pass_goes_on(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10)
    ids = [orgs.task(ago=timedelta(days=30) - timedelta(hours=6 * n)) for n in range(40)]
    orgs.org.faults.add("sf_unavailable", match="/queryAll", skip=3, count=None)
    assert orgs.sync().exit_code == 69
    assert 10 <= len(orgs.delivered) < 40
    orgs.org.faults.clear()
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == 0
    assert orgs.delivered == set(ids)
    assert requests["more"] <= 3, "what is certain is not read again"


def test_a_locator_that_dies_is_begun_anew_behind_what_is_certain(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10)
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)}
    at_request(orgs, 3, orgs.org.kill_locators)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids


def test_an_org_whose_locators_never_live_is_read_in_smaller_windows(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10)
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)}
    orgs.org.faults.add("sf_locator", match="/queryAll/01g", count=None)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids


def test_look_ups_and_people_outlast_locators_that_never_live(orgs: OrgWorld) -> None:
    nobody = orgs.contact_of("sven.aldermoor", Email=None)
    waiting = [orgs.task(WhoId=nobody, ago=timedelta(hours=3) - timedelta(seconds=n)) for n in range(30)]
    orgs.sync()
    orgs.org.set(page_size=20)
    orgs.org.faults.add("sf_locator", match="/01g", count=None)
    people = [orgs.contact_of(f"guest{n}.aldermoor") for n in range(5)]
    orgs.later(minutes=16)
    new = [orgs.task(others=people, ago=timedelta(minutes=12) - timedelta(seconds=n)) for n in range(10)]
    orgs.org.edit("Contact", nobody, Email=f"sven.aldermoor@{THEIRS}")
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {*waiting, *new}
    assert all(len(orgs.payload(crm_id)["contacts"]) == 6 for crm_id in new)


@pytest.mark.parametrize("setting", ["query_timeout_rows", "too_large_rows"])
def test_a_window_that_is_too_much_for_salesforce_is_halved(orgs: OrgWorld, setting: str) -> None:
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(seconds=n)) for n in range(40)}
    orgs.org.set(**{setting: 3})
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids


def test_an_org_that_is_too_slow_for_a_window_is_asked_for_less_from_then_on(orgs: OrgWorld) -> None:
    """A window that never comes within the deadline must not be begun at its full length in every pass."""
    orgs.configure("sources.salesforce", timeout="0.3s")
    ids = {orgs.task(ago=timedelta(days=200) - timedelta(days=n)) for n in range(0, 200, 10)}
    orgs.org.faults.add("hang", match="/queryAll/", seconds=30, count=2)
    orgs.org.faults.add("sf_unavailable", match="/queryAll/", count=None)
    assert orgs.sync().exit_code == 69
    orgs.org.faults.clear()
    orgs.configure("sources.salesforce", timeout="30s")
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == 0
    assert requests["query"] == 5, "the calls' window came in three parts"
    assert orgs.delivered == ids
    assert all(finding.ok for finding in check(orgs)), "it grew as they came"


def test_a_night_of_time_outs_does_not_eat_the_days_calls_in_the_morning(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", timeout="0.05s")
    call = orgs.task(ago=timedelta(days=200))
    orgs.org.faults.add("hang", match="/queryAll/", seconds=30, count=None)
    for _ in range(12):
        assert orgs.sync().exit_code == 69
        orgs.later(minutes=5)
    asked_for = [int(value) for (value,) in orgs.sql("SELECT value FROM store WHERE key LIKE 'stretch%'")]
    assert min(asked_for) < 3600
    orgs.org.faults.clear()
    orgs.configure("sources.salesforce", timeout="30s")
    (short,) = [finding for finding in check(orgs) if finding.what == "calls window"]
    assert short.hint == "they grow again as windows arrive. If this persists, set a longer timeout"
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == 0
    assert requests["query"] < 40
    assert orgs.delivered == {call}


def test_a_count_that_is_too_much_is_counted_in_halves(orgs: OrgWorld) -> None:
    for n in range(40):
        orgs.task(ago=timedelta(hours=3) - timedelta(seconds=n))
    orgs.org.set(query_timeout_rows=7)
    (source,) = orgs.config().sources
    connector = source.connector(
        source.config, Context("salesforce", PassStore({}, orgs.now), orgs.now, lambda _: None)
    )
    assert connector.count("calls", Window(orgs.now() - timedelta(days=1), None, lambda refs: ())) == 40
    connector.close()


def test_more_rows_in_one_second_than_pages_and_queries_are_used_to(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=200)
    at = orgs.now() - timedelta(hours=2)
    people = {"WhoId": orgs.buyer, "OwnerId": orgs.rep, "AccountId": orgs.account}
    values = {"TaskSubtype": "Call", "Status": "Completed", "CompletedDateTime": at, **people}
    ids = {orgs.org.put("Task", values, created_at=at, modified_at=at) for _ in range(1_501)}
    orgs.sync()
    assert orgs.delivered == ids
    assert orgs.recotap.received.total() == len(ids)


def test_people_that_are_too_much_at_once_are_asked_for_in_halves_and_hold_nothing_up(orgs: OrgWorld) -> None:
    second = orgs.contact_of("quinn.birkenhain")
    ids = [orgs.task(others=[second], ago=timedelta(hours=3) - timedelta(seconds=n)) for n in range(900)]
    alone, email = orgs.task(), orgs.mail()
    orgs.org.faults.add("sf_timeout", match="composite/batch", skip=1, count=3)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {*ids, alone, email}
    assert all(len(orgs.payload(crm_id)["contacts"]) == 2 for crm_id in ids[::100])


@pytest.mark.parametrize(
    ("fault", "where"),
    [("hang", {"match_query": "TaskWhoRelation", "seconds": 30}), ("sf_locator", {"match": "/query/01g"})],
)
def test_a_hiccup_beside_a_row_strips_no_call_of_its_people(orgs: OrgWorld, fault: str, where: dict[str, Any]) -> None:
    """A call sent without them cannot be corrected, so it is not sent."""
    orgs.configure("sources.salesforce", timeout="0.3s")
    orgs.org.set(page_size=5)
    people = [orgs.contact_of(f"guest{n}.aldermoor") for n in range(9)]
    call = orgs.task(others=people)
    rule = orgs.org.faults.add(fault, **where)
    orgs.sync()
    orgs.later(minutes=1)
    orgs.sync()
    assert rule.hits == 1
    assert len(orgs.payload(call)["contacts"]) == 10


def test_an_org_that_refuses_all_people_is_told_and_not_asked_without_end(orgs: OrgWorld) -> None:
    second = orgs.contact_of("quinn.birkenhain")
    for n in range(200):
        orgs.task(others=[second], ago=timedelta(hours=3) - timedelta(seconds=n))
    orgs.org.faults.add("sf_timeout", match_query="TaskWhoRelation", count=None)
    with asked(orgs) as requests:
        outcome = orgs.sync()
    assert outcome.exit_code == 69
    assert outcome.errors[0].hint.startswith("syncd queries less at once. A user with View All Data avoids")
    assert requests["query"] < 40
    assert not orgs.delivered


def test_whom_one_stream_could_not_be_told_of_is_asked_for_by_the_other(orgs: OrgWorld) -> None:
    contact = orgs.contact_of("quinn.birkenhain", Title="Buyer")
    orgs.task(others=[contact])
    email = orgs.mail(to=[contact], ToAddress=f"quinn.birkenhain@{THEIRS}")
    refused = [{"errorCode": "TXN_SECURITY_METERING_ERROR", "message": "x"}]
    orgs.org.faults.add("answer", match="composite/sobjects/Contact", status=403, body=refused)
    assert orgs.sync().exit_code == 77
    assert orgs.payload(email)["contacts"][0]["title"] == "Buyer"


def test_ids_that_are_too_many_for_the_deadline_are_fewer_in_the_next_pass(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", timeout="0.3s")
    people = [orgs.contact_of(f"guest{n}.aldermoor") for n in range(40)]
    ids = {orgs.task(others=[person], ago=timedelta(hours=2) - timedelta(seconds=n)) for n, person in enumerate(people)}
    orgs.org.faults.add("hang", match="composite/sobjects/Contact", seconds=30, count=5)
    assert orgs.sync().exit_code == 69
    assert int(orgs.sql("SELECT value FROM store WHERE key = 'at_once'")[0][0]) == 20
    orgs.later(minutes=1)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids


def test_a_customers_login_is_nobodys_rep(orgs: OrgWorld) -> None:
    portal = orgs.org.user("aaron@their-portal.com", "Aaron", "Vale", user_type="PowerCustomerSuccess")
    email = orgs.mail(to=[], Incoming=True, FromId=None, FromAddress=f"mira.copperwell@{THEIRS}")
    for user in (portal, orgs.colleague):
        orgs.org.relate(email, user, RelationType="CcAddress")
    orgs.sync()
    assert orgs.payload(email)["ownerEmail"] == f"dario.dunmere@{OWN}"


def test_an_archived_tasks_owner_is_found(orgs: OrgWorld) -> None:
    task = orgs.task(TaskSubtype="Email", OwnerId=orgs.colleague)
    orgs.org.archive(task)
    email = orgs.mail(to=[], Incoming=True, FromId=None, FromAddress=f"mira.copperwell@{THEIRS}", ActivityId=task)
    orgs.sync()
    assert orgs.payload(email)["ownerEmail"] == f"dario.dunmere@{OWN}"


def test_a_task_whose_people_are_too_much_by_themselves_waits_alone(orgs: OrgWorld) -> None:
    """A call sent without them could not be corrected."""
    person = orgs.contact_of("quinn.birkenhain")
    call, other, third = orgs.task(others=[person]), orgs.task(), orgs.task(others=[person])
    too_much = [{"errorCode": "QUERY_TIMEOUT", "message": "x"}]
    with poisoned(orgs.org, f"TaskId IN ('{call}'", f"TaskId IN ('{third}', '{call}'", status=400, body=too_much):
        assert orgs.sync().exit_code == 0
    assert orgs.delivered == {other, third}
    assert orgs.state(call) == "incomplete crm_error"


def test_an_org_whose_describes_are_slow_is_described_in_parts(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", timeout="0.3s")
    call = orgs.task()
    orgs.org.faults.add("hang", match="composite/batch", seconds=30, count=2)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {call}


def test_children_that_do_not_fit_their_page_are_read_to_the_end(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=20)
    people = [orgs.contact_of(f"guest{n}.aldermoor") for n in range(49)]
    call = orgs.task(others=people)
    mail = orgs.mail(to=people)
    orgs.sync()
    assert len(orgs.payload(call)["contacts"]) == 50
    assert {each["externalContactId"] for each in orgs.payload(mail)["contacts"]} == set(people)


def test_a_thousand_look_ups_keep_within_the_uri(orgs: OrgWorld) -> None:
    contact = orgs.contact_of("sven.aldermoor", Email=None)
    ids = {orgs.task(WhoId=contact, ago=timedelta(hours=3)) for _ in range(1_001)}
    orgs.sync()
    orgs.org.edit("Contact", contact, Email=f"sven.aldermoor@{THEIRS}")
    orgs.later(minutes=20)
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == ids


def test_an_id_that_salesforce_takes_for_none_does_not_hold_up_the_others(orgs: OrgWorld) -> None:
    contact = orgs.contact_of("sven.aldermoor", Email=None)
    ids = [orgs.task(WhoId=contact) for _ in range(5)]
    orgs.sync()
    orgs.org.purge("Task", ids[2])
    orgs.sql("UPDATE activities SET crm_id = ? WHERE crm_id = ?", "00T000000000000AAA", ids[2])
    orgs.org.edit("Contact", contact, Email=f"sven.aldermoor@{THEIRS}")
    orgs.later(minutes=16)
    orgs.sync()
    assert orgs.status()["activities"]["delivered"] == 4


def test_a_bad_id_takes_no_other_along_even_if_no_budget_is_left(
    orgs: OrgWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.salesforce.org.ISOLATING", 0)
    ids = [orgs.task(WhoId=None) for _ in range(5)]
    orgs.sync()
    orgs.org.purge("Task", ids[2])
    orgs.sql("UPDATE activities SET crm_id = ? WHERE crm_id = ?", "00T000000000000AAA", ids[2])
    orgs.later(minutes=16)
    orgs.sync()
    assert {orgs.state(each) for each in ids if each != ids[2]} == {"incomplete no_contact"}


def test_a_deleted_call_is_excluded_after_two_look_ups_and_an_archived_one_is_not(orgs: OrgWorld) -> None:
    contact = orgs.contact_of("sven.aldermoor", Email=None)
    deleted, archived = orgs.task(WhoId=contact), orgs.task(WhoId=contact)
    orgs.sync()
    orgs.org.delete("Task", deleted)
    orgs.org.archive(archived)
    for minutes in (16, 61, 61):
        orgs.later(minutes=minutes)
        orgs.sync()
    assert orgs.state(deleted) == "excluded deleted"
    assert orgs.state(archived) == "incomplete no_contact_email"


def test_a_call_that_is_archived_at_once_is_read(orgs: OrgWorld) -> None:
    """A call logged today with an old date may be: windows read archived rows too."""
    call = orgs.task(ActivityDate="2025-01-07")
    orgs.org.archive(call)
    orgs.sync()
    assert orgs.payload(call)["occurredAt"] == "2025-01-07T12:00:00Z"


@pytest.mark.parametrize("refuses", [False, True])
def test_an_archived_call_has_all_its_people_unless_salesforce_refuses_to_show_them(
    orgs: OrgWorld, refuses: bool
) -> None:
    others = [orgs.contact_of("quinn.birkenhain"), orgs.contact_of("sven.aldermoor")]
    archived, live = (orgs.task(others=others) for _ in range(2))
    orgs.org.archive(archived)
    if refuses:
        refusal = [{"errorCode": "INVALID_TYPE", "message": "queryAll is not supported"}]
        orgs.org.faults.add("answer", status=400, body=refusal, match="/queryAll", match_query="FROM TaskWhoRelation",
                            count=None)  # fmt: skip
    assert orgs.sync().exit_code == 0
    assert len(orgs.payload(live)["contacts"]) == 3
    assert len(orgs.payload(archived)["contacts"]) == (1 if refuses else 3)


# -- what it costs ----------------------------------------------------------------------


def test_a_thousand_calls_with_two_contacts_each_cost_three_requests_and_an_idle_pass_one_a_stream(
    orgs: OrgWorld
) -> None:  # fmt: skip
    orgs.sync()
    assert dict(orgs.org.requests) == {"token": 1, "batch": 1, "query": 3}, "the day's describes and users are one"
    people = [orgs.contact_of(f"person{n}.aldermoor") for n in range(2_000)]
    for n in range(1_000):
        orgs.task(ago=timedelta(seconds=9_000 - n), WhoId=people[n], others=[people[-1 - n]])
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == 0
    assert len(orgs.delivered) == 1_000
    assert requests == {"query": 3, "batch": 1, "retrieve": 1}, "two of the queries are the emails'"
    orgs.later(minutes=30)
    with asked(orgs) as requests:
        orgs.sync()
    assert requests == {"query": 3}


# -- limits -----------------------------------------------------------------------------


def test_a_source_that_nears_the_days_quota_pauses_itself_and_says_until_when(orgs: OrgWorld) -> None:
    call = orgs.task()
    orgs.org.set(daily_limit=1_000, used=801)
    outcome = orgs.sync()
    assert outcome.exit_code == 69
    assert "quota_reserve" in outcome.errors[0].message
    assert orgs.delivered == {call}, "what was read is kept"
    (pause,) = [each["paused_until"] for each in orgs.status()["sources"] if each["stream"] == "emails"]
    assert pause == "2026-10-05T10:00:00.000Z"
    before = dict(orgs.org.requests)
    outcome = orgs.sync()
    assert outcome.exit_code == 69
    assert "pauses until" in outcome.errors[0].message
    assert dict(orgs.org.requests) == before, "without a request"
    assert any(finding.what == "pause" for finding in check(orgs))
    assert orgs.org.requests != before, "a check asks all the same"
    orgs.org.set(used=0)
    orgs.later(minutes=61)
    assert orgs.sync().exit_code == 0


def test_below_the_reserve_no_stream_is_read_rather_than_always_the_same(orgs: OrgWorld) -> None:
    orgs.org.set(daily_limit=1_000, used=850)
    assert orgs.sync().exit_code == 69
    for hours in range(3):
        ids = {orgs.task(), orgs.mail()}
        orgs.later(minutes=61)
        with asked(orgs) as requests:
            assert orgs.sync().exit_code == 69
        assert requests == {"limits": 1}, hours
    assert not orgs.delivered
    orgs.org.set(used=100)
    orgs.later(minutes=61)
    assert orgs.sync().exit_code == 0
    assert ids <= orgs.delivered


def test_an_org_that_tells_its_limits_to_nobody_keeps_the_mark_that_they_were_low(orgs: OrgWorld) -> None:
    orgs.org.set(daily_limit=1_000, used=850)
    assert orgs.sync().exit_code == 69
    orgs.org.faults.add("answer", match="/limits", status=403, body=[{"errorCode": "FORBIDDEN"}], count=None)
    for _ in range(2):
        orgs.later(minutes=61)
        assert orgs.sync().exit_code == 69
        assert orgs.sql("SELECT value FROM store WHERE key = 'quota_low'") == [("true",)]


def test_a_used_up_quota_pauses_the_source_for_an_hour_and_not_the_other(tmp_path: Path) -> None:
    with OrgWorld(tmp_path, with_hubspot=True) as world:
        theirs, ours = world.task(), world.call()
        world.org.faults.add("sf_limit", match="/query", count=None)
        assert world.sync().exit_code == 69
        assert world.delivered == {ours}
        world.org.faults.clear()
        world.later(minutes=59)
        assert world.sync().exit_code == 69
        world.later(minutes=2)
        assert world.sync().exit_code == 0
        assert world.delivered == {ours, theirs}


def test_a_limit_of_requests_at_a_time_is_waited_out(orgs: OrgWorld) -> None:
    call = orgs.task()
    orgs.org.faults.add("sf_concurrent", count=2, match="/query")
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {call}


# -- check ------------------------------------------------------------------------------


@pytest.mark.parametrize(("sees", "findings"), [(True, [True]), (False, [False]), (None, [])])
def test_check_warns_of_a_user_who_does_not_see_all_by_name(
    orgs: OrgWorld, sees: bool | None, findings: list[bool]
) -> None:
    orgs.org.set(view_all_data=sees)
    orgs.sync()
    found = [finding for finding in check(orgs) if finding.what == "permissions"]
    assert [finding.ok for finding in found] == findings
    for finding in found:
        assert "Integration User" in finding.message
        assert finding.ok or (finding.warning and "rows that it may not see are missing without" in finding.hint)


def test_check_tells_a_voice_call_object_and_a_quota_that_runs_low(orgs: OrgWorld) -> None:
    orgs.org.set(voice_call=True, daily_limit=1_000, used=900)
    found = {finding.what: finding for finding in check(orgs)}
    assert found["VoiceCall"].ok
    assert found["daily calls"].warning
    assert found["daily calls"].hint.endswith("An idle pass of syncd costs one for each stream")
    assert re.fullmatch(
        r"[89]\d of 1,000 left of the last 24 hours. 1,000 records cost about 5. Passes pause: quota_reserve leaves "
        "200 to others",
        found["daily calls"].message,
    )
    orgs.org.set(daily_limit=100_000, used=1_000)
    (ample,) = (finding for finding in check(orgs) if finding.what == "daily calls")
    assert (ample.ok, ample.message[:5]) == (True, "98,98")


def test_a_stream_that_the_user_may_not_read_does_not_stop_the_other(orgs: OrgWorld) -> None:
    orgs.org.hide("Task")
    email = orgs.mail()
    assert orgs.sync().exit_code == 77
    assert orgs.delivered == {email}
    found = {finding.what: finding for finding in check(orgs)}
    assert (found["calls"].ok, found["emails"].ok) == (False, True)
    assert found["calls"].hint.startswith("let the acting user see it: Read on the object")


def test_a_query_that_is_still_refused_after_a_new_description_is_a_matter_of_rights(orgs: OrgWorld) -> None:
    refusal = [{"errorCode": "INVALID_FIELD", "message": "No such column"}]
    orgs.org.faults.add("answer", match="/query", match_query="FROM Task", status=400, body=refusal, count=None)
    outcome = orgs.sync()
    assert outcome.exit_code == 77
    assert outcome.errors[0].message == "Salesforce refused a query: calls (400, INVALID_FIELD)"
    assert outcome.errors[0].hint.startswith("the acting user may need View All Data, or a permission on an object")


def test_check_says_once_that_signing_in_failed(orgs: OrgWorld) -> None:
    (orgs.path / "client_secret").write_text("not-this-one")
    orgs.task()
    found = check(orgs)
    assert [finding.what for finding in found] == ["sign-in"]
    assert orgs.org.requests["token"] == 1


def test_check_asks_whether_a_configured_session_is_one(orgs: OrgWorld) -> None:
    (orgs.path / "session").write_text(f"{orgs.org.org_id[:15]}!expired")
    orgs.tables.pop("sources.salesforce")
    orgs.configure(
        "sources.salesforce", connector="salesforce", start=START, instance_url=orgs.box.salesforce_url,
        session_id=f"file:{orgs.path / 'session'}", ca_file=str(orgs.box.salesforce_ca),
    )  # fmt: skip
    found = check(orgs)
    assert [(finding.what, finding.ok) for finding in found] == [("sign-in", False)]
    assert "expired" in found[0].message


def test_another_org_under_the_same_name_is_refused(orgs: OrgWorld) -> None:
    orgs.task()
    orgs.sync()
    orgs.org.set(org_id="00DDn0000000002MAA")
    orgs.org.expire_sessions()
    outcome = orgs.sync()
    assert outcome.exit_code == 78


@pytest.mark.parametrize(
    ("source", "loaded", "spared"),
    [
        ("hubspot", {"hubspot"}, {"simple_salesforce", "zeep", "requests", "jwt"}),
        ("salesforce", {"simple_salesforce", "requests"}, {"hubspot"}),
    ],
)
def test_a_pass_over_one_crm_does_not_load_the_other_ones_client(
    tmp_path: Path, source: str, loaded: set[str], spared: set[str]
) -> None:
    """Though both are configured: each costs tens of megabytes and tenths of a second."""
    code = """if True:
        import sys
        from syncd.cli import main as cli
        try:
            cli.main()
        except SystemExit as left:
            print(left.code or 0, *{name.partition(".")[0] for name in sys.modules})
    """
    with OrgWorld(tmp_path, with_hubspot=True, real_time=True) as world:
        ids = {"hubspot": world.call(), "salesforce": world.task()}
        line = [sys.executable, "-c", code, "sync", "--source", source, "-c", str(world.write_config())]
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
        assert world.delivered == {ids[source]}
    code_and_modules = done.stdout.split()
    assert code_and_modules[0] == "0"
    assert loaded <= set(code_and_modules)
    assert not spared & set(code_and_modules)


def test_a_dense_minute_that_salesforce_calls_too_much_is_halved_when_met_and_not_remembered(orgs: OrgWorld) -> None:
    """Else the next window, be it months long, would be asked for in stretches of some seconds."""
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(seconds=n)) for n in range(40)}
    orgs.org.set(query_timeout_rows=3)
    orgs.sync()
    assert orgs.delivered == ids
    orgs.org.set(query_timeout_rows=None)
    orgs.later(minutes=5)
    with asked(orgs) as requests:
        orgs.sync()
    assert requests == {"query": 3}


def test_a_users_new_address_is_seen_by_the_look_up_of_what_waits(orgs: OrgWorld) -> None:
    email = orgs.mail(ago=timedelta(minutes=10))
    orgs.sync()
    assert orgs.state(email) == "incomplete settling"
    orgs.org.edit("User", orgs.rep, Email=f"cleo.renamed@{OWN}")
    orgs.later(hours=4)
    orgs.sync()
    assert orgs.payload(email)["ownerEmail"] == f"cleo.renamed@{OWN}"


def test_a_quota_that_runs_low_in_mid_window_ends_the_reading_and_keeps_what_was_read(orgs: OrgWorld) -> None:
    orgs.org.set(page_size=10, daily_limit=1_000)
    ids = {orgs.task(ago=timedelta(hours=3) - timedelta(minutes=n)) for n in range(40)}
    at_request(orgs, 2, lambda: orgs.org.set(used=900))
    with asked(orgs) as requests:
        assert orgs.sync().exit_code == 69
    assert requests["more"] == 2
    assert orgs.delivered < ids
    assert orgs.delivered


# -- the source's own fields --------------------------------------------------------------


def fields_of(world: OrgWorld, **types: str) -> None:
    for name, kind in types.items():
        world.org.field("Task", name, kind)


def test_an_owner_is_the_first_user_that_the_sources_fields_name(orgs: OrgWorld) -> None:
    """By id, address or name. What names no user of ours, or two of them, leaves it to the next field."""
    fields_of(orgs, Caller__c="reference", Agent__c="string")
    orgs.configure("sources.salesforce", calls={"fields": {"owner": ["Caller__c", "Agent__c", "OwnerId"]}})
    orgs.org.user(f"second@{OWN}", "Ann", "Twin")
    orgs.org.user(f"third@{OWN}", "Ann", "Twin")
    partner = orgs.org.user("ivo@partner.example", "Ivo", "Ivorstone", user_type="PowerPartner")
    named = {
        orgs.task(Caller__c=orgs.colleague): "dario.dunmere",
        orgs.task(Agent__c=f"Dario.Dunmere@{OWN}"): "dario.dunmere",
        orgs.task(Agent__c=" dario  dunmere"): "cleo.hollisgrave",
        orgs.task(Agent__c="DARIO DUNMERE"): "dario.dunmere",
        orgs.task(Agent__c="Ann Twin"): "cleo.hollisgrave",
        orgs.task(Agent__c=f"mira.copperwell@{THEIRS}"): "cleo.hollisgrave",
        orgs.task(Caller__c=partner): "cleo.hollisgrave",
        orgs.task(): "cleo.hollisgrave",
    }
    assert orgs.sync().exit_code == 0
    assert {call: orgs.payload(call)["ownerEmail"] for call in named} == {
        call: f"{name}@{OWN}" for call, name in named.items()
    }


def test_a_call_that_an_exception_names_is_booked_as_filtered(orgs: OrgWorld) -> None:
    orgs.configure("sources.salesforce", calls={"except": [{"Subject": ["SMS *", "* sms *"]}]})
    sms, call = orgs.task(Subject="SMS to Mira"), orgs.task()
    assert orgs.sync().exit_code == 0
    assert orgs.state(sms) == "excluded filtered"
    assert orgs.delivered == {call}


def test_a_call_left_open_by_its_dialer_is_read_if_an_entry_says_so(orgs: OrgWorld) -> None:
    match = [{"TaskSubtype": "Call"}, {"TaskSubtype": "Call", "IsClosed": False, "Subject": "Missed*"}]
    orgs.configure("sources.salesforce", calls={"match": match})
    opened = orgs.task(Status="In Progress", Subject="Missed call", CompletedDateTime=None)
    orgs.task(Status="In Progress", CompletedDateTime=None)
    typed = orgs.task(TaskSubtype="Task", Type="Call")
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {opened}
    orgs.configure("sources.salesforce", calls={"match": [{"Type": "call"}]})
    orgs.org.edit("Task", typed)
    orgs.later(minutes=5)
    assert orgs.sync().exit_code == 0
    assert typed in orgs.delivered


def test_every_field_that_the_org_does_not_show_is_named_and_ends_the_pass(orgs: OrgWorld) -> None:
    tables = {"match": [{"Kind__c": "Call"}], "except": [{"Subject": "x", "Status__c": "x"}]}
    orgs.configure("sources.salesforce", calls={**tables, "fields": {"outcome": ["CallDisposition", "Result__c"]}})
    orgs.task()
    outcome = orgs.sync()
    assert outcome.exit_code == 78
    named = outcome.errors[0].summary
    assert all(name in named for name in ("Kind__c", "Status__c", "Result__c")), named
    found = [finding for finding in check(orgs) if not finding.ok and finding.exit_code == 78]
    assert [finding.what for finding in found] == [
        "sources.salesforce.calls.match, entry 1", "sources.salesforce.calls.except, entry 1",
        "sources.salesforce.calls.fields.outcome",
    ]  # fmt: skip
    assert {finding.hint.partition(",")[0] for finding in found} == {"write it exactly as Setup does"}


def test_a_default_that_the_org_hides_is_a_warning_and_leaves_the_other_calls(orgs: OrgWorld) -> None:
    orgs.org.hide("Task", "Type")
    orgs.org.hide("Task", "CallDisposition")
    call = orgs.task()
    orgs.task(TaskSubtype="Task", Type="Call")
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {call}
    (warning,) = [finding for finding in check(orgs) if finding.what == "fields"]
    assert warning.warning
    assert "Task.Type" in warning.message


def test_an_entry_that_no_query_can_be_filtered_by_is_a_warning(orgs: OrgWorld) -> None:
    match = [{"TaskSubtype": "Call"}, {"Description": "*dialer*"}]
    orgs.configure("sources.salesforce", calls={"match": match})
    call = orgs.task(TaskSubtype="Task", Description="By the dialer")
    orgs.task(TaskSubtype="Task")
    assert orgs.sync().exit_code == 0
    assert orgs.delivered == {call}
    (warning,) = [finding for finding in check(orgs) if finding.what == "match"]
    assert warning.warning
    assert warning.hint == "add a condition on a field that is no long text, e.g. TaskSubtype"
    assert "calls.match, entry 2" in warning.message
