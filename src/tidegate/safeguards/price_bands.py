"""Where a price may trade: bands that follow it, limit states, pauses, market-wide levels."""

from itertools import pairwise

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.restraint import CELLS
from tidegate.domain.units import PPM, SECOND, Nanos, Ppm


RECENTRES = ("mark", "limit")


class BandRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bands of one instrument; 0 is none of that kind. Neutral: none."""

    width: Ppm = Ppm(0)  # around the reference: limit state, then a pause
    rolling: Ppm = Ppm(0)  # of the reference, from the extremes of the rolling window: a pause
    velocity: Ppm = Ppm(0)  # of the price, within the velocity window: a short pause

    def prove(self, where: str) -> None:
        """Refuse widths beyond 100 %, and bands that contradict each other."""
        refuse_negative(where, self, "width", "rolling", "velocity")
        if max(self.width, self.rolling, self.velocity) >= PPM:
            raise ConfigInvalid(
                where=where,
                what="width, rolling and velocity must be < 1_000_000: a price cannot fall further",
                found=f"{self.width:_}, {self.rolling:_}, {self.velocity:_}",
            )
        if self.rolling and self.velocity > self.rolling:
            raise ConfigInvalid(
                where=f"{where}.velocity",
                what="must be <= rolling: the shorter window would never stop anything first",
                found=f"{self.velocity:_} over {self.rolling:_}",
            )

    @property
    def active(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self.width or self.rolling or self.velocity)


class MarketLevels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Falls of one watched instrument that pause everything. Neutral: none is watched.

    Each level counts once in a window; the last one closes the market until the window ends.
    Source: SEC, market-wide circuit breakers (7, 13 and 20 % of the previous close).
    """

    symbol: str = ""
    levels: tuple[Ppm, ...] = (Ppm(70_000), Ppm(130_000), Ppm(200_000))
    pause_ns: Nanos = Nanos(900 * SECOND)
    window_ns: Nanos = Nanos(86_400 * SECOND)

    def __post_init__(self) -> None:
        """Refuse levels that do not rise, and windows shorter than their pause."""
        rising = all(a < b for a, b in pairwise((0, *self.levels, PPM)))
        if not self.levels or not rising:
            raise ConfigInvalid(
                where="bands.market.levels",
                what="must rise, within 1..999_999",
                found=repr(list(self.levels)),
            )
        if not 0 < self.pause_ns <= self.window_ns:
            raise ConfigInvalid(
                where="bands.market.pause_ns",
                what="must be positive and no longer than window_ns",
                found=f"{self.pause_ns:_} and {self.window_ns:_}",
            )


class PriceBands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bands around a rolling reference, and what happens at their edge. Neutral: no bands.

    A price at its band begins a limit state; after ``limit_ns`` of it the instrument is paused for
    ``pause_ns``. A move beyond the rolling window or too fast pauses at once. In a pause nothing is
    opened, forced, deleveraged or paid out against that price; reducing stays possible. After it
    the windows begin anew around the price, or around the limit that was hit.

    Source: Limit Up-Limit Down plan; CME dynamic circuit breakers and velocity logic; Coinbase
    Derivatives (the limit that was hit is the next reference).
    """

    instruments: dict[str, BandRule] = {}  # by symbol; "*" for all others
    reference_ns: Nanos = Nanos(300 * SECOND)  # the reference is the mean of this long
    reference_step: Ppm = Ppm(10_000)  # it follows once the mean has moved this far ...
    reference_min_ns: Nanos = Nanos(30 * SECOND)  # ... and it has stood this long
    limit_ns: Nanos = Nanos(15 * SECOND)
    pause_ns: Nanos = Nanos(300 * SECOND)
    rolling_ns: Nanos = Nanos(3_600 * SECOND)
    rolling_pause_ns: Nanos = Nanos(120 * SECOND)
    velocity_ns: Nanos = Nanos(5 * SECOND)
    velocity_pause_ns: Nanos = Nanos(5 * SECOND)
    recentre: str = "mark"
    market: MarketLevels = MarketLevels()

    def __post_init__(self) -> None:
        """Refuse windows without room for their cells and pauses that never end or begin."""
        for symbol, rule in self.instruments.items():
            rule.prove(f"bands.instruments.{symbol}")
        refuse_negative("bands", self, "reference_step", "reference_min_ns", "limit_ns")
        for name in ("reference_ns", "rolling_ns", "velocity_ns"):
            if getattr(self, name) < CELLS:
                raise ConfigInvalid(
                    where=f"bands.{name}",
                    what=f"must be >= {CELLS}: a window has that many cells",
                    found=f"{getattr(self, name):_}",
                )
        for name in ("pause_ns", "rolling_pause_ns", "velocity_pause_ns"):
            if getattr(self, name) < 1:
                raise ConfigInvalid(
                    where=f"bands.{name}",
                    what="must be >= 1: a pause of nothing stops nothing",
                    found=f"{getattr(self, name):_}",
                )
        if self.recentre not in RECENTRES:
            raise ConfigInvalid(
                where="bands.recentre",
                what=f"must be one of {list(RECENTRES)}",
                found=repr(self.recentre),
            )

    def rule(self, symbol: str) -> BandRule:
        """Return the rule of one instrument."""
        return self.instruments.get(symbol) or self.instruments.get("*") or BandRule()

    def refuse_unknown(self, symbols: list[str]) -> None:
        """Raise ConfigInvalid where a symbol is none of the venue's."""
        for symbol in self.instruments:
            if symbol not in symbols and "*" not in self.instruments:
                raise ConfigInvalid(
                    where=f"bands.instruments.{symbol}",
                    what=f"must be one of the venue's {sorted(symbols)}",
                    found=repr(symbol),
                )
        if self.market.symbol and self.market.symbol not in symbols:
            raise ConfigInvalid(
                where="bands.market.symbol",
                what=f"must be one of the venue's {sorted(symbols)}",
                found=repr(self.market.symbol),
            )

    def windows(self) -> tuple[int, int, int]:
        """Return the length of each ring's window in ns."""
        return self.reference_ns, self.rolling_ns, self.velocity_ns

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        for symbol, rule in self.instruments.items():
            name = "every other instrument" if symbol == "*" else symbol
            if rule.width:
                said.append(
                    f"bands, {name}: within {rule.width / 1e4:g} % of the mean of "
                    f"{self.reference_ns / 1e9:g} s; {self.limit_ns / 1e9:g} s at the band pause "
                    f"it for {self.pause_ns / 1e9:g} s"
                )
            if rule.rolling:
                said.append(
                    f"bands, {name}: {rule.rolling / 1e4:g} % from the extremes of "
                    f"{self.rolling_ns / 1e9:g} s pause it for {self.rolling_pause_ns / 1e9:g} s"
                )
            if rule.velocity:
                said.append(
                    f"bands, {name}: {rule.velocity / 1e4:g} % within {self.velocity_ns / 1e9:g} s "
                    f"pause it for {self.velocity_pause_ns / 1e9:g} s"
                )
        if any(rule.active for rule in self.instruments.values()):
            said.append(f"bands: after a pause they begin anew around the {self.recentre}")
        if self.market.symbol:
            falls = ", ".join(f"{level / 1e4:g}" for level in self.market.levels)
            said.append(
                f"bands: everything pauses for {self.market.pause_ns / 1e9:g} s when "
                f"{self.market.symbol} has fallen {falls} % within "
                f"{self.market.window_ns / 1e9:g} s, each once; the last closes the market"
            )
        return said
