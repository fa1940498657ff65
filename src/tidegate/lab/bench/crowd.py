"""A crowd for benchmarks: accounts with three positions each over fifty markets of six tiers."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Linear
from tidegate.domain.units import I64, PPM, Lots, Money, Ppm, Ticks
from tidegate.domain.venue import Limits, Venue
from tidegate.drivers.streams import Streams
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


INSTRUMENTS: Final = 50
HELD: Final = 3
TICK_VALUE: Final = Money(100)
TIERS: Final = (
    (0, 5_000),
    (10_000, 10_000),
    (50_000, 25_000),
    (250_000, 50_000),
    (1_000_000, 100_000),
    (5_000_000, 150_000),
)  # floor in units of the numeraire, maintenance in ppm; initial is twice that
SIZE_MEDIAN, SIZE_SPREAD = 2_000.0, 1.2  # notional of a position, log-normal, in units
EQUITY_MEDIAN, EQUITY_SPREAD = 0.2, 0.9  # equity per gross notional, log-normal
DISTRESSED_EVERY, DISTRESSED = 9_973, -0.01  # and of these accounts: bankrupt from the start


@dataclass(frozen=True, slots=True)
class Crowd:
    """Accounts as raw columns: cash one cell an account, the others one a position, by account."""

    cash: I64
    account: I64
    instrument: I64
    lots: I64
    cost: I64
    mark: I64  # [instruments]
    facts: Facts

    @property
    def accounts(self) -> int:
        """How many there are."""
        return int(self.cash.size)

    def moved(self, part: float, name: str) -> I64:
        """Return marks that have moved by up to ``part``, two of them by all of it; in ticks."""
        draw = Streams(7, 0)[f"bench {name}"]
        move = draw.uniform(-part, part, self.mark.size)
        move[0], move[-1] = -part, part
        return np.rint(self.mark * (1 + move)).astype(np.int64)


def crowd(accounts: int) -> Crowd:
    """Return the same crowd for a size always. Markets are chosen by a power law, as traders do."""
    draw = Streams(7, 0)["bench crowd"]
    weight = 1.0 / np.arange(1, INSTRUMENTS + 1)
    chosen = draw.choice(INSTRUMENTS, (accounts, HELD), p=weight / weight.sum())
    for k in range(1, HELD):  # nobody holds two positions in one market
        for _ in range(k + 1):
            again = (chosen[:, k : k + 1] == chosen[:, :k]).any(1)
            chosen[again, k] = (chosen[again, k] + 1) % INSTRUMENTS
    instrument = chosen.reshape(-1).astype(np.int64)
    mark = draw.integers(10**4, 10**6, INSTRUMENTS)
    unit = mark[instrument] * int(TICK_VALUE)
    size = PPM * np.exp(draw.normal(np.log(SIZE_MEDIAN), SIZE_SPREAD, instrument.size))
    lots = np.maximum(1, (size / unit).astype(np.int64)) * draw.choice([-1, 1], instrument.size)
    gross = np.abs(lots * unit).reshape(accounts, HELD).sum(1)
    share = np.exp(draw.normal(np.log(EQUITY_MEDIAN), EQUITY_SPREAD, accounts))
    share[::DISTRESSED_EVERY] = DISTRESSED
    return Crowd(
        cash=(gross * share).astype(np.int64),
        account=np.repeat(np.arange(accounts), HELD),
        instrument=instrument,
        lots=lots,
        cost=lots * unit,
        mark=mark,
        facts=facts(),
    )


def facts() -> Facts:
    """Return the rules of fifty linear markets with the same six tiers."""
    tiers = tuple(
        Tier(floor=Money(f * PPM), maintenance=Ppm(m), initial=Ppm(2 * m)) for f, m in TIERS
    )
    venue = Venue(
        name="bench",
        instruments=tuple(
            Linear(
                symbol=f"M{i}",
                tick_size="0.1",
                lot_size="0.001",
                price_max=Ticks(2 * 10**6),
                lots_max=Lots(10**7),
                open_interest_max=Lots(10**10),
                tick_value=TICK_VALUE,
            )
            for i in range(INSTRUMENTS)
        ),
        limits=Limits(),
    )
    return MarginModel(instruments={"*": Requirement(tiers=tiers)}).columns(venue)


def scaled(accounts: int, scale: float) -> int:
    """Return a size for a benchmark run at ``scale``; never too small to hold every case."""
    return max(500, round(accounts * scale))
