"""Worlds by name, as a command line says them: `gbm:vol=120%,for=4h+withdraw:gone=6`."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.lab.weather import World
from tidegate.lab.worlds import fitting, shocks
from tidegate.lab.worlds.bootstrap import KINDS, Bootstrap
from tidegate.lab.worlds.brownian import Brownian
from tidegate.lab.worlds.combine import Finer, Named, Scaled, stressed_correlation
from tidegate.lab.worlds.factor import Factor
from tidegate.lab.worlds.garch import Gjr, Terms
from tidegate.lab.worlds.ground import DAY, HOUR, MINUTE, Clock, one_of
from tidegate.lab.worlds.history import History, candle_file
from tidegate.lab.worlds.jumps import ExponentialJumps, JumpDiffusion, NormalJumps
from tidegate.lab.worlds.liquidity import NEVER, Withdrawal, with_depth
from tidegate.lab.worlds.matching import BY
from tidegate.lab.worlds.options import Options
from tidegate.lab.worlds.regimes import Regime, Regimes
from tidegate.lab.worlds.shocks import Shock
from tidegate.lab.worlds.transplant import Track, Transplant


class Entry(NamedTuple):
    """One name of the catalogue."""

    about: str  # one line for people
    build: Callable[[Options], World]
    first: str | None = None  # the key of a word without one


class Change(NamedTuple):
    """One name that changes a world, after a plus sign."""

    about: str
    build: Callable[[World, Options], World]
    first: str | None = None


def world(spec: str) -> World:
    """Return the world of a line such as `kou:rate=3,step=10s+withdraw:gone=6`.

    Raise ConfigInvalid for a name or key that does not exist, with the closest one that does.
    """
    changes = "|".join(CHANGES)
    parts = re.split(rf"\+(?=(?:{changes})(?::|\+|$))", spec.strip())
    made = _base(parts[0])
    for part in parts[1:]:
        name, _, text = part.partition(":")
        change = CHANGES[name]
        options = Options.of(f"world {name!r}", text, change.first)
        made = change.build(made, options)
        options.finish(change.about)
    return Named(made, spec.strip())


def names() -> dict[str, str]:
    """Return what each name of a world is, one line each."""
    return {name: entry.about for name, entry in ENTRIES.items()}


def changes() -> dict[str, str]:
    """Return what each name after a plus sign does to a world, one line each."""
    return {name: change.about for name, change in CHANGES.items()}


def _base(text: str) -> World:
    name, _, rest = text.partition(":")
    if "+" in name:
        one_of("world: after the plus sign", name.split("+")[1], CHANGES)
    one_of("world", name, ENTRIES)
    entry = ENTRIES[name]
    options = Options.of(f"world {name!r}", rest, entry.first)
    made = entry.build(options)
    options.finish(entry.about)
    return made


def _factor(options: Options) -> Factor:
    return Factor(
        options.number("correlation", 0.6),
        options.by_symbol("loading"),
        options.number("stress", 0.0),
    )


def _history(options: Options, key: str) -> tuple[History, str] | None:
    file = options.text(key)
    symbols, by = options.names("symbols"), options.word("map", "name", BY)
    venue, since, until = (options.text(k) for k in ("venue", "from", "until"))
    if file is None:
        return None
    candles = candle_file(file, symbols, venue=venue, since=since, until=until)
    history = History.of(candles, Path(file).stem)
    return (history if symbols or by == "name" else history.largest_first()), by


def _needed(options: Options) -> tuple[History, str]:
    found = _history(options, "file")
    if found is None:
        raise ConfigInvalid(
            where=options.where, what="needs a file of candles", found="none",
            hint="as in fhs:candles.parquet,symbols=BTCUSDT/ETHUSDT",
        )  # fmt: skip
    return found


def _gbm(options: Options) -> World:
    found = _history(options, "candles")
    if found is not None:
        return fitting.fitted_brownian(found[0], options.whole("steps", 60), found[1])
    vol, drift = options.number("vol", 0.8), options.number("drift", 0.0)
    return Brownian(options.clock(), vol, drift, options.by_symbol("vol"), _factor(options))


def _calm(options: Options) -> World:
    return Brownian(options.clock(), vol=0.0, name="calm")


def _merton(options: Options) -> World:
    law = NormalJumps(options.number("mean", -0.05), options.number("deviation", 0.05))
    return _jumps(options, law, "merton")


def _kou(options: Options) -> World:
    law = ExponentialJumps(
        options.number("up", 0.3), options.number("rise", 0.03), options.number("drop", 0.06)
    )
    return _jumps(options, law, "kou")


def _jumps(options: Options, law: NormalJumps | ExponentialJumps, name: str) -> World:
    return JumpDiffusion(
        clock=options.clock(),
        law=law,
        vol=options.number("vol", 0.6),
        drift=options.number("drift", 0.0),
        rate=options.number("rate", 1.0),
        shared=options.number("shared", 0.5),
        vols=options.by_symbol("vol"),
        factor=_factor(options),
        name=name,
    )


def _law(options: Options) -> fitting.Law:
    return "normal" if options.word("law", "t", fitting.LAWS) == "normal" else "t"


def _gjr(options: Options) -> World:
    found = _history(options, "candles")
    if found is not None:
        steps = options.whole("steps", 60)
        return fitting.fitted_gjr(found[0], steps, found[1], _law(options))
    clock, vol = options.clock(), options.number("vol", 0.8)
    terms = Terms.of_volatility(
        clock.step_ns,
        vol=vol,
        now=options.number("now", vol),
        alpha=options.number("alpha", 0.06),
        gamma=options.number("gamma", 0.04),
        beta=options.number("beta", 0.9),
        df=options.number("df", 4.0),
    )
    return Gjr((terms,), clock, _factor(options))


def _fhs(options: Options) -> World:
    history, by = _needed(options)
    return fitting.fitted_filtered(history, options.whole("steps", 60), by, _law(options))


def _bootstrap(options: Options) -> World:
    history, by = _needed(options)
    kind = options.word("kind", "stationary", KINDS)
    length = (
        fitting.block_length(history, kind)
        if (options.text("length") or "auto") == "auto"
        else options.number("length", 24.0)
    )
    return Bootstrap(history, options.whole("steps", 60), length, kind, by)


def _regimes(options: Options) -> World:
    calm = Regime(
        options.number("calm", 0.5),
        factor=Factor(options.number("calm_correlation", 0.5)),
    )
    storm = Regime(
        options.number("storm", 2.5),
        options.number("storm_drift", 0.0),
        Factor(options.number("storm_correlation", 0.95)),
        options.number("storm_depth", 0.3),
    )
    made = Regimes.calm_and_storm(
        options.clock(),
        calm,
        storm,
        calm_ns=options.duration("calm_for", DAY),
        storm_ns=options.duration("storm_for", HOUR),
    )
    start = options.word("start", "any", ("any", "calm", "storm"))
    return replace(made, start={"any": -1, "calm": 0, "storm": 1}[start])


def _shock(
    make: Callable[..., Shock], *keys: tuple[str, float], steps: int = 60, step_ns: int = MINUTE
) -> Callable[[Options], World]:
    """Return a builder of one shock: ``keys`` are its own parameters and their usual values."""

    def build(options: Options) -> World:
        clock: Clock = options.clock(steps, step_ns)
        own = {key: options.number(key, usual) for key, usual in keys}
        return replace(
            make(clock, **own),
            only=options.names("only"),
            falls=options.by_symbol("fall"),
            noise=options.number("noise", 0.0),
            factor=_factor(options),
        )

    return build


def _crash(options: Options) -> World:
    file, by = options.text("file"), options.word("map", "name", BY)
    symbols, steps = options.names("symbols"), options.whole("steps", 240)
    venue, since, until = (options.text(k) for k in ("venue", "from", "until"))
    step = options.duration("step", SECOND)
    if file is None:
        raise ConfigInvalid(
            where=options.where,
            what="needs a file of candles or the folder of a recording",
            found="none",
            hint="as in crash:candles.parquet,symbols=BTCUSDT,from=2021-05-19",
        )
    if Path(file).is_dir():
        track = Track.of_recording(Path(file), step)
    else:
        candles = candle_file(file, symbols, venue=venue, since=since, until=until)
        if by == "rank" and not symbols:
            candles.sort(key=lambda one: -float((one.volume * one.close).mean()))
        track = Track.of_candles(candles, Path(file).stem)
    return Transplant(
        track.deepest(steps),
        options.number("size", 1.0),
        options.number("speed", 1.0),
        options.number("spread", 0.0),
        by,
    )


def _withdraw(made: World, options: Options) -> World:
    return with_depth(
        made,
        Withdrawal(
            usual=options.number("usual", 0.8),
            power=options.number("power", 1.0),
            half_life_ns=options.duration("half_life", 5 * MINUTE),
            least=options.number("least", 0.0),
            gone=options.number("gone", NEVER),
        ),
    )


def _scaled(made: World, options: Options) -> World:
    return Scaled(made, options.number("size", 1.0), options.number("speed", 1.0))


def _depth(made: World, options: Options) -> World:
    return with_depth(made, options.number("share", 1.0))


def _stressed(made: World, options: Options) -> World:
    return stressed_correlation(made, options.number("by", 0.5))


def _finer(made: World, options: Options) -> World:
    return Finer(made, options.whole("parts", 4))


ENTRIES: Final[dict[str, Entry]] = {
    "gbm": Entry("geometric Brownian motion: vol, drift, correlation, or candles=FILE", _gbm),
    "merton": Entry("Brownian motion with normal jumps: rate a day, mean, deviation", _merton),
    "kou": Entry("Brownian motion with exponential jumps: rate a day, up, rise, drop", _kou),
    "gjr": Entry("GJR-GARCH with Student's t: alpha, gamma, beta, df, or candles=FILE", _gjr),
    "fhs": Entry("filtered historical simulation of candles: FILE", _fhs, "file"),
    "bootstrap": Entry("blocks of real candles in another order: FILE, length", _bootstrap, "file"),
    "regimes": Entry("calm and storm: calm, storm, calm_for, storm_for, storm_depth", _regimes),
    "cliff": Entry(
        "90 % down inside one block, nobody in the book: fall, depth, only",
        _shock(shocks.cliff, ("fall", 0.9), ("depth", 0.0), steps=50, step_ns=12 * SECOND),
        "fall",
    ),
    "gap": Entry(
        "a gap at the open: fall, depth, back",
        _shock(shocks.gap, ("fall", 0.3), ("depth", 0.5), ("back", 0.0)),
        "fall",
    ),
    "bleed": Entry(
        "a slow bleed over the whole horizon: fall",
        _shock(shocks.bleed, ("fall", 0.5), ("depth", 1.0), steps=120),
        "fall",
    ),
    "v": Entry(
        "down and back again: fall, bottom, leaves, top, back",
        _shock(
            shocks.vee,
            ("fall", 0.4),
            ("depth", 0.3),
            ("bottom", 0.25),
            ("leaves", 0.35),
            ("top", 0.75),
            ("back", 1.0),
        ),
        "fall",
    ),
    "depeg": Entry(
        "a lost peg, say whose with only: fall, bottom, leaves, back",
        _shock(
            shocks.depeg,
            ("fall", 0.13),
            ("depth", 0.2),
            ("bottom", 0.3),
            ("leaves", 0.6),
            ("back", 0.97),
            steps=120,
        ),
        "fall",
    ),
    "crash": Entry(
        "a recorded crash on this book: FILE or FOLDER, size, speed, map=name|rank", _crash, "file"
    ),
    "calm": Entry("the control: nothing moves", _calm),
}

CHANGES: Final[dict[str, Change]] = {
    "withdraw": Change("makers leave as volatility rises: usual, power, gone, least", _withdraw),
    "depth": Change(
        "a share of the usual book: depth:0.3",
        _depth,
        "share",
    ),
    "scaled": Change("larger and faster moves: size, speed", _scaled),
    "stressed": Change(
        "correlations that share of the way to 1: stressed:0.8",
        _stressed,
        "by",
    ),
    "finer": Change(
        "each step in parts, by a bridge: finer:15",
        _finer,
        "parts",
    ),
}
