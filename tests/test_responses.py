"""The verdicts in Recotap's responses: only proven ones, by id, and never with a value of the body."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.lifecycle.states import Verdict
from syncd.recotap import responses
from syncd.recotap.responses import BatchResult, ItemResult

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CREATED, DUPLICATE, FAILED = Verdict.CREATED, Verdict.DUPLICATE, Verdict.FAILED
SKIPPED, UNANSWERED = Verdict.SKIPPED, Verdict.UNANSWERED
EXISTS = "Activity with externalActivityId '{}' already exists."
HTML = "<html><body>Scheduled maintenance</body></html>"


def read(status, body, sent=("a", "b", "c"), **headers) -> BatchResult:
    text = body if isinstance(body, str) else json.dumps(body)
    return responses.read(status, {k.replace("_", "-"): v for k, v in headers.items()}, text, sent, now=NOW)


def item(name, status="created", **more):
    return {"externalActivityId": name, "status": status, **more}


def ok(*results, summary=None, status=200, sent=("a", "b", "c")) -> BatchResult:
    data = {"results": list(results)} | ({} if summary is None else {"summary": summary})
    return read(status, {"statusCode": 200, "path": "/api/v1/sales-activities", "data": data}, sent)


def kinds(answer):
    return {name: judged.verdict for name, judged in answer.verdicts.items()}


def tree(**by_index):
    """Return a class-validator tree of fields under indexes, e.g. `_3=["domain"]`."""
    children = [
        {"property": index.strip("_"), "children": [
            {"property": name, "children": [], "constraints": {"isNotEmpty": f"{name} should not be empty"}}
            for name in names]}
        for index, names in by_index.items()
    ]  # fmt: skip
    return [{"property": "activities", "children": children}]


class TestTwoHundred:
    def test_each_item_has_its_own_outcome(self):
        answer = ok(item("a"), item("b", "failed", error=EXISTS.format("b")), item("c", "skipped", reason="a meeting"))
        assert answer == BatchResult(
            "answered",
            verdicts={"a": ItemResult(CREATED), "b": ItemResult(DUPLICATE), "c": ItemResult(SKIPPED, "a meeting")},
        )

    def test_201_is_as_good_as_200(self):
        assert kinds(ok(item("a"), status=201)) == {"a": CREATED}

    def test_a_bare_body_without_the_envelope_is_taken_too(self):
        assert kinds(read(200, {"results": [item("a")], "summary": {"created": 1}})) == {"a": CREATED}

    def test_results_go_by_id_and_never_by_position(self):
        answer = ok(item("c", "failed", error="boom"), item("a"), item("b", "skipped", reason="never"))
        assert kinds(answer) == {"a": CREATED, "b": SKIPPED, "c": FAILED}

    def test_an_item_that_is_missing_has_no_verdict(self):
        assert kinds(ok(item("a"), item("c"))) == {"a": CREATED, "c": CREATED}

    def test_an_id_that_was_never_sent_is_ignored(self):
        assert kinds(ok(item("z"), item("a"))) == {"a": CREATED}

    @pytest.mark.parametrize("name", [None, 7, ["a"], {"a": 1}, True])
    def test_an_item_whose_id_is_no_text_is_ignored(self, name):
        assert kinds(ok(item(name), item("b"))) == {"b": CREATED}

    @pytest.mark.parametrize("odd", [None, "a", 5, ["a", "created"]])
    def test_a_result_that_is_no_object_is_ignored(self, odd):
        assert kinds(ok(odd, item("b"))) == {"b": CREATED}

    def test_ids_are_compared_exactly(self):
        assert kinds(ok(item("A"), item(" b"))) == {}

    @pytest.mark.parametrize("twice", [
        item("a"), item("a", "failed", error="x"), item("a", "skipped", reason="x"),
        item("a", "failed", error=EXISTS.format("a")),
    ])  # fmt: skip
    def test_a_double_that_agrees_counts_once(self, twice):
        assert kinds(ok(twice, twice)) == kinds(ok(twice))

    def test_created_beside_already_exists_is_created(self):
        for order in (1, -1):
            assert kinds(ok(*[item("a"), item("a", "failed", error=EXISTS.format("a"))][::order])) == {"a": CREATED}

    @pytest.mark.parametrize("other", [item("a", "failed", error="boom"), item("a", "skipped"), item("a", "queued")])
    def test_a_double_that_disagrees_proves_nothing(self, other):
        for order in (1, -1):
            answer = ok(*[item("a"), other][::order])
            assert answer.verdicts == {"a": ItemResult(UNANSWERED, "several results that disagree")}

    def test_created_exists_and_failed_for_one_id_prove_nothing(self):
        answer = ok(item("a"), item("a", "failed", error=EXISTS.format("a")), item("a", "failed", error="boom"))
        assert kinds(answer) == {"a": UNANSWERED}

    @pytest.mark.parametrize("status", ["Created", "ok", "", None, 1, ["created"], {"created": True}])
    def test_a_status_that_is_not_recotaps_proves_nothing(self, status):
        assert ok(item("a", status)).verdicts == {"a": ItemResult(UNANSWERED, "a status that is not Recotap's")}

    def test_a_failed_item_keeps_its_text_and_one_without_a_text_says_so(self):
        answer = ok(item("a", "failed", error="boom"), item("b", "failed"), item("c", "failed", reason="why"))
        assert [answer.verdicts[name].detail for name in "abc"] == ["boom", "no error given", "why"]

    def test_a_skipped_item_keeps_its_reason_and_one_without_a_reason_says_so(self):
        answer = ok(item("a", "skipped", reason="why"), item("b", "skipped"), item("c", "skipped", error="else"))
        assert [answer.verdicts[name].detail for name in "abc"] == ["why", "no reason given", "else"]

    @pytest.mark.parametrize("error", [
        EXISTS.format("a"), EXISTS.format("a").upper(), "externalActivityId a already exists",
        "This activity\nalready exists",
    ])  # fmt: skip
    def test_an_activity_that_already_exists_is_a_duplicate(self, error):
        assert kinds(ok(item("a", "failed", error=error))) == {"a": DUPLICATE}

    @pytest.mark.parametrize("error", [
        "Contact with email already exists", "An account of that domain already exists.",
        "already existing reactivity", "Activity with externalActivityId 'other-a' already exists.",
        "contact-a already exists", "Activity 'a' names a contact that already exists",
        "Activity with externalActivityId 'a' exists",
    ])  # fmt: skip
    def test_something_else_that_already_exists_is_a_failure_or_the_activity_would_be_lost(self, error):
        assert kinds(ok(item("a", "failed", error=error))) == {"a": FAILED}

    def test_already_exists_beside_another_status_than_failed_is_not_a_duplicate(self):
        assert kinds(ok(item("a", "skipped", reason=EXISTS.format("a")))) == {"a": SKIPPED}

    def test_an_error_that_is_no_text_is_written_as_one(self):
        assert ok(item("a", "failed", error={"code": 5})).verdicts["a"] == ItemResult(FAILED, "{'code': 5}")

    def test_a_summary_that_counts_fewer_created_puts_every_created_in_doubt(self):
        answer = ok(item("a"), item("b"), item("c", "failed", error="x"), summary={"created": 1})
        doubt = ItemResult(UNANSWERED, "the summary counts fewer created than the results (2)")
        assert answer.verdicts == {"a": doubt, "b": doubt, "c": ItemResult(FAILED, "x")}

    @pytest.mark.parametrize("summary", [
        {"created": 2}, {"created": 3}, {"created": 999, "total": 999}, {}, {"created": None}, {"created": "1"},
        {"created": 0.5}, [], "one", 0, {"total": 0},
    ])  # fmt: skip
    def test_any_other_summary_takes_nothing_back(self, summary):
        assert kinds(ok(item("a"), item("b"), summary=summary)) == {"a": CREATED, "b": CREATED}

    @pytest.mark.parametrize("body", [
        HTML, "", "null", "[]", "42", '"created"', '{"data": {"results": [{"external', "\x00{]", {}, {"data": []},
        {"data": None, "results": []}, {"data": {"results": {"a": "created"}}}, {"results": "a"}, "[" * 100_000,
        {"statusCode": 500, "message": "Internal server error"},
    ])  # fmt: skip
    def test_a_body_that_is_not_recotaps_leaves_all_unknown(self, body):
        assert read(200, body) == BatchResult("down", "HTTP 200 with a body that is not Recotap's", stored=True)

    @pytest.mark.parametrize("status", [202, 204, 206])
    def test_any_other_2xx_leaves_all_unknown(self, status):
        assert read(status, "") == BatchResult("down", f"HTTP {status}", stored=True)

    def test_no_results_at_all_is_an_answer_that_names_nothing(self):
        assert ok() == BatchResult("answered")


class TestFourHundred:
    def test_the_tree_names_the_culprits_by_index_and_rule(self):
        answer = read(400, {"data": tree(_0=["domain"], _2=["domain", "ownerEmail"])})
        assert answer == BatchResult(
            "refused", "HTTP 400",
            culprits={0: "domain: isNotEmpty", 2: "domain: isNotEmpty; ownerEmail: isNotEmpty"},
        )  # fmt: skip

    def test_a_contacts_fault_is_found_among_nested_children(self):
        email = {"property": "email", "children": [], "constraints": {"isEmail": "email must be an email"}}
        contacts = {"property": "contacts", "children": [{"property": "3", "children": [email]}]}
        errors = [{"property": "activities", "children": [{"property": "1", "children": [contacts]}]}]
        assert read(400, {"data": errors}).culprits == {1: "contacts.3.email: isEmail"}

    def test_a_fault_of_the_item_itself_is_told_without_a_path(self):
        child = {"property": "1", "children": [], "constraints": {"nestedValidation": "must be an object"}}
        answer = read(400, {"data": [{"property": "activities", "children": [child]}]})
        assert answer.culprits == {1: "activity: nestedValidation"}

    def test_an_index_without_any_rule_is_a_culprit_all_the_same(self):
        assert read(400, {"data": tree(_1=[])}).culprits == {1: "refused"}

    def test_rules_of_one_item_are_told_once_each(self):
        assert read(400, {"data": tree(_1=["domain", "domain"])}).culprits == {1: "domain: isNotEmpty"}

    def test_no_more_than_ten_rules_of_an_item_are_told(self):
        text = read(400, {"data": tree(_1=[f"field{n}" for n in range(500)])}).culprits[1]
        assert text.split("; ") == [f"field{n}: isNotEmpty" for n in range(10)]

    @pytest.mark.parametrize("index", ["3", "49", "99999999999", "9" * 6000])
    def test_an_index_that_was_not_sent_makes_all_indexes_doubtful(self, index):
        errors = tree(_0=["domain"])
        errors[0]["children"].append({"property": index, "children": []})
        assert read(400, {"data": errors}) == BatchResult("refused", "HTTP 400")

    def test_the_last_index_that_was_sent_is_in_range(self):
        assert set(read(400, {"data": tree(_2=["domain"])}).culprits) == {2}

    @pytest.mark.parametrize("index", ["-1", "one", "", "1.0", "٣", None, "1 "])
    def test_what_is_no_index_names_nobody(self, index):
        errors = [{"property": "activities", "children": [{"property": index, "children": []}]}]
        assert read(400, {"data": errors}) == BatchResult("refused", "HTTP 400")

    def test_a_fault_beside_the_activities_names_nobody(self):
        errors = [{"property": "apiKey", "children": [{"property": "0", "children": []}]}]
        assert read(400, {"data": errors}).culprits == {}
        assert set(read(400, {"data": [*errors, *tree(_1=["domain"])]}).culprits) == {1}

    @pytest.mark.parametrize("key", ["message", "data", "errors", "customMessage"])
    @pytest.mark.parametrize("as_list", [True, False])
    def test_nestjs_flat_strings_name_the_culprits(self, key, as_list):
        text = "activities.2.ownerEmail must be an email"
        answer = read(400, {"statusCode": 400, key: [text] if as_list else text})
        assert answer.culprits == {2: "ownerEmail: refused"}

    def test_flat_strings_may_write_indexes_in_brackets_and_several_in_one(self):
        text = "activities[0].contacts[1].email must be an email, activities.1 is odd, activities[2] is odd"
        assert read(400, {"message": text}).culprits == {
            0: "contacts.1.email: refused", 1: "activity: refused", 2: "activity: refused",
        }  # fmt: skip

    @pytest.mark.parametrize("text", ["myactivities.1.domain", "activities: 1", "activities.x", "activities.1st"])
    def test_text_that_only_looks_like_an_index_names_nobody(self, text):
        assert read(400, {"message": text}).culprits == {}

    def test_tree_and_flat_strings_add_up(self):
        answer = read(400, {"data": tree(_0=["domain"]), "message": ["activities.1.contacts is empty"]})
        assert answer.culprits == {0: "domain: isNotEmpty", 1: "contacts: refused"}

    @pytest.mark.parametrize("body", [
        {"statusCode": 400, "message": "Bad Request", "customMessage": "Validation failed", "data": None},
        {"statusCode": 400, "message": "Bad Request"}, {}, {"data": "x"}, {"data": [1, None, "x", []]},
        {"data": [{"property": "activities", "children": None}]}, {"data": {"property": "activities"}},
    ])  # fmt: skip
    def test_an_opaque_refusal_is_a_refusal_without_culprits(self, body):
        assert read(400, body) == BatchResult("refused", "HTTP 400")

    def test_422_is_a_refusal_like_400(self):
        assert set(read(422, {"data": tree(_1=["domain"])}).culprits) == {1}

    @pytest.mark.parametrize("body", [HTML, "", "[]", '{"data": [', "null", "[" * 100_000])
    def test_a_400_that_is_not_recotaps_is_an_outage_and_nothing_was_stored(self, body):
        assert read(400, body) == BatchResult("down", "HTTP 400 with a body that is not Recotap's")

    def test_a_422_that_is_not_recotaps_is_an_outage_and_nothing_was_stored(self):
        assert read(422, HTML) == BatchResult("down", "HTTP 422")

    def test_a_tree_of_any_depth_is_survived_and_told_short(self):
        deep: dict = {"property": "x", "constraints": {"isDeep": ""}}
        for _ in range(45):  # two levels of JSON each, of which 100 are parsed
            deep = {"property": "x", "children": [deep], "constraints": {"isX": ""}}
        errors = [{"property": "activities", "children": [{"property": "1", "children": [deep]}]}]
        told = read(400, {"data": errors}).culprits[1].split("; ")
        assert told[0] == "x: isX"
        assert len(told) == responses.DEEPEST

    def test_a_value_in_the_place_of_a_name_is_not_told(self):
        rule = {"property": "kaya@amber-bolts.example", "constraints": {"+1 415 555 0101": "", "isEmail": ""}}
        errors = [{"property": "activities", "children": [{"property": "0", "children": [rule]}]}]
        body = {"data": errors, "message": ["activities.1.14155550101.Zoë must be something"]}
        assert read(400, body).culprits == {0: "?: ?; ?: isEmail", 1: "?.Zo: refused"}


class TestOthers:
    @pytest.mark.parametrize("status", [401, 403])
    def test_401_and_a_403_in_recotaps_envelope_are_about_the_key(self, status):
        body = {"statusCode": status, "message": "Invalid API key"}
        assert read(status, body) == BatchResult("unauthorized", f"HTTP {status}")

    @pytest.mark.parametrize("body", [
        HTML, "", "[]", {}, {"message": "Forbidden"}, {"statusCode": 401}, {"statusCode": "403"}, {"data": None},
    ])  # fmt: skip
    def test_another_403_is_a_firewalls_and_may_be_about_one_text(self, body):
        assert read(403, body) == BatchResult("blocked", "HTTP 403")
        assert read(401, body) == BatchResult("unauthorized", "HTTP 401")

    @pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 399, 404, 405])
    def test_404_405_and_redirects_are_about_the_url(self, status):
        assert read(status, HTML) == BatchResult("wrong_url", f"HTTP {status}")

    def test_413_asks_for_smaller_batches(self):
        assert read(413, HTML) == BatchResult("too_large", "HTTP 413: the batch is too large")

    def test_429_throttles_with_or_without_a_time(self):
        assert read(429, "", retry_after="7") == BatchResult("throttled", "HTTP 429", retry_after=7.0)
        assert read(429, HTML) == BatchResult("throttled", "HTTP 429")

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 530, 599, 408])
    def test_after_5xx_and_408_recotap_may_have_stored(self, status):
        assert read(status, HTML, retry_after="3") == BatchResult(
            "down", f"HTTP {status}", retry_after=3.0, stored=True
        )

    @pytest.mark.parametrize("status", [402, 406, 409, 418, 423, 425, 451, 499])
    def test_another_4xx_is_an_outage_and_nothing_was_stored(self, status):
        assert read(status, {"message": "?"}) == BatchResult("down", f"HTTP {status}")


PAGE = '{"statusCode": 200, "data": {"data": [], "hasNextPage": false}}'
REFUSED = '{"statusCode": 401, "message": "Invalid API key"}'


def probe(status, body, **headers) -> BatchResult:
    return responses.read_probe(status, headers, body, now=NOW)


class TestProbe:
    def test_recotaps_own_page_shows_that_it_is_there_and_takes_the_key(self):
        assert probe(200, PAGE) == BatchResult("answered")

    @pytest.mark.parametrize("body", [HTML, "", "[]", "{}", REFUSED])
    def test_a_page_that_is_not_recotaps_shows_neither(self, body):
        assert probe(200, body).outcome == "down"

    @pytest.mark.parametrize(("status", "body", "outcome"), [
        (401, REFUSED, "unauthorized"), (401, HTML, "unauthorized"), (403, '{"statusCode": 403}', "unauthorized"),
        (403, HTML, "down"), (400, "{}", "down"), (413, "", "down"), (422, "{}", "down"), (500, "", "down"),
        (201, PAGE, "down"), (404, "", "wrong_url"), (302, "", "wrong_url"), (429, "", "throttled"),
    ])  # fmt: skip
    def test_any_other_answer_means_the_same_as_to_a_post(self, status, body, outcome):
        assert probe(status, body).outcome == outcome

    def test_a_pause_that_it_asks_for_is_kept(self):
        assert probe(503, "", **{"retry-after": "90"}).retry_after == 90.0


class TestConfirmed:
    KEY, TEXT = BatchResult("unauthorized", "HTTP 401"), BatchResult("blocked", "HTTP 403")

    @pytest.mark.parametrize("denied", [KEY, TEXT])
    def test_if_the_probe_is_refused_too_the_key_is(self, denied):
        assert responses.confirmed(denied, self.KEY).outcome == "unauthorized"
        assert "401" in responses.confirmed(denied, self.KEY).detail

    @pytest.mark.parametrize("denied", [KEY, TEXT])
    def test_if_the_probe_is_accepted_it_is_about_a_text_whoever_refused_it(self, denied):
        answer = responses.confirmed(denied, BatchResult("answered"))
        assert answer == BatchResult("blocked", f"{denied.detail}, though the key is accepted")

    @pytest.mark.parametrize("denied", [KEY, TEXT])
    @pytest.mark.parametrize("seen", [
        BatchResult("down", "HTTP 403"), BatchResult("unreachable", "no connection"), BatchResult("throttled", "429"),
        BatchResult("wrong_url", "HTTP 404"),
    ])  # fmt: skip
    def test_otherwise_it_is_an_outage_in_which_nothing_was_stored(self, denied, seen):
        answer = responses.confirmed(denied, seen)
        assert (answer.outcome, answer.stored) == ("down", False)
        assert "firewall" in answer.hint


class TestEnvelope:
    @pytest.mark.parametrize(("body", "is_one"), [
        ('{"data": {}}', True), ('{"data": null}', True), ("{}", False), ("[]", False), (HTML, False), ("", False),
        ('["data"]', False),
    ])  # fmt: skip
    def test_an_envelope_is_an_object_with_data(self, body, is_one):
        assert responses.is_envelope(body) is is_one


# -- any response ---------------------------------------------------------------------------

SENT = ("id-1", "id-2", "id-3")
words = st.sampled_from([
    *SENT, "created", "failed", "skipped", "data", "results", "summary", "externalActivityId", "status", "error",
    "activities", "property", "children", "constraints", "0", "1", "2", "99", EXISTS.format("id-1"),
    "activities.1.domain must be text",
])  # fmt: skip
names = words | st.text(max_size=5)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=25,
)
items = st.fixed_dictionaries(
    {"externalActivityId": words | st.none(), "status": st.sampled_from(["created", "failed", "skipped", "x", 1])},
    optional={"error": words | documents, "reason": words},
)
envelopes = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries(
        {"results": st.lists(items | documents, max_size=6)},
        optional={"summary": documents | st.fixed_dictionaries({"created": st.integers(-1, 5)})},
    ) | documents},
)  # fmt: skip
statuses = st.sampled_from([200, 201, 204, 302, 400, 401, 404, 413, 422, 429, 500, 503]) | st.integers(100, 599)


def states_created(document, name) -> bool:
    """Tell, with code of its own, whether the document proves that Recotap has `name`."""
    inner = document.get("data", document) if isinstance(document, dict) else {}
    results = inner.get("results") if isinstance(inner, dict) else None
    return any(
        result.get("status") == "created"
        or (result.get("status") == "failed" and "already exists" in str([*result.values()]))
        for result in (results if isinstance(results, list) else [])
        if isinstance(result, dict) and result.get("externalActivityId") == name
    )


@given(statuses, documents | envelopes)
def test_no_document_raises_or_proves_a_delivery_that_it_does_not_state(status, document):
    answer = read(status, json.dumps(document), SENT, retry_after="x")
    for name, judged in answer.verdicts.items():
        assert name in SENT
        assert answer.outcome == "answered"
        assert status in (200, 201)
        if judged.verdict in (CREATED, DUPLICATE):
            assert states_created(document, name)
    assert all(0 <= index < len(SENT) for index in answer.culprits)


@given(statuses, st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_text_raises_or_proves_anything(status, text):
    assert not any(j.verdict in (CREATED, DUPLICATE) for j in read(status, text, SENT).verdicts.values())


@given(documents)
def test_no_value_of_a_refusal_gets_into_what_is_told(document):
    canary = "kaya.ivorstone@amber-bolts.example"
    body = {"message": f"{canary} is refused", "value": canary, "data": [document, {
        "property": "activities", "children": [
            {"property": "1", "value": canary, "target": {"email": canary}, "children": [
                {"property": "ownerEmail", "value": canary, "constraints": {"isEmail": canary}}]}]}]}  # fmt: skip
    answer = read(400, body, SENT)
    assert canary not in repr(answer)
    assert answer.outcome == "refused"


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=400), -timedelta(days=400)])
def test_a_retry_after_date_is_judged_by_the_clock_that_wrote_it(ahead):
    """The local clock may be a year off: a minute is a minute, by the Date of the same response."""
    written = [format_datetime(NOW + ahead + timedelta(seconds=each), usegmt=True) for each in (0, 60)]
    assert read(429, "", date=written[0], retry_after=written[1]).retry_after == 60.0
