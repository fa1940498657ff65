"""What a solver outside may say about speed: the slowest schedule that still covers the debt."""

from typing import Self

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.pace import INFEASIBLE, NO_SCHEDULE, SLICES_MAX
from tidegate.domain.units import I64, PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Venue


UNLIMITED = 2**62


class OptimalRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sell no faster than a journalled schedule says; it can only slow down, never speed up.

    Asked for by a ``confidence`` above zero. The schedule counts for ``age_max_ns``, then its hold
    fades to nothing over the same time again. ``floor`` is what may always be sold per slice.
    """

    confidence: Ppm = Ppm(0)  # with which proceeds must cover the debt; 0: no solver is asked
    horizon_ns: Nanos = Nanos(60_000_000_000)  # within which everything must be sold
    interval_ns: Nanos = Nanos(5_000_000_000)  # of one slice; solved anew at each
    age_max_ns: Nanos = Nanos(15_000_000_000)
    floor: Money = Money(0)  # per slice, instrument and side
    escalate: bool = False  # where no schedule covers the debt: stop, and leave it to others
    lasting: Ppm = Ppm(300_000)  # share of an order's impact that stays in the price
    reach: Ppm = Ppm(20_000)  # depth within this of the mark gives the slope of the book
    cluster: Ppm = Ppm(PPM)  # a bucket of the profile with this branching ratio is a cluster
    confidence_min: Ppm = Ppm(500_000)  # a schedule whose model is less sure is refused

    def __post_init__(self) -> None:
        """Refuse confidences without a quantile, and times that do not fit into one another."""
        if not 0 <= self.confidence < PPM or not 0 <= self.lasting < PPM:
            raise ConfigInvalid(
                where="rate.confidence",
                what="must be below 1_000_000, as must lasting",
                found=f"{self.confidence:_} and {self.lasting:_}",
            )
        refuse_negative("rate", self, "floor", "reach", "cluster", "confidence_min")
        if not 0 < self.interval_ns <= self.horizon_ns or self.age_max_ns < self.interval_ns:
            raise ConfigInvalid(
                where="rate.interval_ns",
                what="must be above 0, at most horizon_ns and at most age_max_ns",
                found=f"{self.interval_ns:_}",
                hint="a schedule that is stale before its second slice holds nothing back",
            )
        if self.horizon_ns // self.interval_ns > SLICES_MAX:
            raise ConfigInvalid(
                where="rate.horizon_ns",
                what=f"must be at most {SLICES_MAX} intervals long",
                found=f"{self.horizon_ns // self.interval_ns:_}",
            )

    @property
    def active(self) -> bool:
        """Whether a solver is asked at all."""
        return self.confidence > 0

    @property
    def intervals(self) -> int:
        """How many slices a schedule has."""
        return self.horizon_ns // self.interval_ns

    def scaled(self, venue: Venue) -> Self:
        """Return the policy with its floor at the scale of a recording."""
        return msgspec.structs.replace(self, floor=Money(venue.scaled(self.floor)))

    def releasable(
        self, slices: I64, *, regime: int, at: int, interval: int, used: int, now: int, floor: int
    ) -> int:
        """Return the lots that may still be released, given ``used`` within the last interval.

        ``floor`` is in lots. What an old schedule holds back is given free in proportion to its
        age; at twice ``age_max_ns`` nothing is held, which `UNLIMITED` says.
        """
        late = now - at - self.age_max_ns
        if regime == NO_SCHEDULE or late >= self.age_max_ns:
            return UNLIMITED
        place = (now - at) // max(interval, 1)
        stopped = regime == INFEASIBLE and self.escalate
        if place >= slices.size and not stopped:
            return UNLIMITED  # it is over: everything should be gone by now
        allowed = 0 if stopped else max(int(slices[place]), floor)
        if late > 0:
            allowed = max(allowed, 1) * self.age_max_ns // (self.age_max_ns - late)
        return max(0, allowed - used)

    def stops(self, *, regime: int, at: int, now: int) -> bool:
        """Return whether nothing is to be sold, because no schedule would cover the debt."""
        return regime == INFEASIBLE and self.escalate and now - at <= self.age_max_ns

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.active:
            return ["rate: no schedule is asked for"]
        said = ["rate: sells as slowly as the solver says, which is asked to cover the debt"]
        said.append(
            f"rate: with {self.confidence / 1e4:g} % confidence within "
            f"{self.horizon_ns / 1e9:g} s, solved anew every {self.interval_ns / 1e9:g} s"
        )
        if self.floor:
            said.append(f"rate: but {self.floor / 1e6:,.0f} may be sold in every slice")
        if self.escalate:
            said.append("rate: where no schedule covers the debt it stops, and others must pay")
        return said
