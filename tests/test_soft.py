"""Soft liquidation: who is laid, who is spared, what is offered and taken, and when it ends.

The desk's loan: 10 ETH at 3,000 USD, liquidated above 85 % of their value, laid when less than a
fifth of maintenance is left above the line: above a debt of 24,600 USD.
"""

from dataclasses import replace
from fractions import Fraction
from importlib.resources import as_file, files

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, column, facts_of, flat, perp, replaced, rows_of, rules, venue_of
from tidegate.cli.data import data
from tidegate.conformance.adapter import column as unbounded_column
from tidegate.domain.banded import Banded
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import (
    BandsBelieved,
    BandsLaid,
    BandsLeft,
    BandsMoved,
    BandsOffered,
    DeficitFound,
    HealthMoved,
    OrdersPlaced,
    PositionsMoved,
    Rejected,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import BandsTaken, Deposited, Withdrawn
from tidegate.domain.units import PPM, SECOND, pack, unbounded, unpack
from tidegate.domain.venue import Market, Takers
from tidegate.drivers.arbitrage import Arbitrage
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay, replay
from tidegate.drivers.simvenue import SimVenue
from tidegate.drivers.streams import Streams
from tidegate.drivers.synthetic_loans import PATHS, make_loans
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.telling import Teller
from tidegate.engine.trail import Trail
from tidegate.kernels import bands_book
from tidegate.ports import Record
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.soft import SoftBands
from tidegate.safeguards.stack import SafeguardStack, Stack


USD = PPM
ETH = 10**6  # smallest units
ETHER = coin("ETH", units=ETH, lots_max=10**10)  # a tick is 0.01 USD
MARGIN = rules(flat(220_000, 150_000))
BANDS = SoftBands(bands=10, window_ns=0, fee=3_000, give=10_000)
change = msgspec.structs.replace


def loan(debt: int = 24_300 * USD, price: int = 3_000, soft: SoftBands = BANDS, **policies) -> Desk:
    """Return a desk with one loan of 10 ETH at a price in USD."""
    desk = Desk(venue_of(ETHER), margin=MARGIN, soft=soft, **policies)
    desk.price(price * 100)
    desk.users([-debt], [(0, 0, 10 * ETH, 0)])
    return desk


def said(desk: Desk, price: int, seconds: float = 5) -> list:
    return desk.later(seconds).price(price * 100)


def take(desk: Desk, lots: int, limit: int = 10**15, i: int = 0) -> list:
    return desk.send(BandsTaken(ts=desk.now, instrument=i, lots=lots, limit=limit))


def arbitraged(desk: Desk, price: int) -> list:
    """Move the price and let somebody take whatever is offered; return all effects."""
    effects = said(desk, price)
    for offer in desk.of(BandsOffered, effects):
        limit = 0 if offer.lots > 0 else 10**15
        effects += take(desk, offer.lots, limit)
    return effects


def walk(desk: Desk, *prices: int) -> list:
    return [effect for price in prices for effect in arbitraged(desk, price)]


def cash(desk: Desk) -> int:
    return int(desk.state.book.cash[U])


def held(desk: Desk) -> int:
    book = desk.state.book
    row = int(book.head[U])
    return int(book.lots[row]) if row >= 0 else 0


def codes(effects: list) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


FALLING = range(2_940, 2_440, -10)


# --- what a stack may say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("soft.bands", {"bands": 3}),
        ("soft.bands", {"bands": 51}),
        ("soft.width", {"width": 1_999}),
        ("soft.width", {"width": 100_001}),
        ("soft.liquidation_discount", {"liquidation_discount": 90_000}),
        ("soft.liquidation_discount", {"liquidation_discount": 0}),
        ("soft.liquidation_discount", {"loan_discount": PPM}),
        ("soft.equity_min", {"equity_min": PPM}),
        ("soft.equity_min", {"equity_min": -1}),
        ("soft.fee", {"fee": 0}),
        ("soft.fee", {"fee": 100_001}),
        ("soft.give", {"give": 5_999}),
        ("soft.give", {"give": PPM + 1}),
        ("soft.move_max", {"move_max": 0}),
        ("soft.window_ns", {"window_ns": 10**12 + 1}),
        ("soft.window_ns", {"window_ns": -1}),
        ("soft.near", {"near": -1}),
        ("soft.depth_share", {"depth_share": -1}),
    ],
)
def test_impossible_bands_are_refused_by_name(where, wrong):
    with pytest.raises(ConfigInvalid) as refused:
        SoftBands(**({"bands": 10} | wrong))
    assert refused.value.where == where


@pytest.mark.parametrize(
    "right",
    [
        {"bands": 0},
        {"bands": 4},
        {"bands": 50},
        {"width": 2_000},
        {"width": 100_000},
        {"liquidation_discount": 89_999},
        {"give": 6_000},
        {"equity_min": PPM - 1},
        {"window_ns": 10**12},
    ],
)
def test_possible_bands_are_accepted_up_to_the_limit(right):
    assert SoftBands(**right).describe()


def test_prices_too_large_for_the_arithmetic_are_refused_when_bound():
    dear = coin(price_max=10**9, tick_value=2 * 10**7, lots_max=10, open_interest_max=100)
    with pytest.raises(ConfigInvalid, match="price_max x tick_value"):
        Desk(venue_of(dear), soft=BANDS)
    Desk(venue_of(dear), soft=SoftBands())  # without bands it does not matter


def test_without_bands_nothing_is_remembered_and_nothing_said():
    desk = loan(soft=SoftBands())
    assert not any(name.startswith("banded") for name, _ in desk.state.columns())
    effects = said(desk, 2_890)
    assert not [e for e in effects if type(e).__name__.startswith("Bands")]
    assert codes(take(desk, -ETH)) == ["nothing_offered"]
    assert SoftBands().describe() == ["soft: no soft liquidation"]


# --- who is laid ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("debt", "laid"), [(24_600 * USD, False), (24_600 * USD + 1, True)])
def test_a_loan_is_laid_below_a_fifth_above_the_line_and_not_on_it(debt, laid):
    """Maintenance is 4,500: a fifth of it above the line is an equity of 5,400."""
    desk = loan(debt)
    effects = desk.of(BandsLaid, desk.tick(5))
    assert bool(effects) == laid
    if laid:
        (one,) = effects
        assert (one.account, one.instrument, one.debt) == (U, 0, debt)
        assert unpack(one.y).tolist() == [ETH] * 10
        assert desk.state.banded.asset[U] == 0


def test_bands_lie_where_they_come_to_the_debt_and_its_discount():
    """What is sold at the ten middles below ``top``, less nine per cent, is the debt."""
    desk = loan(25_000 * USD)
    (one,) = desk.of(BandsLaid, desk.tick(5))
    ratio = Fraction(99, 100)
    middles = sum(float(ratio) ** (k + 0.5) for k in range(10)) * one.top
    assert abs(middles * 0.91 - 25_000 * USD) < USD


def test_bands_never_lie_above_the_oracle():
    desk = loan(25_400 * USD, soft=replaced(BANDS, loan_discount=120_000))
    (one,) = desk.of(BandsLaid, desk.tick(5))
    assert one.top == 3_000 * USD


@pytest.mark.parametrize("why", ["a second position", "no debt", "beyond the line", "too little"])
def test_who_cannot_be_carried_is_not_laid(why):
    other, lots = coin("BTC", units=ETH, lots_max=10**10), 10 * ETH
    desk = Desk(venue_of(ETHER, other), margin=MARGIN, soft=BANDS)
    desk.price(300_000)
    desk.price(300_000, 1)
    debt, positions = 25_000 * USD, [(0, 0, lots, 0)]
    if why == "a second position":
        debt, positions = debt + 850 * USD // 300, [*positions, (0, 1, ETH // 300, 0)]
    elif why == "no debt":
        debt = 0
    elif why == "beyond the line":
        debt = 25_500 * USD + 1
    else:
        positions = [(0, 0, 99_999, 0)]  # 9,999 smallest units a band
        debt = debt // 100
    desk.users([-debt], positions)
    assert not desk.of(BandsLaid, desk.tick(5))


@pytest.mark.parametrize(("more", "laid"), [(0, True), (1, False)])
def test_whose_bands_would_not_carry_the_debt_is_not_laid(more, laid):
    """The largest debt that bands laid at the oracle carry after a discount of 15 %."""
    soft = replaced(BANDS, liquidation_discount=150_000, loan_discount=200_000)
    oracle, low, high = 3_000 * USD, 0, 30_000 * USD
    while low < high:
        middle = (low + high + 1) // 2
        asked = {"y": soft.parts(10 * ETH), "debt": middle, "top": oracle, "oracle": oracle}
        low, high = (middle, high) if soft.carries(**asked, unit=ETH) else (low, middle - 1)
    assert 24_000 * USD < low < 25_500 * USD
    desk = loan(debt=low + more, price=3_010, soft=replaced(soft, near=400_000))
    assert bool(desk.of(BandsLaid, said(desk, 3_000))) == laid


def test_the_discount_of_liquidation_rounds_up():
    """Six hundredths of 1,000,001 are 60,000.06."""
    worth, debt = column(1_000_001, 1_000_000), column(940_000, 940_000)
    assert BANDS.slack(worth=worth, debt=debt).tolist() == [0, 0]


def test_derivatives_are_never_laid():
    desk = Desk(venue_of(perp(), ETHER), margin=MARGIN, soft=BANDS)
    desk.price(10_000)
    desk.price(300_000, 1)
    desk.users([-16 * 10**6 * 100], [(0, 0, 1_000, 8_000)])
    assert not desk.of(BandsLaid, desk.later(5).price(10_000))


def test_a_doubted_price_lays_nobody():
    desk = loan(25_000 * USD, oracle=OracleGuard(age_max_ns=SECOND))
    effects = desk.tick(10)
    assert int(desk.state.quality[0]) > desk.stack.declaration.oracle.liquidate_at_worst
    assert not desk.of(BandsLaid, effects)


# --- who is spared --------------------------------------------------------------------------------


def test_an_account_in_bands_is_below_maintenance_and_yet_left_alone():
    """The same fall, with and without bands: only one of them places an order."""
    bare, soft = loan(soft=SoftBands()), loan()
    said(bare, 2_940)
    walk(soft, 2_940)
    plain, spared = said(bare, 2_850), arbitraged(soft, 2_850)
    assert bare.of(OrdersPlaced, plain)
    assert not soft.of(OrdersPlaced, spared)
    assert bare.of(HealthMoved, plain)[0].liquidatable == 1
    assert soft.of(HealthMoved, spared)[0].liquidatable == 0


def test_a_fall_with_takers_converts_everything_and_the_debt_is_paid():
    desk = loan()
    effects = walk(desk, *FALLING)
    assert not desk.of(OrdersPlaced, effects)
    assert not desk.of(BandsLeft, effects)
    assert held(desk) == 0
    assert cash(desk) > 1_000 * USD  # 24,300 are paid, and this is what the discount leaves
    audit(desk.state)


def test_who_has_received_enough_owes_nothing_at_any_price():
    """A position that holds its debt closes against itself: nobody can be paid to close it."""
    desk = loan()
    walk(desk, *range(2_940, 2_560, -10))
    walk(desk, *range(2_560, 2_480, -5))
    assert cash(desk) >= 0
    for price in (2_000, 1_000, 10, 1, 5_000):
        effects = said(desk, price, 200)
        assert not desk.of(OrdersPlaced, effects)
        assert not desk.of(DeficitFound, effects)
    audit(desk.state)


def test_a_fall_without_takers_ends_with_the_planner():
    desk = loan()
    effects = [e for price in FALLING for e in said(desk, price)]
    (left,) = desk.of(BandsLeft, effects)
    assert (left.account, left.reason) == (U, "short")
    assert desk.of(OrdersPlaced, effects)
    assert (desk.state.banded.x[U] == 0).all()
    assert (desk.state.banded.y[U] == 0).all()
    assert desk.state.banded.asset[U] == -1


def test_the_planner_takes_over_where_bands_no_longer_carry_and_not_before():
    """The last price at which bands still carry, and one tick below it."""
    desk = loan()
    said(desk, 2_940)
    price = 294_000
    while True:
        price -= 100
        saved = desk.state.dump()
        effects = desk.later(5).price(price)
        if desk.of(BandsLeft, effects):
            break
    desk.state = State.load(saved, desk.stack)
    slack_above = None
    for ticks in range(price + 99, price - 1, -1):
        effects = desk.later(5).price(ticks)
        if desk.of(BandsLeft, effects):
            assert desk.of(OrdersPlaced, effects)
            break
        slack_above = ticks
    assert slack_above is not None
    debt = 24_300 * USD
    value = 10 * slack_above * 10_000
    assert value * 85 // 100 < debt, "its margin was gone long before"


@pytest.mark.parametrize(("price", "spared"), [(276_137, True), (276_136, False)])
def test_nobody_is_spared_with_less_than_the_least_equity(price, spared):
    """Equity of 10 p - 24,300 against four fifths of maintenance, 1.5 p: the line is 2,761.364."""
    desk = loan(soft=replaced(BANDS, equity_min=800_000))
    said(desk, 2_940)
    left = desk.of(BandsLeft, desk.later(5).price(price))
    assert not left if spared else [e.reason for e in left] == ["short"]


@pytest.mark.parametrize(("more", "spared"), [(0, True), (1, False)])
def test_exactly_the_least_equity_is_enough(more, spared):
    """Four fifths of 15 % of 27,613.70 USD are 3,313.644."""
    desk = loan(
        debt=27_613_700_000 - 3_313_644_000 + more, soft=replaced(BANDS, equity_min=800_000)
    )
    said(desk, 2_940)
    left = desk.of(BandsLeft, desk.later(5).price(276_137))
    assert [e.reason for e in left] == ([] if spared else ["short"])


def largest(soft: SoftBands) -> int:
    """Return the largest collateral, in smallest units, that is laid at 3,000 USD."""
    low, high = 1, 10**12
    while low < high:
        middle = (low + high + 1) // 2
        top = soft.place(collateral=middle, debt=10**6, oracle=3_000 * USD, unit=ETH)
        low, high = (middle, high) if top else (low, middle - 1)
    return low


@settings(max_examples=12)
@given(st.floats(0.05, 5.0), st.floats(0.0, 1.0), st.floats(0.5, 1.5))
def test_the_largest_position_is_traded_as_over_unbounded_integers(away, share, again):
    """Wherever the oracle goes, no product wraps unseen in what bands are worth and trade."""
    soft = replaced(BANDS, give=PPM)
    facts = facts_of(venue_of(ETHER))
    banded, wide = Banded.empty(U + 1, 1, 10), Banded.empty(U + 1, 1, 10)
    y = largest(soft) // 10
    for columns in (banded, wide):
        columns.asset[U], columns.top[U], columns.y[U] = 0, 3_000 * USD, y
    wide = wide._replace(**{n: c.astype(object) for n, c in wide._asdict().items() if n != "asset"})
    large_facts = facts._replace(units=facts.units.astype(object))
    who, price = column(U), column(2_800 * USD)
    new = [np.zeros(10, np.int64) for _ in range(2)]
    out, big = np.zeros(3, np.int64), unbounded_column(0, 0, 0)
    sold = -int(10 * y * share)
    args = (U, sold, 2_800 * USD, 3_000, 2_800 * USD, PPM, soft.amp, soft.far)
    bands_book.convert(banded, facts, *args, *new, out)
    large = [unbounded_column(*(0,) * 10) for _ in range(2)]
    unbounded(bands_book.convert)(wide, large_facts, *args, *large, big)
    assert out.tolist() == big.tolist()
    assert [n.tolist() for n in new] == [n.tolist() for n in large]
    banded.x[U], banded.y[U], banded.active[U] = *new, out[2]
    wide.x[U], wide.y[U], wide.active[U] = *large, big[2]
    for oracle in (int(3_000 * USD * away), int(3_000 * USD * away * again)):
        price[0] = oracle
        found, plain = np.zeros(1, np.int64), unbounded_column(0)
        bands_book.worths(banded, facts, who, price, soft.amp, soft.root, found)
        at = unbounded_column(oracle)
        unbounded(bands_book.worths)(wide, large_facts, who, at, soft.amp, soft.root, plain)
        assert found.tolist() == plain.tolist()
        fee, lots, paid = column(3_000), np.zeros(1, np.int64), np.zeros(1, np.int64)
        rest = (PPM, soft.amp, soft.far)
        bands_book.offered(banded, facts, who, price, fee, price, *rest, lots, paid)
        lots_too, paid_too = unbounded_column(0), unbounded_column(0)
        unbounded(bands_book.offered)(
            wide, large_facts, who, at, unbounded_column(3_000), at, *rest, lots_too, paid_too
        )
        assert (lots.tolist(), paid.tolist()) == (lots_too.tolist(), paid_too.tolist())


# --- an upward jump -------------------------------------------------------------------------------


def test_a_jump_up_does_not_liquidate_and_does_not_trade_until_it_is_over():
    """Converted bands come to a third less after +13.79 %; they rest, and nobody takes a bonus."""
    desk = loan()
    walk(desk, *range(2_940, 2_600, -10))
    got, left = int(desk.state.banded.x[U].sum()), held(desk)
    assert got > 0 < left
    effects = said(desk, 2_610 * 11_379 // 10_000)
    assert not desk.of(OrdersPlaced, effects)
    assert not desk.of(BandsLeft, effects)
    assert not desk.of(BandsOffered, effects)
    assert codes(take(desk, ETH, 0)) == ["nothing_offered"]
    again = walk(desk, 2_600, 2_590, 2_580)
    assert desk.of(BandsOffered, again)
    assert held(desk) < left


def test_the_limit_on_the_oracle_and_its_fee_hold_for_bands():
    desk = loan(25_000 * USD, soft=replaced(BANDS, window_ns=100 * SECOND, move_max=100_000))
    assert not desk.of(BandsBelieved, desk.tick(0)), "the first price was believed at once"
    (one,) = desk.of(BandsBelieved, said(desk, 2_500, 50))
    # 3,000 / 1.1, and half of 1 - (1 / 1.1)**3 = 0.2487, the fee of a limited move
    assert one.price == 3_000 * USD * 10 // 11
    assert abs(one.fee - 124_343) <= 2
    (later,) = desk.of(BandsBelieved, desk.tick(100))
    assert (later.price, later.fee) == (2_500 * USD, 0)
    assert not desk.of(BandsBelieved, desk.tick(5))


def test_a_move_costs_whoever_trades_at_once_its_fee():
    """A taker who waits gets more for the same: the fee fades."""
    quick = loan(25_000 * USD, soft=replaced(BANDS, window_ns=100 * SECOND))
    plain = loan(25_000 * USD)
    for desk in (quick, plain):
        desk.tick(5)
    assert plain.of(BandsOffered, said(plain, 2_850))
    assert not quick.of(BandsOffered, said(quick, 2_850))
    assert quick.of(BandsOffered, quick.tick(100))


# --- offers and takers ----------------------------------------------------------------------------


def offered(desk: Desk, price: int = 2_700) -> BandsOffered:
    said(desk, 2_940)
    (one,) = desk.of(BandsOffered, said(desk, price))
    return one


def test_an_offer_is_taken_at_its_price_and_cash_pays_the_debt():
    desk = loan()
    offer = offered(desk)
    assert offer.lots < 0 < -offer.paid
    effects = take(desk, offer.lots, -offer.paid + USD)
    (trade,) = desk.of(PositionsMoved, effects)
    assert trade.reason == "bands"
    assert held(desk) == 10 * ETH + offer.lots
    assert cash(desk) == int(desk.state.banded.x[U].sum()) - 24_300 * USD
    assert int(desk.state.banded.y[U].sum()) == held(desk)
    (moved,) = desk.of(BandsMoved, effects)
    assert rows_of(moved, "account")[0] == (U,)
    audit(desk.state)


def test_a_taker_pays_no_more_than_its_limit_and_the_limit_itself_is_enough():
    desk = loan()
    offer = offered(desk)
    saved = desk.state.dump()
    take(desk, offer.lots)
    due = int(desk.state.banded.x[U].sum())
    desk.state = State.load(saved, desk.stack)
    assert codes(take(desk, offer.lots, due - 1)) == ["bands_price_moved"]
    assert not codes(take(desk, offer.lots, due))


def test_a_seller_to_the_bands_receives_no_less_than_its_limit():
    desk = loan()
    walk(desk, *range(2_940, 2_690, -10))
    (offer,) = desk.of(BandsOffered, said(desk, 2_740))
    assert offer.lots > 0 < offer.paid
    saved, before = desk.state.dump(), cash(desk)
    take(desk, offer.lots, 0)
    got = before - cash(desk)
    desk.state = State.load(saved, desk.stack)
    assert codes(take(desk, offer.lots, got + 1)) == ["bands_price_moved"]
    assert not codes(take(desk, offer.lots, got))
    audit(desk.state)


def test_of_a_shrunken_offer_what_is_left_is_taken_and_then_nothing():
    desk = loan()
    offer = offered(desk)
    take(desk, 3 * offer.lots, 10**15)
    assert abs(held(desk) - (10 * ETH + offer.lots)) <= 1
    assert codes(take(desk, offer.lots)) == ["nothing_offered"]


@pytest.mark.parametrize(
    ("lots", "limit", "i", "code"),
    [
        (-ETH, 10**15, 1, "instrument_unknown"),
        (-ETH, 10**15, -1, "instrument_unknown"),
        (0, 10**15, 0, "amount_must_be_positive"),
        (-ETH, -1, 0, "amount_must_be_positive"),
        (ETH, 0, 0, "nothing_offered"),
    ],
)
def test_what_cannot_be_taken_is_refused(lots, limit, i, code):
    desk = loan()
    offered(desk)
    assert codes(take(desk, lots, limit, i)) == [code]


@pytest.mark.parametrize(("depth", "expected"), [(2 * ETH, ETH), (20 * ETH, None), (0, 0)])
def test_no_more_is_offered_than_the_measured_book_can_absorb(depth, expected):
    desk = loan(soft=replaced(BANDS, depth_share=500_000, depth_reach=10_000))
    said(desk, 2_940)
    if depth:
        desk.depth([(269_000, depth), (260_000, 99 * ETH)])  # the second is too far away
    offers = [o.lots for o in desk.of(BandsOffered, said(desk, 2_700))]
    free = offered(loan()).lots
    wanted = {None: [free], 0: []}.get(expected, [-(expected or 0)])
    assert offers == wanted
    if expected:
        take(desk, -2 * ETH)
        assert held(desk) == 9 * ETH


def test_a_halted_venue_offers_nothing():
    halt = LadderBreaker(steps=(Step(rung="halt", distressed=1),))
    desk = loan(breaker=halt)
    said(desk, 2_940)
    desk.state.rung = 4
    assert not desk.of(BandsOffered, said(desk, 2_700))
    assert codes(take(desk, -ETH)) == ["nothing_offered"]


def test_accounts_share_a_taker_in_proportion_and_every_lot_is_given_out():
    desk = Desk(venue_of(ETHER), margin=MARGIN, soft=BANDS)
    desk.price(300_000)
    users = [(n, 0, (n + 1) * 3 * ETH + 1, 0) for n in range(3)]
    desk.users([-(n + 1) * 3 * 2_480 * USD for n in range(3)], users)
    desk.tick(5)
    (offer,) = desk.of(BandsOffered, said(desk, 2_850))
    assert offer.accounts == 3
    effects = take(desk, offer.lots // 2 - 1)
    (trade,) = desk.of(PositionsMoved, effects)
    moved = {a: lots for a, lots in rows_of(trade, "account", "lots") if a >= U}
    assert sum(moved.values()) == offer.lots // 2 - 1
    assert abs(moved[U + 2] - 3 * moved[U]) <= abs(moved[U + 2]) // 1_000
    audit(desk.state)


@settings(max_examples=20)
@given(st.lists(st.integers(2_300, 3_200), min_size=3, max_size=12), st.integers(3_000, 30_000))
def test_no_conversion_gives_up_more_than_it_may(prices, give):
    """Whatever the oracle does, and at whatever fee: each trade is within `give` of the mark."""
    desk = loan(soft=replaced(BANDS, give=give, fee=min(give, 3_000)))
    said(desk, 2_940)
    for price in prices:
        effects = said(desk, price)
        for offer in desk.of(BandsOffered, effects):
            for trade in desk.of(PositionsMoved, take(desk, offer.lots, 10**15 * (offer.lots < 0))):
                before = rows_of(trade, "account", "lots", "price")
                lots = next(n for a, n, _ in before if a >= U)
                paid = next(p for a, _, p in before if a >= U)  # ticks, rounded down
                assert abs(paid - price * 100) <= price * 100 * give // PPM + 2
                assert lots * offer.lots > 0
        x, y = desk.state.banded.x[U], desk.state.banded.y[U]
        assert (x >= 0).all()
        assert (y >= 0).all()
    audit(desk.state)


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rising", "asked", "found"),
    [(1, 2_970, 2_971), (1, 2_971, 2_971), (1, 2_972, 2_972),
     (0, 3_030, 3_030), (0, 3_031, 3_031), (0, 3_032, 3_031)],
)  # fmt: skip
def test_what_is_given_up_is_bounded_and_rounds_for_the_account(rising, asked, found):
    """One percent of 3,001: sold for at least 2,970.99, bought for at most 3,031.01."""
    assert bands_book.bounded(rising, ETH, asked, 3_001, 10_000, ETH) == found


def test_collateral_that_was_touched_is_no_longer_laid():
    desk = loan()
    said(desk, 2_940)
    desk.send(Deposited(ts=desk.now, account=U, amount=1, asset=0))
    offers = said(desk, 2_700)
    (left,) = desk.of(BandsLeft, offers)
    assert left.reason == "changed"


def test_between_the_change_and_the_next_price_nobody_can_take_it():
    desk = loan()
    offer = offered(desk)
    desk.send(Withdrawn(ts=desk.now, account=U, amount=1, asset=0, settled=True))
    assert codes(take(desk, offer.lots)) == ["nothing_offered"]


def test_a_margin_twice_as_far_from_the_line_needs_no_bands():
    """Laid within a fifth of maintenance, left beyond two fifths: equity above 21 % of value."""
    desk = loan()
    said(desk, 2_940)
    line = 24_300 * 100 / 0.79 / 10
    assert not desk.of(BandsLeft, desk.later(5).price(int(line)))
    (left,) = desk.of(BandsLeft, desk.later(5).price(int(line) + 2))
    assert left.reason == "recovered"


def test_what_is_bought_back_on_the_way_up_is_what_was_sold():
    desk = loan()
    walk(desk, *range(2_940, 2_600, -10))
    low = held(desk)
    walk(desk, *range(2_600, 3_000, 10))
    assert held(desk) > low + 5 * ETH
    audit(desk.state)


def test_bands_that_are_spent_are_left_and_the_deficit_is_paid():
    """Everything is sold and does not cover the debt: a recorded withdrawal took the rest."""
    desk = loan()
    walk(desk, *FALLING)
    assert held(desk) == 0
    desk.send(Withdrawn(ts=desk.now, account=U, amount=cash(desk) + USD, settled=True))
    effects = desk.tick(5)
    assert [e.reason for e in desk.of(BandsLeft, effects)] == ["spent"]
    assert [e.amount for e in desk.of(DeficitFound, effects)] == [USD]


def test_a_snapshot_carries_the_bands():
    desk = loan()
    walk(desk, 2_940, 2_800, 2_700)
    again = State.load(desk.state.dump(), desk.stack)
    assert again.digest() == desk.state.digest()
    assert (again.banded.x == desk.state.banded.x).all()
    again.banded.x[U, 0] += 1
    assert again.digest() != desk.state.digest()


# --- telling --------------------------------------------------------------------------------------


def test_an_explanation_names_bands():
    desk, trail = loan(), Trail(U)
    teller = Teller(desk.stack, ("alice",))
    found: list[str] = []
    for n, price in enumerate([2_940, *range(2_900, 2_600, -50)]):
        for effects in (said(desk, price), take(desk, -ETH)):
            event = BandsTaken(ts=desk.now, instrument=0, lots=-ETH, limit=0)
            trail.follow(Record(n, event, tuple(effects)))
            if trail.last is not None:
                found += teller.deeds(trail.last, U)
    text = "\n".join(found)
    assert "against a debt of 24,300.00" in text
    assert "by whoever took what its bands offered" in text


# --- a recording ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> SafeguardStack:
    with as_file(files("tidegate.stacks") / "soft.toml") as path:
        return SafeguardStack.load(path)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loans") / "recovery"
    make_loans(folder, accounts=24, seed=7, scenario="recovery")
    return load(folder)


def test_the_plain_stack_is_the_soft_one_without_bands(shipped):
    with as_file(files("tidegate.stacks") / "loans.toml") as path:
        plain = SafeguardStack.load(path)
    assert change(plain, name="", about="") == change(shipped, name="", about="", soft=SoftBands())


def run(market, stack: SafeguardStack):
    seen: list = []
    done = replay(
        market,
        Stack.bind(stack, market.venue),
        observers=[lambda _, __, effects, ___, ____: seen.extend(effects)],
    )
    return done, seen


def test_the_shipped_stack_spares_who_the_plain_one_liquidates(market, shipped):
    soft, effects = run(market, shipped)
    plain, others = run(market, change(shipped, soft=SoftBands()))
    assert soft.digest != plain.digest
    assert plain.verdict.accounts_liquidated > 3
    assert soft.verdict.accounts_liquidated == 0
    kinds = {type(e) for e in effects}
    assert {BandsLaid, BandsOffered, BandsMoved, BandsLeft} <= kinds
    assert not any(type(e).__name__.startswith("Bands") for e in others)
    trades = [e for e in effects if isinstance(e, PositionsMoved) and e.reason == "bands"]
    user = [unpack(e.lots)[unpack(e.account) >= FIRST_USER].sum() for e in trades]
    assert min(user) < 0 < max(user), "sold on the way down, bought back on the way up"


def test_in_a_fast_crash_soft_liquidation_loses(tmp_path, shipped):
    """Who is spared is liquidated later and lower: the page says so, and so does this."""
    make_loans(tmp_path / "crash", accounts=24, seed=7, scenario="crash")
    crash = load(tmp_path / "crash")
    soft, _ = run(crash, shipped)
    plain, _ = run(crash, change(shipped, soft=SoftBands()))
    assert soft.verdict.bad_debt > plain.verdict.bad_debt


def test_without_takers_bands_only_wait(market, shipped):
    nobody = change(market.venue, takers=Takers(presence=0))
    lonely, effects = run(replace(market, venue=nobody), shipped)
    assert BandsMoved not in {type(e) for e in effects}
    assert lonely.verdict.accounts_liquidated > 0


def test_a_replay_of_bands_can_be_repeated_bit_by_bit(market, shipped):
    half = change(market.venue, takers=Takers(presence=500_000))
    recording = replace(market, venue=half)
    first, second = (run(recording, shipped)[0] for _ in range(2))
    assert first.digest == second.digest
    assert first.digest != run(market, shipped)[0].digest


def test_bands_can_be_taken_in_a_replay_of_a_shadow_by_nobody(market, shipped):
    turning = Replay(
        recording=market, stack=Stack.bind(shipped, market.venue), shadow=True, observers=[]
    )
    turning.run()
    assert (turning.state.banded.x == 0).all()


def takers(margin: int = 1_000, **venue) -> tuple[Arbitrage, SimVenue]:
    model = Takers(margin=margin, latency_ns=SECOND)
    book = Market(symbol="ETH", depth=10**6 * USD, depth_range=20_000)
    where = venue_of(ETHER, markets=(book,), takers=model, **venue)
    sim = SimVenue(where, Streams(1, 0))
    desk = Desk(where)
    sim.displace(desk.priced(300_000))
    return Arbitrage(where, sim, Streams(1, 0)), sim


def sale(paid: int, lots: int = -ETH) -> BandsOffered:
    return BandsOffered(instrument=0, lots=lots, paid=paid, accounts=1)


def test_a_taker_takes_what_pays_and_less_where_all_of_it_does_not():
    arbitrage, _ = takers()
    arbitrage.consider(1_000 * SECOND, sale(-2_950 * USD))
    assert arbitrage.next_due() == 1_001 * SECOND
    assert arbitrage.poll(1_001 * SECOND - 1) == []
    (taken,) = arbitrage.poll(1_001 * SECOND)
    assert (taken.lots, taken.instrument) == (-ETH, 0)
    assert taken.limit > 2_950 * USD
    assert arbitrage.next_due() is None


@pytest.mark.parametrize(("paid", "taken"), [(2_990, True), (2_999, False), (3_010, False)])
def test_a_taker_wants_its_margin(paid, taken):
    arbitrage, _ = takers()
    arbitrage.consider(1_000 * SECOND, sale(-paid * USD))
    assert (arbitrage.next_due() is not None) == taken
    arbitrage, _ = takers()
    arbitrage.consider(1_000 * SECOND, sale((6_000 - paid) * USD, ETH))
    assert (arbitrage.next_due() is not None) == taken


def test_more_than_the_book_holds_is_taken_in_part():
    arbitrage, _ = takers()
    arbitrage.consider(1_000 * SECOND, sale(-600 * 2_900 * USD, -600 * ETH))
    (taken,) = arbitrage.poll(1_001 * SECOND)
    assert taken.lots == -300 * ETH


def test_one_taker_at_a_time_and_its_sale_leaves_a_footprint():
    arbitrage, sim = takers()
    arbitrage.consider(1_000 * SECOND, sale(-2_900 * USD))
    arbitrage.consider(1_000 * SECOND, sale(-2_900 * USD))
    (taken,) = arbitrage.poll(1_001 * SECOND)
    assert sim.impact_ppm(0) == 0
    lots = pack(column(-100 * ETH, 100 * ETH))
    moved = PositionsMoved(
        account=pack(column(U, 0)), instrument=pack(column(0, 0)), lots=lots, cost=lots,
        price=lots, reason="bands",
    )  # fmt: skip
    arbitrage.settle(taken, [moved])
    assert sim.impact_ppm(0) < 0


# --- the recording itself -------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_loans(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_loans(tmp_path / name, accounts=12, seed=seed, scenario="jump")
    a, b, c = (
        [(tmp_path / name / f).read_bytes() for f in ("loans.parquet", "prices.parquet")]
        for name in "abc"
    )
    assert a == b
    assert a[0] != c[0]
    assert a[1] != c[1]


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("accounts", {"accounts": 9}),
        ("accounts", {"accounts": 100_001}),
        ("scenario", {"scenario": "x"}),
    ],
)
def test_a_recording_that_cannot_be_made_is_refused(where, wrong, tmp_path):
    asked = {"accounts": 10, "seed": 1, "scenario": "fall"} | wrong
    with pytest.raises(ConfigInvalid) as refused:
        make_loans(tmp_path / "x", **asked)
    assert refused.value.where == where


def test_every_path_is_a_recording(tmp_path):
    for name in PATHS:
        make_loans(tmp_path / name, accounts=10, seed=3, scenario=name)
        made = load(tmp_path / name)
        assert len(made.names) == 10
        assert made.venue.notes


def test_the_command_makes_loans(tmp_path):
    out = tmp_path / "loans"
    args = ["make", "--out", str(out), "--accounts", "100", "--kind", "loans"]
    done = CliRunner().invoke(data, args)
    assert done.exit_code == 0, done.output
    assert "100 accounts" in done.output
    assert np.isclose(load(out).venue.step_ns, 5 * SECOND)
