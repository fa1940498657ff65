"""Requirements over owner groups: the tier is that of all accounts of one owner together."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book, row_of
from tidegate.domain.facts import Facts
from tidegate.domain.table import table_find, table_insert
from tidegate.domain.units import I64, kernel, muldiv_up
from tidegate.kernels.margin import assess_account, position_initial, tiered
from tidegate.kernels.value import SPOT, size_of


@kernel
def group_lots(book: Book, out: I64) -> None:
    """Write per position row the lots that its owner holds in its instrument and on its side.

    Summed over all accounts of one declared owner, as a positive number; for an owner of one
    account it is the position itself. ``out`` is [positions]. One pass over the positions, with a
    hash of (owner, side, instrument) for owners of several accounts; rows of owners stay below
    2**30. A side's sum is at most its open interest: what the range proof allows for.
    """
    high, accounts = book.counts[1], book.counts[0]
    members, owner_of = np.zeros(accounts, np.int32), book.owner
    for account in range(FIRST_USER, accounts):
        members[owner_of[account]] += 1
    size = 8
    while size < 2 * high:
        size *= 2
    table, keys = np.zeros(size, np.int32), np.zeros(high, np.int64)
    total, slot_of = np.zeros(high, np.int64), np.full(high, -1, np.int64)
    used = 0
    row_lots, row_account, row_instrument = book.lots, book.account, book.instrument
    for row in range(high):
        lots, account = row_lots[row], row_account[row]
        out[row] = abs(lots)
        if lots == 0 or account < FIRST_USER or members[owner_of[account]] < 2:
            continue
        side = np.int64(owner_of[account]) * 2 + (1 if lots < 0 else 0)
        key = (side << 32) | row_instrument[row]
        slot = table_find(table, keys, key)
        if slot < 0:
            slot, keys[used] = used, key
            table_insert(table, key, used)
            used += 1
        total[slot] += abs(lots)
        slot_of[row] = slot
    for row in range(high):
        if slot_of[row] >= 0:
            out[row] = total[slot_of[row]]


@kernel
def _share(due: int, lots: int, group: int) -> int:
    """Return ``due * lots / group`` rounded up; ``lots`` is at most ``group``."""
    if due < 2**62 // lots:
        return -(-due * lots // group)
    return muldiv_up(due, lots, group)


@kernel
def extra_due(
    kind: int,
    tick_value: int,
    units: int,
    face: int,
    start: int,
    end: int,
    floor: I64,
    rate: I64,
    cum: I64,
    premium: int,
    lots: int,
    group: int,
    price: int,
) -> int:
    """Return what a position owes beyond its own requirement because of ``group`` >= its lots.

    Its share by lots of the requirement of the whole group, rounded up, less its own; never below
    zero. Debts have a flat rate and no tiers. Money. Columns of one instrument, as in `tiered`.
    """
    lots_held = abs(lots)
    if lots_held in (0, group) or (kind == SPOT and lots < 0):
        return 0
    own = size_of(kind, tick_value, units, face, lots_held, price)
    whole = size_of(kind, tick_value, units, face, group, price)
    due = tiered(start, end, floor, rate, cum, premium, group, whole)
    alone = tiered(start, end, floor, rate, cum, premium, lots_held, own)
    return max(0, _share(due, lots_held, group) - alone)


@kernel
def group_extra(facts: Facts, i: int, lots: int, group: int, price: int) -> int:
    """Return `extra_due` of the maintenance of a position in instrument ``i``."""
    return extra_due(
        facts.kind[i],
        facts.tick_value[i],
        facts.units[i],
        facts.face[i],
        facts.tier_start[i],
        facts.tier_start[i + 1],
        facts.tier_floor,
        facts.tier_maintenance,
        facts.tier_maintenance_cum,
        facts.premium[i],
        lots,
        group,
        price,
    )


@kernel
def initial_extra(facts: Facts, i: int, lots: int, group: int, price: int, open_lots: int) -> int:
    """Return the extra, as in `extra_due`, of the initial requirement, crowding included."""
    size = abs(lots)
    if size in (0, group) or (facts.kind[i] == SPOT and lots < 0):
        return 0
    side = 1 if lots > 0 else -1
    own = position_initial(facts, i, lots, price, open_lots)
    whole = position_initial(facts, i, side * group, price, open_lots)
    return max(0, _share(whole, size, group) - own)


@kernel
def add_group_extra(
    book: Book, facts: Facts, mark: I64, low: I64, high: I64, required: I64, best: I64
) -> None:
    """Add to a sweep's result what owner groups ask beyond single accounts.

    At the mark for ``required``, and at the believed price that favours the position for ``best``:
    a share of a requirement is as monotone in the price as the requirement, and all positions of a
    group have their best case at the same end.
    """
    group = np.empty(book.counts[1], np.int64)
    group_lots(book, group)
    row_lots, row_account, row_instrument = book.lots, book.account, book.instrument
    kind, tick_value, units, face = facts.kind, facts.tick_value, facts.units, facts.face
    start, floor, premium = facts.tier_start, facts.tier_floor, facts.premium
    rate, cum = facts.tier_maintenance, facts.tier_maintenance_cum
    extra = 0
    for row in range(group.size):
        lots, all_of_it = row_lots[row], group[row]
        if all_of_it == abs(lots):
            continue
        i, account = np.int64(row_instrument[row]), row_account[row]
        for end in range(2):
            price = mark[i]
            if end == 1:
                price = high[i] if lots > 0 else low[i]
            if end == 0 or price != mark[i]:
                extra = extra_due(
                    kind[i],
                    tick_value[i],
                    units[i],
                    face[i],
                    start[i],
                    start[i + 1],
                    floor,
                    rate,
                    cum,
                    premium[i],
                    lots,
                    all_of_it,
                    price,
                )
            if end == 0:
                required[account] += extra
            else:
                best[account] -= extra


@kernel
def initial_extra_total(book: Book, facts: Facts, mark: I64) -> int:
    """Return what owner groups add to the initial requirement of all users together, in Money."""
    group = np.empty(book.counts[1], np.int64)
    group_lots(book, group)
    total = 0
    for row in range(book.counts[1]):
        if book.lots[row] and book.account[row] >= FIRST_USER:
            i = np.int64(book.instrument[row])
            crowd = max(book.long_open[i], book.short_open[i])
            total += initial_extra(facts, i, book.lots[row], group[row], mark[i], crowd)
    return total


@kernel
def members_of(book: Book, account: int) -> I64:
    """Return the accounts that have the owner of ``account``, itself among them."""
    return np.flatnonzero(book.owner[: book.counts[0]] == book.owner[account])


@kernel
def lots_after(book: Book, account: int, i: int, actor: int, instrument: int, lots: int) -> int:
    """Return what ``account`` holds of ``i`` once ``actor`` has traded ``lots``."""
    row = row_of(book, account, i)
    held = book.lots[row] if row >= 0 else 0
    return held + lots if account == actor and i == instrument else held


@kernel
def add_account_extra(
    book: Book,
    facts: Facts,
    mark: I64,
    account: int,
    actor: int,
    instrument: int,
    lots: int,
    open_lots: int,
    out: I64,
) -> None:
    """Add to `assess_account`'s maintenance and initial what the owner's group asks beyond them.

    ``actor``, an account of the same owner, has traded ``lots`` of ``instrument`` (-1: nobody has).
    ``out`` is [3] Money; ``open_lots`` as in `assess_account`.
    """
    members = members_of(book, account)
    if members.size < 2:
        return
    for i in range(mark.size):
        held = lots_after(book, account, i, actor, instrument, lots)
        if held == 0:
            continue
        group = 0
        for member in members:
            other = lots_after(book, member, i, actor, instrument, lots)
            if (other > 0) == (held > 0):
                group += abs(other)
        crowd = open_lots if i == instrument else max(book.long_open[i], book.short_open[i])
        out[1] += group_extra(facts, i, held, group, mark[i])
        out[2] += initial_extra(facts, i, held, group, mark[i], crowd)


@kernel
def hurts_a_sibling(
    book: Book, facts: Facts, mark: I64, actor: int, instrument: int, lots: int, open_lots: int
) -> bool:
    """Return whether a trade of ``actor`` brings another account of its owner below maintenance.

    An account that is below it anyway counts when it would owe more than before.
    """
    before, after = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for account in members_of(book, actor):
        if account == actor or lots_after(book, account, instrument, -1, -1, 0) == 0:
            continue
        assess_account(book, facts, mark, account, -1, 0, 0, 0, 0, before)
        after[:] = before
        add_account_extra(book, facts, mark, account, -1, -1, 0, 0, before)
        args = (actor, instrument, lots, open_lots)
        add_account_extra(book, facts, mark, account, *args, after)
        if after[1] > before[1] and after[0] < after[1]:
            return True
    return False
