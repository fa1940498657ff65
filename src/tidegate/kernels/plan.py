"""Who is closed now, by how much, and how: sizes, netting, budgets and limits as columns."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, ppm_ceil, ppm_floor
from tidegate.kernels.allocate import ratio_ppm
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.value import SPOT, notional


DEEPEST, LARGEST, OLDEST, SAVABLE = 0, 1, 2, 3  # priorities
SAVABLE_LAST = 2**62  # after everybody who has equity left; the shallowest of the bankrupt first


@kernel
def close_share(equity: int, required: int, penalty: int, target: int, most: int) -> int:
    """Return the ppm of an account to close so that it ends at ``target`` times its maintenance.

    Closing a share f of everything leaves ``equity - f * penalty`` against ``(1 - f) * required``
    (tiers are convex: never more than that), so f = (target*required - equity) / (target*required -
    penalty), rounded up, at most ``most``. ``penalty`` is what closing the whole account would
    cost. A bankrupt account, or one whose penalty eats the cure, is closed by ``most``; so is every
    account when ``target`` is 0.
    """
    if target == 0:
        return most
    goal = ppm_ceil(required, target)
    gap, cure = goal - equity, goal - penalty
    if equity <= 0 or cure <= 0 or gap >= cure:
        return most
    if gap <= 0:
        return 0
    share = ratio_ppm(gap, cure)
    # Both products wrap alike modulo 2**64, and their difference is below 2**62: a sound test.
    return min(most, share if share * cure == gap * PPM else share + 1)


@kernel
def level_of(equity: int, required: int, fraction: int, below: I64, most: I64) -> int:
    """Return the most of an account that one stage closes: soft, partial, full as health falls.

    ``below`` falls level by level; equity of exactly ``below`` of maintenance belongs to the level
    above it. Compared by division rounded down, so that no product wraps.
    """
    out = fraction
    have = ratio_ppm(equity, required)
    for n in range(below.size):
        if equity <= 0 or have < below[n]:
            out = most[n]
    return out


@kernel
def has_derivative(book: Book, facts: Facts, mark: I64, gate: I64, account: int) -> bool:
    """Return whether the account holds anything but balances that could be closed now."""
    row = np.int64(book.head[account])
    while row >= 0:
        i = book.instrument[row]
        if book.lots[row] and facts.kind[i] != SPOT and gate[i] and mark[i]:
            return True
        row = np.int64(book.follow[row])
    return False


@kernel
def idle_account(book: Book, account: int) -> bool:
    """Return whether nothing of the account is in flight."""
    row = np.int64(book.head[account])
    while row >= 0:
        if book.in_flight[row]:
            return False
        row = np.int64(book.follow[row])
    return True


@kernel
def stage_candidates(book: Book, health_best: I64, staged_at: I64, now: int, interval: int) -> I64:
    """Return the liquidatable accounts whose last stage is over: one stage an interval, one flight.

    ``staged_at`` is -1 for an account that never had a stage.
    """
    found = np.empty(health_best.size, np.int64)
    n = 0
    for account in range(FIRST_USER, health_best.size):
        if health_best[account] >= 0:
            continue
        if staged_at[account] >= 0 and now - staged_at[account] < interval:
            continue
        if idle_account(book, account):
            found[n] = account
            n += 1
    return found[:n]


@kernel
def urgency(
    accounts: I64, equity: I64, required: I64, staged_at: I64, priority: int, out: I64
) -> None:
    """Write each account's place in line as a number, lowest first.

    DEEPEST: lowest equity over maintenance first. LARGEST: highest maintenance first. OLDEST: who
    has waited longest since its last stage first. SAVABLE: the deepest of those that still have
    equity first, then the bankrupt: what is sold first keeps an account from needing the fund.
    """
    for n in range(accounts.size):
        a = accounts[n]
        if priority == LARGEST:
            out[n] = -required[a]
        elif priority == OLDEST:
            out[n] = staged_at[a]
        else:
            # Large amounts lose their lowest bits: a rank needs no more, and stays in range.
            have, need = equity[a], max(required[a], 1)
            while abs(have) > 2**42:
                have, need = have >> 8, max(need >> 8, 1)
            out[n] = have * PPM // need
            if priority == SAVABLE and have < 0:
                out[n] = SAVABLE_LAST - out[n]


@kernel
def wanted_in_levels(
    book: Book,
    facts: Facts,
    mark: I64,
    gate: I64,
    accounts: I64,
    equity: I64,
    required: I64,
    target: int,
    fraction: int,
    whole_below: int,
    first_stage: int,
    level_below: I64,
    level_fraction: I64,
    row_out: I64,
    want_out: I64,
    share_out: I64,
) -> int:
    """Write the rows to close and by how many lots (signed as a trade); return how many.

    ``fraction`` caps the share of one stage and ``first_stage`` that of accounts larger than
    ``whole_below`` of maintained notional (0: no such rule). Levels replace ``fraction`` for who
    has less than ``level_below`` ppm of its maintenance: the last that applies counts. What would
    remain below the instrument's dust is taken along. Balances are sold only once no derivative is
    left, and only where something is owed. ``gate`` is 1 where the instrument's price may
    liquidate.
    """
    n = 0
    for account in accounts:
        size, penalty = 0, 0
        row = np.int64(book.head[account])
        while row >= 0:
            i = np.int64(book.instrument[row])
            worth = notional(facts, i, book.lots[row], mark[i])
            size += worth
            penalty += ppm_ceil(worth, facts.penalty[i])
            row = np.int64(book.follow[row])
        most = level_of(equity[account], required[account], fraction, level_below, level_fraction)
        if whole_below and size > whole_below:
            most = min(most, first_stage)
        share = close_share(equity[account], required[account], penalty, target, most)
        if share == 0:
            continue
        derivative = has_derivative(book, facts, mark, gate, account)
        row = np.int64(book.head[account])
        while row >= 0:
            here = row
            row = np.int64(book.follow[row])
            i, lots = np.int64(book.instrument[here]), book.lots[here]
            if lots == 0 or not gate[i] or mark[i] == 0:
                continue
            if facts.kind[i] == SPOT and (derivative or (lots > 0 and book.cash[account] >= 0)):
                continue
            size = abs(lots)
            close = min(size, ppm_ceil(size, share))
            if notional(facts, i, size - close, mark[i]) < facts.dust[i]:
                close = size
            row_out[n], want_out[n], share_out[n] = here, (-close if lots > 0 else close), share
            n += 1
    return n


@kernel
def in_line(book: Book, accounts: I64, row: I64, want: I64, share: I64) -> tuple[I64, I64, I64]:
    """Return the three columns with all rows of one account where it stands among ``accounts``.

    The rows of an account lie together and keep their order.
    """
    first = np.full(book.counts[0], -1)
    account = np.empty(row.size, np.int64)
    for n in range(row.size - 1, -1, -1):
        account[n] = book.account[row[n]]
        first[account[n]] = n
    out = (np.empty_like(row), np.empty_like(row), np.empty_like(row))
    at = 0
    for a in accounts:
        n = first[a]
        while 0 <= n < row.size and account[n] == a:
            out[0][at], out[1][at], out[2][at] = row[n], want[n], share[n]
            at += 1
            n += 1
    return out


@kernel
def first_rows(book: Book, row: I64) -> tuple[I64, I64]:
    """Return the accounts of these position rows, rising, and where each of them comes first."""
    place = np.full(book.counts[0], -1)
    n = 0
    for k in range(row.size - 1, -1, -1):
        a = book.account[row[k]]
        n += place[a] < 0
        place[a] = k
    account, first = np.empty(n, np.int64), np.empty(n, np.int64)
    at = 0
    for a in range(place.size):
        if place[a] >= 0:
            account[at], first[at] = a, place[a]
            at += 1
    return account, first


@kernel
def wanted(
    book: Book,
    facts: Facts,
    mark: I64,
    gate: I64,
    accounts: I64,
    equity: I64,
    required: I64,
    target: int,
    fraction: int,
    whole_below: int,
    first_stage: int,
    row_out: I64,
    want_out: I64,
    share_out: I64,
) -> int:
    """Write what `wanted_in_levels` wants where there are no levels; return how many rows."""
    none = np.zeros(0, np.int64)
    return wanted_in_levels(
        book,
        facts,
        mark,
        gate,
        accounts,
        equity,
        required,
        target,
        fraction,
        whole_below,
        first_stage,
        none,
        none,
        row_out,
        want_out,
        share_out,
    )


@kernel
def net_and_cap(
    book: Book,
    row: I64,
    want: I64,
    netting: int,
    room_sell: I64,
    room_buy: I64,
    netted: I64,
    ordered: I64,
) -> None:
    """Split each wanted trade into what is netted at the mark and what is ordered, in rank order.

    Opposite closes of one instrument meet first and cost no depth: the smaller side whole, the
    larger side in order of rank. The rest is ordered while there is ``room`` (lots per instrument
    and side), which is drawn down in place.
    """
    instruments = room_sell.size
    match_sell, match_buy = np.zeros(instruments, np.int64), np.zeros(instruments, np.int64)
    if netting:
        for n in range(row.size):
            i = book.instrument[row[n]]
            if want[n] < 0:
                match_sell[i] -= want[n]
            else:
                match_buy[i] += want[n]
        for i in range(instruments):
            both = min(match_sell[i], match_buy[i])
            match_sell[i], match_buy[i] = both, both
    for n in range(row.size):
        i = book.instrument[row[n]]
        match = match_sell if want[n] < 0 else match_buy
        room = room_sell if want[n] < 0 else room_buy
        sign = -1 if want[n] < 0 else 1
        size = abs(want[n])
        met = min(size, match[i])
        match[i] -= met
        sold = min(size - met, room[i])
        room[i] -= sold
        netted[n], ordered[n] = sign * met, sign * sold


@kernel
def fillable_prices(
    book: Book,
    facts: Facts,
    mark: I64,
    equity: I64,
    required: I64,
    row: I64,
    ordered: I64,
    adjustment: int,
    spread: int,
    band: int,
    out: I64,
) -> None:
    """Write the worst price each order may trade at, in ticks, up for sells and down for buys.

    limit = mark -/+ ABR * spread * PMM / lots, with ABR = clamp(adjustment * (1 - equity/required),
    0, 1) and PMM the position's own maintenance: the closer to bankruptcy, the further from the
    mark. Never outside ``band`` ppm of the mark (0: no band): bands bind forced orders too.
    ``spread`` of zero asks for any price (a market order), still inside the band.

    Source
    ------
    dYdX v4, `x/clob/keeper/liquidations.go`, GetFillablePrice; exact there, ticks here.
    """
    for n in range(row.size):
        i, account = np.int64(book.instrument[row[n]]), book.account[row[n]]
        sell = ordered[n] < 0
        limit = 1 if sell else facts.price_max[i]
        if spread:
            depth = PPM
            if required[account] > 0 and equity[account] > 0:
                lack = PPM - min(PPM, ratio_ppm(equity[account], required[account]))
                depth = min(PPM, ppm_floor(lack, adjustment))
            size = notional(facts, i, book.lots[row[n]], mark[i])
            due = requirement(facts, i, book.lots[row[n]], size, MAINTENANCE)
            give = ppm_floor(ppm_floor(due, spread), depth)
            # give / size is the share of the mark that may be given up; sells round up.
            ticks = muldiv(mark[i], give, max(size, 1))
            limit = max(1, mark[i] - ticks) if sell else mark[i] + ticks
        if band:
            if sell:
                limit = max(limit, mark[i] - ppm_floor(mark[i], band))
            else:
                limit = min(limit, mark[i] + ppm_floor(mark[i], band))
        out[n] = min(limit, facts.price_max[i])
