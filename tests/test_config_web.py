"""The table [web]: its address, and the token that any other machine needs."""

from pathlib import Path

import pytest

from syncd.config import load
from syncd.errors import ConfigError
from syncd.types.listen import Address, parse
from tests.world import World


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8321", "127.0.0.1", 8321),
        ("localhost:1", "localhost", 1),
        ("[::1]:8321", "::1", 8321),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        (" Syncd.Internal:80 ", "syncd.internal", 80),
        ("[2001:0db8:0::1]:80", "2001:db8::1", 80),
    ],
)
def test_a_host_and_a_port_are_an_address(text: str, host: str, port: int) -> None:
    assert parse(text) == Address(host, port)
    assert parse(str(parse(text))) == parse(text), "its own spelling is valid"


@pytest.mark.parametrize(
    "text",
    ["8321", ":8321", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:8²", "::1:8321", "[::1:1",
     "[127.0.0.1]:80", "http://127.0.0.1:80", "a b:80", "a/b:80", "user@host:80", "[]:80", "127.0.0.1:+80"],
)  # fmt: skip
def test_anything_else_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address and a port"):
        parse(text)


@pytest.mark.parametrize("listen", ["127.0.0.1:8321", "127.0.0.9:8321", "[::1]:8321", "localhost:8321", ""])
def test_this_machine_needs_no_token(world: World, listen: str) -> None:
    world.configure("web", listen=listen, token="")
    assert world.config().web.listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:8321", "[::]:8321", "192.0.2.7:8321", "syncd:8321", "localhost.a:8321"])
def test_any_other_address_needs_one(world: World, listen: str) -> None:
    world.configure("web", listen=listen)
    with pytest.raises(ConfigError) as caught:
        world.config()
    (problem,) = caught.value.problems
    assert problem.path == "web.token"
    assert problem.hint == 'add token = "env:SYNCD_WEB_TOKEN", or listen on 127.0.0.1'
    world.configure("web", token=f"file:{secret(world, 'a-long-token')}")
    assert world.config().web.listen == listen


def test_all_mistakes_are_told_at_once_and_a_literal_is_refused(world: World) -> None:
    world.configure("web", listen="8321", token="Canary-4711", page=True)
    with pytest.raises(ConfigError) as caught:
        world.config()
    assert {problem.path for problem in caught.value.problems} == {"web.listen", "web.token", "web.page"}
    assert "Canary" not in caught.value.summary


def test_a_token_that_is_not_there_is_a_mistake(world: World) -> None:
    world.configure("web", listen="0.0.0.0:8321", token="env:NOT_THERE_4711")
    with pytest.raises(ConfigError) as caught:
        load(world.write_config(), environ={})
    assert [problem.path for problem in caught.value.problems] == ["web.token"]


def secret(world: World, text: str) -> Path:
    """Return a private file with `text`."""
    file = world.path / "web-token"
    file.write_text(text)
    file.chmod(0o600)
    return file
