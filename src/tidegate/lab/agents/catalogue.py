"""All adversaries by name: what each may choose, and what the same money would do honestly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tidegate.domain.units import PPM
from tidegate.lab.agents.dumper import Dumper
from tidegate.lab.agents.pairs import Drainer, Pump
from tidegate.lab.agents.sniper import Sniper, Vault
from tidegate.lab.agents.sybil import Sybil
from tidegate.lab.agents.watchers import FrontRunner, Manipulator
from tidegate.lab.population import Population


Choice: TypeAlias = Mapping[str, float]

SEATS: Final = 64  # accounts that an adversary and what it needs may open


@dataclass(frozen=True, slots=True)
class Kind:
    """One adversary: how to make it from a choice of parameters, and the choices to begin with."""

    name: str
    about: str
    build: Callable[[Choice], tuple[Population, ...]]  # fresh ones for one path, itself the last
    grid: Mapping[str, tuple[float, ...]]
    smooth: tuple[str, ...]  # parameters that may also lie between the points of the grid
    twin: Choice | None = None  # changed in a choice, the honest twin; None: stay away, gain 0


def _manipulator(p: Choice) -> tuple[Population, ...]:
    one = Manipulator(
        name="manipulator",
        lie=p["lie"],
        hold=int(p["hold"]),
        bite=p["bite"],
        honest=bool(p.get("honest")),
    )
    return (one,)


def _front_runner(p: Choice) -> tuple[Population, ...]:
    one = FrontRunner(name="front_runner", size=p["size"], reach=p["reach"], hold=int(p["hold"]))
    return (one,)


def _dumper(p: Choice) -> tuple[Population, ...]:
    one = Dumper(name="dumper", size=p["size"], dumped=p["dumped"], turns=int(p["turns"]))
    return (one,)


def _drainer(p: Choice) -> tuple[Population, ...]:
    buffer = round(p["buffer"] * PPM)
    one = Drainer(name="drainer", size=p["size"], push_depths=p["push"], buffer=buffer)
    return (one,)


def _pump(p: Choice) -> tuple[Population, ...]:
    one = Pump(name="pump", size=p["size"], push_depths=p["push"], recycled=p["recycled"])
    return (one,)


def _sniper(p: Choice) -> tuple[Population, ...]:
    vault = Vault()
    return vault, Sniper(name="sniper", vault=vault, edge=int(p["edge"]), size=p["size"])


def _sybil(p: Choice) -> tuple[Population, ...]:
    one = Sybil(name="sybil", size=p["size"], count=int(p["count"]))
    return (one,)


ADVERSARIES: Final = (
    Kind(
        "manipulator",
        "lets one price source lie, and takes what the lie forces others to sell",
        _manipulator,
        {"lie": (-0.3, -0.1, -0.03, 0.1), "hold": (2, 5), "bite": (0.1, 0.4)},
        ("lie", "bite"),
        {"honest": 1},
    ),
    Kind(
        "front_runner",
        "sells ahead of visible forced sales and buys back behind them",
        _front_runner,
        {"reach": (0.0, 0.01, 0.03), "size": (0.05, 0.2, 0.5), "hold": (1, 3)},
        ("reach", "size"),
    ),
    Kind(
        "dumper",
        "buys, takes its margin out again, and lets itself be liquidated",
        _dumper,
        {"size": (0.3, 0.6, 0.9), "dumped": (0.0, 0.3), "turns": (1, 3)},
        ("size", "dumped"),
    ),
    Kind(
        "drainer",
        "bets against itself: one account wins, the other leaves its loss to the fund",
        _drainer,
        {"size": (1.0, 4.0, 16.0), "push": (0.0, 0.5, 1.0, 2.0), "buffer": (1.02,)},
        ("size", "push"),
    ),
    Kind(
        "pump",
        "holds the price up by buying, and takes its unrealised profit out meanwhile",
        _pump,
        {"size": (1.0, 4.0, 16.0), "push": (0.5, 1.0, 2.0), "recycled": (0.0, 0.5)},
        ("size", "push", "recycled"),
    ),
    Kind(
        "sniper",
        "trades with a vault whose mark is older than the price on a second venue",
        _sniper,
        {"edge": (200, 1_000, 5_000), "size": (0.1, 0.5)},
        ("edge", "size"),
    ),
    Kind(
        "sybil",
        "splits a winning position over many accounts, to be deleveraged less",
        _sybil,
        {"count": (4, 16, 48), "size": (0.5, 2.0)},
        ("size",),
        {"count": 1},
    ),
)
