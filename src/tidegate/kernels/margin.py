"""Equity and requirement of every account, in one pass over the positions."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, PPM_DIRECT, isqrt, kernel, muldiv, ppm_ceil
from tidegate.kernels.tiers import crowded_rate, due_in_tier, tier_at
from tidegate.kernels.value import LINEAR, SPOT, in_money, notional, settled_value, worth


MAINTENANCE, INITIAL = 0, 1
SUMS = 8  # cells of `sum_health`
UNKNOWN = 2**61  # a slack that no move of a price uses up


@kernel
def premium_rate(base: int, premium: int, lots: int) -> int:
    """Return the size premium's rate in ppm: 0.8 base + premium * sqrt(lots), rounded up once.

    Source: Drift v2 `math/margin.rs`, max(r, 0.8 r + imf sqrt(q)); ours counts lots where theirs
    counts base units of 1e-9, and rounds up.
    """
    if premium and abs(lots) > 10**18 // (premium * premium):
        return PPM  # the root alone is 100 %; its square might not be in range
    square = abs(lots) * premium * premium
    root = isqrt(square)
    if root * root < square:
        root += 1
    return min(PPM, (800 * base + root + 999) // 1_000)


@kernel
def tiered(
    start: int, end: int, floor: I64, rate: I64, cum: I64, premium: int, lots: int, size: int
) -> int:
    """Return the requirement in Money of a position of notional ``size``, rounded up.

    Tiers in cum-deduction form, ``size * rate - cum`` (exact and continuous because floors are
    whole units of the numeraire), or the size premium's, whichever asks more.

    Source: the brackets that Binance and Hyperliquid publish.
    """
    tier = tier_at(start, end, floor, size)
    due = due_in_tier(size, rate[tier], cum[tier], PPM)
    if premium:
        due = max(due, ppm_ceil(size, premium_rate(rate[start], premium, lots)))
    return due


@kernel
def requirement(facts: Facts, i: int, lots: int, size: int, which: int) -> int:
    """Return the MAINTENANCE or INITIAL requirement of one position in Money, rounded up.

    An owed spot balance has a flat rate; everything else is `tiered`.
    """
    if facts.kind[i] == SPOT and lots < 0:
        rate = facts.debt_initial[i] if which == INITIAL else facts.debt_maintenance[i]
        return ppm_ceil(size, rate)
    start, end, premium = facts.tier_start[i], facts.tier_start[i + 1], facts.premium[i]
    if which == INITIAL:
        rates, cums = facts.tier_initial, facts.tier_initial_cum
    else:
        rates, cums = facts.tier_maintenance, facts.tier_maintenance_cum
    return tiered(start, end, facts.tier_floor, rates, cums, premium, lots, size)


@kernel
def net_margin(book: Book, facts: Facts, mark: I64, row: int, price: int, out: I64) -> None:
    """Write what the position in ``row`` adds to equity and to maintenance at ``price``; [2]."""
    i, lots = np.int64(book.instrument[row]), book.lots[row]
    out[0] = worth(facts, mark, i, lots, book.cost[row], price)
    out[1] = requirement(facts, i, lots, notional(facts, i, lots, price), MAINTENANCE)


@kernel
def best_net(facts: Facts, low: I64, high: I64, i: int, lots: int, cost: int) -> int:
    """Return the net margin of one position at the believed prices that favour it.

    An inverse is paid in coins whose own price may be doubted: they are taken at the upper end of
    it where they are owned, and at the lower end where they are owed.
    """
    price = high[i] if lots > 0 else low[i]
    amount = settled_value(facts, i, lots, price) - cost
    gain = in_money(facts, high if amount > 0 else low, i, amount)
    return gain - requirement(facts, i, lots, notional(facts, i, lots, price), MAINTENANCE)


@kernel
def best_margin(book: Book, facts: Facts, low: I64, high: I64, row: int) -> int:
    """Return `best_net` of the position in ``row``."""
    i = np.int64(book.instrument[row])
    return best_net(facts, low, high, i, book.lots[row], book.cost[row])


@kernel
def sweep(
    book: Book, facts: Facts, mark: I64, low: I64, high: I64, equity: I64, required: I64, best: I64
) -> None:
    """Write equity, maintenance and the best-case margin of every user account.

    ``best`` is the largest ``equity - maintenance`` that any price within ``low``..``high`` of each
    instrument allows: because a position's net margin is monotone in its price (a rate is below
    100 %), the best end is the upper one for a long and the lower one for a short, and the ends
    add up (for an inverse and its coin to no less than any price allows: see `best_net`).
    Where ``low == high == mark``, ``best`` is exactly ``equity - required``.
    Integer sums commute, so the row order of the book is no part of the answer.

    Budget: 5 ns a position for linear instruments without size premium in their first two tiers,
    which the loop handles itself; everything else takes `net_margin`, at about 25 ns.
    """
    cash, debt_rate = book.cash, facts.cash_debt[0]
    for account in range(equity.size):
        equity[account] = required[account] = best[account] = 0
        if account >= FIRST_USER:
            owed = ppm_ceil(-cash[account], debt_rate) if cash[account] < 0 else 0
            equity[account], required[account] = cash[account], owed
            best[account] = cash[account] - owed
    # Columns are read out of their groups once: inside the loop that would cost more than the sum.
    row_account, row_instrument = book.account, book.instrument
    row_lots, row_cost = book.lots, book.cost
    tick_value, start, floor = facts.tick_value, facts.tier_start, facts.tier_floor
    rate, cum = facts.tier_maintenance, facts.tier_maintenance_cum
    plain = (facts.kind == LINEAR) & (facts.premium == 0)
    doubt = low != high
    for i in np.flatnonzero(facts.coin >= 0):
        doubt[i] |= doubt[facts.coin[i]]
    net = np.zeros(2, np.int64)
    for row in range(book.counts[1]):
        lots, account = row_lots[row], np.uint32(row_account[row])
        if (lots == 0 and row_cost[row] == 0) or account < FIRST_USER:
            continue
        i = np.uint32(row_instrument[row])
        gain = lots * mark[i] * tick_value[i] - row_cost[row]
        size = abs(lots) * mark[i] * tick_value[i]
        tier, end = start[i], start[i + 1]
        if tier + 1 < end and size >= floor[tier + 1]:
            tier += 1
        if plain[i] and size < PPM_DIRECT and (tier + 1 >= end or size < floor[tier + 1]):
            due = -(-size * rate[tier] // PPM) - cum[tier]
        else:
            net_margin(book, facts, mark, row, mark[i], net)
            gain, due = net[0], net[1]
        equity[account] += gain
        required[account] += due
        best[account] += best_margin(book, facts, low, high, row) if doubt[i] else gain - due


@kernel
def sum_health(equity: I64, required: I64, best: I64, out: I64) -> None:
    """Add up everybody into ``out``: [SUMS] counts of users, and sums in halves of 31 bits.

    How many are liquidatable and bankrupt; then a high and a low half each of the maintenance of
    all, that of the liquidatable, and the equity of the bankrupt. Fewer than 2**31 rows never wrap.
    """
    low = np.int64(2**31 - 1)
    for a in range(required.size):
        need = required[a]
        out[2] += need >> 31
        out[3] += need & low
        if best[a] < 0:
            out[4] += need >> 31
            out[5] += need & low
            user = 1 if a >= FIRST_USER else 0
            out[0] += user
            if equity[a] < 0:
                out[1] += user
                out[6] += equity[a] >> 31
                out[7] += equity[a] & low


@kernel
def spare_unpriced(book: Book, facts: Facts, mark: I64, equity: I64, best: I64) -> None:
    """Let nobody be judged who holds anything without a price, or a contract paid in such a coin.

    Its value is not known: far from any liquidation, neither bankrupt nor able to pay for others.
    """
    for row in range(book.counts[1]):
        i, account = np.int64(book.instrument[row]), book.account[row]
        if (book.lots[row] == 0 and book.cost[row] == 0) or account < FIRST_USER:
            continue
        if facts.kind[i] == SPOT and book.lots[row] > 0:
            continue  # what is owned counts nothing without a price, and shields nobody
        if mark[i] == 0 or (facts.coin[i] >= 0 and mark[facts.coin[i]] == 0):
            best[account], equity[account] = UNKNOWN, 0


@kernel
def open_interest_rate(facts: Facts, i: int, open_notional: int, rate: int) -> int:
    """Return an initial rate raised by crowding, in ppm: the base below ``open_low``, 100 % above.

    Source
    ------
    dYdX v4 `x/perpetuals/types/liquidity_tier.go`: base + floor((1 - base) * (OI - low) / (high -
    low)), open interest after the trade; an upper cap of zero disables it.
    """
    return crowded_rate(rate, open_notional, facts.open_low[i], facts.open_high[i], PPM)


@kernel
def position_initial(facts: Facts, i: int, lots: int, price: int, open_lots: int) -> int:
    """Return the initial requirement of one position in Money, crowding included, rounded up.

    Crowding takes the marginal rate of `open_interest_rate` and the tier's deduction along: below
    ``open_low`` nothing changes, whatever the tier, and at ``open_high`` the notional is asked.
    """
    size = notional(facts, i, lots, price)
    due = requirement(facts, i, lots, size, INITIAL)
    if facts.kind[i] == SPOT or facts.open_high[i] == 0:
        return due
    start, end = facts.tier_start[i], facts.tier_start[i + 1]
    tier = tier_at(start, end, facts.tier_floor, size)
    base = facts.tier_initial[tier]
    rate = open_interest_rate(facts, i, notional(facts, i, open_lots, price), base)
    if rate == base:
        return due
    # As the rate nears 100 %, what the lower tiers deduct nears nothing in the same proportion.
    kept = muldiv(facts.tier_initial_cum[tier], PPM - rate, PPM - base)
    return max(due, ppm_ceil(size, rate) - kept)


@kernel
def assess_account(
    book: Book,
    facts: Facts,
    mark: I64,
    account: int,
    instrument: int,
    lots: int,
    cost: int,
    cash: int,
    open_lots: int,
    out: I64,
) -> None:
    """Write equity, maintenance and initial of one account after a hypothetical change.

    The change adds ``lots`` and ``cost`` to its position in ``instrument`` (-1: none) and ``cash``
    to its cash. ``open_lots`` is the one-sided open interest of that instrument after the change.
    ``out`` is [3] Money.
    """
    balance = book.cash[account] + cash
    out[0] = balance
    out[1] = ppm_ceil(-balance, facts.cash_debt[0]) if balance < 0 else 0
    out[2] = ppm_ceil(-balance, facts.cash_debt[1]) if balance < 0 else 0
    row = np.int64(book.head[account])
    met = False
    while row >= 0 or not met:
        if row >= 0:
            i, held, paid = np.int64(book.instrument[row]), book.lots[row], book.cost[row]
            row = np.int64(book.follow[row])
        else:
            i, held, paid = np.int64(instrument), 0, 0
            met = True
            if i < 0:
                break
        crowd = max(book.long_open[i], book.short_open[i])
        if i == instrument:
            met = True
            held += lots
            paid += cost
            crowd = open_lots
        if held or paid:
            out[0] += worth(facts, mark, i, held, paid, mark[i])
            size = notional(facts, i, held, mark[i])
            out[1] += requirement(facts, i, held, size, MAINTENANCE)
            out[2] += position_initial(facts, i, held, mark[i], crowd)


@kernel
def initial_total(book: Book, facts: Facts, mark: I64) -> int:
    """Return the initial requirement of all users together, in Money; for capital efficiency."""
    total = 0
    for row in range(book.counts[1]):
        if book.lots[row] and book.account[row] >= FIRST_USER:
            i = np.int64(book.instrument[row])
            crowd = max(book.long_open[i], book.short_open[i])
            total += position_initial(facts, i, book.lots[row], mark[i], crowd)
    return total
