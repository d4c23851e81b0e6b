"""Seal payloads and values before they are written, and open them after they are read, if the ledger is encrypted.

A ledger in a file has no cipher: its rows pass as they are.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

SAMENESS = "@sameness"  # under RECOTAP: the secret, in hex, of the keys by which copies are found

Payload = tuple[int, str | None, int]  # the activity's row id, the body, when its record was read


class Cipher(Protocol):
    """Seal and open texts of one ledger, each bound to its place. ConfigError if the master key is not the ledger's."""

    def seal_body(self, activity_id: int, body: str) -> str:
        """Return a payload as the ledger holds it. UnicodeEncodeError if it holds a lone surrogate."""

    def open_body(self, activity_id: int, sealed: str) -> str | None:
        """Return a payload, or None if it cannot be opened: its key is lost, or it was changed."""

    def seal_value(self, source: str, key: str, text: str) -> str:
        """Return a value of the store as the ledger holds it."""

    def open_value(self, source: str, key: str, sealed: str) -> str:
        """Return a value of the store. LedgerError if it cannot be opened."""

    def tidy(self) -> None:
        """Drop the keys of erased payloads, so that their copies can be read no more. Not within a transaction."""


class Sealing:
    """Seal and open texts for the ledger's readers and writers."""

    _cipher: Cipher | None  # None: the texts stand as they are

    def _opened(self, rows: Iterable[Any], *, activity_id: int, body: int) -> Iterable[Any]:
        """Return rows with their payloads opened. The arguments are the places of the columns. A lost one is None."""
        cipher = self._cipher
        return rows if cipher is None else (_open(cipher, row, activity_id, body) for row in rows)

    def _sealed(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Return rows of `payloads` as the ledger holds them."""
        cipher = self._cipher
        if cipher is None:
            return payloads
        return [(row_id, None if body is None else cipher.seal_body(row_id, body), at) for row_id, body, at in payloads]

    def _value(self, source: str, key: str, text: str) -> Any:
        """Return the JSON value that `_text` wrote."""
        return json.loads(text if self._cipher is None else self._cipher.open_value(source, key, text))

    def _text(self, source: str, key: str, value: Any) -> str:
        """Return a JSON value for the store, sealed if `is_secret`."""
        text = json.dumps(value)
        return self._cipher.seal_value(source, key, text) if self._cipher and is_secret(key) else text


def is_secret(key: str) -> bool:
    """Tell whether the store's values of `key` are sealed: those of connectors, which may be tokens, and SAMENESS.

    syncd's own stay readable. They hold settings, times and numbers, and statements compare them.
    """
    return not key.startswith("@") or key == SAMENESS


def _open(cipher: Cipher, row: Sequence[Any], activity_id: int, body: int) -> tuple[Any, ...]:
    sealed = row[body]
    text = None if sealed is None else cipher.open_body(row[activity_id], sealed)
    return (*row[:body], text, *row[body + 1 :])


__all__ = ["SAMENESS", "Cipher", "Payload", "Sealing", "is_secret"]
