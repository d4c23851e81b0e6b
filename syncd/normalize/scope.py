"""Judge which of a CRM's rows a source reads, and warn of those that it should. Pure.

    Scope of a connector ─► judged ─► to_json ─► the ledger, `syncd scope`
                                         └─► unread: the rows by kind that no stream reads

It holds counts, domains and ids of users, and no subject, name or address.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from syncd.activity import Kind, Owner
from syncd.addresses import domain_of, email, within
from syncd.connector import Holder, RowKind, Scope
from syncd.normalize.rules import Rules, shared_domains
from syncd.text import fit, fit_value

MOST_KINDS = 200  # of a source. The rest is counted together
MOST_WARNINGS = 20  # of a connector
LONGEST = 80  # characters of an object's name or a value
OTHER = "other kinds"
HIDDEN = "(an address or a number)"  # in place of a value that holds one: a tool may write anything into a picklist
PERSONAL = re.compile(r"@|(?:\d[ ()./-]{0,2}){7}")  # an address, or enough digits for a phone number

MANY = 50  # rows of one owner that may be an integration account
HOLDERS = 3  # owners from which a large share is remarkable
SENT = 5  # emails of one foreign domain that may be ours
SHOWN = 5  # kinds or domains in one warning

# A hint for people: which rows look like a call or an email, by the words of their object, otherwise of their fields.
LOOKS: Mapping[Kind, re.Pattern[str]] = {
    "call": re.compile(r"call|dial(?!og)|phone|talkdesk|voice(?!mail)", re.IGNORECASE),
    "email": re.compile(r"(?<!voic)e-?mail", re.IGNORECASE),
}
# Rows that README calls neither a call nor an email, in the words of any CRM.
NEITHER = re.compile(r"\bdraft|\bsms\b|whats.?app|linked.?in|list.?e?mail|meeting", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unread:
    """Rows of one kind that no stream reads."""

    what: str  # e.g. Task TaskSubtype=Task Type=Call
    count: int
    looks_like: Kind | None  # None: neither a call nor an email


def judged(scope: Scope, rules: Rules, owners: Sequence[Owner], wanted: Collection[Kind] = get_args(Kind)) -> Scope:
    """Return `scope` fit to be kept and shown, with the most frequent kinds first, and with syncd's own warnings.

    `wanted`: the kinds of the streams that the source reads. Nothing is missing of others.
    """
    kinds = _bounded(sorted(_merged(map(_fit_kind, scope.kinds)), key=lambda kind: (-kind.count, describe(kind))))
    told = [fit(str(warning)) for warning in scope.warnings[:MOST_WARNINGS]]
    holders = [replace(each, user=fit_value(each.user, LONGEST)) for each in scope.holders]
    own = [
        *_empty_streams(kinds, wanted),
        *_integrations(holders, rules, owners),
        *_missing_domains(scope.senders, rules, owners),
    ]
    return Scope(kinds, (*told, *own), holders)


def to_json(scope: Scope) -> dict[str, Any]:
    """Return a judged scope as JSON values (design 4.4)."""
    return {
        "kinds": [
            {"object": kind.object, "fields": dict(kind.fields), "count": kind.count, "read_as": kind.read_as,
             "approximate": kind.approximate}
            for kind in scope.kinds
        ],
        "holders": [{"role": each.role, "user": each.user, "count": each.count, "of": each.of}
                    for each in scope.holders],
        "warnings": [*scope.warnings],
    }  # fmt: skip


def kinds_of(document: Any) -> list[RowKind]:
    """Return the kinds of a document that `to_json` made. Those of another form are left out."""
    found = document.get("kinds") if isinstance(document, dict) else None
    rows = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [
        RowKind(row["object"], row["fields"], row["count"], row["read_as"], row["approximate"])
        for row in rows
        if row.keys() >= {"object", "fields", "count", "read_as", "approximate"}
    ]


def unread(kinds: Iterable[RowKind]) -> list[Unread]:
    """Return the rows that no stream reads, first those that look like a call or an email."""
    found = [Unread(describe(kind), kind.count, looks_like(kind)) for kind in kinds if kind.read_as is None]
    return sorted(found, key=lambda each: (each.looks_like is None, -each.count))


def describe(kind: RowKind) -> str:
    """Return a kind in one line, e.g. Task TaskSubtype=Task Type=Call. An empty field is left out."""
    said = (f"{name}={_written(value)}" for name, value in kind.fields.items() if value is not None)
    return " ".join((kind.object, *said))


def looks_like(kind: RowKind) -> Kind | None:
    """Return the kind that rows look like to a person. It is shown, and decides nothing else."""
    values = " ".join(f"{name} {value}" for name, value in kind.fields.items() if isinstance(value, str))
    if NEITHER.search(f"{kind.object} {values}"):
        return None
    for text in (kind.object, values):
        for name, pattern in LOOKS.items():
            if pattern.search(text):
                return name
    return None


def _fit_kind(kind: RowKind) -> RowKind:
    fields = {fit(str(name), LONGEST): _fit_field(value) for name, value in kind.fields.items()}
    return replace(kind, object=fit(kind.object, LONGEST), fields=fields)


def _fit_field(value: str | bool | None) -> str | bool | None:
    if not isinstance(value, str):
        return value
    shown = fit(value, LONGEST)
    return (HIDDEN if PERSONAL.search(shown) else shown) or None


def _merged(kinds: Iterable[RowKind]) -> Iterable[RowKind]:
    """Return `kinds`, of which no two are alike. Some are, once their values are hidden or cut."""
    found: dict[Any, RowKind] = {}
    for kind in kinds:
        key = (kind.object, tuple(kind.fields.items()), kind.read_as, kind.approximate)
        found[key] = replace(kind, count=kind.count + found[key].count) if key in found else kind
    return found.values()


def _bounded(kinds: Sequence[RowKind]) -> list[RowKind]:
    """Return the most frequent kinds, and one more for the others of each reading."""
    rest = kinds[MOST_KINDS:]
    others = [
        RowKind(OTHER, {}, sum(each.count for each in some), read_as, any(each.approximate for each in some))
        for read_as in (*get_args(Kind), None)
        if (some := [each for each in rest if each.read_as == read_as])
    ]
    return [*kinds[:MOST_KINDS], *others]


def _written(value: str | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _empty_streams(kinds: Sequence[RowKind], wanted: Collection[Kind]) -> Iterator[str]:
    """Yield a warning for calls, or emails, of which none is read although some rows look like one."""
    for name in wanted:
        if any(kind.count for kind in kinds if kind.read_as == name):
            continue
        candidates = [each for each in unread(kinds) if each.looks_like == name and each.count]
        if candidates:
            shown = ", ".join(f"{each.what} ({each.count:,})" for each in candidates[:SHOWN])
            yield f"no {name} is read, but {sum(each.count for each in candidates):,} rows look like one: {shown}"


def _integrations(holders: Sequence[Holder], rules: Rules, owners: Sequence[Owner]) -> Iterator[str]:
    """Yield a warning for a user who owns so much that it may be an integration account."""
    addresses = {owner.crm_id: email(owner.email) or "" for owner in owners}
    holding = [each for each in holders if each.role == "owner"]
    for each in holding:
        is_large = len(holding) >= HOLDERS and each.count >= MANY and 2 * each.count >= each.of
        if is_large and rules.may_own(addresses.get(each.user, ""), each.user):
            share = f"{each.count:,} of {each.of:,} rows"
            yield f"user {each.user} owns {share}: if it is an integration account, name it in rules.not_owners"


def _missing_domains(senders: Mapping[str, int], rules: Rules, owners: Sequence[Owner]) -> Iterator[str]:
    """Yield a warning if many outbound emails come from domains that are not ours."""
    ours = {*rules.own_domains, *shared_domains(owners, rules)}
    theirs = {domain_of(address) for owner in owners if (address := email(owner.email))}
    strange = {
        fit(domain, LONGEST): count
        for domain, count in senders.items()
        if domain
        and count >= SENT
        and domain not in theirs
        and not within(domain, ours)
        and not rules.is_free_mail(domain)
    }
    if strange:
        most = sorted(strange.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
        shown = ", ".join(f"{domain} ({count:,})" for domain, count in most)
        yield f"the CRM calls emails outbound that come from {shown}: name your own domains in rules.own_domains"


__all__ = ["Unread", "describe", "judged", "kinds_of", "looks_like", "to_json", "unread"]
