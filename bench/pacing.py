"""What pacing buys and costs on one weather, and a picture of the frontier behind it.

`python bench/pacing.py` replays the synthetic October crash under the guarded stack with each kind
of throttle, with and without a schedule, in the market it was made for and in one that never
recovers, and prints the tables of docs/results/pacing.md; it also draws docs/images/frontier.svg.
With an argument, the picture is also written there, as PNG.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import msgspec
import numpy as np
from matplotlib.ticker import FuncFormatter
from results import COLUMNS, STACKS, judged, with_markets

from tidegate.domain.units import SECOND
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Verdict
from tidegate.safeguards.rate import OptimalRate
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.stack import SafeguardStack
from tidegate.safeguards.throttle import (
    AnyThrottle,
    FundThrottle,
    NoThrottle,
    StaticThrottle,
    WindowThrottle,
)
from tidegate.signals.schedules import LinearImpact, almgren_chriss, at_once


HERE = Path(__file__).parent.parent
INK, COLOURS = "#57606a", ("#0b7285", "#d9480f", "#5f3dc4")
ACCOUNTS, SEEDS = 600, (7,)
AMOUNT = 150_000_000_000_000  # 150 million per instrument, side and 5 s, at the scale of the venue
MARKETS: dict[str, dict[str, int]] = {
    "as made": {},
    "never recovers": {"resilience_ns": 0},
}
SHOWN = tuple(
    (name, text)
    for name, text in COLUMNS
    if name not in {"winners hit", "restricted", "socialised"}
)


def throttles() -> dict[str, tuple[bool, AnyThrottle]]:
    """Return every kind, and whether the planner's own bucket over measured depth is on."""
    window = 5 * SECOND
    return {
        "none": (False, NoThrottle()),
        "static": (False, StaticThrottle(amount=AMOUNT, window_ns=window)),
        "window": (False, WindowThrottle(amount=AMOUNT, window_ns=window)),
        "depth": (True, NoThrottle()),
        "fund": (False, FundThrottle(slow=200_000, fast=1_000_000, reach=20_000, window_ns=window)),
    }


def paced(base: SafeguardStack, kind: str, *, rate: bool, slices: bool = False) -> SafeguardStack:
    """Return the guarded stack with another throttle, and a schedule or slices where asked."""
    bucket, throttle = throttles()[kind]
    planner = base.planner if bucket else msgspec.structs.replace(base.planner, depth_share=0)
    schedule = OptimalRate(
        confidence=950_000, horizon_ns=30 * SECOND, interval_ns=SECOND, age_max_ns=5 * SECOND
    )
    return msgspec.structs.replace(
        base,
        planner=planner,
        throttle=throttle,
        rate=schedule if rate else OptimalRate(),
        slices=Slicing(count=5, horizon_ns=5 * SECOND) if slices else Slicing(),
    )


def total(verdicts: list[Verdict]) -> list[str]:
    """Return the mean of each column over the weathers."""
    fields = ("bad_debt", "deficit_at_end", "adl_profit_taken", "adl_volume", "sold_volume")
    mean = {name: sum(getattr(v, name) for v in verdicts) // len(verdicts) for name in fields}
    mean["netted_volume"] = sum(v.netted_volume for v in verdicts) // len(verdicts)
    mean["peak_impact_ppm"] = max(v.peak_impact_ppm for v in verdicts)
    mean["accounts_liquidated"] = sum(v.accounts_liquidated for v in verdicts) // len(verdicts)
    used = (sum(sum(v.fund_used) for v in verdicts) // len(verdicts),)
    one = msgspec.structs.replace(verdicts[0], fund_used=used, **mean)
    return [text(one) for _, text in SHOWN]


def compare(weathers: list[Recording]) -> list[str]:
    """Return the tables as Markdown, one a market."""
    base = SafeguardStack.load(STACKS / "guarded.toml")
    lines: list[str] = []
    for market, change in MARKETS.items():
        rows = ["| | " + " | ".join(name for name, _ in SHOWN) + " |"]
        rows.append("|---|" + "--:|" * len(SHOWN))
        cases = [(kind, rate, False) for kind in throttles() for rate in (False, True)]
        cases += [("none", False, True), ("depth", False, True)]
        for kind, rate, slices in cases:
            stack = paced(base, kind, rate=rate, slices=slices)
            label = kind + (" + rate" if rate else "") + (" + slices" if slices else "")
            found = [
                judged(with_markets(w, **change), stack, f"{market}, {label}") for w in weathers
            ]
            rows.append("| " + " | ".join([label, *total(found)]) + " |")
        lines += [f"## The market {market}", "", *rows, ""]
    return lines


def draw(path: Path) -> None:
    """Draw the frontier and three schedules of the published example of Almgren and Chriss."""
    market = LinearImpact(sigma=0.95, temporary=2.5e-6, permanent=2.5e-7, spread=0.0625)
    size, days = 1e6, 5
    chosen = {"even, λ = 0": 0.0, "λ = 10⁻⁶": 1e-6, "λ = 2·10⁻⁶": 2e-6}
    curve = [almgren_chriss(size, days, days, market, a) for a in np.geomspace(1e-9, 1e-3, 200)]
    curve = [
        almgren_chriss(size, days, days, market, 0.0),
        *curve,
        at_once(size, days, days, market),
    ]
    mpl.rcParams.update({"svg.hashsalt": "tidegate", "svg.fonttype": "none", "font.size": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4), layout="constrained")
    left.plot([s.variance**0.5 / 1e6 for s in curve], [s.cost / 1e6 for s in curve], color=INK)
    for (label, aversion), colour in zip(chosen.items(), COLOURS, strict=False):
        s = almgren_chriss(size, days, days, market, aversion)
        left.plot(s.variance**0.5 / 1e6, s.cost / 1e6, "o", color=colour, label=label)
        right.plot(range(days + 1), s.holdings / 1e6, "o-", color=colour, label=label, ms=3)
    left.set(xlabel="standard deviation, million $", ylabel="expected cost, million $")
    right.set(xlabel="day", ylabel="still held, million shares")
    for axes in (left, right):
        axes.set(facecolor="none", ylim=(0, None), xlim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    right.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    if len(sys.argv) > 1:
        figure.savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    draw(HERE / "docs/images/frontier.svg")
    with tempfile.TemporaryDirectory() as scratch:
        found = []
        for seed in SEEDS:
            folder = Path(scratch) / str(seed)
            make(folder, accounts=ACCOUNTS, seed=seed)
            found.append(load(folder))
        print("\n".join(compare(found)))
