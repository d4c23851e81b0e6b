"""The daemon's memory of failed sources and refused keys."""

from syncd.daemon.failures import Failures
from syncd.errors import ConfigError, Unauthorized, Unavailable

DOWN, REFUSED = Unavailable("the CRM is down"), Unauthorized("the key was refused")
K1 = dict.fromkeys("abc", "k1")


def test_the_error_shown_is_that_of_the_name_that_fails_for_the_longest_time():
    failures = Failures()
    assert (failures.first, failures.names) == (None, [])
    failures.record(["a", "b"], {"b": DOWN}, keys=K1)
    failures.record(["a", "b"], {"a": REFUSED, "b": Unavailable("still down")}, keys=K1)
    assert (failures.names, str(failures.first)) == (["b", "a"], "still down")
    failures.record(["b"], {}, keys=K1)
    assert (failures.names, failures.first) == (["a"], REFUSED)


def test_a_refused_key_that_changes_is_tried_once():
    failures = Failures()
    failures.record(["a", "b", "c"], {"a": REFUSED, "b": DOWN, "c": ConfigError()}, keys=K1)
    assert failures.take_changed("k1") == []
    assert failures.has_refused_keys
    assert failures.take_changed("k2") == ["a", "c"], "an outage has nothing to do with the key"
    assert failures.take_changed("k2") == []
    assert not failures.has_refused_keys
    assert failures.names == ["a", "b", "c"], "they fail until a pass succeeds"


def test_a_source_that_left_the_configuration_is_forgotten():
    failures = Failures()
    failures.record(["a", "b"], {"a": REFUSED, "b": REFUSED}, keys=K1)
    failures.keep({"b"})
    assert (failures.names, failures.take_changed("k2")) == (["b"], ["b"])


def test_a_kept_error_does_not_hold_the_pass_in_memory():
    failures = Failures()
    try:
        raise Unavailable("x") from ValueError("y")
    except Unavailable as error:
        failures.record(["a"], {"a": error}, keys={})
    assert failures.first is not None
    assert (failures.first.__traceback__, failures.first.__cause__, failures.first.__context__) == (None, None, None)


def test_one_name_may_be_asked_for_with_keys_of_its_own():
    failures = Failures()
    failures.record(["a", "b"], {"a": REFUSED, "b": REFUSED}, keys=K1)
    assert failures.refused == ["a", "b"]
    assert failures.take_changed("k2", among=["b"]) == ["b"]
    assert failures.refused == ["a"]
