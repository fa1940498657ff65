"""Vaults as a ledger: from the events of a chain to flows and liquidations that close exactly.

The ledger is the one that the engine will keep (integers, interest rounded up at full hours), so
that what it finds left over can be written into the recording as a flow of its own. The protocol's
own invariants say what a record must have meant where it is rounded or has a hole:

* A block is atomic and only its end was judged. What helps a vault comes before what burdens it, so
  that no state in between is worse than both the block's beginning and its end.
* A debt is nothing or at least the dust limit. What a repayment left in between is a rounding of
  the fee, which the chain compounds only when somebody pays for it: nearer to nothing, it goes.
* Nobody can take the last collateral out from under a debt: one that is left then was repaid.
* A liquidation takes the same share of collateral and debt. The source rounds seized ETH to whole
  ones and states the debt exactly, so the debt's share says what was seized. It takes all, unless
  it is as large as one auction may be (auctions of the first kind) or would leave a debt that is
  no dust (of the second), and unless the rounded ETH contradict that: then all of it went, and the
  rest of the debt had been repaid unseen. Of several in one block the smallest took the rest.

Source: MakerDAO `vat.sol` (frob), `cat.sol` (bite), `dog.sol` (bark), `jug.sol` (drip).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tidegate.adapters.vaults import (
    DEPOSIT,
    LIQUIDATE_COLLATERAL,
    LIQUIDATE_DEBT,
    OPEN,
    REPAY,
    WITHDRAW,
    Dated,
)
from tidegate.domain.units import PPB, PPM


LOTS: Final = 100_000_000  # of one ETH: a lot is 1e-8
YEAR_HOURS: Final = 8_760  # the protocol compounds per second, 365 days to a year
ROUNDED: Final = LOTS // 2  # the source's half ETH
CRUMBS: Final = LOTS // PPM  # what the rounding of many amounts to lots may leave over
CLOSES: Final = 1_000  # ppm: a rest of the debt below this share is the rounding of the fee


@dataclass(frozen=True, slots=True)
class Rules:
    """What the protocol asked, dated. Rates are fractions, amounts DAI."""

    duty: Sequence[Dated] = ()  # stability fee a year
    ratio: Sequence[Dated] = ()  # collateral over debt
    dust: Sequence[Dated] = ()  # least debt
    chop_first: Sequence[Dated] = ()  # penalty, auctions of the first kind
    dunk: Sequence[Dated] = ()  # debt and penalty of one auction, first kind
    chop: Sequence[Dated] = ()  # penalty, auctions of the second kind: they begin with it

    @classmethod
    def of(cls, parameters: dict[str, list[Dated]]) -> "Rules":
        """Pick the rules out of a protocol's parameters."""
        return cls(
            duty=parameters.get("JUG.ilks.duty", []),
            ratio=parameters.get("SPOTTER.ilks.mat", []),
            dust=parameters.get("VAT.ilks.dust", []),
            chop_first=parameters.get("CAT.ilks.chop", []),
            dunk=parameters.get("CAT.ilks.dunk", []),
            chop=parameters.get("DOG.ilks.chop", []),
        )

    def hourly(self) -> list[tuple[int, int]]:
        """Return (ts, ppb an hour) for every fee, rounded to the nearest."""
        rates = [(1.0 + d.value) ** (1 / YEAR_HOURS) - 1.0 for d in self.duty]
        return [(d.ts, round(r * PPB)) for d, r in zip(self.duty, rates, strict=True)]

    def dust_at(self, ts: int) -> int:
        """Return the least debt in Money."""
        return round(value_at(self.dust, ts) * PPM)

    def auction_at(self, ts: int) -> int:
        """Return the most debt in Money that one auction of the first kind takes; 0: no limit."""
        if self.chop and ts >= self.chop[0].ts:
            return 0
        dunk, chop = value_at(self.dunk, ts), value_at(self.chop_first, ts)
        return int(dunk / (1.0 + chop) * PPM)


def value_at(dated: Sequence[Dated], ts: int, default: float = 0.0) -> float:
    """Return the value in force at ``ts``; ``default`` before the first."""
    held = [d.value for d in dated if d.ts <= ts]
    return held[-1] if held else default


class Flow(NamedTuple):
    """One row of flows.parquet; ``amount`` is Money for DAI and lots for ETH."""

    ts: int
    seq: int
    vault: int
    kind: str
    asset: str
    amount: int


class Liquidation(NamedTuple):
    """One row of liquidations.parquet: lots of ETH seized, and the debt in Money they paid."""

    ts: int
    seq: int
    vault: int
    seized: int
    debt: int


@dataclass(slots=True)
class VaultLedger:
    """Every vault's cash (Money; a debt is negative) and collateral (lots), and what became of it.

    ``found`` counts what had to be repaired.
    """

    rules: Rules
    cash: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    flows: list[Flow] = field(default_factory=list[Flow])
    liquidations: list[Liquidation] = field(default_factory=list[Liquidation])
    found: Counter[str] = field(default_factory=Counter[str])
    corrected: int = 0  # Money, of what `found` counts as corrections
    _seq: int = 0

    def accrue(self, rate: int) -> None:
        """Charge ``rate`` ppb on every debt, rounded up, as `kernels.fills.interest_due` does."""
        for vault, cash in self.cash.items():
            if cash < 0:
                self.cash[vault] = cash + cash * rate // PPB  # floor: away from zero

    def block(self, ts: int, vault: int, events: Sequence[tuple[int, float]]) -> None:
        """Book one vault's (kind, amount) events of one block."""
        self.cash[vault] += 0
        debts = sorted((_money(a) for k, a in events if k == LIQUIDATE_DEBT), reverse=True)
        seized = sorted((_lots(a) for k, a in events if k == LIQUIDATE_COLLATERAL), reverse=True)
        # Stable: several events of one kind keep the order of the source.
        owners = sorted((e for e in events if OPEN < e[0] < LIQUIDATE_DEBT), key=lambda e: e[0])
        for n, debt in enumerate(debts):
            self._liquidate(ts, vault, debt, seized[n] if n < len(seized) else 0)
        for kind, amount in owners:
            self._own(ts, vault, kind, amount)
        if owners:
            self._clear(ts, vault, {kind for kind, _ in owners})

    def _own(self, ts: int, vault: int, kind: int, amount: float) -> None:
        if kind == DEPOSIT:
            lots = _lots(amount)
            self.held[vault] += lots
            self._flow(ts, vault, "deposit", "ETH", lots)
        elif kind == WITHDRAW:
            asked = _lots(amount)
            lots = min(asked, self.held[vault])
            if asked - lots > CRUMBS:
                self.found["withdrawals beyond what was held"] += 1
            self.held[vault] -= lots
            self._flow(ts, vault, "withdraw", "ETH", lots)
        else:
            money = _money(amount)
            self.cash[vault] += money if kind == REPAY else -money
            self._flow(ts, vault, "repay" if kind == REPAY else "borrow", "DAI", money)

    def _clear(self, ts: int, vault: int, kinds: set[int]) -> None:
        """Clear a debt that the protocol would not have left standing."""
        debt = -self.cash[vault]
        if debt <= 0:
            return
        dust = self.rules.dust_at(ts)
        if self.held[vault] <= CRUMBS:
            self.found["debts left without collateral"] += debt >= dust
        elif REPAY not in kinds or 2 * debt >= dust:
            return
        self._settle(ts, vault, debt)

    def _settle(self, ts: int, vault: int, debt: int) -> None:
        """Repay ``debt`` that no record explains; a negative one is drawn."""
        if debt == 0:
            return
        self.found["corrections"] += 1
        self.corrected += abs(debt)
        self.cash[vault] += debt
        self._flow(ts, vault, "repay" if debt > 0 else "borrow", "DAI", abs(debt))

    def _liquidate(self, ts: int, vault: int, debt: int, rounded: int) -> None:
        owed, held = max(0, -self.cash[vault]), self.held[vault]
        share = held * debt // owed if owed else held
        if self._takes_all(ts, owed - debt, owed, rounded, share, held):
            rest = owed - debt
            if rest * PPM > owed * CLOSES:
                self.found["liquidations that do not close"] += 1
            self._settle(ts, vault, rest)
            share = held
            self.found["whole liquidations"] += 1
        else:
            self.found["partial liquidations"] += 1
        self.cash[vault] += debt
        self.held[vault] -= share
        self.liquidations.append(Liquidation(ts, self._next(), vault, share, debt))

    def _takes_all(
        self, ts: int, rest: int, owed: int, rounded: int, share: int, held: int
    ) -> bool:
        if rest * PPM <= owed * CLOSES:
            return True
        limit = self.rules.auction_at(ts)
        if limit:
            # The auction's size is known to the rounding of its two parameters.
            return owed - rest < limit - PPM // 100
        if rest < self.rules.dust_at(ts):
            return True
        return rounded >= held - ROUNDED and abs(rounded - share) > ROUNDED

    def _flow(self, ts: int, vault: int, kind: str, asset: str, amount: int) -> None:
        if amount > 0:
            self.flows.append(Flow(ts, self._next(), vault, kind, asset, amount))

    def _next(self) -> int:
        self._seq += 1
        return self._seq


def _money(dai: float) -> int:
    return round(dai * PPM)


def _lots(eth: float) -> int:
    return round(eth * LOTS)
