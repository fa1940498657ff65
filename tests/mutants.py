"""The wrongs that mutate.py tries: what a tired author might write in a line that decides.

Each is a file, a text that occurs in it once, and the text it becomes. A line that has been
rewritten needs its mutants rewritten: `test_every_mutant_applies` says which.
"""

from mutants_guards import GUARDS
from mutants_rules import RULES
from mutate import Mutant


UNITS = (
    ("    return -ppm_floor(-amount, rate)", "    return ppm_floor(amount, rate)"),
    ("        return amount * rate // PPM  #", "        return -(-amount * rate // PPM)  #"),
    ("    while value // root < root:", "    while value // root + 1 < root:"),
    ("    root = (root + value // root) // 2\n    while", "    root -= 1\n    while"),
)
VALUE = (
    ("return -lots * contract // price if", "return -(lots * contract // price) if"),
    ("return -muldiv_floor(-abs(lots)", "return muldiv_floor(abs(lots)"),
    ("    if coin < 0:\n", "    if coin <= 0:\n"),
    (
        "settled_value(facts, i, lots, price) - cost)",
        "settled_value(facts, i, lots, price) + cost)",
    ),
)
MARGIN = (
    ("    if root * root < square:\n        root += 1\n", ""),
    ("(800 * base + root + 999) // 1_000", "(800 * base + root) // 1_000"),
    ("due = max(due, ppm_ceil(size, premium_rate", "due = min(due, ppm_ceil(size, premium_rate"),
    ("        if best[a] < 0:\n", "        if best[a] <= 0:\n"),
    ("            if equity[a] < 0:\n", "            if equity[a] <= 0:\n"),
    (
        "rate = facts.debt_initial[i] if which == INITIAL else",
        "rate = facts.debt_initial[i] if which != INITIAL else",
    ),
    (
        "    if facts.kind[i] == SPOT and lots < 0:\n",
        "    if facts.kind[i] == SPOT and lots > 0:\n",
    ),
    (
        "price = high[i] if lots > 0 else low[i]\n    amount",
        "price = low[i] if lots > 0 else high[i]\n    amount",
    ),
    (
        "in_money(facts, high if amount > 0 else low, i, amount)",
        "in_money(facts, low if amount > 0 else high, i, amount)",
    ),
    ("        doubt[i] |= doubt[facts.coin[i]]", "        doubt[i] &= doubt[facts.coin[i]]"),
    ("best_margin(book, facts, low, high, row) if doubt[i] else gain - due", "gain - due"),
    ("best[account] = cash[account] - owed", "best[account] = cash[account]"),
    ("owed = ppm_ceil(-cash[account], debt_rate)", "owed = -cash[account] * debt_rate // PPM"),
    (
        "due = -(-size * rate[tier] // PPM) - cum[tier]",
        "due = size * rate[tier] // PPM - cum[tier]",
    ),
    ("plain = (facts.kind == LINEAR) & (facts.premium == 0)", "plain = facts.kind == LINEAR"),
    ("return max(due, ppm_ceil(size, rate) - kept)", "return max(due, ppm_ceil(size, rate))"),
    ("            crowd = open_lots\n", ""),
    (
        "out[1] = ppm_ceil(-balance, facts.cash_debt[0]) if",
        "out[1] = ppm_ceil(-balance, facts.cash_debt[1]) if",
    ),
)
TIERS = (
    (
        "while tier + 1 < end and size >= floor[tier + 1]:",
        "while tier + 1 < end and size > floor[tier + 1]:",
    ),
    ("return -muldiv_floor(-size, rate, scale) - cum", "return -muldiv_floor(-size, rate, scale)"),
    ("high == 0 or open_notional <= low or base", "high == 0 or open_notional < low or base"),
    ("    if high == 0 or", "    if"),
)
FILLS = (
    ("return down if down * whole == amount * part else down + 1", "return down"),
    ("if held == 0 or (held > 0) == (lots > 0):", "if held == 0 or (held > 0) != (lots > 0):"),
    ("    return -(released + received)", "    return released + received"),
    (
        "out[n] = -settled_value(facts, instrument[n], -lots[n]",
        "out[n] = settled_value(facts, instrument[n], lots[n]",
    ),
    (
        "else (rest - then <= size)) and priced[k]:",
        "else (rest - then < size)) and priced[k]:",
    ),
    ("or (then != 0 and (then > 0) != buys):", "or False:"),
    ("if size == 0 or (size > 0) != buys or (then", "if size == 0 or (then"),
    ("if size == 0 or (size > 0) != buys or (then", "if (size > 0) != buys or (then"),
    ("else (then <= rest):\n", "else (then < rest):\n"),
    ("            left[slot[k]] = then\n", "            pass\n"),
    ("            closed[k] = then == 0\n", "            closed[k] = True\n"),
    ("pays = (lots > 0) == (rate > 0)", "pays = (lots > 0) != (rate > 0)"),
    (
        "size = max(one, other) if pays else min(one, other)",
        "size = min(one, other) if pays else max(one, other)",
    ),
    (
        "            due += 1\n        account[n], amount[n] = book.account",
        "            due += 0\n        account[n], amount[n] = book.account",
    ),
)
PENALTY = (
    ("out[n] = max(0, min(due, left))", "out[n] = min(due, left)"),
    ("out[n] = max(0, min(due, left))", "out[n] = max(0, due)"),
    ("        left -= out[n]\n", ""),
    ("        left += in_money(", "        left += 0 * in_money("),
)
PLAN = (
    ("goal = ppm_ceil(required, target)", "goal = ppm_floor(required, target)"),
    ("share if share * cure == gap * PPM else share + 1", "share"),
    ("share if share * cure == gap * PPM else share + 1", "share + 1"),
    ("        if health_best[account] >= 0:\n", "        if health_best[account] > 0:\n"),
    ("now - staged_at[account] < interval", "now - staged_at[account] <= interval"),
    ("            out[n] = -required[a]", "            out[n] = required[a]"),
    ("if priority == SAVABLE and have < 0:", "if priority == SAVABLE and have <= 0:"),
    ("if whole_below and size > whole_below:", "if whole_below and size >= whole_below:"),
    ("            most = min(most, first_stage)", "            most = first_stage"),
    (
        "(derivative or (lots > 0 and book.cash[account] >= 0))",
        "(derivative or (lots > 0 and book.cash[account] > 0))",
    ),
    (
        "(derivative or (lots > 0 and book.cash[account] >= 0))",
        "(lots > 0 and book.cash[account] >= 0)",
    ),
    ("close = min(size, ppm_ceil(size, share))", "close = min(size, ppm_floor(size, share))"),
    ("mark[i]) < facts.dust[i]:", "mark[i]) <= facts.dust[i]:"),
    ("(-close if lots > 0 else close), share", "(close if lots > 0 else -close), share"),
    ("both = min(match_sell[i], match_buy[i])", "both = max(match_sell[i], match_buy[i])"),
    ("sold = min(size - met, room[i])", "sold = size - met"),
    ("        room[i] -= sold\n", ""),
    ("lack = PPM - min(PPM, ratio_ppm(", "lack = min(PPM, ratio_ppm("),
    (
        "give = ppm_floor(ppm_floor(due, spread), depth)",
        "give = ppm_ceil(ppm_ceil(due, spread), depth)",
    ),
    (
        "limit = max(limit, mark[i] - ppm_floor(mark[i], band))",
        "limit = min(limit, mark[i] - ppm_floor(mark[i], band))",
    ),
    (
        "limit = min(limit, mark[i] + ppm_floor(mark[i], band))",
        "limit = min(limit, mark[i] + ppm_ceil(mark[i], band))",
    ),
    ("        out[n] = min(limit, facts.price_max[i])", "        out[n] = limit"),
)
ALLOCATE = (
    ("if whole <= 0 or part // whole >= 1_000:", "if whole < 0 or part // whole >= 1_000:"),
    ("order = stable_order(-rest)", "order = stable_order(rest)"),
    ("full = share >= cap[live]", "full = share > cap[live] + 1"),
    ("                left -= cap[live[n]]\n", ""),
    ("out[row] = min(left, cap[row])", "out[row] = cap[row]"),
)
DELEVERAGE = (
    ("held * side >= 0 or account < FIRST_USER", "held * side <= 0 or account < FIRST_USER"),
    ("if best[account] < 0 or equity", "if best[account] <= 0 or equity"),
    ("or flying[other]:", "or False:"),
    ("        if gain <= 0:\n", "        if gain < 0:\n"),
    (
        "            if deficit > muldiv(gain, lots_closed, most):",
        "            if deficit >= muldiv(gain, lots_closed, most):",
    ),
    ("if share > gain or share", "if share >= gain or share"),
    ("            score[n] = gain\n", "            score[n] = -gain\n"),
    ("out[weight.size - 1] += total - given", "out[0] += total - given"),
    ("fits = fits and abs(lots) <= room[", "fits = fits and abs(lots) < room["),
    ("muldiv_up(amount[n], part[n], whole[n])", "muldiv(amount[n], part[n], whole[n])"),
    ("]] and not book.in_flight[row[k]]:", "]]:"),
)
PROFILE = (
    ("    loss = PPM - side * rate\n", "    loss = PPM + side * rate\n"),
    (
        "if distance(size, rate, side, slack[account]) > reach:",
        "if distance(size, rate, side, slack[account]) >= reach:",
    ),
    ("        elif depth[b] == 0:\n", "        elif depth[b] < 0:\n"),
)
DEPTH = (
    (
        "if abs(price[n] - mark) * PPM <= mark * reach:",
        "if abs(price[n] - mark) * PPM < mark * reach:",
    ),
    ("range(reach // width + 1, out.size)", "range(reach // width, out.size)"),
)
ORACLE = (
    ("        if price <= 0:\n", "        if price < 0:\n"),
    ("        if price > price_max:\n", "        if price >= price_max:\n"),
    ("        if published > now:\n", "        if published >= now:\n"),
    ("        if published < last:\n", "        if published <= last:\n"),
    (
        "if self.age_max_ns and now - published > self.age_max_ns:",
        "if self.age_max_ns and now - published >= self.age_max_ns:",
    ),
    ("now - s.published <= self.age_max_ns]", "now - s.published < self.age_max_ns]"),
    ("if len(kept) < self.sources_min:", "if len(kept) <= self.sources_min:"),
    ("if abs(venue[-1] - index) > room:", "if abs(venue[-1] - index) >= room:"),
    ("target = min(max(target, index - room), index + room)", "target = max(target, index - room)"),
    ("width * PPM > target * self.confidence_max", "width * PPM >= target * self.confidence_max"),
    ("        if price != target:", "        if price == target:"),
    (
        "if self.age_max_ns and age > self.age_max_ns:",
        "if self.age_max_ns and age >= self.age_max_ns:",
    ),
    ("room = max(1, mark * self.step_max // PPM)", "room = mark * self.step_max // PPM"),
    ("return min(max(target, mark - room), mark + room)", "return target"),
    ("            said.append(usual)\n", ""),
    ("> usual * self.average_max // PPM", ">= usual * self.average_max // PPM"),
    ("or len(voters) < 3:", "or len(voters) < 2:"),
    ("if abs(s.price - middle) <= room]", "if abs(s.price - middle) < room]"),
    ("        if 2 * so_far >= half:", "        if 2 * so_far > half:"),
    ("        return quality <= worst\n", "        return quality < worst\n"),
    ("Action.DELEVERAGE: self.deleverage_at_worst", "Action.DELEVERAGE: self.liquidate_at_worst"),
    ("elapsed // (self.smoothing_ns + elapsed)", "elapsed // self.smoothing_ns"),
)
BREAKER = (
    ("value * PPM >= line * (share", "value * PPM > line * (share"),
    ('(share if name != "doubtful" else PPM)', "share"),
    ("for step in reversed(self.steps):", "for step in self.steps:"),
    ("        if target >= rung and target > 0:", "        if target > rung:"),
    ("        if held >= rung > 0:", "        if held > rung > 0:"),
    ("if now - calm_since >= self.cooldown_ns:", "if now - calm_since > self.cooldown_ns:"),
    ("if s.level() < rung), default=0)", "if s.level() < rung - 9), default=0)"),
    ("if s.level() <= rung]", "if s.level() < rung]"),
    ("max(self.deviation_min, isqrt(", "min(self.deviation_min, isqrt("),
    ("r = min(abs(price - last) * PPM // last, PPM)", "r = abs(price - last) * PPM // last"),
)
MARGIN_POLICY = (
    (
        "        if equity >= max(initial, required) + extra:",
        "        if equity > max(initial, required) + extra:",
    ),
    (
        "        if equity >= max(initial, required) + extra:",
        "        if equity >= initial + extra:",
    ),
    ("initial = -(-int(after[2]) * scale // PPM)", "initial = int(after[2]) * scale // PPM"),
    ("safer = required < old_required or", "safer = required <= old_required or"),
    (
        "equity * old_required >= old_equity * required",
        "equity * old_required > old_equity * required",
    ),
    ("kept = old_required > 0 and", "kept ="),
    ("and _shrinks(book, account, instrument, lots))", ")"),
    ("kept or (equity >= old_equity and", "kept or (equity > old_equity and"),
    ("and held * (held + lots) >= 0", ""),
    ("    return max(long, short)\n", "    return long\n"),
    ("if t.floor < self.counted_max]", "if t.floor <= self.counted_max]"),
)
PLANNER = (
    ("return 2**62 if pace else 0", "return 2**62"),
    ("free = depth * (PPM - reserved) // PPM", "free = depth"),
    ("self.depth_share // PPM * pace // PPM", "self.depth_share // PPM"),
    (
        "return max(0, spent - capacity * elapsed // self.window_ns)",
        "return spent - capacity * elapsed // self.window_ns",
    ),
    ("return accounts[stable_order(line)]", "return accounts[stable_order(-line)]"),
    ("waiting = int((netted + ordered != want).sum())", "waiting = int((ordered != want).sum())"),
    ("depth = depth_lots or self.unknown_depth", "depth = depth_lots + self.unknown_depth"),
)
WATERFALL = (
    ("owed += max(0, end - max(place, tranche.attachment))", "owed += max(0, end - place)"),
    (
        "owed += max(0, end - max(place, tranche.attachment))",
        "owed = max(0, end - max(place, tranche.attachment))",
    ),
    ("paid.append(min(owed, max(money, 0), width))", "paid.append(min(owed, max(money, 0)))"),
    ("paid.append(min(owed, max(money, 0), width))", "paid.append(min(owed, money, width))"),
    ("paid.append(min(owed, max(money, 0), width))", "paid.append(min(owed, width))"),
    ("            place = max(place, end)\n", ""),
    ("order = stable_order(-score)", "order = stable_order(score)"),
    ("able = min(deficit, int(weight.sum()))", "able = deficit"),
    ("        weight[:FIRST_USER] = 0\n", "        weight[FIRST_USER] = 0\n"),
)
SIGNALS = (
    ("return min(max(value, self.neutral), self.tightest)", "return max(value, self.neutral)"),
    ("        if late <= 0:\n", "        if late <= 1:\n"),
    ("self.neutral - (-(value - self.neutral) * (", "self.neutral + ((value - self.neutral) * ("),
)
MARKET = (
    ("if not 0 <= event.source < len", "if not 0 < event.source < len"),
    ("0 <= event.confidence <= event.price", "0 <= event.confidence < event.price"),
    ("if waiting and event.ts - since < delay:", "if waiting and event.ts - since <= delay:"),
    ("price = waiting or int(event.price)", "price = int(event.price)"),
    (
        "if not anchor or now - at >= breaker.window_ns:",
        "if not anchor or now - at > breaker.window_ns:",
    ),
    ("variance=int(m.variance[i]))", "variance=variance)"),
    (
        "if now - int(m.anchored_at[i]) < breaker.window_ns:",
        "if now - int(m.anchored_at[i]) <= breaker.window_ns:",
    ),
    ("bid[0] >= ask[0]", "bid[0] > ask[0]"),
    ("(np.diff(bid) >= 0)", "(np.diff(bid) > 0)"),
    ("event.price < stack.facts.price_min[i]", "event.price <= stack.facts.price_min[i]"),
)
WATCH = (
    ("if fund > peak or now - peak_at >", "if fund > peak or now - peak_at >="),
    (
        "(view.quality != Quality.GOOD) & (view.quality != Quality.NONE)",
        "view.quality != Quality.GOOD",
    ),
)
LIQUIDATION = (
    (
        "(health.best < 0).any() or rung >= Rung.HALT:",
        "(health.best < 0).any() or rung > Rung.HALT:",
    ),
    ("shut = rung >= Rung.AUCTION_ONLY", "shut = rung > Rung.AUCTION_ONLY"),
    ("            room = max(0, most - spent)", "            room = most"),
    (
        "planner.in_flight_max // lot_value - int(flight[side][i])",
        "planner.in_flight_max // lot_value",
    ),
    ("spent=spent[side][i] + int(used[side][i])", "spent=int(used[side][i])"),
    ("    fits = _within_slots(plan, spare)\n", "    fits = plan\n"),
)
DEFICITS = (
    ("(book.cash[:n] < 0) & (book.head[:n] < 0)", "(book.cash[:n] < 0) & (book.head[:n] <= 0)"),
    (
        'if waterfall.deleverage == "none" or rung >= Rung.HALT:',
        'if waterfall.deleverage == "none" or rung > Rung.HALT:',
    ),
    (
        "bankrupt = np.flatnonzero((health.equity < 0)",
        "bankrupt = np.flatnonzero((health.equity <= 0)",
    ),
    ("(np.cumsum(-health.equity[order]) <= risked)", "(np.cumsum(-health.equity[order]) < risked)"),
    ("risked = fund * stack.declaration.waterfall.fund_share // PPM", "risked = fund"),
    ("    return order[::-1].copy()\n", "    return order.copy()\n"),
    ("left = lack - sum(purse.offer(lack)) if waterfall.fund_pays_first else lack", "left = lack"),
    ("            health.best[state.book.account[pool.row]] = 0\n", ""),
    (
        "        rest = deficit - sum(paid)\n        payers",
        "        rest = deficit\n        payers",
    ),
)
LEDGER = (
    (
        "if FIRST_USER <= account < state.book.accounts:",
        "if FIRST_USER < account < state.book.accounts:",
    ),
    (
        "if balance(state, a, asset) + amount > balance_max(stack, asset):",
        "if balance(state, a, asset) + amount >= balance_max(stack, asset):",
    ),
    (
        "reduces = abs(after) <= abs(held) and held * after >= 0",
        "reduces = abs(after) <= abs(held)",
    ),
    (
        "if not reduces and state.rung >= Rung.REDUCE_ONLY:",
        "if not reduces and state.rung > Rung.REDUCE_ONLY:",
    ),
    (
        "if flying and (after * flying >= 0 or abs(after) < abs(flying)):",
        "if flying and (after * flying >= 0 or abs(after) <= abs(flying)):",
    ),
    (
        "if flying and (after * flying >= 0 or abs(after) < abs(flying)):",
        "if flying and abs(after) < abs(flying):",
    ),
    (
        "    if abs(after) > stack.facts.lots_max[i]:",
        "    if abs(after) >= stack.facts.lots_max[i]:",
    ),
    (
        "    if event.settled:\n        return []\n    if refusal := trade",
        "    if refusal := trade",
    ),
    ("borrows = balance(state, account, asset) < amount", "borrows = True"),
)
ACCRUALS = (("if not -PPB <= rate <= PPB:", "if not -PPB < rate < PPB:"),)
PENALTIES = (("amount = amount // PPM * share + amount % PPM * share // PPM", "amount = amount"),)
ANSWERS = (("known[first] = slot[first] >= 0", "known[:] = slot >= 0"),)
STEP = (
    ("if event.ts < state.now:", "if event.ts <= state.now:"),
    ("if event.confidence < bound.confidence_min:", "if event.confidence <= bound.confidence_min:"),
    ("if room.rows > state.book.rows_left:", "if room.rows >= state.book.rows_left:"),
)
GOVERNANCE = (
    (
        "if not 0 <= event.value <= parameter_max(stack, column, row):",
        "if not 0 <= event.value < parameter_max(stack, column, row):",
    ),
)
ROOM = ()
BOOK = (
    (
        "book.long_open[instrument] += max(after, 0) - max(before, 0)",
        "book.long_open[instrument] += max(after, 0)",
    ),
    (
        "if book.lots[row] or book.cost[row] or book.in_flight[row]:",
        "if book.lots[row] or book.cost[row]:",
    ),
)

BY_FILE = {
    "domain/units.py": UNITS,
    "domain/book.py": BOOK,
    "kernels/value.py": VALUE,
    "kernels/margin.py": MARGIN,
    "kernels/tiers.py": TIERS,
    "kernels/fills.py": FILLS,
    "kernels/penalty.py": PENALTY,
    "kernels/plan.py": PLAN,
    "kernels/allocate.py": ALLOCATE,
    "kernels/deleverage.py": DELEVERAGE,
    "kernels/profile.py": PROFILE,
    "kernels/depth.py": DEPTH,
    "safeguards/oracle.py": ORACLE,
    "safeguards/breaker.py": BREAKER,
    "safeguards/margin.py": MARGIN_POLICY,
    "safeguards/planner.py": PLANNER,
    "safeguards/waterfall.py": WATERFALL,
    "safeguards/signals.py": SIGNALS,
    "engine/market.py": MARKET,
    "engine/watch.py": WATCH,
    "engine/liquidation.py": LIQUIDATION,
    "engine/deficits.py": DEFICITS,
    "engine/ledger.py": LEDGER,
    "engine/accruals.py": ACCRUALS,
    "engine/penalties.py": PENALTIES,
    "engine/answers.py": ANSWERS,
    "engine/step.py": STEP,
    "engine/governance.py": GOVERNANCE,
    "engine/room.py": ROOM,
}
MUTANTS = [Mutant(file, *pair) for file, pairs in BY_FILE.items() for pair in pairs]
MUTANTS += RULES + GUARDS
QUICK = MUTANTS[::40]  # a sample for every run of the tests
