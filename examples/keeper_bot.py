"""A keeper bot: it buys what is liquidated at its margin below the mark, and sells as far above.

python keeper_bot.py https://risk.example:8700 TOKEN --margin 0.004 --budget 50000
"""

import argparse
import asyncio
from decimal import Decimal
from pathlib import Path

from tidegate.client import Refused, Unreachable
from tidegate.client.keeper import Desk, Keeper


def act(keeper: Keeper, desk: Desk, margin: Decimal, budget: Decimal, decided: set) -> None:
    """Reveal what is due, and bid in every auction that has become cheap enough."""
    for sealed in keeper.due(desk):
        print("revealed", sealed.bid, keeper.reveal(sealed) or "in time", flush=True)
    way = {"batch": keeper.bid, "sealed": keeper.seal}.get(desk.kind, keeper.take)
    for offer in list(desk.offers.values()):
        price, worst = desk.price(offer), desk.away(offer, margin)
        this = (offer.auction, offer.began, price)  # one decision a price, or a window of bids
        if this in decided or not desk.takes(offer):
            continue  # decided already, or nothing is taken at this moment
        if not offer.good(offer.limit if price is None else price, worst):
            continue  # too dear, and a Dutch price may still come down to ours
        if lots := desk.affordable(offer, worst, budget - keeper.tied()):
            try:
                told = way(desk, offer, lots, worst)
                print(told.status, told.auction, told.got, told.price, told.code, flush=True)
            except Refused as no:
                print("refused", offer.auction, no, flush=True)
        decided.add(this)


async def keep(address: str, token: str, margin: Decimal, budget: Decimal, memory: Path) -> None:
    """Watch and bid until somebody stops us."""
    decided: set[tuple[int, int, int | None]] = set()
    with Keeper(address, token, memory) as keeper:
        async for desk in keeper.watch():  # after every news, and ten times a second
            try:
                act(keeper, desk, margin, budget, decided)
            except (Refused, Unreachable) as away:  # asked again, it is the same bid
                print("later", away, flush=True)


def main() -> None:
    """Read the command line and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("token")
    parser.add_argument("--margin", type=Decimal, default=Decimal("0.005"), help="of the mark")
    parser.add_argument("--budget", type=Decimal, default=Decimal(10_000), help="in all")
    parser.add_argument("--memory", type=Path, default=Path("sealed.json"), help="of sealed bids")
    asked = parser.parse_args()
    asyncio.run(keep(asked.address, asked.token, asked.margin, asked.budget, asked.memory))


if __name__ == "__main__":
    main()
