"""Mutations: small wrongs that the boundary tests must notice, each on a copy of the package.

`python tests/mutate.py [WORD ...]` tries all of them (or those whose file or text contains a word)
and prints the survivors. Nothing is compiled, and one process that has imported everything heavy is
forked for each mutant, so that a mutant costs a few seconds. The tree itself is never written.

A mutant names the test files that must notice it. They have to be quick uncompiled (below ten
seconds), and properties in them see the same few examples each time.
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
# Not run uncompiled, by words in their names:
LEFT_OUT = (
    "edge_of_the_range",  # equalities that rely on products that wrap, as compiled ones do
    "brings_the_bands_there",  # a 128-bit root that wraps alike only when compiled
    "served_first",  # a compiled comparison is a bool, an interpreted one numpy's
    "no_order_makes_its_account_worse",  # whole histories: half a minute
    "a_cadence_only_puts_off",
    "nobody_waits_for_longer",
    "every_history_is_decided_the_same",
    "one_that_packs_all_the_time",
    "is_left_to_the_sweep",
    "most_accounts_stay_in_their_cells",
    # Whole replays and runs of the command: ten seconds each.
    "the_command_says_who",
    "the_shipped_stack_spares",
    "in_a_fast_crash_soft",
    "without_takers_bands_only_wait",
    "each_changes_what_happens_in_a_replay",
    "a_replay_of_bands",
    "in_a_replay_of_a_shadow",
    "the_same_seed_makes_the_same_loans",
    "every_path_is_a_recording",
    "the_command_makes_loans",
)
FOREVER = float("inf")
PROFILE, EXAMPLES = "mutations", 20
SECONDS_MAX = 20  # of processor time: a mutant that never ends is noticed as well


class Mutant(NamedTuple):
    """One wrong: in ``file``, ``right`` (once there) becomes ``wrong``; ``tests`` must notice."""

    file: str
    right: str
    wrong: str
    tests: tuple[str, ...] = TABLES

    def __str__(self) -> str:
        return f"{self.file}: {self.right!r} -> {self.wrong!r}"

    def text(self) -> str:
        """Return the mutated file; fail where the source has moved on."""
        source = (PACKAGE / self.file).read_text(encoding="utf-8")
        found = source.count(self.right)
        assert found == 1, f"{found} places in {self}: bring mutants.py up to date"
        return source.replace(self.right, self.wrong)


def survivors(mutants: Sequence[Mutant], seconds: float = FOREVER) -> list[Mutant]:
    """Return the mutants that their tests do not notice; fail when those fail without any.

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
            (jobs / f"{n}.tests").write_text("\n".join(mutant.tests), encoding="utf-8")
        # Asserts stay on, nothing is compiled, and no byte code of one mutant reaches the next.
        own = {"NUMBA_DISABLE_JIT": "1", "NUMBA_CACHE_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        own["HYPOTHESIS_PROFILE"] = PROFILE
        command = [sys.executable, __file__, "--jobs", folder, str(seconds)]
        done = subprocess.run(
            command, env=os.environ | own, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = [int(line) for line in done.stdout.split()]
    return [mutants[n] for n in kept]


def work(folder: Path, seconds: float) -> int:
    """Try the jobs of ``folder`` in time, print the survivors; return 1 when tests fail anyway."""
    begun = time.monotonic()
    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(folder))
    # Everything heavy but the package itself, once for all children.
    for name in ("hypothesis", "msgspec", "numba", "numpy", "pytest"):
        __import__(name)
    jobs = sorted((folder / "jobs").glob("*.py"), key=lambda path: int(path.stem))
    sound: set[str] = set()  # test files that pass without any mutant
    for job in jobs:
        if time.monotonic() - begun > seconds:
            break
        tests = job.with_suffix(".tests").read_text(encoding="utf-8").split()
        new = [name for name in tests if name not in sound]
        if new and attempt(folder, new):
            sys.stderr.write((folder / "log").read_text(encoding="utf-8"))
            return 1
        sound |= set(new)
        file = folder / "tidegate" / job.with_suffix(".file").read_text(encoding="utf-8")
        right = file.read_text(encoding="utf-8")
        shutil.copyfile(job, file)
        if not attempt(folder, tests):
            sys.stdout.write(f"{job.stem}\n")
        file.write_text(right, encoding="utf-8")
    return 0


def attempt(folder: Path, tests: Sequence[str]) -> int:
    """Run tests in a child of their own; return 0 when they pass, and whatever when not."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 99
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX, SECONDS_MAX))
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = int(outcome(tests))
    finally:
        os._exit(status)


def outcome(tests: Sequence[str]) -> int:
    """Run test files in this process, up to the first failure."""
    import numpy as np  # noqa: PLC0415 - only the children need it
    import pytest  # noqa: PLC0415 - ditto
    from hypothesis import Phase, settings  # noqa: PLC0415 - ditto

    # The same few examples for everybody: what survives today was not noticed by luck yesterday.
    # A failure is all that is asked for: it is not made smaller.
    plain = {"deadline": None, "derandomize": True, "max_examples": EXAMPLES}
    settings.register_profile(PROFILE, phases=(Phase.explicit, Phase.generate), **plain)

    from tidegate.domain import units  # noqa: PLC0415 - the mutated package, new in each child

    # A quotient that is guessed is set right by products that wrap: uncompiled, take the long way.
    units.GUESSED = 0.0

    # Uncompiled, int64 warns where it wraps; the hash of a key wraps on purpose.
    np.seterr(over="ignore")
    os.chdir(HERE.parent)
    quiet = ("-x", "-q", "--tb=short", "--assert=plain", "-p", "no:cacheprovider")
    files = [str(HERE / name) for name in tests]
    quiet += ("-W", "ignore::RuntimeWarning", "-k", f"not ({' or '.join(LEFT_OUT)})")
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
