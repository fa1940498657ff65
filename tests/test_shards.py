"""A book in shards: joined, the parts say what the whole says, to the last unit."""

import msgspec
import numpy as np
import pytest
from distributed import LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import chores
from strategies import MARGIN, histories, unfold
from tidegate.domain.book import FIRST_USER, Health
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.lab import farm
from tidegate.lab.bench.world import world
from tidegate.lab.sharded import Question, ShardedBook, answer
from tidegate.lab.shards import Plain, Totals, cut, exact_sum, joined, totals


def whole(book, facts, margin, mark, low, high):
    return margin.assess(book, facts, mark=mark, low=low, high=high)


def naive(health: Health) -> Totals:
    """The totals once more, account by account, in Python's integers."""
    columns = (health.equity, health.required, health.best)
    rows = list(zip(*(column[FIRST_USER:].tolist() for column in columns), strict=True))
    return Totals(
        accounts=len(rows),
        equity=sum(e for e, _, _ in rows),
        required=sum(r for _, r, _ in rows),
        liquidatable=sum(b < 0 for _, _, b in rows),
        shortfall=sum(-b for _, _, b in rows if b < 0),
        bankrupt=sum(e < 0 for e, _, _ in rows),
        deficit=sum(-e for e, _, _ in rows if e < 0),
    )


@settings(max_examples=40)
@given(histories(moves_max=30), st.integers(1, 9), st.booleans(), st.data())
def test_shards_joined_are_the_whole_book(history, shards, grouped, data):
    """Whatever has happened to a book: unpriced, owed, in coins, isolated, joined by owners."""
    for reached, event in unfold(history):
        world_ = reached
        try:
            reached.take(event)
        except CapacityExceeded:
            break
    state, stack = world_.state, world_.stack
    margin = msgspec.structs.replace(MARGIN, group_tiers=grouped)
    moved = np.array([data.draw(st.integers(-400, 400)) for _ in state.mark], np.int64)
    mark = np.where(state.mark > 0, np.maximum(1, state.mark + moved), 0)
    low, high = np.maximum(0, mark - abs(moved)), mark + abs(moved)
    expected = whole(state.book, stack.facts, margin, mark, low, high)
    found = np.zeros((3, state.book.accounts), np.int64)
    seen = []
    parts = cut(state.book, stack.facts, shards)
    sums = []
    for part in parts:
        health = Plain(margin)(part.book, part.facts)(mark, low, high)
        columns = (health.equity, health.required, health.best)
        found[:, part.rows[FIRST_USER:]] = np.array(columns)[:, FIRST_USER:]
        seen += part.rows[FIRST_USER:].tolist()
        sums.append(totals(health))
    assert sorted(seen) == list(range(FIRST_USER, state.book.accounts))
    expected_columns = (expected.equity, expected.required, expected.best)
    assert found.tolist() == [c.tolist() for c in expected_columns]
    assert joined(sums) == totals(expected) == naive(expected)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_a_sum_never_wraps(cells):
    assert exact_sum(np.array(cells, np.int64)) == sum(cells)


@pytest.fixture(scope="module")
def venue():
    return world(600)


def prices(state, n):
    """Marks that part further and further, the believed interval a little around them."""
    mark = state.mark * (1_000 + n * np.array([-60, 40, -20])) // 1_000
    return mark, mark - 50 * n, mark + 50 * n


def test_any_number_of_shards_and_workers_gives_one_answer(venue, tmp_path):
    state, stack = venue
    margin = stack.declaration.margin
    expected = []
    for n in range(4):
        mark, low, high = prices(state, n)
        health = whole(state.book, stack.facts, margin, mark, low, high)
        rows = health.liquidatable
        expected.append([naive(health), rows.tolist(), health.best[rows].tolist()])
    assert expected[-1][1], "somebody must fall for this to say anything"
    for shards, workers in ((1, 1), (5, 1), (5, 2)):
        with ShardedBook(
            state.book, stack.facts, Plain(margin), shards=shards, folder=tmp_path, workers=workers
        ) as book:
            for n in range(4):
                mark, low, high = prices(state, n)
                said = book.assess(mark=mark, low=low, high=high)
                assert [said.totals, said.account.tolist(), said.best.tolist()] == expected[n]
                required = whole(state.book, stack.facts, margin, mark, low, high).required
                assert (said.required == required[said.account]).all()
                assert (said.equity - said.required <= said.best).all()
            marks = 4 * workers * 3 * mark.nbytes
            assert (book.sent > marks) if workers > 1 else (book.sent == book.received == 0)


def test_a_shard_that_cannot_be_read_is_named(tmp_path, venue):
    state, _ = venue
    with pytest.raises(ConfigInvalid, match="shard 3"):
        answer(Question(str(tmp_path), "no such book", (3,), state.mark, state.mark, state.mark))


def test_a_dask_cluster_gives_the_same_answers(venue, tmp_path):
    """One real scheduler with two worker processes: chunks, errors, a book in shards."""
    state, stack = venue
    margin = stack.declaration.margin
    pieces = farm.pieces(11, 3)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=40
    ) as cluster:
        address = cluster.scheduler_address
        assert farm.run(chores.drawn, pieces, cluster=address) == [chores.drawn(p) for p in pieces]
        chunks = [(str(tmp_path), n) for n in range(5)]
        assert farm.run(chores.dies_once, chunks, cluster=address) == [n * n for n in range(5)]
        with pytest.raises(ValueError, match="not a number"):
            farm.run(chores.refuses, range(4), cluster=address)
        mark, low, high = prices(state, 3)
        with ShardedBook(
            state.book, stack.facts, Plain(margin), shards=3, folder=tmp_path, cluster=address
        ) as book:
            said = book.assess(mark=mark, low=low, high=high)
            assert book.sent > 0
            assert book.received > 0
    health = whole(state.book, stack.facts, margin, mark, low, high)
    assert said.totals == naive(health)
    assert said.account.tolist() == health.liquidatable.tolist()


def test_an_address_without_a_scheduler_is_refused():
    with pytest.raises(ConfigInvalid, match="running Dask scheduler"):
        farm.hands(1, "nonsense://nowhere")
