"""Faults of the simulated venue: lost orders, late or repeated reports, crashes.

Drawn in two phases, after FoundationDB's *buggify*: each site is switched on or off for a whole
run, then strikes at random. Runs differ in kind, not only in detail.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.units import I64, PPM
from tidegate.domain.venue import VenueModel
from tidegate.drivers.streams import Streams


SITES: Final = ("drop", "duplicate", "delay", "crash")
SITE_ON: Final = 0.5  # a site with a rate above zero is live in half of all runs


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one run. ``rate`` is ppm by site, 0 where the site is switched off.

    Whether a fault strikes depends on the run and on the order's id, not on how often or in which
    batch it is submitted: a stack that places one order more meets the same luck with the others.
    """

    rate: dict[str, int]
    key: dict[str, int]

    @classmethod
    def drawn(cls, model: VenueModel, streams: Streams) -> Self:
        """Draw the sites of this run from the stream "faults"."""
        draw = streams["faults"]
        asked = {site: getattr(model, site) for site in SITES}
        rate: dict[str, int] = {}
        key: dict[str, int] = {}
        for site in SITES:  # every site draws, so that one rate does not move another site's luck
            live = draw.random() < SITE_ON
            key[site] = draw.bit_generator.random_raw() >> 1
            rate[site] = asked[site] if live else 0
        return cls(rate, key)

    def strike(self, site: str, ids: I64) -> NDArray[np.bool_]:
        """Return for each id whether ``site`` strikes it."""
        rate = self.rate[site]
        if rate == 0:
            return np.zeros(ids.size, np.bool_)
        return _mixed(ids, self.key[site]) % np.uint64(PPM) < np.uint64(rate)


def _mixed(ids: I64, key: int) -> NDArray[np.uint64]:
    # SplitMix64's finaliser: each bit of an id changes half the bits of the result.
    z = ids.astype(np.uint64) ^ np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
