"""One experiment a safeguard: the same weather with and without it, a table and a picture.

`python bench/experiments.py [NAME ...]` replays each experiment of `catalogue.py` (or those named),
draws docs/images/experiments/NAME.svg and writes docs/results/safeguards.md. Every number of that
page is computed here; the words about it are the experiment's question and its caution.
"""

import json
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import msgspec
import numpy as np
from catalogue import EXPERIMENTS, Experiment
from matplotlib import pyplot as plt
from results import COLUMNS, table, thinner, with_markets

from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Run, replay
from tidegate.drivers.synthetic import make
from tidegate.drivers.synthetic_loans import make_loans
from tidegate.safeguards.stack import SafeguardStack, Stack


HERE = Path(__file__).parent.parent
STACKS, OUT = HERE / "src/tidegate/stacks", HERE / "out/experiments"
PAGE, IMAGES = HERE / "docs/results/safeguards.md", HERE / "docs/images/experiments"
ACCOUNTS, LOANS, SEED = 1_000, 200, 7
INK, RULE = "#57606a", "#8c959f55"
LINES = ("#0b7285", "#d9480f", "#6741d9", "#2b8a3e", "#a61e4d", "#495057")


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``change`` laid over it: tables are merged, anything else replaced.

    So is a table of another kind: its keys are others.
    """
    out = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        both = both and value.get("kind", out[key].get("kind")) == out[key].get("kind")
        out[key] = merged(out[key], value) if both else value
    return out


def stack_of(base: str, change: dict[str, Any], label: str) -> SafeguardStack:
    """Return a shipped stack with some keys changed, as its file would say it."""
    read = tomllib.loads((STACKS / f"{base}.toml").read_text(encoding="utf-8"))
    if "every_instrument" in change:
        rest = dict(change)
        every = rest.pop("every_instrument")
        names = read["margin"]["instruments"]
        change = merged(rest, {"margin": {"instruments": dict.fromkeys(names, every)}})
    whole = merged(read, {**change, "name": label})
    return msgspec.convert(whole, SafeguardStack)


def weather(experiment: Experiment) -> Recording:
    """Return the experiment's recording, made from a seed once and kept in out/."""
    story, providers = experiment.scenario, experiment.providers
    folder = OUT / f"{story}-{ACCOUNTS}-{SEED}-{providers}"
    if not folder.exists() and experiment.loans:
        make_loans(folder, accounts=LOANS, seed=SEED, scenario=story)
    elif not folder.exists():
        make(folder, accounts=ACCOUNTS, seed=SEED, scenario=story, providers=providers)
    recording = load(folder)
    if experiment.depth != 1:
        recording = thinner(recording, experiment.depth)
    if experiment.model:
        recording = with_markets(recording, **experiment.model)
    if experiment.step_ns:
        venue = msgspec.structs.replace(recording.venue, step_ns=experiment.step_ns)
        recording = replace(recording, venue=venue)
    return recording


def played(experiment: Experiment) -> list[Run]:
    """Replay every variant of an experiment."""
    recording = weather(experiment)
    runs = []
    for label, change in experiment.variants.items():
        begun = time.perf_counter()
        rest = dict(change)
        stack = stack_of(rest.pop("base", experiment.base), rest, label)
        runs.append(replay(recording, Stack.bind(stack, recording.venue)))
        took = time.perf_counter() - begun
        print(f"{experiment.name}, {label}: {took:.1f} s", file=sys.stderr)
    return runs


def drawn(experiment: Experiment, runs: list[Run]) -> Path:
    """Draw what the variants did over time, and return where the picture lies."""
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 2.6), layout="constrained")
    flow = sum((r.series.sold + r.series.bought).sum(axis=0) for r in runs)
    busiest = int(np.argmax(flow))
    symbol = runs[0].stack.venue.instruments[busiest].symbol
    titles = (
        f"price of {symbol} displaced by forced orders, %",
        "forced orders filled so far, million USD",
        "whole loss so far, thousand USD",
    )
    for n, run in enumerate(runs):
        s = run.series
        forced = np.cumsum((s.sold + s.bought).sum(axis=1)) / 1e12
        lines = (s.impact[:, busiest] / 1e4, forced, s.bad_debt / 1e9)
        for axis, line in zip(axes, lines, strict=True):
            axis.plot(s.seconds / 60, line, color=LINES[n], lw=1.5, label=run.name)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=8.5, color=INK, loc="left")
        axis.tick_params(colors=INK, length=0)
        axis.grid(axis="y", color=RULE, lw=0.6)
        axis.set_xlabel("minutes", color=INK)
        for spine in axis.spines.values():
            spine.set_visible(False)
    names, labels = axes[0].get_legend_handles_labels()
    fig.legend(names, labels, loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"{experiment.name}.svg"
    fig.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(fig)
    return path


def changes(runs: list[Run]) -> str:
    """Return in words how each variant differs from the first in what is judged."""
    first = runs[0].verdict
    measures = (
        ("whole loss", lambda v: v.bad_debt + v.deficit_at_end),
        ("borne by other accounts", lambda v: v.adl_profit_taken + v.socialised_loss),
        ("forced sales", lambda v: v.sold_volume),
        ("deepest impact", lambda v: v.peak_impact_ppm),
        ("accounts liquidated", lambda v: v.accounts_liquidated),
    )
    said = []
    for run in runs[1:]:
        moved = []
        for name, read in measures:
            before, after = read(first), read(run.verdict)
            if before == after:
                continue
            share = f"{100 * (after - before) / before:+.0f} %" if before else "from nothing"
            moved.append(f"{name} {share}")
        said.append(
            f"*{run.name}* against *{runs[0].name}*: {', '.join(moved) or 'no difference'}."
        )
    return " ".join(said)


def section(experiment: Experiment, runs: list[Run]) -> list[str]:
    """Return the experiment's part of the page."""
    where = "" if experiment.depth == 1 else f", {experiment.depth:g} of the depth"
    return [
        f"## {experiment.title}",
        "",
        f"{experiment.question} Weather: `{experiment.scenario}`{where}.",
        "",
        f"![{experiment.title}](../images/experiments/{experiment.name}.svg)",
        "",
        *table((run.name, run.verdict) for run in runs),
        "",
        changes(runs),
        *(["", experiment.caution] if experiment.caution else []),
        "",
    ]


def main(names: list[str]) -> None:
    """Run the experiments and write the page; sections of those not named are kept."""
    mpl.rcParams |= {"svg.hashsalt": "tidegate", "font.size": 8.5, "svg.fonttype": "none"}
    kept_at = OUT / "sections.json"
    kept = json.loads(kept_at.read_text()) if kept_at.exists() else {}
    OUT.mkdir(parents=True, exist_ok=True)
    for experiment in EXPERIMENTS:
        if names and experiment.name not in names:
            continue
        runs = played(experiment)
        drawn(experiment, runs)
        kept[experiment.name] = section(experiment, runs)
        kept_at.write_text(json.dumps(kept))
    head = [
        "# One experiment a safeguard",
        "",
        f"Synthetic weather from seed {SEED}: {ACCOUNTS:,} accounts in a crash of perpetuals, or",
        f"{LOANS} loans in a lending market; amounts in USD at the recording's scale. Written by",
        "`python bench/experiments.py`; the variants of one experiment meet the same weather. One",
        "weather is one anecdote: read the direction, not the digits.",
        "",
        "Columns: " + ", ".join(name for name, _ in COLUMNS) + ".",
        "",
    ]
    body = [line for e in EXPERIMENTS for line in kept.get(e.name, [])]
    PAGE.write_text("\n".join([*head, *body]))


if __name__ == "__main__":
    main(sys.argv[1:])
