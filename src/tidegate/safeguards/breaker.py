"""When to slow down, and how far."""

from enum import IntEnum
from math import isqrt

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import PPM, Nanos, Ppm


class Rung(IntEnum):
    """The ladder, in order; each one restricts what the one below allowed."""

    NORMAL = 0
    CAUTION = 1  # leverage is restricted
    REDUCE_ONLY = 2  # nothing new is opened
    AUCTION_ONLY = 3  # forced sales leave the order book alone
    HALT = 4  # nothing new is started; exits stay possible


NEVER = 2**62
THRESHOLDS = ("deviations", "distressed", "branching", "drawdown", "doubtful", "drop")


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """What the breaker looks at, all in ppm except the last, a count."""

    deviations: int  # worst move since its anchor, in standard deviations
    distressed: int  # share of all maintenance that belongs to liquidatable accounts
    branching: int  # near branching ratio, the worst instrument or the spectral radius
    drawdown: int  # of the insurance fund from its peak
    doubtful: int  # instruments whose price is not good
    drop: int = 0  # worst fall that a delayed oracle still holds back


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a rung is climbed, and what it does. A threshold left out never trips."""

    rung: str
    deviations: int = NEVER
    distressed: int = NEVER
    branching: int = NEVER
    drawdown: int = NEVER
    doubtful: int = NEVER
    drop: int = NEVER
    initial_scale: Ppm = Ppm(PPM)  # initial margin is multiplied by this
    pace: Ppm = Ppm(PPM)  # share of the liquidation budget
    band: Ppm = Ppm(0)  # forced orders stay within this of the mark; 0: no band

    def __post_init__(self) -> None:
        """Refuse a step that loosens what holds without it."""
        refuse_negative("breaker.steps", self, *THRESHOLDS, "band")
        if not 0 <= self.pace <= PPM or self.initial_scale < PPM:
            raise ConfigInvalid(
                where="breaker.steps",
                what="pace must lie within 0..1_000_000 and initial_scale be >= 1_000_000",
                found=f"{self.pace:_} and {self.initial_scale:_}",
            )

    def level(self) -> int:
        """Return the rung's number."""
        return int(Rung[self.rung.upper()])


class LadderBreaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Climb at once to the highest rung any alarm reaches; come down one rung after a calm.

    Calm means that every alarm lies below ``hysteresis`` times the thresholds of the rung one
    stands on, without a break, for ``cooldown_ns``. ``reserved`` is the share of executable depth
    that forced orders never take: the lane in which accounts reduce risk by themselves.
    """

    steps: tuple[Step, ...] = ()
    hysteresis: Ppm = Ppm(800_000)
    cooldown_ns: Nanos = Nanos(60_000_000_000)
    reserved: Ppm = Ppm(0)
    window_ns: Nanos = Nanos(60_000_000_000)  # a move is measured against a price this old
    memory_ns: Nanos = Nanos(3_600_000_000_000)  # time constant of normal volatility
    deviation_min: Ppm = Ppm(500)  # normal volatility is never taken to be below this per window
    smooth: bool = False  # the pace follows the alarms between the rungs, without a visible level
    halt_max_ns: Nanos = Nanos(0)  # auction_only and halt expire after this; 0: never

    def __post_init__(self) -> None:
        """Refuse a ladder that is out of order, or loosens as it rises."""
        levels: list[int] = []
        for step in self.steps:
            if step.rung.upper() not in Rung.__members__ or step.level() == Rung.NORMAL:
                raise ConfigInvalid(
                    where="breaker.steps.rung",
                    what="must be caution, reduce_only, auction_only or halt",
                    found=repr(step.rung),
                )
            levels.append(step.level())
        if levels != sorted(set(levels)):
            raise ConfigInvalid(
                where="breaker.steps", what="rungs must rise, each once", found=repr(levels)
            )
        for lower, upper in zip(self.steps, self.steps[1:], strict=False):
            _refuse_looser(lower, upper)
        refuse_negative("breaker", self, "cooldown_ns", "deviation_min", "halt_max_ns")
        if min(self.window_ns, self.memory_ns) < 1:
            raise ConfigInvalid(
                where="breaker",
                what="window_ns and memory_ns must be >= 1",
                found=f"{self.window_ns:_} and {self.memory_ns:_}",
            )
        if not 0 < self.hysteresis <= PPM or not 0 <= self.reserved < PPM:
            raise ConfigInvalid(
                where="breaker",
                what="hysteresis must lie within 1..1_000_000 and reserved below 1_000_000",
                found=f"{self.hysteresis:_} and {self.reserved:_}",
            )

    def reached(self, alarms: Alarms, share: int = PPM) -> tuple[int, str, int]:
        """Return the highest rung whose thresholds, times ``share``, an alarm reaches, and why."""
        for step in reversed(self.steps):
            for name in THRESHOLDS:
                line = getattr(step, name)
                value = getattr(alarms, name)
                if line < NEVER and value * PPM >= line * (share if name != "doubtful" else PPM):
                    return step.level(), name, value
        return int(Rung.NORMAL), "calm", 0

    def climb(
        self, alarms: Alarms, *, rung: int, calm_since: int, now: int
    ) -> tuple[int, int, str, int]:
        """Return (rung, calm_since, reason, value) after looking at ``alarms``.

        Up at once, down one rung for each ``cooldown_ns`` of unbroken calm. ``calm_since`` is -1
        while there is no calm.
        """
        target, reason, value = self.reached(alarms)
        if target >= rung and target > 0:
            return target, -1, reason, value
        held, reason, value = self.reached(alarms, self.hysteresis)
        if held >= rung > 0:
            return rung, -1, reason, value
        if rung == 0:
            return 0, -1, "calm", 0
        if calm_since < 0:
            return rung, now, "calm", value
        if now - calm_since >= self.cooldown_ns:
            lower = max((s.level() for s in self.steps if s.level() < rung), default=0)
            return lower, now, "calm", value
        return rung, calm_since, "calm", value

    def expired(
        self, rung: int, *, was: int, since: int, ceiling: int, until: int, now: int
    ) -> tuple[int, int, int, int, bool]:
        """Return (rung, since, ceiling, until, expired): ``rung`` after the patience is over.

        While nothing forced is sold, distress cannot fall: a halt that distress tripped would hold
        itself. Having stood on auction_only or above for ``halt_max_ns``, the ladder comes down one
        rung, and may not climb beyond it for as long again. ``since`` is when it last came there.
        """
        if until and now >= until:
            ceiling, until = int(Rung.HALT), 0
        stuck = was >= Rung.AUCTION_ONLY and now - since >= self.halt_max_ns
        if stuck and rung >= was:
            lower = max((s.level() for s in self.steps if s.level() < was), default=0)
            return lower, now, lower, now + self.halt_max_ns, True
        if until:
            rung = min(rung, ceiling)
        if rung >= Rung.AUCTION_ONLY > was:
            since = now
        return rung, since, ceiling if until else 0, until, False

    def pace(self, alarms: Alarms) -> Ppm:
        """Return the pace between the rungs: for each alarm a line through their paces, the least.

        It falls from full pace at no alarm at all through each rung's pace at its threshold, and
        stays there beyond the last: nowhere a step that traders could see and race to.
        """
        least = PPM
        for name in THRESHOLDS:
            value, line, pace = getattr(alarms, name), 0, PPM
            for step in self.steps:
                upper = getattr(step, name)
                if upper >= NEVER or upper <= line:
                    continue
                if value < upper:
                    pace -= (pace - step.pace) * max(value - line, 0) // (upper - line)
                    break
                line, pace = upper, step.pace
            least = min(least, pace)
        return Ppm(least)

    def at(self, rung: int) -> Step:
        """Return what holds on ``rung``; rungs without a step do nothing of their own."""
        standing = [s for s in self.steps if s.level() <= rung]
        return standing[-1] if standing else Step(rung="normal")

    def deviations(self, *, price: int, anchor: int, variance: int) -> Ppm:
        """Return the move since ``anchor`` in standard deviations of one window, in ppm.

        ``variance`` is ppm squared per second; the floor ``deviation_min`` keeps a quiet night from
        making every tick an alarm.
        """
        if not anchor:
            return Ppm(0)
        move = abs(price - anchor) * PPM // anchor
        normal = max(self.deviation_min, isqrt(variance * self.window_ns // 1_000_000_000))
        return Ppm(min(move * PPM // max(normal, 1), NEVER - 1))

    def variance(self, *, price: int, last: int, variance: int, elapsed: int) -> int:
        """Return the updated variance rate after a move from ``last``, ppm squared per second.

        v += (r^2 / dt - v) * dt / (memory + dt), the implicit first-order filter; r is capped at
        100 %, so that r^2 stays below 2**62 whatever a source says.
        """
        if not last or elapsed <= 0:
            return variance
        r = min(abs(price - last) * PPM // last, PPM)
        total = self.memory_ns + elapsed
        return min((variance * self.memory_ns + r * r * 1_000_000_000) // total, PPM * PPM)

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.steps:
            return ["breaker: none"]
        said: list[str] = []
        units = {
            "deviations": ("a move of {:g} standard deviations", 1e6),
            "distressed": ("{:g} % of all maintenance in distress", 1e4),
            "branching": ("a branching ratio of {:g}", 1e6),
            "drawdown": ("a fund drawdown of {:g} %", 1e4),
            "doubtful": ("{:g} doubtful prices", 1),
            "drop": ("a fall of {:g} % that the oracle still delays", 1e4),
        }
        for s in self.steps:
            when = [
                text.format(getattr(s, name) / unit)
                for name, (text, unit) in units.items()
                if getattr(s, name) < NEVER
            ]
            does = [f"liquidates at {s.pace / 1e4:g} % of its budget"]
            if s.initial_scale > PPM:
                does.append(f"asks {s.initial_scale / 1e6:g} times the initial margin")
            if s.band:
                does.append(f"holds forced orders within {s.band / 1e4:g} % of the mark")
            said.append(f"breaker, {s.rung}: at " + " or ".join(when) + "; " + ", ".join(does))
        if self.smooth:
            said.append("breaker: between the rungs the pace follows the alarms without a step")
        if self.halt_max_ns:
            said.append(
                f"breaker: auction_only and halt end after {self.halt_max_ns / 1e9:g} s at most, "
                "and for as long again do not return"
            )
        said.append(
            f"breaker: comes down one rung after {self.cooldown_ns / 1e9:g} s below "
            f"{self.hysteresis / 1e4:g} % of the thresholds; {self.reserved / 1e4:g} % of depth is "
            "kept for accounts that reduce by themselves"
        )
        return said


def _refuse_looser(lower: Step, upper: Step) -> None:
    """Raise ConfigInvalid where a rung allows what the one below it forbids, or trips before it."""
    if upper.pace > lower.pace or upper.initial_scale < lower.initial_scale:
        raise ConfigInvalid(
            where="breaker.steps",
            what="pace must not rise and initial_scale must not fall, rung by rung",
            found=f"{lower.rung} {lower.pace:_}/{lower.initial_scale:_} then "
            f"{upper.rung} {upper.pace:_}/{upper.initial_scale:_}",
        )
    if lower.band and not 0 < upper.band <= lower.band:
        raise ConfigInvalid(
            where="breaker.steps",
            what="a band must not widen rung by rung, and 0 is none",
            found=f"{lower.rung} {lower.band:_} then {upper.rung} {upper.band:_}",
        )
    for name in THRESHOLDS:
        if getattr(upper, name) < getattr(lower, name) < NEVER:
            raise ConfigInvalid(
                where=f"breaker.steps.{upper.rung}.{name}",
                what="must not trip before the rung below",
                found=f"{getattr(upper, name):_} below {getattr(lower, name):_}",
            )
