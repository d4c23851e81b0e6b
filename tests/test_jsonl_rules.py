"""Which lines are activities, how their columns are translated and named, and what a folder's scope shows."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from connectors.jsonl import scope
from connectors.jsonl.config import JsonlConfig
from syncd.connector import RowKind, ShowsScope
from syncd.ledger import LedgerHandle
from syncd.passes import kept_scopes
from syncd.passes.reader import PassStore
from tests.drops import NOW, Drop, call, email
from tests.test_jsonl_mapping import draft, drafted


def kinds(drop: Drop) -> list[tuple[dict[str, Any], int, str | None]]:
    connector = drop.connect()
    assert isinstance(connector, ShowsScope)
    return [(dict(kind.fields), kind.count, kind.read_as) for kind in connector.scope(NOW.replace(month=1)).kinds]


class TestConditions:
    def test_a_line_that_no_entry_matches_is_no_activity_even_if_it_is_bad(self) -> None:
        rules = {"match": [{"title": "Disc*"}, {"Team": ["Sales", "SDR"]}]}
        assert drafted({"title": "discovery"}, calls=rules).title == "discovery"
        assert drafted({"Team": "sdr"}, calls=rules).title is None
        assert draft({"title": "Lunch", "occurred_at": "2026"}, calls=rules) is None
        assert drafted({"title": "Lunch"}, "email", calls=rules).title == "Lunch"

    def test_an_exception_leaves_a_line_out_and_says_which_entry_did(self) -> None:
        rules = {"except": [{"title": "SMS *"}, {"outcome": ""}]}
        assert drafted({"title": "SMS to Jo", "outcome": "x"}, calls=rules).filtered == "except, entry 1"
        assert drafted({"title": "Call"}, calls=rules).filtered == "except, entry 2"
        assert drafted({"title": "Call", "outcome": "x"}, calls=rules).filtered is None
        assert drafted({"title": "SMS to Jo"}, "email", calls=rules).filtered is None

    def test_a_condition_names_our_field_before_a_column_of_that_name(self) -> None:
        columns = {"title": "Betreff"}
        rules = {"match": [{"title": "Anruf"}]}
        assert draft({"occurred_at": "2026-03-01", "Betreff": "Anruf", "title": "x"}, columns=columns, calls=rules)
        assert (
            draft({"occurred_at": "2026-03-01", "Betreff": "x", "title": "Anruf"}, columns=columns, calls=rules) is None
        )

    def test_a_filtered_line_is_in_the_books(self, tmp_path: Path) -> None:
        with Drop(tmp_path, calls={"except": [{"title": "SMS *"}]}) as drop:
            drop.file("x.jsonl", call("a"), call("b", title="SMS to Jo"))
            drop.sync()
            assert drop.states() == {"a": "delivered", "b": "excluded"}

    def test_a_kind_that_is_not_read_has_no_rows_and_its_files_are_moved_all_the_same(self, tmp_path: Path) -> None:
        with Drop(tmp_path, calls={"read": False}) as drop:
            drop.file("x.jsonl", call("a"), email("b"), "bad")
            drop.sync()
            drop.sync()
            states = drop.states()
            assert (states.pop("b"), list(states.values())) == ("delivered", ["dead"]), "the bad line is in the books"
            assert not list(drop.path.glob("*.jsonl"))

    def test_a_kind_that_is_read_again_is_read_from_the_done_files(self, tmp_path: Path) -> None:
        with Drop(tmp_path, calls={"read": False}) as drop:
            drop.file("x.jsonl", call("a"), email("b"))
            drop.sync()
            drop.sync()
            drop.table["calls"] = {"read": True}
            drop.sync()
            assert drop.states() == {"a": "delivered", "b": "delivered"}

    @pytest.mark.parametrize(("unread", "stream"), [("calls", "emails"), ("emails", "calls")])
    def test_bad_lines_go_to_a_stream_that_is_read_and_files_move_once_it_has_read_them(
        self, tmp_path: Path, unread: str, stream: str
    ) -> None:
        with Drop(tmp_path, **{unread: {"read": False}}) as drop:
            drop.file("x.jsonl", call("a"), email("b"), "bad")
            store = PassStore({}, drop.now)
            found = drop.read(stream, drop.connect(store))
            assert {key[:4] for key in found} == {"a" if stream == "calls" else "b", "line"}
            drop.read(stream, drop.connect(store))
            assert (drop.waiting, drop.done) == ([], ["x.jsonl"])

    def test_bad_lines_are_found_again_once_another_stream_takes_them(self, tmp_path: Path) -> None:
        with Drop(tmp_path) as drop:
            drop.file("x.jsonl", "bad")
            store = PassStore({}, drop.now)
            assert [len(drop.read(stream, drop.connect(store))) for stream in ("calls", "emails")] == [1, 0]
            drop.table["calls"] = {"read": False}
            assert len(drop.read("emails", drop.connect(store))) == 1


class TestValues:
    RULES: ClassVar[dict[str, Any]] = {
        "values": {
            "direction": {"Ausgehend": "outbound", "*[In]*": "inbound"},
            "outcome": {"VM": "Voicemail", "Missed*": "No answer"},
        }
    }

    @pytest.mark.parametrize(
        ("row", "direction"),
        [
            ({"direction": "ausgehend"}, "outbound"),
            ({"direction": "Outgoing"}, "outbound"),
            ({"title": "Call [in] 12"}, "inbound"),
            ({"direction": "Ausgehend", "title": "[In]"}, "outbound"),
            ({"direction": "?", "title": "[In]"}, "inbound"),
            ({"direction": "?"}, None),
            ({}, None),
        ],
    )
    def test_a_direction_is_what_values_say_of_its_column_then_of_the_title(
        self, row: dict[str, Any], direction: str | None
    ) -> None:
        assert drafted(row, calls=self.RULES).direction == direction

    def test_an_outcome_is_translated_and_any_other_stays(self) -> None:
        assert drafted({"outcome": "vm"}, calls=self.RULES).outcome == "Voicemail"
        assert drafted({"title": "Missed: Jo"}, calls=self.RULES).outcome == "No answer"
        assert drafted({"outcome": "Connected"}, calls=self.RULES).outcome == "Connected"

    @pytest.mark.parametrize("values", [{"owner": {"a": "b"}}, {"direction": {"a": "sideways"}}])
    def test_only_known_fields_and_directions_are_accepted(self, values: dict[str, dict[str, str]]) -> None:
        with pytest.raises(ValidationError, match="expected"):
            JsonlConfig(connector="jsonl", start=NOW, path="/drop", calls={"values": values})


def test_ids_by_which_copies_are_recognized_are_read() -> None:
    row = {"message_id": "<1@amber.example>", "call_id": "c-1"}
    assert (drafted(row).call_id, drafted(row).message_id) == ("c-1", None)
    assert (drafted(row, "email").call_id, drafted(row, "email").message_id) == (None, "<1@amber.example>")


def test_the_columns_that_values_came_from_are_named_if_somebody_asks() -> None:
    row = {
        "occurred_at": "", "created_at": "2026-03-01T10:30:00Z", "Betreff": "x", "title": "y", "duration_seconds": 9,
        "owner_email": "ada@lantern.example", "contact_email": "k@amber.example", "contacts": ["l@amber.example"],
        "account_domain": "amber.example", "from_email": "k@amber.example", "to_email": "", "cc_email": "c@x.example",
    }  # fmt: skip
    found = drafted(row, columns={"subject": "Betreff"}).origins
    assert found is not None
    assert found() == {
        "occurred_at": "created_at", "created_at": "created_at", "title": "title",
        "duration_minutes": "duration_seconds", "owner": "owner_email", "contacts": "contact_email, contacts",
        "others": "cc_email", "companies": "account_domain", "sender": "from_email",
    }  # fmt: skip
    as_email = drafted(row, "email", columns={"subject": "Betreff"}).origins
    assert as_email is not None
    assert as_email()["title"] == "Betreff"


class TestScope:
    def test_every_line_is_counted_by_kind_and_marked_as_what_it_is_read(self, tmp_path: Path) -> None:
        with Drop(tmp_path, calls={"match": [{"title": "Disc*"}], "except": [{"outcome": "x"}]}) as drop:
            drop.file("1.jsonl", call("a"), call("b", outcome="x"), call("c", title="Lunch"), email("d"), "bad", "{}")
            drop.sync()
            drop.sync()
            drop.file("2.jsonl", email("e"), email("f", status="Draft"), email("g", kind="Meeting"))
            drop.file(
                "3.jsonl", call("h", kind="jo@amber.example"), call("i", kind="sms"), call("j", kind=7), email("k")
            )
            assert kinds(drop) == [
                ({"kind": "email"}, 3, "email"),
                ({"kind": "other"}, 2, None),
                ({"kind": "call"}, 2, "call"),
                ({"kind": "sms"}, 1, None),
                ({"kind": "email", "status": "draft"}, 1, None),
                ({"kind": "meeting"}, 1, None),
                ({"kind": "call", "match": False}, 1, None),
                ({"readable": False}, 1, None),
                ({"kind": None}, 1, None),
            ]

    def test_a_kind_that_is_not_read_is_marked(self, tmp_path: Path) -> None:
        with Drop(tmp_path, emails={"read": False}) as drop:
            drop.file("1.jsonl", call("a"), email("b"))
            assert kinds(drop) == [({"kind": "call"}, 1, "call"), ({"kind": "email", "read": False}, 1, None)]

    def test_columns_that_nothing_uses_are_named_and_none_that_may_be_of_a_person(self, tmp_path: Path) -> None:
        with Drop(tmp_path, emails={"except": [{"Team": "HR"}]}, columns={"title": "talk.title"}) as drop:
            odd = {"jo@amber.example": 1, "+49 151 2345678": 1, "x" * 41: 1, "Call\x1bOutcome": 1, "Zeta": 1}
            drop.file("1.jsonl", call("a", Team="HR", talk={"title": "x"}, **odd))
            assert list(drop.connect().scope(NOW.replace(month=1)).warnings) == [
                "not used: 'CallOutcome', 'Zeta', 'title'"
            ]

    def test_a_condition_on_a_column_that_no_line_has_is_named(self, tmp_path: Path) -> None:
        rules = {"match": [{"titel": "x"}, {"outcome": "*"}], "except": [{"Team": "HR"}]}
        with Drop(tmp_path, calls=rules, columns={"outcome": "result.text"}) as drop:
            assert not drop.connect().scope(NOW.replace(month=1)).warnings
            drop.file("1.jsonl", call("a", Team="x", result={}))
            told = "conditions name columns that no line has: 'titel'"
            assert told in drop.connect().scope(NOW.replace(month=1)).warnings
            found = {finding.what: finding for finding in drop.connect().check()}
            assert (found["conditions"].message, found["conditions"].warning) == (f"1.jsonl: {told}", True)
            assert found["conditions"].hint.startswith("a condition names a key of columns, otherwise a column")
            assert "mapping" not in found
            drop.file("2.jsonl", call("a", Team="x", result={}, titel="y"))
            assert "conditions" not in {finding.what for finding in drop.connect().check()}

    def test_files_that_arrived_before_are_not_counted(self, tmp_path: Path) -> None:
        with Drop(tmp_path) as drop:
            drop.file("1.jsonl", call("a"))
            drop.sync()
            drop.sync()
            drop.later(days=2)
            drop.file("2.jsonl", call("b"), call("c"))
            assert drop.connect().scope(NOW.replace(day=6)).kinds == [RowKind("line", {"kind": "call"}, 2, "call")]

    def test_a_pass_keeps_the_counts_for_status(self, tmp_path: Path) -> None:
        with Drop(tmp_path) as drop:
            drop.file("1.jsonl", call("a"), email("g", kind="Meeting"))
            drop.sync()
            drop.sync(minutes=120)
            with LedgerHandle(drop.ledger).reports() as glance:
                (unread,) = kept_scopes.unread(glance, ["files"])
            assert (unread["what"], unread["count"]) == ("line kind=meeting", 1)
            assert (drop.waiting, drop.done) == ([], ["1.jsonl"])

    def test_nothing_is_changed_by_looking(self, tmp_path: Path) -> None:
        with Drop(tmp_path) as drop:
            path = drop.file("1.jsonl", call("a"))
            assert kinds(drop) == [({"kind": "call"}, 1, "call")]
            assert path.exists()

    def test_the_newest_lines_are_counted_of_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scope, "MOST_LINES", 3)
        with Drop(tmp_path) as drop:
            drop.file("1.jsonl", *(call(f"a{number}") for number in range(5)))
            drop.sync()
            drop.sync()
            drop.file("2.jsonl", email("b"))
            found = drop.connect().scope(NOW.replace(month=1))
            assert [(kind.fields["kind"], kind.count, kind.approximate) for kind in found.kinds] == [
                ("call", 2, True), ("email", 1, True),
            ]  # fmt: skip
            assert found.warnings == [scope.PARTIAL]
