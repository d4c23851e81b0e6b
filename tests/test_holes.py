"""`syncd verify` finds every hole in a ledger and fills it, here in little (campaigns/holes.py)."""

from pathlib import Path

from tests.campaigns.holes import Ran, campaign
from tests.conftest import Command
from tests.orgs import OrgWorld


def test_every_hole_in_both_crms_is_found_and_filled_once(tmp_path: Path, command: Command) -> None:
    def run(*arguments: object) -> Ran:
        ran = command(*arguments)
        return Ran(ran.code, ran.out)

    with OrgWorld(tmp_path, with_hubspot=True, real_time=True) as world:
        made = campaign(world, run, rows=160, holes=40, days=5)
    assert [(each.found, each.faults) for each in made.rounds] == [(40, []), (40, [])]
    assert made.rounds[1].deleted == 8
