"""Who is healthy: requirements per instrument, haircuts per asset, and pre-trade rules."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import msgspec
import numpy as np

from tidegate.domain.book import Book, Health, row_of
from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import KIND, Inverse, Kind, Linear, Spot
from tidegate.domain.units import I64, MONEY_MAX, PPM, SECOND, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels.groups import add_account_extra, add_group_extra, hurts_a_sibling
from tidegate.kernels.margin import assess_account, spare_unpriced, sweep
from tidegate.kernels.procyclical import buffered, floored, weighted


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From ``floor`` of notional on, each further unit asks these rates.

    For a spot asset the rates are its haircuts: the part of a holding that does not count.
    """

    floor: Money = Money(0)
    initial: Ppm
    maintenance: Ppm


class Requirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything margin says about one instrument; the neutral one asks for nothing."""

    tiers: tuple[Tier, ...] = (Tier(initial=Ppm(0), maintenance=Ppm(0)),)
    premium: int = 0  # size premium, 1e-3 ppm per square root of a lot
    open_low: Money = Money(0)
    open_high: Money = Money(0)  # 0: initial margin does not grow with open interest
    counted_max: Money = Money(0)  # a holding counts up to this value only; 0: no limit
    debt_initial: Ppm = Ppm(0)  # rates on an owed balance of this asset
    debt_maintenance: Ppm = Ppm(0)
    penalty: Ppm = Ppm(0)  # taken from what is closed, for the fund
    dust: Money = Money(0)  # remainders worth less are closed with the rest

    def prove(self, where: str) -> None:
        """Refuse amounts and rates that no market can have."""
        refuse_negative(
            where,
            self,
            "premium",
            "open_low",
            "open_high",
            "counted_max",
            "debt_initial",
            "debt_maintenance",
            "penalty",
            "dust",
        )
        if self.penalty > PPM:
            raise ConfigInvalid(
                where=f"{where}.penalty",
                what="must be <= 1_000_000: no more than all",
                found=f"{self.penalty:_}",
            )
        if 0 < self.open_high < self.open_low:
            raise ConfigInvalid(
                where=f"{where}.open_high",
                what="must not lie below open_low",
                found=f"{self.open_high:_} below {self.open_low:_}",
            )

    def table(self, where: str) -> list[tuple[int, int, int, int, int]]:
        """Return (floor, maintenance, its cum, initial, its cum) per tier, concentration included.

        cum[k] = cum[k-1] + floor[k] * (rate[k] - rate[k-1]): exact because floors are whole units.
        """
        tiers = list(self.tiers)
        if self.counted_max:
            rows = [t for t in tiers if t.floor < self.counted_max]
            tiers = [*rows, Tier(floor=self.counted_max, initial=Ppm(PPM), maintenance=Ppm(PPM))]
        if not tiers or tiers[0].floor != 0:
            raise ConfigInvalid(
                where=f"{where}.tiers", what="the first floor must be 0", found=repr(tiers[:1])
            )
        out: list[tuple[int, int, int, int, int]] = []
        for tier in tiers:
            if not 0 <= tier.maintenance <= tier.initial <= PPM:
                raise ConfigInvalid(
                    where=f"{where}.tiers",
                    what="rates must satisfy 0 <= maintenance <= initial <= 1_000_000",
                    found=f"{tier.maintenance:_} and {tier.initial:_}",
                )
            if tier.floor % PPM:
                raise ConfigInvalid(
                    where=f"{where}.tiers.floor",
                    what="must be a whole unit of the numeraire (a multiple of 1_000_000)",
                    found=f"{tier.floor:_}",
                    hint="the deduction that joins two tiers is exact only then",
                )
            if not out:
                out.append((0, tier.maintenance, 0, tier.initial, 0))
                continue
            floor, mm, mm_cum, im, im_cum = out[-1]
            if tier.floor <= floor or tier.maintenance < mm or tier.initial < im:
                raise ConfigInvalid(
                    where=f"{where}.tiers",
                    what="floors must rise and rates must not fall",
                    found=f"{floor:_}/{mm:_} then {tier.floor:_}/{tier.maintenance:_}",
                )
            mm_cum += tier.floor // PPM * (tier.maintenance - mm)
            im_cum += tier.floor // PPM * (tier.initial - im)
            out.append((tier.floor, tier.maintenance, mm_cum, tier.initial, im_cum))
        return out


class VolatilityMargin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Initial margin that follows the journalled estimate of volatility, and how it is held back.

    The neutral one, ``cover`` = 0, follows nothing. A rate is calculated from the variance, kept
    from falling or jumping (see `kernels.procyclical`), and is then the least that any tier of a
    derivative asks for.
    """

    cover: Ppm = Ppm(0)  # standard deviations of the horizon to be covered, times 1e6
    horizon_ns: Nanos = Nanos(3_600_000_000_000)
    rate_min: Ppm = Ppm(0)  # floor and ceiling of the charge
    rate_max: Ppm = Ppm(PPM)
    buffer: Ppm = Ppm(0)  # share of the calculation charged on top in calm, used up in a storm
    stressed: Ppm = Ppm(0)  # the rate that a stressed period called for
    stressed_weight: Ppm = Ppm(0)
    maintenance_share: Ppm = Ppm(0)  # of the charge that must be kept to stay; 0: forces nobody
    grain: Ppm = Ppm(1_000)  # the calculation is rounded up to a multiple of this

    def __post_init__(self) -> None:
        """Refuse rates out of range, and parts of a rule that is off."""
        where = "margin.volatility"
        names = [name for name in self.__struct_fields__ if name not in {"horizon_ns", "grain"}]
        refuse_negative(where, self, *names)
        for name in ("rate_max", "buffer", "stressed", "stressed_weight", "maintenance_share"):
            if getattr(self, name) > PPM:
                raise ConfigInvalid(
                    where=f"{where}.{name}",
                    what="must be <= 1_000_000",
                    found=f"{getattr(self, name):_}",
                )
        if self.rate_min > self.rate_max:
            raise ConfigInvalid(
                where=f"{where}.rate_min",
                what="must not lie above rate_max",
                found=f"{self.rate_min:_} above {self.rate_max:_}",
            )
        if not 1 <= self.horizon_ns <= MONEY_MAX or not 1 <= self.grain <= PPM:
            raise ConfigInvalid(
                where=where,
                what="horizon_ns must be >= 1, and grain lie within 1..1_000_000",
                found=f"{self.horizon_ns:_} and {self.grain:_}",
            )
        held = self.rate_min or self.buffer or self.stressed_weight or self.maintenance_share
        if not self.cover and held:
            raise ConfigInvalid(
                where=f"{where}.cover",
                what="must be above 0 where anything else is said about it",
                found="0",
                hint="leave the table out to follow nothing; tiers are a floor of their own",
            )

    def calculated(self, variance: int) -> Ppm:
        """Return the rate that a variance (ppm squared per second) calls for, rounded up.

        cover * sqrt(variance * horizon), weighted with the stressed rate, within floor and ceiling.
        In Python's integers: the product does not fit into int64.
        """
        square = variance * self.horizon_ns // SECOND
        root = isqrt(square)
        root += root * root < square
        rate = min(PPM, -(-self.cover * root // PPM))
        rate = weighted(rate, self.stressed, self.stressed_weight, PPM)
        rate = floored(-(-rate // self.grain) * self.grain, self.rate_min)
        return Ppm(min(rate, self.rate_max))

    def charged(self, before: int, calculated: int) -> Ppm:
        """Return the charge after ``before`` (0: none yet): its buffer is used up or built up."""
        return Ppm(min(self.rate_max, buffered(before or -1, calculated, self.buffer, PPM)))

    def describe(self) -> list[str]:
        """Return the rule in plain language."""
        if not self.cover:
            return []
        span, low, high = self.horizon_ns / 6e10, self.rate_min / 1e4, self.rate_max / 1e4
        asked = f"{self.cover / 1e6:g} standard deviations of {span:g} minutes"
        said = [f"margin: opening asks at least {asked}, within {low:g} and {high:g} %"]
        if self.buffer:
            said.append(
                f"margin: in calm {self.buffer / 1e4:g} % more of that, used up before it rises"
            )
        if self.stressed_weight:
            said.append(
                f"margin: {self.stressed_weight / 1e4:g} % of it come from a stressed period's "
                f"{self.stressed / 1e4:g} %"
            )
        if self.maintenance_share:
            said.append(
                f"margin: {self.maintenance_share / 1e4:g} % of it must be kept to stay, so that "
                "rising volatility liquidates by itself"
            )
        return said


class MarginModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tiered cross and isolated margin over whole accounts; a loan is an account like any other.

    An isolated position is an account of its own. A haircut is the maintenance rate of a holding,
    so a loan is liquidatable exactly when its debt exceeds collateral x liquidation threshold; a
    collateral ratio is the maintenance rate of its debt.
    """

    kind: str = "tiered"
    group_tiers: bool = False  # tiers of all accounts of one owner together, not one by one
    instruments: dict[str, Requirement] = {}  # by symbol; "*" for all others
    cash_debt_initial: Ppm = Ppm(0)
    cash_debt_maintenance: Ppm = Ppm(0)
    volatility: VolatilityMargin = VolatilityMargin()

    def __post_init__(self) -> None:
        """Refuse a kind of margin that does not exist, and rates below zero."""
        if self.kind != "tiered":
            raise ConfigInvalid(where="margin.kind", what='must be "tiered"', found=repr(self.kind))
        refuse_negative("margin", self, "cash_debt_initial", "cash_debt_maintenance")
        for symbol, rule in self.instruments.items():
            rule.prove(f"margin.instruments.{symbol}")

    def columns(self, venue: Venue) -> Facts:
        """Return the venue and these rules as columns; raise ConfigInvalid where they clash."""
        known = {i.symbol for i in venue.instruments} | {"*"}
        for symbol in self.instruments:
            if symbol not in known and "*" not in self.instruments:
                raise ConfigInvalid(
                    where=f"margin.instruments.{symbol}",
                    what=f"must be one of the venue's {sorted(known)}",
                    found=repr(symbol),
                )
        default = self.instruments.get("*", Requirement())
        rules = [self.instruments.get(i.symbol, default) for i in venue.instruments]
        tables = [
            rule.table(f"margin.instruments.{i.symbol}")
            for rule, i in zip(rules, venue.instruments, strict=True)
        ]
        flat = [row for table in tables for row in table]
        for rule, i in zip(rules, venue.instruments, strict=True):
            if venue.held_max(i) * rule.premium**2 > MONEY_MAX:
                raise ConfigInvalid(
                    where=f"margin.instruments.{i.symbol}.premium",
                    what=f"lots_max x premium^2 must be <= {MONEY_MAX:_}",
                    found=f"{i.lots_max * rule.premium**2:_}",
                )
        starts = np.cumsum([0, *(len(table) for table in tables)])

        def of(values: list[int]) -> I64:
            return np.array(values, np.int64)

        def named(column: str) -> I64:
            return of([int(getattr(r, column)) for r in rules])

        tier = [of([row[k] for row in flat]) for k in range(5)]
        return Facts(
            **_instrument_columns(venue),
            tier_start=starts.astype(np.int64),
            tier_floor=tier[0],
            tier_maintenance=tier[1],
            tier_maintenance_cum=tier[2],
            tier_initial=tier[3],
            tier_initial_cum=tier[4],
            debt_maintenance=named("debt_maintenance"),
            debt_initial=named("debt_initial"),
            premium=named("premium"),
            open_low=of([venue.scaled(r.open_low) for r in rules]),
            open_high=of([venue.scaled(r.open_high) for r in rules]),
            penalty=named("penalty"),
            dust=named("dust"),
            cash_debt=of([self.cash_debt_maintenance, self.cash_debt_initial]),
        )

    def assess(self, book: Book, facts: Facts, *, mark: I64, low: I64, high: I64) -> Health:
        """Return the health of every account; the policy sees whole accounts, not positions.

        Before every instrument an account holds has a price, the account cannot be judged.
        """
        n = book.accounts
        health = Health(
            equity=np.zeros(n, np.int64), required=np.zeros(n, np.int64), best=np.zeros(n, np.int64)
        )
        sweep(book, facts, mark, low, high, health.equity, health.required, health.best)
        if self.group_tiers:
            add_group_extra(book, facts, mark, low, high, health.required, health.best)
        needed = (book.long_open > 0) | (book.short_open > 0)
        needed[facts.coin[needed & (facts.coin >= 0)]] = True
        if (needed & (mark == 0)).any():
            spare_unpriced(book, facts, mark, health.equity, health.best)
        return health

    def allows(
        self,
        book: Book,
        facts: Facts,
        *,
        mark: I64,
        account: int,
        instrument: int,
        lots: int,
        cost: int,
        cash: int,
        scale: Ppm,
        taking: bool = False,
        extra: Money = Money(0),  # noqa: B008 - a number
    ) -> str:
        """Return why this change must be refused, or an empty string to allow it.

        Allowed when equity covers initial margin (times ``scale``, the breaker's) after the change,
        on the line included. Otherwise allowed only if it takes risk away: maintenance falls (or
        stays, and initial does not rise), while equity does not fall, or at least equity per
        maintenance does not, compared by cross-multiplication in Python's unbounded integers. What
        takes value out (``taking``: a withdrawal) has only the first way. ``extra`` is asked for
        beside both requirements: what else the account must hold after the change.

        Source
        ------
        dYdX v4 `x/subaccounts/lib/updates.go`, the ratio rule. Theirs lets no bankrupt account
        reduce in part, because its ratio falls; ours does, as long as its equity does not, and as
        long as it does reduce: a bankrupt account has nothing with which to answer for a bet.
        """
        crowd = open_after(book, instrument, lots)
        before, after = np.zeros(3, np.int64), np.zeros(3, np.int64)
        assess_account(book, facts, mark, account, instrument, 0, 0, 0, crowd, before)
        assess_account(book, facts, mark, account, instrument, lots, cost, cash, crowd, after)
        if self.group_tiers:
            trade = instrument, lots, crowd
            add_account_extra(book, facts, mark, account, -1, instrument, 0, crowd, before)
            add_account_extra(book, facts, mark, account, account, *trade, after)
            if instrument >= 0 and hurts_a_sibling(book, facts, mark, account, *trade):
                return "sibling_below_maintenance"
        old_equity, old_required = int(before[0]), int(before[1])
        equity, required = int(after[0]), int(after[1])
        initial = -(-int(after[2]) * scale // PPM)
        if equity >= max(initial, required) + extra:
            return ""
        if taking:
            return "below_initial_margin"
        safer = required < old_required or (required == old_required and after[2] <= before[2])
        kept = old_required > 0 and equity * old_required >= old_equity * required
        kept = kept or (equity >= old_equity and _shrinks(book, account, instrument, lots))
        return "" if safer and kept else "below_initial_margin"

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        if self.group_tiers:
            said.append("margin: tiers apply to all accounts of one owner together, side by side")
        for symbol, rule in self.instruments.items():
            name = "every other instrument" if symbol == "*" else symbol
            parts = [
                f"from {t.floor / 1e6:,.0f}: {t.maintenance / 1e4:g} % to stay, "
                f"{t.initial / 1e4:g} % to open"
                for t in rule.tiers
            ]
            said.append(f"margin, {name}: " + "; ".join(parts))
            if rule.open_high:
                said.append(
                    f"margin, {name}: opening asks more from {rule.open_low / 1e6:,.0f} of open "
                    f"interest on, and everything at {rule.open_high / 1e6:,.0f}"
                )
            if rule.premium:
                said.append(f"margin, {name}: large positions ask more (square root of size)")
            if rule.counted_max:
                said.append(f"margin, {name}: counts up to {rule.counted_max / 1e6:,.0f} only")
            if rule.penalty:
                said.append(f"margin, {name}: liquidation costs {rule.penalty / 1e4:g} %")
        if self.cash_debt_maintenance:
            said.append(
                f"margin: a debt must be covered {1 + self.cash_debt_maintenance / 1e6:.4g} times"
            )
        said += self.volatility.describe()
        return said or ["margin: nothing is asked; an account is liquidated when bankrupt"]


def _shrinks(book: Book, account: int, instrument: int, lots: int) -> bool:
    """Return whether a change of ``lots`` leaves the position smaller, and on its own side."""
    row = row_of(book, account, instrument) if instrument >= 0 else -1
    held = int(book.lots[row]) if row >= 0 else 0
    return abs(held + lots) <= abs(held) and held * (held + lots) >= 0


def open_after(book: Book, instrument: int, lots: int) -> int:
    """Return the one-sided open interest of ``instrument`` if somebody traded ``lots``.

    An upper bound: what a trade closes is not subtracted from the other side.
    """
    if instrument < 0:
        return 0
    long = int(book.long_open[instrument]) + max(lots, 0)
    short = int(book.short_open[instrument]) + max(-lots, 0)
    return max(long, short)


def _instrument_columns(venue: Venue) -> Mapping[str, Any]:
    def of(read: dict[type, str], default: int) -> I64:
        named = [(i, read.get(type(i))) for i in venue.instruments]
        return np.array([int(getattr(i, n)) if n else default for i, n in named], np.int64)

    kinds = np.array([int(KIND[type(i)]) for i in venue.instruments], np.int64)
    coins = [venue.index(i.coin) if isinstance(i, Inverse) else -1 for i in venue.instruments]
    assert all(kinds[c] == Kind.SPOT for c in coins if c >= 0)
    return {
        "kind": kinds,
        "tick_value": of({Linear: "tick_value", Spot: "tick_value"}, 0),
        "units": of({Spot: "units"}, 1),
        "contract": of({Inverse: "contract"}, 0),
        "face": of({Inverse: "face"}, 0),
        "coin": np.array(coins, np.int64),
        "price_min": np.array([venue.price_min(i) for i in venue.instruments], np.int64),
        "price_max": np.array([i.price_max for i in venue.instruments], np.int64),
        "lots_max": np.array([i.lots_max for i in venue.instruments], np.int64),
    }
