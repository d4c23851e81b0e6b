"""Promises 1, 2, 4 and 7 under kill -9, at a few boundaries. campaigns/kill.py makes hundreds of kills."""

from pathlib import Path

import pytest

from tests.campaigns.kill import BATCH, CONCURRENCY, END, campaign

PLACES = {
    "hubspot": "commit-after:12 post-before:2 post-after:1 commit-before:9 post-after:3 commit-before:20".split(),
    "both": "commit-after:14 post-before:2 post-after:3 commit-before:25 post-after:1 commit-before:9".split(),
}


@pytest.mark.parametrize(("crm", "places"), PLACES.items())
def test_six_kills_at_six_boundaries_lose_nothing_and_double_nothing(
    tmp_path: Path, crm: str, places: list[str]
) -> None:
    tally = campaign(tmp_path, crm=crm, kills=len(places), places=places, each=220 if crm == "hubspot" else 160)
    assert tally.kills == len(places)
    assert tally.faults() == []
    assert 0 < tally.resent_at_most <= BATCH * CONCURRENCY
    assert sum(tally.verdicts.values()) == tally.put
    assert tally.verdicts["duplicate"] > 0, "a kill after an answer makes the next pass hear that it is there already"
    assert set(tally.crms) == ({"hubspot", "salesforce"} if crm == "both" else {"hubspot"})


def test_poisoned_records_pages_and_spans_hold_up_nothing_for_ever(tmp_path: Path) -> None:
    """Each CRM fails by record, page size and span for a few passes. All of it heals in the end."""
    places = [END, END, END, "commit-after:9"]
    tally = campaign(tmp_path, kills=1, places=places, each=60, poison=1.0)
    assert tally.kills == 1
    assert tally.faults() == []
    for did in tally.crms.values():
        assert {"poisoned records", "poisoned pages", "poisoned spans"} <= did.keys()
        assert sum(n for what, n in did.items() if what.startswith("requests that met")) > 0
    assert sum(tally.verdicts.values()) == tally.put
