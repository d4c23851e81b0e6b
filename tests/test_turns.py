"""How long a source may read while another one waits."""

from datetime import UTC, datetime, timedelta

from syncd.connector import Ref
from syncd.passes.events import PageRead
from syncd.passes.turns import TURN_S, Turn

AT = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)


def page(minutes: int, *, range_id: int | None = None) -> PageRead:
    return PageRead("calls", [Ref("1", AT + timedelta(minutes=minutes))], (), range_id=range_id)


def test_a_source_whose_pages_are_new_from_the_first_on_has_a_minute() -> None:
    turn = Turn(100.0, {"calls": AT})
    assert not turn.is_over(10_000.0), "nothing was read yet: it would begin at the same place"
    turn.booked(page(1), 101.0)
    assert not turn.is_over(100.0 + TURN_S - 1)
    assert turn.is_over(100.0 + TURN_S)


def test_what_was_known_before_is_no_progress_and_at_least_half_of_a_turn_is() -> None:
    """Otherwise a source whose overlap takes a minute to read would never get beyond it."""
    turn = Turn(0.0, {"calls": AT})
    for second in range(200):
        turn.booked(page(second - 199), float(second))
        assert not turn.is_over(float(second))
    turn.booked(page(1), 200.0)
    assert not turn.is_over(399.0)
    assert turn.is_over(400.0)


def test_a_first_page_a_page_of_a_range_and_a_look_up_are_progress() -> None:
    for watermarks, read in (({}, page(0)), ({"calls": AT}, page(-9, range_id=1))):
        turn = Turn(0.0, watermarks)
        turn.booked(read, 1.0)
        assert turn.is_over(TURN_S)
    turn = Turn(0.0, {"calls": AT})
    turn.booked(PageRead("calls", (), (), looked_up_at=AT), 1.0)
    assert turn.is_over(TURN_S)


def test_a_page_without_records_is_no_progress() -> None:
    turn = Turn(0.0, {})
    turn.booked(PageRead("calls", (), ()), 1.0)
    assert not turn.is_over(10 * TURN_S)


def test_a_pass_may_give_its_sources_another_time() -> None:
    turn = Turn(0.0, {"calls": AT}, turn_s=5.0)
    turn.booked(page(1), 1.0)
    assert not turn.is_over(4.9)
    assert turn.is_over(5.0)
