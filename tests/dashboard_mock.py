"""A service of one replayed crash: every route and stream that the dashboard asks, kept in memory.

The figures come from a real replay of the synthetic crash (tests/dashboard_october.json.gz, one row
every five seconds); what a replay does not hold, such as open auctions, is made up here. A test
says which row is now; whatever was answered last is kept by path, so that it can be compared with
what the page shows.
"""

import asyncio
import gzip
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tidegate.service.pages import routes as pages


VECTOR = Path(__file__).parent / "dashboard_october.json.gz"
TOPICS = ("venue", "health", "flow", "orders", "auctions", "fund")
SECOND = 1_000_000_000
RUNGS = ("normal", "caution", "reduce_only", "auction_only", "halt")


def plain(value: float) -> str:
    text = f"{value:.8f}".rstrip("0").rstrip(".")
    return text or "0"


class World:
    """What the venue looks like at one row of the replay."""

    def __init__(self, vector: dict[str, Any], *, accounts: int = 0) -> None:
        self.vector, self.row = vector, 0
        self.facts = vector["venue"]["instruments"]
        self.guarded = vector["stacks"]["guarded"]
        self.rows = self.guarded["rows"]
        self.accounts = accounts or len(self.guarded["snap"]["account"])
        self.quiet = False  # nothing open, nothing in flight, nobody deleveraged
        self.asking = 0
        self._columns: dict[str, Any] | None = None

    @property
    def now(self) -> dict[str, Any]:
        return self.rows[self.row]

    def seen(self) -> list[dict[str, Any]]:
        return self.rows[: self.row + 1]

    def symbol(self, i: int) -> str:
        return self.facts[i]["symbol"]

    def index(self, symbol: str) -> int:
        return [f["symbol"] for f in self.facts].index(symbol)

    def moves(self) -> list[dict[str, Any]]:
        return [
            {"seq": s, "ts": ts, "rung": r, "name": RUNGS[r], "reason": why, "value": value}
            for s, ts, r, why, value in self.guarded["rungs"]
            if ts <= self.now["ts"]
        ]

    def venue(self) -> dict[str, Any]:
        now, moves = self.now, self.moves()
        last = moves[-1] if moves else {"reason": "", "value": 0, "ts": self.rows[0]["ts"]}
        tranches = self.guarded["tranches"]
        return {
            "name": "synthetic-october",
            "numeraire": "USD",
            "account_label": "account",
            "stack": "guarded",
            "stack_digest": self.guarded["digest"],
            "version": "0.5.0",
            "seq": now["seq"],
            "ts": now["ts"],
            "mode": "armed",
            "leader": True,
            "epoch": 3,
            "rung": now["rung"],
            "rungs": 5,
            "rung_name": RUNGS[now["rung"]],
            "rung_reason": last["reason"],
            "rung_value": last["value"],
            "rung_since": last["ts"],
            "branching": max(now["near"]),
            "accounts": self.accounts,
            "positions": self.accounts * 2,
            "liquidatable": now["liq"],
            "bankrupt": now["bkr"],
            "required": plain(now["req"]),
            "distressed": plain(now["dis"]),
            "deficit": plain(now["def"]),
            "fund": plain(sum(now["fund"])),
            "fund_peak": plain(max(sum(r["fund"]) for r in self.seen())),
            "lost": plain(now["lost"]),
            "tranches": [
                {"name": t["name"], "balance": plain(b), "initial": plain(first)}
                for t, b, first in zip(tranches, now["fund"], self.rows[0]["fund"], strict=True)
            ],
            "in_flight": len(self.orders()),
        }

    def instrument(self, i: int) -> dict[str, Any]:
        now, fact = self.now, self.facts[i]
        mark = now["mark"][i]
        return {
            "symbol": fact["symbol"],
            "kind": fact["kind"],
            "tick_size": fact["tick"],
            "lot_size": fact["lot"],
            "mark": plain(mark),
            "low": plain(mark * 0.999),
            "high": plain(mark * 1.001),
            "index": plain(round(mark * 1.0006, 4)),
            "quality": "wide" if i == 4 and now["liq"] else "good",
            "marked_at": now["ts"],
            "branching": now["near"][i],
            "deviations": now["dev"][i],
            "volatility": 0.031 + 0.01 * i,
            "long_open": "1543.2",
            "short_open": "1543.2",
            "bids": [],
            "asks": [],
            "spent_sells": "0",
            "spent_buys": "0",
            "budget": "50",
            "band_low": plain(round(mark * 0.97, 4)),
            "band_high": plain(round(mark * 1.03, 4)),
            "phase": "open",
            "paused": [],
        }

    def profile(self, i: int) -> dict[str, Any]:
        down, up = self.now["profile"].get(str(i), [[0.0] * 40, [0.0] * 40])
        return {
            "symbol": self.symbol(i),
            "seq": self.now["seq"],
            "ts": self.now["ts"],
            "mark": plain(self.now["mark"][i]),
            "width": self.guarded["grid"]["width"],
            "near": self.now["near"][i],
            "down": down,
            "up": up,
        }

    def history(self, i: int) -> dict[str, Any]:
        rows = [r for r in self.seen() if str(i) in r["profile"]]
        return {
            "symbol": self.symbol(i),
            "width": self.guarded["grid"]["width"],
            "ts": [r["ts"] for r in rows],
            "mark": [r["mark"][i] for r in rows],
            "near": [r["near"][i] for r in rows],
            "down": [r["profile"][str(i)][0] for r in rows],
            "up": [r["profile"][str(i)][1] for r in rows],
        }

    def liquidations(self, i: int) -> dict[str, Any]:
        mark, width = self.now["mark"][i], self.guarded["grid"]["width"]
        buckets = self.guarded["grid"]["buckets"]
        down, up = self.now["forced"].get(str(i), [[0.0] * buckets] * 2)
        sides = []
        for levels in self.now["depth"].get(str(i), [[], []]):
            depth = [0.0] * buckets
            for price, quantity in levels:
                k = int(abs(price / mark - 1) / width) if mark else 0
                if k < buckets:
                    depth[k] += quantity
            # The replay keeps the touch; further away the book thins out.
            total = sum(depth) or 1.0
            sides.append([max(d, total * 9 * 0.93**k) for k, d in enumerate(depth)])
        return {
            "symbol": self.symbol(i),
            "seq": self.now["seq"],
            "ts": self.now["ts"],
            "mark": mark,
            "width": width,
            "forced_down": down,
            "forced_up": up,
            "bid_depth": sides[0],
            "ask_depth": sides[1],
        }

    def flow(self, i: int) -> dict[str, Any]:
        rows = self.seen()
        ordered = [r["ordered"][i] for r in rows]
        return {
            "symbol": self.symbol(i),
            "ts": [r["ts"] for r in rows],
            "ordered": ordered,
            "filled": [0.0, *[round(o * 0.92, 2) for o in ordered[:-1]]],
            "waiting": [round(o * 0.08, 2) for o in ordered],
            "spent": [sum(r["spent"][i]) for r in rows],
            "budget": [max(1.0, 4.5 * r["mark"][i] * (1 + i)) for r in rows],
        }

    def columns(self, limit: int) -> dict[str, Any]:
        if self._columns is None or self._columns["seq"] != self.now["seq"]:
            snap, n = self.guarded["snap"], self.accounts
            size = len(snap["account"])
            fall = 1 - (self.now["mark"][0] / self.rows[1]["mark"][0]) if self.row else 0.0
            rows = []
            for k in range(n):
                j, lap = k % size, k // size
                notional = snap["notional"][j] * (1 + lap / 97)
                equity = snap["equity"][j] * (1 + lap / 97) - notional * (fall - 0.1) * 0.2
                equity += notional * lap / 900
                maintenance = snap["maintenance"][j] * (1 + lap / 97)
                name = self.vector["accounts"][snap["account"][j]]
                name = f"{name}-{lap}" if lap else name
                rows.append(
                    ((equity - maintenance) / notional, name, equity, maintenance, notional)
                )
            rows.sort()
            self._columns = {
                "seq": self.now["seq"],
                "ts": self.now["ts"],
                "total": n,
                "offset": 0,
                "account": [r[1] for r in rows],
                "equity": [round(r[2], 2) for r in rows],
                "maintenance": [round(r[3], 2) for r in rows],
                "notional": [round(r[4], 2) for r in rows],
                "distance": [round(r[0], 6) for r in rows],
            }
        columns = self._columns
        return {k: v[:limit] if isinstance(v, list) else v for k, v in columns.items()}

    def account(self, name: str) -> dict[str, Any]:
        columns = self.columns(self.accounts)
        k = columns["account"].index(name)
        i, mark = k % 2, self.now["mark"][k % 2] or 1.0
        quantity = columns["notional"][k] / mark
        equity, maintenance = columns["equity"][k], columns["maintenance"][k]
        return {
            "name": name,
            "owner": name,
            "seq": self.now["seq"],
            "ts": self.now["ts"],
            "cash": plain(round(equity * 1.2, 2)),
            "equity": plain(equity),
            "maintenance": plain(maintenance),
            "initial": plain(round(maintenance * 2, 2)),
            "margin_ratio": maintenance / equity if equity > 0 else None,
            "liquidatable": equity < maintenance,
            "bankrupt": equity < 0,
            "distance": columns["distance"][k],
            "positions": [
                {
                    "instrument": self.symbol(i),
                    "quantity": plain(round(quantity, 5)),
                    "entry": plain(round(mark * 1.06, 4)),
                    "mark": plain(mark),
                    "value": plain(columns["notional"][k]),
                    "pnl": plain(round(-quantity * mark * 0.06, 2)),
                    "in_flight": "0",
                    "liquidation_price": plain(round(mark * (1 - columns["distance"][k]), 1)),
                }
            ],
            "orders": self.orders()[:1],
        }

    def orders(self) -> list[dict[str, Any]]:
        if self.quiet or not (self.now["liq"] or self.now["inflight"]):
            return []
        return [
            {
                "order": 16_477_323_264 + k,
                "account": self.vector["accounts"][k],
                "instrument": self.symbol(k % 5),
                "quantity": plain(-round(0.137 * (k + 1), 3)),
                "limit": plain(round(self.now["mark"][k % 5] * 0.985, 3)),
                "route": "book",
                "placed_at": self.now["ts"] - k * SECOND,
            }
            for k in range(12)
        ]

    def auctions(self) -> list[dict[str, Any]]:
        if self.quiet or self.now["rung"] == 0:
            return []
        out = []
        for k, (kind, length) in enumerate((("dutch", 300), ("dutch", 180), ("sealed", 600))):
            mark, age = self.now["mark"][k], (self.now["ts"] // SECOND + 40 * k) % length
            asking = mark * (1.05 - 0.15 * (age + self.asking) / length)
            opened = self.now["ts"] - age * SECOND
            sealed = kind == "sealed"
            out.append(
                {
                    "auction": 9_100 + k,
                    "kind": kind,
                    "instrument": self.symbol(k),
                    "quantity": plain((3.1, 42.5, 810.0)[k]),
                    "asking": None if sealed else plain(round(asking, 2)),
                    "mark": plain(mark),
                    "opened_at": opened,
                    "closes_at": opened + length * SECOND,
                    "reveal_at": opened + (length + 60) * SECOND if sealed else None,
                    "bids": (0, 1, 4)[k],
                }
            )
        return out

    def alerts(self) -> list[dict[str, Any]]:
        now, out = self.now, []
        if self.quiet:
            return []
        if max(now["near"]) >= 1:
            which = self.symbol(now["near"].index(max(now["near"])))
            detail = f"{which}: n {max(now['near']):.2f} near the mark, at least 1"
            out.append(("cascade_supercritical", detail, "page"))
        if now["rung"] >= 2:
            out.append(("breaker_high", f"rung {now['rung']}: {RUNGS[now['rung']]}", "warn"))
        if now["lost"] > 0:
            out.append(("fund_drawn", f"deficits of {now['lost']:,.0f} USD so far", "warn"))
        since = now["ts"] - 45 * SECOND
        return [{"code": c, "detail": d, "since": since, "severity": s} for c, d, s in out]

    def newest(self, rows: list[dict[str, Any]], before: int | None, limit: int) -> list[Any]:
        if self.quiet:
            return []
        seen = [r for r in rows if r["ts"] <= self.now["ts"]]
        if before is not None:
            seen = [r for r in seen if r["seq"] < before]
        return sorted(seen, key=lambda r: -r["seq"])[:limit]

    def fund(self) -> dict[str, Any]:
        rows = self.seen()
        return {
            "tranches": self.venue()["tranches"],
            "ts": [r["ts"] for r in rows],
            "balance": [r["fund"] for r in rows],
            "lost": [r["lost"] for r in rows],
        }

    def explained(self, name: str, seq: str | None) -> dict[str, Any]:
        kept = self.guarded["explained"].get(name)
        at = int(seq) if seq else self.now["seq"]
        lines = kept["lines"] if kept else [f"nothing was done to {name} up to seq {at:,}"]
        return {"account": name, "seq": at, "lines": lines}

    def frames(self, stack: str, after: int, limit: int, upto: int) -> dict[str, Any]:
        rows = self.vector["stacks"][stack]["rows"][:upto][after : after + limit]
        names = [f["symbol"] for f in self.facts]
        return {
            "ts": [r["ts"] for r in rows],
            "marks": {n: [r["mark"][i] or None for r in rows] for i, n in enumerate(names)},
            "rung": [r["rung"] for r in rows],
            "branching": [max(r["near"]) for r in rows],
            "liquidatable": [r["liq"] for r in rows],
            "bankrupt": [r["bkr"] for r in rows],
            "fund": [sum(r["fund"]) for r in rows],
            "forced": [sum(r["ordered"]) for r in rows],
            "in_flight": [r["inflight"] for r in rows],
            "bad_debt": [r["lost"] for r in rows],
            "deleveraged": [r["adl"] for r in rows],
        }


MEASURES = (
    ("bad_debt", "Bad debt", "USD", "less"),
    ("fund_used", "Fund used", "USD", "less"),
    ("adl_profit_taken", "Profit taken by deleveraging", "USD", "less"),
    ("peak_impact_ppm", "Largest price impact", "ppm", "less"),
    ("peak_branching_ratio", "Largest branching ratio n", "", "less"),
    ("accounts_liquidated", "Accounts liquidated", "accounts", "less"),
    ("insolvent_seconds", "Time insolvent", "s", "less"),
    ("forced_volume", "Forced volume", "USD", "less"),
    ("recovery_ratio", "Recovered of what was sold", "share", "more"),
    ("capital_efficiency", "Initial margin over open interest", "share", ""),
)


class Mock:
    """The server, on a thread of its own, and what a test may do to it."""

    def __init__(self, *, accounts: int = 0, key: str = "") -> None:
        vector = json.loads(gzip.decompress(VECTOR.read_bytes()))
        self.world = World(vector, accounts=accounts)
        self.key = key
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.sockets: dict[WebSocket, asyncio.Queue[str | None]] = {}
        self.down = False
        self.replays: dict[str, dict[str, Any]] = {}
        self.progress = 1.0
        self.tickets: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    # what a test does

    def start(self) -> "Mock":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = uvicorn.Config(
            self.app(), host="127.0.0.1", port=port, log_level="error", ws="websockets-sansio"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{port}/"
        return self

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve()

    def stop(self) -> None:
        self.hang_up()
        self._server.should_exit = True
        self._thread.join(timeout=5)

    def to(self, row: int) -> None:
        """Let the venue stand at this row, and tell every stream."""
        self.world.row = row
        self.tell(*TOPICS, "alerts", "deleveragings", "rungs")

    def tell(self, *topics: str) -> None:
        now = self.world.now
        frames = [{"topic": t, "seq": now["seq"], "ts": now["ts"], "data": None} for t in topics]
        for frame in frames:
            if frame["topic"] == "venue":
                frame["data"] = self.world.venue()
            if frame["topic"] == "rungs" and self.world.moves():
                frame["data"] = self.world.moves()[-1]
        self._put(json.dumps(frames))

    def _put(self, text: str | None) -> None:
        for queue in list(self.sockets.values()):
            self._loop.call_soon_threadsafe(queue.put_nowait, text)

    def hang_up(self) -> None:
        """Close every stream, as a restarting service does."""
        self._put(None)

    # what the page asks

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                WebSocketRoute("/v1/stream", self._stream),
                Route("/v1/{path:path}", self._answer, methods=["GET", "POST"]),
                *pages(),
            ]
        )

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"]
        if self.down:
            return _problem(503, "Not the leader", "Ask the leader.")
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return _problem(401, "A key is needed", "Send Authorization: Bearer KEY.")
        self.asked.append(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
        try:
            body = await request.json() if request.method == "POST" else None
            said = self._said(path.split("/"), dict(request.query_params), body)
        except (KeyError, ValueError, IndexError):
            said = None
        if said is None:
            return _problem(404, "Not found", "")
        self.answers[path] = said
        return JSONResponse(said)

    def _said(self, path: list[str], query: dict[str, str], body: Any) -> Any:
        world = self.world
        limit = int(query.get("limit", 100))
        before = int(query["before"]) if "before" in query else None
        plainly = {
            "venue": world.venue,
            "orders": world.orders,
            "auctions": world.auctions,
            "fund": world.fund,
            "alerts": world.alerts,
            "rungs": world.moves,
            "instruments": lambda: [world.instrument(i) for i in range(len(world.facts))],
            "deleveragings": lambda: world.newest(world.guarded["receipts"], before, limit),
            "events": lambda: world.newest(world.guarded["log"], before, limit),
            "accounts": lambda: world.columns(limit),
            "recordings": self._shelf,
            "replays": lambda: self._replays(body),
            "tickets": self._ticket,
        }
        if len(path) == 1:
            return plainly[path[0]]()
        match path:
            case ["instruments", symbol, "profile", "history"]:
                return world.history(world.index(symbol))
            case ["instruments", symbol, ("profile" | "liquidations" | "flow") as what]:
                return getattr(world, what)(world.index(symbol))
            case [
                "accounts",
                *name,
            ]:  # a name may hold a slash: the account of one isolated position
                return world.account("/".join(name))
            case ["explain", *name]:
                return world.explained("/".join(name), query.get("seq"))
            case ["replays", name]:
                return self._replay(name)
            case ["replays", name, "frames"]:
                upto = int(len(world.rows) * self.progress)
                return world.frames(query["stack"], int(query["after"]), limit, upto)
        return None

    def _ticket(self) -> dict[str, str]:
        ticket = f"ticket-{len(self.asked)}"
        self.tickets.add(ticket)
        return {"ticket": ticket}

    def _shelf(self) -> dict[str, Any]:
        rows = self.world.rows
        span = {"begin": rows[0]["ts"], "end": rows[-1]["ts"]}
        recordings = [{"name": "october-4000", "title": "October, 4,000 accounts", **span}]
        return {"recordings": recordings, "stacks": ["bare", "guarded", "neutral"]}

    def _replays(self, body: Any) -> Any:
        if body is not None:
            name = f"r{len(self.replays) + 1}"
            self.replays[name] = body
            return {"id": name}
        return [self._replay(name) for name in reversed(self.replays)]

    def _replay(self, name: str) -> dict[str, Any]:
        asked, rows, stacks = self.replays[name], self.world.rows, self.world.vector["stacks"]
        done = self.progress >= 1
        verdict = [
            {
                "key": key,
                "label": label,
                "unit": unit,
                "better": better,
                "values": {s: stacks[s]["verdict"][key] for s in asked["stacks"]},
            }
            for key, label, unit, better in MEASURES
        ]
        return {
            "id": name,
            **asked,
            "state": "done" if done else "running",
            "progress": self.progress,
            "frames": int(len(rows) * self.progress),
            "begin": rows[0]["ts"],
            "end": rows[-1]["ts"],
            "numeraire": "USD",
            "verdict": verdict if done else [],
        }

    async def _stream(self, socket: WebSocket) -> None:
        ticket = socket.query_params.get("ticket")
        self.asked.append(f"{socket.url.path}?{socket.url.query}")
        if self.down or ticket not in self.tickets:
            await socket.close(4401)
            return
        self.tickets.discard(ticket)
        await socket.accept()
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.sockets[socket] = queue
        place = {"topic": "heartbeat", "seq": self.world.now["seq"], "ts": 0, "data": None}
        try:
            await socket.send_json(place)
            while (text := await queue.get()) is not None:
                await socket.send_text(text)
            await socket.close(1012)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            del self.sockets[socket]


def _problem(status: int, title: str, hint: str) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "hint": hint}
    return JSONResponse(body, status, media_type="application/problem+json")


if __name__ == "__main__":
    played = Mock(accounts=100_000).start()
    print(played.url)  # noqa: T201 - for whoever works on the dashboard
    played.replays["r1"] = {"recording": "october-4000", "stacks": ["bare", "guarded"]}
    while True:
        for at in range(len(played.world.rows)):
            played.to(at)
            for _ in range(4):
                time.sleep(0.5)
                played.world.asking += 1
                played.tell("auctions")
