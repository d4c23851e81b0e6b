"""A stand-in for HubSpot: the endpoints that a reader of calls and emails uses.

Every path is served dated (/crm/objects/2026-03/calls/search) and legacy (/crm/v3/objects/calls/search).
"""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from syncd.sandbox.hubspot.portal import Portal
from syncd.sandbox.hubspot.properties import ASSOCIATION_TYPES, DEFAULTS, PRIMARY, REDACTED, SINGULAR, TYPES
from syncd.sandbox.hubspot.records import PortalRecord, PortalTable
from syncd.sandbox.hubspot.search import HubSpotRefusal, search
from syncd.sandbox.hubspot.world import generate
from syncd.sandbox.standin.clock import iso
from syncd.sandbox.standin.faults import sample
from syncd.sandbox.standin.server import Request, Response

# spec, 2026-09: calls, emails and contacts require CONTACTS_READ; for emails' details see REDACTED
CONTACTS_READ = "crm.objects.contacts.read"
SCOPE_OF = {"companies": "crm.objects.companies.read"}

MAX_SEARCH_BODY = 3000  # characters (docs, 2026-03)
MAX_BATCH = 100  # ids per batch read (docs)
MAX_ASSOCIATION_INPUTS = 1000  # since 2025-02-10 (HubSpot changelog)
MAX_LIST = 100  # rows per list page
MAX_OWNERS = 500  # owners per page

Json = dict[str, Any]
_V = r"(?:2026-03|2026-09)"
# method, path, kind, the method of HubSpot that responds
ROUTES = [
    ("POST", rf"/crm/(?:objects/{_V}|v3/objects)/(?P<type>[\w-]+)/search", "search", "_search"),
    ("POST", rf"/crm/(?:associations/{_V}|v4/associations)/(?P<type>[\w-]+)/(?P<to>[\w-]+)/batch/read", "associations",
     "_associations"),
    ("POST", rf"/crm/(?:objects/{_V}|v3/objects)/(?P<type>[\w-]+)/batch/read", "batch", "_batch"),
    ("GET", rf"/crm/(?:objects/{_V}|v3/objects)/(?P<type>[\w-]+)", "list", "_list"),
    ("GET", rf"/crm/(?:objects/{_V}|v3/objects)/(?P<type>[\w-]+)/(?P<id>\d+)", "get", "_get"),
    ("GET", rf"/crm/(?:owners/{_V}|v3/owners)", "owners", "_owners"),
    ("GET", rf"/crm/(?:owners/{_V}|v3/owners)/(?P<id>\d+)", "owners", "_owner"),
    ("GET", r"/calling/v1/dispositions", "labels", "_dispositions"),
    ("GET", rf"/crm/(?:properties/{_V}|v3/properties)/(?P<type>[\w-]+)/(?P<name>\w+)", "labels", "_property"),
    ("GET", rf"/crm/(?:properties/{_V}|v3/properties)/(?P<type>[\w-]+)", "labels", "_properties"),
    ("GET", rf"/account-info/(?:{_V}|v3)/details", "account", "_details"),
    ("GET", rf"/account-info/(?:{_V}|v3)/api-usage/daily/private-apps", "account", "_usage"),
]  # fmt: skip
_ROUTES = [(method, re.compile(path), kind, name) for method, path, kind, name in ROUTES]


class HubSpot(Portal):
    """The HTTP API of an invented portal."""

    def orders(self) -> dict[str, Callable[..., Any]]:
        """Return the orders of the control endpoint, by name."""
        own = ("put", "edit", "archive", "delete", "merge", "associate", "owner", "property", "token", "set", "state")
        mine: dict[str, Callable[..., Any]] = {name: _by_type(getattr(self, name)) for name in own}
        return {**super().orders(), **mine, "generate": lambda **what: generate(self, self.recotap, **what).summary()}

    def kind(self, request: Request) -> str:
        """Return the endpoint's kind: search, associations, batch … or other."""
        return next((kind for method, path, kind, _ in _ROUTES if path.fullmatch(request.path.rstrip("/"))), "other")

    def answer(self, request: Request) -> Response:
        """Process a request: token, route, limits, scopes, work."""
        path = request.path.rstrip("/")  # the SDK sends a trailing slash; whether HubSpot minds it is not known
        matches = [(method, match, kind, name) for method, p, kind, name in _ROUTES if (match := p.fullmatch(path))]
        scopes = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if scopes is None:
            return self._error(401, NO_CREDENTIALS, "INVALID_AUTHENTICATION")
        found = next((m for m in matches if m[0] == request.method), None)
        if found is None:
            return self._error(405 if matches else 404, "resource not found", "OBJECT_NOT_FOUND")
        _, match, kind, name = found
        with self.lock:
            parts = match.groupdict()
            answer = self._over_limit(kind) or self._out_of_scope(kind, parts, scopes)
            answer = answer or self._guarded(getattr(self, name), request, parts, scopes=scopes)
            if kind != "search":  # usage guidelines: search responses have no rate-limit headers
                answer.headers |= self._limit_headers()
            return answer

    def _guarded(self, act: Callable[..., Response], request: Request, parts: Json, **more: Any) -> Response:
        try:
            for key in parts.keys() & {"type", "to"}:
                parts[key] = self._table(parts[key])
            return act(request, **parts, **more)
        except HubSpotRefusal as refused:
            return self._error(refused.status, str(refused), "VALIDATION_ERROR")
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # a request of another form
            return self._error(400, f"Invalid input ({error!r})", "VALIDATION_ERROR")

    def _table(self, name: str) -> PortalTable:
        if name not in TYPES:
            raise HubSpotRefusal(f"Unable to infer object type from: {name}")
        return self.tables[TYPES[name]]

    def _search(self, request: Request, *, type: PortalTable, scopes: frozenset[str]) -> Response:
        text = request.body.decode()
        if len(text) > MAX_SEARCH_BODY:
            raise HubSpotRefusal(f"the request body has {len(text)} characters, at most {MAX_SEARCH_BODY} are allowed")
        body = _object(text)
        if body.get("query"):
            raise HubSpotRefusal("the stand-in knows no full-text query")
        type.catch_up(self.clock.ms())
        self._turn += 1
        found = search(type, body, turn=self._turn)
        names = body.get("properties") or DEFAULTS[type.name]
        source = type.rows if self.fresh_properties else type.shown
        rows = self._render(type, [source[crm_id] for crm_id in found.ids if crm_id in source], names, scopes)
        paging = {} if found.next_after is None else {"paging": {"next": {"after": str(found.next_after)}}}
        return Response(200, {"total": found.total, "results": rows, **paging})

    def _batch(self, request: Request, *, type: PortalTable, scopes: frozenset[str]) -> Response:
        body = _object(request.body)
        inputs = body.get("inputs")
        if not isinstance(inputs, list) or len(inputs) > MAX_BATCH:
            raise HubSpotRefusal(f"inputs must be a list of at most {MAX_BATCH} ids")
        if body.get("idProperty") not in (None, "hs_object_id"):
            raise HubSpotRefusal("the stand-in reads by hs_object_id only")
        archived = request.first("archived") == "true"
        asked = {str(item["id"]): type.find(int(item["id"])) for item in inputs}
        found = {row.id: row for row in asked.values() if row is not None and row.archived == archived}
        rows = [found[crm_id] for crm_id in sorted(found)]  # sorted by id, each once; HubSpot promises no order
        lost = [crm_id for crm_id, row in asked.items() if row is None or row.archived != archived]
        rendered = self._render(type, rows, body.get("properties") or DEFAULTS[type.name], scopes)
        return self._batch_answer(rendered, [] if self.drop_missing or not lost else [_not_found(type.name, lost)])

    def _associations(
        self, request: Request, *, type: PortalTable, to: PortalTable, scopes: frozenset[str]
    ) -> Response:
        if (type.name, to.name) not in ASSOCIATION_TYPES:
            raise HubSpotRefusal(f"the stand-in knows no associations from {type.name} to {to.name}")
        inputs = _object(request.body).get("inputs")
        if not isinstance(inputs, list) or len(inputs) > MAX_ASSOCIATION_INPUTS:
            raise HubSpotRefusal(f"inputs must be a list of at most {MAX_ASSOCIATION_INPUTS}")
        self.links.catch_up(self.clock.ms())
        results, errors = [], []
        for item in inputs:
            crm_id = int(item["id"])
            source = type.find(crm_id)
            linked = self.links.of(type.name, source.id, to.name) if source and not source.archived else []
            live = [i for i in linked if (row := to.rows.get(i)) is not None and not row.archived]
            if live:
                results.append(self._links_of(item, live, (type.name, to.name)))
            else:
                errors.append(_no_associations(type.name, to.name, item["id"]))
        return self._batch_answer(results, errors)

    def _links_of(self, item: Json, live: list[int], ends: tuple[str, str]) -> Json:
        """Return one input's associations.

        `toObjectId` is a JSON integer in practice (airbyte), but not in the spec.
        """
        start = int(item.get("after") or 0)
        page = live[start : start + self.association_page]
        plain = {"category": "HUBSPOT_DEFINED", "typeId": ASSOCIATION_TYPES[ends], "label": None}
        to = [{"toObjectId": other, "associationTypes": [plain]} for other in page]
        if ends in PRIMARY and start == 0:
            to[0]["associationTypes"] = [plain, {**plain, "typeId": PRIMARY[ends], "label": "Primary"}]
        rest = start + self.association_page
        paging = {"paging": {"next": {"after": str(rest)}}} if rest < len(live) else {}
        return {"from": {"id": str(item["id"])}, "to": to, **paging}

    def _list(self, request: Request, *, type: PortalTable, scopes: frozenset[str]) -> Response:
        limit = int(request.first("limit", "10"))
        if not 1 <= limit <= MAX_LIST:
            raise HubSpotRefusal(f"limit must be between 1 and {MAX_LIST}")
        if "associations" in request.query:
            raise HubSpotRefusal("the stand-in lists no associations")
        after, archived = int(request.first("after", "0")), request.first("archived") == "true"
        ids = type.ids.entries
        following_rows = (type.rows[ids[at][0]] for at in range(bisect_left(ids, (after, -1)), len(ids)))
        rows = list(islice((row for row in following_rows if row.archived == archived), limit + 1))
        results = self._render(type, rows[:limit], _names(request, type), scopes)
        if len(rows) <= limit:
            return Response(200, {"results": results})
        following = str(rows[limit - 1].id + 1)  # list `after` is the last id + 1 (recorded, 2025-02)
        link = f"https://api.hubapi.com{request.path}?limit={limit}&after={following}"
        return Response(200, {"results": results, "paging": {"next": {"after": following, "link": link}}})

    def _get(self, request: Request, *, type: PortalTable, id: str, scopes: frozenset[str]) -> Response:
        row = type.find(int(id))
        if row is None or row.archived != (request.first("archived") == "true"):
            return self._error(404, "resource not found", "OBJECT_NOT_FOUND")
        return Response(200, self._render(type, [row], _names(request, type), scopes)[0])

    def _owners(self, request: Request, *, scopes: frozenset[str]) -> Response:
        limit, after = int(request.first("limit", "100")), int(request.first("after", "0"))
        if not 1 <= limit <= MAX_OWNERS:
            raise HubSpotRefusal(f"limit must be between 1 and {MAX_OWNERS}")
        archived, email = request.first("archived") == "true", request.first("email")
        everyone = archived and not self.archived_owners_only
        owners = [o for _, o in sorted(self.owners.items()) if everyone or o["archived"] == archived]
        owners = [o for o in owners if not email or o["email"] == email]
        answer: Json = {"results": owners[after : after + limit]}
        if after + limit < len(owners):
            answer["paging"] = {"next": {"after": str(after + limit), "link": "?"}}
        return Response(200, answer)

    def _owner(self, request: Request, *, id: str, scopes: frozenset[str]) -> Response:
        key = "userIdIncludingInactive" if request.first("idProperty") == "userId" else "id"
        archived = request.first("archived") == "true"
        for owner in self.owners.values():
            if str(owner[key]) == id and owner["archived"] == archived:
                return Response(200, owner)
        return self._error(404, "resource not found", "OBJECT_NOT_FOUND")

    def _dispositions(self, request: Request, *, scopes: frozenset[str]) -> Response:
        return Response(200, self.dispositions)

    def _property(self, request: Request, *, type: PortalTable, name: str, scopes: frozenset[str]) -> Response:
        if name not in type.kinds:
            return self._error(404, f"Property {name} does not exist", "OBJECT_NOT_FOUND")
        return Response(200, self._definition(type, name))

    def _properties(self, request: Request, *, type: PortalTable, scopes: frozenset[str]) -> Response:
        shown = [self._definition(type, name) for name in sorted(type.kinds.keys() - self.hidden)]
        return Response(200, {"results": shown})

    def _definition(self, type: PortalTable, name: str) -> Json:
        options = self.options.get((type.name, name), [])
        if (type.name, name) == ("calls", "hs_call_disposition"):
            options = [(item["id"], item["label"]) for item in self.dispositions]
        shown = [{"value": v, "label": text, "displayOrder": i, "hidden": False} for i, (v, text) in enumerate(options)]
        kind = {"enum": "enumeration", "id": "number"}.get(type.kinds[name], type.kinds[name])
        return {"name": name, "label": name, "type": kind, "options": shown, "archived": False}

    def _details(self, request: Request, *, scopes: frozenset[str]) -> Response:
        offset = datetime.fromtimestamp(self.clock.ms() / 1000, ZoneInfo(self.time_zone)).utcoffset() or timedelta()
        sign, minutes = "-" if offset < timedelta() else "+", abs(offset) // timedelta(minutes=1)
        return Response(200, {
            "portalId": self.portal_id, "accountType": "STANDARD", "timeZone": self.time_zone,
            "companyCurrency": "USD", "additionalCurrencies": [],
            "utcOffset": f"{sign}{minutes // 60:02}:{minutes % 60:02}",
            "utcOffsetMilliseconds": offset // timedelta(milliseconds=1),
            "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1",
        })  # fmt: skip

    def _usage(self, request: Request, *, scopes: frozenset[str]) -> Response:
        usage = sample("account_usage_daily_private_apps.200.json")
        now = datetime.fromtimestamp(self.clock.ms() / 1000, ZoneInfo(self.time_zone))
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        resets_at = midnight.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        usage["results"][0] |= {
            "collectedAt": iso(self.clock.ms()), "currentUsage": self._used,
            "resetsAt": resets_at, "usageLimit": self.daily_limit,
        }  # fmt: skip
        return Response(200, usage)

    def _render(
        self, table: PortalTable, rows: list[PortalRecord], names: Iterable[str], scopes: frozenset[str]
    ) -> list[Json]:
        rendered = table.render(rows, (name for name in names if name not in self.hidden))
        if table.name == "emails" and "sales-email-read" not in scopes:
            for row in rendered:
                row["properties"] = {n: None if n in REDACTED else v for n, v in row["properties"].items()}
        return rendered

    def _over_limit(self, kind: str) -> Response | None:
        """Count one request against its limits. Return the recorded 429 if it exceeds one."""
        now = self.clock.ms()
        today = datetime.fromtimestamp(now / 1000, ZoneInfo(self.time_zone)).date().isoformat()
        if today != self._today:
            self._today, self._used = today, 0
        if self.daily_limit and self._used >= self.daily_limit:
            return Response(429, sample("error_429_daily.json"))
        if kind == "search" and not self._searches.take(now, self.search_per_second):
            return Response(429, sample("error_429_secondly_search.json"))
        if kind not in ("search", "associations") and not self._others.take(now, self.per_ten_seconds):
            return Response(429, sample("error_429_ten_secondly.json"))
        self._used += 1
        return None

    def _limit_headers(self) -> dict[str, str]:
        now = self.clock.ms()
        numbers = {
            "Max": self.per_ten_seconds, "Remaining": max(0, self.per_ten_seconds - self._others.count(now)),
            "Interval-Milliseconds": 10_000, "Daily": self.daily_limit,
            "Daily-Remaining": max(0, self.daily_limit - self._used),
        }  # fmt: skip
        return {f"X-HubSpot-RateLimit-{name}": str(number) for name, number in numbers.items()}

    def _out_of_scope(self, kind: str, parts: dict[str, str], scopes: frozenset[str]) -> Response | None:
        needed: set[str] = set()
        if kind in ("search", "batch", "list", "get"):
            needed = {SCOPE_OF.get(TYPES.get(parts["type"], ""), CONTACTS_READ)}
        elif kind == "owners":
            needed = {"crm.objects.owners.read"}
        elif kind == "associations":  # any one of about 80 object scopes is enough (spec)
            needed = set() if any(scope.startswith("crm.objects.") for scope in scopes) else {CONTACTS_READ}
        elif kind == "labels" and self.schema_scope and parts.get("type"):
            needed = {"crm.schemas.contacts.read"}
        missing = sorted(needed - scopes)
        if not missing:
            return None
        text = "One or more of the following scopes are required."
        errors = [{"message": text, "context": {"requiredGranularScopes": missing}}]
        links = {"scopes": "https://developers.hubspot.com/scopes"}
        return self._error(403, NO_SCOPES, "MISSING_SCOPES", errors=errors, links=links)

    def _batch_answer(self, results: list[Json], errors: list[Json]) -> Response:
        now = iso(self.clock.ms())
        body = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        return Response(207, {**body, "numErrors": len(errors), "errors": errors}) if errors else Response(200, body)

    def _error(self, status: int, message: str, category: str, **more: Any) -> Response:
        body = {"status": "error", "message": message, "correlationId": str(uuid4()), "category": category, **more}
        return Response(status, body)


NO_CREDENTIALS = (
    "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details"
    " at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
)
NO_SCOPES = (
    "This app hasn't been granted all required scopes to make this call."
    " Read more about required scopes here: https://developers.hubspot.com/scopes."
)


def _object(text: str | bytes) -> Json:
    try:
        body = json.loads(text)
    except ValueError:
        raise HubSpotRefusal("Invalid input JSON") from None
    if not isinstance(body, dict):
        raise HubSpotRefusal("Invalid input JSON: expected an object")
    return body


def _names(request: Request, table: PortalTable) -> list[str]:
    asked = [name for part in request.query.get("properties", []) for name in part.split(",")]
    return asked or list(DEFAULTS[table.name])


def _not_found(type_name: str, ids: list[str]) -> Json:
    what = SINGULAR[type_name].upper()
    return {
        "status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ids},
        "message": f"Could not get some {what} objects, they may be deleted or not exist. Check that ids are valid.",
    }  # fmt: skip


def _no_associations(from_type: str, to_type: str, crm_id: Any) -> Json:
    one, other = SINGULAR[from_type], SINGULAR[to_type]
    context = {"fromObjectId": [str(crm_id)], "fromObjectType": [one], "toObjectType": [other]}
    return {
        "status": "error", "category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {other} is associated with {one} {crm_id}.", "context": context,
    }  # fmt: skip


def _by_type(act: Callable[..., Any]) -> Callable[..., Any]:
    """Accept `type` in an order for the parameter `type_name`, which shadows no builtin."""

    def obey(**arguments: Any) -> Any:
        if "type" in arguments:
            arguments["type_name"] = arguments.pop("type")
        return act(**arguments)

    return obey
