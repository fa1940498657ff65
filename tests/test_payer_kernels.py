"""Twins of the kernels of who pays, in fractions and by definition, and the models beside them."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import book_of, coin, column, facts_of, inverse, perp, venue_of
from tidegate.domain.book import FIRST_USER
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import closeout, insurance, portfolio, rank
from tidegate.lab import waterfall as lab


U = FIRST_USER
USD = 1_000_000
VENUE = venue_of(perp("A"), perp("B"), coin(), inverse())
FACTS = facts_of(VENUE)
MANY = settings(max_examples=80, deadline=None)

position = st.tuples(
    st.integers(0, 3), st.integers(0, 3), st.integers(-900, 900), st.integers(50, 150)
)
books = st.lists(position, max_size=10, unique_by=lambda p: p[:2])
marks = st.tuples(*(st.integers(60, 140) for _ in range(4)))
betas = st.tuples(*(st.sampled_from((0, PPM // 3, PPM // 2, PPM)) for _ in range(4)))


def value(i: int, lots: int, price: int) -> Fraction:
    """Return a position's value in its settlement asset: Money, or hundredths of a coin."""
    if i == 3:
        return Fraction(-lots * 10_000, price)
    return Fraction(lots * price * 1_000) if i < 2 else Fraction(lots * price * 10_000, 100)


def size(i: int, lots: int, price: int) -> int:
    """Return the notional in Money, rounded up."""
    if i == 3:
        return abs(lots) * PPM
    return -floor(-abs(value(i, lots, price)))


def world(rows, mark):
    """Return a book, its position rows and marks; of spot every lot is a holding at no cost."""
    held = []
    for user, i, lots, entry in rows:
        if not lots:
            continue
        cost = 0 if i == 2 else floor(value(i, lots, entry))
        held.append((user, i, lots, cost))
    book = book_of(VENUE, [500 * USD] * 4, held)
    place = [
        int(np.flatnonzero((book.account == U + u) & (book.instrument == i) & (book.lots == n))[0])
        for u, i, n, _ in held
    ]
    return book, held, np.array(place, np.int64), column(*mark)


@MANY
@given(books, marks, betas)
def test_net_exposures_are_signed_notionals_times_beta(rows, mark, beta):
    book, held, _, prices = world(rows, mark)
    out = np.zeros(book.accounts, np.int64)
    portfolio.exposures(book, FACTS, prices, column(*beta), out)
    for user in range(4):
        exact = sum(
            (1 if n > 0 else -1) * (size(i, n, mark[i]) * beta[i] // PPM)
            for u, i, n, _ in held
            if u == user
        )
        assert out[U + user] == exact


@MANY
@given(books, marks, betas)
def test_what_is_no_hedge_brings_the_account_nearer_to_neutral(rows, mark, beta):
    """Closing it lowers the absolute net exposure by all it was, to within a lot."""
    book, held, row, prices = world(rows, mark)
    exposure = np.zeros(book.accounts, np.int64)
    portfolio.exposures(book, FACTS, prices, column(*beta), exposure)
    cap = np.abs(book.lots[row])
    out = np.zeros_like(cap)
    portfolio.unhedged(book, FACTS, prices, column(*beta), exposure, row, cap, out)
    for (user, i, n, _), free in zip(held, out.tolist(), strict=True):
        assert 0 <= free <= abs(n)
        net = int(exposure[U + user])
        each = Fraction(size(i, n, mark[i]) * beta[i] // PPM, abs(n))
        if not each:
            assert free == abs(n)
            continue
        after = net - (1 if n > 0 else -1) * free * each
        assert abs(after) <= abs(net)
        assert after * net >= 0, "never beyond neutral"
        more = net - (1 if n > 0 else -1) * (free + 1) * each
        assert free == abs(n) or more * net < 0 or net == 0 or (net > 0) != (n > 0)


@MANY
@given(books, marks, st.lists(st.integers(1, 10**12), min_size=4, max_size=4))
def test_scores_and_burdens_are_what_they_say(rows, mark, equity):
    """Each against its formula in fractions; rounding down costs at most a ppm of a ratio."""
    book, held, row, prices = world(rows, mark)
    have, need = column(*[0] * U, *equity), column(*[0] * U, *(e // 3 for e in equity))
    exposure = np.zeros(book.accounts, np.int64)
    portfolio.exposures(book, FACTS, prices, column(*[PPM] * 4), exposure)
    found = {}
    for rule in (portfolio.PROFIT_EQUITY, portfolio.NET_RISK, portfolio.MARGIN_RATIO):
        found[rule] = np.zeros(row.size, np.int64)
        portfolio.queue_scores(book, FACTS, have, need, exposure, prices, row, rule, found[rule])
    bear, leverage = np.zeros(row.size, np.int64), np.zeros(row.size, np.int64)
    portfolio.bearable(book, FACTS, have, prices, row, bear)
    portfolio.leverage_of(book, FACTS, have, prices, row, leverage)
    for k, (user, i, n, cost) in enumerate(held):
        e = equity[user]
        gain = floor(value(i, n, mark[i])) - cost
        if i == 3:  # hundredths of a coin
            gain = gain * mark[2] * 10_000 // 100
        most = 1_000 * PPM
        assert found[portfolio.PROFIT_EQUITY][k] == max(0, min(most, gain * PPM // e))
        assert found[portfolio.NET_RISK][k] == min(most, abs(int(exposure[U + user])) * PPM // e)
        profit, wallet = e - 500 * USD, 500 * USD
        exact = max(0, min(most, profit * PPM // wallet)) * (e // 3 * PPM // e) // PPM
        assert found[portfolio.MARGIN_RATIO][k] == exact
        assert bear[k] == max(1, min(gain, e))
        assert leverage[k] == min(100 * PPM, size(i, n, mark[i]) * PPM // e)


@pytest.mark.parametrize(
    ("lots", "entry", "printed", "sided"),
    [(10, 80, 1_250_000, 1_250_000), (-10, 125, 800_000, 1_250_000), (10, 125, 800_000, 800_000)],
)
@pytest.mark.parametrize("i", [0, 3])
def test_an_index_is_a_ratio_of_prices_whatever_the_contract(i, lots, entry, printed, sided):
    """At a mark of 100, for an account with just the notional; linear and inverse alike."""
    book, _, row, prices = world([(0, i, lots, entry)], (100, 100, 100, 100))
    have = column(*[0] * U, *[size(i, lots, 100)] * 4)
    for rule, exact in ((portfolio.INDEX, printed), (portfolio.SIDED_INDEX, sided)):
        out = np.zeros(1, np.int64)
        portfolio.queue_scores(book, FACTS, have, have, have, prices, row, rule, out)
        assert abs(int(out[0]) - exact) <= exact // 1_000


@MANY
@given(books, st.integers(0, 3))
def test_open_lots_count_both_sides(rows, i):
    book, held, _, _ = world(rows, (100,) * 4)
    out = portfolio.open_lots(book, i, book.accounts)
    assert out[U:].tolist() == [
        sum(abs(n) for u, k, n, _ in held if (u, k) == (user, i)) for user in range(4)
    ]
    assert not out[:U].any()


@MANY
@given(
    st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(-50, 50)), max_size=6),
    st.integers(-(10**6), 10**6),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_offsets_never_worsen_anybody_beyond_its_own_bankruptcy(others, quote, held, total):
    """Twin: one by one, in plain integers. What is paid adds up to the bankrupt's share."""
    total = min(total, held)
    quotes, lots = column(*(q for q, _ in others)), column(*(n for _, n in others))
    taken, paid = np.zeros_like(lots), np.zeros_like(lots)
    left = closeout.offset_in_order(total, quote, -held, quotes, lots, taken, paid)
    free = unbounded(closeout.offset_in_order)
    t, p = np.zeros(lots.size, object), np.zeros(lots.size, object)
    assert left == free(total, quote, -held, quotes.astype(object), lots.astype(object), t, p)
    assert (taken.tolist(), paid.tolist()) == (t.tolist(), p.tolist())
    want = total
    for (q, n), took, due in zip(others, taken.tolist(), paid.tolist(), strict=True):
        part = min(want, n) if n > 0 else 0
        share = quote * part // held
        fits = part > 0 and share >= -(q * part // n)
        assert (took, due) == ((part, share) if fits else (0, 0))
        want -= took
    assert left == want


@MANY
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_lights_rise_along_the_queue(quantity):
    out = np.zeros(len(quantity), np.int64)
    rank.lights(column(*quantity), out)
    assert out.tolist() == sorted(out.tolist())
    whole = sum(quantity)
    for n, light in enumerate(out.tolist()):
        passed = sum(quantity[: n + 1])
        assert light == (-(-5 * passed // whole) if whole else 5)


@MANY
@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_vault_keeps_its_last_unit(loss, vault, allowance):
    paid = insurance.vault_payment(loss, vault, allowance)
    assert 0 <= paid <= min(loss, allowance, max(0, vault - 1))


# Models ---------------------------------------------------------------------------------------

haircut = st.floats(-1, 2, allow_nan=False)


@MANY
@given(
    st.lists(st.tuples(haircut, st.floats(0.1, 20)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_a_projection_raises_the_budget_and_is_the_nearest(rows, share):
    """Moving a little between two haircuts that are inside the box brings no gain."""
    wanted, weight = (np.array(c) for c in zip(*rows, strict=True))
    budget = share * float(weight.sum())
    h = lab.project_budget(wanted, weight, budget)
    assert ((h >= 0) & (h <= 1)).all()
    assert float(weight @ h) == pytest.approx(budget, abs=1e-6)
    inside = (h > 1e-6) & (h < 1 - 1e-6)
    force = ((wanted - h) / weight)[inside]
    assert force.size == 0 or np.ptp(force) < 1e-6


def test_a_budget_nobody_can_raise_is_refused():
    with pytest.raises(ValueError, match="outside"):
        lab.project_budget(np.zeros(2), np.ones(2), 2.1)


@MANY
@given(st.floats(1e-6, 0.8), st.floats(0.01, 2), st.floats(0.1, 100))
def test_capital_for_a_probability_has_that_probability(probability, loading, mean):
    capital = lab.ruin_capital(probability, loading, mean)
    assert capital >= 0
    found = lab.ruin(capital, loading, mean)
    assert found == pytest.approx(probability) or (capital == 0 and found <= probability)


def test_a_fund_without_a_loading_is_ruined_for_certain():
    assert lab.ruin(10.0, 0.0, 1.0) == 1.0
    assert lab.ruin_capital(0.1, 0.0, 1.0) == float("inf")


@MANY
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6), st.floats(0, 300))
def test_gains_pay_a_shortfall_and_losers_keep_their_losses(gains, shortfall):
    g = np.array(gains)
    cut, paid, left = lab.gains_haircut(g, shortfall)
    assert 0 <= cut <= 1
    assert float((g - paid).sum()) + left == pytest.approx(shortfall, abs=1e-9)
    assert (paid[g <= 0] == g[g <= 0]).all()


def test_one_loser_in_many_waves_counts_once():
    found = lab.waves([1, 2], [3, 4], [10, 11], [9, 9])
    assert (found.needed, found.taken, found.deficit) == (3, 7, 21)
    assert (found.repeats, found.deficit_once) == (2, 12)
