"""Salesforce's stand-in obeys SOQL exactly, and refuses the queries that Salesforce refuses."""

import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from syncd.sandbox import Sandbox
from syncd.sandbox.salesforce import Salesforce, sample
from syncd.sandbox.salesforce.query import run
from syncd.sandbox.salesforce.refusals import SalesforceRefusal

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
T0 = datetime(2026, 5, 28, 8, 0, tzinfo=UTC)


class Reader:
    """A client that sends queries to the stand-in."""

    def __init__(self, box):
        trust = ssl.create_default_context(cafile=box.salesforce_ca)
        self.http = httpx.Client(base_url=box.salesforce_url, verify=trust, trust_env=False)
        login = {"grant_type": "client_credentials", "client_id": box.client_id, "client_secret": box.client_secret}
        token = self.http.post("/services/oauth2/token", data=login).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def ask(self, soql, verb="query"):
        return self.http.get(f"/services/data/v66.0/{verb}/", params={"q": soql})

    def rows(self, soql, verb="query"):
        answer = self.ask(soql, verb)
        assert answer.status_code == 200, answer.text
        return answer.json()["records"]

    def subjects(self, where, order="Subject"):
        return "".join(row["Subject"] for row in self.rows(f"SELECT Subject FROM Task {where} ORDER BY {order}"))

    def refusal(self, soql):
        answer = self.ask(soql)
        assert answer.status_code == 400, answer.text
        (error,) = answer.json()
        return error["errorCode"], error["message"]


@pytest.fixture(scope="module")
def box():
    """Serve an org with tasks a to e, a minute apart.

    a and b have a contact, c a lead, d a queue as owner, and e none of these.
    """
    with Sandbox(now=lambda: NOW, salesforce={}) as box:
        org = box.salesforce
        box.ada = org.user("ada@lanternfield-sales.com", "Ada", "Aldermoor")
        box.queue = org.queue("Inbound calls", "calls@lanternfield-sales.com")
        box.account = org.put("Account", {"Name": "Amber Kilns", "Website": "amber-kilns-1.com"})
        box.contact = org.put(
            "Contact", {"FirstName": "Finn", "LastName": "Dunmere", "Email": "finn@x.com", "AccountId": box.account}
        )
        box.other = org.put("Contact", {"LastName": "Ivorstone", "Email": "ivo@y.com"})
        box.lead = org.put("Lead", {"LastName": "Fennbrook", "Company": "Cinder Looms"})
        box.tasks = {
            name: org.put("Task", {"Subject": name, **fields}, modified_at=T0 + timedelta(minutes=minute))
            for minute, (name, fields) in enumerate({
                "a": {"TaskSubtype": "Call", "Status": "Completed", "WhoId": box.contact, "OwnerId": box.ada,
                      "CallDurationInSeconds": 60, "Type": "50%_off", "ActivityDate": "2026-05-28"},
                "b": {"TaskSubtype": "Call", "WhoId": box.contact, "OwnerId": box.ada, "CallDurationInSeconds": 600,
                      "Type": "It's on", "ActivityDate": "2026-05-30"},
                "c": {"TaskSubtype": "call", "Status": "Completed", "WhoId": box.lead, "CallDurationInSeconds": 6},
                "d": {"TaskSubtype": "Email", "Status": "Completed", "OwnerId": box.queue, "Type": "Email"},
                "e": {},
            }.items())
        }  # fmt: skip
        org.relate(box.tasks["a"], box.other)
        org.field("Task", "Channel__c")
        yield box


@pytest.fixture(scope="module")
def reader(box):
    reader = Reader(box)
    with closing(reader.http):
        yield reader


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("WHERE SystemModstamp >= 2026-05-28T08:02:00Z", "cde"),
        ("WHERE SystemModstamp > 2026-05-28T08:02:00Z", "de"),
        ("WHERE SystemModstamp < 2026-05-28T08:02:00Z", "ab"),
        ("WHERE SystemModstamp <= 2026-05-28T08:02:00Z", "abc"),
        ("WHERE SystemModstamp = 2026-05-28T08:02:00Z", "c"),
        ("WHERE SystemModstamp != 2026-05-28T08:02:00Z", "abde"),
        ("WHERE SystemModstamp >= 2026-05-28T08:01:00Z AND SystemModstamp < 2026-05-28T08:03:00Z", "bc"),
        ("WHERE SystemModstamp >= 2026-05-28T10:02:00+02:00", "cde"),
        ("WHERE SystemModstamp >= 2026-05-28T08:02:00.000+00:00", "cde"),
        ("WHERE SystemModstamp > 2026-05-28T08:01:59.999Z", "cde"),
        ("WHERE SystemModstamp >= 2026-05-28T08:02:00.001Z", "de"),
        ("WHERE TaskSubtype = 'CALL'", "abc"),
        ("WHERE TaskSubtype != 'Call'", "de"),
        ("WHERE Type != 'Email'", "abce"),
        ("WHERE Type NOT IN ('Email', 'It\\'s on')", "ace"),
        ("WHERE Type = null", "ce"),
        ("WHERE Type = ''", "ce"),
        ("WHERE Type != null", "abd"),
        ("WHERE Type = 'It\\'s on'", "b"),
        ("WHERE Type LIKE '50\\%%'", "a"),
        ("WHERE Type LIKE 'it_s%'", "b"),
        ("WHERE Type LIKE '%\\_off'", "a"),
        ("WHERE Subject IN ('A', 'd', 'x')", "ad"),
        ("WHERE Subject IN ('e')", "e"),
        ("WHERE CallDurationInSeconds > 60", "b"),
        ("WHERE CallDurationInSeconds <= 60.5", "ac"),
        ("WHERE CallDurationInSeconds = 6", "c"),
        ("WHERE CallDurationInSeconds = null", "de"),
        ("WHERE IsClosed = true", "acd"),
        ("WHERE IsClosed != true", "be"),
        ("WHERE IsClosed = FALSE", "be"),
        ("WHERE ActivityDate > 2026-05-28", "b"),
        ("WHERE ActivityDate <= 2026-05-30", "ab"),
        ("WHERE Subject >= 'D'", "de"),
        ("WHERE NOT IsClosed = true", "be"),
        ("WHERE NOT (IsClosed = true OR Subject = 'b')", "e"),
        ("WHERE (NOT Subject = 'a') AND TaskSubtype = 'Call'", "bc"),
        ("WHERE Subject = 'a' OR Subject = 'e'", "ae"),
        ("WHERE TaskSubtype = 'Call' AND (Subject = 'a' OR Subject = 'd')", "a"),
        ("WHERE Account.Name = 'amber kilns'", "ab"),
        ("WHERE Account.Website = null", "cde"),
        ("WHERE Who.Type = 'Lead'", "c"),
        ("WHERE Owner.Type = 'Group'", "d"),
        ("WHERE Owner.Email LIKE 'ada@%'", "ab"),
        ("WHERE CreatedBy.Name = 'Integration User'", "abcde"),
        ("where tasksubtype = 'Call' and isclosed = TRUE", "ac"),
    ],
)  # fmt: skip
def test_where_selects_what_it_says(reader, where, found):
    assert reader.subjects(where) == found


def test_ids_are_compared_exactly_in_both_lengths(box, reader):
    a, b = box.tasks["a"], box.tasks["b"]
    assert reader.subjects(f"WHERE Id = '{a}'") == "a"
    assert reader.subjects(f"WHERE Id IN ('{a[:15]}', '{b}')") == "ab"
    assert reader.subjects(f"WHERE WhoId = '{box.contact[:15]}'") == "ab"
    rest = "".join(sorted((name for name, row_id in box.tasks.items() if row_id > b), key=box.tasks.__getitem__))
    assert reader.subjects(f"WHERE Id > '{b}'", order="Id") == rest


def test_a_keyset_pages_through_ties_one_row_at_a_time():
    with Sandbox(now=lambda: NOW, salesforce={}) as box:
        ids = {box.salesforce.put("Task", {"Subject": "tie"}, modified_at=T0) for _ in range(7)}
        reader, read, after = Reader(box), [], ""
        with closing(reader.http):
            while rows := reader.rows(
                "SELECT Id FROM Task WHERE SystemModstamp > 2026-05-28T08:00:00Z OR "
                f"(SystemModstamp = 2026-05-28T08:00:00Z AND Id > '{after}') ORDER BY SystemModstamp, Id LIMIT 1"
            ):
                after = rows[0]["Id"]
                read.append(after)
    assert read == sorted(ids)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("SystemModstamp DESC", "edcba"),
        ("CallDurationInSeconds, Subject", "decab"),
        ("CallDurationInSeconds NULLS LAST, Subject DESC", "cabed"),
        ("CallDurationInSeconds DESC, Subject", "debac"),
        ("CallDurationInSeconds DESC NULLS LAST, Subject", "bacde"),
        ("IsClosed DESC, SystemModstamp ASC, Id ASC", "acdbe"),
        ("Account.Name DESC NULLS LAST, Subject", "abcde"),
        ("TaskSubtype, Subject DESC", "cbade"),
    ],
)
def test_order_by_obeys_each_rule_in_turn(reader, order, found):
    assert reader.subjects("", order) == found


def test_without_order_by_the_order_is_nobodys_promise(reader):
    orders = {tuple(row["Subject"] for row in reader.rows("SELECT Subject FROM Task")) for _ in range(8)}
    assert len(orders) > 1
    assert {"".join(sorted(order)) for order in orders} == {"abcde"}


def test_an_order_by_stamp_alone_leaves_ties_in_any_order():
    with Sandbox(now=lambda: NOW, salesforce={}) as box:
        for _ in range(9):
            box.salesforce.put("Task", {"Subject": "tie"}, modified_at=T0)
        reader = Reader(box)
        with closing(reader.http):
            query = "SELECT Id FROM Task ORDER BY SystemModstamp"
            assert len({tuple(row["Id"] for row in reader.rows(query)) for _ in range(5)}) > 1
            assert len({tuple(row["Id"] for row in reader.rows(f"{query}, Id")) for _ in range(5)}) == 1


def test_limit_and_offset_cut_after_the_order(reader):
    assert reader.subjects("", "Subject LIMIT 2") == "ab"
    assert reader.subjects("", "Subject LIMIT 2 OFFSET 3") == "de"
    assert reader.subjects("", "Subject LIMIT 0") == ""


def test_count_counts_without_rows(reader):
    answer = reader.ask("SELECT COUNT() FROM Task WHERE IsClosed = true").json()
    assert answer == {**sample("query_empty.json"), "totalSize": 3}


def test_an_empty_answer_is_the_recorded_one(reader):
    assert reader.ask("SELECT Id FROM Task WHERE Subject = 'x'").json() == sample("query_empty.json")


def test_only_what_is_selected_comes_back_under_its_own_spelling(box, reader):
    (row,) = reader.rows("SELECT subject, systemmodstamp, ACCOUNTID, channel__C FROM task WHERE Subject = 'a'")
    url = f"/services/data/v66.0/sobjects/Task/{box.tasks['a']}"
    assert row == {
        "attributes": {"type": "Task", "url": url}, "Subject": "a", "AccountId": box.account, "Channel__c": None,
        "SystemModstamp": "2026-05-28T08:00:00.000+0000",
    }  # fmt: skip


def test_parents_come_inline_and_empty_ones_are_null(box, reader):
    query = (
        "SELECT Account.Name, Account.Owner.Name, CreatedBy.Name FROM Task WHERE Subject IN ('a', 'e') ORDER BY Subject"
    )
    with_account, without = reader.rows(query)
    url = f"/services/data/v66.0/sobjects/Account/{box.account}"
    assert with_account["Account"]["attributes"] == {"type": "Account", "url": url}
    assert with_account["Account"]["Name"] == "Amber Kilns"
    assert with_account["Account"]["Owner"]["Name"] == "Integration User"
    assert without["Account"] is None
    assert without["CreatedBy"]["Name"] == "Integration User"


def test_a_lookup_to_several_objects_shows_the_name_object(box, reader):
    query = "SELECT Owner.Name, Owner.Email, Owner.Type, Owner.IsActive, Who.Name, Who.Type, Who.Email FROM Task"
    a, c, d = reader.rows(f"{query} WHERE Subject IN ('a', 'c', 'd') ORDER BY Subject")
    assert a["Owner"]["attributes"] == {"type": "Name", "url": f"/services/data/v66.0/sobjects/User/{box.ada}"}
    assert (a["Owner"]["Type"], a["Owner"]["Email"], a["Owner"]["IsActive"]) == (
        "User", "ada@lanternfield-sales.com", True)  # fmt: skip
    assert (d["Owner"]["Type"], d["Owner"]["Name"], d["Owner"]["Email"]) == (
        "Group", "Inbound calls", "calls@lanternfield-sales.com")  # fmt: skip
    assert (a["Who"]["Name"], a["Who"]["Type"], a["Who"]["Email"]) == ("Finn Dunmere", "Contact", None)
    assert (c["Who"]["Name"], c["Who"]["Type"]) == ("Fennbrook", "Lead")
    assert d["Who"] is None


def test_typeof_shows_what_each_object_has(box, reader):
    typeof = "TYPEOF Who WHEN Contact THEN Email, Account.Website WHEN Lead THEN Company END"
    a, c, e = reader.rows(f"SELECT {typeof}, WhoId FROM Task WHERE Subject IN ('a', 'c', 'e') ORDER BY Subject")
    assert a["Who"]["attributes"]["type"] == "Contact"
    assert (a["Who"]["Email"], a["Who"]["Account"]["Website"]) == ("finn@x.com", "amber-kilns-1.com")
    assert c["Who"]["attributes"]["type"] == "Lead"
    assert c["Who"]["Company"] == "Cinder Looms"
    assert (e["Who"], e["WhoId"]) == (None, None)


def test_typeof_without_else_is_null_for_other_objects(reader):
    only, both = "TYPEOF Who WHEN Contact THEN Email END", "TYPEOF Who WHEN Contact THEN Email ELSE Name, Type END"
    (row,) = reader.rows(f"SELECT {only} FROM Task WHERE Subject = 'c'")
    assert row["Who"] is None
    (row,) = reader.rows(f"SELECT {both} FROM Task WHERE Subject = 'c'")
    assert (row["Who"]["Name"], row["Who"]["Type"]) == ("Fennbrook", "Lead")


def test_children_are_a_result_of_their_own_or_null(box, reader):
    query = "SELECT Subject, (SELECT RelationId, Type, Relation.Name FROM TaskWhoRelations) FROM Task"
    a, e = reader.rows(f"{query} WHERE Subject IN ('a', 'e') ORDER BY Subject")
    assert (a["TaskWhoRelations"]["totalSize"], a["TaskWhoRelations"]["done"]) == (2, True)
    assert {row["RelationId"] for row in a["TaskWhoRelations"]["records"]} == {box.contact, box.other}
    assert a["TaskWhoRelations"]["records"][0]["attributes"]["type"] == "TaskWhoRelation"
    assert e["TaskWhoRelations"] is None


def test_a_child_query_has_its_own_where_order_and_limit(box, reader):
    def people(clause):
        query = f"SELECT (SELECT Relation.Name FROM TaskWhoRelations {clause}) FROM Task WHERE Subject = 'a'"
        children = reader.rows(query)[0]["TaskWhoRelations"]
        return children and [row["Relation"]["Name"] for row in children["records"]]

    assert people("ORDER BY Relation.Name") == ["Finn Dunmere", "Ivorstone"]
    assert people("ORDER BY Relation.Name DESC LIMIT 1") == ["Ivorstone"]
    assert people(f"WHERE RelationId = '{box.other}'") == ["Ivorstone"]
    assert people("WHERE Type = 'Lead'") is None


def test_who_count_counts_people(reader):
    rows = reader.rows("SELECT WhoCount FROM Task WHERE Subject IN ('a', 'b', 'e') ORDER BY Subject")
    assert [row["WhoCount"] for row in rows] == [2, 1, 0]


SUFFIX = "Please reference your WSDL or the describe call for the appropriate names."


@pytest.mark.parametrize(
    ("soql", "code", "message"),
    [
        ("SELECT Id FRM Task", "MALFORMED_QUERY", "unexpected token: 'FRM'"),
        ("SELECT Id, FROM Task", "MALFORMED_QUERY", "unexpected token: 'FROM'"),
        ("SELECT FROM Task", "MALFORMED_QUERY", "unexpected token: 'FROM'"),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: <EOF>"),
        ("SELECT * FROM Task", "MALFORMED_QUERY", "unexpected token: '*'"),
        ("SELECT Id FROM Task WHERE", "MALFORMED_QUERY", "unexpected token: <EOF>"),
        ("SELECT Id FROM Task WHERE Id", "MALFORMED_QUERY", "unexpected token: <EOF>"),
        ("SELECT Id FROM Task WHERE Subject = a", "MALFORMED_QUERY", "unexpected token: 'a'"),
        ('SELECT Id FROM Task WHERE Subject = "a"', "MALFORMED_QUERY", "unexpected token: '\"a\"'"),
        ("SELECT Id FROM Task WHERE Subject = 'a", "MALFORMED_QUERY", "unexpected token: ''a'"),
        ("SELECT Id FROM Task WHERE Subject = '\\x'", "MALFORMED_QUERY", "Illegal escape sequence: \\x"),
        ("SELECT Id FROM Task WHERE Subject IN ()", "MALFORMED_QUERY", "unexpected token: ')'"),
        ("SELECT Id FROM Task WHERE IsClosed = true AND Id = null OR Id = null", "MALFORMED_QUERY",
         "unexpected token: 'OR'"),
        ("SELECT Id FROM Task LIMIT -1", "MALFORMED_QUERY", "unexpected token: '-1'"),
        ("SELECT Id FROM Task ALL ROWS", "MALFORMED_QUERY", "unexpected token: 'ALL'"),
        ("SELECT Id FROM Task;", "MALFORMED_QUERY", "unexpected token: ';'"),
        ("SELECT Id, Id FROM Task", "MALFORMED_QUERY", "duplicate field selected: Id"),
        ("SELECT COUNT(), Id FROM Task", "MALFORMED_QUERY", "unexpected token: ','"),
        ("SELECT COUNT(), TYPEOF Who WHEN Lead THEN Id END FROM Task", "MALFORMED_QUERY", "unexpected token: ','"),
        ("SELECT TYPEOF Who WHEN Contact THEN TYPEOF Owner WHEN User THEN Id END END FROM Task", "MALFORMED_QUERY",
         "unexpected token: 'TYPEOF'"),
        ("SELECT TYPEOF Who ELSE Name END FROM Task", "MALFORMED_QUERY", "unexpected token: 'ELSE'"),
        ("SELECT Who.Name, TYPEOF Who WHEN Lead THEN Company END FROM Task", "MALFORMED_QUERY",
         "'Who' is used in TYPEOF and cannot be selected as well"),
        ("SELECT TYPEOF Account WHEN Account THEN Name END FROM Task", "MALFORMED_QUERY",
         "'Account' is not a polymorphic relationship"),
        ("SELECT Id FROM Task WHERE SystemModstamp > 2026-13-01T00:00:00Z", "MALFORMED_QUERY",
         "invalid datetime: 2026-13-01T00:00:00Z (month must be in 1..12)"),
        ("SELECT Id FROM Task WHERE SystemModstamp > 2026-01-01T00:00:00", "MALFORMED_QUERY",
         "unexpected token: '2026-01-01T00:00:00'"),
        ("SELECT (SELECT Id, (SELECT Id FROM Tasks) FROM TaskWhoRelations) FROM Task", "MALFORMED_QUERY",
         "unexpected token: '('"),
        ("SELECT Id FROM Bogus", "INVALID_TYPE", "sObject type 'Bogus' is not supported."),
        ("SELECT Id FROM VoiceCall", "INVALID_TYPE", "sObject type 'VoiceCall' is not supported."),
        ("SELECT TYPEOF Who WHEN Account THEN Name END FROM Task", "INVALID_TYPE",
         "sObject type 'Account' is not supported."),
        ("SELECT FullName FROM Account", "INVALID_FIELD", "No such column 'FullName' on entity 'Account'."),
        ("SELECT Id FROM Task WHERE Nope = 1", "INVALID_FIELD", "No such column 'Nope' on entity 'Task'."),
        ("SELECT Id FROM Task ORDER BY Nope", "INVALID_FIELD", "No such column 'Nope' on entity 'Task'."),
        ("SELECT Who.Department FROM Task", "INVALID_FIELD", "No such column 'Department' on entity 'Name'."),
        ("SELECT Boss.Name FROM Task", "INVALID_FIELD", "Didn't understand relationship 'Boss' in field path."),
        ("SELECT WhoId.Name FROM Task", "INVALID_FIELD", "Didn't understand relationship 'WhoId' in field path."),
        ("SELECT Who.Account.Name FROM Task", "INVALID_FIELD",
         "Didn't understand relationship 'Account' in field path."),
        ("SELECT Activity.Subject FROM EmailMessage", "INVALID_FIELD",
         "Didn't understand relationship 'Activity' in field path."),
        ("SELECT (SELECT Id FROM Nothings) FROM Task", "INVALID_FIELD",
         "Didn't understand relationship 'Nothings' in field path."),
        ("SELECT Id FROM Task WHERE Description = 'x'", "INVALID_FIELD",
         "field 'Description' can not be filtered in a query call"),
        ("SELECT Id FROM EmailMessage ORDER BY TextBody", "INVALID_FIELD",
         "field 'TextBody' can not be sorted in a query call"),
        ("SELECT Id FROM Task WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD",
         ("value of filter criterion for field 'SystemModstamp' must be of type dateTime and should not be enclosed in "
         "quotes")),
        ("SELECT Id FROM Task WHERE SystemModstamp > 2026-01-01", "INVALID_FIELD",
         "value of filter criterion for field 'SystemModstamp' must be of type dateTime"),
        ("SELECT Id FROM Task WHERE ActivityDate > 2026-01-01T00:00:00Z", "INVALID_FIELD",
         "value of filter criterion for field 'ActivityDate' must be of type date"),
        ("SELECT Id FROM Task WHERE IsClosed = 'true'", "INVALID_FIELD",
         "value of filter criterion for field 'IsClosed' must be of type boolean and should not be enclosed in quotes"),
        ("SELECT Id FROM Task WHERE Subject = 5", "INVALID_FIELD",
         "value of filter criterion for field 'Subject' must be of type string and should be enclosed in quotes"),
        ("SELECT Id FROM Task WHERE CallDurationInSeconds > '5'", "INVALID_FIELD",
         ("value of filter criterion for field 'CallDurationInSeconds' must be of type int and should not be enclosed "
         "in quotes")),
        ("SELECT Id FROM Task WHERE Id = 'nonsense'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: nonsense"),
        ("SELECT Id FROM Task WHERE WhoId IN ('003000000000000AAB')", "INVALID_QUERY_FILTER_OPERATOR",
         "invalid ID field: 003000000000000AAB"),
        ("SELECT Id FROM Task WHERE Id LIKE '00T%'", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator"),
        ("SELECT Id FROM Task WHERE IsClosed > true", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator"),
    ],
)  # fmt: skip
def test_what_salesforce_refuses_is_refused_with_its_code(reader, soql, code, message):
    found, text = reader.refusal(soql)
    assert found == code
    assert text.splitlines()[-1].removesuffix(f" {SUFFIX}").startswith(message)


def test_a_refusal_points_at_the_place_as_the_recorded_ones_do(reader):
    recorded = sample("error_400_invalid_type.json")[0]["message"].splitlines()
    _, text = reader.refusal("SELECT Id FROM Task WHERE IsClosed = true AND\nNope = 1")
    blank, shown, pointer, place, message = text.splitlines()
    assert len(recorded) == 5
    assert (blank, recorded[0]) == ("", "")
    assert shown[pointer.index("^") :].startswith("Nope")
    assert place == "ERROR at Row:2:Column:1"
    assert recorded[3].startswith("ERROR at Row:1:Column:")
    assert message.startswith("No such column 'Nope' on entity 'Task'")


def test_the_texts_of_refusals_are_the_recorded_ones(reader):
    def last(name):
        return sample(name)[0]["message"].splitlines()[-1].removeprefix("ERROR: ")

    assert reader.refusal("SELECT Id FROM Bogus")[1].endswith(last("error_400_invalid_type.json"))
    assert last("error_400_invalid_field.json") in reader.refusal("SELECT FullName FROM Account")[1]
    unfilterable = last("error_400_invalid_field_filter.json").replace("SystemModstamp", "Description")
    assert reader.refusal("SELECT Id FROM Task WHERE Description = ''")[1].endswith(unfilterable)


def test_twenty_child_queries_are_enough(reader):
    children = ", ".join(["(SELECT Id FROM Contacts)"] * 21)
    code, message = reader.refusal(f"SELECT {children} FROM Account")
    assert (code, message.splitlines()[-1]) == ("MALFORMED_QUERY", "Too many child queries: at most 20 are allowed")


def test_paths_go_five_levels_up(reader):
    five = ".".join(["Parent"] * 5)
    assert reader.ask(f"SELECT {five}.Name FROM Account").status_code == 200
    assert reader.refusal(f"SELECT Id FROM Account WHERE Parent.{five}.Name = 'x'")[0] == "MALFORMED_QUERY"
    assert reader.refusal(f"SELECT Parent.{five}.Name FROM Account")[0] == "MALFORMED_QUERY"


def test_offset_goes_to_2000(reader):
    assert reader.ask("SELECT Id FROM Task OFFSET 2000").status_code == 200
    assert reader.refusal("SELECT Id FROM Task OFFSET 2001")[0] == "NUMBER_OUTSIDE_VALID_RANGE"


def test_a_query_has_at_most_100000_characters(box, reader):
    box.salesforce.set(uri_limit=200_000)
    path = "/services/data/v66.0/composite/batch"
    url = f"v66.0/query/?q=SELECT+Id+FROM+Task+WHERE+Subject+=+'{'x' * 100_000}'"
    answer = reader.http.post(path, json={"batchRequests": [{"method": "GET", "url": url}]})
    box.salesforce.set(uri_limit=16_384)
    assert answer.json()["results"][0]["statusCode"] == 400
    assert answer.json()["results"][0]["result"][0]["errorCode"] == "MALFORMED_QUERY"


@pytest.mark.parametrize(
    ("folds_ascii_only", "type", "where", "found"),
    [
        (False, "string", "= 'ÉTÉ'", ["Été", "été"]),
        (True, "string", "= 'ÉTÉ'", []),
        (True, "string", "= 'ÉTé'", ["Été"]),
        (True, "string", "LIKE 'éT%'", ["été"]),
        (False, "string exact", "= 'Été'", ["Été"]),
        (False, "string exact", "LIKE '%T%'", []),
    ],
)
def test_letters_are_folded_as_the_org_and_the_field_say(folds_ascii_only, type, where, found):
    org = Salesforce(seed=1, folds_ascii_only=folds_ascii_only)
    org.field("Task", "Season__c", type)
    for each in ("Été", "été"):
        org.put("Task", {"Season__c": each})
    text = f"SELECT Season__c FROM Task WHERE Season__c {where} ORDER BY Season__c"
    answer = run(org, text, base="/services/data/v66.0", verb="query", page_size=200, turn=1)
    assert [row["Season__c"] for row in answer["records"]] == found


def test_a_multi_select_picklist_takes_no_like():
    org = Salesforce(seed=1)
    org.field("Task", "Channels__c", "multipicklist")
    text = "SELECT Id FROM Task WHERE Channels__c LIKE 'a%'"
    with pytest.raises(SalesforceRefusal, match="invalid operator"):
        run(org, text, base="/services/data/v66.0", verb="query", page_size=200, turn=1)
