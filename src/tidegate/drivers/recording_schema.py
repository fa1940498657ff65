"""Which files a recording may hold, and which columns each of them has.

One table says it all, so that the reader, the writer, `tidegate data check` and the docs cannot
drift apart. A column is of one of four kinds: "time" (int64 nanoseconds UTC, or an Arrow
timestamp), "text", "decimal" (float64, string or decimal) and "integer".
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias


ColumnKind: TypeAlias = Literal["time", "text", "decimal", "integer"]

VENUE_FILE: Final = "venue.toml"


class Column(NamedTuple):
    """One column: its name, its kind, whether it may be absent, and whether a cell may be empty."""

    name: str
    kind: ColumnKind
    optional: bool = False
    nullable: bool = False


class FileSpec(NamedTuple):
    """One file: its columns, whether every recording needs it, and what it means to be without."""

    columns: tuple[Column, ...]
    required: bool
    holds: str
    without: str


def _column(name: str, kind: ColumnKind) -> Column:
    return Column(name, kind)


def _maybe(name: str, kind: ColumnKind) -> Column:
    return Column(name, kind, optional=True, nullable=True)


_TS: Final = _column("ts", "time")
_SEQ: Final = _column("seq", "integer")

FILES: Final[Mapping[str, FileSpec]] = {
    "prices": FileSpec(
        columns=(
            _TS,
            _column("instrument", "text"),
            _column("source", "text"),
            _column("price", "decimal"),
            _maybe("confidence", "decimal"),
        ),
        required=True,
        holds="price observations",
        without="nothing can be valued",
    ),
    "accounts": FileSpec(
        columns=(
            _column("account", "text"),
            _column("asset", "text"),
            _column("balance", "decimal"),
        ),
        required=False,
        holds="balances",
        without="no account starts with cash or spot balances",
    ),
    "positions": FileSpec(
        columns=(
            _column("account", "text"),
            _column("instrument", "text"),
            _column("quantity", "decimal"),
            _column("entry_price", "decimal"),
            _maybe("isolated_margin", "decimal"),
        ),
        required=False,
        holds="open positions",
        without="no account starts with a position",
    ),
    "loans": FileSpec(
        columns=(
            _column("account", "text"),
            _column("market", "text"),
            _column("collateral_asset", "text"),
            _column("collateral", "decimal"),
            _column("debt_asset", "text"),
            _column("debt", "decimal"),
        ),
        required=False,
        holds="loans",
        without="no account starts with a loan",
    ),
    "trades": FileSpec(
        columns=(
            _TS,
            _column("instrument", "text"),
            _column("price", "decimal"),
            _column("quantity", "decimal"),
            _column("aggressor", "text"),
        ),
        required=False,
        holds="trades of others",
        without="other traders neither consume nor refill the book of the simulated venue",
    ),
    "depth": FileSpec(
        columns=(
            _TS,
            _column("instrument", "text"),
            _column("side", "text"),
            _column("level", "integer"),
            _column("price", "decimal"),
            _column("quantity", "decimal"),
        ),
        required=False,
        holds="order book levels",
        without="forced sales meet the model ladder of venue.toml ([[markets]]) instead",
    ),
    "flows": FileSpec(
        columns=(
            _TS,
            _SEQ,
            _column("account", "text"),
            _column("kind", "text"),
            _maybe("instrument", "text"),
            _maybe("asset", "text"),
            _column("quantity", "decimal"),
            _maybe("price", "decimal"),
        ),
        required=False,
        holds="deposits, withdrawals, loans drawn and repaid, positions opened and closed",
        without="accounts do nothing by themselves: the book of the first moment only ages",
    ),
    "commitments": FileSpec(
        columns=(
            _TS,
            _SEQ,
            _column("account", "text"),
            _column("instrument", "text"),
            _column("long_max", "decimal"),
            _column("short_max", "decimal"),
            _column("discount", "integer"),
            _column("slope", "integer"),
        ),
        required=False,
        holds="commitments of providers who take liquidated positions over",
        without="nobody stands behind the market, whatever the stack's backstop says",
    ),
    "parameters": FileSpec(
        columns=(_TS, _SEQ, _column("name", "text"), _column("value", "integer")),
        required=False,
        holds="dated parameter changes",
        without="the parameters of the stack file hold throughout, and no interest accrues",
    ),
    "funding": FileSpec(
        columns=(_TS, _column("instrument", "text"), _column("rate", "decimal")),
        required=False,
        holds="funding payments",
        without="no funding is paid",
    ),
    "liquidations": FileSpec(
        columns=(
            _TS,
            _maybe("seq", "integer"),
            _column("account", "text"),
            _column("instrument", "text"),
            _column("quantity", "decimal"),
            Column("price", "decimal", nullable=True),
            _column("kind", "text"),
            _maybe("cash", "decimal"),
        ),
        required=False,
        holds="liquidations that really happened",
        without="a replay cannot be held against history (--against liquidations)",
    ),
}

FLOW_KINDS: Final = ("deposit", "withdraw", "borrow", "repay", "open", "close", "join", "leave")
LIQUIDATION_KINDS: Final = ("market", "backstop", "adl", "auction")
AGGRESSORS: Final = ("buy", "sell")
SIDES: Final = ("bid", "ask")
INTEREST: Final = "interest."  # parameter names that become InterestAccrued, not ParameterChanged
