"""Who stands behind the market: committed providers, a shared pool, and what was taken so far.

Columns of fixed capacity, all empty where the stack has no backstop: such a state is the same, to
the bit, as one that never heard of it.
"""

from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.units import I64


SCALES_MAX: Final = 64  # scales of the pool's product; each is a fall to a 65,536th
SUMS: Final = SCALES_MAX + 2  # and room to read two further ones

OFFERS: Final = 0  # cells of `Backing.counts`
DEPOSITORS: Final = 1
DEPOSITS, PRODUCT, SCALE = 0, 1, 2  # cells of `Backing.pool`


class Backing(NamedTuple):
    """Offers, depositors and guards; one cell per slot unless said otherwise."""

    counts: I64  # [2] offers, depositors
    offer_account: I64  # [offers]
    offer_instrument: I64  # [offers]
    offer_long: I64  # [offers] the largest long position it will end at, in lots
    offer_short: I64  # [offers] and the largest short one, as a positive number
    offer_discount: I64  # [offers] ppm of the mark, with an empty book
    offer_slope: I64  # [offers] ppm more, at the largest position
    since: I64  # [accounts] when it was found below maintenance without a break; -1: it is not
    market_spent: I64  # [instruments] Money in the guard's bucket
    market_at: I64  # [instruments]
    owner_spent: I64  # [accounts] Money taken from this owner, in its bucket
    owner_at: I64  # [accounts]
    pool: I64  # [3] deposits in Money, product, scale
    pool_sum: I64  # [instruments, SUMS] what a unit of product has gained, per scale
    pool_kept: I64  # [instruments] units that rounding kept back from the last gain
    deposit_account: I64  # [depositors]
    deposit: I64  # [depositors] Money, as it was when last touched
    deposit_product: I64  # [depositors]
    deposit_scale: I64  # [depositors]
    deposit_sum: I64  # [depositors, instruments]

    @classmethod
    def empty(
        cls,
        *,
        accounts: int,
        instruments: int,
        offers: int,
        depositors: int,
        product: int,
        used: bool,
    ) -> Self:
        """Return the columns before anybody committed anything; not used, no columns."""
        if not used:
            accounts = instruments = 0
        assets = instruments if depositors else 0
        shapes: dict[str, tuple[int, ...]] = {
            "counts": (2,),
            "since": (accounts,),
            "market_spent": (instruments,),
            "market_at": (instruments,),
            "owner_spent": (accounts,),
            "owner_at": (accounts,),
            "pool": (3,),
            "pool_sum": (assets, SUMS),
            "pool_kept": (assets,),
            "deposit_sum": (depositors, assets),
        }
        sizes = {"offer": offers, "deposit": depositors}
        backing = cls(
            *(
                np.zeros(shapes.get(name, (sizes.get(name.split("_")[0], 0),)), np.int64)
                for name in cls._fields
            )
        )
        backing.since[:] = -1
        backing.pool[PRODUCT] = product
        return backing

    @property
    def used(self) -> bool:
        """Whether the stack has any backstop, so that these columns decide anything."""
        return self.since.size > 0
