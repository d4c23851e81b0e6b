"""Find a person's tasks, email messages and voice calls by the person's address.

    Contact, Lead, User with the address ─► Task, TaskWhoRelation, EmailMessageRelation, EmailMessage, VoiceCall
    EmailMessage and its relations with the address itself

A query asks only for fields that the acting user sees. The lists of addresses of an EmailMessage come last, because no
index helps there (Object Reference v67: they are texts of 4,000 characters).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.salesforce import soql
from connectors.salesforce.client import Client, QueryRefused
from connectors.salesforce.schema import (
    CONTACT,
    EMAIL,
    EMAIL_PEOPLE,
    LEAD,
    TASK,
    TASK_PEOPLE,
    USER,
    VOICE_CALL,
    Schema,
)
from syncd.fields import addresses, parse_text

WHAT = "a person's records"  # in messages
LISTS = ("ToAddress", "CcAddress", "BccAddress")
# Which object's column names a record, by which field that leads to people of the other side, or to users.
OF_CONTACTS = (
    (TASK, TASK, "Id", "WhoId"),
    (TASK, TASK_PEOPLE, "TaskId", "RelationId"),
    (EMAIL, EMAIL_PEOPLE, "EmailMessageId", "RelationId"),
    (EMAIL, EMAIL, "Id", "FromId"),
    (VOICE_CALL, VOICE_CALL, "Id", "RelatedRecordId"),
)
OF_USERS = (
    (TASK, TASK, "Id", "OwnerId"),
    (EMAIL, EMAIL_PEOPLE, "EmailMessageId", "RelationId"),
    (EMAIL, EMAIL, "Id", "FromId"),
    (EMAIL, EMAIL, "Id", "CreatedById"),
    (VOICE_CALL, VOICE_CALL, "Id", "OwnerId"),
)
OF_ADDRESSES = ((EMAIL_PEOPLE, "EmailMessageId", "RelationAddress"), (EMAIL, "Id", "FromAddress"))

Place = tuple[str, str, str, str]


def records_of(client: Client, schema: Schema, address: str) -> Iterator[tuple[str, str]]:
    """Yield (object, id) of the person's records, some of them twice."""
    contacts = [
        crm_id
        for name in (CONTACT, LEAD)
        if schema.has(name) and schema.filters_by(name, "Email")
        for crm_id in _column(client, "Id", [soql.by_address(name, "Id", "Email", address)])
    ]
    users = list(_column(client, "Id", [soql.by_address(USER, "Id", "Email", address)]))
    for places, ids in ((OF_CONTACTS, contacts), (OF_USERS, users)):
        for place in places if ids else ():
            yield from _of_place(client, schema, place, ids)
    for name, column, field_name in OF_ADDRESSES:
        if schema.filters_by(name, field_name) and schema.has(name, column):
            queries = [soql.by_address(name, column, field_name, address)]
            yield from ((EMAIL, crm_id) for crm_id in _column(client, column, queries))
    if schema.has(EMAIL) and (lists := [name for name in LISTS if schema.filters_by(EMAIL, name)]):
        for row in _rows(client, [soql.by_addresses(EMAIL, lists, address)]):
            if any(_is(address, found) for name in lists for _, found in addresses(row.get(name))):
                yield EMAIL, str(row.get("Id"))


def _of_place(client: Client, schema: Schema, place: Place, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    of, name, column, field_name = place
    if schema.filters_by(name, field_name) and schema.has(name, column):
        queries = [soql.by_reference(name, column, field_name, some) for some in soql.chunks(ids)]
        yield from ((of, crm_id) for crm_id in _column(client, column, queries))


def _column(client: Client, column: str, queries: Sequence[str]) -> Iterator[str]:
    return (found for row in _rows(client, queries) if (found := parse_text(row.get(column))))


def _rows(client: Client, queries: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of queries, archived and deleted ones too, unless Salesforce refuses that for an object."""
    try:
        yield from client.rows(queries, what=WHAT, deleted_too=True)
    except QueryRefused:
        yield from client.rows(queries, what=WHAT)


def _is(address: str, written: str) -> bool:
    return written.strip().lower() == address


__all__ = ["records_of"]
