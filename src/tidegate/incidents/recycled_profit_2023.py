"""Profit recycled as collateral, November 2023: a thin market pumped with its own gains."""

from collections.abc import Iterator

from tidegate.domain.events import Input
from tidegate.incidents.frame import Incident
from tidegate.incidents.scene import Holder, Scene


WALLETS, SEED = 100, 12_000.0
START, RISE, FALL = 5_400.0, 2.15, 0.30  # dollars; +215 %, then -30 % within an hour
OPEN, PEAK_OPEN = 800_000.0, 67_000_000.0  # dollars of open interest, before and at the top
STEPS = 48  # half hours in which it grows
POWER = 8  # how late the growth comes


def script(scene: Scene) -> Iterator[Input]:
    """Yield a hundred wallets that add to their longs out of their gains, until the price turns."""
    lots = OPEN / START / WALLETS
    seed = SEED
    yield scene.book(
        [
            *(
                Holder(f"wallet-{k}", cash=seed, holds=(("YFI", lots, START),))
                for k in range(WALLETS)
            ),
            Holder("sellers", cash=400_000_000, holds=(("YFI", -OPEN / START, START),)),
        ]
    )
    peak = 0.0
    for half in range(STEPS):
        scene.at(minutes=30 * half)
        price = START * (1.0 + RISE * half / (STEPS - 1))
        yield from scene.price("YFI", price)
        wanted = OPEN + (PEAK_OPEN - OPEN) * (half / (STEPS - 1)) ** POWER
        for k in range(WALLETS):
            add = wanted / price / WALLETS - scene.holds(f"wallet-{k}", "YFI")
            if add * price > 500.0:
                yield scene.trade(f"wallet-{k}", "YFI", add, price, "sellers")
        held = sum(scene.holds(f"wallet-{k}", "YFI") for k in range(WALLETS))
        peak = max(peak, held * price)
    top = START * (1.0 + RISE)
    before = scene.fund()
    for minute in range(1, 61):
        scene.at(hours=24, minutes=minute)
        yield from scene.price("YFI", top * (1.0 - FALL * minute / 60))
    scene.at(hours=26)
    yield scene.pass_time()
    scene.notes["peak_open_interest"] = peak
    scene.notes["fund_lost"] = before - scene.fund()


INCIDENT = Incident.told(__file__, script)
