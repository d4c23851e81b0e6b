"""Make a connector's pages fit for the ledger. Pure.

TypeError or ValueError in the reader's thread if a page breaks the contract: it is a bug in that connector and ends
its source. The ledger's thread never sees such a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from syncd.connector import Page, Record, Ref
from syncd.text import MOST, fit, fit_value, kept_id

LONGEST_IDENTITY = 200  # characters of a portal's or org's id


def page(given: Page, *, by_id: bool = False) -> Page:
    """Return `given` with ids that the ledger can hold. A record with another id gets a stand-in for it.

    `by_id`: it comes from a look-up, otherwise from a window.
    """
    refs = [_ref(ref) for ref in given.refs]
    fitting = dict(zip(map(id, given.refs), refs, strict=True))  # by object: nearly every record has one of these
    records = [_record(record, fitting.get(id(record.ref))) for record in given.records]
    if given.complete_until is not None:
        _aware(given.complete_until)
    missing = [kept_id(crm_id) for crm_id in given.missing]
    unserved = {kept_id(crm_id): fit_value(why, MOST) for crm_id, why in given.unserved.items()}
    if unserved:
        _expect_unserved(unserved, refs, records, missing, by_id=by_id)
    return replace(given, refs=refs, records=records, missing=missing, unserved=unserved)


def identity(given: object) -> str | None:
    """Return a portal's or org's id as the ledger keeps it, or None if the CRM does not tell it."""
    return None if given is None else fit(str(given), LONGEST_IDENTITY) or None


def _expect_unserved(
    unserved: Mapping[str, str], refs: Sequence[Ref], records: Sequence[Record], missing: Sequence[str], *, by_id: bool
) -> None:
    """Raise ValueError unless each unserved id of a window has a ref and no record, and that of a look-up neither."""
    named = {ref.crm_id for ref in refs}
    if by_id and not unserved.keys().isdisjoint(named.union(missing)):
        raise ValueError("expected an unserved id of a look-up neither in `refs` nor in `missing`")
    if not by_id and not (unserved.keys() <= named and unserved.keys().isdisjoint(r.ref.crm_id for r in records)):
        raise ValueError("expected an unserved id of a window in `refs` and not in `records`")


def _ref(ref: Ref) -> Ref:
    _aware(ref.modified_at)
    crm_id = kept_id(ref.crm_id)
    return ref if crm_id is ref.crm_id else Ref(crm_id, ref.modified_at)


def _record(record: Record, ref: Ref | None) -> Record:
    ref = ref or _ref(record.ref)
    return record if ref is record.ref else replace(record, ref=ref)


def _aware(at: datetime) -> None:
    if at.utcoffset() is None:
        raise ValueError("expected a time with a zone from the connector")
