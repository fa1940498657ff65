"""Tidegate: the open engine that keeps one trader's liquidation from becoming everyone's."""

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any


__version__ = "0.1.0"


def _compiled_code_folder() -> Path:
    """Return a cache folder named after all kernel sources: an edited helper is never missed."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=8)
    for room in ("domain", "kernels", "lab/kernels"):
        for source in sorted((here / room).glob("*.py")):
            digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tidegate" / "compiled" / digest.hexdigest()


# Numba reads this once, when it is first imported; a folder set by the operator wins.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled_code_folder()))


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what the package's face offers
    """Return what needs numba, pandas and matplotlib when it is asked for, and not before.

    The face reaches every room; a room that reads our version must not reach them through it.
    """
    if name == "stress":
        return import_module("tidegate.report.stress_face").stress
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
