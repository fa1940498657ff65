"""Puts what a trail remembers into words: orders, plans, rungs, marks, in the venue's decimals."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import (
    AuctionsOpened,
    BandMoved,
    BandsLaid,
    BandsLeft,
    BreakerMoved,
    Decision,
    DeficitFound,
    Deleveraged,
    HealthMoved,
    MarkMoved,
    ObservationKept,
    OrdersPlaced,
    OrdersReduced,
    PoolMoved,
    PositionsMoved,
    PostedBatch,
    StagesTaken,
    TakenOver,
)
from tidegate.domain.events import ClockTicked, OrdersExpired, OrdersFilled, PriceObserved
from tidegate.domain.payers import DeleveragingCompared
from tidegate.domain.units import PPM, unpack
from tidegate.engine.backing_words import pooled, shared, taken_over
from tidegate.engine.reading import (
    clock_text,
    money_text,
    notional_of,
    percent_text,
    price_text,
    quantity_text,
)
from tidegate.engine.telling_guards import guards
from tidegate.engine.trail import Said, Standing, Touch, Trail
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.stack import Stack


HOW = {
    "auctioned": "in its auction",
    "netted": "met by opposite closes",
    "reported": "as the venue reported",
    "bands": "by whoever took what its bands offered",
}
LEFT = {
    "changed": "its collateral is no longer what it laid",
    "short": "they no longer carry its debt, and its margin is gone",
    "spent": "nothing is left in them, and it owes or owns nothing",
    "recovered": "its margin is well above the line again",
    "closed": "its position is gone",
}


def line(label: str, text: str) -> str:
    """Return one line of an explanation: what it is about, then what there is to say."""
    return f"{label:<13}{text}"


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts effects into words with the venue's own names and decimals."""

    stack: Stack
    names: tuple[str, ...]

    def name(self, account: int) -> str:
        """Return the account's name, or its row where it has none."""
        place = account - FIRST_USER
        return self.names[place] if 0 <= place < len(self.names) else f"row {account}"

    def symbol(self, i: int) -> str:
        """Return the name of an instrument."""
        return self.stack.venue.instruments[i].symbol

    def money(self, money: int) -> str:
        """Return Money in the venue's numeraire."""
        return money_text(money, self.stack.venue.numeraire)

    def price(self, i: int, ticks: int) -> str:
        """Return a price in the instrument's own decimals."""
        return price_text(self.stack.venue.instruments[i], ticks)

    def size(self, i: int, lots: int) -> str:
        """Return an unsigned quantity with the name of what it is a quantity of."""
        text = quantity_text(self.stack.venue.instruments[i], abs(lots))
        return f"{text} {self.symbol(i)}"

    def worth(self, i: int, lots: int, ticks: int) -> str:
        """Return the size of a position at a price."""
        return self.money(notional_of(self.stack.venue.instruments[i], lots, ticks))

    def answers(self, touch: Touch, trail: Trail) -> list[str]:
        """Return what the venue answered to the account's orders in this record."""
        event = touch.record.event
        assert isinstance(event, (OrdersFilled, OrdersExpired))
        booked = Counter(
            order
            for effect in touch.record.effects
            if isinstance(effect, OrdersReduced)
            for order in unpack(effect.order).tolist()
        )
        said: list[str] = []
        for n, order in enumerate(unpack(event.order).tolist()):
            origin = trail.origins.get(order)
            booked[order] -= 1  # what was refused, a report told twice, comes after what was not
            if origin is None or booked[order] < 0:
                continue
            when = f"of order {order}, placed at seq {origin.record.seq:,}"
            i = _instrument_of(origin, order)
            if isinstance(event, OrdersExpired):
                said.append(line("answer", f"the rest {when}, is gone: {event.reason}"))
                continue
            lots, paid = int(unpack(event.lots)[n]), int(unpack(event.price)[n])
            verb = "sold" if lots < 0 else "bought"
            said.append(
                line("answer", f"{verb} {self.size(i, lots)} at {self.price(i, paid)} {when}")
            )
        return said

    def deeds(self, touch: Touch, account: int) -> list[str]:
        """Return what was done to the account in this record."""
        said: list[str] = []
        for effect in touch.record.effects:
            match effect:
                case OrdersPlaced():
                    said += self._orders(effect, account, touch.standing)
                case AuctionsOpened():
                    said += self._offered(effect, account, touch.standing)
                case PositionsMoved(reason="netted" | "reported" | "bands" | "auctioned"):
                    said += self._moved(effect, account)
                case BandsLaid() if effect.account == account:
                    said.append(line("bands", self._laid(effect)))
                case BandsLeft() if effect.account == account:
                    said.append(line("bands", f"left: {LEFT[effect.reason]}"))
                case Deleveraged():
                    said += self._deleveraged(effect, account)
                case DeleveragingCompared():
                    said += self._compared(effect, account)
                case TakenOver():
                    said += [line("backstop", t) for t in taken_over(self, effect, account)]
                case PoolMoved() if effect.account == account:
                    said.append(line("pool", pooled(self, effect)))
                case DeficitFound() if effect.account == account:
                    said.append(line("deficit", self._deficit(effect)))
                case PostedBatch(reason="redistributed"):
                    said += [line("shared", t) for t in shared(self, effect, account)]
                case PostedBatch(reason="socialised") if effect.counter != account:
                    mine = unpack(effect.account) == account
                    if mine.any():
                        share = -int(unpack(effect.amount)[mine].sum())
                        who = self.name(effect.counter)
                        text = f"bore {self.money(share)} of the deficit of {who}"
                        said.append(line("socialised", text))
                case _:
                    pass
        spoken = guards(touch.record.effects, account, self.money)
        return said + [line(label, text) for label, text in spoken]

    def _orders(self, effect: OrdersPlaced, account: int, standing: Standing) -> list[str]:
        return [
            line("order", f"{id_}: {verb} {size} by the {effect.route} route at {rest}")
            for id_, verb, size, rest in self._asked(effect, account, standing)
        ]

    def _offered(self, effect: AuctionsOpened, account: int, standing: Standing) -> list[str]:
        return [
            line("auction", f"{id_}: bidders may make the account {verb} {size} at {rest}")
            for id_, verb, size, rest in self._asked(effect, account, standing)
        ]

    def _asked(
        self, effect: OrdersPlaced | AuctionsOpened, account: int, standing: Standing
    ) -> Iterator[tuple[int, str, str, str]]:
        """Yield id, verb, size, and limit with worth, of what an account is to sell or buy."""
        instrument, lots, limit = (
            unpack(c) for c in (effect.instrument, effect.lots, effect.limit)
        )
        for n in np.flatnonzero(unpack(effect.account) == account).tolist():
            i, asked = int(instrument[n]), int(lots[n])
            verb, side = ("sell", "or more") if asked < 0 else ("buy", "or less")
            mark = _mark(standing, i)
            worth = f", worth {self.worth(i, asked, mark)} at the mark" if mark else ""
            rest = f"{self.price(i, int(limit[n]))} {side}{worth}"
            yield effect.first + n, verb, self.size(i, asked), rest

    def _moved(self, effect: PositionsMoved, account: int) -> list[str]:
        here = unpack(effect.account) == account
        columns = (effect.instrument, effect.lots, effect.price)
        mine = zip(*(unpack(column)[here].tolist() for column in columns), strict=True)
        how = HOW[effect.reason]
        return [
            line(
                effect.reason,
                f"{'sold' if moved < 0 else 'bought'} {self.size(i, moved)} at "
                f"{self.price(i, at)}, {how}",
            )
            for i, moved, at in mine
        ]

    def _laid(self, effect: BandsLaid) -> str:
        tick = int(self.stack.facts.tick_value[effect.instrument])
        top = self.price(effect.instrument, effect.top // tick)
        laid = self.size(effect.instrument, int(unpack(effect.y).sum()))
        return f"laid {laid} from {top} downwards, against a debt of {self.money(effect.debt)}"

    def _deleveraged(self, effect: Deleveraged, account: int) -> list[str]:
        i, winners, bankrupt = effect.instrument, unpack(effect.account), unpack(effect.bankrupt)
        at = f"at {self.price(i, effect.price)} while the mark was {self.price(i, effect.mark)}"
        lack = (
            f"the bankrupt lacked {self.money(effect.deficit)}, the fund held "
            f"{self.money(effect.fund)} and paid {self.money(effect.fund_paid)}"
        )
        said: list[str] = []
        for n in np.flatnonzero(winners == account).tolist():
            lots, rank = int(unpack(effect.lots)[n]), int(unpack(effect.rank)[n])
            forgone = int(unpack(effect.forgone)[n])
            said += [
                line(
                    "deleveraged",
                    f"{self.size(i, lots)} closed {at}: gave up {self.money(forgone)}",
                ),
                line(
                    "why",
                    f"{lack}; by {effect.rule.replace('_', ' ')}, number {rank} of "
                    f"{effect.candidates:,} who held the other side at a profit",
                ),
            ]
        for n in np.flatnonzero(bankrupt == account).tolist():
            lots = int(unpack(effect.closed)[n])
            said += [
                line("bankrupt", f"{self.size(i, lots)} closed against winners {at}"),
                line("why", f"{lack}; {winners.size:,} winners took the other side"),
            ]
        return said

    def _compared(self, effect: DeleveragingCompared, account: int) -> list[str]:
        i, said = effect.instrument, list[str]()
        neutral, hedged = unpack(effect.neutral).tolist(), unpack(effect.hedged).tolist()
        for n in np.flatnonzero(unpack(effect.account) == account).tolist():
            following = (
                f"{self.name(effect.next_account)} (number {effect.next_rank}) would have been next"
                if effect.next_account >= 0
                else "nobody would have been next"
            )
            said.append(
                line(
                    "instead",
                    f"pro rata would have closed {self.size(i, neutral[n])} of it and touched "
                    f"{effect.neutral_accounts:,} accounts; {following}",
                )
            )
            if hedged[n]:
                text = f"{self.size(i, hedged[n])} of it was the hedge of another position"
                said.append(line("hedge", text))
        return said

    def _deficit(self, effect: DeficitFound) -> str:
        return (
            f"{self.money(effect.amount)} below zero with nothing left to sell: the fund paid "
            f"{self.money(effect.fund)}, the others {self.money(effect.socialised)}, nobody "
            f"{self.money(effect.uncovered)}"
        )

    def plan(self, touch: Touch, account: int) -> list[str]:
        """Return the stage of this record: what the account had and needed, and what goes."""
        said: list[str] = []
        for effect in touch.record.effects:
            if not isinstance(effect, StagesTaken):
                continue
            for n in np.flatnonzero(unpack(effect.account) == account).tolist():
                equity, required = int(unpack(effect.equity)[n]), int(unpack(effect.required)[n])
                share = int(unpack(effect.share)[n])
                said += [
                    line(
                        "plan",
                        f"this stage closes {percent_text(share)} of the account; "
                        f"{effect.waiting:,} positions of all accounts wait for budget",
                    ),
                    line(
                        "margin",
                        f"equity {self.money(equity)} < maintenance {self.money(required)}, short "
                        f"by {self.money(required - equity)}",
                    ),
                ]
        return said

    def holdings(self, standing: Standing) -> list[str]:
        """Return what the account held before the record."""
        said: list[str] = []
        for i, lots in sorted(standing.lots.items()):
            side = "long" if lots > 0 else "short"
            mark = _mark(standing, i)
            worth = f", worth {self.worth(i, lots, mark)} at the mark" if mark else ""
            said.append(line("held", f"{side} {self.size(i, lots)}{worth}"))
        return [*said, line("cash", self.money(standing.cash))]

    def rung(self, standing: Standing) -> list[str]:
        """Return the breaker's rung and why it stood there, and how the venue was."""
        said: list[str] = []
        if standing.rung is None:
            said.append(line("rung", "0 (normal) since the beginning"))
        else:
            effect = standing.rung.effect
            assert isinstance(effect, BreakerMoved)
            name = Rung(effect.rung).name.lower().replace("_", " ")
            said.append(
                line(
                    "rung",
                    f"{effect.rung} ({name}) since seq {standing.rung.seq:,}, "
                    f"{_time(standing.rung)}: {_alarm(effect)}",
                )
            )
        if standing.health is not None and isinstance(standing.health.effect, HealthMoved):
            h = standing.health.effect
            said.append(
                line(
                    "venue",
                    f"{h.liquidatable:,} accounts liquidatable, {h.bankrupt:,} of them bankrupt by "
                    f"{self.money(h.deficit)} together",
                )
            )
        return said

    def marks(self, touch: Touch, account: int) -> list[str]:
        """Return the marks this record valued the account at, each with its observation."""
        standing, said = touch.standing, list[str]()
        wanted = set(standing.lots)
        for effect in touch.record.effects:
            wanted |= _instruments(effect, account)
        for i in sorted(wanted):
            mark = standing.marks.get(i)
            if mark is None or not isinstance(mark.effect, MarkMoved):
                continue
            m = mark.effect
            before = standing.before.get(i)
            came = f", from {self.price(i, before)}" if before and before != m.price else ""
            sure = (
                "certain"
                if m.low == m.high
                else f"believed within {self.price(i, m.low)}..{self.price(i, m.high)}"
            )
            quality = Quality(m.quality).name.lower()
            reason = f" ({m.reason.replace('_', ' ')})" if m.reason else ""
            near = standing.near.get(i)
            n = f"; n near it {near / PPM:,.2f}" if near is not None else ""
            said.append(
                line(
                    "mark",
                    f"{self.symbol(i)} {self.price(i, m.price)} at seq {mark.seq:,}{came}; "
                    f"{sure}, {quality}{reason}{n}",
                )
            )
            said += self._band(standing, i)
            seen = standing.observations.items()
            said += [self._observation(o, i) for (at, _), o in sorted(seen) if at == i]
        return said

    def _band(self, standing: Standing, i: int) -> list[str]:
        """Return where the instrument might trade then, if it had a band or was paused."""
        last = standing.bands.get(i)
        if last is None or not isinstance(last.effect, BandMoved):
            return []
        b = last.effect
        state = ("", ", at its limit", f", paused until {clock_text(b.until)}")[b.phase]
        ends = f"{self.price(i, b.low)}..{self.price(i, b.high)}" if b.high else "none"
        return [line("band", f"{ends}{state}, since seq {last.seq:,} ({b.reason})")]

    def _observation(self, said: Said, i: int) -> str:
        seen = said.effect
        assert isinstance(seen, ObservationKept)
        sources = self.stack.venue.sources
        who = sources[seen.source] if seen.source < len(sources) else f"source {seen.source}"
        wide = f" +/- {self.price(i, seen.confidence)}" if seen.confidence else ""
        return line(
            "observation",
            f"{who} said {self.price(i, seen.price)}{wide}, published "
            f"{clock_text(seen.published)}, heard at seq {said.seq:,}",
        )

    def cause(self, touch: Touch) -> list[str]:
        """Return which event made the engine look."""
        event = touch.record.event
        match event:
            case PriceObserved():
                i = event.instrument
                source = self.stack.venue.sources[event.source]
                text = f"a price of {self.symbol(i)} by {source}: {self.price(i, event.price)}"
            case ClockTicked():
                text = "the clock: no event, but time for the next stage"
            case _:
                text = type(event).__name__
        return [line("event", f"seq {touch.record.seq:,} was {text}")]


def _mark(standing: Standing, i: int) -> int:
    said = standing.marks.get(i)
    return said.effect.price if said is not None and isinstance(said.effect, MarkMoved) else 0


def _instrument_of(touch: Touch, order: int) -> int:
    for effect in touch.record.effects:
        if isinstance(effect, OrdersPlaced):
            place = order - effect.first
            if 0 <= place < len(effect.account) // 8:
                return int(unpack(effect.instrument)[place])
    raise AssertionError(order)


def _instruments(effect: Decision, account: int) -> set[int]:
    match effect:
        case OrdersPlaced() | AuctionsOpened() | PositionsMoved():
            mine = unpack(effect.account) == account
            return set(unpack(effect.instrument)[mine].tolist())
        case Deleveraged():
            both = np.concatenate([unpack(effect.account), unpack(effect.bankrupt)])
            return {effect.instrument} if (both == account).any() else set()
        case _:
            return set()


def _time(said: Said) -> str:
    return clock_text(said.ts).split(" ", 1)[1].removesuffix(" UTC")


def _alarm(effect: BreakerMoved) -> str:
    value = effect.value
    match effect.reason:
        case "deviations":
            return f"a move of {value / PPM:,.1f} standard deviations"
        case "distressed":
            return f"{percent_text(value)} of all maintenance was in distress"
        case "branching":
            return f"branching ratio {value / PPM:,.2f}"
        case "drawdown":
            return f"the fund was {percent_text(value)} below its peak"
        case "doubtful":
            return f"{value:,} prices were doubtful"
        case "drop":
            return f"the next price lay {percent_text(value)} below the mark"
        case "expired":
            return "the longest time of a halt was over"
        case _:
            return effect.reason.replace("_", " ")
