"""Conduct: declarations, `check`, errors, privacy and stops."""

import threading
import time
from functools import partial

from pydantic import ValidationError

from syncd.connector import SourceConfig
from syncd.testing.captured import captured
from syncd.testing.crm import Crm
from syncd.testing.harness import close, harnesses
from syncd.testing.outages import BRIEF_S, assert_helpful, assert_outage, assert_private, assert_stops


class ConductConformance:
    """The part of the core about configuration, errors and stops."""

    def test_it_declares_its_streams_and_a_configuration_of_its_own(self, crm: Crm) -> None:
        """Stream names are unique, and `Config` is a SourceConfig that accepts the sandbox's table."""
        names = [stream.name for stream in crm.connector.streams]
        assert names, "a connector has at least one stream"
        assert len(set(names)) == len(names), "stream names are unique"
        assert {stream.kind for stream in crm.connector.streams} <= {"call", "email"}, (
            "a stream's kind is call or email"
        )
        assert issubclass(crm.connector.Config, SourceConfig), "Config is a SourceConfig"
        assert isinstance(crm.connector.Config(**crm.table()), SourceConfig)

    def test_an_unknown_key_of_its_table_is_a_mistake(self, crm: Crm) -> None:
        """An unknown key is an error, and so are wrong values of the keys that every source has."""
        for wrong in ({"no_such_key": 1}, {"timeout": "0s"}, {"external_id": "always the same"}):
            try:
                crm.connector.Config(**{**crm.table(), **wrong})
            except ValidationError:
                continue
            raise AssertionError(f"accepted {wrong}")

    def test_making_one_sends_no_request_and_closing_it_twice_does_no_harm(self, crm: Crm) -> None:
        """The constructor sends no request, and close() may be called at any time, more than once."""
        for harness in harnesses(crm):
            before = crm.requests()
            connector = harness.connect()
            connector.close()
            connector.close()
            assert crm.requests() == before, "the constructor sends no request"
            used = harness.connect()
            harness.read(connector=used)
            used.close()
            used.close()

    def test_its_identity_is_the_same_in_every_pass(self, crm: Crm) -> None:
        """identity() always returns the same id, or always None.

        If an unstable id named another portal, all records would be delivered twice.
        """
        for harness in harnesses(crm):
            first, again = (harness.connect().identity() for _ in range(2))
            connector = harness.connect()
            assert first == again == connector.identity() == connector.identity(), "one CRM, one id"
            assert first is None or (isinstance(first, str) and first), "an id is text"

    def test_check_finds_nothing_wrong_if_all_is_well(self, crm: Crm) -> None:
        """Each finding of check() names its subject, and none fails."""
        for harness in harnesses(crm):
            findings = harness.connect().check()
            assert findings, "check() returns at least one finding"
            assert_helpful(findings)
            assert [each.what for each in findings if not each.ok and not each.warning] == []

    def test_an_outage_ends_in_an_error_that_helps_and_tells_nothing_private(self, crm: Crm) -> None:
        """Errors are Unavailable, Malformed or Unauthorized, with a hint. check() reports instead of raising."""
        for name, begin in crm.outages().items():
            for harness in harnesses(crm):
                assert_outage(harness, name, begin)

    def test_a_normal_pass_tells_nothing_private(self, crm: Crm) -> None:
        """No output contains a credential, address, name or subject. The store contains no credential."""
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
            assert not [secret for secret in crm.secrets if secret in kept], "the store contains a credential"

    def test_the_engine_may_close_a_fetch_in_the_middle(self, crm: Crm) -> None:
        """Closing an unfinished fetch returns soon and ends its threads."""
        for harness in harnesses(crm):
            harness.fill(range(4 * max(crm.cuts)))
            before = set(threading.enumerate())
            connector = harness.connect()
            reading = connector.fetch(harness.stream, harness.window(None))
            next(reading)
            began = time.monotonic()
            close(reading)
            connector.close()
            assert time.monotonic() - began < BRIEF_S, "closing takes too long"
            while left := [each for each in threading.enumerate() if each not in before]:
                assert time.monotonic() - began < BRIEF_S, f"threads still running: {[each.name for each in left]}"
                time.sleep(0.005)

    def test_a_stop_is_passed_on_at_once(self, crm: Crm) -> None:
        """If context.sleep raises Stopped, fetch and fetch_ids raise it too and send no further request."""
        for harness in harnesses(crm):
            ids = harness.fill(range(3 * max(crm.cuts)))
            for calls in range(4):
                assert_stops(harness, calls, harness.read)
                assert_stops(harness, calls, partial(harness.look_up, ids))
            harness.clear_books()
            harness.read()
            harness.assert_complete()


__all__ = ["ConductConformance"]
