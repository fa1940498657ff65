"""Which column of somebody's table means what: the common names, and how one is chosen.

Names are compared without case, spaces and punctuation, so that ``entryPx``, ``Entry Px`` and
``entry_px`` are one. Where several columns of a table fit, the one named first here is taken.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tidegate.domain.errors import RecordingInvalid
from tidegate.drivers.recording_sheet import nearest


ACCOUNT: Final = (
    "account user address trader wallet useraddress accountid userid traderid owner borrower vault"
)
POSITIONS: Final[Mapping[str, str]] = {
    "account": ACCOUNT,
    "instrument": "instrument symbol coin asset market contract pair ticker",
    "quantity": "quantity qty size positionsize szi amount position positionamt contracts lots",
    "side": "side direction positionside",
    "entry": "entryprice entrypx entry avgentryprice averageprice openprice",
    "mark": "markprice markpx mark price indexprice oraclepx lastprice",
    "balance": "balance cash walletbalance accountbalance",
    "equity": "equity accountvalue accountequity marginbalance totalequity accountvalueusd",
    "margin": "margin isolatedmargin positionmargin marginused initialmargin collateral",
    "leverage": "leverage lev",
    "volume": "dailyvolume volume volume24h dayntlvlm",
}
# Of the names of margins, those of a requirement at the mark, and not of money that was posted.
AT_MARK: Final = frozenset({"marginused", "initialmargin"})
LOANS: Final[Mapping[str, str]] = {
    "account": ACCOUNT,
    "market": "market version pool protocol",
    "collateral_asset": "collateralasset collateralsymbol collateraltoken collateralkey",
    "collateral": "collateral collateralamount collateraltokens collateralbalance "
    "btccollateraltokens collateralvalue collateralusd supplied",
    "debt_asset": "debtasset debtsymbol debttoken borrowedsymbol borrowedasset borrowasset",
    "debt": "debt debtamount borrowbalancetokens borrowbalance borrowed borrow debtvalue debtusd "
    "borrowedamount",
    "collateral_price": "collateralprice collateralpriceusd",
    "debt_price": "debtprice debtpriceusd",
    "threshold": "threshold liquidationthreshold liqthreshold lt",
    "health": "health healthfactor healthf hf",
}
PRICES: Final[Mapping[str, str]] = {
    "instrument": POSITIONS["instrument"] + " token",
    "mark": "price markprice markpx mark priceusd usd close oraclepx",
}
# Of these names, those that say what something is worth, and not how much of it there is.
WORTHS: Final = frozenset({"collateralvalue", "collateralusd", "debtvalue", "debtusd"})
# Dollars on a chain; a table that does not price them takes them one for one, and says so.
STABLE: Final = frozenset(
    {
        *("USD", "USDC", "USDT", "DAI", "GHO", "PYUSD", "USDS", "CRVUSD", "LUSD", "FRAX", "USDE"),
        *("USDTB", "RLUSD", "SUSD", "TUSD", "BUSD", "GUSD", "USDP", "FDUSD", "USDBC"),
        *("USDC.E", "USDG", "EUSD", "MUSD"),
    }
)


def squeezed(name: str) -> str:
    """Return a column's name as it is compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def recognised(columns: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return which column of the table stands for each of our names, where there is one."""
    own = {squeezed(column): column for column in reversed(columns)}
    found: dict[str, str] = {}
    for ours, names in known.items():
        # A column named for one thing never serves as a second one.
        free = [n for n in names.split() if n in own and own[n] not in found.values()]
        if free:
            found[ours] = own[free[0]]
    return found


def required(
    file: str,
    columns: Sequence[str],
    found: Mapping[str, str],
    known: Mapping[str, str],
    *ours: str,
) -> None:
    """Refuse a table without one of these columns, with the names that would have been known."""
    for name in ours:
        if name not in found:
            names = known[name].split()
            raise RecordingInvalid(
                where=file,
                what=f"must have a column for the {name.replace('_', ' ')}",
                found=f"columns {', '.join(columns)}",
                hint=f"one of these names: {', '.join(names)}; {nearest(name, list(columns))}",
            )


def is_loans(columns: Sequence[str]) -> bool:
    """Tell whether a table is one of loans: somebody in it owes something."""
    return "debt" in recognised(columns, LOANS)
