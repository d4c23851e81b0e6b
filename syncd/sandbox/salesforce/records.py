"""The writes of tests and generators to the invented org, with Salesforce's side effects."""

import random
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncd.sandbox.salesforce.ids import OBJECTS, new_id, whole
from syncd.sandbox.salesforce.org import Org
from syncd.sandbox.salesforce.rows import OrgRow
from syncd.sandbox.salesforce.saving import DEFAULTS, Values, account_of, complete, typed
from syncd.sandbox.salesforce.schema import ObjectKind
from syncd.sandbox.standin.clock import iso, millis

Moment = datetime | int | str


class Records(Org):
    """An org with writes."""

    def __init__(self, *, seed: int = 1, **settings: Any) -> None:
        super().__init__(seed=seed, **settings)
        self._draw = random.Random(seed)
        self._version = 0
        self._people: dict[str, dict[str, str]] = defaultdict(dict)  # task -> person -> relation
        self._furnish()

    def put(
        self, object: str, fields: Mapping[str, Any], *, id: str | None = None, modified_at: Moment | None = None,
        created_at: Moment | None = None, late_by: float = 0.0,
    ) -> str:  # fmt: skip
        """Write a row and return its id. Its stamp is `modified_at`, by default now, in whole seconds.

        Queries see it after `late_by` seconds, as after a long transaction. It then appears behind the cursor of a
        reader that has passed its stamp.
        """
        with self.lock:
            kind, now = self.kinds[object], self.clock.ms()
            stamp = (now if modified_at is None else millis(modified_at)) // 1000
            created = stamp if created_at is None else millis(created_at) // 1000
            given = typed(kind, fields)
            row_id = self._new_id(kind) if id is None else whole(id)
            values: Values = {
                **kind.blank, **DEFAULTS.get(object, {}), "Id": row_id, "CreatedDate": created,
                "CreatedById": self.acting_user, "LastModifiedDate": stamp, "LastModifiedById": self.acting_user,
                "SystemModstamp": stamp, **given,
            }  # fmt: skip
            if "ownerid" in kind.fields:
                values.setdefault("OwnerId", self.acting_user)
            complete(kind, values, given, None, self._values)
            self._write(object, values, late_by)
            self._follow_who(object, values, None, late_by)
            return row_id

    def edit(
        self, object: str, id: str, *, touch: bool = True, modified_at: Moment | None = None, late_by: float = 0.0,
        **fields: Any,
    ) -> None:  # fmt: skip
        """Change fields, of which None clears one.

        The stamps become `modified_at`, by default now, unless `touch` is False.
        """
        with self.lock:
            kind, before = self.kinds[object], self.tables[object].rows[whole(id)].values
            given = typed(kind, fields)
            values = {**before, **given}
            if touch or modified_at is not None:
                stamp = (self.clock.ms() if modified_at is None else millis(modified_at)) // 1000
                for name in ("LastModifiedDate", "SystemModstamp"):
                    values[name] = given.get(name, stamp)
            complete(kind, values, given, before, self._values)
            self._write(object, values, late_by)
            self._follow_who(object, values, before, late_by)

    def delete(self, object: str, id: str) -> None:
        """Move a row to the recycle bin: query omits it, queryAll shows it with IsDeleted.

        The activities of a deleted contact or lead lose their WhoId and their relations to it, and no stamp moves. An
        email's relation keeps the address. (Salesforce also deletes activities of that person alone. This does not.)
        References to other deleted rows stay, and lead nowhere.
        """
        with self.lock:
            self.edit(object, id, IsDeleted=True)
            if object in ("Contact", "Lead"):
                for relation in [people.pop(whole(id)) for people in self._people.values() if whole(id) in people]:
                    self.tables["TaskWhoRelation"].remove(relation)
                self._repoint(object, whole(id), None)

    def purge(self, object: str, id: str) -> None:
        """Delete a row permanently. References to it stay, and lead nowhere."""
        with self.lock:
            self.tables[object].remove(whole(id))

    def archive(self, id: str) -> None:
        """Archive a task, so that only queryAll shows it. No stamp moves."""
        self.edit("Task", id, touch=False, IsArchived=True)

    def relate(self, activity_id: str, relation_id: str | None, *, late_by: float = 0.0, **fields: Any) -> str:
        """Relate a person to a task or an email and return the relation's id. No stamp of the activity moves.

        If a task has no Who, the person becomes its Who. An email's relation accepts RelationType and RelationAddress,
        and its `relation_id` may be None for an address that belongs to no row.
        """
        with self.lock:
            if not activity_id.startswith("00T"):
                given = {"EmailMessageId": activity_id, "RelationId": relation_id, **fields}
                given.setdefault("RelationType", "ToAddress")
                return self.put("EmailMessageRelation", given, late_by=late_by)
            if relation_id is None:
                raise ValueError("a task is related to people only, not to addresses")
            task = self.tables["Task"].rows[whole(activity_id)].values
            relation = self._relation(task, whole(relation_id), late_by, fields)
            if task.get("WhoId") is None:
                self.edit("Task", activity_id, touch=False, WhoId=relation_id)
            return relation

    def merge(self, object: str, winner: str, loser: str) -> None:
        """Merge two rows. The loser is deleted, and all references to it lead to the winner."""
        with self.lock:
            self.edit(object, loser, IsDeleted=True, MasterRecordId=winner)
            self.edit(object, winner)
            self._repoint(object, whole(loser), whole(winner))

    def convert(self, lead_id: str, *, contact: str | None = None, account: str | None = None) -> str:
        """Convert a lead into a contact and return the contact's id. Without `contact`, one is created.

        All references to the lead lead to the contact then (believed: WhoId moves, the activities' stamps do not).
        """
        with self.lock:
            lead = self.tables["Lead"].rows[whole(lead_id)].values
            account = account or self.put("Account", {"Name": lead["Company"], "Website": lead.get("Website")})
            names = ("FirstName", "LastName", "Title", "Email", "Phone")
            person = {name: lead.get(name) for name in names}
            contact = contact or self.put("Contact", {**person, "AccountId": account})
            self.edit(
                "Lead", lead_id, IsConverted=True, Status="Closed - Converted", ConvertedContactId=contact,
                ConvertedAccountId=account, ConvertedDate=iso(self.clock.ms())[:10],
            )  # fmt: skip
            self._repoint("Lead", whole(lead_id), contact)
            return contact

    def user(
        self, email: str, first: str = "", last: str = "", active: bool = True, user_type: str = "Standard",
        *, id: str | None = None,
    ) -> str:  # fmt: skip
        """Add a user and return its id."""
        return self.put(
            "User",
            {
                "Email": email, "FirstName": first, "LastName": last, "IsActive": active, "UserType": user_type,
                "Username": f"{email}.crm", "Alias": last[:8].lower(), "ProfileId": self._profile,
            },
            id=id,
        )  # fmt: skip

    def queue(self, name: str, email: str | None = None) -> str:
        """Add a queue, which may own tasks and leads, and return its id."""
        fields = {"Name": name, "DeveloperName": name.replace(" ", "_"), "Type": "Queue", "Email": email}
        return self.put("Group", fields)

    def catch_up(self) -> None:
        """Show queries everything that is committed by now, with the permissions of the settings."""
        super().catch_up()
        sees_all = bool(self.view_all_data)
        facts: tuple[tuple[str, str, str, Any], ...] = (
            ("PermissionSet", self._permission_set, "PermissionsViewAllData", sees_all),
            ("Profile", self._profile, "PermissionsViewAllData", sees_all),
            ("PermissionSetAssignment", self._assignment, "AssigneeId", self.acting_user),
        )
        for object, row_id, name, value in facts:
            if self.tables[object].rows[row_id].values[name] != value:
                self.edit(object, row_id, touch=False, **{name: value})

    def _furnish(self) -> None:
        """Write the rows that every org has, and the acting user."""
        self.acting_user = self.acting_user or self._new_id(self.kinds["User"])
        company = {"Name": "Lanternfield Sales", "OrganizationType": "Enterprise Edition"}
        self.put("Organization", company, id=self.org_id)
        self._profile = self.put("Profile", {"Name": "Minimum Access - API Only Integrations", "UserType": "Standard"})
        permissions = {"Name": "Sync", "Label": "Sync", "PermissionsApiEnabled": True}
        self._permission_set = self.put("PermissionSet", permissions)
        self.user("integration@lanternfield-sales.com", "Integration", "User", id=self.acting_user)
        assignment = {"AssigneeId": self.acting_user, "PermissionSetId": self._permission_set, "IsActive": True}
        self._assignment = self.put("PermissionSetAssignment", assignment)

    def _follow_who(self, object: str, values: Values, before: Values | None, late_by: float) -> None:
        """Keep the relation that belongs to a task's Who."""
        if object != "Task":
            return
        who, former = values.get("WhoId"), (before or {}).get("WhoId")
        if former is not None and former != who and former in self._people[values["Id"]]:
            self.tables["TaskWhoRelation"].remove(self._people[values["Id"]].pop(former))
        if who is not None:
            self._relation(values, who, late_by, {})

    def _relation(self, task: Values, person: str, late_by: float, fields: Mapping[str, Any]) -> str:
        people = self._people[task["Id"]]
        if person not in people:
            account = account_of(None, person, self._values)
            given = {
                "TaskId": task["Id"], "RelationId": person, "Type": "Lead" if person.startswith("00Q") else "Contact",
                "AccountId": account, **fields,
            }  # fmt: skip
            stamp = task["SystemModstamp"] * 1000
            people[person] = self.put("TaskWhoRelation", given, modified_at=stamp, late_by=late_by)
        return people[person]

    def _repoint(self, object: str, former: str, now: str | None) -> None:
        """Replace every reference to one row by another, or by none. No stamp moves."""
        for kind in self.kinds.values():
            names = [field.name for field in kind.fields.values() if object in field.refers_to]
            names = [name for name in names if name not in ("MasterRecordId", "ConvertedContactId")]
            for row in [row for row in self.tables[kind.name].rows.values() if row.id not in (former, now)]:
                changed = {name: now for name in names if row.values.get(name) == former}
                if changed and kind.name == "TaskWhoRelation":
                    self._move_relation(row, former, str(now))
                elif changed:
                    values = {**row.values, **changed}
                    complete(kind, values, changed, row.values, self._values)
                    self._write(kind.name, values, 0.0)

    def _move_relation(self, row: OrgRow, former: str, now: str) -> None:
        people = self._people[row.values["TaskId"]]
        people.pop(former, None)
        if now in people:
            self.tables["TaskWhoRelation"].remove(row.id)
            return
        people[now] = row.id
        kind = "Lead" if now.startswith("00Q") else "Contact"
        account = account_of(None, now, self._values)
        self._write("TaskWhoRelation", {**row.values, "RelationId": now, "Type": kind, "AccountId": account}, 0.0)

    def _values(self, row_id: str | None) -> Values | None:
        """Return the values of a row, even if it is not committed."""
        table = self.tables.get(OBJECTS.get((row_id or "")[:3], ""))
        row = None if table is None else table.rows.get(str(row_id))
        return None if row is None else row.values

    def _new_id(self, kind: ObjectKind) -> str:
        while (row_id := new_id(self._draw, kind.prefix)) in self.tables[kind.name].rows:
            continue
        return row_id

    def _write(self, object: str, values: Values, late_by: float) -> None:
        now = self.clock.ms()
        self._version += 1
        row = OrgRow(values["Id"], values, self._version)
        self.tables[object].write(row, now=now, visible_at=now + round(late_by * 1000))
