"""Which code a worker runs: two machines may share work only if this agrees."""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import tidegate


@cache
def code_digest() -> str:
    """Return the digest of our sources and of what numbers depend on beneath them."""
    here = Path(tidegate.__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"python {platform.python_version()}\n".encode())
    for package in ("numpy", "numba", "scipy"):
        digest.update(f"{package} {version(package)}\n".encode())
    for source in sorted(here.rglob("*.py")):
        content = source.read_bytes()
        digest.update(f"{source.relative_to(here).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
