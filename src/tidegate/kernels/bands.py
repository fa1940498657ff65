"""Bands: collateral (y) laid over price intervals, each a small market that follows the oracle.

Band ``n`` covers oracle prices from ``base * r**n`` down to ``base * r**(n + 1)``, with ``r = (A -
1) / A``. Within a band ``(f + x)(g + y)`` is constant, where x is the debt asset; f and g follow
the oracle's cube, so that the band sells below the oracle while it falls and buys above it while
it rises. Whoever trades that difference away converts the collateral step by step, and back.

Prices are the value of ``unit`` smallest units of y in smallest units of x. Columns hold the bands
from number ``first`` upwards, that is from the highest price downwards. Arithmetic rounds in favour
of the bands. Compiled, A times the value of a band must stay below 2**59.

Source: curvefi/curve-stablecoin, AMM.vy: its formulas and roundings, written anew.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.units import I64, isqrt, kernel, muldiv
from tidegate.kernels.exponent import exp_scaled, ln_scaled, root_of_sum


BANDS_MAX = 50  # bands that one trade may touch, and that may lie between a band and the oracle
SKIP_MAX = 1_024  # empty bands that one trade may pass

IN, OUT, ACTIVE = 0, 1, 2  # cells of a trade's result
QUARTER = 4  # a band far from the oracle charges this part of the distance


@kernel
def log_ratio(amp: int, scale: int) -> int:
    """Return ``ln(A / (A - 1))`` at ``scale``, rounded down; ``amp`` is A >= 2."""
    return ln_scaled(muldiv(amp, scale, amp - 1), scale)


@kernel
def root_ratio(amp: int, scale: int) -> int:
    """Return ``sqrt(A / (A - 1))`` at ``scale``, rounded down; compiled, scale <= 1e9."""
    return isqrt(muldiv(scale * scale, amp, amp - 1))


@kernel
def reach(amp: int, scale: int) -> int:
    """Return ``(A / (A - 1)) ** 50`` at ``scale``: how far from the oracle a trade may go."""
    power = scale
    for _ in range(BANDS_MAX):
        power = muldiv(power, amp, amp - 1)
    return power


@kernel
def edge(base: int, n: int, ratio: int, scale: int) -> int:
    """Return the upper oracle price of band ``n``; ``ratio`` is `log_ratio` at ``scale``."""
    return muldiv(base, exp_scaled(-n * ratio, scale), scale)


@kernel
def price_at(edge_price: int, oracle: int) -> int:
    """Return ``oracle**3 / edge**2``: the band's own price while the oracle is off its edge."""
    return muldiv(muldiv(oracle, oracle, edge_price), oracle, edge_price)


@kernel
def limited_move(
    last: int, price: int, elapsed: int, window: int, cap: int, old_fee: int, scale: int, out: I64
) -> None:
    """Write the oracle price that is believed now, and the fee that pays for its move, to ``out``.

    Within ``window`` since the last price, a step may change it by the factor ``cap`` (at scale);
    the fee ``(old_fee + 1 - r**3)``, with r the smaller of the prices over the larger, falls to
    zero over the window. A fee of ``1 - r**3`` is what takes the profit out of a jump, in either
    direction. Compiled, ``scale`` <= 1e6.
    """
    left = window - min(window, elapsed)
    out[0], out[1] = price, 0
    if left == 0:
        return
    least = scale * scale // cap
    if price > last:
        ratio = muldiv(last, scale, price)
        if ratio < least:
            out[0], ratio = muldiv(last, cap, scale), least
    else:
        ratio = muldiv(price, scale, last)
        if ratio < least:
            out[0], ratio = muldiv(last, scale, cap), least
    lost = scale + old_fee - ratio * ratio * ratio // (scale * scale)
    out[1] = min(lost * left // window, scale - 1)


@kernel
def band_fee(oracle: int, up: int, amp: int, floor: int, scale: int) -> int:
    """Return the fee of a band: a quarter of the distance to the oracle, at least ``floor``."""
    low = price_at(up, oracle)
    high = muldiv(muldiv(low, amp, amp - 1), amp, amp - 1)
    fee = 0
    if oracle < low:
        fee = muldiv(low - oracle, scale // QUARTER, low)
    elif oracle > high:
        fee = muldiv(oracle - high, scale // QUARTER, oracle)
    return max(fee, floor)


@kernel
def grossed(fee: int, scale: int) -> int:
    """Return ``1 / (1 - fee)`` at ``scale``: what must go in for one that is traded."""
    return muldiv(scale, scale, scale - min(fee, scale - 1))


@kernel
def full_at(x: int, y: int, oracle: int, up: int, amp: int, unit: int) -> int:
    """Return y0, the collateral that a band with (x, y) would hold with x = 0 and oracle = edge.

    The positive root of ``p A y0**2 - y0 (p_up (A - 1) x / p + A p**2 y / p_up) - x y = 0``.
    """
    b = 0
    if x:
        b = muldiv(up * (amp - 1), x, oracle)
    if y:
        b += muldiv(muldiv(amp * oracle, oracle, up), y, unit)
    if x and y:
        root = root_of_sum(b, b, muldiv(4 * amp * oracle, y, unit), x)
        return muldiv(b + root, unit, 2 * amp * oracle)
    return muldiv(b, unit, amp * oracle)


@kernel
def f_of(full: int, oracle: int, up: int, amp: int, unit: int) -> int:
    """Return f, the virtual x of a band whose y0 is ``full``."""
    return muldiv(muldiv(amp * full, oracle, up), oracle, unit)


@kernel
def g_of(full: int, oracle: int, up: int, amp: int) -> int:
    """Return g, the virtual y of a band whose y0 is ``full``."""
    return muldiv((amp - 1) * full, up, oracle)


@kernel
def band_price(x: int, y: int, oracle: int, up: int, amp: int, unit: int) -> int:
    """Return the price at which a band would trade the next unit; its middle when it is empty."""
    if x == 0:
        low = price_at(up, oracle)
        return low if y else muldiv(low, amp, amp - 1)
    if y == 0:
        return price_at(muldiv(up, amp - 1, amp), oracle)
    full = full_at(x, y, oracle, up, amp, unit)
    return muldiv(f_of(full, oracle, up, amp, unit) + x, unit, g_of(full, oracle, up, amp) + y)


@kernel
def deposit(amount: int, low: int, high: int, dead: int, y: I64, total: I64, share: I64) -> None:
    """Lay ``amount`` in equal parts over the cells ``low``..``high``; the first takes the rest.

    ``total`` shares grow by the depositor's ``share``; ``dead`` shares that nobody holds keep the
    price of a share from being driven up.
    """
    bands = high - low + 1
    part = amount // bands
    for k in range(low, high + 1):
        new = part if k > low else amount - part * (bands - 1)
        share[k] = muldiv(total[k] + dead, new, y[k] + 1)
        total[k] += share[k]
        y[k] += new


@kernel
def owned(held: int, share: int, total: int, dead: int) -> int:
    """Return a depositor's part of what a band holds, rounded down."""
    return muldiv(held + 1, share, total + dead)


@kernel
def trade(
    rising: int,
    exact_in: int,
    amount: int,
    x: I64,
    y: I64,
    active: int,
    lowest: int,
    highest: int,
    up: int,
    oracle: int,
    fee: int,
    amp: int,
    far: int,
    scale: int,
    unit: int,
    new_x: I64,
    new_y: I64,
    out: I64,
) -> None:
    """Trade against the bands from the active cell on, and write what they hold afterwards.

    ``rising`` is 1 when x comes in and y goes out, towards cells of lower oracle prices (the bands'
    own price rises), and 0 when y comes in. ``amount`` goes in (``exact_in`` 1) or comes out (0);
    as much of it is done as the bands between ``lowest`` and ``highest`` hold. ``up`` is the upper
    price of the active cell, ``far`` is `reach`. ``out`` takes what went in, what came out and the
    new active cell; nothing moves when either would be nothing. The fee stays in the bands.
    """
    new_x[:] = x
    new_y[:] = y
    out[IN], out[OUT], out[ACTIVE] = 0, 0, active
    n, touched, left = active, -1, amount
    for passed in range(BANDS_MAX + SKIP_MAX):
        # Bands beyond the active one hold one asset only: y below it, x above it.
        here_x = x[n] if n == active or not rising else 0
        here_y = y[n] if n == active or rising else 0
        if here_x or here_y:
            touched = max(touched, 0)
            done = _trade_band(
                rising, exact_in, left, here_x, here_y, up, oracle, fee, amp, scale, unit, out
            )
            new_x[n], new_y[n] = out[3], out[4]
            if done:
                break
            left = amount - out[IN] if exact_in else amount - out[OUT]
        if n == (highest if rising else lowest) or touched == BANDS_MAX - 1:
            break
        distance = muldiv(up, scale, oracle)
        if distance < scale * scale // far if rising else distance > far:
            break
        if passed == BANDS_MAX + SKIP_MAX - 1:
            break
        touched += 1 if touched >= 0 else 0
        n += 1 if rising else -1
        up = muldiv(up, amp - 1, amp) if rising else muldiv(up, amp, amp - 1)
    out[ACTIVE] = n
    if out[IN] == 0 or out[OUT] == 0:
        new_x[:] = x
        new_y[:] = y
        out[IN], out[OUT], out[ACTIVE] = 0, 0, active


@kernel
def _trade_band(
    rising: int,
    exact_in: int,
    left: int,
    x: int,
    y: int,
    up: int,
    oracle: int,
    fee: int,
    amp: int,
    scale: int,
    unit: int,
    out: I64,
) -> int:
    """Trade what is ``left`` within one band; return 1 when that was all of it.

    With "in" and "out" for the two assets the mathematics is one: (a + in)(b + out) is constant.
    The band's new holdings go to cells 3 and 4 of ``out``, sums are added to its cells IN and OUT.
    """
    out[3], out[4] = x, y
    full = full_at(x, y, oracle, up, amp, unit)
    f, g = f_of(full, oracle, up, amp, unit), g_of(full, oracle, up, amp)
    held_in, held_out = (x, y) if rising else (y, x)
    a, b = (f, g) if rising else (g, f)
    if held_out == 0 or b == 0:
        return 0
    gross = grossed(band_fee(oracle, up, amp, fee, scale), scale)
    pays = muldiv(muldiv(a + held_in, b + held_out, b) - a - held_in, gross, scale)
    done, rest = 0, 0
    if exact_in and pays >= left:
        net = muldiv(left, scale, gross)
        rest = muldiv(a + held_in, b + held_out, a + held_in + net) - b + 1
        done, pays, rest = 1, left, min(rest, held_out)
    elif not exact_in and held_out >= left:
        done, rest = 1, held_out - left
        to = muldiv(a + held_in, b + held_out, b + rest) - a - held_in
        pays = muldiv(to, gross, scale)
    else:
        pays = max(pays, 1)
    out[IN] += pays
    out[OUT] += held_out - rest
    out[3], out[4] = (held_in + pays, rest) if rising else (rest, held_in + pays)
    return done


@kernel
def amount_to(
    price: int,
    x: I64,
    y: I64,
    active: int,
    lowest: int,
    highest: int,
    up: int,
    oracle: int,
    fee: int,
    amp: int,
    far: int,
    scale: int,
    unit: int,
    out: I64,
) -> None:
    """Write what must go in so that the bands' own price becomes ``price``, and which way.

    ``out[0]`` is the amount, of x when ``out[1]`` is 1 (the price must rise) and of y when it is 0.
    """
    out[0] = 0
    out[1] = 0 if price < band_price(x[active], y[active], oracle, up, amp, unit) else 1
    rising = out[1]
    low = price_at(up, oracle)
    high = muldiv(low, amp * amp, (amp - 1) * (amp - 1))
    n, touched = active, -1
    for _ in range(BANDS_MAX + SKIP_MAX):
        inside = 1 if low <= price <= high else 0
        if x[n] or y[n]:
            touched = max(touched, 0)
            gross = grossed(band_fee(oracle, up, amp, fee, scale), scale)
            out[0] += muldiv(
                _amount_in_band(price, inside, rising, x[n], y[n], up, oracle, amp, unit),
                gross,
                scale,
            )
        if inside or n == (highest if rising else lowest) or touched == BANDS_MAX - 1:
            break
        distance = muldiv(up, scale, oracle)
        if distance < scale * scale // far if rising else distance > far:
            break
        touched += 1 if touched >= 0 else 0
        n += 1 if rising else -1
        if rising:
            low, high = high, muldiv(high, amp * amp, (amp - 1) * (amp - 1))
            up = muldiv(up, amp - 1, amp)
        else:
            low, high = muldiv(low, (amp - 1) * (amp - 1), amp * amp), low
            up = muldiv(up, amp, amp - 1)


@kernel
def _amount_in_band(
    price: int,
    inside: int,
    rising: int,
    x: int,
    y: int,
    up: int,
    oracle: int,
    amp: int,
    unit: int,
) -> int:
    """Return what must go into one band, fee aside, to bring it to ``price`` or to its end."""
    full = full_at(x, y, oracle, up, amp, unit)
    f, g = f_of(full, oracle, up, amp, unit), g_of(full, oracle, up, amp)
    if not inside:
        if rising:
            return muldiv(f + x, g + y, g) - f - x
        return muldiv(f + x, g + y, f) - g - y
    # (g + y)**2 = invariant / price
    to_y = max(0, root_of_sum(f + x, muldiv(g + y, unit, price), 0, 0) - g)
    if not rising:
        return max(0, to_y - y)
    to_x = max(0, muldiv(f + x, g + y, g + to_y) - f)
    return max(0, to_x - x)


@kernel
def worth_of(
    in_y: int,
    x: int,
    y: int,
    oracle: int,
    up: int,
    down: int,
    amp: int,
    root: int,
    scale: int,
    unit: int,
) -> int:
    """Return what one band comes to when the oracle walks through it and everybody trades.

    In y at the band's upper end (``in_y`` 1) or in x at its lower end: first to the oracle at the
    price of today, then slowly from there. ``root`` is `root_ratio` at ``scale``.
    """
    if x == 0 or y == 0:
        middle = muldiv(muldiv(oracle, oracle, down), oracle, up)
        if oracle > up:
            all_y = y or muldiv(x, unit, middle)
            return all_y if in_y else muldiv(muldiv(all_y, up, unit), scale, root)
        if oracle < down:
            all_x = x or muldiv(y, middle, unit)
            return muldiv(muldiv(all_x, root, scale), unit, up) if in_y else all_x
    full = full_at(x, y, oracle, up, amp, unit)
    f, g = f_of(full, oracle, up, amp, unit), g_of(full, oracle, up, amp)
    if oracle > up:
        all_y = max(0, muldiv(f + x, g + y, f) - g)
        return all_y if in_y else muldiv(muldiv(all_y, up, unit), scale, root)
    if oracle < down:
        all_x = max(0, muldiv(f + x, g + y, g) - f)
        return muldiv(muldiv(all_x, root, scale), unit, up) if in_y else all_x
    to_y = muldiv(amp * full, oracle - down, oracle)
    to_x = max(0, muldiv(f + x, g + y, g + to_y) - f)
    if in_y:
        return to_y + muldiv(to_x, unit, root_of_sum(up, oracle, 0, 0))
    return to_x + muldiv(to_y, root_of_sum(down, oracle, 0, 0), unit)


@kernel
def converted(
    in_y: int,
    x: I64,
    y: I64,
    share: I64,
    total: I64,
    dead: int,
    low: int,
    high: int,
    active: int,
    up: int,
    oracle: int,
    amp: int,
    root: int,
    scale: int,
    unit: int,
) -> int:
    """Return a depositor's part of what the cells ``low``..``high`` come to; see `worth_of`.

    In x this is what its health is made of. ``up`` is the upper price of cell ``low``.
    """
    sum_ = 0
    for n in range(low, high + 1):
        down = muldiv(up, amp - 1, amp)
        here_x = x[n] if n <= active else 0
        here_y = y[n] if n >= active else 0
        if (here_x or here_y) and share[n] and total[n]:
            worth = worth_of(in_y, here_x, here_y, oracle, up, down, amp, root, scale, unit)
            sum_ += muldiv(worth, share[n], total[n] + dead)
        up = down
    return sum_
