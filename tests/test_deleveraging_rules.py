"""Who is deleveraged: scores, sharing rules, hedges, severity and the early trigger."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desk import Desk, column, flat, perp, rows_of, rules, venue_of
from outside import Margin
from tidegate.domain.book import FIRST_USER, FUND
from tidegate.domain.effects import DeficitFound, Deleveraged
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.events import BookImported
from tidegate.domain.payers import BurdenMoved, DeleveragingCompared, EarlyMoved
from tidegate.domain.units import PPM, pack, unbounded, unpack
from tidegate.engine.explain import END, explain
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.kernels import allocate, closeout, insurance, portfolio, rank
from tidegate.ports import Record
from tidegate.safeguards.waterfall import RULES, SCORES, Tranche, Waterfall


U = FIRST_USER
USD = 1_000_000
MANY = settings(max_examples=60, deadline=None)
SPLIT_PROOF = ("pro_rata", "pro_rata_risk", "min_max", "mirror")


def deleveraging(*instruments, rule: str = "queue", **waterfall) -> Desk:
    policy = {"deleverage": rule, "deleverage_when": "bankrupt"} | waterfall
    return Desk(
        venue_of(*(instruments or (perp(),))),
        margin=rules(flat(20_000, 10_000)),
        waterfall=Waterfall(**policy),
    )


def taken_by(desk: Desk, effects) -> dict[int, int]:
    """Return lots closed per user over all receipts, as positive numbers."""
    out: dict[int, int] = {}
    for receipt in desk.of(Deleveraged, effects):
        for account, lots in rows_of(receipt, "account", "lots"):
            out[account - U] = out.get(account - U, 0) + abs(lots)
    return out


# Scores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "whole", "found"),
    [(0, 5, 0), (-1, 5, 0), (1, 2, 500_000), (2, 3, 666_666), (9, 0, 10**9), (999, 1, 999 * PPM),
     (1_000, 1, 10**9), (1_001, 1, 10**9)],
)  # fmt: skip
def test_a_ratio_is_cut_at_both_ends(part, whole, found):
    assert rank.capped_ratio(part, whole, PPM, 1_000) == found
    assert unbounded(rank.capped_ratio)(part, whole, PPM, 1_000) == found


@pytest.mark.parametrize(
    ("gain", "margin", "found"),
    [(100, 500, 200_000), (1, 500, 2_000), (0, 500, 0), (-100, 500, -50_000), (-100, 0, -100)],
)
def test_leverage_pushes_winners_up_and_losers_towards_the_middle(gain, margin, found):
    """A position of 1,000 at the mark that cost 1,000; ``margin`` is what it stands on."""
    score = rank.sequence_score(gain, 1_000, 1_000, margin, PPM, 1_000)
    assert score == found
    assert unbounded(rank.sequence_score)(gain, 1_000, 1_000, margin, PPM, 1_000) == found


@pytest.mark.parametrize(
    ("gain", "wallet", "found"),
    [(100 * USD, 100 * USD, 50_000), (0, 100 * USD, 0), (-1, 100 * USD, 0), (100 * USD, 0, 10**7),
     (100 * USD, -99 * USD, 10**9), (100 * USD, -100 * USD, 0)],
)  # fmt: skip
def test_a_wallet_below_one_unit_counts_as_one(gain, wallet, found):
    score = rank.margin_score(gain, wallet, USD, 10 * USD, PPM, 1_000)
    assert score == found


def test_the_printed_index_ranks_winning_shorts_the_other_way_round():
    """Of two shorts alike but in entry, the printed index takes the smaller winner first."""
    seen = {}
    for score in ("index", "sided_index"):
        desk = deleveraging(score=score)
        desk.users(
            [USD, 50 * USD, 50 * USD],
            [(0, 0, 100, 10_400), (1, 0, -100, 10_900), (2, 0, -100, 10_500)],
        )
        effects = desk.price(10_000)
        seen[score] = taken_by(desk, effects)
        audit(desk.state)
    # Equity counts too: user 1 has 140, user 2 has 100 on the same notional, so make room for that.
    assert seen["index"] == {2: 100}
    exact = {
        n: Fraction(10_000, entry) * Fraction(1_000, 50 + (entry - 10_000) // 10)
        for n, entry in ((1, 10_900), (2, 10_500))
    }
    assert exact[2] > exact[1]


@pytest.mark.parametrize("score", SCORES)
def test_every_score_gives_a_queue_that_closes_whole_winners(score):
    desk = deleveraging(score=score)
    desk.users(
        [USD, 30 * USD, 90 * USD, 60 * USD],
        [(0, 0, 100, 10_400), (1, 0, -40, 10_900), (2, 0, -60, 11_000), (3, 0, -90, 10_600)],
    )
    (receipt,) = desk.of(Deleveraged, desk.price(10_000))
    lots = [n for _, n in rows_of(receipt, "account", "lots")]
    held = {U + 1: 40, U + 2: 60, U + 3: 90}
    whole = [held[a] == n for a, n in rows_of(receipt, "account", "lots")]
    assert sum(lots) == 100
    assert all(whole[:-1])
    assert [r for (r,) in rows_of(receipt, "rank")] == [*range(1, len(lots) + 1)]
    audit(desk.state)


def test_scores_differ_where_they_should():
    """One book, and the head of the queue by each score."""
    heads = {}
    for score in SCORES:
        desk = deleveraging(score=score)
        desk.users(
            [USD, 900 * USD, 12 * USD, 900 * USD, 900 * USD],
            [
                (0, 0, 10, 10_400),
                (1, 0, -900, 10_310),  # the largest
                (2, 0, -60, 10_500),  # the most leveraged
                (3, 0, -100, 14_000),  # the largest profit
                (4, 0, -10, 10_200),
            ],
        )
        (receipt,) = desk.of(Deleveraged, desk.price(10_000))
        heads[score] = rows_of(receipt, "account")[0][0] - U
    assert heads["size"] == 1
    assert heads["profit"] == 3
    assert heads["leverage_profit"] == heads["sided_index"] == heads["net_risk"] == 2
    assert heads["index"] == heads["profit_equity"] == 2


# Sharing --------------------------------------------------------------------------------------


def best_burden(total, capacity, cap):
    """Return the least possible largest lots / capacity, by trying everything."""
    every = product(*(range(c + 1) for c in cap))
    fits = [x for x in every if sum(x) == total]
    return min(
        (max(Fraction(n, c) for n, c in zip(x, capacity, strict=True)) for x in fits), default=None
    )


@MANY
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=4),
    st.integers(0, 14),
)
def test_min_max_is_the_least_of_all_largest_burdens(rows, total):
    """The twin tries every allocation; the rest is what all caps together cannot give."""
    capacity, cap = column(*(c for c, _ in rows)), column(*(n for _, n in rows))
    out, other = np.zeros_like(cap), np.zeros(cap.size, object)
    rest = allocate.min_max_exact(total, capacity, cap, 2**50, out)
    free = unbounded(allocate.min_max_exact)
    assert rest == free(total, capacity.astype(object), cap.astype(object), 2**50, other)
    assert out.tolist() == other.tolist()
    assert rest == max(0, total - int(cap.sum()))
    assert (out <= cap).all()
    assert (out >= 0).all()
    assert int(out.sum()) == total - rest
    if not rest:
        worst = max(Fraction(int(n), int(c)) for n, c in zip(out, capacity, strict=True))
        assert worst == best_burden(total, capacity.tolist(), cap.tolist())


@pytest.mark.parametrize(
    ("budget", "lots", "raised"),
    [
        (0, [0, 0], True),
        (1, [1, 0], True),
        (2, [1, 1], True),
        (5, [2, 3], True),
        (6, [2, 3], False),
    ],
)
def test_min_max_takes_all_lots_of_the_same_burden(budget, lots, raised):
    """Losses of one a lot; capacities of 10 and 9: the first lot of the first row is lighter."""
    out = np.zeros(2, np.int64)
    burden = allocate.min_max_lots(budget, column(1, 1), column(10, 9), column(2, 3), 10**9, out)
    assert out.tolist() == lots
    assert (burden >= 0) == raised


@pytest.mark.parametrize(
    ("leverage", "above", "power", "found"),
    [(2 * PPM, 0, 0, 2 * PPM), (2 * PPM, 0, 1, 4 * PPM), (2 * PPM, 0, 2, 8 * PPM),
     (2 * PPM, PPM, 1, 2 * PPM), (PPM, PPM, 1, 0), (PPM - 1, PPM, 1, 0)],
)  # fmt: skip
def test_risk_counts_from_its_threshold_on(leverage, above, power, found):
    assert allocate.risk_factor(leverage, above, power, PPM) == found


@MANY
@given(
    st.lists(st.tuples(st.integers(1, PPM), st.integers(0, 50)), min_size=1, max_size=6),
    st.integers(0, PPM),
)
def test_who_gave_more_weighs_less(rows, rate):
    """Twin: in fractions. Nobody's weight grows, none falls below the floor."""
    weight = column(*(w for w, _ in rows))
    taken, cap = column(*(t for _, t in rows)), column(*(50 for _ in rows))
    out = np.zeros_like(weight)
    portfolio.lighter(weight, taken, cap, rate, 1, out)
    for was, gave, now in zip(weight.tolist(), taken.tolist(), out.tolist(), strict=True):
        exact = was * (1 - Fraction(rate, PPM) * Fraction(gave, 50))
        assert now <= max(1, was)
        assert abs(now - max(exact, 1)) <= 2
    assert (out >= 1).all()


def test_chance_depends_on_the_seed_and_on_nothing_else():
    """Every order of three accounts comes up, about as often as the others."""
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(600):
        out, other = np.zeros(3, np.int64), np.zeros(3, object)
        portfolio.by_chance(seed, column(12, 13, 14), out)
        unbounded(portfolio.by_chance)(seed, column(12, 13, 14).astype(object), other)
        assert out.tolist() == other.tolist()
        order = tuple(np.argsort(out).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6
    assert min(seen.values()) > 60


@pytest.mark.parametrize("rule", RULES[1:])
def test_every_rule_closes_what_is_asked_and_conserves(rule):
    desk = deleveraging(rule=rule)
    desk.users(
        [USD, 30 * USD, 90 * USD, 60 * USD],
        [(0, 0, 100, 10_400), (1, 0, -40, 10_900), (2, 0, -60, 11_000), (3, 0, -90, 10_600)],
    )
    before = {n: Margin(desk.state).totals(U + n, [10_000])[0] for n in (1, 2, 3)}
    (receipt,) = desk.of(Deleveraged, desk.price(10_000))
    assert sum(n for (n,) in rows_of(receipt, "lots")) == 100
    assert receipt.rule == rule
    for account, forgone in rows_of(receipt, "account", "forgone"):
        n = account - U
        gain = {1: 40 * 900, 2: 60 * 1_000, 3: 90 * 600}[n] * 1_000
        assert 0 <= forgone <= gain, "nobody gives up more than its profit"
        equity, _ = Margin(desk.state).totals(account, [10_000])
        assert equity == before[n] - forgone
    audit(desk.state)


def test_the_online_rule_remembers_who_paid():
    """Two shorts alike: one round takes from both, and whoever gave more gives less next time."""
    desk = deleveraging(rule="mirror", burden_rate=PPM)
    desk.users(
        [USD, 200 * USD, 200 * USD, 41 * USD],
        [(0, 0, 60, 10_400), (1, 0, -30, 12_000), (2, 0, -90, 12_000), (3, 0, 40, 9_990)],
    )
    effects = desk.price(10_000)
    assert taken_by(desk, effects) == {1: 15, 2: 45}
    (moved,) = desk.of(BurdenMoved, effects)
    assert rows_of(moved, "account", "weight") == [(U + 1, 500_000), (U + 2, 500_000)]
    # A newcomer that has borne nothing yet bears twice as much a lot as the others.
    desk.users([200 * USD], [(0, 0, -60, 12_000)])
    assert taken_by(desk, desk.price(8_900)) == {1: 3, 2: 10, 4: 27}
    copy = State.load(desk.state.dump(), desk.stack)
    assert copy.digest() == desk.state.digest()
    assert copy.paying.burden[U + 4] < PPM


def test_a_state_without_burdens_is_as_it_was():
    """Nothing of the new memory is part of a state before it is used."""
    desk = deleveraging(rule="pro_rata")
    desk.users([USD, 90 * USD], [(0, 0, 100, 10_400), (1, 0, -100, 10_900)])
    desk.price(10_000)
    assert not [name for name, _ in desk.state.columns() if name.startswith("paying")]


# Splitting ------------------------------------------------------------------------------------

winner = st.tuples(st.integers(4, 400), st.sampled_from((10_500, 11_000)), st.integers(20, 900))


def lots_given(rule: str, rows, lots: int) -> list[int] | None:
    """Return the lots each of these shorts gives up when a long of ``lots`` goes bankrupt."""
    desk = deleveraging(rule=rule)
    people = [(n, entry, cash) for n, entry, cash in rows]
    desk.users(
        [USD, *(cash for _, _, cash in people)],
        [(0, 0, lots, 10_100), *((k + 1, 0, -n, e) for k, (n, e, _) in enumerate(people))],
    )
    effects = desk.price(10_000)
    if not desk.of(Deleveraged, effects):
        return None
    found = taken_by(desk, effects)
    return [found.get(k + 1, 0) for k in range(len(rows))]


@settings(max_examples=25, deadline=None)
@given(st.lists(winner, min_size=2, max_size=4), st.integers(20, 600), st.sampled_from(SPLIT_PROOF))
def test_splitting_in_two_does_not_pay(rows, lots, rule):
    """Two equal halves give up what the whole would have, but for one lot each."""
    rows = [(2 * n, entry, 2 * cash * USD) for n, entry, cash in rows]
    n, entry, cash = rows[0]
    once = lots_given(rule, rows, lots)
    twice = lots_given(
        rule, [(n // 2, entry, cash // 2), *rows[1:], (n // 2, entry, cash // 2)], lots
    )
    if once is None or twice is None:
        assert once is twice
        return
    assert twice[0] + twice[-1] >= once[0] - 2


@pytest.mark.parametrize("score", sorted(set(SCORES) - {"profit", "size"}))
@pytest.mark.parametrize("lots", [30, 60, 75, 110, 150])
def test_splitting_does_not_pay_in_a_queue_by_ratios(score, lots):
    """Both halves have the score of the whole; alike among themselves, they go one by one."""
    whole = [(60, 11_000, 30 * USD), (50, 11_500, 90 * USD), (70, 10_600, 20 * USD)]
    n, entry, cash = whole[0]
    halves = [(n // 2, entry, cash // 2), *whole[1:], (n // 2, entry, cash // 2)]
    found = []
    for people in (whole, halves):
        desk = deleveraging(rule="queue", score=score)
        desk.users(
            [USD, *(c for _, _, c in people)],
            [(0, 0, lots, 10_100), *((k + 1, 0, -m, e) for k, (m, e, _) in enumerate(people))],
        )
        found.append(taken_by(desk, desk.price(10_000)))
    once, twice = found
    assert sum(once.values()) == lots
    assert twice.get(1, 0) + twice.get(4, 0) == once.get(1, 0)


@pytest.mark.parametrize("score", ["profit", "size"])
def test_a_queue_by_amounts_pays_whoever_splits(score):
    """By construction: a smaller account stands further back. The page of the waterfall says so."""
    rows = [(60, 11_000, 90 * USD), (50, 11_000, 90 * USD)]
    halves = [(30, 11_000, 45 * USD), (50, 11_000, 90 * USD), (30, 11_000, 45 * USD)]
    desks = []
    for people in (rows, halves):
        desk = deleveraging(rule="queue", score=score)
        desk.users(
            [USD, *(cash for _, _, cash in people)],
            [(0, 0, 50, 10_100), *((k + 1, 0, -n, e) for k, (n, e, _) in enumerate(people))],
        )
        desks.append(taken_by(desk, desk.price(10_000)))
    assert desks == [{1: 50}, {2: 50}]


# Hedges ---------------------------------------------------------------------------------------


def hedged_book(desk: Desk) -> None:
    """A bankrupt long of A; a short of A that is hedged by a long of B; and one that is not."""
    desk.users(
        [USD, 90 * USD, 90 * USD],
        [(0, 0, 100, 10_400), (1, 0, -80, 11_000), (1, 1, 80, 10_000), (2, 0, -100, 10_600)],
    )
    desk.price(10_000, i=1)


@pytest.mark.parametrize(
    ("hedges", "lots", "taken"),
    [
        ("ignored", 100, {1: 80, 2: 20}),
        ("spared", 100, {2: 100}),
    ],
)
def test_a_hedge_is_left_alone_while_anybody_else_can_be_closed(hedges, lots, taken):
    desk = deleveraging(perp("A"), perp("B"), hedges=hedges, receipts="full")
    hedged_book(desk)
    effects = desk.price(10_000)
    assert taken_by(desk, effects) == taken
    (compared,) = desk.of(DeleveragingCompared, effects)
    assert compared.spared == (80 if hedges == "spared" else 0)
    assert compared.next_account == (U + 1 if hedges == "spared" else U + 2)
    assert compared.neutral_accounts == 2
    assert sum(taken.values()) == lots
    audit(desk.state)


def test_hedges_go_when_nobody_else_is_left():
    """Whoever is naked is closed first and whole; the rest comes from the hedge."""
    desk = deleveraging(perp("A"), perp("B"), hedges="spared", receipts="full", rule="pro_rata")
    desk.users(
        [USD, 90 * USD, 90 * USD],
        [(0, 0, 100, 10_400), (1, 0, -80, 11_000), (1, 1, 80, 10_000), (2, 0, -60, 10_600)],
    )
    desk.price(10_000, i=1)
    effects = desk.price(10_000)
    assert taken_by(desk, effects) == {1: 40, 2: 60}
    (compared,) = desk.of(DeleveragingCompared, effects)
    assert dict(rows_of(compared, "account", "hedged")) == {U + 1: 40, U + 2: 0}
    assert dict(rows_of(compared, "account", "neutral")) == {U + 1: 57, U + 2: 43}


@pytest.mark.parametrize(
    ("other", "beta", "free"),
    [(0, PPM, 80), (79, PPM, 1), (80, PPM, 0), (81, PPM, 0), (40, PPM, 40), (-10, PPM, 80),
     (80, PPM // 2, 40), (80, 0, 80)],
)  # fmt: skip
def test_only_the_own_net_exposure_is_no_hedge(other, beta, free):
    """A short of 80 beside ``other`` lots of a second instrument that counts ``beta``."""
    desk = deleveraging(perp("A"), perp("B"))
    rows = [(0, 0, -80, 10_000)] + ([(0, 1, other, 10_000)] if other else [])
    desk.users([900 * USD], rows)
    book, facts, mark = desk.state.book, desk.state.facts, column(10_000, 10_000)
    betas, exposure = column(PPM, beta), np.zeros(book.accounts, np.int64)
    portfolio.exposures(book, facts, mark, betas, exposure)
    assert exposure[U] == (-80 * PPM + other * beta) * 10
    row = np.flatnonzero((book.account[: book.high] == U) & (book.instrument[: book.high] == 0))
    out = np.zeros(1, np.int64)
    portfolio.unhedged(book, facts, mark, betas, exposure, row, column(80), out)
    assert out[0] == free


def test_both_legs_of_a_hedge_are_closed_in_one_step():
    """A long of A and a short of B go bankrupt at once: the hedge between them fits both."""
    desks = {}
    for hedges in ("spared", "paired"):
        desk = deleveraging(perp("A"), perp("B"), hedges=hedges, rule="queue")
        desk.users(
            [USD, USD, 20 * USD, 90 * USD, 90 * USD],
            [
                (0, 0, 100, 10_400),  # lost by A
                (1, 1, -100, 9_600),  # lost by B
                (1, 0, 1, 10_000),
                (2, 0, -60, 11_000),  # the hedge: short of A ...
                (2, 1, 60, 9_000),  # ... and long of B, won on both
                (3, 0, -101, 10_600),
                (4, 1, 100, 9_400),
            ],
        )
        desk.price(10_000, i=1)
        effects = desk.price(10_000)
        receipts = desk.of(Deleveraged, effects)
        assert [r.instrument for r in receipts] == [0, 1]
        desks[hedges] = [dict(rows_of(r, "account", "lots")) for r in receipts]
        held = [int(n) for n in desk.state.book.lots[: desk.state.book.high]]
        assert sum(held) == 0
        audit(desk.state)
    spared = [{U + 3: 101}, {U + 4: -100}]
    paired = [{U + 2: 60, U + 3: 41}, {U + 2: -60, U + 4: -40}]
    assert desks == {"spared": spared, "paired": paired}


def test_a_hedge_whose_other_leg_is_gone_is_none():
    """Nobody else is short of A: the hedged account loses its short, and its long of B is bare."""
    desk = deleveraging(perp("A"), perp("B"), hedges="spared", rule="pro_rata")
    desk.users(
        [USD, USD, 20 * USD, 90 * USD, 90 * USD],
        [
            (0, 0, 100, 10_400),
            (1, 1, -100, 9_600),
            (1, 0, 1, 10_000),
            (2, 0, -60, 11_000),
            (2, 1, 60, 9_000),
            (3, 0, -41, 10_600),
            (4, 1, 90, 9_400),
        ],
    )
    desk.price(10_000, i=1)
    receipts = desk.of(Deleveraged, desk.price(10_000))
    given = [dict(rows_of(r, "account", "lots")) for r in receipts]
    assert given == [{U + 2: 60, U + 3: 41}, {U + 2: -40, U + 4: -60}]


def test_no_more_of_a_pair_is_freed_than_its_other_leg_can_go():
    """Thirty of B are to be closed, so thirty of the sixty hedged lots of A are.

    They come from the pair, although another long of B has won more with less.
    """
    desk = deleveraging(perp("A"), perp("B"), hedges="paired")
    desk.users(
        [USD, USD, 20 * USD, 90 * USD, USD],
        [
            (0, 0, 100, 10_400),
            (1, 1, -30, 9_600),
            (1, 0, 1, 10_000),
            (2, 0, -60, 11_000),
            (2, 1, 60, 9_000),
            (3, 0, -101, 10_600),
            (4, 1, 100, 8_000),
        ],
    )
    desk.price(10_000, i=1)
    receipts = desk.of(Deleveraged, desk.price(10_000))
    given = [dict(rows_of(r, "account", "lots")) for r in receipts]
    assert given == [{U + 2: 30, U + 3: 71}, {U + 2: -30}]
    audit(desk.state)


# Severity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "lots"), [(PPM, 100), (500_000, 50), (500_001, 51), (1, 1), (999_999, 100)]
)
def test_one_step_closes_a_share_of_the_bankrupt(share, lots):
    desk = deleveraging(close_share=share)
    desk.users([USD, 90 * USD], [(0, 0, 100, 10_400), (1, 0, -100, 10_900)])
    (receipt,) = desk.of(Deleveraged, desk.price(10_000))
    assert rows_of(receipt, "lots") == [(lots,)]
    assert receipt.deficit == -(-39 * USD * lots // 100)
    audit(desk.state)


@pytest.mark.parametrize(
    ("haircut", "forgone"), [(PPM, 39 * USD), (PPM // 2, 19_500_000), (0, 0), (1, 39)]
)
def test_winners_bear_their_share_and_the_rest_is_a_debt(haircut, forgone):
    """What they do not bear meets the rest of the waterfall once the account is bare."""
    desk = deleveraging(haircut=haircut, socialise="equity")
    desk.users([USD, 90 * USD, 90 * USD], [(0, 0, 100, 10_400), (1, 0, -100, 10_900)])
    (receipt,) = desk.of(Deleveraged, desk.price(10_000))
    assert rows_of(receipt, "forgone") == [(forgone,)]
    assert desk.state.book.cash[U] == forgone - 39 * USD
    found = desk.of(DeficitFound, desk.tick(1))
    assert [e.amount for e in found] == ([39 * USD - forgone] if forgone < 39 * USD else [])
    audit(desk.state)


# The fund's fall ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "peak", "fall"),
    [(100, 100, 0), (101, 100, 0), (99, 100, 10_000), (0, 100, PPM), (70, 100, 300_000),
     (-5, 0, PPM)],
)  # fmt: skip
def test_a_fall_is_a_share_of_the_peak(now, peak, fall):
    assert insurance.fall_of(now, peak, peak, PPM) == fall


@pytest.mark.parametrize(
    ("was", "fall", "now"),
    [(False, 300_000, False), (False, 300_001, True), (True, 300_000, True), (True, 250_000, True),
     (True, 249_999, False), (False, 260_000, False)],
)  # fmt: skip
def test_a_trigger_holds_until_it_is_let_go(was, fall, now):
    assert insurance.kept_on(was, fall, 300_000, 250_000) == now


def falling_fund(floor: int = 0) -> Desk:
    return Desk(
        venue_of(perp()),
        margin=rules(flat(20_000, 10_000)),
        waterfall=Waterfall(
            tranches=(Tranche(name="fund", initial=1_000 * USD),),
            deleverage="pro_rata",
            drawdown_start=300_000,
            drawdown_stop=250_000,
            drawdown_floor=floor,
        ),
    )


@pytest.mark.parametrize(
    ("debt", "floor", "active"),
    [(300, 0, False), (301, 0, True), (301, 699, False), (301, 698, True)],
)
def test_a_fall_of_the_fund_starts_early_deleveraging(debt, floor, active):
    """Without it the fund, which covers them, would carry the bankrupt."""
    desk = falling_fund(floor * USD)
    desk.users(
        [-debt * USD, USD, 90 * USD, 500 * USD],
        [(1, 0, 100, 10_400), (2, 0, -100, 10_900)],
    )
    assert desk.of(DeficitFound, desk.tick(1))
    effects = desk.price(10_000)
    assert [bool(e.active) for e in desk.of(EarlyMoved, effects)] == ([True] if active else [])
    assert bool(desk.of(Deleveraged, effects)) == active
    if active:
        # The fund earns back what takes its fall below the stop: it is off again.
        desk.state.book.cash[FUND] += 60 * USD
        desk.state.book.cash[0] -= 60 * USD
        assert [e.active for e in desk.of(EarlyMoved, desk.tick(1))] == [0]


@pytest.mark.parametrize(("later", "active"), [(0, True), (1, False)])
def test_a_peak_counts_for_its_window(later, active):
    """A nanosecond later the fall is measured from what the fund has now: there is none."""
    desk = falling_fund()
    desk.users([-301 * USD, USD, 90 * USD, 500 * USD], [(1, 0, 100, 10_400), (2, 0, -100, 10_900)])
    assert desk.of(DeficitFound, desk.tick(1))
    desk.now = desk.state.fund_peak_at + desk.stack.declaration.waterfall.drawdown_window_ns + later
    assert bool(desk.of(EarlyMoved, desk.price(10_000))) == active


# Closing prices -------------------------------------------------------------------------------


@pytest.mark.parametrize(("quote", "taken", "left"), [(99, 1, 0), (100, 1, 0), (101, 0, 1)])
def test_two_bankruptcy_prices_must_overlap(quote, taken, left):
    """A short that is bankrupt at 100 a lot, and a long that is at ``quote``."""
    took, paid = np.zeros(1, np.int64), np.zeros(1, np.int64)
    args = (1, 100, -1, column(-quote), column(1), took, paid)
    assert closeout.offset_in_order(*args) == left
    assert (took[0], paid[0]) == (taken, 100 * taken)


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [((1, 1, 1, 1, 1), [1, 2, 3, 4, 5]), ((10, 20, 30, 10, 10, 20), [1, 2, 3, 4, 4, 5]),
     ((100,), [5]), ((20, 1, 79), [1, 2, 5])],
)  # fmt: skip
def test_a_light_is_the_fifth_of_the_queue_one_ends_in(sizes, shown):
    out = np.zeros(len(sizes), np.int64)
    rank.lights(column(*sizes), out)
    assert out.tolist() == shown


# Declarations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"close_share": 0}, "close_share"),
        ({"close_share": PPM + 1}, "close_share"),
        ({"haircut": PPM + 1}, "haircut"),
        ({"hedges": "kept"}, "hedges"),
        ({"receipts": "none"}, "receipts"),
        ({"risk_power": 3}, "risk_power"),
        ({"risk_power": -1}, "risk_power"),
        ({"risk_above": -1}, "risk_above"),
        ({"burden_rate": PPM + 1}, "burden_rate"),
        ({"drawdown_start": 1, "drawdown_stop": 2}, "drawdown_stop"),
        ({"drawdown_start": 1, "drawdown_stop": 0}, "drawdown_stop"),
        ({"drawdown_start": PPM + 1}, "drawdown_start"),
        ({"drawdown_floor": -1}, "drawdown_floor"),
        ({"betas": {"A": -1}}, "betas"),
        ({"betas": {"A": PPM + 1}}, "betas"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_followed_is_refused(changes, where):
    with pytest.raises(ConfigInvalid, match=where):
        Waterfall(**changes)


@pytest.mark.parametrize("rule", RULES[1:])
def test_a_rule_is_told_in_plain_language(rule):
    said = Waterfall(
        deleverage=rule,
        hedges="spared",
        close_share=1,
        haircut=1,
        drawdown_start=1,
        drawdown_stop=1,
    ).describe()
    assert any("hedges come last" in line for line in said)
    assert len({Waterfall(deleverage=r).describe()[0] for r in RULES[1:]}) == len(RULES) - 1


def test_the_receipt_is_read_back(tmp_path):
    """Columns of a comparison stand row for row beside the winners of its receipt."""
    del tmp_path
    desk = deleveraging(rule="random", seed=3, receipts="full")
    desk.users(
        [USD, 90 * USD, 90 * USD],
        [(0, 0, 50, 10_400), (1, 0, -50, 11_000), (2, 0, -50, 11_000)],
    )
    effects = desk.price(10_000)
    (receipt,), (compared,) = desk.of(Deleveraged, effects), desk.of(DeleveragingCompared, effects)
    assert compared.account == receipt.account
    assert unpack(compared.neutral).tolist() == [25]
    assert {compared.next_account, unpack(receipt.account)[0]} == {U + 1, U + 2}
    assert compared.next_rank == 2


def test_a_winner_is_told_what_another_rule_would_have_done():
    desk = deleveraging(perp("A"), perp("B"), hedges="spared", receipts="full", rule="pro_rata")
    said: list[Record] = []

    def send(event) -> None:
        said.append(Record(len(said), event, tuple(desk.send(event))))

    rows = [(0, 0, 100, 10_400), (1, 0, -80, 11_000), (1, 1, 80, 10_000), (2, 0, -60, 10_600)]
    user, i, lots, entry = np.array(rows, np.int64).T
    send(
        BookImported(
            ts=desk.now,
            names=("lost", "hedged", "naked"),
            owner=pack(np.arange(3)),
            cash=pack(column(USD, 90 * USD, 90 * USD)),
            account=pack(user),
            instrument=pack(i),
            lots=pack(lots),
            entry=pack(entry),
        )
    )
    send(desk.priced(10_000, i=1))
    send(desk.priced(10_000))
    told = explain(said, U + 1, END, desk.stack, ("lost", "hedged", "naked"))
    instead = next(x for x in told if x.startswith("instead"))
    assert "pro rata would have closed 5.7 A of it and touched 2 accounts" in instead
    assert "hedged (number 1) would have been next" in instead
    assert any("4.0 A of it was the hedge of another position" in x for x in told)
