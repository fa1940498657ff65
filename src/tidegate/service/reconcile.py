"""Our book against the venue's own: columns compared, differences told, nothing ever corrected.

Between the record that the venue's book goes up to and ours, accounts move. So one comparison
accuses nobody: the alarm is for a difference that is found twice in a row and has not changed.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np

from tidegate.adapters.arrow import pa
from tidegate.api.governing import Correction, Corrections, Difference, Drift, Reconcile
from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import AskInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Spot
from tidegate.domain.units import I64
from tidegate.drivers.casualties import notionals
from tidegate.drivers.recording_door import scales_of
from tidegate.ports import Alerts
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading


LARGEST: Final = 1_000
STRANGERS: Final = 100
UNIT: Final = 1_000_000
CASH: Final = -1
ALARM: Final = "book_drifts"


class Copied(NamedTuple):
    """Our book at one moment, taken on the crank's thread in a few copies of columns."""

    head: int
    ts: int
    names: list[str]
    cash: I64  # [users]
    account: I64  # [positions] user, from 0
    instrument: I64
    lots: I64
    mark: I64
    facts: Facts


class Book(NamedTuple):
    """One side of the comparison: cash and positions by user row, unknown accounts left out."""

    user: I64
    cash: I64
    key: I64  # user << 20 | instrument, sorted
    lots: I64


class Found(NamedTuple):
    """Differences as columns; the instrument -1 is cash."""

    user: I64
    instrument: I64
    ours: I64
    theirs: I64
    worth: np.ndarray[tuple[int], np.dtype[np.float64]]  # numeraire


class _Seen(NamedTuple):
    """One difference as it was found last."""

    gap: int
    worth: float
    again: bool  # it was the same the time before


def copy_of(reading: Reading) -> Copied:
    """Copy what is compared, on the crank's thread."""
    state = reading.state
    book, high = state.book, state.book.high
    held = (book.lots[:high] != 0) & (book.account[:high] >= FIRST_USER)
    return Copied(
        head=reading.head,
        ts=state.now,
        names=list(state.names),
        cash=book.cash[FIRST_USER : book.accounts].copy(),
        account=book.account[:high][held].astype(np.int64) - FIRST_USER,
        instrument=book.instrument[:high][held].astype(np.int64),
        lots=book.lots[:high][held].copy(),
        mark=state.mark.copy(),
        facts=state.facts,
    )


class Reconciler:
    """Compares books and remembers what differed; for one thread at a time, not the crank's.

    ``drift`` is the worth of all differences in the numeraire after the last comparison, of a book
    that comes in parts those of the other parts included; ``raised`` is whether the alarm stands.
    """

    def __init__(self, stack: Stack, alerts: Alerts | None = None) -> None:
        self._stack, self._alerts = stack, alerts
        self._symbols = [i.symbol for i in stack.venue.instruments]
        self._scales = scales_of(stack.venue, "venue")
        self.one = asyncio.Lock()  # for callers with an event loop
        self._rows: dict[str, int] = {}
        self._before: dict[tuple[int, int], _Seen] = {}
        self.last: tuple[Copied, Found] | None = None
        self.drift = 0.0
        self.raised = False

    def compare(self, ask: Reconcile, ours: Copied) -> Drift:
        """Return how far ``ours`` is from the venue's book; raise AskInvalid, naming the field."""
        if ask.seq > ours.head:
            raise AskInvalid(
                where="seq", what=f"must be a record of ours, up to {ours.head}", found=str(ask.seq)
            )
        theirs, strangers = self._theirs(ask, ours)
        tolerance = int(_whole([ask.tolerance], 6, "tolerance")[0])
        found = _differences(ours, theirs, tolerance, complete=ask.complete)
        keys = list(zip(found.user.tolist(), found.instrument.tolist(), strict=True))
        gaps = (found.theirs - found.ours).tolist()
        again = np.array(
            [
                k in self._before and self._before[k].gap == g
                for k, g in zip(keys, gaps, strict=True)
            ],
            np.bool_,
        )
        seen = map(_Seen, gaps, found.worth.tolist(), again.tolist())
        # A part of a book says nothing of whom it does not name: what was found there stands.
        named = set[int]() if ask.complete else set(theirs.user.tolist())
        rest = {k: s for k, s in self._before.items() if not ask.complete and k[0] not in named}
        self._before = rest | dict(zip(keys, seen, strict=True))
        self.last, self.drift = (ours, found), sum(s.worth for s in self._before.values())
        twice = sum(s.again for s in self._before.values())
        self.raised = bool(twice)
        if self.raised and self._alerts is not None:
            said = f"{twice:,} differences were found twice, worth {self.drift:,.2f}"
            self._alerts.raised(ALARM, said)
        return self._told(ask, ours, found, again, strangers)

    def corrections(self) -> Corrections:
        """Return the events that would remove the differences found last; none of them is sent."""
        if self.last is None:
            return Corrections(seq=-1, corrections=[])
        ours, found = self.last
        made = [
            self._correction(ours, *row)
            for row in zip(*(c.tolist() for c in found[:4]), strict=True)
        ]
        return Corrections(seq=ours.head, corrections=made)

    # ------------------------------------------------------------------------ inside

    def _theirs(self, ask: Reconcile, ours: Copied) -> tuple[Book, list[str]]:
        for name, column, as_many in (
            ("cash", ask.cash, ask.accounts),
            ("market", ask.market, ask.holder),
            ("quantity", ask.quantity, ask.holder),
        ):
            if len(column) != len(as_many):
                raise AskInvalid(
                    where=name, what=f"must have {len(as_many):,} cells", found=f"{len(column):,}"
                )
        for name in ours.names[len(self._rows) :]:
            self._rows[name] = len(self._rows)
        user = np.fromiter(
            map(self._rows.get, ask.accounts, [-1] * len(ask.accounts)),
            np.int64,
            len(ask.accounts),
        )
        known = user >= 0
        if np.any(np.bincount(user[known]) > 1):
            raise AskInvalid(where="accounts", what="must differ", found="the same name twice")
        strangers = [ask.accounts[k] for k in np.flatnonzero(~known).tolist()]
        cash = _whole(ask.cash, 6, "cash")
        columns = self._positions(ask, user)
        return Book(user[known], cash[known], *columns), strangers

    def _positions(self, ask: Reconcile, user: I64) -> tuple[I64, I64]:
        unknown = [m for m in ask.markets if m not in self._symbols]
        if unknown:
            raise AskInvalid(
                where="markets", what=f"must be of {self._symbols}", found=repr(unknown[0])
            )
        holder, market = np.array(ask.holder, np.int64), np.array(ask.market, np.int64)
        if holder.size and (holder.max() >= user.size or market.max() >= len(ask.markets)):
            raise AskInvalid(
                where="holder", what="must be places in accounts and markets", found="one beyond"
            )
        lots = np.zeros(holder.size, np.int64)
        places = [self._symbols.index(m) for m in ask.markets]
        columns = np.array(places, np.int64)
        for place, column in enumerate(places):
            here = np.flatnonzero(market == place)
            texts = [ask.quantity[k] for k in here.tolist()]
            lots[here] = _lots(texts, self._scales.lot[column], f"quantity of {ask.markets[place]}")
        rows = user[holder] if holder.size else holder
        kept = np.flatnonzero((rows >= 0) & (lots != 0))
        key = (rows[kept] << 20) | (columns[market[kept]] if holder.size else market[kept])
        order = np.argsort(key, kind="stable")
        key = key[order]
        if np.any(key[1:] == key[:-1]):
            raise AskInvalid(
                where="holder", what="must name a position once", found="the same one twice"
            )
        return key, lots[kept][order]

    def _told(
        self, ask: Reconcile, ours: Copied, found: Found, again: np.ndarray, strangers: list[str]
    ) -> Drift:
        most = np.argsort(-found.worth, kind="stable")[:LARGEST]
        return Drift(
            seq=ours.head,
            behind=ours.head - ask.seq,
            ts=ours.ts,
            accounts=len(ask.accounts) - len(strangers),
            differences=found.user.size,
            again=int(again.sum()),
            worth=float(found.worth.sum()),
            strangers=strangers[:STRANGERS],
            strangers_total=len(strangers),
            largest=[
                Difference(
                    account=ours.names[int(found.user[k])],
                    instrument=self._symbol(int(found.instrument[k])),
                    ours=self._amount(int(found.instrument[k]), int(found.ours[k])),
                    theirs=self._amount(int(found.instrument[k]), int(found.theirs[k])),
                    worth=float(found.worth[k]),
                    again=bool(again[k]),
                )
                for k in most.tolist()
            ],
            alarm=self.raised,
        )

    def _symbol(self, instrument: int) -> str:
        return "cash" if instrument == CASH else self._symbols[instrument]

    def _amount(self, instrument: int, amount: int) -> str:
        """Return an amount in the asset's or the instrument's own units."""
        return format(self._scales.lot[instrument] * amount, "f")

    def _correction(
        self, ours: Copied, user: int, instrument: int, had: int, has: int
    ) -> Correction:
        name, change = ours.names[user], has - had
        size, event = self._amount(instrument, abs(change)), dict[str, str | bool]()
        balance = instrument == CASH or isinstance(self._stack.venue.instruments[instrument], Spot)
        if balance:
            event |= {"type": "deposit" if change > 0 else "withdrawal", "account": name}
            event |= {"amount": size} | ({"settled": True} if change < 0 else {})
            event |= {} if instrument == CASH else {"asset": self._symbols[instrument]}
        else:
            price = self._scales.tick[instrument] * int(ours.mark[instrument])
            event |= {"type": "trade", "instrument": self._symbols[instrument], "taker": name}
            event |= {"quantity": ("-" if change < 0 else "") + size, "settled": True}
            event |= {"price": format(price, "f")}
        return Correction(
            account=name, instrument=self._symbol(instrument), change=change, event=event
        )


def _differences(ours: Copied, theirs: Book, tolerance: int, *, complete: bool) -> Found:
    """Return where two books differ, by user and instrument."""
    named = np.zeros(ours.cash.size, np.bool_)
    named[theirs.user] = True
    cash = np.zeros(ours.cash.size, np.int64)
    cash[theirs.user] = theirs.cash
    compared = named | complete
    off = np.flatnonzero(compared & (np.abs(cash - ours.cash) > tolerance))
    mine = (ours.account << 20) | ours.instrument
    order = np.argsort(mine, kind="stable")
    mine, lots = mine[order], ours.lots[order]
    if not complete:
        kept = named[mine >> 20]
        mine, lots = mine[kept], lots[kept]
    key = np.concatenate([mine, theirs.key])
    key.sort(kind="stable")  # two runs that are sorted already
    key = key[np.append(key[1:] != key[:-1], True)[: key.size]]
    left, right = _spread(key, mine, lots), _spread(key, theirs.key, theirs.lots)
    apart = np.flatnonzero(left != right)
    user, instrument = key[apart] >> 20, key[apart] & (2**20 - 1)
    worth = notionals(ours.facts, instrument, right[apart] - left[apart], ours.mark[instrument])
    money = np.abs(cash[off] - ours.cash[off]).astype(np.float64)
    return Found(
        user=np.concatenate([off, user]),
        instrument=np.concatenate([np.full(off.size, CASH), instrument]),
        ours=np.concatenate([ours.cash[off], left[apart]]),
        theirs=np.concatenate([cash[off], right[apart]]),
        worth=np.concatenate([money, worth]) / UNIT,
    )


def _spread(key: I64, some: I64, values: I64) -> I64:
    out = np.zeros(key.size, np.int64)
    out[np.searchsorted(key, some)] = values
    return out


def _whole(texts: Sequence[str], digits: int, where: str) -> I64:
    """Return decimals times ``10 ** digits`` as integers; refuse parts of a unit."""
    try:
        column = pa.array(texts, pa.string()).cast(pa.decimal128(38, digits))
    except pa.ArrowException as error:
        raise AskInvalid(
            where=where,
            what=f"must be decimals with at most {digits} digits after the point",
            found=str(error).split("\n", maxsplit=1)[0],
        ) from error
    halves = np.frombuffer(column.buffers()[1] or b"", "<i8")[: 2 * len(texts)].reshape(-1, 2)
    low, high = halves[:, 0].astype(np.int64), halves[:, 1]
    if np.any(high != low >> 63) or np.any(np.abs(low) > 2**62):
        raise AskInvalid(where=where, what="must lie within the range of a book", found="more")
    return low


def _lots(texts: Sequence[str], size: Decimal, where: str) -> I64:
    """Return quantities in lots of ``size``, exactly."""
    exponent = int(size.normalize().as_tuple().exponent)
    digits = max(0, -exponent)
    step = int(size * 10**digits)
    lots, rest = np.divmod(_whole(texts, digits, where), step)
    if np.any(rest):
        raise AskInvalid(
            where=where,
            what=f"must be whole lots of {size}",
            found=texts[int(np.flatnonzero(rest)[0])],
        )
    return lots
