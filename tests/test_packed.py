"""A packed book says what the engine's own sweep says: every account, every rule, every range."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import U, book_of, column, facts_of, perp, venue_of
from test_kernels import VENUE, columns, worlds
from tidegate.domain.book import FIRST_USER
from tidegate.domain.packed import LOTS_NARROW
from tidegate.domain.units import PPM
from tidegate.drivers.threads import Threads
from tidegate.engine.packed import PackedBook, alone
from tidegate.kernels import packed as kernels
from tidegate.kernels.packing import pack_book, pack_columns
from tidegate.safeguards.margin import MarginModel, Requirement, Tier


few = settings(max_examples=60, deadline=None)
owners = st.lists(st.integers(0, 3), min_size=4, max_size=4)
doubts = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=len(VENUE.instruments),
    max_size=len(VENUE.instruments),
)  # fmt: skip


def in_ranges(*ends: int):
    """Return a `Share` that cuts the members at ``ends``."""

    def share(work, total):
        cuts = sorted({0, total, *(min(e, total) for e in ends)})
        return [work(a, b) for a, b in pairwise(cuts)] or [work(0, 0)]

    return share


def same(packed: PackedBook, health, facts, *, mark, low, high, share=alone) -> None:
    """Assert that a packed book answers as ``health``, in both forms."""
    found = packed.assess(facts, mark=mark, low=low, high=high, share=share)
    all_of_them = found.health(health.equity.size)
    assert (all_of_them.equity == health.equity).all()
    assert (all_of_them.required == health.required).all()
    assert (all_of_them.best == health.best).all()
    below = np.sort(found.account[found.below])
    assert below.tolist() == health.liquidatable.tolist()
    listed = packed.liquidatable(facts, mark=mark, low=low, high=high, share=share)
    assert listed.tolist() == health.liquidatable.tolist()


@few
@given(worlds(), doubts, owners, st.booleans(), st.lists(st.integers(0, 4), max_size=2))
def test_a_packed_book_is_judged_as_the_book_it_was_packed_from(world, doubt, owner, grouped, dead):
    """Tiers, premiums, balances, debts, inverses, owner groups, doubted and unknown prices."""
    book, facts, mark = columns(world)
    book.owner[U : U + 4] = U + np.array(owner)
    mark[dead] = 0
    low = np.maximum(mark - [d[0] for d in doubt], np.minimum(mark, 1))
    high = mark + [d[1] for d in doubt]
    low[dead] = high[dead] = 0
    model = MarginModel(group_tiers=grouped)
    health = model.assess(book, facts, mark=mark, low=low, high=high)
    packed = PackedBook.load(book, facts, mark=mark, group_tiers=grouped)
    same(packed, health, facts, mark=mark, low=low, high=high, share=in_ranges(1, 3))


TIERS = tuple(
    Tier(floor=f * PPM, maintenance=m, initial=2 * m)
    for f, m in ((0, 5_000), (1_000, 10_000), (10_000, 25_000), (50_000, 133_333))
)


def crowd(seed: int, accounts: int, instruments: int = 5, unit: int = 1_000, most: int = 10**5,
          price: int = 100):  # fmt: skip
    """Return (venue, book, facts, mark) of many accounts with up to four positions each."""
    rng = np.random.default_rng(seed)
    venue = venue_of(
        *(perp(f"I{i}", tick_value=unit, lots_max=10**9, price_max=10**4,
               open_interest_max=10**11)
          for i in range(instruments)),
        limits=VENUE.limits.__class__(accounts_max=accounts + 64, positions_max=8 * accounts),
    )  # fmt: skip
    facts = facts_of(venue, MarginModel(instruments={"*": Requirement(tiers=TIERS)}))
    held = []
    for user in range(accounts):
        for i in rng.permutation(instruments)[: rng.integers(0, 5)].tolist():
            lots = int(np.exp(rng.uniform(0, np.log(most)))) * int(rng.choice([-1, 1]))
            held.append((user, i, lots, lots * unit * price))
    gross = np.zeros(accounts)
    for user, _, _, cost in held:
        gross[user] += abs(cost)
    cash = (gross * np.exp(rng.normal(-3, 1, accounts))).astype(np.int64)
    return venue, book_of(venue, cash.tolist(), held), facts, np.full(instruments, price)


def judged(book, facts, mark):
    return MarginModel().assess(book, facts, mark=mark, low=mark, high=mark)


@pytest.mark.parametrize("move", [0, 1, -30, 40, 400, 9_000])
def test_prices_may_leave_the_tiers_of_packing(move):
    """Beside the packed tier the fast sums hold, further away the plain ones take over."""
    _, book, facts, mark = crowd(1, 1_500)
    packed = PackedBook.load(book, facts, mark=mark)
    there = mark + move
    health = judged(book, facts, there)
    assert 0 < health.liquidatable.size < book.accounts - FIRST_USER
    with Threads(3, grain=64) as threads:
        for share in (alone, threads, in_ranges(1, 500, 1_025)):
            same(packed, health, facts, mark=there, low=there, high=there, share=share)
    c = kernels.coefficients(packed.packed, facts, there, there)
    assert (c.flat, c.near) == (int(move <= 1), int(move <= 400))


@pytest.mark.parametrize("instruments", [128, 129])
def test_slots_are_a_byte_while_they_fit(instruments):
    _, book, facts, mark = crowd(2, 200, instruments)
    packed = PackedBook.load(book, facts, mark=mark)
    assert packed.packed.slot.dtype == (np.uint8 if instruments == 128 else np.uint16)
    same(packed, judged(book, facts, mark), facts, mark=mark, low=mark, high=mark)


@pytest.mark.parametrize(("most", "kind"), [(LOTS_NARROW, np.int32), (LOTS_NARROW + 1, np.int64)])
def test_lots_are_narrow_while_their_dues_round_exactly(most, kind):
    venue, book, facts, mark = crowd(3, 20, unit=1)
    book = book_of(venue, [10**9] * 3, [(0, 0, most, most), (1, 1, -most, -most), (2, 1, 7, 7)])
    packed = PackedBook.load(book, facts, mark=mark)
    assert packed.packed.lots.dtype == kind
    for price in (1, 2, 99, 101):
        there = np.full(mark.size, price)
        same(packed, judged(book, facts, there), facts, mark=there, low=there, high=there)


@few
@given(st.integers(1, LOTS_NARROW), st.integers(0, PPM), st.integers(1, 10**4), st.booleans())
def test_a_due_is_rounded_up_exactly_in_a_float(lots, rate, value, edge):
    """The one float of the sweep, at its worst: the most lots, whole and nearly whole quotients."""
    lots = LOTS_NARROW - lots % 1_000 if edge else lots
    unit = value * rate
    whole, rest = unit // PPM, unit % PPM
    found = lots * whole + int(lots * (rest * 1e-6) + kernels.CEILING)
    assert found == -(-lots * unit // PPM)


def test_every_rest_rounds_up_exactly_at_the_narrowest_place():
    """All quotients a millionth of a Money on either side of a whole one, at the most lots."""
    lots = LOTS_NARROW - np.arange(2_000)[:, None]
    for base in (0, 1, 499_999, 999_000):
        rest = base + np.arange(1_000)[None, :]
        found = (lots * (rest * 1e-6) + kernels.CEILING).astype(np.int64)
        assert (found == -(-lots * rest // PPM)).all()


def test_on_the_line_is_left_alone_and_one_below_is_not():
    venue = venue_of(perp())
    facts = facts_of(venue, MarginModel(instruments={"*": Requirement(tiers=TIERS[:1])}))
    line = 5 * 1_000  # 10 lots at 100 ticks of 1,000 Money ask 5,000
    book = book_of(venue, [line - 1, line, line + 1], [(n, 0, 10, 10**6) for n in range(3)])
    mark = column(100)
    packed = PackedBook.load(book, facts, mark=mark)
    assert packed.liquidatable(facts, mark=mark, low=mark, high=mark).tolist() == [U]


def test_an_empty_book_and_one_without_positions():
    venue = venue_of(perp())
    facts, mark = facts_of(venue), column(1)
    for cash, found in ([], []), ([0, -1, 5], [U + 1]):
        packed = PackedBook.load(book_of(venue, cash, []), facts, mark=mark)
        assert packed.packed.members == len(cash)
        listed = packed.liquidatable(facts, mark=mark, low=mark, high=mark, share=in_ranges())
        assert listed.tolist() == found


def test_rules_that_decide_the_layout_ask_for_a_new_one():
    _, book, facts, mark = crowd(4, 10)
    packed = PackedBook.load(book, facts, mark=mark)
    for column_of, cell in ((facts.premium, 0), (facts.cash_debt, 0)):
        assert packed.fits(facts)
        column_of[cell] += 1
        assert not packed.fits(facts)
        with pytest.raises(AssertionError, match="pack the book again"):
            packed.assess(facts, mark=mark, low=mark, high=mark)
        column_of[cell] -= 1


def test_raw_columns_and_a_book_pack_alike():
    _, book, facts, mark = crowd(5, 300)
    rows = np.flatnonzero((book.lots[: book.high] != 0) & (book.account[: book.high] >= U))
    raw = pack_columns(
        cash=book.cash[U : book.accounts],
        account=book.account[rows].astype(np.int64) - U,
        instrument=book.instrument[rows].astype(np.int64),
        lots=book.lots[rows],
        cost=book.cost[rows],
        facts=facts,
        mark=mark,
        first=U,
    )
    for ours, theirs in zip(raw, pack_book(book, facts, mark), strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours == theirs).all()


def test_ranges_of_threads_cover_everything_once_and_in_order():
    with Threads(3, grain=10) as threads:
        for total in (0, 1, 9, 25, 1_000):
            found = threads(lambda a, b: list(range(a, b)), total)
            assert [n for part in found for n in part] == list(range(total))
    assert Threads(3)(lambda a, b: (a, b), 10**6) == [(0, 10**6)]  # not entered: no threads
