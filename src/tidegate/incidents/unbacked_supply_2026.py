"""Unbacked supply at a healthy price, April 2026: coins from nowhere, good for a loan."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


FORGED = 116_500.0  # rsETH
PRICE = 2_506.0  # dollars: 292 million for all of it
HONEST = 400_000.0  # rsETH that others hold there
FACTOR = 0.93
DRAWN = 0.65  # of what was forged, in loans


def script(scene: Scene) -> Iterator[Input]:
    """Yield honest loans, and forged coins in ten accounts at a price that does not move."""
    honest = [
        Holder(f"honest-{k}", cash=-HONEST / 20 * PRICE * 0.5, holds=(("rsETH", HONEST / 20, 0.0),))
        for k in range(20)
    ]
    yield scene.book([*honest, *(Holder(f"forged-{k}") for k in range(10))])
    yield from scene.price("rsETH", PRICE)
    part = FORGED / 10
    for k in range(10):
        scene.at(minutes=10 + k)
        yield from scene.price("rsETH", PRICE)
        yield scene.deposit(f"forged-{k}", "rsETH", part)
        yield scene.withdraw(f"forged-{k}", "USD", part * PRICE * DRAWN)
        for slice_ in range(1, 6):  # who is refused asks for less, down to a sixth
            if scene.cash(f"forged-{k}") == 0.0:
                yield scene.withdraw(f"forged-{k}", "USD", part * PRICE * DRAWN * (1 - slice_ / 6))
    # The forged coins are void: they are worth nothing, whatever the oracle says.
    owed = sum(-scene.cash(f"forged-{k}") for k in range(10))
    scene.notes["void_loans"] = owed
    scene.notes["mark"] = scene.mark("rsETH")


INCIDENT = Incident.told(__file__, script)
