"""Write a short commented configuration, and judge it. Pure, except for the keys that `secrets` reads."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncd.cli import toml
from syncd.cli.init.services import OWN_DOMAINS, Key
from syncd.config import Config, judge
from syncd.errors import ConfigError, Problem
from syncd.normalize.own_domains import PLACEHOLDER

Tree = dict[str, Any]  # the tables of a configuration, as tomllib returns them

COLUMN = 48  # of the comments
WRITTEN = "# A configuration of syncd, written by `syncd init`. `syncd config example` shows every other key."
FOR_SANDBOX = "# A configuration for `syncd sandbox`. It holds as long as that sandbox runs, and may be overwritten."
REFERENCES = "# Keys are references, never the keys themselves: env:NAME, file:PATH or credential:NAME (systemd)."
COMMENTS: Mapping[Key, str] = {
    ("recotap", "api_key"): "where the API key is kept",
    ("ledger", "path"): "what Recotap has: keep it, and back it up",
    OWN_DOMAINS: "our side, with all subdomains: never a contact",
    ("sources", "*", "access_token"): "where the key is kept",
    ("sources", "*", "login_url"): "the org's My Domain",
    ("sources", "*", "client_id"): "where the app's consumer key is kept",
    ("sources", "*", "client_secret"): "where its consumer secret is kept",
    ("sources", "*", "start"): "records created or changed since then are read",
}
NAMED = "the name is a part of every id that Recotap gets: never change it"
TO_SET = "<-- set your own domains: until then a pass exits with 78"
ASK = "`syncd check` proposes them"


def render(tree: Tree, *, first: str = WRITTEN, proposed: Sequence[str] = ()) -> str:
    """Return the file's text. `proposed`: own domains that are not confirmed."""
    lines = [first, REFERENCES, ""]
    for name in ("recotap", "ledger"):
        lines += [f"[{name}]", *_lines(tree, (name,)), ""]
    lines += ["[rules]", *_own_domains(tree, proposed), ""]
    for name in tree["sources"]:
        lines += [_beside(f"[sources.{name}]", NAMED), *_lines(tree, ("sources", name)), ""]
    return "\n".join(lines)


def put(tree: Tree, key: Key, value: Any) -> None:
    """Set a key, and make its table."""
    for name in key[:-1]:
        tree = tree.setdefault(name, {})
    tree[key[-1]] = value


def get(tree: Tree, key: Key) -> Any:
    """Return a key's value, or None."""
    found: Any = tree
    for name in key:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def judged(tree: Tree, *, environ: Mapping[str, str] | None = None, secrets: bool = False) -> Config:
    """Return the configuration as syncd will read it, with the variables of `environ`. ConfigError for mistakes."""
    return judge(tree, Path("syncd.toml"), environ=environ or {}, secrets=secrets, connectors=True)


def mistakes(tree: Tree, *, secrets: bool = False) -> Sequence[Problem]:
    """Return the mistakes of a configuration, and with `secrets` also its keys that cannot be read."""
    try:
        judged(tree, secrets=secrets)
    except ConfigError as error:
        return error.problems
    return ()


def _lines(tree: Tree, table: Key) -> Iterator[str]:
    for name, value in get(tree, table).items():
        place = (table[0], *("*" for _ in table[1:]), name)
        yield _beside(f"{name} = {_value(value)}", COMMENTS.get(place, ""))


def _own_domains(tree: Tree, proposed: Sequence[str]) -> Iterator[str]:
    known = get(tree, OWN_DOMAINS)
    if known:
        yield _beside(f"own_domains = {_value(known)}", COMMENTS[OWN_DOMAINS])
        return
    advice = f"two or more of the CRM's users share these: {_value(list(proposed))}" if proposed else ASK
    yield _beside(f"own_domains = {_value([PLACEHOLDER])}", TO_SET)
    yield _beside("", advice)


def _beside(text: str, comment: str) -> str:
    return f"{text:<{COLUMN - 2}}  # {comment}" if comment else text


def _value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return toml.value(value)
