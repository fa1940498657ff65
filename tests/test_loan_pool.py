"""The shared pool in the engine: loans it repays, what depositors get, what they are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, flat, perp, rows_of, rules, venue_of
from tidegate.domain.book import EXTERNAL, POOL
from tidegate.domain.effects import OrdersPlaced, PoolMoved, Posted, Rejected
from tidegate.domain.events import Deposited, PoolJoined, PoolLeft, Withdrawn
from tidegate.domain.units import PPM
from tidegate.engine.invariants import audit
from tidegate.engine.pool import gains_of, value_of
from tidegate.engine.state import State
from tidegate.engine.telling import Teller
from tidegate.engine.trail import Trail
from tidegate.kernels.stability import ONE
from tidegate.ports import Record
from tidegate.safeguards.backstop import Backstop, LoanPool
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


USD = 1_000_000
FREE = Requirement(tiers=(Tier(initial=0, maintenance=0),))
LENDING = MarginModel(
    instruments={"*": FREE}, cash_debt_initial=500_000, cash_debt_maintenance=300_000
)
POOLED = Backstop(equity_below=PPM, pool=LoanPool(depositors_max=3))


def desk(policy: Backstop = POOLED, owed: int = 60 * USD, **changes) -> Desk:
    """User 0 owes 60 USD against ten coins of 10 USD; users 1 to 3 have 500 USD each."""
    d = Desk(venue_of(coin(), coin("OTHER"), perp()), margin=LENDING, backstop=policy, **changes)
    d.users([0, 500 * USD, 500 * USD, 500 * USD, 500 * USD])
    d.send(Deposited(ts=d.now, account=U, amount=1_000, asset=0))
    d.price(1_000)
    if owed:
        d.send(Withdrawn(ts=d.now, account=U, amount=owed))
    return d


def join(d: Desk, user: int, amount: int) -> list:
    return d.send(PoolJoined(ts=d.now, account=U + user, amount=amount))


def leave(d: Desk, user: int, amount: int = 10**15) -> list:
    return d.send(PoolLeft(ts=d.now, account=U + user, amount=amount))


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def repaid(d: Desk, effects) -> list[tuple[int, list[tuple[int, ...]]]]:
    return [(e.debt, rows_of(e, "asset", "lots")) for e in d.of(PoolMoved, effects)]


@pytest.mark.parametrize(
    ("price", "debt", "units", "left"),
    [
        (781, 0, 0, 1_000),  # 78.10 USD against 60: 130 % and a little
        (780, 0, 0, 1_000),  # on the line
        (779, 60 * USD, 809, 191),  # 63 USD of coins at 7.79: 808.73 units, rounded up
        (630, 60 * USD, 1_000, 0),
        (600, 60 * USD, 1_000, 0),  # worth the debt and nothing more
        (500, 60 * USD, 1_000, 0),  # worth less: the depositors bear it
    ],
)
def test_a_loan_is_repaid_for_its_debt_and_a_penalty(price, debt, units, left):
    d = desk()
    join(d, 1, 400 * USD)
    effects = d.later(1).price(price)
    assert repaid(d, effects) == ([(debt, [(0, units)])] if debt else [])
    assert not (debt and d.of(OrdersPlaced, effects))
    row = int(d.state.book.head[U])
    assert (int(d.state.book.lots[row]) if row >= 0 else 0) == left
    assert d.state.book.cash[U] == debt - 60 * USD
    audit(d.state)


def test_a_pool_that_is_too_small_repays_what_it_can():
    """It keeps one USD; the rest of the loan waits for the market, or for more depositors."""
    d = desk()
    join(d, 1, 31 * USD)
    assert repaid(d, d.later(1).price(700)) == [(30 * USD, [(0, 450)])]
    assert d.state.book.cash[U] == -30 * USD
    assert d.state.book.cash[POOL] == USD
    effects = d.tick(1)  # 550 units at 7 USD against 30 USD: nearer to 130 %, and not there
    assert not repaid(d, effects)
    assert d.of(OrdersPlaced, effects)


def test_losses_and_gains_are_shared_in_proportion_and_latecomers_have_no_part():
    d = desk()
    join(d, 1, 100 * USD)
    join(d, 2, 300 * USD)
    d.later(1).price(700)
    join(d, 3, 100 * USD)
    # Every rounding is against the depositor, by less than one Money or unit each.
    assert [value_of(d.state, k) for k in range(3)] == [85 * USD - 1, 255 * USD - 1, 100 * USD]
    assert [gains_of(d.state, k)[0] for k in range(3)] == [224, 674, 0]
    for user, cash, units in ((1, 485, 224), (2, 455, 674), (3, 500, 0)):
        leave(d, user)
        row = int(d.state.book.head[U + user])
        assert round(int(d.state.book.cash[U + user]) / USD) == cash
        assert (int(d.state.book.lots[row]) if row >= 0 else 0) == units
    assert 0 <= d.state.book.cash[POOL] <= 3
    audit(d.state)


def test_a_second_deposit_pays_the_gains_of_the_first():
    d = desk()
    join(d, 1, 400 * USD)
    d.later(1).price(700)
    effects = join(d, 1, 10 * USD)
    assert [(e.debit, e.credit, e.asset, e.amount) for e in d.of(Posted, effects)] == [
        (U + 1, POOL, -1, 10 * USD),
        (POOL, U + 1, 0, 899),
    ]
    assert value_of(d.state, 0) == 350 * USD - 1
    assert gains_of(d.state, 0) == [0, 0, 0]


@pytest.mark.parametrize(
    ("amount", "paid"),
    [
        (1, 1),
        (399 * USD, 399 * USD),  # what is left is just no dust
        (399 * USD + 1, 400 * USD),
        (400 * USD, 400 * USD),
        (10**15, 400 * USD),
    ],
)
def test_leaving_pays_at_most_what_is_left(amount, paid):
    d = desk(owed=0)
    join(d, 1, 400 * USD)
    leave(d, 1, amount)
    assert d.state.book.cash[U + 1] == 100 * USD + paid
    assert d.state.book.cash[POOL] == 400 * USD - paid


def test_a_slot_that_was_emptied_is_used_again():
    d = desk(owed=0)
    for user in (1, 2, 3):
        join(d, user, USD)
    assert codes(join(d, 4, USD)) == ["pool_is_full"]
    leave(d, 2)
    assert codes(join(d, 4, USD)) == []
    assert codes(leave(d, 2)) == ["no_deposit"]
    assert d.state.backing.deposit_account.tolist() == [U + 1, U + 4, U + 3]


@pytest.mark.parametrize(
    ("user", "amount", "code"),
    [
        (EXTERNAL - U, USD, "account_unknown"),
        (1, 0, "amount_must_be_positive"),
        (1, 500 * USD, ""),
        (1, 500 * USD + 1, "asset_not_borrowable"),
        (1, 2**50 + 1, "amount_exceeds_limit"),
    ],
)
def test_a_deposit_is_refused(user, amount, code):
    d = desk(owed=0)
    assert codes(join(d, user, amount)) == ([code] if code else [])


@pytest.mark.parametrize(
    ("amount", "code"), [(400 * USD, ""), (400 * USD + 1, "below_initial_margin")]
)
def test_a_deposit_leaves_initial_margin(amount, code):
    d = Desk(venue_of(perp()), margin=rules(flat(100_000, 50_000)), backstop=POOLED)
    d.users([500 * USD], [(0, 0, 100, 10_000)])
    assert codes(join(d, 0, amount)) == ["price_not_good_enough"]
    d.price(10_000)
    assert codes(join(d, 0, amount)) == ([code] if code else [])


@pytest.mark.parametrize(("amount", "code"), [(0, "amount_must_be_positive"), (1, "no_deposit")])
def test_leaving_is_refused(amount, code):
    assert codes(leave(desk(owed=0), 1, amount)) == [code]


def test_a_neutral_stack_hears_nothing_of_a_pool():
    d = desk(Backstop(), owed=0)
    before = d.state.digest()
    assert join(d, 1, USD) == leave(d, 1) == []
    assert d.state.digest() != before  # it counted them, no more
    assert d.state.book.cash[POOL] == 0


def test_accounts_with_contracts_or_owed_assets_are_no_loans():
    d = desk()
    join(d, 1, 400 * USD)
    d.price(10_000, i=2)
    d.price(1_000, i=1)
    d.send(d.trade(0, 1, 10_000, i=2))
    assert not repaid(d, d.later(1).price(700))
    audit(d.state)


@pytest.mark.parametrize(("owed", "taken"), [(0, True), (1, False)])
def test_who_owes_an_asset_besides_is_no_loan(owed, taken):
    d = Desk(venue_of(coin(), coin("OTHER")), margin=LENDING, backstop=POOLED)
    d.users([-60 * USD, 500 * USD], [(0, 0, 1_000, 0), (0, 1, -owed, 0)])
    d.price(1_000)
    d.price(1_000, i=1)
    join(d, 1, 400 * USD)
    assert bool(repaid(d, d.later(1).price(700))) == taken
    audit(d.state)


def test_collateral_goes_in_proportion_from_all_balances():
    d = desk()
    join(d, 1, 400 * USD)
    d.price(1_000, i=1)
    d.send(Deposited(ts=d.now, account=U, amount=200, asset=1))
    # 1,000 units at 5.5 and 200 at 10: 75 USD against 60. The pool gets 63 of 75.
    assert repaid(d, d.later(1).price(550)) == [(60 * USD, [(1, 168), (0, 840)])]
    audit(d.state)


def test_state_with_a_pool_survives_a_snapshot():
    d = desk()
    join(d, 1, 400 * USD)
    d.later(1).price(700)
    again = State.load(d.state.dump(), d.stack)
    assert again.digest() == d.state.digest()
    assert gains_of(again, 0) == gains_of(d.state, 0) != [0, 0, 0]


def test_a_pool_that_has_used_up_its_scales_steps_aside():
    d = desk()
    join(d, 1, 400 * USD)
    d.state.backing.pool[2] = 63
    d.state.backing.deposit_scale[0] = 63
    assert repaid(d, d.ask(d.later(1).priced(700)))
    d.state.backing.pool[1] = d.state.backing.deposit_product[0] = ONE // 2**16
    effects = d.ask(d.priced(700))
    assert not repaid(d, effects)
    assert d.of(OrdersPlaced, effects)


def test_an_explanation_says_what_the_pool_did():
    d = desk()
    join(d, 1, 400 * USD)
    event = d.later(1).priced(700)
    trail = Trail(U)
    trail.follow(Record(0, event, tuple(d.send(event))))
    said = " ".join(Teller(d.stack, tuple(d.state.names)).deeds(trail.last, U))
    assert "the pool repaid 60.00 USD for 9.00 COIN" in said


deeds = st.lists(
    st.tuples(
        st.sampled_from(("join", "leave", "price", "loan")),
        st.integers(1, 3),
        st.integers(1, 300 * USD),
        st.integers(200, 1_500),
    ),
    min_size=4,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(deeds)
def test_the_pool_always_holds_what_it_owes(history):
    """Cash and coins, whatever depositors and borrowers do, in whichever order."""
    d = desk()
    for kind, user, amount, price in history:
        match kind:
            case "join":
                join(d, user, amount)
            case "leave":
                leave(d, user, amount)
            case "loan":
                d.send(Deposited(ts=d.now, account=U, amount=1 + amount // USD, asset=0))
                d.send(Withdrawn(ts=d.now, account=U, amount=amount))
            case _:
                d.later(1).price(price)
        b, used = d.state.backing, int(d.state.backing.counts[1])
        assert d.state.book.cash[POOL] == b.pool[0]
        assert sum(value_of(d.state, k) for k in range(used)) <= b.pool[0]
        rows = np.flatnonzero(d.state.book.account[: d.state.book.high] == POOL)
        held = int(d.state.book.lots[rows].sum())
        assert sum(gains_of(d.state, k)[0] for k in range(used)) + b.pool_kept[0] <= held
        audit(d.state)
