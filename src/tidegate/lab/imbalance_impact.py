"""Price impact as a power of a market's imbalance: what a trade pays for tipping the scales.

Floats: exponents are real numbers. Source: GMX v2, `PricingUtils`, `Precision`, `MarketUtils`.
"""


def impact_of(imbalance: float, factor: float, exponent: float) -> float:
    """Return ``factor * imbalance ** exponent``; nothing below one unit, as in the source."""
    return 0.0 if imbalance < 1 else factor * imbalance**exponent


def trade_impact(
    longs: float,
    shorts: float,
    more_longs: float,
    more_shorts: float,
    *,
    better: float,
    worse: float,
    exponent: float,
) -> float:
    """Return what a trade earns (> 0) or pays (< 0) for how it moves ``|longs - shorts|``.

    ``better`` and ``worse`` are the factors of an improvement and of its opposite; an improvement
    never earns more than the way back costs, or opening and closing would pay.
    """
    better = min(better, worse)
    before, after = longs - shorts, longs + more_longs - shorts - more_shorts
    old, new = abs(before), abs(after)
    if (before <= 0) == (after <= 0):
        factor = better if new < old else worse
        return impact_of(old, factor, exponent) - impact_of(new, factor, exponent)
    return impact_of(old, better, exponent) - impact_of(new, worse, exponent)


def execution_price(size: float, index: float, impact: float) -> float:
    """Return the price at which a long of ``size`` opens when ``impact`` is paid in the asset."""
    return size / (size / index + impact / index)
