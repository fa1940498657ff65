"""The breaking point: the smallest shock that takes the whole fund, and the worst direction."""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.shock import Shock
from tidegate.lab.turn import turn
from tidegate.lab.weather import F64
from tidegate.safeguards.stack import SafeguardStack


SHAPE: Final = Shock(moves=(("", 0.0),))  # six steps of ten seconds down, six more there
COARSE: Final = 8  # sizes looked at before the search narrows: where it would not be monotone

Moves = tuple[float, ...]  # [instruments] relative
Tried = dict[Moves, Outcome]
Broken = Callable[[Outcome], bool]
Probed = Callable[["Probe"], None]


class Probe(NamedTuple):
    """One shock that was tried."""

    size: float
    moves: tuple[float, ...]  # [instruments] relative
    outcome: Outcome
    broken: bool


def exhausted(outcome: Outcome) -> bool:
    """Return whether more was lost than the whole fund holds."""
    return outcome.insolvent


@dataclass(slots=True)
class Bench:
    """Tries shocks of one shape on one book and stack, each once, on the same lots."""

    opening: Opening
    stack: SafeguardStack
    root: int = 1
    shape: Shock = SHAPE
    broken: Broken = exhausted
    on_probe: Probed | None = None
    tried: dict[tuple[float, ...], Outcome] = field(
        default_factory=dict[tuple[float, ...], Outcome]
    )

    def probe(self, size: float, log_moves: F64) -> Probe:
        """Return what log returns ``log_moves`` [instruments] come to."""
        moves = tuple(float(m) for m in np.expm1(log_moves))
        if moves not in self.tried:
            self.tried[moves] = strike(self.opening, self.stack, self.shape, moves, self.root)
        outcome = self.tried[moves]
        found = Probe(size, moves, outcome, self.broken(outcome))
        if self.on_probe is not None:
            self.on_probe(found)
        return found


def strike(
    opening: Opening, stack: SafeguardStack, shape: Shock, moves: Sequence[float], root: int
) -> Outcome:
    """Return what ``shape`` with these relative moves comes to; path 0 of ``root``'s lots."""
    shock = replace(shape, moves=tuple(zip(opening.symbols, moves, strict=True)))
    weather = shock.weather(root, [0], opening.symbols)
    return turn(opening, stack, weather, root=root, path=0)


@dataclass(frozen=True, slots=True)
class Breaking:
    """Where a stack breaks along one direction: between ``solid`` and ``size``."""

    stack: str
    size: float  # the smallest size found that breaks it; infinite where none did
    solid: float  # the largest size below it that did not
    moves: tuple[float, ...]  # at ``size``, relative; where nothing broke, those of the largest
    holes: tuple[float, ...]  # larger sizes that did not break it: the search was not monotone
    probes: tuple[Probe, ...]  # in the order of size

    @property
    def monotone(self) -> bool:
        """Whether every larger shock that was tried broke it, too."""
        return not self.holes


def along(
    bench: Bench, unit: F64, *, most: float, tolerance: float, coarse: int = COARSE
) -> Breaking:
    """Return the breaking point along log returns ``size * unit``, sizes up to ``most``.

    Equally spaced sizes come first: the interval that is halved afterwards ends at the first that
    breaks, and larger ones that do not are said as ``holes``. Netting, breakers and halts make
    such things possible, so bisection alone would not be a proof.
    """
    if not 0 < tolerance < most:
        raise ConfigInvalid(
            where="tolerance", what=f"must lie between 0 and {most:g}", found=f"{tolerance:g}"
        )
    probes = [bench.probe(s, s * unit) for s in np.linspace(0, most, coarse + 1)[1:].tolist()]
    first = next((k for k, p in enumerate(probes) if p.broken), None)
    if first is None:
        end = probes[-1]
        return Breaking(bench.stack.name, float("inf"), most, end.moves, (), tuple(probes))
    holes = tuple(p.size for p in probes[first:] if not p.broken)
    low = probes[first - 1].size if first else 0.0
    high = probes[first]
    while high.size - low > tolerance:
        middle = (low + high.size) / 2
        at = bench.probe(middle, middle * unit)
        probes.append(at)
        low, high = (low, at) if at.broken else (middle, high)
    ordered = tuple(sorted(probes, key=lambda p: p.size))
    return Breaking(bench.stack.name, high.size, low, high.moves, holes, ordered)


@dataclass(frozen=True, slots=True)
class Worst:
    """The direction in which the least plausible distance breaks a stack."""

    unit: F64  # [instruments] of length 1, before the covariance shapes it
    breaking: Breaking  # sizes are Mahalanobis distances
    start: str  # the candidate from which the search went on
    probes: int


def candidates(covariance: F64, symbols: Sequence[str]) -> list[tuple[str, F64]]:
    """Return directions that a search begins with: everything together, and each market alone."""
    root = np.linalg.cholesky(covariance)
    values, vectors = np.linalg.eigh(covariance)
    main = np.linalg.solve(root, vectors[:, int(np.argmax(values))])
    main *= -np.sign((root @ main).sum() or 1.0)  # down
    named = [("all down", main), ("all up", -main)]
    for k, symbol in enumerate(symbols):
        alone = np.linalg.solve(root, np.eye(len(symbols))[k])
        named += [(f"{symbol} down", -alone), (f"{symbol} up", alone)]
    return [(name, unit / np.linalg.norm(unit)) for name, unit in named]


def worst_direction(
    bench: Bench,
    covariance: ArrayLike,
    *,
    most: float,
    tolerance: float,
    tries: int = 60,
    coarse: int = COARSE,
) -> Worst:
    """Return the direction that breaks the stack at the least Mahalanobis distance.

    ``covariance`` is of the instruments' log returns over the shock: log moves are
    ``size * L @ unit`` with L its Cholesky root, so that a size is how many deviations away the
    shock lies. Every candidate is tried a little closer than the best so far and searched only
    where it breaks there; then Nelder and Mead (1965) maximise the loss at that distance from the
    best one, ``tries`` shocks at most, and each direction that breaks is searched in turn. All
    shocks meet the same lots. The answer is the best found: a search cannot prove that it is least.
    """
    spread = np.asarray(covariance, np.float64)
    shape: F64 = np.linalg.cholesky(spread).astype(np.float64)
    named = candidates(spread, bench.opening.symbols)
    start, unit = named[0]
    best = along(bench, shape @ unit, most=most, tolerance=tolerance, coarse=coarse)

    def closer(at: Breaking) -> float:
        return min(most, at.size - tolerance)

    for name, other in named[1:]:
        size = closer(best)
        if size > 0 and bench.probe(size, size * (shape @ other)).broken:
            found = along(bench, shape @ other, most=size, tolerance=tolerance / 2, coarse=coarse)
            start, unit, best = name, other, found
    left = tries
    while left > 0 and closer(best) > 0:
        found_unit, used = _climb(bench, shape, unit, closer(best), left)
        left -= used
        if found_unit is None:
            break
        unit = found_unit
        size = closer(best)
        best = along(bench, shape @ unit, most=size, tolerance=tolerance / 2, coarse=coarse)
    return Worst(unit, best, start, len(bench.tried))


class _FoundError(Exception):
    """A direction broke the stack: the climb is over."""


def _climb(bench: Bench, shape: F64, unit: F64, size: float, tries: int) -> tuple[F64 | None, int]:
    """Return a direction that breaks at ``size``, None without one, and the tries it took."""
    seen: list[F64] = []

    def kept(x: F64) -> float:
        """Return minus what is lost beyond the fund, in units of the fund."""
        if len(seen) >= tries:
            raise _FoundError
        length = float(np.linalg.norm(x))
        direction = x / length if length else unit
        at = bench.probe(size, size * (shape @ direction))
        seen.append(direction)
        if at.broken:
            raise _FoundError
        lost = at.outcome.loss - at.outcome.fund_at_start
        return -lost / max(1, at.outcome.fund_at_start)

    try:
        options = {"maxfev": tries, "initial_simplex": _simplex(unit), "xatol": 1e-3, "fatol": 1e-6}
        optimize.minimize(kept, unit, method="Nelder-Mead", options=options)
    except _FoundError:
        last = seen[-1]
        if bench.probe(size, size * (shape @ last)).broken:
            return last, len(seen)
    return None, max(1, len(seen))


def _simplex(unit: F64) -> F64:
    """Return the corners from which the climb begins: the direction, and a third of each axis."""
    return np.vstack([unit, unit + np.eye(unit.size) / 3])


Place = tuple[str, float, float]  # stack, relative move of every price, share of depth left


def cliff(
    opening: Opening,
    stacks: Sequence[SafeguardStack],
    moves: Sequence[float],
    depths: Sequence[float],
    *,
    root: int = 1,
    shape: Shock = SHAPE,
    known: Mapping[Place, Outcome] | None = None,
    on_place: Callable[[Place, Outcome], None] | None = None,
) -> dict[Place, Outcome]:
    """Return the liquidity cliff: what each price move costs at each share of depth that is left.

    ``known`` holds places that an interrupted map has finished; ``on_place`` is told of each new
    one, so that it can be kept.
    """
    found = dict(known or {})
    for stack, move, depth in product(stacks, moves, depths):
        place = (stack.name, move, depth)
        if place in found:
            continue
        thin = replace(shape, depth=depth)
        found[place] = strike(opening, stack, thin, [move] * len(opening.symbols), root)
        if on_place is not None:
            on_place(place, found[place])
    return {(s.name, m, d): found[s.name, m, d] for s, m, d in product(stacks, moves, depths)}


def mapped(places: Mapping[Place, Outcome]) -> pd.DataFrame:
    """Return the map as rows: stack, move, depth, and what it came to; amounts are Money."""
    names = ("loss", "fund_used", "fund_at_start", "insolvent", "borne_by_others", "user_harm")
    rows = [(*place, *(getattr(end, name) for name in names)) for place, end in places.items()]
    return pd.DataFrame(rows, columns=["stack", "move", "depth", *names])
