"""The same chunks on a Dask cluster: the only file that knows its client."""

# What the client returns has no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeVar

from distributed import Client, as_completed
from distributed.scheduler import KilledWorker

from tidegate.domain.errors import ConfigInvalid, WorkerLost
from tidegate.lab.farm_code import code_digest


T = TypeVar("T")
R = TypeVar("R")
CONNECT_SECONDS: Final = 10


def _compute(expected: str, message: bytes) -> bytes:
    """Compute one chunk on a worker, which must run the very code that the client runs."""
    found = code_digest()
    if found != expected:
        raise ConfigInvalid(
            where="--cluster",
            what=f"workers must run the same code and versions, digest {expected}",
            found=found,
            hint="install the same tidegate, numpy, numba and scipy on every worker",
        )
    task, chunk = pickle.loads(message)  # noqa: S301 - from the client that the scheduler let in
    return pickle.dumps(task(chunk), protocol=5)


class Cluster:
    """A Dask cluster by the scheduler's address; the face of `farm_workers.Crew`.

    Task and chunk travel as one opaque message, so that the scheduler neither reads nor replaces
    anything in them. A worker that dies is the scheduler's to replace: it gives the chunk to
    another, as often as its own setting `allowed-failures` says.
    """

    def __init__(self, address: str) -> None:
        try:
            self._client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigInvalid(
                where="--cluster",
                what="must be the address of a running Dask scheduler, as tcp://host:8786",
                found=f"{address!r} ({error})",
            ) from error
        self.sent = self.received = 0

    def __enter__(self) -> Self:
        """Return the cluster."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave; what is still waiting there is forgotten."""
        self._client.close()

    @property
    def size(self) -> int:
        """How many workers there are now, one where they are still to come."""
        return max(1, len(self._places()))

    def _places(self) -> list[str]:
        return sorted(self._client.scheduler_info(n_workers=-1)["workers"])

    def run(
        self,
        task: Callable[[T], R],
        chunks: Sequence[T],
        which: Sequence[int],
        finished: Callable[[int, R], None],
        *,
        pinned: bool = False,
    ) -> None:
        """Compute the chunks numbered ``which``; ``pinned`` prefers one worker for each number."""
        places = self._places() if pinned else []
        waiting: Any = as_completed(loop=self._client.loop, with_results=True)
        number: dict[Any, int] = {}
        for n in which:
            message = pickle.dumps((task, chunks[n]), protocol=5)
            self.sent += len(message)
            future = self._client.submit(
                _compute,
                code_digest(),
                message,
                pure=False,
                workers=[places[n % len(places)]] if places else None,
                allow_other_workers=bool(places),
            )
            number[future.key] = n
            waiting.add(future)
        try:
            for future, answer in waiting:
                if future.status != "finished":  # the scheduler itself has gone
                    raise WorkerLost(chunk=number[future.key], tries=1)
                self.received += len(answer)
                finished(number[future.key], pickle.loads(answer))  # noqa: S301 - our own workers
        except KilledWorker as error:
            raise WorkerLost(chunk=number[error.task], tries=error.allowed_failures + 1) from error
