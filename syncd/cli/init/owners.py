"""Propose our own domains from the users of the CRMs whose keys are there."""

import os
from collections.abc import Sequence

from syncd.activity import Owner
from syncd.cli import printing, users
from syncd.cli.init import document
from syncd.cli.init.document import Tree
from syncd.config import credentials
from syncd.connector import Source
from syncd.errors import SyncdError
from syncd.normalize.our_side import shared_domains

TURN_S = 5.0  # total wait for a CRM: `syncd check` waits longer, and names the remedy


def propose(tree: Tree) -> list[str]:
    """Return the domains that two active users share, without free mail. A CRM that does not answer is noted."""
    owners: list[Owner] = []
    for source in document.judged(tree, environ=os.environ).sources:
        if has_keys(source):
            owners += _of(source)
    return sorted(shared_domains(owners))


def has_keys(source: Source) -> bool:
    """Tell whether all keys of a source can be read."""
    try:
        for each in credentials.references((source.config,)):
            each.read()
    except ValueError:
        return False
    return True


def _of(source: Source) -> Sequence[Owner]:
    printing.note(f"Asking {source.name} for its users ...")
    try:
        found = users.everyone(source, turn_s=TURN_S)
    except SyncdError as error:
        printing.note(f"  {error.summary}")
        return ()
    if not found:
        printing.note(f"  {source.name} shows none. `syncd check` tells why.")
    return found
