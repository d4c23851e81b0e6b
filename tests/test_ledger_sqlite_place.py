"""Foreign files in the place of the ledger, its lock or its log are neither used nor changed."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.errors import LedgerError, LedgerHeld, SyncdError
from syncd.ledger import LedgerHandle, file, place
from tests.ledgers import NOW, book, files, sound, stranger
from tests.ledgers import reading as look
from tests.planted import KINDS, NOBODY, ROOT_ONLY, as_user, plant, state

OPENINGS = {
    "Ledger": lambda path: LedgerHandle(path).open(),
    "LedgerReader": lambda path: LedgerHandle(path).read(),
    "Operator": lambda path: LedgerHandle(path).operate(),
    "held": lambda path: LedgerHandle(path).hold("sync"),
}
EVERY = pytest.mark.parametrize("opening", OPENINGS)
REFUSED_AS_LEDGER = [kind for kind in KINDS if kind not in ("dangling link",)]


@pytest.fixture
def path(tmp_path):
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory / "ledger.db"


@pytest.fixture
def filled(path):
    """A ledger with one activity, and its lock, closed."""
    with LedgerHandle(path).hold("sync"), LedgerHandle(path).open() as ledger:
        book(ledger, look(1), watermark=NOW)
    return path


def refused(path, opening):
    with pytest.raises(LedgerError) as caught, OPENINGS[opening](path):
        pass
    assert caught.value.exit_code == 74
    assert caught.value.hint
    return caught.value.message


class TestSomethingElse:
    @EVERY
    @pytest.mark.parametrize("kind", REFUSED_AS_LEDGER)
    def test_in_the_place_of_the_ledger_it_is_refused_and_left_as_it_is(self, path, opening, kind):
        plant(kind, path)
        before = state(path.parent)
        said = refused(path, opening)
        assert state(path.parent) == before
        expected = {
            "link to a file": "it is not a ledger", "link to a directory": "Is a directory", "hard link": "second name",
            "link to itself": os.strerror(40), "link to a device": "Is a device",
        }  # fmt: skip
        assert expected.get(kind, f"Is a {kind}") in said

    @EVERY
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
    def test_in_the_place_of_a_file_that_sqlite_opens_by_name(self, filled, opening, kind, end):
        plant(kind, Path(f"{filled}{end}"))
        before = state(filled.parent)
        assert f"ledger.db{end}" in refused(filled, opening)
        assert state(filled.parent) == before

    @pytest.mark.parametrize("kind", KINDS)
    def test_in_the_place_of_the_lock(self, filled, kind):
        Path(f"{filled}.lock").unlink()
        plant(kind, Path(f"{filled}.lock"))
        before = state(filled.parent)
        assert "ledger.db.lock" in refused(filled, "held")
        with pytest.raises(LedgerError, match=r"ledger\.db\.lock"):
            LedgerHandle(filled).holder()
        assert state(filled.parent) == before

    def test_a_directory_is_told_to_name_a_file_in_it(self, path):
        path.mkdir()
        with pytest.raises(LedgerError) as caught, LedgerHandle(path).hold("sync"):
            pass
        assert str(path / "ledger.db") in caught.value.hint

    @ROOT_ONLY
    def test_another_user_refuses_the_same_and_leaves_it_as_it_is(self, tmp_path):
        """Whatever he could change: here he owns all of it."""
        for each in tmp_path.parents[:-1]:
            if each.name != "tmp":
                each.chmod(0o711)
        os.chown(tmp_path, NOBODY, NOBODY)

        def act():
            kept = []
            for end in ("", ".lock", "-wal", "-shm", "-journal"):
                for kind in KINDS:
                    if kind == "device" or (end, kind) == ("", "dangling link"):
                        continue
                    path = tmp_path / f"{kind.replace(' ', '-')}{end or '.db'}" / "ledger.db"
                    path.parent.mkdir()
                    plant(kind, Path(f"{path}{end}"))
                    before = state(path.parent)
                    with pytest.raises(LedgerError), LedgerHandle(path).hold("sync"), LedgerHandle(path).open():
                        pass
                    kept.append(state(path.parent) == before)
            return f"{all(kept)} {len(kept)}"

        assert as_user(NOBODY, act) == "True 44"

    def test_a_second_name_of_the_ledger_would_have_a_second_lock(self, filled):
        other = filled.with_name("other.db")
        other.hardlink_to(filled)
        assert "second name" in refused(other, "held")
        assert "second name" in refused(filled, "held")

    @EVERY
    @pytest.mark.parametrize("content", [b"x", b"my notes\n", b"my notes\n" * 1000, b"SQLite format 3\0" + b"x" * 500])
    def test_somebody_else_s_text(self, path, opening, content):
        path.write_bytes(content)
        path.chmod(0o644)
        before = state(path.parent)
        refused(path, opening)
        assert state(path.parent) == before


def songs(path: Path, *, mode: str, closed: bool, version: int = 0) -> None:
    """Make another program's database; not closed: as a kill leaves it, all of it in the log alone if that is used."""
    code = f"""
import os, sqlite3
db = sqlite3.connect({str(path)!r}, isolation_level=None)
db.execute("PRAGMA journal_mode = {mode}")
db.execute("CREATE TABLE songs (title)")
db.execute("INSERT INTO songs VALUES ('one')")
db.execute("PRAGMA user_version = {version}")
{"db.close()" if closed else "os._exit(0)"}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    path.chmod(0o644)


class TestSomebodyElsesDatabase:
    @EVERY
    @pytest.mark.parametrize("version", [0, 1, 99])
    @pytest.mark.parametrize("closed", [True, False])
    @pytest.mark.parametrize("mode", ["WAL", "DELETE"])
    def test_nothing_of_it_or_beside_it_changes(self, path, opening, mode, closed, version):
        songs(path, mode=mode, closed=closed, version=version)
        before = state(path.parent)
        assert "it is not a ledger" in refused(path, opening)
        assert state(path.parent) == before

    @EVERY
    def test_nor_while_its_program_has_it_open(self, path, opening):
        songs(path, mode="WAL", closed=True)
        with stranger(path) as theirs:
            theirs.execute("INSERT INTO songs VALUES ('two')")
            before = state(path.parent)
            refused(path, opening)
            assert state(path.parent) == before

    @EVERY
    def test_an_empty_one_that_belongs_to_a_program(self, path, opening):
        with stranger(path) as db:
            db.execute("PRAGMA application_id = 7")
        before = state(path.parent)
        refused(path, opening)
        assert state(path.parent) == before


class TestOurOwn:
    def test_a_kill_in_the_first_moments_costs_nothing(self, path):
        """Everything is in the log then, and the file holds no table yet."""
        code = f"""
import os
from pathlib import Path
from syncd.ledger import LedgerHandle
with LedgerHandle(Path({str(path)!r})).open():
    os._exit(0)
"""
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
        assert b"CREATE TABLE activities" not in path.read_bytes()
        with LedgerHandle(path).read() as glance:
            assert glance.balanced()
        with LedgerHandle(path).open() as ledger:
            assert ledger.balanced()

    def test_a_kill_before_anything_is_committed_costs_nothing(self, path):
        """The file is empty, and the log holds the beginning of a transaction."""
        with LedgerHandle(path).open():
            log = Path(f"{path}-wal").read_bytes()
            main = path.read_bytes()
        size = int.from_bytes(log[8:12], "big")
        first = log[32:36] + bytes(4) + log[40:56] + bytes(size)  # its page, no commit, the salts and sums, no schema
        path.write_bytes(main)
        Path(f"{path}-wal").write_bytes(log[:32] + first)
        with LedgerHandle(path).open() as ledger:
            assert ledger.balanced()

    @pytest.mark.parametrize("pages", range(1, 12))
    def test_a_kill_while_the_log_is_copied_into_the_file_costs_nothing(self, path, tmp_path, pages):
        """SQLite copies pages in their order: the first one says how many there are, and the last are not there yet."""
        with LedgerHandle(path).open() as ledger:
            book(ledger, look(1))
            log, before = Path(f"{path}-wal").read_bytes(), path.read_bytes()
            ledger.tidy()
            whole = path.read_bytes()
        cut = tmp_path / "cut" / "ledger.db"
        cut.parent.mkdir()
        cut.write_bytes(whole[: pages * 4096] + before[pages * 4096 :])
        Path(f"{cut}-wal").write_bytes(log)
        with LedgerHandle(cut).open() as ledger:
            assert ledger.counts()["pending"] == 1
            assert sound(ledger)

    def test_a_look_at_what_it_is_drops_no_lock(self, filled):
        with LedgerHandle(filled).open() as ledger, ledger.transaction():
            book(ledger, look(2))
            assert place.is_ours(filled)
            assert LedgerHandle(filled).exists()
            line = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
            other = subprocess.run([sys.executable, "-c", line, filled], capture_output=True, text=True, check=False)
            assert "database is locked" in other.stderr

    def test_its_mode_is_narrowed_and_no_other_file_s(self, filled):
        neighbour = filled.with_name("notes.txt")
        neighbour.write_text("x")
        for each in (filled, neighbour):
            each.chmod(0o666)
        filled.parent.chmod(0o755)
        with LedgerHandle(filled).open():
            pass
        assert [stat.S_IMODE(each.stat().st_mode) for each in (filled, neighbour, filled.parent)] == [
            0o600, 0o666, 0o755,
        ]  # fmt: skip

    def test_every_directory_that_is_made_for_it_is_private(self, tmp_path):
        before = os.umask(0)
        try:
            with LedgerHandle(tmp_path / "a" / "b" / "ledger.db").hold("sync"):
                pass
        finally:
            os.umask(before)
        assert [stat.S_IMODE((tmp_path / each).stat().st_mode) for each in ("a", "a/b")] == [0o700, 0o700]


class TestLinks:
    def test_one_of_ours_is_followed_and_there_is_one_lock(self, filled, tmp_path):
        link, directory = tmp_path / "link.db", tmp_path / "linked"
        link.symlink_to(filled)
        directory.symlink_to(filled.parent)
        for other in (link, directory / "ledger.db", directory / ".." / "state" / "ledger.db"):
            with LedgerHandle(other).hold("run"), pytest.raises(LedgerHeld), LedgerHandle(filled).hold("sync"):
                pass
            with LedgerHandle(other).read() as glance:
                assert glance.counts()["pending"] == 1
        assert not list(tmp_path.glob("*.lock"))

    def test_one_that_leads_to_no_file_yet_is_followed(self, path, tmp_path):
        link = tmp_path / "link.db"
        link.symlink_to(path)
        assert not LedgerHandle(link).exists()
        with LedgerHandle(link).hold("sync"), LedgerHandle(link).open():
            pass
        assert files(path)
        assert list(tmp_path.glob("link*")) == [link]

    @pytest.mark.parametrize("name", ["link.db", "linked/ledger.db", "again.db"])
    def test_everything_that_is_told_of_the_ledger_s_files_is_told_of_the_real_ones(self, filled, tmp_path, name):
        """While a pass writes, only the log changes, and it stands beside the file, not beside the link."""
        (tmp_path / "link.db").symlink_to(filled)
        (tmp_path / "again.db").symlink_to("link.db")
        (tmp_path / "linked").symlink_to("state")
        link, real = LedgerHandle(tmp_path / name), LedgerHandle(filled)
        with link.hold("run"), link.open() as ledger:
            book(ledger, look(2), watermark=NOW)
            os.utime(filled, (0, 0))
            for handle in (link, real):
                with handle.reports() as glance:
                    assert glance.written_at().year > 2000, "the log is written, so the pass makes progress"
                    assert glance.status(version="1", now=NOW)["ledger"]["bytes"] > filled.stat().st_size
            assert (real.holder() or "").startswith("`syncd run`")
            assert link.holder() == real.holder()
        assert link.private_files() == real.private_files()
        assert all(path.exists() for path in link.private_files())
        assert (link.folder(), link.identity()) == (filled.parent, real.identity())
        filled.unlink()
        assert link.is_gone(), "the link itself is no ledger"

    @ROOT_ONLY
    @EVERY
    @pytest.mark.parametrize("leads_to", ["a ledger", "a text", "nothing"])
    def test_one_of_another_user_is_not_followed_for_root(self, filled, opening, tmp_path, leads_to):
        """Otherwise the service's user could have root make a file or a lock wherever he likes."""
        target = {"a ledger": filled, "a text": tmp_path / "text", "nothing": tmp_path / "none"}[leads_to]
        (tmp_path / "text").write_text("x")
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        os.chown(theirs, NOBODY, NOBODY)
        (theirs / "ledger.db").symlink_to(target)
        os.lchown(theirs / "ledger.db", NOBODY, NOBODY)
        before = state(tmp_path)
        assert "symbolic link of user 65534" in refused(theirs / "ledger.db", opening)
        assert state(tmp_path) == before

    def test_a_relative_path_is_the_same_ledger(self, filled, monkeypatch):
        monkeypatch.chdir(filled.parent)
        with LedgerHandle(Path("ledger.db")).hold("run"), pytest.raises(LedgerHeld), LedgerHandle(filled).hold("sync"):
            pass


@ROOT_ONLY
class TestOwners:
    @EVERY
    def test_a_ledger_of_somebody_else_is_not_root_s_to_use(self, filled, opening):
        os.chown(filled, NOBODY, NOBODY)
        before = state(filled.parent)
        assert "Belongs to user 65534, expected root" in refused(filled, opening)
        assert state(filled.parent) == before

    def test_the_lock_of_somebody_else_is_not_taken(self, filled):
        os.chown(f"{filled}.lock", NOBODY, NOBODY)
        before = state(filled.parent)
        assert "Belongs to user 65534" in refused(filled, "held")
        assert state(filled.parent) == before

    def test_root_by_hand_uses_those_of_whom_the_directory_belongs_to(self, filled):
        for each in (filled.parent, filled, f"{filled}.lock"):
            os.chown(each, NOBODY, NOBODY)
        with LedgerHandle(filled).hold("sync"), LedgerHandle(filled).open() as ledger:
            book(ledger, look(2))
        assert {each.stat().st_uid for each in filled.parent.iterdir()} == {NOBODY}

    @pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL])
    @pytest.mark.parametrize("opening", ["held", "Ledger"])
    def test_root_who_may_not_give_a_file_away_leaves_none_behind(self, path, monkeypatch, opening, number):
        """In a container without CAP_CHOWN, and on a share with root_squash."""

        def fchown(*_):
            raise OSError(number, os.strerror(number))

        os.chown(path.parent, NOBODY, NOBODY)
        monkeypatch.setattr(os, "fchown", fchown)
        with pytest.raises(LedgerError) as caught, OPENINGS[opening](path):
            pass
        made = f"{path}.lock" if opening == "held" else str(path)
        assert f"Cannot be given to user 65534: {os.strerror(number)} ({made})" in caught.value.message
        assert caught.value.hint == (
            f"run syncd as user 65534, to whom {path.parent} belongs, or let root change owners (CAP_CHOWN)"
        )
        assert list(path.parent.iterdir()) == []

    def test_what_somebody_put_in_the_place_of_such_a_file_stays(self, path, monkeypatch):
        lock = Path(f"{path}.lock")

        def fchown(*_):
            lock.rename(path.parent / "moved")
            lock.write_text("theirs")
            raise PermissionError(errno.EPERM, "Operation not permitted")

        os.chown(path.parent, NOBODY, NOBODY)
        monkeypatch.setattr(os, "fchown", fchown)
        refused(path, "held")
        assert lock.read_text() == "theirs"

    def test_a_group_that_cannot_be_given_does_no_harm(self, path, monkeypatch):
        def fchown(*_):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        os.chown(path.parent, 0, NOBODY)
        monkeypatch.setattr(os, "fchown", fchown)
        with LedgerHandle(path).hold("sync"), LedgerHandle(path).open():
            pass

    def test_a_lock_that_was_planted_costs_root_no_file(self, filled, tmp_path):
        """The service's user removes the lock and puts a link to a file of root's in its place."""
        treasure = tmp_path / "treasure"
        treasure.write_text("precious")
        treasure.chmod(0o600)
        for each in (filled.parent, filled):
            os.chown(each, NOBODY, NOBODY)
        lock = Path(f"{filled}.lock")
        for make in (lock.symlink_to, lock.hardlink_to):
            lock.unlink()
            make(treasure)
            before = treasure.stat()
            refused(filled, "held")
            assert treasure.read_text() == "precious"
            assert (treasure.stat().st_uid, treasure.stat().st_mode) == (before.st_uid, before.st_mode)

    @pytest.mark.parametrize("opening", [*OPENINGS, "exists", "holder"])
    def test_a_directory_that_is_closed_to_the_caller_is_an_error_of_74_with_its_remedy(self, filled, opening):
        def act():
            try:
                if opening in OPENINGS:
                    with OPENINGS[opening](filled):
                        return "opened"
                return str(getattr(LedgerHandle(filled), opening)())
            except SyncdError as error:
                return f"{int(error.exit_code)} {error.message} | {error.hint}"

        for each in filled.parents[:-1]:
            if each.name != "tmp" and each != filled.parent:
                each.chmod(0o711)
        said = as_user(NOBODY, act)
        assert said.startswith("74 ")
        assert "Permission denied" in said
        assert "let syncd's user write there" in said

    def test_another_user_makes_and_narrows_his_own(self, tmp_path):
        """Without any right of root's, and unable to look into his own /proc: as after `cores.forbid`."""
        home = tmp_path / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        for each in home.parents[:-1]:
            if each.name != "tmp":
                each.chmod(0o711)

        def act():
            path = home / "ledger.db"
            for _ in range(2):
                with LedgerHandle(path).hold("sync"), LedgerHandle(path).open():
                    pass
                path.chmod(0o644)
            with LedgerHandle(path).open():
                return oct(stat.S_IMODE(path.stat().st_mode))

        assert as_user(NOBODY, act) == "0o600"


@pytest.mark.parametrize(("number", "remedy"), [(errno.EPERM, "chown"), (errno.EROFS, "where it can")])
def test_a_message_quotes_no_path_of_proc(filled, monkeypatch, number, remedy):
    def refuse(handle):
        raise OSError(number, os.strerror(number), f"/proc/self/fd/{handle}")

    monkeypatch.setattr(file.files, "make_private", refuse)
    with pytest.raises(LedgerError) as caught, LedgerHandle(filled).open():
        pass
    assert f"{os.strerror(number)} ({filled})" in caught.value.message
    assert remedy in caught.value.hint


def test_a_log_of_nonsense_is_nothing(path):
    for content in (b"", b"x" * 20, b"x" * 5000):
        path.write_bytes(b"")
        Path(f"{path}-wal").write_bytes(content)
        assert place.is_ours(path)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(sqlite3.DatabaseError):
        place.is_ours(path)
