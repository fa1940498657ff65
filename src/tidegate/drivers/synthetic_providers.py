"""Providers of a synthetic venue: a few accounts that stand ready behind its markets.

Assumed, all of it: capital as of a large backstop vault shared among few, commitments as shares of
open interest, and discounts that differ a little so that there is somebody to ask first.
"""

from typing import Final

import numpy as np

from tidegate.adapters.arrow import Table, pa
from tidegate.domain.units import SECOND
from tidegate.drivers.synthetic_markets import ASSETS, MILLION, lots_max


CAPITAL: Final = 100  # millions of the numeraire each, on the whole venue
INTEREST_SHARE: Final = 0.03  # of each market's open interest, either side
DISCOUNT: Final = 3_000  # ppm asked by the first with nothing held
SPREAD: Final = 1_000  # more asked by each further one
SLOPE: Final = 20_000  # more asked at the largest position
PROVIDERS_MAX: Final = 64


def provider_names(count: int) -> list[str]:
    """Return the names of so many providers."""
    return [f"provider-{n:02d}" for n in range(count)]


def provider_accounts(count: int, scale: float, numeraire: str) -> Table:
    """Return their opening balances at ``scale`` of the whole venue."""
    return pa.table(
        {
            "account": pa.array(provider_names(count)),
            "asset": pa.array([numeraire] * count),
            "balance": np.full(count, float(round(CAPITAL * MILLION * scale))),
        }
    )


def commitments(count: int, scale: float, begins: int) -> Table:
    """Return what they commit one second after the opening, once every market has a price."""
    rows = [(n, asset) for n in range(count) for asset in ASSETS]
    sizes = [
        min(
            lots_max(asset),
            int(INTEREST_SHARE * asset.interest * MILLION * scale / asset.start / float(asset.lot)),
        )
        for _, asset in rows
    ]
    # As decimals of the lot itself: 7 lots of 0.00001 are 0.00007, and no other float.
    quantity = np.array(
        [float(f"{lots * float(a.lot):.10g}") for lots, (_, a) in zip(sizes, rows, strict=True)]
    )
    return pa.table(
        {
            "ts": np.full(len(rows), begins + SECOND),
            "seq": np.arange(len(rows)),
            "account": pa.array([provider_names(count)[n] for n, _ in rows]),
            "instrument": pa.array([asset.symbol for _, asset in rows]),
            "long_max": quantity,
            "short_max": quantity,
            "discount": np.array([DISCOUNT + SPREAD * n for n, _ in rows]),
            "slope": np.full(len(rows), SLOPE),
        }
    )
