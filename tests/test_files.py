"""Files that other users can reach: each kind of file under a name, and each way to open it."""

import os
import socket
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from syncd import files

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")


@pytest.fixture
def planted(tmp_path):
    """Return a function that makes a file of a kind under a name."""

    def plant(kind: str, name: str = "x") -> Path:
        path = tmp_path / name
        target = tmp_path / "target"
        match kind:
            case "a symbolic link":
                target.write_text("secret")
                path.symlink_to(target)
            case "a dangling link":
                path.symlink_to(tmp_path / "nowhere")
            case "a directory":
                path.mkdir()
            case "a FIFO":
                os.mkfifo(path)
            case "a socket":
                with socket.socket(socket.AF_UNIX) as bound:
                    bound.bind(str(path))
            case "a device":
                path.symlink_to("/dev/zero")
        return path

    return plant


KINDS = ["a symbolic link", "a directory", "a FIFO", "a socket"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", [files.open_regular, lambda path: files.read(path, most=9)])
def test_only_a_regular_file_is_opened_and_the_error_says_what_stands_there(planted, kind, act):
    with pytest.raises(files.Refused, match=f"is {kind}") as caught:
        act(planted(kind))
    assert caught.value.remedy == (files.LINK if kind == "a symbolic link" else files.FOREIGN)


@pytest.mark.parametrize("kind", ["a directory", "a FIFO", "a socket", "a device"])
def test_a_link_that_may_be_followed_must_lead_to_a_regular_file(planted, tmp_path, kind):
    planted(kind, "inner")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "inner")
    with pytest.raises(files.Refused, match=f"is {kind}"):
        files.read(link, most=9, follow=True)


def test_a_link_that_may_be_followed_is_read(tmp_path):
    (tmp_path / "real").write_text("content")
    (tmp_path / "link").symlink_to("real")
    assert files.read(tmp_path / "link", most=7, follow=True) == b"content"


def test_what_takes_the_place_of_a_file_between_look_and_open_is_refused(tmp_path, monkeypatch):
    """The first check finds a regular file, but a link or a FIFO has replaced it when it is opened."""
    path, other = tmp_path / "x", tmp_path / "other"
    other.write_text("plain")
    plain = other.stat()
    monkeypatch.setattr(Path, "stat", lambda *args, **kwargs: plain)
    path.symlink_to(other)
    with pytest.raises(files.Refused, match="symbolic link"):
        files.open_regular(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(files.Refused, match="FIFO"):
        files.open_regular(path)


def test_a_file_that_is_not_there_is_missing_not_refused(planted, tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none", most=9)
    with pytest.raises(FileNotFoundError):
        files.read(planted("a dangling link"), most=9, follow=True)


def test_a_read_ends_at_its_bound(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    assert len(files.read(path, most=100)) == 100
    with pytest.raises(files.Refused, match="larger than 99 bytes") as caught:
        files.read(path, most=99)
    assert caught.value.remedy == "name the right file"


def test_a_sparse_file_costs_no_memory(tmp_path):
    path = tmp_path / "x"
    with path.open("wb") as handle:
        handle.truncate(300 * 2**30)
    with pytest.raises(files.Refused, match="larger than"):
        files.read(path, most=64)


@ROOT_ONLY
def test_a_file_of_somebody_else_is_refused_where_its_owner_matters(tmp_path):
    path = tmp_path / "x"
    path.write_text("x")
    os.chown(path, 4321, 4321)
    with pytest.raises(files.Refused, match="belongs to user 4321, expected root") as caught:
        files.read(path, most=9, owners=files.trusted())
    assert caught.value.remedy == "give it to the right user (chown), or run syncd as the user it belongs to"
    assert files.read(path, most=9, owners={4321}) == b"x"
    assert files.read(path, most=9) == b"x"


def test_a_second_name_is_refused_where_it_matters(tmp_path):
    path = tmp_path / "x"
    path.write_text("x")
    os.close(files.open_regular(path, one_name=True))
    (tmp_path / "y").hardlink_to(path)
    with pytest.raises(files.Refused, match="second name"):
        files.open_regular(path, one_name=True)


@pytest.mark.parametrize("through", ["", "link"])
def test_the_other_name_is_looked_for_from_the_mount_point_of_the_file(tmp_path, monkeypatch, through):
    """`find / -xdev` never enters another file system."""
    real = Path.stat
    mount = tmp_path / "a mount"
    (mount / "state").mkdir(parents=True)
    (tmp_path / "link").symlink_to(mount / "state")
    path = (tmp_path / "link" if through else mount / "state") / "x"
    path.write_text("x")
    path.with_name("y").hardlink_to(path)

    def stat(self, **how):
        found = real(self, **how)
        if not Path(os.path.realpath(self)).is_relative_to(mount):
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10]))
        return found

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(files.Refused) as caught:
        files.open_regular(path, one_name=True)
    assert caught.value.remedy == f"remove the other name: find '{mount}' -xdev -inum {path.stat().st_ino}"


@pytest.mark.parametrize("path", ["/dev/fd/{}", "/proc/self/fd/{}", "/dev/zero"])
def test_a_stream_is_told_to_be_written_to_a_file(path):
    reading, writing = os.pipe()
    try:
        with pytest.raises(files.Refused) as caught:
            files.read(Path(path.format(reading)), most=9, follow=True)
        assert caught.value.remedy == "write it to a file, and name that"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("kind", [*KINDS, "a dangling link"])
def test_nothing_is_created_in_the_place_of_something(planted, kind):
    with pytest.raises(FileExistsError):
        files.create(planted(kind))


def test_a_link_is_replaced_by_what_is_written_and_its_target_left_alone(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("theirs")
    link.symlink_to(target)
    files.write(link, b"ours")
    assert target.read_text() == "theirs"
    assert not link.is_symlink()
    assert link.read_bytes() == b"ours"
    assert stat.S_IMODE(link.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write(path, b"new")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_pinned_handle_tells_of_a_link_itself_and_changes_only_what_it_holds(tmp_path):
    path, link = tmp_path / "x", tmp_path / "link"
    path.write_text("x")
    path.chmod(0o644)
    link.symlink_to(path)
    with files.pinned(link) as handle, pytest.raises(files.Refused, match="is a symbolic link"):
        files.require_regular(handle, link)
    with files.pinned(path) as handle:
        assert files.require_regular(handle, path).st_size == 1
        path.rename(tmp_path / "moved")
        path.write_text("another")
        files.make_private(handle)
    assert stat.S_IMODE((tmp_path / "moved").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) != 0o600


def test_a_folder_that_is_a_link_is_opened_only_where_that_is_allowed(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    os.close(files.open_folder(link))
    with pytest.raises(files.Refused, match="symbolic link"):
        files.open_folder(link, follow=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        files.open_folder(tmp_path / "file")


def test_a_path_is_resolved_through_links_as_the_kernel_does(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")
    (tmp_path / "a" / "dangling").symlink_to("../none/x")
    monkeypatch.chdir(tmp_path)
    for given, expected in {
        "link/..": "a",
        "absolute/./new/ledger.db": "a/b/new/ledger.db",
        "a/dangling": "none/x",
        "none/../../x": "../x",
    }.items():
        found = files.resolve(Path(given), owners=files.trusted())
        assert str(found) == os.path.realpath(tmp_path / expected)


def test_a_path_that_leads_nowhere_is_an_error(tmp_path):
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Too many levels"):
        files.resolve(tmp_path / "one" / "x", owners=files.trusted())
    with pytest.raises(NotADirectoryError):
        files.resolve(tmp_path / "file" / "x", owners=files.trusted())


@ROOT_ONLY
def test_no_link_of_somebody_else_is_followed_wherever_it_is_in_the_path(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    os.lchown(link, 4321, 4321)
    for path in (link, link / "x"):
        with pytest.raises(files.Refused, match="symbolic link of user 4321, expected one of root") as caught:
            files.resolve(path, owners=files.trusted())
        remedy = "find out who made the link. If it is right, name the file that it leads to"
        assert caught.value.remedy == remedy


def test_folders_are_made_private_and_those_that_are_there_stay(tmp_path):
    (tmp_path / "there").mkdir(mode=0o755)
    files.make_folders(tmp_path / "there" / "a" / "b")
    files.make_folders(tmp_path / "there")
    modes = [stat.S_IMODE((tmp_path / "there" / each).stat().st_mode) for each in ("", "a", "a/b")]
    assert modes == [0o755, 0o700, 0o700]
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        files.make_folders(tmp_path / "file")


def test_an_error_is_told_in_the_words_of_the_system(planted):
    assert files.why(PermissionError(13, "Permission denied")) == "Permission denied"
    assert files.why(OSError()) == "OSError"
    with pytest.raises(files.Refused) as caught:
        files.read(planted("a FIFO"), most=9)
    assert files.why(caught.value) == "Is a FIFO"
    assert caught.value.remedy == "find out who put it there and remove it, or name another file"


def test_without_proc_a_file_that_is_private_already_is_fine(tmp_path, monkeypatch):
    def gone(*_):
        raise FileNotFoundError

    path = tmp_path / "x"
    path.write_text("x")
    for mode, private in ((0o644, False), (0o600, True)):
        path.chmod(mode)
        with monkeypatch.context() as patch, files.pinned(path) as handle:
            patch.setattr(Path, "chmod", gone)
            with nullcontext() if private else pytest.raises(FileNotFoundError):
                files.make_private(handle)
