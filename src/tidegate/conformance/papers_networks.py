"""Papers on financial networks: clearing vectors, fire sales, contagion."""

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.lab import networks


PEERS = ("paper",)


def eisenberg_noe(of: Inputs) -> Found:
    """Return the greatest clearing vector, with costs of default where the case has them."""
    costs = {name: of.get(name, 1.0) for name in ("alpha", "beta")}
    found = networks.clearing(of["Lmat"], of["e"], **costs)
    payments = sorted({round(p, 12) for p in found.payments})
    return {
        "payments": found.payments,
        "defaults": found.defaults,
        "equity": found.equity,
        "recovery": found.recovery,
        "levels": [
            [k for k, p in enumerate(found.payments) if round(p, 12) == level]
            for level in reversed(payments)
        ],
    }


def en_with_external_senior(of: Inputs) -> Found:
    """Return payments and equity where creditors outside are paid first."""
    found = networks.clearing(of["Lmat"], of["ext_assets"], senior=of["ext_liab"])
    return {"payments": found.payments, "equity": found.equity}


def x_rv_least(of: Inputs) -> Found:
    """Return the limit from below."""
    costs = of["alpha"], of["beta"]
    found = networks.clearing(of["Lmat"], of["e"], alpha=costs[0], beta=costs[1], least=True)
    return {"payments": found.payments}


def battiston_debtrank(of: Inputs) -> Found:
    """Return distress and DebtRank."""
    distress, rank = networks.debt_rank(of["W"], of["econ_value"], of["s0"])
    return {"h": distress, "R": rank}


def max_entropy(of: Inputs) -> Found:
    """Return the most even matrix with given sums."""
    return {"matrix": networks.maximum_entropy(of["rows"], of["cols"])}


def en_fire_sale(of: Inputs) -> Found:
    """Return the joint fixed point of clearing and a common asset's price."""
    found = networks.clearing_with_sales(of["Lmat"], of["cash"], of["units"], of["beta_impact"])
    return {
        "price": found.price,
        "sold": found.sold,
        "payments": found.cleared.payments,
        "defaults": found.cleared.defaults,
    }


RULES: dict[str, Rule] = {
    f"networks.{rule.__name__}": rule
    for rule in (
        eisenberg_noe,
        en_with_external_senior,
        x_rv_least,
        battiston_debtrank,
        max_entropy,
        en_fire_sale,
    )
}
