"""Read a key of 32 bytes that stands in base64, as `openssl rand -base64 32` prints it. Pure."""

import base64

KEY_BYTES = 32  # AES-256
LENGTH = f"expected {KEY_BYTES} bytes in base64, as `openssl rand -base64 {KEY_BYTES}` prints"


def key_bytes(text: str) -> bytes:
    """Return the key. ValueError for anything else, without the text."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(LENGTH) from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"{LENGTH}. It holds {len(key)}")
    return key


__all__ = ["KEY_BYTES", "LENGTH", "key_bytes"]
