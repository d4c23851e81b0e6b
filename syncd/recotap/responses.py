"""Read the verdict on each activity from a response of `POST /sales-activities`. Pure.

Sources: the vendor's page, and tests of its sandbox in 2026-06. The status is 200 even if every item failed. For one
invalid item, validation refuses the whole body with a class-validator tree, whose nesting is not documented.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from syncd.http import bodies
from syncd.http.response import retry_after
from syncd.lifecycle.states import Verdict
from syncd.text import fit_value

ResultKind = Literal[
    "answered",  # 200: `verdicts` holds what is proven
    "refused",  # 400 by the validation: nothing was stored
    "too_large",  # 413
    "unauthorized",  # 401, or a 403 in Recotap's envelope; `confirmed` tells whether it is really about the key
    "blocked",  # another 403, or one that a probe has disproved: a firewall refuses the text of an activity
    "wrong_url",  # 404, 405, a redirect
    "throttled",  # 429
    "unreachable",  # no connection
    "withheld",  # not sent, because the sender may no longer send
    "down",  # a time-out, a reset, 5xx, or a 200 or 4xx that cannot be parsed
]

FLAT_INDEX = re.compile(r"\bactivities[.\[](\d+)\b\]?\.?([\w.\[\]]*)", re.ASCII)
INDEX = re.compile(r"\d+", re.ASCII)
NAME = re.compile(r"[A-Za-z]\w{0,39}|\d{1,4}", re.ASCII)  # of a field or a rule; anything else may be a value
DEEPEST = 8  # levels read below an activity; contacts.0.email has 3
MOST_RULES = 10  # shown for one activity
FIREWALL_HINT = "a firewall or proxy before Recotap may refuse this machine or its requests: ask whoever runs it"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The verdict on one activity, and Recotap's text for it."""

    verdict: Verdict
    detail: str | None = None


CREATED = ItemResult(Verdict.CREATED)  # of nearly every item


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one POST."""

    outcome: ResultKind
    detail: str = ""  # for the operator; names statuses and rules, never values
    verdicts: Mapping[str, ItemResult] = field(default_factory=dict)  # answered: by externalActivityId
    culprits: Mapping[int, str] = field(default_factory=dict)  # refused: index in the batch to broken rules
    retry_after: float | None = None  # seconds
    stored: bool = False  # down: Recotap may have stored what was sent
    hint: str = ""  # unreachable, down: what the operator can do, if anything


def read(
    status: int, headers: Mapping[str, str], body: bytes | str, sent: Sequence[str], *, now: datetime
) -> BatchResult:
    """Return the result for the externalActivityIds `sent`, in the order of the batch."""
    wait = retry_after(headers, now=now)
    document = _json(body)
    if status in (200, 201):
        return _answered(document, sent)
    if status == 400:
        return _refused(document, len(sent))
    if status == 413:
        return BatchResult("too_large", "HTTP 413: the batch is too large")
    if status in (401, 403):
        return BatchResult("unauthorized" if _is_about_the_key(status, document) else "blocked", f"HTTP {status}")
    if status in (404, 405) or 300 <= status < 400:
        return BatchResult("wrong_url", f"HTTP {status}")
    if status == 429:
        return BatchResult("throttled", "HTTP 429", retry_after=wait)
    if status == 422 and isinstance(document, dict):
        return _refused(document, len(sent))
    stored = status >= 500 or status == 408 or 200 <= status < 300
    return BatchResult("down", f"HTTP {status}", retry_after=wait, stored=stored)


def read_probe(status: int, headers: Mapping[str, str], body: bytes | str, *, now: datetime) -> BatchResult:
    """Return the result of `GET /accounts?limit=1`, the smallest request: "answered" if it is Recotap's page.

    Otherwise it is "unauthorized", "wrong_url", "throttled" or "down".
    """
    if status == 200:
        return BatchResult("answered") if is_envelope(body) else BatchResult("down", "HTTP 200, and not Recotap's page")
    result = read(status, headers, body, [], now=now)
    if result.outcome in ("unauthorized", "wrong_url", "throttled"):
        return result
    return replace(result, outcome="down", hint=FIREWALL_HINT if status == 403 else "")


def confirmed(denied: BatchResult, probe: BatchResult) -> BatchResult:
    """Return the meaning of a 401 or 403, by the probe that was made at once with the same key. Pure.

    If the probe is refused too, the key is. If it is accepted, a firewall refuses the text of an activity. Otherwise
    nothing is known but an outage, and nothing was stored.
    """
    if probe.outcome == "answered":
        return BatchResult("blocked", f"{denied.detail}, though the key is accepted")
    if probe.outcome == "unauthorized":
        return denied if denied.outcome == "unauthorized" else probe
    detail = f"{denied.detail}, and the key cannot be tried: {probe.detail}"
    return BatchResult("down", detail, retry_after=probe.retry_after, hint=probe.hint or FIREWALL_HINT)


def _is_about_the_key(status: int, document: Any) -> bool:
    """Tell whether a 401 or 403 says that the key is refused. A gateway's own 403 has no `statusCode`."""
    return status == 401 or (isinstance(document, dict) and document.get("statusCode") == status)


def _json(body: bytes | str) -> Any:
    try:
        return bodies.parse(body)
    except bodies.NotJson:
        return None


# -- 200 ----------------------------------------------------------------------------------


def _answered(document: Any, sent: Sequence[str]) -> BatchResult:
    """Match items only by their externalActivityId. A missing one stays unknown."""
    inner = document.get("data", document) if isinstance(document, dict) else None
    data = inner if isinstance(inner, dict) else {}
    results = data.get("results")
    if not isinstance(results, list):
        return BatchResult("down", "HTTP 200 with a body that is not Recotap's", stored=True)
    said: dict[str, list[ItemResult]] = defaultdict(list)
    for item in results:
        if isinstance(item, dict) and isinstance(item.get("externalActivityId"), str):
            said[item["externalActivityId"]].append(_item(item))
    verdicts = {name: _agreed(said[name]) for name in sent if name in said}
    return BatchResult("answered", verdicts=_within_summary(verdicts, data.get("summary")))


def _item(item: Mapping[str, Any]) -> ItemResult:
    status = item.get("status")
    if status == "created":
        return CREATED
    error = fit_value(item.get("error")) or fit_value(item.get("reason"))
    if status == "skipped":
        return ItemResult(Verdict.SKIPPED, error or "no reason given")
    if status == "failed" and _says_that_it_exists(error, item["externalActivityId"]):
        return ItemResult(Verdict.DUPLICATE)
    if status == "failed":
        return ItemResult(Verdict.FAILED, error or "no error given")
    return ItemResult(Verdict.UNANSWERED, "a status that is not Recotap's")


def _says_that_it_exists(error: str, name: str) -> bool:
    """Tell whether this activity already exists. An existing contact or account proves nothing."""
    itself = rf"(?:\bactivity|(?<![\w-]){re.escape(name)}['\"`’]?)\s+already exists\b"
    return re.search(itself, error, re.IGNORECASE) is not None


def _agreed(said: Sequence[ItemResult]) -> ItemResult:
    """Return one result for several of the same id. Created and "already exists" is created; others must agree."""
    if len(said) == 1:  # nearly every item
        return said[0]
    kinds = {result.verdict for result in said}
    if kinds == {Verdict.CREATED, Verdict.DUPLICATE}:
        return CREATED
    return said[0] if len(kinds) == 1 else ItemResult(Verdict.UNANSWERED, "several results that disagree")


def _within_summary(verdicts: Mapping[str, ItemResult], summary: Any) -> Mapping[str, ItemResult]:
    """Doubt every `created` if the summary counts fewer. The next attempt's "already exists" will tell."""
    created = [name for name, result in verdicts.items() if result.verdict is Verdict.CREATED]
    counted = summary.get("created") if isinstance(summary, dict) else None
    if not isinstance(counted, int) or counted >= len(created):
        return verdicts
    doubt = ItemResult(Verdict.UNANSWERED, f"the summary counts fewer created than the results ({len(created)})")
    return {name: doubt if name in created else result for name, result in verdicts.items()}


# -- 400 ----------------------------------------------------------------------------------


def _refused(document: Any, count: int) -> BatchResult:
    if not isinstance(document, dict):
        return BatchResult("down", "HTTP 400 with a body that is not Recotap's")
    culprits: dict[int, list[str]] = defaultdict(list)
    for index, rule in (*_nested(document.get("data")), *_flat(document)):
        culprits[index].append(rule)
    if any(index >= count for index in culprits):
        culprits.clear()
    named = {index: "; ".join(list(dict.fromkeys(rules))[:MOST_RULES]) for index, rules in culprits.items()}
    return BatchResult("refused", "HTTP 400", culprits=named)


def _nested(errors: Any) -> Iterator[tuple[int, str]]:
    """Yield (index, rule) from class-validator's tree: activities → index → field → constraints."""
    for error in _dicts(errors):
        if error.get("property") != "activities":
            continue
        for item in _dicts(error.get("children")):
            index = str(item.get("property", ""))
            if INDEX.fullmatch(index):
                rules = list(_rules(item, ""))
                yield from ((_index(index), rule) for rule in rules or ["refused"])


def _rules(error: Mapping[str, Any], path: str, depth: int = 0) -> Iterator[str]:
    constraints = error.get("constraints")
    if isinstance(constraints, dict):
        for rule in constraints:
            yield f"{path or 'activity'}: {_name(rule)}"
    for child in _dicts(error.get("children")) if depth < DEEPEST else ():
        name = _name(child.get("property"))
        yield from _rules(child, f"{path}.{name}" if path else name, depth + 1)


def _flat(document: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield (index, rule) from NestJS's flat form: strings such as `activities.3.ownerEmail must be an email`."""
    for key in ("message", "data", "errors", "customMessage"):
        texts = document.get(key)
        for text in texts if isinstance(texts, list) else [texts]:
            if isinstance(text, str):
                for match in FLAT_INDEX.finditer(text):
                    path = ".".join(_name(part) for part in re.split(r"[.\[\]]+", match[2])[:DEEPEST] if part)
                    yield _index(match[1]), f"{path or 'activity'}: refused"


def _index(digits: str) -> int:
    return int(digits[:10])  # longer ones are out of range anyway, and int() rejects the longest


def _name(text: Any) -> str:
    return text if isinstance(text, str) and NAME.fullmatch(text) else "?"


def _dicts(errors: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(errors, list):
        yield from (error for error in errors if isinstance(error, dict))


def is_envelope(body: bytes | str) -> bool:
    """Tell whether `body` is a response of Recotap's API, and not another page in its place."""
    document = _json(body)
    return isinstance(document, dict) and "data" in document


class AccountPage(NamedTuple):
    """One response of `GET /accounts`."""

    domains: set[str]
    next_cursor: str | None  # of the next page; None: this is the last one. `hasNextPage` decides, not `nextCursor`


def account_page(body: bytes | str) -> AccountPage | None:
    """Read a response of `GET /accounts`. None if `body` is no such response."""
    document = _json(body)
    data = document.get("data") if isinstance(document, dict) else None
    accounts = data.get("data") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(accounts, list):
        return None
    domains = {domain for account in _dicts(accounts) if isinstance(domain := account.get("domain"), str)}
    return AccountPage(domains, str(data.get("nextCursor", "")) if data.get("hasNextPage") is True else None)
