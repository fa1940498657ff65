"""The pre-trade check: its figures are those of the whole book made anew."""

import asyncio
import random
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from strategies import (
    BTC,
    ETH,
    GOVERNED,
    GUARDED,
    INV,
    NEUTRAL,
    SOL,
    STACKS,
    START,
    USD,
    VENUE,
    World,
    book_of,
    depth_at,
    drawn,
)
from tidegate.api.checks import ParameterChange, PreTradeAnswer, ShadowAsk
from tidegate.domain.book import EXTERNAL, FIRST_USER
from tidegate.domain.effects import Rejected
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import PriceObserved, Traded, Withdrawn
from tidegate.domain.instrument import CASH
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.engine.step import decide, step
from tidegate.engine.watch import cascade_profiles
from tidegate.lab.marginal import Base, copy_for_base, holding_of, small_book
from tidegate.lab.scenario_losses import tail_of
from tidegate.lab.tail_model import TailModel, shocks, underlyings, volatilities
from tidegate.service.checks import Checks
from tidegate.service.pretrade import Desk, PreTradeSettings, look
from tidegate.service.pretrade_say import answered
from tidegate.service.shadowrun import ShadowRuns
from tidegate.signals.spectral import branching_now


MODEL = TailModel(scenarios=512, horizon_ns=5 * 86_400 * 10**9)


def lived(which, seed, moves=60):
    """Return a world after a random history, with depth on every instrument."""
    history = drawn(seed, moves, which)
    w = World(history.stack)
    w.take(book_of(history.people))
    for i in range(4):
        for source in range(3):
            price = PriceObserved(
                ts=w.now, instrument=i, source=source, price=w.price(i), published=w.now
            )
            w.take(price)
        w.take(
            depth_at(w.now, i, w.price(i), tuple(50_000 * (1, 10_000, 100, 1)[i] for _ in range(5)))
        )
    for move in history.moves:
        with suppress(CapacityExceeded):
            w.take(w.event(move))
    return w


def base_of(state, stack, model=MODEL):
    copy = copy_for_base(state)
    return Base.of(copy, stack, model, shocks(model, underlyings(stack.venue, stack.facts)))


def orders(w, draw):
    """Yield orders of every shape: opening, reducing, flipping, both sides, cash, coins."""
    book = w.state.book
    for _ in range(6):
        account = w.user(draw.randrange(99))
        i = draw.randrange(4)
        lots = draw.randrange(1, 400) * (1, 10_000, 20, 1)[i] * draw.choice((-1, 1))
        maker = draw.choice((EXTERNAL, w.user(draw.randrange(99))))
        if maker == account:
            maker = EXTERNAL
        yield Traded(ts=0, instrument=i, taker=account, maker=maker, lots=lots, price=w.price(i))
    rows = [r for r in range(book.high) if book.lots[r] and book.account[r] >= FIRST_USER]
    for row in draw.sample(rows, min(3, len(rows))):
        i, held = int(book.instrument[row]), int(book.lots[row])
        lots = -held * draw.choice((1, 2, 3)) // 2 or -held
        who = int(book.account[row])
        yield Traded(ts=0, instrument=i, taker=who, maker=EXTERNAL, lots=lots, price=w.price(i))
    for asset in (CASH, ETH):
        amount = draw.randrange(1, 500) * (USD if asset < 0 else USD // 100)
        yield Withdrawn(ts=0, account=w.user(draw.randrange(99)), amount=amount, asset=asset)


@pytest.mark.parametrize("which", [NEUTRAL, GUARDED, GOVERNED])
@pytest.mark.parametrize("seed", range(4))
def test_what_an_order_adds_is_what_the_whole_book_made_anew_says(which, seed):
    w, draw, compared = lived(which, seed), random.Random(seed), 0
    base, stack = base_of(w.state, w.stack), w.stack
    for order in orders(w, draw):
        digest = w.state.digest()
        seen = look(w.state, stack, order)
        assert w.state.digest() == digest, "asking changes nothing"
        if not seen.before:
            assert seen.refused
            continue
        compared += 1
        added = base.marginal(seen.before, seen.after)
        after = State.load(w.state.dump(), stack)
        booked = msgspec.structs.replace(order, ts=after.now, settled=True)
        assert not any(isinstance(e, Rejected) for e in step(after, booked, stack))
        anew = base_of(after, stack)
        for figures, whole in ((added.before, base), (added.after, anew)):
            found = whole.figures(whole.whole)
            assert figures.shortfall == pytest.approx(found.shortfall, rel=1e-9, abs=1)
            assert figures.at_975 == pytest.approx(found.at_975, rel=1e-9, abs=1)
            assert figures.near.tolist() == found.near.tolist()
            assert figures.peak.tolist() == found.peak.tolist()
            assert figures.radius == found.radius
        assert [holding_of(after.book, h.account).cash for h in seen.after] == [
            h.cash for h in seen.after
        ]
        health = w.stack.declaration.margin.assess(
            after.book, after.facts, mark=after.mark, low=after.mark, high=after.mark
        )
        if not w.state.charged.any() and (after.mark > 0).all():
            assert [(s.equity, s.maintenance) for s in seen.standing] == [
                (health.equity[s.account], health.required[s.account]) for s in seen.standing
            ]
    assert compared >= 3


@pytest.mark.parametrize("seed", range(3))
def test_the_base_is_the_engines_own_profile_and_radius(seed):
    w = lived(NEUTRAL, seed)
    base = base_of(w.state, w.stack)
    found = base.figures(base.whole)
    m = w.state.market
    health = w.stack.declaration.margin.assess(
        w.state.book, w.state.facts, mark=m.mark, low=m.low, high=m.high
    )
    profiles = cascade_profiles(w.state, View.of(w.state), health, [0, 1, 2, 3], w.stack, None)
    near = [profile.near for profile in profiles]
    assert found.near.tolist() == near
    assert found.radius == branching_now(w.state, w.stack)


def test_bad_debt_is_what_plain_numbers_say():
    w = lived(NEUTRAL, 1)
    base = base_of(w.state, w.stack)
    state, facts = w.state, w.state.facts
    names = underlyings(VENUE, facts)
    assert names == ["BTC", "ETH", "ETH", "SOL"]
    shock = shocks(MODEL, names)
    assert (shock[ETH] == shock[INV]).all()
    assert (shock[:, :256] == -shock[:, 256:]).all()
    scale = volatilities(MODEL, VENUE, state.market.variance) * np.sqrt(5.0)
    losses = []
    for s in range(0, 512, 37):
        price = state.mark * np.exp(np.clip(shock[:, s] * scale, -4, 4))
        total = 0.0
        for account in range(FIRST_USER, state.book.accounts):
            h = holding_of(state.book, account)
            equity = float(h.cash)
            for i, lots, cost in zip(h.instrument, h.lots, h.cost, strict=True):
                if i == INV:
                    coins = -lots * 1_000_000 / price[INV] - cost
                    equity += coins * price[ETH]  # a dollar of 1e6 Money, a coin of 1e6 units
                else:
                    equity += lots * price[i] * (1_000, 1, 0, 100_000)[i] - cost
            total += max(0.0, -equity)
        losses.append(total)
    assert base.whole.losses[0:512:37] == pytest.approx(losses, rel=1e-9)
    assert max(losses) > 0


def test_allowed_is_what_the_engine_decides():
    w = lived(GUARDED, 5)
    said = {True: 0, False: 0}
    for order in orders(w, random.Random(5)):
        asked = msgspec.structs.replace(order, ts=w.state.now)
        refused = [e.code for e in decide(w.state, asked, w.stack) if isinstance(e, Rejected)]
        seen = look(w.state, w.stack, order)
        assert [r.code for r in seen.refused] == refused
        said[not refused] += 1
    assert all(said.values())


def calm():
    """Return a quiet market: one long that is near the line, one that is not, nothing else."""
    w = World(STACKS[NEUTRAL])
    w.take(book_of(((1_000, 0, 0, 0, 0), (30_000, 0, 0, 0, 0))))
    for i in range(4):
        w.take(PriceObserved(ts=START, instrument=i, source=0, price=w.price(i), published=START))
        w.take(depth_at(START, i, w.price(i), (1_000,) * 5))
    return w


def trade(lots, taker=FIRST_USER, instrument=BTC, price=10_000):
    return Traded(
        ts=START, instrument=instrument, taker=taker, maker=EXTERNAL, lots=lots, price=price
    )


def desk(w, **limits):
    d = Desk(w.stack, PreTradeSettings(model=MODEL, **limits), clock=lambda: d_now[0])
    d_now = [0.0]
    d.renew(copy_for_base(w.state))
    return d, d_now


def judged(d, w, order):
    return answered(d, look(w.state, w.stack, order), w.state.names)


def test_an_order_that_adds_to_the_tail_is_refused_with_a_code_and_figures():
    w = calm()
    d, _ = desk(w, es_add_max=100.0)
    small, large = judged(d, w, trade(10)), judged(d, w, trade(900))
    assert small.allowed
    assert not small.reasons
    assert not large.allowed
    assert [r.code for r in large.reasons] == ["adds_to_tail"]
    assert large.tail.added > 100 > small.tail.added >= 0
    assert large.tail.share_after == pytest.approx(large.tail.shortfall_after)
    assert large.tail.added_at_975 < large.tail.added
    assert large.accounts[0].equity == "1000"
    assert large.accounts[0].maintenance == "450"
    assert large.accounts[0].initial == "900"
    assert large.accounts[0].distance == pytest.approx(550 / 9_000)
    # 550 of slack over 9,000 that lose 95 % of what the price loses.
    assert large.accounts[0].liquidation_move == pytest.approx(550 / 9_000 / 0.95, abs=1e-6)
    assert msgspec.json.decode(msgspec.json.encode(large), type=PreTradeAnswer) == large


def test_an_order_that_adds_to_branching_is_refused():
    w = calm()
    # A long of 990 lots becomes liquidatable within 10 %: n = 990 / 5,000 within the last bucket.
    d, _ = desk(w, branching_add_max=1_000, branching_max=100)
    near = trade(1_000)  # on the initial line: 1,000 of cash, 10,000 of notional
    found = judged(d, w, near)
    told = {b.symbol: b for b in found.branching}["BTC-PERP"]
    assert told.peak_after > told.peak == 0
    wide = Desk(w.stack, PreTradeSettings(model=MODEL))
    wide.renew(copy_for_base(w.state))
    assert judged(wide, w, near).allowed
    # An account that is liquidatable already stands in bucket 0.
    w.take(msgspec.structs.replace(trade(2_100), settled=True))
    d.renew(copy_for_base(w.state))
    more = judged(d, w, trade(100))
    codes = [r.code for r in more.reasons]
    assert codes == ["below_initial_margin", "adds_to_branching", "branching_too_high"]


def test_a_reducing_order_is_never_refused_for_the_tail():
    w = calm()
    w.take(msgspec.structs.replace(trade(2_100), settled=True))
    for limits in (
        {"es_add_max": 0.0, "branching_max": 0, "branching_add_max": 0},
        {"es_add_max": 0.0},
    ):
        d, now = desk(w, **limits)
        for age in (0.0, 1e6):
            now[0] = age
            found = judged(d, w, trade(-1_000))
            assert found.reduces
            assert found.allowed
            flip = judged(d, w, trade(-2_200))
            assert not flip.reduces


def test_a_stale_base_is_said_and_closes_or_opens_by_the_setting():
    w = calm()
    order = trade(10)
    for stale, limit, allowed in (
        ("closed", {"es_add_max": 1e9}, False),
        ("open", {"es_add_max": 1e9}, True),
        ("closed", {}, True),
    ):
        d, now = desk(w, stale=stale, **limit)
        assert judged(d, w, order).allowed
        now[0] = 61.0
        found = judged(d, w, order)
        assert found.tail.stale == ["too_old"]
        assert found.tail.age_s == 61.0
        assert found.allowed == allowed
        assert [r.code for r in found.reasons] == ([] if allowed else ["tail_unknown"])
    none = Desk(w.stack, PreTradeSettings(es_add_max=1.0))
    found = judged(none, w, order)
    assert found.tail is None
    assert [(r.code, r.detail) for r in found.reasons] == [("tail_unknown", "no_base")]


def test_a_base_grows_stale_with_the_marks_and_with_the_book():
    w = calm()
    w.take(msgspec.structs.replace(trade(100, FIRST_USER + 1), settled=True))
    d, now = desk(w)
    assert d.copy_if_due(w.state) is None
    assert d.stale(look(w.state, w.stack, trade(10))) == []
    now[0] = 11.0
    assert d.copy_if_due(w.state) is not None
    now[0] = 1.0
    w.take(PriceObserved(ts=START, instrument=SOL, source=0, price=520, published=START))
    assert d.stale(look(w.state, w.stack, trade(10))) == ["marks_moved"]
    w.take(msgspec.structs.replace(trade(300, FIRST_USER + 1), settled=True))
    assert d.stale(look(w.state, w.stack, trade(10))) == ["marks_moved", "book_moved"]
    assert d.copy_if_due(w.state) is not None


def test_an_unknown_account_has_no_figures_and_no_answer_but_the_engines():
    w = calm()
    d, _ = desk(w, es_add_max=1.0)
    found = judged(d, w, trade(10, taker=FIRST_USER + 77))
    assert [r.code for r in found.reasons] == ["account_unknown", "tail_unknown"]
    assert found.accounts == []


def test_a_model_that_has_no_tail_is_refused():
    for wrong in ({"scenarios": 1_000}, {"level": 1.0}, {"freedom": 2.0}, {"correlation": 1.1}):
        with pytest.raises(ConfigInvalid):
            TailModel(**wrong)
    for wrong in ({"es_add_max": -1.0}, {"refresh_s": 0.0}, {"refresh_s": 90.0}):
        with pytest.raises(ConfigInvalid):
            PreTradeSettings(**wrong)


def test_shocks_have_unit_variance_heavy_tails_and_streams_of_their_own():
    model = TailModel(scenarios=16_384, freedom=6.0)
    one, two = shocks(model, ["BTC"]), shocks(model, ["BTC", "ETH"])
    assert (one[0] == two[0]).all()
    assert two.std(axis=1) == pytest.approx([1.0, 1.0], abs=0.05)
    assert np.corrcoef(two)[0, 1] == pytest.approx(0.6, abs=0.05)
    assert (two**4).mean() > 4.0
    assert tail_of(-two[0], 0.99).shortfall > 2.7


def test_a_small_book_is_judged_as_the_large_one():
    w = lived(GOVERNED, 7)
    state = w.state
    held = [holding_of(state.book, a) for a in range(FIRST_USER, state.book.accounts)]
    small = small_book(held, state.book)
    ends = {"mark": state.market.mark, "low": state.market.low, "high": state.market.high}
    margin = w.stack.declaration.margin
    large, little = (margin.assess(b, state.facts, **ends) for b in (state.book, small))
    assert large.best.tolist() == little.best.tolist()
    assert large.required.tolist() == little.required.tolist()


class Engine:
    """The engine's door for reads, without a thread."""

    def __init__(self, w) -> None:
        self.state, self.stack = w.state, w.stack

    async def ask(self, read):
        return read(self)


def test_checks_beside_an_engine_keep_their_base_fresh(tmp_path):
    w, now = calm(), [0.0]
    d = Desk(w.stack, PreTradeSettings(model=MODEL, es_add_max=1e6), clock=lambda: now[0])
    runs = ShadowRuns(w.stack, str(tmp_path / "journal.db"))
    checks = Checks(Engine(w), d, runs)

    async def play():
        first = await checks.pretrade(lambda _: trade(10))
        assert [r.code for r in first.reasons] == ["tail_unknown"]
        kept = asyncio.create_task(checks.keep())
        for _ in range(1_000):
            if d.base is None:
                await asyncio.sleep(0.01)
        kept.cancel()
        second = await checks.pretrade(lambda _: trade(10))
        assert second.allowed
        assert second.accounts[0].account == "account 0"
        assert not await checks.refresh()
        now[0] = 11.0
        assert await checks.refresh()
        change = ParameterChange(name="penalty.BTC-PERP", value=1)
        tried = await checks.shadow(ShadowAsk(changes=[change], days=0.0))
        assert tried.status == "done"
        assert tried.live.n_liquidated == 0

    asyncio.run(play())
    runs.close()
