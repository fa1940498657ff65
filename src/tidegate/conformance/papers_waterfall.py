"""Papers on who pays: sharing rules of deleveraging, default waterfalls and the size of funds."""

from fractions import Fraction
from typing import Any

import numpy as np

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, Unsupported, column
from tidegate.conformance.deleveraging import scaled
from tidegate.domain.units import unbounded
from tidegate.kernels import allocate
from tidegate.lab import waterfall as lab


PEERS = ("paper",)

capped_pro_rata = unbounded(allocate.capped_pro_rata)
in_order = unbounded(allocate.in_order)
largest_remainder = unbounded(allocate.largest_remainder)
min_max_lots = unbounded(allocate.min_max_lots)
risk_factor = unbounded(allocate.risk_factor)


def amounts(numbers: Any) -> Any:
    """Return decimal numbers as a column at 1e18."""
    return column(*(scaled(n) for n in numbers))


def plain(numbers: Any) -> list[float]:
    """Return a column at 1e18 as numbers."""
    return [n / WAD for n in numbers]


def haircut(taken: Any, weight: Any) -> list[float]:
    """Return each row's share of what it had."""
    return [
        float(Fraction(int(t), int(w))) if w else 0.0 for t, w in zip(taken, weight, strict=True)
    ]


def queue(of: Inputs) -> Found:
    """Winners in order, each whole."""
    weight, out = amounts(of["w"]), amounts([0] * len(of["w"]))
    left = in_order(scaled(of["budget"]), column(*of["order"]), weight, out)
    return {"seized": plain(out), "h": haircut(out, weight), "residual": left / WAD}


def pro_rata(of: Inputs) -> Found:
    """All winners by the same share."""
    weight, out = amounts(of["w"]), amounts([0] * len(of["w"]))
    budget = scaled(of["budget"])
    left = capped_pro_rata(budget, weight, weight, out)
    whole = sum(weight)
    return {
        "seized": plain(out),
        "h": (budget - left) / whole if whole else 0.0,
        "feasible": left == 0,
    }


def capped(of: Inputs) -> Found:
    """Pro rata by weight and risk, nobody above its cap; ``tau`` is the common multiple of risk."""
    weight, budget = amounts(of["w"]), scaled(of["budget"])
    caps = column(*(w * scaled(c) // WAD for w, c in zip(weight, of["caps"], strict=True)))
    risk = of.get("risk", [1] * len(weight))
    shares = column(*(w * scaled(r) // WAD for w, r in zip(weight, risk, strict=True)))
    out = amounts([0] * len(weight))
    left = capped_pro_rata(budget, shares, caps, out)
    free = [n for n in range(len(out)) if shares[n] and out[n] < caps[n]]
    tau = float(Fraction(int(out[free[0]]), int(shares[free[0]]))) if free else None
    return {
        "feasible": left == 0,
        "tau": tau,
        "eta": tau,
        "h": haircut(out, weight),
        "seized": plain(out),
        "capacity": sum(caps) / WAD,
    }


def risk_shares(of: Inputs) -> Found:
    """Shares in proportion to equity and to a function of leverage."""
    above, power = 0, 1
    match of["kind"]:
        case "linear":
            pass
        case "power":
            power = of["c"]
            if power != int(power) or power < 0:
                why = f"our powers are whole numbers, not {power}"
                raise Unsupported(why)
        case "cvar":
            above = scaled(of["tau"])
        case kind:
            why = f"no risk function of ours is called {kind}"
            raise Unsupported(why)
    weight = [
        scaled(e) * risk_factor(scaled(x), above, int(power), WAD) // WAD
        for e, x in zip(of["equity_shares"], of["leverage"], strict=True)
    ]
    out = column(*[0] * len(weight))
    largest_remainder(WAD, column(*weight), out)
    return {"shares": plain(out)}


def lot_pro_rata(of: Inputs) -> Found:
    """Whole lots in proportion to holdings, by largest remainder."""
    out = column(*[0] * len(of["holdings"]))
    largest_remainder(of["q_total"], column(*of["holdings"]), out)
    return {"closed": list(out)}


def min_max(of: Inputs) -> Found:
    """Whole lots so that the largest burden is least."""
    out = column(*[0] * len(of["cap_lots"]))
    loss = amounts(of["loss_per_lot"])
    burden = min_max_lots(
        scaled(of["budget"]), loss, amounts(of["capacity"]), column(*of["cap_lots"]), WAD, out
    )
    return {
        "z": burden / WAD if burden >= 0 else None,
        "lots": list(out),
        "raised": sum(n * x for n, x in zip(out, loss, strict=True)) / WAD,
        "feasible": burden >= 0,
    }


def layers(of: Inputs) -> Found:
    """Layers pay one after the other."""
    names = [name for name, _ in of["layers"]]
    money = amounts(m for _, m in of["layers"])
    out = amounts([0] * len(names))
    left = in_order(scaled(of["loss"]), column(*range(len(names))), money, out)
    return {"used": dict(zip(names, plain(out), strict=True)), "uncovered": left / WAD}


def tranches(of: Inputs) -> Found:
    """Tranches pay from junior to senior."""
    out = amounts([0] * len(of["tranches"]))
    left = in_order(scaled(of["loss"]), column(*range(len(out))), amounts(of["tranches"]), out)
    return {"tranche_loss": plain(out), "unallocated": left / WAD}


def gains(of: Inputs) -> Found:
    """Gains bear a shortfall in proportion."""
    cut, paid, left = lab.gains_haircut(np.array(of["gains"], float), of["shortfall"])
    return {"haircut": cut, "paid": paid.tolist(), "uncovered": left}


def over_waves(of: Inputs) -> Found:
    """Totals over the waves of a deleveraging."""
    found = lab.waves(of["needed"], of["prod"], of["deficit"], of["max_loss"])
    return {
        "needed": found.needed,
        "prod": found.taken,
        "overshoot": found.taken - found.needed,
        "deficit_sum_published": found.deficit,
        "repeats_of_largest_loser": found.repeats,
        "deficit_dedup_largest": found.deficit_once,
    }


def judged(of: Inputs) -> Found:
    """How far a policy was from what was needed, and from a reference's fairness."""
    needed, taken = np.array(of["needed"], float), np.array(of["H"], float)
    worst, reference = np.array(of["max_pct"], float), np.array(of["max_pct_ref"], float)
    tracking, fairness = lab.objective(needed, taken, worst, reference, of["lam"])
    return {"tracking": tracking, "fairness": fairness, "total": tracking + fairness}


def markout(of: Inputs) -> Found:
    """Compare a close with the mark at once and later."""
    now, later = lab.markout(of["Q"], of["p_exec"], of["m0"], of["m1"])
    return {"immediate": now, "opportunity": later, "total": now + later}


def scales(of: Inputs) -> Found:
    """How the largest winner grows with their number."""
    pareto, thin = lab.largest_of_many(of["k"], of["C"], of["alpha"], of["sigma"])
    return {"pareto": pareto, "subgaussian": thin}


def cover(of: Inputs) -> Found:
    """Size a fund for the n largest losses of the worst scenario."""
    by_scenario, fund = lab.cover(np.array(of["slom"], float), of["n"])
    return {"by_scenario": by_scenario, "cover": fund}


def projection(of: Inputs) -> Found:
    """Find the nearest haircuts that raise a budget."""
    y, w = (np.array(of[name], float) for name in ("y", "w"))
    return {"h": lab.project_budget(y, w, of["budget"]).tolist()}


def bound(of: Inputs) -> Found:
    """Bound an online rule's regret."""
    return {"bound": lab.regret_bound(np.array(of["deficit"], float), of["p_theta"])}


def regret(of: Inputs) -> Found:
    """Tell what a fixed queue loses against the best one of each round."""
    return {"regret": lab.queue_regret(of["T"], of["lam_fair"], of["M"])}


def ruin(of: Inputs) -> Found:
    """Tell how likely a fund is ever ruined."""
    return {"psi": lab.ruin(of["u"], of["theta"], of["mean_claim"])}


def ruin_capital(of: Inputs) -> Found:
    """Size a fund by how likely it may be ruined."""
    return {"u": lab.ruin_capital(of["psi"], of["theta"], of["mean_claim"])}


RULES: dict[str, Rule] = {
    "waterfall_adl.adl_bound": bound,
    "waterfall_adl.adl_capped": capped,
    "waterfall_adl.adl_markout": markout,
    "waterfall_adl.adl_minmax_lots": min_max,
    "waterfall_adl.adl_prorata": pro_rata,
    "waterfall_adl.adl_queue": queue,
    "waterfall_adl.adl_queue_regret": regret,
    "waterfall_adl.adl_table2": judged,
    "waterfall_adl.adl_waves": over_waves,
    "waterfall_adl.cover_n": cover,
    "waterfall_adl.evt_scales": scales,
    "waterfall_adl.lot_prorata": lot_pro_rata,
    "waterfall_adl.project_box_budget": projection,
    "waterfall_adl.rap_shares": risk_shares,
    "waterfall_adl.ruin_capital": ruin_capital,
    "waterfall_adl.ruin_exponential": ruin,
    "waterfall_adl.tranche_losses": tranches,
    "waterfall_adl.vmgh": gains,
    "waterfall_adl.waterfall": layers,
}
