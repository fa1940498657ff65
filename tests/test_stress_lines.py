"""The lines that do a stress again: as the command says them, and honest where there is no word."""

import json
import shlex

import msgspec
import pytest

import tidegate
from stress_books import loans, positions
from tidegate.cli import stress as command
from tidegate.cli.main import run as call
from tidegate.drivers.shelf import load_stack
from tidegate.lab.tunable import write_stack
from tidegate.lab.worlds.catalogue import world


WORLD = "gap:fall=0.12,noise=100%,steps=6"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return loans with what completes them, each in a file, and a stack of another name."""
    monkeypatch.setattr(command, "_cores", lambda: 1)
    (tmp_path / "book.csv").write_text(loans().assign(version="V3").to_csv(index=False), "utf-8")
    (tmp_path / "prices.csv").write_text("instrument,price\nETH,4000\n", "utf-8")
    (tmp_path / "p.toml").write_text("", "utf-8")
    own = msgspec.structs.replace(load_stack("loans"), name="my-own")
    write_stack(own, tmp_path / "mine.toml", ["loans under another name"])
    return tmp_path


def test_a_line_from_python_turns_the_same_path_again(files, capsys):
    result = tidegate.stress(
        files / "book.csv",
        worlds=[WORLD],
        stacks=[files / "mine.toml"],
        paths=2,
        seed=3,
        agents=["makers"],
        prices=str(files / "prices.csv"),
        parameters=files / "p.toml",
        leave_out=["bankrupt"],
        where={"version": "V3"},
        questions=False,
    )
    (study,) = result.found.studies
    assert study.stacks == ("my-own",)
    line = result.repeat(WORLD, "my-own", 1)
    program, *arguments = shlex.split(line)
    assert program == "tidegate"
    capsys.readouterr()
    assert call([*arguments, "--json", "--keep", str(files / "kept")]) == 0
    printed = json.loads(capsys.readouterr().out)
    (again,) = printed["outcomes"]
    assert again == command._plain(result.outcomes.to_dict("records")[1])
    assert printed["command"] == line, "the command repeats every option of the path alone"
    whole = result.lines.whole
    for word in ("--prices", "--parameters", "--leave-out bankrupt", "--where version=V3"):
        assert word in whole
        assert word in line
    assert "--agents makers" in whole
    assert "--paths 2" in whole


def test_objects_have_no_line_and_are_named():
    prices = {"ETH": 4_000.0}
    result = tidegate.stress(
        loans(), worlds=[WORLD], stacks=["loans"], paths=1, prices=prices, questions=False
    )
    one = result.repeat(WORLD, "loans", 0)
    assert one.startswith("# no line of a shell does this again")
    assert "book (a DataFrame), prices (a dict)" in one
    assert "paths=[0] and seed=1" in one
    assert "book (a DataFrame), prices (a dict)" in result.lines.whole


def test_only_the_lines_that_need_an_object_are_left_out(files):
    positions().to_csv(files / "book.csv", index=False)
    sky, shield = world("v:fall=0.1,steps=4"), load_stack("guarded")
    result = tidegate.stress(
        files / "book.csv",
        worlds=[WORLD, sky],
        stacks=["bare", shield],
        paths=[0],
        questions=False,
    )
    assert result.repeat(WORLD, "bare", 0).startswith("tidegate stress ")
    assert "worlds v:fall=0.1,steps=4 (a " in result.repeat(sky.name, "bare", 0)
    assert "stacks guarded (a SafeguardStack)" in result.repeat(WORLD, "guarded", 0)
    assert result.lines.whole.startswith("# no line")
