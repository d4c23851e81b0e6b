"""People whom `syncd forget` named are left out of every activity that is read from then on."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings

from syncd.activity import Draft, Owner
from syncd.addresses import email
from syncd.connector import Page, Window
from syncd.lifecycle.reasons import Reason
from syncd.normalize.forgotten import REMOVED, Forgotten, assess_without, hash_of, is_stand_in
from syncd.normalize.our_side import OurSide, Rules
from syncd.normalize.rules import Assessment
from syncd.recotap.payload import validate
from tests.conftest import Command
from tests.test_rules import ACME, CALL, COLLEAGUE, DRAFTS, EMAIL, JANE, JOHN, LEFT, MARY, NOBODY, RULES, judge
from tests.world import World

SECRET = b"of one ledger"


def forgetting(*addresses: str) -> Forgotten:
    return Forgotten([hash_of(address, SECRET) for address in addresses], SECRET)


JOHN_IS_GONE = forgetting("john@acme.com")
JANE_IS_GONE = forgetting("jane@yourcompany.com")


def left(draft: Draft, forgotten: Forgotten = JOHN_IS_GONE, rules: Rules = RULES) -> Assessment:
    our_side = OurSide.of(rules, forgotten.owners((JANE, LEFT)))
    owners = forgotten.owners((JANE, LEFT))
    return assess_without(
        draft, lambda each: judge(each, rules, owners), forgotten=forgotten, rules=rules, our_side=our_side
    )


def sent(draft: Draft, forgotten: Forgotten = JOHN_IS_GONE, rules: Rules = RULES) -> dict[str, Any]:
    found = left(draft, forgotten, rules)
    assert found.reason is None
    assert found.payload is not None
    assert validate(found.payload) == []
    assert not forgotten.names(found.payload)
    return found.payload


class TestWhoIsRecognized:
    @pytest.mark.parametrize(
        "written",
        ["john@acme.com", " John@ACME.com ", "John Doe <john@acme.com>", "'john@acme.com'", "mailto:john@acme.com"],
    )
    def test_every_spelling_that_a_crm_may_hold(self, written: str) -> None:
        assert is_stand_in(JOHN_IS_GONE.stand_in(written))

    @pytest.mark.parametrize("written", ["jon@acme.com", "john@acme.co", "bjohn@acme.com", "john", "", None, 7])
    def test_nobody_else(self, written: Any) -> None:
        assert JOHN_IS_GONE.stand_in(written) is None

    def test_another_secret_recognizes_nobody(self) -> None:
        assert Forgotten(JOHN_IS_GONE.hashes, b"of another").stand_in("john@acme.com") is None
        assert not Forgotten(JOHN_IS_GONE.hashes), "no secret, no hashes"

    def test_a_stand_in_is_an_address_and_stays_itself(self) -> None:
        stand_in = JOHN_IS_GONE.stand_in("john@acme.com") or ""
        assert email(stand_in) == stand_in
        assert JOHN_IS_GONE.stand_in(stand_in) == stand_in
        assert "john" not in stand_in

    @pytest.mark.parametrize(
        ("text", "without"),
        [
            ("ask john@acme.com.", f"ask {REMOVED}"),
            ("'JOHN@acme.com', mary@acme.com", f"{REMOVED}', mary@acme.com"),
            ("see ?to=john@acme.com&x=1", f"see ?to={REMOVED}&x=1"),
            ("bjohn@acme.com and john@acme.com.au", "bjohn@acme.com and john@acme.com.au"),
            ("no address", "no address"),
        ],
    )
    def test_an_address_within_a_text(self, text: str, without: str) -> None:
        assert JOHN_IS_GONE.text(text) == without

    def test_values_that_connectors_keep_lose_address_and_name_and_keep_ids(self) -> None:
        kept = {"owners": {"7": ["7", "john@acme.com", "John Doe", True], "8": ["8", "mary@acme.com", "Mary", True]}}
        without = JOHN_IS_GONE.without({**kept, "row": {"email": "john@acme.com", "name": "John", "id": "a7"}})
        stand_in = JOHN_IS_GONE.stand_in("john@acme.com")
        assert without["owners"] == {"7": ["7", stand_in, "", True], "8": kept["owners"]["8"]}
        assert without["row"] == {"email": stand_in, "name": "", "id": "a7"}
        assert JOHN_IS_GONE.without(without) == without
        assert JOHN_IS_GONE.without({"john@acme.com": 1}) == {REMOVED: 1}

    def test_the_memory_of_addresses_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("syncd.normalize.forgotten.REMEMBERED", 3)
        forgotten = forgetting("john@acme.com")
        assert [bool(forgotten.stand_in(f"{n}@acme.com")) for n in range(5)] == [False] * 5
        assert forgotten.stand_in("john@acme.com")
        assert len(forgotten._known) <= 3


class TestActivities:
    def test_a_contact_is_left_out_and_the_others_stay(self) -> None:
        assert [each["email"] for each in sent(replace(CALL, contacts=(JOHN, MARY)))["contacts"]] == ["mary@acme.com"]

    def test_nobody_else_of_the_other_side(self) -> None:
        for draft in (
            CALL,
            EMAIL,
            replace(CALL, contacts=(JOHN, COLLEAGUE)),
            replace(CALL, contacts=(), others=(JOHN,)),
        ):
            assert left(draft).reason is Reason.FORGOTTEN
            assert left(draft).payload is None

    def test_it_is_judged_before_what_is_missing(self) -> None:
        assert left(replace(CALL, status="unfinished", companies=(), owner=None)).reason is Reason.FORGOTTEN

    def test_and_after_the_operators_rules(self) -> None:
        assert left(replace(CALL, status="not_sent")).reason is Reason.NOT_SENT
        assert left(replace(CALL, filtered="except, entry 1")).reason is Reason.FILTERED
        assert left(replace(CALL, duplicate_of="7")).reason is Reason.FORGOTTEN

    def test_somebody_without_an_address_is_somebody_else(self) -> None:
        assert left(replace(CALL, contacts=(JOHN, NOBODY))).reason is Reason.NO_CONTACT_EMAIL

    def test_what_the_person_owned(self) -> None:
        assert left(CALL, JANE_IS_GONE).reason is Reason.FORGOTTEN
        assert left(replace(EMAIL, owner=None), JANE_IS_GONE).reason is Reason.FORGOTTEN, "its sender owns it"
        assert left(replace(CALL, owner=None, status="unfinished"), JANE_IS_GONE).reason is Reason.UNFINISHED

    def test_an_owner_of_whom_only_the_stand_in_is_kept(self) -> None:
        kept = replace(JANE, email=JANE_IS_GONE.stand_in(JANE.email))
        assert left(replace(CALL, owner=kept), JANE_IS_GONE).reason is Reason.FORGOTTEN

    def test_a_default_owner(self) -> None:
        rules = replace(RULES, default_owner_email="Jane@yourcompany.com")
        nobodys = replace(CALL, owner=None)
        assert left(nobodys, JANE_IS_GONE, rules).reason is Reason.FORGOTTEN
        assert left(CALL, JOHN_IS_GONE, rules).reason is Reason.FORGOTTEN
        assert sent(replace(CALL, owner=Owner("7", "ann@yourcompany.com")), JANE_IS_GONE, rules)["contacts"]

    def test_an_id_stays_whatever_it_holds(self) -> None:
        draft = replace(CALL, contacts=(MARY,), title="john@acme.com")
        assess = partial(judge, owners=(), rules=replace(RULES, default_owner_email="ann@yourcompany.com"))

        def named(each: Draft) -> Assessment:
            found = assess(each)
            return found._replace(payload={**(found.payload or {}), "externalActivityId": "call-john@acme.com"})

        found = assess_without(draft, named, forgotten=JOHN_IS_GONE, rules=RULES, our_side=OurSide.of(RULES, ()))
        assert found.payload is not None
        assert (found.payload["externalActivityId"], found.payload["callTitle"]) == ("call-john@acme.com", REMOVED)

    def test_another_candidate_for_the_owner_does_not_count(self) -> None:
        other = Owner("rep-7", "ann@yourcompany.com", "Ann")
        assert sent(replace(CALL, owner=other, owners=(JANE,)), JANE_IS_GONE)["ownerEmail"] == other.email

    def test_an_email_that_the_person_sent_is_not_from_its_owner(self) -> None:
        draft = replace(EMAIL, direction="inbound", sender=JOHN, contacts=(JOHN, MARY))
        assert "from" not in sent(draft)
        assert sent(draft)["contacts"][0]["email"] == "mary@acme.com"
        colleague = Owner("rep-7", "ann@yourcompany.com", "Ann")
        assert "from" not in sent(replace(EMAIL, owner=colleague), JANE_IS_GONE)

    def test_a_text_that_names_the_person(self) -> None:
        draft = replace(CALL, title="For john@acme.com", contacts=(replace(MARY, name="john@acme.com"),))
        assert sent(draft)["callTitle"] == f"For {REMOVED}"
        assert sent(draft)["contacts"][0]["name"] == REMOVED

    def test_everybody_else_is_as_before(self) -> None:
        for draft in (CALL, EMAIL, replace(CALL, companies=(), contacts=(MARY,)), replace(EMAIL, contacts=())):
            assert left(draft, forgetting("zoe@acme.com")) == judge(draft)
        assert JOHN_IS_GONE.draft(replace(CALL, contacts=(MARY,), companies=(ACME,))) == replace(CALL, contacts=(MARY,))


THREE = ("john@acme.com", "jane@yourcompany.com", "a@xn--bcher-kva.de")


@settings(max_examples=300)
@given(DRAFTS)
def test_whatever_a_crm_holds_no_payload_names_them_and_nothing_else_changes(draft: Draft) -> None:
    forgotten = forgetting(*THREE)
    found = left(draft, forgotten)
    assert (found.payload is None) == (found.reason is not None)
    if found.payload is not None:
        assert validate(found.payload) == []
        assert not forgotten.names(found.payload)
        assert not any(is_stand_in(each["email"]) for each in found.payload["contacts"])
        assert not is_stand_in(found.payload["ownerEmail"])
    whole = judge(draft)
    if whole.payload is not None and not forgotten.names(whole.payload) and forgotten.draft(draft) is draft:
        assert found == whole


# -- in a pass --------------------------------------------------------------------------------


def forget(world: World, address: str) -> None:
    """Book what `syncd forget` books."""
    (secret,) = world.sql("SELECT value FROM store WHERE source = '@recotap' AND key = '@sameness'")
    hashed = hash_of(address, bytes.fromhex(secret[0].strip('"')))
    world.sql("INSERT INTO forgotten (hash, at) VALUES (?, '2026-10-05T09:00:00.000Z')", hashed)


def test_a_pass_leaves_the_person_out(world: World) -> None:
    world.sync()
    forget(world, "kaya.ivorstone@amber-bolts.com")
    other = world.person("mika.tern")
    alone, both = world.call(), world.call(contacts=[world.contact, other])
    world.sync()
    assert world.state(alone) == "excluded forgotten"
    assert [each["email"] for each in world.payload(both)["contacts"]] == ["mika.tern@amber-bolts.com"]
    assert world.status()["balanced"]


def test_a_preview_shows_it(live: World, command: Command) -> None:
    live.sync()
    forget(live, "kaya.ivorstone@amber-bolts.com")
    call = live.call()
    ran = command("preview", call, "-c", live.config_file)
    assert ran.code == 0
    assert f"hubspot-call-{call}\treason\tforgotten: `syncd forget` named its owner" in ran.out
    assert "kaya.ivorstone" not in ran.out


def test_an_owner_is_kept_by_a_stand_in_and_recognized_by_it(world: World) -> None:
    world.sync()
    forget(world, "ada.eschenfeld@lanternfield-sales.com")
    first = world.call()
    world.sync()
    assert "ada.eschenfeld" not in str(world.sql("SELECT value FROM store"))
    second = world.call(ago=world.now() - world.now())
    world.later(minutes=30)
    world.sync()
    assert [world.state(each) for each in (first, second)] == ["excluded forgotten"] * 2


def test_a_page_that_was_read_before_is_held_back_and_read_again(world: World) -> None:
    world.sync()
    other = world.person("mika.tern")
    alone, both = world.call(), world.call(contacts=[world.contact, other])
    base: Any = world.config().sources[0].connector

    class Slow(base):  # type: ignore[misc]
        def fetch(self, stream: str, window: Window) -> Iterator[Page]:
            if stream == "calls" and not world.sql("SELECT * FROM forgotten"):
                forget(world, "kaya.ivorstone@amber-bolts.com")  # its reader does not know
            yield from super().fetch(stream, window)

    world.sync(connector=Slow)
    assert world.delivered == set()
    assert [world.state(each) for each in (alone, both)] == ["excluded forgotten"] * 2
    assert "kaya.ivorstone" not in str(world.sql("SELECT body FROM payloads"))
    world.later(seconds=1)
    world.sync()
    assert world.state(alone) == "excluded forgotten"
    assert [each["email"] for each in world.payload(both)["contacts"]] == ["mika.tern@amber-bolts.com"]
    assert world.row(alone)["next_attempt_at"] is None
    assert world.status()["balanced"]
