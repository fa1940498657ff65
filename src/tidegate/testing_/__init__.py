"""Contracts for third parties: what every journal, every venue and every policy must pass."""

from tidegate.testing.contracts import (
    DurableJournalContract as DurableJournalContract,
)
from tidegate.testing.contracts import (
    DurableVenueContract as DurableVenueContract,
)
from tidegate.testing.contracts import (
    JournalContract as JournalContract,
)
from tidegate.testing.contracts import (
    VenueContract as VenueContract,
)
from tidegate.testing.policies import check_policy as check_policy
