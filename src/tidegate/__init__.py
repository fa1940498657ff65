"""Tidegate: the open engine that keeps one trader's liquidation from becoming everyone's."""

import hashlib
import os
from pathlib import Path


__version__ = "0.1.0"


def _compiled_code_folder() -> Path:
    """Return a cache folder named after all kernel sources: an edited helper is never missed."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=8)
    for source in [
        *sorted((here / "domain").glob("*.py")),
        *sorted((here / "kernels").glob("*.py")),
        *sorted((here / "lab/kernels").glob("*.py")),
    ]:
        digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tidegate" / "compiled" / digest.hexdigest()


# Numba reads this once, when it is first imported; a folder set by the operator wins.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled_code_folder()))
