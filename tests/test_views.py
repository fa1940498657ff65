"""What the API shows is what the engine would find: every view against an independent count."""

import re
from contextlib import suppress
from decimal import Decimal, localcontext

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sales import opened
from tests.test_batches import BATCH, SEALED, bid

from crash_world import feed
from crash_world import stack_of as crash_stack
from names import reading
from strategies import ALL, GOVERNED, GUARDED, STACKS, VENUE, drawn, unfold
from tidegate.api import asks
from tidegate.domain.book import FIRST_USER, FUND
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.units import MONEY_MAX, PPM
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.engine.watch import health_moved
from tidegate.kernels.edge import NOWHERE, edge_sizes, liquidation_ticks, slack_at
from tidegate.kernels.value import notional
from tidegate.service.views import (
    instruments_now,
    liquidation_map,
    profile_now,
    tranches_now,
    venue_now,
)
from tidegate.service.views_accounts import account_columns, account_now, entry_ticks
from tidegate.service.views_desk import auctions_now, orders_now
from tidegate.service.views_health import Edge, edge_now, facts_judged, health_now, nearest
from tidegate.service.views_words import (
    account_name,
    account_row,
    decimal_text,
    money_text,
    price_text,
    quantity_text,
)


SEEDS = range(4)


def worlds(moves: int = 120):
    """Yield states of every stack of the toy venue, whatever has happened to them."""
    for which in ALL:
        for seed in SEEDS:
            history = drawn(seed, moves, which)
            world = None
            for world, event in unfold(history):
                with suppress(CapacityExceeded):
                    world.take(event)
            if world is not None:
                yield world.state, STACKS[which]


@pytest.fixture(scope="module")
def states() -> list:
    return list(worlds())


@pytest.fixture(scope="module")
def crash() -> tuple:
    """Return a sinking market with orders in flight: nobody answers them."""
    stack = crash_stack()
    state = State.genesis(stack)
    for event in feed(900, 5):
        step(state, event, stack)
    assert state.orders.counts[1]
    return state, stack


SIZES = ("1", "0.1", "0.001", "0.000001", "0.00000001", "5", "0.25", "1E+2", "0.000000000000000001")
PATTERN = re.compile(next(m.pattern for m in asks.Decimal.__metadata__))


@given(st.integers(-MONEY_MAX, MONEY_MAX), st.sampled_from(SIZES))
def test_a_decimal_says_exactly_what_the_door_would_make_of_it(units, size):
    text = decimal_text(units, size)
    with localcontext(prec=80):
        assert Decimal(text) / Decimal(size) == units
    assert PATTERN.match(text)
    assert "E" not in text
    assert text == "0" or not re.search(r"\.\d*0$|^-?0\d", text)


def test_a_spot_balance_counts_smallest_units():
    """As at the door of recordings, where ``lot_size`` is the size of one smallest unit."""
    eth = msgspec.structs.replace(VENUE.instruments[1], lot_size="0.000001", units=1_000_000)
    assert quantity_text(eth, 1_500_000) == "1.5"
    assert price_text(eth, 2_000) == "2000"


def test_the_venue_s_own_accounts_have_names(crash):
    now = reading(*crash)
    for row in range(FIRST_USER):
        name = account_name(now.names, row, now.stack)
        assert name.startswith("venue:")
        assert account_row(now.names, name, now.stack) == row
    assert account_name(now.names, FUND, now.stack) == "venue:fund:fund"
    assert account_row(now.names, "venue:nothing", now.stack) == -1
    assert account_row(now.names, "account 3", now.stack) == FIRST_USER + 3
    assert account_row(now.names, "nobody", now.stack) == -1


def test_an_account_is_judged_as_the_sweep_judges_it(states):
    seen = {True: 0, False: 0}
    for state, stack in states:
        now, health = reading(state, stack), health_now(state, stack)
        for row in range(FIRST_USER, state.book.accounts):
            found = account_now(now, row)
            assert found.equity == money_text(int(health.equity[row]))
            assert found.maintenance == money_text(int(health.required[row]))
            assert found.liquidatable == (health.best[row] < 0)
            assert found.bankrupt == (health.best[row] < 0 and health.equity[row] < 0)
            assert found.cash == money_text(int(state.book.cash[row]))
            held = sum(
                Decimal(p.pnl) if Decimal(p.entry) else Decimal(p.value) for p in found.positions
            )
            if all(state.mark):
                assert abs(Decimal(found.cash) + held - Decimal(found.equity)) == 0
            seen[found.liquidatable] += 1
    assert min(seen.values()) > 20, seen


def test_the_venue_s_own_accounts_can_be_looked_at(states):
    for state, stack in states[:4]:
        for row in range(FIRST_USER):
            found = account_now(reading(state, stack), row)
            assert not found.liquidatable
            assert found.initial == found.maintenance == "0"


def at_price(state: State, stack, i: int, price: int):
    """Return everybody's health if the price of ``i`` were this, and certain."""
    mark = state.mark.copy()
    mark[i] = price
    return stack.declaration.margin.assess(
        state.book, facts_judged(state, stack), mark=mark, low=mark, high=mark
    )


def test_the_liquidation_price_is_the_edge_of_the_sweep(states):
    """One tick on the favourable side of it nobody would touch the account."""
    found, never, beyond = 0, 0, 0
    for state, stack in states:
        if stack.declaration.margin.group_tiers or not all(state.mark):
            continue
        facts = facts_judged(state, stack)
        for row in range(state.book.high):
            account, i = int(state.book.account[row]), int(state.book.instrument[row])
            if account < FIRST_USER or not state.book.lots[row]:
                continue
            low, high = max(1, int(facts.price_min[i])), int(facts.price_max[i])
            price = liquidation_ticks(state.book, facts, state.mark, account, i, 0)

            def bad(at: int, state=state, stack=stack, i=i, account=account) -> bool:
                return bool(at_price(state, stack, i, at).best[account] < 0)

            if price == NOWHERE:
                assert bad(low) == bad(high)
                never += 1
                continue
            found += 1
            assert bad(price)
            better = 1 if bad(low) else -1
            assert not bad(price + better)
            beyond += bad(int(state.mark[i]))
            for at in np.linspace(low, high, 23).astype(int).tolist():
                assert bad(at) == ((at - price) * better <= 0)
    assert found > 100, (found, never)
    assert never > 10
    assert beyond > 5, "of accounts that are liquidatable already, it is where they would not be"


def test_slack_is_the_sweep_s(states):
    for state, stack in states:
        if stack.declaration.margin.group_tiers or not all(state.mark):
            continue
        facts, mark = facts_judged(state, stack), state.mark
        health = stack.declaration.margin.assess(state.book, facts, mark=mark, low=mark, high=mark)
        for account in range(FIRST_USER, state.book.accounts):
            assert slack_at(state.book, facts, mark, account) == health.best[account]


def test_groups_and_waits_shift_the_edge(states):
    """What an account owes because of its siblings is asked for at every price."""
    shown = 0
    for state, stack in states:
        if stack is not STACKS[GOVERNED]:
            continue
        for row in range(FIRST_USER, state.book.accounts):
            account = account_now(reading(state, stack), row)
            shown += sum(p.liquidation_price is not None for p in account.positions)
    assert shown


def test_accounts_come_nearest_first_in_pages_without_gap_or_overlap(states, crash):
    for state, stack in [*states, crash]:
        now, edge = reading(state, stack), edge_now(state, stack)
        whole = account_columns(edge, 0, 100_000, now.names.name)
        assert whole.total == len(whole.account) == np.unique(edge.account).size
        assert whole.distance == sorted(whole.distance)
        pages = [account_columns(edge, k, 3, now.names.name) for k in range(0, whole.total, 3)]
        assert [a for page in pages for a in page.account] == whole.account
        assert account_columns(edge, whole.total, 5, now.names.name).account == []
        for n, place in enumerate(nearest(edge, 0, whole.total).tolist()):
            one = account_now(now, int(edge.account[place]))
            assert one.name == whole.account[n]
            assert float(one.equity) == pytest.approx(whole.equity[n])
            assert float(one.maintenance) == pytest.approx(whole.maintenance[n])
            assert one.distance == pytest.approx(whole.distance[n])


def test_ties_are_kept_together_by_account():
    distance = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.3])
    zeros = np.zeros(6, np.int64)
    edge = Edge(0, 0, np.arange(6), zeros, zeros, zeros.astype(float), distance)
    assert nearest(edge, 0, 2).tolist() == [1, 2]
    assert nearest(edge, 2, 2).tolist() == [3, 4]
    assert nearest(edge, 4, 9).tolist() == [5, 0]


def test_sizes_are_the_notionals(states):
    for state, _ in states:
        out = np.zeros(state.book.accounts)
        edge_sizes(state.book, state.facts, state.mark, out)
        count = np.zeros(state.book.accounts)
        for row in range(state.book.high):
            i, account = int(state.book.instrument[row]), int(state.book.account[row])
            if account >= FIRST_USER and state.mark[i]:
                count[account] += notional(
                    state.facts, i, int(state.book.lots[row]), int(state.mark[i])
                )
        assert np.allclose(out, count, rtol=1e-9, atol=10)


def test_the_venue_sums_what_its_accounts_are(states):
    for state, stack in states:
        now = reading(state, stack)
        found = venue_now(now)
        accounts = [account_now(now, row) for row in range(FIRST_USER, state.book.accounts)]
        assert found.liquidatable == sum(a.liquidatable for a in accounts)
        assert found.bankrupt == sum(a.bankrupt for a in accounts)
        assert Decimal(found.required) == sum(Decimal(a.maintenance) for a in accounts)
        assert found.positions == sum(len(a.positions) for a in accounts)
        assert found.accounts == len(accounts)
        assert (found.seq, found.ts) == (state.seq - 1, state.now)
        told, _ = health_moved(health_now(state, stack))
        assert venue_now(now, told) == found
        assert Decimal(found.fund) == sum(
            (Decimal(t.balance) for t in tranches_now(state, stack)), Decimal(0)
        )


def test_instruments_are_what_is_believed_of_them(states):
    budgets = 0
    for state, stack in states:
        for i, found in enumerate(instruments_now(reading(state, stack))):
            of = stack.venue.instruments[i]
            assert Decimal(found.mark) == Decimal(of.tick_size) * int(state.mark[i])
            assert (
                Decimal(found.low) <= Decimal(found.mark) <= Decimal(found.high)
                or not state.mark[i]
            )
            assert len(found.bids) == state.market.levels[i, 0]
            if found.budget is not None:
                budgets += 1
                assert Decimal(found.spent_sells) >= 0
            if stack is not STACKS[GUARDED]:
                assert found.budget in {None, "0"}  # 0: a rung on which nothing is sold
    assert budgets


def test_the_map_counts_each_position_once_and_the_profile_is_its_ratio(crash):
    state, stack = crash
    now = reading(state, stack)
    for i in range(2):
        found, profile = liquidation_map(now, i), profile_now(now, i)
        width, n = found.width, len(found.forced_down)
        health = at_price(state, stack, i, int(state.mark[i]))
        best = [0.0] * n
        for row in range(state.book.high):
            account, lots = int(state.book.account[row]), int(state.book.lots[row])
            if account < FIRST_USER or int(state.book.instrument[row]) != i or lots <= 0:
                continue
            size = lots * int(state.mark[i]) * 100
            away = max(0.0, health.best[account] / (size * 0.95))
            if away < n * width:
                best[int(away / width)] += lots * 0.001
        assert sum(best) > 0
        assert np.allclose(best, found.forced_down)
        for forced, depth, ratio in (
            (found.forced_down, found.bid_depth, profile.down),
            (found.forced_up, found.ask_depth, profile.up),
        ):
            for f, d, r in zip(forced, depth, ratio, strict=True):
                if f and d:
                    assert r == pytest.approx(f / d, abs=1e-5)
        assert profile.near == pytest.approx(state.market.near[i] / PPM, rel=0.5)


def test_before_the_first_price_views_are_empty_and_not_wrong():
    stack = crash_stack()
    now = reading(State.genesis(stack), stack)
    assert venue_now(now).seq == -1
    assert instruments_now(now)[0].mark == "0"
    assert sum(profile_now(now, 0).down) == sum(liquidation_map(now, 0).bid_depth) == 0
    assert edge_now(now.state, stack).account.size == 0


def test_orders_in_flight_are_listed_with_their_accounts(crash):
    state, stack = crash
    now = reading(state, stack)
    found = orders_now(now)
    assert len(found) == state.orders.counts[1]
    assert [o.order for o in found] == sorted(o.order for o in found)
    for one in found:
        account = account_now(now, account_row(now.names, one.account, stack))
        assert one in account.orders
        position = next(p for p in account.positions if p.instrument == one.instrument)
        assert position.in_flight == one.quantity
    assert orders_now(now, limit=1) == found[:1]


def test_an_auction_is_shown_as_a_bidder_would_get_it():
    desk, auction = opened()
    (found,) = auctions_now(reading(desk.state, desk.stack))
    assert (found.auction, found.kind, found.quantity) == (auction, "dutch", "100")
    assert found.asking == "95.88"  # 2 % above the mark it was set from
    assert found.closes_at is None
    desk.tick(3)
    assert Decimal(auctions_now(reading(desk.state, desk.stack))[0].asking) < Decimal(found.asking)


def test_batches_say_until_when_they_collect():
    desk, auction = opened(BATCH)
    bid(desk, auction, 10, 10_000)
    (found,) = auctions_now(reading(desk.state, desk.stack))
    assert (found.kind, found.asking, found.bids) == ("batch", None, 1)
    assert found.closes_at == found.opened_at + BATCH.window_ns
    assert found.reveal_at is None
    desk, _ = opened(SEALED)
    (found,) = auctions_now(reading(desk.state, desk.stack))
    assert found.kind == "sealed"
    assert found.reveal_at == found.opened_at + SEALED.window_ns + SEALED.reveal_ns


def test_the_entry_is_the_price_that_was_paid(states):
    for state, _ in states:
        for row in range(state.book.high):
            i, lots, cost = (
                int(c[row]) for c in (state.book.instrument, state.book.lots, state.book.cost)
            )
            if state.facts.kind[i] == 0 and lots:
                at = entry_ticks(state, i, lots, cost)
                per = lots * int(state.facts.tick_value[i])
                assert abs(cost - at * per) * 2 <= abs(per)
