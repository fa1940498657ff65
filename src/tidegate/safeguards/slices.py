"""Cutting a stage into slices whose sizes and times nobody outside can foresee."""

import hashlib
from typing import NamedTuple

import msgspec
import numpy as np

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import I64, PPM, Nanos, Ppm


COUNT_MAX = 32


class Cut(NamedTuple):
    """The slices of one account's stage."""

    weight: I64  # [count] sizes in proportion
    offset: I64  # [count] Nanos after the stage was cut, rising


class Slicing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spread each stage over ``horizon_ns`` in ``count`` slices; one slice is the neutral setting.

    Each slice falls at a random moment of its own part of the horizon and has a random size within
    ``jitter`` of the mean, drawn from a secret that is a function of a journalled seed. Below
    ``urgent`` of its maintenance an account is not made to wait: all that is left is due.
    """

    count: int = 1
    horizon_ns: Nanos = Nanos(10_000_000_000)
    jitter: Ppm = Ppm(500_000)
    urgent: Ppm = Ppm(0)
    reseed_ns: Nanos = Nanos(600_000_000_000)  # how often the driver draws a new seed

    def __post_init__(self) -> None:
        """Refuse slices of no size, and horizons too short to be cut."""
        if not 1 <= self.count <= COUNT_MAX:
            raise ConfigInvalid(
                where="slices.count",
                what=f"must lie within 1..{COUNT_MAX}",
                found=f"{self.count:_}",
            )
        if not 0 <= self.jitter < PPM:
            raise ConfigInvalid(
                where="slices.jitter",
                what="must be below 1_000_000: a slice has some size",
                found=f"{self.jitter:_}",
            )
        refuse_negative("slices", self, "urgent")
        if self.horizon_ns < self.count or self.reseed_ns < 1:
            raise ConfigInvalid(
                where="slices.horizon_ns",
                what="must be at least a nanosecond a slice, and reseed_ns >= 1",
                found=f"{self.horizon_ns:_} and {self.reseed_ns:_}",
            )

    @property
    def active(self) -> bool:
        """Whether stages are cut at all."""
        return self.count > 1

    def secret(self, seed: bytes, account: int, at: int) -> int:
        """Return what a stage's slices are drawn from: 62 bits of a keyed hash, 0 without a seed.

        Whoever sees some slices of one account learns nothing about its others, or anybody else's.
        """
        if not seed:
            return 0
        said = account.to_bytes(8, "little") + at.to_bytes(8, "little", signed=True)
        digest = hashlib.blake2b(said, key=seed, digest_size=8).digest()
        return max(1, int.from_bytes(digest, "little") >> 2)

    def cut(self, secret: int) -> Cut:
        """Return sizes and times of the slices; even ones for a secret of zero."""
        width = self.horizon_ns // self.count
        place = np.arange(self.count, dtype=np.int64) * width
        if not secret:
            return Cut(np.full(self.count, PPM, np.int64), place)
        drawn = hashlib.shake_128(secret.to_bytes(8, "little")).digest(8 * self.count)
        size, when = np.frombuffer(drawn, "<u4").astype(np.int64).reshape(2, self.count)
        weight = PPM - self.jitter + (2 * self.jitter * size >> 32)
        # A width is at most 2**62; its draw is split so that no product wraps.
        late = (width >> 32) * when + ((width & (2**32 - 1)) * (when >> 1) >> 31)
        return Cut(weight, place + np.minimum(late, width - 1))

    def hurries(self, equity: int, required: int) -> bool:
        """Return whether an account is too ill to wait for its next slice."""
        return equity < 0 or equity * PPM < required * self.urgent

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.active:
            return ["slices: a stage is ordered at once"]
        said = [f"slices: a stage goes in {self.count} parts over {self.horizon_ns / 1e9:g} s"]
        if self.jitter:
            said.append(f"slices: sizes vary by {self.jitter / 1e4:g} %, times within their parts")
            said.append("slices: drawn from a journalled seed that watchers do not see")
        if self.urgent:
            said.append(f"slices: below {self.urgent / 1e4:g} % of maintenance all is due at once")
        return said
