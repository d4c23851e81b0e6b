"""Show what became of the activities that `syncd sync --only` names."""

from collections.abc import Iterator

from syncd.cli import printing
from syncd.errors import NoSuchActivity, SyncdError
from syncd.ledger import AnyLedger, Reports
from syncd.passes.limits import Limits
from syncd.passes.report import PassResult
from syncd.passes.wanted import Wanted, nothing_at, unserved


def show(ledger: AnyLedger, names: Wanted, limits: Limits, outcome: PassResult) -> list[SyncdError]:
    """Print a line for each activity: its id, state and reason. Return an error for each id that has none."""
    errors: list[SyncdError] = []
    with ledger.reports() as reports:
        for asked in names.places:
            try:
                for cells in _rows(reports, asked):
                    printing.row(*cells)
            except NoSuchActivity:
                errors += _errors(asked, names, limits, outcome)
    for error in errors:
        printing.error(error)
    return errors


def _rows(reports: Reports, asked: str) -> Iterator[tuple[str, str, str]]:
    """Yield (externalActivityId, state, reason), with the last verdict in place of the reason if it has none."""
    for name in reports.find(asked):
        row = reports.explain(name)
        yield name, row["state"], row["reason"] or row["verdict"] or ""


def _errors(asked: str, names: Wanted, limits: Limits, outcome: PassResult) -> list[SyncdError]:
    """Return why an id has no row. The errors of the pass may be the cause. Then there is no other."""
    for source, _, crm_id in names.places[asked]:
        if (why := limits.unserved.get((source, crm_id))) is not None:
            return [unserved(source, crm_id, why)]
    return [] if outcome.failed else [nothing_at(asked)]


__all__ = ["show"]
