"""The example keeper at work: real servers, real money of the ledger, and bots that compete."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.desk import flat, perp, rules, stack_of, venue_of
from tests.sales import FUNDED, SALE
from websockets.exceptions import InvalidStatus

from service_world import served
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.api.asks import Bid, Take
from tidegate.client import Client, Refused, follow
from tidegate.client.keeper import Keeper, Memory
from tidegate.domain.book import EXTERNAL, FUND, TREASURY
from tidegate.domain.events import BookImported, ClockTicked, PriceObserved
from tidegate.domain.units import SECOND, Nanos, pack
from tidegate.engine.invariants import audit
from tidegate.safeguards.auctions import BatchRoute, SealedRoute
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.service.app import build
from tidegate.service.audit import AuditLog
from tidegate.service.auth import KeyRing, Keys, new_key, write_keys
from tidegate.service.door import Door
from tidegate.service.intake_routes import routes as intake
from tidegate.service.layers import layered
from tidegate.service.read_routes import equip, routes, socket_routes
from tidegate.service.runner import Engine
from tidegate.service.service import Service
from tidegate.service.streams import Hub
from tidegate.service.tickets import Tickets


BOT = Path(__file__).parents[1] / "examples/keeper_bot.py"
PATIENCE = 60
BOND = 1_000_000
CASH = 10**11
NAMES = ("debtor", "alice", "bob", "carol")
# A price that falls by a per cent a second from the mark; windows long enough for a busy machine.
ROUTES = {
    "dutch": msgspec.structs.replace(SALE, buffer=0),
    "batch": BatchRoute(window_ns=1_500_000_000, life_ns=60 * SECOND, floor=50_000),
    "sealed": SealedRoute(
        window_ns=2 * SECOND,
        reveal_ns=1_500_000_000,
        jitter_ns=200_000_000,
        life_ns=60 * SECOND,
        floor=50_000,
        bond=BOND,
    ),
}
MARGINS = {"alice": Decimal("0.005"), "bob": Decimal("0.015")}
BUDGETS = {"alice": Decimal(5_000), "bob": Decimal(50_000)}


class WallClock:
    def now(self):
        return Nanos(time.time_ns())


class Market:
    """A service that sells; prices and the time are told ten times a second."""

    def __init__(self, engine, address: str, tokens: dict[str, str]) -> None:
        self.engine, self.address, self.tokens = engine, address, tokens
        self.mark, self._stop = 10_000, threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def _tell(self):
        while not self._stop.wait(0.1):
            self.price(self.mark)

    def price(self, ticks: int):
        now = Nanos(time.time_ns())
        event = PriceObserved(ts=now, instrument=0, source=0, price=ticks, published=now)
        self.engine.offer([event, ClockTicked(ts=now)], source="feed").result(PATIENCE)

    def crash(self, ticks=9_400):
        self.mark = ticks
        self.price(ticks)

    def look(self, read):
        return self.engine.look(read).result(PATIENCE)

    def until(self, read):
        """Wait until something is true of the state, and return it."""
        end = time.monotonic() + PATIENCE
        while not (found := self.look(read)):
            assert time.monotonic() < end
            time.sleep(0.02)
        return found

    def __enter__(self):
        self.price(self.mark)
        owner = np.arange(len(NAMES))
        book = BookImported(
            ts=Nanos(time.time_ns()),
            names=NAMES,
            owner=pack(owner),
            cash=pack(np.array([10**9, CASH, CASH, CASH])),
            account=pack(owner[:1]),
            instrument=pack(owner[:1]),
            lots=pack(np.array([1_000])),
            entry=pack(np.array([10_000])),
        )
        self.engine.offer([book], source="feed").result(PATIENCE)
        self._thread.start()
        return self

    def __exit__(self, *_why):
        self._stop.set()
        self._thread.join(10)


@contextmanager
def market_of(route, folder: Path):
    """Yield a market behind all layers of the service, with a key for each keeper."""
    policies = {"waterfall": FUNDED, "margin": rules(flat(penalty=10_000))}
    stack = stack_of(venue_of(perp()), route=route, never_worse=NeverWorse(mode="off"), **policies)
    engine = Engine(MemoryJournal(), stack, Outbox(), WallClock())
    service = Service(engine, Door(stack))
    equip(service)
    made = {n: new_key(n, ["keeper"], now=0.0, account=n) for n in NAMES[1:]}
    made["desk"] = new_key("desk", ["keeper"], now=0.0)
    write_keys(folder / "keys.json", Keys(keys=tuple(key for key, _ in made.values())))
    ring = KeyRing(folder / "keys.json")
    tokens = {name: token.reveal() for name, (_, token) in made.items()}
    engine.start()
    try:
        with closing(AuditLog(folder / "audit.jsonl")) as log:
            app = build(service, [*intake(), *routes()], more=socket_routes(service))
            tickets = service.add(Tickets(ring))
            gated = layered(app, ring=ring, tickets=tickets, log=log)
            with (
                served(gated) as client,
                Market(engine, str(client.base_url), tokens) as market,
            ):
                market.hub = service.part(Hub)
                yield market
    finally:
        engine.stop()


def the_bot():
    spec = importlib.util.spec_from_file_location("keeper_bot", BOT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def in_a_thread(market, name, folder):
    """Run the example on an event loop of its own."""
    loop = asyncio.new_event_loop()
    asked = market.address, market.tokens[name], MARGINS[name], BUDGETS[name]
    work = loop.create_task(the_bot().keep(*asked, folder / f"{name}.json"))

    def turn():
        try:
            loop.run_until_complete(work)
        except asyncio.CancelledError:
            return

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(work.cancel)
        thread.join(20)
        loop.close()


@contextmanager
def as_a_process(market, name, folder):
    """Run the example as anybody would."""
    limits = ["--margin", str(MARGINS[name]), "--budget", str(BUDGETS[name])]
    asked = [market.address, market.tokens[name], *limits, "--memory", folder / f"{name}.json"]
    source = str(Path(__file__).parents[1] / "src")
    process = subprocess.Popen(
        [sys.executable, BOT, *asked],
        env=os.environ | {"PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
        assert process.poll() is None, process.communicate()[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


class Outcome:
    """What one auction came to, read through the API and in the ledger itself."""

    def __init__(self, market, forfeiter=""):
        self.got, self.bids, self.frames = {}, {}, []
        for name in MARGINS:
            with Client(market.address, market.tokens[name]) as client:
                keeper = Keeper("", "", "/nonexistent", client=client)
                self.got[name], self.bids[name] = keeper.settlements(), keeper.bids()
        if forfeiter:
            with Client(market.address, market.tokens[forfeiter]) as client:
                self.bids[forfeiter] = Keeper("", "", "/nonexistent", client=client).bids()
        self.held = market.look(_held)
        self.frames = asyncio.run(_frames(market))


def _held(now):
    audit(now.state)
    book = now.state.book
    lots = {int(a): int(n) for a, n in zip(book.account, book.lots, strict=True) if n}
    rows = {name: now.names.row(name) for name in NAMES}
    return {
        "lots": {name: lots.get(row, 0) for name, row in rows.items()},
        "cash": {name: int(book.cash[row]) for name, row in rows.items()},
        "outside": lots.get(EXTERNAL, 0),
        "treasury": int(book.cash[TREASURY]),
        "fund": int(book.cash[FUND]),
    }


async def _frames(market):
    found = []
    async with asyncio.timeout(PATIENCE):
        source = follow(market.address, market.tokens["alice"], ["auctions"], after=-1)
        async with aclosing(source):
            async for frame in source:
                found.append(frame)
                if any(one["closed"] for one in frame.data["reduced"]):
                    break
    return found


def sold(now):
    return not now.state.auctions.counts[1]


def run(kind: str, folder: Path) -> Outcome:
    """Let two bots compete for what is sold of one account; return what it came to."""
    hire = as_a_process if kind == "sealed" else in_a_thread
    with (
        market_of(ROUTES[kind], folder) as market,
        hire(market, "alice", folder),
        hire(market, "bob", folder),
    ):
        end = time.monotonic() + PATIENCE
        while len(market.hub.clients) < 2:
            assert time.monotonic() < end, "the bots do not come"
            time.sleep(0.02)
        market.crash()
        if kind == "sealed":  # and a third who seals, and never says what
            carol = Keeper(market.address, market.tokens["carol"], folder / "carol.json")
            desk = carol.look()
            (offer,) = desk.offers.values()
            assert carol.seal(desk, offer, 1_000, 9_390).status == "sealed"
            (held,) = Memory(folder / "carol.json").all()
            carol.memory.keep(msgspec.structs.replace(held, bid=None))  # its answer was lost
            carol.look()
            assert carol.memory.all() == [held], "sent again, it is the same bid"
            assert carol.seal(desk, offer, 10, 9_380).bid == held.bid, "one bid a window"
            assert carol.memory.all() == [held]
            carol.client.close()
        market.until(sold)
        return Outcome(market, "carol" if kind == "sealed" else "")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return what all three kinds of sale came to; they mostly wait, so they wait together."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ROUTES}
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        works = {kind: pool.submit(run, kind, folder) for kind, folder in folders.items()}
        return {kind: work.result() for kind, work in works.items()}


@pytest.mark.parametrize("kind", ROUTES)
def test_the_better_bid_wins_and_everything_settles(outcomes, kind):
    outcome, lots = outcomes[kind], outcomes[kind].held["lots"]
    assert lots["debtor"] == lots["carol"] == 0
    assert lots["alice"] + lots["bob"] == 1_000, "both bought, and nobody else"
    for name, margin in MARGINS.items():
        bought = outcome.got[name]
        assert sum(Decimal(s.quantity) for s in bought) * 10 == lots[name]
        assert sum(Decimal(s.worth) for s in bought) <= BUDGETS[name]
        for one in bought:
            worst = Decimal(one.mark) * (1 - margin)
            assert Decimal(one.price) <= worst, "nobody pays more than it would"
    # Alice asks for less of a discount: she has all that her money buys, and Bob gets the rest.
    full = BUDGETS["alice"] / (Decimal("93.53") * Decimal("0.1"))
    assert full - 10 <= lots["alice"] <= full * Decimal("1.01")
    prices = {one.price for name in MARGINS for one in outcome.got[name]}
    if kind == "dutch":
        assert min(s.seq for s in outcome.got["alice"]) < min(s.seq for s in outcome.got["bob"])
    else:
        assert len(prices) == 1, "a batch has one price"


def test_bonds_come_back_but_for_who_never_revealed(outcomes):
    held, bids = outcomes["sealed"].held, outcomes["sealed"].bids
    assert held["treasury"] == 0
    assert {n: held["cash"][n] - CASH for n in NAMES[1:]} == {"alice": 0, "bob": 0, "carol": -BOND}
    assert [b.status for b in bids["carol"]] == ["forfeited"]
    assert [b.status for b in bids["alice"]] == [b.status for b in bids["bob"]] == ["won"]
    penalty = 1_000 * 9_400 * 1_000 // 100
    assert held["fund"] == 10**9 + penalty + BOND


def test_what_the_stream_told_names_nobody(outcomes):
    for kind, outcome in outcomes.items():
        text = json.dumps([f.data for f in outcome.frames])
        assert not any(name in text for name in NAMES)
        (opened,) = [one for f in outcome.frames for one in f.data["opened"]]
        assert (opened["quantity"], opened["mark"]) == ("100", "94")
        if kind == "sealed":
            early = [f.data for f in outcome.frames if not f.data["cleared"]]
            told = [data["bids"] or data["revealed"] for data in early[1:]]
            assert told == [[opened["auction"]]] * 5  # three seals, two of them opened


def test_a_keeper_sees_the_market_and_itself(tmp_path):
    """Everything else is refused, to be sure, unless its row says that a keeper may see it."""
    with market_of(ROUTES["sealed"], tmp_path) as market:
        with Client(market.address, market.tokens["alice"], patience=0) as client:
            row = market.look(lambda now: now.names.row("alice"))
            found = Keeper("", "", tmp_path / "a.json", client=client).look()
            assert (found.account, found.row) == ("alice", row)
            for path in ("/v1/venue", "/v1/instruments", "/v1/auctions", "/v1/accounts/alice"):
                client.get(path, object)
            for path in (
                "/v1/accounts",
                "/v1/accounts/bob",
                "/v1/accounts/venue:treasury",
                "/v1/events",
                "/v1/orders",
                "/v1/explain/bob",
                "/v1/export",
                "/v1/deleveragings",
            ):
                with pytest.raises(Refused, match="403 Not allowed: this key sees"):
                    client.get(path, object)
            for path in ("/v1/keeper", "/v1/bids", "/v1/settlements"):
                client.get(path, object, bidder="alice")
                with pytest.raises(Refused, match="alice only"):
                    client.get(path, object, bidder="bob")
            for bid in (
                Take(auction=1, quantity="1", limit="1", bidder="bob"),
                Bid(auction=1, quantity="1", limit="1"),
            ):
                with pytest.raises(Refused, match="alice only"):
                    client.bid(bid)
            for topics, allowed in ((["auctions", "marks", "rungs"], True), (["events"], False)):
                assert asyncio.run(may_follow(market, "alice", topics)) == allowed
            assert asyncio.run(may_follow(market, "desk", ["events"]))
        with Client(market.address, market.tokens["desk"]) as client:
            assert client.get("/v1/keeper", dict, bidder="bob")["account"] == "bob"
            assert client.get("/v1/keeper", dict)["row"] == EXTERNAL
            assert len(client.accounts().account) == 1


async def may_follow(market, name, topics):
    source = follow(market.address, market.tokens[name], topics, after=-1)
    try:
        async with asyncio.timeout(1):
            async for _ in source:
                return True
    except InvalidStatus as error:
        return error.response.status_code != 403
    except TimeoutError:
        return True
    finally:
        await source.aclose()
