"""How a close is sold. The order book is the first route; others are new kinds of this union."""

from typing import TypeAlias

import msgspec
import numpy as np

from tidegate.domain.book import Book, Health
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Ppm
from tidegate.kernels.plan import fillable_prices


class BookRoute(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="book",
):
    """Immediate-or-cancel orders on the venue's book, limited at the fillable price.

    ``spread`` is the share of a position's own maintenance that the last seller may give up, and
    ``adjustment`` how fast that share grows as equity falls below maintenance. A spread of zero is
    a market order: the neutral route, as bare venues use.
    """

    spread: Ppm = Ppm(0)
    adjustment: Ppm = Ppm(PPM)

    def __post_init__(self) -> None:
        """Refuse an adjustment below one: a bankrupt account could not give up its spread."""
        if self.adjustment < PPM or self.spread < 0:
            raise ConfigInvalid(
                where="routes.book",
                what="adjustment must be >= 1_000_000 and spread >= 0",
                found=f"{self.adjustment:_} and {self.spread:_}",
            )

    @property
    def name(self) -> str:
        """How the route is called in orders."""
        return "book"

    def limits(
        self,
        book: Book,
        facts: Facts,
        health: Health,
        *,
        mark: I64,
        row: I64,
        ordered: I64,
        band: Ppm,
    ) -> I64:
        """Return the worst admissible price of each order in ticks, inside the breaker's band."""
        out = np.zeros(row.size, np.int64)
        fillable_prices(
            book,
            facts,
            mark,
            health.equity,
            health.required,
            row,
            ordered,
            self.adjustment,
            self.spread,
            band,
            out,
        )
        return out

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.spread:
            return ["route: market orders on the order book"]
        give = f"up to {self.spread / 1e4:g} % of the position's own maintenance"
        return [f"route: order book, limited at the fillable price ({give} below the mark)"]


AnyRoute: TypeAlias = BookRoute
