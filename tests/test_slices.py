"""Slices: together exactly the stage, each at its time, and nobody outside can tell when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desk import Desk, U, flat, perp, rows_of, rules, venue_of
from tidegate.domain.effects import (
    CutDropped,
    OrdersPlaced,
    Rejected,
    SliceTaken,
    StageCut,
    StagesTaken,
)
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import OrdersExpired, OrdersFilled, SeedDrawn
from tidegate.domain.units import PPM, SECOND, pack, unbounded, unpack
from tidegate.engine.state import State
from tidegate.kernels.slices import due_by
from tidegate.safeguards.oracle import OracleGuard
from tidegate.safeguards.slices import Slicing
from tidegate.safeguards.throttle import StaticThrottle


TEN = rules(flat(150_000, 100_000))
SEED = bytes(range(32))


def desk_of(slices: Slicing, users: int = 1, seed: bytes = SEED, **policies) -> Desk:
    desk = Desk(venue_of(perp()), margin=TEN, slices=slices, **policies)
    desk.users([950_000_000] * users, [(n, 0, 1_000, 10_000) for n in range(users)])
    if seed:
        desk.send(SeedDrawn(ts=desk.now, seed=seed))
    return desk


def sold(desk: Desk, effects: list, *, fill: bool = True) -> int:
    total = 0
    for placed in desk.of(OrdersPlaced, effects):
        lots = unpack(placed.lots)
        ids = pack(placed.first + np.arange(lots.size))
        total -= int(lots.sum())
        if fill:
            price = pack(np.full(lots.size, int(desk.state.mark[0])))
            desk.send(OrdersFilled(ts=desk.now, order=ids, lots=placed.lots, price=price))
        else:
            desk.send(OrdersExpired(ts=desk.now, order=ids, reason="nobody"))
    return total


@given(
    st.integers(0, 10**9),
    st.integers(2, 32),
    st.integers(0, 999_999),
    st.integers(0, 2**62 - 1),
    st.integers(32, 10**13),
)
def test_slices_add_up_to_the_stage(total, count, jitter, secret, horizon):
    slicing = Slicing(count=count, jitter=jitter, horizon_ns=horizon)
    weight, offset = slicing.cut(secret)
    assert (weight > 0).all()
    assert (np.diff(offset) >= 0).all()
    assert offset[0] >= 0
    assert offset[-1] < horizon
    times = sorted({0, *offset.tolist(), horizon})
    due = [due_by(total, weight, offset, t) for t in times]
    assert due == sorted(due)
    assert due[-1] == total
    twin = unbounded(due_by)(total, weight.astype(object), offset.astype(object), times[1])
    assert twin == due[1]


def test_without_a_seed_slices_are_even():
    weight, offset = Slicing(count=4, horizon_ns=8).cut(0)
    assert weight.tolist() == [PPM] * 4
    assert offset.tolist() == [0, 2, 4, 6]
    assert Slicing(count=4).secret(b"", 3, 4) == 0


def test_secrets_tell_nothing_about_one_another():
    slicing = Slicing(count=8, horizon_ns=SECOND)
    drawn = {slicing.secret(SEED, a, at) for a in range(64) for at in range(4)}
    assert len(drawn) == 256
    assert slicing.secret(SEED, 1, 2) != slicing.secret(SEED[::-1], 1, 2)
    first = [slicing.cut(s).offset[0] for s in sorted(drawn)]
    # Uniform over its eighth of a second: the mean of 256 draws within four standard errors.
    assert abs(np.mean(first) / (SECOND / 8) - 0.5) < 4 / (12 * 256) ** 0.5


def test_a_stage_goes_in_slices_at_their_times():
    desk = desk_of(slices := Slicing(count=4, horizon_ns=8 * SECOND))
    effects = desk.price(9_150)
    (cut,) = desk.of(StageCut, effects)
    assert rows_of(cut, "account", "instrument", "lots") == [(U, 0, -1_000)]
    assert len(desk.of(StagesTaken, effects)) == 1
    began, table = desk.now, slices.cut(int(unpack(cut.secret)[0]))
    gone = sold(desk, effects)
    for _ in range(90):
        gone += sold(desk, desk.tick(0.1))
        assert gone == due_by(1_000, *table, desk.now - began)
    assert gone == 1_000
    assert not desk.of(StageCut, desk.tick(1))


def test_one_slice_is_no_slicing():
    desk = desk_of(Slicing())
    assert not desk.of(StageCut, desk.price(9_150))
    assert desk.state.pace.used() == ()


def test_who_cannot_wait_does_not():
    """Bankrupt, or below `urgent`: all that is left is due."""
    desk = desk_of(Slicing(count=4, horizon_ns=8 * SECOND))
    first = sold(desk, desk.price(9_150))
    assert first < 1_000
    assert sold(desk, desk.price(9_000)) == 1_000 - first
    hasty = desk_of(Slicing(count=4, horizon_ns=8 * SECOND, urgent=200_000))
    assert sold(hasty, hasty.price(9_150)) == 1_000  # 100 of 915 is less than a fifth
    assert Slicing(urgent=200_000).hurries(199, 1_000)
    assert not Slicing(urgent=200_000).hurries(200, 1_000)
    assert Slicing().hurries(-1, 1_000)
    assert not Slicing().hurries(0, 1_000)


def test_whoever_heals_is_left_alone():
    desk = desk_of(Slicing(count=4, horizon_ns=8 * SECOND), users=2)
    gone = sold(desk, desk.price(9_150))
    healed = desk.price(11_000)
    assert not desk.of(CutDropped, healed)  # nobody is ill: nothing is looked at
    assert sold(desk, desk.tick(10)) == 0
    assert gone < 2_000


def test_a_healed_account_loses_its_old_slices():
    desk = Desk(venue_of(perp()), margin=TEN, slices=Slicing(count=4, horizon_ns=8 * SECOND))
    desk.users([950_000_000, 3_000_000_000], [(0, 0, 1_000, 10_000), (1, 0, -1_000, 10_000)])
    assert sold(desk, desk.price(9_150)) == 250
    effects = desk.price(12_500)  # the long is rich again, the short is not
    (dropped,) = desk.of(CutDropped, effects)
    assert unpack(dropped.account).tolist() == [U]
    again = desk.of(StageCut, desk.later(60).price(9_150))
    assert rows_of(again[0], "account", "lots") == [(U, -750)]


def test_what_a_slice_could_not_sell_waits_for_the_next_stage():
    desk = desk_of(Slicing(count=2, horizon_ns=2 * SECOND), seed=b"")
    assert sold(desk, desk.price(9_150), fill=False) == 500
    assert sold(desk, desk.tick(1), fill=False) == 500
    cut = desk.of(StageCut, desk.tick(1))
    assert rows_of(cut[0], "lots") == [(-1_000,)]


def test_no_more_is_due_than_is_still_held():
    """Between two slices of 500 the account sells 300 by itself: 200 are left to sell."""
    desk = desk_of(Slicing(count=2, horizon_ns=2 * SECOND), seed=b"")
    assert sold(desk, desk.price(9_150)) == 500
    assert not desk.of(Rejected, desk.send(desk.trade(0, -300, 9_150)))
    assert sold(desk, desk.tick(1)) == 200


def test_a_slice_waits_for_a_price_that_is_good_enough():
    guard = OracleGuard(age_max_ns=SECOND // 2)
    desk = desk_of(Slicing(count=2, horizon_ns=2 * SECOND), seed=b"", oracle=guard)
    assert sold(desk, desk.price(9_150)) == 500
    assert sold(desk, desk.tick(1)) == 0
    assert sold(desk, desk.later(0.1).price(9_150)) == 500


def test_a_throttle_holds_slices_back_and_none_is_lost():
    desk = desk_of(
        Slicing(count=4, horizon_ns=4 * SECOND),
        users=3,
        throttle=StaticThrottle(lots={"PERP": 70}, window_ns=SECOND),
    )
    gone = sold(desk, desk.price(9_150))
    for _ in range(60):
        effects = desk.tick(1)
        taken = sum(-int(unpack(e.lots).sum()) for e in desk.of(SliceTaken, effects))
        step = sold(desk, effects)
        assert taken == step <= 70
        gone += step
    # At 9,150 an account of 109 lots stands above its maintenance again.
    assert 3 * 891 <= gone <= 3_000
    assert not (desk.state.book.lots[:3] > 109).any()


def test_seeds_are_checked_and_kept():
    desk = desk_of(Slicing(count=2), seed=b"")
    (refused,) = desk.of(Rejected, desk.send(SeedDrawn(ts=desk.now, seed=b"short")))
    assert refused.code == "seed_out_of_range"
    desk.send(SeedDrawn(ts=desk.now, seed=SEED))
    assert State.load(desk.state.dump(), desk.stack).digest() == desk.state.digest()
    deaf = desk_of(Slicing(), seed=b"")
    assert deaf.send(SeedDrawn(ts=deaf.now, seed=SEED)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 33},
        {"jitter": PPM},
        {"urgent": -1},
        {"count": 4, "horizon_ns": 3},
        {"reseed_ns": 0},
    ],
)
def test_what_cannot_be_cut_is_refused(wrong):
    with pytest.raises(ConfigInvalid, match="slices"):
        Slicing(**wrong)
    assert all(line.startswith("slices: ") for line in Slicing(count=3, urgent=1).describe())
