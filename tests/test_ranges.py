"""What is still to be read: an earlier start and gaps, in slices, after the windows, and across kills."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.passes import windows
from syncd.passes.windows import Span
from tests.conftest import Command
from tests.world import START, World

DAY, SECOND, MS = timedelta(days=1), timedelta(seconds=1), timedelta(milliseconds=1)
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def later(start: datetime = START - 2 * DAY) -> dict[str, Any]:
    return {"start": start}


# -- an earlier start --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "configured", "watermark", "kept", "added"),
    [
        (None, AT, None, AT, None),
        (None, AT, AT + DAY, AT, None),  # an older ledger takes the first configuration's
        (AT, AT, AT + DAY, AT, None),
        (AT, AT + DAY, AT + 2 * DAY, AT, None),
        (AT, AT - DAY, AT + DAY, AT - DAY, Span(AT - DAY, AT - MS)),
        (AT, AT - DAY, None, AT - DAY, None),  # nothing is read yet: the window itself begins earlier
        (AT, AT + DAY, None, AT + DAY, None),
    ],
)
def test_the_start_that_a_stream_keeps_and_what_an_earlier_one_adds(
    known: datetime | None, configured: datetime, watermark: datetime | None, kept: datetime, added: Span | None
) -> None:
    assert windows.start_of(known=known, configured=configured, watermark=watermark) == kept
    assert windows.added_by(kept, known, watermark) == added


def test_status_shows_what_is_to_be_read(live: World, command: Command) -> None:
    live.call()
    command("sync", "-c", live.config_file)
    live.sql(
        "INSERT INTO ranges (stream_id, since, until, why, last_error, attempts, created_at) "
        "SELECT id, '2026-02-01T00:00:00.000Z', '2026-02-01T00:00:00.999Z', 'gap', 'answered 500', 1, "
        "'2026-02-02T00:00:00.000Z' FROM streams WHERE stream = 'calls'"
    )
    (shown,) = live.status()["ranges"]
    assert shown == {
        "source": "hubspot", "stream": "calls", "since": "2026-02-01T00:00:00.000Z",
        "until": "2026-02-01T00:00:00.999Z", "why": "gap", "read_to": None, "last_error": "answered 500",
        "next_attempt_at": None,
    }  # fmt: skip
    out = " ".join(command("status", "-c", live.config_file).out.split())
    assert "to read: hubspot calls 2026-02-01T00:00:00.000Z to 2026-02-01T00:00:00.999Z (a gap" in out


# -- gaps --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(AT, AT + 2 * SECOND), (Span(AT, AT + SECOND - MS), Span(AT + SECOND, AT + 2 * SECOND))),
        (Span(AT, AT + SECOND), (Span(AT, AT + SECOND - MS), Span(AT + SECOND, AT + SECOND))),
        (Span(AT, AT + SECOND - MS), None),
        (Span(AT, AT), None),
        (Span(AT + 3 * MS, AT + 1200 * MS), (Span(AT + 3 * MS, AT + SECOND - MS), Span(AT + SECOND, AT + 1200 * MS))),
        (Span(AT - 4 * SECOND, None), (Span(AT - 4 * SECOND, AT - 2 * SECOND - MS), Span(AT - 2 * SECOND, None))),
    ],
)  # fmt: skip
def test_a_span_is_cut_at_whole_seconds(span: Span, expected: tuple[Span, Span] | None) -> None:
    assert windows.halves(span, now=AT) == expected


@pytest.mark.parametrize(
    ("span", "taken", "left"),
    [
        (Span(AT, AT + DAY), [], [Span(AT, AT + DAY)]),
        (Span(AT, None), [Span(AT - DAY, AT + SECOND)], [Span(AT + SECOND + MS, None)]),
        (Span(AT, AT + DAY), [Span(AT - DAY, AT + 2 * DAY)], []),
        (
            Span(AT, AT + DAY),
            [Span(AT + 5 * SECOND, AT + 6 * SECOND), Span(AT + SECOND, AT + 2 * SECOND), Span(AT - DAY, AT - SECOND)],
            [
                Span(AT, AT + SECOND - MS), Span(AT + 2 * SECOND + MS, AT + 5 * SECOND - MS),
                Span(AT + 6 * SECOND + MS, AT + DAY),
            ],
        ),
        (Span(AT, AT + DAY), [Span(AT + DAY, AT + 2 * DAY)], [Span(AT, AT + DAY - MS)]),
        (Span(AT, AT + DAY), [Span(AT + 2 * DAY, AT + 3 * DAY)], [Span(AT, AT + DAY)]),
    ],
)  # fmt: skip
def test_a_window_leaves_out_its_gaps(span: Span, taken: list[Span], left: list[Span]) -> None:
    assert windows.without(span, taken) == left
