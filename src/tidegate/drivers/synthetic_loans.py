"""Make a recording of a lending market that never was: loans against one asset, and one price path.

Everything is drawn from a seed, and sizes follow the number of accounts: depth and volume are
shares of all collateral, so that impacts do not depend on how large the book is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from tidegate.adapters.arrow import Table, pa
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.instrument import Spot
from tidegate.domain.units import PPM, SECOND, Amount, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Limits, Market, Venue, VenueModel
from tidegate.drivers.recording_write import write_recording
from tidegate.drivers.streams import Streams


ACCOUNTS: Final = (10, 100_000)
BEGINS: Final = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * SECOND
SYMBOL, NUMERAIRE, START = "ETH", "USD", 3_000.0
UNITS: Final = 1_000_000  # smallest units of one ETH
STEP: Final = 5  # seconds between two prices
RESTLESS: Final = 0.000_3  # deviation of the noise around the path
MEAN_VALUE: Final = 50_000.0  # of a loan's collateral
LTV: Final = (0.40, 0.78)  # lowest and highest loan to value, drawn evenly
DEPTH: Final = 0.05  # of all collateral, within 2 % of the mid, one side
VOLUME: Final = 20.0  # a day, in all collateral


@dataclass(frozen=True, slots=True)
class Story:
    """One story: (second, share of the start price) corners, with straight lines between."""

    about: str
    corners: tuple[tuple[int, float], ...]


PATHS: Final = {
    "fall": Story(
        about="a fall by 25 % in twenty minutes, and no way back",
        corners=((0, 1.0), (60, 1.0), (1_260, 0.75), (1_800, 0.75)),
    ),
    "crash": Story(
        about="a fall by 45 % in five minutes",
        corners=((0, 1.0), (60, 1.0), (360, 0.55), (900, 0.55)),
    ),
    "recovery": Story(
        about="a fall by 25 % in fifteen minutes, and back in fifteen more",
        corners=((0, 1.0), (60, 1.0), (960, 0.75), (1_860, 0.99), (2_100, 0.99)),
    ),
    "jump": Story(
        about="a fall by 18 %, then 14 % up between two prices, and slowly down again",
        corners=((0, 1.0), (60, 1.0), (900, 0.82), (1_200, 0.82), (1_205, 0.935), (2_100, 0.80)),
    ),
}

NOTES: Final = (
    "Every loan and price in this recording is synthetic.",
    "Prices are straight lines between assumed corners with small noise.",
    "Depth within 2 % is a twentieth of all collateral; a day's volume is twenty times it.",
)


def make_loans(
    out: Path,
    *,
    accounts: int,
    seed: int,
    scenario: str = "recovery",
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a recording of ``accounts`` loans along one of `PATHS` into folder ``out``.

    The same bytes for the same arguments; ``on_progress`` is told (done, of). Raise ConfigInvalid
    for a number of accounts or a scenario that does not exist.
    """
    low, high = ACCOUNTS
    if not low <= accounts <= high:
        raise ConfigInvalid(
            where="accounts", what=f"must lie within {low:_}..{high:_}", found=f"{accounts:_}"
        )
    if scenario not in PATHS:
        raise ConfigInvalid(
            where="scenario",
            what=f"must be one of {', '.join(sorted(PATHS))}",
            found=repr(scenario),
        )
    told = on_progress or _nobody
    streams, story = Streams(seed, 0), PATHS[scenario]
    told(0, 2)
    loans, total = _loans(accounts, streams)
    told(1, 2)
    tables = {"prices": _prices(story, streams), "loans": loans}
    write_recording(out, _venue(scenario, story, accounts, total, seed), tables)
    told(2, 2)


def _nobody(_done: int, _of: int) -> None:
    """Tell nobody."""


def _loans(accounts: int, streams: Streams) -> tuple[Table, float]:
    """Return the loans and what all their collateral is worth at the start."""
    draw = streams["loans"]
    value = np.exp(np.clip(draw.standard_normal(accounts), -2.5, 2.5))
    value *= MEAN_VALUE * accounts / value.sum()
    collateral = np.maximum(np.rint(value / START * UNITS), 1.0) / UNITS
    ltv = LTV[0] + (LTV[1] - LTV[0]) * draw.random(accounts)
    debt = np.rint(collateral * START * ltv * 100.0) / 100.0
    table = pa.table(
        {
            "account": pa.array([f"loan-{n:05d}" for n in range(accounts)]),
            "market": pa.array(["main"] * accounts),
            "collateral_asset": pa.array([SYMBOL] * accounts),
            "collateral": collateral,
            "debt_asset": pa.array([NUMERAIRE] * accounts),
            "debt": debt,
        }
    )
    return table, float((collateral * START).sum())


def _prices(story: Story, streams: Streams) -> Table:
    second = np.arange(0, story.corners[-1][0] + 1, STEP)
    at, share = (np.array(c, np.float64) for c in zip(*story.corners, strict=True))
    noise = RESTLESS * streams["price"].standard_normal(second.size)
    price = START * np.interp(second, at, share) * np.exp(noise)
    return pa.table(
        {
            "ts": BEGINS + second * SECOND,
            "instrument": pa.array([SYMBOL] * second.size),
            "source": pa.array(["index"] * second.size),
            "price": np.rint(price * 100.0) / 100.0,
        }
    )


def _venue(name: str, story: Story, accounts: int, total: float, seed: int) -> Venue:
    depth = Money(round(total * DEPTH * PPM))
    return Venue(
        name=f"loans-{name}",
        numeraire=NUMERAIRE,
        instruments=(
            Spot(
                symbol=SYMBOL,
                tick_size="0.01",
                lot_size="0.000001",
                price_max=Ticks(2_000_000),
                lots_max=Lots(1_000_000 * UNITS),
                open_interest_max=Lots(50_000_000 * UNITS),
                tick_value=Money(10_000),
                units=Amount(UNITS),
            ),
        ),
        limits=Limits(
            accounts_max=accounts + FIRST_USER,
            positions_max=accounts + FIRST_USER,
            orders_max=accounts + FIRST_USER,
        ),
        markets=(
            Market(
                symbol=SYMBOL,
                depth=depth,
                daily_volume=Money(round(total * VOLUME * PPM)),
                permanent=Ppm(100_000),
                resilience_ns=Nanos(30 * SECOND),
            ),
        ),
        model=VenueModel(latency_ns=Nanos(SECOND), order_life_ns=Nanos(4 * SECOND)),
        seed=seed,
        step_ns=Nanos(STEP * SECOND),
        notes=(f"{story.about}; seed {seed}", *NOTES),
    )
