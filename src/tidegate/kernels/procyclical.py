"""How a margin follows volatility without falling in calm and jumping in a storm."""

from tidegate.domain.units import kernel, muldiv, muldiv_up


@kernel
def buffered(charged: int, calculated: int, buffer: int, scale: int) -> int:
    """Return the charge that follows ``calculated`` with a buffer to be used up in a storm.

    In calm the charge is the calculation and ``buffer`` more; while the calculation rises the
    charge stays, until the buffer is used up; while it falls, the buffer is built up again. So it
    is the last charge, kept within the calculation and the calculation with its whole buffer;
    rounded up. ``charged`` < 0: the first charge.

    Source: Commission Delegated Regulation (EU) 153/2013, article 28(1)(a): at least 25 %, which
    may be exhausted temporarily; the way down is ours.
    """
    whole = calculated + muldiv_up(calculated, buffer, scale)
    if charged < 0:
        return whole
    return min(max(charged, calculated), whole)


@kernel
def weighted(calculated: int, stressed: int, weight: int, scale: int) -> int:
    """Return ``(1 - weight) calculated + weight stressed``, rounded up.

    Source: as above, article 28(1)(b): at least 25 % of weight on stressed observations.
    """
    rest = muldiv(calculated, scale - weight, scale), muldiv(stressed, weight, scale)
    left = calculated * (scale - weight) - rest[0] * scale
    left += stressed * weight - rest[1] * scale
    return rest[0] + rest[1] + -(-left // scale)


@kernel
def floored(calculated: int, floor: int) -> int:
    """Return the calculation, and never less than the ``floor`` of a long look-back.

    Source: as above, article 28(1)(c): ten years of volatility.
    """
    return max(calculated, floor)
