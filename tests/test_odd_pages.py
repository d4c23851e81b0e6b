"""An odd record does not stop its page: it is cleaned and sent, or it alone is unreadable. The wire is in memory."""

import json
from copy import deepcopy
from typing import Any

import pytest

from connectors.hubspot.retry import SCOPES_MOST, Attempt, Request, interpret, missing_scopes
from syncd.connector import Window
from syncd.errors import Malformed, Unauthorized, Unreadable
from syncd.http import bodies
from syncd.http.response import Failure, Response
from tests.fuzzing import DOCUMENTS, IDS, NOW, _hubspot_says, _salesforce_says, _source, plain, wired

PAGES = {
    ("hubspot", "calls"): ("calls search", "hs_call_title"),
    ("hubspot", "emails"): ("emails search", "hs_email_subject"),
    ("salesforce", "calls"): ("tasks", "Subject"),
    ("salesforce", "emails"): ("messages", "Subject"),
}


def titles(server: str, stream: str, page: Any, *, change=lambda body: body) -> list[str | None]:
    """Read a page that `change` has altered, and return the names of its records."""
    kind, _ = PAGES[server, stream]
    says = _hubspot_says if server == "hubspot" else _salesforce_says

    def answer(request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        asked, document = says(head.split(b" ")[1].decode(), body.decode())
        if asked != kind:
            return plain(document)
        text = change(json.dumps(page).encode())
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)

    with wired(answer):
        source = _source(server)
        window = Window(NOW.replace(hour=6), NOW, lambda refs: [ref.crm_id for ref in refs])
        try:
            records = [record for each in source.fetch(stream, window) for record in each.records]
            return [draft.title for record in records if (draft := _normalized(source, stream, record))]
        finally:
            source.close()


def _normalized(source: Any, stream: str, record: Any) -> Any:
    try:
        return source.normalize(stream, record)
    except (Unreadable, KeyError, TypeError, AttributeError):
        return None


def page_of(server: str, stream: str, *names: str) -> Any:
    kind, field = PAGES[server, stream]
    page = deepcopy(DOCUMENTS[server][kind][0])
    rows = page["results" if server == "hubspot" else "records"]
    first = rows[0]
    rows.clear()
    for number, name in enumerate(names):
        row = deepcopy(first)
        place = "id" if server == "hubspot" else "Id"
        row[place] = str(row[place])[:-4] + f"{number}AAA" if server == "salesforce" else str(300 + number)
        (row["properties"] if server == "hubspot" else row)[field] = name
        rows.append(row)
    page["total" if server == "hubspot" else "totalSize"] = len(rows)
    return page


@pytest.mark.parametrize(("server", "stream"), PAGES)
class TestTitles:
    @pytest.mark.parametrize("half", ["\ud83d", "\ude00"], ids=["high", "low"])  # noqa: PT014 - they differ
    def test_half_an_emoji_is_removed_and_its_page_goes_on(self, server, stream, half):
        page = page_of(server, stream, "before", f"cut {half}in half", "whole 😀")
        assert titles(server, stream, page) == ["before", "cut in half", "whole 😀"]

    @pytest.mark.parametrize(
        ("change", "read"),
        [
            (lambda body: b"\xef\xbb\xbf" + body, "middle"),
            (lambda body: body.replace(b"middle", b"mid\ndle\x00"), "mid dle"),
            (lambda body: body.replace(b"middle", b"mid\xffdle"), "mid�dle"),
            (lambda body: body.replace(b'"middle"', b"NaN"), None),
            (lambda body: body.replace(b'"middle"', b"1e999"), None),
            (lambda body: body.replace(b'"middle"', b'{"a": ["b"]}'), None),
            (lambda body: body.replace(b'"middle"', b"[[[]]]"), None),
            (lambda body: body.replace(b'"middle"', b"true"), None),
        ],
    )
    def test_what_one_title_is_made_of_stops_no_other(self, server, stream, change, read):
        assert titles(server, stream, page_of(server, stream, "a", "middle", "z"), change=change) == ["a", read, "z"]

    @pytest.mark.parametrize(
        "odd",
        [None, True, 0, 1e308, "", "²", "9" * 500, [], ["x"], {}, {"a": {}}, "(" * 600],
        ids=lambda odd: str(odd)[:9],
    )
    def test_every_field_of_a_row_may_be_of_another_type(self, server, stream, odd):
        """Alter the fields one by one, and all together. `SystemModstamp` and ids identify a row and stay."""
        title = PAGES[server, stream][1]
        page = page_of(server, stream, *map(str, range(40)))
        for number, row in enumerate(page["results" if server == "hubspot" else "records"][1:-1]):
            fields = row["properties"] if server == "hubspot" else row
            names = [each for each in fields if each not in (title, "Id", "SystemModstamp")]
            for name in names[number : number + 1] or names:
                fields[name] = odd
        assert {"0", "39"} <= set(titles(server, stream, page))


def test_a_page_of_another_shape_is_malformed():
    for odd in ([], "x", None, {"results": {}}, {"results": [1]}, {"results": [[]]}):
        with pytest.raises(Malformed):
            titles("hubspot", "calls", odd)
        with pytest.raises(Malformed):
            titles("salesforce", "calls", odd)


def test_a_refusal_of_any_size_is_searched_for_scopes_in_a_moment():
    """A list whose first entry was taken again and again cost 75 s for 800 KB."""
    body = json.dumps({"category": "MISSING_SCOPES", "errors": [[{"a": []}] for _ in range(12_000)]}).encode()
    assert len(body) < bodies.ERROR_MOST
    fault = interpret(Request("calls search", scope="s"), Response(403, {}, body), Attempt(1, NOW))
    assert isinstance(fault, Failure)
    assert isinstance(fault.error, Unauthorized)
    many = {"errors": [{"context": {"requiredScopes": [f"scope.{number}" for number in range(10_000)]}}]}
    assert len(missing_scopes(many)) == SCOPES_MOST


@pytest.mark.parametrize("server", ["hubspot", "salesforce"])
def test_ids_that_no_number_holds_stop_nothing(server):
    assert IDS[server]
    if server == "hubspot":
        page = page_of("hubspot", "calls", "a", "z")
        page["results"][0]["properties"]["hs_call_callee_object_id"] = "9" * 5_000
        page["results"][1]["properties"]["hubspot_owner_id"] = "9" * 5_000
        assert titles("hubspot", "calls", page) == ["a", "z"]
    else:
        page = page_of("salesforce", "calls", "a", "z")
        page["records"][0]["WhoId"] = "003" + "9" * 5_000
        page["records"][1]["AccountId"] = ["001"]
        assert titles("salesforce", "calls", page) == ["a", "z"]
