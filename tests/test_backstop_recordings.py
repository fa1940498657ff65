"""Providers and depositors of a recording: from files to events, and a crash with and without."""

import hashlib
from dataclasses import replace
from importlib.resources import as_file, files
from itertools import takewhile

import msgspec
import pyarrow as pa
import pytest

from recordings import VENUE, at, tables
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import TakenOver
from tidegate.domain.errors import ConfigInvalid, RecordingInvalid
from tidegate.domain.events import CommitmentMade, PoolJoined, PoolLeft
from tidegate.domain.units import SECOND
from tidegate.drivers.recording import Recording, load, write_recording
from tidegate.drivers.replay import Replay
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Meter
from tidegate.safeguards.backstop import Backstop
from tidegate.safeguards.stack import SafeguardStack, Stack


COMMITMENTS = {
    "ts": at(1, 1),
    "seq": [0, 1],
    "account": ["ann", "bob"],
    "instrument": ["BTC-PERP", "BTC-PERP"],
    "long_max": [1.5, 0.0],
    "short_max": [0.0, 0.002],
    "discount": [5_000, 7_000],
    "slope": [0, 1_000],
}


def written(folder, **changes) -> Recording:
    commitments = pa.table(COMMITMENTS | changes)
    write_recording(folder, VENUE, tables() | {"commitments": commitments})
    return load(folder)


def test_commitments_become_events(tmp_path):
    made = [e for e in written(tmp_path).events() if isinstance(e, CommitmentMade)]
    facts = [(e.account - FIRST_USER, e.long_max, e.short_max, e.discount, e.slope) for e in made]
    assert facts == [(0, 1_500, 0, 5_000, 0), (1, 0, 2, 7_000, 1_000)]
    assert [e.ts for e in made] == at(1, 1)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"account": ["ann", "nobody"]}, "row 1"),
        ({"instrument": ["ETH", "BTC-PERP"]}, "row 0"),
        ({"instrument": ["BTC-PERP", "XRP"]}, "row 1"),
        ({"long_max": [1.0005, 0.0]}, "row 0"),
        ({"long_max": [-1.0, 0.0]}, "row 0"),
        ({"discount": [-1, 0]}, "row 0"),
        ({"slope": [0, 993_001]}, "row 1"),
        ({"seq": [1, 1]}, "row 1"),
    ],
)
def test_a_commitment_that_cannot_be_is_refused_with_its_row(tmp_path, changes, where):
    with pytest.raises(RecordingInvalid) as error:
        written(tmp_path, **changes)
    assert error.value.where.startswith("commitments.parquet")
    assert where in error.value.where


def with_flows(folder, *rows) -> Recording:
    """Write a recording whose flows are (account, kind, quantity, asset) only, a second apart."""
    flows = pa.table(
        {
            "ts": at(*range(1, len(rows) + 1)),
            "seq": list(range(len(rows))),
            "account": [r[0] for r in rows],
            "kind": [r[1] for r in rows],
            "asset": [r[3] for r in rows],
            "quantity": [r[2] for r in rows],
        }
    )
    kept = {name: tables()[name] for name in ("prices", "accounts")}
    write_recording(folder, VENUE, kept | {"flows": flows})
    return load(folder)


def test_depositors_join_and_leave(tmp_path):
    events = with_flows(
        tmp_path, ("ann", "join", 10.5, None), ("ann", "leave", 4.0, "USD")
    ).events()
    moved = [e for e in events if isinstance(e, (PoolJoined, PoolLeft))]
    assert [(type(e), e.account - FIRST_USER, e.amount) for e in moved] == [
        (PoolJoined, 0, 10_500_000),
        (PoolLeft, 0, 4_000_000),
    ]


def test_only_cash_is_pooled_and_nobody_appears_by_leaving(tmp_path):
    with pytest.raises(RecordingInvalid, match="only cash"):
        with_flows(tmp_path, ("ann", "join", 1.0, "ETH"))
    with pytest.raises(RecordingInvalid, match="must begin otherwise"):
        with_flows(tmp_path, ("zoe", "leave", 1.0, None))


def rows_needed(folder, extra: dict[str, pa.Table]) -> int:
    """Return how many position rows a recording asks for, from the refusal of too few."""
    tight = msgspec.structs.replace(VENUE.limits, positions_max=1)
    venue = msgspec.structs.replace(VENUE, limits=tight)
    write_recording(folder, venue, tables() | extra)
    with pytest.raises(RecordingInvalid) as error:
        load(folder)
    return int(error.value.hint.split()[2].replace("_", ""))


def test_what_may_be_taken_over_needs_rows(tmp_path):
    """A provider's position has a row before the first event, and so has what a pool pays out."""
    before = rows_needed(tmp_path, {})
    known = pa.table(COMMITMENTS)  # both hold the contract already
    assert rows_needed(tmp_path, {"commitments": known}) == before
    fresh = pa.table(COMMITMENTS | {"account": ["dora", "eve"]})
    assert rows_needed(tmp_path, {"commitments": fresh}) == before + 2
    flows = pa.table(
        {
            "ts": at(1, 2),
            "seq": [0, 1],
            "account": ["bob", "ann"],  # the first has none of the asset, the second some
            "kind": ["join", "join"],
            "quantity": [1.0, 1.0],
        }
    )
    assert (
        rows_needed(tmp_path, {"flows": flows}) == rows_needed(tmp_path, {"flows": flows[:0]}) + 1
    )


# ------------------------------------------------------------------ a whole crash


@pytest.fixture(scope="module")
def crash(tmp_path_factory) -> Recording:
    folder = tmp_path_factory.mktemp("crash") / "backed"
    make(folder, accounts=150, seed=7, providers=3)
    return load(folder)


@pytest.fixture(scope="module")
def backed() -> SafeguardStack:
    with as_file(files("tidegate.stacks") / "backstop.toml") as path:
        return SafeguardStack.load(path)


def first_minutes(recording: Recording, declaration: SafeguardStack):
    """Return state and verdict after the first minutes of a crash, and the fills of providers."""
    stack = Stack.bind(declaration, recording.venue)
    meter, fills = Meter(stack), []

    def watch(seq, event, effects, state, impact):
        meter.observe(seq, event, effects, state, impact)
        fills.extend(e for e in effects if isinstance(e, TakenOver))

    turning = Replay(recording=recording, stack=stack, observers=(watch,))
    until = recording.begins + 240 * SECOND
    for event in takewhile(lambda e: e.ts <= until, recording.events()):
        turning.until(event.ts)
        turning._exogenous(event)
    return turning.state, meter.verdict(turning.state), fills


def test_a_backstop_changes_what_happens_and_its_neutral_setting_does_not(crash, backed):
    """The safeguard counts: selected by a stack file, it takes positions over in a replay."""
    plain = msgspec.structs.replace(backed, backstop=Backstop())
    state, verdict, fills = first_minutes(crash, backed)
    without, bare, none = first_minutes(crash, plain)
    assert fills
    assert not none
    assert verdict.backstop_volume > 0 == bare.backstop_volume
    assert verdict.backstop_forgone > 0
    assert state.digest() != without.digest()


def test_a_crash_without_providers_is_the_crash_of_before(tmp_path):
    for name, extra in (("a", {}), ("b", {"providers": 0})):
        make(tmp_path / name, accounts=120, seed=1, **extra)
    a, b = (
        {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (tmp_path / n).iterdir()}
        for n in "ab"
    )
    assert a == b
    assert "commitments.parquet" not in a


def test_providers_come_after_everybody_and_can_carry_what_they_commit(crash):
    assert crash.names[-1] != "provider-00"  # sub-accounts of isolated positions come last
    assert [n for n in crash.names if n.startswith("provider")] == [
        f"provider-{k:02d}" for k in range(3)
    ]
    with as_file(files("tidegate.stacks") / "backstop.toml") as path:
        stack = Stack.bind(SafeguardStack.load(path), crash.venue)
    turning = Replay(recording=replace(crash), stack=stack)
    until = crash.begins + 2 * SECOND
    for event in takewhile(lambda e: e.ts <= until, crash.events()):
        turning.until(event.ts)
        turning._exogenous(event)
    assert turning.state.backing.counts[0] == 15


def test_too_many_providers_are_refused(tmp_path):
    for count in (-1, 65):
        with pytest.raises(ConfigInvalid, match="providers"):
            make(tmp_path, accounts=100, seed=1, providers=count)
