"""Mutations: small wrongs that the boundary tables must notice, each on a copy of the package.

`python tests/mutate.py [WORD ...]` tries all of them (or those whose file or text contains a word)
and prints the survivors. Nothing is compiled, and one process that has imported everything heavy is
forked for each mutant, so that a mutant costs a few seconds. The tree itself is never written.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src/tidegate"
TABLES = ("test_boundaries.py", "test_engine_boundaries.py", "test_limits.py")
FOREVER = float("inf")
SECONDS_MAX = 20  # of processor time: a mutant that never ends is noticed as well


class Mutant(NamedTuple):
    """One wrong: in ``file``, ``right`` (which occurs once) becomes ``wrong``."""

    file: str
    right: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.file}: {self.right!r} -> {self.wrong!r}"

    def text(self) -> str:
        """Return the mutated file; fail where the source has moved on."""
        source = (PACKAGE / self.file).read_text(encoding="utf-8")
        found = source.count(self.right)
        assert found == 1, f"{found} places in {self}: bring mutants.py up to date"
        return source.replace(self.right, self.wrong)


def survivors(mutants: Sequence[Mutant], seconds: float = FOREVER) -> list[Mutant]:
    """Return the mutants that no table notices, and fail when a table fails without any.

    Begin no further mutant once ``seconds`` have passed.
    """
    texts = [mutant.text() for mutant in mutants]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tidegate"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        jobs = Path(folder) / "jobs"
        jobs.mkdir()
        for n, (mutant, text) in enumerate(zip(mutants, texts, strict=True)):
            (jobs / f"{n}.py").write_text(text, encoding="utf-8")
            (jobs / f"{n}.file").write_text(mutant.file, encoding="utf-8")
        # Asserts stay on, nothing is compiled, and no byte code of one mutant reaches the next.
        own = {"NUMBA_DISABLE_JIT": "1", "NUMBA_CACHE_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, __file__, "--jobs", folder, str(seconds)]
        done = subprocess.run(
            command, env=os.environ | own, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = [int(line) for line in done.stdout.split()]
    return [mutants[n] for n in kept]


def work(folder: Path, seconds: float) -> int:
    """Try the jobs of ``folder`` in time, print the survivors; return 1 when the tables fail."""
    begun = time.monotonic()
    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(folder))
    # Everything heavy but the package itself, once for all children.
    for name in ("hypothesis", "msgspec", "numba", "numpy", "pytest"):
        __import__(name)
    outcome = attempt(folder)
    if outcome:
        sys.stderr.write((folder / "log").read_text(encoding="utf-8"))
        return 1
    jobs = sorted((folder / "jobs").glob("*.py"), key=lambda path: int(path.stem))
    for job in jobs:
        if time.monotonic() - begun > seconds:
            break
        file = folder / "tidegate" / job.with_suffix(".file").read_text(encoding="utf-8")
        right = file.read_text(encoding="utf-8")
        shutil.copyfile(job, file)
        if not attempt(folder):
            sys.stdout.write(f"{job.stem}\n")
        file.write_text(right, encoding="utf-8")
    return 0


def attempt(folder: Path) -> int:
    """Run the tables in a child of their own; return 0 when they pass, and whatever when not."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 99
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX, SECONDS_MAX))
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = int(tables())
    finally:
        os._exit(status)


def tables() -> int:
    """Run the boundary tables in this process, up to the first failure."""
    import numpy as np  # noqa: PLC0415 - only the children need it
    import pytest  # noqa: PLC0415 - ditto

    # Uncompiled, int64 warns where it wraps; the hash of a key wraps on purpose.
    np.seterr(over="ignore")
    os.chdir(HERE.parent)
    quiet = ("-x", "-q", "--tb=short", "--assert=plain", "-p", "no:cacheprovider")
    files = [str(HERE / name) for name in TABLES]
    # At the edge of int64 some tests of equality rely on products that wrap, as compiled ones do.
    quiet += ("-W", "ignore::RuntimeWarning", "-k", "not at_the_edge")
    return pytest.main([*quiet, *files])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--jobs"]:
        raise SystemExit(work(Path(sys.argv[2]), float(sys.argv[3])))
    from mutants import MUTANTS

    words = sys.argv[1:]
    chosen = [m for m in MUTANTS if not words or any(w in str(m) for w in words)]
    alive = survivors(chosen)
    sys.stdout.write("".join(f"survived: {mutant}\n" for mutant in alive))
    sys.stdout.write(f"{len(chosen) - len(alive)} of {len(chosen)} mutants were noticed\n")
    raise SystemExit(bool(alive))
