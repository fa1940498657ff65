"""Ajna: the auction's price in three phases, the opener's bond, and the reserve auction."""

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules
from tidegate.domain.units import unbounded
from tidegate.kernels import auction, curves


PEERS = ("ajna",)

phased_halving = unbounded(curves.phased_halving)
halving = unbounded(curves.halving)
bond_payment = unbounded(auction.bond_payment)
take_penalty = unbounded(auction.take_penalty)
kept = unbounded(auction.kept)
claimable = unbounded(auction.claimable)

UNIT = 2**100  # of one whole in a power of two: far finer than their 18 decimals
MINUTE = 60
RESERVE_TOP = 10**9 * WAD  # what a reserve auction asks for all of its reserves
DEPOSIT_BUFFER = 1_000_000_001 * 10**9


def auction_price(v: Inputs) -> Found:
    """Answer ``ajna_auction``."""
    reference = int(v["reference_price"])
    return {"price": [phased_halving(reference, int(t), MINUTE, UNIT) for t in v["elapsed"]]}


def reserve_price(v: Inputs) -> Found:
    """Answer ``ajna_reserve``: minutes count whole."""
    kicked = int(v["last_kicked_reserves"])
    top = RESERVE_TOP * WAD // kicked if kicked else 0
    return {"price": [halving(top, int(t) // MINUTE, MINUTE, UNIT) for t in v["elapsed"]]}


def bonds(v: Inputs) -> Found:
    """Answer ``ajna_bpf``."""
    return {
        "bpf": [
            bond_payment(
                int(case["debt_to_collateral"]),
                int(case["neutral_price"]),
                int(case["bond_factor"]),
                int(case["price"]),
                WAD,
            )
            for case in v["cases"]
        ]
    }


def take(v: Inputs) -> Found:
    """Answer ``ajna_take``."""
    penalty = take_penalty(int(v["bond_factor"]), int(v["bpf"]))
    return {"take_penalty": penalty, "borrower_price": kept(int(v["price"]), penalty, WAD)}


def reserves(v: Inputs) -> Found:
    """Answer ``ajna_claimable``."""
    names = ("debt", "quote_balance", "pool_size", "bonds", "unclaimed")
    cases = [[int(case[name]) for name in names] for case in v["cases"]]
    return {
        "claimable": [
            claimable(debt, quote, deposits, DEPOSIT_BUFFER, held, due, WAD)
            for debt, quote, deposits, held, due in cases
        ]
    }


RULES: Rules = {
    "ajna.ajna_auction": auction_price,
    "ajna.ajna_reserve": reserve_price,
    "ajna.ajna_bpf": bonds,
    "ajna.ajna_take": take,
    "ajna.ajna_claimable": reserves,
}
