"""Bands, limit states, pauses and flags: what they stop, whom they let through, until when."""

from importlib.resources import as_file, files
from itertools import takewhile

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, flat, perp, rows_of, rules, venue_of
from tidegate.domain.effects import (
    BandMoved,
    Deleveraged,
    MarketMoved,
    OrdersPlaced,
    ParameterMoved,
    PositionsMoved,
    Posted,
    Rejected,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Deposited, ParameterChanged, Traded, Withdrawn
from tidegate.domain.restraint import ACTIONS, CELLS, pause_row
from tidegate.domain.units import SECOND
from tidegate.drivers.recording import load
from tidegate.drivers.replay import Replay
from tidegate.drivers.synthetic import make
from tidegate.drivers.verdict import Meter
from tidegate.engine.explain import explain
from tidegate.engine.state import State
from tidegate.kernels.bands_limit import LIMIT, NORMAL, PAUSED
from tidegate.ports import Record
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.price_bands import BandRule, MarketLevels, PriceBands
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Waterfall


def bands(default: BandRule | None = None, **changes) -> PriceBands:
    named = {"instruments": {"*": default or BandRule(width=50_000)}}
    return PriceBands(**(named | changes))


def banded(default: BandRule | None = None, *, venue=None, **changes) -> Desk:
    policies = {k: changes.pop(k) for k in ("planner", "waterfall", "margin") if k in changes}
    policies = {"margin": rules(flat())} | policies
    d = Desk(venue or venue_of(perp()), bands=bands(default, **changes), **policies)
    d.users([10**9, 10**9, 10**9], [(0, 0, 100, 10_000), (1, 0, -100, 10_000)])
    d.price(10_000)
    return d


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def phase(d: Desk, i: int = 0) -> int:
    return int(d.state.restraint.phase[i])


def withdrawn(d: Desk, user: int, amount: int = 1, asset: int = -1) -> Withdrawn:
    return Withdrawn(ts=d.now, account=U + user, amount=amount, asset=asset)


# The file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda: bands(BandRule(width=1_000_000)), "bands.instruments.*"),
        (lambda: bands(BandRule(rolling=-1)), "bands.instruments.*.rolling"),
        (lambda: bands(BandRule(rolling=10, velocity=11)), "bands.instruments.*.velocity"),
        (lambda: bands(reference_ns=CELLS - 1), "bands.reference_ns"),
        (lambda: bands(pause_ns=0), "bands.pause_ns"),
        (lambda: bands(limit_ns=-1), "bands.limit_ns"),
        (lambda: bands(recentre="middle"), "bands.recentre"),
        (lambda: MarketLevels(levels=()), "bands.market.levels"),
        (lambda: MarketLevels(levels=(2, 2)), "bands.market.levels"),
        (lambda: MarketLevels(levels=(0, 2)), "bands.market.levels"),
        (lambda: MarketLevels(levels=(1_000_000,)), "bands.market.levels"),
        (lambda: MarketLevels(pause_ns=2, window_ns=1), "bands.market.pause_ns"),
    ],
)
def test_what_is_refused(build, where):
    with pytest.raises(ConfigInvalid) as e:
        build()
    assert e.value.where == where


def test_what_stands_at_the_edge_is_accepted():
    bands(BandRule(width=999_999, rolling=10, velocity=10), reference_ns=CELLS, pause_ns=1)
    MarketLevels(levels=(1, 999_999), pause_ns=1, window_ns=1)


@pytest.mark.parametrize(
    "policy",
    [
        PriceBands(instruments={"OTHER": BandRule(width=1)}),
        PriceBands(market=MarketLevels(symbol="OTHER")),
    ],
)
def test_a_symbol_must_be_the_venues(policy):
    with pytest.raises(ConfigInvalid, match="PERP"):
        Desk(venue_of(perp()), bands=policy)


def test_the_policy_in_words():
    said = "\n".join(bands(BandRule(width=50_000, rolling=60_000, velocity=10_000)).describe())
    assert "within 5 % of the mean of 300 s; 15 s at the band pause it for 300 s" in said
    assert "6 % from the extremes of 3600 s pause it for 120 s" in said
    assert "1 % within 5 s pause it for 5 s" in said
    assert "7, 13, 20 %" in "\n".join(PriceBands(market=MarketLevels(symbol="X")).describe())
    assert PriceBands().describe() == []


# Neutral --------------------------------------------------------------------------------------


def test_without_bands_nothing_is_said_and_nothing_is_kept():
    d = Desk(venue_of(perp()), margin=rules(flat()))
    d.users([10**9], [(0, 0, 10, 10_000)])
    for price in (10_000, 5_000, 20_000):
        effects = d.later(1).price(price)
        assert not d.of((BandMoved, MarketMoved), effects)
    assert not d.state.restraint.stirred()
    assert not any(name.startswith("restraint") for name, _ in d.state.columns())


# The limit state ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "found"),
    [(9_501, NORMAL), (9_500, LIMIT), (10_499, NORMAL), (10_500, LIMIT), (9_000, LIMIT)],
)
def test_a_price_at_its_band_begins_a_limit_state(price, found):
    d = banded()
    d.later(1).price(price)
    assert phase(d) == found


@pytest.mark.parametrize(("seconds", "found"), [(14.999, LIMIT), (15, PAUSED)])
def test_after_fifteen_seconds_at_the_band_comes_a_pause(seconds, found):
    d = banded()
    d.later(1).price(9_400)
    d.tick(seconds)
    assert phase(d) == found


def test_leaving_the_band_forgets_the_touch():
    d = banded()
    d.later(1).price(9_400)
    d.later(14).price(9_600)
    assert phase(d) == NORMAL
    d.later(1).price(9_400)
    d.tick(14)
    assert phase(d) == LIMIT


def test_a_pause_that_was_due_unseen_began_when_it_was_due():
    d = banded()
    d.later(1).price(9_400)
    (moved,) = d.of(BandMoved, d.later(100).price(10_000))
    assert (moved.phase, moved.reason) == (PAUSED, "limit")
    assert moved.until == d.now - 85 * SECOND + 300 * SECOND


@pytest.mark.parametrize(("seconds", "found"), [(314.999, PAUSED), (315, NORMAL)])
def test_a_pause_ends_and_the_band_begins_anew_at_the_price(seconds, found):
    d = banded()
    d.later(1).price(9_000)
    d.tick(15)
    effects = d.tick(seconds - 15)
    assert phase(d) == found
    if found == NORMAL:
        assert [e.reason for e in d.of(BandMoved, effects)] == ["reopened", "followed"]
        assert (d.state.restraint.low[0], d.state.restraint.high[0]) == (8_550, 9_450)


def test_or_at_the_limit_that_was_hit():
    d = banded(recentre="limit")
    d.later(1).price(9_000)
    d.tick(15)
    d.tick(300)
    assert d.state.restraint.reference[0] == 9_500
    assert phase(d) == LIMIT  # 9,000 lies below 9,025: one limit at a time


@pytest.mark.parametrize(
    ("price", "middle"), [(9_500, 9_500), (9_000, 9_500), (10_500, 10_500), (11_000, 10_500)]
)
def test_the_limit_is_one_of_both_ends(price, middle):
    d = banded(recentre="limit")
    d.later(1).price(price)
    d.tick(15)
    d.tick(300)
    assert d.state.restraint.reference[0] == middle


def test_the_reference_follows_the_mean_only_so_often_and_so_far():
    d = banded()
    for _ in range(29):
        d.later(1).price(10_300)
    assert d.state.restraint.reference[0] == 10_000  # has not stood for 30 s
    d.later(1).price(10_300)
    assert 10_100 < d.state.restraint.reference[0] < 10_300  # 30 prices of 10,300 and one of 10,000
    known = int(d.state.restraint.reference[0])
    for _ in range(60):
        d.later(1).price(10_330)
    assert d.state.restraint.reference[0] == known  # never a whole per cent away from it


# Who is stopped, and who is let through -------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "refused"),
    [(9_500, []), (9_499, ["price_outside_band"]), (10_500, []), (10_501, ["price_outside_band"])],
)
def test_nothing_is_opened_outside_the_band(price, refused):
    d = banded()
    assert codes(d.send(d.trade(2, 1, price))) == refused


def test_reducing_is_never_stopped_by_a_band_or_a_pause():
    d = banded()
    assert codes(d.send(d.trade(0, -10, 9_000))) == []
    d.later(1).price(9_400)
    d.tick(15)
    assert phase(d) == PAUSED
    assert codes(d.send(d.trade(0, -10, 9_400))) == []
    assert codes(d.send(d.trade(1, 10, 9_400))) == []
    assert codes(d.send(d.trade(0, 10, 9_400))) == ["instrument_paused"]
    assert codes(d.send(d.trade(0, -81, 9_400))) == ["instrument_paused"]  # through zero is opening
    # The other side of a reducing trade opens: it is refused as the opener it is.
    assert codes(d.send(d.trade(0, -10, 9_400, maker=U + 2))) == ["instrument_paused"]


def test_a_pause_is_over_for_trades_at_its_end():
    d = banded()
    d.later(1).price(9_600)
    d.later(1).price(9_400)
    d.tick(15)
    until = int(d.state.restraint.until[0])
    for ts, refused in ((until - 1, ["instrument_paused"]), (until, [])):
        event = Traded(ts=ts, instrument=0, taker=U + 2, maker=0, lots=1, price=9_600)
        assert codes(d.ask(event)) == refused


def test_settled_trades_have_happened():
    d = banded()
    assert codes(d.send(d.trade(2, 1, 9_000, settled=True))) == []


def test_nobody_is_paid_by_a_paused_price():
    d = banded(venue=venue_of(perp(), perp("OTHER")))
    d.price(10_000, 1)
    d.later(1).price(9_400)
    assert codes(d.send(withdrawn(d, 0))) == []
    d.tick(15)
    assert codes(d.send(withdrawn(d, 0))) == ["instrument_paused"]
    assert codes(d.send(withdrawn(d, 2))) == []  # holds nothing there
    assert codes(d.send(Deposited(ts=d.now, account=U, amount=1))) == []


def forced(default=None, **changes) -> Desk:
    """Return a desk whose user 0 is liquidatable from 9,940 on, with depth on both sides."""
    d = Desk(
        venue_of(perp()),
        margin=rules(flat()),
        bands=bands(default, **changes),
        planner=StagedPlanner(unknown_depth=10**12, depth_share=1_000_000),
        waterfall=Waterfall(deleverage="queue"),
    )
    d.users([60_000_000, 10**12], [(0, 0, 100, 10_000), (1, 0, -100, 10_000)])
    d.price(10_000)
    return d


def test_a_band_binds_forced_orders_too():
    d = forced(BandRule(width=50_000))
    (placed,) = d.of(OrdersPlaced, d.later(1).price(9_501))
    assert rows_of(placed, "lots", "limit")[0][0] == -100
    assert rows_of(placed, "limit")[0][0] >= 9_500
    tight = forced(BandRule(width=5_000))
    (placed,) = tight.of(OrdersPlaced, tight.later(1).price(9_501))
    assert rows_of(placed, "limit") == [(9_950,)]  # the touch is the end of the band


def test_in_a_pause_nothing_is_forced_and_nobody_deleveraged():
    d = forced(BandRule(width=50_000, velocity=10_000))
    effects = d.later(1).price(9_000)  # bankrupt, and too fast
    assert phase(d) == PAUSED
    assert not d.of((OrdersPlaced, Deleveraged), effects)
    effects = d.tick(4.999)
    assert not d.of((OrdersPlaced, Deleveraged), effects)
    effects = d.tick(0.001)
    assert phase(d) == NORMAL
    assert d.of(Deleveraged, effects)


def test_what_bands_change_is_told_by_the_same_prices_without_them():
    found = []
    for rule in (BandRule(), BandRule(velocity=10_000)):
        d = forced(rule)
        found.append([bool(d.of(OrdersPlaced, d.later(1).price(p))) for p in (9_950, 9_800)])
    assert found[0] != found[1]


# Rolling windows, velocity, market-wide levels ------------------------------------------------


@pytest.mark.parametrize(("price", "found"), [(9_650, NORMAL), (9_649, PAUSED)])
def test_a_rolling_band_remembers_its_high(price, found):
    d = banded(BandRule(rolling=35_000), reference_step=1_000_000)
    d.later(1_800).price(9_900)
    d.later(1_700).price(price)
    assert phase(d) == found


def test_the_high_leaves_the_rolling_window():
    d = banded(BandRule(rolling=35_000))
    d.later(600).price(9_900)
    d.later(3_001).price(9_649)
    assert phase(d) == NORMAL


def test_a_rolling_pause_empties_the_window():
    d = banded(BandRule(rolling=35_000))
    d.later(1).price(9_600)
    assert (phase(d), d.state.restraint.until[0]) == (PAUSED, d.now + 120 * SECOND)
    d.tick(120)
    assert phase(d) == NORMAL
    assert d.state.restraint.ring_seen[0].sum() == 2  # the price now, in the two rings in use
    assert (d.state.restraint.low[0], d.state.restraint.high[0]) == (9_264, 9_936)


@pytest.mark.parametrize(("price", "found"), [(10_100, NORMAL), (10_101, PAUSED)])
def test_velocity_counts_within_its_window(price, found):
    d = banded(BandRule(velocity=10_000))
    d.later(5).price(price)
    assert phase(d) == found
    slow = banded(BandRule(velocity=10_000))
    slow.later(5.001).price(price)
    assert phase(slow) == NORMAL


def levels(**changes) -> Desk:
    market = MarketLevels(symbol="PERP", **changes)
    d = Desk(venue_of(perp(), perp("OTHER")), margin=rules(flat()), bands=PriceBands(market=market))
    d.users([10**9, 10**9], [(0, 1, 10, 10_000), (1, 1, -10, 10_000)])
    d.price(10_000, 1)
    d.price(10_000)
    return d


@pytest.mark.parametrize(
    ("price", "level"), [(9_301, 0), (9_300, 1), (8_701, 1), (8_700, 2), (8_000, 3)]
)
def test_market_wide_levels(price, level):
    d = levels()
    d.later(1).price(price)
    refused = codes(d.send(d.trade(0, 1, 10_000, i=1)))
    assert refused == (["market_paused"] if level else [])
    assert codes(d.send(withdrawn(d, 0))) == refused
    d.tick(900)
    assert codes(d.send(d.trade(0, 1, 10_000, i=1))) == (["market_paused"] if level == 3 else [])


def test_a_market_wide_pause_ends_at_its_moment():
    """Nobody has looked since: who asks at the very end may open again."""
    d = levels()
    d.later(1).price(9_300)
    d.now += 900 * SECOND - 1
    assert codes(d.ask(d.trade(0, 1, 10_000, i=1))) == ["market_paused"]
    d.now += 1
    assert codes(d.ask(d.trade(0, 1, 10_000, i=1))) == []


def test_each_level_counts_once_until_the_window_ends():
    d = levels(window_ns=3_600 * SECOND)
    d.later(1).price(9_300)
    d.tick(900)
    assert not d.of(MarketMoved, d.later(1).price(9_200))
    (moved,) = d.of(MarketMoved, d.later(1).price(8_700))
    assert (moved.level, moved.until) == (2, d.now + 900 * SECOND)
    (moved,) = d.of(MarketMoved, d.tick(3_600))
    assert (moved.level, moved.anchor, moved.until) == (0, 8_700, 0)


# Flags ----------------------------------------------------------------------------------------


def flag(d: Desk, name: str, value: int = 1):
    return d.send(ParameterChanged(ts=d.now, name=name, value=value))


def lending() -> Desk:
    venue = venue_of(perp(), coin())
    margin = rules(PERP=flat(), COIN=flat(debt_initial=100_000, debt_maintenance=50_000))
    d = Desk(venue, margin=margin)
    d.users([10**9, 10**9], [(0, 0, 100, 10_000), (1, 0, -100, 10_000), (0, 1, 1_000, 0)])
    d.price(10_000)
    d.price(10_000, 1)
    return d


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("pause.open.PERP", lambda d: d.trade(0, 1, 10_000)),
        ("pause.close.PERP", lambda d: d.trade(0, -1, 10_000)),
        ("pause.withdraw.COIN", lambda d: withdrawn(d, 0, asset=1)),
        ("pause.withdraw.cash", lambda d: withdrawn(d, 0)),
        ("pause.deposit.COIN", lambda d: Deposited(ts=d.now, account=U, amount=1, asset=1)),
        ("pause.deposit.cash", lambda d: Deposited(ts=d.now, account=U, amount=1)),
        ("pause.borrow.COIN", lambda d: withdrawn(d, 1, asset=1)),
        ("pause.borrow.COIN", lambda d: d.trade(1, -1, 10_000, i=1)),
    ],
)
def test_a_flag_stops_its_action_and_nothing_else(name, ask):
    d = lending()
    before = d.state.digest()
    assert codes(d.ask(ask(d))) == []
    (moved,) = d.of(ParameterMoved, flag(d, name))
    assert (moved.column, moved.value) == ("pause", 1)
    assert codes(d.ask(ask(d))) == ["action_paused"]
    allowed = [
        (n, a)
        for n, a in (
            ("pause.open.PERP", d.trade(0, 1, 10_000)),
            ("pause.close.PERP", d.trade(0, -1, 10_000)),
            ("pause.withdraw.COIN", withdrawn(d, 0, asset=1)),
            ("pause.deposit.COIN", Deposited(ts=d.now, account=U, amount=1, asset=1)),
        )
        if n != name
    ]
    assert all(codes(d.ask(a)) == [] for _, a in allowed)
    flag(d, name, 0)
    assert codes(d.ask(ask(d))) == []
    assert not d.state.restraint.stirred()
    assert d.state.digest() != before  # only because two events were counted


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("pause.open.PERP", 2, ["rate_out_of_range"]),
        ("pause.open.PERP", -1, ["rate_out_of_range"]),
        ("pause.open.OTHER", 1, ["parameter_unknown"]),
        ("pause.dance.PERP", 1, ["parameter_unknown"]),
        ("pause.open", 1, ["parameter_unknown"]),
    ],
)
def test_flags_that_do_not_exist(name, value, refused):
    assert codes(flag(lending(), name, value)) == refused


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pause.liquidate.PERP", OrdersPlaced), ("pause.deleverage.PERP", Deleveraged)],
)
def test_flags_that_spare(name, kind):
    price = 9_800 if kind is OrdersPlaced else 9_000
    d = forced(BandRule())
    flag(d, "pause.liquidate.PERP")  # an order in flight is never deleveraged
    flag(d, name)
    assert not d.of(kind, d.later(1).price(price))
    flag(d, name, 0)
    assert d.of(kind, d.tick(1))


def test_every_flag_has_its_own_cell():
    cells = [pause_row(i, action) % 21 for i in (0, 1, -1) for action in ACTIONS]
    assert sorted(cells) == list(range(21))


# What holds whatever happens ------------------------------------------------------------------

moves = st.lists(
    st.tuples(
        st.sampled_from(["price", "tick", "open", "withdraw", "reduce"]),
        st.integers(0, 40),
        st.integers(8_000, 12_000),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(moves)
def test_a_pause_is_never_a_way_to_profit(script):
    """Whoever stops the market can take nothing out of it and add nothing to it meanwhile."""
    d = banded(BandRule(width=20_000, rolling=40_000, velocity=10_000), pause_ns=60 * SECOND)
    for what, seconds, price in script:
        d.later(seconds)
        held = int(d.state.restraint.phase[0]), int(d.state.restraint.until[0])
        match what:
            case "price":
                effects = d.price(price)
                if phase(d) == PAUSED:
                    assert not d.of((OrdersPlaced, Deleveraged), effects)
                continue
            case "tick":
                d.tick()
                continue
            case "open":
                effects = d.ask(d.trade(0, 1, price))
            case "withdraw":
                effects = d.ask(withdrawn(d, 0))
            case _:
                effects = d.ask(d.trade(0, -1, price))
                assert codes(effects) == []  # the reserved lane stays open
                continue
        if held[0] == PAUSED and (what == "withdraw" or d.now < held[1]):
            assert codes(effects) == ["instrument_paused"]
            assert not d.of((Posted, PositionsMoved), effects)


@settings(max_examples=40, deadline=None)
@given(moves)
def test_bands_follow_the_same_path_after_a_restart(script):
    d = banded(BandRule(width=20_000, rolling=40_000, velocity=10_000))
    for what, seconds, price in script:
        d.later(seconds)
        d.price(price) if what == "price" else d.tick()
        r = d.state.restraint
        assert not r.high[0] or r.low[0] <= r.reference[0] * 2
        assert r.phase[0] in {NORMAL, LIMIT, PAUSED}
        assert r.low[0] <= r.high[0]
    again = State.load(d.state.dump(), d.stack)
    assert again.digest() == d.state.digest()
    effects = d.later(7).price(9_999)
    d.state = again
    assert d.price(9_999) == effects or again.now == d.now


def test_the_stack_file_selects_bands(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "x"\n[bands]\nlimit_ns = 1\n[bands.instruments."*"]\nwidth = 10_000\n'
        '[bands.market]\nsymbol = "PERP"\nlevels = [50_000]\n',
        encoding="utf-8",
    )
    stack = Stack.bind(SafeguardStack.load(path), venue_of(perp()))
    assert stack.declaration.bands.rule("PERP").width == 10_000
    assert stack.declaration.bands.market.levels == (50_000,)


def test_a_verdict_counts_the_time_of_pauses():
    d = banded(BandRule(velocity=10_000))
    meter = Meter(d.stack)

    def look(event) -> None:
        meter.observe(0, event, d.send(event), d.state, [0])

    look(d.later(1).priced(10_000))
    look(d.later(1).priced(9_000))  # paused for five seconds
    look(d.later(2).priced(9_000))
    look(d.later(3).priced(9_000))
    look(d.later(4).priced(9_000))
    assert meter.verdict(d.state).paused_seconds == 5.0


def test_whoever_asks_why_is_told_where_the_band_was():
    d = forced(BandRule(width=50_000))
    effects = d.send(d.later(1).priced(9_500))
    assert d.of(OrdersPlaced, effects)
    records = [Record(0, d.priced(9_500), tuple(effects))]
    told = explain(records, U, 0, d.stack, ["user 0", "user 1"])
    (said,) = [line for line in told if line.startswith("band")]
    assert "95.00..105.00, at its limit, since seq 0 (at_band)" in said


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash") / "october"
    make(folder, accounts=150, seed=7)
    return load(folder)


def test_each_changes_what_happens_in_a_replay(crash):
    """A safeguard counts only when a stack file selects it and a crash goes another way for it."""
    with as_file(files("tidegate.stacks") / "guarded.toml") as path:
        guarded = SafeguardStack.load(path)
    change = msgspec.structs.replace
    slower = tuple(change(step, pace=300_000) for step in guarded.breaker.steps)
    stacks = {
        "guarded": guarded,
        "bands": change(guarded, bands=bands(BandRule(width=20_000))),
        "slower": change(guarded, breaker=change(guarded.breaker, steps=slower)),
        "smooth": change(guarded, breaker=change(guarded.breaker, steps=slower, smooth=True)),
    }
    found = set()
    for stack in stacks.values():
        turning = Replay(recording=crash, stack=Stack.bind(stack, crash.venue))
        until = crash.begins + 190 * SECOND
        for event in takewhile(lambda e, until=until: e.ts <= until, crash.events()):
            turning.until(event.ts)
            turning._exogenous(event)
        found.add(turning.state.book.cash.tobytes() + turning.state.book.lots.tobytes())
    assert len(found) == len(stacks)
