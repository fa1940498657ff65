"""Scores of published queues, and what a queue takes: from profits, or lot for lot."""

from typing import Any

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, column
from tidegate.conformance.deleveraging import MOST, queue, scaled, sequence
from tidegate.domain.units import unbounded
from tidegate.kernels import allocate, closeout, rank


PEERS = ("docs", "openhl")
BPS = 10**4

capped_ratio = unbounded(rank.capped_ratio)
forgone_per_lot = unbounded(closeout.forgone_per_lot)
in_order = unbounded(allocate.in_order)
margin_score = unbounded(rank.margin_score)
product = unbounded(rank.product)


def gain_of(of: Any, mark: int) -> int:
    """Return the unrealised profit of a case's position."""
    return of["size"] * (mark - of["entry"])


def score_of(of: Any, mark: int) -> int | None:
    """Return openhl's score in basis points, or None for whom it does not admit."""
    gain, wallet = gain_of(of, mark), of["collateral"]
    if gain <= 0 or wallet <= 0 or wallet + gain <= 0:
        return None
    share = capped_ratio(gain, wallet, BPS, MOST)
    return product(share, capped_ratio(abs(of["size"]) * mark, wallet + gain, BPS, MOST), BPS)


def product_score(of: Inputs) -> Found:
    """Profit over collateral times notional over equity, rounded down at each step."""
    return {"score_bps": score_of(of, of["mark"])}


def haircuts(of: Inputs) -> Found:
    """Profits are cut along the queue until the deficit is covered."""
    mark = of["mark"]
    able = [c for c in of["candidates"] if score_of(c, mark) is not None]
    order = queue([score_of(c, mark) or 0 for c in able], [c["account"] for c in able])
    gains, cut = [gain_of(c, mark) for c in able], column(*[0] * len(able))
    left = in_order(of["deficit"], column(*order), column(*gains), cut)
    records = [
        {"account": able[n]["account"], "haircut": cut[n], "pnl_paid": gains[n] - cut[n]}
        for n in order
        if cut[n]
    ]
    return {"records": records, "deficit_remaining": left}


def leverage_pnl(of: Inputs) -> Found:
    """Binance: profit over wallet times margin ratio; the ratio may be given outright."""
    gain, wallet = scaled(of["upnl"]), scaled(of["wallet_balance"])
    share = capped_ratio(gain, max(WAD, wallet), WAD, MOST)
    if "margin_ratio" in of:
        score = product(share, scaled(of["margin_ratio"]), WAD)
    else:
        score = margin_score(gain, wallet, WAD, scaled(of["maintenance_margin"]), WAD, MOST)
    return {"pnl_percent": share / WAD, "leverage_pnl": score / WAD}


def matched(of: Inputs) -> Found:
    """Lots are matched along the queue; each gives up the mark less the bankruptcy price."""
    names, sizes = zip(*of["ranked_opposite_quantities"], strict=True) or ((), ())
    bankrupt = of["bankrupt_size"]
    taken = column(*[0] * len(names))
    left = in_order(abs(bankrupt), column(*range(len(names))), column(*sizes), taken)
    side = 1 if bankrupt > 0 else -1
    each = forgone_per_lot(side, scaled(of["mark"]), scaled(of["bankruptcy_price"]))
    fills = [
        {"account": name, "quantity": n, "forgone_pnl": each * n / WAD}
        for name, n in zip(names, taken, strict=True)
        if n
    ]
    return {"fills": fills, "unmatched": left, "open_interest_imbalance_after": left}


RULES: dict[str, Rule] = {
    "adl_ranking_and_haircut.score_pnl_pct_x_leverage": product_score,
    "adl_ranking_and_haircut.pnl_haircut_queue": haircuts,
    "adl_ranking_and_haircut.binance_leverage_pnl": leverage_pnl,
    "adl_ranking_and_haircut.bitmex_like_score": sequence,
    "adl_ranking_and_haircut.quantity_matched_adl": matched,
}
