"""Write `syncd status` for a pipe: one fact a line, no line is folded, and the times are in UTC. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from syncd.lifecycle.states import State
from syncd.reporting import facts
from syncd.reporting.overview import WORDS, Level
from syncd.reporting.times import Times
from syncd.text import visible

Document = Mapping[str, Any]


def lines(document: Document, times: Times) -> Iterator[str]:
    """Yield the lines, with outside text escaped."""
    return map(visible, _lines(document, times))


def _lines(document: Document, times: Times) -> Iterator[str]:
    yield f"summary: {document['summary']['text']}"
    for each in document["summary"]["points"]:
        yield f"{WORDS[Level(each['level'])].lower()}: {each['text']} → {each['action']}"
    yield f"seen: {document['seen']}, {facts.BALANCE[document['balanced']]}"
    for state, count in document["activities"].items():
        yield f"{state}: {count} ({State.describe(state)})"
        for name, number, meaning in facts.parts(document, state):
            yield f"{state}, {name}: {number} ({meaning})" if meaning else f"{state}, {name}: {number}"
    for each in document["sources"]:
        which = f"source {each['source']} {each['stream']}"
        yield f"{which}, read up to: {times.aged(each['watermark'])}"
        yield f"{which}, last success: {times.aged(each['last_success_at'])}"
    yield from (f"Recotap, {name}: {value or '-'}" for name, value in facts.recotap(document, times))
    yield from facts.notes(document, times)


__all__ = ["lines"]
