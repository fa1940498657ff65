"""One path of the lab through the true engine: repeatable, paired, seen by agents as it goes."""

from dataclasses import replace

import numpy as np
import pytest

from tidegate.cli.stacks import load_stack
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Deposited
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.lab.opening import Opening
from tidegate.lab.turn import turn
from tidegate.lab.weather import Weather, checked


SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opening") / "book"
    make(folder, accounts=100, seed=7)
    return Opening.of(load(folder))


def falling(opening, steps=12, to=0.7, depth=1.0):
    line = np.linspace(1.0, to, steps + 1)[None, :, None]
    price = line * np.ones((1, 1, opening.marks.size))
    return Weather(price, np.full_like(price, depth), 10 * SECOND)


class Watcher:
    """Deposits a little before each price, and writes down what it could see."""

    name = "watcher"

    def __init__(self):
        self.seen = []

    def begin(self, desk):
        self.desk = desk
        return ()

    def act(self, step, now):
        before = self.desk.state.seq
        yield Deposited(ts=now, account=20, amount=1_000_000)
        self.seen.append((step, self.desk.state.seq - before, int(self.desk.fair(step)[0])))

    def said(self, step, instrument, source, ticks):
        del step, instrument, source
        return ticks

    def profit(self):
        return {"watcher": -1}


def test_a_path_is_the_same_twice_and_a_number_of_its_own(opening):
    stack, weather = load_stack("bare"), falling(opening)
    once, twice = (turn(opening, stack, weather, root=1, path=3) for _ in range(2))
    assert once == twice
    assert once.path == 3
    assert once.accounts_liquidated > 0
    assert once.user_harm >= once.borne_by_others


def test_the_opening_is_the_recordings_first_moment(opening):
    assert opening.symbols == ("BTC", "ETH", "SOL", "HYPE", "XPL")
    assert (opening.marks > 1).all()
    other = replace(opening, marks=opening.marks + 1)
    assert len({opening.digest, replace(opening).digest, other.digest}) == 2


def test_nobody_is_touched_where_nothing_moves(opening):
    still = turn(opening, load_stack("bare"), falling(opening, to=1.0), root=1, path=0)
    assert (still.accounts_liquidated, still.loss, still.forced_volume) == (0, 0, 0)


def test_what_accounts_lacked_adds_up_to_the_bad_debt(opening):
    end = turn(opening, load_stack("bare"), falling(opening, to=0.5), root=1, path=0)
    assert end.bad_debt > 0
    found = end.by_account
    assert abs(sum(found.values()) - end.bad_debt) <= len(found)  # each share is rounded once


def test_a_book_that_makers_leave_costs_more(opening):
    stack = load_stack("neutral")
    full = turn(opening, stack, falling(opening, to=0.85), root=1, path=0)
    thin = turn(opening, stack, falling(opening, to=0.85, depth=0.05), root=1, path=0)
    gone = turn(opening, stack, falling(opening, to=0.85, depth=0.0), root=1, path=0)
    assert thin.peak_impact > full.peak_impact
    assert gone.sale_cost == gone.peak_impact == 0  # nothing can be sold at all
    assert gone.accounts_liquidated > 0


def test_agents_are_answered_between_their_events(opening):
    watcher = Watcher()
    end = turn(opening, load_stack("bare"), falling(opening), root=1, path=0, crowd=[watcher])
    assert [step for step, _, _ in watcher.seen] == list(range(1, 13))
    assert all(answered >= 1 for _, answered, _ in watcher.seen)
    assert watcher.seen[-1][2] == round(int(opening.marks[0]) * 0.7)
    assert end.profits == {"watcher": -1}


@pytest.mark.parametrize(
    ("price", "depth", "said"),
    [(0.0, 1.0, "price"), (np.inf, 1.0, "price"), (1.0, -0.1, "depth"), (1.0, np.nan, "depth")],
)
def test_what_is_no_weather_is_refused_with_its_place(price, depth, said):
    shape = (2, 3, 1)
    prices, depths = np.ones(shape), np.ones(shape)
    prices[1, 2, 0], depths[1, 2, 0] = price, depth
    with pytest.raises(ConfigInvalid, match=f"{said}.*path 1, step 2, instrument 0"):
        checked(Weather(prices, depths, SECOND), "world")
