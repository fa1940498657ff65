"""Losses that everybody bears: through funding, through an index of deposits, or through layers."""

from tidegate.conformance.adapter import Found, Inputs, Rule, Unsupported, column
from tidegate.domain.units import unbounded
from tidegate.kernels import allocate, insurance


PEERS = ("drift", "percolator")
BASE = 10**9  # Drift's base amounts; its funding indexes carry three digits more than quote
FUNDING = 10**3
INDEX = 10**10  # a deposit index that has earned nothing

in_order = unbounded(allocate.in_order)
index_cut = unbounded(insurance.index_cut)
per_lot_up = unbounded(insurance.per_lot_up)
vault_payment = unbounded(insurance.vault_payment)


def funding(of: Inputs, loss: int) -> int:
    """Return Drift's change of the cumulative funding index, at 1e9 per base."""
    open_base = abs(of["long_base_1e9"]) + abs(of["short_base_1e9"])
    return per_lot_up(loss, open_base, BASE) * FUNDING


def through_funding(of: Inputs) -> Found:
    """Drift: the loss over the open interest of both sides."""
    return {
        "cumulative_funding_delta_1e9": funding(of, abs(of["loss_1e6"])),
        "long_index_change": "+delta",
        "short_index_change": "-delta",
    }


def waterfall(of: Inputs) -> Found:
    """Drift: the vault, then the market's fee pool, then everybody."""
    loss = abs(of["loss_1e6"])
    allowed = of["max_insurance_for_market_1e6"] - of.get("insurance_settled_1e6", 0)
    paid = vault_payment(loss, of["insurance_vault_1e6"], allowed)
    pools = column(0)
    rest = in_order(loss - paid, column(0), column(of["fee_pool_1e6"]), pools)
    delta = funding(of, rest)
    borne = delta * abs(of["long_base_1e9"]) // BASE // FUNDING
    holder = abs(of["long_base_1e9"]) // BASE
    return {
        "if_payment": paid,
        "fee_pool_payment": pools[0],
        "socialized": rest,
        "funding_delta_quote_per_base": delta / BASE,
        f"loss_of_each_{holder}_base_holder_1e6": borne,
    }


def through_deposits(of: Inputs) -> Found:
    """Drift: a bad borrow lowers the index of everybody's deposits."""
    index = of.get("cumulative_deposit_interest_1e10", INDEX)
    return {"interest_index_decrease_1e10": index_cut(index, of["borrow"], of["total_deposits"])}


def through_layers(of: Inputs) -> Found:
    """Percolator: unvested profit first, then equity; a case with insurance is not answered."""
    if of["insurance"]:
        why = (
            "the peer counts its insurance as an asset before it draws it, so that the draw is "
            "worth nothing: a fault of the peer, not a rule"
        )
        raise Unsupported(why)
    equity = of["principal"] + of["realized"]
    deficit = max(0, equity + of["warming_profit"] - of["collateral"])
    taken = column(0, 0)
    layers = column(of["warming_profit"], equity)
    left = in_order(deficit, column(0, 1), layers, taken)
    return {
        "burned_warming": taken[0],
        "insurance_draw": 0,
        "equity_haircut_ratio": taken[1] / equity if equity else 0.0,
        "final_deficit": left,
    }


# What a case asks is told by what it gives.
SHAPES: dict[str, Rule] = {
    "insurance_vault_1e6": waterfall,
    "long_base_1e9": through_funding,
    "total_deposits": through_deposits,
    "warming_profit": through_layers,
}


def socialisation(of: Inputs) -> Found:
    """Answer a case by its kind."""
    for name, answer in SHAPES.items():
        if name in of:
            return answer(of)
    why = f"a case of another kind: {', '.join(sorted(of))}"
    raise Unsupported(why)


RULES: dict[str, Rule] = {"loss_socialization": socialisation}
