"""Puts into words what kept a close from hurting its account, and where it hurt all the same."""

from collections.abc import Callable, Sequence

import numpy as np

from tidegate.domain.effects import (
    AuctionsOpened,
    Decision,
    HealthBreached,
    LimitsHeld,
    OrdersPlaced,
)
from tidegate.domain.units import unpack
from tidegate.engine.reading import percent_text
from tidegate.kernels.allocate import ratio_ppm
from tidegate.kernels.never_worse import HOPELESS, INSOLVENT, TIGHTENED


FATES = {
    TIGHTENED: "moved towards the mark: a fill further away would lower the account's health",
    INSOLVENT: "left as the route gave it: the account has nothing left to protect",
    HOPELESS: "the mark itself: any fill lowers the account's health, so no discount is offered",
}


def guards(
    effects: Sequence[Decision], account: int, money: Callable[[int], str]
) -> list[tuple[str, str]]:
    """Return (label, text) of every guard that spoke of ``account`` in one record."""
    said: list[tuple[str, str]] = []
    placed = {e.first: e for e in effects if isinstance(e, OrdersPlaced | AuctionsOpened)}
    for effect in effects:
        match effect:
            case LimitsHeld():
                of = placed[effect.first]
                what = "order" if isinstance(of, OrdersPlaced) else "auction"
                mine = np.flatnonzero(unpack(of.account) == account)
                for n, fate in zip(mine.tolist(), unpack(effect.fate)[mine].tolist(), strict=True):
                    if fate in FATES:
                        said.append(("limit", f"{what} {effect.first + n}: {FATES[fate]}"))
            case HealthBreached():
                here = unpack(effect.account) == account
                names = ("equity", "required", "equity_after", "required_after")
                columns = (unpack(getattr(effect, n))[here].tolist() for n in names)
                for have, need, later, due in zip(*columns, strict=True):
                    text = f"{_health(have, need)} before, {_health(later, due)} after, with "
                    said.append(("breach", f"health {text}{money(later)} left: no penalty"))
            case _:
                pass
    return said


def _health(equity: int, required: int) -> str:
    return percent_text(ratio_ppm(equity, required)) if equity > 0 else "below zero"
