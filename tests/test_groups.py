"""Margin tiers over owner groups: splitting a position among one's accounts lowers nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import (
    Desk,
    U,
    book_of,
    coin,
    column,
    facts_of,
    marks_of,
    perp,
    venue_of,
)
from tidegate.domain import units
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import OrdersPlaced, Rejected
from tidegate.domain.events import AccountOpened, Deposited
from tidegate.domain.units import PPM
from tidegate.drivers.casualties import initial_rate
from tidegate.engine.invariants import audit
from tidegate.kernels import groups, margin
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


USD = 1_000_000
# From 0: 5 % to stay, 10 % to open; from 1,000: 10 % and 20 %; from 5,000: 50 % and 100 %.
STEPS = (
    Tier(initial=100_000, maintenance=50_000),
    Tier(floor=1_000 * USD, initial=200_000, maintenance=100_000),
    Tier(floor=5_000 * USD, initial=PPM, maintenance=500_000),
)
TICK = 10_000  # Money a lot gains per tick: at 100 ticks, a lot is worth one unit
MARKET = venue_of(perp(tick_value=TICK, price_max=10**5))


def model(*, grouped: bool, tiers=STEPS, **rule) -> MarginModel:
    return MarginModel(
        group_tiers=grouped, instruments={"*": Requirement(tiers=tuple(tiers), **rule)}
    )


def owned(book, *owners: int):
    """Return the book with users' owners set, counted as users."""
    book.owner[U : U + len(owners)] = U + np.array(owners)
    return book


def assessed(rules, venue, book, *prices, ends=None):
    mark, low, high = marks_of(*prices)
    low, high = ends or (low, high)
    return rules.assess(book, facts_of(venue, rules), mark=mark, low=low, high=high)


@pytest.mark.parametrize(
    ("lots", "due"),
    [  # at 100 ticks, in units: 5 % of the first thousand, 10 % of the next four, 50 % beyond
        ((500, 500), (25, 25)),
        ((500, 501), (50.1 * 500 / 1001, 50.1 * 501 / 1001)),
        ((1_000, 1_000), (75, 75)),
        ((2_500, 2_500), (225, 225)),
        ((4_000, 2_000), (950 * 2 / 3, 950 / 3)),
        ((1_000, -1_000), (50, 50)),  # the other side is another market to sell into
        ((1_000, 0), (50, 0)),
    ],
)
def test_each_account_bears_its_share_of_the_groups_requirement(lots, due):
    held = [(n, 0, k, k * 100 * TICK) for n, k in enumerate(lots) if k]
    book = owned(book_of(MARKET, [0, 0], held), 0, 0)
    found = assessed(model(grouped=True), MARKET, book, 100).required[U:].tolist()
    exact = [d * USD for d in due]
    assert all(0 <= have - want < 1 + 1e-3 for have, want in zip(found, exact, strict=True))


def test_strangers_and_the_neutral_setting_keep_their_own_tiers():
    book = book_of(MARKET, [0, 0], [(0, 0, 1_000, 0), (1, 0, 1_000, 0)])
    apart = assessed(model(grouped=True), MARKET, book, 100).required[U:].tolist()
    owned(book, 0, 0)
    off = assessed(model(grouped=False), MARKET, book, 100).required[U:].tolist()
    assert apart == off == [50 * USD, 50 * USD]


def test_concentration_counts_the_holdings_of_all_accounts_together():
    venue = venue_of(coin())  # a hundred units of it at 100 ticks: 1e6 Money
    rule = {"tiers": (Tier(initial=0, maintenance=0),), "counted_max": 100 * USD}
    book = book_of(venue, [0, 0], [(0, 0, 8_000, 0), (1, 0, 4_000, 0)])
    free = assessed(model(grouped=True, **rule), venue, book, 100)
    assert free.best[U:].tolist() == [80 * USD, 40 * USD]
    owned(book, 1, 1)
    tied = assessed(model(grouped=True, **rule), venue, book, 100)
    # Twenty of 120 do not count: two thirds of them for the one, a third for the other.
    assert tied.best[U:].tolist() == [(80 * USD) - 13_333_334, 40 * USD - 6_666_667]


def test_a_debt_has_no_tiers_and_no_group():
    venue = venue_of(coin())
    rule = {"debt_maintenance": 100_000, "debt_initial": 200_000}
    book = owned(book_of(venue, [0, 0], [(0, 0, -(10**6), 0), (1, 0, -(10**6), 0)]), 0, 0)
    both = [
        assessed(model(grouped=g, **rule), venue, book, 100).required[U:].tolist() for g in (0, 1)
    ]
    assert both[0] == both[1] == [1_000 * USD, 1_000 * USD]


def books():
    """Return a strategy for a few accounts with owners and positions in two instruments."""
    lots = st.integers(-4_000, 4_000)
    return st.lists(st.tuples(st.integers(0, 3), lots, lots), min_size=1, max_size=6)


def book_of_people(venue, people):
    held = [
        (n, i, k, k * 100 * TICK)
        for n, (_, *both) in enumerate(people)
        for i, k in enumerate(both)
        if k
    ]
    book = book_of(venue, [10**9] * len(people), held)
    return owned(book, *(min(o, len(people) - 1) for o, _, _ in people))


TWO = venue_of(*(perp(s, tick_value=TICK, price_max=10**5) for s in "AB"))


@settings(max_examples=80, deadline=None)
@given(books())
def test_group_lots_are_the_sums_by_owner_side_and_instrument(people):
    book = book_of_people(TWO, people)
    high = book.high
    out = np.zeros(high, np.int64)
    groups.group_lots(book, out)
    total: dict[tuple[int, int, bool], int] = {}
    rows = []
    for row in range(high):
        a, i, lots = int(book.account[row]), int(book.instrument[row]), int(book.lots[row])
        key = int(book.owner[a]), i, lots > 0
        rows.append((a, lots, key))
        if a >= FIRST_USER and lots:
            total[key] = total.get(key, 0) + abs(lots)
    expected = [total[k] if a >= FIRST_USER and n else abs(n) for a, n, k in rows]
    assert out.tolist() == expected


@settings(max_examples=80, deadline=None)
@given(books(), st.integers(1, 200), st.integers(0, 20))
def test_one_account_and_all_accounts_are_assessed_alike(people, price, width):
    """What is asked before a trade is what the sweep finds, and doubt only helps."""
    rules, book = model(grouped=True, premium=300), book_of_people(TWO, people)
    facts = facts_of(TWO, rules)
    ends = column(max(1, price - width), price), column(price + width, price)
    health = assessed(rules, TWO, book, price, price, ends=ends)
    mark = column(price, price)
    for n in range(len(people)):
        out = np.zeros(3, np.int64)
        margin.assess_account(book, facts, mark, U + n, -1, 0, 0, 0, 0, out)
        groups.add_account_extra(book, facts, mark, U + n, -1, -1, 0, 0, out)
        assert out[0] == health.equity[U + n]
        assert out[1] == health.required[U + n]
        assert out[2] >= out[1]
    assert (health.best >= health.equity - health.required).all()
    for inside in {int(ends[0][0]), price, int(ends[1][0])}:
        there = assessed(rules, TWO, book, inside, price)
        assert (health.best >= there.equity - there.required).all()


@settings(max_examples=60, deadline=None)
@given(books(), st.integers(1, 200), st.integers(-3_000, 3_000), st.integers(0, 5))
def test_what_a_group_adds_is_its_share_of_the_whole(people, price, change, actor):
    """The twin: dictionaries, Python's integers, and one sum for each owner and side."""
    rules, book = model(grouped=True, open_high=10**10), book_of_people(TWO, people)
    facts, mark = facts_of(TWO, rules), column(price, price)
    n = len(people)
    owner = [min(o, n - 1) for o, _, _ in people]
    actor %= n
    lots = {(k, i): people[k][1 + i] for k in range(n) for i in range(2)}
    lots[actor, 0] += change
    crowd = [10**5, max(int(book.long_open[1]), int(book.short_open[1]))]
    for k in range(n):
        expected = [0, 0, 0]
        for i in range(2):
            held = lots[k, i]
            group = sum(
                abs(lots[m, i]) for m in range(n) if owner[m] == owner[k]
                and (lots[m, i] > 0) == (held > 0) and lots[m, i]
            )  # fmt: skip
            size, side = abs(held), 1 if held > 0 else -1
            if not held:
                continue
            for cell, ask in enumerate((
                lambda n, i=i: margin.requirement(
                    facts, i, n, abs(n) * price * TICK, margin.MAINTENANCE),
                lambda n, i=i: margin.position_initial(facts, i, n, price, crowd[i]),
            )):  # fmt: skip
                whole = int(ask(side * group))
                extra = max(0, -(-whole * size // group) - int(ask(held)))
                expected[1 + cell] += extra
                found = (
                    groups.initial_extra(facts, i, held, group, price, crowd[i])
                    if cell
                    else groups.group_extra(facts, i, held, group, price)
                )
                assert found == extra
            assert groups.lots_after(book, U + k, i, U + actor, 0, change) == held
        if owner[actor] == owner[k]:
            out = np.zeros(3, np.int64)
            trade = U + actor, 0, change, crowd[0]
            groups.add_account_extra(book, facts, mark, U + k, *trade, out)
            assert out.tolist() == expected
        members = [U + m for m in range(n) if owner[m] == owner[k]]
        assert groups.members_of(book, U + k).tolist() == members


@settings(max_examples=60, deadline=None)
@given(books(), st.integers(1, 200), st.integers(0, 30))
def test_a_sweep_adds_at_the_mark_and_at_the_best_end(people, price, width):
    rules, book = model(grouped=True), book_of_people(TWO, people)
    facts, mark = facts_of(TWO, rules), column(price, price)
    low, high = column(max(1, price - width), price), column(price + width, price)
    required, best = np.zeros(book.accounts, np.int64), np.zeros(book.accounts, np.int64)
    groups.add_group_extra(book, facts, mark, low, high, required, best)
    group = np.zeros(book.high, np.int64)
    groups.group_lots(book, group)
    here, there = np.zeros_like(required), np.zeros_like(best)
    for row in range(book.high):
        lots, i, a = (int(c[row]) for c in (book.lots, book.instrument, book.account))
        if a >= FIRST_USER and lots:
            end = int(high[i] if lots > 0 else low[i])
            here[a] += groups.group_extra(facts, i, lots, int(group[row]), price)
            there[a] -= groups.group_extra(facts, i, lots, int(group[row]), end)
    assert required.tolist() == here.tolist()
    assert best.tolist() == there.tolist()


@given(st.integers(0, 2**61), st.integers(1, 2**61), st.integers(0, 2**61))
def test_a_share_is_exact_where_the_product_is_not_in_range(due, lots, more):
    group = min(lots + more, 2**61)
    assert groups._share(due, lots, group) == -(-due * lots // group)
    assert units.muldiv_up(due, lots, group) == -(-due * lots // group)


def test_one_instruments_columns_are_enough():
    facts = facts_of(MARKET, model(grouped=True))
    tiers = facts.tier_floor, facts.tier_maintenance, facts.tier_maintenance_cum
    shape = int(facts.kind[0]), TICK, 1, 0, 0, 3
    assert groups.extra_due(*shape, *tiers, 0, 1_000, 2_000, 100) == 25 * USD
    assert groups.extra_due(*shape, *tiers, 0, -1_000, 1_000, 100) == 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=6), st.integers(1, 200))
def test_a_split_never_lowers_the_sum(parts, price):
    rules = model(grouped=True, premium=200)
    whole = book_of(MARKET, [0], [(0, 0, sum(parts), 0)])
    split = owned(book_of(MARKET, [0] * len(parts), [(n, 0, k, 0) for n, k in enumerate(parts)]),
                  *[0] * len(parts))  # fmt: skip
    one = int(assessed(rules, MARKET, whole, price).required[U])
    many = int(assessed(rules, MARKET, split, price).required[U:].sum())
    assert one <= many <= one + len(parts)
    facts, mark = facts_of(MARKET, rules), column(price)
    asked = [
        margin.initial_total(b, facts, mark) + groups.initial_extra_total(b, facts, mark)
        for b in (whole, split)
    ]
    assert asked[0] <= asked[1] <= asked[0] + len(parts)


def test_the_premium_of_a_huge_group_is_everything():
    """Lots whose premium would not fit into int64 are asked 100 %, as those just below are."""
    premium, edge = 10**6, 10**18 // 10**12
    for lots in (edge, edge + 1, 2**61):
        assert margin.premium_rate(0, premium, lots) == PPM
    assert margin.premium_rate(0, 1_000, 10**6) == 1_000
    assert margin.premium_rate(0, 1_000, 10**12 - 1) == PPM
    assert margin.premium_rate(0, 1_000, 998_001_000_000 - 1) == 999_000


# ------------------------------------------------------------------------------- the engine


def split_desk(*, grouped: bool) -> Desk:
    """One owner with a main account and a sub-account, long a thousand lots each."""
    d = Desk(MARKET, margin=model(grouped=grouped))
    d.users([10**12])
    for name, owner in (("main", -1), ("main/sub", U + 1)):
        d.send(AccountOpened(ts=d.now, name=name, owner=owner))
    for account in (U + 1, U + 2):
        d.send(Deposited(ts=d.now, account=account, amount=250 * USD))
    d.price(100)
    for user in (1, 2):
        assert d.of(Rejected, d.send(d.trade(user, 1_000, 100, maker=U))) == []
    return d


def test_who_splits_is_liquidated_as_one_who_does_not():
    """At 80 each has 50 left and holds 800: alone it needs 40, as half of the two 55."""
    found = {}
    for grouped in (False, True):
        d = split_desk(grouped=grouped)
        d.price(82)
        orders = d.of(OrdersPlaced, d.later(1).price(80))
        found[grouped] = sum(len(o.account) // 8 for o in orders)
        audit(d.state)
    assert found == {False: 0, True: 2}


def test_a_trade_may_not_bring_another_account_of_the_owner_below_maintenance():
    d = split_desk(grouped=True)
    d.price(82)  # 70 of equity each, 57 of maintenance each
    d.send(Deposited(ts=d.now, account=U + 2, amount=10_000 * USD))
    asked = [
        [e.code for e in d.of(Rejected, d.ask(d.trade(2, lots, 82, maker=U)))]
        for lots in (1, 1_000, 4_000, -500)
    ]
    # The first has 70. Of 3,000 lots it bears a third of 196; of 6,000 a sixth of 442.
    assert asked == [[], [], ["sibling_below_maintenance"], []]
    free = split_desk(grouped=False)
    free.price(82)
    free.send(Deposited(ts=free.now, account=U + 2, amount=10_000 * USD))
    assert free.of(Rejected, free.ask(free.trade(2, 4_000, 82, maker=U))) == []


def test_a_sibling_in_trouble_forbids_growth_and_no_relief():
    d = split_desk(grouped=True)
    d.later(1).price(80)
    d.send(Deposited(ts=d.now, account=U + 2, amount=10_000 * USD))
    grows = d.ask(d.trade(2, 1, 80, maker=U))
    assert [e.code for e in d.of(Rejected, grows)] == ["sibling_below_maintenance"]
    book, facts, mark = d.state.book, d.state.facts, d.state.mark
    assert groups.hurts_a_sibling(book, facts, mark, U + 2, 0, 1, 4_000)
    assert not groups.hurts_a_sibling(book, facts, mark, U + 2, 0, -1, 2_000)


def test_opening_asks_the_groups_initial_margin():
    """The second thousand costs 200 + 100 for both: 150 each, where alone it would cost 100."""
    codes = {}
    for grouped in (False, True):
        d = Desk(MARKET, margin=model(grouped=grouped))
        d.users([10**12])
        for name, owner in (("main", -1), ("main/sub", U + 1)):
            d.send(AccountOpened(ts=d.now, name=name, owner=owner))
        for account in (U + 1, U + 2):
            d.send(Deposited(ts=d.now, account=account, amount=149 * USD))
        d.price(100)
        d.send(d.trade(1, 1_000, 100, maker=U))
        found = d.ask(d.trade(2, 1_000, 100, maker=U))
        codes[grouped] = [e.code for e in d.of(Rejected, found)]
    assert codes == {False: [], True: ["below_initial_margin"]}


def test_capital_efficiency_counts_the_groups_margin():
    book = owned(book_of(MARKET, [0, 0], [(0, 0, 1_000, 0), (1, 0, 1_000, 0)]), 0, 0)
    facts, mark = facts_of(MARKET, model(grouped=True)), column(100)
    assert initial_rate(book, facts, mark) == 0.1
    assert initial_rate(book, facts, mark, grouped=True) == 0.15


def test_plain_language_names_the_group():
    assert any("one owner together" in line for line in model(grouped=True).describe())
    assert not any("owner" in line for line in model(grouped=False).describe())
