"""What a liquidation costs the account that needed it: fixed, or in proportion to its distress."""

from typing import ClassVar, TypeAlias

import msgspec
import numpy as np

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Ppm
from tidegate.kernels.dynamic_penalty import FIXED, HEALTH_PRICE, LINEAR_HEALTH, RISING


class Penalty(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The instrument's `penalty` is the most that is ever charged; a kind says how much of it.

    ``kappa`` is the share of the equity a fill has left that its penalty may take: a fee that
    bankrupts an account is paid by the fund it is meant to feed.
    """

    code: ClassVar[int] = FIXED
    kappa: Ppm = Ppm(950_000)

    def __post_init__(self) -> None:
        """Refuse shares outside 0..100 %."""
        for name in ("kappa", "least"):
            value = getattr(self, name, 0)
            if not 0 <= value <= PPM:
                raise ConfigInvalid(
                    where=f"penalty.{name}", what="must lie within 0..1_000_000", found=f"{value:_}"
                )

    @property
    def neutral(self) -> bool:
        """Whether this is the fixed rule, which needs to know nothing of the account."""
        return False

    @property
    def needs_distress(self) -> bool:
        """Whether the rate depends on how much of the venue is in distress."""
        return False

    def rule(self) -> I64:
        """Return the parameters as `penalty_rate` reads them; [5] ppm."""
        names = ("least", "deepest", "per_distance", "per_deviation", "per_distress")
        return np.array([int(getattr(self, name, 0)) for name in names], np.int64)

    def planned(self, facts: Facts) -> Facts:
        """Return facts whose penalty is what an account that stands just under its line pays.

        The planner sizes a close by it. Deeper accounts pay more and may need a second stage; to
        plan with the most that could be charged would close healthy parts of every account.
        """
        least = int(self.rule()[0])
        return facts._replace(penalty=facts.penalty * least // PPM)


class FixedPenalty(Penalty, tag_field="kind", tag="fixed", frozen=True, kw_only=True):
    """The instrument's penalty, whatever the account: the neutral rule."""

    kappa: Ppm = Ppm(PPM)

    @property
    def neutral(self) -> bool:
        """See `Penalty.neutral`: with less than all equity the account has to be looked at."""
        return self.kappa == PPM

    def planned(self, facts: Facts) -> Facts:
        """Return the facts as they are."""
        return facts

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if self.neutral:
            return []
        return [f"penalty: fixed, at most {self.kappa / 1e4:g} % of the equity left"]


class LinearPenalty(Penalty, tag_field="kind", tag="linear", frozen=True, kw_only=True):
    """From ``least`` of the instrument's penalty at the line to all of it at health ``deepest``.

    Health is equity over maintenance.

    Source: Aave v4's bonus, linear in the health factor.
    """

    code: ClassVar[int] = LINEAR_HEALTH
    least: Ppm = Ppm(500_000)
    deepest: Ppm = Ppm(0)

    def __post_init__(self) -> None:
        """Refuse a line without length."""
        super().__post_init__()
        if not 0 <= self.deepest < PPM:
            raise ConfigInvalid(
                where="penalty.deepest",
                what="must lie within 0..999_999: a health below the line",
                found=f"{self.deepest:_}",
            )

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        return [
            (
                f"penalty: {self.least / 1e4:g} % of the instrument's at the line, all of it at "
                f"{self.deepest / 1e4:g} % of maintenance; at most {self.kappa / 1e4:g} % of the "
                "equity left"
            )
        ]


class HealthPenalty(Penalty, tag_field="kind", tag="health_to_price", frozen=True, kw_only=True):
    """What selling at the account's own health gives away: the shortfall over the notional closed.

    1 / (1 - s) - 1 with s = (maintenance - equity) / notional, at most the instrument's penalty: an
    account a hair under its line pays next to nothing.

    Source: Euler's discount, one minus the health score.
    """

    code: ClassVar[int] = HEALTH_PRICE

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        return [
            (
                "penalty: as far as the account is below its line, at most the instrument's and "
                f"{self.kappa / 1e4:g} % of the equity left"
            )
        ]


class RisingPenalty(Penalty, tag_field="kind", tag="rising", frozen=True, kw_only=True):
    """A share of the instrument's penalty that rises with distance, volatility and congestion.

    least + per_distance x (1 - health) + per_deviation x standard deviations of the move since the
    anchor + per_distress x share of all maintenance that is liquidatable; at most all of it.
    """

    code: ClassVar[int] = RISING
    least: Ppm = Ppm(200_000)
    per_distance: Ppm = Ppm(0)
    per_deviation: Ppm = Ppm(0)
    per_distress: Ppm = Ppm(0)

    def __post_init__(self) -> None:
        """Refuse slopes below zero: a penalty that falls with distress invites it."""
        super().__post_init__()
        refuse_negative("penalty", self, "per_distance", "per_deviation", "per_distress")
        for name in ("per_distance", "per_deviation", "per_distress"):
            if getattr(self, name) > 1_000 * PPM:
                raise ConfigInvalid(
                    where=f"penalty.{name}",
                    what="must be <= 1_000_000_000",
                    found=f"{getattr(self, name):_}",
                )

    @property
    def needs_distress(self) -> bool:
        """See `Penalty.needs_distress`."""
        return self.per_distress > 0

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        slopes = (
            (self.per_distance, "of distance below the line"),
            (self.per_deviation, "a standard deviation"),
            (self.per_distress, "of the venue in distress"),
        )
        parts = [f"{slope / PPM:g} times {what}" for slope, what in slopes if slope]
        rising = f", rising by {' and '.join(parts)}" if parts else ""
        return [
            (
                f"penalty: {self.least / 1e4:g} % of the instrument's{rising}, at most all of it "
                f"and {self.kappa / 1e4:g} % of the equity left"
            )
        ]


AnyPenalty: TypeAlias = FixedPenalty | LinearPenalty | HealthPenalty | RisingPenalty
