"""Blocking work as something to wait for: opened, stepped and closed in one thread of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar


T = TypeVar("T")
END: Final = object()


async def in_one_thread(make: Callable[[], Iterator[T]], name: str) -> AsyncGenerator[T, None]:
    """Yield what an iterator yields, each step in the same thread: connections belong to one.

    Whoever stops early does not wait for a long step; what the iterator holds is released in its
    thread all the same.
    """
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
    loop = asyncio.get_running_loop()
    made: list[Iterator[T]] = []

    def step() -> object:
        if not made:
            made.append(make())
        return next(made[0], END)

    def release() -> None:
        for iterator in made:
            if isinstance(iterator, Generator):
                iterator.close()

    try:
        while (found := await loop.run_in_executor(worker, step)) is not END:
            yield found  # type: ignore[misc]  # pyright: ignore[reportReturnType] (END alone is no T)
    finally:
        worker.submit(release)
        worker.shutdown(wait=False)
