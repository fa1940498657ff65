"""Record two replays of the synthetic crash for `dashboard_mock`: one row every five seconds.

    PYTHONPATH=src:tests python tests/dashboard_record.py

Takes a minute. The rows of `guarded` hold what the panels of the live page show; those of `bare`
only what the replay page lays beside it.
"""

import gzip
import json
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np

from tidegate.cli.stacks import bind_stacks
from tidegate.domain.book import FIRST_USER, FUND
from tidegate.domain.effects import (
    BreakerMoved,
    Deleveraged,
    HealthMoved,
    OrdersPlaced,
    ProfileMoved,
    Rejected,
)
from tidegate.domain.units import PPM, SECOND, unpack
from tidegate.drivers.recording import load
from tidegate.drivers.replay import replay
from tidegate.drivers.synthetic import make
from tidegate.engine.explain import told
from tidegate.engine.reading import money_text, price_text, quantity_text
from tidegate.engine.trail import Trail
from tidegate.kernels.profile import forced_buckets
from tidegate.ports import Record


ACCOUNTS, SEED, EVERY = 4_000, 7, 5 * SECOND
SHOWN = 2  # instruments whose profile and depth are kept
LOG, RECEIPTS, WINNERS, EXPLAINED, LEVELS = 420, 30, 6, 25, 6
OUT = Path(__file__).parent / "dashboard_october.json.gz"


def rounded(value, digits=9):
    if isinstance(value, dict):
        return {k: v if k in {"ts", "seq"} else rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(v, digits) for v in value]
    if isinstance(value, float):
        return int(value) if value == int(value) else float(f"{value:.{digits}g}")
    return value


def plain(text):
    return text.replace(",", "")


class Watcher:
    """Listens to one replay; ``full`` where the live page shows it."""

    def __init__(self, recording, stack, *, full):
        self.stack, self.full = stack, full
        self.instruments, self.names = recording.venue.instruments, recording.names
        self.rows, self.log, self.receipts, self.rungs, self.records = [], [], [], [], []
        self.profile, self.health, self.snap = (
            {},
            HealthMoved(liquidatable=0, bankrupt=0, required=0, distressed=0, deficit=0),
            None,
        )
        self.ordered, self.deleveraged = np.zeros(len(self.instruments)), 0.0
        self.rung, self.due, self.worst = 0, 0, -1

    def price(self, i, ticks):
        return float(Decimal(self.instruments[i].tick_size) * int(ticks))

    def quantity(self, i, lots):
        return float(Decimal(self.instruments[i].lot_size) * int(lots))

    def named(self, rows):
        return [self.names[row - FIRST_USER] for row in unpack(rows).tolist()]

    def __call__(self, seq, event, effects, state, impact_ppm):
        del impact_ppm
        touched, refused = [], []
        for effect in effects:
            match effect:
                case ProfileMoved():
                    sides = [unpack(effect.down) / PPM, unpack(effect.up) / PPM]
                    self.profile[effect.instrument] = sides
                case HealthMoved():
                    self.health = effect
                case BreakerMoved() if effect.rung != self.rung:
                    self.rung = effect.rung
                    self.rungs.append([seq, event.ts, effect.rung, effect.reason, effect.value])
                case Rejected():
                    refused.append(effect.code)
                case OrdersPlaced():
                    touched += self.named(effect.account)
                    lots = unpack(effect.lots).tolist()
                    for i, n in zip(unpack(effect.instrument).tolist(), lots, strict=True):
                        mark = self.price(i, state.market.mark[i])
                        self.ordered[i] += abs(self.quantity(i, n)) * mark
                case Deleveraged():
                    touched += self.named(effect.bankrupt)
                    self.receipts.append(self.receipt(seq, event.ts, effect))
                    i, lots = effect.instrument, np.abs(unpack(effect.lots)).sum()
                    self.deleveraged += self.quantity(i, lots) * self.price(i, effect.price)
        if self.full:
            self.records.append(Record(seq, event, tuple(effects)))
            if touched or refused or seq % 400 == 0:
                self.log.append(self.line(seq, event, effects, touched, refused))
        if event.ts >= self.due:
            self.due = (event.ts // EVERY + 1) * EVERY
            self.rows.append(rounded(self.row(event.ts, seq, state)))

    def line(self, seq, event, effects, touched, refused):
        kind = what = type(event).__name__
        if kind == "PriceObserved":
            of = self.instruments[event.instrument]
            what = f"{of.symbol} at {price_text(of, event.price)}"
        return {
            "seq": seq,
            "ts": event.ts,
            "kind": kind,
            "what": what,
            "accounts": sorted(set(touched))[:6],
            "effects": Counter(type(effect).__name__ for effect in effects),
            "refused": sorted(set(refused)),
        }

    def receipt(self, seq, ts, effect):
        of = self.instruments[effect.instrument]
        forgone = unpack(effect.forgone).tolist()
        won = zip(
            self.named(effect.account),
            unpack(effect.lots).tolist(),
            forgone,
            unpack(effect.rank).tolist(),
            strict=True,
        )
        return {
            "seq": seq,
            "ts": ts,
            "instrument": of.symbol,
            "bankrupt": self.named(effect.bankrupt)[:8],
            "price": plain(price_text(of, effect.price)),
            "mark": plain(price_text(of, effect.mark)),
            "deficit": plain(money_text(effect.deficit)),
            "fund": plain(money_text(effect.fund)),
            "fund_paid": plain(money_text(effect.fund_paid)),
            "forgone": plain(money_text(sum(forgone))),
            "candidates": effect.candidates,
            "rule": effect.rule,
            "winners": [
                {
                    "account": name,
                    "quantity": plain(quantity_text(of, lots)),
                    "forgone": plain(money_text(given)),
                    "rank": rank,
                }
                for name, lots, given, rank in list(won)[:WINNERS]
            ],
        }

    def row(self, ts, seq, state):
        market, health, many = state.market, self.health, range(len(self.instruments))
        marks = [self.price(i, market.mark[i]) for i in many]
        spent = [[self.quantity(i, n) * marks[i] for n in market.spent[i]] for i in many]
        tranches = len(self.stack.declaration.waterfall.tranches)
        row = {
            "ts": ts,
            "seq": seq,
            "mark": marks,
            "near": (market.near / PPM).tolist(),
            "dev": (market.deviations / PPM).tolist(),
            "rung": state.rung,
            "liq": health.liquidatable,
            "bkr": health.bankrupt,
            "req": health.required / PPM,
            "dis": health.distressed / PPM,
            "def": health.deficit / PPM,
            "fund": (state.book.cash[FUND : FUND + tranches] / PPM).tolist(),
            "inflight": int((state.orders.key >= 0).sum()),
            "ordered": self.ordered.tolist(),
            "lost": state.lost / PPM,
            "adl": self.deleveraged,
            "spent": spent,
        }
        self.ordered[:] = 0
        return row | self.pictures(state) if self.full else row

    def pictures(self, state):
        book, market = state.book, state.market
        grid, profile, depth, forced = self.stack.declaration.profile, {}, {}, {}
        health = self.stack.declaration.margin.assess(
            book, state.facts, mark=market.mark, low=market.low, high=market.high
        )
        for i in range(SHOWN):
            if i in self.profile:
                profile[str(i)] = rounded([p.tolist() for p in self.profile[i]], 3)
            depth[str(i)] = [
                [
                    [
                        self.price(i, market.depth_price[i, side, k]),
                        rounded(self.quantity(i, market.depth_lots[i, side, k]), 4),
                    ]
                    for k in range(min(LEVELS, int(market.levels[i, side])))
                ]
                for side in range(2)
            ]
            lots = [np.zeros(grid.buckets, np.int64) for _ in range(2)]
            forced_buckets(book, state.facts, market.mark, health.best, i, grid.width, *lots)
            forced[str(i)] = rounded([[self.quantity(i, n) for n in side] for side in lots], 3)
        if self.snap is None or self.health.liquidatable >= self.worst:
            self.worst, self.snap = self.health.liquidatable, self.accounts(state, health)
        return {"profile": profile, "depth": depth, "forced": forced}

    def accounts(self, state, health):
        book, size = state.book, np.zeros(state.book.cash.size)
        for row in np.flatnonzero(book.lots):
            i = int(book.instrument[row])
            worth = self.quantity(i, book.lots[row]) * self.price(i, state.market.mark[i])
            size[book.account[row]] += abs(worth)
        rows = np.flatnonzero(size)
        rows = rows[rows >= FIRST_USER]
        return {
            "account": (rows - FIRST_USER).tolist(),
            "equity": rounded((health.equity[rows] / PPM).tolist(), 6),
            "maintenance": rounded((health.required[rows] / PPM).tolist(), 6),
            "notional": rounded(size[rows].tolist(), 6),
        }

    def explained(self):
        told_of = {}
        for line in reversed(self.log[:LOG]):
            for name in line["accounts"][:1]:
                if len(told_of) < EXPLAINED and name not in told_of:
                    row = FIRST_USER + self.names.index(name)
                    trail = Trail.walk(self.records, row, line["seq"])
                    lines = told(trail, line["seq"], self.stack, self.names)
                    told_of[name] = {"seq": line["seq"], "lines": lines}
        return told_of

    def result(self, verdict):
        grid = self.stack.declaration.profile
        common = {
            "rows": self.rows,
            "verdict": verdict.to_json(),
            "rungs": self.rungs,
            "digest": self.stack.digest,
            "tranches": [{"name": t.name} for t in self.stack.declaration.waterfall.tranches],
        }
        if not self.full:
            return common
        return common | {
            "log": self.log[:LOG],
            "receipts": self.receipts[:RECEIPTS],
            "explained": self.explained(),
            "snap": self.snap,
            "grid": {"buckets": grid.buckets, "width": grid.width / PPM, "near": grid.near},
        }


def record(folder):
    make(folder, accounts=ACCOUNTS, seed=SEED)
    recording, stacks = load(folder), {}
    for stack in bind_stacks(("bare", "guarded"), recording.venue):
        watcher = Watcher(recording, stack, full=stack.name == "guarded")
        run = replay(recording, stack, observers=[watcher])
        stacks[stack.name] = watcher.result(run.verdict)
    facts = [
        {
            "symbol": one.symbol,
            "tick": one.tick_size,
            "lot": one.lot_size,
            "kind": type(one).__name__.lower(),
        }
        for one in recording.venue.instruments
    ]
    venue = {"instruments": facts}
    return {"venue": venue, "accounts": list(recording.names), "stacks": stacks}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        found = record(Path(temporary) / "october")
    text = json.dumps(found, separators=(",", ":")).encode()
    OUT.write_bytes(gzip.compress(text, 9, mtime=0))
