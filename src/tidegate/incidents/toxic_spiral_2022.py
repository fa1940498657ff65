"""The toxic spiral on a large short, November 2022: every liquidation made the loan worse."""

from collections.abc import Iterator

import numpy as np

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


DEBT, COLLATERAL = 92_000_000.0, 63_600_000.0  # CRV owed, dollars held
PATH = (0, 0.600), (6, 0.678), (20, 0.691), (60, 0.704)  # minutes, dollars


def script(scene: Scene) -> Iterator[Input]:
    """Yield one short, a coin that rises for an hour, and liquidators with what they can buy."""
    yield scene.book((Holder("short", cash=COLLATERAL, holds=(("CRV", -DEBT, 0.0),)),))
    yield from scene.price("CRV", PATH[0][1])
    scene.makers_show("CRV", 0.0)  # whoever liquidates brings coins from elsewhere
    worst = 0.0
    minutes, prices = zip(*PATH, strict=True)
    for second in range(4, 3_601, 4):
        scene.at(seconds=second)
        yield from scene.price("CRV", float(np.interp(second / 60, minutes, prices)))
        for offer in scene.offers():
            scene.notes["takes"] = scene.notes.get("takes", 0.0) + 1.0
            yield scene.take(offer)
        owed, held = -scene.holds("short", "CRV") * scene.mark("CRV"), scene.cash("short")
        if held > 1.0:
            worst = max(worst, owed / held)
    scene.notes["worst_loan_to_value"] = worst
    scene.notes["debt_left"] = -scene.holds("short", "CRV")
    scene.notes["dollars_left"] = scene.cash("short")


INCIDENT = Incident.told(__file__, script)
