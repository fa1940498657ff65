"""What is admitted after prices come back: borrowing waits, a deep liquidation never does."""

from tidegate.domain.units import kernel


@kernel
def admits_after(up: bool, elapsed: int, grace: int, health: int, deep: int) -> tuple[bool, bool]:  # noqa: FBT001 - a kernel's arguments are positional
    """Return whether borrowing and liquidating are allowed ``elapsed`` after the last change.

    Both once more than ``grace`` has passed with the feed ``up``; liquidating also, at any time,
    below the health ``deep``: waiting there would only make bad debt.

    Source: Aave v3 core, `PriceOracleSentinel` and `ValidationLogic` (removed in v3.7).
    """
    calm = up and elapsed > grace
    return calm, calm or health < deep
