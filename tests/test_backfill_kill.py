"""A backfill that is killed with -9 loses and doubles nothing. campaigns/backfill.py kills one of 50,000 records."""

from pathlib import Path

import pytest

from tests.campaigns.backfill import campaign


@pytest.mark.parametrize(("crm", "order"), [("hubspot", "newest"), ("salesforce", "oldest")])
def test_two_kills_of_a_backfill_lose_nothing_and_double_nothing(tmp_path: Path, crm: str, order: str) -> None:
    tally = campaign(tmp_path, crm=crm, order=order, records=400, kills=2)
    assert tally.faults() == []
    assert tally.delivered > 400
