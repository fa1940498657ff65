"""A feed stuck at its floor, May 2022: a worthless coin is still good for a loan."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


FLOOR, TRUE = 0.107, 0.01  # what the feed kept saying, and what LUNA was worth
POOL = 8_280_000.0  # what there was to borrow
FACTOR = 0.55  # lent against LUNA
BORROWERS = 10


def script(scene: Scene) -> Iterator[Input]:
    """Yield a feed that stops at its floor while venues fall through it, and who notices."""
    yield scene.book(Holder(name=f"visitor-{k}") for k in range(BORROWERS))
    for minute, price in enumerate((0.60, 0.40, 0.25, 0.15, 0.107)):
        scene.at(minutes=minute)
        yield from scene.price("LUNA", price)
    stopped = scene.now
    need = POOL / (FLOOR * FACTOR) / BORROWERS  # LUNA that a tenth of the pool can be lent against
    for minute in range(5, 65):
        scene.at(minutes=minute)
        age = (scene.now - stopped) / 1e9
        yield from scene.price("LUNA", FLOOR, "feed", age=age)
        yield from scene.price("LUNA", max(TRUE, FLOOR * 0.85 ** (minute - 4)), "venues")
        k = minute - 40
        if 0 <= k < BORROWERS:
            yield scene.deposit(f"visitor-{k}", "LUNA", need)
            yield scene.withdraw(f"visitor-{k}", "USD", POOL / BORROWERS * 0.999)
    owed = -sum(min(0.0, scene.cash(f"visitor-{k}")) for k in range(BORROWERS))
    held = sum(scene.holds(f"visitor-{k}", "LUNA") for k in range(BORROWERS))
    scene.notes["borrowed"] = owed
    scene.notes["true_loss"] = max(0.0, owed - held * TRUE)
    scene.notes["mark_at_end"] = scene.mark("LUNA")


INCIDENT = Incident.told(__file__, script)
