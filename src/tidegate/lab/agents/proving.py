"""A proving ground: one thin market, a crowded book, a plain world, and seven stacks with a hole.

An adversary that never profits proves nothing about the stacks that it does not beat. Here each
has a deliberately weak one on which it must. Every number is made up for that purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import BookImported, CommitmentMade
from tidegate.domain.instrument import Linear
from tidegate.domain.units import PPM, SECOND, Lots, Money, Nanos, Ppm, Ticks, pack
from tidegate.domain.venue import Limits, Market, Venue
from tidegate.drivers.streams import Streams
from tidegate.lab.opening import Opening
from tidegate.lab.weather import F64, Weather, checked
from tidegate.safeguards.stack import SafeguardStack


BEGIN: Final = 1_760_130_000 * SECOND
PRICE: Final = 100_000  # ticks of 0.001: 100
LOT_VALUE: Final = 1_000  # Money a tick: one lot is one unit
DEPTH: Final = 10_000_000 * PPM  # Money resting on one side
REACH: Final = 100_000  # ppm of the price over which it is spread: a thin market
SHORTS: Final = 20
PLEDGED: Final = 100_000  # lots that each provider takes over, on either side


def thin_venue(reach: int = REACH, step: int = 5) -> Venue:
    """Return a venue with one perpetual, four sources, and a book that half heals in 20 seconds."""
    return Venue(
        name="proving-ground",
        instruments=(
            Linear(
                symbol="PERP",
                tick_size="0.001",
                lot_size="1",
                price_max=Ticks(1_000_000),
                lots_max=Lots(4_000_000),
                open_interest_max=Lots(100_000_000),
                tick_value=Money(LOT_VALUE),
            ),
        ),
        limits=Limits(accounts_max=512, positions_max=2_048, orders_max=2_048),
        sources=("index-a", "index-b", "index-c", "venue"),
        markets=(
            Market(
                symbol="PERP",
                depth=Money(DEPTH),
                depth_range=Ppm(reach),
                daily_volume=Money(100 * DEPTH),
                permanent=Ppm(0),
                resilience_ns=Nanos(20 * SECOND),
            ),
        ),
        step_ns=Nanos(step * SECOND),
        notes=("Every account, position and price is made up.",),
    )


def crowded(
    longs: int = 60, millions: float = 1.0, providers: int = 6, reach: int = REACH
) -> Opening:
    """Return an opening: ``longs`` of so many millions each at 8 to 18 times, shorts at once.

    Six times the depth of the market stands on the long side. A provider has 20 million and commits
    to 100,000 lots on either side, at a discount of 0.3 %; only a stack with a backstop listens.
    """
    size = np.concatenate([np.full(longs, millions), np.full(SHORTS, -millions * longs / SHORTS)])
    leverage = np.concatenate([np.linspace(8.0, 18.0, longs), np.ones(SHORTS)])
    lots = np.rint(size * 1e6 / (PRICE * LOT_VALUE / PPM)).astype(np.int64)
    equity = np.concatenate([np.abs(size) * 1e6 / leverage, np.full(providers, 20e6)])
    rows = np.arange(equity.size, dtype=np.int64)
    book = BookImported(
        ts=Nanos(BEGIN),
        names=tuple(f"account-{n:03d}" for n in rows.tolist()),
        owner=pack(rows),
        cash=pack(np.rint(equity * PPM)),
        account=pack(rows[: lots.size]),
        instrument=pack(np.zeros_like(lots)),
        lots=pack(lots),
        entry=pack(np.full_like(lots, PRICE)),
    )
    pledges = tuple(
        CommitmentMade(
            ts=Nanos(BEGIN),
            account=FIRST_USER + lots.size + n,
            instrument=0,
            long_max=Lots(PLEDGED),
            short_max=Lots(PLEDGED),
            discount=Ppm(3_000),
        )
        for n in range(providers)
    )
    venue = thin_venue(reach)
    return Opening(venue, book, np.array([PRICE], np.int64), pledges, venue.notes)


@dataclass(frozen=True, slots=True)
class Walk:
    """A random walk of the logarithm without drift, that jumps now and then, up as often as down.

    From step 1 on each step adds ``sigma`` times a normal draw, ``fall`` spread over the steps, and
    with probability ``rate`` a jump of ``jump``; all of them logarithms.
    """

    steps: int = 20
    sigma: float = 0.0
    jump: float = 0.0
    rate: float = 0.0
    fall: float = 0.0
    depth: float = 1.0
    seconds: int = 5
    name: str = "walk"

    def describe(self) -> str:
        """Return the law and its numbers."""
        return (
            f"{self.steps} steps of {self.seconds} s, each a normal one of {self.sigma:.2%}, with "
            f"a jump of {self.jump:.1%} in one of {self.rate:.1%}, and a fall of {self.fall:.0%}"
        )

    def weather(self, root: int, paths: Sequence[int], symbols: Sequence[str]) -> Weather:
        """Return these paths; each draws from its own stream "walk"."""
        price: F64 = np.ones((len(paths), self.steps + 1, len(symbols)))
        for n, path in enumerate(paths):
            draw = Streams(root, path)["walk"]
            move = self.sigma * draw.standard_normal((self.steps, len(symbols)))
            sign = np.where(draw.random(move.shape) < 0.5, 1.0, -1.0)
            move += np.where(draw.random(move.shape) < self.rate, sign * self.jump, 0.0)
            move += np.log1p(-self.fall) / self.steps
            price[n, 1:] = np.exp(np.cumsum(move, axis=0))
        seen = Weather(price, np.full_like(price, self.depth), self.seconds * SECOND)
        return checked(seen, self.name)


HUNDRED_TIMES: Final = """
[[margin.instruments."*".tiers]]
initial     = 10_000
maintenance = 5_000
[never_worse]
mode = "off"
"""
FUND: Final = """
[[waterfall.tranches]]
name    = "fund"
initial = 20_000_000_000_000
"""
WEAK: Final = {
    "manipulator": """
name = "one-source"
about = "believes a single source, whatever it says"
[[oracle.sources]]
name = "index-a"
""",
    "front_runner": """
name = "whole-at-once"
about = "sends whole accounts to the book at any price, for everybody to see"
""",
    "dumper": """
name = "patient-backstop"
about = "providers and the fund take over at the mark whoever falls below it, whoever pushed it"
[backstop]
offers_max   = 64
equity_below = 900_000
fund_bears   = true
""",
    "drainer": """
name = "paid-at-the-mark"
about = "winners are closed at the mark at once, and the fund pays what losers lack"
[waterfall]
deleverage      = "queue"
deleverage_when = "bankrupt"
fund_pays_first = true
""",
    "pump": """
name = "lends-on-profit"
about = "lends cash against unrealised profit"
[margin]
cash_debt_initial = 1
""",
    "sniper": """
name = "minute-late"
about = "believes prices a minute late"
[oracle]
delay_ns = 60_000_000_000
""",
    "sybil": """
name = "largest-first"
about = "deleverages the largest winning account first, whole, and has no fund"
[waterfall]
deleverage      = "queue"
deleverage_when = "bankrupt"
score           = "size"
""",
}
FUNDED: Final = ("front_runner", "dumper", "drainer", "pump", "manipulator")
WORLDS: Final = {
    "front_runner": Walk(sigma=0.002, fall=0.12),
    "dumper": Walk(steps=30, seconds=1),
    "sniper": Walk(sigma=0.004),
    "sybil": Walk(steps=2, sigma=0.004, fall=0.2),
}


def weak_stack(adversary: str) -> SafeguardStack:
    """Return the stack with the hole that this adversary lives on; all else is off."""
    text = WEAK[adversary] + HUNDRED_TIMES + (FUND if adversary in FUNDED else "")
    return msgspec.toml.decode(text, type=SafeguardStack)


def proving_world(adversary: str) -> Walk:
    """Return the plainest world in which it can profit: a still one, where nothing else is said."""
    return WORLDS.get(adversary, Walk())
