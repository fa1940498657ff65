"""Whose history an instrument takes: that of its own name, or that of its rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from tidegate.adapters.candles import QUOTES
from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import Weather, World
from tidegate.lab.worlds.ground import one_of


BY: Final = ("name", "rank")
ENDINGS: Final = ("-PERP", "_PERP", "-USD-PERP", "PERP", "-SWAP")


@dataclass(frozen=True, slots=True)
class Matching:
    """Columns of a history and how instruments find theirs.

    By name: the same symbol, or the same coin behind another quote (BTC finds BTCUSDT). By rank:
    the first instrument of the venue takes the first column, the second the second, and whoever
    comes after the last shares it.
    """

    known: tuple[str, ...]
    by: str = "name"

    def __post_init__(self) -> None:
        """Refuse an empty history, and a rule that does not exist."""
        one_of("world.map", self.by, BY)
        if not self.known:
            raise ConfigInvalid(where="world", what="must know a symbol", found="none")

    def columns(self, symbols: Sequence[str]) -> list[int]:
        """Return the column of each instrument; raise ConfigInvalid for one that finds none."""
        if self.by == "rank":
            return [min(n, len(self.known) - 1) for n in range(len(symbols))]
        coins = [coin(name) for name in self.known]
        found: list[int] = []
        for symbol in symbols:
            if symbol in self.known:
                found.append(self.known.index(symbol))
            elif coin(symbol) in coins:
                found.append(coins.index(coin(symbol)))
            else:
                close = get_close_matches(coin(symbol), coins, n=1)
                hint = f"did you mean {close[0]}? or " if close else ""
                raise ConfigInvalid(
                    where=f"world: instrument {symbol}",
                    what=f"must have a history, one of {', '.join(self.known)}",
                    found="none",
                    hint=f"{hint}map=rank gives each instrument the history of its rank",
                )
        return found


@dataclass(frozen=True, slots=True)
class Onto:
    """A world of known symbols, laid onto the instruments of any book."""

    world: World
    matching: Matching

    @property
    def name(self) -> str:
        """Return the world's own name."""
        return self.world.name

    def describe(self) -> str:
        """Return the world's own sentence, and how instruments find their column."""
        return f"{self.world.describe()}; instruments matched by {self.matching.by}"

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; instruments that share a column share its price."""
        columns = self.matching.columns(symbols)
        whole = self.world.weather(root, paths, self.matching.known)
        return Weather(whole.price[:, :, columns], whole.depth[:, :, columns], whole.step_ns)


def coin(symbol: str) -> str:
    """Return a symbol without its quote and kind: BTC of BTCUSDT, BTC-PERP and BTC/USD."""
    bare = symbol.upper().replace("/", "").replace(":", "")
    for ending in ENDINGS:
        bare = bare.removesuffix(ending)
    bare = bare.replace("-", "").replace("_", "")
    for quote in QUOTES:
        if bare.endswith(quote) and bare != quote:
            return bare.removesuffix(quote)
    return bare
