"""A proposal in plain words: what would change, what it buys, what it costs, how sure that is."""

from collections.abc import Callable, Sequence
from math import isfinite

from tidegate.lab.held_out import NEW_WORLD, SEEN, Judged, Row
from tidegate.lab.measures import CONFIDENCE, Estimate
from tidegate.lab.tuning import Search, gains_of
from tidegate.report.numbers import amount, percent


def trials_said(search: Search) -> str:
    """Return how many trials there were, and what became of them."""
    refused = sum(1 for t in search.trials if t.refused)
    said = f"{len(search.trials)} trials"
    if refused:
        said += f", {refused} of them refused because the stack would contradict itself"
    return f"{said}; {len(search.front)} are beaten by no other in all three objectives."


def changes(search: Search, judged: Judged) -> list[tuple[str, str, str, str]]:
    """Return key, from, to, and the range that was searched, of every number that would change."""
    values = search.trials[judged.number].values
    return [
        (p.key, f"{p.now:,}", f"{values[p.key]:,}", f"{p.low:,} to {p.high:,}")
        for p in search.question.parameters
        if values[p.key] != p.now
    ]


def response_said(search: Search) -> str:
    """Return what was assumed of the book where margins change."""
    response = search.question.response
    if response == 1:
        how = "every account keeps its distance from its requirement, so leverage follows margins"
    elif response == 0:
        how = "nobody answers to other margins: lower ones look free, and are not"
    else:
        how = f"leverage follows margins to the power of {response:g}"
    return f"`margin.scale` multiplies the rates of every tier. Assumed: {how}."


def explained(search: Search, judged: Judged | None) -> list[str]:
    """Return the finding in a few sentences, the doubtful ones included."""
    if judged is None:
        return [
            f"No trial is worth proposing: {search.question.stack.name} stays as it is.",
            "That is a finding about these worlds, this book and this many trials, no more.",
        ]
    scores = search.trials[judged.number].scores
    assert scores is not None, "only what was scored is judged"
    names = ("tail loss", "margin asked", "harm to users")
    gains = gains_of(search.now, scores)
    said = [
        f"{name} {_change(gain, before)}"
        for name, gain, before in zip(names, gains, search.now, strict=True)
    ]
    out = [f"On the paths it was tuned on, trial {judged.number}: {'; '.join(said)}."]
    if min(gains) < 0:
        out.append("It buys one thing with another: no gain of it is free.")
    return [*out, _verdict(judged), *(_unseen(row) for row in judged.unseen())]


def _verdict(judged: Judged) -> str:
    """Return what the worlds and paths that the search never saw say, in one sentence."""
    rows = judged.unseen()
    worse = sum(row.tail_saved.high < 0 or row.harm_saved.high < 0 for row in rows)
    blind = sum(not isfinite(row.tail_saved.low) for row in rows)
    if worse:
        return (
            f"Held out, it is worse beyond chance in {worse} of {len(rows)}: "
            "this evidence does not carry it."
        )
    if blind:
        return (
            f"Held out, {blind} of {len(rows)} have too few paths in their tail to tell: "
            "ask for more with --judge."
        )
    return f"Held out, it is worse beyond chance in none of {len(rows)}."


def _change(gain: float, before: float) -> str:
    if gain == 0:
        return "unchanged"
    if not before:
        return "more, where there was none"
    return f"{percent(abs(gain))} {'less' if gain > 0 else 'more'}"


def _unseen(row: Row) -> str:
    where = "In an unseen world" if row.kind == NEW_WORLD else "On unseen paths"
    tail, harm = _sure(row.tail_saved), _sure(row.harm_saved)
    return (
        f"{where}, {row.world}: tail loss is {tail}, harm to users {harm} "
        f"({row.after.paths} paths, {row.after.beyond} beyond the value at risk)."
    )


def _sure(saved: Estimate) -> str:
    """Return what an interval allows to say of a difference."""
    if not isfinite(saved.low):
        return "not told: too few paths in its tail"
    if saved.low > 0:
        return "lower beyond chance"
    if saved.high < 0:
        return "HIGHER beyond chance"
    return "the same" if saved.low == saved.high == 0 else "not told apart"


def judgement(judged: Judged) -> list[tuple[str, ...]]:
    """Return a line of cells for each world, as `HEADS` names them: now, to what is proposed."""
    return [
        (
            f"{row.kind}: {row.world}",
            f"{amount(row.before.shortfall.value)} to {amount(row.after.shortfall.value)}",
            _interval(row.tail_saved, amount),
            _interval(row.harm_saved, amount),
            f"{_chance(row.insolvency_before)} to {_chance(row.insolvency_after)}",
            f"{row.margin_before / 1e4:.2f} % to {row.margin_after / 1e4:.2f} %",
            f"{row.after.paths}",
        )
        for row in judged.rows
    ]


HEADS = (
    "world",
    "tail loss",
    "tail loss saved",
    "harm saved",
    "insolvency",
    "initial margin",
    "paths",
)


def _interval(of: Estimate, show: Callable[[float], str]) -> str:
    if not isfinite(of.low):
        return f"{show(of.value)} (too few paths)"
    return f"{show(of.value)} ({show(of.low)} to {show(of.high)})"


def _chance(of: Estimate) -> str:
    return f"{percent(of.value)} (up to {percent(of.high)})"


def markdown(search: Search, judged: Judged | None, *, book: str, command: str) -> str:
    """Return the proposal as Markdown."""
    asked = search.question
    lines = [f"# Proposal: {asked.stack.name}, tuned", ""]
    lines += [f"{sentence}  " for sentence in explained(search, judged)]
    lines += ["", trials_said(search), "Nothing has been changed: adopting this is a decision.", ""]
    if judged is not None:
        lines += ["## What would change", ""]
        lines += _rows(("key", "now", "proposed", "searched"), changes(search, judged))
        lines += ["", response_said(search), ""]
        lines += ["## What it is worth", ""]
        lines += _rows(HEADS, judgement(judged))
        lines += ["", how_to_read(search), ""]
    lines += ["## Where it comes from", ""]
    facts = (
        ("book", f"{book}, digest {asked.opening.digest}"),
        ("stack", f"{asked.stack.name}, digest {asked.stack.digest}"),
        ("worlds", "; ".join(world.name for world in asked.worlds)),
        ("seed", f"{asked.root}, paths {asked.paths[0]} to {asked.paths[-1]}"),
        ("question", asked.digest),
    )
    if judged is not None:
        facts += (("proposed", f"{judged.stack.name}, digest {judged.stack.digest}"),)
    lines += _rows(("what", "is"), facts)
    lines += [f"- assumed: {note}" for note in asked.opening.notes]
    return "\n".join([*lines, "", "```bash", command, "```", ""])


def how_to_read(search: Search) -> str:
    """Return what the table of worlds means."""
    level = search.question.level
    unit = search.question.opening.venue.numeraire
    return (
        f"Amounts in {unit}. Tail loss is the mean loss of the worst {1 - level:.0%} of paths; "
        f"intervals are {CONFIDENCE:.0%}, paired on the same weather. Rows `{SEEN}` are what the "
        "search looked at and flatter it; the others count."
    )


def _rows(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    table = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return [*table, *("| " + " | ".join(row) + " |" for row in rows)]
