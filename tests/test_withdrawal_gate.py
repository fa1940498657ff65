"""What may leave while somebody owes more than they have: windows, capacities, held profit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, flat, perp, rules, venue_of
from tidegate.domain.book import EXTERNAL, FIRST_USER
from tidegate.domain.effects import DeficitFound, Posted, Rejected
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Deposited, Withdrawn
from tidegate.domain.payers import CapacityMoved, ClaimsMoved, DeficitWatched
from tidegate.domain.units import PPM, SECOND, unbounded
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.kernels import withdrawals
from tidegate.safeguards.waterfall import Waterfall
from tidegate.safeguards.withdrawals import WithdrawalGate


U = FIRST_USER
USD = 1_000_000
MANY = settings(max_examples=100, deadline=None)


def guarded(waterfall: Waterfall | None = None, **gate) -> Desk:
    return Desk(
        venue_of(perp()),
        margin=rules(flat(20_000, 10_000)),
        withdrawals=WithdrawalGate(**gate),
        waterfall=waterfall or Waterfall(),
    )


def take(desk: Desk, user: int, dollars: int, **changes) -> str:
    """Ask for a withdrawal; return the code of its refusal, or nothing when it was paid."""
    facts = {"ts": desk.now, "account": U + user, "amount": dollars * USD} | changes
    effects = desk.send(Withdrawn(**facts))
    refused = desk.of(Rejected, effects)
    assert refused or desk.of(Posted, effects)
    audit(desk.state)
    return refused[0].code if refused else ""


# Kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "elapsed", "found"),
    [(100, 5, 100), (0, 0, 0), (0, 1, 10), (0, 9, 90), (0, 10, 100), (0, 11, 100), (99, 1, 100),
     (150, 1, 140), (150, 5, 100), (400, 1, 370), (400, 10, 100), (101, 1, 100)],
)  # fmt: skip
def test_a_capacity_drifts_to_its_base_and_does_not_cross(held, elapsed, found):
    """A base of 100 and a period of ten; far above it, it falls by its excess a period."""
    assert withdrawals.refilled(held, 100, elapsed, 10) == found


@MANY
@given(*(st.integers(0, 2**50) for _ in range(2)), st.integers(0, 999), st.integers(1, 10**6))
def test_compiled_and_unbounded_agree(held, base, elapsed, period):
    one = withdrawals.refilled(held, base, elapsed, period)
    assert one == unbounded(withdrawals.refilled)(held, base, elapsed, period)
    assert min(held, base) <= one <= max(held, base)


@pytest.mark.parametrize(
    ("now", "seen", "closed"),
    [(100, -1, False), (100, 100, True), (100, 51, True), (100, 50, False)],
)
def test_a_window_is_open_again_at_its_end(now, seen, closed):
    assert withdrawals.gated(now, seen, 50) == closed


@pytest.mark.parametrize(
    ("average", "guard", "floor"),
    [(100, 0, 75), (100, 24, 75), (100, 26, 74), (100, 101, 0), (3, 0, 3)],
)
def test_a_floor_of_deposits(average, guard, floor):
    assert withdrawals.deposit_floor(average, guard) == floor


@pytest.mark.parametrize(
    ("borrowed", "guard", "most", "found"),
    [
        (0, 0, 10**9, 40),
        (19, 0, 10**9, 43),
        (99, 0, 10**9, 112),
        (0, 50, 10**9, 50),
        (0, 50, 45, 45),
    ],
)
def test_a_ceiling_of_borrows(borrowed, guard, most, found):
    assert withdrawals.borrow_ceiling(130, 120, borrowed, guard, most, 3, 5, 14) == found


# The gate -------------------------------------------------------------------------------------


def with_deficit(**gate) -> Desk:
    """A user with 100, and one that went bankrupt by 10 and now owes them."""
    desk = guarded(**gate)
    desk.users([100 * USD, 30 * USD, 900 * USD], [(1, 0, 100, 10_400), (2, 0, -100, 10_400)])
    desk.price(10_000)
    return desk


@pytest.mark.parametrize(
    ("seconds", "code"), [(0, "withdrawals_closed"), (9, "withdrawals_closed"), (10, "")]
)
def test_nothing_leaves_until_the_gate_is_over(seconds, code):
    """The deficit ends at once; the gate counts from when it was last seen."""
    desk = with_deficit(deficit="refuse", gate_ns=10 * SECOND)
    desk.send(Deposited(ts=desk.now, account=U + 1, amount=50 * USD))
    assert [e.open for e in desk.of(DeficitWatched, desk.tick())] == [0]
    assert take(desk.later(seconds), 0, 1) == code


def test_while_a_deficit_is_open_time_opens_nothing():
    desk = with_deficit(deficit="refuse", gate_ns=10 * SECOND)
    assert take(desk.later(3_600), 0, 1) == "withdrawals_closed"


def test_the_clock_runs_from_the_last_sight_of_a_deficit():
    desk = with_deficit(deficit="refuse", gate_ns=10 * SECOND)
    assert [e.open for e in desk.of(DeficitWatched, desk.tick(8))] == [1]
    desk.send(Deposited(ts=desk.now, account=U + 1, amount=50 * USD))
    assert [e.open for e in desk.of(DeficitWatched, desk.tick(0.5))] == [0]
    assert not desk.of(DeficitWatched, desk.tick(0.5))
    assert take(desk.later(8.9), 0, 1) == "withdrawals_closed"
    assert take(desk.later(0.1), 0, 1) == ""


def test_a_neutral_gate_says_nothing():
    desk = with_deficit()
    assert not desk.of(DeficitWatched, desk.tick(1))
    assert take(desk, 0, 100) == ""
    assert not [name for name, _ in desk.state.columns() if name.startswith("paying")]


def test_deposits_and_what_was_already_allowed_pass():
    desk = with_deficit(deficit="refuse", gate_ns=10 * SECOND)
    effects = desk.send(Deposited(ts=desk.now, account=U, amount=USD))
    assert not desk.of(Rejected, effects)
    assert take(desk, 0, 101, settled=True) == ""


def test_margin_speaks_before_the_gate():
    """The codes have an order: what no gate would change is said first."""
    desk = with_deficit(deficit="refuse", gate_ns=10 * SECOND)
    assert take(desk, 0, 101) == "asset_not_borrowable"
    assert take(desk, 2, 940) == "asset_not_borrowable"


@pytest.mark.parametrize(
    ("first", "seconds", "second", "codes"),
    [
        (50, 0, 0, [""]),
        (51, 0, 0, ["withdrawal_capacity_reached"]),
        (50, 0, 1, ["", "withdrawal_capacity_reached"]),
        (50, 20, 1, ["", "withdrawal_capacity_reached"]),
        (50, 75, 1, ["", "withdrawal_capacity_reached"]),
        (50, 76, 1, ["", ""]),
        (50, 3_600, 47, ["", ""]),
        (50, 3_600, 48, ["", "withdrawal_capacity_reached"]),
    ],
)
def test_a_capacity_is_used_up_and_refills_within_its_period(first, seconds, second, codes):
    """Five per cent of a thousand, per hour; then of 950: a dollar takes 75.8 s."""
    desk = guarded(limit="always", capacity_share=50_000)
    desk.users([500 * USD, 500 * USD])
    found = [take(desk, 0, first)]
    if second:
        found.append(take(desk.later(seconds), 1, second))
    assert found == codes


def test_a_limit_may_hold_only_while_a_deficit_is_open():
    desk = with_deficit(deficit="limit", gate_ns=10 * SECOND, capacity_min=20 * USD)
    desk.send(Deposited(ts=desk.now, account=U + 1, amount=50 * USD))
    desk.tick()
    assert take(desk, 0, 21) == "withdrawal_capacity_reached"
    assert take(desk, 0, 20) == ""
    assert take(desk.later(9), 0, 1) == "withdrawal_capacity_reached"
    assert take(desk.later(1), 0, 80) == ""


def test_the_capacity_is_part_of_the_state():
    desk = guarded(limit="always", capacity_min=50 * USD)
    desk.users([500 * USD])
    effects = desk.send(Withdrawn(ts=desk.now, account=U, amount=10 * USD))
    assert [e.capacity for e in desk.of(CapacityMoved, effects)] == [40 * USD]
    copy = State.load(desk.state.dump(), desk.stack)
    assert copy.digest() == desk.state.digest()
    other = guarded(limit="always", capacity_min=50 * USD)
    other.users([500 * USD])
    assert other.state.digest() != desk.state.digest()


@pytest.mark.parametrize(
    ("hold", "dollars", "code"),
    [(0, 60, ""), (0, 61, "asset_not_borrowable"), (PPM, 40, ""), (PPM, 41, "profit_is_held"),
     (750_000, 50, ""), (750_000, 51, "profit_is_held"), (500_000, 60, "")],
)  # fmt: skip
def test_profit_that_is_not_realised_is_held(hold, dollars, code):
    """Cash of 60, a profit of 40, and 20 of initial margin on a thousand."""
    desk = guarded(hold_profit=hold)
    desk.users([60 * USD, 900 * USD], [(0, 0, 100, 9_600), (1, 0, -100, 9_600)])
    desk.price(10_000)
    assert take(desk, 0, dollars) == code


def test_a_loss_holds_nothing():
    desk = guarded(hold_profit=PPM)
    desk.users([70 * USD, 900 * USD], [(0, 0, 100, 10_300), (1, 0, -100, 10_300)])
    desk.price(10_000)
    assert take(desk, 0, 20) == ""
    assert take(desk, 0, 1) == "below_initial_margin"


# Claims ---------------------------------------------------------------------------------------


def test_who_paid_for_a_debt_is_repaid_by_the_debtor():
    """Pro rata, from the debtor's next deposits, until nothing is owed any more."""
    desk = guarded(Waterfall(socialise="equity", claims=True))
    desk.users([-40 * USD, 100 * USD, 300 * USD])
    effects = desk.tick(1)
    (claim,) = desk.of(ClaimsMoved, effects)
    assert claim.debtor == U
    assert desk.state.book.cash[U : U + 3].tolist() == [0, 90 * USD, 270 * USD]
    assert desk.state.paying.claims == {(U, U + 1): 10 * USD, (U, U + 2): 30 * USD}
    copy = State.load(desk.state.dump(), desk.stack)
    assert copy.digest() == desk.state.digest()
    desk.send(Deposited(ts=desk.now, account=U, amount=20 * USD))
    assert desk.state.book.cash[U : U + 3].tolist() == [0, 95 * USD, 285 * USD]
    desk.send(Deposited(ts=desk.now, account=U, amount=25 * USD))
    assert desk.state.book.cash[U : U + 3].tolist() == [5 * USD, 100 * USD, 300 * USD]
    assert not desk.state.paying.claims
    desk.send(Deposited(ts=desk.now, account=U, amount=7 * USD))
    assert desk.state.book.cash[U] == 12 * USD
    audit(desk.state)


@pytest.mark.parametrize(("dollars", "repaid"), [(30, 0), (31, 1), (69, 39), (70, 40), (80, 40)])
def test_a_deposit_covers_a_new_debt_before_an_old_claim(dollars, repaid):
    """The debtor has borrowed 30 again: only what a deposit leaves of cash goes to who paid."""
    desk = guarded(Waterfall(socialise="equity", claims=True))
    desk.users([-40 * USD, 100 * USD, 300 * USD])
    desk.tick(1)
    desk.state.book.cash[U] -= 30 * USD
    desk.state.book.cash[EXTERNAL] += 30 * USD
    desk.send(Deposited(ts=desk.now, account=U, amount=dollars * USD))
    assert desk.state.book.cash[U] == (dollars - 30 - repaid) * USD
    assert sum(desk.state.paying.claims.values()) == (40 - repaid) * USD
    audit(desk.state)


@MANY
@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=5),
    st.integers(1, 10**9),
    st.lists(st.integers(1, 10**8), max_size=5),
)
def test_nobody_is_repaid_more_than_was_paid(cash, debt, deposits):
    desk = guarded(Waterfall(socialise="equity", claims=True))
    desk.users([-debt, *cash])
    desk.tick(1)
    for amount in deposits:
        desk.send(Deposited(ts=desk.now, account=U, amount=amount))
    after = desk.state.book.cash[U + 1 : U + 1 + len(cash)].tolist()
    assert all(now <= was for now, was in zip(after, cash, strict=True))
    paid = min(debt, sum(cash))
    assert sum(cash) - sum(after) == max(0, paid - sum(deposits))
    assert desk.state.book.cash[U] == max(0, sum(deposits) - paid)
    audit(desk.state)


@pytest.mark.parametrize("rule", ["equity", "balances"])
def test_a_deficit_of_nobody_is_found_once(rule):
    desk = guarded(Waterfall(socialise=rule))
    desk.users([-40 * USD, 100 * USD])
    assert [e.socialised for e in desk.of(DeficitFound, desk.tick(1))] == [40 * USD]
    assert not desk.of(DeficitFound, desk.tick(1))


@pytest.mark.parametrize("rule", ["equity", "balances"])
def test_who_has_paid_one_deficit_has_only_the_rest_for_the_next(rule):
    desk = guarded(Waterfall(socialise=rule))
    desk.users([-60 * USD, -60 * USD, 100 * USD])
    found = desk.of(DeficitFound, desk.tick(1))
    assert [e.socialised for e in found] == [60 * USD, 40 * USD]
    assert [e.uncovered for e in found] == [0, 20 * USD]
    assert desk.state.book.cash[U + 2] == 0
    audit(desk.state)


# Declarations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"deficit": "stop"}, "deficit"),
        ({"limit": "sometimes"}, "limit"),
        ({"limit": "always"}, "withdrawals"),
        ({"deficit": "limit"}, "withdrawals"),
        ({"gate_ns": -1}, "gate_ns"),
        ({"capacity_min": -1}, "capacity_min"),
        ({"capacity_share": PPM + 1}, "capacity_share"),
        ({"hold_profit": PPM + 1}, "hold_profit"),
        ({"period_ns": 0}, "period_ns"),
    ],
)
def test_what_cannot_hold_is_refused(changes, where):
    with pytest.raises(ConfigInvalid, match=where):
        WithdrawalGate(**changes)


def test_it_is_told_in_plain_language():
    assert not WithdrawalGate().describe()
    said = WithdrawalGate(deficit="refuse", gate_ns=SECOND, hold_profit=PPM).describe()
    assert "nothing may be withdrawn" in said[0]
    assert "unrealised profit" in said[1]
