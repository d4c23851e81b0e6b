"""Outages: ask for everything, expect the contract's own errors, with hints and without anything private."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from syncd.connector import Finding
from syncd.errors import Stopped, SyncdError, Unauthorized, Unavailable
from syncd.testing.captured import Captured
from syncd.testing.crm import Crm
from syncd.testing.harness import TITLE, Harness

BRIEF_S = 4.0  # what has no deadline to wait for ends within this, real time

E = TypeVar("E", bound=SyncdError)


def expect_error(kind: type[E], act: Callable[[], object]) -> E:
    """Return the error of this kind that `act` ends in, which says what can be done."""
    error = error_of(act)
    assert error is not None, "nobody noticed"
    assert isinstance(error, kind), f"{type(error).__name__} where {kind.__name__} is due"
    assert error.message, "an error says what it is about"
    assert error.hint, f"{error.message!r} says what can be done"
    return error


def error_of(act: Callable[[], object]) -> SyncdError | None:
    """Return the error of ours that `act` ends in; None: it ends well. Any other is a bug, and goes on."""
    try:
        act()
    except SyncdError as error:
        return error
    return None


def assert_stops(harness: Harness, calls: int, read: Callable[[], object]) -> None:
    """Stop after so many calls of sleep; whoever sleeps less often ends as ever."""
    left, asked = [calls], [0]

    def stop() -> None:
        left[0] -= 1
        if left[0] < 0:
            asked[0] = asked[0] or harness.crm.requests()
            raise Stopped("the suite asks for the end")

    harness.on_sleep = stop
    began = time.monotonic()
    harness.clear_books()
    error = error_of(read)
    harness.on_sleep = lambda: None
    assert left[0] >= 0 or isinstance(error, Stopped), f"Stopped was swallowed, or became {error!r}"
    assert time.monotonic() - began < BRIEF_S, "stopping takes its time"
    if left[0] < 0:
        assert harness.crm.requests() - asked[0] <= 8, "it asks on after it was assert_stops"


def errors_in_outage(harness: Harness, output: Captured) -> list[SyncdError]:
    """Ask for everything in an outage, each by a pass of its own; only the contract's own errors may come."""
    errors: list[SyncdError] = []
    connector = harness.connect()
    ids = list(harness.truth)
    window = harness.window(None)
    asks: dict[str, Callable[[], object]] = {
        "identity": lambda: harness.connect().identity(),
        "fetch": lambda: list(harness.connect().fetch(harness.stream, window)),
        "fetch_ids": lambda: list(harness.connect().fetch_ids(harness.stream, ids)),
        "owners": lambda: harness.connect().owners(),
        "count": lambda: harness.connect().count(harness.stream, window),
        "again": lambda: [list(connector.fetch(harness.stream, window)) for _ in range(2)],
    }
    for what, ask in asks.items():
        error = error_of(ask)
        if error is not None:
            errors.append(error)
            output.add([error, error.message, error.hint])
            assert isinstance(error, Unavailable | Unauthorized), f"{what} raised {error!r}"
            assert error.message, f"{what}: an error says what it is about"
            assert error.hint, f"{what}: {error.message!r} says what can be done"
    return errors


def assert_private(crm: Crm, output: Captured) -> None:
    """Nothing that was said holds a credential or what stands in the records."""
    for kind, values in {"a credential": crm.secrets, "personal data": (*crm.private, TITLE)}.items():
        found = [line for line in output.lines for value in values if value in line]
        assert not found, f"{kind} stands in: {found[0]!r}"


def assert_helpful(findings: Iterable[Finding]) -> None:
    """Each finding says what it is about, and what fails also what to do."""
    for each in findings:
        assert isinstance(each, Finding)
        assert each.what
        assert each.message, f"{each.what}: a finding says something"
        if each.ok:
            assert not each.hint, f"{each.what}: what is fine needs no hint"
        else:
            assert each.hint, f"{each.what}: a finding says what can be done"
            assert each.warning or each.exit_code, f"{each.what}: a failure has its exit code"


__all__ = ["BRIEF_S", "assert_helpful", "assert_private", "assert_stops", "errors_in_outage", "expect_error"]
