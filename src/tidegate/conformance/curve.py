"""Curve: bands that follow an oracle, from its vectors to our kernels."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, column
from tidegate.domain.units import unbounded
from tidegate.kernels import bands


PEERS = ("curve",)

DEAD = 1_000  # shares of every band that nobody holds
WINDOW_S, CAP = 120, 125 * 10**16  # the oracle's limit: 1.25 within two minutes

# The trades that the rule `ll_trades` consists of: x in, y in, or a new oracle price. The vectors'
# inputs name the pool only.
SEQUENCE = (
    ("x", 1_000 * WAD),
    ("x", 5_000 * WAD),
    ("y", WAD),
    ("price", 2_900 * WAD),
    ("x", 3_000 * WAD),
    ("x", 20_000 * WAD),
    ("price", 2_950 * WAD),
    ("y", 2 * WAD),
    ("y", 100 * WAD),
)
SHOWN = 10  # steps of a walk between two that are shown

edge = unbounded(bands.edge)
log_ratio = unbounded(bands.log_ratio)
root_ratio = unbounded(bands.root_ratio)
reach = unbounded(bands.reach)
price_at = unbounded(bands.price_at)
band_price = unbounded(bands.band_price)
limited_move = unbounded(bands.limited_move)
deposit = unbounded(bands.deposit)
owned = unbounded(bands.owned)
trade = unbounded(bands.trade)
amount_to = unbounded(bands.amount_to)
converted = unbounded(bands.converted)


class Pool:
    """One market of bands with its depositors, in the peer's units, cell 0 being band ``first``."""

    def __init__(self, inputs: Inputs, shown: Sequence[int] = ()) -> None:
        """Set up the columns for every band that the deposits and the vector name."""
        self.amp, self.base = int(inputs["A"]), int(inputs["base_price"])
        self.fee = int(inputs.get("fee", 0))
        self.oracle = int(inputs.get("p_o", self.base))
        self.ratio, self.root = log_ratio(self.amp, WAD), root_ratio(self.amp, WAD)
        self.far = reach(self.amp, WAD)
        deposits: Sequence[Inputs] = inputs.get("deposits", (inputs,))
        ends = [int(d[n]) for d in deposits for n in ("n1", "n2")]
        active = int(inputs.get("active_band", 0))
        # A deposit at or above the active band moves that to the empty one before it.
        self.first, last = min(active, *ends, *shown) - 1, max(active, *ends, *shown)
        self.size = last - self.first + 1
        self.x, self.y, self.total = self.zeros(), self.zeros(), self.zeros()
        self.active = active - self.first
        self.lowest = self.highest = self.active
        self.shares: list[tuple[NDArray[Any], int, int]] = []
        for one in deposits:
            low, high = int(one["n1"]) - self.first, int(one["n2"]) - self.first
            share = self.zeros()
            deposit(
                int(one.get("amount", one.get("collateral", 0))),
                low,
                high,
                DEAD,
                self.y,
                self.total,
                share,
            )
            self.shares.append((share, low, high))
            self.active = min(self.active, low - 1) if low <= self.active else self.active
            self.lowest, self.highest = min(self.lowest, self.active), max(self.highest, high)

    def zeros(self) -> NDArray[Any]:
        """Return an empty column."""
        return column(*(0 for _ in range(self.size)))

    def up(self, cell: int) -> int:
        """Return the upper price of a cell's band."""
        return edge(self.base, self.first + cell, self.ratio, WAD)

    def price(self) -> int:
        """Return the bands' own price in the active one."""
        n = self.active
        return band_price(self.x[n], self.y[n], self.oracle, self.up(n), self.amp, WAD)

    def exchange(self, rising: int, amount: int) -> tuple[int, int]:
        """Trade ``amount`` in; return what went in and what came out."""
        x, y, out = self.zeros(), self.zeros(), column(0, 0, 0, 0, 0)
        trade(
            rising,
            1,
            amount,
            self.x,
            self.y,
            self.active,
            self.lowest,
            self.highest,
            self.up(self.active),
            self.oracle,
            self.fee,
            self.amp,
            self.far,
            WAD,
            WAD,
            x,
            y,
            out,
        )
        self.x, self.y, self.active = x, y, int(out[bands.ACTIVE])
        return int(out[bands.IN]), int(out[bands.OUT])

    def to_price(self, price: int) -> tuple[int, int]:
        """Return what must go in to bring the bands to ``price``, and whether it must rise."""
        out = column(0, 0)
        amount_to(
            price,
            self.x,
            self.y,
            self.active,
            self.lowest,
            self.highest,
            self.up(self.active),
            self.oracle,
            self.fee,
            self.amp,
            self.far,
            WAD,
            WAD,
            out,
        )
        return int(out[0]), int(out[1])

    def comes_to(self, in_y: int, user: int = 0) -> int:
        """Return what a depositor's part of the bands comes to, in y or in x."""
        share, low, high = self.shares[user]
        return converted(
            in_y,
            self.x,
            self.y,
            share,
            self.total,
            DEAD,
            low,
            high,
            self.active,
            self.up(low),
            self.oracle,
            self.amp,
            self.root,
            WAD,
            WAD,
        )

    def holds(self, user: int = 0) -> tuple[int, int]:
        """Return a depositor's part of what the bands hold, (x, y)."""
        share, low, high = self.shares[user]
        cells = range(low, high + 1)
        x = sum(owned(self.x[n], share[n], self.total[n], DEAD) for n in cells)
        y = sum(owned(self.y[n], share[n], self.total[n], DEAD) for n in cells)
        return x, y

    def shown(self, held: NDArray[Any], numbers: Sequence[int]) -> list[int]:
        """Return a column at the vector's band numbers."""
        return [int(held[n - self.first]) for n in numbers]


def grid(inputs: Inputs) -> Found:
    """Return edges of bands."""
    base, amp = int(inputs["base_price"]), int(inputs["A"])
    ratio = log_ratio(amp, WAD)
    return {
        "p_oracle_up": [edge(base, int(n), ratio, WAD) for n in inputs["n"]],
        "p_oracle_down": [edge(base, int(n) + 1, ratio, WAD) for n in inputs["n"]],
    }


def current(inputs: Inputs) -> Found:
    """Return prices of bands at their edges while the oracle is elsewhere."""
    base, amp, oracle = int(inputs["base_price"]), int(inputs["A"]), int(inputs["p_o"])
    ratio = log_ratio(amp, WAD)
    return {
        "p_current_up": [price_at(edge(base, int(n) + 1, ratio, WAD), oracle) for n in inputs["n"]],
        "p_current_down": [price_at(edge(base, int(n), ratio, WAD), oracle) for n in inputs["n"]],
    }


def limit(inputs: Inputs) -> Found:
    """Return the limit on the oracle's move and the fee that pays for it."""
    out = column(0, 0)
    limited_move(
        int(inputs["p_old"]),
        int(inputs["p_new"]),
        int(inputs["elapsed"]),
        WINDOW_S,
        CAP,
        int(inputs["old_dfee"]),
        WAD,
        out,
    )
    return {"limited_price": out[0], "dynamic_fee": out[1]}


def deposited(inputs: Inputs) -> Found:
    """Return a deposit over bands."""
    pool = Pool(inputs, inputs["bands"])
    return {
        "active_band": pool.first + pool.active,
        "bands_x": pool.shown(pool.x, inputs["bands"]),
        "bands_y": pool.shown(pool.y, inputs["bands"]),
        "get_p": pool.price(),
    }


def static(inputs: Inputs) -> Found:
    """Return what untouched bands come to at a price."""
    pool = Pool(inputs)
    return {
        "get_x_down": pool.comes_to(in_y=0),
        "get_y_up": pool.comes_to(in_y=1),
        "sum_xy": pool.holds(),
    }


def shock(inputs: Inputs) -> Found:
    """Return a large conversion, then another oracle price."""
    pool = Pool(inputs)
    dump = int(inputs["dump"])
    done = pool.exchange(1, dump) if dump else (0, 0)
    before = pool.comes_to(in_y=0)
    pool.oracle = int(inputs["p_new"])
    return {
        "in_done": done[0],
        "out_done": done[1],
        "x_down_before": before,
        "x_down_after": pool.comes_to(in_y=0),
        "sum_xy": pool.holds(),
    }


def amount_for_price(inputs: Inputs) -> Found:
    """Return how much to trade so that the bands reach a price."""
    amount, rising = Pool(inputs).to_price(int(inputs["target"]))
    return {"amount": amount, "is_pump": bool(rising)}


def trades(inputs: Inputs) -> Found:
    """Return the trades of `SEQUENCE`, one after another, with what the bands hold after each."""
    pool = Pool(inputs, inputs["bands"])
    steps: list[dict[str, Any]] = []
    for what, amount in SEQUENCE:
        if what == "price":
            pool.oracle = amount
            steps.append({"set_price": amount})
            continue
        done = pool.exchange(int(what == "x"), amount)
        steps.append(
            {
                "i": int(what == "y"),
                "j": int(what == "x"),
                "amount": amount,
                "p_o": pool.oracle,
                "in_done": done[0],
                "out_done": done[1],
                "active_band": pool.first + pool.active,
                "get_p": pool.price(),
                "bands_x": pool.shown(pool.x, inputs["bands"]),
                "bands_y": pool.shown(pool.y, inputs["bands"]),
                "x_down": pool.comes_to(in_y=0),
                "y_up": pool.comes_to(in_y=1),
            }
        )
    return {"steps": steps}


def adiabatic(inputs: Inputs) -> Found:
    """Return a walk of the oracle from one price to another, traded away at every step.

    The walk is geometric in double precision, as the vector's prices are; every `SHOWN`th step.
    """
    pool = Pool(inputs)
    start, end, steps = float(inputs["p_start"]), float(inputs["p_end"]), int(inputs["N"])
    initial = pool.comes_to(in_y=0)
    path: list[dict[str, Any]] = []
    for k in range(steps + 1):
        pool.oracle = int(start * (end / start) ** (k / steps))
        amount, rising = pool.to_price(pool.oracle)
        if amount:
            pool.exchange(rising, amount)
        if k % SHOWN == 0:
            path.append(
                {
                    "k": k,
                    "p_o": pool.oracle,
                    "sum_xy": pool.holds(),
                    "x_down": pool.comes_to(in_y=0),
                    "y_up": pool.comes_to(in_y=1),
                    "active_band": pool.first + pool.active,
                }
            )
    return {"path": path, "x_down_initial": initial}


RULES: Rules = {
    "llamma_bands.ll_grid": grid,
    "llamma_bands.ll_pcur": current,
    "llamma_bands.ll_limit": limit,
    "llamma_bands.ll_deposit": deposited,
    "llamma_bands.ll_static": static,
    "llamma_shock.ll_shock": shock,
    "llamma_trades.ll_afp": amount_for_price,
    "llamma_trades.ll_trades": trades,
    "llamma_trades.ll_adiabatic": adiabatic,
}
