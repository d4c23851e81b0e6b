"""Poison messages: generated calls that Recotap does not accept."""

import random

from syncd.sandbox.recotap.service import Recotap
from syncd.sandbox.standin.generator import World


def add_poison(recotap: Recotap, world: World, *, source: str, share: float, external_id: str) -> None:
    """Make Recotap refuse the batch for `share` of the ordinary calls, and fail as many one by one."""
    odd = {crm_id for nature, ids in world.ids.items() if nature.startswith("calls.") for crm_id in ids}
    plain = [crm_id for crm_id in world.ids["calls"] if crm_id not in odd]
    count = round(len(plain) * share)
    if not count:
        return
    chosen = random.Random(count).sample(plain, 2 * count)
    world.ids["calls.refused"], world.ids["calls.failed"] = chosen[:count], chosen[count:]
    names = [external_id.format(kind="call", id=crm_id, source=source) for crm_id in chosen]
    recotap.rule("refuse", ids=names[:count])
    recotap.rule("fail", ids=names[count:], text="Account could not be resolved")
