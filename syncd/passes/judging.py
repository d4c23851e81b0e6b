"""Turn Recotap's answer to a POST into one verdict for each of its activities. Pure."""

import json
from collections.abc import Mapping, Sequence

from syncd.ledger import AttemptResult, Claimed
from syncd.lifecycle.states import Verdict
from syncd.privacy.redaction import redact, redact_value
from syncd.privacy.scrubbing import scrub, truncate
from syncd.recotap.responses import BatchResult, ItemResult

NO_RULE = "refused by Recotap's validation without a word why"


def answered(activities: Sequence[Claimed], verdicts: Mapping[str, ItemResult]) -> list[AttemptResult]:
    """Return the verdicts of a 200."""
    return [_of_item(activity, verdicts) for activity in activities]


def refused(activities: Sequence[Claimed], answer: BatchResult) -> list[AttemptResult]:
    """Return the verdicts of a 400 that names its culprits by index, or of one for a single activity."""
    if len(activities) == 1:
        return [AttemptResult(activities[0].id, Verdict.REFUSED, answer.culprits.get(0, NO_RULE))]
    return [
        AttemptResult(activity.id, Verdict.REFUSED, answer.culprits[index])
        if index in answer.culprits
        else AttemptResult(activity.id, Verdict.BYSTANDER, answer.detail)
        for index, activity in enumerate(activities)
    ]


def _of_item(activity: Claimed, verdicts: Mapping[str, ItemResult]) -> AttemptResult:
    """Return the result of one activity of a 200.

    Its fate is unknown if the response does not name it. A duplicate is ours if an earlier attempt may have stored it.
    """
    judged = verdicts.get(activity.external_activity_id)
    if judged is None:
        return AttemptResult(activity.id, Verdict.UNANSWERED, "the answer does not name it")
    verdict = judged.verdict
    if verdict is Verdict.DUPLICATE and not activity.unknown:
        verdict = Verdict.FOREIGN_DUPLICATE
    return AttemptResult(activity.id, verdict, None if judged.detail is None else _told(judged.detail, activity))


def _told(text: str, activity: Claimed) -> str:
    """Redact and scrub a text. The payload counts in both forms, as a subject may hold an address."""
    payload = json.loads(activity.body)
    return redact(scrub(redact(truncate(text)), [payload, redact_value(payload)]))


__all__ = ["answered", "refused"]
