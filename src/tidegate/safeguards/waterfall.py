"""Who pays when an account is gone and its debt is not."""

from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np

from tidegate.domain.book import FIRST_USER, FUND, TRANCHES_MAX, Book, Health
from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels import portfolio
from tidegate.kernels.allocate import capped_pro_rata, largest_remainder, risk_factor
from tidegate.kernels.deleverage import candidates
from tidegate.kernels.order import stable_order


SCORES = {  # of the queue, by the number its kernel knows it by
    "leverage_profit": 0,
    "profit": 1,
    "size": 2,
    "margin_ratio": portfolio.MARGIN_RATIO,
    "index": portfolio.INDEX,
    "sided_index": portfolio.SIDED_INDEX,
    "profit_equity": portfolio.PROFIT_EQUITY,
    "net_risk": portfolio.NET_RISK,
}
RULES = ("none", "queue", "pro_rata", "random", "pro_rata_risk", "min_max", "mirror")
BURDEN_MIN = 1_000  # ppm: nobody is forgotten by the online rule
WEIGHT_BITS = 60  # of the sum of all weights


class Tranche(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One layer of the fund: it pays losses between ``attachment`` and ``exhaustion``.

    Both are cumulative losses since the start. ``initial`` is its money; it never pays more than it
    has, nor more than its layer is wide.
    """

    name: str
    initial: Money
    attachment: Money = Money(0)
    exhaustion: Money = Money(2**62)
    market: str = ""  # pays only deficits left by this instrument; "": by any
    stakes: bool = False  # accounts may stake cash into it
    unstake_ns: Nanos = Nanos(1_123_200_000_000_000)  # 13 days from asking to being paid

    def __post_init__(self) -> None:
        """Refuse a layer that is upside down or in debt from the start."""
        refuse_negative(f"waterfall.tranches.{self.name}", self, "unstake_ns")
        if self.initial < 0 or not 0 <= self.attachment < self.exhaustion:
            raise ConfigInvalid(
                where=f"waterfall.tranches.{self.name}",
                what="initial must be >= 0 and attachment below exhaustion",
                found=f"{self.initial:_}, {self.attachment:_}..{self.exhaustion:_}",
            )
        if self.stakes and not self.initial:
            raise ConfigInvalid(
                where=f"waterfall.tranches.{self.name}.initial",
                what="must be > 0 where accounts may stake",
                found="0",
                hint="else the first to stake owns whatever penalties have come in before it",
            )


@dataclass(frozen=True, slots=True)
class Closing:
    """Winners to be closed against bankrupt positions, in the order they are taken."""

    row: I64  # [n] position rows of the winners
    lots: I64  # [n] lots taken from each, positive
    rank: I64  # [n] place among all candidates, 1 first
    candidates: int
    unmatched: int  # lots for which no winner was found
    whole: I64  # [n] lots each of them could have given
    neutral: I64  # [n] lots that pro rata would have taken from each
    hedged: I64  # [n] lots taken that were the hedge of another leg
    neutral_accounts: int
    spared: int  # lots of all candidates that were left alone because they were hedges
    next_row: int  # who would have been next; -1: nobody
    next_rank: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one deleveraging knows beside the book: chance, net exposures, what was borne before."""

    seed: int  # changes with every event
    exposure: I64  # [accounts] net, Money; empty where no rule asks
    beta: I64  # [instruments] ppm
    burden: I64  # [accounts] ppm
    freed: dict[int, int]  # rows: lots of a hedge that may go because their other leg goes too
    due: dict[int, int]  # rows: lots that must go as the other leg of a close already decided


class Waterfall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Account equity, then the fund's tranches, then deleveraging, then everybody.

    Neutral: no fund, no deleveraging, no sharing; a deficit stays where it is, as bad debt.
    """

    tranches: tuple[Tranche, ...] = ()
    deleverage: str = "none"  # or one of RULES: who is closed
    deleverage_when: str = "fund_exhausted"  # or "bankrupt": at once, before the fund is asked
    fund_share: Ppm = Ppm(PPM)  # of the fund, that may stand behind the open bankrupt
    fund_pays_first: bool = False  # in a deleveraging: the fund pays the deficit while it can
    close_share: Ppm = Ppm(PPM)  # severity: of the bankrupt's lots, closed in one step
    haircut: Ppm = Ppm(PPM)  # severity: of the deficit, borne by the winners
    score: str = "leverage_profit"  # or one of SCORES: the queue's order
    seed: int = 0  # of the order by chance
    hedges: str = "ignored"  # or "spared": hedges are closed last; "paired": or with their leg
    betas: dict[str, Ppm] = {}  # by symbol, "*" for all others: what a net exposure counts
    risk_power: int = 1  # pro_rata_risk: leverage times its excess to this power
    risk_above: Ppm = Ppm(0)  # the leverage from which the excess counts
    burden_rate: Ppm = Ppm(500_000)  # mirror: how much a full close lightens an account's weight
    receipts: str = "short"  # or "full": with what other rules would have done
    socialise: str = "none"  # none, profit, equity, balances, open_interest
    claims: bool = False  # who is socialised keeps a claim on the defaulter's later deposits
    penalty_share: Ppm = Ppm(PPM)  # share of a liquidation penalty that feeds the first tranche
    drawdown_window_ns: Nanos = Nanos(28_800_000_000_000)
    drawdown_start: Ppm = Ppm(0)  # fall of the fund that starts early deleveraging; 0: never
    drawdown_stop: Ppm = Ppm(0)  # and below which it stops
    drawdown_floor: Money = Money(0)  # the trigger counts only while the fund holds more

    def __post_init__(self) -> None:
        """Refuse unknown rules and too many tranches."""
        choices = {
            "deleverage": RULES,
            "deleverage_when": ("fund_exhausted", "bankrupt"),
            "score": tuple(SCORES),
            "hedges": ("ignored", "spared", "paired"),
            "receipts": ("short", "full"),
            "socialise": ("none", "profit", "equity", "balances", "open_interest"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigInvalid(
                    where=f"waterfall.{name}",
                    what=f"must be one of {allowed}",
                    found=repr(getattr(self, name)),
                )
        refuse_negative("waterfall", self, "drawdown_window_ns", "seed", "risk_above")
        refuse_negative("waterfall", self, "drawdown_floor")
        rates = ("fund_share", "penalty_share", "haircut", "burden_rate")
        for name in (*rates, "drawdown_start", "drawdown_stop"):
            if not 0 <= getattr(self, name) <= PPM:
                raise ConfigInvalid(
                    where=f"waterfall.{name}",
                    what="must lie within 0..1_000_000",
                    found=f"{getattr(self, name):_}",
                )
        self._prove_rules()
        names = [t.name for t in self.tranches]
        if len(names) > TRANCHES_MAX or len(set(names)) < len(names):
            raise ConfigInvalid(
                where="waterfall.tranches",
                what=f"at most {TRANCHES_MAX}, of different names: stakers know them by these",
                found=str(names),
            )
        for lower, upper in zip(self.tranches, self.tranches[1:], strict=False):
            if upper.attachment < lower.attachment:
                raise ConfigInvalid(
                    where="waterfall.tranches",
                    what="attachments must not fall",
                    found=f"{lower.attachment:_} then {upper.attachment:_}",
                )

    def _prove_rules(self) -> None:
        """Refuse numbers that no rule could follow, and hedges without anybody to spare."""
        if not 1 <= self.close_share <= PPM:
            raise ConfigInvalid(
                where="waterfall.close_share",
                what="must lie within 1..1_000_000: a step that closes nothing never ends",
                found=f"{self.close_share:_}",
            )
        if not 0 <= self.risk_power <= 2:
            raise ConfigInvalid(
                where="waterfall.risk_power", what="must be 0, 1 or 2", found=str(self.risk_power)
            )
        if not min(self.drawdown_start, 1) <= self.drawdown_stop <= self.drawdown_start:
            raise ConfigInvalid(
                where="waterfall.drawdown_stop",
                what="must lie within 1..drawdown_start: no fall is below 0, it would never stop",
                found=f"{self.drawdown_stop:_} with {self.drawdown_start:_}",
                hint="it starts at a large fall and stops at a smaller one",
            )
        for symbol, beta in self.betas.items():
            if not 0 <= beta <= PPM:
                raise ConfigInvalid(
                    where=f"waterfall.betas.{symbol}",
                    what="must lie within 0..1_000_000",
                    found=f"{beta:_}",
                    hint="give the instrument that moves most 1_000_000, the others less",
                )

    def fed(self, symbols: tuple[str, ...]) -> list[int]:
        """Return which tranche each instrument's penalties feed: its own, else the first pooled."""
        pooled = next((k for k, t in enumerate(self.tranches) if not t.market), 0)
        own = {t.market: k for k, t in reversed(list(enumerate(self.tranches))) if t.market}
        return [own.get(symbol, pooled) for symbol in symbols]

    @property
    def keeps_markets(self) -> bool:
        """Whether it matters which market a deficit comes from."""
        return self.socialise == "open_interest" or any(t.market for t in self.tranches)

    @property
    def looks_at_portfolios(self) -> bool:
        """Whether a rule asks for net exposures."""
        return self.hedges != "ignored" or self.score == "net_risk" or self.receipts == "full"

    def beta(self, symbols: tuple[str, ...]) -> I64:
        """Return what each instrument's notional counts in a net exposure, in ppm."""
        default = self.betas.get("*", Ppm(PPM))
        return np.array([self.betas.get(s, default) for s in symbols], np.int64)

    def scaled(self, venue: Venue) -> Self:
        """Return the waterfall with its tranches at the scale of a recording."""
        tranches = tuple(
            msgspec.structs.replace(
                t,
                initial=Money(max(venue.scaled(t.initial), int(t.stakes))),
                attachment=Money(venue.scaled(t.attachment)),
                exhaustion=Money(max(venue.scaled(t.exhaustion), venue.scaled(t.attachment) + 1)),
            )
            for t in self.tranches
        )
        floor = Money(venue.scaled(self.drawdown_floor))
        return msgspec.structs.replace(self, tranches=tranches, drawdown_floor=floor)

    def fund(self, book: Book) -> Money:
        """Return the money in all tranches."""
        return Money(int(book.cash[FUND : FUND + TRANCHES_MAX].sum()))

    def draws(self, deficit: int, *, balance: list[int], lost: int, market: str = "") -> list[int]:
        """Return what each tranche pays of ``deficit``; their sum may fall short of it.

        A tranche of one market pays nothing of the deficits of others.

        ``lost`` is the cumulative loss before this one. A tranche owes the part of the deficit that
        falls between its own two ends and into no tranche before it, and what those could not pay,
        as if its layer were reached; it pays no more than it holds, nor than is left of its layer.
        """
        paid: list[int] = []
        place, owed = lost, 0  # losses up to `place` belong to a tranche seen already
        for tranche, held in zip(self.tranches, balance, strict=True):
            money = held if tranche.market in {"", market} else 0
            end = min(lost + deficit, tranche.exhaustion)
            owed += max(0, end - max(place, tranche.attachment))
            place = max(place, end)
            width = max(0, tranche.exhaustion - max(lost, tranche.attachment))
            paid.append(min(owed, max(money, 0), width))
            owed -= paid[-1]
        return paid

    def closing(
        self,
        book: Book,
        facts: Facts,
        health: Health,
        *,
        mark: I64,
        instrument: int,
        side: int,
        lots: int,
        deficit: int,
        turn: Turn | None = None,
        rows: I64 | None = None,
    ) -> Closing:
        """Choose who is closed against ``lots`` (positive) of bankrupt positions of one ``side``.

        The queue takes candidates by score, each whole; pro rata takes from all in proportion to
        size, none above its position: the unique minimiser of the convex cost (`capped_pro_rata`).
        ``deficit`` is in Money; whose profit does not cover its share of it is not a candidate.
        Where hedges are spared, the rule is applied to what is no hedge first, and then to hedges.
        ``rows`` are those of the instrument, rising, where they are known already.
        """
        turn = turn or _bare_turn(health, facts)
        base = min(SCORES[self.score], 2) if SCORES[self.score] <= 2 else 0
        here = np.flatnonzero(book.instrument[: book.high] == instrument) if rows is None else rows
        found, score, cap = candidates(
            book, facts, health.equity, health.best, mark, here, side, deficit, lots, base
        )
        self._score(book, facts, health, mark, found, turn, score)
        order = stable_order(-score)
        bare, free, taken = cap, cap, np.zeros_like(cap)
        if self.looks_at_portfolios:
            bare = np.empty_like(cap)
            portfolio.unhedged(book, facts, mark, turn.beta, turn.exposure, found, cap, bare)
        if self.hedges != "ignored":
            free = np.minimum(cap, bare + _at(turn.freed, found))
            due = np.minimum(cap, _at(turn.due, found))
            portfolio.in_order(lots, order, due, taken)
        rest = lots - int(taken.sum())
        for most in (free, cap) if self.hedges != "ignored" else (cap,):
            if rest:
                room = np.maximum(0, most - taken)
                more, rest = self._taken(book, facts, health, mark, found, turn, rest, order, room)
                taken += more
        rank = np.empty(found.size, np.int64)
        rank[order] = np.arange(1, found.size + 1)
        used = order[taken[order] > 0]
        neutral = np.zeros(found.size, np.int64)
        if self.receipts == "full":
            capped_pro_rata(lots, cap, cap, neutral)
        left = order[(taken < cap)[order]]
        return Closing(
            row=found[used],
            lots=taken[used],
            rank=rank[used],
            candidates=int(found.size),
            unmatched=int(rest),
            whole=cap[used],
            neutral=neutral[used],
            hedged=np.maximum(0, taken - bare)[used],
            neutral_accounts=int((neutral > 0).sum()),
            spared=int((cap - np.maximum(free, taken)).sum()),
            next_row=int(found[left[0]]) if left.size else -1,
            next_rank=int(rank[left[0]]) if left.size else 0,
        )

    def _score(
        self, book: Book, facts: Facts, health: Health, mark: I64, found: I64, turn: Turn, out: I64
    ) -> None:
        """Overwrite the scores of ``found`` where the rule has an order of its own."""
        if self.deleverage == "random":
            portfolio.by_chance(turn.seed, book.account[found].astype(np.int64), out)
        elif SCORES[self.score] >= portfolio.MARGIN_RATIO:
            rule = SCORES[self.score]
            portfolio.queue_scores(
                book,
                facts,
                health.equity,
                health.required,
                turn.exposure,
                mark,
                found,
                rule,
                out,
            )

    def _taken(
        self,
        book: Book,
        facts: Facts,
        health: Health,
        mark: I64,
        found: I64,
        turn: Turn,
        lots: int,
        order: I64,
        cap: I64,
    ) -> tuple[I64, int]:
        """Return the lots taken from each of ``found`` and how many could not be."""
        taken, weight, capacity, rule = np.zeros_like(cap), cap, cap, portfolio.PRO_RATA
        match self.deleverage:
            case "queue" | "random":
                rule = portfolio.QUEUE
            case "min_max":
                rule, capacity = portfolio.MIN_MAX, np.empty_like(cap)
                portfolio.bearable(book, facts, health.equity, mark, found, capacity)
            case "pro_rata_risk":
                leverage = np.empty_like(cap)
                portfolio.leverage_of(book, facts, health.equity, mark, found, leverage)
                factor = [
                    risk_factor(x, self.risk_above, self.risk_power, PPM) for x in leverage.tolist()
                ]
                weight = _weights(cap, factor)
            case "mirror":
                weight = _weights(cap, turn.burden[book.account[found]].tolist())
            case _:
                pass
        rest = portfolio.shared_lots(rule, lots, order, weight, capacity, cap, taken)
        return taken, int(rest)

    def shares(
        self, deficit: int, health: Health, cash: I64, lots: I64 | None = None
    ) -> tuple[I64, I64]:
        """Return (accounts, what each pays) of a socialised ``deficit``; empty when nobody can.

        By equity above zero, by unrealised profit, by cash above zero, or by ``lots`` (open in the
        deficit's market, both sides); nobody pays more than its equity. Whole Money by largest
        remainder.
        """
        if self.socialise == "none" or not deficit:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        cap = np.maximum(health.equity, 0)
        weight = cap
        match self.socialise:
            case "profit":
                weight = np.minimum(weight, np.maximum(health.equity - cash[: weight.size], 0))
                cap = weight
            case "balances":
                weight = np.maximum(np.minimum(cash[: weight.size], weight), 0)
                cap = weight
            case "open_interest" if lots is not None and lots.any():
                weight = lots
            case _:
                pass
        weight = weight.copy()
        weight[:FIRST_USER] = 0
        payers = np.flatnonzero(weight)
        if not payers.size:
            return payers[:0], payers[:0]
        out = np.zeros(payers.size, np.int64)
        if self.socialise == "open_interest":
            capped_pro_rata(deficit, weight[payers], cap[payers], out)
            return payers[out > 0], out[out > 0]
        able = min(deficit, int(weight.sum()))
        largest_remainder(able, weight[payers], out)
        return payers, out

    def _how(self) -> str:
        """Return in plain language who is closed."""
        name = self.score.replace("_", " times " if self.score == "leverage_profit" else " ")
        how = {
            "queue": f"by {name}, the first in the queue whole",
            "random": "in an order by chance, the first whole",
            "pro_rata": "from all in proportion to their size",
            "pro_rata_risk": "from all in proportion to their size and leverage",
            "min_max": "so that the largest part anybody loses of what it can bear is least",
            "mirror": "from all in proportion to their size, less from whom it took before",
        }[self.deleverage]
        hedges = {
            "ignored": "",
            "spared": "; hedges come last",
            "paired": "; hedges come last, unless both legs can be closed at once",
        }
        return how + hedges[self.hedges]

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said = [
            f"waterfall: tranche {t.name} holds {t.initial / 1e6:,.0f} and pays losses from "
            f"{t.attachment / 1e6:,.0f} on"
            + (f" to {t.exhaustion / 1e6:,.0f}" if t.exhaustion < 2**62 else "")
            + (f", of {t.market} alone" if t.market else "")
            + (
                f"; accounts may stake, and leave after {t.unstake_ns / 1e9:,.0f} s"
                if t.stakes
                else ""
            )
            for t in self.tranches
        ]
        if self.deleverage != "none":
            when = (
                "as soon as an account is bankrupt"
                if self.deleverage_when == "bankrupt"
                else f"when the bankrupt lack more than {self.fund_share / 1e4:g} % of the fund "
                "or hold more than one window of the throttle can sell"
            )
            if self.fund_pays_first:
                when += " (the fund pays what the bankrupt lack while it can)"
            how = self._how()
            said.append(f"waterfall: winners are deleveraged {when}, {how}")
            if self.close_share < PPM:
                part = f"{self.close_share / 1e4:g} %"
                said.append(f"waterfall: one step closes {part} of what the bankrupt hold")
            if self.haircut < PPM:
                said.append(f"waterfall: winners bear {self.haircut / 1e4:g} % of the deficit")
            if self.drawdown_start:
                said.append(
                    f"waterfall: once the fund has lost {self.drawdown_start / 1e4:g} % of its "
                    f"peak, the bankrupt are deleveraged at once, until it is "
                    f"{self.drawdown_stop / 1e4:g} % again"
                )
        if self.socialise != "none":
            by = self.socialise.replace("_", " ")
            claim = ", who keep a claim on the defaulter" if self.claims else ""
            said.append(f"waterfall: what is left is shared in proportion to {by}{claim}")
        else:
            said.append("waterfall: what is left stays as bad debt")
        return said


def _bare_turn(health: Health, facts: Facts) -> Turn:
    """Return a turn in which nothing beside the book is known."""
    accounts, instruments = health.equity.size, facts.kind.size
    return Turn(
        seed=0,
        exposure=np.zeros(accounts, np.int64),
        beta=np.full(instruments, PPM, np.int64),
        burden=np.full(accounts, PPM, np.int64),
        freed={},
        due={},
    )


def _at(lots: dict[int, int], row: I64) -> I64:
    """Return the lots that a table names for each row, 0 for the others."""
    return np.array([lots.get(r, 0) for r in row.tolist()], np.int64)


def _weights(size: I64, factor: list[int]) -> I64:
    """Return ``size * factor``, at least one, shifted so that the sum of all fits int64."""
    exact = [n * f for n, f in zip(size.tolist(), factor, strict=True)]
    shift = max(0, sum(exact).bit_length() - WEIGHT_BITS)
    return np.array([max(n > 0, w >> shift) for n, w in zip(size, exact, strict=True)], np.int64)
