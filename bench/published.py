"""Published results by our own code: tables and a picture for docs/results/published.md.

`python bench/published.py [PART]...` replaces the blocks of the page between its marks and draws
docs/images/published.svg. Parts: lending, funds, sales, cascades, picture; all of them without
one. What a part found is kept in out/published-PART.npz, from which the picture takes it. With
`--png FILE` the picture is also written there.
"""

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from page import replace_block, table

from tidegate.lab.checks.cascade_sizes import Dominoes
from tidegate.lab.checks.stylised import facts, hill
from tidegate.lab.measures import mean, probability
from tidegate.lab.published.amplification import total_moves
from tidegate.lab.published.fire_sales import (
    Banks,
    first_sale_at,
    targeting_losses,
    threshold_sale,
)
from tidegate.lab.published.fund_leverage import Market, returns
from tidegate.lab.published.lending_grid import Loans, Rules, failed, uncovered
from tidegate.lab.worlds.ground import normals


HERE = Path(__file__).parent.parent
PAGE = HERE / "docs/results/published.md"
PICTURE = HERE / "docs/images/published.svg"
ROOT = 7
INK, RULE = "#768390", "#76839055"  # read on white and on black
TEAL, ORANGE, VIOLET = "#1098ad", "#e8590c", "#845ef7"

LOANS, PATHS = 60, 300
VOLATILITIES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
RATIOS = (0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
TAILS = (0.005, 0.01, 0.02, 0.05)
MORE_PATHS, AT = 1_000, (2.0, 10.0)
CAPS, STEPS, COURSES = (0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0), 40_000, 8
BANKS, CLASSES, DEPTHS, FLOOR = 40, 6, (20, 30, 60), 0.5
MOST, BACK_TO = 100 / 3, 25.0
SHOCKS = (0.001, 0.0025, 0.005, 0.006, 0.007, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03)
NS, ROWS, ACCOUNTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), 2_000, 2_000
BY_ENGINE, ENGINE_ROWS, ENGINE_ACCOUNTS, ENGINE_STEPS = (0.2, 0.5, 0.8), 60, 120, 40


def keep(part, **arrays):
    """Keep what the picture needs."""
    path = HERE / f"out/published-{part}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)


def kept(part):
    """Return what a part kept."""
    with np.load(HERE / f"out/published-{part}.npz") as found:
        return dict(found)


def span(estimate, digits=2):
    """Return an estimate and its interval in words."""
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} .. {estimate.high:.{digits}f})"


def lending():
    """Sweep volatility and debt over volume; then turn one knob of the pool at a time."""
    rules = Rules()
    loans = Loans.drawn(LOANS, rules, ROOT)
    shocks = normals(ROOT, range(PATHS), "grid", rules.steps)
    nobody = replace(rules, incentive=0.0)
    rows, grid = [], np.zeros((len(VOLATILITIES), len(RATIOS)))
    for k, volatility in enumerate(VOLATILITIES):
        line = [failed(uncovered(loans, rules, volatility, r, shocks)).mean() for r in RATIOS]
        alone = failed(uncovered(loans, nobody, volatility, 1.0, shocks)).mean()
        grid[k] = line
        rows.append([f"{volatility:.0%}", *(f"{100 * x:.1f}" for x in line), f"{100 * alone:.1f}"])
    replace_block(
        PAGE,
        "lending",
        table(["volatility", *(f"{r:g}" for r in RATIOS), "nobody liquidates"], rows),
    )
    keep("lending", grid=grid)
    shocks = normals(ROOT + 1, range(MORE_PATHS), "grid", rules.steps)
    knobs = {
        "as in the grid": {},
        "incentive 5 %": {"incentive": 0.05},
        "incentive 15 %": {"incentive": 0.15},
        "the whole loan at once": {"close": 1.0},
        "displacement lasts 12 hours": {"half_life_days": 0.5},
        "displacement lasts 15 minutes": {"half_life_days": 1 / 96},
        "15 minutes, incentive 15 %": {"half_life_days": 1 / 96, "incentive": 0.15},
        "half the depth": {"depth_c": 0.2},
        "twice the depth": {"depth_c": 0.8},
        "valued once displacement is gone": {"recovered": True},
    }
    rows = []
    for name, changed in knobs.items():
        shares = uncovered(loans, replace(rules, **changed), *AT, shocks)
        found = probability(failed(shares)).over(0.01)
        rows.append([name, span(found, 1), f"{100 * shares.mean():.2f}"])
    replace_block(
        PAGE, "knobs", table(["pool", "failed (%)", "mean share of debt uncovered (%)"], rows)
    )


def funds():
    """Returns of the market of value funds, by the cap on their leverage."""
    rows, indexes, others = [], [], []
    for cap in CAPS:
        each = [returns(Market(cap=cap), STEPS, ROOT, k) for k in range(COURSES)]
        said = [facts(r) for r, _ in each]
        below = [-r[(m > 0) & (r < 0)] for r, m in each]
        index = mean(np.array([hill(falls)[0] for falls in below]))
        shares = [np.mean([hill(falls, share)[0] for falls in below]) for share in TAILS]
        others.append([f"{cap:g}" if cap else "no funds", *(f"{x:.2f}" for x in shares)])
        indexes.append(index)
        rows.append([
            f"{cap:g}" if cap else "no funds",
            f"{np.median([f.kurtosis for f in said]):.1f}",
            f"{np.median([f.left for f in said]):.2f}",
            f"{np.median([f.right for f in said]):.2f}", span(index),
            f"{np.median([r.std() for r, _ in each]):.4f}",
            f"{min(r.min() for r, _ in each):.2f}",
            f"{np.median([f.clustering[0] for f in said]):+.3f}",
        ])  # fmt: skip
    head = ["cap", "kurtosis", "tail index, falls", "rises", "falls below value", "deviation",
            "worst step", "size, next step"]  # fmt: skip
    replace_block(PAGE, "funds", table(head, rows))
    replace_block(
        PAGE, "tails", table(["cap", *(f"largest {share:.1%}" for share in TAILS)], others)
    )
    keep("funds", index=np.array(indexes))


def sales():
    """Losses by fire sales against the shock, for two rules and two ways to count."""
    banks = Banks.drawn(BANKS, CLASSES, ROOT)
    equity, own = banks.equity.sum(), banks.securities.sum(axis=0)
    most, back = np.full(BANKS, MOST), np.full(BANKS, BACK_TO)
    found, rows = np.zeros((len(DEPTHS), 3, len(SHOCKS))), []
    for j, shock in enumerate(SHOCKS):
        line = [f"{100 * shock:.2f}", f"{100 * shock * banks.assets.sum() / equity:.0f}"]
        for i, depth in enumerate(DEPTHS):
            limit = threshold_sale(banks, shock, most, back, depth * own, FLOOR)
            aim = threshold_sale(banks, shock, banks.leverage, banks.leverage, depth * own, FLOOR)
            once = targeting_losses(banks, shock, depth * own)
            found[i, :, j] = [100 * x.sum() / equity for x in (limit.losses, aim.losses, once)]
            line += [f"{x:.1f}" for x in found[i, :, j]]
        rows.append([*line, limit.sellers])
    head = ["shock, % of assets", "% of equity"]
    head += [f"{name}, {d}x" for d in DEPTHS for name in ("limit", "target", "one round")]
    head += [f"sellers, {DEPTHS[-1]}x"]
    first, mean_leverage = first_sale_at(banks, MOST), banks.assets.sum() / equity
    said = (
        f"The first bank reaches its limit at {100 * first.min():.2f} %, half of them at "
        f"{100 * np.median(first):.2f} %. Assets are {mean_leverage:.1f} times equity, so under "
        "targets a sale leads to "
        + ", ".join(f"{(mean_leverage - 1) / d:.2f} ({d}x)" for d in DEPTHS)
        + " times itself."
    )
    replace_block(PAGE, "sales", table(head, rows) + "\n\n" + said)
    keep("sales", found=found)


def cascades():
    """Total move over the first one, by the ladder and by the engine."""
    rows, ladder, engine = [], [], []
    for n in NS:
        found = mean(total_moves(n, ROWS, ACCOUNTS, ROOT).astype(np.float64))
        ladder.append(found)
        by_engine, same, alike = "-", "-", "-"
        if n in BY_ENGINE:
            drawn = [Dominoes.drawn(n, ENGINE_ACCOUNTS, ROOT, k) for k in range(ENGINE_ROWS)]
            sizes = np.array([row.by_engine(ENGINE_STEPS) for row in drawn])
            equal = int((sizes == [row.by_ladder() for row in drawn]).sum())
            estimate = mean(sizes.astype(np.float64))
            engine.append((n, *estimate))
            by_engine, same = span(estimate), f"{equal} of {ENGINE_ROWS}"
            alike = "yes" if estimate.low <= 1 / (1 - n) <= estimate.high else "no"
        inside = "yes" if found.low <= 1 / (1 - n) <= found.high else "**no**"
        rows.append([n, f"{1 / (1 - n):.2f}", span(found), inside, by_engine, alike, same])
    head = ["n", "1 / (1 - n)", "ladder", "inside", "engine", "inside", "engine = ladder"]
    replace_block(PAGE, "cascades", table(head, rows))
    keep("cascades", ladder=np.array(ladder), engine=np.array(engine))


def draw(png):
    """Four panels of what was kept."""
    mpl.rcParams |= {
        "svg.hashsalt": "tidegate", "font.size": 9, "svg.fonttype": "none", "text.color": INK,
        "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK,
    }  # fmt: skip
    fig, ((pool, tail), (bank, row)) = plt.subplots(2, 2, figsize=(9, 6.6), layout="constrained")
    _pool(pool, kept("lending")["grid"])
    _tail(tail, kept("funds")["index"])
    _bank(bank, kept("sales")["found"])
    _row(row, **kept("cascades"))
    for axis in (pool, tail, bank, row):
        axis.patch.set_alpha(0)
        axis.spines[["top", "right"]].set_visible(False)
        if axis is not pool:
            axis.grid(visible=True, color=RULE, lw=0.6)
    fig.savefig(PICTURE, transparent=True, metadata={"Date": None})
    if png:
        for name, ground in (("light", "white"), ("dark", "#1e2129")):
            path = Path(png)
            fig.savefig(path.with_stem(f"{path.stem}-{name}"), dpi=110, facecolor=ground)


def _title(axis, text):
    axis.set_title(text, loc="left", fontsize=9, color=INK)


def _pool(axis, grid):
    axis.imshow(grid, origin="lower", cmap="cividis", vmin=0, vmax=0.8, aspect="auto")
    for (y, x), value in np.ndenumerate(grid):
        colour = "#111111" if value > 0.4 else "#eeeeee"
        axis.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(RATIOS)), [f"{r:g}" for r in RATIOS])
    axis.set_yticks(range(len(VOLATILITIES)), [f"{v:.0%}" for v in VOLATILITIES])
    axis.set(xlabel="debt over average daily volume", ylabel="volatility a year")
    _title(axis, "Lending pool: runs with > 1 % of debt uncovered, %")


def _tail(axis, index):
    value, low, high = index.T
    axis.errorbar(
        CAPS, value, [value - low, high - value], fmt="o-", color=TEAL, ms=4, lw=1.6, capsize=2
    )
    axis.axhline(3.0, color=ORANGE, lw=1.2, ls="--")
    axis.text(15, 3.1, "real markets: about 3", ha="right", color=ORANGE)
    axis.set(xlabel="cap on leverage (0: no funds)", ylim=(2, None))
    _title(axis, "Value funds: tail index of falls (small is fat)")


def _bank(axis, found):
    shocks = 100 * np.array(SHOCKS)
    names = ("limit at 33, back to 25", "own leverage as target", "target, one linear round")
    for losses, name, colour in zip(found[1], names, (ORANGE, TEAL, VIOLET), strict=True):
        axis.plot(shocks, losses, "o-", ms=3, lw=1.6, color=colour, label=name)
    axis.set(xlabel="shock, % of assets", ylim=(0, 26))
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower right")
    _title(axis, f"Banks: fire-sale losses, % of equity (depth {DEPTHS[1]}x)")


def _row(axis, ladder, engine):
    n = np.linspace(0, 0.92, 100)
    axis.plot(n, 1 / (1 - n), color=INK, lw=1.2, label="1 / (1 - n)")
    value, low, high = ladder.T
    axis.errorbar(NS, value, [value - low, high - value], fmt="o", color=TEAL, ms=4, capsize=2,
                  label="ladder")  # fmt: skip
    at, value, low, high = engine.T
    axis.errorbar(at + 0.012, value, [value - low, high - value], fmt="s", color=ORANGE, ms=4,
                  capsize=2, label="engine")  # fmt: skip
    axis.set(yscale="log", xlabel="branching ratio n")
    axis.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")
    _title(axis, "Cascades: total move over the first one")


def main():
    """Run what is asked for, in this order."""
    said = sys.argv[1:]
    png = said[said.index("--png") + 1] if "--png" in said else None
    words = [w for w in said if w not in {"--png", png}]
    parts = {
        "lending": lending,
        "funds": funds,
        "sales": sales,
        "cascades": cascades,
        "picture": lambda: draw(png),
    }
    for name, part in parts.items():
        if name in (words or parts):
            part()


if __name__ == "__main__":
    main()
