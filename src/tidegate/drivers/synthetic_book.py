"""A synthetic crowd: who holds what before the storm, in shares of the venue's open interest.

Six groups, each a distribution of size, leverage and entry. Group totals are exact (sizes are
drawn, then scaled to the group's share of each market), so that a heavy tail changes who is large
and never how much there is. Nothing downstream knows the groups; only account names tell.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.drivers.streams import Streams


F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of trader. ``people`` and ``volume`` are shares: of accounts, of open interest.

    ``tail`` is the exponent of a Pareto size, or 0 for a log-normal one of deviation ``spread``.
    ``leverage`` are (notional over equity, weight) pairs; each is worn down by up to three tenths,
    as nobody stands exactly on a round number. ``entry`` is mean and deviation of the logarithm of
    entry over start price, in percent, for the calmest asset; others scale it with their beta.
    """

    name: str
    people: float
    volume: tuple[float, ...]  # share of each asset's open interest held on this side
    side: int
    leverage: tuple[tuple[float, float], ...]
    entry: tuple[float, float]
    tail: float = 0.0
    spread: float = 1.5
    hedge: bool = False  # each position is matched by a short in the first or second asset


# Longs sum to one in every market; what shorts leave over is held by makers outside the book.
# Shares and leverages were fitted to the published aggregates, see the docs for the result.
GROUPS: Final = (
    Group(
        name="crowd",
        people=0.42,
        volume=(0.56, 0.46, 0.42, 0.32, 0.38),
        side=1,
        leverage=((2, 0.08), (3, 0.14), (5, 0.30), (10, 0.38), (20, 0.10)),
        entry=(0.5, 1.5),
        spread=0.7,
    ),
    Group(
        name="whale",
        people=0.006,
        volume=(0.19, 0.10, 0.16, 0.18, 0.13),
        side=1,
        leverage=((2, 0.08), (3, 0.15), (5, 0.32), (10, 0.38), (20, 0.07)),
        entry=(0.0, 2.0),
        tail=2.0,
    ),
    Group(
        name="careful",
        people=0.12,
        volume=(0.25, 0.36, 0.15, 0.15, 0.21),
        side=1,
        leverage=((0.5, 0.4), (1, 0.6)),
        entry=(-8.0, 6.0),
    ),
    Group(
        name="pair",
        people=0.03,
        volume=(0.0, 0.08, 0.27, 0.35, 0.28),
        side=1,
        leverage=((5, 0.3), (10, 0.7)),
        entry=(0.0, 2.0),
        spread=1.8,
        hedge=True,
    ),
    Group(
        name="winner",
        people=0.40,
        volume=(0.29, 0.31, 0.34, 0.34, 0.45),
        side=-1,
        leverage=((0.02, 0.22), (0.05, 0.26), (0.15, 0.30), (0.4, 0.18), (1, 0.04)),
        entry=(3.0, 3.0),
        tail=1.2,
    ),
    Group(
        name="bear",
        people=0.024,
        volume=(0.07, 0.07, 0.07, 0.07, 0.07),
        side=-1,
        leverage=((5, 0.5), (10, 0.3), (20, 0.2)),
        entry=(1.0, 1.5),
    ),
)

TAIL_MAX: Final = 200.0  # the largest Pareto draw over the smallest
ISOLATED: Final = 0.3  # share of the crowd's positions in the wildest two assets that stand alone
WORN: Final = 0.3
CASH_MIN: Final = 0.01  # of notional: nobody's balance is negative, whatever profit stands open


class Positions(NamedTuple):
    """One row a position. ``cash`` is what the position brings to its account's balance."""

    account: I64
    asset: I64
    notional: F64  # signed, at the start price
    entry: F64  # numeraire
    cash: F64
    isolated: NDArray[np.bool_]


class Crowd(NamedTuple):
    """A whole book before it is rounded to lots."""

    names: list[str]
    positions: Positions


@dataclass(frozen=True, slots=True)
class Field:
    """The markets a crowd is drawn for, one cell an asset."""

    start: F64  # price
    beta: F64
    leverage_max: F64  # above this nobody can open
    interest: F64  # open interest, one side, numeraire
    popularity: F64  # share of accounts that choose this asset first


def crowd(field: Field, accounts: int, streams: Streams) -> Crowd:
    """Return a book of ``accounts`` accounts, each drawn from its group's own stream."""
    names: list[str] = []
    parts: list[Positions] = []
    counts = _counts(accounts)
    for group, count in zip(GROUPS, counts, strict=True):
        parts.append(_group(group, field, count, len(names), streams))
        names += [f"{group.name}-{n:06d}" for n in range(count)]
    return Crowd(names, _joined(parts))


def _joined(parts: list[Positions]) -> Positions:
    return Positions(
        account=np.concatenate([part.account for part in parts]),
        asset=np.concatenate([part.asset for part in parts]),
        notional=np.concatenate([part.notional for part in parts]),
        entry=np.concatenate([part.entry for part in parts]),
        cash=np.concatenate([part.cash for part in parts]),
        isolated=np.concatenate([part.isolated for part in parts]),
    )


def _counts(accounts: int) -> list[int]:
    # Two of each kind at least; the crowd takes what rounding leaves over.
    counts = [max(2, round(accounts * group.people)) for group in GROUPS]
    counts[0] += accounts - sum(counts)
    return counts


def _group(group: Group, field: Field, count: int, first: int, streams: Streams) -> Positions:
    draw = streams[f"book.{group.name}"]
    assets = field.start.size
    wanted = np.array(group.volume) > 0
    odds = field.popularity * wanted
    asset = draw.choice(assets, count, p=odds / odds.sum())
    # The first accounts are dealt round the markets, so that a small book is missing none of them.
    dealt = np.flatnonzero(wanted)[: count // 2]
    asset[: dealt.size] = dealt
    size = _sizes(group, count, draw)
    levels = np.array([level for level, _ in group.leverage], np.float64)
    weight = np.array([w for _, w in group.leverage])
    leverage = draw.choice(levels, count, p=weight / weight.sum())
    leverage *= 1.0 - WORN * draw.random(count)
    mean, deviation = (share / 100.0 for share in group.entry)
    entry = np.exp((mean + deviation * draw.standard_normal(count)) * field.beta[asset])
    isolated = (draw.random(count) < ISOLATED) & (asset >= assets - 2) & (group.name == "crowd")
    total = np.bincount(asset, size, assets)
    target = np.array(group.volume) * field.interest
    share = np.divide(target, total, out=np.zeros(assets), where=total > 0)
    notional = group.side * size * share[asset]
    account = first + np.arange(count)
    legs = Positions(account, asset, notional, entry * field.start[asset], notional, isolated)
    if group.hedge:
        legs = _hedged(legs, field, draw)
        leverage = np.concatenate([leverage, leverage])
    return legs._replace(cash=_cash(legs, leverage, field))


def _sizes(group: Group, count: int, draw: np.random.Generator) -> F64:
    if group.tail:
        floor = TAIL_MAX**-group.tail
        return (floor + (1.0 - floor) * draw.random(count)) ** (-1.0 / group.tail)
    spread = np.clip(draw.standard_normal(count), -3.0, 3.0)
    return np.exp(group.spread * spread)


def _hedged(legs: Positions, field: Field, draw: np.random.Generator) -> Positions:
    # Short the same notional of a calmer asset: bitcoin, or ether where the long leg is not ether.
    count = legs.asset.size
    other = np.where((draw.random(count) < 0.5) & (legs.asset > 1), 1, 0)
    start = field.start[other] * np.exp(0.02 * draw.standard_normal(count))
    short = Positions(legs.account, other, -legs.notional, start, legs.cash, legs.isolated)
    return _joined([legs, short])


def _cash(legs: Positions, leverage: F64, field: Field) -> F64:
    """Return the balance that gives each position the equity its leverage says, at the start."""
    size = np.abs(legs.notional)
    equity = size / np.minimum(leverage, field.leverage_max[legs.asset] * (1.0 - WORN / 2))
    profit = legs.notional * (1.0 - legs.entry / field.start[legs.asset])
    return np.maximum(equity - profit, CASH_MIN * size)
