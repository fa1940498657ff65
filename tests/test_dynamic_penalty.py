"""Penalties that know the account: rates, what they may take, and that splitting never pays."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, column, facts_of, flat, perp, replaced, rules, venue_of
from desk import book_of as book_with
from outside import Margin
from strategies import GUARDED, STACKS, drawn, unfold
from tidegate.domain.book import FUND, row_of
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels.dynamic_penalty import (
    FIXED,
    HEALTH_PRICE,
    LINEAR_HEALTH,
    RISING,
    charge_fills,
    penalty_rate,
    penalty_room,
)
from tidegate.kernels.penalty import penalties
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.penalty import (
    FixedPenalty,
    HealthPenalty,
    LinearPenalty,
    RisingPenalty,
)
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack
from tidegate.safeguards.waterfall import Tranche, Waterfall


ONE = venue_of(perp())
FUNDED = Waterfall(tranches=(Tranche(name="fund", initial=0),))
table = pytest.mark.parametrize


def rate_of(rule, *, equity, required=1_000, size=20_000, most=10_000, deviations=0, distress=0):
    return penalty_rate(rule.code, most, equity, required, size, deviations, distress, rule.rule())


# ------------------------------------------------------------------------------ rates


@table(
    ("rule", "equity", "rate"),
    [
        (FixedPenalty(), 999, 10_000),
        (FixedPenalty(), -5, 10_000),
        (LinearPenalty(least=400_000), 1_000, 4_000),  # on the line
        (LinearPenalty(least=400_000), 999, 4_006),  # a thousandth below: 40.06 % of it
        (LinearPenalty(least=400_000), 500, 7_000),
        (LinearPenalty(least=400_000), 1, 9_994),
        (LinearPenalty(least=400_000), 0, 10_000),
        (LinearPenalty(least=400_000), -100, 10_000),
        (LinearPenalty(least=0, deepest=800_000), 801, 9_950),
        (LinearPenalty(least=0, deepest=800_000), 800, 10_000),
        (LinearPenalty(least=0, deepest=800_000), 799, 10_000),
        (HealthPenalty(), 1_000, 0),
        (HealthPenalty(), 980, 1_001),  # 20 of 20,000 missing: 1 / 0.999 - 1
        (HealthPenalty(), 802, 9_998),
        (HealthPenalty(), 801, 10_000),
        (HealthPenalty(), -100_000, 10_000),
        (RisingPenalty(least=200_000), 0, 2_000),
        (RisingPenalty(least=200_000, per_distance=500_000), 900, 2_500),
        (RisingPenalty(least=200_000, per_distance=500_000), 0, 7_000),
        (RisingPenalty(least=200_000, per_distance=5_000_000), 0, 10_000),
    ],
)
def test_the_rate_follows_the_account(rule, equity, rate):
    assert rate_of(rule, equity=equity) == rate


@table(
    ("deviations", "distress", "rate"),
    [
        (0, 0, 2_000),
        (1_000_000, 0, 2_500),
        (3_000_000, 0, 3_500),
        (0, 100_000, 3_000),
        (3_000_000, 100_000, 4_500),
        (99_000_000, 1_000_000, 10_000),  # never more than all of it
    ],
)
def test_it_rises_with_volatility_and_congestion(deviations, distress, rate):
    rule = RisingPenalty(least=200_000, per_deviation=50_000, per_distress=1_000_000)
    assert rate_of(rule, equity=999, deviations=deviations, distress=distress) == rate


def rate_twin(kind, most, equity, required, size, deviations, distress, rule) -> int:
    least, deepest, per_distance, per_deviation, per_distress = rule
    health = Fraction(equity, required) if required else Fraction(1_000)
    health = min(floor(health * PPM), PPM) if equity > 0 else 0
    if kind == FIXED:
        return most
    if kind == LINEAR_HEALTH:
        share = PPM
        if health > deepest:
            share = least + (PPM - least) * (PPM - health) // (PPM - deepest)
        return most * share // PPM
    if kind == HEALTH_PRICE:
        factor = max(1, max(0, min(size, size - required + equity)) * PPM // size) if size else PPM
        return min(most, PPM * PPM // factor - PPM)
    share = least + per_distance * (PPM - health) // PPM
    share += deviations * per_deviation // PPM + per_distress * distress // PPM
    return most * min(share, PPM) // PPM


@given(
    st.sampled_from((FIXED, LINEAR_HEALTH, HEALTH_PRICE, RISING)),
    st.integers(0, PPM),
    st.integers(-(10**9), 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**10),
    st.integers(0, 100 * PPM),
    st.integers(0, PPM),
    st.tuples(st.integers(0, PPM), st.integers(0, PPM - 1), *[st.integers(0, 10 * PPM)] * 3),
)
def test_the_rate_is_its_twin(kind, most, equity, required, size, deviations, distress, rule):
    args = (kind, most, equity, required, size, deviations, distress)
    found = penalty_rate(*args, column(*rule))
    assert found == rate_twin(*args, rule)
    assert unbounded(penalty_rate)(*args, list(rule)) == found
    assert 0 <= found <= most
    lower = penalty_rate(kind, most, equity - 1, *args[3:], column(*rule))
    assert lower >= found or equity <= 0  # worse health never pays less


# ----------------------------------------------------------------------- what it may take


@table(
    ("before", "after", "debt_rate", "room"),
    [
        ((100, 100, 1_000), (100, 50, 500), 0, 50),  # half is closed: half may go
        ((100, 100, 1_000), (70, 50, 500), 0, 20),  # of which the fill has cost 30 already
        ((100, 100, 1_000), (50, 50, 500), 0, 0),
        ((100, 100, 1_000), (49, 50, 500), 0, -1),
        ((100, 100, 1_000), (100, 0, 0), 0, 100),
        ((100, 100, 1_000), (100, 100, 900), 0, 0),  # it asks for as much as before
        ((100, 100, 1_000), (100, 101, 500), 0, -1),  # it asks for more than before
        ((100, 100, 1_000), (100, 50, 800), 0, 20),  # the other measure binds
        ((1_000, 1_000, 9_000), (1_000, 500, 4_500), 250_000, 399),  # 500 * 1000 / 1250 - 1
    ],
)
def test_the_room_of_a_penalty(before, after, debt_rate, room):
    assert penalty_room(column(*before), column(*after), debt_rate) == room


def charged(cash, fills, *, rule, kappa=None, guarded=0, rate=20_000, price=100, lots=20):
    """Return penalties of ``fills`` (lots, price) of one long bought at 100; 50,000 ppm to stay."""
    book = book_with(ONE, [cash], [(0, 0, lots, lots * 100_000)])
    facts = facts_of(ONE, rules(flat(penalty=rate)))
    n = len(fills)
    out, worse = np.zeros(n, np.int64), np.zeros(n, np.int64)
    before, after = np.zeros((n, 3), np.int64), np.zeros((n, 3), np.int64)
    sold, at = (np.array(c, np.int64) for c in zip(*fills, strict=True))
    charge_fills(
        book,
        facts,
        column(price),
        np.full(n, U),
        np.zeros(n, np.int64),
        -sold,
        -sold * at * 1_000,
        rule.code,
        rule.rule(),
        rule.kappa if kappa is None else kappa,
        guarded,
        column(0),
        0,
        out,
        worse,
        before,
        after,
    )
    return out.tolist(), worse.tolist()


@table(
    ("cash", "kappa", "taken"),
    [
        (100_000, PPM, 20_000),
        (20_000, PPM, 20_000),
        (19_999, PPM, 19_999),
        (21_053, 950_000, 20_000),  # 95 % of it is 20,000.35
        (21_052, 950_000, 19_999),
        (0, PPM, 0),
        (-1, PPM, 0),
    ],
)
def test_a_penalty_leaves_its_share_of_the_equity(cash, kappa, taken):
    assert charged(cash, [(10, 100)], rule=FixedPenalty(), kappa=kappa)[0] == [taken]


@table(
    ("price", "taken", "worse"),
    [
        (100, 20_000, 0),
        (99, 10_000, 0),  # 60,000 of equity, half closed: 30,000 may go, the fill took 10,000
        (98, 10_000, 0),
        (97, 0, 0),
        (96, 0, 1),
    ],
)
def test_a_fill_that_makes_it_worse_pays_nothing(price, taken, worse):
    rule = FixedPenalty()
    found = charged(60_000, [(10, price)], rule=rule, guarded=1, rate=20_000)
    if price == 99:
        taken = 20_000
    assert found == ([taken], [worse])


def test_the_second_fill_knows_the_first():
    """Ten and then the other ten: the rate is asked before each, of what is left then."""
    rule = LinearPenalty(least=0)
    whole, _ = charged(50_000, [(20, 100)], rule=rule)
    parts, _ = charged(50_000, [(10, 100), (10, 100)], rule=rule)
    assert whole == [20_000]  # half way down: half of two percent of 2,000,000
    assert parts[0] == 10_000
    assert parts[1] == 4_000  # 40,000 against 50,000: a fifth of two percent of 1,000,000


@pytest.mark.parametrize("guarded", [0, 1])
def test_a_fixed_rule_charges_what_the_plain_one_does(guarded):
    """On random worlds with loans the two kernels agree wherever nothing is guarded."""
    seen = 0
    for seed in range(20):
        for world, event in unfold(drawn(seed, 40, GUARDED)):
            try:
                effects = world.take(event)
            except CapacityExceeded:
                continue
            for order in (e for e in effects if isinstance(e, OrdersPlaced)):
                seen += same_penalties(world, order, guarded)
    assert seen > 20


def same_penalties(world, order, guarded: int) -> int:
    state = world.state
    account, i, lots = (
        np.frombuffer(c, np.int64) for c in (order.account, order.instrument, order.lots)
    )
    paid = np.array(
        [
            -Margin(state).worth(k, -n, 0, int(state.mark[k]), state.mark.tolist())
            for k, n in zip(i.tolist(), lots.tolist(), strict=True)
        ]
    )
    linear = state.facts.coin[i] < 0
    account, i, lots, paid = account[linear], i[linear], lots[linear], paid[linear]
    n = account.size
    plain, out, worse = (np.zeros(n, np.int64) for _ in range(3))
    before, after = np.zeros((n, 3), np.int64), np.zeros((n, 3), np.int64)
    args = (state.book, state.facts, state.mark, account, i, lots, paid)
    penalties(*args, plain)
    rule = FixedPenalty()
    charge_fills(
        *args, FIXED, rule.rule(), PPM, guarded, state.mark * 0, 0, out, worse, before, after
    )
    if guarded:
        assert (out <= plain + 2).all()
    else:
        assert np.abs(out - plain).max(initial=0) <= 2  # spot values round once more
    return n


# ---------------------------------------------------------------------- splitting, monotony


RULES = (
    FixedPenalty(),
    LinearPenalty(least=300_000),
    HealthPenalty(),
    RisingPenalty(per_distance=800_000, per_distress=500_000),
)


def fed(rule, accounts, price, guard="off") -> int:
    """Return what the fund got from closing all of these (cash, lots) at ``price``."""
    venue = venue_of(perp(price_max=10_000, tick_value=7))
    desk = Desk(
        venue,
        margin=rules(flat(100_000, 50_000, penalty=30_000)),
        waterfall=FUNDED,
        penalty=rule,
        never_worse=NeverWorse(mode=guard),
    )
    desk.users([c for c, _ in accounts], [(n, 0, k, 1_000) for n, (_, k) in enumerate(accounts)])
    for order in desk.of(OrdersPlaced, desk.price(price)):
        lots = np.frombuffer(order.lots, np.int64).tolist()
        for k, n in enumerate(lots):
            desk.fill(order.first + k, n, price)
    return int(desk.state.book.cash[FUND])


@settings(max_examples=60)
@given(
    st.sampled_from(RULES),
    st.integers(1, 400),
    st.integers(2, 5),
    st.integers(300, 1_200),
    st.integers(950, 1_000),
    st.sampled_from(["off", "incentives"]),
)
def test_splitting_an_account_never_pays(rule, lots, parts, cash, price, guard):
    """The same holdings in equal parts pay what the whole paid, but for one unit each."""
    whole = fed(rule, [(cash * lots * parts, lots * parts)], price, guard)
    split = fed(rule, [(cash * lots, lots)] * parts, price, guard)
    assert split >= whole - parts


# ------------------------------------------------------------------------------- the engine


def desk_with(rule, **policies) -> Desk:
    desk = Desk(
        ONE,
        margin=rules(flat(100_000, 50_000, penalty=20_000)),
        waterfall=FUNDED,
        penalty=rule,
        **policies,
    )
    desk.users([140_000], [(0, 0, 10, 100)])
    return desk


@table(
    ("rule", "fund"),
    [
        (FixedPenalty(), 18_000),  # two percent of 900,000
        (LinearPenalty(least=500_000), 9_999),  # 40,000 of 45,000: 55.5555 % of two percent
        (HealthPenalty(), 5_028),  # 5,000 of 900,000 are missing: 0.5587 %
        (RisingPenalty(least=0, per_distress=500_000), 9_000),  # everybody is in distress
    ],
)
def test_a_stack_chooses_what_a_fill_costs(rule, fund):
    desk = desk_with(rule)
    (order,) = desk.of(OrdersPlaced, desk.price(90))
    desk.fill(order.first, -10, 90)
    assert int(desk.state.book.cash[FUND]) == fund


def test_the_planner_sizes_by_what_the_line_pays():
    """A dearer penalty asks for a larger close; a dynamic one counts as it begins."""
    planner = StagedPlanner(target=1_200_000)

    def closes(rule) -> int:
        desk = desk_with(rule, planner=planner)
        (order,) = desk.of(OrdersPlaced, desk.price(90))
        return -int(np.frombuffer(order.lots, np.int64)[0])

    # (54,000 - 40,000) / (54,000 - 18,000), of ten lots, and with nothing to pay.
    assert closes(FixedPenalty()) == ceil(Fraction(14_000, 36_000) * 10)
    assert closes(HealthPenalty()) == ceil(Fraction(14_000, 54_000) * 10)
    assert closes(LinearPenalty(least=500_000)) == ceil(Fraction(14_000, 45_000) * 10)


def test_a_loan_pays_out_of_what_it_sold():
    """Coins against owed cash, at 130 % to stay: the penalty deepens the debt it is paid from."""
    margin = replaced(rules(flat(0, 0, penalty=130_000)), cash_debt_maintenance=300_000)
    desk = Desk(
        venue_of(coin(units=1, lots_max=1_000, open_interest_max=10_000)),
        margin=replaced(margin, cash_debt_initial=300_000),
        waterfall=FUNDED,
        planner=StagedPlanner(close_fraction=500_000),
        never_worse=NeverWorse(mode="incentives"),
    )
    desk.users([-80_000], [(0, 0, 10, 1)])
    (order,) = desk.of(OrdersPlaced, desk.price(1))  # 100,000 of coins for 80,000: 20,000 of 24,000
    before = Margin(desk.state).totals(U, [1])
    desk.fill(order.first, -5, 1)
    after = Margin(desk.state).totals(U, [1])
    assert int(desk.state.book.cash[FUND]) == 6_500  # 13 % of 50,000 would leave it no worse
    assert after[0] * before[1] >= before[0] * after[1]
    assert row_of(desk.state.book, U, 0) >= 0


# ---------------------------------------------------------------------------- declarations


def test_a_stack_file_selects_it(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_text('name = "x"\n[penalty]\nkind = "linear"\nleast = 300_000\n', encoding="utf-8")
    loaded = SafeguardStack.load(path)
    assert loaded.penalty == LinearPenalty(least=300_000)
    assert any(line.startswith("penalty:") for line in loaded.describe())
    path.write_text('name = "x"\n[penalty]\nkind = "generous"\n', encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="generous"):
        SafeguardStack.load(path)


@table(
    ("make", "key"),
    [
        (lambda: FixedPenalty(kappa=PPM + 1), "kappa"),
        (lambda: LinearPenalty(least=-1), "least"),
        (lambda: LinearPenalty(least=PPM + 1), "least"),
        (lambda: LinearPenalty(deepest=PPM), "deepest"),
        (lambda: RisingPenalty(per_distance=-1), "per_distance"),
        (lambda: RisingPenalty(per_deviation=1_000 * PPM + 1), "per_deviation"),
    ],
)
def test_what_no_penalty_can_be_is_refused(make, key):
    with pytest.raises(ConfigInvalid, match=rf"penalty\.{key}"):
        make()


def test_every_kind_says_what_it_does():
    assert FixedPenalty().describe() == []
    for rule in (*RULES[1:], FixedPenalty(kappa=900_000)):
        assert "equity left" in " ".join(rule.describe())
    assert "4 times of the venue" in " ".join(RisingPenalty(per_distress=4 * PPM).describe())
    assert STACKS[GUARDED].declaration.penalty.neutral
