"""How much to liquidate now: stages, netting, and a throttle that follows executable depth."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import Book, Health
from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.kernels.order import stable_order
from tidegate.kernels.plan import (
    in_line,
    net_and_cap,
    stage_candidates,
    urgency,
    wanted_in_levels,
)
from tidegate.kernels.priority import branching_line, deficit_line


PRIORITIES = {"deepest": 0, "largest": 1, "oldest": 2, "savable": 3, "branching": 4, "deficit": 5}


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Below ``below`` ppm of its maintenance an account closes at most ``fraction`` in a stage."""

    below: Ppm
    fraction: Ppm


class Wants(NamedTuple):
    """What a stage would close, one row a position, in the order of service."""

    row: I64  # [n] position rows
    want: I64  # [n] signed lots
    share: I64  # [n] ppm of the account


@dataclass(frozen=True, slots=True)
class Plan:
    """What one step closes, one row an affected position, in the order of service."""

    row: I64  # [n] position rows
    netted: I64  # [n] signed lots met by opposite closes at the mark
    ordered: I64  # [n] signed lots for the venue
    share: I64  # [n] ppm of the account this stage closes
    waiting: int  # rows that wanted more than the budget gave

    def closing(self, ordered: I64) -> NDArray[np.bool_]:
        """Return which rows close anything if ``ordered`` is what the routes carry."""
        return (ordered != 0) | (self.netted != 0)

    def carried(self, ordered: I64, late: int) -> Self | None:
        """Return the plan with what the routes carry, ``late`` more rows waiting; None: nothing."""
        keep = self.closing(ordered)
        if not keep.any():
            return None
        return replace(
            self,
            row=self.row[keep],
            netted=self.netted[keep],
            ordered=ordered[keep],
            share=self.share[keep],
            waiting=self.waiting + late,
        )


class StagedPlanner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close just enough of each unhealthy account, in stages, inside what the market can carry.

    Neutral: the whole account, at once, whatever the depth (as venues without a planner do).
    """

    close_fraction: Ppm = Ppm(PPM)  # most of an account closed in one stage
    target: Ppm = Ppm(0)  # stop at this multiple of maintenance; 0: close `close_fraction` always
    interval_ns: Nanos = Nanos(0)  # between two stages of one account
    whole_below: Money = Money(0)  # accounts larger than this ...
    first_stage: Ppm = Ppm(PPM)  # ... close at most this much per stage
    netting: bool = False  # meet opposite closes at the mark before any sale
    priority: str = "deepest"
    levels: tuple[Level, ...] = ()  # soft, partial, full: what replaces `close_fraction`
    depth_share: Ppm = Ppm(0)  # share of executable depth released per window; 0: no throttle
    depth_reach: Ppm = Ppm(10_000)  # executable: resting within this of the mark
    window_ns: Nanos = Nanos(10_000_000_000)  # a full bucket drains in this time
    in_flight_max: Money = Money(0)  # of all orders of one instrument and side; 0: no limit
    unknown_depth: Money = Money(0)  # assumed executable depth where none was measured

    def __post_init__(self) -> None:
        """Refuse shares outside 0..100 % and unknown priorities."""
        for name in ("close_fraction", "first_stage", "depth_share"):
            value = getattr(self, name)
            if not 0 <= value <= 10 * PPM or (name != "depth_share" and not 0 < value <= PPM):
                raise ConfigInvalid(
                    where=f"planner.{name}", what="must lie within 1..1_000_000", found=f"{value:_}"
                )
        refuse_negative(
            "planner",
            self,
            "interval_ns",
            "whole_below",
            "depth_reach",
            "in_flight_max",
            "unknown_depth",
        )
        if self.window_ns < 1:
            raise ConfigInvalid(
                where="planner.window_ns", what="must be >= 1", found=f"{self.window_ns:_}"
            )
        if self.priority not in PRIORITIES:
            raise ConfigInvalid(
                where="planner.priority",
                what=f"must be one of {sorted(PRIORITIES)}",
                found=repr(self.priority),
            )
        _refuse_levels(self.levels)
        if self.target and self.target < PPM:
            raise ConfigInvalid(
                where="planner.target",
                what="must be 0 or at least 1_000_000 (once its maintenance)",
                found=f"{self.target:_}",
            )

    def scaled(self, venue: Venue) -> Self:
        """Return the planner with its venue-wide amounts at the scale of a recording."""
        return msgspec.structs.replace(
            self,
            in_flight_max=Money(venue.scaled(self.in_flight_max)),
            unknown_depth=Money(venue.scaled(self.unknown_depth)),
        )

    def capacity(self, *, depth_lots: int, lot_value: int, pace: Ppm, reserved: Ppm) -> int:
        """Return the lots that may be released per window into ``depth_lots`` of depth.

        ``lot_value`` is Money per lot, for the assumed depth. Rounded down at each step. Without a
        throttle only the pace remains: everything at full pace, nothing at zero.
        """
        if not self.depth_share:
            return 2**62 if pace else 0
        depth = depth_lots or self.unknown_depth // max(lot_value, 1)
        free = depth * (PPM - reserved) // PPM
        return free * self.depth_share // PPM * pace // PPM

    def drained(self, *, spent: int, capacity: int, elapsed: int) -> int:
        """Return what is left in the bucket after ``elapsed`` ns: it drains at its own capacity."""
        if not self.depth_share or capacity >= 2**62:
            return 0
        return max(0, spent - capacity * elapsed // self.window_ns)

    def served(
        self,
        accounts: I64,
        book: Book,
        facts: Facts,
        health: Health,
        *,
        mark: I64,
        staged_at: I64,
        depth: I64 | None = None,
        sigma: I64 | None = None,
    ) -> I64:
        """Return the accounts in the order of service, ties by row.

        ``depth`` is [instruments, 2] executable lots (sells, buys), for "branching"; ``sigma`` is
        [instruments] ppm by which a price moves while one waits, for "deficit".
        """
        line = np.zeros(accounts.size, np.int64)
        if self.priority == "branching":
            known = np.zeros((mark.size, 2), np.int64) if depth is None else depth
            branching_line(book, accounts, known, line)
        elif self.priority == "deficit":
            moves = np.zeros(mark.size, np.int64) if sigma is None else sigma
            deficit_line(book, facts, mark, accounts, health.equity, moves, line)
        else:
            urgency(
                accounts, health.equity, health.required, staged_at, PRIORITIES[self.priority], line
            )
        return accounts[stable_order(line)]

    def wants(
        self, book: Book, facts: Facts, health: Health, *, mark: I64, gate: I64, accounts: I64
    ) -> Wants | None:
        """Return what a new stage of these accounts closes, in their order; None for nothing.

        They are looked at as they lie in the book, which is several times quicker than in an order
        that jumps about, and put in line afterwards.
        """
        n_rows = min(int(book.counts[1]), accounts.size * mark.size)
        row, want, share = (np.empty(n_rows, np.int64) for _ in range(3))
        n = wanted_in_levels(
            book,
            facts,
            mark,
            gate,
            accounts[stable_order(accounts)],
            health.equity,
            health.required,
            self.target,
            self.close_fraction,
            self.whole_below,
            self.first_stage,
            np.array([level.below for level in self.levels], np.int64),
            np.array([level.fraction for level in self.levels], np.int64),
            row,
            want,
            share,
        )
        return Wants(*in_line(book, accounts, row[:n], want[:n], share[:n])) if n else None

    def fitted(self, book: Book, wants: Wants, room_sell: I64, room_buy: I64) -> Plan | None:
        """Return the part of ``wants`` that is netted or has room, which is drawn down."""
        row, want, share = wants
        netted, ordered = np.zeros(row.size, np.int64), np.zeros(row.size, np.int64)
        net_and_cap(book, row, want, int(self.netting), room_sell, room_buy, netted, ordered)
        waiting = int((netted + ordered != want).sum())
        keep = (netted != 0) | (ordered != 0)
        if not keep.any():
            return None
        return Plan(
            row=row[keep],
            netted=netted[keep],
            ordered=ordered[keep],
            share=share[keep],
            waiting=waiting,
        )

    def plan(
        self,
        book: Book,
        facts: Facts,
        health: Health,
        *,
        mark: I64,
        gate: I64,
        staged_at: I64,
        now: Nanos,
        room_sell: I64,
        room_buy: I64,
        depth: I64 | None = None,
        sigma: I64 | None = None,
    ) -> Plan | None:
        """Return this step's closes, or None when there are none. ``room_*`` is drawn down.

        ``gate`` is 1 where prices may liquidate; rooms are lots per instrument; ``depth`` and
        ``sigma`` are those of `served`.
        """
        if not (self.netting or room_sell.any() or room_buy.any()):
            return None
        accounts = stage_candidates(book, health.best, staged_at, now, self.interval_ns)
        if not accounts.size:
            return None
        accounts = self.served(
            accounts, book, facts, health, mark=mark, staged_at=staged_at, depth=depth, sigma=sigma
        )
        wants = self.wants(book, facts, health, mark=mark, gate=gate, accounts=accounts)
        return self.fitted(book, wants, room_sell, room_buy) if wants else None

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said = [f"planner: {self.priority} accounts first"]
        if self.target:
            said.append(
                f"planner: closes what brings an account to {self.target / 1e6:g} times its "
                f"maintenance, at most {self.close_fraction / 1e4:g} % in one stage"
            )
        else:
            said.append(f"planner: closes {self.close_fraction / 1e4:g} % of an account per stage")
        said += [
            f"planner: below {level.below / 1e4:g} % of its maintenance, at most "
            f"{level.fraction / 1e4:g} %"
            for level in self.levels
        ]
        if self.whole_below:
            said.append(
                f"planner: accounts above {self.whole_below / 1e6:,.0f} close at most "
                f"{self.first_stage / 1e4:g} % per stage"
            )
        if self.interval_ns:
            said.append(f"planner: one stage an account every {self.interval_ns / 1e9:g} s")
        if self.netting:
            said.append("planner: opposite closes meet at the mark before anything is sold")
        if self.depth_share:
            said.append(
                f"planner: releases at most {self.depth_share / 1e4:g} % of the depth within "
                f"{self.depth_reach / 1e4:g} % of the mark per {self.window_ns / 1e9:g} s"
            )
        else:
            said.append("planner: no throttle")
        return said


def _refuse_levels(levels: tuple[Level, ...]) -> None:
    """Raise ConfigInvalid where a sicker account would be closed by less than a healthier one."""
    for level in levels:
        if not 0 < level.below <= PPM or not 0 < level.fraction <= PPM:
            raise ConfigInvalid(
                where="planner.levels",
                what="below and fraction must lie within 1..1_000_000",
                found=f"{level.below:_} and {level.fraction:_}",
            )
    for upper, lower in pairwise(levels):
        if lower.below >= upper.below or lower.fraction < upper.fraction:
            raise ConfigInvalid(
                where="planner.levels",
                what="below must fall and fraction must not, level by level",
                found=f"{upper.below:_}/{upper.fraction:_} then {lower.below:_}/{lower.fraction:_}",
            )
