"""Name every reason why an activity is not delivered: one line each, with its meaning. Pure.

    name, state, meaning, what an operator does about it ("": nothing), when time alone may resolve it

The order is the order of judgement: exclusion first, and the first reason that holds is the row's. README.md shows
this table. A value is part of the contract (ledgers, `--reason`, JSON): it is never renamed.
"""

from datetime import datetime, timedelta
from typing import Protocol, Self

from syncd.lifecycle import timing
from syncd.lifecycle.states import Described, State

_E, _I, _X = State.EXCLUDED, State.INCOMPLETE, State.DEAD
_SEE = "read Recotap's text: `syncd explain`"


class Due(Protocol):
    """Return when a reason no longer holds, by the clock of the arguments."""

    def __call__(self, *, occurred_at: datetime, created_at: datetime, settle: timedelta) -> datetime: ...


class Reason(Described):
    """Reasons why an activity is excluded, incomplete or dead. A row that dies of age keeps its last one."""

    state: State  # where it leaves the activity
    meaning: str
    action: str  # what the operator can do; "": nothing
    due: Due | None  # when time alone resolves it; None: time does not

    NOT_SENT = "not_sent", _E, "it bounced or failed, or was never sent"
    FILTERED = "filtered", _E, "an `except` of its source's table leaves it out"
    AUTOMATED = "automated", _E, "a machine wrote it, or it is a support case (`rules.automated`)"
    INTERNAL = "internal", _E, "everybody in it is on our side"
    EXCLUDED_DOMAIN = "excluded_domain", _E, "`rules.exclude_domains` names its domain"
    TOO_OLD = "too_old", _E, "it happened before `rules.not_before`"
    DELETED = "deleted", _E, "two look-ups, an hour apart, did not find the record in the CRM"
    FORGOTTEN = "forgotten", _E, "`syncd forget` named its owner, or its only other person"
    DUPLICATE_OF = "duplicate_of", _E, "it is the same call or email as another one (`syncd explain` names it)"

    CRM_ERROR = "crm_error", _I, "the CRM cannot serve the record or its people", "open the record in the CRM"
    NOT_FOUND = "not_found", _I, "one look-up did not find it in the CRM, or found no activity"
    REDACTED = "redacted", _I, "the key may not see its content", "grant the missing scope"
    UNFINISHED = "unfinished", _I, "the call still runs, or the email is not sent yet"
    IN_FUTURE = "in_future", _I, "it has not happened yet", "", timing.happens_at
    NO_CONTACT = "no_contact", _I, "nobody of the other side is associated with it", "associate a contact"
    NO_CONTACT_EMAIL = (
        "no_contact_email",
        _I,
        "no contact has a usable e-mail address",
        "give a contact an address",
    )
    NO_DOMAIN = "no_domain", _I, "neither company nor contact has a usable domain", "give the company a domain"
    NO_OWNER_EMAIL = (
        "no_owner_email",
        _I,
        "no owner with an address",
        "set an owner, or `rules.default_owner_email`",
    )
    SETTLING = "settling", _I, "its outcome or its opens may still change (`settle`)", "", timing.settles_at

    UNREADABLE = "unreadable", _X, "the connector cannot read the record", "correct the record, or report a bug"
    FAILED = "failed", _X, "Recotap failed it again and again", _SEE
    REFUSED = "refused", _X, "Recotap's validation, or a firewall before it, refuses it", _SEE
    TOO_LARGE = "too_large", _X, "it is too large for Recotap", _SEE
    SUSPECT = "suspect", _X, "Recotap fails whenever it is sent, while others get through", "show it to Recotap"

    def __new__(cls, value: str, state: State, meaning: str, action: str = "", due: Due | None = None) -> Self:
        """Make a member of one line of the table."""
        self = str.__new__(cls, value)
        self._value_, self.description = value, f"{meaning}: {action}" if action else meaning
        self.state, self.meaning, self.action, self.due = state, meaning, action, due
        return self
