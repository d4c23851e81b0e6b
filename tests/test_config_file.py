"""The files of configuration and keys: their owners, their kinds, and the reports of mistakes in them."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import load, reading, syntax
from syncd.connector import Source
from syncd.errors import ConfigError, Problem
from syncd.types.secrets import Secret
from tests.conftest import Command
from tests.planted import KINDS, NOBODY, ROOT_ONLY, as_user, plant, state
from tests.world import World

ROOT = Path(__file__).parent.parent
TEXT = """
[recotap]
api_key = "env:OPEN_KEY"
[sources.drop]
connector = "jsonl"
path = "/tmp"
start = 2026-01-01T00:00:00Z
"""
NOT_A_FILE = [kind for kind in KINDS if kind not in ("link to a file", "hard link")]


def mistake(file: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, secrets=False)
    assert caught.value.exit_code == 78
    return caught.value.problems[0]


def told(text: str, tmp_path: Path) -> Problem:
    file = tmp_path / "syncd.toml"
    file.write_bytes(text.encode())
    return mistake(file)


class TestTheFile:
    @pytest.mark.parametrize("kind", NOT_A_FILE)
    def test_something_else_is_one_mistake_and_nobody_waits(self, tmp_path, kind):
        file = plant(kind, tmp_path / "syncd.toml")
        problem = mistake(file)
        expected = {"link to itself": "Too many levels", "dangling link": "No such file", "link to a directory":
                    "Is a directory", "link to a device": "Is a device"}  # fmt: skip
        assert problem.message.startswith(f"cannot be read: {expected.get(kind, f'Is a {kind}')}")
        remedy = {"dangling link": "it is a broken link: correct it, or name another file",
                  "link to itself": "name a file that syncd's user can read"}  # fmt: skip
        assert problem.hint == remedy.get(kind, problem.hint) != ""

    @pytest.mark.parametrize("levels", [1, 3])
    def test_a_link_is_followed_as_kubernetes_mounts_one(self, tmp_path, levels):
        (tmp_path / "..data").mkdir()
        (tmp_path / "..data" / "syncd.toml").write_text(TEXT)
        link = tmp_path / "..data" / "syncd.toml"
        for level in range(levels):
            (tmp_path / f"link{level}").symlink_to(link)
            link = tmp_path / f"link{level}"
        assert load(link, environ={}, secrets=False).sources

    @ROOT_ONLY
    def test_one_of_somebody_else_is_refused_with_its_remedy(self, tmp_path):
        file, link = tmp_path / "syncd.toml", tmp_path / "link"
        file.write_text(TEXT)
        link.symlink_to(file)
        os.chown(file, NOBODY, NOBODY)
        for each in (file, link):
            assert "Belongs to user 65534, expected root" in mistake(each).message
            assert "chown" in mistake(each).hint

    def test_one_without_an_end_is_refused_at_once(self, tmp_path):
        with (tmp_path / "syncd.toml").open("wb") as file:
            file.truncate(300 * 2**30)
        assert "larger than 1,048,576 bytes" in mistake(tmp_path / "syncd.toml").message

    def test_the_output_of_a_command_is_refused(self, tmp_path):
        """`syncd check -c <(…)` with a command that never writes."""
        line = f"{sys.executable} -m syncd check -c <(sleep 5)"
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 78
        assert "Is a FIFO" in done.stderr
        assert "write it to a file, and name that" in done.stderr

    @ROOT_ONLY
    def test_one_in_a_directory_that_is_closed_to_the_caller_is_not_called_absent(self, tmp_path, monkeypatch):
        file = tmp_path / "etc" / "syncd.toml"
        file.parent.mkdir(mode=0o700)
        file.write_text(TEXT)
        for each in tmp_path.parents[:-1]:
            if each.name != "tmp":
                each.chmod(0o711)
        tmp_path.chmod(0o711)
        monkeypatch.setattr(reading, "SEARCHED", (file,))

        def act():
            try:
                return str(load(environ={}, secrets=False))
            except ConfigError as error:
                return f"{error.problems[0].message} | {error.problems[0].hint}"

        assert as_user(NOBODY, act).startswith("cannot be read: Permission denied | give syncd's user the right")


class TestTheFileOfTheCurrentDirectory:
    @pytest.fixture
    def here(self, tmp_path, monkeypatch):
        file = tmp_path / "config" / "syncd.toml"
        file.parent.mkdir(mode=0o755)
        file.write_text(TEXT)
        tmp_path.chmod(0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(reading, "SEARCHED", (Path("config/syncd.toml"), tmp_path / "etc.toml"))
        (tmp_path / "etc.toml").write_text(TEXT)
        return tmp_path

    def test_it_is_used_if_it_and_its_directories_are_ours(self, here):
        assert load(environ={}, secrets=False).path == Path("config/syncd.toml")

    @ROOT_ONLY
    @pytest.mark.parametrize("name", ["", "config", "config/syncd.toml"])
    @pytest.mark.parametrize("how", ["another user's", "for everybody", "for a group", "sticky"])
    def test_it_is_refused_and_not_passed_over_if_another_user_could_have_put_it_there(self, here, name, how):
        place = here / name
        match how:
            case "another user's":
                os.chown(place, NOBODY, 0)
            case "for a group":
                os.chown(place, 0, NOBODY)
                place.chmod(0o775)
            case _:
                place.chmod(0o1777 if how == "sticky" else 0o777)
        with pytest.raises(ConfigError, match="of the current directory is not used") as caught:
            load(environ={}, secrets=False)
        remedy = "if you trust it, name it: syncd -c config/syncd.toml. Otherwise run syncd in another directory"
        assert caught.value.hint == remedy
        assert ("user 65534" in caught.value.message) == (how == "another user's")
        named = {"SYNCD_CONFIG": "config/syncd.toml"}
        if name != "config/syncd.toml" or how != "another user's":
            assert load(environ=named, secrets=False).sources, "whoever names it trusts it"

    @ROOT_ONLY
    @pytest.mark.parametrize("link", ["config", "config/syncd.toml"])
    def test_a_link_there_is_judged_too_and_so_is_what_it_leads_to(self, here, link):
        path, target = here / link, here / "target"
        path.rename(target)
        path.symlink_to(target)
        assert load(environ={}, secrets=False).sources
        os.lchown(path, NOBODY, NOBODY)
        with pytest.raises(ConfigError, match="belongs to user 65534"):
            load(environ={}, secrets=False)
        os.lchown(path, 0, 0)
        os.chown(target, NOBODY, NOBODY)
        with pytest.raises(ConfigError, match="belongs to user 65534"):
            load(environ={}, secrets=False)

    @ROOT_ONLY
    def test_root_s_file_and_his_own_with_his_group_are_fine_for_another_user(self, here):
        for each in here.parents[:-1]:
            if each.name != "tmp":
                each.chmod(0o711)
        os.chown(here / "config", NOBODY, NOBODY)
        (here / "config").chmod(0o775)
        assert as_user(NOBODY, lambda: str(load(environ={}, secrets=False).path)) == "config/syncd.toml"

    @ROOT_ONLY
    @pytest.mark.parametrize("name", ["", "config"])
    def test_a_directory_that_the_caller_may_not_enter_has_no_file_for_him(self, here, monkeypatch, name):
        """`runuser -u syncd -- syncd status`, in root's home."""
        (here / name).chmod(0o700)
        etc = here.with_name(f"{here.name}-etc.toml")
        etc.write_text(TEXT)
        for each in here.parents[:-1]:
            if each.name != "tmp":
                each.chmod(0o711)
        monkeypatch.setattr(reading, "SEARCHED", (Path("config/syncd.toml"), etc))
        assert as_user(NOBODY, lambda: str(load(environ={}, secrets=False).path)) == str(etc)
        monkeypatch.setattr(reading, "SEARCHED", (Path("config/syncd.toml"), etc / "none"))
        said = as_user(NOBODY, lambda: str(load(environ={}, secrets=False).path))
        assert said.startswith("ConfigError: no configuration found: looked for config/syncd.toml and ")
        named = {"SYNCD_CONFIG": "config/syncd.toml"}
        assert "ConfigError: 1 mistake in config/syncd.toml" in as_user(NOBODY, lambda: str(load(environ=named)))

    @pytest.mark.parametrize(
        ("error", "used"),
        [(PermissionError(13, "Permission denied"), True), (FileNotFoundError(2, "No such file or directory"), True),
         (NotADirectoryError(20, "Not a directory"), True), (OSError(40, "Too many levels"), False),
         (OSError(116, "Stale file handle"), False)],
    )  # fmt: skip
    def test_where_nobody_can_look_for_it_the_next_is_used_or_it_is_a_mistake(self, here, monkeypatch, error, used):
        real = Path.lstat

        def lstat(self):
            if not self.is_absolute():
                raise error
            return real(self)

        monkeypatch.setattr(Path, "lstat", lstat)
        if used:
            assert load(environ={}, secrets=False).path == here / "etc.toml"
            return
        with pytest.raises(ConfigError) as caught:
            load(environ={}, secrets=False)
        assert error.strerror in caught.value.problems[0].message
        assert caught.value.problems[0].hint

    def test_a_current_directory_that_was_removed_has_no_file(self, here, monkeypatch):
        gone = here / "gone"
        gone.mkdir()
        (here / "state").mkdir()
        (here / "link").symlink_to("state")
        (here / "etc.toml").write_text(f'{TEXT}[ledger]\npath = "{here}/link/ledger.db"\n')
        monkeypatch.chdir(gone)
        gone.rmdir()
        config = load(environ={}, secrets=False)
        assert (config.path, config.ledger.path) == (here / "etc.toml", here / "state" / "ledger.db")

    def test_sync_names_the_file_first_unless_the_operator_did(self, live: World, command: Command, monkeypatch):
        monkeypatch.setenv("SYNCD_CONFIG", str(live.config_file))
        first = command("sync").err.splitlines()[0]
        assert '"config.found"' in first
        assert str(live.config_file) in first
        assert "config.found" not in command("sync", "-c", live.config_file).err
        assert command("status", "--json").out.startswith("{")


class TestKeys:
    @pytest.mark.parametrize("scheme", ["file", "credential"])
    @pytest.mark.parametrize("kind", NOT_A_FILE)
    def test_something_else_in_the_place_of_a_key_is_refused_and_nobody_waits(
        self, tmp_path, monkeypatch, scheme, kind
    ):
        plant(kind, tmp_path / "key")
        before = state(tmp_path)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        name = {"file": str(tmp_path / "key"), "credential": "key"}[scheme]
        with pytest.raises(ValueError, match=r"is not used: it is a |cannot be read \((No such|Too many)"):
            Secret.parse(f"{scheme}:{name}").read()
        assert state(tmp_path) == before

    @pytest.mark.parametrize("scheme", ["file", "credential"])
    @pytest.mark.parametrize(
        ("name", "said"),
        [("none", "No such file or directory"), ("plain/key", "Not a directory"), ("k" * 300, "File name too long"),
         ("latin", "not UTF-8 text")],
    )  # fmt: skip
    def test_a_key_that_cannot_be_read_is_told_in_the_words_of_the_system(
        self, tmp_path, monkeypatch, scheme, name, said
    ):
        (tmp_path / "plain").write_text("")
        (tmp_path / "latin").write_bytes(b"k\xe9y")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        where = tmp_path / name if scheme == "file" else name
        with pytest.raises(ValueError, match=rf"cannot be read \({said}\)"):
            Secret.parse(f"{scheme}:{where}").read()

    def test_a_link_to_a_key_is_followed(self, tmp_path):
        plant("link to a file", tmp_path / "key", target=b"the-key\n")
        assert Secret.parse(f"file:{tmp_path / 'key'}").read_line() == "the-key"

    @ROOT_ONLY
    def test_a_key_of_somebody_else_is_refused_with_its_remedy(self, tmp_path):
        (tmp_path / "key").write_text("k")
        os.chown(tmp_path / "key", NOBODY, NOBODY)
        with pytest.raises(ValueError, match=r"belongs to user 65534, expected root; give it to .* \(chown\)"):
            Secret.parse(f"file:{tmp_path / 'key'}").read()

    def test_a_key_has_a_bound_and_may_begin_with_a_mark_of_its_encoding(self, tmp_path):
        key = tmp_path / "key"
        key.write_bytes(b"\xef\xbb\xbfthe-key\r\n")
        assert Secret.parse(f"file:{key}").read_line() == "the-key"
        key.write_bytes(b"x" * (64 * 1024 + 1))
        with pytest.raises(ValueError, match="larger than 65,536 bytes"):
            Secret.parse(f"file:{key}").read()
        with pytest.raises(ValueError, match="expected env:NAME"):
            Secret.parse("file:/x\0y")

    @pytest.mark.parametrize("key", ["api_key", "access_token", "private_key", "client_id", "client_secret"])
    @pytest.mark.parametrize("kind", ["FIFO", "directory", "link to a device"])
    def test_wherever_a_key_is_named_it_is_78(self, live: World, command: Command, tmp_path, key, kind):
        place = plant(kind, tmp_path / "planted")
        if key == "api_key":
            live.configure("recotap", api_key=f"file:{place}")
        elif key == "access_token":
            live.configure("sources.hubspot", access_token=f"file:{place}")
        else:
            named = {"client_id": "env:PATH", **({"username": "x"} if key == "private_key" else {}),
                     **({"client_secret": "env:PATH"} if key == "client_id" else {}), key: f"file:{place}"}  # fmt: skip
            live.configure("sources.salesforce", connector="salesforce", login_url="https://acme.my.salesforce.com",
                           start="2026-01-01T00:00:00Z", **named)  # fmt: skip
        for line in ("sync", "check"):
            ran = command(line, "-c", live.write_config())
            assert ran.code == 78, ran.err
            assert f"{key}: the file {place} is not used: it is a " in ran.err
        assert not live.recotap.requests


MISTAKES = {
    "a key twice": ("[recotap]\na = 1\na = 2\n", 3, "is there twice: keep one of the two"),
    "a table twice": ("[a]\n[b]\n[a]\n", 3, "is there twice: keep one of the two"),
    "a value that is a table": ("[a]\nb = 1\n[a.b]\n", 3, "is there twice: keep one of the two"),
    "a key twice in braces": ("\na = {x = 1, x = 2}\n", 2, "is there twice: keep one of the two"),
    "an unclosed quote": ('a = 1\nb = "x\nc = 2\n', 2, "a closing quote is missing"),
    "an unclosed quote at the end": ('a = 1\nb = "x', 2, "a closing quote is missing"),
    "an unclosed single quote": ("a = 1\nb = 'x", 2, "a closing quote is missing"),
    "unclosed triple quotes": ('a = 1\nb = """x\n\ny\n', 2, "a closing quote is missing"),
    "a bare word": ("\ntimeout = soon\n", 2, "put text in quotes, e.g. timeout"),
    "a bare reference": ("\napi_key = env:KEY\n", 2, "put text in quotes, e.g. timeout"),
    "a bare path": ("\npath = /var/lib\n", 2, "put text in quotes, e.g. timeout"),
    "a bare duration": ("\nevery = 5m\n", 2, "put text in quotes, e.g. timeout"),
    "True": ("\na = True\n", 2, "write true or false"),
    "yes": ("\na = yes # or no\n", 2, "write true or false"),
    "typographic quotes": ("\na = “x”\n", 2, 'quotes "…", not typographic ones'),
    "no value": ("\na =\nb = 1\n", 2, "the value is missing right of the ="),
    "no key": ("a = 1\n= 3\n", 2, "the key is missing left of the ="),
    "no =": ("a = 1\ntimeout 30\n", 2, "a key, a = and a value"),
    "a tab for a =": ("a = 1\ntimeout\t30\n", 2, "a key, a = and a value"),
    "a Windows path": ('\npath = "C:\\Users\\x"\n', 2, "a Windows path with / or in single quotes"),
    "another Windows path": ('\npath = "C:\\work"\n', 2, "a Windows path with / or in single quotes"),
    "a surrogate": ('\npath = "\\ud800"\n', 2, "a Windows path with / or in single quotes"),
    "a date that is none": ("\nstart = 2026-13-01\n", 2, "write a time as 2026-01-01T00:00:00Z"),
    "a date with words": ("\nstart = 2026-01-01 midnight\n", 2, "write a time as 2026-01-01T00:00:00Z"),
    "a time alone": ("\nat = 7:30\n", 2, "write a time as 2026-01-01T00:00:00Z"),
    "a date with dots": ("\nstart = 01.02.2026\n", 2, "write a time as 2026-01-01T00:00:00Z"),
    "zeros before": ("\na = 007\n", 2, "a number without leading zeros"),
    "two in a line": ("\na = 1 b = 2\n", 2, "one key = value in each line"),
    "a list without an end": ("a = 1\nb = [1, 2\n", 2, "a list begins with [ and has no ] at its end"),
    "braces without an end": ("a = 1\nb = {x = 1", 2, "a table begins with { and has no } at its end"),
    "braces over several lines": ("\na = {\nb = 1}\n", 2, "between { and } in one line"),
    "a table without its bracket": ("a = 1\n[recotap\nb = 1\n", 2, "name in brackets, alone in its line"),
    "YAML": ("recotap:\n  api_key: env:KEY\n", 1, "this is YAML, not TOML: write key = value"),
    "YAML with a document": ("---\nrecotap:\n", 1, "this is YAML, not TOML: write key = value"),
    "JSON": ('{\n  "recotap": {}\n}\n', 1, "this is JSON, not TOML"),
    "XML": ('<?xml version="1.0"?>\n<a/>\n', 1, "this is XML or HTML, not TOML"),
    "a comment of an INI file": ("\n; comment\n", 2, "a comment begins with #"),
    "a comment of C": ("\n// comment\n", 2, "a comment begins with #"),
    "a merge": ("a = 1\n<<<<<<< HEAD\nb = 1\n", 2, "an unfinished merge: keep one side"),
    "a control character": ('\na = "x\x01"\n', 2, "holds a control character"),
    "something else": ("\n[]\n", 2, "compare the line with config/syncd.example.toml"),
}


class TestItsText:
    @pytest.mark.parametrize("name", MISTAKES)
    def test_each_kind_of_mistake_has_a_hint_of_its_own_and_its_line(self, tmp_path, name):
        text, line, hint = MISTAKES[name]
        problem = told(text, tmp_path)
        assert problem.path == f"{tmp_path / 'syncd.toml'}:{line}"
        assert problem.message.startswith("not TOML: ")
        assert hint in problem.hint

    def test_some_mistake_produces_each_hint(self):
        told = {each.hint for each in syntax.MISTAKES} | {syntax.NEUTRAL}
        assert {text for text in told if not any(hint in text for _, _, hint in MISTAKES.values())} == set()

    @given(st.text(alphabet="ab=[]{}\"'\\\n# .-1:,\t\r<;/“é\0", max_size=30))
    def test_any_text_is_explained_without_an_exception_and_without_quoting_a_value(self, text):
        try:
            tomllib.loads(text.replace("\r", "\n"))
        except tomllib.TOMLDecodeError as error:
            line, what, hint = syntax.explain(text.replace("\r", "\n"), str(error))
            assert what
            assert hint
            assert line is None or 1 <= line <= text.replace("\r", "\n").count("\n") + 1

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_it_is_read_as_editors_of_every_system_save_it(self, tmp_path, encoding, end):
        file = tmp_path / "syncd.toml"
        file.write_bytes(TEXT.replace("\n", end).encode(encoding))
        assert isinstance(load(file, environ={}, secrets=False).sources[0], Source)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
    def test_utf_16_has_a_hint_of_its_own(self, tmp_path, encoding):
        file = tmp_path / "syncd.toml"
        file.write_bytes(TEXT.encode(encoding))
        assert mistake(file).message == "is UTF-16 text"
        assert mistake(file).hint == "save it as UTF-8: Windows editors call UTF-16 Unicode"

    @pytest.mark.parametrize(
        ("content", "message", "hint"),
        [
            (b"# caf\xe9", "is not UTF-8 text", "save it as UTF-8"),
            (b"a = " + b"[" * 5000, "is nested too deeply", "remove brackets. `syncd config example` shows the tables"),
        ],
    )
    def test_a_text_that_is_not_read_to_its_end_has_its_remedy(self, tmp_path, content, message, hint):
        file = tmp_path / "syncd.toml"
        file.write_bytes(content)
        assert (mistake(file).message, mistake(file).hint) == (message, hint)

    @pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "\ufeff"])
    def test_an_empty_file_is_told_how_to_begin(self, tmp_path, text):
        problem = told(text, tmp_path)
        assert (problem.message, problem.hint) == ("is empty", reading.BEGIN)

    @pytest.mark.parametrize("number", ["9" * 5000, "-" + "9_9" * 3000, "[1, " + "9" * 4301 + "]"])
    def test_a_number_without_an_end_is_a_mistake_with_its_line(self, tmp_path, number):
        problem = told(f"a = 1\nx = {number}\n", tmp_path)
        assert problem.path == f"{tmp_path / 'syncd.toml'}:2"
        assert problem.message == "holds a number that is too long"
        assert problem.hint == "shorten it, or put it in quotes if it is text"

    @pytest.mark.parametrize(
        "text",
        ["[" * 3000, "[" * 3000 + "]" * 3000, '{"a":' * 3000, "{a=" * 3000 + "1" + "}" * 3000, f"[{'9' * 5000}]"],
    )
    def test_a_variable_that_python_cannot_read_is_a_mistake_that_names_it(self, tmp_path, text):
        file = tmp_path / "syncd.toml"
        file.write_text(TEXT)
        with pytest.raises(ConfigError) as caught:
            load(file, environ={"SYNCD_RULES__OWN_DOMAINS": text}, secrets=False)
        (problem,) = caught.value.problems
        assert problem.path == "rules.own_domains"
        assert problem.message == "expected a list (see the variable SYNCD_RULES__OWN_DOMAINS)"
        assert problem.hint

    def test_a_directory_is_told_which_file_to_name(self, tmp_path):
        assert mistake(tmp_path).hint == f"name the file in it, e.g. {tmp_path / 'syncd.toml'}"
