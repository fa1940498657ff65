"""The lines that do a stress again: all of it, or one path of it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast


# What every line repeats, the one of a single path included, and what only the whole one does.
BOOK_OPTIONS: Final = (
    *("venue", "prices", "parameters", "balance_with", "leave_out", "where"),
    "agents",
)
PLAN_OPTIONS: Final = ("stacks", "worlds", "paths", "seed", "path")

_SPELT: Final = {"stacks": "stack", "worlds": "world"}


@dataclass(frozen=True, slots=True)
class Lines:
    """What somebody types: the book with what completes it, and the words that name each stack.

    What was given from Python as an object has no word. Where a line would need one, it is a
    comment that says so: a line that does something else would be worse than none.
    """

    book: tuple[str, ...]  # after `tidegate stress`
    more: tuple[str, ...] = ()  # stacks, worlds, paths and seed, as they were said
    stacks: Mapping[str, str] = field(default_factory=dict[str, str])  # name: word
    unsaid: tuple[str, ...] = ()  # of the book and what completes it
    unsaid_more: Mapping[tuple[str, str], str] = field(  # by option and name
        default_factory=dict[tuple[str, str], str]
    )

    @property
    def whole(self) -> str:
        """Return the line of the whole stress."""
        unsaid = (*self.unsaid, *self.unsaid_more.values())
        if unsaid:
            return f"{_only_python(unsaid)}; call tidegate.stress as before"
        return _typed([*self.book, *self.more])

    def one(self, world: str, stack: str, seed: int, path: int) -> str:
        """Return the line that turns one path alone."""
        asked = (("worlds", world), ("stacks", stack))
        unsaid = (*self.unsaid, *(self.unsaid_more[a] for a in asked if a in self.unsaid_more))
        if unsaid:
            return (
                f"{_only_python(unsaid)}; call tidegate.stress as before, with paths=[{path}] and "
                f"seed={seed}, and look at {stack} in {world}"
            )
        word = self.stacks.get(stack, stack)
        own = ["--stack", word, "--world", world, "--seed", str(seed), "--path", str(path)]
        return _typed([*self.book, *own])


def options(said: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the options ``names`` as somebody types them, and which values have no words."""
    words, unsaid = list[str](), list[str]()
    for name in names:
        value = said[name]
        each: tuple[object, ...] = cast("Any", value) if isinstance(value, tuple) else (value,)
        for one in each:
            if isinstance(one, str | Path | int):
                words += ["--" + _SPELT.get(name, name).replace("_", "-"), str(one)]
            elif one is not None:
                unsaid.append(named(name, one))
    return tuple(words), unsaid


def named(what: str, thing: object) -> str:
    """Return how an object that has no word is called."""
    return f"{what} (a {type(thing).__name__})"


def _only_python(unsaid: Sequence[str]) -> str:
    return f"# no line of a shell does this again, Python gave objects: {', '.join(unsaid)}"


def _typed(words: Sequence[str]) -> str:
    return shlex.join(["tidegate", "stress", *words])
