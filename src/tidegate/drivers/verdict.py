"""What a run is judged by: a meter that listens to effects, and the verdict it reaches.

Everything is read from events and effects, nothing from what the engine thinks of itself; sums of
Money are exact, volumes, ratios and times are statistics (float64 inside).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from tidegate.domain.book import EXTERNAL, FIRST_USER, FUND, POOL
from tidegate.domain.effects import (
    AuctionsOpened,
    BandMoved,
    BreakerMoved,
    Decision,
    DeficitFound,
    Deleveraged,
    HealthBreached,
    HealthMoved,
    MarketMoved,
    MarkMoved,
    OrdersPlaced,
    PoolMoved,
    PositionsMoved,
    Posted,
    PostedBatch,
    ProfileMoved,
    Rejected,
    TakenOver,
)
from tidegate.domain.events import ENDOGENOUS, DepthObserved, Input, PriceObserved
from tidegate.domain.units import I64, PPM, SECOND, Money, Ppm, unpack
from tidegate.drivers.casualties import F64, Casualties, initial_rate, notionals
from tidegate.drivers.series import Sampler, Series
from tidegate.engine.following import facts_now
from tidegate.engine.state import State
from tidegate.kernels.bands_limit import PAUSED
from tidegate.safeguards.stack import Stack


HALT: Final = 4
RUNGS: Final = ("normal", "caution", "reduce_only", "auction_only", "halt")
EFFICIENCY_EVERY: Final = 60 * SECOND  # initial margin of everybody is summed this often


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is judged by. Money is 1e-6 of the numeraire, rates are ppm."""

    bad_debt: Money  # by which accounts were bankrupt when nothing of them was left
    socialised_loss: Money
    uncovered: Money  # bad debt that nobody paid
    deficit_at_end: Money  # accounts still below zero when the recording ended
    adl_profit_taken: Money  # what deleveraged winners gave up against the mark
    adl_overshoot: Money  # the part of it that the fund could have paid instead
    adl_accounts: int
    adl_volume: Money
    fund_at_start: tuple[Money, ...]  # by tranche
    fund_used: tuple[Money, ...]
    peak_impact_ppm: Ppm  # largest displacement of a price by forced orders, either way
    forced_volume: Money  # sold, netted and deleveraged, at opening prices
    forced_by_shock: Money | None  # the same without any impact: a second run
    sold_volume: Money  # through the venue, at opening prices
    backstop_volume: Money = Money(0)  # taken over by providers and the pool, at opening prices
    backstop_forgone: Money = Money(0)  # what accounts gave up against the mark for it
    netted_volume: Money  # closed against one another, both sides, at opening prices
    peak_branching_ppm: Ppm
    orders: int
    accounts: int
    accounts_liquidated: int
    recovered_ppm: Ppm | None  # of what was sold, against the mark when it was ordered
    insolvent_seconds: float
    initial_margin_ppm: Ppm | None  # average of all accounts, over the size of all positions
    rung_seconds: tuple[float, ...]  # normal, caution, reduce_only, auction_only, halt
    events: int
    regenerated: int
    rejected: dict[str, int]
    digest: str
    paused_seconds: float = 0.0  # while a band or a market-wide level paused any instrument
    penalties: Money = Money(0)  # charged to liquidated accounts
    health_breaches: int = 0  # fills that left their account worse, where a stack forbids it
    sale_cost: Money = Money(0)  # what was sold fetched less than the mark when it was ordered

    @property
    def cascade_ratio(self) -> float | None:
        """Forced volume over the volume forced by the shock alone; None until it was measured."""
        if self.forced_by_shock is None:
            return None
        if self.forced_by_shock == 0:
            return 1.0 if self.forced_volume == 0 else None
        return self.forced_volume / self.forced_by_shock

    @property
    def loss(self) -> int:
        """Everything somebody had to lose: bad debt and what was still below zero at the end."""
        return self.bad_debt + self.deficit_at_end

    @property
    def borne_by_others(self) -> int:
        """What other accounts lost by it: given up, shared, or paid by nobody; the fund aside."""
        return self.adl_profit_taken + self.socialised_loss + self.uncovered

    def with_shock(self, calm: "Verdict") -> "Verdict":
        """Return this verdict with the volume of ``calm``, the same run without any impact."""
        return msgspec.structs.replace(self, forced_by_shock=calm.forced_volume)

    def to_json(self) -> dict[str, Any]:
        """Return the published keys: Money as decimal units of the numeraire, ratios as numbers."""

        def units(money: int | None) -> float | None:
            return None if money is None else money / PPM

        return {
            "bad_debt": units(self.bad_debt),
            "socialised_loss": units(self.socialised_loss),
            "adl_profit_taken": units(self.adl_profit_taken),
            "adl_overshoot": units(self.adl_overshoot),
            "fund_used": units(sum(self.fund_used)),
            "peak_impact_ppm": self.peak_impact_ppm,
            "cascade_ratio": self.cascade_ratio,
            "peak_branching_ratio": self.peak_branching_ppm / PPM,
            "accounts_liquidated": self.accounts_liquidated,
            "recovery_ratio": units(self.recovered_ppm),
            "insolvent_seconds": self.insolvent_seconds,
            "capital_efficiency": units(self.initial_margin_ppm),
            "halt_seconds": self.rung_seconds[HALT],
            "regenerated_share": self.regenerated / self.events if self.events else 0.0,
            "digest": self.digest,
            "borne_by_others": units(self.borne_by_others),
            "uncovered": units(self.uncovered),
            "deficit_at_end": units(self.deficit_at_end),
            "fund_used_by_tranche": [units(m) for m in self.fund_used],
            "fund_at_start_by_tranche": [units(m) for m in self.fund_at_start],
            "forced_volume": units(self.forced_volume),
            "forced_volume_by_shock_alone": units(self.forced_by_shock),
            "sold_volume": units(self.sold_volume),
            "netted_volume": units(self.netted_volume),
            "backstop_volume": units(self.backstop_volume),
            "backstop_forgone": units(self.backstop_forgone),
            "adl_volume": units(self.adl_volume),
            "adl_accounts": self.adl_accounts,
            "accounts": self.accounts,
            "orders": self.orders,
            "rung_seconds": dict(zip(RUNGS, self.rung_seconds, strict=True)),
            "paused_seconds": self.paused_seconds,
            "events": self.events,
            "rejected": self.rejected,
            "penalties": units(self.penalties),
            "health_breaches": self.health_breaches,
            "sale_cost": units(self.sale_cost),
        }


class Meter:
    """Listens to one run: call `observe` after every step, then `verdict` at the end."""

    def __init__(self, stack: Stack) -> None:
        n = len(stack.venue.instruments)
        self._stack = stack
        self._tranches = len(stack.declaration.waterfall.tranches)
        self._sampler = Sampler(n)
        self.casualties = Casualties.none(stack.venue.limits.accounts_max)
        self._mark: I64 = np.zeros(n, np.int64)
        self._opening: I64 = np.zeros(n, np.int64)
        self._seen: list[dict[int, int]] = [{} for _ in range(n)]
        self._impact = [0] * n
        self._ordered: dict[int, int] = {}  # account << 32 | instrument: mark when ordered
        self._fund_at_start: I64 | None = None
        self._fund_used: I64 = np.zeros(POOL - FUND, np.int64)
        self._money: Counter[str] = Counter()
        self._volume = {"sold": 0.0, "netted": 0.0, "adl": 0.0, "backstop": 0.0}
        self._value, self._proceeds = 0.0, 0.0
        self._peak_impact, self._peak_near = 0, 0
        self._events, self._regenerated, self._orders = 0, 0, 0
        self._rejected: Counter[str] = Counter()
        self._breaches = 0
        self._now: int | None = None
        self._rung, self._deficit, self._fund = 0, 0, 0
        self._rung_ns = [0] * len(RUNGS)
        self._insolvent_ns = 0
        self._paused: set[int] = set()  # instruments; -1: everything
        self._paused_ns = 0
        self._rates: list[float] = []
        self._rated_at: int | None = None
        self._opened = False
        self._hear: dict[type[Any], Callable[[Any], None]] = {
            MarkMoved: self._mark_moved,
            ProfileMoved: self._profile_moved,
            HealthMoved: self._health_moved,
            BreakerMoved: self._breaker_moved,
            BandMoved: self._band_moved,
            MarketMoved: self._market_moved,
            OrdersPlaced: self._orders_placed,
            AuctionsOpened: self._orders_placed,
            PositionsMoved: self._positions_moved,
            Deleveraged: self._deleveraged,
            TakenOver: self._taken_over,
            PoolMoved: self._pool_moved,
            DeficitFound: self._deficit_found,
            Posted: self._posted,
            PostedBatch: self._posted_batch,
            Rejected: self._refused,
            HealthBreached: self._breached,
        }

    @property
    def series(self) -> Series:
        """What was sampled so far."""
        return self._sampler.series()

    @property
    def bad_debt(self) -> int:
        """Money of bad debt so far."""
        return self._money["bad_debt"]

    @property
    def forced(self) -> int:
        """Money of forced volume so far, at opening prices."""
        return sum(round(v) for v in self._volume.values())

    @property
    def deleveraged(self) -> int:
        """Money of what was closed against winners so far, at opening prices."""
        return round(self._volume["adl"])

    def resume(self, state: State) -> None:
        """Go on from a state that had a past of its own, instead of from nothing."""
        self._mark[:] = self._opening[:] = state.mark
        self._rung, self._now = state.rung, state.now
        self._fund_at_start = state.book.cash[FUND:POOL].copy()

    def observe(
        self,
        seq: int,  # noqa: ARG002 - observers of a replay share one signature
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        """Take note of one step: the event, its effects, and the displacement of every price."""
        begun = self._sampler.advance(event.ts)
        self._pass_time(event.ts)
        self._events += 1
        self._feel(event, impact_ppm)
        hear = self._hear
        for effect in effects:
            listener = hear.get(type(effect))
            if listener is not None:
                listener(effect)
        fund = state.book.cash[FUND:POOL]
        if self._fund_at_start is None:
            self._fund_at_start = fund.copy()
        self._fund = int(fund.sum())
        self._sampler.put("fund", fund, slice(None))
        if begun:
            self._look_around(state)

    def verdict(self, state: State) -> Verdict:
        """Return the judgement of everything observed; ``state`` is the one after the last step."""
        self._look_around(state, force=True)
        money, volume = self._money, {n: Money(round(v)) for n, v in self._volume.items()}
        at_start = self._fund_at_start if self._fund_at_start is not None else self._fund_used * 0
        uncoverable = max(0, money["bad_debt"] - int(at_start.sum()))
        hit = self.casualties
        return Verdict(
            bad_debt=Money(money["bad_debt"]),
            socialised_loss=Money(money["socialised"]),
            uncovered=Money(money["uncovered"]),
            deficit_at_end=Money(self._deficit),
            adl_profit_taken=Money(money["forgone"]),
            adl_overshoot=Money(max(0, money["forgone"] - uncoverable)),
            adl_accounts=int(hit.deleveraged.size),
            adl_volume=volume["adl"],
            fund_at_start=tuple(Money(m) for m in at_start[: self._tranches].tolist()),
            fund_used=tuple(Money(m) for m in self._fund_used[: self._tranches].tolist()),
            peak_impact_ppm=Ppm(self._peak_impact),
            forced_volume=Money(sum(volume.values())),
            forced_by_shock=None,
            sold_volume=volume["sold"],
            netted_volume=volume["netted"],
            backstop_volume=volume["backstop"],
            backstop_forgone=Money(money["given"]),
            peak_branching_ppm=Ppm(self._peak_near),
            orders=self._orders,
            accounts=state.book.accounts - FIRST_USER,
            accounts_liquidated=int(hit.liquidated.size),
            recovered_ppm=Ppm(round(PPM * self._proceeds / self._value)) if self._value else None,
            insolvent_seconds=self._insolvent_ns / SECOND,
            initial_margin_ppm=Ppm(round(PPM * float(np.mean(self._rates))))
            if self._rates
            else None,
            rung_seconds=tuple(ns / SECOND for ns in self._rung_ns),
            events=self._events,
            regenerated=self._regenerated,
            rejected=dict(sorted(self._rejected.items())),
            digest=state.digest(),
            paused_seconds=self._paused_ns / SECOND,
            penalties=Money(money["penalty"]),
            health_breaches=self._breaches,
            sale_cost=Money(max(0, round(self._value - self._proceeds))),
        )

    def _pass_time(self, ts: int) -> None:
        elapsed = 0 if self._now is None else max(0, ts - self._now)
        self._now = ts
        self._rung_ns[self._rung] += elapsed
        if self._deficit > self._fund:
            self._insolvent_ns += elapsed
        if self._paused:
            self._paused_ns += elapsed

    def _feel(self, event: Input, impact_ppm: Sequence[int]) -> None:
        for i, now in enumerate(impact_ppm):
            if now != self._impact[i]:
                self._impact[i] = now
                self._peak_impact = max(self._peak_impact, abs(now))
                self._sampler.peak("impact", now, i)
        if isinstance(event, ENDOGENOUS):
            self._regenerated += 1
        elif isinstance(event, (PriceObserved, DepthObserved)):
            if not 0 <= event.instrument < len(self._impact):
                return  # the engine has rejected it
            displaced = self._impact[event.instrument]
            self._regenerated += displaced != 0
            if isinstance(event, PriceObserved):
                # The price without us: what was recorded, found again from the displaced one.
                seen = self._seen[event.instrument]
                seen[event.source] = round(event.price * PPM / (PPM + displaced))
                middle = sorted(seen.values())[(len(seen) - 1) // 2]
                self._sampler.put("reference", middle, event.instrument)

    def _look_around(self, state: State, *, force: bool = False) -> None:
        now = self._now or 0
        if self._rated_at is not None and now - self._rated_at < EFFICIENCY_EVERY and not force:
            return
        grouped = self._stack.declaration.margin.group_tiers
        rate = initial_rate(state.book, facts_now(state, self._stack), self._mark, grouped=grouped)
        if rate is None:
            return
        self._rated_at = now
        self._rates.append(rate)
        if not self._opened:
            self._opened = True
            health = self._stack.declaration.margin.assess(
                state.book, state.facts, mark=self._mark, low=self._mark, high=self._mark
            )
            self.casualties.open(state.book, state.facts, health.equity, self._mark)

    def _mark_moved(self, effect: MarkMoved) -> None:
        self._mark[effect.instrument] = effect.price
        if not self._opening[effect.instrument]:
            self._opening[effect.instrument] = effect.price
        self._sampler.put("mark", effect.price, effect.instrument)

    def _profile_moved(self, effect: ProfileMoved) -> None:
        self._peak_near = max(self._peak_near, effect.near)
        self._sampler.peak("near", effect.near, effect.instrument)
        self._sampler.profile(effect.instrument, unpack(effect.down), unpack(effect.up))

    def _health_moved(self, effect: HealthMoved) -> None:
        self._deficit = effect.deficit
        self._sampler.peak("deficit", effect.deficit)
        self._sampler.peak("liquidatable", effect.liquidatable)

    def _breaker_moved(self, effect: BreakerMoved) -> None:
        self._rung = effect.rung
        self._sampler.peak("rung", effect.rung)

    def _band_moved(self, effect: BandMoved) -> None:
        if effect.phase == PAUSED:
            self._paused.add(effect.instrument)
        else:
            self._paused.discard(effect.instrument)

    def _market_moved(self, effect: MarketMoved) -> None:
        if effect.until:
            self._paused.add(-1)
        else:
            self._paused.discard(-1)

    def _orders_placed(self, effect: OrdersPlaced | AuctionsOpened) -> None:
        account, instrument = unpack(effect.account), unpack(effect.instrument)
        key = (account << 32) | instrument
        self._ordered.update(zip(key.tolist(), self._mark[instrument].tolist(), strict=True))
        self._orders += account.size
        self._sampler.add("orders", account.size)
        np.add.at(self.casualties.orders, account, 1)
        self.casualties.hit(account, self._now or 0)

    def _positions_moved(self, effect: PositionsMoved) -> None:
        if effect.reason not in {"fill", "netted", "auctioned"}:
            return
        account, lots = unpack(effect.account), unpack(effect.lots)
        user = (account >= FIRST_USER) & (lots != 0)
        account, lots = account[user], lots[user]
        instrument, price = unpack(effect.instrument)[user], unpack(effect.price)[user]
        value = notionals(self._stack.facts, instrument, lots, price)
        np.add.at(self.casualties.forced, account, np.rint(value).astype(np.int64))
        self.casualties.hit(account, self._now or 0)
        if effect.reason == "netted":
            self._flow("netted", instrument, value)
            self._volume["netted"] += self._at_opening(instrument, lots, price)
            return
        self._volume["sold"] += self._at_opening(instrument, lots, price)
        sold = lots < 0
        self._flow("sold", instrument[sold], value[sold])
        self._flow("bought", instrument[~sold], value[~sold])
        keys = ((account << 32) | instrument).tolist()
        pairs = zip(keys, price.tolist(), strict=True)
        mark = np.array([self._ordered.get(key) or paid for key, paid in pairs], np.float64)
        worth = notionals(self._stack.facts, instrument, lots, mark.astype(np.int64))
        self._value += float(worth.sum())
        # A sale below the mark loses value, and so does a purchase above it.
        self._proceeds += float((worth * (1 - np.sign(lots) * (price - mark) / mark)).sum())

    def _deleveraged(self, effect: Deleveraged) -> None:
        account, lots, forgone = (unpack(c) for c in (effect.account, effect.lots, effect.forgone))
        self._money["bad_debt"] += effect.deficit
        self._money["forgone"] += int(forgone.sum())
        instrument = np.full(lots.size, effect.instrument, np.int64)
        price = np.full(lots.size, effect.mark, np.int64)
        value = notionals(self._stack.facts, instrument, lots, price)
        self._volume["adl"] += self._at_opening(instrument, lots, price)
        self._flow("adl", instrument, value)
        hit = self.casualties
        np.add.at(hit.lost, account, np.rint(value).astype(np.int64))
        np.add.at(hit.forgone, account, forgone)
        bankrupt, closed = unpack(effect.bankrupt), np.abs(unpack(effect.closed))
        part = effect.deficit * closed.astype(np.float64) / max(1, int(closed.sum()))
        np.add.at(hit.deficit, bankrupt, np.rint(part).astype(np.int64))
        taken = value.sum() * closed.astype(np.float64) / max(1, int(closed.sum()))
        np.add.at(hit.forced, bankrupt, np.rint(taken).astype(np.int64))
        hit.hit(bankrupt, self._now or 0)
        self._sampler.put("bad_debt", self._money["bad_debt"])
        self._sampler.put("forgone", self._money["forgone"])

    def _taken_over(self, effect: TakenOver) -> None:
        columns = (effect.account, effect.instrument, effect.lots, effect.mark)
        self._taken(*(unpack(column) for column in columns))
        self._money["given"] += int(unpack(effect.forgone).sum())

    def _pool_moved(self, effect: PoolMoved) -> None:
        asset = unpack(effect.asset)
        account = np.full(asset.size, effect.account, np.int64)
        self._taken(account, asset, unpack(effect.lots), self._mark[asset])

    def _taken(self, account: I64, instrument: I64, lots: I64, mark: I64) -> None:
        value = notionals(self._stack.facts, instrument, lots, mark)
        np.add.at(self.casualties.forced, account, np.rint(value).astype(np.int64))
        self.casualties.hit(account, self._now or 0)
        self._volume["backstop"] += self._at_opening(instrument, lots, mark)

    def _deficit_found(self, effect: DeficitFound) -> None:
        self._money["bad_debt"] += effect.amount
        self._money["socialised"] += effect.socialised
        self._money["uncovered"] += effect.uncovered
        self.casualties.deficit[effect.account] += effect.amount
        self._sampler.put("bad_debt", self._money["bad_debt"])
        self._sampler.put("socialised", self._money["socialised"])

    def _posted(self, effect: Posted) -> None:
        if effect.reason == "fund" and FUND <= effect.debit < POOL:
            self._fund_used[effect.debit - FUND] += effect.amount

    def _posted_batch(self, effect: PostedBatch) -> None:
        if effect.reason == "penalty":
            self._money["penalty"] -= int(unpack(effect.amount).sum())
        if effect.reason != "fund" or effect.counter == EXTERNAL:
            return
        account, amount = unpack(effect.account), unpack(effect.amount)
        if FUND <= effect.counter < POOL:
            self._fund_used[effect.counter - FUND] += int(amount.sum())
        drawn = (account >= FUND) & (account < POOL) & (amount < 0)
        np.subtract.at(self._fund_used, account[drawn] - FUND, amount[drawn])

    def _breached(self, effect: HealthBreached) -> None:
        self._breaches += len(effect.account) // 8

    def _refused(self, effect: Rejected) -> None:
        self._rejected[effect.code] += 1

    def _flow(self, name: str, instrument: I64, value: F64) -> None:
        if instrument.size:
            per = np.bincount(instrument, weights=value, minlength=self._mark.size)
            self._sampler.add(name, np.rint(per).astype(np.int64), slice(None))

    def _at_opening(self, instrument: I64, lots: I64, price: I64) -> float:
        opening = self._opening[instrument]
        fixed = np.where(opening > 0, opening, price)
        return float(notionals(self._stack.facts, instrument, lots, fixed).sum())
