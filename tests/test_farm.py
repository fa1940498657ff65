"""Spread work: whoever computes a chunk, and whoever dies on the way, the list is the same."""

import os

import numpy as np
import pytest

import chores
from tidegate.domain.errors import WorkerLost
from tidegate.lab import farm, farm_workers
from tidegate.lab.farm_code import code_digest


PIECES = farm.pieces(23, 4)
EXPECTED = [chores.drawn(piece) for piece in PIECES]


@pytest.fixture(scope="module")
def crew():
    with farm.hands(2) as two:
        yield two


def test_pieces_cover_everything_once_and_never_depend_on_workers():
    assert farm.pieces(0, 4) == []
    assert farm.pieces(4, 4) == [(0, 4)]
    assert PIECES[-1] == (20, 23)
    assert [n for low, high in PIECES for n in range(low, high)] == list(range(23))


def test_one_worker_computes_here():
    seen = []
    done = farm.run(chores.whose, range(3), on_done=lambda n, total: seen.append((n, total)))
    assert done == [(n, os.getpid()) for n in range(3)]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_any_number_of_workers_gives_one_answer():
    assert farm.run(chores.drawn, PIECES) == EXPECTED
    assert farm.run(chores.drawn, PIECES, workers=3) == EXPECTED
    assert farm.run(chores.drawn, [], workers=2) == []


def test_two_workers_give_the_same_answer(crew):
    found: dict[int, int] = {}
    crew.run(chores.drawn, PIECES, range(len(PIECES)), found.__setitem__)
    assert [found[n] for n in range(len(PIECES))] == EXPECTED


def test_columns_travel_and_what_travels_is_counted(crew):
    columns = [np.arange(n, dtype=np.int64) for n in (3, 70_000, 5)]
    found: dict[int, int] = {}
    sent, received = crew.sent, crew.received
    crew.run(chores.total, columns, range(3), found.__setitem__)
    assert found == {n: int(column.sum()) for n, column in enumerate(columns)}
    assert 70_000 * 8 < crew.sent - sent < 70_000 * 8 + 2_000
    assert 0 < crew.received - received < 1_000


def test_an_error_in_a_worker_is_raised_here_and_says_where_it_was():
    with farm.hands(2) as crew:
        with pytest.raises(ValueError, match="not a number") as caught:
            crew.run(chores.slow_or_refuses, [60, 2], range(2), {}.__setitem__)
        assert "in refuses" in caught.value.__notes__[0]
        found = {}
        crew.run(chores.refuses, [7, 8], range(2), found.__setitem__)
        assert found == {0: 7, 1: 8}, "what the slow one would have said must not turn up here"


def test_an_answer_that_cannot_travel_is_an_error_and_no_riddle(crew):
    with pytest.raises(Exception, match=r"pickle|local object") as caught:
        crew.run(chores.unpicklable, range(1), range(1), {}.__setitem__)
    assert any("must pickle" in note for note in caught.value.__notes__)


def test_a_worker_that_is_killed_is_replaced_and_nothing_shows(tmp_path):
    chunks = [(str(tmp_path), n) for n in range(6)]
    with farm.hands(2) as crew:
        found: dict[int, int] = {}
        before = crew.processes
        crew.run(chores.dies_once, chunks, range(6), found.__setitem__)
        assert crew.deaths == 1
        assert len(set(before) & set(crew.processes)) == 1
    assert [found[n] for n in range(6)] == [n * n for n in range(6)]


def test_a_chunk_that_kills_whoever_takes_it_ends_the_run():
    with pytest.raises(WorkerLost, match="3 workers died on it, the last with exit code -9"):
        farm.run(chores.dies_always, [5, 6], workers=2)
    assert farm_workers.TRIES_MAX == 3


def test_a_pinned_chunk_always_meets_the_same_worker(crew):
    for _ in range(3):
        found: dict[int, tuple[int, int]] = {}
        crew.run(chores.whose, range(5), range(5), found.__setitem__, pinned=True)
        assert [found[n][1] for n in range(5)] == [crew.processes[n % 2] for n in range(5)]


def test_an_interrupt_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path):
    chunks = [(str(tmp_path), n) for n in range(5)]
    keep = farm.keep_for(tmp_path / "kept", chores.counted, chunks, "stack")

    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        farm.run(chores.counted, chunks, on_done=interrupt, keep=keep)
    seen = []
    done = farm.run(chores.counted, chunks, on_done=lambda n, _: seen.append(n), keep=keep)
    assert done == [(n, n * n) for n in range(5)]
    assert seen == [3, 4, 5]
    assert (tmp_path / "computed").read_text().split() == list("01234")


def test_an_interrupt_ends_the_workers_at_once():
    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    crew = farm.hands(2)
    pids = crew.processes
    with pytest.raises(KeyboardInterrupt), crew:
        crew.run(chores.slow, [0.0, 60.0], range(2), interrupt)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_damaged_or_foreign_file_is_computed_again(tmp_path):
    chunks = [(str(tmp_path), n) for n in range(2)]
    keep = farm.keep_for(tmp_path / "kept", chores.counted, chunks)
    assert keep.get(0) is None
    keep.put(0, (1, 2))
    assert keep.get(0) == (1, 2)
    [file] = (tmp_path / "kept").rglob("*.chunk")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert keep.get(0) is None
    file.write_bytes(content[:5])
    assert keep.get(0) is None
    assert farm.run(chores.counted, chunks, keep=keep) == [(0, 0), (1, 1)]
    assert keep.get(0) == (0, 0)


def test_what_is_kept_answers_to_its_task_its_chunks_and_its_facts_only(tmp_path):
    def digest(task=chores.drawn, chunks=PIECES, *facts):
        return farm.keep_for(tmp_path, task, chunks, *facts).digest

    others = [digest(chores.counted), digest(chunks=PIECES[:-1]), digest(chores.drawn, PIECES, "a")]
    joined = [digest(chores.drawn, PIECES, "ab", "c"), digest(chores.drawn, PIECES, "a", "bc")]
    assert digest() == digest()
    assert len({digest(), *others, *joined}) == 6
    assert len(code_digest()) == 32
