"""A folder of growing Parquet files: in order, whole, from where it was left, and never guessed."""

import asyncio
import contextlib
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recordings import VENUE
from tidegate.adapters.parquet_tail import ParquetTail, parsed, whole
from tidegate.api import asks
from tidegate.domain.errors import FeedBroken, RecordingInvalid
from tidegate.domain.events import DepthObserved, FundingPaid, PriceObserved, Traded
from tidegate.drivers.recording_tail import kind_of, reader


T0 = 1_760_000_000_000_000_000
SYMBOL = VENUE.instruments[0].symbol
SOURCE = VENUE.sources[0]


def put(folder, name, **columns):
    """Let a file appear as a good writer does: made under another name, then renamed."""
    part = folder / f"{name}.part"
    pq.write_table(pa.table(columns), part)
    part.rename(folder / name)


def prices(folder, number, *rows, source=SOURCE):
    put(
        folder,
        f"{number:06}.prices.parquet",
        ts=[T0 + number * 1000 + k for k in range(len(rows))],
        instrument=[SYMBOL] * len(rows),
        source=[source] * len(rows),
        price=list(rows),
    )


async def take(tail, n, within_s=5.0):
    """Return the next ``n`` chunks, or what there was until the time was up."""
    found = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s), contextlib.aclosing(tail.chunks()) as chunks:
            async for chunk in chunks:
                found.append(chunk)
                if len(found) == n:
                    break
    return found


def taken(tail, n, within_s=5.0):
    return asyncio.run(take(tail, n, within_s))


def tail_of(folder, **more):
    return ParquetTail(folder, reader(VENUE), look_every_s=0.01, **more)


def test_files_are_taken_in_the_order_of_their_names(tmp_path):
    prices(tmp_path, 2, "20", "21", "22")
    prices(tmp_path, 1, "10")
    found = taken(tail_of(tmp_path, chunk_max=2), 3)
    assert [c.place for c in found] == [
        "000001.prices.parquet:1",
        "000002.prices.parquet:2",
        "000002.prices.parquet:3",
    ]
    events = [e for c in found for e in c.items]
    assert all(isinstance(e, PriceObserved) for e in events)
    assert [e.ts - T0 for e in events] == [1000, 2000, 2001, 2002]
    assert [e.price for e in events] == sorted(e.price for e in events)


@pytest.mark.parametrize("place", range(5))
def test_a_reader_goes_on_where_it_was_left(tmp_path, place):
    prices(tmp_path, 1, "10", "11", "12")
    prices(tmp_path, 2, "20")
    everything = [(c.place, c.items[0].ts) for c in taken(tail_of(tmp_path, chunk_max=1), 4)]
    after = None if place == 0 else everything[place - 1][0]
    rest = taken(tail_of(tmp_path, chunk_max=1, after=after), 4 - place, within_s=0.5)
    assert [(c.place, c.items[0].ts) for c in rest] == everything[place:]


def test_what_appears_later_is_taken_then(tmp_path):
    async def run():
        prices(tmp_path, 1, "10")
        tail = tail_of(tmp_path)
        async with contextlib.aclosing(tail.chunks()) as chunks:
            assert (await anext(chunks)).place == "000001.prices.parquet:1"
            waiting = asyncio.create_task(anext(chunks))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            prices(tmp_path, 2, "20")
            assert (await waiting).place == "000002.prices.parquet:1"

    asyncio.run(run())


def test_half_written_files_are_left_alone_and_nothing_overtakes_them(tmp_path):
    prices(tmp_path, 1, "10")
    text = (tmp_path / "000001.prices.parquet").read_bytes()
    for name in ("000000.prices.parquet.part", "_000000.prices.parquet", ".0.prices.parquet"):
        (tmp_path / name).write_bytes(text)
    prices(tmp_path, 3, "30")
    half = tmp_path / "000002.prices.parquet"
    tail = tail_of(tmp_path)
    for size in (0, 3, 4, 8, len(text) // 2, len(text) - 1):
        half.write_bytes(text[:size])
        assert not whole(half)
    assert [c.place for c in taken(tail, 2, 0.3)] == ["000001.prices.parquet:1"]
    assert tail.trouble == "000002.prices.parquet is not whole yet"
    half.unlink()
    prices(tmp_path, 2, "20")
    assert [c.place for c in taken(tail, 2)] == [
        "000002.prices.parquet:1",
        "000003.prices.parquet:1",
    ]
    assert not tail.trouble


@pytest.mark.parametrize(
    ("rows", "source", "says"),
    [
        (["10", "-1"], SOURCE, r"000002\.prices\.parquet: row 1, column price"),
        (["10", "x"], SOURCE, r"000002\.prices\.parquet: row 1, column price"),
        (["10"], "nobody", r"000002\.prices\.parquet: row 0, column source"),
    ],
)
def test_a_bad_row_is_named_and_nothing_of_its_file_is_taken(tmp_path, rows, source, says):
    prices(tmp_path, 1, "10")
    prices(tmp_path, 2, *rows, source=source)
    prices(tmp_path, 3, "30")
    tail = tail_of(tmp_path)
    assert len(taken(tail, 1)) == 1
    with pytest.raises(RecordingInvalid, match=says):
        taken(tail, 1)
    with pytest.raises(RecordingInvalid, match=says):
        taken(tail, 1)
    assert tail.skip() == "000002.prices.parquet:-1"
    assert [c.place for c in taken(tail, 1)] == ["000003.prices.parquet:1"]
    again = tail_of(tmp_path, after="000002.prices.parquet:-1")
    assert [c.place for c in taken(again, 1)] == ["000003.prices.parquet:1"]


def test_a_mended_file_is_taken(tmp_path):
    prices(tmp_path, 1, "x")
    tail = tail_of(tmp_path)
    with pytest.raises(RecordingInvalid):
        taken(tail, 1)
    prices(tmp_path, 1, "10")
    assert [c.place for c in taken(tail, 1)] == ["000001.prices.parquet:1"]


def test_a_file_that_comes_too_late_is_never_slipped_in(tmp_path):
    prices(tmp_path, 2, "20")
    tail = tail_of(tmp_path)
    taken(tail, 1)
    prices(tmp_path, 1, "10")
    with pytest.raises(FeedBroken, match=r"found 000001\.prices\.parquet"):
        taken(tail, 1)
    prices(tmp_path, 3, "30")
    assert [c.place for c in taken(tail, 1)] == ["000003.prices.parquet:1"]


def test_a_file_that_shrank_is_not_guessed_at(tmp_path):
    prices(tmp_path, 1, "10")
    with pytest.raises(FeedBroken, match="the 2 items that were taken"):
        taken(tail_of(tmp_path, after="000001.prices.parquet:2"), 1)


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path):
    tail = tail_of(tmp_path / "later")
    assert taken(tail, 1, 0.1) == []
    assert tail.trouble == "later is no folder"
    (tmp_path / "later").mkdir()
    prices(tmp_path / "later", 1, "10")
    assert len(taken(tail, 1)) == 1


def test_every_kind_of_file_becomes_what_it_says(tmp_path):
    ts = [T0, T0 + 1]
    two = {"ts": ts, "instrument": [SYMBOL] * 2}
    put(tmp_path, "1.trades.parquet", **two, price=["10", "11"], quantity=["1", "2"],
        aggressor=["buy", "sell"])  # fmt: skip
    put(tmp_path, "2.funding.parquet", **two, rate=["0.0001", "-0.0001"])
    put(
        tmp_path, "3.depth.parquet", ts=[T0, T0], instrument=[SYMBOL] * 2, side=["bid", "ask"],
        level=[0, 0], price=["10", "11"], quantity=["5", "6"],
    )  # fmt: skip
    put(
        tmp_path, "4.flows.parquet", ts=[T0] * 3, seq=[0, 1, 2], account=["a", "a", "a"],
        kind=["deposit", "open", "withdraw"], instrument=[None, SYMBOL, None],
        asset=[VENUE.numeraire, None, None], quantity=[100.5, -0.3, 0.1],
        price=[None, 10.0, None],
    )  # fmt: skip
    trades, funding, depth, flows = (c.items for c in taken(tail_of(tmp_path), 4))
    assert [type(e) for e in (*trades, *funding, *depth)] == [
        Traded, Traded, FundingPaid, FundingPaid, DepthObserved
    ]  # fmt: skip
    assert [(e.taker, e.lots > 0) for e in trades] == [(0, True), (0, False)]
    deposit, opened, withdrawal = flows
    assert deposit == asks.Deposit(ts=T0, account="a", amount="100.500000")
    assert isinstance(opened, asks.Trade)
    assert float(opened.quantity) == -0.3
    assert float(opened.price) == 10.0
    assert withdrawal.settled
    assert float(withdrawal.amount) == 0.1


@pytest.mark.parametrize("name", ["000001.parquet", "1.positions.parquet", "prices.1.parquet"])
def test_a_name_that_does_not_say_what_is_in_it_is_refused(tmp_path, name):
    with pytest.raises(RecordingInvalid, match=r"NUMBER\.KIND\.parquet"):
        kind_of(tmp_path / name)
    assert kind_of(tmp_path / "7.prices.parquet") == "prices"


def test_a_place_is_a_file_and_a_count():
    assert parsed("a:b.parquet:17") == ("a:b.parquet", 17)
    assert os.sep not in parsed("x:0")[0]
