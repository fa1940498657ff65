"""Twins: every kernel against `reference`, exactly, on books and numbers that nobody chose."""

import importlib
import pkgutil
import re
from fractions import Fraction
from math import isqrt as exact_root
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import reference as ref
import tidegate.conformance
import tidegate.domain
import tidegate.kernels
from desk import U, coin, column, facts_of, inverse, perp, venue_of
from tidegate.domain import auctions, orders, table, units
from tidegate.domain import book as books
from tidegate.domain.book import EXTERNAL, FIRST_USER, Book
from tidegate.domain.units import PPB, PPM
from tidegate.kernels import (
    allocate,
    deleverage,
    depth,
    fills,
    lens,
    margin,
    packed,
    packed_profile,
    packing,
    penalty,
    plan,
    profile,
    safe_distance,
    value,
)
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


BIG = 2**62
INITIAL, MAINTENANCE = margin.INITIAL, margin.MAINTENANCE
ints = st.integers
nearly = st.one_of(ints(0, 30), ints(0, 10**6), ints(0, 2**42 + 5), ints(0, BIG - 1))
signed = st.builds(lambda n, s: n * s, nearly, st.sampled_from([1, -1]))
ppm = st.one_of(ints(0, PPM), st.sampled_from([0, 1, 999_999, PPM]))


# Rounding -------------------------------------------------------------------------------------


@given(signed, st.one_of(ints(-PPM, PPM), ints(-PPB, PPB)))
@example(2**42 - 1, PPM)
@example(2**42, PPM)
@example(-(2**42), -PPM)
@example(1, -1)
def test_ppm_rounds_down_and_up(amount, rate):
    assume(abs(amount * rate) < BIG * PPM)
    assert units.ppm_floor(amount, rate) == amount * rate // PPM
    assert units.ppm_ceil(amount, rate) == -(-amount * rate // PPM)


@given(signed, ints(-PPB, PPB))
def test_ppb_rounds_down_and_up(amount, rate):
    assert units.ppb_floor(amount, rate) == amount * rate // PPB
    assert units.ppb_ceil(amount, rate) == -(-amount * rate // PPB)


@given(signed, nearly, ints(1, PPB))
@example(-1, BIG - 1, PPB)
@example(-1, 10**9 + 7, 10**9)
def test_a_product_over_a_small_scale_is_exact(amount, price, scale):
    assume(abs(amount * price) < BIG * scale)
    assert units.muldiv_floor(amount, price, scale) == amount * price // scale


@given(nearly, nearly, nearly.map(lambda n: n + 1))
@example(BIG - 1, BIG - 1, BIG)
@example(BIG - 1, BIG, BIG)
def test_a_product_over_a_large_one_is_exact(amount, factor, whole):
    assume(amount * factor // whole < BIG)
    assert units.muldiv(amount, factor, whole) == amount * factor // whole


@given(
    st.one_of(nearly, ints(0, 2**31).map(lambda n: n * n), ints(1, 2**31).map(lambda n: n * n - 1))
)
@example(BIG)
@example(BIG - 1)
def test_the_root_is_exact(square):
    assert units.isqrt(square) == exact_root(square)


@given(ints(0, 2**60), ints(0, 2**60))
def test_a_share_of_nothing_is_nothing(part, whole):
    assert units.share_floor(part, whole) == (part * PPM // whole if whole else 0)


@given(st.lists(ints(-(2**63), 2**63 - 1)))
def test_a_column_survives_its_bytes(numbers):
    packed = units.pack(np.array(numbers, np.int64))
    assert packed == b"".join(n.to_bytes(8, "little", signed=True) for n in numbers)
    assert units.unpack(packed).tolist() == numbers


# Worlds ---------------------------------------------------------------------------------------

INSTRUMENTS = (
    perp("A"),
    perp("B", tick_value=7, lots_max=10**7),
    coin(units=100),
    inverse(),
    coin("DUST", units=10**9, tick_value=10**7, lots_max=10**11),
)
VENUE = venue_of(*INSTRUMENTS)
N = len(INSTRUMENTS)


@st.composite
def requirements(draw) -> Requirement:
    """Draw up to three tiers and every other rule a market may have, many of them switched off."""
    rates = sorted(draw(st.lists(st.tuples(ppm, ppm).map(sorted), min_size=1, max_size=3)))
    initial = sorted(r[1] for r in rates)
    floors = sorted(draw(st.sets(ints(1, 10**6), min_size=len(rates) - 1, max_size=len(rates) - 1)))
    tiers = tuple(
        Tier(floor=f * PPM, maintenance=m[0], initial=max(i, m[0]))
        for f, m, i in zip((0, *floors), rates, initial, strict=True)
    )
    some = st.sampled_from([0, 1])
    return Requirement(
        tiers=tiers,
        premium=draw(some) * draw(ints(0, 10**6)),
        counted_max=draw(some) * draw(ints(1, 10**6)) * PPM,
        debt_initial=draw(ints(300_000, 2 * PPM)),
        debt_maintenance=draw(ints(0, 300_000)),
    )


def tiers(*rows: tuple[int, int, int]) -> tuple[Tier, ...]:
    """Return tiers from (floor in whole units, maintenance, initial)."""
    return tuple(Tier(floor=f * PPM, maintenance=m, initial=i) for f, m, i in rows)


PLAIN = tiers((0, 50_000, 100_000))
STEEP = tiers((0, 5_000, 10_000), (100, 33_333, 66_667), (10_000, 500_000, 999_999))
RULES_OF_MARKETS = (
    Requirement(),
    Requirement(tiers=PLAIN, penalty=5_000, debt_maintenance=100_000, debt_initial=200_000),
    Requirement(tiers=STEEP, dust=10**7, penalty=12_345),
    Requirement(tiers=STEEP, premium=777, open_low=10**9, open_high=10**12),
    Requirement(tiers=tiers((0, 0, 0), (1, PPM, PPM)), debt_maintenance=1, debt_initial=1),
    Requirement(tiers=PLAIN, premium=5_001, counted_max=10**9, debt_initial=2 * PPM),
    Requirement(tiers=STEEP, open_low=0, open_high=10**10, dust=1, penalty=PPM),
    Requirement(tiers=STEEP, counted_max=50 * PPM, open_low=10**13, open_high=10**13),
)


CASH_DEBTS = tuple(
    {"maintenance": low, "initial": high} for low, high in ((0, 0), (333_333, 500_000), (PPM, PPM))
)


@st.composite
def worlds(draw, users: int = 4) -> ref.World:
    """Draw a book of a few users over five instruments of three kinds."""
    price = st.one_of(ints(1, 20), ints(1, 10**6))
    money = st.one_of(ints(-(10**3), 10**3), ints(-(10**13), 10**13))
    world = ref.World(
        instruments=INSTRUMENTS,
        rules=draw(st.tuples(*[st.sampled_from(RULES_OF_MARKETS)] * N)),
        mark=draw(st.tuples(*[price] * N)),
        cash=dict(enumerate(draw(st.tuples(*[money] * users)), U)),
        cash_debt=draw(st.sampled_from(CASH_DEBTS)),
    )
    keys = st.tuples(ints(0, users - 1), ints(0, N - 1))
    for user, i in draw(st.lists(keys, max_size=9, unique=True)):
        inst = INSTRUMENTS[i]
        lots = draw(st.one_of(ints(-30, 30), ints(-inst.lots_max, inst.lots_max)))
        spot = isinstance(inst, type(INSTRUMENTS[2]))
        cost = 0 if spot or not lots else ref.settled(inst, lots, draw(price))
        if lots:
            world.held[U + user, i] = lots, cost
    return world


def columns(world: ref.World):
    """Return (book, facts, mark) of a world."""
    model = MarginModel(
        instruments={x.symbol: r for x, r in zip(INSTRUMENTS, world.rules, strict=True)},
        cash_debt_initial=world.cash_debt["initial"],
        cash_debt_maintenance=world.cash_debt["maintenance"],
    )
    book = Book.empty(VENUE.limits, N)
    book.counts[books.ACCOUNTS] = U + len(world.cash)
    for account, cash in world.cash.items():
        book.cash[account] = cash
    for (account, i), (lots, cost) in world.held.items():
        books.move(book, account, i, lots, cost)
        books.move(book, EXTERNAL, i, -lots, -cost)
    for (account, i), lots in world.flying.items():
        book.in_flight[books.row_of(book, account, i)] = lots
    return book, facts_of(VENUE, model), column(*world.mark)


pytestmark = pytest.mark.filterwarnings("error")
briefly = settings(max_examples=max(50, settings.default.max_examples // 4))
lots_of = [st.one_of(ints(-30, 30), ints(-x.lots_max, x.lots_max)) for x in INSTRUMENTS]
somewhere = ints(0, N - 1).flatmap(lambda i: st.tuples(st.just(i), lots_of[i]))
prices = st.one_of(ints(1, 20), ints(1, 10**6))


# Values ---------------------------------------------------------------------------------------


@given(somewhere, prices, ints(-(10**12), 10**12), st.tuples(*[prices] * N))
def test_values(where, price, cost, marks):
    i, lots = where
    inst, facts, mark = INSTRUMENTS[i], facts_of(VENUE), column(*marks)
    world = ref.World(INSTRUMENTS, [Requirement()] * N, marks)
    kind = (facts.kind[i], facts.tick_value[i], facts.units[i])
    assert value.settled(*kind, facts.contract[i], lots, price) == ref.settled(inst, lots, price)
    assert value.size_of(*kind, facts.face[i], lots, price) == ref.notional(inst, lots, price)
    assert value.settled_value(facts, i, lots, price) == ref.settled(inst, lots, price)
    assert value.notional(facts, i, lots, price) == ref.notional(inst, lots, price)
    assert value.in_money(facts, mark, i, cost) == ref.in_money(world, i, cost)
    assert value.worth(facts, mark, i, lots, cost, price) == ref.worth(world, i, lots, cost, price)


def test_an_inverse_position_without_a_price_is_worth_nothing():
    assert value.settled_value(facts_of(VENUE), 3, 5, 0) == 0


# Margin ---------------------------------------------------------------------------------------


@given(requirements(), ints(0, 10**13), ints(-(10**6), 10**6))
def test_requirements_by_tier_and_size(rule, size, lots):
    facts = facts_of(venue_of(perp()), MarginModel(instruments={"*": rule}))
    end = facts.tier_floor.size
    tier = margin.tier_at(0, end, facts.tier_floor, size)
    assert facts.tier_maintenance[tier] == ref.rate_at(rule, size, "maintenance")
    columns = {
        MAINTENANCE: (facts.tier_maintenance, facts.tier_maintenance_cum),
        INITIAL: (facts.tier_initial, facts.tier_initial_cum),
    }
    world = ref.World([perp()], [rule], [1])
    for which, name in ((MAINTENANCE, "maintenance"), (INITIAL, "initial")):
        due = ref.requirement(world, 0, lots, size, name)
        assert margin.requirement(facts, 0, lots, size, which) == due
        rate, cum = columns[which]
        args = (0, end, facts.tier_floor, rate, cum, rule.premium, lots, size)
        assert margin.tiered(*args) == due


@given(ppm, ints(0, 2 * 10**6), ints(-(10**6), 10**6))
@example(0, 500_000, 4)  # exactly 1,000 ppm
@example(500_000, 1_000, 1)  # exactly one ppm more
@example(3, 0, 0)  # 2.4 ppm
@example(3, 600, 1)  # 2.4 + 0.6 ppm: exactly three, rounded once
def test_the_size_premium(base, premium, lots):
    assert margin.premium_rate(base, premium, lots) == ref.premium_rate(base, premium, lots)


@briefly
@given(worlds(), st.lists(st.tuples(ints(0, 5_000), ints(0, 5_000)), min_size=N, max_size=N))
def test_the_health_of_every_account(world, doubts):
    book, facts, mark = columns(world)
    low = [max(1, m - d[0]) for m, d in zip(world.mark, doubts, strict=True)]
    high = [m + d[1] for m, d in zip(world.mark, doubts, strict=True)]
    n = book.accounts
    equity, required, best = (np.full(n, 7, np.int64) for _ in range(3))
    margin.sweep(book, facts, mark, column(*low), column(*high), equity, required, best)
    assert not equity[:FIRST_USER].any()
    assert not best[:FIRST_USER].any()
    for a, (have, need, hope) in ref.assess(world, low, high).items():
        assert (equity[a], required[a]) == (have, need)
        assert best[a] == hope
        assert penalty.equity_of(book, facts, mark, a) == have
    # Without a doubt the best case is the case.
    margin.sweep(book, facts, mark, mark, mark, equity, required, best)
    assert (best == equity - required).all()


@briefly
@given(worlds(users=2), st.lists(ints(0, 30), min_size=N, max_size=N), st.randoms())
def test_no_price_within_its_interval_is_better_than_the_best_case(world, doubts, chance):
    book, facts, mark = columns(world)
    low = [max(1, m - d) for m, d in zip(world.mark, doubts, strict=True)]
    high = [m + d for m, d in zip(world.mark, doubts, strict=True)]
    equity, required, best, hope = (np.zeros(book.accounts, np.int64) for _ in range(4))
    margin.sweep(book, facts, mark, column(*low), column(*high), equity, required, hope)
    for _ in range(5):
        inside = column(*(chance.randint(a, b) for a, b in zip(low, high, strict=True)))
        margin.sweep(book, facts, inside, inside, inside, equity, required, best)
        # A balance's value rounds down and its size up: one Money of slack each.
        assert (hope + len(world.held) >= best).all()


@briefly
@given(worlds())
def test_net_margin_of_one_position(world):
    book, facts, mark = columns(world)
    out = np.zeros(2, np.int64)
    for (a, i), (lots, cost) in world.held.items():
        row = books.row_of(book, a, i)
        margin.net_margin(book, facts, mark, row, 11, out)
        hope = margin.best_margin(book, facts, mark, mark, row)
        assert hope == ref.net(world, i, lots, cost, world.mark[i], world.mark)
        size = ref.notional(INSTRUMENTS[i], lots, 11)
        assert out[0] == ref.worth(world, i, lots, cost, 11)
        assert out[1] == ref.requirement(world, i, lots, size, "maintenance")


@briefly
@given(worlds(), st.sets(ints(0, N - 1)))
def test_who_holds_something_without_a_price_is_spared(world, unpriced):
    book, facts, mark = columns(world)
    mark[list(unpriced)] = 0
    equity, best = (np.full(book.accounts, n, np.int64) for n in (-5, -14))
    margin.spare_unpriced(book, facts, mark, equity, best)
    for a in world.users():
        # What is owned counts nothing without a price; it is no reason to spare anybody.
        owned = {i for i in world.of(a) if i in {2, 4} and world.held[a, i][0] > 0}
        held = {*world.of(a)} - owned
        coins = {int(facts.coin[i]) for i in held} - {-1}
        spared = any(i in unpriced for i in held | coins)
        assert (best[a] > 2**60) == spared
        assert (equity[a] == 0) == spared


@given(ppm, ints(0, 10**13), ints(0, 10**13), ints(0, 2 * 10**13))
def test_crowding_raises_the_rate(base, low, high, interest):
    low = min(low, high or low)
    facts = facts_of(
        venue_of(perp()),
        MarginModel(instruments={"*": Requirement(open_low=low, open_high=high)}),
    )
    rate = margin.open_interest_rate(facts, 0, interest, base)
    assert rate == ref.crowded_rate(base, low, high, interest)
    assert base <= rate <= PPM


@briefly
@given(worlds(), ints(0, 10**7))
def test_initial_requirements_with_crowding(world, crowd):
    book, facts, mark = columns(world)
    total = 0
    for (_, i), (lots, _) in world.held.items():
        due = ref.position_initial(world, i, lots, world.mark[i], crowd)
        assert margin.position_initial(facts, i, lots, mark[i], crowd) == due
        size = ref.notional(INSTRUMENTS[i], lots, world.mark[i])
        assert due >= ref.requirement(world, i, lots, size, "initial")
        open_lots = ref.open_interest(world, i)
        total += ref.position_initial(world, i, lots, world.mark[i], open_lots)
    assert margin.initial_total(book, facts, mark) == total


@briefly
@given(worlds(), st.one_of(somewhere, st.just((-1, 0))), ints(0, 3), ints(-(10**9), 10**9), nearly)
def test_an_account_after_a_change(world, where, user, cash, crowd):
    i, lots = where
    cost = 17 * lots if i >= 0 and not isinstance(INSTRUMENTS[i], type(INSTRUMENTS[2])) else 0
    crowd %= 10**6
    before = world.held.get((U + user, i), (0, 0))
    assume(i < 0 or abs(before[0] + lots) <= INSTRUMENTS[i].lots_max)
    assume(i < 0 or before[0] + lots or not before[1] + cost)
    book, facts, mark = columns(world)
    out = np.zeros(3, np.int64)
    margin.assess_account(book, facts, mark, U + user, i, lots, cost, cash, crowd, out)
    assert tuple(out) == ref.assess_after(world, U + user, i, lots, cost, cash, crowd)


# Fills ----------------------------------------------------------------------------------------


@given(signed, nearly, nearly.map(lambda n: n + 1))
@example(BIG - 1, BIG - 2, BIG - 1)
def test_a_share_is_rounded_up(amount, part, whole):
    part = min(part, whole)
    assert fills.share_ceil(amount, part, whole) == -(-amount * part // whole)


@given(ints(-50, 50), signed, ints(-50, 50), signed)
@example(10, 100, -10, -1)
@example(10, 101, -3, 0)
@example(-10, -101, 3, 0)
@example(10, 101, -30, -7)
def test_realised_profit(held, cost, lots, paid):
    assume(lots and (held or not cost) and abs(cost) < 2**55 and abs(paid) < 2**55)
    gain = fills.realise(held, cost, lots, paid)
    assert gain == ref.realise(held, cost, lots, paid)
    if held + lots == 0:
        assert cost + paid + gain == 0, "a closed position owes nothing"


@given(st.lists(st.tuples(somewhere, prices), min_size=1, max_size=6))
def test_what_a_trade_pays_is_rounded_against_whoever_trades(trades):
    i, lots, price = (column(*c) for c in zip(*((i, n, p) for (i, n), p in trades), strict=True))
    out = np.zeros(lots.size, np.int64)
    fills.paid_at(facts_of(VENUE), i, lots, price, out)
    for n, ((k, size), p) in enumerate(trades):
        inst = INSTRUMENTS[k]
        assert out[n] == -ref.settled(inst, -size, p)
        assert out[n] >= ref.settled(inst, size, p)


@briefly
@given(worlds(), st.lists(st.tuples(ints(0, 3), ints(0, N - 1), ints(-40, 40), signed), max_size=8))
def test_trades_change_cost_one_after_another(world, drawn):
    trades = [(U + u, i, lots or 1, paid % 10**12) for u, i, lots, paid in drawn]
    assume(trades)
    book, facts, _ = columns(world)
    fresh = sorted({(a, i) for a, i, _, _ in trades})
    rows = [books.row_of(book, a, i) for a, i, _, _ in trades]
    rows = [
        row if row >= 0 else -2 - fresh.index(t[:2]) for row, t in zip(rows, trades, strict=True)
    ]
    _, i, lots, paid = (column(*c) for c in zip(*trades, strict=True))
    cost, gain = np.zeros(len(trades), np.int64), np.zeros(len(trades), np.int64)
    fills.apply_paid(book, facts, column(*rows), i, lots, paid, cost, gain)
    assert list(zip(cost.tolist(), gain.tolist(), strict=True)) == ref.book_trades(world, trades)


@briefly
@given(worlds(), ints(0, N - 1), ints(-PPB, PPB), st.sampled_from([EXTERNAL, FIRST_USER]))
def test_funding(world, i, rate, first):
    assume(rate)
    book, facts, mark = columns(world)
    world.held |= {
        (EXTERNAL, k): (-sum(n for (_, j), (n, _) in world.held.items() if j == k), 0)
        for k in range(N)
    }
    account, amount = np.zeros(book.high, np.int64), np.zeros(book.high, np.int64)
    n = fills.funding_due(book, facts, mark, i, rate, first, account, amount)
    paid = ref.funding(world, i, rate, first)
    assert dict(zip(account[:n].tolist(), amount[:n].tolist(), strict=True)) == paid
    if first == EXTERNAL:
        assert sum(paid.values()) <= 0, "the venue never pays for rounding"


@briefly
@given(worlds(), st.sampled_from([-1, 2, 4]), ints(0, PPB))
def test_interest(world, asset, rate):
    book, _, _ = columns(world)
    n = max(book.high, book.accounts)
    account, amount = np.zeros(n, np.int64), np.zeros(n, np.int64)
    used = fills.interest_due(book, asset, rate, FIRST_USER, book.accounts, account, amount)
    held = dict(world.cash)
    if asset >= 0:
        held = {a: world.held.get((a, asset), (0, 0))[0] for a in held}
    due = {a: lots * rate // PPB for a, lots in held.items() if lots < 0}
    assert dict(zip(account[:used].tolist(), amount[:used].tolist(), strict=True)) == due


@briefly
@given(worlds(), st.data())
def test_penalties_never_exceed_what_is_left(world, data):
    closes = [k for k, (lots, _) in world.held.items() if lots]
    assume(closes)
    some = data.draw(
        st.lists(st.tuples(st.sampled_from(closes), prices, ppm), min_size=1, max_size=5)
    )
    trades = []
    for (a, i), price, share in some:
        lots = -(world.held[a, i][0] * share // PPM) or -1
        trades.append((a, i, lots, -ref.settled(INSTRUMENTS[i], -lots, price)))
    book, facts, mark = columns(world)
    out = np.zeros(len(trades), np.int64)
    a, i, lots, paid = (column(*c) for c in zip(*trades, strict=True))
    penalty.penalties(book, facts, mark, a, i, lots, paid, out)
    assert out.tolist() == ref.penalties(world, trades)


# Depth and profile ----------------------------------------------------------------------------

ladders = st.lists(st.tuples(ints(1, 10**6), ints(0, 10**6)), max_size=6)


@given(ladders, ints(1, 10**6), ints(0, 2 * PPM))
def test_executable_depth(levels, mark, reach):
    price, lots = np.array(levels, np.int64).reshape(-1, 2).T.copy()
    found = depth.executable(price, lots, len(levels), mark, reach)
    assert found == ref.executable(levels, mark, reach)


@given(ladders, ints(1, 10**6), ints(100, 100_000), ints(1, 12))
def test_depth_by_bucket(levels, mark, width, buckets):
    price, lots = np.array(levels, np.int64).reshape(-1, 2).T.copy()
    out = np.full(buckets, 5, np.int64)
    depth.depth_buckets(price, lots, len(levels), mark, width, out)
    assert out.tolist() == ref.depth_buckets(levels, mark, width, buckets)


@given(nearly, ppm, st.sampled_from([1, -1]), signed)
@example(100, 0, 1, 100)
@example(10**15, 50_000, -1, 10**14)
def test_the_distance_to_liquidation(size, rate, side, slack):
    found = profile.distance(size, rate, side, slack)
    exact = ref.distance(size, rate, side, slack)
    if slack <= 0 or exact is None or slack // 1_000 >= size:
        assert found == (0 if slack <= 0 else ref.NEVER)
        return
    # Two roundings down, and for large amounts the bits beyond the forty-second.
    loss = Fraction(PPM, PPM - side * rate)
    assert exact - (1 + loss) - exact / 2**30 <= found <= exact * (1 + Fraction(1, 2**30))


@briefly
@given(
    worlds(),
    ints(0, N - 1),
    ints(100, 25_000),
    ints(1, 40),
    st.lists(signed, min_size=4, max_size=4),
)
def test_forced_lots_by_bucket(world, i, width, buckets, slacks):
    book, facts, mark = columns(world)
    slack = np.zeros(book.accounts, np.int64)
    slack[U:] = [s % 10**13 if s > 0 else s for s in slacks]
    down, up = np.full(buckets, 3, np.int64), np.full(buckets, 3, np.int64)
    profile.forced_buckets(book, facts, mark, slack, i, width, down, up)
    expected = {1: [0] * buckets, -1: [0] * buckets}
    for (a, k), (lots, _) in world.held.items():
        side = 1 if lots > 0 else -1
        size = ref.notional(INSTRUMENTS[i], lots, world.mark[i])
        b = profile.distance(size, _rate(world, i, lots, size), side, int(slack[a])) // width
        if k == i and b < buckets:
            expected[side][b] += abs(lots)
    assert (down.tolist(), up.tolist()) == (expected[1], expected[-1])
    # In one pass over the book, and some of them only: the same.
    asked = [k for k in range(N) if k != (i + 1) % N]
    place, together = np.full(N, -1, np.int64), np.zeros((len(asked), 2, buckets), np.int64)
    place[asked] = np.arange(len(asked))
    profile.forced_in_all(book, facts, mark, slack, place, width, together)
    for n, k in enumerate(asked):
        profile.forced_buckets(book, facts, mark, slack, k, width, down, up)
        assert together[n].tolist() == [down.tolist(), up.tolist()]


def _rate(world, i, lots, size):
    if lots < 0 and hasattr(INSTRUMENTS[i], "units"):
        return world.rules[i].debt_maintenance
    return ref.rate_at(world.rules[i], size, "maintenance")


@given(st.lists(st.tuples(nearly, nearly), min_size=1, max_size=6), ints(1, 6))
def test_branching_ratios(pairs, near):
    forced, resting = (column(*(n % 2**58 for n in c)) for c in zip(*pairs, strict=True))
    out = np.zeros(forced.size, np.int64)
    profile.branching(forced, resting, out)
    exact = [ref.ratio(int(f), int(d)) for f, d in zip(forced, resting, strict=True)]
    assert out.tolist() == exact
    total = ref.ratio(int(forced[:near].sum()), int(resting[:near].sum()))
    assert profile.near_branching(forced, resting, near) == total
    for f, d in zip(forced, resting, strict=True):
        assert not d or profile.ratio_of(f, d) == ref.ratio(int(f), int(d))


@briefly
@given(
    worlds(),
    ints(0, PPM),
    st.sampled_from([1, -1]),
    st.lists(ints(0, 10**4), min_size=N, max_size=N),
)
def test_the_branching_matrix(world, reach, side, resting):
    book, facts, mark = columns(world)
    slack = np.zeros(book.accounts, np.int64)
    slack[U:] = [(7 * n) % 10**10 - 10**4 for n in range(4)]
    out = np.full((N, N), 9, np.int64)
    profile.branching_matrix(book, facts, mark, slack, column(*resting), reach, side, out)
    forced = [[0] * N for _ in range(N)]
    for (a, i), (lots, _) in world.held.items():
        size = ref.notional(INSTRUMENTS[i], lots, world.mark[i])
        away = profile.distance(size, _rate(world, i, lots, size), side, int(slack[a]))
        if lots * side <= 0 or away > reach:
            continue
        for (b, j), (other, _) in world.held.items():
            forced[i][j] += abs(other) if a == b and other * side > 0 else 0
    exact = [[ref.ratio(f, resting[j]) for j, f in enumerate(row)] for row in forced]
    assert out.tolist() == exact


# Plan -----------------------------------------------------------------------------------------


@given(signed, nearly, nearly, st.one_of(st.just(0), ints(PPM, 3 * PPM)), ints(1, PPM))
@example(50, 100, 0, PPM, PPM)  # exactly half
@example(1, 3, 0, PPM, PPM)
def test_how_much_of_an_account_is_closed(equity, required, cost, target, most):
    required, cost = required % 2**58, cost % 2**58
    share = plan.close_share(equity, required, cost, target, most)
    assert share == ref.close_share(equity, required, cost, target, most)
    if target and equity > 0 and share < most:
        goal = -(-required * target // PPM)
        assert equity * PPM - share * cost >= goal * (PPM - share), "the account is cured"


@briefly
@given(
    worlds(), st.lists(st.tuples(ints(-2, 2), ints(-1, 5), st.booleans()), min_size=4, max_size=4)
)
def test_whose_stage_is_due(world, users):
    best = {U + n: b for n, (b, _, _) in enumerate(users)}
    staged = {U + n: s for n, (_, s, _) in enumerate(users)}
    world.flying = {k: -1 for k in world.held if users[k[0] - U][2]}
    book, facts, mark = columns(world)
    columns_of = [np.full(book.accounts, -1, np.int64) for _ in range(2)]
    for into, given_ in zip(columns_of, (best, staged), strict=True):
        into[U:] = list(given_.values())
    for interval in (0, 1, 3):
        found = plan.stage_candidates(book, *columns_of, 6, interval)
        assert found.tolist() == ref.candidates_for_stage(world, best, staged, 6, interval)
    for a in world.users():
        idle = not any(n for (b, _), n in world.flying.items() if a == b)
        assert plan.idle_account(book, a) == idle
        derivative = any(i not in {2, 4} for i in world.of(a))
        assert plan.has_derivative(book, facts, mark, np.ones_like(mark), a) == derivative


@given(st.lists(st.tuples(signed, nearly, ints(-1, 10**18)), min_size=1, max_size=6))
def test_the_order_of_service(drawn):
    users = [(e % 2**42 if e > 0 else -(-e % 2**42), r % 2**42, s) for e, r, s in drawn]
    equity, required, staged = (column(*c) for c in zip(*users, strict=True))
    accounts = np.arange(len(users))
    lines = {}
    for rule in (plan.DEEPEST, plan.LARGEST, plan.OLDEST, plan.SAVABLE):
        out = np.zeros(len(users), np.int64)
        plan.urgency(accounts, equity, required, staged, rule, out)
        lines[rule] = np.argsort(out, kind="stable").tolist()
    depth_of = [e * PPM // max(r, 1) for e, r, _ in users]
    keys = {
        plan.DEEPEST: lambda n: depth_of[n],
        plan.LARGEST: lambda n: -users[n][1],
        plan.OLDEST: lambda n: users[n][2],
        plan.SAVABLE: lambda n: (users[n][0] < 0, abs(depth_of[n])),
    }
    for rule, key in keys.items():
        assert lines[rule] == sorted(range(len(users)), key=key)


@briefly
@given(
    worlds(),
    st.lists(st.booleans(), min_size=N, max_size=N),
    st.sampled_from([0, PPM, 1_250_000]),
    ints(1, PPM),
    st.sampled_from([0, 1, 10**9, 10**12]),
    ints(1, PPM),
)
def test_what_is_closed(world, gates, target, fraction, whole_below, first_stage):
    book, facts, mark = columns(world)
    health = ref.assess(world, world.mark, world.mark)
    accounts = column(*world.users())
    equity, required = (np.zeros(book.accounts, np.int64) for _ in range(2))
    for a, (have, need, _) in health.items():
        equity[a], required[a] = have, need
    row, want, share = (np.zeros(book.high + 1, np.int64) for _ in range(3))
    sizes = (target, fraction, whole_below, first_stage)
    n = plan.wanted(
        book, facts, mark, column(*gates), accounts, equity, required, *sizes, row, want, share
    )
    found = {
        (int(book.account[r]), int(book.instrument[r])): (int(w), int(s))
        for r, w, s in zip(row[:n], want[:n], share[:n], strict=True)
    }
    expected = {}
    for a in world.users():
        sizes_of = {
            i: ref.notional(INSTRUMENTS[i], world.held[a, i][0], world.mark[i]) for i in world.of(a)
        }
        cost = sum(-(-s * world.rules[i].penalty // PPM) for i, s in sizes_of.items())
        large = whole_below and sum(sizes_of.values()) > whole_below
        most = min(fraction, first_stage) if large else fraction
        closed = ref.close_share(*health[a][:2], cost, target, most)
        if closed:
            wants = ref.wanted(world, a, closed, gates)
            expected |= {(a, i): (lots, closed) for i, lots in wants.items()}
    assert found == expected


@briefly
@given(
    worlds(users=6),
    st.booleans(),
    st.lists(st.tuples(ints(0, 60), ints(0, 60)), min_size=N, max_size=N),
)
def test_netting_and_room(world, netting, room):
    book, _, _ = columns(world)
    wants = [(a, i, -lots) for (a, i), (lots, _) in world.held.items()]
    row = column(*(books.row_of(book, a, i) for a, i, _ in wants))
    want = column(*(n for _, _, n in wants))
    sell, buy = (column(*c) for c in zip(*room, strict=True))
    rooms = {-1: dict(enumerate(sell.tolist())), 1: dict(enumerate(buy.tolist()))}
    netted, ordered = np.zeros(row.size, np.int64), np.zeros(row.size, np.int64)
    plan.net_and_cap(book, row, want, int(netting), sell, buy, netted, ordered)
    found = list(zip(netted.tolist(), ordered.tolist(), strict=True))
    expected = ref.net_and_cap([(i, n) for _, i, n in wants], rooms, netting=netting)
    assert found == expected
    for i in range(N):
        here = book.instrument[row] == i
        assert netted[here].sum() == 0, "what is netted needs no third party"
        assert rooms[-1][i] - sell[i] == -ordered[here & (want < 0)].sum()
        assert rooms[1][i] - buy[i] == ordered[here & (want > 0)].sum()


@briefly
@given(
    worlds(),
    ints(PPM, 3 * PPM),
    ints(0, 3 * PPM),
    st.one_of(st.just(0), ints(1, PPM)),
    st.lists(st.tuples(signed, nearly), min_size=4, max_size=4),
)
def test_the_worst_price_of_an_order(world, adjustment, spread, band, users):
    book, facts, mark = columns(world)
    equity, required = np.zeros(book.accounts, np.int64), np.zeros(book.accounts, np.int64)
    for n, (e, r) in enumerate(users):
        equity[U + n], required[U + n] = e % 10**14 if e > 0 else e, r % 10**14
    keys = list(world.held)
    row = column(*(books.row_of(book, *k) for k in keys))
    ordered = column(*(-world.held[k][0] for k in keys))
    out = np.zeros(row.size, np.int64)
    plan.fillable_prices(
        book, facts, mark, equity, required, row, ordered, adjustment, spread, band, out
    )
    for limit, (a, i), lots in zip(out.tolist(), keys, ordered.tolist(), strict=True):
        price, highest = world.mark[i], INSTRUMENTS[i].price_max
        assert 0 <= limit <= highest
        size = ref.notional(INSTRUMENTS[i], world.held[a, i][0], price)
        shift = Fraction(10**12)
        if spread and size:
            args = (int(equity[a]), int(required[a]), adjustment, spread)
            shift = ref.fillable_shift(world, i, world.held[a, i][0], *args)
        side = 1 if lots > 0 else -1
        edge = price * band // PPM
        exact = min(shift, Fraction(edge)) if band else shift
        exact = min(exact, Fraction(highest - price if side > 0 else price - (0 if band else 1)))
        # Each rounding is below a tick, and equity over maintenance is taken to one ppm.
        blur = 2 + Fraction(spread * adjustment * price, PPM**3) + Fraction(2 * price, max(1, size))
        assert abs(abs(limit - price) - exact) <= blur
        assert (limit - price) * side >= 0


# Sharing --------------------------------------------------------------------------------------


@given(signed, signed)
def test_a_ratio_is_bounded(part, whole):
    assert allocate.ratio_ppm(part, whole) == ref.ratio_ppm(part, whole)


@given(nearly, st.lists(st.one_of(ints(0, 9), ints(0, 2**58)), min_size=1, max_size=7))
def test_shares_add_up(total, weights):
    assume(sum(weights) or not total)
    out = np.full(len(weights), 4, np.int64)
    allocate.largest_remainder(total, column(*weights), out)
    assert out.tolist() == ref.largest_remainder(total, weights)
    assert out.sum() == total


@given(nearly, st.lists(st.tuples(ints(0, 2**40), ints(0, 2**40)), min_size=1, max_size=7))
def test_capped_shares(total, pairs):
    total %= 2**43
    weight, cap = (column(*c) for c in zip(*pairs, strict=True))
    out = np.full(weight.size, 4, np.int64)
    rest = allocate.capped_pro_rata(total, weight, cap, out)
    assert out.sum() + rest == total
    assert (out <= cap).all()
    assert (out >= 0).all()
    room = sum(c for w, c in pairs if w)
    assert rest == max(0, total - room), "nothing is left while anybody has room"
    exact = ref.capped_shares(min(total, room), weight.tolist(), cap.tolist())
    assert all(abs(n - x) <= len(pairs) for n, x in zip(out.tolist(), exact, strict=True))


@given(nearly, st.lists(nearly, min_size=1, max_size=7), st.randoms())
def test_taking_in_order(total, caps, chance):
    caps = [c % 2**58 for c in caps]
    order = list(range(len(caps)))
    chance.shuffle(order)
    out = np.full(len(caps), 4, np.int64)
    rest = allocate.in_order(total, column(*order), column(*caps), out)
    assert (out.tolist(), rest) == ref.in_order(total, order, caps)


@given(nearly, st.lists(nearly, max_size=7))
def test_proportional_shares(total, weights):
    weights = [w % 2**58 for w in weights]
    out = np.full(len(weights), 4, np.int64)
    deleverage.proportional(total, column(*weights), out)
    pool = sum(weights)
    exact = [total * w // pool if pool else 0 for w in weights]
    if exact:
        exact[-1] += total - sum(exact)
    assert out.tolist() == exact


RULES = {"leverage_profit": 0, "profit": 1, "size": 2}


@briefly
@given(worlds(users=6), ints(0, N - 1), st.sampled_from([1, -1]), nearly, ints(1, 10**6), st.data())
def test_who_can_be_deleveraged(world, i, side, deficit, closed, data):
    flying = data.draw(st.sets(st.sampled_from(sorted(world.held)))) if world.held else set()
    world.flying = dict.fromkeys(flying, 1)
    book, facts, mark = columns(world)
    equity, best = np.zeros(book.accounts, np.int64), np.zeros(book.accounts, np.int64)
    health = ref.assess(world, world.mark, world.mark)
    for a, (have, _, hope) in health.items():
        equity[a], best[a] = have, hope
    begin, every = deleverage.rows_by_instrument(book, N)
    assert [every[begin[k] : begin[k + 1]].tolist() for k in range(N)] == [
        [r for r in range(book.high) if book.instrument[r] == k] for k in range(N)
    ]
    for rule, number in RULES.items():
        row, score, lots = deleverage.candidates(
            book,
            facts,
            equity,
            best,
            mark,
            every[begin[i] : begin[i + 1]],
            side,
            deficit,
            closed,
            number,
        )
        found = {int(book.account[r]): int(s) for r, s in zip(row, score, strict=True)}
        assert found == ref.winners(world, health, i, side, deficit, closed, rule)
        assert lots.tolist() == [abs(world.held[int(book.account[r]), i][0]) for r in row]


@given(
    rows=st.lists(
        st.tuples(ints(-(2**62), 2**62), ints(0, 2**62), ints(-(2**62), 2**62)), max_size=40
    ),
)
def test_the_sums_of_a_sweep_are_those_of_unbounded_integers(rows):
    """Halves of 31 bits: what they add up to is the sum, however large."""
    equity, required, best = (np.array([r[k] for r in rows], np.int64) for k in range(3))
    out = np.zeros(margin.SUMS, np.int64)
    margin.sum_health(equity, required, best, out)
    liquidatable = [n for n, row in enumerate(rows) if row[2] < 0]
    bankrupt = [n for n in liquidatable if rows[n][0] < 0]
    assert out[:2].tolist() == [
        sum(n >= FIRST_USER for n in some) for some in (liquidatable, bankrupt)
    ]
    wanted = (
        sum(row[1] for row in rows),
        sum(rows[n][1] for n in liquidatable),
        sum(rows[n][0] for n in bankrupt),
    )
    halves = out[2:].tolist()
    assert tuple((halves[k] << 31) + halves[k + 1] for k in (0, 2, 4)) == wanted


# Nothing without a twin -----------------------------------------------------------------------

ELSEWHERE = {
    *vars(books),  # books, tables and orders have dictionaries for twins, in test_book.py
    *vars(table),
    *vars(orders),
    *vars(auctions),  # followed bid by bid in test_auctions.py and test_batches.py
    *vars(packed),  # packed books have the engine's own sweep for a twin, in test_packed.py,
    *vars(packing),  # test_packed_profile.py and test_safe_distance.py
    *vars(packed_profile),
    *vars(safe_distance),
    *vars(lens),  # decides whole histories as the ordinary sweep does, in test_lens.py
    "held_limits",  # every order it lets pass is filled on a copy, in test_never_worse.py
    "shared_lots",  # what each legs' share is, in test_deleveraging_rules.py
}


def test_every_kernel_is_compared_with_something():
    """With a twin in a test, with published numbers, or as a part of one that is."""
    here = Path(__file__).parent
    pages = [*here.glob("test_*.py"), *Path(tidegate.conformance.__path__[0]).glob("*.py")]
    source = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    calls: dict[str, set[str]] = {}
    for room in (tidegate.kernels, tidegate.domain):
        for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
            for name, found in vars(importlib.import_module(module.name)).items():
                if hasattr(found, "py_func"):
                    calls.setdefault(name, set()).update(found.py_func.__code__.co_names)
    reached = {name for name in calls if re.search(rf"\b{name}\b", source)}
    while more := {n for name in reached for n in calls[name] & calls.keys()} - reached:
        reached |= more
    assert calls.keys() - reached <= ELSEWHERE
