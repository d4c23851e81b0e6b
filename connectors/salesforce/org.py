"""Cache the org's schema, its users and where its emails are, which seldom change.

All of it is kept in the store for a day, because a pass by cron is a new process. An idle pass requests none of it. One
batch request reads describes and users.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from connectors.salesforce import soql
from connectors.salesforce.client import Client, query_path
from connectors.salesforce.config import EMAILS_FROM, SalesforceConfig
from connectors.salesforce.culprits import isolated
from connectors.salesforce.mapping import USER_PREFIX, owner
from connectors.salesforce.mistakes import broad, problems
from connectors.salesforce.retry import LocatorGone, QueryTimeout
from connectors.salesforce.schema import CONTACT, EMAIL, LEAD, TASK, WANTED, Schema
from syncd.activity import Owner
from syncd.connector import Store
from syncd.errors import ConfigError, Problem, Unauthorized, Unavailable
from syncd.fields import parse_text
from syncd.isolation import AdaptiveSize, Budget, in_halves

KEEP = timedelta(hours=24)
SHAPE = "2"  # of a packed schema
RETRIEVED_AT_ONCE = 2_000  # ids (Limits v67)
ISOLATING = 300  # requests of a pass that halve what Salesforce does not serve. Ten culprits among 400 take so many
GRANT = "let the acting user see it: Read on the object, and the field in a permission set"


class Org:
    """Hold one org's schema and users, and the object its emails are read from."""

    def __init__(self, client: Client, store: Store, config: SalesforceConfig, *, source: str = "") -> None:
        self._source = source  # the name of its table
        self._client = client
        self._store = store
        self._config = config
        self._schema: Schema | None = None
        self._users: dict[str, Owner] | None = None
        self._everyone: tuple[Owner, ...] | None = None
        self._by_address: dict[str, Owner] | None = None  # of `everyone`
        self._current = False  # the users are at most a day old
        self._strangers: dict[str, Owner] = {}  # users of other types, asked for one by one
        self._asked: set[str] = set()  # users, in this pass
        self._fresh = False  # described in this pass
        self._suffices: Schema | None = None  # the schema that has all fields which the configuration names
        self.budget = Budget(ISOLATING)
        self.at_once = AdaptiveSize(store, "at_once", RETRIEVED_AT_ONCE)  # ids to retrieve
        self.unserved: dict[str, str] = {}  # users that Salesforce did not serve in this pass, with the error

    def schema(self) -> Schema:
        """Return the org's schema, described within the last day."""
        if self._schema is None:
            kept = self._store.get("schema", max_age=KEEP)
            if isinstance(kept, dict) and kept.get("key") == self._key():
                self._schema = Schema.unpack(kept["schema"])
            else:
                self.describe()
        assert self._schema is not None
        return self._schema

    def describe(self) -> bool:
        """Read schema and users again, once a pass. False if this pass has done so."""
        if self._fresh:
            return False
        paths = [*(f"sobjects/{name}/describe" for name in WANTED), query_path(soql.users())]
        *describes, users = in_halves(
            paths,
            lambda some: self._client.batch(some, what="describe"),
            too_much=(QueryTimeout,),
        )
        self._schema = Schema.of(dict(zip(WANTED, describes, strict=True)), self.named_fields())
        self._store.put("schema", {"key": self._key(), "schema": self._schema.pack()})
        self._users = {str(each.crm_id): each for each in map(owner, self._all_users(users))}
        self._keep_users()
        self._fresh = self._current = True
        return True

    def _all_users(self, page: Any) -> list[Any]:
        """Return the users of a query's first page and of all further ones. If its locators die, they follow by id."""
        found: list[Any] = []
        while True:
            before = len(found)
            try:
                for row in self._client.all(page, what="users"):
                    found.append(row)  # noqa: PERF402 - those before a failure are kept
            except LocatorGone:
                after = parse_text(found[-1].get("Id")) if len(found) > before else None
                if after is None or not soql.is_id(after):
                    raise
                page = self._client.query(soql.users(after), what="users", deleted_too=False)
            else:
                return found

    def custom_fields(self) -> list[tuple[str, str]]:
        """Return (object, field) for each field beside those of the tables [calls] and [emails]."""
        linkedin = self._config.linkedin_field
        return [(CONTACT, linkedin), (LEAD, linkedin)] if linkedin else []

    def named_fields(self) -> list[tuple[str, str]]:
        """Return (object, field) for each field that the configuration names. An object may lack some."""
        tables = ((TASK, self._config.named), (EMAIL, self._config.emails.named))
        return [*self.custom_fields(), *((name, each) for name, names in tables for each in names)]

    def readable(self, object_type: str, *, beside_emails: bool = False) -> Schema:
        """Return the schema. Unauthorized if it does not suffice to read `object_type`.

        Tasks that are read `beside_emails` are compared with EmailMessages, unless the org has none. ConfigError lists
        all fields that the configuration names and the acting user does not see.
        """
        if self.problems() and self.describe():
            return self.readable(object_type, beside_emails=beside_emails)
        schema = self.schema()
        lacking = schema.lacking(object_type)
        if beside_emails and self.offers(EMAIL):
            lacking += [f"{EMAIL}.{name}" for name in ("Id", "ActivityId") if not schema.filters_by(EMAIL, name)]
        if lacking:
            raise Unauthorized(f"Salesforce shows the acting user no {', no '.join(lacking)}", hint=GRANT)
        if found := self.problems():
            raise ConfigError(found, where=f"sources.{self._source}")
        return schema

    def problems(self) -> tuple[Problem, ...]:
        """Return the configuration's mistakes that the org's description shows."""
        schema = self.schema()
        if self._suffices is schema:
            return ()
        objects = {"emails": EMAIL, "email_tasks": TASK}
        emails = [name for stream, name in objects.items() if self._config.reads(stream) and self.offers(name)]
        found = problems(self._config, schema, source=self._source, emails=emails)
        self._suffices = None if found else schema
        return found

    def broad_entries(self) -> list[str]:
        """Return each entry of `match` by which no query can be filtered."""
        return list(broad(self._config, self.schema()))

    def offers(self, object_type: str) -> bool:
        """Tell whether the org has an object that it may do without. Otherwise there is nothing to read.

        EmailMessages that were read before are hidden, not missing: `readable` reports that.
        """
        if object_type == TASK or self.schema().has(object_type):
            return True
        return object_type == EMAIL and self.reads_emails()

    def reads_emails(self) -> bool:
        """Tell whether an EmailMessage is booked."""
        return bool(self._store.get(EMAILS_FROM) == EMAIL)

    def keep_that_emails_are_read(self) -> None:
        """Remember that EmailMessages are read. Call it with the first page: it is committed with that page.

        If they are hidden later, their tasks must not be read as further emails.
        """
        if not self.reads_emails():
            self._store.put(EMAILS_FROM, EMAIL)

    def everyone(self) -> Sequence[Owner]:
        """Return the known users on our side, however old the list, without a request."""
        if self._users is None:
            self._load_users(max_age=None)
        if self._everyone is None:  # the same object until a change, because callers derive our side from it
            self._everyone = tuple((self._users or {}).values())
        return self._everyone

    def refresh_users(self) -> None:
        """Read the users again if the list is older than a day."""
        if not self._current and not self._load_users(max_age=KEEP):
            self.describe()
        self._current = True

    def users(self, ids: Iterable[str], *, fresh: bool = False) -> dict[str, Owner]:
        """Return the users of `ids`. Unknown ones, or all if `fresh`, are read once a pass.

        `unserved` names those that Salesforce did not serve while it served others.
        """
        self.refresh_users()
        wanted = [each for each in dict.fromkeys(ids) if each.startswith(USER_PREFIX) and soql.is_id(each)]
        unknown = [each for each in wanted if each not in self._asked and (fresh or self._known(each) is None)]
        if unknown:
            self._ask_some(unknown)
        return {each: found for each in wanted if (found := self._known(each)) is not None}

    def by_address(self, written: Any) -> Owner | None:
        """Return the known user on our side with an address, an active one first."""
        if self._by_address is None:
            people = sorted(self.everyone(), key=lambda each: each.active)
            self._by_address = {each.email.strip().lower(): each for each in people if each.email}
        return self._by_address.get((parse_text(written) or "").lower())

    def is_ours(self, crm_id: str) -> bool:
        """Tell whether a user is known to be on our side."""
        return crm_id in (self._users or {})

    def _known(self, crm_id: str) -> Owner | None:
        return (self._users or {}).get(crm_id) or self._strangers.get(crm_id)

    def _ask_some(self, ids: Sequence[str]) -> None:
        """Read users by id. A new colleague is on no list yet. Users of other types are strangers."""
        found = isolated(
            ids, self._rows_of_users, client=self._client, budget=self.budget, alone=self._without,
            nobody=soql.no_ones_id(USER_PREFIX),
        )  # fmt: skip
        rows = {str(row.get("Id")): row for row in found}
        self._asked.update(ids)
        ids = [each for each in ids if each not in self.unserved]
        ours = {each: owner(row) for each, row in rows.items() if row.get("UserType") == soql.OURS}
        others = {each: owner(rows[each]) if each in rows else Owner(each, None) for each in ids if each not in ours}
        before = (dict(self._users or {}), dict(self._strangers))
        self._users = {**before[0], **ours}
        self._strangers = {**before[1], **others}
        if before != (self._users, self._strangers):
            self._keep_users()

    def _without(self, crm_id: str, error: Unavailable) -> list[Any]:
        self.unserved[crm_id] = error.message
        return []

    def _rows_of_users(self, ids: Sequence[str]) -> list[Any]:
        queries = [soql.users_by_ids(chunk) for chunk in soql.chunks(ids)]
        return list(self._client.rows(queries, what="users", divisible=True))

    def _load_users(self, *, max_age: timedelta | None) -> bool:
        kept = self._store.get("users", max_age=max_age)
        if not isinstance(kept, list) or len(kept) != 2:
            return False
        ours, strangers = ([Owner(*each) for each in some] for some in kept)
        self._users, self._everyone, self._by_address = {str(each.crm_id): each for each in ours}, None, None
        self._strangers = {str(each.crm_id): each for each in strangers}
        return True

    def _keep_users(self) -> None:
        self._everyone = self._by_address = None
        some = ((self._users or {}).values(), self._strangers.values())
        packed = [[[each.crm_id, each.email, each.name, each.active] for each in people] for people in some]
        self._store.put("users", packed)

    def _key(self) -> str:
        """Return a digest of API version and configured fields, on which the schema depends."""
        parts = [
            SHAPE,
            self._config.api_version,
            *(".".join(each) for each in self.named_fields()),
            *map(str, WANTED.items()),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


__all__ = ["Org"]
