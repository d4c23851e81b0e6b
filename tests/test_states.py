"""Test which state may follow which, and why, in Python and in SQL, and the meaning of each verdict."""

import re
import sqlite3
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from syncd.cli import explanation
from syncd.ledger import LedgerHandle, reports
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import MEANINGS, MOVES, UNDER_WAY, Cause, IllegalMove, State, Verdict, follow, move
from tests.ledgers import book, row, stranger
from tests.ledgers import reading as look

# Design section 3, "leaves to".
LEAVES_TO = {
    "incomplete": {"pending", "excluded", "dead"},
    "pending": {"delivered", "skipped", "dead", "incomplete", "excluded"},
    "delivered": set(),
    "skipped": {"pending"},
    "excluded": {"pending", "incomplete"},
    "dead": {"pending", "incomplete"},
}
BY_VERDICT = {("pending", "delivered"), ("pending", "skipped"), ("pending", "dead")}
BY_AGE = {("incomplete", "dead")}
BY_RETRY_ALONE = {("skipped", "pending")}
BY_READING_ALONE = {("pending", "incomplete"), ("pending", "excluded")}  # what is pending is not looked up

EVERY_MOVE = list(product(State, State, Cause))
EVERY_PAIR = list(product(State, State))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("guard") / "ledger.db"
    with LedgerHandle(path).open() as ledger:
        book(ledger, look(1))
    return path


def lawful(old, new, cause):
    pair = (str(old), str(new))
    if pair[1] not in LEAVES_TO[pair[0]]:
        return False
    if pair in BY_VERDICT:
        return cause is Cause.VERDICT
    if pair in BY_AGE:
        return cause is Cause.AGE
    if pair in BY_RETRY_ALONE:
        return cause is Cause.RETRY
    if pair in BY_READING_ALONE:
        return cause is Cause.READ
    return cause in (Cause.READ, Cause.RETRY)


class TestMoves:
    @pytest.mark.parametrize(("old", "new", "cause"), EVERY_MOVE)
    def test_a_move_is_made_exactly_where_the_design_allows_it(self, old, new, cause):
        if lawful(old, new, cause):
            assert move(old, new, cause) is new
        else:
            with pytest.raises(IllegalMove, match=f"^{old} may not become {new} by {cause}$"):
                move(old, new, cause)

    @pytest.mark.parametrize(("old", "new", "cause"), EVERY_MOVE)
    def test_following_a_wish_ends_where_it_began_when_the_move_is_not_allowed(self, old, new, cause):
        assert follow(old, new, cause) is (new if lawful(old, new, cause) else old)

    def test_the_words_are_those_of_the_design(self):
        assert set(State) == set(LEAVES_TO)


class TestGuardInSql:
    """SQLite itself refuses moves that the table does not know, whoever writes."""

    @pytest.mark.parametrize(("old", "new"), EVERY_PAIR)
    def test_an_update_passes_exactly_where_some_cause_allows_the_move(self, path, old, new):
        with stranger(path) as db:
            db.execute("BEGIN")
            db.execute("INSERT INTO activities SELECT 2, stream_id, '2', 'x', kind, ?, reason, 'created', detail, "
                       "modified_at, occurred_at, first_seen_at, updated_at, next_attempt_at, waiting_since, "
                       "missing_since, refused_since, refusals, unknown, isolated, last_post, "
                       "changed_after_delivery, owner_id, domain FROM activities", [old])  # fmt: skip
            if old is new or (old, new) in MOVES:
                assert db.execute("UPDATE activities SET state = ? WHERE id = 2", [new]).rowcount == 1
            else:
                with pytest.raises(sqlite3.IntegrityError, match="illegal move of an activity"):
                    db.execute("UPDATE activities SET state = ? WHERE id = 2", [new])
            db.execute("ROLLBACK")

    @pytest.mark.parametrize(
        ("column", "value", "why"),
        [
            ("state", "sent", "illegal move|CHECK"),
            ("state", None, "NOT NULL|illegal"),
            ("kind", "meeting", "CHECK"),
            ("crm_id", None, "NOT NULL"),
            ("modified_at", None, "NOT NULL"),
            ("refusals", "many", "cannot store TEXT value in INTEGER column"),
            ("stream_id", "calls", "cannot store TEXT value in INTEGER column"),
            ("detail", b"\x00", "cannot store BLOB value in TEXT column"),
        ],
    )
    def test_a_value_that_no_column_should_hold_is_refused(self, path, column, value, why):
        before = row(path)
        with stranger(path) as db, pytest.raises(sqlite3.IntegrityError, match=why):
            db.execute(f"UPDATE activities SET {column} = ?", [value])
        assert row(path) == before

    @pytest.mark.parametrize("state", ["", "PENDING", "sent", None])
    def test_a_new_row_in_no_known_state_is_refused(self, path, state):
        sql = """
            INSERT INTO activities (stream_id, crm_id, external_activity_id, kind, state, modified_at, first_seen_at,
                updated_at) VALUES (1, '9', 'x-9', 'call', ?, '', '', '')
        """
        with stranger(path) as db, pytest.raises(sqlite3.IntegrityError):
            db.execute(sql, [state])

    @pytest.mark.parametrize("verdict", [None, *(v for v in Verdict if MEANINGS[v].state is not State.DELIVERED)])
    def test_nothing_is_delivered_without_a_verdict_that_says_so(self, path, verdict):
        with stranger(path) as db:
            db.execute("BEGIN")
            with pytest.raises(sqlite3.IntegrityError, match="CHECK|NOT NULL"):
                db.execute("UPDATE activities SET state = 'delivered', verdict = ?", [verdict])

    @pytest.mark.parametrize("verdict", [v for v in Verdict if MEANINGS[v].state is State.DELIVERED])
    def test_each_verdict_of_delivery_delivers(self, path, verdict):
        with stranger(path) as db:
            db.execute("BEGIN")
            assert db.execute("UPDATE activities SET state = 'delivered', verdict = ?", [verdict]).rowcount == 1
            db.execute("ROLLBACK")

    def test_an_activity_stands_once_in_its_stream_and_its_external_id_once_in_the_file(self, path):
        columns = "stream_id, crm_id, external_activity_id, kind, state, modified_at, first_seen_at, updated_at"
        with stranger(path) as db:
            for crm_id, name in [("1", "another"), ("another", "hubspot-call-1")]:
                with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                    db.execute(
                        f"INSERT INTO activities ({columns}) VALUES (1, ?, ?, 'call', 'pending', '', '', '')",
                        [crm_id, name],
                    )


class TestMeanings:
    def test_every_verdict_has_a_meaning(self):
        assert set(MEANINGS) == set(Verdict)

    @pytest.mark.parametrize("verdict", Verdict)
    def test_a_verdict_leaves_an_activity_pending_or_where_a_verdict_may_bring_it(self, verdict):
        state = MEANINGS[verdict].state
        assert state is State.PENDING or Cause.VERDICT in MOVES[State.PENDING, state]

    def test_delivered_is_what_was_created_or_is_there_already(self):
        delivered = {verdict for verdict, meaning in MEANINGS.items() if meaning.state is State.DELIVERED}
        assert delivered == {"created", "duplicate", "foreign_duplicate"} == set(reports.VERDICTS)

    def test_recotap_never_takes_what_it_skipped(self):
        assert {verdict for verdict, meaning in MEANINGS.items() if meaning.state is State.SKIPPED} == {"skipped"}

    def test_only_a_word_about_the_item_itself_costs_it_something(self):
        faults = {verdict for verdict, meaning in MEANINGS.items() if meaning.fault}
        assert faults == {"failed", "refused", "too_large", "suspect"}

    def test_what_may_have_reached_recotap_without_a_word_is_unknown(self):
        unknown = {verdict for verdict, meaning in MEANINGS.items() if meaning.unknown}
        assert unknown == {"unanswered", "suspect", "crashed"}

    def test_what_a_400_or_413_named_or_an_outage_singled_out_travels_with_its_like(self):
        isolated = {verdict for verdict, meaning in MEANINGS.items() if meaning.isolates}
        assert isolated == {"refused", "too_large", "suspect"}


class TestDescriptions:
    """A word that `status` or `explain` could not describe would be found by an operator at night."""

    @pytest.mark.parametrize("word", [*State, *Verdict])
    def test_every_state_and_verdict_has_one(self, word):
        assert word.value == word.name.lower()
        assert 10 < len(word.description) <= 80
        assert word.description == word.description.strip().rstrip(".")

    def test_no_two_have_the_same(self):
        for words in (State, Verdict, Reason):
            assert len({word.description for word in words}) == len(words)

    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("verdict", Verdict)
    def test_explain_prints_them(self, path, state, verdict, capsys):
        with LedgerHandle(path).reports() as glance:
            document = glance.explain("hubspot-call-1")
        document |= {"state": state.value, "verdict": verdict.value, "url": None, "gives_up_at": None}
        then = "2026-10-05T08:00:00.000Z"
        document["attempts"] = [{"at": then, "verdict": each, "detail": None} for each in (verdict.value, UNDER_WAY)]
        explanation.show(document, datetime(2026, 10, 5, 9, tzinfo=UTC))
        lines = capsys.readouterr().out.splitlines()
        assert f"state         {state}: {state.description}" in lines
        assert f"last verdict  {verdict}: {verdict.description}" in lines
        assert f"attempt       {then} (60 min ago) {verdict}: {verdict.description}" in lines
        assert f"attempt       {then} (60 min ago) under_way: being sent" in lines

    def test_the_ledger_calls_an_attempt_without_a_verdict_the_same(self):
        ledger = Path(__file__).parents[1] / "syncd" / "ledger"
        assert any(f"coalesce(verdict, '{UNDER_WAY}')" in file.read_text() for file in ledger.glob("*.py"))

    def test_the_readme_has_a_row_for_each_state(self):
        readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
        (table,) = re.findall(r"(?m)^\| state \| meaning .*\n.*((?:\n\|.*)+)", readme)
        assert sorted(re.findall(r"(?m)^\| `(\w+)` \|", table)) == sorted(State)
