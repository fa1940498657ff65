"""The backstop in the engine: when it is asked, what it may take, and what nobody loses by it."""

from importlib.resources import as_file, files

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import LIMITS, Desk, U, coin, flat, inverse, perp, rows_of, rules, stack_of, venue_of
from tidegate.domain.book import EXTERNAL, FUND
from tidegate.domain.effects import (
    CommitmentKept,
    DeficitFound,
    Deleveraged,
    GuardMoved,
    OrdersPlaced,
    Rejected,
    TakenOver,
    WaitingMoved,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import ClockTicked, CommitmentMade, Deposited, OrdersExpired, Withdrawn
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.engine.commitments import free_margin
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.telling import Teller
from tidegate.engine.trail import Trail
from tidegate.ports import Record
from tidegate.safeguards.backstop import Backstop, LoanPool
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.stack import SafeguardStack
from tidegate.safeguards.waterfall import Tranche, Waterfall
from tidegate.testing import check_policy


TEN = rules(flat(100_000, 50_000))
DEEP = Backstop(offers_max=4, equity_below=666_667)
FUNDED = Waterfall(tranches=(Tranche(name="fund", initial=10**9),))


def desk(policy: Backstop = DEEP, cash: int = 60_000_000, lots: int = 100, **policies) -> Desk:
    """One long of 1,000 USD at ten times, and two providers with 200 USD each; the mark is 100."""
    d = Desk(venue_of(perp()), margin=TEN, backstop=policy, **policies)
    d.users([cash, 200_000_000, 200_000_000], [(0, 0, lots, 10_000)])
    d.price(10_000)
    return d


def commit(d: Desk, provider: int = 1, **changes) -> list:
    facts = {"long_max": 80, "short_max": 80, "discount": 10_000, "slope": 0} | changes
    return d.send(CommitmentMade(ts=d.now, account=U + provider, instrument=0, **facts))


def taken(effects) -> list[tuple[int, ...]]:
    """Return (account, provider, lots, discount, forgone, fed) of every fill, users from 0."""
    names = ("account", "provider", "lots", "discount", "forgone", "fed")
    return [
        (a - U, p - U, *rest)
        for e in effects
        if isinstance(e, TakenOver)
        for a, p, *rest in rows_of(e, *names)
    ]


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


# ------------------------------------------------------------------ when it is asked


@pytest.mark.parametrize(
    ("cash", "asked"),
    [
        # 100 lots at 9,700 ask 48,500,000; two thirds (666,667 ppm) of it are 32,333,349.5.
        (62_333_351, False),
        (62_333_350, False),
        (62_333_349, True),
    ],
)
def test_it_is_asked_below_its_share_of_maintenance(cash, asked):
    d = desk(cash=cash)
    commit(d)
    effects = d.later(1).price(9_700)
    assert bool(taken(effects)) == asked
    assert bool(d.of(OrdersPlaced, effects)) != asked  # else the market has it
    audit(d.state)


def test_it_is_asked_after_its_patience_and_not_a_nanosecond_before():
    patient = Backstop(offers_max=4, patience_ns=10 * SECOND)
    d = desk(patient, cash=75_000_000)
    commit(d)
    effects = d.price(9_700)  # 45,000,000 of 48,500,000
    began = d.now
    (waits,) = d.of(WaitingMoved, effects)
    assert unpack(waits.begun).tolist() == [U]
    (order,) = d.of(OrdersPlaced, effects)
    d.now = began + 10 * SECOND - 1
    d.send(OrdersExpired(ts=d.now, order=pack([order.first]), reason="late"))
    assert not taken(d.ask(ClockTicked(ts=d.now)))
    d.now = began + 10 * SECOND
    assert taken(d.tick()) == [(0, 1, -80, 10_000, 7_760_000, 0)]


def test_waiting_begins_anew_after_a_recovery():
    patient = Backstop(offers_max=4, patience_ns=10 * SECOND)
    d = desk(patient, cash=75_000_000)
    (order,) = d.of(OrdersPlaced, d.price(9_700))
    d.send(OrdersExpired(ts=d.now, order=pack([order.first]), reason="late"))
    (over,) = d.of(WaitingMoved, d.later(9).price(9_800))
    assert unpack(over.over).tolist() == [U]
    assert d.state.backing.since[U] == -1
    d.later(9).price(9_700)
    assert d.state.backing.since[U] == d.now


def test_nothing_is_taken_while_orders_are_in_flight():
    d = desk(cash=75_000_000)
    commit(d)
    d.price(9_700)
    assert not taken(d.later(1).price(9_500))  # 25 of 47.5: deep, and the market has it


def test_nothing_is_taken_on_a_halt_or_at_a_doubtful_price():
    halted = LadderBreaker(steps=(Step(rung="halt", distressed=1),))
    d = desk(breaker=halted)
    commit(d)
    assert not taken(d.later(1).price(9_700))
    d = desk(oracle=OracleGuard(confidence_max=1_000, liquidate_at_worst=1))
    commit(d)
    assert not taken(d.later(1).price(9_700, confidence=50))


def test_a_neutral_stack_hears_no_commitment_and_is_the_same_to_the_bit():
    d, plain = desk(Backstop()), Desk(venue_of(perp()), margin=TEN)
    assert commit(d) == []
    plain.users([60_000_000, 200_000_000, 200_000_000], [(0, 0, 100, 10_000)])
    plain.price(10_000)
    plain.send(Deposited(ts=plain.now, account=U - 1, amount=1))  # refused: it only counts
    assert d.state.digest() == plain.state.digest()
    assert not any(name.startswith("backing") for name, _ in d.state.columns())


# ------------------------------------------------------------------ what is taken


def test_the_cheapest_provider_comes_first_and_the_rest_waits():
    d = desk()
    commit(d, 1, discount=10_000)
    commit(d, 2, discount=5_000, long_max=60)
    effects = d.later(1).price(9_700)
    assert taken(effects) == [
        (0, 2, -60, 5_000, 2_910_000, 0),
        (0, 1, -40, 10_000, 3_880_000, 0),
    ]
    lots = [int(d.state.book.lots[d.state.book.head[U + k]]) for k in (1, 2)]
    assert lots == [40, 60]
    # The account keeps what it had at the mark, less the discounts: 30,000,000 - 6,790,000.
    assert d.state.book.cash[U] == 60_000_000 - 30_000_000 - 6_790_000
    assert not d.of(OrdersPlaced, effects)
    audit(d.state)


@pytest.mark.parametrize(("cash", "discount"), [(39_700_000, 10_000), (39_699_999, 0)])
def test_an_account_gives_up_no_more_than_it_has(cash, discount):
    """Its equity at 9,700 is 9.7 USD or a hair less: one percent of its position."""
    d = Desk(venue_of(perp()), margin=TEN, backstop=DEEP)
    d.users([cash, 200_000_000], [(0, 0, 100, 10_000)])
    d.price(10_500)
    commit(d, discount=10_000, long_max=100)
    fills = taken(d.later(1).price(9_700))
    assert [f[3] for f in fills] == ([discount] if discount else [])
    assert d.state.book.cash[U] == (0 if fills else cash)


def test_a_short_is_taken_over_above_the_mark():
    d = desk(lots=-100)
    commit(d, short_max=100)
    assert taken(d.later(1).price(10_300)) == [(0, 1, 100, 10_000, 10_300_000, 0)]
    assert d.state.book.cash[U] == 60_000_000 - 30_000_000 - 10_300_000
    audit(d.state)


@pytest.mark.parametrize(
    ("cash", "lots"),
    [(97_000_000, 100), (97_000_001, 100), (48_500_001, 49), (48_500_000, 49), (48_499_999, 49)],
)
def test_a_provider_stays_at_or_above_initial_margin(cash, lots):
    """A lot at 9,700 asks 970,000; 50 of them 48,500,000, less two for rounding."""
    d = Desk(venue_of(perp()), margin=TEN, backstop=DEEP)
    d.users([60_000_000, 200_000_000], [(0, 0, 100, 10_000)])
    d.price(10_000)
    commit(d, long_max=100, short_max=0)
    d.send(_withdraw(d, 200_000_000 - cash))
    fills = taken(d.later(1).price(9_700))
    assert abs(-fills[0][2] - lots) <= 1
    assert free_margin(d.state, d.state.mark, U + 1, d.state.facts) >= 0


def test_what_a_provider_took_from_one_it_has_no_margin_for_from_the_next():
    """Equity of 150 lots' initial margin, and two accounts with a hundred lots each."""
    d = Desk(venue_of(perp()), margin=TEN, backstop=DEEP)
    accounts = [60_000_000, 60_000_000, 200_000_000]
    d.users(accounts, [(0, 0, 100, 10_000), (1, 0, 100, 10_000)])
    d.price(10_000)
    commit(d, 2, long_max=200, short_max=0)
    away = 200_000_000 - 150 * 970_000
    d.send(Withdrawn(ts=d.now, account=U + 2, amount=away))
    fills = taken(d.later(1).price(9_700))
    assert [f[0] for f in fills] == [0, 1]
    assert 148 <= -sum(f[2] for f in fills) <= 150
    assert free_margin(d.state, d.state.mark, U + 2, d.state.facts) >= 0
    audit(d.state)


def _withdraw(d: Desk, amount: int):
    return Withdrawn(ts=d.now, account=U + 1, amount=amount)


def test_a_provider_below_maintenance_or_of_the_same_owner_is_not_asked():
    d = Desk(venue_of(perp(), perp("OTHER")), margin=TEN, backstop=DEEP)
    d.users([60_000_000, 200_000_000], [(0, 0, 100, 10_000), (1, 1, 1, 10_000)])
    d.price(10_000)
    d.price(10_000, i=1)
    commit(d)
    d.state.book.owner[U + 1] = U
    assert not taken(d.ask(d.later(1).priced(9_700)))
    d.state.book.owner[U + 1] = U + 1
    assert taken(d.ask(d.priced(9_700)))
    d.state.book.cash[U + 1] -= 199_950_000
    d.state.book.cash[EXTERNAL] += 199_950_000
    assert not taken(d.ask(d.priced(9_700)))


@pytest.mark.parametrize(
    ("guard", "lots"),
    [
        ({"account_max": 96_999_999}, 9),
        ({"account_max": 97_000_000}, 10),
        ({"market_max": 97_000_000}, 10),
        ({"market_max": 97_000_000, "account_max": 9_700_000}, 1),
        ({"account_max": 9_699_999}, 0),
    ],
)
def test_guards_bound_what_is_taken(guard, lots):
    d = desk(Backstop(offers_max=4, equity_below=666_667, **guard))
    commit(d)
    effects = d.later(1).price(9_700)
    assert sum(-f[2] for f in taken(effects)) == lots
    assert len(d.of(GuardMoved, effects)) == (lots > 0)


@pytest.mark.parametrize(("rows", "fills"), [(3, 0), (4, 1)])
def test_nothing_is_taken_where_a_provider_might_find_no_row(rows, fills):
    """Two rows are in use; both providers could open one."""
    limits = msgspec.structs.replace(LIMITS, positions_max=rows)
    d = Desk(venue_of(perp(), limits=limits), margin=TEN, backstop=DEEP)
    d.users([60_000_000, 200_000_000, 200_000_000], [(0, 0, 100, 10_000)])
    d.price(10_000)
    commit(d, 1, long_max=100)
    commit(d, 2, long_max=100)
    assert len(taken(d.later(1).price(9_700))) == fills
    audit(d.state)


def test_a_guard_drains_over_its_window():
    guard = Backstop(offers_max=4, equity_below=666_667, account_max=96_000_000, window_ns=SECOND)
    d = desk(guard)
    commit(d)
    assert sum(-f[2] for f in taken(d.later(1).price(9_600))) == 10
    assert sum(-f[2] for f in taken(d.tick(0.5))) == 5
    assert sum(-f[2] for f in taken(d.tick(60))) == 10


def test_a_part_of_the_discount_feeds_the_fund():
    half = Backstop(offers_max=4, equity_below=666_667, provider_share=500_000)
    d = desk(half, waterfall=FUNDED)
    commit(d, long_max=100)
    assert taken(d.later(1).price(9_700)) == [(0, 1, -100, 10_000, 9_700_000, 4_850_000)]
    assert d.state.book.cash[FUND] == 10**9 + 4_850_000
    bare = desk(half)  # no fund to feed: the account keeps that part
    commit(bare, long_max=100)
    assert taken(bare.later(1).price(9_700)) == [(0, 1, -100, 10_000, 4_850_000, 0)]
    audit(d.state)


# ------------------------------------------------------------------ the bankrupt


BEARS = Backstop(offers_max=4, equity_below=666_667, fund_bears=True)


@pytest.mark.parametrize(
    ("policy", "held", "fills"),
    [
        (DEEP, 10**9, 0),
        (BEARS, 19_400_000, 1),  # lacks 10,000,000 at 9,300 and gives up 9,300,000 of discount
        (BEARS, 19_300_000, 1),
        (BEARS, 19_299_999, 0),
    ],
)
def test_a_bankrupt_account_is_taken_over_while_the_fund_can_pay(policy, held, fills):
    fund = Waterfall(tranches=(Tranche(name="fund", initial=held),))
    d = desk(policy, waterfall=fund)
    commit(d, long_max=100)
    assert len(taken(d.later(1).price(9_300))) == fills
    if fills:
        (deficit,) = d.of(DeficitFound, d.later(1).tick())
        assert (deficit.amount, deficit.uncovered) == (19_300_000, 0)
    audit(d.state)


@pytest.mark.parametrize(("held", "fills"), [(38_600_000, 2), (38_599_999, 1)])
def test_the_fund_is_promised_to_one_bankrupt_after_the_other(held, fills):
    """Two accounts need 19,300,000 each, and the step asks the fund for both."""
    fund = Waterfall(tranches=(Tranche(name="fund", initial=held),))
    d = Desk(venue_of(perp()), margin=TEN, backstop=BEARS, waterfall=fund)
    d.users([60_000_000, 60_000_000, 10**9], [(0, 0, 100, 10_000), (1, 0, 100, 10_000)])
    d.price(10_000)
    commit(d, 2, long_max=200)
    assert len(taken(d.later(1).price(9_300))) == fills
    d.later(1).tick()
    assert d.state.book.cash[FUND] == held - fills * 19_300_000
    audit(d.state)


def test_providers_come_before_winners():
    """The same gap, with and without somebody behind the market."""
    fair = Waterfall(deleverage="pro_rata", tranches=FUNDED.tranches, fund_share=0)

    def gap(policy: Backstop) -> list:
        d = Desk(venue_of(perp()), margin=TEN, backstop=policy, waterfall=fair)
        people = [60_000_000, 200_000_000, 500_000_000]
        d.users(people, [(0, 0, 100, 10_000), (2, 0, -100, 10_000)])
        d.price(10_000)
        commit(d, long_max=100)
        return d.later(1).price(9_300)

    assert len(taken(gap(BEARS))) == 1
    assert not [e for e in gap(BEARS) if isinstance(e, Deleveraged)]
    assert [e for e in gap(Backstop()) if isinstance(e, Deleveraged)]


def test_a_provider_that_wins_is_not_deleveraged_in_the_same_step():
    """It holds the other side, at a profit, and just took some of it away."""
    fair = Waterfall(deleverage="pro_rata", deleverage_when="bankrupt")
    d = Desk(venue_of(perp()), margin=TEN, backstop=DEEP, waterfall=fair)
    d.users(
        [60_000_000, 500_000_000, 10_000_000],
        [(0, 0, 60, 10_000), (1, 0, -100, 10_000), (2, 0, 50, 10_000)],
    )
    d.price(10_000)
    commit(d, long_max=100)
    d.later(1).price(9_350)
    audit(d.state)
    row = int(d.state.book.head[U + 1])
    assert -100 <= d.state.book.lots[row] <= 0


# ------------------------------------------------------------------ commitments


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"account": EXTERNAL}, "account_unknown"),
        ({"instrument": 2}, "instrument_unknown"),
        ({"instrument": 1}, "instrument_unknown"),  # a spot asset
        ({"long_max": -1}, "amount_must_be_positive"),
        ({"short_max": -1}, "amount_must_be_positive"),
        ({"long_max": 10**6 + 1}, "amount_exceeds_limit"),
        ({"discount": -1}, "rate_out_of_range"),
        ({"slope": -1}, "rate_out_of_range"),
        ({"discount": PPM, "slope": 1}, "rate_out_of_range"),
        ({"discount": PPM - 1, "slope": 1}, ""),
        ({"long_max": 201}, "below_initial_margin"),
        ({"short_max": 201}, "below_initial_margin"),
        ({"long_max": 200, "short_max": 200}, ""),
    ],
)
def test_a_commitment_is_refused(changes, code):
    d = Desk(venue_of(perp(), coin()), margin=TEN, backstop=DEEP)
    d.users([0, 200_000_000])
    d.price(10_000)
    facts = {"account": U + 1, "instrument": 0, "long_max": 1, "short_max": 1, "discount": 0}
    effects = d.send(CommitmentMade(ts=d.now, **(facts | changes)))
    assert codes(effects) == ([code] if code else [])


def test_an_unpriced_market_takes_no_commitment_but_its_withdrawal():
    d = Desk(venue_of(perp()), margin=TEN, backstop=DEEP)
    d.users([0, 200_000_000])
    assert codes(commit(d)) == ["instrument_has_no_mark"]
    assert codes(commit(d, long_max=0, short_max=0)) == ["nothing_to_reduce"]


def test_a_commitment_replaces_the_one_before_and_slots_run_out():
    d = desk(Backstop(offers_max=1, equity_below=666_667))
    commit(d, 1)
    assert codes(commit(d, 2)) == ["commitments_are_full"]
    (kept,) = d.of(CommitmentKept, commit(d, 1, long_max=0, short_max=0))
    assert kept.slot == 0
    (kept,) = d.of(CommitmentKept, commit(d, 2))
    assert kept.slot == 0
    commit(d, 2, long_max=0, short_max=0)
    assert not taken(d.later(1).price(9_700))


def test_state_with_a_backstop_survives_a_snapshot():
    d = desk(Backstop(offers_max=4, equity_below=666_667, account_max=97_000_000))
    commit(d)
    d.later(1).price(9_700)
    again = State.load(d.state.dump(), d.stack)
    assert again.digest() == d.state.digest()
    assert again.backing.owner_spent[U] == 97_000_000


def test_an_inverse_is_taken_over_in_its_coin():
    venue = venue_of(inverse(), coin())
    d = Desk(venue, margin=TEN, backstop=DEEP)
    d.users([0, 0], [])
    d.price(10_000, i=1)
    d.price(10_000, i=0)
    for user, amount in ((0, 120), (1, 40_000)):
        d.send(Deposited(ts=d.now, account=U + user, amount=amount, asset=1))
    assert codes(d.send(d.trade(0, 1_000, 10_000))) == []
    assert codes(commit(d, long_max=2_000, short_max=0, discount=5_000)) == []
    fills = taken(d.later(1).price(9_000))
    assert fills
    audit(d.state)
    d.price(9_000, i=1)
    audit(d.state)


# ------------------------------------------------------------------ words and files


def test_an_explanation_names_the_provider_and_the_price():
    d = desk()
    commit(d)
    event = d.later(1).priced(9_700)
    effects = d.send(event)
    record = Record(0, event, tuple(effects))
    for user, words in ((0, "taken over by user 1 at 1 %"), (1, "took 8.0 PERP over from user 0")):
        trail = Trail(U + user)
        trail.follow(record)
        teller = Teller(d.stack, tuple(d.state.names))
        assert any(words in said for said in teller.deeds(trail.last, U + user))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"offers_max": 1}, "backstop"),
        ({"equity_below": 1}, "backstop"),
        ({"patience_ns": 1}, "backstop"),
        ({"offers_max": -1, "equity_below": 1}, "backstop.offers_max"),
        ({"offers_max": 4_097, "equity_below": 1}, "backstop.offers_max"),
        ({"offers_max": 1, "equity_below": PPM + 1}, "backstop.equity_below"),
        ({"offers_max": 1, "equity_below": 1, "discount_max": -1}, "backstop.discount_max"),
        ({"offers_max": 1, "equity_below": 1, "provider_share": -1}, "backstop.provider_share"),
        ({"offers_max": 1, "patience_ns": -1}, "backstop.patience_ns"),
        ({"offers_max": 1, "patience_ns": 1, "window_ns": 0}, "backstop.window_ns"),
        ({"offers_max": 1, "patience_ns": 1, "account_max": -1}, "backstop.account_max"),
    ],
)  # fmt: skip
def test_impossible_backstops_are_refused(fields, where):
    with pytest.raises(ConfigInvalid) as error:
        Backstop(**fields)
    assert error.value.where == where


@pytest.mark.parametrize(
    "fields",
    [{"depositors_max": -1}, {"depositors_max": 65_537}, {"penalty": PPM + 1}, {"left_min": 0}],
)
def test_impossible_pools_are_refused(fields):
    with pytest.raises(ConfigInvalid, match=r"backstop\.pool"):
        LoanPool(**fields)


def test_a_backstop_is_read_back_in_plain_language():
    whole = Backstop(
        offers_max=1,
        equity_below=666_667,
        patience_ns=SECOND,
        provider_share=900_000,
        market_max=10**12,
        account_max=10**12,
        pool=LoanPool(depositors_max=1),
    )
    said = " ".join(whole.describe())
    for words in ("66.6667 %", "after 1 s", "90 %", "pool", "one market", "one owner"):
        assert words in said
    assert Backstop().describe() == ["backstop: nobody stands behind the market"]


def test_market_caps_take_the_scale_of_a_recording_and_never_become_none():
    policy = Backstop(offers_max=1, equity_below=1, market_max=10, account_max=10)
    for scale, scaled in ((PPM, 10), (100_000, 1), (1, 1)):
        bound = stack_of(venue_of(perp(), scale=scale), backstop=policy).declaration.backstop
        assert (bound.market_max, bound.account_max) == (scaled, 10)
    assert msgspec.structs.replace(policy, market_max=0).scaled(venue_of(perp())).market_max == 0


# ------------------------------------------------------------------ all histories


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-600, 500), st.booleans()), min_size=3, max_size=15),
    st.lists(st.integers(-120, 120).filter(bool), min_size=4, max_size=4),
    st.booleans(),
    st.integers(0, 3),
)
def test_takeovers_cost_nobody_what_is_not_theirs(moves, sizes, fund_bears, slope):
    """Books balance, providers keep their margin, and no account is made bankrupt by a discount."""
    policy = Backstop(
        offers_max=4,
        equity_below=900_000,
        fund_bears=fund_bears,
        account_max=900_000_000,
        provider_share=800_000,
    )
    fund = Waterfall(
        tranches=(Tranche(name="fund", initial=50_000_000),),
        deleverage="pro_rata",
        socialise="equity",
    )
    d = Desk(venue_of(perp()), margin=TEN, backstop=policy, waterfall=fund)
    held = [(n, 0, lots, 10_000) for n, lots in enumerate(sizes)]
    d.users([130_000_000] * 4 + [60_000_000, 300_000_000], held)
    price = 10_000
    d.price(price)
    for provider in (4, 5):
        commit(d, provider, long_max=40, short_max=40, slope=slope * 20_000)
    for change, expires in moves:
        price = max(2_000, price + change)
        before = {a: equity_at(d, a, price) for a in range(U, U + 6)}
        effects = d.later(1).price(price)
        audit(d.state)
        if effects and isinstance(effects[-1], Rejected):
            continue
        fills = taken(effects)
        for provider in {p for _, p, *_ in fills}:
            assert free_margin(d.state, d.state.mark, U + provider, d.state.facts) >= 0
        for account in {a for a, *_ in fills}:
            given_up = sum(f[4] for f in fills if f[0] == account)
            equity = before[U + account]
            assert equity < 0 or given_up <= equity
            assert equity >= 0 or fund_bears
            row = int(d.state.book.head[U + account])
            if row >= 0 and equity >= 0:
                # Never worse: what is left stands on no less equity for its size than before.
                left = abs(int(d.state.book.lots[row]))
                whole = left + sum(abs(f[2]) for f in fills if f[0] == account)
                assert equity_at(d, U + account, price) * whole >= equity * left - whole
        if expires:
            for order in d.of(OrdersPlaced, effects):
                ids = np.arange(order.first, order.first + len(order.lots) // 8)
                d.send(OrdersExpired(ts=d.now, order=pack(ids), reason="test"))


def equity_at(d: Desk, account: int, price: int) -> int:
    book, row = d.state.book, int(d.state.book.head[account])
    value = int(book.lots[row]) * price * 1_000 - int(book.cost[row]) if row >= 0 else 0
    return int(book.cash[account]) + value


def test_the_shipped_stack_is_the_guarded_one_with_a_backstop():
    stacks: dict[str, SafeguardStack] = {}
    for name in ("guarded", "backstop"):
        with as_file(files("tidegate.stacks") / f"{name}.toml") as path:
            stacks[name] = SafeguardStack.load(path)
    assert stacks["backstop"].backstop.on
    plain = msgspec.structs.replace(
        stacks["backstop"],
        name="guarded",
        about=stacks["guarded"].about,
        backstop=Backstop(),
    )
    assert plain == stacks["guarded"]


@pytest.mark.parametrize("policy", [Backstop(), DEEP, Backstop(offers_max=1, patience_ns=1)])
def test_it_keeps_what_every_policy_promises(policy):
    check_policy(policy)
