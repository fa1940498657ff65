"""The cells of a path's columns by name: what a desk keeps of markets, accounts and positions."""

# `Desk.market`, one row an instrument.
(
    MARK,  # Ticks
    OUTSIDE,  # Ticks, the last price without our displacement
    SHIFT,  # Ticks, our displacement
    REQUOTE,  # 1 where the displacement has changed since the last price
    VARIANCE,  # ppm^2 per second
    ANCHOR,  # Ticks
    ANCHORED_AT,
    MARKED_AT,
    DEVIATIONS,  # ppm
    SPENT,  # lots in the throttle's bucket of sales, and in the next cell of purchases
    _SPENT_BUY,
    SPENT_AT,
    _SPENT_BUY_AT,
) = range(13)
MARKETS = 13

# `Desk.fact`, one row an instrument: what does not change along a path.
(
    TICK_VALUE,
    PRICE_MAX,
    TIER_START,
    TIER_END,
    RATE_MAX,  # highest maintenance rate, ppm
    PENALTY,  # ppm
    DUST,
    WIDTH,  # Ticks a bucket of triggers is wide
    LAW,  # of impact
    DEPTH,
    MOVE,
    MOST,
    KEEP,
) = range(13)
FACTS = 13

# `Desk.people`, one row an account: eight cells, so that one line of cache holds it.
(
    CASH,
    EQUITY,  # as of the last look
    REQUIRED,
    BEST,
    STAGED_AT,  # -1: never
    SPOT,  # where among the hot; -1: safe, until a trigger fires
    STALE,  # 1 where something but a price has changed since the last look
    QUEUED,
) = range(8)
PEOPLE = 8

# `Desk.row`, one row a position, eight cells as well.
LOTS, COST, TRIGGER, PLACE, AHEAD, BEHIND, _SPARE, _SPARE_TOO = range(8)
ROWS = 8

# `Desk.fixed`, one row a position.
ACCOUNT, INSTRUMENT, FOLLOW = range(3)

# `Desk.owns`, one row an account.
HEAD, HOLDS = range(2)

# `Desk.lists`: accounts that are hot, to look at now, or bare debtors.
HOT, QUEUE, DEBTORS = range(3)

# `Desk.cell`: sizes of those lists first, then what the engine keeps as scalars of its state.
N_HOT, N_QUEUE, N_DEBTORS, RUNG, CALM, PEAK, PEAK_AT, LOST, N_TRAIL = range(9)
CELLS = 9

# `Desk.total`: what a path comes to; see `lab.paths.PathTotals`.
(
    BAD_DEBT,
    FUND_USED,
    SOCIALISED,
    DELEVERAGED,
    FORGONE,
    FORCED,
    NETTED,
    PENALTIES,
    STAGES,
    LIQUIDATED,
    RUNG_MAX,
    FUND_LEFT,
    EVENTS,
    LOOKS,
) = range(14)
TOTALS = 14

# Kinds of the trail's rows; further cells are account, instrument, lots and what is said here.
TICK = 0  # instrument, price, rung, fund, treasury: after all that follows from one price
ORDER = 1
NET = 2
CLOSED = 3  # bankrupt, by deleveraging
WINNER = 4  # forgone
DEFICIT = 5  # account, deficit, fund, socialised
FILL = 6  # price, penalty
TRAIL_WIDTH = 6

# `Desk.rule`: the scalars of a stack. Rates are ppm, times ns, amounts Money.
(
    COOLDOWN,
    WINDOW,
    MEMORY,
    DEVIATION_MIN,
    RESERVED,
    TARGET,
    CLOSE_FRACTION,
    INTERVAL,
    WHOLE_BELOW,
    FIRST_STAGE,
    NETTING,
    PRIORITY,
    DEPTH_SHARE,
    DRAIN,
    IN_FLIGHT_MAX,
    UNKNOWN_DEPTH,
    DELEVERAGE,  # 0 none, 1 the queue, 2 pro rata
    AT_ONCE,
    FUND_SHARE,
    FUND_FIRST,
    CLOSE_SHARE,
    HAIRCUT,
    SCORE,
    PENALTY_SHARE,
    FED,  # the tranche that penalties feed
    DRAWDOWN_WINDOW,
    SOCIALISE,  # 1 by equity
    ORDERS_MAX,
    DEBT_RATE,  # maintenance on owed cash
    PRUNED,  # 0: everybody is looked at with every price, for comparison
) = range(30)

# `Desk.step`, one row a step of the breaker.
LEVEL, LINE_DEVIATIONS, LINE_DRAWDOWN, HELD_DEVIATIONS, HELD_DRAWDOWN, PACE = range(6)

# `Desk.tier`, one row a tier of maintenance, all instruments' together.
FLOOR, RATE, CUM = range(3)
