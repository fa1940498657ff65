"""Governance from end to end: keys made, bodies signed offline, sent over HTTP, audited at last."""

import json
import stat
from contextlib import closing, contextmanager
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner

from crash_world import BEGIN, stack_of
from governed import FOUND
from service_world import KEYS, SetClock, service_of, site_of
from tidegate.adapters.advising import Advising, Switch
from tidegate.adapters.journal import SqliteJournal
from tidegate.adapters.memory import MemoryJournal
from tidegate.cli import journals
from tidegate.cli.govern import govern
from tidegate.domain.units import SECOND
from tidegate.drivers.live import identity
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.desk import Desk, listener
from tidegate.service.governance import Governance
from tidegate.service.governance_routes import routes
from tidegate.service.overrides import Overrides
from tidegate.service.reconcile import Reconciler
from tidegate.service.rules import Rules, Stopping
from tidegate.service.runner import Engine


STACK = stack_of()
NAME = "dust.BTC-PERP"
YEAR = 366 * 86_400 * SECOND
WAIT = 60


@contextmanager
def venue_of(folder, rules):
    """Yield a governed service: its client, desk, clock, loop-free calls and the journal."""
    clock, journal = SetClock(BEGIN + 3_600 * SECOND), MemoryJournal()
    switch = Switch(Advising(), mode="armed")
    engine = Engine(journal, STACK, switch, clock)
    governance, overrides = Governance.of(STACK), Overrides.of(STACK, mode="armed")
    engine.listen(listener(governance, overrides, switch.turn))
    engine.start()
    service = service_of(engine)
    desk = service.add(Desk(engine, governance, overrides, clock.now, switch.stop))
    service.add(Reconciler(STACK))
    try:
        with site_of(service, folder, routes=routes()) as client:
            yield SimpleNamespace(
                client=client, desk=desk, clock=clock, journal=journal, engine=engine, rules=rules
            )
    finally:
        engine.stop()


def run(coroutine):
    import asyncio  # noqa: PLC0415 - used here alone

    return asyncio.run(coroutine)


def called(*arguments):
    return CliRunner().invoke(govern, [str(a) for a in arguments])


@pytest.fixture
def people(tmp_path):
    """Return the rules of two governors whose keys were made by the command."""
    made = []
    for name in ("ann", "bob"):
        done = called("keygen", tmp_path / f"{name}.key", "--name", name)
        assert done.exit_code == 0, done.output
        assert stat.S_IMODE((tmp_path / f"{name}.key").stat().st_mode) == 0o600
        made.append(done.stdout)
    file = tmp_path / "governors.toml"
    file.write_text("threshold = 2\nlock_seconds = 60\n" + "\n".join(made))
    return file


def test_a_change_from_the_command_line_to_the_engine_and_its_audit(tmp_path, people):
    rules = Rules.load(people)
    with venue_of(tmp_path, rules) as v:
        run(v.desk.govern(rules))
        url = str(v.client.base_url)
        how = ("--url", url, "--token", KEYS["governor"], "--hours", 24 * 365 * 30)

        def signs(name):
            return ("--key", tmp_path / f"{name}.key", "--name", name)

        done = called("propose", "--id", "p", "--set", f"{NAME}=0:7", *signs("ann"), *how)
        assert done.exit_code == 0, done.output
        early = called("approve", "p", *signs("ann"), *how)
        assert early.exit_code != 0
        run(v.desk.shadow("p", FOUND, "nobody"))
        for name in ("ann", "bob"):
            done = called("approve", "p", *signs(name), *how)
            assert done.exit_code == 0, done.output
        twice = called("approve", "p", *signs("bob"), *how)
        assert "409" in twice.output
        now = v.client.get("/v1/proposals/p", headers=viewer()).json()
        assert (now["state"], now["needed"], set(now["approvals"])) == (
            "waiting",
            2,
            {"ann", "bob"},
        )
        v.clock.time += 61 * SECOND
        assert run(v.desk.tick()) == ["activate:p"]
        now = json.loads(called("status", "--url", url, "--token", KEYS["viewer"]).stdout)
        assert [p["state"] for p in now["proposals"]] == ["activated"]
        back = called("propose", "--id", "back", "--undo", "p", *signs("bob"), *how)
        assert back.exit_code == 0, back.output
        assert v.client.get("/v1/proposals/no", headers=viewer()).status_code == 404
        records = list(v.journal.read())
    audits(tmp_path, people, records)


def viewer(role="viewer"):
    return {"Authorization": f"Bearer {KEYS[role]}"}


def audits(folder, people, records):
    """Audit the journal as it is, then as somebody with the database would have it."""
    forged = [
        Record(r.seq, msgspec.structs.replace(r.event, value=8), r.effects)
        if type(r.event).__name__ == "ParameterProposed"
        else r
        for r in records
    ]
    for name, kept, code in (("honest", records, 0), ("forged", forged, 1)):
        file = folder / f"{name}.journal"
        with closing(SqliteJournal(file)) as journal:
            journal.claim(identity(STACK))
            journal.append(kept)
        made = journals.Made(
            tidegate="x",
            recording="x",
            recording_digest="x",
            stack=Stack.bind(STACK.declaration, STACK.venue).declaration,
            venue=STACK.venue,
        )
        journals.made_file(file).write_bytes(msgspec.json.encode(made))
        done = CliRunner().invoke(
            govern,
            ["audit", str(file), "--governors", str(people), "--json"],
            standalone_mode=False,
        )
        assert done.return_value == code, done.output
        found = json.loads(done.stdout)
        assert {f["code"] for f in found["findings"]} == (
            {"parameter_without_approval"} if code else set()
        )
    words = CliRunner().invoke(govern, ["audit", str(folder / "honest.journal")])
    assert "nothing was found" in words.stdout
    assert "give --governors" in words.stdout


def test_bodies_are_signed_offline(tmp_path, people):
    del people
    done = called(
        *("propose", "--id", "p", "--set", f"{NAME}=0:7", "--venue", "v", "--stack", "s"),
        *("--after", 5, "--key", tmp_path / "ann.key", "--name", "ann"),
    )
    assert done.exit_code == 0, done.output
    sent = json.loads(done.stdout)
    body = json.loads(sent["body"])
    assert (body["venue"], body["stack"], body["after"], sent["signer"]) == ("v", "s", 5, "ann")
    assert (
        called("propose", "--id", "p", "--key", tmp_path / "ann.key", "--name", "x").exit_code == 2
    )
    bad = called(
        *("propose", "--id", "p", "--set", "x=7", "--venue", "v", "--stack", "s"),
        *("--key", tmp_path / "ann.key", "--name", "ann"),
    )
    assert "NAME=BEFORE:VALUE" in bad.output


def test_brakes_over_http(tmp_path, people):
    """Without keys of their own, the two persons are the two keys that call."""
    rules = msgspec.structs.replace(Rules.load(people), overrides=Stopping(alone_seconds=60))
    with venue_of(tmp_path, rules) as v:
        run(v.desk.govern(rules))
        ours = {"venue": STACK.venue.name, "stack": identity(STACK), "version": 1}
        body = {
            **ours,
            "action": "override",
            "after": -1,
            "alone": True,
            "by": "the-operator",
            "expires": 2**61,
            "mode": "halted",
            "override": "halt",
            "pauses": ["pause.open.BTC-PERP"],
            "reason": "",
            "reduces": False,
            "resumes": [],
        }
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        sent = {"signer": "the-operator", "body": text}
        post = "/v1/overrides"
        assert v.client.post(post, json=sent, headers=viewer()).status_code == 403
        other = {"signer": "somebody", "body": text}
        assert v.client.post(post, json=other, headers=viewer("operator")).status_code == 403
        broken = {"signer": "the-operator", "body": text + " "}
        refused = v.client.post(post, json=broken, headers=viewer("operator"))
        assert (refused.status_code, refused.json()["code"]) == (409, "body_not_canonical")
        done = v.client.post(post, json=sent, headers=viewer("operator"))
        assert done.status_code == 200, done.text
        now = v.client.get(post, headers=viewer()).json()
        assert (now["mode"], now["overrides"][0]["state"]) == ("halted", "alone")
        assert v.engine.mode == "halted"
        own = {**ours, "action": "confirm", "after": -1, "by": "the-operator", "expires": 2**61}
        own |= {"override": "halt", "digest": now["overrides"][0]["digest"]}
        text = json.dumps(own, sort_keys=True, separators=(",", ":"))
        sent = {"signer": "the-operator", "body": text}
        path = f"{post}/halt/confirm"
        again = v.client.post(path, json=sent, headers=viewer("operator"))
        assert again.status_code == 409
        wrong = v.client.post(f"{post}/other/confirm", json=sent, headers=viewer("operator"))
        assert wrong.status_code == 422
        v.clock.time += 61 * SECOND
        assert run(v.desk.tick()) == ["lapse:halt"]
        assert v.client.get(post, headers=viewer()).json()["mode"] == "armed"
        assert v.engine.mode == "armed"


def test_reconciliation_over_http(tmp_path, people):
    with venue_of(tmp_path, Rules.load(people)) as v:
        event = {"type": "account", "name": "alice"}
        deposit = {"type": "deposit", "account": "alice", "amount": "5"}
        body = {"events": [event, deposit]}
        assert v.client.post("/v1/events", json=body, headers=viewer("feed")).status_code == 200
        ask = {"seq": 1, "accounts": ["alice"], "cash": ["6"]}
        for alarm in (False, True):
            found = v.client.post("/v1/reconcile", json=ask, headers=viewer("operator")).json()
            assert (found["differences"], found["worth"], found["alarm"]) == (1, 1.0, alarm)
        events = v.client.get("/v1/reconcile/corrections", headers=viewer("operator")).json()
        assert [c["event"] for c in events["corrections"]] == [
            {"type": "deposit", "account": "alice", "amount": "1.000000"}
        ]
        bad = v.client.post("/v1/reconcile", json=ask | {"seq": 99}, headers=viewer("operator"))
        assert bad.status_code == 422
