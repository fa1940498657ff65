"""Exchanges' brackets and liquidation prices: maintenance by tier, and the lines it draws."""

from typing import Final

from tidegate.conformance.adapter import RAY, WAD, Found, Inputs, Rule, column, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels import lines, tiers


PEERS = ("freqtrade", "docs", "flox")

UNIT: Final = WAD  # of prices, quantities and rates alike
COINS: Final = RAY * RAY  # of coin amounts: contracts / price keeps all digits of the price

_due = unbounded(tiers.due_in_tier)
_tier = unbounded(tiers.tier_at)
_deductions = unbounded(tiers.deductions)
_half = unbounded(tiers.maintenance_of_leverage)
_linear = unbounded(lines.linear_line)
_inverse = unbounded(lines.inverse_line)
_bankrupt = unbounded(lines.inverse_bankruptcy)


def liquidation_price(of: Inputs) -> Found:
    """Return the price at which one leg of an account is liquidated, the other legs as given."""
    quantity = of["side"] * scaled(of["quantity"], UNIT)
    cost = quantity * scaled(of["entry"], UNIT)
    rest = scaled(of["wallet_balance"], UNIT) - scaled(of["other_maintenance"], UNIT)
    rest += scaled(of["other_upnl"], UNIT)
    cum = scaled(of["cum"], UNIT) * UNIT
    line = _linear(quantity, cost, rest * UNIT, scaled(of["mmr"], UNIT), cum, UNIT)
    return {"liquidation_price": line / UNIT}


def maintenance(of: Inputs) -> Found:
    """Return the maintenance of a position from its tier's rate and deduction."""
    size = scaled(of["quantity"], UNIT) * scaled(of["mark"], UNIT)
    due = _due(size, scaled(of["mmr"], UNIT), scaled(of["cum"], UNIT) * UNIT, UNIT)
    return {"maintenance_margin": due / UNIT**2}


def maintenance_by_leverage(of: Inputs) -> Found:
    """Return the maintenance of a position from tiers that name their largest leverage."""
    rows = of["tiers_lower_bound_max_leverage"]
    floor = column(*(scaled(low, UNIT) for low, _ in rows))
    rate = column(*(_half(int(top), UNIT) for _, top in rows))
    cum = column(*(0 for _ in rows))
    _deductions(floor, rate, UNIT, cum)
    size = scaled(of["notional"], UNIT)
    k = _tier(0, floor.size, floor, size)
    return {"maintenance_margin": _due(size, rate[k], cum[k], UNIT) / UNIT}


def cliff(of: Inputs) -> Found:
    """Return the rate of the whole position: that of the tier its notional falls in."""
    rows = of["tiers"]
    floor = column(*(scaled(low, UNIT) for low, _ in rows))
    return {"mm_fraction": rows[_tier(0, floor.size, floor, scaled(of["notional"], UNIT))][1]}


def inverse_prices(of: Inputs) -> Found:
    """Return liquidation and bankruptcy price of a coin-margined position."""
    contracts = of["side"] * scaled(of["contracts_usd"], UNIT) * COINS
    cost = -contracts // scaled(of["entry"], UNIT)
    coins = scaled(of["margin_coin"], COINS)
    liquidated = _inverse(contracts, cost, coins, scaled(of["mm_rate"], UNIT), UNIT)
    bankrupt = _inverse(contracts, cost, coins, 0, UNIT)
    return {
        "liquidation_price": liquidated / UNIT,
        "bankruptcy_price": bankrupt / UNIT,
        "published": {
            "liquidation": round(liquidated / UNIT),
            "bankruptcy": round(bankrupt / UNIT),
        },
    }


def inverse_bankruptcy(of: Inputs) -> Found:
    """Return the bankruptcy price of an inverse position by leverage, exact and in ticks."""
    entry, leverage = scaled(of["entry"], UNIT), scaled(of["leverage"], UNIT)
    raw = _bankrupt(of["side"], entry, leverage, 1, UNIT)
    rounded = _bankrupt(of["side"], entry, leverage, scaled(of["tick"], UNIT), UNIT)
    return {"raw": raw / UNIT, "rounded": rounded / UNIT}


def two_thresholds(of: Inputs) -> Found:
    """Return the prices at which an account falls below maintenance, and below auto-close."""
    size = scaled(of["size"], UNIT)
    cost, rest = size * scaled(of["entry"], UNIT), scaled(of["collateral"], UNIT) * UNIT
    return {
        name: _linear(size, cost, rest, scaled(of[rate], UNIT), 0, UNIT) / UNIT
        for name, rate in (("liquidation_price", "mmf"), ("auto_close_price", "acmf"))
    }


_GROUP: Final = "tiered_margin_and_liq_price"
RULES: dict[str, Rule] = {
    f"{_GROUP}.binance_liq_price": liquidation_price,
    f"{_GROUP}.tiered_mm": maintenance,
    f"{_GROUP}.hyperliquid_tiers": maintenance_by_leverage,
    f"{_GROUP}.cliff_tiers": cliff,
    f"{_GROUP}.inverse_liq_price": inverse_prices,
    f"{_GROUP}.inverse_bankruptcy": inverse_bankruptcy,
    f"{_GROUP}.ftx_thresholds": two_thresholds,
}
