"""10 October 2025: collateral priced from a thin local book, and hedges broken by deleveraging."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


LOOPS, HEDGERS = 60, 20
LOCAL, ELSEWHERE = 0.65, 0.998  # dollars for a USDe, on one venue and on the others


def script(scene: Scene) -> Iterator[Input]:
    """Yield ten minutes: SOL falls by a third, and one venue's USDe book empties."""
    yield scene.book(
        [
            *(
                Holder(f"loop-{k}", cash=-78_000 - 150 * k, holds=(("USDe", 100_000, 0),))
                for k in range(LOOPS)
            ),
            *(  # as long of the coin as short of the contract
                Holder(
                    f"hedger-{k}",
                    cash=-8_000,
                    holds=(("SOL", 100, 0), ("SOL-PERP", -100, 225)),
                )
                for k in range(HEDGERS)
            ),
            *(
                Holder(f"short-{k}", cash=60_000, holds=(("SOL-PERP", -200, 225),))
                for k in range(HEDGERS)
            ),
            Holder("whale", cash=70_000, holds=(("SOL-PERP", 3_000, 225),)),
            Holder("steady", cash=900_000, holds=(("SOL-PERP", 3_000, 225),)),
        ]
    )
    for step in range(61):
        scene.at(seconds=10 * step)
        sol = 225.0 * (1.0 - 0.34 * min(1.0, step / 30))
        local = 1.0 - (1.0 - LOCAL) * min(1.0, max(0, step - 20) / 6)
        if step > 40:
            local = LOCAL + (1.0 - LOCAL) * min(1.0, (step - 40) / 15)
        yield from scene.price("USDe", local, "venue")
        yield from scene.price("USDe", ELSEWHERE, "redemption", "elsewhere")
        yield from scene.price("SOL", sol)
        yield from scene.price("SOL-PERP", sol)
        if step == 24:  # who is in profit takes some of it off, in the middle of it
            for k in range(HEDGERS):
                size = min(20.0, -scene.holds(f"short-{k}", "SOL-PERP"))
                if size > 0.0:
                    yield scene.trade(f"short-{k}", "SOL-PERP", size, sol, reduces=True)
    loops = [f"loop-{k}" for k in range(LOOPS)]
    sold = sum(100_000 - scene.holds(name, "USDe") for name in loops)
    scene.notes["collateral_sold"] = sold
    scene.notes["hedges_broken"] = float(
        sum(abs(scene.holds(f"hedger-{k}", "SOL-PERP") + 100) > 1 for k in range(HEDGERS))
    )
    scene.notes["loops_sold"] = float(sum(scene.holds(n, "USDe") < 99_999 for n in loops))


INCIDENT = Incident.told(__file__, script)
