"""Any response ends in a SyncdError or valid records, and proves every delivery. See campaigns/fuzz.py."""

import json
from random import Random

import pytest

from syncd.http import bodies
from syncd.lifecycle.states import Verdict
from syncd.recotap import responses
from syncd.recotap.responses import ItemResult
from tests.campaigns.fuzz import campaign, example, tried
from tests.fuzzing import ACTS, DOCUMENTS, SENT, SERVERS, Example, found, is_proven, plain

EXAMPLES = {"recotap": 400, "hubspot": 250, "salesforce": 250}  # campaigns/fuzz.py tries 100,000


@pytest.mark.parametrize("server", SERVERS)
def test_nine_hundred_odd_responses_break_no_promise(server):
    assert campaign(server, EXAMPLES[server]) == []


def test_what_once_broke_a_promise_does_so_no_more():
    assert [told for kept in found() if (told := tried(kept))] == []


@pytest.mark.parametrize("server", SERVERS)
def test_every_document_of_the_corpus_is_answered_as_it_stands(server):
    for act, kinds in ACTS[server].items():
        for kind in kinds:
            for document in DOCUMENTS[server].get(kind, ()):
                assert tried(Example(server, act, {kind: plain(document).decode("latin-1")})) == ""


def test_a_delivery_that_nothing_proves_is_a_fault(monkeypatch):
    """The checks fail for a broken client. Otherwise the campaign could find no bug."""
    monkeypatch.setattr(responses, "read", lambda *_, **__: responses.BatchResult(
        "answered", verdicts={SENT[0]: ItemResult(Verdict.CREATED)}))  # fmt: skip
    answered = plain({"data": {"results": [{"externalActivityId": SENT[1], "status": "created"}]}})
    assert tried(Example("recotap", "post", {"post": answered.decode("latin-1")})).startswith("AssertionError")
    assert not is_proven(answered.replace(b"200 OK", b"500 OK"), SENT[1], Verdict.CREATED)
    assert is_proven(answered, SENT[1], Verdict.CREATED)


@pytest.mark.parametrize("server", ["hubspot", "salesforce"])
def test_an_error_that_is_not_ours_is_a_fault(server, monkeypatch):
    monkeypatch.setattr(bodies, "parse", json.loads)
    told = [tried(example(Random(number), server)) for number in range(60)]
    assert any("JSONDecodeError" in each for each in told)


def test_a_conversation_that_does_not_end_is_a_fault(monkeypatch):
    monkeypatch.setattr("connectors.hubspot.paging.MOST_PAGES", 10**9)
    monkeypatch.setattr("tests.fuzzing.REQUESTS_MOST", 300)
    monkeypatch.setattr("connectors.hubspot.paging.Chain.next", lambda self, page: "1")
    assert "do not end" in tried(Example("hubspot", "fetch calls", {}))
