"""A keeper's hands: bids that are sent once, seals that survive a restart, and the market it sees.

>>> from tidegate.client.keeper import Keeper
>>> keeper = Keeper("http://127.0.0.1:8700", token, "sealed.json")  # doctest: +SKIP
"""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Final, Self, TypeAlias

import msgspec

from tidegate.api.answers import BidNow, Frame, KeeperNow, Settlement
from tidegate.api.asks import Bid, Reveal, SealedBid, Take
from tidegate.client.calls import AGAIN, Client, Refused, Unreachable
from tidegate.client.desk import Desk, Offer
from tidegate.client.stream import follow
from tidegate.domain.commitments import bid_payload, commitment


SALT_BYTES: Final = 32
TOPICS: Final = ("auctions", "marks")
FORGET_NS: Final = 600_000_000_000  # after its reveal window a bid is over, or its service is gone
Frames: TypeAlias = "asyncio.Queue[Frame]"


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sealed bid: what only its keeper knows until it is revealed."""

    auction: int
    began: int  # of its window
    closes: int  # when it may be revealed ...
    until: int  # ... and when it no longer may
    bidder: str | None
    row: int
    quantity: str
    limit: str
    lots: int
    ticks: int
    salt: str
    bid: int | None = None  # its number, once the service has kept it

    @property
    def seal(self) -> str:
        """What the service is told of it at first."""
        said = bid_payload(self.auction, self.row, self.lots, self.ticks)
        return commitment(bytes.fromhex(self.salt), said).hex()

    @property
    def key(self) -> str:
        """The idempotency key under which it is sent, however often."""
        return f"seal-{self.seal}"


class Memory:
    """Sealed bids that are not over, in a small file of the keeper's alone.

    Written before a seal is sent: a salt that is lost is a bond that is lost.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        raw = self._path.read_bytes() if self._path.exists() else b"[]"
        self._held = {s.seal: s for s in msgspec.json.decode(raw, type=list[Sealed])}

    def all(self) -> list[Sealed]:
        """Return what is held, oldest first."""
        return list(self._held.values())

    def keep(self, sealed: Sealed) -> None:
        """Hold a bid, or what has become known of it."""
        self._held[sealed.seal] = sealed
        self._write()

    def drop(self, sealed: Sealed) -> None:
        """Forget a bid that is over."""
        if self._held.pop(sealed.seal, None) is not None:
            self._write()

    def _write(self) -> None:
        folder = self._path.parent
        handle, name = tempfile.mkstemp(dir=folder, prefix=self._path.name)  # for its owner alone
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(self.all()))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._path)
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


class Keeper:
    """One bidder at one service; close it, or use it as a context.

    Every bid is sent under an idempotency key made of what it says, so that a keeper that was
    stopped between sending and hearing may decide the same again, and bids once.

    Parameters
    ----------
    address, token
        As for `Client`.
    memory
        The file in which sealed bids are remembered.
    bidder
        For which account; left out, that of the key, or the world outside where it has none.
    """

    def __init__(
        self,
        address: str,
        token: str,
        memory: str | Path,
        *,
        bidder: str | None = None,
        client: Client | None = None,
    ) -> None:
        self._address, self._token = address, token
        self.client = client or Client(address, token)
        self.memory = Memory(memory)
        self._whose = {} if bidder is None else {"bidder": bidder}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    # ------------------------------------------------------------ looking

    def look(self) -> Desk:
        """Return the desk as it stands; seals that may not have arrived are sent again."""
        begun = time.time_ns()
        now = self.client.get("/v1/keeper", KeeperNow, **self._whose)
        middle = (begun + time.time_ns()) // 2
        for sealed in self.memory.all():
            if now.clock > sealed.until + FORGET_NS:
                self.memory.drop(sealed)
            elif sealed.bid is None:
                self._send(sealed)
        return Desk(now, ahead=now.clock - middle)

    async def watch(self, every: float = 0.1, again: float = 30.0) -> AsyncGenerator[Desk]:
        """Yield the desk after whatever is heard, and ``every`` so many seconds, forever.

        It is read as a whole ``again`` after so many seconds: another clock, other rules.
        """
        frames: Frames = asyncio.Queue()
        desk = await asyncio.to_thread(self.look)
        hearing = asyncio.create_task(self._hear(frames, desk.seq))
        loop = asyncio.get_running_loop()
        looked = loop.time()
        try:
            while True:
                if loop.time() - looked >= again:
                    looked = loop.time()
                    with suppress(Unreachable):  # then what the stream has told so far stands
                        desk = await asyncio.to_thread(self.look)
                try:
                    desk.hear(await asyncio.wait_for(frames.get(), every))
                except TimeoutError:
                    if hearing.done():
                        hearing.result()  # the key is refused: nothing will be heard any more
                while not frames.empty():
                    desk.hear(frames.get_nowait())
                yield desk
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self, frames: Frames, after: int) -> None:
        async with aclosing(follow(self._address, self._token, TOPICS, after=after)) as heard:
            async for frame in heard:
                frames.put_nowait(frame)

    def bids(self, limit: int = 100) -> list[BidNow]:
        """Return what became of the last bids, newest first."""
        return self.client.get("/v1/bids", list[BidNow], limit=limit, **self._whose)

    def settlements(self, limit: int = 1_000) -> list[Settlement]:
        """Return the last receipts, newest first."""
        return self.client.get("/v1/settlements", list[Settlement], limit=limit, **self._whose)

    def tied(self) -> Decimal:
        """Return what was spent, and what waiting and sealed bids may still cost."""
        waiting = {b.bid: b for b in self.bids(1_000) if b.status == "waiting"}
        asked = [(b.quantity or "0", b.limit or "0") for b in waiting.values()]
        asked += [(s.quantity, s.limit) for s in self.memory.all() if s.bid not in waiting]
        spent = sum((Decimal(s.worth) for s in self.settlements()), Decimal(0))
        return spent + sum((Decimal(q) * Decimal(p) for q, p in asked), Decimal(0))

    # ------------------------------------------------------------ bidding

    def take(self, desk: Desk, offer: Offer, lots: int, worst: int) -> BidNow:
        """Take lots at the price of the moment, if it is ``worst`` or better; say what came of it.

        Asked again at the same price of the auction it is the same take.
        """
        quantity, limit = _said(desk, offer, lots, worst)
        asked = Take(auction=offer.auction, bidder=desk.account, quantity=quantity, limit=limit)
        key = f"take-{offer.auction}-{offer.began}-{desk.price(offer)}-{lots}-{worst}"
        return self._told(self.client.bid(asked, key=key).first)

    def bid(self, desk: Desk, offer: Offer, lots: int, worst: int) -> BidNow:
        """Bid in a batch for lots at ``worst`` or better, once in each of its windows."""
        quantity, limit = _said(desk, offer, lots, worst)
        asked = Bid(auction=offer.auction, bidder=desk.account, quantity=quantity, limit=limit)
        key = f"bid-{offer.auction}-{offer.began}-{lots}-{worst}"
        return self._told(self.client.bid(asked, key=key).first)

    def seal(self, desk: Desk, offer: Offer, lots: int, worst: int) -> BidNow:
        """Hand in a sealed bid, remembered before it is sent; `due` says when to reveal it.

        One that is remembered of this window, and whose answer may have been lost, is sent again.
        """
        this, sale = (offer.auction, offer.began), desk.sale
        for held in self.memory.all():
            if (held.auction, held.began) == this:
                return self._send(held)
        assert sale is not None, "there are offers"
        closes = offer.began + sale.window_ns
        quantity, limit = _said(desk, offer, lots, worst)
        sealed = Sealed(
            auction=offer.auction,
            began=offer.began,
            closes=closes,
            until=closes + sale.reveal_ns,
            bidder=desk.account,
            row=desk.row,
            lots=lots,
            ticks=worst,
            salt=secrets.token_hex(SALT_BYTES),
            quantity=quantity,
            limit=limit,
        )
        self.memory.keep(sealed)
        return self._send(sealed)

    def due(self, desk: Desk) -> list[Sealed]:
        """Return the sealed bids that can be revealed now."""
        now = desk.now()
        return [s for s in self.memory.all() if s.bid is not None and s.closes <= now < s.until]

    def reveal(self, sealed: Sealed) -> str:
        """Reveal a bid; return the code of a refusal, or nothing.

        It is then forgotten, unless our clock is ahead and its moment has not come.
        """
        assert sealed.bid is not None, "only what was kept can be revealed"
        asked = Reveal(
            bid=sealed.bid,
            auction=sealed.auction,
            quantity=sealed.quantity,
            limit=sealed.limit,
            salt=sealed.salt,
        )
        taken = self.client.bid(asked)
        code = next((c for o in taken.outcomes for c in o.refused), "")
        if code != "auction_window_closed":
            self.memory.drop(sealed)
        return code

    def _send(self, sealed: Sealed) -> BidNow:
        asked = SealedBid(auction=sealed.auction, bidder=sealed.bidder, seal=sealed.seal)
        try:
            told = self._told(self.client.bid(asked, key=sealed.key).first)
        except Refused as no:
            if no.problem.status not in AGAIN and no.problem.status < 500:
                self.memory.drop(sealed)  # it was not taken, and never will be
            raise
        if told.code or told.bid is None:
            self.memory.drop(sealed)
        else:
            self.memory.keep(msgspec.structs.replace(sealed, bid=told.bid))
        return told

    def _told(self, seq: int) -> BidNow:
        """Return what became of the bid that is this record."""
        found = self.client.get("/v1/bids", list[BidNow], before=seq + 1, limit=1, **self._whose)
        if not found or found[0].seq != seq:
            msg = f"record {seq} is no bid of this keeper, or too old to be remembered"
            raise LookupError(msg)
        return found[0]


def _said(desk: Desk, offer: Offer, lots: int, worst: int) -> tuple[str, str]:
    symbol = offer.instrument
    return desk.quantity_text(symbol, lots), desk.price_text(symbol, worst)
