"""The boundary tests are tested themselves: they must notice every wrong of mutants.py."""

import pytest

from mutants import MUTANTS, QUICK
from mutate import FOREVER, HERE, LEFT_OUT, Mutant, survivors


SPREAD = 37  # neighbours in the list sit in one file; this strides over files


def test_every_mutant_applies():
    """A line that was rewritten takes its mutants along; each gives code, and no two the same."""
    moved = []
    for mutant in MUTANTS:
        try:
            compile(mutant.text(), mutant.file, "exec")
        except (AssertionError, SyntaxError) as problem:
            moved.append(f"{mutant}: {problem}")
    assert not moved, "bring tests/mutants.py up to date:\n" + "\n".join(moved)
    assert len(set(MUTANTS)) == len(MUTANTS) >= 200


def test_what_is_named_exists():
    """A test that was renamed is no longer left out, and one that is gone notices nothing."""
    names = {name for mutant in MUTANTS for name in mutant.tests}
    assert not [name for name in names if not (HERE / name).exists()]
    files = [p.read_text(encoding="utf-8").splitlines() for p in HERE.glob("test_*.py")]
    tests = [line for lines in files for line in lines if line.startswith("def test_")]
    assert not [word for word in LEFT_OUT if not any(word in test for test in tests)]


def test_a_sample_of_mutants_is_noticed():
    assert survivors(QUICK) == []


def test_what_is_no_mutation_survives():
    """So that a test that fails by itself cannot pass for one that notices."""
    harmless = Mutant(
        "kernels/allocate.py",
        "    out[:] = 0\n    left = total\n    live",
        "    left = total\n    out[:] = 0\n    live",
    )
    assert survivors([harmless]) == [harmless]


@pytest.mark.soak
def test_every_mutant_is_noticed(request: pytest.FixtureRequest):
    """All of them in `make soak`; as many as the soak budget allows elsewhere, evenly spread."""
    budget = request.config.getoption("--soak-budget")
    spread = [m for first in range(SPREAD) for m in MUTANTS[first::SPREAD]]
    assert survivors(spread, FOREVER if budget is None else budget) == []
