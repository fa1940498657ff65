"""Who takes a liquidation over when the market does not: committed providers, a shared pool."""

from typing import Self

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels.offers import drained


OFFERS_MAX, DEPOSITORS_MAX = 4_096, 65_536


class LoanPool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Depositors who together repay what a liquidated loan owes, and get its collateral for it.

    Neutral: no room for depositors, no pool.
    """

    depositors_max: int = 0
    penalty: Ppm = Ppm(50_000)  # collateral worth this much more than the debt goes to depositors
    left_min: Money = Money(1_000_000)  # stays in the pool, whatever is asked of it

    def __post_init__(self) -> None:
        """Refuse a pool that could be emptied, or that would take more than there is."""
        if not 0 <= self.depositors_max <= DEPOSITORS_MAX:
            raise ConfigInvalid(
                where="backstop.pool.depositors_max",
                what=f"must lie within 0..{DEPOSITORS_MAX:_}",
                found=f"{self.depositors_max:_}",
            )
        if not 0 <= self.penalty <= PPM:
            raise ConfigInvalid(
                where="backstop.pool.penalty",
                what="must lie within 0..1_000_000",
                found=f"{self.penalty:_}",
            )
        if self.left_min < 1:
            raise ConfigInvalid(
                where="backstop.pool.left_min",
                what="must be positive: a pool that is emptied to the last cent has no product",
                found=f"{self.left_min:_}",
            )


class Backstop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask providers, and for loans a pool, once an account is deep in distress or has waited.

    Neutral: nobody is listened to and nobody is asked.
    """

    offers_max: int = 0  # commitments that are kept; 0: no providers
    equity_below: Ppm = Ppm(0)  # asked below this share of maintenance; 0: never for depth
    patience_ns: Nanos = Nanos(0)  # asked after so long below maintenance; 0: never for time
    discount_max: Ppm = Ppm(100_000)  # no offer beyond this is taken
    fund_bears: bool = False  # offer the bankrupt too, the fund paying what they lack
    provider_share: Ppm = Ppm(PPM)  # of the discount; the rest feeds the fund
    market_max: Money = Money(0)  # taken over per instrument and window; 0: no limit
    account_max: Money = Money(0)  # taken over from one owner per window; 0: no limit
    window_ns: Nanos = Nanos(3_600_000_000_000)
    redistribute: bool = False  # share loans that the pool cannot repay among the others
    pool: LoanPool = LoanPool()

    def __post_init__(self) -> None:
        """Refuse rates out of range, and a backstop that nobody would ever ask or stand behind."""
        for name in ("equity_below", "discount_max", "provider_share"):
            if not 0 <= getattr(self, name) <= PPM:
                raise ConfigInvalid(
                    where=f"backstop.{name}",
                    what="must lie within 0..1_000_000",
                    found=f"{getattr(self, name):_}",
                )
        refuse_negative("backstop", self, "patience_ns", "market_max", "account_max")
        if self.window_ns <= 0:
            raise ConfigInvalid(
                where="backstop.window_ns", what="must be positive", found=f"{self.window_ns:_}"
            )
        if not 0 <= self.offers_max <= OFFERS_MAX:
            raise ConfigInvalid(
                where="backstop.offers_max",
                what=f"must lie within 0..{OFFERS_MAX:_}",
                found=f"{self.offers_max:_}",
            )
        if self.on and not (self.equity_below or self.patience_ns):
            raise ConfigInvalid(
                where="backstop",
                what="must say when it is asked: equity_below, patience_ns, or both",
                found="neither",
                hint="equity_below = 666_667 asks below two thirds of maintenance",
            )
        if not self.on and (self.equity_below or self.patience_ns):
            raise ConfigInvalid(
                where="backstop",
                what="must say who is asked: offers_max, pool.depositors_max or redistribute",
                found="neither",
                hint="offers_max = 64 keeps up to 64 commitments",
            )

    @property
    def on(self) -> bool:
        """Whether there is room for anybody to stand behind the market."""
        return bool(self.offers_max or self.pool.depositors_max or self.redistribute)

    def scaled(self, venue: Venue) -> Self:
        """Return the backstop with its venue-wide amounts at the scale of a recording."""
        market_max = max(1, venue.scaled(self.market_max)) if self.market_max else 0
        return msgspec.structs.replace(self, market_max=Money(market_max))

    def room(self, *, most: int, spent: int, elapsed: int) -> tuple[int, int]:
        """Return what a guard of ``most`` still lets pass, and what is in its bucket by now."""
        if not most:
            return 2**62, 0
        left = drained(spent, most, max(0, elapsed), self.window_ns)
        return max(0, most - left), left

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.on:
            return ["backstop: nobody stands behind the market"]
        when: list[str] = []
        if self.equity_below:
            when.append(f"with equity below {self.equity_below / 1e4:g} % of its maintenance")
        if self.patience_ns:
            when.append(f"after {self.patience_ns / 1e9:g} s below maintenance")
        said: list[str] = []
        if self.offers_max:
            said.append(
                f"backstop: an account is offered to providers {' or '.join(when)}, the smallest "
                f"discount first, at most {self.discount_max / 1e4:g} %"
            )
            who = (
                "the fund pays what a bankrupt one lacks, while it can"
                if self.fund_bears
                else "a bankrupt one is left to the waterfall"
            )
            said.append(f"backstop: an account gives up no more than its equity; {who}")
            if self.provider_share < PPM:
                said.append(
                    f"backstop: {self.provider_share / 1e4:g} % of the discount is the provider's, "
                    "the rest feeds the fund"
                )
        if self.pool.depositors_max:
            said.append(
                f"backstop: a loan is repaid by the pool {' or '.join(when)}, for collateral worth "
                f"{self.pool.penalty / 1e4:g} % more"
            )
        if self.redistribute:
            said.append(
                "backstop: a loan that nobody repays is shared among those who owe against the "
                "same asset and can bear it"
            )
        hours = self.window_ns / 3.6e12
        if self.market_max:
            said.append(
                f"backstop: takes at most {self.market_max / 1e6:,.0f} of one market in {hours:g} h"
            )
        if self.account_max:
            said.append(
                f"backstop: takes at most {self.account_max / 1e6:,.0f} from one owner in "
                f"{hours:g} h"
            )
        return said
