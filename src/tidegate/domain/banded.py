"""Collateral that lies in bands: who laid what, where, and what each band holds now."""

from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.units import I64


NOTHING: Final = -1  # `Banded.asset` of an account that has laid nothing


class Banded(NamedTuple):
    """One row an account, one column a band, from the highest price downwards.

    Prices are Money a trading lot (ticks x tick value), so that no price in bands is rounded twice.
    Without soft liquidation there are no rows.
    """

    asset: I64  # [accounts] the instrument laid, or NOTHING
    top: I64  # [accounts] upper price of the first band
    active: I64  # [accounts] the band that trades next: x above it, y below it
    x: I64  # [accounts, bands] Money the band has received and not spent
    y: I64  # [accounts, bands] smallest units of the collateral
    price: I64  # [instruments] the oracle price that bands believe; 0 before the first
    fee: I64  # [instruments] ppm, what pays for its last moves
    at: I64  # [instruments] when it was last believed anew

    @classmethod
    def empty(cls, accounts: int, instruments: int, bands: int) -> Self:
        """Return columns in which nobody has laid anything; no rows where ``bands`` is 0."""
        rows = accounts if bands else 0
        columns = instruments if bands else 0
        return cls(
            asset=np.full(rows, NOTHING, np.int64),
            top=np.zeros(rows, np.int64),
            active=np.zeros(rows, np.int64),
            x=np.zeros((rows, bands), np.int64),
            y=np.zeros((rows, bands), np.int64),
            price=np.zeros(columns, np.int64),
            fee=np.zeros(columns, np.int64),
            at=np.zeros(columns, np.int64),
        )
