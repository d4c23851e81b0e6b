"""The ledger as a file: made private, migrated or refused, held by one, and whole again after every fault."""

import errno
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.errors import LedgerError, LedgerHeld
from syncd.ledger import AttemptResult, LedgerHandle, file, reader, schema
from syncd.lifecycle.states import Verdict
from tests.disks import fill, mounted, read_only
from tests.ledgers import DAY, NOW, SECOND, ask, book, due, due_names, files, sound, stranger
from tests.ledgers import reading as look

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def filled(path):
    """A ledger with one activity, closed."""
    with opened(path) as ledger:
        book(ledger, look(1), watermark=NOW)
    return path


def opened(path):
    return LedgerHandle(path).open()


def read(path):
    return LedgerHandle(path).read()


def operated(path):
    return LedgerHandle(path).operate()


def held(path, command="sync"):
    return LedgerHandle(path).hold(command)


def refused(path, opening=opened):
    """Return the error of opening a file that cannot be a ledger."""
    with pytest.raises(LedgerError) as caught, opening(path):
        pass
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 74
    return caught.value


class TestOpening:
    def test_it_is_made_with_its_directories_at_first_sight(self, tmp_path):
        path = tmp_path / "a" / "b" / "ledger.db"
        with opened(path) as ledger:
            assert ledger.counts() == dict.fromkeys(reader.STATES, 0)
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700

    def test_its_files_are_its_owner_s_alone_even_under_a_generous_umask(self, path):
        before = os.umask(0)
        try:
            with held(path, "sync"), opened(path) as ledger:
                book(ledger, look(1))
                parts = [*files(path), Path(f"{path}.lock")]
                assert len(parts) == 4
                assert {stat.S_IMODE(part.stat().st_mode) for part in parts} == {0o600}
        finally:
            os.umask(before)

    def test_one_that_was_made_readable_for_others_is_closed_to_them_again(self, filled):
        filled.chmod(0o644)
        with opened(filled) as ledger:
            book(ledger, look(2))
            assert {stat.S_IMODE(part.stat().st_mode) for part in files(filled)} == {0o600}

    def test_it_survives_power_loss_and_forgets_what_it_erases(self, path):
        with opened(path) as ledger:
            pragmas = {
                name: ledger._db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "auto_vacuum")
            }
        full, on, incremental = 2, 1, 2
        assert pragmas == {
            "journal_mode": "wal", "synchronous": full, "secure_delete": on, "foreign_keys": on,
            "auto_vacuum": incremental,
        }  # fmt: skip

    def test_what_it_keeps_in_memory_does_not_grow_with_the_file(self, path):
        with opened(path) as ledger:
            assert ledger._db.execute("PRAGMA cache_size").fetchone()[0] == -8 * 1024

    def test_every_table_is_strict(self, filled):
        strict = dict(
            ask(filled, "SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        )
        assert set(strict) == {
            "sources", "streams", "activities", "payloads", "posts", "past_attempts", "pauses", "store", "passes",
            "operator", "recotap", "counts", "days", "ranges", "keys", "twins", "forgotten",
        }  # fmt: skip
        assert set(strict.values()) == {1}

    def test_what_was_booked_is_there_when_it_is_opened_again(self, filled):
        with opened(filled) as ledger:
            assert due_names(ledger) == ["1"]
            assert ledger.stream("hubspot", "calls").watermark == NOW

    def test_a_glance_sees_what_the_writer_has_committed_and_only_that(self, filled):
        with opened(filled) as ledger, read(filled) as glance:
            with ledger.transaction():
                book(ledger, look(2))
                assert glance.counts()["pending"] == 1
            assert glance.counts()["pending"] == 2

    def test_a_writer_that_is_closed_leaves_one_file(self, filled):
        assert files(filled) == [filled]


class TestVersions:
    def renew(self, monkeypatch, *steps):
        """Let this syncd know further schema versions."""
        migrations = (*schema.MIGRATIONS, *steps)
        monkeypatch.setattr(file, "MIGRATIONS", migrations)
        monkeypatch.setattr(file, "VERSION", len(migrations))

    def test_a_new_ledger_carries_the_latest_version(self, filled):
        assert ask(filled, "PRAGMA user_version") == [(schema.VERSION,)]

    def test_a_newer_one_is_refused_by_everyone_and_not_a_byte_of_it_changes(self, filled):
        with stranger(filled) as db:
            db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = filled.read_bytes()
        for opening in (opened, read, operated):
            error = refused(filled, opening)
            assert f"schema {schema.VERSION + 1}, newer than this syncd's {schema.VERSION}" in error.message
            assert error.hint == "install the syncd that wrote it, or a later one. Nothing was changed"
        assert filled.read_bytes() == before

    def test_an_older_one_is_brought_up_to_date_with_all_that_it_holds(self, filled, monkeypatch):
        def second(db):
            db.execute("ALTER TABLE activities ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")

        def third(db):
            db.execute("UPDATE activities SET colour = 'red'")

        self.renew(monkeypatch, second, third)
        with opened(filled) as ledger:
            assert due_names(ledger) == ["1"]
        assert ask(filled, "SELECT colour FROM activities") == [("red",)]
        assert ask(filled, "PRAGMA user_version") == [(schema.VERSION + 2,)]

    def test_one_that_is_up_to_date_is_not_migrated_again(self, filled, monkeypatch):
        self.renew(monkeypatch, lambda db: db.execute("CREATE TABLE once (a) "))
        for _ in range(2):
            with opened(filled):
                pass
        assert ask(filled, "PRAGMA user_version") == [(schema.VERSION + 1,)]

    @pytest.mark.parametrize("failure", [sqlite3.OperationalError("no"), KeyboardInterrupt()])
    def test_a_migration_that_fails_half_way_leaves_the_older_ledger_as_it_was(self, filled, monkeypatch, failure):
        def half_done(db):
            db.execute("ALTER TABLE activities ADD COLUMN colour TEXT")
            db.execute("DELETE FROM payloads")
            raise failure

        schemas = ask(filled, "SELECT sql FROM sqlite_schema")
        with monkeypatch.context() as patch:
            self.renew(patch, half_done)
            with pytest.raises((LedgerError, KeyboardInterrupt)), opened(filled):
                pass
        assert ask(filled, "SELECT sql FROM sqlite_schema") == schemas
        with opened(filled) as ledger:
            assert due_names(ledger) == ["1"]

    def test_who_only_looks_does_not_migrate_and_says_what_does(self, filled, monkeypatch):
        self.renew(monkeypatch, lambda db: None)
        for opening in (read, operated):
            error = refused(filled, opening)
            found = schema.VERSION
            assert error.message.endswith(f"is of an older syncd (schema {found}, this one reads {found + 1})")
            assert error.hint == file.MIGRATE
        assert ask(filled, "PRAGMA user_version") == [(schema.VERSION,)]

    def test_a_crash_between_making_the_file_and_its_tables_costs_nothing(self, path):
        path.touch()
        error = refused(path, read)
        assert "empty" in error.message
        assert error.hint == "the next `syncd sync` fills it"
        with opened(path) as ledger:
            assert ledger.balanced()


class TestNotALedger:
    def test_who_only_looks_makes_none(self, path):
        for opening in (read, operated):
            error = refused(path, opening)
            assert "there is no ledger" in error.message
            assert "syncd sync" in error.hint
        assert not path.exists()

    @pytest.mark.parametrize("opening", [opened, read])
    def test_a_text_file_is_refused_and_left_as_it_is(self, path, opening):
        path.write_text("my shopping list\n" * 100)
        assert "it is not a ledger" in refused(path, opening).message
        assert path.read_text() == "my shopping list\n" * 100

    @pytest.mark.parametrize("opening", [opened, read])
    @pytest.mark.parametrize("version", [0, 1])
    def test_another_program_s_database_is_refused_and_left_as_it_is(self, path, opening, version):
        with stranger(path) as db:
            db.execute("CREATE TABLE songs (title)")
            db.execute(f"PRAGMA user_version = {version}")
        before = path.read_bytes()
        assert "it is not a ledger" in refused(path, opening).message
        assert path.read_bytes() == before

    @pytest.mark.parametrize("opening", [opened, read])
    def test_a_directory_is_refused(self, path, opening):
        path.mkdir()
        hint = f"set [ledger] path to a file, e.g. {path / 'ledger.db'}. Nothing was changed"
        assert refused(path, opening).hint == hint

    def test_a_directory_that_is_a_file_is_refused_by_everyone(self, tmp_path):
        path = tmp_path / "file" / "ledger.db"
        path.parent.write_text("")
        refused(path)
        refused(path, read)
        refused(path, held)

    def test_a_name_that_no_file_can_have_is_refused_by_everyone(self, tmp_path):
        path = tmp_path / ("x" * 300)
        for opening in (opened, read, held):
            assert os.strerror(errno.ENAMETOOLONG) in refused(path, opening).message

    def test_one_in_a_directory_that_is_closed_to_us_is_refused_with_what_to_do(self, filled):
        """As another user, who may not even ask whether the file exists."""
        if os.geteuid() != 0:
            pytest.skip("needs root, to become another user")
        filled.parent.chmod(0o700)
        script = """
            import os, sys
            from pathlib import Path
            from syncd.errors import LedgerError
            from syncd.ledger import LedgerHandle
            os.setegid(65534), os.seteuid(65534)
            ledger = LedgerHandle(Path(sys.argv[1]))
            for opening in (ledger.read, ledger.open, lambda: ledger.hold("sync")):
                try:
                    with opening():
                        print("opened")
                except LedgerError as error:
                    print(error.message, "|", error.hint)
        """
        said = run(script, filled)
        assert said.count("Permission denied") == 3
        assert said.count("let syncd's user write there") == 3


def run(script, *arguments, **more):
    """Run a few lines of Python in a process of their own. Returns their output."""
    lines = script.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    code = "\n".join(line[indent:] for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestDamage:
    def test_a_cut_file_is_damaged_and_says_so(self, filled):
        with filled.open("r+b") as part:
            part.truncate(filled.stat().st_size // 2)
        with pytest.raises(LedgerError, match="it is damaged") as caught, opened(filled) as ledger:
            book(ledger, look(2))
        assert "restore a backup" in caught.value.hint

    def test_an_overwritten_page_is_found_by_whoever_reads_it_and_by_check(self, filled):
        ((page,),) = ask(filled, "SELECT rootpage FROM sqlite_schema WHERE name = 'activities'")
        with filled.open("r+b") as part:
            part.seek((page - 1) * 4096)
            part.write(b"\xff" * 4096)
        with pytest.raises(LedgerError, match="it is damaged"), LedgerHandle(filled).reports() as glance:
            glance.status(version="1", now=NOW)
        with pytest.raises(LedgerError, match="it is damaged"), opened(filled) as ledger:
            book(ledger, look(2))
        with LedgerHandle(filled).examine() as found:
            assert not found.sound()

    def test_a_whole_one_is_sound(self, filled):
        with LedgerHandle(filled).examine() as found:
            assert found.sound()

    def test_a_bug_of_ours_is_not_taken_for_a_fault_of_the_disk(self, filled):
        with opened(filled) as ledger, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            book(ledger, look(1), stream="emails")  # two streams that claim one externalActivityId

    @pytest.mark.parametrize(
        ("name", "what", "hint"),
        [
            ("SQLITE_FULL", "the disk is full", "make room. Nothing booked is lost"),
            ("SQLITE_IOERR_SHMSIZE", "the disk is full", "make room. Nothing booked is lost"),
            ("SQLITE_READONLY_DIRECTORY", "it is read-only", "write the file and its directory"),
            ("SQLITE_CANTOPEN_ISDIR", "it cannot be opened", "write the directory"),
            ("SQLITE_PERM", "it may not be opened", "write the directory"),
            ("SQLITE_CORRUPT_INDEX", "it is damaged", "restore a backup"),
            ("SQLITE_NOTADB", "it is not a ledger", "set [ledger] path to the ledger, or move"),
            ("SQLITE_BUSY_SNAPSHOT", "another program holds it locked", "end the program that has it open"),
            ("SQLITE_LOCKED_SHAREDCACHE", "another program holds it locked", "end the program that has it open"),
            ("SQLITE_IOERR_FSYNC", "the disk answers with errors", "the kernel's log"),
            ("SQLITE_TOOBIG", "SQLite says SQLITE_TOOBIG", "syncd check"),
            ("", "SQLite says OperationalError", "syncd check"),
            (None, "SQLite says OperationalError", "syncd check"),
        ],
    )
    def test_each_fault_says_what_it_is_and_what_to_do(self, path, name, what, hint):
        error = sqlite3.OperationalError("whatever it says")
        if name is not None:
            error.sqlite_errorname = name
        with pytest.raises(LedgerError) as caught, file.explained(path):
            raise error
        assert caught.value.message == f"the ledger at {path} cannot be used: {what}"
        assert hint in caught.value.hint
        assert caught.value.__cause__ is error


class TestReadOnly:
    def test_a_read_only_file_system_is_refused_with_what_to_do(self, tmp_path):
        with mounted(tmp_path / "disk", "size=2m") as disk:
            path = disk / "ledger.db"
            with opened(path) as ledger:
                book(ledger, look(1))
            read_only(disk)
            before = path.read_bytes()
            for opening in (opened, held):
                error = refused(path, opening)
                assert "Read-only file system" in error.message
                assert "where it can" in error.hint
            refused(path, read)
            assert path.read_bytes() == before

    def test_one_that_turns_read_only_under_way_keeps_what_was_booked(self, path):
        """An ext4 with errors does this. No mount with open files turns read-only, so the test does it by hand."""
        with opened(path) as ledger:
            book(ledger, look(1))
            ledger._db.execute("PRAGMA query_only = ON")
            with pytest.raises(LedgerError, match="it is read-only"):
                book(ledger, look(2))
            assert ledger.counts()["pending"] == 1
            assert ledger.balanced()


class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path):
        with mounted(tmp_path / "disk", "size=1200k") as disk:
            yield disk

    def test_it_cannot_be_made_there_and_says_why(self, disk):
        fill(disk)
        error = refused(disk / "ledger.db")
        assert "the disk is full" in error.message
        assert "make room" in error.hint

    def test_where_there_is_no_room_for_one_more_file_it_is_full_too(self, tmp_path):
        with mounted(tmp_path / "no-inodes", "size=1m,nr_inodes=1") as disk:
            for opening in (opened, held):
                error = refused(disk / "ledger.db", opening)
                assert "the disk is full" in error.message
                assert "make room" in error.hint

    def test_it_can_be_held_there_only_without_a_name(self, disk):
        """`sync` then reports that the disk is full, not that the lock failed."""
        fill(disk)
        path = disk / "ledger.db"
        with held(path, "sync"), pytest.raises(LedgerHeld, match="held by another syncd"), held(path, "sync"):
            pass

    def test_a_page_that_does_not_fit_is_booked_not_at_all_and_whole_once_there_is_room(self, disk):
        with opened(disk / "ledger.db") as ledger:
            book(ledger, look(1), watermark=NOW)
            filler = fill(disk)
            page = [look(crm_id, note="x" * 2000) for crm_id in range(2, 102)]
            with pytest.raises(LedgerError, match="the disk is full"):
                book(ledger, *page, watermark=NOW + DAY)
            with pytest.raises(LedgerError, match=f"{ledger.handle.path} cannot be used: the disk is full"):
                ledger.tidy()
            assert ledger.counts()["pending"] == 1
            assert ledger.stream("hubspot", "calls").watermark == NOW
            assert ledger.balanced()
            assert sound(ledger)
            filler.unlink()
            assert book(ledger, *page, watermark=NOW + DAY).new == 100
            assert ledger.stream("hubspot", "calls").watermark == NOW + DAY
            assert ledger.balanced()

    def test_verdicts_that_do_not_fit_are_taken_for_unknown_afterwards(self, disk):
        path = disk / "ledger.db"
        with opened(path) as ledger:
            book(ledger, *(look(crm_id, note="x" * 2000) for crm_id in range(50)))
            claim = ledger.intend(due(ledger), now=NOW)
            ledger.tidy()  # or the verdicts would find room in the WAL
            filler = fill(disk)
            created = [AttemptResult(each.id, Verdict.CREATED) for each in claim.activities]
            with pytest.raises(LedgerError, match="the disk is full"):
                ledger.record_verdicts(claim.post_id, created, now=NOW, max_age=DAY, random=lambda: 0.0)
            assert ledger.counts()["pending"] == 50
        filler.unlink()
        with opened(path) as ledger:
            assert ledger.recover(now=NOW) == 50
            assert sound(ledger)
            claim = ledger.intend(due(ledger), now=NOW)
            assert [claimed.unknown for claimed in claim.activities] == [True] * 50
            duplicates = [AttemptResult(each.id, Verdict.DUPLICATE) for each in claim.activities]
            ledger.record_verdicts(claim.post_id, duplicates, now=NOW, max_age=DAY, random=lambda: 0.0)
            assert ledger.counts()["delivered"] == 50

    def test_one_that_stands_on_a_full_disk_says_so_to_whoever_opens_it(self, disk):
        path = disk / "ledger.db"
        with opened(path) as ledger:
            book(ledger, look(1))
        filler = fill(disk)
        for opening in (opened, read, operated):
            assert "the disk is full" in refused(path, opening).message
        filler.unlink()
        with read(path) as glance:
            assert glance.counts()["pending"] == 1


HOLDER = """
    import sys
    from pathlib import Path
    from syncd.ledger import LedgerHandle
    with LedgerHandle(Path(sys.argv[1])).hold("run"):
        print("held", flush=True)
        sys.stdin.read()
"""


class TestHeld:
    @pytest.fixture
    def holder(self, path):
        code = "\n".join(line[4:] for line in HOLDER.strip("\n").splitlines())
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout.readline() == "held\n"
            yield process
            process.kill()

    def test_a_second_one_is_refused_at_once_and_told_who_has_it(self, path, holder):
        with pytest.raises(LedgerHeld) as caught, held(path, "sync"):
            pass
        assert caught.value.message == f"the ledger at {path} is held by `syncd run`, process {holder.pid}"
        assert caught.value.hint == "let it finish, or stop it. Two at once would not be safe"
        assert caught.value.exit_code == 75

    def test_being_refused_takes_nothing_from_the_holder(self, path, holder):
        for _ in range(2):
            with pytest.raises(LedgerHeld, match=f"process {holder.pid}"), held(path, "sync"):
                pass

    def test_a_killed_holder_leaves_nothing_behind(self, path, holder):
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with held(path, "sync"):
            assert json.loads(Path(f"{path}.lock").read_text()) == {"pid": os.getpid(), "command": "sync"}

    def test_a_link_to_it_is_the_same_ledger(self, path, tmp_path):
        path.touch()
        link = tmp_path / "link.db"
        link.symlink_to(path)
        with held(link, "run"), pytest.raises(LedgerHeld, match="`syncd run`"), held(path, "sync"):
            pass

    def test_a_lock_file_that_was_removed_under_its_holder_is_made_anew(self, path):
        with held(path, "run"):
            Path(f"{path}.lock").unlink()
        with held(path, "sync"), pytest.raises(LedgerHeld, match="`syncd sync`"), held(path, "run"):
            pass

    def test_a_shorter_name_leaves_nothing_of_a_longer_one(self, path):
        for command in ("backfill --since 2026-01-01", "run"):
            with held(path, command), pytest.raises(LedgerHeld, match=f"`syncd {command}`"), held(path, "sync"):
                pass

    def test_it_is_let_go_when_what_was_done_under_it_fails(self, path):
        with pytest.raises(KeyError), held(path, "sync"):
            raise KeyError
        with held(path, "sync"):
            pass

    def test_a_child_of_the_holder_does_not_hold_on(self, path):
        code = "print('up', flush=True); input()"
        with held(path, "run"):
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
            )
            assert child.stdout.readline() == "up\n"
        with child:
            with held(path, "sync"):
                pass
            child.communicate("\n")

    def test_who_only_looks_or_retries_does_not_need_to_hold_it(self, filled, holder):
        with read(filled) as glance:
            assert glance.counts()["pending"] == 1
        with operated(filled) as operator:
            assert operator.retry(["1"], state=None, reason=None, now=NOW) == 1

    @pytest.mark.parametrize("content", ["", "not json", "[]", '"run"', '{"pid": 1}', "{}"])
    def test_a_holder_without_a_readable_name_is_another_syncd(self, path, content):
        with held(path, "sync"):
            Path(f"{path}.lock").write_text(content)
            with pytest.raises(LedgerHeld, match="held by another syncd$"), held(path, "run"):
                pass

    def test_a_lock_that_is_a_directory_is_explained(self, path):
        Path(f"{path}.lock").mkdir()
        assert f"Is a directory ({path}.lock)" in refused(path, held).message


class TestBusy:
    def test_a_writer_waits_for_another_that_is_done_soon(self, filled):
        """The other one commits while this one already waits."""
        script = """
            import sqlite3, sys, time
            db = sqlite3.connect(sys.argv[1], isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            time.sleep(0.3)
            db.execute("COMMIT")
        """
        code = "\n".join(line[12:] for line in script.strip("\n").splitlines())
        with subprocess.Popen([sys.executable, "-c", code, str(filled)], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "locked\n"
            with opened(filled) as ledger:
                assert book(ledger, look(2)).new == 1

    def test_a_writer_that_is_never_let_in_says_so_and_nothing_is_booked(self, filled, monkeypatch):
        monkeypatch.setattr(file, "BUSY_MS", 50)
        with stranger(filled) as other, opened(filled) as ledger:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match="another program holds it locked"):
                book(ledger, look(2))
            other.execute("COMMIT")
            assert book(ledger, look(2)).new == 1
            assert ledger.balanced()

    def test_a_transaction_has_the_file_to_itself_from_its_first_moment(self, filled, monkeypatch):
        """Else a `retry` between its first read and its first write would make it fail instead of wait."""
        monkeypatch.setattr(file, "OPERATOR_MS", 50)
        with opened(filled) as ledger, operated(filled) as operator, ledger.transaction():
            with pytest.raises(LedgerError, match="another program holds it locked"):
                operator.retry([], state=None, reason=None, now=NOW)
            assert book(ledger, look(2)).new == 1

    def test_a_retry_that_is_never_let_in_says_so_too(self, filled, monkeypatch):
        monkeypatch.setattr(file, "OPERATOR_MS", 50)
        with stranger(filled) as other, operated(filled) as operator:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match=f"{filled} cannot be used: another program holds it locked"):
                operator.retry([], state=None, reason=None, now=NOW)

    def test_it_has_five_seconds(self, filled):
        with opened(filled) as ledger:
            assert ledger._db.execute("PRAGMA busy_timeout").fetchone() == (5000,)

    def test_a_reader_never_waits_for_a_writer(self, filled):
        with opened(filled) as ledger, ledger.transaction():
            book(ledger, look(2))
            with LedgerHandle(filled).reports() as glance:
                assert glance.status(version="1", now=NOW)["seen"] == 1

    def test_a_look_that_lasts_does_not_keep_a_pass_from_ending(self, filled, monkeypatch):
        monkeypatch.setattr(file, "BUSY_MS", 50)
        with opened(filled) as ledger, stranger(filled) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM activities").fetchall()
            book(ledger, look(2), now=NOW + SECOND)
            ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
            other.execute("COMMIT")
            ledger.end_pass(ledger.begin_pass(NOW), exit_code=0, now=NOW)
            assert Path(f"{filled}-wal").stat().st_size == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give files away")
class TestMadeByRoot:
    """A pass that root makes by hand does not close the ledger to the service whose directory it is."""

    def test_what_root_makes_belongs_to_whom_the_directory_belongs_to(self, tmp_path):
        directory = tmp_path / "state"
        directory.mkdir()
        os.chown(directory, 4711, 4712)
        path = directory / "ledger.db"
        with held(path, "sync"), opened(path) as ledger:
            book(ledger, look(1))
            made = {part.name: part.stat() for part in directory.iterdir()}
            assert set(made) == {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"}
            assert {(status.st_uid, status.st_gid) for status in made.values()} == {(4711, 4712)}
            assert made["ledger.db"].st_mode & 0o777 == 0o600

    def test_a_ledger_that_is_there_keeps_its_owner(self, filled):
        os.chown(filled.parent, 4711, 4712)
        with opened(filled) as ledger:
            book(ledger, look(2))
        assert filled.stat().st_uid == 0
