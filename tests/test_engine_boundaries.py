"""Every comparison of the engine that decides over money: below, on and above the line.

The kernels and policies have their own tables; here is what the engine itself compares: refusals
and their order, ages, rungs, gates, budgets, and who pays. Also run once for every mutation.
"""

import msgspec
import numpy as np
import pytest

from desk import (
    LIMITS,
    Desk,
    U,
    coin,
    column,
    flat,
    inverse,
    perp,
    replaced,
    rows_of,
    rules,
    venue_of,
)
from tidegate.domain.book import CLEARING, EXTERNAL, FUND, ROUNDING, TREASURY, row_of
from tidegate.domain.effects import (
    BreakerMoved,
    DeficitFound,
    Deleveraged,
    DepthMoved,
    HealthMoved,
    MarkMoved,
    ObservationKept,
    OrdersPlaced,
    OrdersReduced,
    ParameterMoved,
    PeakMoved,
    PositionsMoved,
    Posted,
    Rejected,
    SignalKept,
    StagesTaken,
    ThrottleMoved,
    VolatilityMoved,
)
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    BookImported,
    ClockTicked,
    Deposited,
    DepthObserved,
    FundingPaid,
    InterestAccrued,
    LiquidationReported,
    OrdersExpired,
    OrdersFilled,
    ParameterChanged,
    SignalObserved,
    Transferred,
    Withdrawn,
)
from tidegate.domain.units import PPB, PPM, SECOND, pack
from tidegate.engine.invariants import audit
from tidegate.safeguards.breaker import LadderBreaker, Rung, Step
from tidegate.safeguards.margin import MarginModel
from tidegate.safeguards.oracle import OracleGuard, Quality, Source
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.signals import SignalBound, SignalGate
from tidegate.safeguards.stack import Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


table = pytest.mark.parametrize
ONE = venue_of(perp())  # a tick of one lot is 1,000 Money
TWO = venue_of(perp("A"), perp("B"))
MIXED = venue_of(perp(), coin(), inverse())
HALF = flat(initial=500_000, maintenance=250_000)
TEN = [(0, 0, 10, 100)]  # user 0 is long ten lots, bought at 100: worth a million


def code(effects) -> str:
    """Return the code of a refused event, or an empty string; a refusal stands alone."""
    codes = [e.code for e in effects if isinstance(e, Rejected)]
    assert not codes or len(effects) == 1
    return "".join(codes)


def desk(cash=(250_000,), positions=TEN, venue=ONE, price=100, **policies) -> Desk:
    """Return an engine with users, and every instrument priced at 100."""
    made = Desk(venue, **({"margin": rules(HALF)} | policies))
    made.users(cash, positions)
    for i in range(len(venue.instruments)):
        made.price(price, i)
    return made


def orders(effects) -> list[tuple[int, ...]]:
    """Return (user, instrument, lots, limit) of every order placed."""
    batches = [e for e in effects if isinstance(e, OrdersPlaced)]
    rows = [r for b in batches for r in rows_of(b, "account", "instrument", "lots", "limit")]
    return [(a - U, i, lots, limit) for a, i, lots, limit in rows]


# Time -----------------------------------------------------------------------------------------


@table(("back", "refused"), [(1, True), (0, False), (-1, False)])
def test_time_may_stand_still_but_not_run_backwards(back, refused):
    d = desk()
    found = code(d.ask(ClockTicked(ts=d.now - back)))
    assert found == ("time_runs_backwards" if refused else "")


@table(("ts", "refused"), [(2**62, False), (2**62 + 1, True)])
def test_time_has_an_end(ts, refused):
    d = desk()
    found = code(d.send(ClockTicked(ts=ts)))
    assert found == ("time_out_of_range" if refused else "")
    assert d.state.now == (d.now if refused else ts)


# Observations ---------------------------------------------------------------------------------


@table(
    ("change", "refusal"),
    [
        ({"i": -1}, "instrument_unknown"),
        ({"i": 1}, "instrument_unknown"),
        ({"i": 1, "source": 9}, "instrument_unknown"),
        ({"source": -1}, "source_unknown"),
        ({"source": 1}, "source_unknown"),
        ({"source": 1, "price": 0}, "source_unknown"),
        ({"price": 0, "confidence": -1}, "price_must_be_positive"),
        ({"price": 10**6 + 1}, "price_exceeds_limit"),
        ({"price": 10**6}, ""),
        ({"price": 1}, ""),
        ({"confidence": -1}, "confidence_out_of_range"),
        ({"confidence": 101}, "confidence_out_of_range"),
        ({"confidence": 100}, ""),
    ],
)
def test_an_observation_is_refused_in_order(change, refusal):
    d = Desk(ONE)
    assert code(d.ask(d.priced(**({"price": 100} | change)))) == refusal


def test_the_last_time_of_a_source_counts_for_that_source_alone():
    d = Desk(venue_of(perp(), sources=("a", "b")))
    d.price(100, source=0)
    late = {"published": d.now - 1}
    assert code(d.ask(d.priced(100, source=0, **late))) == "price_is_older_than_the_last"
    assert not code(d.ask(d.priced(100, source=1, **late)))


def test_a_source_nobody_named_is_not_listened_to():
    guard = OracleGuard(sources=(Source(name="b"),))
    d = Desk(venue_of(perp(), sources=("a", "b")), oracle=guard)
    assert d.price(100, source=0) == []
    assert d.price(0, source=0) == []
    assert d.of(MarkMoved, d.price(100, source=1))


def test_an_inverse_has_a_lowest_price():
    """Below it the value of the largest position in coins would not fit."""
    venue = venue_of(coin(), inverse(lots_max=10**8))
    lowest = venue.price_min(venue.instruments[1])
    assert lowest > 1
    d = Desk(venue)
    assert code(d.ask(d.priced(lowest - 1, 1))) == "price_below_limit"
    assert not code(d.ask(d.priced(lowest, 1)))


@table(
    ("seconds", "mark", "waiting"),
    [(0, 100, 110), (9.999, 100, 110), (10, 110, 120), (60, 110, 120)],
)
def test_a_delayed_price_takes_its_place_when_its_time_has_come(seconds, mark, waiting):
    """The first price is believed at once; the second waits, and is replaced by the next due."""
    d = Desk(ONE, oracle=OracleGuard(delay_ns=10 * SECOND))
    d.price(100)
    assert d.state.mark[0] == 100
    d.later(10).price(110)
    assert (d.state.mark[0], d.state.market.pending[0]) == (100, 110)
    d.later(seconds).price(120)
    assert (d.state.mark[0], d.state.market.pending[0]) == (mark, waiting)


@table(("seconds", "stale"), [(9.9, False), (10, False), (10.1, True)])
def test_a_mark_grows_stale_and_is_widened(seconds, stale):
    d = Desk(ONE, oracle=OracleGuard(age_max_ns=10 * SECOND, stale_band=50_000))
    d.price(100)
    moved = d.of(MarkMoved, d.tick(seconds))
    assert bool(moved) == stale
    expected = (100, 95, 105, Quality.STALE) if stale else (100, 100, 100, Quality.GOOD)
    s = d.state
    assert (s.mark[0], s.low[0], s.high[0], s.quality[0]) == expected
    assert not d.of(MarkMoved, d.tick(1)) or not stale, "once stale, it is not news"


@table(("changes", "moved"), [({}, False), ({"smoothing_ns": SECOND}, True)])
def test_an_unchanged_mark_is_news_only_where_time_matters(changes, moved):
    d = Desk(ONE, oracle=OracleGuard(**changes))
    d.price(100)
    kept = d.later(1).price(100)
    assert len(d.of(ObservationKept, kept)) == 1
    assert bool(d.of(MarkMoved, kept)) == moved


@table(("seconds", "anchor"), [(59.9, 100), (60, 101), (61, 101)])
def test_a_window_of_volatility_begins_anew_from_the_last_mark(seconds, anchor):
    d = Desk(ONE, breaker=LadderBreaker(window_ns=60 * SECOND))
    d.price(100)
    d.later(1).price(101)
    moved = d.of(VolatilityMoved, d.later(seconds - 1).price(102))
    assert [e.anchor for e in moved] == [anchor]


@table(("seconds", "rolled"), [(59.9, False), (60, True)])
def test_calm_is_news_after_a_window(seconds, rolled):
    d = Desk(ONE, breaker=LadderBreaker(window_ns=60 * SECOND))
    d.price(100)
    d.price(150)
    assert d.state.market.deviations[0] > 0
    assert bool(d.of(VolatilityMoved, d.tick(seconds))) == rolled
    assert bool(d.state.market.deviations[0]) != rolled


@table(
    ("bids", "asks", "refusal"),
    [
        ([(99, 1), (98, 0)], [(101, 1)], ""),
        ([], [], ""),
        ([(100, 1)], [(100, 1)], "depth_is_not_sorted"),  # touching is crossing
        ([(99, 1), (99, 1)], [], "depth_is_not_sorted"),
        ([(98, 1), (99, 1)], [], "depth_is_not_sorted"),
        ([], [(101, 1), (101, 1)], "depth_is_not_sorted"),
        ([], [(102, 1), (101, 1)], "depth_is_not_sorted"),
        ([(0, 1)], [], "price_out_of_range"),
        ([(10**6, 1)], [], ""),
        ([(10**6 + 1, 1)], [], "price_out_of_range"),
        ([(99, -1)], [], "price_out_of_range"),
        ([(99, 10**9)], [], ""),
        ([(99, 10**9 + 1)], [], "amount_exceeds_limit"),
    ],
)
def test_a_book_of_orders_is_checked(bids, asks, refusal):
    d = Desk(ONE)
    assert code(d.depth(bids, asks)) == refusal
    assert code(d.depth(bids, asks, i=1)) == "instrument_unknown"
    if not refusal:
        assert d.state.market.levels[0].tolist() == [len(bids), len(asks)]
        assert d.of(DepthMoved, d.depth(bids, asks))


@table(("more", "refusal"), [(0, ""), (1, "columns_differ")])
def test_prices_and_lots_of_a_book_belong_together(more, refusal):
    d = Desk(ONE)
    column_of = pack(column(99))
    for side in ("bid", "ask"):
        sides = {"bid_price": b"", "bid_lots": b"", "ask_price": b"", "ask_lots": b""}
        sides |= {f"{side}_price": column_of, f"{side}_lots": column_of + b"\0" * 8 * more}
        assert code(d.ask(DepthObserved(ts=d.now, instrument=0, **sides))) == refusal
        sides |= {f"{side}_lots": b"\0" * 7}
        assert code(d.ask(DepthObserved(ts=d.now, instrument=0, **sides))) == "columns_differ"


def test_every_source_is_remembered():
    """The median of three is of three, whichever of them spoke last."""
    d = Desk(venue_of(perp(), sources=("a", "b", "c")))
    for source, price, mark in ((0, 90, 90), (1, 110, 90), (2, 100, 100), (0, 105, 105)):
        d.price(price, source=source)
        assert d.state.mark[0] == mark


def test_a_changed_interval_is_news():
    """The price stays; how far it can be trusted does not."""
    d = Desk(ONE, oracle=OracleGuard(confidence_max=10_000))
    for width, low, high, quality in ((0, 100, 100, 0), (5, 95, 105, 1), (9, 91, 109, 1)):
        assert d.of(MarkMoved, d.price(100, confidence=width))
        s = d.state
        assert (s.mark[0], s.low[0], s.high[0], s.quality[0]) == (100, low, high, quality)
    assert not d.of(MarkMoved, d.price(100, confidence=9))


def test_an_interval_stays_within_the_prices_that_exist():
    d = Desk(ONE, oracle=OracleGuard(confidence_max=10_000))
    d.price(10**6 - 3, confidence=10**5)
    assert d.state.high[0] == 10**6
    assert d.state.mark[0] == 10**6 - 3


IMPORT = {
    "owner": (0,),
    "cash": (5,),
    "account": (0,),
    "instrument": (0,),
    "lots": (1,),
    "entry": (7,),
}


@table(
    ("change", "refusal"),
    [
        ({}, ""),
        ({"cash": ()}, "columns_differ"),
        ({"lots": (1, 2)}, "columns_differ"),
        ({"entry": ()}, "columns_differ"),
        ({"owner": (1,)}, "account_or_instrument_unknown"),
        ({"owner": (-1,)}, "account_or_instrument_unknown"),
        ({"account": (1,)}, "account_or_instrument_unknown"),
        ({"account": (-1,)}, "account_or_instrument_unknown"),
        ({"instrument": (1,)}, "account_or_instrument_unknown"),
        ({"instrument": (-1,)}, "account_or_instrument_unknown"),
        ({"lots": (10**6,)}, ""),
        ({"lots": (-(10**6),)}, ""),
        ({"lots": (10**6 + 1,)}, "amount_exceeds_limit"),
        ({"lots": (-(10**6) - 1,)}, "amount_exceeds_limit"),
        ({"lots": (-(2**63),)}, "amount_exceeds_limit"),
        ({"entry": (1,)}, ""),
        ({"entry": (0,)}, "amount_exceeds_limit"),
        ({"entry": (0,), "lots": (0,)}, ""),
        ({"entry": (10**6,)}, ""),
        ({"entry": (10**6 + 1,)}, "amount_exceeds_limit"),
        ({"cash": (2**50,)}, ""),
        ({"cash": (-(2**50),)}, ""),
        ({"cash": (2**50 + 1,)}, "amount_exceeds_limit"),
        ({"cash": (-(2**50) - 1,)}, "amount_exceeds_limit"),
    ],
)
def test_an_imported_book_is_checked(change, refusal):
    d = Desk(ONE)
    columns = {name: pack(column(*rows)) for name, rows in (IMPORT | change).items()}
    assert code(d.ask(BookImported(ts=d.now, names=("a",), **columns))) == refusal


# Account events -------------------------------------------------------------------------------


@table(
    ("account", "asset", "amount", "refusal"),
    [
        (U - 1, -1, 1, "account_unknown"),
        (U + 1, -1, 1, "account_unknown"),
        (U + 1, 0, 0, "account_unknown"),
        (U, 0, 1, "asset_unknown"),  # a perpetual is nothing to deposit
        (U, 2, 0, "asset_unknown"),
        (U, 3, 1, "asset_unknown"),
        (U, -2, 1, "asset_unknown"),
        (U, -1, 0, "amount_must_be_positive"),
        (U, -1, -1, "amount_must_be_positive"),
        (U, -1, 1, ""),
        (U, 1, 1, ""),
        (U, 1, 10**7, ""),
        (U, 1, 10**7 + 1, "amount_exceeds_limit"),
        (U, -1, 2**50, ""),
        (U, -1, 2**50 + 1, "amount_exceeds_limit"),
    ],
)
def test_a_deposit(account, asset, amount, refusal):
    d = desk([0], [], MIXED)
    event = Deposited(ts=d.now, account=account, amount=amount, asset=asset)
    assert code(d.ask(event)) == refusal
    if not refusal:
        (posted,) = d.of(Posted, d.send(event))
        assert (posted.debit, posted.credit, posted.amount) == (EXTERNAL, U, amount)


@table(
    ("cash", "amount", "refusal"),
    [
        (500_001, 1, ""),  # what is left covers initial margin, exactly
        (500_000, 1, "below_initial_margin"),
        (500_000, 0, "amount_must_be_positive"),
        (500_000, -1, "amount_must_be_positive"),
    ],
)
def test_a_withdrawal(cash, amount, refusal):
    d = desk([cash])
    assert code(d.ask(Withdrawn(ts=d.now, account=U, amount=amount))) == refusal
    if refusal == "below_initial_margin":
        assert not code(d.ask(Withdrawn(ts=d.now, account=U, amount=amount, settled=True)))


@table(
    ("account", "asset", "amount", "refusal"),
    [
        (U + 1, -1, 1, "account_unknown"),
        (U, 2, 1, "asset_unknown"),
        (U, -1, 2**50 + 5, ""),  # down to what may be owed
        (U, -1, 2**50 + 6, "amount_exceeds_limit"),
        (U, 0, 10**7 + 3, ""),
        (U, 0, 10**7 + 4, "amount_exceeds_limit"),
    ],
)
def test_a_withdrawal_stays_within_the_range(account, asset, amount, refusal):
    d = Desk(venue_of(coin(), perp()))
    d.users([5], [(0, 0, 3, 0)])
    event = Withdrawn(ts=d.now, account=account, asset=asset, amount=amount, settled=True)
    assert code(d.ask(event)) == refusal


@table(
    ("lots", "cash", "refusal"),
    [(50, -490_000, ""), (51, -490_000, "below_initial_margin"), (100, 0, "")],
)
def test_what_a_balance_secures_stays(lots, cash, refusal):
    """A hundred units at 10,000 each carry a debt of 490,000 with fifty of them, and no less."""
    model = MarginModel(
        instruments={"*": flat(initial=20_000, maintenance=20_000)},
    )
    d = Desk(venue_of(coin()), margin=model)
    d.users([cash], [(0, 0, 100, 0)])
    d.price(100)
    assert code(d.ask(Withdrawn(ts=d.now, account=U, asset=0, amount=lots))) == refusal


def test_a_balance_that_is_being_sold_is_not_paid_out():
    d = Desk(venue_of(coin()), margin=MarginModel())
    d.users([-(10**6) - 1], [(0, 0, 100, 0)])
    assert orders(d.price(100))
    d.send(Deposited(ts=d.now, account=U, amount=10**9))
    event = Withdrawn(ts=d.now, account=U, asset=0, amount=1)
    assert code(d.ask(event)) == "liquidation_in_flight"


@table(
    ("lots", "price", "cash", "fine"),
    [
        (100, 100, 20_000, True),  # a fiftieth of what is bought must be there
        (100, 100, 19_999, False),
        (100, 101, 29_999, False),  # paid above the mark: the difference is lost
        (100, 101, 30_000, True),
    ],
)
def test_a_balance_is_bought_with_cash(lots, price, cash, fine):
    model = MarginModel(
        instruments={"*": flat(initial=20_000, maintenance=20_000)}, cash_debt_initial=1
    )
    d = Desk(venue_of(coin()), margin=model)
    d.users([cash + 1])  # a millionth of what is owed is asked as well
    d.price(100)
    assert (not code(d.ask(d.trade(0, lots, price)))) == fine


@table("quality", [Quality.GOOD, Quality.DOUBTFUL])
def test_a_withdrawal_needs_a_good_price_of_everything_held(quality):
    guard = OracleGuard(sources_min=2 if quality else 1)
    d = desk([10**9], oracle=guard)
    found = code(d.ask(Withdrawn(ts=d.now, account=U, amount=1)))
    assert found == ("price_not_good_enough" if quality else "")


@table(("lent", "refusal"), [(True, ""), (False, "asset_not_borrowable")])
def test_only_what_the_venue_lends_is_borrowed(lent, refusal):
    """Thirty percent asked of what is owed means that it may be owed."""
    model = MarginModel(cash_debt_initial=300_000 * lent, cash_debt_maintenance=300_000 * lent)
    d = desk([5], [(0, 0, 10**4, 0)], venue_of(coin()), margin=model)
    assert code(d.ask(Withdrawn(ts=d.now, account=U, amount=6))) == refusal
    assert not code(d.ask(Withdrawn(ts=d.now, account=U, amount=5)))


@table(("debt", "refusal"), [(76_923_076, ""), (76_923_077, "below_initial_margin")])
def test_a_loan_is_drawn_up_to_its_ratio(debt, refusal):
    """A hundred coins at 100 are worth a hundred million: at 130 % they carry 76.9."""
    model = MarginModel(cash_debt_initial=300_000, cash_debt_maintenance=300_000)
    d = desk([0], [(0, 0, 10**4, 0)], venue_of(coin()), margin=model)
    assert code(d.ask(Withdrawn(ts=d.now, account=U, amount=debt))) == refusal


@table(
    ("cash", "amount", "refusal"),
    [(500_001, 1, ""), (500_000, 1, "below_initial_margin"), (0, 0, "amount_must_be_positive")],
)
def test_a_transfer(cash, amount, refusal):
    d = desk([cash])
    d.send(AccountOpened(ts=d.now, name="isolated", owner=U))
    d.send(AccountOpened(ts=d.now, name="stranger"))
    move = Transferred(ts=d.now, source=U, target=U + 1, amount=amount)
    assert code(d.ask(move)) == refusal
    assert code(d.ask(msgspec.structs.replace(move, target=U + 3))) == "account_unknown"
    if amount:
        assert code(d.ask(msgspec.structs.replace(move, target=U + 2))) == "owners_differ"


@table(
    ("source", "target", "amount", "refusal"),
    [
        (5, 0, 2**50 + 6, "amount_exceeds_limit"),
        (5, 2**50 - 4, 4, ""),
        (5, 2**50 - 4, 5, "amount_exceeds_limit"),
    ],
)
def test_a_transfer_stays_within_the_range(source, target, amount, refusal):
    d = Desk(ONE)
    columns = {"owner": pack(column(0, 0)), "cash": pack(column(source, target))}
    none = dict.fromkeys(("account", "instrument", "lots", "entry"), b"")
    d.send(BookImported(ts=d.now, names=("a", "b"), **columns, **none))
    move = Transferred(ts=d.now, source=U, target=U + 1, amount=amount)
    assert code(d.ask(move)) == refusal


def test_an_account_belongs_to_one_that_exists():
    d = desk()
    assert code(d.ask(AccountOpened(ts=d.now, name="x", owner=U + 2))) == "account_unknown"
    assert code(d.ask(AccountOpened(ts=d.now, name="x", owner=0))) == "account_unknown"
    d.send(AccountOpened(ts=d.now, name="x", owner=U))
    assert d.state.book.owner[U + 1] == U


def test_there_are_as_many_accounts_as_declared():
    d = Desk(venue_of(perp(), limits=replaced(LIMITS, accounts_max=U + 1)))
    d.users([0])
    with pytest.raises(CapacityExceeded, match="accounts_max"):
        d.ask(AccountOpened(ts=d.now, name="one too many"))
    with pytest.raises(CapacityExceeded, match="accounts_max"):
        d.users([0])


@table(
    ("event", "refusal"),
    [
        ({"i": -1}, "instrument_unknown"),
        ({"i": 1}, "instrument_unknown"),
        ({"user": -1}, "account_unknown"),
        ({"maker": U + 2}, "account_unknown"),
        ({"maker": U}, "trade_with_itself"),
        ({"lots": 0, "price": 0}, "amount_must_be_positive"),
        ({"price": 0}, "price_out_of_range"),
        ({"price": 10**6 + 1}, "price_out_of_range"),
        ({"price": 1}, ""),
        ({"lots": 10**6 - 9}, "amount_exceeds_limit"),
        ({"lots": -(10**6) - 11}, "amount_exceeds_limit"),
        ({"lots": 10**6 - 10, "settled": True}, ""),
        ({"lots": 10**6 - 9, "settled": True}, "amount_exceeds_limit"),
        ({"lots": 10**6 - 10}, "below_initial_margin"),
    ],
)
def test_a_trade_is_refused_in_order(event, refusal):
    d = desk([10**7, 10**7])
    asked = {"user": 0, "lots": 1, "price": 100} | event
    assert code(d.ask(d.trade(**asked))) == refusal


@table(
    ("held", "lots", "traded"),
    [
        (10, -4, -4),
        (10, -10, -10),
        (10, -11, -10),  # no more than is held
        (-10, 4, 4),
        (-10, 11, 10),
        (10, 1, None),  # nothing of it reduces
        (-10, -1, None),
        (0, 1, None),
    ],
)
def test_a_recorded_close_closes_what_is_still_held(held, lots, traded):
    d = desk([10**9], [(0, 0, held, 100)])
    found = d.send(d.trade(0, lots, 100, reduces=True))
    assert code(found) == ("nothing_to_reduce" if traded is None else "")
    if traded is not None:
        (moved,) = d.of(PositionsMoved, found)
        assert rows_of(moved, "account", "lots")[0] == (U, traded)


def test_an_inverse_is_traded_at_prices_that_have_a_value():
    venue = venue_of(coin(), inverse(lots_max=10**8))
    d = Desk(venue)
    lowest = venue.price_min(venue.instruments[1])
    d.users([10**9])
    d.price(100)
    d.price(lowest, 1)
    assert not code(d.ask(d.trade(0, 1, lowest, i=1)))
    assert code(d.ask(d.trade(0, 1, lowest - 1, i=1))) == "price_out_of_range"


def test_the_world_outside_trades_with_itself():
    d = desk()
    assert d.ask(d.trade(-U, 5, 100)) == []


@table(("cash", "refusal"), [(550_000, ""), (549_999, "below_initial_margin")])
def test_both_sides_of_a_trade_are_asked(cash, refusal):
    """Eleven lots need 550,000; a maker is asked as a taker is."""
    d = desk([cash, 10**7])
    assert code(d.ask(d.trade(0, 1, 100, maker=U + 1))) == refusal
    assert code(d.ask(d.trade(1, -1, 100, maker=U))) == refusal
    assert not code(d.ask(d.trade(0, 1, 100, maker=U + 1, settled=True)))


def test_nothing_is_traded_before_it_has_a_price():
    d = Desk(TWO, margin=rules(HALF))
    d.users([10**9], [(0, 1, 1, 100)])
    assert code(d.ask(d.trade(0, 1, 100))) == "instrument_has_no_mark"
    d.price(100)
    assert code(d.ask(d.trade(0, 1, 100))) == "instrument_has_no_mark", "nor while another has none"
    d.price(100, 1)
    assert not code(d.ask(d.trade(0, 1, 100)))


@table(
    ("rung", "lots", "refusal"),
    [
        (Rung.CAUTION, 1, ""),
        (Rung.REDUCE_ONLY, 1, "breaker_reduce_only"),
        (Rung.REDUCE_ONLY, -1, ""),
        (Rung.REDUCE_ONLY, -10, ""),  # to nothing
        (Rung.REDUCE_ONLY, -11, "breaker_reduce_only"),  # through nothing
        (Rung.HALT, -10, ""),  # exits stay possible
        (Rung.HALT, 1, "breaker_reduce_only"),
    ],
)
def test_the_reserved_lane_is_open_on_every_rung(rung, lots, refusal):
    d = desk([10**9])
    d.state.rung = int(rung)
    assert code(d.ask(d.trade(0, lots, 100))) == refusal


@table(
    ("worst", "lots", "refusal"),
    [(1, 1, ""), (0, 1, "price_not_good_enough"), (0, -1, ""), (0, -11, "price_not_good_enough")],
)
def test_opening_needs_a_price_that_is_good_enough(worst, lots, refusal):
    d = desk([10**9], oracle=OracleGuard(sources_min=2, open_at_worst=worst))
    assert code(d.ask(d.trade(0, lots, 100))) == refusal


@table(("scale", "refusal"), [(1_000_000, ""), (1_000_001, "below_initial_margin")])
def test_the_rung_scales_what_is_asked_to_open(scale, refusal):
    steps = (Step(rung="caution", initial_scale=scale, deviations=2**61),)
    d = desk([550_000], breaker=LadderBreaker(steps=steps))
    d.state.rung = 1
    assert code(d.ask(d.trade(0, 1, 100))) == refusal


@table(
    ("lots", "refusal"),
    [
        (1, ""),  # more of it: what is in flight still reduces
        (-4, ""),  # six left, six in flight
        (-5, "liquidation_in_flight"),
        (-10, "liquidation_in_flight"),
        (-30, "liquidation_in_flight"),  # through zero: the flight would add to it
    ],
)
def test_a_position_may_not_shrink_below_what_is_in_flight(lots, refusal):
    d, _ = in_flight(planner=StagedPlanner(close_fraction=600_000))
    assert d.state.book.in_flight[row_of(d.state.book, U, 0)] == -6
    d.send(Deposited(ts=d.now, account=U, amount=10**9))
    assert code(d.ask(d.trade(0, lots, 100))) == refusal


@table(
    ("rate", "refusal"),
    [(PPB, ""), (-PPB, ""), (PPB + 1, "rate_out_of_range"), (-PPB - 1, "rate_out_of_range")],
)
def test_a_funding_rate_is_at_most_everything(rate, refusal):
    d = desk(venue=MIXED, positions=TEN)
    assert code(d.ask(FundingPaid(ts=d.now, instrument=0, rate=rate))) == refusal
    assert code(d.ask(FundingPaid(ts=d.now, instrument=1, rate=rate))) == "instrument_unknown"
    assert code(d.ask(FundingPaid(ts=d.now, instrument=3, rate=rate))) == "instrument_unknown"


def test_funding_needs_a_price_and_a_rate():
    d = Desk(ONE)
    assert code(d.ask(FundingPaid(ts=d.now, instrument=0, rate=1))) == "instrument_has_no_mark"
    d = desk()
    assert d.ask(FundingPaid(ts=d.now, instrument=0, rate=0)) == []


def test_the_remainder_of_funding_has_a_name():
    d = desk([0, 0], [(0, 0, 3, 100), (1, 0, -3, 100)])
    (paid,) = d.send(FundingPaid(ts=d.now, instrument=0, rate=1))
    assert rows_of(paid, "account", "amount") == [(U, -1), (U + 1, 0)]
    assert d.state.book.cash[ROUNDING] == 1


@table(
    ("rate", "refusal"),
    [(PPB, ""), (0, ""), (-1, "rate_out_of_range"), (PPB + 1, "rate_out_of_range")],
)
def test_an_interest_rate_is_at_most_everything(rate, refusal):
    d = desk([-5], [])
    assert code(d.ask(InterestAccrued(ts=d.now, rate=rate))) == refusal
    assert code(d.ask(InterestAccrued(ts=d.now, rate=rate, asset=0))) == "asset_unknown"


def test_interest_on_a_balance_is_paid_in_kind():
    d = Desk(venue_of(coin()))
    d.users([-7], [(0, 0, -3, 0)])
    (paid,) = d.send(InterestAccrued(ts=d.now, rate=PPB // 2, asset=0))
    assert (paid.asset, rows_of(paid, "account", "amount")) == (0, [(U, -2)])


def test_interest_goes_to_the_treasury():
    d = Desk(ONE)
    d.users([-3, 9])
    (paid,) = d.send(InterestAccrued(ts=d.now, rate=PPB // 2))
    assert rows_of(paid, "account", "amount") == [(U, -2)]
    assert d.state.book.cash[TREASURY] == 2


@table(
    ("name", "value", "refusal"),
    [
        ("penalty.PERP", PPM, ""),
        ("penalty.PERP", PPM + 1, "rate_out_of_range"),
        ("penalty.PERP", -1, "rate_out_of_range"),
        ("premium.PERP", 2_147_483, ""),  # lots_max times its square stays in range
        ("premium.PERP", 2_147_484, "rate_out_of_range"),
        ("debt_initial.PERP", PPM, ""),
        ("debt_initial.PERP", PPM + 1, "rate_out_of_range"),
        ("dust.PERP", 2**62, ""),
        ("dust.PERP", 2**62 + 1, "rate_out_of_range"),
        ("cash_debt.initial", PPM, ""),
        ("cash_debt.initial", PPM + 1, "rate_out_of_range"),
        ("cash_debt.other", 1, "parameter_unknown"),
        ("lots_max.PERP", 1, "parameter_unknown"),
        ("penalty.OTHER", 1, "parameter_unknown"),
        ("penalty", 1, "parameter_unknown"),
    ],
)
def test_a_parameter_stays_where_the_range_was_proved(name, value, refusal):
    d = desk()
    assert code(d.ask(ParameterChanged(ts=d.now, name=name, value=value))) == refusal
    if not refusal:
        (moved,) = d.of(ParameterMoved, d.send(ParameterChanged(ts=d.now, name=name, value=value)))
        assert getattr(d.state.facts, moved.column)[moved.row] == value


@table(
    ("confidence", "value", "kept"),
    [(500_000, 150, 150), (499_999, 150, None), (PPM, 99, 100), (PPM, 201, 200)],
)
def test_a_signal_needs_confidence_and_is_clamped(confidence, value, kept):
    bound = SignalBound(name="spectral_radius", neutral=100, tightest=200)
    d = desk(signals=SignalGate(bounds=(bound,)))
    said = {"model": "m", "version": "1", "value": value, "confidence": confidence}
    found = d.send(SignalObserved(ts=d.now, name="spectral_radius", **said))
    assert [e.value for e in d.of(SignalKept, found)] == ([] if kept is None else [kept])
    assert code(found) == ("signal_not_confident" if kept is None else "")
    assert d.ask(SignalObserved(ts=d.now, name="another", **said)) == []


@table(
    ("lots", "cash", "refusal"),
    [
        (3, 300_000, ""),
        (0, 5, ""),
        (10**6 + 11, 0, "amount_exceeds_limit"),
        (10**6 + 10, 10**9, ""),
        (1, 2**50 - 250_000, ""),
        (1, 2**50 - 249_999, "amount_exceeds_limit"),
        (1, -(2**50) - 250_000, ""),
        (1, -(2**50) - 250_001, "amount_exceeds_limit"),
    ],
)
def test_what_a_recorded_venue_did_is_booked(lots, cash, refusal):
    d = desk([250_000])
    event = LiquidationReported(ts=d.now, account=U, instrument=0, lots=lots, cash=cash)
    assert code(d.ask(event)) == refusal
    wrong = msgspec.structs.replace(event, account=U + 1)
    assert code(d.ask(wrong)) == "account_unknown"
    assert code(d.ask(msgspec.structs.replace(event, instrument=1))) == "instrument_unknown"


# Fills and expiries ---------------------------------------------------------------------------


def in_flight(cash=249_999, **policies) -> tuple[Desk, int]:
    """Return an engine that has ordered ten lots sold for user 0, and the number of the order."""
    d = Desk(ONE, **({"margin": rules(HALF)} | policies))
    d.users([cash], TEN)
    (placed,) = d.of(OrdersPlaced, d.price(100))
    return d, placed.first


@table(
    ("order", "lots", "price", "good"),
    [
        (0, -10, 100, True),
        (0, -9, 100, True),
        (0, -11, 100, False),  # more than is in flight
        (0, 1, 100, False),  # the wrong way
        (0, 0, 100, False),
        (1, -1, 100, False),  # no such order
        (0, -1, 0, False),
        (0, -1, 1, True),
        (0, -1, 10**6, True),
        (0, -1, 10**6 + 1, False),
    ],
)
def test_a_fill_answers_an_order(order, lots, price, good):
    d, first = in_flight()
    found = d.fill(first + order, lots, price)
    assert code([e for e in found if isinstance(e, Rejected)]) == (
        "" if good else "order_is_unknown"
    )
    if good:
        (reduced,) = d.of(OrdersReduced, found)
        assert rows_of(reduced, "lots", "closed") == [(lots, int(lots == -10))]
        assert d.state.orders.counts[1] == (lots != -10)


def test_two_fills_of_one_order_may_not_exceed_it_together():
    d, first = in_flight()
    both = (column(first, first), column(-6, -5), column(100, 100))
    found = d.send(fills_event(d, *both))
    (reduced,) = d.of(OrdersReduced, found)
    assert rows_of(reduced, "order", "lots", "closed") == [(first, -6, 0)]
    assert len(d.of(Rejected, found)) == 1
    found = d.send(fills_event(d, column(first, first), column(-1, -3), column(100, 100)))
    (reduced,) = d.of(OrdersReduced, found)
    assert rows_of(reduced, "lots", "closed") == [(-1, 0), (-3, 1)]
    audit(d.state)


def fills_event(d, order, lots, price, left=None):
    told = b"" if left is None else pack(left)
    return OrdersFilled(ts=d.now, order=pack(order), lots=pack(lots), price=pack(price), left=told)


@table(
    ("lots", "left", "gone", "odd"),
    [
        (-4, -6, -4, ""),
        (-10, 0, -10, ""),
        (-4, -5, -5, "fills_are_missing"),  # a report of one lot never came
        (-4, -7, 0, "order_is_unknown"),  # it leaves more than it explains
        (-4, -10, 0, "fill_is_a_duplicate"),
        (-4, -11, 0, "fill_is_a_duplicate"),
        (-11, 1, 0, "order_is_unknown"),  # beyond nothing
        (4, -6, 0, "order_is_unknown"),  # the wrong way, whatever it leaves
        (0, -6, 0, "order_is_unknown"),
    ],
)
def test_what_a_fill_leaves_tells_it_apart(lots, left, gone, odd):
    d, first = in_flight()
    found = d.send(fills_event(d, column(first), column(lots), column(100), column(left)))
    assert code([e for e in found if isinstance(e, Rejected)]) == odd
    reduced = [rows_of(e, "lots", "closed") for e in d.of(OrdersReduced, found)]
    assert reduced == ([[(gone, int(left == 0))]] if gone else [])


def test_an_expiry_frees_what_is_left_once():
    d, first = in_flight()
    d.fill(first, -4, 100)
    gone = OrdersExpired(ts=d.now, order=pack(column(first, first, 5)), reason="gone")
    found = d.send(gone)
    (reduced,) = d.of(OrdersReduced, found)
    assert rows_of(reduced, "order", "lots", "closed") == [(first, -6, 1)]
    assert len(d.of(Rejected, found)) == 1
    assert not d.of(OrdersReduced, d.send(gone))
    assert d.state.book.in_flight[row_of(d.state.book, U, 0)] == 0


@table(
    ("share", "tranches", "taken"),
    [(PPM, 1, 5_000), (500_000, 1, 2_500), (1, 1, 0), (0, 1, 0), (PPM, 0, 0)],
)
def test_penalties_feed_the_first_tranche(share, tranches, taken):
    fund = Waterfall(
        tranches=tuple(Tranche(name=str(n), initial=7) for n in range(tranches)),
        penalty_share=share,
    )
    d, first = in_flight(waterfall=fund, margin=rules(replaced(HALF, penalty=5_000)))
    paid = [e for e in d.fill(first, -10, 100) if getattr(e, "reason", "") == "penalty"]
    assert [rows_of(e, "account", "amount") for e in paid] == ([[(U, -taken)]] if taken else [])
    assert d.state.book.cash[FUND] == 7 * tranches + taken


# Liquidation ----------------------------------------------------------------------------------


@table(("cash", "placed"), [(250_000, False), (249_999, True)])
def test_orders_are_placed_for_the_liquidatable_alone(cash, placed):
    d = Desk(ONE, margin=rules(HALF))
    d.users([cash], TEN)
    found = d.price(100)
    # Not below 76: at 75.0001 nothing would be left.
    assert orders(found) == ([(0, 0, -10, 76)] if placed else [])
    assert len(d.of(StagesTaken, found)) == placed
    (seen,) = d.of(HealthMoved, found)
    assert (seen.liquidatable, seen.bankrupt) == (placed, 0)


@table(("cash", "bankrupt", "deficit"), [(1, 0, 0), (0, 0, 0), (-1, 1, 1), (-77, 1, 77)])
def test_bankrupt_is_below_nothing(cash, bankrupt, deficit):
    d = Desk(ONE, margin=rules(HALF))
    d.users([cash], TEN)
    (seen,) = d.of(HealthMoved, d.price(100))
    assert (seen.liquidatable, seen.bankrupt, seen.deficit) == (1, bankrupt, deficit)


@table(
    ("rung", "ordered", "netted"),
    [
        (Rung.NORMAL, True, True),
        (Rung.REDUCE_ONLY, True, True),
        (Rung.AUCTION_ONLY, False, True),  # forced sales leave the order book alone
        (Rung.HALT, False, False),
    ],
)
def test_each_rung_restricts_forced_sales(rung, ordered, netted):
    d = Desk(ONE, margin=rules(HALF), planner=StagedPlanner(netting=True))
    d.users([0, 0], [(0, 0, 10, 100), (1, 0, -4, 100)])
    d.state.rung = int(rung)
    if rung:
        # A line of zero is always reached: the breaker stays where it was put.
        steps = (Step(rung=rung.name.lower(), doubtful=0),)
        declared = msgspec.structs.replace(d.stack.declaration, breaker=LadderBreaker(steps=steps))
        d.stack = Stack.bind(declared, d.venue)
    found = d.price(100)
    assert orders(found) == ([(0, 0, -6, 1)] if ordered else [])
    moved = [e for e in d.of(PositionsMoved, found) if e.reason == "netted"]
    assert bool(moved) == netted


@table(("worst", "placed"), [(int(Quality.DOUBTFUL), True), (int(Quality.GOOD), False)])
def test_a_price_must_be_good_enough_to_liquidate(worst, placed):
    d = Desk(ONE, margin=rules(HALF), oracle=OracleGuard(sources_min=2, liquidate_at_worst=worst))
    d.users([0], TEN)
    assert bool(orders(d.price(100))) == placed


@table(
    ("limit", "lots"),
    [(0, 10), (99_999, None), (100_000, 1), (299_999, 2), (10**6, 10), (10**7, 10)],
)
def test_orders_in_flight_stay_within_their_budget(limit, lots):
    """A lot is worth 100,000: the budget is in whole lots."""
    d = Desk(ONE, margin=rules(HALF), planner=StagedPlanner(in_flight_max=limit))
    d.users([0], TEN)
    assert orders(d.price(100)) == ([] if lots is None else [(0, 0, -lots, 1)])
    if limit in {100_000, 10**6}:
        d.users([0], TEN)
        assert orders(d.tick(1)) == [], "what is in flight counts"


@table(
    ("seconds", "first", "second"),
    [(0, -3, 0), (3, -3, 0), (4, -3, -1), (7, -3, -2), (10, -3, -3), (60, -3, -3)],
)
def test_the_throttle_releases_a_share_of_depth_a_window(seconds, first, second):
    """Ten lots rest within a percent; 30 % of them in ten seconds, for two accounts."""
    planner = StagedPlanner(depth_share=300_000, window_ns=10 * SECOND)
    d = Desk(ONE, margin=rules(HALF), planner=planner)
    d.depth([(99, 10), (98, 10**6)])
    d.users([0, 0], [(0, 0, 3, 100), (1, 0, 90, 100)])
    found = d.price(100)
    assert orders(found) == [(0, 0, first, 1)]
    assert [(e.side, e.spent) for e in d.of(ThrottleMoved, found)] == [(0, 3)]
    assert sum(n for _, _, n, _ in orders(d.tick(seconds))) == second


def test_the_bucket_holds_what_two_steps_released():
    """Two accounts fall one after the other, at one time: nothing has drained between them."""
    planner = StagedPlanner(depth_share=PPM, depth_reach=50_000, window_ns=10 * SECOND)
    d = Desk(ONE, margin=rules(HALF), planner=planner)
    d.depth([(98, 10)])
    d.users([0, 75_000], [(0, 0, 4, 100), (1, 0, 3, 100)])
    (first,) = d.of(ThrottleMoved, d.price(100))
    (second,) = d.of(ThrottleMoved, d.price(99))
    assert (first.spent, second.spent) == (4, 7)


def test_orders_wait_for_slots():
    """Without a slot nothing is ordered, staged or charged to the throttle."""
    venue = venue_of(perp(), limits=replaced(LIMITS, orders_max=2))
    planner = StagedPlanner(unknown_depth=10**9, depth_share=PPM)
    d = Desk(venue, margin=rules(HALF), planner=planner)
    d.users([0, 0, 0], [(n, 0, 10, 100) for n in range(3)])
    found = d.price(100)
    assert [user for user, *_ in orders(found)] == [0, 1]
    (staged,) = d.of(StagesTaken, found)
    assert rows_of(staged, "account") == [(U,), (U + 1,)]
    assert staged.waiting == 1
    assert [e.spent for e in d.of(ThrottleMoved, found)] == [20]


@table(("band", "limit"), [(0, 1), (30_000, 97), (29_999, 98)])
def test_the_band_of_the_rung_binds_forced_orders(band, limit):
    steps = (Step(rung="caution", doubtful=0, band=band),)
    d = Desk(ONE, margin=rules(HALF), breaker=LadderBreaker(steps=steps))
    d.users([0], TEN)
    assert orders(d.price(100)) == [(0, 0, -10, limit)]


# Breaker and fund -----------------------------------------------------------------------------


@table(
    ("name", "line", "tripped"),
    [
        ("distressed", PPM, True),  # all maintenance is in distress
        ("distressed", PPM + 1, False),
        ("doubtful", 1, False),
        ("deviations", 1, False),
        ("drawdown", 1, False),
        ("branching", 10**9, True),  # ten lots forced, and none rest
        ("branching", 10**9 + 1, False),
    ],
)
def test_the_breaker_hears_of_it(name, line, tripped):
    steps = (Step(rung="caution", **{name: line}),)
    d = Desk(ONE, margin=rules(HALF), breaker=LadderBreaker(steps=steps))
    d.depth([(50, 1)], [(150, 1)])
    d.users([0], TEN)
    assert bool(d.of(BreakerMoved, d.price(100))) == tripped


@table(("now", "drawdown"), [(70, 300_000), (71, 290_000), (100, 0), (101, 0)])
def test_a_drawdown_is_measured_from_the_peak(now, drawdown):
    fund = Waterfall(tranches=(Tranche(name="fund", initial=100),))
    for line, tripped in ((drawdown, True), (drawdown + 1, False)):
        steps = (Step(rung="caution", drawdown=line),)
        d = desk([0], [], waterfall=fund, breaker=LadderBreaker(steps=steps))
        d.state.rung = 0
        d.state.book.cash[FUND] = now
        assert (d.tick(1) and d.state.rung == 1) == tripped
        assert d.state.fund_peak == max(100, now)


@table(
    ("said", "age", "tripped"),
    [(500, 0, True), (499, 0, False), (500, 10, True), (500, 11, False), (None, 0, False)],
)
def test_the_breaker_listens_to_the_spectral_radius(said, age, tripped):
    """While it is fresh; then it fades."""
    bound = SignalBound(name="spectral_radius", tightest=1_000, age_max_ns=10 * SECOND)
    steps = (Step(rung="caution", branching=500),)
    d = desk([0], [], signals=SignalGate(bounds=(bound,)), breaker=LadderBreaker(steps=steps))
    if said is not None:
        words = {"name": "spectral_radius", "model": "m", "version": "1"}
        d.send(SignalObserved(ts=d.now, value=said, **words))
    d.tick(age)
    assert (d.state.rung == 1) == tripped


@table(("seconds", "peak"), [(99, 100), (100, 100), (100.1, 70)])
def test_a_peak_is_forgotten_after_its_window(seconds, peak):
    fund = Waterfall(tranches=(Tranche(name="fund", initial=99),), drawdown_window_ns=100 * SECOND)
    d = desk([0], [], waterfall=fund)
    d.state.book.cash[FUND] = 100
    assert [e.peak for e in d.of(PeakMoved, d.tick(0))] == [100]
    d.state.book.cash[FUND] = 70
    d.tick(seconds)
    assert d.state.fund_peak == peak


@table(("quality", "count"), [(Quality.GOOD, 0), (Quality.DOUBTFUL, 1)])
def test_a_price_never_seen_is_not_doubtful(quality, count):
    steps = (Step(rung="caution", doubtful=1), Step(rung="halt", doubtful=2))
    guard = OracleGuard(sources_min=2 if quality else 1)
    d = Desk(TWO, oracle=guard, breaker=LadderBreaker(steps=steps))
    d.price(100)
    assert d.state.rung == count


# Who pays -------------------------------------------------------------------------------------


def bare(deficit, fund=0, others=(), **rule) -> tuple[Desk, list]:
    """Return an engine in which one account owns nothing and owes, and what it decided."""
    tranches = (Tranche(name="fund", initial=fund),) if fund else ()
    d = Desk(ONE, margin=rules(HALF), waterfall=Waterfall(tranches=tranches, **rule))
    d.users([-deficit, *others], [])
    return d, d.price(100)


@table(
    ("fund", "others", "rule", "paid"),
    [
        (0, (), {}, (0, 0, 100)),
        (99, (), {}, (99, 0, 1)),
        (100, (), {}, (100, 0, 0)),
        (101, (), {}, (100, 0, 0)),
        (60, (30, 90), {"socialise": "equity"}, (60, 40, 0)),
        (60, (30,), {"socialise": "equity"}, (60, 30, 10)),
        (0, (30, 70), {"socialise": "equity"}, (0, 100, 0)),
    ],
)
def test_fund_then_everybody_then_nobody(fund, others, rule, paid):
    d, effects = bare(100, fund, others, **rule)
    (found,) = d.of(DeficitFound, effects)
    assert (found.fund, found.socialised, found.uncovered) == paid
    assert d.state.book.cash[U] == 0
    assert d.state.book.cash[TREASURY] == -paid[2]
    assert d.state.lost == 100
    assert not d.of(DeficitFound, d.tick(1)), "paid once"
    audit(d.state)


def test_who_still_owns_something_is_not_bare():
    d = desk([-(10**6)], [(0, 0, 10, 100)])
    assert d.state.lost == 0
    assert not d.of(DeficitFound, d.tick(1))
    assert d.of(DeficitFound, bare(1)[1])
    assert not d.of(DeficitFound, bare(0)[1])


def bankrupt(deficit=100_000, fund=0, quality=0, rung=Rung.NORMAL, winners=((10, 10**6),), **rule):
    """Return what is decided when a long of ten lots lacks ``deficit``; winners gained 100,000."""
    rule = {"deleverage": "queue"} | rule
    tranches = (Tranche(name="fund", initial=fund),) if fund else ()
    halt = LadderBreaker(steps=(Step(rung="halt", doubtful=0),)) if rung else LadderBreaker()
    d = Desk(
        ONE,
        margin=rules(HALF),
        waterfall=Waterfall(tranches=tranches, **rule),
        oracle=OracleGuard(sources_min=1 + quality),
        breaker=halt,
        planner=StagedPlanner(unknown_depth=10**9, depth_share=PPM),
    )
    shorts = [(1 + n, 0, -lots, 110) for n, (lots, _) in enumerate(winners)]
    d.users([100_000 - deficit, *(cash for _, cash in winners)], [(0, 0, 10, 110), *shorts])
    return d, d.price(100)


@table(
    ("facts", "closed"),
    [
        ({}, True),
        ({"deleverage": "none"}, False),
        ({"deleverage": "pro_rata"}, True),
        ({"quality": 1}, False),  # winners are not closed on a doubtful price
        ({"rung": Rung.HALT}, False),
        ({"deficit": 0}, False),
        ({"deficit": 0, "deleverage_when": "bankrupt"}, False),
        ({"deficit": 1, "deleverage_when": "bankrupt"}, True),
        ({"deficit": 1}, True),
        ({"deficit": 100_001}, False),  # no winner can cover it
        ({"fund": 99_999}, True),  # the fund will not carry it
        ({"fund": 100_000}, False),
        ({"fund": 100_000, "deleverage_when": "bankrupt"}, True),
        ({"fund": 199_999, "fund_share": 500_000}, True),
        ({"fund": 200_000, "fund_share": 500_000}, False),
    ],
)
def test_winners_are_closed_when_nobody_else_can_pay(facts, closed):
    d, effects = bankrupt(**facts)
    assert len(d.of(Deleveraged, effects)) == closed
    audit(d.state)


@table(
    ("deficit", "fund", "first", "price", "paid", "forgone"),
    [
        (100_000, 0, False, 110, 0, 100_000),
        (99_999, 0, False, 109, 0, 99_999),
        (50_000, 0, True, 105, 0, 50_000),
        (100_000, 60_000, False, 110, 0, 100_000),
        (100_000, 60_000, True, 104, 60_000, 40_000),  # the fund pays while it can
        (100_000, 99_999, True, 100, 99_999, 1),
    ],
)
def test_the_bankrupt_end_at_nothing(deficit, fund, first, price, paid, forgone):
    d, effects = bankrupt(deficit, fund, fund_pays_first=first)
    (receipt,) = d.of(Deleveraged, effects)
    assert (receipt.price, receipt.fund_paid) == (price, paid)
    assert rows_of(receipt, "account", "lots", "forgone") == [(U + 1, 10, forgone)]
    assert receipt.deficit == deficit
    assert d.state.book.cash[U] == 0
    assert row_of(d.state.book, U, 0) == -1
    assert d.state.book.cash[FUND] == fund - paid
    assert d.state.book.cash[U + 1] == 10**6 + 100_000 - forgone
    audit(d.state)


def test_the_smallest_deficits_stand_behind_the_fund():
    """Of two bankrupt accounts the fund carries the shallow one; the deep one is closed."""
    fund = Waterfall(tranches=(Tranche(name="fund", initial=60_000),), deleverage="queue")
    planner = StagedPlanner(unknown_depth=10**9, depth_share=PPM)
    d = Desk(ONE, margin=rules(HALF), waterfall=fund, planner=planner)
    longs = [(0, 0, 5, 110), (1, 0, 5, 110)]
    d.users([0, -10_000, 10**6], [*longs, (2, 0, -10, 120)])
    (receipt,) = d.of(Deleveraged, d.price(100))
    assert rows_of(receipt, "bankrupt", "closed") == [(U + 1, -5)]


def test_the_deepest_is_closed_first():
    planner = StagedPlanner(unknown_depth=10**9, depth_share=PPM)
    waterfall = Waterfall(deleverage="queue", deleverage_when="bankrupt")
    d = Desk(ONE, margin=rules(HALF), waterfall=waterfall, planner=planner)
    d.users([0, -10_000, 10**6], [(0, 0, 5, 110), (1, 0, 5, 110), (2, 0, -10, 130)])
    (receipt,) = d.of(Deleveraged, d.price(100))
    assert rows_of(receipt, "bankrupt") == [(U + 1,), (U,)]


def test_half_of_an_odd_deficit_is_rounded_up():
    d, effects = bankrupt(100_001, winners=((5, 10**6),))
    (receipt,) = d.of(Deleveraged, effects)
    assert receipt.deficit == 50_001


def test_whom_the_fund_spares_needs_no_profit():
    """Winners give up what the fund leaves, which is nothing: a profit of one tick will do."""
    waterfall = Waterfall(
        tranches=(Tranche(name="fund", initial=10**6),),
        deleverage="queue",
        deleverage_when="bankrupt",
        fund_pays_first=True,
    )
    d = Desk(ONE, margin=rules(HALF), waterfall=waterfall)
    d.users([0, 10**6], [(0, 0, 10, 110), (1, 0, -10, 101)])
    (receipt,) = d.of(Deleveraged, d.price(100))
    assert rows_of(receipt, "account", "forgone") == [(U + 1, 0)]
    assert receipt.fund_paid == receipt.deficit == 100_000


@table(
    ("fund", "first", "received", "forgone"),
    [
        (0, False, 50_000, 50_000),  # half of the lots, half of the deficit
        (0, True, 50_000, 50_000),
        (60_000, True, 50_000, 0),  # the fund pays for the half at once
    ],
)
def test_a_pool_is_served_as_far_as_winners_go(fund, first, received, forgone):
    d, effects = bankrupt(100_000, fund, fund_pays_first=first, winners=((5, 10**6),))
    (receipt,) = d.of(Deleveraged, effects)
    assert rows_of(receipt, "bankrupt", "closed") == [(U, -5)]
    assert receipt.deficit == received
    assert rows_of(receipt, "forgone") == [(forgone,)]
    audit(d.state)


def test_what_is_in_flight_is_not_deleveraged():
    rule = Waterfall(deleverage="queue", deleverage_when="bankrupt")
    d = Desk(ONE, margin=rules(HALF), waterfall=rule)
    d.users([0, 10**6], [(0, 0, 10, 100), (1, 0, -10, 130)])
    assert orders(d.price(101)) == [(0, 0, -10, 100)]
    assert not d.of(Deleveraged, d.later(1).price(99))
    d.send(OrdersExpired(ts=d.now, order=pack(column(1 << 20)), reason="gone"))
    assert d.of(Deleveraged, d.tick(1))
    audit(d.state)


def test_every_position_of_a_bankrupt_is_closed():
    """Its deficit is split by notional: a third and two thirds."""
    rule = Waterfall(deleverage="queue", deleverage_when="bankrupt")
    d = Desk(TWO, margin=rules(HALF), waterfall=rule)
    d.users(
        [-90_000, 10**7, 10**7],
        [(0, 0, 10, 100), (0, 1, -20, 100), (1, 0, -10, 130), (2, 1, 20, 70)],
    )
    d.price(100)
    receipts = d.of(Deleveraged, d.price(100, 1))
    assert [(r.instrument, r.deficit, r.price) for r in receipts] == [
        (0, 30_000, 103),
        (1, 60_000, 97),
    ]
    assert d.state.book.head[U] == -1
    assert d.state.book.cash[U] == 0
    audit(d.state)


@table(("depth", "closed"), [(10, False), (9, True)])
def test_the_fund_waits_only_for_what_a_window_can_sell(depth, closed):
    """The fund would carry it, but the market cannot take the ten lots in time."""
    fund = Waterfall(tranches=(Tranche(name="fund", initial=10**9),), deleverage="queue")
    planner = StagedPlanner(depth_share=PPM)
    d = Desk(ONE, margin=rules(HALF), waterfall=fund, planner=planner)
    d.depth([(99, depth)], [(101, 10**6)])
    d.users([0, 10**6], [(0, 0, 10, 110), (1, 0, -10, 130)])
    assert bool(d.of(Deleveraged, d.price(100))) == closed


@table("side", [1, -1])
def test_a_bankrupt_inverse_is_closed_in_coins(side):
    """Contracts of one unit at 100, entered at 80 or 125; whoever lost on them owns nothing."""
    rule = Waterfall(deleverage="pro_rata", deleverage_when="bankrupt")
    venue = venue_of(coin(), inverse(contract=10**6))
    d = Desk(venue, margin=MarginModel(), waterfall=rule)
    entry = 125 if side > 0 else 80
    d.users(
        [0, 10**9, 10**9],
        [(0, 1, 3 * side, entry), (1, 1, -2 * side, entry), (2, 1, -side, entry), (0, 0, 1, 0)],
    )
    d.price(100)
    (receipt,) = d.of(Deleveraged, d.price(100, 1))
    assert rows_of(receipt, "account", "lots") == [(U + 1, 2 * side), (U + 2, side)]
    assert row_of(d.state.book, U, 1) == -1
    health = d.stack.declaration.margin.assess(
        d.state.book, d.state.facts, mark=d.state.mark, low=d.state.low, high=d.state.high
    )
    coin_value = 10_000  # rounded up to a whole coin at most
    assert 0 <= health.equity[U] <= coin_value
    audit(d.state)


def test_the_planner_leaves_whom_the_waterfall_has_closed():
    assert orders(bankrupt()[1]) == []
    assert orders(bankrupt(deleverage="none")[1]) == [(0, 0, -10, 1)]


def test_profit_and_rounding_balance():
    """Buying and selling at prices that do not divide leaves nothing unnamed."""
    d = desk(
        [10**12], [], venue_of(coin(), inverse()), margin=rules(flat(initial=0, maintenance=0))
    )
    d.price(100, 1)
    for lots, price in ((7, 33), (-3, 77), (-4, 13), (5, 99), (-9, 31), (4, 1)):
        assert not code(d.send(d.trade(0, lots, price, i=1)))
        audit(d.state)
    # Every trade rounded against the trader: the world outside has it.
    coins = d.state.book.lots[row_of(d.state.book, CLEARING, 0)]
    cost = d.state.book.cost[row_of(d.state.book, U, 1)]
    assert coins + cost + d.state.book.cost[row_of(d.state.book, EXTERNAL, 1)] == 0


def test_open_interest_has_its_declared_end():
    venue = venue_of(perp(lots_max=10, open_interest_max=15))
    d = desk([10**9, 10**9], [(0, 0, 10, 100)], venue)
    assert not code(d.ask(d.trade(1, 5, 100)))
    assert code(d.ask(d.trade(1, 6, 100))) == "amount_exceeds_limit"
    assert not code(d.ask(d.trade(1, -6, 100)))


def test_position_rows_are_counted_before_anything_happens():
    venue = venue_of(perp(), limits=replaced(LIMITS, positions_max=2))
    d = desk([10**9, 10**9], [(0, 0, 10, 100)], venue)
    with pytest.raises(CapacityExceeded, match="positions_max"):
        d.ask(d.trade(1, 1, 100))
    assert not code(d.ask(d.trade(0, 1, 100)))


def test_facts_of_a_venue_are_a_states_own():
    """A dated change must not reach another state of the same stack."""
    d = desk()
    d.send(ParameterChanged(ts=d.now, name="penalty.PERP", value=7))
    assert d.state.facts.penalty[0] == 7
    assert d.stack.facts.penalty[0] == 0
    assert not np.shares_memory(d.state.facts.penalty, d.stack.facts.penalty)


def test_a_move_is_judged_by_what_was_normal_before_it():
    """10 % in a second after a calm: 200 times the floor, which the move itself must not raise."""
    d = Desk(venue_of(perp()), margin=rules(flat()))
    d.price(100)
    (moved,) = d.of(VolatilityMoved, d.later(1).price(110))
    assert moved.deviations == 100_000 * PPM // LadderBreaker().deviation_min
    assert moved.variance > 0


def test_who_is_met_by_an_opposite_close_is_not_waiting():
    d = Desk(venue_of(perp()), margin=rules(flat()), planner=StagedPlanner(netting=True))
    d.users([1, 1], [(0, 0, 10, 100), (1, 0, -10, 100)])
    (staged,) = d.of(StagesTaken, d.price(100))
    assert staged.waiting == 0


def test_two_sources_that_disagree_are_both_heard():
    """Nobody can say which of them is wrong: the wider doubt of the two counts."""
    oracle = OracleGuard(outlier_max=50_000)
    d = Desk(venue_of(perp(), sources=("a", "b")), margin=rules(flat()), oracle=oracle)
    d.price(1_000)
    d.price(2_000, source=1, confidence=700)
    assert d.state.quality[0] == Quality.DOUBTFUL
    assert (d.state.low[0], d.state.high[0]) == (300, 2_700)
