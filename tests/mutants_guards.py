"""Wrongs in auctions, backstops, pools, bands, caps, gates, throttles and what else guards a venue.

As in mutants.py, each source with the test files that must notice them: it is their own tests that
hold these rules, not the tables of the engine.
"""

from mutate import Mutant


AUCTION_RULES = ("test_auction_kernels.py",)
AUCTIONS = ("test_auctions.py",)
BATCHES = ("test_batches.py",)
BACKSTOP = ("test_backstop.py",)
POOL = ("test_loan_pool.py",)
SHARING = ("test_redistribution.py",)
CAPS = ("test_caps.py",)
GATE = ("test_withdrawal_gate.py",)
BANDS = ("test_price_bands.py",)
RESTRAINT = ("test_kernels_restraint.py",)
TRUST = ("test_trust.py",)
GOVERNANCE = ("test_governance.py",)
SOFT = ("test_soft.py",)
STAKES = ("test_fund_stakes.py",)
DELEVERAGING = ("test_deleveraging_rules.py",)
PAYERS = ("test_payer_kernels.py",)
THROTTLE = ("test_throttle.py",)
RATE = ("test_rate.py",)
SLICES = ("test_slices.py",)
WAIT = ("test_wait.py",)
PENALTY = ("test_dynamic_penalty.py",)
NEVER_WORSE = ("test_never_worse.py",)
SPLIT = ("test_split.py",)

BY_FILE = {
    "kernels/auction.py": (
        AUCTION_RULES,
        (
            ("max(0, min(limit - out, own_limit", "max(0, max(limit - out, own_limit"),
            ("    if space <= 0:\n", "    if space < 0:\n"),
            ("if (debt - part) * rate < dust:", "if (debt - part) * rate <= dust:"),
            ("part if part * rate >= dust else", "part if part * rate > dust else"),
            ("    if owe > due:\n        return due // price", "    if owe >= due + price:\n        return due // price"),
            ("        return ALL_OR_NOTHING if due <= dust", "        return ALL_OR_NOTHING if due < dust"),
        ),
    ),
    "kernels/curves.py": (
        AUCTION_RULES,
        (
            ("max(limit, -(-fine // FINE))", "max(limit, fine // FINE)"),
            ("return min(limit, muldiv(base * FINE, base, fine))", "return muldiv(base * FINE, base, fine)"),
        ),
    ),
    "kernels/uniform.py": (
        AUCTION_RULES,
        (
            ("if bid_price[n] >= price:", "if bid_price[n] > price:"),
            ("better = distance < far or (distance == far and price < best)", "better = distance < far or (distance == far and price > best)"),
            ("inside = np.flatnonzero((limit - price) * buying > 0)", "inside = np.flatnonzero((limit - price) * buying < 0)"),
        ),
    ),
    "safeguards/auctions.py": (
        AUCTIONS,
        (
            ("give = min(self.floor, band) if band else self.floor", "give = self.floor"),
            ("bool(self.release) and equity >= ppm_ceil", "bool(self.release) and equity > ppm_ceil"),
            ("Money(min(self.incentive, ppm_floor(", "Money(max(self.incentive, ppm_floor("),
            ("abs(mark - base) > ppm_floor(base, self.drift)", "abs(mark - base) >= ppm_floor(base, self.drift)"),
            ("held = mark - give < limit if selling", "held = mark - give <= limit if selling"),
        ),
    ),
    "engine/auctions.py": (
        AUCTIONS,
        (
            ("        slots -= part > 0\n", ""),
            ("        total[i] += owed(part, rate, chop, PPM)\n", ""),
            ("route is None or rung >= Rung.HALT or not", "route is None or rung > Rung.HALT or not"),
            ("if not gate[i] or int(state.auctions.key[slot]) in busy:", "if int(state.auctions.key[slot]) in busy:"),
            ("int(state.auctions.opened[slot]) <= route.life_ns", "int(state.auctions.opened[slot]) < route.life_ns"),
            ("elif rung < Rung.AUCTION_ONLY and len(unsold)", "elif rung <= Rung.AUCTION_ONLY and len(unsold)"),
            ("(one.price > event.limit) if one.selling", "(one.price >= event.limit) if one.selling"),
            ("    if state.rung >= Rung.HALT:\n", "    if state.rung > Rung.HALT:\n"),
            ("    if one.stale:\n        return rejected", "    if False:\n        return rejected"),
            ("    if abs(after) > stack.facts.lots_max[i]:", "    if abs(after) >= stack.facts.lots_max[i]:"),
            ("spot and (after < 0 or int(state.book.cash[bidder]) < paid)", "spot and after < 0"),
            ("    amount = min(int(route.paid(before + collected)), fund)", "    amount = int(route.paid(before + collected))"),
        ),
    ),
    "engine/bonds.py": (
        BATCHES,
        (
            ('kept = reason == "cleared" and not bids.lots[n]', "kept = not bids.lots[n]"),
            ('kept = reason == "cleared" and not bids.lots[n]', 'kept = reason == "cleared"'),
        ),
    ),
    "engine/batches.py": (
        BATCHES,
        (
            ("began[slot]) >= route.window_ns:", "began[slot]) > route.window_ns:"),
            ("if not route.window_ns <= elapsed < route.closes_ns:", "if not route.window_ns <= elapsed <= route.closes_ns:"),
            ("if bidder in buyers or bidder_refusal(", "if bidder_refusal("),
            ("elapsed >= route.clears_ns(", "elapsed > route.clears_ns("),
            ("(bids.limit[slot] - one.limit) * side >= 0", "(bids.limit[slot] - one.limit) * side > 0"),
        ),
    ),
    "kernels/offers.py": (
        ("test_offers.py",),
        (
            ("            if asked < price:\n", "            if asked <= price:\n"),
            ("            if room[k] <= 0 or held[k] >= most[k]:", "            if room[k] <= 0 or held[k] > most[k]:"),
            ("        if due - base <= free:", "        if due - base < free:"),
        ),
    ),
    "safeguards/backstop.py": (
        BACKSTOP,
        (("return max(0, most - left), left", "return max(0, most), left"),),
    ),
    "engine/backstop.py": (
        BACKSTOP,
        (
            ("            limit = min(limit, int(loss_rate(equity, total)))", "            limit = limit"),
            ("forgone = min(fill.forgone, left) if equity >= 0", "forgone = fill.forgone if equity >= 0"),
            ("sum(self.purse.offer(self.promised + lack)) < self.promised + lack", "sum(self.purse.offer(lack)) < lack"),
            ("return [k for k in healthy if book.owner[backing.offer_account[k]] != owner]", "return healthy"),
            ("self.health.best[backing.offer_account[slot]] >= 0", "self.health.best[backing.offer_account[slot]] > 0"),
            ("self._free(provider) - (dues[1] - dues[0]) - 2", "self._free(provider)"),
            ("    if rung >= Rung.HALT:\n", "    if rung > Rung.HALT:\n"),
        ),
    ),
    "engine/pool.py": (
        POOL,
        (
            ("paid = min(debt, self.deposits - policy.left_min)", "paid = min(debt, self.deposits)"),
            ("paid + paid * policy.penalty // PPM, value", "paid, value"),
            ("if facts.kind[i] != Kind.SPOT or lots < 0:", "if facts.kind[i] != Kind.SPOT:"),
            ("    if int(state.book.cash[a]) < amount:\n", "    if int(state.book.cash[a]) <= amount:\n"),
            ("paid = min(amount, value_of(state, slot))", "paid = amount"),
        ),
    ),
    "kernels/stability.py": (
        ("test_stability.py",),
        (
            ("while down < least and (down", "while down <= least and (down"),
            ("out[KEPT] = gain - muldiv_up(grown, deposits, product)", "out[KEPT] = gain - muldiv(grown, deposits, product)"),
        ),
    ),
    "engine/redistribution.py": (
        SHARING,
        (
            ("        return after[0] >= after[1]\n", "        return after[0] > after[1]\n"),
            ("given = lots if due >= value else", "given = lots if due > value + value else"),
            ("        fit &= self.health.best[who] >= 0\n", ""),
            ("(who != account) & (book.cash[who] < 0)", "(who != account)"),
        ),
    ),
    "engine/caps.py": (
        CAPS,
        (
            ("_worth(state, total.asset, side) > cap.open_interest_max", "_worth(state, total.asset, side) >= cap.open_interest_max"),
            ("        if _worth(state, asset, owed) > ceiling:", "        if _worth(state, asset, owed) >= ceiling:"),
            ("used = owed * PPM > cap.utilisation_max * held", "used = owed * PPM >= cap.utilisation_max * held"),
            ("        if _worth(state, asset, held) < floor:", "        if _worth(state, asset, held) <= floor:"),
            ("before + grown if grown > 0 else 0 for", "before + grown for"),
            ("return -(-abs(lots) * price * tick // units)", "return abs(lots) * price * tick // units"),
        ),
    ),
    "kernels/expanding_limits.py": (
        CAPS,
        (
            ("base if grown < base else min(grown, most)", "base if grown < base else grown"),
            ("return max(supplied - free, sunk)", "return min(supplied - free, sunk)"),
            ("    if supplied < base:\n        return 0\n    return max(before", "    if supplied <= base:\n        return 0\n    return max(before"),
        ),
    ),
    "kernels/withdrawals.py": (
        GATE,
        (
            ("seen >= 0 and now - seen < window", "seen >= 0 and now - seen <= window"),
            ("return max(floor, muldiv(value, rate, scale))", "return min(floor, muldiv(value, rate, scale))"),
            ("return min(base, capacity + step)", "return capacity + step"),
        ),
    ),
    "engine/gates.py": (
        GATE,
        (
            ("    if event.amount > capacity:\n", "    if event.amount >= capacity:\n"),
            ("due = min(event.amount, int(owed.sum()), have)", "due = min(event.amount, int(owed.sum()))"),
            ("cash=-cash - held,", "cash=-cash,"),
            ('if event.asset != CASH or not (gate.limit == "always" or closed):', 'if event.asset != CASH or gate.limit != "always":'),
        ),
    ),
    "kernels/bands_limit.py": (
        RESTRAINT,
        (
            ("if phase == LIMIT and now - since >= limit:", "if phase == LIMIT and now - since > limit:"),
            ("if phase == PAUSED and now - since < pause:", "if phase == PAUSED and now - since <= pause:"),
            ("    if price < highest - room:", "    if price <= highest - room:"),
            ("price <= high if side > 0 else price >= low", "price < high if side > 0 else price > low"),
            ("if price * scale <= reference * (scale - rates[n]):", "if price * scale < reference * (scale - rates[n]):"),
            ("now - at[n] <= window:\n            lowest", "now - at[n] < window:\n            lowest"),
        ),
    ),
    "engine/restraint.py": (
        BANDS,
        (
            ("    if now < r.market[PAUSED_UNTIL]:", "    if now <= r.market[PAUSED_UNTIL]:"),
            ("if r.phase[i] == PAUSED and now < r.until[i]:", "if r.phase[i] == PAUSED and now <= r.until[i]:"),
            ("not r.low[i] <= price <= r.high[i]", "not r.low[i] < price < r.high[i]"),
            ("    if reduces:\n        return []\n", ""),
            ("held.phase == PAUSED and self.now >= held.until", "held.phase == PAUSED and self.now > held.until"),
            ("    if until and now >= until:", "    if until and now > until:"),
            ("not low < self.price < high", "not low <= self.price <= high"),
            ("middle = min(max(middle, held.low), held.high)", "middle = max(middle, held.low)"),
        ),
    ),
    "kernels/stable_price.py": (
        RESTRAINT,
        (
            ("return min(max(target, last - room), last + room)", "return max(target, last - room)"),
            ("    counted = min(elapsed, reach)\n", "    counted = elapsed\n"),
        ),
    ),
    "engine/stable.py": (
        TRUST,
        (
            ("min(int(mark[j]), fine // FINE))", "max(int(mark[j]), fine // FINE))"),
            ("min(max(int(mark[j]), -(-fine // FINE))", "min(max(int(mark[j]), fine // FINE)"),
        ),
    ),
    "safeguards/governance.py": (
        GOVERNANCE,
        (
            ("        if notice < self.notice_ns:", "        if notice <= self.notice_ns:"),
            ("if step and abs(value - current) > step", "if step and abs(value - current) >= step"),
            ("column in STRICTER_UP and target > start", "column in STRICTER_UP"),
            ("target, elapsed - late)", "target, elapsed)"),
        ),
    ),
    "kernels/ramp.py": (
        GOVERNANCE,
        (("return target - rest if target >= start else target + rest", "return target + rest if target >= start else target - rest"),),
    ),
    "engine/soft.py": (
        SOFT,
        (
            ("(slack[n] < 0 or health.equity[a] < least[n])", "(slack[n] < 0 or health.equity[a] <= least[n])"),
            ("health.best[a] < 0 and (slack[n] < 0", "(slack[n] < 0"),
            ("(equity > 0) & (equity - required < close)", "(equity > 0) & (equity - required <= close)"),
            ("if not total or over * sign < 0:", "if not total or over * sign <= 0:"),
            ("if not accounts.size or state.rung >= Rung.HALT:", "if not accounts.size:"),
            ('reason = "changed"', 'reason = ""'),
        ),
    ),
    "kernels/bands_book.py": (
        SOFT,
        (
            ("return max(x, muldiv_up(y, muldiv_up(mark, PPM - give", "return min(x, muldiv_up(y, muldiv_up(mark, PPM - give"),
            ("return min(x, muldiv(y, muldiv(mark, PPM + give", "return max(x, muldiv(y, muldiv(mark, PPM + give"),
        ),
    ),
    "safeguards/soft.py": (
        SOFT,
        (
            ("return bool(self.slack(worth=two[:1], debt=two[1:])[0] >= 0)", "return True"),
            ("lost += -(-(worth % PPM) * self.liquidation_discount // PPM)", "lost += (worth % PPM) * self.liquidation_discount // PPM"),
            ("        y[0] += collateral - part * self.bands\n", ""),
        ),
    ),
    "kernels/stake.py": (
        STAKES,
        (("return max(0, shares - muldiv(value, total - shares, vault - value))", "return shares - muldiv(value, total - shares, vault - value)"),),
    ),
    "engine/stakes.py": (
        STAKES,
        (
            ("    if event.ts < at + delay:", "    if event.ts <= at + delay:"),
            ("value = min(asked, int(stake_value(", "value = max(asked, int(stake_value("),
            ("if event.shares < 0 or event.shares > held:", "if event.shares < 0 or event.shares >= held:"),
            ("if why or event.amount > state.book.cash[a]:", "if why:"),
            ("peak = Money(max(0, state.fund_peak - value))", "peak = Money(state.fund_peak)"),
        ),
    ),
    "kernels/portfolio.py": (
        (*PAYERS, *DELEVERAGING),
        (
            ("elif net == 0 or (net > 0) != (lots > 0):", "elif net == 0 or (net > 0) == (lots > 0):"),
            ("        elif abs(net) >= size:\n", "        elif abs(net) > size:\n"),
            ("out[n] = min(cap[n], muldiv(abs(lots), abs(net), size))", "out[n] = cap[n]"),
            ("out[n] = max(floor, muldiv(weight[n]", "out[n] = (muldiv(weight[n]"),
        ),
    ),
    "kernels/insurance.py": (
        PAYERS,
        (
            ("        return fall >= stop\n", "        return fall > stop\n"),
            ("    return fall > start\n", "    return fall >= start\n"),
            ("    if surplus <= 0:\n        return surplus\n", ""),
            ("max(0, min(loss, vault - 1, allowance))", "max(0, min(loss, vault, allowance))"),
        ),
    ),
    "kernels/closeout.py": (
        PAYERS,
        (
            ("if other_lots[n] * lots >= 0:", "if other_lots[n] * lots > 0:"),
            ("if due < -share_down(other_quote", "if due <= -share_down(other_quote"),
        ),
    ),
    "engine/turns.py": (
        DELEVERAGING,
        (
            ("if now - state.fund_peak_at > waterfall.drawdown_window_ns:", "if now - state.fund_peak_at >= waterfall.drawdown_window_ns:"),
            ("and (was or fund > waterfall.drawdown_floor)", "and (was or fund >= waterfall.drawdown_floor)"),
            ("self.turn.exposure[a] += side * (size", "self.turn.exposure[a] -= side * (size"),
            ("            give = min(most, room)\n", "            give = most\n"),
        ),
    ),
    "kernels/window.py": (
        THROTTLE,
        (
            ("        if lots[n] and at[n] > after:", "        if lots[n] and at[n] >= after:"),
            ("unit, depth) < bypass:", "unit, depth) <= bypass:"),
            ("if lots[n] == 0 or now - at[n] > keep:", "if lots[n] == 0 or now - at[n] >= keep:"),
            ("return (lots + capacity - 1) // capacity", "return lots // capacity"),
            ("        lots[second] += lots[oldest]\n", ""),
        ),
    ),
    "safeguards/throttle.py": (
        THROTTLE,
        (
            ("used_since(log_at, log_lots, began - 1)", "used_since(log_at, log_lots, began)"),
            ("depth = at.depth if at.measured else", "depth = at.depth or"),
        ),
    ),
    "engine/pace.py": (
        RATE,
        (
            ("        room = min(room, held)\n", "        room = held\n"),
            ("floor=-(-rate.floor // lot_value)", "floor=rate.floor // lot_value"),
        ),
    ),
    "safeguards/rate.py": (
        RATE,
        (
            ("or late >= self.age_max_ns:", "or late > self.age_max_ns:"),
            ("now - at <= self.age_max_ns\n", "now - at < self.age_max_ns\n"),
            ("if place >= slices.size and not stopped:", "if place > slices.size and not stopped:"),
        ),
    ),
    "kernels/slices.py": (
        SLICES,
        (
            ("        if offset[k] <= elapsed:", "        if offset[k] < elapsed:"),
            ("min(due - abs(pace.cut_done[row]), abs(book.lots[row]))", "due - abs(pace.cut_done[row])"),
            ("pace.cut_lots[row] * book.lots[row] < 0", "pace.cut_lots[row] * book.lots[row] <= 0"),
        ),
    ),
    "safeguards/slices.py": (
        SLICES,
        (("equity < 0 or equity * PPM < required * self.urgent", "equity < 0 or equity * PPM <= required * self.urgent"),),
    ),
    "kernels/wait.py": (
        WAIT,
        (
            ("    if root * root < wait:\n        root += 1\n", ""),
            ("return (risk * root + 999) // 1_000", "return risk * root // 1_000"),
            ("turns = windows_of(abs(lots), capacity[i]) - 1", "turns = windows_of(abs(lots), capacity[i])"),
            ("return min(most, turns * cost + ppm_ceil(size, rate))", "return turns * cost + ppm_ceil(size, rate)"),
            ("end = high[i] if lots > 0 else low[i]", "end = low[i] if lots > 0 else high[i]"),
        ),
    ),
    "kernels/dynamic_penalty.py": (
        PENALTY,
        (
            ("        if after[n] > before[n]:", "        if after[n] >= before[n]:"),
            ("PPM * PPM // factor - PPM)", "PPM * PPM // factor)"),
            ("most = ppm_floor(max(0, after[n, 0]), kappa)", "most = ppm_floor(after[n, 0], kappa)"),
            ("            most = min(most, left)\n", ""),
            ("        purse[0] -= out[n]\n", ""),
            ("+ ppm_ceil(before[0], debt_rate)) - 1", "+ ppm_ceil(before[0], debt_rate))"),
        ),
    ),
    "kernels/never_worse.py": (
        NEVER_WORSE,
        (
            ("        return after >= 0\n", "        return after > 0\n"),
            ("    if base_after > base:\n", "    if base_after >= base:\n"),
            ("return after >= muldiv_up(equity", "return after > muldiv_up(equity"),
            ("        if before[k, 0] <= 0:\n", "        if before[k, 0] < 0:\n"),
            ("        while abs(good - bad) > 1:", "        while abs(good - bad) > 2:"),
        ),
    ),
    "safeguards/split.py": (
        SPLIT,
        (
            ("part = min(part, free)", "part = max(part, free)"),
            ("part = min(part, self.book_max // max(1, worth))", "part = self.book_max // max(1, worth)"),
        ),
    ),
    "engine/split.py": (
        SPLIT,
        (
            ("        free[i, side] -= part\n", ""),
            ("_on_book(state, view, plan, stack) if rung < Rung.AUCTION_ONLY", "_on_book(state, view, plan, stack) if rung <= Rung.AUCTION_ONLY"),
            ("if route.spill and rung < Rung.AUCTION_ONLY:", "if route.spill:"),
        ),
    ),
}  # fmt: skip
GUARDS = [Mutant(f, *pair, tests) for f, (tests, pairs) in BY_FILE.items() for pair in pairs]
