"""Deleveraging: whose turn it is, at what price and how much, as each venue defines it."""

from fractions import Fraction
from typing import Any

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, Unsupported, column
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import allocate, closeout, insurance, rank


PEERS = ("docs", "dydx", "flox", "gmx")
MOST = 10**18  # no ratio of a published case is larger

in_order = unbounded(allocate.in_order)
beyond = unbounded(insurance.beyond)
capped_ratio = unbounded(rank.capped_ratio)
fall_of = unbounded(insurance.fall_of)
index_score = unbounded(rank.index_score)
kept_on = unbounded(insurance.kept_on)
lights = unbounded(rank.lights)
offset_in_order = unbounded(closeout.offset_in_order)
pool_factor = unbounded(closeout.pool_factor)
sequence_score = unbounded(rank.sequence_score)


def scaled(number: float | str, scale: int = WAD) -> int:
    """Return a decimal number at ``scale``."""
    return round(Fraction(str(number)) * scale)


def queue(score: list[int], names: list[int]) -> list[int]:
    """Return rows by falling score; the lower name first among equals."""
    return sorted(range(len(score)), key=lambda n: (-score[n], names[n]))


def offset(of: Inputs) -> Found:
    """dYdX: the bankrupt account against others in a given order, at its bankruptcy price."""
    others: list[dict[str, Any]] = of.get("candidates_in_order") or [
        {"id": "counterparty", **of["counterparty"]}
    ]
    quote, lots = of["liquidated"]["quote_quantums"], of["liquidated"]["size"]
    taken, paid = column(*[0] * len(others)), column(*[0] * len(others))
    total = abs(of["delta_base_quantums"])
    left = offset_in_order(
        total,
        quote,
        lots,
        column(*(o["quote_quantums"] for o in others)),
        column(*(o["size"] for o in others)),
        taken,
        paid,
    )
    final = {
        o["id"]: o["quote_quantums"] + due
        for o, n, due in zip(others, taken, paid, strict=True)
        if n
    }
    return {
        "fills": [
            {"id": o["id"], "base_quantums": n} for o, n in zip(others, taken, strict=True) if n
        ],
        "remaining": left,
        "counterparty_final_quote": final
        if "candidates_in_order" in of
        else [*final.values(), None][0],
        "liquidated_final_quote": quote - sum(paid),
    }


def ranked_queue(of: Inputs) -> Found:
    """BitMEX: contracts are matched along the queue at the bankruptcy price."""
    longs = of.get("longs") or of["shorts"]
    names = [x["account"] for x in longs]
    order = queue([x["rank_score"] for x in longs], names)
    sizes = column(*(x["quantity"] for x in longs))
    taken, shown = column(*[0] * len(longs)), column(*[0] * len(longs))
    total = of["liquidated_short_qty" if "longs" in of else "liquidated_long_qty"]
    in_order(total, column(*order), sizes, taken)
    lights(sizes[order], shown)
    return {
        "queue": [names[n] for n in order],
        "quintile_pct": {
            str(names[n]): 100 // rank.LIGHTS * light for n, light in zip(order, shown, strict=True)
        },
        "fills": [
            {"account": names[n], "qty": taken[n], "price": of["bankruptcy_price"]}
            for n in order
            if taken[n]
        ],
        **{
            f"account{name}_remaining": size - part
            for name, size, part in zip(names, sizes, taken, strict=True)
        },
    }


def sequence(of: Inputs) -> Found:
    """BitMEX and Bybit: profit share times effective leverage of a linear contract."""
    side = int({"long": 1, "short": -1}.get(of["side"], of["side"]) or 0)
    lots = Fraction(of.get("qty", 1))
    entry, mark = (Fraction(str(of[name])) for name in ("entry", "mark"))
    bankruptcy = Fraction(str(of.get("bankruptcy", of.get("bankruptcy_price"))))
    gain = scaled(str(side * lots * (mark - entry)))
    paid, size = scaled(str(lots * entry)), scaled(str(lots * mark))
    margin = scaled(str(side * lots * (mark - bankruptcy)))
    score = sequence_score(gain, paid, size, margin, WAD, MOST) / WAD
    return {
        "effective_leverage": capped_ratio(size, margin, WAD, MOST) / WAD,
        "pnl_pct": (1 if gain > 0 else -1) * capped_ratio(abs(gain), paid, WAD, MOST) / WAD,
        "rank_score": score,
        "score": score,
    }


def drawdown(of: Inputs) -> Found:
    """Bybit: a symbol's fall from its peak, as a share of the pool's own peak."""
    base, now, peak = (
        scaled(of[name], PPM)
        for name in ("pool_balance_8h_max", "symbol_pnl_now", "symbol_pnl_8h_max")
    )
    start = scaled(-of["insurance_pnl_ratio"])
    fall = fall_of(now, peak, base, WAD)
    counts = of.get("pool_balance", of["pool_balance_8h_max"]) > of["adl_trigger_threshold"]
    on = counts and kept_on(active=False, fall=fall, start=start, stop=start)
    return {
        "pnl_ratio": -fall / WAD,
        "adl_triggered": on,
        "loss_allocated_to_adl": beyond(now, peak, base, start, WAD) / PPM if on else 0,
    }


def drawdown_path(of: Inputs) -> Found:
    """Bybit: on below the trigger, off above the stop, and only while the pool is large enough."""
    start, stop = scaled(-of["insurance_pnl_ratio"]), scaled(-of["adl_stop_ratio"])
    counts = of["pool_balance"] > of["adl_trigger_threshold"]
    on, path = False, list[bool]()
    for ratio in of["pnl_ratio_path"]:
        # Their stop is strict: at the ratio itself it stays on.
        on = (on or counts) and kept_on(on, scaled(-ratio), start, stop)
        path.append(on)
    return {"adl_active_path": path}


def pool_toggle(of: Inputs) -> Found:
    """GMX: profit of a side over the pool's value, against a bound."""
    profit = scaled(of["long_tokens"], PPM) * (
        scaled(of["index_price"], PPM) - scaled(of["entry_price"], PPM)
    )
    factor = pool_factor(profit, scaled(of["pool_usd_long"], PPM * PPM), WAD)
    return {
        "pnl_to_pool_factor": factor / WAD,
        "adl_enabled": factor > scaled(of["max_pnl_factor_for_adl"]),
    }


def decrease(of: Inputs) -> Found:
    """GMX: a deleveraging takes what it asks for, never more than the position."""
    size = scaled(of["position_size_usd"], PPM)
    taken = column(0)
    in_order(scaled(of["adl_size_delta_usd"], PPM), column(0), column(size), taken)
    return {"remaining_size_usd": (size - taken[0]) / PPM}


def closed_whole(of: Inputs) -> Found:
    """FLOX: winners by profit over equity, closed whole until their profits cover the deficit."""
    bankrupt, winners = of["bankrupt"], of["winners"]
    mark = Fraction(str(of["mark"]))

    def gain(of: Any) -> int:
        return scaled(str(Fraction(str(of["qty"])) * (mark - Fraction(str(of["entry"])))))

    able = [w for w in winners if Fraction(str(w["qty"])) * bankrupt["qty"] < 0 and gain(w) > 0]
    deficit = -gain(bankrupt) - scaled(bankrupt["equity"]) - scaled(of.get("fund", 0))
    score = [capped_ratio(gain(w), scaled(w["equity"]), WAD, MOST) for w in able]
    order = queue(score, [w["id"] for w in able])
    taken = column(*[0] * len(able))
    in_order(max(0, deficit), column(*order), column(*(gain(w) for w in able)), taken)
    return {"closed": [able[n]["id"] for n in order if taken[n]]}


def equal_scores(of: Inputs) -> Found:
    """FLOX: among equals the lower id goes first. The first is enough for the deficit there."""
    names = of["winners_in_insert_order"]
    return {"closed": [names[n] for n in queue([of["equal_score"]] * len(names), names)][:1]}


def sorting_index(of: Inputs) -> Found:
    """Hyperliquid: mark over entry times notional over account value, as printed."""
    mark, entry = scaled(of["mark"]), scaled(of["entry"])
    size, equity = scaled(of["notional"]), scaled(of["account_value"])
    return {"index": index_score(mark, entry, size, equity, WAD, MOST) / WAD}


# What a case asks is told by what it gives.
SHAPES: dict[str, Rule] = {
    "liquidated": offset,
    "longs": ranked_queue,
    "shorts": ranked_queue,
    "bankruptcy": sequence,
    "symbol_pnl_now": drawdown,
    "pnl_ratio_path": drawdown_path,
    "long_tokens": pool_toggle,
    "adl_size_delta_usd": decrease,
    "winners": closed_whole,
    "winners_in_insert_order": equal_scores,
    "account_value": sorting_index,
}


def deleveraging(of: Inputs) -> Found:
    """Answer a case by its kind."""
    for name, answer in SHAPES.items():
        if name in of:
            return answer(of)
    why = f"a case of another kind: {', '.join(sorted(of))}"
    raise Unsupported(why)


RULES: dict[str, Rule] = {"adl_and_deleveraging": deleveraging}
