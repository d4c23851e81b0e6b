"""`syncd accounts` lists the ledger's domains of which Recotap has no account."""

import json
import sys
from datetime import timedelta
from typing import Any

import httpx
import pytest

from syncd import clock
from syncd.cli import accounts
from syncd.errors import Unauthorized, Unavailable
from syncd.ledger import RECOTAP, LedgerHandle
from syncd.recotap import sender as recotap_sender
from tests.conftest import Command
from tests.test_sender import answering
from tests.world import THEIRS, World

OTHERS = "manhattan-bolts.com"


def others(live: World, count: int, domain: str = OTHERS, **how: Any) -> list[str]:
    """Put calls with a person of another company."""
    company = live.hubspot.put("companies", {"name": "Other", "domain": domain})
    person = live.person("lena.marsh", address=f"lena.marsh@{domain}", associatedcompanyid=company)
    return live.calls(count, contacts=[person], **how)


@pytest.fixture
def found(live: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Deliver activities of two companies, let one more wait, and exclude another.

    Recotap has an account of the first company, and of one with a name like the second's.
    """
    monkeypatch.setattr(accounts, "sleep", lambda seconds: None)
    live.calls(3)
    others(live, 2)
    others(live, 1, first_ago=timedelta(minutes=1))  # settles
    others(live, 1, "left-out.com")
    live.configure("rules", exclude_domains=["left-out.com"])
    live.call(contacts=[])
    live.recotap.account(THEIRS)
    live.recotap.account("manh.com")
    live.sync()
    ran = command("accounts", "--json", "-c", live.config_file)
    assert (ran.code, ran.err) == (0, "")
    return dict(json.loads(ran.out))


def test_the_document_has_what_is_unknown_with_its_activities_and_a_similar_account(
    live: World, found: dict[str, Any]
) -> None:
    (unknown,) = found.pop("unknown")
    assert found == {"asked": 2, "known": 1, "without_domain": 0}
    assert unknown == {"domain": OTHERS, "activities": 3, "similar": ["manh.com"]}


@pytest.mark.usefixtures("found")
def test_piped_each_domain_is_a_line_of_cells_and_the_remedy_is_on_stderr(live: World, command: Command) -> None:
    ran = command("accounts", "-c", live.config_file)
    assert (ran.code, ran.out) == (0, f"{OTHERS}\t3\tmanh.com\n")
    assert "domains of delivered or waiting activities: 2\n" in ran.err
    assert "without an account in Recotap: 1, with 3 activities\n" in ran.err
    assert "→ create the account in Recotap, or map the domain for what is sent later:" in ran.err
    assert f'[rules]\n    domain_aliases = {{ "{OTHERS}" = "manh.com" }}\n' in ran.err
    assert max(map(len, ran.err.splitlines())) <= 80


def test_a_terminal_gets_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = accounts.Answer(3, [accounts.Unknown("a.com", 1200, ["aa.com"]), accounts.Unknown("b.com", 1, [])], 5)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    accounts.show(found)
    said = capsys.readouterr()
    assert said.out == "    1,200  a.com  is it aa.com?\n        1  b.com\n"
    assert said.err.splitlines()[1:3] == [
        "of these without an account in Recotap: 2, with 1,201 activities",
        "activities of an older syncd, whose domain is not in the ledger: 5",
    ]


def test_without_a_similar_account_the_remedy_shows_the_form() -> None:
    *_, last = accounts.summary(accounts.Answer(1, [accounts.Unknown("a.com", 1, [])], 0))
    assert last == '    domain_aliases = { "in-the-crm.com" = "in-recotap.com" }'


def test_if_all_are_known_nothing_else_is_asked(live: World, command: Command) -> None:
    live.call()
    live.recotap.account(THEIRS)
    live.sync()
    with live.counted() as requests:
        ran = command("accounts", "-c", live.config_file)
    assert (ran.code, ran.out, "in Recotap: 0, with 0 activities" in ran.err) == (0, "", True)
    assert requests == {"accounts": 1}


def test_a_ledger_without_domains_asks_nothing(live: World, command: Command) -> None:
    live.sync()
    with live.counted() as requests:
        ran = command("accounts", "-c", live.config_file)
    assert (ran.code, accounts.NONE_YET in ran.err, requests) == (0, True, {})


class TestItCannotAsk:
    @pytest.fixture(autouse=True)
    def delivered(self, live: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(accounts, "sleep", lambda seconds: None)
        live.recotap.account(THEIRS)
        live.call()
        live.sync()

    def test_without_a_ledger(self, live: World, command: Command) -> None:
        live.configure("ledger", path=str(live.path / "none.db"))
        assert command("accounts", "-c", live.write_config()).code == 74

    def test_with_a_refused_key(self, live: World, command: Command) -> None:
        live.recotap.set(keys=["another-key"])
        ran = command("accounts", "--json", "-c", live.config_file)
        assert (ran.code, ran.out) == (77, "")

    def test_in_an_outage(self, live: World, command: Command) -> None:
        live.recotap.faults.add("answer", match="accounts", status=500, count=None)
        ran = command("accounts", "-c", live.config_file)
        assert (ran.code, ran.out) == (69, "")

    def test_during_a_pause(self, live: World, command: Command) -> None:
        handle = LedgerHandle(live.ledger)
        with handle.hold("test"), handle.open() as ledger:
            ledger.pause_until(RECOTAP, clock.now() + timedelta(hours=1), "too many requests", now=clock.now())
        with live.counted() as requests:
            ran = command("accounts", "-c", live.config_file)
        assert (ran.code, requests) == (69, {})
        assert "nothing to do. If its cause is gone, end it: syncd resume recotap" in ran.err

    def test_with_a_key_of_another_workspace(self, live: World, command: Command) -> None:
        """It has none of the accounts, so it would call each of them unknown."""
        live.recotap.set(keys=["another-key"])
        live.key_file.write_text("another-key")
        live.recotap.accounts = {}
        ran = command("accounts", "-c", live.config_file)
        assert (ran.code, "another workspace" in ran.err) == (78, True)

    def test_but_an_outage_while_it_looks_for_similar_names_costs_only_these(
        self, live: World, command: Command
    ) -> None:
        others(live, 1, first_ago=timedelta(minutes=30))
        live.recotap.account("manh.com")
        live.sync()
        live.recotap.faults.add("answer", match_query="limit=100", status=500, count=None)
        ran = command("accounts", "--json", "-c", live.config_file)
        assert ran.code == 0
        assert json.loads(ran.out)["unknown"] == [{"domain": OTHERS, "activities": 1, "similar": []}]


@pytest.mark.parametrize(
    ("domains", "lengths"),
    [
        ([], []),
        (["a.com"] * 250, [100, 100, 50]),
        ([f"{'x' * 200}.com"] * 40, [18, 18, 4]),
        (["y" * 5000, "a.com"], [1, 1]),
    ],
    ids=["none", "100 each", "long ones", "one that is too long goes alone"],
)
def test_a_request_names_100_domains_at_most_and_its_address_stays_short(
    domains: list[str], lengths: list[int]
) -> None:
    found = [*accounts.parts(domains)]
    assert [len(part) for part in found] == lengths
    assert [each for part in found for each in part] == domains


class TestTheSender:
    """GET /accounts, page by page."""

    @staticmethod
    def page(domains: list[str], cursor: str | None) -> httpx.Response:
        rows = [{"domain": each} for each in domains]
        page = {"data": rows, "nextCursor": cursor or "filled", "hasNextPage": cursor is not None}
        return httpx.Response(200, json={"statusCode": 200, "data": page})

    def test_if_a_page_is_shorter_than_the_list_it_asks_for_the_halves(self) -> None:
        """Otherwise an account on the second page would count as unknown."""
        seen: list[list[str]] = []

        def handler(request: httpx.Request) -> httpx.Response:
            asked = json.loads(request.url.params["domains"])
            seen.append(asked)
            return self.page(asked[:2], "2" if len(asked) > 2 else None)

        with answering(handler) as to:
            assert to.accounts(["a", "b", "c", "d", "e"]) == {"a", "b", "c", "d", "e"}
        assert [len(asked) for asked in seen] == [5, 2, 3, 1, 2]

    def test_a_page_that_says_there_are_more_of_one_domain_is_taken_as_it_is(self) -> None:
        with answering(lambda request: self.page(["a"], "2")) as to:
            assert to.accounts(["a"]) == {"a"}

    def test_all_accounts_follow_the_cursor_to_the_last_page(self) -> None:
        pages = {None: (["a"], "x&y"), "x&y": (["b"], "z"), "z": (["c"], None)}
        with answering(lambda request: self.page(*pages[request.url.params.get("cursor")])) as to:
            assert [*to.all_accounts()] == [{"a"}, {"b"}, {"c"}]

    def test_a_server_that_ignores_the_cursor_is_not_asked_for_ever(self) -> None:
        with answering(lambda request: self.page(["a"], "again")) as to:
            assert [*to.all_accounts()] == [{"a"}]

    def test_the_pages_are_bounded(self) -> None:
        count = 0

        def handler(request: httpx.Request) -> httpx.Response:
            nonlocal count
            count += 1
            return self.page([str(count)], str(count))

        with answering(handler) as to:
            assert len([*to.all_accounts()]) == recotap_sender.MOST_PAGES == count

    def test_a_429_is_waited_for_as_long_as_it_says_and_no_longer_than_the_turn(self) -> None:
        slept: list[float] = []
        answers = [httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(429), self.page(["a"], None)]
        with answering(lambda request: answers.pop(0)) as to:
            assert to.accounts(["a"], turn_s=10, sleep=slept.append) == {"a"}
        assert slept == [7.0, recotap_sender.BUSY_S]
        busy = httpx.Response(429, headers={"Retry-After": "7"})
        with answering(lambda request: busy) as to, pytest.raises(Unavailable, match="429"):
            to.accounts(["a"], turn_s=20, sleep=slept.append)
        assert slept[2:] == [7.0, 7.0]

    def test_it_raises_as_accounts(self) -> None:
        with answering(lambda request: httpx.Response(401)) as to, pytest.raises(Unauthorized):
            next(to.all_accounts())
