"""Arithmetic in a prime field: putting a shared secret together again."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.units import I64, kernel, muldiv


@kernel
def times(a: int, b: int, prime: int) -> int:
    """Return ``a * b`` modulo a prime below 2**62, for 0 <= a, b < prime.

    Compiled, both products wrap alike modulo 2**64, and their difference is below the prime.
    """
    return a * b - muldiv(a, b, prime) * prime


@kernel
def inverse(a: int, prime: int) -> int:
    """Return the number that times ``a`` is one: a ** (prime - 2), by Fermat; 0 for 0."""
    out, square, rest = 1, a, prime - 2
    while rest:
        if rest % 2:
            out = times(out, square, prime)
        square = times(square, square, prime)
        rest //= 2
    return out


@kernel
def reconstruct(at: I64, value: I64, prime: int) -> int:
    """Return the secret f(0) of the shares ``(at, value)`` of a polynomial, all points distinct.

    Source
    ------
    Shamir, "How to share a secret" (1979), with Lagrange's weights at zero.
    """
    secret = 0
    for n in range(at.size):
        over, under = 1, 1
        for k in range(at.size):
            if k != n:
                over = times(over, (-at[k]) % prime, prime)
                under = times(under, (at[n] - at[k]) % prime, prime)
        weight = times(over, inverse(under, prime), prime)
        secret = (secret + times(value[n] % prime, weight, prime)) % prime
    return secret
