"""Populations of the lab: one agent more disturbs nobody, and flow moves the market."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tidegate.cli.stacks import load_stack
from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import PoolLeft, Unstaked, UnstakeRequested
from tidegate.domain.units import PPM, Money, unpack
from tidegate.drivers.keepers import KeeperCrowd
from tidegate.drivers.streams import Streams
from tidegate.lab.agents.arbitrage import Arbitrageurs
from tidegate.lab.agents.borrowers import Savers
from tidegate.lab.agents.columns import choices, lognormal, uniform
from tidegate.lab.agents.hedgers import BasisTraders, Hedgers
from tidegate.lab.agents.liquidators import Liquidators
from tidegate.lab.agents.makers import Makers
from tidegate.lab.agents.providers import PoolRunners, StakeRunners, deposit_of
from tidegate.lab.agents.proving import DEPTH, Walk, crowded, weak_stack
from tidegate.lab.agents.trend import Trend
from tidegate.lab.agents.whales import Whales
from tidegate.lab.predators import roomy
from tidegate.lab.turn import turn
from tidegate.safeguards.stack import SafeguardStack


FALL, QUIET = Walk(steps=12, sigma=0.003, fall=0.1), Walk(steps=12)
CAPITAL = Money(2_000 * PPM)


@pytest.fixture(scope="module")
def book():
    return roomy(crowded())


@pytest.fixture(scope="module")
def bare():
    return load_stack("bare")


def play(book, stack, crowd, world=FALL, **more):
    weather = world.weather(1, [0], book.symbols)
    return turn(book, stack, weather, root=1, path=0, crowd=crowd, **more)


@pytest.fixture(scope="module")
def alone(book, bare):
    return play(book, bare, [])


def stack_of(text: str) -> SafeguardStack:
    return msgspec.toml.decode('name = "made-for-this"\n' + text, type=SafeguardStack)


# Columns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [uniform, lognormal, choices])
def test_one_agent_more_is_one_row_more(draw):
    more = {uniform: (1.0, 2.0), lognormal: (10.0, 1.0), choices: (7,)}[draw]
    few, many = (draw(Streams(3, 1), "a.column", n, *more) for n in (1_000, 1_001))
    assert np.array_equal(few, many[:-1])
    assert not np.array_equal(few, draw(Streams(3, 1), "b.column", 1_000, *more))
    assert not np.array_equal(few, draw(Streams(3, 2), "a.column", 1_000, *more))


def columns_of(population):
    arrays = (getattr(population, name) for name in dir(population) if not name.startswith("__"))
    return [a for a in arrays if isinstance(a, np.ndarray) and a.ndim == 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: Trend(name="t", count=n, capital=CAPITAL),
        lambda n: Hedgers(name="h", count=n, gamma=100.0),
        lambda n: Makers(name="m", count=n),
        lambda n: Arbitrageurs(name="a", count=n, capital=CAPITAL),
    ],
)
def test_nobody_draws_anew_because_somebody_came(book, bare, make):
    """What each agent is does not depend on who else is there, before anybody trades."""
    still = Walk(steps=1)
    few, many, beside = make(500), make(501), make(500)
    play(book, bare, [few], still)
    play(book, bare, [many], still)
    play(book, bare, [Trend(name="others", count=50, capital=CAPITAL), beside], still)
    drawn = [c for c in columns_of(few) if c.size == 500]
    assert len(drawn) >= 3
    for mine, theirs, also in zip(
        drawn,
        [c for c in columns_of(many) if c.size == 501],
        [c for c in columns_of(beside) if c.size == 500],
        strict=True,
    ):
        assert np.array_equal(mine, theirs[:-1])
        assert np.array_equal(mine, also)


def test_a_crowd_repeats_itself(book, bare):
    def crowd():
        return [
            Makers(name="makers"),
            Trend(name="trend", count=300, capital=CAPITAL),
            Savers(name="savers"),
            Arbitrageurs(name="arbitrage", capital=CAPITAL),
        ]

    assert play(book, bare, crowd()) == play(book, bare, crowd())


# What each kind does to a falling market ---------------------------------------------------------


def test_followers_make_a_fall_worse_and_contrarians_stop_it(book, bare, alone):
    follow = Trend(name="follow", count=1_000, capital=CAPITAL)
    against = Trend(name="against", count=1_000, capital=CAPITAL, direction=-1)
    pushed, held = play(book, bare, [follow]), play(book, bare, [against])
    assert pushed.peak_impact > alone.peak_impact > held.peak_impact
    assert held.loss < alone.loss
    assert follow.held.sum() < 0 < against.held.sum()


def test_a_million_followers_are_one_order_a_step(book, bare):
    crowd = Trend(name="million", count=1_000_000, capital=Money(PPM))
    end = play(book, bare, [crowd], Walk(steps=4, sigma=0.004))
    assert end.peak_impact > 0
    assert np.count_nonzero(crowd.held) > 1_000


def test_whoever_is_ruined_is_closed_and_stays_away(book, bare):
    crowd = Trend(name="brave", count=200, capital=CAPITAL, direction=-1, leverage=40.0)
    play(book, bare, [crowd], Walk(steps=10, fall=0.4))
    assert (crowd.equity[~crowd.gone] > 0).all()
    assert crowd.gone.any()
    assert np.abs(crowd.held[crowd.gone]).max() < 0.01  # what was left of the last partial fill
    assert np.abs(crowd.held[~crowd.gone]).max() > 1


def test_hedgers_sell_what_falls_and_do_nothing_in_calm(book, bare):
    busy, idle = (Hedgers(name="hedge", count=50, gamma=2_000.0) for _ in range(2))
    play(book, bare, [busy])
    play(book, bare, [idle], QUIET)
    assert busy.held.sum() < 0
    assert not idle.held.any()


def test_a_hedge_taken_away_makes_its_owner_sell_coins(book):
    """Deleveraging shorts breaks hedges, and the coins behind them come to the market."""
    world = Walk(steps=8, fall=0.5)
    broken, kept = (BasisTraders(name="basis", share=1.0) for _ in range(2))
    play(book, weak_stack("sybil"), [broken], world)
    play(book, weak_stack("sybil"), [kept], QUIET)
    assert kept.coins.sum() == 600_000
    assert broken.coins.sum() < kept.coins.sum()


def test_whales_leave_before_they_are_thrown_out(book, bare, alone):
    whales = Whales(name="whales", count=80, stop=(0.01, 0.02), pieces=2)
    end = play(book, bare, [whales])
    assert end.accounts_liquidated < alone.accounts_liquidated


def test_makers_who_leave_cost_the_others(book, bare, alone):
    makers = Makers(name="makers")
    end = play(book, bare, [makers])
    assert end.peak_impact > alone.peak_impact
    assert 0 <= makers.share < 1
    calm = Makers(name="makers")
    play(book, bare, [calm], QUIET)
    assert calm.share == 1


def test_two_populations_of_makers_multiply_with_the_weather(book, bare):
    """The share that is shown is the weather's times everybody's, in any order."""
    seen = {}

    class Looker(Makers):
        def act(self, step, now):
            yield from Makers.act(self, step, now)
            seen.setdefault(step, []).append((self.share, self.desk.market.shown(0)))

    play(book, bare, [Looker(name="a"), Looker(name="b")], replace(FALL, depth=0.5))
    for (first, shown), (second, both) in seen.values():
        assert shown == pytest.approx(0.5 * first)
        assert both == pytest.approx(0.5 * first * second)
    assert min(both for _, (_, both) in seen.values()) < 0.1


def test_arbitrage_brings_the_price_back_and_is_paid_for_it(book, bare, alone):
    rich = Arbitrageurs(name="arbitrage", capital=Money(100_000 * PPM))
    end = play(book, bare, [rich])
    assert end.peak_impact < alone.peak_impact
    assert end.profits["arbitrage"] > 0
    assert rich.carried.sum() > 0  # bought here, where forced sales had made it cheap


def test_who_looks_and_has_something_pays_in(book, bare, alone):
    some, none = Savers(name="savers", attentive=0.9), Savers(name="savers", attentive=0.0)
    saved, left = play(book, bare, [some]), play(book, bare, [none])
    assert saved.loss < alone.loss == left.loss
    assert some.paid.sum() > 0
    assert not none.paid.any()


# Those who stand behind others -------------------------------------------------------------------

STAKED = """
[[waterfall.tranches]]
name = "staked"
initial = 1_000_000
stakes = true
unstake_ns = 10_000_000_000
"""


def noted(kinds):
    found = []

    def observe(seq, event, effects, state, impact_ppm):
        del seq, impact_ppm
        if isinstance(event, kinds):
            refused = any(type(e).__name__ == "Rejected" for e in effects)
            found.append((type(event).__name__, event.account, refused, state.now))

    return found, observe


def test_stakers_ask_back_when_the_fund_has_paid_and_wait_for_it(book):
    found, observe = noted((UnstakeRequested, Unstaked))
    stakers = StakeRunners(name="stakers", count=6, fear=(0.0, 0.1))
    play(book, stack_of(STAKED), [stakers], Walk(steps=24, fall=0.3), observers=[observe])
    assert (stakers.put > 0).all()
    assert stakers.put.size == 6
    asked = {account: ts for name, account, _, ts in found if name == "UnstakeRequested"}
    paid = {account: ts for name, account, refused, ts in found if name == "Unstaked"}
    assert asked.keys() == set(stakers.accounts[stakers.gone > 0].tolist()) != set()
    assert all(ts - asked[account] >= 10_000_000_000 for account, ts in paid.items())
    assert not any(refused for _, _, refused, _ in found)


POOL = """
[margin]
cash_debt_initial = 1
[backstop]
equity_below = 1_000_000
[backstop.pool]
depositors_max = 16
"""


def test_depositors_leave_a_pool_that_has_paid(loans):
    found, observe = noted((PoolLeft,))
    runners = PoolRunners(name="pool", count=5, fear=(0.0, 0.02))
    stack = stack_of(POOL)
    world = Walk(steps=12, fall=0.4)
    play(loans, stack, [runners], world, observers=[observe])
    assert (runners.put > 0).any()
    assert {account for _, account, refused, _ in found if not refused} == set(
        runners.accounts[runners.gone > 0].tolist()
    )
    assert found
    for account in runners.accounts[runners.gone > 0].tolist():
        assert deposit_of(runners.desk.state, account) == 0


@pytest.fixture(scope="module")
def loans(tmp_path_factory):
    from tidegate.drivers.recording import load  # noqa: PLC0415 - it brings pyarrow
    from tidegate.drivers.synthetic_loans import make_loans  # noqa: PLC0415 - ditto
    from tidegate.lab.opening import Opening  # noqa: PLC0415 - ditto

    folder = tmp_path_factory.mktemp("loans") / "book"
    make_loans(folder, accounts=40, seed=3)
    opening = Opening.of(load(folder))
    rich = np.arange(5)
    names = (*opening.book.names, *(f"depositor-{n}" for n in rich))
    n = len(opening.book.names)
    wide = msgspec.structs.replace(
        opening.book,
        names=names,
        owner=opening.book.owner + (n + rich).astype("<i8").tobytes(),
        cash=opening.book.cash + np.full(5, 200_000 * PPM, "<i8").tobytes(),
    )
    return roomy(replace(opening, book=wide))


# Keepers -----------------------------------------------------------------------------------------

AUCTIONS = """
[route]
kind = "auction"
curve = "exponential"
cut = 990_000
buffer = 2_000
tail_ns = 20_000_000_000
[never_worse]
mode = "off"
"""


def keepers(**changes):
    usual = {"capital": 2 * DEPTH, "absent": 0, "count": 8, "margin": (1_000, 1_000)}
    return Liquidators(name="keepers", crowd=KeeperCrowd(**{**usual, **changes}))


def test_keepers_pay_gas_and_stay_away_when_it_eats_their_margin(book):
    stack = stack_of(AUCTIONS)
    free, dear, absurd = (
        keepers(gas=gas, congestion=100_000) for gas in (0, 100 * PPM, 10**6 * PPM)
    )
    ends = [play(book, stack, [one]) for one in (free, dear, absurd)]
    burnt = [one.desk.turning.bidders.burnt for one in (free, dear, absurd)]
    assert burnt[0] == burnt[2] == 0 < burnt[1]
    assert ends[2].profits["keepers"] == 0
    assert ends[0].profits["keepers"] != 0


def test_keepers_without_room_for_inventory_take_less(book):
    stack = stack_of(AUCTIONS)
    wide, narrow = keepers(holders=PPM), keepers(holders=PPM, inventory=20_000)
    for one in (wide, narrow):
        play(book, stack, [one])
    held = [
        sum(sum(k.spent.values()) for k in one.desk.turning.bidders.present)
        for one in (wide, narrow)
    ]
    assert 0 < held[1] < held[0]


def test_the_usual_keepers_are_what_a_replay_draws(book):
    stack = stack_of(AUCTIONS)
    usual = Liquidators(name="keepers", crowd=KeeperCrowd())
    assert play(book, stack, [usual]).digest == play(book, stack, []).digest


def test_rows_of_the_book_are_users(book):
    assert FIRST_USER + len(unpack(book.book.owner)) <= book.venue.limits.accounts_max
