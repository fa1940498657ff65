"""`evolve` writes and never thinks: one branch an effect, none that depends on a policy."""

from struct import Struct

import numpy as np

from tidegate.domain.auctions import cut_all, open_all, reset_all
from tidegate.domain.backing import DEPOSITORS, OFFERS
from tidegate.domain.banded import NOTHING
from tidegate.domain.book import ACCOUNTS, move_all, post_all
from tidegate.domain.effects import (
    AccountsOpened,
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    BandMoved,
    BandsBelieved,
    BandsLaid,
    BandsLeft,
    BandsMoved,
    BidKept,
    BidsCleared,
    BreakerMoved,
    CapMoved,
    CommitmentKept,
    Decision,
    DeficitFound,
    Deleveraged,
    DepositMoved,
    DepthMoved,
    GuardMoved,
    Judged,
    JudgementOwed,
    MarginFollowed,
    MarketMoved,
    MarkMoved,
    ObservationKept,
    OrdersPlaced,
    OrdersReduced,
    ParameterMoved,
    ParameterScheduled,
    ParameterSettled,
    PeakMoved,
    PoolMoved,
    PositionsMoved,
    Posted,
    PostedBatch,
    PriceNoted,
    ProfileMoved,
    RungHeld,
    SignalKept,
    StableMoved,
    StagesTaken,
    ThrottleMoved,
    VolatilityMoved,
    WaitingMoved,
)
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.facts import GOVERNED
from tidegate.domain.judgement import AT
from tidegate.domain.orders import place_all, reduce_all
from tidegate.domain.payers import Decided
from tidegate.domain.restraint import (
    ANCHOR,
    ANCHORED_AT,
    CEILING,
    CEILING_UNTIL,
    LEVEL,
    PAUSED_UNTIL,
    RUNG_SINCE,
)
from tidegate.domain.units import unpack
from tidegate.engine.pace_kept import PACING, keep_pace
from tidegate.engine.state import LEVELS_MAX, State


ONE = Struct("<q")  # a column of one


def evolve(state: State, effect: Decision) -> None:
    """Apply one effect. Raise CapacityExceeded where a declared limit is reached."""
    match effect:
        case Posted():
            # Read-only, as a batch's columns are: one compiled version serves both.
            one, amount = unpack(ONE.pack(effect.credit)), unpack(ONE.pack(effect.amount))
            _posted(post_all(state.book, effect.debit, effect.asset, one, amount), 1)
        case PostedBatch():
            account, amount = unpack(effect.account), unpack(effect.amount)
            done = post_all(state.book, effect.counter, effect.asset, account, amount)
            _posted(done, account.size)
        case PositionsMoved():
            _move_positions(state, effect)
        case ObservationKept() | MarkMoved() | VolatilityMoved() | DepthMoved() | ProfileMoved():
            _move_market(state, effect)
        case OrdersPlaced():
            _place(state, effect)
        case OrdersReduced():
            _reduce(state, effect)
        case AuctionsOpened() | AuctionsReset() | AuctionsReduced():
            _auction(state, effect)
        case BidKept():
            _keep_bid(state, effect)
        case BidsCleared():
            state.bids.key[np.isin(state.bids.key, unpack(effect.bid))] = -1
        case StagesTaken():
            state.staged_at[unpack(effect.account)] = effect.at
        case ThrottleMoved(instrument=i, side=side):
            state.market.spent[i, side] = effect.spent
            state.market.spent_at[i, side] = effect.at
        case _ if isinstance(effect, PACING):
            keep_pace(state, effect)
        case AccountsOpened():
            _open_accounts(state, effect)
        case BreakerMoved():
            state.rung, state.calm_since = effect.rung, effect.calm_since
        case DeficitFound():
            state.lost += effect.amount
        case Deleveraged() if effect.fund_paid:
            state.lost += effect.deficit
        case PeakMoved():
            state.fund_peak, state.fund_peak_at = effect.peak, effect.at
        case SignalKept():
            state.signal[effect.slot] = effect.value
            state.signal_at[effect.slot] = effect.at
        case PriceNoted() | BandMoved() | MarketMoved() | StableMoved() | RungHeld():
            _restrain(state, effect)
        case MarginFollowed() | ParameterScheduled() | ParameterSettled() | ParameterMoved():
            _govern(state, effect)
        case Decided():
            state.paying.evolve(effect)
        case CommitmentKept() | WaitingMoved() | GuardMoved() | DepositMoved() | PoolMoved():
            _move_backing(state, effect)
        case CapMoved(slot=slot):
            state.cap_limit[slot], state.cap_moved_at[slot] = effect.limit, effect.at
        case BandsBelieved() | BandsLaid() | BandsMoved() | BandsLeft():
            _move_bands(state, effect)
        case JudgementOwed() | Judged():
            _judge(state, effect)
        case _:
            pass  # Rejected, HealthMoved, LimitsHeld and other receipts: words, not deeds


def _govern(state: State, effect: Decision) -> None:
    match effect:
        case MarginFollowed(instrument=i):
            state.charged[i] = effect.charged
        case ParameterScheduled(slot=k):
            pending = state.pending
            pending.column[k] = GOVERNED.index(effect.column) + 1
            pending.row[k], pending.at[k] = effect.row, effect.at
            pending.start[k], pending.target[k] = effect.start, effect.target
        case ParameterSettled(slot=k):
            for column in state.pending:
                column[k] = 0
        case ParameterMoved(column="pause"):
            state.restraint.pause[effect.row] = effect.value
        case ParameterMoved():
            getattr(state.facts, effect.column)[effect.row] = effect.value
        case _:
            raise AssertionError(effect)


def _posted(done: int, asked: int) -> None:
    if done < asked:
        msg = "positions_max rows are in use; raise limits.positions_max and restart"
        raise CapacityExceeded(msg)


def _move_positions(state: State, effect: PositionsMoved) -> None:
    account, instrument = unpack(effect.account), unpack(effect.instrument)
    lots, cost = unpack(effect.lots), unpack(effect.cost)
    _posted(move_all(state.book, account, instrument, lots, cost), account.size)


def _move_market(state: State, effect: Decision) -> None:
    m = state.market
    match effect:
        case ObservationKept(instrument=i, source=s):
            m.seen_price[i, s], m.seen_width[i, s] = effect.price, effect.confidence
            m.seen_at[i, s] = effect.published
        case MarkMoved(instrument=i):
            m.mark[i], m.low[i], m.high[i] = effect.price, effect.low, effect.high
            m.index_price[i], m.basis[i] = effect.index, effect.basis
            m.pending[i], m.pending_at[i] = effect.pending, effect.pending_at
            m.quality[i], m.marked_at[i] = effect.quality, effect.at
            m.average[i] = effect.average
        case VolatilityMoved(instrument=i):
            m.variance[i], m.anchor[i] = effect.variance, effect.anchor
            m.anchored_at[i], m.deviations[i] = effect.anchored_at, effect.deviations
        case DepthMoved(instrument=i):
            for side, (price, lots) in enumerate(
                ((effect.bid_price, effect.bid_lots), (effect.ask_price, effect.ask_lots))
            ):
                n = min(len(price) // 8, LEVELS_MAX)
                m.levels[i, side] = n
                m.depth_price[i, side, :n] = unpack(price)[:n]
                m.depth_lots[i, side, :n] = unpack(lots)[:n]
        case ProfileMoved(instrument=i):
            m.near[i] = effect.near
        case _:
            raise AssertionError(effect)


def _restrain(state: State, effect: Decision) -> None:
    r = state.restraint
    match effect:
        case PriceNoted(instrument=i, ring=ring, cell=cell):
            r.ring_at[i, ring, cell], r.ring_seen[i, ring, cell] = effect.at, effect.count
            r.ring_low[i, ring, cell], r.ring_high[i, ring, cell] = effect.low, effect.high
            r.ring_total[i, ring, cell] = effect.total
        case BandMoved(instrument=i):
            r.reference[i], r.reference_at[i] = effect.reference, effect.reference_at
            r.low[i], r.high[i] = effect.low, effect.high
            r.phase[i], r.since[i], r.until[i] = effect.phase, effect.since, effect.until
            if effect.emptied:
                r.ring_seen[i] = 0
        case MarketMoved():
            r.market[[LEVEL, ANCHOR]] = effect.level, effect.anchor
            r.market[[ANCHORED_AT, PAUSED_UNTIL]] = effect.anchored_at, effect.until
        case StableMoved(instrument=i):
            r.stable[i], r.delays[i] = unpack(effect.cells), unpack(effect.delays)
        case RungHeld():
            r.market[[RUNG_SINCE, CEILING]] = effect.since, effect.ceiling
            r.market[CEILING_UNTIL] = effect.until
        case _:
            raise AssertionError(effect)


def _move_backing(state: State, effect: Decision) -> None:
    b = state.backing
    match effect:
        case CommitmentKept(slot=k):
            b.offer_account[k], b.offer_instrument[k] = effect.account, effect.instrument
            b.offer_long[k], b.offer_short[k] = effect.long_max, effect.short_max
            b.offer_discount[k], b.offer_slope[k] = effect.discount, effect.slope
            b.counts[OFFERS] = max(int(b.counts[OFFERS]), k + 1)
        case WaitingMoved():
            b.since[unpack(effect.begun)], b.since[unpack(effect.over)] = effect.at, -1
        case GuardMoved():
            i, owner = unpack(effect.instrument), unpack(effect.owner)
            b.market_spent[i], b.market_at[i] = unpack(effect.market_spent), effect.at
            b.owner_spent[owner], b.owner_at[owner] = unpack(effect.owner_spent), effect.at
        case DepositMoved(slot=k):
            b.deposit_account[k], b.deposit[k] = effect.account, effect.deposit
            b.deposit_product[k], b.deposit_scale[k] = effect.product, effect.scale
            b.deposit_sum[k] = unpack(effect.sums)
            b.counts[DEPOSITORS] = max(int(b.counts[DEPOSITORS]), k + 1)
            b.pool[0] = effect.deposits
        case PoolMoved():
            b.pool[:] = effect.deposits, effect.product, effect.scale
            b.pool_sum[unpack(effect.asset), effect.at_scale] = unpack(effect.sums)
            b.pool_kept[unpack(effect.asset)] = unpack(effect.kept)
        case _:
            raise AssertionError(effect)


def _move_bands(state: State, effect: Decision) -> None:
    b = state.banded
    match effect:
        case BandsBelieved(instrument=i):
            b.price[i], b.fee[i], b.at[i] = effect.price, effect.fee, effect.at
        case BandsLaid(account=a):
            b.asset[a], b.top[a], b.active[a] = effect.instrument, effect.top, 0
            b.x[a], b.y[a] = 0, unpack(effect.y)
        case BandsMoved():
            account = unpack(effect.account)
            b.active[account] = unpack(effect.active)
            b.x[account] = unpack(effect.x).reshape(account.size, -1)
            b.y[account] = unpack(effect.y).reshape(account.size, -1)
        case BandsLeft(account=a):
            b.asset[a], b.top[a], b.active[a] = NOTHING, 0, 0
            b.x[a], b.y[a] = 0, 0
        case _:
            raise AssertionError(effect)


def _judge(state: State, effect: JudgementOwed | Judged) -> None:
    j, m = state.judgement, state.market
    match effect:
        case JudgementOwed(instrument=i):
            j.owed[i] = 1
        case Judged():
            # What this event moved is applied by now: the marks as they stand are the judged ones.
            j.mark[:], j.low[:], j.high[:] = m.mark, m.low, m.high
            j.owed[:], j.at[AT] = 0, effect.at


def _place(state: State, effect: OrdersPlaced) -> None:
    account, instrument = unpack(effect.account), unpack(effect.instrument)
    if state.orders.counts[0] < account.size:
        msg = (
            f"orders_max = {state.orders.key.size:_} orders are in flight and {account.size:_} "
            "more are due; raise limits.orders_max and restart"
        )
        raise CapacityExceeded(msg)
    lots, limit = unpack(effect.lots), unpack(effect.limit)
    done = place_all(
        state.orders, state.book, effect.first, account, instrument, lots, limit, effect.at
    )
    assert done == account.size, "an order without a position"


def _reduce(state: State, effect: OrdersReduced) -> None:
    order, lots, closed = unpack(effect.order), unpack(effect.lots), unpack(effect.closed)
    done = reduce_all(state.orders, state.book, order, lots, closed)
    assert done == order.size, "an order that is not in flight was reduced"


def _auction(state: State, effect: AuctionsOpened | AuctionsReset | AuctionsReduced) -> None:
    auctions, book = state.auctions, state.book
    match effect:
        case AuctionsOpened():
            columns = (effect.account, effect.instrument, effect.lots, effect.base, effect.limit)
            account, instrument, lots, base, limit = (unpack(c) for c in columns)
            assert auctions.counts[0] >= account.size, "an auction without a slot"
            done = open_all(
                auctions, book, effect.first, account, instrument, lots, base, limit, effect.at
            )
            asked = account.size
        case AuctionsReset():
            auction = unpack(effect.auction)
            base, limit = unpack(effect.base), unpack(effect.limit)
            done, asked = reset_all(auctions, auction, base, limit, effect.at), auction.size
        case AuctionsReduced():
            auction, lots = unpack(effect.auction), unpack(effect.lots)
            penalty, closed = unpack(effect.penalty), unpack(effect.closed)
            done = cut_all(auctions, book, auction, lots, penalty, closed)
            asked = auction.size
    assert done == asked, "an auction that is not open, or has no position"


def _keep_bid(state: State, effect: BidKept) -> None:
    bids, slot = state.bids, state.bids.slot(effect.bid)
    slot = state.bids.free() if slot < 0 else slot
    assert slot >= 0, "a bid without a slot"
    bids.key[slot], bids.auction[slot], bids.bidder[slot] = (
        effect.bid,
        effect.auction,
        effect.bidder,
    )
    bids.lots[slot], bids.limit[slot] = effect.lots, effect.limit
    bids.bond[slot], bids.nonce[slot] = effect.bond, effect.nonce
    bids.seal[slot] = unpack(effect.seal) if effect.seal else 0


def _open_accounts(state: State, effect: AccountsOpened) -> None:
    book = state.book
    first, n = book.accounts, len(effect.names)
    if first + n > book.cash.size:
        msg = (
            f"accounts_max = {book.cash.size:_} rows cannot hold {first + n:_} accounts; "
            "raise limits.accounts_max and restart"
        )
        raise CapacityExceeded(msg)
    book.owner[first : first + n] = unpack(effect.owner)
    book.counts[ACCOUNTS] = first + n
    state.names.extend(effect.names)
