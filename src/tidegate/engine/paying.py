"""What the engine remembers about who pays: weights, gates, stakes, claims and last markets."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from tidegate.domain.payers import (
    BurdenMoved,
    CapacityMoved,
    ClaimsMoved,
    Decided,
    DeficitWatched,
    EarlyMoved,
    LastMarketKept,
    StakeMoved,
    UnstakeKept,
)
from tidegate.domain.units import I64, PPM, unpack


EARLY, OPEN, DEFICIT_AT, CAPACITY, CAPACITY_AT = range(5)  # cells of `Paying.moment`
NEVER = -1


class Stake(NamedTuple):
    """What an account has in one tranche of the fund, and what of it was asked back."""

    shares: int = 0
    asked: int = 0
    value: int = 0  # of the shares asked back, then; Money
    at: int = 0


@dataclass(slots=True, eq=False)
class Paying:  # noqa: PLW1641 - its columns change: it has no hash
    """Columns of accounts and of the venue. Each is part of the state once it is not neutral.

    ``stakes`` is by (account, tranche), ``claims`` is Money by (debtor, payer).
    """

    moment: I64  # [5] early deleveraging on; a deficit open, last seen; capacity and its time
    burden: I64  # [accounts_max] ppm, weight in the online rule; one million is new
    market: I64  # [accounts_max] instrument left last by force; -1: none
    stakes: dict[tuple[int, int], Stake] = field(default_factory=dict[tuple[int, int], Stake])
    claims: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    @classmethod
    def empty(cls, accounts_max: int) -> Self:
        """Return the memory of a venue to which nothing has happened."""
        return cls(
            moment=np.array([0, 0, NEVER, NEVER, NEVER], np.int64),
            burden=np.full(accounts_max, PPM, np.int64),
            market=np.full(accounts_max, NEVER, np.int64),
        )

    def __eq__(self, other: object) -> bool:
        """Whether both remember the same."""
        if not isinstance(other, Paying):
            return False
        if self.claims != other.claims or self.stakes != other.stakes:
            return False
        names = ("moment", "burden", "market")
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)

    def columns(self, accounts: int) -> Iterator[tuple[str, I64]]:
        """Yield by name what differs from `empty`, cut to the accounts in use."""
        new = Paying.empty(accounts)
        for name in ("moment", "burden", "market"):
            column = getattr(self, name)
            used = column if name == "moment" else column[:accounts]
            if not np.array_equal(used, getattr(new, name)):
                yield f"paying.{name}", used
        if self.stakes:
            held = [(*key, *stake) for key, stake in sorted(self.stakes.items())]
            yield "paying.stakes", np.array(held, np.int64)
        if self.claims:
            rows = [(*key, amount) for key, amount in sorted(self.claims.items())]
            yield "paying.claims", np.array(rows, np.int64)

    def restore(self, name: str, column: I64) -> None:
        """Take back one column that `columns` yielded."""
        if name == "paying.claims":
            self.claims = {(d, p): amount for d, p, amount in column.tolist()}
            return
        if name == "paying.stakes":
            self.stakes = {(a, k): Stake(*held) for a, k, *held in column.tolist()}
            return
        home = getattr(self, name.removeprefix("paying."))
        home[tuple(slice(0, n) for n in column.shape)] = column

    def stake(self, account: int, tranche: int) -> Stake:
        """Return what an account has in a tranche."""
        return self.stakes.get((account, tranche), Stake())

    def staked(self, tranche: int) -> int:
        """Return the shares of a tranche that all accounts hold together."""
        return sum(held.shares for (_, k), held in self.stakes.items() if k == tranche)

    def _keep(self, account: int, tranche: int, held: Stake) -> None:
        self.stakes[account, tranche] = held
        if not held.shares and not held.asked:
            del self.stakes[account, tranche]

    def owed_by(self, debtor: int) -> tuple[I64, I64]:
        """Return (payers, what each may claim from ``debtor``), payers rising."""
        held = sorted((p, amount) for (d, p), amount in self.claims.items() if d == debtor)
        rows = np.array(held, np.int64).reshape(-1, 2)
        return rows[:, 0], rows[:, 1]

    def evolve(self, effect: Decided) -> None:
        """Apply one effect, without further thought."""
        match effect:
            case BurdenMoved():
                self.burden[unpack(effect.account)] = unpack(effect.weight)
            case EarlyMoved():
                self.moment[EARLY] = effect.active
            case DeficitWatched():
                self.moment[OPEN], self.moment[DEFICIT_AT] = effect.open, effect.at
            case CapacityMoved():
                self.moment[CAPACITY], self.moment[CAPACITY_AT] = effect.capacity, effect.at
            case StakeMoved(account=a, tranche=k):
                held = self.stake(a, k)
                self._keep(a, k, held._replace(shares=held.shares + effect.shares))
            case UnstakeKept(account=a, tranche=k):
                asked = Stake(self.stake(a, k).shares, effect.shares, effect.value, effect.at)
                self._keep(a, k, asked)
            case ClaimsMoved():
                pairs = zip(
                    unpack(effect.payer).tolist(), unpack(effect.amount).tolist(), strict=True
                )
                for payer, amount in pairs:
                    key = (effect.debtor, payer)
                    self.claims[key] = self.claims.get(key, 0) + amount
                    if not self.claims[key]:
                        del self.claims[key]
            case LastMarketKept():
                self.market[unpack(effect.account)] = unpack(effect.instrument)
            case _:
                pass  # DeleveragingCompared: words, not deeds
