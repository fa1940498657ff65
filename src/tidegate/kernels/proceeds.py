"""Who gets what from the sale of a liquidated account."""

from tidegate.domain.units import kernel, muldiv


@kernel
def split_proceeds(
    value: int, kept: int, debt: int, interest: int, fees: int, charge: int, toll: int, scale: int
) -> tuple[int, int, int, int]:
    """Return (to the lenders, to the owner, profit, loss) of an account worth ``value``.

    The liquidator pays ``kept`` of the value and keeps the rest as its premium. Lenders are owed
    debt, interest and fees, and ``charge`` of the value for the liquidation. A transfer of the
    token costs ``toll``: x * (1 + toll) is sent to deliver x, and x * (1 - toll) arrives of all
    there is. What is left goes to the owner; what is missing is the lenders' loss, after the fees
    have been given up. Rounded down.

    Source: Gearbox v3, `CreditLogic.calcLiquidationPayments`.
    """
    funds = muldiv(value, kept, scale)
    due = debt + interest + fees + muldiv(value, charge, scale)
    sent, rest = muldiv(due, scale + toll, scale), 0
    if funds > sent:
        rest = funds - sent
    else:
        sent, due = funds, muldiv(funds, scale - toll, scale)
    owed = debt + interest
    return sent, rest, max(0, due - owed), max(0, owed - due)
