"""`tidegate data fetch`: public exchange archives and on-chain indexers, over the network."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate.cli.say import LINE_EVERY, words


if TYPE_CHECKING:
    from rich.progress import TaskID

Tell = Callable[[str, int, int], None]

BASE_URL: Final = "https://data.binance.vision"
DAY: Final = click.DateTime(["%Y-%m-%d"])


@click.group()
def fetch() -> None:
    """Fetch candles and trades of an exchange's archive, or entities of an on-chain indexer.

    What was interrupted goes on where it stopped; what is here already is not fetched again.
    """


@fetch.command()
@click.option("--symbol", "symbols", multiple=True, required=True, help="Repeat it for several.")
@click.option(
    "--market",
    type=click.Choice(["spot", "um", "cm"]),
    default="um",
    show_default=True,
    help="Spot, or futures margined in a stablecoin (um) or in the coin (cm).",
)
@click.option(
    "--kind", type=click.Choice(["klines", "aggTrades"]), default="klines", show_default=True
)
@click.option("--interval", default="1m", show_default=True, help="Of klines.")
@click.option("--from", "since", type=DAY, required=True, help="First day, UTC.")
@click.option("--until", type=DAY, required=True, help="Last day, included.")
@click.option(
    "--period",
    type=click.Choice(["daily", "monthly"]),
    default="daily",
    show_default=True,
    help="One file a day or a month.",
)
@click.option("--base-url", default=BASE_URL, show_default=True, help="A mirror of the archive.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder."
)
def archive(
    symbols: tuple[str, ...],
    market: str,
    kind: str,
    interval: str,
    since: datetime,
    until: datetime,
    period: str,
    base_url: str,
    out: Path,
) -> None:
    """Fetch the zip files of an exchange's public archive, each proved by its SHA-256.

    Prints the path of every file; `tidegate data convert candles` reads them.
    """
    from tidegate.adapters.archive import archive_files  # noqa: PLC0415 - numpy, pyarrow
    from tidegate.adapters.fetch import fetch_files  # noqa: PLC0415 - ditto, and httpx

    files = [
        file
        for symbol in symbols
        for file in archive_files(
            market=market,
            kind=kind,
            symbol=symbol.upper(),
            interval=interval,
            since=since.replace(tzinfo=UTC).date(),
            until=until.replace(tzinfo=UTC).date(),
            period=period,
        )
    ]
    words(f"fetching {len(files)} files from {base_url}")
    with transfer() as tell:
        fetched = fetch_files(files, out, base_url=base_url, on_progress=tell)
    read = sum(file.bytes_read for file in fetched)
    here = sum(not file.bytes_read for file in fetched)
    words(f"{len(fetched)} files, {read:,} bytes read, {here} were here already")
    for file in fetched:
        click.echo(file.path)


@fetch.command()
@click.option("--url", required=True, help="The subgraph's GraphQL endpoint.")
@click.option(
    "--entity",
    type=click.Choice(["positions", "liquidates", "markets"]),
    default="positions",
    show_default=True,
)
@click.option("--block", type=click.IntRange(1), help="As of this block; the newest if left out.")
@click.option("--key", envvar="TIDEGATE_INDEXER_KEY", help="Sent as a bearer token; never printed.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A Parquet file."
)
def indexer(url: str, entity: str, block: int | None, key: str | None, out: Path) -> None:
    """Fetch every position, liquidation or market that a lending subgraph knows, at one block."""
    from tidegate.adapters.indexer import fetch_entities  # noqa: PLC0415 - pyarrow, httpx

    words(f"fetching {entity} from {url}")
    with transfer() as tell:
        count = fetch_entities(url, entity, out, block=block, key=key, on_progress=tell)
    words(f"{count:,} {entity}")
    click.echo(out)


@contextmanager
def transfer() -> Generator[Tell]:
    """Show how far a transfer is: a bar a file on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console  # noqa: PLC0415 - 0.2 s that --help should not pay
    from rich.progress import Progress  # noqa: PLC0415 - ditto

    with Progress(console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(name: str, have: int, total: int) -> None:
            task = tasks.get(name)
            if task is None:
                task = tasks[name] = bar.add_task(name)
            bar.update(task, completed=have, total=total or None)

        yield tell


def _lines() -> Tell:
    said = time.monotonic()

    def tell(name: str, have: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= LINE_EVERY:
            said = now
            words(f"{name}: {have:,}" + (f" of {total:,} bytes" if total else ""))

    return tell
