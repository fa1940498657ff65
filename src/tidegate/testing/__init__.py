"""Contracts for third parties: what every journal, every venue and every policy must pass."""

from tidegate.testing.contracts import (
    DurableJournalContract,
    DurableVenueContract,
    JournalContract,
    VenueContract,
    history,
)
from tidegate.testing.policies import check_policy


__all__ = [
    "DurableJournalContract",
    "DurableVenueContract",
    "JournalContract",
    "VenueContract",
    "check_policy",
    "history",
]
