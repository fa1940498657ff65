"""Wrongs in the rules of guards: their kernels.

As in mutants.py, each source with the test files that must notice them: the rules' own tests.
"""

from mutate import Mutant


BY_FILE = {
    "kernels/auction.py": (
        ("test_auction_kernels.py",),
        (
            ("max(0, min(limit - out, own_limit", "max(0, max(limit - out, own_limit"),
            ("    if space <= 0:\n", "    if space < 0:\n"),
            ("if (debt - part) * rate < dust:", "if (debt - part) * rate <= dust:"),
            ("part if part * rate >= dust else", "part if part * rate > dust else"),
            (
                "    if owe > due:\n        return due // price",
                "    if owe >= due + price:\n        return due // price",
            ),
            (
                "        return ALL_OR_NOTHING if due <= dust",
                "        return ALL_OR_NOTHING if due < dust",
            ),
        ),
    ),
    "kernels/curves.py": (
        ("test_auction_kernels.py",),
        (
            ("max(limit, -(-fine // FINE))", "max(limit, fine // FINE)"),
            (
                "return min(limit, muldiv(base * FINE, base, fine))",
                "return muldiv(base * FINE, base, fine)",
            ),
        ),
    ),
    "kernels/uniform.py": (
        ("test_auction_kernels.py",),
        (
            ("if bid_price[n] >= price:", "if bid_price[n] > price:"),
            (
                "better = distance < far or (distance == far and price < best)",
                "better = distance < far or (distance == far and price > best)",
            ),
            (
                "inside = np.flatnonzero((limit - price) * buying > 0)",
                "inside = np.flatnonzero((limit - price) * buying < 0)",
            ),
        ),
    ),
    "kernels/offers.py": (
        ("test_offers.py",),
        (
            ("            if asked < price:\n", "            if asked <= price:\n"),
            (
                "lots = min(left, room[best], stair_end(",
                "lots = min(left, stair_end(",
            ),
            ("        if due - base <= free:", "        if due - base < free:"),
        ),
    ),
    "kernels/stability.py": (
        ("test_stability.py",),
        (
            ("while down < least and (down", "while down <= least and (down"),
            (
                "out[KEPT] = gain - muldiv_up(grown, deposits, product)",
                "out[KEPT] = gain - muldiv(grown, deposits, product)",
            ),
        ),
    ),
    "kernels/expanding_limits.py": (
        ("test_caps.py",),
        (
            ("base if grown < base else min(grown, most)", "base if grown < base else grown"),
            ("return max(supplied - free, sunk)", "return min(supplied - free, sunk)"),
            (
                "    if supplied < base:\n        return 0\n    return max(before",
                "    if supplied <= base:\n        return 0\n    return max(before",
            ),
        ),
    ),
    "kernels/withdrawals.py": (
        ("test_withdrawal_gate.py",),
        (
            ("seen >= 0 and now - seen < window", "seen >= 0 and now - seen <= window"),
            (
                "return max(floor, muldiv(value, rate, scale))",
                "return min(floor, muldiv(value, rate, scale))",
            ),
            ("return min(base, capacity + step)", "return capacity + step"),
        ),
    ),
    "kernels/bands_limit.py": (
        ("test_kernels_restraint.py",),
        (
            (
                "if phase == LIMIT and now - since >= limit:",
                "if phase == LIMIT and now - since > limit:",
            ),
            (
                "if phase == PAUSED and now - since < pause:",
                "if phase == PAUSED and now - since <= pause:",
            ),
            ("    if price < highest - room:", "    if price <= highest - room:"),
            (
                "price <= high if side > 0 else price >= low",
                "price < high if side > 0 else price > low",
            ),
            (
                "if price * scale <= reference * (scale - rates[n]):",
                "if price * scale < reference * (scale - rates[n]):",
            ),
            (
                "now - at[n] <= window:\n            lowest",
                "now - at[n] < window:\n            lowest",
            ),
        ),
    ),
    "kernels/stable_price.py": (
        ("test_kernels_restraint.py",),
        (
            (
                "return min(max(target, last - room), last + room)",
                "return max(target, last - room)",
            ),
            ("    counted = min(elapsed, reach)\n", "    counted = elapsed\n"),
        ),
    ),
    "kernels/ramp.py": (
        ("test_governance.py",),
        (
            (
                "return target - rest if target >= start else target + rest",
                "return target + rest if target >= start else target - rest",
            ),
        ),
    ),
    "kernels/bands_book.py": (
        ("test_soft.py",),
        (
            ("muldiv_up(mark, PPM - give, PPM), unit)", "muldiv_up(mark, PPM, PPM), unit)"),
            ("muldiv(mark, PPM + give, PPM), unit)", "muldiv(mark, PPM + 2 * give, PPM), unit)"),
        ),
    ),
    "kernels/portfolio.py": (
        ("test_deleveraging_rules.py",),
        (
            (
                "elif net == 0 or (net > 0) != (lots > 0):",
                "elif net == 0 or (net > 0) == (lots > 0):",
            ),
            ("out[n] = min(cap[n], muldiv(abs(lots), abs(net), size))", "out[n] = cap[n]"),
            ("out[n] = max(floor, muldiv(weight[n]", "out[n] = (muldiv(weight[n]"),
        ),
    ),
    "kernels/insurance.py": (
        ("test_deleveraging_rules.py", "test_payer_kernels.py"),
        (
            ("        return fall >= stop\n", "        return fall > stop\n"),
            ("    return fall > start\n", "    return fall >= start\n"),
            ("max(0, min(loss, vault - 1, allowance))", "max(0, min(loss, vault, allowance))"),
        ),
    ),
    "kernels/closeout.py": (
        ("test_payer_kernels.py",),
        (("if due < -share_down(other_quote", "if due <= -share_down(other_quote"),),
    ),
    "kernels/window.py": (
        ("test_throttle.py",),
        (
            ("        if lots[n] and at[n] > after:", "        if lots[n] and at[n] >= after:"),
            ("unit, depth) < bypass:", "unit, depth) <= bypass:"),
            ("return (lots + capacity - 1) // capacity", "return lots // capacity"),
            ("        lots[second] += lots[oldest]\n", ""),
        ),
    ),
    "kernels/slices.py": (
        ("test_slices.py",),
        (
            ("        if offset[k] <= elapsed:", "        if offset[k] < elapsed:"),
            (
                "min(due - abs(pace.cut_done[row]), abs(book.lots[row]))",
                "due - abs(pace.cut_done[row])",
            ),
        ),
    ),
    "kernels/wait.py": (
        ("test_wait.py",),
        (
            ("    if root * root < wait:\n        root += 1\n", ""),
            ("return (risk * root + 999) // 1_000", "return risk * root // 1_000"),
            (
                "turns = windows_of(abs(lots), capacity[i]) - 1",
                "turns = windows_of(abs(lots), capacity[i])",
            ),
            (
                "return min(most, turns * cost + ppm_ceil(size, rate))",
                "return turns * cost + ppm_ceil(size, rate)",
            ),
            ("end = high[i] if lots > 0 else low[i]", "end = low[i] if lots > 0 else high[i]"),
        ),
    ),
    "kernels/dynamic_penalty.py": (
        ("test_dynamic_penalty.py",),
        (
            ("        if after[n] > before[n]:", "        if after[n] >= before[n]:"),
            ("PPM * PPM // factor - PPM)", "PPM * PPM // factor)"),
            ("            most = min(most, left)\n", ""),
            ("        purse[0] -= out[n]\n", ""),
            ("+ ppm_ceil(before[0], debt_rate)) - 1", "+ ppm_ceil(before[0], debt_rate))"),
        ),
    ),
    "kernels/never_worse.py": (
        ("test_never_worse.py",),
        (
            ("        return after >= 0\n", "        return after > 0\n"),
            ("    if base_after > base:\n", "    if base_after >= base:\n"),
            ("return after >= muldiv_up(equity", "return after > muldiv_up(equity"),
            ("        if before[k, 0] <= 0:\n", "        if before[k, 0] < 0:\n"),
            ("        while abs(good - bad) > 1:", "        while abs(good - bad) > 2:"),
        ),
    ),
    "kernels/procyclical.py": (
        ("test_following.py",),
        (
            ("return min(max(charged, calculated), whole)", "return max(charged, calculated)"),
            ("calculated + muldiv_up(calculated, buffer", "calculated + muldiv(calculated, buffer"),
            ("return max(calculated, floor)", "return min(calculated, floor)"),
        ),
    ),
    "kernels/groups.py": (
        ("test_groups.py",),
        (
            ("return -(-due * lots // group)", "return due * lots // group"),
            ("members[owner_of[account]] < 2:", "members[owner_of[account]] < 3:"),
        ),
    ),
    "kernels/close_factor.py": (
        ("test_lending_kernels.py",),
        (
            ("if health <= line or collateral", "if health < line or collateral"),
            ("collateral < small or debt < small", "collateral < small or debt <= small"),
            ("collateral_left < least or debt_left", "collateral_left <= least or debt_left"),
        ),
    ),
    "kernels/bonus.py": (
        ("test_lending_kernels.py",),
        (
            (
                "return min(max(ltv - line, least), most, left)",
                "return min(max(ltv - line, least), most)",
            ),
            ("return bonus - muldiv_up(bonus, fee", "return bonus - muldiv(bonus, fee"),
            ("    taken = min(held, muldiv(base", "    taken = max(held, muldiv(base"),
            ("debt * (scale + bonus) < collateral", "debt * (scale + bonus) <= collateral"),
        ),
    ),
    "kernels/lending.py": (
        ("test_lending_kernels.py",),
        (
            (
                "collateral_left > 0 or owed_value < least",
                "collateral_left > 0 or owed_value <= least",
            ),
            ("    if taken < collateral:\n", "    if taken <= collateral:\n"),
            ("if owed == 0 or adjusted > owed_value:", "if owed == 0 or adjusted >= owed_value:"),
        ),
    ),
    "kernels/target_health.py": (
        ("test_lending_kernels.py",),
        (
            ("repay * scale // debt > whole_above", "repay * scale // debt >= whole_above"),
            ("return muldiv_up(debt, unit * (target", "return muldiv(debt, unit * (target"),
        ),
    ),
    "kernels/priority.py": (
        ("test_priority.py",),
        (
            (
                "ratio_of(abs(lots), there) if there > 0 else N_MAX",
                "ratio_of(abs(lots), there) if there > 0 else 0",
            ),
            ("out[n] = -waiting_shortfall(have", "out[n] = waiting_shortfall(have"),
            ("    if equity <= -move or move <= 0:", "    if move <= 0:"),
        ),
    ),
    "kernels/rank.py": (
        ("test_deleveraging_rules.py",),
        (
            (
                "capped_ratio(gain, max(one, wallet), scale, most)",
                "capped_ratio(gain, wallet, scale, most)",
            ),
            ("-(share * scale // leverage) if leverage", "(share * scale // leverage) if leverage"),
        ),
    ),
    "kernels/bands.py": (
        ("test_bands.py",),
        (
            ("    left = window - min(window, elapsed)\n", "    left = window - elapsed\n"),
            ("    return max(fee, floor)\n", "    return fee\n"),
            ("a + held_in + net) - b + 1", "a + held_in + net) - b"),
        ),
    ),
    "kernels/bands_loan.py": (
        ("test_bands.py",),
        (
            ("    out[PAID] = max(0, repaid - own)", "    out[PAID] = repaid - own"),
            ("    repaid = muldiv_up(debt, part, scale)", "    repaid = muldiv(debt, part, scale)"),
            ("unit) - 1), TRIM - 1, TRIM)", "unit)), TRIM - 1, TRIM)"),
        ),
    ),
}
RULES = [Mutant(f, *pair, tests) for f, (tests, pairs) in BY_FILE.items() for pair in pairs]
