"""How deep a market is by snapshots of its book."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tidegate.adapters.arrow import pc, pq
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, Money, Ppm
from tidegate.domain.venue import Market
from tidegate.lab.weather import F64


REACHES: Final = (1, 2, 5, 10, 25, 50, 100, 200)  # basis points of the mid, one column a side
CONTRACT: Final = {"BTCUSD_PERP": 100.0, "ETHUSD_PERP": 10.0}  # USD; coin-margined contracts
BOOK_COLUMNS: Final = ("venue", "symbol", "ts", "best_bid", "best_ask")


class Book(NamedTuple):
    """What snapshots of one book say: quote asset within each reach, the mean of both sides."""

    venue: str
    symbol: str
    within: F64  # [reaches] median over the snapshots
    spread: F64  # [reaches] deviation over the snapshots, of the logarithm
    snapshots: int

    def market(self, reach: int = 200) -> Market:
        """Return a market as deep as this book within ``reach`` basis points.

        `Market` spreads its depth evenly; `unevenness` says what that hides.
        """
        depth = float(self.within[self._place(reach)])
        return Market(
            symbol=self.symbol,
            depth=Money(max(1, round(depth * PPM))),
            depth_range=Ppm(reach * 100),
        )

    def unevenness(self, reach: int = 200) -> F64:
        """Return, at each reach up to this one, the book over what an even ladder has there."""
        place = self._place(reach)
        even = self.within[place] * np.array(REACHES[: place + 1]) / reach
        return self.within[: place + 1] / even

    def _place(self, reach: int) -> int:
        if reach not in REACHES:
            raise ConfigInvalid(
                where="book.reach", what=f"must be one of {REACHES} basis points", found=f"{reach}"
            )
        return REACHES.index(reach)


def books(file: Path) -> list[Book]:
    """Read second-by-second snapshots (quantity within 1..200 basis points) of several books."""
    table: Any = pq.read_table(file)
    for name in (*BOOK_COLUMNS, *(f"{s}_qty_{r}bp" for s in ("bid", "ask") for r in REACHES)):
        if name not in table.column_names:
            raise ConfigInvalid(
                where=file.name,
                what=f"snapshots of a book must have a column {name!r}",
                found=", ".join(table.column_names[:12]),
            )
    found: list[Book] = []
    pairs = zip(table["venue"].to_pylist(), table["symbol"].to_pylist(), strict=True)
    for venue, symbol in sorted(set(pairs)):
        of = pc.and_(pc.equal(table["venue"], venue), pc.equal(table["symbol"], symbol))
        rows: Any = table.filter(of)
        mid = (rows["best_bid"].to_numpy() + rows["best_ask"].to_numpy()) / 2
        # A coin-margined contract is worth a fixed amount of the quote asset.
        worth = np.full(mid.size, CONTRACT[symbol]) if symbol in CONTRACT else mid
        sides = [
            np.column_stack([rows[f"{side}_qty_{r}bp"].to_numpy() for r in REACHES])
            for side in ("bid", "ask")
        ]
        quote = (sides[0] + sides[1]) / 2 * worth[:, None]
        spread = np.log(np.maximum(quote, 1.0)).std(axis=0)
        found.append(Book(venue, symbol, np.median(quote, axis=0), spread, int(mid.size)))
    return found
