"""The numbers of a comparison: what each one means, which way is better, how it is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tidegate.domain.units import PPM
from tidegate.drivers.verdict import HALT, Verdict
from tidegate.kernels.profile import N_MAX
from tidegate.report.numbers import amount, duration, percent


Number = float | int | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. ``better`` is "" where neither way is a merit."""

    key: str
    label: str
    group: str
    better: Literal["low", "high", ""]
    read: Callable[[Verdict], Number]
    show: Callable[[float], str]
    meaning: str

    def text(self, verdict: Verdict) -> str:
        """Return the value as people read it; a dash where there was nothing to measure."""
        value = self.read(verdict)
        return "-" if value is None else self.show(value)

    def best(self, verdicts: Sequence[Verdict]) -> set[int]:
        """Return which of ``verdicts`` are best; nobody, when all are the same or it is no merit.

        Values that read the same are the same: nobody wins by a digit that is not shown.
        """
        values = [self.read(v) for v in verdicts]
        known = [v for v in values if v is not None]
        if not self.better or len({self.show(v) for v in known}) < 2:
            return set()
        top = self.show(min(known) if self.better == "low" else max(known))
        return {n for n, v in enumerate(values) if v is not None and self.show(v) == top}


def ratio_text(value: float) -> str:
    """Return a ratio with the digits that matter; 1,000 is where the engine stops counting."""
    if value >= N_MAX / PPM:
        return "over 1,000"
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _impact(value: float) -> str:
    return percent(value / PPM, 2)


def _per_million(value: float | None) -> float | None:
    return None if value is None else value / PPM


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "bad_debt",
        "Bad debt",
        "Who lost",
        "low",
        lambda v: v.bad_debt,
        amount,
        "By how much accounts were below zero when nothing of them was left to sell, or when "
        "winners were closed against them. The fund, the winners or everybody pays it.",
    ),
    Metric(
        "deficit_at_end",
        "Still below zero at the end",
        "Who lost",
        "low",
        lambda v: v.deficit_at_end,
        amount,
        "Deficits of accounts that were bankrupt but not yet wound up when the recording ended. A "
        "stack that liquidates nobody hides its losses here.",
    ),
    Metric(
        "fund_used",
        "Insurance fund used",
        "Who lost",
        "low",
        lambda v: sum(v.fund_used),
        amount,
        "Paid out by all tranches of the insurance fund together.",
    ),
    Metric(
        "borne_by_others",
        "Borne by other accounts",
        "Who lost",
        "low",
        lambda v: v.borne_by_others,
        amount,
        "Profit taken from winners, socialised loss and what nobody paid, together: the part of "
        "the damage that the bankrupt accounts and the fund did not carry.",
    ),
    Metric(
        "socialised_loss",
        "Socialised loss",
        "Who lost",
        "low",
        lambda v: v.socialised_loss,
        amount,
        "What was left after the fund and was shared among the other accounts.",
    ),
    Metric(
        "uncovered",
        "Left uncovered",
        "Who lost",
        "low",
        lambda v: v.uncovered,
        amount,
        "Bad debt that nobody paid: a hole in the venue.",
    ),
    Metric(
        "insolvent_seconds",
        "Time below solvency",
        "Who lost",
        "low",
        lambda v: v.insolvent_seconds,
        duration,
        "How long the deficits of the bankrupt were larger than everything in the fund.",
    ),
    Metric(
        "adl_profit_taken",
        "Profit taken from winners",
        "Deleveraging",
        "low",
        lambda v: v.adl_profit_taken,
        amount,
        "What deleveraged winners gave up: their positions were closed at a worse price than the "
        "mark.",
    ),
    Metric(
        "adl_overshoot",
        "Taken without need",
        "Deleveraging",
        "low",
        lambda v: v.adl_overshoot,
        amount,
        "The part of it above what bad debt exceeded the fund by at the start: the fund could have "
        "paid that instead.",
    ),
    Metric(
        "adl_volume",
        "Winning positions closed",
        "Deleveraging",
        "low",
        lambda v: v.adl_volume,
        amount,
        "Size of the winning positions that deleveraging closed, at opening prices: hedges broken, "
        "whatever was paid for them.",
    ),
    Metric(
        "adl_accounts",
        "Winners deleveraged",
        "Deleveraging",
        "low",
        lambda v: v.adl_accounts,
        _count,
        "Distinct accounts that lost a winning position to deleveraging.",
    ),
    Metric(
        "accounts_liquidated",
        "Accounts liquidated",
        "The cascade",
        "low",
        lambda v: v.accounts_liquidated,
        _count,
        "Distinct accounts of which anything was ordered, netted or closed by force.",
    ),
    Metric(
        "forced_volume",
        "Forced volume",
        "The cascade",
        "low",
        lambda v: v.forced_volume,
        amount,
        "Everything sold, netted, taken over or deleveraged by force, at opening prices.",
    ),
    Metric(
        "backstop_volume",
        "Taken over by the backstop",
        "The cascade",
        "",
        lambda v: v.backstop_volume,
        amount,
        "The part of it that providers or the pool took over, so that no market had to.",
    ),
    Metric(
        "cascade_ratio",
        "Cascade ratio",
        "The cascade",
        "low",
        lambda v: v.cascade_ratio,
        ratio_text,
        "Forced volume over the volume that the shock alone would have forced: the same stack run "
        "again in a market that absorbs every order without moving. 1 means no amplification.",
    ),
    Metric(
        "peak_impact_ppm",
        "Deepest price impact",
        "The cascade",
        "low",
        lambda v: v.peak_impact_ppm,
        _impact,
        "The furthest that forced orders pushed a price away from where it would have been.",
    ),
    Metric(
        "peak_branching_ratio",
        "Peak branching ratio n",
        "The cascade",
        "low",
        lambda v: v.peak_branching_ppm / PPM,
        ratio_text,
        "The highest n near the mark: forced quantity released by a small fall over the depth that "
        "must absorb it. A shock is amplified by 1 / (1 - n); at n >= 1 a cascade feeds itself.",
    ),
    Metric(
        "recovery_ratio",
        "Recovered on forced sales",
        "The cascade",
        "high",
        lambda v: _per_million(v.recovered_ppm),
        lambda v: percent(v, 2),
        "What forced trades brought over what they were worth at the mark when they were ordered.",
    ),
    Metric(
        "capital_efficiency",
        "Average initial margin",
        "What it costs",
        "low",
        lambda v: _per_million(v.initial_margin_ppm),
        lambda v: percent(v, 2),
        "The initial requirement of all accounts over the size of all their positions, averaged "
        "over the run. A stack that saves the fund by asking twice the margin must show it.",
    ),
    Metric(
        "halt_seconds",
        "Time on halt",
        "What it costs",
        "low",
        lambda v: v.rung_seconds[HALT],
        duration,
        "How long nothing new could be started. Exits stay possible on a halt.",
    ),
    Metric(
        "restricted_seconds",
        "Time under any restriction",
        "What it costs",
        "low",
        lambda v: sum(v.rung_seconds[1:]),
        duration,
        "How long the breaker stood on any rung above normal.",
    ),
    Metric(
        "regenerated_share",
        "Regenerated share",
        "How far to trust it",
        "",
        lambda v: v.regenerated / v.events if v.events else None,
        percent,
        "The share of all events that the venue model made or moved: answers to this stack's own "
        "orders, and prices those orders displaced. The rest is recorded history.",
    ),
    Metric(
        "events",
        "Events",
        "How far to trust it",
        "",
        lambda v: v.events,
        _count,
        "Events the engine stepped through.",
    ),
)


def baseline(names: Sequence[str]) -> int:
    """Return which run the others are held against: the one named bare, or the first."""
    return names.index("bare") if "bare" in names else 0


def challenger(names: Sequence[str]) -> int:
    """Return which run is judged: the one named guarded, or the last that is not the baseline."""
    if "guarded" in names:
        return names.index("guarded")
    others = [n for n in range(len(names)) if n != baseline(names)]
    return others[-1] if others else 0


def loss_share(verdict: Verdict, bare: Verdict) -> float | None:
    """Return the whole loss over the baseline's; None when the baseline lost nothing."""
    return verdict.loss / bare.loss if bare.loss else None
