"""Adversaries count every cent, profit where a stack is weak, and are judged on unseen paths."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tidegate.cli.stacks import load_stack
from tidegate.domain.book import EXTERNAL
from tidegate.domain.units import PPM, Nanos
from tidegate.kernels.margin import assess_account
from tidegate.lab.agents.adversary import CAPITAL, WEATHER, Adversary
from tidegate.lab.agents.catalogue import ADVERSARIES
from tidegate.lab.agents.pairs import Pair
from tidegate.lab.agents.proving import (
    WEAK,
    Walk,
    crowded,
    proving_world,
    thin_venue,
    weak_stack,
)
from tidegate.lab.agents.purse import FEE, most_crowded
from tidegate.lab.agents.sniper import Sniper, Vault
from tidegate.lab.agents.watchers import FrontRunner, Manipulator, forced_lots
from tidegate.lab.predators import (
    JUDGED_FROM,
    Arena,
    Budget,
    Judged,
    best_adversary,
    judge,
    roomy,
    search,
)
from tidegate.lab.turn import turn


STILL = Walk(steps=12)
KINDS = {kind.name: kind for kind in ADVERSARIES}
# One choice each that is known to work on the weak stack: a search finds better ones.
CHOSEN = {
    "manipulator": {"lie": -0.1, "hold": 2, "bite": 0.1},
    "front_runner": {"reach": 0.01, "size": 0.5, "hold": 3},
    "dumper": {"size": 0.9, "dumped": 0.3, "turns": 1},
    "drainer": {"size": 16.0, "push": 1.0, "buffer": 1.02},
    "pump": {"size": 4.0, "push": 1.0, "recycled": 0.5},
    "sniper": {"edge": 1_000, "size": 0.5},
    "sybil": {"count": 48, "size": 2.0},
}


@pytest.fixture(scope="module")
def book():
    return crowded()


def play(book, stack, crowd, world=STILL, path=0):
    weather = world.weather(1, [path], book.symbols)
    return turn(roomy(book), stack, weather, root=1, path=path, crowd=crowd)


# The purse ---------------------------------------------------------------------------------------


class Trader(Adversary):
    """Does what a test says, step by step."""

    def play(self, step, now):
        yield from self.todo(self, step, now)


def trader(todo, **fields):
    one = Trader(name="trader", **fields)
    Trader.todo = staticmethod(todo)
    return one


def nothing(one, step, now):
    del one, step, now
    yield from ()


def test_who_does_nothing_gains_nothing(book):
    end = play(book, load_stack("bare"), [trader(nothing)], Walk(steps=6, sigma=0.01))
    assert end.profits == {"trader": 0, "trader" + WEATHER: 0, "trader" + CAPITAL: 0}


def test_money_that_goes_in_and_out_again_is_no_profit(book):
    """A deposit is capital: it is neither gained nor lost, wherever it lies at the end."""

    def deposits(one, step, now):
        del now
        if step == 1:
            yield from one.purse.open("mine")
            yield from one.purse.pay_in(one.purse.accounts[0], 1_000 * PPM)
        if step == 4:
            yield from one.purse.take_out(one.purse.accounts[0])
            assert one.purse.cash == -10 * PPM  # 99 % came back at the first try

    end = play(book, load_stack("bare"), [trader(deposits)], Walk(steps=6))
    assert end.profits["trader"] == 0
    assert end.profits["trader" + CAPITAL] == 1_000 * PPM


def test_what_the_weather_gives_is_no_edge(book):
    """Whoever is long when the price rises has a profit, and all of it is the weather's."""

    def long(one, step, now):
        if step == 1:
            one.purse.outside(0, 1_000, now)
        yield from ()

    rise = Walk(steps=5, fall=-0.2)
    end = play(book, load_stack("bare"), [trader(long)], rise)
    fair = rise.weather(1, [0], ["PERP"]).price[0, -1, 0]
    assert end.profits["trader" + WEATHER] == 1_000 * round((fair - 1) * 100_000) * 1_000
    edge = end.profits["trader"] - end.profits["trader" + WEATHER]
    assert edge < -1_000 * 100 * PPM * FEE // PPM  # the fee, and half a spread


def test_a_round_trip_through_a_market_always_costs(book):
    def there_and_back(one, step, now):
        if step in {1, 3}:
            one.purse.outside(0, 20_000 if step == 1 else -20_000, now)
        yield from ()

    end = play(book, load_stack("bare"), [trader(there_and_back)])
    assert end.profits["trader"] < 0


def test_an_account_below_zero_is_walked_away_from_and_counts_nothing(book):
    """What an account owes is not the owner's loss; what it had paid in is."""
    one = Pair(name="pair", size=20.0)
    end = play(book, load_stack("neutral"), [one], Walk(steps=6, fall=0.3))
    purse, fair, out = one.purse, one.desk.fair(6), np.zeros(3, np.int64)
    state = one.desk.state
    assess_account(state.book, state.facts, fair, one.long, -1, 0, 0, 0, 0, out)
    assert out[0] < 0 == purse.equity(one.long, fair)
    assert end.profits["pair"] == purse.cash + purse.equity(one.short, fair)
    assert end.profits["pair"] > end.profits["pair" + WEATHER]  # somebody else bore the rest


def test_what_the_venue_refuses_is_not_counted(book):
    """A withdrawal beyond margin leaves nothing, and a trade without margin moves no market."""

    def asks(one, step, now):
        if step == 1:
            yield from one.purse.open("mine")
            before = one.desk.market.impact_ppm(0)
            yield from one.purse.trade(one.purse.accounts[0], 0, 50_000, now)
            yield from one.purse.take_out(one.purse.accounts[0])
            assert one.desk.market.impact_ppm(0) == before

    end = play(book, load_stack("bare"), [trader(asks)])
    assert end.profits["trader"] == 0


def test_the_venue_and_the_purse_agree_on_every_cent(book):
    """What a purse paid is what the world outside lost of it, and the fee of each trade."""
    world, prices = [], []

    def trades(one, step, now):
        cash = one.desk.state.book.cash
        if step == 1:
            world.append(int(cash[EXTERNAL]))
            yield from one.purse.open("mine")
            yield from one.purse.pay_in(one.purse.accounts[0], 900_000 * PPM)
        if step in {2, 4}:
            lots = 7_000 if step == 2 else -7_000
            prices.append(one.desk.market.outside(0, lots, now, trade=False)[1])
            yield from one.purse.trade(one.purse.accounts[0], 0, lots, now)

    one = trader(trades)
    end = play(book, load_stack("bare"), [one], Walk(steps=7))
    fees = sum(-(-7_000 * 1_000 * price * FEE // PPM) for price in prices)
    world.append(int(one.desk.state.book.cash[EXTERNAL]))
    lost = 7_000 * 1_000 * (prices[0] - prices[1])
    assert prices[0] > prices[1]
    assert end.profits["trader"] == -lost - fees
    assert one.purse.cash == world[1] - world[0] - fees


def test_the_thinnest_market_is_chosen(book):
    assert most_crowded(_desk(book)) == 0


def _desk(book):
    one = trader(nothing)
    play(book, load_stack("neutral"), [one], Walk(steps=1))
    return one.desk


# Watching ----------------------------------------------------------------------------------------


def test_forced_lots_are_those_whose_margin_a_move_uses_up(book):
    desk = _desk(book)
    assert forced_lots(desk, 0, 0.0) == (0, 0)
    ladder = [forced_lots(desk, 0, -move)[0] for move in (0.01, 0.05, 0.07, 0.2)]
    assert ladder == sorted(ladder)
    assert ladder[-1] == 600_000
    assert forced_lots(desk, 0, 2.0)[1] == 600_000  # shorts at once their equity


def test_a_lie_is_told_by_the_sources_it_controls_and_for_its_time_only(book):
    one = Manipulator(name="liar", lie=-0.5, hold=2, controls=(1,))
    play(book, load_stack("guarded"), [one], Walk(steps=4))
    assert one.said(2, 0, 1, 1_000) == 500
    assert one.said(1, 0, 1, 1_000) == one.said(4, 0, 1, 1_000) == one.said(2, 0, 0, 1_000) == 1_000
    twin = replace(one, honest=True)
    twin.instrument = one.instrument
    assert twin.said(2, 0, 1, 1_000) == 1_000


def test_a_front_runner_goes_home(book):
    one = FrontRunner(name="front", size=0.3, reach=0.01, hold=2)
    play(book, load_stack("bare"), [one], Walk(steps=20, fall=0.12))
    assert one.since > 0
    assert abs(int(one.purse.inventory[0])) <= 30_000


def test_a_sniper_is_hedged_and_its_gain_is_the_vaults_loss(book):
    vault = Vault()
    one = Sniper(name="sniper", vault=vault, edge=1_000)
    end = play(book, weak_stack("sniper"), [vault, one], Walk(sigma=0.004))
    assert one.purse.held(one.purse.accounts[0], 0) == -int(one.purse.inventory[0])
    assert end.profits["sniper" + WEATHER] == 0
    assert end.profits["vault"] < 0 < end.profits["sniper"]


# Every one of them profits somewhere -------------------------------------------------------------


@pytest.mark.parametrize("name", list(KINDS))
def test_each_profits_on_its_weak_stack(book, name):
    """The proof that it bites, on three paths that no search has seen."""
    kind = KINDS[name]
    arena = Arena(roomy(book), weak_stack(name), proving_world(name), root=1)
    edges = arena.edges(kind, CHOSEN[name], range(JUDGED_FROM, JUDGED_FROM + 3))
    assert (edges > 0).all()


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"drainer", "pump"}))
def test_the_guarded_stack_gives_the_same_choice_nothing(book, name):
    """What works on the weak stack loses, or gains nothing, on the guarded one.

    Two that bet against themselves are left out: they gain on the guarded stack as well, where
    nothing bounds a position by the depth of its market. The page of results says how much.
    """
    arena = Arena(roomy(book), load_stack("guarded"), proving_world(name), root=1)
    edges = arena.edges(KINDS[name], CHOSEN[name], range(JUDGED_FROM, JUDGED_FROM + 2))
    assert edges.mean() <= 0.0 + 2.0  # Money: rounding of a split position


def capped(stack, millions: int):
    text = f'name = "x"\n[caps.markets."*"]\nopen_interest_max = {millions * 1_000_000 * PPM}\n'
    caps = msgspec.toml.decode(text, type=type(stack)).caps
    return msgspec.structs.replace(stack, caps=caps)


@pytest.mark.parametrize("name", ["drainer", "pump"])
def test_a_cap_on_open_interest_takes_their_profit_away(book, name):
    """The guarded stack with one side held to 120 million, where 60 stand already.

    A pair of 200 million gains without the cap and is refused with it; one that fits loses.
    """
    kind, choice = KINDS[name], {**CHOSEN[name], "push": 1.0}
    choice |= {"recycled": 0.0} if name == "pump" else {}
    edge = {}
    for cap in (10_000, 120):
        arena = Arena(roomy(book), capped(load_stack("guarded"), cap), STILL, root=1)
        for size in (4.0, 20.0):
            edge[cap, size] = arena.edges(kind, {**choice, "size": size}, [0])[0]
    assert edge[10_000, 20.0] > 0
    assert edge[120, 20.0] == 0
    assert edge[120, 4.0] < 0


def test_every_adversary_has_a_weak_stack_and_a_choice():
    assert KINDS.keys() == WEAK.keys() == CHOSEN.keys()
    for kind in ADVERSARIES:
        assert kind.grid.keys() == CHOSEN[kind.name].keys()
        assert set(kind.smooth) <= kind.grid.keys()


# The search --------------------------------------------------------------------------------------


def test_the_search_finds_more_than_the_middle_of_the_grid(book):
    kind = replace(
        KINDS["drainer"], grid={"size": (1.0, 16.0), "push": (0.0, 2.0), "buffer": (1.02,)}
    )
    arena = Arena(roomy(book), weak_stack("drainer"), STILL, root=1)
    best = search(arena, kind, Budget(1, 1, 2))
    assert best["size"] >= 16.0
    first = {"size": 1.0, "push": 0.0, "buffer": 1.02}
    found, plain = (arena.edges(kind, choice, [0])[0] for choice in (best, first))
    assert found > plain


def test_an_arena_runs_a_path_once_and_repeats_itself(book):
    stack, kind = weak_stack("manipulator"), KINDS["manipulator"]
    arenas = [Arena(roomy(book), stack, STILL, root=1) for _ in range(2)]
    once = [arena.edges(kind, CHOSEN["manipulator"], [0, 1, 0]).tolist() for arena in arenas]
    assert once[0] == once[1]
    assert [arena.runs for arena in arenas] == [4, 4]  # two paths, each with the twin


def test_the_best_adversary_comes_first_with_its_interval(book):
    kinds = [
        replace(KINDS[name], grid={k: (v,) for k, v in CHOSEN[name].items()}, smooth=())
        for name in ("sniper", "manipulator")
    ]
    rows = best_adversary(
        book, weak_stack("manipulator"), Walk(steps=8, sigma=0.002), 1, Budget(1, 1, 3), kinds=kinds
    )
    assert [row.adversary for row in rows] == ["manipulator", "sniper"]
    best = rows[0]
    assert isinstance(best, Judged)
    assert best.low <= best.edge <= best.high
    assert best.profits == (best.low > 0)
    assert best.paths == 3
    assert best.stack == "one-source"
    assert best.parameters == CHOSEN["manipulator"]


def test_intervals_are_wider_where_more_is_claimed(book):
    """A confidence for all adversaries together asks more of each."""
    arena = Arena(roomy(book), weak_stack("sniper"), proving_world("sniper"), root=1)
    narrow, wide = (
        judge(arena, KINDS["sniper"], CHOSEN["sniper"], Budget(1, 1, 4), level)
        for level in (0.8, 0.99)
    )
    assert narrow.edge == wide.edge
    assert wide.low < narrow.low < narrow.edge < narrow.high < wide.high


def test_room_is_made_for_accounts_and_nothing_else_changes(book):
    tight = replace(
        book,
        venue=msgspec.structs.replace(
            thin_venue(), limits=msgspec.structs.replace(thin_venue().limits, accounts_max=100)
        ),
    )
    room = roomy(tight)
    assert room.venue.limits.accounts_max >= 100 + 64
    assert msgspec.structs.replace(room.venue, limits=tight.venue.limits) == tight.venue
    assert Nanos(room.book.ts) == tight.book.ts
