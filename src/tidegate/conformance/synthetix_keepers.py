"""Synthetix: what a keeper is paid for a liquidation."""

from decimal import Decimal

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules
from tidegate.domain.units import unbounded
from tidegate.kernels import auction


PEERS = ("synthetix",)

keeper_reward = unbounded(auction.keeper_reward)


def reward(v: Inputs) -> Found:
    """Answer ``keeper_rewards``; rates are given as decimal numbers, amounts in wei."""
    profit, share = (
        int(Decimal(str(v[name])) * WAD) for name in ("min_profit_ratio", "max_scaling_ratio")
    )
    cost, flag, least, most, margin = (
        int(v[name])
        for name in (
            "execution_cost",
            "flag_reward",
            "min_reward",
            "max_reward",
            "available_margin",
        )
    )
    return {"reward": keeper_reward(cost, flag, least, profit, most, margin, share, WAD)}


RULES: Rules = {"keeper_rewards": reward}
