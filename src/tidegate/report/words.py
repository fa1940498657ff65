"""The verdict in plain words: what happened bare, what the other stack changed, what it cost."""

from collections.abc import Sequence
from typing import Final

from tidegate.domain.units import PPM
from tidegate.drivers.verdict import HALT, Verdict
from tidegate.report.metrics import METRICS, Metric, baseline, challenger
from tidegate.report.numbers import amount, duration, percent


NO_BREAK: Final = chr(160)


def verdict_words(
    names: Sequence[str], verdicts: Sequence[Verdict], unit: str, label: str = "account"
) -> list[str]:
    """Return a few sentences a newcomer understands; the same for a terminal and for a page."""
    base = baseline(names)
    said = [_happened(names[base], verdicts[base], unit, label)]
    if len(names) == 1:
        return said
    other = challenger(names)
    said.append(_compared(names, verdicts, base, other, unit))
    cost = _cost(verdicts[base], verdicts[other])
    worse = _worse(names, verdicts, base, other)
    said.append(" ".join(s for s in (cost, worse) if s))
    said += [
        _aside(names[n], names[base], verdicts[n], verdicts[base], unit)
        for n in range(len(names))
        if n not in {base, other}
    ]
    return [s for s in said if s]


def unbroken(sentence: str) -> str:
    """Return a sentence in which no line may begin with a percent sign."""
    return sentence.replace(" %", f"{NO_BREAK}%")


def _happened(name: str, v: Verdict, unit: str, label: str) -> str:
    if not v.accounts_liquidated and not v.loss:
        return f"Under {name}, nobody was liquidated and nobody lost more than they had."
    who = f"{v.accounts_liquidated:,} of {v.accounts:,} {label}s were liquidated"
    pushed = (
        f", their forced orders pushed a price up to {percent(v.peak_impact_ppm / PPM)} away from "
        "where it would have been"
        if v.peak_impact_ppm
        else ""
    )
    grew = ""
    if v.cascade_ratio is not None and v.cascade_ratio >= 1.05:
        grew = (
            f"; every {unit} that the shock itself forced dragged "
            f"{v.cascade_ratio - 1:,.2f} {unit} more behind it"
        )
    return f"Under {name}, {who}{pushed}{grew}. {_paid(v, unit)}"


def _paid(v: Verdict, unit: str) -> str:
    if not v.loss and not v.adl_profit_taken:
        return "No account ended below zero."
    parts: list[str] = []
    if v.bad_debt:
        parts.append(f"bad debt was {amount(v.bad_debt, unit)}")
    if v.deficit_at_end:
        parts.append(f"{amount(v.deficit_at_end, unit)} was still below zero at the end")
    if sum(v.fund_used):
        parts.append(f"the fund paid {amount(sum(v.fund_used), unit)}")
    if v.adl_profit_taken:
        parts.append(
            f"{v.adl_accounts:,} winners gave up {amount(v.adl_profit_taken, unit)} of profit"
        )
    if v.socialised_loss:
        parts.append(f"{amount(v.socialised_loss, unit)} was shared among everybody")
    if v.uncovered:
        parts.append(f"{amount(v.uncovered, unit)} was paid by nobody")
    text = _joined(parts)
    return text[0].upper() + text[1:] + "."


def _compared(
    names: Sequence[str], verdicts: Sequence[Verdict], base: int, other: int, unit: str
) -> str:
    bare, v = verdicts[base], verdicts[other]
    if bare.loss and v.loss < bare.loss:
        fell = f"the loss fell by {percent(1 - v.loss / bare.loss, 0)} to {amount(v.loss, unit)}"
    elif bare.loss == v.loss:
        fell = "the loss was the same" if v.loss else "nobody ended below zero either"
    else:
        fell = f"the loss rose from {amount(bare.loss, unit)} to {amount(v.loss, unit)}"
    if v.loss and sum(v.fund_used):
        whole = sum(v.fund_used) >= v.loss
        fell += (
            ", which the fund paid"
            if whole
            else f", of which the fund paid {amount(sum(v.fund_used), unit)}"
        )
    parts = [
        fell,
        f"{v.accounts_liquidated:,} instead of {bare.accounts_liquidated:,} were liquidated",
    ]
    if bare.peak_impact_ppm or v.peak_impact_ppm:
        parts.append(
            f"forced orders moved a price by {percent(v.peak_impact_ppm / PPM)} at most instead of "
            f"{percent(bare.peak_impact_ppm / PPM)}"
        )
    if bare.borne_by_others or v.borne_by_others:
        parts.append(
            f"other accounts bore {_or_nothing(v.borne_by_others, unit)} instead of "
            f"{_or_nothing(bare.borne_by_others, unit)}"
        )
    return f"Under {names[other]}, on the same weather, {'; '.join(parts)}."


def _cost(bare: Verdict, v: Verdict) -> str:
    parts: list[str] = []
    if bare.initial_margin_ppm is not None and v.initial_margin_ppm is not None:
        more = v.initial_margin_ppm - bare.initial_margin_ppm
        if abs(more) * 20 > bare.initial_margin_ppm:  # the book differs by a few percent anyway
            parts.append(
                f"it asked {percent(v.initial_margin_ppm / PPM, 2)} of initial margin on average "
                f"instead of {percent(bare.initial_margin_ppm / PPM, 2)}"
            )
    restricted = sum(v.rung_seconds[1:])
    if restricted > sum(bare.rung_seconds[1:]):
        halted = v.rung_seconds[HALT]
        parts.append(
            f"its breaker restricted trading for {duration(restricted)}"
            + (f", {duration(halted)} of it on halt" if halted else "")
        )
    return f"The price of that: {_joined(parts)}." if parts else ""


def _worse(names: Sequence[str], verdicts: Sequence[Verdict], base: int, other: int) -> str:
    told = {"capital_efficiency", "halt_seconds", "restricted_seconds"}
    pair = [verdicts[base], verdicts[other]]
    lost: list[Metric] = [m for m in METRICS if m.key not in told and m.best(pair) == {0}]
    if not lost:
        return f"No other number is worse under {names[other]}."
    said = [f"{m.label.lower()} ({m.text(pair[1])} against {m.text(pair[0])})" for m in lost]
    return f"{names[other].capitalize()} is worse in {_joined(said)}."


def _aside(name: str, base: str, v: Verdict, bare: Verdict, unit: str) -> str:
    if not v.accounts_liquidated:
        left = f", and left {amount(v.loss, unit)} below zero" if v.loss else ""
        return f"For comparison, {name} liquidated nobody{left}."
    than = "less" if v.loss < bare.loss else "more"
    size = (
        f"the loss was {amount(v.loss, unit)}, {than} than under {base}"
        if v.loss != bare.loss
        else f"the loss was the same as under {base}"
    )
    return f"For comparison, under {name} {v.accounts_liquidated:,} were liquidated and {size}."


def _or_nothing(money: int, unit: str) -> str:
    return amount(money, unit) if money else "nothing"


def _joined(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
