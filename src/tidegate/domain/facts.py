"""Facts: a venue and its margin rules as int64 columns, the form in which kernels read them."""

from typing import Final, NamedTuple

from tidegate.domain.units import I64


class Facts(NamedTuple):
    """One cell per instrument unless said otherwise. Rates are ppm, amounts Money."""

    kind: I64  # `Kind`
    tick_value: I64  # Money per lot and tick
    units: I64  # spot: smallest units per trading lot; 1 otherwise
    contract: I64  # inverse: scaled face value
    face: I64  # inverse: Money notional of one lot
    coin: I64  # inverse: column of its coin; -1 otherwise
    price_min: I64  # Ticks; 1, or what the range proof of an inverse asks for
    price_max: I64  # Ticks
    lots_max: I64
    tier_start: I64  # [instruments + 1] where each instrument's tiers begin in the tier columns
    tier_floor: I64  # [tiers] notional from which the tier applies
    tier_maintenance: I64  # [tiers]
    tier_maintenance_cum: I64  # [tiers] deduction that makes the requirement continuous
    tier_initial: I64  # [tiers]
    tier_initial_cum: I64  # [tiers]
    debt_maintenance: I64  # spot: rate on an owed balance
    debt_initial: I64
    premium: I64  # size premium, in 1e-3 ppm per square root of a lot
    open_low: I64  # notional open interest at which initial margin begins to rise; 0: never
    open_high: I64  # and at which it is 100 %
    penalty: I64  # liquidation penalty on closed notional
    dust: I64  # a remainder worth less than this is closed with the rest
    cash_debt: I64  # [2] maintenance and initial rate on owed cash


# The columns a dated parameter change may write, and the column of the instrument it names.
MUTABLE: Final = (
    "debt_maintenance",
    "debt_initial",
    "premium",
    "open_low",
    "open_high",
    "penalty",
    "dust",
)
# And all that a change may be announced for: those, owed cash, the rates of single tiers, and the
# flags that pause an action, which are kept elsewhere.
GOVERNED: Final = (*MUTABLE, "cash_debt", "tier_maintenance", "tier_initial", "pause")
