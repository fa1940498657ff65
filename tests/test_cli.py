"""The command line: data on stdout, words on stderr, and exit codes that scripts can rely on."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handmade import BEGIN, write_crash
from tidegate.cli import runs
from tidegate.cli.compiling import Compiling
from tidegate.cli.main import COMMANDS, app, run
from tidegate.cli.say import identity
from tidegate.domain.errors import ReplayDiverged
from tidegate.domain.units import SECOND


REQUIRED = {
    "bad_debt",
    "socialised_loss",
    "adl_profit_taken",
    "adl_overshoot",
    "fund_used",
    "peak_impact_ppm",
    "cascade_ratio",
    "peak_branching_ratio",
    "accounts_liquidated",
    "recovery_ratio",
    "insolvent_seconds",
    "capital_efficiency",
    "halt_seconds",
    "regenerated_share",
    "digest",
}


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    return write_crash(tmp_path_factory.mktemp("cli") / "small")


@pytest.fixture
def call(capsys):
    def call(*arguments):
        code = run([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def stack_file(folder, name, text=""):
    file = folder / f"{name}.toml"
    file.write_text(f'name = "{name}"\n{text}', encoding="utf-8")
    return file


HEAVY = {
    *("numpy", "numba", "scipy", "pandas", "pyarrow", "matplotlib", "rich", "jinja2", "msgspec"),
    *("sqlite3", "httpx", "asyncio", "multiprocessing", "distributed", "optuna", "arch"),
}


def test_help_lists_every_command_and_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from tidegate.cli.main import run\n"
        "code = run(['--help'])\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for name, (_, _, about) in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert about in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_a_command_imports_nothing_heavy(name):
    script = (
        "import sys\n"
        "from tidegate.cli.main import run\n"
        f"code = run(['{name}', '--help'])\n"
        "assert 'numba' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: tidegate {name}")


def test_the_version_is_one_line(call):
    code, out, _ = call("--version")
    assert code == 0
    assert out.startswith("tidegate ")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["replay"], ["replay", "nowhere", "--stack", "bare"], ["demo", "--accounts", 5]],
)
def test_wrong_usage_is_the_operator_s_and_says_how(call, arguments):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert "Usage: tidegate" in err
    assert "error: " in err
    assert err.splitlines()[-1].startswith("hint: tidegate")


def test_replay_prints_one_json_object_on_stdout_and_words_on_stderr(call, crash):
    code, out, err = call("replay", crash, "--stack", "bare", "--stack", "guarded", "--json")
    assert code == 0
    said = json.loads(out)
    assert list(said["stacks"]) == ["bare", "guarded"]
    for numbers in said["stacks"].values():
        assert set(numbers) >= REQUIRED
        assert numbers["cascade_ratio"] is not None
    assert said["stacks"]["bare"]["loss_share_of_bare"] == 1.0
    assert said["against"] == {}
    assert said["recording"]["name"] == "small"
    first = err.splitlines()[0]
    assert first.startswith("tidegate ")
    assert said["recording"]["digest"] in first
    assert said["stacks"]["bare"]["stack_digest"] in first


def test_replay_prints_a_table_that_needs_no_colour(call, crash):
    code, out, _ = call("replay", crash, "--stack", "bare", "--stack", "neutral", "--no-shock")
    assert code == 0
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].split() == ["bare", "neutral"]
    row = next(line for line in lines if line.startswith("  Bad debt"))
    assert "*" in row
    assert "  Cascade ratio" in out
    assert all(len(line) <= 80 for line in lines)


def test_the_same_command_prints_the_same_bytes(call, crash):
    twice = [call("replay", crash, "--stack", "bare", "--no-shock", "--json") for _ in range(2)]
    assert twice[0][1] == twice[1][1]


@pytest.mark.skipif(shutil.which("script") is None, reason="no `script` to make a terminal with")
@pytest.mark.parametrize(("quiet", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_a_bar_and_colours_unless_asked_not_to(crash, quiet, coloured):
    command = f"{sys.executable} -m tidegate.cli replay {crash} --stack bare --no-shock"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "NO_COLOR": quiet, "TERM": "xterm", "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout
    assert "━" in done.stdout
    bold = "\x1b[1m" in done.stdout[done.stdout.index("Who lost") - 60 :]
    assert bold == coloured


def test_verify_runs_twice_and_says_so(call, crash):
    code, _, err = call("replay", crash, "--stack", "guarded", "--no-shock", "--verify")
    assert code == 0
    assert "verified: guarded gave the same" in err


def test_a_run_that_diverges_is_a_finding_with_its_place(call, crash, monkeypatch):
    class Forgetful(runs.Fingerprints):
        born = 0

        def __init__(self):
            super().__init__()
            Forgetful.born += 1
            self.salt = Forgetful.born

        def observe(self, seq, event, effects, state, impact_ppm):
            super().observe(seq, event, effects, state, impact_ppm)
            if seq == 7:
                self.marks[-1] ^= self.salt

    monkeypatch.setattr(runs, "Fingerprints", Forgetful)
    code, _, err = call("replay", crash, "--stack", "bare", "--no-shock", "--verify")
    assert code == 1
    assert "error: bare: the second run decided otherwise at seq 7" in err


def test_the_report_is_written_and_its_place_told(call, crash, tmp_path):
    target = tmp_path / "out" / "report.html"
    code, _, err = call("replay", crash, "--stack", "bare", "--no-shock", "--report", target)
    assert code == 0
    assert f"report: {target}" in err
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_against_history_stands_beside_the_verdict(call, crash, tmp_path):
    history = shutil.copytree(crash, tmp_path / "history")
    table = pa.table(
        {
            "ts": [BEGIN + 20 * SECOND],
            "account": ["fast"],
            "instrument": ["SOL-PERP"],
            "quantity": [500.0],
            "price": [92.0],
            "kind": ["market"],
        }
    )
    pq.write_table(table, history / "liquidations.parquet")
    asked = ("replay", history, "--no-shock", "--against", "liquidations")
    code, out, err = call(*asked, "--stack", "bare", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["against"]["stack"] == "bare"
    assert said["against"]["reports"] == 1
    assert said["against"]["recall"] == 1.0
    assert "stacks" not in said["against"]
    code, out, _ = call(*asked, "--stack", "bare", "--stack", "neutral", "--json")
    assert code == 0
    assert list(json.loads(out)["against"]["stacks"]) == ["bare", "neutral"]
    code, out, _ = call(*asked, "--stack", "bare")
    assert code == 0
    assert "bare against 1 recorded liquidations" in out
    assert "  recall       100.00 % of 1 episodes" in out


def test_against_needs_a_history(call, crash):
    code, _, err = call("replay", crash, "--stack", "bare", "--against", "liquidations")
    assert code == 2
    assert "error: liquidations.parquet" in err


def test_a_journal_knows_itself_and_is_never_written_over(call, crash, tmp_path):
    file = tmp_path / "run.db"
    code, _, err = call("replay", crash, "--stack", "bare", "--no-shock", "--journal", file)
    assert code == 0
    assert f"journal: {file}" in err
    code, out, err = call("journal", "verify", file)
    assert code == 0, err
    assert "events give the journalled effects; state " in out
    code, out, _ = call("journal", "verify", file, "--json")
    assert json.loads(out)["events"] > 100
    code, out, err = call("explain", file, "thin")
    assert code == 0, err
    assert out.startswith("thin at seq ")
    code, _, err = call("replay", crash, "--stack", "bare", "--journal", file)
    assert code == 2
    assert "must be a new file" in err


def test_a_journal_of_a_scaled_recording_knows_itself(call, crash, tmp_path):
    """What is written beside it is the stack as declared: binding must not scale it twice."""
    small = shutil.copytree(crash, tmp_path / "scaled")
    venue = small / "venue.toml"
    text = re.sub(r"(?m)^scale = .*\n", "", venue.read_text())
    venue.write_text(f"scale = 10_000\n{text}")
    file = tmp_path / "run.db"
    assert call("replay", small, "--stack", "bare", "--no-shock", "--journal", file)[0] == 0
    code, _, err = call("journal", "verify", file)
    assert code == 0, err


def test_two_stacks_write_two_journals(call, crash, tmp_path):
    file = tmp_path / "run.db"
    stacks = ("--stack", "bare", "--stack", "neutral")
    assert call("replay", crash, *stacks, "--no-shock", "--journal", file)[0] == 0
    assert {p.name for p in tmp_path.glob("*.db")} == {"run.bare.db", "run.neutral.db"}


def test_a_journal_without_description_needs_stack_and_venue(call, crash, tmp_path):
    file = tmp_path / "run.db"
    assert call("replay", crash, "--stack", "bare", "--no-shock", "--journal", file)[0] == 0
    beside = tmp_path / "run.db.made.json"
    beside.write_text("{}")
    code, _, err = call("journal", "verify", file)
    assert (code, "must describe the journal beside it" in err) == (2, True)
    beside.unlink()
    code, _, err = call("journal", "verify", file)
    assert (code, "error: --stack: must be given" in err) == (2, True)
    code, _, err = call("journal", "verify", file, "--stack", "bare", "--venue", crash)
    assert code == 0, err
    code, _, err = call("journal", "verify", file, "--stack", "neutral", "--venue", crash)
    assert code == 1
    assert "error: record " in err


def test_explain_replays_a_recording_as_far_as_needed(call, crash):
    code, out, err = call("explain", crash, "thin", "--stack", "neutral")
    assert code == 0, err
    seq = int(re.match(r"thin at seq ([\d,]+)", out)[1].replace(",", ""))
    for label in ("order", "plan", "margin", "rung", "mark", "observation"):
        assert f"\n{label:<13}" in out
    assert call("explain", crash, f"thin@{seq}", "--stack", "neutral")[1] == out
    code, earlier, _ = call("explain", crash, f"thin@{seq - 1}", "--stack", "neutral", "--json")
    assert code == 0
    said = json.loads(earlier)
    assert said["account"] == "thin"
    assert said["lines"] != out.splitlines()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("thinn@3", "did you mean thin?"),
        ("thin@soon", "must be ACCOUNT@SEQ"),
        ("thin@-1", "must be ACCOUNT@SEQ"),
        ("@5", "must be ACCOUNT@SEQ"),
    ],
)
def test_explain_helps_with_what_was_mistyped(call, crash, where, words):
    code, _, err = call("explain", crash, where, "--stack", "bare")
    assert code == 2
    assert words in err


def test_explain_of_a_recording_needs_a_stack(call, crash):
    code, _, err = call("explain", crash, "thin@3")
    assert code == 2
    assert "error: --stack: must name the stack" in err
    assert "hint: " in err


def test_stack_check_reads_a_shipped_stack_back(call, crash):
    code, out, _ = call("stack", "check", "guarded", "--venue", crash)
    assert code == 0
    assert out.startswith("guarded, digest ")
    assert "\noracle\n" in out
    assert "\nwaterfall\n" in out
    assert "valid, and fits venue small crash" in out
    assert all(len(line) <= 96 for line in out.splitlines())
    code, out, _ = call("stack", "check", "guarded", "--venue", crash / "venue.toml", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["name"] == "guarded"
    assert said["bound_digest"] != said["digest"]


def test_stack_list_names_what_is_shipped(call):
    code, out, _ = call("stack", "list")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert {"bare", "neutral", "guarded"} <= set(names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[planner]\nclose_fractoin = 5\n", "close_fractoin"),
        ("[planner]\nclose_fraction = 0\n", "planner.close_fraction"),
        ('[breaker]\nhysteresis = "a lot"\n', "breaker.hysteresis"),
        ("[planner\n", "must be valid TOML"),
        ("[planner]\nclose_fraction = 0.5\n", "whole ppm (500_000 is half)"),
        ('[planner]\ninterval_ns = "1s"\n', "1_000_000_000 is a second"),
        ('[route]\nkind = "book"\ncurve = "stair"\n', "a key of another table"),
        ('[route]\nkind = "dutch"\n', "must be one of ['auction', 'batch', 'book'"),
        (
            '[route]\nkind = "split"\n[route.sale]\nkind = "dutch"\n',
            "one of ['auction', 'batch', 'fix",
        ),
        ('[never_worse]\ninsolvent = "deleverage"\n', "needs a waterfall that deleverages"),
        ("[wait]\nrisk = 500\n", "needs throttle.lots"),
        ('[throttle]\nkind = "fund"\nslow = 1\nfast = 2\n', "needs a fund to follow"),
    ],
)
def test_a_bad_stack_is_refused_with_file_and_key(call, tmp_path, text, words):
    file = stack_file(tmp_path, "spoilt", text)
    code, out, err = call("stack", "check", file)
    assert code == 2
    assert out == ""
    assert err.startswith("error: spoilt.toml")
    assert words in err
    assert "Traceback" not in err


def test_what_does_not_fit_a_venue_is_said_with_the_stack(call, crash, tmp_path):
    text = "[bands.instruments.NOSUCH]\nwidth = 100_000\n"
    file = stack_file(tmp_path, "elsewhere", text)
    code, _, err = call("stack", "check", file, "--venue", crash)
    assert code == 2
    assert err.startswith("error: elsewhere.toml: bands")


def test_only_an_empty_cache_is_said_to_compile(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # numba makes the folder when imported
    identity(recording="x")
    assert "compiling the kernels" in capsys.readouterr().err
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "step.nbi").touch()
    identity(recording="x")
    assert "compiling" not in capsys.readouterr().err


class Kernel:
    """Stands for what numba's events carry: the dispatcher of a compiled function."""

    def __init__(self, module, name):
        self.data = {"dispatcher": SimpleNamespace(py_func=SimpleNamespace())}
        self.data["dispatcher"].py_func.__module__ = module
        self.data["dispatcher"].py_func.__name__ = name


def test_what_is_compiled_is_said_every_other_second():
    clock, said = iter((0.0, 0.5, 1.0, 2.5, 3.0, 9.0, 10.0)), []
    compiling = Compiling(said.append, lambda: next(clock))
    ours, theirs = Kernel("tidegate.kernels.plan", "wanted"), Kernel("numba.cpython", "impl")
    compiling.on_start(ours)  # at 0
    compiling.on_start(theirs)  # 0.5: not ours
    compiling.on_end(theirs)
    compiling.on_start(Kernel("tidegate.kernels.value", "worth"))  # 1.0: said just now
    compiling.on_end(ours)
    compiling.on_end(ours)  # 2.5: the outermost ends
    assert (compiling.kernels, compiling.seconds) == (2, 2.5)
    compiling.on_start(Kernel("tidegate.kernels.margin", "sweep"))  # 3.0
    compiling.on_end(ours)  # 9.0
    assert (compiling.kernels, compiling.seconds) == (3, 8.5)
    assert said == [
        "compiling kernel 1, plan.wanted; 0 s so far",
        "compiling kernel 3, margin.sweep; 2 s so far",
    ]


def test_a_first_run_says_what_it_compiles(tmp_path):
    """In a process of its own, with an empty cache; a second one has nothing to say."""
    script = (
        "from click import Context\n"
        "from tidegate.cli.main import app\n"
        "from tidegate.cli.say import identity\n"
        "with Context(app):\n"
        "    identity(recording='x')\n"
        "    from tidegate.domain.units import isqrt\n"
        "    assert isqrt(9) == 3\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    for first in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env=environment,
        )
        assert ("compiling kernel 1, units.isqrt; 0 s so far" in done.stderr) == first
        assert ("compiled 1 kernel in" in done.stderr) == first


def test_an_unknown_stack_is_refused_with_the_nearest_name(call):
    code, _, err = call("stack", "check", "gaurded")
    assert code == 2
    assert "hint: did you mean guarded?" in err
    code, _, err = call("stack", "check", "elsewhere/guarded.toml")
    assert code == 2  # not the shipped one in place of a file that is missing
    assert "hint: did you mean guarded?" in err


def test_two_stacks_of_one_name_are_refused(call, crash, tmp_path):
    file = stack_file(tmp_path, "bare")
    code, _, err = call("replay", crash, "--stack", "bare", "--stack", file)
    assert code == 2
    assert "two named 'bare'" in err


def test_a_broken_recording_is_refused_without_a_traceback(call, tmp_path):
    code, _, err = call("replay", tmp_path, "--stack", "bare")
    assert code == 2
    assert err.startswith("error: venue.toml")
    assert "Traceback" not in err


def test_an_interruption_prints_what_is_complete(call, crash, monkeypatch):
    real = runs.replay

    def impatient(recording, stack, **options):
        if stack.name == "guarded":
            raise KeyboardInterrupt
        return real(recording, stack, **options)

    monkeypatch.setattr(runs, "replay", impatient)
    stacks = ("--stack", "bare", "--stack", "guarded")
    code, out, err = call("replay", crash, *stacks, "--no-shock", "--json")
    assert code == 130
    assert list(json.loads(out)["stacks"]) == ["bare"]
    assert "interrupted: 1 of 2 stacks are complete" in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ReplayDiverged("at seq 5"), 1, "error: at seq 5"),
        (AssertionError("cash"), 1, "a belief about the code was wrong: cash"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(call, monkeypatch, error, code, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(app, "main", fail)
    got, _, err = call("stack", "list")
    assert got == code
    assert words in err


def test_demo_goes_from_nothing_to_a_report(call, tmp_path, monkeypatch):
    # Two of its three stacks, and the smallest book: the way is the same.
    monkeypatch.setattr("tidegate.cli.demo.STACKS", ("bare", "neutral"))
    code, out, err = call("demo", "--out", tmp_path / "demo", "--accounts", "100")
    assert code == 0, err
    assert out.splitlines()[0].split() == ["bare", "neutral"]
    assert "Under bare, " in out
    last = out.splitlines()[-1]
    assert last.startswith("the report lies at ")
    report = Path(last.removeprefix("the report lies at "))
    assert report.read_text(encoding="utf-8").count("<svg") > 10


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m tidegate.cli stack check guarded | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("guarded, digest ")
    assert "Traceback" not in done.stderr


def test_without_assertions_nothing_runs():
    """The invariants are assertions: `python -O` would take them out."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "tidegate.cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "python -O" in done.stderr
