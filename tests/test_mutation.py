"""The boundary tables are tested themselves: they must notice every wrong of mutants.py."""

import pytest

from mutants import MUTANTS, QUICK
from mutate import FOREVER, Mutant, survivors


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
