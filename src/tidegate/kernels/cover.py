"""How much must be closed to cover a shortage of margin, and what a staged liquidation may take."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_up


BASE, QUOTE, FREED = 0, 1, 2  # cells of an account in a staged liquidation


@kernel
def cover_size(
    shortage: int,
    price: int,
    quote_price: int,
    rate: int,
    fee: int,
    fund_fee: int,
    lot: int,
    unit: int,
) -> int:
    """Return the size that covers ``shortage``: each unit frees its rate less both fees.

    shortage / (price (rate - fee) - price fund_fee), rounded down at each stage. -1 where no size
    does: the fees eat what closing frees.

    Source: Drift v2 `math/liquidation.rs`, calculate_base_asset_amount_to_cover_margin_shortage.
    """
    if price == 0 or rate <= fee:
        return -1
    worth = muldiv(price, quote_price, unit)
    frees = muldiv(worth, rate - fee, unit) - muldiv(price, fund_fee, unit)
    return muldiv(shortage, lot, frees) if frees > 0 else -1


@kernel
def staged_share(
    shortage: int, freed: int, elapsed: int, duration: int, first: int, small: int, unit: int
) -> int:
    """Return the share of ``shortage`` that may be covered by now.

    Of everything that was ever short, ``elapsed / duration + first`` may be freed, less what has
    been. Below ``small`` all of it at once; so it is where the duration is nothing.

    Source: Drift v2 `math/liquidation.rs`, calculate_max_pct_to_liquidate.
    """
    if shortage < small or shortage == 0:
        return unit
    passed = muldiv(elapsed, unit, duration) if duration > 0 else unit
    allowed = min(passed + first, unit)
    left = max(0, muldiv(shortage + freed, allowed, unit) - freed)
    return muldiv(left, unit, shortage)


@kernel
def fund_fee_left(
    shortage: int, size: int, price: int, quote_price: int, rate: int, fee: int, lot: int, unit: int
) -> int:
    """Return the largest fund fee of a close that does not itself bankrupt the account: 95 % of it.

    rate - fee - shortage / (size * price): what a full close leaves over. 0 where nothing is known.

    Source: Drift v2 `math/liquidation.rs`, calculate_perp_if_fee.
    """
    if price == 0 or quote_price == 0 or size == 0 or rate <= fee:
        return 0
    worth = muldiv(price, quote_price, unit)
    if worth == 0:
        return 0
    lack = muldiv(muldiv(shortage, lot, size), unit, worth)
    return max(0, rate - fee - lack) * 19 // 20


@kernel
def spot_fund_fee_left(
    shortage: int,
    amount: int,
    asset_weight: int,
    asset_multiplier: int,
    debt_weight: int,
    debt_multiplier: int,
    whole: int,
    price: int,
    unit: int,
) -> int:
    """Return what a repaid debt leaves over for the fund, as a rate of the debt.

    (w_debt - w_asset * premium / discount - shortage / (amount * price)) / w_debt; 0 where the
    weights leave nothing. ``whole`` is one unit of the debt's asset.

    Source: Drift v2 `math/liquidation.rs`, calculate_spot_if_fee.
    """
    if asset_weight >= debt_weight or price == 0 or amount == 0 or debt_multiplier == 0:
        return 0
    kept = muldiv(asset_weight, asset_multiplier, debt_multiplier)
    lack = muldiv(shortage * unit, whole, amount) // price
    return muldiv(max(0, max(0, debt_weight - kept) - lack), unit, debt_weight)


@kernel
def ramped_fee(fee: int, most: int, elapsed: int, grace: int, step: int) -> int:
    """Return a liquidator's fee that rises by ``step`` a slot once nobody came within ``grace``.

    Source: Drift v2 `math/liquidation.rs`, get_liquidation_fee.
    """
    if elapsed < grace:
        return fee
    return min(most, fee + elapsed * step)


@kernel
def debt_to_cover(
    shortage: int,
    asset_weight: int,
    asset_multiplier: int,
    debt_weight: int,
    debt_multiplier: int,
    up: int,
    down: int,
    price: int,
    fund_fee: int,
    unit: int,
    weight_unit: int,
) -> int:
    """Return the debt whose repayment covers ``shortage``, rounded down; -1 where none does.

    shortage / (price (w_debt - w_asset * premium / discount) - price fund_fee w_debt). Weights are
    counted in tenths of ``weight_unit``; ``up / down`` turns the quote's decimals into the debt's.

    Source: Drift v2 `math/liquidation.rs`, calculate_liability_transfer_to_cover_margin_shortage.
    """
    kept = muldiv(asset_weight * 10, asset_multiplier, debt_multiplier)
    if asset_weight >= debt_weight or kept >= debt_weight * 10:
        return -1
    frees = price * (debt_weight * 10 - kept)
    frees -= muldiv(price, fund_fee, unit) * debt_weight * 10
    if frees <= 0:
        return -1
    return muldiv(shortage * up, unit * weight_unit * 10, frees) // down


@kernel
def debt_for_asset(
    amount: int,
    asset_price: int,
    asset_multiplier: int,
    debt_price: int,
    debt_multiplier: int,
    up: int,
    down: int,
) -> int:
    """Return the debt repaid by seizing all of an asset, rounded up: never less than it is worth.

    Source: Drift v2 `math/liquidation.rs`, calculate_liability_transfer_implied_by_asset_amount.
    """
    paid = muldiv_up(amount * up * asset_price, debt_multiplier, debt_price * asset_multiplier)
    return -(-paid // down)


@kernel
def asset_for_debt(
    held: int,
    debt: int,
    asset_price: int,
    asset_multiplier: int,
    debt_price: int,
    debt_multiplier: int,
    up: int,
    down: int,
    value_up: int,
    value_down: int,
    dust: int,
    unit: int,
) -> int:
    """Return the asset seized for a repaid debt: rounded down, at least 1, all where dust remains.

    ``value_up / value_down`` turns the asset's decimals into the quote's, as the peer applies it.

    Source: Drift v2 `math/liquidation.rs`, calculate_asset_transfer_for_liability_transfer.
    """
    owed = muldiv(debt * up * debt_price, asset_multiplier, asset_price * debt_multiplier)
    seized = max(1, owed // down)
    rest = muldiv(abs(held - seized), asset_price, unit) * value_up // value_down
    return held if rest < dust else seized


@kernel
def swap_is_fair(
    asset: int,
    debt: int,
    asset_whole: int,
    debt_whole: int,
    asset_price: int,
    debt_price: int,
    asset_multiplier: int,
    debt_multiplier: int,
    unit: int,
) -> bool:
    """Return whether a swap pays at least what a liquidator would have: price for price.

    Source: Drift v2 `math/liquidation.rs`, validate_swap_within_liquidation_boundaries.
    """
    paid = muldiv(muldiv(debt, unit, debt_whole), asset_whole, asset)
    worst = muldiv(asset_price * unit, debt_multiplier, debt_price) // asset_multiplier
    return paid >= worst


@kernel
def shortage_of(
    base: int,
    quote: int,
    deposit: int,
    bids: int,
    asks: int,
    order_margin: int,
    price: int,
    rate: int,
    buffer: int,
    lot: int,
    unit: int,
) -> int:
    """Return what an account lacks against ``rate + buffer`` of its worst position; >= 0.

    Open orders count as if filled on the worse side; a loss is itself charged the buffer.
    """
    worst = max(abs(base + bids), abs(base - asks))
    due = muldiv(muldiv(worst, price, lot), rate + buffer, unit) + order_margin
    value = muldiv(abs(base), price, lot)
    profit = quote + (value if base >= 0 else -value)
    if profit < 0:
        due += muldiv(-profit, buffer, unit)
    return max(0, due - deposit - profit)


@kernel
def staged_call(
    account: I64,
    deposit: int,
    bids: int,
    asks: int,
    order_margin: int,
    price: int,
    rate: int,
    buffer: int,
    fee: int,
    fund_fee_max: int,
    elapsed: int,
    duration: int,
    first: int,
    small: int,
    share_unit: int,
    most: int,
    step: int,
    lot: int,
    unit: int,
) -> bool:
    """Let a liquidator take its turn; return whether the account has left liquidation.

    Orders are cancelled first and free the margin they held; then as much is closed as the stage
    allows and ``most`` asks for, rounded up to ``step``. ``account`` is [BASE, QUOTE, FREED] and
    changed in place; what was freed is forgotten once the whole shortage is covered.

    Source: Drift v2 `controller/liquidation.rs`, liquidate_perp.
    """
    args = (price, rate, buffer, lot, unit)
    base, quote = account[BASE], account[QUOTE]
    before = shortage_of(base, quote, deposit, bids, asks, order_margin, *args)
    shortage = shortage_of(base, quote, deposit, 0, 0, 0, *args)
    account[FREED] += before - shortage
    if shortage == 0:
        account[FREED] = 0
        return True
    both = rate + buffer
    left = fund_fee_left(shortage, abs(base), price, unit, both, fee, lot, unit)
    fund_fee = min(fund_fee_max, left)
    cover = cover_size(shortage, price, unit, both, fee, fund_fee, lot, unit)
    if cover < 0:
        cover = abs(base)
    cover = -(-cover // step) * step
    share = staged_share(shortage, account[FREED], elapsed, duration, first, small, share_unit)
    size = min(abs(base), most, muldiv(cover, share, share_unit))
    size = min(-(-size // step) * step, abs(base))
    if size == 0:
        return False
    value = muldiv(size, price, lot)
    paid = muldiv(value, fee, unit) + muldiv(value, fund_fee, unit)
    account[BASE] = base - size if base > 0 else base + size
    account[QUOTE] = quote - paid + (value if base > 0 else -value)
    rest = shortage_of(account[BASE], account[QUOTE], deposit, 0, 0, 0, *args)
    account[FREED] += max(0, shortage - rest)
    if size >= cover:
        account[FREED] = 0
        return True
    return False
