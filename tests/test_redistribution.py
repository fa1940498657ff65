"""Loans shared among the others: in proportion, nothing lost, nobody made liquidatable by it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, venue_of
from tidegate.domain.effects import OrdersPlaced, PostedBatch
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Deposited, PoolJoined, Withdrawn
from tidegate.domain.units import PPM, unpack
from tidegate.engine.invariants import audit
from tidegate.engine.telling import Teller
from tidegate.engine.trail import Trail
from tidegate.kernels.redistribution import per_stake, stake_of
from tidegate.ports import Record
from tidegate.safeguards.backstop import Backstop, LoanPool
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


USD = 1_000_000
LENDING = MarginModel(
    instruments={"*": Requirement(tiers=(Tier(initial=0, maintenance=0),))},
    cash_debt_initial=300_000,
    cash_debt_maintenance=300_000,
)
SHARED = Backstop(equity_below=PPM, redistribute=True)


def desk(*loans: tuple[int, int], policy: Backstop = SHARED, price: int = 1_000) -> Desk:
    """Open loans of (units, debt): a hundred units are a coin, and one is worth 10 USD at 1,000."""
    d = Desk(venue_of(coin(), coin("OTHER")), margin=LENDING, backstop=policy)
    d.users([0] * len(loans))
    d.price(price)
    for user, (units, debt) in enumerate(loans):
        d.send(Deposited(ts=d.now, account=U + user, amount=units, asset=0))
        if debt:
            d.send(Withdrawn(ts=d.now, account=U + user, amount=debt))
    return d


def held(d: Desk) -> list[tuple[int, int]]:
    """Return (units, debt) of every user."""
    out = []
    for a in range(U, d.state.book.accounts):
        row = int(d.state.book.head[a])
        units = int(d.state.book.lots[row]) if row >= 0 else 0
        out.append((units, -int(d.state.book.cash[a])))
    return out


def shared(d: Desk, effects) -> bool:
    return any(e.reason == "redistributed" for e in d.of(PostedBatch, effects))


@pytest.mark.parametrize(
    ("price", "first", "second", "third"),
    [
        (780, (1_000, 60 * USD), (1_000, 10 * USD), (3_000, 30 * USD)),  # on the line
        # 63 of 77.9 USD: 809 units with 60 of debt, a quarter and three quarters.
        (779, (191, 0), (1_202, 25 * USD), (3_607, 75 * USD)),
        (600, (0, 0), (1_250, 25 * USD), (3_750, 75 * USD)),
        (500, (0, 0), (1_250, 25 * USD), (3_750, 75 * USD)),  # under water: others lose by it
    ],
)
def test_a_loan_is_shared_in_proportion_to_collateral(price, first, second, third):
    d = desk((1_000, 60 * USD), (1_000, 10 * USD), (3_000, 30 * USD))
    effects = d.later(1).price(price)
    assert held(d) == [first, second, third]
    assert shared(d, effects) == (first[1] == 0)
    assert not (shared(d, effects) and d.of(OrdersPlaced, effects))
    audit(d.state)


@pytest.mark.parametrize(
    ("debt", "bears"),
    [(45_000_000, True), (46_021_325, True), (46_021_326, False), (46_153_846, False)],
)
def test_nobody_is_made_liquidatable_by_it(debt, bears):
    """At 6 USD it owns 60 USD, which carry 46,153,846 at 130 %; its share is 10 and 594,059."""
    d = desk((1_000, 60 * USD), (1_000, debt), (100_000, 100 * USD))
    d.later(1).price(600)
    after = held(d)
    assert after[0] == (0, 0)
    assert (after[1][0] > 1_000) == bears
    assert sum(units for units, _ in after) == 102_000
    assert sum(owed for _, owed in after) == 160 * USD + debt


def test_who_owes_nothing_or_against_something_else_takes_no_part():
    d = desk((1_000, 60 * USD), (1_000, 0), (0, 0))
    d.price(1_000, i=1)
    d.send(Deposited(ts=d.now, account=U + 2, amount=5_000, asset=1))
    d.send(Withdrawn(ts=d.now, account=U + 2, amount=10 * USD))
    effects = d.later(1).price(700)
    assert not shared(d, effects)
    assert d.of(OrdersPlaced, effects)  # the market has it


def test_the_pool_is_asked_first():
    both = Backstop(equity_below=PPM, redistribute=True, pool=LoanPool(depositors_max=1))
    d = desk((1_000, 60 * USD), (1_000, 10 * USD), policy=both)
    d.send(Deposited(ts=d.now, account=U + 1, amount=10 * USD))
    d.users([500 * USD])
    d.send(PoolJoined(ts=d.now, account=U + 2, amount=31 * USD))
    assert not shared(d, d.later(1).price(600))  # thirty of it are repaid
    assert held(d)[0] == (500, 30 * USD)
    assert not shared(d, d.tick(1))  # the other one has repaid its loan: nobody can take it


@pytest.mark.parametrize(
    ("base", "borne"), [(420, 3), (421, 2), (433, 2), (434, 1), (447, 1), (448, 0)]
)
def test_several_loans_in_one_step_are_borne_together(base, borne):
    """The second share is judged with the first one in place."""
    d = desk(*[(1_000, 60 * USD)] * 3, (10_000, base * USD))
    d.later(1).price(600)
    after = held(d)
    taken = sum(owed == 0 for _, owed in after[:3])
    units, owed = after[3]
    assert (units, owed) == (10_000 + 1_000 * taken, (base + 60 * taken) * USD)
    # With k loans it owns 600 + 60 k, which at 130 % carry 461.5, 507.7, 553.8 and 600 USD.
    assert taken == borne
    audit(d.state)


def test_an_explanation_tells_both_sides():
    d = desk((1_000, 60 * USD), (3_000, 30 * USD))
    event = d.later(1).priced(600)
    effects = d.send(event)
    record = Record(0, event, tuple(effects))
    for user, words in (
        (0, "60.00 USD of debt shared among 1 other loans"),
        (1, "took on 60.00 USD of the loan of user 0"),
    ):
        trail = Trail(U + user)
        trail.follow(record)
        said = " ".join(Teller(d.stack, tuple(d.state.names)).deeds(trail.last, U + user))
        assert words in said


def test_it_must_be_said_when_it_is_asked():
    with pytest.raises(ConfigInvalid, match="when it is asked"):
        Backstop(redistribute=True)
    assert any("shared" in line for line in SHARED.describe())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 70)), min_size=2, max_size=8),
    st.lists(st.integers(300, 1_200), min_size=1, max_size=5),
)
def test_sharing_loses_nothing_and_shifts_no_one_below_maintenance(loans, prices):
    d = desk(*[(units, units * share * USD // 1_000) for units, share in loans])
    before = held(d)
    for price in prices:
        health = {a: d.state.book.cash[a] for a in range(U, d.state.book.accounts)}
        effects = d.later(1).price(price)
        audit(d.state)
        after = held(d)
        assert sum(u for u, _ in after) == sum(u for u, _ in before)
        assert sum(o for _, o in after) == sum(o for _, o in before)
        for e in d.of(PostedBatch, effects):
            for a in unpack(e.account).tolist():
                units, owed = after[a - U]
                assert units * price * 10_000 // 100 >= owed + -(-owed * 3 // 10)
                assert health[a] < 0


def test_present_collateral_is_what_corrected_stakes_amount_to():
    """Liquity pays lazily, by stakes corrected at every sharing; here everybody is paid at once.

    Two loans, one shared, two more, one shared again: the same collateral, but for rounding.
    """
    held_by = {"A": 2 * 10**12, "B": 10**12}
    stake = dict(held_by)
    at = dict.fromkeys(held_by, 0)
    given, carry, stakes, total, one = 0, 0, 0, 0, 10**6
    eager = dict(held_by)
    for closed, opened in (("B", {"C": 2 * 10**12, "D": 10**12}), ("D", {})):
        lots = held_by.pop(closed) + stake.pop(closed) * (given - at.pop(closed)) // one
        each, carry = per_stake(lots, sum(stake.values()), carry, one)
        given += each
        stakes = sum(stake.values())
        total = sum(h + stake[u] * (given - at[u]) // one for u, h in held_by.items())
        mine = eager.pop(closed)
        weight = np.array(list(eager.values()), np.int64)
        for user, w in zip(list(eager), weight.tolist(), strict=True):
            eager[user] += mine * w // int(weight.sum())
        for user, units in opened.items():
            held_by[user] = eager[user] = units
            stake[user], at[user] = stake_of(units, stakes, total), given
    for user, units in held_by.items():
        lazily = units + stake[user] * (given - at[user]) // one
        assert abs(lazily - eager[user]) <= 4 * 10**6  # stakes are paid in millionths
