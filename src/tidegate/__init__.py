"""Tidegate: the open engine that keeps one trader's liquidation from becoming everyone's."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any, TypeAlias

    from tidegate.domain.venue import Venue
    from tidegate.lab.stress import Hearer
    from tidegate.lab.tables import Book, Given
    from tidegate.lab.weather import World
    from tidegate.report.stress_result import StressResult
    from tidegate.safeguards.stack import SafeguardStack

    DataFrame: TypeAlias = Any  # a pandas.DataFrame

__version__ = "0.1.0"


def _compiled_code_folder() -> Path:
    """Return a cache folder named after all kernel sources: an edited helper is never missed."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=8)
    for source in [
        *sorted((here / "domain").glob("*.py")),
        *sorted((here / "kernels").glob("*.py")),
        *sorted((here / "lab/kernels").glob("*.py")),
    ]:
        digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tidegate" / "compiled" / digest.hexdigest()


# Numba reads this once, when it is first imported; a folder set by the operator wins.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled_code_folder()))


def stress(
    book: "Path | str | DataFrame | Book",
    venue: "Venue | Path | str | None" = None,
    worlds: "Sequence[World | str] | None" = None,
    stacks: "Sequence[SafeguardStack | str | Path] | None" = None,
    *,
    paths: "int | Sequence[int] | None" = None,
    seed: int = 1,
    workers: int = 1,
    cluster: str | None = None,
    prices: "Mapping[str, float] | Path | str | None" = None,
    parameters: "Given | Path | str | None" = None,
    balance_with: str | None = None,
    leave_out: "Collection[str]" = (),
    where: "Mapping[str, str] | None" = None,
    questions: bool = True,
    keep: "Path | str | None" = None,
    hearer: "Hearer | None" = None,
) -> "StressResult":
    """Find what breaks a book: worlds x stacks x paths through the engine that runs live.

    Parameters
    ----------
    book
        The folder of a recording, a table of positions or of loans (.parquet, .csv or a data
        frame), or a `Book` that was read before.
    venue
        A venue file; None infers one and says what was inferred in ``result.notes``.
    worlds, stacks
        Things, or the words that name them: ``"kou:rate=24"``, ``"guarded"``, ``"my.toml"``.
    paths
        How many for each world and stack, or which; None goes by the size of the book.
    workers, cluster
        Processes, or the address of a Dask scheduler; the answer is the same.
    prices, parameters, balance_with, leave_out, where
        What completes a table: see `tidegate.lab.tables.read_book`.
    questions
        Whether to map the liquidity cliff and to search where each stack breaks, too.
    keep
        A folder of finished paths, so that the same call, or one for more paths, goes on from them.
    """
    from tidegate.report.stress_face import face  # noqa: PLC0415 - numba, pandas, matplotlib

    return face(
        book,
        venue,
        worlds,
        stacks,
        paths=paths,
        seed=seed,
        workers=workers,
        cluster=cluster,
        prices=prices,
        parameters=parameters,
        balance_with=balance_with,
        leave_out=leave_out,
        where=where,
        questions=questions,
        keep=keep,
        hearer=hearer,
    )
