"""Where the guarded stack wins, where it loses, and what each safeguard contributes.

`make results` replays the synthetic October crash under the shipped stacks, in the market it was
made for and in worse ones, and writes docs/results/*.md from what came out. Every number of those
pages is written by this script; none is typed.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from tidegate.domain.venue import Market, Venue
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import replay
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Verdict
from tidegate.safeguards.breaker import LadderBreaker
from tidegate.safeguards.margin import MarginModel
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.routes import BookRoute
from tidegate.safeguards.signals import SignalGate
from tidegate.safeguards.stack import SafeguardStack, Stack


HERE = Path(__file__).parent.parent
STACKS, PAGES = HERE / "src/tidegate/stacks", HERE / "docs/results"
ACCOUNTS, SEEDS = 4_000, (7, 8, 9)
COLUMNS = (
    ("whole loss", lambda v: f"{(v.bad_debt + v.deficit_at_end) / 1e6:,.0f}"),
    ("taken from winners", lambda v: f"{v.adl_profit_taken / 1e6:,.0f}"),
    ("winners' positions closed", lambda v: f"{v.adl_volume / 1e12:,.2f} M"),
    ("winners hit", lambda v: f"{v.adl_accounts:,}"),
    ("fund used", lambda v: f"{sum(v.fund_used) / 1e6:,.0f}"),
    ("socialised", lambda v: f"{v.socialised_loss / 1e6:,.0f}"),
    ("deepest impact", lambda v: f"{v.peak_impact_ppm / 1e4:.2f} %"),
    ("accounts liquidated", lambda v: f"{v.accounts_liquidated:,}"),
    ("sold", lambda v: f"{v.sold_volume / 1e12:,.2f} M"),
    ("netted", lambda v: f"{v.netted_volume / 1e12:,.2f} M"),
    ("restricted", lambda v: f"{sum(v.rung_seconds[1:]):,.0f} s"),
)


def with_markets(recording: Recording, **change: object) -> Recording:
    """Return the recording in another market: the same weather, other depth, latency, recovery."""
    fields = set(Market.__struct_fields__)
    market = {k: v for k, v in change.items() if k in fields}
    model = {k: v for k, v in change.items() if k not in fields}
    venue: Venue = msgspec.structs.replace(
        recording.venue,
        markets=tuple(msgspec.structs.replace(m, **market) for m in recording.venue.markets),
        model=msgspec.structs.replace(recording.venue.model, **model),
    )
    return replace(recording, venue=venue)


def thinner(recording: Recording, share: float) -> Recording:
    """Return the recording with every market's depth and volume cut to ``share``."""
    markets = tuple(
        msgspec.structs.replace(
            m, depth=int(m.depth * share), daily_volume=int(m.daily_volume * share)
        )
        for m in recording.venue.markets
    )
    return replace(recording, venue=msgspec.structs.replace(recording.venue, markets=markets))


def judged(recording: Recording, stack: SafeguardStack, label: str) -> Verdict:
    """Replay once and return the verdict, saying on stderr what is going on."""
    start = time.perf_counter()
    verdict = replay(recording, Stack.bind(stack, recording.venue)).verdict
    print(f"{label}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    return verdict


def table(rows: Iterable[tuple[str, Verdict]]) -> list[str]:
    """Return a Markdown table of verdicts, one row each."""
    head = ["", *(name for name, _ in COLUMNS)]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for name, verdict in rows:
        lines.append("| " + " | ".join([name, *(read(verdict) for _, read in COLUMNS)]) + " |")
    return lines


def ablations(guarded: SafeguardStack) -> list[tuple[str, SafeguardStack]]:
    """Return the guarded stack with one safeguard at a time at its neutral setting."""
    change = msgspec.structs.replace
    planner, waterfall, breaker = guarded.planner, guarded.waterfall, guarded.breaker
    no_penalty = {
        symbol: change(rule, penalty=0) for symbol, rule in guarded.margin.instruments.items()
    }
    open_band = tuple(change(step, band=0) for step in breaker.steps)
    return [
        ("without netting", change(guarded, planner=change(planner, netting=False))),
        ("without throttle", change(guarded, planner=change(planner, depth_share=0))),
        ("without target sizing", change(guarded, planner=change(planner, target=0))),
        ("deepest first", change(guarded, planner=change(planner, priority="deepest"))),
        ("without breaker", change(guarded, breaker=LadderBreaker())),
        ("without bands", change(guarded, breaker=change(breaker, steps=open_band))),
        ("market orders", change(guarded, route=BookRoute())),
        (
            "without penalty",
            change(guarded, margin=MarginModel(instruments=no_penalty)),
        ),
        (
            "winners pay first",
            change(guarded, waterfall=change(waterfall, fund_pays_first=False)),
        ),
        (
            "queue instead of pro rata",
            change(guarded, waterfall=change(waterfall, deleverage="queue")),
        ),
        (
            "without deleveraging",
            change(
                guarded,
                waterfall=change(waterfall, deleverage="none"),
                never_worse=change(guarded.never_worse, insolvent="order"),
            ),
        ),
        ("without signals", change(guarded, signals=SignalGate())),
        (
            "the insolvent sold",
            change(guarded, never_worse=change(guarded.never_worse, insolvent="order")),
        ),
        (
            "without never worse",
            change(guarded, never_worse=NeverWorse(mode="off")),
        ),
    ]


def weathers(recording: Recording) -> list[tuple[str, Recording]]:
    """Return the markets the guarded stack must also be tried in."""
    model = recording.venue.model
    return [
        ("as made", recording),
        ("resilience zero", with_markets(recording, resilience_ns=0)),
        ("latency ten times", with_markets(recording, latency_ns=10 * model.latency_ns)),
        ("half the depth", thinner(recording, 0.5)),
        ("a tenth of the depth", thinner(recording, 0.1)),
        ("depth withdrawn twice as fast", _withdrawn(recording)),
    ]


def _withdrawn(recording: Recording) -> Recording:
    markets = tuple(
        msgspec.structs.replace(m, withdrawal=2 * m.withdrawal, depth_min=m.depth_min // 2)
        for m in recording.venue.markets
    )
    return replace(recording, venue=msgspec.structs.replace(recording.venue, markets=markets))


def main() -> None:
    """Replay everything and write the pages."""
    folder = HERE / "out/results"
    named = {n: SafeguardStack.load(STACKS / f"{n}.toml") for n in ("neutral", "bare", "guarded")}
    recordings: dict[int, Recording] = {}
    for seed in SEEDS:
        path = folder / f"october-{ACCOUNTS}-{seed}"
        if not path.exists():
            make(path, accounts=ACCOUNTS, seed=seed)
        recordings[seed] = load(path)
    head = [
        f"Synthetic October crash, {ACCOUNTS:,} accounts; amounts in USD at the recording's scale.",
        "Written by `make results`.",
        "",
    ]
    page = ["# Guarded against bare, in several markets", "", *head]
    page += ["Seeds other than the first were never used to choose a parameter.", ""]
    for seed, recording in recordings.items():
        rows = [(n, judged(recording, s, f"seed {seed}, {n}")) for n, s in named.items()]
        page += [f"## Seed {seed}, the market as made", "", *table(rows), ""]
    for label, recording in weathers(recordings[SEEDS[0]])[1:]:
        rows = [(n, judged(recording, named[n], f"{label}, {n}")) for n in ("bare", "guarded")]
        page += [f"## Seed {SEEDS[0]}, {label}", "", *table(rows), ""]
    PAGES.mkdir(exist_ok=True)
    (PAGES / "markets.md").write_text("\n".join(page))
    first, guarded = recordings[SEEDS[0]], named["guarded"]
    rows = [("guarded", judged(first, guarded, "guarded"))]
    rows += [(n, judged(first, s, n)) for n, s in ablations(guarded)]
    page = ["# What each safeguard contributes", "", *head]
    page += ["One safeguard at a time at its neutral setting, everything else as shipped.", ""]
    (PAGES / "ablation.md").write_text("\n".join([*page, *table(rows), ""]))


if __name__ == "__main__":
    main()
