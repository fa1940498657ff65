"""Turn the public tables of Hyperliquid's 2025-10-10 into a recording of one coin.

The tables hold sizes at the end, few entry prices and no balances; `adapters/hyperliquid*.py` say
how the beginning is reconstructed. Every assumption goes into the venue's notes, and the knobs
span the range within which a conclusion has to hold. What the result may be used for: who is
deleveraged, how much and when; not the level of the price, and not the losses of one account.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tidegate.adapters import hyperliquid, hyperliquid_book
from tidegate.adapters.arrow import Table, pa
from tidegate.adapters.hyperliquid import Knobs, PricePath
from tidegate.adapters.hyperliquid_book import Reconstruction
from tidegate.domain.book import FIRST_USER
from tidegate.domain.instrument import Linear
from tidegate.domain.units import PPM, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Limits, Market, Venue
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.recording_write import write_recording


COIN: Final = "SOL"
NUMERAIRE: Final = "USDC"
# What a sensitivity range varies, one knob at a time: `docs` publish the outcome for each.
# All coins, as published (ConejoCapital/HyperMultiAssetedADL); the tables here name some of them.
DELEVERAGED_USD: Final = 2_103_111_431

RANGE: Final[dict[str, tuple[float, ...]]] = {
    "leverage_scale": (0.8, 1.25),
    "price_low": (130.0, 146.0),
    "recovery_s": (20.0, 180.0),
    "liquidated_share": (0.75, 1.5),
    "outside_share": (0.5, 0.75),
    "depth_usd": (2_000_000.0, 50_000_000.0),
}


def convert_october(
    tables: Mapping[str, Path | None],
    *,
    out: Path,
    knobs: Knobs | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Recording:
    """Write the recording into ``out`` and load it; ``tables`` must name at least "positions".

    The same tables and knobs give the same bytes. Raise RecordingInvalid for a table or column that
    is not there, ConfigInvalid for a knob out of range.
    """
    knobs = knobs or Knobs()
    knobs.prove()
    files = hyperliquid.find_tables(dict(tables))
    for name, path in files.items():
        say(f"reading {name} from {path.name}")
    read = {name: hyperliquid.read_table(name, path) for name, path in files.items()}
    path = hyperliquid.price_path(read, COIN, knobs)
    made = hyperliquid_book.reconstruct(read, path, knobs)
    notes = tuple(_notes(read, path, made, knobs))
    venue = _venue(made, knobs, notes, _share(read))
    written: dict[str, Table] = {
        "prices": pa.table(
            {
                "ts": path.ts,
                "instrument": [COIN] * path.ts.size,
                "source": ["index"] * path.ts.size,
                "price": path.price.round(2),
            }
        ),
        **hyperliquid_book.book_tables(made, COIN, NUMERAIRE),
    }
    write_recording(out, venue, written)
    return load(out)


def _share(tables: Mapping[str, Table]) -> float:
    """Return the coin's share of everything that was deleveraged that day, by notional."""
    coin = hyperliquid.only(tables["coins"], coin=COIN)
    return float(coin.column("adl_notional")[0].as_py()) / DELEVERAGED_USD


def _venue(made: Reconstruction, knobs: Knobs, notes: tuple[str, ...], share: float) -> Venue:
    accounts = len(made.holdings)
    return Venue(
        name="Hyperliquid, 2025-10-10 21:15 UTC, reconstructed",
        numeraire=NUMERAIRE,
        instruments=(
            Linear(
                symbol=COIN,
                tick_size="0.01",
                lot_size="0.01",
                tick_value=Money(100),
                price_max=Ticks(100_000),
                lots_max=Lots(1_000_000_000),  # 10,000,000 coins
                open_interest_max=Lots(4_000_000_000),
            ),
        ),
        limits=Limits(
            accounts_max=accounts + FIRST_USER + 64,
            positions_max=2 * accounts + 256,
            orders_max=2 * accounts + 256,
        ),
        sources=("index",),
        scale=Ppm(round(share * PPM)),
        markets=(
            Market(
                symbol=COIN,
                depth=Money(round(knobs.depth_usd * PPM)),
                depth_range=Ppm(20_000),
                daily_volatility=Ppm(60_000),
                # The path already holds what the sales of that day moved for good.
                permanent=Ppm(0),
                resilience_ns=Nanos(20_000_000_000),
                withdrawal=Ppm(50_000),
            ),
        ),
        notes=notes,
    )


def _notes(
    tables: Mapping[str, Table], path: PricePath, made: Reconstruction, knobs: Knobs
) -> Iterator[str]:
    facts = made.facts
    coin = hyperliquid.only(tables["coins"], coin=COIN)
    published = float(coin.column("net_volume")[0].as_py())
    exact = sum(burst.exact for burst in path.bursts)
    yield (
        "use this recording for who is deleveraged, how much and when; not for price levels or "
        "for the losses of one account"
    )
    yield (
        f"price: {exact} of {len(path.bursts)} deleveraging bursts of the fall have a published "
        "price or one that follows from notional over quantity; between them the path follows "
        "the liquidation fills of the cascade timeline"
    )
    yield (
        f"price: begins at {path.start:.2f}, the highest entry within the window; the low "
        f"{path.low:.2f} is {_why_low(knobs)}, where market liquidations peak after the last "
        f"priced burst; regains half of what is missing to the last mark {path.end:.2f} every "
        f"{knobs.recovery_s:g} s"
    )
    yield (
        f"deleveraged: {facts['deleveraged']:,.0f} {COIN} in {len(path.bursts)} bursts, published "
        f"for the whole window {published:,.0f}; {facts['known_share']:.0%} of the notional is "
        f"known account by account ({facts['donors']:.0f} accounts), the rest takes relative "
        f"profit and cash from the known account with the nearest realised profit, relative "
        f"profit divided by {facts['factor']:.3f} to meet the published sum"
    )
    yield (
        "deleveraged: an account's burst is reconstructed (rising relative profit), a burst's time "
        "and total are published"
    )
    yield (
        f"liquidated longs: {facts['liquidated']:,.0f} {COIN}, {knobs.liquidated_share:g} times "
        f"what was deleveraged, which puts their common entry at {facts['entry_longs']:.2f}; the "
        f"mean entry of the deleveraged shorts is {facts['entry_shorts']:.2f}"
    )
    gap = facts["long"] / facts["short"] - 1
    yield (
        f"check: reconstructed longs hold {facts['long']:,.0f} {COIN}, shorts "
        f"{facts['short']:,.0f} ({gap:+.0%}); the difference stands outside the table"
    )
    yield (
        "cash: longs reach two thirds of maintenance (2.5 % of value) at their liquidation price; "
        "survivors survive the recorded low; an account's other coins are not in the table"
    )
    yield (
        f"left out: {facts['left_out']:.0f} accounts (flat before or after the window, the "
        f"backstop vault, longs deleveraged and shorts liquidated on the way back up), "
        f"{facts['left_out_size']:,.0f} {COIN} at the end"
    )
    yield (
        f"market: depth {knobs.depth_usd:,.0f} USD within 2 % of the mark, 5 % of it leaving with "
        "every 1 % of fall, is assumed; forced sales move the price for seconds only, because the "
        "recorded path already holds what the sales of that day moved"
    )
    yield (
        f"scale: one coin of the venue; a stack's fund is taken at {_share(tables):.1%}, its share "
        "of all that was deleveraged"
    )
    if knobs.outside_share != 1.0:
        yield f"price: every move is {knobs.outside_share:g} times the recorded one (a knob)"
    if knobs.leverage_scale != 1.0:
        yield f"cash: every account's leverage is {knobs.leverage_scale:g} times as high (a knob)"


def _why_low(knobs: Knobs) -> str:
    return "a knob" if knobs.price_low is not None else "the lowest entry within the window"
