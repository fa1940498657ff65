"""Ed25519 signatures over canonical bodies: made offline, verified before they enter and again."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidegate.domain.errors import ConfigInvalid


_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def canonical(body: msgspec.Struct) -> bytes:
    """Return the one way in which ``body`` is written: UTF-8 JSON, keys sorted, no spaces."""
    return _ENCODER.encode(body)


def digest_of(body: bytes) -> str:
    """Return the name of exactly these bytes: 64 hex digits, which nobody can find again."""
    return hashlib.blake2b(body, digest_size=32).hexdigest()


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the public half as 64 hex digits, the way a file of governors lists it."""
    return key.public_key().public_bytes_raw().hex()


def is_key(text: str) -> bool:
    """Return whether ``text`` is a public key in hex."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        return False
    return text == text.lower() and len(text) == 64


def verified(key: str, body: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` over ``body`` was made with the private half of ``key``."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True


def save_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a private key that its owner alone can read; never over another file."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        # The mode is given at creation: there is no moment at which others could read it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigInvalid(
            where=str(path),
            what="must be a new file",
            found="one that is there",
            hint="a key is never written over; choose another name",
        ) from error
    except OSError as error:
        raise ConfigInvalid(
            where=str(path), what="must be ours to write", found=str(error)
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key; raise ConfigInvalid where others may read it, or it is none."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(
            where=str(path), what="must be a private key", found=str(error)
        ) from error
    if mode & 0o077:
        raise ConfigInvalid(
            where=str(path),
            what="must be readable by its owner alone",
            found=f"mode {mode:04o}",
            hint=f"chmod 600 {path}",
        )
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigInvalid(
            where=str(path), what="must be a private key", found="something else"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigInvalid(
            where=str(path), what="must be an Ed25519 key", found="a key of another kind"
        )
    return key
