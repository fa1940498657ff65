"""When everybody is judged: what may wait, what may not, and that nobody waits for too long."""

from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given

from combinations import Story, Wide, stories, unfold
from desk import Desk, flat, perp, replaced, rules, venue_of
from test_invariants import some
from tidegate.domain.effects import (
    Decision,
    HealthMoved,
    Judged,
    JudgementOwed,
    MarginFollowed,
    MarkMoved,
    ObservationKept,
    OrdersPlaced,
    ParameterMoved,
    ProfileMoved,
    VolatilityMoved,
)
from tidegate.domain.errors import CapacityExceeded, ConfigInvalid
from tidegate.domain.events import ClockTicked, Input, ParameterProposed, PriceObserved
from tidegate.domain.judgement import Judgement
from tidegate.domain.units import PPM, SECOND
from tidegate.engine.state import State
from tidegate.engine.step import decide
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.cadence import EVERY_MAX, Cadence
from tidegate.safeguards.governance import Governance
from tidegate.safeguards.margin import MarginModel, VolatilityMargin
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.price_bands import BandRule, MarketLevels, PriceBands
from tidegate.safeguards.soft import SoftBands
from tidegate.safeguards.stack import SafeguardStack, Stack


table = pytest.mark.parametrize
TWO = venue_of(perp("A"), perp("B"))
HALF = flat(initial=500_000, maintenance=250_000)
EVERY = 5 * SECOND
WAITS = Cadence(judge_every_ns=EVERY, judge_move=10_000)
SLOW = OracleGuard(age_max_ns=100 * SECOND)  # an unchanged mark is news
NEVER_CALM = {"memory_ns": 10**18, "window_ns": 10**15}


def desk(cash=250_000, price=10_000, **policies) -> Desk:
    """Return an engine with a long of ten lots of A, judged at 10,000 by its last tick."""
    made = Desk(TWO, **({"margin": rules(HALF), "cadence": WAITS, "oracle": SLOW} | policies))
    made.users((cash,), [(0, 0, 10, price)])
    made.price(price, 0)
    made.price(price, 1)
    made.tick()
    return made


def waited(effects) -> bool:
    """Return whether a price was kept and its judgement is owed."""
    owed = any(isinstance(e, JudgementOwed) for e in effects)
    assert any(isinstance(e, MarkMoved) for e in effects)
    assert owed != any(isinstance(e, Judged) for e in effects)
    assert owed != any(isinstance(e, HealthMoved) for e in effects)
    return owed


# ------------------------------------------------------------------------ the policy


@table(
    "wrong",
    [
        {"judge_every_ns": 1},
        {"judge_move": 1},
        {"judge_every_ns": -1, "judge_move": 1},
        {"judge_every_ns": EVERY_MAX + 1, "judge_move": 1},
        {"judge_every_ns": 1, "judge_move": PPM},
    ],
)
def test_numbers_that_say_nothing_are_refused(wrong):
    with pytest.raises(ConfigInvalid, match="cadence"):
        Cadence(**wrong)


def test_the_largest_numbers_are_allowed():
    assert Cadence(judge_every_ns=EVERY_MAX, judge_move=PPM - 1).active
    assert not Cadence().active


def test_bands_believe_a_price_when_it_is_judged_so_they_do_not_wait():
    soft = SoftBands(bands=4, near=2_000_000, window_ns=SECOND)
    with pytest.raises(ConfigInvalid, match=r"soft\.bands = 4"):
        SafeguardStack(name="x", soft=soft, cadence=WAITS)
    SafeguardStack(name="x", soft=soft)


@table(("since", "over"), [(EVERY - 1, False), (EVERY, True), (EVERY + 1, True)])
def test_the_interval_ends_with_its_last_nanosecond(since, over):
    assert WAITS.over(7, 7 + since) == over


@table(("price", "far"), [(9_901, False), (9_900, True), (10_099, False), (10_100, True)])
def test_a_move_of_just_judge_move_is_far(price, far):
    assert WAITS.far(10_000, price) == far


def test_a_price_that_was_never_judged_is_far():
    assert WAITS.far(0, 1)


def test_it_reads_back_what_it_does():
    assert "less than 1 %" in WAITS.describe()[0]
    assert "5000 ms" in WAITS.describe()[0]
    assert "every price" in Cadence().describe()[0]


# ------------------------------------------------------------------ what may wait


def test_a_small_move_only_updates_what_is_believed():
    """Everything cheap is as without a cadence; the sweep and what follows are owed."""
    of = desk().later(1)
    alike = Desk(TWO, margin=rules(HALF), oracle=SLOW)
    alike.users((250_000,), [(0, 0, 10, 10_000)])
    alike.price(10_000, 0)
    alike.price(10_000, 1)
    alike.tick()
    effects, theirs = of.price(9_999), alike.later(1).price(9_999)
    kinds = [type(e) for e in effects]
    assert kinds == [ObservationKept, MarkMoved, VolatilityMoved, JudgementOwed]
    assert effects[:3] == theirs[:3]
    assert effects[3] == JudgementOwed(instrument=0, due=of.now - SECOND + EVERY)
    assert of.state.market.mark.tolist() == [9_999, 10_000]
    assert of.state.judgement.owed.tolist() == [1, 0]


@table(("price", "waits"), [(9_901, True), (9_900, False), (10_099, True), (10_100, False)])
def test_a_move_waits_below_judge_move(price, waits):
    assert waited(desk().later(1).price(price)) == waits


def test_small_moves_add_up_against_the_judged_mark():
    of = desk().later(1)
    assert waited(of.price(9_950))
    assert waited(of.price(9_901))
    assert not waited(of.price(9_900))
    assert waited(of.price(9_802))  # against 9,900 from now on
    assert not waited(of.price(9_801))


@table(("seconds", "waits"), [(4.999, True), (5, False), (5.001, False)])
def test_a_move_waits_within_the_interval(seconds, waits):
    assert waited(desk().later(seconds).price(9_999)) == waits


def test_the_interval_begins_with_the_judgement_whatever_brought_it():
    of = desk().later(4)
    assert not waited(of.price(9_000))
    assert waited(of.later(4.999).price(8_999))
    assert not waited(of.later(0.001).price(8_998))


def test_one_market_that_never_moved_does_not_hold_another_back():
    of = desk().later(1)
    assert waited(of.price(9_999, 0))
    assert not waited(of.price(11_000, 1))
    assert of.state.judgement.owed.tolist() == [0, 0]
    assert of.state.judgement.mark.tolist() == [9_999, 11_000]


def test_the_first_price_of_a_market_is_judged():
    made = Desk(TWO, margin=rules(HALF), cadence=WAITS)
    assert not waited(made.price(10_000, 0))
    assert not waited(made.price(10_000, 1))
    assert waited(made.price(10_001, 1))


def test_a_tick_judges_and_refreshes_every_profile_that_is_owed():
    """What it finds is what an engine without a cadence finds at these prices."""
    of = desk().later(1)
    for i in range(2):
        of.depth([(9_900, 5)], [(10_100, 5)], i=i)
    of.price(9_950, 1)
    of.price(9_960, 0)
    found = of.tick()
    plain = Stack.bind(replaced(of.stack.declaration, cadence=Cadence()), of.venue)
    profiles = of.of(ProfileMoved, found)
    assert [p.instrument for p in profiles] == [0, 1]
    assert of.of(Judged, found) == [Judged(at=of.now, owed=2)]
    for p in profiles:
        again = decide(of.state, of.priced(int(of.state.mark[p.instrument]), p.instrument), plain)
        assert of.of(ProfileMoved, again) == [p]
    assert not of.of(ProfileMoved, of.tick(1)), "nothing moved since"


def test_who_falls_below_the_line_is_liquidated_by_the_next_judgement():
    of = desk(cash=25_100_000)  # 25 % of 10 lots at 10,000, and a little
    assert waited(of.later(1).price(9_980))
    assert not of.of(OrdersPlaced, of.ask(of.priced(9_979)))
    assert of.of(OrdersPlaced, of.ask(ClockTicked(ts=of.now)))
    assert of.of(OrdersPlaced, of.later(4).price(9_981))


def test_trades_and_withdrawals_are_answered_at_the_mark_of_now():
    slow, quick = desk(), desk(cadence=Cadence())
    for of in (slow, quick):
        of.later(1).price(9_950)
    for lots in (-10, 1):
        event = slow.trade(0, lots, 9_950)
        assert slow.ask(event) == quick.ask(event)


# -------------------------------------------------------------- what may not wait


def test_doubt_that_appears_is_judged_and_doubt_that_stays_may_wait():
    of = desk(oracle=OracleGuard(age_max_ns=100 * SECOND, confidence_max=1_000)).later(1)
    assert waited(of.price(9_999, confidence=9))
    assert not waited(of.price(9_999, confidence=11))
    assert waited(of.price(9_998, confidence=11))
    assert waited(of.price(9_999, confidence=0))
    assert not waited(of.price(9_999, confidence=11)), "it had gone"


def test_an_end_of_the_interval_that_moves_far_is_judged():
    """The mark itself is held at a step: only the interval tells how far the price went."""
    guard = OracleGuard(age_max_ns=100 * SECOND, confidence_max=1_000)
    of = desk(oracle=guard).later(1)
    of.price(10_000, confidence=50)
    assert waited(of.price(10_000, confidence=148))
    assert not waited(of.price(10_000, confidence=150))


@table(("price", "waits"), [(9_901, True), (9_900, False)])
def test_what_the_oracle_still_delays_counts_as_a_move(price, waits):
    of = desk(oracle=OracleGuard(delay_ns=SECOND))
    of.later(1).price(10_000)
    of.tick()
    assert waited(of.later(1).price(price)) == waits


def test_worse_quality_is_judged_and_so_is_a_new_interval_of_a_better_one():
    """An absurd price leaves the mark as it was, stale, and here without an interval."""
    guard = OracleGuard(
        age_max_ns=100 * SECOND, average_ns=SECOND, volatile_ratio=2, confidence_max=1_000
    )
    of = desk(oracle=guard).later(1)
    assert waited(of.price(9_999))
    effects = of.price(30_000)
    (mark,) = of.of(MarkMoved, effects)
    assert (mark.price, mark.low, mark.high) == (9_999, 9_999, 9_999)
    assert not waited(effects)
    (better,) = of.of(MarkMoved, effects := of.price(9_999, confidence=11))
    assert better.quality < mark.quality
    assert not waited(effects)
    assert waited(of.price(9_999, confidence=12))
    assert waited(of.price(9_999))


def test_the_breaker_climbs_by_a_move_as_soon_as_ever():
    """Below judge_move, but so many deviations that the ladder answers."""
    ladder = LadderBreaker(
        steps=(Step(rung="caution", deviations=5_000_000),), deviation_min=1_000, **NEVER_CALM
    )
    of = desk(breaker=ladder).later(1)
    assert waited(of.price(9_951))
    assert not waited(of.price(9_950))
    assert of.state.rung == 1
    assert waited(of.price(9_949)), "it stands there already"


def test_a_pause_that_begins_is_judged():
    bands = PriceBands(instruments={"*": BandRule(velocity=5_000)}, velocity_ns=60 * SECOND)
    of = desk(bands=bands).later(1)
    assert waited(of.price(9_960))
    assert not waited(of.price(9_950))


def test_a_market_wide_window_is_judged():
    levels = MarketLevels(symbol="A", levels=(5_000,), pause_ns=SECOND, window_ns=1_000 * SECOND)
    of = desk(bands=PriceBands(market=levels)).later(1)
    assert waited(of.price(9_951))
    assert not waited(of.price(9_950))


@table("share", [0, 500_000])
def test_a_charge_that_must_be_kept_is_judged(share):
    follows = VolatilityMargin(
        cover=3_000_000, horizon_ns=60 * SECOND, rate_max=900_000, maintenance_share=share, grain=1
    )
    margin = MarginModel(instruments={"*": HALF}, volatility=follows)
    of = desk(margin=margin, breaker=LadderBreaker(memory_ns=SECOND)).later(1)
    effects = of.price(9_950)
    assert of.of(MarginFollowed, effects)
    assert waited(effects) == (share == 0)


def test_what_is_due_by_time_does_not_wait():
    of = desk(governance=Governance())
    at = of.now + SECOND
    of.send(ParameterProposed(ts=of.now, name="penalty.A", value=7, effective_at=at))
    effects = of.later(1).price(9_999)
    assert waited(effects)
    assert of.of(ParameterMoved, effects)


# ----------------------------------------------------------------- what is remembered


def test_a_neutral_cadence_leaves_no_trace():
    of = desk(cadence=Cadence()).later(1)
    assert not any(isinstance(e, Judged | JudgementOwed) for e in of.price(9_999))
    assert not of.state.judgement.stirred()
    assert not any(name.startswith("judgement") for name, _ in of.state.columns())


def test_what_is_owed_is_in_the_snapshot():
    of = desk().later(1)
    of.price(9_999)
    loaded = State.load(of.state.dump(), of.stack)
    assert loaded.digest() == of.state.digest()
    assert loaded.judgement.owed.tolist() == [1, 0]
    digest = of.state.digest()
    of.state.judgement.owed[0] = 0
    assert of.state.digest() != digest


def test_each_column_alone_is_a_memory():
    for k in range(len(Judgement._fields)):
        memory = Judgement.empty(2)
        assert not memory.stirred()
        memory[k][-1] = 1
        assert memory.stirred()


# ----------------------------------------------------------------- whole histories


class Turn(NamedTuple):
    """One event of a history, what was decided, and what a neutral cadence would decide here."""

    world: Wide
    event: Input
    effects: list[Decision]
    neutral: list[Decision]
    owed: list[int]


def turns(story: Story):
    """Yield every event that had room, before the world takes it."""
    plain = msgspec.structs.replace(story.stack.declaration, cadence=Cadence())
    neutral = Stack.bind(plain, story.stack.venue)
    for world, event in unfold(story):
        try:
            effects = decide(world.state, event, story.stack)
            theirs = decide(world.state, event, neutral)
        except CapacityExceeded:
            continue
        owed = np.flatnonzero(world.state.judgement.owed).tolist()
        yield Turn(world, event, effects, theirs, owed)
        world.take(event)


def without(effects: list[Decision], *kinds: type) -> list[Decision]:
    return [e for e in effects if not isinstance(e, kinds)]


@some(0.2)
@given(stories(60, cadence=1, soft=0))
def test_a_cadence_only_puts_off(story: Story):
    """What waits does all that is cheap; what is judged is judged as ever, more profiles aside."""
    for turn in turns(story):
        effects, neutral = turn.effects, turn.neutral
        if any(isinstance(e, JudgementOwed) for e in effects):
            (k,) = (k for k, e in enumerate(effects) if isinstance(e, JudgementOwed))
            assert effects[:k] == neutral[:k]
            assert not any(isinstance(e, HealthMoved) for e in effects)
            assert all(e in neutral for e in effects[k + 1 :])
        elif not turn.owed:
            assert without(effects, Judged) == neutral
        else:
            assert [e for e in effects if isinstance(e, HealthMoved)] == [
                e for e in neutral if isinstance(e, HealthMoved)
            ]


@some(0.2)
@given(stories(60, cadence=1, soft=0))
def test_nobody_waits_for_longer_than_the_interval_and_a_tick(story: Story):
    """Marks that were never judged are small moves since a judgement that is not over."""
    cadence, judged_at, marks = story.stack.declaration.cadence, 0, {}
    for turn in turns(story):
        ran = any(isinstance(e, HealthMoved) for e in turn.effects)
        moved = [e for e in turn.effects if isinstance(e, MarkMoved)]
        if isinstance(turn.event, ClockTicked) and len(turn.effects) != 1:
            assert ran
        if ran:
            judged_at = turn.event.ts
            state = turn.world.state
            marks = dict(enumerate(state.mark.tolist())) | {e.instrument: e.price for e in moved}
        elif isinstance(turn.event, PriceObserved):
            for e in moved:
                assert turn.event.ts - judged_at < cadence.judge_every_ns
                was = marks[e.instrument]
                assert abs(e.price - was) * PPM < was * cadence.judge_move
                assert any(isinstance(x, JudgementOwed) for x in turn.effects)
