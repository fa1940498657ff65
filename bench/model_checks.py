"""Whether the lab is like the world: tables and a picture for docs/results/model-checks.md.

`python bench/model_checks.py FOLDER [PART]...` reads candles and book snapshots from FOLDER (their
names stand below), replaces the blocks of the page between its marks, and draws
docs/images/model-checks.svg. Parts: depth, facts, cascades, forecasts, picture; all of them
without one. Forecasts take a quarter of an hour on two busy cores and are kept in
out/model-checks.npz, from which the picture takes them. With `--png FILE` it is also
written there.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib import pyplot as plt
from page import replace_block, table

from tidegate.adapters.candles import daily
from tidegate.lab.cascades import borel
from tidegate.lab.checks.cascade_sizes import Dominoes, against_borel
from tidegate.lab.checks.coverage import covered
from tidegate.lab.checks.forecasts import ALPHAS, MAKERS, Forecast, joined, rolling, stretches
from tidegate.lab.checks.stylised import LAGS, autocorrelation, facts
from tidegate.lab.worlds import fitting
from tidegate.lab.worlds.books import books
from tidegate.lab.worlds.bootstrap import Bootstrap
from tidegate.lab.worlds.catalogue import world
from tidegate.lab.worlds.depth_law import SPOT_2024, dispersion, fitted_coefficient
from tidegate.lab.worlds.history import History, candle_file


HERE = Path(__file__).parent.parent
PAGE = HERE / "docs/results/model-checks.md"
KEPT = HERE / "out/model-checks.npz"
PICTURE = HERE / "docs/images/model-checks.svg"
HOURLY = "binance_1h_core12_2020_04_to_2025_09.parquet"
BOOKS = "lob_1s_top20_binance_20240808_09.parquet"
CONTEXTS = "hyperliquid_all_dexs_asset_ctxs_snapshot.parquet"
THREE = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
ROOT, WINDOW, REFIT = 7, 2_160, 14  # rows of 90 days; fitted anew every fortnight
WORKERS = 3
YEAR_OF_HOURS, YEARS = 8_760, 8
ROWS, RATIOS, BY_ENGINE = 4_000, (0.3, 0.6, 0.8), 100
TRADED_MIN = 1e6
INK = "#57606a"
COLOURS = {
    "real": "#1f2328",
    "gbm": "#8c959f",
    "gjr": "#d9480f",
    "fhs": "#0b7285",
    "bootstrap": "#5f3dc4",
    "merton": "#2b8a3e",
    "regimes": "#c2255c",
}


def depth(folder):
    """Books against the candles of the fortnight before; how far markets lie from such a law."""
    seen, volume, volatility, rows = [], [], [], []
    for book in books(folder / BOOKS):
        even = book.unevenness()
        line = [
            f"{book.venue} {book.symbol}", book.snapshots, f"{book.within[-1] / 1e6:.1f}",
            f"{100 * book.spread[-1]:.1f}", f"{even[3]:.1f}", f"{even[5]:.1f}",
        ]  # fmt: skip
        if book.venue == "binance_spot":
            one = candle_file(folder / HOURLY, (book.symbol,), venue=book.venue,
                              since="2024-07-26", until="2024-08-09")[0]  # fmt: skip
            traded, moves = daily(one)
            seen.append(book.within[-1])
            volume.append(traded)
            volatility.append(moves)
            low, high = (book.within[-1] / x for x in SPOT_2024.predicted(traded, moves)[1:])
            line += [f"{traded / 1e6:,.0f}", f"{100 * book.within[-1] / traded:.2f}",
                     f"{1 / low:.2f} .. {1 / high:.1f}"]  # fmt: skip
        rows.append([*line, *["-"] * (9 - len(line))])
    head = ["book", "snapshots", "within 2 % (million)", "deviation (%)", "10 bp over even",
            "50 bp over even", "volume a day (million)", "share (%)", "band over seen"]  # fmt: skip
    said = [table(head, rows), ""]
    for power in (0.0, 1.0):
        found, spread = fitted_coefficient(seen, volume, volatility, power)
        said.append(
            f"Depth over volume{' over volatility a day' if power else ''}: coefficient "
            f"{found:.3g}, the two books {spread:.2f} apart on the logarithm (deviation).  "
        )
    contexts = pq.read_table(folder / CONTEXTS)
    contexts = contexts.filter(
        pc.and_(pc.equal(contexts["dex"], ""), pc.greater(contexts["day_ntl_vlm"], TRADED_MIN))
    )
    bid, ask, mid, traded = (
        contexts[c].to_numpy() for c in ("impact_bid_px", "impact_ask_px", "mid_px", "day_ntl_vlm")
    )
    spread = dispersion(traded, (ask - bid) / mid / 2)
    said.append(
        f"Impact prices of {traded.size} perpetuals of one Hyperliquid snapshot: depth over volume "
        f"deviates by {spread:.2f} on the logarithm from market to market."
    )
    replace_block(PAGE, "depth", "\n".join(said))


def laws(history):
    """Return the worlds of the comparison, with a year of hourly steps."""
    steps = YEAR_OF_HOURS
    terms = fitting.all_terms(history)
    return {
        "gbm": fitting.fitted_brownian(history, steps),
        "merton": world(f"merton:steps={steps},step=1h,vol=45%,rate=0.2,mean=-1%,deviation=3%"),
        "regimes": world(
            f"regimes:steps={steps},step=1h,calm=30%,storm=110%,calm_for=2d,storm_for=9h"
        ),
        "gjr": fitting.gjr_of(history, terms, steps),
        "fhs": fitting.filtered_of(history, terms, steps),
        "bootstrap": Bootstrap(history, steps, fitting.block_length(history)),
    }


def returns_of(folder):
    """Return real returns, and paths of a year of each world fitted to them."""
    candles = candle_file(
        folder / HOURLY,
        ("BTCUSDT",),
        venue="binance_spot",
        since="2023-01-01",
        until="2025-10-01",
    )
    history = History.of(candles, "Binance spot")
    series = {"real": [history.returns[:, 0]]}
    for name, law in laws(history).items():
        price = law.weather(ROOT, range(YEARS), history.symbols).price[:, :, 0]
        series[name] = list(np.diff(np.log(price), axis=1))
    return series


def stylised(folder):
    """Facts of real returns and of each world fitted to them; medians over paths of a year."""
    series = returns_of(folder)
    rows = []
    for name, paths in series.items():
        each = [facts(path) for path in paths]
        middle = [
            np.median([getattr(f, k) for f in each])
            for k in ("kurtosis", "left", "right", "linear")
        ]
        acf = np.median([f.clustering for f in each], axis=0)
        numbers = [f"{middle[0]:.1f}", f"{middle[1]:.2f}", f"{middle[2]:.2f}", f"{middle[3]:+.3f}"]
        remembered = [f"{a:+.3f}" for a in acf]
        rows.append([name, each[0].count, *numbers, *remembered, f"{each[0].band:.3f}"])
    head = ["returns", "count", "kurtosis", "tail index, falls", "rises", "linear, 1 h",
            *(f"size, {lag} h" for lag in LAGS), "two errors"]  # fmt: skip
    replace_block(PAGE, "facts", table(head, rows))


def fallen(n):
    """Return the sizes of cascades by the ladder."""
    return np.array([Dominoes.drawn(n, 600, ROOT, k).by_ladder() for k in range(ROWS)])


def cascades():
    """Rows of dominoes by the ladder against Borel's law, and by the engine against the ladder."""
    rows = []
    for n in RATIOS:
        sizes = fallen(n)
        chi, cells, p = against_borel(sizes, n)
        same, most = 0, 0
        for k in range(BY_ENGINE):
            row = Dominoes.drawn(n, 150, ROOT, k)
            found = row.by_engine(40)
            same += found == row.by_ladder()
            most = max(most, found)
        numbers = [f"{1 / (1 - n):.3f}", f"{sizes.mean():.3f}", int(sizes.max())]
        told = [f"{chi:.1f} ({cells})", f"{p:.2f}", f"{same} of {BY_ENGINE}", most]
        rows.append([n, *numbers, *told])
    head = ["n", "1 / (1 - n)", "mean size", "largest", "chi squared (df)", "p",
            "engine = ladder", "largest in the engine"]  # fmt: skip
    replace_block(PAGE, "cascades", table(head, rows))


def forecast_of(history):
    """Return the forecasts of one stretch."""
    return rolling(history, window=WINDOW, refit=REFIT, root=ROOT)


def forecasts(folder):
    """Rolling forecasts of a day ahead, with every test."""
    candles = candle_file(folder / HOURLY, THREE, venue="binance_spot")
    history = History.of(candles, "Binance spot")
    KEPT.parent.mkdir(exist_ok=True)
    parts = stretches(history, window=WINDOW, refit=REFIT, count=WORKERS)
    with ProcessPoolExecutor(WORKERS) as pool:
        made = [joined(each) for each in zip(*pool.map(forecast_of, parts), strict=True)]
    names = [*(s.removesuffix("USDT") for s in history.symbols), "all three"]
    rows = []
    for forecast in made:
        for a, alpha in enumerate(ALPHAS):
            for column, name in enumerate(names):
                found = covered(forecast.realised[:, column], forecast.var[a, :, column],
                                forecast.shortfall[a, :, column], alpha, ROOT)  # fmt: skip
                rows.append([
                    forecast.name, f"{alpha:.1%}", name, found.days, found.breaches,
                    f"{found.expected:.1f}", f"{found.kupiec:.3f}", f"{found.independent:.3f}",
                    f"{found.conditional:.3f}", f"{found.z2:+.2f}", f"{found.z2_p:.3f}",
                    "passes" if found.passes() else "**fails**",
                ])  # fmt: skip
    np.savez(KEPT, **{f"{f.name}.{k}": getattr(f, k) for f in made for k in Forecast.__slots__})
    head = ["world", "tail", "series", "days", "breaches", "expected", "Kupiec p",
            "Christoffersen p", "both p", "Z2", "Z2 p", "at 5 %"]  # fmt: skip
    failed = f"\n\nFits that did not converge, and kept the terms before: {made[0].kept}."
    replace_block(PAGE, "forecasts", table(head, rows) + failed)


def draw(folder, png):
    """Four panels: tails, clustering, cascades, breaches; forecasts as they were made last."""
    series, sizes = returns_of(folder), {n: fallen(n) for n in RATIOS}
    with np.load(KEPT) as kept:
        made = [Forecast(*(kept[f"{name}.{k}"] for k in Forecast.__slots__)) for name in MAKERS]
    mpl.rcParams |= {"svg.hashsalt": "tidegate", "font.size": 9, "svg.fonttype": "none"}
    fig, ((tails, memory), (falls, hits)) = plt.subplots(
        2, 2, figsize=(9, 6.4), layout="constrained"
    )
    for name, paths in series.items():
        size = np.sort(np.concatenate([np.abs(p) / p.std() for p in paths]))[::-1]
        share = np.arange(1, size.size + 1) / size.size
        pick = np.unique(np.geomspace(1, size.size, 200).astype(int)) - 1
        width = 2.4 if name == "real" else 1.2
        tails.loglog(size[pick], share[pick], color=COLOURS[name], lw=width, label=name)
        lags = np.unique(np.geomspace(1, 240, 24).astype(int))
        acf = np.median(
            [[autocorrelation(np.abs(p), int(lag)) for lag in lags] for p in paths], axis=0
        )
        memory.plot(lags, acf, color=COLOURS[name], lw=width)
    tails.set(xlim=(0.3, 40), ylim=(1e-5, 1), xlabel="size of an hour's return, deviations")
    memory.set(
        xscale="log", xlabel="hours between", ylabel="autocorrelation of size", ylim=(-0.05, 0.45)
    )
    for (n, found), colour in zip(sizes.items(), ("#0b7285", "#d9480f", "#5f3dc4"), strict=True):
        count = np.bincount(found)[1:]
        k = np.arange(1, count.size + 1)
        law = borel(n, count.size)
        falls.loglog(k, law, color=colour, lw=1)
        falls.loglog(
            k[count > 0], count[count > 0] / found.size, ".", color=colour, ms=4, label=f"n = {n}"
        )
    falls.set(xlabel="accounts in one cascade", ylim=(1e-4, 1))
    column = made[0].realised.shape[1] - 1
    when = (made[0].ts / 1e9).astype("datetime64[s]")
    for forecast in made:
        beyond = forecast.realised[:, column] < -forecast.var[0, :, column]
        hits.plot(
            when,
            np.cumsum(beyond),
            color=COLOURS[str(forecast.name)],
            lw=1.6,
            label=str(forecast.name),
        )
    hits.plot(
        when, np.arange(1, when.size + 1) * ALPHAS[0], color=INK, lw=1, ls="--", label="expected"
    )
    titles = (
        "How often a move is larger",
        "How long the size of moves is remembered",
        "Cascades, and Borel's law (lines)",
        "Days beyond the 1 % value at risk, all three",
    )
    for axis, title in zip((tails, memory, falls, hits), titles, strict=True):
        axis.set_title(title, loc="left", fontsize=9, color=INK)
        axis.spines[["top", "right"]].set_visible(False)
        if axis is not memory:
            axis.legend(frameon=False, fontsize=8)
    fig.savefig(PICTURE, metadata={"Date": None})
    if png:
        fig.savefig(png, dpi=110)


def main():
    """Run what is asked for, in this order."""
    said = sys.argv[1:]
    png = said[said.index("--png") + 1] if "--png" in said else None
    words = [w for w in said if w not in {"--png", png}]
    folder = Path(words[0])
    parts = {
        "depth": lambda: depth(folder),
        "facts": lambda: stylised(folder),
        "cascades": cascades,
        "forecasts": lambda: forecasts(folder),
        "picture": lambda: draw(folder, png),
    }
    for name, part in parts.items():
        if name in (words[1:] or parts):
            part()


if __name__ == "__main__":
    main()
