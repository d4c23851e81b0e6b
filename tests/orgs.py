"""A World with a Salesforce org beside its HubSpot portal, one Recotap and one ledger for both.

with OrgWorld(tmp_path) as world:
    call = world.task()
    world.sync()
    assert world.state(call) == "delivered"
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.world import OWN, THEIRS, World


class OrgWorld(World):
    """The configuration holds the org's source, and HubSpot's too if `with_hubspot`."""

    def __init__(
        self, path: Path, *, with_hubspot: bool = False, org: dict[str, Any] | None = None, **how: Any
    ) -> None:  # fmt: skip
        super().__init__(path, salesforce=org or {}, **how)
        self.org = self.box.salesforce
        before = self.now() - timedelta(days=200)
        self.rep = self.org.user(f"cleo.hollisgrave@{OWN}", "Cleo", "Hollisgrave")
        self.colleague = self.org.user(f"dario.dunmere@{OWN}", "Dario", "Dunmere")
        fields = {"Name": "Amber Bolts", "Website": f"https://www.{THEIRS}/about"}
        self.account = self.org.put("Account", fields, modified_at=before)
        self.buyer = self.contact_of("mira.copperwell")
        for name, value in (("client_id", self.box.client_id), ("client_secret", self.box.client_secret)):
            (path / name).write_text(value)
        self._with_hubspot = with_hubspot

    def __enter__(self) -> "OrgWorld":
        super().__enter__()
        self.configure("sources.salesforce", **self.org_source())
        if self._with_hubspot:
            self.configure("sources.hubspot", **self.source())
        return self

    # -- a clock that goes on by itself and is moved all the same -------------------------

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def later(self, **delta: float) -> None:
        """Move the one clock. In `real_time` other processes must be told how far it is `ahead_s`."""
        if self._real_time:
            self.box.clock.advance(timedelta(**delta).total_seconds())
        else:
            super().later(**delta)

    def hold_the_clock(self) -> None:
        self.at, self._real_time = self.now(), False
        self.box.clock.now, self.box.clock.offset_s = self.now, 0.0

    @property
    def ahead_s(self) -> float:
        """How far the clock has been moved, in `real_time`, from the machine's."""
        return self.box.clock.offset_s if self._real_time else 0.0

    # -- the org ------------------------------------------------------------------------

    def org_source(self, **values: Any) -> dict[str, Any]:
        """Return the table of a source over the org."""
        return {
            "connector": "salesforce", "login_url": self.box.salesforce_url, "ca_file": str(self.box.salesforce_ca),
            "client_id": f"file:{self.path / 'client_id'}", "client_secret": f"file:{self.path / 'client_secret'}",
            "start": datetime(2026, 1, 1, tzinfo=UTC), **values,
        }  # fmt: skip

    def contact_of(self, name: str, *, account: str | None = "", **fields: Any) -> str:
        """Put a contact of the account, or of another, or of none."""
        first, _, last = name.partition(".")
        values = {
            "FirstName": first.title(), "LastName": last.title(), "Name": name.replace(".", " ").title(),
            "Email": f"{name}@{THEIRS}", "AccountId": self.account if account == "" else account, **fields,
        }  # fmt: skip
        return self.org.put("Contact", values, modified_at=self.now() - timedelta(days=100))

    def task(
        self, *, others: Sequence[str] = (), ago: timedelta = timedelta(hours=1), late_by: float = 0.0,
        happened: datetime | None = None, **fields: Any,
    ) -> str:  # fmt: skip
        """Put a finished call, an hour ago, that lacks nothing. `others` are its contacts beside Who.

        It is modified `ago`; it `happened`, and was created, then too, unless told when.
        """
        at = self.now() - ago
        values = {
            "Subject": "Discovery call", "TaskSubtype": "Call", "Status": "Completed", "OwnerId": self.rep,
            "WhoId": self.buyer, "CallDurationInSeconds": 600, "CallType": "Outbound",
            "CallDisposition": "Connected", "CompletedDateTime": happened or at, **fields,
        }  # fmt: skip
        crm_id = self.org.put("Task", values, created_at=happened or at, modified_at=at, late_by=late_by)
        for contact in others:
            self.org.relate(crm_id, contact)
        return crm_id

    def mail(
        self, *, to: Sequence[str] | None = None, ago: timedelta = timedelta(hours=5), late_by: float = 0.0,
        happened: datetime | None = None, **fields: Any,
    ) -> str:  # fmt: skip
        """Put a sent email, five hours ago, that lacks nothing. It is modified `ago`, see `task`."""
        at = self.now() - ago
        values = {
            "Subject": "Your quote", "Status": "3", "Incoming": False, "FromId": self.rep,
            "FromName": "Cleo Hollisgrave",
            "FromAddress": f"cleo.hollisgrave@{OWN}", "ToAddress": f"mira.copperwell@{THEIRS}",
            "MessageDate": happened or at, **fields,
        }  # fmt: skip
        crm_id = self.org.put("EmailMessage", values, created_at=happened or at, modified_at=at, late_by=late_by)
        for contact in (self.buyer,) if to is None else to:
            self.org.relate(crm_id, contact, RelationType="ToAddress")
        return crm_id


__all__ = ["OrgWorld"]
