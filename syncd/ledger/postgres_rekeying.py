"""Change the master key of a ledger in PostgreSQL, or give up a lost one. Meanwhile no syncd may hold the ledger."""

from typing import Any

from syncd.errors import ConfigError
from syncd.ledger.encryption import Damaged, DataKey, MasterKey, is_sealed, key_of
from syncd.ledger.lost import Lost
from syncd.ledger.postgres_keys import Encrypted, Reference, place_of, read_master_key
from syncd.ledger.reader import RECOTAP
from syncd.ledger.sealed import SAMENESS, is_secret

_KEYS = "SELECT id, wrapped FROM data_keys ORDER BY id"
_REWRAPPED = "UPDATE data_keys SET wrapped = ? WHERE id = ?"
_VALUES = "SELECT source, key, value FROM store ORDER BY source, key"
_LOST_PAYLOADS = "SELECT count(*) FROM payloads WHERE body LIKE 'gcm:%' AND split_part(body, ':', 2) <> ALL (:known)"


class Rekeying:
    """Change the keys of one ledger. Each change is one transaction."""

    def __init__(self, db: Any, ledger: Encrypted) -> None:
        self._db = db
        self._ledger = ledger
        if ledger.master_key is None:
            message = f'[ledger] master_key is "none": the ledger at {ledger} has no key to change'
            raise ConfigError(message=message, hint="name the new key with [ledger] master_key, then run this again")
        self._master = read_master_key(ledger.master_key)

    def rewrap(self, old: Reference) -> int:
        """Wrap the keys that the master key `old` wrapped under the configured one, and return their number.

        ConfigError if neither of the two opens one of them. Then nothing is changed.
        """
        before = read_master_key(old)
        with self._ledger.writing(self._db):
            rows = self._db.execute(_KEYS).fetchall()
            wrapped = [row for row in rows if _opened(self._master, *row) is None]
            keys = [_opened(before, *row) for row in wrapped]
            known = [key for key in keys if key is not None]
            if len(known) < len(keys):
                message = f"neither key opens {len(keys) - len(known)} of the {len(rows)} keys in the ledger"
                raise ConfigError(message=message, hint="name the key with which the ledger was encrypted")
            self._db.executemany(_REWRAPPED, [(self._master.wrap(key), key.id) for key in known])
        return len(known)

    def lost(self) -> Lost:
        """Return the parts that the configured key does not open. Changes nothing."""
        found = {row[0]: _opened(self._master, *row) for row in self._db.execute(_KEYS).fetchall()}
        known = {key_id: key for key_id, key in found.items() if key is not None}
        values = tuple(row[:2] for row in self._db.execute(_VALUES).fetchall() if _is_lost(known, *row))
        forgotten = self._one("SELECT count(*) FROM forgotten") if (RECOTAP, SAMENESS) in values else 0
        payloads = int(self._db.execute(_LOST_PAYLOADS, {"known": [*known]}).fetchone()[0])
        return Lost(tuple(sorted(found.keys() - known)), payloads, values, forgotten)

    def give_up(self) -> Lost:
        """Remove the lost parts, and return them. Lost payloads stay, and the next pass looks up their records."""
        with self._ledger.writing(self._db):
            lost = self.lost()
            self._db.executemany("DELETE FROM data_keys WHERE id = ?", [(key,) for key in lost.keys])
            self._db.executemany("DELETE FROM store WHERE source = ? AND key = ?", lost.values)
            if (RECOTAP, SAMENESS) in lost.values:  # hashes without their secret recognize nobody
                self._db.execute("DELETE FROM forgotten")
                self._db.execute("DELETE FROM keys")
        return lost

    def _one(self, sql: str) -> int:
        return int(self._db.execute(sql).fetchone()[0])


def _opened(master: MasterKey, key_id: str, wrapped: str) -> DataKey | None:
    try:
        return master.unwrap(key_id, wrapped)
    except Damaged:
        return None


def _is_lost(known: dict[str, DataKey], source: str, key: str, text: str) -> bool:
    if not is_secret(key) or not is_sealed(text):
        return False
    try:
        known[key_of(text)].open(text, place_of(source, key))
    except (KeyError, Damaged):
        return True
    return False


__all__ = ["Rekeying"]
