"""Bad days: ask for everything, expect the contract's own errors, with hints and without anything private."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from syncd.connector import Finding
from syncd.errors import Stopped, SyncdError, Unauthorized, Unavailable
from syncd.testing.crm import Crm
from syncd.testing.heard import Heard
from syncd.testing.scene import TITLE, Scene

BRIEF_S = 4.0  # what has no deadline to wait for ends within this, real time

E = TypeVar("E", bound=SyncdError)


def raised(kind: type[E], act: Callable[[], object]) -> E:
    """Return the error of this kind that `act` ends in, which says what can be done."""
    error = ending(act)
    assert error is not None, "nobody noticed"
    assert isinstance(error, kind), f"{type(error).__name__} where {kind.__name__} is due"
    assert error.message, "an error says what it is about"
    assert error.hint, f"{error.message!r} says what can be done"
    return error


def ending(act: Callable[[], object]) -> SyncdError | None:
    """Return the error of ours that `act` ends in; None: it ends well. Any other is a bug, and goes on."""
    try:
        act()
    except SyncdError as error:
        return error
    return None


def stopped(scene: Scene, calls: int, read: Callable[[], object]) -> None:
    """Stop after so many calls of sleep; whoever sleeps less often ends as ever."""
    left, asked = [calls], [0]

    def stop() -> None:
        left[0] -= 1
        if left[0] < 0:
            asked[0] = asked[0] or scene.crm.requests()
            raise Stopped("the suite asks for the end")

    scene.on_sleep = stop
    began = time.monotonic()
    scene.forget()
    error = ending(read)
    scene.on_sleep = lambda: None
    assert left[0] >= 0 or isinstance(error, Stopped), f"Stopped was swallowed, or became {error!r}"
    assert time.monotonic() - began < BRIEF_S, "stopping takes its time"
    if left[0] < 0:
        assert scene.crm.requests() - asked[0] <= 8, "it asks on after it was stopped"


def troubled(scene: Scene, said: Heard) -> list[SyncdError]:
    """Ask for everything on a bad day, each by a pass of its own; only the contract's own errors may come."""
    errors: list[SyncdError] = []
    connector = scene.connect()
    ids = list(scene.truth)
    window = scene.window(None)
    asks: dict[str, Callable[[], object]] = {
        "identity": lambda: scene.connect().identity(),
        "fetch": lambda: list(scene.connect().fetch(scene.stream, window)),
        "fetch_ids": lambda: list(scene.connect().fetch_ids(scene.stream, ids)),
        "owners": lambda: scene.connect().owners(),
        "count": lambda: scene.connect().count(scene.stream, window),
        "again": lambda: [list(connector.fetch(scene.stream, window)) for _ in range(2)],
    }
    for what, ask in asks.items():
        error = ending(ask)
        if error is not None:
            errors.append(error)
            said.also([error, error.message, error.hint])
            assert isinstance(error, Unavailable | Unauthorized), f"{what} raised {error!r}"
            assert error.message, f"{what}: an error says what it is about"
            assert error.hint, f"{what}: {error.message!r} says what can be done"
    return errors


def assert_private(crm: Crm, said: Heard) -> None:
    """Nothing that was said holds a credential or what stands in the records."""
    for kind, values in {"a credential": crm.secrets, "personal data": (*crm.private, TITLE)}.items():
        found = [line for line in said.lines for value in values if value in line]
        assert not found, f"{kind} stands in: {found[0]!r}"


def expect_helpful(findings: Iterable[Finding]) -> None:
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


__all__ = ["BRIEF_S", "assert_private", "expect_helpful", "raised", "stopped", "troubled"]
