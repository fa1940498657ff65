"""One close over several routes: some on the order book at once, the rest to bidders."""

from typing import Self

import msgspec

from tidegate.domain.book import Book, Health
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, Money, Ppm
from tidegate.domain.venue import Venue
from tidegate.safeguards.auctions import AnySale, AuctionRoute
from tidegate.safeguards.routes import BookRoute


class SplitRoute(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="split",
):
    """Sell the cheap part of a close where it is cheap, and offer the rest.

    The order book gets ``book_share`` of a close, as far as the measured book holds it within
    ``book_reach`` of the mark: no lot is sold there at a marginal cost above that. The rest is sold
    by ``sale``; what its budget refuses goes to the book with ``spill``, and waits without. What
    nobody takes ends on the book in any case, and what the book does not fill is closed anew.
    """

    book: BookRoute = BookRoute()
    sale: AnySale = AuctionRoute()
    book_share: Ppm = Ppm(500_000)
    book_reach: Ppm = Ppm(0)  # 0: whatever the depth
    book_max: Money = Money(0)  # of one close; 0: no limit
    spill: bool = False

    def __post_init__(self) -> None:
        """Refuse a share that leaves one of the two routes nothing to do."""
        rules = (
            ("book_share", 0 < self.book_share <= PPM, "must lie within 1..1_000_000"),
            ("book_reach", 0 <= self.book_reach < PPM, "must lie within 0..999_999"),
            ("book_max", self.book_max >= 0, "must be >= 0"),
            (
                "book_share",
                self.book_share < PPM or bool(self.book_reach or self.book_max),
                "of everything needs book_reach or book_max: else use the book route",
            ),
        )
        for name, holds, what in rules:
            if not holds:
                found = f"{getattr(self, name):_}"
                raise ConfigInvalid(where=f"route.{name}", what=what, found=found)

    @property
    def name(self) -> str:
        """How the route is called in orders."""
        return "split"

    def scaled(self, venue: Venue) -> Self:
        """Return the route with its venue-wide amounts at the scale of a recording."""
        return msgspec.structs.replace(self, sale=self.sale.scaled(venue))

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
        """Return the worst price of what goes to the order book at once, as `BookRoute.limits`."""
        at = {"mark": mark, "row": row, "ordered": ordered}
        return self.book.limits(book, facts, health, **at, band=band)

    def on_book(self, *, lots: int, worth: int, free: int) -> int:
        """Return how many of ``lots`` the order book gets, rounded down.

        ``worth`` is Money per lot, ``free`` what the measured book still holds within reach.
        """
        part = lots * self.book_share // PPM
        if self.book_reach:
            part = min(part, free)
        if self.book_max:
            part = min(part, self.book_max // max(1, worth))
        return part

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        most = [f"{self.book_share / 1e4:g} % of a close"]
        if self.book_reach:
            most.append(f"what rests within {self.book_reach / 1e4:g} % of the mark")
        if self.book_max:
            most.append(f"{self.book_max / 1e6:,.0f}")
        refused = "goes to the book" if self.spill else "waits"
        both = f"the order book gets at most {' and '.join(most)}, bidders the rest"
        return [
            f"route: {both}; what the budget of the offers refuses {refused}",
            *self.book.describe(),
            *self.sale.describe(),
        ]
