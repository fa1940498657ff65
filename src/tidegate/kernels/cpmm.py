"""Selling into a constant-product pool.

Source: Sadeghi and Feinstein, arXiv:2602.12104: out = B a(1-g) / (A + a(1-g)).
"""

from tidegate.domain.units import isqrt, kernel, muldiv


@kernel
def cpmm_out(held: int, other: int, sold: int, fee: int, scale: int) -> int:
    """Return what a pool of ``held`` and ``other`` pays for ``sold``, rounded down.

    The fee is a share of what is sold; reserves and amounts below 2**61.
    """
    bare = sold - muldiv(sold, fee, scale)
    return muldiv(other, bare, held + bare)


@kernel
def cpmm_price(held: int, other: int, scale: int) -> int:
    """Return the marginal price of the pool's first asset, times ``scale``, rounded down."""
    return muldiv(other, scale, held)


@kernel
def cpmm_sale_max(held: int, drop: int, scale: int) -> int:
    """Return the largest sale that lowers the marginal price by at most ``drop``, rounded down.

    ``held * (1 / sqrt(1 - drop) - 1)`` with ``drop`` < ``scale``; compiled, ``scale`` <= 2**30.
    """
    root = isqrt((scale - drop) * scale)
    return muldiv(held, scale - root, root)
