"""Encrypt texts of the ledger with AES-256-GCM. Pure, except for random nonces and keys.

    master key (outside the database) ─wraps─► data keys (in the database) ─seal─► texts

A sealed text is `gcm:<id of its data key>:<base64 of nonce, ciphertext and tag>`. No JSON text begins like that. Each
text is bound to its place, so that none can be opened in another one's place.
"""

import base64
import os
import secrets
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncd.types.master_key import KEY_BYTES, key_bytes

NONCE_BYTES = 12  # 96 random bits: 2**32 texts of one key at most (NIST SP 800-38D, 8.3), and a data key serves a day
ID_BYTES = 9  # 12 characters of base64 without padding. Random: one that a failover lost does not come again
PREFIX = "gcm:"


class Damaged(Exception):
    """A text was sealed with another key or for another place, or it was changed."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key that seals texts, with the id that each of them names."""

    id: str
    secret: bytes = field(repr=False)
    _aead: AESGCM = field(repr=False, compare=False)

    @classmethod
    def of(cls, key_id: str, secret: bytes) -> Self:
        """Return the key of 32 bytes with that id."""
        return cls(key_id, secret, AESGCM(secret))

    @classmethod
    def make(cls) -> Self:
        """Return a random key with a random id."""
        return cls.of(base64.urlsafe_b64encode(os.urandom(ID_BYTES)).decode(), secrets.token_bytes(KEY_BYTES))

    def seal(self, text: str, place: str) -> str:
        """Return `text` sealed for `place`. UnicodeEncodeError if it holds a lone surrogate."""
        return f"{PREFIX}{self.id}:{_encrypted(self._aead, text.encode(), place.encode())}"

    def open(self, sealed: str, place: str) -> str:
        """Return the text that `seal` returned for the same place. Damaged otherwise."""
        return _decrypted(self._aead, sealed.rpartition(":")[2], place.encode()).decode()


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key that wraps the data keys."""

    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key of 32 bytes that stands in base64. ValueError for anything else, without the text."""
        return cls(key_bytes(text))

    def wrap(self, key: DataKey) -> str:
        """Return a data key for the database."""
        return _encrypted(AESGCM(self.secret), key.secret, _named(key.id))

    def unwrap(self, key_id: str, wrapped: str) -> DataKey:
        """Return the data key that `wrap` returned. Damaged if another master key wrapped it."""
        return DataKey.of(key_id, _decrypted(AESGCM(self.secret), wrapped, _named(key_id)))


def is_sealed(text: str) -> bool:
    """Tell whether a text of the ledger is sealed."""
    return text.startswith(PREFIX)


def key_of(sealed: str) -> str:
    """Return the id of the data key that a sealed text names."""
    return sealed.split(":", 2)[1]


def _named(key_id: str) -> bytes:
    return f"key\0{key_id}".encode()


def _encrypted(aead: AESGCM, plain: bytes, place: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + aead.encrypt(nonce, plain, place)).decode()


def _decrypted(aead: AESGCM, text: str, place: bytes) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
        return aead.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place)
    except (ValueError, InvalidTag):  # a ValueError: no base64, or too short
        raise Damaged from None


__all__ = ["PREFIX", "Damaged", "DataKey", "MasterKey", "is_sealed", "key_of"]
