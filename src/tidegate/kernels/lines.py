"""The price at which a position, alone in its account, stands exactly on a line."""

from tidegate.domain.units import kernel, muldiv, muldiv_up


NEVER = -1  # no price brings the position onto the line


@kernel
def linear_line(per_price: int, cost: int, rest: int, rate: int, cum: int, scale: int) -> int:
    """Return the last price at which a linear position is left alone, or NEVER.

    ``per_price`` is what the position gains when its price rises by one (signed lots x tick
    value), ``cost`` what was paid for it, ``rest`` everything else that the account has (cash, plus
    other profits, less other requirements). On the line

        rest + per_price * p - cost = |per_price| * p * rate / scale - cum

    Rounded up for a long and down for a short, so that at the price returned nobody is liquidated
    and one tick further they are. ``rate`` = 0 and ``cum`` = 0 give the bankruptcy price. Compiled,
    the amounts times scale / (scale - rate) stay below 2**62.

    Source: Binance, "How to calculate liquidation price of USDⓈ-M futures":
    LP = (WB - TMM1 + UPNL1 + cum - side * q * EP) / (q * MMR - side * q).
    """
    if per_price > 0:
        lack = cost - rest - cum  # what the position itself must be worth after its requirement
        if lack <= 0 or rate >= scale:
            return NEVER
        return -(-muldiv_up(lack, scale, scale - rate) // per_price)
    owned = rest - cost + cum
    if per_price == 0 or owned < 0:
        return NEVER
    return muldiv(owned, scale, scale + rate) // -per_price


@kernel
def inverse_line(contracts: int, cost: int, coins: int, rate: int, scale: int) -> int:
    """Return the last price at which a coin-margined position is left alone, or NEVER.

    ``contracts`` is signed and in value x price: the position is worth ``-contracts / p`` coins and
    was bought for ``cost`` (``-contracts / entry``); ``coins`` is everything else. On the line

        coins - contracts / p - cost = |contracts| / p * rate / scale

    Rounded as in `linear_line`. ``rate`` = 0 gives the bankruptcy price.

    Source: equity = m + side * q * (1 / E - 1 / P), the inverse contracts of BitMEX, Bybit, Kraken.
    """
    if contracts > 0:
        owned = coins - cost
        return -(-muldiv_up(contracts, scale + rate, scale) // owned) if owned > 0 else NEVER
    owed = cost - coins
    if contracts == 0 or owed <= 0 or rate >= scale:
        return NEVER
    return muldiv(-contracts, scale - rate, scale) // owed


@kernel
def inverse_bankruptcy(side: int, entry: int, leverage: int, tick: int, scale: int) -> int:
    """Return the price at which an inverse position has lost its initial margin, in whole ticks.

    ``entry * leverage / (leverage + side)``, ``side`` +1 for a long and -1 for a short, rounded in
    the safe direction: up for a long, down for a short. ``leverage`` is in ``scale``; a short of
    leverage 1 or less has no such price: NEVER.

    Source: Bybit help centre, bankruptcy price of inverse contracts.
    """
    below = (leverage + side * scale) * tick
    if below <= 0:
        return NEVER
    if side > 0:
        return muldiv_up(entry, leverage, below) * tick
    return muldiv(entry, leverage, below) * tick
