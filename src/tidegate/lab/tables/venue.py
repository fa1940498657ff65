"""A default venue for a book that came without one: sizes, depth, ranges, each with its reason.

Depth and volume are shares of open interest, the medians of the five markets of the synthetic
venue (`drivers.synthetic_markets`); for loans they are shares of collateral, those of the synthetic
lending market. They are an order of magnitude, which is why they are shown, and why a venue file or
parameters win over them.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from tidegate.adapters.candles import DEPTH_SHARE
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.instrument import AnyInstrument, Linear, Spot
from tidegate.domain.units import MONEY_MAX, PPM, SECOND, Amount, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Limits, Market, Venue, VenueModel
from tidegate.drivers import synthetic_loans
from tidegate.drivers.synthetic_markets import ASSETS, RESILIENCE, column
from tidegate.lab.tables.draft import Draft
from tidegate.lab.tables.given import Given


DIGITS: Final = 6  # significant digits of a price: ticks are at most this fine
HEADROOMS: Final = (50, 20, 10, 5)  # price_max over the highest price of the book
ROOM: Final = 1_024  # accounts and holdings beside those of the table, for agents of the lab
DEPTH_OF_INTEREST: Final = float(np.median(column("depth") / column("interest")))
VOLUME_OF_INTEREST: Final = float(np.median(column("volume") / column("interest")))
VOLATILITY: Final = int(np.median(column("volatility")))
WITHDRAWAL: Final = int(np.median(column("withdrawal")))
PERMANENT: Final = int(np.median(column("permanent")))
PUBLISHED_INTEREST: Final = 1e6 * sum(asset.interest for asset in ASSETS)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How one instrument is counted."""

    tick: Decimal
    lot: Decimal


def default_venue(draft: Draft, given: Given) -> Venue:
    """Return the venue that a draft implies, and note in the draft what was inferred."""
    sizes = {symbol: _sizes(draft, given, symbol) for symbol in draft.symbols}
    rows = len(draft.account) + FIRST_USER * len(sizes) + ROOM
    scale = _scale(draft)
    venue = _with_room(draft, given, sizes, rows, scale)
    _tell(draft, venue, given)
    return venue


def _sizes(draft: Draft, given: Given, symbol: str) -> _Sizes:
    price = draft.price[symbol]
    order = math.floor(math.log10(price))
    finest = -6 if draft.loans else -9
    tick = Decimal(1).scaleb(max(finest, order + 1 - DIGITS))
    if draft.loans:
        # A lot of an asset is worth a ten-thousandth of the numeraire, or less.
        lot = Decimal(1).scaleb(-min(8, max(0, order + 5)))
    else:
        # tick x lot x 1e6 must be whole: lots of 1e-6 of the numeraire a tick are the finest.
        lot = Decimal(1).scaleb(max(-8, -6 - _exponent(tick)))
    own_tick, own_lot = (given.text_of(symbol, name) for name in ("tick_size", "lot_size"))
    return _Sizes(
        _decimal(symbol, "tick_size", own_tick, tick), _decimal(symbol, "lot_size", own_lot, lot)
    )


def _exponent(size: Decimal) -> int:
    exponent = size.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _decimal(symbol: str, key: str, text: str | None, otherwise: Decimal) -> Decimal:
    if text is None:
        return otherwise
    try:
        size = Decimal(text)
    except ArithmeticError:
        size = Decimal(0)
    if not size.is_finite() or size <= 0:
        raise ConfigInvalid(
            where=f"parameters: instruments.{symbol}.{key}",
            what="must be a positive decimal as text",
            found=repr(text),
            hint='for example "0.01"',
        )
    return size


def _scale(draft: Draft) -> Ppm:
    """Return the share of the published venue that this book is: funds and budgets follow it."""
    if draft.loans:
        return Ppm(PPM)
    total = sum(draft.interest(symbol) for symbol in draft.symbols)
    return Ppm(max(1, round(PPM * total / PUBLISHED_INTEREST)))


def _with_room(
    draft: Draft, given: Given, sizes: dict[str, _Sizes], rows: int, scale: Ppm
) -> Venue:
    """Return the venue with as much room for prices as 64 bits allow."""
    refused: ConfigInvalid | None = None
    for headroom in HEADROOMS:
        try:
            return Venue(
                name=draft.file.rpartition(".")[0] or draft.file,
                numeraire=draft.numeraire,
                instruments=tuple(_instrument(draft, s, sizes[s], headroom) for s in sizes),
                limits=Limits(
                    accounts_max=len(draft.cash) + FIRST_USER + ROOM,
                    positions_max=rows,
                    orders_max=min(rows, 2**18),
                    balance_max=_balance_max(draft),
                ),
                markets=tuple(_market(draft, given, symbol) for symbol in sizes),
                model=_model(draft),
                scale=scale,
                account_label="loan" if draft.loans else "account",
            )
        except ConfigInvalid as error:
            refused = error
    assert refused is not None
    raise refused


def _balance_max(draft: Draft) -> Money:
    most = max((abs(cash) for cash in draft.cash.values()), default=0.0)
    return Money(min(MONEY_MAX // 8, max(2**44, math.ceil(4.0 * most * PPM))))


def _instrument(draft: Draft, symbol: str, sizes: _Sizes, headroom: int) -> AnyInstrument:
    rows = zip(draft.symbol, draft.quantity, draft.entry, strict=True)
    own = [(abs(q), entry) for s, q, entry in rows if s == symbol]
    highest = max(draft.price[symbol], *(entry for _, entry in own))
    most = max(q for q, _ in own)
    price_max = Ticks(headroom * math.ceil(highest / float(sizes.tick)))
    lots_max = Lots(2 * math.ceil(most / float(sizes.lot)) + 1)
    sides = max(draft.sides(symbol))
    open_max = Lots(max(int(lots_max), 4 * math.ceil(sides / float(sizes.lot))))
    common: dict[str, Any] = {
        "symbol": symbol,
        "tick_size": f"{sizes.tick:f}",
        "lot_size": f"{sizes.lot:f}",
        "price_max": price_max,
        "lots_max": lots_max,
        "open_interest_max": open_max,
    }
    if not draft.loans:
        value = sizes.tick * sizes.lot * PPM
        if value != value.to_integral_value():
            raise ConfigInvalid(
                where=f"parameters: instruments.{symbol}",
                what="tick_size x lot_size must be a whole number of millionths",
                found=f"{sizes.tick:f} x {sizes.lot:f}",
                hint="choose a coarser tick or lot",
            )
        return Linear(**common, tick_value=Money(int(value)))
    units = Amount(int(1 / sizes.lot))
    return Spot(**common, tick_value=Money(int(sizes.tick * sizes.lot * units * PPM)), units=units)


def _market(draft: Draft, given: Given, symbol: str) -> Market:
    interest = draft.interest(symbol)
    depth, volume = given.of(symbol, "depth"), given.of(symbol, "daily_volume")
    volatility = given.of(symbol, "daily_volatility")
    volume = draft.volume.get(symbol) if volume is None else volume
    if draft.loans:
        share, turnover = synthetic_loans.DEPTH, synthetic_loans.VOLUME
    else:
        share, turnover = DEPTH_OF_INTEREST, VOLUME_OF_INTEREST
    if depth is None and given.depth_of_interest is None and volume is not None:
        depth = volume * DEPTH_SHARE
    if depth is None:
        depth = interest * (given.depth_of_interest or share)
    if volume is None:
        volume = interest * turnover
    return Market(
        symbol=symbol,
        depth=_money(depth),
        daily_volume=_money(volume),
        daily_volatility=Ppm(VOLATILITY if volatility is None else max(1, round(volatility * PPM))),
        permanent=Ppm(100_000 if draft.loans else PERMANENT),
        resilience_ns=Nanos(30 * SECOND) if draft.loans else RESILIENCE,
        withdrawal=Ppm(0 if draft.loans else WITHDRAWAL),
    )


def _model(draft: Draft) -> VenueModel:
    if draft.loans:  # as the synthetic lending market: a block, and a few of them
        return VenueModel(latency_ns=Nanos(SECOND), order_life_ns=Nanos(4 * SECOND))
    return VenueModel()


def _money(units: float) -> Money:
    return Money(max(1, round(units * PPM)))


def _tell(draft: Draft, venue: Venue, given: Given) -> None:
    """Note what the default venue rests on."""
    if draft.loans:
        basis, share = "collateral or debt", synthetic_loans.DEPTH
        source = "the share of the synthetic lending market"
    else:
        basis, share = "open interest", DEPTH_OF_INTEREST
        source = "the median of the synthetic venue's markets"
    if given.depth_of_interest is not None:
        share, source = given.depth_of_interest, "given as parameter depth_of_interest"
    own = [m.symbol for m in venue.markets if given.of(m.symbol, "depth") is not None]
    by_volume = [
        m.symbol
        for m in venue.markets
        if m.symbol in draft.volume and m.symbol not in own and given.depth_of_interest is None
    ]
    rest = len(venue.markets) - len(own) - len(by_volume)
    if rest:
        draft.note(
            f"no venue was given: depth within 2 % of the mark is {100 * share:.3g} % of {basis} "
            f"({source}), volume and volatility likewise"
        )
    if by_volume:
        draft.note(
            f"depth within 2 % of the mark is {100 * DEPTH_SHARE:g} % of a day's volume for "
            f"{', '.join(by_volume[:8])} (measured in two books of 2024-08-08)"
        )
    if not draft.loans:
        draft.note(
            f"venue-wide amounts of a stack (funds, budgets) are taken at {venue.scale / PPM:.4g} "
            "of what it declares: this book's open interest over that of the venue they were "
            "written for"
        )
