"""Who else is there: words like `trend:count=1000,instrument=BTC` become populations."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Final

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, Money
from tidegate.lab.agents.arbitrage import Arbitrageurs
from tidegate.lab.agents.borrowers import Savers
from tidegate.lab.agents.hedgers import BasisTraders, Hedgers
from tidegate.lab.agents.makers import Makers
from tidegate.lab.agents.providers import PoolRunners
from tidegate.lab.agents.trend import Trend
from tidegate.lab.agents.whales import Whales
from tidegate.lab.population import Population
from tidegate.lab.worlds.options import Options


Made = Callable[[str, Options, int], Population]  # name, options, instrument


def _money(o: Options, key: str, usual: float) -> Money:
    return Money(round(o.number(key, usual) * PPM))


def _trend(direction: int) -> Made:
    def made(name: str, o: Options, i: int) -> Population:
        return Trend(
            name=name,
            count=o.whole("count", 1_000),
            capital=_money(o, "capital", 10_000.0),
            leverage=o.number("leverage", 5.0),
            instrument=i,
            direction=direction,
        )

    return made


def _hedgers(name: str, o: Options, i: int) -> Population:
    return Hedgers(
        name=name, count=o.whole("count", 100), gamma=o.number("gamma", 100.0), instrument=i
    )


def _basis(name: str, o: Options, i: int) -> Population:
    return BasisTraders(
        name=name, share=o.number("share", 0.5), latency=o.whole("latency", 1), instrument=i
    )


def _whales(name: str, o: Options, i: int) -> Population:
    return Whales(name=name, count=o.whole("count", 5), pieces=o.whole("pieces", 5), instrument=i)


def _makers(name: str, o: Options, i: int) -> Population:
    return Makers(
        name=name, count=o.whole("count", 50), patience=o.whole("patience", 20), instrument=i
    )


def _arbitrage(name: str, o: Options, i: int) -> Population:
    return Arbitrageurs(
        name=name,
        count=o.whole("count", 100),
        capital=_money(o, "capital", 100_000.0),
        latency=o.whole("latency", 1),
        instrument=i,
    )


def _savers(name: str, o: Options, i: int) -> Population:
    del i  # they look at the whole account
    return Savers(
        name=name,
        attentive=o.number("attentive", 0.5),
        target=o.number("target", 2.0),
        spare=o.number("spare", 1.0),
    )


def _runners(name: str, o: Options, i: int) -> Population:
    del i  # they look at the pool
    return PoolRunners(name=name, count=o.whole("count", 10), share=o.number("share", 0.5))


KINDS: Final[dict[str, tuple[Made, str]]] = {
    "trend": (_trend(1), "leveraged traders who follow the price: count, capital, leverage"),
    "contrarian": (_trend(-1), "leveraged traders who lean against it: count, capital, leverage"),
    "hedgers": (_hedgers, "sellers of options who hedge: count, gamma (lots)"),
    "basis": (_basis, "shorts of the book who hold the coin as well: share, latency (steps)"),
    "whales": (_whales, "the book's largest, with stops: count, pieces"),
    "makers": (_makers, "market makers who widen and leave: count, patience (steps)"),
    "arbitrage": (_arbitrage, "traders between this venue and another: count, capital, latency"),
    "savers": (_savers, "accounts that pay in to be saved: attentive, target, spare"),
    "runners": (_runners, "depositors of the pool who run: count, share"),
}


def crowd_of(specs: Sequence[str], symbols: Sequence[str]) -> list[Population]:
    """Return fresh populations for one path, in the order of ``specs``.

    A spec is ``KIND`` or ``KIND:key=value,...``; ``instrument`` is a symbol, the first one if not
    said. Two of one kind draw their own lots: a spec is the name of its population. Raise
    ConfigInvalid for an unknown kind, key or symbol, and for the same spec twice.
    """
    crowd: list[Population] = []
    for spec in specs:
        kind, _, said = spec.partition(":")
        where = f"agents.{kind}"
        if kind not in KINDS:
            close = get_close_matches(kind, list(KINDS), n=1)
            raise ConfigInvalid(
                where="agents",
                what=f"must be one of {', '.join(KINDS)}",
                found=repr(kind),
                hint=f"did you mean {close[0]}?" if close else None,
            )
        if spec in [population.name for population in crowd]:
            raise ConfigInvalid(where=where, what="must not be said twice", found=repr(spec))
        o = Options.of(where, said)
        symbol = o.word("instrument", symbols[0], tuple(symbols))
        crowd.append(KINDS[kind][0](spec, o, list(symbols).index(symbol)))
        o.finish("tidegate stress --help lists the kinds")
    return crowd
