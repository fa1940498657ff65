"""An explanation says what was journalled, in the order order, plan, rung, mark, observation."""

import re

import numpy as np
import pytest
from tests.desk import coin

from handmade import BEGIN, CRASH, write_crash
from storyteller import VENUE as STORIES
from strategies import VENUE as TOYS
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import (
    DeficitFound,
    Deleveraged,
    OrdersPlaced,
    PositionsMoved,
    PostedBatch,
    StagesTaken,
)
from tidegate.domain.events import ClockTicked, OrdersExpired, OrdersFilled
from tidegate.domain.units import SECOND, pack, unpack
from tidegate.drivers.recording import load
from tidegate.drivers.recording_door import scales_of
from tidegate.drivers.replay import replay
from tidegate.engine.explain import END, explain
from tidegate.engine.reading import (
    clock_text,
    money_text,
    notional_of,
    percent_text,
    price_text,
    quantity_text,
)
from tidegate.incidents.frame import incident, shipped
from tidegate.ports import Record
from tidegate.safeguards.breaker import LadderBreaker, Step
from tidegate.safeguards.margin import MarginModel, Requirement, Tier
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Tranche, Waterfall


# Declared here, so that tuning a shipped stack changes no test of explanations.
TIER = Tier(initial=50_000, maintenance=25_000)
MARGIN = MarginModel(instruments={"*": Requirement(tiers=(TIER,))})
QUEUE = SafeguardStack(
    name="queue",
    margin=MARGIN,
    waterfall=Waterfall(
        tranches=(Tranche(name="fund", initial=10**10),),
        deleverage="queue",
        deleverage_when="bankrupt",
    ),
)
STAGED = SafeguardStack(
    name="staged",
    margin=MARGIN,
    breaker=LadderBreaker(steps=(Step(rung="caution", distressed=10_000),)),
    planner=StagedPlanner(
        close_fraction=500_000,
        target=1_250_000,
        interval_ns=5 * SECOND,
        depth_share=300_000,
        depth_reach=20_000,
        window_ns=10 * SECOND,
    ),
)


class History:
    """One small crash replayed under one stack: its records, and who was hit where."""

    def __init__(self, recording, stack):
        self.stack, self.names = stack, recording.names
        self.records: list[Record] = []

        def note(seq, event, effects, *_):
            self.records.append(Record(seq, event, tuple(effects)))

        replay(recording, stack, observers=[note])

    def tell(self, account, seq=END):
        return explain(self.records, account, seq, self.stack, self.names)

    def first(self, kind, **wanted):
        for record in self.records:
            for effect in record.effects:
                if isinstance(effect, kind) and all(
                    getattr(effect, k) == v for k, v in wanted.items()
                ):
                    return record, effect
        pytest.fail(f"no {kind.__name__} with {wanted}")

    def answered(self, kind):
        for record in self.records:
            if isinstance(record.event, kind):
                return record
        pytest.fail(f"no {kind.__name__}")


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    recording = load(write_crash(tmp_path_factory.mktemp("crash") / "small"))
    stacks = (QUEUE, STAGED)
    return {s.name: History(recording, Stack.bind(s, recording.venue)) for s in stacks}


def labels(lines):
    return [line[:13].strip() for line in lines[1:]]


def only(lines, label):
    return next(line[13:] for line in lines if line.startswith(f"{label:<13}"))


def test_an_order_is_walked_back_to_the_observation(histories):
    told = histories["staged"]
    record, placed = told.first(OrdersPlaced)
    _, stage = next(
        (r, e) for r, e in [(record, e) for e in record.effects] if isinstance(e, StagesTaken)
    )
    account = int(unpack(placed.account)[0])
    lines = told.tell(account, record.seq)
    assert lines[0].startswith(f"{told.names[account - FIRST_USER]} at seq {record.seq:,}, 2025-")
    order = [n for n in labels(lines) if n in {"order", "plan", "rung", "mark", "observation"}]
    assert order == ["order", "plan", "rung", "mark", "observation"]
    assert re.match(r"1 \(caution\) since seq \d+, .* of all maintenance", only(lines, "rung"))
    instrument, lots = CRASH.instruments[0], int(unpack(placed.lots)[0])
    assert str(placed.first) in only(lines, "order")
    assert f"sell {quantity_text(instrument, -lots)} SOL-PERP" in only(lines, "order")
    assert price_text(instrument, int(unpack(placed.limit)[0])) in only(lines, "order")
    row = unpack(stage.account).tolist().index(account)
    equity, required = int(unpack(stage.equity)[row]), int(unpack(stage.required)[row])
    assert equity < required
    assert f"equity {money_text(equity, 'USD')} < maintenance" in only(lines, "margin")
    assert money_text(required - equity, "USD") in only(lines, "margin")


def test_a_fill_is_walked_back_to_its_order(histories):
    told = histories["staged"]
    record = told.answered(OrdersFilled)
    number = int(unpack(record.event.order)[0])
    placing = number >> 20
    account = next(
        int(unpack(e.account)[number - e.first])
        for e in told.records[placing].effects
        if isinstance(e, OrdersPlaced)
    )
    lines = told.tell(account, record.seq)
    assert f"of order {number}, placed at seq {placing:,}" in only(lines, "answer")
    assert str(number) in only(lines, "order")
    assert "plan" in labels(lines)
    assert f"seq {placing:,} was" in only(lines, "event")


def test_an_expiry_says_why_the_rest_is_gone(histories):
    told = histories["queue"]
    record = told.answered(OrdersExpired)
    number = int(unpack(record.event.order)[0])
    account = next(
        int(unpack(e.account)[number - e.first])
        for e in told.records[number >> 20].effects
        if isinstance(e, OrdersPlaced)
    )
    assert record.event.reason in only(told.tell(account, record.seq), "answer")


def test_a_deleveraged_winner_learns_rank_price_and_what_it_gave_up(histories):
    told = histories["queue"]
    record, receipt = told.first(Deleveraged)
    winner = int(unpack(receipt.account)[0])
    lines = told.tell(winner, record.seq)
    instrument = CRASH.instruments[0]
    said = only(lines, "deleveraged")
    assert price_text(instrument, receipt.price) in said
    assert price_text(instrument, receipt.mark) in said
    assert money_text(int(unpack(receipt.forgone)[0]), "USD") in said
    assert f"number {int(unpack(receipt.rank)[0])} of {receipt.candidates:,}" in only(lines, "why")
    assert "held" in labels(lines)


def test_a_bankrupt_learns_what_it_lacked(histories):
    told = histories["queue"]
    record, receipt = told.first(Deleveraged)
    lines = told.tell(int(unpack(receipt.bankrupt)[0]), record.seq)
    assert "closed against winners" in only(lines, "bankrupt")
    assert money_text(receipt.deficit, "USD") in only(lines, "why")


def test_between_two_records_the_last_one_before_is_told(histories):
    told = histories["queue"]
    _, receipt = told.first(Deleveraged)
    account = int(unpack(receipt.account)[0])
    last = told.tell(account)
    seq = int(re.search(r"at seq ([\d,]+)", last[0])[1].replace(",", ""))
    assert told.tell(account, seq) == last
    later = told.tell(account, seq + 1)
    name = told.names[account - FIRST_USER]
    assert later[1].startswith(f"nothing was done to {name} at seq {seq + 1:,};")
    assert [later[0], *later[2:]] == last


def test_an_account_nobody_touched_is_told_so(histories):
    told = histories["staged"]
    calm = FIRST_USER + told.names.index("calm")
    lines = told.tell(calm)
    assert lines[0] == "nothing was done to calm up to the end"
    assert only(lines, "held").startswith("long 300.0 SOL-PERP")
    assert only(lines, "cash") == "90,000.00 USD"


def test_nothing_after_the_record_is_read(histories):
    told = histories["staged"]
    record, placed = told.first(OrdersPlaced)

    def until(seq):
        for each in told.records:
            assert each.seq <= seq + 1, "read too far"
            yield each

    account = int(unpack(placed.account)[0])
    explain(until(record.seq), account, record.seq, told.stack, told.names)


def test_deficits_nettings_and_shares_are_told(histories):
    """Effects that the small crash does not cause, by hand."""
    told = histories["queue"]
    account = FIRST_USER
    effects = (
        DeficitFound(
            account=account,
            amount=9_000_000,
            fund=5_000_000,
            socialised=3_000_000,
            uncovered=1_000_000,
        ),
        PostedBatch(
            counter=account,
            asset=-1,
            account=pack(np.array([account + 1])),
            amount=pack(np.array([-3_000_000])),
            reason="socialised",
        ),
        PositionsMoved(
            account=pack(np.array([account, account + 1])),
            instrument=pack(np.zeros(2)),
            lots=pack(np.array([-10, 10])),
            cost=pack(np.zeros(2)),
            price=pack(np.array([9_950, 9_950])),
            reason="netted",
        ),
    )
    records = [*told.records[:3], Record(3, ClockTicked(ts=BEGIN), effects)]
    lines = explain(records, account, 3, told.stack, told.names)
    assert only(lines, "deficit").startswith("9.00 USD below zero")
    assert "the others 3.00 USD, nobody 1.00 USD" in only(lines, "deficit")
    assert only(lines, "netted") == "sold 1.0 SOL-PERP at 99.50, met by opposite closes"
    other = explain(records, account + 1, 3, told.stack, told.names)
    assert only(other, "socialised") == "bore 3.00 USD of the deficit of thin"
    assert only(other, "netted").startswith("bought 1.0 SOL-PERP")


def test_every_line_is_plain_text(histories):
    told = histories["staged"]
    record, placed = told.first(OrdersPlaced)
    for line in told.tell(int(unpack(placed.account)[0]), record.seq):
        assert re.fullmatch(r"[ -~]+", line)
        assert "Ppm" not in line


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "1970-01-01 00:00:00.000 UTC"),
        (951_782_400 * 10**9, "2000-02-29 00:00:00.000 UTC"),
        (1_760_130_000_123_999_999, "2025-10-10 21:00:00.123 UTC"),
        (-1, "1969-12-31 23:59:59.999 UTC"),
    ],
)
def test_time_is_read_as_utc(ts, text):
    assert clock_text(ts) == text


def test_integers_are_read_exactly():
    sol = CRASH.instruments[0]
    assert price_text(sol, 1_234_567) == "12,345.67"
    assert quantity_text(sol, -12_345) == "-1,234.5"
    assert quantity_text(coin(), 150) == "1.50"  # of an asset, lots are smallest units
    assert money_text(-1_999_999) == "-2.00"
    assert percent_text(1_250_000) == "125 %"
    assert percent_text(12_345) == "1.2345 %"
    assert notional_of(sol, -10, 9_950) == 10 * 9_950 * 1_000


def test_every_venue_of_ours_counts_as_the_door_counts():
    """What is shown is what is worth something: tick, lot and the value of a tick agree."""
    for venue in (TOYS, STORIES, *(incident(name).venue for name in shipped())):
        scales_of(venue, venue.name)
