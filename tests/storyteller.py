"""Reads a story and tells what came of it: one line an event, the effects below it, in plain text.

A story is a TOML file: a stack, and a script with one event a line. Quantities and prices are
decimals of the venue below; time moves with ``+5s``, ``+2m`` or ``+1h`` in front of a line.

    account NAME CASH [SIZE SYMBOL @ ENTRY]...     all such lines make one import
    account NAME CASH of OWNER [...]               an isolated account
    price SYMBOL PRICE [from SOURCE] [width WIDTH] [late SECONDS]
    depth SYMBOL SIZE x PRICE ... | SIZE x PRICE ...
    deposit NAME SIZE SYMBOL, withdraw NAME SIZE SYMBOL, transfer NAME NAME CASH
    trade NAME SIZE SYMBOL @ PRICE with NAME       or with outside
    funding SYMBOL PERCENT, interest SYMBOL PERCENT
    fill NAME SYMBOL SIZE @ PRICE, expire NAME SYMBOL, again    (the last answer once more)
    parameter NAME VALUE, signal NAME VALUE, tick
    show NAME ...                                  what they have now
    expect ...                                     see `Teller._expect`
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from outside import Ledger, Margin
from tidegate.domain.book import EXTERNAL, FIRST_USER, FUND, ROUNDING, TREASURY, row_of
from tidegate.domain.effects import (
    AccountsOpened,
    BreakerMoved,
    DeficitFound,
    Deleveraged,
    HealthMoved,
    Judged,
    JudgementOwed,
    MarkMoved,
    OrdersPlaced,
    OrdersReduced,
    ParameterMoved,
    PositionsMoved,
    Posted,
    PostedBatch,
    ProfileMoved,
    Rejected,
    SignalKept,
    StagesTaken,
    ThrottleMoved,
)
from tidegate.domain.events import (
    BookImported,
    ClockTicked,
    Deposited,
    DepthObserved,
    FundingPaid,
    Input,
    InterestAccrued,
    OrdersExpired,
    OrdersFilled,
    ParameterChanged,
    PriceObserved,
    SignalObserved,
    Traded,
    Transferred,
    Withdrawn,
)
from tidegate.domain.instrument import CASH, Inverse, Linear, Spot
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.domain.venue import Limits, Venue
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.stack import SafeguardStack, Stack


NOON = 1_700_049_600 * SECOND
VENUE = Venue(
    name="stories",
    instruments=(
        Linear(
            symbol="BTC", tick_size="1", lot_size="0.001", tick_value=1_000,
            price_max=1_000_000, lots_max=1_000_000,
        ),
        Linear(
            symbol="SOL", tick_size="0.01", lot_size="0.1", tick_value=1_000,
            price_max=1_000_000, lots_max=10_000_000, open_interest_max=100_000_000,
        ),
        Spot(
            symbol="ETH", tick_size="0.01", lot_size="0.000001", tick_value=10_000, units=1_000_000,
            price_max=10_000_000, lots_max=100_000_000_000, open_interest_max=10**13,
        ),
        Inverse(
            symbol="ETH-INV", coin="ETH", tick_size="0.01", lot_size="1", contract=100_000_000,
            face=1_000_000, price_max=10_000_000, lots_max=10_000_000, open_interest_max=10**8,
        ),
    ),
    limits=Limits(accounts_max=FIRST_USER + 20, positions_max=100, orders_max=20),
    sources=("a", "b", "c", "venue"),
)  # fmt: skip
SYSTEM = {"outside": EXTERNAL, "rounding": ROUNDING, "treasury": TREASURY, "clearing": 1}
SECONDS = {"s": 1, "m": 60, "h": 3_600}


def number(text: str) -> Decimal:
    return Decimal(text.replace("_", ""))


def dollars(money: int) -> str:
    return f"{Decimal(money) / PPM:,.6f}".rstrip("0").rstrip(".")


@dataclass
class Teller:
    """One story on its way: the engine, the clock, and the lines told so far."""

    stack: Stack
    state: State = field(init=False)
    now: int = NOON
    told: list[str] = field(default_factory=list)
    effects: list = field(default_factory=list)
    book: list[tuple] = field(default_factory=list)
    last: Input | None = None

    def __post_init__(self) -> None:
        self.state = State.genesis(self.stack)
        self.ledger = Ledger.of(self.state)
        self.inputs: list[Input] = []

    # ---------------------------------------------------------------- names and numbers

    def row(self, name: str) -> int:
        if name in SYSTEM:
            return SYSTEM[name]
        if name.startswith("fund"):
            return FUND + int(name[4:] or 0)
        return FIRST_USER + self.state.names.index(name)

    def name(self, row: int) -> str:
        for name, at in SYSTEM.items():
            if at == row:
                return name
        if row < FIRST_USER:
            return f"fund{row - FUND or ''}"
        return self.state.names[row - FIRST_USER]

    def asset(self, symbol: str) -> int:
        return CASH if symbol == "USD" else VENUE.index(symbol)

    def lots(self, i: int, size: str) -> int:
        if i == CASH:
            return int(number(size) * PPM)
        one = VENUE.instruments[i]
        return int(number(size) / Decimal(one.lot_size))

    def ticks(self, i: int, price: str) -> int:
        return int(number(price) / Decimal(VENUE.instruments[i].tick_size))

    def size(self, i: int, lots: int) -> str:
        if i == CASH:
            return f"{dollars(lots)} USD"
        one = VENUE.instruments[i]
        text = f"{Decimal(lots) * Decimal(one.lot_size):,f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {one.symbol}"

    def price(self, i: int, ticks: int) -> str:
        return f"{Decimal(ticks) * Decimal(VENUE.instruments[i].tick_size):,f}"

    # ------------------------------------------------------------------------ the script

    def tell(self, script: str) -> list[str]:
        """Return the whole story as lines; check it against books kept outside, twice."""
        for raw in script.strip().splitlines():
            line = raw.split("#")[0].strip()
            if not line:
                continue
            words = line.split()
            if words[0].startswith("+"):
                self.now += int(number(words[0][1:-1]) * SECONDS[words[0][-1]] * SECOND)
                words = words[1:]
            if words[0] == "account":
                self._account(words[1:])
                continue
            self._import()
            self._line(words)
        audit(self.state)
        again = State.genesis(self.stack)
        for event in self.inputs:
            step(again, event, self.stack)
        assert again.digest() == self.state.digest()
        return self.told

    def _line(self, words: list[str]) -> None:
        if words[0] == "expect":
            self._expect(words[1:])
        elif words[0] == "show":
            for name in words[1:]:
                self.told.append(f"           = {self.standing(name)}")
        else:
            event = getattr(self, f"_{words[0]}")(*words[1:])
            if words[0] in {"fill", "expire"}:
                self.last = event
            self.take(event, " ".join(words))

    def take(self, event: Input, said: str) -> None:
        since = (event.ts - NOON) // SECOND
        clock = f"{since // 3600}:{since // 60 % 60:02}:{since % 60:02}"
        self.told.append(f"{clock:>9}  {said}")
        self.inputs.append(event)
        self.effects = step(self.state, event, self.stack)
        self.ledger.take(self.effects)
        assert self.ledger.differs(self.state) == ""
        for effect in self.effects:
            for line in self._said(effect):
                self.told.append(f"           - {line}")

    def standing(self, name: str) -> str:
        account = self.row(name)
        margin, marks = Margin(self.state), self.state.mark.tolist()
        cash = dollars(int(self.state.book.cash[account]))
        held = [self.size(i, lots) for i, lots, _ in sorted(margin.held(account)) if lots]
        line = ", ".join([f"{name}: {cash} USD", *held])
        if account >= FIRST_USER and all(marks[i] for i, _, _ in margin.held(account)):
            equity, required = margin.totals(account, marks)
            line += f"; equity {dollars(equity)} of {dollars(required)}"
        return line

    # ------------------------------------------------------------------------- the events

    def _account(self, words: list[str]) -> None:
        name, cash, rest = words[0], words[1], words[2:]
        owner = name
        if rest[:1] == ["of"]:
            owner, rest = rest[1], rest[2:]
        held = [(rest[k], rest[k + 1], rest[k + 3]) for k in range(0, len(rest), 4)]
        self.book.append((name, owner, cash, held, " ".join(words)))

    def _import(self) -> None:
        if not self.book:
            return
        names = [name for name, *_ in self.book]
        rows = [
            (k, self.asset(symbol), self.lots(self.asset(symbol), size), entry)
            for k, (_, _, _, held, _) in enumerate(self.book)
            for size, symbol, entry in held
        ]
        columns = [(k, i, lots, self.ticks(i, entry)) for k, i, lots, entry in rows]
        account, i, lots, entry = np.array(columns or np.empty((0, 4)), np.int64).T
        event = BookImported(
            ts=self.now,
            names=tuple(names),
            owner=pack(np.array([names.index(owner) for _, owner, *_ in self.book])),
            cash=pack(np.array([self.lots(CASH, cash) for _, _, cash, *_ in self.book])),
            account=pack(account),
            instrument=pack(i),
            lots=pack(lots),
            entry=pack(entry),
        )
        said = [line for *_, line in self.book]
        self.book = []
        self.take(event, "import")
        place = len(self.told) - len([x for e in self.effects for x in self._said(e)])
        self.told[place:place] = [f"             {line}" for line in said]

    def _price(self, symbol: str, price: str, *more: str) -> PriceObserved:
        i, facts = VENUE.index(symbol), dict(zip(more[::2], more[1::2], strict=True))
        return PriceObserved(
            ts=self.now,
            instrument=i,
            source=VENUE.sources.index(facts.get("from", "a")),
            price=self.ticks(i, price),
            published=self.now - int(facts.get("late", "0")) * SECOND,
            confidence=self.ticks(i, facts.get("width", "0")),
        )

    def _depth(self, symbol: str, *levels: str) -> DepthObserved:
        i = VENUE.index(symbol)
        sides: list[list[tuple[int, int]]] = [[], []]
        side, words = 0, list(levels)
        while words:
            if words[0] == "|":
                side, words = 1, words[1:]
                continue
            sides[side].append((self.lots(i, words[0]), self.ticks(i, words[2])))
            words = words[3:]
        bids, asks = (np.array(s, np.int64).reshape(-1, 2) for s in sides)
        return DepthObserved(
            ts=self.now,
            instrument=i,
            bid_price=pack(bids[:, 1]),
            bid_lots=pack(bids[:, 0]),
            ask_price=pack(asks[:, 1]),
            ask_lots=pack(asks[:, 0]),
        )

    def _deposit(self, name: str, size: str, symbol: str) -> Deposited:
        asset = self.asset(symbol)
        return Deposited(
            ts=self.now, account=self.row(name), amount=self.lots(asset, size), asset=asset
        )

    def _withdraw(self, name: str, size: str, symbol: str) -> Withdrawn:
        asset = self.asset(symbol)
        return Withdrawn(
            ts=self.now, account=self.row(name), amount=self.lots(asset, size), asset=asset
        )

    def _transfer(self, source: str, target: str, cash: str) -> Transferred:
        return Transferred(
            ts=self.now,
            source=self.row(source),
            target=self.row(target),
            amount=self.lots(CASH, cash),
        )

    def _trade(self, name: str, size: str, symbol: str, _: str, price: str, *more: str) -> Traded:
        i = VENUE.index(symbol)
        return Traded(
            ts=self.now,
            instrument=i,
            taker=self.row(name),
            maker=self.row(more[1]),
            lots=self.lots(i, size),
            price=self.ticks(i, price),
        )

    def _funding(self, symbol: str, percent: str) -> FundingPaid:
        rate = int(number(percent.rstrip("%")) * 10**7)
        return FundingPaid(ts=self.now, instrument=VENUE.index(symbol), rate=rate)

    def _interest(self, symbol: str, percent: str) -> InterestAccrued:
        rate = int(number(percent.rstrip("%")) * 10**7)
        return InterestAccrued(ts=self.now, rate=rate, asset=self.asset(symbol))

    def order(self, name: str, symbol: str) -> int:
        orders = self.state.orders
        row = row_of(self.state.book, self.row(name), VENUE.index(symbol))
        (slot,) = np.flatnonzero((orders.key >= 0) & (orders.row == row))
        return int(orders.key[slot])

    def _fill(self, name: str, symbol: str, size: str, _: str, price: str) -> OrdersFilled:
        i = VENUE.index(symbol)
        columns = (self.order(name, symbol), self.lots(i, size), self.ticks(i, price))
        order, lots, ticks = (pack(np.array([c])) for c in columns)
        return OrdersFilled(ts=self.now, order=order, lots=lots, price=ticks)

    def _expire(self, name: str, symbol: str) -> OrdersExpired:
        order = pack(np.array([self.order(name, symbol)]))
        return OrdersExpired(ts=self.now, order=order, reason="timed out")

    def _again(self) -> Input:
        return msgspec.structs.replace(self.last, ts=self.now)

    def _parameter(self, name: str, value: str) -> ParameterChanged:
        return ParameterChanged(ts=self.now, name=name, value=int(number(value)))

    def _signal(self, name: str, value: str) -> SignalObserved:
        said = int(number(value) * PPM)
        return SignalObserved(ts=self.now, name=name, model="m", version="1", value=said)

    def _tick(self) -> ClockTicked:
        return ClockTicked(ts=self.now)

    # --------------------------------------------------------------------- expectations

    def _expect(self, words: list[str]) -> None:
        """Check one claim.

        refused CODE | nothing refused | no orders | rung NAME | quality SYMBOL NAME |
        mark SYMBOL PRICE | NAME SIZE SYMBOL
        """
        refused = [e.code for e in self.effects if isinstance(e, Rejected)]
        where = "\n".join(self.told[-12:])
        match words:
            case ["refused", code]:
                assert refused == [code], where
            case ["nothing", "refused"]:
                assert not refused, where
            case ["no", "orders"]:
                assert not any(isinstance(e, OrdersPlaced) for e in self.effects), where
                assert int(self.state.orders.counts[1]) == 0, where
            case ["rung", name]:
                assert Rung(self.state.rung).name.lower() == name, where
            case ["quality", symbol, name]:
                found = Quality(int(self.state.quality[VENUE.index(symbol)]))
                assert found.name.lower() == name, where
            case ["mark", symbol, price]:
                i = VENUE.index(symbol)
                assert int(self.state.mark[i]) == self.ticks(i, price), where
            case [name, size, symbol]:
                asset = self.asset(symbol)
                row = row_of(self.state.book, self.row(name), asset) if asset >= 0 else -1
                held = int(self.state.book.lots[row]) if row >= 0 else 0
                held = int(self.state.book.cash[self.row(name)]) if asset == CASH else held
                assert held == self.lots(asset, size), f"{self.size(asset, held)}\n{where}"
            case _:
                raise AssertionError(words)

    # --------------------------------------------------------------------------- effects

    def _said(self, effect: object) -> Iterator[str]:
        match effect:
            case Rejected():
                yield f"refused: {effect.code} ({effect.detail})"
            case AccountsOpened():
                yield f"{len(effect.names)} accounts are open"
            case Posted(debit=debit, credit=credit):
                amount = self.size(effect.asset, effect.amount)
                yield f"{effect.reason}: {self.name(debit)} pays {self.name(credit)} {amount}"
            case PostedBatch():
                for a, amount in _rows(effect, "account", "amount"):
                    pair = (effect.counter, a) if amount > 0 else (a, effect.counter)
                    size = self.size(effect.asset, abs(amount))
                    yield f"{effect.reason}: {self.name(pair[0])} pays {self.name(pair[1])} {size}"
            case PositionsMoved():
                for a, i, lots, price in _rows(effect, "account", "instrument", "lots", "price"):
                    at = self.price(i, price)
                    yield f"{effect.reason}: {self.name(a)} {self.size(i, lots)} at {at}"
            case Deleveraged():
                yield from self._deleveraged(effect)
            case _:
                yield from self._watched(effect)

    def _deleveraged(self, e: Deleveraged) -> Iterator[str]:
        i = e.instrument
        losers = ", ".join(
            f"{self.name(a)} {self.size(i, n)}" for a, n in _rows(e, "bankrupt", "closed")
        )
        yield (
            f"deleveraging by {e.rule}: {losers} at {self.price(i, e.price)}, mark "
            f"{self.price(i, e.mark)}; {dollars(e.deficit)} USD are missing, the fund pays "
            f"{dollars(e.fund_paid)} of {dollars(e.fund)}"
        )
        for a, lots, forgone, rank in _rows(e, "account", "lots", "forgone", "rank"):
            gives = f"gives up {dollars(forgone)} USD" if forgone else "at the mark"
            yield f"  {rank} of {e.candidates}: {self.name(a)} {self.size(i, lots)}, {gives}"

    def _watched(self, effect: object) -> Iterator[str]:
        match effect:
            case MarkMoved(instrument=i) if effect.quality or effect.reason:
                low, high = self.price(i, effect.low), self.price(i, effect.high)
                why = f" ({effect.reason})" if effect.reason else ""
                quality = Quality(effect.quality).name.lower()
                yield f"mark {self.price(i, effect.price)}, {quality}: {low}..{high}{why}"
            case MarkMoved(instrument=i):
                waits = f", {self.price(i, effect.pending)} waits" if effect.pending else ""
                yield f"mark {self.price(i, effect.price)}{waits}"
            case HealthMoved() if effect.liquidatable:
                yield (
                    f"health: {effect.liquidatable} below maintenance, {effect.bankrupt} bankrupt "
                    f"by {dollars(effect.deficit)}; in distress {dollars(effect.distressed)} of "
                    f"{dollars(effect.required)}"
                )
            case JudgementOwed(instrument=i):
                yield f"{VENUE.instruments[i].symbol} waits for the next judgement"
            case Judged():
                yield f"everybody is judged; {effect.owed} instruments had waited"
            case ProfileMoved() if effect.near:
                yield f"cascade profile: n = {effect.near / PPM:g} nearby"
            case BreakerMoved():
                calm = "" if effect.calm_since < 0 else ", calm"
                yield f"breaker: {Rung(effect.rung).name.lower()} ({effect.reason}){calm}"
            case ThrottleMoved(instrument=i):
                side = ("sells", "buys")[effect.side]
                yield f"throttle: {self.size(i, effect.spent)} of {side} in the bucket"
            case StagesTaken():
                for a, equity, due, share in _rows(
                    effect, "account", "equity", "required", "share"
                ):
                    yield (
                        f"stage: {self.name(a)} has {dollars(equity)} of {dollars(due)}, "
                        f"{share / 10_000:g} % is closed"
                    )
                if effect.waiting:
                    yield f"stage: {effect.waiting} positions wait for room"
            case OrdersPlaced():
                rows = _rows(effect, "account", "instrument", "lots", "limit")
                for a, i, lots, limit in rows:
                    side, size = ("sell", "buy")[lots > 0], self.size(i, abs(lots))
                    yield f"order: {side} {size} for {self.name(a)}, limit {self.price(i, limit)}"
            case OrdersReduced():
                for _, closed in _rows(effect, "lots", "closed"):
                    yield "order is done" if closed else "order is filled in part"
            case DeficitFound():
                yield (
                    f"deficit of {self.name(effect.account)}: {dollars(effect.amount)}, fund "
                    f"{dollars(effect.fund)}, shared {dollars(effect.socialised)}, bad debt "
                    f"{dollars(effect.uncovered)}"
                )
            case ParameterMoved():
                yield f"parameter: {effect.column}[{effect.row}] is {effect.value:,}"
            case SignalKept():
                yield f"signal: {effect.value / PPM:g} (said {effect.said / PPM:g})"
            case _:
                pass


def _rows(effect: object, *names: str) -> list[tuple[int, ...]]:
    return list(zip(*(unpack(getattr(effect, n)).tolist() for n in names), strict=True))


def told(path: Path) -> list[str]:
    """Return the story of one file, told."""
    story = tomllib.loads(path.read_text(encoding="utf-8"))
    declaration = msgspec.convert({"name": path.stem} | story.get("stack", {}), SafeguardStack)
    teller = Teller(Stack.bind(declaration, VENUE))
    return [story["about"], "", *teller.tell(story["script"])]
