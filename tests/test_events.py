"""The events of a reader: how far a page moves the watermark, and the call that wakes the ledger's thread."""

import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from types import FrameType

import pytest

from syncd.connector import Ref
from syncd.passes.events import PageRead
from syncd.passes.wake import WakeUp

AT = datetime(2026, 10, 5, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REFS = (Ref("1", AT + MINUTE), Ref("2", AT + 2 * MINUTE), Ref("3", AT))


@pytest.mark.parametrize(
    ("complete_until", "watermark"),
    [(None, AT + 2 * MINUTE), (AT + MINUTE, AT + MINUTE), (AT + 3 * MINUTE, AT + 2 * MINUTE)],
)
def test_a_page_moves_the_watermark_to_its_greatest_time_as_far_as_it_is_complete(
    complete_until: datetime | None, watermark: datetime
) -> None:
    assert PageRead("calls", REFS, (), complete_until=complete_until).watermark == watermark


def test_neither_an_empty_page_nor_a_look_up_nor_a_range_moves_the_watermark() -> None:
    assert PageRead("calls", (), (), complete_until=AT).watermark is None
    assert PageRead("calls", REFS, (), range_id=1).watermark is None
    assert PageRead("calls", REFS, (), range_id=1, complete_until=AT + MINUTE).read_to == AT + MINUTE
    assert PageRead("calls", REFS, ()).read_to is None
    assert PageRead("calls", REFS, (), looked_up_at=AT).watermark is None


def test_a_call_before_the_wait_ends_it_unless_it_was_cleared() -> None:
    wake = WakeUp()
    wake()
    wake()
    began = time.monotonic()
    wake.wait(10)
    wake.wait(10)
    assert time.monotonic() - began < 5
    wake()
    wake.clear()
    began = time.monotonic()
    wake.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_a_signal_wakes_the_thread_that_waits() -> None:
    """An event with a lock could wait for itself here."""
    wake = WakeUp()

    def handler(number: int, frame: FrameType | None) -> None:
        wake()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(20):
            main = threading.main_thread().ident
            assert main is not None
            timer = threading.Timer(0.005, signal.pthread_kill, (main, signal.SIGUSR1))
            timer.start()
            began = time.monotonic()
            wake.wait(10)
            timer.join()
            assert time.monotonic() - began < 5
    finally:
        signal.signal(signal.SIGUSR1, before)
