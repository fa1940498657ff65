"""Commitments of a recording become events: who stood ready to take liquidated positions over."""

from collections.abc import Iterator

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import CommitmentMade, Input
from tidegate.domain.instrument import Spot
from tidegate.domain.units import PPM, Lots, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.drivers import recording_door as door
from tidegate.drivers.recording_book import Names
from tidegate.drivers.recording_flows import Moves, accounts_of
from tidegate.drivers.recording_sheet import Sheet
from tidegate.drivers.recording_streams import FLOWS, Stream


def commitment_stream(
    sheet: Sheet, names: Names, venue: Venue, scales: door.Scales
) -> tuple[Stream, Moves]:
    """Return the commitments as events, and every position that they may open."""
    ts = sheet.times()
    seq = sheet.sequence(ts)
    account = accounts_of(sheet, names)
    symbols = [i.symbol for i in venue.instruments]
    instrument = sheet.lookup("instrument", symbols, "must name an instrument of venue.toml")
    spot = np.array([isinstance(i, Spot) for i in venue.instruments])
    sheet.refuse_first(spot[instrument], "instrument", "a commitment must be in a derivative")
    sides = [door.quantities(sheet, name, scales, instrument) for name in ("long_max", "short_max")]
    discount, slope = sheet.integers("discount"), sheet.integers("slope")
    wrong = (discount < 0) | (slope < 0) | (discount + slope > PPM)
    sheet.refuse_first(wrong, "discount", "discount and slope must lie within 0..1_000_000")

    def build(start: int, stop: int) -> Iterator[Input]:
        columns = (ts, account, instrument, *sides, discount, slope)
        for at, a, i, longs, shorts, d, s in zip(
            *(column[start:stop].tolist() for column in columns), strict=True
        ):
            yield CommitmentMade(
                ts=Nanos(at),
                account=a + FIRST_USER,
                instrument=i,
                long_max=Lots(longs),
                short_max=Lots(shorts),
                discount=Ppm(d),
                slope=Ppm(s),
            )

    return Stream(FLOWS, ts, seq, build), Moves(ts, seq, account, instrument, np.zeros_like(ts))
