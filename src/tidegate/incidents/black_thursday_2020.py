"""Black Thursday, March 2020: an hour-old price, a full chain, and auctions won for nothing."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


NOTHING = 62_890.0  # ETH won for nothing
SHARE = 9, 25  # of the auctions: 36 %
VAULTS = 350
DEAREST, LAST = 170.0, 132.0  # dollars: where the first vault is due, and where the price ends


def script(scene: Scene) -> Iterator[Input]:
    """Yield a price that falls by half, and a chain on which hardly anybody can bid."""
    each = NOTHING * SHARE[1] / SHARE[0] / VAULTS
    due = [LAST + (DEAREST - LAST) * (k + 0.5) / VAULTS for k in range(VAULTS)]
    vaults = [
        Holder(f"vault-{k}", cash=-each * at / 1.5, holds=(("ETH", each, 0.0),))
        for k, at in enumerate(due)
    ]
    yield scene.book([*vaults, Holder("depositor", cash=40_000_000)])
    yield from scene.price("ETH", 194.0)
    if scene.stack.declaration.backstop.pool.depositors_max:
        yield scene.join("depositor", 39_000_000)
    scene.makers_show("ETH", 0.0)  # the chain is full: no order reaches the market in time
    lone: dict[int, float] = {}
    for minute in range(1, 8 * 60 + 1):
        scene.at(minutes=minute)
        fall = min(1.0, minute / 300)
        yield from scene.price("ETH", 194.0 - (194.0 - LAST) * fall)
        for offer in scene.offers():
            if offer.auction not in lone:
                zero = len(lone) % SHARE[1] < SHARE[0]
                lone[offer.auction] = 0.01 if zero else 0.96 * scene.mark("ETH")
                if scene.stack.batches is not None:
                    yield scene.bid(offer, lone[offer.auction])


INCIDENT = Incident.told(__file__, script)
