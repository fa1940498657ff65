"""The exact look at accounts: who is below maintenance, and new triggers for whoever is not."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import kernel
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk, cool, heat, weigh
from tidegate.lab.kernels.inner import inner
from tidegate.lab.kernels.reach import fired, lay, loosen


@inner
def gather(desk: Desk, i: int, old: int, new: int) -> int:
    """Write into the queue whom a move of ``i`` calls for: triggers, and hot accounts; how many.

    A hot account is looked at where it holds ``i`` or something else about it has changed.
    """
    queue, n = desk.lists[c.QUEUE], 0
    for k in range(desk.cell[c.N_HOT]):
        account = desk.lists[c.HOT, k]
        if desk.people[account, c.STALE] or (desk.owns[account, c.HOLDS] >> i) & 1:
            queue[n] = account
            n += 1
    rows = queue[n:]
    for k in range(fired(desk, i, old, new, rows)):
        # The queue is overwritten from behind: never more accounts than rows read.
        account = desk.fixed[rows[k], c.ACCOUNT]
        if desk.people[account, c.SPOT] < 0 and not desk.people[account, c.QUEUED]:
            desk.people[account, c.QUEUED] = 1
            queue[n] = account
            n += 1
    return n


@kernel
def look(desk: Desk, many: int) -> None:
    """Look at the first ``many`` accounts of the queue.

    Who is below maintenance, or so near that no trigger fits, becomes hot; who is healthy gets
    triggers; who owns nothing leaves, and waits as a debtor if it owes cash.
    """
    for k in range(many):
        account = desk.lists[c.QUEUE, k]
        who = desk.people[account]
        who[c.QUEUED] = who[c.STALE] = 0
        equity, required = weigh(desk, account)
        who[c.EQUITY], who[c.REQUIRED], who[c.BEST] = equity, required, equity - required
        if bare(desk, account):
            loosen(desk, account)
            cool(desk, account)
            if who[c.CASH] < 0:
                n = desk.cell[c.N_DEBTORS]
                desk.lists[c.DEBTORS, n] = account
                desk.cell[c.N_DEBTORS] = n + 1
        elif equity < required or not (
            desk.rule[c.PRUNED] and lay(desk, account, equity - required)
        ):
            loosen(desk, account)
            heat(desk, account)
        else:
            cool(desk, account)
    desk.total[c.LOOKS] += many


@inner
def bare(desk: Desk, account: int) -> bool:
    """Return whether an account holds no position any more."""
    row = desk.owns[account, c.HEAD]
    while row >= 0:
        if desk.row[row, c.LOTS]:
            return False
        row = desk.fixed[row, c.FOLLOW]
    return True


@inner
def census(desk: Desk) -> tuple[int, int]:
    """Return how many are below maintenance, and how many of these below nothing."""
    below, broke = 0, 0
    for k in range(desk.cell[c.N_HOT]):
        who = desk.people[desk.lists[c.HOT, k]]
        if who[c.BEST] < 0:
            below += 1
            broke += who[c.EQUITY] < 0
    return below, broke
