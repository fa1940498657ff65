"""October 2025, one coin, reconstructed: who would have been deleveraged, how much and when.

`python bench/october.py FOLDER` wants the folder with that day's public tables (hl_20251010_*).
It converts them, replays the reconstruction under the bare and the guarded stack over the whole
range of assumptions, and writes docs/results/october-2025.md and the report beside it. Every number
of that page is written by this script.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tidegate.adapters.hyperliquid import Knobs
from tidegate.cli.replay import write_report
from tidegate.cli.runs import Session
from tidegate.domain.effects import Deleveraged
from tidegate.domain.units import unpack
from tidegate.drivers.october import RANGE, convert_october
from tidegate.drivers.recording import Recording
from tidegate.safeguards.stack import SafeguardStack, Stack


HERE = Path(__file__).parent.parent
STACKS, PAGES = HERE / "src/tidegate/stacks", HERE / "docs/results"
SYMBOL_LOT = 0.01  # SOL per lot of the reconstruction


@dataclass(slots=True)
class Allocation:
    """Listens for deleveraging: when, how many lots, and from whom."""

    lots: dict[int, int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def __call__(self, seq, event, effects, state, impact_ppm):
        """Take note of one step."""
        del seq, state, impact_ppm
        for effect in effects:
            if isinstance(effect, Deleveraged):
                taken = np.abs(unpack(effect.lots))
                self.times.append(event.ts)
                self.sizes.append(int(taken.sum()))
                for account, n in zip(unpack(effect.account).tolist(), taken.tolist(), strict=True):
                    self.lots[account] = self.lots.get(account, 0) + n


def real(recording: Recording) -> tuple[dict[int, float], list[int], list[float]]:
    """Return what really happened: SOL by deleveraged account, and the times of its bursts."""
    rows = recording.liquidations().to_pylist()
    adl = [r for r in rows if r["kind"] == "adl"]
    by_account: dict[int, float] = {}
    for r in adl:
        row = recording.row(r["account"])
        by_account[row] = by_account.get(row, 0.0) + abs(float(r["quantity"]))
    return by_account, [int(r["ts"]) for r in adl], [abs(float(r["quantity"])) for r in adl]


def weighted_quantile(times: list[int], sizes: list[float], share: float) -> float:
    """Return the time by which ``share`` of the size was done, in ns."""
    if not times:
        return float("nan")
    order = np.argsort(times, kind="stable")
    done = np.cumsum(np.array(sizes, float)[order])
    return float(np.array(times)[order][np.searchsorted(done, share * done[-1])])


def line(label: str, recording: Recording, session: Session, stack: str) -> str:
    """Replay once and return one row of the table."""
    listener = Allocation()
    declaration = SafeguardStack.load(STACKS / f"{stack}.toml")
    bound = Stack.bind(declaration, recording.venue)
    run = session.take(bound, shock=False, verify=False, observers=[listener])
    was, _, _ = real(recording)
    begin = recording.begins
    hit, sol = set(listener.lots), {a: n * SYMBOL_LOT for a, n in listener.lots.items()}
    both = hit & set(was)
    overlap = sum(min(sol[a], was[a]) for a in both)

    def at(ts: float) -> str:
        return "-" if np.isnan(ts) else f"{(ts - begin) / 1e9:.0f} s"

    half = weighted_quantile(listener.times, [float(s) for s in listener.sizes], 0.5)
    v = run.verdict
    cells = [
        label,
        stack,
        f"{sum(sol.values()):,.0f}",
        f"{len(hit):,}",
        f"{len(both) / len(hit):.2f}" if hit else "-",
        f"{len(both) / len(was):.2f}",
        f"{overlap / sum(was.values()):.2f}",
        at(min(listener.times, default=float("nan"))),
        at(half),
        f"{v.accounts_liquidated:,}",
    ]
    return "| " + " | ".join(cells) + " |"


def truth(recording: Recording) -> str:
    """Return the row of what was published."""
    was, times, sizes = real(recording)
    rows = recording.liquidations().to_pylist()
    liquidated = {r["account"] for r in rows if r["kind"] != "adl"}
    begin = recording.begins
    first, half = min(times), weighted_quantile(times, sizes, 0.5)
    return (
        f"| published | - | {sum(was.values()):,.0f} | {len(was):,} | 1.00 | 1.00 | 1.00 | "
        f"{(first - begin) / 1e9:.0f} s | {(half - begin) / 1e9:.0f} s | {len(liquidated):,} |"
    )


def main() -> None:
    """Convert, replay the range, and write the page and the report."""
    tables = {"positions": Path(sys.argv[1]) / "hl_20251010_positions_SOL.parquet"}
    folder = HERE / "out/october"
    base = convert_october(tables, out=folder / "october-2025", say=print)
    session = Session(base)
    rows = [truth(base), *(line("as assumed", base, session, s) for s in ("bare", "guarded"))]
    write_report(
        session,
        PAGES / "october-2025.html",
        "tidegate replay out/october/october-2025 --stack bare --stack guarded "
        "--report october-2025.html",
    )
    for knob, values in RANGE.items():
        for value in values:
            knobs = Knobs(**{knob: value})
            varied = convert_october(tables, out=folder / f"{knob}-{value:g}", knobs=knobs)
            label = f"{knob} = {value:g}"
            rows += [line(label, varied, Session(varied), s) for s in ("bare", "guarded")]
    head = (
        "| assumption | stack | SOL deleveraged | winners | of them really | of the real ones | "
        "lots in common | first | half done | accounts liquidated |"
    )
    page = [
        "# October 2025, reconstructed",
        "",
        "SOL on one on-chain venue, 10 October 2025, 21:15-21:27 UTC: " + f"{len(base.names):,}",
        "accounts. The public table holds sizes at the end of the window, few entry prices and no",
        "balances, and no price path of that day is published with it: start-of-window positions,",
        "balances and the path are reconstructed. Judge who is deleveraged and when, nothing else.",
        "The [report](october-2025.html) shows the run as assumed.",
        "",
        "Every assumption, as the converter prints it:",
        "",
        *(f"* {note}" for note in base.venue.notes),
        "",
        "What the stacks do with it, over the range of each assumption:",
        "",
        head,
        "|---|---|" + "---:|" * 8,
        *rows,
        "",
        "`of them really`: share of the winners that really were deleveraged; `of the real ones`:",
        "share of the really deleveraged that the stack also takes; `lots in common`: overlap by",
        "size. Times count from the first event.",
        "",
    ]
    (PAGES / "october-2025.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
