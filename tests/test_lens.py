"""Through the lens everything is decided as without it, whatever happened since it was packed."""

import numpy as np
import pytest
from hypothesis import given

from combinations import Story, stories, unfold
from desk import Desk, U, coin, column, flat, inverse, perp, rules, venue_of
from test_invariants import some
from test_packed import in_ranges
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    Deposited,
    FundingPaid,
    ParameterChanged,
    Traded,
)
from tidegate.domain.venue import Limits
from tidegate.engine import lens as engine
from tidegate.engine.following import followed
from tidegate.engine.governance import judged_facts
from tidegate.engine.lens import APART, Lens
from tidegate.engine.state import State
from tidegate.engine.step import decide, step
from tidegate.kernels.profile import forced_buckets
from tidegate.safeguards.cadence import Cadence
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.stack import Stack


WIDTH, BUCKETS = 5_000, 40
TIERS = Requirement(
    tiers=(
        Tier(initial=100_000, maintenance=50_000),
        Tier(floor=200_000_000, initial=200_000, maintenance=100_000),
        Tier(floor=600_000_000, initial=400_000, maintenance=200_000),
    )
)
FEW = venue_of(perp("A"), perp("B"), perp("C"))
MANY = venue_of(
    perp("A"), perp("B"), perp("C"), limits=Limits(accounts_max=700, positions_max=2_500)
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Pack at once, always: otherwise small histories would never come back to it."""
    monkeypatch.setattr(engine, "PATIENCE", 0)


def looks_right(lens: Lens, state: State, stack: Stack) -> bool:
    """Assert that health and forced lots are the ordinary sweep's; return whether it answered."""
    facts = followed(state, judged_facts(state, state.now, stack), stack)
    prices = state.mark, state.low, state.high
    seen = lens.health(state, facts, *prices, stack.declaration)
    if seen is None:
        assert lens.forced(state, state.mark, column(), WIDTH, BUCKETS) is None
        return False
    full = stack.declaration.margin.assess(
        state.book, facts, mark=state.mark, low=state.low, high=state.high
    )
    for name in ("equity", "required", "best"):
        assert getattr(seen, name).tolist() == getattr(full, name).tolist(), name
    forced = lens.forced(state, state.mark, seen.best, WIDTH, BUCKETS)
    down, up = np.zeros((2, BUCKETS), np.int64)
    for i in range(state.mark.size):
        forced_buckets(state.book, state.facts, state.mark, full.best, i, WIDTH, down, up)
        assert forced[2 * i].tolist() == down.tolist()
        assert forced[2 * i + 1].tolist() == up.tolist()
    return True


def followed_through(story: Story, lens: Lens) -> int:
    """Take a story with and without the lens; return how many judgements it answered."""
    answered = 0
    for world, event in unfold(story):
        try:
            plain = decide(world.state, event, story.stack)
            assert decide(world.state, event, story.stack, lens) == plain
            effects = world.take(event)
        except CapacityExceeded:
            continue
        assert effects == plain
        lens.follow(world.state, effects)
        if world.state.seq % 3 == 0:
            answered += looks_right(lens, world.state, story.stack)
    return answered


@some(0.2)
@given(stories(60, soft=0, wait=0, margin__group=0))
def test_every_history_is_decided_the_same(story: Story):
    """Under every combination of safeguards that the lens admits; ranges cut anywhere."""
    followed_through(story, Lens(in_ranges(1, 3)))


@some(0.1)
@given(stories(30, soft=0, wait=0, margin__group=0))
def test_so_is_one_that_packs_all_the_time(story: Story):
    followed_through(story, Lens(apart_max=1))


@some(0.1)
@given(stories(15))
def test_a_rule_that_it_does_not_carry_is_left_to_the_sweep(story: Story):
    lens, declaration = Lens(), story.stack.declaration
    answered = followed_through(story, lens)
    if declaration.margin.group_tiers or declaration.wait.active or declaration.soft.bands:
        assert answered == lens.packs == 0


def busy(
    seed: int, steps: int, lens: Lens, people: int = 400, **policies
) -> tuple[Desk, list[int]]:
    """Trade, deposit, open accounts and move prices; return at which steps it answered."""
    rng = np.random.default_rng(seed)
    desk = Desk(MANY, margin=MarginModel(instruments={"*": TIERS}), **policies)
    for i in range(3):
        desk.price(1_000, i)
        desk.depth([(990, 10_000), (950, 10_000)], [(1_010, 10_000)], i=i)
    held = [
        (n, int(i), int(rng.integers(1, 500)) * int(rng.choice([-1, 1])), 1_000)
        for n in range(people)
        for i in rng.permutation(3)[: rng.integers(0, 4)]
    ]
    desk.users(rng.integers(10**6, 4 * 10**8, people).tolist(), held)
    answered = []
    for _ in range(steps):
        desk.now += 10**8
        event = draw(rng, desk)
        effects = step(desk.state, event, desk.stack, lens)
        again = State.load(desk.state.dump(), desk.stack) if rng.random() < 0.02 else None
        assert again is None or again.digest() == desk.state.digest()
        del effects
        answered.append(int(looks_right(lens, desk.state, desk.stack)))
    return desk, answered


def draw(rng: np.random.Generator, desk: Desk):
    """Return something that happens: half of it trades that open, close, add and turn round."""
    i, user = int(rng.integers(3)), U + int(rng.integers(desk.state.book.accounts - U))
    mark = int(desk.state.mark[i])
    match int(rng.integers(10)):
        case 0 | 1 | 2 | 3 | 4:
            rows = np.flatnonzero(desk.state.book.account[: desk.state.book.high] == user)
            lots = int(rng.integers(1, 300)) * int(rng.choice([-1, 1]))
            if rows.size and rng.random() < 0.6:
                row = rows[0]
                i, mark = int(desk.state.book.instrument[row]), int(desk.state.mark[i])
                held = int(desk.state.book.lots[row])
                lots = int(rng.choice([-held, -2 * held, -(held // 2), 5 * held])) or 1
            price = max(1, mark)
            return Traded(ts=desk.now, instrument=i, taker=user, maker=0, lots=lots, price=price)
        case 5:
            return Deposited(ts=desk.now, account=user, amount=int(rng.integers(1, 10**8)))
        case 6:
            return AccountOpened(ts=desk.now, name=f"new {desk.state.seq}")
        case _:
            price = max(1, round(mark * float(np.exp(rng.normal(0, 0.01)))))
            return desk.priced(price, i)


@pytest.mark.parametrize("seed", range(3))
def test_most_accounts_stay_in_their_cells(seed):
    """Trades that leave as many positions as before are written in place, others judged apart."""
    lens = Lens(in_ranges(7, 300))
    desk, answered = busy(seed, 150, lens)
    assert all(answered)
    assert lens.packs == 1
    copy = lens._copy
    apart = np.flatnonzero(copy.place == APART)
    assert sorted(copy.apart.tolist()) == apart.tolist()
    assert 0 < apart.size < 75
    gone = copy.packed.packed.account[copy.left[: copy.gone]]
    assert set(gone.tolist()) <= set(apart.tolist())
    assert desk.state.seq > 150


@pytest.mark.parametrize("seed", range(2))
def test_a_few_accounts_turn_round_in_their_cells(seed):
    lens = Lens(in_ranges(3))
    _, answered = busy(seed, 30, lens, 9)
    assert all(answered)


def test_a_cadence_and_a_lens_go_together():
    lens = Lens()
    cadence = Cadence(judge_every_ns=10**9, judge_move=10_000)
    desk, answered = busy(9, 40, lens, 12, cadence=cadence, oracle=OracleGuard())
    assert all(answered)
    assert desk.state.judgement.stirred()


def told(desk: Desk, lens: Lens, *events) -> None:
    """Take events through the lens, and look after each of them."""
    for event in events:
        step(desk.state, event, desk.stack, lens)
        assert looks_right(lens, desk.state, desk.stack)


@pytest.mark.parametrize(
    ("held", "then", "price"),
    [
        (10, 150, 4_500),  # of a flat group, and beyond its first tier later
        (165, 199, 3_300),  # two tiers up, where those that were packed are one
        (1_000, 610, 300),  # two tiers down
    ],
)
def test_a_position_that_was_rewritten_counts_for_where_tiers_are_certain(held, then, price):
    """Lots worth a million each: tiers begin at 200 and at 600 of them."""
    desk = Desk(FEW, margin=MarginModel(instruments={"*": TIERS}))
    desk.users([10**10] * 2, [(0, 0, held, 1_000), (1, 0, held, 1_000)])
    for i in range(3):
        desk.price(1_000, i)
    lens = Lens()
    assert looks_right(lens, desk.state, desk.stack)
    told(desk, lens, desk.trade(0, then - held, 1_000), desk.priced(price))
    assert (lens.packs, lens._copy.used) == (1, 0)


def test_everybody_in_a_batch_of_payments_is_followed():
    desk, lens = small()
    told(desk, lens, FundingPaid(ts=desk.now, instrument=0, rate=10**6))
    assert lens.packs == 1


def test_an_account_that_is_new_is_judged():
    desk, lens = small()
    told(
        desk,
        lens,
        AccountOpened(ts=desk.now, name="new"),
        Deposited(ts=desk.now, account=U + 4, amount=10**8),
        desk.trade(4, 30, 1_000),
        desk.priced(900),
    )
    assert lens._copy.apart.tolist() == [U + 4]


def test_it_lets_go_when_too_many_are_judged_apart():
    """A book that has changed as much is packed anew, not grown without bound."""
    desk, _ = small()
    lens = Lens(apart_max=1)
    assert looks_right(lens, desk.state, desk.stack)
    told(desk, lens, desk.trade(0, 5, 1_000, 1))
    assert (lens.packs, lens._copy.used) == (1, 1)
    told(desk, lens, desk.trade(0, 5, 1_000, 2), desk.trade(1, 5, 1_000, 2))
    assert (lens.packs, lens._copy.used) == (2, 0)


# ------------------------------------------------------------------ when it starts anew


def small(**policies) -> tuple[Desk, Lens]:
    desk = Desk(FEW, **({"margin": MarginModel(instruments={"*": TIERS})} | policies))
    desk.users([10**8] * 4, [(n, n % 3, 10 + n, 1_000) for n in range(4)])
    for i in range(3):
        desk.price(1_000, i)
    lens = Lens()
    assert looks_right(lens, desk.state, desk.stack)
    return desk, lens


def test_it_waits_until_packing_is_worth_it(monkeypatch):
    """As many ordinary sweeps as packing costs, after it had to let go; at first it does not."""
    monkeypatch.setattr(engine, "PATIENCE", 3)
    desk, _ = small()
    lens = Lens()
    assert not looks_right(Lens(_rented=2), desk.state, desk.stack)
    assert looks_right(Lens(), desk.state, desk.stack)
    assert looks_right(lens, desk.state, desk.stack)
    desk.price(1_001)
    found = [looks_right(lens, desk.state, desk.stack) for _ in range(5)]
    assert found == [False, False, False, True, True]
    assert (lens.packs, lens.passed) == (2, 3)


def test_a_step_that_it_was_not_told_of_is_noticed():
    desk, lens = small()
    desk.price(1_001)
    assert looks_right(lens, desk.state, desk.stack)
    assert lens.packs == 2
    desk.price(1_002)
    lens.follow(desk.state, desk.price(1_003))
    assert lens._copy is None
    assert looks_right(lens, desk.state, desk.stack)


def test_another_book_is_noticed():
    desk, lens = small()
    twin = State.load(desk.state.dump(), desk.stack)
    twin.book.cash[U] -= 7
    assert looks_right(lens, twin, desk.stack)
    assert lens.packs == 2
    event = desk.priced(1_001)
    lens.follow(desk.state, step(desk.state, event, desk.stack))
    assert lens._copy is None


def test_a_rule_that_is_packed_and_changes_is_packed_anew():
    desk, lens = small()
    for name in ("cash_debt.maintenance", "premium.A"):
        event = ParameterChanged(ts=desk.now, name=name, value=3)
        effects = step(desk.state, event, desk.stack, lens)
        assert effects
        assert looks_right(lens, desk.state, desk.stack), name
    assert lens.packs == 3


def test_nobody_is_looked_at_before_what_he_holds_has_a_price():
    desk = Desk(FEW, margin=MarginModel(instruments={"*": TIERS}))
    desk.users([10**8], [(0, 1, 10, 1_000)])
    lens = Lens()
    desk.price(1_000, 0)
    assert not looks_right(lens, desk.state, desk.stack)
    desk.price(1_000, 1)
    assert looks_right(lens, desk.state, desk.stack)


def test_balances_and_inverses_are_judged_too():
    venue = venue_of(perp(), coin(), inverse())
    desk = Desk(venue, margin=rules(flat(initial=200_000, maintenance=100_000)))
    desk.users([10**8, 10**8], [(0, 0, 10, 100), (0, 1, 500, 100), (1, 2, 5, 100)])
    for i in range(3):
        desk.price(100, i)
    lens = Lens()
    assert looks_right(lens, desk.state, desk.stack)
    for amount in (50, 70):
        event = Deposited(ts=desk.now, account=U, amount=amount, asset=1)
        step(desk.state, event, desk.stack, lens)
        assert looks_right(lens, desk.state, desk.stack)
    assert lens._copy.apart.tolist() == [U]
    step(desk.state, Deposited(ts=desk.now, account=U + 1, amount=9), desk.stack, lens)
    assert looks_right(lens, desk.state, desk.stack)
    assert lens.packs == 1
