"""Judge stacks by the best adversary against them, on a small crowded book in a thin market.

`python bench/adversaries.py` writes docs/results/adversaries.md and docs/images/adversaries.svg:
first the proof that every adversary profits on a stack with a hole made for it, then what the best
choice of each comes to on shipped stacks, in two worlds. Sizes are small; `--quick` makes them
tiny. With a path behind it, the picture is also written there, as PNG.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import msgspec

from tidegate.cli.stacks import load_stack
from tidegate.domain.units import PPM
from tidegate.lab.agents.catalogue import ADVERSARIES
from tidegate.lab.agents.proving import Walk, crowded, proving_world, weak_stack
from tidegate.lab.predators import CONFIDENCE, Budget, Judged, best_adversary
from tidegate.safeguards.stack import SafeguardStack


HERE = Path(__file__).parent.parent
PAGE, PICTURE = HERE / "docs/results/adversaries.md", HERE / "docs/images/adversaries.svg"
QUICK = "--quick" in sys.argv
ROOT = 11
PROOF = Budget(first=1 if QUICK else 2, rounds=1, judged=2 if QUICK else 8)
TRIAL = Budget(first=1 if QUICK else 2, rounds=1, judged=2 if QUICK else 12)
WORLDS = {
    "restless": Walk(steps=20, sigma=0.003, jump=0.03, rate=0.02),
    "falling": Walk(steps=20, sigma=0.003, fall=0.12),
}
CAP = 120  # millions that one side may hold in the last stack: twice what stands at the opening
MILLION = 1e12  # Money
INK, COLOURS = "#57606a", ("#d9480f", "#0b7285", "#5f3dc4")


def stacks() -> list[SafeguardStack]:
    """Return the shipped stacks that are tried, and the guarded one with a cap on positions."""
    guarded = load_stack("guarded")
    text = f'name = "x"\n[caps.markets."*"]\nopen_interest_max = {CAP * PPM * PPM}\n'
    caps = msgspec.toml.decode(text, type=SafeguardStack).caps
    capped = msgspec.structs.replace(guarded, name="guarded, capped", caps=caps)
    return [load_stack("bare"), guarded, capped]


def row(first: str, r: Judged) -> str:
    """Return one line of a table; money in millions."""
    m = [x / MILLION for x in (r.edge, r.low, r.high, r.capital, r.loss_added)]
    chosen = ", ".join(f"{name} {value:.3g}" for name, value in r.parameters.items())
    verdict = "**gains**" if r.profits else "not shown"
    return (
        f"| {first} | {m[0]:+.3f} | {m[1]:+.3f} to {m[2]:+.3f} | {verdict} | {m[3]:.2f} | "
        f"{m[4]:+.3f} | {chosen} |"
    )


def table(head: str, rows: list[str]) -> list[str]:
    """Return a table of such lines."""
    titles = "| edge | interval | verdict | capital | loss added | choice |"
    return [f"| {head} {titles}", "|---|--:|---|---|--:|--:|---|", *rows, ""]


def proofs() -> list[str]:
    """Let each adversary loose on the stack that was made weak for it."""
    opening, rows = crowded(), list[str]()
    for kind in ADVERSARIES:
        weak, world = weak_stack(kind.name), proving_world(kind.name)
        (found,) = best_adversary(opening, weak, world, ROOT, PROOF, kinds=[kind])
        rows.append(row(f"{kind.name}: {weak.about}", found))
        print(rows[-1], flush=True)
    return table("adversary: the hole", rows)


def trials() -> tuple[list[str], dict[str, dict[str, list[Judged]]]]:
    """Let all adversaries loose on each stack in each world; return tables and what was found."""
    lines, found = list[str](), dict[str, dict[str, list[Judged]]]()
    for name, world in WORLDS.items():
        lines += [f"## In a {name} world", "", f"The price: {world.describe()}.", ""]
        for stack in stacks():
            rows = best_adversary(crowded(), stack, replace(world, name=name), ROOT, TRIAL)
            found.setdefault(name, {})[stack.name] = rows
            lines += [f"### {stack.name}", ""]
            lines += table("adversary", [row(r.adversary, r) for r in rows])
            print(f"{name}, {stack.name}: best is {rows[0].adversary}", flush=True)
    return lines, found


def draw(found: dict[str, dict[str, list[Judged]]]) -> None:
    """Draw the edges with their intervals, an adversary a line, a stack a colour, a world a box."""
    mpl.rcParams.update({"svg.hashsalt": "tidegate", "svg.fonttype": "none", "font.size": 9})
    figure, boxes = plt.subplots(1, len(found), figsize=(9, 4.2), sharey=True, layout="constrained")
    names = [kind.name for kind in ADVERSARIES]
    for axes, (world, by_stack) in zip(boxes, found.items(), strict=True):
        for k, (stack, rows) in enumerate(by_stack.items()):
            for r in rows:
                y = names.index(r.adversary) + (k - 1) * 0.22
                low, high = r.low / MILLION, r.high / MILLION
                axes.plot([low, high], [y, y], color=COLOURS[k], lw=1.6)
                label = stack if r.adversary == names[0] else None
                axes.plot(r.edge / MILLION, y, "o", color=COLOURS[k], ms=4, label=label)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set(title=f"a {world} world", xlabel="edge of the best choice, millions")
        axes.set(yticks=range(len(names)), yticklabels=names, facecolor="none")
        axes.set_xscale("symlog", linthresh=0.05)
        axes.spines[["top", "right"]].set_visible(False)
    boxes[0].invert_yaxis()
    boxes[-1].legend(frameon=False, loc="lower right")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})
    others = [a for a in sys.argv[1:] if not a.startswith("-")]
    if others:
        figure.savefig(others[0], dpi=110)


def summary(found: dict[str, dict[str, list[Judged]]]) -> list[str]:
    """Say in one line a stack and world who is shown to gain."""
    lines = list[str]()
    for world, by_stack in found.items():
        for stack, rows in by_stack.items():
            gains = [f"{r.adversary} ({r.edge / MILLION:+.2f})" for r in rows if r.profits]
            said = ", ".join(gains) if gains else "nobody is shown to gain"
            lines.append(f"* **{stack}**, {world}: {said}.")
    return [*lines, ""]


HEAD = f"""# The best adversary against each stack

Written by `python bench/adversaries.py`, from root {ROOT}. A stack is judged by the adversary that
does best against it, each with parameters that it has searched against that very stack.

**What is claimed, and what is not.** The adversaries are the seven named here and nobody else. The
statistic is the mean edge over {TRIAL.judged} paths that the search has not seen: profit in cash,
inventory and accounts at the fair price of the end, less the part that the fair price's own moves
gave ([how it is counted](../concepts/agents.md)). Intervals are Student's; together they hold for
all adversaries of one stack with a confidence of {CONFIDENCE:.0%}. "Gains" means that the whole
interval lies above zero. "Not shown" is not "impossible": the search is small, gains of bets are
skewed, and what happens rarely may happen in none of {TRIAL.judged} paths. One book, one market, no
other agents.

The book: 60 longs of 1 million each at 8 to 18 times, against a market that shows 10 million within
10 % of the price, healing by half in 20 seconds. Every number is in millions. Capital is the most
an adversary had paid in and not yet received back, collateral of what it sold short outside left
out. Loss added is what the venue loses more than without it, on the same paths.
"""


def main() -> None:
    """Write the page and the picture."""
    began = time.perf_counter()
    proof = proofs()
    lines, found = trials()
    draw(found)
    text = [
        HEAD,
        "![Edge of the best choice of each adversary](../images/adversaries.svg)",
        "",
        *summary(found),
        "## Each bites where there is a hole",
        "",
        f"A stack made weak for each, 100 times leverage, and {PROOF.judged} unseen paths of the",
        "plainest world in which it can profit. One that never profits would prove nothing. In a",
        "world without chance all paths are one, and the interval is a point.",
        "",
        *proof,
        *lines,
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
