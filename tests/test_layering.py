"""The rooms and who may import whom: the contracts hold, and each of them can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package below ``folder`` and nowhere else."""
    return subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the package and its contracts that a test may spoil."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignore)
    return tmp_path


def test_the_rooms_import_downwards_only():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("domain/units.py", "import tidegate.engine", "Rooms depend downwards only"),
        ("kernels/value.py", "import tidegate.adapters.memory", "Rooms depend downwards only"),
        ("adapters/__init__.py", "import tidegate.drivers", "Rooms depend downwards only"),
        ("drivers/__init__.py", "import tidegate.report", "Rooms depend downwards only"),
        ("pigeonhole.py", '"""A room nobody placed."""', "Rooms depend downwards only"),
        (
            "safeguards/breaker.py",
            "import tidegate.safeguards.planner",
            "Safeguards do not know one another",
        ),
        ("engine/step.py", "import time", "The core does no I/O"),
        ("kernels/depth.py", "import random", "The core does no I/O"),
        ("domain/book.py", "import os", "The core does no I/O"),
    ],
)
def test_a_forbidden_import_is_refused(copy: Path, file: str, line: str, contract: str):
    """A lint that cannot fail guards nothing."""
    with (copy / "src/tidegate" / file).open("a") as spoiled:
        spoiled.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [row for row in done.stdout.splitlines() if row.rstrip().endswith("BROKEN")]
    assert len(broken) == 1
    assert broken[0].startswith(contract)
