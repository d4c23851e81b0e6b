"""A ledger delivers to one Recotap: another host, port or workspace is refused before anything is sent."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from syncd.cli import check
from syncd.errors import ConfigError, Exit, SyncdError, Unauthorized, Unavailable
from syncd.ledger import LedgerHandle
from syncd.lifecycle.states import Verdict
from syncd.passes import destination, wiring
from syncd.passes.engine import Pass
from syncd.passes.report import PassResult
from syncd.recotap import responses
from syncd.recotap import sender as recotap_sender
from syncd.recotap.responses import BatchResult, ItemResult, account_page
from syncd.sandbox import Sandbox
from tests.conftest import Command
from tests.ledgers import NOW
from tests.test_sender import answering
from tests.world import NO_LIMITS, THEIRS, World


@pytest.fixture
def other(world: World) -> Iterator[Sandbox]:
    with Sandbox(now=world.now, hubspot=NO_LIMITS) as made:
        yield made


def move_to(world: World, other: Sandbox) -> None:
    world.configure("recotap", base_url=other.recotap_url)
    world.later(minutes=5)


def rotate(world: World, key: str = "a-new-key", *, elsewhere: bool = False) -> None:
    """Put a new key into force: of the same workspace, or of one that has other accounts."""
    world.key_file.write_text(key)
    world.recotap.keys = {key}
    if elsewhere:
        world.recotap.accounts = {}
        world.recotap.account("delta-looms.com")
    world.later(minutes=5)


def stored(world: World, key: str) -> Any:
    found = world.sql("SELECT value FROM store WHERE source = '@recotap' AND key = ?", key)
    return json.loads(found[0][0]) if found else None


def refusal(outcome: Any, *, code: Exit = Exit.CONFIG) -> Any:
    error = outcome.failed["@recotap"]
    assert error.exit_code == code
    assert outcome.exit_code == code
    return error


# -- host and port ----------------------------------------------------------------------------


def test_another_recotap_is_refused_before_anything_is_sent(world: World, other: Sandbox) -> None:
    first = world.call()
    assert world.sync().exit_code == Exit.OK
    second = world.call()
    move_to(world, other)
    error = refusal(world.sync())
    there, here = (destination.host_and_port(box.recotap_url) for box in (world.box, other))
    assert (there in error.message, here in error.message) == (True, True)
    moved = "set [ledger] path to a ledger of its own. If this is the same Recotap: `syncd ledger trust recotap`"
    assert error.hint == moved
    assert other.recotap.requests.total() == 0  # not even a probe, which would carry the key
    assert world.state(second) == "pending"

    world.configure("recotap", base_url=world.box.recotap_url)
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {first, second}


def test_another_host_is_another_recotap_even_at_the_same_port(world: World) -> None:
    world.call()
    world.sync()
    world.configure("recotap", base_url=world.box.recotap_url.replace("127.0.0.1", "localhost"))
    world.later(minutes=5)
    refusal(world.sync())


def test_another_path_is_the_same_recotap(world: World) -> None:
    world.call()
    world.sync()
    world.configure("recotap", base_url=f"{world.box.recotap_url}/crm")
    late = world.call()
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert late in world.delivered


def test_the_first_pass_after_an_upgrade_pins(world: World, other: Sandbox) -> None:
    world.call()
    world.sync()
    world.sql("DELETE FROM store WHERE source = '@recotap'")
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert stored(world, "@destination")["at"] == destination.host_and_port(world.box.recotap_url)
    move_to(world, other)
    refusal(world.sync())


def test_an_address_that_took_nothing_can_be_corrected(world: World, other: Sandbox) -> None:
    """The first pass pins. But if Recotap can hold nothing of the ledger, nothing can be lost or doubled."""
    call = world.call()
    world.configure("recotap", base_url=other.recotap_url.replace("/v1", "/v9"))
    assert world.sync().exit_code == Exit.CONFIG
    world.configure("recotap", base_url=world.box.recotap_url)
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {call}
    move_to(world, other)
    refusal(world.sync())


def test_an_attempt_whose_outcome_is_unknown_holds_the_ledger_too(world: World, other: Sandbox) -> None:
    call = world.call()
    world.recotap.rule("store_then_error", count=None)
    world.sync()
    assert world.state(call) == "pending"
    move_to(world, other)
    refusal(world.sync())
    assert other.recotap.requests.total() == 0


def test_a_crm_that_is_down_does_not_hide_it(world: World, other: Sandbox) -> None:
    world.call()
    world.sync()
    world.hubspot.faults.add("unavailable", count=None)
    move_to(world, other)
    outcome = world.sync()
    assert {int(error.exit_code) for error in outcome.errors} == {Exit.CONFIG, Exit.UNAVAILABLE}
    refusal(outcome)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://eapi.recotap.com/api/v1", "eapi.recotap.com:443"),
        ("http://eapi.recotap.com/api/v1/crm", "eapi.recotap.com:80"),
        ("http://127.0.0.1:8123/api/v1", "127.0.0.1:8123"),
        ("https://[::1]:8443/api/v1", "[::1]:8443"),
    ],
)
def test_a_destination_is_host_and_port(url: str, expected: str) -> None:
    assert destination.host_and_port(url) == expected


# -- the key's workspace ----------------------------------------------------------------------


def test_a_new_key_of_the_workspace_is_reported_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.recotap.account(THEIRS)
    world.call()
    world.sync()
    rotate(world)
    late = world.call()
    capsys.readouterr()
    with world.counted() as requests:
        assert world.sync().exit_code == Exit.OK
    assert requests["accounts"] == 1
    said = capsys.readouterr().out
    assert said.count("key.accepted") == said.count("recotap.api_key is new. Nothing to do") == 1
    assert late in world.delivered
    world.later(minutes=5)
    with world.counted() as requests:
        world.sync()
    assert "accounts" not in requests
    assert "key.accepted" not in capsys.readouterr().out


def test_a_key_of_two_lines_is_a_mistake_with_a_remedy(world: World) -> None:
    """It fits into no header. A key may be rotated after the configuration was read."""
    config = world.config()
    world.key_file.write_text("one\ntwo\n")
    with pytest.raises(ConfigError) as caught:
        wiring.sender(config)
    (problem,) = caught.value.problems
    assert "holds several lines" in problem.message
    assert problem.hint == "put the key there, or name another place: env:NAME, file:PATH or credential:NAME"


def test_a_key_of_another_workspace_is_refused_before_anything_is_sent(world: World) -> None:
    world.recotap.account(THEIRS)
    first = world.call()
    world.sync()
    rotate(world, elsewhere=True)
    late = world.call()
    with world.counted() as requests:
        error = refusal(world.sync())
    assert "post" not in requests
    assert "another workspace" in error.message
    assert error.hint.startswith("use a key of the workspace that this ledger delivers to, or set [ledger] path to")
    assert error.hint.endswith("another ledger. If you know better: `syncd ledger trust recotap`")
    assert world.state(late) == "pending"

    world.recotap.keys = {world.box.key}
    world.key_file.write_text(world.box.key)  # the right key again: nothing to accept
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {first, late}


def test_a_key_is_not_judged_by_accounts_that_the_last_one_did_not_find(world: World) -> None:
    first = world.call()  # its domain is no account of Recotap
    world.sync()
    assert stored(world, "@accounts")["found"] == 0
    rotate(world, elsewhere=True)
    late = world.call()
    assert world.sync().exit_code == Exit.OK
    assert world.delivered == {first, late}


@pytest.mark.parametrize(
    ("fault", "code"),
    [({"status": 503, "body": {}}, Exit.UNAVAILABLE), ({"status": 401, "body": {}}, Exit.UNAUTHORIZED),
     ({"status": 200, "body": "<html>"}, Exit.UNAVAILABLE)],
)  # fmt: skip
def test_a_new_key_that_cannot_be_tried_sends_nothing_and_is_tried_again(
    world: World, fault: dict[str, Any], code: Exit
) -> None:
    world.recotap.account(THEIRS)
    world.call()
    world.sync()
    rotate(world)
    late = world.call()
    world.recotap.faults.add("answer", match="/accounts", count=None, **fault)
    hint = refusal(world.sync(), code=code).hint
    again = ". The next pass tries the new key again. If you know that it is right: `syncd ledger trust recotap`"
    assert hint.endswith(recotap_sender.KEY_HINT if code is Exit.UNAUTHORIZED else again)
    assert world.state(late) == "pending"
    world.recotap.faults.clear()
    world.later(minutes=5)
    assert world.sync().exit_code == Exit.OK
    assert late in world.delivered


def test_the_ledger_holds_no_key_and_few_domains(world: World) -> None:
    for number in range(destination.MOST_DOMAINS + 5):
        company = world.hubspot.put("companies", {"name": "X", "domain": f"amber-{number}.com"})
        world.call(
            contacts=[world.person(f"p{number}.q", associatedcompanyid=company, address=f"p@amber-{number}.com")]
        )
        world.recotap.account(f"amber-{number}.com")
        world.sync()
        world.later(minutes=5)
    accounts = stored(world, "@accounts")
    assert len(accounts["domains"]) == accounts["found"] == destination.MOST_DOMAINS
    assert all(domain.startswith("amber-") for domain in accounts["domains"])
    pin = stored(world, "@destination")
    assert (len(bytes.fromhex(pin["salt"])), len(bytes.fromhex(pin["key"]))) == (8, 8)
    assert world.box.key.encode() not in world.ledger.read_bytes()


def test_accounts_are_asked_for_when_a_domain_is_new_and_once_a_day(world: World) -> None:
    def asked() -> int:
        world.call(ago=timedelta(minutes=20))
        with world.counted() as requests:
            assert world.sync().exit_code == Exit.OK
        return requests.get("accounts", 0)

    counts = [asked()]
    world.later(minutes=5)
    counts.append(asked())
    world.later(hours=25)
    counts.append(asked())
    assert counts == [1, 0, 1]
    world.later(hours=25)
    with world.counted() as requests:
        world.sync()  # idle
    assert "accounts" not in requests


def test_only_what_recotap_has_counts_as_delivered_to() -> None:
    sent = [(name, json.dumps({"domain": f"{name}.com"})) for name in "abcd"]
    verdicts = {"a": Verdict.CREATED, "b": Verdict.DUPLICATE, "c": Verdict.FAILED}
    result = BatchResult("answered", verdicts={name: ItemResult(verdict) for name, verdict in verdicts.items()})
    assert destination.delivered_to(sent, result) == {"a.com", "b.com"}


def test_accounts_of_a_key_that_is_no_longer_pinned_do_not_count() -> None:
    pin = {"at": "h:1", "salt": "00" * 8, "key": destination.fingerprint("old", "00" * 8)}
    kept: dict[str, Any] = {
        "@destination": pin, "@accounts": {"domains": ["a.com"], "found": 1, "key": "of an earlier one"}
    }  # fmt: skip
    found = destination.review(kept, at="h:1", key="new", has_sent=lambda: True, find=lambda domains: [])
    assert (found.refusal, found.accounts) == (None, 0)
    values = {key: (value, NOW) for key, value in kept.items()}
    assert destination.learned(values, ["a.com"], NOW) == {"domains": ["a.com"], "key": pin["key"]}
    values["@accounts"] = ({**kept["@accounts"], "key": pin["key"]}, NOW)
    assert destination.learned(values, ["a.com"], NOW) is None


class TestAccounts:
    """GET /accounts?domains=, as the vendor's page has it."""

    def test_the_query_is_a_json_array_and_only_asked_domains_count(self) -> None:
        seen = []

        def handler(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            accounts = [{"domain": "a.com"}, {"domain": "stranger.com"}, {"domain": None}, "?"]
            return httpx.Response(200, json={"statusCode": 200, "data": {"data": accounts, "hasNextPage": False}})

        with answering(handler) as to:
            assert to.accounts(["a.com", "b.com"]) == {"a.com"}
        assert seen[0].method == "GET"
        assert json.loads(seen[0].url.params["domains"]) == ["a.com", "b.com"]
        assert recotap_sender.DOMAINS == "/accounts?domains="

    @pytest.mark.parametrize(
        ("status", "kind", "hint"),
        [
            (401, Unauthorized, recotap_sender.KEY_HINT),
            (403, Unavailable, responses.FIREWALL_HINT),
            (404, Unavailable, recotap_sender.NOT_RECOTAP),
            (429, Unavailable, "try again when no pass is running"),
            (500, Unavailable, recotap_sender.OUTAGE),
        ],
    )
    def test_a_refusal_is_no_empty_list(self, status: int, kind: type[SyncdError], hint: str) -> None:
        answer = httpx.Response(status, json={"data": {"data": []}})
        with answering(lambda request: answer) as to, pytest.raises(kind) as caught:
            to.accounts(["a.com"])
        assert caught.value.hint == hint

    def test_an_outage_is_unavailable(self) -> None:
        def handler(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("no")

        with answering(handler) as to, pytest.raises(Unavailable, match="cannot be reached") as caught:
            to.accounts(["a.com"])
        assert caught.value.hint == recotap_sender.REACH

    @pytest.mark.parametrize("body", ["", "<html>", "[]", '{"data": []}', '{"data": {"data": null}}'])
    def test_another_body_is_no_list(self, body: str) -> None:
        assert account_page(body) is None


# -- check, and syncd ledger trust recotap ------------------------------------------------------


def found_by_check(world: World) -> Any:
    config = world.config()
    (finding,) = [each for each in check.findings(config, config.sources) if each.what == "recotap destination"]
    return finding


def test_check_compares_the_destination_and_writes_nothing(live: World, command: Command) -> None:
    live.recotap.account(THEIRS)
    live.call()
    assert command("sync", "-c", live.config_file).code == Exit.OK
    assert found_by_check(live).ok
    pin = stored(live, "@destination")
    rotate(live, elsewhere=True)
    finding = found_by_check(live)
    assert (finding.ok, finding.exit_code) == (False, Exit.CONFIG)
    live.recotap.account(THEIRS)
    assert "finds 1 accounts" in found_by_check(live).message
    assert stored(live, "@destination") == pin
    live.configure("recotap", base_url=live.box.recotap_url.replace("127.0.0.1", "localhost"))
    finding = found_by_check(live)
    assert (finding.ok, finding.exit_code, "trust recotap" in finding.hint) == (False, Exit.CONFIG, True)


def test_trust_recotap_lets_the_next_pass_pin_what_is_configured(live: World, command: Command) -> None:
    live.call()
    assert command("sync", "-c", live.config_file).code == Exit.OK
    before = stored(live, "@destination")["at"]
    late = live.call()
    live.configure("recotap", base_url=live.box.recotap_url.replace("127.0.0.1", "localhost"))
    refused = command("sync", "-c", live.write_config())
    assert (refused.code, "push.failed" in refused.err) == (Exit.CONFIG, True)
    with LedgerHandle(live.ledger).hold("run"):  # beside a daemon
        trusted = command("ledger", "trust", "recotap", "-c", live.config_file)
    assert (trusted.code, trusted.err) == (0, "")
    said = "the next pass pins the one that the configuration names"
    assert trusted.out == f"the ledger delivered to {before}: {said}\n"
    assert command("sync", "-c", live.config_file).code == Exit.OK
    assert late in live.delivered
    assert stored(live, "@destination")["at"].startswith("localhost:")


def test_trust_recotap_beside_a_pass_does_not_break_it(
    world: World, other: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, run = world.call(), Pass.run

    def trusted_meanwhile(self: Pass) -> PassResult:
        result = run(self)
        with LedgerHandle(world.ledger).operate() as operator:
            operator.trust_recotap(world.now())
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Pass, "run", trusted_meanwhile)
        assert world.sync().exit_code == Exit.OK
    assert stored(world, "@destination") is None
    move_to(world, other)
    assert (world.sync().exit_code, world.state(call)) == (Exit.OK, "delivered"), "the next pass pins the other one"


def test_trust_without_a_pin_a_ledger_or_a_known_name(live: World, command: Command) -> None:
    assert command("ledger", "trust", "recotap", "-c", live.config_file).code == Exit.LEDGER
    assert command("sync", "-c", live.config_file).code == Exit.OK
    live.sql("DELETE FROM store")
    trusted = command("ledger", "trust", "recotap", "-c", live.config_file)
    assert trusted.out.startswith("the ledger was pinned to no Recotap: ")
    unknown = command("ledger", "trust", "hubspt", "-c", live.config_file)
    assert unknown.code == Exit.USAGE
    assert "expected one of recotap, hubspot" in unknown.err
