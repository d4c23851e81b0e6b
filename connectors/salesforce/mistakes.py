"""Compare the fields that a source's tables name with those that the acting user sees. Pure."""

from collections.abc import Collection, Iterator
from functools import partial

from connectors.salesforce.conditions import where
from connectors.salesforce.config import SalesforceConfig
from connectors.salesforce.schema import TASK, Schema
from connectors.salesforce.tables import CallTable, EmailTable, SalesforceRules
from syncd.errors import Problem

SHOWN = "write it exactly as Setup does, capital letters and __c, and let the acting user see it in a permission set"


def problems(config: SalesforceConfig, schema: Schema, *, source: str, emails: Collection[str]) -> tuple[Problem, ...]:
    """Return a problem for each place that names a field which the user does not see.

    `emails` has the objects that emails are read from. The defaults do without a field: what they lack is a warning.
    """
    place = f"sources.{source}"
    found = list(_hidden(place, "occurred_at_field", (config.occurred_at_field,), (TASK,), schema))
    for table, rules, objects in (("calls", config.calls, (TASK,)), ("emails", config.emails, tuple(emails))):
        if rules.read:
            found += _of_table(f"{place}.{table}", rules, objects, schema)
    return tuple(found)


def broad(config: SalesforceConfig, schema: Schema) -> Iterator[str]:
    """Yield each entry of `match` by which Salesforce cannot filter, e.g. "calls.match, entry 2"."""
    for table, rules in (("calls", config.calls), ("emails", config.emails)):
        for place, entry in enumerate(rules.match if rules.read else (), 1):
            if not where([entry], partial(schema.type_to_filter_by, TASK)):
                yield f"{table}.match, entry {place}"


def _of_table(place: str, rules: SalesforceRules, objects: tuple[str, ...], schema: Schema) -> Iterator[Problem]:
    default = EmailTable() if isinstance(rules, EmailTable) else CallTable()
    if rules.match != default.match and TASK in objects:
        for number, entry in enumerate(rules.match, 1):
            yield from _hidden(place, f"match, entry {number}", entry.fields, (TASK,), schema)
    for number, entry in enumerate(rules.excepted, 1):
        yield from _hidden(place, f"except, entry {number}", entry.fields, objects, schema)
    for key, names in rules.fields:
        if names != getattr(default.fields, key):
            for name in names:
                yield from _hidden(place, f"fields.{key}", (name,), objects, schema)


def _hidden(
    place: str, key: str, names: Collection[str], objects: tuple[str, ...], schema: Schema
) -> Iterator[Problem]:  # fmt: skip
    """Yield a problem unless one of the objects has all of `names`."""
    lacking = [[name for name in names if name and not schema.has(each, name)] for each in objects]
    if not lacking or not all(lacking):
        return
    fewest, *_ = sorted(lacking, key=len)
    message = f"{' and '.join(objects)}: no field {' and no '.join(fewest)}, or the acting user does not see it"
    yield Problem(f"{place}.{key}", message, SHOWN)
