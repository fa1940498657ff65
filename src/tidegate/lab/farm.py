"""Runs independent pieces of work here, in processes or on a cluster: the answer is the same.

What is computed is a list: one result a chunk, in the order of the chunks. Who computed which, in
what order they finished and whether a worker died on the way is no part of it, because the caller
cuts the chunks and a task sees nothing but its own. A piece of randomness is a named stream of its
chunk.

Workers are processes begun afresh (spawn): a process forked after a parallel kernel has run would
be killed when it enters one itself. Kernels in a worker use its share of the cores.
"""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tidegate.lab.farm_code import code_digest
from tidegate.lab.farm_workers import Crew, Here
from tidegate.lab.sealed import checksum, unsealed, write_sealed


if TYPE_CHECKING:
    from tidegate.lab.farm_cluster import Cluster


T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Keep:
    """A folder of finished chunks, so that an interrupted run goes on where it was.

    ``digest`` names everything a result depends on; `keep_for` makes one. Files are Python pickles
    that only this program writes: trust the folder as you trust the code.
    """

    path: Path
    digest: str

    def _file(self, n: int) -> Path:
        return self.path / self.digest / f"{n:08d}.chunk"

    def get(self, n: int) -> Any:  # noqa: ANN401 - whatever the task returned
        """Return the kept result of chunk ``n``; None where there is none, or a damaged one."""
        try:
            content = unsealed(self._file(n).read_bytes())
        except FileNotFoundError:
            return None
        return None if content is None else pickle.loads(content)  # noqa: S301 - we wrote it

    def put(self, n: int, result: object) -> None:
        """Keep a result: a reader sees all of it or nothing."""
        assert result is not None, "None would look like a chunk that is not there"
        write_sealed(self._file(n), pickle.dumps(result, protocol=5))


def keep_for(path: Path, task: Callable[[T], R], chunks: Sequence[T], *facts: str) -> Keep:
    """Return the store below ``path`` for exactly this work.

    Its digest covers the task's name, every chunk, the code and the versions it runs on, and
    ``facts``: digests of what the task reads beside its chunk, such as a stack's or a recording's.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (task.__module__, task.__qualname__, code_digest(), *facts):
        digest.update(f"{len(part)}:{part}".encode())
    for chunk in chunks:
        digest.update(checksum(pickle.dumps(chunk, protocol=5)))
    return Keep(path, digest.hexdigest())


def pieces(total: int, size: int) -> list[tuple[int, int]]:
    """Cut 0..total into half-open pieces of ``size``; where they end never depends on workers."""
    assert total >= 0
    assert size >= 1
    return [(at, min(at + size, total)) for at in range(0, total, size)]


def hands(workers: int, cluster: str | None = None) -> "Here | Crew | Cluster":
    """Return who computes, to be used in a `with` block, for one run or for many.

    The three have one face: ``run(task, chunks, which, finished, pinned=)`` calls
    ``finished(n, result)`` for each chunk numbered in ``which``, in the order in which they end.
    """
    if cluster is not None:
        from tidegate.lab.farm_cluster import Cluster  # noqa: PLC0415 - 1 s that few runs need

        return Cluster(cluster)
    return Here() if workers == 1 else Crew(workers)


def run(
    task: Callable[[T], R],
    chunks: Sequence[T],
    *,
    workers: int = 1,
    cluster: str | None = None,
    on_done: Callable[[int, int], None] | None = None,
    keep: Keep | None = None,
) -> list[R]:
    """Return ``[task(chunk) for chunk in chunks]``, whoever computes it.

    Parameters
    ----------
    task
        A function at the top of a module that workers can import; it must depend on nothing but its
        chunk, and answer with something that pickles.
    chunks
        What pickles: numbers, tuples, structs, arrays.
    workers
        1 computes here; more begin so many processes. A worker that dies is replaced and its chunk
        begun again, `farm_workers.TRIES_MAX` times at most.
    cluster
        Address of a Dask scheduler, such as ``tcp://host:8786``; ``workers`` is then its affair.
    on_done
        Told how many chunks of how many are finished, first those that were kept.
    keep
        Where finished chunks are kept: see `keep_for`.

    Raises
    ------
    WorkerLost
        When a chunk has taken its workers with it too often.

    An exception in a task ends the run and is raised here. So does an interrupt; what was finished
    before is in ``keep``.
    """
    assert workers >= 1
    results: list[Any] = [None if keep is None else keep.get(n) for n in range(len(chunks))]
    left = [n for n, result in enumerate(results) if result is None]
    done = len(chunks) - len(left)
    if done and on_done is not None:
        on_done(done, len(chunks))

    def finished(n: int, result: R) -> None:
        nonlocal done
        results[n], done = result, done + 1
        if keep is not None:
            keep.put(n, result)
        if on_done is not None:
            on_done(done, len(chunks))

    if left:
        with hands(min(workers, len(left)), cluster) as crew:
            crew.run(task, chunks, left, finished)
    return results
