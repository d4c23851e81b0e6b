"""Instants as Salesforce writes them."""

from datetime import timedelta
from functools import lru_cache

from syncd.sandbox.standin.clock import EPOCH


@lru_cache(262_144)  # a page writes several a row, and most rows say the same one more than once
def stamp(seconds: int) -> str:
    """Write seconds since the epoch: 2021-04-27T19:33:04.000+0000."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
