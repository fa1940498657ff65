"""The verdicts of a replay side by side: the published keys, in words, with their units."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from tidegate.api.replaying import VerdictRow


MONEY: Final = "$"  # stands for the numeraire
Better = Literal["less", "more", ""]

ROWS: Final[tuple[tuple[str, str, str, Better], ...]] = (
    ("bad_debt", "Bad debt", MONEY, "less"),
    ("deficit_at_end", "Still below zero at the end", MONEY, "less"),
    ("fund_used", "Insurance fund used", MONEY, "less"),
    ("borne_by_others", "Borne by other accounts", MONEY, "less"),
    ("adl_profit_taken", "Profit taken from winners", MONEY, "less"),
    ("adl_overshoot", "Of it, the fund could have paid", MONEY, "less"),
    ("adl_accounts", "Winners deleveraged", "accounts", "less"),
    ("socialised_loss", "Socialised loss", MONEY, "less"),
    ("uncovered", "Paid by nobody", MONEY, "less"),
    ("accounts_liquidated", "Accounts liquidated", "accounts", "less"),
    ("forced_volume", "Forced volume", MONEY, "less"),
    ("sold_volume", "Of it, sold in the market", MONEY, "less"),
    ("netted_volume", "Of it, netted", MONEY, ""),
    ("recovery_ratio", "Recovered of what was sold", "share", "more"),
    ("peak_impact_ppm", "Largest price impact", "ppm", "less"),
    ("peak_branching_ratio", "Largest branching ratio n", "", "less"),
    ("insolvent_seconds", "Time insolvent", "s", "less"),
    ("halt_seconds", "Time halted", "s", "less"),
    ("orders", "Orders", "", ""),
    ("capital_efficiency", "Initial margin over open interest", "share", ""),
)


def rows_of(verdicts: Mapping[str, Mapping[str, Any]], numeraire: str) -> list[VerdictRow]:
    """Return one row a measure; ``verdicts`` are those of `Verdict.to_json`, by stack."""
    return [
        VerdictRow(
            key=key,
            label=label,
            unit=numeraire if unit == MONEY else unit,
            better=better,
            values={stack: verdict[key] for stack, verdict in verdicts.items()},
        )
        for key, label, unit, better in ROWS
    ]
