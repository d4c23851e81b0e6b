"""Count activities by state and reason, with their domains and owners, in bounded memory. Pure."""

from collections import Counter

from syncd.lifecycle.transitions import Reading

KEPT = 5_000  # names of one state and reason; a portal of 20,000 companies needs about 3 MB
TOP = 5  # names that are shown


class Names:
    """Count names. Up to 2 * KEPT names are counted exactly. Of more, the rarest are dropped."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a name once more."""
        self._counts[name] += 1
        if len(self._counts) > 2 * KEPT:
            self._counts = Counter(dict(self._counts.most_common(KEPT)))

    def top(self, most: int = TOP) -> dict[str, int]:
        """Return the most frequent names with their counts, the greatest count first."""
        return dict(sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most])


class Group:
    """The activities of one state and reason."""

    def __init__(self) -> None:
        self.count = 0
        self.domains = Names()  # of the accounts
        self.owners = Names()  # the CRM's ids of the owners

    def add(self, reading: Reading) -> None:
        """Count one activity."""
        self.count += 1
        if reading.domain:
            self.domains.add(reading.domain)
        if reading.owner_id:
            self.owners.add(reading.owner_id)


class Tally:
    """The activities of a dry run, by (state, reason). The reason of a pending activity is ""."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}

    def add(self, reading: Reading) -> None:
        """Count one activity."""
        key = reading.wanted.value, str(reading.reason or "")
        self.groups.setdefault(key, Group()).add(reading)


__all__ = ["KEPT", "TOP", "Group", "Names", "Tally"]
