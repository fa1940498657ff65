"""What a price range of the order book holds."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, PPM, kernel, muldiv


@kernel
def executable(price: I64, lots: I64, levels: int, mark: int, reach: int) -> int:
    """Return the lots resting within ``reach`` ppm of ``mark`` on one side of the book."""
    total = 0
    for n in range(levels):
        if abs(price[n] - mark) * PPM <= mark * reach:
            total += lots[n]
    return total


@kernel
def depth_buckets(price: I64, lots: I64, levels: int, mark: int, width: int, out: I64) -> None:
    """Write the lots resting in each price bucket outwards from ``mark``; [buckets].

    Bucket ``b`` spans distances of ``b * width`` up to ``(b + 1) * width`` ppm. Beyond the last
    visible level the mean density of the visible book is assumed: the book does not end where the
    feed does, and a bucket without depth would read as an infinite branching ratio.
    """
    out[:] = 0
    total, reach = 0, 0
    for n in range(levels):
        distance = abs(price[n] - mark) * PPM // mark
        total += lots[n]
        reach = max(reach, distance)
        bucket = distance // width
        if bucket < out.size:
            out[bucket] += lots[n]
    if total == 0:
        return
    per_bucket = max(1, muldiv(total, width, max(reach, width)))
    for bucket in range(reach // width + 1, out.size):
        out[bucket] = per_bucket
