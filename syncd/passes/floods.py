"""Notice a flood: a pass with far more activities that happened before `start` than usual. Pure.

A mail capture that is switched on brings months of history at once, e.g. 180 days of Einstein Activity Capture. It was
created after `start`, so it is read and sent.
"""

from dataclasses import dataclass
from typing import Any

TIMES = 10  # as many as usual
LEAST = 100  # fewer are no flood, however few are usual
PASSES = 3  # before which nothing is usual: the first of them import what there is
WEIGHT = 0.1  # of the last pass in the mean


@dataclass(frozen=True, slots=True)
class Usual:
    """How many new activities of a pass over one source happened before its `start`."""

    passes: int = 0  # that are counted, at most PASSES
    mean: float = 0.0

    @classmethod
    def of(cls, kept: Any) -> "Usual":
        """Read what `to_keep` wrote. None: nothing is known yet."""
        return cls() if kept is None else cls(int(kept["passes"]), float(kept["mean"]))

    def is_flood(self, early: int) -> bool:
        """Tell whether a pass with `early` of them is a flood."""
        return self.passes >= PASSES and early >= max(LEAST, TIMES * self.mean)

    def after(self, early: int) -> "Usual":
        """Return what is usual after a pass with `early` of them. So a long flood is not reported in each."""
        return Usual(min(self.passes + 1, PASSES), round(self.mean + WEIGHT * (early - self.mean), 2))

    def to_keep(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return {"passes": self.passes, "mean": self.mean}


__all__ = ["LEAST", "PASSES", "TIMES", "Usual"]
