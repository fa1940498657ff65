"""Drift v2: staged liquidation, what covers a shortage, and fees that leave something over."""

from collections.abc import Callable

import numpy as np

from tidegate.conformance.adapter import Found, Inputs, Rules, Unsupported
from tidegate.domain.units import unbounded
from tidegate.kernels import cover


PEERS = ("drift",)

UNIT = 10**6  # prices, money and fees
LOT = 10**9  # base amounts
SHARE = 10**4  # margin ratios, weights and parts of a liquidation
SMALL = 50 * UNIT  # shortages below it are covered at once
DUST = UNIT  # remainders below it are taken along
GRACE_SLOTS, FEE_STEP = 1_500, 1
U64, U128 = 2**64 - 1, 2**128 - 1  # what the peer answers where no size covers a shortage


def _scales(decimals: int, of: int) -> tuple[int, int]:
    """Return (up, down) that turn amounts of ``of`` decimals into amounts of ``decimals``."""
    return 10 ** max(0, decimals - of), 10 ** max(0, of - decimals)


def perp_size(of: Inputs) -> Found:
    """Return the base amount that covers a shortage."""
    size = unbounded(cover.cover_size)(
        int(of["margin_shortage_1e6"]),
        int(of["oracle_1e6"]),
        int(of.get("quote_oracle_1e6", UNIT)),
        of["margin_ratio_1e4"] * UNIT // SHARE,
        of["liquidator_fee_1e6"],
        of["if_fee_1e6"],
        LOT,
        UNIT,
    )
    return {"base_amount_1e9": U64 if size < 0 else size}


def perp_fund_fee(of: Inputs) -> Found:
    """Return the fund's fee of a perpetual, within what health leaves."""
    left = unbounded(cover.fund_fee_left)(
        int(of["margin_shortage_1e6"]),
        int(of["base_1e9"]),
        int(of["oracle_1e6"]),
        int(of["quote_oracle_1e6"]),
        of["margin_ratio_1e4"] * UNIT // SHARE,
        of["liquidator_fee_1e6"],
        LOT,
        UNIT,
    )
    return {"if_fee_1e6": min(of["max_if_fee_1e6"], left)}


def spot_fund_fee(of: Inputs) -> Found:
    """Return the fund's fee of a borrow, within what health leaves."""
    left = unbounded(cover.spot_fund_fee_left)(
        int(of["margin_shortage_1e6"]),
        int(of["token_amount"]),
        of["asset_weight_1e4"] * UNIT // SHARE,
        of["asset_multiplier_1e6"],
        of["liability_weight_1e4"] * UNIT // SHARE,
        of["liability_multiplier_1e6"],
        10 ** of["decimals"],
        int(of["price_1e6"]),
        UNIT,
    )
    return {"if_fee_1e6": min(of["max_if_fee_1e6"], left)}


def fee_ramp(of: Inputs) -> Found:
    """Return the liquidator's fee after a time without a liquidator."""
    elapsed = of["current_slot"] - of["last_active_slot"]
    ramped = unbounded(cover.ramped_fee)
    fee = ramped(of["base_fee_1e6"], of["max_fee_1e6"], elapsed, GRACE_SLOTS, FEE_STEP)
    return {"fee_1e6": fee}


def stage(of: Inputs) -> Found:
    """Return the part of a shortage that may be covered by now."""
    share = unbounded(cover.staged_share)(
        int(of["margin_shortage_1e6"]),
        int(of.get("margin_freed_1e6", 0)),
        of["slots_elapsed"],
        of["liquidation_duration_slots"],
        of["initial_pct_1e4"],
        SMALL,
        SHARE,
    )
    return {"max_pct_1e4": share}


def debt_transfer(of: Inputs) -> Found:
    """Return the debt whose repayment covers a shortage."""
    debt = unbounded(cover.debt_to_cover)(
        int(of["margin_shortage_1e6"]),
        of["asset_weight_1e4"],
        of["asset_multiplier_1e6"],
        of["liability_weight_1e4"],
        of["liability_multiplier_1e6"],
        *_scales(of["liability_decimals"], 6),
        int(of["liability_price_1e6"]),
        of["if_fee_1e6"],
        UNIT,
        SHARE,
    )
    return {"liability_transfer": U128 if debt < 0 else debt}


def implied_debt(of: Inputs) -> Found:
    """Return the debt repaid by seizing all of an asset."""
    debt = unbounded(cover.debt_for_asset)(
        int(of["asset_amount"]),
        int(of["asset_price_1e6"]),
        of["asset_multiplier_1e6"],
        int(of["liability_price_1e6"]),
        of["liability_multiplier_1e6"],
        *_scales(of["liability_decimals"], of["asset_decimals"]),
    )
    return {"liability_transfer": debt}


def seized_asset(of: Inputs) -> Found:
    """Return the asset seized for a repaid debt."""
    asset = unbounded(cover.asset_for_debt)(
        int(of["asset_amount"]),
        int(of["liability_amount"]),
        int(of["asset_price_1e6"]),
        of["asset_multiplier_1e6"],
        int(of["liability_price_1e6"]),
        of["liability_multiplier_1e6"],
        *_scales(of["asset_decimals"], of["liability_decimals"]),
        *_scales(of["asset_decimals"], 6),
        DUST,
        UNIT,
    )
    return {"asset_transfer": asset}


def swap(of: Inputs) -> Found:
    """Return whether a liquidation by swap pays enough."""
    fair = unbounded(cover.swap_is_fair)(
        int(of["asset_transfer"]),
        int(of["liability_transfer"]),
        10 ** of["asset_decimals"],
        10 ** of["liability_decimals"],
        int(of["asset_price_1e6"]),
        int(of["liability_price_1e6"]),
        of["asset_multiplier_1e6"],
        of["liability_multiplier_1e6"],
        UNIT,
    )
    return {"valid": fair}


def staged(of: Inputs) -> Found:
    """Return an account after each call of a liquidation over several slots."""
    account = np.array([int(of["base_1e9"]), int(of["quote_1e6"]), 0], object)
    bids, asks = int(of.get("open_bid_1e9", 0)), int(of.get("open_ask_1e9", 0))
    margin = of["open_order_margin_1e6"] if bids or asks else 0
    after: list[dict[str, int]] = []
    entered, left = -1, False
    for call in of["calls"]:
        entered = call["slot"] if entered < 0 else entered
        left = unbounded(cover.staged_call)(
            account,
            int(of["deposit_1e6"]),
            bids,
            asks,
            margin,
            int(of["oracle_1e6"]),
            of["mm_ratio_1e4"] * UNIT // SHARE,
            of["liquidation_buffer_1e4"] * UNIT // SHARE,
            of["liquidator_fee_1e6"],
            of["if_fee_1e6"],
            call["slot"] - entered,
            of["duration_slots"],
            of["initial_pct_1e4"],
            SMALL,
            SHARE,
            int(call["max_base_1e9"]),
            int(of["order_step_1e9"]),
            LOT,
            UNIT,
        )
        bids = asks = margin = 0  # the first call cancels what rests
        entered = -1 if left else entered
        after.append(
            {
                "slot": call["slot"],
                "margin_freed_1e6": account[cover.FREED],
                "base_1e9": account[cover.BASE],
            }
        )
    return {"after_each_call": after, "exits_liquidation_at_last_call": left}


# A vector names no function: what it gives tells which one is asked.
ASKED: tuple[tuple[str, Callable[[Inputs], Found]], ...] = (
    ("calls", staged),
    ("asset_transfer", swap),
    ("liability_amount", seized_asset),
    ("asset_amount", implied_debt),
    ("token_amount", spot_fund_fee),
    ("liability_weight_1e4", debt_transfer),
    ("base_fee_1e6", fee_ramp),
    ("liquidation_duration_slots", stage),
    ("max_if_fee_1e6", perp_fund_fee),
    ("margin_ratio_1e4", perp_size),
)


def partial(of: Inputs) -> Found:
    """Return the answer of the function that these inputs belong to."""
    for key, answer in ASKED:
        if key in of:
            return answer(of)
    why = "none of our rules of this peer takes these inputs"
    raise Unsupported(why)


RULES: Rules = {"partial_liquidation_drift": partial}
