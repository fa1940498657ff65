"""Everything the engine remembers between two events."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.domain.auctions import Auctions
from tidegate.domain.backing import Backing
from tidegate.domain.banded import Banded
from tidegate.domain.bids import Bids
from tidegate.domain.book import EXTERNAL, FUND, Book
from tidegate.domain.facts import Facts
from tidegate.domain.judgement import Judgement
from tidegate.domain.orders import Orders
from tidegate.domain.pace import Pace
from tidegate.domain.pending import Pending
from tidegate.domain.restraint import Restraint
from tidegate.domain.units import I64
from tidegate.engine.paying import Paying
from tidegate.kernels.stability import ONE
from tidegate.safeguards.oracle import Quality
from tidegate.safeguards.stack import Stack, copied


LEVELS_MAX: Final = 64  # price levels kept of one side of a measured book
SHIFT: Final = 20  # order id = seq << SHIFT | number within the step


class Market(NamedTuple):
    """What is believed about prices and depth; one cell per instrument unless said otherwise."""

    mark: I64  # Ticks; 0 before the first price
    low: I64
    high: I64
    index_price: I64
    basis: I64  # 1/1024 ticks
    average: I64  # 1/1024 ticks
    pending: I64  # Ticks waiting for the oracle's delay; 0: none
    pending_at: I64
    quality: I64  # `Quality`
    marked_at: I64
    seen_price: I64  # [instruments, sources] last price of each source; 0: never
    seen_width: I64
    seen_at: I64
    variance: I64  # ppm^2 per second
    anchor: I64  # Ticks
    anchored_at: I64
    deviations: I64  # ppm
    near: I64  # near branching ratio, ppm
    levels: I64  # [instruments, 2] levels known of bids and asks
    depth_price: I64  # [instruments, 2, LEVELS_MAX] Ticks, from the touch outwards
    depth_lots: I64  # [instruments, 2, LEVELS_MAX]
    spent: I64  # [instruments, 2] lots in the throttle's bucket: sells, buys
    spent_at: I64  # [instruments, 2]

    @classmethod
    def empty(cls, instruments: int, sources: int) -> Self:
        """Return the market before any price."""
        shapes: dict[str, tuple[int, ...]] = {
            "seen_price": (instruments, sources),
            "seen_width": (instruments, sources),
            "seen_at": (instruments, sources),
            "levels": (instruments, 2),
            "depth_price": (instruments, 2, LEVELS_MAX),
            "depth_lots": (instruments, 2, LEVELS_MAX),
            "spent": (instruments, 2),
            "spent_at": (instruments, 2),
        }
        market = cls(
            *(np.zeros(shapes.get(name, (instruments,)), np.int64) for name in cls._fields)
        )
        market.quality[:] = int(Quality.NONE)
        return market


@dataclass(slots=True)
class State:
    """One venue at one moment. Only `evolve` may write to it."""

    book: Book
    facts: Facts
    market: Market
    orders: Orders
    auctions: Auctions  # without slots, and no part of the digest, where nothing is auctioned
    bids: Bids  # likewise, where no bid ever waits
    staged_at: I64  # [accounts_max] when the account's last stage began; -1: never
    signal: I64  # [signals] last clamped value
    signal_at: I64  # [signals] -1: never
    paying: Paying
    restraint: Restraint
    pace: Pace
    backing: Backing
    charged: I64  # [instruments] Ppm, charged for volatility; 0: nothing
    cap_limit: I64  # [expanding limits of capped assets, or none] Money; 0: none yet
    cap_moved_at: I64
    banded: Banded
    judgement: Judgement
    pending: Pending = field(default_factory=Pending.empty)  # parameters on their way
    names: list[str] = field(default_factory=list[str])
    rung: int = 0
    calm_since: int = -1
    fund_peak: int = 0
    fund_peak_at: int = 0
    lost: int = 0  # cumulative deficits, which decide the tranches' layers
    seq: int = 0
    now: int = 0

    @classmethod
    def genesis(cls, stack: Stack) -> Self:
        """Return the state before anything has happened; the tranches hold their initial money."""
        venue, declaration = stack.venue, stack.declaration
        n = len(venue.instruments)
        book = Book.empty(venue.limits, n)
        for k, tranche in enumerate(declaration.waterfall.tranches):
            book.cash[FUND + k] = tranche.initial
            book.cash[EXTERNAL] -= tranche.initial
        slots = len(declaration.signals.bounds)
        return cls(
            book=book,
            facts=copied(stack.facts),
            market=Market.empty(n, len(venue.sources)),
            orders=Orders.empty(venue.limits.orders_max),
            auctions=Auctions.empty(venue.limits.orders_max if stack.auctions else 0),
            bids=Bids.empty(venue.limits.orders_max if stack.batches else 0),
            staged_at=np.full(venue.limits.accounts_max, -1, np.int64),
            signal=np.array([b.neutral for b in declaration.signals.bounds], np.int64),
            signal_at=np.full(slots, -1, np.int64),
            paying=Paying.empty(venue.limits.accounts_max),
            restraint=Restraint.empty(n),
            pace=Pace.empty(
                n,
                venue.limits.accounts_max if declaration.slices.active else 0,
                venue.limits.positions_max if declaration.slices.active else 0,
            ),
            backing=Backing.empty(
                accounts=venue.limits.accounts_max,
                instruments=n,
                offers=declaration.backstop.offers_max,
                depositors=declaration.backstop.pool.depositors_max,
                used=declaration.backstop.on,
                product=ONE,
            ),
            charged=np.zeros(n, np.int64),
            cap_limit=np.zeros(declaration.caps.slots, np.int64),
            cap_moved_at=np.zeros(declaration.caps.slots, np.int64),
            banded=Banded.empty(venue.limits.accounts_max, n, declaration.soft.bands),
            judgement=Judgement.empty(n),
            fund_peak=declaration.waterfall.fund(book),
        )

    @property
    def mark(self) -> I64:
        """Mark prices in ticks; 0 before the first."""
        return self.market.mark

    @property
    def low(self) -> I64:
        """Lower ends of the believed intervals."""
        return self.market.low

    @property
    def high(self) -> I64:
        """Upper ends of the believed intervals."""
        return self.market.high

    @property
    def quality(self) -> I64:
        """How good each mark is; see `Quality`."""
        return self.market.quality

    def columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield every column by name, cut to what is in use: all that decides the future."""
        accounts, high = self.book.accounts, self.book.high
        per_account = {"cash", "owner", "head"}
        uncut = {"table", "counts", "long_open", "short_open"}
        for name, column in self.book._asdict().items():
            if name == "free":
                column = column[: int(self.book.counts[2])]  # noqa: PLW2901 - the used part
            elif name not in uncut:
                column = column[: accounts if name in per_account else high]  # noqa: PLW2901 - ditto
            yield f"book.{name}", column
        for group, columns in (
            ("facts", self.facts),
            ("market", self.market),
            ("orders", self.orders),
            *((("auctions", self.auctions),) if self.auctions.key.size else ()),
            *((("bids", self.bids),) if self.bids.key.size else ()),
        ):
            for name, column in columns._asdict().items():
                yield f"{group}.{name}", column
        if self.pending.live:
            for name, column in self.pending._asdict().items():
                yield f"pending.{name}", column
        if self.charged.any():
            yield "charged", self.charged
        yield "staged_at", self.staged_at[:accounts]
        yield "signal", self.signal
        yield "signal_at", self.signal_at
        yield from self.paying.columns(accounts)
        if self.restraint.stirred():
            for name, column in self.restraint._asdict().items():
                yield f"restraint.{name}", column
        for name in self.pace.used():
            yield f"pace.{name}", getattr(self.pace, name)
        if self.backing.used:
            for name, column in self.backing._asdict().items():
                yield f"backing.{name}", column
        if self.cap_limit.size:
            yield "cap_limit", self.cap_limit
            yield "cap_moved_at", self.cap_moved_at
        if self.banded.asset.size:
            for name, column in self.banded._asdict().items():
                cut = column if name in {"price", "fee", "at"} else column[:accounts]
                yield f"banded.{name}", cut
        if self.judgement.stirred():
            for name, column in self.judgement._asdict().items():
                yield f"judgement.{name}", column

    def scalars(self) -> dict[str, int]:
        """Return every scalar by name."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), int)}

    def digest(self) -> str:
        """Return the fingerprint of every bit that can influence a future decision."""
        h = hashlib.blake2b(digest_size=8)
        for name, column in self.columns():
            h.update(name.encode())
            h.update(np.ascontiguousarray(column).data)
        h.update(msgspec.msgpack.encode(self.scalars(), order="deterministic"))
        h.update("\n".join(self.names).encode())
        return h.hexdigest()

    def dump(self) -> bytes:
        """Return the state as bytes for a snapshot; `load` gives back an equal one."""
        columns = {
            name: (column.dtype.str, list(column.shape), np.ascontiguousarray(column).tobytes())
            for name, column in self.columns()
        }
        return msgspec.msgpack.encode((columns, self.scalars(), self.names))

    @classmethod
    def load(cls, data: bytes, stack: Stack) -> Self:
        """Return the state that `dump` wrote; raise ValueError when it was under other limits."""
        columns, scalars, names = msgspec.msgpack.decode(
            data, type=tuple[dict[str, tuple[str, list[int], bytes]], dict[str, int], list[str]]
        )
        state = cls.genesis(stack)
        homes: dict[str, NDArray[Any]] = {
            "staged_at": state.staged_at,
            "signal": state.signal,
            "signal_at": state.signal_at,
            "charged": state.charged,
            "cap_limit": state.cap_limit,
            "cap_moved_at": state.cap_moved_at,
        }
        for group, held in (
            ("book", state.book),
            ("facts", state.facts),
            ("market", state.market),
            ("orders", state.orders),
            ("restraint", state.restraint),
            ("pace", state.pace),
            ("backing", state.backing),
            ("pending", state.pending),
            ("banded", state.banded),
            ("judgement", state.judgement),
            ("auctions", state.auctions),
            ("bids", state.bids),
        ):
            homes |= {f"{group}.{name}": column for name, column in held._asdict().items()}
        for name, (kind, shape, raw) in columns.items():
            column = np.frombuffer(raw, np.dtype(kind)).reshape(shape)
            if name.startswith("paying."):
                state.paying.restore(name, column)
                continue
            fixed = name in {"book.table", "orders.key", "auctions.key"}
            if fixed and column.shape != homes[name].shape:
                msg = f"{name} was saved in {column.size:_} cells, not {homes[name].size:_}"
                raise ValueError(msg)
            homes[name][tuple(slice(0, n) for n in shape)] = column
        for name, value in scalars.items():
            setattr(state, name, value)
        state.names = names
        return state
