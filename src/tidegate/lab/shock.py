"""One scripted shock: how far prices move, how fast, how much comes back, what depth leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.lab.weather import F64, Weather


STEPS_MAX: Final = 100_000
_WHOLE: Final = ("fall", "hold", "back")


@dataclass(frozen=True, slots=True)
class Shock:
    """A world of one path: down in ``fall`` steps, ``hold`` steps there, ``back`` steps to a part.

    Prices move along straight lines of their logarithms. Depth leaves in proportion to the way
    down and returns in proportion to the way back.
    """

    moves: tuple[tuple[str, float], ...]  # symbol, relative move at the far end, > -1
    fall: int = 6
    hold: int = 6
    rebound: float = 0.0  # share of the way that is taken back; 1 is a V
    back: int = 0
    depth: float = 1.0  # share of the usual depth at the far end
    step_ns: int = 10 * SECOND

    def __post_init__(self) -> None:
        """Refuse what no path can do."""
        fine = min(self.fall, self.step_ns) >= 1 and min(self.hold, self.back) >= 0
        fine = fine and self.fall + self.hold + self.back <= STEPS_MAX
        if not fine or not (0 <= self.rebound <= 1 and 0 <= self.depth < float("inf")):
            self._refuse("fall, step >= 1; hold, back, depth >= 0; rebound within 0..1")
        if any(not -1 < move < float("inf") for _, move in self.moves) or not self.moves:
            self._refuse("moves must be > -1: -0.4 is a fall of 40 %")

    def _refuse(self, what: str) -> NoReturn:
        raise ConfigInvalid(where="world.shock", what=what, found=self.name)

    @property
    def name(self) -> str:
        """Return the word that makes it again: `shock_of` reads it."""
        moves = ",".join(f"{symbol}={move!r}" for symbol, move in self.moves)
        return (
            f"shock:{moves},fall={self.fall},hold={self.hold},rebound={self.rebound!r},"
            f"back={self.back},depth={self.depth!r},step={self.step_ns / SECOND!r}"
        )

    def describe(self) -> str:
        """Return the shock in one sentence."""
        moves = ", ".join(f"{symbol} {move:+.1%}" for symbol, move in self.moves)
        seconds = self.fall * self.step_ns / SECOND
        back = f", {self.rebound:.0%} of it taken back" if self.rebound else ""
        return f"{moves} within {seconds:g} s, depth down to {self.depth:.0%}{back}"

    @property
    def way(self) -> F64:
        """Return the share of the move that has been made, [steps + 1]."""
        down = np.linspace(0.0, 1.0, self.fall + 1)
        up = np.linspace(1.0, 1.0 - self.rebound, self.back + 1)[1:]
        return np.concatenate([down, np.ones(self.hold), up])

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return the same path for every number; what is not named stands still."""
        del root
        named = dict(self.moves)
        unknown = sorted(set(named) - set(symbols))
        if unknown:
            raise ConfigInvalid(
                where="world.shock",
                what=f"must name instruments of the venue, {', '.join(symbols)}",
                found=", ".join(unknown),
            )
        move = np.log1p(np.array([named.get(symbol, 0.0) for symbol in symbols]))
        way = self.way[:, None]
        price = np.exp(way * move)
        depth = np.broadcast_to(1 - way * (1 - self.depth), price.shape)
        many = (len(paths), *price.shape)
        return Weather(
            np.broadcast_to(price, many).copy(), np.broadcast_to(depth, many).copy(), self.step_ns
        )


def shock_of(word: str) -> Shock:
    """Read what `Shock.name` writes: ``shock:BTC=-0.4,ETH=-0.5,fall=6,depth=0.2``."""
    kind, _, rest = word.partition(":")
    moves: list[tuple[str, float]] = []
    more: dict[str, float] = {}
    for part in rest.split(","):
        key, _, text = part.partition("=")
        try:
            value = float(text)
        except ValueError:
            kind = ""
            break
        if key in {*_WHOLE, "rebound", "depth", "step"}:
            more[key] = value
        else:
            moves.append((key, value))
    if kind != "shock" or any(more.get(key, 0) % 1 for key in _WHOLE):
        raise ConfigInvalid(
            where="--world",
            what="a shock is shock:SYMBOL=MOVE,..., with fall, hold, back in whole steps",
            found=repr(word),
            hint="shock:BTC=-0.4,ETH=-0.5,fall=6,hold=6,rebound=0.3,back=6,depth=0.2,step=10",
        )
    usual = Shock(moves=(("", 0.0),))
    return Shock(
        moves=tuple(moves),
        fall=int(more.get("fall", usual.fall)),
        hold=int(more.get("hold", usual.hold)),
        rebound=more.get("rebound", usual.rebound),
        back=int(more.get("back", usual.back)),
        depth=more.get("depth", usual.depth),
        step_ns=round(more.get("step", usual.step_ns / SECOND) * SECOND),
    )
