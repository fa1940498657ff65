"""The verdict of a stress in plain words: how often the fund is gone, and what breaks it."""

# pandas declares no types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tidegate.domain.units import PPM
from tidegate.lab.measures import paths_for_shortfall, paths_for_var, saved
from tidegate.lab.stress import Point, Stressed
from tidegate.lab.study import Study
from tidegate.lab.tables.draft import plural
from tidegate.report.metrics import baseline, challenger
from tidegate.report.numbers import amount, percent


def worst_study(found: Stressed) -> Study:
    """Return the study of the world that costs most on average under the baseline."""
    base = names_of(found)[baseline(names_of(found))]
    return max(found.studies, key=lambda study: float(study.losses(base).mean()))


def names_of(found: Stressed) -> list[str]:
    """Return the stacks by name, in order."""
    return [stack.name for stack in found.plan.stacks]


def short_world(word: str) -> str:
    """Return the name of a world without its numbers, for axes and headings."""
    return "+".join(part.partition(":")[0] for part in word.split("+"))


def stress_words(found: Stressed) -> list[str]:
    """Return a few sentences for somebody who has not read the tables."""
    names = names_of(found)
    study = worst_study(found)
    said = [_how_often(found, study)]
    if len(names) > 1:
        said.append(_compared(found, study))
    if found.points:
        said.append(_breaks(found))
    said.append(_who(found, study))
    return [sentence for sentence in said if sentence]


def _how_often(found: Stressed, study: Study) -> str:
    parts: list[str] = []
    for name in names_of(found):
        gone = sum(end.insolvent for s in found.studies for end in s.outcomes[name])
        fund = study.outcomes[name][0].fund_at_start
        held = f"its fund of {amount(fund, found.numeraire)}" if fund else "nothing in its fund"
        parts.append(f"{name} ({held}) in {gone:,}")
    total = sum(len(s.paths) for s in found.studies)
    where = f"{plural(total, 'path')} of {plural(len(found.studies), 'world')}"
    return (
        f"In {where}, more was lost than the fund holds under "
        f"{_listed(parts)}. The costliest world is {short_world(study.world)}."
    )


def _compared(found: Stressed, study: Study) -> str:
    names = names_of(found)
    base, other = names[baseline(names)], names[challenger(names)]
    if base == other:
        return ""
    less = saved(study, other, base)
    before, after = (float(study.losses(n).mean()) for n in (base, other))
    if not before and not after:
        return f"Neither {base} nor {other} lost anything in it."
    sure = less.low > 0 or less.high < 0
    word = "less" if less.value >= 0 else "more"
    low, high = sorted(abs(x) for x in (less.low, less.high))
    tail = (
        f"{amount(abs(less.value), found.numeraire)} {word} on the same weather "
        f"(95 % interval {amount(low)} to {amount(high)})"
        if sure
        else f"{plural(len(study.paths), 'path')} on the same weather cannot tell them apart"
    )
    return (
        f"There, {base} loses {amount(before, found.numeraire)} on average and {other} "
        f"{amount(after, found.numeraire)}: {tail}. {_borne(found, study, base, other)}"
    )


def _borne(found: Stressed, study: Study, base: str, other: str) -> str:
    """Return what other accounts bear: a stack may lose more and harm fewer."""
    first, second = (float(study.column(n, "borne_by_others").mean()) for n in (base, other))
    if not first and not second:
        return "Other accounts bear none of it."
    a, b = (amount(m, found.numeraire) if m else "nothing" for m in (first, second))
    return f"Of that, other accounts bear {a} under {base} and {b} under {other}."


def _breaks(found: Stressed) -> str:
    parts = [
        f"{name} {_listed([_point(p) for p in found.points if p.stack == name])}"
        for name in names_of(found)
    ]
    return (
        "If every price moves alike within a minute and stays there, the fund is gone under "
        f"{'; '.join(parts)}."
    )


def _point(point: Point) -> str:
    way = "a fall" if point.direction == "down" else "a rise"
    if point.move is None:
        return f"by no {way.removeprefix('a ')} up to {percent(abs(point.furthest), 0)}"
    return f"from {way} of {percent(abs(point.move))}"


def _who(found: Stressed, study: Study) -> str:
    names = names_of(found)
    base = names[baseline(names)]
    paid = {
        "the fund": study.column(base, "fund_used").mean(),
        "winners who are deleveraged": study.column(base, "adl_profit_taken").mean(),
        "all accounts together": study.column(base, "socialised").mean(),
        "nobody": study.column(base, "uncovered").mean(),
    }
    parts = [f"{who} {amount(float(m), found.numeraire)}" for who, m in paid.items() if m]
    if not parts:
        return f"In {short_world(study.world)} nobody had to pay for anybody under {base}."
    return f"In {short_world(study.world)}, under {base}, {_listed(parts)} paid on average."


def share_text(share: float, low: float, high: float) -> str:
    """Return a probability with its interval."""
    return f"{percent(share, 0)} ({100 * low:.0f} to {100 * high:.0f})"


def money_text(units: float) -> str:
    """Return units of the numeraire as the tables show them; a dash for what nobody knows."""
    return amount(units * PPM) if isfinite(units) else "-"


def tail_text(row: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Return an amount of a summary and its interval; a dash and nothing where it has none.

    With few paths a value at risk, a shortfall and the worst path are one and the same number:
    without an interval it would look like knowledge.
    """
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    if not (isfinite(low) and isfinite(high)):
        return "-", ""
    return money_text(row[key]), f"{money_text(low)} to {money_text(high)}"


def paths_needed(found: Stressed, level: float) -> str:
    """Return what a dash in the tail takes; nothing where so many paths leave none."""
    name, paths = percent(level, 0), len(found.plan.paths)
    takes = (("VaR", paths_for_var(level)), ("ES", paths_for_shortfall(level)))
    parts = [f"{what} {name} needs {count:,} paths" for what, count in takes if paths < count]
    return f"-: {', '.join(parts)} of a world; these are {paths:,}" if parts else ""


def _listed(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
