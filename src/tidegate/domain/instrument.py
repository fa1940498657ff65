"""What is traded and held: a tagged union, one class for each way in which a price makes a value.

Every class promises the same three things to the kernels: a whole-number value at every tick, a
proof of range, and the asset in which its profit is paid. A new kind (European option, scenario
array) is a new class here, a new code in `Kind`, and one branch in `kernels/value.py`.
"""

from enum import IntEnum
from typing import TypeAlias

import msgspec

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import MONEY_MAX, PPB, PPM, Amount, Lots, Money, Ticks


CASH = -1  # the numeraire, where an instrument index would stand


class Kind(IntEnum):
    """How a kernel turns lots and a price into a value."""

    LINEAR = 0
    INVERSE = 1
    SPOT = 2


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One market's fixed facts. ``symbol`` is its name everywhere outside the core.

    ``tick_size`` and ``lot_size`` say how decimal prices and quantities of recordings become ticks
    and lots at the door; the core never reads them.
    """

    symbol: str
    tick_size: str
    lot_size: str
    price_max: Ticks
    lots_max: Lots
    open_interest_max: Lots | None = None  # of the whole venue, one side; None: 1,000 x lots_max

    def lots_open_max(self) -> int:
        """Return the largest one-sided open interest the range proof allows for."""
        return 1_000 * self.lots_max if self.open_interest_max is None else self.open_interest_max

    def value_max(self, lots: int) -> int:
        """Return the largest |value| of ``lots`` at any admissible price, in Python's integers."""
        raise NotImplementedError

    def prove_range(self) -> None:
        """Refuse an instrument whose largest position could not be valued exactly in int64."""
        if not (1 <= self.price_max <= MONEY_MAX // PPM and self.lots_max >= 1):
            # Distances between prices are taken in ppm of a price, in int64 as well.
            raise ConfigInvalid(
                where=f"instrument.{self.symbol}",
                what=f"price_max must lie within 1..{MONEY_MAX // PPM:_} and lots_max be >= 1",
                found=f"{self.price_max:_} and {self.lots_max:_}",
            )
        largest = self.value_max(self.lots_max)
        if not 0 < largest <= MONEY_MAX:
            raise ConfigInvalid(
                where=f"instrument.{self.symbol}",
                what=f"the largest position must be worth 1..{MONEY_MAX:_} Money",
                found=f"{largest:_}",
                hint=f"lots_max = {max(1, self.lots_max * MONEY_MAX // max(largest, 1)):_} fits",
            )


class Linear(Instrument, tag="linear", tag_field="kind", frozen=True, kw_only=True):
    """A linear perpetual or future: ``value = lots * ticks * tick_value``, paid in the numeraire.

    ``tick_value`` is what one lot gains when the price rises one tick. Requiring it to be whole is
    what makes valuation exact: 0.1 USD ticks x 0.001 BTC lots = 1e-4 USD = 100 Money.
    """

    tick_value: Money

    def value_max(self, lots: int) -> int:
        """See `Instrument.value_max`."""
        return lots * self.price_max * self.tick_value

    def __post_init__(self) -> None:
        """Prove the range; see `Instrument.prove_range`."""
        self.prove_range()


class Spot(Instrument, tag="spot", tag_field="kind", frozen=True, kw_only=True):
    """An asset that is held or owed: ``value = amount * ticks * tick_value / units``, rounded down.

    A balance is a position whose lots are the asset's smallest units and whose cost is zero; a debt
    is a negative balance. ``lot_size`` is the size of one smallest unit, ``units`` of them make one
    trading lot, and ``tick_value`` is the Money one trading lot gains per tick. Rounding down takes
    at most one Money from the account.
    """

    tick_value: Money
    units: Amount = Amount(1)

    def value_max(self, lots: int) -> int:
        """See `Instrument.value_max`."""
        return lots * self.price_max * self.tick_value // self.units + 1

    def __post_init__(self) -> None:
        """Prove the range, and that splitting by ``units`` is exact."""
        if self.price_max * self.tick_value > MONEY_MAX:
            raise ConfigInvalid(
                where=f"instrument.{self.symbol}",
                what=f"one trading lot must be worth <= {MONEY_MAX:_} Money",
                found=f"{self.price_max * self.tick_value:_}",
                hint="lower price_max or tick_value",
            )
        if not 1 <= self.units <= PPB:
            raise ConfigInvalid(
                where=f"instrument.{self.symbol}.units",
                what=f"must lie within 1..{PPB:_}",
                found=f"{self.units:_}",
            )
        self.prove_range()


class Inverse(Instrument, tag="inverse", tag_field="kind", frozen=True, kw_only=True):
    """An inverse perpetual: ``value = -lots * contract / ticks`` units of its coin, rounded down.

    ``contract`` is the face value of one lot, scaled: face x coin units / tick size. One lot of
    1 USD, a coin of 1e-8 and a tick of 0.1 USD give contract = 1 * 1e8 / 0.1 = 1_000_000_000.
    ``coin`` names the Spot instrument in which profit is paid and which values it in Money;
    ``face`` is the Money notional of one lot, the same at every price.
    """

    coin: str
    contract: int
    face: Money

    def value_max(self, lots: int) -> int:
        """See `Instrument.value_max`: the worst coin value is at one tick."""
        return max(lots * self.contract, lots * self.face)

    def __post_init__(self) -> None:
        """Prove the range; see `Instrument.prove_range`."""
        self.prove_range()


AnyInstrument: TypeAlias = Linear | Inverse | Spot

KIND: dict[type[Instrument], Kind] = {
    Linear: Kind.LINEAR,
    Inverse: Kind.INVERSE,
    Spot: Kind.SPOT,
}
