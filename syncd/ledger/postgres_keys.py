"""Keep the data keys of a ledger in PostgreSQL, and seal its payloads and values with them.

Payloads are sealed with a key of their day (UTC, by the database's clock), values with one that lasts as long as the
ledger. Each key stands in the database, wrapped under the master key, which does not. The key of a day is dropped from
the second day after it on, if no payload needs it. Up to REWRITTEN payloads that still do are sealed again. A day lies
between, so no transaction that seals with a key is open when the key goes.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from syncd.errors import ConfigError, LedgerError
from syncd.ledger.encryption import Damaged, DataKey, MasterKey, is_sealed, key_of
from syncd.ledger.reads import REWRITTEN
from syncd.ledger.sealed import is_secret

STORE = "store"  # the name of the key for values. Those of payloads have the day for a name, which sorts before it
LOOK_S = 600  # for so long a connection goes on with the key of a day

_KEYS = """
    SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
        to_char(clock_timestamp() AT TIME ZONE 'UTC' - make_interval(days => 1), 'YYYY-MM-DD'), id, name, wrapped
    FROM (SELECT 1) AS always LEFT JOIN data_keys ON true
"""
_NEW = "INSERT INTO data_keys (id, name, wrapped) VALUES (:id, :name, :wrapped) ON CONFLICT (name) DO NOTHING"
_OLD = """
    SELECT activity_id, body FROM payloads WHERE split_part(body, ':', 2) <> ALL (:fresh)
    ORDER BY activity_id LIMIT :limit FOR UPDATE SKIP LOCKED
"""
_SEALED_AGAIN = "UPDATE payloads SET body = :body WHERE activity_id = :id"
_DROP = """
    DELETE FROM data_keys WHERE name < :yesterday
        AND NOT EXISTS (SELECT 1 FROM payloads WHERE split_part(body, ':', 2) = data_keys.id)
"""
_VALUES = "SELECT source, key, value FROM store"
_REWRITE_VALUE = "UPDATE store SET value = ? WHERE source = ? AND key = ? AND value = ?"


class Reference(Protocol):
    """A reference to the master key."""

    def read_line(self) -> str:
        """Return the key in base64. ValueError if it cannot be read."""


class Encrypted(Protocol):
    """The part of a ledger's handle that its cipher uses."""

    @property
    def master_key(self) -> Reference | None:
        """Return the reference to the master key. None: nothing is sealed."""

    def _session(self) -> AbstractContextManager[Any]: ...

    def writing(self, db: Any) -> AbstractContextManager[None]:
        """Run one transaction."""


def read_master_key(reference: Reference) -> MasterKey:
    """Return the master key. ConfigError if it cannot be read, or if it is none."""
    try:
        return MasterKey.parse(reference.read_line())
    except ValueError as error:
        raise ConfigError(message=f"the ledger's master key cannot be used: {error}", hint=MAKE) from None


IF_LOST = "If the key is lost, `syncd ledger rekey --lost` shows the damage"
MAKE = "put the ledger's own key there. For a new ledger, `openssl rand -base64 32` makes one"


@dataclass(slots=True)
class _Keys:
    """The data keys as they stood at one moment."""

    today: str  # by the database's clock
    yesterday: str
    by_name: dict[str, DataKey]

    def old(self) -> list[str]:
        """Return the names of the keys that need not stay."""
        return [name for name in self.by_name if name < self.yesterday]


class PostgresCipher:
    """Seal and open the texts of one connection."""

    def __init__(self, db: Any, ledger: Encrypted) -> None:
        self._db = db
        self._ledger = ledger
        self._by_id: dict[str, DataKey] = {}
        self._keys: _Keys | None = None
        self._looked_at = 0.0

    def seal_body(self, activity_id: int, body: str) -> str:
        """Return a payload sealed with the key of this day."""
        return body if self._ledger.master_key is None else self._of_today().seal(body, _of_body(activity_id))

    def open_body(self, activity_id: int, sealed: str) -> str | None:
        """Return a payload, or None if its key is lost, or if it was changed."""
        return self._open(sealed, _of_body(activity_id))

    def seal_value(self, source: str, key: str, text: str) -> str:
        """Return a value sealed with the key for values."""
        return text if self._ledger.master_key is None else self._key(STORE).seal(text, place_of(source, key))

    def open_value(self, source: str, key: str, sealed: str) -> str:
        """Return a value. LedgerError if its key is lost, or if it was changed."""
        text = self._open(sealed, place_of(source, key))
        if text is None:
            message = f"the ledger's value {key} of {source} cannot be decrypted: its key is lost, or it was changed"
            raise LedgerError(message, hint=f"restore a backup of the ledger. {IF_LOST}")
        return text

    def check(self) -> None:
        """Raise ConfigError unless the master key is the ledger's. The first one becomes it. Not in a transaction."""
        keys = self._look()
        if self._ledger.master_key is not None and STORE not in keys.by_name:
            self._key(STORE)
            self._seal_values()

    def tidy(self) -> None:
        """Drop the keys that no payload needs. Seal the last payloads of old keys again."""
        if self._ledger.master_key is None or self._keys is None or not self._keys.old():
            return
        self._of_today()
        keys = self._look()
        fresh = [key.id for name, key in keys.by_name.items() if name >= keys.yesterday]
        with self._ledger.writing(self._db):
            old = self._db.execute(_OLD, {"fresh": fresh, "limit": REWRITTEN + 1}).fetchall()
            if len(old) <= REWRITTEN:
                texts = ((row_id, self.open_body(row_id, body)) for row_id, body in old)
                rows = [{"id": row_id, "body": self.seal_body(row_id, text)} for row_id, text in texts if text]
                self._db.executemany(_SEALED_AGAIN, rows)
            self._db.execute(_DROP, {"yesterday": keys.yesterday})
        self._keys = None

    def _seal_values(self) -> None:
        """Seal what a ledger without a master key has kept of connectors, and its secret."""
        rows = self._db.execute(_VALUES).fetchall()
        plain = [row for row in rows if is_secret(row[1]) and not is_sealed(row[2])]
        if plain:
            texts = [(self.seal_value(source, key, text), source, key, text) for source, key, text in plain]
            with self._ledger.writing(self._db):
                self._db.executemany(_REWRITE_VALUE, texts)

    def _open(self, sealed: str, place: str) -> str | None:
        if not is_sealed(sealed):
            return sealed
        key = self._by_id.get(key_of(sealed))
        if key is None:
            self._look()
            key = self._by_id.get(key_of(sealed))
        try:
            return None if key is None else key.open(sealed, place)
        except Damaged:
            return None

    def _of_today(self) -> DataKey:
        keys = self._keys
        if keys is None or now_s() - self._looked_at > LOOK_S:
            keys = self._look()
        return self._key(keys.today)

    def _key(self, name: str) -> DataKey:
        """Return the key of that name. It is made at first use."""
        keys = self._keys or self._look()
        if name not in keys.by_name:
            self._make(name)
            keys = self._look()
        return keys.by_name[name]

    def _make(self, name: str) -> None:
        """Make a key on a connection of its own: a transaction that is undone later must not undo the key."""
        master, new = self._master(), DataKey.make()
        with self._ledger._session() as db:
            db.execute(_NEW, {"id": new.id, "name": name, "wrapped": master.wrap(new)})

    def _look(self) -> _Keys:
        """Read the keys again. ConfigError if there are some, and the master key does not unwrap them."""
        rows = self._db.execute(_KEYS).fetchall()
        found = {name: (key_id, wrapped) for _, _, key_id, name, wrapped in rows if key_id is not None}
        by_name = unwrapped(self._master(), found, self._by_id) if found else {}
        self._keys = _Keys(rows[0][0], rows[0][1], by_name)
        self._by_id = {key.id: key for key in by_name.values()}
        self._looked_at = now_s()
        return self._keys

    def _master(self) -> MasterKey:
        reference = self._ledger.master_key
        if reference is None:
            message = f'the ledger at {self._ledger} is encrypted, and [ledger] master_key is "none"'
            raise ConfigError(message=message, hint=f"set [ledger] master_key to the ledger's key. {IF_LOST}")
        return read_master_key(reference)


def unwrapped(master: MasterKey, found: dict[str, tuple[str, str]], known: dict[str, DataKey]) -> dict[str, DataKey]:
    """Return the keys of the table by name. ConfigError if the master key is another one. Pure."""
    try:
        return {name: known.get(key_id) or master.unwrap(key_id, wrapped) for name, (key_id, wrapped) in found.items()}
    except Damaged:
        message = "the ledger was encrypted with another key than [ledger] master_key"
        raise ConfigError(message=message, hint=f"set master_key to the key of this ledger. {IF_LOST}") from None


def now_s() -> float:
    """Return the seconds since the machine was started. They go on while it is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _of_body(activity_id: int) -> str:
    return f"payload\0{activity_id}"


def place_of(source: str, key: str) -> str:
    """Return the place to which a value of the store is bound."""
    return f"store\0{source}\0{key}"


__all__ = ["Encrypted", "PostgresCipher", "Reference", "place_of", "read_master_key"]
