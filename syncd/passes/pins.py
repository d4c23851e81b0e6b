"""Compare a source with what the ledger remembers of it. Everything here decides, and nothing writes.

Activities would be sent twice if a portal came back under another name, and lost if a name led to another portal. A CRM
that does not identify itself is judged by evidence: records that the ledger holds under another name.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from syncd import clock
from syncd.connector import Source
from syncd.errors import ConfigError, Problem, SyncdError
from syncd.ledger import CONNECTOR, TRUSTED, LedgerReader
from syncd.lifecycle.transitions import Reading
from syncd.passes.events import Event, PageRead

log = structlog.get_logger()

ENOUGH = 3  # records of a page that another name holds; of a smaller page, all
NAMED = 3  # colliding ids that a message shows at most
Known = Mapping[str, tuple[str | None, str]]  # by source: identity, template of externalActivityId


def refuse_stranger(glance: LedgerReader, source: Source, identity: str | None) -> None:
    """Raise ConfigError if the source's name and its portal do not belong together.

    Otherwise everything would be sent twice.
    """
    trusted = source.name in glance.kept(TRUSTED, [source.name])
    problem = stranger(
        source, identity, glance.sources(), has_rows=glance.has_rows(source.name), is_trusted=trusted
    )  # fmt: skip
    if problem is not None:
        raise ConfigError([problem])


def stranger(
    source: Source, identity: str | None, known: Known, *, has_rows: bool, is_trusted: bool = False
) -> Problem | None:
    """Return the reason why `source` may not be read, or None. `identity`: None if the CRM does not tell it."""
    path = f"sources.{source.name}"
    before, template = known.get(source.name, (None, source.config.external_id))
    if template != source.config.external_id and has_rows:
        message = (
            f"is {source.config.external_id!r}, but the ledger's activities of this source were sent as {template!r}"
        )
        return Problem(f"{path}.external_id", message, f"put {template!r} back")
    if identity is None:
        return None
    if before is not None and before != identity:
        message = f"these credentials lead to portal or org {identity}, the ledger knows this source as {before}"
        hint = "use the credentials of the portal it was, or give the new portal a source name of its own"
        return Problem(path, message, f"{hint}. If you know better: {trust(source.name)}")
    other = next((name for name, (theirs, _) in known.items() if theirs == identity and name != source.name), None)
    if other is not None and before is None and not is_trusted:
        message = f"portal or org {identity} stands in the ledger as the source {other!r}"
        return Problem(path, message, renamed(source.name, other))
    return None


def trust(name: str) -> str:
    """Return the command by which an operator vouches for a source, or for "recotap"."""
    return f"`syncd ledger trust {name}`"


def renamed(name: str, other: str) -> str:
    """Return the remedy for a source that the ledger holds under another name."""
    hint = f"call the table [sources.{other}] again: under a new name everything would be sent twice"
    return f"{hint}. If you know better: {trust(name)}"


# -- a CRM that does not identify itself ----------------------------------------------------


@dataclass(slots=True)
class Evidence:
    """Judge the pages of one source in one pass by what the ledger holds under other names of its connector."""

    source: Source
    glance: LedgerReader | None  # used in the thread that opened it; None: there is no ledger yet
    names: Collection[str] = ()  # whose portal may be this source's

    @classmethod
    def of(cls, glance: LedgerReader | None, source: Source, identity: str | None) -> "Evidence":
        """Return the judge for `source`, whose CRM calls itself `identity`."""
        if glance is None or source.name in glance.kept(TRUSTED, [source.name]):
            return cls(source, glance)
        known, holding = glance.sources(), glance.sources_with_rows()
        names = namesakes(
            source, identity, {name: known[name] for name in holding if name in known}, glance.kept(CONNECTOR, known)
        )
        return cls(source, glance, names)

    def weigh(self, stream: str, readings: Sequence[Reading]) -> None:
        """Raise ConfigError if the records of a page stand in the ledger under another name. Call before it is booked.

        It costs nothing if each portal is known.
        """
        if self.glance is None or not self.names or not readings:
            return
        own = self.glance.known(self.source.name, stream, (reading.crm_id for reading in readings))
        fresh = [reading for reading in readings if reading.crm_id not in own]
        held = self.glance.held_under(self.names, stream, (each.crm_id for each in fresh))
        other = held_elsewhere(fresh, held)
        if other is not None:
            message = f"its CRM does not identify itself, and the ledger holds its records as the source {other!r}"
            raise ConfigError([Problem(f"sources.{self.source.name}", message, renamed(self.source.name, other))])


def namesakes(source: Source, identity: str | None, known: Known, connectors: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in the ledger whose portal may be that of `source`: one of the two does not tell.

    A name of an older ledger has no connector until a pass with its table has kept one. It counts as of this connector.
    """
    return tuple(
        name
        for name, (theirs, _) in known.items()
        if name != source.name
        and (identity is None or theirs is None)
        and connectors.get(name, source.config.connector) == source.config.connector
    )


def held_elsewhere(fresh: Sequence[Reading], held: Iterable[tuple[str, str, str]]) -> str | None:
    """Return the name that holds enough of the records `fresh`, or None.

    `held` has (source, crm_id, occurred_at as text). An id alone proves nothing, because files count from 1. A record
    with the same id that happened in the same millisecond is the same.
    """
    at = {each.crm_id: clock.text(each.occurred_at) for each in fresh if each.occurred_at is not None}
    same = Counter(source for source, crm_id, occurred in held if at.get(crm_id) == occurred)
    name, count = max(same.items(), key=lambda pair: pair[1], default=("", 0))
    return name if count and count >= min(ENOUGH, len(at)) else None


# -- ids that collide -------------------------------------------------------------------------


def unbooked(glance: LedgerReader, source: str, event: Event, error: Exception) -> tuple[str | None, SyncdError]:
    """Return the stream and the reason of an event that could not be booked: a stranger, ids that collide, or a bug.

    Call it after the rollback. A bug is logged here, because the error of the pass names its type alone.
    """
    stream = getattr(event, "stream", None)
    if isinstance(error, ConfigError):
        return stream, error
    if isinstance(event, PageRead):
        held = glance.owners_of(reading.external_activity_id for reading in event.readings)
        if (mistake := collision(source, event.stream, event.readings, held)) is not None:
            return stream, mistake
    log.error("pull.bug", source=source, stream=stream, exc_info=error, hint="report it. The other sources go on")
    message = f"a bug while {source} was booked: {type(error).__name__}"
    return stream, SyncdError(message, hint="report it. The other sources go on")


def collision(
    source: str, stream: str, readings: Sequence[Reading], held: Mapping[str, tuple[str, str, str]]
) -> ConfigError | None:
    """Return the error for records of a page whose externalActivityId belongs to another record, or None.

    `held` has (source, stream, crm_id) of the ids that the ledger holds.
    """
    owners = dict(held)
    names: dict[str, str] = {}  # externalActivityId: source of the record that has it
    for each in readings:
        owner = owners.setdefault(each.external_activity_id, (source, stream, each.crm_id))
        if owner != (source, stream, each.crm_id):
            names[each.external_activity_id] = owner[0]
    if not names:
        return None
    shown = ", ".join(map(repr, [*names][:NAMED]))
    whose = " and ".join(sorted({f"[sources.{name}]" for name in names.values()}))
    message = f"gives ids that other records of {whose} have in the ledger, e.g. {shown}"
    hint = 'give this source a form of its own, e.g. external_id = "{source}-{kind}-{id}". If its table was renamed, '
    return ConfigError([Problem(f"sources.{source}.external_id", message, f"{hint}rename it back")])


__all__ = [
    "Evidence", "collision", "held_elsewhere", "namesakes", "refuse_stranger", "renamed",
    "stranger", "trust", "unbooked",
]  # fmt: skip
