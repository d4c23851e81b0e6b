"""Distinguish an email that HubSpot redacts from one without a subject.

Without the scope sales-email-read HubSpot answers 200 and hides subject and headers (changelog, 2019). One email that
lacks both proves nothing. So its neighbours decide or, if they lack them as well, the latest emails of the portal.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from connectors.hubspot.client import EMAIL_READ, SAMPLE, Client
from connectors.hubspot.people import names_somebody
from syncd.connector import Ref, Store
from syncd.errors import SyncdError, Unauthorized, Unavailable
from syncd.fields import dig, parse_text

BELIEVED_S = 60.0  # how long a sample is believed within a pass: a scope may be granted or lost meanwhile
KEY = "redacted"  # in the store: whether the last pass found emails redacted
CONTENT = ("hs_email_subject", "hs_email_headers")
GRANT = (
    f"add the scope {EMAIL_READ} to the service key or private app in HubSpot: "
    "emails are held until then, and sent whole afterwards without a retry"
)

Row = Mapping[str, Any]


class Redaction:
    """Decide which emails are redacted. One object serves one pass. The store holds the last pass's finding."""

    def __init__(self, client: Client, store: Store, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._store = store
        self._monotonic = monotonic
        self._asked_at: float | None = None  # for the sample that `_error` speaks of; None: not in this pass
        self._error: SyncdError | None = None

    def of(self, rows: Sequence[tuple[Ref, Row]]) -> tuple[Collection[str], SyncdError | None]:
        """Return the redacted ids of `rows`, and the error if content is hidden at their end.

        Emails without content between two that have it are sent as they are. Those at either end may have
        been read before a scope was granted, or after it was lost. Without rows only what is known counts,
        so that an idle pass asks for nothing unless the last one found emails redacted.
        """
        before = self._store.get(KEY) is True
        shown = [number for number, (_, row) in enumerate(rows) if is_readable(row)]
        first, last = (shown[0], shown[-1]) if shown else (0, -1)
        head, tail = rows[:first], rows[last + 1 :]
        error = self._ask(len(tail)) if tail or (before and not rows) else None
        held = [*(head if before else ()), *(tail if before or error else ())]
        if (error is not None) != before and (rows or before):
            self._store.put(KEY, error is not None)
        return {ref.crm_id for ref, _ in held}, error

    def _ask(self, doubtful: int) -> SyncdError | None:
        """Return the error if the latest emails show no content. None if one of them does.

        One request a pass, unless the pass lasts. A good sample says little once as many emails as it held
        show no content: it is then taken again.
        """
        at, now = self._asked_at, self._monotonic()
        if at is None or now - at > BELIEVED_S or (self._error is None and doubtful >= SAMPLE):
            self._asked_at, self._error = now, self._sample()
        return self._error

    def _sample(self) -> SyncdError | None:
        try:
            rows = self._client.latest_emails()
        except Unauthorized as error:
            return error
        except Unavailable as error:
            if error.pause_until is not None:
                raise  # HubSpot asked for a pause
            return error  # unknown: emails without content are held, because sending cannot be undone
        return None if any(map(is_readable, rows)) else redacted()


def is_readable(row: Any) -> bool:
    """Tell whether an email shows a subject, or headers that name a person or cannot be parsed."""
    subject, headers = CONTENT
    if parse_text(dig(row, "properties", subject)):
        return True
    written = parse_text(dig(row, "properties", headers))
    return bool(written and names_somebody(written))


def redacted() -> Unauthorized:
    """Return the error of a portal that hides the content of its emails."""
    message = f"HubSpot hides subject and headers of emails: the token lacks the scope {EMAIL_READ}"
    return Unauthorized(f"{message} (none of the latest {SAMPLE} shows any)", hint=GRANT)


__all__ = ["GRANT", "Redaction", "is_readable", "redacted"]
