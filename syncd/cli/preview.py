"""Show activities as they would be sent, with the origin of each field: `syncd preview`."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table

from syncd import clock
from syncd.cli import printing
from syncd.cli.printing import styled
from syncd.config import Config
from syncd.connector import Source
from syncd.errors import SyncdError, Unauthorized
from syncd.ledger import chosen
from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State
from syncd.normalize.provenance import AS_READ
from syncd.passes import wanted
from syncd.passes.dry_run import DryRun, Foreseen
from syncd.recotap import payload
from syncd.signals import StopRequest

DELIVERED = "Recotap has it and takes no update. This is how it would be sent today"


@dataclass(frozen=True, slots=True)
class Line:
    """One line about an activity."""

    name: str  # a field of the payload, or e.g. "state"
    value: str = ""
    origin: str = ""  # the CRM's property, otherwise the field of the draft
    rule: str = ""  # what chose it

    def told(self) -> str:
        """Return the origin in brackets."""
        return f"({self.origin})" if self.rule == AS_READ else f"({self.origin}: {self.rule})"


def first(
    config: Config, sources: Sequence[Source], most: int, stop: StopRequest
) -> tuple[list[dict[str, Any]], list[SyncdError]]:
    """Return the first `most` activities that a pass would book, and the errors so far."""
    run = DryRun(sources, config.rules.to_rules(), ledger=chosen(config.ledger), stop=stop, traced=most)
    with closing(run.activities()) as activities:
        return [to_json(each) for each in islice(activities, most)], run.errors


def of_ids(
    config: Config, sources: Sequence[Source], asked: Sequence[str], stop: StopRequest
) -> tuple[list[dict[str, Any]], list[SyncdError]]:
    """Look up activities by id, and return them with all errors. An id that no source knows is an error."""
    ledger = chosen(config.ledger)
    names = wanted.wanted(asked, sources, ledger)
    most = sum(map(len, names.places.values()))
    run = DryRun(sources, config.rules.to_rules(), ledger=ledger, stop=stop, ids=names.ids, traced=most)
    found, places = [], set()
    for each in run.activities():
        place = each.source, each.stream, each.reading.crm_id
        places.add(place)
        found.append(to_json(each, is_delivered=place in names.delivered))
    lacking = names.lacking(places)
    if not lacking:  # a stream that the key may not read had none of them
        return found, [error for error in run.errors if not isinstance(error, Unauthorized)]
    if run.errors or stop.requested:  # the record may be where nothing could be read
        return found, run.errors
    return found, [*names.errors(places)]


def to_json(each: Foreseen, *, is_delivered: bool = False) -> dict[str, Any]:
    """Return one entry of `syncd preview --json` (design 4.4). `missing` has the fields that Recotap requires."""
    reading = each.reading
    sent = json.loads(reading.payload) if reading.payload else None
    return {
        "external_activity_id": reading.external_activity_id,
        "source": each.source,
        "stream": each.stream,
        "crm_id": reading.crm_id,
        "kind": reading.kind,
        "occurred_at": clock.text(reading.occurred_at) if reading.occurred_at else None,
        "state": State.DELIVERED.value if is_delivered else reading.wanted.value,
        "reason": reading.reason.value if reading.reason and not is_delivered else None,
        "detail": reading.detail,
        "missing": _missing(each),
        "payload": sent,
        "provenance": {
            field: dict(origin) for field, origin in each.provenance.items() if sent is None or field in sent
        },
    }


def _missing(each: Foreseen) -> list[str]:
    """Return the required fields that an incomplete activity lacks. None, if nothing of it could be read."""
    if each.reading.wanted is not State.INCOMPLETE or not each.provenance:
        return []
    return [field for field in payload.required() if field not in each.provenance]


def show(document: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one entry: a block on a terminal, otherwise a line for each field, for `grep`."""
    lines = [*_lines(document)]
    if console is None and not sys.stdout.isatty():
        for line in lines:
            printing.row(document["external_activity_id"], line.name, line.value, line.origin, line.rule)
        return
    console = console or Console(highlight=False)
    console.print(styled(document["external_activity_id"], "bold"))
    table = Table.grid(padding=(0, 1, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        text = styled(line.value)
        if line.origin:
            text.append_text(styled(f"  {line.told()}" if line.value else line.told(), "dim"))
        table.add_row(styled(line.name), text)
    console.print(table, end="\n\n")


def _lines(document: Mapping[str, Any]) -> Iterator[Line]:
    state, reason = document["state"], document["reason"]
    yield Line("state", f"{state}: {DELIVERED if state == State.DELIVERED else State.describe(state)}")
    if reason:
        yield Line("reason", f"{reason}: {Reason.describe(reason)}")
    if document["detail"]:
        yield Line("detail", document["detail"])
    if document["missing"]:
        yield Line("missing", ", ".join(document["missing"]))
    origins = document["provenance"]
    sent = document["payload"] or dict.fromkeys(origins, "")
    for field, value in sent.items():
        origin = origins.get(field, {})
        told = origin.get("from", ""), origin.get("rule", "")
        parts = [*_parts(field, value)]
        if len(parts) != 1:
            yield Line(field, "", *told)
            yield from (Line(name, part) for name, part in parts)
        else:
            yield Line(field, parts[0][1], *told)


def _parts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield (path, value) of each value within a field, e.g. ("contacts.0.email", …)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _parts(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _parts(f"{path}.{index}", inner)
    else:
        yield path, str(value)


__all__ = ["first", "of_ids", "show", "to_json"]
