"""Who would have paid on 10 October 2025, wave by wave, under each rule of deleveraging.

`python bench/adl_waves.py FOLDER` wants the folder with that day's public tables (hl_20251010_*).
It shares what each wave needed among a reconstructed population of winners by the kernels that the
engine runs, replays the synthetic crash under the same rules, and writes docs/results/adl-waves.md
and docs/images/adl-waves.svg. Every number of that page is written by this script.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import msgspec
import numpy as np
import pyarrow.parquet as pq
from matplotlib import pyplot as plt

from tidegate.domain.effects import Deleveraged
from tidegate.domain.payers import DeleveragingCompared
from tidegate.domain.units import PPM, unpack
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import replay
from tidegate.drivers.synthetic import make
from tidegate.kernels.allocate import (
    capped_pro_rata,
    in_order,
    largest_remainder,
    min_max_lots,
    ratio_ppm,
)
from tidegate.lab.waterfall import waves as totals_of
from tidegate.safeguards.stack import SafeguardStack, Stack


HERE = Path(__file__).parent.parent
USD = 100  # cents: what this script counts in
LOT = 1_000 * USD  # a contract of a thousand dollars
CAP = 100_000  # ppm of a winner's profit that the capped rule may take
SCALE = 10**9
INK, RULE = "#57606a", "#8c959f55"
COLOURS = {
    "queue": "#d9480f",
    "pro rata": "#0b7285",
    "pro rata, capped": "#5f3dc4",
    "whole lots": "#2b8a3e",
    "min-max lots": "#a61e4d",
}
ACCOUNTS, SEED = 600, 7


@dataclass(frozen=True, slots=True)
class Winners:
    """The winners of one wave, reconstructed: cents, lots and the queue's order."""

    profit: np.ndarray
    lots: np.ndarray
    each: np.ndarray  # profit per lot
    bear: np.ndarray  # what an account can bear: its profit
    order: np.ndarray


@dataclass(frozen=True, slots=True)
class Wave:
    """What is published of one wave, USD."""

    number: int
    needed: float
    taken: float
    largest: float  # the largest loss of one winner
    profit: float  # of all winners, before
    deficit: float
    worst: float  # the largest loser
    fills: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule took in one wave, USD and shares."""

    taken: float
    accounts: int
    largest: float
    largest_share: float  # of its own profit
    top: float  # of everything taken, by the largest account


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Return a table as columns."""
    table = pq.read_table(folder / f"hl_20251010_{name}.parquet")
    return {n: table.column(n).to_numpy(zero_copy_only=False) for n in table.column_names}


def published(folder: Path) -> list[Wave]:
    """Return the waves, valued when they ended."""
    table, losers = read(folder, "adl_waves"), read(folder, "loser_waves")
    fills = dict(zip(losers["wave"].tolist(), losers["n_rows"].tolist(), strict=True))
    names = ("wave", "budget_needed_usd", "budget_prod_usd", "max_prod_haircut_usd")
    names += ("winners_pnl_start_usd", "deficit_usd", "max_loss_usd")
    at_end = table["eval_horizon_ms"] == 0
    rows = zip(*(table[n][at_end].tolist() for n in names), strict=True)
    return [Wave(*row, fills=fills[row[0]]) for row in rows]


def winners_of(wave: Wave, people: dict[str, np.ndarray]) -> Winners:
    """Return as many winners as the wave had fills, profits spread as among all who were hit."""
    gain = people["closed_pnl"]
    by_gain = np.flatnonzero(gain > 0)[np.argsort(gain[gain > 0], kind="stable")]
    n = min(wave.fills, by_gain.size)
    chosen = by_gain[((np.arange(n) + 0.5) * by_gain.size / n).astype(np.int64)]
    scale = wave.profit / gain[chosen].sum() * USD
    profit = np.maximum(1, (gain[chosen] * scale).astype(np.int64))
    size = people["adl_notional"][chosen] * scale
    lots = np.maximum(1, (size / LOT).astype(np.int64))
    leverage = np.clip(people["mean_leverage_realtime"][chosen], 0, 100)
    percent = np.clip(people["mean_pnl_percent"][chosen], 0, 1_000)
    return Winners(
        profit=profit,
        lots=lots,
        each=np.maximum(1, profit // lots),
        bear=profit,
        order=np.argsort(-(leverage * percent), kind="stable").astype(np.int64),
    )


def queue(budget: int, w: Winners) -> np.ndarray:
    """Take from each in order until the budget is met; the last in part."""
    out = np.zeros_like(w.profit)
    in_order(budget, w.order, w.profit, out)
    return out


def pro_rata(budget: int, w: Winners) -> np.ndarray:
    """Take the same share of every profit."""
    out = np.zeros_like(w.profit)
    capped_pro_rata(budget, w.profit, w.profit, out)
    return out


def capped(budget: int, w: Winners) -> np.ndarray:
    """Take by size of position, nobody more than a part of its profit."""
    out = np.zeros_like(w.profit)
    capped_pro_rata(budget, w.lots, w.profit * CAP // PPM, out)
    return out


def whole_lots(budget: int, w: Winners) -> np.ndarray:
    """Close whole lots in proportion to lots, as many as the budget's share of all profit."""
    closed = np.zeros_like(w.lots)
    total = -(-budget * int(w.lots.sum()) // int((w.lots * w.each).sum()))
    largest_remainder(min(total, int(w.lots.sum())), w.lots, closed)
    return closed * w.each


def min_max(budget: int, w: Winners) -> np.ndarray:
    """Close whole lots so that the largest part of a profit is least, then cut the overshoot."""
    closed = np.zeros_like(w.lots)
    burden = min_max_lots(budget, w.each, w.bear, w.lots, SCALE, closed)
    spare = int((closed * w.each).sum()) - budget
    # Lots of the last burden that are not needed are given back, the dearest first.
    for n in np.argsort(-w.each, kind="stable").tolist():
        last = closed[n] and closed[n] * w.each[n] * SCALE > (burden - 1) * w.bear[n]
        if last and w.each[n] <= spare:
            closed[n] -= 1
            spare -= int(w.each[n])
    return closed * w.each


RULES: dict[str, Callable[[int, Winners], np.ndarray]] = {
    "queue": queue,
    "pro rata": pro_rata,
    "pro rata, capped": capped,
    "whole lots": whole_lots,
    "min-max lots": min_max,
}


def outcome(taken: np.ndarray, w: Winners) -> Outcome:
    """Return what a rule did."""
    total, most = int(taken.sum()), int(taken.max(initial=0))
    seen = zip(taken.tolist(), w.profit.tolist(), strict=True)
    shares = [ratio_ppm(t, p) for t, p in seen if t and p >= USD]  # dust is all rounding
    return Outcome(
        taken=total / USD,
        accounts=int((taken > 0).sum()),
        largest=most / USD,
        largest_share=max(shares, default=0) / PPM,
        top=most / total if total else 0.0,
    )


def judged(waves: list[Wave], people: dict[str, np.ndarray]) -> dict[str, list[Outcome]]:
    """Return each rule's outcomes, wave by wave."""
    found: dict[str, list[Outcome]] = {name: [] for name in RULES}
    for wave in waves:
        w = winners_of(wave, people)
        for name, rule in RULES.items():
            found[name].append(outcome(rule(round(wave.needed * USD), w), w))
    return found


def money(usd: float) -> str:
    """Return dollars as a page shows them."""
    return f"{usd / 1e6:,.2f} M" if abs(usd) >= 1e6 else f"{usd:,.0f}"


def row(*cells: object) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(str(c) for c in cells) + " |"


def wave_tables(waves: list[Wave], found: dict[str, list[Outcome]]) -> list[str]:
    """Return the table of waves and the table of rules."""
    lines = [
        row("wave", "fills", "needed", "taken", "over or under", *(f"{r}: hit" for r in RULES)),
        "|---:" * (5 + len(RULES)) + "|",
    ]
    for k, wave in enumerate(waves):
        hit = (f"{found[r][k].accounts:,}" for r in RULES)
        gap = wave.taken - wave.needed
        lines.append(
            row(
                wave.number,
                f"{wave.fills:,}",
                money(wave.needed),
                money(wave.taken),
                money(gap),
                *hit,
            )
        )
    needed = sum(w.needed for w in waves)
    lines += [
        "",
        row("", "taken", "over what was needed", "accounts hit, all waves", "largest loss",
            "largest part of one profit", "largest loser's part of its wave, median"),
        "|---|" + "---:|" * 6,
        row(
            "as it happened", money(sum(w.taken for w in waves)),
            money(sum(max(0, w.taken - w.needed) for w in waves)),
            f"{sum(w.fills for w in waves):,} fills", money(max(w.largest for w in waves)), "all",
            f"{np.median([w.largest / w.taken for w in waves]):.1%}",
        ),
    ]  # fmt: skip
    for name, outcomes in found.items():
        taken = sum(o.taken for o in outcomes)
        lines.append(
            row(
                name, money(taken), money(taken - needed),
                f"{sum(o.accounts for o in outcomes):,}", money(max(o.largest for o in outcomes)),
                f"{max(o.largest_share for o in outcomes):.1%}",
                f"{np.median([o.top for o in outcomes]):.1%}",
            )
        )  # fmt: skip
    return lines


@dataclass(slots=True)
class Hits:
    """Listens to one replay: who was closed, and how much of it was a hedge."""

    lots: dict[int, int]
    hedged: int = 0
    closed: int = 0

    def __call__(self, seq, event, effects, state, impact_ppm):
        """Take note of one step."""
        del seq, event, state, impact_ppm
        for effect in effects:
            if isinstance(effect, Deleveraged):
                for a, n in zip(unpack(effect.account), unpack(effect.lots), strict=True):
                    self.lots[int(a)] = self.lots.get(int(a), 0) + abs(int(n))
                self.closed = sum(self.lots.values())
            if isinstance(effect, DeleveragingCompared):
                self.hedged += int(unpack(effect.hedged).sum())


def variants(guarded: SafeguardStack) -> list[tuple[str, SafeguardStack]]:
    """Return the guarded stack with each rule of deleveraging, winners paying first."""

    def with_rule(**fields: object) -> SafeguardStack:
        plain = {"fund_pays_first": False, "receipts": "full", "deleverage_when": "bankrupt"}
        waterfall = msgspec.structs.replace(guarded.waterfall, **(plain | fields))
        return msgspec.structs.replace(guarded, waterfall=waterfall)

    scores = ("leverage_profit", "margin_ratio", "index", "sided_index", "profit", "net_risk")
    queues = [
        (f"queue by {s.replace('_', ' ')}", with_rule(deleverage="queue", score=s)) for s in scores
    ]
    others = [
        (r.replace("_", " "), with_rule(deleverage=r))
        for r in ("random", "pro_rata", "pro_rata_risk", "min_max", "mirror")
    ]
    hedges = [
        (f"pro rata, hedges {h}", with_rule(deleverage="pro_rata", hedges=h))
        for h in ("spared", "paired")
    ]
    severe = [
        ("pro rata, half a step", with_rule(deleverage="pro_rata", close_share=500_000)),
        ("pro rata, half the deficit", with_rule(deleverage="pro_rata", haircut=500_000)),
        (
            "pro rata, early by the fund's fall",
            with_rule(
                deleverage="pro_rata",
                deleverage_when="fund_exhausted",
                drawdown_start=300_000,
                drawdown_stop=250_000,
            ),
        ),
    ]
    return [*queues, *others, *hedges, *severe]


def crash_table(recording: Recording) -> list[str]:
    """Return the table of the synthetic crash under each rule."""
    guarded = SafeguardStack.load(HERE / "src/tidegate/stacks/guarded.toml")
    lines = [
        row("rule", "whole loss", "taken from winners", "of it while the fund could pay",
            "fund used", "winners' positions closed", "winners hit", "largest winner's part",
            "hedges among what was closed"),
        "|---|" + "---:|" * 8,
    ]  # fmt: skip
    for name, stack in variants(guarded):
        hits = Hits({})
        v = replay(recording, Stack.bind(stack, recording.venue), observers=(hits,)).verdict
        lines.append(
            row(
                name, f"{(v.bad_debt + v.deficit_at_end) / 1e6:,.0f}",
                f"{v.adl_profit_taken / 1e6:,.0f}", f"{v.adl_overshoot / 1e6:,.0f}",
                f"{sum(v.fund_used) / 1e6:,.0f}", f"{v.adl_volume / 1e12:,.2f} M",
                f"{v.adl_accounts:,}",
                f"{max(hits.lots.values(), default=0) / max(1, hits.closed):.1%}",
                f"{hits.hedged / max(1, hits.closed):.1%}",
            )
        )  # fmt: skip
        print(lines[-1], file=sys.stderr)
    return lines


def draw(waves: list[Wave], found: dict[str, list[Outcome]]) -> None:
    """Write the picture: needed against taken, accounts hit, and the largest burden."""
    mpl.rcParams |= {"svg.hashsalt": "tidegate", "font.size": 9, "svg.fonttype": "none"}
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.0), layout="constrained")
    place = np.arange(len(waves))
    first, second, third = axes
    first.vlines(place, [w.needed for w in waves], [w.taken for w in waves], color=RULE, lw=2)
    first.scatter(place, [w.needed for w in waves], s=16, color="#0b7285", label="needed", zorder=3)
    first.scatter(place, [w.taken for w in waves], s=16, color="#d9480f", label="taken", zorder=3)
    first.set_yscale("log")
    for name in RULES:
        hit = [max(1, o.accounts) for o in found[name]]
        dashed = (0, (4, 2)) if name == "pro rata, capped" else "-"
        second.plot(place, hit, color=COLOURS[name], lw=1.5, ls=dashed, label=name)
        burden = [max(1e-5, o.largest_share) for o in found[name]]
        third.plot(place, burden, color=COLOURS[name], lw=1.5, ls=dashed, label=name)
    second.set_yscale("log")
    third.set_yscale("log")
    titles = ("USD per wave", "accounts hit per wave", "largest part taken of one profit")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=9, color=INK, loc="left")
        axis.set_xticks(place[::3], [w.number for w in waves[::3]])
        axis.set_xlabel("wave", color=INK)
        axis.tick_params(colors=INK, length=0, which="both")
        axis.grid(axis="y", color=RULE, lw=0.6)
        for spine in axis.spines.values():
            spine.set_visible(False)
    first.legend(frameon=False, labelcolor=INK, loc="lower left", fontsize=8)
    handles, labels = third.get_legend_handles_labels()
    fig.legend(
        handles, labels, loc="outside lower center", ncols=5, frameon=False, labelcolor=INK,
        fontsize=8,
    )  # fmt: skip
    out = HERE / "docs/images/adl-waves.svg"
    fig.savefig(out, transparent=True, metadata={"Date": None})
    if len(sys.argv) > 2:
        fig.savefig(sys.argv[2], dpi=110, facecolor="white")


def heading(waves: list[Wave]) -> list[str]:
    """Return the page down to its first table."""
    sums = totals_of(
        [w.needed for w in waves],
        [w.taken for w in waves],
        [w.deficit for w in waves],
        [w.worst for w in waves],
    )
    over, under = (
        money(sum(max(0, sign * (w.taken - w.needed)) for w in waves)) for sign in (1, -1)
    )
    known = (
        f"{len(waves)} waves: what each needed to cover its losers, what was taken from winners, "
        "the winners' profit before it and the number of fills. Those four are published (MIT, by "
        "the authors of arXiv:2602.15182), who valued every close at the end of its wave. Who the "
        "winners of a wave were is not published. Each wave is given as many winners as it had "
        "fills, with profits spread as among all accounts that were deleveraged that day (the "
        "half that is open), scaled to the wave's own total; a lot is a thousand dollars of the "
        "scaled position. So the columns about accounts compare rules with each other; they are "
        "not what would have happened to anybody."
    )
    found = (
        f"The waves together needed {money(sums.needed)} and took {money(sums.taken)}: {over} too "
        f"much in {sum(w.taken > w.needed for w in waves)} waves and {under} too little in the "
        f"others. The published deficits add up to {money(sums.deficit)}, but one loser stands in "
        f"{sums.repeats} waves; counted once they are {money(sums.deficit_once)}. How much was "
        "needed is a matter of when closes are valued: at other horizons the same source gives "
        "other numbers, so over- and undershoot are its authors' model, not a fact."
    )
    image = "![Needed and taken per wave, accounts hit, largest part of one profit]"
    return [
        "# Who pays: October 2025 by waves",
        "",
        "Written by `bench/adl_waves.py`.",
        "",
        image + "(../images/adl-waves.svg)",
        "",
        "## What is published, and what is assumed",
        "",
        known,
        "",
        found,
        "",
        "## Wave by wave",
        "",
    ]


def between() -> list[str]:
    """Return what stands between the waves and the crash."""
    return [
        (
            f"The capped rule takes by size, nobody more than {CAP / 1e4:g} % of its profit. "
            "Rules of whole lots cannot meet a budget exactly; the others do. Profits below a "
            "dollar do not count for the largest part."
        ),
        "",
        "## The same rules in a crash that answers",
        "",
        (
            "A table of waves cannot show what a rule does to prices, hedges and the next wave. "
            f"This one replays the synthetic October crash ({ACCOUNTS} accounts, seed {SEED}) "
            "under the guarded stack, with winners asked as soon as somebody is bankrupt and "
            "before the fund, so that the rules have something to do. Amounts in USD at the "
            "recording's scale."
        ),
        "",
    ]


AFTER = (
    "The last column is the share of all closed lots that offset another position of the same "
    "account, with every instrument counted alike (beta 1). The rule that remembers equals pro "
    "rata where all winners of a market went through the same rounds, and pairs equal sparing "
    "where no hedge's other leg is wanted in the same step."
)


def main() -> None:
    """Read, share, replay, write."""
    folder = Path(sys.argv[1])
    waves, people = published(folder), read(folder, "adl_by_user")
    found = judged(waves, people)
    draw(waves, found)
    crash = HERE / f"out/results/october-{ACCOUNTS}-{SEED}"
    if not crash.exists():
        make(crash, accounts=ACCOUNTS, seed=SEED)
    page = [*heading(waves), *wave_tables(waves, found), "", *between()]
    page += [*crash_table(load(crash)), "", AFTER, ""]
    (HERE / "docs/results/adl-waves.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
