"""Erase a person from the ledger, and name the delivered activities of a person."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from syncd import clock
from syncd.cli import printing
from syncd.cli.asking import asking
from syncd.config import Config
from syncd.connector import Connector, FindsPeople, Source
from syncd.errors import LedgerError, SyncdError, Unavailable
from syncd.ledger import Erased, chosen
from syncd.normalize.forgotten import Forgotten, hash_of
from syncd.passes.pausing import pausing
from syncd.passes.reader import as_told

AT_ONCE = 500  # records that are compared with the ledger
AGAIN = "Then run `syncd forget` again"
CANNOT_SEARCH = "{} cannot be searched by address: look for the person's records there yourself"


def erase(config: Config, address: str, *, patience_s: float) -> list[SyncdError]:
    """Erase a person, and return the errors. Raises LedgerError if the ledger cannot be written.

    The person is left out from the first moment, whatever fails later.
    """
    ledger, now = chosen(config.ledger), clock.now()
    errors: list[SyncdError] = []
    rest = ledger.rest()
    with ledger.forget() as writing:
        secret = writing.make_secret(now)
        hashed = hash_of(address, secret)
        writing.note(hashed, now)
        try:
            erased = writing.erase(
                Forgotten([hashed], secret), address, now=now, patience_s=patience_s,
                is_held=lambda: ledger.holder() is not None,
            )  # fmt: skip
            printing.note(_told(erased))
        except Unavailable as error:
            errors.append(error)
        try:
            if why := writing.rebuild(is_held=ledger.holder() is not None):
                hint = f"stop the program that uses it ({rest.users}), then run `syncd forget` again"
                errors.append(Unavailable(why, hint=hint))
        except LedgerError as error:  # e.g. a full disk: a rewrite needs the ledger's size twice
            hint = f"make room for the ledger's size twice, or stop the program that locks it ({rest.tool}). {AGAIN}"
            errors.append(LedgerError(f"{error.message}, so {rest.place} still has earlier content", hint=hint))
        if named := writing.named_by_id(address):
            printing.note(f"activities whose id holds the address, and ids are kept: {named:,}")
    return errors


def _told(erased: Erased) -> str:
    waiting = f"waiting activities, which the next pass reads again: {erased.payloads:,}"
    return f"erased from {waiting}, texts of errors: {erased.texts:,}, values of connectors: {erased.values:,}"


def sent(config: Config, address: str, errors: list[SyncdError]) -> Iterator[tuple[str, ...]]:
    """Yield a line for each activity of a person that Recotap has, or may have. Adds to `errors`."""
    told = set[str]()
    for source in config.sources:
        try:
            for line in _of(config, source, address):
                if line[0] not in told:
                    told.add(line[0])
                    yield line
        except SyncdError as error:
            errors.append(error)
    with chosen(config.ledger).read() as glance:
        gone = set(glance.sources_with_rows()) - {source.name for source in config.sources}
    for name in sorted(gone):
        printing.note(CANNOT_SEARCH.format(name))
    if told:
        printing.note(f"activities that Recotap has, or may have: {len(told):,}. Ask Recotap's support to delete them")
    elif not errors:
        printing.note("no delivered activity was found by this address")


def _of(config: Config, source: Source, address: str) -> Iterator[tuple[str, ...]]:
    """Yield the lines of one source, some of them twice. Raises SyncdError."""
    with chosen(config.ledger).read() as glance:
        kept, pause = glance.store(source.name), glance.pause(source.name, clock.now())
        person = Forgotten(glance.forgotten(), glance.secret())
    if pause is not None:
        raise pausing(source.name, *pause, hint=_again(source))
    try:
        with asking(source, kept, turn_s=None) as connector:
            stand_in = person.stand_in(address)  # the connector keeps it in place of the address
            owners = [each.crm_id for each in connector.owners() if person.stand_in(each.email) == stand_in]
            rows = _owned(config, source, list(filter(None, owners)))
            for row in chain(rows, _found(config, source, connector, address)):
                yield _line(source, row, {key: value for key, (value, _) in kept.items()})
    except (LedgerError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - a connector may raise anything
        raise as_told(source.name, error) from None


def _owned(config: Config, source: Source, owners: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Return the sent activities whose owner was one of `owners` when they were read."""
    if not owners:
        return ()
    with chosen(config.ledger).forget() as ledger:
        return ledger.sent_of_owners(source.name, owners)


def _found(config: Config, source: Source, connector: Connector, address: str) -> Iterator[dict[str, Any]]:
    """Yield the sent activities whose records the CRM finds by the address."""
    if not isinstance(connector, FindsPeople):
        printing.note(CANNOT_SEARCH.format(source.name))
        return
    for some in _chunks(iter(connector.records_of(address))):
        with chosen(config.ledger).forget() as ledger:
            for stream in dict.fromkeys(stream for stream, _ in some):
                yield from ledger.sent(source.name, stream, [crm_id for name, crm_id in some if name == stream])


def _chunks(records: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Yield up to AT_ONCE records at a time. An error is raised after what was found before it."""
    while True:
        some: list[tuple[str, str]] = []
        try:
            for record in islice(records, AT_ONCE):
                some.append(record)  # noqa: PERF402 - those before a failure are kept
        except Exception:
            yield some
            raise
        yield some
        if len(some) < AT_ONCE:
            return


def _line(source: Source, row: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[str, ...]:
    url = source.config.record_url(row["stream"], row["crm_id"], kept) or ""
    state = "delivered" if row["state"] == "delivered" else "perhaps delivered"
    return row["external_activity_id"], state, row["kind"], row["occurred_at"] or "", url


def _again(source: Source) -> str:
    return f"end it: `syncd resume {source.name}`. Then run `syncd forget` again, which names its delivered activities"


__all__ = ["erase", "sent"]
