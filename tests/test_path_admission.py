"""Path kernels are admitted because they do what the engine does, event for event, to the unit."""

import numpy as np
import pytest

from path_world import COINCIDING, WITHOUT_DELEVERAGING, coinciding, laws_of, stack_of, trouble
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.lab.admission import WholeFills, admit, engine_trail, kernel_rows
from tidegate.lab.bench import paths as bench
from tidegate.lab.bench.path_world import populated, venue_of, whole
from tidegate.lab.kernels import cells as c
from tidegate.lab.ladder import Ladder, rounds_of, run_ladder
from tidegate.lab.path_model import PathModel
from tidegate.lab.paths import Walks, run_paths, trail_of
from tidegate.safeguards.breaker import Step
from tidegate.safeguards.stack import Stack


NAMES = {
    c.TICK: "price",
    c.ORDER: "order",
    c.NET: "netted",
    c.CLOSED: "deleveraged",
    c.WINNER: "winner",
    c.DEFICIT: "deficit",
    c.FILL: "fill",
}


@pytest.mark.parametrize("name", COINCIDING)
def test_the_kernel_does_what_the_engine_does(name):
    state, stack, laws, price = coinciding(name)
    found = admit(state, stack, laws, price)
    assert found.admitted, found.difference
    # And it was no quiet day on which all kernels are equal.
    needed = {c.TICK, c.ORDER, c.DEFICIT, c.FILL}
    if name not in WITHOUT_DELEVERAGING:
        needed |= {c.CLOSED, c.WINNER}
    assert all(found.kinds[kind] for kind in needed), found.kinds
    totals = run_paths(PathModel.of(state, stack, laws), price[None])
    for column in COINCIDING[name][1]:
        assert getattr(totals, column)[0] > 0, f"nothing of {column} occurred"


def test_the_journal_of_a_path_is_golden(golden):
    """The engine's words and the kernel's are compared with the same blessed file."""
    state, stack, laws, price = coinciding("throttle, breaker, fund and queue", accounts=30)
    expected, _ = engine_trail(state, stack, laws, price)
    found, _ = trail_of(PathModel.of(state, stack, laws), price)

    def said(rows):
        return [" ".join([NAMES[row[0]], *map(str, row[1:])]) for row in rows]

    golden("path-kernel", said(expected))
    golden("path-kernel", said(kernel_rows(found)))


def test_rungs_are_climbed_and_left_as_in_the_engine():
    """A short cooldown lets the ladder come down again within the path."""
    steps = (
        Step(rung="caution", deviations=2_000_000, pace=500_000),
        Step(rung="reduce_only", deviations=4_000_000, drawdown=50_000, pace=250_000),
        Step(rung="auction_only", deviations=9_000_000, pace=0),
        Step(rung="halt", deviations=20_000_000, pace=0),
    )
    stack = stack_of(
        breaker={"steps": steps, "cooldown_ns": 2_000_000_000, "window_ns": 3_000_000_000}
    )
    state, price = populated(stack, 60, near=0.03)
    path, laws = trouble(price, steps=40), laws_of(price)
    found = admit(state, stack, laws, path)
    assert found.admitted, found.difference
    trail, _ = trail_of(PathModel.of(state, stack, laws), path)
    rungs = trail[trail[:, 0] == c.TICK, 3]
    assert {0, 2, 3, 4} <= set(rungs.tolist())
    assert (np.diff(rungs) < 0).any()


def test_a_difference_would_be_found(monkeypatch):
    """An admission that cannot fail admits anything: here the engine's venue pays one tick less."""
    state, stack, laws, price = coinciding("throttle, breaker, fund and queue")
    honest = WholeFills._traded
    monkeypatch.setattr(
        WholeFills, "_traded", lambda self, i, lots, mark: honest(self, i, lots, mark) - 1
    )
    found = admit(state, stack, laws, price)
    assert not found.admitted
    assert "the engine says" in found.difference


def test_pruning_changes_nothing_but_the_number_of_looks():
    state, stack, laws, price = coinciding("throttle, breaker, fund and queue", accounts=400)
    paths = np.stack([trouble(price[0], seed=n, deviation=0.003) for n in range(3)])
    pruned = run_paths(PathModel.of(state, stack, laws), paths)
    full = run_paths(PathModel.of(state, stack, laws, pruned=False), paths)
    for name in pruned.__dataclass_fields__:
        if name != "looks":
            assert (getattr(pruned, name) == getattr(full, name)).all(), name
    assert (4 * pruned.looks < full.looks).all()


def test_neither_chunks_nor_threads_change_a_path_and_walks_are_their_prices():
    state, stack, laws, _ = coinciding("pro rata, everybody pays")
    model, price = PathModel.of(state, stack, laws), state.mark.copy()
    walks = Walks(11, 7, 20, price, np.zeros(3), np.eye(3) * 0.02)
    one = run_paths(model, walks, threads=1, chunk=1)
    seen = []
    two = run_paths(model, walks, threads=2, chunk=3, progress=lambda *d: seen.append(d))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    later = run_paths(model, Walks(11, 4, 20, price, np.zeros(3), np.eye(3) * 0.02, begin=3))
    given = np.stack([walks.path(n, state.facts.price_max) for n in range(7)])
    told = run_paths(model, given)
    assert one.liquidated.any()
    for name in one.__dataclass_fields__:
        columns = [getattr(t, name) for t in (one, two, told)]
        assert (columns[0] == columns[1]).all()
        assert (columns[0] == columns[2]).all()
        assert (columns[0][3:] == getattr(later, name)).all()


@pytest.mark.parametrize("law", ["square_root", "linear"])
def test_the_ladder_falls_round_for_round_as_the_engine_does(law):
    """Which accounts, at which mark, filled at what, and who then owes how much."""
    stack = Stack.bind(whole(), venue_of(150, 1))
    state, first = populated(stack, 150, near=0.05)
    laws = laws_of(first, law=law)
    price = trouble(first, steps=40, deviation=0.01)
    price = np.vstack([price, price[-1:] + 7])  # one more price, at which the last debts are seen
    ladder = Ladder.of(state, laws[0])
    expected, after = engine_trail(state, stack, laws, price)
    rounds, orders, fill = [], [], 0
    for kind, *row in expected:
        if kind == c.ORDER:
            orders.append(row[0])
        elif kind == c.FILL and row[1] >= 0:
            fill = row[3]
        elif kind == c.DEFICIT:
            rounds[-1][3] += row[1]
        elif kind == c.TICK and orders:
            rounds.append([row[1], sorted(orders), fill, 0])
            orders = []
    found = []
    for _, mark, begin, end, filled, debt in rounds_of(ladder, price[:, 0]).tolist():
        falls = any(r[0] == mark and r[2] <= mark for r in rounds)
        account = ladder.account[0 if filled <= mark and falls else 1][begin:end]
        found.append([mark, sorted(account.tolist()), filled, debt])
    assert found == rounds
    assert len(rounds) > 10
    totals = run_ladder(ladder, price[None])
    assert totals.bad_debt[0] == -after.book.cash[3] > 0
    assert totals.liquidated[0] == sum(len(r[1]) for r in rounds)


def test_the_ladder_does_not_depend_on_chunks_threads_or_the_order_of_bankruptcy():
    state, first = populated(Stack.bind(whole(), venue_of(300, 1)), 300, near=0.05)
    ladder = Ladder.of(state, laws_of(first)[0])
    walks = Walks(5, 40, 300, first, np.full(1, -1e-4), np.full((1, 1), 0.004))
    one = run_ladder(ladder, walks, threads=1, chunk=40)
    two = run_ladder(ladder, walks, threads=2, chunk=7)
    given = np.stack([walks.path(n, state.facts.price_max) for n in range(40)])
    told = run_ladder(ladder, given)
    slow = Ladder(
        ladder.longs._replace(ordered=0),
        ladder.shorts._replace(ordered=0),
        ladder.market,
        ladder.account,
    )
    summed = run_ladder(slow, given)
    assert one.bad_debt.any()
    for name in one.__dataclass_fields__:
        for other in (two, told, summed):
            assert (getattr(one, name) == getattr(other, name)).all(), name


def test_what_no_kernel_follows_is_refused():
    state, stack, laws, price = coinciding("throttle, breaker, fund and queue")
    bad = stack_of(planner={"priority": "branching"})
    with pytest.raises(ConfigInvalid, match="priority"):
        PathModel.of(state, bad, laws)
    for changes, where in (
        ({"hedges": "spared"}, "waterfall"),
        ({"deleverage": "mirror"}, "waterfall"),
        ({"socialise": "profit"}, "waterfall"),
        ({"breaker": {"smooth": True}}, "breaker"),
        ({"breaker": {"steps": (Step(rung="halt", distressed=1),)}}, "breaker"),
    ):
        with pytest.raises(ConfigInvalid, match=where):
            PathModel.of(state, stack_of(**changes), laws)
    with pytest.raises(ConfigInvalid, match="laws"):
        PathModel.of(state, stack, laws[:2])
    model = PathModel.of(state, stack, laws)
    with pytest.raises(ConfigInvalid, match="prices"):
        run_paths(model, price[None, :, :2])
    with pytest.raises(ConfigInvalid, match="prices"):
        run_paths(model, price[None] - price.min())


def test_more_orders_than_slots_are_an_error_with_a_name():
    state, stack, laws, price = coinciding("throttle, breaker, fund and queue")
    model = PathModel.of(state, stack, laws)
    model.first.rule[c.ORDERS_MAX] = 1
    with pytest.raises(CapacityExceeded, match="slots"):
        run_paths(model, price[None])
    with pytest.raises(CapacityExceeded, match="slots"):  # and nobody waits for a desk for ever
        run_paths(model, np.repeat(price[None], 6, axis=0), threads=2, chunk=1)


def test_a_dated_rate_on_debt_is_the_states_own():
    state, stack, laws, _ = coinciding("throttle, breaker, fund and queue")
    before = PathModel.of(state, stack, laws).first.rule[c.DEBT_RATE]
    state.facts.cash_debt[0] += 70_000
    assert PathModel.of(state, stack, laws).first.rule[c.DEBT_RATE] == before + 70_000
    state.facts.cash_debt[0] -= 70_000


def test_the_engine_orders_what_the_trail_says():
    """The trail is made of the engine's own effects, not of a second opinion about them."""
    state, stack, laws, price = coinciding("throttle, breaker, fund and queue")
    rows, after = engine_trail(state, stack, laws, price)
    assert state.seq < after.seq
    assert not after.orders.counts[1], "all is filled at once"
    assert any(row[0] == c.ORDER for row in rows)


@pytest.mark.usefixtures("frozen")
def test_the_benchmark_compares_before_it_times():
    single, multi = bench.measure(0.005)
    assert (single.name, multi.name) == bench.NAMES
    assert set(multi.yardsticks) == {"kernel_unpruned", "engine"}
    assert "equal to the engine" in multi.conditions
