"""The margin's additions count: a stack file selects them, and a replay's effects change."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tidegate.cli.stacks import load_stack
from tidegate.domain.events import BookImported, Input, ParameterChanged
from tidegate.domain.units import SECOND, pack
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Replay
from tidegate.drivers.synthetic import make
from tidegate.engine.invariants import audit
from tidegate.safeguards.stack import SafeguardStack, Stack


DOCS = Path(__file__).parents[1] / "docs/concepts"
TIERED = """
[margin.instruments."*"]
tiers = [{ initial = 25_000, maintenance = 12_500 },
         { floor = 2_000_000_000, initial = 100_000, maintenance = 50_000 }]
"""
PARTS = {
    "group tiers": "[margin]\ngroup_tiers = true\n" + TIERED,
    "volatility": TIERED
    + "[margin.volatility]\ncover = 3_000_000\nhorizon_ns = 900_000_000_000\n"
    + "maintenance_share = 500_000\nbuffer = 250_000\n",
    "notice": TIERED + "[governance]\nnotice_ns = 30_000_000_000\n",
    "ramp": TIERED + "[governance]\nramp_ns = 60_000_000_000\n",
    "grace": TIERED + "[governance]\ngrace_ns = 60_000_000_000\n",
    "steps": TIERED + "[governance.step_max]\ntier_maintenance = 100\n",
}


def stack(text: str) -> SafeguardStack:
    return msgspec.toml.decode(f'name = "mine"\n{text}', type=SafeguardStack)


@pytest.fixture(scope="module")
def crash(tmp_path_factory) -> Recording:
    folder = tmp_path_factory.mktemp("margin") / "v"
    make(folder, accounts=100, seed=11, scenario="v_shape")
    return load(folder)


def weather(recording: Recording, seconds: int) -> Iterator[Input]:
    """Yield a crash of few people with many accounts, whose venue doubles maintenance halfway."""
    half, end = (recording.begins + n * SECOND for n in (seconds // 2, seconds))
    changes = [
        ParameterChanged(ts=half, name=f"maintenance.{i.symbol}.0", value=25_000)
        for i in recording.venue.instruments
    ]
    for event in recording.events():
        if event.ts > half:
            yield from changes
            changes = []
        if event.ts > end:
            return
        if isinstance(event, BookImported):
            people = np.arange(len(event.names)) // 8 * 8
            yield msgspec.structs.replace(event, owner=pack(people))
        else:
            yield event


def digest_of(recording: Recording, declared: SafeguardStack, seconds: int = 110) -> str:
    """Return the state's digest after a while."""
    run = Replay(recording=recording, stack=Stack.bind(declared, recording.venue))
    for event in weather(recording, seconds):
        run.until(event.ts)
        run._exogenous(event)
    audit(run.state)
    return run.state.digest()


def test_each_part_changes_what_happens(crash):
    plain = digest_of(crash, stack(TIERED))
    assert digest_of(crash, stack(TIERED)) == plain
    found = {name: digest_of(crash, stack(text)) for name, text in PARTS.items()}
    assert plain not in found.values(), [n for n, d in found.items() if d == plain]
    assert len(set(found.values())) == len(found)


def test_all_together_give_the_same_state_twice(crash):
    both = """
[margin]
group_tiers = true
[margin.volatility]
cover = 3_000_000
maintenance_share = 500_000
rate_min = 10_000
stressed = 100_000
stressed_weight = 250_000
[governance]
notice_ns = 5_000_000_000
ramp_ns = 20_000_000_000
grace_ns = 20_000_000_000
"""
    assert digest_of(crash, stack(both + TIERED)) == digest_of(crash, stack(both + TIERED))


def test_a_shipped_stack_is_neutral_in_all_of_them(crash):
    for name in ("neutral", "bare"):
        declared = load_stack(name)
        assert not declared.margin.group_tiers
        assert not declared.margin.volatility.cover
        assert not declared.governance.notice_ns
    run = Replay(recording=replace(crash), stack=Stack.bind(load_stack("bare"), crash.venue))
    run.run(stop_after=60 * SECOND)
    assert run.state.now <= crash.begins + 61 * SECOND
    assert {"charged", "pending.at"}.isdisjoint(dict(run.state.columns()))


@pytest.mark.parametrize("page", ["governance", "volatility-margin"])
def test_the_example_of_a_page_is_a_stack_file(page):
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.DOTALL)
    declared = stack(text)
    assert declared != stack("")
    assert any(line.startswith(("margin: opening", "governance:")) for line in declared.describe())
