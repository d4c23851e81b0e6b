"""A drop folder that others write to: each kind of thing in each place, beside a healthy file and a healthy source.

Whatever stands there, the healthy file and the other source are delivered, nothing outside is read or changed, and
one error names it.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from connectors.jsonl.naming import MARK
from connectors.jsonl.place import Place
from syncd.errors import Exit
from syncd.passes import engine
from tests.drops import call
from tests.shared_drops import Shared, named

AS_ROOT = os.geteuid() == 0
SOMEBODY = 4321  # a user id that is neither root's nor ours
LINKS = ["link to a file", "link to a folder", "dangling link", "link to a device"]
OTHERS = ["hard link", "FIFO", "socket", "folder", *(["device"] if AS_ROOT else [])]
DONE_NAME = "20261005T080000000Z-{size}-x.jsonl"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAKE_S", 0.01)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with Shared(tmp_path) as made:
        yield made


def plant_all(shared: Shared, folder: Path, *names: str) -> list[str]:
    """Plant each kind under each name, with the kind in front of its suffix. Returns the names."""
    planted = []
    for name in names:
        for kind in LINKS + OTHERS:
            stem, dot, suffix = name.partition(".x")
            planted.append(f"{stem}{dot}{kind.replace(' ', '-')}{suffix}" if dot else f"{kind.replace(' ', '-')}{name}")
            shared.plant(kind, folder / planted[-1])
    return planted


def test_entries_that_are_no_plain_files_are_named_and_stop_nothing(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["connectors.jsonl.check"], "MOST_NAMED", 99)
    names = plant_all(shared, shared.path, "-x.jsonl", "-x.csv", ".syncd-taking-.x")
    names += plant_all(shared, shared.path, ".syncd-taking-20261005T080000000Z-10-.x.jsonl")
    shared.healthy()
    found = shared.connect().check()
    for _ in range(2):
        outcome = shared.passed()
        assert outcome.exit_code == Exit.UNAVAILABLE
        (error,) = outcome.errors
        assert error.hint == "put a copy in its place: links, hard links, pipes and devices are never read"
        first = [each.split(" ")[0] for each in error.message.split("; ")]
        assert set(first) <= set(names)
        assert error.message.endswith(f" and {len(names) - len(first)} more")
    assert shared.delivered() == {"c1", "e1", "o1"}
    assert shared.done == ["healthy1.jsonl"]
    assert shared.outside_is_untouched()
    assert all(os.path.lexists(shared.path / name) for name in names)
    assert [name for name in names if not any(name in each.message and each.hint for each in found)] == []


def test_under_names_that_are_never_read_they_are_left_alone(shared: Shared) -> None:
    shared.moved_in()
    for folder in (shared.path, shared.config.done_path):
        plant_all(
            shared, folder, "-x.jsonl.part", "-x~", ".x.jsonl", ".syncd-copying-.x.jsonl", ".syncd-id.x.part", "-x"
        )
    (shared.config.done_path / ".syncd-id.part").symlink_to(shared.secret)
    (shared.path / MARK).symlink_to("/dev/zero")
    shared.healthy()
    for _ in range(2):
        assert shared.passed().exit_code == Exit.OK
    assert shared.delivered() == {"before", "c1", "e1", "o1"}
    assert shared.done == ["before.jsonl", "healthy1.jsonl"]
    assert shared.outside_is_untouched()


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("kind", LINKS + OTHERS)
def test_an_id_that_is_no_plain_file_stops_only_the_moving(shared: Shared, kind: str, known: bool) -> None:
    if known:
        shared.moved_in()
        (shared.config.done_path / MARK).unlink()
    else:
        shared.config.done_path.mkdir()
    shared.plant(kind, shared.config.done_path / MARK)
    shared.healthy()
    for _ in range(2):
        outcome = shared.passed()
        assert (outcome.exit_code, named(outcome, MARK)) == (Exit.UNAVAILABLE, 1)
        assert {"c1", "e1", "o1"} <= shared.delivered()
    assert "healthy1.jsonl" in shared.waiting
    assert shared.outside_is_untouched()
    assert any(MARK in each.message and each.hint and not each.ok for each in shared.connect().check())


@pytest.mark.parametrize("kind", [kind for kind in LINKS + OTHERS if kind != "folder"])
@pytest.mark.parametrize("done", ["", "inner/done", "apart"])
def test_a_done_folder_that_is_none_stops_only_the_moving(shared: Shared, tmp_path: Path, kind: str, done: str) -> None:
    place = shared.path / (done or "done")
    if done == "apart":
        place = tmp_path / "apart" / "done"
    place.parent.mkdir(exist_ok=True)
    shared.table["done"] = str(place) if done else ""
    shared.plant(kind, place)
    shared.healthy()
    for _ in range(2):
        outcome = shared.passed()
        assert (outcome.exit_code, named(outcome, str(place))) == (Exit.UNAVAILABLE, 1)
        assert shared.delivered() == {"c1", "e1", "o1"}
    assert shared.outside_is_untouched()
    assert any(str(place) in each.message and each.hint and not each.ok for each in shared.connect().check())
    place.unlink()
    assert shared.passed().exit_code == Exit.OK
    assert shared.done == ["healthy1.jsonl"]


def test_a_folder_above_the_done_one_is_no_link_either(shared: Shared) -> None:
    shared.table["done"] = str(shared.path / "inner" / "done")
    (shared.path / "inner").symlink_to(shared.outside)
    shared.healthy()
    for _ in range(2):
        assert shared.passed().exit_code == Exit.UNAVAILABLE
    assert shared.delivered() == {"c1", "e1", "o1"}
    assert shared.outside_is_untouched()


@pytest.mark.parametrize("kind", LINKS + OTHERS)
def test_a_done_entry_that_is_no_plain_file_stops_nothing(shared: Shared, kind: str) -> None:
    shared.moved_in()
    name = DONE_NAME.format(size=shared.secret.stat().st_size)
    shared.plant(kind, shared.config.done_path / name)
    shared.file("incomplete.jsonl", call("late", contact_email=""))  # it is looked up in each file
    shared.healthy()
    outcome = shared.passed()
    assert outcome.exit_code in (Exit.OK, Exit.UNAVAILABLE)
    assert shared.delivered() == {"before", "c1", "e1", "o1"}
    for _ in range(2):
        outcome = shared.passed(minutes=70)
        assert (outcome.exit_code, named(outcome, "x.jsonl")) == (Exit.UNAVAILABLE, 1)
    assert shared.done[0] == "before.jsonl"
    assert "healthy1.jsonl" in shared.done
    assert shared.outside_is_untouched()
    assert shared.states()["late"] == "incomplete", "nobody knows whether it is gone"


@pytest.mark.parametrize("kind", [*LINKS, *OTHERS])
def test_in_the_place_of_the_drop_folder_it_stops_only_its_source(shared: Shared, kind: str) -> None:
    shared.healthy()
    shared.path.rename(shared.path.with_name("away"))
    shared.plant(kind, shared.path)
    outcome = shared.passed()
    if kind in ("folder", "link to a folder"):  # a link of root's or of our own is the operator's
        assert outcome.exit_code == Exit.OK
    else:
        assert (outcome.exit_code, named(outcome, str(shared.path))) == (Exit.UNAVAILABLE, 1)
    assert "o1" in shared.delivered()


@pytest.mark.skipif(not AS_ROOT, reason="only root gives things to somebody else")
def test_the_drop_folder_may_be_a_link_of_ours_and_not_of_somebody_else(shared: Shared) -> None:
    shared.healthy()
    real = shared.path.rename(shared.path.with_name("real"))
    shared.path.symlink_to(real)
    assert shared.passed().exit_code == Exit.OK
    os.chown(shared.path, SOMEBODY, SOMEBODY, follow_symlinks=False)
    outcome = shared.passed()
    assert (outcome.exit_code, named(outcome, f"symbolic link of user {SOMEBODY}")) == (Exit.UNAVAILABLE, 1)
    assert outcome.errors[0].hint == "set path to the folder itself, or make the link as syncd's user or root"
    assert (real / "healthy1.jsonl").exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root gives things to somebody else")
def test_a_done_folder_or_an_id_of_somebody_else_is_not_used(shared: Shared) -> None:
    shared.moved_in()
    for path in (shared.config.done_path, shared.config.done_path / MARK):
        os.chown(path, SOMEBODY, SOMEBODY)
        shared.healthy()
        for _ in range(2):
            outcome = shared.passed()
            assert (outcome.exit_code, named(outcome, f"belongs to user {SOMEBODY}")) == (Exit.UNAVAILABLE, 1)
            assert outcome.errors[0].hint.startswith("remove it, or give it to syncd's user: until then files are read")
        assert {"c1", "e1", "o1"} <= shared.delivered()
        assert shared.done == ["before.jsonl"]
        os.chown(path, 0, 0)
    os.chown(shared.config.done_path, SOMEBODY, SOMEBODY)
    os.chown(shared.path, SOMEBODY, SOMEBODY)  # whose folder it is may replace all in it anyway
    assert shared.passed().exit_code == Exit.OK
    assert "healthy1.jsonl" in shared.done


@pytest.mark.parametrize("content", [b"\xff" * 10, b"x" * 65, b"two words", b"a\nb", b"\x1b[2J", b"\0" * 64])
def test_an_id_that_is_none_stops_only_the_moving(shared: Shared, content: bytes) -> None:
    shared.moved_in()
    (shared.config.done_path / MARK).write_bytes(content)
    shared.healthy()
    for _ in range(2):
        outcome = shared.passed()
        assert (outcome.exit_code, named(outcome, MARK)) == (Exit.UNAVAILABLE, 1)
    assert {"c1", "e1", "o1"} <= shared.delivered()


def test_what_was_put_among_the_done_while_they_could_not_be_read_is_read_afterwards(shared: Shared) -> None:
    """A watermark has passed it by then."""
    shared.moved_in()
    hidden = shared.config.done_path.rename(shared.path.with_name("hidden"))
    shared.config.done_path.symlink_to(hidden)
    line = call("unseen") + "\n"
    shared.later(minutes=1)
    (hidden / f"{shared.at:%Y%m%dT%H%M%S}000Z-{len(line)}-unseen.jsonl").write_text(line)
    shared.later(minutes=1)
    shared.healthy()
    assert shared.passed().exit_code == Exit.UNAVAILABLE
    shared.config.done_path.unlink()
    hidden.rename(shared.config.done_path)
    for _ in range(2):
        assert shared.passed().exit_code == Exit.OK
    assert "unseen" in shared.delivered()


def test_what_is_swapped_while_it_is_moved_is_not_followed(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step of a move, somebody puts a link, a FIFO or a folder in the place of the file or of `done`."""
    rename = Place.rename
    swaps: list[Callable[[str], None]] = []

    def racing(self: Place, name: str, into: Place, new: str) -> None:
        if swaps and self.path == shared.path:  # and not the folder of the other source
            swaps.pop()(name)
        rename(self, name, into, new)

    monkeypatch.setattr(Place, "rename", racing)
    shared.moved_in()
    for number, kind in enumerate([*LINKS, "FIFO", "folder", "hard link"]):
        shared.healthy(number)
        shared.passed()

        def swap(name: str, kind: str = kind) -> None:
            (shared.path / name).unlink()
            shared.plant(kind, shared.path / name)

        swaps.append(swap)
        outcome = shared.passed()
        assert outcome.exit_code == Exit.UNAVAILABLE
        assert named(outcome, f"healthy{number}.jsonl") == 1
        for path in shared.path.glob(".syncd-taking-*"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    hidden = shared.path.with_name("hidden")

    def swap_done(name: str) -> None:
        shared.config.done_path.rename(hidden)
        shared.config.done_path.symlink_to(shared.outside)

    shared.healthy(99)
    shared.passed()
    swaps.append(swap_done)
    shared.passed()
    assert [path for path in hidden.iterdir() if path.name.endswith("healthy99.jsonl")]
    assert shared.outside_is_untouched()
    assert "secret" not in shared.states()
