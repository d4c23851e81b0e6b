"""The logs: one line per event, in the form for its reader, without private data."""

import errno
import io
import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
from datetime import datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from syncd import log
from syncd.cli import late_log
from syncd.errors import Unavailable
from syncd.privacy import redaction


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.setattr(redaction, "_secrets", {})
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream():
    stream = io.StringIO()
    log.configure(stream=stream)
    return stream


class TestForms:
    def test_without_a_terminal_each_event_is_one_line_of_json_with_a_utc_time(self, stream):
        structlog.get_logger().info("pull.finished", source="hubspot", seen=12, ok=True, until=None)
        (line,) = lines(stream)
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "pull.finished", "level": "info", "source": "hubspot", "seen": 12, "ok": True, "until": None
        }  # fmt: skip

    def test_on_a_terminal_it_is_prose_with_colours(self, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        stream = Terminal()
        log.configure(stream=stream)
        structlog.get_logger().info("pull.finished", seen=12)
        assert "pull.finished" in stream.getvalue()
        assert "\x1b[" in stream.getvalue()

    def test_no_color_is_honoured(self, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        stream = Terminal()
        log.configure(stream=stream)
        structlog.get_logger().info("pull.finished", seen=12)
        assert "\x1b[" not in stream.getvalue()

    def test_the_journal_gets_a_priority_and_no_time(self, tmp_path, monkeypatch):
        with (tmp_path / "journal").open("w+") as stream:
            status = os.fstat(stream.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
            log.configure(verbose=True, stream=stream)
            for method in ("debug", "info", "warning", "error", "critical"):
                getattr(structlog.get_logger(), method)("run.finished")
            stream.seek(0)
            written = stream.read().splitlines()
        assert [line[:3] for line in written] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
        assert json.loads(written[1][3:]) == {"event": "run.finished", "level": "info"}

    def test_a_stream_redirected_away_from_the_journal_is_no_journal(self, tmp_path, monkeypatch):
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
        with (tmp_path / "file").open("w+") as stream:
            log.configure(stream=stream)
            structlog.get_logger().info("run.finished")
            stream.seek(0)
            assert "timestamp" in json.loads(stream.read())

    def test_text_is_one_plain_line_with_a_utc_time_if_it_is_asked_for(self):
        stream = io.StringIO()
        log.configure(stream=stream, as_json=False)
        structlog.get_logger().info("pull.finished", source="hubspot", seen=12)
        time, _, rest = stream.getvalue().partition("Z ")
        assert datetime.fromisoformat(f"{time}Z")
        assert re.fullmatch(r"\[info +\] pull.finished: a stream was read +seen=12 source=hubspot\n", rest)

    def test_json_is_json_on_a_terminal_too_if_it_is_asked_for(self):
        stream = Terminal()
        log.configure(stream=stream, as_json=True)
        structlog.get_logger().info("pull.finished", seen=12)
        assert lines(stream)[0]["seen"] == 12
        assert lines(stream)[0]["timestamp"].endswith("Z")

    def test_text_in_the_journal_has_a_priority_and_no_time(self, tmp_path, monkeypatch):
        with (tmp_path / "journal").open("w+") as stream:
            status = os.fstat(stream.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
            log.configure(stream=stream, as_json=False)
            structlog.get_logger().error("push.failed", hint="wait")
            stream.seek(0)
            assert re.fullmatch(
                r"<3>\[error +\] push.failed: sending to Recotap has stopped +hint=wait\n", stream.read()
            )

    def test_debug_lines_are_for_verbose(self, stream):
        structlog.get_logger().debug("page.read")
        assert stream.getvalue() == ""
        log.configure(verbose=True, stream=stream)
        structlog.get_logger().debug("page.read")
        assert lines(stream)[0]["event"] == "page.read"

    def test_a_logger_made_earlier_follows_a_later_configure(self, stream):
        logger = structlog.get_logger()
        logger.info("run.started")
        later = io.StringIO()
        log.configure(stream=later)
        logger.info("run.finished")
        assert [line["event"] for line in lines(later)] == ["run.finished"]

    def test_what_is_bound_in_the_context_is_on_every_line(self, stream):
        structlog.contextvars.bind_contextvars(source="hubspot")
        structlog.get_logger().info("pull.finished")
        assert lines(stream)[0]["source"] == "hubspot"

    def test_stderr_is_the_stream_unless_another_is_given(self, capsys):
        log.configure()
        structlog.get_logger().info("run.finished")
        captured = capsys.readouterr()
        assert "run.finished" in captured.err
        assert captured.out == ""


class TestLibraries:
    def test_their_warnings_are_lines_of_ours_and_the_rest_is_quiet(self, stream):
        for name in ("urllib3.connectionpool", "httpx", "hubspot"):
            logging.getLogger(name).info("GET /contacts?email=ada@lovelace.example")
            logging.getLogger(name).warning("retrying %s", "ada@lovelace.example")
        written = lines(stream)
        assert [line["logger"] for line in written] == ["urllib3.connectionpool", "httpx", "hubspot"]
        assert {(line["event"], line["level"], line["message"]) for line in written} == {
            ("library.said", "warning", "retrying [redacted]")
        }

    def test_a_format_that_does_not_fit_its_arguments_breaks_nothing(self, stream):
        root = logging.getLogger()
        root.handlers[:] = [ours for ours in root.handlers if isinstance(ours, log._Foreign)]  # pytest's would raise
        logging.getLogger("urllib3").error("%d of %d", "secret subject")
        assert lines(stream)[0]["message"] == "a message that cannot be formatted"

    def test_a_level_between_ours_is_the_one_below(self, stream):
        logging.getLogger("httpx").log(35, "hm")
        assert lines(stream)[0]["level"] == "warning"

    def test_a_second_configure_does_not_double_their_lines(self, stream):
        log.configure(stream=stream)
        logging.getLogger("httpx").warning("once")
        assert len(lines(stream)) == 1

    def test_their_tracebacks_are_rendered_by_us(self, stream):
        try:
            raise KeyError("a subject")
        except KeyError:
            logging.getLogger("urllib3").exception("failed")
        assert lines(stream)[0]["exception"].endswith("\nKeyError")


PRIVATE = [
    "ada@lovelace.example",
    "Ada.Lovelace+crm@mail.lovelace.co.uk",
    "ada%40lovelace.example",
    "ädä@büro.example",
    "Bearer abcdef123456",
    "authorization: bearer abc.def-123",
    "pat-eu1-01234567-89ab-cdef-0123-456789abcdef",
    "pat-na1-01234567-89ab",
    "00D5g000004XyZa!AQEAQFakeSessionIdOfSalesforce.abc",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJzeW5jZCJ9.c2lnbmF0dXJl",
]


class TestRedaction:
    @pytest.mark.parametrize("private", PRIVATE)
    def test_addresses_and_tokens_are_replaced_wherever_they_stand(self, stream, private):
        core = private.split()[-1]
        structlog.get_logger().warning(
            f"push.failed {private}", url=f"https://x.example/?q={private}&n=1", error=ValueError(private),
            facts={"of": [private, (private,)], private: 1}, other=io.StringIO(private),
        )  # fmt: skip
        assert core not in stream.getvalue()
        assert lines(stream)[0]["url"].startswith("https://x.example/?q=")

    @pytest.mark.parametrize(
        "text",
        ["hubspot-call-12345", "2026-01-01T00:00:00.000Z", "a @ b", "bearer of news", "https://api.hubapi.com/crm/v3"],
    )
    def test_what_only_resembles_them_stays(self, text):
        assert redaction.redact(text) == text

    def test_a_registered_secret_is_replaced_even_in_the_middle_of_a_word(self, stream):
        redaction.register_secret("s3cr3tvalue")
        log.register_secret("s3cr3tvalue-longer")
        structlog.get_logger().info("x.y", a="key=s3cr3tvalue-longer;", b="xs3cr3tvaluex")
        assert (lines(stream)[0]["a"], lines(stream)[0]["b"]) == ("key=[redacted];", "x[redacted]x")

    def test_too_short_a_secret_does_not_blot_out_words(self):
        redaction.register_secret("a")
        redaction.register_secret("")
        assert redaction.redact("a banana") == "a banana"

    @given(st.text())
    def test_redacting_twice_changes_nothing_more(self, text):
        once = redaction.redact(text)
        assert redaction.redact(once) == once

    def test_a_long_text_is_redacted_in_linear_time(self):
        """A pattern that backtracks would hang here until the test's time is up."""
        redaction.redact("a@" * 50_000 + "%40" * 50_000 + "x" * 100_000)

    def test_a_terminal_shows_nothing_private_either(self):
        stream = Terminal()
        log.configure(stream=stream)
        try:
            subject = "About Ada"
            raise KeyError(subject)
        except KeyError:
            structlog.get_logger().exception("push.failed", to="ada@lovelace.example")
        assert "KeyError" in stream.getvalue()
        assert "About Ada" not in stream.getvalue()
        assert "lovelace" not in stream.getvalue()


class TestTracebacks:
    def test_they_hold_code_and_types_but_no_variables_and_no_foreign_messages(self, stream):
        secret_subject = "About Ada"
        try:
            try:
                raise ValueError(secret_subject)
            except ValueError as error:
                raise Unavailable("HubSpot answered nothing", hint="wait") from error
        except Unavailable:
            structlog.get_logger().exception("pull.failed")
        text = lines(stream)[0]["exception"]
        assert text.endswith("Unavailable: HubSpot answered nothing")
        assert "\nValueError\n\nwhich led to\n\n" in text
        assert "raise ValueError(secret_subject)" in text
        assert "About Ada" not in text

    @pytest.mark.parametrize("given", ["the exception", "its three parts"])
    def test_an_exception_may_be_given_instead_of_being_current(self, stream, given):
        error = OSError(28, "No space left on device")
        exc_info = error if given == "the exception" else (type(error), error, None)
        structlog.get_logger().error("ledger.failed", exc_info=exc_info)
        assert lines(stream)[0]["exception"] == "OSError: [Errno 28] No space left on device"

    def test_no_exception_is_no_key(self, stream):
        structlog.get_logger().info("run.finished", exc_info=None)
        structlog.get_logger().info("run.finished", exc_info=True)
        assert all("exception" not in line and "exc_info" not in line for line in lines(stream))

    def test_what_was_handled_before_is_shown_unless_it_was_put_aside(self):
        def caught(aside: bool) -> Exception:
            try:
                try:
                    raise KeyError
                except KeyError:
                    if aside:
                        raise TypeError("late") from None
                    raise TypeError("late")  # noqa: B904 - the implicit context is what is tested
            except TypeError as error:
                return error

        assert "KeyError" in log.render(caught(aside=False))
        assert "KeyError\n\nwhich" not in log.render(caught(aside=True))

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (Unavailable("out of quota"), "Unavailable: out of quota"),
            (sqlite3.OperationalError("disk I/O error"), "OperationalError: disk I/O error"),
            (TypeError("unsupported operand"), "TypeError: unsupported operand"),
            (TypeError(), "TypeError"),
            (KeyError("Ada"), "KeyError"),
            (UnicodeDecodeError("utf-8", b"Ada", 0, 1, "Ada"), "UnicodeDecodeError"),
        ],
    )
    def test_only_messages_that_cannot_quote_a_record_are_told(self, error, text):
        assert redaction.describe(error) == text


def test_a_command_that_logs_nothing_starts_the_log_with_a_librarys_first_message(monkeypatch, capsys):
    """The message is redacted like any other, and no later one starts the log again."""
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configured = []
    configure = log.configure
    monkeypatch.setattr(log, "configure", lambda: configured.append(configure()))
    late_log.prepare()
    logging.getLogger("some.library").info("unimportant")
    assert configured == []
    for number in (1, 2):
        logging.getLogger("some.library").warning("message %d to ada@example.com", number)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["event"], each["message"]) for each in said] == [
        ("library.said", f"message {number} to [redacted]") for number in (1, 2)
    ]
    assert len(configured) == 1


def test_redaction_costs_no_structlog():
    """The configuration registers secrets, and commands without one do not log."""
    code = "import sys, syncd.privacy.redaction; sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_the_sessions_that_a_daemon_meets_with_every_pass_the_last_ones_are_kept():
    """Otherwise each log line would be searched for more secrets every day."""
    redaction.register_secret("the-key-that-is-read-with-every-pass")
    for number in range(3 * redaction.KEPT):
        redaction.register_secret(f"session-{number:06}")
        redaction.register_secret("the-key-that-is-read-with-every-pass")
    assert len(redaction._secrets) == redaction.KEPT
    last = f"session-{3 * redaction.KEPT - 1:06}"
    told = redaction.redact(f"the-key-that-is-read-with-every-pass, {last}, session-000000")
    assert told == "[redacted], [redacted], session-000000"


class Failing(io.StringIO):
    """A stream on a full disk, or a pipe without a reader."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_stops_nothing():
    closed = io.StringIO()
    closed.close()
    for stream in (Failing(), closed):
        log.configure(stream=Failing())
        structlog.get_logger().error("ledger.failed", hint="make room")
        logging.getLogger("library").warning("it said")
        log._Unbreakable(stream).write("a line")
        log._Unbreakable(stream).flush()
