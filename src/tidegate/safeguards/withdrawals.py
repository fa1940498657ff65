"""What may leave the venue, and how fast, while somebody owes more than they have."""

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels.withdrawals import baseline, gated, refilled


class WithdrawalGate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Refuse or slow withdrawals of users; deposits are never gated.

    Neutral: whoever stays above initial margin may take out what they like, at any time.
    """

    deficit: str = "allow"  # while a deficit is open: "allow", "refuse", "limit"
    gate_ns: Nanos = Nanos(0)  # and for so long after the last one was seen
    limit: str = "never"  # otherwise: "never", "always"
    capacity_min: Money = Money(0)  # of all withdrawals together: never less than this
    capacity_share: Ppm = Ppm(0)  # ... nor than this share of all cash of users
    period_ns: Nanos = Nanos(3_600_000_000_000)  # a capacity refills in this time
    hold_profit: Ppm = Ppm(0)  # share of unrealised profit that cannot be taken out

    def __post_init__(self) -> None:
        """Refuse a limit without a capacity, and shares beyond the whole."""
        for name, allowed in (
            ("deficit", ("allow", "refuse", "limit")),
            ("limit", ("never", "always")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigInvalid(
                    where=f"withdrawals.{name}",
                    what=f"must be one of {allowed}",
                    found=repr(getattr(self, name)),
                )
        refuse_negative("withdrawals", self, "gate_ns", "capacity_min")
        for name in ("capacity_share", "hold_profit"):
            if not 0 <= getattr(self, name) <= PPM:
                raise ConfigInvalid(
                    where=f"withdrawals.{name}",
                    what="must lie within 0..1_000_000",
                    found=f"{getattr(self, name):_}",
                )
        if self.period_ns < 1:
            raise ConfigInvalid(
                where="withdrawals.period_ns", what="must be >= 1", found=f"{self.period_ns}"
            )
        if self.limits and not self.capacity_min and not self.capacity_share:
            raise ConfigInvalid(
                where="withdrawals",
                what="a limit needs capacity_min or capacity_share",
                found="both zero",
                hint='to let nothing out, say deficit = "refuse"',
            )

    @property
    def limits(self) -> bool:
        """Whether withdrawals are ever limited by a capacity."""
        return self.limit == "always" or self.deficit == "limit"

    @property
    def watches(self) -> bool:
        """Whether open deficits matter to it."""
        return self.deficit != "allow"

    def scaled(self, venue: Venue) -> "WithdrawalGate":
        """Return the gate with its capacity at the scale of a recording."""
        return msgspec.structs.replace(self, capacity_min=Money(venue.scaled(self.capacity_min)))

    def closed(self, *, now: int, seen: int, still: bool) -> bool:
        """Return whether a deficit is ``still`` open, or was seen less than ``gate_ns`` ago."""
        return self.watches and (still or gated(now, seen, self.gate_ns))

    def capacity(self, *, value: int, held: int, since: int, now: int) -> Money:
        """Return what may be withdrawn now: ``held`` at ``since`` (-1: never), refilled.

        ``value`` is the cash of all users: the base towards which the capacity drifts is a share of
        it, or the minimum.
        """
        base = baseline(value, self.capacity_min, self.capacity_share, PPM)
        if since < 0:
            return Money(base)
        elapsed = min(now - since, self.period_ns)
        return Money(refilled(held, base, elapsed, self.period_ns))

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        if self.watches:
            what = {"refuse": "nothing may be withdrawn", "limit": "withdrawals are limited"}
            after = f" and for {self.gate_ns / 1e9:,.0f} s after it" if self.gate_ns else ""
            said.append(f"withdrawals: while a deficit is open{after}, {what[self.deficit]}")
        if self.limits:
            said.append(
                f"withdrawals: the limit is the larger of {self.capacity_min / 1e6:,.0f} and "
                f"{self.capacity_share / 1e4:g} % of all cash, per {self.period_ns / 1e9:,.0f} s"
            )
        if self.hold_profit:
            said.append(
                f"withdrawals: {self.hold_profit / 1e4:g} % of unrealised profit stays until it is "
                "realised"
            )
        return said
