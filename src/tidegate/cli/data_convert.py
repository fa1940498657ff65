"""`tidegate data convert`: recordings from the formats of exchanges and chains."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate.cli.say import words


if TYPE_CHECKING:
    from tidegate.drivers.recording import Recording

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER: Final = click.Path(path_type=Path, file_okay=False)
MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group()
def convert() -> None:
    """Make a recording from candles, from an event's tables, or from a chain's history.

    Times are UTC. What a source does not say is reconstructed; every assumption is printed, and
    kept in the notes of the recording's venue.toml.
    """


def nanoseconds(moment: datetime | None) -> int | None:
    """Return a moment the user wrote, in UTC, as nanoseconds."""
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp()) * 10**9


def say_made(made: "Recording") -> None:
    """Print what was made on stdout, and what was assumed on stderr."""
    for note in made.venue.notes:
        words(f"assumed: {note}")
    click.echo(
        f"{made.path}: {len(made.names):,} accounts, {made.n_events:,} events, digest {made.digest}"
    )


@convert.command()
@click.option(
    "--file",
    "files",
    type=FILE,
    multiple=True,
    required=True,
    help="Candles: Parquet, or klines as CSV or zip as the archive names them. Repeat to join.",
)
@click.option("--symbol", "symbols", multiple=True, help="Which; repeat it. All when left out.")
@click.option("--venue", help="Which venue's candles, where the file has several.")
@click.option("--book", type=FILE, multiple=True, help="Parquet of accounts, positions or loans.")
@click.option("--trades", type=FILE, multiple=True, help="aggTrades of the archive, CSV or zip.")
@click.option("--from", "since", type=MOMENT, help="First moment.")
@click.option("--until", type=MOMENT, help="Moment after the last.")
@click.option(
    "--depth-share",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    help="Depth within 2 % of the price on one side, as a share of a day's volume.",
)
@click.option(
    "--volume-in",
    type=click.Choice(["base", "quote"]),
    default="base",
    show_default=True,
    help="The asset in which the source counts volume.",
)
@click.option("--out", type=FOLDER, required=True, help="The recording's folder.")
def candles(
    files: tuple[Path, ...],
    symbols: tuple[str, ...],
    venue: str | None,
    book: tuple[Path, ...],
    trades: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    depth_share: float | None,
    volume_in: str,
    out: Path,
) -> None:
    """Turn candles into prices, and volume into a market model; accounts come from --book."""
    from tidegate.adapters.candles import DEPTH_SHARE  # noqa: PLC0415 - numpy, numba, pyarrow
    from tidegate.drivers.convert import convert_candles  # noqa: PLC0415 - ditto

    made = convert_candles(
        files,
        symbols=symbols,
        out=out,
        venue=venue,
        book=book,
        trades=trades,
        since=nanoseconds(since),
        until=nanoseconds(until),
        depth_share=DEPTH_SHARE if depth_share is None else depth_share,
        volume_in=volume_in,
        say=words,
    )
    say_made(made)


@convert.command()
@click.option(
    "--positions",
    type=FILE,
    required=True,
    help="The position table; the others are looked for beside it.",
)
@click.option("--timeline", type=FILE, help="Liquidation and deleveraging fills by second.")
@click.option("--adl", type=FILE, help="Deleveraged notional by second and coin.")
@click.option("--coins", type=FILE, help="Deleveraged notional and volume by coin.")
@click.option("--users", type=FILE, help="Deleveraged accounts.")
@click.option("--fills", type=FILE, help="Single deleveraging fills with prices.")
@click.option("--gaps", type=FILE, help="Deleveraged quantity by wave and coin.")
@click.option("--leverage-scale", type=float, help="Every account's leverage, times this.")
@click.option("--price-low", type=float, help="The low of the path.")
@click.option("--recovery", "recovery_s", type=float, help="Half-life of the way back, seconds.")
@click.option("--liquidated-share", type=float, help="Lots liquidated over lots deleveraged.")
@click.option("--outside-share", type=float, help="Share of each move taken as given.")
@click.option("--depth", "depth_usd", type=float, help="USD within 2 % of the mark, one side.")
@click.option("--out", type=FOLDER, required=True, help="The recording's folder.")
def october(out: Path, **given: Path | float | None) -> None:
    """Reconstruct 2025-10-10 on Hyperliquid, one coin, from the public tables of that event.

    The tables hold sizes at the end, few entry prices and no balances. The result is for judging
    who is deleveraged, how much and when; the options vary what is assumed.
    """
    from tidegate.adapters.hyperliquid import Knobs  # noqa: PLC0415 - numpy, numba, pyarrow
    from tidegate.drivers.october import convert_october  # noqa: PLC0415 - ditto

    tables = {name: path for name, path in given.items() if isinstance(path, Path)}
    turned = {name: knob for name, knob in given.items() if isinstance(knob, float)}
    made = convert_october(tables, out=out, knobs=Knobs(**turned), say=words)
    say_made(made)


@convert.command()
@click.option(
    "--events", type=FILE, multiple=True, required=True, help="Vault events; repeat it to join."
)
@click.option("--prices", type=FILE, required=True, help="Hourly candles of the collateral.")
@click.option("--symbol", default="ETHUSDT", show_default=True, help="Which of its symbols.")
@click.option("--parameters", type=FILE, required=True, help="The protocol's parameter changes.")
@click.option("--from", "since", type=MOMENT, help="First moment.")
@click.option("--until", type=MOMENT, help="Moment after the last.")
@click.option("--out", type=FOLDER, required=True, help="The recording's folder.")
def vaults(
    events: tuple[Path, ...],
    prices: Path,
    symbol: str,
    parameters: Path,
    since: datetime | None,
    until: datetime | None,
    out: Path,
) -> None:
    """Turn the event history of a protocol's vaults, its prices and parameters into a recording."""
    from tidegate.drivers.recording import load  # noqa: PLC0415 - numpy, numba, pyarrow
    from tidegate.drivers.vaults import convert as convert_vaults  # noqa: PLC0415 - ditto

    summary = convert_vaults(
        events=list(events),
        prices=prices,
        symbol=symbol,
        parameters=parameters,
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
        out=out,
    )
    for name, value in summary.items():
        words(f"{name}: {value}")
    say_made(load(out))
