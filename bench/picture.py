"""The picture of the README: the same crash with and without safeguards, in one small SVG.

`python bench/picture.py` replays the demo's crash under the bare and the guarded stack and writes
docs/images/crash.svg.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from tidegate.drivers.recording import load
from tidegate.drivers.replay import Run, replay
from tidegate.drivers.synthetic import make
from tidegate.safeguards.stack import SafeguardStack, Stack


HERE = Path(__file__).parent.parent
COLOURS = {"bare": "#d9480f", "guarded": "#0b7285"}
INK, RULE = "#57606a", "#8c959f55"


def stacked(run: Run) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return minutes, and three running sums: closed on winners, taken from them, fund's part."""
    s = run.series
    closed = np.cumsum(s.adl.sum(axis=1)) / 1e12
    given = s.forgone / 1e9
    fund = (s.bad_debt - s.forgone - s.socialised) / 1e9
    return s.seconds / 60, [closed, given, fund]


def main() -> None:
    """Replay, draw, write."""
    mpl.rcParams |= {"svg.hashsalt": "tidegate", "font.size": 9, "svg.fonttype": "none"}
    folder = HERE / "out/demo/october-4000"
    if not folder.exists():
        make(folder, accounts=4_000, seed=7)
    recording = load(folder)
    fig, axes = plt.subplots(1, 3, figsize=(9, 2.4), layout="constrained")
    titles = (
        "winners' positions closed, million USD",
        "profit taken from winners, thousand USD",
        "paid by the fund, thousand USD",
    )
    for name, colour in COLOURS.items():
        stack = SafeguardStack.load(HERE / f"src/tidegate/stacks/{name}.toml")
        minutes, lines = stacked(replay(recording, Stack.bind(stack, recording.venue)))
        for axis, line in zip(axes, lines, strict=True):
            axis.plot(minutes, line, color=colour, lw=1.8, label=name)
            axis.annotate(
                f"{name} {line[-1]:.3g}" if abs(line[-1]) > 0.005 else f"{name} 0",
                (minutes[-1], line[-1]),
                xytext=(-2, 4 if line[-1] else -11),
                textcoords="offset points",
                ha="right",
                color=colour,
            )
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=9, color=INK, loc="left")
        axis.tick_params(colors=INK, length=0)
        axis.grid(axis="y", color=RULE, lw=0.6)
        axis.set_xlabel("minutes", color=INK)
        axis.margins(y=0.18)
        for spine in axis.spines.values():
            spine.set_visible(False)
    out = HERE / "docs/images/crash.svg"
    out.parent.mkdir(exist_ok=True)
    fig.savefig(out, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
