"""Runs many paths of one world under several stacks through the true engine: a study of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidegate.lab.agents.crowd import crowd_of
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.study import Study
from tidegate.lab.turn import turn
from tidegate.lab.weather import World, checked
from tidegate.safeguards.stack import SafeguardStack


Progress = Callable[[int, int], None]  # told how many of how many are done


@dataclass(frozen=True, slots=True)
class Piece:
    """One path, for whoever computes it: everything that its outcomes depend on."""

    opening: Opening
    stacks: tuple[SafeguardStack, ...]
    world: World
    root: int
    path: int
    agents: tuple[str, ...] = ()  # who acts in it, see `agents.crowd`


def outcomes_of(piece: Piece) -> list[Outcome]:
    """Return what one path comes to under each stack, on the same weather."""
    weather = piece.world.weather(piece.root, [piece.path], piece.opening.symbols)
    weather = checked(weather, f"world.{piece.world.name}")
    return [
        turn(
            piece.opening,
            stack,
            weather,
            root=piece.root,
            path=piece.path,
            crowd=crowd_of(piece.agents, piece.opening.symbols),
        )
        for stack in piece.stacks
    ]


def sample(
    opening: Opening,
    world: World,
    stacks: Sequence[SafeguardStack],
    *,
    root: int,
    paths: Sequence[int],
    weights: Sequence[float] = (),
    on_done: Progress | None = None,
) -> Study:
    """Return the study of these paths; ``weights`` where the world was drawn from another law."""
    found: list[list[Outcome]] = []
    for k, path in enumerate(paths):
        found.append(outcomes_of(Piece(opening, tuple(stacks), world, root, path)))
        if on_done is not None:
            on_done(k + 1, len(paths))
    names = tuple(stack.name for stack in stacks)
    return Study(
        opening_digest=opening.digest,
        world=world.name,
        stacks=names,
        root=root,
        outcomes={name: [each[k] for each in found] for k, name in enumerate(names)},
        weights=list(weights),
    )
