"""Liquity v1 and v2: stability pool, redistribution and the split between them."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, Unsupported, column
from tidegate.domain.units import unbounded
from tidegate.kernels import redistribution as shared
from tidegate.kernels import stability as pool


PEERS: Final = ("liquity",)

STEP: Final = 10**9
GAS_PART: Final = 200  # one in so much of the collateral pays for the call: 0.5 %
GAS_MAX: Final = 2 * WAD  # v2
LEFT_MIN: Final = WAD  # stays in the pool
LEAST: Final = 11 * WAD // 10  # the minimum collateral ratio

charge, credit = unbounded(pool.charge), unbounded(pool.credit)
deposit_now, gain_now = unbounded(pool.deposit_now), unbounded(pool.gain_now)
stake_of, per_stake = unbounded(shared.stake_of), unbounded(shared.per_stake)
split_by_health, split_capped = unbounded(shared.split_by_health), unbounded(shared.split_capped)
decayed = unbounded(shared.decayed)


@dataclass(slots=True)
class Pool:
    """What the pool's contract stores; snapshots are (deposit, product, scale, sum)."""

    deposits: int = 0
    product: int = WAD
    scale: int = 0
    sums: list[int] = field(default_factory=lambda: [0, 0])
    loss_carry: int = 0
    gain_carry: int = 0
    users: dict[str, tuple[int, int, int, int]] = field(
        default_factory=dict[str, tuple[int, int, int, int]]
    )

    def read(self, user: str) -> dict[str, int]:
        """Return what ``user`` has in the pool and has gained."""
        deposit, at, scale, before = self.users.get(user, (0, WAD, self.scale, 0))
        sums = column(*self.sums[scale : scale + 2])
        value = deposit_now(deposit, at, self.product, self.scale - scale, STEP)
        if self.scale - scale > 1 or value < deposit // STEP:
            value = 0
        return {"deposit": value, "gain": gain_now(deposit, at, before, sums, STEP) // WAD}

    def move(self, user: str, amount: int) -> dict[str, int]:
        """Add to a deposit, or take from it at most all; gains so far are paid out."""
        old = self.read(user)
        amount = max(amount, -old["deposit"])
        self.deposits += amount
        self.users[user] = (
            old["deposit"] + amount,
            self.product,
            self.scale,
            self.sums[self.scale],
        )
        return old

    def offset(self, debt: int, held: int) -> dict[str, int]:
        """Take in a closed loan, as far as something stays in the pool."""
        debt = min(debt, self.deposits - LEFT_MIN)
        if debt > 0:
            out = column(0, 0, 0, 0)
            held -= held // GAS_PART
            credit(self.deposits, held, self.product, self.gain_carry, WAD, out)
            self.sums[self.scale] += out[pool.SUM]
            self.gain_carry = out[pool.KEPT]
            charge(self.deposits, debt, self.product, self.loss_carry, WAD, STEP, out)
            self.product, self.loss_carry = out[pool.PRODUCT], out[pool.KEPT]
            self.scale += out[pool.SCALES]
            self.sums += [0] * out[pool.SCALES]
            self.deposits -= debt
        return {"P": self.product, "scale": self.scale}


def stability_pool(inputs: Inputs) -> Found:
    """Answer `liquity_sp`: each operation's result in turn."""
    state, results = Pool(), list[dict[str, Any]]()
    for op in inputs["ops"]:
        match op["op"]:
            case "provide":
                results.append(dict(state.move(op["user"], int(op["amount"]))))
            case "withdraw":
                amount = int(op.get("amount", state.deposits))
                results.append(dict(state.move(op["user"], -amount)))
            case "liquidate":
                results.append(dict(state.offset(int(op["debt"]), int(op["coll"]))))
            case "read":
                results.append({user: state.read(user) for user in op["users"]})
            case other:
                why = f"operation {other!r} of a pool"
                raise Unsupported(why)
    return {"results": results}


@dataclass(slots=True)
class Loans:
    """Open loans with stakes and snapshots, and what a sharing has given each stake so far."""

    held: dict[str, int] = field(default_factory=dict[str, int])
    stake: dict[str, int] = field(default_factory=dict[str, int])
    at: dict[str, int] = field(default_factory=dict[str, int])
    given: int = 0
    carry: int = 0
    stakes: int = 0  # as they were after the last sharing
    total: int = 0

    def now(self, user: str) -> int:
        """Return a loan's collateral with what it was given since it was last touched."""
        return self.held[user] + self.stake[user] * (self.given - self.at[user]) // WAD

    def put(self, user: str, held: int) -> None:
        """Open a loan, or set its collateral anew; its stake follows."""
        self.held[user], self.at[user] = held, self.given
        self.stake[user] = stake_of(held, self.stakes, self.total)

    def close(self, user: str) -> None:
        """Share a loan among the others."""
        held, system = self.now(user), sum(map(self.now, self.held))
        for table in (self.held, self.stake, self.at):
            del table[user]
        spread = held - held // GAS_PART
        each, self.carry = per_stake(spread, sum(self.stake.values()), self.carry, WAD)
        self.given += each
        self.stakes, self.total = sum(self.stake.values()), system - held + spread


def redistribution(inputs: Inputs) -> Found:
    """Answer `liquity_redistribution`: the collateral of each loan that stays."""
    loans = Loans()
    for op in inputs["ops"]:
        user = op["user"]
        match op["op"]:
            case "open":
                loans.put(user, _wad(op["coll"]))
            case "liquidate":
                loans.close(user)
            case other:
                why = f"operation {other!r} of loans"
                raise Unsupported(why)
    return {user: loans.now(user) / WAD for user in loans.held}


def split(inputs: Inputs) -> Found:
    """Answer `liquity_split`."""
    out = column(*[0] * 6)
    done = split_by_health(
        int(inputs["debt"]),
        int(inputs["coll"]),
        int(inputs["sp"]),
        int(inputs["price"]),
        int(inputs["icr"]),
        int(inputs.get("mcr", LEAST)),
        int(inputs["tcr"]),
        int(inputs["recovery"]),
        GAS_PART,
        WAD,
        out,
    )
    return {
        "liquidated": done,
        "offset_debt": out[shared.OFFSET_DEBT],
        "offset_coll": out[shared.OFFSET_HELD],
        "redist_debt": out[shared.SPREAD_DEBT],
        "redist_coll": out[shared.SPREAD_HELD],
        "surplus": out[shared.SURPLUS],
        "gas_comp": out[shared.REWARD],
    }


def split_v2(inputs: Inputs) -> Found:
    """Answer `liquity_v2_split`."""
    out = column(*[0] * 6)
    split_capped(
        int(inputs["debt"]),
        int(inputs["coll"]),
        int(inputs["sp"]),
        int(inputs["price"]),
        int(inputs["pen_sp"]),
        int(inputs["pen_redist"]),
        GAS_PART,
        GAS_MAX,
        WAD,
        out,
    )
    return {
        "offset_debt": out[shared.OFFSET_DEBT],
        "sp_coll": out[shared.OFFSET_HELD],
        "redist_debt": out[shared.SPREAD_DEBT],
        "redist_coll": out[shared.SPREAD_HELD],
        "surplus": out[shared.SURPLUS],
        "gas_comp": out[shared.REWARD],
    }


def base_rate(inputs: Inputs) -> Found:
    """Answer `liquity_base_rate`."""
    start, base = int(inputs["start"]), int(inputs["base"])
    return {"base_rate": [decayed(start, base, int(n), WAD) for n in inputs["minutes"]]}


def _wad(units: float) -> int:
    return int(Decimal(str(units)) * WAD)


RULES: Rules = {
    "liquity_sp.liquity_sp": stability_pool,
    "liquity_redist.liquity_redistribution": redistribution,
    "liquity_redist.liquity_split": split,
    "liquity_redist.liquity_v2_split": split_v2,
    "liquity_redist.liquity_base_rate": base_rate,
}
