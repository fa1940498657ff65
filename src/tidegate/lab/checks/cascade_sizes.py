"""Rows of dominoes: cascades whose size has a law on paper, felled by a ladder and by the engine.

Liquidation prices lie at random (Poisson) below the first one, so densely that one sale moves the
price past n others on average. Then a cascade is a branching process with Poisson offspring, and
its size follows Borel's law; whatever sells, it must come out.
"""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from tidegate.domain.events import BookImported
from tidegate.domain.instrument import Linear
from tidegate.domain.units import I64, PPM, SECOND, Lots, Money, Nanos, Ppm, Ticks, pack
from tidegate.domain.venue import Limits, Market, Venue, VenueModel
from tidegate.drivers.streams import Streams
from tidegate.lab.cascades import borel, ladder
from tidegate.lab.opening import Opening
from tidegate.lab.turn import turn
from tidegate.lab.weather import F64, Weather
from tidegate.lab.worlds.ground import within
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.stack import SafeguardStack


MOVE: Final = 2e-5  # by which the sale of one account moves the price
SHOCK: Final = 0.01  # the fall that reaches the first account
MARK: Final = 100_000_000  # ticks
SIZE: Final = 10  # lots of each account
RATE: Final = 10_000  # ppm of maintenance
STEP: Final = 10 * SECOND
BEGIN: Final = 1_700_000_000 * SECOND
EXPECTED_MIN: Final = 5.0  # of a cell of the chi-squared test


@dataclass(frozen=True, slots=True)
class Dominoes:
    """One row: how far below the first each liquidation price lies, in moves of one sale."""

    gap: F64  # [accounts] rising from 0

    @classmethod
    def drawn(cls, n: float, accounts: int, root: int, path: int) -> "Dominoes":
        """Return a row in which one sale reaches ``n`` others on average; stream "dominoes"."""
        within("dominoes.n", n, 0.0, 1.0, open_=True)
        between = Streams(root, path)["dominoes"].exponential(1.0 / n, accounts - 1)
        return cls(np.concatenate([[0.0], np.cumsum(between)]))

    def by_ladder(self) -> int:
        """Return how many fall, by the ladder of the literature."""
        levels = 1.0 - SHOCK - MOVE * self.gap
        fallen = ladder(1.0, SHOCK, levels.tolist(), [1.0] * levels.size, 1.0 / MOVE, levels.size)
        return round(fallen.units)

    def by_engine(self, steps: int) -> int:
        """Return how many the true engine liquidates: every safeguard off, linear lasting impact.

        A step of the weather is one generation. Prices are logarithms here, so rows are laid out on
        those: each sale moves the logarithm by what its worth is of the depth.
        """
        price = np.full((1, steps + 1, 1), 1.0 - SHOCK)
        price[0, 0] = 1.0
        weather = Weather(price, np.ones_like(price), STEP)
        return turn(self.opening(), NEUTRAL, weather, root=0, path=0).accounts_liquidated

    def opening(self) -> Opening:
        """Return the row as a book: equal longs, and one short that never lacks anything."""
        level = np.rint(MARK * (1.0 - SHOCK) * np.exp(-MOVE * self.gap)).astype(np.int64)
        count = level.size
        # Liquidatable strictly below: at its level an account has one Money too little.
        cash = SIZE * (MARK - level) + SIZE * level * RATE // PPM - 1
        lots = np.append(np.full(count, SIZE), -SIZE * count)
        book = BookImported(
            ts=Nanos(BEGIN),
            names=(*(f"domino {k}" for k in range(count)), "maker"),
            owner=pack(np.arange(count + 1, dtype=np.int64)),
            cash=pack(np.append(cash, SIZE * count * MARK)),
            account=pack(np.arange(count + 1, dtype=np.int64)),
            instrument=pack(np.zeros(count + 1, np.int64)),
            lots=pack(lots),
            entry=pack(np.full(count + 1, MARK, np.int64)),
        )
        marks: I64 = np.array([MARK], np.int64)
        return Opening(_venue(count), book, marks, (), ("a row of dominoes",))


def _venue(count: int) -> Venue:
    reach, sale = 20_000, SIZE * MARK * (1.0 - SHOCK)
    market = Market(
        symbol="ROW",
        depth=Money(round(sale * reach / PPM / MOVE)),
        depth_range=Ppm(reach),
        levels=1_000,
        impact="linear",
        permanent=Ppm(PPM),
        resilience_ns=Nanos(SECOND),
    )
    row = Linear(
        symbol="ROW",
        tick_size="1",
        lot_size="1",
        price_max=Ticks(2 * MARK),
        lots_max=Lots(100 * SIZE * count),
        tick_value=Money(1),
    )
    return Venue(
        name="dominoes",
        instruments=(row,),
        limits=Limits(accounts_max=count + 64, positions_max=2 * count + 64),
        markets=(market,),
        model=VenueModel(latency_ns=Nanos(0)),
    )


NEUTRAL: Final = SafeguardStack(
    name="dominoes",
    margin=MarginModel(
        instruments={"*": Requirement(tiers=(Tier(initial=Ppm(RATE), maintenance=Ppm(RATE)),))}
    ),
    never_worse=NeverWorse(mode="off"),
)


def against_borel(sizes: I64, n: float) -> tuple[float, int, float]:
    """Return chi squared of ``sizes`` against Borel's law, its degrees of freedom and p-value.

    Sizes are pooled from the largest down until every cell is expected five times.
    """
    largest = int(sizes.max()) + 1
    expected = borel(n, largest) * sizes.size
    cells = int((expected >= EXPECTED_MIN).sum())
    seen = np.bincount(sizes, minlength=largest + 1)[1:].astype(np.float64)
    rest = sizes.size - expected[:cells].sum()
    if rest < EXPECTED_MIN:
        cells -= 1
        rest = sizes.size - expected[:cells].sum()
    seen = np.append(seen[:cells], seen[cells:].sum())
    expected = np.append(expected[:cells], rest)
    chi = float(((seen - expected) ** 2 / expected).sum())
    return chi, cells, float(stats.chi2.sf(chi, cells))
