"""What one path came to, small enough to keep for every path of a study."""

import msgspec
import numpy as np

from tidegate.domain.units import I64, Money, Ppm, pack, unpack
from tidegate.drivers.verdict import HALT, Verdict


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One path under one stack. Money is 1e-6 of the numeraire, rates are ppm."""

    path: int
    bad_debt: Money  # by which accounts were bankrupt when nothing of them was left
    deficit_at_end: Money  # accounts still below zero at the end
    fund_at_start: Money
    fund_used: Money
    uncovered: Money  # bad debt that nobody paid
    socialised: Money
    adl_profit_taken: Money
    adl_overshoot: Money
    adl_accounts: int
    penalties: Money
    sale_cost: Money  # what forced sales fetched less than the mark when they were ordered
    forced_volume: Money
    accounts: int
    accounts_liquidated: int
    peak_impact: Ppm
    peak_branching: Ppm
    insolvent_seconds: float
    halt_seconds: float
    initial_margin: Ppm  # 0 where it was never measured
    digest: str
    sufferers: bytes  # [k] rows of accounts found bankrupt
    deficits: bytes  # [k] Money each lacked
    profits: dict[str, int] = {}  # Money, by adversary

    @property
    def loss(self) -> int:
        """Everything somebody had to lose: bad debt, and what was still below zero at the end."""
        return self.bad_debt + self.deficit_at_end

    @property
    def borne_by_others(self) -> int:
        """What other accounts lost by it: profit given up, losses shared, or paid by nobody."""
        return self.adl_profit_taken + self.socialised + self.uncovered

    @property
    def user_harm(self) -> int:
        """What users lost beyond the market's move: penalties, sale cost, and others' burden."""
        return self.penalties + self.sale_cost + self.borne_by_others

    @property
    def insolvent(self) -> bool:
        """Whether the loss was more than the whole fund."""
        return self.loss > self.fund_at_start

    @property
    def by_account(self) -> dict[int, int]:
        """Return the deficit of each account that was found bankrupt, by row."""
        pairs = zip(unpack(self.sufferers).tolist(), unpack(self.deficits).tolist(), strict=True)
        return dict(pairs)

    @classmethod
    def of(cls, path: int, verdict: Verdict, deficit: I64, profits: dict[str, int]) -> "Outcome":
        """Return the outcome of a verdict; ``deficit`` is [accounts] Money by which each fell."""
        rows = np.flatnonzero(deficit)
        return cls(
            path=path,
            bad_debt=verdict.bad_debt,
            deficit_at_end=verdict.deficit_at_end,
            fund_at_start=Money(sum(verdict.fund_at_start)),
            fund_used=Money(sum(verdict.fund_used)),
            uncovered=verdict.uncovered,
            socialised=verdict.socialised_loss,
            adl_profit_taken=verdict.adl_profit_taken,
            adl_overshoot=verdict.adl_overshoot,
            adl_accounts=verdict.adl_accounts,
            penalties=verdict.penalties,
            sale_cost=verdict.sale_cost,
            forced_volume=verdict.forced_volume,
            accounts=verdict.accounts,
            accounts_liquidated=verdict.accounts_liquidated,
            peak_impact=verdict.peak_impact_ppm,
            peak_branching=verdict.peak_branching_ppm,
            insolvent_seconds=verdict.insolvent_seconds,
            halt_seconds=verdict.rung_seconds[HALT],
            initial_margin=verdict.initial_margin_ppm or Ppm(0),
            digest=verdict.digest,
            sufferers=pack(rows),
            deficits=pack(deficit[rows]),
            profits=profits,
        )
