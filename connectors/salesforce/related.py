"""Add contacts, leads, accounts and users to tasks and email messages.

A call's first contact and its account come inline. Its other contacts are read by the tasks' ids, and an email's come
with it. People named only by id are retrieved, up to 2,000 ids of one type in one request (REST guide v67, sObject
collections), and once in a pass's windows. A look-up by id starts with empty caches.

If Salesforce fails on some of them while it serves others, the culprits are isolated. The activities that need one of
them are `unserved`, because an activity that was sent without it could not be corrected. The others are read.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from connectors.salesforce import soql
from connectors.salesforce.client import Client
from connectors.salesforce.culprits import isolated
from connectors.salesforce.mapping import (
    ACCOUNT_PREFIX,
    CONTACT_PREFIX,
    LEAD_PREFIX,
    RECEIVERS,
    SENDER,
    TASK_PREFIX,
    USER_PREFIX,
    came_in,
    children,
    company,
    contact,
    from_address,
    lead,
    task_owner,
)
from connectors.salesforce.org import Org
from connectors.salesforce.retry import QueryRefused, TooSlow
from connectors.salesforce.schema import ACCOUNT, CONTACT, EMAIL, LEAD, TASK, Schema
from syncd.activity import Company, Owner, Person
from syncd.connector import Record, Ref
from syncd.errors import Unavailable
from syncd.fields import number, parse_text
from syncd.text import SHORT_ID

REMEMBERED = 50_000  # people and accounts; some 30 MB
ROLES = ("FromAddress", "ToAddress", "CcAddress", "BccAddress")  # in the order of who is an email's first contact

Row = Mapping[str, Any]
Rows = Sequence[tuple[Ref, Row]]
Ask = Callable[[Sequence[str]], list[Any]]  # returns the rows of ids


class Complete(NamedTuple):
    """The records whose related rows Salesforce served, and the others' ids with its error's message."""

    records: list[Record]
    unserved: dict[str, str]


class Related:
    """Hold the people and accounts read so far."""

    def __init__(
        self, client: Client, org: Org, schema: Schema, *, linkedin_field: str, fresh: bool = False,
        unbooked: Collection[str] = (),
    ) -> None:  # fmt: skip
        """`unbooked`: ids, short or not, of records that are looked up and that the ledger does not hold."""
        self._unbooked = frozenset(crm_id[:SHORT_ID] for crm_id in unbooked)
        self._client = client
        self._org = org
        self.schema = schema
        self._linkedin = linkedin_field
        self._fresh = fresh  # read users again, too: a look-up bypasses every cache
        self._people: dict[str, Person] = {}
        self._converted: dict[str, str] = {}  # lead -> the contact it became
        self._accounts: dict[str, Company] = {}
        self._asked: set[str] = set()
        self._unserved: dict[str, str] = {}  # ids that Salesforce did not serve while it served others, and its error

    def of_tasks(self, rows: Rows) -> Complete:
        """Return the records of tasks, each with `contacts`, `account`, and `by_id` if it is booked and looked up."""
        self._make_room()
        for _, row in rows:
            self._learn_account(row.get("AccountId"), row.get("Account"))
        others = self._task_people([row for _, row in rows if _is_shared(row)])
        people = []
        for ref, row in rows:
            who, more = self._learn_who(row), others.get(ref.crm_id)
            named = [who, *sorted(more)] if more else [who]
            people.append([each for each in dict.fromkeys(named) if each])
        self._retrieve(each for some in people for each in some)
        return self._complete(
            (Record(ref, row, {
                "contacts": self._found(named), "account": self._account(row.get("AccountId")),
                "by_id": self._is_booked(ref),
            }), (ref.crm_id, *named))
            for (ref, row), named in zip(rows, people, strict=True)
        )  # fmt: skip

    def _is_booked(self, ref: Ref) -> bool:
        return self._fresh and ref.crm_id[:SHORT_ID] not in self._unbooked

    def of_email_tasks(self, rows: Rows) -> Complete:
        """Return the records of email tasks, as `of_tasks` does.

        One that an EmailMessage names has its id as `named_by`, and no people: the EmailMessage has them.
        """
        named = self._named_by([ref.crm_id for ref, _ in rows]) if self.schema.has(EMAIL, "ActivityId") else {}
        complete = self.of_tasks([(ref, row) for ref, row in rows if ref.crm_id not in named])
        complete.records.extend(
            Record(ref, row, {"named_by": named[ref.crm_id], "by_id": self._is_booked(ref)})
            for ref, row in rows
            if ref.crm_id in named
        )
        return complete

    def of_voice_calls(self, rows: Rows) -> Complete:
        """Return the records of voice calls, each with `contacts` and `account` of the record that it relates to."""
        self._make_room()
        read_at = self._client.server_now()
        about = [parse_text(row.get("RelatedRecordId")) for _, row in rows]
        accounts = [each if each and each.startswith(ACCOUNT_PREFIX) else None for each in about]
        self._retrieve((each for each in about if each), accounts)
        return self._complete(
            (Record(ref, row, {
                "contacts": self._found([each] if each else ()), "account": self._account(each), "read_at": read_at,
            }), (ref.crm_id, each))
            for (ref, row), each in zip(rows, about, strict=True)
        )  # fmt: skip

    def of_emails(self, rows: Rows) -> Complete:
        """Return the records of emails, each with `contacts`, `account`, and the users `sender`, `receiver` and
        `task_owner`.
        """
        self._make_room()
        relation = self.schema.child(EMAIL) or ""
        people: list[list[str]] = []
        users: list[dict[str, list[str]]] = []
        accounts: list[str | None] = []
        for _, row in rows:
            roles = _roles(children(row, relation))
            people.append(list(dict.fromkeys(each for role in ROLES for each in roles.get(role, ()))))
            users.append({
                "sender": _users([parse_text(row.get("FromId")), *roles.get(SENDER, ())]),
                "receiver": _users(each for role in RECEIVERS for each in roles.get(role, ())),
            })  # fmt: skip
            about = parse_text(row.get("RelatedToId"))
            accounts.append(about if about and about.startswith(ACCOUNT_PREFIX) else None)
        self._retrieve((each for some in people for each in some), accounts)
        known = self._org.users([each for some in users for ids in some.values() for each in ids], fresh=self._fresh)
        ours = [{role: self._colleague(ids, known) for role, ids in some.items()} for some in users]
        for (_, row), some in zip(rows, ours, strict=True):
            some["sender"] = some["sender"] or self._org.by_address(from_address(row))
        tasks = [None if some["receiver"] else _task_of(row) for (_, row), some in zip(rows, ours, strict=True)]
        owners = self._task_owners(tasks)
        return self._complete(
            (Record(ref, row, {
                "contacts": self._found(named), "account": self._account(about), **some,
                "task_owner": owners.get(task),
            }), (*named, about, task, *(each for ids in asked.values() for each in ids)))
            for (ref, row), named, about, task, asked, some
            in zip(rows, people, accounts, tasks, users, ours, strict=True)
        )  # fmt: skip

    def _complete(self, found: Iterable[tuple[Record, Iterable[str | None]]]) -> Complete:
        """Separate the records that need an unserved id. Each comes with the ids that it needs."""
        unserved = {**self._unserved, **self._org.unserved}
        complete = Complete([], {})
        for record, needs in found:
            why = next((unserved[each] for each in needs if each in unserved), None) if unserved else None
            if why is None:
                complete.records.append(record)
            else:
                complete.unserved[record.ref.crm_id] = why
        return complete

    def _colleague(self, ids: Iterable[str], known: Mapping[str, Owner]) -> Owner | None:
        """Return the first user on our side with an address. A partner's or customer's login is not a rep."""
        return next((known[each] for each in ids if self._org.is_ours(each) and known[each].email), None)

    def _make_room(self) -> None:
        """Clear the caches once they are full, so that memory does not grow with the backlog."""
        if len(self._asked) + len(self._people) > REMEMBERED:
            for known in (self._people, self._converted, self._accounts, self._asked):
                known.clear()

    def _task_owners(self, tasks: Iterable[str | None]) -> dict[str | None, Owner | None]:
        """Return the owners of tasks, by task id, archived ones too.

        EmailMessage documents no relationship through ActivityId.
        """
        if len(self.schema.kept(TASK, ("Id", "OwnerId"))) < 2:
            return {}

        def ask(ids: Sequence[str]) -> list[Any]:
            queries = [soql.task_owners(some) for some in soql.chunks(ids)]
            return list(self._client.rows(queries, what="emails' tasks", deleted_too=True, divisible=True))

        wanted = [each for each in dict.fromkeys(tasks) if each and soql.is_id(each)]
        return {parse_text(row.get("Id")): task_owner(row) for row in self._isolated(wanted, ask, TASK_PREFIX)}

    def _named_by(self, tasks: Sequence[str]) -> dict[str, str]:
        """Return the EmailMessage that names each task. A deleted one counts: it may have been sent to Recotap."""

        def ask(ids: Sequence[str]) -> list[Any]:
            queries = [soql.messages_of_tasks(some) for some in soql.chunks(ids)]
            return list(self._client.rows(queries, what="email tasks' messages", deleted_too=True, divisible=True))

        rows = self._isolated(tasks, ask, TASK_PREFIX)
        named = sorted((str(row["ActivityId"]), str(row["Id"])) for row in rows if row.get("ActivityId"))
        return dict(reversed(named))

    def _task_people(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """Return the ids of all people of tasks that have more than the inline one.

        Those of archived tasks come by queryAll alone. The Object Reference (v67) does not list that call for
        TaskWhoRelation. If Salesforce refuses it, an archived task keeps its inline person.
        """

        def ask(ids: Sequence[str], *, archived: bool = False) -> list[Any]:
            queries = [query for some in soql.chunks(ids) if (query := soql.task_people(self.schema, some))]
            return list(self._client.rows(queries, what="people of calls", deleted_too=archived, divisible=True))

        def ask_archived(ids: Sequence[str]) -> list[Any]:
            try:
                return ask(ids, archived=True)
            except QueryRefused:
                return []

        found: dict[str, list[str]] = {}
        archived = [str(row["Id"]) for row in rows if row.get("IsArchived") is True]
        others = [str(row["Id"]) for row in rows if row.get("IsArchived") is not True]
        people = [*self._isolated(others, ask, TASK_PREFIX), *self._isolated(archived, ask_archived, TASK_PREFIX)]
        for row in people:
            self._learn_account(row.get("AccountId"), row.get("Account"))
            task, person = row.get("TaskId"), row.get("RelationId")
            if isinstance(task, str) and isinstance(person, str):
                found.setdefault(task, []).append(person)
        return found

    def _isolated(self, ids: Sequence[str], ask: Ask, prefix: str) -> list[Any]:
        """Return the rows of `ids`, which begin with `prefix`, and note those that Salesforce does not serve."""
        wanted = [each for each in ids if each not in self._unserved]
        nobody = soql.no_ones_id(prefix)
        return isolated(
            wanted, ask, client=self._client, budget=self._org.budget, alone=self._without, nobody=nobody
        )  # fmt: skip

    def _without(self, crm_id: str, error: Unavailable) -> list[Any]:
        self._unserved[crm_id] = error.message
        return []

    def _learn_who(self, row: Row) -> str | None:
        """Learn the inline contact or lead of a row, and return its id."""
        who, crm_id = row.get("Who"), parse_text(row.get("WhoId"))
        if crm_id and isinstance(who, dict) and crm_id not in self._people:
            if crm_id.startswith(CONTACT_PREFIX):
                self._learn_account(who.get("AccountId"), who.get("Account"))
                self._learn_contact({**who, "Id": crm_id})
            elif crm_id.startswith(LEAD_PREFIX):
                self._learn_lead({**who, "Id": crm_id})
        return crm_id

    def _learn_account(self, crm_id: Any, row: Any) -> None:
        if isinstance(crm_id, str) and isinstance(row, dict) and crm_id not in self._accounts:
            self._asked.add(crm_id)
            found = company({**row, "Id": crm_id})
            if found:
                self._accounts[crm_id] = found

    def _learn_contact(self, row: Row) -> None:
        row = {**row, "linkedin": row.get(self._linkedin)} if self._linkedin else row
        self._people[str(row["Id"])] = contact(row, self._account(row.get("AccountId")))

    def _learn_lead(self, row: Row) -> None:
        crm_id = str(row["Id"])
        became = parse_text(row.get("ConvertedContactId")) if row.get("IsConverted") is True else None
        if became:
            self._converted[crm_id] = became
        row = {**row, "linkedin": row.get(self._linkedin)} if self._linkedin else row
        self._people[crm_id] = lead(row)

    def _account(self, crm_id: Any) -> Company | None:
        return self._accounts.get(crm_id) if isinstance(crm_id, str) else None

    def _found(self, ids: Iterable[str]) -> tuple[Person, ...]:
        """Return the known people of `ids`. A converted lead counts as its contact."""
        people, converted = self._people, self._converted
        if converted:
            ids = [became if (became := converted.get(each)) in people and became else each for each in ids]
        return tuple([people[each] for each in dict.fromkeys(ids) if each in people])

    def _retrieve(self, named: Iterable[str], about: Iterable[str | None] = ()) -> None:
        """Read the unknown people and accounts. Leads come first, because they may have become contacts."""
        unknown = [each for each in dict.fromkeys(named) if each not in self._people and each not in self._asked]
        for row in self._ask(LEAD, [each for each in unknown if each.startswith(LEAD_PREFIX)],
                             soql.lead_fields(self.schema, self._linkedin)):  # fmt: skip
            self._learn_lead(row)
        became = [each for each in self._converted.values() if each not in self._people and each not in self._asked]
        contacts = [each for each in unknown if each.startswith(CONTACT_PREFIX)]
        rows = self._ask(CONTACT, list(dict.fromkeys([*contacts, *became])),
                         soql.contact_fields(self.schema, self._linkedin))  # fmt: skip
        accounts = dict.fromkeys(filter(None, (*about, *(parse_text(row.get("AccountId")) for row in rows))))
        missing = [each for each in accounts if each not in self._accounts and each not in self._asked]
        for row in self._ask(ACCOUNT, missing, soql.account_fields(self.schema)):
            self._learn_account(row.get("Id"), row)
        for row in rows:
            self._learn_contact(row)
            self._pass_on(str(row["Id"]), parse_text(row.get("AccountId")))
        for lead_id, contact_id in self._converted.items() if self._unserved else ():
            self._pass_on(lead_id, contact_id)

    def _pass_on(self, crm_id: str, needs: str | None) -> None:
        """Count a person as unserved if its account, or the contact it became, is."""
        if needs in self._unserved:
            self._unserved[crm_id] = self._unserved[needs]

    def _retrieved(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> list[Any]:
        size = self._org.at_once
        try:
            found = self._client.retrieve(object_type, ids, fields)
        except TooSlow:
            if len(ids) > 1:  # a single one may be the culprit
                size.was_too_much(len(ids))
            raise
        size.was_enough(len(ids))
        return found

    def _ask(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> list[Any]:
        """Return the rows of `ids` that Salesforce finds, without deleted ones and those hidden from the user."""
        if not fields:
            return []
        rows: list[Any] = []
        start = 0
        while start < len(ids):
            some = ids[start : start + self._org.at_once.size]
            rows += self._isolated(some, lambda few: self._retrieved(object_type, few, fields), ids[0][:3])
            start += len(some)
        self._asked.update(ids)  # not earlier: a failed request does not prove that they are missing
        return [row for row in rows if isinstance(row, dict) and parse_text(row.get("Id"))]


def _task_of(row: Row) -> str | None:
    """Return the id of the task linked to an email that came in."""
    return parse_text(row.get("ActivityId")) if came_in(row) else None


def _is_shared(row: Row) -> bool:
    """Tell whether a task may have more people than its Who. Without WhoCount it may."""
    count = number(row.get("WhoCount"))
    return count is None or count > (1 if row.get("WhoId") else 0)


def _roles(relations: Sequence[Any]) -> dict[str, list[str]]:
    """Return the ids of an email's people by role, sorted, because children come in another order each time."""
    found: dict[str, list[str]] = {}
    for each in relations:
        if isinstance(each, dict) and (crm_id := parse_text(each.get("RelationId"))):
            role = parse_text(each.get("RelationType"))
            found.setdefault(role if role in ROLES else ROLES[-1], []).append(crm_id)
    return {role: sorted(ids) for role, ids in found.items()}


def _users(ids: Iterable[str | None]) -> list[str]:
    return [each for each in ids if each and each.startswith(USER_PREFIX)]
