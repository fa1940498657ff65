"""Made by hand: runs that nobody replayed, and a small recording in which everything happens."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from tidegate.domain.book import FIRST_USER
from tidegate.domain.instrument import Linear
from tidegate.domain.units import PPM, SECOND, Lots, Money, Ppm, Ticks
from tidegate.domain.venue import Limits, Market, Venue, VenueModel
from tidegate.drivers.casualties import Casualties
from tidegate.drivers.recording import write_recording
from tidegate.drivers.series import Series
from tidegate.drivers.verdict import Verdict
from tidegate.safeguards.stack import SafeguardStack, Stack


BEGIN = 1_760_130_000 * SECOND  # 2025-10-10 21:00 UTC
USERS = 400


def linear(symbol: str, tick_value: int = 1_000) -> Linear:
    return Linear(
        symbol=symbol,
        tick_size="0.01",
        lot_size="0.1",
        price_max=Ticks(2_000_000),
        lots_max=Lots(100_000),
        tick_value=Money(tick_value),
    )


VENUE = Venue(
    name="handmade",
    instruments=(linear("SOL-PERP"), linear("ETH-PERP")),
    limits=Limits(accounts_max=512, positions_max=2_048, balance_max=Money(2**40)),
    notes=("every number of this recording was made up <for a test> & nothing else",),
)


@dataclass(frozen=True)
class HandmadeRun:
    """The same names as `tidegate.drivers.replay.Run`."""

    name: str
    stack: Stack
    verdict: Verdict
    series: Series
    casualties: Casualties
    digest: str
    events: int


VERDICT = Verdict(
    bad_debt=Money(0),
    socialised_loss=Money(0),
    uncovered=Money(0),
    deficit_at_end=Money(0),
    adl_profit_taken=Money(0),
    adl_overshoot=Money(0),
    adl_accounts=0,
    adl_volume=Money(0),
    fund_at_start=(Money(0),),
    fund_used=(Money(0),),
    peak_impact_ppm=Ppm(0),
    forced_volume=Money(0),
    forced_by_shock=Money(0),
    sold_volume=Money(0),
    netted_volume=Money(0),
    peak_branching_ppm=Ppm(0),
    orders=0,
    accounts=USERS,
    accounts_liquidated=0,
    recovered_ppm=None,
    insolvent_seconds=0.0,
    initial_margin_ppm=None,
    rung_seconds=(0.0, 0.0, 0.0, 0.0, 0.0),
    events=1_000,
    regenerated=0,
    rejected={},
    digest="00",
)


def verdict(**changes) -> Verdict:
    return msgspec.structs.replace(VERDICT, **changes)


def run(name: str, harm: float, seconds: int = 900) -> HandmadeRun:
    """Return a crash whose damage grows with ``harm``: 0 is calm, 1 is what bare suffers."""
    s = np.arange(seconds)
    fall = 1 / (1 + np.exp(-(s - 330) / 40))
    wave = 0.004 * np.sin(s / 9) + 0.002 * np.sin(s / 2.3)
    reference = np.stack([18_400 * (1 - 0.11 * fall + wave), 412_000 * (1 - 0.08 * fall + wave)], 1)
    push = harm * np.exp(-(((s - 400) / 70.0) ** 2))
    impact = -np.stack([0.14 * push, 0.06 * push], 1)
    mark = reference * (1 + impact)
    sold = np.stack([9e12 * push * (1 + np.sin(s) ** 2), 4e12 * push], 1) / 10
    near = np.stack([0.3 + 2.1 * push, 0.2 + 0.8 * push], 1)
    walls = mark[:, :, None] * (1 - 0.005 * (np.arange(40) + 0.5))
    cliff = np.stack([17_000.0 * np.ones(seconds), 380_000.0 * np.ones(seconds)], 1)[:, :, None]
    down = (0.05 + 2.5 * harm + 0.3) * np.exp(-((((walls / cliff) - 1) / 0.012) ** 2))
    fund = np.zeros((seconds, 8))
    fund[:, 0] = 20e12 * (1 - harm * fall)
    fund[:, 1] = 5e12
    bad = 24e12 * harm * fall
    rung = np.where(harm < 1, np.digitize(push, [0.1, 0.3, 0.42]), 0)

    def whole(column: np.ndarray) -> np.ndarray:
        return np.rint(column).astype(np.int64)

    zero = np.zeros((seconds, 2), np.int64)
    series = Series(
        step_ns=SECOND,
        ts=BEGIN + s.astype(np.int64) * SECOND,
        mark=whole(mark),
        reference=whole(reference),
        impact=whole(impact * PPM),
        near=whole(near * PPM),
        sold=whole(sold),
        bought=whole(sold * 0.1),
        netted=whole(sold * (0.5 if harm < 1 else 0.0)),
        adl=whole(sold * 0.3 * harm * (fall > 0.9)[:, None]),
        fund=whole(fund),
        deficit=whole(bad * 0.1),
        liquidatable=whole(60 * push),
        rung=rung.astype(np.int64),
        bad_debt=whole(bad),
        socialised=zero[:, 0],
        forgone=whole(bad * 0.4),
        orders=whole(20 * push),
        down=whole(down * PPM).astype(np.int32),
        up=whole(down[:, :, ::-1] * 0.05 * PPM).astype(np.int32),
    )
    hits = Casualties.none(512)
    users = slice(FIRST_USER, FIRST_USER + USERS)
    k = np.arange(USERS)
    hits.notional[users] = (1e9 * 10 ** (k / 90)).astype(np.int64)
    hits.equity[users] = hits.notional[users] // (1 + (k * 7) % 60)
    struck = FIRST_USER + k[(k * 7) % 60 > 50 - 45 * harm]
    hits.first[struck] = BEGIN
    hits.forced[struck] = hits.notional[struck] // 2
    winners = FIRST_USER + k[(k * 11) % 37 == 0][: int(30 * harm)]
    hits.lost[winners] = hits.notional[winners] // 3
    hits.forgone[winners] = hits.lost[winners] // 9
    seconds_on = tuple(float((rung == r).sum()) for r in range(5))
    return HandmadeRun(
        name=name,
        stack=Stack.bind(SafeguardStack(name=name, about=f"made by hand as {name}"), VENUE),
        verdict=verdict(
            bad_debt=Money(int(bad[-1])),
            adl_profit_taken=Money(int(bad[-1] * 0.4)),
            adl_accounts=int(winners.size),
            fund_at_start=(Money(20 * 10**12), Money(5 * 10**12)),
            fund_used=(Money(int(20e12 * harm)), Money(0)),
            peak_impact_ppm=Ppm(int(140_000 * harm)),
            forced_volume=Money(int(sold.sum())),
            forced_by_shock=Money(int(sold.sum() / (1 + 2 * harm))),
            sold_volume=Money(int(sold.sum())),
            peak_branching_ppm=Ppm(int(near.max() * PPM)),
            accounts_liquidated=int(struck.size),
            recovered_ppm=Ppm(int(PPM * (1 - 0.07 * harm))),
            insolvent_seconds=300.0 * harm,
            initial_margin_ppm=Ppm(int(60_000 / (0.6 + 0.4 * harm))),
            rung_seconds=seconds_on,
            regenerated=int(500 * harm),
            digest=f"{int(harm * 1e9):016x}",
        ),
        series=series,
        casualties=hits,
        digest=f"{int(harm * 1e9):016x}",
        events=1_000,
    )


def three() -> list[HandmadeRun]:
    """Return a bare, a neutral and a guarded run of the same made-up crash."""
    return [run("bare", 1.0), run("neutral", 0.8), run("guarded", 0.22)]


CRASH = Venue(
    name="small crash",
    instruments=(linear("SOL-PERP"),),
    limits=Limits(accounts_max=64, positions_max=256, orders_max=256, balance_max=Money(2**50)),
    sources=("index",),
    markets=(Market(symbol="SOL-PERP", depth=Money(60_000 * PPM)),),
    model=VenueModel(latency_ns=200_000_000),
    notes=("a price that falls by a fifth within a minute, and nine accounts",),
)


def write_crash(folder: Path) -> Path:
    """Write a recording of nine accounts and a minute of crash into ``folder`` and return it."""
    fall = [100.0] * 5 + [100 - 0.5 * k for k in range(1, 41)] + [80 + 0.1 * k for k in range(40)]
    book = {  # equity at the start, quantity; longs and shorts balance
        "thin": (600.0, 100.0),
        "edge": (2_000.0, 200.0),
        "fast": (9_000.0, 2_000.0),
        "calm": (90_000.0, 300.0),
        "deep": (8_000.0, 1_400.0),
        "bear": (60_000.0, -1_500.0),
        "wolf": (9_000.0, -1_800.0),
        "lean": (3_000.0, -500.0),
        "mild": (80_000.0, -200.0),
    }
    write_recording(
        folder,
        CRASH,
        {
            "prices": pa.table(
                {
                    "ts": [BEGIN + k * SECOND for k in range(len(fall))],
                    "instrument": ["SOL-PERP"] * len(fall),
                    "source": ["index"] * len(fall),
                    "price": [round(p, 2) for p in fall],
                }
            ),
            "accounts": pa.table(
                {
                    "account": list(book),
                    "asset": ["USD"] * len(book),
                    "balance": [cash for cash, _ in book.values()],
                }
            ),
            "positions": pa.table(
                {
                    "account": list(book),
                    "instrument": ["SOL-PERP"] * len(book),
                    "quantity": [lots for _, lots in book.values()],
                    "entry_price": [100.0] * len(book),
                }
            ),
        },
    )
    return folder
