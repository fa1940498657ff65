"""A parameter on its way from one value to another."""

from tidegate.domain.units import kernel, muldiv


@kernel
def ramped(start: int, target: int, elapsed: int, duration: int) -> int:
    """Return the value ``elapsed`` into a linear ramp of ``duration`` from ``start`` to ``target``.

    target - (target - start) * (duration - elapsed) / duration, the last term rounded towards zero:
    never further from the target than the line. Before the ramp: ``start``; without or after one:
    ``target``.

    Source: Euler v2 `EVault/shared/types/LTVConfig.sol`, getLTV, which ramps liquidation thresholds
    down the same way.
    """
    if elapsed < 0:
        return start
    if elapsed >= duration:
        return target
    gap = abs(target - start)
    rest = muldiv(gap, duration - elapsed, duration)
    return target - rest if target >= start else target + rest
