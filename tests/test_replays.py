"""The replay room: what it answers is what the command line says, and nothing leads out of it."""

import json
import shutil
import time

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from service_world import KEYS, engine_of, service_of, site_of
from tidegate.api.replaying import Frames, ReplayAsk
from tidegate.cli.main import app
from tidegate.domain.errors import AskInvalid, TidegateError
from tidegate.domain.units import PPM, SECOND
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay
from tidegate.drivers.shelf import load_shipped
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Meter
from tidegate.safeguards.stack import Stack
from tidegate.service import replay_routes, replays
from tidegate.service.calls import NotFound
from tidegate.service.filming import Camera, step_of
from tidegate.service.replays import Replays
from tidegate.service.runner import Busy
from tidegate.service.shelf import DEPTH_MAX, Recordings


NAME = "crashes/gap"
STACKS = ["bare", "neutral"]
SPAN = 80 * SECOND  # of the recording: the gap is behind it, and what it forces
PATIENCE = 300  # the process may have to compile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one good recording, a spoilt one, and a link to one outside."""
    root = tmp_path_factory.mktemp("room")
    good = root / "recordings" / NAME
    make(good, accounts=100, seed=3, scenario="gap")
    prices = pq.read_table(good / "prices.parquet")
    ts = prices["ts"].to_numpy()
    pq.write_table(prices.filter(ts < ts[0] + SPAN), good / "prices.parquet")
    shutil.copytree(root / "recordings" / NAME, root / "recordings/spoilt")
    (root / "recordings/spoilt/prices.parquet").write_bytes(b"no parquet")
    shutil.copytree(root / "recordings" / NAME, root / "outside")
    (root / "recordings/away").symlink_to(root / "outside")
    return root


def room_of(folder, state, **options):
    ticks = iter(range(1, 1_000))
    return Replays(folder / "recordings", state, now=lambda: next(ticks), **options)


def ended(room, name):
    until = time.monotonic() + PATIENCE
    while (now := room.get(name)).state == "running":
        assert time.monotonic() < until, now
        time.sleep(0.05)
    return now


@pytest.fixture(scope="module")
def done(folder):
    """A replay of the recording under two stacks, finished; and the room's folder."""
    state = folder / "state"
    room = room_of(folder, state)
    try:
        now = ended(room, room.ask(ReplayAsk(recording=NAME, stacks=STACKS)).id)
        rows = {s: room.frames(now.id, s, 0, 5_000) for s in STACKS}
    finally:
        room.close()
    assert now.state == "done", now.detail
    return now, rows


# What it says -----------------------------------------------------------------------------------


def test_the_verdict_is_that_of_the_command_line(done, folder):
    now, _ = done
    wanted = [f"--stack={name}" for name in STACKS]
    path = str(folder / "recordings" / NAME)
    said = CliRunner().invoke(app, ["replay", path, *wanted, "--json", "--no-shock"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)["stacks"]
    assert len(now.verdict) == 20
    for row in now.verdict:
        assert row.values == {name: told[name][row.key] for name in STACKS}
    assert any(row.values["bare"] != row.values["neutral"] for row in now.verdict)


def test_rows_add_up_to_the_verdict(done):
    now, rows = done
    values = {row.key: row.values for row in now.verdict}
    for name, frames in rows.items():
        assert len(set(map(len, columns(frames)))) == 1
        assert frames.ts == sorted(set(frames.ts))
        assert now.begin < frames.ts[0] < frames.ts[-1]
        assert frames.ts[-1] >= now.end
        assert sum(frames.forced) == pytest.approx(values["forced_volume"][name])
        assert frames.bad_debt[-1] == values["bad_debt"][name]
        assert max(frames.branching) == pytest.approx(values["peak_branching_ratio"][name])
        assert any(frames.in_flight)
        assert len(frames.ts) <= now.frames
    assert max(len(frames.ts) for frames in rows.values()) == now.frames


def columns(frames):
    return [frames.ts, *frames.marks.values(), frames.rung, frames.fund, frames.deleveraged]


def test_a_longer_recording_gets_rows_further_apart(folder, monkeypatch):
    recording = load(folder / "recordings" / NAME)
    monkeypatch.setattr("tidegate.service.filming.ROWS_MAX", 12)
    stack = Stack.bind(load_shipped("bare"), recording.venue)
    meter = Meter(stack)
    camera = Camera(stack, meter, step_of(recording))
    run = Replay(recording=recording, stack=stack, observers=[meter.observe, camera.observe])
    run.run()
    camera.last(run.state)
    rows = camera.taken()
    assert 6 <= len(rows.ts) <= 14
    assert sum(rows.forced) * PPM == pytest.approx(meter.forced)
    assert camera.taken().ts == []


# Keeping, ending --------------------------------------------------------------------------------


def test_what_is_finished_survives_a_restart_and_is_not_done_again(done, folder):
    now, rows = done
    room = room_of(folder, folder / "state")
    assert room.all() == [now]
    for name in STACKS:
        assert room.frames(now.id, name, 0, 5_000) == rows[name]
    again = room.ask(ReplayAsk(recording=NAME, stacks=STACKS))
    assert again == now
    assert not room._threads  # nobody had to work
    assert room.frames(now.id, "bare", 3, 2).ts == rows["bare"].ts[3:5]
    assert room.frames(now.id, "bare", now.frames, 2).ts == []


def test_damaged_rows_are_thrown_away_and_said(done, folder, tmp_path):
    shutil.copytree(folder / "state", tmp_path / "state")
    now, _ = done
    file = tmp_path / "state" / f"{now.id}.frames"
    file.write_bytes(file.read_bytes()[:-1])
    room = room_of(folder, tmp_path / "state")
    with pytest.raises(NotFound, match="damaged"):
        room.frames(now.id, "bare", 0, 10)
    assert room.all() == []


def test_one_that_runs_is_ended_and_those_that_wait_are_bounded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(replays, "WAITING_MAX", 1)
    room = room_of(folder, tmp_path)
    try:
        first = room.ask(ReplayAsk(recording=NAME, stacks=["guarded"]))
        second = room.ask(ReplayAsk(recording=NAME, stacks=["guarded", "bare"]))
        assert second.id != first.id
        with pytest.raises(Busy):
            room.ask(ReplayAsk(recording=NAME, stacks=["bare"]))
        assert [now.id for now in room.all()] == [second.id, first.id]
        began = time.monotonic()
        room.remove(second.id)
        room.remove(first.id)
        assert room.all() == []
    finally:
        room.close()
    assert time.monotonic() - began < 20
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_changed_meanwhile_fails_with_words(folder, tmp_path, monkeypatch):
    room = room_of(folder, tmp_path)
    get = Recordings.get

    def stale(self, name):
        held = get(self, name)
        return held._replace(now=type(held.now)(**{**fields(held.now), "digest": "other"}))

    monkeypatch.setattr(Recordings, "get", stale)
    try:
        now = ended(room, room.ask(ReplayAsk(recording=NAME, stacks=["bare"])).id)
    finally:
        room.close()
    assert now.state == "failed"
    assert "has changed" in now.detail
    assert now.verdict == []


def fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


# The folder -------------------------------------------------------------------------------------


def test_the_shelf_holds_what_lies_below_and_says_what_is_wrong(folder, tmp_path):
    shelf = room_of(folder, tmp_path).shelf()
    assert [r.name for r in shelf.recordings] == [NAME]
    (one,) = shelf.recordings
    made = load(folder / "recordings" / NAME)
    assert (one.digest, one.events, one.begin, one.end) == (
        made.digest,
        made.n_events,
        made.begins,
        made.ends,
    )
    assert [r.name for r in shelf.refused] == ["spoilt"]
    assert "prices.parquet" in shelf.refused[0].error
    assert "guarded" in shelf.stacks


@pytest.mark.parametrize(
    "name", ["../outside", "away", "/etc", f"crashes/../{NAME}", ".", "crashes", NAME + "/", ""]
)
def test_no_name_leads_out_of_the_folder(name, folder):
    with pytest.raises(NotFound):
        Recordings(folder / "recordings").get(name)


def test_a_spoilt_recording_is_refused_and_read_again_once_it_changes(folder, tmp_path):
    shutil.copytree(folder / "recordings", tmp_path / "recordings", symlinks=True)
    shelf = Recordings(tmp_path / "recordings")
    with pytest.raises(TidegateError, match="prices"):
        shelf.get("spoilt")
    for file in (tmp_path / "recordings" / NAME).iterdir():
        shutil.copy(file, tmp_path / "recordings/spoilt")
    assert shelf.get("spoilt").now.digest == shelf.get(NAME).now.digest
    deep = tmp_path / "recordings" / "/".join("abcdefg"[: DEPTH_MAX + 1])
    shutil.copytree(tmp_path / "recordings" / NAME, deep)
    assert len(shelf.look()[0]) == 2  # that one lies too deep


def test_a_recording_that_is_too_large_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr("tidegate.service.shelf.BYTES_MAX", 1_000)
    with pytest.raises(TidegateError, match="at most 1,000"):
        Recordings(folder / "recordings").get(NAME)


@pytest.mark.parametrize(
    "stacks", [["bare", "bare"], ["nobody"], ["../stacks/bare"], ["bare.toml"]]
)
def test_only_shipped_stacks_and_each_once(stacks, folder, tmp_path):
    with pytest.raises(AskInvalid, match="stacks"):
        room_of(folder, tmp_path).ask(ReplayAsk(recording=NAME, stacks=stacks))


# Over HTTP --------------------------------------------------------------------------------------


def test_over_http_it_answers_as_the_dashboard_asks(done, folder, tmp_path):
    now, rows = done
    with engine_of() as engine:
        service = service_of(engine)
        room = service.add(room_of(folder, folder / "state"))
        with site_of(service, tmp_path, rows=lambda _: replay_routes.routes()) as client:

            def call(method, path, role="viewer", **more):
                headers = {"Authorization": f"Bearer {KEYS[role]}"}
                return client.request(method, path, headers=headers, **more)

            shelf = call("GET", "/v1/recordings").json()
            assert shelf["recordings"][0]["name"] == NAME
            assert call("GET", "/v1/replays").json()[0]["id"] == now.id
            told = call("GET", f"/v1/replays/{now.id}").json()
            assert (told["state"], told["progress"], told["stacks"]) == ("done", 1.0, STACKS)
            page = call("GET", f"/v1/replays/{now.id}/frames?stack=bare&after=2&limit=3").json()
            assert page["ts"] == rows["bare"].ts[2:5]
            assert set(page) == set(Frames.__struct_fields__)
            body = {"recording": NAME, "stacks": STACKS}
            assert call("POST", "/v1/replays", json=body).status_code == 403
            begun = call("POST", "/v1/replays", "operator", json=body)
            assert (begun.status_code, begun.json()) == (202, {"id": now.id})
            room.anybody = True
            assert call("POST", "/v1/replays", json=body).json() == {"id": now.id}
            for path, status in (
                (f"/v1/replays/{now.id}/frames?stack=nobody", 404),
                (f"/v1/replays/{now.id}/frames?stack=bare&limit=0", 422),
                (f"/v1/replays/{now.id}/frames?stack=bare&after=-1", 422),
                ("/v1/replays/nothing", 404),
                ("/v1/replays/..%2F..%2Fx", 404),
            ):
                assert call("GET", path).status_code == status, path
            lost = {"recording": "../outside", "stacks": STACKS}
            assert call("POST", "/v1/replays", json=lost).status_code == 404
            assert call("DELETE", f"/v1/replays/{now.id}").status_code == 403
            room._folder = tmp_path  # the module's folder is left alone
            assert call("DELETE", f"/v1/replays/{now.id}", "operator").status_code == 200
            assert call("GET", "/v1/replays").json() == []
