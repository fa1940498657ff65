"""Judge stacks by the best adversary against them, on a small crowded book in a thin market.

`python bench/adversaries.py` writes docs/results/adversaries.md and docs/images/adversaries.svg:
first the proof that every adversary profits on a stack with a hole made for it, then what the best
choice of each comes to on shipped stacks, in two worlds. Sizes are small; `--quick` makes them
tiny. With a path behind it, the picture is also written there, as PNG.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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
ONCE = Budget(first=1, rounds=1, judged=2)  # where all paths are one
WORKERS = 4
WORLDS = {
    "still": Walk(steps=20),
    "restless": Walk(steps=20, sigma=0.003, jump=0.03, rate=0.02),
    "falling": Walk(steps=20, sigma=0.003, fall=0.12),
}
CAP = 120  # millions that one side may hold in the last stack: twice what stands at the opening
MILLION = 1e12  # Money
Found = dict[str, dict[str, list[Judged]]]  # by world, by stack
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


def proof(name: str) -> Judged:
    """Let an adversary loose on the stack that was made weak for it."""
    kinds = [kind for kind in ADVERSARIES if kind.name == name]
    world = proving_world(name)
    (found,) = best_adversary(crowded(), weak_stack(name), world, ROOT, PROOF, kinds=kinds)
    return found


def trial(world: str, stack: str) -> list[Judged]:
    """Let all adversaries loose on a stack in a world."""
    (chosen,) = (s for s in stacks() if s.name == stack)
    budget = ONCE if world == "still" else TRIAL
    return best_adversary(crowded(), chosen, WORLDS[world], ROOT, budget)


def all_of_it() -> tuple[list[str], Found]:
    """Return the table of proofs, and what the trials found, from several processes."""
    names, context = [s.name for s in stacks()], get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        asked = {w: {s: pool.submit(trial, w, s) for s in names} for w in WORLDS}
        proofs = {kind.name: pool.submit(proof, kind.name) for kind in ADVERSARIES}
        found = {w: {s: job.result() for s, job in by.items()} for w, by in asked.items()}
        rows = [row(f"{n}: {weak_stack(n).about}", job.result()) for n, job in proofs.items()]
    return table("adversary: the hole", rows), found


def trials(found: Found) -> list[str]:
    """Return the tables of what was found."""
    lines = list[str]()
    for name, by_stack in found.items():
        lines += [f"## In a {name} world", "", f"The price: {WORLDS[name].describe()}.", ""]
        for stack, rows in by_stack.items():
            lines += [f"### {name}: {stack}", ""]
            lines += table("adversary", [row(r.adversary, r) for r in rows])
    return lines


def draw(found: Found) -> None:
    """Draw the edges with their intervals, an adversary a line, a stack a colour, a world a box."""
    mpl.rcParams.update({"svg.hashsalt": "tidegate", "svg.fonttype": "none", "font.size": 9})
    figure, boxes = plt.subplots(
        1, len(found), figsize=(10, 4.2), sharey=True, layout="constrained"
    )
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
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_xticks([-1, -0.1, 0, 0.1, 1], ["-1", "-0.1", "0", "0.1", "1"])
        axes.spines[["top", "right"]].set_visible(False)
    boxes[0].invert_yaxis()
    boxes[-1].legend(frameon=False, loc="lower right")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})
    others = [a for a in sys.argv[1:] if not a.startswith("-")]
    if others:
        figure.savefig(others[0], dpi=110)


def summary(found: Found) -> list[str]:
    """Say in one line a stack and world who is shown to gain."""
    lines = list[str]()
    for world, by_stack in found.items():
        for stack, rows in by_stack.items():
            gains = [f"{r.adversary} ({r.edge / MILLION:+.2f})" for r in rows if r.profits]
            best = max(rows, key=lambda r: r.edge)
            at_most = (
                f"nobody is shown to gain; the largest mean is {best.adversary}'s "
                f"{best.edge / MILLION:+.2f} ({best.low / MILLION:+.2f} to "
                f"{best.high / MILLION:+.2f})"
            )
            said = ", ".join(gains) if gains else at_most
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
other agents. In a still world all paths are one and the interval is a point.

The book: 60 longs of 1 million each at 8 to 18 times, against a market that shows 10 million within
10 % of the price, healing by half in 20 seconds. Every number is in millions. Capital is the most
an adversary had paid in and not yet received back, collateral of what it sold short outside left
out. Loss added is what the venue loses more than without it, on the same paths.
"""


def main() -> None:
    """Write the page and the picture."""
    began = time.perf_counter()
    proven, found = all_of_it()
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
        *proven,
        *trials(found),
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
