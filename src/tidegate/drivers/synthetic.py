"""Make a recording of a crash that never happened, from a seed: prices, a crowded book, a venue.

Sizes are those of one large venue on 2025-10-10 divided by how many fewer accounts there are: one
number scales open interest, depth and volume alike, so that shares, times and impacts in ppm do
not depend on the size of the book. docs/concepts/simulated-venue.md holds the result against the
published aggregates.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegate.adapters.arrow import Column, Table, pa
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, SECOND, Nanos, Ppm
from tidegate.domain.venue import Limits, Venue, VenueModel
from tidegate.drivers.recording_write import write_recording
from tidegate.drivers.streams import Streams
from tidegate.drivers.synthetic_book import Crowd, Field, crowd
from tidegate.drivers.synthetic_markets import (
    ASSETS,
    MILLION,
    column,
    instrument_of,
    lots_max,
    market_of,
)
from tidegate.drivers.synthetic_providers import (
    PROVIDERS_MAX,
    commitments,
    provider_accounts,
)
from tidegate.drivers.synthetic_weather import SCENARIOS, Quotes, Scenario, quotes, weather


ACCOUNTS: Final = (100, 1_000_000)
PUBLISHED_ACCOUNTS: Final = 437_723  # accounts of the venue on that day (vector ...oct10-009)
BEGINS: Final = int(datetime(2025, 10, 10, 21, 14, tzinfo=UTC).timestamp()) * SECOND
INDICES: Final = ("index-a", "index-b", "index-c")
NUMERAIRE: Final = "USD"

NOTES: Final = (
    "Every account, position and price in this recording is synthetic.",
    "Calibrated to published aggregates of one venue on 2025-10-10: times, shares and totals only.",
    "Source: ConejoCapital/HyperMultiAssetedADL; test vectors event_calibration_oct10.",
    "Assumed: open interest by asset, and leverage and entry prices by group of accounts.",
    "Assumed: depth within 2 %, its withdrawal and recovery, daily volume and volatility.",
    "Assumed: the permanent share of impact, and latency.",
    "Prices are a line through assumed moments, with noise that reverts to it.",
    "No price carries any impact of this venue's forced trades; a replay adds it.",
    "Five markets stand for the 162 in which winners were deleveraged.",
    "Account names tell which group an account was drawn from; nothing reads them.",
)


def make(
    out: Path,
    *,
    accounts: int,
    seed: int,
    scenario: str = "october",
    providers: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a synthetic recording into folder ``out``: the same bytes for the same arguments.

    ``accounts`` within 100..1,000,000; ``scenario`` one of `SCENARIOS`; so many ``providers``, at
    most 64, stand behind the markets for a stack with a backstop. ``on_progress`` is told (done,
    of) after each of five steps. Raise ConfigInvalid for anything else.
    """
    low, high = ACCOUNTS
    if not low <= accounts <= high:
        raise ConfigInvalid(
            where="accounts", what=f"must lie within {low:_}..{high:_}", found=f"{accounts:_}"
        )
    if not 0 <= providers <= PROVIDERS_MAX:
        raise ConfigInvalid(
            where="providers", what=f"must lie within 0..{PROVIDERS_MAX}", found=f"{providers:_}"
        )
    if scenario not in SCENARIOS:
        raise ConfigInvalid(
            where="scenario",
            what=f"must be one of {', '.join(sorted(SCENARIOS))}",
            found=repr(scenario),
        )
    told = on_progress or _nobody
    streams, story = Streams(seed, 0), SCENARIOS[scenario]
    scale = accounts / PUBLISHED_ACCOUNTS
    told(0, 5)
    path = weather(story, column("start"), column("beta"), streams)
    told(1, 5)
    said = quotes(path, len(INDICES), streams)
    told(2, 5)
    people = crowd(field_of(scale), accounts, streams)
    told(3, 5)
    book = _book(people)
    if providers:
        book = _backed(book, providers, scale)
    told(4, 5)
    venue = venue_of(scenario, story, book, accounts, seed)
    write_recording(out, venue, {"prices": _prices(said), **book})
    told(5, 5)


def _backed(book: dict[str, Table], providers: int, scale: float) -> dict[str, Table]:
    """Return the book with providers: their balances after everybody's, and their commitments."""
    own = provider_accounts(providers, scale, NUMERAIRE).cast(book["accounts"].schema)
    return {
        **book,
        "accounts": pa.concat_tables([book["accounts"], own]),
        "commitments": commitments(providers, scale, BEGINS),
    }


def field_of(scale: float) -> Field:
    """Return the markets at ``scale`` of the published venue."""
    return Field(
        start=column("start"),
        beta=column("beta"),
        leverage_max=column("leverage_max"),
        interest=column("interest") * MILLION * scale,
        popularity=column("popularity"),
    )


def venue_of(name: str, story: Scenario, book: dict[str, Table], accounts: int, seed: int) -> Venue:
    """Return the venue of a scenario: instruments, markets at scale, and capacities that fit."""
    scale = accounts / PUBLISHED_ACCOUNTS
    positions = book["positions"]
    isolated = int(np.count_nonzero(positions["isolated_margin"].to_numpy()))
    rows = positions.num_rows + FIRST_USER * len(ASSETS)
    backed = book["commitments"].num_rows if "commitments" in book else 0
    return Venue(
        name=f"synthetic-{name}",
        numeraire=NUMERAIRE,
        instruments=tuple(instrument_of(asset) for asset in ASSETS),
        limits=Limits(
            accounts_max=book["accounts"].num_rows + isolated + FIRST_USER,
            positions_max=rows + backed,
            orders_max=rows,
        ),
        sources=(*INDICES, "venue"),
        markets=tuple(market_of(asset, scale) for asset in ASSETS),
        model=VenueModel(latency_ns=Nanos(200_000_000), order_life_ns=Nanos(SECOND)),
        seed=seed,
        scale=Ppm(max(1, round(scale * PPM))),
        step_ns=Nanos(story.step * SECOND),
        notes=(
            f"{story.about}; seed {seed}",
            f"Scale: {accounts:_} of {PUBLISHED_ACCOUNTS:_} accounts.",
            f"Open interest, depth and volume are those of the whole venue times {scale:.6g}.",
            *NOTES,
        ),
    )


def _nobody(_done: int, _of: int) -> None:
    """Tell nobody."""


def _prices(said: Quotes) -> Table:
    tick = np.array([float(asset.tick) for asset in ASSETS])[said.asset]
    # Decimals as their tick says them: a reader finds 116998, never 116998.00000000001.
    ticks = np.maximum(np.rint(said.price / tick), 1.0)
    doubt = np.ceil(said.confidence / tick)
    return pa.table(
        {
            "ts": BEGINS + said.second * SECOND,
            "instrument": _labels([asset.symbol for asset in ASSETS], said.asset),
            "source": _labels([*INDICES, "venue"], said.source),
            "price": _decimal(ticks, said.asset, "tick"),
            "confidence": _decimal(doubt, said.asset, "tick"),
        }
    )


def _book(people: Crowd) -> dict[str, Table]:
    rows = people.positions
    lot = np.array([float(asset.lot) for asset in ASSETS])[rows.asset]
    tick = np.array([float(asset.tick) for asset in ASSETS])[rows.asset]
    most = np.array([float(lots_max(asset)) for asset in ASSETS])[rows.asset]
    lots = np.rint(rows.notional / (column("start")[rows.asset] * lot))
    lots = np.clip(lots, -most, most)
    lots = np.where(lots == 0, np.sign(rows.notional), lots)
    entry = np.maximum(np.rint(rows.entry / tick), 1.0)
    cash = np.ceil(rows.cash * PPM) / PPM
    balance = np.bincount(rows.account[~rows.isolated], cash[~rows.isolated], len(people.names))
    # Who keeps everything in isolated positions still has pocket money: a tenth of them.
    beside = np.bincount(rows.account[rows.isolated], cash[rows.isolated], len(people.names))
    balance = np.ceil((balance + beside / 10) * PPM) / PPM
    return {
        "accounts": pa.table(
            {
                "account": pa.array(people.names),
                "asset": pa.array([NUMERAIRE] * len(people.names)),
                "balance": balance,
            }
        ),
        "positions": pa.table(
            {
                "account": pa.array(people.names).take(pa.array(rows.account)),
                "instrument": _labels([asset.symbol for asset in ASSETS], rows.asset),
                "quantity": _decimal(lots, rows.asset, "lot"),
                "entry_price": _decimal(entry, rows.asset, "tick"),
                "isolated_margin": np.where(rows.isolated, cash, 0.0),
            }
        ),
    }


def _labels(names: list[str], code: NDArray[np.int64]) -> Column:
    return pa.array(names).take(pa.array(code))


def _decimal(counts: NDArray[np.float64], asset: NDArray[np.int64], size: str) -> Column:
    # 1 / 0.0001 is exactly 10,000 while 0.0001 is no float: divide by the whole number.
    inverse = np.array([float(1 / Decimal(getattr(a, size))) for a in ASSETS])
    return counts / inverse[asset]
