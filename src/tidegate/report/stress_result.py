"""What `tidegate.stress` returns: data frames, figures, and a report in one file."""

# pandas declares no types: only its stubs are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from tidegate.lab.stress import Stressed, frames
from tidegate.report import stress, stress_pictures
from tidegate.report.stress_lines import Lines
from tidegate.report.stress_words import stress_words


@dataclass(frozen=True)
class StressResult:
    """A finished stress. Amounts are in the book's numeraire, rates are shares."""

    found: Stressed
    lines: Lines  # that do it again

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """One row for each world, stack and path."""
        return frames.outcomes(self.found)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row for each world and stack: insolvency, mean, VaR, ES and who carried it."""
        return frames.summary(self.found)

    @cached_property
    def by_account(self) -> pd.DataFrame:
        """Which accounts make the tail."""
        return frames.by_account(self.found)

    @cached_property
    def by_market(self) -> pd.DataFrame:
        """Which markets make the tail."""
        return frames.by_market(self.found)

    @cached_property
    def burden(self) -> pd.DataFrame:
        """Who paid, on average: the fund, winners, everybody, nobody."""
        return frames.burden(self.found)

    @property
    def cliff(self) -> pd.DataFrame:
        """What each move costs at each share of depth."""
        return frames.cliff(self.found)

    @property
    def breaking(self) -> pd.DataFrame:
        """How far all prices can move together before each fund is gone."""
        return frames.breaking(self.found)

    def funds(self, targets: Sequence[float] = frames.TARGETS) -> pd.DataFrame:
        """Return the fund that keeps insolvency below each target."""
        return frames.funds(self.found, targets)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was inferred, completed or assumed of the book."""
        return self.found.plan.book.opening.notes

    def repeat(self, world: str, stack: str, path: int) -> str:
        """Return the line that turns one path again."""
        return self.lines.one(world, stack, self.found.plan.root, path)

    def words(self) -> list[str]:
        """Return the verdict in a few sentences."""
        return stress_words(self.found)

    def plot_losses(self) -> Figure:
        """Return the share of paths that cost more than each amount, one panel a world."""
        return stress_pictures.losses(self.found).figure()

    def plot_insolvency(self) -> Figure:
        """Return how likely each fund is exhausted in each world, with intervals."""
        return stress_pictures.insolvency(self.found).figure()

    def plot_burden(self) -> Figure:
        """Return who paid, on average."""
        return stress_pictures.burden(self.found).figure()

    def plot_cliff(self) -> Figure:
        """Return the liquidity cliff, one panel a stack."""
        return stress_pictures.cliff(self.found).figure()

    def plot_accounts(self) -> Figure:
        """Return the accounts that make the tail of the worst world."""
        return stress_pictures.accounts(self.found).figure()

    def report(self, path: Path | str) -> Path:
        """Write the report as one HTML file and return where it lies."""
        return stress.write(Path(path), self.found, self.lines)
