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
from tidegate.kernels.allocate import capped_pro_rata, in_order, largest_remainder
from tidegate.kernels.deleverage import candidates


class Tranche(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One layer of the fund: it pays losses between ``attachment`` and ``exhaustion``.

    Both are cumulative losses since the start. ``initial`` is its money; it never pays more than it
    has, nor more than its layer is wide.
    """

    name: str
    initial: Money
    attachment: Money = Money(0)
    exhaustion: Money = Money(2**62)

    def __post_init__(self) -> None:
        """Refuse a layer that is upside down or in debt from the start."""
        if self.initial < 0 or not 0 <= self.attachment < self.exhaustion:
            raise ConfigInvalid(
                where=f"waterfall.tranches.{self.name}",
                what="initial must be >= 0 and attachment below exhaustion",
                found=f"{self.initial:_}, {self.attachment:_}..{self.exhaustion:_}",
            )


@dataclass(frozen=True, slots=True)
class Closing:
    """Winners to be closed against bankrupt positions, in the order they are taken."""

    row: I64  # [n] position rows of the winners
    lots: I64  # [n] lots taken from each, positive
    rank: I64  # [n] place among all candidates, 1 first
    candidates: int
    unmatched: int  # lots for which no winner was found


class Waterfall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Account equity, then the fund's tranches, then deleveraging, then everybody.

    Neutral: no fund, no deleveraging, no sharing; a deficit stays where it is, as bad debt.
    """

    tranches: tuple[Tranche, ...] = ()
    deleverage: str = "none"  # none, queue, pro_rata
    deleverage_when: str = "fund_exhausted"  # or "bankrupt": at once, before the fund is asked
    fund_share: Ppm = Ppm(PPM)  # of the fund, that may stand behind the open bankrupt
    fund_pays_first: bool = False  # in a deleveraging: the fund pays the deficit while it can
    score: str = "leverage_profit"  # or "profit", "size": the queue's order
    socialise: str = "none"  # none, profit, equity
    penalty_share: Ppm = Ppm(PPM)  # share of a liquidation penalty that feeds the first tranche
    drawdown_window_ns: Nanos = Nanos(28_800_000_000_000)

    def __post_init__(self) -> None:
        """Refuse unknown rules and too many tranches."""
        choices = {
            "deleverage": ("none", "queue", "pro_rata"),
            "deleverage_when": ("fund_exhausted", "bankrupt"),
            "score": ("leverage_profit", "profit", "size"),
            "socialise": ("none", "profit", "equity"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigInvalid(
                    where=f"waterfall.{name}",
                    what=f"must be one of {allowed}",
                    found=repr(getattr(self, name)),
                )
        refuse_negative("waterfall", self, "drawdown_window_ns")
        for name in ("fund_share", "penalty_share"):
            if not 0 <= getattr(self, name) <= PPM:
                raise ConfigInvalid(
                    where=f"waterfall.{name}",
                    what="must lie within 0..1_000_000",
                    found=f"{getattr(self, name):_}",
                )
        if len(self.tranches) > TRANCHES_MAX:
            raise ConfigInvalid(
                where="waterfall.tranches",
                what=f"at most {TRANCHES_MAX}",
                found=str(len(self.tranches)),
            )
        for lower, upper in zip(self.tranches, self.tranches[1:], strict=False):
            if upper.attachment < lower.attachment:
                raise ConfigInvalid(
                    where="waterfall.tranches",
                    what="attachments must not fall",
                    found=f"{lower.attachment:_} then {upper.attachment:_}",
                )

    def scaled(self, venue: Venue) -> Self:
        """Return the waterfall with its tranches at the scale of a recording."""
        tranches = tuple(
            msgspec.structs.replace(
                t,
                initial=Money(venue.scaled(t.initial)),
                attachment=Money(venue.scaled(t.attachment)),
                exhaustion=Money(max(venue.scaled(t.exhaustion), venue.scaled(t.attachment) + 1)),
            )
            for t in self.tranches
        )
        return msgspec.structs.replace(self, tranches=tranches)

    def fund(self, book: Book) -> Money:
        """Return the money in all tranches."""
        return Money(int(book.cash[FUND : FUND + TRANCHES_MAX].sum()))

    def draws(self, deficit: int, *, balance: list[int], lost: int) -> list[int]:
        """Return what each tranche pays of ``deficit``; their sum may fall short of it.

        ``lost`` is the cumulative loss before this one. A tranche owes the part of the deficit that
        falls between its own two ends and into no tranche before it, and what those could not pay,
        as if its layer were reached; it pays no more than it holds, nor than is left of its layer.
        """
        paid: list[int] = []
        place, owed = lost, 0  # losses up to `place` belong to a tranche seen already
        for tranche, money in zip(self.tranches, balance, strict=True):
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
    ) -> Closing:
        """Choose who is closed against ``lots`` (positive) of bankrupt positions of one ``side``.

        The queue takes candidates by score, each whole; pro rata takes from all in proportion to
        size, none above its position: the unique minimiser of the convex cost (`capped_pro_rata`).
        ``deficit`` is in Money; whose profit does not cover its share of it is not a candidate.
        """
        rule = {"leverage_profit": 0, "profit": 1, "size": 2}[self.score]
        found, score, cap = candidates(
            book, facts, health.equity, health.best, mark, instrument, side, deficit, lots, rule
        )
        order = np.argsort(-score, kind="mergesort")
        taken = np.zeros(found.size, np.int64)
        if self.deleverage == "queue":
            rest = in_order(lots, order, cap, taken)
        else:
            rest = capped_pro_rata(lots, cap, cap, taken)
        rank = np.empty(found.size, np.int64)
        rank[order] = np.arange(1, found.size + 1)
        used = order[taken[order] > 0]
        return Closing(
            row=found[used],
            lots=taken[used],
            rank=rank[used],
            candidates=int(found.size),
            unmatched=int(rest),
        )

    def shares(self, deficit: int, health: Health, cash: I64) -> tuple[I64, I64]:
        """Return (accounts, what each pays) of a socialised ``deficit``; empty when nobody can.

        By equity above zero or by unrealised profit; whole Money by largest remainder.
        """
        if self.socialise == "none" or not deficit:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        weight = np.maximum(health.equity, 0)
        if self.socialise == "profit":
            weight = np.minimum(weight, np.maximum(health.equity - cash[: weight.size], 0))
        weight[:FIRST_USER] = 0
        payers = np.flatnonzero(weight)
        if not payers.size:
            return payers[:0], payers[:0]
        able = min(deficit, int(weight.sum()))
        out = np.zeros(payers.size, np.int64)
        largest_remainder(able, weight[payers], out)
        return payers, out

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said = [
            f"waterfall: tranche {t.name} holds {t.initial / 1e6:,.0f} and pays losses from "
            f"{t.attachment / 1e6:,.0f} on"
            + (f" to {t.exhaustion / 1e6:,.0f}" if t.exhaustion < 2**62 else "")
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
            how = (
                f"by {self.score.replace('_', ' times ')}, the first in the queue whole"
                if self.deleverage == "queue"
                else "from all in proportion to their size"
            )
            said.append(f"waterfall: winners are deleveraged {when}, {how}")
        if self.socialise != "none":
            said.append(f"waterfall: what is left is shared in proportion to {self.socialise}")
        else:
            said.append("waterfall: what is left stays as bad debt")
        return said
