"""One venue's print of a stablecoin, November 2020: a dollar that is owed costs 1.30."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


FARM = 46_000_000.0  # DAI: the largest account's share of what was liquidated
OTHERS = 42_000_000.0  # DAI, by everybody else
PRINT = 1.30  # dollars
COUNT = 124


def script(scene: Scene) -> Iterator[Input]:
    """Yield borrowers of DAI against dollars, and half an hour in which one exchange says 1.30."""
    debts = [2 * FARM] + [2 * OTHERS / (COUNT - 1)] * (COUNT - 1)
    yield scene.book(
        Holder(
            name=f"borrower-{k}",
            cash=debt / (0.62 + 0.12 * k / COUNT),
            holds=(("DAI", -debt, 0.0),),
        )
        for k, debt in enumerate(debts)
    )
    for minute in range(61):
        scene.at(minutes=minute)
        exchange = PRINT if 20 <= minute < 50 else 1.01
        pool = 1.05 if 20 <= minute < 50 else 1.01
        yield from scene.price("DAI", exchange, "exchange")
        yield from scene.price("DAI", pool, "pool")
        yield from scene.price("DAI", 1.01, "others")


INCIDENT = Incident.told(
    __file__,
    script,
    measures=lambda scene: {"penalties_dai": scene.paid["penalty"] / 1e6 / PRINT},
)
