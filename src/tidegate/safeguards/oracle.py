"""Which prices we believe, how much, and for what."""

from enum import IntEnum

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import PPM, Nanos, Ppm, Ticks
from tidegate.kernels.aggregate import sample_held, times


class Quality(IntEnum):
    """How far a mark can be trusted, best first."""

    GOOD = 0
    DOUBTFUL = 1  # few sources, wide, or far from the venue's own price: an interval, not a point
    STALE = 2  # nothing new for too long: the last mark with a widened interval
    NONE = 3  # never observed


class Action(IntEnum):
    """What a price is about to be used for, in order of the harm a wrong one does."""

    VALUE = 0
    REDUCE = 1
    OPEN = 2
    WITHDRAW = 3
    LIQUIDATE = 4
    DELEVERAGE = 5


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One price source: its weight in the index, or the venue's own market."""

    name: str
    weight: int = 1
    role: str = "index"  # or "venue": the mark's own market, never part of the index

    def __post_init__(self) -> None:
        """Refuse a weight that cannot vote and a role nobody plays."""
        if self.weight < 1 or self.role not in {"index", "venue"}:
            raise ConfigInvalid(
                where=f"oracle.sources.{self.name}",
                what='weight must be >= 1 and role "index" or "venue"',
                found=f"{self.weight}, {self.role!r}",
            )


class Seen(msgspec.Struct, frozen=True):
    """What the guard remembers of one source: its last price, half-width and time."""

    source: int
    price: int
    confidence: int
    published: int


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard concludes: a mark, an interval around it, and how good it is."""

    price: int
    low: int
    high: int
    index: int
    basis: int
    quality: int
    reason: str
    average: int = 0  # time-weighted average of the price, in 1/1024 ticks


class StablePrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price for collateral that follows the mark only so fast. Neutral: none is kept.

    Before an account takes on risk, what it holds counts at the lower of mark and stable price and
    what it owes at the higher; liquidation uses the mark. Source: Mango v4, `stable_price.rs`.
    """

    growth: Ppm = Ppm(0)  # most that it moves in a second; 0: no stable price
    delay_growth: Ppm = Ppm(60_000)  # most that the delayed price moves from interval to interval
    interval_s: int = 3_600  # the delayed price is an average of this long, a day of them ago
    rest_s: int = 10  # a mark sooner after the last one is passed over
    reach_s: int = 600  # and none counts for more time than this
    positions: bool = False  # positions are judged at it too, not only assets

    def __post_init__(self) -> None:
        """Refuse speeds and intervals that would freeze it or let it jump."""
        refuse_negative("oracle.stable", self, "growth", "delay_growth", "rest_s")
        if self.growth * self.reach_s > PPM or self.delay_growth > PPM:
            raise ConfigInvalid(
                where="oracle.stable.growth",
                what="growth x reach_s and delay_growth must be <= 1_000_000: no jump to zero",
                found=f"{self.growth * self.reach_s:_} and {self.delay_growth:_}",
            )
        if not max(self.rest_s, 1) <= self.reach_s <= self.interval_s <= 86_400:
            raise ConfigInvalid(
                where="oracle.stable",
                what="must satisfy 1 <= rest_s <= reach_s <= interval_s <= 86_400",
                found=f"{self.rest_s}, {self.reach_s}, {self.interval_s}",
            )


class OracleGuard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Turn what sources say into a mark with an interval and a quality. Neutral: believe anything.

    index   weighted median of the fresh index sources, outliers dropped
    mark    index + smoothed (venue price - index), held within ``divergence_max`` of the index
    limits  one step may carry the mark ``step_max``; a larger one is taken in part, and doubtful
    gates   the worst quality at which each action may still use the price
    """

    sources: tuple[Source, ...] = ()  # empty: every source of the venue, weight 1
    age_max_ns: Nanos = Nanos(0)  # 0: never stale
    sources_min: int = 1
    outlier_max: Ppm = Ppm(0)  # further from the median of all: dropped; 0: none is
    confidence_max: Ppm = Ppm(0)  # a wider half-width makes a price doubtful; 0: never
    step_max: Ppm = Ppm(0)  # 0: any step
    divergence_max: Ppm = Ppm(0)  # of the venue's price from the index; 0: not looked at
    smoothing_ns: Nanos = Nanos(0)  # time constant of the basis; 0: the mark is the index
    average_ns: Nanos = Nanos(0)  # time constant of the price's own average; 0: none is kept
    average_max: Ppm = Ppm(0)  # further from that average: doubtful down to it; 0: not looked at
    stale_band: Ppm = Ppm(0)  # half-width given to a stale mark
    sample_max: Ppm = Ppm(0)  # a price enters the average within this of it; 0: as it is
    volatile_ratio: int = 0  # this many times its average or more is no price; 0: not looked at
    age_doubtful_ns: Nanos = Nanos(0)  # older than this a mark is doubtful, before it is stale
    delay_ns: Nanos = Nanos(0)  # an observation becomes the mark only after this long
    liquidate_at_worst: int = int(Quality.DOUBTFUL)
    deleverage_at_worst: int = int(Quality.GOOD)
    withdraw_at_worst: int = int(Quality.GOOD)
    open_at_worst: int = int(Quality.DOUBTFUL)
    stable: StablePrice = StablePrice()

    def __post_init__(self) -> None:
        """Refuse gates and limits that contradict each other."""
        refuse_negative(
            "oracle",
            self,
            "age_max_ns",
            "outlier_max",
            "confidence_max",
            "step_max",
            "divergence_max",
            "smoothing_ns",
            "average_ns",
            "average_max",
            "stale_band",
            "delay_ns",
            "sample_max",
            "volatile_ratio",
            "age_doubtful_ns",
        )
        self._refuse_degrees()
        names = [s.name for s in self.sources]
        if len(set(names)) < len(names):
            raise ConfigInvalid(where="oracle.sources", what="names must differ", found=repr(names))
        if self.average_max and not self.average_ns:
            raise ConfigInvalid(
                where="oracle.average_max",
                what="needs an average: average_ns must be positive",
                found=f"average_ns = {self.average_ns:_}",
            )
        gates = (
            self.liquidate_at_worst,
            self.deleverage_at_worst,
            self.withdraw_at_worst,
            self.open_at_worst,
        )
        if not all(Quality.GOOD <= g <= Quality.STALE for g in gates):
            raise ConfigInvalid(
                where="oracle",
                what="*_at_worst must be 0 (good), 1 (doubtful) or 2 (stale)",
                found=repr(gates),
            )
        if self.sources_min < 1:
            raise ConfigInvalid(
                where="oracle.sources_min", what="must be >= 1", found=str(self.sources_min)
            )

    def _refuse_degrees(self) -> None:
        """Refuse degrees of trust that rest on something the guard does not keep."""
        if (self.sample_max or self.volatile_ratio) and not self.average_ns:
            raise ConfigInvalid(
                where="oracle.sample_max" if self.sample_max else "oracle.volatile_ratio",
                what="needs an average: average_ns must be positive",
                found=f"average_ns = {self.average_ns:_}",
            )
        if self.volatile_ratio == 1:
            raise ConfigInvalid(
                where="oracle.volatile_ratio",
                what="must be 0 or at least 2: every price is once its average",
                found="1",
            )
        if self.age_doubtful_ns and not self.age_doubtful_ns < self.age_max_ns:
            raise ConfigInvalid(
                where="oracle.age_doubtful_ns",
                what="must lie below age_max_ns: a mark is doubtful before it is stale",
                found=f"{self.age_doubtful_ns:_} and {self.age_max_ns:_}",
            )

    def admits(self, action: Action, quality: int) -> bool:
        """Return whether a price of this quality may be used for ``action``."""
        worst = {
            Action.VALUE: Quality.STALE,
            Action.REDUCE: Quality.STALE,
            Action.OPEN: self.open_at_worst,
            Action.WITHDRAW: self.withdraw_at_worst,
            Action.LIQUIDATE: self.liquidate_at_worst,
            Action.DELEVERAGE: self.deleverage_at_worst,
        }[action]
        return quality <= worst

    def refusal(self, *, price: int, price_max: int, published: int, now: int, last: int) -> str:
        """Return the reason code to refuse an observation outright, or an empty string.

        ``last`` is the time of the newest observation of the same source. In order of precedence.
        """
        if price <= 0:
            return "price_must_be_positive"
        if price > price_max:
            return "price_exceeds_limit"
        if published > now:
            return "price_from_the_future"
        if published < last:
            return "price_is_older_than_the_last"
        if self.age_max_ns and now - published > self.age_max_ns:
            return "price_is_stale"
        return ""

    def believe(
        self,
        seen: list[Seen],
        *,
        mark: int,
        basis: int,
        now: int,
        elapsed: int,
        average: int = 0,
    ) -> Belief | None:
        """Return the new belief from everything remembered, or None when no source is fresh.

        ``mark``, ``basis`` and ``average`` are the last ones (0 before the first), the latter two
        in 1/1024 ticks; ``elapsed`` is the nanoseconds since the last mark.
        """
        fresh = [s for s in seen if not self.age_max_ns or now - s.published <= self.age_max_ns]
        if not fresh:
            return None
        voters = [s for s in fresh if self._role(s.source) == "index"]
        # Degraded mode: without any index source the venue's own price is all there is.
        degraded = not voters
        voters = voters or fresh
        kept = self._without_outliers(voters)
        index = weighted_median([(s.price, self._weight(s.source)) for s in kept])
        venue = [s.price for s in fresh if self._role(s.source) == "venue"]
        basis = self._smooth(basis, venue[-1] - index if venue else 0, elapsed)
        target = index + (basis // 1024 if self.smoothing_ns else 0)
        reason = "no_index_source" if degraded else ""
        if len(kept) < self.sources_min:
            reason = reason or "too_few_sources"
        torn = self._torn(voters, kept, index)
        if torn:
            reason = reason or "sources_disagree"
        if self.divergence_max and venue:
            room = index * self.divergence_max // PPM
            if abs(venue[-1] - index) > room:
                reason = reason or "venue_diverges_from_index"
            target = min(max(target, index - room), index + room)
        width = max(s.confidence for s in kept)
        if self.confidence_max and width * PPM > target * self.confidence_max:
            reason = reason or "confidence_is_wide"
        usual = average // 1024
        if mark and usual and self._absurd(target, usual):
            return self._unbelievable(mark, index, basis, average, target, elapsed)
        price = self._stepped(mark, target)
        if price != target:
            reason = reason or "step_exceeds_limit"
        price = max(1, price)
        # Truth lies between what we carry and what is said: the interval covers both.
        said = [price, target, *(s.price for s in (voters if torn else kept))]
        if degraded and mark:
            said.append(mark)  # the venue's own price alone never moves the believed interval away
        if self.average_max and usual and abs(target - usual) > usual * self.average_max // PPM:
            # A spike: whoever would be safe at the price of the last minutes is left alone.
            reason = reason or "price_diverges_from_average"
            said.append(usual)
        wide = (max(1, min(said) - width), max(said) + width)
        low, high = wide if reason else (price, price)
        quality = int(Quality.DOUBTFUL) if reason else int(Quality.GOOD)
        return Belief(
            price=price,
            low=low,
            high=high,
            index=index,
            basis=basis,
            quality=quality,
            reason=reason,
            average=self._averaged(average, target, elapsed),
        )

    def aged(self, age: int) -> int:
        """Return the best quality that a mark of this age can still have."""
        if self.age_max_ns and age > self.age_max_ns:
            return int(Quality.STALE)
        doubtful = self.age_doubtful_ns and age > self.age_doubtful_ns
        return int(Quality.DOUBTFUL if doubtful else Quality.GOOD)

    def widened(self, mark: int) -> tuple[int, int]:
        """Return the interval of a stale mark."""
        room = mark * self.stale_band // PPM
        return max(1, mark - room), mark + room

    def _role(self, source: int) -> str:
        return self.sources[source].role if source < len(self.sources) else "index"

    def _weight(self, source: int) -> int:
        return self.sources[source].weight if source < len(self.sources) else 1

    def _without_outliers(self, voters: list[Seen]) -> list[Seen]:
        if not self.outlier_max or len(voters) < 3:
            return voters  # two sources that disagree cannot tell which of them is wrong
        middle = weighted_median([(s.price, self._weight(s.source)) for s in voters])
        room = middle * self.outlier_max // PPM
        return [s for s in voters if abs(s.price - middle) <= room]

    def _torn(self, voters: list[Seen], kept: list[Seen], index: int) -> bool:
        """Return whether the sources contradict one another so far that no median can be trusted.

        Half of them or more were outliers, or there are only two and they are too far apart.
        """
        if not self.outlier_max:
            return False
        prices = [s.price for s in kept]
        apart = (max(prices) - min(prices)) * PPM > index * self.outlier_max
        return 2 * len(kept) <= len(voters) or (len(voters) < 3 and apart)

    def _stepped(self, mark: int, target: int) -> int:
        """Return how far one observation carries the mark towards ``target``."""
        if not (self.step_max and mark):
            return target
        room = max(1, mark * self.step_max // PPM)
        return min(max(target, mark - room), mark + room)

    def _absurd(self, price: int, usual: int) -> bool:
        """Return whether a price is so many times its average, or its average it, as to be none.

        Source: Drift v2 `math/oracle.rs`: the ratio is a whole number, rounded down.
        """
        return 0 < self.volatile_ratio <= int(times(price, usual))

    def _unbelievable(
        self, mark: int, index: int, basis: int, average: int, target: int, elapsed: int
    ) -> Belief:
        """Return the belief that nothing usable was said: the last mark, as if stale.

        The average still follows (by at most ``sample_max`` a step), so that a price that stays is
        believed in the end.
        """
        low, high = self.widened(mark)
        return Belief(
            price=mark,
            low=low,
            high=high,
            index=index,
            basis=basis,
            quality=int(Quality.STALE),
            reason="price_is_volatile",
            average=self._averaged(average, target, elapsed),
        )

    def _averaged(self, average: int, price: int, elapsed: int) -> int:
        if not self.average_ns:
            return 0
        if not average:
            return price * 1024
        sample = int(sample_held(price * 1024, average, self.sample_max, PPM))
        return average + (sample - average) * elapsed // (self.average_ns + elapsed)

    def _smooth(self, basis: int, gap: int, elapsed: int) -> int:
        # First-order: alpha = elapsed / (tau + elapsed), the implicit form, stable at any step.
        if not self.smoothing_ns:
            return 0
        return basis + (gap * 1024 - basis) * elapsed // (self.smoothing_ns + elapsed)

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        if self.sources:
            names = ", ".join(f"{s.name} ({s.role}, weight {s.weight})" for s in self.sources)
            said.append(f"oracle: weighted median of {names}; at least {self.sources_min}")
        else:
            said.append("oracle: median of every source the venue names")
        if self.age_max_ns:
            said.append(
                f"oracle: a price older than {self.age_max_ns / 1e9:g} s is stale; the last mark "
                f"is then kept with +/- {self.stale_band / 1e4:g} %"
            )
        if self.outlier_max:
            said.append(f"oracle: further than {self.outlier_max / 1e4:g} % from the median: out")
        if self.step_max:
            said.append(f"oracle: one observation moves the mark at most {self.step_max / 1e4:g} %")
        if self.divergence_max:
            said.append(
                f"oracle: the mark stays within {self.divergence_max / 1e4:g} % of the index"
            )
        if self.average_max:
            said.append(
                f"oracle: further than {self.average_max / 1e4:g} % from its "
                f"{self.average_ns / 1e9:g} s average a price liquidates only who is unsafe at both"
            )
        if self.sample_max:
            said.append(f"oracle: one price enters its average within {self.sample_max / 1e4:g} %")
        if self.volatile_ratio:
            said.append(
                f"oracle: {self.volatile_ratio} times its average, or a {self.volatile_ratio}th of "
                "it, is no price: the last mark is kept as if stale"
            )
        if self.age_doubtful_ns:
            said.append(f"oracle: doubtful from {self.age_doubtful_ns / 1e9:g} s of silence on")
        if self.stable.growth:
            said.append(
                f"oracle: before taking risk, holdings count at most at a stable price that moves "
                f"{self.stable.growth / 1e4:g} % a second, and debts at least at it"
            )
        if self.delay_ns:
            said.append(f"oracle: a price takes effect {self.delay_ns / 1e9:g} s later")
        said.append(
            "oracle: liquidates on a "
            + Quality(self.liquidate_at_worst).name.lower()
            + " price at worst, and on a doubtful one only who is unsafe over its whole interval"
        )
        return said


def weighted_median(votes: list[tuple[int, int]]) -> Ticks:
    """Return the lower weighted median: the least price at which half of the weight has voted.

    Source: Hyperliquid documentation, oracle; ties take the lower price, as medians of even counts
    of integers must choose.
    """
    ranked = sorted(votes)
    half = sum(weight for _, weight in ranked)
    so_far = 0
    for price, weight in ranked:
        so_far += weight
        if 2 * so_far >= half:
            return Ticks(price)
    raise AssertionError
