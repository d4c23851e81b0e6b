"""The parser of SOQL, as far as a reader of activities needs it.

    query     = SELECT (COUNT() | item {, item}) FROM object [WHERE condition] [GROUP BY path {, path}]
                [ORDER BY path [ASC|DESC] [NULLS FIRST|LAST] {, …}] [LIMIT n] [OFFSET n]
    item      = path | COUNT(path) [alias] | (query)
              | TYPEOF path WHEN object THEN path {, path} … [ELSE path {, path}] END
    condition = term {AND term} | term {OR term}        a mixture needs parentheses, as in Salesforce
    term      = [NOT] ((condition) | path operator literal | path [NOT] IN (literal {, literal}))

Literals are text in single quotes, numbers, true, false, null, and unquoted days and instants.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from syncd.sandbox.salesforce.refusals import malformed
from syncd.sandbox.salesforce.tokens import Token, literal, tokens

MAX_CHILDREN = 20  # sub-queries (SOQL guide v67)
RESERVED = frozenset(
    "AND ASC DESC EXCLUDES FIRST FROM GROUP HAVING IN INCLUDES LAST LIKE LIMIT NOT NULL NULLS OR ORDER SELECT WHERE "
    "WITH".split()
)
AGGREGATES = ("COUNT", "COUNT_DISTINCT")
OPERATORS = ("=", "!=", "<>", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Path:
    """A field and the relationships before it. `at` is its position in the query."""

    names: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over the rows of a group, with its alias."""

    function: str  # COUNT, COUNT_DISTINCT
    path: Path
    alias: str | None
    at: int


@dataclass(frozen=True, slots=True)
class TypeOf:
    """A TYPEOF of a polymorphic relationship."""

    relationship: Path
    whens: tuple[tuple[Path, tuple[Path, ...]], ...]  # object and its fields
    otherwise: tuple[Path, ...] | None
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal and its kind."""

    kind: str  # string, number, date, datetime, boolean, null
    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison of a field with literals."""

    path: Path
    operator: str  # one of OPERATORS, LIKE, IN, NOT IN
    literals: tuple[Literal, ...]
    at: int  # position of the operator


@dataclass(frozen=True, slots=True)
class Combined:
    """Conditions combined by AND or OR."""

    word: str  # AND, OR
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """A negated condition."""

    part: "Condition"


Condition = Compare | Combined | Not


@dataclass(frozen=True, slots=True)
class Order:
    """One term of an ORDER BY."""

    path: Path
    function: str  # of an aggregate, otherwise ""
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query or sub-query."""

    items: "tuple[Path | Aggregate | TypeOf | Query, ...]"
    count: bool
    source: Path
    where: Condition | None
    group: tuple[Path, ...]
    order: tuple[Order, ...]
    limit: int | None
    offset: int
    at: int


@lru_cache(512)
def parse(text: str) -> Query:
    """Parse a query. Raises QueryRefusal."""
    parser = _Parser(tokens(text))
    query = parser.query(inner=False)
    parser.expect_end()
    return query


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self.tokens, self.place = found, 0

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        token = self.next
        self.place += token.kind != "end"
        return token

    def takes(self, *words: str) -> bool:
        """Consume these words if they are next, and return whether they were."""
        coming = self.tokens[self.place : self.place + len(words)]
        if [token.word for token in coming] != list(words):
            return False
        self.place += len(words)
        return True

    def expect(self, word: str) -> Token:
        if self.next.word != word:
            raise self.unexpected()
        return self.take()

    def expect_end(self) -> None:
        if self.next.kind != "end":
            raise self.unexpected()

    def unexpected(self) -> Exception:
        token = self.next
        return malformed(token.at, f"unexpected token: {token.text if token.kind == 'end' else repr(token.text)}")

    def query(self, *, inner: bool) -> Query:
        at = self.expect("SELECT").at
        count = not inner and self.takes("COUNT", "(", ")")
        items = () if count else self.items(inner=inner)
        self.expect("FROM")
        source = self.path()
        where = self.condition() if self.takes("WHERE") else None
        group = self.paths() if not inner and self.takes("GROUP", "BY") else ()
        order = self.order() if self.takes("ORDER", "BY") else ()
        if count and order:
            raise malformed(order[0].path.at, "Ordering of aggregate queries is not supported here")
        limit = self.whole_number() if self.takes("LIMIT") else None
        offset = self.whole_number() if self.takes("OFFSET") else 0
        return Query(items, count, source, where, group, order, limit, offset, at)

    def items(self, *, inner: bool) -> tuple[Path | Aggregate | TypeOf | Query, ...]:
        found: list[Path | Aggregate | TypeOf | Query] = [self.item(inner=inner)]
        while self.takes(","):
            found.append(self.item(inner=inner))
        children = [item for item in found if isinstance(item, Query)]
        if len(children) > MAX_CHILDREN:
            raise malformed(children[MAX_CHILDREN].at, f"Too many child queries: at most {MAX_CHILDREN} are allowed")
        typed = [item.relationship.names[0].lower() for item in found if isinstance(item, TypeOf)]
        for item in found:
            if isinstance(item, Path) and len(item.names) > 1 and item.names[0].lower() in typed:
                raise malformed(item.at, f"'{item.names[0]}' is used in TYPEOF and cannot be selected as well")
        return tuple(found)

    def item(self, *, inner: bool) -> Path | Aggregate | TypeOf | Query:
        if self.next.word == "TYPEOF":
            return self.typeof()
        if self.next.text != "(" or inner:
            return self.path() if inner else self.column()
        self.take()
        query = self.query(inner=True)
        self.expect(")")
        return query

    def column(self) -> Path | Aggregate:
        """Read a field, or an aggregate with its alias. The alias of a grouped field is not supported here."""
        function, path = self.function()
        named = function and self.next.kind == "name" and self.next.word not in RESERVED
        alias = self.take().text if named else None
        return Aggregate(function, path, alias, path.at) if function else path

    def function(self) -> tuple[str, Path]:
        """Read a path and the function around it, if there is one."""
        word = self.next.word
        if word not in AGGREGATES or self.tokens[self.place + 1].text != "(":
            return "", self.path()
        self.take()
        self.expect("(")
        path = self.path()
        self.expect(")")
        return word, path

    def typeof(self) -> TypeOf:
        at = self.take().at
        relationship, whens, otherwise = self.path(), [], None
        while self.takes("WHEN"):
            kind = self.path()
            self.expect("THEN")
            whens.append((kind, self.paths()))
        if not whens:
            raise self.unexpected()
        if self.takes("ELSE"):
            otherwise = self.paths()
        self.expect("END")
        return TypeOf(relationship, tuple(whens), otherwise, at)

    def paths(self) -> tuple[Path, ...]:
        found = [self.path()]
        while self.takes(","):
            found.append(self.path())
        return tuple(found)

    def path(self) -> Path:
        if self.next.kind != "name" or self.next.word in RESERVED or self.next.word == "TYPEOF":
            raise self.unexpected()
        token = self.take()
        return Path(tuple(token.text.split(".")), token.at)

    def condition(self) -> Condition:
        parts = [self.term()]
        word = self.next.word if self.next.word in ("AND", "OR") else ""
        while word and self.takes(word):
            parts.append(self.term())
        if word and self.next.word in ("AND", "OR"):
            raise self.unexpected()
        return Combined(word, tuple(parts)) if word else parts[0]

    def term(self) -> Condition:
        if self.takes("NOT"):
            return Not(self.term())
        if not self.takes("("):
            return self.comparison()
        inside = self.condition()
        self.expect(")")
        return inside

    def comparison(self) -> Compare:
        path, at = self.path(), self.next.at
        negated = self.takes("NOT")
        if self.takes("IN"):
            self.expect("(")
            found = [self.literal()]
            while self.takes(","):
                found.append(self.literal())
            self.expect(")")
            return Compare(path, "NOT IN" if negated else "IN", tuple(found), at)
        if negated or self.next.word not in (*OPERATORS, "LIKE"):
            raise self.unexpected()
        operator = self.take().word
        return Compare(path, "!=" if operator == "<>" else operator, (self.literal(),), at)

    def literal(self) -> Literal:
        token = self.next
        if token.word in ("TRUE", "FALSE", "NULL"):
            self.take()
            kind = "null" if token.word == "NULL" else "boolean"
            return Literal(kind, {"TRUE": True, "FALSE": False, "NULL": None}[token.word], token.at)
        if token.kind in ("name", "symbol", "end"):
            raise self.unexpected()
        self.take()
        return Literal(token.kind, literal(token), token.at)

    def order(self) -> tuple[Order, ...]:
        found = [self.ordering()]
        while self.takes(","):
            found.append(self.ordering())
        return tuple(found)

    def ordering(self) -> Order:
        function, path = self.function()
        descending = self.takes("DESC")
        if not descending:
            self.takes("ASC")
        last = self.takes("NULLS", "LAST")
        if not last:
            self.takes("NULLS", "FIRST")
        return Order(path, function, descending, last)

    def whole_number(self) -> int:
        token = self.next
        if token.kind != "number" or not token.text.isdecimal():
            raise self.unexpected()
        return int(self.take().text)
