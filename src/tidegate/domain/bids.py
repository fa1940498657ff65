"""Bids that wait for their auction to clear: open ones, and sealed ones with their bonds."""

from typing import NamedTuple, Self

import numpy as np

from tidegate.domain.units import I64


SEAL = 4  # int64 words of a commitment


class Bids(NamedTuple):
    """Waiting bids. Free slots have key -1; a sealed bid has no lots until it is revealed."""

    key: I64  # [slots] bid id
    auction: I64  # [slots] auction id
    bidder: I64  # [slots] account row, 0 the world outside
    lots: I64  # [slots] wanted, positive; 0: sealed
    limit: I64  # [slots] Ticks
    bond: I64  # [slots] Money held by the treasury
    nonce: I64  # [slots] what a revealed bid adds to the seed
    seal: I64  # [slots, SEAL] the commitment, as little-endian words

    @classmethod
    def empty(cls, slots: int) -> Self:
        """Return a table with every slot free."""
        zeros = {n: np.zeros(slots, np.int64) for n in cls._fields if n not in {"key", "seal"}}
        seal = np.zeros((slots, SEAL), np.int64)
        return cls(key=np.full(slots, -1, np.int64), seal=seal, **zeros)

    def of(self, auction: int) -> I64:
        """Return the slots of one auction's bids, first come first."""
        found = np.flatnonzero((self.key >= 0) & (self.auction == auction))
        return found[np.argsort(self.key[found], kind="stable")]

    def slot(self, bid: int) -> int:
        """Return the slot of a bid, or -1."""
        found = np.flatnonzero(self.key == bid) if 0 <= bid < 2**62 else np.zeros(0, np.int64)
        return int(found[0]) if found.size else -1

    def free(self) -> int:
        """Return the lowest free slot, or -1."""
        found = np.flatnonzero(self.key < 0)
        return int(found[0]) if found.size else -1
