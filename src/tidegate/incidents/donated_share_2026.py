"""A share price jumped by a donation, March 2026: bands that sold just before."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


LOANS, DEBT, COVER = 27, 404_000.0, 1.085
GIVEN, SHARES, EACH = 190_777.0, 1_160_000.0, 1.193  # coins, shares left, coins a share
DIP = 0.023  # for two blocks


def script(scene: Scene) -> Iterator[Input]:
    """Yield loans near their bands, a dip that draws them in, and the present of one block."""
    loans = [f"loan-{k}" for k in range(LOANS)]
    shares = DEBT * COVER / EACH
    yield scene.book(Holder(name, cash=-DEBT, holds=(("sDOLA", shares, 0.0),)) for name in loans)
    jump = GIVEN / (SHARES * EACH)
    scene.notes["jump_percent"] = 100.0 * jump
    yield from scene.price("sDOLA", EACH)
    for block in range(1, 61):
        scene.at(seconds=12 * block)
        if block == 22:
            sold = sum(shares - scene.holds(name, "sDOLA") for name in loans)
            scene.notes["shares_converted"] = sold
        factor = {20: 1.0 - DIP, 21: 1.0 - DIP}.get(block, 1.0 if block < 20 else 1.0 + jump)
        yield from scene.price("sDOLA", EACH * factor)
    after = EACH * (1.0 + jump)
    kept = sum(scene.cash(name) + scene.holds(name, "sDOLA") * after for name in loans)
    scene.notes["borrowers_lost"] = LOANS * (shares * after - DEBT) - kept


INCIDENT = Incident.told(__file__, script)
