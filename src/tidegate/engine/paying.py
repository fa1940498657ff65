"""What the engine remembers about who pays: weights, gates, stakes, claims and last markets."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from tidegate.domain.book import TRANCHES_MAX
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


@dataclass(slots=True, eq=False)
class Paying:  # noqa: PLW1641 - columns that change are never keys
    """Columns of accounts and of the venue. Each is part of the state once it is not neutral."""

    moment: I64  # [5] early deleveraging on; a deficit open, last seen; capacity and its time
    burden: I64  # [accounts_max] ppm, weight in the online rule; one million is new
    market: I64  # [accounts_max] instrument left last by force; -1: none
    shares: I64  # [accounts_max, TRANCHES_MAX] of the fund's tranches
    asked: I64  # [accounts_max, TRANCHES_MAX, 3] shares asked back, their value then, and when
    claims: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    @classmethod
    def empty(cls, accounts_max: int) -> Self:
        """Return the memory of a venue to which nothing has happened."""
        return cls(
            moment=np.array([0, 0, NEVER, NEVER, NEVER], np.int64),
            burden=np.full(accounts_max, PPM, np.int64),
            market=np.full(accounts_max, NEVER, np.int64),
            shares=np.zeros((accounts_max, TRANCHES_MAX), np.int64),
            asked=np.zeros((accounts_max, TRANCHES_MAX, 3), np.int64),
        )

    def __eq__(self, other: object) -> bool:
        """Whether both remember the same."""
        if not isinstance(other, Paying) or self.claims != other.claims:
            return False
        names = ("moment", "burden", "market", "shares", "asked")
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)

    def columns(self, accounts: int) -> Iterator[tuple[str, I64]]:
        """Yield by name what differs from `empty`, cut to the accounts in use."""
        new = Paying.empty(accounts)
        for name in ("moment", "burden", "market", "shares", "asked"):
            column = getattr(self, name)
            used = column if name == "moment" else column[:accounts]
            if not np.array_equal(used, getattr(new, name)):
                yield f"paying.{name}", used
        if self.claims:
            rows = [(*key, amount) for key, amount in sorted(self.claims.items())]
            yield "paying.claims", np.array(rows, np.int64)

    def restore(self, name: str, column: I64) -> None:
        """Take back one column that `columns` yielded."""
        if name == "paying.claims":
            self.claims = {(d, p): amount for d, p, amount in column.tolist()}
            return
        home = getattr(self, name.removeprefix("paying."))
        home[tuple(slice(0, n) for n in column.shape)] = column

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
            case StakeMoved():
                self.shares[effect.account, effect.tranche] += effect.shares
            case UnstakeKept():
                self.asked[effect.account, effect.tranche] = (
                    effect.shares,
                    effect.value,
                    effect.at,
                )
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
