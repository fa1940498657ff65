"""The checks over a real server: the engine's answer, its refusals, and trials of parameters."""

import asyncio
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from crash_world import stack_of
from service_world import KEYS, engine_of, service_of, site_of
from tidegate.api import asks
from tidegate.api.checks import ParameterChange, ShadowAsk
from tidegate.lab.marginal import copy_for_base
from tidegate.lab.tail_model import TailModel
from tidegate.service.check_routes import proposal_routes, routes
from tidegate.service.checks import JUDGING_MAX, Checks
from tidegate.service.desk import Desk as Governing
from tidegate.service.pretrade import Desk, PreTradeSettings
from tidegate.service.rules import Change
from tidegate.service.runner import Busy, Stopped
from tidegate.service.shadowrun import ShadowRuns


GOVERNOR = {"Authorization": f"Bearer {KEYS['governor']}"}
VIEWER = {"Authorization": f"Bearer {KEYS['viewer']}"}
ORDER = {
    "type": "trade",
    "instrument": "BTC-PERP",
    "taker": "ann",
    "quantity": "0.1",
    "price": "100000",
}


async def warmed(checks, service):
    """Let every kernel be compiled before a client waits for it."""
    await checks.refresh()
    order = service.door.prepare(
        asks.Trade(instrument="BTC-PERP", taker="ann", quantity="1", price="1")
    )
    await checks.pretrade(lambda seen: order.build(seen.names, seen.state.now))
    await checks.shadow(ShadowAsk(changes=[ParameterChange(name="dust.BTC-PERP", value=1)], days=0))


@contextmanager
def world(tmp_path, **limits):
    """Yield a client of a service with one rich account, and its checks."""
    stack = stack_of()
    runs = ShadowRuns(stack, str(tmp_path / "journal.db"), tmp_path / "trials")
    try:
        with engine_of(stack=stack) as engine:
            service = service_of(engine)
            desk = Desk(
                stack,
                PreTradeSettings(model=TailModel(scenarios=256, volatility_min=100_000), **limits),
            )
            checks = service.add(Checks(engine, desk, runs))
            engine.offer(
                service.door.prepare_all(
                    [
                        asks.Account(name="ann"),
                        asks.Deposit(account="ann", amount="100000"),
                        asks.Price(instrument="BTC-PERP", source="index", price="100000"),
                    ]
                ),
                source="test",
            ).result(120)  # kernels may have to be compiled
            asyncio.run(warmed(Checks(engine, Desk(stack, desk.settings), runs), service))
            attached, full = [], [1]

            async def shadow(proposal, found, words):
                if full:
                    full.pop()
                    raise Busy
                attached.append((proposal, found, words))

            body = SimpleNamespace(changes=[Change(name="penalty.BTC-PERP", before=0, value=7)])
            held = SimpleNamespace(proposals={"p1": SimpleNamespace(body=body)})
            service.parts[Governing] = SimpleNamespace(governance=held, shadow=shadow)
            with site_of(service, tmp_path, routes=[*routes(), *proposal_routes()]) as client:
                yield client, checks, attached
    finally:
        runs.close()


def test_an_order_is_judged_over_http(tmp_path):
    with world(tmp_path, es_add_max=1.0) as (client, checks, _):
        first = client.post("/v1/pretrade", json={"order": ORDER}, headers=VIEWER)
        assert first.status_code == 200, first.text
        assert [r["code"] for r in first.json()["reasons"]] == ["tail_unknown"]
        assert asyncio.run(checks.refresh())
        second = client.post("/v1/pretrade", json={"order": ORDER}, headers=VIEWER).json()
        assert second["allowed"]
        assert second["tail"]["stale"] == []
        assert second["accounts"][0]["account"] == "ann"
        assert second["accounts"][0]["equity"] == "100000"
        large = ORDER | {"quantity": "9"}
        third = client.post("/v1/pretrade", json={"order": large}, headers=VIEWER).json()
        assert not third["allowed"]
        assert "adds_to_tail" in [r["code"] for r in third["reasons"]]
        assert third["tail"]["added"] > 1.0
        cash = {"type": "withdrawal", "account": "ann", "amount": "100001"}
        fourth = client.post("/v1/pretrade", json={"order": cash}, headers=VIEWER).json()
        assert fourth["reasons"][0]["code"]


@pytest.mark.parametrize(
    ("order", "status"),
    [
        (ORDER | {"instrument": "DOGE"}, 422),
        (ORDER | {"price": "1.05"}, 422),
        (ORDER | {"quantity": "1e9"}, 422),
        ({"type": "price", "instrument": "BTC-PERP", "source": "index", "price": "1"}, 422),
        (ORDER | {"taker": "nobody"}, 200),
        (ORDER | {"maker": "ann"}, 200),
        (ORDER | {"quantity": "0"}, 200),
        (ORDER | {"ts": 0}, 200),
        (ORDER | {"ts": 2**62}, 200),
        (ORDER | {"quantity": "999999999"}, 200),
    ],
)
def test_bad_orders_are_refused_with_words(tmp_path, order, status):
    with world(tmp_path) as (client, checks, _):
        checks.desk.renew(copy_for_base(checks._engine._crank.state))
        found = client.post("/v1/pretrade", json={"order": order}, headers=VIEWER)
        assert found.status_code == status, found.text
        if status == 200:
            assert found.json()["reasons"] or order.get("ts") is not None


def test_changes_are_tried_over_http(tmp_path):
    with world(tmp_path) as (client, _, attached):
        change = {"name": "penalty.BTC-PERP", "value": 7}
        ask = {"changes": [change], "days": 0}
        assert client.post("/v1/shadowruns", json=ask, headers=VIEWER).status_code == 403
        found = client.post("/v1/shadowruns", json=ask, headers=GOVERNOR)
        assert (found.status_code, found.json()["status"]) == (202, "done"), found.text
        trial = found.json()["trial"]
        shown = client.get(f"/v1/shadowruns/{trial}", headers=VIEWER).json()
        assert shown["digest"] == found.json()["digest"]
        assert client.get("/v1/shadowruns", headers=VIEWER).json()[0]["trial"] == trial
        assert client.get("/v1/shadowruns/nothing", headers=VIEWER).status_code == 404
        gone = client.delete(f"/v1/shadowruns/{trial}", headers=GOVERNOR).json()
        assert gone["status"] == "done"
        wrong = {"changes": [{"name": "penalty.DOGE", "value": 7}], "days": 0}
        refused = client.post("/v1/shadowruns", json=wrong, headers=GOVERNOR)
        assert refused.status_code == 422
        assert "penalty." in refused.json()["hint"]
        none = client.post("/v1/proposals/p2/shadow", json={"days": 0}, headers=GOVERNOR)
        assert none.status_code == 404
        tried = client.post("/v1/proposals/p1/shadow", json={"days": 0}, headers=GOVERNOR)
        assert tried.status_code == 202
        again = client.get("/v1/proposals/p1/shadow", headers=VIEWER).json()
        assert again["trial"] == trial, "the same changes of the same book are one trial"
        end = time.monotonic() + 10
        while not attached:
            assert time.monotonic() < end
            time.sleep(0.01)
        proposal, digest, words = attached[0]
        assert (proposal, digest) == ("p1", again["digest"])
        assert "0 accounts liquidated only by it" in words


def test_a_name_that_is_no_trial_s_is_not_found(tmp_path):
    with world(tmp_path) as (client, _, _):
        for name in ("a" * 300, "0" * 32, "%00", "..%2Fkeys"):
            assert client.get(f"/v1/shadowruns/{name}", headers=VIEWER).status_code == 404


def test_what_waits_to_be_judged_is_bounded(tmp_path):
    with world(tmp_path) as (client, checks, _):
        checks._judging = JUDGING_MAX
        full = client.post("/v1/pretrade", json={"order": ORDER}, headers=VIEWER)
        assert (full.status_code, full.json()["code"]) == (503, "busy")
        assert full.headers["Retry-After"]
        checks._judging = 0
        assert client.post("/v1/pretrade", json={"order": ORDER}, headers=VIEWER).is_success
        assert checks._judging == 0


def test_a_base_that_cannot_be_made_ends_nothing(tmp_path, monkeypatch):
    with world(tmp_path) as (_, checks, _):
        tried = []

        async def refresh():
            tried.append(1)
            if len(tried) > 2:
                raise Stopped
            raise ValueError

        monkeypatch.setattr(checks, "refresh", refresh)
        monkeypatch.setattr("tidegate.service.checks.LOOK_EVERY_S", 0.0)
        with pytest.raises(Stopped):
            asyncio.run(checks.keep())
        assert len(tried) == 3


def test_trials_in_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("tidegate.service.shadowrun.KEPT_MAX", 2)
    with world(tmp_path) as (client, checks, _):
        for value in (7, 8, 9):
            asked = {"changes": [{"name": "penalty.BTC-PERP", "value": value}], "days": 0}
            begun = client.post("/v1/shadowruns", json=asked, headers=GOVERNOR)
            assert begun.status_code == 202, begun.text
        assert len(checks.runs.all()) == 2
