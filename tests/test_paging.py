"""Every chain of pages ends, whatever the server answers. The real clients, over sockets on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from connectors.hubspot import HubSpot, HubSpotConfig
from connectors.hubspot.client import Client
from connectors.hubspot.paging import MOST_PAGES, Chain
from connectors.hubspot.portal import Portal
from connectors.salesforce import paging
from syncd.connector import Context
from syncd.errors import Malformed
from syncd.passes.reader import PassStore
from tests.scripted import Scripted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@contextmanager
def portal(say, monkeypatch) -> Iterator[tuple[HubSpotConfig, Context, Scripted]]:
    """A HubSpot that answers `say(path, body)`."""

    def answer(wire: Any, head: str) -> None:
        path = head.split(" ")[1].split("?")[0]
        body = json.dumps(say(path, json.loads(server.bodies[-1] or b"{}"))).encode()
        wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    monkeypatch.setenv("TOKEN", "token-token")
    server = Scripted(answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    config = HubSpotConfig(connector="hubspot", start=NOW, access_token="env:TOKEN", base_url=server.url,
                           search_per_second=0)  # fmt: skip
    try:
        yield config, Context("hubspot", PassStore({}, lambda: NOW), lambda: NOW, lambda seconds: None), server
    finally:
        server.shutdown()
        server.server_close()


def following(after: str) -> dict[str, Any]:
    return {"paging": {"next": {"after": after}}}


@pytest.mark.parametrize(("period", "pages"), [(None, MOST_PAGES), (3, 4), (1, 2)])
def test_owners_end_after_a_hundred_pages_or_when_one_comes_again(monkeypatch, period, pages):
    numbers = count()

    def say(path, body):
        after = next(numbers) if period is None else next(numbers) % period
        return {"results": [{"id": "1", "email": "ada@lanternfield.example"}], **following(str(after))}

    with portal(say, monkeypatch) as (config, context, server):
        client = Client(config, context)
        with pytest.raises(Malformed, match=r"owners: (the same page|more than 100 pages)"):
            Portal(client, context.store, base_url=config.base_url).owners.refresh()
        assert len(server.heads) == pages
        client.close()


@pytest.mark.parametrize(("period", "pages"), [(None, MOST_PAGES), (3, 4), (1, 2)])
def test_associations_of_one_call_end_too(monkeypatch, period, pages):
    numbers = count()

    def say(path, body):
        if "associations" in path:
            after = next(numbers) if period is None else next(numbers) % period
            rows = [{"from": {"id": "7"}, "to": [{"toObjectId": 5}], **following(str(after))}]
            return {"results": rows, "status": "COMPLETE"}
        return {"results": [{"id": each["id"], "properties": {}} for each in body.get("inputs", ())]}

    with portal(say, monkeypatch) as (config, context, server):
        source = HubSpot(config, context)
        with pytest.raises(Malformed, match=r"associations calls to contacts: (the same page|more than 100 pages)"):
            list(source.fetch_ids("calls", ["7"]))
        assert sum("associations" in head for head in server.heads) == pages
        source.close()


def test_a_hundred_pages_less_one_are_read_and_an_after_is_bounded_in_length():
    chain = Chain("owners")
    for number in range(MOST_PAGES - 1):
        assert chain.next(following(str(number))) == str(number)
    assert chain.next({"paging": None}) is None
    with pytest.raises(Malformed):
        Chain("owners").next(following("x" * 5_000))


class TestSalesforce:
    def pages(self, *, total: Any, size: int, urls: Iterator[str]) -> Iterator[Any]:
        def page(_url: str = "") -> Any:
            records = [{"Id": "1"}] * size
            return {"totalSize": total, "done": False, "records": records, "nextRecordsUrl": next(urls)}

        return paging.pages(page(), page)

    @pytest.mark.parametrize(
        ("total", "size", "period", "most"),
        [
            (None, 1, None, paging.MOST_PAGES), ("9", 0, None, paging.MOST_PAGES), (10**12, 0, None, paging.MOST_PAGES),
            (1, 1, None, paging.SLACK + 2), (10, 2_000, None, 2), (10**12, 1, 3, 4),
        ],
    )  # fmt: skip
    def test_a_chain_of_locators_ends(self, total, size, period, most):
        urls = (f"/x-{number if period is None else number % period}" for number in count())
        came: list[Any] = []
        with pytest.raises(Malformed, match=r"same page|more pages"):
            came.extend(self.pages(total=total, size=size, urls=urls))
        assert len(came) == most

    def test_what_is_kept_whole_is_bounded_in_rows(self):
        def page(_url: str = "") -> Any:
            return {"totalSize": 10**9, "done": False, "records": [{}] * 2_000, "nextRecordsUrl": next(urls)}

        urls = (f"/x-{number}" for number in count())
        kept: list[Any] = []
        with pytest.raises(Malformed, match="more than 200,000 rows"):
            kept.extend(paging.kept(page(), page))
        assert len(kept) == paging.ROWS_MOST
