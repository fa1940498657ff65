"""A study: what many paths of one world came to, for each stack on the same weather."""

from functools import cached_property
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.outcome import Outcome


F64: TypeAlias = NDArray[np.float64]


class Study(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Outcomes by stack, all of the same paths in the same order: differences are paired.

    ``weights`` are likelihood ratios (true law over the law that was drawn from), one a path, for
    paths drawn by importance sampling; empty where paths were drawn from the world itself.
    """

    opening_digest: str
    world: str  # the word that makes it again, not the sentence
    stacks: tuple[str, ...]
    root: int
    outcomes: dict[str, list[Outcome]]
    weights: list[float] = []

    def __post_init__(self) -> None:
        """Refuse stacks that did not meet the same paths, and weights that weigh nothing."""
        met = {name: tuple(o.path for o in found) for name, found in self.outcomes.items()}
        first = met.get(self.stacks[0], ()) if self.stacks else ()
        odd = [stack for stack in self.stacks if met.get(stack) != first]
        if not first or odd or set(met) != set(self.stacks):
            raise ConfigInvalid(
                where="study",
                what="every stack must have met the same paths, at least one",
                found=f"{', '.join(odd) or 'no path'} (stacks: {', '.join(self.stacks) or 'none'})",
            )
        fit = len(self.weights) in {0, len(first)}
        if not fit or any(not 0.0 <= w < float("inf") for w in self.weights):
            raise ConfigInvalid(
                where="study.weights",
                what="must be one finite number >= 0 a path",
                found=f"{len(self.weights)} for {len(first)} paths",
            )

    @cached_property
    def paths(self) -> tuple[int, ...]:
        """Return the numbers of the paths, in the order of every column."""
        return tuple(o.path for o in self.outcomes[self.stacks[0]])

    @cached_property
    def weight(self) -> F64:
        """Return the likelihood ratio of each path, all one without importance sampling."""
        return np.array(self.weights or np.ones(len(self.paths)), np.float64)

    def column(self, stack: str, name: str) -> F64:
        """Return one number of every path: a field or a property of `Outcome`, Money as it is."""
        return np.array([getattr(o, name) for o in self.outcomes[stack]], np.float64)

    def losses(self, stack: str) -> F64:
        """Return the loss of every path in Money: bad debt, and what was below zero at the end."""
        return self.column(stack, "loss")

    def repeat(self, path: int) -> str:
        """Return the words that name one path for good: the line a reader can repeat."""
        return f"--world {self.world} --seed {self.root} --path {path}"
