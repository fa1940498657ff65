"""The lines that do a stress again: all of it, or one path of it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Lines:
    """What somebody types: the book with what completes it, and the words that name each stack."""

    book: tuple[str, ...]  # after `tidegate stress`
    more: tuple[str, ...] = ()  # stacks, worlds, paths and seed, as they were said
    stacks: Mapping[str, str] = field(default_factory=dict[str, str])  # name: word

    @property
    def whole(self) -> str:
        """Return the line of the whole stress."""
        return _typed([*self.book, *self.more])

    def one(self, world: str, stack: str, seed: int, path: int) -> str:
        """Return the line that turns one path alone."""
        word = self.stacks.get(stack, stack)
        own = ["--stack", word, "--world", world, "--seed", str(seed), "--path", str(path)]
        return _typed([*self.book, *own])


def _typed(words: Sequence[str]) -> str:
    return shlex.join(["tidegate", "stress", *words])
