"""What a newcomer waits for: a first run that compiles, help, and a small replay afterwards."""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import RUNS_MIN


NAMES: Final = ("first_run",)
ACCOUNTS: Final = 100
COMMAND: Final = "from tidegate.cli import main; main()"
CACHE: Final = (  # of this benchmark alone: set before the package looks for it
    "import os; os.environ.pop('NUMBA_CACHE_DIR', None); os.environ['XDG_CACHE_HOME'] = {!r}; "
)
COMPILED: Final = re.compile(r"compiled (\d+) kernels? in (\d+) s")


def measure(scale: float = 1.0) -> list[Result]:
    """Time the compiling of a first demo with an empty cache, and what is quick from then on.

    Each in a process of its own. One demo compiles for all: compiling it five times would be the
    longest part of all benchmarks. Its seconds are those that the run itself says it compiled for.
    """
    accounts = max(ACCOUNTS, round(ACCOUNTS * scale))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cache = str(place / "cache")
        demo = ("demo", "--accounts", str(accounts), "--out", str(place / "demo"))
        first, said = _run(cache, *demo)
        compiled = COMPILED.search(said)
        assert compiled, f"nothing was said of compiling:\n{said}"
        again, said = _run(cache, *demo)
        assert not COMPILED.search(said), "a second run compiled again"
        recording = place / "demo" / f"october-{accounts}"
        replay = ("replay", str(recording), "--stack", "bare", "--no-shock")
        also = {
            "kernels": float(compiled[1]),
            "demo_cold_seconds": first,
            "demo_warm_seconds": again,
            "help_ms": 1e3 * _median(cache, "--help"),
            "replay_seconds": _median(cache, *replay),
            "python_alone_ms": 1e3 * _median(cache),
        }
    conditions = (
        f"seconds of compiling in `tidegate demo --accounts {accounts}` with an empty cache, once; "
        f"help and `tidegate replay --stack bare --no-shock` of its recording are medians of "
        f"{RUNS_MIN} warm runs, process start included; work is a first run"
    )
    return [found("first_run", float(compiled[2]), work=1, conditions=conditions, also=also)]


def _run(cache: str, *arguments: str) -> tuple[float, str]:
    """Run one command in a process of its own; return its seconds and what it said."""
    code = CACHE.format(cache) + COMMAND if arguments else "pass"
    begun = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own command
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - begun, done.stderr


def _median(cache: str, *arguments: str) -> float:
    _run(cache, *arguments)
    return statistics.median(_run(cache, *arguments)[0] for _ in range(RUNS_MIN))
