"""Where a script stands: its clock, decimals that become integers, and what it can see."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from tidegate.domain.book import FIRST_USER, row_of
from tidegate.domain.effects import Decision, PositionsMoved, Posted, PostedBatch, Rejected
from tidegate.domain.events import (
    AuctionTaken,
    BidPlaced,
    BookImported,
    ClockTicked,
    CommitmentMade,
    Deposited,
    Input,
    ParameterChanged,
    ParameterProposed,
    PoolJoined,
    PriceObserved,
    Traded,
    Withdrawn,
)
from tidegate.domain.instrument import CASH
from tidegate.domain.units import PPM, SECOND, Amount, Lots, Money, Nanos, Ppm, Ticks, pack, unpack
from tidegate.domain.venue import Venue
from tidegate.drivers.replay import Replay
from tidegate.engine.auctions import Offer, offers
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.engine.watch import judged_facts
from tidegate.safeguards.stack import Stack


SALES = ("fill", "auctioned")
EPOCH = 1_600_000_000 * SECOND


@dataclass(slots=True)
class Scene:
    """One run of a script: `at` moves the clock, the verbs make events at that moment."""

    venue: Venue
    stack: Stack
    now: int = EPOCH
    turning: Replay = field(init=False)
    refused: Counter[str] = field(default_factory=Counter[str])
    moved: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    paid: Counter[str] = field(default_factory=Counter[str])
    worth: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    notes: dict[str, float] = field(default_factory=dict[str, float])
    _names: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def state(self) -> State:
        """The engine's state after everything so far."""
        return self.turning.state

    def at(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Set the clock to so long after the beginning; it never runs backwards."""
        due = EPOCH + round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * SECOND)
        assert due >= self.now, "a script runs forwards"
        self.now = due

    # ------------------------------------------------------------------------ integers

    def asset(self, symbol: str) -> int:
        """Return the column of a symbol, or that of cash."""
        return CASH if symbol == self.venue.numeraire else self.venue.index(symbol)

    def lots(self, symbol: str, size: float) -> int:
        """Return a size in lots, or in smallest units of a spot asset, to the nearest."""
        i = self.asset(symbol)
        if i == CASH:
            return round(size * PPM)
        one = self.venue.instruments[i]
        return round(size / float(Decimal(one.lot_size)))

    def size(self, symbol: str, lots: int) -> float:
        """Return lots, or smallest units of a spot asset, as a size."""
        one = self.venue.instruments[self.venue.index(symbol)]
        return lots * float(Decimal(one.lot_size))

    def ticks(self, symbol: str, price: float) -> Ticks:
        """Return a price in ticks, to the nearest, at least 1."""
        return Ticks(max(1, round(price / self.tick(symbol))))

    def tick(self, symbol: str) -> float:
        """Return the size of a tick in units of the numeraire."""
        return float(Decimal(self.venue.instruments[self.venue.index(symbol)].tick_size))

    def row(self, name: str) -> int:
        """Return the ledger row of an account of the opening book."""
        return FIRST_USER + self._names[name]

    # ---------------------------------------------------------------------------- verbs

    def book(self, rows: Iterable["Holder"]) -> BookImported:
        """Return the opening book: who has how much cash, and what else."""
        held = list(rows)
        self._names = {h.name: k for k, h in enumerate(held)}
        columns = [
            (k, self.asset(symbol), self.lots(symbol, size), self._entry(symbol, entry))
            for k, h in enumerate(held)
            for symbol, size, entry in h.holds
        ]
        account, instrument, lots, entry = np.array(columns or np.empty((0, 4)), np.int64).T
        return BookImported(
            ts=Nanos(self.now),
            names=tuple(h.name for h in held),
            owner=pack(np.array([self._names[h.owner or h.name] for h in held], np.int64)),
            cash=pack(np.array([round(h.cash * PPM) for h in held], np.int64)),
            account=pack(account),
            instrument=pack(instrument),
            lots=pack(lots),
            entry=pack(entry),
        )

    def _entry(self, symbol: str, entry: float) -> int:
        return self.ticks(symbol, entry) if entry else 1

    def price(
        self, symbol: str, price: float, *sources: str, age: float = 0.0, width: float = 0.0
    ) -> Iterator[PriceObserved]:
        """Yield what ``sources`` (all, where none is named) say now; ``age`` in seconds."""
        for source in sources or self.venue.sources:
            yield PriceObserved(
                ts=Nanos(self.now),
                instrument=self.venue.index(symbol),
                source=self.venue.sources.index(source),
                price=self.ticks(symbol, price),
                published=Nanos(self.now - round(age * SECOND)),
                confidence=Ticks(self.ticks(symbol, width)) if width else Ticks(0),
            )

    def deposit(self, name: str, symbol: str, size: float) -> Deposited:
        """Return a deposit, or the repayment of a loan."""
        return Deposited(
            ts=Nanos(self.now),
            account=self.row(name),
            amount=Amount(self.lots(symbol, size)),
            asset=self.asset(symbol),
        )

    def withdraw(self, name: str, symbol: str, size: float) -> Withdrawn:
        """Return a request to withdraw, or to borrow."""
        return Withdrawn(
            ts=Nanos(self.now),
            account=self.row(name),
            amount=Amount(self.lots(symbol, size)),
            asset=self.asset(symbol),
        )

    def trade(
        self,
        taker: str,
        symbol: str,
        size: float,
        price: float,
        maker: str = "",
        *,
        reduces: bool = False,
    ) -> Traded:
        """Return a trade with ``maker``, or with the world outside."""
        return Traded(
            ts=Nanos(self.now),
            instrument=self.venue.index(symbol),
            taker=self.row(taker),
            maker=self.row(maker) if maker else 0,
            lots=Lots(self.lots(symbol, size)),
            price=self.ticks(symbol, price),
            reduces=reduces,
        )

    def commitment(
        self, name: str, symbol: str, *, long: float, short: float, discount: int = 0
    ) -> CommitmentMade:
        """Return a provider's promise to take over up to so much; ``discount`` in ppm."""
        return CommitmentMade(
            ts=Nanos(self.now),
            account=self.row(name),
            instrument=self.venue.index(symbol),
            long_max=Lots(self.lots(symbol, long)),
            short_max=Lots(self.lots(symbol, short)),
            discount=Ppm(discount),
        )

    def join(self, name: str, cash: float) -> PoolJoined:
        """Return a deposit into the pool that repays loans."""
        return PoolJoined(
            ts=Nanos(self.now), account=self.row(name), amount=Money(round(cash * PPM))
        )

    def offers(self) -> list[Offer]:
        """Return the auctions that are open now, as bidders see them."""
        return offers(self.state, self.now, self.stack)

    def take(self, offer: Offer, share: float = 1.0) -> AuctionTaken:
        """Return the taking of an auction by the world outside, at what it asks."""
        lots = max(1, round(abs(offer.lots) * share))
        return AuctionTaken(
            ts=Nanos(self.now), auction=offer.auction, bidder=0, lots=Lots(lots), limit=offer.price
        )

    def bid(self, offer: Offer, price: float) -> BidPlaced:
        """Return a bid of the world outside for all of an auction in a batch."""
        symbol = self.venue.instruments[offer.instrument].symbol
        return BidPlaced(
            ts=Nanos(self.now),
            auction=offer.auction,
            bidder=0,
            lots=Lots(abs(offer.lots)),
            limit=self.ticks(symbol, price),
        )

    def parameter(self, name: str, value: int) -> ParameterChanged:
        """Return a change of a parameter that is in force at once."""
        return ParameterChanged(ts=Nanos(self.now), name=name, value=value)

    def propose(self, name: str, value: int, *, after: float) -> ParameterProposed:
        """Return a change that is announced now, to be in force ``after`` seconds."""
        due = Nanos(self.now + round(after * SECOND))
        return ParameterProposed(ts=Nanos(self.now), name=name, value=value, effective_at=due)

    def pass_time(self) -> ClockTicked:
        """Return the passing of time."""
        return ClockTicked(ts=Nanos(self.now))

    def makers_show(self, symbol: str, share: float) -> None:
        """Let the simulated market show this share of its usual depth from now on."""
        self.turning.market.show(self.venue.index(symbol), share)

    # ---------------------------------------------------------------------------- sight

    def mark(self, symbol: str) -> float:
        """Return what the engine believes a price to be."""
        return int(self.state.mark[self.venue.index(symbol)]) * self.tick(symbol)

    def cash(self, name: str) -> float:
        """Return the cash of an account; below zero it is owed."""
        return int(self.state.book.cash[self.row(name)]) / PPM

    def holds(self, name: str, symbol: str) -> float:
        """Return what an account holds of something, signed."""
        i = self.venue.index(symbol)
        row = row_of(self.state.book, self.row(name), i)
        lots = int(self.state.book.lots[row]) if row >= 0 else 0
        return self.size(symbol, lots)

    def margin(self, name: str) -> tuple[float, float]:
        """Return (equity, maintenance) of an account at the marks, in units of the numeraire."""
        view = View.of(self.state)
        facts = judged_facts(self.state, self.state.now, self.stack)
        health = self.stack.declaration.margin.assess(
            self.state.book, facts, mark=view.mark, low=view.low, high=view.high
        )
        row = self.row(name)
        return int(health.equity[row]) / PPM, int(health.required[row]) / PPM

    def fund(self) -> float:
        """Return what is left of the fund."""
        return self.stack.declaration.waterfall.fund(self.state.book) / PPM

    # ------------------------------------------------------------------------- measures

    def observe(
        self,
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        """Count what was refused, what moved and who was paid."""
        del seq, event, state, impact_ppm
        for effect in effects:
            if isinstance(effect, Rejected):
                self.refused[effect.code] += 1
            elif isinstance(effect, PositionsMoved):
                self._moved(effect)
            elif isinstance(effect, Posted):
                self.paid[effect.reason] += effect.amount if effect.asset == CASH else 0
            elif isinstance(effect, PostedBatch) and effect.asset == CASH:
                self.paid[effect.reason] += int(np.abs(unpack(effect.amount)).sum())

    def _moved(self, effect: PositionsMoved) -> None:
        account, instrument = unpack(effect.account), unpack(effect.instrument)
        lots, price = np.abs(unpack(effect.lots)), unpack(effect.price)
        for i in np.unique(instrument[account >= FIRST_USER]).tolist():
            chosen = (account >= FIRST_USER) & (instrument == i)
            key = effect.reason, self.venue.instruments[int(i)].symbol
            self.moved[key] += int(lots[chosen].sum())
            self.worth[key] += sum(
                n * p for n, p in zip(lots[chosen].tolist(), price[chosen].tolist(), strict=True)
            )
            gift = chosen & (price * 100 < int(self.state.mark[i]))
            if effect.reason in SALES and gift.any():
                self.moved["for nothing", key[1]] += int(lots[gift].sum())

    def measures(self) -> dict[str, float]:
        """Return what was counted.

        ``refused.CODE``, ``moved.REASON.SYMBOL`` and its mean ``price.REASON.SYMBOL``,
        ``paid.REASON``.
        """
        return {
            **self.notes,
            **{f"refused.{code}": float(n) for code, n in self.refused.items()},
            **{
                f"moved.{why}.{symbol}": self.size(symbol, n)
                for (why, symbol), n in self.moved.items()
            },
            **{
                f"price.{why}.{symbol}": worth / self.moved[why, symbol] * self.tick(symbol)
                for (why, symbol), worth in self.worth.items()
            },
            **{f"paid.{why}": amount / PPM for why, amount in self.paid.items()},
        }


@dataclass(frozen=True, slots=True)
class Holder:
    """An account of the opening book; ``holds`` are (symbol, signed size, entry price or 0)."""

    name: str
    cash: float = 0.0
    holds: tuple[tuple[str, float, float], ...] = ()
    owner: str = ""
