"""How much may be released per window: fixed, rolling, or as fast as the fund needs it."""

from typing import ClassVar, Self, TypeAlias

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import I64, PPM, Lots, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels.window import last_release, used_since, window_room


UNLIMITED = 2**62


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a throttle may look at: one instrument and side, at one moment."""

    symbol: str
    lot_value: Money  # of one lot at the mark, >= 1
    measured: bool  # whether a book was ever seen
    depth: Lots  # executable within the throttle's reach on the side that is sold into
    other_depth: Lots  # and on the other side
    fund: Money
    deficit: Money  # of the bankrupt who are still open


class NoThrottle(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="none",
):
    """Release everything at once: the neutral throttle."""

    active: ClassVar[bool] = False
    reach: ClassVar[Ppm] = Ppm(0)
    window_ns: ClassVar[Nanos] = Nanos(0)

    def scaled(self, venue: Venue) -> Self:
        """Return itself: nothing in it has a scale."""
        del venue
        return self

    def capacity(self, at: Measured) -> int:
        """Return the lots of one window: no limit."""
        del at
        return UNLIMITED

    def releasable(self, at: Measured, capacity: int, log_at: I64, log_lots: I64, now: int) -> int:
        """Return the lots that may be released now: what the capacity says."""
        del at, log_at, log_lots, now
        return capacity

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        return ["throttle: none"]


class Fixed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount per window: ``lots`` where the symbol is named there, ``amount`` elsewhere."""

    amount: Money = Money(0)  # per instrument and side; 0: no limit but for `lots`
    lots: dict[str, Lots] = {}
    window_ns: Nanos = Nanos(10_000_000_000)

    active: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a throttle that limits nothing, or that never lets anything go."""
        refuse_negative("throttle", self, "amount")
        if self.window_ns < 1:
            raise ConfigInvalid(
                where="throttle.window_ns", what="must be >= 1", found=f"{self.window_ns:_}"
            )
        if any(n < 1 for n in self.lots.values()):
            raise ConfigInvalid(
                where="throttle.lots", what="must be >= 1 each", found=repr(self.lots)
            )
        if not self.amount and not self.lots:
            raise ConfigInvalid(
                where="throttle",
                what="must limit something: amount, or lots of a symbol",
                found="neither",
                hint='kind = "none" is no throttle',
            )

    def scaled(self, venue: Venue) -> Self:
        """Return the throttle at the scale of a recording, at least a lot and a Money."""
        lots = {s: Lots(max(1, venue.scaled(n))) for s, n in self.lots.items()}
        amount = Money(max(1, venue.scaled(self.amount)) if self.amount else 0)
        return msgspec.structs.replace(self, amount=amount, lots=lots)

    def capacity(self, at: Measured) -> int:
        """Return the lots of one window, rounded down, but never less than one."""
        if at.symbol in self.lots:
            return self.lots[at.symbol]
        return max(1, self.amount // at.lot_value) if self.amount else UNLIMITED

    def said(self) -> str:
        """Return the limit in words."""
        parts = [f"{n:,} lots of {s}" for s, n in sorted(self.lots.items())]
        if self.amount:
            parts.append(f"{self.amount / 1e6:,.0f} of each {'other ' if parts else ''}instrument")
        return " and ".join(parts)


class StaticThrottle(Fixed, frozen=True, tag_field="kind", tag="static"):
    """A fixed amount in each window of the clock: windows begin at multiples of ``window_ns``."""

    reach: ClassVar[Ppm] = Ppm(0)

    def releasable(self, at: Measured, capacity: int, log_at: I64, log_lots: I64, now: int) -> int:
        """Return what this window of the clock has left, in lots."""
        del at
        began = now - now % self.window_ns
        return max(0, capacity - int(used_since(log_at, log_lots, began - 1)))

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        every = f"{self.window_ns / 1e9:g} s of the clock"
        return [f"throttle: releases at most {self.said()} per side in each {every}"]


class WindowThrottle(Fixed, frozen=True, tag_field="kind", tag="window"):
    """A fixed amount in any window, wherever it begins: what was released counts for its length.

    ``bypass`` allows one more window at each distinct moment while the book is balanced: bids and
    asks within ``reach`` differ by less than that share of their sum. 0: never.
    """

    bypass: Ppm = Ppm(0)
    reach: Ppm = Ppm(10_000)

    def __post_init__(self) -> None:
        """Refuse a bypass that would always be open, and what `Fixed` refuses."""
        super().__post_init__()
        if not 0 <= self.bypass <= PPM or self.reach < 0:
            raise ConfigInvalid(
                where="throttle.bypass",
                what="must lie within 0..1_000_000, and reach be >= 0",
                found=f"{self.bypass:_} and {self.reach:_}",
            )

    def releasable(self, at: Measured, capacity: int, log_at: I64, log_lots: I64, now: int) -> int:
        """Return what the window that ends now has left, or one more window if balanced."""
        used = int(used_since(log_at, log_lots, now - self.window_ns))
        last = int(last_release(log_at, log_lots))
        skew, depth = at.depth - at.other_depth, at.depth + at.other_depth
        return int(window_room(capacity, used, last, now, skew, depth, self.bypass, PPM))

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said = [
            f"throttle: releases at most {self.said()} per side in any {self.window_ns / 1e9:g} s"
        ]
        if self.bypass:
            said.append(
                f"throttle: one more window while bids and asks within {self.reach / 1e4:g} % of "
                f"the mark differ by less than {self.bypass / 1e4:g} % of their sum"
            )
        return said


class FundThrottle(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="fund",
):
    """A share of executable depth that rises from ``slow`` to ``fast`` as the fund is called upon.

    share = slow + (fast - slow) * min(1, deficit / (fund * cover)), rounded up: a rich fund buys
    time, and with every bankrupt account there is less of it. A deficit of ``cover`` times the fund
    or an empty fund is answered at full speed. Never slower than ``slow``.
    """

    slow: Ppm
    fast: Ppm
    cover: Ppm = Ppm(PPM)
    reach: Ppm = Ppm(10_000)
    window_ns: Nanos = Nanos(10_000_000_000)
    unknown_depth: Money = Money(0)  # assumed where no book was measured

    active: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse shares that stand still, or a fast that is slower than slow."""
        if not 0 < self.slow <= self.fast <= 10 * PPM:
            raise ConfigInvalid(
                where="throttle.slow",
                what="must satisfy 0 < slow <= fast <= 10_000_000",
                found=f"{self.slow:_} and {self.fast:_}",
            )
        refuse_negative("throttle", self, "reach", "unknown_depth")
        if self.window_ns < 1 or self.cover < 1:
            raise ConfigInvalid(
                where="throttle",
                what="window_ns and cover must be >= 1",
                found=f"{self.window_ns:_} and {self.cover:_}",
            )

    def scaled(self, venue: Venue) -> Self:
        """Return the throttle with its assumed depth at the scale of a recording."""
        unknown = Money(venue.scaled(self.unknown_depth))
        return msgspec.structs.replace(self, unknown_depth=unknown)

    def share(self, fund: Money, deficit: Money) -> Ppm:
        """Return the share of depth released per window, in ppm."""
        patience = fund * self.cover // PPM
        if deficit >= patience:
            return self.fast if deficit or not fund else self.slow
        return Ppm(self.slow - (-(self.fast - self.slow) * deficit // patience))

    def capacity(self, at: Measured) -> int:
        """Return the lots of one window, rounded down; an empty book is a measurement, too."""
        depth = at.depth if at.measured else self.unknown_depth // at.lot_value
        return depth * self.share(at.fund, at.deficit) // PPM

    def releasable(self, at: Measured, capacity: int, log_at: I64, log_lots: I64, now: int) -> int:
        """Return what the window that ends now has left, in lots."""
        del at
        return max(0, capacity - int(used_since(log_at, log_lots, now - self.window_ns)))

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        depth, every = f"the depth within {self.reach / 1e4:g} %", f"{self.window_ns / 1e9:g} s"
        most = f"{self.fast / 1e4:g} % of it as open deficits near {self.cover / 1e4:g} %"
        return [
            f"throttle: releases {self.slow / 1e4:g} % of {depth} of the mark in any {every}",
            f"throttle: and up to {most} of the fund",
        ]


AnyThrottle: TypeAlias = NoThrottle | StaticThrottle | WindowThrottle | FundThrottle
