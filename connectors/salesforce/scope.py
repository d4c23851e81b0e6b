"""Count an org's rows by the fields that distinguish calls, emails and others.

    tasks by TaskSubtype, Type, IsClosed    marked by the conditions of both streams
    tasks that are not read                 with a CallType or without, which some dialers write alone
    email tasks with an EmailMessage        as many as EmailMessages name a task, so only about
    EmailMessages                           of a case or not, by Incoming and Status
    VoiceCalls                              with a task or without
    objects of packages                     whose names say call, with rows

30 days take eight queries, two more if the org has VoiceCalls, the list of objects, and a query for each object that
looks like calls.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from connectors.salesforce import soql
from connectors.salesforce.client import Client, QueryRefused, QueryTimeout
from connectors.salesforce.counts import Counts, Groups
from connectors.salesforce.mapping import DRAFT
from connectors.salesforce.schema import EMAIL, TASK, VOICE_CALL, Schema
from syncd.activity import Kind
from syncd.connector import Holder, RowKind, Scope
from syncd.errors import Unauthorized
from syncd.fields import addresses
from syncd.types.conditions import Entry, Look, fields_of, first

# Fields that tell rows apart, and their SOQL.
Variants = Sequence[tuple[Mapping[str, str | bool | None], tuple[str, ...]]]

GROUPED = SUBTYPE, TYPE, CLOSED = "TaskSubtype", "Type", "IsClosed"
CALL_TYPE = "CallType"
MOST_GROUPS = 500  # kinds of tasks. The others are counted together
MOST_USERS, SHOWN_USERS = 200, 10
MOST_SENDERS = 500
MOST_OBJECTS = 10
OTHERS = "other Tasks"
TASKS = (({TASK: True}, ("ActivityId != null",)), ({TASK: False}, ("ActivityId = null",)))
NO_VARIANT: Variants = (({}, ()),)
# EmailMessage.Status (Object Reference v67)
STATUSES = {"0": "New", "1": "Read", "2": "Replied", "3": "Sent", "4": "Forwarded", DRAFT: "Draft"}
PARENTS = (({"Parent": "Case"}, ("ParentId != null",)), ({"Parent": None}, ("ParentId = null",)))
NO_TYPE = (
    "the acting user does not see Task.Type, so tasks that only Type marks as calls or emails cannot be told from "
    "others: give it Read on that field"
)
# Objects that dialers bring: Aircall Log, Talkdesk Activity, Dialpad Call Log, Call (vendors' pages, 2026-11).
DIALERS = ("aircall", "dialpad", "fastcall", "kixie", "ringcentral", "talkdesk")
CALLS = frozenset({"call", "calls", "calllog", "dialer", "phonecall", "voicecall"})
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, slots=True)
class Reads:
    """Which rows the streams of a source read."""

    calls: Sequence[Entry]  # of tasks, any of which must hold; IsClosed is named
    emails: Sequence[Entry]  # of tasks
    messages: bool  # EmailMessages are read
    tasks: bool  # email tasks are read
    voice_calls: bool  # VoiceCalls without a task are read
    called: bool = True  # tasks that are calls are read. If not, they are no emails either

    def task(self, look: Look) -> Kind | None:
        """Return a task's kind by the conditions. A task that fulfils both is a call."""
        if first(self.calls, look) is not None:
            return "call"
        return "email" if first(self.emails, look) is not None else None


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of one kind."""

    look: Mapping[str, Any]  # the values of the grouped fields
    kind: Kind | None  # by the conditions
    count: int
    twin: bool | None = None  # of email tasks: an EmailMessage names them


def count(client: Client, schema: Schema, reads: Reads, counts: Counts) -> Scope:
    """Return an org's rows by kind. Unavailable if it is too slow for that, or does not answer."""
    warnings = [*_limits(schema, reads)]
    tasks = [*_with_call_type(counts, schema, [*_tasks(counts, schema, reads)])]
    if not schema.lacking(EMAIL):
        twins = counts.of(EMAIL, "ActivityId != null") if schema.has(EMAIL, "ActivityId") else 0
        tasks = [*with_twins(tasks, twins)]
    messages = [*_messages(counts, schema, reads)]
    warnings += _cases_only(tasks, messages, reads)
    kinds = [*(_task_kind(each, reads) for each in tasks), *messages]
    kinds += [*_voice_calls(counts, schema, reads), *_objects(client, counts)]
    done = sum(each.count for each in tasks if each.look.get(CLOSED) is not False)
    return Scope(kinds, warnings, [*_holders(counts, done)], _senders(counts, schema))


def with_twins(tasks: Iterable[Tasks], twins: int) -> Iterator[Tasks]:
    """Divide email tasks into those that one of the `twins` EmailMessages names, and the others.

    Which ones are named, the counts do not tell. Salesforce's own tools write both TaskSubtype and Type.
    """
    for each in sorted(tasks, key=lambda task: (task.look.get(SUBTYPE) != "Email", task.look.get(TYPE) != "Email")):
        if each.kind != "email":
            yield each
            continue
        named = min(twins, each.count)
        twins -= named
        for twin, part in ((True, named), (False, each.count - named)):
            if part:
                yield replace(each, count=part, twin=twin)


def looks_like_calls(name: str) -> bool:
    """Tell whether the name of a package's object says that its rows are calls."""
    words = {word.lower() for word in WORDS.findall(name)}
    return name.endswith("__c") and (any(each in name.lower() for each in DIALERS) or not words.isdisjoint(CALLS))


def _tasks(counts: Counts, schema: Schema, reads: Reads) -> Iterator[Tasks]:
    """Yield the kinds of tasks, marked by the conditions.

    Tasks are grouped by few fields, which show no personal data. If a condition has another one, a query counts the
    rows of each stream.
    """
    fields = schema.kept(TASK, GROUPED)
    groups = counts.by(fields, TASK, most=MOST_GROUPS)
    if decided_by(GROUPED, reads):
        for look, number in _looks(fields, groups):
            yield Tasks(look, reads.task(look.get), number)
    else:
        called, mailed = (_by_query(counts, schema, fields, entries) for entries in (reads.calls, reads.emails))
        yield from by_queries(fields, groups, called, mailed)
    if len(groups) >= MOST_GROUPS and (rest := counts.of(TASK) - groups.total()) > 0:
        yield Tasks({}, None, rest)


def _with_call_type(counts: Counts, schema: Schema, tasks: Sequence[Tasks]) -> Iterator[Tasks]:
    """Divide the tasks that are not read into those with a CallType, which look like calls, and the others."""
    fields = schema.kept(TASK, GROUPED)
    unknown = [each for each in tasks if each.kind is None and each.look and each.look.get(SUBTYPE) != "Call"]
    is_needed = unknown and schema.has(TASK, CALL_TYPE)
    typed = counts.by(fields, TASK, f"{CALL_TYPE} != null", most=MOST_GROUPS) if is_needed else Counter()
    for each in tasks:
        part = min(each.count, typed[tuple(each.look.values())]) if each in unknown else 0
        if part:
            yield replace(each, look={**each.look, CALL_TYPE: "*"}, count=part)
        if part < each.count:
            yield replace(each, count=each.count - part)


def _by_query(counts: Counts, schema: Schema, fields: Sequence[str], entries: Sequence[Entry]) -> Groups:
    """Return the tasks that a query finds for `entries`. One that names a hidden field admits none."""
    if not any(all(schema.has(TASK, name) for name in entry.fields) for entry in entries):
        return Counter()
    return counts.by(fields, TASK, *soql.task_conditions(schema, entries), most=MOST_GROUPS)


def decided_by(fields: Sequence[str], reads: Reads) -> bool:
    """Tell whether the conditions name none but `fields`."""
    return {*fields_of(reads.calls), *fields_of(reads.emails)} <= {*fields}


def by_queries(fields: Sequence[str], groups: Groups, called: Groups, mailed: Groups) -> Iterator[Tasks]:
    """Yield the kinds of tasks, of which two queries tell how many are calls and emails. A task of both is a call."""
    for values, number in groups.items():
        look = dict(zip(fields, values, strict=True))
        calls = min(called[values], number)
        emails = min(mailed[values], number - calls)
        parts: tuple[tuple[Kind | None, int], ...] = (
            ("call", calls), ("email", emails), (None, number - calls - emails),
        )  # fmt: skip
        yield from (Tasks(look, kind, part) for kind, part in parts if part)


def _limits(schema: Schema, reads: Reads) -> Iterator[str]:
    """Yield a warning for each field of the conditions that a query cannot see or compare."""
    if not schema.has(TASK, TYPE):
        yield NO_TYPE
    named = () if decided_by(GROUPED, reads) else fields_of([*reads.calls, *reads.emails])
    vague = [name for name in named if schema.has(TASK, name) and schema.type_to_filter_by(TASK, name) is None]
    if vague:
        yield f"no query can filter by {', '.join(vague)}, so fewer tasks may be read than are marked here"


def _task_kind(tasks: Tasks, reads: Reads) -> RowKind:
    """Return the line of one kind of tasks. An email task that a message names is read by that message."""
    is_read = reads.called if tasks.kind == "call" else reads.tasks or (tasks.twin is True and reads.messages)
    fields = tasks.look if tasks.twin is None else {**tasks.look, EMAIL: tasks.twin}
    approximate = tasks.twin is not None or not decided_by(GROUPED, reads)
    return RowKind(TASK if tasks.look else OTHERS, fields, tasks.count, tasks.kind if is_read else None, approximate)


def _messages(counts: Counts, schema: Schema, reads: Reads) -> Iterator[RowKind]:
    """Yield the kinds of EmailMessages. An unsent draft is not read.

    If emails are read from tasks alone, a message is read as the task that it names.
    """
    if schema.lacking(EMAIL):
        return
    fields = schema.kept(EMAIL, ("Incoming", "Status"))
    parents: Variants = PARENTS if schema.has(EMAIL, "ParentId") else NO_VARIANT
    tasks: Variants = TASKS if not reads.messages and schema.has(EMAIL, "ActivityId") else NO_VARIANT
    for (parent, of_case), (task, of_task) in product(parents, tasks):
        for look, number in _looks(fields, counts.by(fields, EMAIL, *of_case, *of_task, most=MOST_GROUPS)):
            is_read = (reads.messages or (task.get(TASK) is True and reads.tasks)) and look.get("Status") != DRAFT
            if number:
                yield RowKind(EMAIL, {**parent, **_with_words(look), **task}, number, "email" if is_read else None)


def _with_words(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an EmailMessage with its status as a word."""
    return {name: STATUSES.get(value, value) if name == "Status" else value for name, value in look.items()}


def _cases_only(tasks: Sequence[Tasks], messages: Sequence[RowKind], reads: Reads) -> Iterator[str]:
    """Yield a warning if EmailMessage holds nothing but the mail of cases, and email tasks are not read."""
    lost = 0 if reads.tasks else sum(each.count for each in tasks if each.twin is False)
    read = [each for each in messages if each.read_as == "email"]
    if lost and read and all(each.fields.get("Parent") for each in read):
        yield (
            f"EmailMessage holds the mail of cases only, and about {lost:,} email tasks are not read: "
            'set from = "both" in the table of emails'
        )


def _voice_calls(counts: Counts, schema: Schema, reads: Reads) -> Iterator[RowKind]:
    """Yield the VoiceCalls. One with a task is read as that task."""
    for fields, conditions in () if schema.lacking(VOICE_CALL) else TASKS:
        if number := counts.of(VOICE_CALL, *conditions):
            is_read = reads.called if fields[TASK] else reads.voice_calls
            yield RowKind(VOICE_CALL, fields, number, "call" if is_read else None)


def _objects(client: Client, counts: Counts) -> Iterator[RowKind]:
    """Yield the objects of packages that look like calls and have rows. No stream reads them."""
    found = client.objects().get("sobjects")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    names = {str(row.get("name")) for row in rows if row.get("queryable") is not False}
    for name in sorted(filter(looks_like_calls, names))[:MOST_OBJECTS]:
        try:
            number = counts.of(name)
        except (QueryRefused, Unauthorized):
            continue
        if number:
            yield RowKind(name, {}, number, None)


def _holders(counts: Counts, done: int) -> Iterator[Holder]:
    """Yield the users who own, and who created, most of the `done` closed tasks."""
    for role, name in (("owner", "OwnerId"), ("creator", "CreatedById")):
        try:
            users = counts.by((name,), TASK, f"{CLOSED} = true", most=MOST_USERS)
        except (QueryRefused, QueryTimeout):
            continue
        for (user,), number in users.most_common(SHOWN_USERS):
            yield Holder("owner" if role == "owner" else "creator", str(user), number, done)


def _senders(counts: Counts, schema: Schema) -> dict[str, int]:
    """Return the domains of outgoing messages. The addresses themselves are only counted."""
    domains: Counter[str] = Counter()
    if not schema.lacking(EMAIL) and schema.has(EMAIL, "FromAddress") and schema.has(EMAIL, "Incoming"):
        try:
            senders = counts.by(("FromAddress",), EMAIL, "Incoming = false", most=MOST_SENDERS)
        except (QueryRefused, QueryTimeout):
            return {}
        for (written,), number in senders.items():
            for _, address in addresses(written):
                domains[address.rpartition("@")[2].lower()] += number
    return dict(domains)


def _looks(fields: Sequence[str], groups: Groups) -> Iterator[tuple[dict[str, Any], int]]:
    return ((dict(zip(fields, values, strict=True)), number) for values, number in groups.items())


__all__ = ["Reads", "Tasks", "by_queries", "count", "decided_by", "looks_like_calls", "with_twins"]
