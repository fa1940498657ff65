"""At the limits: capacities, the edges of the range, and answers that come too late.

Each test is one thing that once went wrong, or easily could.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, coin, column, flat, inverse, perp, rows_of, rules, venue_of
from outside import Ledger, Margin, users
from tidegate.domain.book import EXTERNAL, FIRST_USER, FUND
from tidegate.domain.effects import (
    DeficitFound,
    Deleveraged,
    HealthMoved,
    OrdersPlaced,
    PositionsMoved,
    Rejected,
    StagesTaken,
    ThrottleMoved,
)
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
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
    PriceObserved,
    Traded,
    Transferred,
    Withdrawn,
)
from tidegate.domain.instrument import Linear, Spot
from tidegate.domain.units import MONEY_MAX, SECOND, pack, unpack
from tidegate.domain.venue import Limits
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.oracle import OracleGuard, Quality
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


U = FIRST_USER
USD = 1_000_000
TEN = rules(flat(100_000, 50_000))  # ten times leverage, and half of it to stay


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def small(*instruments, **limits) -> Desk:
    """Return a desk whose venue has room for little."""
    few = {"accounts_max": U + 4, "positions_max": 8, "orders_max": 4, "balance_max": 10**14}
    return Desk(venue_of(*instruments, limits=Limits(**(few | limits))), margin=TEN)


def refuses(desk: Desk, event, text: str) -> None:
    """Assert that there is no room for ``event``, and that asking for it changed nothing."""
    before = desk.state.digest()
    with pytest.raises(CapacityExceeded, match=text):
        desk.send(event)
    assert desk.state.digest() == before
    audit(desk.state)


# -------------------------------------------------------------------- capacities


def test_rows_run_out_before_anything_is_decided():
    """And what needs no row needs no room: a full book lets everybody out."""
    desk = small(perp("A"), perp("B"), coin(), positions_max=4)
    desk.users([10**10] * 3, [(0, 0, 5, 100), (1, 0, -5, 100), (1, 1, 1, 100)])
    assert desk.state.book.rows_left == 0  # two of A, one of B and its other side outside
    for i, price in enumerate((100, 100, 5)):
        desk.price(price, i=i)
    refuses(desk, desk.trade(2, 1, 100), "positions_max")
    refuses(desk, Deposited(ts=desk.now, account=U, amount=5, asset=2), "positions_max")
    assert not codes(desk.send(Deposited(ts=desk.now, account=U, amount=5)))
    assert not codes(desk.send(Withdrawn(ts=desk.now, account=U, amount=5)))
    assert not codes(desk.send(desk.trade(0, 1, 100, maker=U + 1)))
    assert not codes(desk.send(FundingPaid(ts=desk.now, instrument=0, rate=1_000)))
    assert not codes(desk.send(desk.trade(0, -6, 100, maker=U + 1)))
    assert desk.state.book.rows_left == 2
    assert not codes(desk.send(desk.trade(2, 1, 100)))
    audit(desk.state)


def test_an_inverse_fill_needs_rows_for_its_coins():
    """Profit in coins opens balances, of the account and of clearing: counted before, not after."""
    desk = small(coin(), inverse(), positions_max=2)
    desk.users([10**9], [(0, 1, 100, 50)])
    desk.price(50, i=0)
    desk.price(50, i=1)
    assert desk.state.book.rows_left == 0
    refuses(desk, desk.trade(0, -50, 60, i=1), "needs 2")
    assert not codes(desk.send(desk.trade(0, 5, 50, i=1)))


def test_accounts_run_out():
    desk = small(perp())
    desk.users([0] * 3)
    desk.send(AccountOpened(ts=desk.now, name="the last"))
    refuses(desk, AccountOpened(ts=desk.now, name="one more"), "accounts_max")
    book = BookImported(
        ts=desk.now, names=("one more",), owner=b"", cash=b"", account=b"", instrument=b"",
        lots=b"", entry=b"",
    )  # fmt: skip
    refuses(desk, book, "accounts_max")


def test_order_slots_run_out_before_anything_is_charged():
    """Who finds no slot is neither staged nor in the bucket, and is first in line afterwards."""
    planner = StagedPlanner(
        interval_ns=60 * SECOND, depth_share=1_000_000, unknown_depth=10**15, depth_reach=50_000
    )
    limits = Limits(accounts_max=U + 8, positions_max=32, orders_max=2)
    desk = Desk(venue_of(perp(), limits=limits), margin=TEN, planner=planner)
    desk.users([10**9 + n for n in range(4)], [(n, 0, 1_000, 10_000) for n in range(4)])
    effects = desk.price(9_000)
    (placed,) = desk.of(OrdersPlaced, effects)
    assert rows_of(placed, "account", "lots") == [(U, -1_000), (U + 1, -1_000)]
    (stages,) = desk.of(StagesTaken, effects)
    assert unpack(stages.account).tolist() == [U, U + 1]
    assert stages.waiting == 2
    (throttle,) = desk.of(ThrottleMoved, effects)
    assert throttle.spent == 2_000
    gone = OrdersExpired(ts=desk.now, order=pack(column(placed.first)), reason="cancelled")
    desk.send(gone)
    (later,) = desk.of(OrdersPlaced, desk.tick(1))
    assert rows_of(later, "account") == [(U + 2,)]
    audit(desk.state)


def test_depth_is_assumed_only_where_none_was_measured():
    """A book that has emptied is a measurement, too."""
    planner = StagedPlanner(depth_share=1_000_000, unknown_depth=10**10)
    desk = Desk(venue_of(perp()), margin=TEN, planner=planner)
    desk.users([10**9], [(0, 0, 1_000, 10_000)])
    asked = desk.priced(9_000)
    assert desk.of(OrdersPlaced, desk.ask(asked))
    desk.depth([], [(9_001, 5)])  # nobody bids
    assert not desk.of(OrdersPlaced, desk.ask(asked))
    desk.depth([(8_000, 5)], [(9_001, 5)])  # somebody does, far away
    assert not desk.of(OrdersPlaced, desk.ask(asked))
    desk.depth([(8_990, 5)], [(9_001, 5)])
    (placed,) = desk.of(OrdersPlaced, desk.ask(asked))
    assert rows_of(placed, "lots") == [(-5,)]


def test_a_snapshot_under_other_limits_is_refused():
    """The journal is the authority; columns of another size would be read wrongly in silence."""
    desk = small(perp())
    desk.users([10**9] * 2, [(0, 0, 5, 100)])
    saved = desk.state.dump()
    for limits in ({"positions_max": 64}, {"orders_max": 64}):
        other = small(perp(), **limits)
        with pytest.raises(ValueError, match="was saved in"):
            State.load(saved, other.stack)
    assert State.load(saved, small(perp()).stack).digest() == desk.state.digest()


# ------------------------------------------------------------ edges of the range

EDGE = venue_of(
    Linear(
        symbol="VAST", tick_size="1", lot_size="1", tick_value=1_000,
        price_max=10**6, lots_max=10**9, open_interest_max=4 * 10**9,
    ),
    Spot(
        symbol="COIN", tick_size="1", lot_size="1", tick_value=10**6, units=10**8,
        price_max=10**6, lots_max=10**13, open_interest_max=4 * 10**14,
    ),
    inverse("INV", contract=10**9, lots_max=10**8, price_max=10**6, open_interest_max=4 * 10**8),
    limits=Limits(accounts_max=U + 8, positions_max=64, orders_max=64, balance_max=2**60),
)  # fmt: skip
EDGE_MARGIN = MarginModel(
    instruments={
        "*": Requirement(
            tiers=(
                Tier(initial=100_000, maintenance=50_000),
                Tier(floor=10**15, initial=1_000_000, maintenance=900_000),
            ),
            debt_initial=1_000_000,
            debt_maintenance=500_000,
            penalty=1_000_000,
        ),
        "VAST": Requirement(
            tiers=(Tier(initial=500_000, maintenance=250_000),),
            premium=60_000,
            penalty=5_000,
            open_low=10**15,
            open_high=10**18,
        ),
    },
    cash_debt_initial=800_000,
    cash_debt_maintenance=700_000,
)
EDGE_STACK = Stack.bind(
    SafeguardStack(
        name="edge",
        margin=EDGE_MARGIN,
        oracle=OracleGuard(smoothing_ns=SECOND, average_ns=SECOND, average_max=500_000),
        planner=StagedPlanner(netting=True, target=1_500_000, priority="savable"),
        waterfall=Waterfall(
            tranches=(Tranche(name="fund", initial=2**61),), deleverage="pro_rata",
            deleverage_when="bankrupt", fund_pays_first=True, socialise="equity",
        ),
    ),
    EDGE,
)  # fmt: skip


def test_the_edge_venue_is_near_the_edge():
    """Or the test below would prove nothing."""
    worst = sum(EDGE.worth_max(i) for i in EDGE.instruments) + EDGE.limits.balance_max
    assert MONEY_MAX // 2 < worst <= MONEY_MAX
    assert EDGE_STACK.facts.price_min[2] > 1


parts = st.integers(-4, 4)
row = st.tuples(parts, parts, parts, parts, st.sampled_from((1, 2, 10**3, 10**6)))
prices = st.tuples(st.integers(0, 2), st.sampled_from((1, 2, 50, 10**3, 10**5, 10**6, 999_983)))


def edge_book(people) -> BookImported:
    """Return people who hold quarters of everything they may hold."""
    positions = [
        (k, i, n * int(EDGE_STACK.facts.lots_max[i]) // 4, max(entry, int(low)))
        for k, (_, *sizes, entry) in enumerate(people)
        for i, (n, low) in enumerate(zip(sizes, EDGE_STACK.facts.price_min, strict=True))
        if n
    ]
    account, instrument, lots, entry = np.array(positions or np.empty((0, 4)), np.int64).T
    return BookImported(
        ts=0,
        names=tuple(f"user {k}" for k in range(len(people))),
        owner=pack(np.arange(len(people))),
        cash=pack(np.array([p[0] * (2**60 // 4) for p in people])),
        account=pack(account),
        instrument=pack(instrument),
        lots=pack(lots),
        entry=pack(entry),
    )


def answers(state: State, ts: int, price: int) -> OrdersFilled:
    live = np.flatnonzero(state.orders.key >= 0)
    i = state.book.instrument[state.orders.row[live]]
    low, high = EDGE_STACK.facts.price_min[i], EDGE_STACK.facts.price_max[i]
    return OrdersFilled(
        ts=ts,
        order=pack(state.orders.key[live]),
        lots=pack(state.orders.lots[live]),
        price=pack(np.clip(price, low, high)),
    )


@settings(max_examples=max(100, settings().max_examples))
@given(st.lists(row, min_size=1, max_size=4), st.lists(prices, min_size=3, max_size=12))
def test_at_the_edge_of_the_range_nothing_wraps(people, path):
    """Every total against unbounded integers; where there is no room, it is said and not done."""
    from tidegate.engine.step import step  # noqa: PLC0415 - beside its only use

    state = State.genesis(EDGE_STACK)
    ledger = Ledger.of(state)
    events = [edge_book(people)]
    for n, (i, price) in enumerate([(0, 10**6), (1, 10**6), (2, 10**6), *path]):
        ts = n * SECOND
        events.append(PriceObserved(ts=ts, instrument=i, source=0, price=price, published=ts))
    for n, event in enumerate(events):
        batch = [
            event,
            FundingPaid(ts=event.ts, instrument=(0, 2)[n % 2], rate=(10**7, -(10**7))[n % 2]),
            InterestAccrued(ts=event.ts, rate=10**7, asset=(-1, 1)[n % 2]),
            Traded(ts=event.ts, instrument=0, taker=U, maker=EXTERNAL, lots=10**9, price=10**6),
            Traded(ts=event.ts, instrument=0, taker=U, maker=0, lots=-(10**9), price=1),
        ]
        for one in [*batch, None]:
            asked = one or answers(state, event.ts, 1 if n % 2 else 10**6)
            before = state.digest()
            try:
                effects = step(state, asked, EDGE_STACK)
            except CapacityExceeded:
                assert state.digest() == before
                continue
            ledger.take(effects)
            assert ledger.differs(state) == ""
            audit(state)
    _totals_agree(state, step)


def _totals_agree(state: State, step) -> None:
    marks = state.mark.tolist()
    margin = Margin(state)
    totals = {a: margin.totals(a, marks) for a in users(state)}
    for equity, required in totals.values():
        assert abs(equity) < 2**63
        assert required < 2**63
    policy = EDGE_STACK.declaration.margin
    health = policy.assess(state.book, state.facts, mark=state.mark, low=state.low, high=state.high)
    for a, (equity, required) in totals.items():
        assert (health.equity[a], health.required[a]) == (equity, required)
    try:
        effects = step(state, ClockTicked(ts=state.now), EDGE_STACK)
    except CapacityExceeded:
        return  # interest has made a debt that no coin balance holds
    (moved,) = [e for e in effects if isinstance(e, HealthMoved)]
    assert moved.required == sum(required for _, required in totals.values())


@pytest.mark.parametrize("side", [1, -1])
def test_what_an_inverse_brings_in_or_costs_finds_room(side: int):
    """From the largest balance of coins, by the largest position, over every price there is."""
    lowest = int(EDGE_STACK.facts.price_min[2])
    desk = Desk(EDGE, margin=EDGE_MARGIN)
    desk.users([2**60], [(0, 1, side * 10**13, 1), (0, 2, 10**8 * side, lowest)])
    desk.price(1, i=1)
    desk.price(10**6, i=2)
    closed = desk.send(desk.trade(0, -(10**8) * side, 10**6, i=2, settled=True))
    assert not codes(closed)
    assert abs(desk.state.book.lots[:4]).max() > 5 * 10**13
    audit(desk.state)


def test_profit_cannot_be_pumped_beyond_the_range():
    """Buying at one tick and selling at the limit, again and again, is refused before it wraps."""
    desk = Desk(EDGE, margin=EDGE_MARGIN)
    desk.users([0])
    desk.price(10**5)
    refused = 0
    for _ in range(40):
        for lots, price in ((10**9, 1), (-(10**9), 10**6)):
            refused += codes(desk.send(desk.trade(0, lots, price, settled=True))) == [
                "amount_exceeds_limit"
            ]
    assert refused
    assert 0 < desk.state.book.cash[U] <= desk.stack.cash_max
    audit(desk.state)


def test_open_interest_stays_within_its_limit():
    desk = Desk(venue_of(perp(open_interest_max=100)), margin=TEN)
    desk.users([10**12] * 3)
    desk.price(1_000)
    assert not codes(desk.send(desk.trade(0, 100, 1_000)))
    assert codes(desk.send(desk.trade(1, 1, 1_000))) == ["amount_exceeds_limit"]
    assert not codes(desk.send(desk.trade(1, 1, 1_000, maker=U)))  # hands change, no more is open
    assert not codes(desk.send(desk.trade(2, -100, 1_000)))
    assert codes(desk.send(desk.trade(2, -1, 1_000))) == ["amount_exceeds_limit"]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("penalty.PERP", 10**6),
        ("debt_initial.PERP", 10**6),
        ("debt_maintenance.COIN", 3 * 10**6),
        ("cash_debt.initial", 10**6),
        ("premium.PERP", 2_147_483),
        ("open_high.PERP", MONEY_MAX),
        ("dust.COIN", MONEY_MAX),
    ],
)
def test_a_parameter_stays_within_what_was_proved(name: str, most: int):
    margin = rules(flat(100_000, 50_000), COIN=flat(debt_initial=3 * 10**6))
    desk = Desk(venue_of(perp(), coin()), margin=margin)
    for value, refused in ((-1, True), (0, False), (most, False), (most + 1, True)):
        asked = ParameterChanged(ts=desk.now, name=name, value=value)
        assert codes(desk.send(asked)) == (["rate_out_of_range"] if refused else [])


def test_a_large_penalty_is_shared_exactly():
    """A share of ten million dollars in ppm is more than int64 holds before it is divided."""
    margin = rules(flat(100_000, 50_000, penalty=20_000))
    fund = Waterfall(tranches=(Tranche(name="fund", initial=0),), penalty_share=999_999)
    wide = Limits(accounts_max=U + 2, positions_max=8, balance_max=2**60)
    desk = Desk(
        venue_of(perp(lots_max=10**8, open_interest_max=10**9), limits=wide),
        margin=margin,
        waterfall=fund,
    )
    desk.users([45 * 10**14], [(0, 0, 10**8, 500_000)])
    (placed,) = desk.of(OrdersPlaced, desk.price(478_000))
    desk.fill(placed.first, -(10**8), 478_000)
    penalty = 10**8 * 478_000 * 1_000 * 20_000 // 10**6
    assert desk.state.book.cash[FUND] == penalty * 999_999 // 10**6


def test_rates_on_debts_must_leave_room_for_balances():
    with pytest.raises(ConfigInvalid, match="balance_max must be <="):
        Stack.bind(
            SafeguardStack(
                name="x", margin=MarginModel(cash_debt_initial=10**9, cash_debt_maintenance=0)
            ),
            EDGE,
        )


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"price_max": 2**43}, "price_max must lie within"),
        ({"lots_max": -5, "price_max": -5}, "price_max must lie within"),
    ],
)
def test_an_instrument_whose_prices_could_wrap_is_refused(facts: dict, text: str):
    with pytest.raises(ConfigInvalid, match=text):
        perp(**({"tick_value": 1, "lots_max": 1} | facts))


def test_an_inverse_is_not_valued_below_its_smallest_price():
    """Its coins grow without bound as its price falls, while the coin itself may still be dear."""
    desk = Desk(EDGE, margin=EDGE_MARGIN)
    lowest = int(desk.stack.facts.price_min[2])
    desk.users([2**59], [(0, 2, 10**8, 10**6)])
    desk.price(10**6, i=1)
    desk.price(10**5, i=2)
    assert codes(desk.price(lowest - 1, i=2)) == ["price_below_limit"]
    assert codes(desk.send(desk.trade(0, 1, lowest - 1, i=2))) == ["price_out_of_range"]
    desk.price(lowest, i=2)
    health = desk.stack.declaration.margin.assess(
        desk.state.book, desk.state.facts, mark=desk.state.mark, low=desk.state.low,
        high=desk.state.high,
    )  # fmt: skip
    assert (health.equity[U], health.required[U]) == Margin(desk.state).totals(
        U, desk.state.mark.tolist()
    )
    assert health.equity[U] == 0 or abs(int(health.equity[U])) > 2**53


# ------------------------------------------------------------------------- time


def test_equal_timestamps_are_in_order_and_earlier_ones_are_not():
    desk = small(perp())
    desk.users([10**9])
    assert not codes(desk.price(100))
    assert not codes(desk.price(101))
    early = ClockTicked(ts=desk.now - 1)
    assert codes(desk.send(early)) == ["time_runs_backwards"]
    assert desk.state.now == desk.now
    assert desk.state.seq == 4


@pytest.mark.parametrize("ts", [2**62 + 1, 2**63 - 1, 2**64 - 1])
def test_a_clock_gone_wild_does_not_move_time(ts: int):
    desk = small(perp())
    desk.users([10**9])
    assert codes(desk.send(ClockTicked(ts=ts))) == ["time_out_of_range"]
    assert desk.state.now == desk.now
    assert not codes(desk.price(100))


# ------------------------------------------------------------------- bad columns


@pytest.mark.parametrize("odd", [b"1", b"1234567", b"123456789"])
def test_columns_that_are_not_whole_are_refused(odd: bytes):
    desk = small(perp())
    desk.users([10**9])
    desk.price(100)
    book = dict.fromkeys(("bid_price", "bid_lots", "ask_price", "ask_lots"), odd)
    empty = dict.fromkeys(("owner", "cash", "account", "instrument", "lots", "entry"), odd)
    for event in (
        DepthObserved(ts=desk.now, instrument=0, **book),
        OrdersFilled(ts=desk.now, order=odd, lots=odd, price=odd),
        OrdersExpired(ts=desk.now, order=odd, reason="odd"),
        BookImported(ts=desk.now, names=(), **empty),
    ):
        assert codes(desk.send(event)) == ["columns_differ"]


@pytest.mark.parametrize(
    ("column_of", "value", "code"),
    [
        ("owner", 2, "account_or_instrument_unknown"),
        ("owner", -1, "account_or_instrument_unknown"),
        ("account", 2, "account_or_instrument_unknown"),
        ("instrument", 1, "account_or_instrument_unknown"),
        ("cash", -(2**63), "amount_exceeds_limit"),
        ("lots", -(2**63), "amount_exceeds_limit"),
        ("entry", 0, "amount_exceeds_limit"),
        ("entry", 10**6 + 1, "amount_exceeds_limit"),
    ],
)
def test_an_import_is_taken_whole_or_not_at_all(column_of: str, value: int, code: str):
    desk = small(perp())
    columns = {
        "owner": [0, 1], "cash": [5, 6], "account": [0, 1], "instrument": [0, 0],
        "lots": [7, -7], "entry": [100, 100],
    }  # fmt: skip
    columns[column_of][1] = value
    packed = {name: pack(column(*values)) for name, values in columns.items()}
    event = BookImported(ts=desk.now, names=("a", "b"), **packed)
    assert codes(desk.send(event)) == [code]
    assert desk.state.book.accounts == U


def test_imported_rows_of_one_position_are_added_up_before_they_are_judged():
    desk = small(perp(lots_max=100))
    assert codes(desk.users([10**9], [(0, 0, 60, 100), (0, 0, 60, 100)])) == [
        "amount_exceeds_limit"
    ]
    assert not codes(desk.users([10**9], [(0, 0, 60, 100), (0, 0, -20, 110)]))
    assert desk.state.book.lots[0] == 40
    audit(desk.state)


# ------------------------------------------------------------ before the first price


def test_nobody_is_judged_before_everything_it_holds_has_a_price():
    """A long without a mark looks worthless, a short looks like a gift: neither is true."""
    desk = Desk(
        venue_of(perp("A"), perp("B")), margin=TEN,
        waterfall=Waterfall(deleverage="queue", deleverage_when="bankrupt", socialise="equity"),
    )  # fmt: skip
    desk.users([10**9] * 3, [(0, 0, 100, 5_000), (0, 1, 900, 9_000), (1, 1, -900, 9_000)])
    effects = desk.price(5_000)
    assert not desk.of(OrdersPlaced, effects)
    assert not desk.of(Deleveraged, effects)
    (health,) = desk.of(HealthMoved, effects)
    assert (health.liquidatable, health.bankrupt, health.deficit) == (0, 0, 0)
    # The short of B may not open A with a profit that nobody has seen.
    assert codes(desk.send(desk.trade(1, 100, 5_000))) == ["instrument_has_no_mark"]
    pays = Withdrawn(ts=desk.now, account=U + 1, amount=1)
    assert codes(desk.send(pays)) == ["price_not_good_enough"]
    assert not codes(desk.send(Deposited(ts=desk.now, account=U, amount=1)))
    assert desk.of(Deleveraged, desk.price(6_000, i=1))


def test_an_inverse_waits_for_the_price_of_its_coin():
    desk = Desk(venue_of(coin(), inverse()), margin=TEN)
    desk.users([10], [(0, 1, 1_000, 500)])
    effects = desk.price(100, i=1)  # it lost four fifths, in coins of unknown worth
    assert not desk.of(OrdersPlaced, effects)
    assert desk.of(OrdersPlaced, desk.price(100, i=0))


# ------------------------------------------------------------------ who may take out


def borrower(**changes) -> Desk:
    """Return a desk with one loan: 150 of coins against 100 of cash."""
    margin = rules(flat(250_000, 200_000), **changes)
    desk = Desk(venue_of(coin(), perp()), margin=margin)
    desk.users([-100 * USD], [(0, 0, 150 * 100, 1)])
    desk.price(100)
    return desk


def test_a_borrower_cannot_walk_away_with_the_collateral():
    """With all of it gone nothing is left that asks for margin; the debt is."""
    desk = borrower()
    everything = Withdrawn(ts=desk.now, account=U, amount=150 * 100, asset=0)
    assert codes(desk.send(everything)) == ["below_initial_margin"]
    some = Withdrawn(ts=desk.now, account=U, amount=1_667, asset=0)  # 133.33 x 75 % < 100
    assert codes(desk.send(some)) == ["below_initial_margin"]
    line = Withdrawn(ts=desk.now, account=U, amount=1_666, asset=0)
    assert not codes(desk.send(line))


def unanswered(desk: Desk, price: int) -> None:
    """Let a price force orders that the venue then cancels."""
    for placed in desk.of(OrdersPlaced, desk.price(price)):
        order = pack(placed.first + np.arange(len(placed.lots) // 8))
        desk.send(OrdersExpired(ts=desk.now, order=order, reason="cancelled"))


def test_closing_everything_far_from_the_mark_is_not_reducing_risk():
    """A long gives its lots away to a friend, and would leave the venue with its loss."""
    desk = Desk(venue_of(perp()), margin=TEN)
    desk.users([60 * USD, 10**9], [(0, 0, 100, 10_000)])
    unanswered(desk, 9_500)  # equity 10 of 47.5 asked
    assert codes(desk.send(desk.trade(0, -100, 5_000, maker=U + 1))) == ["below_initial_margin"]
    assert codes(desk.send(desk.trade(0, -100, 9_399, maker=U + 1))) == ["below_initial_margin"]
    assert not codes(desk.ask(desk.trade(0, -100, 9_400, maker=U + 1)))  # to the last cent
    unanswered(desk, 9_000)  # bankrupt by 40
    assert codes(desk.send(desk.trade(0, -100, 8_999))) == ["below_initial_margin"]
    assert not codes(desk.ask(desk.trade(0, -100, 9_000)))
    assert not codes(desk.ask(desk.trade(0, -1, 9_000)))  # in part, too


def test_without_maintenance_initial_margin_still_holds():
    desk = Desk(venue_of(perp()), margin=rules(flat(100_000, 0)))
    desk.users([10 * USD, 10**10])
    desk.price(1_000)
    assert codes(desk.send(desk.trade(0, 101, 1_000))) == ["below_initial_margin"]
    assert not codes(desk.send(desk.trade(0, 100, 1_000)))
    taken = Withdrawn(ts=desk.now, account=U, amount=1)
    assert codes(desk.send(taken)) == ["below_initial_margin"]


def test_money_leaves_an_isolated_account_only_at_a_price_that_pays_out():
    """Moving margin back to its owner is paying out: a stale price may hide that it is gone."""
    guard = OracleGuard(age_max_ns=10 * SECOND)
    desk = Desk(venue_of(perp()), margin=TEN, oracle=guard)
    desk.users([10**9], [])
    desk.send(AccountOpened(ts=desk.now, name="isolated", owner=U))
    desk.send(Transferred(ts=desk.now, source=U, target=U + 1, amount=10**8))
    desk.price(1_000)
    desk.send(desk.trade(1, 100, 1_000))
    back = {"source": U + 1, "target": U}
    assert not codes(desk.send(Transferred(ts=desk.now, amount=10**6, **back)))
    desk.tick(60)
    late = Transferred(ts=desk.now, amount=10**6, **back)
    assert codes(desk.send(late)) == ["price_not_good_enough"]
    for amount in (2**63 - 1, 2**70):
        big = Transferred(ts=desk.now, amount=amount, **back)
        assert codes(desk.send(big)) == ["amount_exceeds_limit"]


# --------------------------------------------------------------- late and odd answers


def liquidated(lots: int = 1_000) -> tuple[Desk, OrdersPlaced]:
    """Return a desk on which half of a long is in flight."""
    desk = Desk(venue_of(perp()), margin=TEN, planner=StagedPlanner(close_fraction=500_000))
    desk.users([10**9, 10**12], [(0, 0, lots, 10_000)])
    (placed,) = desk.of(OrdersPlaced, desk.price(9_400))
    assert rows_of(placed, "account", "lots") == [(U, -lots // 2)]
    return desk, placed


def test_what_is_in_flight_stays_a_reduction():
    """The owner may reduce beside it, not below it, and not to the other side."""
    desk, placed = liquidated()
    flying = ["liquidation_in_flight"]
    assert not codes(desk.ask(desk.trade(0, -500, 9_400)))
    assert codes(desk.ask(desk.trade(0, -501, 9_400))) == flying
    assert codes(desk.ask(desk.trade(0, -1_000, 9_400))) == flying
    desk.send(Deposited(ts=desk.now, account=U, amount=10**11))  # rich enough for anything
    assert codes(desk.ask(desk.trade(0, -1_600, 9_400))) == flying
    assert codes(desk.ask(desk.trade(0, -9_000, 9_400))) == flying
    assert not codes(desk.send(desk.trade(0, -500, 9_400)))
    desk.fill(placed.first, -500, 9_400)
    assert desk.state.book.counts[3] == 1  # only the world outside holds a row: 0 lots, its cost
    audit(desk.state)


def test_an_answer_for_a_row_that_now_belongs_to_somebody_else_is_refused():
    desk, placed = liquidated()
    desk.send(desk.trade(0, -500, 9_400))
    desk.fill(placed.first, -500, 9_400)
    assert not codes(desk.send(desk.trade(1, 7, 9_400)))
    assert desk.state.book.account[0] == U + 1, "the row is used again"
    before = desk.state.book.lots.copy()
    for lots in (-500, -1, 7):
        assert codes(desk.fill(placed.first, lots, 9_400)) == ["order_is_unknown"]
    gone = OrdersExpired(ts=desk.now, order=pack(column(placed.first)), reason="late")
    assert codes(desk.send(gone)) == ["order_is_unknown"]
    assert (desk.state.book.lots == before).all()
    audit(desk.state)


def test_good_and_bad_fills_of_one_batch():
    desk, placed = liquidated()
    order = column(placed.first, placed.first, placed.first + 1, placed.first, placed.first)
    lots = column(-200, -400, -5, 100, -300)
    fill = OrdersFilled(
        ts=desk.now, order=pack(order), lots=pack(lots), price=pack(column(*[9_300] * 5))
    )
    effects = desk.send(fill)
    assert codes(effects) == ["order_is_unknown"]
    assert "3 of 5" in effects[0].detail
    assert desk.state.book.lots[0] == 500
    assert desk.state.orders.counts[1] == 0
    audit(desk.state)


def test_what_a_recorded_venue_did_comes_before_our_order():
    """A settled close may leave less than is in flight; a later fill is then booked as it is."""
    desk, placed = liquidated()
    report = LiquidationReported(ts=desk.now, account=U, instrument=0, lots=900, cash=0)
    desk.send(report)
    desk.fill(placed.first, -500, 9_400)
    assert desk.state.book.lots[0] == -400, "the venue sold what was no longer there"
    audit(desk.state)
    assert not desk.of(OrdersPlaced, desk.tick(1)) or desk.state.book.in_flight[0] >= 0


# ------------------------------------------------------------------ deleveraging at odds


def deleveraging(*instruments, rule: str = "queue", **waterfall) -> Desk:
    policy = {"deleverage": rule, "deleverage_when": "bankrupt"} | waterfall
    return Desk(
        venue_of(*(instruments or (perp(),))),
        margin=rules(flat(20_000, 10_000)),
        waterfall=Waterfall(**policy),
    )


def test_a_winner_with_losses_elsewhere_is_not_made_bankrupt():
    """Its profit here covers the share; its equity, with a loss elsewhere, does not."""
    desk = deleveraging(perp("A"), perp("B"))
    desk.users(
        [USD, 50 * USD, 500 * USD],
        [
            (0, 0, 100, 11_000),  # will lack 99 of 100
            (1, 0, -100, 12_000),  # gains 200 there ...
            (1, 1, 100, 11_900),  # ... and loses 190 here: 60 are left, well above maintenance
            (2, 0, -10, 12_000),
        ],
    )
    desk.price(10_000, i=1)
    (receipt,) = desk.of(Deleveraged, desk.price(10_000, i=0))
    assert rows_of(receipt, "account", "lots") == [(U + 2, 10)]
    assert receipt.candidates == 1
    audit(desk.state)


def test_a_giant_winner_against_a_dwarf():
    """A share per lot of a position a billion times as large: the product must not wrap."""
    vast = perp(price_max=10**5, lots_max=10**9, open_interest_max=2 * 10**9, tick_value=1_000)
    desk = deleveraging(vast)
    desk.users([2 * USD, 2**49], [(0, 0, 1, 90_000), (1, 0, -(10**9), 90_001)])
    (receipt,) = desk.of(Deleveraged, desk.price(80_000))
    assert (receipt.deficit, receipt.candidates) == (8 * USD, 1)
    assert rows_of(receipt, "account", "lots", "forgone") == [(U + 1, 1, 8 * USD)]
    poor = deleveraging(vast)
    poor.users([2 * USD, 2**49], [(0, 0, 1, 90_000), (1, 0, -(10**9), 80_007)])
    assert not poor.of(Deleveraged, poor.price(80_000))  # seven ticks of profit, eight are missing


def test_a_tranche_that_is_not_reached_does_not_count_as_money():
    """The second layer begins at losses of 1,000; until then winners give up what is missing."""
    tranches = (Tranche(name="far", initial=500 * USD, attachment=1_000 * USD),)
    desk = deleveraging(tranches=tranches, fund_pays_first=True, rule="pro_rata")
    desk.users([20 * USD, 10 * USD], [(0, 0, 100, 10_500), (1, 0, -100, 10_400)])
    (receipt,) = desk.of(Deleveraged, desk.price(10_000))
    assert (receipt.fund_paid, receipt.deficit) == (0, 30 * USD)
    assert rows_of(receipt, "forgone") == [(30 * USD,)]
    thin = deleveraging(tranches=tranches, fund_pays_first=True, rule="pro_rata")
    thin.users([20 * USD, 10 * USD], [(0, 0, 100, 10_500), (1, 0, -100, 10_200)])
    assert not thin.of(Deleveraged, thin.price(10_000))  # a profit of 20 does not cover 30
    assert thin.state.lost == 0


def test_both_sides_of_one_instrument_are_bankrupt_at_once():
    """Nobody bankrupt is anybody's winner, and a winner of one pool is not asked twice."""
    desk = deleveraging(perp("A"), perp("B"), rule="pro_rata")
    desk.users(
        [USD, USD, 90 * USD],
        [
            (0, 0, 100, 10_500),  # long of A, lost 50
            (1, 0, -100, 9_500),  # short of A, lost 50
            (2, 0, -60, 12_000),  # has won on both sides of the other two, by A ...
            (2, 1, 60, 9_000),  # ... and by B
            (0, 1, -100, 9_900),
        ],
    )
    desk.price(10_000, i=1)
    receipts = desk.of(Deleveraged, desk.price(10_000, i=0))
    taken = [(r.instrument, *row) for r in receipts for row in rows_of(r, "account", "lots")]
    assert taken == [(0, U + 2, 60), (1, U + 2, -60)]
    given = sum(f for r in receipts for (f,) in rows_of(r, "forgone"))
    equity, _ = Margin(desk.state).totals(U + 2, desk.state.mark.tolist())
    assert equity == (90 + 120 + 60) * USD - given
    audit(desk.state)


def test_the_fund_runs_out_between_two_debtors():
    """The first in row order is paid, the second in part, and what is missing has a name."""
    desk = Desk(
        venue_of(perp()), margin=TEN,
        waterfall=Waterfall(tranches=(Tranche(name="fund", initial=150 * USD),)),
    )  # fmt: skip
    desk.users([-100 * USD, -80 * USD, 5 * USD])
    found = desk.of(DeficitFound, desk.tick(1))
    assert [(e.account, e.amount, e.fund, e.uncovered) for e in found] == [
        (U, 100 * USD, 100 * USD, 0),
        (U + 1, 80 * USD, 50 * USD, 30 * USD),
    ]
    assert desk.state.book.cash[U : U + 3].tolist() == [0, 0, 5 * USD]
    assert desk.state.book.cash[FUND] == 0
    assert desk.state.lost == 180 * USD
    assert not desk.of(DeficitFound, desk.tick(1))
    audit(desk.state)


def test_a_winner_is_not_asked_twice_for_the_same_money():
    """It could pay for either of two instruments, and after the first no longer for the second."""
    desk = deleveraging(perp("A"), perp("B"), perp("C"), rule="pro_rata")
    desk.users(
        [USD, USD, 130 * USD],
        [
            (0, 0, 100, 10_900),  # lacks 89
            (1, 1, 100, 10_900),  # as much
            (2, 0, -100, 12_000),
            (2, 1, -100, 12_000),
            (2, 2, 100, 14_000),  # what was won on the two was lost on the third
        ],
    )
    desk.price(10_000, i=2)
    desk.price(10_000, i=1)
    receipts = desk.of(Deleveraged, desk.price(10_000, i=0))
    assert [(r.instrument, r.deficit) for r in receipts] == [(0, 89 * USD)]
    equity, required = Margin(desk.state).totals(U + 2, desk.state.mark.tolist())
    assert (equity, required) == (41 * USD, 20 * USD)
    audit(desk.state)


def test_layers_are_reached_by_the_losses_of_one_step_together():
    """The second debtor's loss falls where the first one's has ended."""
    layers = (
        Tranche(name="low", initial=500 * USD, exhaustion=60 * USD),
        Tranche(name="high", initial=500 * USD, attachment=100 * USD),
    )
    desk = Desk(venue_of(perp()), margin=TEN, waterfall=Waterfall(tranches=layers))
    desk.users([-50 * USD, -40 * USD, -30 * USD])
    found = desk.of(DeficitFound, desk.tick(1))
    # Losses of 0..50, 50..90 and 90..120: the low layer ends at 60, the high one begins at 100.
    assert [e.fund for e in found] == [50 * USD, 10 * USD, 20 * USD]
    assert desk.state.book.cash[FUND : FUND + 2].tolist() == [440 * USD, 480 * USD]
    assert desk.state.lost == 120 * USD


@pytest.mark.parametrize(
    ("rung", "netted", "ordered"),
    [("reduce_only", True, True), ("auction_only", True, False), ("halt", False, False)],
)
def test_what_each_rung_still_does(rung: str, *, netted: bool, ordered: bool):
    """On the auction rung opposite closes still meet; nothing at all is begun on a halt."""
    desk = Desk(
        venue_of(perp("A"), perp("B")),
        margin=TEN,
        breaker=LadderBreaker(steps=(Step(rung=rung, distressed=1),)),
        planner=StagedPlanner(netting=True),
    )
    desk.users([10**8, 10**8], [(0, 0, 100, 10_800), (1, 0, -60, 8_700), (1, 1, 10, 5_000)])
    desk.price(5_000, i=1)
    effects = desk.price(10_000)
    moved = [e.reason for e in desk.of(PositionsMoved, effects)]
    assert moved == (["netted"] if netted else [])
    assert bool(desk.of(OrdersPlaced, effects)) == ordered


def test_a_stage_is_due_when_its_interval_is_over_and_not_before():
    desk = Desk(
        venue_of(perp()),
        margin=TEN,
        planner=StagedPlanner(close_fraction=100_000, interval_ns=10 * SECOND),
    )
    desk.users([10**9], [(0, 0, 1_000, 10_000)])
    (placed,) = desk.of(OrdersPlaced, desk.price(9_100))
    desk.fill(placed.first, -100, 9_100)
    for nanos, staged in ((10 * SECOND - 1, False), (1, True)):
        desk.now += nanos
        effects = desk.send(ClockTicked(ts=desk.now))
        assert bool(desk.of(StagesTaken, effects)) == staged


def test_a_price_is_fresh_up_to_its_age_and_stale_beyond():
    desk = Desk(venue_of(perp()), margin=TEN, oracle=OracleGuard(age_max_ns=10 * SECOND))
    desk.price(1_000)
    for nanos, quality in ((10 * SECOND, Quality.GOOD), (1, Quality.STALE)):
        desk.now += nanos
        desk.send(ClockTicked(ts=desk.now))
        assert desk.state.quality[0] == quality


def test_imported_positions_leave_nothing_in_rounding():
    """A long at 100 and a short at 90 were opened against others; rounding is for units."""
    desk = Desk(venue_of(perp()), margin=TEN)
    desk.users([10**10] * 2, [(0, 0, 50, 10_000), (1, 0, -50, 9_000)])
    assert desk.state.book.cash[2] == 0
    assert desk.state.book.cash[EXTERNAL] == -2 * 10**10 + 50 * 1_000 * 1_000
    audit(desk.state)
