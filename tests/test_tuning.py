"""Numbers of a stack by key, the search over them, its front and pick, and the command."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_measures import outcome
from tidegate.cli.main import run
from tidegate.cli.stacks import load_stack, shipped
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM
from tidegate.drivers.recording import load
from tidegate.drivers.synthetic import make
from tidegate.lab import held_out, tuning
from tidegate.lab.held_out import NEW_PATHS, NEW_WORLD, SEEN, encoded, evidence, judge
from tidegate.lab.opening import Opening
from tidegate.lab.rescale import holdings
from tidegate.lab.tunable import (
    asked,
    in_order,
    mark_of,
    marked,
    parameters,
    with_values,
    write_stack,
)
from tidegate.lab.tunable_marks import MARKS, SCALE
from tidegate.lab.tuning import BATCH, Question, Scores, Search, Trial, front_of, search
from tidegate.lab.weather import Weather
from tidegate.report.tuning import pareto_picture, write_proposal
from tidegate.report.tuning_words import explained
from tidegate.safeguards.stack import SafeguardStack


GUARDED = load_stack("guarded")


@pytest.mark.parametrize("name", shipped())
def test_every_number_of_a_shipped_stack_can_be_named_and_written_back(name, tmp_path):
    stack = load_stack(name)
    known = parameters(stack)
    assert with_values(stack, known) == stack
    assert len(known) > 100
    write_stack(stack, tmp_path / "again.toml", ["a comment"])
    assert SafeguardStack.load(tmp_path / "again.toml") == stack
    for p in marked(stack):
        assert p.low <= p.now <= p.high


def test_every_mark_is_a_number_of_some_shipped_stack():
    """A pattern that fits nothing would be a promise that nobody keeps."""
    known = [key for name in shipped() for key in parameters(load_stack(name))]
    for mark in MARKS:
        assert any(mark_of(key) == mark for key in known), mark.pattern
    assert mark_of("planner.priority") is None
    assert mark_of("margin.instruments.*.penalty").low == 500


def test_a_key_names_entries_by_name_rung_or_place():
    changed = with_values(
        GUARDED,
        {
            "breaker.steps.caution.pace": 900_000,
            "breaker.steps.reduce_only.pace": 800_000,
            "waterfall.tranches.insurance.initial": 5,
            "margin.instruments.BTC.tiers.1.initial": 60_000,
            "margin.instruments.*.penalty": 7,
        },
    )
    assert [s.pace for s in changed.breaker.steps] == [900_000, 800_000]
    assert changed.waterfall.tranches[1].initial == 5
    assert changed.margin.instruments["BTC"].tiers[1].initial == 60_000
    assert changed.margin.instruments["*"].penalty == 7
    assert changed.name == GUARDED.name


def test_a_symbol_with_a_dot_is_a_name_like_any_other():
    instruments = {**GUARDED.margin.instruments, "wstETH.e": GUARDED.margin.instruments["BTC"]}
    margin = msgspec.structs.replace(GUARDED.margin, instruments=instruments)
    stack = msgspec.structs.replace(GUARDED, margin=margin)
    changed = with_values(stack, {"margin.instruments.wstETH.e.penalty": 9})
    assert changed.margin.instruments["wstETH.e"].penalty == 9


def test_margins_scale_together_and_never_above_everything():
    double = with_values(GUARDED, {SCALE: 2 * PPM}).margin.instruments
    assert double["BTC"].tiers[0].initial == 50_000
    assert double["ETH"].tiers[1].maintenance == 66_666
    most = with_values(GUARDED, {SCALE: 100 * PPM}).margin.instruments
    assert most["XPL"].tiers[0].initial == PPM


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("planner.targte", "did you mean planner.target"),
        ("planner.target=5..", "whole numbers"),
        ("planner.target=9..3", "range that rises"),
        ("waterfall.tranches.insurance.initial", "range that rises"),
        ("planner.close_fraction=0..2000000", "close_fraction"),
        ("breaker.steps.caution.pace=-1..5", "pace"),
    ],
)
def test_what_cannot_be_tuned_is_refused(word, said):
    with pytest.raises(ConfigInvalid, match=said):
        asked(GUARDED, [word])


def test_parameters_are_named_or_marked():
    assert asked(GUARDED, []) == marked(GUARDED)
    one, two = asked(GUARDED, ["planner.target", "oracle.step_max=10000..90000"])
    assert (one.low, one.high, one.now, one.log) == (1_000_001, 2_000_000, 1_250_000, False)
    assert (two.low, two.high, two.log) == (10_000, 90_000, True)
    assert [p.key for p in marked(load_stack("neutral"))] == [SCALE]  # what is off stays off


ladders = st.dictionaries(
    st.sampled_from([p.key for p in marked(GUARDED) if p.key.startswith("breaker.steps")]),
    st.floats(0, 1),
)


@given(ladders)
@settings(max_examples=30)
def test_a_ladder_in_order_is_never_refused(drawn):
    by_key = {p.key: p for p in marked(GUARDED)}
    values = {
        k: round(by_key[k].low + x * (by_key[k].high - by_key[k].low)) for k, x in drawn.items()
    }
    # What only the lower rung changes may overtake the upper one: then both have to be named.
    both = [
        k for k in values if "caution" not in k or k.replace("caution", "reduce_only") in values
    ]
    tried = in_order(GUARDED, {k: values[k] for k in both})
    steps = with_values(GUARDED, tried).breaker.steps
    assert all(a.pace >= b.pace and a.band >= b.band for a, b in pairwise(steps))
    assert all(a.distressed <= b.distressed for a, b in pairwise(steps))


# -- the search, on a law instead of the engine ----------------------------------------------------


class Sky:
    """A world that is asked for nothing but its words: the law below does without weather."""

    def __init__(self, name="sky", said="a sky", data=()):
        self.name, self.said, self.data = name, said, data

    def describe(self):
        return self.said

    def weather(self, root, paths, symbols):
        del root
        line = np.linspace(1, 0.8, 4)[None, :, None] * np.ones((len(paths), 1, len(symbols)))
        return Weather(line, np.ones_like(line), 10**10)


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning") / "book"
    make(folder, accounts=100, seed=7)
    return Opening.of(load(folder))


def law(piece):
    """Tail falls and margin rises with the scale; harm is least at a target of 1.5."""
    (stack,) = piece.stacks
    initial = stack.margin.instruments["BTC"].tiers[0].initial
    target = stack.planner.target
    loss = (
        10**9 * 25_000 // initial + 1_000 * piece.path + (10**8 if piece.world.name != "sky" else 0)
    )
    harm = abs(target - 1_500_000)
    return [outcome(piece.path, loss, fund_at_start=10**12, penalties=harm, initial_margin=initial)]


@pytest.fixture
def question(opening, monkeypatch):
    monkeypatch.setattr(tuning, "outcomes_of", law)
    monkeypatch.setattr(held_out, "outcomes_of", law)
    keys = [SCALE, "planner.target"]
    return Question(
        opening, GUARDED, tuple(asked(GUARDED, keys)), (Sky(),), 1, tuple(range(20)), 0.5
    )


def test_a_search_that_was_interrupted_finds_the_same(question, tmp_path):
    whole = search(question, tmp_path / "whole", trials=12)

    class Interrupt(Exception):
        pass

    for end in (1, 3, 8):  # within a batch and between two of them
        left = [end]

        def dies(piece, left=left):
            left[0] -= piece.path == 0
            if left[0] < 0:
                raise Interrupt
            return law(piece)

        tuning.outcomes_of = dies
        with pytest.raises(Interrupt):
            search(question, tmp_path / "parts", trials=12)
    tuning.outcomes_of = law
    told = []
    again = search(question, tmp_path / "parts", trials=12, on_done=lambda *x: told.append(x))
    assert (again.trials, again.now, again.front) == (whole.trials, whole.now, whole.front)
    assert told[-1] == (12, 12)
    more = search(question, tmp_path / "parts", trials=14)
    assert more.trials[:12] == whole.trials
    assert len(more.trials) == 16 == -(-14 // BATCH) * BATCH


def test_the_search_finds_better_and_knows_the_present(question, tmp_path):
    found = search(question, tmp_path / "log", trials=24)
    assert found.trials[0].values == {p.key: p.now for p in question.parameters}
    assert found.trials[0].scores == found.now
    assert found.now.harm == 250_000
    assert found.now.margin == 25_000
    best = found.trials[found.pick].scores
    assert best.harm < 0.5 * found.now.harm
    front = [found.trials[n].scores for n in found.front]
    assert [s.tail for s in front] == sorted(s.tail for s in front)
    seeds = replace(question, root=2)
    assert search(seeds, tmp_path / "log", trials=4).trials != found.trials[:4]


def test_scores_of_another_world_under_the_same_name_are_not_taken(question, tmp_path, monkeypatch):
    """A world that was fitted to a file keeps its words when the file has changed."""
    asked = [question, *(replace(question, worlds=(Sky(data=(n,)),)) for n in (1, 2))]
    asked.append(replace(question, worlds=(Sky(said="another sky"),)))
    digests = {each.digest for each in asked}
    assert len(digests) == 4
    assert replace(question, worlds=(Sky(),)).digest == question.digest
    search(question, tmp_path / "log", trials=4)
    turned = []
    monkeypatch.setattr(tuning, "outcomes_of", lambda piece: turned.append(piece) or law(piece))
    search(question, tmp_path / "log", trials=4)
    assert not turned
    search(asked[1], tmp_path / "log", trials=4)
    assert len(turned) == 20 * 5, "the present stack and four trials, all of them anew"
    monkeypatch.setattr(tuning, "version", lambda package: f"another {package}")
    assert question.digest not in digests


def test_refused_stacks_are_counted_and_searched_around(question, tmp_path):
    """A fall that stops an early deleveraging must be smaller than the one that starts it."""
    words = [f"waterfall.drawdown_{end}=100000..500000" for end in ("start", "stop")]
    pair = tuple(asked(GUARDED, words))
    found = search(replace(question, parameters=pair), tmp_path / "log", trials=12)
    refused = [t for t in found.trials if t.refused]
    assert 0 < len(refused) < 12
    for t in refused:
        assert t.scores is None
        assert "drawdown_stop" in t.refused
        assert t.values["waterfall.drawdown_stop"] > t.values["waterfall.drawdown_start"]


def test_leverage_follows_margins_as_far_as_was_said(question):
    def equity(book):
        return holdings(book).equity.astype(float)

    now = equity(question.opening)
    open_ = now > 1_000
    answered = equity(question.book(2 * PPM))
    assert question.book(PPM) is question.opening
    assert replace(question, response=0.0).book(2 * PPM) is question.opening
    changed = open_ & (answered != now)
    assert np.allclose(answered[changed] / now[changed], 2, rtol=1e-3)
    assert changed.sum() > 50


points = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25)


@given(points)
def test_the_front_holds_what_nothing_beats(drawn):
    trials = [Trial(n, {}, Scores(*map(float, p))) for n, p in enumerate(drawn)]
    front = front_of([*trials, Trial(len(drawn), {}, None, "refused")])
    scores = [trials[n].scores for n in front]
    for s in scores:
        assert not any(o != s and all(a <= b for a, b in zip(o, s, strict=True)) for o in scores)
    for trial in trials:
        assert any(all(a <= b for a, b in zip(s, trial.scores, strict=True)) for s in scores)


@pytest.mark.parametrize(
    ("scores", "pick"),
    [
        ([(10, 10, 10)], None),
        ([(11, 10, 10), (12, 9, 12)], None),
        ([(9, 10, 10), (5, 11, 10)], 0),  # no worse in anything comes first
        ([(5, 11, 10), (10, 10.5, 9)], 0),
    ],
)
def test_what_is_proposed_is_no_worse_where_that_can_be(question, scores, pick):
    trials = tuple(Trial(n, {}, Scores(*map(float, s))) for n, s in enumerate(scores))
    found = Search(question, Scores(10.0, 10.0, 10.0), trials, front_of(trials))
    assert found.pick == pick


def test_a_proposal_is_judged_where_it_was_not_tuned(question, tmp_path):
    found = search(question, tmp_path / "log", trials=12)
    unseen = [Sky("storm")]
    judged = judge(found, found.pick, unseen, paths=30, kept=tmp_path / "kept")
    assert [row.kind for row in judged.rows] == [SEEN, NEW_PATHS, NEW_WORLD]
    assert [row.first_path for row in judged.rows] == [0, 1_000_000, 1_000_000]
    assert judged.stack.name == "guarded-tuned"
    storm = judged.unseen()[1]
    assert storm.before.shortfall.value > 10**8
    assert storm.harm_saved.low > 0
    held_out.outcomes_of = None  # all of it is kept
    assert judge(found, found.pick, unseen, paths=30, kept=tmp_path / "kept") == judged
    said = explained(found, judged)
    assert any("worse beyond chance in none of 2" in s for s in said)
    assert any("unseen world, storm" in s and "lower beyond chance" in s for s in said)
    proof = json.loads(encoded(evidence(found, judged, "tidegate tune")))
    assert proof["proposed"]["digest"] == judged.stack.digest
    assert len(proof["trials"]) == 12
    assert proof["proposed"]["held_out"][2]["world"] == "storm"
    for number in (judged, None):
        words, page = write_proposal(tmp_path, found, number, book="b", command="c")
        assert "Nothing has been changed" in words.read_text()
        assert page.read_text().count("<svg") == 2
    assert "stays as it is" in explained(found, None)[0]
    assert pareto_picture(found, 1) == pareto_picture(found, 1)


def test_a_proposal_that_does_not_hold_says_so(question, tmp_path):
    """In the storm the law is turned around: what was tuned is worse there, beyond chance."""

    def turned(piece):
        (end,) = law(piece)
        if piece.world.name == "storm":
            end = msgspec.structs.replace(end, penalties=500_000 - end.penalties)
        return [end]

    held_out.outcomes_of = turned
    found = search(question, tmp_path / "log", trials=12)
    said = explained(found, judge(found, found.pick, [Sky("storm")], paths=30))
    assert any("worse beyond chance in 1 of 2: this evidence does not carry it" in s for s in said)
    few = explained(found, judge(found, found.pick, [], paths=3))
    assert any("too few paths" in s for s in few)


# -- the command, on the engine --------------------------------------------------------------------


def test_tune_writes_a_stack_that_loads_and_its_evidence(opening, tmp_path, capsys):
    del opening
    make(tmp_path / "book", accounts=100, seed=7)
    out = tmp_path / "out"
    line = [
        "tune", str(tmp_path / "book"), "--stack", "guarded", "--parameter", "planner.target",
        "--world", "gap:fall=0.15,steps=4", "--held-out", "gap:fall=0.2,steps=4",
        "--trials", "4", "--paths", "2", "--judge", "2", "--pick", "1", "--workers", "1",
        "--out", str(out), "--json",
    ]  # fmt: skip
    assert run(line) == 0
    told = json.loads(capsys.readouterr().out)
    tuned = SafeguardStack.load(out / "guarded-tuned.toml")
    assert told["proposed"]["digest"] == tuned.digest
    assert tuned.planner.target == told["trials"][1]["values"]["planner.target"]
    assert json.loads((out / "evidence.json").read_text()) == told
    assert {p.name for p in out.glob("proposal.*")} == {"proposal.md", "proposal.html"}
    assert run(line) == 0  # finished: nothing is computed again
    assert json.loads(capsys.readouterr().out) == told
    assert run([*line, "--pick", "99"]) == 2
    assert "on the front are" in capsys.readouterr().err


def test_tune_lists_what_can_be_tuned(capsys):
    assert run(["tune", str(Path(__file__).parent), "--stack", "guarded", "--list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["marked"]) == len(marked(GUARDED))
    assert told["all"]["planner.target"] == 1_250_000
    assert run(["tune", str(Path(__file__).parent), "--stack", "bare", "--list"]) == 0
    assert capsys.readouterr().out.startswith("margin.scale")
