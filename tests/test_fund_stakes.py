"""Stakes in the fund, tranches of one market, and losses that are shared by lots or balances."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from desk import Desk, coin, column, flat, health_of, perp, replaced, rows_of, rules, venue_of
from tidegate.domain.book import FIRST_USER, FUND
from tidegate.domain.effects import DeficitFound, Deleveraged, OrdersPlaced, Posted, Rejected
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import FundStaked, Unstaked, UnstakeRequested
from tidegate.domain.payers import LastMarketKept, StakeMoved
from tidegate.domain.units import PPM, SECOND, unbounded
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.kernels import insurance, stake
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.waterfall import Tranche, Waterfall


U = FIRST_USER
USD = 1_000_000
DAY = 86_400
MANY = settings(max_examples=150, deadline=None)


# Shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "total", "vault", "shares"),
    [(5, 0, 0, 5), (5, 10, 10, 5), (5, 10, 20, 2), (5, 20, 10, 10), (5, 10, 0, 0), (1, 10, 11, 0)],
)
def test_a_stake_buys_shares_at_the_present_worth(amount, total, vault, shares):
    assert stake.shares_for(amount, total, vault) == shares


@MANY
@given(st.integers(1, 2**50), st.integers(0, 2**50), st.integers(0, 2**50), st.integers(1, 2**50))
def test_staking_and_leaving_at_once_gains_nothing(amount, others, gains, lost):
    """Whatever happened to the vault before: rounding is for the others, by less than a share."""
    # Nobody's shares are worth nothing: a tranche that takes stakes begins with the venue's own.
    total, vault = others, max(0, others + gains - lost) if others else 0
    assume(not vault or amount * total // vault + total < 2**62)
    shares = stake.shares_for(amount, total, vault)
    assert shares == unbounded(stake.shares_for)(amount, total, vault)
    if total and not vault:
        assert shares == 0
        return
    back = stake.stake_value(shares, total + shares, vault + amount)
    assert back <= amount
    # The others lose nothing: what their shares were worth they still are.
    if total:
        assert stake.stake_value(total, total + shares, vault + amount) >= vault


@MANY
@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(1, 10**10), st.integers(0, 10**10))
def test_who_stays_after_asking_keeps_no_gain(shares, others, vault, value):
    """After the lost shares are gone, the rest is worth what was asked for, within a share."""
    total = shares + others
    lost = stake.shares_forfeited(shares, value, total, vault)
    assert lost == unbounded(stake.shares_forfeited)(shares, value, total, vault)
    assert 0 <= lost <= shares
    worth = stake.stake_value(shares, total, vault)
    if worth <= value:
        assert lost == 0
    elif value < vault:
        left = stake.stake_value(shares - lost, total - lost, vault)
        assert left <= value


# Events ---------------------------------------------------------------------------------------


def staked(initial: int = 100, **tranche) -> Desk:
    facts = {"name": "staked", "initial": initial * USD, "stakes": True} | tranche
    desk = Desk(
        venue_of(perp()),
        margin=rules(flat(20_000, 10_000)),
        waterfall=Waterfall(tranches=(Tranche(**facts),), socialise="equity"),
    )
    desk.users([300 * USD, 100 * USD])
    return desk


def stakes(desk: Desk, user: int, dollars: int, tranche: int = 0) -> list:
    amount = dollars * USD
    return desk.send(FundStaked(ts=desk.now, account=U + user, tranche=tranche, amount=amount))


def asks(desk: Desk, user: int, shares: int) -> list:
    return desk.send(UnstakeRequested(ts=desk.now, account=U + user, tranche=0, shares=shares))


def leaves(desk: Desk, user: int) -> list:
    return desk.send(Unstaked(ts=desk.now, account=U + user, tranche=0))


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def test_a_stake_bears_losses_and_leaves_after_its_delay():
    desk = staked()
    (moved,) = desk.of(StakeMoved, stakes(desk, 0, 100))
    assert moved.shares == 100 * USD
    assert desk.state.book.cash[FUND] == 200 * USD
    # A deficit of 50 costs the venue's shares and the account's alike.
    desk.users([-50 * USD])
    assert [e.fund for e in desk.of(DeficitFound, desk.tick(1))] == [50 * USD]
    assert not codes(asks(desk, 0, 100 * USD))
    assert codes(leaves(desk, 0)) == ["unstake_delay"]
    desk.later(13 * DAY - 1)
    assert codes(leaves(desk, 0)) == ["unstake_delay"]
    effects = leaves(desk.later(1), 0)
    (paid,) = desk.of(Posted, effects)
    assert (paid.amount, paid.reason) == (75 * USD, "unstake")
    assert desk.state.book.cash[FUND] == 75 * USD
    assert desk.state.book.cash[U] == 275 * USD
    assert codes(leaves(desk, 0)) == ["nothing_was_asked_back"]
    assert desk.state.fund_peak == 125 * USD, "who leaves is no loss of the fund's"
    audit(desk.state)


def test_who_asked_to_leave_has_no_part_in_later_gains():
    desk = staked(unstake_ns=SECOND)
    stakes(desk, 0, 100)
    asks(desk, 0, 100 * USD)
    stakes(desk, 1, 100)
    desk.state.book.cash[FUND] += 60 * USD  # penalties came in
    desk.state.book.cash[0] -= 60 * USD
    (paid,) = desk.of(Posted, leaves(desk.later(1), 0))
    assert paid.amount == 100 * USD
    # The gain is left to those who stayed: 260 for 200 shares.
    assert desk.state.book.cash[FUND] == 260 * USD


def test_who_changes_its_mind_forfeits_what_it_gained_meanwhile():
    desk = staked()
    stakes(desk, 0, 100)
    asks(desk, 0, 100 * USD)
    desk.state.book.cash[FUND] += 60 * USD
    desk.state.book.cash[0] -= 60 * USD
    (moved,) = desk.of(StakeMoved, asks(desk, 0, 0))
    # 260 for 200 shares: the hundred that others hold are worth 160 once these are 62.5.
    assert moved.shares == -37_500_000
    assert codes(leaves(desk.later(14 * DAY), 0)) == ["nothing_was_asked_back"]


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda d: stakes(d, 0, 0), "amount_must_be_positive"),
        (lambda d: stakes(d, 0, 301), "below_initial_margin"),
        (lambda d: stakes(d, 7, 1), "account_unknown"),
        (lambda d: stakes(d, 0, 1, tranche=1), "tranche_takes_no_stakes"),
        (lambda d: stakes(d, 0, 1, tranche=-1), "tranche_takes_no_stakes"),
        (lambda d: asks(d, 0, 1), "shares_not_held"),
        (lambda d: asks(d, 0, -1), "shares_not_held"),
        (lambda d: leaves(d, 0), "nothing_was_asked_back"),
    ],
)
def test_what_cannot_be_staked_is_refused(send, code):
    desk = staked()
    before = desk.state.digest()
    assert codes(send(desk)) == [code]
    fresh = staked()
    fresh.state.seq += 1
    assert before != desk.state.digest() == fresh.state.digest()


@pytest.mark.parametrize(("dollars", "code"), [(10, []), (11, ["below_initial_margin"])])
def test_nobody_stakes_what_it_would_have_to_borrow(dollars, code):
    """Coins worth 100 USD would carry a loan; but the fund is not staked on credit."""
    margin = MarginModel(
        instruments={"*": Requirement(tiers=(Tier(initial=0, maintenance=0),))},
        cash_debt_initial=100_000,
        cash_debt_maintenance=50_000,
    )
    fund = Waterfall(tranches=(Tranche(name="fund", initial=100 * USD, stakes=True),))
    desk = Desk(venue_of(coin()), margin=margin, waterfall=fund)
    desk.users([10 * USD], [(0, 0, 1_000, 0)])
    desk.price(1_000)
    assert codes(stakes(desk, 0, dollars)) == code


def test_a_tranche_without_stakes_takes_none():
    desk = staked(stakes=False)
    assert codes(stakes(desk, 0, 1)) == ["tranche_takes_no_stakes"]
    thin = staked(initial=2**30)
    thin.state.book.cash[FUND] -= 2**30 * USD - 1  # one unit is left behind all shares
    thin.state.book.cash[0] += 2**30 * USD - 1
    assert codes(stakes(thin, 0, 100)) == ["amount_exceeds_limit"]
    empty = staked(initial=1)
    empty.users([-USD])
    empty.tick(1)
    assert codes(stakes(empty, 0, 1)) == ["stake_buys_nothing"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(1, 150)),
        min_size=1,
        max_size=12,
    )
)
def test_the_fund_never_owes_and_shares_never_exceed_it(moves):
    """Whatever accounts do and the fund loses: it is never below zero, and cash is conserved."""
    desk = staked(unstake_ns=SECOND)
    for kind, user, n in moves:
        desk.later(0.7)
        match kind:
            case 0:
                stakes(desk, user, n)
            case 1:
                asks(desk, user, min(n * USD, desk.state.paying.stake(U + user, 0).shares))
            case 2:
                leaves(desk, user)
            case _:
                if desk.state.book.accounts < 40:
                    desk.users([-n * USD])
                    desk.tick()
        held = [desk.state.paying.stake(U + n, 0) for n in range(2)]
        assert all(0 <= x.asked <= x.shares for x in held)
        assert desk.state.book.cash[FUND] >= 0
    audit(desk.state)
    copy = State.load(desk.state.dump(), desk.stack)
    assert copy.digest() == desk.state.digest()


# One market's own fund ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "paid"), [("", [8, 0]), ("A", [8, 0]), ("B", [0, 8]), ("C", [0, 8])]
)
def test_a_tranche_of_one_market_pays_only_its_deficits(market, paid):
    fund = Waterfall(
        tranches=(
            Tranche(name="one", initial=0, market=market),
            Tranche(name="all", initial=0),
        )
    )
    assert fund.draws(8, balance=[10, 10], lost=0, market="A") == paid


def test_a_bare_account_leaves_its_deficit_in_the_market_it_was_sold_out_of():
    """Two markets with a tranche each; the long of B is sold below its bankruptcy price."""
    desk = Desk(
        venue_of(perp("A"), perp("B")),
        margin=rules(flat(20_000, 10_000, penalty=1_000)),
        planner=StagedPlanner(unknown_depth=10**15, depth_share=PPM),
        waterfall=Waterfall(
            tranches=(
                Tranche(name="a", initial=100 * USD, market="A"),
                Tranche(name="b", initial=100 * USD, market="B"),
            )
        ),
    )
    desk.users([30 * USD, 900 * USD], [(0, 1, 100, 10_000), (1, 1, -100, 10_000)])
    desk.price(10_000, i=0)
    (order,) = desk.of(OrdersPlaced, desk.price(9_720, i=1))
    effects = desk.fill(order.first, -100, 9_600)
    (kept,) = desk.of(LastMarketKept, effects)
    assert rows_of(kept, "account", "instrument") == [(U, 1)]
    found = desk.of(DeficitFound, desk.tick(1))
    assert [(e.account, e.amount, e.fund) for e in found] == [(U, 10 * USD, 10 * USD)]
    assert desk.state.book.cash[FUND : FUND + 2].tolist() == [100 * USD, 90 * USD]
    copy = State.load(desk.state.dump(), desk.stack)
    assert copy.digest() == desk.state.digest()


def test_penalties_feed_the_market_they_come_from():
    desk = Desk(
        venue_of(perp("A"), perp("B")),
        margin=rules(flat(20_000, 10_000, penalty=1_000)),
        planner=StagedPlanner(unknown_depth=10**15, depth_share=PPM),
        waterfall=Waterfall(
            tranches=(Tranche(name="all", initial=0), Tranche(name="b", initial=0, market="B"))
        ),
    )
    desk.users(
        [35 * USD, 35 * USD, 900 * USD],
        [(0, 0, 100, 10_000), (1, 1, 100, 10_000), (2, 0, -100, 10_000), (2, 1, -100, 10_000)],
    )
    desk.price(10_000, i=1)
    (first,) = desk.of(OrdersPlaced, desk.price(9_720, i=0))
    (second,) = desk.of(OrdersPlaced, desk.price(9_720, i=1))
    desk.fill(first.first, -100, 9_700)
    assert desk.state.book.cash[FUND : FUND + 2].tolist() == [972_000, 0]
    desk.fill(second.first, -100, 9_700)
    assert desk.state.book.cash[FUND : FUND + 2].tolist() == [972_000, 972_000]


@pytest.mark.parametrize(
    ("markets", "place"),
    [(("", ""), [0, 0]), (("A", ""), [0, 1]), (("", "B"), [0, 1]), (("B", "A"), [1, 0]),
     (("B", "B"), [0, 0])],
)  # fmt: skip
def test_which_tranche_a_penalty_feeds(markets, place):
    tranches = tuple(Tranche(name=str(n), initial=0, market=m) for n, m in enumerate(markets))
    assert Waterfall(tranches=tranches).fed(("A", "B")) == place


def test_the_fund_of_another_market_does_not_stand_behind_a_deleveraging():
    for market, paid in (("A", 39 * USD), ("B", 0)):
        desk = Desk(
            venue_of(perp("A"), perp("B")),
            margin=rules(flat(20_000, 10_000)),
            waterfall=Waterfall(
                tranches=(Tranche(name="one", initial=500 * USD, market=market),),
                deleverage="queue",
                deleverage_when="bankrupt",
                fund_pays_first=True,
            ),
        )
        desk.users([USD, 90 * USD], [(0, 0, 100, 10_400), (1, 0, -100, 10_900)])
        (receipt,) = desk.of(Deleveraged, desk.price(10_000))
        assert receipt.fund_paid == paid


# Sharing by lots and by balances --------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "lots", "each"), [(0, 10, 0), (1, 10, 1), (10, 10, 1), (11, 10, 2), (9, 0, 0)]
)
def test_a_loss_per_lot_is_rounded_up(loss, lots, each):
    assert insurance.per_lot_up(loss, lots, 1) == each


@pytest.mark.parametrize(
    ("loss", "deposits", "cut"), [(0, 9, 0), (1, 3, 34), (3, 3, 100), (4, 3, 100), (1, 0, 0)]
)
def test_an_index_of_deposits_falls_by_no_more_than_itself(loss, deposits, cut):
    assert insurance.index_cut(100, loss, deposits) == cut


@pytest.mark.parametrize(
    ("received", "bankruptcy", "delta"),
    [(1_000, 1_001, -1), (1_000, 1_000, 0), (1_000, 999, 1), (1_000, 995, 5), (1_000, 900, 5),
     (-1_000, -1_100, 5), (-1_000, -900, -100)],
)  # fmt: skip
def test_a_surplus_is_the_funds_up_to_a_share(received, bankruptcy, delta):
    assert insurance.fund_delta(received, bankruptcy, 5_000, PPM) == delta


@pytest.mark.parametrize(
    ("rule", "lots", "deficit", "paid"),
    [
        ("balances", None, 30, [10, 0, 20]),
        ("balances", None, 70, [20, 0, 40]),
        ("open_interest", (1, 1, 2), 40, [10, 10, 20]),
        ("open_interest", (1, 1, 2), 121, [30, 31, 60]),
        ("open_interest", (0, 5, 0), 40, [0, 40, 0]),
        ("open_interest", (0, 5, 0), 90, [0, 50, 0]),
        ("open_interest", None, 14, [3, 5, 6]),
    ],
)
def test_who_shares_a_deficit(rule, lots, deficit, paid):
    """Cash of 20, -10 and 40; equity of 30, 50 and 60: nobody pays more than its equity."""
    cash = column(*[0] * U, 20, -10, 40)
    crowd = None if lots is None else column(*[0] * U, *lots)
    payers, shares = Waterfall(socialise=rule).shares(
        deficit, health_of((30, 0), (50, 0), (60, 0)), cash, crowd
    )
    found = dict(zip((payers - U).tolist(), shares.tolist(), strict=True))
    assert [found.get(n, 0) for n in range(3)] == paid


def test_open_interest_of_the_market_that_failed_bears_the_loss():
    """Both sides of B pay by lots; whoever holds only A does not."""
    desk = Desk(
        venue_of(perp("A"), perp("B")),
        margin=rules(flat(20_000, 10_000)),
        planner=StagedPlanner(unknown_depth=10**15, depth_share=PPM),
        waterfall=Waterfall(socialise="open_interest"),
    )
    desk.users(
        [30 * USD, 900 * USD, 900 * USD, 900 * USD],
        [(0, 1, 100, 10_000), (1, 1, -120, 10_000), (2, 1, 30, 10_000), (3, 0, 70, 10_000)],
    )
    desk.price(10_000, i=0)
    (order,) = desk.of(OrdersPlaced, desk.price(9_720, i=1))
    desk.fill(order.first, -100, 9_550)
    before = desk.state.book.cash[U : U + 4].copy()
    (found,) = desk.of(DeficitFound, desk.tick(1))
    assert (found.socialised, found.uncovered) == (15 * USD, 0)
    paid = (before - desk.state.book.cash[U : U + 4]).tolist()
    assert paid == [-15 * USD, 12 * USD, 3 * USD, 0]
    audit(desk.state)


@MANY
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=6),
    st.integers(1, 10**7),
    st.integers(0, 10**7),
    st.sampled_from(("profit", "equity", "balances", "open_interest")),
)
def test_more_insurance_is_never_more_socialisation(rows, deficit, more, rule):
    """In one call: what the fund pays, nobody shares; and nobody pays more than it has."""
    cash = column(*[0] * U, *(c for c, _ in rows))
    health = health_of(*((c + g, 0) for c, g in rows))
    lots = column(*[0] * U, *(g for _, g in rows))
    waterfall = Waterfall(tranches=(Tranche(name="fund", initial=0),), socialise=rule)
    shared = []
    for money in (more // 2, more):
        rest = deficit - sum(waterfall.draws(deficit, balance=[money], lost=0))
        payers, shares = waterfall.shares(rest, health, cash, lots)
        assert (shares <= health.equity[payers]).all()
        assert int(shares.sum()) <= rest
        shared.append(int(shares.sum()))
    assert shared[1] <= shared[0]


@MANY
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**3)), min_size=1, max_size=5),
    st.integers(1, 10**7),
    st.sampled_from(("balances", "open_interest")),
)
def test_splitting_an_account_does_not_pay_in_sharing(rows, deficit, rule):
    """Two equal halves pay what the whole paid, but for one unit each."""

    def paid(people: list[tuple[int, int]]) -> list[int]:
        cash = column(*[0] * U, *(2 * c for c, _ in people))
        health = health_of(*((2 * c, 0) for c, _ in people))
        crowd = column(*[0] * U, *(2 * n for _, n in people))
        payers, shares = Waterfall(socialise=rule).shares(deficit, health, cash, crowd)
        found = dict(zip((payers - U).tolist(), shares.tolist(), strict=True))
        return [found.get(n, 0) for n in range(len(people))]

    (cash, lots), *others = [(2 * c, 2 * n) for c, n in rows]
    once = paid([(cash, lots), *others])
    twice = paid([(cash // 2, lots // 2), *others, (cash // 2, lots // 2)])
    assert twice[0] + twice[-1] >= once[0] - 2


def test_an_unknown_share_is_refused():
    with pytest.raises(ConfigInvalid, match="socialise"):
        Waterfall(socialise="luck")
    with pytest.raises(ConfigInvalid, match="unstake_ns"):
        Tranche(name="x", initial=0, unstake_ns=-1)
    with pytest.raises(ConfigInvalid, match="of different names"):
        Waterfall(tranches=(Tranche(name="x", initial=0), Tranche(name="x", initial=1)))
    assert (
        "of A alone; accounts may stake"
        in Waterfall(
            tranches=(replaced(Tranche(name="x", initial=1), market="A", stakes=True),)
        ).describe()[0]
    )
