"""Try everything that a pass depends on, and name a remedy for each failure: `syncd check`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from time import sleep
from typing import Any

from syncd import clock
from syncd.activity import Owner
from syncd.cli.asking import TURN_S
from syncd.cli.check import files, ledger, pinned, scope, volume, watching
from syncd.cli.check.clocks import THIS_MACHINE, Clocks
from syncd.cli.check.parts import Part, Placed, within
from syncd.config import Config
from syncd.connector import Context, Finding, Source, Window
from syncd.errors import ConfigError, LedgerError, SyncdError
from syncd.http.server_clock import ServerClock
from syncd.http.tls import Trust
from syncd.ledger import CLOCK, RECOTAP, chosen
from syncd.normalize import incoming, own_domains
from syncd.passes import pins, wiring
from syncd.passes.destination import NotingSender
from syncd.passes.pausing import pause_hint
from syncd.passes.reader import PassStore, as_told


def findings(config: Config, sources: tuple[Source, ...], *, offline: bool = False) -> Iterator[Placed]:
    """Yield each finding as soon as it is known. Pauses are ignored. If `offline`, no request is sent."""
    yield from within(Part.MACHINE, _machine(config, len(sources)))
    yield from within(Part.CRM, pinned.changes_of(config))
    clocks = Clocks(sleep)
    asked: dict[str, Sequence[Owner]] = {}
    for source in sources:
        found = _offline(config, source) if offline else _all(config, source, clocks, asked)
        yield from within(Part.CRM, _named(source.name, found), source.name)
    if not offline:
        yield from within(Part.CRM, _owners(config, asked))
    try:
        with wiring.sender(config) as to:
            if offline:
                yield from within(Part.RECOTAP, [Finding("recotap key", True, "readable, and not tried")])
                return
            yield from within(Part.RECOTAP, _recotap(config, to))
            clocks.add("Recotap", to.clock, to.ask_the_time)
            yield from _of_clocks(clocks, sources)
    except ConfigError as error:
        yield from within(Part.RECOTAP, [_failed("recotap key", error)])


def has_begun(config: Config) -> bool:
    """Tell whether the ledger holds activities."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        return any(glance.counts().values())
    return False


def _machine(config: Config, sources: int) -> Iterator[Finding]:
    yield Finding("configuration", True, f"{config.path}: {sources} source(s)")
    yield from files.findings(config)
    yield from own_domains.of_list(config.rules.to_rules())
    yield from ledger.findings(config)
    yield from watching.findings(config)


def _remembered(config: Config, source: Source) -> Iterator[Finding]:
    """Yield what the ledger remembers of a source, without a request."""
    yield from pinned.ranges_of(config, source)
    yield from scope.findings(config, source.name)
    yield from pinned.unread_of(pinned.narrowed(config, source))
    yield from _pause(config, source)


def _offline(config: Config, source: Source) -> Iterator[Finding]:
    yield from _remembered(config, source)
    place = f"sources.{source.name}"
    if named := getattr(source.config, "ca_file", ""):
        try:
            Trust(source.name, place, f"{place}.ca_file", named).context("https:")
            yield Finding("CA file", True, f"{named}: valid certificates")
        except ConfigError as error:
            yield _failed("CA file", error)


def _all(config: Config, source: Source, clocks: Clocks, asked: dict[str, Sequence[Owner]]) -> Iterator[Finding]:
    yield from _remembered(config, source)
    yield from _source(config, pinned.narrowed(config, source).source, clocks, asked)


def _recotap(config: Config, to: NotingSender) -> Iterator[Finding]:
    to.clock.recall(_kept(config, RECOTAP).get(CLOCK, (None, None))[0])
    yield to.check(turn_s=TURN_S, sleep=sleep)
    yield from pinned.destination(config, to)


def _of_clocks(clocks: Clocks, sources: Sequence[Source]) -> Iterator[Placed]:
    """Yield the findings about clocks, each in the part of its server."""
    named = {f"clock of {source.name}": source.name for source in sources}
    for each in clocks.findings():
        source = named.get(each.what)
        part = Part.CRM if source else Part.MACHINE if each.what == THIS_MACHINE else Part.RECOTAP
        yield from within(part, [each], source)


def _owners(config: Config, asked: Mapping[str, Sequence[Owner]]) -> Iterator[Finding]:
    """Compare `own_domains` with the owners of all sources that answered."""
    rules, owners = config.rules.to_rules(), [owner for theirs in asked.values() for owner in theirs]
    if asked:
        vouched, _ = _kept(config, RECOTAP).get(own_domains.VOUCHED, (None, None))
        yield from own_domains.of_sources(rules, owners, vouched)
    yield from own_domains.of_owners(rules, owners)


def _named(source: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """Yield each finding under the name of its source. A bug in the connector ends them."""
    try:
        for each in found:
            yield Finding(f"{source}: {each.what}", each.ok, each.message, each.hint, each.warning, each.exit_code)
    except Exception as error:  # noqa: BLE001 - a connector may raise anything, and the other sources are still checked
        yield _failed(f"{source}: source", as_told(source, error))


def _source(config: Config, source: Source, clocks: Clocks, asked: dict[str, Sequence[Owner]]) -> Iterator[Finding]:
    """Yield the findings of one source, and put its owners into `asked`."""
    store = PassStore(_kept(config, source.name), clock.now)
    server_clock = ServerClock(clock.now, store.get(CLOCK))
    context = Context(source.name, store, clock.now, sleep, read_only=True, turn_s=TURN_S, clock=server_clock)
    ask = None  # another failed sign-in would only repeat the message
    try:
        connector = source.connector(source.config, context)
        try:
            found = connector.check()
            yield from found
            # If credentials or the CRM failed, asking for its identity would only repeat the message.
            failed = any(_fails(finding) for finding in found)
            identity = None if failed else incoming.identity(connector.identity())
            theirs = () if failed else connector.owners()
            if not failed:
                yield from volume.findings(source, connector, volume.new_streams(config, source))
        finally:
            connector.close()
        _refuse_stranger(config, source, identity)
        if not failed:
            ask = partial(_ask, source, context)
            asked[source.name] = theirs
    except SyncdError as error:
        yield _failed("source", error)
    finally:
        clocks.add(source.name, server_clock, ask)


def _failed(what: str, error: SyncdError) -> Finding:
    hint = ". ".join(problem.hint for problem in getattr(error, "problems", ())) or error.hint
    return Finding(what, False, error.summary, hint, exit_code=error.exit_code)


def _fails(finding: Finding) -> bool:
    return not finding.ok and not finding.warning


def _ask(source: Source, context: Context) -> None:
    """Make a small request for the Date of its response."""
    try:
        with closing(source.connector(source.config, context)) as connector:
            now = clock.now()
            connector.count(source.streams[0].name, Window(now, now, lambda refs: ()))
    except Exception as error:  # noqa: BLE001 - a connector may raise anything, and the other clocks are still checked
        raise as_told(source.name, error) from None


def _kept(config: Config, source: str) -> dict[str, tuple[Any, datetime]]:
    """Return the values that the connector of `source` keeps in the ledger. A check changes none."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        return glance.store(source)
    return {}


def _pause(config: Config, source: Source) -> Iterator[Finding]:
    """Report a pause of the source. The check goes on all the same."""
    with suppress(LedgerError), chosen(config.ledger).read() as glance:  # the ledger has its own line
        pause = glance.pause(source.name, clock.now())
        if pause is not None:
            message = f"passes leave it alone until {clock.text(pause[0])}: {pause[1]}"
            yield Finding("pause", False, message, pause_hint(source.name), warning=True)


def _refuse_stranger(config: Config, source: Source, identity: str | None) -> None:
    with suppress(LedgerError), chosen(config.ledger).read() as glance:
        pins.refuse_stranger(glance, source, identity)
