"""Promises 1, 2, 4 and 7 through kill -9: a few kills, each at another boundary; campaigns/kill.py makes hundreds."""

from pathlib import Path

from tests.campaigns.kill import BATCH, CONCURRENCY, campaign

PLACES = ["commit-after:12", "post-before:2", "post-after:1", "commit-before:9", "post-after:3", "commit-before:20"]


def test_six_kills_at_six_boundaries_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    tally = campaign(tmp_path, kills=len(PLACES), places=PLACES, each=220)
    assert tally.kills == len(PLACES)
    assert tally.faults() == []
    assert 0 < tally.resent_at_most <= BATCH * CONCURRENCY
    assert sum(tally.verdicts.values()) == tally.put
    assert tally.verdicts["duplicate"] > 0, "a kill after an answer makes the next pass hear that it is there already"
