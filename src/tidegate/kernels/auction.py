"""What an auction decides: how much may be put up, taken, reset, and who is paid for it."""

from typing import Final

from tidegate.domain.units import kernel, muldiv, muldiv_up


SAFE, NO_ROOM, DUSTY, NOTHING = -1, -2, -3, -4  # `put_up`: why nothing is sold
ALL_OR_NOTHING: Final = -1  # `taken`: what is left is dust, so that only all of it may go


@kernel
def room(limit: int, out: int, own_limit: int, own_out: int) -> int:
    """Return what may still be put up below a limit for all and one for a market; never below 0.

    Source
    ------
    MakerDAO dss, `dog.sol`: ``min(Hole - Dirt, hole - dirt)``, both including the penalty.
    """
    return max(0, min(limit - out, own_limit - own_out))


@kernel
def put_up(debt: int, rate: int, chop: int, space: int, dust: int, scale: int) -> int:
    """Return how much of ``debt`` fits into ``space``: all of it, a part, or `NO_ROOM` or `DUSTY`.

    One unit of debt owes ``rate`` and ``chop`` (at ``scale``, penalty included) times that counts
    against the space. Rather than leaving a rest below ``dust``, everything goes, and exceeds the
    space by less than that; a part that is itself below dust is not put up at all.

    Source
    ------
    MakerDAO dss, `dog.sol`, `bark`.
    """
    if space <= 0:
        return NO_ROOM
    part = min(debt, muldiv(space, scale, chop) // rate)
    if part == debt:
        return debt
    if (debt - part) * rate < dust:
        return debt
    return part if part * rate >= dust else DUSTY


@kernel
def owed(part: int, rate: int, chop: int, scale: int) -> int:
    """Return what a part put up counts against the space: with its penalty, rounded down."""
    return muldiv(part * rate, chop, scale)


@kernel
def seized(stock: int, part: int, debt: int) -> int:
    """Return the collateral that goes with ``part`` of ``debt``, in proportion, rounded down."""
    return muldiv(stock, part, debt)


@kernel
def start_price(feed: int, buffer: int, scale: int) -> int:
    """Return the price at which an auction begins: the feed times its buffer, rounded down."""
    return muldiv(feed, buffer, scale)


@kernel
def incentive(flat: int, share: int, due: int, scale: int) -> int:
    """Return what opening or resetting an auction of ``due`` is worth: flat plus a share."""
    return flat + muldiv(due, share, scale)


@kernel
def incentive_due(due: int, lot: int, feed: int, dust: int) -> bool:
    """Return whether a reset is paid for: neither what is owed nor what is left may be dust."""
    return due >= dust and lot * feed >= dust


@kernel
def stale(elapsed: int, tail: int, price: int, top: int, cusp: int, scale: int) -> bool:
    """Return whether an auction must begin anew: too long, or too far down; both strictly.

    Source
    ------
    MakerDAO dss, `clip.sol`, `status`.
    """
    return elapsed > tail or muldiv(price, scale, top) < cusp


@kernel
def taken(lot: int, due: int, price: int, wanted: int, dust: int) -> int:
    """Return how much of ``lot`` a bidder gets at ``price``, or `ALL_OR_NOTHING`.

    No more than what raises ``due``. A part that would leave less than ``dust`` to raise leaves
    exactly that, and where everything is dust already only everything may be taken.

    Source
    ------
    MakerDAO dss, `clip.sol`, `take`.
    """
    part = min(lot, wanted)
    owe = part * price
    if owe > due:
        return due // price
    if owe < due and part < lot and due - owe < dust:
        return ALL_OR_NOTHING if due <= dust else (due - dust) // price
    return part


@kernel
def raised(lot: int, due: int, price: int, wanted: int, dust: int) -> int:
    """Return what the bidder of `taken` pays: where a cap or the dust decides, that to the unit."""
    part = min(lot, wanted)
    owe = part * price
    if owe > due:
        return due
    if owe < due and part < lot and due - owe < dust:
        return due - dust
    return owe


@kernel
def outbids(bid: int, best: int, step: int, due: int, scale: int) -> bool:
    """Return whether a rising bid counts: above the best by the step, or exactly all that is due.

    Source
    ------
    MakerDAO dss, `flip.sol`, `tend`.
    """
    if bid > due or bid <= best:
        return False
    return bid * scale >= step * best or bid == due


@kernel
def undercuts(lot: int, best: int, step: int, scale: int) -> bool:
    """Return whether a bidder asks for enough less: the lot falls by at least the step.

    Source
    ------
    MakerDAO dss, `flip.sol` and `flop.sol`, `dent`.
    """
    return lot < best and step * lot <= best * scale


@kernel
def clamped_share(part: int, whole: int, scale: int) -> int:
    """Return ``part / whole`` at ``scale`` within -1..1, cut off towards zero; whole > 0."""
    share = muldiv(min(abs(part), whole), scale, whole)
    return -share if part < 0 else share


@kernel
def bond_payment(debt_price: int, neutral: int, bond: int, price: int, scale: int) -> int:
    """Return the factor by which who opened an auction is paid: above zero below neutral.

    The whole bond where the debt is not covered at the neutral price; rounded half away from zero.

    Source
    ------
    Ajna, `PoolHelper.sol`, `_bpf`.
    """
    gap = neutral - price
    if debt_price < neutral:
        share = clamped_share(gap, neutral - debt_price, scale)
    else:
        share = 0 if gap == 0 else scale if gap > 0 else -scale
    paid = (2 * abs(share) * bond + scale) // (2 * scale)
    return -paid if share < 0 else paid


@kernel
def take_penalty(bond: int, payment: int) -> int:
    """Return what a borrower gives up of each take: (5 bonds - payment) / 4, rounded up.

    Source
    ------
    Ajna, `PoolHelper.sol`.
    """
    return -(-(5 * bond - payment) // 4)


@kernel
def kept(price: int, penalty: int, scale: int) -> int:
    """Return what is credited of a price after a penalty, rounded down."""
    return muldiv(price, scale - penalty, scale)


@kernel
def claimable(
    debt: int, quote: int, deposits: int, buffer: int, bonds: int, unclaimed: int, scale: int
) -> int:
    """Return what a pool may sell of its reserves: what exceeds everything it owes.

    Deposits count ``buffer`` times, rounded up; never more than the quote tokens that are free.

    Source
    ------
    Ajna, `PoolHelper.sol`, `_claimableReserves`.
    """
    promised = bonds + unclaimed
    if quote <= promised:
        return 0
    owes = muldiv_up(deposits, buffer, scale) + promised
    return min(max(0, debt + quote - owes), quote - promised)


@kernel
def buffered_margin(maintenance: int, value: int, buffer: int, scale: int) -> int:
    """Return the margin a sale should restore: below maintenance by a share of the gap to value.

    All negative for a shortfall, and never above zero; rounded down, against the account.

    Source
    ------
    Derive v2-core, `DutchAuction.sol`.
    """
    gap = value - maintenance
    if gap < 0:
        return min(0, maintenance + muldiv(-gap, buffer, scale))
    return min(0, maintenance - muldiv_up(gap, buffer, scale))


@kernel
def fraction_max(
    margin: int, value: int, reserved: int, discount: int, cutoff: int, scale: int
) -> int:
    """Return the largest share of an account that may be sold, at ``scale``, rounded down.

    ``margin`` is the buffered one (<= 0); cash that earlier bidders brought (``reserved``) is not
    for sale. Everything goes where the account is worth less than ``cutoff``.

    Source
    ------
    Derive v2-core, `DutchAuction.sol`: BM / (BM - MtM d - R (1 - d)).
    """
    if value < cutoff:
        return scale
    gone = muldiv(value, discount, scale) + muldiv(reserved, scale - discount, scale)
    whole = gone - margin
    return scale if whole <= 0 else min(scale, muldiv(-margin, scale, whole))


@kernel
def insolvent_price(maintenance: int, value: int, elapsed: int, length: int) -> int:
    """Return the bid price of an insolvent account: below zero, the fund pays the bidder.

    From its value (if that is negative) to its maintenance within ``length``; zero for an account
    that somebody has brought back above maintenance.

    Source
    ------
    Derive v2-core, `DutchAuction.sol`.
    """
    if maintenance > 0:
        return 0
    if elapsed >= length:
        return maintenance
    start = min(value, 0)
    if start < maintenance:
        return start + muldiv(maintenance - start, elapsed, length)
    return start - muldiv_up(start - maintenance, elapsed, length)


@kernel
def keeper_reward(
    cost: int,
    flag: int,
    least: int,
    profit: int,
    most: int,
    margin: int,
    share: int,
    scale: int,
) -> int:
    """Return what a keeper is paid: its cost and a profit, within what the account can bear.

    ``profit`` and ``share`` are rates at ``scale``. An account without margin pays up to ``most``.

    Source
    ------
    Synthetix v3, `KeeperCosts` and `GlobalPerpsMarketConfiguration`.
    """
    floor = max(cost + least, muldiv(cost, scale + profit, scale))
    cap = most if margin == 0 else min(most, muldiv(margin, share, scale))
    return min(max(floor, flag + cost), cap)
