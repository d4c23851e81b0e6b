"""A copy that is killed at any statement leaves the source as it was. Never can both ledgers be used."""

import threading
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from syncd.errors import ConfigError, LedgerError
from syncd.ledger import AnyLedger, copying, file_copying
from syncd.ledger.copying import Moved, Occupied, copy, judge
from syncd.ledger.marks import BEGUN, FOR_READING, IN_USE, WRITTEN, Mark, Marks
from tests.copies import WAYS, dump, fill, place
from tests.ledgers import NOW, URL, stranger

STRIDE = 151 if URL else 127  # statements. The marks, which decide, have tests of their own


class Killed(BaseException):
    """The end of the process."""


@pytest.fixture(params=WAYS, ids="-to-".join)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[AnyLedger, AnyLedger]:
    """A filled ledger, and a place for its copy."""
    here, there = request.param
    source, target = place(tmp_path, here), place(tmp_path, there, "b")
    fill(source)
    return source, target


def run(source: Any, target: Any) -> copying.Copied:
    return copy(source, target, keep=False, now=NOW)


def ends() -> list[type]:
    if not URL:
        return [file_copying.FileEnd]
    from syncd.ledger import postgres_copying

    return [file_copying.FileEnd, postgres_copying.PostgresEnd]


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that lets the process end instead of its statement `number`, from 0."""
    left = [-1]

    def counted(run: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **more: Any) -> Any:
            is_connected = "SELECT current_setting(" not in str(arguments[1:])  # otherwise nobody closes it
            # The lease is renewed by another thread.
            if is_connected and threading.current_thread() is threading.main_thread():
                left[0] -= 1
                if left[0] == -1:
                    raise Killed
            return run(*arguments, **more)

        return instead

    owners: list[Any] = [(Database, "execute"), *((end, "write") for end in ends())]
    if URL:
        from syncd.ledger.postgres_session import Session

        owners.append((Session, "execute"))
    for owner, name in owners:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))

    def kill(number: int) -> None:
        left[0] = number

    return kill


def is_usable(handle: AnyLedger) -> bool:
    """Tell whether a pass may go on with the rows of a ledger."""
    try:
        handle.require_use()
        with handle.read():  # not of a file whose tables are not all made
            pass
    except (ConfigError, LedgerError):
        return False
    return any(rows for name, rows in dump(handle).items() if name != "recotap")


def check(source: AnyLedger, target: AnyLedger, before: Any, *, is_moved: bool) -> None:
    """Expect the source to be as it was, and the target to be refused. If the source is moved, its copy is whole."""
    assert dump(source) == before
    assert is_usable(source) == (not is_moved)
    if is_moved:
        assert dump(target) == before
    if target.exists() and not is_usable(target):
        for use in (target.open, target.operate, target.reports) if _has_mark(target) else ():
            with pytest.raises(LedgerError, match=f"is an unfinished copy of {source}") as caught, use():
                pass
            assert "run the same `syncd ledger copy` again, which completes" in caught.value.hint
    assert not is_usable(target)


def _has_mark(target: AnyLedger) -> bool:
    try:
        target.require_use()
    except LedgerError:
        return True
    return False


def test_a_copy_that_is_killed_at_a_statement_is_made_again_by_the_same_command(
    pair: Any, kill_at: Callable[[int], None]
) -> None:
    source, target = pair
    before = dump(source)
    for number in count(0, STRIDE):
        kill_at(number)
        try:
            run(source, target)
            kill_at(-1)
            break
        except Killed:
            kill_at(-1)
            if is_usable(target):  # only its log was to be truncated
                break
            check(source, target, before, is_moved=not is_usable(source))
    assert number > 100
    assert dump(target) == before
    assert (is_usable(source), is_usable(target)) == (False, True)


# When the process ends: at the nth mark of a copy, before or after it is written. Then whether the source is moved.
@pytest.mark.parametrize(
    ("nth", "after", "is_moved"),
    [(0, False, False), (0, True, False), (1, False, False), (1, True, False), (2, False, True)],
)
def test_a_copy_that_is_killed_at_a_mark_leaves_one_ledger_in_use_at_most(
    pair: Any, monkeypatch: pytest.MonkeyPatch, nth: int, after: bool, is_moved: bool
) -> None:
    source, target = pair
    before, marks = dump(source), count()

    def killed(mark: Callable[..., None]) -> Callable[..., None]:
        def instead(end: Any, **given: Mark) -> None:
            is_last = "origin" in given and given["origin"].stage == BEGUN
            here = not is_last and next(marks) == nth
            if here and not after:
                raise Killed
            mark(end, **given)
            if here:
                raise Killed

        return instead

    with monkeypatch.context() as patch:
        for end in ends():
            patch.setattr(end, "mark", killed(end.mark))  # type: ignore[attr-defined]
        with pytest.raises(Killed):
            run(source, target)
    check(source, target, before, is_moved=is_moved)
    assert run(source, target).resumed == is_moved
    assert dump(target) == before
    assert (is_usable(source), is_usable(target)) == (False, True)


def change(db: Any) -> None:
    db.execute("UPDATE activities SET detail = 'other' WHERE id = (SELECT max(id) FROM activities)")


def remove(db: Any) -> None:
    db.execute("DELETE FROM passes")


def add(db: Any) -> None:
    db.execute("INSERT INTO forgotten (hash, at) VALUES ('ff', '2026')")


def lower(db: Any) -> None:
    db.execute("UPDATE streams SET seen = seen - 1")


@pytest.mark.parametrize(
    ("tamper", "table"), [(change, "activities"), (remove, "passes"), (add, "forgotten"), (lower, "streams")]
)
def test_a_copy_that_differs_is_not_used(
    pair: Any, monkeypatch: pytest.MonkeyPatch, tamper: Callable[[Any], None], table: str
) -> None:
    source, target = pair
    compare = copying._compared

    def tampered(*arguments: Any) -> Any:
        with stranger(target) as db:
            tamper(db)
        return compare(*arguments)

    monkeypatch.setattr(copying, "_compared", tampered)
    before = dump(source)
    with pytest.raises(LedgerError, match=f"differs from its source in the table {table}: ") as caught:
        run(source, target)
    assert "run it again while no other program writes" in caught.value.hint
    check(source, target, before, is_moved=False)


NONE = Marks()


def judged(here: Marks = NONE, there: Marks = NONE, *, has_rows: bool = True, keep: bool = False) -> Mark | None:
    return judge(here, there, source="A", has_rows=has_rows, keep=keep)


def mark(copy: str = "1", place: str = "A", stage: str = "") -> Mark:
    return Mark(copy, place, "2026", stage)


STAGES = (None, BEGUN, WRITTEN, IN_USE, FOR_READING)


class TestJudge:
    """Decide from the marks of both ledgers whether a copy begins, only ends, or is refused."""

    @pytest.mark.parametrize(("stage", "has_rows", "keep"), [*product(STAGES, (False, True), (False, True))])
    def test_only_an_empty_ledger_or_an_unfinished_copy_is_replaced(
        self, stage: str | None, has_rows: bool, keep: bool
    ) -> None:
        there = Marks(origin=mark(stage=stage) if stage else None)
        if has_rows and stage not in (BEGUN, WRITTEN):
            with pytest.raises(Occupied):
                judged(there=there, has_rows=has_rows, keep=keep)
        else:
            assert judged(there=there, has_rows=has_rows, keep=keep) is None

    def test_a_moved_ledger_is_completed_by_its_own_copy_alone(self) -> None:
        here, own, other = Marks(moved=mark()), mark(stage=WRITTEN), mark("2", stage=WRITTEN)
        assert judged(here, Marks(origin=own)) == own
        for there in (NONE, Marks(origin=other), *(Marks(origin=mark(stage=each)) for each in (BEGUN, IN_USE))):
            with pytest.raises(Moved):
                judged(here, there)

    def test_a_copy_whose_source_may_be_moved_is_not_replaced(self) -> None:
        """It may be the only ledger with all rows that is not moved."""
        for here, origin in ((NONE, "B"), (Marks(moved=mark("2")), "A")):
            with pytest.raises(Occupied):
                judged(here, Marks(origin=mark(place=origin, stage=WRITTEN)), keep=True)
        assert judged(there=Marks(origin=mark(place="B", stage=BEGUN))) is None

    def test_the_way_back_is_that_of_the_same_copy(self) -> None:
        moved = Marks(moved=mark())
        assert judged(Marks(origin=mark(stage=IN_USE)), moved) is None
        for here in (NONE, Marks(origin=mark("2", stage=IN_USE))):
            with pytest.raises(Occupied):
                judged(here, moved)
