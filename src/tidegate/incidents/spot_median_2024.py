"""A median of spot prices moved by a flash loan, June 2024: eleven quotes, five in one hand."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


SPOTS = tuple(f"pool-{k}" for k in range(5))  # read at the moment they are asked
AVERAGES = tuple(f"average-{k}" for k in range(6))  # the other six of the eleven
HONEST = (0.985, 0.99, 1.0, 1.005, 1.02, 1.03)  # what those six say: they never quite agree
BORROWERS = 40


def script(scene: Scene) -> Iterator[Input]:
    """Yield borrowers of the coin, and two blocks in which five pools are pushed down and up."""
    debt = 500_000.0
    yield scene.book(
        [
            *(
                Holder(
                    f"borrower-{k}", cash=debt * (1.115 + 0.0015 * k), holds=(("sUSDe", -debt, 0),)
                )
                for k in range(BORROWERS)
            ),
            Holder("attacker", cash=20_000_000),
        ]
    )
    seen: dict[int, float] = {}
    for block in range(40):
        scene.at(seconds=12 * block)
        pushed = {20: 0.90, 21: 1.10}.get(block, 1.0)
        yield from scene.price("sUSDe", pushed, *SPOTS)
        for source, price in zip(AVERAGES, HONEST, strict=True):
            yield from scene.price("sUSDe", price, source)
        seen[block] = scene.mark("sUSDe")
    scene.notes["low"], scene.notes["high"] = seen[20], seen[21]
    scene.notes["swing_percent"] = 100.0 * (seen[21] / seen[20] - 1.0)
    scene.notes["calm"] = seen[19]


INCIDENT = Incident.told(__file__, script)
