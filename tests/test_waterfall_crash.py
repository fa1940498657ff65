"""A crash under every rule of deleveraging: nothing is made or lost, nobody is overcharged."""

import random

import msgspec
import numpy as np
import pytest

from desk import flat, perp, rules, venue_of
from tidegate.adapters.codec import ORIGIN, decode, encode_batch, open_batch
from tidegate.domain.book import FUND, TRANCHES_MAX
from tidegate.domain.effects import Deleveraged
from tidegate.domain.events import BookImported, ClockTicked, PriceObserved
from tidegate.domain.payers import Decided, DeleveragingCompared
from tidegate.domain.units import PPM, SECOND, pack, unpack
from tidegate.engine.invariants import audit
from tidegate.engine.state import State
from tidegate.engine.step import apply, decide
from tidegate.kernels.value import worth
from tidegate.ports import Record
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import RULES, Tranche, Waterfall
from tidegate.safeguards.withdrawals import WithdrawalGate


USD = 1_000_000
VENUE = venue_of(perp("A"), perp("B"))
change = msgspec.structs.replace


def weather() -> list:
    """Thirty accounts, half of them on both markets, and prices that fall apart and come back.

    Nothing is sold: the planner has no depth, so that every bankrupt meets the waterfall.
    """
    draw = random.Random(11)
    rows, cash = [], []
    for account in range(30):
        size = 0
        for i in range(2) if account % 2 else (account % 4 // 2,):
            lots = draw.randrange(5, 200) * draw.choice((-1, 1))
            rows.append((account, i, lots, draw.randrange(9_500, 10_500)))
            size += abs(lots)
        cash.append(int(size * 10 * USD / draw.uniform(4, 25)))
    account, i, lots, entry = np.array(rows).T
    now = 1_000 * SECOND
    events: list = [
        BookImported(
            ts=now,
            names=tuple(f"account {n}" for n in range(30)),
            owner=pack(np.arange(30)),
            cash=pack(np.array(cash)),
            account=pack(account),
            instrument=pack(i),
            lots=pack(lots),
            entry=pack(entry),
        )
    ]
    prices = [10_000.0, 10_000.0]
    for k in range(36):
        now += SECOND
        market = k % 2
        prices[market] *= 1 + draw.gauss(-0.012 if k < 24 else 0.01, 0.012)
        price = round(prices[market])
        events.append(
            PriceObserved(ts=now, instrument=market, source=0, price=price, published=now)
        )
        if k % 6 == 5:
            events.append(ClockTicked(ts=now))
    return events


EVENTS = weather()
WATERFALL = Waterfall(
    tranches=(
        Tranche(name="a", initial=30 * USD, market="A"),
        Tranche(name="all", initial=30 * USD, stakes=True),
    ),
    deleverage_when="bankrupt",
    receipts="full",
    socialise="open_interest",
    claims=True,
    drawdown_start=300_000,
    drawdown_stop=250_000,
)
CASES = [
    *(change(WATERFALL, deleverage=rule) for rule in RULES),
    change(WATERFALL, deleverage="queue", score="net_risk", hedges="spared"),
    change(WATERFALL, deleverage="pro_rata", hedges="paired", fund_pays_first=True),
    change(WATERFALL, deleverage="pro_rata", close_share=300_000, haircut=400_000),
    change(WATERFALL, deleverage="min_max", deleverage_when="fund_exhausted"),
]


def stack_of(waterfall: Waterfall) -> Stack:
    declaration = SafeguardStack(
        name="who-pays",
        margin=rules(flat(20_000, 10_000)),
        planner=StagedPlanner(depth_share=PPM),
        waterfall=waterfall,
        withdrawals=WithdrawalGate(deficit="limit", gate_ns=SECOND, capacity_share=10_000),
    )
    return Stack.bind(declaration, VENUE)


def crash(stack: Stack):
    """Yield (state before, event, effects) of the crash, applying each afterwards."""
    state = State.genesis(stack)
    for event in EVENTS:
        effects = decide(state, event, stack)
        yield state, event, effects
        apply(state, event, effects)


def name_of(waterfall: Waterfall) -> str:
    return f"{waterfall.deleverage} {waterfall.hedges} {waterfall.close_share} {waterfall.score}"


@pytest.mark.parametrize("waterfall", CASES, ids=name_of)
def test_nothing_is_made_or_lost_and_nobody_gives_more_than_its_profit(waterfall):
    stack = stack_of(waterfall)
    records: list[Record] = []
    state = State.genesis(stack)
    closed = 0
    for before, event, effects in crash(stack):
        state = before
        records.append(Record(len(records), event, tuple(effects)))
        receipts = [e for e in effects if isinstance(e, Deleveraged)]
        compared = [e for e in effects if isinstance(e, DeleveragingCompared)]
        assert len(receipts) == len(compared)
        marks = {e.instrument: e.mark for e in receipts}
        for receipt, other in zip(receipts, compared, strict=True):
            lots, given = unpack(receipt.lots).tolist(), unpack(receipt.forgone).tolist()
            assert sum(lots) + int(unpack(receipt.closed).sum()) == 0
            assert receipt.fund_paid + sum(given) == receipt.deficit
            assert other.account == receipt.account
            hedged = unpack(other.hedged).tolist()
            for a, n, forgone, part in zip(
                unpack(receipt.account).tolist(), lots, given, hedged, strict=True
            ):
                assert forgone <= gain_of(before, a, receipt.instrument, marks), "a loss, no gain"
                assert 0 <= part <= abs(n)
            closed += len(lots)
        assert (before.book.cash[FUND : FUND + TRANCHES_MAX] >= 0).all()
    audit(state)
    assert (closed > 0) == (waterfall.deleverage != "none")
    kinds = {type(e).__name__ for r in records for e in r.effects if isinstance(e, Decided)}
    assert "DeficitWatched" in kinds
    assert ("LastMarketKept" in kinds) == (closed > 0)
    # What was decided is read back from a journal, and gives the same state again.
    frame, _ = encode_batch(records, ORIGIN)
    again = State.genesis(stack)
    for sealed in open_batch(frame, 0, ORIGIN):
        record = decode(sealed)
        assert decide(again, record.event, stack) == list(record.effects)
        apply(again, record.event, record.effects)
    assert again.digest() == state.digest()
    assert State.load(state.dump(), stack).digest() == state.digest()


def gain_of(state: State, account: int, i: int, marks: dict[int, int]) -> int:
    """Return the profit of a position before the step, at the mark it was closed beside."""
    book = state.book
    for row in range(book.high):
        if book.account[row] == account and book.instrument[row] == i:
            mark = state.mark.copy()
            mark[i] = marks[i]
            lots, cost = int(book.lots[row]), int(book.cost[row])
            return int(worth(state.facts, mark, i, lots, cost, marks[i]))
    raise AssertionError(account)


def test_every_rule_makes_another_crash():
    """A rule that a stack selects changes what happens; two that agree on it would be one."""
    digests = {}
    for waterfall in CASES:
        stack = stack_of(waterfall)
        state = State.genesis(stack)
        for before, _, _ in crash(stack):
            state = before
        held = state.book.lots[: state.book.high].tolist(), state.book.cash.tolist()
        digests[name_of(waterfall)] = str(held)
    assert len(set(digests.values())) >= len(CASES) - 1, "only a rule without memory may agree"


def test_a_stack_file_selects_them(tmp_path):
    path = tmp_path / "stack.toml"
    path.write_text(
        """
name = "who-pays"
[waterfall]
deleverage = "pro_rata_risk"
hedges = "paired"
receipts = "full"
socialise = "balances"
claims = true
[waterfall.betas]
"*" = 1_000_000
"BTC-PERP" = 900_000
[[waterfall.tranches]]
name = "btc"
initial = 5
market = "BTC-PERP"
stakes = true
[withdrawals]
deficit = "refuse"
gate_ns = 50
""",
        encoding="utf-8",
    )
    stack = SafeguardStack.load(path)
    assert stack.waterfall.beta(("BTC-PERP", "ETH-PERP")).tolist() == [900_000, PPM]
    said = " ".join(stack.describe())
    for words in ("size and leverage", "both legs", "keep a claim", "of BTC-PERP alone", "nothing"):
        assert words in said
