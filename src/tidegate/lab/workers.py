"""Chunks of one computation on several cores: serial kernels, threads outside, one answer."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeAlias, TypeVar

from tidegate.drivers.threads import cores


T = TypeVar("T")

Progress: TypeAlias = Callable[[int, int], None]  # (done, of)


def in_threads(
    work: Callable[[T], None],
    chunks: Sequence[T],
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Call ``work`` once for each chunk, from ``threads`` threads (None: one a core).

    Work must write where no other chunk writes, and release the interpreter's lock: then neither
    the number of threads nor the order in which chunks end is part of the answer. The first
    exception is raised once the chunks under way have ended; no other is begun.
    """
    many = min(threads or cores(), len(chunks))
    if many <= 1:
        for n, chunk in enumerate(chunks, 1):
            work(chunk)
            if progress:
                progress(n, len(chunks))
        return
    with ThreadPoolExecutor(many) as pool:
        try:
            for n, done in enumerate(as_completed([pool.submit(work, c) for c in chunks]), 1):
                done.result()
                if progress:
                    progress(n, len(chunks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
