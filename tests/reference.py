"""Naive twins: what every kernel promises, said again in unbounded integers and fractions.

Written from the documentation and the cited rules, for readers; nothing here is compiled, shared
with the package, or fast. A world is the declarations themselves, never the columns made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, isqrt

from tidegate.domain.book import FIRST_USER
from tidegate.domain.instrument import AnyInstrument, Inverse, Spot
from tidegate.safeguards.margin import Requirement


PPM = 10**6
MAINTENANCE, INITIAL = "maintenance", "initial"
NEVER = 10**9  # how a kernel writes "never" as a distance, and "no end" as a ratio


@dataclass
class World:
    """A book and the rules over it; accounts and instruments by number, as in the book."""

    instruments: Sequence[AnyInstrument]
    rules: Sequence[Requirement]
    mark: Sequence[int]
    cash: dict[int, int] = field(default_factory=dict)
    held: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)  # lots, cost
    flying: dict[tuple[int, int], int] = field(default_factory=dict)
    cash_debt: dict[str, int] = field(default_factory=lambda: {MAINTENANCE: 0, INITIAL: 0})

    def of(self, account: int) -> list[int]:
        return [i for a, i in self.held if a == account]

    def users(self) -> list[int]:
        return sorted(a for a in self.cash if a >= FIRST_USER)

    def coin_of(self, i: int) -> int:
        inst = self.instruments[i]
        if not isinstance(inst, Inverse):
            return -1
        return [x.symbol for x in self.instruments].index(inst.coin)


# Values ---------------------------------------------------------------------------------------


def settled(inst: AnyInstrument, lots: int, price: int) -> int:
    if isinstance(inst, Inverse):
        return floor(Fraction(-lots * inst.contract, price)) if price else 0
    if isinstance(inst, Spot):
        return floor(Fraction(lots * price * inst.tick_value, inst.units))
    return lots * price * inst.tick_value


def notional(inst: AnyInstrument, lots: int, price: int) -> int:
    if isinstance(inst, Inverse):
        return abs(lots) * inst.face
    if isinstance(inst, Spot):
        return ceil(Fraction(abs(lots) * price * inst.tick_value, inst.units))
    return abs(lots) * price * inst.tick_value


def in_money(w: World, i: int, amount: int, prices: Sequence[int] | None = None) -> int:
    c = w.coin_of(i)
    return amount if c < 0 else settled(w.instruments[c], amount, (prices or w.mark)[c])


def worth(w: World, i: int, lots: int, cost: int, price: int) -> int:
    return in_money(w, i, settled(w.instruments[i], lots, price) - cost)


# Margin ---------------------------------------------------------------------------------------


def tiers_of(rule: Requirement) -> list[tuple[int, int, int]]:
    """Return (floor, maintenance, initial); beyond ``counted_max`` nothing counts any more."""
    tiers = [(t.floor, t.maintenance, t.initial) for t in rule.tiers]
    if rule.counted_max:
        tiers = [t for t in tiers if t[0] < rule.counted_max] + [(rule.counted_max, PPM, PPM)]
    return tiers


def rate_at(rule: Requirement, size: int, which: str) -> int:
    """Return the marginal rate of a notional; a floor belongs to its own tier."""
    return [t for t in tiers_of(rule) if t[0] <= size][-1][1 if which == MAINTENANCE else 2]


def by_tiers(rule: Requirement, size: int, which: str) -> Fraction:
    """Return the exact sum of each part of ``size`` times the rate of its own tier."""
    tiers, due = tiers_of(rule), Fraction(0)
    for n, tier in enumerate(tiers):
        end = tiers[n + 1][0] if n + 1 < len(tiers) else size
        part = max(0, min(size, end) - tier[0])
        due += Fraction(part * tier[1 if which == MAINTENANCE else 2], PPM)
    return due


def premium_rate(base: int, premium: int, lots: int) -> int:
    """Return the least ppm not below 0.8 base + premium / 1000 * sqrt(lots), at most 100 %."""
    square = abs(lots) * premium**2
    root = isqrt(square)
    root += root**2 < square
    return min(PPM, -(-(800 * base + root) // 1000))


def requirement(w: World, i: int, lots: int, size: int, which: str) -> int:
    rule = w.rules[i]
    if isinstance(w.instruments[i], Spot) and lots < 0:
        return ceil(Fraction(size * getattr(rule, f"debt_{which}"), PPM))
    due = ceil(by_tiers(rule, size, which))
    if rule.premium:
        first = tiers_of(rule)[0][1 if which == MAINTENANCE else 2]
        due = max(due, ceil(Fraction(size * premium_rate(first, rule.premium, lots), PPM)))
    return due


def crowded_rate(base: int, low: int, high: int, interest: int) -> int:
    """Return dYdX v4's rate: base + floor((1 - base) * (OI - low) / (high - low)) between them."""
    if high == 0 or interest <= low or base >= PPM:
        return base
    if interest >= high:
        return PPM
    return base + floor(Fraction((PPM - base) * (interest - low), high - low))


def position_initial(w: World, i: int, lots: int, price: int, crowd: int) -> int:
    """Return the initial requirement, crowding included.

    Crowding takes the marginal rate on its way to 100 % and the deduction of the lower tiers the
    same share of the way to nothing, so that nothing changes below ``open_low``.
    """
    inst, rule = w.instruments[i], w.rules[i]
    size = notional(inst, lots, price)
    due = requirement(w, i, lots, size, INITIAL)
    if isinstance(inst, Spot):
        return due
    base = rate_at(rule, size, INITIAL)
    rate = crowded_rate(base, rule.open_low, rule.open_high, notional(inst, crowd, price))
    if rate == base:
        return due
    deduction = Fraction(size * base, PPM) - by_tiers(rule, size, INITIAL)
    kept = floor(deduction * (PPM - rate) / (PPM - base))
    return max(due, ceil(Fraction(size * rate, PPM)) - kept)


def owed(w: World, cash: int, which: str) -> int:
    return ceil(Fraction(-cash * w.cash_debt[which], PPM)) if cash < 0 else 0


def net(w: World, i: int, lots: int, cost: int, price: int, prices: Sequence[int]) -> int:
    """Return what a position adds to equity minus maintenance at a price, its coin's at another."""
    amount = settled(w.instruments[i], lots, price) - cost
    size = notional(w.instruments[i], lots, price)
    return in_money(w, i, amount, prices) - requirement(w, i, lots, size, MAINTENANCE)


def assess(w: World, low: Sequence[int], high: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """Return (equity, maintenance, best) of every user.

    ``best`` takes each position at whichever ends of its own and its coin's interval favour it.
    """
    found = {}
    for a in w.users():
        equity, need = w.cash[a], owed(w, w.cash[a], MAINTENANCE)
        best = equity - need
        for i in w.of(a):
            lots, cost = w.held[a, i]
            equity += worth(w, i, lots, cost, w.mark[i])
            size = notional(w.instruments[i], lots, w.mark[i])
            need += requirement(w, i, lots, size, MAINTENANCE)
            best += max(
                net(w, i, lots, cost, price, prices)
                for price in (low[i], high[i], w.mark[i])
                for prices in (low, high, w.mark)
            )
        found[a] = equity, need, best
    return found


def assess_after(
    w: World, account: int, i: int, lots: int, cost: int, cash: int, crowd: int
) -> tuple[int, int, int]:
    """Return equity, maintenance and initial of an account after a hypothetical change."""
    held = {k: v for k, v in w.held.items() if k[0] == account}
    if i >= 0:
        before = held.get((account, i), (0, 0))
        held[account, i] = (before[0] + lots, before[1] + cost)
    balance = w.cash[account] + cash
    equity, need, initial = balance, owed(w, balance, MAINTENANCE), owed(w, balance, INITIAL)
    for (_, k), (n, paid) in held.items():
        open_lots = crowd if k == i else open_interest(w, k)
        equity += worth(w, k, n, paid, w.mark[k])
        size = notional(w.instruments[k], n, w.mark[k])
        need += requirement(w, k, n, size, MAINTENANCE)
        initial += position_initial(w, k, n, w.mark[k], open_lots)
    return equity, need, initial


def open_interest(w: World, i: int) -> int:
    lots = [n for (a, k), (n, _) in w.held.items() if k == i and a >= FIRST_USER]
    return max(sum(n for n in lots if n > 0), -sum(n for n in lots if n < 0))


# Fills ----------------------------------------------------------------------------------------


def realise(held: int, cost: int, lots: int, paid: int) -> int:
    """Return the realised profit: what was received less what is released, both against us."""
    if held * lots >= 0:
        return 0
    closed = min(abs(lots), abs(held))
    return -ceil(Fraction(cost * closed, abs(held))) - ceil(Fraction(paid * closed, abs(lots)))


def book_trades(w: World, trades: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Return (change of cost, realised) of (account, instrument, lots, paid), one after another."""
    held, out = dict(w.held), []
    for a, i, lots, paid in trades:
        before, cost = held.get((a, i), (0, 0))
        if isinstance(w.instruments[i], Spot):
            change, gain = 0, -paid
        else:
            gain = realise(before, cost, lots, paid)
            change = paid + gain
        out.append((change, gain))
        held[a, i] = before + lots, cost + change
    return out


def funding(w: World, i: int, rate: int, first: int) -> dict[int, int]:
    """Return what each holder is paid; payers pay rounded up, receivers get rounded down."""
    paid = {}
    for (a, k), (lots, _) in w.held.items():
        if k != i or not lots or a < first:
            continue
        inst = w.instruments[i]
        sizes = [abs(settled(inst, s * abs(lots), w.mark[i])) for s in (1, -1)]
        if lots * rate > 0:
            paid[a] = -ceil(Fraction(max(sizes) * abs(rate), 10**9))
        else:
            paid[a] = floor(Fraction(min(sizes) * abs(rate), 10**9))
    return paid


def penalties(w: World, fills: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """Return the penalty of (account, instrument, lots, paid), each within the equity then left."""
    equity = {
        a: w.cash[a] + sum(worth(w, i, *w.held[a, i], w.mark[i]) for i in w.of(a))
        for a in {f[0] for f in fills}
    }
    out = []
    for a, i, lots, paid in fills:
        equity[a] += in_money(w, i, settled(w.instruments[i], lots, w.mark[i]) - paid)
        size = notional(w.instruments[i], lots, w.mark[i])
        due = floor(Fraction(size * w.rules[i].penalty, PPM))
        out.append(max(0, min(due, equity[a])))
        equity[a] -= out[-1]
    return out


# Depth and profile ----------------------------------------------------------------------------


def executable(levels: Sequence[tuple[int, int]], mark: int, reach: int) -> int:
    return sum(n for price, n in levels if Fraction(abs(price - mark), mark) * PPM <= reach)


def depth_buckets(levels: Sequence[tuple[int, int]], mark: int, width: int, n: int) -> list[int]:
    """Return the lots per bucket; beyond the last visible level the mean density goes on."""
    away = [abs(price - mark) * PPM // mark for price, _ in levels]
    out = [0] * n
    for distance, (_, lots) in zip(away, levels, strict=True):
        if distance // width < n:
            out[distance // width] += lots
    total, reach = sum(lots for _, lots in levels), max(away, default=0)
    if total:
        mean = max(1, total * width // max(reach, width))
        for b in range(reach // width + 1, n):
            out[b] = mean
    return out


def distance(size: int, rate: int, side: int, slack: int) -> Fraction | None:
    """Return by how many ppm a price may move until ``slack`` is gone; None: it never is."""
    if slack <= 0:
        return Fraction(0)
    loss = PPM - side * rate
    return Fraction(slack * PPM * PPM, size * loss) if size and loss > 0 else None


def ratio(forced: int, depth: int) -> int:
    """Return a branching ratio in ppm, never above 1,000."""
    if not forced:
        return 0
    return min(NEVER, forced * PPM // depth) if depth else NEVER


# Plan -----------------------------------------------------------------------------------------


def close_share(equity: int, required: int, penalty: int, target: int, most: int) -> int:
    """Return the least ppm to close that leaves ``target`` times maintenance, at most ``most``."""
    goal = ceil(Fraction(required * target, PPM))
    if not target or equity <= 0 or goal <= penalty:
        return most
    return max(0, min(most, ceil(Fraction((goal - equity) * PPM, goal - penalty))))


def candidates_for_stage(
    w: World, best: dict[int, int], staged: dict[int, int], now: int, interval: int
) -> list[int]:
    busy = {a for (a, _), n in w.flying.items() if n}
    rested = [a for a in w.users() if staged[a] < 0 or now - staged[a] >= interval]
    return [a for a in rested if best[a] < 0 and a not in busy]


def wanted(w: World, account: int, share: int, gate: Sequence[int]) -> dict[int, int]:
    """Return the lots to trade by instrument when ``share`` ppm of an account is closed."""
    mine = {i: w.held[account, i][0] for i in w.of(account)}
    derivative = any(
        not isinstance(w.instruments[i], Spot) and n and gate[i] and w.mark[i]
        for i, n in mine.items()
    )
    out = {}
    for i, lots in mine.items():
        inst = w.instruments[i]
        if not lots or not gate[i] or not w.mark[i]:
            continue
        if isinstance(inst, Spot) and (derivative or (lots > 0 and w.cash[account] >= 0)):
            continue
        close = min(abs(lots), ceil(Fraction(abs(lots) * share, PPM)))
        if notional(inst, abs(lots) - close, w.mark[i]) < w.rules[i].dust:
            close = abs(lots)
        out[i] = -close if lots > 0 else close
    return out


def net_and_cap(
    wants: Sequence[tuple[int, int]], rooms: dict[int, dict[int, int]], *, netting: bool
) -> list[tuple[int, int]]:
    """Return (netted, ordered) of (instrument, lots) in rank order; rooms by side and instrument.

    What both sides want of one instrument meets first, the earliest of each side; what is left is
    ordered while its side has room.
    """
    meet: dict[tuple[int, int], int] = {}
    for i in {i for i, _ in wants}:
        sell = sum(-n for k, n in wants if k == i and n < 0)
        buy = sum(n for k, n in wants if k == i and n > 0)
        meet[i, -1] = meet[i, 1] = min(sell, buy) if netting else 0
    left = {(i, side): room for side, column in rooms.items() for i, room in column.items()}
    out = []
    for i, n in wants:
        side = 1 if n > 0 else -1
        met = min(abs(n), meet[i, side])
        meet[i, side] -= met
        sold = min(abs(n) - met, left[i, side])
        left[i, side] -= sold
        out.append((side * met, side * sold))
    return out


def fillable_shift(
    w: World, i: int, lots: int, equity: int, required: int, adjustment: int, spread: int
) -> Fraction:
    """Return how far from the mark an order may trade, in ticks, exactly.

    Source: dYdX v4 `GetFillablePrice`: ABR * spread * maintenance of the position / size, with
    ABR = clamp(adjustment * (1 - equity / required), 0, 1).
    """
    weight = Fraction(1)
    if required > 0:
        weight = Fraction(adjustment, PPM) * (1 - Fraction(max(equity, 0), required))
    size = notional(w.instruments[i], lots, w.mark[i])
    due = requirement(w, i, lots, size, MAINTENANCE)
    give = min(max(weight, Fraction(0)), Fraction(1)) * Fraction(spread, PPM) * due
    return give * w.mark[i] / size


# Sharing --------------------------------------------------------------------------------------


def ratio_ppm(part: int, whole: int) -> int:
    """Return ``part / whole`` in ppm, never above 1,000; nothing of anything is nothing."""
    if part <= 0:
        return 0
    return min(NEVER, part * PPM // whole) if whole > 0 else NEVER


def largest_remainder(total: int, weight: Sequence[int]) -> list[int]:
    """Return whole shares that add up: quotas rounded down, leftovers to the largest remainders."""
    if not total:
        return [0] * len(weight)
    quota = [Fraction(total * w, sum(weight)) for w in weight]
    out = [floor(q) for q in quota]
    order = sorted(range(len(weight)), key=lambda n: (out[n] - quota[n], n))
    for n in order[: total - sum(out)]:
        out[n] += 1
    return out


def capped_shares(total: int, weight: Sequence[int], cap: Sequence[int]) -> list[Fraction]:
    """Return min(cap, level * weight) with the level at which they add up to ``total``, exactly."""
    ratios = sorted({Fraction(c, w) for c, w in zip(cap, weight, strict=True) if w and c})
    filled, level = Fraction(0), Fraction(0)
    for top in ratios:
        slope = sum(w for c, w in zip(cap, weight, strict=True) if w and Fraction(c, w) > level)
        if filled + slope * (top - level) >= total:
            level += (total - filled) / Fraction(slope)
            break
        filled, level = filled + slope * (top - level), top
    return [min(Fraction(c), level * w) for c, w in zip(cap, weight, strict=True)]


def in_order(total: int, order: Sequence[int], cap: Sequence[int]) -> tuple[list[int], int]:
    out = [0] * len(cap)
    for row in order:
        out[row] = min(total - sum(out), cap[row])
    return out, total - sum(out)


def winners(
    w: World,
    health: dict[int, tuple[int, int, int]],
    i: int,
    side: int,
    deficit: int,
    closed: int,
    rule: str,
) -> dict[int, int]:
    """Return the score of every account that can be closed against bankrupt positions of a side."""
    out = {}
    for (a, k), (lots, cost) in w.held.items():
        if k != i or lots * side >= 0 or a < FIRST_USER:
            continue
        equity, _, best = health[a]
        gain = worth(w, i, lots, cost, w.mark[i])
        if best < 0 or equity <= 0 or w.flying.get((a, i), 0) or gain <= 0:
            continue
        # A share that covers is one per lot closed; nobody takes more lots than there are.
        share = floor(Fraction(min(abs(lots), closed) * deficit, closed))
        if share > gain or share >= equity:
            continue
        if abs(lots) > closed and deficit * abs(lots) > gain * closed:
            continue
        size = notional(w.instruments[i], lots, w.mark[i])
        paid = max(1, abs(in_money(w, i, cost)))
        leverage = ratio_ppm(gain, paid) * ratio_ppm(size, equity) // PPM
        out[a] = {"profit": gain, "size": size, "leverage_profit": leverage}[rule]
    return out


def draws(
    deficit: int, tranches: Sequence[tuple[int, int]], money: Sequence[int], lost: int
) -> list[int]:
    """Return what each (attachment, exhaustion) layer pays of a deficit.

    A layer owes the part of the cumulative losses that falls between its two ends and in no layer
    before it, and what those before it could not pay; never more than it holds or is wide.
    """
    paid, place, unpaid = [], lost, 0
    for (attachment, exhaustion), have in zip(tranches, money, strict=True):
        begin, end = max(place, attachment), min(lost + deficit, exhaustion)
        unpaid += max(0, end - begin)
        place = max(place, end)
        width = max(0, exhaustion - max(lost, attachment))
        paid.append(min(unpaid, max(0, have), width))
        unpaid -= paid[-1]
    return paid
