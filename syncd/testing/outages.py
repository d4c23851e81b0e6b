"""Assertions about errors: only the contract's own, with hints and without private data."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from syncd.connector import Finding
from syncd.errors import Stopped, SyncdError, Unauthorized, Unavailable
from syncd.testing.captured import Captured, captured
from syncd.testing.crm import Crm
from syncd.testing.harness import TITLE, Harness

BRIEF_S = 4.0  # seconds of real time, for calls that wait for no deadline

E = TypeVar("E", bound=SyncdError)


def expect_error(kind: type[E], act: Callable[[], object]) -> E:
    """Return the error of this kind that `act` raises. It must have a message and a hint."""
    error = error_of(act)
    assert error is not None, f"{kind.__name__} was expected, and no error was raised"
    assert isinstance(error, kind), f"{kind.__name__} was expected, and {type(error).__name__} was raised"
    assert error.message, "the error has no message"
    assert error.hint, f"{error.message!r} has no hint"
    return error


def error_of(act: Callable[[], object]) -> SyncdError | None:
    """Return the SyncdError that `act` raises, or None. Other exceptions propagate."""
    try:
        act()
    except SyncdError as error:
        return error
    return None


def assert_stops(harness: Harness, calls: int, read: Callable[[], object]) -> None:
    """Raise Stopped from the next call of sleep after `calls` of them. `read` must then end at once.

    If `read` calls sleep less often, it ends as usual.
    """
    left, asked = [calls], [0]

    def stop() -> None:
        left[0] -= 1
        if left[0] < 0:
            asked[0] = asked[0] or harness.crm.requests()
            raise Stopped("the suite requested a stop")

    harness.on_sleep = stop
    began = time.monotonic()
    harness.clear_books()
    error = error_of(read)
    harness.on_sleep = lambda: None
    assert left[0] >= 0 or isinstance(error, Stopped), f"Stopped was swallowed or replaced by {error!r}"
    assert time.monotonic() - began < BRIEF_S, "stopping takes too long"
    if left[0] < 0:
        assert harness.crm.requests() - asked[0] <= 8, "more requests after the stop"


def assert_outage(harness: Harness, name: str, begin: Callable[[], object]) -> None:
    """Assert that an outage ends in helpful, private errors, and that check() reports it. `begin` starts it."""
    crm = harness.crm
    harness.fill(range(3))
    begin()
    with captured() as output:
        errors = errors_in_outage(harness, output)
        findings = harness.connect().check()
        output.add(findings)
    crm.heal()
    assert_helpful(findings)
    assert errors, f"{name}: no method raised an error"
    assert any(not each.ok and not each.warning for each in findings), f"{name}: check() reported no failure"
    assert_private(crm, output)


def errors_in_outage(harness: Harness, output: Captured) -> list[SyncdError]:
    """Return the errors of all methods during an outage, each called in its own pass.

    Only the contract's errors are allowed.
    """
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
            assert error.message, f"{what}: the error has no message"
            assert error.hint, f"{what}: {error.message!r} has no hint"
    return errors


def assert_private(crm: Crm, output: Captured) -> None:
    """Assert that the output contains no credential and no personal data."""
    for kind, values in {"a credential": crm.secrets, "personal data": (*crm.private, TITLE)}.items():
        found = [line for line in output.lines for value in values if value in line]
        assert not found, f"{kind} in the output: {found[0]!r}"


def assert_helpful(findings: Iterable[Finding]) -> None:
    """Assert that each finding has a message, and each failure a hint and an exit code."""
    for each in findings:
        assert isinstance(each, Finding)
        assert each.what
        assert each.message, f"{each.what}: the finding has no message"
        if each.ok:
            assert not each.hint, f"{each.what}: the success has a hint"
        else:
            assert each.hint, f"{each.what}: a failure has no hint"
            assert each.warning or each.exit_code, f"{each.what}: the failure has no exit code"


__all__ = ["BRIEF_S", "assert_helpful", "assert_outage", "assert_private", "assert_stops", "expect_error"]
