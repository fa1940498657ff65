"""From a book to its packed form: who is plain, who is flat, and where everybody's cells lie."""

from typing import Final

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.packed import LOTS_NARROW, Packed
from tidegate.domain.units import I64, PPM
from tidegate.kernels.groups import group_lots
from tidegate.kernels.value import LINEAR


SLOTS_BYTE: Final = 256  # as many slots as a byte can name
HEADROOM: Final = 250_000  # ppm by which prices may rise before a flat account might leave a tier


def pack_book(
    book: Book, facts: Facts, mark: I64, *, group_tiers: bool = False, headroom: int = HEADROOM
) -> Packed:
    """Return all users of ``book`` in packed form; flat are those still in their first tiers.

    ``mark`` and ``headroom`` (ppm) decide only who is flat: a guess about speed, which every sweep
    checks again. ``group_tiers`` is the margin model's: accounts of one owner judged together.
    """
    lots, cost = book.lots[: book.high], book.cost[: book.high]
    group = np.abs(lots)
    if group_tiers:
        group_lots(book, group)
    rows = np.flatnonzero(((lots != 0) | (cost != 0)) & (book.account[: book.high] >= FIRST_USER))
    return pack_columns(
        cash=book.cash[FIRST_USER : book.accounts],
        account=book.account[rows].astype(np.int64) - FIRST_USER,
        instrument=book.instrument[rows].astype(np.int64),
        lots=lots[rows],
        cost=cost[rows],
        group=group[rows],
        facts=facts,
        mark=mark,
        headroom=headroom,
        first=FIRST_USER,
    )


def pack_columns(
    *,
    cash: I64,
    account: I64,
    instrument: I64,
    lots: I64,
    cost: I64,
    facts: Facts,
    mark: I64,
    group: I64 | None = None,
    headroom: int = HEADROOM,
    first: int = 0,
) -> Packed:
    """Return accounts given as columns in packed form: ``cash`` one cell each, the rest a position.

    ``account`` counts from 0; row ``first`` of the book is account 0. See `pack_book`.
    """
    size = np.abs(lots)
    group = size if group is None else group
    plain = (facts.kind[instrument] == LINEAR) & (facts.premium[instrument] == 0) & (lots != 0)
    plain &= group == size
    odd = np.flatnonzero(~plain)
    rows = np.flatnonzero(plain)
    rows = rows[np.argsort(account[rows], kind="stable")]
    held = np.bincount(account[rows], minlength=cash.size)
    narrow = bool((size[rows] <= LOTS_NARROW).all())
    flat = np.full(cash.size, narrow)
    if narrow:
        flat[account[rows[~_flat(size[rows], instrument[rows], facts, mark, headroom)]]] = False
    order = np.argsort(held * 2 + flat, kind="stable")
    slot = 2 * instrument[rows] + (lots[rows] < 0)
    tier, least, most = _tiers(size[rows], slot, facts, mark)
    groups, cells = _groups(held[order], flat[order], (np.cumsum(held) - held)[order])
    paid = np.zeros(cash.size, np.int64)
    np.add.at(paid, account[rows], cost[rows])
    slots = 2 * facts.kind.size
    largest = np.zeros(slots, np.int64)
    eased = flat[account[rows]]
    np.maximum.at(largest, slot[eased], size[rows][eased])
    debt = np.maximum(-cash, 0)
    owed = debt // PPM * facts.cash_debt[0] + -(-(debt % PPM) * facts.cash_debt[0] // PPM)
    byte = narrow and slots <= SLOTS_BYTE
    # Cells are laid out group by group; the arrays above are in the order of accounts.
    return Packed(
        account=(order + first).astype(np.int32),
        net=(cash - paid)[order],
        owed=owed[order],
        group=groups,
        lots=lots[rows][cells].astype(np.int32 if narrow else np.int64),
        slot=slot[cells].astype(np.uint8 if byte else np.uint16),
        tier=tier[cells].astype(np.uint8),
        largest=largest,
        least=least,
        most=most,
        held=np.bincount(instrument[rows], minlength=facts.kind.size),
        **_odd(odd, account, instrument, lots, cost, group, order),
        premium=facts.premium.copy(),
        cash_debt=facts.cash_debt[:1].copy(),
    )


def _flat(size: I64, instrument: I64, facts: Facts, mark: I64, headroom: int) -> np.ndarray:
    """Return which positions stay in their first tier while prices rise by up to ``headroom``."""
    second = facts.tier_start[:-1] + 1
    single = second >= facts.tier_start[1:]
    edge = facts.tier_floor[np.where(single, 0, second)]
    # The most lots whose notional stays below the second floor: found without a large product.
    unit = np.maximum(mark * facts.tick_value, 1)
    unit = unit + unit // PPM * headroom + unit % PPM * headroom // PPM + 1
    most = np.where(single, LOTS_NARROW, (edge - 1) // unit)
    return size <= most[instrument]


def _tiers(size: I64, slot: I64, facts: Facts, mark: I64) -> tuple[I64, I64, I64]:
    """Return the tier of each position, and the fewest and most lots in each slot's tiers."""
    value = (mark * facts.tick_value)[slot >> 1]
    tiers = np.diff(facts.tier_start)
    tier = np.zeros(size.size, np.int64)
    for k in range(1, int(tiers.max(initial=1))):
        has = tiers > k
        floor = np.where(has, facts.tier_floor[np.where(has, facts.tier_start[:-1] + k, 0)], 2**62)
        tier += size * value >= floor[slot >> 1]
    least = np.full((2 * tiers.size, int(tiers.max(initial=1))), 2**62)
    most = np.zeros_like(least)
    np.minimum.at(least, (slot, tier), size)
    np.maximum.at(most, (slot, tier), size)
    return tier, least, most


def _groups(held: I64, flat: np.ndarray, start: I64) -> tuple[I64, I64]:
    """Return the groups of members in packed order, and for each cell the position it shows."""
    key = held * 2 + flat
    firsts = np.flatnonzero(np.diff(key, prepend=-1))
    counts = np.diff(firsts, append=held.size)
    groups = np.zeros((firsts.size, 5), np.int64)
    cells: list[I64] = [np.zeros(0, np.int64)]
    at = 0
    for g, (first, count) in enumerate(zip(firsts.tolist(), counts.tolist(), strict=True)):
        each = int(held[first])
        groups[g] = first, count, each, at, int(flat[first])
        cells.append((start[first : first + count][None, :] + np.arange(each)[:, None]).reshape(-1))
        at += each * count
    return groups, np.concatenate(cells)


def _odd(
    rows: I64, account: I64, instrument: I64, lots: I64, cost: I64, group: I64, order: I64
) -> dict[str, I64]:
    """Return the columns of what is not plain, sorted by member; no starts where there is none."""
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    member = place[account[rows]]
    sort = np.argsort(member, kind="stable")
    rows = rows[sort]
    start = np.zeros(order.size + 1 if rows.size else 0, np.int64)
    if rows.size:
        np.cumsum(np.bincount(member, minlength=order.size), out=start[1:])
    return {
        "odd_start": start,
        "odd_instrument": instrument[rows],
        "odd_lots": lots[rows],
        "odd_cost": cost[rows],
        "odd_group": group[rows],
    }
