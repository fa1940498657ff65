"""A mis-set growth cap, March 2026: accounts liquidated although no market had moved."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene
from tidegate.kernels.aggregate import capped_growth


ACCOUNTS, COLLATERAL = 34, 10_938.0  # wstETH
RATIO = 1.2285  # ETH per wstETH, the market's and the vault's own
MICRO, PPM = 10**6, 1_000_000
YEAR, DAYS = 31_536_000, 86_400
GROWTH = 87_000  # ppm a year, as the reported cap implies


def capped() -> float:
    """Return the most the cap allowed: the old ratio, grown for the week that was booked anew.

    The snapshot ratio could rise by 3 % only, to 1.1919, while its date moved by a full seven days.
    """
    snapshot = round(1.1919 * MICRO)
    return capped_growth(snapshot, GROWTH, PPM, YEAR, 7 * DAYS) / MICRO


def script(scene: Scene) -> Iterator[Input]:
    """Yield loops of wstETH against ETH at 93.6 to 94.9 %, and one wrong reading of the ratio."""
    each = COLLATERAL / ACCOUNTS
    yield scene.book(
        Holder(
            name=f"loop-{k}",
            cash=-each * RATIO * (0.936 + 0.013 * k / (ACCOUNTS - 1)),
            holds=(("wstETH", each, 0.0),),
        )
        for k in range(ACCOUNTS)
    )
    yield from scene.price("wstETH", RATIO)
    before = scene.mark("wstETH")
    for minute in range(1, 31):
        scene.at(minutes=minute)
        yield from scene.price("wstETH", capped() if 10 <= minute < 25 else RATIO)
        if minute == 10:
            scene.notes["oracle_fall_percent"] = 100.0 * (1.0 - capped() / before)
            scene.notes["mark_fall_percent"] = 100.0 * (1.0 - scene.mark("wstETH") / before)


INCIDENT = Incident.told(__file__, script)
