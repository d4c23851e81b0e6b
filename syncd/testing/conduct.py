"""Conduct: declarations, `check`, errors, privacy, and ending at once."""

import threading
import time
from functools import partial

from pydantic import ValidationError

from syncd.connector import SourceConfig
from syncd.testing.captured import captured
from syncd.testing.crm import Crm
from syncd.testing.harness import close, harnesses
from syncd.testing.outages import BRIEF_S, assert_helpful, assert_private, assert_stops, errors_in_outage


class ConductConformance:
    """The part of the core about configuration, errors and stops."""

    def test_it_declares_its_streams_and_a_configuration_of_its_own(self, crm: Crm) -> None:
        """Streams have names of their own; the table's model is a SourceConfig that knows each of its keys."""
        names = [stream.name for stream in crm.connector.streams]
        assert names, "a connector has a stream"
        assert len(set(names)) == len(names), "streams have names of their own"
        assert {stream.kind for stream in crm.connector.streams} <= {"call", "email"}, "a record is a call or an email"
        assert issubclass(crm.connector.Config, SourceConfig), "Config is a SourceConfig"
        assert isinstance(crm.connector.Config(**crm.table()), SourceConfig)

    def test_an_unknown_key_of_its_table_is_a_mistake(self, crm: Crm) -> None:
        """A key that is misspelt is told, not passed over; so is what every source has."""
        for wrong in ({"no_such_key": 1}, {"timeout": "0s"}, {"external_id": "always the same"}):
            try:
                crm.connector.Config(**{**crm.table(), **wrong})
            except ValidationError:
                continue
            raise AssertionError(f"accepted {wrong}")

    def test_making_one_sends_no_request_and_closing_it_twice_does_no_harm(self, crm: Crm) -> None:
        """Nothing is asked before the first question, and close() may come at any time, also again."""
        for harness in harnesses(crm):
            before = crm.requests()
            connector = harness.connect()
            connector.close()
            connector.close()
            assert crm.requests() == before, "making a connector asks for nothing"
            used = harness.connect()
            harness.read(connector=used)
            used.close()
            used.close()

    def test_its_identity_is_the_same_in_every_pass(self, crm: Crm) -> None:
        """A name that suddenly leads to another portal would double everything: the id is stable, or never told."""
        for harness in harnesses(crm):
            first, again = (harness.connect().identity() for _ in range(2))
            connector = harness.connect()
            assert first == again == connector.identity() == connector.identity(), "one CRM, one id"
            assert first is None or (isinstance(first, str) and first), "an id is text"

    def test_check_finds_nothing_wrong_if_all_is_well(self, crm: Crm) -> None:
        """Each line of `syncd check` says what it is about, and all are fine."""
        for harness in harnesses(crm):
            findings = harness.connect().check()
            assert findings, "there is something to check"
            assert_helpful(findings)
            assert [each.what for each in findings if not each.ok and not each.warning] == []

    def test_an_outage_ends_in_an_error_that_helps_and_tells_nothing_private(self, crm: Crm) -> None:
        """Unavailable, Malformed or Unauthorized with a hint, never a traceback; check() finds, and does not raise."""
        for name, begin in crm.outages().items():
            for harness in harnesses(crm):
                harness.fill(range(3))
                begin()
                with captured() as output:
                    errors = errors_in_outage(harness, output)
                    findings = harness.connect().check()
                    output.add(findings)
                crm.heal()
                assert_helpful(findings)
                assert errors, f"{name}: nobody noticed"
                assert [each for each in findings if not each.ok], f"{name}: check() noticed nothing"
                assert_private(crm, output)

    def test_a_normal_pass_tells_nothing_private(self, crm: Crm) -> None:
        """No log line holds a credential, an address, a name or a subject; the store holds no credential."""
        for harness in harnesses(crm):
            ids = harness.fill(range(3))
            with captured() as output:
                connector = harness.connect()
                connector.identity()
                harness.read(connector=connector)
                harness.look_up([*ids, crm.unknown_id(harness.stream)], connector)
                connector.owners()
                output.add(connector.check())
                output.add([connector, connector.Config(**crm.table())])
            assert_private(crm, output)
            kept = "\n".join(text for _, text in harness.store.kept.values())
            assert not [secret for secret in crm.secrets if secret in kept], "the store holds a credential"

    def test_the_engine_may_close_a_fetch_in_the_middle(self, crm: Crm) -> None:
        """Closing an unfinished fetch returns soon, and leaves no thread behind."""
        for harness in harnesses(crm):
            harness.fill(range(4 * max(crm.cuts)))
            before = set(threading.enumerate())
            connector = harness.connect()
            reading = connector.fetch(harness.stream, harness.window(None))
            next(reading)
            began = time.monotonic()
            close(reading)
            connector.close()
            assert time.monotonic() - began < BRIEF_S, "leaving takes its time"
            while left := [each for each in threading.enumerate() if each not in before]:
                assert time.monotonic() - began < BRIEF_S, f"left behind: {[each.name for each in left]}"
                time.sleep(0.005)

    def test_a_stop_is_passed_on_at_once(self, crm: Crm) -> None:
        """Where context.sleep raises Stopped, fetch and fetch_ids raise it, and nothing more is asked."""
        for harness in harnesses(crm):
            ids = harness.fill(range(3 * max(crm.cuts)))
            for calls in range(4):
                assert_stops(harness, calls, harness.read)
                assert_stops(harness, calls, partial(harness.look_up, ids))
            harness.clear_books()
            harness.read()
            harness.assert_complete()


__all__ = ["ConductConformance"]
