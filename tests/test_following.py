"""Margin that follows volatility: the rate, what holds it back, and what it makes the engine do."""

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, U, coin, flat, perp, rules, venue_of
from tidegate.domain.effects import MarginFollowed, OrdersPlaced, Rejected, VolatilityMoved
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import Withdrawn
from tidegate.domain.units import PPM, SECOND, unbounded
from tidegate.engine.following import facts_now
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.kernels.procyclical import buffered, floored, weighted
from tidegate.safeguards.breaker import LadderBreaker
from tidegate.safeguards.margin import MarginModel, VolatilityMargin


HOUR = 3_600 * SECOND


# ------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("charged", "calculated", "found"),
    [
        (-1, 1_000, 1_250),  # the first charge has the whole buffer
        (1_250, 1_249, 1_250),
        (1_250, 1_250, 1_250),  # the buffer is used up
        (1_250, 1_251, 1_251),
        (1_250, 1_001, 1_250),
        (1_250, 1_000, 1_250),
        (1_250, 999, 1_249),  # 999 and a quarter of it, rounded up
        (1_250, 0, 0),
        (-1, 0, 0),
    ],
)
def test_the_buffer_is_used_before_the_charge_rises(charged, calculated, found):
    assert buffered(charged, calculated, 250_000, PPM) == found


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12), st.integers(0, PPM))
def test_a_buffered_charge_covers_and_never_asks_more_than_the_whole_buffer(path, buffer):
    charged, last = -1, None
    for calculated in path:
        twin = unbounded(buffered)(charged, calculated, buffer, PPM)
        charged = buffered(charged, calculated, buffer, PPM)
        assert charged == twin
        assert calculated <= charged <= calculated + -(-calculated * buffer // PPM)
        if last is not None and calculated >= last[0]:
            assert charged >= last[1], "it never falls while the calculation rises"
        last = calculated, charged


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, PPM))
def test_a_weight_lies_between_and_rounds_up_once(calculated, stressed, weight):
    exact = calculated * (PPM - weight) + stressed * weight
    assert weighted(calculated, stressed, weight, PPM) == -(-exact // PPM)
    assert unbounded(weighted)(calculated, stressed, weight, PPM) == -(-exact // PPM)
    assert floored(calculated, stressed) == max(calculated, stressed)


@pytest.mark.parametrize(
    ("variance", "rate"),
    [
        (0, 20_000),  # the floor
        (1, 20_000),
        (10**6, 180_000),  # 1e3 ppm a second, sixty times that in an hour, three times
        (10**6 + 1, 181_000),  # rounded up to the grain
        (10**12, 400_000),  # the ceiling
    ],
)
def test_the_rate_covers_deviations_of_the_horizon(variance, rate):
    rule = VolatilityMargin(cover=3 * PPM, rate_min=20_000, rate_max=400_000)
    assert rule.calculated(variance) == rate


def test_a_stressed_period_keeps_its_weight():
    rule = VolatilityMargin(cover=3 * PPM, stressed=400_000, stressed_weight=250_000)
    assert [rule.calculated(v) for v in (0, 10**6)] == [100_000, 135_000 + 100_000]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"cover": -1}, "cover"),
        ({"cover": 1, "rate_min": 2, "rate_max": 1}, "rate_min"),
        ({"cover": 1, "rate_max": PPM + 1}, "rate_max"),
        ({"cover": 1, "buffer": PPM + 1}, "buffer"),
        ({"buffer": 250_000}, "cover"),
        ({"maintenance_share": 1}, "cover"),
        ({"cover": 1, "grain": 0}, "volatility"),
        ({"cover": 1, "horizon_ns": 0}, "volatility"),
    ],
)
def test_what_cannot_work_is_refused(wrong, where):
    with pytest.raises(ConfigInvalid) as e:
        VolatilityMargin(**wrong)
    assert where in e.value.where


# ------------------------------------------------------------------------------- the engine


def desk(*, cash: int = 15 * 10**6, margin: MarginModel | None = None, **rule) -> Desk:
    """One long of 100 lots at 1,000 ticks (1e8 Money); tiers ask 10 % to open and 5 % to stay."""
    model = margin or MarginModel(
        instruments=rules(flat()).instruments, volatility=VolatilityMargin(**rule)
    )
    venue = venue_of(perp(), coin())
    d = Desk(venue, margin=model, breaker=LadderBreaker(memory_ns=60 * SECOND))
    d.users([cash, 10**12], [(0, 0, 100, 1_000)])
    d.price(1_000)
    return d


def shake(d: Desk, times: int = 6, size: int = 10) -> list:
    """Let the price swing by ``size`` ticks and come back; return the effects."""
    effects = []
    for _ in range(times):
        effects += d.later(10).price(1_000 + size)
        effects += d.later(10).price(1_000)
    return effects


def codes(effects) -> list[str]:
    return [e.code for e in effects if isinstance(e, Rejected)]


def withdraw(d: Desk, amount: int) -> list:
    return d.ask(Withdrawn(ts=d.now, account=U, amount=amount))


def test_the_neutral_setting_follows_nothing():
    d = desk()
    quiet, effects = d.state.columns(), shake(d)
    assert d.of(MarginFollowed, effects) == []
    assert d.of(VolatilityMoved, effects)
    assert "charged" not in dict(quiet)
    assert facts_now(d.state, d.stack) is d.state.facts


def test_opening_asks_more_after_a_storm_and_nobody_is_forced():
    d = desk(cover=2 * PPM)
    assert codes(withdraw(d, 5 * 10**6)) == []
    effects = shake(d)
    (last, *_) = reversed(d.of(MarginFollowed, effects))
    assert last.instrument == 0
    expected = 2 * sqrt(d.state.market.variance[0] * 3_600)
    assert last.charged - 1_000 <= expected <= last.charged
    assert last.charged == last.calculated == d.state.charged[0] > 100_000
    assert codes(withdraw(d, 5 * 10**6)) == ["below_initial_margin"]
    assert codes(d.ask(d.trade(0, 1, 1_000))) == ["below_initial_margin"]
    assert codes(d.ask(d.trade(0, -1, 1_000))) == [], "less risk is always allowed"
    assert d.of(OrdersPlaced, effects) == []
    audit(d.state)


def test_a_share_for_maintenance_liquidates_by_volatility_alone():
    """The procyclical setting: the price is where it was, and the account is sold."""
    found = {}
    for share in (0, 500_000, PPM):
        d = desk(cover=PPM, maintenance_share=share)
        found[share] = d.of(OrdersPlaced, shake(d)) != []
    assert found == {0: False, 500_000: False, PPM: True}


def test_a_buffer_holds_the_charge_while_volatility_rises():
    """After a storm and a calm, the next rise is smaller than the buffer that was built up."""
    seen = {}
    for buffer in (0, 250_000):
        d = desk(cover=PPM, buffer=buffer)
        shake(d, 4, size=10)
        shake(d, 24, size=3)
        calm = int(d.state.charged[0])
        later = d.of(MarginFollowed, shake(d, 3, size=4))
        seen[buffer] = calm, max(e.charged for e in later) if later else calm
        assert all(e.calculated <= e.charged for e in later)
    assert seen[250_000][0] > seen[0][0]
    assert seen[0][1] > seen[0][0]
    assert seen[250_000][1] == seen[250_000][0]


def test_haircuts_of_collateral_are_left_alone():
    d = desk(cover=2 * PPM, maintenance_share=PPM)
    for k in range(6):
        d.later(10).price(1_000 + 50 * (k % 2), 1)
    assert d.state.market.variance[1] > 0
    assert d.state.charged[1] == 0


def test_no_tier_asks_less_than_the_charge_and_dear_tiers_stay():
    tiers = rules(flat(100_000, 50_000), PERP=flat(300_000, 290_000)).instruments
    d = desk(margin=MarginModel(instruments=tiers, volatility=VolatilityMargin(cover=PPM)))
    shake(d)
    assert 0 < d.state.charged[0] < 300_000
    facts = facts_now(d.state, d.stack)
    assert facts.tier_initial[0] == 300_000
    assert d.state.facts.tier_initial[0] == 300_000


def test_a_state_with_charges_survives_a_snapshot():
    d = desk(cover=2 * PPM)
    shake(d)
    again = State.load(d.state.dump(), d.stack)
    assert again.digest() == d.state.digest()
    assert again.charged.tolist() == d.state.charged.tolist()


@settings(max_examples=40)
@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_variance_never_asks_less(a, b):
    rule = VolatilityMargin(cover=2 * PPM, rate_min=7_000, stressed=90_000, stressed_weight=1)
    low, high = sorted((a, b))
    assert rule.calculated(low) <= rule.calculated(high)


def test_plain_language():
    rule = VolatilityMargin(
        cover=3 * PPM, buffer=250_000, stressed=90_000, stressed_weight=250_000,
        maintenance_share=500_000,
    )  # fmt: skip
    said = "\n".join(MarginModel(volatility=rule).describe())
    for text in ("3 standard deviations of 60 minutes", "25 % more", "9 %", "liquidates by itself"):
        assert text in said
