"""How a close is sold to bidders instead of into the order book."""

from typing import Self, TypeAlias

import msgspec
import numpy as np

from tidegate.domain.book import Book, Health
from tidegate.domain.commitments import seed_of
from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Money, Nanos, Ppm, Ticks, ppm_ceil, ppm_floor
from tidegate.domain.venue import Venue
from tidegate.kernels.auction import stale
from tidegate.kernels.curves import EXPONENTIAL, HALVING, LINEAR, STAIR, auction_price
from tidegate.kernels.plan import fillable_prices


CURVES = {"linear": LINEAR, "stair": STAIR, "exponential": EXPONENTIAL, "halving": HALVING}
FROM_PPM = 1_000  # the curves' rates are in 1e-9
STEPS_MAX = 10_000_000  # of one auction: more would be a price that nobody can follow


class Sale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every way of selling to bidders has in common: budget, dust, end, and who is paid.

    No lot is ever sold at more than ``floor`` from the mark: a bid of nothing cannot win. What
    nobody took within ``life_ns`` goes to the order book, limited at the fillable price of
    ``spread`` and ``adjustment`` as on the book route.
    """

    life_ns: Nanos = Nanos(60_000_000_000)  # then what is left goes to the order book
    floor: Ppm = Ppm(50_000)  # the worst price, as a distance from the mark it was set from
    release: Ppm = Ppm(0)  # called off at this multiple of maintenance; 0: never
    dust: Money = Money(0)  # a partial take leaves this much or nothing
    in_flight_max: Money = Money(0)  # offered at once, penalties included; 0: no limit
    market_max: Money = Money(0)  # the same in one instrument
    incentive: Money = Money(0)  # to who takes the last lot ...
    incentive_share: Ppm = Ppm(0)  # ... but never more than this share of the penalty collected
    spread: Ppm = Ppm(0)
    adjustment: Ppm = Ppm(PPM)

    def proved(self) -> None:
        """Refuse a zero floor, an incentive that could be farmed, a budget below one dust."""
        amounts = ("dust", "in_flight_max", "market_max", "incentive", "spread")
        refuse_negative("route", self, *amounts)
        budgets = [m for m in (self.in_flight_max, self.market_max) if m]
        self.demand(
            ("life_ns", self.life_ns >= 1, "must be >= 1"),
            ("floor", 0 < self.floor < PPM, "must lie within 1..999_999: a zero bid cannot win"),
            ("release", not self.release or self.release >= PPM, "must be 0 or >= 1_000_000"),
            (
                "incentive_share",
                0 <= self.incentive_share < PPM,
                "must be below 1_000_000: who pays the penalty could earn it back",
            ),
            ("adjustment", self.adjustment >= PPM, "must be >= 1_000_000"),
            (
                "dust",
                all(self.dust <= budget for budget in budgets),
                "must not exceed a budget: nothing could ever be offered",
            ),
        )

    def demand(self, *rules: tuple[str, bool, str]) -> None:
        """Raise ConfigInvalid at the first (key, holds, what) that does not hold."""
        for name, holds, what in rules:
            if not holds:
                value = getattr(self, name)
                found = f"{value:_}" if isinstance(value, int) else repr(value)
                raise ConfigInvalid(where=f"route.{name}", what=what, found=found)

    def scaled(self, venue: Venue) -> Self:
        """Return the route with its venue-wide amounts at the scale of a recording."""
        return msgspec.structs.replace(
            self,
            in_flight_max=Money(venue.scaled(self.in_flight_max)),
            market_max=Money(venue.scaled(self.market_max)),
        )

    def limit(self, *, mark: int, selling: bool, band: int, price_max: int) -> Ticks:
        """Return the worst price of an auction set at ``mark``: its floor, within the band."""
        give = min(self.floor, band) if band else self.floor
        if selling:
            return Ticks(mark - ppm_floor(mark, give))
        return Ticks(min(price_max, mark + ppm_floor(mark, give)))

    def limits(
        self,
        book: Book,
        facts: Facts,
        health: Health,
        *,
        mark: I64,
        row: I64,
        ordered: I64,
        band: Ppm,
    ) -> I64:
        """Return the worst admissible price, on the order book, of what nobody took."""
        out = np.zeros(row.size, np.int64)
        equity, required = health.equity, health.required
        give = (self.adjustment, self.spread, band)
        fillable_prices(book, facts, mark, equity, required, row, ordered, *give, out)
        return out

    def recovered(self, equity: int, required: int) -> bool:
        """Return whether an account has enough again for its auctions to be called off."""
        return bool(self.release) and equity >= ppm_ceil(required, self.release)

    def paid(self, collected: int) -> Money:
        """Return the incentive of an auction that has collected this much in penalties."""
        return Money(min(self.incentive, ppm_floor(collected, self.incentive_share)))

    def ends(self) -> list[str]:
        """Return in plain language what all ways of selling to bidders have in common."""
        life = f"{self.life_ns / 1e9:g} s"
        said = [f"route: what nobody took within {life} goes to the order book"]
        if self.release:
            said.append(f"route: called off at {self.release / 1e6:g} times the maintenance")
        if self.in_flight_max or self.market_max:
            limits = [f"{m / 1e6:,.0f}" for m in (self.in_flight_max, self.market_max) if m]
            said.append(f"route: no more than {' / '.join(limits)} is offered at once")
        if self.incentive:
            said.append(
                f"route: who takes the last lot earns {self.incentive / 1e6:,.2f}, at most "
                f"{self.incentive_share / 1e4:g} % of the penalty"
            )
        return said


class AuctionRoute(Sale, frozen=True, kw_only=True, tag_field="kind", tag="auction"):
    """One Dutch auction for each position of a stage: a price that falls until somebody takes it.

    It begins ``buffer`` above the mark; a purchase begins below it and rises.
    """

    curve: str = "stair"  # or linear, exponential, halving
    buffer: Ppm = Ppm(10_000)
    step_ns: Nanos = Nanos(1_000_000_000)  # between drops; a half-life; of a line, its whole length
    cut: Ppm = Ppm(999_000)  # what a drop leaves of the price
    tail_ns: Nanos = Nanos(30_000_000_000)  # the price is set anew after this ...
    cusp: Ppm = Ppm(0)  # ... or when it is below this share of where it began ...
    drift: Ppm = Ppm(0)  # ... or when the mark has left its base by this much; 0: never

    def __post_init__(self) -> None:
        """Refuse a price that does not fall, an auction that cannot end, a zero floor."""
        self.proved()
        refuse_negative("route", self, "buffer", "cusp", "drift", "tail_ns")
        steps = self.life_ns // max(1, self.step_ns)
        self.demand(
            ("curve", self.curve in CURVES, f"must be one of {sorted(CURVES)}"),
            ("buffer", self.buffer <= PPM, "must be at most 1_000_000"),
            ("step_ns", self.step_ns >= 1, "must be >= 1"),
            ("step_ns", steps <= STEPS_MAX, f"a life may have at most {STEPS_MAX:_} steps"),
            ("cut", 0 < self.cut < PPM, "must lie within 1..999_999: the price has to fall"),
            ("cusp", self.cusp < PPM, "must be below 1_000_000: a new auction would be stale"),
            ("life_ns", self.life_ns >= self.tail_ns, "must be at least tail_ns"),
        )

    @property
    def name(self) -> str:
        """How the route is called in orders: what is ordered is what nobody took."""
        return "auction"

    def price(self, *, base: int, limit: int, elapsed: int, selling: bool, mark: int) -> Ticks:
        """Return the price now of an auction that was set from ``base`` ``elapsed`` ns ago."""
        del mark
        return Ticks(
            auction_price(
                CURVES[self.curve],
                base,
                limit,
                elapsed,
                int(selling),
                self.buffer,
                self.step_ns,
                self.cut * FROM_PPM,
            )
        )

    def stale(self, *, base: int, limit: int, elapsed: int, selling: bool, mark: int) -> str:
        """Return why the price must be set anew, or nothing: tail, cusp or drift.

        A purchase rises where a sale falls, so that its share is taken the other way round.
        """
        if self.drift and abs(mark - base) > ppm_floor(base, self.drift):
            return "drift"
        start, now = (
            self.price(base=base, limit=limit, elapsed=t, selling=selling, mark=mark)
            for t in (0, elapsed)
        )
        price, top = (now, start) if selling else (start, now)
        if stale(elapsed, self.tail_ns, price, max(top, 1), self.cusp, PPM):
            return "tail" if elapsed > self.tail_ns else "cusp"
        return ""

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        step = f"{self.step_ns / 1e9:g} s"
        falls = {
            "linear": f"in a line to nothing within {step}",
            "stair": f"by {(PPM - self.cut) / 1e4:g} % every {step}",
            "exponential": f"steadily by {(PPM - self.cut) / 1e4:g} % per {step}",
            "halving": f"by half every {step}",
        }[self.curve]
        again = [f"after {self.tail_ns / 1e9:g} s"]
        if self.cusp:
            again.append(f"below {self.cusp / 1e4:g} % of where it began")
        if self.drift:
            again.append(f"when the mark has moved {self.drift / 1e4:g} %")
        above, floor = f"{self.buffer / 1e4:g} %", f"{self.floor / 1e4:g} %"
        sale = f"from {above} above the mark, falling {falls}, never more than {floor} below it"
        return [
            f"route: a Dutch auction per position, {sale}; purchases are the mirror image",
            f"route: priced anew {' or '.join(again)}",
            *self.ends(),
        ]


class FixedSpreadRoute(Sale, frozen=True, kw_only=True, tag_field="kind", tag="fixed_spread"):
    """A storefront: whoever comes first takes a close at the mark less a fixed discount.

    The discount is the same for an account that is barely unhealthy and for one that is nearly
    bankrupt, which gives away too much of the first: it is an option for comparison.
    """

    discount: Ppm = Ppm(10_000)

    def __post_init__(self) -> None:
        """Refuse a discount beyond the floor."""
        self.proved()
        self.demand(
            ("discount", 0 <= self.discount <= self.floor, "must lie within 0..floor"),
        )

    @property
    def name(self) -> str:
        """How the route is called in orders: what is ordered is what nobody took."""
        return "fixed_spread"

    def price(self, *, base: int, limit: int, elapsed: int, selling: bool, mark: int) -> Ticks:
        """Return today's mark less the discount (of a purchase: plus), never beyond the limit."""
        del base, elapsed
        give = ppm_floor(mark, self.discount)
        return Ticks(max(limit, mark - give) if selling else min(limit, mark + give))

    def stale(self, *, base: int, limit: int, elapsed: int, selling: bool, mark: int) -> str:
        """Return drift when the limit, set from an older mark, holds the price back."""
        del elapsed
        give = ppm_floor(mark, self.discount)
        held = mark - give < limit if selling else mark + give > limit
        return "drift" if held and mark != base else ""

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        return [
            f"route: anybody may take a close at {self.discount / 1e4:g} % from the mark",
            *self.ends(),
        ]


class BatchRoute(Sale, frozen=True, kw_only=True, tag_field="kind", tag="batch"):
    """A call auction: bids are collected for a window and cleared together at one price.

    Being first is worth nothing: at the margin bids share in proportion to their size. What is left
    is offered again in the next window.
    """

    window_ns: Nanos = Nanos(5_000_000_000)

    def __post_init__(self) -> None:
        """Refuse a window longer than the auction's life, and an incentive nobody could earn."""
        self.proved()
        self.demand(*self.timing())

    def timing(self) -> tuple[tuple[str, bool, str], ...]:
        """Return what must hold of the window, as `demand` takes it."""
        return (
            ("window_ns", self.window_ns >= 1, "must be >= 1"),
            ("life_ns", self.life_ns >= self.closes_ns, "must be at least one whole window"),
            ("incentive", not self.incentive, "must be 0: a batch has no last taker"),
        )

    @property
    def name(self) -> str:
        """How the route is called in orders: what is ordered is what nobody took."""
        return "batch"

    @property
    def sealed(self) -> bool:
        """Whether bids are committed first and revealed later."""
        return False

    @property
    def closes_ns(self) -> Nanos:
        """How long after its opening no more bid can be changed."""
        return self.window_ns

    def clears_ns(self, nonces: bytes) -> Nanos:
        """Return how long after its opening a batch clears."""
        del nonces
        return self.window_ns

    def price(self, *, base: int, limit: int, elapsed: int, selling: bool, mark: int) -> Ticks:
        """Return the reserve: the worst price at which a batch may clear."""
        del base, elapsed, selling, mark
        return Ticks(limit)

    def stale(self, *, base: int, limit: int, elapsed: int, selling: bool, mark: int) -> str:
        """Return nothing: a batch is priced anew by clearing."""
        del base, limit, elapsed, selling, mark
        return ""

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        window, floor = f"{self.window_ns / 1e9:g} s", f"{self.floor / 1e4:g} %"
        price = f"at one price, never more than {floor} from the mark"
        return [f"route: bids are collected for {window} and cleared {price}", *self.ends()]


class SealedRoute(BatchRoute, frozen=True, kw_only=True, tag_field="kind", tag="sealed"):
    """A batch whose bids nobody can read before all are in, and whose moment nobody can foresee.

    Bids are commitments with a bond until the window is over, are revealed within ``reveal_ns``,
    and cleared at a moment within ``jitter_ns`` that all revealed salts decide together. A bond
    whose bid is not revealed is forfeited to the fund: to withhold is no free option.
    """

    reveal_ns: Nanos = Nanos(2_000_000_000)
    jitter_ns: Nanos = Nanos(2_000_000_000)
    bond: Money = Money(100_000_000)

    def timing(self) -> tuple[tuple[str, bool, str], ...]:
        """Return what must hold of the phases, as `demand` takes it."""
        return (
            *BatchRoute.timing(self),
            ("reveal_ns", self.reveal_ns >= 1, "must be >= 1"),
            ("jitter_ns", self.jitter_ns >= 0, "must be >= 0"),
            (
                "life_ns",
                self.life_ns >= self.closes_ns + self.jitter_ns,
                "must be at least window_ns, reveal_ns and jitter_ns together",
            ),
            ("bond", self.bond > 0, "must be > 0: not to reveal would be a free option"),
        )

    @property
    def name(self) -> str:
        """How the route is called in orders: what is ordered is what nobody took."""
        return "sealed"

    @property
    def sealed(self) -> bool:
        """Whether bids are committed first and revealed later."""
        return True

    @property
    def closes_ns(self) -> Nanos:
        """How long after its opening no more bid can be revealed."""
        return Nanos(self.window_ns + self.reveal_ns)

    def clears_ns(self, nonces: bytes) -> Nanos:
        """Return how long after its opening a batch clears: unknown before the last reveal."""
        return Nanos(self.closes_ns + seed_of(nonces, self.jitter_ns))

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        reveal, jitter = f"{self.reveal_ns / 1e9:g} s", f"{self.jitter_ns / 1e9:g} s"
        phases = f"sealed, then revealed within {reveal}, and clear within {jitter} more"
        loses = f"who does not reveal loses {self.bond / 1e6:,.2f} to the fund"
        return [*BatchRoute.describe(self), f"route: bids are {phases}; {loses}"]


AnySale: TypeAlias = AuctionRoute | FixedSpreadRoute | BatchRoute | SealedRoute
