"""Kernels of pacing against plain Python: cut stages as dictionaries, rules as exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import U, book_of, coin, column, facts_of, flat, inverse, perp, rules, venue_of
from tidegate.domain.pace import Pace
from tidegate.domain.units import PPM, muldiv_up, unbounded
from tidegate.kernels import bankruptcy, cover, limits, plan, priority, slices, wait
from tidegate.safeguards.margin import Requirement, Tier


UNIT, LOT, SHARE = 10**6, 10**9, 10**4
VENUE = venue_of(perp("A"), perp("B"))
WEIGHT, OFFSET = np.array([3, 1, 2], np.int64), np.array([0, 10, 20], np.int64)
held_by = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(-99, 99).filter(bool)),
    max_size=6,
    unique_by=lambda t: t[:2],
)


def due_of(total: int, elapsed: int) -> int:
    """Return what is due of a stage by largest remainder, ties to the earlier slice."""
    quota = [Fraction(total * int(w), int(WEIGHT.sum())) for w in WEIGHT]
    part = [int(q) for q in quota]
    late = sorted(range(3), key=lambda k: -(quota[k] - part[k]))
    for k in late[: total - sum(part)]:
        part[k] += 1
    return sum(p for p, at in zip(part, OFFSET.tolist(), strict=True) if at <= elapsed)


@given(held_by, st.lists(st.integers(0, 40), max_size=6), st.integers(0, 30), st.integers(0, 9))
def test_cut_stages_and_a_dictionary(held, taken, elapsed, other):
    """What is due, what is left, and whose row it is, while positions shrink and change hands."""
    book = book_of(VENUE, [0] * 4, [(u, i, n, 0) for u, i, n in held])
    pace = Pace.empty(2, 48, 96)
    account = np.array([U + u for u, _, _ in held], np.int64)
    instrument = np.array([i for _, i, _ in held], np.int64)
    lots = np.array([-n for _, _, n in held], np.int64)
    secret = np.arange(len(held), dtype=np.int64)
    n = slices.cut_rows(book, pace, account, instrument, lots, secret, 100)
    assert n == len(held)
    done = [min(t, abs(n)) for t, (_, _, n) in zip(taken, held, strict=False)]
    signed = [-d if n > 0 else d for d, (_, _, n) in zip(done, held, strict=False)]
    k = len(signed)
    arrays = (account[:k], instrument[:k], np.array(signed, np.int64))
    assert slices.take_rows(book, pace, *arrays) == k
    left = {(U + u, i): (n, 0) for u, i, n in held}
    for (u, i, n), d in zip(held, done, strict=False):
        left[U + u, i] = (n, d)
    out = np.zeros(book.accounts, np.int64)
    opened = out[: slices.cut_accounts(book, pace, book.accounts, out)].tolist()
    assert opened == sorted({a for (a, _), (n, d) in left.items() if d != abs(n)})
    for a in range(U, U + 4):
        rows, due = np.zeros(2, np.int64), np.zeros(2, np.int64)
        found = slices.due_rows(book, pace, a, WEIGHT, OFFSET, elapsed, rows, due)
        asked = {int(book.instrument[r]): int(d) for r, d in zip(rows[:found], due, strict=False)}
        exact = {}
        for (owner, i), (n, d) in left.items():
            open_now = due_of(abs(n), elapsed) - d
            if owner == a and open_now > 0:
                exact[i] = -open_now if n > 0 else open_now
        assert asked == exact
    # A stage cut anew, or a position on the other side, has nothing to do with the old one.
    pace.cut_at[account] = 100 + 1 + other
    assert not any(slices.open_cut(book, pace, r) for r in range(int(book.counts[1])))


def test_a_stage_needs_its_position():
    book, pace = book_of(VENUE, [0], [(0, 0, 5, 0)]), Pace.empty(2, 48, 96)
    both, none = column(U, U), column(0, 1)
    assert slices.cut_rows(book, pace, both, none, column(-5, -5), column(0, 0), 7) == 1
    assert slices.take_rows(book, pace, both, none, column(-5, -5)) == 1


@given(held_by, st.integers(0, 50), st.integers(0, 50), st.integers(0, PPM))
def test_lines_and_their_sums(held, first, second, sigma):
    book = book_of(VENUE, [0] * 4, [(u, i, n, 0) for u, i, n in held])
    facts, mark = facts_of(VENUE, rules(flat())), column(100, 300)
    depth = np.array([[first, second], [second, first]], np.int64)
    accounts, line = np.arange(U, U + 4), np.zeros(4, np.int64)
    priority.branching_line(book, accounts, depth, line)
    for k in range(4):
        parts = [
            abs(n) * PPM // int(depth[i, int(n < 0)]) if depth[i, int(n < 0)] else 10**9
            for u, i, n in held
            if u == k
        ]
        assert line[k] == -sum(parts)
    equity = np.zeros(book.accounts, np.int64)
    equity[U:] = [5, -5, 500_000, 0]
    priority.deficit_line(book, facts, mark, accounts, equity, column(sigma, sigma), line)
    for k in range(4):
        sizes = [abs(n) * int(mark[i]) * 1_000 for u, i, n in held if u == k]
        move = sum(-(-size * sigma // PPM) for size in sizes)
        assert line[k] == -priority.waiting_shortfall(int(equity[U + k]), move)


@pytest.mark.parametrize(
    ("symbol", "lots", "rate"),
    [("A", 1, 799_000), ("C", 1, 466_666), ("INV", 1, 800_000), ("P", 10**6, 0)],
)
def test_what_a_position_leaves_free(symbol, lots, rate):
    """100 % less the highest tier, and a Money a tick where a price moves the notional."""
    tiers = (
        Tier(initial=PPM, maintenance=50_000),
        Tier(floor=PPM, initial=PPM, maintenance=200_000),
    )
    rule, steep = Requirement(tiers=tiers), Requirement(tiers=tiers, premium=10**6)
    venue = venue_of(perp("A"), perp("C", tick_value=3), perp("P"), coin(), inverse())
    facts = facts_of(venue, rules(rule, P=steep))
    i = [x.symbol for x in venue.instruments].index(symbol)
    assert wait.free_rate(facts, i, lots) == rate


# ------------------------------------------------------------------- rules of peers

rate_of = st.integers(1, 2 * PPM)


@given(st.integers(0, 10**14), st.integers(0, PPM), st.integers(0, PPM))
def test_a_product_of_rates_rounds_up_twice(size, initial, fraction):
    first = -(-size * initial // PPM)
    exact = -(-first * fraction // PPM)
    assert bankruptcy.product_requirement(size, initial, fraction, PPM) == exact
    assert unbounded(bankruptcy.product_requirement)(size, initial, fraction, PPM) == exact


@given(st.integers(1, 10**12), st.integers(1, 10**9), st.data())
def test_what_remains_of_a_notional(size, held, data):
    delta = -data.draw(st.integers(0, held))
    found = unbounded(bankruptcy.remaining_size)(size, held, delta)
    assert found == size * (held + delta) // held
    assert unbounded(bankruptcy.remaining_size)(size, -held, -delta) == found


@given(
    st.integers(0, 10**10), st.integers(1, 2 * SHARE), rate_of, st.integers(1, 2 * SHARE), rate_of,
    st.integers(1, 10**9), st.integers(0, PPM),
)  # fmt: skip
def test_a_debt_that_covers(shortage, w_asset, premium, w_debt, discount, price, fee):
    """The repaid debt frees at most the shortage, and one unit more would free it."""
    debt = unbounded(cover.debt_to_cover)(
        shortage, w_asset, premium, w_debt, discount, 1_000, 1, price, fee, UNIT, SHARE
    )
    kept = w_asset * 10 * premium // discount
    frees = price * (w_debt * 10 - kept) - price * fee // UNIT * w_debt * 10
    if w_asset >= w_debt or kept >= w_debt * 10 or frees <= 0:
        assert debt == -1
    else:
        assert debt == shortage * 1_000 * UNIT * SHARE * 10 // frees


@given(st.integers(0, 10**12), st.integers(1, 10**9), rate_of, st.integers(1, 10**9), rate_of)
def test_seized_and_repaid_are_worth_the_same(amount, asset_price, premium, debt_price, discount):
    debt = unbounded(cover.debt_for_asset)(
        amount, asset_price, premium, debt_price, discount, 1_000, 1
    )
    exact = Fraction(amount * 1_000 * asset_price * discount, debt_price * premium)
    assert exact <= debt < exact + 1
    asset = unbounded(cover.asset_for_debt)(
        10**30, debt, asset_price, premium, debt_price, discount, 1, 1_000, 1, 1, UNIT, UNIT
    )
    worth = Fraction(debt * debt_price * premium, asset_price * discount * 1_000)
    assert asset == max(1, int(worth))


@pytest.mark.parametrize(
    ("held", "seized"), [(10**6, 10**6), (1_999_999, 1_999_999), (2_000_000, 10**6), (5, 5)]
)
def test_dust_is_taken_along(held, seized):
    """A debt of one unit against an asset of one: less than one unit of rest goes with it."""
    args = (10**6, 10**6, UNIT, 10**6, UNIT, 1, 1, 1, 1, UNIT, UNIT)
    assert unbounded(cover.asset_for_debt)(held, *args) == seized
    assert cover.asset_for_debt(held, *args) == seized


@pytest.mark.parametrize(("debt", "fair"), [(198_019_801, True), (198_019_800, False), (0, False)])
def test_a_swap_pays_what_a_liquidator_would(debt, fair):
    price = 200 * UNIT
    args = (10**9, debt, 10**9, 10**6, price, UNIT, 1_010_000, UNIT, UNIT)
    assert unbounded(cover.swap_is_fair)(*args) is fair


weight_of = st.integers(0, 2 * UNIT)


@given(st.integers(0, 10**9), st.integers(1, 10**12), weight_of, weight_of)
def test_a_spot_fund_fee_leaves_something(shortage, amount, w_asset, w_debt):
    found = unbounded(cover.spot_fund_fee_left)(
        shortage, amount, w_asset, UNIT, w_debt, UNIT, 10**9, 100 * UNIT, UNIT
    )
    if w_asset >= w_debt:
        assert found == 0
    else:
        lack = shortage * UNIT * 10**9 // amount // (100 * UNIT)
        assert found == max(0, w_debt - w_asset - lack) * UNIT // w_debt


@given(
    st.integers(-(10**11), 10**11), st.integers(-(10**10), 10**10), st.integers(0, 10**10),
    st.integers(0, 10**10), st.integers(0, 10**10),
)  # fmt: skip
def test_a_shortage_counts_the_worse_side(base, quote, deposit, bids, asks):
    price = 100 * UNIT
    found = unbounded(cover.shortage_of)(
        base, quote, deposit, bids, asks, 7, price, 50_000, 20_000, LOT, UNIT
    )
    worst = max(abs(base + bids), abs(base - asks))
    value = abs(base) * price // LOT
    profit = quote + (value if base >= 0 else -value)
    due = worst * price // LOT * 70_000 // UNIT + 7
    due += -profit * 20_000 // UNIT if profit < 0 else 0
    assert found == max(0, due - deposit - profit)


@pytest.mark.parametrize(
    ("one", "other", "first"),
    [((90, 1), (105, 9), True), ((110, 1), (90, 1), True), ((90, 2), (110, 1), True),
     ((100, 1), (100, 2), False), ((100, 2), (100, 2), True)],
)  # fmt: skip
def test_who_is_served_first(one, other, first):
    limit, lots = column(one[0], other[0]), column(one[1], other[1])
    assert limits.first_served(limit, lots, 100, 0, 1) is first


def test_levels_change_what_is_wanted_and_nothing_else():
    book = book_of(VENUE, [95, 30], [(0, 0, 100, 0), (1, 0, 100, 0)])
    facts, health = facts_of(VENUE, rules(flat())), column(*[0] * U, 95, 30)
    required = column(*[0] * U, 100, 100)
    out = [np.zeros(4, np.int64) for _ in range(3)]
    args = (book, facts, column(1, 1), column(1, 1), column(U, U + 1), health, required)
    sizes = (0, 100_000, 0, PPM)
    assert plan.wanted_in_levels(*args, *sizes, column(500_000), column(700_000), *out) == 2
    assert out[1][:2].tolist() == [-10, -70]
    assert plan.wanted(*args, *sizes, *out) == 2
    assert out[1][:2].tolist() == [-10, -10]


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(1, 2**61))
def test_a_product_rounded_up(amount, factor, whole):
    exact = -(-amount * factor // whole)
    if amount * factor < 2**62 * whole:
        assert muldiv_up(amount, factor, whole) == exact
    assert unbounded(muldiv_up)(amount, factor, whole) == exact
