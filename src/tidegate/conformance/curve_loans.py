"""Curve: loans against bands and monetary policy, from its vectors to our kernels."""

from decimal import Decimal
from typing import Any

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, column
from tidegate.conformance.curve import DEAD, Pool
from tidegate.domain.units import unbounded
from tidegate.kernels import bands, bands_loan, borrow_price, exponent


PEERS = ("curve",)

REFUSALS = {
    bands_loan.NO_LOAN: "No loan",
    bands_loan.TOO_LITTLE: "Amount too low",
    bands_loan.TOO_MUCH: "Debt too high",
}

edge = unbounded(bands.edge)
log_ratio = unbounded(bands.log_ratio)
root_ratio = unbounded(bands.root_ratio)
spread = unbounded(bands_loan.spread)
debt_band = unbounded(bands_loan.debt_band)
first_price = unbounded(bands_loan.first_price)
most_debt = unbounded(bands_loan.most_debt)
loan_health = unbounded(bands_loan.loan_health)
health_above = unbounded(bands_loan.health_above)
part_removed = unbounded(bands_loan.part_removed)
liquidated = unbounded(bands_loan.liquidated)
semilog_rate = unbounded(borrow_price.semilog_rate)
ceiling_multiplier = unbounded(borrow_price.ceiling_multiplier)
smoothed = unbounded(exponent.smoothed)


def carried(inputs: Inputs) -> int:
    """Return what collateral carries, as `spread` counts it."""
    amp = int(inputs["A"])
    return spread(
        int(inputs["collateral"]),
        int(inputs["N"]),
        int(inputs["loan_discount"]),
        DEAD,
        amp,
        root_ratio(amp, WAD),
        WAD,
    )


def first_band(inputs: Inputs) -> int:
    """Return the first band of a loan in a market without other loans, or a refusal."""
    active = int(inputs["active_band"])
    return debt_band(
        int(inputs["debt"]),
        carried(inputs),
        int(inputs["N"]),
        active,
        active - bands.SKIP_MAX,
        int(inputs["base_price"]),
        int(inputs["p_o"]),
        log_ratio(int(inputs["A"]), WAD),
        WAD,
        WAD,
    )


def n1(inputs: Inputs) -> Found:
    """Return the first band that a debt asks for."""
    band = first_band(inputs)
    return {"error": REFUSALS[band]} if band in REFUSALS else {"n1": band}


def most(inputs: Inputs) -> int:
    """Return the largest debt in a market without other loans."""
    active, base = int(inputs.get("active_band", 0)), int(inputs["base_price"])
    oracle, ratio = int(inputs.get("p_o", base)), log_ratio(int(inputs["A"]), WAD)
    price = first_price(active - bands.SKIP_MAX, base, oracle, ratio, WAD)
    return most_debt(carried(inputs), price, WAD)


def max_borrowable(inputs: Inputs) -> Found:
    """Return the largest debt."""
    return {"max_borrowable": most(inputs)}


def healths(pool: Pool, inputs: Inputs) -> dict[str, Any]:
    """Return what a pool's only loan comes to, and its health."""
    debt, (_, low, _) = int(inputs["debt"]), pool.shares[0]
    worth = pool.comes_to(in_y=0)
    health = loan_health(worth, debt, int(inputs["liquidation_discount"]), WAD)
    above = 0
    if low > pool.active:
        above = health_above(pool.holds()[1], pool.oracle, pool.up(low), debt, WAD, WAD)
    return {
        "health": health,
        "health_full": health + above,
        "x_down": worth,
        "y_up": pool.comes_to(in_y=1),
        "debt": debt,
    }


def loan(inputs: Inputs) -> Found:
    """Return a new loan: its bands, their prices and its health."""
    first = first_band(inputs)
    if first in REFUSALS:
        return {"error": REFUSALS[first]}
    last = first + int(inputs["N"]) - 1
    pool = Pool({**inputs, "n1": first, "n2": last})
    low, high = first - pool.first, last - pool.first
    return {
        "n1n2": [first, last],
        "user_prices": [pool.up(low), pool.up(high + 1)],
        **healths(pool, inputs),
    }


def health_path(inputs: Inputs) -> Found:
    """Return health while the oracle falls and nobody trades, at the prices of `FALL`."""
    pool = Pool(inputs)
    path: list[dict[str, Any]] = []
    for price in FALL:
        pool.oracle = price
        path.append({"p_o": price, **healths(pool, inputs)})
    return {"path": path, "max_borrowable": most(inputs)}


def hard_liquidation(inputs: Inputs) -> Found:
    """Return a liquidation of part of a debt."""
    if int(inputs["health_before"]) >= 0:
        return {"error": "Not enough rekt"}
    x, y = (int(n) for n in inputs["sum_xy_before"])
    out = column(0, 0, 0, 0)
    liquidated(
        int(inputs["debt_before"]),
        x,
        y,
        int(inputs["frac"]),
        int(inputs["liquidation_discount"]),
        WAD,
        out,
    )
    return {
        "stable_paid": out[bands_loan.PAID],
        "collateral_received": out[bands_loan.TAKEN],
        "tokens_to_liquidate": out[bands_loan.PAID],
        "debt_after": out[bands_loan.DEBT_LEFT],
    }


def removed(inputs: Inputs) -> Found:
    """Return the share of the bands released for a share of the debt."""
    return {"f_remove": part_removed(int(inputs["frac"]), int(inputs["health_limit"]), WAD)}


def ceiling(inputs: Inputs) -> Found:
    """Return the multiplier of a rate near a debt ceiling."""
    debt, top, target = (int(inputs[n]) for n in ("debt", "ceiling", "target"))
    return {"multiplier": ceiling_multiplier(debt, top, target, WAD)}


def ema_price(inputs: Inputs) -> Found:
    """Return an exponential average of prices."""
    current, last = int(inputs["current"]), int(inputs["last"])
    return {"price": smoothed(current, last, int(inputs["dt"]), int(inputs["ma_exp_time"]), WAD)}


def semilog(inputs: Inputs) -> Found:
    """Return a semi-logarithmic rate; decimals in and out."""
    low, high, debt, reserves = (
        int(Decimal(str(inputs[n])) * WAD) for n in ("min_rate", "max_rate", "debt", "reserves")
    )
    return {"rate": semilog_rate(low, high, debt, reserves, WAD) / WAD}


FALL = tuple(price * WAD for price in range(3_000, 2_300, -100))  # what `ll_healthpath` walks

RULES: Rules = {
    "llamma_controller.ll_n1": n1,
    "llamma_controller.ll_maxborrow": max_borrowable,
    "llamma_controller.ll_loan": loan,
    "llamma_controller.ll_healthpath": health_path,
    "llamma_controller.ll_hardliq": hard_liquidation,
    "llamma_controller.ll_fremove": removed,
    "curve_policy.agg_ceiling": ceiling,
    "curve_policy.ema_price": ema_price,
    "curve_policy.semilog": semilog,
}
