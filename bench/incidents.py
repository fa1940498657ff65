"""The pages of the incidents: every figure on them is measured by running what they tell.

python bench/incidents.py        writes docs/incidents/*.md, in about half a minute
"""

from pathlib import Path

from tidegate.cli.incident import figure
from tidegate.incidents.frame import BARE, OURS, Held, Incident, held, incident, play, shipped


PAGES = Path(__file__).parent.parent / "docs/incidents"
SAID = {BARE: "the bare rule", OURS: "our stack"}


def flat(text: str) -> str:
    return " ".join(text.split())


def page(one: Incident, claims: list[Held]) -> str:
    w = one.words
    lines = [
        f"# {w.title}",
        "",
        f"*{w.when:%d %B %Y}.* {flat(w.about)}",
        "",
        f"**The bare rule.** {flat(w.rule)}",
        "",
        f"**Our stack.** {flat(w.remedy)}",
        "",
        "| under | measure | published, or promised | found | |",
        "|---|---|---|---|---|",
    ]
    for each in claims:
        low, high = (figure(bound) for bound in (each.claim.low, each.claim.high))
        claimed = low if low == high else f"{low} to {high}"
        mark = "holds" if each.holds else "**fails**"
        lines.append(
            f"| {SAID[each.claim.stack]} | {flat(each.claim.why)} | `{each.claim.measure}` "
            f"{claimed} | {figure(each.found)} | {mark} |"
        )
    lines += ["", "## What is known", ""]
    lines += [f"* {flat(fact.what)} ({fact.source})" for fact in w.facts]
    lines += ["", "## What was chosen", ""]
    lines += [f"* {flat(text)}" for text in w.assumed]
    lines += [
        "",
        "## Run it",
        "",
        "```bash",
        f"tidegate incident {one.name}",
        "```",
        "",
        f"The script is `incidents/{one.name}.py` of the package; words, venue, stacks and claims",
        f"are `{one.name}.toml` beside it.",
        "",
    ]
    return "\n".join(lines)


INDEX = """# Incidents

What went wrong elsewhere, re-enacted: a script of a few dozen lines, a bare rule, our stack, and
the published figures that both are held against. A claim about the bare rule is what was reported,
with its error; a claim about our stack is what it must do instead. All of them run with the tests.

What a re-enactment is worth is said on each page under *what was chosen*: where a book was never
published it is built from totals, and where a path was not, it is the one that gives the reported
damage under the bare rule. The finding is then what our stack does on it, not the damage.

| incident | | the bare rule | our stack |
|---|---|---|---|
"""

OWN = """
## Your own

```bash
tidegate incident --list
tidegate incident october_2025 --json
tidegate incident mine.py           # with mine.toml beside it
```

`mine.py` defines `script(scene)`, which yields the events of the story, the opening book first,
and `INCIDENT = Incident.told(__file__, script)`. The scene turns decimals into ticks and lots,
knows the clock, and shows what the engine believes, so that a script can answer as people would.
`mine.toml` has the words, the facts with their sources, the venue, the tables `common`, `bare` and
`ours` of the two stacks, and the claims.
"""


def main() -> None:
    PAGES.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in shipped():
        one = incident(name)
        claims = held(one, {stack: play(one, stack) for stack in (BARE, OURS)})
        (PAGES / f"{name}.md").write_text(page(one, claims), encoding="utf-8")
        first = {c.claim.stack: c for c in reversed(claims)}
        cells = [f"{flat(first[s].claim.why)}: {figure(first[s].found)}" for s in (BARE, OURS)]
        rows.append(f"| [{one.words.title}]({name}.md) | {one.words.when} | {' | '.join(cells)} |")
        print(name, "ok" if all(c.holds for c in claims) else "FAILS", flush=True)
    (PAGES / "index.md").write_text(INDEX + "\n".join(rows) + "\n" + OWN, encoding="utf-8")


if __name__ == "__main__":
    main()
