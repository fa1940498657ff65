"""Synthetic crashes: the same bytes from the same seed, and a book that is what it says."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import BookImported, PriceObserved
from tidegate.domain.units import unpack
from tidegate.drivers import recording
from tidegate.drivers.aftermath import Aftermath
from tidegate.drivers.replay import replay
from tidegate.drivers.streams import Streams
from tidegate.drivers.synthetic import BEGINS, PUBLISHED_ACCOUNTS, field_of, make
from tidegate.drivers.synthetic_book import GROUPS, crowd
from tidegate.drivers.synthetic_markets import ASSETS
from tidegate.drivers.synthetic_weather import SCENARIOS, quotes, weather
from tidegate.safeguards.stack import SafeguardStack, Stack


STACKS = Path(__file__).parents[1] / "src/tidegate/stacks"
SECOND = 1_000_000_000
START = np.array([asset.start for asset in ASSETS])
INITIAL = np.array([1 / asset.leverage_max for asset in ASSETS])
MAINTENANCE = np.array([0.02, 0.02, 0.03, 0.04, 0.05])


def made(folder, **arguments):
    make(folder, **({"accounts": 400, "seed": 3} | arguments))
    return recording.load(folder)


def fingerprint(folder):
    files = sorted(folder.iterdir())
    return [(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files]


class Ledger:
    """The opening book of a recording in plain floats, valued at any prices."""

    def __init__(self, history):
        book = next(iter(history.events()))
        assert isinstance(book, BookImported)
        self.names = book.names
        self.cash = unpack(book.cash) / 1e6
        self.owner = unpack(book.owner)
        self.account, self.asset = unpack(book.account), unpack(book.instrument)
        instruments = history.venue.instruments
        tick = np.array([float(i.tick_size) for i in instruments])[self.asset]
        lot = np.array([float(i.lot_size) for i in instruments])[self.asset]
        self.quantity = unpack(book.lots) * lot
        self.entry = unpack(book.entry) * tick

    def equity(self, price):
        profit = self.quantity * (price[self.asset] - self.entry)
        return self.cash + np.bincount(self.account, profit, len(self.names))

    def required(self, price, rate):
        size = np.abs(self.quantity) * price[self.asset] * rate[self.asset]
        return np.bincount(self.account, size, len(self.names))


def path_of(name, seed=3):
    beta = np.array([asset.beta for asset in ASSETS])
    return weather(SCENARIOS[name], START, beta, Streams(seed, 0))


# Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_scenario_is_a_valid_recording(scenario, tmp_path):
    history = made(tmp_path, scenario=scenario, accounts=100)
    assert sum("/" not in name for name in history.names) == 100
    assert history.venue.sources[-1] == "venue"
    assert history.begins == BEGINS
    assert history.ends == BEGINS + SCENARIOS[scenario].seconds * SECOND
    assert history.n_events == sum(1 for _ in history.events())
    assert any("synthetic" in note for note in history.venue.notes)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make(tmp_path / name, accounts=300, seed=seed)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    one, other = dict(fingerprint(tmp_path / "a")), dict(fingerprint(tmp_path / "c"))
    assert all(one[name] != other[name] for name in one)


@pytest.mark.parametrize("accounts", [99, 0, -5, 1_000_001])
def test_a_size_out_of_bounds_is_refused(accounts, tmp_path):
    with pytest.raises(ConfigInvalid, match=r"accounts: must lie within 100\.\.1_000_000"):
        make(tmp_path, accounts=accounts, seed=1)
    assert not list(tmp_path.iterdir())


def test_a_scenario_nobody_wrote_is_refused(tmp_path):
    with pytest.raises(ConfigInvalid, match="scenario: must be one of"):
        make(tmp_path, accounts=100, seed=1, scenario="october11")


def test_progress_is_told_in_order_and_to_the_end(tmp_path):
    told = []
    make(tmp_path, accounts=100, seed=1, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(n, 5) for n in range(6)]


@pytest.mark.soak
def test_a_million_accounts_fit(tmp_path):
    history = made(tmp_path, accounts=1_000_000)
    assert sum("/" not in name for name in history.names) == 1_000_000


# The book ------------------------------------------------------------------------------------


@pytest.mark.parametrize("accounts", [100, 400, 5_000])
def test_everybody_starts_above_initial_margin(accounts, tmp_path):
    ledger = Ledger(made(tmp_path, accounts=accounts))
    assert (ledger.equity(START) >= ledger.required(START, INITIAL)).all()
    assert (ledger.cash >= 0).all()


def test_leverage_is_crowded_below_round_numbers(tmp_path):
    ledger = Ledger(made(tmp_path, accounts=5_000))
    crowded = np.array([name.startswith("crowd") for name in ledger.names])
    size = ledger.required(START, np.ones(len(ASSETS)))
    alone = crowded & (ledger.owner == np.arange(len(ledger.names))) & (size > 0)
    leverage = size[alone] / ledger.equity(START)[alone]
    for top in (5, 10):
        near = ((leverage > 0.7 * top) & (leverage <= top)).sum()
        beyond = ((leverage > top) & (leverage <= 1.3 * top)).sum()
        assert near > 3 * beyond


def test_longs_hold_exactly_the_open_interest_and_makers_the_rest_of_the_shorts(tmp_path):
    accounts = 5_000
    ledger = Ledger(made(tmp_path, accounts=accounts))
    scale = accounts / PUBLISHED_ACCOUNTS
    value = ledger.quantity * START[ledger.asset]
    for n, asset in enumerate(ASSETS):
        here = value[ledger.asset == n]
        assert here[here > 0].sum() == pytest.approx(asset.interest * 1e6 * scale, rel=1e-3)
        assert -here[here < 0].sum() < here[here > 0].sum()


def test_pairs_are_hedged_and_nobody_else_is(tmp_path):
    ledger = Ledger(made(tmp_path, accounts=2_000))
    value = ledger.quantity * START[ledger.asset]
    net = np.bincount(ledger.account, value, len(ledger.names))
    gross = np.bincount(ledger.account, np.abs(value), len(ledger.names))
    for name, a, b in zip(ledger.names, net, gross, strict=True):
        if name.startswith("pair"):
            assert abs(a) <= 0.02 * b + 2
        elif b:
            assert abs(a) == pytest.approx(b)


def test_a_larger_book_is_the_same_market_with_more_people(tmp_path):
    small, large = made(tmp_path / "a", accounts=1_000), made(tmp_path / "b", accounts=10_000)
    for a, b in zip(small.venue.markets, large.venue.markets, strict=True):
        assert b.depth == pytest.approx(10 * a.depth, rel=1e-9)
        assert b.daily_volume == pytest.approx(10 * a.daily_volume, rel=1e-9)
        assert (a.resilience_ns, a.withdrawal, a.permanent) == (
            b.resilience_ns,
            b.withdrawal,
            b.permanent,
        )


def test_every_group_is_there_even_in_the_smallest_book():
    people = crowd(field_of(100 / PUBLISHED_ACCOUNTS), 100, Streams(1, 0))
    assert len(people.names) == 100
    assert {name.split("-")[0] for name in people.names} == {group.name for group in GROUPS}


def test_another_group_does_not_move_the_others(monkeypatch):
    field = field_of(1.0)
    before = crowd(field, 1_000, Streams(1, 0)).positions
    other = tuple(replace(g, tail=1.1) if g.name == "bear" else g for g in GROUPS)
    monkeypatch.setattr("tidegate.drivers.synthetic_book.GROUPS", other)
    after = crowd(field, 1_000, Streams(1, 0)).positions
    bears = round(1_000 * GROUPS[-1].people)
    assert after.notional[:-bears].tolist() == before.notional[:-bears].tolist()
    assert after.notional[-bears:].tolist() != before.notional[-bears:].tolist()


# The weather ---------------------------------------------------------------------------------


def test_the_calm_control_brings_nobody_below_maintenance(tmp_path):
    ledger, path = Ledger(made(tmp_path, scenario="calm", accounts=3_000)), path_of("calm")
    for price in path.price[::5]:
        assert (ledger.equity(price) >= ledger.required(price, MAINTENANCE)).all()


@pytest.mark.parametrize("scenario", ["october", "gap", "slow_bleed", "v_shape"])
def test_every_other_scenario_breaks_somebody(scenario, tmp_path):
    ledger, path = Ledger(made(tmp_path, scenario=scenario)), path_of(scenario)
    worst = path.price.min(axis=0)
    below = ledger.equity(worst) < ledger.required(worst, MAINTENANCE)
    assert 0.02 < below.mean() < 0.5


def test_a_seed_changes_the_road_and_not_the_destination():
    lows = np.array([path_of("october", seed).price.min(axis=0) for seed in range(5)]) / START
    assert lows.std(axis=0).max() < 0.02
    assert lows.mean(axis=0).tolist() == pytest.approx([0.885, 0.815, 0.772, 0.565, 0.48], abs=0.02)


def test_the_shapes_are_what_they_are_called():
    gap = np.log(path_of("gap").price[:, 0])
    assert np.argmin(np.diff(gap)) == 60
    assert np.diff(gap).min() < -0.08
    assert np.sort(np.diff(gap))[1] > -0.01, "one jump only"
    bleed = np.log(path_of("slow_bleed").price[:, 0])
    assert np.diff(bleed).min() > -0.005, "nothing is ever sudden"
    back = path_of("v_shape").price
    assert back[-1] / back[0] == pytest.approx(np.ones(len(ASSETS)), abs=0.02)


def test_sources_take_turns_and_err_a_little():
    path = path_of("october")
    said = quotes(path, 3, Streams(3, 0))
    keys = list(zip(said.second.tolist(), said.source.tolist(), said.asset.tolist(), strict=True))
    assert keys == sorted(set(keys))
    own = said.source == 3
    assert said.price[own].tolist() == path.price.ravel().tolist()
    assert own.sum() == path.price.size
    exact = path.price[said.second, said.asset]
    error = np.abs(said.price / exact - 1.0)[~own] * exact[~own] / said.confidence[~own]
    assert np.quantile(error, 0.95) < 1.0, "the half-width a source states covers its error"
    for source in range(3):
        moments = np.unique(said.second[said.source == source])
        assert set(np.diff(moments[1:])) == {3}
    assert (said.second[said.source < 3] == 0).sum() == 3 * len(ASSETS), "all speak at the start"


def test_recorded_prices_are_whole_ticks_with_their_confidence(tmp_path):
    history = made(tmp_path)
    seen = [event for event in history.events() if isinstance(event, PriceObserved)]
    assert {event.source for event in seen} == {0, 1, 2, 3}
    assert all(event.price > 0 and event.confidence >= 1 for event in seen)


# Under the stacks that come with the package ----------------------------------------------------


def taken_through(history, name):
    declaration = SafeguardStack.load(STACKS / f"{name}.toml")
    after = Aftermath(len(history.venue.instruments))
    run = replay(history, Stack.bind(declaration, history.venue), observers=[after.observe])
    return run, after


@pytest.mark.parametrize("stack", ["bare", "neutral", "guarded"])
def test_in_the_calm_control_no_stack_touches_anybody(stack, tmp_path):
    run, after = taken_through(made(tmp_path, scenario="calm", accounts=300), stack)
    assert after.liquidated == set()
    assert after.forced == 0.0
    assert run.verdict.peak_impact_ppm == 0


def test_october_under_the_bare_stack_looks_like_the_published_event(tmp_path):
    """Wide bands: docs/concepts/simulated-venue.md has the table at 10,000 accounts."""
    _, after = taken_through(made(tmp_path, accounts=2_000, seed=7), "bare")
    scale = PUBLISHED_ACCOUNTS / 2_000
    assert 4.0e9 < after.forced * scale / 1e6 < 7.0e9
    assert 0.2 < after.deleveraged_share < 0.4
    assert 40 < after.delay < 75
    assert 0.001 < after.shortfall / after.forced < 0.008
    assert after.longs > 0.8 * after.forced
    assert after.winners_short > 0.9 * after.deleveraged.sum()
    assert 0.1 < np.median(after.leverage) < 0.5
    btc, eth, sol, hype, xpl = after.deleveraged / after.deleveraged.sum()
    assert min(btc, eth) > max(sol, hype) > xpl


def test_the_same_recording_replays_to_the_same_digest(tmp_path):
    history = made(tmp_path, accounts=300, scenario="gap")
    digests = {taken_through(history, "bare")[0].digest for _ in range(2)}
    assert len(digests) == 1
