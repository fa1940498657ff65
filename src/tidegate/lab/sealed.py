"""Small files that are there whole or not at all: a checksum, then the content."""

import hashlib
import os
from pathlib import Path
from typing import Final


_MARK: Final = 16  # bytes of the checksum


def checksum(content: bytes) -> bytes:
    """Return what stands before a content, and says whether it is the one that was written."""
    return hashlib.blake2b(content, digest_size=_MARK).digest()


def unsealed(file: bytes) -> bytes | None:
    """Return the content of a file that `write_sealed` wrote; None for a damaged one."""
    content = file[_MARK:]
    return content if checksum(content) == file[:_MARK] else None


def write_sealed(file: Path, content: bytes) -> None:
    """Write ``content`` with its checksum: a reader sees all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(checksum(content) + content)
    fresh.replace(file)
