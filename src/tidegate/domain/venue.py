"""One venue's fixed facts: what is traded, how large it may get, and how its market absorbs sales.

The venue is the weather's half of a run and stays the same under every stack. `venue.toml` of a
recording is this struct; what stands between a falling price and a cascade is the stack's half.
"""

import msgspec

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.instrument import AnyInstrument, Inverse, Spot
from tidegate.domain.units import MONEY_MAX, Lots, Money, Nanos, Ppm, Ticks


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Static capacities. Memory is taken once, at start; reaching one is a named error."""

    accounts_max: int = 4_096
    positions_max: int = 16_384
    orders_max: int = 16_384
    balance_max: Money = Money(2**52)  # the largest cash balance of one account, 4.5e9 units


class Market(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the simulated venue absorbs forced sales in one instrument; read by the driver only.

    ``depth`` is Money resting within ``depth_range`` of the mark on one side. ``resilience_ns`` is
    the half-life of the book's recovery; 0 means that it never recovers. ``permanent`` is the share
    of an order's impact that stays in the price. ``impact`` chooses the law: "linear", or
    "square_root", in both cases never less than walking the visible book.
    """

    symbol: str
    depth: Money
    depth_range: Ppm = Ppm(20_000)
    levels: int = 20
    impact: str = "square_root"
    daily_volume: Money = Money(0)  # 0: ten thousand times the depth
    daily_volatility: Ppm = Ppm(40_000)
    permanent: Ppm = Ppm(300_000)
    resilience_ns: Nanos = Nanos(30_000_000_000)
    withdrawal: Ppm = Ppm(0)  # share of depth that leaves for each 1 % of fall from the last peak
    depth_min: Ppm = Ppm(100_000)  # share of depth that never leaves


class VenueModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Latency and faults of the simulated venue; every rate is drawn from the stream "faults"."""

    latency_ns: Nanos = Nanos(200_000_000)
    order_life_ns: Nanos = Nanos(1_000_000_000)  # unfilled rest is cancelled after this long
    drop: Ppm = Ppm(0)
    duplicate: Ppm = Ppm(0)
    delay: Ppm = Ppm(0)
    delay_ns: Nanos = Nanos(5_000_000_000)
    crash: Ppm = Ppm(0)  # share of batches at whose arrival the venue goes down
    crash_ns: Nanos = Nanos(10_000_000_000)  # and for how long


class Takers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who trades with what soft liquidation offers, in a simulation; read by the driver only."""

    presence: Ppm = Ppm(1_000_000)  # share of moments at which anybody looks
    latency_ns: Nanos = Nanos(1_000_000_000)  # between an offer and its taking
    margin: Ppm = Ppm(1_000)  # least profit for which anybody trades


class Venue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything `venue.toml` may say."""

    name: str
    numeraire: str = "USD"
    instruments: tuple[AnyInstrument, ...]
    limits: Limits = Limits()
    sources: tuple[str, ...] = ("index",)  # names of price sources, in the order of their columns
    markets: tuple[Market, ...] = ()
    model: VenueModel = VenueModel()
    takers: Takers = Takers()
    seed: int = 7
    scale: Ppm = Ppm(1_000_000)  # a stack's venue-wide amounts are multiplied by this when bound
    step_ns: Nanos = Nanos(1_000_000_000)  # a replay ticks the clock at least this often
    account_label: str = "account"
    notes: tuple[str, ...] = ()  # what is reconstructed or assumed in this recording

    def __post_init__(self) -> None:
        """Refuse duplicates, unknown coins and sums that could wrap."""
        if self.scale <= 0:
            raise ConfigInvalid(where="venue.scale", what="must be > 0", found=f"{self.scale:_}")
        symbols = [i.symbol for i in self.instruments]
        for symbol in symbols:
            if symbols.count(symbol) > 1:
                raise ConfigInvalid(
                    where="venue.instruments", what="symbols must differ", found=f"two {symbol!r}"
                )
        coins = {i.symbol for i in self.instruments if isinstance(i, Spot)}
        for i in self.instruments:
            if isinstance(i, Inverse) and i.coin not in coins:
                raise ConfigInvalid(
                    where=f"instrument.{i.symbol}.coin",
                    what=f"must name a spot instrument, one of {sorted(coins)}",
                    found=repr(i.coin),
                )
        self._prove_sums()

    def scaled(self, amount: int) -> int:
        """Return a venue-wide amount of a stack at this recording's scale, rounded down."""
        return amount * self.scale // 1_000_000 if amount < MONEY_MAX else amount

    def _prove_sums(self) -> None:
        # An account may hold its limit in everything at once, and still must not wrap.
        worst = self.limits.balance_max + sum(self.worth_max(i) for i in self.instruments)
        if worst > MONEY_MAX:
            raise ConfigInvalid(
                where="venue.instruments",
                what=f"one account's largest positions and balance must sum to <= {MONEY_MAX:_}",
                found=f"{worst:_}",
                hint="lower lots_max or price_max of the largest instruments",
            )
        for i in self.instruments:
            if self.price_min(i) > i.price_max:
                raise ConfigInvalid(
                    where=f"instrument.{i.symbol}",
                    what="its largest position must have a value in range at some price",
                    found=f"none below {self.price_min(i):_} ticks, and price_max {i.price_max:_}",
                    hint="lower lots_max, or price_max of its coin",
                )
            total = i.value_max(i.lots_open_max())
            if total > MONEY_MAX:
                raise ConfigInvalid(
                    where=f"instrument.{i.symbol}.open_interest_max",
                    what=f"open_interest_max x price_max must be worth <= {MONEY_MAX:_} Money",
                    found=f"{total:_}",
                    hint=f"open_interest_max = {i.lots_open_max() * MONEY_MAX // total:_} fits",
                )

    def price_min(self, of: AnyInstrument) -> Ticks:
        """Return the lowest price in ticks at which every position in ``of`` can be valued.

        1, except for an inverse: its value in coins grows without bound as its price falls, while
        the coin may still be dear. Half of what the range leaves is shared among all inverses, for
        the value of their positions and for the coins that these can bring in or cost.
        """
        if not isinstance(of, Inverse):
            return Ticks(1)
        coin = self._coin(of)
        others = [i for i in self.instruments if not isinstance(i, Inverse)]
        rest = MONEY_MAX - self.limits.balance_max - sum(i.value_max(i.lots_max) for i in others)
        share = rest // 4 // (len(self.instruments) - len(others))
        dearest = of.lots_max * of.contract * coin.price_max * coin.tick_value
        return Ticks(max(1, -(-dearest // (coin.units * max(1, share)))))

    def worth_max(self, of: AnyInstrument) -> Money:
        """Return the largest |value| of one account's position in Money, at any admissible price.

        It proves a sum over all instruments together with ``limits.balance_max``.
        """
        if not isinstance(of, Inverse):
            return Money(of.value_max(self.held_max(of)))
        coins = self._coin(of).value_max(self._coins_max(of))
        return Money(max(coins, of.lots_max * of.face))

    def held_max(self, of: AnyInstrument) -> Lots:
        """Return the largest |position| that is ever booked for one account.

        ``lots_max``, and for a coin what inverse contracts can bring in or cost beside it: that is
        a fact when it happens, and must find room.
        """
        paid = [i for i in self.instruments if isinstance(i, Inverse) and i.coin == of.symbol]
        return Lots(of.lots_max + sum(self._coins_max(i) for i in paid))

    def _coin(self, of: Inverse) -> Spot:
        coin = next(i for i in self.instruments if i.symbol == of.coin)
        assert isinstance(coin, Spot)
        return coin

    def _coins_max(self, of: Inverse) -> int:
        return of.lots_max * of.contract // self.price_min(of) + 1

    def index(self, symbol: str) -> int:
        """Return the column of ``symbol``; raise KeyError when there is none."""
        for n, i in enumerate(self.instruments):
            if i.symbol == symbol:
                return n
        raise KeyError(symbol)
