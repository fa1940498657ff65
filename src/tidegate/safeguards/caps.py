"""How much may be borrowed and how large a market may grow: caps that refuse, never liquidate."""

from typing import Self

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels.expanding_limits import ceiling_after, debt_ceiling, floor_after, supply_floor


EVERY = "*"
CASH_NAME = "cash"


class Cap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caps of one asset or market; 0: none.

    Amounts are Money at the current mark. ``debt_max`` bounds what all users owe of an asset, and
    ``utilisation_max`` that debt as a share of what all users hold of it, after the change.
    ``open_interest_max`` bounds one side of a derivative.

    With ``expand_ns`` the debt ceiling follows use: it starts at ``debt_base``, reaches
    ``expand_share`` above what is borrowed after that time, and never exceeds ``debt_max``. With
    ``leave_ns`` at most ``leave_share`` of what users hold may leave in that time, as long as they
    hold more than ``leave_base``.

    Source: Aave supply and borrow caps; Fluid's expanding limits.
    """

    debt_max: Money = Money(0)
    utilisation_max: Ppm = Ppm(0)
    open_interest_max: Money = Money(0)
    debt_base: Money = Money(0)
    expand_share: Ppm = Ppm(0)
    expand_ns: Nanos = Nanos(0)
    leave_base: Money = Money(0)
    leave_share: Ppm = Ppm(0)
    leave_ns: Nanos = Nanos(0)

    def prove(self, where: str) -> None:
        """Refuse caps that contradict one another."""
        names = [f.name for f in msgspec.structs.fields(type(self))]
        refuse_negative(where, self, *names)
        if self.utilisation_max > PPM:
            raise ConfigInvalid(
                where=f"{where}.utilisation_max",
                what="must be <= 1_000_000: no more than all is lent",
                found=f"{self.utilisation_max:_}",
            )
        expands = (self.expand_ns > 0, self.expand_share > 0)
        if any(expands) and not (all(expands) and 0 < self.debt_base <= self.debt_max):
            raise ConfigInvalid(
                where=f"{where}.expand_ns",
                what="an expanding cap needs expand_ns, expand_share and 0 < debt_base <= debt_max",
                found=f"{self.expand_ns:_}, {self.expand_share:_}, {self.debt_base:_} and "
                f"{self.debt_max:_}",
            )
        if (self.leave_ns > 0) != (self.leave_share > 0):
            raise ConfigInvalid(
                where=f"{where}.leave_ns",
                what="needs leave_share, and leave_share needs leave_ns",
                found=f"{self.leave_ns:_} and {self.leave_share:_}",
            )
        for name in ("expand_share", "leave_share"):
            if getattr(self, name) > PPM:
                raise ConfigInvalid(
                    where=f"{where}.{name}",
                    what="must be <= 1_000_000",
                    found=f"{getattr(self, name):_}",
                )

    @property
    def expands(self) -> bool:
        """Whether the debt ceiling follows use."""
        return self.expand_ns > 0

    @property
    def holds(self) -> bool:
        """Whether what users hold may leave only slowly."""
        return self.leave_ns > 0

    def scaled(self, venue: Venue) -> Self:
        """Return the cap at the scale of a recording."""
        return msgspec.structs.replace(
            self,
            debt_max=Money(venue.scaled(self.debt_max)),
            debt_base=Money(venue.scaled(self.debt_base)),
            open_interest_max=Money(venue.scaled(self.open_interest_max)),
            leave_base=Money(venue.scaled(self.leave_base)),
        )

    def ceiling(self, *, borrowed: int, last: int, elapsed: int) -> int:
        """Return what may be owed in all now, in Money; ``last`` as remembered, 0: never."""
        if not self.expands:
            return self.debt_max
        return debt_ceiling(
            borrowed,
            last,
            self.expand_share,
            min(elapsed, self.expand_ns),
            self.expand_ns,
            self.debt_base,
            self.debt_max,
            PPM,
        )

    def remembered(self, *, borrowed: int, ceiling: int) -> int:
        """Return the ceiling to remember once ``borrowed`` is owed."""
        return ceiling_after(
            borrowed, ceiling, self.expand_share, self.debt_base, self.debt_max, PPM
        )

    def floor(self, *, supplied: int, last: int, elapsed: int) -> int:
        """Return what must stay now, in Money; ``last`` as remembered, 0: all of the share is free.

        Nothing has to stay of what is less than ``leave_base``.
        """
        if supplied < self.leave_base:
            return 0
        if not last:
            return floor_after(supplied, 0, self.leave_share, self.leave_base, PPM)
        elapsed = min(elapsed, self.leave_ns)
        return supply_floor(supplied, last, self.leave_share, elapsed, self.leave_ns, PPM)

    def floor_left(self, *, supplied: int, floor: int) -> int:
        """Return the floor to remember once ``supplied`` is left."""
        return floor_after(supplied, floor, self.leave_share, self.leave_base, PPM)

    def describe(self, name: str) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        if self.debt_max:
            grows = (
                f", growing from {self.debt_base / 1e6:,.0f} by at most "
                f"{self.expand_share / 1e4:g} % in {self.expand_ns / 1e9:g} s"
                if self.expands
                else ""
            )
            said.append(f"caps, {name}: at most {self.debt_max / 1e6:,.0f} is lent{grows}")
        if self.utilisation_max:
            said.append(
                f"caps, {name}: at most {self.utilisation_max / 1e4:g} % of what is held is lent"
            )
        if self.holds:
            said.append(
                f"caps, {name}: at most {self.leave_share / 1e4:g} % of what is held leaves in "
                f"{self.leave_ns / 1e9:g} s"
            )
        if self.open_interest_max:
            said.append(f"caps, {name}: one side holds at most {self.open_interest_max / 1e6:,.0f}")
        return said


class Caps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Caps by symbol, "cash" for the numeraire and "*" for every other; neutral: none.

    A cap refuses what would take a total beyond it. What is beyond already, or became so because a
    price rose, is left alone: nobody is liquidated for a cap.
    """

    markets: dict[str, Cap] = {}

    def __post_init__(self) -> None:
        """Refuse caps that contradict one another."""
        for name, cap in self.markets.items():
            cap.prove(f"caps.markets.{name}")

    def bound(self, venue: Venue) -> Self:
        """Return the caps of this venue by symbol, at its scale; raise ConfigInvalid."""
        if not self.markets:
            return self
        symbols = [i.symbol for i in venue.instruments]
        for name in self.markets:
            if name not in {*symbols, EVERY, CASH_NAME} and EVERY not in self.markets:
                raise ConfigInvalid(
                    where=f"caps.markets.{name}",
                    what=f"must be one of the venue's {sorted({*symbols, CASH_NAME, EVERY})}",
                    found=repr(name),
                )
        default = self.markets.get(EVERY, Cap())
        named = {name: self.markets.get(name, default).scaled(venue) for name in symbols}
        return type(self)(
            markets=named | {CASH_NAME: self.markets.get(CASH_NAME, Cap()).scaled(venue)}
        )

    @property
    def slots(self) -> int:
        """How many limits are remembered: a ceiling and a floor each, or none at all."""
        moving = any(cap.expands or cap.holds for cap in self.markets.values())
        return 2 * len(self.markets) if moving else 0

    def at(self, symbol: str) -> Cap | None:
        """Return the cap of a symbol of the bound venue, or None where nothing is capped."""
        return self.markets.get(symbol)

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        return [line for name, cap in self.markets.items() for line in cap.describe(name)]
