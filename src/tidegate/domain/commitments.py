"""Commitments to what is said later: a hash that binds and, with enough salt, hides."""

import hashlib


SALT_BITS_MIN = 128  # a shorter salt can be guessed together with what it hides


def commitment(salt: bytes, payload: bytes) -> bytes:
    """Return SHA-256 of the salt followed by the payload, 32 bytes."""
    return hashlib.sha256(salt + payload).digest()


def bid_payload(auction: int, bidder: int, lots: int, limit: int) -> bytes:
    """Return what a sealed bid commits to: four little-endian int64 words."""
    return b"".join(n.to_bytes(8, "little", signed=True) for n in (auction, bidder, lots, limit))


def seed_of(nonces: bytes, below: int) -> int:
    """Return a number within 0..below-1 that all who revealed decided together; 0 for below < 1.

    Each of them knows only its own part when it commits. Whoever sees the others' parts first may
    still withhold its own, which is what a forfeited bond prices.
    """
    drawn = int.from_bytes(hashlib.sha256(nonces).digest()[:8], "little")
    return drawn % below if below >= 1 else 0


def nonce_of(salt: bytes) -> int:
    """Return what a salt adds to the seed: 62 bits of its hash."""
    return int.from_bytes(hashlib.sha256(salt).digest()[:8], "little") >> 2
