"""How large the fund must be, who makes the tail, who falls together: exact sums, known cases."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_measures import normal, outcome, study
from test_turn import falling
from tidegate.cli.stacks import load_stack
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import pack, unpack
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.lab import allocation, sweep
from tidegate.lab.allocation import (
    OPEN,
    by_account,
    by_group,
    by_market,
    contributions,
    losses_by_account,
    market_shares,
)
from tidegate.lab.clusters import by_direction, by_owner, clustered, concentration, slopes
from tidegate.lab.measures import clopper_pearson, tail_weights
from tidegate.lab.opening import Opening
from tidegate.lab.rescale import Louder, holdings, levered, poorer
from tidegate.lab.sizing import cover_k, fund_for, sized, with_fund
from tidegate.lab.study import Study
from tidegate.lab.weather import Weather


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizing") / "book"
    make(folder, accounts=100, seed=7)
    return Opening.of(load(folder))


def test_the_fund_is_the_least_loss_that_is_shown_to_be_enough():
    x = normal(3_000)
    found = fund_for(x, 0.01)
    most = max(k for k in range(30) if clopper_pearson(k, x.size, 0.9).high <= 0.01)
    assert found.capital == np.sort(x)[x.size - 1 - most]
    assert found.plain < found.capital
    assert found.exceeded == (x > found.capital).sum() < 30
    assert "95% confidence" in found.words(1.0)


def test_a_sample_that_is_too_small_says_how_many_it_takes():
    found = fund_for(normal(200), 1e-4)
    assert found.capital is None
    assert found.paths_needed == 29_956
    assert "29,956" in found.words()
    with pytest.raises(ConfigInvalid, match="target"):
        fund_for(normal(5), 0.0)


def test_importance_sampling_sizes_what_a_plain_sample_cannot():
    shift = 3.7
    x = normal(4_000) + shift
    found = fund_for(x, 1e-4, weights=np.exp(-shift * x + shift**2 / 2))
    assert 3.719 < found.capital < 3.85  # the quantile itself is 3.719


def test_a_table_of_sizes_has_a_row_for_each_stack_and_target():
    table = sized(study(list(range(100)), stacks=("bare", "guarded")), [0.5, 0.1])
    assert table["stack"].tolist() == ["bare", "bare", "guarded", "guarded"]
    assert table["held"].tolist() == [50] * 4
    assert (table["plain"] <= table["capital"]).all()


@pytest.mark.parametrize(
    ("capital", "scale"), [(1, 10**6), (10**15 + 7, 10**6), (123_456_789, 228)]
)
def test_a_fund_of_another_size_keeps_its_proportions(capital, scale):
    stack = load_stack("guarded")
    tranches = with_fund(stack, capital, scale).waterfall.tranches
    whole = -(-capital * 1_000_000 // scale)
    assert sum(t.initial for t in tranches) == whole
    assert abs(tranches[1].initial - 3 * tranches[0].initial) <= 4
    assert tranches[1].exhaustion == stack.waterfall.tranches[1].exhaustion


def test_no_fund_cannot_be_scaled():
    with pytest.raises(ConfigInvalid, match="no fund"):
        with_fund(load_stack("neutral"), 10)


def test_cover_k_takes_other_losers_in_other_paths():
    losses = np.array([[5.0, 1, 0], [0, 4, 3], [-9, 2, 2]])
    assert cover_k(losses, 1) == 5
    assert cover_k(losses, 2) == 7
    assert cover_k(losses, 2, target=0.5) == 6


parts = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=30)


@given(parts, st.floats(0.05, 0.95))
def test_contributions_add_up_to_the_shortfall(drawn, level):
    losses = np.array(drawn, np.float64)
    total = losses.sum(axis=1)
    found = contributions(losses, level)
    assert found.sum() == pytest.approx(tail_weights(total, level) @ total)
    assert (found >= 0).all()


def made(opening, deficits, open_at_end=0):
    """Return a study of one path for each dict of deficits by account index."""
    found = [
        outcome(
            k,
            sum(each.values()),
            deficit_at_end=open_at_end,
            sufferers=pack(np.array([FIRST_USER + a for a in each], np.int64)),
            deficits=pack(np.array(list(each.values()), np.int64)),
        )
        for k, each in enumerate(deficits)
    ]
    return Study(
        opening_digest=opening.digest, world="w", stacks=("bare",), root=1, outcomes={"bare": found}
    )


class Falling:
    name = "w"

    def weather(self, root, paths, symbols):
        del root
        line = np.linspace(1, 0.5, 4)[None, :, None] * np.ones((len(paths), 1, len(symbols)))
        return Weather(line, np.ones_like(line), 10**9)


def test_accounts_groups_and_markets_share_one_shortfall(opening):
    deficits = [{}, {3: 10}, {3: 50, 7: 30}, {8: 5}]
    held = made(opening, deficits, open_at_end=2)
    total = held.losses("bare")
    whole = tail_weights(total, 0.75) @ total
    accounts = by_account(held, "bare", opening, 0.75)
    owners = by_group(held, "bare", opening, by_owner(opening), 0.75)
    markets = by_market(held, "bare", opening, Falling(), 0.75)
    for table in (accounts, owners, markets):
        assert table["es"].sum() == pytest.approx(whole) == 82
        assert table["share"].sum() == pytest.approx(1)
    assert accounts["account"].tolist() == [opening.book.names[3], opening.book.names[7], OPEN]
    assert accounts["es"].tolist() == [50, 30, 2]
    assert markets.set_index("market").loc[OPEN, "es"] == 2


def test_the_engines_own_losses_are_allocated_exactly(opening):
    from tidegate.lab.turn import turn  # noqa: PLC0415 - the engine, once

    ends = [turn(opening, load_stack("bare"), falling(opening, to=0.5), root=1, path=0)]
    found = losses_by_account(ends, len(opening.book.names))
    assert found.sum() == ends[0].loss > 0
    assert (found[0, :-1] > 0).sum() == len(ends[0].by_account)


def test_a_deficit_is_split_by_what_fell():
    slope = np.array([[100.0, 100, 0], [100.0, -100, 0], [0.0, 0, 0], [-50.0, -50, 0]])
    price = np.array([[[1, 1, 1], [0.5, 0.75, 2.0], [0.6, 0.8, 3.0]]])
    shares = market_shares(slope, Weather(price, np.ones_like(price), 1))
    assert shares[0] == pytest.approx([2 / 3, 1 / 3, 0])
    assert shares[1] == pytest.approx([1, 0, 0])  # its hedge gained
    assert shares[2] == pytest.approx([1 / 3] * 3)
    assert shares[3] == pytest.approx([0.5, 0.5, 0])  # never below its opening: by size


def test_accounts_that_bet_alike_follow_one_leader():
    spread = 0.01 * (0.2 * np.eye(2) + 0.8)
    slope = np.array([[10.0, 0], [100.0, 0], [0, -30.0], [0, 0], [55.0, 5.0], [0, -1.0]])
    assert by_direction(slope, spread) == [1, 1, 2, -1, 1, 2]
    apart = by_direction(slope, np.diag([0.01, 0.01]), alike=0.999)
    assert apart == [1, 1, 2, -1, 4, 2]


def test_hidden_clusters_join_owners_and_net_their_own_accounts(opening):
    spread = 0.05**2 * (0.4 * np.eye(5) + 0.6)
    table = clustered(opening, spread)
    assert (table["owners"] >= 2).all()
    assert (np.diff(table["deviation"]) <= 0).all()
    n = len(opening.book.names)
    one = replace(
        opening, book=msgspec.structs.replace(opening.book, owner=pack(np.zeros(n, np.int64)))
    )
    assert clustered(one, spread).empty
    alone = clustered(one, spread, least=1).iloc[0]
    assert (alone["owners"], alone["accounts"], alone["share"]) == (1, n, 1)
    assert alone["net BTC"] == pytest.approx(slopes(opening)[:, 0].sum())


def test_concentration_of_equals_and_of_one():
    even = concentration(np.full(4, 3.0), (1, 2))
    assert (even["herfindahl"], even["effective"], even["top_2"]) == (0.25, 4, 0.5)
    assert concentration(np.array([0.0, 7.0]))["herfindahl"] == 1
    assert concentration(np.zeros(2))["effective"] == 0


def test_twice_the_leverage_is_half_the_equity_on_the_same_positions(opening):
    before, after = holdings(opening), holdings(levered(opening, 2))
    assert (before.lots == after.lots).all()
    open_ = np.unique(before.account[~before.spot])
    good = open_[before.equity[open_] > 0]
    assert np.abs(after.equity[good] * 2 - before.equity[good]).max() <= 2
    assert levered(opening, 2).digest != opening.digest
    assert "leverage times 2" in levered(opening, 2).notes


def test_poorer_collateral_leaves_debts_and_positions(opening):
    before, after = holdings(opening), holdings(poorer(opening, 0.9))
    assert (before.lots == after.lots).all()
    rich = before.cash > 0
    assert (after.cash[rich] == np.floor(before.cash[rich] * 0.9)).all()
    assert (after.cash[~rich] == before.cash[~rich]).all()


@pytest.mark.parametrize("change", [levered, poorer, lambda _, f: Louder(Falling(), f)])
def test_factors_must_mean_something(opening, change):
    with pytest.raises(ConfigInvalid, match="finite number > 0"):
        change(opening, 0.0)


def test_a_louder_world_moves_its_logarithms_further():
    loud = Louder(Falling(), 2.0)
    assert loud.name == "w*2"
    assert loud.weather(1, [0], ["A"]).price[0, -1, 0] == pytest.approx(0.25)


def test_a_sweep_goes_on_where_it_was(opening, monkeypatch):
    asked = []

    def fake(book, world, stacks, *, root, paths):
        del stacks, root, paths
        asked.append((world.name, book.notes[len(opening.notes) :]))
        return study([0, 10, 100])

    monkeypatch.setattr(sweep, "sample", fake)
    cells = sweep.grid((1.0, 2.0), (1.0, 0.5), (3.0,))
    known = {cells[0]: study([0])}
    told = []
    found = sweep.sweep(
        opening, Falling(), [load_stack("bare")], cells, root=1, paths=[0], known=known,
        on_cell=lambda cell, _: told.append(cell),
    )  # fmt: skip
    assert told == cells[1:]
    assert asked[-1] == ("w*2", ("collateral worth 50% of itself", "leverage times 3"))
    table = sweep.swept(found, level=0.5)
    assert len(table) == 4
    assert table.iloc[-1][["volatility", "quality", "leverage", "insolvency"]].tolist() == [
        2, 0.5, 3, pytest.approx(1 / 3),
    ]  # fmt: skip


def test_the_owner_of_an_account_is_a_name(opening):
    assert by_owner(opening)[5] == opening.book.names[int(unpack(opening.book.owner)[5])]
    assert allocation.owners(opening)[5] == 5
