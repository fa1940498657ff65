"""The benchmarks' own arithmetic: what is compared with what, what is kept, what the page says."""

import gc
import importlib
import importlib.util
import json
import time
from pathlib import Path

import msgspec
import pytest

from tidegate.cli.main import run
from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.bench import registry, targets, timing
from tidegate.lab.bench.result import Machine, Report, Result, found
from tidegate.lab.bench.scale import Model
from tidegate.lab.bench.table import compared, duration, figures, table


ROOT = Path(__file__).parents[1]
PROMISED = {
    "sweep_1m",
    "tick_1m",
    "profile_1m",
    "scenarios",
    "paths_single",
    "paths_multi",
    "decide_50k",
    "journal",
    "first_run",
}
MACHINE = Machine(
    processor="a processor",
    cores=2,
    threads=2,
    scale=1.0,
    memory_gib=24.0,
    system="Linux x86_64",
    python="3.11",
    versions={"numpy": "2"},
)


def result(name="sweep_1m", seconds=0.004, **yardsticks) -> Result:
    return found(name, seconds, work=1, conditions=f"sizes of {name}", yardsticks=yardsticks)


def test_the_ratio_is_to_the_fastest_comparable_yardstick():
    told = found(
        "x", 2.0, work=10, conditions="", yardsticks={"a": 8.0, "b": 6.0, "c": 1.0}, beside=("c",)
    )
    assert told.ratio == 3.0
    assert told.per_second == 5.0
    assert compared(told) == "b"
    alone = found("x", 2.0, work=1, conditions="")
    assert alone.ratio is None
    assert compared(alone) == ""
    with pytest.raises(AssertionError, match="only what was measured"):
        found("x", 1.0, work=1, conditions="", beside=("c",))


def test_a_timing_is_the_median_of_its_counted_runs(monkeypatch):
    """The clock is ours here: the first run takes an hour and does not count."""
    lengths = iter([3600.0, 5.0, 1.0, 4.0, 2.0, 3.0])
    now = [0.0]
    rested, prepared = [], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work():
        rested.append(gc.isenabled())
        now[0] += next(lengths)

    def before():
        prepared.append(now[0])
        now[0] += 100.0

    assert gc.isenabled()
    assert timing.timed(work, before=before) == (3.0, 1.0, 5.0, 5)
    assert gc.isenabled()
    assert rested == [False] * 6
    assert len(prepared) == 6
    with pytest.raises(AssertionError, match="median of fewer"):
        timing.timed(work, runs=4)


def test_repeated_work_is_divided_by_how_often_it_ran(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work():
        calls.append(1)
        now[0] += 0.5

    assert timing.repeated(work, times=7) == (0.5, 0.5, 0.5, 5)
    assert len(calls) == 7 * 6


def test_the_clock_of_the_collector_is_restored_when_work_fails():
    with pytest.raises(ZeroDivisionError):
        timing.timed(lambda: 1 // 0)
    assert gc.isenabled()


def test_how_busy_the_machine_was_is_put_into_words():
    with timing.Load() as load:
        sum(range(1_000))
    assert "load average" in load.words or "cores" in load.words
    assert timing.installed("numpy")
    assert not timing.installed("no_such_package")
    assert timing.machine(2, 0.5).scale == 0.5


def test_every_promised_figure_has_a_module_and_a_target():
    assert set(registry.BENCHES) >= PROMISED
    assert set(targets.TARGETS) == PROMISED


def test_modules_are_run_once_and_in_the_order_of_the_table():
    everything = registry.parts(())
    assert [name for part in everything for name in part.names] == list(registry.BENCHES)
    assert len({part.module for part in everything}) == len(everything)
    [part] = registry.parts(["paths_multi"])
    assert part.names == ("paths_multi",)
    with pytest.raises(ConfigInvalid, match="must be one of sweep_1m"):
        registry.parts(["sweep_2m"])
    assert registry.Part((), "tidegate.lab.bench.nowhere").missing


@pytest.mark.parametrize("part", registry.parts(()), ids=lambda part: part.module.split(".")[-1])
def test_a_module_measures_what_the_table_says(part):
    if part.missing:
        pytest.skip("not part of this build")
    assert part.names == importlib.import_module(part.module).NAMES


@pytest.mark.parametrize(
    ("name", "seconds", "yardsticks", "met"),
    [
        ("sweep_1m", 0.009, {"polars": 0.2, "scipy": 0.010}, True),
        ("sweep_1m", 0.011, {"polars": 0.2}, False),
        ("sweep_1m", 0.009, {"Polars lazy": 0.2, "duckdb": 0.1}, False),
        ("sweep_1m", 0.009, {"scipy": 9.0}, False),  # nothing of what it is held against
        ("journal", 4.9e-6, {}, True),
        ("journal", 5.1e-6, {}, False),
        ("scenarios", 0.2, {"BLAS": 3.0, "scipy": 4.0, "numba": 0.3}, True),
    ],
)
def test_a_target_is_met_or_not(name, seconds, yardsticks, met):
    assert targets.TARGETS[name].met(result(name, seconds, **yardsticks)) is met


def test_durations_and_figures_have_three_digits():
    found = [duration(s) for s in (2.0, 0.0123, 45.6e-6, 7.8e-9, 1e-10)]
    assert found == ["2.00 s", "12.3 ms", "45.6 us", "7.80 ns", "0.10 ns"]
    assert [figures(v) for v in (9.994, 9.996, 99.96, 1234.5)] == ["9.99", "10.0", "100", "1,234"]


def test_the_table_shows_the_target_and_whether_it_is_met():
    slow = result("tick_1m", 2e-4, numpy=0.1)
    text = table([result(polars=0.2), slow, result("scale", 0.1)], 1.0)
    lines = {line.split(" ")[0]: line for line in text.splitlines()[1:4]}
    assert lines["sweep_1m"].endswith("yes")
    assert "polars 200 ms" in lines["sweep_1m"]
    assert lines["tick_1m"].endswith("NO")
    assert "sizes of tick_1m" in text
    small = table([slow], 0.5)
    assert "NO" not in small
    assert "not judged" in small


def test_the_model_of_scaling_goes_through_what_was_measured():
    model = Model.fitted(1_000_000, one=0.040, two=0.031, tiny=0.001)
    assert model.seconds(1_000_000, 1) == pytest.approx(0.040)
    assert model.seconds(1_000_000, 2) == pytest.approx(0.031)
    assert model.crowding == pytest.approx(1.5)
    best = model.workers_max(1_000_000)
    around = [model.seconds(1_000_000, n) for n in (best / 2, best, best * 2)]
    assert around[1] == min(around)


@pytest.fixture
def measured(monkeypatch):
    """Two parts that are quick, and a third that is as the test wants it."""
    third = {}

    def measure(part, scale):
        if part.names[0] == "tick_1m" and third:
            raise third["error"]
        return [result(name, 0.004 * scale, polars=0.1) for name in part.names]

    parts = [registry.Part((name,), registry.__name__) for name in ("sweep_1m", "tick_1m", "scale")]
    monkeypatch.setattr(registry, "measured", measure)
    monkeypatch.setattr(registry, "parts", lambda _: parts)
    return third


def test_json_is_one_object_on_stdout_and_words_go_to_stderr(measured, capsys, tmp_path):
    assert not measured
    assert run(["bench", "--json", "--scale", "0.5", "--out", str(tmp_path / "o/bench.json")]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert set(told) == {"results", "machine"}
    assert [r["name"] for r in told["results"]] == ["sweep_1m", "tick_1m", "scale"]
    assert {"name", "seconds", "per_second", "yardsticks", "ratio", "conditions"} <= set(
        told["results"][0]
    )
    assert told["results"][0]["ratio"] == pytest.approx(50)
    assert told["machine"]["scale"] == 0.5
    assert "2 of 3: tick_1m" in said.err
    assert json.loads((tmp_path / "o/bench.json").read_text()) == told


@pytest.mark.parametrize(
    ("error", "code", "kept"),
    [
        (KeyboardInterrupt(), 130, ["sweep_1m"]),
        (AssertionError("unequal"), 1, ["sweep_1m", "scale"]),
    ],
)
def test_what_is_done_is_kept_when_a_benchmark_ends_badly(measured, capsys, error, code, kept):
    measured["error"] = error
    assert run(["bench", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in told["results"]] == kept


def test_what_is_missing_is_left_out_and_said(monkeypatch, capsys):
    gone = [registry.Part(("tick_1m",), "tidegate.lab.bench.nowhere")]
    monkeypatch.setattr(registry, "parts", lambda _: gone)
    assert run(["bench", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["results"] == []
    assert "tick_1m left out" in said.err


def test_a_real_benchmark_runs_small(capsys):
    assert run(["bench", "--only", "step_100k", "--scale", "0.001", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)["results"]
    assert told["name"] == "step_100k"
    assert told["seconds"] > 0
    assert "100 accounts" in told["conditions"]


def test_the_page_is_written_from_the_results_alone(tmp_path):
    spec = importlib.util.spec_from_file_location("benchmarks", ROOT / "bench/benchmarks.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    (tmp_path / "results").mkdir()
    further = msgspec.structs.replace(result("scale", 0.1), also={"weak_1_ms": 12.5})
    results = [result(polars=0.2, numpy=0.05), result("tick_1m", 2e-4, numpy=0.1), further]
    report = Report(results=results, machine=MACHINE)
    again = msgspec.json.decode(report.encoded(), type=Report)
    assert again == report
    page.write(again, tmp_path)
    text = (tmp_path / "results/benchmarks.md").read_text()
    assert "| sweep_1m | 4.00 ms | 250 | numpy 50.0 ms | 12.5 |" in text
    assert "| polars | 200 ms | 50.0 |" in text
    assert "| weak 1 ms | 12.5 |" in text
    assert "a processor" in text
    assert "Not measured in this run: profile_1m" in text
    picture = (tmp_path / "images/benchmarks.svg").read_text()
    assert "polars" in picture
    assert "tick_1m" in picture
