"""The generator of invented records: words, random draws, and the list of generated records.

All people and companies are invented. A company's domain contains a number, so that nobody owns it.
"""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

OWN_DOMAIN = "lanternfield-sales.com"
FIRST = "Ada Bram Cleo Dario Edda Finn Greta Hanno Ines Jonas Kaya Levin Mira Nils Oda Pavel Quinn Runa Sven".split()
LAST = "Aldermoor Birkenhain Copperwell Dunmere Eschenfeld Fennbrook Gallowmead Hollisgrave Ivorstone".split()
ALPHA = "amber birch cinder delta ember fable garnet hazel indigo juniper kestrel larch maple nimbus onyx".split()
OMEGA = "bolts cranes dairy engines freight gears hinges inks joints kilns looms mills parts tools valves".split()
SUFFIXES = ("com", "com", "de", "co.uk", "io", "fr")
FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com")
PROSE = ("inferred - {}", "not available", "n/a", "{} (assistant)")
TITLES = ("Head of Purchasing", "Plant Manager", "VP Operations", "Buyer", None)
SUBJECTS = ("Your quote", "Next steps", "Follow up on our call", "Meeting notes", "Prices for spring", "Introduction")
CALL_TITLES = ("Discovery call", "Check in", "Demo", "Renewal", "Cold call", "Support call", None)


@dataclass
class World:
    """The generated records: their ids by kind and nature."""

    own_domain: str
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # e.g. calls, calls.late_association
    domains: dict[str, str | None] = field(default_factory=dict)  # company id -> domain
    addresses: dict[str, str | None] = field(default_factory=dict)  # contact id -> the text of its email field
    employers: dict[str, str] = field(default_factory=dict)  # contact id -> company id

    def summary(self) -> dict[str, int]:
        """Return the number of records by kind and nature."""
        return {nature: len(ids) for nature, ids in sorted(self.ids.items())}


class Generator:
    """The base of each CRM's generator. Without `messy` it draws no oddities."""

    def __init__(self, draw: random.Random, *, end: int, days: float, messy: bool) -> None:
        self.draw, self.world, self.messy = draw, World(OWN_DOMAIN), messy
        self.end, self.span = end, round(timedelta(days=days) / timedelta(milliseconds=1))
        self.own: list[tuple[str, str]] = []  # id and address of each rep

    def address(self, first: str, last: str, number: int, domain: str | None) -> tuple[str | None, str]:
        """Draw the text of a contact's email field, and its nature."""
        address = f"{first}.{last}.{number}@{domain or f'{last}-{number}.com'}".lower()
        if self.odd(0.06):
            return None, "no_email"
        if self.odd(0.02):
            return self.draw.choice(PROSE).format(address), "prose_email"
        if self.odd(0.05):
            return f"{first}.{last}.invented{number}@{self.draw.choice(FREE_MAIL)}".lower(), "free_mail"
        return address, ""

    def nature(self, natures: dict[str, float]) -> str:
        """Draw one of `natures` by its share, or an empty text for an ordinary record."""
        if not self.messy:
            return ""
        left = self.draw.random()
        for nature, share in natures.items():
            left -= share
            if left < 0:
                return nature
        return ""

    def odd(self, share: float) -> bool:
        """Draw whether a record is odd in one respect, with this probability."""
        return self.messy and self.draw.random() < share

    def note(self, crm_id: str, kind: str, nature: str) -> None:
        """Add a generated record to the world."""
        self.world.ids[kind].append(crm_id)
        if nature:
            self.world.ids[f"{kind}.{nature}"].append(crm_id)
