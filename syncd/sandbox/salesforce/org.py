"""The invented org: its settings, its tables, and the acting user's view of them."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from syncd.sandbox.recotap.service import Recotap
from syncd.sandbox.salesforce.ids import OBJECTS, register
from syncd.sandbox.salesforce.locators import Locators
from syncd.sandbox.salesforce.rows import OrgRow, OrgTable
from syncd.sandbox.salesforce.schema import SYSTEM, ObjectKind, parse, standard
from syncd.sandbox.salesforce.sessions import Sessions
from syncd.sandbox.standin.clock import Clock, iso
from syncd.sandbox.standin.server import StandIn

CLIENT_ID = "sandbox-consumer-key"
CLIENT_SECRET = "sandbox-consumer-secret"  # nosec B105 # opens nothing but a stand-in
USERNAME = "integration@lanternfield-sales.com.crm"
FEATURES = (
    "enhanced_email", "shared_activities", "tracking", "bounce_management", "voice_call", "person_accounts",
    "permissions_readable",
)  # fmt: skip


class Org(StandIn):
    """Rows, people and settings. Public attributes may be changed while the org is served."""

    def __init__(self, *, clock: Clock | None = None, latency_s: float = 0.0, seed: int = 1, **settings: Any) -> None:
        super().__init__(clock=clock, latency_s=latency_s, seed=seed)
        self.enhanced_email = True  # EmailMessage and its relations exist
        self.shared_activities = True  # TaskWhoRelation exists: several people per task
        self.tracking = True  # EmailMessage has IsTracked, IsOpened and the dates
        self.bounce_management = True  # EmailMessage has IsBounced
        self.voice_call = False
        self.person_accounts = False
        self.view_all_data: bool | None = (
            True  # the acting user's permission, in the permission sets; None: these are unreadable
        )
        self.name_email_of_people = False  # Who.Email without TYPEOF; the docs promise it only for users and queues
        self.page_size = 2000  # rows per page, children included (REST guide v67); the server may grant fewer
        self.folds_ascii_only = False  # SOQL tells É from é: no document says how it folds letters outside ASCII
        self.live_locators = True  # a later page shows its rows' present versions, not those of the query's time
        self.locators_end_with_session = False  # under another session a locator gets a 401
        self.query_timeout_rows: int | None = None  # a query with more matches gets a 400 QUERY_TIMEOUT
        self.too_large_rows: int | None = None  # the same for queryAll, 400 OPERATION_TOO_LARGE
        self.versions: Iterable[int] = range(31, 68)  # v31.0 to v67.0; older ones are gone
        self.daily_limit = 100_000  # 0: no limit
        self.used = 0  # of the daily limit, so far
        self.uri_limit = 16_384  # bytes of URI and headers (Limits guide v67)
        self.gzip = True  # compress for clients that accept it
        self.client_id, self.client_secret = CLIENT_ID, CLIENT_SECRET
        self.username = USERNAME
        self.public_key = ""  # PEM; verifies JWT assertions
        self.login_host_is_generic = False  # True: behave like login.salesforce.com, which refuses client credentials
        self.session_lifetime_s = 7200.0  # without use
        self.acting_user = ""  # id of the user who reads; empty: one is created
        self.org_id = "00DDn0000000001MAA"
        self.recotap: Recotap | None = (
            None  # receives the poison messages of records generated through the control endpoint
        )
        self.kinds = standard()
        self.tables = {name: OrgTable(name) for name in self.kinds}
        self.sessions = Sessions(random.Random(seed))
        self.locators = Locators(random.Random(seed))
        self._turn = seed
        self._hidden: set[tuple[str, str | None]] = set()  # object and field, lower-case field; None: the object
        self._views: dict[Any, dict[str, ObjectKind | None]] = {}
        self.set(**settings)

    @property
    def permissions_readable(self) -> bool:
        """Return whether the permission sets exist for the acting user."""
        return self.view_all_data is not None

    def field(self, object: str, name: str, type: str = "string") -> None:
        """Define a custom field of a type that describe names."""
        if not name.endswith("__c"):
            raise ValueError(f"a custom field ends in __c, got {name!r}")
        kind = self.kinds[object]
        self.kinds[object] = replace(kind, fields={**kind.fields, name.lower(): parse(f"{name} {type}")})
        self._views.clear()

    def object(self, name: str) -> None:
        """Define a custom object, as a package brings it, with a name, an owner and the system fields."""
        if not name.endswith("__c"):
            raise ValueError(f"a custom object ends in __c, got {name!r}")
        register(name)
        own = ("Name string(80)", "OwnerId reference to=User|Group as=Owner required")
        fields = {field.name.lower(): field for field in map(parse, (*SYSTEM.split("\n")[1:-1], *own))}
        self.kinds[name], self.tables[name] = ObjectKind(name, fields), OrgTable(name)
        self._views.clear()

    def hide(self, object: str, field: str | None = None) -> None:
        """Hide a field, or a whole object, from the acting user: from describe and from queries."""
        if field is not None and field.lower() not in self.kinds[object].fields:
            raise ValueError(f"no such field: {object}.{field}")
        self._hidden.add((self.kinds[object].name, field and field.lower()))
        self._views.clear()

    def expire_sessions(self) -> None:
        """End every session at once, as after a password change."""
        self.sessions.clear()

    def kill_locators(self) -> None:
        """Forget every result that is paged through."""
        self.locators.clear()

    def set(self, **settings: Any) -> None:
        """Change settings by name."""
        for name, value in settings.items():
            if name.startswith("_") or not hasattr(self, name) or callable(getattr(self, name)):
                raise ValueError(f"no such setting: {name!r}")
            setattr(self, name, value)

    def state(self) -> dict[str, Any]:
        """Return counts of all, shown, deleted and archived rows, and of used calls."""
        with self.lock:
            self.catch_up()
            counts: dict[str, Any] = {}
            for name, table in self.tables.items():
                shown = [row.values for row in table.shown.values()]
                deleted = sum(bool(values.get("IsDeleted")) for values in shown)
                archived = sum(bool(values.get("IsArchived")) for values in shown)
                counts[name] = {"all": len(table.rows), "shown": len(shown), "deleted": deleted, "archived": archived}
            return {**counts, "now": iso(self.clock.ms()), "used": self.used}

    def view(self, name: str) -> ObjectKind | None:
        """Return an object as the acting user sees it, or None. The name's case does not matter."""
        features = tuple(bool(getattr(self, feature)) for feature in FEATURES)
        if features not in self._views:
            self._views[features] = {kind.name.lower(): self._seen(kind) for kind in self.kinds.values()}
            for kind in list(self._views[features].values()):
                if kind is not None:
                    kind.children = {
                        name: child
                        for name, child in kind.children.items()
                        if self._views[features].get(child.object.lower()) is not None
                    }
        return self._views[features].get(name.lower())

    def find(self, row_id: str | None) -> OrgRow | None:
        """Return a row by id, or None if it is deleted, unknown or not committed yet."""
        table = self.tables.get(OBJECTS.get((row_id or "")[:3], ""))
        row = None if table is None or row_id is None else table.shown.get(row_id)
        return None if row is None or row.values.get("IsDeleted") else row

    def catch_up(self) -> None:
        """Show queries everything that is committed by now."""
        now = self.clock.ms()
        for table in self.tables.values():
            table.catch_up(now)

    def _seen(self, kind: ObjectKind) -> ObjectKind | None:
        if (kind.name, None) in self._hidden or (kind.feature and not getattr(self, kind.feature)):
            return None
        fields = {
            name: field
            for name, field in kind.fields.items()
            if (kind.name, name) not in self._hidden and (not field.feature or getattr(self, field.feature))
        }
        return ObjectKind(kind.name, fields, dict(kind.children), kind.feature)
