"""Every comparison of a kernel or policy that decides over money: below, on and above the line.

The tables are small on purpose: they also run uncompiled, once for every mutation that they must
notice (see mutate.py).
"""

import msgspec
import numpy as np
import pytest

from desk import (
    Desk,
    U,
    book_of,
    coin,
    column,
    facts_of,
    flat,
    health_of,
    inverse,
    marks_of,
    perp,
    replaced,
    rules,
    venue_of,
)
from tidegate.domain.book import EXTERNAL, move
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPB, PPM, SECOND, isqrt, unbounded
from tidegate.kernels import (
    allocate,
    deleverage,
    depth,
    fills,
    margin,
    penalty,
    plan,
    profile,
    value,
)
from tidegate.safeguards.breaker import NEVER, Alarms, LadderBreaker, Rung, Step
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.oracle import Action, OracleGuard, Quality, Seen, Source, weighted_median
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.signals import SignalBound, SignalGate
from tidegate.safeguards.stack import Profile
from tidegate.safeguards.waterfall import Tranche, Waterfall


ONE = venue_of(perp())  # a tick of one lot is 1,000 Money; at 100 ticks ten lots are a whole unit
HALF = flat(initial=500_000, maintenance=250_000)
table = pytest.mark.parametrize


def tiers(*rows: tuple[int, int, int]) -> tuple[Tier, ...]:
    return tuple(Tier(floor=f * PPM, maintenance=m, initial=i) for f, m, i in rows)


@table("root", [1, 2**26 + 1, 2**31 - 1, 10**33 + 7, 3**80, 2**120 + 1])
def test_a_root_is_exact_on_both_sides_of_a_square(root):
    """The float it starts from is not, beyond 2**53."""
    for square, found in ((root**2 - 1, root - 1), (root**2, root), (root**2 + 1, root)):
        assert unbounded(isqrt)(square) == found


@table(("lots", "worth", "size"), [(3, 10, 10), (1, 3, 4), (-1, -4, 4), (2, 6, 7), (0, 0, 0)])
def test_a_third_of_a_tick_is_rounded_against_the_holder(lots, worth, size):
    """Three units a lot at a price of ten: worth less, and counted as more."""
    assert value.settled(value.SPOT, 1, 3, 0, lots, 10) == worth
    assert value.size_of(value.SPOT, 1, 3, 0, lots, 10) == size


# Who is liquidatable --------------------------------------------------------------------------


@table(("cash", "unsafe"), [(250_001, False), (250_000, False), (249_999, True)])
def test_on_the_line_an_account_is_left_alone(cash, unsafe):
    """Ten lots at 100 ticks are worth 1,000,000; a quarter of it is needed."""
    book = book_of(ONE, [cash], [(0, 0, 10, 1_000_000)])
    facts = facts_of(ONE, rules(HALF))
    mark, low, high = marks_of(100)
    health = rules(HALF).assess(book, facts, mark=mark, low=low, high=high)
    assert (health.equity[U], health.required[U]) == (cash, 250_000)
    assert health.liquidatable.tolist() == ([U] if unsafe else [])
    staged = np.full(book.accounts, -1, np.int64)
    found = plan.stage_candidates(book, health.best, staged, 0, 0)
    assert found.tolist() == ([U] if unsafe else [])


@table(
    ("lots", "low", "high", "unsafe"),
    [
        (10, 100, 100, True),  # no doubt: unsafe at the mark
        (10, 90, 100, True),  # the doubt is on the wrong side
        (10, 100, 101, True),  # best: 10,000 gained, 2,500 more needed: 500 short
        (10, 100, 102, False),  # best: 20,000 gained, 5,000 more needed
        (-10, 98, 100, False),  # a short hopes for the lower end, and gains twice there
        (-10, 99, 100, False),  # best: 10,000 gained, 2,500 less needed: on the line
        (-10, 100, 110, True),
    ],
)
def test_on_a_doubtful_price_only_who_is_unsafe_over_the_whole_interval(lots, low, high, unsafe):
    short = 242_000 if lots > 0 else 237_500
    book = book_of(ONE, [short], [(0, 0, lots, lots * 100_000)])
    model = rules(HALF)
    ends = {"low": column(low), "high": column(high)}
    health = model.assess(book, facts_of(ONE, model), mark=column(100), **ends)
    assert health.liquidatable.tolist() == ([U] if unsafe else [])


@table(("owed", "unsafe"), [(7_500, False), (7_501, True)])
def test_a_loan_is_an_account(owed, unsafe):
    """One coin of 100 ticks is worth 1,000,000 and counts for 0.75 %, down to the last Money."""
    venue = venue_of(coin())
    model = rules(COIN=flat(initial=PPM, maintenance=992_500))
    book = book_of(venue, [-owed], [(0, 0, 100, 0)])
    mark, low, high = marks_of(100)
    health = model.assess(book, facts_of(venue, model), mark=mark, low=low, high=high)
    assert health.liquidatable.tolist() == ([U] if unsafe else [])


@table(("cash", "need"), [(1, 0), (0, 0), (-1, 1), (-3, 1), (-4, 2)])
def test_owed_cash_needs_cover_rounded_up(cash, need):
    model = MarginModel(cash_debt_maintenance=333_333, cash_debt_initial=333_333)
    book = book_of(ONE, [cash], [])
    mark, low, high = marks_of(100)
    health = model.assess(book, facts_of(ONE, model), mark=mark, low=low, high=high)
    assert (health.equity[U], health.required[U]) == (cash, need)
    assert health.best[U] == cash - need
    out = np.zeros(3, np.int64)
    margin.assess_account(book, facts_of(ONE, model), mark, U, -1, 0, 0, 0, 0, out)
    assert out.tolist() == [cash, need, need]


@table(("which", "due"), [(margin.MAINTENANCE, 334), (margin.INITIAL, 500)], ids=["keep", "open"])
def test_owed_cash_has_a_rate_to_keep_and_one_to_open(which, due):
    model = MarginModel(cash_debt_maintenance=333_333, cash_debt_initial=500_000)
    out = np.zeros(3, np.int64)
    book = book_of(ONE, [-1_000], [])
    margin.assess_account(book, facts_of(ONE, model), marks_of(100)[0], U, -1, 0, 0, 0, 0, out)
    assert out[1 if which == margin.MAINTENANCE else 2] == due


def test_crowding_leaves_a_whole_requirement_alone():
    """A tier that asks for everything has nothing left to be raised."""
    model = rules(flat(initial=PPM, maintenance=PPM, open_low=1, open_high=2))
    facts = facts_of(ONE, model)
    assert margin.position_initial(facts, 0, 10, 100, 10**6) == 1_000_000


@table(("lots", "rate"), [(1_000_000, 1), (1_000_001, 2)])
def test_the_size_premium_rounds_an_irrational_root_up(lots, rate):
    """sqrt(1,000,000) is 1,000 thousandths of a ppm; one lot more is a little above."""
    assert margin.premium_rate(0, 1, lots) == rate


@table(("lots", "paid"), [(1, -3), (-1, 4), (3, -10), (-3, 10)])
def test_a_trade_in_coins_is_paid_against_whoever_trades(lots, paid):
    """Ten units a lot at a price of three: the buyer receives 3.33 rounded down."""
    venue = venue_of(coin(), inverse(contract=10))
    out = column(0)
    facts = facts_of(venue, rules(HALF, COIN=flat()))
    fills.paid_at(facts, column(1), column(lots), column(3), out)
    assert out[0] == paid


def test_the_system_is_never_margined():
    book = book_of(ONE, [5], [(0, 0, 10, 1_000_000)])
    book.cash[:U] = -7
    model = rules(HALF)
    mark, low, high = marks_of(90)
    health = model.assess(book, facts_of(ONE, model), mark=mark, low=low, high=high)
    assert not health.equity[:U].any()
    assert not health.best[:U].any()
    assert margin.initial_total(book, facts_of(ONE, model), mark) == 450_000


@table(("mark", "judged"), [(0, False), (1, True)])
def test_nobody_is_judged_before_everything_they_hold_has_a_price(mark, judged):
    """The first waits for a price of B, the second holds none of it, the third has closed it."""
    venue = venue_of(perp("A"), perp("B"))
    short = [(n, 0, -1, -1_000) for n in range(3)]
    book = book_of(venue, [0, 0, 0], [*short, (0, 1, 10, 10_000), (2, 1, 5, 5)])
    book.in_flight[book.counts[1] - 2] = 5
    assert move(book, U + 2, 1, -5, -5) >= 0
    model = rules(HALF)
    marks, low, high = marks_of(100, mark)
    health = model.assess(book, facts_of(venue, model), mark=marks, low=low, high=high)
    assert (health.best[U:] < 0).tolist() == [judged, True, True]
    assert not health.best[:U].any()


@table(("mark", "judged"), [(0, False), (1, True)])
def test_a_contract_needs_the_price_of_its_coin(mark, judged):
    venue = venue_of(coin(), inverse())
    book = book_of(venue, [-1], [(0, 1, 1, -100)])
    model = rules(HALF)
    marks, low, high = marks_of(mark, 100)
    health = model.assess(book, facts_of(venue, model), mark=marks, low=low, high=high)
    assert (health.best[U] < 0) == judged


@table(
    ("lots", "low", "high", "unsafe"),
    [
        (-1, 100, 100, True),  # a hundred coins' worth is lost: 1,000,000 against 999,999
        (-1, 99, 100, False),  # they may cost less
        (-1, 100, 101, True),
        (1, 100, 100, True),
        (1, 100, 101, False),  # gains may be worth more
        (1, 99, 100, True),
    ],
)
def test_the_price_of_a_coin_is_doubted_as_well(lots, low, high, unsafe):
    """One contract won or lost a coin of 100 units, while its own price is certain."""
    venue = venue_of(coin(), inverse())
    cost = -100 - lots * 100 if lots > 0 else 100 + 100
    book = book_of(venue, [999_999 if lots < 0 else -1_000_001], [(0, 1, lots, cost)])
    model = MarginModel()
    mark = column(100, 100)
    ends = {"low": column(low, 100), "high": column(high, 100)}
    health = model.assess(book, facts_of(venue, model), mark=mark, **ends)
    assert health.equity[U] == -1
    assert health.liquidatable.tolist() == ([U] if unsafe else [])


# Requirements ---------------------------------------------------------------------------------

STEPS = Requirement(tiers=tiers((0, 10_000, 20_000), (10, 50_000, 90_000), (30, 500_000, PPM)))


@table(
    ("size", "rate", "due"),
    [
        (0, 10_000, 0),
        (1, 10_000, 1),  # rounded up
        (9_999_999, 10_000, 100_000),
        (10_000_000, 50_000, 100_000),  # a floor belongs to its own tier, and changes nothing
        (10_000_001, 50_000, 100_001),
        (29_999_999, 50_000, 1_100_000),
        (30_000_000, 500_000, 1_100_000),
        (30_000_001, 500_000, 1_100_001),
        (40_000_000, 500_000, 6_100_000),
    ],
)
def test_tiers_are_marginal_and_begin_on_their_floor(size, rate, due):
    facts = facts_of(ONE, rules(STEPS))
    tier = margin.tier_at(0, 3, facts.tier_floor, size)
    assert facts.tier_maintenance[tier] == rate
    assert margin.requirement(facts, 0, 1, size, margin.MAINTENANCE) == due
    # The sweep takes a way of its own for plain instruments in their first two tiers.
    cheap = venue_of(perp(tick_value=1, lots_max=10**8))
    book = book_of(cheap, [0], [(0, 0, size, size)])
    mark, low, high = marks_of(1)
    health = rules(STEPS).assess(book, facts_of(cheap, rules(STEPS)), mark=mark, low=low, high=high)
    assert health.required[U] == due


def test_tiers_may_stay_as_they_are():
    same = tiers((0, 5, 10), (1, 5, 10), (2, 7, 10), (3, 7, 20))
    facts = facts_of(ONE, rules(Requirement(tiers=same, counted_max=3 * PPM)))
    assert facts.tier_maintenance.tolist() == [5, 5, 7, PPM]
    assert facts.tier_initial.tolist() == [10, 10, 10, PPM]


@table(("size", "due"), [(19, 2), (20, 2), (21, 3), (30, 12), (31, 13)])
def test_a_holding_counts_up_to_its_limit(size, due):
    """A tenth of everything up to twenty units, and all of what is above."""
    rule = Requirement(tiers=tiers((0, 100_000, 100_000), (40, PPM, PPM)), counted_max=20 * PPM)
    facts = facts_of(ONE, rules(rule))
    assert facts.tier_floor.tolist() == [0, 20 * PPM]
    found = margin.requirement(facts, 0, 1, size * PPM, margin.MAINTENANCE)
    assert found == {19: 1_900_000, 20: 2_000_000}.get(size, due * PPM)


@table(
    ("base", "premium", "lots", "rate"),
    [
        (10_000, 0, 100, 8_000),
        (10_000, 1_000, 0, 8_000),
        (10_000, 1_000, 99, 8_010),  # 9.95 ppm more
        (10_000, 1_000, 100, 8_010),
        (10_000, 1_000, 101, 8_011),
        (10_000, 1_000, -101, 8_011),
        (3, 600, 1, 3),  # 2.4 + 0.6: rounded once
        (3, 601, 1, 4),
        (0, 10**6, 10**6, PPM),
        (1, 10**6, 10**6, PPM),  # never more than everything
        (0, 999_999, 10**6, 999_999),
    ],
)
def test_the_size_premium_is_rounded_up_once(base, premium, lots, rate):
    assert margin.premium_rate(base, premium, lots) == rate


@table(("lots", "due"), [(0, 5_000), (399, 5_000), (400, 5_000), (401, 5_001), (1_600, 6_000)])
def test_whichever_of_tiers_and_premium_asks_more(lots, due):
    """5,000 ppm by tier against 4,000 + 50 sqrt(lots): they meet at 400 lots."""
    facts = facts_of(ONE, rules(flat(initial=PPM, maintenance=5_000, premium=50_000)))
    found = margin.requirement(facts, 0, lots, PPM, margin.MAINTENANCE)
    assert found == {401: 5_002}.get(lots, due)


@table(("size", "due"), [(1, 1), (200_000, 1_000), (200_001, 1_001), (199_999, 1_000)])
def test_both_kinds_of_requirement_are_rounded_up(size, due):
    """0.5 % by tier, and 0.5 % by size: eighty percent of nothing and fifty times ten."""
    for rule in (flat(maintenance=5_000), flat(maintenance=0, premium=500_000)):
        facts = facts_of(ONE, rules(rule))
        assert margin.requirement(facts, 0, 100, size, margin.MAINTENANCE) == due
        owes = facts_of(venue_of(coin()), rules(flat(debt_maintenance=5_000)))
        assert margin.requirement(owes, 0, -100, size, margin.MAINTENANCE) == due


def test_the_sweep_knows_the_size_premium():
    model = rules(flat(maintenance=0, premium=500_000))
    book = book_of(ONE, [0], [(0, 0, 100, 10**7)])
    mark, low, high = marks_of(100)
    health = model.assess(book, facts_of(ONE, model), mark=mark, low=low, high=high)
    assert health.required[U] == 50_000


@table(("lots", "which", "due"), [(-1, 0, 400_000), (-1, 1, 700_000), (1, 0, 250_000)])
def test_an_owed_balance_has_its_own_rates(lots, which, due):
    rule = replaced(HALF, debt_maintenance=400_000, debt_initial=700_000)
    for venue, own in ((venue_of(coin()), True), (ONE, False)):
        facts = facts_of(venue, rules(rule))
        expected = due if own else (500_000 if which else 250_000)
        assert margin.requirement(facts, 0, lots, PPM, which) == expected


@table(
    ("low", "high", "interest", "rate"),
    [
        (0, 0, 10**9, 200_000),  # switched off
        (1_000, 2_000, 999, 200_000),
        (1_000, 2_000, 1_000, 200_000),
        (1_000, 2_000, 1_001, 200_800),
        (1_000, 2_000, 1_999, 999_200),
        (1_000, 2_000, 2_000, PPM),
        (1_000, 2_000, 2_001, PPM),
        (1_000, 1_003, 1_001, 466_666),  # the raise is rounded down
        (1_000, 1_000, 1_000, 200_000),
        (1_000, 1_000, 1_001, PPM),
    ],
)
def test_initial_margin_rises_with_open_interest(low, high, interest, rate):
    facts = facts_of(ONE, rules(flat(initial=200_000, open_low=low, open_high=high)))
    assert margin.open_interest_rate(facts, 0, interest, 200_000) == rate
    assert margin.open_interest_rate(facts, 0, interest, PPM) == PPM


@table(
    ("open_lots", "due"),
    [
        (0, 11_000_000),
        (400, 11_000_000),
        (450, 25_500_000),
        (500, 40_000_000),
        (501, 40_000_000),
    ],
)
def test_crowding_changes_nothing_below_its_beginning_in_any_tier(open_lots, due):
    """Forty units: 0.2 + 1.8 + 9 are asked in quiet times, all forty when it is full."""
    rule = replaced(STEPS, open_low=40 * PPM, open_high=50 * PPM)
    rule = replaced(rule, tiers=tiers((0, 0, 20_000), (10, 0, 90_000), (30, 0, 900_000)))
    facts = facts_of(ONE, rules(rule))
    assert margin.position_initial(facts, 0, 400, 100, open_lots) == due
    assert margin.position_initial(facts_of(venue_of(coin()), rules(rule)), 0, 1, 1, 10**6) == 2


@table(("lots", "due"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_a_crowded_requirement_is_rounded_up(lots, due):
    """60 % of one, two, three and four Money."""
    facts = facts_of(venue_of(perp(tick_value=1)), rules(flat(200_000, 0, open_high=20)))
    assert margin.position_initial(facts, 0, lots, 1, 10) == due


def test_an_account_is_asked_for_every_position():
    """Whichever of its positions is traded, in whatever order they stand."""
    venue = venue_of(perp("A"), perp("B"), perp("C"))
    book = book_of(venue, [0], [(0, 0, 1, 100_000), (0, 1, 2, 200_000)])
    facts, out = facts_of(venue, rules(flat())), np.zeros(3, np.int64)
    for i, held in ((-1, 3), (0, 4), (1, 4), (2, 4)):
        lots = int(i >= 0)
        margin.assess_account(
            book, facts, column(100, 100, 100), U, i, lots, lots * 100_000, 0, 9, out
        )
        assert out.tolist() == [0, held * 5_000, held * 10_000]


def test_all_initial_margin_counts_the_larger_side():
    rule = flat(initial=100_000, open_low=PPM, open_high=3 * PPM)
    book = book_of(ONE, [0, 0], [(0, 0, 10, 0), (1, 0, -20, 0)])
    assert margin.initial_total(book, facts_of(ONE, rules(rule)), column(100)) == 1_650_000


def test_crowding_is_measured_by_the_larger_side():
    rule = flat(initial=100_000, open_low=PPM, open_high=3 * PPM)
    book = book_of(ONE, [0, 0, 0], [(0, 0, 10, 0), (1, 0, -20, 0), (2, 0, 5, 0)])
    facts, out = facts_of(ONE, rules(rule)), np.zeros(3, np.int64)
    margin.assess_account(book, facts, column(100), U, -1, 0, 0, 0, 0, out)
    assert out[2] == 550_000, "twenty lots short: half of the way from 10 % to 100 %"
    margin.assess_account(book, facts, column(100), U, 0, 5, 0, 0, 10, out)
    assert out[2] == 150_000, "the caller says what will be open"


# Before a trade -------------------------------------------------------------------------------


def allowed(cash, held, lots, price, *, scale=PPM, rule=HALF, moved=0):
    """Return whether an account may trade ``lots`` at ``price`` while the mark is 100."""
    model, facts = rules(rule), facts_of(ONE, rules(rule))
    book = book_of(ONE, [cash], [(0, 0, held, held * 100_000)] if held else [])
    why = model.allows(
        book,
        facts,
        mark=column(100),
        account=U,
        instrument=0 if lots else -1,
        lots=lots,
        cost=lots * price * 1_000,
        cash=moved,
        scale=scale,
    )
    assert why in {"", "below_initial_margin"}
    return not why


@table(("cash", "fine"), [(500_001, True), (500_000, True), (499_999, False)])
def test_opening_needs_initial_margin_on_the_line_included(cash, fine):
    assert allowed(cash, 0, 10, 100) == fine
    assert allowed(cash, 0, -10, 100) == fine
    assert allowed(cash + 1, 10, 0, 0, moved=-1) == fine, "and so does paying out"


@table(
    ("cash", "scale", "fine"),
    [
        (750_000, 1_500_000, True),
        (749_999, 1_500_000, False),
        (500_001, 1_000_001, True),  # the scaled requirement is rounded up
        (500_000, 1_000_001, False),
        (250_000, 100_000, True),  # a scale never asks less than maintenance
        (249_999, 100_000, False),
    ],
)
def test_the_breaker_scales_initial_margin(cash, scale, fine):
    assert allowed(cash, 0, 10, 100, scale=scale) == fine


@table(
    ("cash", "lots", "price", "fine"),
    [
        (100_000, -1, 100, True),  # at the mark: less risk, the same equity
        (100_000, -1, 90, True),  # a tenth of the position for a tenth of the equity: on the line
        (100_000, -1, 89, False),  # the ratio falls
        (100_000, -5, 90, True),
        (100_000, -5, 89, False),
        (100_000, -10, 90, True),  # nothing is left, and nothing is owed
        (100_000, -10, 89, False),  # closing everything must not leave a debt behind
        (100_000, -11, 100, True),  # through zero: one lot the other way needs little
        (40_000, -11, 100, True),  # below its initial margin, and safer all the same
        (100_000, 1, 100, False),  # more risk
        (100_000, 1, 50, False),  # more risk, however cheap
        (-100_000, -1, 100, True),  # bankrupt: the ratio falls, the equity does not
        (-100_000, -1, 99, False),  # and here both fall
        (-100_000, -10, 100, True),
        (-100_000, -10, 99, False),  # a debt may not grow by closing
        (-100_000, -10, 101, True),
        (-100_000, -11, 100, False),  # and a debt may not bet
        (0, -1, 100, True),
        (0, -1, 99, False),
    ],
)
def test_what_takes_risk_away_is_allowed_by_cross_multiplication(cash, lots, price, fine):
    """Ten lots long, below maintenance: equity per maintenance must not fall."""
    assert allowed(cash, 10, lots, price) == fine


@table(("moved", "fine"), [(1, True), (0, True), (-1, False)])
def test_below_initial_margin_nothing_is_paid_out(moved, fine):
    assert allowed(100_000, 10, 0, 0, moved=moved) == fine


@table(
    ("lots", "cash", "fine"),
    [
        (5, 275_000, True),  # 25 lots long, 20 short: a quarter of the way from 10 % to 100 %
        (5, 162_500, True),
        (5, 162_499, False),
        (-5, 162_500, True),  # 20 lots long, 25 short
        (-5, 162_499, False),
        (1, 19_000, True),  # 21 of them: a twentieth of the way
        (1, 14_500, True),
        (1, 14_499, False),
    ],
)
def test_opening_is_asked_for_the_crowd_it_would_make(lots, cash, fine):
    """Twenty lots on either side; crowding begins there, and is complete at forty."""
    rule = flat(initial=100_000, maintenance=0, open_low=2 * PPM, open_high=4 * PPM)
    book = book_of(ONE, [cash, 0, 0], [(1, 0, 20, 0), (2, 0, -20, 0)])
    why = rules(rule).allows(
        book,
        facts_of(ONE, rules(rule)),
        mark=column(100),
        account=U,
        instrument=0,
        lots=lots,
        cost=lots * 100_000,
        cash=0,
        scale=PPM,
    )
    assert (not why) == fine


def test_the_same_maintenance_is_not_safer_when_more_is_needed_to_open():
    venue = venue_of(perp("A"), perp("B"))
    model = rules(A=HALF, B=flat(initial=100_000, maintenance=0))
    book = book_of(venue, [100_000], [(0, 0, 10, 1_000_000), (0, 1, 10, 1_000_000)])
    asked = {"mark": column(100, 100), "account": U, "instrument": 1, "cash": 0, "scale": PPM}
    for lots, fine in ((1, False), (-1, True)):
        why = model.allows(book, facts_of(venue, model), lots=lots, cost=lots * 100_000, **asked)
        assert (not why) == fine


def test_a_debt_without_positions_may_only_shrink():
    assert not allowed(-5, 0, 0, 0, moved=-1)


# Values and fills -----------------------------------------------------------------------------


@table(
    ("held", "cost", "lots", "paid", "gain"),
    [
        (0, 0, 5, 50, 0),  # opening realises nothing
        (10, 100, 5, 60, 0),
        (10, 100, -10, -101, 1),
        (10, 100, -10, -99, -1),
        (10, 101, -3, -30, -1),  # 30.3 released, rounded up
        (10, 99, -3, -30, 0),
        (-10, -101, 3, 30, 0),  # -30.3 released, rounded up to -30
        (-10, -109, 3, 30, 2),
        (10, 100, -30, -301, 0),  # 100.33 received, rounded down: a payment rounds up
        (10, 100, -30, -303, 1),
    ],
)
def test_profit_rounds_down(held, cost, lots, paid, gain):
    assert fills.realise(held, cost, lots, paid) == gain


@table(
    ("amount", "part", "whole", "share"),
    [(10, 1, 3, 4), (9, 1, 3, 3), (-10, 1, 3, -3), (-9, 1, 3, -3), (0, 1, 3, 0), (7, 3, 3, 7)],
)
def test_a_share_is_rounded_up(amount, part, whole, share):
    assert fills.share_ceil(amount, part, whole) == share


@table(
    ("rate", "paid"),
    [
        (1, {U: -1, U + 1: 0}),  # 0.0003 each: the payer pays one, the other gets none
        (-1, {U: 0, U + 1: -1}),
        (PPB // 3, {U: -100_000, U + 1: 99_999}),
        (PPB, {U: -300_000, U + 1: 300_000}),  # exact: no remainder
    ],
)
def test_funding_is_paid_rounded_up_and_received_rounded_down(rate, paid):
    book = book_of(ONE, [0, 0], [(0, 0, 3, 0), (1, 0, -3, 0)])
    account, amount = np.zeros(9, np.int64), np.zeros(9, np.int64)
    facts = facts_of(ONE)
    n = fills.funding_due(book, facts, column(100), 0, rate, U, account, amount)
    assert dict(zip(account[:n].tolist(), amount[:n].tolist(), strict=True)) == paid


@table(("rate", "paid"), [(PPB, {U: -7, U + 1: 6}), (-PPB, {U: 6, U + 1: -7})])
def test_funding_of_an_inverse_is_rounded_by_its_size(rate, paid):
    """Twenty units over three: 6.67 coins, seven to pay and six to get."""
    venue = venue_of(coin(), inverse(contract=20), perp())
    book = book_of(venue, [0, 0, 0], [(0, 1, 1, 0), (1, 1, -1, 0), (2, 2, 9, 0)])
    account, amount = np.zeros(9, np.int64), np.zeros(9, np.int64)
    facts = facts_of(venue)
    n = fills.funding_due(book, facts, column(1, 3, 1), 1, rate, U, account, amount)
    assert dict(zip(account[:n].tolist(), amount[:n].tolist(), strict=True)) == paid
    n = fills.funding_due(book, facts, column(1, 3, 1), 1, rate, EXTERNAL, account, amount)
    assert n == 2, "the world outside holds nothing of it"


@table(("rate", "cash", "due"), [(1, -1, -1), (0, -5, 0), (PPB, -5, -5), (PPB // 2, -3, -2)])
def test_interest_is_rounded_up_and_only_debts_pay_it(rate, cash, due):
    venue = venue_of(coin())
    book = book_of(venue, [cash, 5], [(0, 0, cash, 0), (1, 0, 5, 0)])
    for asset in (-1, 0):
        account, amount = np.zeros(40, np.int64), np.zeros(40, np.int64)
        n = fills.interest_due(book, asset, rate, U, book.accounts, account, amount)
        assert (n, account[0], amount[0]) == (1, U, due)


@table(
    ("cash", "price", "taken"),
    [
        (5_000, 100, 5_000),  # half a percent of a million
        (4_999, 100, 4_999),  # never beyond what is left
        (1, 100, 1),
        (0, 100, 0),
        (-1, 100, 0),
        (15_000, 99, 5_000),  # the fill itself cost 10,000
        (14_999, 99, 4_999),
    ],
)
def test_a_penalty_never_makes_bankrupt(cash, price, taken):
    book = book_of(ONE, [cash], [(0, 0, 10, 1_000_000)])
    facts, out = facts_of(ONE, rules(flat(penalty=5_000))), np.zeros(1, np.int64)
    args = (column(U), column(0), column(-10), column(-10 * price * 1_000))
    penalty.penalties(book, facts, column(100), *args, out)
    assert out.tolist() == [taken]


@table(("lots", "taken"), [(-1, 0), (-199, 0), (-200, 1), (-399, 1), (-400, 2)])
def test_a_penalty_is_rounded_down_and_profit_counts_as_equity(lots, taken):
    """Half a percent of a Money a lot, of an account whose equity is its open profit alone."""
    venue = venue_of(perp(tick_value=1))
    book = book_of(venue, [0], [(0, 0, 400, 0)])
    facts, out = facts_of(venue, rules(flat(penalty=5_000))), np.zeros(1, np.int64)
    penalty.penalties(book, facts, column(1), column(U), column(0), column(lots), column(lots), out)
    assert out.tolist() == [taken]


def test_the_second_penalty_knows_the_first():
    book = book_of(ONE, [7_000, 9], [(0, 0, 20, 2_000_000), (1, 0, 5, 500_000)])
    facts, out = facts_of(ONE, rules(flat(penalty=5_000))), np.zeros(3, np.int64)
    who, what, lots = column(U, U + 1, U), column(0, 0, 0), column(-10, -1, -10)
    penalty.penalties(book, facts, column(100), who, what, lots, lots * 100_000, out)
    assert out.tolist() == [5_000, 9, 2_000]


# Oracle guard ---------------------------------------------------------------------------------

NOW = 1_000 * SECOND
GOOD, DOUBTFUL = int(Quality.GOOD), int(Quality.DOUBTFUL)
REFUSALS = (
    ("price_must_be_positive", {"price": 0}),
    ("price_exceeds_limit", {"price": 1_001}),
    ("price_from_the_future", {"published": NOW + 1}),
    ("price_is_older_than_the_last", {"published": NOW - 5 * SECOND - 1}),
    ("price_is_stale", {"published": NOW - 10 * SECOND - 1, "last": 0}),
)


def refused(**changes):
    facts = {
        "price": 500,
        "price_max": 1_000,
        "published": NOW,
        "now": NOW,
        "last": NOW - 5 * SECOND,
    } | changes
    return OracleGuard(age_max_ns=10 * SECOND).refusal(**facts)


@table(("code", "wrong"), REFUSALS)
def test_an_observation_is_refused_beyond_the_line(code, wrong):
    assert refused(**wrong) == code


@table(
    "right",
    [
        {"price": 1},
        {"price": 1_000},
        {"published": NOW},
        {"published": NOW - 5 * SECOND},
        {"published": NOW - 10 * SECOND, "last": 0},
    ],
)
def test_on_the_line_an_observation_is_taken(right):
    assert not refused(**right)


def test_refusals_come_in_their_documented_order():
    """What is wrong in two respects is refused for the first of them."""
    assert refused(price=0, published=NOW + 1) == "price_must_be_positive"
    assert refused(price=-1, price_max=-5, published=0) == "price_must_be_positive"
    assert refused(price=1_001, published=NOW + 1) == "price_exceeds_limit"
    both = {"published": NOW + 1, "last": NOW + 2}
    assert refused(**both) == "price_from_the_future"
    assert refused(published=0) == "price_is_older_than_the_last"


def test_without_an_age_nothing_is_stale():
    old = {"price": 5, "price_max": 9, "published": 0, "now": NOW, "last": 0}
    assert not OracleGuard().refusal(**old)
    assert OracleGuard(age_max_ns=1).refusal(**old) == "price_is_stale"


def sources(*roles: str) -> tuple[Source, ...]:
    return tuple(Source(name=f"s{n}", role=role) for n, role in enumerate(roles))


INDEX3 = sources("index", "index", "index")
WITH_VENUE = sources("index", "venue")


def believe(guard, *prices, mark=0, basis=0, age=0, width=0, elapsed=SECOND, average=0):
    """Return the belief from one price a source, seen now or ``age`` ago."""
    seen = [Seen(n, p, width, NOW - age) for n, p in enumerate(prices) if p]
    facts = {"mark": mark, "basis": basis, "now": NOW, "elapsed": elapsed, "average": average}
    return guard.believe(seen, **facts)


def interval(belief):
    return belief.price, belief.low, belief.high, belief.quality, belief.reason


@table(("age", "fresh"), [(0, True), (10 * SECOND, True), (10 * SECOND + 1, False)])
def test_a_price_grows_stale(age, fresh):
    found = believe(OracleGuard(age_max_ns=10 * SECOND), 100, age=age)
    assert (found is not None) == fresh


@table(
    ("prices", "index"),
    [
        ((100, 100, 103), 100),
        ((90, 100, 110), 100),  # both within ten percent, on the line
        ((89, 100, 110), 100),  # 89 is dropped: of 100 and 110 the lower counts
        ((90, 100, 111), 90),  # 111 is dropped
        ((50, 100), 50),  # two cannot tell which of them is wrong
    ],
)
def test_outliers_are_dropped_beyond_the_line(prices, index):
    found = believe(OracleGuard(sources=INDEX3, outlier_max=100_000), *prices)
    assert found.index == found.price == index


@table(
    ("votes", "median"),
    [
        ([(5, 1)], 5),
        ([(5, 1), (7, 1)], 5),  # half has voted: the lower one
        ([(5, 1), (7, 2)], 7),
        ([(7, 2), (5, 2)], 5),
        ([(5, 1), (6, 1), (7, 3)], 7),
        ([(5, 1), (6, 2), (7, 3)], 6),
    ],
)
def test_the_weighted_median_is_the_least_price_with_half_the_weight(votes, median):
    assert weighted_median(votes) == median


@table(("prices", "quality"), [((100, 100), GOOD), ((100, 0), DOUBTFUL)])
def test_few_sources_make_a_price_doubtful(prices, quality):
    found = believe(OracleGuard(sources_min=2), *prices)
    assert found.quality == quality
    assert found.reason == ("" if quality == GOOD else "too_few_sources")


@table(
    ("venue", "expected"),
    [
        (110, (100, 100, 100, GOOD, "")),
        (111, (100, 100, 100, DOUBTFUL, "venue_diverges_from_index")),
        (90, (100, 100, 100, GOOD, "")),
        (89, (100, 100, 100, DOUBTFUL, "venue_diverges_from_index")),
    ],
)
def test_a_venue_may_be_as_far_from_the_index_as_allowed(venue, expected):
    guard = OracleGuard(sources=WITH_VENUE, divergence_max=100_000)
    assert interval(believe(guard, 100, venue)) == expected


@table(
    ("basis", "price"),
    [(9, 109), (10, 110), (11, 110), (-9, 91), (-10, 90), (-11, 90)],
)
def test_the_mark_stays_within_reach_of_the_index(basis, price):
    """A smoothed basis that the venue no longer supports is held at the same line."""
    guard = OracleGuard(sources=WITH_VENUE, divergence_max=100_000, smoothing_ns=SECOND)
    found = believe(guard, 100, 100 + basis, basis=basis * 1024, elapsed=0)
    assert found.price == price


@table(("elapsed", "basis"), [(0, 0), (SECOND, 5_120), (3 * SECOND, 7_680), (9 * SECOND, 9_216)])
def test_the_basis_is_smoothed_implicitly(elapsed, basis):
    """A gap of ten ticks: half of it after one time constant, three quarters after three."""
    guard = OracleGuard(sources=WITH_VENUE, smoothing_ns=SECOND)
    assert believe(guard, 100, 110, elapsed=elapsed).basis == basis


def test_without_an_index_the_venue_is_all_there_is():
    guard = OracleGuard(sources=WITH_VENUE, age_max_ns=SECOND)
    found = believe(guard, 0, 110)
    assert (found.price, found.quality, found.reason) == (110, DOUBTFUL, "no_index_source")


@table(("width", "quality"), [(9, GOOD), (10, GOOD), (11, DOUBTFUL)])
def test_a_wide_price_is_doubtful(width, quality):
    found = believe(OracleGuard(confidence_max=100_000), 100, width=width)
    low, high = (100, 100) if quality == GOOD else (100 - width, 100 + width)
    reason = "" if quality == GOOD else "confidence_is_wide"
    assert interval(found) == (100, low, high, quality, reason)


@table(
    ("price", "expected"),
    [
        (105, (105, 105, 105, GOOD, "")),
        (106, (105, 105, 106, DOUBTFUL, "step_exceeds_limit")),
        (95, (95, 95, 95, GOOD, "")),
        (94, (95, 94, 95, DOUBTFUL, "step_exceeds_limit")),
        (200, (105, 105, 200, DOUBTFUL, "step_exceeds_limit")),
    ],
)
def test_one_step_carries_the_mark_so_far(price, expected):
    assert interval(believe(OracleGuard(step_max=50_000), price, mark=100)) == expected


@table(("price", "mark"), [(3, 3), (2, 2), (1, 2), (5, 4)])
def test_a_step_is_at_least_a_tick(price, mark):
    assert believe(OracleGuard(step_max=50_000), price, mark=3).price == mark


def test_the_first_price_is_no_step():
    assert believe(OracleGuard(step_max=1), 77).price == 77


@table(
    ("price", "expected"),
    [
        (110, (110, 110, 110, GOOD, "")),
        (111, (111, 100, 111, DOUBTFUL, "price_diverges_from_average")),
        (90, (90, 90, 90, GOOD, "")),
        (89, (89, 89, 100, DOUBTFUL, "price_diverges_from_average")),
    ],
)
def test_a_spike_is_doubtful_down_to_the_average(price, expected):
    guard = OracleGuard(average_ns=60 * SECOND, average_max=100_000)
    assert interval(believe(guard, price, average=100 * 1024)) == expected


def test_the_widest_source_counts():
    guard = OracleGuard(confidence_max=100_000)
    seen = [Seen(0, 100, 11, NOW), Seen(1, 100, 1, NOW)]
    found = guard.believe(seen, mark=0, basis=0, now=NOW, elapsed=0)
    assert (found.low, found.high) == (89, 111)


def test_without_the_venues_own_price_nothing_diverges():
    guard = OracleGuard(sources=WITH_VENUE, divergence_max=100_000)
    assert believe(guard, 100, 0).quality == GOOD
    assert believe(OracleGuard(sources=WITH_VENUE), 100, 500).quality == GOOD


def test_without_an_outlier_rule_everybody_votes():
    assert believe(OracleGuard(sources=INDEX3), 10, 10, 900).index == 10
    assert believe(OracleGuard(sources=INDEX3), 10, 900, 900).index == 900


def test_a_belief_never_reaches_zero():
    found = believe(OracleGuard(confidence_max=1), 3, width=9)
    assert (found.price, found.low, found.high) == (3, 1, 12)


def test_a_stale_mark_gets_its_band():
    assert OracleGuard(stale_band=50_000).widened(100) == (95, 105)
    assert OracleGuard(stale_band=50_000).widened(19) == (19, 19)
    assert OracleGuard(stale_band=2 * PPM).widened(10) == (1, 30)


@table("quality", list(Quality))
def test_each_action_has_its_gate(quality):
    guard = OracleGuard(
        open_at_worst=2, withdraw_at_worst=0, liquidate_at_worst=1, deleverage_at_worst=0
    )
    worst = {
        Action.VALUE: 2,
        Action.REDUCE: 2,
        Action.OPEN: 2,
        Action.WITHDRAW: 0,
        Action.LIQUIDATE: 1,
        Action.DELEVERAGE: 0,
    }
    assert set(worst) == set(Action)
    for action, limit in worst.items():
        assert guard.admits(action, quality) == (quality <= limit)


# Breaker --------------------------------------------------------------------------------------

CALM = Alarms(deviations=0, distressed=0, branching=0, drawdown=0, doubtful=0)
ALARMS = ("deviations", "distressed", "branching", "drawdown", "doubtful")
LADDER = LadderBreaker(
    steps=(
        Step(rung="caution", deviations=1_000, distressed=1_000, branching=1_000, drawdown=1_000),
        Step(rung="reduce_only", deviations=2_000, doubtful=2, pace=500_000),
        Step(rung="halt", deviations=9_000, pace=0, initial_scale=2 * PPM),
    ),
    hysteresis=800_000,
    cooldown_ns=60,
)


def test_a_count_has_no_hysteresis():
    """Four of five doubtful prices are not five, though four alarms of five would still hold."""
    ladder = LadderBreaker(steps=(Step(rung="caution", doubtful=5, drawdown=5),))
    for raised, held in (
        ({"doubtful": 4}, False),
        ({"drawdown": 4}, True),
        ({"doubtful": 5}, True),
    ):
        _, calm, _, _ = ladder.climb(alarms(**raised), rung=1, calm_since=-1, now=7)
        assert (calm == -1) == held


def test_the_alarm_that_holds_a_rung_is_the_one_that_reaches_it():
    """Another one is near a higher rung: it does not hold this one."""
    found = LADDER.climb(alarms(distressed=1_000, deviations=1_900), rung=1, calm_since=-1, now=5)
    assert found == (1, -1, "deviations", 1_900)
    ladder = msgspec.structs.replace(
        LADDER, steps=(Step(rung="caution", distressed=1_000), Step(rung="halt", drawdown=2_000))
    )
    found = ladder.climb(alarms(distressed=1_000, drawdown=1_700), rung=1, calm_since=-1, now=5)
    assert found == (1, -1, "distressed", 1_000)


def alarms(**raised):
    return msgspec.structs.replace(CALM, **raised)


@table(
    ("raised", "rung"),
    [
        *[({name: 999}, 0) for name in ALARMS[:4]],
        *[({name: 1_000}, 1) for name in ALARMS[:4]],
        ({"deviations": 1_999}, 1),
        ({"deviations": 2_000}, 2),
        ({"deviations": 8_999}, 2),
        ({"deviations": 9_000}, 4),
        ({"doubtful": 1}, 0),
        ({"doubtful": 2}, 2),
        ({"drawdown": NEVER - 1}, 1),  # a threshold left out never trips
    ],
)
def test_a_rung_is_climbed_at_its_threshold(raised, rung):
    found, calm, reason, value = LADDER.climb(alarms(**raised), rung=0, calm_since=-1, now=5)
    assert (found, calm) == (rung, -1)
    if rung:
        assert (reason, value) == next(iter(raised.items()))


@table(
    ("raised", "rung", "calm_since", "expected"),
    [
        ({"deviations": 1_600}, 2, 7, (2, -1)),  # hysteresis: 80 % of 2,000 still holds
        ({"deviations": 1_599}, 2, -1, (2, 100)),  # below it calm begins
        ({"deviations": 1_599}, 2, 41, (2, 41)),  # 59 of 60
        ({"deviations": 1_599}, 2, 40, (1, 100)),  # down one rung, and calm begins anew
        ({"deviations": 1_000}, 2, 39, (1, 100)),
        ({}, 4, 40, (2, 100)),  # the next rung that exists
        ({}, 1, 41, (1, 41)),
        ({}, 1, 40, (0, 100)),
        ({"doubtful": 2}, 2, 0, (2, -1)),
        ({"doubtful": 1}, 2, 0, (1, 100)),  # a count is not scaled: one of two is not 80 %
        ({"deviations": 9_000}, 1, 0, (4, -1)),  # up at once, past a rung
        ({"deviations": 2_000}, 2, 7, (2, -1)),
    ],
)
def test_down_one_rung_after_unbroken_calm(raised, rung, calm_since, expected):
    found = LADDER.climb(alarms(**raised), rung=rung, calm_since=calm_since, now=100)
    assert found[:2] == expected


@table(
    ("rung", "pace", "scale"),
    [(0, PPM, PPM), (1, PPM, PPM), (2, 500_000, PPM), (3, 500_000, PPM), (4, 0, 2 * PPM)],
)
def test_a_rung_without_a_step_does_what_the_one_below_does(rung, pace, scale):
    assert (LADDER.at(rung).pace, LADDER.at(rung).initial_scale) == (pace, scale)


@table(
    ("price", "anchor", "variance", "sigmas"),
    [
        (100, 0, 0, 0),  # nothing to compare with
        (100, 100, 0, 0),
        (101, 100, 0, 20_000_000),  # 10,000 ppm over the floor of 500
        (99, 100, 0, 20_000_000),
        (101, 100, 10_000_000, 10_000_000),  # over a minute: sqrt(6e8) is below 24,495
        (101, 100, 4_166, 20_000_000),  # sqrt of 249,960 is 499: the floor
        (101, 100, 4_184, 19_960_079),  # sqrt of 251,040 is 501
    ],
)
def test_a_move_in_standard_deviations(price, anchor, variance, sigmas):
    breaker = LadderBreaker(window_ns=60 * SECOND, deviation_min=500)
    found = breaker.deviations(price=price, anchor=anchor, variance=variance)
    if variance == 10_000_000:
        sigmas = 10_000 * PPM // 24_494
    assert found == sigmas


@table(
    ("price", "last", "before", "elapsed", "after"),
    [
        (101, 0, 7, SECOND, 7),
        (101, 100, 7, 0, 7),  # two prices at one time say nothing about a rate
        (101, 100, 0, SECOND, 10**8 // 10),
        (99, 100, 0, SECOND, 10**8 // 10),
        (100, 100, 1_000, SECOND, 900),
        (300, 100, 0, SECOND, PPM * PPM // 10),  # a return counts up to 100 %
    ],
)
def test_variance_is_a_first_order_filter(price, last, before, elapsed, after):
    breaker = LadderBreaker(memory_ns=9 * SECOND)
    found = breaker.variance(price=price, last=last, variance=before, elapsed=elapsed)
    assert found == after


# Planner --------------------------------------------------------------------------------------


@table(
    ("equity", "required", "cost", "target", "share"),
    [
        (50, 100, 0, PPM, 500_000),  # exactly half
        (1, 3, 0, PPM, 666_667),  # rounded up
        (100, 100, 0, PPM, 0),  # on its goal
        (99, 100, 0, PPM, 10_000),
        (99, 100, 50, PPM, 20_000),  # half of the cure is eaten by the penalty
        (99, 100, 99, PPM, PPM),
        (99, 100, 100, PPM, PPM),  # the penalty eats the cure
        (50, 100, 50, PPM, PPM),  # the gap is all of the cure
        (51, 100, 50, PPM, 980_000),
        (100, 100, 0, 1_250_000, 200_000),
        (1, 1, 0, 1_250_000, 500_000),  # the goal is rounded up
        (1, 100, 0, PPM, 990_000),
        (0, 100, 0, PPM, PPM),  # bankrupt, or as good as
        (-1, 100, 0, PPM, PPM),
        (99, 100, 0, 0, PPM),  # no target
    ],
)
def test_as_much_is_closed_as_cures(equity, required, cost, target, share):
    assert plan.close_share(equity, required, cost, target, PPM) == share
    for most in (share - 1, share, share + 1):
        if 0 < most < PPM and share not in {0, PPM}:
            found = plan.close_share(equity, required, cost, target, most)
            assert found == min(share, most)


def planned(planner, users, *, now=100, staged=(), room=(2**62, 2**62), flying=0, rule=None):
    """Return what is planned for users of (lots, equity, required) at a mark of 100."""
    book = book_of(ONE, [0] * len(users), [(n, 0, u[0], 0) for n, u in enumerate(users)])
    book.in_flight[0] = flying
    at = np.full(book.accounts, -1, np.int64)
    at[U : U + len(staged)] = staged
    sell, buy = column(room[0]), column(room[1])
    found = planner.plan(
        book,
        facts_of(ONE, rules(rule or flat())),
        health_of(*(u[1:] for u in users)),
        mark=column(100),
        gate=column(1),
        staged_at=at,
        now=now,
        room_sell=sell,
        room_buy=buy,
    )
    if found is None:
        return []
    who = book.account[found.row] - U
    return list(zip(who.tolist(), found.netted.tolist(), found.ordered.tolist(), strict=True))


SICK = (10, 1, 2)


@table(
    ("staged", "due"), [(-1, True), (39, True), (40, True), (41, False), (100, False), (0, True)]
)
def test_one_stage_an_interval(staged, due):
    found = planned(StagedPlanner(interval_ns=60), [SICK], staged=[staged])
    assert found == ([(0, 0, -10)] if due else [])


def test_a_stage_at_the_beginning_of_time_counts():
    assert not planned(StagedPlanner(interval_ns=60), [SICK], staged=[0], now=59)
    assert planned(StagedPlanner(interval_ns=60), [SICK], staged=[-1], now=59)


@table(("rate", "lots"), [(0, -1), (1, -2)])
def test_what_closing_costs_is_rounded_up(rate, lots):
    """A tenth cures nine lots; nine tenths of a Money of penalty make it a little more."""
    planner = StagedPlanner(target=PPM)
    found = planned(planner, [(9, 9, 10)], rule=flat(penalty=rate))
    assert found == [(0, 0, lots)]


@table(("flying", "due"), [(0, True), (-1, False), (-10, False)])
def test_one_flight_at_a_time(flying, due):
    assert bool(planned(StagedPlanner(), [SICK], flying=flying)) == due


@table(
    ("fraction", "dust", "lots"),
    [
        (500_000, 0, -5),
        (500_001, 0, -6),  # rounded up
        (500_000, 500_000, -5),  # the rest is worth exactly the dust
        (500_000, 500_001, -10),
        (1, 0, -1),
        (1, 900_000, -1),
        (1, 900_001, -10),
        (PPM, 0, -10),
    ],
)
def test_a_stage_takes_dust_along(fraction, dust, lots):
    planner = StagedPlanner(close_fraction=fraction)
    assert planned(planner, [SICK], rule=flat(dust=dust)) == [(0, 0, lots)]


@table(("size", "lots"), [(999_999, -1), (1_000_000, -10), (1_000_001, -10)])
def test_large_accounts_begin_with_a_first_stage(size, lots):
    """Ten lots are worth a million: above the limit only a tenth is closed."""
    planner = StagedPlanner(whole_below=size, first_stage=100_000)
    assert planned(planner, [SICK]) == [(0, 0, lots)]


def test_a_first_stage_never_takes_more_than_a_stage():
    planner = StagedPlanner(whole_below=1, first_stage=900_000, close_fraction=300_000)
    assert planned(planner, [SICK]) == [(0, 0, -3)]


@table(
    ("priority", "order"),
    [
        ("deepest", [1, 2, 3, 4, 0]),
        ("largest", [3, 0, 1, 2, 4]),
        ("oldest", [2, 0, 4, 3, 1]),
        ("savable", [3, 4, 0, 2, 1]),  # equity first, the deepest of them; then the shallowest debt
    ],
)
def test_the_order_of_service(priority, order):
    users = [(10, 80, 100), (10, -30, 100), (10, -10, 90), (10, 20, 300), (10, 5, 10)]
    planner = StagedPlanner(priority=priority)
    found = planned(planner, users, staged=[20, 30, -1, 25, 22], now=10**9)
    assert [who for who, *_ in found] == order


@table("priority", ["deepest", "savable"])
def test_large_accounts_are_ranked_by_depth_too(priority):
    """Nine, eight and seven tenths of maintenance, each twice as large as the one before."""
    users = [(10, 9 * 2**50, 10 * 2**50), (10, 16 * 2**50, 20 * 2**50), (10, 28, 40)]
    found = planned(StagedPlanner(priority=priority), users)
    assert [who for who, *_ in found] == [2, 1, 0]


@table("priority", ["deepest", "largest", "oldest", "savable"])
def test_ties_are_served_by_row(priority):
    found = planned(StagedPlanner(priority=priority), [SICK] * 4)
    assert [who for who, *_ in found] == [0, 1, 2, 3]


def test_nothing_but_a_debt_is_after_those_with_equity():
    """On the line between having and owing an account still counts as having."""
    users = [(10, -1, 100), (10, 0, 100), (10, 1, 100)]
    found = planned(StagedPlanner(priority="savable"), users)
    assert [who for who, *_ in found] == [1, 2, 0]


@table(
    ("lots", "netting", "room", "expected"),
    [
        ((10, -10), False, (99, 99), [(0, -10), (0, 10)]),
        ((10, -10), True, (0, 0), [(-10, 0), (10, 0)]),  # netting needs no room
        ((10, -4), True, (99, 99), [(-4, -6), (4, 0)]),
        ((10, -4), True, (6, 0), [(-4, -6), (4, 0)]),
        ((10, -4), True, (5, 0), [(-4, -5), (4, 0)]),
        ((10, -4), True, (0, 9), [(-4, 0), (4, 0)]),
        ((4, -10), True, (0, 5), [(-4, 0), (4, 5)]),
        ((10, 7), True, (12, 99), [(0, -10), (0, -2)]),  # one side only: nothing meets
        ((10, 7), True, (10, 99), [(0, -10)]),  # whoever gets nothing is not served
        ((-10, -7), True, (99, 12), [(0, 10), (0, 2)]),
    ],
)
def test_opposite_closes_meet_before_anything_is_sold(lots, netting, room, expected):
    users = [(n, 1, 2) for n in lots]
    found = planned(StagedPlanner(netting=netting), users, room=room)
    assert [(met, sold) for _, met, sold in found] == expected


def test_the_larger_side_meets_in_the_order_of_service():
    users = [(6, 1, 4), (6, 1, 3), (-8, 1, 2)]
    found = planned(StagedPlanner(netting=True), users)
    assert found == [(0, -6, 0), (1, -2, -4), (2, 8, 0)]


@table(
    ("cash", "lots", "want"),
    [
        (0, (0, 100), {}),  # nothing is owed: a balance is left alone
        (-1, (0, 100), {1: -100}),
        (-1, (5, 100), {0: -5}),  # a derivative goes first
        (0, (0, -100), {1: 100}),  # an owed balance is bought back
        (5, (0, -100), {1: 100}),
    ],
)
def test_balances_are_sold_last_and_only_for_a_debt(cash, lots, want):
    venue = venue_of(perp(), coin())
    held = [(0, i, n, 0) for i, n in enumerate(lots) if n]
    book = book_of(venue, [cash], held)
    row, wanted, share = (np.zeros(9, np.int64) for _ in range(3))
    health = health_of((1, 2))
    n = plan.wanted(
        book,
        facts_of(venue),
        column(100, 100),
        column(1, 1),
        column(U),
        health.equity,
        health.required,
        0,
        PPM,
        0,
        PPM,
        row,
        wanted,
        share,
    )
    assert dict(zip(book.instrument[row[:n]].tolist(), wanted[:n].tolist(), strict=True)) == want


@table(("mark", "gate", "closed"), [(100, 1, True), (100, 0, False), (0, 1, False)])
def test_what_has_no_good_price_is_not_sold(mark, gate, closed):
    book, health = book_of(ONE, [0], [(0, 0, 5, 0)]), health_of((1, 2))
    out = [np.zeros(2, np.int64) for _ in range(3)]
    n = plan.wanted(
        book,
        facts_of(ONE),
        column(mark),
        column(gate),
        column(U),
        health.equity,
        health.required,
        0,
        PPM,
        0,
        PPM,
        *out,
    )
    assert n == closed


@table(
    ("facts", "lots"),
    [
        ({"depth_lots": 1_000}, 300),
        ({"depth_lots": 1_000, "pace": 500_000}, 150),
        ({"depth_lots": 1_000, "reserved": 200_000}, 240),
        ({"depth_lots": 1_001, "reserved": 200_000}, 240),  # every step rounds down
        ({"depth_lots": 3}, 0),
        ({"depth_lots": 4}, 1),
        ({"depth_lots": 0}, 60),  # 200 lots are assumed where none was measured
        ({"depth_lots": 0, "lot_value": 0}, 60 * 1_000),
        ({"depth_lots": 1_000, "pace": 0}, 0),
    ],
)
def test_the_budget_follows_executable_depth(facts, lots):
    planner = StagedPlanner(depth_share=300_000, unknown_depth=200_000)
    asked = {"lot_value": 1_000, "pace": PPM, "reserved": 0} | facts
    assert planner.capacity(**asked) == lots


@table(("pace", "lots"), [(0, 0), (1, 2**62), (PPM, 2**62)])
def test_without_a_throttle_only_the_pace_remains(pace, lots):
    asked = {"depth_lots": 5, "lot_value": 1, "reserved": 0}
    assert StagedPlanner().capacity(pace=pace, **asked) == lots


@table(
    ("elapsed", "left"),
    [(0, 100), (SECOND // 10, 99), (SECOND // 10 - 1, 100), (10 * SECOND, 0), (99 * SECOND, 0)],
)
def test_a_bucket_drains_within_its_window(elapsed, left):
    planner = StagedPlanner(depth_share=1, window_ns=10 * SECOND)
    assert planner.drained(spent=100, capacity=100, elapsed=elapsed) == left
    assert planner.drained(spent=100, capacity=2**62, elapsed=elapsed) == 0
    assert StagedPlanner().drained(spent=100, capacity=100, elapsed=elapsed) == 0


@table(
    ("price", "mark", "inside"),
    [
        (99, 100, True),
        (98, 100, False),
        (101, 100, True),
        (102, 100, False),
        (990, 999, True),
        (989, 999, False),
    ],
)
def test_executable_is_what_rests_within_reach(price, mark, inside):
    assert depth.executable(column(price), column(7), 1, mark, 10_000) == 7 * inside
    assert depth.executable(column(price), column(7), 0, mark, 10_000) == 0


# Route ----------------------------------------------------------------------------------------


def worst_price(lots, equity, *, spread=PPM, adjustment=PPM, band=0, mark=10_000, required=500):
    """Return the limit of closing a position of maintenance 5 %, at a mark of 10,000 ticks."""
    book = book_of(ONE, [0], [(0, 0, lots, 0)])
    out = BookRoute(spread=spread, adjustment=adjustment).limits(
        book,
        facts_of(ONE, rules(flat(maintenance=50_000))),
        health_of((equity, required)),
        mark=column(mark),
        row=column(0),
        ordered=column(-lots),
        band=band,
    )
    return int(out[0])


@table(
    ("facts", "sell", "buy"),
    [
        ({"equity": 500}, 10_000, 10_000),  # on maintenance: nothing may be given up
        ({"equity": 501}, 10_000, 10_000),
        ({"equity": 499}, 9_999, 10_001),  # 0.2 % of 500 ticks
        ({"equity": 250}, 9_750, 10_250),
        ({"equity": 1}, 9_501, 10_499),
        ({"equity": 0}, 9_500, 10_500),  # bankrupt: all of the spread
        ({"equity": -1}, 9_500, 10_500),
        ({"equity": 250, "adjustment": 2 * PPM}, 9_500, 10_500),
        ({"equity": 251, "adjustment": 2 * PPM}, 9_502, 10_498),
        ({"equity": 0, "spread": 100_000}, 9_950, 10_050),
        ({"equity": 0, "spread": 3 * PPM}, 8_500, 11_500),
        ({"equity": 0, "spread": 1_001}, 10_000, 10_000),  # half a tick: rounded against the order
        ({"equity": 0, "required": 0}, 9_500, 10_500),
        ({"equity": 0, "spread": 0}, 1, 10**6),  # a market order
        ({"equity": 0, "band": 50_000}, 9_500, 10_500),
        ({"equity": 0, "band": 49_999}, 9_501, 10_499),  # the band binds, rounded inwards
        ({"equity": 0, "spread": 0, "band": 30_000}, 9_700, 10_300),
        ({"equity": 0, "spread": 0, "band": PPM}, 1, 20_000),
    ],
)
def test_the_limit_loosens_as_an_account_nears_bankruptcy(facts, sell, buy):
    if facts.get("band") == PPM:
        sell = 0 if worst_price(10, **facts) == 0 else 1
    assert worst_price(10, **facts) == sell
    assert worst_price(-10, **facts) == buy


@table(
    ("spread", "equity", "limit"),
    [(1_999, 0, 10_000), (2_000, 0, 9_999), (2_000, 250, 10_000), (4_000, 250, 9_999)],
)
def test_what_may_be_given_up_is_rounded_down(spread, equity, limit):
    """A position of 10,000 Money that needs 500: less than one Money is nothing."""
    venue = venue_of(perp(tick_value=1))
    route = BookRoute(spread=spread)
    found = route.limits(
        book_of(venue, [0], [(0, 0, 1, 0)]),
        facts_of(venue, rules(flat(maintenance=50_000))),
        health_of((equity, 500)),
        mark=column(10_000),
        row=column(0),
        ordered=column(-1),
        band=0,
    )
    assert found.tolist() == [limit]


def test_a_limit_stays_within_the_prices_that_exist():
    assert worst_price(-10, 0, mark=999_999) == 10**6
    assert worst_price(10, 0, mark=1, spread=50 * PPM) == 1


# Waterfall ------------------------------------------------------------------------------------

LAYERS = ((0, 100), (100, 150))


def fund(*layers):
    return Waterfall(
        tranches=tuple(
            Tranche(name=str(n), initial=0, attachment=a, exhaustion=e)
            for n, (a, e) in enumerate(layers)
        )
    )


@table(
    ("layers", "balance", "lost", "deficit", "paid"),
    [
        (LAYERS, (100, 100), 0, 0, [0, 0]),
        (LAYERS, (100, 100), 0, 99, [99, 0]),
        (LAYERS, (100, 100), 0, 100, [100, 0]),
        (LAYERS, (100, 100), 0, 101, [100, 1]),
        (LAYERS, (100, 100), 0, 150, [100, 50]),
        (LAYERS, (100, 100), 0, 151, [100, 50]),  # beyond the last layer nobody pays
        (LAYERS, (100, 100), 99, 1, [1, 0]),
        (LAYERS, (100, 100), 99, 2, [1, 1]),
        (LAYERS, (100, 100), 100, 5, [0, 5]),
        (LAYERS, (100, 100), 149, 5, [0, 1]),
        (LAYERS, (100, 100), 150, 5, [0, 0]),
        (LAYERS, (30, 100), 0, 80, [30, 50]),  # what one cannot pay passes to the next
        (LAYERS, (30, 100), 0, 120, [30, 50]),  # which is never wider than its layer
        (LAYERS, (0, 10), 0, 80, [0, 10]),
        (LAYERS, (-5, 100), 0, 10, [0, 10]),
        (((100, 200),), (500,), 0, 100, [0]),  # a layer that is not reached pays nothing
        (((100, 200),), (500,), 0, 101, [1]),  # and then only what falls into it
        (((100, 200),), (500,), 0, 250, [100]),
        (((100, 200),), (500,), 150, 250, [50]),
        (((0, 2**62), (0, 2**62)), (5, 100), 0, 50, [5, 45]),  # two layers of the same place
        (((0, 50), (100, 200)), (50, 100), 0, 150, [50, 50]),  # a gap belongs to nobody
        ((), (), 0, 7, []),
    ],
)
def test_a_tranche_pays_between_attachment_and_exhaustion(layers, balance, lost, deficit, paid):
    assert fund(*layers).draws(deficit, balance=list(balance), lost=lost) == paid


@table(
    ("weights", "total", "shares"),
    [
        ((1, 1, 1), 10, [4, 3, 3]),  # ties to the lower row
        ((1, 1, 1), 11, [4, 4, 3]),
        ((1, 2, 3), 10, [2, 3, 5]),
        ((0, 5, 0), 3, [0, 3, 0]),
        ((3, 1), 0, [0, 0]),
        ((1, 3), 2, [1, 1]),  # a tie of halves: the lower row rounds up
        ((2, 5), 3, [1, 2]),
    ],
)
def test_the_largest_remainder_gets_what_is_left(weights, total, shares):
    out = np.full(len(weights), 9, np.int64)
    allocate.largest_remainder(total, column(*weights), out)
    assert out.tolist() == shares


@table(
    ("total", "caps", "shares", "rest"),
    [
        (6, (10, 10, 10), [2, 2, 2], 0),
        (6, (1, 10, 10), [1, 3, 2], 0),
        (6, (2, 2, 2), [2, 2, 2], 0),
        (7, (2, 2, 2), [2, 2, 2], 1),
        (5, (0, 3, 10), [0, 3, 2], 0),
        (0, (5, 5, 5), [0, 0, 0], 0),
        (1, (5, 5, 5), [1, 0, 0], 0),
    ],
)
def test_nobody_gives_more_than_they_have(total, caps, shares, rest):
    none = np.full(3, 9, np.int64)
    assert allocate.capped_pro_rata(total, column(0, 0, 0), column(*caps), none) == total
    assert none.tolist() == [0, 0, 0]
    out = np.full(3, 9, np.int64)
    found = allocate.capped_pro_rata(total, column(1, 1, 1), column(*caps), out)
    assert (out.tolist(), found) == (shares, rest)


@table(
    ("total", "shares", "rest"),
    [
        (0, [0, 0, 0], 0),
        (4, [0, 0, 4], 0),
        (5, [0, 0, 5], 0),
        (6, [1, 0, 5], 0),
        (99, [3, 2, 5], 89),
    ],
)
def test_a_queue_takes_each_whole(total, shares, rest):
    out = np.full(3, 9, np.int64)
    found = allocate.in_order(total, column(2, 0, 1), column(3, 2, 5), out)
    assert (out.tolist(), found) == (shares, rest)


@table(
    ("part", "whole", "ratio"),
    [
        (-1, 5, 0),
        (0, 0, 0),
        (1, 0, 10**9),
        (1, -1, 10**9),
        (1, 3, 333_333),
        (999, 1, 999_000_000),
        (1_000, 1, 10**9),
        (1_001, 1, 10**9),
    ],
)
def test_a_ratio_has_an_end(part, whole, ratio):
    assert allocate.ratio_ppm(part, whole) == ratio


# A bankrupt long of ten lots is closed against shorts that sold at 110 while the mark is 100.
WINNER = {"lots": -10, "entry": 110, "equity": 200_000, "best": 150_000, "flying": 0}


@table(
    ("change", "deficit", "chosen"),
    [
        ({}, 0, True),
        ({"lots": 10, "entry": 90}, 0, False),  # the same side
        ({"entry": 100}, 0, False),  # no profit
        ({"entry": 101}, 0, True),
        ({"best": 0}, 0, True),
        ({"best": -1}, 0, False),  # liquidatable itself
        ({"best": 99_999}, 100_000, True),  # it may come closer to it: splitting must not pay
        ({"flying": 1}, 0, False),
        ({"equity": 0}, 0, False),
        ({"equity": 1}, 0, True),
        ({}, 100_000, True),  # ten lots gained 100,000: exactly their share
        ({}, 100_001, False),
        ({"equity": 100_001}, 100_000, True),
        ({"equity": 100_000}, 100_000, False),  # nobody gives up all it has
        ({"lots": -5}, 100_000, True),  # half of the lots, half of the deficit
        ({"lots": -5}, 100_002, False),
        ({"lots": -5, "equity": 50_001}, 100_000, True),
        ({"lots": -5, "equity": 50_000}, 100_000, False),
        ({"lots": -20}, 100_000, True),  # nobody is closed for more than there is
        ({"lots": -20}, 100_001, False),
        ({"lots": -20, "equity": 100_001}, 100_000, True),
        ({"lots": -20, "equity": 100_000}, 100_000, False),
        ({"lots": -(10**6)}, 2**61, False),  # and no product wraps
    ],
)
def test_who_can_be_deleveraged(change, deficit, chosen):
    w = WINNER | change
    book = book_of(ONE, [0], [(0, 0, w["lots"], w["lots"] * w["entry"] * 1_000)])
    book.in_flight[0] = w["flying"]
    equity, best = np.zeros(U + 1, np.int64), np.zeros(U + 1, np.int64)
    equity[U], best[U] = w["equity"], w["best"]
    args = (facts_of(ONE), equity, best, column(100), column(0), 1, deficit, 10)
    for rule in range(3):
        row, _, lots = deleverage.candidates(book, *args, rule)
        assert row.tolist() == ([0] if chosen else [])
        assert lots.tolist() == ([abs(w["lots"])] if chosen else [])


@table(("rule", "score"), [(0, 250_000), (1, 100_000), (2, 1_000_000)])
def test_the_queue_has_three_scores(rule, score):
    """A gain of 100,000 on 1,100,000 paid, at five times leverage; the first in ppm."""
    book = book_of(ONE, [0], [(0, 0, -10, -1_100_000)])
    equity, best = np.zeros(U + 1, np.int64), np.zeros(U + 1, np.int64)
    equity[U] = 400_000
    args = (facts_of(ONE), equity, best, column(100), column(0), 1, 0, 10)
    _, found, _ = deleverage.candidates(book, *args, rule)
    assert found.tolist() == [90_909 * 2_500_000 // PPM if rule == 0 else score]


def closing(users, lots, **rule):
    """Return (user, lots, rank) of the winners closed against ``lots`` of a bankrupt long."""
    book = book_of(
        ONE, [0] * len(users), [(n, 0, -q, -q * 110_000) for n, (q, _) in enumerate(users)]
    )
    health = health_of(*((equity, 0) for _, equity in users))
    found = Waterfall(**rule).closing(
        book,
        facts_of(ONE),
        health,
        mark=column(100),
        instrument=0,
        side=1,
        lots=lots,
        deficit=0,
    )
    who = (book.account[found.row] - U).tolist()
    return list(zip(who, found.lots.tolist(), found.rank.tolist(), strict=True)), found.unmatched


@table(
    ("lots", "taken", "rest"),
    [
        (9, [(1, 9, 1)], 0),
        (10, [(1, 10, 1)], 0),
        (11, [(1, 10, 1), (0, 1, 2)], 0),
        (21, [(1, 10, 1), (0, 10, 2), (2, 1, 3)], 0),
        (41, [(1, 10, 1), (0, 10, 2), (2, 20, 3)], 1),
    ],
)
def test_the_queue_takes_the_highest_score_whole(lots, taken, rest):
    """Leverage ranks the second first; equal scores stand by row."""
    users = [(10, 2_000), (10, 1_000), (20, 4_000)]
    assert closing(users, lots, deleverage="queue") == (taken, rest)


@table(
    ("lots", "taken", "rest"),
    [
        (4, [(0, 1), (1, 1), (2, 2)], 0),
        (5, [(0, 1), (1, 1), (2, 3)], 0),  # 1.25, 1.25 and 2.5
        (40, [(0, 10), (1, 10), (2, 20)], 0),
        (42, [(0, 10), (1, 10), (2, 20)], 2),
    ],
)
def test_pro_rata_takes_from_all(lots, taken, rest):
    users = [(10, 2_000), (10, 1_000), (20, 4_000)]
    found, unmatched = closing(users, lots, deleverage="pro_rata")
    assert (sorted((who, n) for who, n, _ in found), unmatched) == (taken, rest)


@table(
    ("rule", "deficit", "shares"),
    [
        ("none", 10, {}),
        ("equity", 0, {}),
        ("equity", 10, {0: 3, 1: 7}),
        ("equity", 999, {0: 30, 1: 70}),  # nobody pays more than they have
        ("profit", 10, {0: 2, 1: 8}),  # 10 and 50 of profit
        ("profit", 61, {0: 10, 1: 50}),
    ],
)
def test_what_is_left_is_shared(rule, deficit, shares):
    health = health_of((30, 0), (70, 0), (0, 0), (-5, 0))
    cash = np.zeros(U + 4, np.int64)
    cash[U : U + 2] = (20, 20)
    payers, paid = Waterfall(socialise=rule).shares(deficit, health, cash)
    assert dict(zip((payers - U).tolist(), paid.tolist(), strict=True)) == shares


@table(
    ("weights", "shares"),
    [((1, 1), [5, 6]), ((0, 0), [0, 11]), ((0, 3), [0, 11]), ((3, 0), [11, 0])],
)
def test_the_last_takes_what_rounding_left(weights, shares):
    out = np.full(2, 9, np.int64)
    deleverage.proportional(11, column(*weights), out)
    assert out.tolist() == shares


# Profile --------------------------------------------------------------------------------------


@table(
    ("side", "rate", "slack", "away"),
    [
        (1, 0, 0, 0),
        (1, 0, -1, 0),
        (1, 0, 1, 10_000),  # one of a hundred: one percent
        (1, 500_000, 1, 20_000),  # a long's requirement shrinks with it
        (-1, 500_000, 3, 20_000),  # a short's grows
        (1, PPM, 1, 10**9),  # never
        (1, 0, 99_999, 999_990_000),
        (1, 0, 100_000, 10**9),
    ],
)
def test_how_far_away_liquidation_is(side, rate, slack, away):
    assert profile.distance(100, rate, side, slack) == away


@table(
    ("slack", "buckets"),
    [
        (-1, [10, 0, 0]),
        (9_999, [10, 0, 0]),
        (10_000, [0, 10, 0]),
        (29_999, [0, 0, 10]),
        (30_000, [0, 0, 0]),
    ],
)
def test_forced_lots_stand_in_their_bucket(slack, buckets):
    """Ten lots worth a million that need nothing: a slack of 10,000 is one percent away."""
    for lots in (10, -10):
        book = book_of(ONE, [0], [(0, 0, lots, 0)])
        column_of = np.zeros(U + 1, np.int64)
        column_of[U] = slack
        down, up = np.zeros(3, np.int64), np.zeros(3, np.int64)
        profile.forced_buckets(book, facts_of(ONE), column(100), column_of, 0, 10_000, down, up)
        assert down.tolist() == (buckets if lots > 0 else [0, 0, 0])
        assert up.tolist() == (buckets if lots < 0 else [0, 0, 0])


@table(("price", "bucket"), [(100, 0), (99, 1), (101, 1), (98, 2), (97, None)])
def test_depth_stands_in_its_bucket(price, bucket):
    out = np.zeros(3, np.int64)
    depth.depth_buckets(column(price), column(6), 1, 100, 10_000, out)
    seen = [0, 0, 0]
    for b in range(3):
        if b == bucket:
            seen[b] = 6
        elif bucket is not None and b > bucket:
            seen[b] = 6 // max(1, bucket)  # beyond the last level the mean density goes on
    assert out.tolist() == seen


@table(("reach", "counted"), [(9_999, False), (10_000, True), (10_001, True)])
def test_a_move_forces_whom_it_reaches(reach, counted):
    book, out = book_of(ONE, [0], [(0, 0, 10, 0)]), np.zeros((1, 1), np.int64)
    slack = np.zeros(U + 1, np.int64)
    slack[U] = 10_000
    profile.branching_matrix(book, facts_of(ONE), column(100), slack, column(20), reach, 1, out)
    assert out.tolist() == [[500_000 if counted else 0]]


@table(("lots", "bucket"), [(-10, 1), (10, 0)])
def test_an_owed_balance_is_as_far_away_as_its_own_rate_says(lots, bucket):
    """1.5 % of slack: 1 % away at a debt rate of 50 %, 1.5 % where nothing is asked."""
    venue = venue_of(coin(), perp())
    book = book_of(venue, [0], [(0, 0, lots, 0), (0, 1, 7, 0)])
    facts = facts_of(venue, rules(COIN=flat(maintenance=0, initial=0, debt_maintenance=500_000)))
    slack = np.zeros(U + 1, np.int64)
    slack[U] = 1_500
    down, up = np.zeros(3, np.int64), np.zeros(3, np.int64)
    profile.forced_buckets(book, facts, column(100, 100), slack, 0, 10_000, down, up)
    expected = [0, 0, 0]
    expected[1] = 10
    assert (up if lots < 0 else down).tolist() == expected
    assert not (down if lots < 0 else up).any()
    out = np.zeros((2, 2), np.int64)
    side = 1 if lots > 0 else -1
    for reach, counted in ((9_999, False), (10_000, bucket == 1), (15_000, True)):
        profile.branching_matrix(
            book, facts, column(100, 100), slack, column(20, 0), reach, side, out
        )
        assert out[0].tolist() == [500_000 * counted, 10**9 * (counted and side > 0)]


@table(
    ("forced", "resting", "ratio"),
    [
        (0, 0, 0),
        (0, 5, 0),
        (1, 0, 10**9),
        (1, 3, 333_333),
        (5_000, 5, 10**9),
        (4_999, 5, 999_800_000),
    ],
)
def test_a_branching_ratio(forced, resting, ratio):
    out = np.full(1, 7, np.int64)
    profile.branching(column(forced), column(resting), out)
    assert out.tolist() == [ratio]
    assert profile.near_branching(column(forced, 9), column(resting, 9), 1) == ratio
    assert profile.near_branching(column(0, forced), column(0, resting), 2) == ratio


# Signals --------------------------------------------------------------------------------------

BOUND = SignalBound(name="s", neutral=100, tightest=200, age_max_ns=10)


@table(("said", "kept"), [(99, 100), (100, 100), (101, 101), (200, 200), (201, 200)])
def test_a_signal_is_clamped(said, kept):
    assert BOUND.clamp(said) == kept


@table(
    ("age", "value"), [(0, 197), (10, 197), (11, 188), (15, 149), (19, 110), (20, 100), (21, 100)]
)
def test_a_stale_signal_fades_and_is_never_looser_than_a_straight_line(age, value):
    assert BOUND.faded(197, age) == value


def test_who_is_not_named_is_not_listened_to():
    gate = SignalGate(bounds=(BOUND, replaced(BOUND, name="t")))
    assert [gate.slot(name) for name in ("s", "t", "u")] == [0, 1, -1]
    assert SignalGate().slot("s") == -1


# Declarations that contradict themselves ------------------------------------------------------

CAUTION = {"rung": "caution", "pace": 500_000, "initial_scale": 2 * PPM, "deviations": 5}


@table(
    ("make", "where"),
    [
        (lambda: Step(rung="caution") and LadderBreaker(steps=(Step(rung="NORMAL"),)), "rung"),
        (lambda: LadderBreaker(steps=(Step(rung="normal"),)), "rung"),
        (lambda: LadderBreaker(steps=(Step(rung="gone"),)), "rung"),
        (lambda: LadderBreaker(steps=(Step(rung="halt"), Step(rung="caution"))), "steps"),
        (lambda: LadderBreaker(steps=(Step(rung="halt"), Step(rung="halt"))), "steps"),
        (lambda: above(pace=500_001), "steps"),
        (lambda: above(initial_scale=2 * PPM - 1), "steps"),
        (lambda: above(deviations=4), "deviations"),
        (lambda: above(band=0, below_band=1), "steps"),
        (lambda: above(band=2, below_band=1), "steps"),
        (lambda: LadderBreaker(hysteresis=0), "breaker"),
        (lambda: LadderBreaker(hysteresis=PPM + 1), "breaker"),
        (lambda: LadderBreaker(reserved=PPM), "breaker"),
        (lambda: LadderBreaker(reserved=-1), "breaker"),
        (lambda: LadderBreaker(window_ns=0), "breaker"),
        (lambda: LadderBreaker(cooldown_ns=-1), "breaker"),
        (lambda: LadderBreaker(steps=(Step(rung="caution", pace=PPM + 1),)), "steps"),
        (lambda: LadderBreaker(steps=(Step(rung="caution", pace=-1),)), "steps"),
        (lambda: LadderBreaker(steps=(Step(rung="caution", initial_scale=PPM - 1),)), "steps"),
        (lambda: LadderBreaker(steps=(Step(rung="caution", band=-1),)), "steps"),
        (lambda: StagedPlanner(close_fraction=0), "close_fraction"),
        (lambda: StagedPlanner(close_fraction=PPM + 1), "close_fraction"),
        (lambda: StagedPlanner(first_stage=0), "first_stage"),
        (lambda: StagedPlanner(target=PPM - 1), "target"),
        (lambda: StagedPlanner(priority="first"), "priority"),
        (lambda: StagedPlanner(window_ns=0, depth_share=1), "window_ns"),
        (lambda: StagedPlanner(interval_ns=-1), "interval_ns"),
        (lambda: StagedPlanner(whole_below=-1), "whole_below"),
        (lambda: BookRoute(adjustment=PPM - 1), "route"),
        (lambda: BookRoute(spread=-1), "route"),
        (lambda: Tranche(name="t", initial=-1), "tranches"),
        (lambda: Tranche(name="t", initial=0, attachment=5, exhaustion=5), "tranches"),
        (lambda: Tranche(name="t", initial=0, attachment=-1), "tranches"),
        (lambda: fund((5, 9), (4, 9)), "tranches"),
        (lambda: fund(*[(0, 1)] * 9), "tranches"),
        (lambda: Waterfall(deleverage="some"), "deleverage"),
        (lambda: Waterfall(deleverage_when="never"), "deleverage_when"),
        (lambda: Waterfall(score="luck"), "score"),
        (lambda: Waterfall(socialise="all"), "socialise"),
        (lambda: Waterfall(fund_share=PPM + 1), "fund_share"),
        (lambda: Waterfall(fund_share=-1), "fund_share"),
        (lambda: Waterfall(penalty_share=PPM + 1), "penalty_share"),
        (lambda: Waterfall(penalty_share=-1), "penalty_share"),
        (lambda: SignalBound(name="s", neutral=2, tightest=1), "signals"),
        (lambda: SignalBound(name="s", age_max_ns=0), "signals"),
        (lambda: OracleGuard(sources_min=0), "sources_min"),
        (lambda: OracleGuard(open_at_worst=3), "oracle"),
        (lambda: OracleGuard(open_at_worst=-1), "oracle"),
        (lambda: OracleGuard(step_max=-1), "step_max"),
        (lambda: OracleGuard(age_max_ns=-1), "age_max_ns"),
        (lambda: OracleGuard(average_max=1), "average_max"),
        (lambda: OracleGuard(sources=(Source(name="a"), Source(name="a"))), "sources"),
        (lambda: Source(name="a", weight=0), "sources"),
        (lambda: Source(name="a", role="none"), "sources"),
        (lambda: facts_of(ONE, rules(flat(initial=1, maintenance=2))), "tiers"),
        (lambda: facts_of(ONE, rules(flat(initial=PPM + 1))), "tiers"),
        (lambda: facts_of(ONE, rules(flat(maintenance=-1))), "tiers"),
        (lambda: facts_of(ONE, rules(Requirement(tiers=()))), "tiers"),
        (lambda: facts_of(ONE, rules(Requirement(tiers=tiers((1, 0, 0))))), "tiers"),
        (lambda: facts_of(ONE, rules(Requirement(tiers=tiers((0, 1, 1), (0, 1, 1))))), "tiers"),
        (lambda: facts_of(ONE, rules(Requirement(tiers=tiers((0, 2, 2), (1, 1, 2))))), "tiers"),
        (lambda: facts_of(ONE, rules(Requirement(tiers=tiers((0, 1, 2), (1, 1, 1))))), "tiers"),
        (lambda: facts_of(ONE, rules(flat(counted_max=PPM + 1))), "floor"),
        (lambda: facts_of(ONE, rules(flat(premium=2_147_484))), "premium"),
        (lambda: facts_of(ONE, rules(flat(premium=-1))), "premium"),
        (lambda: facts_of(ONE, rules(flat(penalty=-1))), "penalty"),
        (lambda: facts_of(ONE, rules(flat(penalty=PPM + 1))), "penalty"),
        (lambda: facts_of(ONE, rules(flat(dust=-1))), "dust"),
        (lambda: facts_of(ONE, rules(flat(debt_maintenance=-1))), "debt"),
        (lambda: facts_of(ONE, rules(flat(debt_initial=-1))), "debt"),
        (lambda: facts_of(ONE, rules(flat(open_low=2, open_high=1))), "open"),
        (lambda: facts_of(ONE, rules(flat(open_high=-1))), "open"),
        (lambda: facts_of(ONE, rules(flat(open_low=-1))), "open"),
        (lambda: facts_of(ONE, rules(OTHER=flat())), "OTHER"),
        (lambda: facts_of(ONE, MarginModel(kind="scenario")), "kind"),
        (lambda: MarginModel(cash_debt_initial=-1), "cash"),
        (lambda: Profile(buckets=201), "profile"),
        (lambda: Profile(near=0), "profile"),
        (lambda: Profile(near=41), "profile"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(make, where):
    with pytest.raises(ConfigInvalid) as refusal:
        make()
    assert where in refusal.value.where


def above(*, below_band=0, **changes):
    """Return a ladder whose second rung differs from its first by ``changes``."""
    lower = Step(**CAUTION, band=below_band)
    upper = Step(**(CAUTION | {"rung": "halt", "band": below_band} | changes))
    return LadderBreaker(steps=(lower, upper))


def test_a_ladder_that_stays_as_it_is_may_be_declared():
    assert above().at(Rung.HALT).pace == 500_000
    assert above(below_band=1, band=1).at(Rung.HALT).band == 1


def test_the_desk_itself_is_sound():
    """The engine agrees with the tables above on the plainest case."""
    desk = Desk(ONE, margin=rules(HALF))
    desk.users([250_000], [(0, 0, 10, 100)])
    assert not desk.of(object, [e for e in desk.price(100) if type(e).__name__ == "OrdersPlaced"])
    assert [type(e).__name__ for e in desk.later(1).price(99)].count("OrdersPlaced") == 1
    assert inverse().value_max(1) == 10**6
