"""Scores of the published deleveraging queues, as integers over an explicit scale."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_up


LIGHTS = 5  # a venue shows every account its fifth of the queue


@kernel
def capped_ratio(part: int, whole: int, scale: int, most: int) -> int:
    """Return ``part / whole`` at ``scale``, rounded down; between 0 and ``most`` times one.

    Nothing is 0 of anything; a ``whole`` of zero or less counts as infinitely small.
    """
    if part <= 0:
        return 0
    if whole <= 0 or part // whole >= most:
        return most * scale
    return muldiv(part, scale, whole)


@kernel
def product(one: int, other: int, scale: int) -> int:
    """Return two ratios at ``scale`` multiplied, at ``scale``, rounded down."""
    return one * other // scale


@kernel
def sequence_score(gain: int, paid: int, size: int, margin: int, scale: int, most: int) -> int:
    """Return profit share times effective leverage; divided by it where the account loses.

    ``gain`` is signed, ``paid`` is what the position cost, ``size`` its value at the mark, and
    ``margin`` the distance of that value from the value at the bankruptcy price. A loser's score is
    negative, rounded towards zero; the more leverage, the nearer to zero.

    Source
    ------
    BitMEX and Bybit: PnL% * leverage for PnL% > 0, else PnL% / leverage, where leverage is
    |mark value| / (mark value - bankruptcy value).
    """
    leverage = capped_ratio(size, margin, scale, most)
    share = capped_ratio(abs(gain), paid, scale, most)
    if gain > 0:
        return product(share, leverage, scale)
    return -(share * scale // leverage) if leverage else -most * scale


@kernel
def margin_score(gain: int, wallet: int, one: int, maintenance: int, scale: int, most: int) -> int:
    """Return profit over wallet balance times maintenance over equity; 0 without profit.

    ``one`` is one unit of money: a smaller wallet counts as one. Without equity the score is 0.

    Source
    ------
    Binance, LeveragePnl: max(0, UPNL) / max(1, WB) * MM / (WB + UPNL).
    """
    equity = wallet + gain
    if gain <= 0 or equity <= 0:
        return 0
    share = capped_ratio(gain, max(one, wallet), scale, most)
    return product(share, capped_ratio(maintenance, equity, scale, most), scale)


@kernel
def index_score(upper: int, lower: int, size: int, equity: int, scale: int, most: int) -> int:
    """Return ``upper / lower`` (two prices) times size over equity.

    Source
    ------
    Hyperliquid: (mark / entry) * (notional / account value), printed alike for both sides, so that
    a short ranks the lower the more it has won. Adjusted to the side, a short divides the entry by
    the mark.
    """
    price = capped_ratio(upper, lower, scale, most)
    return product(price, capped_ratio(size, equity, scale, most), scale)


@kernel
def lights(quantity: I64, out: I64) -> None:
    """Write the fifth of the queue, 1..5, that each row of ``quantity`` (in queue order) ends in.

    Counted by cumulative quantity, rounded up: a row that reaches into the next fifth shows it.

    Source
    ------
    The worked example of BitMEX, whose labels are these.
    """
    whole = quantity.sum()
    passed = 0
    for n in range(quantity.size):
        passed += quantity[n]
        out[n] = muldiv_up(passed, LIGHTS, whole) if whole else LIGHTS
