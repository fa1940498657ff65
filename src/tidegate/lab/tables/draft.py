"""A book between a table and a ledger: who holds how much of what, still in floating point."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.errors import RecordingInvalid


F64 = NDArray[np.float64]
HOUSE = "house"


@dataclass(slots=True)
class Draft:
    """Holdings as rows, cash by account, and what is known of each instrument."""

    file: str
    loans: bool  # assets that are held and owed, instead of positions in derivatives
    numeraire: str
    account: list[str] = field(default_factory=list[str])  # [rows]
    symbol: list[str] = field(default_factory=list[str])
    quantity: list[float] = field(default_factory=list[float])  # signed; a debt is negative
    entry: list[float] = field(default_factory=list[float])  # 0 for what is no position
    row: list[int] = field(default_factory=list[int])  # of the table, for refusals; -1: ours
    cash: dict[str, float] = field(default_factory=dict[str, float])  # by account, may be < 0
    price: dict[str, float] = field(default_factory=dict[str, float])
    volume: dict[str, float] = field(default_factory=dict[str, float])  # a day, numeraire
    threshold: dict[str, float] = field(default_factory=dict[str, float])
    notes: list[str] = field(default_factory=list[str])

    def hold(self, account: str, symbol: str, quantity: float, entry: float, row: int) -> None:
        """Add one holding; accounts keep the order in which they come."""
        self.account.append(account)
        self.symbol.append(symbol)
        self.quantity.append(quantity)
        self.entry.append(entry)
        self.row.append(row)
        self.cash.setdefault(account, 0.0)

    def note(self, text: str) -> None:
        """Say what was read, inferred, completed or left out."""
        self.notes.append(text)

    @property
    def symbols(self) -> list[str]:
        """Return the instruments in the order in which they first come."""
        return list(dict.fromkeys(self.symbol))

    def sides(self, symbol: str) -> tuple[float, float]:
        """Return how much of an instrument is held (or long) and owed (or short), both >= 0."""
        rows = zip(self.symbol, self.quantity, strict=True)
        held = np.array([q for s, q in rows if s == symbol] or [0.0], np.float64)
        return float(held[held > 0].sum()), float(-held[held < 0].sum())

    def interest(self, symbol: str) -> float:
        """Return the larger side of an instrument in the numeraire, at its price."""
        return max(self.sides(symbol)) * self.price[symbol]


def plural(count: int, what: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def kept(draft: Draft, leave_out: Collection[str]) -> Draft:
    """Refuse accounts that are bankrupt from the start, or leave them out and say how many."""
    worth = dict(draft.cash)
    rows = zip(draft.account, draft.symbol, draft.quantity, draft.entry, strict=True)
    for name, symbol, quantity, entry in rows:
        worth[name] += quantity * (draft.price[symbol] - entry)
    bankrupt = {name for name, equity in worth.items() if equity < 0.0}
    if not bankrupt:
        return draft
    lost = -sum(worth[name] for name in bankrupt)
    if "bankrupt" not in leave_out:
        place = next((n for n, a in enumerate(draft.account) if a in bankrupt), None)
        row = "" if place is None else f": row {draft.row[place]:_}"
        raise RecordingInvalid(
            where=f"{draft.file}{row}",
            what="an account must be worth more than it owes at the start",
            found=f"{plural(len(bankrupt), 'account')} below zero by {lost:,.6g} {draft.numeraire}",
            hint="what backs them is not in the table, or a price is wrong; --leave-out bankrupt "
            "goes on without them",
        )
    if len(bankrupt) == len(worth):
        raise RecordingInvalid(
            where=draft.file,
            what="must keep an account once the bankrupt ones are left out",
            found=f"all {plural(len(worth), 'account')} below zero",
            hint="what backs them is not in the table, or a price is wrong",
        )
    stay = [n for n, name in enumerate(draft.account) if name not in bankrupt]
    draft.account, draft.symbol = ([c[n] for n in stay] for c in (draft.account, draft.symbol))
    draft.quantity, draft.entry = ([c[n] for n in stay] for c in (draft.quantity, draft.entry))
    draft.row = [draft.row[n] for n in stay]
    draft.cash = {name: cash for name, cash in draft.cash.items() if name not in bankrupt}
    draft.note(
        f"{plural(len(bankrupt), 'account')} bankrupt from the start left out, below zero by "
        f"{lost:,.6g} {draft.numeraire} together: what backs them is not in the table"
    )
    return draft
