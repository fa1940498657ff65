"""Wrongs in guards: safeguards and what the engine does for them.

As in mutants.py, each source with the test files that must notice them: the guards' own tests.
"""

from mutate import Mutant


BY_FILE = {
    "safeguards/auctions.py": (
        ("test_auctions.py",),
        (
            ("give = min(self.floor, band) if band else self.floor", "give = self.floor"),
            (
                "bool(self.release) and equity >= ppm_ceil",
                "bool(self.release) and equity > ppm_ceil",
            ),
            ("Money(min(self.incentive, ppm_floor(", "Money(max(self.incentive, ppm_floor("),
            (
                "abs(mark - base) > ppm_floor(base, self.drift)",
                "abs(mark - base) >= ppm_floor(base, self.drift)",
            ),
            ("held = mark - give < limit if selling", "held = mark - give <= limit if selling"),
        ),
    ),
    "engine/auctions.py": (
        ("test_auctions.py",),
        (
            ("        slots -= part > 0\n", ""),
            ("        total[i] += owed(part, rate, chop, PPM)\n", ""),
            (
                "route is None or rung >= Rung.HALT or not",
                "route is None or rung > Rung.HALT or not",
            ),
            (
                "if not gate[i] or int(state.auctions.key[slot]) in busy:",
                "if int(state.auctions.key[slot]) in busy:",
            ),
            (
                "int(state.auctions.opened[slot]) <= route.life_ns",
                "int(state.auctions.opened[slot]) < route.life_ns",
            ),
            (
                "elif rung < Rung.AUCTION_ONLY and len(unsold)",
                "elif rung <= Rung.AUCTION_ONLY and len(unsold)",
            ),
            (
                "(one.price > event.limit) if one.selling",
                "(one.price >= event.limit) if one.selling",
            ),
            ("    if state.rung >= Rung.HALT:\n", "    if state.rung > Rung.HALT:\n"),
            (
                "    if one.stale:\n        return rejected",
                "    if False:\n        return rejected",
            ),
            (
                "    if abs(after) > stack.facts.lots_max[i]:",
                "    if abs(after) >= stack.facts.lots_max[i]:",
            ),
            ("spot and (after < 0 or int(state.book.cash[bidder]) < paid)", "spot and after < 0"),
            (
                "min(int(route.paid(before + collected)), int(state.book.cash[fund]) + collected)",
                "int(route.paid(before + collected))",
            ),
        ),
    ),
    "engine/bonds.py": (
        ("test_batches.py",),
        (
            ('kept = reason == "cleared" and not bids.lots[n]', "kept = not bids.lots[n]"),
            ('kept = reason == "cleared" and not bids.lots[n]', 'kept = reason == "cleared"'),
        ),
    ),
    "engine/batches.py": (
        ("test_batches.py",),
        (
            ("began[slot]) >= route.window_ns", "began[slot]) > route.window_ns"),
            (
                "if not route.window_ns <= elapsed < route.closes_ns:",
                "if not route.window_ns <= elapsed <= route.closes_ns:",
            ),
            ("refused = bidder in hall.buyers or flies", "refused = flies"),
            ("elapsed >= route.clears_ns(", "elapsed > route.clears_ns("),
            (
                "(bids.limit[slot] - worst) * side >= 0",
                "(bids.limit[slot] - worst) * side > 0",
            ),
        ),
    ),
    "safeguards/backstop.py": (
        ("test_backstop.py",),
        (("return max(0, most - left), left", "return max(0, most), left"),),
    ),
    "engine/backstop.py": (
        ("test_backstop.py",),
        (
            (
                "            limit = min(limit, int(loss_rate(equity, total)))",
                "            limit = limit",
            ),
            (
                "sum(self.purse.offer(self.promised + lack)) < self.promised + lack",
                "sum(self.purse.offer(lack)) < lack",
            ),
            (
                "return [k for k in healthy if book.owner[backing.offer_account[k]] != owner]",
                "return healthy",
            ),
            ("self._free(provider) - (dues[1] - dues[0]) - 2", "self._free(provider)"),
            ("    if rung >= Rung.HALT:\n", "    if rung > Rung.HALT:\n"),
        ),
    ),
    "engine/pool.py": (
        ("test_loan_pool.py",),
        (
            (
                "paid = min(debt, self.deposits - policy.left_min)",
                "paid = min(debt, self.deposits)",
            ),
            ("paid + paid * policy.penalty // PPM, value", "paid, value"),
            ("if facts.kind[i] != Kind.SPOT or lots < 0:", "if facts.kind[i] != Kind.SPOT:"),
            (
                "    if int(state.book.cash[a]) < amount:\n",
                "    if int(state.book.cash[a]) <= amount:\n",
            ),
            ("dust = held - amount < ", "dust = held - amount <= "),
        ),
    ),
    "engine/redistribution.py": (
        ("test_redistribution.py",),
        (
            ("        return after[0] >= after[1]\n", "        return after[0] > after[1]\n"),
            ("given = lots if due >= value else", "given = lots if due > value + value else"),
            ("(who != account) & (book.cash[who] < 0)", "(who != account)"),
        ),
    ),
    "engine/caps.py": (
        ("test_caps.py",),
        (
            (
                "_worth(state, total.asset, side) > cap.open_interest_max",
                "_worth(state, total.asset, side) >= cap.open_interest_max",
            ),
            (
                "        if _worth(state, asset, owed) > ceiling:",
                "        if _worth(state, asset, owed) >= ceiling:",
            ),
            (
                "used = owed * PPM > cap.utilisation_max * held",
                "used = owed * PPM >= cap.utilisation_max * held",
            ),
            (
                "        if _worth(state, asset, held) < floor:",
                "        if _worth(state, asset, held) <= floor:",
            ),
            ("before + grown if grown > 0 else 0 for", "before + grown for"),
            (
                "return -(-abs(lots) * price * tick // units)",
                "return abs(lots) * price * tick // units",
            ),
        ),
    ),
    "engine/gates.py": (
        ("test_withdrawal_gate.py",),
        (
            ("    if event.amount > capacity:\n", "    if event.amount >= capacity:\n"),
            (
                "due = min(event.amount, int(owed.sum()), have)",
                "due = min(event.amount, int(owed.sum()))",
            ),
            ("cash=-cash - held,", "cash=-cash,"),
            (
                'if event.asset != CASH or not (gate.limit == "always" or closed):',
                'if event.asset != CASH or gate.limit != "always":',
            ),
        ),
    ),
    "engine/restraint.py": (
        ("test_price_bands.py",),
        (
            ("    if now < r.market[PAUSED_UNTIL]:", "    if now <= r.market[PAUSED_UNTIL]:"),
            (
                "if r.phase[i] == PAUSED and now < r.until[i]:",
                "if r.phase[i] == PAUSED and now <= r.until[i]:",
            ),
            ("not r.low[i] <= price <= r.high[i]", "not r.low[i] < price < r.high[i]"),
            ("    if reduces:\n        return []\n", ""),
            (
                "held.phase == PAUSED and self.now >= held.until",
                "held.phase == PAUSED and self.now > held.until",
            ),
            ("    if until and now >= until:", "    if until and now > until:"),
            ("not low < self.price < high", "not low <= self.price <= high"),
            ("middle = min(max(middle, held.low), held.high)", "middle = max(middle, held.low)"),
        ),
    ),
    "engine/stable.py": (
        ("test_trust.py",),
        (
            ("min(int(mark[j]), fine // FINE))", "max(int(mark[j]), fine // FINE))"),
            ("min(max(int(mark[j]), -(-fine // FINE))", "min(max(int(mark[j]), fine // FINE)"),
        ),
    ),
    "safeguards/governance.py": (
        ("test_governance.py",),
        (
            ("        if notice < self.notice_ns:", "        if notice <= self.notice_ns:"),
            ("if step and abs(value - current) > step", "if step and abs(value - current) >= step"),
            ("column in STRICTER_UP and target > start", "column in STRICTER_UP"),
            ("target, elapsed - late)", "target, elapsed)"),
        ),
    ),
    "engine/soft.py": (
        ("test_soft.py",),
        (
            (
                "(slack[n] < 0 or health.equity[a] < least[n])",
                "(slack[n] < 0 or health.equity[a] <= least[n])",
            ),
            ("health.best[a] < 0 and (slack[n] < 0", "(slack[n] < 0"),
            (
                "(equity > 0) & (equity - required < close)",
                "(equity > 0) & (equity - required <= close)",
            ),
            ("if not total or over * sign < 0:", "if not total or over * sign <= 0:"),
            ("if not accounts.size or state.rung >= Rung.HALT:", "if not accounts.size:"),
            ('reason = "changed"', 'reason = ""'),
        ),
    ),
    "safeguards/soft.py": (
        ("test_soft.py",),
        (
            ("return bool(self.slack(worth=two[:1], debt=two[1:])[0] >= 0)", "return True"),
            (
                "lost += -(-(worth % PPM) * self.liquidation_discount // PPM)",
                "lost += (worth % PPM) * self.liquidation_discount // PPM",
            ),
            ("        y[0] += collateral - part * self.bands\n", ""),
        ),
    ),
    "engine/stakes.py": (
        ("test_fund_stakes.py",),
        (
            ("    if event.ts < at + delay:", "    if event.ts <= at + delay:"),
            ("value = min(asked, int(stake_value(", "value = max(asked, int(stake_value("),
            (
                "if event.shares < 0 or event.shares > held:",
                "if event.shares < 0 or event.shares >= held:",
            ),
            ("if event.amount > state.book.cash[a]:", "if event.amount > 2 * state.book.cash[a]:"),
            ("peak = Money(max(0, state.fund_peak - value))", "peak = Money(state.fund_peak)"),
        ),
    ),
    "engine/turns.py": (
        ("test_deleveraging_rules.py",),
        (
            (
                "if now - state.fund_peak_at > waterfall.drawdown_window_ns:",
                "if now - state.fund_peak_at >= waterfall.drawdown_window_ns:",
            ),
            (
                "and (was or fund > waterfall.drawdown_floor)",
                "and (was or fund >= waterfall.drawdown_floor)",
            ),
            ("self.turn.exposure[a] += side * (size", "self.turn.exposure[a] -= side * (size"),
            ("            give = min(most, room)\n", "            give = most\n"),
        ),
    ),
    "safeguards/throttle.py": (
        ("test_throttle.py",),
        (
            ("used_since(log_at, log_lots, began - 1)", "used_since(log_at, log_lots, began)"),
            ("depth = at.depth if at.measured else", "depth = at.depth or"),
        ),
    ),
    "engine/pace.py": (
        ("test_rate.py",),
        (
            ("        room = min(room, held)\n", "        room = held\n"),
            ("floor=-(-rate.floor // lot_value)", "floor=rate.floor // lot_value"),
        ),
    ),
    "safeguards/rate.py": (
        ("test_rate.py",),
        (
            ("or late >= self.age_max_ns:", "or late > self.age_max_ns:"),
            ("now - at <= self.age_max_ns\n", "now - at < self.age_max_ns\n"),
            ("if place >= slices.size and not stopped:", "if place > slices.size and not stopped:"),
        ),
    ),
    "safeguards/slices.py": (
        ("test_slices.py",),
        (
            (
                "equity < 0 or equity * PPM < required * self.urgent",
                "equity < 0 or equity * PPM <= required * self.urgent",
            ),
        ),
    ),
    "safeguards/split.py": (
        ("test_split.py",),
        (
            ("part = min(part, free)", "part = max(part, free)"),
            (
                "part = min(part, self.book_max // max(1, worth))",
                "part = self.book_max // max(1, worth)",
            ),
        ),
    ),
    "engine/split.py": (
        ("test_split.py",),
        (
            ("        free[i, side] -= part\n", ""),
            (
                "_on_book(state, view, plan, spare, stack) if rung < Rung.AUCTION_ONLY",
                "_on_book(state, view, plan, spare, stack) if rung <= Rung.AUCTION_ONLY",
            ),
            ("if route.spill and rung < Rung.AUCTION_ONLY:", "if route.spill:"),
        ),
    ),
    "engine/following.py": (
        ("test_following.py",),
        (
            ("np.maximum(rates[start:end], least)", "np.minimum(rates[start:end], least)"),
            ("stay = charge * rule.maintenance_share // PPM", "stay = charge"),
        ),
    ),
    "engine/deficits.py": (
        (
            "test_deleveraging_rules.py",
            "test_withdrawal_gate.py",
            "test_fund_stakes.py",
            "test_never_worse.py",
        ),
        (
            ("fund = 0 if at_once else sum(purse.money)", "fund = sum(purse.money)"),
            ("        left = left * waterfall.haircut // PPM\n", ""),
            (
                "asked = -(-lots * waterfall.close_share // PPM)",
                "asked = lots * waterfall.close_share // PPM",
            ),
            ("deficit=-(-left * asked // lots),", "deficit=left,"),
            ('== "fund_exhausted" and not handed:', '== "fund_exhausted":'),
            ("            health.equity[payers] -= shares\n", ""),
            ("            if waterfall.claims:\n", "            if not waterfall.claims:\n"),
        ),
    ),
    "safeguards/waterfall.py": (
        ("test_fund_stakes.py", "test_deleveraging_rules.py"),
        (
            ('money = held if tranche.market in {"", market} else 0', "money = held"),
            ("                room = np.maximum(0, most - taken)", "                room = most"),
            (
                "due = np.minimum(cap, _at(turn.due, found))",
                "due = np.minimum(cap, _at(turn.freed, found))",
            ),
        ),
    ),
    "engine/slicing.py": (
        ("test_slices.py",),
        (
            ("        return max(elapsed, slices.horizon_ns)", "        return elapsed"),
            ("    fresh = fresh[~np.isin(fresh, opened)]\n", ""),
            ("usable = (gate[book.instrument[rows[:n]]] == 1) & (", "usable = ("),
        ),
    ),
    "engine/never_worse.py": (
        ("test_never_worse.py",),
        (("        shift[plan.row] = plan.netted\n", "        pass\n"),),
    ),
    "safeguards/cadence.py": (
        ("test_cadence.py",),
        (
            (
                "return now - since >= self.judge_every_ns",
                "return now - since > self.judge_every_ns",
            ),
            ("* PPM >= judged * self.judge_move", "* PPM > judged * self.judge_move"),
            ("self.judge_every_ns > EVERY_MAX or", "self.judge_every_ns >= EVERY_MAX or"),
            ("self.judge_move >= PPM:", "self.judge_move > PPM:"),
            ("(self.judge_every_ns > 0) != (self.judge_move > 0)", "False"),
        ),
    ),
    "engine/cadence.py": (
        ("test_cadence.py",),
        (
            (" or pressing(state, view, seen, stack):", ":"),
            ("or cadence.over(int(j.at[AT]), now) ", ""),
            ("int(view.pending[i]) or mark)", "mark)"),
            ("cadence.far(int(j.low[i]), int(view.low[i]))", "False"),
            ("view.low[i] != view.high[i] and m.low[i] == m.high[i]", "False"),
            (" and m.low[i] == m.high[i]", ""),
            (" or view.quality[i] > m.quality[i]:", ":"),
            (".reached(alone)[0] > state.rung", ".reached(alone)[0] >= state.rung"),
            (
                "            return True\n        case BandMoved",
                "            return False\n        case BandMoved",
            ),
            ("bool(effect.phase != state.restraint.phase[i])", "False"),
            (
                "bool(share and effect.charged > state.charged[i])",
                "bool(effect.charged > state.charged[i])",
            ),
            ("bool(share and effect.charged > state.charged[i])", "False"),
            ("sorted({*owed, view.moved} - {-1})", "sorted({view.moved} - {-1})"),
        ),
    ),
    "engine/lens.py": (
        ("test_lens.py",),
        (
            ("self._seq != state.seq - 1 or", "False or"),
            ("or self._book is not state.book.cash:", "or False:"),
            ("self._seq == state.seq and self._book is book.cash", "self._book is book.cash"),
            ("self._seq == state.seq and self._book is book.cash", "self._seq == state.seq"),
            ("copy.packed.fits(facts) and ", ""),
            ("if self._rented <= PATIENCE:", "if self._rented < PATIENCE:"),
            ("if (needed & (mark == 0)).any():", "if False:"),
            ("if copy.used + out.size > self.apart_max:", "if False:"),
            ("        copy.slack[copy.left[: copy.gone]] = ASIDE\n", ""),
            (
                "                everybody = [unpack(effect.account), np",
                "                everybody = [np",
            ),
            ("new = np.arange(copy.known, state", "new = np.arange(state.book.accounts, state"),
        ),
    ),
    "kernels/lens.py": (
        ("test_lens.py",),
        (
            ("            packed.most[slot, tier] = max(packed.most[slot, tier], size)\n", ""),
            ("            packed.least[slot, tier] = min(packed.least[slot, tier], size)\n", ""),
            ("packed.largest[slot] = max(packed.largest[slot], size)", "pass"),
            (
                "return bool(count == packed.group[g, HELD])",
                "return bool(count <= packed.group[g, HELD])",
            ),
            ("        paid[member] = total\n", ""),
            ("            total += book.cost[row]\n", ""),
        ),
    ),
    "engine/evolve.py": (
        ("test_cadence.py",),
        (
            ("            j.owed[i] = 1\n", "            pass\n"),
            (
                "j.low[:], j.high[:] = m.mark, m.low, m.high",
                "j.low[:], j.high[:] = m.mark, m.mark, m.mark",
            ),
            (
                "            j.owed[:], j.at[AT] = 0, effect.at\n",
                "            j.at[AT] = effect.at\n",
            ),
            ("            j.owed[:], j.at[AT] = 0, effect.at\n", "            j.owed[:] = 0\n"),
        ),
    ),
    "engine/governance.py": (
        ("test_governance.py", "test_price_bands.py"),
        (
            ("event.ts + (0 if column == FLAG else rules.notice_ns)", "event.ts + rules.notice_ns"),
            (
                "        if elapsed < 0:\n            continue\n",
                "        if elapsed <= 0:\n            continue\n",
            ),
            ("state.pending.at[slot] > event.ts:", "state.pending.at[slot] >= event.ts:"),
            (
                "and value < getattr(state.facts, column)[row]:",
                "and value > getattr(state.facts, column)[row]:",
            ),
            ("rates[row - 1] > value)", "rates[row - 1] >= value)"),
        ),
    ),
}
GUARDS = [Mutant(f, *pair, tests) for f, (tests, pairs) in BY_FILE.items() for pair in pairs]
