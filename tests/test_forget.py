"""`syncd forget` erases a person from every file of the ledger, and from then on the person is left out."""

import io
import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Sized
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import LedgerError, Unavailable
from syncd.ledger import AnyLedger, AttemptResult, Forget, Ledger, LedgerHandle
from syncd.lifecycle.states import State, Verdict
from syncd.normalize.forgotten import REMOVED, Forgotten, hash_of
from syncd.sandbox.hubspot.portal import SCOPES
from syncd.sandbox.standin.faults import Fault
from tests.conftest import ON_SQLITE, Command, Ran
from tests.daemons import wait_until
from tests.drops import call, email
from tests.ledgers import NOW, OF_SQLITE, URL, WEEK, book, contents, half, reading
from tests.orgs import OrgWorld
from tests.test_service import seldom, serving
from tests.world import OWN, THEIRS, World

PERSON = "kaya.ivorstone@amber-bolts.com"
REP = f"ada.eschenfeld@{OWN}"

Ask = Callable[[str], Ran]


@pytest.fixture
def forget(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run `syncd forget` with an address on standard input."""

    def run(address: str) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{address}\n"))
        return command("forget", "-c", live.config_file)

    return run


def files_with(world: World, *words: str) -> list[str]:
    """Return the ledger's files that hold one of `words` in any case."""
    sought = [word.lower().encode() for word in words]
    return [name for name, content in contents(world.handle) if any(word in content.lower() for word in sought)]


def waiting(world: World) -> tuple[str, str]:
    """Let a call with the person alone, and one with somebody else too, wait because Recotap is away."""
    other = world.person("mika.tern")
    calls = world.call(), world.call(contacts=[world.contact, other], hs_call_title=f"With {PERSON.upper()}")
    world.recotap.faults.add("unavailable", count=None)
    assert world.sync().exit_code == 69
    world.recotap.faults.clear()
    return calls


def test_no_byte_of_the_address_is_left_and_waiting_activities_go_on_without_the_person(
    live: World, forget: Ask, command: Command
) -> None:
    alone, both = waiting(live)
    live.sql("UPDATE activities SET detail = 'no answer about Kaya.Ivorstone@amber-bolts.com'")
    live.sql("UPDATE streams SET last_error = 'refused: ' || ?", PERSON)
    live.sql("UPDATE past_attempts SET detail = '<' || ? || '>'", PERSON)
    live.sql("INSERT INTO pauses (name, until, reason) VALUES ('gone', '2099-01-01T00:00:00.000Z', 'of ' || ?)", PERSON)
    live.sql(
        """
        INSERT INTO ranges (stream_id, since, until, why, last_error, next_attempt_at, created_at)
        SELECT id, '2025-01-01T00:00:00.000Z', '2025-01-01T00:00:00.000Z', 'gap', ?, '2099-01-01T00:00:00.000Z', start
        FROM streams WHERE stream = 'calls'
        """,
        PERSON,
    )
    assert files_with(live, PERSON) != []
    ran = forget(" Kaya.Ivorstone@AMBER-bolts.com")
    assert ran.code == 0
    assert {state for state, *_ in listed(ran).values()} == {"perhaps delivered"}, "Recotap answered with 503"
    assert ": 2, texts of errors: 6, values of connectors: 0\n" in ran.err
    copies = live.handle.rest().copies
    assert f"{copies} still hold what they held: replace them, or let them expire" in ran.err
    assert PERSON not in (ran.out + ran.err).lower()
    assert files_with(live, PERSON, "kaya", "ivorstone") == []
    assert live.sql("SELECT DISTINCT last_error FROM streams WHERE last_error IS NOT NULL") == [
        (f"refused: {REMOVED}",)
    ]
    assert [live.state(each) for each in (alone, both)] == ["excluded forgotten"] * 2
    assert live.status()["balanced"]

    assert live.sync().exit_code == 0
    assert live.delivered == {both}
    assert [each["email"] for each in live.payload(both)["contacts"]] == ["mika.tern@amber-bolts.com"]
    assert live.payload(both)["callTitle"] == f"With {REMOVED}"
    assert live.state(alone) == "excluded forgotten"
    assert live.row(alone)["next_attempt_at"] is None
    assert files_with(live, PERSON) == []
    assert live.status()["balanced"]


def test_a_rep_is_erased_from_the_owners_that_a_connector_keeps(live: World, forget: Ask) -> None:
    first = live.call()
    live.sync()
    assert files_with(live, REP) or URL, "in PostgreSQL a value of a connector is encrypted"
    ran = forget(REP)
    assert "values of connectors: 1" in ran.err
    assert files_with(live, REP, "eschenfeld") == []
    second = live.call()
    live.sync()
    assert (live.state(first), live.state(second)) == ("delivered", "excluded forgotten")
    assert files_with(live, REP, "eschenfeld") == []


def test_it_may_be_done_twice_and_before_the_first_pass_has_made_a_secret(live: World, forget: Ask) -> None:
    with live.handle.open():
        pass
    for _ in range(2):
        ran = forget(PERSON)
        assert ran.code == 0
        assert "reads again: 0," in ran.err
    assert live.sql("SELECT count(*) FROM forgotten") == [(1,)]
    call = live.call()
    live.sync()
    assert live.state(call) == "excluded forgotten"


def test_an_address_on_the_command_line_is_refused_and_not_repeated(live: World, command: Command) -> None:
    ran = command("forget", "kaya@amber-bolts.com", "-c", live.write_config())
    assert (ran.code, ran.out) == (2, "")
    assert "the command line takes no address, because others see it" in " ".join(ran.err.split())
    assert "kaya" not in ran.err


@pytest.mark.parametrize("written", ["", "kaya", "kaya@amber-bolts.com, mika@amber-bolts.com"])
def test_anything_but_one_address_is_a_mistake_that_is_not_repeated(live: World, forget: Ask, written: str) -> None:
    ran = forget(written)
    assert ran.code == 2
    assert "expected one e-mail address" in ran.err
    assert "kaya" not in ran.err


def test_bytes_that_are_no_text(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"k\xe4ya@amber-bolts.com\n"), "utf-8"))
    assert command("forget", "-c", live.config_file).code == 2


def test_without_a_ledger(live: World, forget: Ask) -> None:
    assert forget(PERSON).code == 74


def test_on_a_terminal_it_asks(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    live.sync()
    keyboard = io.StringIO(f"{PERSON}\n")
    keyboard.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", keyboard)
    ran = command("forget", "-c", live.config_file)
    assert ran.code == 0
    assert ran.err.startswith("E-mail address of the person: ")


def test_a_configuration_that_names_the_person(live: World, forget: Ask) -> None:
    live.configure("rules", own_domains=[OWN], not_owners=[REP.title()])
    live.write_config()
    live.sync()
    assert "your configuration names this address" in forget(REP).err
    assert "your configuration" not in forget(PERSON).err


def test_ids_with_the_address_are_kept_and_said(live: World, forget: Ask) -> None:
    live.call()
    live.sync()
    live.sql("UPDATE activities SET external_activity_id = 'call-' || ?", PERSON)
    assert "whose id holds the address, and ids are kept: 1" in forget(PERSON).err


# -- what Recotap has -------------------------------------------------------------------------


def listed(ran: Ran) -> dict[str, list[str]]:
    """Return the cells of each line after the id, by the CRM's id."""
    return {line.split("\t")[0].rpartition("-")[2]: line.split("\t")[1:] for line in ran.out.splitlines()}


class TestHubSpot:
    def test_it_lists_the_delivered_activities_in_which_the_person_takes_part(self, live: World, forget: Ask) -> None:
        other = live.person("mika.tern")
        also = live.person("k.i", address="k@amber-bolts.com", hs_additional_emails=f"k.old@amber-bolts.com;{PERSON}")
        callee = {"hs_call_callee_object_type_id": "0-1", "hs_call_callee_object_id": live.contact}
        to = f"Mika <mika.tern@amber-bolts.com>;Kaya+I<{PERSON.upper()}>"
        theirs = {
            live.call(), live.call(contacts=[other, live.contact]), live.call(contacts=[], **callee), live.email(),
            live.call(contacts=[also]), live.email(contacts=[other], hs_email_to_email=to),
        }  # fmt: skip
        live.call(contacts=[other])
        live.email(contacts=[other], hs_email_to_email=f"e{PERSON}")
        waiting = live.call(hs_call_status="IN_PROGRESS")
        live.sync()
        assert live.state(waiting) == "incomplete unfinished"
        assert theirs < live.delivered
        ran = forget(PERSON)
        assert ran.code == 0
        assert set(listed(ran)) == theirs
        state, kind, at, url = listed(ran)[min(theirs)]
        assert (state, at[:4], url[:8]) == ("delivered", f"{live.now():%Y}", "https://")
        assert kind in ("call", "email")
        assert f"Recotap has, or may have: {len(theirs)}." in ran.err
        assert set(listed(forget(PERSON))) == theirs, "again, although the ledger knows only the hash"

    def test_a_reps_are_those_that_the_rep_owns(self, live: World, forget: Ask) -> None:
        bram = live.hubspot.owner(f"bram.dell@{OWN}", "Bram", "Dell")
        theirs = {live.call(), live.email()}
        live.call(hubspot_owner_id=bram)
        live.sync()
        assert set(listed(forget(REP))) == theirs

    def test_a_rep_whom_another_property_named_and_records_that_are_gone(self, live: World, forget: Ask) -> None:
        table = {"fields": {"owner": ["hs_created_by_user_id"]}}
        live.configure("sources.hubspot", calls=table)
        live.write_config()
        user = next(each["userId"] for each in live.hubspot.owners.values() if each["email"] == REP)
        bram = live.hubspot.owner(f"bram.dell@{OWN}", "Bram", "Dell")
        by_user, gone = live.call(hubspot_owner_id=bram, hs_created_by_user_id=user), live.call()
        live.sync()
        live.hubspot.delete("calls", gone)
        assert set(listed(forget(REP))) == {by_user, gone}
        assert set(listed(forget(REP))) == {by_user, gone}, "again, by the stand-in"

    def test_a_portal_that_refuses_a_filter_is_asked_more_plainly(self, live: World, forget: Ask) -> None:
        call = live.call()
        live.sync()
        for table, name in (("contacts", "work_email"), ("emails", "hs_email_sender_email")):
            del live.hubspot.tables[table].kinds[name]
        assert set(listed(forget(PERSON))) == {call}

    def test_emails_whose_headers_the_key_may_not_see_are_taken_as_found(self, live: World, forget: Ask) -> None:
        other = live.person("mika.tern")
        email = live.email(contacts=[other], hs_email_to_email=PERSON)
        live.sync()
        live.hubspot.token(live.box.token, SCOPES - {"sales-email-read"})
        assert set(listed(forget(PERSON))) == {email}

    def test_rows_that_the_filter_excludes_end_the_search(
        self, live: World, forget: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("connectors.hubspot.by_address.LIMIT", 2)
        live.calls(5)
        live.sync()
        page = {"total": 9, "results": [{"id": "0"}], "paging": {"next": {"after": "2"}}}
        live.hubspot.faults.add(Fault(match="calls/search", status=200, body=page, count=None))
        ran = forget(REP)
        assert ran.code == 69
        assert "rows come back that the filter excludes" in ran.err

    def test_more_than_a_page(self, live: World, forget: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("connectors.hubspot.by_address.LIMIT", 2)
        calls = live.calls(5)
        live.sync()
        assert set(listed(forget(REP))) == {*calls}

    def test_an_outage_of_the_crm_comes_after_the_erasure(self, live: World, forget: Ask) -> None:
        call, _ = waiting(live)
        live.hubspot.faults.add("unavailable", count=None)
        ran = forget(PERSON)
        assert ran.code == 69
        assert "HubSpot" in ran.err
        assert live.state(call) == "excluded forgotten"
        live.hubspot.faults.clear()
        assert forget(PERSON).code == 0

    def test_a_source_that_pauses_is_not_asked(self, live: World, forget: Ask) -> None:
        live.sync()
        with live.handle.open() as ledger:
            ledger.pause_until("hubspot", live.now() + timedelta(hours=1), "the daily limit", now=live.now())
        with live.counted() as counts:
            ran = forget(PERSON)
        assert (ran.code, counts) == (69, {})
        assert "end it: `syncd resume hubspot`. Then run `syncd forget` again, which names its delivered" in ran.err


class TestSalesforce:
    @pytest.fixture
    def orgs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrgWorld]:
        monkeypatch.setenv("NO_COLOR", "1")
        with OrgWorld(tmp_path, real_time=True, org={"voice_call": True}) as made:
            made.configure("sources.salesforce", voice_calls=True)
            made.write_config()
            yield made

    @pytest.fixture
    def ask(self, orgs: OrgWorld, command: Command, monkeypatch: pytest.MonkeyPatch) -> Ask:
        def run(address: str) -> Ran:
            monkeypatch.setattr("sys.stdin", io.StringIO(address))
            return command("forget", "-c", orgs.config_file)

        return run

    def voice_call(self, orgs: OrgWorld, about: str) -> str:
        at = orgs.now() - timedelta(hours=1)
        fields = {
            "OwnerId": orgs.rep, "RelatedRecordId": about, "CallStartDateTime": at, "CallEndDateTime": at,
            "CallType": "Outbound", "CallDurationInSeconds": 60,
        }  # fmt: skip
        return str(orgs.org.put("VoiceCall", fields, created_at=at, modified_at=at))

    def test_it_lists_the_delivered_activities_in_which_the_person_takes_part(self, orgs: OrgWorld, ask: Ask) -> None:
        other, person = orgs.contact_of("mika.tern"), "mira.copperwell@amber-bolts.com"
        lead = orgs.org.put("Lead", {"LastName": "Copperwell", "Company": "Amber Bolts", "Email": person.title()})
        copied = f"x@y.com; Mira <{person}>"
        long_ago = timedelta(hours=5)
        theirs = {
            orgs.task(),
            orgs.task(WhoId=other, others=[other, orgs.buyer]),
            orgs.task(WhoId=lead),
            orgs.task(TaskSubtype="Email", Subject="Email: hello", ago=long_ago),
            orgs.mail(ToAddress=""),
            orgs.mail(to=[other], ago=long_ago, CcAddress=copied, ToAddress=f"mika.tern@{THEIRS}"),
            orgs.mail(to=[other], ToAddress="", Incoming=True, FromAddress=person, FromId=None),
            self.voice_call(orgs, orgs.buyer),
        }
        orgs.task(WhoId=other)
        orgs.mail(to=[other], ToAddress=f"e{person}")
        orgs.sync()
        assert theirs <= orgs.delivered
        ran = ask(person)
        assert ran.code == 0
        assert set(listed(ran)) == theirs

    def test_a_reps_are_those_that_the_rep_owns_or_wrote(self, orgs: OrgWorld, ask: Ask) -> None:
        written = orgs.mail(FromId=None, FromAddress="", CreatedById=orgs.rep)
        theirs = {orgs.task(), orgs.mail(), written, self.voice_call(orgs, orgs.buyer)}
        orgs.task(OwnerId=orgs.colleague)
        orgs.mail(FromId=orgs.colleague, FromAddress=f"dario.dunmere@{OWN}", CreatedById=orgs.colleague)
        orgs.sync()
        assert len(orgs.delivered) == 6
        assert set(listed(ask(f"cleo.hollisgrave@{OWN}"))) == theirs
        assert files_with(orgs, "hollisgrave") == []

    def test_an_object_whose_archived_rows_salesforce_refuses(self, orgs: OrgWorld, ask: Ask) -> None:
        other = orgs.contact_of("mika.tern")
        call = orgs.task(WhoId=other, others=[other, orgs.buyer])
        orgs.sync()
        body = [{"message": "not supported", "errorCode": "INVALID_TYPE"}]
        orgs.org.faults.add(
            Fault(match="queryAll", match_query="TaskWhoRelation", status=400, body=body, count=None)
        )  # fmt: skip
        ran = ask("mira.copperwell@amber-bolts.com")
        assert (ran.code, set(listed(ran))) == (0, {call})

    def test_what_the_acting_user_does_not_see_is_not_asked_for(self, orgs: OrgWorld, ask: Ask) -> None:
        orgs.org.set(shared_activities=False, enhanced_email=False)
        call = orgs.task()
        orgs.sync()
        ran = ask("mira.copperwell@amber-bolts.com")
        assert (ran.code, set(listed(ran))) == (0, {call})


@pytest.fixture
def drop(live: World) -> Path:
    """A folder of files as the only source."""
    folder = live.path / "drop"
    folder.mkdir()
    table = {"connector": "jsonl", "path": str(folder), "start": live.now() - timedelta(days=900)}
    live.configure("sources.drop", **table)
    live.write_config()
    return folder


def drop_file(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.write_bytes(content)
    long_ago = path.stat().st_mtime - 600  # nobody writes it any more
    os.utime(path, (long_ago, long_ago))


class TestFiles:
    def test_it_lists_the_persons_lines_of_read_and_unread_files(self, live: World, drop: Path, forget: Ask) -> None:
        other = {"contact_email": "mika.tern@amber-bolts.com"}
        lines = [call("c1"), call("c2", **other), email("e1", contact_email=PERSON.upper()), "{not json", call("c3")]
        drop_file(drop, "one.jsonl", "\n".join((*lines, "")).encode())
        live.sync()
        assert {"c1", "c2", "e1", "c3"} <= live.delivered
        assert set(listed(forget(PERSON))) == {"c1", "e1", "c3"}
        assert set(listed(forget("mika.tern@amber-bolts.com"))) == {"c2"}
        assert set(listed(forget("ada.eschenfeld@lanternfield.com"))) == {"c1", "c2", "e1", "c3"}

    def test_a_file_that_cannot_be_read_any_more(self, live: World, drop: Path, forget: Ask) -> None:
        drop_file(drop, "one.jsonl", call("c1").encode() + b"\n")
        drop_file(drop, "two.jsonl", call("c2", title="x" * 2000).encode() + b"\n")
        live.sync()
        live.configure("sources.drop", max_file_size="1KB")
        live.write_config()
        ran = forget(PERSON)
        assert (ran.code, set(listed(ran))) == (69, {"c1"})
        assert "two.jsonl is larger than max_file_size" in ran.err

    def test_a_connector_that_cannot_search(
        self, live: World, drop: Path, forget: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("syncd.cli.forgetting.FindsPeople", Sized)  # which it is not
        live.sync()
        ran = forget(PERSON)
        assert "drop cannot be searched by address" in ran.err
        assert "no delivered activity was found" in ran.err


def test_a_source_that_left_the_configuration_is_named(live: World, forget: Ask) -> None:
    live.call()
    live.sync()
    live.configure("sources.renamed", **live.source())
    live.tables.pop("sources.hubspot", None)
    live.write_config()
    assert "hubspot cannot be searched by address" in forget(REP).err


# -- beside other programs --------------------------------------------------------------------


@OF_SQLITE
def test_beside_a_reader_of_the_log(live: World, forget: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(live)
    monkeypatch.setattr("syncd.ledger.upkeep.REBUILD_MS", 10)
    with closing(sqlite3.connect(live.ledger, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM payloads").fetchone()
        ran = forget(PERSON)
        assert ran.code == 69
        assert "another program reads the ledger" in ran.err
        assert (
            "stop the program that uses it (syncd run, litestream, sqlite3), then run `syncd forget` again" in ran.err
        )
    assert forget(PERSON).code == 0
    assert files_with(live, PERSON) == []


def test_beside_a_daemon_which_acts_at_once(live: World, forget: Ask) -> None:
    alone, both = waiting(live)
    live.recotap.faults.add("unavailable", count=None)
    with serving(seldom(live)) as running:
        assert forget(PERSON).code == 0
        live.recotap.faults.clear()
        wait_until(lambda: live.delivered == {both}, at_most=10)
        assert [each["email"] for each in live.payload(both)["contacts"]] == ["mika.tern@amber-bolts.com"]
        assert running.error is None
    assert live.state(alone) == "excluded forgotten"
    assert files_with(live, PERSON) == []


def test_beside_a_post_that_does_not_return(live: World, forget: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(live)
    monkeypatch.setattr("syncd.cli.commands.forgetting.GRACE_S", -30.0)
    handle = live.handle
    with handle.hold("run"), handle.open() as ledger:
        ledger.intend(ledger.due(50, first_post=ledger.first_post(), now=live.now()), now=live.now())
        ran = forget(PERSON)
    assert ran.code == 69
    assert "2 activities of this person are in a POST under way" in ran.err
    assert "run `syncd forget` again in a minute" in ran.err


def test_on_a_full_disk_it_goes_on_and_says_what_remains(
    live: World, forget: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = live.call()
    live.sync()

    def full(self: Forget, *, is_held: bool) -> str:
        raise LedgerError("the ledger cannot be used: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Forget, "rebuild", full)
        ran = forget(PERSON)
    assert (ran.code, call in ran.out) == (74, True), "the delivered activities are named all the same"
    rest = live.handle.rest()
    assert f"the disk is full, so {rest.place} still has earlier content" in ran.err
    again = f"make room for the ledger's size twice, or stop the program that locks it ({rest.tool}). Then run"
    assert again in ran.err
    assert forget(PERSON).code == 0


@OF_SQLITE
def test_a_large_file_is_not_rewritten_beside_another_syncd(
    live: World, forget: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(live)
    monkeypatch.setattr("syncd.ledger.upkeep.LARGE", 1)
    with live.handle.hold("run"):
        ran = forget(PERSON)
    assert ran.code == 69
    assert "too large to be rewritten" in ran.err
    assert live.sql("SELECT * FROM payloads") == []
    assert forget(PERSON).code == 0


SECRET = b"of one ledger"
WHO = Forgotten([hash_of(PERSON, SECRET)], SECRET)


def erase(
    ledger: Forget, *, is_held: bool, sleep: Callable[[float], None] = lambda s: None, patience_s: float = 9
) -> int:
    return ledger.erase(
        WHO, PERSON, now=NOW, is_held=lambda: is_held, patience_s=patience_s, sleep=sleep
    ).payloads  # fmt: skip


def sending(ledger: Ledger) -> int:
    """Book an activity with the person, and the intent to send it. Return the POST."""
    book(ledger, reading(1, contacts=[{"email": PERSON}]), reading(2, contacts=[{"email": f"b{PERSON}"}]))
    post = ledger.intend(ledger.due(50, first_post=ledger.first_post(), now=NOW), now=NOW)
    assert len(post.activities) == 2
    return post.post_id


def rows(ledger: Ledger) -> list[tuple[Any, ...]]:
    return ledger._db.execute(
        "SELECT state, reason, unknown, next_attempt_at IS NULL FROM activities ORDER BY id"
    ).fetchall()


@ON_SQLITE
def test_copies_that_sqlite_leaves_between_the_cells_of_a_page(handle: LedgerHandle) -> None:
    """`secure_delete` does not overwrite them. They come from cells that were moved to another page."""
    chosen = random.Random(0)

    def of(number: int) -> Any:
        contact = {"email": PERSON if number % 3 == 0 else "mika.tern@amber-bolts.com"}
        return reading(number, modified_at=at, contacts=[contact], note="z" * chosen.randint(10, 1500))

    with handle.open() as ledger:
        for turn in range(5):
            at = NOW + timedelta(minutes=turn)
            book(ledger, *map(of, chosen.sample(range(400), 80) if turn else range(400)), now=at)
    with handle.forget() as forgetting:
        assert erase(forgetting, is_held=False) == 134
        forgetting._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert PERSON.encode() in handle.path.read_bytes(), "otherwise this test shows nothing"
        assert forgetting.rebuild(is_held=False) == ""
    assert PERSON.encode() not in handle.path.read_bytes()


class TestInFlight:
    @pytest.mark.parametrize(("verdict", "state"), [(Verdict.CREATED, "delivered"), (Verdict.UNANSWERED, "excluded")])
    def test_a_post_under_way_is_waited_for(self, handle: AnyLedger, verdict: Verdict, state: str) -> None:
        with handle.open() as ledger, handle.forget() as forgetting:
            post = sending(ledger)

            def returns(seconds: float) -> None:
                results = [AttemptResult(1, verdict), AttemptResult(2, verdict)]
                ledger.record_verdicts(post, results, now=NOW, max_age=WEEK, random=half)

            assert erase(forgetting, is_held=True, sleep=returns) == (state == "excluded")
            assert rows(ledger)[0][0] == state
            assert ledger.balanced()

    def test_one_that_does_not_return_is_not_touched(self, handle: AnyLedger) -> None:
        with handle.open() as ledger, handle.forget() as forgetting:
            sending(ledger)
            with pytest.raises(Unavailable, match="1 activities of this person are in a POST under way"):
                erase(forgetting, is_held=True, patience_s=0)
            assert rows(ledger) == [("pending", None, 0, 0)] * 2

    def test_what_a_crash_left_open_is_erased_and_recovered(self, handle: AnyLedger) -> None:
        with handle.open() as ledger, handle.forget() as forgetting:
            sending(ledger)
            assert erase(forgetting, is_held=False) == 1
            assert ledger.recover(now=NOW + timedelta(minutes=1)) == 2
            assert rows(ledger) == [("excluded", "forgotten", 1, 0), ("pending", None, 1, 0)]
            assert ledger.balanced()
            (named,) = forgetting.sent("hubspot", "calls", ["1"])
            assert (named["external_activity_id"], named["state"]) == ("hubspot-call-1", State.EXCLUDED)

    def test_an_address_beyond_ascii(self, handle: AnyLedger) -> None:
        who = Forgotten([hash_of("jörg@acme.com", SECRET)], SECRET)
        with handle.open() as ledger, handle.forget() as forgetting:
            book(ledger, reading(1, contacts=[{"email": "JÖRG@acme.com"}]), reading(2, contacts=[{"email": PERSON}]))
            ledger.keep("hubspot", {"owners": [["7", "Jörg@acme.com", "Jörg"]]}, NOW)
            erased = forgetting.erase(who, "jörg@acme.com", now=NOW, is_held=lambda: False, patience_s=0)
            assert (erased.payloads, erased.values) == (1, 1)
            assert ledger.store("hubspot")["owners"][0][0][2] == ""
