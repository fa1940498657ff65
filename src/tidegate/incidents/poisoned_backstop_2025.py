"""A backstop that inherits a poisoned position, March 2025: a short handed over on purpose."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


SHORT = 415_000_000.0  # tokens; reports say 398 to 430 million
BEFORE, HANDED, PEAK = 0.0095, 0.0125, 0.0434  # dollars


def script(scene: Scene) -> Iterator[Input]:
    """Yield a short whose owner takes its margin away, a vault that has it, and a squeeze."""
    margin = SHORT * BEFORE / 3 * 1.02
    yield scene.book(
        (
            Holder("attacker", cash=margin + 800_000, holds=(("JELLY", -SHORT, BEFORE),)),
            Holder("accomplice", cash=4_000_000, holds=(("JELLY", SHORT / 2, BEFORE),)),
            Holder("holders", cash=4_000_000, holds=(("JELLY", SHORT / 2, BEFORE),)),
            Holder("vault", cash=230_000_000),
        )
    )
    yield from scene.price("JELLY", BEFORE)
    yield scene.commitment("vault", "JELLY", long=0.0, short=1_000_000_000.0)
    scene.at(minutes=1)
    yield scene.withdraw("attacker", "USD", 800_000)
    for minute in range(2, 61):
        scene.at(minutes=minute)
        share = min(1.0, (minute - 2) / 8) if minute < 10 else min(1.0, (minute - 10) / 40)
        price = (
            BEFORE + (HANDED - BEFORE) * share if minute < 10 else HANDED + (PEAK - HANDED) * share
        )
        yield from scene.price("JELLY", price)
    equity, _ = scene.margin("vault")
    scene.notes["vault_loss"] = 230_000_000 - equity
    scene.notes["vault_short"] = -scene.holds("vault", "JELLY")


INCIDENT = Incident.told(__file__, script)
