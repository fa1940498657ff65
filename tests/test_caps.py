"""Caps on lending and on open interest: both sides of each, what is never refused, and memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, column, flat, perp, replaced, rules, venue_of
from strategies import STACKS, VENUE, histories, unfold
from tidegate.domain.book import EXTERNAL
from tidegate.domain.effects import CapMoved, Rejected
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import Deposited, Transferred, Withdrawn
from tidegate.domain.instrument import CASH
from tidegate.domain.units import PPM, SECOND, unbounded
from tidegate.engine.state import State
from tidegate.kernels.expanding_limits import (
    ceiling_after,
    debt_ceiling,
    floor_after,
    power_ratio,
    supply_floor,
)
from tidegate.safeguards.caps import Cap, Caps
from tidegate.safeguards.stack import SafeguardStack, Stack


LENDING = replaced(
    rules(flat(100_000, 50_000), COIN=flat(100_000, 50_000, debt_initial=100_000)),
    cash_debt_initial=100_000,
    cash_debt_maintenance=50_000,
)
MARKET = venue_of(coin(), perp())  # a whole coin is a hundred units and, at 100, a million Money
table = pytest.mark.parametrize


def lender(**caps) -> Desk:
    """Return a desk: user 0 lends 1,000 coins, user 1 has a million in cash to borrow against."""
    desk = Desk(MARKET, margin=LENDING, caps=Caps(markets=caps))
    desk.users([0, 10**10, 10**10], [(0, 0, 100_000, 0)])
    desk.price(100)
    desk.price(100, i=1)
    return desk


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def borrow(desk: Desk, amount: int, user: int = 1, asset: int = 0, **changes) -> list:
    event = Withdrawn(ts=desk.now, account=U + user, amount=amount, asset=asset, **changes)
    return desk.send(event)


def repay(desk: Desk, amount: int, user: int = 1, asset: int = 0) -> list:
    return desk.send(Deposited(ts=desk.now, account=U + user, amount=amount, asset=asset))


# ---------------------------------------------------------------------------- debt


@table(("units", "code"), [(1_000, []), (1_001, ["debt_cap_reached"])])
def test_a_debt_may_reach_its_cap(units, code):
    """Ten coins are worth ten million; one unit more is beyond."""
    assert codes(borrow(lender(COIN=Cap(debt_max=10_000_000)), units)) == code


def test_what_is_owed_counts_over_everybody():
    desk = lender(COIN=Cap(debt_max=10_000_000))
    assert not codes(borrow(desk, 600))
    assert codes(borrow(desk, 401, user=2)) == ["debt_cap_reached"]
    assert not codes(borrow(desk, 400, user=2))
    assert not codes(repay(desk, 1))
    assert not codes(borrow(desk, 1, user=2))


def test_what_one_owns_is_not_a_debt():
    desk = lender(COIN=Cap(debt_max=1))
    assert not codes(borrow(desk, 100_000, user=0))
    assert codes(borrow(desk, 1, user=0)) == ["below_initial_margin"]  # margin speaks first


def test_a_dearer_debt_is_left_alone_and_may_shrink():
    desk = lender(COIN=Cap(debt_max=10_000_000))
    borrow(desk, 1_000)
    desk.price(101)
    assert codes(borrow(desk, 1)) == ["debt_cap_reached"]
    assert not codes(repay(desk, 5))
    assert not codes(desk.send(desk.trade(1, 5, 101)))  # bought back
    assert codes(borrow(desk, 1)) == ["debt_cap_reached"]  # 990 units at 101 and one more


@table(("lots", "code"), [(-1_000, []), (-1_001, ["debt_cap_reached"])])
def test_a_sale_of_what_one_does_not_own_is_a_debt(lots, code):
    desk = lender(COIN=Cap(debt_max=10_000_000))
    assert codes(desk.send(desk.trade(1, lots, 100))) == code


def test_a_purchase_on_credit_is_a_debt_in_cash():
    desk = lender(cash=Cap(debt_max=5 * 10**9))
    assert not codes(desk.send(desk.trade(1, 1_500_000, 100)))  # 15 against 10 thousand million
    assert codes(desk.send(desk.trade(1, 1, 100))) == ["debt_cap_reached"]
    assert not codes(desk.send(desk.trade(1, -1, 100)))


def test_a_transfer_may_not_borrow_past_the_cap():
    desk = lender(cash=Cap(debt_max=10**8))
    desk.state.book.owner[U + 2] = U
    give = 10**8 + 1
    asked = Transferred(ts=desk.now, source=U, target=U + 2, amount=give)
    assert codes(desk.ask(asked)) == ["debt_cap_reached"]
    assert not codes(desk.ask(replaced(asked, amount=give - 1)))


def test_what_a_venue_has_allowed_is_booked():
    desk = lender(COIN=Cap(debt_max=1))
    assert not codes(borrow(desk, 50, settled=True))
    assert not codes(desk.send(desk.trade(1, -50, 100, settled=True)))


# ------------------------------------------------------------------------ utilisation


@table(("units", "code"), [(80_000, []), (80_001, ["utilisation_too_high"])])
def test_lent_as_a_share_of_what_is_held(units, code):
    desk = lender(COIN=Cap(utilisation_max=800_000))
    assert codes(borrow(desk, units)) == code


def test_a_lender_leaves_what_is_lent():
    desk = lender(COIN=Cap(utilisation_max=800_000))
    borrow(desk, 40_000)
    assert codes(borrow(desk, 50_001, user=0)) == ["utilisation_too_high"]
    assert not codes(borrow(desk, 50_000, user=0))
    assert codes(borrow(desk, 1, user=0)) == ["utilisation_too_high"]
    assert not codes(repay(desk, 1_000))
    assert not codes(borrow(desk, 1_250, user=0))


def test_where_nothing_is_lent_everything_may_leave():
    desk = lender(COIN=Cap(utilisation_max=1))
    assert not codes(borrow(desk, 100_000, user=0))


# ---------------------------------------------------------------------- open interest


def test_open_interest_may_reach_its_cap_and_be_passed_on():
    desk = lender(PERP=Cap(open_interest_max=10_000_000))
    assert not codes(desk.send(desk.trade(1, 100, 100, i=1)))
    assert codes(desk.send(desk.trade(2, 1, 100, i=1))) == ["open_interest_cap_reached"]
    passed = desk.trade(2, 40, 100, i=1, maker=U + 1)
    assert not codes(desk.send(passed))  # one long leaves as the other comes
    assert not codes(desk.send(desk.trade(1, -60, 100, i=1)))
    assert codes(desk.send(desk.trade(1, -101, 100, i=1))) == ["open_interest_cap_reached"]
    assert not codes(desk.send(desk.trade(1, -100, 100, i=1)))  # the other side has its own


def test_a_side_beyond_its_cap_does_not_close_the_other():
    desk = lender(PERP=Cap(open_interest_max=10_000_000))
    assert not codes(desk.send(desk.trade(1, -100, 100, i=1)))
    desk.price(101, i=1)  # a hundred lots short are now worth more than the cap
    assert not codes(desk.send(desk.trade(2, 99, 101, i=1)))
    assert codes(desk.send(desk.trade(2, 1, 101, i=1))) == ["open_interest_cap_reached"]


@table(("most", "code"), [(34, []), (33, ["debt_cap_reached"])])
def test_a_broken_worth_counts_as_more(most, code):
    """A unit is a third of a Money at 100: a hundred of them come to 33.3, which is above 33."""
    venue = venue_of(coin(units=3_000_000), perp())
    desk = Desk(venue, margin=LENDING, caps=Caps(markets={"COIN": Cap(debt_max=most)}))
    desk.users([0, 10**10], [(0, 0, 100_000, 0)])
    desk.price(100)
    assert codes(borrow(desk, 100)) == code


def test_a_turn_counts_only_what_it_opens():
    desk = lender(PERP=Cap(open_interest_max=10_000_000))
    desk.send(desk.trade(1, 50, 100, i=1))
    assert not codes(desk.send(desk.trade(1, -150, 100, i=1)))  # fifty closed, a hundred opened
    assert codes(desk.send(desk.trade(1, -1, 100, i=1))) == ["open_interest_cap_reached"]


# --------------------------------------------------------------- expanding ceilings


EXPANDING = Cap(
    debt_base=5_000_000, debt_max=10_000_000, expand_share=200_000, expand_ns=200 * SECOND
)


def test_a_ceiling_grows_with_use_and_time():
    """Five million at once; then a fifth more every two hundred seconds, to ten."""
    desk = lender(COIN=EXPANDING)
    assert codes(borrow(desk, 501)) == ["debt_cap_reached"]
    effects = borrow(desk, 500)
    assert [e.limit for e in desk.of(CapMoved, effects)] == [5_000_000]
    assert codes(borrow(desk, 1)) == ["debt_cap_reached"]
    desk.later(100)
    assert codes(borrow(desk, 51)) == ["debt_cap_reached"]  # half a million more by now
    assert not codes(borrow(desk, 50))
    desk.later(1_000)
    assert codes(borrow(desk, 111)) == ["debt_cap_reached"]  # 6.6 million is a fifth more
    assert not codes(borrow(desk, 110))
    for _ in range(9):
        desk.later(200)
        owed = -int(desk.state.book.lots[desk.state.book.head[U + 1]])
        borrow(desk, min(owed // 5, 1_000 - owed) or 1)
    assert int(desk.state.book.short_open[0]) == 1_000
    assert codes(borrow(desk.later(10_000), 1)) == ["debt_cap_reached"]


def test_it_shrinks_at_once_with_repayments():
    desk = lender(COIN=EXPANDING)
    for units in (500, 100, 120):
        borrow(desk, units)
        desk.later(400)
    assert int(desk.state.book.short_open[0]) == 720
    repay(desk, 300)
    assert codes(borrow(desk, 85)) == ["debt_cap_reached"]  # a fifth above 4.2 million
    assert not codes(borrow(desk, 80))


def test_memory_survives_a_snapshot_and_costs_nothing_without_a_ceiling():
    desk = lender(COIN=EXPANDING)
    borrow(desk, 500)
    assert State.load(desk.state.dump(), desk.stack).digest() == desk.state.digest()
    plain = lender(COIN=Cap(debt_max=1))
    assert not plain.state.cap_limit.size
    assert "ceiling" not in dict(plain.state.columns())


# ---------------------------------------------------------------- floors that sink


HOLDING = Cap(leave_share=200_000, leave_ns=200 * SECOND, leave_base=100_000_000)


def test_a_share_may_leave_and_the_rest_waits():
    """A thousand coins are held: a fifth may leave at once, then what time has set free."""
    desk = lender(COIN=HOLDING)
    assert codes(borrow(desk, 20_001, user=0)) == ["supply_floor_reached"]
    effects = borrow(desk, 20_000, user=0)
    assert [(e.slot, e.limit) for e in desk.of(CapMoved, effects)] == [(3, 800_000_000)]
    assert codes(borrow(desk, 1, user=0)) == ["supply_floor_reached"]
    desk.later(100)  # half of a fifth of what is left: 8 %
    assert codes(borrow(desk, 8_001, user=0)) == ["supply_floor_reached"]
    assert not codes(borrow(desk, 8_000, user=0))
    desk.later(10_000)
    assert codes(borrow(desk, 14_401, user=0)) == ["supply_floor_reached"]
    assert not codes(borrow(desk, 14_400, user=0))


def test_what_comes_may_leave_in_its_share_only_and_small_pools_are_free():
    desk = lender(COIN=HOLDING)
    borrow(desk, 20_000, user=0)
    repay(desk, 20_000, user=2)
    assert codes(borrow(desk, 20_000, user=2)) == []  # eight hundred of a thousand stay
    small = lender(COIN=replaced(HOLDING, leave_base=1_000_000_001))
    assert not codes(borrow(small, 100_000, user=0))


# ------------------------------------------------------------------- rules as kernels


def ceiling_twin(borrowed, last, share, elapsed, duration, base, most) -> int:
    room = borrowed * share // PPM
    grown = min(last + room * min(elapsed, duration) // duration, borrowed + room)
    return min(max(grown, base), most)


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(1, PPM),
    st.integers(0, 10**12),
    st.integers(1, 10**12),
    st.integers(0, 10**6),
    st.integers(10**6, 10**12),
)
def test_a_ceiling_is_its_twin(borrowed, last, share, elapsed, duration, base, most):
    args = (borrowed, last, share, elapsed, duration, base, most)
    found = debt_ceiling(*args, PPM)
    assert found == ceiling_twin(*args) == unbounded(debt_ceiling)(*args, PPM)
    after = ceiling_after(borrowed, found, share, base, most, PPM)
    assert base <= after <= max(base, min(found, most))
    assert after == unbounded(ceiling_after)(borrowed, found, share, base, most, PPM)


@given(
    st.integers(1, 10**12),
    st.integers(0, 10**12),
    st.integers(0, PPM),
    st.integers(0, 10**9),
    st.integers(1, 10**9),
)
def test_a_floor_sinks_slowly_and_never_below_its_share(supplied, last, share, elapsed, duration):
    floor = supply_floor(supplied, last, share, elapsed, duration, PPM)
    free = supplied * share // PPM
    sunk = last - free * min(elapsed, duration) // duration
    assert floor == (max(supplied - free, sunk) if last else 0)
    assert supply_floor(supplied, last, share, elapsed + 1, duration, PPM) <= floor
    assert floor_after(supplied, floor, share, supplied + 1, PPM) == 0
    assert floor_after(supplied, floor, share, supplied, PPM) == max(floor, supplied - free)


@given(st.integers(-2_000, 2_000))
def test_powers_of_a_step_are_near_and_rise(exponent):
    one = 2**60
    found = power_ratio(exponent, 10_015, 10_000, one, 10**12) if exponent < 900 else 0
    if exponent < 900:
        assert found == pytest.approx(1.0015**exponent * 10**12, rel=1e-9)
        below = power_ratio(exponent - 1, 10_015, 10_000, one, 10**12)
        assert below < found
        assert unbounded(power_ratio)(exponent, 10_015, 10_000, one, 10**12) == found


# ------------------------------------------------------------------------- histories


CAPPED = Stack.bind(
    replaced(
        STACKS[0].declaration,
        caps=Caps(
            markets={
                "*": Cap(open_interest_max=60_000 * 10**6),
                "ETH": Cap(debt_max=40_000 * 10**6, utilisation_max=500_000),
                "cash": Cap(debt_max=30_000 * 10**6),
            }
        ),
    ),
    VENUE,
)


@settings(max_examples=40)
@given(histories())
def test_no_request_takes_a_total_beyond_its_cap(history):
    """Whatever happens: a total that a request leaves larger than before is within its cap."""
    for world, event in unfold(history, CAPPED):
        asked = isinstance(event, Withdrawn | Transferred) or type(event).__name__ == "Traded"
        book = world.state.book
        before = totals(book)
        try:
            effects = world.take(event)
        except CapacityExceeded:
            continue
        if not asked or getattr(event, "settled", False) or codes(effects):
            continue
        after, marks = totals(book), world.state.mark
        for i, worth in ((0, 1_000), (3, 100_000)):
            for side in (0, 1):
                if after[i][side] > before[i][side]:
                    assert after[i][side] * int(marks[i]) * worth <= 60_000 * 10**6
        if getattr(event, "instrument", 1) != 1:
            continue  # an inverse contract's loss in coins is a fact, not a request to borrow them
        held, owed = after[1]
        if owed > before[1][1]:
            assert owed * int(marks[1]) <= 40_000 * 10**6 + int(marks[1])
        if owed > before[1][1] or held < before[1][0]:
            assert owed * 2 <= held or owed == 0
        if type(event).__name__ != "Traded" and after[CASH] > before[CASH]:
            assert after[CASH] <= 30_000 * 10**6


def totals(book) -> dict[int, tuple[int, int]]:
    sides = {
        i: (int(book.long_open[i]), int(book.short_open[i])) for i in range(book.long_open.size)
    }
    users = book.cash[U : book.accounts].tolist()
    return sides | {CASH: -sum(min(c, 0) for c in users)}


# ---------------------------------------------------------------------- declarations


def test_a_stack_file_selects_it(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_text(
        'name = "x"\n[caps.markets.COIN]\ndebt_max = 5_000_000\nutilisation_max = 900_000\n',
        encoding="utf-8",
    )
    loaded = SafeguardStack.load(path)
    assert loaded.caps.markets["COIN"].debt_max == 5_000_000
    assert sum(line.startswith("caps, COIN") for line in loaded.describe()) == 2
    assert Caps().describe() == []
    assert "growing" in EXPANDING.describe("COIN")[0]
    assert "leaves in 200 s" in HOLDING.describe("COIN")[0]
    assert "one side" in Cap(open_interest_max=1).describe("PERP")[0]


def test_a_name_that_no_market_has_is_refused_unless_a_default_stands_in():
    with pytest.raises(ConfigInvalid, match=r"caps\.markets\.GOLD"):
        lender(GOLD=Cap(debt_max=1))
    lender(**{"GOLD": Cap(debt_max=1), "*": Cap()})


def test_amounts_take_the_scale_of_a_recording():
    half = venue_of(coin(), scale=500_000)
    bound = Caps(markets={"COIN": EXPANDING}).bound(half).markets["COIN"]
    assert (bound.debt_base, bound.debt_max) == (2_500_000, 5_000_000)


@table(
    ("cap", "key"),
    [
        ({"debt_max": -1}, "debt_max"),
        ({"utilisation_max": PPM + 1}, "utilisation_max"),
        ({"expand_ns": 1}, "expand_ns"),
        ({"expand_ns": 1, "expand_share": 1, "debt_base": 2, "debt_max": 1}, "expand_ns"),
        ({"expand_ns": 1, "expand_share": 1, "debt_max": 1}, "expand_ns"),
        ({"leave_ns": 1}, "leave_ns"),
        ({"leave_share": 1}, "leave_ns"),
        ({"leave_ns": 1, "leave_share": PPM + 1}, "leave_share"),
        (
            {"expand_ns": 1, "expand_share": PPM + 1, "debt_base": 1, "debt_max": 1},
            "expand_share",
        ),
    ],
)
def test_caps_that_contradict_themselves_are_refused(cap, key):
    with pytest.raises(ConfigInvalid, match=rf"caps\.markets\.COIN\.{key}"):
        Caps(markets={"COIN": Cap(**cap)})


def test_columns_and_outside_traders_are_left_alone():
    """The other side of a trade outside the venue is nobody's open interest."""
    desk = lender(PERP=Cap(open_interest_max=10_000_000))
    assert not codes(desk.send(desk.trade(1, -100, 100, i=1, maker=EXTERNAL)))
    assert desk.state.book.short_open.tolist() == column(0, 100).tolist()
