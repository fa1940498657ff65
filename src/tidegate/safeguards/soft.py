"""Soft liquidation: collateral near the line is laid into bands and converted as the price walks.

Read docs/concepts/soft-liquidation.md for when it helps and when it harms. Loans only: one spot
asset owned, cash owed, nothing else.
"""

from typing import Final

import msgspec
import numpy as np

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.instrument import Spot
from tidegate.domain.units import I64, MONEY_MAX, PPM, Money, Nanos, Ppm, muldiv_up
from tidegate.domain.venue import Venue
from tidegate.kernels.bands import limited_move, reach, root_ratio
from tidegate.kernels.bands_book import worth_in_bands
from tidegate.kernels.bands_loan import spread


BANDS: Final = (4, 50)
WIDTHS: Final = (2_000, 100_000)
WINDOW_MAX: Final = 1_000_000_000_000  # 1,000 s: a fee times it cannot wrap
PART_MIN: Final = 10_000  # smallest units in a band: with fewer its price has too few digits
HEADROOM: Final = 256  # how much a band's value may grow before its arithmetic could wrap


class SoftBands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Convert a loan's collateral step by step between two prices, and back as the price returns.

    Neutral: no bands. The engine offers; somebody outside must take, and nothing happens until
    somebody does.

    Source
    ------
    Curve's LLAMMA (curvefi/curve-stablecoin, AMM.vy): bands, prices, the limit on the oracle and
    its fee. Ours are an account's own, laid only near the line, pay the debt at once, and give up
    at most `give` against the mark.
    """

    bands: int = 0  # of each account; 0: off
    width: Ppm = Ppm(10_000)  # of one band; A = 1 / width
    fee: Ppm = Ppm(6_000)
    near: Ppm = Ppm(200_000)  # laid when equity is within this share of maintenance above it
    loan_discount: Ppm = Ppm(90_000)  # what the bands come to exceeds the debt by this
    liquidation_discount: Ppm = Ppm(60_000)  # below this excess the planner takes over
    equity_min: Ppm = Ppm(0)  # of maintenance, left of an account for it to be spared
    give: Ppm = Ppm(PPM)  # most that a conversion gives up against the mark
    move_max: Ppm = Ppm(250_000)  # most that the bands' oracle moves at once within the window
    window_ns: Nanos = Nanos(120_000_000_000)  # in which the fee for a move fades
    depth_share: Ppm = Ppm(0)  # of measured depth offered at once; 0: whatever the bands want
    depth_reach: Ppm = Ppm(10_000)

    def __post_init__(self) -> None:
        """Refuse bands that overlap zero, and discounts the wrong way round."""
        low, high = BANDS
        if self.bands and not low <= self.bands <= high:
            raise ConfigInvalid(
                where="soft.bands", what=f"must be 0 or {low}..{high}", found=f"{self.bands}"
            )
        if not WIDTHS[0] <= self.width <= WIDTHS[1]:
            raise ConfigInvalid(
                where="soft.width",
                what=f"must lie within {WIDTHS[0]:_}..{WIDTHS[1]:_} ppm",
                found=f"{self.width:_}",
            )
        refuse_negative("soft", self, "near", "depth_share", "depth_reach", "window_ns")
        if not 0 < self.liquidation_discount < self.loan_discount < PPM:
            raise ConfigInvalid(
                where="soft.liquidation_discount",
                what="must be > 0 and below loan_discount, which must be below 1_000_000",
                found=f"{self.liquidation_discount:_} and {self.loan_discount:_}",
                hint="bands that are laid at the limit of liquidation would be left at once",
            )
        if not 0 <= self.equity_min < PPM:
            raise ConfigInvalid(
                where="soft.equity_min",
                what="must lie within 0..999_999: nobody above maintenance needs to be spared",
                found=f"{self.equity_min:_}",
            )
        for name, most in (("fee", 100_000), ("give", PPM), ("move_max", 10 * PPM)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ConfigInvalid(
                    where=f"soft.{name}", what=f"must lie within 1..{most:_}", found=f"{value:_}"
                )
        if self.give < self.fee:
            raise ConfigInvalid(
                where="soft.give",
                what="must not be below fee: nobody would ever trade",
                found=f"{self.give:_} below {self.fee:_}",
            )
        if self.window_ns > WINDOW_MAX:
            raise ConfigInvalid(
                where="soft.window_ns",
                what=f"must be <= {WINDOW_MAX:_}",
                found=f"{self.window_ns:_}",
            )

    @property
    def amp(self) -> int:
        """A, the whole number of bands of this width in 100 %."""
        return PPM // self.width

    @property
    def root(self) -> int:
        """The square root of the ratio of two neighbouring edges, in ppm."""
        return root_ratio(self.amp, PPM)

    @property
    def far(self) -> int:
        """How far from the oracle a band may still trade, as a ratio in ppm."""
        return reach(self.amp, PPM)

    def prove(self, venue: Venue) -> None:
        """Refuse a venue whose spot prices are too large for the bands' arithmetic."""
        if not self.bands:
            return
        for i in venue.instruments:
            if not isinstance(i, Spot):
                continue
            dearest = 4 * self.amp * i.price_max * i.tick_value
            if dearest > MONEY_MAX:
                raise ConfigInvalid(
                    where=f"soft.width with instrument.{i.symbol}",
                    what=f"4 / width x price_max x tick_value must be <= {MONEY_MAX:_}",
                    found=f"{dearest:_}",
                    hint="wider bands, or a lower price_max",
                )

    def believed(
        self, *, last: int, price: int, elapsed: int, fee: Ppm, out: I64
    ) -> tuple[int, Ppm]:
        """Return the oracle price the bands believe now and the fee of its moves; ``out`` is [2].

        The first price is believed as it is.
        """
        if not last:
            return price, Ppm(0)
        cap = PPM + self.move_max
        limited_move(last, price, elapsed, self.window_ns, cap, fee, PPM, out)
        return int(out[0]), Ppm(int(out[1]))

    def place(self, *, collateral: int, debt: Money, oracle: int, unit: int) -> int:
        """Return the upper price of the first band for a loan, or 0 where bands cannot carry it.

        As low as the debt with `loan_discount` allows, and never above the oracle. Refused: parts
        of fewer than `PART_MIN` smallest units, and values near the end of the range.
        """
        value = collateral * oracle // unit
        large = max(value, collateral) * self.amp * HEADROOM
        if debt <= 0 or collateral // self.bands < PART_MIN or large > MONEY_MAX:
            return 0
        carried = spread(collateral, self.bands, self.loan_discount, 1, self.amp, self.root, PPM)
        return min(oracle, int(muldiv_up(debt, unit, carried))) if carried else 0

    def parts(self, collateral: int) -> I64:
        """Return ``collateral`` in equal parts, one a band; the first takes what is left over."""
        part = collateral // self.bands
        y = np.full(self.bands, part, np.int64)
        y[0] += collateral - part * self.bands
        return y

    def carries(self, *, y: I64, debt: Money, top: int, oracle: int, unit: int) -> bool:
        """Return whether bands laid at ``top`` leave anything over ``debt`` at this oracle."""
        none = np.zeros_like(y)
        worth = worth_in_bands(none, y, 0, top, oracle, self.amp, self.root, unit)
        two = np.array([worth, debt], np.int64)
        return bool(self.slack(worth=two[:1], debt=two[1:])[0] >= 0)

    def slack(self, *, worth: I64, debt: I64) -> I64:
        """Return how much of ``worth``, less the liquidation discount, is left over ``debt``."""
        lost = worth // PPM * self.liquidation_discount
        lost += -(-(worth % PPM) * self.liquidation_discount // PPM)
        return worth - lost - debt

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.bands:
            return ["soft: no soft liquidation"]
        a = self.amp
        near, over, under = self.near / 1e4, self.loan_discount / 1e4, self.liquidation_discount
        fades = self.window_ns / 1e9
        bands = f"{self.bands} bands of 1/{a} each, at a fee of {self.fee / 1e4:g} %"
        said = [
            f"soft: a loan within {near:g} % above maintenance is laid into {bands}",
            f"soft: bands come to {over:g} % more than the debt when laid; below {under / 1e4:g} %",
            "soft: they are taken up, and the planner has the account if its margin is gone too",
            f"soft: their oracle moves at most {self.move_max / 1e4:g} % at once",
            f"soft: the fee for such a move fades within {fades:g} s",
        ]
        if self.equity_min:
            said.append(f"soft: nobody is spared below {self.equity_min / 1e4:g} % of maintenance")
        if self.give < PPM:
            said.append(f"soft: a conversion gives up at most {self.give / 1e4:g} % of the mark")
        if self.depth_share:
            said.append(
                f"soft: offers at most {self.depth_share / 1e4:g} % of the depth within "
                f"{self.depth_reach / 1e4:g} % of the mark"
            )
        return said
