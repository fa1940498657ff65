"""Commitments to what is said later: a hash that binds and, with enough salt, hides."""

import hashlib


SALT_BITS_MIN = 128  # a shorter salt can be guessed together with what it hides


def commitment(salt: bytes, payload: bytes) -> bytes:
    """Return SHA-256 of the salt followed by the payload, 32 bytes."""
    return hashlib.sha256(salt + payload).digest()
