"""What the engine decided about soft liquidation in bands."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Money, Nanos, Ppm


class BandsBelieved(Effect, frozen=True, kw_only=True):
    """The oracle price that bands in one instrument believe, and the fee for its last moves."""

    instrument: int
    price: int  # Money a trading lot
    fee: Ppm
    at: Nanos


class BandsLaid(Effect, frozen=True, kw_only=True):
    """An account near the line laid its collateral into bands, from the price ``top`` downwards."""

    account: int
    instrument: int
    top: int  # Money a trading lot
    y: bytes  # [bands] smallest units of the collateral
    debt: Money


class BandsOffered(Effect, frozen=True, kw_only=True):
    """What bands would trade now, for whoever takes it; nothing happens until somebody does.

    ``lots`` is the change of the accounts' collateral (negative: sold) and ``paid`` what they pay
    for it (negative: receive), together.
    """

    instrument: int
    lots: int
    paid: Money
    accounts: int


class BandsMoved(Effect, frozen=True, kw_only=True):
    """What the bands of these accounts hold after a trade, row by row."""

    account: bytes
    active: bytes
    x: bytes  # [accounts x bands] Money
    y: bytes  # [accounts x bands] smallest units


class BandsLeft(Effect, frozen=True, kw_only=True):
    """An account is in bands no longer: what they held is its own again, as it was anyway."""

    account: int
    reason: str
