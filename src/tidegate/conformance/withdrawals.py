"""Limits on withdrawals: capacities that refill, windows after a deficit, and averages."""

from tidegate.conformance.adapter import Found, Inputs, Rule, Unsupported
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import withdrawals


PEERS = ("drift", "dydx")
UNLIMITED = 10**40
MAIN, ISOLATED = (3, 5, 14), (2, 3, 20)  # Drift's bands: low, step, high
GATED = frozenset({"Withdrawal", "Transfer"})

baseline = unbounded(withdrawals.baseline)
borrow_ceiling = unbounded(withdrawals.borrow_ceiling)
deposit_floor = unbounded(withdrawals.deposit_floor)
gated = unbounded(withdrawals.gated)
refilled = unbounded(withdrawals.refilled)


def amount(number: int | str) -> int:
    """Return a case's amount, which may be without bound."""
    return UNLIMITED if number == "inf" else int(number)


def capacity(of: Inputs) -> Found:
    """dYdX: what may leave now, and what it drifts to."""
    base = baseline(of["tvl"], of["baseline_minimum"], of["baseline_tvl_ppm"], PPM)
    if "previous_capacity" not in of:
        return {"baseline": base}
    now = refilled(of["previous_capacity"], base, of["elapsed_ms"], of["period_ms"])
    return {"baseline": base, "new_capacity": now}


def gate(of: Inputs) -> Found:
    """dYdX: nothing leaves within a window of a negative account, or of an outage."""
    seen = [of.get(name) for name in ("last_negative_tnc_block", "last_chain_outage_block")]
    now, window = of["current_block"], of["window_blocks"]
    closed = any(gated(now, -1 if s is None else s, window) for s in seen)
    return {"blocked": closed and of.get("update_type", "Withdrawal") in GATED}


def least_deposits(of: Inputs) -> Found:
    """Drift: what must remain deposited beside the day's average."""
    guard = amount(of["withdraw_guard_threshold"])
    return {"min_deposit": deposit_floor(amount(of["deposit_twap_24h"]), guard)}


def most_borrows(of: Inputs) -> Found:
    """Drift: what may be borrowed beside the day's averages."""
    low, step, high = ISOLATED if of.get("pool_id", 0) else MAIN
    most = borrow_ceiling(
        amount(of["deposit"]),
        amount(of["deposit_twap"]),
        amount(of["borrow_twap"]),
        amount(of["withdraw_guard_threshold"]),
        amount(of["max_token_borrows"]),
        low,
        step,
        high,
    )
    return {"max_borrow": most}


# What a case asks is told by what it gives.
SHAPES: dict[str, Rule] = {
    "tvl": capacity,
    "current_block": gate,
    "deposit_twap_24h": least_deposits,
    "borrow_twap": most_borrows,
}


def limits(of: Inputs) -> Found:
    """Answer a case by its kind."""
    for name, answer in SHAPES.items():
        if name in of:
            return answer(of)
    why = f"a case of another kind: {', '.join(sorted(of))}"
    raise Unsupported(why)


RULES: dict[str, Rule] = {"withdrawal_rate_limits": limits}
