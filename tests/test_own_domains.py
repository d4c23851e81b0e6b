"""`rules.own_domains` is checked for the example's placeholder and against the owners' domains."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.activity import Owner
from syncd.config import load
from syncd.connector import Source
from syncd.errors import ConfigError
from syncd.ledger import LedgerHandle
from syncd.normalize import own_domains
from syncd.normalize.rules import Rules
from syncd.passes import wiring
from syncd.passes.dry_run import DryRun
from syncd.passes.engine import Pass
from syncd.signals import StopRequest
from tests.orgs import OrgWorld
from tests.world import OWN, World

PLACEHOLDER = "yourcompany.com"


def owners(*addresses: str | None, active: bool = True) -> tuple[Owner, ...]:
    return tuple(Owner(str(number), address, active=active) for number, address in enumerate(addresses))


def rules(*domains: str, **more) -> Rules:
    return Rules(own_domains=frozenset(domains), **more)


@pytest.mark.parametrize(
    ("configured", "people"),
    [
        ([PLACEHOLDER], ()),
        ([PLACEHOLDER], ("a@acme.com", "b@acme.com")),
        (["www.YourCompany.com"], ("a@acme.com",)),
        (["mail.yourcompany.com"], ("a@acme.com",)),
        ([PLACEHOLDER, "acme.io"], ("a@acme.com", None, "no address")),
        ([PLACEHOLDER], ("a@notyourcompany.com", "b@yourcompany.com.evil.com")),
    ],
)
def test_the_examples_domain_is_wrong_while_no_owner_is_at_a_domain_of_the_list(configured, people):
    problem = own_domains.placeholder(rules(*configured), owners(*people))
    assert problem.path == "rules.own_domains"
    assert problem.hint.startswith("set your own domains there")
    assert "@" not in problem.message + problem.hint


@pytest.mark.parametrize(
    ("configured", "people", "active"),
    [
        ([PLACEHOLDER], ("a@yourcompany.com",), True),
        ([PLACEHOLDER], ("a@Mail.YourCompany.com",), False),
        ([PLACEHOLDER, "acme.io"], ("a@acme.io",), True),
        (["acme.com"], (), True),
        ([], (), True),
    ],
)
def test_it_is_right_for_whoever_has_it(configured, people, active):
    assert own_domains.placeholder(rules(*configured), owners(*people, active=active)) is None


def test_domains_that_owners_share_are_proposed_and_no_others():
    people = owners("a@acme.com", "b@eu.acme.com", "c@solo.com", "d@gmail.com", "e@gmail.com", "f@left.com")
    everyone = (*people, *owners("g@left.com", active=False))
    known = rules(PLACEHOLDER, company_domains=frozenset({"gmail.com"}))
    assert '["acme.com", "gmail.com"]' in own_domains.placeholder(known, everyone).hint
    hint = own_domains.placeholder(rules(PLACEHOLDER), everyone).hint
    assert hint == 'set your own domains there. Owners share these: own_domains = ["acme.com"]'
    nobody = own_domains.placeholder(rules(PLACEHOLDER), ())
    assert nobody.hint == f"set your own domains there, in place of {PLACEHOLDER}"
    assert not [name for name in ("solo", "gmail", "left") if name in hint]


def said(found) -> list[tuple[bool, bool, int, str]]:
    return [(each.ok, each.warning, each.exit_code, each.message) for each in found]


def only(found) -> str:
    (finding,) = found
    assert (finding.ok, finding.warning, finding.exit_code) == (False, True, 0)
    assert finding.hint
    assert "@" not in finding.message + finding.hint
    return f"{finding.message} | {finding.hint}"


def test_check_compares_the_list_with_the_owners():
    two = owners("a@acme.com", "b@acme.com")
    assert said(own_domains.of_owners(rules("acme.com"), two)) == [(True, False, 0, "as the owners' addresses have it")]
    assert said(own_domains.of_owners(rules("acme.com"), ())) == []
    missing = only(own_domains.of_owners(rules(), two))
    assert "missing: acme.com | they count as ours all the same, as long as two active owners share them" in missing
    assert "no owner's address is at acne.com | did you mean acme.com?" in only(
        own_domains.of_owners(rules("acme.com", "acne.com"), two)
    )
    assert "at elsewhere.org | remove it, unless colleagues write from there" in only(
        own_domains.of_owners(rules("acme.com", "elsewhere.org"), two)
    )
    for other in ({"exclude_domains": frozenset({"acme.com"})}, {"domain_aliases": {"acme.com": "acme.de"}}):
        assert "acme.com | remove them there: our own side is never an account" in only(
            own_domains.of_owners(rules("acme.com", **other), two)
        )
    assert said(own_domains.of_owners(rules(PLACEHOLDER), two)) == [], "it has been said"
    (error,) = own_domains.of_sources(rules(PLACEHOLDER), two)
    assert (error.ok, error.warning, error.exit_code) == (False, False, 78)


def test_check_looks_at_the_list_alone():
    assert said(own_domains.of_list(rules("acme.com", "acme.co.uk"))) == []
    empty = only(own_domains.of_list(rules()))
    assert "the list is empty" in empty
    assert empty.endswith(f' | set it, e.g. own_domains = ["{PLACEHOLDER}"] with your own domains')
    free = only(own_domains.of_list(rules("gmail.com")))
    assert free.startswith("gmail.com is a free-mail provider")
    assert free.endswith(" | remove it. List single addresses of colleagues as owners in the CRM")
    assert "free-mail" in only(own_domains.of_list(rules("mail.web.de")))
    assert "github.io is shared by many" in only(own_domains.of_list(rules("github.io")))
    assert only(own_domains.of_list(rules("github.io"))).endswith(
        " | name your own part of it, e.g. yourcompany.github.io"
    )
    assert said(own_domains.of_list(rules("rogers.com", company_domains=frozenset({"rogers.com"})))) == []
    both = rules("acme.com", exclude_domains=frozenset({"acme.com"}))
    assert "acme.com is in rules.exclude_domains" in only(own_domains.of_list(both))
    assert only(own_domains.of_list(both)).endswith(" | remove it there: our own side is never an account")


@pytest.mark.parametrize("suffix", ["co.uk", "com.au", "CO.UK", "kobe.jp", "gov.uk"])
def test_a_public_suffix_is_a_mistake(world: World, suffix):
    world.configure("rules", own_domains=[OWN, suffix])
    with pytest.raises(ConfigError) as raised:
        world.config()
    (problem,) = raised.value.problems
    assert problem.path == "rules.own_domains.1"
    assert problem.hint == 'name your own part of it, e.g. "yourcompany.com"'
    load(world.config_file, environ={}, now=world.now(), secrets=False)


# --- in a pass ---


def test_a_pass_with_the_examples_domain_books_and_sends_nothing_of_the_source(world: World):
    world.calls(3)
    world.configure("rules", own_domains=[PLACEHOLDER])
    outcome = world.sync()
    assert outcome.exit_code == 78
    (error,) = outcome.errors
    assert "rules.own_domains" in error.message
    assert f'["{OWN}"]' in error.hint
    assert "@" not in error.message + error.hint
    assert world.status()["seen"] == 0
    assert world.recotap.requests["post"] == 0
    world.configure("rules", own_domains=[OWN])
    assert world.sync().exit_code == 0
    assert len(world.delivered) == 3


def test_an_owner_at_the_examples_domain_makes_it_right_though_no_record_names_an_owner(world: World):
    world.hubspot.owner(f"jane@{PLACEHOLDER}")
    world.call(hubspot_owner_id=None)
    world.configure("rules", own_domains=[PLACEHOLDER])
    assert world.sync().exit_code == 0
    assert world.status()["seen"] == 1


def test_what_was_booked_before_waits_as_well(world: World):
    world.call()
    world.recotap.faults.add("unavailable", count=None)
    world.sync()
    assert world.status()["activities"]["pending"] == 1
    world.recotap.faults.clear()
    world.configure("rules", own_domains=[PLACEHOLDER])
    world.later(minutes=5)
    before = world.recotap.requests["post"]
    assert world.sync().exit_code == 78
    assert world.recotap.requests["post"] == before
    world.configure("rules", own_domains=[OWN])
    world.sync()
    assert len(world.delivered) == 1


def test_salesforce_users_are_owners_too_and_another_source_goes_on(tmp_path):
    with OrgWorld(tmp_path, with_hubspot=True) as orgs:
        task, call = orgs.task(), orgs.call()
        orgs.configure("rules", own_domains=[PLACEHOLDER])
        outcome = orgs.sync()
        assert (outcome.exit_code, len(outcome.errors)) == (78, 2)
        assert orgs.delivered == set()
        orgs.org.user(f"jane@{PLACEHOLDER}", "Jane", "Doe")
        orgs.later(hours=25)
        outcome = orgs.sync()
        assert (outcome.exit_code, outcome.errors) == (0, ()), "an owner of any source is enough"
        assert orgs.delivered == {task, call}


@pytest.mark.parametrize(("address", "code"), [(f"jane@{PLACEHOLDER}", 0), ("jane@acme.com", 78), ("", 78)])
def test_owners_in_files_are_owners_too(world: World, tmp_path, address, code):
    folder = tmp_path / "drop"
    folder.mkdir()
    row = {"id": "1", "kind": "call", "occurred_at": "2026-09-20T10:00:00Z", "owner_email": address or None}
    (folder / "calls.jsonl").write_text(json.dumps({**row, "contact_email": "kaya@amber-bolts.com"}) + "\n")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    world.configure("sources.files", connector="jsonl", path=str(folder), start=start, quiet_for="0s")
    world.configure("rules", own_domains=[PLACEHOLDER])
    world.hold_the_clock()
    world.later(minutes=5)
    assert world.sync().exit_code == code
    assert world.status()["seen"] == (0 if code else 1)


@pytest.mark.parametrize("kind", ["hubspot", "salesforce"])
def test_check_says_what_a_pass_would_say(tmp_path, command, kind):
    with OrgWorld(tmp_path) as orgs:
        if kind == "hubspot":
            orgs.tables = {}
        orgs.configure("rules", own_domains=[PLACEHOLDER])
        ran = command("check", "-c", orgs.write_config())
        assert ran.code == 78
        assert f'own_domains = ["{OWN}"]' in ran.out
        orgs.configure("rules", own_domains=[OWN])
        ran = command("check", "-c", orgs.write_config())
        assert "ok    rules.own_domains" in ran.out
        orgs.configure("rules", own_domains=["gmail.com"])
        ran = command("check", "-c", orgs.write_config())
        assert ran.code == 0
        assert "warn  rules.own_domains: gmail.com" in ran.out
        assert f"missing: {OWN}" in ran.out


def test_the_mistake_is_said_though_nothing_is_there_to_read(world: World):
    world.configure("rules", own_domains=[PLACEHOLDER])
    assert world.sync().exit_code == 78


def test_check_compares_with_the_owners_of_all_sources_at_once(tmp_path, command):
    with OrgWorld(tmp_path, with_hubspot=True) as orgs:
        orgs.hubspot.owner("x@other-brand.com")
        orgs.configure("rules", own_domains=[OWN, "other-brand.com"])
        ran = command("check", "-c", orgs.write_config())
        assert ran.code == 0
        assert "ok    rules.own_domains" in ran.out
        assert "no owner's address" not in ran.out


def files_of_strangers(world: World, folder: Path) -> None:
    """Drop a file whose owner is at no domain of the list."""
    folder.mkdir()
    row = {"id": "1", "kind": "call", "occurred_at": "2026-09-20T10:00:00Z", "owner_email": "jo@elsewhere.example"}
    (folder / "calls.jsonl").write_text(json.dumps({**row, "contact_email": "kaya@amber-bolts.com"}) + "\n")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    world.configure("sources.files", connector="jsonl", path=str(folder), start=start, quiet_for="0s")
    world.configure("sources.hubspot")
    world.configure("rules", own_domains=[PLACEHOLDER, OWN])
    world.hold_the_clock()
    world.later(minutes=5)


def in_order(world: World, names: list[str]) -> list[Source]:
    return [next(each for each in world.config().sources if each.name == name) for name in names]


@pytest.mark.parametrize("names", [["hubspot", "files"], ["files", "hubspot"]])
def test_an_owner_of_any_source_vouches_for_all_in_any_order(world: World, tmp_path, names):
    world.call()
    files_of_strangers(world, tmp_path / "drop")
    run = DryRun(
        in_order(world, names),
        world.config().rules.to_rules(),
        ledger=LedgerHandle(world.ledger),
        stop=StopRequest(),
        now=world.now,
    )
    assert len(list(run.readings())) == 2
    assert run.errors == []
    outcome = world.sync(sources=in_order(world, names))
    assert (outcome.exit_code, outcome.errors) == (0, ())
    assert world.status()["seen"] == 2


def test_a_source_alone_goes_on_after_an_earlier_pass_has_vouched(world: World, tmp_path):
    files_of_strangers(world, tmp_path / "drop")
    assert world.sync(sources=in_order(world, ["files"])).exit_code == 78
    assert world.sync(sources=in_order(world, ["hubspot"])).exit_code == 0
    assert world.sync(sources=in_order(world, ["files"])).exit_code == 0
    assert world.status()["seen"] == 1
    world.configure("rules", own_domains=[PLACEHOLDER])
    assert world.sync(sources=in_order(world, ["files"])).exit_code == 78, "another list needs another owner"


def test_a_pass_that_only_sends_waits_too_until_an_owner_has_vouched(world: World):
    call = world.call()
    world.recotap.faults.add("unavailable", count=None)
    world.sync()
    world.recotap.faults.clear()
    world.configure("rules", own_domains=[PLACEHOLDER, "elsewhere.example"])
    world.later(minutes=5)
    with (
        LedgerHandle(world.ledger).hold("run"),
        LedgerHandle(world.ledger).open() as ledger,
        wiring.sender(world.config(), now=world.now) as to,
    ):
        rules = world.config().rules.to_rules()
        Pass(ledger, [], to, rules, concurrency=1, max_age=timedelta(days=7), now=world.now).run()
    assert world.delivered == set()
    world.configure("rules", own_domains=[PLACEHOLDER, OWN])
    world.sync(sources=in_order(world, ["hubspot"]))
    assert world.delivered == {call}


def test_check_asks_the_owners_of_all_sources_before_it_refuses(live: World, tmp_path, command):
    files_of_strangers(live, tmp_path / "drop")
    ran = command("check", "-c", live.write_config())
    assert (ran.code, "still holds" in ran.out) == (0, False), ran.out
