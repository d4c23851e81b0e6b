"""Instants in Salesforce's form."""

from datetime import timedelta
from functools import lru_cache

from syncd.sandbox.standin.clock import EPOCH


@lru_cache(262_144)  # a page formats several per row, and most rows repeat one
def stamp(seconds: int) -> str:
    """Format seconds since the epoch: 2021-04-27T19:33:04.000+0000."""
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
