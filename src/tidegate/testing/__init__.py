"""Contracts for third parties: what every journal, every venue and every policy must pass."""

from tidegate.testing.contracts import DurableVenueContract, VenueContract
from tidegate.testing.journals import DurableJournalContract, JournalContract, history
from tidegate.testing.policies import check_policy


__all__ = [
    "DurableJournalContract",
    "DurableVenueContract",
    "JournalContract",
    "VenueContract",
    "check_policy",
    "history",
]
