"""Name the remedy for activities that fail. Pure."""

from syncd.lifecycle.reasons import Reason
from syncd.lifecycle.states import State, Verdict

AGAIN = "nothing: syncd tries again by itself"
RECORD = "correct the record in the CRM"
ROWS_GONE = "rows were removed by hand: restore a backup, or let `syncd verify --repair` book them again"
# Of verdicts that are no reason of an activity.
VERDICTS = {
    Verdict.SKIPPED: "read Recotap's text: `syncd explain`",
    Verdict.UNAUTHORIZED: "give syncd a key that Recotap accepts: `syncd check`",
    Verdict.WRONG_URL: "correct `recotap.base_url`: `syncd check`",
    Verdict.UNREACHABLE: "restore the connection to Recotap: `syncd check`",
}


def remedy(state: str, cause: str) -> str:
    """Return the remedy for activities that are in `state` for `cause`, a reason or a verdict."""
    action = _action(cause)
    if state == State.SKIPPED:
        return f"{action}, then `syncd retry --state skipped`"
    if state == State.DEAD:
        return f"{action or RECORD}, then `syncd retry --reason {cause}`"
    return action or AGAIN


def _action(cause: str) -> str:
    found = next((reason.action for reason in Reason if reason == cause), "")
    return found or next((text for verdict, text in VERDICTS.items() if verdict == cause), "")


__all__ = ["AGAIN", "RECORD", "ROWS_GONE", "VERDICTS", "remedy"]
