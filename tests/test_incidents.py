"""Incidents: each re-enactment holds its claims, can fail them, and refuses what it may not say."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tidegate.cli.main import run
from tidegate.domain.errors import ConfigInvalid
from tidegate.incidents.frame import BARE, OURS, Claim, held, incident, play, shipped


PAGES = Path(__file__).parents[1] / "docs/incidents"


@pytest.mark.parametrize("name", shipped())
def test_an_incident_holds_its_claims(name):
    """The bare rule does the published damage within its error; our stack does what it promises."""
    one = incident(name)
    found = held(one, {stack: play(one, stack) for stack in (BARE, OURS)})
    assert {each.claim.stack for each in found} == {BARE, OURS}
    for each in found:
        assert each.holds, f"{each.claim.stack}: {each.claim.measure} is {each.found:,}"


@pytest.mark.parametrize("name", shipped())
def test_every_incident_has_its_page_and_says_what_it_assumes(name):
    words = incident(name).words
    assert words.facts
    assert words.assumed
    assert words.title in (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"({name}.md)" in (PAGES / "index.md").read_text(encoding="utf-8")


def test_a_run_is_the_same_twice_and_claims_can_fail():
    one = incident("growth_cap_2026")
    runs = {stack: play(one, stack) for stack in (BARE, OURS)}
    assert play(one, BARE).verdict.digest == runs[BARE].verdict.digest
    wrong = Claim(stack=OURS, measure="accounts_liquidated", low=1, high=34, why="wrong on purpose")
    spoiled = replace(one, words=msgspec.structs.replace(one.words, claims=(wrong,)))
    assert not held(spoiled, runs)[0].holds


def test_the_stacks_are_not_the_same_and_share_what_is_common():
    for name in shipped():
        one = incident(name)
        bare, ours = one.declared(BARE), one.declared(OURS)
        assert msgspec.structs.replace(ours, name=BARE) != bare, name


def test_the_command_tells_claims_and_fails_where_one_does(capsys, tmp_path):
    assert run(["incident", "growth_cap_2026"]) == 0
    told = capsys.readouterr().out
    assert "A growth cap set wrong, 2026-03-10" in told
    assert "accounts_liquidated 34 (34)" in told
    assert run(["incident", "growth_cap_2026", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["growth_cap_2026"]
    assert shown["measures"]["bare"]["accounts_liquidated"] == 34
    here = Path(incident.__code__.co_filename).parent
    for kind in ("py", "toml"):
        text = (here / f"growth_cap_2026.{kind}").read_text(encoding="utf-8")
        mine = text.replace("low     = 34", "low     = 33").replace("high    = 34", "high    = 33")
        (tmp_path / f"mine.{kind}").write_text(mine, encoding="utf-8")
    assert run(["incident", str(tmp_path / "mine.py")]) == 1
    assert "FAILS" in capsys.readouterr().out


def test_what_is_no_incident_is_refused(capsys, tmp_path):
    assert run(["incident", "growth_cap_2025"]) == 2
    assert "one of black_thursday_2020" in capsys.readouterr().err
    empty = tmp_path / "empty.py"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="must define INCIDENT"):
        incident(str(empty))
    here = Path(incident.__code__.co_filename).parent
    (tmp_path / "mine.py").write_bytes((here / "growth_cap_2026.py").read_bytes())
    with pytest.raises(ConfigInvalid, match=r"mine\.toml.*No such file"):
        incident(str(tmp_path / "mine.py"))
    words = (here / "growth_cap_2026.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(words.replace('"ours"', '"theirs"'), encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="must name the stack bare or ours"):
        incident(str(tmp_path / "mine.py"))
