"""The stress of a book: the same numbers however it is cut, kept as it goes, told without gloss."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from math import isnan

import polars as pl
import pytest
from click import unstyle
from msgspec import structs

import tidegate
from stress_books import loans, positions
from tidegate.cli import stress as command
from tidegate.cli.main import run as call
from tidegate.cli.stress_say import Told, table
from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.shelf import load_stack
from tidegate.lab import breaking
from tidegate.lab.farm_workers import Here
from tidegate.lab.stress import Hearer, paths_for_size, plan_of, stressed
from tidegate.lab.stress import run as running
from tidegate.lab.stress.frames import LEVEL, records
from tidegate.lab.stress.kept import Kept
from tidegate.lab.stress.plan import Beside, forecast
from tidegate.lab.stress.questions import DEPTHS, MOVES, runs_beside
from tidegate.lab.tables import Given, read_book
from tidegate.report.stress import page, targets_for
from tidegate.report.stress_lines import Lines
from tidegate.report.stress_result import StressResult
from tidegate.report.stress_words import money_text


WORLDS = ["v:fall=0.3,noise=200%,steps=8", "gap:fall=0.12,noise=100%,steps=6"]
STACKS = ["bare", "guarded"]
LINES = Lines(("BOOK",))


@pytest.fixture(scope="module")
def book():
    return read_book(positions())


@pytest.fixture(scope="module")
def plan(book):
    return plan_of(book, worlds=WORLDS, stacks=STACKS, paths=4, seed=5)


@pytest.fixture(scope="module")
def found(plan):
    return stressed(plan)


@pytest.fixture
def turned(monkeypatch):
    """Return a list that fills with the pieces that are really turned."""
    seen, turn = [], running.outcomes_of

    def watched(piece):
        seen.append(piece)
        return turn(piece)

    monkeypatch.setattr(running, "outcomes_of", watched)
    return seen


def told(study):
    return {name: study.outcomes[name] for name in study.stacks}


def test_every_world_has_a_study_of_every_stack_on_the_same_paths(found):
    assert [study.world for study in found.studies] == WORLDS
    for study in found.studies:
        assert (study.stacks, study.paths) == (("bare", "guarded"), (0, 1, 2, 3))
    assert sum(study.losses("bare").sum() for study in found.studies) > 0


def test_one_path_alone_is_the_path_of_the_whole(found, book):
    alone = stressed(
        plan_of(book, worlds=WORLDS[:1], stacks=STACKS[1:], paths=[2], seed=5), questions=False
    )
    (study,) = alone.studies
    assert study.outcomes["guarded"] == [found.studies[0].outcomes["guarded"][2]]


def test_finished_paths_are_kept_and_more_paths_only_add(book, tmp_path, turned, found):
    def go(paths, stacks=STACKS):
        plan = plan_of(book, worlds=WORLDS, stacks=stacks, paths=paths, seed=5)
        return stressed(plan, keep=tmp_path, questions=False)

    assert told(go(2).studies[0])["bare"] == found.studies[0].outcomes["bare"][:2]
    assert len(turned) == 8
    whole = go(4)
    assert len(turned) == 16
    assert [told(s) for s in whole.studies] == [told(s) for s in found.studies]
    go(4, STACKS[:1])
    assert len(turned) == 16, "a stack that is left out takes nothing from what is kept"
    other = plan_of(book, worlds=WORLDS[:1], stacks=STACKS[:1], paths=1, seed=6)
    stressed(other, keep=tmp_path, questions=False)
    assert len(turned) == 17, "another seed is another weather"


def test_a_damaged_outcome_is_turned_again(plan, tmp_path, turned, found):
    stressed(plan, keep=tmp_path, questions=False)
    file = next(p for p in tmp_path.rglob("*") if p.is_file())
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    turned.clear()
    again = stressed(plan, keep=tmp_path, questions=False)
    assert len(turned) == 1
    assert [told(s) for s in again.studies] == [told(s) for s in found.studies]


def test_an_interrupt_loses_nothing_that_was_finished(plan, tmp_path, turned, found):
    class Impatient(Hearer):
        def done(self, paths, of):
            del of
            if paths == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stressed(plan, keep=tmp_path, hearer=Impatient(), questions=False)
    assert len(turned) == 5
    again = stressed(plan, keep=tmp_path, questions=False)
    assert len(turned) == plan.size
    assert [told(s) for s in again.studies] == [told(s) for s in found.studies]


def test_another_book_world_stack_or_seed_is_kept_elsewhere(plan, tmp_path):
    piece = plan.pieces()[0]
    store = Kept(tmp_path)
    others = [
        replace(piece, opening=replace(piece.opening, marks=piece.opening.marks + 1)),
        replace(piece, world=plan.worlds[1]),
        replace(piece, stacks=(plan.stacks[1],)),
        replace(piece, root=6),
        replace(piece, path=1),
    ]
    places = {store._file(each) for each in [piece, *others]}
    assert len(places) == 6
    assert Kept(None).get(piece) is None


def test_whoever_computes_in_whatever_order_the_answer_is_the_same(plan, found, monkeypatch):
    asked = []

    class Backwards(Here):
        def run(self, task, chunks, which, finished, *, pinned=False):
            super().run(task, chunks, which[::-1], finished, pinned=pinned)

    def hands(workers, cluster):
        asked.append((workers, cluster))
        return Backwards()

    monkeypatch.setattr(running, "hands", hands)
    other = stressed(plan, workers=3, cluster="tcp://x:1", questions=False)
    assert asked == [(3, "tcp://x:1")]
    assert [told(s) for s in other.studies] == [told(s) for s in found.studies]


def test_what_is_left_is_said_before_the_bulk(plan, tmp_path):
    heard = []

    class Ear(Hearer):
        def begins(self, plan, found):
            del plan
            known = (found.left, found.kept, found.pilots)
            heard.append((*known, found.seconds > 0, found.memory > 2**20))

        def done(self, paths, of):
            heard.append((paths, of))

    stressed(plan, keep=tmp_path, hearer=Ear(), questions=False)
    assert heard[:3] == [(1, 16), (2, 16), (14, 0, 2, True, True)]
    assert heard[-1] == (16, 16)
    heard.clear()
    stressed(plan, keep=tmp_path, hearer=Ear(), questions=False)
    assert [h[:4] for h in heard] == [(0, 16, 0, False)]


def test_the_runs_of_the_questions_are_part_of_what_is_said(plan, tmp_path, monkeypatch):
    heard, struck, strike = [], [], breaking.strike

    class Ear(Hearer):
        def begins(self, plan, found):
            del plan
            heard.append(found)

    monkeypatch.setattr(breaking, "strike", lambda *a: struck.append(a) or strike(*a))
    begun = runs_beside(plan, keep=tmp_path)
    assert begun == runs_beside(plan), "nothing is kept yet"
    stressed(plan, keep=tmp_path, hearer=Ear())
    cliff = len(plan.stacks) * len(MOVES) * len(DEPTHS)
    assert 0 < len(struck) <= begun.runs - cliff
    assert begun.lasts == begun.runs * 12 / 8, "twelve steps a shock, eight a path of the first"
    many = runs_beside(plan, workers=1_000)
    assert (many.runs, many.lasts) == (begun.runs, (1 + 6 + 5) * 12 / 8)
    assert heard[0].beside == begun.runs
    alone = forecast(
        plan, kept=0, pilots=2, seconds=2.0, workers=2, process=0, sample=None, beside=Beside(9, 5)
    )
    assert alone.seconds == 2.0 * (14 / 2 + 5)
    assert runs_beside(plan, keep=tmp_path) == Beside()
    stressed(plan, keep=tmp_path, hearer=Ear())
    assert (heard[1].beside, heard[1].seconds) == (0, 0.0)


def test_without_a_pilot_nobody_makes_a_time_up(plan, tmp_path, capsys):
    stressed(plan, keep=tmp_path, questions=False)
    found = []

    class Ear(Told):
        def begins(self, plan, forecast):
            found.append(forecast)
            super().begins(plan, forecast)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Ear() as ear:
        stressed(plan, keep=tmp_path, hearer=ear)
    assert isnan(found[0].seconds)
    said = capsys.readouterr().err
    assert "16 kept from before, 0 left" in said
    assert "no pilot tells how long" in said


def test_the_number_of_paths_follows_the_size_of_the_book():
    sizes = [paths_for_size(n) for n in (1, 400, 4_000, 1_000_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (128, 8)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"stacks": ["bare", "bare"]}, "--stack.*names different"),
        ({"worlds": [WORLDS[0]] * 2}, "--world.*names different"),
        ({"paths": [-1]}, "--paths"),
        ({"paths": 0}, "--paths"),
        ({"stacks": ["bar"]}, "did you mean bare"),
        ({"worlds": ["w:fall=1"]}, "world: must be one of"),
        ({"stacks": ["guarded"], "worlds": ["gap:steep=3"]}, "steep"),
    ],
)
def test_plans_that_cannot_be_are_refused_before_anything_runs(book, arguments, what):
    with pytest.raises(ConfigInvalid, match=rf"(?s){what}"):
        plan_of(book, **{"worlds": WORLDS, "stacks": STACKS, "paths": 1, **arguments})


def test_a_stack_that_does_not_fit_is_named(book):
    odd = load_stack("bare")
    odd = type(odd)(name="odd", oracle=odd.oracle.__class__(sources=odd.oracle.sources[:1]))
    with pytest.raises(ConfigInvalid, match=r"stack odd: oracle\.sources"):
        plan_of(book, worlds=WORLDS, stacks=[odd], paths=1)


@pytest.fixture(scope="module")
def result():
    return tidegate.stress(positions(), worlds=WORLDS, stacks=STACKS, paths=4, seed=5)


def test_frames_agree_with_one_another(result, found):
    outcomes, summary = result.outcomes, result.summary
    assert len(outcomes) == 16
    assert outcomes["loss"].sum() * 1e6 == pytest.approx(
        sum(float(s.losses(n).sum()) for s in found.studies for n in STACKS)
    )
    mean = outcomes.groupby(["world", "stack"])["loss"].mean()
    assert summary.set_index(["world", "stack"])["loss"].to_dict() == pytest.approx(mean.to_dict())
    parts = result.by_account.groupby(["world", "stack"])["es"].sum().to_dict()
    assert parts == pytest.approx(summary.set_index(["world", "stack"])["es"].to_dict(), abs=1e-4)
    markets = result.by_market.groupby(["world", "stack"])["es"].sum().to_dict()
    assert markets == pytest.approx(parts, abs=1e-4)
    paid = result.burden.set_index(["world", "stack"])["fund_used"].to_dict()
    assert all(paid[key] <= loss + 1e-6 for key, loss in mean.to_dict().items())
    assert summary["level"].unique().tolist() == [LEVEL]


def test_the_worst_path_of_the_summary_can_be_named_again(result):
    row = max(records(result.summary), key=lambda r: r["loss"])
    line = result.repeat(row["world"], row["stack"], row["worst_path"])
    assert line.startswith("#"), "a data frame has no name in a shell"
    assert f"paths=[{row['worst_path']}] and seed=5" in line
    assert re.search(rf"look at {row['stack']} in {row['world']}$", line)


def test_the_cliff_and_the_breaking_points_follow_the_shock(result):
    cliff = result.cliff
    assert set(cliff["stack"]) == set(STACKS)
    deep = cliff[(cliff["move"] == cliff["move"].min())]["loss"].min()
    assert deep > cliff[(cliff["move"] == cliff["move"].max())]["loss"].max()
    points = result.breaking
    assert set(points["direction"]) == {"down", "up"}
    down = points[points["direction"] == "down"]
    assert (down["move"] < down["solid"]).all(), "the fund is gone below where it held"


def test_figures_stand_alone_in_a_notebook(result):
    for plot in ("losses", "insolvency", "burden", "cliff", "accounts"):
        figure = getattr(result, f"plot_{plot}")()
        assert figure.axes
        assert not re.search("#01[0-9a-f]{2}fe", str(figure.axes[0].patch.get_facecolor()))
        hues = [line.get_color() for axes in figure.axes for line in axes.get_lines()]
        assert not any(str(hue).startswith("#01") for hue in hues)


def test_the_report_is_one_file_that_says_everything(result, tmp_path):
    file = result.report(tmp_path / "r.html")
    text = file.read_text(encoding="utf-8")
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", text)
    assert "<script" not in text
    assert "#01" not in re.sub(r"&#\d+;", "", text), "a stand-in colour was left"
    for note in result.notes:
        assert note.replace("'", "&#39;") in text
    for heading in ("Who carries it", "Where it breaks", "The liquidity cliff", "Do it again"):
        assert f"<h2>{heading}</h2>" in text
    again = page(result.found, result.lines)
    assert again == text, "the same stress gives the same bytes"


def test_targets_are_those_that_so_many_paths_can_show():
    assert targets_for(1) == (0.5,)
    assert targets_for(29) == (0.5, 0.25, 0.1)
    assert targets_for(300) == (0.1, 0.05, 0.01)


def test_a_book_of_loans_goes_the_same_way():
    result = tidegate.stress(
        loans(),
        worlds=WORLDS[1:],
        stacks=["loans"],
        paths=1,
        prices={"ETH": 4_000.0},
        parameters=Given(),
    )
    assert set(result.breaking["direction"]) == {"down"}
    assert "loan" in page(result.found, LINES)
    with pytest.raises(ConfigInvalid, match="a Book was completed when it was read"):
        tidegate.stress(result.found.plan.book, balance_with="house")


@pytest.fixture
def go(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "_cores", lambda: 1)
    file = tmp_path / "book.csv"
    positions().to_csv(file, index=False)

    def go(*arguments, book=file):
        code = call(["stress", str(book), *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


ONE = ("--world", WORLDS[1], "--stack", "bare", "--paths", "1", "--no-questions")


def test_the_command_prints_data_on_stdout_and_what_it_inferred_on_stderr(go, tmp_path):
    code, out, err = go(*ONE, "--json", "--report", tmp_path / "r.html")
    assert code == 0, err
    printed = json.loads(out)
    assert printed["summary"][0]["stack"] == "bare"
    assert printed["outcomes"][0]["path"] == 0
    assert printed["command"].startswith("tidegate stress ")
    assert printed["breaking"] == printed["cliff"] == []
    assert "columns read: account from user" in err
    assert "1 paths x 1 worlds x 1 stacks = 1 to turn, 1 turned as pilots, 0 left" in err
    assert "MiB of memory" in err
    assert (tmp_path / "r.html").exists()
    assert go(*ONE, "--json")[1] == out, "the second time from what was kept"


def test_the_line_of_a_path_prints_that_path(go):
    code, out, _ = go(*ONE[:-3], "--paths", "3", "--seed", "5", "--json", "--no-questions")
    outcomes = json.loads(out)["outcomes"]
    code, out, _ = go(*ONE[:4], "--seed", "5", "--path", "2", "--json")
    assert code == 0
    assert json.loads(out)["outcomes"] == outcomes[2:]


def test_the_table_names_the_world_and_gives_the_verdict(go):
    code, out, err = go(*ONE)
    assert code == 0, err
    assert WORLDS[1] in out
    assert "more was lost than the fund holds under bare" in out


def test_a_tail_without_an_interval_is_a_dash_with_what_it_takes(result):
    printed, written = unstyle(table(result)), page(result.found, result.lines)
    for text in (printed, written):
        assert "VaR 95 % needs 72 paths, ES 95 % needs 200 paths of a world; these are 4" in text
    rows = [line.split() for line in printed.splitlines() if line.startswith("  bare")]
    assert [row[-5:-3] for row in rows] == [["-", "-"]] * 2
    (tail,) = re.findall(r"<h2>Every world.*?</table>", written, re.DOTALL)
    assert tail.count("<td>-</td>") == 2 * len(WORLDS) * len(STACKS)


def test_a_tail_with_an_interval_shows_it(found):
    studies = []
    for study in found.studies:
        ends = {
            name: [
                structs.replace(study.outcomes[name][0], path=n, bad_debt=n * 10**6)
                for n in range(200)
            ]
            for name in study.stacks
        }
        studies.append(structs.replace(study, outcomes=ends))
    plan = replace(found.plan, paths=tuple(range(200)))
    result = StressResult(replace(found, plan=plan, studies=tuple(studies)), LINES)
    row = records(result.summary)[0]
    assert row["es_low"] < row["es"] < row["es_high"]
    printed, written = unstyle(table(result)), page(result.found, LINES)
    for text in (printed, written):
        for key in ("var", "es"):
            assert money_text(row[key]) in text
            assert f"{money_text(row[f'{key}_low'])} to {money_text(row[f'{key}_high'])}" in text
        assert "needs" not in text


def test_the_venue_is_shown_and_written(go, tmp_path):
    code, out, err = go("--show-venue", "--write-venue", tmp_path / "v.toml")
    assert (code, out) == (0, "")
    assert "BTC: 100,000, tick 1" in err
    code, _, err = go(*ONE, "--venue", tmp_path / "v.toml")
    assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--where", "coin"), "COLUMN=VALUE"),
        (("--path", "1", "--paths", "2"), "leave --paths out"),
        (("--stack", "none"), "must be a file or one of"),
        (("--where", "coin=BTC", "--prices", "no.csv"), "no such file"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_two(go, arguments, what):
    code, out, err = go(*arguments)
    assert (code, out) == (2, "")
    assert what in err


def test_real_books_go_from_csv_to_report(go, shared, tmp_path):
    """The whole way, with one path of a few minutes each: what it says of itself is in the page."""
    parameters = tmp_path / "p.toml"
    parameters.write_text("leverage = 10\n", encoding="utf-8")
    prices = tmp_path / "prices.csv"
    prices.write_text("asset,price\nwBTC,65000\ncbBTC,65000\nWETH,1900\n", encoding="utf-8")
    aside = ("--leave-out", "unpriced", "--leave-out", "bankrupt", "--where", "version=V3")
    books = {
        "aave_v2_steth_positions_2023_06": (),
        "aave_v2_steth_vs_stable_positions_2023_06": (),
        "aave_v3_wsteth_positions_2023_06": (),
        "aave_btc_collateral_open_positions_snapshot_2026_02": ("--prices", prices, *aside),
        "hl_20251010_positions_SOL": ("--parameters", parameters, "--balance-with", "house"),
    }
    for name, options in books.items():
        file, report = tmp_path / f"{name}.csv", tmp_path / f"{name}.html"
        pl.read_parquet(shared / f"data/{name}.parquet").write_csv(file)
        world = ("--world", "gap:fall=0.35,steps=3", "--paths", "1", "--no-questions")
        stack = ("--stack", "bare" if name.startswith("hl") else "loans")
        code, out, err = go(*world, *stack, *options, "--report", report, book=file)
        assert code == 0, f"{name}: {err}"
        assert "no venue was given" in report.read_text(encoding="utf-8")
        assert "more was lost than the fund holds" in out


def test_the_face_is_imported_only_when_it_is_asked_for():
    script = "import sys, tidegate; assert not {'numpy', 'numba', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with pytest.raises(AttributeError, match="no attribute 'stretch'"):
        _ = tidegate.stretch
