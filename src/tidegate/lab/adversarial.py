"""The scenario that hurts most within plausible bounds: a search over shapes of one shock.

What may be varied: how far the common factor and each market's own part move, how fast, how long it
stays, how much comes back, and how much depth leaves. What is plausible is bounded twice: each
number within its range, and the move within a Mahalanobis distance of no move, under a covariance
that grows with the time it takes. So a fast crash has to be smaller than a slow one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import optuna
from numpy.typing import ArrayLike
from optuna.samplers import TPESampler

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.drivers.streams import Streams
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.shock import Shock
from tidegate.lab.turn import turn
from tidegate.lab.weather import F64
from tidegate.safeguards.stack import SafeguardStack


YEAR_NS: Final = 365 * 86_400 * SECOND
MOVE_MAX: Final = 5.0  # of a log price: beyond it a market has ended, not crashed

Harm = Callable[[Outcome], float]


@dataclass(frozen=True, slots=True)
class Plausible:
    """What a scenario may be. Ranges are inclusive; (x, x) fixes a number."""

    covariance: F64  # [instruments, instruments] of log returns over a year
    distance: float = 6.0  # deviations, Mahalanobis, over the time of the fall
    fall: tuple[int, int] = (1, 30)  # steps down
    hold: tuple[int, int] = (1, 30)
    back: tuple[int, int] = (0, 30)
    rebound: tuple[float, float] = (0.0, 1.0)
    depth: tuple[float, float] = (0.1, 1.0)  # share left at the far end
    step_ns: int = 10 * SECOND

    def __post_init__(self) -> None:
        """Refuse ranges that are upside down, and a covariance that is none."""
        for name in ("fall", "hold", "back", "rebound", "depth"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ConfigInvalid(
                    where=f"plausible.{name}",
                    what="must be 0 <= low <= high",
                    found=f"{low}..{high}",
                )
        spread = np.asarray(self.covariance)
        square = spread.ndim == 2 and spread.shape[0] == spread.shape[1]
        if not square or np.linalg.eigvalsh(spread).min() <= 0 or not self.distance > 0:
            raise ConfigInvalid(
                where="plausible",
                what="needs a covariance that is positive definite and a distance > 0",
                found=f"shape {spread.shape}, distance {self.distance:g}",
            )

    def far(self, log_moves: ArrayLike, fall: int) -> float:
        """Return how many deviations away log moves within ``fall`` steps are."""
        time = fall * self.step_ns / YEAR_NS
        root = np.linalg.cholesky(self.covariance)
        return float(np.linalg.norm(np.linalg.solve(root, np.asarray(log_moves)))) / sqrt(time)


class Tried(NamedTuple):
    """One scenario and what it came to."""

    number: int
    shock: Shock
    distance: float
    outcome: Outcome
    harm: float


@dataclass(frozen=True, slots=True)
class Worst:
    """The scenario that hurt most, and all that were tried."""

    stack: str
    root: int
    tried: tuple[Tried, ...]

    @property
    def found(self) -> Tried:
        """Return the worst; of several the first."""
        return max(self.tried, key=lambda t: (t.harm, -t.number))

    def line(self, book: str, stack: str) -> str:
        """Return the command that turns the worst scenario again."""
        return (
            f"tidegate stress {book} --stack {stack} --world '{self.found.shock.name}' "
            f"--seed {self.root} --path 0"
        )


def loss_beyond_fund(outcome: Outcome) -> float:
    """Return the loss as a share of the fund; a tie is broken by what users suffer."""
    fund = max(1, outcome.fund_at_start)
    return outcome.loss / fund + 1e-6 * outcome.user_harm / fund


def hardest(
    opening: Opening,
    stack: SafeguardStack,
    plausible: Plausible,
    *,
    tries: int,
    root: int = 1,
    harm: Harm = loss_beyond_fund,
    on_tried: Callable[[Tried], None] | None = None,
) -> Worst:
    """Return the scenario within ``plausible`` that hurts most, after ``tries`` of them.

    Optuna's TPE, seeded from the stream "adversarial"; every scenario meets the same lots (path 0
    of ``root``). Directions are drawn as a sign and a share of the common factor beside each
    market's own part, then scaled to a share of the plausible distance. The first scenarios are the
    two that everybody thinks of: all down, and all up, as far and as fast as is plausible.
    """
    if np.shape(plausible.covariance)[0] != len(opening.symbols):
        raise ConfigInvalid(
            where="plausible.covariance",
            what=f"must have a row for each of {len(opening.symbols)} instruments",
            found=f"{np.shape(plausible.covariance)[0]}",
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(Streams(root, 0)["adversarial"].integers(2**31))
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=seed))
    for common in (-1.0, 1.0):
        study.enqueue_trial(_first(plausible, opening.symbols, common))
    tried: list[Tried] = []
    for _ in range(tries):
        trial = study.ask()
        shock = _shock(trial, plausible, opening)
        weather = shock.weather(root, [0], opening.symbols)
        outcome = turn(opening, stack, weather, root=root, path=0)
        moves = np.log1p([move for _, move in shock.moves])
        far = plausible.far(moves, shock.fall)
        tried.append(Tried(trial.number, shock, far, outcome, harm(outcome)))
        study.tell(trial, tried[-1].harm)
        if on_tried is not None:
            on_tried(tried[-1])
    return Worst(stack.name, root, tuple(tried))


def _first(plausible: Plausible, symbols: tuple[str, ...], common: float) -> dict[str, Any]:
    own = {f"own.{symbol}": 0.0 for symbol in symbols}
    most = {name: getattr(plausible, name)[1] for name in ("fall", "hold")}
    least = {name: getattr(plausible, name)[0] for name in ("back", "rebound", "depth")}
    return {"common": common, "reach": 1.0, **own, **most, **least}


def _shock(trial: optuna.Trial, plausible: Plausible, opening: Opening) -> Shock:
    """Return the scenario that a trial names, inside the plausible set by construction."""
    fall = trial.suggest_int("fall", *plausible.fall)
    common = trial.suggest_float("common", -1.0, 1.0)
    own = [trial.suggest_float(f"own.{symbol}", -1.0, 1.0) for symbol in opening.symbols]
    deviation = np.sqrt(np.diag(plausible.covariance))
    towards = deviation * (common + np.array(own))
    size = plausible.far(towards, fall)
    reach = trial.suggest_float("reach", 0.05, 1.0) * plausible.distance
    log_moves = towards * (reach / size) if size else towards
    log_moves *= min(1.0, MOVE_MAX / max(float(np.abs(log_moves).max()), 1e-12))
    moves = np.expm1(log_moves).tolist()
    return Shock(
        moves=tuple(zip(opening.symbols, moves, strict=True)),
        fall=fall,
        hold=trial.suggest_int("hold", *plausible.hold),
        back=trial.suggest_int("back", *plausible.back),
        rebound=trial.suggest_float("rebound", *plausible.rebound),
        depth=trial.suggest_float("depth", *plausible.depth),
        step_ns=plausible.step_ns,
    )
