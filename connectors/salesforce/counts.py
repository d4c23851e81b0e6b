"""Count an org's rows in a span of SystemModstamp by aggregate queries, which are halved when they are too slow."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from connectors.salesforce import soql
from connectors.salesforce.client import Client, QueryTimeout
from connectors.salesforce.mapping import USER_PREFIX
from connectors.salesforce.reading import SECOND, halves
from connectors.salesforce.schema import Schema
from syncd.errors import Unavailable

MOST_QUERIES = 60  # of one refresh, halves included
WHAT = "scope"  # in messages

Groups = Counter[tuple[Any, ...]]  # the values of the grouped fields: rows

T = TypeVar("T")


class Counts:
    """Count rows between two instants, both inclusive. Unavailable if that takes too many queries."""

    def __init__(self, client: Client, schema: Schema, since: datetime, until: datetime) -> None:
        self._client = client
        self._schema = schema
        self._since, self._until = since.replace(microsecond=0), until.replace(microsecond=0)
        self._queries = 0

    def of(self, object_type: str, *conditions: str) -> int:
        """Return the number of an object's rows that fulfil SOQL conditions."""
        where = self._where(object_type, conditions)

        def ask(since: datetime, until: datetime) -> Counter[str]:
            return Counter({"": _whole(self._query(soql.counted(object_type, where, since, until)).get("totalSize"))})

        return self._halving(ask, self._since, self._until)[""]

    def by(self, fields: Sequence[str], object_type: str, *conditions: str, most: int) -> Groups:
        """Return the numbers of an object's rows by `fields`, at least of the `most` frequent groups."""
        if not fields:
            return Counter({(): self.of(object_type, *conditions)})
        where = self._where(object_type, conditions)

        def ask(since: datetime, until: datetime) -> Groups:
            answer = self._query(soql.grouped(object_type, fields, where, since, until, most=most))
            return Counter({tuple(row.get(name) for name in fields): _whole(row.get("n")) for row in answer["records"]})

        return self._halving(ask, self._since, self._until)

    def _where(self, object_type: str, conditions: Sequence[str]) -> tuple[str, ...]:
        deleted = ("IsDeleted = false",) if self._schema.has(object_type, "IsDeleted") else ()
        return (*deleted, *conditions)

    def _halving(
        self, ask: Callable[[datetime, datetime], Counter[T]], since: datetime, until: datetime
    ) -> Counter[T]:  # fmt: skip
        try:
            return ask(since, until)
        except QueryTimeout:
            if until - since < SECOND:
                raise
            found: Counter[T] = Counter()
            for half in halves(since, until):
                found.update(self._halving(ask, *half))
            return found

    def _query(self, text: str) -> Any:
        self._queries += 1
        if self._queries > MOST_QUERIES:
            message = f"Salesforce, {WHAT}: not counted within {MOST_QUERIES} queries"
            raise Unavailable(message, hint="ask for fewer days: `syncd scope --days 3`")
        if self._client.may_be_down:  # the smallest request tells whether the query is too slow, or the org is away
            with self._client.isolating():
                self._client.query(soql.users_by_ids([soql.no_ones_id(USER_PREFIX)]), what=WHAT)
        return self._client.query(text, what=WHAT, divisible=True)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


__all__ = ["Counts", "Groups"]
